/*
 * quipu show and quipu cat: one event, or one block. Both hash again what they show: damaged bytes
 * are reported, never printed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "cli.h"
#include "print.h"
#include "quipu/dagjson.h"
#include "quipu/event_json.h"
#include "quipu/outbox.h"

/* ------------------------------------------------------------------ looking up */

static enum quipu_status find(struct quipu_txn *txn, const char *name, struct quipu_record *record,
                              struct quipu_error *err)
{
    struct quipu_slice text = quipu_slice_text(name);
    uint64_t position;
    struct quipu_uuid event_id;
    struct quipu_cid cid;
    enum quipu_status status;
    if (cli_number_parse(name, &position)) {
        status = quipu_txn_record_at(txn, position, record, err);
        if (status == QUIPU_NOT_FOUND) {
            (void)quipu_error_set(err, status,
                                  "there is no position %" PRIu64 ", the store ends at %" PRIu64,
                                  position, quipu_txn_last_position(txn));
        }
        return status;
    }
    if (quipu_uuid_parse(text, &event_id) == QUIPU_OK) {
        status = quipu_txn_find_event_id(txn, event_id, record, err);
        if (status == QUIPU_NOT_FOUND) {
            (void)quipu_error_set(err, status, "there is no event with event_id %s", name);
        }
        return status;
    }
    if (quipu_cid_parse(text, &cid, NULL) != QUIPU_OK) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "\"%.80s\" is neither a position nor an event_id nor a CID; "
                               "`quipu log --json` shows all three",
                               name);
    }
    enum quipu_block_kind kind;
    status = quipu_txn_find_cid(txn, &cid, record, &kind, err);
    if (status == QUIPU_NOT_FOUND) {
        (void)quipu_error_set(err, status, "there is no block %s", name);
    }
    return status;
}

/* ------------------------------------------------------------------ show */

static void print_row(const struct cli *cli, const char *name, const char *text)
{
    (void)printf("%s%-12s%s %s\n", cli_paint(cli, CLI_DIM), name, cli_paint(cli, CLI_PLAIN), text);
}

static void print_slice(const struct cli *cli, const char *name, struct quipu_slice text)
{
    (void)printf("%s%-12s%s %.*s\n", cli_paint(cli, CLI_DIM), name, cli_paint(cli, CLI_PLAIN),
                 QUIPU_SLICE_FMT(text));
}

static void print_cid(const struct cli *cli, const char *name, const struct quipu_cid *cid)
{
    char text[QUIPU_CID_TEXT_BYTES];
    quipu_cid_format(cid, text);
    print_row(cli, name, text);
}

static void print_uuid(const struct cli *cli, const char *name, struct quipu_uuid uuid)
{
    char text[QUIPU_UUID_TEXT_BYTES];
    quipu_uuid_format(uuid, text);
    print_row(cli, name, text);
}

/* A block as indented DAG-JSON behind its name; as the bytes it is where it is raw, and behind
 * "<name>_bytes" where DAG-JSON cannot carry it. */
static enum quipu_status print_block(const struct cli *cli, const char *name, bool is_raw,
                                     struct quipu_slice block, struct quipu_error *err)
{
    struct quipu_buf json = QUIPU_BUF_INIT;
    struct quipu_buf text = QUIPU_BUF_INIT;
    bool is_bytes = is_raw;
    enum quipu_status status =
        is_raw ? cli_json_bytes(block, &json, err) : cli_json_block(block, &json, &is_bytes, err);
    if (status == QUIPU_OK) {
        cli_json_indent(quipu_buf_slice(&json), "  ", &text);
        if (text.status != QUIPU_OK) {
            status = quipu_error_set(err, text.status, "%s as text", name);
        }
    }
    if (status == QUIPU_OK) {
        (void)printf("%s%s%s%s\n%.*s\n", cli_paint(cli, CLI_DIM), name,
                     is_bytes && !is_raw ? "_bytes" : "", cli_paint(cli, CLI_PLAIN),
                     QUIPU_SLICE_FMT(quipu_buf_slice(&text)));
    }
    quipu_buf_release(&json);
    quipu_buf_release(&text);
    return status;
}

static void print_receipt(const struct cli *cli, struct quipu_txn *txn, uint64_t position)
{
    struct quipu_receipt receipt;
    if (quipu_receipt_at(txn, position, &receipt, NULL) != QUIPU_OK) {
        print_row(cli, "published", "no");
        return;
    }
    char stored[QUIPU_RFC3339_BYTES] = "";
    if (receipt.stored_unix_us != 0) {
        quipu_rfc3339_format(receipt.stored_unix_us, stored);
    }
    (void)printf("%s%-12s%s %.*s, sequence %" PRIu64 "%s%s%s\n", cli_paint(cli, CLI_DIM),
                 "published", cli_paint(cli, CLI_PLAIN), QUIPU_SLICE_FMT(receipt.stream),
                 receipt.sequence, stored[0] == 0 ? "" : ", stored ", stored,
                 receipt.was_duplicate ? ", was there already" : "");
}

static enum quipu_status print_event(const struct cli *cli, struct quipu_txn *txn,
                                     const struct quipu_event_view *event, struct quipu_error *err)
{
    const struct quipu_envelope *envelope = &event->envelope;
    char text[QUIPU_RFC3339_BYTES];
    (void)printf("%s%.*s%s  %.*s/%.*s  v%" PRIu64 "\n", cli_paint(cli, CLI_BOLD),
                 QUIPU_SLICE_FMT(envelope->event_type), cli_paint(cli, CLI_PLAIN),
                 QUIPU_SLICE_FMT(envelope->aggregate_type), QUIPU_SLICE_FMT(envelope->aggregate_id),
                 envelope->version);
    (void)snprintf(text, sizeof text, "%" PRIu64, event->position);
    print_row(cli, "position", text);
    print_cid(cli, "cid", &event->cid);
    print_uuid(cli, "event_id", envelope->event_id);
    quipu_rfc3339_format(envelope->occurred_unix_us, text);
    print_row(cli, "occurred_at", text);
    if (envelope->schema != 1) {
        (void)snprintf(text, sizeof text, "%" PRIu64, envelope->schema);
        print_row(cli, "schema", text);
    }
    for (size_t i = 0; i < envelope->prev_count; i++) {
        print_cid(cli, "prev", &envelope->prev[i]);
    }
    print_uuid(cli, "correlation", envelope->correlation_id);
    if (!quipu_uuid_is_nil(envelope->causation_id)) {
        print_uuid(cli, "causation", envelope->causation_id);
    }
    print_slice(cli, "source", envelope->source);
    (void)snprintf(text, sizeof text, "%" PRIu64, envelope->source_seq);
    print_row(cli, "source_seq", text);
    print_receipt(cli, txn, event->position);
    enum quipu_status status = QUIPU_OK;
    if (envelope->meta.len > 0) {
        status = print_block(cli, "meta", false, envelope->meta, err);
    }
    if (status == QUIPU_OK && envelope->enc.len > 0) {
        status = print_block(cli, "enc", false, envelope->enc, err);
    }
    if (status == QUIPU_OK) {
        print_cid(cli, "payload_cid", &envelope->payload);
        status = print_block(cli, "payload", envelope->payload.codec == QUIPU_CODEC_RAW,
                             event->payload, err);
    }
    return status;
}

static enum quipu_status print_event_json(const struct quipu_event_view *event,
                                          struct quipu_error *err)
{
    struct quipu_buf line = QUIPU_BUF_INIT;
    enum quipu_status status = quipu_event_to_json(event, &line, err);
    if (status == QUIPU_OK) {
        cli_put_json(quipu_buf_slice(&line), stdout);
        (void)putchar('\n'); /* main asks ferror at the end */
    }
    quipu_buf_release(&line);
    return status;
}

static int run_show(struct cli *cli, const void *values, int argc, char **argv)
{
    (void)values;
    (void)argc;
    int code = cli_open(cli);
    if (code != 0) {
        return code;
    }
    struct quipu_error err;
    struct quipu_txn *txn = NULL;
    struct quipu_record record;
    struct quipu_event_view event;
    enum quipu_status status = quipu_txn_begin_read(cli->store, &txn, &err);
    if (status == QUIPU_OK) {
        status = find(txn, argv[0], &record, &err);
    }
    if (status == QUIPU_OK) {
        status = quipu_event_view_of(&record, &event, &err);
    }
    if (status == QUIPU_OK) {
        status = quipu_event_view_verify(&event, &err);
    }
    if (status == QUIPU_OK) {
        status =
            cli->is_json ? print_event_json(&event, &err) : print_event(cli, txn, &event, &err);
    }
    quipu_txn_abort(&txn);
    return status == QUIPU_OK ? 0 : cli_fail(cli, status, &err, NULL);
}

const struct cli_verb cli_verb_show = {
    .name = "show",
    .arguments = "POSITION|EVENT_ID|CID",
    .summary = "Show one event whole",
    .details = "Both of its blocks are hashed again first.",
    .example = "quipu show 1",
    .arguments_min = 1,
    .arguments_max = 1,
    .run = run_show,
};

/* ------------------------------------------------------------------ cat */

#define CURE_NOT_JSON "leave --json out: the block's bytes are written then"

static enum quipu_status cat(const struct cli *cli, struct quipu_txn *txn,
                             const struct quipu_cid *cid, struct quipu_error *err)
{
    struct quipu_record record;
    enum quipu_block_kind kind;
    enum quipu_status status = quipu_txn_find_cid(txn, cid, &record, &kind, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_slice block = kind == QUIPU_BLOCK_ENVELOPE ? record.envelope : record.payload;
    struct quipu_cid found = quipu_cid_of(cid->codec, block);
    if (!quipu_cid_equal(&found, cid)) {
        return quipu_error_set(
            err, QUIPU_CORRUPT, "position %" PRIu64 ": the stored %s does not hash to its CID",
            record.position, kind == QUIPU_BLOCK_ENVELOPE ? "envelope" : "payload");
    }
    if (!cli->is_json) {
        (void)fwrite(block.data, 1, block.len, stdout); /* main asks ferror at the end */
        return QUIPU_OK;
    }
    struct quipu_buf json = QUIPU_BUF_INIT;
    status = cid->codec == QUIPU_CODEC_RAW ? cli_json_bytes(block, &json, err)
                                           : quipu_dagjson_from_dagcbor(block, &json, err);
    if (status == QUIPU_OK) {
        cli_put_json(quipu_buf_slice(&json), stdout);
        (void)putchar('\n'); /* as above */
    }
    quipu_buf_release(&json);
    return status;
}

static int run_cat(struct cli *cli, const void *values, int argc, char **argv)
{
    (void)values;
    (void)argc;
    struct quipu_error err;
    struct quipu_cid cid;
    enum quipu_status status = quipu_cid_parse(quipu_slice_text(argv[0]), &cid, &err);
    if (status != QUIPU_OK) {
        (void)quipu_error_wrap(&err, status, "\"%.80s\"", argv[0]);
        return cli_fail(cli, status, &err, NULL);
    }
    int code = cli_open(cli);
    if (code != 0) {
        return code;
    }
    struct quipu_txn *txn = NULL;
    status = quipu_txn_begin_read(cli->store, &txn, &err);
    if (status == QUIPU_OK) {
        status = cat(cli, txn, &cid, &err);
    }
    if (status == QUIPU_NOT_FOUND) {
        (void)quipu_error_set(&err, status, "there is no block %s", argv[0]);
    }
    quipu_txn_abort(&txn);
    return status == QUIPU_OK
               ? 0
               : cli_fail(cli, status, &err, status == QUIPU_DAGJSON ? CURE_NOT_JSON : NULL);
}

const struct cli_verb cli_verb_cat = {
    .name = "cat",
    .arguments = "CID",
    .summary = "Write the bytes of one block, envelope or payload, to stdout",
    .details = "The block is hashed again first. --json writes it as DAG-JSON.",
    .example = "quipu cat --json bafyrei… | jq .",
    .arguments_min = 1,
    .arguments_max = 1,
    .run = run_cat,
};

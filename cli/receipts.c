/*
 * Receipts that travel back: written, taken in, and listed by stretches of positions whose
 * sequences go up with them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "receipts.h"

#include <inttypes.h>

#include "import_fault.h"
#include "print.h"
#include "quipu/outbox.h"
#include "quipu/receipts.h"

#define SNAPSHOT_EVENTS 4096u

/* ------------------------------------------------------------------ file */

static enum quipu_status say_json(const struct quipu_receipts_report *report, bool is_import,
                                  bool is_dry_run, struct quipu_error *err)
{
    struct cli_json json = {0};
    cli_json_begin(&json);
    cli_json_number(&json, "receipts", report->receipts);
    cli_json_number(&json, "streams", report->streams);
    if (is_import) {
        cli_json_number(&json, "added", report->added);
        cli_json_number(&json, "known", report->known);
        cli_json_number(&json, "conflicting", report->conflicting);
        cli_json_number(&json, "strangers", report->strangers);
        cli_json_bool(&json, "dry_run", is_dry_run);
    }
    cli_json_text(&json, "source", quipu_slice_text(report->source));
    cli_json_text(&json, "signer", quipu_slice_text(report->signer));
    cli_json_number(&json, "operation", report->operation);
    cli_json_cid(&json, "statement", &report->statement);
    cli_json_hex(&json, "sha256", quipu_slice(report->file_sha256, sizeof report->file_sha256));
    enum quipu_status status = cli_json_end(&json, err);
    cli_json_release(&json);
    return status;
}

int cli_receipts_export(const struct cli *cli, const char *path, const char *operator_name)
{
    struct quipu_receipts_export_options options = QUIPU_RECEIPTS_EXPORT_OPTIONS_INIT;
    struct quipu_receipts_report report;
    struct quipu_error err;
    char receipts[CLI_COUNTED_BYTES];
    char bytes[CLI_COUNT_BYTES];
    options.operator_name = operator_name;
    enum quipu_status status = quipu_receipts_export(cli->engine, path, &options, &report, &err);
    if (status == QUIPU_OK && cli->is_json) {
        status = say_json(&report, false, false, &err);
    } else if (status == QUIPU_OK) {
        cli_say("%s in %s, %s", cli_counted(report.receipts, "receipt", receipts), path,
                cli_bytes(report.file_bytes, bytes));
        (void)printf("source  %s\n", report.source);
    }
    return status == QUIPU_OK
               ? 0
               : cli_fail(cli, status, &err,
                          status == QUIPU_NOT_FOUND ? "publish with `quipu flush` first" : NULL);
}

static void note_conflicts(const struct cli *cli, const struct quipu_receipts_report *report)
{
    char conflicting[CLI_COUNTED_BYTES];
    if (report->conflicting > 0) {
        cli_note(cli,
                 "%s in another place than the mark that is here, which stays; the first one is of "
                 "position %" PRIu64 ": hold `quipu status --receipts` against the stream",
                 cli_counted(report->conflicting, "receipt", conflicting),
                 report->conflict_position);
    }
}

int cli_receipts_import(struct cli *cli, const char *path,
                        const struct quipu_import_options *options)
{
    struct quipu_receipts_report report;
    struct quipu_error err;
    char added[CLI_COUNTED_BYTES];
    char known[CLI_COUNT_BYTES];
    char strangers[CLI_COUNT_BYTES];
    enum quipu_status status = quipu_receipts_import(cli->engine, path, options, &report, &err);
    if (status != QUIPU_OK) {
        bool is_other = status == QUIPU_NOT_FOUND || status == QUIPU_BUNDLE;
        return cli_carried_fail(cli, status, &err,
                                is_other ? "name a file that `quipu export --receipts` wrote"
                                         : NULL);
    }
    int code = report.conflicting > 0 ? CLI_EXIT_ASIDE : CLI_EXIT_OK;
    note_conflicts(cli, &report);
    if (!options->is_dry_run) {
        cli_done(cli, report.added, "marked as published");
    }
    if (cli->is_json) {
        status = say_json(&report, true, options->is_dry_run, &err);
        return status == QUIPU_OK ? code : cli_fail(cli, status, &err, NULL);
    }
    (void)printf("%s %s marked as published, %s already, %s not here\nsource  %s\nsigned  %s\n",
                 cli_counted(report.added, "event", added),
                 options->is_dry_run ? "would be" : (report.added == 1 ? "is" : "are"),
                 cli_count(report.known, known), cli_count(report.strangers, strangers),
                 report.source, report.signer);
    return code;
}

/* ------------------------------------------------------------------ list */

/* Positions first … last have the sequences that begin with `sequence`. */
struct stretch {
    uint64_t first; /* 0: none */
    uint64_t last;
    uint64_t sequence;
    int64_t stored_first_us; /* the earliest and the latest time that is known; 0: none is */
    int64_t stored_last_us;
    struct quipu_buf stream;
};

static void put_stored(const struct stretch *stretch)
{
    char first[QUIPU_RFC3339_BYTES];
    char last[QUIPU_RFC3339_BYTES];
    if (stretch->stored_first_us == 0) {
        return;
    }
    quipu_rfc3339_format(stretch->stored_first_us, first);
    quipu_rfc3339_format(stretch->stored_last_us, last);
    bool is_one = stretch->stored_first_us == stretch->stored_last_us;
    (void)printf(", stored %s%s%s", first, is_one ? "" : " to ", is_one ? "" : last);
}

static void put_stored_json(struct cli_json *json, const char *key, int64_t unix_us)
{
    if (unix_us == 0) {
        cli_json_null(json, key);
    } else {
        cli_json_time(json, key, unix_us);
    }
}

static void note_stored(struct stretch *stretch, int64_t unix_us)
{
    if (unix_us == 0) {
        return;
    }
    if (stretch->stored_first_us == 0 || unix_us < stretch->stored_first_us) {
        stretch->stored_first_us = unix_us;
    }
    if (unix_us > stretch->stored_last_us) {
        stretch->stored_last_us = unix_us;
    }
}

static enum quipu_status say_stretch(const struct cli *cli, const struct stretch *stretch,
                                     struct quipu_error *err)
{
    struct quipu_slice stream = quipu_buf_slice(&stretch->stream);
    uint64_t last = stretch->sequence == 0 ? 0 : stretch->sequence + stretch->last - stretch->first;
    if (stretch->first == 0) {
        return QUIPU_OK;
    }
    if (!cli->is_json) {
        (void)printf("positions %" PRIu64 " to %" PRIu64 "  ", stretch->first, stretch->last);
        cli_put_plain(stream);
        if (stretch->sequence == 0) {
            (void)printf(", sequences not named");
        } else {
            (void)printf(" %" PRIu64 " to %" PRIu64, stretch->sequence, last);
        }
        put_stored(stretch);
        (void)putchar('\n');
        return QUIPU_OK;
    }
    struct cli_json json = {0};
    cli_json_begin(&json);
    cli_json_number(&json, "first_position", stretch->first);
    cli_json_number(&json, "last_position", stretch->last);
    cli_json_text(&json, "stream", stream);
    cli_json_number(&json, "first_sequence", stretch->sequence);
    cli_json_number(&json, "last_sequence", last);
    put_stored_json(&json, "first_stored_at", stretch->stored_first_us);
    put_stored_json(&json, "last_stored_at", stretch->stored_last_us);
    enum quipu_status status = cli_json_end(&json, err);
    cli_json_release(&json);
    return status;
}

static bool continues(const struct stretch *stretch, uint64_t position,
                      const struct quipu_receipt *receipt)
{
    uint64_t wanted = stretch->sequence == 0 ? 0 : stretch->sequence + (position - stretch->first);
    return stretch->first != 0 && position == stretch->last + 1 && receipt->sequence == wanted &&
           quipu_slice_equal(quipu_buf_slice(&stretch->stream), receipt->stream);
}

static enum quipu_status list_one(const struct cli *cli, struct quipu_txn *txn, uint64_t position,
                                  struct stretch *stretch, struct quipu_error *err)
{
    struct quipu_receipt receipt;
    enum quipu_status status = quipu_receipt_at(txn, position, &receipt, err);
    if (status == QUIPU_NOT_FOUND) {
        return QUIPU_OK; /* not published */
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (continues(stretch, position, &receipt)) {
        stretch->last = position;
        note_stored(stretch, receipt.stored_unix_us);
        return QUIPU_OK;
    }
    status = say_stretch(cli, stretch, err);
    stretch->first = stretch->last = position;
    stretch->sequence = receipt.sequence;
    stretch->stored_first_us = stretch->stored_last_us = 0;
    note_stored(stretch, receipt.stored_unix_us);
    quipu_buf_reset(&stretch->stream);
    quipu_buf_append_slice(&stretch->stream, receipt.stream);
    return status == QUIPU_OK && stretch->stream.status != QUIPU_OK
               ? quipu_error_set(err, stretch->stream.status, "no memory for the name of a stream")
               : status;
}

int cli_receipts_list(const struct cli *cli)
{
    struct quipu_error err;
    struct stretch stretch = {0};
    enum quipu_status status = QUIPU_OK;
    uint64_t last = 1;
    for (uint64_t position = 1; status == QUIPU_OK && position <= last;) {
        struct quipu_txn *txn = NULL;
        status = quipu_txn_begin_read(cli->store, &txn, &err);
        last = status == QUIPU_OK ? quipu_txn_last_position(txn) : 0;
        for (unsigned i = 0; i < SNAPSHOT_EVENTS && status == QUIPU_OK && position <= last; i++) {
            status = list_one(cli, txn, position, &stretch, &err);
            position++;
        }
        quipu_txn_abort(&txn);
    }
    if (status == QUIPU_OK) {
        status = say_stretch(cli, &stretch, &err);
    }
    quipu_buf_release(&stretch.stream);
    return status == QUIPU_OK ? 0 : cli_fail(cli, status, &err, NULL);
}

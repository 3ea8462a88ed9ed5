/*
 * Receipts that travel back: what was published there is published here, under its sequence, and
 * nothing else is; whoever changed a byte is found out.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "bundle_kit.h"
#include "quipu/operations.h"
#include "quipu/outbox.h"
#include "quipu/receipts.h"
#include "receipts_codec.h"
#include "run.h"

static struct temp_dir dir;
static struct store_kit vault;  /* offline: records */
static struct store_kit office; /* connected: publishes */
static char path[PATH_BYTES];

static void set_up(void)
{
    sides_open(&dir, &vault, &office, "receipts.car", path);
}

static void tear_down(void)
{
    sides_close(&dir, &vault, &office);
}

TestSuite(receipts, .init = set_up, .fini = tear_down, .timeout = 300);

/* Events of the vault in the office, behind some of the office's own. */
static void carry_over(size_t events, size_t own)
{
    struct quipu_error err;
    char bundle[PATH_BYTES];
    temp_dir_join(&dir, "bundle.car", bundle);
    store_kit_append(&vault, events, 10);
    store_kit_export(&vault, bundle, NULL);
    for (size_t i = 0; i < own; i++) {
        struct quipu_event event = {.type = "note.written",
                                    .aggregate = {"note", "own"},
                                    .payload = quipu_slice("\xa0", 1)};
        cr_assert_eq(quipu_append(office.engine, &event, NULL, &err), QUIPU_OK, "%s", err.message);
    }
    cr_assert_eq(quipu_import(office.engine, bundle, NULL, NULL, &err), QUIPU_OK, "%s",
                 err.message);
}

/* The server has stored positions from … to, the first under sequence `sequence`. */
static void publish(const char *stream, uint64_t from, uint64_t to, uint64_t sequence)
{
    struct quipu_error err;
    for (uint64_t position = from; position <= to; position++) {
        struct quipu_ack ack = {.position = position, .sequence = sequence + position - from};
        cr_assert_eq(
            quipu_outbox_acknowledge(office.engine, quipu_slice_text(stream), &ack, 1, &err),
            QUIPU_OK, "%s", err.message);
    }
}

static uint64_t published(struct store_kit *kit)
{
    struct quipu_outbox_status status;
    cr_assert_eq(quipu_outbox_status(kit->engine, &status, NULL), QUIPU_OK);
    return status.published;
}

static void must_have_receipt(uint64_t position, const char *stream, uint64_t sequence)
{
    struct quipu_txn *txn = NULL;
    struct quipu_receipt receipt;
    cr_assert_eq(quipu_txn_begin_read(vault.store, &txn, NULL), QUIPU_OK);
    cr_assert_eq(quipu_receipt_at(txn, position, &receipt, NULL), QUIPU_OK);
    cr_assert(quipu_slice_equal(receipt.stream, quipu_slice_text(stream)));
    cr_assert_eq(receipt.sequence, sequence);
    quipu_txn_abort(&txn);
}

static enum quipu_status keep_reason(void *ctx, const struct quipu_operation *operation,
                                     struct quipu_error *err)
{
    struct quipu_buf *reason = ctx;
    (void)err;
    quipu_buf_reset(reason);
    quipu_buf_append_slice(reason, operation->reason);
    return reason->status;
}

/* In the last row of the vault's operations log. */
static void must_be_recorded(const char *wanted)
{
    struct quipu_buf reason = QUIPU_BUF_INIT;
    cr_assert_eq(quipu_each_operation(vault.engine, 0, keep_reason, &reason, NULL), QUIPU_OK);
    cr_assert(quipu_slice_equal(quipu_buf_slice(&reason), quipu_slice_text(wanted)), "%.*s",
              QUIPU_SLICE_FMT(quipu_buf_slice(&reason)));
    quipu_buf_release(&reason);
}

static void export_receipts(struct quipu_receipts_report *report)
{
    struct quipu_error err;
    cr_assert_eq(quipu_receipts_export(office.engine, path, NULL, report, &err), QUIPU_OK, "%s",
                 err.message);
}

Test(receipts, the_offline_machine_knows_what_stands_where)
{
    struct quipu_receipts_report sent;
    struct quipu_receipts_report got;
    struct quipu_error err;
    carry_over(20, 3);
    publish("KEYS", 1, 13, 1001); /* three of its own, ten of the vault */
    publish("MORE", 15, 16, 7);
    export_receipts(&sent);
    cr_assert_eq(sent.receipts, 15u);
    cr_assert_eq(sent.streams, 2u);
    cr_assert_eq(sent.operation, 2u);
    cr_assert_eq(published(&vault), 0u, "a bundle marks nothing");

    cr_assert_eq(quipu_receipts_import(vault.engine, path, NULL, &got, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(got.receipts, 15u);
    cr_assert_eq(got.added, 12u);
    cr_assert_eq(got.known, 0u);
    cr_assert_eq(got.strangers, 3u);
    cr_assert_eq(got.operation, 2u, "behind its own export");
    cr_assert_arr_eq(got.file_sha256, sent.file_sha256, sizeof sent.file_sha256);
    cr_assert_str_eq(got.source, sent.source);
    cr_assert_str_eq(got.signer, sent.source);
    cr_assert_eq(published(&vault), 12u);
    must_have_receipt(1, "KEYS", 1004);
    must_have_receipt(10, "KEYS", 1013);
    must_have_receipt(12, "MORE", 7);
    must_have_receipt(13, "MORE", 8);

    cr_assert_eq(quipu_receipts_import(vault.engine, path, NULL, &got, &err), QUIPU_OK);
    cr_assert_eq(got.added, 0u);
    cr_assert_eq(got.known, 12u);
    cr_assert_eq(published(&vault), 12u);
}

Test(receipts, more_than_one_chunk_and_from_a_pipe)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_receipts_report got;
    struct quipu_error err;
    static struct quipu_ack acks[9000];
    carry_over(9000, 0);
    for (uint64_t i = 0; i < 9000; i++) {
        acks[i] = (struct quipu_ack){.position = i + 1, .sequence = i + 5};
    }
    cr_assert_eq(
        quipu_outbox_acknowledge(office.engine, quipu_slice_text("KEYS"), acks, 9000, &err),
        QUIPU_OK, "%s", err.message);
    export_receipts(NULL);
    struct quipu_slice bytes = read_file(path);
    struct quipu_slice rest = bytes;
    struct quipu_source source = quipu_source_slice(&rest);
    options.source = &source;
    options.is_dry_run = true;
    cr_assert_eq(quipu_receipts_import(vault.engine, "a pipe", &options, &got, &err), QUIPU_OK,
                 "%s", err.message);
    cr_assert_eq(got.added, 9000u);
    cr_assert_eq(published(&vault), 0u);
    options.is_dry_run = false;
    rest = bytes;
    cr_assert_eq(quipu_receipts_import(vault.engine, "a pipe", &options, &got, &err), QUIPU_OK,
                 "%s", err.message);
    cr_assert_eq(published(&vault), 9000u);
    must_have_receipt(8193, "KEYS", 8197);
    free_file(&bytes);
}

/* A stream of zeros behind good bytes; it ends in a failure, far behind what anybody has to read.
 */
struct endless {
    struct quipu_slice first;
    uint64_t given;
};

#define GIVEN_MAX ((uint64_t)64 << 20)

static enum quipu_status endless_read(void *ctx, void *into, size_t cap, size_t *got,
                                      struct quipu_error *err)
{
    struct endless *endless = ctx;
    if (endless->given > GIVEN_MAX) {
        return quipu_error_set(err, QUIPU_IO, "nobody has stopped reading");
    }
    *got = cap;
    memset(into, 0, cap);
    if (endless->first.len > 0) {
        *got = cap < endless->first.len ? cap : endless->first.len;
        memcpy(into, endless->first.data, *got);
        endless->first = quipu_slice(endless->first.data + *got, endless->first.len - *got);
    }
    endless->given += *got;
    return QUIPU_OK;
}

Test(receipts, a_pipe_without_an_end_is_refused_at_its_first_wrong_block)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_error err;
    carry_over(5, 0);
    publish("KEYS", 1, 5, 1);
    export_receipts(NULL);
    struct quipu_slice bytes = read_file(path);
    for (size_t len = 0; len <= bytes.len; len += bytes.len / 4) {
        struct endless endless = {.first = quipu_slice(bytes.data, len)};
        struct quipu_source source = {endless_read, &endless};
        options.source = &source;
        enum quipu_status status =
            quipu_receipts_import(vault.engine, "a pipe", &options, NULL, &err);
        cr_assert(status != QUIPU_OK && status != QUIPU_IO, "%zu: %s", len, err.message);
        cr_assert_lt(endless.given, (uint64_t)16 << 20, "%zu: %s", len, err.message);
    }
    cr_assert_eq(published(&vault), 0u);
    free_file(&bytes);
}

Test(receipts, one_that_contradicts_a_mark_changes_nothing_and_is_counted)
{
    static const struct {
        const char *stream;
        uint64_t sequence;
    } marks[] = {{"KEYS", 1}, {"KEYS", 99}, {"MORE", 3}, {"KEYS", 0}};
    struct quipu_receipts_report got;
    struct quipu_error err;
    carry_over(5, 0);
    publish("KEYS", 1, 5, 1);
    export_receipts(NULL);
    for (uint64_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        struct quipu_ack ack = {.position = i + 1, .sequence = marks[i].sequence};
        cr_assert_eq(quipu_outbox_acknowledge(vault.engine, quipu_slice_text(marks[i].stream), &ack,
                                              1, &err),
                     QUIPU_OK, "%s", err.message);
    }

    cr_assert_eq(quipu_receipts_import(vault.engine, path, NULL, &got, &err), QUIPU_OK, "%s",
                 err.message);

    cr_assert_eq(got.conflicting, 2u);
    cr_assert_eq(got.conflict_position, 2u);
    cr_assert_eq(got.known, 2u, "the same, and one whose sequence nobody knew here");
    cr_assert_eq(got.added, 1u);
    must_have_receipt(2, "KEYS", 99);
    must_have_receipt(3, "MORE", 3);
    must_have_receipt(5, "KEYS", 5);
    must_be_recorded("contradicts what is marked here: 2");
}

Test(receipts, nothing_published_or_a_name_that_is_taken)
{
    struct quipu_receipts_export_options options = QUIPU_RECEIPTS_EXPORT_OPTIONS_INIT;
    carry_over(3, 0);
    cr_assert_eq(quipu_receipts_export(office.engine, path, NULL, NULL, NULL), QUIPU_NOT_FOUND);
    cr_assert_eq(access(path, F_OK), -1);
    publish("KEYS", 1, 1, 1);
    options.operator_name = "";
    cr_assert_eq(quipu_receipts_export(office.engine, path, &options, NULL, NULL), QUIPU_INVALID);
    options.size++;
    cr_assert_eq(quipu_receipts_export(office.engine, path, &options, NULL, NULL), QUIPU_MISUSE);
    write_file(path, quipu_slice_text("mine"));
    cr_assert_eq(quipu_receipts_export(office.engine, path, NULL, NULL, NULL), QUIPU_EXISTS);
}

/* ------------------------------------------------------------------ tampered with */

Test(receipts, every_changed_byte_and_every_cut_is_refused)
{
    carry_over(5, 0);
    publish("KEYS", 1, 5, 1);
    export_receipts(NULL);
    struct quipu_slice bytes = read_file(path);
    uint8_t *copy = malloc(bytes.len);
    cr_assert_not_null(copy);
    for (size_t i = 0; i < bytes.len; i++) {
        struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
        memcpy(copy, bytes.data, bytes.len);
        copy[i] ^= 0x10;
        struct quipu_slice rest = quipu_slice(copy, bytes.len);
        struct quipu_source source = quipu_source_slice(&rest);
        options.source = &source;
        cr_assert_neq(quipu_receipts_import(vault.engine, "changed", &options, NULL, NULL),
                      QUIPU_OK, "byte %zu", i);
        rest = quipu_slice(bytes.data, i);
        cr_assert_neq(quipu_receipts_import(vault.engine, "cut", &options, NULL, NULL), QUIPU_OK,
                      "cut at %zu", i);
    }
    cr_assert_eq(published(&vault), 0u);
    free(copy);
    free_file(&bytes);
}

/* Put together again, signed by `engine`: sections 0 root, 1 statement, 2 chunk. */
static void seal(struct bundle_kit *kit, struct quipu_receipts_statement *statement,
                 struct quipu_engine *engine, size_t signatures)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct quipu_buf signature = QUIPU_BUF_INIT;
    struct quipu_buf root_block = QUIPU_BUF_INIT;
    cr_assert_eq(quipu_receipts_statement_encode(statement, &block, NULL), QUIPU_OK);
    cr_assert_eq(quipu_sshsig_sign(engine, QUIPU_RECEIPTS_NAMESPACE, quipu_buf_slice(&block),
                                   &signature, NULL),
                 QUIPU_OK);
    bundle_kit_replace(kit, 1, QUIPU_CODEC_DAG_CBOR, quipu_buf_slice(&block));
    struct quipu_receipts_root root = {.statement = bundle_kit_cid(kit, 1),
                                       .signature_count = signatures};
    root.signatures[0] = quipu_buf_slice(&signature);
    cr_assert_eq(quipu_receipts_root_encode(&root, &root_block, NULL), QUIPU_OK);
    bundle_kit_replace(kit, 0, QUIPU_CODEC_DAG_CBOR, quipu_buf_slice(&root_block));
    kit->roots[0] = bundle_kit_cid(kit, 0);
    bundle_kit_save(kit, path);
    quipu_buf_release(&block);
    quipu_buf_release(&signature);
    quipu_buf_release(&root_block);
}

static void copied(struct bundle_kit *kit, struct quipu_receipts_statement *statement)
{
    struct quipu_slice block = bundle_kit_block(kit, 1);
    static uint8_t storage[65536];
    cr_assert_leq(block.len, sizeof storage);
    memcpy(storage, block.data, block.len);
    cr_assert_eq(quipu_receipts_statement_decode(quipu_slice(storage, block.len), statement, NULL),
                 QUIPU_OK);
}

Test(receipts, who_signs_must_be_who_published_and_be_trusted)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_receipts_statement statement;
    struct bundle_kit kit = {.count = 0};
    struct quipu_error err;
    char ours[QUIPU_SOURCE_TEXT_BYTES];
    const char *trusted[1] = {ours};
    carry_over(5, 0);
    publish("KEYS", 1, 5, 1);
    cr_assert_eq(quipu_identity_source(vault.engine, ours, NULL), QUIPU_OK);
    export_receipts(NULL);
    options.trusted = trusted;
    options.trusted_count = 1;
    cr_assert_eq(quipu_receipts_import(vault.engine, path, &options, NULL, &err), QUIPU_UNTRUSTED);

    bundle_kit_load(&kit, path);
    copied(&kit, &statement);
    seal(&kit, &statement, vault.engine, 1);
    cr_assert_eq(quipu_receipts_import(vault.engine, path, NULL, NULL, &err), QUIPU_BAD_SIGNATURE,
                 "%s", err.message);
    seal(&kit, &statement, office.engine, 0);
    cr_assert_eq(quipu_receipts_import(vault.engine, path, NULL, NULL, &err), QUIPU_UNSIGNED, "%s",
                 err.message);
    statement.count = 4; /* signed, and a lie */
    seal(&kit, &statement, office.engine, 1);
    cr_assert_eq(quipu_receipts_import(vault.engine, path, NULL, NULL, &err), QUIPU_BUNDLE, "%s",
                 err.message);
    cr_assert_eq(published(&vault), 0u);
    statement.count = 5;
    seal(&kit, &statement, office.engine, 1);
    cr_assert_eq(quipu_receipts_import(vault.engine, path, NULL, NULL, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(published(&vault), 5u);
    quipu_receipts_statement_release(&statement);
    bundle_kit_release(&kit);
}

Test(receipts, a_bundle_is_no_receipt_and_a_receipt_no_bundle)
{
    struct quipu_error err;
    char bundle[PATH_BYTES];
    carry_over(5, 0);
    publish("KEYS", 1, 5, 1);
    export_receipts(NULL);
    temp_dir_join(&dir, "bundle.car", bundle);
    cr_assert_eq(quipu_receipts_import(vault.engine, bundle, NULL, NULL, &err), QUIPU_BUNDLE, "%s",
                 err.message);
    cr_assert_eq(quipu_import(vault.engine, path, NULL, NULL, &err), QUIPU_INVALID, "%s",
                 err.message);
}

/* ------------------------------------------------------------------ killed */

static enum quipu_status import_alone(struct quipu_error *err)
{
    store_kit_open(&vault, &dir, "vault");
    return quipu_receipts_import(vault.engine, path, NULL, NULL, err);
}

static int run_armed(const char *failpoint)
{
    store_kit_close(&vault);
    int ended = store_kit_run_armed(failpoint, import_alone);
    store_kit_open(&vault, &dir, "vault");
    return ended;
}

Test(receipts, a_killed_import_is_run_again)
{
    struct quipu_receipts_report got;
    struct quipu_error err;
    carry_over(20, 0);
    publish("KEYS", 1, 10, 1);
    publish("MORE", 11, 20, 1);
    export_receipts(NULL);
    cr_assert_eq(run_armed("airgap.receipts.mark:kill:2"), -SIGKILL);
    cr_assert_eq(published(&vault), 10u, "true, and not all");
    cr_assert_eq(run_armed("airgap.receipts.mark:fail:1"), QUIPU_IO);
    cr_assert_eq(quipu_receipts_import(vault.engine, path, NULL, &got, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(got.known, 10u);
    cr_assert_eq(got.added, 10u);
    cr_assert_eq(published(&vault), 20u);
}

/*
 * On whose word events come in: of sources that signed, of this store itself, of a signer whom
 * nobody named; and what is told where a signed event meets one that came in unsigned.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

#include "import_kit.h"
#include "quipu/verify.h"

TestSuite(import_word, .init = import_set_up, .fini = import_tear_down, .timeout = 120);

/* Anybody can write an event in another's name and sign the bundle with a key of his own. */
Test(import_word, events_of_who_did_not_sign_want_a_signer_who_is_named_or_a_word)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_import_report report;
    struct store_kit third;
    struct quipu_error err;
    char onward[PATH_BYTES];
    char signer[QUIPU_SOURCE_TEXT_BYTES];
    const char *trusted[1] = {signer};
    uint8_t digest[QUIPU_SHA256_BYTES];
    store_kit_open(&third, &dir, "third");
    store_kit_append(&vault, 50, 10);
    store_kit_export(&vault, path, NULL);
    cr_assert_eq(quipu_import(office.engine, path, NULL, &report, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(report.bundle.unproven, 0u, "its source signed it");
    store_kit_export(&office, temp_dir_join(&dir, "onward.car", onward), NULL);
    cr_assert_eq(quipu_identity_source(office.engine, signer, NULL), QUIPU_OK);

    cr_assert_eq(quipu_import(third.engine, onward, NULL, NULL, &err), QUIPU_UNTRUSTED, "%s",
                 err.message);
    cr_assert_not_null(strstr(err.message, "50 of 50 events"), "%s", err.message);
    cr_assert_not_null(strstr(err.message, signer), "%s", err.message);
    cr_assert_eq(store_kit_digest(&third, digest), 0u);
    options.is_dry_run = true;
    cr_assert_eq(quipu_import(third.engine, onward, &options, &report, &err), QUIPU_OK, "a look");
    cr_assert_eq(report.bundle.unproven, 50u);
    options.is_dry_run = false;
    options.trusted = trusted;
    options.trusted_count = 1;
    cr_assert_eq(quipu_import(third.engine, onward, &options, NULL, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(store_kit_digest(&third, digest), 50u);
    store_kit_close(&third);
}

/* ------------------------------------------------------------------ the store's own source */

/* The store's event at this position; its envelope and payload are copied to `blocks`. */
static uint64_t event_at(struct store_kit *kit, uint64_t position, struct quipu_buf blocks[2])
{
    struct quipu_txn *txn = NULL;
    struct quipu_record record;
    struct quipu_envelope envelope;
    cr_assert_eq(quipu_txn_begin_read(kit->store, &txn, NULL), QUIPU_OK);
    cr_assert_eq(quipu_txn_record_at(txn, position, &record, NULL), QUIPU_OK);
    cr_assert_eq(quipu_envelope_decode(record.envelope, &envelope, NULL), QUIPU_OK);
    uint64_t number = envelope.source_seq;
    for (size_t i = 0; blocks != NULL && i < 2; i++) {
        blocks[i] = (struct quipu_buf)QUIPU_BUF_INIT;
        quipu_buf_append_slice(&blocks[i], i == 0 ? record.envelope : record.payload);
    }
    quipu_txn_abort(&txn);
    return number;
}

/* The office takes in an event that it wrote itself, with the vault as its source and this number:
 * the vault's first one under another id or its own, of another aggregate. */
static struct quipu_cid office_forges_with(uint64_t source_seq, bool has_its_id)
{
    struct quipu_buf blocks[2];
    struct quipu_buf forged = QUIPU_BUF_INIT;
    struct quipu_envelope envelope;
    struct quipu_ingest *ingest = NULL;
    (void)event_at(&vault, 1, blocks);
    cr_assert_eq(quipu_envelope_decode(quipu_buf_slice(&blocks[0]), &envelope, NULL), QUIPU_OK);
    envelope.event_id.bytes[15] ^= has_its_id ? 0 : 1;
    envelope.correlation_id = envelope.event_id;
    envelope.aggregate_id = quipu_slice_text("forged");
    envelope.source_seq = source_seq;
    cr_assert_eq(quipu_envelope_encode(&envelope, &forged, NULL), QUIPU_OK);
    struct quipu_foreign foreign = {
        .cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_buf_slice(&forged)),
        .envelope = quipu_buf_slice(&forged),
        .payload = quipu_buf_slice(&blocks[1]),
    };
    struct quipu_error err;
    cr_assert_eq(quipu_ingest_begin(office.engine, QUIPU_INGEST_STRICT, &ingest, &err), QUIPU_OK);
    cr_assert_eq(quipu_ingest_event(ingest, &foreign, NULL, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(quipu_ingest_commit(&ingest, NULL, &err), QUIPU_OK, "%s", err.message);
    quipu_buf_release(&blocks[0]);
    quipu_buf_release(&blocks[1]);
    quipu_buf_release(&forged);
    return foreign.cid;
}

static void office_forges(uint64_t source_seq)
{
    (void)office_forges_with(source_seq, false);
}

/* The vault's own bundle meets what the office took on somebody's word. */
static void meets_a_forgery(uint64_t source_seq, bool has_its_id, enum quipu_status expected)
{
    struct quipu_buf blocks[2];
    struct quipu_error err;
    char text[QUIPU_CID_TEXT_BYTES];
    store_kit_append(&vault, 3, 10);
    store_kit_export(&vault, path, NULL);
    struct quipu_cid forged = office_forges_with(source_seq, has_its_id);
    (void)event_at(&vault, source_seq == 9 ? 1 : source_seq, blocks);
    struct quipu_cid genuine = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_buf_slice(&blocks[0]));

    cr_assert_eq(quipu_import(office.engine, path, NULL, NULL, &err), expected, "%s", err.message);

    quipu_cid_format(&genuine, text);
    cr_assert_not_null(strstr(err.message, text), "%s", err.message);
    cr_assert_not_null(strstr(err.message, "signed by its source, and"), "%s", err.message);
    quipu_cid_format(&forged, text);
    cr_assert_not_null(strstr(err.message, text), "%s", err.message);
    cr_assert_not_null(strstr(err.message, "on another's word"), "%s", err.message);
    cr_assert_not_null(strstr(err.message, "; restore the backup"), "%s", err.message);
    cr_assert_eq(office_events(), 1u);
    quipu_buf_release(&blocks[0]);
    quipu_buf_release(&blocks[1]);
}

Test(import_word, a_signed_event_whose_id_stands_here_unsigned_is_told_as_that)
{
    meets_a_forgery(9, true, QUIPU_EVENT_ID_CONFLICT);
}

Test(import_word, a_signed_event_whose_number_stands_here_unsigned_is_told_as_that)
{
    meets_a_forgery(2, false, QUIPU_FORK);
}

/* An id of the office's own: what it recorded itself is on nobody's word. */
Test(import_word, an_id_that_this_store_gave_itself_is_no_forgery)
{
    struct quipu_buf blocks[2];
    struct quipu_envelope envelope;
    struct quipu_error err;
    store_kit_append(&vault, 1, 10);
    store_kit_export(&vault, path, NULL);
    (void)event_at(&vault, 1, blocks);
    cr_assert_eq(quipu_envelope_decode(quipu_buf_slice(&blocks[0]), &envelope, NULL), QUIPU_OK);
    struct quipu_event event = {.event_id = envelope.event_id,
                                .type = "note.written",
                                .aggregate = {"note", "own"},
                                .payload = quipu_slice("\xa0", 1)};
    cr_assert_eq(quipu_append(office.engine, &event, NULL, &err), QUIPU_OK, "%s", err.message);

    cr_assert_eq(quipu_import(office.engine, path, NULL, NULL, &err), QUIPU_EVENT_ID_CONFLICT);

    cr_assert_null(strstr(err.message, "word"), "%s", err.message);
    quipu_buf_release(&blocks[0]);
    quipu_buf_release(&blocks[1]);
}

Test(import_word, an_event_in_the_stores_own_name_from_elsewhere_is_refused)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_error err;
    char own[QUIPU_SOURCE_TEXT_BYTES];
    uint8_t before[QUIPU_SHA256_BYTES];
    uint8_t after[QUIPU_SHA256_BYTES];
    store_kit_append(&vault, 3, 10);
    cr_assert_eq(quipu_identity_source(vault.engine, own, NULL), QUIPU_OK);
    cr_assert_eq(store_kit_digest(&vault, before), 3u);
    office_forges(4);
    store_kit_append(&office, 2, 10);
    store_kit_export(&office, path, NULL);

    options.takes_unproven = true;
    for (int i = 0; i < 2; i++) {
        options.keeps_forks = i == 1;
        cr_assert_eq(quipu_import(vault.engine, path, &options, NULL, &err), QUIPU_UNTRUSTED, "%s",
                     err.message);
        cr_assert_not_null(strstr(err.message, "number 4 of"), "%s", err.message);
        cr_assert_not_null(strstr(err.message, own), "%s", err.message);
    }
    cr_assert_eq(store_kit_digest(&vault, after), 3u);
    cr_assert_arr_eq(before, after, sizeof before);
    store_kit_append(&vault, 1, 10);
    cr_assert_eq(event_at(&vault, 4, NULL), 4u, "it numbers on behind its own");
    cr_assert_eq(quipu_verify(vault.engine, NULL, NULL, &err), QUIPU_OK, "%s", err.message);
}

/* The vault as it was after three events of five, beside its key. */
static void vault_loses_its_tail(void)
{
    char from[2 * PATH_BYTES];
    char to[2 * PATH_BYTES];
    char old[PATH_BYTES];
    struct quipu_error err;
    store_kit_append(&vault, 3, 10);
    cr_assert_eq(quipu_store_backup(vault.store, temp_dir_join(&dir, "old", old), &err), QUIPU_OK,
                 "%s", err.message);
    store_kit_append(&vault, 2, 10);
    store_kit_export(&vault, path, NULL);
    (void)snprintf(from, sizeof from, "%s/signing.key", vault.path);
    (void)snprintf(to, sizeof to, "%s/signing.key", old);
    cr_assert_eq(link(from, to), 0);
    store_kit_close(&vault);
    store_kit_open(&vault, &dir, "old");
    /* An image of the disk: it does not say of itself that it is a backup. */
    struct quipu_txn *txn = NULL;
    cr_assert_eq(quipu_txn_begin_write(vault.store, &txn, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(quipu_txn_backup_mark_clear(txn, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(quipu_txn_commit(&txn, &err), QUIPU_OK, "%s", err.message);
}

Test(import_word, a_store_that_lost_its_tail_takes_it_back_from_its_own_bundle_only)
{
    struct quipu_import_report report;
    struct quipu_error err;
    char onward[PATH_BYTES];
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    options.takes_unproven = true;
    vault_loses_its_tail();
    temp_dir_join(&dir, "onward.car", onward);
    cr_assert_eq(quipu_import(office.engine, path, NULL, NULL, &err), QUIPU_OK, "%s", err.message);
    store_kit_export(&office, onward, NULL);

    cr_assert_eq(quipu_import(vault.engine, onward, &options, &report, &err), QUIPU_UNTRUSTED, "%s",
                 err.message);
    cr_assert_not_null(strstr(err.message, "bring the bundle that this store itself signed"), "%s",
                       err.message);
    cr_assert_eq(quipu_import(vault.engine, path, NULL, &report, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(report.events.added, 2u);
    cr_assert_eq(report.events.known, 3u);
    cr_assert_eq(quipu_import(vault.engine, onward, &options, &report, &err), QUIPU_OK,
                 "now it has all of that: %s", err.message);
    store_kit_append(&vault, 1, 10);
    cr_assert_eq(event_at(&vault, 6, NULL), 6u);
    cr_assert_eq(quipu_verify(vault.engine, NULL, NULL, &err), QUIPU_OK, "%s", err.message);
}

/*
 * The scrub: it counts right, and every kind of damage is found. Damage is done to the file, or by
 * writing through the store what the engine would never write.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_kit.h"
#include "identity.h"
#include "internal/bytes.h"
#include "numbers.h"
#include "registry.h"
#include "tables.h"

static struct kit kit;

static void setup(void)
{
    kit_open(&kit);
}

static void teardown(void)
{
    kit_close(&kit);
}

TestSuite(verify, .init = setup, .fini = teardown);

/* What the last call of verify said of its progress. */
static struct {
    uint64_t calls;
    uint64_t done;
    uint64_t total;
    uint64_t bytes;
    unsigned parts;
} seen;

static void note_progress(void *ctx, const struct quipu_verify_progress *progress)
{
    (void)ctx;
    seen.calls++;
    if (strcmp(progress->part, "events") == 0) {
        cr_assert_geq(progress->done, seen.done);
        seen.done = progress->done;
        seen.total = progress->total;
        seen.bytes = progress->block_bytes;
    }
    seen.parts |= strcmp(progress->part, "indexes") == 0 ? 1u : 0;
    seen.parts |= strcmp(progress->part, "tables") == 0 ? 2u : 0;
    if (strcmp(progress->part, "pages") == 0) {
        cr_assert_eq(seen.parts & 3u, 0, "pages come first");
        seen.parts |= 4u;
    }
}

static struct kit_findings verify(enum quipu_status expected)
{
    struct kit_findings findings = {.count = 0};
    struct quipu_verify_options options = QUIPU_VERIFY_OPTIONS_INIT;
    struct quipu_verify_report report = {.problems = 999};
    options.problem = kit_note_problem;
    options.progress = note_progress;
    options.ctx = &findings;
    memset(&seen, 0, sizeof seen);
    enum quipu_status status = quipu_verify(kit.engine, &options, &report, &kit.err);
    cr_assert_eq(status, expected, "%s: %s", quipu_status_name(status), findings.text);
    cr_assert_eq(report.problems, findings.count);
    return findings;
}

/* One kind of damage gives CORRUPT and a line with these words. */
static struct kit_findings assert_finds(const char *words)
{
    struct kit_findings findings = verify(QUIPU_CORRUPT);
    cr_assert_not_null(strstr(findings.text, words), "'%s' in: %s", words, findings.text);
    char first[512];
    (void)snprintf(first, sizeof first, "%.*s", (int)strcspn(findings.text, "\n"), findings.text);
    cr_assert_eq(strncmp(kit.err.message, first, strlen(first)), 0, "%s", kit.err.message);
    return findings;
}

/* ------------------------------------------------------------------ sound stores */

Test(verify, finds_nothing_in_an_empty_store)
{
    struct kit_findings findings = verify(QUIPU_OK);
    cr_assert_eq(findings.count, 0);
}

Test(verify, counts_what_it_saw)
{
    struct quipu_verify_report report;
    struct kit_foreign copy;
    uint64_t bytes = 0;
    for (int i = 0; i < 300; i++) {
        kit_append(&kit, i % 3 == 0 ? "a" : "b", i);
    }
    for (uint64_t i = 1; i <= 300; i++) {
        kit_foreign_copy(&kit, i, &copy);
        bytes += copy.foreign.envelope.len + copy.foreign.payload.len;
        kit_foreign_release(&copy);
    }

    kit_assert_ok(&kit, quipu_verify(kit.engine, NULL, &report, &kit.err));

    cr_assert_eq(report.events, 300);
    cr_assert_eq(report.block_bytes, bytes);
    cr_assert_eq(report.aggregates, 2);
    cr_assert_eq(report.sources, 1);
    cr_assert_eq(report.problems, 0);
    kit_assert_ok(&kit, quipu_verify(kit.engine, NULL, NULL, &kit.err));
    (void)verify(QUIPU_OK);
    cr_assert_geq(seen.calls, 1);
    cr_assert_eq(seen.bytes, bytes);
    cr_assert_eq(seen.parts, 7);
    cr_assert_eq(seen.done, 300);
    cr_assert_eq(seen.total, 300);
}

Test(verify, refuses_strange_options)
{
    struct quipu_verify_options options = {.size = 1};
    cr_assert_eq(quipu_verify(kit.engine, &options, NULL, &kit.err), QUIPU_MISUSE);
}

/* ------------------------------------------------------------------ damaged bytes */

Test(verify, finds_a_changed_byte_in_a_payload)
{
    kit_append(&kit, "a", 1);
    struct quipu_event event = kit_event(&kit, "a", 2);
    event.payload = kit_block(&kit, "{\"word\":\"somewhere-unique\"}");
    kit_assert_ok(&kit, quipu_append(kit.engine, &event, NULL, &kit.err));

    kit_damage(&kit, "somewhere-unique", 0);

    struct kit_findings findings = assert_finds("position 2: the payload does not hash");
    cr_assert_eq(findings.first_position, 2);
}

Test(verify, finds_a_changed_byte_in_an_envelope)
{
    kit_append(&kit, "a", 1);
    struct quipu_event event = kit_event(&kit, "a", 2);
    event.meta = kit_block(&kit, "{\"word\":\"somewhere-unique\"}");
    kit_assert_ok(&kit, quipu_append(kit.engine, &event, NULL, &kit.err));

    kit_damage(&kit, "somewhere-unique", 0);

    assert_finds("position 2: the envelope does not hash");
}

Test(verify, finds_an_envelope_that_is_none_any_more_and_goes_on)
{
    kit_append(&kit, "a", 1);
    struct quipu_event event = kit_event(&kit, "a", 2);
    event.type = "somewhere-unique";
    kit_assert_ok(&kit, quipu_append(kit.engine, &event, NULL, &kit.err));
    event = kit_event(&kit, "b", 2);
    event.payload = kit_block(&kit, "{\"word\":\"xx-elsewhere-unique\"}");
    kit_assert_ok(&kit, quipu_append(kit.engine, &event, NULL, &kit.err));

    kit_damage(&kit, "elsewhere-unique", 0);
    kit_damage(&kit, "somewhere-unique", 0);

    assert_finds("position 2: ");
    assert_finds("position 3: the payload does not hash");
    cr_assert_not_null(strstr(kit.err.message, " more)"), "%s", kit.err.message);
}

/* ------------------------------------------------------------------ what nobody should write */

static struct quipu_uuid event_id_at(uint64_t position)
{
    struct kit_foreign copy;
    struct quipu_envelope envelope;
    kit_foreign_copy(&kit, position, &copy);
    kit_assert_ok(&kit, quipu_envelope_decode(copy.foreign.envelope, &envelope, &kit.err));
    kit_foreign_release(&copy);
    return envelope.event_id;
}

/* Append event `position`'s envelope anew after `change`, with its payload. */
static void append_changed(uint64_t position, void (*change)(struct quipu_envelope *envelope),
                           bool count_own)
{
    struct kit_foreign copy;
    struct quipu_envelope envelope;
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct quipu_txn *txn = NULL;
    kit_foreign_copy(&kit, position, &copy);
    kit_assert_ok(&kit, quipu_envelope_decode(copy.foreign.envelope, &envelope, &kit.err));
    envelope.event_id = kit_uuid((uint8_t)(200 + position));
    change(&envelope);
    kit_assert_ok(&kit, quipu_envelope_encode(&envelope, &block, &kit.err));
    struct quipu_record_new record = {
        .aggregate = {envelope.aggregate_type, envelope.aggregate_id},
        .version = envelope.version,
        .event_id = envelope.event_id,
        .envelope_cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_buf_slice(&block)),
        .payload_cid = envelope.payload,
        .event_type = envelope.event_type,
        .correlation_id = envelope.correlation_id,
        .envelope = quipu_buf_slice(&block),
        .payload = copy.foreign.payload,
    };
    uint64_t at = 0;
    struct identity_row row;
    kit_assert_ok(&kit, quipu_txn_begin_write(kit.store, &txn, &kit.err));
    kit_assert_ok(&kit, quipu_txn_append(txn, &record, &at, &kit.err));
    if (count_own) {
        kit_assert_ok(&kit, identity_row_get(txn, &row, &kit.err));
        row.last_seq++;
        kit_assert_ok(&kit, identity_row_put(txn, &row, &kit.err));
    }
    kit_assert_ok(&kit, quipu_txn_commit(&txn, &kit.err));
    quipu_buf_release(&block);
    kit_foreign_release(&copy);
}

static void skip_a_version(struct quipu_envelope *envelope)
{
    envelope->version = 4;
    envelope->source_seq = 3;
    envelope->prev_count = 1;
}

Test(verify, finds_a_version_that_does_not_follow)
{
    kit_append(&kit, "a", 1);
    kit_append(&kit, "a", 2);
    append_changed(2, skip_a_version, true);
    assert_finds("position 3: version 4 follows version 2");
}

static void name_another_prev(struct quipu_envelope *envelope)
{
    envelope->version = 3;
    envelope->source_seq = 3; /* prev stays that of version 2 */
}

Test(verify, finds_a_prev_that_is_not_the_event_before)
{
    kit_append(&kit, "a", 1);
    kit_append(&kit, "a", 2);
    append_changed(2, name_another_prev, true);
    assert_finds("position 3: prev does not name");
}

static void begin_again(struct quipu_envelope *envelope)
{
    envelope->source_seq = 3;
}

Test(verify, finds_a_second_first_event_of_an_aggregate)
{
    kit_append(&kit, "a", 1);
    kit_append(&kit, "a", 2);
    append_changed(1, begin_again, true);
    assert_finds("position 3: version 1, but its back-pointer leads to position 2");
}

static struct quipu_cid last_cid;

static void take_the_id_of_the_first(struct quipu_envelope *envelope)
{
    envelope->event_id = event_id_at(1);
    envelope->version = 3;
    envelope->source_seq = 3;
    envelope->prev[0] = last_cid;
}

Test(verify, finds_an_event_id_that_is_there_twice)
{
    struct quipu_verify_report report;
    struct kit_foreign copy;
    char id[QUIPU_UUID_TEXT_BYTES];
    kit_append(&kit, "a", 1);
    kit_append(&kit, "a", 2);
    kit_foreign_copy(&kit, 2, &copy);
    last_cid = copy.foreign.cid;
    append_changed(2, take_the_id_of_the_first, true);
    quipu_uuid_format(event_id_at(1), id);

    struct kit_findings findings = assert_finds("position 3: REPEATED event_id ");
    cr_assert_eq(findings.count, 1, "%s", findings.text);
    cr_assert_eq(findings.first_position, 3);
    cr_assert_not_null(strstr(findings.text, id), "%s", findings.text);
    cr_assert_not_null(strstr(findings.text, "which position 1 has too, another event"), "%s",
                       findings.text);
    cr_assert_eq(quipu_verify(kit.engine, NULL, &report, &kit.err), QUIPU_CORRUPT);
    cr_assert_eq(report.repeated, 1);
    cr_assert_eq(report.mendable, 0, "no index is wrong");
    /* Indexes that are made again are those of the same log. */
    kit_shut(&kit);
    kit_assert_ok(&kit, quipu_store_repair(kit.path, NULL, NULL, &kit.err));
    kit_reopen(&kit);
    assert_finds("position 3: REPEATED event_id ");
    kit_foreign_release(&copy);
}

static void come_from_nowhere(struct quipu_envelope *envelope)
{
    envelope->aggregate_id = quipu_slice_text("other");
    envelope->source_seq = 3;
}

Test(verify, finds_a_later_version_without_an_event_before)
{
    kit_append(&kit, "a", 1);
    kit_append(&kit, "a", 2);
    append_changed(2, come_from_nowhere, true);
    assert_finds("position 3: version 2, but its back-pointer leads to position 0");
}

static void skip_a_number(struct quipu_envelope *envelope)
{
    envelope->aggregate_id = quipu_slice_text("other");
    envelope->source_seq = 7;
}

Test(verify, finds_a_gap_in_the_numbers_of_its_own_source)
{
    kit_append(&kit, "a", 1);
    append_changed(1, skip_a_number, false);
    struct kit_findings findings = assert_finds("expected 2, found 7");
    cr_assert_not_null(strstr(findings.text, "counts 1 events of its own, the log has 7"), "%s",
                       findings.text);
}

static void name_a_wrong_cause(struct quipu_envelope *envelope)
{
    envelope->aggregate_id = quipu_slice_text("other");
    envelope->source_seq = 3;
    envelope->causation_id = kit_uuid(1);
    envelope->has_causation = true;
    envelope->causation = envelope->payload;
}

static void name_a_missing_cause(struct quipu_envelope *envelope)
{
    name_a_wrong_cause(envelope);
    envelope->causation_id = kit_uuid(9);
}

static void fill_with_known_id(void)
{
    struct quipu_event event = kit_event(&kit, "a", 1);
    event.event_id = kit_uuid(1);
    kit_assert_ok(&kit, quipu_append(kit.engine, &event, NULL, &kit.err));
    kit_append(&kit, "b", 2);
}

static void come_from_another_store(struct quipu_envelope *envelope)
{
    name_a_missing_cause(envelope);
    envelope->source = quipu_slice_text("UAAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB63NN");
}

static void put_source_number(const char *source, uint64_t source_seq, uint64_t position)
{
    struct quipu_txn *txn = NULL;
    kit_assert_ok(&kit, quipu_txn_begin_write(kit.store, &txn, &kit.err));
    kit_assert_ok(&kit, numbers_put(txn, quipu_slice_text(source), source_seq, position, &kit.err));
    kit_assert_ok(&kit, quipu_txn_commit(&txn, &kit.err));
}

Test(verify, finds_numbers_of_sources_that_lead_elsewhere)
{
    static const char source[] = "UAAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB63NN";
    fill_with_known_id();
    append_changed(1, come_from_another_store, false);
    put_source_number(source, 3, 2);
    assert_finds("that of position 2 too");
    put_source_number(source, 3, 3);
    kit_assert_sound(&kit, 3);
    put_source_number(source, 4, 1);
    assert_finds("the table of numbers has 2 rows for 1 events");
    put_source_number(source, 4, 4);
    assert_finds("leads to position 4, the last one is 3");
}

Test(verify, finds_a_cause_that_is_another_envelope)
{
    fill_with_known_id();
    append_changed(1, name_a_wrong_cause, true);
    assert_finds("position 3: causation names another envelope");
}

Test(verify, finds_a_link_of_its_own_to_a_cause_that_is_not_here)
{
    fill_with_known_id();
    append_changed(1, name_a_missing_cause, true);
    assert_finds("position 3: its cause cannot be read");
}

Test(verify, lets_a_foreign_event_link_to_a_cause_that_stayed_elsewhere)
{
    fill_with_known_id();
    append_changed(1, come_from_another_store, false);
    assert_finds("position 3: number 3 of source "
                 "UAAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB63NN came from elsewhere");
    put_source_number("UAAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB63NN", 3, 3);
    struct quipu_verify_report report;
    kit_assert_ok(&kit, quipu_verify(kit.engine, NULL, &report, &kit.err));
    cr_assert_eq(report.sources, 2);
    cr_assert_eq(report.aggregates, 3);
}

static void have_a_wrong_source(struct quipu_envelope *envelope)
{
    envelope->aggregate_id = quipu_slice_text("other");
    envelope->source = quipu_slice_text("UBAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB63NN");
}

Test(verify, finds_a_source_whose_checksum_is_wrong)
{
    fill_with_known_id();
    append_changed(1, have_a_wrong_source, false);
    assert_finds("checksum is wrong");
}

static void have_json_for_payload(struct quipu_envelope *envelope)
{
    envelope->aggregate_id = quipu_slice_text("other");
    envelope->source_seq = 2;
}

Test(verify, finds_a_payload_that_hashes_but_is_not_dag_cbor)
{
    static const char json[] = "{\"json\":1}";
    struct kit_foreign copy;
    struct quipu_envelope envelope;
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct quipu_txn *txn = NULL;
    struct identity_row row;
    uint64_t at = 0;
    kit_append(&kit, "a", 1);
    kit_foreign_copy(&kit, 1, &copy);
    kit_assert_ok(&kit, quipu_envelope_decode(copy.foreign.envelope, &envelope, &kit.err));
    have_json_for_payload(&envelope);
    envelope.event_id = kit_uuid(7);
    envelope.payload = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_slice_text(json));
    kit_assert_ok(&kit, quipu_envelope_encode(&envelope, &block, &kit.err));
    struct quipu_record_new record = {
        .aggregate = {envelope.aggregate_type, envelope.aggregate_id},
        .version = 1,
        .event_id = envelope.event_id,
        .envelope_cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_buf_slice(&block)),
        .payload_cid = envelope.payload,
        .event_type = envelope.event_type,
        .correlation_id = envelope.correlation_id,
        .envelope = quipu_buf_slice(&block),
        .payload = quipu_slice_text(json),
    };
    kit_assert_ok(&kit, quipu_txn_begin_write(kit.store, &txn, &kit.err));
    kit_assert_ok(&kit, quipu_txn_append(txn, &record, &at, &kit.err));
    kit_assert_ok(&kit, identity_row_get(txn, &row, &kit.err));
    row.last_seq++;
    kit_assert_ok(&kit, identity_row_put(txn, &row, &kit.err));
    kit_assert_ok(&kit, quipu_txn_commit(&txn, &kit.err));

    struct kit_findings findings = assert_finds("position 2: payload: ");
    cr_assert_eq(findings.count, 1, "%s", findings.text);
    quipu_buf_release(&block);
    kit_foreign_release(&copy);
}

/* ------------------------------------------------------------------ tables */

static void put_row(struct quipu_table table, struct quipu_slice key, struct quipu_slice value)
{
    struct quipu_txn *txn = NULL;
    kit_assert_ok(&kit, quipu_txn_begin_write(kit.store, &txn, &kit.err));
    kit_assert_ok(&kit, quipu_txn_table_put(txn, table, key, value, &kit.err));
    kit_assert_ok(&kit, quipu_txn_commit(&txn, &kit.err));
}

static void put_number(const char *key, uint64_t value)
{
    uint8_t bytes[8];
    quipu_store_be64(bytes, value);
    put_row(TABLE_META, quipu_slice_text(key), quipu_slice(bytes, 8));
}

static void put_at(struct quipu_table table, uint64_t position, struct quipu_slice value)
{
    uint8_t key[POSITION_KEY_BYTES];
    put_row(table, position_key(position, key), value);
}

/* Three events, the first published, the second a dead letter. */
static void fill_outbox(void)
{
    const struct quipu_ack ack = {1, 1, false, 0};
    for (int i = 0; i < 3; i++) {
        kit_append(&kit, "a", i);
    }
    kit_assert_ok(
        &kit, quipu_outbox_acknowledge(kit.engine, quipu_slice_text("EVENTS"), &ack, 1, &kit.err));
    kit_assert_ok(&kit,
                  quipu_outbox_bury(kit.engine, 2, QUIPU_SERVER, quipu_slice_text("no"), &kit.err));
    kit_assert_sound(&kit, 3);
}

Test(verify, finds_counters_and_a_cursor_that_are_wrong)
{
    fill_outbox();
    put_number(META_OUTBOX_CURSOR, 3);
    assert_finds("position 3: is neither published nor a dead letter");
    put_number(META_OUTBOX_CURSOR, 9);
    assert_finds("the cursor is at 9, beyond the log's end, 3");
    put_number(META_OUTBOX_CURSOR, 2);
    put_number(META_PUBLISHED, 2);
    assert_finds("published says 2, counted 1");
    put_number(META_PUBLISHED, 1);
    put_number(META_DEAD, 7);
    assert_finds("dead says 7, counted 1");
    struct quipu_outbox_status status;
    cr_assert_eq(quipu_outbox_status(kit.engine, &status, &kit.err), QUIPU_CORRUPT);
    put_number(META_DEAD, 1);
    kit_assert_sound(&kit, 3);
    put_row(TABLE_META, quipu_slice_text(META_DEAD), quipu_slice_text("one"));
    assert_finds("meta row dead");
    cr_assert_eq(quipu_outbox_status(kit.engine, &status, &kit.err), QUIPU_CORRUPT);
}

Test(verify, finds_receipts_that_cannot_be)
{
    static const uint8_t two[] = "\1E\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\4";
    struct quipu_slice two_receipts = quipu_slice(two, sizeof two - 1);
    fill_outbox();
    put_at(TABLE_RECEIPTS, 3, two_receipts);
    assert_finds("receipts for positions beyond the log's end");
    put_at(TABLE_RECEIPTS, 3, quipu_slice(two, 10));
    put_at(TABLE_RECEIPTS, 2, two_receipts);
    struct kit_findings findings = assert_finds("position 3: has two receipts");
    cr_assert_not_null(strstr(findings.text, "position 2: is a dead letter and has a receipt"),
                       "%s", findings.text);
    put_at(TABLE_RECEIPTS, 2, quipu_slice_text("\1"));
    assert_finds("that are no receipts");
    put_at(TABLE_RECEIPTS, 2, quipu_slice_text("\0"));
    assert_finds("that are no receipts");
    put_row(TABLE_RECEIPTS, quipu_slice_text("key"), two_receipts);
    assert_finds("receipts");
}

Test(verify, finds_dead_letters_that_cannot_be)
{
    fill_outbox();
    put_at(TABLE_DEAD_LETTERS, 2, kit_block(&kit, "{\"line\":1}"));
    assert_finds("dead letter of position 2");
    put_at(TABLE_DEAD_LETTERS, 2,
           kit_block(&kit, "{\"line\":\"\",\"reason\":1,\"buried_at\":1,\"is_dropped\":1}"));
    assert_finds("'is_dropped' is not true or false");
    put_at(TABLE_DEAD_LETTERS, 2,
           kit_block(&kit, "{\"line\":\"\",\"reason\":1,\"buried_at\":1,\"is_dropped\":true}"));
    kit_assert_sound(&kit, 3);
    put_at(TABLE_DEAD_LETTERS, 9,
           kit_block(&kit, "{\"line\":\"\",\"reason\":1,\"buried_at\":1,\"is_dropped\":true}"));
    assert_finds("position 9: is a dead letter beyond the log's end");
}

Test(verify, finds_projections_and_quarantine_that_cannot_be)
{
    struct registry_row row = {.table = TABLE_ROWS_FIRST, .version = 1, .position = 4};
    struct quipu_txn *txn = NULL;
    fill_outbox();
    kit_assert_ok(&kit, quipu_txn_begin_write(kit.store, &txn, &kit.err));
    kit_assert_ok(&kit, registry_put(txn, "late", &row, &kit.err));
    row = (struct registry_row){.table = TABLE_ROWS_FIRST, .version = 1, .beside_position = 4};
    kit_assert_ok(&kit, registry_put(txn, "beside", &row, &kit.err));
    row = (struct registry_row){.table = 3, .version = 1};
    kit_assert_ok(&kit, registry_put(txn, "strange", &row, &kit.err));
    kit_assert_ok(&kit, quipu_txn_commit(&txn, &kit.err));
    put_row(TABLE_QUARANTINE, quipu_slice_text("no CID"), quipu_slice_text("x"));

    struct kit_findings findings = assert_finds("projection late: its checkpoint is beyond");
    cr_assert_not_null(strstr(findings.text, "projection beside: its checkpoint is beyond"));
    cr_assert_not_null(strstr(findings.text, "projection strange: its row names table 3"));
    cr_assert_not_null(strstr(findings.text, "quarantine"));
    put_row(TABLE_PROJECTIONS, quipu_slice_text("short"), quipu_slice_text("x"));
    assert_finds("projection: a row of 1 bytes");
}

Test(verify, finds_a_source_row_that_is_none)
{
    fill_outbox();
    put_row(TABLE_META, quipu_slice_text(META_SOURCE), quipu_slice_text("me"));
    assert_finds("meta row source");
    kit_reopen(&kit);
    struct quipu_event event = kit_event(&kit, "a", 1);
    cr_assert_eq(quipu_append(kit.engine, &event, NULL, &kit.err), QUIPU_CORRUPT);
}

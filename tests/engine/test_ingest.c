/*
 * Taking in foreign events: every outcome, under both policies.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ingest_kit.h"

TestSuite(ingest, .init = ingest_kit_open, .fini = ingest_kit_close);

/* ------------------------------------------------------------------ what is taken */

Test(ingest, adds_foreign_events_as_they_came)
{
    kit_append(&theirs, "a", 1);
    kit_append(&theirs, "a", 2);
    kit_append(&theirs, "b", 3);
    struct quipu_ingest *ingest = NULL;
    struct quipu_ingest_report report;
    struct kit_foreign events[3];

    kit_assert_ok(&ours, quipu_ingest_begin(ours.engine, QUIPU_INGEST_STRICT, &ingest, &ours.err));
    for (uint64_t i = 0; i < 3; i++) {
        enum quipu_ingest_outcome outcome;
        kit_foreign_copy(&theirs, i + 1, &events[i]);
        kit_assert_ok(&ours, quipu_ingest_event(ingest, &events[i].foreign, &outcome, &ours.err));
        cr_assert_eq(outcome, QUIPU_INGEST_ADDED);
    }
    kit_assert_ok(&ours, quipu_ingest_commit(&ingest, &report, &ours.err));

    cr_assert_eq(report.added, 3);
    cr_assert_eq(report.known, 0);
    for (uint64_t i = 0; i < 3; i++) {
        struct kit_foreign copy;
        kit_foreign_copy(&ours, i + 1, &copy);
        cr_assert(quipu_cid_equal(&copy.foreign.cid, &events[i].foreign.cid));
        cr_assert(quipu_slice_equal(copy.foreign.envelope, events[i].foreign.envelope));
        cr_assert(quipu_slice_equal(copy.foreign.payload, events[i].foreign.payload));
        kit_foreign_release(&copy);
        kit_foreign_release(&events[i]);
    }
    kit_assert_sound(&ours, 3);
    cr_assert_eq(kit_append(&ours, "a", 4).version, 3, "our own follow on theirs");
    kit_assert_sound(&ours, 4);
}

Test(ingest, knows_what_it_has_and_writes_nothing_for_it)
{
    struct kit_foreign event;
    struct quipu_ingest *ingest = NULL;
    struct quipu_ingest_report report;
    kit_append(&theirs, "a", 1);
    ingest_kit_take_position(1);
    kit_foreign_copy(&theirs, 1, &event);

    kit_assert_ok(&ours, quipu_ingest_begin(ours.engine, QUIPU_INGEST_STRICT, &ingest, &ours.err));
    kit_assert_ok(&ours, quipu_ingest_event(ingest, &event.foreign, NULL, &ours.err));
    kit_assert_ok(&ours, quipu_ingest_commit(&ingest, &report, &ours.err));

    cr_assert_eq(report.known, 1);
    cr_assert_eq(report.added, 0);
    kit_assert_sound(&ours, 1);
    kit_foreign_release(&event);
}

Test(ingest, leaves_no_trace_when_it_is_aborted)
{
    struct kit_foreign event;
    struct quipu_ingest *ingest = NULL;
    kit_append(&theirs, "a", 1);
    kit_foreign_copy(&theirs, 1, &event);
    event.foreign.stream = quipu_slice_text("EVENTS");
    event.foreign.sequence = 5;
    kit_assert_ok(&ours, quipu_ingest_begin(ours.engine, QUIPU_INGEST_STRICT, &ingest, &ours.err));
    kit_assert_ok(&ours, quipu_ingest_event(ingest, &event.foreign, NULL, &ours.err));

    quipu_ingest_abort(&ingest);

    struct quipu_outbox_status status;
    kit_assert_ok(&ours, quipu_outbox_status(ours.engine, &status, &ours.err));
    cr_assert_eq(status.published, 0);
    kit_assert_sound(&ours, 0);
    kit_foreign_release(&event);
}

static struct quipu_receipt receipt_at(uint64_t position, char stream[64])
{
    struct quipu_txn *txn = NULL;
    struct quipu_receipt receipt;
    kit_assert_ok(&ours, quipu_txn_begin_read(ours.store, &txn, &ours.err));
    kit_assert_ok(&ours, quipu_receipt_at(txn, position, &receipt, &ours.err));
    (void)snprintf(stream, 64, "%.*s", QUIPU_SLICE_FMT(receipt.stream));
    quipu_txn_abort(&txn);
    return receipt;
}

Test(ingest, gives_pulled_events_their_receipts)
{
    struct quipu_ingest *ingest = NULL;
    struct quipu_outbox_status status;
    char stream[64];
    for (int i = 0; i < 300; i++) {
        kit_append(&theirs, "a", i);
    }
    kit_assert_ok(&ours,
                  quipu_ingest_begin(ours.engine, QUIPU_INGEST_QUARANTINE, &ingest, &ours.err));
    for (uint64_t i = 1; i <= 300; i++) {
        struct kit_foreign event;
        kit_foreign_copy(&theirs, i, &event);
        event.foreign.stream = quipu_slice_text("EVENTS");
        event.foreign.sequence = 1000 + i;
        kit_assert_ok(&ours, quipu_ingest_event(ingest, &event.foreign, NULL, &ours.err));
        kit_foreign_release(&event);
    }
    kit_assert_ok(&ours, quipu_ingest_commit(&ingest, NULL, &ours.err));

    kit_assert_ok(&ours, quipu_outbox_status(ours.engine, &status, &ours.err));
    cr_assert_eq(status.published, 300);
    cr_assert_eq(status.pending, 0);
    cr_assert_eq(status.cursor, 300);
    cr_assert_eq(receipt_at(300, stream).sequence, 1300);
    cr_assert_str_eq(stream, "EVENTS");
    kit_assert_sound(&ours, 300);
}

Test(ingest, notes_the_receipt_of_an_event_that_it_has)
{
    struct kit_foreign event;
    struct quipu_outbox_status status;
    enum quipu_ingest_outcome outcome;
    char stream[64];
    kit_append(&ours, "a", 1);
    kit_append(&ours, "a", 2);
    kit_assert_ok(
        &ours, quipu_outbox_bury(ours.engine, 2, QUIPU_SERVER, quipu_slice_text("no"), &ours.err));
    for (uint64_t i = 1; i <= 2; i++) {
        kit_foreign_copy(&ours, i, &event);
        event.foreign.stream = quipu_slice_text("EVENTS");
        event.foreign.sequence = 77;
        cr_assert_eq(ingest_kit_take(QUIPU_INGEST_QUARANTINE, &event.foreign, &outcome), QUIPU_OK);
        cr_assert_eq(outcome, QUIPU_INGEST_KNOWN);
        event.foreign.sequence = 78;
        cr_assert_eq(ingest_kit_take(QUIPU_INGEST_QUARANTINE, &event.foreign, &outcome), QUIPU_OK);
        cr_assert_eq(receipt_at(i, stream).sequence, 77, "the first receipt stays");
        kit_foreign_release(&event);
    }
    kit_assert_ok(&ours, quipu_outbox_status(ours.engine, &status, &ours.err));
    cr_assert_eq(status.published, 2);
    cr_assert_eq(status.dead, 0, "it is in the stream, so it is no dead letter");
    kit_assert_sound(&ours, 2);
}

/* ------------------------------------------------------------------ what is refused */

Test(ingest, refuses_blocks_that_do_not_hash)
{
    struct kit_foreign event;
    kit_append(&theirs, "a", 1);
    kit_foreign_copy(&theirs, 1, &event);

    event.payload.data[3] ^= 1;
    assert_refused(&event.foreign, QUIPU_CID_MISMATCH, "payload");
    event.payload.data[3] ^= 1;
    kit_assert_ok(&ours, quipu_quarantine_drop(ours.engine, &event.foreign.cid, &ours.err));
    event.foreign.cid.digest[0] ^= 1;
    assert_refused(&event.foreign, QUIPU_CID_MISMATCH, "envelope");
    event.foreign.cid.digest[0] ^= 1;
    event.foreign.cid.codec = QUIPU_CODEC_RAW;
    cr_assert_eq(ingest_kit_take(QUIPU_INGEST_STRICT, &event.foreign, NULL), QUIPU_CID_MISMATCH);
    cr_assert_eq(ingest_kit_take(QUIPU_INGEST_QUARANTINE, &event.foreign, NULL), QUIPU_OK);
    event.foreign.cid.codec = 0;
    cr_assert_eq(ingest_kit_take(QUIPU_INGEST_QUARANTINE, &event.foreign, NULL), QUIPU_MISUSE);
    kit_assert_sound(&ours, 0);
    kit_foreign_release(&event);
}

static void put_block(struct kit_foreign *event, struct quipu_slice block)
{
    quipu_buf_reset(&event->envelope);
    quipu_buf_append_slice(&event->envelope, block);
    event->foreign.envelope = quipu_buf_slice(&event->envelope);
    event->foreign.cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, event->foreign.envelope);
}

Test(ingest, refuses_what_is_no_envelope)
{
    struct kit_foreign event;
    kit_append(&theirs, "a", 1);
    kit_foreign_copy(&theirs, 1, &event);

    put_block(&event, kit_block(&ours, "{\"v\":1}"));
    assert_refused(&event.foreign, QUIPU_ENVELOPE, "prev is missing");
    put_block(&event, kit_block(&ours, "{\"v\":2}"));
    assert_refused(&event.foreign, QUIPU_FORMAT_NEWER, "format 2");
    put_block(&event, quipu_slice("\x18\x01", 2));
    assert_refused(&event.foreign, QUIPU_CBOR_NOT_SHORTEST, "envelope");
    kit_foreign_release(&event);
}

Test(ingest, refuses_a_source_whose_checksum_is_wrong)
{
    struct kit_foreign event;
    struct quipu_envelope envelope;
    char source[QUIPU_SOURCE_TEXT_BYTES];
    kit_append(&theirs, "a", 1);
    kit_foreign_copy(&theirs, 1, &event);
    kit_assert_ok(&ours, quipu_envelope_decode(event.foreign.envelope, &envelope, &ours.err));
    memcpy(source, envelope.source.data, QUIPU_SOURCE_TEXT_BYTES - 1);
    source[10] = source[10] == 'A' ? 'B' : 'A';
    envelope.source = quipu_slice(source, QUIPU_SOURCE_TEXT_BYTES - 1);

    ingest_kit_put_envelope(&event, &envelope);

    assert_refused(&event.foreign, QUIPU_ENVELOPE, "checksum");
    kit_foreign_release(&event);
}

Test(ingest, refuses_a_payload_that_is_not_dag_cbor_though_it_hashes)
{
    struct kit_foreign event;
    struct quipu_envelope envelope;
    kit_append(&theirs, "a", 1);
    kit_foreign_copy(&theirs, 1, &event);
    kit_assert_ok(&ours, quipu_envelope_decode(event.foreign.envelope, &envelope, &ours.err));
    event.foreign.payload = quipu_slice_text("{\"json\":1}");
    envelope.payload = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, event.foreign.payload);

    ingest_kit_put_envelope(&event, &envelope);

    assert_refused(&event.foreign, QUIPU_CBOR_TRUNCATED, "payload");
    kit_foreign_release(&event);
}

Test(ingest, takes_an_encrypted_payload_as_the_bytes_it_is)
{
    struct kit_foreign event;
    struct quipu_envelope envelope;
    enum quipu_ingest_outcome outcome;
    kit_append(&theirs, "a", 1);
    kit_foreign_copy(&theirs, 1, &event);
    kit_assert_ok(&ours, quipu_envelope_decode(event.foreign.envelope, &envelope, &ours.err));
    event.foreign.payload = quipu_slice_text("\xd0 no DAG-CBOR");
    envelope.payload = quipu_cid_of(QUIPU_CODEC_RAW, event.foreign.payload);
    envelope.enc = kit_block(&ours, "{\"alg\":\"x\"}");
    ingest_kit_put_envelope(&event, &envelope);

    cr_assert_eq(ingest_kit_take(QUIPU_INGEST_STRICT, &event.foreign, &outcome), QUIPU_OK, "%s",
                 ours.err.message);

    cr_assert_eq(outcome, QUIPU_INGEST_ADDED);
    kit_assert_sound(&ours, 1);
    kit_foreign_release(&event);
}

Test(ingest, refuses_blocks_over_their_limits_and_says_how_large_they_were)
{
    static uint8_t large[QUIPU_PAYLOAD_BYTES_MAX + 1];
    struct kit_foreign event;
    kit_append(&theirs, "a", 1);
    kit_foreign_copy(&theirs, 1, &event);

    event.foreign.payload = quipu_slice(large, sizeof large);
    assert_refused(&event.foreign, QUIPU_TOO_LARGE, "4194305 bytes");
    struct quarantined kept = in_quarantine();
    cr_assert_eq(kept.payload_len, 0);
    cr_assert_eq(kept.envelope_len, event.foreign.envelope.len);
    cr_assert_not_null(strstr(kept.line, "4194305 bytes"));
    event.foreign.cid.digest[0] ^= 1;
    event.foreign.envelope = quipu_slice(large, QUIPU_ENVELOPE_BYTES_MAX + 1);
    assert_refused(&event.foreign, QUIPU_TOO_LARGE, "65537 bytes");
    kit_foreign_release(&event);
}

Test(ingest, refuses_another_event_under_a_known_id)
{
    struct kit_foreign event;
    struct quipu_event same_id = kit_event(&ours, "other", 1);
    struct quipu_appended appended = kit_append(&theirs, "a", 1);
    same_id.event_id = appended.event_id;
    kit_assert_ok(&ours, quipu_append(ours.engine, &same_id, NULL, &ours.err));
    kit_foreign_copy(&theirs, 1, &event);

    char cid[QUIPU_CID_TEXT_BYTES];
    quipu_cid_format(&appended.cid, cid);
    assert_refused(&event.foreign, QUIPU_EVENT_ID_CONFLICT, cid);
    kit_foreign_release(&event);
}

Test(ingest, refuses_a_fork_of_an_aggregate_where_forks_are_not_kept)
{
    struct kit_foreign event;
    struct quipu_envelope envelope;
    struct quipu_appended first = kit_append(&theirs, "a", 1);
    kit_append(&ours, "b", 1);
    ingest_kit_take_position(1);
    kit_append(&theirs, "a", 2);
    kit_append(&ours, "a", 3);

    kit_foreign_copy(&theirs, 2, &event);
    assert_refused(&event.foreign, QUIPU_FORK, "follows another event");
    kit_assert_ok(&ours, quipu_envelope_decode(event.foreign.envelope, &envelope, &ours.err));
    cr_assert(quipu_cid_equal(&envelope.prev[0], &first.cid));
    kit_foreign_release(&event);
    kit_append(&theirs, "b", 1);
    kit_foreign_copy(&theirs, 3, &event);
    assert_refused(&event.foreign, QUIPU_FORK, "thing/b: version 1");
    kit_foreign_release(&event);
    kit_assert_sound(&ours, 3);
}

Test(ingest, refuses_a_version_that_does_not_follow_from_what_is_named)
{
    struct kit_foreign event;
    struct quipu_envelope envelope;
    kit_append(&theirs, "a", 1);
    kit_append(&theirs, "a", 2);
    kit_append(&theirs, "b", 2);
    ingest_kit_take_position(1);
    ingest_kit_take_position(3);
    kit_foreign_copy(&theirs, 2, &event);
    kit_assert_ok(&ours, quipu_envelope_decode(event.foreign.envelope, &envelope, &ours.err));
    envelope.version = 3;
    ingest_kit_put_envelope(&event, &envelope);
    assert_refused(&event.foreign, QUIPU_ENVELOPE, "version 3 does not follow");
    kit_foreign_release(&event);

    kit_foreign_copy(&theirs, 2, &event);
    kit_assert_ok(&ours, quipu_envelope_decode(event.foreign.envelope, &envelope, &ours.err));
    envelope.aggregate_id = quipu_slice_text("b");
    ingest_kit_put_envelope(&event, &envelope);
    assert_refused(&event.foreign, QUIPU_ENVELOPE, "another aggregate");
    kit_foreign_release(&event);
}

Test(ingest, refuses_a_gap_and_takes_the_event_once_it_is_filled)
{
    struct kit_foreign event;
    kit_append(&theirs, "a", 1);
    kit_append(&theirs, "a", 2);
    kit_append(&theirs, "a", 3);
    kit_foreign_copy(&theirs, 3, &event);
    event.foreign.stream = quipu_slice_text("EVENTS");
    event.foreign.sequence = 12;
    assert_refused(&event.foreign, QUIPU_GAP, "version 3");

    struct quarantined kept = in_quarantine();
    cr_assert_eq(kept.reason, QUIPU_GAP);
    cr_assert(quipu_cid_equal(&kept.cid, &event.foreign.cid));
    cr_assert_not_null(strstr(kept.line, "version 3"), "%s", kept.line);
    cr_assert_str_eq(kept.stream, "EVENTS");
    cr_assert_eq(kept.sequence, 12);
    cr_assert_eq(kept.payload_len, event.foreign.payload.len);
    cr_assert_eq(kept.received_unix_us, ours.now_unix_us);
    kit_assert_sound(&ours, 0);

    ingest_kit_take_position(1);
    cr_assert_eq(in_quarantine().count, 1);
    ingest_kit_take_position(2);
    cr_assert_eq(in_quarantine().count, 0, "it was taken in after all");
    kit_assert_sound(&ours, 3);
    char stream[64];
    cr_assert_eq(receipt_at(3, stream).sequence, 12);
    kit_foreign_release(&event);
}

Test(ingest, refuses_a_merge_of_a_branch_that_is_not_here)
{
    struct kit_foreign event;
    struct quipu_envelope envelope;
    kit_append(&theirs, "a", 1);
    kit_append(&theirs, "a", 2);
    ingest_kit_take_position(1);
    kit_foreign_copy(&theirs, 2, &event);
    kit_assert_ok(&ours, quipu_envelope_decode(event.foreign.envelope, &envelope, &ours.err));
    envelope.prev[1] = envelope.payload;
    envelope.prev_count = 2;
    ingest_kit_put_envelope(&event, &envelope);

    assert_refused(&event.foreign, QUIPU_GAP, "merges");
    kit_foreign_release(&event);
}

Test(ingest, goes_on_with_the_others_of_its_transaction)
{
    struct quipu_ingest *ingest = NULL;
    struct quipu_ingest_report report;
    kit_append(&theirs, "a", 1);
    kit_append(&theirs, "b", 2);
    kit_append(&theirs, "c", 3);
    kit_assert_ok(&ours,
                  quipu_ingest_begin(ours.engine, QUIPU_INGEST_QUARANTINE, &ingest, &ours.err));
    for (uint64_t i = 1; i <= 3; i++) {
        struct kit_foreign event;
        kit_foreign_copy(&theirs, i, &event);
        event.payload.data[3] ^= i == 2;
        kit_assert_ok(&ours, quipu_ingest_event(ingest, &event.foreign, NULL, &ours.err));
        kit_foreign_release(&event);
    }
    kit_assert_ok(&ours, quipu_ingest_commit(&ingest, &report, &ours.err));

    cr_assert_eq(report.added, 2);
    cr_assert_eq(report.quarantined, 1);
    cr_assert_eq(in_quarantine().count, 1);
    kit_assert_sound(&ours, 2);
}

static enum quipu_status stop_at_once(void *ctx, const struct quipu_quarantined *event,
                                      struct quipu_error *err)
{
    (void)event;
    ++*(int *)ctx;
    return quipu_error_set(err, QUIPU_STOPPED, "enough");
}

Test(ingest, lists_quarantine_until_the_visitor_stops)
{
    struct kit_foreign event;
    enum quipu_ingest_outcome outcome;
    int visits = 0;
    kit_append(&theirs, "a", 1);
    kit_append(&theirs, "a", 2);
    kit_append(&theirs, "a", 3);
    for (uint64_t i = 2; i <= 3; i++) {
        kit_foreign_copy(&theirs, i, &event);
        cr_assert_eq(ingest_kit_take(QUIPU_INGEST_QUARANTINE, &event.foreign, &outcome), QUIPU_OK);
        kit_foreign_release(&event);
    }
    cr_assert_eq(quipu_each_quarantined(ours.engine, stop_at_once, &visits, &ours.err),
                 QUIPU_STOPPED);
    cr_assert_eq(visits, 1);
    cr_assert_eq(in_quarantine().count, 2);
}

/*
 * Quarantine: who waits is let in by whom it waits for; what is kept cannot be pushed out by a lie;
 * retry and drop.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <string.h>

#include "ingest_kit.h"
#include "quarantine.h"
#include "tables.h"

#define CHAIN 40

TestSuite(quarantine, .init = ingest_kit_open, .fini = ingest_kit_close);

static struct quipu_ingest_report take(enum quipu_ingest_policy policy,
                                       const struct quipu_foreign *event)
{
    struct quipu_ingest *ingest = NULL;
    struct quipu_ingest_report report;
    kit_assert_ok(&ours, quipu_ingest_begin(ours.engine, policy, &ingest, &ours.err));
    kit_assert_ok(&ours, quipu_ingest_event(ingest, event, NULL, &ours.err));
    kit_assert_ok(&ours, quipu_ingest_commit(&ingest, &report, &ours.err));
    return report;
}

static struct quipu_ingest_report take_position(enum quipu_ingest_policy policy, uint64_t position)
{
    struct kit_foreign event;
    kit_foreign_copy(&theirs, position, &event);
    struct quipu_ingest_report report = take(policy, &event.foreign);
    kit_foreign_release(&event);
    return report;
}

struct seen {
    uint64_t count;
    enum quipu_status reason;
    bool is_claim_true;
    uint8_t first_byte; /* of the payload kept, or 0 */
};

static enum quipu_status see(void *ctx, const struct quipu_quarantined *event,
                             struct quipu_error *err)
{
    (void)err;
    struct seen *seen = ctx;
    seen->count++;
    seen->reason = event->reason;
    seen->is_claim_true = quipu_cid_equal(&event->cid, &event->claimed);
    seen->first_byte = event->payload.len == 0 ? 0 : event->payload.data[0];
    return QUIPU_OK;
}

static struct seen look(void)
{
    struct seen seen = {0};
    kit_assert_ok(&ours, quipu_each_quarantined(ours.engine, see, &seen, &ours.err));
    return seen;
}

static void chain_fill(void)
{
    for (int i = 1; i <= CHAIN; i++) {
        kit_append(&theirs, i % 2 == 0 ? "a" : "b", i);
    }
}

Test(quarantine, one_arrival_lets_in_all_who_wait_behind_it)
{
    chain_fill();
    for (uint64_t i = CHAIN; i >= 3; i--) {
        cr_assert_eq(take_position(QUIPU_INGEST_QUARANTINE, i).quarantined, 1);
    }
    kit_assert_sound(&ours, 0);

    struct quipu_ingest_report report = take_position(QUIPU_INGEST_STRICT, 1);
    cr_assert_eq(report.added, CHAIN / 2);
    cr_assert_eq(report.released, CHAIN / 2 - 1);
    report = take_position(QUIPU_INGEST_QUARANTINE, 2);
    cr_assert_eq(report.added, CHAIN / 2);
    cr_assert_eq(look().count, 0);
    kit_assert_sound(&ours, CHAIN);
}

Test(quarantine, a_pull_that_brings_the_gap_last_closes_it_itself)
{
    struct quipu_ingest *ingest = NULL;
    struct quipu_ingest_report report;
    struct kit_foreign event;
    chain_fill();
    kit_assert_ok(&ours,
                  quipu_ingest_begin(ours.engine, QUIPU_INGEST_QUARANTINE, &ingest, &ours.err));
    for (uint64_t i = CHAIN; i >= 1; i--) {
        kit_foreign_copy(&theirs, i, &event);
        kit_assert_ok(&ours, quipu_ingest_event(ingest, &event.foreign, NULL, &ours.err));
        kit_foreign_release(&event);
    }
    kit_assert_ok(&ours, quipu_ingest_commit(&ingest, &report, &ours.err));
    cr_assert_eq(report.added, CHAIN);
    cr_assert_eq(report.released, CHAIN - 2);
    cr_assert_eq(look().count, 0);
    kit_assert_sound(&ours, CHAIN);
}

static enum quipu_status see_wait(void *ctx, const struct quipu_quarantined *event,
                                  struct quipu_error *err)
{
    (void)err;
    *(struct quipu_waits_for *)ctx = event->waits_for;
    return QUIPU_OK;
}

Test(quarantine, says_which_event_another_one_waits_for)
{
    struct quipu_waits_for waits = {0};
    struct quipu_appended first = kit_append(&theirs, "a", 1);
    kit_append(&theirs, "a", 2);
    take_position(QUIPU_INGEST_QUARANTINE, 2);
    /* The version is taken here, but not by the event that is waited for. */
    kit_append(&ours, "a", 7);

    kit_assert_ok(&ours, quipu_each_quarantined(ours.engine, see_wait, &waits, &ours.err));
    cr_assert_eq(waits.kind, QUIPU_WAITS_FOR_EVENT);
    cr_assert(quipu_cid_equal(&waits.event, &first.cid));
    struct quipu_ingest_report report;
    kit_assert_ok(&ours, quipu_quarantine_retry(ours.engine, &report, &ours.err));
    cr_assert_eq(report.quarantined, 1);
    cr_assert_eq(look().reason, QUIPU_GAP);

    report = take_position(QUIPU_INGEST_QUARANTINE, 1);
    cr_assert_eq(report.added, 2);
    cr_assert_eq(report.forks, 1, "both branches are here now");
    kit_assert_sound(&ours, 3);
}

Test(quarantine, forks_that_were_refused_are_kept_by_retry)
{
    struct quipu_ingest *ingest = NULL;
    struct quipu_ingest_options options = QUIPU_INGEST_OPTIONS_INIT;
    struct quipu_ingest_report report;
    struct kit_foreign event;
    options.policy = QUIPU_INGEST_QUARANTINE;
    options.forks = QUIPU_INGEST_FORKS_REFUSE;
    kit_append(&theirs, "a", 1);
    kit_append(&ours, "a", 7);
    kit_foreign_copy(&theirs, 1, &event);
    kit_assert_ok(&ours, quipu_ingest_begin_with(ours.engine, &options, &ingest, &ours.err));
    kit_assert_ok(&ours, quipu_ingest_event(ingest, &event.foreign, NULL, &ours.err));
    kit_assert_ok(&ours, quipu_ingest_commit(&ingest, NULL, &ours.err));
    kit_foreign_release(&event);
    cr_assert_eq(look().reason, QUIPU_FORK);

    kit_assert_ok(&ours, quipu_quarantine_retry(ours.engine, &report, &ours.err));
    cr_assert_eq(report.added, 1);
    cr_assert_eq(report.forks, 1);
    cr_assert_eq(look().count, 0);
    kit_assert_sound(&ours, 2);
}

/* Take in position `i` where at most `events` of `bytes` may wait. */
static enum quipu_status take_bounded(uint64_t i, uint64_t events, uint64_t bytes)
{
    struct quipu_ingest *ingest = NULL;
    struct quipu_ingest_options options = QUIPU_INGEST_OPTIONS_INIT;
    struct kit_foreign event;
    options.policy = QUIPU_INGEST_QUARANTINE;
    options.pending_events_max = events;
    options.pending_bytes_max = bytes;
    kit_foreign_copy(&theirs, i, &event);
    kit_assert_ok(&ours, quipu_ingest_begin_with(ours.engine, &options, &ingest, &ours.err));
    enum quipu_status status = quipu_ingest_event(ingest, &event.foreign, NULL, &ours.err);
    struct quipu_error err;
    cr_assert_eq(quipu_ingest_commit(&ingest, NULL, &err), QUIPU_OK, "%s", err.message);
    kit_foreign_release(&event);
    return status;
}

static uint64_t pending_bytes(void)
{
    struct quipu_txn *txn = NULL;
    struct quarantine_pending pending;
    kit_assert_ok(&ours, quipu_txn_begin_read(ours.store, &txn, &ours.err));
    kit_assert_ok(&ours, quarantine_pending_get(txn, &pending, &ours.err));
    quipu_txn_abort(&txn);
    return pending.bytes;
}

Test(quarantine, no_more_events_wait_than_may)
{
    chain_fill();
    cr_assert_eq(take_bounded(10, 2, 0), QUIPU_OK);
    cr_assert_eq(take_bounded(12, 2, 0), QUIPU_OK);
    cr_assert_eq(take_bounded(14, 2, 0), QUIPU_TOO_LARGE);
    cr_assert_not_null(strstr(ours.err.message, "2 events of"), "%s", ours.err.message);
    cr_assert_eq(look().count, 2, "it stays with its carrier");
    cr_assert_eq(take_bounded(12, 2, 0), QUIPU_OK, "that one waits already");
    cr_assert_eq(take_bounded(1, 2, 0), QUIPU_OK, "what need not wait comes in");
    kit_assert_sound(&ours, 1);
    cr_assert_eq(take_bounded(14, 3, 0), QUIPU_OK);
    cr_assert_eq(look().count, 3);
}

Test(quarantine, no_more_bytes_wait_than_may)
{
    chain_fill();
    cr_assert_eq(take_bounded(10, 0, 0), QUIPU_OK);
    uint64_t one = pending_bytes();
    cr_assert_eq(take_bounded(12, 0, 2 * one - 1), QUIPU_TOO_LARGE);
    cr_assert_eq(take_bounded(12, 0, 2 * one), QUIPU_OK);
    cr_assert_eq(pending_bytes(), 2 * one);
    cr_assert_eq(take_bounded(14, 0, 2 * one + 1), QUIPU_TOO_LARGE);
    for (uint64_t i = 2; i <= 8; i += 2) {
        cr_assert_eq(take_bounded(i, 0, 0), QUIPU_OK);
    }
    cr_assert_eq(pending_bytes(), 0, "all of them came in");
    kit_assert_sound(&ours, 6);
}

/* Something that is no event, of `len` bytes, where quarantine may hold `max`. */
static enum quipu_status take_junk(uint8_t byte, size_t len, uint64_t max)
{
    static uint8_t bytes[2000];
    struct quipu_ingest *ingest = NULL;
    struct quipu_ingest_options options = QUIPU_INGEST_OPTIONS_INIT;
    memset(bytes, byte, len);
    struct quipu_foreign event = {.envelope = quipu_slice(bytes, len)};
    event.cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, event.envelope);
    options.policy = QUIPU_INGEST_QUARANTINE;
    options.quarantine_bytes_max = max;
    kit_assert_ok(&ours, quipu_ingest_begin_with(ours.engine, &options, &ingest, &ours.err));
    enum quipu_status status = quipu_ingest_event(ingest, &event, NULL, &ours.err);
    struct quipu_error err;
    cr_assert_eq(quipu_ingest_commit(&ingest, NULL, &err), QUIPU_OK, "%s", err.message);
    return status;
}

static uint64_t kept_bytes(void)
{
    struct quipu_txn *txn = NULL;
    uint64_t bytes = 0;
    kit_assert_ok(&ours, quipu_txn_begin_read(ours.store, &txn, &ours.err));
    kit_assert_ok(&ours, meta_get_u64(txn, META_KEPT_BYTES, &bytes, &ours.err));
    quipu_txn_abort(&txn);
    return bytes;
}

static void set_kept_bytes(uint64_t bytes)
{
    struct quipu_txn *txn = NULL;
    kit_assert_ok(&ours, quipu_txn_begin_write(ours.store, &txn, &ours.err));
    kit_assert_ok(&ours, meta_put_u64(txn, META_KEPT_BYTES, bytes, &ours.err));
    kit_assert_ok(&ours, quipu_txn_commit(&txn, &ours.err));
}

Test(quarantine, holds_no_more_than_it_may_whatever_it_is)
{
    chain_fill();
    cr_assert_eq(take_junk(1, 1000, 0), QUIPU_OK);
    uint64_t one = kept_bytes();
    cr_assert_gt(one, 1000);
    cr_assert_eq(take_junk(2, 1000, 2 * one - 1), QUIPU_TOO_LARGE);
    cr_assert_not_null(strstr(ours.err.message, "drop some"), "%s", ours.err.message);
    cr_assert_eq(take_junk(2, 1, one), QUIPU_TOO_LARGE, "however short");
    cr_assert_eq(take_junk(1, 1000, one), QUIPU_OK, "that one is there already");
    cr_assert_eq(take_junk(2, 1000, 2 * one), QUIPU_OK);
    cr_assert_eq(kept_bytes(), 2 * one);
    cr_assert_eq(take_junk(3, 1000, 2 * one), QUIPU_TOO_LARGE);
    cr_assert_eq(take_position(QUIPU_INGEST_QUARANTINE, 1).added, 1, "what comes in needs no room");
    cr_assert_eq(take_position(QUIPU_INGEST_QUARANTINE, 5).quarantined, 1);
    cr_assert_gt(kept_bytes(), 2 * one, "what waits counts too");
    cr_assert_eq(take_position(QUIPU_INGEST_QUARANTINE, 3).released, 1);
    cr_assert_eq(kept_bytes(), 2 * one);

    uint8_t ones[1000];
    memset(ones, 1, sizeof ones);
    struct quipu_cid cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_slice(ones, sizeof ones));
    kit_assert_ok(&ours, quipu_quarantine_drop(ours.engine, &cid, &ours.err));
    cr_assert_eq(kept_bytes(), one);
    cr_assert_eq(take_junk(3, 1000, 2 * one), QUIPU_OK, "there is room again");
    kit_assert_sound(&ours, 3);
}

Test(quarantine, of_a_store_that_never_counted_its_bytes_is_counted_when_one_comes_or_goes)
{
    cr_assert_eq(take_junk(1, 1000, 0), QUIPU_OK);
    cr_assert_eq(take_junk(2, 1000, 0), QUIPU_OK);
    uint64_t both = kept_bytes();
    set_kept_bytes(0);
    kit_assert_sound(&ours, 0);
    cr_assert_eq(take_junk(3, 1000, both), QUIPU_TOO_LARGE);
    cr_assert_eq(take_junk(3, 1000, 2 * both), QUIPU_OK);
    cr_assert_eq(kept_bytes(), both + both / 2);
    set_kept_bytes(0);
    uint8_t ones[1000];
    memset(ones, 1, sizeof ones);
    struct quipu_cid cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_slice(ones, sizeof ones));
    kit_assert_ok(&ours, quipu_quarantine_drop(ours.engine, &cid, &ours.err));
    cr_assert_eq(kept_bytes(), both);
    kit_assert_sound(&ours, 0);
}

Test(quarantine, verify_counts_its_bytes)
{
    cr_assert_eq(take_junk(1, 1000, 0), QUIPU_OK);
    set_kept_bytes(7);
    cr_assert_eq(quipu_verify(ours.engine, NULL, NULL, &ours.err), QUIPU_CORRUPT);
    cr_assert_not_null(strstr(ours.err.message, "counts 7 bytes"), "%s", ours.err.message);
}

Test(quarantine, verify_counts_who_waits)
{
    struct quipu_txn *txn = NULL;
    chain_fill();
    take_position(QUIPU_INGEST_QUARANTINE, 4);
    kit_assert_ok(&ours, quipu_txn_begin_write(ours.store, &txn, &ours.err));
    kit_assert_ok(&ours, meta_put_u64(txn, META_PENDING, 7, &ours.err));
    kit_assert_ok(&ours, quipu_txn_commit(&txn, &ours.err));
    cr_assert_eq(quipu_verify(ours.engine, NULL, NULL, &ours.err), QUIPU_CORRUPT);
    cr_assert_not_null(strstr(ours.err.message, "counts 7 waiting"), "%s", ours.err.message);
}

Test(quarantine, retry_lets_in_what_follows_by_now)
{
    struct quipu_ingest_report report;
    struct kit_foreign event;
    struct quipu_appended appended;
    kit_append(&theirs, "a", 1);
    kit_foreign_copy(&theirs, 1, &event);
    cr_assert_eq(take(QUIPU_INGEST_QUARANTINE, &event.foreign).added, 1);
    kit_foreign_release(&event);
    /* Their third follows our second, which we recorded after theirs had come. */
    appended = kit_append(&ours, "a", 2);
    kit_foreign_copy(&ours, appended.position, &event);
    struct quipu_ingest *ingest = NULL;
    kit_assert_ok(&theirs,
                  quipu_ingest_begin(theirs.engine, QUIPU_INGEST_STRICT, &ingest, &theirs.err));
    kit_assert_ok(&theirs, quipu_ingest_event(ingest, &event.foreign, NULL, &theirs.err));
    kit_assert_ok(&theirs, quipu_ingest_commit(&ingest, NULL, &theirs.err));
    kit_foreign_release(&event);
    kit_append(&theirs, "a", 3);
    kit_append(&theirs, "a", 4);
    take_position(QUIPU_INGEST_QUARANTINE, 4);
    cr_assert_eq(look().count, 1);
    kit_assert_ok(&ours, quipu_quarantine_retry(ours.engine, &report, &ours.err));
    cr_assert_eq(report.quarantined, 1);
    cr_assert_eq(take_position(QUIPU_INGEST_QUARANTINE, 3).released, 1);
    kit_assert_ok(&ours, quipu_quarantine_retry(ours.engine, &report, &ours.err));
    cr_assert_eq(report.added + report.quarantined, 0);
    kit_assert_sound(&ours, 4);
}

Test(quarantine, other_bytes_under_a_kept_events_name_do_not_push_it_out)
{
    struct kit_foreign event;
    kit_append(&theirs, "a", 1);
    kit_append(&theirs, "a", 2);
    take_position(QUIPU_INGEST_QUARANTINE, 2);
    kit_foreign_copy(&theirs, 2, &event);

    struct quipu_foreign lie = event.foreign;
    lie.envelope = quipu_slice_text("evil");
    cr_assert_eq(take(QUIPU_INGEST_QUARANTINE, &lie).quarantined, 1);
    cr_assert_eq(look().count, 2, "it has a row of its own");
    lie = event.foreign;
    lie.payload = quipu_slice_text("evil");
    cr_assert_eq(take(QUIPU_INGEST_QUARANTINE, &lie).quarantined, 1);
    lie = event.foreign;
    lie.cid.digest[0] ^= 1;
    cr_assert_eq(take(QUIPU_INGEST_QUARANTINE, &lie).quarantined, 1);
    cr_assert_eq(look().count, 2);

    cr_assert_eq(take_position(QUIPU_INGEST_QUARANTINE, 1).released, 1);
    cr_assert_eq(look().count, 1);
    cr_assert_not(look().is_claim_true);
    kit_foreign_release(&event);
    kit_assert_sound(&ours, 2);
}

Test(quarantine, better_bytes_take_the_place_of_worse)
{
    struct kit_foreign event;
    kit_append(&theirs, "a", 1);
    kit_append(&theirs, "a", 2);
    kit_foreign_copy(&theirs, 2, &event);
    struct quipu_foreign bare = event.foreign;
    bare.payload = quipu_slice(NULL, 0);
    bare.cid.digest[3] ^= 1;
    take(QUIPU_INGEST_QUARANTINE, &bare);
    cr_assert_eq(look().first_byte, 0);
    cr_assert_eq(look().reason, QUIPU_CID_MISMATCH);

    take(QUIPU_INGEST_QUARANTINE, &event.foreign);
    cr_assert_eq(look().count, 1);
    cr_assert_eq(look().reason, QUIPU_GAP);
    cr_assert(look().is_claim_true);
    cr_assert_eq(look().first_byte, event.payload.data[0]);
    kit_foreign_release(&event);
}

Test(quarantine, drop_forgets_one_event_and_says_where_there_is_none)
{
    struct kit_foreign event;
    kit_append(&theirs, "a", 1);
    kit_append(&theirs, "a", 2);
    take_position(QUIPU_INGEST_QUARANTINE, 2);
    kit_foreign_copy(&theirs, 2, &event);

    kit_assert_ok(&ours, quipu_quarantine_drop(ours.engine, &event.foreign.cid, &ours.err));
    cr_assert_eq(look().count, 0);
    kit_assert_sound(&ours, 0);
    cr_assert_eq(quipu_quarantine_drop(ours.engine, &event.foreign.cid, &ours.err),
                 QUIPU_NOT_FOUND);
    cr_assert_eq(take_position(QUIPU_INGEST_QUARANTINE, 1).added, 1, "nothing is left of it");
    kit_foreign_release(&event);
    kit_assert_sound(&ours, 1);
}

Test(quarantine, verify_finds_waiting_that_does_not_fit)
{
    struct quipu_txn *txn = NULL;
    kit_append(&theirs, "a", 1);
    kit_append(&theirs, "a", 2);
    take_position(QUIPU_INGEST_QUARANTINE, 2);
    kit_assert_ok(&ours, quipu_txn_begin_write(ours.store, &txn, &ours.err));
    kit_assert_ok(&ours, quipu_txn_table_put(txn, TABLE_WAITING, quipu_slice_text("stray"),
                                             quipu_slice(NULL, 0), &ours.err));
    kit_assert_ok(&ours, quipu_txn_commit(&txn, &ours.err));
    cr_assert_eq(quipu_verify(ours.engine, NULL, NULL, &ours.err), QUIPU_CORRUPT);
    cr_assert_not_null(strstr(ours.err.message, "2 rows, 1 events wait"), "%s", ours.err.message);

    kit_assert_ok(&ours, quipu_txn_begin_write(ours.store, &txn, &ours.err));
    kit_assert_ok(&ours, quipu_txn_table_clear(txn, TABLE_WAITING, &ours.err));
    kit_assert_ok(&ours, quipu_txn_commit(&txn, &ours.err));
    cr_assert_eq(quipu_verify(ours.engine, NULL, NULL, &ours.err), QUIPU_CORRUPT);
    cr_assert_not_null(strstr(ours.err.message, "not in the table of waiting"));
}

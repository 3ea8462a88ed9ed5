/*
 * Projections that stop: parked in front of an event, skipping one, paused; and what is said of
 * them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "counting_kit.h"
#include "internal/bytes.h"
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

TestSuite(projection_stops, .init = setup, .fini = teardown);

static struct quipu_projection_status status_of(const char *name)
{
    struct quipu_projection_status status;
    kit_assert_ok(&kit, quipu_projection_status(kit.engine, name, &status, &kit.err));
    cr_assert_str_eq(status.name, name);
    return status;
}

static void assert_state(enum quipu_projection_state state)
{
    enum quipu_projection_state found = status_of("counts").state;
    cr_assert_eq(found, state, "expected %s, found %s", quipu_projection_state_text(state),
                 quipu_projection_state_text(found));
}

static void assert_says(const char *text)
{
    cr_assert_not_null(strstr(kit.err.message, text), "%s: %s", text, kit.err.message);
}

static enum quipu_status skip(const char *name, uint64_t position, const char *why)
{
    return quipu_projection_skip(kit.engine, name, position, why, &kit.err);
}

/* ------------------------------------------------------------------ parked */

Test(projection_stops, parked_is_said_at_once_with_position_reason_and_time)
{
    struct counting counting;
    counts_park(&kit, &counting);

    cr_assert_eq(counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL), QUIPU_PARKED);

    cr_assert_eq(counting.calls, 0, "the handler is not called");
    assert_says("counts");
    assert_says("position 3");
    assert_says("poison");
    assert_says("2026-01-01T00:00:00Z");
    kit_reopen(&kit);
    struct quipu_projection_status status = status_of("counts");
    cr_assert_eq(status.state, QUIPU_PROJECTION_PARKED);
    cr_assert_eq(status.position, 2);
    cr_assert_eq(status.lag, 3);
    cr_assert_eq(status.parked_position, 3);
    cr_assert_eq(status.parked_version, 1);
    cr_assert_eq(status.parked_status, QUIPU_INVALID);
    cr_assert_eq(status.parked_unix_us, kit.now_unix_us);
    cr_assert_str_eq(status.parked_line, "poison");
    kit_assert_sound(&kit, 5);
}

Test(projection_stops, a_retry_tries_again_and_parks_again_while_the_cause_is_there)
{
    struct counting counting;
    counts_park(&kit, &counting);
    kit_assert_ok(&kit, quipu_projection_retry(kit.engine, "counts", &kit.err));
    assert_state(QUIPU_PROJECTION_CATCHING_UP);
    cr_assert_eq(counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL), QUIPU_INVALID);
    cr_assert_eq(counting.calls, 1, "the ones before are not applied again");
    assert_state(QUIPU_PROJECTION_PARKED);

    counting.poison = 0;
    cr_assert_eq(counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL), QUIPU_PARKED);
    kit_assert_ok(&kit, quipu_projection_retry(kit.engine, "counts", &kit.err));
    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL));
    counts_assert_rows(&kit, "counts", "", "a=5");
    assert_state(QUIPU_PROJECTION_LIVE);
    kit_assert_ok(&kit, quipu_projection_retry(kit.engine, "counts", &kit.err));
    cr_assert_eq(quipu_projection_retry(kit.engine, "nothing", &kit.err), QUIPU_NOT_FOUND);
}

Test(projection_stops, an_explicit_rebuild_always_tries)
{
    struct counting counting;
    counts_park(&kit, &counting);
    cr_assert_eq(counts_replay(&kit, &counting, QUIPU_REPLAY_REBUILD, NULL), QUIPU_INVALID);
    cr_assert_eq(counting.calls, 3);
    counting.poison = 0;
    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_REBUILD, NULL));
    counts_assert_rows(&kit, "counts", "", "a=5");
    assert_state(QUIPU_PROJECTION_LIVE);
}

Test(projection_stops, another_version_meets_the_event_anew_and_goes_on_where_it_parked)
{
    struct counting counting;
    struct quipu_projection projection = counts(&counting);
    counts_park(&kit, &counting);
    projection.version = 2;
    counting.poison = 4;

    cr_assert_eq(quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err),
                 QUIPU_INVALID);

    struct quipu_projection_status status = status_of("counts");
    cr_assert_eq(status.version, 1);
    cr_assert_eq(status.position, 2);
    cr_assert_eq(status.shadow_version, 2);
    cr_assert_eq(status.shadow_position, 3);
    cr_assert_eq(quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err),
                 QUIPU_PARKED);
    counts_assert_rows(&kit, "counts", "", "a=2");
    counting.poison = 0;
    counting.calls = 0;
    kit_assert_ok(&kit, quipu_projection_retry(kit.engine, "counts", &kit.err));
    kit_assert_ok(&kit,
                  quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err));
    cr_assert_eq(counting.calls, 2, "what was done is not done again");
    counts_assert_rows(&kit, "counts", "", "a=5");
    cr_assert_eq(status_of("counts").version, 2);
    kit_assert_sound(&kit, 5);
}

Test(projection_stops, an_event_that_is_none_ends_it_and_does_not_park_it)
{
    struct counting counting = {0};
    struct quipu_txn *txn = NULL;
    struct quipu_record record;
    kit_append(&kit, "a", 1);
    /* An envelope that the store takes, since all that it looks for is in it, and that is none. */
    kit_assert_ok(&kit, quipu_txn_begin_read(kit.store, &txn, &kit.err));
    kit_assert_ok(&kit, quipu_txn_record_at(txn, 1, &record, &kit.err));
    uint8_t broken[1000];
    size_t len = record.envelope.len + 1;
    cr_assert_leq(len, sizeof broken);
    memcpy(broken, record.envelope.data, len - 1);
    broken[len - 1] = 0;
    struct quipu_record_new copy = {
        .aggregate = record.aggregate,
        .version = 2,
        .event_id = record.event_id,
        .envelope_cid = record.envelope_cid,
        .payload_cid = record.payload_cid,
        .event_type = record.event_type,
        .correlation_id = record.correlation_id,
        .envelope = quipu_slice(broken, len),
        .payload = record.payload,
    };
    copy.aggregate.type = quipu_slice_text("thing");
    copy.aggregate.id = quipu_slice_text("a");
    copy.event_type = quipu_slice_text("thing.changed");
    copy.payload = kit_block(&kit, "{\"n\":1}");
    quipu_txn_abort(&txn);
    uint64_t position = 0;
    kit_assert_ok(&kit, quipu_txn_begin_write(kit.store, &txn, &kit.err));
    kit_assert_ok(&kit, quipu_txn_append(txn, &copy, &position, &kit.err));
    kit_assert_ok(&kit, quipu_txn_commit(&txn, &kit.err));
    kit_append(&kit, "b", 1);

    cr_assert_eq(counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL), QUIPU_CORRUPT);

    cr_assert_eq(counting.calls, 1);
    counts_assert_rows(&kit, "counts", "", "a=1");
    cr_assert_eq(counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL), QUIPU_CORRUPT);
    cr_assert_eq(status_of("counts").parked_position, 0);
    cr_assert_eq(skip("counts", position, "it is not parked"), QUIPU_NOT_FOUND);
}

Test(projection_stops, a_park_that_cannot_be_read_is_damage_and_not_no_park)
{
    struct counting counting;
    struct quipu_projection_status status;
    struct quipu_slice row =
        kit_block(&kit, "{\"line\":\"x\",\"reason\":70000,\"position\":3,\"parked_at\":1}");
    struct quipu_txn *txn = NULL;
    struct quipu_slice key;
    struct quipu_slice value;
    uint8_t copy[QUIPU_TABLE_KEY_BYTES_MAX];
    counts_park(&kit, &counting);
    kit_assert_ok(&kit, quipu_txn_begin_write(kit.store, &txn, &kit.err));
    kit_assert_ok(&kit, quipu_txn_table_seek(txn, TABLE_STOPS, quipu_slice("counts", 6),
                                             QUIPU_SEEK_GE, &key, &value, &kit.err));
    memcpy(copy, key.data, key.len);
    kit_assert_ok(&kit,
                  quipu_txn_table_put(txn, TABLE_STOPS, quipu_slice(copy, key.len), row, &kit.err));
    kit_assert_ok(&kit, quipu_txn_commit(&txn, &kit.err));

    kit.err = (struct quipu_error){.status = QUIPU_OK};
    cr_assert_eq(quipu_projection_status(kit.engine, "counts", &status, &kit.err), QUIPU_CORRUPT);

    assert_says("counts");
    cr_assert_eq(counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL), QUIPU_CORRUPT);
    cr_assert_eq(counting.calls, 0, "the handler is not called");
}

/* ------------------------------------------------------------------ skipped */

struct skips {
    size_t count;
    struct quipu_projection_skip last;
    char why[100];
};

static enum quipu_status collect_skip(void *ctx, const struct quipu_projection_skip *one,
                                      struct quipu_error *err)
{
    struct skips *skips = ctx;
    (void)err;
    skips->count++;
    skips->last = *one;
    (void)snprintf(skips->why, sizeof skips->why, "%.*s", QUIPU_SLICE_FMT(one->why));
    return QUIPU_OK;
}

static struct skips skips_of(const char *name)
{
    struct skips skips = {0};
    kit_assert_ok(&kit,
                  quipu_projection_each_skip(kit.engine, name, collect_skip, &skips, &kit.err));
    return skips;
}

Test(projection_stops, a_skip_is_kept_with_reason_and_time_and_honoured_by_rebuilds)
{
    struct counting counting;
    struct quipu_replay_report report;
    counts_park(&kit, &counting);

    kit_assert_ok(&kit, skip("counts", 3, "mistyped at the ceremony"));

    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, &report));
    cr_assert_eq(counting.calls, 2);
    cr_assert_eq(report.applied, 2);
    cr_assert_eq(report.skipped, 1);
    counts_assert_rows(&kit, "counts", "", "a=4");
    struct skips skips = skips_of("counts");
    struct kit_foreign event;
    kit_foreign_copy(&kit, 3, &event);
    cr_assert_eq(skips.count, 1);
    cr_assert_eq(skips.last.version, 1);
    cr_assert_eq(skips.last.position, 3);
    cr_assert_eq(skips.last.skipped_unix_us, kit.now_unix_us);
    cr_assert(quipu_cid_equal(&skips.last.cid, &event.foreign.cid));
    cr_assert_str_eq(skips.why, "mistyped at the ceremony");
    kit_foreign_release(&event);

    kit_reopen(&kit);
    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_REBUILD, &report));
    cr_assert_eq(report.applied, 4);
    cr_assert_eq(report.skipped, 1);
    cr_assert_eq(status_of("counts").skipped, 1);
    counts_assert_rows(&kit, "counts", "", "a=4");
    kit_assert_sound(&kit, 5);
}

static void digest_u64(struct quipu_buf *bytes, uint64_t number)
{
    uint8_t storage[8];
    quipu_store_be64(storage, number);
    quipu_buf_append(bytes, storage, 8);
}

static void digest_bytes(struct quipu_buf *bytes, struct quipu_slice slice)
{
    digest_u64(bytes, slice.len);
    quipu_buf_append_slice(bytes, slice);
}

Test(projection_stops, the_digest_names_the_events_that_were_skipped)
{
    struct counting counting;
    struct quipu_replay_report report;
    struct kit_foreign event;
    struct quipu_buf bytes = QUIPU_BUF_INIT;
    uint8_t expected[QUIPU_SHA256_BYTES];
    uint8_t cid[QUIPU_CID_BYTES];
    counts_park(&kit, &counting);
    kit_assert_ok(&kit, skip("counts", 3, "no"));
    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, &report));

    kit_foreign_copy(&kit, 3, &event);
    quipu_cid_to_bytes(&event.foreign.cid, cid);
    digest_bytes(&bytes, quipu_slice_text("quipu projection 2"));
    digest_bytes(&bytes, quipu_slice_text("counts"));
    digest_u64(&bytes, 1);
    digest_u64(&bytes, 5);
    digest_u64(&bytes, 1);
    digest_u64(&bytes, 3);
    digest_bytes(&bytes, quipu_slice(cid, sizeof cid));
    digest_bytes(&bytes, quipu_slice_text("a"));
    digest_bytes(&bytes, quipu_slice_text("4"));
    quipu_sha256(quipu_buf_slice(&bytes), expected);
    cr_assert(memcmp(report.digest, expected, sizeof expected) == 0);
    kit_foreign_release(&event);
    quipu_buf_release(&bytes);
}

Test(projection_stops, another_version_does_not_skip)
{
    struct counting counting;
    struct quipu_projection projection = counts(&counting);
    struct quipu_replay_report report;
    counts_park(&kit, &counting);
    kit_assert_ok(&kit, skip("counts", 3, "no"));
    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL));
    projection.version = 2;
    counting.poison = 0;
    kit_assert_ok(&kit,
                  quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, &report, &kit.err));
    cr_assert_eq(report.skipped, 0);
    counts_assert_rows(&kit, "counts", "", "a=5");
    projection.version = 1;
    kit_assert_ok(&kit,
                  quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, &report, &kit.err));
    cr_assert_eq(report.skipped, 1, "the first version still does");
    counts_assert_rows(&kit, "counts", "", "a=4");
}

Test(projection_stops, what_a_rebuild_skips_is_not_said_of_the_rows_that_hold_it)
{
    struct counting counting = {0};
    struct quipu_replay_report before;
    struct quipu_replay_report after;
    kit_append_many(&kit, 5);
    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, &before));
    counting = (struct counting){.poison = 3, .fail_with = QUIPU_INVALID};
    cr_assert_eq(counts_replay(&kit, &counting, QUIPU_REPLAY_REBUILD, NULL), QUIPU_INVALID);
    kit_assert_ok(&kit, skip("counts", 3, "no"));

    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, &after));
    cr_assert_eq(after.skipped, 0);
    cr_assert(memcmp(before.digest, after.digest, sizeof before.digest) == 0);
    counts_assert_rows(&kit, "counts", "", "a=5");
    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_REBUILD, &after));
    cr_assert_eq(after.skipped, 1);
    counts_assert_rows(&kit, "counts", "", "a=4");
    cr_assert(memcmp(before.digest, after.digest, sizeof before.digest) != 0);
}

Test(projection_stops, only_the_event_that_it_is_parked_in_front_of_can_be_skipped)
{
    struct counting counting;
    char why[QUIPU_PROJECTION_WHY_BYTES_MAX + 2];
    cr_assert_eq(skip("counts", 3, "no"), QUIPU_NOT_FOUND);
    counts_park(&kit, &counting);
    static const uint64_t others[] = {0, 1, 2, 4, 99};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        cr_assert_eq(skip("counts", others[i], "no"), QUIPU_NOT_FOUND);
        assert_says("position 3");
    }
    cr_assert_eq(skip("counts", 3, NULL), QUIPU_INVALID);
    cr_assert_eq(skip("counts", 3, ""), QUIPU_INVALID);
    cr_assert_eq(skip("counts", 3, "\xff"), QUIPU_INVALID);
    for (int over = 1; over >= -1; over--) {
        memset(why, 'w', sizeof why);
        why[QUIPU_PROJECTION_WHY_BYTES_MAX + over] = 0;
        cr_assert_eq(skip("counts", 3, why), over > 0    ? QUIPU_INVALID
                                             : over == 0 ? QUIPU_OK
                                                         : QUIPU_NOT_FOUND);
    }
    cr_assert_eq(skips_of("counts").count, 1);
    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL));
    cr_assert_eq(skip("counts", 3, "no"), QUIPU_NOT_FOUND);
}

Test(projection_stops, one_name_that_begins_another_has_its_own_skips)
{
    struct counting counting;
    struct quipu_projection longer = counts(&counting);
    longer.name = "counts-2";
    counts_park(&kit, &counting);
    cr_assert_eq(quipu_replay(kit.engine, &longer, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err),
                 QUIPU_INVALID);
    kit_assert_ok(&kit, skip("counts-2", 3, "no"));
    cr_assert_eq(skips_of("counts").count, 0);
    cr_assert_eq(skips_of("counts-2").count, 1);
    kit_assert_ok(&kit, quipu_projection_drop(kit.engine, "counts", &kit.err));
    cr_assert_eq(skips_of("counts-2").count, 1);
    kit_assert_ok(&kit, quipu_replay(kit.engine, &longer, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err));
    counts_assert_rows(&kit, "counts-2", "", "a=4");
}

/* ------------------------------------------------------------------ paused */

Test(projection_stops, a_pause_ends_replays_that_run_and_those_to_come_until_it_is_resumed)
{
    struct counting counting = {0};

    cr_assert_eq(counts_replay_until(&kit, &counting, quipu_projection_pause), QUIPU_PAUSED);

    assert_says("counts");
    counts_assert_rows(&kit, "counts", "", "a=20");
    assert_state(QUIPU_PROJECTION_PAUSED);
    kit_reopen(&kit);
    kit_assert_ok(&kit, quipu_projection_pause(kit.engine, "counts", &kit.err));
    cr_assert_eq(counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL), QUIPU_PAUSED);
    cr_assert_eq(counts_replay(&kit, &counting, QUIPU_REPLAY_REBUILD, NULL), QUIPU_PAUSED);
    kit_assert_ok(&kit, quipu_projection_resume(kit.engine, "counts", &kit.err));
    kit_assert_ok(&kit, quipu_projection_resume(kit.engine, "counts", &kit.err));
    assert_state(QUIPU_PROJECTION_CATCHING_UP);
    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL));
    counts_assert_rows(&kit, "counts", "", "a=50");
    cr_assert_eq(quipu_projection_pause(kit.engine, "nothing", &kit.err), QUIPU_NOT_FOUND);
    cr_assert_eq(quipu_projection_resume(kit.engine, "nothing", &kit.err), QUIPU_NOT_FOUND);
    kit_assert_sound(&kit, 50);
}

/* ------------------------------------------------------------------ how they are */

static enum quipu_status collect_name(void *ctx, const struct quipu_projection_status *status,
                                      struct quipu_error *err)
{
    char *names = ctx;
    (void)err;
    size_t used = strlen(names);
    (void)snprintf(names + used, 200 - used, "%s:%s ", status->name,
                   quipu_projection_state_text(status->state));
    return used > 40 ? QUIPU_DONE : QUIPU_OK;
}

Test(projection_stops, all_are_listed_by_name_with_their_states)
{
    struct counting counting = {0};
    struct quipu_projection other = counts(&counting);
    char names[200] = {0};
    kit_assert_ok(&kit, quipu_each_projection(kit.engine, collect_name, names, &kit.err));
    cr_assert_str_eq(names, "");
    counts_park(&kit, &counting);
    other.name = "b";
    kit_append_many(&kit, 1);
    counting.poison = 0;
    kit_assert_ok(&kit, quipu_replay(kit.engine, &other, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err));
    other.name = "a";
    kit_assert_ok(&kit, quipu_replay(kit.engine, &other, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err));
    kit_append_many(&kit, 1);
    other.name = "c";
    kit_assert_ok(&kit, quipu_replay(kit.engine, &other, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err));
    kit_assert_ok(&kit, quipu_projection_pause(kit.engine, "a", &kit.err));

    kit_assert_ok(&kit, quipu_each_projection(kit.engine, collect_name, names, &kit.err));

    cr_assert_str_eq(names, "a:paused b:catching up c:live counts:parked ");
}

static void die_while_rebuilding(void *ctx)
{
    struct counting counting = {0};
    (void)ctx;
    kit_reopen(&kit);
    (void)counts_replay(&kit, &counting, QUIPU_REPLAY_REBUILD, NULL);
}

Test(projection_stops, a_rebuild_is_seen_with_how_far_it_has_come)
{
    struct counting counting = {0};
    kit_append_many(&kit, 25000);
    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL));
    kit_shut(&kit);
    cr_assert(WIFSIGNALED(kit_run_child("engine.replay.slice:kill:3", die_while_rebuilding, NULL)));
    kit_reopen(&kit);
    struct quipu_projection_status status = status_of("counts");
    cr_assert_eq(status.state, QUIPU_PROJECTION_LIVE, "the rows that are read are");
    cr_assert_eq(status.position, 25000);
    cr_assert_eq(status.shadow_version, 1);
    cr_assert_eq(status.shadow_position, 20000);
    cr_assert(status.shadow_is_left_over);
    cr_assert_not(status.shadow_is_causal);
    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL));
    status = status_of("counts");
    cr_assert_eq(status.shadow_version, 0, "the next catch-up clears it");
    cr_assert_not(status.shadow_is_left_over);
    kit_assert_sound(&kit, 25000);
}

/* What it sees of itself, and what a catch-up in the middle of it does. */
static void look_from_within(void *ctx, const struct quipu_replay_progress *progress)
{
    struct counting *counting = ctx;
    struct quipu_projection_status status = status_of("counts");
    if (status.shadow_version == 0) {
        return; /* swapped */
    }
    cr_assert_eq(status.state, QUIPU_PROJECTION_REBUILDING);
    cr_assert_not(status.shadow_is_left_over);
    cr_assert_eq(status.shadow_position, progress->position);
    struct counting other = {0};
    kit_assert_ok(&kit, counts_replay(&kit, &other, QUIPU_REPLAY_CATCH_UP, NULL));
    cr_assert_eq(status_of("counts").shadow_position, progress->position, "it is left alone");
    counting->fail_with = QUIPU_STOPPED; /* seen */
}

static void rebuild_and_look(enum quipu_replay_mode mode)
{
    struct counting counting = {0};
    struct quipu_projection projection = counts(&counting);
    struct quipu_replay_options options = QUIPU_REPLAY_OPTIONS_INIT;
    kit_append_many(&kit, mode == QUIPU_REPLAY_CAUSAL ? 12000 : 10);
    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL));
    options.mode = mode;
    options.slice_events = 4;
    options.progress = look_from_within;
    options.ctx = &counting;
    kit_assert_ok(&kit, quipu_replay_with(kit.engine, &projection, &options, NULL, &kit.err));
    cr_assert_eq(counting.fail_with, QUIPU_STOPPED, "it was seen");
    assert_state(QUIPU_PROJECTION_LIVE);
    cr_assert_eq(status_of("counts").shadow_version, 0);
}

Test(projection_stops, a_rebuild_that_runs_is_seen_and_not_cleared_by_a_catch_up)
{
    rebuild_and_look(QUIPU_REPLAY_REBUILD);
}

Test(projection_stops, a_causal_rebuild_that_runs_is_seen_and_not_cleared_by_a_catch_up)
{
    rebuild_and_look(QUIPU_REPLAY_CAUSAL);
}

Test(projection_stops, a_rebuild_of_the_same_version_that_parked_is_said_to_be_and_can_be_ended)
{
    for (int is_skip = 0; is_skip < 2; is_skip++) {
        struct counting counting = {0};
        kit_append_many(&kit, 5);
        kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL));
        counting = (struct counting){.poison = 3, .fail_with = QUIPU_INVALID};
        cr_assert_eq(counts_replay(&kit, &counting, QUIPU_REPLAY_REBUILD, NULL), QUIPU_INVALID);
        struct quipu_projection_status status = status_of("counts");
        cr_assert_eq(status.state, QUIPU_PROJECTION_LIVE);
        cr_assert_eq(status.parked_position, 3);
        cr_assert(status.parked_is_shadow);
        cr_assert(status.shadow_is_left_over);
        kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL));
        cr_assert_eq(status_of("counts").parked_position, 3, "a person can still see why");
        if (is_skip == 0) {
            kit_assert_ok(&kit, quipu_projection_retry(kit.engine, "counts", &kit.err));
        } else {
            kit_assert_ok(&kit, skip("counts", 3, "no"));
        }
        kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL));
        status = status_of("counts");
        cr_assert_eq(status.shadow_version, 0);
        cr_assert_eq(status.parked_position, 0);
        cr_assert_eq(status.state, QUIPU_PROJECTION_LIVE);
    }
}

Test(projection_stops, a_name_that_is_none_is_not_found)
{
    static const char *const names[] = {NULL, "", "A", "a b", "nothing"};
    struct quipu_projection_status status;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        cr_assert_eq(quipu_projection_status(kit.engine, names[i], &status, &kit.err),
                     QUIPU_NOT_FOUND);
        cr_assert_eq(quipu_projection_drop(kit.engine, names[i], &kit.err), QUIPU_NOT_FOUND);
    }
    char name[QUIPU_TABLE_KEY_BYTES_MAX + 2];
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = 0;
    cr_assert_eq(quipu_projection_status(kit.engine, name, &status, &kit.err), QUIPU_NOT_FOUND);
}

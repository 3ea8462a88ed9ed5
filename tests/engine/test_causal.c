/*
 * Causal order: a function of which events a store holds. Small cases by hand, and random histories
 * on several stores that exchange their events in random orders and splits.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "fork_kit.h"
#include "quipu/alloc.h"
#include "quipu/projection.h"

#define STORES_MAX  4
#define HISTORIES   200
#define EVENTS_MAX  512
#define BYTES_EVENT 100
/* Histories whose projections are compared; each costs many commits. */
#define STATE_EVERY 5

static struct kit stores[STORES_MAX];

static void open_stores(size_t count, uint64_t seed)
{
    for (size_t i = 0; i < count; i++) {
        kit_open(&stores[i]);
        stores[i].random_state = seed * 16 + i + 1;
    }
}

static void close_stores(size_t count)
{
    for (size_t i = 0; i < count; i++) {
        kit_close(&stores[i]);
        memset(&stores[i], 0, sizeof stores[i]);
    }
}

/* ------------------------------------------------------------------ by hand */

/* Append an event with this id. */
static struct quipu_appended append_as(struct kit *kit, const char *aggregate_id, uint8_t id,
                                       uint8_t cause)
{
    struct quipu_event event = kit_event(kit, aggregate_id, id);
    struct quipu_appended appended;
    event.event_id = kit_uuid(id);
    if (cause != 0) {
        event.causation_id = kit_uuid(cause);
    }
    kit_assert_ok(kit, quipu_append(kit->engine, &event, &appended, &kit->err));
    return appended;
}

/* "3 1 2": the last bytes of the events' ids in causal order. */
static enum quipu_status add_id(void *ctx, const struct quipu_event_view *event,
                                struct quipu_error *err)
{
    (void)err;
    quipu_buf_printf(ctx, "%d ", event->envelope.event_id.bytes[15]);
    return QUIPU_OK;
}

static void assert_order(struct kit *kit, const struct quipu_filter *filter, const char *expected)
{
    struct quipu_buf out = QUIPU_BUF_INIT;
    kit_assert_ok(kit, quipu_each_event_causal(kit->engine, filter, add_id, &out, &kit->err));
    quipu_buf_append_byte(&out, 0);
    cr_assert_str_eq((const char *)out.data, expected);
    quipu_buf_release(&out);
}

Test(causal, numbers_of_a_source_are_kept_and_else_the_smallest_id_comes_first)
{
    open_stores(2, 1);
    append_as(&stores[0], "x", 9, 0);
    append_as(&stores[0], "y", 2, 0);
    append_as(&stores[1], "z", 5, 0);
    append_as(&stores[1], "z", 1, 0);
    fork_kit_take_all(&stores[0], &stores[1]);
    fork_kit_take_all(&stores[1], &stores[0]);
    assert_order(&stores[0], NULL, "5 1 9 2 ");
    assert_order(&stores[1], NULL, "5 1 9 2 ");
    close_stores(2);
}

Test(causal, a_cause_comes_before_what_it_caused_wherever_it_stands_in_the_log)
{
    open_stores(3, 1);
    append_as(&stores[0], "x", 9, 0);
    fork_kit_take_all(&stores[1], &stores[0]);
    append_as(&stores[1], "y", 1, 9);
    fork_kit_take(&stores[2], &stores[1], 2); /* the effect arrives alone */
    assert_order(&stores[2], NULL, "1 ");
    fork_kit_take_all(&stores[2], &stores[0]);
    assert_order(&stores[2], NULL, "9 1 ");
    assert_order(&stores[1], NULL, "9 1 ");
    close_stores(3);
}

Test(causal, links_win_where_the_numbers_of_a_copied_key_contradict_them)
{
    open_stores(2, 1);
    fork_kit_copy_key(&stores[1], &stores[0]);
    append_as(&stores[0], "x", 9, 0); /* number 1 */
    append_as(&stores[0], "x", 8, 0); /* number 2 */
    struct quipu_envelope envelope;
    struct kit_foreign event;
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct quipu_ingest *ingest = NULL;
    /* The copy has seen number 2 and gives number 1 to what follows it. */
    kit_foreign_copy(&stores[0], 2, &event);
    kit_assert_ok(&stores[0], quipu_envelope_decode(event.foreign.envelope, &envelope, NULL));
    envelope.event_id = kit_uuid(1);
    envelope.prev[0] = event.foreign.cid;
    envelope.version = 3;
    envelope.source_seq = 1;
    envelope.correlation_id = envelope.event_id;
    kit_assert_ok(&stores[0], quipu_envelope_encode(&envelope, &block, &stores[0].err));
    event.foreign.envelope = quipu_buf_slice(&block);
    event.foreign.cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, event.foreign.envelope);
    fork_kit_begin(&stores[0], &ingest);
    kit_assert_ok(&stores[0], quipu_ingest_event(ingest, &event.foreign, NULL, &stores[0].err));
    kit_assert_ok(&stores[0], quipu_ingest_commit(&ingest, NULL, &stores[0].err));
    quipu_buf_release(&block);
    kit_foreign_release(&event);
    assert_order(&stores[0], NULL, "9 8 1 ");
    kit_assert_sound(&stores[0], 3);
    close_stores(2);
}

Test(causal, the_filter_chooses_and_does_not_reorder)
{
    open_stores(1, 1);
    append_as(&stores[0], "x", 3, 0);
    append_as(&stores[0], "y", 2, 0);
    append_as(&stores[0], "x", 1, 0);
    struct quipu_filter filter = {.aggregate_type = "thing", .aggregate_id = "x"};
    assert_order(&stores[0], &filter, "3 1 ");
    filter = (struct quipu_filter){.after = 1, .until = 2};
    assert_order(&stores[0], &filter, "2 ");
    filter = (struct quipu_filter){.limit = 2};
    assert_order(&stores[0], &filter, "3 2 ");
    filter = (struct quipu_filter){.event_type = "other"};
    assert_order(&stores[0], &filter, "");
    filter = (struct quipu_filter){.correlation_id = kit_uuid(2)};
    assert_order(&stores[0], &filter, "2 ");
    filter =
        (struct quipu_filter){.aggregate_type = "thing", .aggregate_id = "x", .from_version = 2};
    assert_order(&stores[0], &filter, "1 ");
    const struct quipu_filter refused[] = {
        {.direction = QUIPU_BACKWARDS},
        {.aggregate_id = "x"},
        {.aggregate_type = "thing", .from_version = 2},
        {.event_type = "Not a type"},
        {.aggregate_type = "Not a type"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        cr_assert_eq(
            quipu_each_event_causal(stores[0].engine, &refused[i], add_id, NULL, &stores[0].err),
            QUIPU_INVALID, "filter %zu", i);
    }
    close_stores(1);
}

Test(causal, the_walk_goes_over_what_was_there_when_it_was_opened)
{
    struct quipu_causal *causal = NULL;
    uint64_t position = 0;
    open_stores(1, 1);
    kit_assert_ok(&stores[0], quipu_causal_open(stores[0].engine, &causal, &stores[0].err));
    cr_assert_eq(quipu_causal_next(causal, &position, &stores[0].err), QUIPU_DONE);
    quipu_causal_close(&causal);
    cr_assert_null(causal);
    quipu_causal_close(&causal);

    kit_append(&stores[0], "x", 1);
    kit_assert_ok(&stores[0], quipu_causal_open(stores[0].engine, &causal, &stores[0].err));
    kit_append(&stores[0], "x", 2);
    cr_assert_eq(quipu_causal_count(causal), 1);
    kit_assert_ok(&stores[0], quipu_causal_next(causal, &position, &stores[0].err));
    cr_assert_eq(position, 1);
    cr_assert_eq(quipu_causal_next(causal, &position, &stores[0].err), QUIPU_DONE);
    quipu_causal_close(&causal);
    close_stores(1);
}

/* ------------------------------------------------------------------ replay */

static void append_many(struct kit *kit, size_t count)
{
    struct quipu_event *events = calloc(count, sizeof *events);
    static char ids[64][8];
    cr_assert_not_null(events);
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(ids[i % 64], sizeof ids[0], "a%zu", i % 64);
        events[i] = kit_event(kit, ids[i % 64], 1);
        events[i].payload = quipu_slice("\xa0", 1);
    }
    kit_assert_ok(kit, quipu_append_batch(kit->engine, events, count, NULL, NULL, &kit->err));
    free(events);
}

/* Aggregate → payload of the event that came last: another order makes other rows. */
static enum quipu_status keep_last(void *ctx, struct quipu_rows *rows,
                                   const struct quipu_event_view *event, struct quipu_error *err)
{
    const uint64_t *poison = ctx;
    if (poison != NULL && event->position == *poison) {
        return quipu_error_set(err, QUIPU_INVALID, "poison");
    }
    return quipu_rows_put(rows, event->envelope.aggregate_id, event->payload, err);
}

static enum quipu_status replay(struct kit *kit, uint64_t *poison, enum quipu_replay_mode mode,
                                struct quipu_replay_report *report)
{
    struct quipu_projection projection = {
        .name = "last", .version = 1, .apply = keep_last, .ctx = poison};
    return quipu_replay(kit->engine, &projection, mode, report, &kit->err);
}

static struct quipu_replay_report replay_well(struct kit *kit, enum quipu_replay_mode mode)
{
    struct quipu_replay_report report;
    kit_assert_ok(kit, replay(kit, NULL, mode, &report));
    return report;
}

Test(causal, a_replay_reaches_the_same_digest_whatever_the_order_of_arrival)
{
    open_stores(2, 1);
    append_as(&stores[0], "x", 9, 0);
    append_as(&stores[1], "x", 5, 0);
    fork_kit_take_all(&stores[0], &stores[1]);
    fork_kit_take_all(&stores[1], &stores[0]);
    struct quipu_replay_report one = replay_well(&stores[0], QUIPU_REPLAY_CATCH_UP);
    struct quipu_replay_report other = replay_well(&stores[1], QUIPU_REPLAY_CATCH_UP);
    cr_assert_neq(memcmp(one.digest, other.digest, sizeof one.digest), 0, "that is the point");
    one = replay_well(&stores[0], QUIPU_REPLAY_CAUSAL);
    other = replay_well(&stores[1], QUIPU_REPLAY_CAUSAL);
    cr_assert_eq(memcmp(one.digest, other.digest, sizeof one.digest), 0);
    cr_assert_eq(one.applied, 2);
    cr_assert_eq(one.position, 2);

    kit_append(&stores[0], "y", 1);
    one = replay_well(&stores[0], QUIPU_REPLAY_CATCH_UP);
    cr_assert_eq(one.applied, 1, "and goes on by position");
    cr_assert_eq(one.rows, 2);
    kit_assert_sound(&stores[0], 3);
    close_stores(2);
}

Test(causal, a_replay_that_fails_leaves_the_old_rows)
{
    uint64_t poison = 2;
    struct quipu_replay_report report;
    struct quipu_projection_status status;
    open_stores(1, 1);
    kit_append(&stores[0], "x", 1);
    struct quipu_replay_report before = replay_well(&stores[0], QUIPU_REPLAY_CATCH_UP);
    kit_append(&stores[0], "x", 2);
    cr_assert_eq(replay(&stores[0], &poison, QUIPU_REPLAY_CAUSAL, &report), QUIPU_INVALID);
    cr_assert_not_null(strstr(stores[0].err.message, "position 2: poison"), "%s",
                       stores[0].err.message);
    kit_assert_ok(&stores[0],
                  quipu_projection_status(stores[0].engine, "last", &status, &stores[0].err));
    cr_assert_eq(status.position, before.position);
    cr_assert_eq(status.shadow_version, 0, "what was begun is cleared");
    cr_assert_eq(status.parked_position, 0);
    report = replay_well(&stores[0], QUIPU_REPLAY_CAUSAL);
    cr_assert_eq(report.position, 2);
    kit_assert_sound(&stores[0], 2);
    close_stores(1);
}

static void replay_killed(void *ctx)
{
    struct kit *kit = ctx;
    kit_reopen(kit);
    (void)replay(kit, NULL, QUIPU_REPLAY_CAUSAL, NULL);
}

Test(causal, a_replay_that_is_killed_is_begun_anew)
{
    const uint64_t events = 12000; /* two slices */
    struct quipu_projection_status status;
    open_stores(1, 1);
    append_many(&stores[0], (size_t)events);
    struct quipu_replay_report before = replay_well(&stores[0], QUIPU_REPLAY_CATCH_UP);
    kit_shut(&stores[0]);
    cr_assert(WIFSIGNALED(kit_run_child("engine.replay.causal:kill:2", replay_killed, &stores[0])));
    kit_reopen(&stores[0]);
    kit_assert_ok(&stores[0],
                  quipu_projection_status(stores[0].engine, "last", &status, &stores[0].err));
    cr_assert_eq(status.shadow_version, 1, "half of it is there");
    cr_assert(status.shadow_is_causal);
    cr_assert(status.shadow_is_left_over);
    cr_assert(status.shadow_position > 0 && status.shadow_position < events, "%lu",
              (unsigned long)status.shadow_position); /* as far as its first slice went */
    cr_assert_eq(status.state, QUIPU_PROJECTION_LIVE);
    kit_append(&stores[0], "x", 2);
    struct quipu_replay_report report = replay_well(&stores[0], QUIPU_REPLAY_CATCH_UP);
    cr_assert_eq(report.applied, 1);
    cr_assert_eq(report.rows, before.rows + 1);
    kit_assert_ok(&stores[0],
                  quipu_projection_status(stores[0].engine, "last", &status, &stores[0].err));
    cr_assert_eq(status.shadow_version, 0, "a catch-up clears it");
    cr_assert_not(status.shadow_is_causal);
    report = replay_well(&stores[0], QUIPU_REPLAY_CAUSAL);
    cr_assert_eq(report.applied, events + 1);
    cr_assert_eq(report.rows, before.rows + 1);
    kit_assert_ok(&stores[0],
                  quipu_projection_status(stores[0].engine, "last", &status, &stores[0].err));
    cr_assert_eq(status.shadow_version, 0);
    kit_assert_sound(&stores[0], events + 1);
    close_stores(1);
}

/* ------------------------------------------------------------------ memory */

/* Live and greatest bytes, and the allocation that fails; each block carries its size in front. */
struct counted {
    size_t live;
    size_t peak;
    size_t calls;
    size_t fail_at; /* 0: none */
};

#define FRONT 16

static void *counted_realloc(void *ctx, void *pointer, size_t size)
{
    struct counted *counted = ctx;
    uint8_t *old = pointer == NULL ? NULL : (uint8_t *)pointer - FRONT;
    size_t before = 0;
    if (++counted->calls == counted->fail_at) {
        return NULL;
    }
    if (old != NULL) {
        memcpy(&before, old, sizeof before);
    }
    uint8_t *block = realloc(old, size + FRONT);
    if (block == NULL) {
        return NULL;
    }
    memcpy(block, &size, sizeof size);
    counted->live += size - before;
    counted->peak = counted->live > counted->peak ? counted->live : counted->peak;
    return block + FRONT;
}

static void counted_release(void *ctx, void *pointer)
{
    struct counted *counted = ctx;
    size_t size = 0;
    memcpy(&size, (uint8_t *)pointer - FRONT, sizeof size);
    counted->live -= size;
    free((uint8_t *)pointer - FRONT);
}

static struct counted counted;

static void count_memory(void)
{
    struct quipu_allocator allocator = {counted_realloc, counted_release, &counted};
    quipu_alloc_set(&allocator);
    open_stores(1, 1);
}

/* Once, so that what the store keeps for its next transaction is there. */
static void walk_once(struct kit *kit)
{
    struct quipu_buf order = fork_kit_order(kit);
    quipu_buf_release(&order);
}

Test(causal, takes_at_most_so_many_bytes_an_event)
{
    const size_t events = 20000;
    count_memory();
    append_many(&stores[0], events);
    walk_once(&stores[0]);
    size_t before = counted.live;
    counted.peak = counted.live;
    struct quipu_causal *causal = NULL;
    uint64_t position = 0;
    uint64_t walked = 0;
    kit_assert_ok(&stores[0], quipu_causal_open(stores[0].engine, &causal, &stores[0].err));
    cr_assert_leq(counted.live - before, (size_t)60 * events);
    while (quipu_causal_next(causal, &position, &stores[0].err) == QUIPU_OK) {
        walked++;
    }
    quipu_causal_close(&causal);
    cr_assert_eq(walked, events);
    cr_assert_leq(counted.peak - before, (size_t)BYTES_EVENT * events);
    cr_assert_eq(counted.live, before);
    close_stores(1);
}

Test(causal, running_out_of_memory_anywhere_leaves_nothing_behind)
{
    enum quipu_status status = QUIPU_NO_MEMORY;
    count_memory();
    append_many(&stores[0], 2000);
    walk_once(&stores[0]);
    size_t before = counted.live;
    size_t failed = 0;
    for (size_t n = 1; status == QUIPU_NO_MEMORY; n++, failed++) {
        uint64_t seen = 0;
        counted.calls = 0;
        counted.fail_at = n;
        struct quipu_causal *causal = NULL;
        status = quipu_causal_open(stores[0].engine, &causal, &stores[0].err);
        while (status == QUIPU_OK) {
            uint64_t position = 0;
            status = quipu_causal_next(causal, &position, &stores[0].err);
            seen += status == QUIPU_OK;
        }
        quipu_causal_close(&causal);
        cr_assert_eq(counted.live, before, "allocation %zu", n);
        cr_assert(status == QUIPU_NO_MEMORY || (status == QUIPU_DONE && seen == 2000));
    }
    counted.fail_at = 0;
    cr_assert_eq(status, QUIPU_DONE);
    cr_assert_gt(failed, 10);
    close_stores(1);
}

/* ------------------------------------------------------------------ random histories */

struct history {
    uint64_t seed;
    uint64_t state;
    size_t count; /* of stores */
    bool has_copied_key;
};

static size_t pick(struct history *history, size_t count)
{
    return (size_t)(kit_random(&history->state) % count);
}

static void record(struct history *history, struct kit *kit)
{
    static const char *const ids[] = {"x", "y", "z"};
    const char *id = ids[pick(history, 3)];
    struct quipu_event event = kit_event(kit, id, (int)pick(history, 1000));
    uint64_t last = fork_kit_last(kit);
    if (last > 0 && pick(history, 3) == 0) {
        struct quipu_envelope cause;
        struct kit_foreign copy;
        kit_foreign_copy(kit, 1 + pick(history, (size_t)last), &copy);
        kit_assert_ok(kit, quipu_envelope_decode(copy.foreign.envelope, &cause, &kit->err));
        event.causation_id = cause.event_id;
        kit_foreign_release(&copy);
    }
    enum quipu_status status = quipu_append(kit->engine, &event, NULL, &kit->err);
    if (status == QUIPU_FORK && pick(history, 2) == 0) {
        status = quipu_merge(kit->engine, &event, NULL, &kit->err);
    }
    cr_assert(status == QUIPU_OK || status == QUIPU_FORK, "seed %zu: %s", (size_t)history->seed,
              kit->err.message);
}

/* One event of another store, whatever it follows. */
static void hear(struct history *history, size_t into)
{
    size_t from = pick(history, history->count);
    uint64_t last = fork_kit_last(&stores[from]);
    if (from != into && last > 0) {
        fork_kit_take(&stores[into], &stores[from], 1 + pick(history, (size_t)last));
    }
}

/* Take in everything that the others have, in a random order, in batches of random sizes. */
static void hear_all(struct history *history, size_t into)
{
    static struct kit_foreign events[EVENTS_MAX];
    struct kit *kit = &stores[into];
    size_t count = 0;
    for (size_t from = 0; from < history->count; from++) {
        uint64_t last = from == into ? 0 : fork_kit_last(&stores[from]);
        for (uint64_t i = 1; i <= last; i++) {
            cr_assert_lt(count, EVENTS_MAX);
            kit_foreign_copy(&stores[from], i, &events[count++]);
        }
    }
    struct quipu_ingest *ingest = NULL;
    for (size_t i = 0; i < count; i++) {
        size_t other = i + pick(history, count - i);
        struct kit_foreign swap = events[i];
        events[i] = events[other];
        events[other] = swap;
        if (ingest == NULL) {
            fork_kit_begin(kit, &ingest);
        }
        kit_assert_ok(kit, quipu_ingest_event(ingest, &events[i].foreign, NULL, &kit->err));
        if (i + 1 == count || pick(history, 8) == 0) {
            kit_assert_ok(kit, quipu_ingest_commit(&ingest, NULL, &kit->err));
        }
        kit_foreign_release(&events[i]);
    }
}

static enum quipu_status count_kept(void *ctx, const struct quipu_quarantined *event,
                                    struct quipu_error *err)
{
    (void)event;
    (void)err;
    ++*(size_t *)ctx;
    return QUIPU_OK;
}

static void assert_alike(const struct history *history)
{
    struct quipu_buf forks = fork_kit_forks(&stores[0]);
    struct quipu_buf order = fork_kit_order(&stores[0]);
    bool wants_state = history->seed % STATE_EVERY == 0;
    struct quipu_replay_report state = {0};
    if (wants_state) {
        state = replay_well(&stores[0], QUIPU_REPLAY_CAUSAL);
    }
    for (size_t i = 0; i < history->count; i++) {
        size_t kept = 0;
        struct quipu_replay_report same_state = {0};
        if (wants_state) {
            same_state = replay_well(&stores[i], QUIPU_REPLAY_CAUSAL);
        }
        cr_assert_eq(memcmp(same_state.digest, state.digest, sizeof state.digest), 0, "seed %zu",
                     (size_t)history->seed);
        struct quipu_buf same_forks = fork_kit_forks(&stores[i]);
        struct quipu_buf same_order = fork_kit_order(&stores[i]);
        cr_assert_str_eq((const char *)same_forks.data, (const char *)forks.data, "seed %zu",
                         (size_t)history->seed);
        cr_assert_str_eq((const char *)same_order.data, (const char *)order.data, "seed %zu",
                         (size_t)history->seed);
        kit_assert_ok(&stores[i],
                      quipu_each_quarantined(stores[i].engine, count_kept, &kept, &stores[i].err));
        cr_assert_eq(kept, 0, "seed %zu: nobody waits any more", (size_t)history->seed);
        kit_assert_sound(&stores[i], fork_kit_last(&stores[0]));
        quipu_buf_release(&same_forks);
        quipu_buf_release(&same_order);
    }
    quipu_buf_release(&forks);
    quipu_buf_release(&order);
}

static void history_run(uint64_t seed)
{
    struct history history = {.seed = seed, .state = seed * 7919 + 1};
    history.count = 2 + pick(&history, STORES_MAX - 1);
    history.has_copied_key = pick(&history, 4) == 0;
    open_stores(history.count, seed);
    if (history.has_copied_key) {
        fork_kit_copy_key(&stores[1], &stores[0]);
    }
    size_t steps = 6 + pick(&history, 24);
    for (size_t i = 0; i < steps; i++) {
        size_t at = pick(&history, history.count);
        if (pick(&history, 3) == 0) {
            hear(&history, at);
        } else {
            record(&history, &stores[at]);
        }
    }
    for (size_t i = 0; i < history.count; i++) {
        hear_all(&history, i);
    }
    assert_alike(&history);
    close_stores(history.count);
}

Test(causal, stores_that_hold_the_same_events_agree_on_order_and_conflicts)
{
    for (uint64_t seed = 1; seed <= HISTORIES; seed++) {
        history_run(seed);
    }
}

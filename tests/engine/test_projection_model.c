/*
 * A projection against a model in memory, over random commands: append, catch up, rebuild, another
 * version, pause, skip, retry, drop, and processes that die in the middle. The seed is printed;
 * QUIPU_MODEL_SEED repeats a run.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine_kit.h"

enum { EVENTS_MAX = 4000, KEYS = 7, VERSIONS = 3, STEPS = 250 };

/* What a table of the projection should hold. */
struct model_table {
    bool is_there;
    uint32_t number; /* later ones are greater */
    uint64_t version;
    uint64_t position;
    uint64_t parked; /* 0: not */
};

static struct kit kit;
static uint64_t random_state;

/* The log: which key an event counts for, and whether it cannot be applied. */
static unsigned keys[EVENTS_MAX + 1];
static bool poison[EVENTS_MAX + 1];
static uint64_t last;

static struct model_table first;
static struct model_table beside;
static bool is_paused;
static uint32_t next_table;
/* By version and position: the table that a skip was made in; 0: none. */
static uint32_t skips[VERSIONS + 1][EVENTS_MAX + 1];

static uint64_t roll(uint64_t sides)
{
    return kit_random(&random_state) % sides;
}

/* ------------------------------------------------------------------ the projection */

static enum quipu_status count_key(void *ctx, struct quipu_rows *rows,
                                   const struct quipu_event_view *event, struct quipu_error *err)
{
    struct quipu_slice key = event->envelope.aggregate_id;
    struct quipu_slice value;
    uint64_t count = 0;
    (void)ctx;
    enum quipu_status status = quipu_rows_get(rows, key, &value, err);
    if (status == QUIPU_OK) {
        memcpy(&count, value.data, sizeof count);
    } else if (status != QUIPU_NOT_FOUND) {
        return status;
    }
    count++;
    status = quipu_rows_put(rows, key, quipu_slice(&count, sizeof count), err);
    if (status == QUIPU_OK && poison[event->position]) {
        return quipu_error_set(err, QUIPU_INVALID, "poison");
    }
    return status;
}

static struct quipu_replay_options options;
static struct quipu_projection projection;

static enum quipu_status replay(struct quipu_replay_report *report)
{
    return quipu_replay_with(kit.engine, &projection, &options, report, &kit.err);
}

static void child_replay(void *ctx)
{
    (void)ctx;
    kit_reopen(&kit);
    (void)replay(NULL); /* however it ends, its parent sees what it left */
}

/* ------------------------------------------------------------------ the model */

static struct model_table model_new_table(uint64_t version)
{
    return (struct model_table){.is_there = true, .number = ++next_table, .version = version};
}

static bool model_skips(const struct model_table *table, uint64_t position)
{
    uint32_t made_in = skips[table->version][position];
    return made_in != 0 && made_in <= table->number;
}

static enum quipu_status model_advance(struct model_table *table)
{
    table->parked = 0;
    while (table->position < last) {
        uint64_t next = table->position + 1;
        if (poison[next] && !model_skips(table, next)) {
            table->parked = next;
            return QUIPU_INVALID;
        }
        table->position = next;
    }
    return QUIPU_OK;
}

/* Nobody goes on with a rebuild of the version that the first table has. */
static bool beside_is_own(void)
{
    return beside.is_there && beside.version == first.version;
}

static enum quipu_status model_replay(uint64_t version, enum quipu_replay_mode mode)
{
    if (is_paused) {
        return QUIPU_PAUSED;
    }
    if (!first.is_there) {
        first = model_new_table(version);
        return model_advance(&first);
    }
    bool is_catch_up = mode == QUIPU_REPLAY_CATCH_UP;
    if (is_catch_up && first.version == version) {
        if (beside_is_own() && beside.parked == 0) {
            beside = (struct model_table){.is_there = false}; /* left over */
        }
        return first.parked != 0 ? QUIPU_PARKED : model_advance(&first);
    }
    if (!is_catch_up || !beside.is_there || beside.version != version) {
        beside = model_new_table(version);
    } else if (beside.parked != 0) {
        return QUIPU_PARKED;
    }
    enum quipu_status status = model_advance(&beside);
    if (status == QUIPU_OK) {
        first = beside;
        beside = (struct model_table){.is_there = false};
    }
    return status;
}

static void model_drop(void)
{
    first = (struct model_table){.is_there = false};
    beside = first;
    is_paused = false;
    memset(skips, 0, sizeof skips);
}

/* ------------------------------------------------------------------ comparing */

static enum quipu_status take_row(void *ctx, struct quipu_slice key, struct quipu_slice value,
                                  struct quipu_error *err)
{
    uint64_t *counts = ctx;
    (void)err;
    cr_assert_eq(key.len, 1);
    cr_assert_eq(value.len, sizeof *counts);
    memcpy(&counts[key.data[0] - 'a'], value.data, sizeof *counts);
    return QUIPU_OK;
}

static void compare_rows(void)
{
    uint64_t expected[KEYS] = {0};
    uint64_t found[KEYS] = {0};
    for (uint64_t position = 1; position <= first.position; position++) {
        expected[keys[position]] += model_skips(&first, position) ? 0 : 1;
    }
    kit_assert_ok(&kit, quipu_projection_each_row(kit.engine, "model", quipu_slice(NULL, 0),
                                                  take_row, found, &kit.err));
    for (size_t i = 0; i < KEYS; i++) {
        cr_assert_eq(found[i], expected[i], "key %zu: %" PRIu64 ", expected %" PRIu64, i, found[i],
                     expected[i]);
    }
}

static uint64_t model_skipped(void)
{
    uint64_t count = 0;
    for (uint64_t position = 1; position <= first.position; position++) {
        count += model_skips(&first, position);
    }
    return count;
}

static enum quipu_projection_state model_state(void)
{
    if (is_paused) {
        return QUIPU_PROJECTION_PAUSED;
    }
    if (first.parked != 0 || (beside.is_there && !beside_is_own() && beside.parked != 0)) {
        return QUIPU_PROJECTION_PARKED;
    }
    if (beside.is_there && !beside_is_own()) {
        return QUIPU_PROJECTION_REBUILDING;
    }
    return first.position == last ? QUIPU_PROJECTION_LIVE : QUIPU_PROJECTION_CATCHING_UP;
}

static void compare(void)
{
    struct quipu_projection_status status;
    if (!first.is_there) {
        cr_assert_eq(quipu_projection_status(kit.engine, "model", &status, &kit.err),
                     QUIPU_NOT_FOUND);
        return;
    }
    kit_assert_ok(&kit, quipu_projection_status(kit.engine, "model", &status, &kit.err));
    cr_assert_eq(status.version, first.version);
    cr_assert_eq(status.position, first.position, "position %" PRIu64 ", expected %" PRIu64,
                 status.position, first.position);
    cr_assert_eq(status.lag, last - first.position);
    cr_assert_eq(status.shadow_version, beside.is_there ? beside.version : 0);
    cr_assert_eq(status.shadow_position, beside.is_there ? beside.position : 0);
    cr_assert_eq(status.parked_position, first.parked != 0 ? first.parked : beside.parked);
    cr_assert_eq(status.shadow_is_left_over, beside_is_own());
    cr_assert_eq(status.parked_is_shadow, first.parked == 0 && beside.parked != 0);
    cr_assert_eq(status.skipped, model_skipped());
    cr_assert_eq(status.state, model_state(), "%s, expected %s",
                 quipu_projection_state_text(status.state),
                 quipu_projection_state_text(model_state()));
    compare_rows();
}

/* ------------------------------------------------------------------ commands */

static void do_append(void)
{
    struct quipu_event events[30];
    char ids[30][2];
    size_t count = 1 + roll(30);
    for (size_t i = 0; i < count && last < EVENTS_MAX; i++) {
        last++;
        keys[last] = (unsigned)roll(KEYS);
        poison[last] = roll(60) == 0;
        ids[i][0] = (char)('a' + (int)keys[last]);
        ids[i][1] = 0;
        events[i] = kit_event(&kit, ids[i], 1);
        kit_assert_ok(&kit, quipu_append(kit.engine, &events[i], NULL, &kit.err));
    }
}

static void choose_replay(enum quipu_replay_mode mode)
{
    projection.version = first.is_there && roll(4) != 0 ? first.version : 1 + roll(VERSIONS);
    if (beside.is_there && roll(2) == 0) {
        projection.version = beside.version;
    }
    options.mode = mode;
    options.slice_events = (uint32_t)(1 + roll(40));
}

static void do_replay(enum quipu_replay_mode mode)
{
    struct quipu_replay_report report;
    choose_replay(mode);
    enum quipu_status expected = model_replay(projection.version, mode);
    enum quipu_status status = replay(&report);
    cr_assert_eq(status, expected, "%s, expected %s: %s", quipu_status_name(status),
                 quipu_status_name(expected), kit.err.message);
    if (status == QUIPU_OK) {
        cr_assert_eq(report.position, last);
        cr_assert_eq(report.skipped, model_skipped());
    }
}

/* A table that a process was filling when it died: as far as it came, and no further than it could.
 * Parked or not, as it is. */
static void adopt(struct model_table *was, const struct model_table *could, uint64_t position,
                  uint64_t parked)
{
    cr_assert_geq(position, was->position);
    cr_assert_leq(position, could->position);
    cr_assert(parked == 0 || parked == could->parked);
    was->position = position;
    was->parked = parked;
}

/* What the dead process left of a rebuild that `could` have come so far. */
static void adopt_beside(const struct model_table *could,
                         const struct quipu_projection_status *status)
{
    bool was_resumed = beside.is_there && beside.number == could->number;
    if (status->shadow_version == 0) {
        cr_assert_not(was_resumed);
        beside = (struct model_table){.is_there = false}; /* it died clearing the one before */
        return;
    }
    if (!was_resumed) {
        beside = (struct model_table){
            .is_there = true, .number = could->number, .version = could->version};
    }
    cr_assert_eq(status->shadow_version, could->version);
    adopt(&beside, could, status->shadow_position,
          status->parked_version == could->version && status->parked_position > 0 &&
                  status->parked_position == status->shadow_position + 1 && first.parked == 0
              ? status->parked_position
              : 0);
}

static void do_crash(void)
{
    static const char *const names[] = {"engine.replay.slice", "engine.replay.cleared"};
    char failpoint[64];
    choose_replay(roll(2) == 0 ? QUIPU_REPLAY_CATCH_UP : QUIPU_REPLAY_REBUILD);
    (void)snprintf(failpoint, sizeof failpoint, "%s:kill:%" PRIu64, names[roll(4) == 0],
                   1 + roll(4));
    kit_shut(&kit);
    int how = kit_run_child(failpoint, child_replay, NULL);
    kit_reopen(&kit);

    struct model_table first_was = first;
    struct model_table beside_was = beside;
    (void)model_replay(projection.version, options.mode);
    struct quipu_projection_status status;
    if (!WIFSIGNALED(how) || is_paused) {
        return; /* it came to its end */
    }
    enum quipu_status found = quipu_projection_status(kit.engine, "model", &status, &kit.err);
    kit_assert_ok(&kit, found);
    struct model_table first_could = first;
    struct model_table beside_could = beside;
    if (!first_was.is_there || first_could.number == first_was.number) {
        /* The first table was filled, or a rebuild that parks. */
        first = first_was.is_there ? first_was : first_could;
        if (!first_was.is_there) {
            first.position = 0;
            first.parked = 0;
        }
        beside = beside_was;
        if (!beside_could.is_there && status.shadow_version == 0) {
            beside = beside_could; /* it was left over, and cleared before the death */
        }
        if (beside_could.is_there &&
            (!beside_was.is_there || beside_could.number != beside_was.number ||
             beside_could.position != beside_was.position)) {
            adopt_beside(&beside_could, &status);
        } else {
            uint64_t parked = status.parked_position == status.position + 1 &&
                                      status.parked_version == first.version
                                  ? status.parked_position
                                  : 0;
            adopt(&first, &first_could, status.position, parked);
        }
    } else if (status.version != first_was.version || status.shadow_version == 0) {
        /* Swapped, and perhaps died clearing; or not even begun. */
        if (status.shadow_version == 0 && status.version == first_could.version &&
            status.position == first_could.position) {
            return;
        }
        first = first_was;
        beside = (struct model_table){.is_there = false};
    } else {
        first = first_was;
        beside = beside_was;
        adopt_beside(&first_could, &status);
    }
}

static void do_skip_or_retry(void)
{
    uint64_t position = first.parked;
    bool is_beside = position == 0;
    if (is_beside) {
        position = beside.is_there ? beside.parked : 0;
    }
    if (position == 0) {
        cr_assert_eq(
            quipu_projection_skip(kit.engine, "model", 1 + roll(last + 1), "why", &kit.err),
            QUIPU_NOT_FOUND);
        return;
    }
    if (roll(3) == 0) {
        kit_assert_ok(&kit, quipu_projection_retry(kit.engine, "model", &kit.err));
        first.parked = 0;
        beside.parked = 0;
        return;
    }
    kit_assert_ok(&kit, quipu_projection_skip(kit.engine, "model", position, "why", &kit.err));
    if (beside.is_there && beside.parked == position) {
        skips[beside.version][position] = beside.number;
        beside.parked = 0;
    }
    if (first.parked == position) {
        skips[first.version][position] = first.number;
        first.parked = 0;
    }
}

static void do_pause(bool to)
{
    enum quipu_status status = to ? quipu_projection_pause(kit.engine, "model", &kit.err)
                                  : quipu_projection_resume(kit.engine, "model", &kit.err);
    cr_assert_eq(status, first.is_there ? QUIPU_OK : QUIPU_NOT_FOUND);
    is_paused = first.is_there && to;
}

static void do_drop(void)
{
    enum quipu_status status = quipu_projection_drop(kit.engine, "model", &kit.err);
    cr_assert_eq(status, first.is_there ? QUIPU_OK : QUIPU_NOT_FOUND);
    model_drop();
}

static void step(void)
{
    uint64_t dice = roll(100);
    if (dice < 35) {
        do_append();
    } else if (dice < 60) {
        do_replay(QUIPU_REPLAY_CATCH_UP);
    } else if (dice < 66) {
        do_replay(QUIPU_REPLAY_REBUILD);
    } else if (dice < 84) {
        do_skip_or_retry();
    } else if (dice < 87) {
        do_pause(true);
    } else if (dice < 91) {
        do_pause(false);
    } else if (dice < 92) {
        do_drop();
    } else if (dice < 94) {
        kit_reopen(&kit);
    } else {
#ifdef QUIPU_FAILPOINTS
        do_crash();
#else
        (void)do_crash;
#endif
    }
}

static void run_seed(uint64_t seed)
{
    random_state = seed;
    last = 0;
    next_table = 0;
    model_drop();
    projection = (struct quipu_projection){.name = "model", .version = 1, .apply = count_key};
    options = (struct quipu_replay_options)QUIPU_REPLAY_OPTIONS_INIT;
    options.slice_us = 60000000;
    (void)printf("seed %" PRIu64 ": ", seed); /* also where it fails */
    (void)fflush(stdout);
    kit_open(&kit);
    for (int i = 0; i < STEPS; i++) {
        step();
        (void)fflush(stdout);
        compare();
        if (i % 50 == 0) {
            kit_assert_sound(&kit, last);
        }
    }
    (void)printf("%" PRIu64 " events, position %" PRIu64 "\n", last, first.position);
    kit_close(&kit);
}

Test(projection_model, holds_over_random_commands_and_deaths, .timeout = 240)
{
    static const uint64_t seeds[] = {20261121, 1, 2, 3, 4, 5, 6, 7};
    const char *given = getenv("QUIPU_MODEL_SEED");
    if (given != NULL) {
        run_seed(strtoull(given, NULL, 10));
        return;
    }
    for (size_t i = 0; i < sizeof seeds / sizeof seeds[0]; i++) {
        run_seed(seeds[i]);
    }
}

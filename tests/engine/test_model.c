/*
 * Random commands against a model in memory: seeded, so that a failure can be run again with the
 * seed that it names. The model is a few arrays and knows the rules of the headers, not the code.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_kit.h"

enum { MODEL_EVENTS = 1500, MODEL_AGGREGATES = 5, MODEL_IDS = 200, STEPS = 400, BATCH = 9 };

enum settled { PENDING, PUBLISHED, DEAD };

struct model_event {
    size_t aggregate;
    uint64_t version;
    int n;      /* the payload's number */
    uint8_t id; /* 0: the engine chose one */
    size_t type;
    enum settled settled;
    uint64_t sequence;
    struct quipu_cid cid;
    struct quipu_uuid event_id;
};

static struct kit kit;
static struct model_event log_model[MODEL_EVENTS + 1]; /* by position */
static uint64_t last;
static uint64_t versions[MODEL_AGGREGATES];
static uint64_t id_position[256];
static uint64_t seed_state;
static uint64_t seed;

static const char *const aggregate_ids[MODEL_AGGREGATES] = {"a", "b", "ab", "a/b", "ü"};
static const char *const type_names[] = {"thing.made", "thing.changed"};

static uint64_t roll(uint64_t below)
{
    return kit_random(&seed_state) % below;
}

#define check(condition, ...) cr_assert(condition, "seed " __VA_ARGS__)

/* ------------------------------------------------------------------ append */

static struct quipu_event event_for(size_t aggregate, int n, size_t type, uint8_t id)
{
    struct quipu_event event = kit_event(&kit, aggregate_ids[aggregate], n);
    event.type = type_names[type];
    if (id != 0) {
        event.event_id = kit_uuid(id);
    }
    return event;
}

/* One event of a batch as the model sees it. */
struct planned {
    struct model_event event;
    uint64_t position; /* where it will be, or is already */
    bool is_duplicate;
};

/* The model's append_batch: what should happen, without doing it. */
static enum quipu_status plan_batch(const struct quipu_event *events,
                                    const struct model_event *wanted, size_t count,
                                    struct planned *plan, size_t *failed)
{
    uint64_t next = last;
    uint64_t heads[MODEL_AGGREGATES];
    memcpy(heads, versions, sizeof heads);
    for (size_t i = 0; i < count; i++) {
        const struct model_event *same = NULL;
        plan[i] = (struct planned){.event = wanted[i]};
        *failed = i;
        if (wanted[i].id != 0 && id_position[wanted[i].id] != 0) {
            plan[i].position = id_position[wanted[i].id];
            same = &log_model[plan[i].position];
        }
        for (size_t j = 0; j < i && same == NULL; j++) {
            if (wanted[i].id != 0 && wanted[j].id == wanted[i].id) {
                plan[i].position = plan[j].position;
                same = &plan[j].event;
            }
        }
        if (same != NULL) {
            if (same->aggregate != wanted[i].aggregate || same->n != wanted[i].n ||
                same->type != wanted[i].type) {
                return QUIPU_EVENT_ID_CONFLICT;
            }
            plan[i].is_duplicate = true;
            plan[i].event.version = same->version;
            continue;
        }
        uint64_t head = heads[wanted[i].aggregate];
        const struct quipu_expected *expected = &events[i].expected;
        if ((expected->kind == QUIPU_EXPECT_NO_STREAM && head != 0) ||
            (expected->kind == QUIPU_EXPECT_EXACT && head != expected->version)) {
            return QUIPU_VERSION_CONFLICT;
        }
        heads[wanted[i].aggregate] = ++head;
        plan[i].event.version = head;
        plan[i].position = ++next;
    }
    *failed = count;
    return QUIPU_OK;
}

static void step_append(void)
{
    struct quipu_event events[BATCH];
    struct model_event wanted[BATCH];
    struct planned plan[BATCH];
    struct quipu_appended appended[BATCH];
    size_t count = 1 + roll(8);
    for (size_t i = 0; i < count; i++) {
        wanted[i] = (struct model_event){.aggregate = roll(MODEL_AGGREGATES),
                                         .n = (int)roll(4),
                                         .type = roll(2),
                                         .id = (uint8_t)(roll(3) == 0 ? 1 + roll(MODEL_IDS) : 0)};
        if (wanted[i].id != 0 && roll(2) == 0 && id_position[wanted[i].id] != 0) {
            /* The very same event again. */
            const struct model_event *same = &log_model[id_position[wanted[i].id]];
            wanted[i].aggregate = same->aggregate;
            wanted[i].n = same->n;
            wanted[i].type = same->type;
        }
        events[i] = event_for(wanted[i].aggregate, wanted[i].n, wanted[i].type, wanted[i].id);
        uint64_t head = versions[wanted[i].aggregate];
        switch (roll(8)) {
        case 0:
            events[i].expected = quipu_expect_no_stream();
            break;
        case 1:
        case 2:
            events[i].expected = quipu_expect_exact(head + roll(2));
            break;
        default:
            break;
        }
    }
    size_t should_fail = 0;
    size_t failed = count;
    enum quipu_status expected = plan_batch(events, wanted, count, plan, &should_fail);
    enum quipu_status status =
        quipu_append_batch(kit.engine, events, count, appended, &failed, &kit.err);
    check(status == expected, "%lu: append gives %s", (unsigned long)seed,
          quipu_status_name(status));
    check(status == QUIPU_OK || failed == should_fail, "%lu: failed", (unsigned long)seed);
    for (size_t i = 0; status == QUIPU_OK && i < count; i++) {
        check(appended[i].position == plan[i].position, "%lu: position", (unsigned long)seed);
        check(appended[i].version == plan[i].event.version, "%lu: version", (unsigned long)seed);
        check(appended[i].was_duplicate == plan[i].is_duplicate, "%lu: duplicate",
              (unsigned long)seed);
        if (plan[i].is_duplicate) {
            check(quipu_cid_equal(&appended[i].cid, &log_model[plan[i].position].cid),
                  "%lu: cid of a duplicate", (unsigned long)seed);
            continue;
        }
        plan[i].event.cid = appended[i].cid;
        plan[i].event.event_id = appended[i].event_id;
        log_model[++last] = plan[i].event;
        versions[plan[i].event.aggregate] = plan[i].event.version;
        if (plan[i].event.id != 0) {
            id_position[plan[i].event.id] = last;
        }
    }
}

/* ------------------------------------------------------------------ outbox */

static void step_acknowledge(void)
{
    struct quipu_ack acks[6];
    size_t count = 1 + roll(6);
    uint64_t start = roll(last + 1);
    bool is_known = true;
    for (size_t i = 0; i < count; i++) {
        uint64_t position = roll(4) == 0 ? roll(last + 2) : start + i;
        acks[i] = (struct quipu_ack){position, 1 + roll(1000), roll(2) == 0, 0};
        is_known = is_known && position >= 1 && position <= last;
    }
    enum quipu_status status =
        quipu_outbox_acknowledge(kit.engine, quipu_slice_text("EVENTS"), acks, count, &kit.err);
    check(status == (is_known ? QUIPU_OK : QUIPU_NOT_FOUND), "%lu: ack gives %s",
          (unsigned long)seed, quipu_status_name(status));
    struct quipu_txn *txn = NULL;
    kit_assert_ok(&kit, quipu_txn_begin_read(kit.store, &txn, &kit.err));
    for (size_t i = 0; status == QUIPU_OK && i < count; i++) {
        struct model_event *event = &log_model[acks[i].position];
        struct quipu_receipt receipt;
        kit_assert_ok(&kit, quipu_receipt_at(txn, acks[i].position, &receipt, &kit.err));
        if (event->settled != PUBLISHED) {
            /* Two acks for one position in a call: either may have won. */
            event->sequence = receipt.sequence;
            event->settled = PUBLISHED;
        }
    }
    quipu_txn_abort(&txn);
}

static void step_dead_letter(void)
{
    uint64_t position = roll(last + 2);
    bool is_there = position >= 1 && position <= last;
    struct model_event *event = &log_model[is_there ? position : 0];
    enum quipu_status status;
    enum quipu_status expected;
    switch (roll(3)) {
    case 0:
        expected =
            !is_there ? QUIPU_NOT_FOUND : (event->settled == PUBLISHED ? QUIPU_INVALID : QUIPU_OK);
        status =
            quipu_outbox_bury(kit.engine, position, QUIPU_SERVER, quipu_slice_text("no"), &kit.err);
        if (status == QUIPU_OK) {
            event->settled = DEAD;
        }
        break;
    case 1:
        expected = is_there && event->settled == DEAD ? QUIPU_OK : QUIPU_NOT_FOUND;
        status = quipu_dead_letter_drop(kit.engine, position, &kit.err);
        break;
    default:
        expected = is_there && event->settled == DEAD ? QUIPU_OK : QUIPU_NOT_FOUND;
        status = quipu_dead_letter_retry(kit.engine, position, &kit.err);
        if (status == QUIPU_OK) {
            event->settled = PENDING;
        }
    }
    check(status == expected, "%lu: dead letter gives %s", (unsigned long)seed,
          quipu_status_name(status));
}

/* ------------------------------------------------------------------ comparing */

struct walk {
    uint64_t position; /* the last one visited */
    uint64_t count;
    size_t aggregate; /* MODEL_AGGREGATES: any */
    bool pending_only;
};

static enum quipu_status compare_event(void *ctx, const struct quipu_event_view *event,
                                       struct quipu_error *err)
{
    struct walk *walk = ctx;
    struct walk *at = walk;
    do {
        at->position++;
        check(at->position <= last, "%lu: beyond the end", (unsigned long)seed);
    } while ((walk->aggregate != MODEL_AGGREGATES &&
              log_model[at->position].aggregate != walk->aggregate) ||
             (walk->pending_only && log_model[at->position].settled != PENDING));
    const struct model_event *wanted = &log_model[at->position];
    check(event->position == at->position, "%lu: position %lu, expected %lu", (unsigned long)seed,
          (unsigned long)event->position, (unsigned long)at->position);
    check(quipu_cid_equal(&event->cid, &wanted->cid), "%lu: cid", (unsigned long)seed);
    check(quipu_uuid_equal(event->envelope.event_id, wanted->event_id), "%lu: id",
          (unsigned long)seed);
    check(event->envelope.version == wanted->version, "%lu: version", (unsigned long)seed);
    check(event->envelope.source_seq == at->position, "%lu: number", (unsigned long)seed);
    check(quipu_slice_equal(event->payload, event_for(0, wanted->n, 0, 0).payload), "%lu: payload",
          (unsigned long)seed);
    check(quipu_event_view_verify(event, err) == QUIPU_OK, "%lu: hash", (unsigned long)seed);
    walk->count++;
    return QUIPU_OK;
}

static void compare_all(void)
{
    struct walk walk = {.aggregate = MODEL_AGGREGATES};
    struct quipu_outbox_status status;
    uint64_t published = 0;
    uint64_t dead = 0;
    uint64_t cursor = 0;
    kit_assert_ok(&kit, quipu_each_event(kit.engine, NULL, compare_event, &walk, &kit.err));
    check(walk.count == last, "%lu: events", (unsigned long)seed);
    for (size_t i = 0; i < MODEL_AGGREGATES; i++) {
        struct quipu_filter filter = {.aggregate_type = "thing", .aggregate_id = aggregate_ids[i]};
        walk = (struct walk){.aggregate = i};
        kit_assert_ok(&kit, quipu_each_event(kit.engine, &filter, compare_event, &walk, &kit.err));
        check(walk.count == versions[i], "%lu: events of an aggregate", (unsigned long)seed);
    }
    for (uint64_t i = 1; i <= last; i++) {
        published += log_model[i].settled == PUBLISHED;
        dead += log_model[i].settled == DEAD;
        if (cursor == i - 1 && log_model[i].settled != PENDING) {
            cursor = i;
        }
    }
    kit_assert_ok(&kit, quipu_outbox_status(kit.engine, &status, &kit.err));
    check(status.published == published, "%lu: published", (unsigned long)seed);
    check(status.dead == dead, "%lu: dead", (unsigned long)seed);
    check(status.pending == last - published - dead, "%lu: pending", (unsigned long)seed);
    check(status.cursor == cursor, "%lu: cursor %lu, expected %lu", (unsigned long)seed,
          (unsigned long)status.cursor, (unsigned long)cursor);
    walk = (struct walk){.aggregate = MODEL_AGGREGATES, .pending_only = true};
    kit_assert_ok(&kit, quipu_outbox_each_pending(kit.engine, 0, MODEL_EVENTS, compare_event, &walk,
                                                  NULL, &kit.err));
    check(walk.count == status.pending, "%lu: pending events", (unsigned long)seed);
}

static enum quipu_status sum_event(void *ctx, struct quipu_rows *rows,
                                   const struct quipu_event_view *event, struct quipu_error *err)
{
    struct quipu_slice value;
    uint8_t sum = 0;
    (void)ctx;
    enum quipu_status status = quipu_rows_get(rows, event->envelope.aggregate_id, &value, err);
    if (status == QUIPU_OK) {
        sum = value.data[0];
    }
    /* The payload is {"n": n} with n below 24: its last byte. */
    sum = (uint8_t)(sum + event->payload.data[event->payload.len - 1]);
    return quipu_rows_put(rows, event->envelope.aggregate_id, quipu_slice(&sum, 1), err);
}

static enum quipu_status compare_sum(void *ctx, struct quipu_slice key, struct quipu_slice value,
                                     struct quipu_error *err)
{
    uint8_t *sums = ctx;
    (void)err;
    for (size_t i = 0; i < MODEL_AGGREGATES; i++) {
        if (quipu_slice_equal(key, quipu_slice_text(aggregate_ids[i]))) {
            check(value.data[0] == sums[i], "%lu: sum", (unsigned long)seed);
            sums[i] = 0;
        }
    }
    return QUIPU_OK;
}

static void step_replay(void)
{
    struct quipu_projection projection = {
        .name = "sums", .version = 1 + roll(2), .apply = sum_event};
    struct quipu_replay_report report;
    uint8_t sums[MODEL_AGGREGATES] = {0};
    kit_assert_ok(&kit, quipu_replay(kit.engine, &projection,
                                     roll(2) == 0 ? QUIPU_REPLAY_CATCH_UP : QUIPU_REPLAY_REBUILD,
                                     &report, &kit.err));
    check(report.position == last, "%lu: checkpoint", (unsigned long)seed);
    for (uint64_t i = 1; i <= last; i++) {
        sums[log_model[i].aggregate] = (uint8_t)(sums[log_model[i].aggregate] + log_model[i].n);
    }
    kit_assert_ok(&kit, quipu_projection_each_row(kit.engine, "sums", quipu_slice(NULL, 0),
                                                  compare_sum, sums, &kit.err));
    for (size_t i = 0; i < MODEL_AGGREGATES; i++) {
        check(sums[i] == 0, "%lu: a row is missing", (unsigned long)seed);
    }
}

static void run_seed(uint64_t number)
{
    seed = number;
    seed_state = number;
    last = 0;
    memset(versions, 0, sizeof versions);
    memset(id_position, 0, sizeof id_position);
    memset(log_model, 0, sizeof log_model);
    kit_open(&kit);
    for (int step = 0; step < STEPS && last + BATCH < MODEL_EVENTS; step++) {
        uint64_t kind = roll(40);
        kit.now_unix_us += (int64_t)roll(3);
        if (kind < 22) {
            step_append();
        } else if (kind < 30) {
            step_acknowledge();
        } else if (kind < 36) {
            step_dead_letter();
        } else if (kind < 38) {
            step_replay();
        } else if (kind < 39) {
            compare_all();
        } else {
            kit_reopen(&kit);
        }
    }
    compare_all();
    kit_assert_sound(&kit, last);
    kit_close(&kit);
}

Test(model, agrees_over_random_commands, .timeout = 120)
{
    for (uint64_t number = 1; number <= 40; number++) {
        run_seed(number);
    }
}

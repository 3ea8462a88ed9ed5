/*
 * Random appends, reads, acknowledgements, crashes (as closing without one) and resets of two
 * subscriptions against a model in memory: seeded, so that a failure names how to run it again.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>

#include "engine_kit.h"
#include "quipu/subscription.h"

enum { SUBSCRIPTIONS = 2, EVENTS_MAX = 2000, STEPS = 600, TYPES = 3 };

static const char *const type_names[TYPES] = {"thing.made", "thing.changed", "thing.ended"};
static const char *const names[SUBSCRIPTIONS] = {"all", "some"};
static const char *const some_types[] = {"thing.made", "thing.ended", NULL};

struct model {
    struct kit kit;
    uint64_t seed;
    uint64_t state;
    int types[EVENTS_MAX + 1]; /* by position */
    uint64_t last;
    struct quipu_subscription *subscriptions[SUBSCRIPTIONS];
    uint64_t read[SUBSCRIPTIONS];         /* handed out up to here */
    uint64_t acknowledged[SUBSCRIPTIONS]; /* at least */
};

static uint64_t roll(struct model *model, uint64_t below)
{
    return kit_random(&model->state) % below;
}

static void open_one(struct model *model, size_t i)
{
    struct quipu_subscription_options options = QUIPU_SUBSCRIPTION_OPTIONS_INIT;
    options.name = names[i];
    options.event_types = i == 1 ? some_types : NULL;
    options.buffer_events = (uint32_t)(1 + roll(model, 9));
    options.buffer_bytes = (size_t)(1 + roll(model, 3000));
    kit_assert_ok(&model->kit, quipu_subscription_open(model->kit.engine, &options,
                                                       &model->subscriptions[i], &model->kit.err));
    model->read[i] = model->acknowledged[i];
}

static void append(struct model *model)
{
    size_t count = (size_t)(1 + roll(model, 6));
    struct quipu_event events[6];
    if (model->last + count > EVENTS_MAX) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        int type = (int)roll(model, TYPES);
        events[i] = kit_event(&model->kit, "a", type);
        events[i].type = type_names[type];
        model->types[model->last + 1 + i] = type;
    }
    kit_assert_ok(&model->kit, quipu_append_batch(model->kit.engine, events, count, NULL, NULL,
                                                  &model->kit.err));
    model->last += count;
}

/* Position of the event that must come next; 0: none. */
static uint64_t expected_next(const struct model *model, size_t i)
{
    for (uint64_t position = model->read[i] + 1; position <= model->last; position++) {
        if (i == 0 || model->types[position] != 1) {
            return position;
        }
    }
    return 0;
}

static void read_some(struct model *model, size_t i)
{
    for (uint64_t left = roll(model, 12); left > 0; left--) {
        struct quipu_event_view event;
        uint64_t expected = expected_next(model, i);
        enum quipu_status status =
            quipu_subscription_next(model->subscriptions[i], &event, &model->kit.err);
        cr_assert_eq(status, expected == 0 ? QUIPU_DONE : QUIPU_OK, "seed %lu: %s: status %d",
                     (unsigned long)model->seed, names[i], (int)status);
        if (expected == 0) {
            cr_assert_eq(quipu_subscription_wait(model->subscriptions[i], 0, &model->kit.err),
                         QUIPU_DONE, "seed %lu", (unsigned long)model->seed);
            return;
        }
        cr_assert_eq(event.position, expected, "seed %lu: %s: expected %lu, found %lu",
                     (unsigned long)model->seed, names[i], (unsigned long)expected,
                     (unsigned long)event.position);
        cr_assert(quipu_slice_equal(event.envelope.event_type,
                                    quipu_slice_text(type_names[model->types[expected]])));
        model->read[i] = expected;
    }
}

static void acknowledge(struct model *model, size_t i)
{
    uint64_t to = model->read[i] - roll(model, 3 < model->read[i] ? 3 : model->read[i] + 1);
    kit_assert_ok(&model->kit,
                  quipu_subscription_acknowledge(model->subscriptions[i], to, &model->kit.err));
    if (to > model->acknowledged[i]) {
        model->acknowledged[i] = to;
    }
}

/* What was read and not acknowledged comes again. */
static void crash(struct model *model)
{
    for (size_t i = 0; i < SUBSCRIPTIONS; i++) {
        quipu_subscription_close(&model->subscriptions[i]);
    }
    if (roll(model, 4) == 0) {
        kit_reopen(&model->kit);
    }
    for (size_t i = 0; i < SUBSCRIPTIONS; i++) {
        open_one(model, i);
    }
}

static void reset(struct model *model, size_t i)
{
    uint64_t to = roll(model, model->last + 1);
    quipu_subscription_close(&model->subscriptions[i]);
    kit_assert_ok(&model->kit,
                  quipu_subscription_reset(model->kit.engine, names[i], to, &model->kit.err));
    model->acknowledged[i] = to;
    open_one(model, i);
}

static void step(struct model *model)
{
    size_t i = (size_t)roll(model, SUBSCRIPTIONS);
    switch (roll(model, 12)) {
    case 0:
    case 1:
    case 2:
    case 3:
        append(model);
        break;
    case 4:
    case 5:
        acknowledge(model, i);
        break;
    case 6:
        crash(model);
        break;
    case 7:
        reset(model, i);
        break;
    default:
        read_some(model, i);
        break;
    }
}

static struct model model;

static void run_seed(uint64_t seed)
{
    model = (struct model){.seed = seed, .state = seed};
    kit_open(&model.kit);
    for (size_t i = 0; i < SUBSCRIPTIONS; i++) {
        open_one(&model, i);
    }
    for (int i = 0; i < STEPS; i++) {
        step(&model);
    }
    for (size_t i = 0; i < SUBSCRIPTIONS; i++) {
        while (expected_next(&model, i) != 0) {
            read_some(&model, i);
        }
        quipu_subscription_close(&model.subscriptions[i]);
    }
    kit_assert_sound(&model.kit, model.last);
    kit_close(&model.kit);
}

Test(subscription_model, random_commands)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        run_seed(seed);
    }
}

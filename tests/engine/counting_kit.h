/*
 * A projection that counts the events of each aggregate, for the tests of projections.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_COUNTING_KIT_H
#define QUIPU_TESTS_COUNTING_KIT_H

#include "engine_kit.h"

/* What to do at one position, and how often the handler was called. */
struct counting {
    uint64_t poison; /* fail here, after having written */
    enum quipu_status fail_with;
    uint64_t calls;
};

/* Named "counts", version 1: aggregate_id → number of events as decimal text. */
struct quipu_projection counts(struct counting *counting);

/* Replay it in the kit's engine. */
enum quipu_status counts_replay(struct kit *kit, struct counting *counting,
                                enum quipu_replay_mode mode, struct quipu_replay_report *report);

/* Assert that its rows whose keys begin with `prefix` are these: "a=1 b=2". */
void counts_assert_rows(struct kit *kit, const char *name, const char *prefix,
                        const char *expected);

/* Append five events of "a", the third of which cannot be applied, and park in front of it. */
void counts_park(struct kit *kit, struct counting *counting);

/* Append fifty events of "a" and replay ten at a time; behind the twentieth the projection is
 * dropped, paused or whatever `act` does. */
typedef enum quipu_status (*counts_act_fn)(struct quipu_engine *engine, const char *name,
                                           struct quipu_error *err);
enum quipu_status counts_replay_until(struct kit *kit, struct counting *counting,
                                      counts_act_fn act);

/* Append so many events of aggregate "a". */
void kit_append_many(struct kit *kit, size_t count);

#endif

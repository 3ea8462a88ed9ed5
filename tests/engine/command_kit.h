/*
 * An aggregate kind for the tests of commands: "thing", whose events hold {"n": int}. Its state is
 * a sum, and a digest that tells the order of the events.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_COMMAND_KIT_H
#define QUIPU_TESTS_COMMAND_KIT_H

#include "engine_kit.h"
#include "quipu/command.h"

struct tally {
    uint64_t events;
    int64_t sum;
    uint64_t order;
};

/* What the callbacks do beside their work; a kind's ctx. */
struct tally_ctx {
    int64_t live;      /* states */
    uint64_t applied;  /* calls of apply */
    uint64_t restored; /* calls of restore */
    uint64_t saved;    /* calls of save */
    uint64_t fail_at;  /* apply refuses this version */
    bool refuses_to_save;
    bool refuses_to_restore;
    size_t padding; /* bytes more of a saved state */
};

struct quipu_aggregate_kind tally_kind(struct tally_ctx *ctx, uint64_t snapshot_every);

/* {"n": …} of a payload, and such a payload. */
int64_t tally_n(struct quipu_slice payload);
void tally_payload(struct quipu_buf *out, int64_t n);

/* What the log says, folded from the first event by this program's own walk. */
struct tally tally_from_log(struct kit *kit, const char *aggregate_id);

/* Load; the state is copied out, the rest of `*loaded` (may be NULL) is as it was. */
struct tally tally_load(struct kit *kit, const struct quipu_aggregate_kind *kind,
                        const char *aggregate_id, struct quipu_loaded *loaded);

void tally_assert_equal(struct tally a, struct tally b);

/* A decision for quipu_command_run: append {"n": value}, unless the sum would fall below 0. */
struct add_command {
    struct kit *kit;
    int64_t value;
    int events;                              /* so many; 0: one */
    void (*meddle)(struct add_command *add); /* called in the decision, NULL: nothing */
    uint64_t decisions;
};
enum quipu_status decide_add(void *ctx, const struct quipu_loaded *loaded,
                             struct quipu_decision *out, struct quipu_error *err);

#endif

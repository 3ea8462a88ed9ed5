/*
 * What quipu_each_event makes of a store of bits.h in which a bit has flipped: with both blocks of
 * each event hashed again, as it does unless told not to, and without. Only looks.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <string.h>

#include "bits.h"

struct serving {
    const struct bits *bits;
    uint64_t shown;
    bool has_moved;
    bool has_other;
};

static bool is_known(const struct known *known, const struct quipu_event_view *event)
{
    return event->envelope_block.len == known->envelope_len &&
           event->payload.len == known->payload_len &&
           memcmp(event->envelope_block.data, known->envelope, known->envelope_len) == 0 &&
           memcmp(event->payload.data, known->payload, known->payload_len) == 0 &&
           quipu_cid_equal(&event->cid, &known->cid);
}

static enum quipu_status show(void *ctx, const struct quipu_event_view *event,
                              struct quipu_error *err)
{
    struct serving *serving = ctx;
    const struct known *known = serving->bits->known;
    uint64_t own = 1;
    (void)err;
    serving->shown++;
    while (own <= EVENTS && !is_known(&known[own], event)) {
        own++;
    }
    serving->has_other |= own > EVENTS;
    serving->has_moved |= own <= EVENTS && own != event->position;
    return QUIPU_OK;
}

enum served bits_serve(const struct bits *bits, struct quipu_engine *engine, bool skips_hashing)
{
    struct serving serving = {.bits = bits};
    struct quipu_filter filter = {.skips_hashing = skips_hashing};
    enum quipu_status status = quipu_each_event(engine, &filter, show, &serving, NULL);
    if (serving.has_other) {
        return SERVED_OTHER;
    }
    if (serving.has_moved) {
        return SERVED_MOVED;
    }
    if (status != QUIPU_OK) {
        return SERVED_REFUSED;
    }
    return serving.shown == EVENTS ? SERVED_ALL : SERVED_FEWER;
}

void bits_print_served(const char *const names[PLACES],
                       const uint64_t counts[PLACES][SERVED_WAYS][SERVED_KINDS])
{
    (void)printf("\n%-20s %9s %9s %9s %9s %9s | without hashing: the same\n", "each event is",
                 "shown", "refused", "fewer", "moved", "OTHER");
    for (size_t i = 0; i < PLACES; i++) {
        (void)printf("%-20s", names[i]);
        for (size_t way = 0; way < SERVED_WAYS; way++) {
            (void)printf("%s", way == 0 ? "" : " |");
            for (size_t j = 0; j < SERVED_KINDS; j++) {
                (void)printf(" %9llu", (unsigned long long)counts[i][way][j]);
            }
        }
        (void)printf("\n");
    }
}

/*
 * The events of the crash tests: event number n is always the same one, so that whoever finds it
 * knows what it must be.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_CRASH_SAMPLE_H
#define QUIPU_TESTS_CRASH_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

#include "quipu/engine.h"
#include "quipu/projection.h"

#define SAMPLE_PAYLOAD_BYTES_MAX (96u << 10)

struct sample {
    struct quipu_event event;
    char aggregate_id[24];
    uint8_t payload[SAMPLE_PAYLOAD_BYTES_MAX];
};

/* Numbers from here on are of another store's events, of other aggregates; and of events that no
 * workload appends. */
#define SAMPLE_FOREIGN (UINT64_C(1) << 32)
#define SAMPLE_FRESH   (UINT64_C(1) << 31)

/* End the program where it is not so, or the call did not go well; `what` begins the line. */
void sample_require(bool is_true, const char *what, uint64_t wanted, uint64_t found);
void sample_must(enum quipu_status status, const char *what, const struct quipu_error *err);

/* Fill it in; must not move afterwards. `expected` is "any" and may be changed. */
void sample_make(struct sample *sample, uint64_t number);

/* Number of the event that has this id; 0 where it is another store's. */
uint64_t sample_number(const struct quipu_uuid *event_id);

/* Next number of a generator that starts the same way each time. */
uint64_t sample_random(uint64_t *state);

/* Counts the events of each aggregate, and sums up the numbers of their positions. */
struct quipu_projection sample_projection(void);

/* A small map, so that a machine with many of these processes need not reserve a tebibyte each;
 * small sizes for every other number, so that a few events cross every threshold of the indexes. */
QUIPU_MUST_CHECK enum quipu_status sample_store_open(const char *path,
                                                     const struct quipu_store_options *options,
                                                     uint64_t number, struct quipu_store **out,
                                                     struct quipu_error *err);

#endif

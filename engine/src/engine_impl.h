/*
 * What an engine holds. Each member says what guards it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_IMPL_H
#define QUIPU_ENGINE_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "append_queue.h"
#include "quipu/buf.h"
#include "quipu/engine.h"

/* The newest event of the engine's source up to `position`: see identity_count.c. */
struct identity_looked {
    uint64_t position;
    uint64_t number;
    uint64_t at;
};

struct append_scratch;
struct stored_types;

/* What becomes of snapshots: one for each outcome of a load, written, unwritten. */
#define SNAPSHOT_COUNTS 7

struct quipu_engine {
    struct quipu_store *store;
    struct quipu_clock clock;
    struct quipu_random random;
    const struct quipu_types *types; /* the caller's, or NULL */
    bool asks_stored_types;          /* what the store declares is in force */

    struct append_queue queue; /* has its own lock */

    _Atomic uint64_t snapshot_counts[SNAPSHOT_COUNTS]; /* see snapshot.c */

    pthread_mutex_t ids_lock; /* guards last_id */
    struct quipu_uuid last_id;

    pthread_mutex_t types_lock; /* guards the pointer; what is there has holders of its own */
    struct stored_types
        *stored_types; /* as seen last; replaced only under the store's write lock */

    pthread_mutex_t scratch_lock; /* guards scratch_free */
    struct append_scratch *scratch_free;

    pthread_mutex_t opened_lock; /* guards the two below */
    uint8_t *opened_seed;        /* guarded pages; NULL: no wrapped key was opened */
    char opened_source[QUIPU_SOURCE_TEXT_BYTES]; /* of that seed */

    /* Used only by the thread that holds the store's write transaction, which is their lock. */
    char source[QUIPU_SOURCE_TEXT_BYTES]; /* empty: not loaded yet */
    struct identity_looked looked;        /* for that source */
    struct quipu_buf envelope; /* QUIPU_ENVELOPE_BYTES_MAX, so that encoding never grows it */
};

/* The store's last position now, 0 for none, in a read transaction of its own. */
QUIPU_MUST_CHECK enum quipu_status engine_last_position(const struct quipu_engine *engine,
                                                        uint64_t *out, struct quipu_error *err);

#endif

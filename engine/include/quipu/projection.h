/*
 * Projections: state that is rebuilt from events. A projection's rows live in the same environment
 * and are committed together with its checkpoint, so each event takes effect exactly once.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_PROJECTION_H
#define QUIPU_PROJECTION_H

#include <stdint.h>

#include "quipu/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

#define QUIPU_PROJECTION_NAME_BYTES_MAX 64
#define QUIPU_ROW_VALUE_BYTES_MAX       (1u << 20)

/** The rows of one projection, ordered bytewise by key, for the time of a callback. */
struct quipu_rows;

/** @retval QUIPU_NOT_FOUND, QUIPU_TOO_LARGE. The value lives until the next put or delete. */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_rows_get(struct quipu_rows *rows,
                                                            struct quipu_slice key,
                                                            struct quipu_slice *value,
                                                            struct quipu_error *err);
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_rows_put(struct quipu_rows *rows,
                                                            struct quipu_slice key,
                                                            struct quipu_slice value,
                                                            struct quipu_error *err);
/** @retval QUIPU_NOT_FOUND */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_rows_delete(struct quipu_rows *rows, struct quipu_slice key, struct quipu_error *err);

/** A projection: a name, the version of its logic, and what an event does to its rows. */
struct quipu_projection {
    const char *name; /* tokens of [a-z0-9_-], 1 to 64 bytes */
    uint64_t version; /* ≥ 1; another version means: rebuild */
    enum quipu_status (*apply)(void *ctx, struct quipu_rows *rows,
                               const struct quipu_event_view *event, struct quipu_error *err);
    void *ctx;
};

enum quipu_replay_mode {
    /** Go on from the checkpoint (from the start where there is none or the version is another). */
    QUIPU_REPLAY_CATCH_UP = 0,
    /** Build anew beside the old rows and swap when it has caught up. */
    QUIPU_REPLAY_REBUILD,
};

struct quipu_replay_report {
    uint64_t applied;  /* events applied by this call */
    uint64_t position; /* checkpoint afterwards */
    uint64_t rows;     /* rows afterwards */
    /** SHA-256 over name, version, position and every row in order (SPEC §7): two stores with the
     * same digest reached the same state. */
    uint8_t digest[QUIPU_SHA256_BYTES];
};

/**
 * Bring the projection up to the end of the log, in slices, each with its checkpoint in one
 * transaction. A failure of `apply` stops it in front of that event, with the position in err; what
 * was committed stays.
 * @retval QUIPU_OK, QUIPU_INVALID (name or version), QUIPU_CORRUPT, or what `apply` says
 * @retval QUIPU_BUSY  another rebuild of this projection got in the way; nothing is harmed
 * @threads one replay of a projection at a time; readers go on
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_replay(struct quipu_engine *engine,
                                                          const struct quipu_projection *projection,
                                                          enum quipu_replay_mode mode,
                                                          struct quipu_replay_report *report,
                                                          struct quipu_error *err);

typedef enum quipu_status (*quipu_row_fn)(void *ctx, struct quipu_slice key,
                                          struct quipu_slice value, struct quipu_error *err);

/** Call `visit` for each row whose key begins with `prefix`, in order, in one snapshot. QUIPU_DONE
 * from the callback ends well. @retval QUIPU_NOT_FOUND  never replayed in this store */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_projection_each_row(struct quipu_engine *engine, const char *name, struct quipu_slice prefix,
                          quipu_row_fn visit, void *ctx, struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif

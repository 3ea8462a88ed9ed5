/**
 * @file
 * Upkeep of a store that nobody else has open: compacting, work on a copy that then takes the
 * store's place, and making anew what derives from the log.
 *
 * Specification: docs/SPEC.md §6.8.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_STORE_UPKEEP_H
#define QUIPU_STORE_UPKEEP_H

#include "quipu/store.h"

#ifdef __cplusplus
extern "C" {
#endif

struct quipu_upkeep_options {
    size_t size; /* sizeof this struct */
    /** Called now and then; `what` names the step, such as "rows compared", static text; `total`
     * 0: not known. May be NULL. */
    void (*progress)(void *ctx, const char *what, uint64_t done, uint64_t total);
    void *ctx;
};

#define QUIPU_UPKEEP_OPTIONS_INIT                                                                  \
    {                                                                                              \
        .size = sizeof(struct quipu_upkeep_options)                                                \
    }

struct quipu_compact_report {
    uint64_t events;
    uint64_t bytes_before; /* of the environment's data file */
    uint64_t bytes_after;
    uint32_t runs_before;
    uint32_t runs_after;
};

/**
 * Make the store in the folder `path` as small as it can be: merge the runs of each index into one,
 * delete what was merged, and write the data file anew without free pages. The new file is synced
 * and compared with the old one, row by row, before it takes its place; a kill or a power cut at
 * any moment leaves a good store. Nothing that can be read changes, and no file beside the data
 * file (the signing key) is touched.
 *
 * The store must not be open: neither in this process nor in another, and while this works nobody
 * can open it. The disk needs room for a second copy meanwhile. `options` and `report` may be NULL.
 *
 * @retval QUIPU_BUSY      it is open; err names the process
 * @retval QUIPU_NO_SPACE  the disk is too full; the store is as good as before
 * @retval QUIPU_CORRUPT   an index is damaged: nothing was replaced, quipu_store_repair is the cure
 * @retval QUIPU_NOT_FOUND, QUIPU_NOT_A_STORE, QUIPU_PERMISSION, QUIPU_IO, QUIPU_NO_MEMORY…
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_store_compact(const char *path, const struct quipu_upkeep_options *options,
                    struct quipu_compact_report *report, struct quipu_error *err);

/** Work on a copy of a store, in as many transactions as it takes: all of it becomes the store, or
 * none. One thread at a time. */
struct quipu_store_stage;

/**
 * Hold the store in the folder `path` alone, as quipu_store_compact does, and copy it. The disk
 * needs room for the copy and for what comes into it; a kill or a power cut at any moment leaves
 * the store as it was, and what is left over is removed by the next opening.
 * @param out  End it with commit or abort. Untouched on failure.
 * @retval as quipu_store_compact
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_store_stage_begin(const char *path, struct quipu_store_stage **out, struct quipu_error *err);

/** The copy, to be worked on like any store; its folder is the store's own, so that the signing key
 * is at hand. Its commits are not durable by themselves. Borrowed: neither closed nor used behind
 * commit and abort. */
QUIPU_API struct quipu_store *quipu_store_stage_store(struct quipu_store_stage *stage);

/** Sync the copy and put it in the store's place. Every engine and transaction on it has ended.
 * Consumes `*stage`. Where this fails the store is as it was, unless the failure was that of
 * syncing its folder (QUIPU_IO), when it is one or the other, and whole.
 * @retval QUIPU_IO, QUIPU_NO_SPACE, QUIPU_PERMISSION */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_store_stage_commit(struct quipu_store_stage **stage, struct quipu_error *err);

/** Forget the copy. NULL is fine. */
QUIPU_API void quipu_store_stage_abort(struct quipu_store_stage **stage);

struct quipu_repair_report {
    uint64_t events;
    uint64_t aggregates;
    /** Records whose link to the aggregate's event before was wrong and is right now. */
    uint64_t relinked;
    uint64_t bytes_before; /* of the environment's data file */
    uint64_t bytes_after;
};

/**
 * Make all that derives from the log of the store in the folder `path` again: heads, links between
 * the events of an aggregate, the indexes and their manifest. The log and the rows of all tables
 * are copied as they are into a new file; what derives is made by appending, event by event; the
 * new file is synced and checked, and then takes the place of the old one. So a damaged index is
 * never read, a kill or a power cut at any moment leaves the old file or the new one, and where
 * this fails the old one is untouched. Memory does not grow with the log.
 *
 * What does not derive from the log is not mended: a record that cannot be read, or a position that
 * is missing, is QUIPU_CORRUPT, and only a backup helps. Hashes are not looked at (quipu_verify).
 *
 * Who may have it open, room on the disk, `options`, `report` and the rest of the statuses are as
 * for quipu_store_compact. Afterwards call quipu_repair_derived (engine) for the rows of its own
 * that derive from the log.
 *
 * @retval QUIPU_CORRUPT  the log itself is damaged; err names the position
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_store_repair(const char *path, const struct quipu_upkeep_options *options,
                   struct quipu_repair_report *report, struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif

/*
 * The manifest of the runs: which sorted runs there are, which positions each indexes, which merges
 * are under way, what is left to delete. One value in `meta`, under the key "runs". Bytes in, bytes
 * out: never touches LMDB. SPEC §6.6. Private to store/.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_STORE_MANIFEST_H
#define QUIPU_STORE_MANIFEST_H

#include <stdbool.h>
#include <stdint.h>

#include "quipu/buf.h"
#include "quipu/error.h"

/* The three indexes. A run has two entries an event in the first (envelope and payload), one in the
 * second, and in the third one or two: its type, and its correlation where that is another's. */
enum quipu_index { QUIPU_INDEX_CID = 0, QUIPU_INDEX_EVENT_ID, QUIPU_INDEX_TERM, QUIPU_INDEXES };

/* Over all indexes. */
#define QUIPU_EVENT_ENTRIES_MAX 5

/* A run has fewer positions, so that one within it and a bit beside it take 32 bits. */
#define QUIPU_RUN_EVENTS_MAX (UINT32_MAX >> 1)

/* Bounds of the manifest. The schedule of the merges keeps far below them. */
#define QUIPU_RUNS_MAX    512
#define QUIPU_MERGES_MAX  32
#define QUIPU_TRASH_MAX   1024
#define QUIPU_FAN_OUT_MAX 8

/* Where the values of a run lie in the map, for those who look into it often; NULL: not read yet.
 */
struct quipu_run_pages;

/* Sorted entries of the positions first … last, in values of segment_entries entries each (the last
 * one may hold fewer). */
struct quipu_run {
    uint64_t number;
    uint64_t first_position;
    uint64_t last_position;
    uint32_t level;
    uint32_t segment_entries;
    uint64_t term_entries;
    /* First eight bytes of the first and the last entry. */
    uint64_t min_key[QUIPU_INDEXES];
    uint64_t max_key[QUIPU_INDEXES];
    /* Not stored. Values of a committed run never move, see run_pages.h. */
    struct quipu_run_pages *pages;
    bool is_committed;
};

/* Some neighbouring runs of one level on their way into one run of the next. */
struct quipu_merge {
    uint64_t number;     /* of the run to come */
    uint64_t first_run;  /* number of the oldest input */
    uint64_t started_at; /* what was indexed when it began: paces it */
    uint32_t inputs;
    uint32_t segment_entries;
    uint64_t consumed[QUIPU_INDEXES][QUIPU_FAN_OUT_MAX]; /* entries taken from each input */
};

/* A run that nobody looks into any more: values still to be deleted, from the last down to 0. */
struct quipu_trash {
    uint64_t number;
    uint32_t values[QUIPU_INDEXES];
};

struct quipu_manifest {
    uint64_t indexed;  /* positions 1 … indexed are in runs */
    uint64_t next_run; /* number for the next run */
    uint32_t run_count;
    uint32_t merge_count;
    uint32_t trash_count;
    struct quipu_run runs[QUIPU_RUNS_MAX]; /* oldest positions first, without gaps */
    struct quipu_merge merges[QUIPU_MERGES_MAX];
    struct quipu_trash trash[QUIPU_TRASH_MAX];
};

/* Part of an encoded manifest that a look-up needs; points into the bytes. */
struct quipu_manifest_view {
    uint64_t indexed;
    uint32_t run_count;
    const uint8_t *runs;
};

static inline uint64_t quipu_run_events(const struct quipu_run *run)
{
    return run->last_position - run->first_position + 1;
}

static inline uint64_t quipu_run_entries(const struct quipu_run *run, enum quipu_index index)
{
    if (index == QUIPU_INDEX_TERM) {
        return run->term_entries;
    }
    return quipu_run_events(run) * (index == QUIPU_INDEX_CID ? 2 : 1);
}

/* Bytes of one entry; what they are: entry.h. */
static inline size_t quipu_entry_bytes(enum quipu_index index)
{
    return index == QUIPU_INDEX_TERM ? 8 : 12;
}

/* Segments of so many entries. */
static inline uint64_t quipu_segments(uint64_t entries, uint32_t segment_entries)
{
    return (entries + segment_entries - 1) / segment_entries;
}

static inline uint64_t quipu_run_segments(const struct quipu_run *run, enum quipu_index index)
{
    return quipu_segments(quipu_run_entries(run, index), run->segment_entries);
}

/* Append the bytes; sticky status in `out`. */
void quipu_manifest_encode(const struct quipu_manifest *manifest, struct quipu_buf *out);

/* Check sizes and counts. Fails with QUIPU_CORRUPT. */
QUIPU_MUST_CHECK enum quipu_status quipu_manifest_view(struct quipu_slice bytes,
                                                       struct quipu_manifest_view *out,
                                                       struct quipu_error *err);

/* Read the i-th run, i below run_count; it counts as committed, without pages. Fails with
 * QUIPU_CORRUPT. */
QUIPU_MUST_CHECK enum quipu_status quipu_manifest_run(const struct quipu_manifest_view *view,
                                                      uint32_t i, struct quipu_run *out,
                                                      struct quipu_error *err);

/* Read and check all of it. Fails with QUIPU_CORRUPT, and then `out` is not to be used. */
QUIPU_MUST_CHECK enum quipu_status quipu_manifest_decode(struct quipu_slice bytes,
                                                         struct quipu_manifest *out,
                                                         struct quipu_error *err);

/* Index of the run with this number, or run_count. */
uint32_t quipu_manifest_find(const struct quipu_manifest *manifest, uint64_t number);

#endif

/*
 * The manifest's bytes, all integers big-endian. SPEC §6.6.
 *
 *   header  u32 format 1, u32 runs, u32 trash, u32 merges, u64 indexed, u64 next run number
 *   run     u64 number, u64 first position, u64 last position, u32 level, u32 segment entries,
 *           u64 entries in termrun; for cidrun, eidrun and termrun: u64 and u64, the first eight
 *           bytes of the first and the last entry
 *   trash   u64 run number, u32 values left in cidrun, u32 in eidrun, u32 in termrun
 *   merge   u64 run number to come, u64 first input, u64 indexed at its start, u32 inputs,
 *           u32 segment entries; for cidrun, eidrun and termrun: 8 × u64 entries taken of each
 *           input
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "manifest.h"

#include <inttypes.h>

#include "internal.h"
#include "internal/bytes.h"

#define MANIFEST_FORMAT 1
#define HEADER_BYTES    32
#define RUN_BYTES       (40 + 16 * QUIPU_INDEXES)
#define TRASH_BYTES     (8 + 4 * QUIPU_INDEXES)
#define MERGE_BYTES     (32 + 8 * QUIPU_INDEXES * QUIPU_FAN_OUT_MAX)

/* More entries than this cannot be numbered by a segment's 24 bits in any case. */
#define SEGMENT_ENTRIES_MAX (UINT32_C(1) << 20)

static void put_u32(struct quipu_buf *out, uint32_t value)
{
    uint8_t bytes[4];
    quipu_store_be32(bytes, value);
    quipu_buf_append(out, bytes, sizeof bytes);
}

static void put_u64(struct quipu_buf *out, uint64_t value)
{
    uint8_t bytes[8];
    quipu_store_be64(bytes, value);
    quipu_buf_append(out, bytes, sizeof bytes);
}

void quipu_manifest_encode(const struct quipu_manifest *manifest, struct quipu_buf *out)
{
    put_u32(out, MANIFEST_FORMAT);
    put_u32(out, manifest->run_count);
    put_u32(out, manifest->trash_count);
    put_u32(out, manifest->merge_count);
    put_u64(out, manifest->indexed);
    put_u64(out, manifest->next_run);
    for (uint32_t i = 0; i < manifest->run_count; i++) {
        const struct quipu_run *run = &manifest->runs[i];
        put_u64(out, run->number);
        put_u64(out, run->first_position);
        put_u64(out, run->last_position);
        put_u32(out, run->level);
        put_u32(out, run->segment_entries);
        put_u64(out, run->term_entries);
        for (int k = 0; k < QUIPU_INDEXES; k++) {
            put_u64(out, run->min_key[k]);
            put_u64(out, run->max_key[k]);
        }
    }
    for (uint32_t i = 0; i < manifest->trash_count; i++) {
        put_u64(out, manifest->trash[i].number);
        for (int k = 0; k < QUIPU_INDEXES; k++) {
            put_u32(out, manifest->trash[i].values[k]);
        }
    }
    for (uint32_t i = 0; i < manifest->merge_count; i++) {
        const struct quipu_merge *merge = &manifest->merges[i];
        put_u64(out, merge->number);
        put_u64(out, merge->first_run);
        put_u64(out, merge->started_at);
        put_u32(out, merge->inputs);
        put_u32(out, merge->segment_entries);
        for (int k = 0; k < QUIPU_INDEXES; k++) {
            for (int input = 0; input < QUIPU_FAN_OUT_MAX; input++) {
                put_u64(out, merge->consumed[k][input]);
            }
        }
    }
}

static enum quipu_status damaged(struct quipu_error *err, const char *fault)
{
    return quipu_error_set(err, QUIPU_CORRUPT, "manifest of the runs: %s", fault);
}

enum quipu_status quipu_manifest_view(struct quipu_slice bytes, struct quipu_manifest_view *out,
                                      struct quipu_error *err)
{
    if (bytes.len < HEADER_BYTES || quipu_load_be32(bytes.data) != MANIFEST_FORMAT) {
        return damaged(err, "unknown format");
    }
    uint32_t runs = quipu_load_be32(bytes.data + 4);
    uint32_t trash = quipu_load_be32(bytes.data + 8);
    uint32_t merges = quipu_load_be32(bytes.data + 12);
    /* Room is left for what one flush adds. */
    if (runs >= QUIPU_RUNS_MAX || trash > QUIPU_TRASH_MAX / 2 || merges > QUIPU_MERGES_MAX ||
        bytes.len != HEADER_BYTES + (size_t)runs * RUN_BYTES + (size_t)trash * TRASH_BYTES +
                         (size_t)merges * MERGE_BYTES) {
        return damaged(err, "counts do not add up");
    }
    out->indexed = quipu_load_be64(bytes.data + 16);
    out->run_count = runs;
    out->runs = bytes.data + HEADER_BYTES;
    return QUIPU_OK;
}

static bool run_is_sound(const struct quipu_run *run, uint64_t indexed)
{
    if (run->first_position == 0 || run->first_position > run->last_position ||
        run->last_position > indexed || quipu_run_events(run) >= QUIPU_RUN_EVENTS_MAX ||
        run->segment_entries == 0 || run->segment_entries > SEGMENT_ENTRIES_MAX ||
        run->term_entries < quipu_run_events(run) ||
        run->term_entries > 2 * quipu_run_events(run)) {
        return false;
    }
    for (int k = 0; k < QUIPU_INDEXES; k++) {
        if (run->min_key[k] > run->max_key[k]) {
            return false;
        }
    }
    return true;
}

enum quipu_status quipu_manifest_run(const struct quipu_manifest_view *view, uint32_t i,
                                     struct quipu_run *out, struct quipu_error *err)
{
    const uint8_t *p = view->runs + (size_t)i * RUN_BYTES;
    out->number = quipu_load_be64(p);
    out->first_position = quipu_load_be64(p + 8);
    out->last_position = quipu_load_be64(p + 16);
    out->level = quipu_load_be32(p + 24);
    out->segment_entries = quipu_load_be32(p + 28);
    out->term_entries = quipu_load_be64(p + 32);
    for (size_t k = 0; k < QUIPU_INDEXES; k++) {
        out->min_key[k] = quipu_load_be64(p + 40 + 16 * k);
        out->max_key[k] = quipu_load_be64(p + 48 + 16 * k);
    }
    out->pages = NULL;
    out->is_committed = true;
    if (!run_is_sound(out, view->indexed)) {
        return damaged(err, "a run contradicts itself");
    }
    return QUIPU_OK;
}

uint32_t quipu_manifest_find(const struct quipu_manifest *manifest, uint64_t number)
{
    for (uint32_t i = 0; i < manifest->run_count; i++) {
        if (manifest->runs[i].number == number) {
            return i;
        }
    }
    return manifest->run_count;
}

/* Inputs are of one level, and no input of another merge. */
static bool inputs_are_sound(const struct quipu_manifest *manifest, const struct quipu_merge *merge,
                             uint32_t first)
{
    for (uint32_t i = 1; i < merge->inputs; i++) {
        if (manifest->runs[first + i].level != manifest->runs[first].level) {
            return false;
        }
    }
    for (uint32_t i = 0; i < manifest->merge_count; i++) {
        const struct quipu_merge *other = &manifest->merges[i];
        uint32_t other_first = quipu_manifest_find(manifest, other->first_run);
        if (first < other_first + other->inputs && other_first < first + merge->inputs) {
            return false;
        }
    }
    return true;
}

static enum quipu_status decode_merge(const uint8_t *p, struct quipu_manifest *manifest,
                                      struct quipu_error *err)
{
    struct quipu_merge *merge = &manifest->merges[manifest->merge_count];
    merge->number = quipu_load_be64(p);
    merge->first_run = quipu_load_be64(p + 8);
    merge->started_at = quipu_load_be64(p + 16);
    merge->inputs = quipu_load_be32(p + 24);
    merge->segment_entries = quipu_load_be32(p + 28);
    uint32_t first = quipu_manifest_find(manifest, merge->first_run);
    if (merge->number >= manifest->next_run || merge->started_at > manifest->indexed ||
        merge->inputs < 2 || merge->inputs > QUIPU_FAN_OUT_MAX ||
        merge->inputs > manifest->run_count - first || merge->segment_entries == 0 ||
        merge->segment_entries > SEGMENT_ENTRIES_MAX || !inputs_are_sound(manifest, merge, first)) {
        return damaged(err, "a merge contradicts itself");
    }
    for (uint32_t k = 0; k < QUIPU_INDEXES; k++) {
        for (uint32_t i = 0; i < QUIPU_FAN_OUT_MAX; i++) {
            uint64_t taken = quipu_load_be64(p + 32 + 8 * (k * QUIPU_FAN_OUT_MAX + i));
            uint64_t limit = i < merge->inputs ? quipu_run_entries(&manifest->runs[first + i],
                                                                   (enum quipu_index)k)
                                               : 0;
            if (taken > limit) {
                return damaged(err, "a merge has taken more than there is");
            }
            merge->consumed[k][i] = taken;
        }
    }
    manifest->merge_count++;
    return QUIPU_OK;
}

/* Values of these runs are deleted, so none may be of a run in use or of one in the making. */
static bool trash_is_sound(const struct quipu_manifest *manifest)
{
    for (uint32_t i = 0; i < manifest->trash_count; i++) {
        const struct quipu_trash *trash = &manifest->trash[i];
        if (trash->number >= manifest->next_run ||
            quipu_manifest_find(manifest, trash->number) < manifest->run_count) {
            return false;
        }
        for (uint32_t m = 0; m < manifest->merge_count; m++) {
            if (manifest->merges[m].number == trash->number) {
                return false;
            }
        }
        for (size_t k = 0; k < QUIPU_INDEXES; k++) {
            if (trash->values[k] > QUIPU_RUN_DIRECTORY) {
                return false;
            }
        }
    }
    return true;
}

enum quipu_status quipu_manifest_decode(struct quipu_slice bytes, struct quipu_manifest *out,
                                        struct quipu_error *err)
{
    struct quipu_manifest_view view;
    enum quipu_status status = quipu_manifest_view(bytes, &view, err);
    if (status != QUIPU_OK) {
        return status;
    }
    out->indexed = view.indexed;
    out->next_run = quipu_load_be64(bytes.data + 24);
    out->run_count = view.run_count;
    out->trash_count = quipu_load_be32(bytes.data + 8);
    out->merge_count = 0;

    uint64_t before = 0;
    for (uint32_t i = 0; i < view.run_count; i++) {
        status = quipu_manifest_run(&view, i, &out->runs[i], err);
        if (status != QUIPU_OK) {
            return status;
        }
        if (out->runs[i].first_position != before + 1 || out->runs[i].number >= out->next_run) {
            return damaged(err, "runs do not follow each other");
        }
        before = out->runs[i].last_position;
    }
    if (before != out->indexed) {
        return damaged(err, "runs do not cover what is indexed");
    }

    const uint8_t *p = view.runs + (size_t)view.run_count * RUN_BYTES;
    for (uint32_t i = 0; i < out->trash_count; i++, p += TRASH_BYTES) {
        out->trash[i].number = quipu_load_be64(p);
        for (size_t k = 0; k < QUIPU_INDEXES; k++) {
            out->trash[i].values[k] = quipu_load_be32(p + 8 + 4 * k);
        }
    }
    uint32_t merges = quipu_load_be32(bytes.data + 12);
    for (uint32_t i = 0; i < merges; i++, p += MERGE_BYTES) {
        status = decode_merge(p, out, err);
        if (status != QUIPU_OK) {
            return status;
        }
    }
    return trash_is_sound(out) ? QUIPU_OK : damaged(err, "a run that is thrown away is in use");
}

/*
 * The index of a bundle in volumes, SHA256SUMS: lines that sha256sum passes over and that name the
 * bundle, so that an index cannot stand for another one's, and a line for each volume.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_AIRGAP_VOLUME_INDEX_H
#define QUIPU_AIRGAP_VOLUME_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quipu/bundle.h"

#define QUIPU_VOLUME_NAME_MAX 250u /* of the bundle, so that .001 fits a file's name */
/* With its number and a zero. */
#define QUIPU_VOLUME_NAME_BYTES (QUIPU_VOLUME_NAME_MAX + 5)

struct quipu_volume_entry {
    struct quipu_slice name;
    uint8_t sha256[QUIPU_SHA256_BYTES];
    uint64_t bytes; /* not said by the index */
};

struct quipu_volume_index {
    char source[QUIPU_SOURCE_TEXT_BYTES];
    uint64_t number;
    struct quipu_cid manifest;
    uint64_t bytes; /* of the bundle's file, and its digest */
    uint8_t sha256[QUIPU_SHA256_BYTES];
    struct quipu_volume_entry *entries; /* owned; their names are borrowed from the text */
    size_t count;
};

/* Text without control characters and backslashes, which sha256sum would escape, of at most
 * QUIPU_VOLUME_NAME_MAX bytes. */
bool quipu_volume_is_name(struct quipu_slice name);

/* Strict: nothing but what write gives. The text must outlive it; release it where this was
 * QUIPU_OK. QUIPU_BUNDLE: it is none. QUIPU_FORMAT_NEWER. QUIPU_NO_MEMORY. */
QUIPU_MUST_CHECK enum quipu_status quipu_volume_index_parse(struct quipu_slice text,
                                                            struct quipu_volume_index *out,
                                                            struct quipu_error *err);
void quipu_volume_index_release(struct quipu_volume_index *index);

/* All of it; or the lines in front of the volumes, and that of one. `out` keeps the status. */
void quipu_volume_index_write(const struct quipu_volume_index *index, struct quipu_buf *out);
void quipu_volume_index_write_head(const struct quipu_volume_index *index, struct quipu_buf *out);
void quipu_volume_index_write_entry(const struct quipu_volume_entry *entry, struct quipu_buf *out);

#endif

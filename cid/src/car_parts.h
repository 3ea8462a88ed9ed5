/*
 * What the files of CAR share: the reader's state and the reading of its header. Private to cid/.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CAR_PARTS_H
#define QUIPU_CAR_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quipu/car.h"
#include "quipu/varint.h"

#define CAR_VERSION 1

/* A root to be looked for among the blocks; sorted by bytes, each CID once. */
struct car_wanted {
    struct quipu_slice cid;
    bool is_found;
};

struct car_header {
    struct quipu_buf bytes;       /* the header block; everything below is borrowed from it */
    struct quipu_cid_view *roots; /* as they stand there */
    size_t root_count;
    struct car_wanted *wanted;
    size_t wanted_count;
    size_t missing; /* wanted and not found */
};

/* Read what is in `header->bytes`, which stands at `offset` in the file. On failure the header must
 * still be released. */
QUIPU_MUST_CHECK enum quipu_status car_header_parse(struct car_header *header, uint64_t offset,
                                                    struct quipu_error *err);

/* Note that a block under this CID is in the file. */
void car_header_found(struct car_header *header, struct quipu_slice cid);

void car_header_release(struct car_header *header);

#endif

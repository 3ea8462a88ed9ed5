/*
 * CARv1, the archive of blocks: written to a sink, read from a source, one section at a time, in
 * bounded memory. Each block is hashed again as it is read.
 *
 * Specification: ipld.io/specs/transport/car/carv1; docs/SPEC.md §5.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CAR_H
#define QUIPU_CAR_H

#include <stdbool.h>
#include <stdint.h>

#include "quipu/buf.h"
#include "quipu/cid.h"
#include "quipu/error.h"
#include "quipu/export.h"
#include "quipu/io.h"

#ifdef __cplusplus
extern "C" {
#endif

#define QUIPU_CAR_HEADER_BYTES_MAX  (32u << 20)
#define QUIPU_CAR_SECTION_BYTES_MAX (8u << 20)

/** Write the header that names `count` roots (1 or more, as the specification asks). */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_car_write_header(struct quipu_sink sink,
                                                                    const struct quipu_cid *roots,
                                                                    size_t count,
                                                                    struct quipu_error *err);

/** Write one section. The caller vouches that `block` hashes to `cid`. */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_car_write_block(struct quipu_sink sink,
                                                                   const struct quipu_cid *cid,
                                                                   struct quipu_slice block,
                                                                   struct quipu_error *err);

struct quipu_car_options {
    size_t size;                /* sizeof this struct */
    uint64_t header_bytes_max;  /* 0: QUIPU_CAR_HEADER_BYTES_MAX */
    uint64_t section_bytes_max; /* 0: QUIPU_CAR_SECTION_BYTES_MAX */
};

#define QUIPU_CAR_OPTIONS_INIT                                                                     \
    {                                                                                              \
        .size = sizeof(struct quipu_car_options)                                                   \
    }

struct quipu_car_block {
    struct quipu_cid_view cid; /* borrowed until the next call on the reader */
    struct quipu_slice block;  /* the same */
    bool is_verified;          /* false: the hash function is not one that can be checked here */
    uint64_t offset;           /* of the section in the file */
};

struct quipu_car_reader;

/** Read the header. `source` must stay valid until close.
 * @retval QUIPU_CAR, QUIPU_CAR_TRUNCATED, QUIPU_CAR_VERSION, QUIPU_TOO_LARGE, QUIPU_NO_MEMORY,
 *         QUIPU_CBOR_*, or what the source says */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_car_reader_open(struct quipu_source source, const struct quipu_car_options *options,
                      struct quipu_car_reader **out, struct quipu_error *err);
QUIPU_API void quipu_car_reader_close(struct quipu_car_reader **reader);

/** Roots as the header names them; borrowed until close. */
QUIPU_API size_t quipu_car_root_count(const struct quipu_car_reader *reader);
QUIPU_API const struct quipu_cid_view *quipu_car_root(const struct quipu_car_reader *reader,
                                                      size_t index);

/**
 * Next block. @retval QUIPU_DONE at the end of the file, exactly behind a section
 * @retval QUIPU_CID_MISMATCH  the block's bytes are not what its CID says; err->offset names the
 * section
 * @retval QUIPU_CAR, QUIPU_CAR_TRUNCATED, QUIPU_TOO_LARGE, QUIPU_NO_MEMORY
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_car_next(struct quipu_car_reader *reader,
                                                            struct quipu_car_block *out,
                                                            struct quipu_error *err);

/** After QUIPU_DONE: how many roots had no block in the file. */
QUIPU_API size_t quipu_car_roots_missing(const struct quipu_car_reader *reader);

#ifdef __cplusplus
}
#endif

#endif

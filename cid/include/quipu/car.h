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

/**
 * Write the header that names `count` roots, 1 or more as the specification asks.
 * @retval QUIPU_MISUSE     no root
 * @retval QUIPU_TOO_LARGE  over QUIPU_CAR_HEADER_BYTES_MAX, which readers refuse; nothing written
 * @retval QUIPU_NO_MEMORY, or what the sink says
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_car_write_header(struct quipu_sink sink,
                                                                    const struct quipu_cid *roots,
                                                                    size_t count,
                                                                    struct quipu_error *err);

/**
 * Write one section. The caller vouches that `block` hashes to `cid`. No allocation, two calls of
 * the sink.
 * @retval QUIPU_TOO_LARGE  CID and block are over QUIPU_CAR_SECTION_BYTES_MAX; nothing written
 * @retval what the sink says
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_car_write_block(struct quipu_sink sink,
                                                                   const struct quipu_cid *cid,
                                                                   struct quipu_slice block,
                                                                   struct quipu_error *err);

/** Limits of a reader, in bytes of a header or of a section (CID and block) without its length. */
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

/** One CAR being read, forwards. One thread at a time. Holds the roots and one window of the file,
 * which grows to the largest section that is really there, never to what a length promises. */
struct quipu_car_reader;

/**
 * Read the header: strict DAG-CBOR, a map of exactly `roots` (a list of CIDs, also none) and
 * `version` 1.
 *
 * @param source   Borrowed until close; read from where it stands.
 * @param options  Copied; NULL for the defaults.
 * @param out      Close it with quipu_car_reader_close. Untouched on failure.
 * @retval QUIPU_CAR            no length, or a header of another shape
 * @retval QUIPU_CAR_TRUNCATED  the source ends inside the header, or is empty
 * @retval QUIPU_CAR_VERSION    a CARv2 container, or another version
 * @retval QUIPU_CBOR_*         the header is not strict DAG-CBOR
 * @retval QUIPU_TOO_LARGE, QUIPU_NO_MEMORY, QUIPU_MISUSE (options of another size), or what the
 *         source says
 * err->offset counts from where the source stood.
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_car_reader_open(struct quipu_source source, const struct quipu_car_options *options,
                      struct quipu_car_reader **out, struct quipu_error *err);

/** Free it and set `*reader` to NULL; NULL in it is fine. */
QUIPU_API void quipu_car_reader_close(struct quipu_car_reader **reader);

/** Roots as the header names them, in its order; borrowed until close; NULL beyond the last. */
QUIPU_API size_t quipu_car_root_count(const struct quipu_car_reader *reader);
QUIPU_API const struct quipu_cid_view *quipu_car_root(const struct quipu_car_reader *reader,
                                                      size_t index);

/**
 * Read the next section and hash its block.
 * @retval QUIPU_DONE           the file ends here, exactly behind a section
 * @retval QUIPU_CID_MISMATCH   the block's bytes are not what its CID says; err->offset names the
 *         section; the next call goes on behind it
 * @retval QUIPU_CAR            a length that is no varint or is 0, or no CID behind it
 * @retval QUIPU_CAR_TRUNCATED  the file ends inside the section
 * @retval QUIPU_TOO_LARGE, QUIPU_NO_MEMORY, or what the source says
 * Behind any failure but a mismatch nothing more can be read. A block under a hash that cannot be
 * checked here is given with is_verified false: the caller decides.
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_car_next(struct quipu_car_reader *reader,
                                                            struct quipu_car_block *out,
                                                            struct quipu_error *err);

/** How many different roots have had no block so far; at the end of the file, how many have none.
 * A root with the identity hash holds its own data and is never missing. */
QUIPU_API size_t quipu_car_roots_missing(const struct quipu_car_reader *reader);

#ifdef __cplusplus
}
#endif

#endif

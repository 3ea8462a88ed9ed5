/*
 * CARv1 to a sink: the header, then one section for each block. Never reads.
 *
 * Specification: docs/SPEC.md §5.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>

#include "car_parts.h"
#include "quipu/car.h"
#include "quipu/dagcbor.h"

/* Write a varint of `len`, then `first`, then `second`. */
static enum quipu_status write_section(struct quipu_sink sink, struct quipu_slice first,
                                       struct quipu_slice second, struct quipu_error *err)
{
    uint8_t storage[QUIPU_VARINT_BYTES + QUIPU_CID_BYTES];
    struct quipu_buf prefix;
    quipu_buf_init_fixed(&prefix, storage, sizeof storage);
    quipu_varint_append(&prefix, (uint64_t)first.len + second.len);
    bool is_joined = first.len <= QUIPU_CID_BYTES;
    if (is_joined) {
        /* One call of the sink for the length and the CID. */
        quipu_buf_append_slice(&prefix, first);
    }
    enum quipu_status status = sink.write(sink.ctx, quipu_buf_slice(&prefix), err);
    if (status == QUIPU_OK && !is_joined) {
        status = sink.write(sink.ctx, first, err);
    }
    if (status == QUIPU_OK && second.len > 0) {
        status = sink.write(sink.ctx, second, err);
    }
    return status;
}

enum quipu_status quipu_car_write_header(struct quipu_sink sink, const struct quipu_cid *roots,
                                         size_t count, struct quipu_error *err)
{
    if (count == 0) {
        return quipu_error_set(err, QUIPU_MISUSE, "a CAR header names 1 or more roots, not 0");
    }
    struct quipu_buf header = QUIPU_BUF_INIT;
    struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, &header);
    quipu_dagcbor_write_map(&writer, 2);
    quipu_dagcbor_write_key(&writer, "roots");
    quipu_dagcbor_write_list(&writer, count);
    for (size_t i = 0; i < count; i++) {
        quipu_dagcbor_write_link(&writer, &roots[i]);
    }
    quipu_dagcbor_write_key(&writer, "version");
    quipu_dagcbor_write_uint(&writer, CAR_VERSION);
    enum quipu_status status = quipu_dagcbor_writer_finish(&writer, err);
    if (status == QUIPU_OK && header.len > QUIPU_CAR_HEADER_BYTES_MAX) {
        status = quipu_error_set(err, QUIPU_TOO_LARGE,
                                 "CAR header with %zu roots takes %zu bytes, over the limit of %u; "
                                 "link the roots from one block and name that as the root",
                                 count, header.len, QUIPU_CAR_HEADER_BYTES_MAX);
    }
    if (status == QUIPU_OK) {
        status = write_section(sink, quipu_buf_slice(&header), quipu_slice(NULL, 0), err);
    }
    quipu_buf_release(&header);
    return status;
}

enum quipu_status quipu_car_write_block(struct quipu_sink sink, const struct quipu_cid *cid,
                                        struct quipu_slice block, struct quipu_error *err)
{
    if (block.len > QUIPU_CAR_SECTION_BYTES_MAX - QUIPU_CID_BYTES) {
        return quipu_error_set(err, QUIPU_TOO_LARGE,
                               "block of %zu bytes is over the limit of %u for a CAR section",
                               block.len, QUIPU_CAR_SECTION_BYTES_MAX - QUIPU_CID_BYTES);
    }
    uint8_t bytes[QUIPU_CID_BYTES];
    quipu_cid_to_bytes(cid, bytes);
    return write_section(sink, quipu_slice(bytes, sizeof bytes), block, err);
}

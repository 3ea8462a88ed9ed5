/*
 * CARs built byte by byte for the tests of CAR: apart from the library's writer, so that reader and
 * writer are not each other's only witness.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TEST_CAR_BYTES_H
#define QUIPU_TEST_CAR_BYTES_H

#include <criterion/criterion.h>

#include "quipu/car.h"
#include "quipu/text.h"

/* Header with no roots; with one root, the identity CID of "abc". */
#define CAR_NO_ROOTS      "11a265726f6f7473806776657273696f6e01"
#define CAR_IDENTITY_ROOT "1ca265726f6f747381d82a4800010000036162636776657273696f6e01"
/* A section: the raw identity CID of "abc" and the block "abc". */
#define CAR_ABC                                                                                    \
    "0a"                                                                                           \
    "01550003616263"                                                                               \
    "616263"

static inline void car_hex(struct quipu_buf *car, const char *hex)
{
    cr_assert_eq(quipu_hex_decode(car, quipu_slice_text(hex)), QUIPU_OK, "%s", hex);
}

/* A section with a sha2-256 CID. */
static inline void car_section(struct quipu_buf *car, const struct quipu_cid *cid,
                               struct quipu_slice block)
{
    uint8_t bytes[QUIPU_CID_BYTES];
    quipu_cid_to_bytes(cid, bytes);
    size_t len = sizeof bytes + block.len;
    while (len >= 0x80) {
        quipu_buf_append_byte(car, (uint8_t)(len | 0x80));
        len >>= 7;
    }
    quipu_buf_append_byte(car, (uint8_t)len);
    quipu_buf_append(car, bytes, sizeof bytes);
    quipu_buf_append_slice(car, block);
}

/* A header with these roots. */
static inline void car_header(struct quipu_buf *car, const struct quipu_cid *roots, uint8_t count)
{
    struct quipu_buf header = QUIPU_BUF_INIT;
    car_hex(&header, "a265726f6f7473");
    cr_assert_lt(count, 24);
    quipu_buf_append_byte(&header, (uint8_t)(0x80 | count));
    for (uint8_t i = 0; i < count; i++) {
        uint8_t bytes[QUIPU_CID_BYTES];
        quipu_cid_to_bytes(&roots[i], bytes);
        car_hex(&header, "d82a582500");
        quipu_buf_append(&header, bytes, sizeof bytes);
    }
    car_hex(&header, "6776657273696f6e01");
    size_t len = header.len;
    while (len >= 0x80) {
        quipu_buf_append_byte(car, (uint8_t)(len | 0x80));
        len >>= 7;
    }
    quipu_buf_append_byte(car, (uint8_t)len);
    quipu_buf_append_slice(car, quipu_buf_slice(&header));
    quipu_buf_release(&header);
}

#endif

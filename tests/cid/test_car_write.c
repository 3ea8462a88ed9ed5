/*
 * Writing CARv1: the bytes, the limits, the way back through the reader.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "car_bytes.h"

Test(car_write, writes_the_bytes_of_the_specification)
{
    struct quipu_slice block = quipu_slice_text("quipu");
    struct quipu_cid cids[2] = {quipu_cid_of(QUIPU_CODEC_RAW, block),
                                quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_slice("\x80", 1))};
    struct quipu_buf expected = QUIPU_BUF_INIT;
    struct quipu_buf car = QUIPU_BUF_INIT;
    car_header(&expected, cids, 2);
    car_section(&expected, &cids[0], block);
    car_section(&expected, &cids[1], quipu_slice("\x80", 1));

    cr_assert_eq(quipu_car_write_header(quipu_sink_buf(&car), cids, 2, NULL), QUIPU_OK);
    cr_assert_eq(quipu_car_write_block(quipu_sink_buf(&car), &cids[0], block, NULL), QUIPU_OK);
    cr_assert_eq(
        quipu_car_write_block(quipu_sink_buf(&car), &cids[1], quipu_slice("\x80", 1), NULL),
        QUIPU_OK);

    cr_assert(quipu_slice_equal(quipu_buf_slice(&car), quipu_buf_slice(&expected)));
    quipu_buf_release(&expected);
    quipu_buf_release(&car);
}

Test(car_write, writes_what_the_reader_gives_back)
{
    enum { COUNT = 300 };
    struct quipu_cid cids[COUNT];
    struct quipu_buf car = QUIPU_BUF_INIT;
    uint8_t data[COUNT] = {0};
    for (size_t i = 0; i < COUNT; i++) {
        cids[i] = quipu_cid_of(QUIPU_CODEC_RAW, quipu_slice(data, i));
    }
    /* A header of several kB: its length takes two bytes. */
    cr_assert_eq(quipu_car_write_header(quipu_sink_buf(&car), cids, COUNT, NULL), QUIPU_OK);
    for (size_t i = 0; i < COUNT; i++) {
        cr_assert_eq(
            quipu_car_write_block(quipu_sink_buf(&car), &cids[i], quipu_slice(data, i), NULL),
            QUIPU_OK);
    }

    struct quipu_slice rest = quipu_buf_slice(&car);
    struct quipu_car_reader *reader = NULL;
    cr_assert_eq(quipu_car_reader_open(quipu_source_slice(&rest), NULL, &reader, NULL), QUIPU_OK);
    cr_assert_eq(quipu_car_root_count(reader), COUNT);
    cr_assert_eq(quipu_car_roots_missing(reader), COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        struct quipu_car_block block;
        struct quipu_cid cid;
        cr_assert_eq(quipu_car_next(reader, &block, NULL), QUIPU_OK);
        cr_assert(block.is_verified);
        cr_assert_eq(block.block.len, i);
        cr_assert_eq(quipu_cid_from_view(&block.cid, &cid, NULL), QUIPU_OK);
        cr_assert(quipu_cid_equal(&cid, &cids[i]));
        cr_assert_eq(quipu_car_roots_missing(reader), COUNT - 1 - i);
    }
    struct quipu_car_block none;
    cr_assert_eq(quipu_car_next(reader, &none, NULL), QUIPU_DONE);
    quipu_car_reader_close(&reader);
    quipu_buf_release(&car);
}

Test(car_write, wants_a_root)
{
    struct quipu_buf car = QUIPU_BUF_INIT;

    cr_assert_eq(quipu_car_write_header(quipu_sink_buf(&car), NULL, 0, NULL), QUIPU_MISUSE);
    cr_assert_eq(car.len, 0);
}

Test(car_write, refuses_a_section_that_readers_refuse)
{
    size_t most = QUIPU_CAR_SECTION_BYTES_MAX - QUIPU_CID_BYTES;
    uint8_t *data = calloc(most + 1, 1);
    struct quipu_cid cid = {.codec = QUIPU_CODEC_RAW};
    struct quipu_buf car = QUIPU_BUF_INIT;

    cr_assert_eq(
        quipu_car_write_block(quipu_sink_buf(&car), &cid, quipu_slice(data, most + 1), NULL),
        QUIPU_TOO_LARGE);
    cr_assert_eq(car.len, 0);
    cr_assert_eq(quipu_car_write_block(quipu_sink_buf(&car), &cid, quipu_slice(data, most), NULL),
                 QUIPU_OK);
    cr_assert_eq(car.len, QUIPU_CAR_SECTION_BYTES_MAX + 4u);

    quipu_buf_release(&car);
    free(data);
}

Test(car_write, refuses_a_header_that_readers_refuse)
{
    size_t count = QUIPU_CAR_HEADER_BYTES_MAX / 41 + 1;
    struct quipu_cid *roots = calloc(count, sizeof *roots);
    for (size_t i = 0; i < count; i++) {
        roots[i].codec = QUIPU_CODEC_RAW;
    }
    struct quipu_buf car = QUIPU_BUF_INIT;

    cr_assert_eq(quipu_car_write_header(quipu_sink_buf(&car), roots, count, NULL), QUIPU_TOO_LARGE);
    cr_assert_eq(car.len, 0);
    cr_assert_eq(quipu_car_write_header(quipu_sink_buf(&car), roots, count - 2, NULL), QUIPU_OK);

    quipu_buf_release(&car);
    free(roots);
}

Test(car_write, passes_on_what_the_sink_says)
{
    uint8_t storage[40];
    struct quipu_buf full;
    quipu_buf_init_fixed(&full, storage, sizeof storage);
    struct quipu_slice block = quipu_slice_text("quipu");
    struct quipu_cid cid = quipu_cid_of(QUIPU_CODEC_RAW, block);

    cr_assert_eq(quipu_car_write_block(quipu_sink_buf(&full), &cid, block, NULL), QUIPU_TOO_LARGE);
    cr_assert_eq(quipu_car_write_header(quipu_sink_buf(&full), &cid, 1, NULL), QUIPU_TOO_LARGE);
}

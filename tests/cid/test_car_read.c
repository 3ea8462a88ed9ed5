/*
 * Reading CARv1: headers that must be refused, sections, limits, roots, bounded memory.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "car_bytes.h"
#include "quipu/alloc.h"

#define SHA256_SECTION_OVERHEAD QUIPU_CID_BYTES

/* A source that gives at most `step` bytes at a time, and fails behind `fail_at` bytes. */
struct drip {
    struct quipu_slice rest;
    size_t step;
    size_t given;
    size_t fail_at;
};

static enum quipu_status drip_read(void *ctx, void *into, size_t cap, size_t *got,
                                   struct quipu_error *err)
{
    struct drip *drip = ctx;
    if (drip->given >= drip->fail_at) {
        return quipu_error_set(err, QUIPU_IO, "the drive is gone");
    }
    size_t take = drip->rest.len < drip->step ? drip->rest.len : drip->step;
    take = take < cap ? take : cap;
    if (take > 0) {
        memcpy(into, drip->rest.data, take);
    }
    drip->rest.data += take;
    drip->rest.len -= take;
    drip->given += take;
    *got = take;
    return QUIPU_OK;
}

/* Read the whole CAR; the status of the last call, DONE where all is well. */
static enum quipu_status read_all(struct quipu_slice car, size_t *blocks, size_t *missing,
                                  struct quipu_error *err)
{
    struct quipu_slice rest = car;
    struct quipu_car_reader *reader = NULL;
    *blocks = 0;
    enum quipu_status status = quipu_car_reader_open(quipu_source_slice(&rest), NULL, &reader, err);
    while (status == QUIPU_OK) {
        struct quipu_car_block block;
        status = quipu_car_next(reader, &block, err);
        *blocks += status == QUIPU_OK;
    }
    if (reader != NULL && missing != NULL) {
        *missing = quipu_car_roots_missing(reader);
    }
    quipu_car_reader_close(&reader);
    return status;
}

static void reads(const char *hex, size_t blocks, size_t missing)
{
    struct quipu_buf car = QUIPU_BUF_INIT;
    struct quipu_error err = {.message = ""};
    size_t got_blocks;
    size_t got_missing = 99;
    car_hex(&car, hex);

    enum quipu_status status = read_all(quipu_buf_slice(&car), &got_blocks, &got_missing, &err);

    cr_assert_eq(status, QUIPU_DONE, "%s: %s", hex, err.message);
    cr_assert_eq(got_blocks, blocks, "%s", hex);
    cr_assert_eq(got_missing, missing, "%s", hex);
    quipu_buf_release(&car);
}

static void refuses(const char *hex, enum quipu_status expected, uint64_t offset)
{
    struct quipu_buf car = QUIPU_BUF_INIT;
    struct quipu_error err = {.offset = 0};
    size_t blocks;
    car_hex(&car, hex);

    enum quipu_status status = read_all(quipu_buf_slice(&car), &blocks, NULL, &err);

    cr_assert_eq(status, expected, "%s: %s: %s", hex, quipu_status_name(status), err.message);
    cr_assert_eq(err.status, expected);
    cr_assert_eq(err.offset, offset, "%s: at %d: %s", hex, (int)err.offset, err.message);
    quipu_buf_release(&car);
}

Test(car_read, reads_headers_and_sections)
{
    reads(CAR_NO_ROOTS, 0, 0);
    reads(CAR_NO_ROOTS CAR_ABC, 1, 0);
    reads(CAR_NO_ROOTS CAR_ABC CAR_ABC, 2, 0);
    /* The identity CID is its own block. */
    reads(CAR_IDENTITY_ROOT, 0, 0);
}

Test(car_read, refuses_bad_headers)
{
    refuses("", QUIPU_CAR_TRUNCATED, 0);
    refuses("00", QUIPU_CAR, 0);
    refuses("80", QUIPU_CAR_TRUNCATED, 0);
    refuses("8000", QUIPU_CAR, 0);
    refuses("ffffffffffffffffff01", QUIPU_CAR, 0);
    refuses("11a265726f6f747380677665727369", QUIPU_CAR_TRUNCATED, 0);
    refuses("01f6", QUIPU_CAR, 1);
    refuses("03820180", QUIPU_CAR, 1);
    refuses("0aa16776657273696f6e01", QUIPU_CAR, 1);
    refuses("13a165726f6f747381d82a480001000003616263", QUIPU_CAR, 1);
    refuses("1da265726f6f747381d82a4800010000036162636776657273696f6e6131", QUIPU_CAR, 28);
    refuses("22a364626c6970f565726f6f747381d82a4800010000036162636776657273696f6e01", QUIPU_CAR, 1);
    refuses("20a265726f6f7473a163636964d82a4800010000036162636776657273696f6e01", QUIPU_CAR, 8);
    refuses("13a265726f6f747382636162636776657273696f6e01", QUIPU_CAR, 8);
    refuses("12a265726f6f747381f66776657273696f6e01", QUIPU_CAR, 9);
    /* Strict DAG-CBOR in the header too: order, shortest form, nothing behind. */
    refuses("11a26776657273696f6e0165726f6f747380", QUIPU_CBOR_KEY_ORDER, 11);
    refuses("12a265726f6f7473806776657273696f6e1801", QUIPU_CBOR_NOT_SHORTEST, 17);
    refuses("12a265726f6f7473806776657273696f6e0100", QUIPU_CBOR_TRAILING, 18);
    /* More roots than bytes. */
    refuses("15a265726f6f74739affffffff6776657273696f6e01", QUIPU_CBOR_TRUNCATED, 8);
}

Test(car_read, tells_other_versions_from_car_v1)
{
    refuses("0aa16776657273696f6e02", QUIPU_CAR_VERSION, 1);
    refuses("0aa16776657273696f6e0200000000", QUIPU_CAR_VERSION, 1);
    refuses("11a265726f6f7473806776657273696f6e02", QUIPU_CAR_VERSION, 1);
    refuses("0ba16776657273696f6e182a", QUIPU_CAR_VERSION, 1);
    refuses("0aa16776657273696f6e00", QUIPU_CAR_VERSION, 1);
    refuses("0aa16776657273696f6e20", QUIPU_CAR, 10);
}

Test(car_read, refuses_bad_sections_and_names_them)
{
    refuses(CAR_NO_ROOTS CAR_ABC "00", QUIPU_CAR, 29);
    refuses(CAR_NO_ROOTS CAR_ABC "0a0155", QUIPU_CAR_TRUNCATED, 29);
    refuses(CAR_NO_ROOTS CAR_ABC "80", QUIPU_CAR_TRUNCATED, 29);
    refuses(CAR_NO_ROOTS CAR_ABC "8a00", QUIPU_CAR, 29);
    refuses(CAR_NO_ROOTS "0130", QUIPU_CAR, 18);
    refuses(CAR_NO_ROOTS "0401550003", QUIPU_CAR, 18);
    refuses(CAR_NO_ROOTS CAR_ABC "0a"
                                 "01550003616263"
                                 "616264",
            QUIPU_CID_MISMATCH, 29);
}

Test(car_read, goes_on_behind_a_block_that_does_not_match)
{
    struct quipu_buf car = QUIPU_BUF_INIT;
    car_hex(&car, CAR_NO_ROOTS "0a"
                               "01550003616263"
                               "616264" CAR_ABC);
    struct quipu_slice rest = quipu_buf_slice(&car);
    struct quipu_car_reader *reader = NULL;
    struct quipu_car_block block;
    cr_assert_eq(quipu_car_reader_open(quipu_source_slice(&rest), NULL, &reader, NULL), QUIPU_OK);

    cr_assert_eq(quipu_car_next(reader, &block, NULL), QUIPU_CID_MISMATCH);
    cr_assert_eq(quipu_car_next(reader, &block, NULL), QUIPU_OK);
    cr_assert_eq(quipu_car_next(reader, &block, NULL), QUIPU_DONE);

    quipu_car_reader_close(&reader);
    quipu_buf_release(&car);
}

Test(car_read, stays_stopped_behind_damage)
{
    struct quipu_buf car = QUIPU_BUF_INIT;
    car_hex(&car, CAR_NO_ROOTS "00" CAR_ABC);
    struct quipu_slice rest = quipu_buf_slice(&car);
    struct quipu_car_reader *reader = NULL;
    struct quipu_car_block block;
    cr_assert_eq(quipu_car_reader_open(quipu_source_slice(&rest), NULL, &reader, NULL), QUIPU_OK);

    cr_assert_eq(quipu_car_next(reader, &block, NULL), QUIPU_CAR);
    cr_assert_eq(quipu_car_next(reader, &block, NULL), QUIPU_CAR);

    quipu_car_reader_close(&reader);
    quipu_buf_release(&car);
}

Test(car_read, gives_cid_block_offset_and_says_what_it_cannot_verify)
{
    struct quipu_buf car = QUIPU_BUF_INIT;
    /* The second block's CID is a sha3-256 one. */
    car_hex(&car,
            CAR_NO_ROOTS CAR_ABC "27"
                                 "01551620"
                                 "0000000000000000000000000000000000000000000000000000000000000000"
                                 "616263");
    struct quipu_slice rest = quipu_buf_slice(&car);
    struct quipu_car_reader *reader = NULL;
    struct quipu_car_block block;
    cr_assert_eq(quipu_car_reader_open(quipu_source_slice(&rest), NULL, &reader, NULL), QUIPU_OK);

    cr_assert_eq(quipu_car_next(reader, &block, NULL), QUIPU_OK);
    cr_assert(block.is_verified);
    cr_assert_eq(block.offset, 18);
    cr_assert_eq(block.cid.codec, QUIPU_CODEC_RAW);
    cr_assert(quipu_slice_equal(block.block, quipu_slice_text("abc")));
    cr_assert_eq(quipu_car_next(reader, &block, NULL), QUIPU_OK);
    cr_assert_not(block.is_verified);
    cr_assert_eq(block.offset, 29);
    cr_assert(quipu_slice_equal(block.block, quipu_slice_text("abc")));
    cr_assert_eq(quipu_car_next(reader, &block, NULL), QUIPU_DONE);
    cr_assert_eq(quipu_car_next(reader, &block, NULL), QUIPU_DONE);

    quipu_car_reader_close(&reader);
    cr_assert_null(reader);
    quipu_car_reader_close(&reader);
    quipu_buf_release(&car);
}

Test(car_read, counts_each_missing_root_once)
{
    struct quipu_slice here = quipu_slice_text("here");
    struct quipu_slice gone = quipu_slice_text("gone");
    struct quipu_cid roots[5] = {
        quipu_cid_of(QUIPU_CODEC_RAW, gone), quipu_cid_of(QUIPU_CODEC_RAW, here),
        quipu_cid_of(QUIPU_CODEC_RAW, gone), quipu_cid_of(QUIPU_CODEC_RAW, here),
        /* The same bytes under another codec are another block. */
        quipu_cid_of(QUIPU_CODEC_DAG_CBOR, here)};
    struct quipu_buf car = QUIPU_BUF_INIT;
    car_header(&car, roots, 5);
    car_section(&car, &roots[1], here);
    car_section(&car, &roots[1], here);
    struct quipu_slice rest = quipu_buf_slice(&car);
    struct quipu_car_reader *reader = NULL;
    struct quipu_car_block block;
    cr_assert_eq(quipu_car_reader_open(quipu_source_slice(&rest), NULL, &reader, NULL), QUIPU_OK);

    cr_assert_eq(quipu_car_root_count(reader), 5);
    cr_assert_eq(quipu_car_root(reader, 2)->codec, QUIPU_CODEC_RAW);
    cr_assert_null(quipu_car_root(reader, 5));
    cr_assert_eq(quipu_car_next(reader, &block, NULL), QUIPU_OK);
    cr_assert_eq(quipu_car_next(reader, &block, NULL), QUIPU_OK);
    cr_assert_eq(quipu_car_next(reader, &block, NULL), QUIPU_DONE);
    cr_assert_eq(quipu_car_roots_missing(reader), 2);

    quipu_car_reader_close(&reader);
    quipu_buf_release(&car);
}

/* One block of `len` bytes under limits of `header` and `section` bytes. */
static enum quipu_status read_limited(size_t len, uint64_t header, uint64_t section,
                                      struct quipu_error *err)
{
    uint8_t *data = calloc(len == 0 ? 1 : len, 1);
    struct quipu_slice bytes = quipu_slice(data, len);
    struct quipu_cid cid = quipu_cid_of(QUIPU_CODEC_RAW, bytes);
    struct quipu_buf car = QUIPU_BUF_INIT;
    car_header(&car, &cid, 1);
    car_section(&car, &cid, bytes);
    struct quipu_slice rest = quipu_buf_slice(&car);
    struct quipu_car_options options = QUIPU_CAR_OPTIONS_INIT;
    options.header_bytes_max = header;
    options.section_bytes_max = section;
    struct quipu_car_reader *reader = NULL;
    struct quipu_car_block block;
    enum quipu_status status =
        quipu_car_reader_open(quipu_source_slice(&rest), &options, &reader, err);
    if (status == QUIPU_OK) {
        status = quipu_car_next(reader, &block, err);
    }
    if (status == QUIPU_OK) {
        cr_assert_eq(block.block.len, len);
        cr_assert_eq(quipu_car_roots_missing(reader), 0);
    }
    quipu_car_reader_close(&reader);
    quipu_buf_release(&car);
    free(data);
    return status;
}

Test(car_read, holds_its_limits_to_the_byte)
{
    struct quipu_error err;
    const uint64_t header = 58; /* with one root */
    const size_t most = QUIPU_CAR_SECTION_BYTES_MAX - SHA256_SECTION_OVERHEAD;

    cr_assert_eq(read_limited(64, header - 1, 0, &err), QUIPU_TOO_LARGE);
    cr_assert_eq(err.offset, 0);
    cr_assert_eq(read_limited(64, header, 0, &err), QUIPU_OK);
    cr_assert_eq(read_limited(64, header + 1, 0, &err), QUIPU_OK);
    cr_assert_eq(read_limited(64, 0, 101, &err), QUIPU_OK);
    cr_assert_eq(read_limited(64, 0, 100, &err), QUIPU_OK);
    cr_assert_eq(read_limited(64, 0, 99, &err), QUIPU_TOO_LARGE);
    cr_assert_eq(err.offset, header + 1);
    cr_assert_eq(read_limited(most - 1, 0, 0, &err), QUIPU_OK);
    cr_assert_eq(read_limited(most, 0, 0, &err), QUIPU_OK);
    cr_assert_eq(read_limited(most + 1, 0, 0, &err), QUIPU_TOO_LARGE);
    cr_assert_eq(read_limited(most + 1, 0, UINT64_MAX, &err), QUIPU_OK);
}

Test(car_read, refuses_options_of_another_size)
{
    struct quipu_slice rest = {NULL, 0};
    struct quipu_car_options options = {.size = 1};
    struct quipu_car_reader *reader = NULL;

    cr_assert_eq(quipu_car_reader_open(quipu_source_slice(&rest), &options, &reader, NULL),
                 QUIPU_MISUSE);
    cr_assert_null(reader);
}

/* Largest memory held at once, through the allocator of the process. */
struct meter {
    size_t held;
    size_t peak;
    int left; /* requests until one fails; negative: none does */
};

static void *meter_reallocate(void *ctx, void *pointer, size_t bytes)
{
    struct meter *meter = ctx;
    if (meter->left-- == 0) {
        return NULL;
    }
    size_t *block = pointer == NULL ? NULL : (size_t *)pointer - 2;
    size_t before = block == NULL ? 0 : block[0];
    block = realloc(block, bytes + 2 * sizeof *block);
    block[0] = bytes;
    meter->held = meter->held - before + bytes;
    meter->peak = meter->held > meter->peak ? meter->held : meter->peak;
    return block + 2;
}

static void meter_release(void *ctx, void *pointer)
{
    struct meter *meter = ctx;
    if (pointer != NULL) {
        size_t *block = (size_t *)pointer - 2;
        meter->held -= block[0];
        free(block);
    }
}

Test(car_read, takes_memory_for_what_is_there_not_for_what_is_promised)
{
    struct quipu_buf car = QUIPU_BUF_INIT;
    car_hex(&car, CAR_NO_ROOTS);
    for (int i = 0; i < 200000; i++) {
        car_hex(&car, CAR_ABC);
    }
    car_hex(&car, "ffffff03"); /* a section of 8 MiB - 1 that is not there */
    struct meter meter = {.left = -1};
    struct quipu_allocator allocator = {meter_reallocate, meter_release, &meter};
    struct quipu_slice bytes = quipu_buf_slice(&car);
    size_t blocks;

    quipu_alloc_set(&allocator);
    enum quipu_status status = read_all(bytes, &blocks, NULL, NULL);
    quipu_alloc_set(NULL);

    cr_assert_eq(status, QUIPU_CAR_TRUNCATED);
    cr_assert_eq(blocks, 200000);
    cr_assert_lt(meter.peak, 256u << 10, "%zu", meter.peak);
    cr_assert_eq(meter.held, 0);
    quipu_buf_release(&car);
}

Test(car_read, survives_the_failure_of_any_allocation)
{
    struct quipu_slice bytes = quipu_slice_text("a block");
    struct quipu_cid cid = quipu_cid_of(QUIPU_CODEC_RAW, bytes);
    struct quipu_buf car = QUIPU_BUF_INIT;
    car_header(&car, &cid, 1);
    car_section(&car, &cid, bytes);
    enum quipu_status status = QUIPU_NO_MEMORY;
    int failures = 0;
    for (int n = 0; status != QUIPU_DONE; n++) {
        struct meter meter = {.left = n};
        struct quipu_allocator allocator = {meter_reallocate, meter_release, &meter};
        size_t blocks;

        quipu_alloc_set(&allocator);
        status = read_all(quipu_buf_slice(&car), &blocks, NULL, NULL);
        quipu_alloc_set(NULL);

        cr_assert(status == QUIPU_DONE || status == QUIPU_NO_MEMORY, "%s",
                  quipu_status_name(status));
        cr_assert_eq(meter.held, 0);
        failures += status == QUIPU_NO_MEMORY;
    }
    cr_assert_geq(failures, 5);
    quipu_buf_release(&car);
}

Test(car_read, does_not_care_how_the_source_cuts_its_bytes)
{
    struct quipu_buf car = QUIPU_BUF_INIT;
    uint8_t data[70000];
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)(i * 7);
    }
    struct quipu_cid root = quipu_cid_of(QUIPU_CODEC_RAW, quipu_slice(data, 0));
    car_header(&car, &root, 1);
    static const size_t LENGTHS[] = {0, 1, 91, 92, 65000, 65500, 70000, 5, 65536};
    for (size_t i = 0; i < sizeof LENGTHS / sizeof LENGTHS[0]; i++) {
        struct quipu_slice bytes = quipu_slice(data, LENGTHS[i]);
        struct quipu_cid cid = quipu_cid_of(QUIPU_CODEC_RAW, bytes);
        car_section(&car, &cid, bytes);
    }
    static const size_t STEPS[] = {1, 2, 7, 4096, 65536, SIZE_MAX};
    for (size_t i = 0; i < sizeof STEPS / sizeof STEPS[0]; i++) {
        struct drip drip = {quipu_buf_slice(&car), STEPS[i], 0, SIZE_MAX};
        struct quipu_source source = {drip_read, &drip};
        struct quipu_car_reader *reader = NULL;
        struct quipu_car_block block;
        cr_assert_eq(quipu_car_reader_open(source, NULL, &reader, NULL), QUIPU_OK);
        for (size_t j = 0; j < sizeof LENGTHS / sizeof LENGTHS[0]; j++) {
            cr_assert_eq(quipu_car_next(reader, &block, NULL), QUIPU_OK);
            cr_assert_eq(block.block.len, LENGTHS[j]);
        }
        cr_assert_eq(quipu_car_next(reader, &block, NULL), QUIPU_DONE);
        cr_assert_eq(quipu_car_roots_missing(reader), 0);
        quipu_car_reader_close(&reader);
    }
    quipu_buf_release(&car);
}

Test(car_read, passes_on_what_the_source_says)
{
    struct quipu_buf car = QUIPU_BUF_INIT;
    car_hex(&car, CAR_NO_ROOTS CAR_ABC CAR_ABC);
    struct drip drip = {quipu_buf_slice(&car), 1, 0, 20};
    struct quipu_source source = {drip_read, &drip};
    struct quipu_car_reader *reader = NULL;
    struct quipu_car_block block;
    struct quipu_error err;

    cr_assert_eq(quipu_car_reader_open(source, NULL, &reader, NULL), QUIPU_OK);
    cr_assert_eq(quipu_car_next(reader, &block, &err), QUIPU_IO);
    cr_assert_str_eq(err.message, "the drive is gone");
    quipu_car_reader_close(&reader);

    drip = (struct drip){quipu_buf_slice(&car), 1, 0, 5};
    cr_assert_eq(quipu_car_reader_open(source, NULL, &reader, NULL), QUIPU_IO);
    cr_assert_null(reader);
    quipu_buf_release(&car);
}

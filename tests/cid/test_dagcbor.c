/*
 * Properties of writer and reader together, over seeded random values: what is written is read back
 * the same, and bytes that were tampered with are refused or mean exactly themselves.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "quipu/dagcbor.h"

#define DEPTH_MAX 6

/* splitmix64: the same values on every machine. */
static uint64_t seed;

static uint64_t draw(void)
{
    uint64_t z = (seed += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static uint64_t below(uint64_t limit)
{
    return draw() % limit;
}

/* Numbers of every width, and often right at an edge. */
static uint64_t draw_number(void)
{
    uint64_t number = draw() >> below(64);
    return below(4) == 0 ? (UINT64_C(1) << below(64)) - below(2) : number;
}

static struct quipu_slice draw_text(char *into, size_t cap)
{
    static const char *const pieces[] = {
        "a",         "b",           "z", "0", "key", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\xa7\xb6",
        "e\xcc\x81", "\xef\xbf\xbf"};
    size_t len = 0;
    for (uint64_t i = below(12); i > 0; i--) {
        const char *piece = pieces[below(sizeof pieces / sizeof pieces[0])];
        if (len + strlen(piece) > cap) {
            break;
        }
        memcpy(into + len, piece, strlen(piece));
        len += strlen(piece);
    }
    return quipu_slice(into, len);
}

static void write_scalar(struct quipu_dagcbor_writer *writer)
{
    char text[64];
    uint8_t bytes[300];
    struct quipu_cid cid = {.codec = below(2) == 0 ? QUIPU_CODEC_RAW : QUIPU_CODEC_DAG_CBOR};
    double real;
    uint64_t bits;
    switch (below(8)) {
    case 0:
        quipu_dagcbor_write_uint(writer, draw_number());
        return;
    case 1:
        quipu_dagcbor_write_negative(writer, draw_number());
        return;
    case 2:
        quipu_dagcbor_write_int(writer, (int64_t)draw_number());
        return;
    case 3:
        quipu_dagcbor_write_text(writer, draw_text(text, sizeof text));
        return;
    case 4:
        memset(bytes, (int)below(256), sizeof bytes);
        quipu_dagcbor_write_bytes(writer, quipu_slice(bytes, below(sizeof bytes)));
        return;
    case 5:
        memset(cid.digest, (int)below(256), sizeof cid.digest);
        quipu_dagcbor_write_link(writer, &cid);
        return;
    case 6:
        bits = draw() & ~(UINT64_C(1) << 62); /* not all ones in the exponent: finite */
        memcpy(&real, &bits, sizeof real);
        quipu_dagcbor_write_float(writer, real);
        return;
    default:
        below(2) == 0 ? quipu_dagcbor_write_null(writer)
                      : quipu_dagcbor_write_bool(writer, below(2) == 0);
        return;
    }
}

/* Test data of bounded depth: recursion is fine here. */
static void write_value(struct quipu_dagcbor_writer *writer, int depth)
{
    uint64_t count = below(depth == 0 ? 8 : 4);
    uint64_t kind = depth < DEPTH_MAX ? below(depth == 0 ? 2 : 4) : 3;
    if (kind == 0) {
        quipu_dagcbor_write_list(writer, count);
        for (uint64_t i = 0; i < count; i++) {
            write_value(writer, depth + 1);
        }
        return;
    }
    if (kind == 1) {
        bool is_growing = below(2) == 0;
        quipu_dagcbor_write_map(writer, count);
        for (uint64_t i = 0; i < count; i++) {
            /* The next letter, or a letter more: always in order. */
            char key[] = "kkkkkkkkkkk";
            size_t len = 2 + (is_growing ? i : 0);
            key[1] = (char)('a' + (is_growing ? below(26) : i));
            quipu_dagcbor_write_text(writer, quipu_slice(key, len));
            write_value(writer, depth + 1);
        }
        return;
    }
    write_scalar(writer);
}

/* decode, then encode what was decoded; the reader's status. */
static enum quipu_status recode(struct quipu_slice block, struct quipu_buf *out)
{
    static struct quipu_dagcbor_reader reader;
    static struct quipu_dagcbor_writer writer;
    struct quipu_dagcbor_item item;
    enum quipu_status status;
    quipu_buf_reset(out);
    quipu_dagcbor_reader_init(&reader, block);
    quipu_dagcbor_writer_init(&writer, out);
    while ((status = quipu_dagcbor_next(&reader, &item, NULL)) == QUIPU_OK) {
        quipu_dagcbor_write_read(&writer, &item);
    }
    if (status == QUIPU_DONE) {
        cr_assert_eq(quipu_dagcbor_writer_finish(&writer, NULL), QUIPU_OK);
    }
    return status;
}

static void draw_block(struct quipu_buf *out)
{
    static struct quipu_dagcbor_writer writer;
    quipu_buf_reset(out);
    quipu_dagcbor_writer_init(&writer, out);
    write_value(&writer, 0);
    cr_assert_eq(quipu_dagcbor_writer_finish(&writer, NULL), QUIPU_OK);
}

Test(dagcbor, encode_of_decode_is_the_identity)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct quipu_buf again = QUIPU_BUF_INIT;
    size_t bytes = 0;
    seed = 20261120;
    for (int round = 0; round < 30000; round++) {
        draw_block(&block);
        bytes += block.len;

        cr_assert_eq(quipu_dagcbor_validate(quipu_buf_slice(&block), NULL), QUIPU_OK);
        cr_assert_eq(recode(quipu_buf_slice(&block), &again), QUIPU_DONE);
        cr_assert(quipu_slice_equal(quipu_buf_slice(&block), quipu_buf_slice(&again)));
    }
    cr_assert_gt(bytes, 1000000);
    quipu_buf_release(&block);
    quipu_buf_release(&again);
}

static void tamper(struct quipu_buf *block)
{
    size_t at = below(block->len);
    switch (below(4)) {
    case 0:
        block->data[at] = (uint8_t)draw();
        return;
    case 1:
        block->data[at] ^= (uint8_t)(1u << below(8));
        return;
    case 2:
        memmove(block->data + at, block->data + at + 1, block->len - at - 1);
        block->len--;
        return;
    default:
        quipu_buf_append_byte(block, 0);
        memmove(block->data + at + 1, block->data + at, block->len - 1 - at);
        block->data[at] = (uint8_t)draw();
        return;
    }
}

Test(dagcbor, tampered_bytes_are_refused_or_mean_exactly_themselves)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct quipu_buf again = QUIPU_BUF_INIT;
    int accepted = 0;
    int refused = 0;
    seed = 4711;
    for (int round = 0; round < 60000; round++) {
        draw_block(&block);
        for (uint64_t changes = 1 + below(3); changes > 0 && block.len > 1; changes--) {
            tamper(&block);
        }
        enum quipu_status status = recode(quipu_buf_slice(&block), &again);
        cr_assert_eq(quipu_dagcbor_validate(quipu_buf_slice(&block), NULL),
                     status == QUIPU_DONE ? QUIPU_OK : status);
        if (status != QUIPU_DONE) {
            refused++;
            continue;
        }
        accepted++;
        cr_assert(quipu_slice_equal(quipu_buf_slice(&block), quipu_buf_slice(&again)));
    }
    cr_assert_gt(accepted, 5000);
    cr_assert_gt(refused, 20000);
    quipu_buf_release(&block);
    quipu_buf_release(&again);
}

Test(dagcbor, every_cut_of_a_block_is_refused_as_truncated)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    seed = 99;
    for (int round = 0; round < 300; round++) {
        draw_block(&block);
        for (size_t len = 0; len < block.len; len++) {
            /* A copy of that very size, so that a read beyond it is caught by the sanitizer. */
            uint8_t *cut = malloc(len == 0 ? 1 : len);
            cr_assert_not_null(cut);
            memcpy(cut, block.data, len);
            enum quipu_status status = quipu_dagcbor_validate(quipu_slice(cut, len), NULL);
            free(cut);
            cr_assert_eq(status, QUIPU_CBOR_TRUNCATED, "%zu of %zu bytes", len, block.len);
        }
    }
    quipu_buf_release(&block);
}

Test(dagcbor, random_bytes_are_refused_or_mean_exactly_themselves)
{
    struct quipu_buf again = QUIPU_BUF_INIT;
    int accepted = 0;
    seed = 1;
    for (int round = 0; round < 500000; round++) {
        uint64_t bytes = draw();
        struct quipu_slice block = quipu_slice(&bytes, 1 + below(sizeof bytes));
        if (recode(block, &again) == QUIPU_DONE) {
            accepted++;
            cr_assert(quipu_slice_equal(block, quipu_buf_slice(&again)));
        }
    }
    cr_assert_gt(accepted, 10000);
    quipu_buf_release(&again);
}

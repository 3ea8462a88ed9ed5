/*
 * Key and value in one step: always the same bytes, and the same refusals, as one after the other.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "quipu/dagcbor.h"

#define STORAGE_BYTES 700

static struct quipu_cid cid = {.codec = QUIPU_CODEC_RAW, .digest = {1, 2, 3}};

/* One pair of a kind, as a pair or as two writes. */
struct sample {
    struct quipu_dagcbor_key key;
    struct quipu_dagcbor_item value;
};

static void write_as_pair(struct quipu_dagcbor_writer *writer, const struct sample *sample)
{
    const struct quipu_dagcbor_item *value = &sample->value;
    int64_t negative = -1 - (int64_t)(value->number >> 1);
    switch (value->kind) {
    case QUIPU_DAGCBOR_UINT:
        quipu_dagcbor_write_pair_uint(writer, &sample->key, value->number);
        return;
    case QUIPU_DAGCBOR_NEGATIVE:
        quipu_dagcbor_write_pair_int(writer, &sample->key, negative);
        return;
    case QUIPU_DAGCBOR_BYTES:
        quipu_dagcbor_write_pair_bytes(writer, &sample->key, value->bytes);
        return;
    case QUIPU_DAGCBOR_TEXT:
        quipu_dagcbor_write_pair_text(writer, &sample->key, value->bytes);
        return;
    case QUIPU_DAGCBOR_LINK:
        quipu_dagcbor_write_pair_link(writer, &sample->key, &cid);
        return;
    case QUIPU_DAGCBOR_NULL:
        quipu_dagcbor_write_pair_null(writer, &sample->key);
        return;
    case QUIPU_DAGCBOR_BOOL:
        quipu_dagcbor_write_pair_int(writer, &sample->key, (int64_t)(value->number >> 1));
        return;
    case QUIPU_DAGCBOR_LIST:
    case QUIPU_DAGCBOR_MAP:
    case QUIPU_DAGCBOR_FLOAT:
        quipu_dagcbor_write_pair_read(writer, quipu_slice(sample->key.text, sample->key.len),
                                      value);
        return;
    }
}

static void write_as_two(struct quipu_dagcbor_writer *writer, const struct sample *sample)
{
    const struct quipu_dagcbor_item *value = &sample->value;
    quipu_dagcbor_write_text(writer, quipu_slice(sample->key.text, sample->key.len));
    switch (value->kind) {
    case QUIPU_DAGCBOR_NEGATIVE:
        quipu_dagcbor_write_int(writer, -1 - (int64_t)(value->number >> 1));
        return;
    case QUIPU_DAGCBOR_BOOL:
        quipu_dagcbor_write_int(writer, (int64_t)(value->number >> 1));
        return;
    case QUIPU_DAGCBOR_LINK:
        quipu_dagcbor_write_link(writer, &cid);
        return;
    case QUIPU_DAGCBOR_UINT:
    case QUIPU_DAGCBOR_BYTES:
    case QUIPU_DAGCBOR_TEXT:
    case QUIPU_DAGCBOR_LIST:
    case QUIPU_DAGCBOR_MAP:
    case QUIPU_DAGCBOR_NULL:
    case QUIPU_DAGCBOR_FLOAT:
        quipu_dagcbor_write_read(writer, value);
        return;
    }
}

static const char LONG_TEXT[] =
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd"
    "ef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789ab"
    "cdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef01234567";

static void draw_sample(struct sample *sample)
{
    static const char *const keys[] = {"a",
                                       "b",
                                       "aa",
                                       "abcd",
                                       "abce",
                                       "x\xc3\xa9",
                                       "abcdefg",
                                       "abcdefgh",
                                       "abcdefgi",
                                       "",
                                       "abcdefghijklmnop",
                                       "abcdefghijklmnoq",
                                       "\xff"};
    static const enum quipu_dagcbor_kind kinds[] = {
        QUIPU_DAGCBOR_UINT, QUIPU_DAGCBOR_NEGATIVE, QUIPU_DAGCBOR_BYTES, QUIPU_DAGCBOR_TEXT,
        QUIPU_DAGCBOR_LINK, QUIPU_DAGCBOR_NULL,     QUIPU_DAGCBOR_BOOL,  QUIPU_DAGCBOR_LIST,
        QUIPU_DAGCBOR_MAP,  QUIPU_DAGCBOR_FLOAT,
    };
    const char *key = keys[(size_t)random() % (sizeof keys / sizeof keys[0])];
    memset(sample, 0, sizeof *sample);
    sample->key.len = (uint8_t)strlen(key);
    sample->key.head = (uint8_t)(0x60 + sample->key.len);
    memcpy(sample->key.text, key, sample->key.len);
    sample->value.kind = kinds[(size_t)random() % (sizeof kinds / sizeof kinds[0])];
    bool is_container =
        sample->value.kind == QUIPU_DAGCBOR_LIST || sample->value.kind == QUIPU_DAGCBOR_MAP;
    sample->value.number = is_container ? 0 : (uint64_t)random() << (random() % 33);
    sample->value.link.bytes = quipu_slice("\x01\x55\x00\x01z", 5);
    sample->value.real = random() % 50 == 0 ? 1.0 / 0.0 : 0.5;
    size_t len = (size_t)random() % (random() % 2 == 0 ? 20 : sizeof LONG_TEXT);
    sample->value.bytes = quipu_slice(random() % 30 == 0 ? "\xff\xff" : LONG_TEXT, len);
    if (sample->value.bytes.data != (const uint8_t *)LONG_TEXT) {
        sample->value.bytes.len = 2;
    }
}

/* The four ways: a pair of its own kind, the same as two writes, a pair as it was read, the same as
 * two writes. */
enum way { WAY_PAIR, WAY_TWO, WAY_READ_PAIR, WAY_READ_TWO, WAY_COUNT };

static void write_sample(struct quipu_dagcbor_writer *writer, const struct sample *sample,
                         enum way way)
{
    struct quipu_slice key = quipu_slice(sample->key.text, sample->key.len);
    switch (way) {
    case WAY_PAIR:
        write_as_pair(writer, sample);
        return;
    case WAY_TWO:
        write_as_two(writer, sample);
        return;
    case WAY_READ_PAIR:
        quipu_dagcbor_write_pair_read(writer, key, &sample->value);
        return;
    case WAY_READ_TWO:
        quipu_dagcbor_write_text(writer, key);
        quipu_dagcbor_write_read(writer, &sample->value);
        return;
    case WAY_COUNT:
        return;
    }
}

static enum quipu_status write_map(const struct sample *samples, size_t count, enum way way,
                                   struct quipu_buf *out)
{
    static struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, out);
    quipu_dagcbor_write_list(&writer, 1);
    quipu_dagcbor_write_map(&writer, count);
    for (size_t i = 0; i < count; i++) {
        write_sample(&writer, &samples[i], way);
    }
    return quipu_dagcbor_writer_finish(&writer, NULL);
}

static int by_key(const void *a, const void *b)
{
    const struct sample *x = a;
    const struct sample *y = b;
    return quipu_dagcbor_key_compare(quipu_slice(x->key.text, x->key.len),
                                     quipu_slice(y->key.text, y->key.len));
}

Test(dagcbor_pairs, write_what_two_writes_write_and_refuse_what_they_refuse)
{
    size_t written = 0;
    size_t refused = 0;
    srandom(5);
    for (size_t round = 0; round < 60000; round++) {
        struct sample samples[4];
        uint8_t storage[WAY_COUNT][STORAGE_BYTES];
        struct quipu_buf out[WAY_COUNT];
        size_t count = 1 + (size_t)random() % 4;
        size_t cap = random() % 3 == 0 ? (size_t)random() % 130 : STORAGE_BYTES;
        for (size_t i = 0; i < count; i++) {
            draw_sample(&samples[i]);
        }
        if (random() % 4 != 0) {
            qsort(samples, count, sizeof samples[0], by_key);
        }
        enum quipu_status status[WAY_COUNT];
        for (int way = 0; way < WAY_COUNT; way++) {
            quipu_buf_init_fixed(&out[way], storage[way], cap);
            status[way] = write_map(samples, count, (enum way)way, &out[way]);
        }

        for (int way = 0; way < WAY_COUNT; way += 2) {
            cr_assert_eq(status[way], status[way + 1], "round %zu: %s, %s", round,
                         quipu_status_name(status[way]), quipu_status_name(status[way + 1]));
            cr_assert(
                quipu_slice_equal(quipu_buf_slice(&out[way]), quipu_buf_slice(&out[way + 1])));
        }
        if (status[0] == QUIPU_OK) {
            written++;
            cr_assert_eq(quipu_dagcbor_validate(quipu_buf_slice(&out[0]), NULL), QUIPU_OK);
        } else {
            refused++;
        }
    }
    cr_assert_gt(written, 10000);
    cr_assert_gt(refused, 10000);
}

Test(dagcbor_pairs, a_key_from_a_literal_carries_its_head)
{
    static const struct quipu_dagcbor_key shortest = QUIPU_DAGCBOR_KEY("");
    static const struct quipu_dagcbor_key longest = QUIPU_DAGCBOR_KEY("sixteen letters!");

    cr_assert(shortest.head == 0x60 && shortest.len == 0);
    cr_assert(longest.head == 0x70 && longest.len == QUIPU_DAGCBOR_KEY_BYTES_MAX);
    cr_assert_eq(memcmp(longest.text, "sixteen letters!", 16), 0);
}

Test(dagcbor_pairs, need_a_key_to_be_due)
{
    static const struct quipu_dagcbor_key key = QUIPU_DAGCBOR_KEY("k");
    uint8_t storage[100];
    struct quipu_buf out;
    struct quipu_dagcbor_writer writer;
    quipu_buf_init_fixed(&out, storage, sizeof storage);
    quipu_dagcbor_writer_init(&writer, &out);

    quipu_dagcbor_write_list(&writer, 3);
    quipu_dagcbor_write_pair_uint(&writer, &key, 1); /* two items of the list */
    quipu_dagcbor_write_pair_uint(&writer, &key, 2); /* one too many */

    cr_assert_eq(quipu_dagcbor_writer_finish(&writer, NULL), QUIPU_MISUSE);
    cr_assert_eq(out.len, 0);
}

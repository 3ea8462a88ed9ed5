/*
 * CIDs in binary: both profiles, every refusal, verification.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "quipu/cid.h"
#include "quipu/multihash.h"
#include "quipu/text.h"

#define DIGEST_HEX "9d8453505bdc6f269678e16b3e56c2a2948a41f2c792617cc9611ed363c95b63"

static enum quipu_status take_hex(const char *hex, struct quipu_buf *storage,
                                  struct quipu_cid_view *view, size_t *rest,
                                  struct quipu_error *err)
{
    quipu_buf_reset(storage);
    cr_assert_eq(quipu_hex_decode(storage, quipu_slice_text(hex)), QUIPU_OK, "%s", hex);
    struct quipu_slice input = quipu_buf_slice(storage);
    enum quipu_status status = quipu_cid_view_take(&input, view, err);
    *rest = input.len;
    cr_assert(status == QUIPU_OK || input.len == storage->len, "input moved: %s", hex);
    return status;
}

Test(cid, of_a_block_is_its_sha256_under_the_codec)
{
    struct quipu_cid cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_slice("\xa0", 1));
    uint8_t bytes[QUIPU_CID_BYTES];
    uint8_t digest[QUIPU_SHA256_BYTES];
    quipu_cid_to_bytes(&cid, bytes);
    quipu_sha256(quipu_slice("\xa0", 1), digest);

    cr_assert_eq(memcmp(bytes, "\x01\x71\x12\x20", 4), 0);
    cr_assert_eq(memcmp(bytes + 4, digest, sizeof digest), 0);
}

Test(cid, equality_looks_at_codec_and_digest)
{
    struct quipu_cid a = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_slice_text("a"));
    struct quipu_cid b = a;
    struct quipu_cid c = a;
    b.codec = QUIPU_CODEC_RAW;
    c.digest[31] ^= 1;

    cr_assert(quipu_cid_equal(&a, &a));
    cr_assert_not(quipu_cid_equal(&a, &b));
    cr_assert_not(quipu_cid_equal(&a, &c));
}

Test(cid_view, reads_version_0_and_1_and_leaves_the_rest)
{
    static const struct {
        const char *hex;
        uint64_t version;
        uint64_t codec;
        uint64_t hash;
        size_t digest;
        size_t rest;
    } cases[] = {
        {"1220" DIGEST_HEX, 0, QUIPU_CODEC_DAG_PB, 0x12, 32, 0},
        {"1220" DIGEST_HEX "0155", 0, QUIPU_CODEC_DAG_PB, 0x12, 32, 2},
        {"01551220" DIGEST_HEX, 1, 0x55, 0x12, 32, 0},
        {"01551220" DIGEST_HEX "ff", 1, 0x55, 0x12, 32, 1},
        {"01701220" DIGEST_HEX, 1, 0x70, 0x12, 32, 0},
        {"01711e20" DIGEST_HEX, 1, 0x71, 0x1e, 32, 0},
        {"01a90200024142", 1, 0x0129, 0x00, 2, 0},
        {"0171a0e40220" DIGEST_HEX, 1, 0x71, 0xb220, 32, 0},
        {"01551214" DIGEST_HEX, 1, 0x55, 0x12, 20, 12},
        {"01001200", 1, 0, 0x12, 0, 0},
    };
    struct quipu_buf storage = QUIPU_BUF_INIT;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct quipu_cid_view view;
        size_t rest;

        cr_assert_eq(take_hex(cases[i].hex, &storage, &view, &rest, NULL), QUIPU_OK, "case %zu", i);
        cr_assert_eq(view.version, cases[i].version);
        cr_assert_eq(view.codec, cases[i].codec);
        cr_assert_eq(view.hash, cases[i].hash);
        cr_assert_eq(view.digest.len, cases[i].digest);
        cr_assert_eq(rest, cases[i].rest);
        cr_assert(quipu_slice_equal(view.bytes, quipu_slice(storage.data, storage.len - rest)));
    }
    quipu_buf_release(&storage);
}

Test(cid_view, refuses_what_is_malformed_and_says_where)
{
    static const struct {
        const char *hex;
        enum quipu_status status;
        uint64_t offset;
    } cases[] = {
        {"", QUIPU_CID, 0},
        {"1220", QUIPU_CID, 2},
        {"1220" DIGEST_HEX, QUIPU_OK, 0},
        {"122000000000000000000000000000000000000000000000000000000000000000", QUIPU_CID, 33},
        {"12", QUIPU_CID, 0},                  /* version 18 */
        {"1214" DIGEST_HEX, QUIPU_CID, 0},     /* version 0 has 32 bytes, always */
        {"1340" DIGEST_HEX, QUIPU_CID, 0},     /* and sha2-256 */
        {"00551220" DIGEST_HEX, QUIPU_CID, 0}, /* version 0 in words */
        {"02551220" DIGEST_HEX, QUIPU_CID, 0},
        {"03551220" DIGEST_HEX, QUIPU_CID, 0},
        {"8100551220" DIGEST_HEX, QUIPU_VARINT, 1},
        {"80", QUIPU_VARINT, 1},
        {"01", QUIPU_VARINT, 1},
        {"0180", QUIPU_VARINT, 2},
        {"01d5001220" DIGEST_HEX, QUIPU_VARINT, 2},
        {"0155", QUIPU_VARINT, 2},
        {"015580", QUIPU_VARINT, 3},
        {"015592001220" DIGEST_HEX, QUIPU_VARINT, 3},
        {"015580009d8453505bdc", QUIPU_VARINT, 3},
        {"015512", QUIPU_VARINT, 3},
        {"015512a000" DIGEST_HEX, QUIPU_VARINT, 4},
        {"0155122100" DIGEST_HEX, QUIPU_OK, 0},
        {"01551221" DIGEST_HEX, QUIPU_MULTIHASH, 4},
        {"0155ffffffffffffffffffff01", QUIPU_VARINT, 11},
    };
    struct quipu_buf storage = QUIPU_BUF_INIT;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct quipu_cid_view view;
        struct quipu_error err = {0};
        size_t rest;

        cr_assert_eq(take_hex(cases[i].hex, &storage, &view, &rest, &err), cases[i].status,
                     "case %zu: %s", i, err.message);
        cr_assert_eq(err.offset, cases[i].offset, "case %zu: %s", i, err.message);
    }
    quipu_buf_release(&storage);
}

Test(cid_view, every_cut_of_a_cid_is_refused)
{
    struct quipu_buf whole = QUIPU_BUF_INIT;
    cr_assert_eq(quipu_hex_decode(&whole, quipu_slice_text("01a902a0e40220" DIGEST_HEX)), QUIPU_OK);
    for (size_t len = 0; len <= whole.len; len++) {
        struct quipu_slice input = quipu_slice(whole.data, len);
        struct quipu_cid_view view;
        enum quipu_status status = quipu_cid_view_take(&input, &view, NULL);
        cr_assert_eq(status == QUIPU_OK, len == whole.len, "%zu bytes", len);
    }
    quipu_buf_release(&whole);
}

Test(cid_view, narrows_to_the_event_profile_only_what_fits_it)
{
    static const struct {
        const char *hex;
        enum quipu_status status;
    } cases[] = {
        {"01711220" DIGEST_HEX, QUIPU_OK},
        {"01551220" DIGEST_HEX, QUIPU_OK},
        {"1220" DIGEST_HEX, QUIPU_CID_PROFILE},
        {"01701220" DIGEST_HEX, QUIPU_CID_PROFILE},
        {"01711e20" DIGEST_HEX, QUIPU_CID_PROFILE},
        {"01711214" DIGEST_HEX, QUIPU_CID_PROFILE},
        {"01f1021220" DIGEST_HEX, QUIPU_CID_PROFILE}, /* codec 0x171 is not 0x71 */
    };
    struct quipu_buf storage = QUIPU_BUF_INIT;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct quipu_cid_view view;
        struct quipu_cid cid = {.codec = 7};
        size_t rest;

        cr_assert_eq(take_hex(cases[i].hex, &storage, &view, &rest, NULL), QUIPU_OK);
        cr_assert_eq(quipu_cid_from_view(&view, &cid, NULL), cases[i].status, "case %zu", i);
        if (cases[i].status != QUIPU_OK) {
            cr_assert_eq(cid.codec, 7);
            continue;
        }
        uint8_t bytes[QUIPU_CID_BYTES];
        struct quipu_cid_view back = quipu_cid_to_view(&cid, bytes);
        cr_assert(quipu_slice_equal(back.bytes, view.bytes));
        cr_assert(quipu_slice_equal(back.digest, view.digest));
        cr_assert_eq(back.codec, view.codec);
        cr_assert_eq(back.version, 1);
    }
    quipu_buf_release(&storage);
}

Test(cid_view, verifies_its_block_and_no_other)
{
    struct quipu_cid cid = quipu_cid_of(QUIPU_CODEC_RAW, quipu_slice_text("block"));
    uint8_t bytes[QUIPU_CID_BYTES];
    struct quipu_cid_view view = quipu_cid_to_view(&cid, bytes);
    struct quipu_error err = {0};

    cr_assert_eq(quipu_cid_view_verify(&view, quipu_slice_text("block"), &err), QUIPU_OK);
    cr_assert_eq(quipu_cid_view_verify(&view, quipu_slice_text("blocK"), &err), QUIPU_CID_MISMATCH);
    view.hash = 0x1e;
    cr_assert_eq(quipu_cid_view_verify(&view, quipu_slice_text("block"), &err),
                 QUIPU_CID_UNVERIFIABLE);
}

/* A changed byte is either refused or read as what it now says, and written back the same. */
Test(cid_view, mutated_bytes_are_refused_or_mean_exactly_themselves)
{
    srandom(42);
    size_t accepted = 0;
    for (size_t round = 0; round < 100000; round++) {
        struct quipu_cid cid = quipu_cid_of(QUIPU_CODEC_RAW, quipu_slice(&round, sizeof round));
        uint8_t bytes[QUIPU_CID_BYTES];
        quipu_cid_to_bytes(&cid, bytes);
        for (int change = 0; change < 2; change++) {
            bytes[(size_t)random() % 6] = (uint8_t)random();
        }
        struct quipu_slice input = quipu_slice(bytes, sizeof bytes);
        struct quipu_cid_view view;
        if (quipu_cid_view_take(&input, &view, NULL) != QUIPU_OK) {
            continue;
        }
        accepted++;
        struct quipu_buf text = QUIPU_BUF_INIT;
        struct quipu_buf storage = QUIPU_BUF_INIT;
        struct quipu_cid_view again;
        quipu_cid_view_format(&view, &text);
        cr_assert_eq(text.status, QUIPU_OK);
        cr_assert_eq(quipu_cid_view_parse(quipu_buf_slice(&text), &storage, &again, NULL),
                     QUIPU_OK);
        cr_assert(quipu_slice_equal(again.bytes, view.bytes));
        quipu_buf_release(&text);
        quipu_buf_release(&storage);
    }
    cr_assert_gt(accepted, 1000);
}

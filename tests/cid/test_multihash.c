/*
 * Multihash: reading, what is verified, what is never called verified, names.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>

#include "quipu/cid.h"
#include "quipu/multihash.h"
#include "quipu/text.h"

#define SHA1     0x11
#define SHA3_256 0x16
#define BLAKE3   0x1e

/* Digests of "abc", from FIPS 180-4 and RFC 7693's reference program. */
#define ABC_SHA256 "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define ABC_SHA512                                                                                 \
    "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3f"  \
    "eebbd454d4423643ce80e2a9ac94fa54ca49f"
#define ABC_BLAKE2B "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319"

static const struct quipu_slice ABC = {(const uint8_t *)"abc", 3};

static enum quipu_status verify_hex(uint64_t code, const char *hex, size_t digest_bytes,
                                    struct quipu_slice message, struct quipu_error *err)
{
    struct quipu_buf digest = QUIPU_BUF_INIT;
    cr_assert_eq(quipu_hex_decode(&digest, quipu_slice_text(hex)), QUIPU_OK);
    struct quipu_multihash hash = {code, quipu_slice(digest.data, digest_bytes)};
    enum quipu_status status = quipu_multihash_verify(&hash, message, err);
    quipu_buf_release(&digest);
    return status;
}

Test(multihash, verifies_the_four_functions_that_are_computed_here)
{
    cr_assert_eq(verify_hex(QUIPU_MULTIHASH_SHA2_256, ABC_SHA256, 32, ABC, NULL), QUIPU_OK);
    cr_assert_eq(verify_hex(QUIPU_MULTIHASH_SHA2_512, ABC_SHA512, 64, ABC, NULL), QUIPU_OK);
    cr_assert_eq(verify_hex(QUIPU_MULTIHASH_BLAKE2B_256, ABC_BLAKE2B, 32, ABC, NULL), QUIPU_OK);
    cr_assert_eq(verify_hex(QUIPU_MULTIHASH_IDENTITY, "616263", 3, ABC, NULL), QUIPU_OK);
    cr_assert_eq(verify_hex(QUIPU_MULTIHASH_IDENTITY, "", 0, quipu_slice(NULL, 0), NULL), QUIPU_OK);
}

Test(multihash, verifies_the_empty_message)
{
    struct quipu_slice nothing = {NULL, 0};

    cr_assert_eq(verify_hex(QUIPU_MULTIHASH_SHA2_256,
                            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", 32,
                            nothing, NULL),
                 QUIPU_OK);
    cr_assert_eq(verify_hex(QUIPU_MULTIHASH_BLAKE2B_256,
                            "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8", 32,
                            nothing, NULL),
                 QUIPU_OK);
}

Test(multihash, tells_another_message)
{
    static const struct {
        uint64_t code;
        const char *hex;
        size_t len;
    } cases[] = {
        {QUIPU_MULTIHASH_SHA2_256, ABC_SHA256, 32},     {QUIPU_MULTIHASH_SHA2_256, ABC_SHA256, 20},
        {QUIPU_MULTIHASH_SHA2_256, ABC_SHA256, 1},      {QUIPU_MULTIHASH_SHA2_512, ABC_SHA512, 64},
        {QUIPU_MULTIHASH_BLAKE2B_256, ABC_BLAKE2B, 32}, {QUIPU_MULTIHASH_IDENTITY, "616263", 3},
        {QUIPU_MULTIHASH_IDENTITY, "616263", 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct quipu_error err = {0};
        cr_assert_eq(
            verify_hex(cases[i].code, cases[i].hex, cases[i].len, quipu_slice_text("abd"), &err),
            QUIPU_CID_MISMATCH, "case %zu", i);
        cr_assert_eq(err.status, QUIPU_CID_MISMATCH);
    }
}

Test(multihash, takes_a_cut_digest_from_twenty_bytes_on)
{
    struct quipu_error err = {0};

    cr_assert_eq(verify_hex(QUIPU_MULTIHASH_SHA2_256, ABC_SHA256, 21, ABC, &err), QUIPU_OK);
    cr_assert_eq(verify_hex(QUIPU_MULTIHASH_SHA2_256, ABC_SHA256, 20, ABC, &err), QUIPU_OK);
    cr_assert_eq(verify_hex(QUIPU_MULTIHASH_SHA2_256, ABC_SHA256, 19, ABC, &err),
                 QUIPU_CID_UNVERIFIABLE);
    cr_assert_eq(verify_hex(QUIPU_MULTIHASH_SHA2_256, ABC_SHA256, 0, ABC, &err),
                 QUIPU_CID_UNVERIFIABLE);
    cr_assert_eq(verify_hex(QUIPU_MULTIHASH_SHA2_512, ABC_SHA512, 20, ABC, &err), QUIPU_OK);
}

Test(multihash, refuses_a_digest_longer_than_the_function_has)
{
    cr_assert_eq(verify_hex(QUIPU_MULTIHASH_SHA2_256, ABC_SHA256 "00", 33, ABC, NULL),
                 QUIPU_CID_MISMATCH);
}

Test(multihash, never_calls_another_function_verified)
{
    struct quipu_error err = {0};

    cr_assert_eq(verify_hex(SHA1, "a9993e364706816aba3e25717850c26c9cd0d89d", 20, ABC, &err),
                 QUIPU_CID_UNVERIFIABLE);
    cr_assert(strstr(err.message, "sha1") != NULL);
    cr_assert_eq(verify_hex(SHA3_256, ABC_SHA256, 32, ABC, NULL), QUIPU_CID_UNVERIFIABLE);
    cr_assert_eq(verify_hex(BLAKE3, ABC_SHA256, 32, ABC, NULL), QUIPU_CID_UNVERIFIABLE);
    cr_assert_eq(verify_hex(0x999999, ABC_SHA256, 32, ABC, &err), QUIPU_CID_UNVERIFIABLE);
    cr_assert(strstr(err.message, "0x999999") != NULL);
}

Test(multihash, reads_what_it_writes_and_leaves_the_rest)
{
    static const struct {
        uint64_t code;
        size_t asked;
        size_t len;
    } cases[] = {
        {QUIPU_MULTIHASH_IDENTITY, 0, 3},     {QUIPU_MULTIHASH_IDENTITY, 3, 3},
        {QUIPU_MULTIHASH_SHA2_256, 0, 32},    {QUIPU_MULTIHASH_SHA2_256, 32, 32},
        {QUIPU_MULTIHASH_SHA2_256, 20, 20},   {QUIPU_MULTIHASH_SHA2_512, 0, 64},
        {QUIPU_MULTIHASH_BLAKE2B_256, 0, 32},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct quipu_buf out = QUIPU_BUF_INIT;
        struct quipu_multihash hash;

        cr_assert_eq(quipu_multihash_append(cases[i].code, cases[i].asked, ABC, &out, NULL),
                     QUIPU_OK);
        quipu_buf_append_text(&out, "rest");
        struct quipu_slice input = quipu_buf_slice(&out);
        cr_assert_eq(quipu_multihash_take(&input, &hash, NULL), QUIPU_OK);

        cr_assert_eq(hash.code, cases[i].code);
        cr_assert_eq(hash.digest.len, cases[i].len);
        cr_assert(quipu_slice_equal(input, quipu_slice_text("rest")));
        cr_assert_eq(quipu_multihash_verify(&hash, ABC, NULL), QUIPU_OK);
        quipu_buf_release(&out);
    }
}

Test(multihash, writes_none_that_it_cannot_compute_or_cut)
{
    struct quipu_buf out = QUIPU_BUF_INIT;
    uint8_t storage[10];

    cr_assert_eq(quipu_multihash_append(SHA1, 0, ABC, &out, NULL), QUIPU_CID_UNVERIFIABLE);
    cr_assert_eq(quipu_multihash_append(QUIPU_MULTIHASH_SHA2_256, 33, ABC, &out, NULL),
                 QUIPU_INVALID);
    cr_assert_eq(quipu_multihash_append(QUIPU_MULTIHASH_IDENTITY, 2, ABC, &out, NULL),
                 QUIPU_INVALID);
    quipu_buf_init_fixed(&out, storage, sizeof storage);
    cr_assert_eq(quipu_multihash_append(QUIPU_MULTIHASH_SHA2_256, 0, ABC, &out, NULL),
                 QUIPU_TOO_LARGE);
    cr_assert_eq(out.len, 0);
}

Test(multihash, refuses_what_is_malformed_and_moves_nothing)
{
    static const struct {
        const char *bytes;
        size_t len;
        enum quipu_status status;
        uint64_t offset;
    } cases[] = {
        {"", 0, QUIPU_VARINT, 0},
        {"\x80", 1, QUIPU_VARINT, 1},
        {"\x92\x00\x00", 3, QUIPU_VARINT, 1},
        {"\x12", 1, QUIPU_VARINT, 1},
        {"\x12\x80", 2, QUIPU_VARINT, 2},
        {"\x12\x83\x00zzz", 6, QUIPU_VARINT, 2},
        {"\x12\x03zz", 4, QUIPU_MULTIHASH, 2},
        {"\x00\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10, QUIPU_MULTIHASH, 10},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct quipu_slice input = quipu_slice(cases[i].bytes, cases[i].len);
        struct quipu_multihash hash = {.code = 77};
        struct quipu_error err = {0};

        cr_assert_eq(quipu_multihash_take(&input, &hash, &err), cases[i].status, "case %zu", i);
        cr_assert_eq(err.offset, cases[i].offset, "case %zu: %s", i, err.message);
        cr_assert_eq(input.len, cases[i].len);
        cr_assert_eq(hash.code, 77);
    }
}

Test(multihash, names_functions_and_codecs)
{
    uint64_t code = 0;

    cr_assert_str_eq(quipu_multihash_name(0x12), "sha2-256");
    cr_assert_eq(quipu_multihash_digest_bytes(0x12), 32);
    cr_assert_eq(quipu_multihash_digest_bytes(QUIPU_MULTIHASH_IDENTITY), 0);
    cr_assert_eq(quipu_multihash_find(quipu_slice_text("blake2b-256"), &code), QUIPU_OK);
    cr_assert_eq(code, QUIPU_MULTIHASH_BLAKE2B_256);
    cr_assert_null(quipu_multihash_name(0x999999));
    cr_assert_eq(quipu_multihash_digest_bytes(0x999999), 0);
    cr_assert_eq(quipu_multihash_find(quipu_slice_text("sha9"), &code), QUIPU_NOT_FOUND);

    cr_assert_str_eq(quipu_codec_name(QUIPU_CODEC_DAG_CBOR), "dag-cbor");
    cr_assert_eq(quipu_codec_find(quipu_slice_text("dag-json"), &code), QUIPU_OK);
    cr_assert_eq(code, 0x0129);
    cr_assert_null(quipu_codec_name(0x999999));
    cr_assert_eq(quipu_codec_find(quipu_slice_text(""), &code), QUIPU_NOT_FOUND);
}

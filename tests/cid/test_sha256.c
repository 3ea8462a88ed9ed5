/*
 * SHA-256: FIPS 180-4's examples, and every path against libsodium.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <sodium.h>
#include <stdlib.h>

#include "quipu/sha256.h"
#include "quipu/text.h"

#define BYTES_MAX 4096

static uint8_t noise[BYTES_MAX * 2];

static void fill_noise(unsigned seed)
{
    srandom(seed);
    for (size_t i = 0; i < sizeof noise; i++) {
        noise[i] = (uint8_t)random();
    }
}

static void assert_digest(const uint8_t *digest, const char *hex)
{
    struct quipu_buf text = QUIPU_BUF_INIT;
    quipu_hex_append(&text, quipu_slice(digest, QUIPU_SHA256_BYTES));
    cr_assert(quipu_slice_equal(quipu_buf_slice(&text), quipu_slice_text(hex)));
    quipu_buf_release(&text);
}

Test(sha256, gives_the_published_digests)
{
    static const struct {
        const char *message;
        const char *hex;
    } cases[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct quipu_slice message = quipu_slice_text(cases[i].message);
        uint8_t digest[QUIPU_SHA256_BYTES];
        uint8_t batch[1][QUIPU_SHA256_BYTES];
        quipu_sha256(message, digest);
        quipu_sha256_batch(&message, 1, batch);
        assert_digest(digest, cases[i].hex);
        assert_digest(batch[0], cases[i].hex);
    }
}

Test(sha256, takes_the_empty_slice)
{
    uint8_t digest[QUIPU_SHA256_BYTES];
    quipu_sha256(quipu_slice(NULL, 0), digest);
    assert_digest(digest, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

Test(sha256, agrees_with_libsodium_at_every_length)
{
    fill_noise(1);
    for (size_t len = 0; len < 700; len++) {
        uint8_t digest[QUIPU_SHA256_BYTES];
        uint8_t other[crypto_hash_sha256_BYTES];
        quipu_sha256(quipu_slice(noise + len % 13, len), digest);
        crypto_hash_sha256(other, noise + len % 13, len);
        cr_assert_eq(memcmp(digest, other, sizeof digest), 0, "%zu bytes", len);
    }
}

Test(sha256_stream, gives_the_same_whatever_the_pieces)
{
    fill_noise(2);
    for (size_t round = 0; round < 500; round++) {
        size_t len = (size_t)random() % BYTES_MAX;
        struct quipu_sha256_stream stream;
        uint8_t digest[QUIPU_SHA256_BYTES];
        uint8_t other[crypto_hash_sha256_BYTES];
        quipu_sha256_stream_init(&stream);
        for (size_t at = 0; at < len;) {
            size_t piece = (size_t)random() % 150;
            piece = piece < len - at ? piece : len - at;
            quipu_sha256_stream_update(&stream, quipu_slice(noise + at, piece));
            at += piece;
        }
        quipu_sha256_stream_final(&stream, digest);
        crypto_hash_sha256(other, noise, len);
        cr_assert_eq(memcmp(digest, other, sizeof digest), 0);
    }
}

Test(sha256_stream, starts_afresh_after_init)
{
    struct quipu_sha256_stream stream;
    uint8_t digest[QUIPU_SHA256_BYTES];
    quipu_sha256_stream_init(&stream);
    quipu_sha256_stream_update(&stream, quipu_slice_text("something else"));
    quipu_sha256_stream_init(&stream);
    quipu_sha256_stream_update(&stream, quipu_slice(NULL, 0));
    quipu_sha256_stream_update(&stream, quipu_slice_text("abc"));
    quipu_sha256_stream_final(&stream, digest);
    assert_digest(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

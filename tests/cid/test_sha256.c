/*
 * SHA-256: FIPS 180-4's examples, and every path against libsodium.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <sodium.h>
#include <stdlib.h>

/* Private: the engines one by one. */
#include "../../cid/src/sha256_lanes.h"
#include "quipu/sha256.h"
#include "quipu/text.h"

/* Long enough for messages that a batch hashes alone. */
#define BYTES_MAX 5000

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

/* ------------------------------------------------------------------ many messages at once */

#define MESSAGES_MAX 70

static void check_batch(const struct sha256_engine *engine, size_t count, size_t len_max)
{
    static struct quipu_slice messages[MESSAGES_MAX];
    static uint8_t digests[MESSAGES_MAX + 1][QUIPU_SHA256_BYTES];
    static uint8_t untouched[QUIPU_SHA256_BYTES];
    for (size_t i = 0; i < count; i++) {
        size_t len = len_max == 0 ? 0 : (size_t)random() % (len_max + 1);
        messages[i] = quipu_slice(noise + (size_t)random() % 16, len);
    }
    memset(digests, 0xee, sizeof digests);
    memset(untouched, 0xee, sizeof untouched);
    if (engine != NULL) {
        sha256_batch_with(engine, messages, count, digests);
    } else {
        quipu_sha256_batch(messages, count, digests);
    }
    for (size_t i = 0; i < count; i++) {
        uint8_t other[crypto_hash_sha256_BYTES];
        crypto_hash_sha256(other, messages[i].data, messages[i].len);
        cr_assert_eq(memcmp(digests[i], other, sizeof other), 0, "message %zu of %zu, %zu bytes", i,
                     count, messages[i].len);
    }
    cr_assert_eq(memcmp(digests[count], untouched, sizeof untouched), 0);
}

static void check_engine(const struct sha256_engine *engine)
{
    fill_noise(3);
    for (size_t count = 0; count <= 40; count++) {
        check_batch(engine, count, 0);
        check_batch(engine, count, 150);
        check_batch(engine, count, 700);
    }
    for (size_t round = 0; round < 60; round++) {
        check_batch(engine, MESSAGES_MAX, 60 + round * 5);
        check_batch(engine, MESSAGES_MAX, sizeof noise - 16);
    }
}

Test(sha256_batch, agrees_with_libsodium_on_this_processor)
{
    check_engine(NULL);
}

/* Each engine that this processor can run, also those that it would not choose. */
Test(sha256_batch, agrees_with_libsodium_in_every_engine)
{
    static const char *const names[] = {"sha-ni", "avx512", "avx2"};
    for (size_t i = 0; i < 3; i++) {
        const struct sha256_engine *engine = sha256_engine_find(names[i]);
        if (engine != NULL) {
            cr_assert_str_eq(engine->name, names[i]);
            check_engine(engine);
        }
    }
    cr_assert_null(sha256_engine_find("none"));
}

Test(sha256_batch, hashes_every_length_around_the_padding)
{
    static struct quipu_slice messages[MESSAGES_MAX];
    static uint8_t digests[MESSAGES_MAX][QUIPU_SHA256_BYTES];
    fill_noise(4);
    for (size_t base = 0; base < 9000; base += base < 300 ? MESSAGES_MAX : 977) {
        for (size_t i = 0; i < MESSAGES_MAX; i++) {
            messages[i] = quipu_slice(noise, (base + i) % sizeof noise);
        }
        quipu_sha256_batch(messages, MESSAGES_MAX, digests);
        for (size_t i = 0; i < MESSAGES_MAX; i++) {
            uint8_t other[crypto_hash_sha256_BYTES];
            crypto_hash_sha256(other, messages[i].data, messages[i].len);
            cr_assert_eq(memcmp(digests[i], other, sizeof other), 0, "%zu bytes", messages[i].len);
        }
    }
}

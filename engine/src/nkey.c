/*
 * NKey texts. An NKey is base32 (RFC 4648, upper case, no padding) of one prefix byte, 32 bytes of
 * key and a CRC-16/XMODEM, little-endian; a seed has two prefix bytes: 'S' and the kind, five bits
 * each. Decodes, encodes, and signs with what it has decoded; never holds a key.
 *
 * Specification: docs.nats.io, NKeys; docs/SPEC.md §3.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "nkey.h"

#include <sodium.h>
#include <string.h>

#include "quipu/engine.h"

#define PUBLIC_BYTES 35 /* prefix, key, checksum */
#define SEED_BYTES   36 /* two prefix bytes, seed, checksum */
#define SEED_PREFIX  18 /* 'S' in base32 */

static const char base32_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/* The five bits that a prefix letter stands for are its value in base32. */
static int base32_value(uint8_t c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= '2' && c <= '7') {
        return c - '2' + 26;
    }
    return -1;
}

static void base32_encode(const uint8_t *bytes, size_t len, char *out)
{
    uint32_t window = 0;
    unsigned bits = 0;
    for (size_t i = 0; i < len; i++) {
        window = window << 8 | bytes[i];
        bits += 8;
        while (bits >= 5) {
            bits -= 5;
            *out++ = base32_digits[window >> bits & 31];
        }
    }
    if (bits > 0) {
        *out++ = base32_digits[window << (5 - bits) & 31];
    }
    *out = 0;
}

/* `len` bytes from exactly as many characters as they take; unused bits must be 0. */
static bool base32_decode(const uint8_t *text, size_t chars, uint8_t *out, size_t len)
{
    uint32_t window = 0;
    unsigned bits = 0;
    size_t at = 0;
    for (size_t i = 0; i < chars; i++) {
        int value = base32_value(text[i]);
        if (value < 0) {
            return false;
        }
        window = window << 5 | (uint32_t)value;
        bits += 5;
        if (bits >= 8 && at < len) {
            bits -= 8;
            out[at++] = (uint8_t)(window >> bits);
        }
    }
    return at == len && bits < 8 && (window & ((1u << bits) - 1)) == 0;
}

/* CRC-16/XMODEM: polynomial 0x1021, nothing reflected, starts at 0; four bits a step. */
static uint16_t crc16(const uint8_t *bytes, size_t len)
{
    static const uint16_t steps[16] = {
        0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7,
        0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef,
    };
    uint16_t crc = 0;
    for (size_t i = 0; i < len; i++) {
        crc = (uint16_t)(crc << 4 ^ steps[(crc >> 12 ^ bytes[i] >> 4) & 15]);
        crc = (uint16_t)(crc << 4 ^ steps[(crc >> 12 ^ bytes[i]) & 15]);
    }
    return crc;
}

/* Write the checksum of the first len - 2 bytes into the last two. */
static void checksum_put(uint8_t *bytes, size_t len)
{
    uint16_t crc = crc16(bytes, len - 2);
    bytes[len - 2] = (uint8_t)crc;
    bytes[len - 1] = (uint8_t)(crc >> 8);
}

static bool checksum_holds(const uint8_t *bytes, size_t len)
{
    uint16_t crc = crc16(bytes, len - 2);
    return bytes[len - 2] == (uint8_t)crc && bytes[len - 1] == (uint8_t)(crc >> 8);
}

void quipu_nkey_format(char prefix, const uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES],
                       char out[QUIPU_SOURCE_TEXT_BYTES])
{
    if (prefix == 0 || strchr("UAONCX", prefix) == NULL) {
        out[0] = 0;
        return;
    }
    uint8_t bytes[PUBLIC_BYTES];
    bytes[0] = (uint8_t)(base32_value((uint8_t)prefix) << 3);
    memcpy(bytes + 1, public_key, QUIPU_PUBLIC_KEY_BYTES);
    checksum_put(bytes, sizeof bytes);
    base32_encode(bytes, sizeof bytes, out);
}

enum quipu_status quipu_source_public_key(struct quipu_slice source,
                                          uint8_t out[QUIPU_PUBLIC_KEY_BYTES],
                                          struct quipu_error *err)
{
    uint8_t bytes[PUBLIC_BYTES];
    if (source.len != NKEY_PUBLIC_CHARS || source.data[0] != 'U' ||
        !base32_decode(source.data, source.len, bytes, sizeof bytes)) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "source: expected 'U' and %d characters of A-Z and 2-7, found %zu "
                               "bytes that are not",
                               NKEY_PUBLIC_CHARS - 1, source.len);
    }
    /* 'U' leaves the low three bits of the first byte open: they must be 0. */
    if ((bytes[0] & 7) != 0 || !checksum_holds(bytes, sizeof bytes)) {
        return quipu_error_set(err, QUIPU_INVALID, "source %.*s: its checksum is wrong",
                               QUIPU_SLICE_FMT(source));
    }
    memcpy(out, bytes + 1, QUIPU_PUBLIC_KEY_BYTES);
    return QUIPU_OK;
}

/* Eight bytes at a time: one bit for each that is ASCII and from `low` to `high`. */
static uint64_t bytes_within(uint64_t word, uint8_t low, uint8_t high)
{
    const uint64_t each = UINT64_C(0x0101010101010101);
    const uint64_t tops = each * 0x80;
    uint64_t ascii = word & ~tops;
    return (ascii + each * (0x80u - low)) & ~(ascii + each * (0x7fu - high)) & ~word & tops;
}

bool nkey_looks_like_source(struct quipu_slice text)
{
    if (text.len != NKEY_PUBLIC_CHARS || text.data[0] != 'U') {
        return false;
    }
    /* Every event that is read comes through here. */
    uint64_t found = UINT64_MAX;
    for (size_t i = 0; i < NKEY_PUBLIC_CHARS; i += sizeof found) {
        uint64_t word;
        memcpy(&word, text.data + i, sizeof word);
        found &= bytes_within(word, 'A', 'Z') | bytes_within(word, '2', '7');
    }
    return found == UINT64_C(0x8080808080808080);
}

void nkey_user_seed_format(const uint8_t seed[NKEY_SEED_BYTES], char out[NKEY_SEED_TEXT_BYTES])
{
    uint8_t bytes[SEED_BYTES];
    unsigned kind = (unsigned)base32_value('U') << 3;
    bytes[0] = (uint8_t)(SEED_PREFIX << 3 | kind >> 5);
    bytes[1] = (uint8_t)((kind & 31) << 3);
    memcpy(bytes + 2, seed, NKEY_SEED_BYTES);
    checksum_put(bytes, sizeof bytes);
    base32_encode(bytes, sizeof bytes, out);
    sodium_memzero(bytes, sizeof bytes);
}

/* Letter of the kind of seed that the two prefix bytes say, or 0. */
static char seed_kind(const uint8_t *bytes)
{
    if (bytes[0] >> 3 != SEED_PREFIX || (bytes[1] & 63) != 0) {
        return 0;
    }
    unsigned kind = (bytes[0] & 7u) << 2 | bytes[1] >> 6;
    char letter = base32_digits[kind];
    return strchr("UAONCX", letter) == NULL ? (char)0 : letter;
}

enum quipu_status nkey_user_seed_parse(struct quipu_slice text, uint8_t seed[NKEY_SEED_BYTES])
{
    uint8_t bytes[SEED_BYTES];
    bool is_seed = text.len == NKEY_SEED_CHARS &&
                   base32_decode(text.data, text.len, bytes, sizeof bytes) &&
                   seed_kind(bytes) == 'U' && checksum_holds(bytes, sizeof bytes);
    if (is_seed) {
        memcpy(seed, bytes + 2, NKEY_SEED_BYTES);
    }
    sodium_memzero(bytes, sizeof bytes);
    return is_seed ? QUIPU_OK : QUIPU_INVALID;
}

bool nkey_is_seed(const uint8_t text[NKEY_SEED_CHARS])
{
    uint8_t bytes[SEED_BYTES];
    bool is_seed = base32_decode(text, NKEY_SEED_CHARS, bytes, sizeof bytes) &&
                   seed_kind(bytes) != 0 && checksum_holds(bytes, sizeof bytes);
    sodium_memzero(bytes, sizeof bytes);
    return is_seed;
}

enum quipu_status quipu_nkey_seed_public_key(struct quipu_slice seed,
                                             uint8_t out[QUIPU_PUBLIC_KEY_BYTES],
                                             struct quipu_error *err)
{
    uint8_t raw[NKEY_SEED_BYTES];
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    if (nkey_user_seed_parse(seed, raw) != QUIPU_OK) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "not the seed of a user's NKey (SU and %d more characters); give "
                               "the one that nk -gen user has made",
                               NKEY_SEED_CHARS - 2);
    }
    (void)crypto_sign_seed_keypair(out, secret, raw); /* cannot fail */
    sodium_memzero(raw, sizeof raw);
    sodium_memzero(secret, sizeof secret);
    return QUIPU_OK;
}

enum quipu_status quipu_nkey_seed_generate(const struct quipu_random *random,
                                           char out[QUIPU_NKEY_SEED_TEXT_BYTES],
                                           struct quipu_error *err)
{
    struct quipu_random from = random != NULL ? *random : quipu_random_system();
    uint8_t raw[NKEY_SEED_BYTES];
    enum quipu_status status = from.fill(from.ctx, raw, sizeof raw, err);
    if (status == QUIPU_OK) {
        nkey_user_seed_format(raw, out);
    }
    sodium_memzero(raw, sizeof raw);
    return status;
}

void nkey_seed_sign(const uint8_t seed[NKEY_SEED_BYTES], struct quipu_slice message,
                    uint8_t signature[QUIPU_SIGNATURE_BYTES])
{
    uint8_t public_key[crypto_sign_PUBLICKEYBYTES];
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    (void)crypto_sign_seed_keypair(public_key, secret, seed);                       /* always 0 */
    (void)crypto_sign_detached(signature, NULL, message.data, message.len, secret); /* always 0 */
    sodium_memzero(secret, sizeof secret);
}

enum quipu_status quipu_nkey_seed_sign(struct quipu_slice seed, struct quipu_slice message,
                                       uint8_t signature[QUIPU_SIGNATURE_BYTES],
                                       struct quipu_error *err)
{
    uint8_t raw[NKEY_SEED_BYTES];
    if (sodium_init() < 0) {
        return quipu_error_set(err, QUIPU_NO_RANDOM, "libsodium cannot start");
    }
    enum quipu_status status = nkey_user_seed_parse(seed, raw);
    if (status != QUIPU_OK) {
        return quipu_error_set(err, QUIPU_INVALID, "not the seed of a user's NKey: nothing signed");
    }
    nkey_seed_sign(raw, message, signature);
    sodium_memzero(raw, sizeof raw);
    return QUIPU_OK;
}

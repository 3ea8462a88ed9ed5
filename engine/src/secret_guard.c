/*
 * The guard against secret material in an append-only log. Each rule has a name, which the refusal
 * shows and documentation explains:
 *
 * - private-key-pem: "-----BEGIN ... PRIVATE KEY-----" of any kind, and SSH2's "---- BEGIN ...
 * ----".
 *
 * - private-key-der: bytes that begin as PKCS#8, PKCS#1 or SEC1 private keys do.
 *
 * - private-key-putty: "PuTTY-User-Key-File-".
 *
 * - nats-creds: the marks of a .creds file, "BEGIN NATS USER JWT" and "BEGIN USER NKEY SEED".
 *
 * - nats-seed: S, one of OAUNCX, and base32 up to 58 characters with a valid checksum.
 *
 * - age-secret-key: "AGE-SECRET-KEY-1..." and "AGE-SECRET-KEY-PQ-1...".
 *
 * The same at the beginning of base64 text, of either alphabet and with line ends in it; the name
 * is that of what it decodes to.
 *
 * It finds what is there in clear and by mistake; it does not find what somebody hides.
 * Never prints what it found; what it decodes is wiped.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "secret_guard.h"

#include <sodium.h>
#include <stdbool.h>
#include <string.h>

#include "nkey.h"

#define SECRET_CHARS_MIN 17 /* shorter strings can hold none of them */
#define LABEL_CHARS_MAX  64

static bool contains(struct quipu_slice bytes, const char *word)
{
    return memmem(bytes.data, bytes.len, word, strlen(word)) != NULL;
}

static struct quipu_slice slice_from(struct quipu_slice bytes, const uint8_t *at)
{
    return quipu_slice(at, bytes.len - (size_t)(at - bytes.data));
}

/* True where the "BEGIN " at `at` stands behind dashes, as in PEM or in SSH2's form. */
static bool is_behind_dashes(struct quipu_slice bytes, const uint8_t *at)
{
    size_t before = (size_t)(at - bytes.data);
    return before >= 5 && (memcmp(at - 5, "-----", 5) == 0 || memcmp(at - 5, "---- ", 5) == 0);
}

/* The words between "BEGIN " and the next dash; empty where there is none near. */
static struct quipu_slice label_of(struct quipu_slice rest)
{
    size_t max = rest.len < LABEL_CHARS_MAX ? rest.len : LABEL_CHARS_MAX;
    const uint8_t *dash = max == 0 ? NULL : memchr(rest.data, '-', max);
    return dash == NULL ? quipu_slice(NULL, 0) : quipu_slice(rest.data, (size_t)(dash - rest.data));
}

static const char *rule_of_block_marks(struct quipu_slice bytes)
{
    static const char begin[] = "BEGIN ";
    struct quipu_slice rest = bytes;
    for (;;) {
        const uint8_t *at = memmem(rest.data, rest.len, begin, sizeof begin - 1);
        if (at == NULL) {
            return NULL;
        }
        rest = slice_from(rest, at + sizeof begin - 1);
        struct quipu_slice label = label_of(rest);
        if (label.len == 0 || !is_behind_dashes(bytes, at)) {
            continue;
        }
        if (contains(label, "PRIVATE KEY")) {
            return "private-key-pem";
        }
        if (contains(label, "NKEY SEED") || contains(label, "NATS USER JWT")) {
            return "nats-creds";
        }
    }
}

static bool holds_nats_seed(struct quipu_slice bytes)
{
    struct quipu_slice rest = bytes;
    while (rest.len >= NKEY_SEED_CHARS) {
        const uint8_t *at = memchr(rest.data, 'S', rest.len - NKEY_SEED_CHARS + 1);
        if (at == NULL) {
            return false;
        }
        if (memchr("OAUNCX", at[1], 6) != NULL && nkey_is_seed(at)) {
            return true;
        }
        rest = slice_from(rest, at + 1);
    }
    return false;
}

static bool holds_age_key(struct quipu_slice bytes)
{
    static const char begin[] = "AGE-SECRET-KEY-";
    struct quipu_slice rest = bytes;
    for (;;) {
        const uint8_t *at = memmem(rest.data, rest.len, begin, sizeof begin - 1);
        if (at == NULL) {
            return false;
        }
        rest = slice_from(rest, at + sizeof begin - 1);
        struct quipu_slice tail = rest;
        if (tail.len >= 3 && memcmp(tail.data, "PQ-", 3) == 0) {
            tail = quipu_slice(tail.data + 3, tail.len - 3);
        }
        /* '1' parts the name from the data in bech32. */
        if (tail.len >= 2 && tail.data[0] == '1' &&
            memchr("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", tail.data[1], 32) != NULL) {
            return true;
        }
    }
}

/* ------------------------------------------------------------------ DER */

struct der_mark {
    uint8_t len;
    uint8_t bytes[13];
};

/* Take tag and length of the element that `bytes` begins with; what is behind them, or nothing. */
static struct quipu_slice der_enter(struct quipu_slice bytes, uint8_t tag)
{
    if (bytes.len < 2 || bytes.data[0] != tag) {
        return quipu_slice(NULL, 0);
    }
    size_t more = bytes.data[1] < 0x80 ? 0 : bytes.data[1] & 0x7fu;
    if (more > 4 || bytes.len < 2 + more) {
        return quipu_slice(NULL, 0);
    }
    return quipu_slice(bytes.data + 2 + more, bytes.len - 2 - more);
}

static bool begins_with(struct quipu_slice bytes, const struct der_mark *marks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (bytes.len >= marks[i].len && memcmp(bytes.data, marks[i].bytes, marks[i].len) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_der_key(struct quipu_slice bytes)
{
    /* SEC1: version 1 and a key of 28, 32, 48 or 66 bytes. PKCS#1: version 0 and a long modulus. */
    static const struct der_mark plain[] = {
        {5, {0x02, 0x01, 0x01, 0x04, 0x1c}}, {5, {0x02, 0x01, 0x01, 0x04, 0x20}},
        {5, {0x02, 0x01, 0x01, 0x04, 0x30}}, {5, {0x02, 0x01, 0x01, 0x04, 0x42}},
        {5, {0x02, 0x01, 0x00, 0x02, 0x81}}, {5, {0x02, 0x01, 0x00, 0x02, 0x82}},
    };
    /* PKCS#8: version 0 or 1, then the algorithm. */
    static const struct der_mark versions[] = {
        {3, {0x02, 0x01, 0x00}},
        {3, {0x02, 0x01, 0x01}},
    };
    /* Ed25519, Ed448, X25519, X448, RSA, RSA-PSS, EC. */
    static const struct der_mark algorithms[] = {
        {5, {0x06, 0x03, 0x2b, 0x65, 0x70}},
        {5, {0x06, 0x03, 0x2b, 0x65, 0x71}},
        {5, {0x06, 0x03, 0x2b, 0x65, 0x6e}},
        {5, {0x06, 0x03, 0x2b, 0x65, 0x6f}},
        {11, {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01}},
        {11, {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a}},
        {9, {0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01}},
    };
    struct quipu_slice body = der_enter(bytes, 0x30);
    if (begins_with(body, plain, sizeof plain / sizeof plain[0])) {
        return true;
    }
    if (!begins_with(body, versions, sizeof versions / sizeof versions[0])) {
        return false;
    }
    struct quipu_slice algorithm = der_enter(quipu_slice(body.data + 3, body.len - 3), 0x30);
    return begins_with(algorithm, algorithms, sizeof algorithms / sizeof algorithms[0]);
}

/* ------------------------------------------------------------------ base64 */

/* Enough for a seed, and for the first line of a PEM text. */
#define DECODED_BYTES_MAX 96

/* Value of a digit of either alphabet, or -1. */
static int base64_value(uint8_t c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    if (c == '+' || c == '-') {
        return 62;
    }
    return c == '/' || c == '_' ? 63 : -1;
}

/* Decode the beginning of `text`, over line ends, up to what is no digit. */
static size_t base64_begin(struct quipu_slice text, uint8_t out[DECODED_BYTES_MAX])
{
    uint32_t window = 0;
    unsigned bits = 0;
    size_t len = 0;
    for (size_t i = 0; i < text.len && len < DECODED_BYTES_MAX; i++) {
        if (text.data[i] == '\n' || text.data[i] == '\r') {
            continue;
        }
        int value = base64_value(text.data[i]);
        if (value < 0) {
            break;
        }
        window = window << 6 | (uint32_t)value;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out[len++] = (uint8_t)(window >> bits);
        }
    }
    return len;
}

static const char *rule_in_clear(struct quipu_slice bytes)
{
    const char *rule = rule_of_block_marks(bytes);
    if (rule != NULL) {
        return rule;
    }
    if (holds_nats_seed(bytes)) {
        return "nats-seed";
    }
    if (holds_age_key(bytes)) {
        return "age-secret-key";
    }
    if (contains(bytes, "PuTTY-User-Key-File-")) {
        return "private-key-putty";
    }
    return is_der_key(bytes) ? "private-key-der" : NULL;
}

/* What the first three digits of base64 are where it hides one of the above: "---", "SO" to "SX",
 * "AGE", "PuT", and DER's 0x30. */
static bool may_decode_to_secret(const uint8_t *at)
{
    return (at[0] == 'L' && at[1] == 'S' && at[2] == '0') ||
           (at[0] == 'U' && (at[1] == '0' || at[1] == '1')) ||
           (at[0] == 'Q' && at[1] == 'U' && at[2] == 'd') ||
           (at[0] == 'U' && at[1] == 'H' && at[2] == 'V') || at[0] == 'M';
}

static const char *rule_in_base64(struct quipu_slice bytes)
{
    const char *rule = NULL;
    bool is_behind_digit = false;
    for (size_t i = 0; rule == NULL && i + SECRET_CHARS_MIN <= bytes.len; i++) {
        uint8_t c = bytes.data[i];
        /* '-' and '_' part words more often than they are digits. */
        bool is_digit = c != '-' && c != '_' && base64_value(c) >= 0;
        if (is_digit && !is_behind_digit && may_decode_to_secret(bytes.data + i)) {
            uint8_t decoded[DECODED_BYTES_MAX];
            size_t len = base64_begin(slice_from(bytes, bytes.data + i), decoded);
            rule = rule_in_clear(quipu_slice(decoded, len));
            sodium_memzero(decoded, sizeof decoded);
        }
        is_behind_digit = is_digit;
    }
    return rule;
}

const char *secret_guard_rule(struct quipu_slice bytes)
{
    if (bytes.len < SECRET_CHARS_MIN) {
        return NULL;
    }
    const char *rule = rule_in_clear(bytes);
    return rule != NULL ? rule : rule_in_base64(bytes);
}

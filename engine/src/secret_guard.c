/*
 * The guard against secret material in an append-only log. Each rule has a name, which the refusal
 * shows and documentation explains:
 *
 *   private-key-pem   "-----BEGIN … PRIVATE KEY-----" of any kind (RSA, EC, OPENSSH, ENCRYPTED,
 * PGP) and the "---- BEGIN … ----" form of SSH2 nats-creds        the marks of a .creds file:
 * "BEGIN NATS USER JWT", "BEGIN USER NKEY SEED" nats-seed         S, one of OAUNCX, and base32 up
 * to 58 characters with a valid checksum age-secret-key    "AGE-SECRET-KEY-1…" (and the "-PQ-1…"
 * kind)
 *
 * It finds what is there in clear and by mistake; it does not find what somebody hides.
 * Never copies or prints what it found.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "secret_guard.h"

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

const char *secret_guard_rule(struct quipu_slice bytes)
{
    if (bytes.len < SECRET_CHARS_MIN) {
        return NULL;
    }
    const char *rule = rule_of_block_marks(bytes);
    if (rule != NULL) {
        return rule;
    }
    if (holds_nats_seed(bytes)) {
        return "nats-seed";
    }
    return holds_age_key(bytes) ? "age-secret-key" : NULL;
}

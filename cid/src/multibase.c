/*
 * Multibase: the table of bases, the choice by prefix, and the bases whose characters stand for
 * whole bits (2, 8, 16, 32, 64; RFC 4648). Base 10, 36 and 58 are in multibase_radix.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/multibase.h"

#include <string.h>

#include "internal/bytes.h"
#include "multibase_parts.h"

enum base_kind { KIND_BITS, KIND_RADIX, KIND_EMOJI };

struct base_rule {
    const char *digits;
    enum base_kind kind;
    uint8_t bits;      /* a character stands for (KIND_BITS) */
    uint8_t pad_group; /* characters that padding fills up to; 0: no padding */
    bool is_caseless;  /* either case is read */
};

#define DIGITS_16       "0123456789abcdef"
#define DIGITS_16_UPPER "0123456789ABCDEF"
#define DIGITS_32       "abcdefghijklmnopqrstuvwxyz234567"
#define DIGITS_32_UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
#define DIGITS_HEX      "0123456789abcdefghijklmnopqrstuv"
#define DIGITS_HEX_UP   "0123456789ABCDEFGHIJKLMNOPQRSTUV"
#define DIGITS_32_Z     "ybndrfg8ejkmcpqxot1uwisza345h769"
#define DIGITS_36       "0123456789abcdefghijklmnopqrstuvwxyz"
#define DIGITS_36_UPPER "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS_BTC      "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
#define DIGITS_FLICKR   "123456789abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ"
#define DIGITS_64       "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
#define DIGITS_64_URL   "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

static const struct base_rule RULES[] = {
    [QUIPU_BASE_2] = {"01", KIND_BITS, 1, 0, false},
    [QUIPU_BASE_8] = {"01234567", KIND_BITS, 3, 0, false},
    [QUIPU_BASE_10] = {"0123456789", KIND_RADIX, 0, 0, false},
    [QUIPU_BASE_16] = {DIGITS_16, KIND_BITS, 4, 0, true},
    [QUIPU_BASE_16_UPPER] = {DIGITS_16_UPPER, KIND_BITS, 4, 0, true},
    [QUIPU_BASE_32] = {DIGITS_32, KIND_BITS, 5, 0, true},
    [QUIPU_BASE_32_UPPER] = {DIGITS_32_UPPER, KIND_BITS, 5, 0, true},
    [QUIPU_BASE_32_PAD] = {DIGITS_32, KIND_BITS, 5, 8, true},
    [QUIPU_BASE_32_PAD_UPPER] = {DIGITS_32_UPPER, KIND_BITS, 5, 8, true},
    [QUIPU_BASE_32_HEX] = {DIGITS_HEX, KIND_BITS, 5, 0, true},
    [QUIPU_BASE_32_HEX_UPPER] = {DIGITS_HEX_UP, KIND_BITS, 5, 0, true},
    [QUIPU_BASE_32_HEX_PAD] = {DIGITS_HEX, KIND_BITS, 5, 8, true},
    [QUIPU_BASE_32_HEX_PAD_UPPER] = {DIGITS_HEX_UP, KIND_BITS, 5, 8, true},
    [QUIPU_BASE_32_Z] = {DIGITS_32_Z, KIND_BITS, 5, 0, false},
    [QUIPU_BASE_36] = {DIGITS_36, KIND_RADIX, 0, 0, true},
    [QUIPU_BASE_36_UPPER] = {DIGITS_36_UPPER, KIND_RADIX, 0, 0, true},
    [QUIPU_BASE_58_BTC] = {DIGITS_BTC, KIND_RADIX, 0, 0, false},
    [QUIPU_BASE_58_FLICKR] = {DIGITS_FLICKR, KIND_RADIX, 0, 0, false},
    [QUIPU_BASE_64] = {DIGITS_64, KIND_BITS, 6, 0, false},
    [QUIPU_BASE_64_PAD] = {DIGITS_64, KIND_BITS, 6, 4, false},
    [QUIPU_BASE_64_URL] = {DIGITS_64_URL, KIND_BITS, 6, 0, false},
    [QUIPU_BASE_64_URL_PAD] = {DIGITS_64_URL, KIND_BITS, 6, 4, false},
    [QUIPU_BASE_256_EMOJI] = {NULL, KIND_EMOJI, 0, 0, false},
};

#define BASE_COUNT (sizeof RULES / sizeof RULES[0])

static const struct {
    const char *name;
    const char *prefix;
} NAMES[] = {
#define BASE_NAME(suffix, name, prefix) {name, prefix},
    QUIPU_BASE_MAP(BASE_NAME)
#undef BASE_NAME
};

_Static_assert(sizeof NAMES / sizeof NAMES[0] == BASE_COUNT, "each base has its rule");

const char *quipu_base_name(enum quipu_base base)
{
    return (size_t)base < BASE_COUNT ? NAMES[base].name : "unknown";
}

enum quipu_status quipu_base_find(struct quipu_slice name, enum quipu_base *out)
{
    for (size_t i = 0; i < BASE_COUNT; i++) {
        if (quipu_slice_equal(name, quipu_slice_text(NAMES[i].name))) {
            *out = (enum quipu_base)i;
            return QUIPU_OK;
        }
    }
    return QUIPU_NOT_FOUND;
}

void multibase_values(const char *digits, bool is_caseless, uint8_t values[256])
{
    memset(values, UINT8_MAX, 256);
    for (uint8_t i = 0; digits[i] != '\0'; i++) {
        uint8_t c = (uint8_t)digits[i];
        values[c] = i;
        bool is_letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
        if (is_caseless && is_letter) {
            values[c ^ 0x20] = i;
        }
    }
}

/* ------------------------------------------------------------------ bases of whole bits */

static enum quipu_status bits_encode(const struct base_rule *rule, struct quipu_slice bytes,
                                     struct quipu_buf *out)
{
    size_t total_bits;
    if (!quipu_mul_size(bytes.len, 8, &total_bits)) {
        return QUIPU_TOO_LARGE;
    }
    size_t chars = total_bits / rule->bits + (total_bits % rule->bits != 0);
    size_t pad = 0;
    if (rule->pad_group != 0 && chars % rule->pad_group != 0) {
        pad = rule->pad_group - chars % rule->pad_group;
    }
    uint8_t *into = quipu_buf_reserve(out, chars + pad);
    if (into == NULL) {
        return out->status;
    }

    uint32_t held = 0; /* the lowest `held_bits` are still to be written */
    unsigned held_bits = 0;
    size_t at = 0;
    uint32_t mask = (1u << rule->bits) - 1;
    for (size_t i = 0; i < bytes.len; i++) {
        held = held << 8 | bytes.data[i];
        held_bits += 8;
        while (held_bits >= rule->bits) {
            held_bits -= rule->bits;
            into[at++] = (uint8_t)rule->digits[held >> held_bits & mask];
        }
    }
    if (held_bits > 0) {
        into[at++] = (uint8_t)rule->digits[held << (rule->bits - held_bits) & mask];
    }
    memset(into + at, '=', pad);
    out->len += chars + pad;
    return QUIPU_OK;
}

/* The characters before the padding, or false where the padding is not as it must be. */
static bool strip_padding(const struct base_rule *rule, struct quipu_slice *text,
                          struct multibase_fault *fault)
{
    if (rule->pad_group == 0) {
        return true;
    }
    size_t len = text->len;
    while (len > 0 && text->data[len - 1] == '=') {
        len--;
    }
    /* Full groups only, and never a group of nothing but padding. */
    if (text->len % rule->pad_group != 0 || text->len - len >= rule->pad_group) {
        *fault = (struct multibase_fault){len, "wrong padding"};
        return false;
    }
    text->len = len;
    return true;
}

static enum quipu_status bits_decode(const struct base_rule *rule, struct quipu_slice text,
                                     struct quipu_buf *out, struct multibase_fault *fault)
{
    if (!strip_padding(rule, &text, fault)) {
        return QUIPU_MULTIBASE;
    }
    uint8_t *into = quipu_buf_reserve(out, text.len / 8 * rule->bits + rule->bits);
    if (into == NULL) {
        return out->status;
    }
    uint8_t values[256];
    multibase_values(rule->digits, rule->is_caseless, values);

    uint32_t held = 0;
    unsigned held_bits = 0;
    size_t at = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t value = values[text.data[i]];
        if (value == UINT8_MAX) {
            *fault = (struct multibase_fault){i, "character that is not of this base"};
            return QUIPU_MULTIBASE;
        }
        held = held << rule->bits | value;
        held_bits += rule->bits;
        if (held_bits >= 8) {
            held_bits -= 8;
            into[at++] = (uint8_t)(held >> held_bits);
        }
    }
    /* What is left over fills the last character up: less than one, and zero. Else two texts
     * would stand for the same bytes. */
    if (held_bits >= rule->bits) {
        *fault = (struct multibase_fault){text.len, "a character too many or too few"};
        return QUIPU_MULTIBASE;
    }
    if ((held & ((1u << held_bits) - 1)) != 0) {
        *fault = (struct multibase_fault){text.len - 1, "stray bits in the last character"};
        return QUIPU_MULTIBASE;
    }
    out->len += at;
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ the choice by prefix */

static enum quipu_status encode_text(const struct base_rule *rule, struct quipu_slice bytes,
                                     struct quipu_buf *out)
{
    switch (rule->kind) {
    case KIND_BITS:
        return bits_encode(rule, bytes, out);
    case KIND_RADIX:
        return multibase_radix_encode(rule->digits, (unsigned)strlen(rule->digits), bytes, out);
    case KIND_EMOJI:
        return multibase_emoji_encode(bytes, out);
    }
    return QUIPU_MISUSE;
}

enum quipu_status quipu_multibase_encode(enum quipu_base base, struct quipu_slice bytes,
                                         struct quipu_buf *out, struct quipu_error *err)
{
    if ((size_t)base >= BASE_COUNT) {
        return quipu_error_set(err, QUIPU_MISUSE, "no base has the number %d", (int)base);
    }
    size_t before = out->len;
    quipu_buf_append_text(out, NAMES[base].prefix);
    enum quipu_status status = out->status;
    if (status == QUIPU_OK) {
        status = encode_text(&RULES[base], bytes, out);
    }
    if (status != QUIPU_OK) {
        out->len = before;
        return quipu_error_set(err, status, "%zu bytes as %s: %s", bytes.len, NAMES[base].name,
                               quipu_status_text(status));
    }
    return QUIPU_OK;
}

/* The base whose prefix `text` begins with, or BASE_COUNT. */
static size_t base_of_prefix(struct quipu_slice text)
{
    for (size_t i = 0; i < BASE_COUNT; i++) {
        size_t len = strlen(NAMES[i].prefix);
        if (text.len >= len && memcmp(text.data, NAMES[i].prefix, len) == 0) {
            return i;
        }
    }
    return BASE_COUNT;
}

static enum quipu_status decode_text(const struct base_rule *rule, struct quipu_slice text,
                                     struct quipu_buf *out, struct multibase_fault *fault)
{
    switch (rule->kind) {
    case KIND_BITS:
        return bits_decode(rule, text, out, fault);
    case KIND_RADIX:
        return multibase_radix_decode(rule->digits, (unsigned)strlen(rule->digits),
                                      rule->is_caseless, text, out, fault);
    case KIND_EMOJI:
        return multibase_emoji_decode(text, out, fault);
    }
    return QUIPU_MISUSE;
}

enum quipu_status quipu_multibase_decode(struct quipu_slice text, enum quipu_base *base,
                                         struct quipu_buf *out, struct quipu_error *err)
{
    if (text.len == 0) {
        return quipu_error_set_at(err, QUIPU_MULTIBASE, 0, "multibase text is empty");
    }
    size_t found = base_of_prefix(text);
    if (found == BASE_COUNT) {
        return quipu_error_set_at(err, QUIPU_MULTIBASE, 0, "multibase prefix 0x%02x is not known",
                                  text.data[0]);
    }
    size_t prefix_len = strlen(NAMES[found].prefix);
    struct quipu_slice digits = quipu_slice(text.data + prefix_len, text.len - prefix_len);
    struct multibase_fault fault = {0, ""};
    enum quipu_status status = decode_text(&RULES[found], digits, out, &fault);
    if (status == QUIPU_MULTIBASE) {
        return quipu_error_set_at(err, status, prefix_len + fault.at, "%s text: %s",
                                  NAMES[found].name, fault.reason);
    }
    if (status != QUIPU_OK) {
        return quipu_error_set(err, status, "%zu characters of %s: %s", digits.len,
                               NAMES[found].name, quipu_status_text(status));
    }
    if (base != NULL) {
        *base = (enum quipu_base)found;
    }
    return QUIPU_OK;
}

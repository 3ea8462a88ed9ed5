/*
 * Multibase: every base against texts worked out by other means, strict reading, limits.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "no_memory.h"
#include "quipu/multibase.h"

/* "yes mani !", the multibase specification's own example. */
static const struct {
    enum quipu_base base;
    const char *name;
    const char *text;
} EXAMPLES[] = {
    {QUIPU_BASE_2, "base2",
     "001111001011001010111001100100000011011010110000101101110011010010010000000100001"},
    {QUIPU_BASE_8, "base8", "7362625631006654133464440102"},
    {QUIPU_BASE_10, "base10", "9573277761329450583662625"},
    {QUIPU_BASE_16, "base16", "f796573206d616e692021"},
    {QUIPU_BASE_16_UPPER, "base16upper", "F796573206D616E692021"},
    {QUIPU_BASE_32, "base32", "bpfsxgidnmfxgsibb"},
    {QUIPU_BASE_32_UPPER, "base32upper", "BPFSXGIDNMFXGSIBB"},
    {QUIPU_BASE_32_HEX, "base32hex", "vf5in683dc5n6i811"},
    {QUIPU_BASE_32_HEX_UPPER, "base32hexupper", "VF5IN683DC5N6I811"},
    {QUIPU_BASE_32_PAD, "base32pad", "cpfsxgidnmfxgsibb"},
    {QUIPU_BASE_32_PAD_UPPER, "base32padupper", "CPFSXGIDNMFXGSIBB"},
    {QUIPU_BASE_32_HEX_PAD, "base32hexpad", "tf5in683dc5n6i811"},
    {QUIPU_BASE_32_HEX_PAD_UPPER, "base32hexpadupper", "TF5IN683DC5N6I811"},
    {QUIPU_BASE_32_Z, "base32z", "hxf1zgedpcfzg1ebb"},
    {QUIPU_BASE_36, "base36", "k2lcpzo5yikidynfl"},
    {QUIPU_BASE_36_UPPER, "base36upper", "K2LCPZO5YIKIDYNFL"},
    {QUIPU_BASE_58_FLICKR, "base58flickr", "Z7Pznk19XTTzBtx"},
    {QUIPU_BASE_58_BTC, "base58btc", "z7paNL19xttacUY"},
    {QUIPU_BASE_64, "base64", "meWVzIG1hbmkgIQ"},
    {QUIPU_BASE_64_PAD, "base64pad", "MeWVzIG1hbmkgIQ=="},
    {QUIPU_BASE_64_URL, "base64url", "ueWVzIG1hbmkgIQ"},
    {QUIPU_BASE_64_URL_PAD, "base64urlpad", "UeWVzIG1hbmkgIQ=="},
    {QUIPU_BASE_256_EMOJI, "base256emoji", "🚀🏃✋🌈😅🌷🤤😻🌟😅👏"},
};

#define EXAMPLE_COUNT (sizeof EXAMPLES / sizeof EXAMPLES[0])

static enum quipu_status decode(const char *text, struct quipu_buf *out, struct quipu_error *err)
{
    return quipu_multibase_decode(quipu_slice_text(text), NULL, out, err);
}

Test(multibase, writes_and_reads_the_example_in_every_base)
{
    for (size_t i = 0; i < EXAMPLE_COUNT; i++) {
        struct quipu_buf text = QUIPU_BUF_INIT;
        struct quipu_buf bytes = QUIPU_BUF_INIT;
        enum quipu_base base = QUIPU_BASE_2;

        cr_assert_eq(
            quipu_multibase_encode(EXAMPLES[i].base, quipu_slice_text("yes mani !"), &text, NULL),
            QUIPU_OK);
        cr_assert(quipu_slice_equal(quipu_buf_slice(&text), quipu_slice_text(EXAMPLES[i].text)),
                  "%s: %.*s", EXAMPLES[i].name, (int)text.len, (const char *)text.data);
        cr_assert_eq(quipu_multibase_decode(quipu_buf_slice(&text), &base, &bytes, NULL), QUIPU_OK);
        cr_assert_eq(base, EXAMPLES[i].base);
        cr_assert(quipu_slice_equal(quipu_buf_slice(&bytes), quipu_slice_text("yes mani !")));
        quipu_buf_release(&text);
        quipu_buf_release(&bytes);
    }
}

Test(multibase, knows_each_base_by_name)
{
    enum quipu_base base;

    for (size_t i = 0; i < EXAMPLE_COUNT; i++) {
        cr_assert_str_eq(quipu_base_name(EXAMPLES[i].base), EXAMPLES[i].name);
        cr_assert_eq(quipu_base_find(quipu_slice_text(EXAMPLES[i].name), &base), QUIPU_OK);
        cr_assert_eq(base, EXAMPLES[i].base);
    }
    cr_assert_eq(quipu_base_find(quipu_slice_text("base33"), &base), QUIPU_NOT_FOUND);
    cr_assert_str_eq(quipu_base_name((enum quipu_base)EXAMPLE_COUNT), "unknown");
}

Test(multibase, reads_either_case_where_the_base_is_caseless)
{
    static const char *const texts[] = {
        "f68656c6c6f20776F726C64",   "F68656c6c6f20776F726C64",   "bnbswy3dpeB3W64TMMQ",
        "Bnbswy3dpeB3W64TMMQ",       "vd1imor3f41RMUSJCCG",       "Vd1imor3f41RMUSJCCG",
        "cnbswy3dpeB3W64TMMQ======", "Cnbswy3dpeB3W64TMMQ======", "td1imor3f41RMUSJCCG======",
        "Td1imor3f41RMUSJCCG======", "kfUvrsIvVnfRbjWaJo",        "KfUVrSIVVnFRbJWAJo",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct quipu_buf bytes = QUIPU_BUF_INIT;

        cr_assert_eq(decode(texts[i], &bytes, NULL), QUIPU_OK, "%s", texts[i]);
        cr_assert(quipu_slice_equal(quipu_buf_slice(&bytes), quipu_slice_text("hello world")));
        quipu_buf_release(&bytes);
    }
}

Test(multibase, round_trips_random_bytes_in_every_base)
{
    srandom(20261120);
    for (size_t round = 0; round < 4000; round++) {
        uint8_t raw[80];
        size_t len = (size_t)random() % sizeof raw;
        size_t zeros = (size_t)random() % 4;
        for (size_t i = 0; i < len; i++) {
            raw[i] = i < zeros ? 0 : (uint8_t)random();
        }
        enum quipu_base base = EXAMPLES[round % EXAMPLE_COUNT].base;
        struct quipu_buf text = QUIPU_BUF_INIT;
        struct quipu_buf bytes = QUIPU_BUF_INIT;

        cr_assert_eq(quipu_multibase_encode(base, quipu_slice(raw, len), &text, NULL), QUIPU_OK);
        cr_assert_eq(quipu_multibase_decode(quipu_buf_slice(&text), NULL, &bytes, NULL), QUIPU_OK);
        cr_assert(quipu_slice_equal(quipu_buf_slice(&bytes), quipu_slice(raw, len)));
        quipu_buf_release(&text);
        quipu_buf_release(&bytes);
    }
}

/* Whatever is accepted is, up to case, the one text of its bytes. */
Test(multibase, accepts_one_text_only_for_the_same_bytes)
{
    srandom(7);
    size_t accepted = 0;
    for (size_t round = 0; round < 200000; round++) {
        static const char digits[] =
            "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ=-_+/";
        static const char prefixes[] = "079fbcvthkzZmMuU";
        char text[16] = {prefixes[(size_t)random() % (sizeof prefixes - 1)]};
        size_t len = 1 + (size_t)random() % 9;
        size_t spread = random() % 2 == 0 ? 2 : sizeof digits - 1;
        for (size_t i = 1; i < len; i++) {
            text[i] = digits[(size_t)random() % spread];
        }
        struct quipu_buf bytes = QUIPU_BUF_INIT;
        struct quipu_buf again = QUIPU_BUF_INIT;
        enum quipu_base base;
        if (quipu_multibase_decode(quipu_slice(text, len), &base, &bytes, NULL) == QUIPU_OK) {
            accepted++;
            cr_assert_eq(quipu_multibase_encode(base, quipu_buf_slice(&bytes), &again, NULL),
                         QUIPU_OK);
            cr_assert_eq(again.len, len, "%s", text);
            cr_assert_eq(strncasecmp((const char *)again.data, text, len), 0, "%s", text);
        }
        quipu_buf_release(&bytes);
        quipu_buf_release(&again);
    }
    cr_assert_gt(accepted, 10000);
}

Test(multibase, reads_each_emoji_and_a_million_of_the_last_one)
{
    uint8_t all[256];
    struct quipu_buf text = QUIPU_BUF_INIT;
    struct quipu_buf bytes = QUIPU_BUF_INIT;
    for (unsigned i = 0; i < sizeof all; i++) {
        all[i] = (uint8_t)i;
    }
    cr_assert_eq(
        quipu_multibase_encode(QUIPU_BASE_256_EMOJI, quipu_slice(all, sizeof all), &text, NULL),
        QUIPU_OK);
    cr_assert_eq(quipu_multibase_decode(quipu_buf_slice(&text), NULL, &bytes, NULL), QUIPU_OK);
    cr_assert(quipu_slice_equal(quipu_buf_slice(&bytes), quipu_slice(all, sizeof all)));

    for (size_t i = 0; i < 1000000; i++) {
        quipu_buf_append_text(&text, "🥂");
    }
    quipu_buf_reset(&bytes);
    cr_assert_eq(quipu_multibase_decode(quipu_buf_slice(&text), NULL, &bytes, NULL), QUIPU_OK);
    cr_assert_eq(bytes.len, sizeof all + 1000000);
    cr_assert_eq(bytes.data[bytes.len - 1], 255);
    quipu_buf_release(&text);
    quipu_buf_release(&bytes);
}

Test(multibase, refuses_what_is_malformed_and_says_where)
{
    static const struct {
        const char *text;
        uint64_t offset;
    } cases[] = {
        {"", 0},             /* nothing */
        {"1abc", 0},         /* no such prefix */
        {"Qm", 0},           /* reserved */
        {"phakaj", 0},       /* proquint is not supported */
        {"\xf0\x9f\x9a", 0}, /* half an emoji */
        {"f0", 2},           /* half a byte */
        {"f0g", 2},          /* foreign character */
        {"f00 ", 3},         /* white space */
        {"0000000002", 9},   /* not a bit */
        {"00000000", 8},     /* seven bits */
        {"7001", 3},         /* nine bits, the last one stray */
        {"70000", 5},        /* twelve bits: a character too many */
        {"77", 2},           /* three bits */
        {"bab", 2},          /* stray bit */
        {"baaa", 4},         /* 15 bits: a character too many */
        {"ba", 2},           /* five bits */
        {"baa======", 3},    /* padding where there is none */
        {"ca", 2},           /* padding missing */
        {"caa=====", 3},     /* padding short */
        {"caa=======", 3},   /* padding long */
        {"c========", 1},    /* nothing but padding */
        {"caa=a====", 3},    /* padding inside */
        {"hYY", 1},          /* base32z has one case */
        {"z0", 1},           /* 0 is not of base58 */
        {"zl", 1},
        {"k_", 1},
        {"9a", 1},
        {"mAB", 2},   /* stray bits */
        {"mA", 2},    /* six bits */
        {"mAA==", 3}, /* padding where there is none */
        {"MAA", 3},   /* padding missing */
        {"MAAA==", 4},
        {"m_w", 1}, /* the other alphabet */
        {"u/w", 1},
        {"🚀🚀x", 8},
        {"🚀🚀\xf0\x9f\x9a", 8},    /* half an emoji behind a whole one */
        {"🚀🚀🧨", 8},      /* an emoji of no value */
        {"🚀\xf0\x82\x98\x84", 4}, /* one of three bytes, overlong in four */
        {"🚀\xf8\x9f\x9a\x80", 4}, /* the first byte is not of UTF-8 */
        {"🚀\xf0\x1f\x9a\x80", 4}, /* nor is the second */
        {"🚀\xf7\xbf\xbf\xbf", 4}, /* beyond every code point */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct quipu_buf bytes = QUIPU_BUF_INIT;
        struct quipu_error err = {0};
        quipu_buf_append_text(&bytes, "kept");

        cr_assert_eq(decode(cases[i].text, &bytes, &err), QUIPU_MULTIBASE, "%s", cases[i].text);
        cr_assert_eq(err.status, QUIPU_MULTIBASE);
        cr_assert_eq(err.offset, cases[i].offset, "%s: %s", cases[i].text, err.message);
        cr_assert(quipu_slice_equal(quipu_buf_slice(&bytes), quipu_slice_text("kept")));
        quipu_buf_release(&bytes);
    }
}

static void check_radix_limit(enum quipu_base base)
{
    static uint8_t raw[QUIPU_MULTIBASE_RADIX_MAX + 1];
    static char text[QUIPU_MULTIBASE_RADIX_MAX + 2];
    struct quipu_buf out = QUIPU_BUF_INIT;
    struct quipu_error err = {0};
    text[0] = base == QUIPU_BASE_10 ? '9' : base == QUIPU_BASE_36 ? 'k' : 'z';
    memset(text + 1, '2', sizeof text - 1);
    memset(raw, 0xff, sizeof raw);

    for (size_t over = 0; over < 3; over++) {
        size_t len = QUIPU_MULTIBASE_RADIX_MAX - 1 + over;
        enum quipu_status wanted = over < 2 ? QUIPU_OK : QUIPU_TOO_LARGE;
        quipu_buf_reset(&out);
        cr_assert_eq(quipu_multibase_encode(base, quipu_slice(raw, len), &out, &err), wanted);
        cr_assert(over < 2 || out.len == 0);
        quipu_buf_reset(&out);
        cr_assert_eq(quipu_multibase_decode(quipu_slice(text, len + 1), NULL, &out, &err), wanted);
        cr_assert(over < 2 || out.len == 0);
    }
    quipu_buf_release(&out);
}

Test(multibase, bounds_the_bases_whose_work_is_quadratic)
{
    check_radix_limit(QUIPU_BASE_10);
    check_radix_limit(QUIPU_BASE_36);
    check_radix_limit(QUIPU_BASE_58_BTC);
}

Test(multibase, says_when_a_fixed_buffer_is_full)
{
    char storage[8];
    for (size_t i = 0; i < EXAMPLE_COUNT; i++) {
        struct quipu_buf out;
        quipu_buf_init_fixed(&out, storage, sizeof storage);
        cr_assert_eq(
            quipu_multibase_encode(EXAMPLES[i].base, quipu_slice_text("yes mani !"), &out, NULL),
            QUIPU_TOO_LARGE);
        cr_assert_eq(out.len, 0);
        quipu_buf_init_fixed(&out, storage, 2);
        cr_assert_eq(decode(EXAMPLES[i].text, &out, NULL), QUIPU_TOO_LARGE);
        cr_assert_eq(out.len, 0);
    }
}

Test(multibase, refuses_lengths_beyond_reason_before_it_looks_at_a_byte)
{
    struct quipu_buf out = QUIPU_BUF_INIT;
    struct quipu_slice endless = quipu_slice("x", SIZE_MAX / 2);

    cr_assert_eq(quipu_multibase_encode(QUIPU_BASE_32, endless, &out, NULL), QUIPU_TOO_LARGE);
    cr_assert_eq(quipu_multibase_encode(QUIPU_BASE_256_EMOJI, endless, &out, NULL),
                 QUIPU_TOO_LARGE);
    cr_assert_eq(out.len, 0);
    quipu_buf_release(&out);
}

Test(multibase, refuses_a_base_that_does_not_exist)
{
    struct quipu_buf out = QUIPU_BUF_INIT;

    cr_assert_eq(quipu_multibase_encode((enum quipu_base)99, quipu_slice_text("a"), &out, NULL),
                 QUIPU_MISUSE);
    cr_assert_eq(out.len, 0);
}

Test(multibase, reports_that_memory_is_out)
{
    struct quipu_buf out = QUIPU_BUF_INIT;
    struct quipu_error err = {0};
    quipu_alloc_set(&no_memory);

    cr_assert_eq(quipu_multibase_encode(QUIPU_BASE_32, quipu_slice_text("a"), &out, &err),
                 QUIPU_NO_MEMORY);
    quipu_buf_reset(&out);
    cr_assert_eq(decode("bme", &out, &err), QUIPU_NO_MEMORY);
    cr_assert_eq(err.status, QUIPU_NO_MEMORY);
    quipu_alloc_set(NULL);
}

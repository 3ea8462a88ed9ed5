/*
 * CIDs as text: version 0, version 1 in any multibase, every refusal.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "no_memory.h"
#include "quipu/cid.h"
#include "quipu/multibase.h"
#include "quipu/text.h"

#define EMPTY_MAP_TEXT "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua"
#define V0_TEXT        "QmTFHZL5CkgNz19MdPnSuyLAi6AVq9fFp81zmPpaL2amED"

static enum quipu_status parse(const char *text, struct quipu_error *err)
{
    struct quipu_cid cid;
    return quipu_cid_parse(quipu_slice_text(text), &cid, err);
}

Test(cid_text, writes_and_reads_59_characters_of_base32)
{
    struct quipu_cid cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_slice("\xa0", 1));
    struct quipu_cid read;
    char text[QUIPU_CID_TEXT_BYTES];
    quipu_cid_format(&cid, text);

    cr_assert_str_eq(text, EMPTY_MAP_TEXT);
    cr_assert_eq(quipu_cid_parse(quipu_slice_text(text), &read, NULL), QUIPU_OK);
    cr_assert(quipu_cid_equal(&cid, &read));
}

Test(cid_text, agrees_with_multibase_on_random_cids_in_every_base)
{
    srandom(3);
    for (uint64_t i = 0; i < 2300; i++) {
        uint8_t codec = i % 2 == 0 ? QUIPU_CODEC_RAW : QUIPU_CODEC_DAG_CBOR;
        struct quipu_cid cid = quipu_cid_of(codec, quipu_slice(&i, sizeof i));
        uint8_t bytes[QUIPU_CID_BYTES];
        char text[QUIPU_CID_TEXT_BYTES];
        struct quipu_buf other = QUIPU_BUF_INIT;
        struct quipu_cid read;
        quipu_cid_to_bytes(&cid, bytes);
        quipu_cid_format(&cid, text);

        cr_assert_eq(
            quipu_multibase_encode(QUIPU_BASE_32, quipu_slice(bytes, sizeof bytes), &other, NULL),
            QUIPU_OK);
        cr_assert(quipu_slice_equal(quipu_buf_slice(&other), quipu_slice_text(text)));
        quipu_buf_reset(&other);
        enum quipu_base base = (enum quipu_base)(i % (QUIPU_BASE_256_EMOJI + 1));
        cr_assert_eq(quipu_multibase_encode(base, quipu_slice(bytes, sizeof bytes), &other, NULL),
                     QUIPU_OK);
        cr_assert_eq(quipu_cid_parse(quipu_buf_slice(&other), &read, NULL), QUIPU_OK, "%s",
                     quipu_base_name(base));
        cr_assert(quipu_cid_equal(&cid, &read));
        quipu_buf_release(&other);
    }
}

Test(cid_text, reads_version_0_as_a_view_and_writes_it_back)
{
    struct quipu_buf storage = QUIPU_BUF_INIT;
    struct quipu_buf text = QUIPU_BUF_INIT;
    struct quipu_cid_view view;

    cr_assert_eq(quipu_cid_view_parse(quipu_slice_text(V0_TEXT), &storage, &view, NULL), QUIPU_OK);
    cr_assert_eq(view.version, 0);
    cr_assert_eq(view.codec, QUIPU_CODEC_DAG_PB);
    quipu_cid_view_format(&view, &text);
    cr_assert(quipu_slice_equal(quipu_buf_slice(&text), quipu_slice_text(V0_TEXT)));
    cr_assert_eq(parse(V0_TEXT, NULL), QUIPU_CID_PROFILE);
    quipu_buf_release(&storage);
    quipu_buf_release(&text);
}

Test(cid_text, appends_views_and_texts_behind_what_is_there)
{
    struct quipu_buf storage = QUIPU_BUF_INIT;
    struct quipu_buf text = QUIPU_BUF_INIT;
    struct quipu_cid_view view;
    quipu_buf_append_text(&storage, "before");
    quipu_buf_append_text(&text, "cid ");

    cr_assert_eq(quipu_cid_view_parse(quipu_slice_text(EMPTY_MAP_TEXT), &storage, &view, NULL),
                 QUIPU_OK);
    cr_assert_eq(storage.len, 6 + QUIPU_CID_BYTES);
    cr_assert_eq(view.bytes.data, storage.data + 6);
    quipu_cid_view_format(&view, &text);
    cr_assert(quipu_slice_equal(quipu_buf_slice(&text), quipu_slice_text("cid " EMPTY_MAP_TEXT)));
    quipu_buf_release(&storage);
    quipu_buf_release(&text);
}

Test(cid_text, refuses_what_is_no_cid)
{
    static const struct {
        const char *text;
        enum quipu_status status;
    } cases[] = {
        {"", QUIPU_MULTIBASE},
        {"Q", QUIPU_MULTIBASE},
        {"b", QUIPU_CID},
        {"cid:" EMPTY_MAP_TEXT, QUIPU_MULTIBASE},
        {EMPTY_MAP_TEXT " ", QUIPU_MULTIBASE},
        {" " EMPTY_MAP_TEXT, QUIPU_MULTIBASE},
        {"bafy reigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua", QUIPU_MULTIBASE},
        {EMPTY_MAP_TEXT "a", QUIPU_MULTIBASE}, /* a character too many */
        {EMPTY_MAP_TEXT "aa", QUIPU_CID},      /* a byte behind the CID */
        {"bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swub", QUIPU_MULTIBASE},
        {"f01711220c19a797f", QUIPU_MULTIHASH},
        {"bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swu", QUIPU_MULTIBASE},
        {"QmTFHZL5CkgNz19MdPnSuyLAi6AVq9fFp81zmPpaL2amE0", QUIPU_MULTIBASE},
        {"QmTFHZL5CkgNz19MdPnSuyLAi6AVq9fFp81zmPpaL2amE", QUIPU_MULTIBASE}, /* 45 characters */
        {"Qmzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", QUIPU_CID},
        {"z" V0_TEXT, QUIPU_CID}, /* version 0 under a prefix */
        {"f122048ea9d5d423f678d83d559d2349be8325527290b070c90fc1acd968f0bf70a80", QUIPU_CID},
        {"12D3KooWRQyPmTLSM2kcHM4zpJaX8jzG6SSPgWZ1oFn1Mq5uX9YD", QUIPU_MULTIBASE},
        {"f0155", QUIPU_VARINT},
        {"f80", QUIPU_VARINT},
        {"f0255", QUIPU_CID},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct quipu_buf storage = QUIPU_BUF_INIT;
        struct quipu_cid_view view;
        struct quipu_error err = {0};

        cr_assert_eq(parse(cases[i].text, &err), cases[i].status, "%s: %s", cases[i].text,
                     err.message);
        cr_assert_eq(err.status, cases[i].status);
        cr_assert_eq(quipu_cid_view_parse(quipu_slice_text(cases[i].text), &storage, &view, &err),
                     cases[i].status);
        cr_assert_eq(storage.len, 0);
        cr_assert_leq(err.offset, strlen(cases[i].text), "%s: no place in it", cases[i].text);
        quipu_buf_release(&storage);
    }
}

Test(cid_text, refuses_each_cut_and_each_foreign_character)
{
    for (size_t i = 0; i < strlen(EMPTY_MAP_TEXT); i++) {
        char text[] = EMPTY_MAP_TEXT;
        struct quipu_cid cid;

        cr_assert_neq(quipu_cid_parse(quipu_slice(text, i), &cid, NULL), QUIPU_OK);
        text[i] = '1';
        cr_assert_eq(quipu_cid_parse(quipu_slice_text(text), &cid, NULL), QUIPU_MULTIBASE);
    }
}

Test(cid_text, of_another_profile_is_told_from_malformed)
{
    cr_assert_eq(parse("bafkr4ihkr4ld3m4gqkjf4reryxsy2s5tkbxprqkow6fin2iiyvreuzzab4", NULL),
                 QUIPU_CID_PROFILE);
    cr_assert_eq(parse("bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi", NULL),
                 QUIPU_CID_PROFILE);
}

Test(cid_text, long_texts_are_read_and_bounded)
{
    struct quipu_buf text = QUIPU_BUF_INIT;
    static uint8_t zeros[5000];
    struct quipu_buf bytes = QUIPU_BUF_INIT;
    quipu_buf_append(&bytes, "\x01\x55\x00\x88\x27", 5); /* an identity CID of 5,000 bytes */
    quipu_buf_append(&bytes, zeros, sizeof zeros);
    cr_assert_eq(quipu_multibase_encode(QUIPU_BASE_64, quipu_buf_slice(&bytes), &text, NULL),
                 QUIPU_OK);
    struct quipu_cid cid;

    cr_assert_eq(quipu_cid_parse(quipu_buf_slice(&text), &cid, NULL), QUIPU_CID_PROFILE);
    memset(text.data, '1', text.len);
    text.data[0] = 'z';
    cr_assert_eq(quipu_cid_parse(quipu_buf_slice(&text), &cid, NULL), QUIPU_TOO_LARGE);
    quipu_buf_release(&text);
    quipu_buf_release(&bytes);
}

Test(cid_text, needs_no_memory_for_its_own_form_and_reports_its_lack_for_others)
{
    struct quipu_buf storage = QUIPU_BUF_INIT;
    struct quipu_cid_view view;
    struct quipu_cid cid;
    char text[600];
    memset(text, '0', sizeof text);
    quipu_alloc_set(&no_memory);

    cr_assert_eq(quipu_cid_parse(quipu_slice_text(EMPTY_MAP_TEXT), &cid, NULL), QUIPU_OK);
    cr_assert_eq(quipu_cid_parse(quipu_slice(text, sizeof text), &cid, NULL), QUIPU_NO_MEMORY);
    cr_assert_eq(quipu_cid_view_parse(quipu_slice_text(V0_TEXT), &storage, &view, NULL),
                 QUIPU_NO_MEMORY);
    quipu_buf_reset(&storage);
    view = (struct quipu_cid_view){.version = 1, .bytes = quipu_slice(text, 36)};
    quipu_cid_view_format(&view, &storage);
    cr_assert_eq(storage.status, QUIPU_NO_MEMORY);
    cr_assert_eq(storage.len, 0);
    quipu_alloc_set(NULL);
}

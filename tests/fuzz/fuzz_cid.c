/*
 * Property: a CID, a multihash and a varint stand for the same bytes again; text of a CID and of
 * multibase comes back, letter for letter where the base tells the cases apart.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "fuzz.h"
#include "quipu/cid.h"
#include "quipu/multibase.h"
#include "quipu/multihash.h"
#include "quipu/varint.h"

/* The canonical text of a CID reads back to its bytes, and narrowing agrees with parsing. */
static void check_view(const struct quipu_cid_view *view)
{
    struct quipu_buf text = QUIPU_BUF_INIT;
    struct quipu_buf storage = QUIPU_BUF_INIT;
    struct quipu_cid_view back;
    quipu_cid_view_format(view, &text);
    if (text.status == QUIPU_OK) {
        FUZZ_REQUIRE(quipu_cid_view_parse(quipu_buf_slice(&text), &storage, &back, NULL) ==
                     QUIPU_OK);
        FUZZ_REQUIRE(quipu_slice_equal(back.bytes, view->bytes));
        FUZZ_REQUIRE(back.version == view->version && back.codec == view->codec &&
                     back.hash == view->hash);

        struct quipu_cid narrowed;
        struct quipu_cid parsed;
        enum quipu_status status = quipu_cid_from_view(view, &narrowed, NULL);
        FUZZ_REQUIRE(quipu_cid_parse(quipu_buf_slice(&text), &parsed, NULL) == status);
        if (status == QUIPU_OK) {
            char own[QUIPU_CID_TEXT_BYTES];
            uint8_t bytes[QUIPU_CID_BYTES];
            quipu_cid_format(&narrowed, own);
            quipu_cid_to_bytes(&narrowed, bytes);
            FUZZ_REQUIRE(quipu_cid_equal(&narrowed, &parsed));
            FUZZ_REQUIRE(quipu_slice_equal(quipu_slice_text(own), quipu_buf_slice(&text)));
            FUZZ_REQUIRE(quipu_slice_equal(quipu_slice(bytes, sizeof bytes), view->bytes));
        }
    }
    enum quipu_status verified = quipu_cid_view_verify(view, view->digest, NULL);
    FUZZ_REQUIRE(verified == QUIPU_OK || verified == QUIPU_CID_MISMATCH ||
                 verified == QUIPU_CID_UNVERIFIABLE);
    quipu_buf_release(&text);
    quipu_buf_release(&storage);
}

static void check_bytes(struct quipu_slice input)
{
    struct quipu_slice rest = input;
    struct quipu_cid_view view;
    struct quipu_error err = {.offset = 0};
    enum quipu_status status = quipu_cid_view_take(&rest, &view, &err);
    if (status == QUIPU_OK) {
        FUZZ_REQUIRE(view.bytes.data == input.data && view.bytes.len + rest.len == input.len);
        check_view(&view);
    } else {
        FUZZ_REQUIRE(rest.data == input.data && rest.len == input.len);
        FUZZ_REQUIRE(err.status == status && err.offset <= input.len);
    }

    uint64_t value;
    rest = input;
    if (quipu_varint_take(&rest, &value, NULL) == QUIPU_OK) {
        uint8_t encoded[QUIPU_VARINT_BYTES];
        size_t len = quipu_varint_encode(value, encoded);
        FUZZ_REQUIRE(quipu_slice_equal(quipu_slice(encoded, len),
                                       quipu_slice(input.data, input.len - rest.len)));
    }

    struct quipu_multihash hash;
    rest = input;
    if (quipu_multihash_take(&rest, &hash, NULL) == QUIPU_OK) {
        struct quipu_buf again = QUIPU_BUF_INIT;
        quipu_varint_append(&again, hash.code);
        quipu_varint_append(&again, hash.digest.len);
        quipu_buf_append_slice(&again, hash.digest);
        FUZZ_REQUIRE(quipu_slice_equal(quipu_buf_slice(&again),
                                       quipu_slice(input.data, input.len - rest.len)));
        quipu_buf_release(&again);
    }
}

/* Are capital and small letters different digits of this base? */
static int tells_cases_apart(enum quipu_base base)
{
    return base >= QUIPU_BASE_58_BTC || base == QUIPU_BASE_2 || base == QUIPU_BASE_8 ||
           base == QUIPU_BASE_10 || base == QUIPU_BASE_32_Z;
}

static void check_text(struct quipu_slice input)
{
    struct quipu_buf bytes = QUIPU_BUF_INIT;
    struct quipu_buf text = QUIPU_BUF_INIT;
    struct quipu_buf back = QUIPU_BUF_INIT;
    enum quipu_base base;
    if (quipu_multibase_decode(input, &base, &bytes, NULL) == QUIPU_OK) {
        FUZZ_REQUIRE(quipu_multibase_encode(base, quipu_buf_slice(&bytes), &text, NULL) ==
                     QUIPU_OK);
        FUZZ_REQUIRE(text.len == input.len);
        FUZZ_REQUIRE(!tells_cases_apart(base) || quipu_slice_equal(quipu_buf_slice(&text), input));
        FUZZ_REQUIRE(quipu_multibase_decode(quipu_buf_slice(&text), NULL, &back, NULL) == QUIPU_OK);
        FUZZ_REQUIRE(quipu_slice_equal(quipu_buf_slice(&back), quipu_buf_slice(&bytes)));
    } else {
        FUZZ_REQUIRE(bytes.len == 0);
    }

    quipu_buf_reset(&bytes);
    struct quipu_cid_view view;
    struct quipu_cid cid;
    enum quipu_status status = quipu_cid_view_parse(input, &bytes, &view, NULL);
    if (status == QUIPU_OK) {
        FUZZ_REQUIRE(quipu_slice_equal(view.bytes, quipu_buf_slice(&bytes)));
        check_view(&view);
        status = quipu_cid_from_view(&view, &cid, NULL);
    }
    enum quipu_status parsed = quipu_cid_parse(input, &cid, NULL);
    FUZZ_REQUIRE((parsed == QUIPU_OK) == (status == QUIPU_OK));

    quipu_buf_release(&bytes);
    quipu_buf_release(&text);
    quipu_buf_release(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_bytes(quipu_slice(data, size));
    check_text(quipu_slice(data, size));
    return 0;
}

/*
 * Property: what is read is strict DAG-CBOR, its text is canonical, and both come back the same
 * from then on. jansson, an independent strict reader, agrees on what is JSON and what is not.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <jansson.h>
#include <string.h>

#include "fuzz.h"
#include "quipu/dagcbor.h"
#include "quipu/dagjson.h"

static void check_round_trip(struct quipu_slice cbor)
{
    struct quipu_buf text = QUIPU_BUF_INIT;
    struct quipu_buf back = QUIPU_BUF_INIT;
    struct quipu_buf text_again = QUIPU_BUF_INIT;
    FUZZ_REQUIRE(quipu_dagcbor_validate(cbor, NULL) == QUIPU_OK);
    FUZZ_REQUIRE(quipu_dagjson_from_dagcbor(cbor, &text, NULL) == QUIPU_OK);
    FUZZ_REQUIRE(quipu_dagjson_to_dagcbor(quipu_buf_slice(&text), &back, NULL) == QUIPU_OK);
    FUZZ_REQUIRE(quipu_slice_equal(quipu_buf_slice(&back), cbor));
    FUZZ_REQUIRE(quipu_dagjson_from_dagcbor(quipu_buf_slice(&back), &text_again, NULL) == QUIPU_OK);
    FUZZ_REQUIRE(quipu_slice_equal(quipu_buf_slice(&text_again), quipu_buf_slice(&text)));
    quipu_buf_release(&text);
    quipu_buf_release(&back);
    quipu_buf_release(&text_again);
}

/* jansson keeps 64-bit signed integers only, no NUL in keys, nests less deep than a long list can,
 * and takes a bare NUL behind the value for the end; on all else it must agree. */
static void check_against_jansson(struct quipu_slice text, enum quipu_status status)
{
    json_error_t error = {.text = ""};
    json_t *json = json_loadb((const char *)text.data, text.len,
                              JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (json != NULL) {
        FUZZ_REQUIRE(status != QUIPU_JSON || memchr(text.data, 0, text.len) != NULL);
    } else {
        enum json_error_code code = json_error_code(&error);
        FUZZ_REQUIRE(status != QUIPU_OK || code == json_error_numeric_overflow ||
                     code == json_error_null_byte_in_key || code == json_error_stack_overflow);
    }
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct quipu_slice text = quipu_slice(data, size);
    struct quipu_buf cbor = QUIPU_BUF_INIT;
    struct quipu_error err = {.offset = 0};
    enum quipu_status status = quipu_dagjson_to_dagcbor(text, &cbor, &err);
    if (status == QUIPU_OK) {
        check_round_trip(quipu_buf_slice(&cbor));
    } else {
        FUZZ_REQUIRE(status == QUIPU_JSON || status == QUIPU_DAGJSON ||
                     status == QUIPU_CBOR_DEPTH || status == QUIPU_CBOR_FLOAT_NOT_FINITE);
        FUZZ_REQUIRE(err.status == status && err.offset <= size);
        FUZZ_REQUIRE(cbor.len == 0);
    }
    if (size > 0) {
        check_against_jansson(text, status);
    }
    quipu_buf_reset(&cbor);
    quipu_json_append_string(&cbor, text);
    struct quipu_buf item = QUIPU_BUF_INIT;
    FUZZ_REQUIRE(quipu_dagjson_to_dagcbor(quipu_buf_slice(&cbor), &item, NULL) == QUIPU_OK);
    quipu_buf_release(&item);
    quipu_buf_release(&cbor);
    return 0;
}

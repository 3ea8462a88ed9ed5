/*
 * Property: what the strict reader accepts, the writer writes again byte for byte; every way of
 * reading gives the same verdict; and DAG-JSON brings the block back unless it says that it cannot.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "fuzz.h"
#include "quipu/dagjson.h"
#include "recode.h"

static void check_json(struct quipu_slice block)
{
    struct quipu_buf json = QUIPU_BUF_INIT;
    struct quipu_buf back = QUIPU_BUF_INIT;
    struct quipu_error err;
    enum quipu_status status = quipu_dagjson_from_dagcbor(block, &json, &err);
    if (status == QUIPU_OK) {
        FUZZ_REQUIRE(quipu_dagjson_to_dagcbor(quipu_buf_slice(&json), &back, &err) == QUIPU_OK);
        FUZZ_REQUIRE(quipu_slice_equal(quipu_buf_slice(&back), block));
    } else {
        FUZZ_REQUIRE(status == QUIPU_DAGJSON);
    }
    struct quipu_error other = {.offset = 0};
    FUZZ_REQUIRE(quipu_dagjson_check(block, QUIPU_DAGCBOR_DEPTH_DEFAULT, &other) == status);
    FUZZ_REQUIRE(status == QUIPU_OK || other.offset == err.offset);
    quipu_buf_release(&json);
    quipu_buf_release(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct quipu_slice block = quipu_slice(data, size);
    struct quipu_buf again = QUIPU_BUF_INIT;
    struct quipu_error err = {.offset = 0};
    enum quipu_status status = recode_dagcbor(block, &again, NULL, NULL, &err);

    struct quipu_error other = {.offset = 0};
    FUZZ_REQUIRE(quipu_dagcbor_validate(block, &other) == status);
    struct quipu_dagcbor_reader reader;
    struct quipu_slice whole;
    quipu_dagcbor_reader_init(&reader, block);
    enum quipu_status whole_status = quipu_dagcbor_next_whole(&reader, &whole, NULL);
    struct quipu_slice value;
    enum quipu_status found = quipu_dagcbor_map_get(block, "a", &value, NULL);

    if (status == QUIPU_OK) {
        FUZZ_REQUIRE(quipu_slice_equal(quipu_buf_slice(&again), block));
        FUZZ_REQUIRE(whole_status == QUIPU_OK && quipu_slice_equal(whole, block));
        FUZZ_REQUIRE(found == QUIPU_OK || found == QUIPU_NOT_FOUND || found == QUIPU_CBOR_KIND);
        FUZZ_REQUIRE(found != QUIPU_OK || quipu_dagcbor_validate(value, NULL) == QUIPU_OK);
        check_json(block);
    } else {
        FUZZ_REQUIRE(status >= QUIPU_CBOR_TRUNCATED && status <= QUIPU_CID_UNVERIFIABLE);
        FUZZ_REQUIRE(err.status == status && err.offset <= size);
        FUZZ_REQUIRE(other.offset == err.offset);
        FUZZ_REQUIRE(again.len == 0 || again.len <= size);
    }
    quipu_buf_release(&again);
    return 0;
}

/*
 * Properties: a registry of event types, or the row of a snapshot, that is accepted is, byte for
 * byte, what quipu would write of it; a refusal says which rule, with or without a place for the
 * detail. And checking an event against any registry ends, says OK, TYPE or a rule of DAG-CBOR, and
 * says the same each time.
 *
 * The input is a row, or a registry and a payload with the length of the first in front.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "fuzz.h"
#include "quipu/engine.h"
#include "quipu/types.h"
#include "snapshot.h"

static bool is_cbor(enum quipu_status status)
{
    return status >= QUIPU_CBOR_TRUNCATED && status <= QUIPU_CBOR_INCOMPLETE;
}

static void check_events(const struct quipu_types *types, struct quipu_slice payload)
{
    for (size_t i = 0; i < quipu_types_count(types); i++) {
        const struct quipu_type *type = quipu_types_at(types, i);
        const struct quipu_event event = {
            .type = type->name,
            .aggregate = {.type = type->aggregate_type},
            .payload = payload,
            .schema = type->schema,
        };
        struct quipu_error err = {.offset = 0};
        enum quipu_status status = quipu_types_check(types, &event, &err);
        FUZZ_REQUIRE(status == QUIPU_OK || status == QUIPU_TYPE || is_cbor(status));
        FUZZ_REQUIRE(quipu_types_check(types, &event, NULL) == status);
        FUZZ_REQUIRE(status == QUIPU_OK || (err.status == status && err.message[0] != 0));
        FUZZ_REQUIRE(status == QUIPU_OK || strlen(err.message) < QUIPU_ERROR_MESSAGE_BYTES);
        FUZZ_REQUIRE(quipu_types_find(types, quipu_slice_text(type->name), type->schema) == type);
    }
}

static void check_registry(struct quipu_slice block, struct quipu_slice payload)
{
    struct quipu_types *types = NULL;
    struct quipu_types *other = NULL;
    struct quipu_error err = {.offset = 0};
    enum quipu_status status = quipu_types_decode(block, &types, &err);
    FUZZ_REQUIRE(quipu_types_decode(block, &other, NULL) == status);
    if (status != QUIPU_OK) {
        FUZZ_REQUIRE(err.status == status);
        FUZZ_REQUIRE(status == QUIPU_INVALID || status == QUIPU_FORMAT_NEWER ||
                     status == QUIPU_TOO_LARGE || is_cbor(status));
        return;
    }
    struct quipu_buf again = QUIPU_BUF_INIT;
    FUZZ_REQUIRE(quipu_types_encode(types, &again, NULL) == QUIPU_OK);
    FUZZ_REQUIRE(quipu_slice_equal(quipu_buf_slice(&again), block));
    check_events(types, payload);
    /* Every declaration that can be read can be declared, and is the same then. */
    FUZZ_REQUIRE(quipu_types_merge(types, other, NULL) == QUIPU_OK);
    quipu_buf_reset(&again);
    FUZZ_REQUIRE(quipu_types_encode(types, &again, NULL) == QUIPU_OK);
    FUZZ_REQUIRE(quipu_slice_equal(quipu_buf_slice(&again), block));
    quipu_buf_release(&again);
    quipu_types_free(types);
    quipu_types_free(other);
}

static void check_row(struct quipu_slice value)
{
    struct snapshot_row row;
    struct snapshot_row other;
    struct quipu_error err = {.offset = 0};
    enum quipu_status status = snapshot_row_decode(value, &row, &err);
    FUZZ_REQUIRE(snapshot_row_decode(value, &other, NULL) == status);
    if (status != QUIPU_OK) {
        FUZZ_REQUIRE(err.status == status);
        FUZZ_REQUIRE(status == QUIPU_CORRUPT || status == QUIPU_FORMAT_NEWER ||
                     status == QUIPU_CID_PROFILE || is_cbor(status));
        return;
    }
    struct quipu_buf again = QUIPU_BUF_INIT;
    FUZZ_REQUIRE(snapshot_row_encode(&row, &again, NULL) == QUIPU_OK);
    FUZZ_REQUIRE(quipu_slice_equal(quipu_buf_slice(&again), value));
    quipu_buf_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_row(quipu_slice(data, size));
    if (size < 2) {
        return 0;
    }
    size_t first = (size_t)data[0] << 8 | data[1];
    first = first < size - 2 ? first : size - 2;
    check_registry(quipu_slice(data + 2, first), quipu_slice(data + 2 + first, size - 2 - first));
    return 0;
}

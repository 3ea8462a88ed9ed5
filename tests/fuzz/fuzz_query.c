/*
 * Property: a request that is accepted has one form; writing it gives that form, which reads back
 * to the same form again and says what was read. A refusal says which rule, with or without a place
 * for the detail.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "fuzz.h"
#include "quipu/dagcbor.h"
#include "quipu/query.h"

static void check_refusal(enum quipu_status status, enum quipu_status quiet,
                          const struct quipu_error *err, size_t size)
{
    FUZZ_REQUIRE(status == quiet && err->status == status);
    FUZZ_REQUIRE(status == QUIPU_INVALID || status == QUIPU_FORMAT_NEWER ||
                 status == QUIPU_TOO_LARGE ||
                 (status >= QUIPU_CBOR_TRUNCATED && status <= QUIPU_CBOR_INCOMPLETE));
    FUZZ_REQUIRE(err->offset == QUIPU_ERROR_NO_OFFSET || err->offset <= size);
}

/* What was given says the same. */
static void check_same(const struct quipu_query *a, const struct quipu_query *b)
{
    FUZZ_REQUIRE(a->kind == b->kind && a->limit == b->limit && a->position == b->position);
    FUZZ_REQUIRE(a->after == b->after && a->since == b->since && a->until == b->until);
    FUZZ_REQUIRE(a->from_version == b->from_version && a->has_cid == b->has_cid);
    FUZZ_REQUIRE(a->is_newest_first == b->is_newest_first);
    FUZZ_REQUIRE(!a->has_cid || quipu_cid_equal(&a->cid, &b->cid));
    FUZZ_REQUIRE(quipu_uuid_equal(a->event_id, b->event_id));
    FUZZ_REQUIRE(quipu_uuid_equal(a->correlation_id, b->correlation_id));
    FUZZ_REQUIRE(quipu_slice_equal(a->projection, b->projection));
    FUZZ_REQUIRE(quipu_slice_equal(a->key, b->key) && quipu_slice_equal(a->prefix, b->prefix));
    FUZZ_REQUIRE(quipu_slice_equal(a->after_key, b->after_key));
    FUZZ_REQUIRE(quipu_slice_equal(a->event_type, b->event_type));
    FUZZ_REQUIRE(quipu_slice_equal(a->aggregate_type, b->aggregate_type));
    FUZZ_REQUIRE(quipu_slice_equal(a->aggregate_id, b->aggregate_id));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct quipu_slice request = quipu_slice(data, size);
    struct quipu_error err = {.offset = 0};
    struct quipu_query query;
    struct quipu_query again;
    enum quipu_status status = quipu_query_decode(request, &query, &err);
    enum quipu_status quiet = quipu_query_decode(request, &again, NULL);
    if (status != QUIPU_OK) {
        check_refusal(status, quiet, &err, size);
        return 0;
    }
    FUZZ_REQUIRE(quiet == QUIPU_OK);
    FUZZ_REQUIRE(quipu_dagcbor_validate(request, NULL) == QUIPU_OK);
    struct quipu_buf once = QUIPU_BUF_INIT;
    struct quipu_buf twice = QUIPU_BUF_INIT;
    FUZZ_REQUIRE(quipu_query_encode(&query, &once, NULL) == QUIPU_OK);
    FUZZ_REQUIRE(quipu_query_decode(quipu_buf_slice(&once), &again, NULL) == QUIPU_OK);
    check_same(&query, &again);
    FUZZ_REQUIRE(quipu_query_encode(&again, &twice, NULL) == QUIPU_OK);
    FUZZ_REQUIRE(quipu_slice_equal(quipu_buf_slice(&once), quipu_buf_slice(&twice)));
    quipu_buf_release(&once);
    quipu_buf_release(&twice);
    return 0;
}

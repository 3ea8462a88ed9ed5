/*
 * Property: a root, a manifest or a chunk of a bundle that is accepted is, byte for byte, what
 * quipu would write of it; a refusal says which rule, with or without a place for the detail.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "bundle_manifest.h"
#include "fuzz.h"
#include "quipu/dagcbor.h"

static void check_refusal(enum quipu_status status, enum quipu_status other,
                          const struct quipu_error *err, size_t size)
{
    FUZZ_REQUIRE(status == other && err->status == status);
    FUZZ_REQUIRE(status == QUIPU_BUNDLE || status == QUIPU_FORMAT_NEWER ||
                 status == QUIPU_CID_PROFILE ||
                 (status >= QUIPU_CBOR_TRUNCATED && status <= QUIPU_CBOR_INCOMPLETE));
    FUZZ_REQUIRE(err->offset == QUIPU_ERROR_NO_OFFSET || err->offset <= size);
}

static void check_manifest(struct quipu_slice block, struct quipu_buf *again)
{
    struct quipu_bundle_manifest manifest;
    struct quipu_bundle_manifest other;
    struct quipu_error err = {.offset = 0};
    enum quipu_status status = quipu_bundle_manifest_decode(block, &manifest, &err);
    enum quipu_status quiet = quipu_bundle_manifest_decode(block, &other, NULL);
    if (quiet == QUIPU_OK) {
        quipu_bundle_manifest_release(&other);
    }
    if (status != QUIPU_OK) {
        check_refusal(status, quiet, &err, block.len);
        return;
    }
    quipu_buf_reset(again);
    FUZZ_REQUIRE(quiet == QUIPU_OK);
    FUZZ_REQUIRE(quipu_bundle_manifest_encode(&manifest, again, NULL) == QUIPU_OK);
    FUZZ_REQUIRE(quipu_slice_equal(quipu_buf_slice(again), block));
    FUZZ_REQUIRE(manifest.links.len / QUIPU_SHA256_BYTES ==
                 quipu_bundle_manifest_link_count(manifest.tree_size));
    quipu_bundle_manifest_release(&manifest);
}

static void check_root(struct quipu_slice block, struct quipu_buf *again)
{
    struct quipu_bundle_root root;
    struct quipu_error err = {.offset = 0};
    enum quipu_status status = quipu_bundle_root_decode(block, &root, &err);
    if (status != QUIPU_OK) {
        check_refusal(status, quipu_bundle_root_decode(block, &root, NULL), &err, block.len);
        return;
    }
    quipu_buf_reset(again);
    FUZZ_REQUIRE(quipu_bundle_root_encode(&root, again, NULL) == QUIPU_OK);
    FUZZ_REQUIRE(quipu_slice_equal(quipu_buf_slice(again), block));
}

static void check_chunk(struct quipu_slice block, struct quipu_buf *again)
{
    struct quipu_dagcbor_reader reader;
    struct quipu_buf digests = QUIPU_BUF_INIT;
    uint64_t links = 0;
    quipu_dagcbor_reader_init(&reader, block);
    if (quipu_dagcbor_read_list(&reader, &links, NULL) != QUIPU_OK) {
        links = 1;
    }
    struct quipu_error err = {.offset = 0};
    enum quipu_status status = quipu_bundle_chunk_decode(block, links, &digests, &err);
    if (status == QUIPU_OK) {
        quipu_buf_reset(again);
        FUZZ_REQUIRE(digests.len == links * QUIPU_SHA256_BYTES);
        FUZZ_REQUIRE(quipu_bundle_chunk_encode(quipu_buf_slice(&digests), again, NULL) == QUIPU_OK);
        FUZZ_REQUIRE(quipu_slice_equal(quipu_buf_slice(again), block));
    } else {
        check_refusal(status, status, &err, block.len);
    }
    quipu_buf_release(&digests);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct quipu_buf again = QUIPU_BUF_INIT;
    check_manifest(quipu_slice(data, size), &again);
    check_root(quipu_slice(data, size), &again);
    check_chunk(quipu_slice(data, size), &again);
    quipu_buf_release(&again);
    return 0;
}

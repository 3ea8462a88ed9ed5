/*
 * Root, manifest and chunks: canonical both ways, and every rule refused by its own name.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>

#include "bundle_manifest.h"
#include "quipu/dagcbor.h"

#define SOURCE "UAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

/* A manifest of `events` events, all of one type and of one source. */
static void manifest_init(struct quipu_bundle_manifest *manifest, uint64_t events)
{
    struct quipu_tally_entry type = {.name = quipu_slice_text("key.generated"), .count = events};
    struct quipu_tally_entry source = {
        .name = quipu_slice_text(SOURCE), .count = events, .first = 4, .last = 3 + events};
    *manifest = (struct quipu_bundle_manifest){
        .number = 1,
        .source = quipu_slice_text(SOURCE),
        .tool = quipu_slice_text("quipu 0.1.0"),
        .created_unix_us = 1795182298000000,
        .first_position = 7,
        .last_position = 6 + events,
        .tree_size = events,
    };
    manifest->log.checkpoint = quipu_slice_text("a note");
    memset(manifest->tree_root, 0x5a, sizeof manifest->tree_root);
    cr_assert_eq(quipu_tally_append(&manifest->types, &type, NULL), QUIPU_OK);
    cr_assert_eq(quipu_tally_append(&manifest->sources, &source, NULL), QUIPU_OK);
    for (uint64_t i = 0; i < quipu_bundle_manifest_link_count(events); i++) {
        uint8_t digest[QUIPU_SHA256_BYTES];
        quipu_sha256(quipu_slice(&i, sizeof i), digest);
        quipu_buf_append(&manifest->links, digest, sizeof digest);
    }
}

static enum quipu_status encode_decode(const struct quipu_bundle_manifest *manifest)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct quipu_buf again = QUIPU_BUF_INIT;
    struct quipu_bundle_manifest decoded;
    enum quipu_status status = quipu_bundle_manifest_encode(manifest, &block, NULL);
    if (status == QUIPU_OK) {
        cr_assert_eq(quipu_bundle_manifest_decode(quipu_buf_slice(&block), &decoded, NULL),
                     QUIPU_OK);
        cr_assert_eq(quipu_bundle_manifest_encode(&decoded, &again, NULL), QUIPU_OK);
        cr_assert(quipu_slice_equal(quipu_buf_slice(&block), quipu_buf_slice(&again)));
        quipu_bundle_manifest_release(&decoded);
    }
    quipu_buf_release(&block);
    quipu_buf_release(&again);
    return status;
}

Test(bundle_manifest, reads_what_it_wrote)
{
    struct quipu_bundle_manifest manifest;
    struct quipu_bundle_manifest decoded;
    struct quipu_buf block = QUIPU_BUF_INIT;
    manifest_init(&manifest, 3);
    manifest.number = 8;
    manifest.has_previous = true;
    manifest.previous = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_slice_text("before"));
    manifest.operator_name = quipu_slice_text("alice");
    manifest.reason = quipu_slice_text("quarterly ceremony");

    cr_assert_eq(quipu_bundle_manifest_encode(&manifest, &block, NULL), QUIPU_OK);
    cr_assert_eq(quipu_bundle_manifest_decode(quipu_buf_slice(&block), &decoded, NULL), QUIPU_OK);

    cr_assert_eq(decoded.number, 8u);
    cr_assert(decoded.has_previous);
    cr_assert(quipu_cid_equal(&decoded.previous, &manifest.previous));
    cr_assert(quipu_slice_equal(decoded.source, manifest.source));
    cr_assert(quipu_slice_equal(decoded.tool, manifest.tool));
    cr_assert(quipu_slice_equal(decoded.operator_name, manifest.operator_name));
    cr_assert(quipu_slice_equal(decoded.reason, manifest.reason));
    cr_assert_eq(decoded.created_unix_us, manifest.created_unix_us);
    cr_assert_eq(decoded.first_position, 7u);
    cr_assert_eq(decoded.last_position, 9u);
    cr_assert_eq(decoded.tree_size, 3u);
    cr_assert_arr_eq(decoded.tree_root, manifest.tree_root, sizeof decoded.tree_root);
    cr_assert_eq(decoded.types.count, 1u);
    cr_assert_eq(decoded.types.entries[0].count, 3u);
    cr_assert_eq(decoded.sources.entries[0].first, 4u);
    cr_assert_eq(decoded.sources.entries[0].last, 6u);
    cr_assert(quipu_slice_equal(quipu_buf_slice(&decoded.links), quipu_buf_slice(&manifest.links)));
    quipu_bundle_manifest_release(&decoded);
    quipu_bundle_manifest_release(&manifest);
    quipu_buf_release(&block);
}

Test(bundle_manifest, links_events_up_to_25000_and_chunks_above)
{
    static const struct {
        uint64_t events;
        uint64_t links;
    } rows[] = {{1, 1},     {24999, 24999}, {25000, 25000},  {25001, 4},
                {32768, 4}, {32769, 5},     {1u << 26, 8192}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct quipu_bundle_manifest manifest;
        manifest_init(&manifest, rows[i].events);
        cr_assert_eq(manifest.links.len / QUIPU_SHA256_BYTES, rows[i].links);
        cr_assert_eq(encode_decode(&manifest), QUIPU_OK);
        manifest.links.len -= QUIPU_SHA256_BYTES;
        cr_assert_eq(encode_decode(&manifest), QUIPU_BUNDLE);
        quipu_bundle_manifest_release(&manifest);
    }
}

static char long_text[4096];

static void set_text(struct quipu_slice *field, size_t len)
{
    memset(long_text, 'x', sizeof long_text);
    *field = quipu_slice(long_text, len);
}

/* Each change alone makes the manifest wrong, or (is_fine) just keeps inside a limit. */
enum change {
    EVENTS_0,
    EVENTS_ABOVE,
    NUMBER_0,
    NUMBER_0_WITH_PREVIOUS,
    NUMBER_2_WITHOUT_PREVIOUS,
    NUMBER_1_WITH_PREVIOUS,
    NUMBER_ABOVE,
    PREVIOUS_RAW,
    SOURCE_EMPTY,
    TOOL_EMPTY,
    TOOL_64,
    TOOL_65,
    OPERATOR_255,
    OPERATOR_256,
    OPERATOR_CONTROL,
    REASON_1023,
    REASON_1024,
    CREATED_MAX,
    CREATED_ABOVE,
    CREATED_MIN,
    CREATED_BELOW,
    POSITION_0,
    POSITIONS_TOO_CLOSE,
    COUNT_WRONG,
    COUNT_0,
    SOURCES_WRONG,
    SEQ_0,
    SEQ_BACKWARDS,
    TYPE_EMPTY,
    TYPE_128,
    TYPE_129,
    PROOF_BLOCKS_MAX,
    PROOF_BLOCKS_ABOVE,
    CHECKPOINT_512,
    CHECKPOINT_513,
    TREE_BEFORE_NUMBER_1,
    CONSISTENCY_WITHOUT_TREE,
    CONSISTENCY_65,
    CONSISTENCY_66,
    CONSISTENCY_RAGGED,
    OUTSIDE_LAST,
    OUTSIDE_BEYOND,
    OUTSIDE_TWICE,
    CHANGES
};

static const uint64_t places[] = {4, 5, 4, 4};

/* A tree before, and this many bytes of a proof. */
static void set_consistency(struct quipu_bundle_manifest *m, size_t len)
{
    m->number = 2;
    m->has_previous = true;
    m->previous.codec = QUIPU_CODEC_DAG_CBOR;
    m->log.has_previous = true;
    m->log.consistency = quipu_slice(long_text, len);
    quipu_buf_reset(&m->log.proof);
}

static void set_proof(struct quipu_bundle_manifest *m, size_t blocks)
{
    uint8_t *into = quipu_buf_reserve(&m->log.proof, blocks * QUIPU_SHA256_BYTES);
    cr_assert_not_null(into);
    memset(into, 7, blocks * QUIPU_SHA256_BYTES);
    m->log.proof.len = blocks * QUIPU_SHA256_BYTES;
}

static bool change_log(struct quipu_bundle_manifest *m, enum change change)
{
    switch ((int)change) {
    case PROOF_BLOCKS_MAX:
    case PROOF_BLOCKS_ABOVE:
        set_proof(m, QUIPU_BUNDLE_PROOF_BLOCKS_MAX + (change == PROOF_BLOCKS_ABOVE));
        return change == PROOF_BLOCKS_MAX;
    case CHECKPOINT_512:
    case CHECKPOINT_513:
        set_text(&m->log.checkpoint, change == CHECKPOINT_512 ? 512 : 513);
        return change == CHECKPOINT_512;
    case TREE_BEFORE_NUMBER_1:
        m->log.has_previous = true;
        return false;
    case CONSISTENCY_WITHOUT_TREE:
        m->log.consistency = quipu_slice(long_text, QUIPU_SHA256_BYTES);
        return false;
    case CONSISTENCY_65:
    case CONSISTENCY_66:
        set_consistency(m, (change == CONSISTENCY_65 ? 65u : 66u) * (size_t)QUIPU_SHA256_BYTES);
        return change == CONSISTENCY_65;
    case CONSISTENCY_RAGGED:
        set_consistency(m, QUIPU_SHA256_BYTES + 1);
        return false;
    case OUTSIDE_LAST:
        quipu_buf_append(&m->log.outside, &places[0], sizeof places[0]);
        return true;
    case OUTSIDE_BEYOND:
        quipu_buf_append(&m->log.outside, &places[1], sizeof places[1]);
        return false;
    case OUTSIDE_TWICE:
        quipu_buf_append(&m->log.outside, &places[2], 2 * sizeof places[2]);
        return false;
    default:
        cr_assert_fail("change %d", (int)change);
        return false;
    }
}

static bool change_counts(struct quipu_bundle_manifest *m, enum change change)
{
    struct quipu_tally_entry none = {.name = quipu_slice_text("zzzzzzzzzzzzzzzz")};
    switch ((int)change) {
    case COUNT_WRONG:
        m->types.entries[0].count++;
        return false;
    case COUNT_0:
        cr_assert_eq(quipu_tally_append(&m->types, &none, NULL), QUIPU_OK);
        return false;
    case SOURCES_WRONG:
        m->sources.entries[0].count--;
        return false;
    case SEQ_0:
        m->sources.entries[0].first = 0;
        return false;
    case SEQ_BACKWARDS:
        m->sources.entries[0].last = m->sources.entries[0].first - 1;
        return false;
    case TYPE_EMPTY:
        m->types.entries[0].name.len = 0;
        return false;
    case TYPE_128:
        set_text(&m->types.entries[0].name, 128);
        return true;
    case TYPE_129:
        set_text(&m->types.entries[0].name, 129);
        return false;
    default:
        return change_log(m, change);
    }
}

static bool change_texts(struct quipu_bundle_manifest *m, enum change change)
{
    switch ((int)change) {
    case SOURCE_EMPTY:
        m->source.len = 0;
        return false;
    case TOOL_EMPTY:
        m->tool.len = 0;
        return false;
    case TOOL_64:
        set_text(&m->tool, 64);
        return true;
    case TOOL_65:
        set_text(&m->tool, 65);
        return false;
    case OPERATOR_255:
        set_text(&m->operator_name, 255);
        return true;
    case OPERATOR_256:
        set_text(&m->operator_name, 256);
        return false;
    case OPERATOR_CONTROL:
        m->operator_name = quipu_slice_text("alice\n");
        return false;
    case REASON_1023:
        set_text(&m->reason, 1023);
        return true;
    case REASON_1024:
        set_text(&m->reason, 1024);
        return false;
    default:
        return change_counts(m, change);
    }
}

/* Make the change; true where the manifest is still a good one. */
static bool make_change(struct quipu_bundle_manifest *m, enum change change)
{
    int64_t most = (INT64_C(1) << 53) - 1;
    switch ((int)change) {
    case EVENTS_0:
        m->tree_size = 0;
        m->links.len = 0;
        return false;
    case EVENTS_ABOVE:
        m->tree_size = (1u << 26) + 1;
        return false;
    case NUMBER_0:
        m->number = 0; /* it stands outside of the row of bundles */
        return true;
    case NUMBER_0_WITH_PREVIOUS:
        m->number = 0;
        m->has_previous = true;
        m->previous.codec = QUIPU_CODEC_DAG_CBOR;
        return false;
    case NUMBER_2_WITHOUT_PREVIOUS:
        m->number = 2;
        return false;
    case NUMBER_1_WITH_PREVIOUS:
        m->has_previous = true;
        m->previous.codec = QUIPU_CODEC_DAG_CBOR;
        return false;
    case NUMBER_ABOVE:
        m->number = UINT64_C(1) << 53;
        m->has_previous = true;
        m->previous.codec = QUIPU_CODEC_DAG_CBOR;
        return false;
    case PREVIOUS_RAW:
        m->number = 2;
        m->has_previous = true;
        m->previous.codec = QUIPU_CODEC_RAW;
        return false;
    case CREATED_MAX:
    case CREATED_ABOVE:
        m->created_unix_us = most + (change == CREATED_ABOVE);
        return change == CREATED_MAX;
    case CREATED_MIN:
    case CREATED_BELOW:
        m->created_unix_us = -most - (change == CREATED_BELOW);
        return change == CREATED_MIN;
    case POSITION_0:
        m->first_position = 0;
        return false;
    case POSITIONS_TOO_CLOSE:
        m->last_position--;
        return false;
    default:
        return change_texts(m, change);
    }
}

Test(bundle_manifest, holds_every_limit_and_sum)
{
    for (int change = 0; change < CHANGES; change++) {
        struct quipu_bundle_manifest manifest;
        manifest_init(&manifest, 5);
        bool is_fine = make_change(&manifest, (enum change)change);
        cr_assert_eq(encode_decode(&manifest), is_fine ? QUIPU_OK : QUIPU_BUNDLE, "change %d",
                     change);
        quipu_bundle_manifest_release(&manifest);
    }
}

/* A manifest block with key number `left_out` left out, or an extra key at the end. */
static void write_pairs(struct quipu_buf *out, size_t left_out, bool has_extra)
{
    struct quipu_bundle_manifest manifest;
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct quipu_dagcbor_reader reader;
    struct quipu_dagcbor_writer writer;
    uint64_t pairs;
    manifest_init(&manifest, 2);
    cr_assert_eq(quipu_bundle_manifest_encode(&manifest, &block, NULL), QUIPU_OK);
    quipu_dagcbor_reader_init(&reader, quipu_buf_slice(&block));
    cr_assert_eq(quipu_dagcbor_read_map(&reader, &pairs, NULL), QUIPU_OK);
    quipu_dagcbor_writer_init(&writer, out);
    quipu_dagcbor_write_map(&writer, pairs - (left_out < pairs) + has_extra);
    for (size_t i = 0; i < pairs; i++) {
        struct quipu_slice key;
        struct quipu_slice value;
        cr_assert_eq(quipu_dagcbor_read_text(&reader, &key, NULL), QUIPU_OK);
        cr_assert_eq(quipu_dagcbor_next_whole(&reader, &value, NULL), QUIPU_OK);
        if (i != left_out) {
            quipu_dagcbor_write_text(&writer, key);
            quipu_dagcbor_write_item(&writer, value);
        }
    }
    if (has_extra) {
        quipu_dagcbor_write_key(&writer, "zzzzzzzzzzzzzzzzzzzz");
        quipu_dagcbor_write_null(&writer);
    }
    cr_assert_eq(quipu_dagcbor_writer_finish(&writer, NULL), QUIPU_OK);
    quipu_bundle_manifest_release(&manifest);
    quipu_buf_release(&block);
}

Test(bundle_manifest, wants_every_key_and_no_other)
{
    struct quipu_bundle_manifest decoded;
    struct quipu_buf block = QUIPU_BUF_INIT;
    for (size_t left_out = 0; left_out <= 13; left_out++) {
        quipu_buf_reset(&block);
        write_pairs(&block, left_out, left_out == 13);
        cr_assert_eq(quipu_bundle_manifest_decode(quipu_buf_slice(&block), &decoded, NULL),
                     QUIPU_BUNDLE, "%zu left out", left_out);
    }
    quipu_buf_reset(&block);
    write_pairs(&block, 99, false);
    cr_assert_eq(quipu_bundle_manifest_decode(quipu_buf_slice(&block), &decoded, NULL), QUIPU_OK);
    quipu_bundle_manifest_release(&decoded);
    quipu_buf_release(&block);
}

Test(bundle_manifest, a_newer_format_is_told_as_such)
{
    struct quipu_bundle_manifest decoded;
    struct quipu_bundle_root root;
    /* {"v": 2, "what": null} */
    static const uint8_t newer[] = "\xa2\x61v\x02\x64what\xf6";
    static const uint8_t zero[] = "\xa2\x61v\x00\x64what\xf6";
    struct quipu_slice block = quipu_slice(newer, sizeof newer - 1);

    cr_assert_eq(quipu_bundle_manifest_decode(block, &decoded, NULL), QUIPU_FORMAT_NEWER);
    cr_assert_eq(quipu_bundle_root_decode(block, &root, NULL), QUIPU_FORMAT_NEWER);
    block = quipu_slice(zero, sizeof zero - 1);
    cr_assert_eq(quipu_bundle_manifest_decode(block, &decoded, NULL), QUIPU_BUNDLE);
    cr_assert_eq(quipu_bundle_root_decode(block, &root, NULL), QUIPU_BUNDLE);
}

Test(bundle_manifest, no_flipped_bit_decodes_to_the_same_bytes)
{
    struct quipu_bundle_manifest manifest;
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct quipu_buf again = QUIPU_BUF_INIT;
    manifest_init(&manifest, 2);
    cr_assert_eq(quipu_bundle_manifest_encode(&manifest, &block, NULL), QUIPU_OK);

    for (size_t bit = 0; bit < block.len * 8; bit++) {
        struct quipu_bundle_manifest decoded;
        block.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (quipu_bundle_manifest_decode(quipu_buf_slice(&block), &decoded, NULL) == QUIPU_OK) {
            quipu_buf_reset(&again);
            cr_assert_eq(quipu_bundle_manifest_encode(&decoded, &again, NULL), QUIPU_OK);
            cr_assert(quipu_slice_equal(quipu_buf_slice(&block), quipu_buf_slice(&again)));
            quipu_bundle_manifest_release(&decoded);
        }
        block.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    quipu_bundle_manifest_release(&manifest);
    quipu_buf_release(&block);
    quipu_buf_release(&again);
}

Test(bundle_root, holds_its_limit_of_signatures)
{
    struct quipu_bundle_root root = {.manifest = {.codec = QUIPU_CODEC_DAG_CBOR}};
    struct quipu_bundle_root decoded;
    struct quipu_buf block = QUIPU_BUF_INIT;
    for (size_t i = 0; i < QUIPU_BUNDLE_SIGNATURES_MAX; i++) {
        root.signatures[i] = quipu_slice_text("s");
    }
    root.signature_count = QUIPU_BUNDLE_SIGNATURES_MAX;
    cr_assert_eq(quipu_bundle_root_encode(&root, &block, NULL), QUIPU_OK);
    cr_assert_eq(quipu_bundle_root_decode(quipu_buf_slice(&block), &decoded, NULL), QUIPU_OK);
    cr_assert_eq(decoded.signature_count, QUIPU_BUNDLE_SIGNATURES_MAX);

    /* The list's head is the two bytes 98 40 in front of 64 times 41 's': make it 65. */
    size_t head = block.len - 2 * (size_t)QUIPU_BUNDLE_SIGNATURES_MAX - 2;
    cr_assert_eq(block.data[head], 0x98);
    block.data[head + 1]++;
    quipu_buf_append(&block, "As", 2);
    cr_assert_eq(quipu_bundle_root_decode(quipu_buf_slice(&block), &decoded, NULL), QUIPU_BUNDLE);
    quipu_buf_release(&block);
}

Test(bundle_root, wants_a_dag_cbor_manifest_and_nothing_behind)
{
    struct quipu_bundle_root root = {.manifest = {.codec = QUIPU_CODEC_RAW}};
    struct quipu_bundle_root decoded;
    struct quipu_buf block = QUIPU_BUF_INIT;
    cr_assert_eq(quipu_bundle_root_encode(&root, &block, NULL), QUIPU_OK);
    cr_assert_eq(quipu_bundle_root_decode(quipu_buf_slice(&block), &decoded, NULL), QUIPU_BUNDLE);
    quipu_buf_reset(&block);
    root.manifest.codec = QUIPU_CODEC_DAG_CBOR;
    cr_assert_eq(quipu_bundle_root_encode(&root, &block, NULL), QUIPU_OK);
    quipu_buf_append_byte(&block, 0xf6);

    cr_assert_eq(quipu_bundle_root_decode(quipu_buf_slice(&block), &decoded, NULL),
                 QUIPU_CBOR_TRAILING);
    quipu_buf_release(&block);
}

Test(bundle_chunk, wants_exactly_its_links)
{
    uint8_t digests[3 * QUIPU_SHA256_BYTES];
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct quipu_buf out = QUIPU_BUF_INIT;
    memset(digests, 0x77, sizeof digests);
    cr_assert_eq(quipu_bundle_chunk_encode(quipu_slice(digests, sizeof digests), &block, NULL),
                 QUIPU_OK);

    cr_assert_eq(quipu_bundle_chunk_decode(quipu_buf_slice(&block), 2, &out, NULL), QUIPU_BUNDLE);
    cr_assert_eq(quipu_bundle_chunk_decode(quipu_buf_slice(&block), 4, &out, NULL), QUIPU_BUNDLE);
    cr_assert_eq(out.len, 0u);
    cr_assert_eq(quipu_bundle_chunk_decode(quipu_buf_slice(&block), 3, &out, NULL), QUIPU_OK);
    cr_assert(quipu_slice_equal(quipu_buf_slice(&out), quipu_slice(digests, sizeof digests)));
    quipu_buf_release(&block);
    quipu_buf_release(&out);
}

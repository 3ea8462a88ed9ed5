/*
 * Reading the root, the manifest and the chunks of a bundle. Strict: every key in its place, none
 * unknown, every limit and sum held. Pure: bytes in, a struct out.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "bundle_manifest.h"

#include <inttypes.h>

#include "quipu/dagcbor.h"
#include "quipu/store.h"
#include "quipu/text.h"

struct decoder {
    struct quipu_dagcbor_reader reader;
    struct quipu_bundle_manifest *manifest;
    struct quipu_error *err;
};

static enum quipu_status read_number(struct decoder *decoder, uint64_t *out)
{
    return quipu_dagcbor_read_uint(&decoder->reader, out, decoder->err);
}

static enum quipu_status read_text(struct decoder *decoder, struct quipu_slice *out)
{
    return quipu_dagcbor_read_text(&decoder->reader, out, decoder->err);
}

/* The next item is the key `key`. */
static enum quipu_status read_key(struct decoder *decoder, const char *key)
{
    struct quipu_slice found = {0};
    enum quipu_status status = read_text(decoder, &found);
    if (status == QUIPU_OK && !quipu_slice_equal(found, quipu_slice_text(key))) {
        status = quipu_error_set_at(decoder->err, QUIPU_BUNDLE, decoder->reader.at,
                                    "key %s is missing, or another stands before it", key);
    }
    return status;
}

static enum quipu_status read_map_of(struct decoder *decoder, uint64_t pairs)
{
    uint64_t found = 0;
    enum quipu_status status = quipu_dagcbor_read_map(&decoder->reader, &found, decoder->err);
    if (status == QUIPU_OK && found != pairs) {
        status = quipu_error_set_at(decoder->err, QUIPU_BUNDLE, decoder->reader.at,
                                    "map has %" PRIu64 " keys, not %" PRIu64, found, pairs);
    }
    return status;
}

/* A link to a dag-cbor block, whose digest goes behind the others. */
static enum quipu_status read_digest(struct quipu_dagcbor_reader *reader, struct quipu_buf *digests,
                                     struct quipu_error *err)
{
    struct quipu_cid cid = {0};
    enum quipu_status status = quipu_dagcbor_read_link(reader, &cid, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (cid.codec != QUIPU_CODEC_DAG_CBOR) {
        return quipu_error_set_at(err, QUIPU_BUNDLE, reader->at, "link is not to a dag-cbor block");
    }
    quipu_buf_append(digests, cid.digest, sizeof cid.digest);
    if (digests->status != QUIPU_OK) {
        return quipu_error_set(err, digests->status, "no memory for a list of links");
    }
    return QUIPU_OK;
}

/* A newer format is told before anything else of it can be found strange. */
static enum quipu_status check_format(const char *block, uint64_t format, struct quipu_error *err)
{
    if (format > QUIPU_BUNDLE_FORMAT) {
        return quipu_error_set(err, QUIPU_FORMAT_NEWER,
                               "%s has format %" PRIu64 ", this quipu reads up to %d; use a newer "
                               "quipu",
                               block, format, QUIPU_BUNDLE_FORMAT);
    }
    if (format != QUIPU_BUNDLE_FORMAT) {
        return quipu_error_set(err, QUIPU_BUNDLE, "%s has format %" PRIu64 ", which does not exist",
                               block, format);
    }
    return QUIPU_OK;
}

static enum quipu_status read_v(struct decoder *decoder)
{
    uint64_t format = 0;
    enum quipu_status status = read_number(decoder, &format);
    return status != QUIPU_OK ? status : check_format("manifest", format, decoder->err);
}

/* Absent where nothing is said, so never empty. */
static enum quipu_status read_optional_text(struct decoder *decoder, struct quipu_slice *out)
{
    enum quipu_status status = read_text(decoder, out);
    if (status == QUIPU_OK && out->len == 0) {
        status = quipu_error_set_at(decoder->err, QUIPU_BUNDLE, decoder->reader.at,
                                    "is there, but empty");
    }
    return status;
}

/* Digests of raw blocks. */
static enum quipu_status read_proof_links(struct decoder *decoder)
{
    struct quipu_buf *proof = &decoder->manifest->log.proof;
    uint64_t items = 0;
    enum quipu_status status = quipu_dagcbor_read_list(&decoder->reader, &items, decoder->err);
    for (uint64_t i = 0; status == QUIPU_OK && i < items; i++) {
        struct quipu_cid cid = {0};
        status = quipu_dagcbor_read_link(&decoder->reader, &cid, decoder->err);
        if (status == QUIPU_OK && cid.codec != QUIPU_CODEC_RAW) {
            status = quipu_error_set_at(decoder->err, QUIPU_BUNDLE, decoder->reader.at,
                                        "link is not to a raw block");
        }
        quipu_buf_append(proof, cid.digest, sizeof cid.digest);
    }
    return status != QUIPU_OK || proof->status == QUIPU_OK
               ? status
               : quipu_error_set(decoder->err, proof->status, "no memory for a list of links");
}

static enum quipu_status read_outside(struct decoder *decoder)
{
    struct quipu_buf *outside = &decoder->manifest->log.outside;
    uint64_t items = 0;
    enum quipu_status status = quipu_dagcbor_read_list(&decoder->reader, &items, decoder->err);
    for (uint64_t i = 0; status == QUIPU_OK && i < items; i++) {
        uint64_t place = 0;
        status = read_number(decoder, &place);
        quipu_buf_append(outside, &place, sizeof place);
    }
    return status != QUIPU_OK || outside->status == QUIPU_OK
               ? status
               : quipu_error_set(decoder->err, outside->status, "no memory for a list of places");
}

/* The two pairs of {"root", "size"}. */
static enum quipu_status read_tree_pairs(struct decoder *decoder, uint8_t *into, uint64_t *size)
{
    struct quipu_slice root = {0};
    enum quipu_status status = read_key(decoder, "root");
    if (status == QUIPU_OK) {
        status = quipu_dagcbor_read_bytes(&decoder->reader, &root, decoder->err);
    }
    if (status == QUIPU_OK && root.len != QUIPU_SHA256_BYTES) {
        return quipu_error_set_at(decoder->err, QUIPU_BUNDLE, decoder->reader.at,
                                  "tree root has %zu bytes, not %d", root.len, QUIPU_SHA256_BYTES);
    }
    if (status == QUIPU_OK) {
        memcpy(into, root.data, QUIPU_SHA256_BYTES);
        status = read_key(decoder, "size");
    }
    return status != QUIPU_OK ? status : read_number(decoder, size);
}

/* A tree or null. */
static enum quipu_status read_log_previous(struct decoder *decoder)
{
    struct quipu_bundle_log *log = &decoder->manifest->log;
    struct quipu_dagcbor_item item = {0};
    enum quipu_status status = quipu_dagcbor_next(&decoder->reader, &item, decoder->err);
    if (status != QUIPU_OK || item.kind == QUIPU_DAGCBOR_NULL) {
        return status;
    }
    if (item.kind != QUIPU_DAGCBOR_MAP || item.number != 2) {
        return quipu_error_set_at(decoder->err, QUIPU_BUNDLE, item.offset,
                                  "neither a tree nor null");
    }
    log->has_previous = true;
    return read_tree_pairs(decoder, log->previous.root, &log->previous.size);
}

/* {"proof", "outside", "previous", "checkpoint", "consistency"} */
static enum quipu_status read_log(struct decoder *decoder)
{
    struct quipu_bundle_log *log = &decoder->manifest->log;
    enum quipu_status status = read_map_of(decoder, 5);
    if (status == QUIPU_OK) {
        status = read_key(decoder, "proof");
    }
    if (status == QUIPU_OK) {
        status = read_proof_links(decoder);
    }
    if (status == QUIPU_OK) {
        status = read_key(decoder, "outside");
    }
    if (status == QUIPU_OK) {
        status = read_outside(decoder);
    }
    if (status == QUIPU_OK) {
        status = read_key(decoder, "previous");
    }
    if (status == QUIPU_OK) {
        status = read_log_previous(decoder);
    }
    if (status == QUIPU_OK) {
        status = read_key(decoder, "checkpoint");
    }
    if (status == QUIPU_OK) {
        status = quipu_dagcbor_read_bytes(&decoder->reader, &log->checkpoint, decoder->err);
    }
    if (status == QUIPU_OK) {
        status = read_key(decoder, "consistency");
    }
    if (status == QUIPU_OK) {
        status = quipu_dagcbor_read_bytes(&decoder->reader, &log->consistency, decoder->err);
    }
    return status;
}

static enum quipu_status read_tool(struct decoder *decoder)
{
    return read_text(decoder, &decoder->manifest->tool);
}

static enum quipu_status read_tree(struct decoder *decoder)
{
    enum quipu_status status = read_map_of(decoder, 2);
    return status != QUIPU_OK ? status
                              : read_tree_pairs(decoder, decoder->manifest->tree_root,
                                                &decoder->manifest->tree_size);
}

/* A list or map of names may not be longer than the limit. */
static enum quipu_status check_names(const struct decoder *decoder, uint64_t names)
{
    if (names > QUIPU_BUNDLE_NAMES_MAX) {
        return quipu_error_set_at(decoder->err, QUIPU_BUNDLE, decoder->reader.at,
                                  "%" PRIu64 " names, more than %u", names, QUIPU_BUNDLE_NAMES_MAX);
    }
    return QUIPU_OK;
}

static enum quipu_status read_counts(struct decoder *decoder)
{
    uint64_t pairs = 0;
    enum quipu_status status = quipu_dagcbor_read_map(&decoder->reader, &pairs, decoder->err);
    if (status == QUIPU_OK) {
        status = check_names(decoder, pairs);
    }
    for (uint64_t i = 0; status == QUIPU_OK && i < pairs; i++) {
        struct quipu_tally_entry entry = {0};
        status = read_text(decoder, &entry.name);
        if (status == QUIPU_OK) {
            status = read_number(decoder, &entry.count);
        }
        if (status == QUIPU_OK) {
            status = quipu_tally_append(&decoder->manifest->types, &entry, decoder->err);
        }
    }
    return status;
}

static enum quipu_status read_events(struct decoder *decoder)
{
    uint64_t items = 0;
    enum quipu_status status = quipu_dagcbor_read_list(&decoder->reader, &items, decoder->err);
    for (uint64_t i = 0; status == QUIPU_OK && i < items; i++) {
        status = read_digest(&decoder->reader, &decoder->manifest->links, decoder->err);
    }
    return status;
}

static enum quipu_status read_bundle_number(struct decoder *decoder)
{
    return read_number(decoder, &decoder->manifest->number);
}

static enum quipu_status read_reason(struct decoder *decoder)
{
    return read_optional_text(decoder, &decoder->manifest->reason);
}

static enum quipu_status read_source(struct decoder *decoder)
{
    return read_text(decoder, &decoder->manifest->source);
}

/* {"count", "source", "last_seq", "first_seq"} */
static enum quipu_status read_source_range(struct decoder *decoder)
{
    struct quipu_tally_entry entry = {0};
    enum quipu_status status = read_map_of(decoder, 4);
    if (status == QUIPU_OK) {
        status = read_key(decoder, "count");
    }
    if (status == QUIPU_OK) {
        status = read_number(decoder, &entry.count);
    }
    if (status == QUIPU_OK) {
        status = read_key(decoder, "source");
    }
    if (status == QUIPU_OK) {
        status = read_text(decoder, &entry.name);
    }
    if (status == QUIPU_OK) {
        status = read_key(decoder, "last_seq");
    }
    if (status == QUIPU_OK) {
        status = read_number(decoder, &entry.last);
    }
    if (status == QUIPU_OK) {
        status = read_key(decoder, "first_seq");
    }
    if (status == QUIPU_OK) {
        status = read_number(decoder, &entry.first);
    }
    if (status == QUIPU_OK) {
        status = quipu_tally_append(&decoder->manifest->sources, &entry, decoder->err);
    }
    return status;
}

static enum quipu_status read_sources(struct decoder *decoder)
{
    uint64_t items = 0;
    enum quipu_status status = quipu_dagcbor_read_list(&decoder->reader, &items, decoder->err);
    if (status == QUIPU_OK) {
        status = check_names(decoder, items);
    }
    for (uint64_t i = 0; status == QUIPU_OK && i < items; i++) {
        status = read_source_range(decoder);
    }
    return status;
}

static enum quipu_status read_operator(struct decoder *decoder)
{
    return read_optional_text(decoder, &decoder->manifest->operator_name);
}

/* A link or null. */
static enum quipu_status read_previous(struct decoder *decoder)
{
    struct quipu_dagcbor_item item = {0};
    enum quipu_status status = quipu_dagcbor_next(&decoder->reader, &item, decoder->err);
    if (status != QUIPU_OK || item.kind == QUIPU_DAGCBOR_NULL) {
        return status;
    }
    if (item.kind != QUIPU_DAGCBOR_LINK) {
        return quipu_error_set_at(decoder->err, QUIPU_BUNDLE, item.offset,
                                  "neither a link nor null");
    }
    decoder->manifest->has_previous = true;
    return quipu_cid_from_view(&item.link, &decoder->manifest->previous, decoder->err);
}

static enum quipu_status read_created_at(struct decoder *decoder)
{
    return quipu_dagcbor_read_int(&decoder->reader, &decoder->manifest->created_unix_us,
                                  decoder->err);
}

static enum quipu_status read_last_position(struct decoder *decoder)
{
    return read_number(decoder, &decoder->manifest->last_position);
}

static enum quipu_status read_first_position(struct decoder *decoder)
{
    return read_number(decoder, &decoder->manifest->first_position);
}

/* Every key in canonical order: shorter first, then bytewise. */
static const struct field {
    const char *key;
    bool is_optional;
    enum quipu_status (*read)(struct decoder *decoder);
} fields[] = {
    {"v", false, read_v},
    {"log", false, read_log},
    {"tool", false, read_tool},
    {"tree", false, read_tree},
    {"counts", false, read_counts},
    {"events", false, read_events},
    {"number", false, read_bundle_number},
    {"reason", true, read_reason},
    {"source", false, read_source},
    {"sources", false, read_sources},
    {"operator", true, read_operator},
    {"previous", false, read_previous},
    {"created_at", false, read_created_at},
    {"last_position", false, read_last_position},
    {"first_position", false, read_first_position},
};
#define FIELD_COUNT (sizeof fields / sizeof fields[0])

/* The field that `key` names, at or behind `*next` with only optional ones skipped. */
static const struct field *next_field(struct quipu_slice key, size_t *next, const char **missing)
{
    while (*next < FIELD_COUNT) {
        const struct field *field = &fields[*next];
        (*next)++;
        if (quipu_slice_equal(key, quipu_slice_text(field->key))) {
            return field;
        }
        if (!field->is_optional) {
            *missing = field->key;
            return NULL;
        }
    }
    *missing = NULL;
    return NULL;
}

static enum quipu_status decode_fields(struct decoder *decoder)
{
    uint64_t pairs = 0;
    size_t next = 0;
    enum quipu_status status = quipu_dagcbor_read_map(&decoder->reader, &pairs, decoder->err);
    for (uint64_t i = 0; status == QUIPU_OK && i < pairs; i++) {
        struct quipu_slice key = {0};
        const char *missing = NULL;
        status = read_text(decoder, &key);
        if (status != QUIPU_OK) {
            break;
        }
        const struct field *field = next_field(key, &next, &missing);
        if (field == NULL) {
            return quipu_error_set_at(decoder->err, QUIPU_BUNDLE, decoder->reader.at,
                                      missing == NULL ? "a key that is not known%s"
                                                      : "key %s is missing or not in its place",
                                      missing == NULL ? "" : missing);
        }
        status = field->read(decoder);
        if (status != QUIPU_OK) {
            return quipu_error_wrap(decoder->err, status, "%s", field->key);
        }
    }
    while (status == QUIPU_OK && next < FIELD_COUNT && fields[next].is_optional) {
        next++;
    }
    if (status == QUIPU_OK && next != FIELD_COUNT) {
        status = quipu_error_set_at(decoder->err, QUIPU_BUNDLE, decoder->reader.at,
                                    "key %s is missing", fields[next].key);
    }
    return status;
}

/* After the last field nothing may follow. */
static enum quipu_status decode_end(struct quipu_dagcbor_reader *reader, struct quipu_error *err)
{
    struct quipu_dagcbor_item item = {0};
    enum quipu_status status = quipu_dagcbor_next(reader, &item, err);
    if (status == QUIPU_DONE) {
        return QUIPU_OK;
    }
    return status != QUIPU_OK
               ? status
               : quipu_error_set_at(err, QUIPU_BUNDLE, item.offset, "an item that is not known");
}

enum quipu_status quipu_bundle_manifest_decode(struct quipu_slice block,
                                               struct quipu_bundle_manifest *out,
                                               struct quipu_error *err)
{
    struct quipu_bundle_manifest manifest = {0};
    struct decoder decoder = {.manifest = &manifest, .err = err};
    quipu_dagcbor_reader_init(&decoder.reader, block);
    enum quipu_status status = decode_fields(&decoder);
    if (status == QUIPU_OK) {
        status = decode_end(&decoder.reader, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_bundle_manifest_check(&manifest, err);
    }
    if (status != QUIPU_OK) {
        quipu_bundle_manifest_release(&manifest);
        return status;
    }
    *out = manifest;
    return QUIPU_OK;
}

static enum quipu_status decode_signatures(struct decoder *decoder, struct quipu_bundle_root *root)
{
    uint64_t count = 0;
    enum quipu_status status = quipu_dagcbor_read_list(&decoder->reader, &count, decoder->err);
    if (status == QUIPU_OK && count > QUIPU_BUNDLE_SIGNATURES_MAX) {
        status = quipu_error_set_at(decoder->err, QUIPU_BUNDLE, decoder->reader.at,
                                    "%" PRIu64 " signatures, more than %u", count,
                                    QUIPU_BUNDLE_SIGNATURES_MAX);
    }
    for (uint64_t i = 0; status == QUIPU_OK && i < count; i++) {
        status = quipu_dagcbor_read_bytes(&decoder->reader, &root->signatures[i], decoder->err);
    }
    root->signature_count = (size_t)count;
    return status;
}

/* {"v", "manifest", "signatures"} */
enum quipu_status quipu_bundle_root_decode(struct quipu_slice block, struct quipu_bundle_root *out,
                                           struct quipu_error *err)
{
    struct quipu_bundle_root root = {0};
    struct decoder decoder = {.err = err};
    uint64_t pairs = 0;
    uint64_t format = 0;
    quipu_dagcbor_reader_init(&decoder.reader, block);
    enum quipu_status status = quipu_dagcbor_read_map(&decoder.reader, &pairs, err);
    if (status == QUIPU_OK) {
        status = read_key(&decoder, "v");
    }
    if (status == QUIPU_OK) {
        status = read_number(&decoder, &format);
    }
    if (status == QUIPU_OK) {
        status = check_format("root", format, err);
    }
    if (status == QUIPU_OK && pairs != 3) {
        status = quipu_error_set(err, QUIPU_BUNDLE, "root has %" PRIu64 " keys, not 3", pairs);
    }
    if (status == QUIPU_OK) {
        status = read_key(&decoder, "manifest");
    }
    if (status == QUIPU_OK) {
        status = quipu_dagcbor_read_link(&decoder.reader, &root.manifest, err);
    }
    if (status == QUIPU_OK && root.manifest.codec != QUIPU_CODEC_DAG_CBOR) {
        status = quipu_error_set_at(err, QUIPU_BUNDLE, decoder.reader.at,
                                    "manifest is not a dag-cbor block");
    }
    if (status == QUIPU_OK) {
        status = read_key(&decoder, "signatures");
    }
    if (status == QUIPU_OK) {
        status = decode_signatures(&decoder, &root);
    }
    if (status == QUIPU_OK) {
        status = decode_end(&decoder.reader, err);
    }
    if (status == QUIPU_OK) {
        *out = root;
    }
    return status;
}

enum quipu_status quipu_bundle_chunk_decode(struct quipu_slice block, uint64_t count,
                                            struct quipu_buf *digests, struct quipu_error *err)
{
    struct quipu_dagcbor_reader reader;
    uint64_t items = 0;
    quipu_dagcbor_reader_init(&reader, block);
    enum quipu_status status = quipu_dagcbor_read_list(&reader, &items, err);
    if (status == QUIPU_OK && items != count) {
        status =
            quipu_error_set(err, QUIPU_BUNDLE, "%" PRIu64 " links, not %" PRIu64, items, count);
    }
    for (uint64_t i = 0; status == QUIPU_OK && i < items; i++) {
        status = read_digest(&reader, digests, err);
    }
    return status != QUIPU_OK ? status : decode_end(&reader, err);
}

/*
 * Writing the root, the manifest and the chunks of a bundle, and the rules that a manifest is held
 * to in both directions. Pure.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "bundle_manifest.h"

#include <inttypes.h>

#include "checkpoint.h"
#include "quipu/dagcbor.h"
#include "quipu/envelope.h"
#include "quipu/text.h"

#define MANIFEST_REQUIRED_KEYS 13u

void quipu_bundle_manifest_release(struct quipu_bundle_manifest *manifest)
{
    quipu_tally_release(&manifest->types);
    quipu_tally_release(&manifest->sources);
    quipu_buf_release(&manifest->links);
    quipu_buf_release(&manifest->log.proof);
    quipu_buf_release(&manifest->log.outside);
    *manifest = (struct quipu_bundle_manifest){0};
}

uint64_t quipu_bundle_manifest_link_count(uint64_t events)
{
    if (events <= QUIPU_BUNDLE_INLINE_EVENTS_MAX) {
        return events;
    }
    return (events + QUIPU_BUNDLE_CHUNK_LINKS_MAX - 1) / QUIPU_BUNDLE_CHUNK_LINKS_MAX;
}

/* ------------------------------------------------------------------ rules */

static enum quipu_status check_number(const char *field, uint64_t value, uint64_t min,
                                      struct quipu_error *err)
{
    if (value < min || value > QUIPU_BUNDLE_INT_MAX) {
        return quipu_error_set(err, QUIPU_BUNDLE,
                               "%s is %" PRIu64 ", outside %" PRIu64 " to %" PRIu64, field, value,
                               min, QUIPU_BUNDLE_INT_MAX);
    }
    return QUIPU_OK;
}

static enum quipu_status check_text(const char *field, struct quipu_slice text, size_t len_max,
                                    struct quipu_error *err)
{
    if (text.len > len_max) {
        return quipu_error_set(err, QUIPU_BUNDLE, "%s has %zu bytes, more than %zu", field,
                               text.len, len_max);
    }
    if (!quipu_text_is_printable(text)) {
        return quipu_error_set(err, QUIPU_BUNDLE, "%s holds control characters or is not UTF-8",
                               field);
    }
    return QUIPU_OK;
}

/* Each entry is sound, and together they count every event. */
static enum quipu_status check_tally(const char *field, const struct quipu_tally *tally,
                                     size_t name_bytes_max, uint64_t events,
                                     struct quipu_error *err)
{
    uint64_t sum = 0;
    enum quipu_status status = QUIPU_OK;
    for (size_t i = 0; status == QUIPU_OK && i < tally->count; i++) {
        const struct quipu_tally_entry *entry = &tally->entries[i];
        if (entry->name.len == 0) {
            return quipu_error_set(err, QUIPU_BUNDLE, "%s has an empty name", field);
        }
        status = check_text(field, entry->name, name_bytes_max, err);
        if (status == QUIPU_OK) {
            status = check_number(field, entry->count, 1, err);
        }
        /* No overflow: entries are few and each count is below 2^53. */
        sum += entry->count;
    }
    if (status == QUIPU_OK && sum != events) {
        return quipu_error_set(err, QUIPU_BUNDLE,
                               "%s: sum is %" PRIu64 ", but there are %" PRIu64 " events", field,
                               sum, events);
    }
    return status;
}

static enum quipu_status check_source_ranges(const struct quipu_tally *sources,
                                             struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    for (size_t i = 0; status == QUIPU_OK && i < sources->count; i++) {
        const struct quipu_tally_entry *entry = &sources->entries[i];
        status = check_number("first_seq", entry->first, 1, err);
        if (status == QUIPU_OK) {
            status = check_number("last_seq", entry->last, entry->first, err);
        }
    }
    return status;
}

static enum quipu_status check_texts(const struct quipu_bundle_manifest *manifest,
                                     struct quipu_error *err)
{
    if (manifest->source.len == 0 || manifest->tool.len == 0) {
        return quipu_error_set(err, QUIPU_BUNDLE, "%s is empty",
                               manifest->source.len == 0 ? "source" : "tool");
    }
    enum quipu_status status = check_text("source", manifest->source, QUIPU_SOURCE_BYTES_MAX, err);
    if (status == QUIPU_OK) {
        status = check_text("tool", manifest->tool, QUIPU_BUNDLE_TOOL_BYTES_MAX, err);
    }
    if (status == QUIPU_OK) {
        status =
            check_text("operator", manifest->operator_name, QUIPU_BUNDLE_OPERATOR_BYTES_MAX, err);
    }
    if (status == QUIPU_OK) {
        status = check_text("reason", manifest->reason, QUIPU_BUNDLE_REASON_BYTES_MAX, err);
    }
    return status;
}

static enum quipu_status check_order(const struct quipu_bundle_manifest *manifest,
                                     struct quipu_error *err)
{
    enum quipu_status status = check_number("number", manifest->number, 0, err);
    if (status == QUIPU_OK && (manifest->number <= 1) == manifest->has_previous) {
        return quipu_error_set(err, QUIPU_BUNDLE, "bundle number %" PRIu64 " %s a previous one",
                               manifest->number,
                               manifest->has_previous ? "names" : "does not name");
    }
    if (status == QUIPU_OK && manifest->has_previous &&
        manifest->previous.codec != QUIPU_CODEC_DAG_CBOR) {
        return quipu_error_set(err, QUIPU_BUNDLE, "previous is not a dag-cbor block");
    }
    if (status == QUIPU_OK) {
        status = check_number("first_position", manifest->first_position, 1, err);
    }
    if (status == QUIPU_OK) {
        /* Positions only go up, so the last is that many further on at the least. */
        status = check_number("last_position", manifest->last_position,
                              manifest->first_position + manifest->tree_size - 1, err);
    }
    return status;
}

/* Places in the bundle, each behind the one before it. */
static enum quipu_status check_outside(const struct quipu_buf *outside, uint64_t events,
                                       struct quipu_error *err)
{
    size_t count = outside->len / sizeof(uint64_t);
    uint64_t least = 0;
    if (count > QUIPU_BUNDLE_OUTSIDE_MAX) {
        return quipu_error_set(err, QUIPU_BUNDLE, "log: %zu places outside, more than %u", count,
                               QUIPU_BUNDLE_OUTSIDE_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        uint64_t place = 0;
        memcpy(&place, outside->data + i * sizeof place, sizeof place);
        if (place < least || place >= events) {
            return quipu_error_set(err, QUIPU_BUNDLE,
                                   "log: place %" PRIu64 " outside is out of order or beyond the "
                                   "last of %" PRIu64 " events",
                                   place, events);
        }
        least = place + 1;
    }
    return QUIPU_OK;
}

/* Its form; what it proves is bundle_proof.c's to say. */
static enum quipu_status check_log(const struct quipu_bundle_manifest *manifest,
                                   struct quipu_error *err)
{
    const struct quipu_bundle_log *log = &manifest->log;
    size_t blocks = log->proof.len / QUIPU_SHA256_BYTES;
    if (blocks > QUIPU_BUNDLE_PROOF_BLOCKS_MAX) {
        return quipu_error_set(err, QUIPU_BUNDLE, "log: %zu blocks of proof, more than %u", blocks,
                               QUIPU_BUNDLE_PROOF_BLOCKS_MAX);
    }
    if (log->checkpoint.len > QUIPU_CHECKPOINT_BYTES_MAX) {
        return quipu_error_set(err, QUIPU_BUNDLE, "log: a checkpoint of %zu bytes, more than %u",
                               log->checkpoint.len, QUIPU_CHECKPOINT_BYTES_MAX);
    }
    if (log->consistency.len % QUIPU_SHA256_BYTES != 0 ||
        log->consistency.len > QUIPU_PROOF_CONSISTENCY_MAX * (size_t)QUIPU_SHA256_BYTES) {
        return quipu_error_set(err, QUIPU_BUNDLE,
                               "log: a proof of consistency of %zu bytes is no list of at most %u "
                               "hashes",
                               log->consistency.len, QUIPU_PROOF_CONSISTENCY_MAX);
    }
    if (!log->has_previous && log->consistency.len > 0) {
        return quipu_error_set(err, QUIPU_BUNDLE,
                               "log: a proof of consistency, but no tree before");
    }
    if (log->has_previous && manifest->number <= 1) {
        return quipu_error_set(err, QUIPU_BUNDLE,
                               "log: bundle number %" PRIu64 " names a tree before",
                               manifest->number);
    }
    enum quipu_status status =
        log->has_previous ? check_number("log: size", log->previous.size, 0, err) : QUIPU_OK;
    return status != QUIPU_OK ? status : check_outside(&log->outside, manifest->tree_size, err);
}

enum quipu_status quipu_bundle_manifest_check(const struct quipu_bundle_manifest *manifest,
                                              struct quipu_error *err)
{
    uint64_t events = manifest->tree_size;
    int64_t created = manifest->created_unix_us;
    if (events == 0 || events > QUIPU_BUNDLE_EVENTS_MAX) {
        return quipu_error_set(err, QUIPU_BUNDLE, "a bundle has 1 to %u events, not %" PRIu64,
                               QUIPU_BUNDLE_EVENTS_MAX, events);
    }
    uint64_t links = quipu_bundle_manifest_link_count(events);
    if (manifest->links.len != links * QUIPU_SHA256_BYTES) {
        return quipu_error_set(err, QUIPU_BUNDLE,
                               "%zu links in events, where %" PRIu64 " events need %" PRIu64,
                               manifest->links.len / QUIPU_SHA256_BYTES, events, links);
    }
    if (created < -(int64_t)QUIPU_BUNDLE_INT_MAX || created > (int64_t)QUIPU_BUNDLE_INT_MAX) {
        return quipu_error_set(err, QUIPU_BUNDLE, "created_at is %" PRId64 ", beyond 2^53-1",
                               created);
    }
    enum quipu_status status = check_texts(manifest, err);
    if (status == QUIPU_OK) {
        status = check_order(manifest, err);
    }
    if (status == QUIPU_OK) {
        status = check_tally("counts", &manifest->types, QUIPU_EVENT_TYPE_BYTES_MAX, events, err);
    }
    if (status == QUIPU_OK) {
        status = check_tally("sources", &manifest->sources, QUIPU_SOURCE_BYTES_MAX, events, err);
    }
    if (status == QUIPU_OK) {
        status = check_source_ranges(&manifest->sources, err);
    }
    if (status == QUIPU_OK) {
        status = check_log(manifest, err);
    }
    return status;
}

/* ------------------------------------------------------------------ writing */

static void write_key_number(struct quipu_dagcbor_writer *writer, const char *key, uint64_t value)
{
    quipu_dagcbor_write_key(writer, key);
    quipu_dagcbor_write_uint(writer, value);
}

static void write_key_text(struct quipu_dagcbor_writer *writer, const char *key,
                           struct quipu_slice text)
{
    quipu_dagcbor_write_key(writer, key);
    quipu_dagcbor_write_text(writer, text);
}

static void write_optional_text(struct quipu_dagcbor_writer *writer, const char *key,
                                struct quipu_slice text)
{
    if (text.len > 0) {
        write_key_text(writer, key, text);
    }
}

static void write_links(struct quipu_dagcbor_writer *writer, uint8_t codec,
                        struct quipu_slice digests)
{
    struct quipu_cid cid = {.codec = codec};
    quipu_dagcbor_write_list(writer, digests.len / sizeof cid.digest);
    for (size_t at = 0; at + sizeof cid.digest <= digests.len; at += sizeof cid.digest) {
        memcpy(cid.digest, digests.data + at, sizeof cid.digest);
        quipu_dagcbor_write_link(writer, &cid);
    }
}

static void write_counts(struct quipu_dagcbor_writer *writer, const struct quipu_tally *types)
{
    quipu_dagcbor_write_key(writer, "counts");
    quipu_dagcbor_write_map(writer, types->count);
    for (size_t i = 0; i < types->count; i++) {
        quipu_dagcbor_write_text(writer, types->entries[i].name);
        quipu_dagcbor_write_uint(writer, types->entries[i].count);
    }
}

static void write_sources(struct quipu_dagcbor_writer *writer, const struct quipu_tally *sources)
{
    quipu_dagcbor_write_key(writer, "sources");
    quipu_dagcbor_write_list(writer, sources->count);
    for (size_t i = 0; i < sources->count; i++) {
        const struct quipu_tally_entry *entry = &sources->entries[i];
        quipu_dagcbor_write_map(writer, 4);
        write_key_number(writer, "count", entry->count);
        write_key_text(writer, "source", entry->name);
        write_key_number(writer, "last_seq", entry->last);
        write_key_number(writer, "first_seq", entry->first);
    }
}

static void write_tree(struct quipu_dagcbor_writer *writer, const uint8_t root[QUIPU_SHA256_BYTES],
                       uint64_t size)
{
    quipu_dagcbor_write_map(writer, 2);
    quipu_dagcbor_write_key(writer, "root");
    quipu_dagcbor_write_bytes(writer, quipu_slice(root, QUIPU_SHA256_BYTES));
    write_key_number(writer, "size", size);
}

static void write_log(struct quipu_dagcbor_writer *writer, const struct quipu_bundle_log *log)
{
    quipu_dagcbor_write_key(writer, "log");
    quipu_dagcbor_write_map(writer, 5);
    quipu_dagcbor_write_key(writer, "proof");
    write_links(writer, QUIPU_CODEC_RAW, quipu_buf_slice(&log->proof));
    quipu_dagcbor_write_key(writer, "outside");
    quipu_dagcbor_write_list(writer, log->outside.len / sizeof(uint64_t));
    for (size_t at = 0; at < log->outside.len; at += sizeof(uint64_t)) {
        uint64_t place = 0;
        memcpy(&place, log->outside.data + at, sizeof place);
        quipu_dagcbor_write_uint(writer, place);
    }
    quipu_dagcbor_write_key(writer, "previous");
    if (log->has_previous) {
        write_tree(writer, log->previous.root, log->previous.size);
    } else {
        quipu_dagcbor_write_null(writer);
    }
    quipu_dagcbor_write_key(writer, "checkpoint");
    quipu_dagcbor_write_bytes(writer, log->checkpoint);
    quipu_dagcbor_write_key(writer, "consistency");
    quipu_dagcbor_write_bytes(writer, log->consistency);
}

enum quipu_status quipu_bundle_manifest_encode(const struct quipu_bundle_manifest *manifest,
                                               struct quipu_buf *out, struct quipu_error *err)
{
    enum quipu_status status = quipu_bundle_manifest_check(manifest, err);
    if (status != QUIPU_OK) {
        return status;
    }
    uint64_t pairs =
        MANIFEST_REQUIRED_KEYS + (manifest->reason.len > 0) + (manifest->operator_name.len > 0);
    struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, out);
    quipu_dagcbor_write_map(&writer, pairs);
    write_key_number(&writer, "v", QUIPU_BUNDLE_FORMAT);
    write_log(&writer, &manifest->log);
    write_key_text(&writer, "tool", manifest->tool);
    quipu_dagcbor_write_key(&writer, "tree");
    write_tree(&writer, manifest->tree_root, manifest->tree_size);
    write_counts(&writer, &manifest->types);
    quipu_dagcbor_write_key(&writer, "events");
    write_links(&writer, QUIPU_CODEC_DAG_CBOR, quipu_buf_slice(&manifest->links));
    write_key_number(&writer, "number", manifest->number);
    write_optional_text(&writer, "reason", manifest->reason);
    write_key_text(&writer, "source", manifest->source);
    write_sources(&writer, &manifest->sources);
    write_optional_text(&writer, "operator", manifest->operator_name);
    quipu_dagcbor_write_key(&writer, "previous");
    if (manifest->has_previous) {
        quipu_dagcbor_write_link(&writer, &manifest->previous);
    } else {
        quipu_dagcbor_write_null(&writer);
    }
    quipu_dagcbor_write_key(&writer, "created_at");
    quipu_dagcbor_write_int(&writer, manifest->created_unix_us);
    write_key_number(&writer, "last_position", manifest->last_position);
    write_key_number(&writer, "first_position", manifest->first_position);
    return quipu_dagcbor_writer_finish(&writer, err);
}

enum quipu_status quipu_bundle_root_encode(const struct quipu_bundle_root *root,
                                           struct quipu_buf *out, struct quipu_error *err)
{
    struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, out);
    quipu_dagcbor_write_map(&writer, 3);
    write_key_number(&writer, "v", QUIPU_BUNDLE_FORMAT);
    quipu_dagcbor_write_key(&writer, "manifest");
    quipu_dagcbor_write_link(&writer, &root->manifest);
    quipu_dagcbor_write_key(&writer, "signatures");
    quipu_dagcbor_write_list(&writer, root->signature_count);
    for (size_t i = 0; i < root->signature_count; i++) {
        quipu_dagcbor_write_bytes(&writer, root->signatures[i]);
    }
    return quipu_dagcbor_writer_finish(&writer, err);
}

enum quipu_status quipu_bundle_chunk_encode(struct quipu_slice digests, struct quipu_buf *out,
                                            struct quipu_error *err)
{
    struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, out);
    write_links(&writer, QUIPU_CODEC_DAG_CBOR, digests);
    return quipu_dagcbor_writer_finish(&writer, err);
}

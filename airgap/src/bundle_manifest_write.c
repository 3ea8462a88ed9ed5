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

#include "quipu/dagcbor.h"
#include "quipu/envelope.h"
#include "quipu/text.h"

#define MANIFEST_REQUIRED_KEYS 12u

void quipu_bundle_manifest_release(struct quipu_bundle_manifest *manifest)
{
    quipu_tally_release(&manifest->types);
    quipu_tally_release(&manifest->sources);
    quipu_buf_release(&manifest->links);
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
    enum quipu_status status = check_number("number", manifest->number, 1, err);
    if (status == QUIPU_OK && (manifest->number == 1) == manifest->has_previous) {
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

static void write_links(struct quipu_dagcbor_writer *writer, struct quipu_slice digests)
{
    struct quipu_cid cid = {.codec = QUIPU_CODEC_DAG_CBOR};
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
    write_key_text(&writer, "tool", manifest->tool);
    quipu_dagcbor_write_key(&writer, "tree");
    quipu_dagcbor_write_map(&writer, 2);
    quipu_dagcbor_write_key(&writer, "root");
    quipu_dagcbor_write_bytes(&writer,
                              quipu_slice(manifest->tree_root, sizeof manifest->tree_root));
    write_key_number(&writer, "size", manifest->tree_size);
    write_counts(&writer, &manifest->types);
    quipu_dagcbor_write_key(&writer, "events");
    write_links(&writer, quipu_buf_slice(&manifest->links));
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
    write_links(&writer, digests);
    return quipu_dagcbor_writer_finish(&writer, err);
}

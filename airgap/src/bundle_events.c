/*
 * The events of a bundle: their list, each envelope and payload in its place, and what they add up
 * to. Steps 4 to 6 of bundle_reader.c. Never writes.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "bundle_parts.h"
#include "internal/bytes.h"
#include "quipu/alloc.h"
#include "quipu/dagcbor.h"

#define WHAT_BYTES 160
/* Odd, and no bit of it is like its neighbours for long. */
#define SPREAD UINT64_C(0x9e3779b97f4a7c15)

/* ------------------------------------------------------------------ the list */

static const uint8_t *digest_at(const struct quipu_buf *digests, uint64_t index)
{
    return digests->data + index * QUIPU_SHA256_BYTES;
}

/* An event that was read needs its place in the list no more, but for its last half, which tells it
 * from others still: its event_id takes the first half. */
static void note_event_id(struct quipu_bundle_reader *reader, uint64_t index,
                          struct quipu_uuid event_id)
{
    memcpy(reader->digests.data + index * QUIPU_SHA256_BYTES, event_id.bytes, QUIPU_UUID_BYTES);
}

/* Is the block that is being looked at the envelope of the event at `at`, where `read` were read?
 */
static bool is_envelope_of(const struct quipu_bundle_reader *reader, uint64_t at, uint64_t read)
{
    size_t from = at < read ? QUIPU_UUID_BYTES : 0;
    return memcmp(digest_at(&reader->digests, at) + from, reader->cid.digest + from,
                  QUIPU_SHA256_BYTES - from) == 0;
}

static int prefix_order(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

typedef int (*order_fn)(const void *left, const void *right);

static int digest_order(const void *left, const void *right)
{
    return memcmp(*(const uint8_t *const *)left, *(const uint8_t *const *)right,
                  QUIPU_SHA256_BYTES);
}

static int event_id_order(const void *left, const void *right)
{
    return memcmp(*(const uint8_t *const *)left, *(const uint8_t *const *)right, QUIPU_UUID_BYTES);
}

/* True where what two begin with, 16 bytes, gives the same 8: then they may be the same, and must
 * be looked at in full. Honest ones hardly ever do. Sorting 8 bytes of each is some ten times as
 * fast as sorting the digests where they lie. */
static enum quipu_status has_near_twins(const struct quipu_buf *digests, size_t count, bool *out)
{
    uint64_t *prefixes = quipu_alloc(count, sizeof *prefixes);
    if (prefixes == NULL) {
        return QUIPU_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        const uint8_t *digest = digest_at(digests, i);
        prefixes[i] = quipu_load_be64(digest) * SPREAD + quipu_load_be64(digest + 8);
    }
    qsort(prefixes, count, sizeof *prefixes, prefix_order);
    size_t at = 1;
    while (at < count && prefixes[at] != prefixes[at - 1]) {
        at++;
    }
    *out = at < count;
    quipu_free(prefixes);
    return QUIPU_OK;
}

/* Index of two that are the same in this order, the first one first; equal where there are none. */
static enum quipu_status find_twins(const struct quipu_buf *digests, size_t count, order_fn order,
                                    uint64_t twins[2])
{
    bool is_near = false;
    enum quipu_status status = has_near_twins(digests, count, &is_near);
    if (status != QUIPU_OK || !is_near) {
        return status;
    }
    const uint8_t **sorted = quipu_alloc(count, sizeof *sorted);
    if (sorted == NULL) {
        return QUIPU_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        sorted[i] = digest_at(digests, i);
    }
    qsort(sorted, count, sizeof *sorted, order);
    for (size_t i = 1; i < count; i++) {
        if (order(&sorted[i - 1], &sorted[i]) == 0) {
            uint64_t a = (uint64_t)(sorted[i - 1] - digests->data) / QUIPU_SHA256_BYTES;
            uint64_t b = (uint64_t)(sorted[i] - digests->data) / QUIPU_SHA256_BYTES;
            twins[0] = a < b ? a : b;
            twins[1] = a < b ? b : a;
        }
    }
    quipu_free(sorted);
    return QUIPU_OK;
}

static enum quipu_status no_memory_to_sort(struct quipu_bundle_reader *reader,
                                           enum quipu_status status)
{
    return quipu_error_set(reader->err, status, "no memory to sort a list of %" PRIu64 " events",
                           reader->manifest.tree_size);
}

static enum quipu_status refuse_duplicates(struct quipu_bundle_reader *reader)
{
    uint64_t twins[2] = {0};
    enum quipu_status status =
        find_twins(&reader->digests, (size_t)reader->manifest.tree_size, digest_order, twins);
    if (status != QUIPU_OK) {
        return no_memory_to_sort(reader, status);
    }
    if (twins[0] != twins[1]) {
        return quipu_error_set(reader->err, QUIPU_BUNDLE,
                               "events %" PRIu64 " and %" PRIu64
                               " of the manifest's list are one and the same",
                               twins[0] + 1, twins[1] + 1);
    }
    return QUIPU_OK;
}

static enum quipu_status read_chunk(struct quipu_bundle_reader *reader, uint64_t index,
                                    const char *what)
{
    struct quipu_cid cid = {.codec = QUIPU_CODEC_DAG_CBOR};
    uint64_t left = reader->manifest.tree_size - index * (uint64_t)QUIPU_BUNDLE_CHUNK_LINKS_MAX;
    uint64_t links = left < QUIPU_BUNDLE_CHUNK_LINKS_MAX ? left : QUIPU_BUNDLE_CHUNK_LINKS_MAX;
    memcpy(cid.digest, digest_at(&reader->manifest.links, index), sizeof cid.digest);
    enum quipu_status status = quipu_bundle_next_block(reader, what);
    if (status == QUIPU_OK) {
        status = quipu_bundle_expect(reader, &cid, what);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    status = quipu_bundle_chunk_decode(reader->block, links, &reader->digests, reader->err);
    return status == QUIPU_OK ? status : quipu_bundle_not_one(reader, status, what);
}

enum quipu_status quipu_bundle_read_list(struct quipu_bundle_reader *reader)
{
    struct quipu_bundle_manifest *manifest = &reader->manifest;
    enum quipu_status status = QUIPU_OK;
    if (manifest->tree_size <= QUIPU_BUNDLE_INLINE_EVENTS_MAX) {
        /* The manifest's links are the events': they change hands. */
        reader->digests = manifest->links;
        manifest->links = (struct quipu_buf)QUIPU_BUF_INIT;
        return refuse_duplicates(reader);
    }
    uint64_t chunks = quipu_bundle_manifest_link_count(manifest->tree_size);
    for (uint64_t i = 0; status == QUIPU_OK && i < chunks; i++) {
        char what[WHAT_BYTES];
        (void)snprintf(what, sizeof what, "part %" PRIu64 " of %" PRIu64 " of the list of events",
                       i + 1, chunks);
        status = read_chunk(reader, i, what);
    }
    return status != QUIPU_OK ? status : refuse_duplicates(reader);
}

/* ------------------------------------------------------------------ one event */

/* Another block stands where an envelope should: say which, because that tells what was done. */
static enum quipu_status refuse_place(struct quipu_bundle_reader *reader, uint64_t index)
{
    char found[QUIPU_CID_TEXT_BYTES];
    quipu_cid_format(&reader->cid, found);
    uint64_t count = reader->manifest.tree_size;
    uint64_t at = 0;
    while (at < count &&
           (reader->cid.codec != QUIPU_CODEC_DAG_CBOR || !is_envelope_of(reader, at, index))) {
        at++;
    }
    if (at == count) {
        return quipu_error_set_at(reader->err, QUIPU_BUNDLE, reader->offset,
                                  "block %s stands where its envelope should", found);
    }
    return quipu_error_set_at(
        reader->err, QUIPU_BUNDLE, reader->offset,
        "the envelope of event %" PRIu64 " stands where its own should: %s", at + 1,
        at < index ? "an event is there twice" : "an event is missing or out of order");
}

/* Count under a name that the manifest has to know. */
static enum quipu_status count_seen(struct quipu_bundle_reader *reader, struct quipu_tally *known,
                                    struct quipu_tally_entry *seen, struct quipu_slice name,
                                    uint64_t number)
{
    size_t index = 0;
    if (!quipu_tally_find(known, name, &index)) {
        return quipu_error_set_at(
            reader->err, QUIPU_BUNDLE, reader->offset, "the manifest does not count its %s %.*s",
            known == &reader->manifest.types ? "type" : "source", QUIPU_SLICE_FMT(name));
    }
    quipu_tally_entry_count(&seen[index], number);
    return QUIPU_OK;
}

/* The envelope in its place; `envelope` borrows from reader->envelope_block. */
static enum quipu_status read_envelope(struct quipu_bundle_reader *reader, uint64_t index,
                                       struct quipu_envelope *envelope)
{
    const uint8_t *wanted = digest_at(&reader->digests, index);
    enum quipu_status status = quipu_bundle_next_block(reader, "its envelope");
    if (status != QUIPU_OK) {
        return status;
    }
    if (reader->cid.codec != QUIPU_CODEC_DAG_CBOR ||
        memcmp(reader->cid.digest, wanted, QUIPU_SHA256_BYTES) != 0) {
        return refuse_place(reader, index);
    }
    if (reader->block.len > QUIPU_ENVELOPE_BYTES_MAX) {
        return quipu_error_set_at(reader->err, QUIPU_TOO_LARGE, reader->offset,
                                  "its envelope has %zu bytes, more than %u", reader->block.len,
                                  QUIPU_ENVELOPE_BYTES_MAX);
    }
    quipu_buf_reset(&reader->envelope_block);
    quipu_buf_append_slice(&reader->envelope_block, reader->block);
    if (reader->envelope_block.status != QUIPU_OK) {
        return quipu_error_set(reader->err, reader->envelope_block.status,
                               "no memory for an envelope of %zu bytes", reader->block.len);
    }
    status = quipu_envelope_decode(quipu_buf_slice(&reader->envelope_block), envelope, reader->err);
    if (status != QUIPU_OK) {
        return quipu_bundle_refused(reader, status, "its envelope");
    }
    quipu_merkle_add(&reader->tree, reader->block);
    status =
        count_seen(reader, &reader->manifest.types, reader->types_seen, envelope->event_type, 0);
    if (status == QUIPU_OK) {
        status = count_seen(reader, &reader->manifest.sources, reader->sources_seen,
                            envelope->source, envelope->source_seq);
    }
    return status != QUIPU_OK ? status : quipu_bundle_prove(reader, index, envelope);
}

/* From the window where it is, else the next block. */
static enum quipu_status read_payload(struct quipu_bundle_reader *reader,
                                      const struct quipu_cid *cid, struct quipu_slice *payload)
{
    if (quipu_payload_window_find(&reader->window, cid, payload)) {
        return QUIPU_OK;
    }
    enum quipu_status status = quipu_bundle_next_block(reader, "its payload");
    if (status == QUIPU_OK) {
        status = quipu_bundle_expect(reader, cid, "its payload");
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (reader->block.len > QUIPU_PAYLOAD_BYTES_MAX) {
        return quipu_error_set_at(reader->err, QUIPU_TOO_LARGE, reader->offset,
                                  "its payload has %zu bytes, more than %u", reader->block.len,
                                  QUIPU_PAYLOAD_BYTES_MAX);
    }
    if (cid->codec == QUIPU_CODEC_DAG_CBOR) {
        status = quipu_dagcbor_validate(reader->block, reader->err);
        if (status != QUIPU_OK) {
            return quipu_bundle_refused(reader, status, "its payload");
        }
    }
    *payload = reader->block;
    return quipu_payload_window_add(&reader->window, cid, reader->block, reader->err);
}

static enum quipu_status read_event(struct quipu_bundle_reader *reader, uint64_t index)
{
    struct quipu_envelope envelope;
    struct quipu_bundle_event event = {.number = index + 1};
    enum quipu_status status = read_envelope(reader, index, &envelope);
    if (status != QUIPU_OK) {
        return status;
    }
    event.cid = reader->cid;
    event.offset = reader->offset;
    event.envelope = quipu_buf_slice(&reader->envelope_block);
    status = read_payload(reader, &envelope.payload, &event.payload);
    if (status == QUIPU_OK && reader->pass->visit != NULL) {
        status = reader->pass->visit(reader->pass->ctx, &event, reader->err);
    }
    if (status == QUIPU_OK) {
        note_event_id(reader, index, envelope.event_id);
    }
    return status;
}

static enum quipu_status refuse_event(struct quipu_bundle_reader *reader, enum quipu_status status,
                                      uint64_t index)
{
    char wanted[QUIPU_CID_TEXT_BYTES];
    struct quipu_cid cid = {.codec = QUIPU_CODEC_DAG_CBOR};
    memcpy(cid.digest, digest_at(&reader->digests, index), sizeof cid.digest);
    quipu_cid_format(&cid, wanted);
    return quipu_error_wrap(reader->err, status, "event %" PRIu64 " of %" PRIu64 " (%s)", index + 1,
                            reader->manifest.tree_size, wanted);
}

/* Behind the last event. Nobody can take in both of two events with one event_id. */
static enum quipu_status refuse_event_ids(struct quipu_bundle_reader *reader)
{
    uint64_t twins[2] = {0};
    enum quipu_status status =
        find_twins(&reader->digests, (size_t)reader->manifest.tree_size, event_id_order, twins);
    if (status != QUIPU_OK) {
        return no_memory_to_sort(reader, status);
    }
    if (twins[0] == twins[1]) {
        return QUIPU_OK;
    }
    struct quipu_uuid event_id;
    char text[QUIPU_UUID_TEXT_BYTES];
    memcpy(event_id.bytes, digest_at(&reader->digests, twins[0]), sizeof event_id.bytes);
    quipu_uuid_format(event_id, text);
    return quipu_error_set(reader->err, QUIPU_EVENT_ID_CONFLICT,
                           "events %" PRIu64 " and %" PRIu64 " of %" PRIu64
                           " have one and the same event_id %s, so nobody can take both in; "
                           "`quipu verify` of the store that they come from names their positions",
                           twins[0] + 1, twins[1] + 1, reader->manifest.tree_size, text);
}

enum quipu_status quipu_bundle_read_events(struct quipu_bundle_reader *reader)
{
    const struct quipu_bundle_manifest *manifest = &reader->manifest;
    reader->types_seen = quipu_alloc_zero(manifest->types.count, sizeof *reader->types_seen);
    reader->sources_seen = quipu_alloc_zero(manifest->sources.count, sizeof *reader->sources_seen);
    if (reader->types_seen == NULL || reader->sources_seen == NULL) {
        return quipu_error_set(reader->err, QUIPU_NO_MEMORY, "no memory to count events");
    }
    for (uint64_t i = 0; i < manifest->tree_size; i++) {
        enum quipu_status status = read_event(reader, i);
        if (status != QUIPU_OK) {
            return refuse_event(reader, status, i);
        }
    }
    return refuse_event_ids(reader);
}

/* ------------------------------------------------------------------ sums */

enum quipu_status quipu_bundle_check_sums(struct quipu_bundle_reader *reader)
{
    const struct quipu_bundle_manifest *manifest = &reader->manifest;
    uint8_t root[QUIPU_SHA256_BYTES];
    for (size_t i = 0; i < manifest->types.count; i++) {
        const struct quipu_tally_entry *said = &manifest->types.entries[i];
        if (said->count != reader->types_seen[i].count) {
            return quipu_error_set(reader->err, QUIPU_BUNDLE,
                                   "the manifest counts %" PRIu64 " events of type %.*s, but there "
                                   "are %" PRIu64,
                                   said->count, QUIPU_SLICE_FMT(said->name),
                                   reader->types_seen[i].count);
        }
    }
    for (size_t i = 0; i < manifest->sources.count; i++) {
        const struct quipu_tally_entry *said = &manifest->sources.entries[i];
        const struct quipu_tally_entry *seen = &reader->sources_seen[i];
        if (said->count != seen->count || said->first != seen->first || said->last != seen->last) {
            return quipu_error_set(reader->err, QUIPU_BUNDLE,
                                   "of source %.*s the manifest names %" PRIu64
                                   " events, numbers %" PRIu64 " to %" PRIu64
                                   ", but there are %" PRIu64 ", numbers %" PRIu64 " to %" PRIu64,
                                   QUIPU_SLICE_FMT(said->name), said->count, said->first,
                                   said->last, seen->count, seen->first, seen->last);
        }
    }
    quipu_merkle_root(&reader->tree, root);
    if (memcmp(root, manifest->tree_root, sizeof root) != 0) {
        return quipu_error_set(reader->err, QUIPU_BUNDLE,
                               "the events' tree has another root than the manifest says");
    }
    return QUIPU_OK;
}

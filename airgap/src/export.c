/*
 * Export, as a straight line:
 *
 *   1. fix which events: the filter's end is the log's end now at the latest
 *   2. first pass: hash every block again, collect the envelopes' CIDs, counts, ranges, tree
 *   3. manifest, signature, root: they stand first in the file and name what follows
 *   4. second pass: write the blocks to a temporary file; sync it
 *   5. read it back as an importer would
 *   6. give it its name; record its number and manifest in the store
 *
 * The log only grows, so both passes see the same events. A failure before step 6 leaves nothing
 * behind, a failure in it takes the file back. Never writes to the log and marks nothing as
 * published.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "bundle_manifest.h"
#include "bundle_reader.h"
#include "export_file.h"
#include "export_record.h"
#include "internal/failpoint.h"
#include "merkle.h"
#include "payload_window.h"
#include "quipu/alloc.h"
#include "quipu/car.h"
#include "quipu/sshsig.h"
#include "quipu/text.h"

#define EXPORT_LOCK "export"

struct export
{
    struct quipu_engine *engine;
    struct quipu_export_options options;
    struct quipu_filter filter; /* with its end fixed */
    struct quipu_store_lock *lock;
    char source[QUIPU_SOURCE_TEXT_BYTES];
    struct quipu_export_record last;

    struct quipu_buf digests; /* of the envelopes in order */
    struct quipu_merkle tree;
    struct quipu_bundle_manifest manifest;
    struct quipu_buf manifest_block;
    struct quipu_buf root_block;
    struct quipu_cid manifest_cid;
    struct quipu_cid root_cid;

    struct quipu_export_file file;
    struct quipu_sink sink;
    struct quipu_payload_window window;
    uint64_t written; /* events, in the second pass */
};

/* ------------------------------------------------------------------ 1: which */

static enum quipu_status check_said(const char *field, const char *text, size_t bytes_max,
                                    struct quipu_error *err)
{
    struct quipu_slice slice = quipu_slice_text(text);
    if (text == NULL) {
        return QUIPU_OK;
    }
    if (slice.len == 0 || slice.len > bytes_max || !quipu_text_is_printable(slice)) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "%s: expected 1 to %zu bytes of text without control characters, "
                               "found %zu bytes",
                               field, bytes_max, slice.len);
    }
    return QUIPU_OK;
}

static enum quipu_status check_options(const struct quipu_export_options *options,
                                       struct quipu_error *err)
{
    if (options->size != sizeof *options) {
        return quipu_error_set(err, QUIPU_MISUSE, "export options of %zu bytes, not %zu",
                               options->size, sizeof *options);
    }
    if (options->filter.direction != QUIPU_FORWARDS) {
        return quipu_error_set(err, QUIPU_MISUSE, "a bundle holds events oldest first");
    }
    enum quipu_status status =
        check_said("operator", options->operator_name, QUIPU_BUNDLE_OPERATOR_BYTES_MAX, err);
    if (status == QUIPU_OK) {
        status = check_said("reason", options->reason, QUIPU_BUNDLE_REASON_BYTES_MAX, err);
    }
    return status;
}

/* The log may grow while we write: what comes after this moment is not in this bundle. */
static enum quipu_status fix_end(struct export *export, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_read(quipu_engine_store(export->engine), &txn, err);
    if (status != QUIPU_OK) {
        return status;
    }
    uint64_t last = quipu_txn_last_position(txn);
    quipu_txn_abort(&txn);
    export->filter = export->options.filter;
    if (last == 0) {
        return quipu_error_set(err, QUIPU_NOT_FOUND, "the store has no events to export");
    }
    if (export->filter.until == 0 || export->filter.until > last) {
        export->filter.until = last;
    }
    return QUIPU_OK;
}

static enum quipu_status export_begin(struct export *export, struct quipu_error *err)
{
    /* One at a time, or two bundles would have one number. */
    enum quipu_status status =
        quipu_store_lock_take(quipu_engine_store(export->engine), EXPORT_LOCK, &export->lock, err);
    if (status == QUIPU_OK) {
        status = fix_end(export, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_identity_ensure_first(export->engine, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_identity_source(export->engine, export->source, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_export_record_load(export->engine, export->source, &export->last, err);
    }
    return status;
}

/* ------------------------------------------------------------------ 2: first pass */

static enum quipu_status collect_event(void *ctx, const struct quipu_event_view *event,
                                       struct quipu_error *err)
{
    struct export *export = ctx;
    struct quipu_bundle_manifest *manifest = &export->manifest;
    enum quipu_status status = quipu_event_view_verify(event, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (export->tree.size == QUIPU_BUNDLE_EVENTS_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE,
                               "more than %u events: export them in parts, by position",
                               QUIPU_BUNDLE_EVENTS_MAX);
    }
    if (export->tree.size == 0) {
        manifest->first_position = event->position;
    }
    manifest->last_position = event->position;
    quipu_merkle_add(&export->tree, event->envelope_block);
    quipu_buf_append(&export->digests, event->cid.digest, sizeof event->cid.digest);
    if (export->digests.status != QUIPU_OK) {
        return quipu_error_set(err, export->digests.status, "no memory for %" PRIu64 " events",
                               export->tree.size);
    }
    status = quipu_tally_count(&manifest->types, event->envelope.event_type, 0,
                               QUIPU_BUNDLE_NAMES_MAX, err);
    if (status == QUIPU_OK) {
        status = quipu_tally_count(&manifest->sources, event->envelope.source,
                                   event->envelope.source_seq, QUIPU_BUNDLE_NAMES_MAX, err);
    }
    return status;
}

static enum quipu_status export_collect(struct export *export, struct quipu_error *err)
{
    enum quipu_status status =
        quipu_each_event(export->engine, &export->filter, collect_event, export, err);
    if (status == QUIPU_OK && export->tree.size == 0) {
        status = quipu_error_set(err, QUIPU_NOT_FOUND, "no event is let through by the filter");
    }
    return status;
}

/* ------------------------------------------------------------------ 3: the blocks in front */

/* The part of the list of events that chunk `index` holds. */
static struct quipu_slice chunk_digests(const struct export *export, uint64_t index)
{
    size_t chunk_bytes = (size_t)QUIPU_BUNDLE_CHUNK_LINKS_MAX * QUIPU_SHA256_BYTES;
    size_t from = (size_t)index * chunk_bytes;
    size_t left = export->digests.len - from;
    return quipu_slice(export->digests.data + from, left < chunk_bytes ? left : chunk_bytes);
}

/* The manifest's links: the events themselves, or chunks (encoded again when they are written). */
static enum quipu_status fill_links(struct export *export, struct quipu_error *err)
{
    struct quipu_buf *links = &export->manifest.links;
    struct quipu_buf block = QUIPU_BUF_INIT;
    enum quipu_status status = QUIPU_OK;
    uint64_t events = export->tree.size;
    if (events <= QUIPU_BUNDLE_INLINE_EVENTS_MAX) {
        quipu_buf_append_slice(links, quipu_buf_slice(&export->digests));
    }
    uint64_t chunks =
        events <= QUIPU_BUNDLE_INLINE_EVENTS_MAX ? 0 : quipu_bundle_manifest_link_count(events);
    for (uint64_t i = 0; status == QUIPU_OK && i < chunks; i++) {
        quipu_buf_reset(&block);
        status = quipu_bundle_chunk_encode(chunk_digests(export, i), &block, err);
        if (status == QUIPU_OK) {
            struct quipu_cid cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_buf_slice(&block));
            quipu_buf_append(links, cid.digest, sizeof cid.digest);
        }
    }
    quipu_buf_release(&block);
    if (status == QUIPU_OK && links->status != QUIPU_OK) {
        status = quipu_error_set(err, links->status, "no memory for the manifest's links");
    }
    return status;
}

static enum quipu_status make_manifest(struct export *export, struct quipu_error *err)
{
    struct quipu_clock clock =
        export->options.clock != NULL ? *export->options.clock : quipu_clock_system();
    struct quipu_bundle_manifest *manifest = &export->manifest;
    manifest->number = export->last.number + 1;
    manifest->has_previous = export->last.number > 0;
    manifest->previous = export->last.manifest;
    manifest->source = quipu_slice_text(export->source);
    manifest->tool = quipu_slice_text("quipu " QUIPU_VERSION_TEXT);
    manifest->operator_name = quipu_slice_text(export->options.operator_name);
    manifest->reason = quipu_slice_text(export->options.reason);
    manifest->created_unix_us = clock.unix_us(clock.ctx);
    manifest->tree_size = export->tree.size;
    quipu_merkle_root(&export->tree, manifest->tree_root);
    enum quipu_status status = fill_links(export, err);
    if (status == QUIPU_OK) {
        status = quipu_bundle_manifest_encode(manifest, &export->manifest_block, err);
    }
    if (status == QUIPU_OK) {
        export->manifest_cid =
            quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_buf_slice(&export->manifest_block));
    }
    return status;
}

static enum quipu_status make_root(struct export *export, struct quipu_error *err)
{
    struct quipu_bundle_root root = {.manifest = export->manifest_cid, .signature_count = 1};
    struct quipu_buf signature = QUIPU_BUF_INIT;
    enum quipu_status status =
        quipu_sshsig_sign(export->engine, QUIPU_BUNDLE_NAMESPACE,
                          quipu_buf_slice(&export->manifest_block), &signature, err);
    if (status == QUIPU_OK) {
        root.signatures[0] = quipu_buf_slice(&signature);
        status = quipu_bundle_root_encode(&root, &export->root_block, err);
    }
    if (status == QUIPU_OK) {
        export->root_cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_buf_slice(&export->root_block));
    }
    quipu_buf_release(&signature);
    return status;
}

/* ------------------------------------------------------------------ 4: second pass */

static enum quipu_status write_event(void *ctx, const struct quipu_event_view *event,
                                     struct quipu_error *err)
{
    struct export *export = ctx;
    struct quipu_slice known;
    const struct quipu_cid *payload_cid = &event->envelope.payload;
    if (export->written == export->tree.size ||
        memcmp(export->digests.data + export->written * QUIPU_SHA256_BYTES, event->cid.digest,
               QUIPU_SHA256_BYTES) != 0) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "position %" PRIu64 " held another event a moment ago",
                               event->position);
    }
    export->written++;
    enum quipu_status status =
        quipu_car_write_block(export->sink, &event->cid, event->envelope_block, err);
    if (status != QUIPU_OK || quipu_payload_window_find(&export->window, payload_cid, &known)) {
        return status;
    }
    status = quipu_car_write_block(export->sink, payload_cid, event->payload, err);
    if (status == QUIPU_OK) {
        status = quipu_payload_window_add(&export->window, payload_cid, event->payload, err);
    }
    return status;
}

static enum quipu_status write_chunks(struct export *export, struct quipu_error *err)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    enum quipu_status status = QUIPU_OK;
    uint64_t chunks = export->tree.size <= QUIPU_BUNDLE_INLINE_EVENTS_MAX
                          ? 0
                          : quipu_bundle_manifest_link_count(export->tree.size);
    for (uint64_t i = 0; status == QUIPU_OK && i < chunks; i++) {
        struct quipu_cid cid = {.codec = QUIPU_CODEC_DAG_CBOR};
        memcpy(cid.digest, export->manifest.links.data + i * QUIPU_SHA256_BYTES, sizeof cid.digest);
        quipu_buf_reset(&block);
        status = quipu_bundle_chunk_encode(chunk_digests(export, i), &block, err);
        if (status == QUIPU_OK) {
            status = quipu_car_write_block(export->sink, &cid, quipu_buf_slice(&block), err);
        }
    }
    quipu_buf_release(&block);
    return status;
}

static enum quipu_status export_write(struct export *export, struct quipu_error *err)
{
    export->sink = quipu_export_file_sink(&export->file);
    enum quipu_status status = quipu_car_write_header(export->sink, &export->root_cid, 1, err);
    if (status == QUIPU_OK) {
        status = quipu_car_write_block(export->sink, &export->root_cid,
                                       quipu_buf_slice(&export->root_block), err);
    }
    if (status == QUIPU_OK) {
        status = quipu_car_write_block(export->sink, &export->manifest_cid,
                                       quipu_buf_slice(&export->manifest_block), err);
    }
    if (status == QUIPU_OK) {
        status = write_chunks(export, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_each_event(export->engine, &export->filter, write_event, export, err);
    }
    if (status == QUIPU_OK && export->written != export->tree.size) {
        status = quipu_error_set(err, QUIPU_CORRUPT,
                                 "the log gave %" PRIu64 " events, and then %" PRIu64,
                                 export->tree.size, export->written);
    }
    return status != QUIPU_OK ? status : quipu_export_file_finish(&export->file, err);
}

/* ------------------------------------------------------------------ 5: read back */

static enum quipu_status export_read_back(struct export *export, struct quipu_error *err)
{
    char name[QUIPU_ERROR_MESSAGE_BYTES];
    struct quipu_bundle_report report;
    struct quipu_bundle_pass pass = {.name = name};
    int fd = -1;
    (void)snprintf(name, sizeof name, "reading back %s", export->file.path);
    /* The reader has a list of its own: two would be too much of a large bundle. */
    quipu_buf_release(&export->digests);
    enum quipu_status status = quipu_failpoint("airgap.export.check", err);
    if (status == QUIPU_OK) {
        status = quipu_bundle_open_at(export->file.folder, export->file.temp, name, &fd, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    status = quipu_bundle_read(fd, &pass, &report, err);
    if (status == QUIPU_OK &&
        memcmp(report.file_sha256, export->file.sha256, sizeof report.file_sha256) != 0) {
        status = quipu_error_set(err, QUIPU_IO, "%s: it is not what was written", name);
    }
    (void)close(fd); /* was only read */
    return status;
}

/* ------------------------------------------------------------------ 6: name and record */

static enum quipu_status export_publish(struct export *export, struct quipu_error *err)
{
    struct quipu_export_record record = {export->manifest.number, export->manifest_cid};
    enum quipu_status status = quipu_export_file_publish(&export->file, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = quipu_failpoint("airgap.export.record", err);
    if (status == QUIPU_OK) {
        status = quipu_export_record_save(export->engine, export->source, &record, err);
    }
    if (status != QUIPU_OK) {
        quipu_export_file_retract(&export->file);
        return quipu_error_wrap(err, status, "record bundle number %" PRIu64, record.number);
    }
    return QUIPU_OK;
}

static void fill_report(const struct export *export, struct quipu_export_report *report)
{
    *report = (struct quipu_export_report){
        .events = export->tree.size,
        .file_bytes = export->file.bytes,
        .first_position = export->manifest.first_position,
        .last_position = export->manifest.last_position,
        .root = export->root_cid,
        .manifest = export->manifest_cid,
        .number = export->manifest.number,
    };
    memcpy(report->file_sha256, export->file.sha256, sizeof report->file_sha256);
}

static enum quipu_status export_run(struct export *export, const char *path,
                                    struct quipu_error *err)
{
    enum quipu_status status = export_begin(export, err);
    if (status == QUIPU_OK) {
        status = quipu_export_file_create(&export->file, path, err);
    }
    if (status == QUIPU_OK) {
        status = export_collect(export, err);
    }
    if (status == QUIPU_OK) {
        status = make_manifest(export, err);
    }
    if (status == QUIPU_OK) {
        status = make_root(export, err);
    }
    if (status == QUIPU_OK) {
        status = export_write(export, err);
    }
    if (status == QUIPU_OK) {
        status = export_read_back(export, err);
    }
    return status != QUIPU_OK ? status : export_publish(export, err);
}

enum quipu_status quipu_export(struct quipu_engine *engine, const char *path,
                               const struct quipu_export_options *options,
                               struct quipu_export_report *report, struct quipu_error *err)
{
    static const struct quipu_export_options defaults = QUIPU_EXPORT_OPTIONS_INIT;
    if (engine == NULL || path == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE, "export needs an engine and a path");
    }
    enum quipu_status status = check_options(options == NULL ? &defaults : options, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct export *export = quipu_alloc_zero(1, sizeof *export);
    if (export == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory to export");
    }
    export->engine = engine;
    export->options = options == NULL ? defaults : *options;
    export->file = (struct quipu_export_file)QUIPU_EXPORT_FILE_INIT;
    status = export_run(export, path, err);
    if (status == QUIPU_OK && report != NULL) {
        fill_report(export, report);
    }
    quipu_export_file_discard(&export->file);
    quipu_store_lock_release(&export->lock);
    quipu_bundle_manifest_release(&export->manifest);
    quipu_payload_window_release(&export->window);
    quipu_buf_release(&export->digests);
    quipu_buf_release(&export->manifest_block);
    quipu_buf_release(&export->root_block);
    quipu_free(export);
    return status;
}

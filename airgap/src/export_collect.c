/*
 * Export, steps 2 and 3: the first pass over the events, and the blocks that stand in front and
 * name what follows. Never writes.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "checkpoint.h"
#include "export_run.h"
#include "quipu/sshsig.h"

/* ------------------------------------------------------------------ first pass */

static enum quipu_status no_memory(const struct quipu_export_run *run, struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory for %" PRIu64 " events",
                           run->tree.size);
}

/* Where an event of the store's own source stands in the tree over the log. */
static enum quipu_status collect_place(struct quipu_export_run *run,
                                       const struct quipu_event_view *event,
                                       struct quipu_error *err)
{
    struct quipu_buf *outside = &run->manifest.log.outside;
    uint64_t place = run->tree.size - 1;
    uint64_t leaf = event->envelope.source_seq - 1;
    if (!quipu_slice_equal(event->envelope.source, quipu_slice_text(run->source))) {
        return QUIPU_OK;
    }
    if (quipu_merkle_log_is_twin(&run->log, event->position)) {
        quipu_buf_append(outside, &place, sizeof place);
        if (outside->len / sizeof place > QUIPU_BUNDLE_OUTSIDE_MAX) {
            return quipu_error_set(err, QUIPU_TOO_LARGE,
                                   "more than %u events have a number twice: export in parts",
                                   QUIPU_BUNDLE_OUTSIDE_MAX);
        }
    } else {
        quipu_buf_append(&run->named, &leaf, sizeof leaf);
    }
    return outside->status == QUIPU_OK && run->named.status == QUIPU_OK ? QUIPU_OK
                                                                        : no_memory(run, err);
}

static enum quipu_status collect_event(void *ctx, const struct quipu_event_view *event,
                                       struct quipu_error *err)
{
    struct quipu_export_run *run = ctx;
    struct quipu_bundle_manifest *manifest = &run->manifest;
    if (run->tree.size == QUIPU_BUNDLE_EVENTS_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE,
                               "more than %u events: export them in parts, by position",
                               QUIPU_BUNDLE_EVENTS_MAX);
    }
    if (run->tree.size == 0) {
        manifest->first_position = event->position;
    }
    manifest->last_position = event->position;
    quipu_merkle_add(&run->tree, event->envelope_block);
    quipu_buf_append(&run->digests, event->cid.digest, sizeof event->cid.digest);
    if (run->digests.status != QUIPU_OK) {
        return no_memory(run, err);
    }
    enum quipu_status status = quipu_tally_count(&manifest->types, event->envelope.event_type, 0,
                                                 QUIPU_BUNDLE_NAMES_MAX, err);
    if (status == QUIPU_OK) {
        status = quipu_tally_count(&manifest->sources, event->envelope.source,
                                   event->envelope.source_seq, QUIPU_BUNDLE_NAMES_MAX, err);
    }
    return status != QUIPU_OK ? status : collect_place(run, event, err);
}

enum quipu_status quipu_export_collect(struct quipu_export_run *run, struct quipu_error *err)
{
    enum quipu_status status = quipu_each_event(run->engine, &run->filter, collect_event, run, err);
    if (status == QUIPU_OK && run->tree.size == 0) {
        status =
            run->options.from == QUIPU_EXPORT_SINCE_LAST
                ? quipu_error_set(err, QUIPU_NOT_FOUND,
                                  "no event has come in since bundle number %" PRIu64,
                                  run->last.number)
                : quipu_error_set(err, QUIPU_NOT_FOUND, "no event is let through by the filter");
    }
    return status;
}

/* ------------------------------------------------------------------ parts */

/* The part of the list of events that chunk `index` holds. */
struct quipu_slice quipu_export_chunk(const struct quipu_export_run *run, uint64_t index)
{
    size_t chunk_bytes = (size_t)QUIPU_BUNDLE_CHUNK_LINKS_MAX * QUIPU_SHA256_BYTES;
    size_t from = (size_t)index * chunk_bytes;
    size_t left = run->digests.len - from;
    return quipu_slice(run->digests.data + from, left < chunk_bytes ? left : chunk_bytes);
}

uint64_t quipu_export_chunk_count(const struct quipu_export_run *run)
{
    uint64_t events = run->tree.size;
    return events <= QUIPU_BUNDLE_INLINE_EVENTS_MAX ? 0 : quipu_bundle_manifest_link_count(events);
}

struct quipu_slice quipu_export_proof_part(const struct quipu_export_run *run, size_t index)
{
    size_t part_bytes = (size_t)QUIPU_BUNDLE_PROOF_HASHES_MAX * QUIPU_SHA256_BYTES;
    size_t from = index * part_bytes;
    size_t left = run->proof.len - from;
    return quipu_slice(run->proof.data + from, left < part_bytes ? left : part_bytes);
}

/* ------------------------------------------------------------------ the place in the log */

/* The tree of the bundle before must be a beginning of this one's: in the store itself first. */
static enum quipu_status check_previous_tree(struct quipu_export_run *run, struct quipu_error *err)
{
    const struct quipu_proof_tree *before = &run->last.tree;
    uint8_t root[QUIPU_SHA256_BYTES] = {0};
    enum quipu_status status =
        before->size > run->log.size
            ? QUIPU_OK
            : quipu_merkle_log_root(&run->log, (struct quipu_proof_range){0, before->size}, root,
                                    err);
    if (status == QUIPU_OK &&
        (before->size > run->log.size || memcmp(root, before->root, sizeof root) != 0)) {
        status = quipu_error_set(err, QUIPU_CORRUPT,
                                 "the log is not what bundle number %" PRIu64
                                 " said of it: its first %" PRIu64 " events were changed",
                                 run->last.number, before->size);
    }
    return status;
}

static enum quipu_status prove_consistency(struct quipu_export_run *run, struct quipu_error *err)
{
    struct quipu_proof_range ranges[QUIPU_PROOF_CONSISTENCY_MAX];
    struct quipu_bundle_log *log = &run->manifest.log;
    enum quipu_status status = check_previous_tree(run, err);
    size_t count = quipu_proof_consistency(run->last.tree.size, run->log.size, ranges);
    for (size_t i = 0; status == QUIPU_OK && i < count; i++) {
        uint8_t hash[QUIPU_SHA256_BYTES];
        status = quipu_merkle_log_root(&run->log, ranges[i], hash, err);
        quipu_buf_append(&run->consistency, hash, sizeof hash);
    }
    if (status == QUIPU_OK && run->consistency.status != QUIPU_OK) {
        status = no_memory(run, err);
    }
    log->has_previous = true;
    log->previous = run->last.tree;
    log->consistency = quipu_buf_slice(&run->consistency);
    return status;
}

static enum quipu_status prove_inclusion(struct quipu_export_run *run, struct quipu_error *err)
{
    size_t count = run->named.len / sizeof(uint64_t);
    size_t part_bytes = (size_t)QUIPU_BUNDLE_PROOF_HASHES_MAX * QUIPU_SHA256_BYTES;
    enum quipu_status status = QUIPU_OK;
    if (count > 0) {
        /* Aligned: a buffer's memory comes from the allocator. */
        const uint64_t *named = (const void *)run->named.data;
        status = quipu_merkle_log_prove(&run->log, named, count, &run->proof, err);
    }
    quipu_buf_release(&run->named);
    for (size_t i = 0; status == QUIPU_OK && i * part_bytes < run->proof.len; i++) {
        struct quipu_cid cid = quipu_cid_of(QUIPU_CODEC_RAW, quipu_export_proof_part(run, i));
        quipu_buf_append(&run->manifest.log.proof, cid.digest, sizeof cid.digest);
    }
    return status != QUIPU_OK || run->manifest.log.proof.status == QUIPU_OK ? status
                                                                            : no_memory(run, err);
}

static enum quipu_status make_log(struct quipu_export_run *run, struct quipu_error *err)
{
    run->log_tree.size = run->log.size;
    enum quipu_status status = quipu_merkle_log_root(
        &run->log, (struct quipu_proof_range){0, run->log.size}, run->log_tree.root, err);
    if (status == QUIPU_OK && !run->is_read_only && run->last.has_tree) {
        status = prove_consistency(run, err);
    }
    if (status == QUIPU_OK) {
        status = prove_inclusion(run, err);
    }
    if (status == QUIPU_OK) {
        status =
            quipu_checkpoint_sign(run->engine, run->source, &run->log_tree, &run->checkpoint, err);
    }
    run->manifest.log.checkpoint = quipu_buf_slice(&run->checkpoint);
    return status;
}

/* ------------------------------------------------------------------ the blocks in front */

/* The manifest's links: the events themselves, or chunks (encoded again when they are written). */
static enum quipu_status fill_links(struct quipu_export_run *run, struct quipu_error *err)
{
    struct quipu_buf *links = &run->manifest.links;
    struct quipu_buf block = QUIPU_BUF_INIT;
    enum quipu_status status = QUIPU_OK;
    uint64_t events = run->tree.size;
    if (events <= QUIPU_BUNDLE_INLINE_EVENTS_MAX) {
        quipu_buf_append_slice(links, quipu_buf_slice(&run->digests));
    }
    uint64_t chunks = quipu_export_chunk_count(run);
    for (uint64_t i = 0; status == QUIPU_OK && i < chunks; i++) {
        quipu_buf_reset(&block);
        status = quipu_bundle_chunk_encode(quipu_export_chunk(run, i), &block, err);
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

static enum quipu_status make_manifest(struct quipu_export_run *run, struct quipu_error *err)
{
    struct quipu_clock clock =
        run->options.clock != NULL ? *run->options.clock : quipu_clock_system();
    struct quipu_bundle_manifest *manifest = &run->manifest;
    manifest->number = run->is_read_only ? 0 : run->last.number + 1;
    manifest->has_previous = manifest->number > 1;
    manifest->previous = run->last.manifest;
    manifest->source = quipu_slice_text(run->source);
    manifest->tool = quipu_slice_text("quipu " QUIPU_VERSION_TEXT);
    manifest->operator_name = quipu_slice_text(run->options.operator_name);
    manifest->reason = quipu_slice_text(run->options.reason);
    manifest->created_unix_us = clock.unix_us(clock.ctx);
    manifest->tree_size = run->tree.size;
    quipu_merkle_root(&run->tree, manifest->tree_root);
    enum quipu_status status = fill_links(run, err);
    if (status == QUIPU_OK) {
        status = quipu_bundle_manifest_encode(manifest, &run->manifest_block, err);
    }
    if (status == QUIPU_OK) {
        run->manifest_cid =
            quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_buf_slice(&run->manifest_block));
    }
    return status;
}

static enum quipu_status make_root(struct quipu_export_run *run, struct quipu_error *err)
{
    struct quipu_bundle_root root = {.manifest = run->manifest_cid, .signature_count = 1};
    struct quipu_buf signature = QUIPU_BUF_INIT;
    enum quipu_status status =
        quipu_sshsig_sign(run->engine, QUIPU_BUNDLE_NAMESPACE,
                          quipu_buf_slice(&run->manifest_block), &signature, err);
    if (status == QUIPU_OK) {
        root.signatures[0] = quipu_buf_slice(&signature);
        status = quipu_bundle_root_encode(&root, &run->root_block, err);
    }
    if (status == QUIPU_OK) {
        run->root_cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_buf_slice(&run->root_block));
    }
    quipu_buf_release(&signature);
    return status;
}

enum quipu_status quipu_export_front(struct quipu_export_run *run, struct quipu_error *err)
{
    enum quipu_status status = make_log(run, err);
    if (status == QUIPU_OK) {
        status = make_manifest(run, err);
    }
    return status != QUIPU_OK ? status : make_root(run, err);
}

/*
 * What a bundle proves about the log it is taken from: the checkpoint is signed by its source, the
 * tree began as that of the bundle before, and each event of the source is in it at its number.
 * Events of other sources, and those that the manifest names as outside, have no place in that tree
 * and none is claimed.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bundle_parts.h"
#include "checkpoint.h"

#define WHAT_BYTES 64

/* Part `index` of the proof of inclusion, a raw block of hashes, full but for the last. */
static enum quipu_status read_part(struct quipu_bundle_reader *reader, size_t index, size_t count)
{
    struct quipu_cid cid = {.codec = QUIPU_CODEC_RAW};
    char what[WHAT_BYTES];
    size_t full = (size_t)QUIPU_BUNDLE_PROOF_HASHES_MAX * QUIPU_SHA256_BYTES;
    (void)snprintf(what, sizeof what, "part %zu of %zu of the proof", index + 1, count);
    memcpy(cid.digest, reader->manifest.log.proof.data + index * QUIPU_SHA256_BYTES,
           sizeof cid.digest);
    enum quipu_status status = quipu_bundle_next_block(reader, what);
    if (status == QUIPU_OK) {
        status = quipu_bundle_expect(reader, &cid, what);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (reader->block.len == 0 || reader->block.len > full ||
        reader->block.len % QUIPU_SHA256_BYTES != 0 ||
        (index + 1 < count && reader->block.len != full)) {
        return quipu_error_set_at(reader->err, QUIPU_BUNDLE, reader->offset,
                                  "%s has %zu bytes, which is no list of hashes in its place", what,
                                  reader->block.len);
    }
    quipu_buf_append_slice(&reader->proof_hashes, reader->block);
    return reader->proof_hashes.status == QUIPU_OK
               ? QUIPU_OK
               : quipu_error_set(reader->err, QUIPU_NO_MEMORY, "no memory for a proof");
}

enum quipu_status quipu_bundle_read_proof(struct quipu_bundle_reader *reader)
{
    const struct quipu_bundle_log *log = &reader->manifest.log;
    size_t parts = log->proof.len / QUIPU_SHA256_BYTES;
    enum quipu_status status = quipu_checkpoint_verify(log->checkpoint, reader->manifest.source,
                                                       &reader->log_tree, reader->err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (log->has_previous &&
        !quipu_proof_is_consistent(&log->previous, &reader->log_tree, log->consistency)) {
        return quipu_error_set(reader->err, QUIPU_BUNDLE,
                               "the proof of consistency does not hold: that the log's first "
                               "%" PRIu64 " of %" PRIu64 " events are those of the checkpoint "
                               "before is not proven",
                               log->previous.size, reader->log_tree.size);
    }
    for (size_t i = 0; status == QUIPU_OK && i < parts; i++) {
        status = read_part(reader, i, parts);
    }
    reader->proof.size = reader->log_tree.size;
    reader->proof.rest = quipu_buf_slice(&reader->proof_hashes);
    return status;
}

/* Does the manifest say that the event is in no tree? */
static bool is_outside(struct quipu_bundle_reader *reader, uint64_t index)
{
    const struct quipu_buf *outside = &reader->manifest.log.outside;
    uint64_t place = 0;
    if (reader->outside_next * sizeof place >= outside->len) {
        return false;
    }
    memcpy(&place, outside->data + reader->outside_next * sizeof place, sizeof place);
    reader->outside_next += place == index;
    return place == index;
}

enum quipu_status quipu_bundle_prove(struct quipu_bundle_reader *reader, uint64_t index,
                                     const struct quipu_envelope *envelope)
{
    uint8_t hash[QUIPU_SHA256_BYTES];
    bool is_own = quipu_slice_equal(envelope->source, reader->manifest.source);
    if (is_outside(reader, index)) {
        return is_own ? QUIPU_OK
                      : quipu_error_set_at(reader->err, QUIPU_BUNDLE, reader->offset,
                                           "the manifest names it as outside of the log's tree, "
                                           "but another source recorded it");
    }
    if (!is_own) {
        return QUIPU_OK;
    }
    quipu_merkle_leaf(reader->block, hash);
    if (!quipu_proof_leaf(&reader->proof, envelope->source_seq - 1, hash)) {
        return quipu_error_set_at(reader->err, QUIPU_BUNDLE, reader->offset,
                                  "number %" PRIu64 " has no place in the log's tree of %" PRIu64
                                  " events: it is out of order, beyond its end, or not proven",
                                  envelope->source_seq, reader->log_tree.size);
    }
    reader->proven++;
    reader->proven_new += envelope->source_seq > reader->manifest.log.previous.size;
    return QUIPU_OK;
}

enum quipu_status quipu_bundle_check_proof(struct quipu_bundle_reader *reader)
{
    uint8_t root[QUIPU_SHA256_BYTES];
    if (reader->proven == 0) {
        return reader->proof.rest.len == 0
                   ? QUIPU_OK
                   : quipu_error_set(reader->err, QUIPU_BUNDLE,
                                     "there is a proof, but no event of the source");
    }
    if (!quipu_proof_finish(&reader->proof, root) ||
        memcmp(root, reader->log_tree.root, sizeof root) != 0) {
        return quipu_error_set(reader->err, QUIPU_BUNDLE,
                               "events and proof do not give the root of the checkpoint: that they "
                               "belong to the log is not proven");
    }
    return QUIPU_OK;
}

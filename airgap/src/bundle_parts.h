/*
 * What the reader of a bundle holds on its way through the file, shared by the two files that it is
 * written in: bundle_reader.c (root, manifest, signatures, the end) and bundle_events.c (the list
 * of events and the events).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_AIRGAP_BUNDLE_PARTS_H
#define QUIPU_AIRGAP_BUNDLE_PARTS_H

#include "bundle_manifest.h"
#include "bundle_reader.h"
#include "merkle.h"
#include "payload_window.h"
#include "quipu/car.h"

/* The source below, and what it gave hashed. */
struct quipu_bundle_input {
    struct quipu_source source;
    uint64_t bytes;
    struct quipu_sha256_stream sha256;
};

struct quipu_bundle_reader {
    const struct quipu_bundle_pass *pass;
    struct quipu_error *err;
    struct quipu_bundle_input input;
    struct quipu_car_reader *car;
    uint64_t blocks; /* read so far */

    /* The block that is being looked at; slices live until the next one. */
    struct quipu_cid cid;
    struct quipu_slice block;
    uint64_t offset;      /* of its section */
    uint64_t data_offset; /* of its first byte */

    struct quipu_buf root_block; /* what the slices below borrow from */
    struct quipu_buf manifest_block;
    struct quipu_bundle_root root;
    struct quipu_bundle_manifest manifest;
    uint64_t manifest_offset; /* of its section */
    struct quipu_signer_group group;

    struct quipu_buf proof_hashes; /* what the proof reader borrows from */
    struct quipu_proof_reader proof;
    struct quipu_proof_tree log_tree; /* what the checkpoint says */
    size_t outside_next;              /* in manifest.log.outside */
    uint64_t proven;
    uint64_t proven_new; /* of them, those behind the checkpoint before */

    struct quipu_buf digests; /* of the envelopes in order, 32 bytes each */
    struct quipu_buf envelope_block;
    struct quipu_payload_window window;
    struct quipu_merkle tree;
    struct quipu_tally_entry *types_seen; /* beside manifest.types and manifest.sources */
    struct quipu_tally_entry *sources_seen;
};

/* The next block, which `what` says for people. QUIPU_BUNDLE: the file ends before it, or its CID
 * is outside the event profile. */
QUIPU_MUST_CHECK enum quipu_status quipu_bundle_next_block(struct quipu_bundle_reader *reader,
                                                           const char *what);

/* A decoder has refused the block: say which block, and turn its offset into one of the file. */
QUIPU_MUST_CHECK enum quipu_status quipu_bundle_refused(struct quipu_bundle_reader *reader,
                                                        enum quipu_status status, const char *what);

/* The same for root, manifest and chunks: where one of them cannot be read, the file is no bundle.
 */
QUIPU_MUST_CHECK enum quipu_status quipu_bundle_not_one(struct quipu_bundle_reader *reader,
                                                        enum quipu_status status, const char *what);

/* The block is the one with this CID. QUIPU_BUNDLE. */
QUIPU_MUST_CHECK enum quipu_status quipu_bundle_expect(struct quipu_bundle_reader *reader,
                                                       const struct quipu_cid *cid,
                                                       const char *what);

/* Bring the list of envelopes together, from the manifest or the chunks, and find none twice. */
QUIPU_MUST_CHECK enum quipu_status quipu_bundle_read_list(struct quipu_bundle_reader *reader);

/* The checkpoint, the proof of consistency, and the blocks of the proof of inclusion. */
QUIPU_MUST_CHECK enum quipu_status quipu_bundle_read_proof(struct quipu_bundle_reader *reader);

/* Put an event (its block is still the one that is looked at) to its place in the log's tree. */
QUIPU_MUST_CHECK enum quipu_status quipu_bundle_prove(struct quipu_bundle_reader *reader,
                                                      uint64_t index,
                                                      const struct quipu_envelope *envelope);

/* Events and proof together have the root that the checkpoint says. */
QUIPU_MUST_CHECK enum quipu_status quipu_bundle_check_proof(struct quipu_bundle_reader *reader);

/* Every event, each checked and handed on. */
QUIPU_MUST_CHECK enum quipu_status quipu_bundle_read_events(struct quipu_bundle_reader *reader);

/* What the events added up to is what the manifest says. */
QUIPU_MUST_CHECK enum quipu_status quipu_bundle_check_sums(struct quipu_bundle_reader *reader);

#endif

/*
 * One export while it runs, shared by the files that it is written in: export.c (which events, and
 * the end), export_collect.c (first pass and the blocks in front), export_write.c (second pass and
 * reading back).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_AIRGAP_EXPORT_RUN_H
#define QUIPU_AIRGAP_EXPORT_RUN_H

#include "bundle_manifest.h"
#include "export_record.h"
#include "export_target.h"
#include "merkle.h"
#include "merkle_log.h"
#include "payload_window.h"
#include "quipu/bundle.h"

struct quipu_export_run {
    struct quipu_engine *engine;
    struct quipu_export_options options;
    struct quipu_filter filter; /* with its beginning and end fixed */
    struct quipu_store_lock *lock;
    bool is_read_only; /* the store cannot be written: no number, no row */
    char source[QUIPU_SOURCE_TEXT_BYTES];
    struct quipu_export_record last;
    uint64_t log_end; /* last position of the log when the export began */

    struct quipu_merkle_log log;
    struct quipu_proof_tree log_tree;
    struct quipu_buf named; /* uint64_t each: the bundle's leaves in the tree of the log */
    struct quipu_buf proof; /* hashes */
    struct quipu_buf checkpoint;
    struct quipu_buf consistency;

    struct quipu_buf digests; /* of the envelopes in order */
    struct quipu_merkle tree;
    struct quipu_bundle_manifest manifest;
    struct quipu_buf manifest_block;
    struct quipu_buf root_block;
    struct quipu_cid manifest_cid;
    struct quipu_cid root_cid;

    struct quipu_export_target target;
    struct quipu_age_writer *age; /* NULL: not encrypted */
    struct quipu_sha256_stream car_stream;
    uint8_t car_sha256[QUIPU_SHA256_BYTES];
    struct quipu_sink sink; /* takes the CAR */
    struct quipu_payload_window window;
    uint64_t written; /* events, in the second pass */
};

/* First pass: hash every block again; collect CIDs, counts, ranges, places in the log. */
QUIPU_MUST_CHECK enum quipu_status quipu_export_collect(struct quipu_export_run *run,
                                                        struct quipu_error *err);

/* Checkpoint, proofs, manifest, signature and root. */
QUIPU_MUST_CHECK enum quipu_status quipu_export_front(struct quipu_export_run *run,
                                                      struct quipu_error *err);

/* The part of the list of events that chunk `index` holds; how many chunks there are. */
struct quipu_slice quipu_export_chunk(const struct quipu_export_run *run, uint64_t index);
uint64_t quipu_export_chunk_count(const struct quipu_export_run *run);

/* Part `index` of the proof. */
struct quipu_slice quipu_export_proof_part(const struct quipu_export_run *run, size_t index);

/* Second pass: all blocks to the target, synced. */
QUIPU_MUST_CHECK enum quipu_status quipu_export_write(struct quipu_export_run *run,
                                                      struct quipu_error *err);

/* Read the target back: as an importer would, or, encrypted, byte by byte. */
QUIPU_MUST_CHECK enum quipu_status quipu_export_read_back(struct quipu_export_run *run,
                                                          struct quipu_error *err);

#endif

/*
 * The blocks of a bundle that say what is in it: root, manifest, and chunks of the list of events.
 * Encoded canonically, decoded strictly; encode(decode(x)) = x for every x that is accepted.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_AIRGAP_BUNDLE_MANIFEST_H
#define QUIPU_AIRGAP_BUNDLE_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proof.h"
#include "quipu/buf.h"
#include "quipu/bundle.h"
#include "quipu/cid.h"
#include "quipu/error.h"
#include "quipu/slice.h"
#include "tally.h"

/* Up to this many events the manifest links them itself; above, through chunks. */
#define QUIPU_BUNDLE_INLINE_EVENTS_MAX 25000u
#define QUIPU_BUNDLE_CHUNK_LINKS_MAX   8192u
#define QUIPU_BUNDLE_SIGNATURES_MAX    QUIPU_SIGNERS_MAX
#define QUIPU_BUNDLE_TOOL_BYTES_MAX    64u

/* The proof of inclusion lies in raw blocks of this many hashes; the last one has the rest. */
#define QUIPU_BUNDLE_PROOF_HASHES_MAX 32768u
#define QUIPU_BUNDLE_PROOF_BLOCKS_MAX 16384u
#define QUIPU_BUNDLE_OUTSIDE_MAX      16384u

/* What quipu stores as an integer stays where every peer can carry it. */
#define QUIPU_BUNDLE_INT_MAX ((UINT64_C(1) << 53) - 1)

/* Where the bundle stands in the log of the store that exports: all that this source recorded. */
struct quipu_bundle_log {
    struct quipu_buf proof;        /* digests, 32 bytes each, of the raw blocks of the proof */
    struct quipu_buf outside;      /* uint64_t each: places in the bundle, from 0, ascending, of
                                      events of this source that are not in its tree */
    struct quipu_slice checkpoint; /* a signed note */
    bool has_previous;
    struct quipu_proof_tree previous; /* of the bundle before */
    struct quipu_slice consistency;   /* hashes: the tree began as the previous one */
};

/* Slices are borrowed from the block (decode) or the caller (encode). */
struct quipu_bundle_manifest {
    uint64_t number; /* of this source's bundles, from 1; 0: made where none could be taken */
    struct quipu_bundle_log log;
    bool has_previous;
    struct quipu_cid previous; /* manifest of the bundle before it */
    struct quipu_slice source; /* NKey text of the store that exports */
    struct quipu_slice tool;
    struct quipu_slice operator_name; /* empty: not said */
    struct quipu_slice reason;        /* the same */
    int64_t created_unix_us;
    uint64_t first_position;
    uint64_t last_position;
    struct quipu_tally types;   /* events per event type */
    struct quipu_tally sources; /* events per source, with the range of their source_seq */
    uint64_t tree_size;         /* events in the bundle */
    uint8_t tree_root[QUIPU_SHA256_BYTES];
    /* Digests, 32 bytes each, of the envelopes or, above 25,000, of the chunks. */
    struct quipu_buf links;
};

void quipu_bundle_manifest_release(struct quipu_bundle_manifest *manifest);

/* How many links the manifest of `events` events holds. */
uint64_t quipu_bundle_manifest_link_count(uint64_t events);

/* Append the block. QUIPU_BUNDLE (a field is outside its limits), QUIPU_TOO_LARGE, QUIPU_NO_MEMORY.
 */
QUIPU_MUST_CHECK enum quipu_status
quipu_bundle_manifest_encode(const struct quipu_bundle_manifest *manifest, struct quipu_buf *out,
                             struct quipu_error *err);

/* `*out` is released by the caller on QUIPU_OK only. QUIPU_BUNDLE (err names the field),
 * QUIPU_CBOR_*, QUIPU_CID_PROFILE, QUIPU_FORMAT_NEWER, QUIPU_NO_MEMORY. */
QUIPU_MUST_CHECK enum quipu_status quipu_bundle_manifest_decode(struct quipu_slice block,
                                                                struct quipu_bundle_manifest *out,
                                                                struct quipu_error *err);

/* What both of the above hold a manifest to: limits, sums and ranges. QUIPU_BUNDLE. */
QUIPU_MUST_CHECK enum quipu_status
quipu_bundle_manifest_check(const struct quipu_bundle_manifest *manifest, struct quipu_error *err);

/* The block that the CAR's root names. Slices as above. */
struct quipu_bundle_root {
    struct quipu_cid manifest;
    size_t signature_count;
    struct quipu_slice signatures[QUIPU_BUNDLE_SIGNATURES_MAX];
};

QUIPU_MUST_CHECK enum quipu_status quipu_bundle_root_encode(const struct quipu_bundle_root *root,
                                                            struct quipu_buf *out,
                                                            struct quipu_error *err);
QUIPU_MUST_CHECK enum quipu_status quipu_bundle_root_decode(struct quipu_slice block,
                                                            struct quipu_bundle_root *out,
                                                            struct quipu_error *err);

/* A chunk: a list of links, given and taken as digests. Decoding appends to `digests` and wants
 * exactly `count` links. */
QUIPU_MUST_CHECK enum quipu_status quipu_bundle_chunk_encode(struct quipu_slice digests,
                                                             struct quipu_buf *out,
                                                             struct quipu_error *err);
QUIPU_MUST_CHECK enum quipu_status quipu_bundle_chunk_decode(struct quipu_slice block,
                                                             uint64_t count,
                                                             struct quipu_buf *digests,
                                                             struct quipu_error *err);

#endif

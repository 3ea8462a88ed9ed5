/*
 * Bundles: a batch of events as one file that travels over an air gap. The file is a CARv1 that any
 * IPLD tool lists and verifies; its root names a manifest, and the manifest is signed with SSHSIG
 * by the store's key.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_BUNDLE_H
#define QUIPU_BUNDLE_H

#include <stdbool.h>
#include <stdint.h>

#include "quipu/engine.h"
#include "quipu/ingest.h"

#ifdef __cplusplus
extern "C" {
#endif

#define QUIPU_BUNDLE_FORMAT    1
#define QUIPU_BUNDLE_NAMESPACE "quipu-bundle@v1"

struct quipu_export_options {
    size_t size;                /* sizeof this struct */
    struct quipu_filter filter; /* which events; direction must be forwards */
    const char *operator_name;  /* who exports, for the manifest; NULL: not said */
    const char *reason;         /* why; NULL: not said */
};

#define QUIPU_EXPORT_OPTIONS_INIT                                                                  \
    {                                                                                              \
        .size = sizeof(struct quipu_export_options)                                                \
    }

struct quipu_export_report {
    uint64_t events;
    uint64_t file_bytes;
    uint64_t first_position;
    uint64_t last_position;
    struct quipu_cid root; /* of the CAR */
    struct quipu_cid manifest;
    uint8_t file_sha256[QUIPU_SHA256_BYTES];
};

/**
 * Write the events to a new file `path`: to a temporary name beside it first, synced, read back and
 * verified, then renamed. Marks nothing as published.
 * @retval QUIPU_EXISTS     there is such a file; it is not touched
 * @retval QUIPU_NOT_FOUND  no event is let through by the filter; no file is made
 * @retval QUIPU_CORRUPT    a stored block does not hash to its CID; no file is made
 * @retval QUIPU_IO, QUIPU_NO_SPACE, QUIPU_PERMISSION, QUIPU_NO_MEMORY, …
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_export(struct quipu_engine *engine, const char *path,
             const struct quipu_export_options *options, struct quipu_export_report *report,
             struct quipu_error *err);

struct quipu_bundle_report {
    uint64_t events;
    uint64_t blocks;
    uint64_t file_bytes;
    struct quipu_cid manifest;
    char signer[QUIPU_SOURCE_TEXT_BYTES]; /* NKey text of the key whose signature holds */
    char source[QUIPU_SOURCE_TEXT_BYTES]; /* store that exported it, as its manifest says */
    int64_t created_unix_us;
    uint8_t file_sha256[QUIPU_SHA256_BYTES];
};

/**
 * Check a bundle by itself, without a store: every block against its CID, the manifest against the
 * blocks, the signature, each envelope strictly.
 * @retval QUIPU_OK             intact, and signed by `report->signer`
 * @retval QUIPU_CAR*, QUIPU_CID_MISMATCH  the file is damaged; err says which byte
 * @retval QUIPU_BUNDLE         a CAR, but not a bundle; or manifest and blocks disagree
 * @retval QUIPU_BAD_SIGNATURE  no signature holds
 * @retval QUIPU_FORMAT_NEWER, QUIPU_NOT_FOUND, QUIPU_PERMISSION, QUIPU_IO, QUIPU_NO_MEMORY
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_bundle_check(const char *path, struct quipu_bundle_report *report, struct quipu_error *err);

struct quipu_import_options {
    size_t size; /* sizeof this struct */
    /** Check everything against the store and report, but write nothing. */
    bool is_dry_run;
    /** NKey texts "U…" of the signers that are trusted; NULL with count 0: any valid signature. */
    const char *const *trusted;
    size_t trusted_count;
};

#define QUIPU_IMPORT_OPTIONS_INIT                                                                  \
    {                                                                                              \
        .size = sizeof(struct quipu_import_options)                                                \
    }

struct quipu_import_report {
    struct quipu_bundle_report bundle;
    struct quipu_ingest_report events;
};

/**
 * Check the bundle as quipu_bundle_check does, then take its events in: all or none, in one
 * transaction. Importing the same bundle again adds nothing.
 * @retval as quipu_bundle_check and quipu_ingest_event; the store is then untouched
 * @retval QUIPU_BAD_SIGNATURE  also: the signer is not one of `trusted`
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_import(struct quipu_engine *engine, const char *path,
             const struct quipu_import_options *options, struct quipu_import_report *report,
             struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif

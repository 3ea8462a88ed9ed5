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

/* Limits of one bundle. More than that: export in parts. */
#define QUIPU_BUNDLE_EVENTS_MAX         (1u << 26)
#define QUIPU_BUNDLE_NAMES_MAX          16384u /* event types, and sources */
#define QUIPU_BUNDLE_OPERATOR_BYTES_MAX 255
#define QUIPU_BUNDLE_REASON_BYTES_MAX   1023

struct quipu_export_options {
    size_t size;                     /* sizeof this struct */
    struct quipu_filter filter;      /* which events; direction must be forwards */
    const char *operator_name;       /* who exports, for the manifest; NULL: not said */
    const char *reason;              /* why; NULL: not said */
    const struct quipu_clock *clock; /* for created_at; NULL: the system's */
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
    uint64_t number; /* of this store's bundles, from 1 */
};

/**
 * Write the events to a new file `path`: to a temporary name beside it first, synced, read back and
 * verified, then renamed. Marks nothing as published. The bundle's number and manifest are recorded
 * in the store once the file stands, so that the next bundle links to it. The signing key and the
 * source are made where the store has none yet. Needs 32 bytes of memory an event while it writes
 * and about 48 while it reads back, besides 24 MiB.
 * @param options  NULL: every event, nothing said
 * @param report   NULL: not wanted; written on QUIPU_OK only
 * @retval QUIPU_EXISTS     there is such a file (or folder or link); it is not touched
 * @retval QUIPU_NOT_FOUND  no event is let through by the filter, or the folder of `path` is not
 *                          there; no file is made
 * @retval QUIPU_CORRUPT    a stored block does not hash to its CID; no file is made
 * @retval QUIPU_BUSY       another export of this store is running
 * @retval QUIPU_INVALID    operator or reason is empty, too long or holds control characters; or
 *                          `path` names no file
 * @retval QUIPU_TOO_LARGE  over a limit of one bundle
 * @retval QUIPU_MISUSE     `size` of the options is another, or the filter goes backwards
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
    uint64_t number;         /* of that store's bundles, from 1 */
    uint64_t first_position; /* in that store's log */
    uint64_t last_position;
    bool has_previous;
    struct quipu_cid previous; /* manifest of that store's bundle before this one */
    uint8_t tree_root[QUIPU_SHA256_BYTES];
    char operator_name[QUIPU_BUNDLE_OPERATOR_BYTES_MAX + 1]; /* "": not said */
    char reason[QUIPU_BUNDLE_REASON_BYTES_MAX + 1];          /* the same */
};

/**
 * Check a bundle by itself, without a store: every block against its CID, the manifest against the
 * blocks, the signatures, each envelope strictly. Needs 32 bytes of memory an event (48 for a
 * moment), besides 24 MiB.
 * @param report  NULL: not wanted; written on QUIPU_OK only
 * @retval QUIPU_OK             intact, and signed by `report->signer`
 * @retval QUIPU_CAR*, QUIPU_CID_MISMATCH  the file is damaged; err says which byte
 * @retval QUIPU_BUNDLE         a CAR, but not a bundle; or manifest and blocks disagree
 * @retval QUIPU_ENVELOPE, QUIPU_CBOR_*    an event is none, although the manifest names it
 * @retval QUIPU_BAD_SIGNATURE  not signed, or a signature does not hold, or the store that the
 *                              manifest names did not sign
 * @retval QUIPU_INVALID        a folder or a special file
 * @retval QUIPU_TOO_LARGE      a block is over the limit of its kind
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
    /** Take forks in, with their conflicts recorded (forks.h); without it they are refused. */
    bool keeps_forks;
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
 * transaction. Importing the same bundle again adds nothing. The file is read twice through one
 * descriptor, and must be the same both times.
 * @param options  NULL: any valid signature, and write
 * @param report   NULL: not wanted; written on QUIPU_OK only
 * @retval as quipu_bundle_check and quipu_ingest_event; the store is then untouched
 * @retval QUIPU_BAD_SIGNATURE  also: no signer is one of `trusted`
 * @retval QUIPU_BUNDLE         also: the file changed between the check and the import
 * @retval QUIPU_INVALID        also: a text in `trusted` is not an NKey "U…"
 * @retval QUIPU_TOO_LARGE      more than one transaction of the store holds (some 400 MB): have it
 *                              exported in parts, by position, and import these in order
 * @retval QUIPU_MISUSE         `size` of the options is another, or trusted is NULL with a count
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

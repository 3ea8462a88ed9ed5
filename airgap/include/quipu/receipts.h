/*
 * Receipts that travel back over the air gap: the machine that published says, signed, which events
 * stand in which stream under which sequence, and the machine that recorded them takes that in.
 * Nothing else marks an event as published there.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_RECEIPTS_H
#define QUIPU_RECEIPTS_H

#include <stdbool.h>
#include <stdint.h>

#include "quipu/bundle.h"

#ifdef __cplusplus
extern "C" {
#endif

#define QUIPU_RECEIPTS_FORMAT    1
#define QUIPU_RECEIPTS_NAMESPACE "quipu-receipts@v1"

#define QUIPU_RECEIPTS_STREAMS_MAX 255u
#define QUIPU_RECEIPTS_CHUNKS_MAX  8192u /* of 8,192 receipts each */

struct quipu_receipts_export_options {
    size_t size;                     /* sizeof this struct */
    const char *operator_name;       /* who exports; NULL: not said */
    const struct quipu_clock *clock; /* NULL: the system's */
};

#define QUIPU_RECEIPTS_EXPORT_OPTIONS_INIT                                                         \
    {                                                                                              \
        .size = sizeof(struct quipu_receipts_export_options)                                       \
    }

struct quipu_receipts_report {
    uint64_t receipts;
    uint64_t streams;
    uint64_t file_bytes;
    uint8_t file_sha256[QUIPU_SHA256_BYTES];
    struct quipu_cid statement;           /* what is signed */
    char source[QUIPU_SOURCE_TEXT_BYTES]; /* store that published */
    char signer[QUIPU_SOURCE_TEXT_BYTES];
    int64_t created_unix_us;
    char operator_name[QUIPU_BUNDLE_OPERATOR_BYTES_MAX + 1]; /* "": not said */
    /* Of an import: */
    uint64_t added; /* events that are marked as published now */
    uint64_t known; /* that were already, in the same place as far as both name one */
    /** That are marked here as published in another stream, or under another sequence: one of the
     * two is wrong, or the event was published twice. The mark that is here stays. */
    uint64_t conflicting;
    uint64_t conflict_position; /* of the first of them, in this store; 0: there is none */
    uint64_t strangers;         /* receipts of events that are not here */
    uint64_t
        operation; /* its number in the operations log; 0: a dry run, or it could not be kept */
};

/**
 * Write the receipts of every published event to a new file `path`, signed by the store's key, and
 * record it in the operations log. The file is complete under its name, or not there. Receipts
 * whose sequence the server never named (0) are written as they are. Memory does not grow with the
 * number of events, except for 36 bytes for each 8,192.
 * @param options  NULL: nothing said
 * @param report   NULL: not wanted; written on QUIPU_OK only
 * @retval QUIPU_NOT_FOUND  nothing is published; no file is made. Or the store's key is gone
 * @retval QUIPU_EXISTS, QUIPU_NO_SPACE, QUIPU_IO, QUIPU_PERMISSION, QUIPU_INVALID (operator),
 *         QUIPU_MISUSE (size of the options), QUIPU_TOO_LARGE, QUIPU_NO_MEMORY
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_receipts_export(struct quipu_engine *engine, const char *path,
                      const struct quipu_receipts_export_options *options,
                      struct quipu_receipts_report *report, struct quipu_error *err);

/**
 * Check a file of receipts, and mark the events that it names and that are here as published. All
 * of it is checked before the first is marked. Marks are made some thousand at a time, each
 * transaction durable; a kill in between leaves marks that are true, and the same file again adds
 * the rest. A mark cannot be taken back: name who may sign receipts, in `trusted` or `trust`. A
 * receipt that contradicts a mark changes nothing and is counted. Of `options` the fields
 * is_dry_run, trusted, trust, secrets, operator_name, clock and source count, and `trust` is asked
 * for QUIPU_RECEIPTS_NAMESPACE.
 * @retval QUIPU_CAR*, QUIPU_CID_MISMATCH  damaged. QUIPU_BUNDLE  a CAR, but no receipts; or it
 *         changed meanwhile. QUIPU_FORMAT_NEWER
 * @retval QUIPU_UNSIGNED, QUIPU_BAD_SIGNATURE, QUIPU_UNTRUSTED  as quipu_import
 * @retval QUIPU_AGE_*, QUIPU_NOT_FOUND, QUIPU_INVALID, QUIPU_IO, QUIPU_NO_MEMORY, …
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_receipts_import(struct quipu_engine *engine, const char *path,
                      const struct quipu_import_options *options,
                      struct quipu_receipts_report *report, struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif

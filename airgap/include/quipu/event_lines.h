/*
 * Whole events as JSON lines, for people and scripts: canonical DAG-JSON that reads back to the
 * same bytes, and so to the same CIDs. Not signed: who can write the lines can write other events.
 *
 * Specification: docs/SPEC.md §8.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_EVENT_LINES_H
#define QUIPU_EVENT_LINES_H

#include <stdbool.h>
#include <stdint.h>

#include "quipu/bundle.h"
#include "quipu/engine.h"
#include "quipu/ingest.h"
#include "quipu/io.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Longest line: a payload at its limit with every byte escaped, and room for the envelope. */
#define QUIPU_EVENT_LINE_BYTES_MAX ((size_t)6 * QUIPU_PAYLOAD_BYTES_MAX + (512u << 10))

/**
 * Append one line without its end: {"cid": link, "envelope": …, "payload": …}. What DAG-JSON cannot
 * carry (raw payloads, maps that begin with the key "/", the greatest depth) stands as bytes, under
 * "payload_bytes" and, where the envelope is at fault, "envelope_bytes".
 * @retval QUIPU_NO_MEMORY, QUIPU_CORRUPT (a block is not DAG-CBOR)
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_event_line_write(const struct quipu_event_view *event, struct quipu_buf *out,
                       struct quipu_error *err);

/**
 * Lines in the steps of a bundle (bundle.h), with the same promise: check all of them and write
 * nothing, also from a pipe; then quipu_import_compare, and one of quipu_import_accept,
 * quipu_import_accept_within and quipu_import_accept_alone; quipu_import_close. Empty lines are
 * passed over. A file is read once for each step, and must be the same each time; a source is
 * copied to a file of mode 0600 without a name in the store's folder. Needs memory for one line.
 * quipu_import_bundle has events, all of them unproven, file_bytes and file_sha256, and nothing
 * else.
 * @param path     Borrowed until close, like all that `options` points at.
 * @param options  NULL: the defaults. Of signers, gaps and secrets nothing may be named;
 *                 takes_unproven must be set to write.
 * @param out      Close it with quipu_import_close. Untouched on failure.
 * @retval QUIPU_JSON, QUIPU_DAGJSON, QUIPU_INVALID  a line is none; err names it
 * @retval QUIPU_INVALID        also: options that are for a bundle; a folder, a pipe by its path
 * @retval QUIPU_TOO_LARGE      a line over QUIPU_EVENT_LINE_BYTES_MAX, or a block over its limit
 * @retval QUIPU_UNTRUSTED      there are events, and they are to be written without takes_unproven
 * @retval QUIPU_AGE_NO_MATCH   it is encrypted
 * @retval QUIPU_MISUSE, QUIPU_IO, QUIPU_NO_SPACE, …, as quipu_foreign_check, or what the source
 * says
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_import_open_lines(struct quipu_engine *engine, const char *path,
                        const struct quipu_import_options *options, struct quipu_import **out,
                        struct quipu_error *err);

struct quipu_lines_import_options {
    size_t size;                     /* sizeof this struct */
    bool is_dry_run;                 /* check everything, write nothing */
    bool keeps_forks;                /* as for quipu_import */
    const char *operator_name;       /* for the operations log; NULL: not said */
    const struct quipu_clock *clock; /* NULL: the system's */
};

#define QUIPU_LINES_IMPORT_OPTIONS_INIT                                                            \
    {                                                                                              \
        .size = sizeof(struct quipu_lines_import_options)                                          \
    }

struct quipu_lines_report {
    uint64_t lines; /* with an event */
    struct quipu_ingest_report events;
    uint8_t sha256[QUIPU_SHA256_BYTES]; /* of all that was read */
    uint64_t operation;                 /* its number in the operations log; 0: a dry run */
};

/**
 * The same in one call: quipu_import_open_lines from a source, on whose word it may be, and
 * quipu_import_accept: all or none, in one transaction. Where there are no events nothing is
 * recorded.
 * @param report  NULL: not wanted; written on QUIPU_OK only
 * @retval QUIPU_TOO_LARGE  also: more than one transaction holds (some 400 MB); then in steps, with
 *         quipu_import_accept_alone
 * @retval as quipu_import_open_lines and quipu_import_accept; the store is then untouched
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_lines_import(struct quipu_engine *engine, struct quipu_source source,
                   const struct quipu_lines_import_options *options,
                   struct quipu_lines_report *report, struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif

/*
 * One event as a JSON line; and one pass over events as JSON lines, as bundle_reader.h has it for
 * bundles: each event is checked by itself and handed on, in memory for one line.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_AIRGAP_JSONL_H
#define QUIPU_AIRGAP_JSONL_H

#include "bundle_reader.h"

/* An event to write. Borrowed. */
struct quipu_event_line {
    const struct quipu_cid *cid;
    struct quipu_slice envelope;
    struct quipu_slice payload;
    bool is_raw;    /* the payload is no DAG-CBOR */
    bool shows_raw; /* such a payload stands under "payload", as a value that is bytes */
};

/* Append one line without its end, as quipu_event_line_write. `scratch` is storage between calls,
 * the caller's to release. */
QUIPU_MUST_CHECK enum quipu_status quipu_event_line_put(const struct quipu_event_line *line,
                                                        struct quipu_buf *scratch,
                                                        struct quipu_buf *out,
                                                        struct quipu_error *err);

/* Read to the end; err's lines begin with the number of the line. Of `pass` only the visitor is
 * heeded, which there must be. `report` is written on QUIPU_OK only: events, all of them unproven,
 * bytes and digest; nobody has made or signed it. QUIPU_JSON, QUIPU_DAGJSON, QUIPU_INVALID (no
 * event), QUIPU_TOO_LARGE, as quipu_foreign_check, what the source says, or what `visit` says. */
QUIPU_MUST_CHECK enum quipu_status quipu_lines_read(struct quipu_source source,
                                                    const struct quipu_bundle_pass *pass,
                                                    struct quipu_bundle_report *report,
                                                    struct quipu_error *err);

#endif

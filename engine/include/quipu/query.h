/*
 * Queries: one row of a projection, rows by prefix, one event, events by filter, how the store is.
 * Request and reply are maps of DAG-CBOR, so that a service passes bytes on as they are and the
 * program shows them as DAG-JSON. Only reads; hashes nothing.
 *
 * A request in DAG-JSON:
 *
 *     {"query":"get","projection":"inventory","key":"item/key/root-ca"}
 *     {"query":"list","projection":"inventory","prefix":"item/","limit":50}
 *     {"query":"event","position":7}
 *     {"query":"events","aggregate_type":"key","order":"newest","limit":20}
 *     {"query":"status"}
 *
 * Where a reply has `next`, there may be more: the same request with that value as `after` goes on
 * behind it.
 *
 * Specification: docs/SPEC.md §8.1.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_QUERY_H
#define QUIPU_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quipu/buf.h"
#include "quipu/cid.h"
#include "quipu/engine.h"
#include "quipu/error.h"
#include "quipu/export.h"
#include "quipu/slice.h"
#include "quipu/uuid.h"

#ifdef __cplusplus
extern "C" {
#endif

#define QUIPU_QUERY_FORMAT            1
#define QUIPU_QUERY_REQUEST_BYTES_MAX (64u << 10)
/** Rows or events in one reply. */
#define QUIPU_QUERY_LIMIT_DEFAULT 100
#define QUIPU_QUERY_LIMIT_MAX     10000
/** A reply; the default, and the least and the most that may be asked for. */
#define QUIPU_QUERY_REPLY_BYTES_DEFAULT (8u << 20)
#define QUIPU_QUERY_REPLY_BYTES_MIN     (4u << 10)
#define QUIPU_QUERY_REPLY_BYTES_MAX     (64u << 20)
/** Positions that one `events` goes over where no index leads to what is wanted. */
#define QUIPU_QUERY_SPAN_MAX 100000

/* X(NAME, word in the request) */
#define QUIPU_QUERY_MAP(X)                                                                         \
    X(GET, "get")                                                                                  \
    X(LIST, "list")                                                                                \
    X(STATUS, "status")                                                                            \
    X(EVENT, "event")                                                                              \
    X(EVENTS, "events")

enum quipu_query_kind {
#define QUIPU_QUERY_ENUM(name, word) QUIPU_QUERY_##name,
    QUIPU_QUERY_MAP(QUIPU_QUERY_ENUM)
#undef QUIPU_QUERY_ENUM
};

/** Its word, such as "list". Static text. Any thread. */
QUIPU_API const char *quipu_query_kind_text(enum quipu_query_kind kind);

/** A request. Zero-initialise, then set what the kind takes; slices are borrowed. */
struct quipu_query {
    enum quipu_query_kind kind;
    uint64_t limit; /* list, events: 0: QUIPU_QUERY_LIMIT_DEFAULT */

    struct quipu_slice projection; /* get, list: its name */
    struct quipu_slice key;        /* get */
    struct quipu_slice prefix;     /* list: of the keys; empty: all */
    struct quipu_slice after_key;  /* list: go on behind this key; empty: from the first */

    /* event: one of these */
    uint64_t position;          /* ≥ 1; 0: not given */
    struct quipu_uuid event_id; /* nil: not given */
    struct quipu_cid cid;       /* of the envelope or of the payload, then its first event */
    bool has_cid;

    /* events */
    bool is_newest_first;
    uint64_t after; /* go on behind this position, in the order asked for; 0: from the beginning */
    uint64_t since; /* from this position on; 0: from the first */
    uint64_t until; /* up to and with this position; 0: to the last */
    struct quipu_slice event_type; /* these four empty: any */
    struct quipu_slice aggregate_type;
    struct quipu_slice aggregate_id;  /* needs aggregate_type */
    uint64_t from_version;            /* needs aggregate_id; 0: from the first */
    struct quipu_uuid correlation_id; /* nil: any */
};

/**
 * Read a request, strictly: unknown members, and those that do not belong to this query, are
 * refused. Where the specification lets a value be written in two ways, either is read. `out`
 * borrows from `request`.
 * @retval QUIPU_INVALID       err names the member, and what it must be
 * @retval QUIPU_TOO_LARGE     over QUIPU_QUERY_REQUEST_BYTES_MAX
 * @retval QUIPU_FORMAT_NEWER  `v` is greater than QUIPU_QUERY_FORMAT
 * @retval QUIPU_CBOR_*        not DAG-CBOR
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_query_decode(struct quipu_slice request, struct quipu_query *out, struct quipu_error *err);

/** Append the request as DAG-CBOR: what is not given is left out, each value in one form.
 * @retval QUIPU_INVALID  decode would refuse it. @retval QUIPU_NO_MEMORY, QUIPU_TOO_LARGE
 * @threads any */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_query_encode(const struct quipu_query *query, struct quipu_buf *out, struct quipu_error *err);

struct quipu_query_options {
    size_t size; /* sizeof this struct */
    /** A reply is not longer than this: a page ends earlier. 0: QUIPU_QUERY_REPLY_BYTES_DEFAULT;
     * else from QUIPU_QUERY_REPLY_BYTES_MIN to QUIPU_QUERY_REPLY_BYTES_MAX. */
    size_t reply_bytes_max;
};

#define QUIPU_QUERY_OPTIONS_INIT                                                                   \
    {                                                                                              \
        .size = sizeof(struct quipu_query_options)                                                 \
    }

/**
 * Answer a request: append the reply as DAG-CBOR. Rows are read in one snapshot; a row that another
 * page had is not met again, and none between them is passed over, also where the projection goes
 * on or is rebuilt in between (`version` and `position` in each reply say which state it is of).
 * Events never move.
 *
 * @param options  NULL: the defaults
 * @param reply    On failure it holds what it held.
 * @retval QUIPU_NOT_FOUND   no such projection, row or event
 * @retval QUIPU_INVALID     decode would refuse this request
 * @retval QUIPU_TOO_LARGE   one row or event alone is over `reply_bytes_max`; err names it
 * @retval QUIPU_MISUSE      size or limit of the options
 * @retval QUIPU_CORRUPT, QUIPU_IO, QUIPU_NO_MEMORY
 * @threads any; others write meanwhile
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_query_run(struct quipu_engine *engine, const struct quipu_query *query,
                const struct quipu_query_options *options, struct quipu_buf *reply,
                struct quipu_error *err);

/** Decode and run. Statuses of both. */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_query_answer(struct quipu_engine *engine, struct quipu_slice request,
                   const struct quipu_query_options *options, struct quipu_buf *reply,
                   struct quipu_error *err);

/** Append the reply that tells of a failure, for a service that always replies: {"v", "error":
 * {"line", "number", "status"}}. `failure` may be NULL: then the status's own text.
 * @retval QUIPU_NO_MEMORY, QUIPU_TOO_LARGE (fixed buffer full) */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_query_failure(enum quipu_status status,
                                                                 const struct quipu_error *failure,
                                                                 struct quipu_buf *reply,
                                                                 struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif

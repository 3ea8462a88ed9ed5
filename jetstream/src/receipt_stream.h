/*
 * The one stream that this store's receipts speak of: its name, and when it was made. A receipt
 * says "published" without saying where a reader looks, so a flush to another stream, or to one of
 * the same name that was made anew, must not go by it.
 *
 * Specification: docs/SPEC.md §10.6.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_RECEIPT_STREAM_H
#define QUIPU_RECEIPT_STREAM_H

#include <stdbool.h>

#include "quipu/engine.h"
#include "streams.h"

/* Who flushes, and who pulls. */
#define FLUSHER_LOCK_NAME "flusher"
#define PULLER_LOCK_NAME  "puller"

/* A receipt that names a sequence, and which event it is of. */
struct known_receipt {
    uint64_t sequence; /* 0: none was found */
    uint64_t position;
};

/* The latest receipt of a message in `stream`, by its event's position. */
enum quipu_status quipu_receipt_known(struct quipu_engine *engine, const char *stream,
                                      struct known_receipt *out,
                                      struct quipu_error *err) QUIPU_MUST_CHECK;

/* How far the stream reached when this store last looked at it and all was well; at least 1. 1 too
 * where nothing is noted of this stream. */
enum quipu_status quipu_receipts_reach(struct quipu_engine *engine,
                                       const struct stream_facts *facts, uint64_t *out,
                                       struct quipu_error *err) QUIPU_MUST_CHECK;

/* Note how far it reaches. Of one made at `created_unix_ns`. */
enum quipu_status quipu_receipts_reach_put(struct quipu_txn *txn, int64_t created_unix_ns,
                                           uint64_t sequence,
                                           struct quipu_error *err) QUIPU_MUST_CHECK;

/* Does the stream still hold what receipts say, as far as its figures show? It reached `reach` when
 * it was last looked at; `newest`: the sequence of an event of ours that has no receipt yet, 0:
 * none. A stream that drops old messages by its own limits is judged by its end only; single
 * messages that somebody has deleted are not judged.
 * @retval QUIPU_DRIFT  it has been emptied since, or set back to an older state */
enum quipu_status quipu_receipts_hold(struct quipu_engine *engine, const char *stream,
                                      const struct stream_facts *facts, uint64_t reach,
                                      uint64_t newest, struct quipu_error *err) QUIPU_MUST_CHECK;

/* Make this stream ready for a flush's receipts: it is the one that they speak of, or there are
 * none, or `restart` says that they are to be forgotten. The caller holds the "flusher" lock.
 * @retval QUIPU_DRIFT  they speak of another stream
 * @retval QUIPU_BUSY   a pull is writing receipts of the other stream */
enum quipu_status quipu_receipts_for_flush(struct quipu_engine *engine, const char *stream,
                                           const struct stream_facts *facts, bool restart,
                                           struct quipu_error *err) QUIPU_MUST_CHECK;

/* May a pull from this stream write receipts? The caller holds the "puller" lock. */
enum quipu_status quipu_receipts_for_pull(struct quipu_engine *engine, const char *stream,
                                          const struct stream_facts *facts, bool *may_write,
                                          struct quipu_error *err) QUIPU_MUST_CHECK;

#endif

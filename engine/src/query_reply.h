/*
 * What the files of the query API share: the pieces of replies, pages of items, and the answers
 * that have files of their own.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_QUERY_REPLY_H
#define QUIPU_ENGINE_QUERY_REPLY_H

#include "quipu/dagcbor.h"
#include "quipu/query.h"

/* Members `v` and `query`, in their places. */
void reply_write_format(struct quipu_dagcbor_writer *writer);
void reply_write_kind(struct quipu_dagcbor_writer *writer, enum quipu_query_kind kind);

/* Text where it is valid UTF-8, else bytes. */
void reply_write_key(struct quipu_dagcbor_writer *writer, struct quipu_slice key);

/* May the block stand in a reply as the item it is? Strict DAG-CBOR that DAG-JSON can carry too,
 * for a reply may be shown as that, and not nested so deep that a reply around it would go over the
 * limit of readers. */
bool reply_takes_item(struct quipu_slice block);

void reply_write_number(struct quipu_dagcbor_writer *writer, const char *key, uint64_t value);

/* What a reply has beside its items, at most: two keys, a name, some numbers. */
#define FRAME_BYTES 2048

/* Items of the list to come. DAG-CBOR wants to know beforehand how many there are. */
struct page {
    struct quipu_buf items;   /* one behind the other */
    struct quipu_buf lengths; /* 4 bytes each */
    uint64_t count;
    uint64_t limit;
    size_t bytes_max;
    bool has_more; /* there is an item behind the last one */
};

void page_init(struct page *page, const struct quipu_query *query, size_t reply_bytes_max);
void page_release(struct page *page);

/* The item is in `items` behind `start`: keep it, or find that the page is full.
 * @retval QUIPU_DONE  it does not belong to this page any more. @retval QUIPU_TOO_LARGE  it would
 * not fit into any; `what` names it */
QUIPU_MUST_CHECK enum quipu_status page_add(struct page *page, size_t start, const char *what,
                                            struct quipu_error *err);

/* The items as the list under `key`. */
void page_write(const struct page *page, const char *key, struct quipu_dagcbor_writer *writer);

/* The reply of `event` and that of `events` (query_events.c). */
QUIPU_MUST_CHECK enum quipu_status query_event(struct quipu_txn *txn,
                                               const struct quipu_query *query,
                                               struct quipu_buf *reply, struct quipu_error *err);
QUIPU_MUST_CHECK enum quipu_status query_events(struct quipu_engine *engine,
                                                const struct quipu_query *query,
                                                size_t reply_bytes_max, struct quipu_buf *reply,
                                                struct quipu_error *err);

/* The reply of `status` (query_status.c). */
QUIPU_MUST_CHECK enum quipu_status query_status(struct quipu_engine *engine, struct quipu_buf *out,
                                                struct quipu_error *err);

#endif

/*
 * The rows of a projection while a slice of events is applied to them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_ROWS_H
#define QUIPU_ENGINE_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quipu/buf.h"
#include "quipu/projection.h"
#include "quipu/store.h"

/* A slice ends when the changes of its projections take this much. */
#define ROWS_CHANGES_BYTES_MAX ((size_t)32 << 20)

enum row_state { ROW_UNCHANGED, ROW_PUT, ROW_DELETED };

struct row_change {
    const uint8_t *key;
    uint8_t *value;
    uint32_t value_len;
    uint32_t value_cap;
    uint32_t hash;
    uint16_t key_len; /* at most QUIPU_TABLE_KEY_BYTES_MAX */
    uint8_t state;    /* enum row_state; a change that was taken back is ROW_UNCHANGED */
};

struct row_undo;
struct rows_chunk;
struct rows_order; /* rows_seek.c */

/* Changes are kept here, by key, until rows_flush writes them in the order of their keys: hot rows
 * are written once a slice, and an event that fails is taken back without a trace. */
struct quipu_rows {
    struct quipu_txn *txn;
    struct quipu_table table;
    struct row_change *changes; /* dense, in order of first change */
    size_t changes_len;
    size_t changes_cap;
    uint64_t *slots; /* hash table: hash << 32 | index + 1, 0 free; a power of two */
    size_t slots_cap;
    size_t last; /* change that was looked for last: a read is often followed by a write */
    struct row_undo *undos; /* what this event changed, to take it back */
    size_t undos_len;
    size_t undos_cap;
    struct quipu_buf undo_bytes; /* values that this event wrote over */
    struct rows_chunk *chunks;   /* keys and values; they never move */
    struct rows_order *order;    /* changes in the order of keys, NULL: nobody has sought yet */
    size_t bytes;                /* in chunks, changes, slots and order */
    bool is_read_only;           /* a reader's: put and delete refuse */
};

void rows_init(struct quipu_rows *rows);
void rows_release(struct quipu_rows *rows);

/* Look for what is not among the changes in `table` in this transaction from now on; to flush, it
 * must be a write transaction. */
void rows_attach(struct quipu_rows *rows, struct quipu_txn *txn, struct quipu_table table);

/* The event before is done; what comes now can be taken back by itself. */
void rows_event_begin(struct quipu_rows *rows);
void rows_event_undo(struct quipu_rows *rows);

/* Write all changes in the order of their keys. */
QUIPU_MUST_CHECK enum quipu_status rows_flush(struct quipu_rows *rows, struct quipu_error *err);

/* Forget all changes. */
void rows_discard(struct quipu_rows *rows);

/* The same for their order; release frees it. */
void rows_order_discard(struct quipu_rows *rows);
void rows_order_release(struct quipu_rows *rows);

#endif

/*
 * The numbers of the engine's tables in the store, the keys of its meta rows, and the two integers
 * that are read and written everywhere. Numbers are on disk: they never change their meaning.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_TABLES_H
#define QUIPU_ENGINE_TABLES_H

#include <stdint.h>

#include "quipu/store.h"

#define TABLE_META          ((struct quipu_table){1})
#define TABLE_RECEIPTS      ((struct quipu_table){2})
#define TABLE_DEAD_LETTERS  ((struct quipu_table){3})
#define TABLE_QUARANTINE    ((struct quipu_table){4})
#define TABLE_PROJECTIONS   ((struct quipu_table){5})
#define TABLE_NUMBERS       ((struct quipu_table){6})
#define TABLE_WAITING       ((struct quipu_table){7})
#define TABLE_SNAPSHOTS     ((struct quipu_table){8})
#define TABLE_FORKS         ((struct quipu_table){9})
#define TABLE_PLACES        ((struct quipu_table){12})
#define TABLE_TIPS          ((struct quipu_table){13})
#define TABLE_TYPES         ((struct quipu_table){14})
#define TABLE_STOPS         ((struct quipu_table){11})
#define TABLE_SUBSCRIPTIONS ((struct quipu_table){10})
/* Rows of projections: each generation gets the next number. */
#define TABLE_ROWS_FIRST 0x10000u

/* Rows of TABLE_META. */
#define META_SOURCE        "source"        /* 56 characters, be64 last number given */
#define META_PAST_SOURCE   "past_source/"  /* + 56 characters → be64 last number given */
#define META_OUTBOX_CURSOR "outbox_cursor" /* be64 */
#define META_KEY_WRAPPED                                                                           \
    "key_wrapped" /* be64, 1: the signing key was, when it was last looked at */
#define META_PUBLISHED     "published"       /* be64, events with a receipt */
#define META_DEAD          "dead"            /* be64, dead letters */
#define META_PENDING       "pending"         /* be64, events in quarantine that wait for others */
#define META_PENDING_BYTES "pending_bytes"   /* be64, of their rows */
#define META_KEPT_BYTES    "kept_bytes"      /* be64, of all rows in quarantine; 0: not counted */
#define META_ROWS_NEXT     "projection_next" /* be64, next number for rows of a projection */

#define POSITION_KEY_BYTES 8

/* An integer of TABLE_META; 0 where the row is absent. @retval QUIPU_CORRUPT */
QUIPU_MUST_CHECK enum quipu_status meta_get_u64(struct quipu_txn *txn, const char *key,
                                                uint64_t *value, struct quipu_error *err);
QUIPU_MUST_CHECK enum quipu_status meta_put_u64(struct quipu_txn *txn, const char *key,
                                                uint64_t value, struct quipu_error *err);

/* How many rows the table has; their values are not looked at. */
QUIPU_MUST_CHECK enum quipu_status table_count(struct quipu_txn *txn, struct quipu_table table,
                                               uint64_t *count, struct quipu_error *err);

/* The 8 bytes under which a position is a key; `storage` is borrowed by the slice. */
struct quipu_slice position_key(uint64_t position, uint8_t storage[POSITION_KEY_BYTES]);

/* The position that a key stands for. @retval QUIPU_CORRUPT  not 8 bytes; `what` names the table */
QUIPU_MUST_CHECK enum quipu_status position_of_key(struct quipu_slice key, const char *what,
                                                   uint64_t *position, struct quipu_error *err);

#endif

/*
 * A store of which every byte of data.mdb is known: what it belongs to, and which event.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_CRASH_BITS_H
#define QUIPU_TESTS_CRASH_BITS_H

#include <stdbool.h>
#include <stdint.h>

#include "sample.h"
#include "temp_dir.h"

#define EVENTS 20
#define PAGE   4096

/* What a byte of data.mdb is. */
enum place {
    PLACE_STRUCTURE = 0, /* pages of LMDB that hold no values: its metas, branches, free ones */
    PLACE_LOG_RECORD,
    PLACE_LOG_KEY,
    PLACE_LOG_PAGE, /* the rest of a page with records: headers, offsets, space between */
    PLACE_CID_INDEX,
    PLACE_ID_INDEX,
    PLACE_TERM_INDEX,
    PLACE_HEAD,
    PLACE_TABLE,
    PLACE_META,
    PLACE_INDEX_PAGE, /* the rest of a page with other values */
    PLACES,
};

struct known {
    uint8_t *envelope;
    size_t envelope_len;
    uint8_t *payload;
    size_t payload_len;
    struct quipu_cid cid;
    struct quipu_uuid event_id;
};

struct bits {
    struct temp_dir dir;
    char path[2 * TEMP_DIR_BYTES];
    char data_path[2 * TEMP_DIR_BYTES + 16];
    uint8_t *image;
    size_t image_len;
    uint8_t *places;
    uint8_t *positions;  /* of the record that a byte belongs to, 0: none */
    uint8_t *page_first; /* positions that a page of the log has bytes of, 0: none */
    uint8_t *page_last;
    struct known known[EVENTS + 1];
    uint64_t rows_hash;
    bool is_every_bit;
    bool is_sparse;
    uint64_t stride;
    struct board *board; /* of bits.c */
};

/* End the program where something is not so that must be. */
void require(bool is_true, const char *what);

/* Open the store in bits->path, or make it. */
enum quipu_status store_open(const struct bits *bits, struct quipu_store **store,
                             struct quipu_engine **engine, struct quipu_error *err);
/* Of every row of the tables that a store like this has. 0 where reading failed, which says that
 * something is wrong. */
uint64_t rows_hash(struct quipu_txn *txn, uint64_t hash);

/* What quipu_each_event does with the events of a store with a flip. */
enum served {
    SERVED_ALL = 0, /* every one, as it was appended */
    SERVED_REFUSED, /* those in front of one that is damaged */
    SERVED_FEWER,   /* not all, and nothing is said */
    SERVED_MOVED,   /* one as it was appended, but at another position */
    SERVED_OTHER,   /* bytes that were not appended */
    SERVED_KINDS,
};
#define SERVED_WAYS 2 /* blocks are hashed, or not */

enum served bits_serve(const struct bits *bits, struct quipu_engine *engine, bool skips_hashing);
void bits_print_served(const char *const names[PLACES],
                       const uint64_t counts[PLACES][SERVED_WAYS][SERVED_KINDS]);

/* Make the store in bits->path with its events, read it, and find out what each byte is. */
void bits_make(struct bits *bits);
void bits_release(struct bits *bits);

#endif

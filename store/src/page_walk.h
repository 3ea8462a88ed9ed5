/*
 * A walk over the pages of data.mdb. Private to store/.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_STORE_PAGE_WALK_H
#define QUIPU_STORE_PAGE_WALK_H

#include "data_file.h"
#include "internal.h"

/* Which pages are looked at. */
enum quipu_page_extent {
    QUIPU_PAGES_ALL = 0,
    /* Those of the log, the tables and `meta`: what repairing takes over. */
    QUIPU_PAGES_KEPT,
    /* Those that opening reads: `meta`, the roots, and the log along its end. */
    QUIPU_PAGES_OPENED,
};

struct quipu_page_options {
    enum quipu_page_extent extent;
    /* Told of each finding; false: stop. */
    bool (*problem)(void *ctx, uint64_t position, const char *line);
    void (*progress)(void *ctx, uint64_t done, uint64_t total);
    void *ctx;
};

/* An environment that is open. */
struct quipu_page_source {
    MDB_env *env;
    const char *path; /* for errors */
    bool is_still;    /* nobody writes to it */
};
/* Walk over a snapshot of its own, which nobody else in this process may remap meanwhile. Only what
 * makes it unsafe to let LMDB walk over these pages is a failure, QUIPU_CORRUPT. */
QUIPU_MUST_CHECK enum quipu_status quipu_pages_require(const struct quipu_page_source *source,
                                                       enum quipu_page_extent extent,
                                                       struct quipu_error *err);

/* The meta pages of a file, as they were at a moment when transaction number `txn` was there. */
struct quipu_page_metas {
    size_t page_bytes;
    uint64_t txn;
    uint8_t bytes[2][DATA_PAGE_HEADER_BYTES + DATA_META_BYTES];
};
/* Fill in `bytes`. 0, or an errno. */
int quipu_page_metas_read(int fd, size_t page_bytes, struct quipu_page_metas *out);

/* The same over a file in which the pages of this transaction do not change meanwhile. */
QUIPU_MUST_CHECK enum quipu_status quipu_pages_check_file(int fd,
                                                          const struct quipu_page_metas *metas,
                                                          const struct quipu_page_options *options,
                                                          struct quipu_pages_report *report,
                                                          struct quipu_error *err);

/* ------------------------------------------------------------------ page_check.c */

/* LMDB's own bound on the depth of a tree and, as it is built, on a key's length. */
#define DATA_DEPTH_MAX     32
#define DATA_KEY_BYTES_MAX 511

/* What a page must be. */
struct quipu_page_place {
    uint64_t number;
    size_t page_bytes;
    bool is_leaf;
    bool has_integer_keys;
    uint16_t node_flags; /* that a leaf's nodes may have */
    uint32_t nodes_min;
    /* Keys of the page are at or above the first and below the second; NULL: no bound. */
    const struct quipu_slice *floor;
    const struct quipu_slice *ceiling;
};

/* What is wrong with a page, as a line; `*count` is the number of its nodes. `starts` is room for
 * page_bytes / 2 numbers, all 0 before and after. Reads nothing outside of the page.
 * True: it is sound. */
bool quipu_page_is_sound(const uint8_t *page, const struct quipu_page_place *place,
                         uint16_t *starts, uint32_t *count, char why[QUIPU_ERROR_MESSAGE_BYTES]);
/* Of a page that is sound: are its keys in order and within its bounds? */
bool quipu_page_is_ordered(const uint8_t *page, const struct quipu_page_place *place,
                           uint32_t count, char why[QUIPU_ERROR_MESSAGE_BYTES]);

#endif

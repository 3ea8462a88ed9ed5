/*
 * What the two halves of the check share. Private to store/.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_STORE_CHECK_H
#define QUIPU_STORE_CHECK_H

#include "internal.h"
#include "quipu/buf.h"

struct quipu_check {
    struct quipu_txn *txn;
    bool (*problem)(void *ctx, uint64_t position, const char *line);
    void *ctx;
    uint64_t problems;
    bool has_stopped;
};

/* Count a problem and tell of it. */
void quipu_check_report(struct quipu_check *check, uint64_t position, const char *format, ...)
    QUIPU_PRINTF(3, 4);

/* Damage is a finding, and the check goes on; anything else, such as no memory, ends it. */
QUIPU_MUST_CHECK enum quipu_status quipu_check_found(struct quipu_check *check, uint64_t position,
                                                     enum quipu_status status,
                                                     const struct quipu_error *failure,
                                                     struct quipu_error *err);

/* A record and its aggregate's hash. */
QUIPU_MUST_CHECK enum quipu_status quipu_check_record(struct quipu_check *check, uint64_t position,
                                                      struct quipu_record *record, uint64_t *hash,
                                                      struct quipu_error *err);

/* Three numbers as one that shows every bit of them. */
uint64_t quipu_check_mix(uint64_t a, uint64_t b, uint64_t c);

/* Sums over what the entries of a run should be. */
struct quipu_check_sums {
    uint64_t of[QUIPU_INDEXES];
    /* A record of the run could not be read, and the sums cannot agree. */
    bool has_gap;
};
void quipu_check_add(struct quipu_check_sums *sums, const struct quipu_record *record);

/* The entries of one index of a run, as far as they are summed. */
struct quipu_check_entry_sum {
    uint64_t sum;
    uint64_t first_key;
    uint64_t last_key;
    struct quipu_entry before;
    bool is_sound; /* they rise, and can be read; true at the beginning */
};
/* Take the next segment of the run, the one of this number. */
void quipu_check_sum_segment(struct quipu_check *check, const struct quipu_run *run,
                             enum quipu_index index, uint64_t segment,
                             struct quipu_check_entry_sum *sum);
/* Behind the last segment: do the entries agree with the records, and with the fences? */
bool quipu_check_sum_agrees(const struct quipu_check_entry_sum *sum, const struct quipu_run *run,
                            enum quipu_index index, const struct quipu_check_sums *sums);

/* A head that needs no closer look: well-formed, without a fork, and its record, which is given,
 * says the same. */
bool quipu_check_head_is_plain(struct quipu_check *check, MDB_val key, MDB_val value,
                               struct quipu_record *record);
/* Can it be the key of a head? */
bool quipu_check_head_key_is_sound(struct quipu_slice key);
/* A cursor over the heads, at the first one behind `after` (empty: at the first one); closed by the
 * caller, also where LMDB's code is not 0. */
int quipu_check_heads_open(const struct quipu_txn *txn, struct quipu_slice after,
                           MDB_cursor **cursor, MDB_val *key, MDB_val *value);

/* A record less what it points at, see check.c. */
uint64_t quipu_check_link(const struct quipu_record *record, uint64_t hash);

/* Compare the entries of a run with the sums over the records of its positions. */
QUIPU_MUST_CHECK enum quipu_status quipu_check_run(struct quipu_check *check,
                                                   const struct quipu_run *run,
                                                   const struct quipu_check_sums *sums,
                                                   struct quipu_error *err);

/* Directories, unfinished merges, and values that nobody knows. */
QUIPU_MUST_CHECK enum quipu_status quipu_check_values(struct quipu_check *check,
                                                      const struct quipu_manifest *manifest,
                                                      enum quipu_index index,
                                                      struct quipu_error *err);

/* The manifest, or an empty one where it is damaged, which is reported. */
QUIPU_MUST_CHECK enum quipu_status quipu_check_manifest(struct quipu_check *check,
                                                        struct quipu_manifest *manifest,
                                                        struct quipu_error *err);

/* The back-pointers of these positions. */
QUIPU_MUST_CHECK enum quipu_status quipu_check_back_pointers(struct quipu_check *check,
                                                             uint64_t first, uint64_t last,
                                                             struct quipu_error *err);

/* Following the heads, in slices. A chain is followed in one snapshot, from where the
 * head is in it. */
struct quipu_check_heads {
    struct quipu_buf after; /* key of the last one */
    uint64_t end;           /* events up to here are counted */
    uint64_t length;        /* and must be so many behind the last head */
    uint64_t walked;        /* events, in this slice */
    bool is_over;
};
QUIPU_MUST_CHECK enum quipu_status quipu_check_heads(struct quipu_check *check,
                                                     struct quipu_check_heads *heads,
                                                     uint64_t events_max, struct quipu_error *err);

/* Compare the first `count` entries of a run, or of a merge's unfinished output, with the records.
 */
QUIPU_MUST_CHECK enum quipu_status quipu_check_entries(struct quipu_check *check,
                                                       const struct quipu_run *run,
                                                       enum quipu_index index, uint64_t count,
                                                       struct quipu_error *err);

#endif

/*
 * What the two halves of the check share. Private to store/.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_STORE_CHECK_H
#define QUIPU_STORE_CHECK_H

#include "internal.h"

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

/* Follow every back-pointer and every head. */
QUIPU_MUST_CHECK enum quipu_status quipu_check_chains(struct quipu_check *check,
                                                      struct quipu_error *err);

/* Compare the first `count` entries of a run, or of a merge's unfinished output, with the records.
 */
QUIPU_MUST_CHECK enum quipu_status quipu_check_entries(struct quipu_check *check,
                                                       const struct quipu_run *run,
                                                       enum quipu_index index, uint64_t count,
                                                       struct quipu_error *err);

#endif

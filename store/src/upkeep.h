/*
 * What compacting and repairing share. Private to store/ and its tests.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_UPKEEP_H
#define QUIPU_UPKEEP_H

#include "internal.h"
#include "quipu/store_upkeep.h"

/* The options as given, or the defaults. Fails with QUIPU_MISUSE, for the path too. */
QUIPU_MUST_CHECK enum quipu_status quipu_upkeep_take(const struct quipu_upkeep_options *given,
                                                     const char *path,
                                                     struct quipu_upkeep_options *out,
                                                     struct quipu_error *err);
/* Call progress where there is one. */
void quipu_upkeep_tell(const struct quipu_upkeep_options *options, const char *what, uint64_t done,
                       uint64_t total);
/* Bytes of data.mdb. */
QUIPU_MUST_CHECK enum quipu_status
quipu_upkeep_file_bytes(const struct quipu_store *store, uint64_t *bytes, struct quipu_error *err);
/* Owner and mode of data.mdb for create.tmp/data.mdb, and sync it. */
QUIPU_MUST_CHECK enum quipu_status quipu_upkeep_keep_owner(const struct quipu_store *store,
                                                           struct quipu_error *err);
/* Close the environment and put create.tmp/data.mdb in its place. */
QUIPU_MUST_CHECK enum quipu_status
quipu_upkeep_replace(struct quipu_store *store, const char *failpoint, struct quipu_error *err);

/* With other sizes. */
QUIPU_MUST_CHECK enum quipu_status
quipu_store_compact_tuned(const char *path, const struct quipu_store_tuning *tuning,
                          const struct quipu_upkeep_options *given,
                          struct quipu_compact_report *report, struct quipu_error *err);
QUIPU_MUST_CHECK enum quipu_status
quipu_store_repair_tuned(const char *path, const struct quipu_store_tuning *tuning,
                         const struct quipu_upkeep_options *given,
                         struct quipu_repair_report *report, struct quipu_error *err);

#endif

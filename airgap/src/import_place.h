/*
 * What the store remembers of the bundles that it took in: one row for each, by source and number,
 * so that a bundle that is missing, played again, or another one under a known number is seen.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_AIRGAP_IMPORT_PLACE_H
#define QUIPU_AIRGAP_IMPORT_PLACE_H

#include "quipu/bundle.h"

/* How a bundle stands to those that came in before. */
struct quipu_import_place {
    bool is_known;    /* it came in before */
    uint64_t missing; /* bundles of its source in front of it that never came in */
};

/* Judge it. Looks only. QUIPU_FORK: another bundle has its number or its neighbour names another
 * one, or its log is shorter than that of a bundle before it: the source was rolled back, or its
 * key is used twice. QUIPU_CORRUPT. Bundles that are missing are no failure here. */
QUIPU_MUST_CHECK enum quipu_status
quipu_import_place_judge(struct quipu_txn *txn, const struct quipu_bundle_report *bundle,
                         struct quipu_import_place *out, struct quipu_error *err);

/* Which ones are missing, as a failure: QUIPU_GAP. */
enum quipu_status quipu_import_place_gap(const struct quipu_bundle_report *bundle, uint64_t missing,
                                         struct quipu_error *err);

/* Remember it; nothing for a bundle without a number. */
QUIPU_MUST_CHECK enum quipu_status quipu_import_place_keep(struct quipu_txn *txn,
                                                           const struct quipu_bundle_report *bundle,
                                                           struct quipu_error *err);

#endif

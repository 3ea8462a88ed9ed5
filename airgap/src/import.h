/*
 * What the steps of an import share.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_AIRGAP_IMPORT_H
#define QUIPU_AIRGAP_IMPORT_H

#include "import_input.h"
#include "import_place.h"
#include "signers_judge.h"

struct quipu_import {
    struct quipu_import_options options;
    const char *path;
    struct quipu_clock clock;
    struct quipu_import_input input;
    struct quipu_signer_policy policy; /* as of now: time does not go on between the passes */
    struct quipu_bundle_report bundle;
    bool is_lines;       /* and no bundle: nobody made it, and nobody signed it */
    uint64_t item_bytes; /* of all its events: what they take in a transaction, about */
};

/* Options and signers that are trusted in `name_space` now; close releases. Statuses as
 * quipu_import_open. */
QUIPU_MUST_CHECK enum quipu_status
quipu_import_prepare(struct quipu_engine *engine, const char *path,
                     const struct quipu_import_options *options, const char *name_space,
                     struct quipu_import **out, struct quipu_error *err);

/* Where it comes from. */
struct quipu_import_from quipu_import_from_of(const struct quipu_import *import,
                                              struct quipu_engine *engine);

/* One more pass over what was checked; QUIPU_BUNDLE: it changed. `refused` tells whether it was the
 * visitor that ended the pass. */
QUIPU_MUST_CHECK enum quipu_status quipu_import_again(struct quipu_import *import,
                                                      quipu_bundle_event_fn visit, void *ctx,
                                                      const enum quipu_status *refused,
                                                      struct quipu_error *err);

#endif

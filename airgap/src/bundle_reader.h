/*
 * One pass over a bundle: every rule of SPEC §9 held block by block, in bounded memory, and each
 * event handed on as soon as it is complete. Checking and importing are both this pass.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_AIRGAP_BUNDLE_READER_H
#define QUIPU_AIRGAP_BUNDLE_READER_H

#include "quipu/bundle.h"

/* One event of the bundle, borrowed for the callback. */
struct quipu_bundle_event {
    uint64_t number; /* in the bundle, from 1 */
    uint64_t offset; /* of its envelope's section in the file */
    struct quipu_cid cid;
    struct quipu_slice envelope;
    struct quipu_slice payload;
};

typedef enum quipu_status (*quipu_bundle_event_fn)(void *ctx,
                                                   const struct quipu_bundle_event *event,
                                                   struct quipu_error *err);

struct quipu_bundle_pass {
    const char *name; /* of the file, for messages */
    /* NKey texts, checked by the caller; count 0: any signer. */
    const char *const *trusted;
    size_t trusted_count;
    quipu_bundle_event_fn visit; /* may be NULL; a failure of it ends the pass with it */
    void *ctx;
};

/* Open a bundle for reading. QUIPU_INVALID: not a regular file. QUIPU_NOT_FOUND, … */
QUIPU_MUST_CHECK enum quipu_status quipu_bundle_open(const char *path, int *fd,
                                                     struct quipu_error *err);

/* The same below an open folder. */
QUIPU_MUST_CHECK enum quipu_status quipu_bundle_open_at(int folder, const char *base,
                                                        const char *name, int *fd,
                                                        struct quipu_error *err);

/* Read the whole file from its start. err's lines begin with pass->name. Statuses as
 * quipu_bundle_check, or what `visit` says. `report` is written on QUIPU_OK only. */
QUIPU_MUST_CHECK enum quipu_status quipu_bundle_read(int fd, const struct quipu_bundle_pass *pass,
                                                     struct quipu_bundle_report *report,
                                                     struct quipu_error *err);

#endif

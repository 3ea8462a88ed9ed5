/*
 * The bundle that is being imported, so that it can be read twice whatever it comes from: a file as
 * it is, volumes in their folder, and what is encrypted or comes through a pipe from a copy in
 * clear, in a file without a name in the store's folder.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_AIRGAP_IMPORT_INPUT_H
#define QUIPU_AIRGAP_IMPORT_INPUT_H

#include "bundle_reader.h"

#define QUIPU_IMPORT_SNIFF_BYTES 64u

/* Where it comes from; borrowed until close. */
struct quipu_import_from {
    const char *path;                        /* also for messages */
    const struct quipu_source *source;       /* NULL: the path */
    const struct quipu_age_secrets *secrets; /* NULL: none */
    int folder;                              /* of the store, for the copy */
};

/* Make it with QUIPU_IMPORT_INPUT_INIT; close works from then on. */
struct quipu_import_input {
    struct quipu_import_from from;
    bool is_volumes;
    bool is_encrypted;
    bool is_copied; /* or is being copied, by the first pass */
    int fd;         /* of a file that is named; -1: none */
    int spool;      /* of the copy; -1: none */
    uint8_t first[QUIPU_IMPORT_SNIFF_BYTES];
    struct quipu_slice rest; /* of them, not read again yet */
    struct quipu_source below;
    struct quipu_source clear; /* what is copied */
    struct quipu_age_reader *age;
};

#define QUIPU_IMPORT_INPUT_INIT                                                                    \
    {                                                                                              \
        .fd = -1, .spool = -1                                                                      \
    }

/* The input stays where it is until close. Statuses as quipu_bundle_stream_open. */
QUIPU_MUST_CHECK enum quipu_status quipu_import_input_open(struct quipu_import_input *input,
                                                           const struct quipu_import_from *from,
                                                           struct quipu_error *err);

/* One pass over all of it; the first one makes the copy where there is to be one. */
QUIPU_MUST_CHECK enum quipu_status quipu_import_input_read(struct quipu_import_input *input,
                                                           const struct quipu_bundle_pass *pass,
                                                           struct quipu_bundle_report *report,
                                                           struct quipu_error *err);

/* For what is no bundle: all of it in clear, from its start; once for each pass. What the first one
 * reads is copied as it is read, where there is to be a copy: read it to its end before the next
 * one, and check it meanwhile, for it may have no end. Borrowed until close. QUIPU_INVALID: a
 * folder. */
QUIPU_MUST_CHECK enum quipu_status quipu_import_input_source(struct quipu_import_input *input,
                                                             struct quipu_source *source,
                                                             struct quipu_error *err);

void quipu_import_input_close(struct quipu_import_input *input);

/* A new file without a name in this folder, mode 0600. Gone when it is closed, and after a kill. */
QUIPU_MUST_CHECK enum quipu_status quipu_import_spool_make(int folder, int *fd,
                                                           struct quipu_error *err);

#endif

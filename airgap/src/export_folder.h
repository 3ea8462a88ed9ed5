/*
 * A new folder that is either complete under its name or not there: filled under a temporary name
 * beside it, synced, and given its name only when that is free.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_AIRGAP_EXPORT_FOLDER_H
#define QUIPU_AIRGAP_EXPORT_FOLDER_H

#include "export_file.h"

/* Make it with QUIPU_EXPORT_FOLDER_INIT; discard works from then on. */
struct quipu_export_folder {
    const char *path; /* as the caller names it; borrowed */
    const char *base; /* its last part */
    int parent;
    int fd;                             /* of the new folder; its lock keeps it from removal */
    char temp[QUIPU_EXPORT_TEMP_BYTES]; /* empty: it has its name, or is not there */
};

#define QUIPU_EXPORT_FOLDER_INIT                                                                   \
    {                                                                                              \
        .parent = -1, .fd = -1                                                                     \
    }

/* As quipu_export_file_create. */
QUIPU_MUST_CHECK enum quipu_status quipu_export_folder_create(struct quipu_export_folder *folder,
                                                              const char *path,
                                                              struct quipu_error *err);

/* Make a file in it. The caller closes. */
QUIPU_MUST_CHECK enum quipu_status quipu_export_folder_open(struct quipu_export_folder *folder,
                                                            const char *name, int *fd,
                                                            struct quipu_error *err);

/* Sync and close a file that was written. */
QUIPU_MUST_CHECK enum quipu_status quipu_export_folder_close(struct quipu_export_folder *folder,
                                                             const char *name, int *fd,
                                                             struct quipu_error *err);

/* A whole small file. */
QUIPU_MUST_CHECK enum quipu_status quipu_export_folder_put(struct quipu_export_folder *folder,
                                                           const char *name,
                                                           struct quipu_slice bytes,
                                                           struct quipu_error *err);

/* As quipu_export_file_publish, _retract and _discard. */
QUIPU_MUST_CHECK enum quipu_status quipu_export_folder_publish(struct quipu_export_folder *folder,
                                                               struct quipu_error *err);
void quipu_export_folder_retract(struct quipu_export_folder *folder);
void quipu_export_folder_discard(struct quipu_export_folder *folder);

#endif

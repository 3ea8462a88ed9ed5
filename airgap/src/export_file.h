/*
 * A new file that is either complete under its name or not there: written under a temporary name
 * beside it, synced, and given its name only when that is free.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_AIRGAP_EXPORT_FILE_H
#define QUIPU_AIRGAP_EXPORT_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "quipu/buf.h"
#include "quipu/error.h"
#include "quipu/io.h"
#include "quipu/sha256.h"

#define QUIPU_EXPORT_TEMP_BYTES 48

/* Make it with QUIPU_EXPORT_FILE_INIT; discard works from then on. */
struct quipu_export_file {
    const char *path; /* as the caller names it; borrowed */
    const char *base; /* its last part */
    int folder;
    int fd;
    char temp[QUIPU_EXPORT_TEMP_BYTES]; /* empty: no temporary file is there */
    int hold; /* keeps the temporary file locked, so that nobody takes it for a left-over */
    struct quipu_buf pending;
    uint64_t bytes; /* taken so far */
    struct quipu_sha256_stream stream;
    uint8_t sha256[QUIPU_SHA256_BYTES]; /* after finish */
};

#define QUIPU_EXPORT_FILE_INIT                                                                     \
    {                                                                                              \
        .folder = -1, .fd = -1, .hold = -1                                                         \
    }

/* QUIPU_EXISTS: something has the name. QUIPU_NOT_FOUND: no such folder. QUIPU_INVALID: the path
 * names no file. */
QUIPU_MUST_CHECK enum quipu_status
quipu_export_file_create(struct quipu_export_file *file, const char *path, struct quipu_error *err);

/* The same for a copy of the file that `model` describes: it is never open to anybody to whom that
 * is not; the umask takes more away. */
QUIPU_MUST_CHECK enum quipu_status quipu_export_file_create_as(struct quipu_export_file *file,
                                                               const char *path,
                                                               const struct stat *model,
                                                               struct quipu_error *err);

/* The same for the name of that very file, to replace it. */
QUIPU_MUST_CHECK enum quipu_status quipu_export_file_create_over(struct quipu_export_file *file,
                                                                 const char *path,
                                                                 const struct stat *known,
                                                                 struct quipu_error *err);

struct quipu_sink quipu_export_file_sink(struct quipu_export_file *file);

/* Write out what is pending, sync, and drop the file from the cache, so that what is read back
 * comes from the medium. */
QUIPU_MUST_CHECK enum quipu_status quipu_export_file_finish(struct quipu_export_file *file,
                                                            struct quipu_error *err);

/* Give it its name, and make the name durable. On failure the name is not there, or still
 * another's. QUIPU_EXISTS: it was taken meanwhile. */
QUIPU_MUST_CHECK enum quipu_status quipu_export_file_publish(struct quipu_export_file *file,
                                                             struct quipu_error *err);

/* Take the place of the file that has the name, in one rename, with its mode; and make that
 * durable. QUIPU_EXISTS: it is not the file any more that `known` describes. On a failure behind
 * the rename the new file stands, and after a power cut either one. */
QUIPU_MUST_CHECK enum quipu_status quipu_export_file_replace(struct quipu_export_file *file,
                                                             const struct stat *known,
                                                             struct quipu_error *err);

/* Take back what publish has done. */
void quipu_export_file_retract(struct quipu_export_file *file);

/* ------------------------------------------------------------------ shared with export_folder.c */

/* Open the folder that `path` is in, and find its last part. QUIPU_INVALID: it names none. */
QUIPU_MUST_CHECK enum quipu_status
quipu_export_parent_open(const char *path, int *parent, const char **base, struct quipu_error *err);

/* QUIPU_EXISTS: something has the name already. */
QUIPU_MUST_CHECK enum quipu_status quipu_export_refuse_existing(int parent, const char *base,
                                                                const char *path,
                                                                struct quipu_error *err);

/* Remove what killed exports left in this folder. Best effort: nothing depends on it. */
void quipu_export_remove_left_overs(int parent);

/* A new temporary name. */
QUIPU_MUST_CHECK enum quipu_status quipu_export_temp_name(char name[QUIPU_EXPORT_TEMP_BYTES],
                                                          struct quipu_error *err);

/* Remove the files in an open folder of ours (it has no folders), then the folder itself. Best
 * effort. */
void quipu_export_remove_folder(int parent, const char *name, int folder);

/* Remove the temporary file where there still is one, and release everything. */
void quipu_export_file_discard(struct quipu_export_file *file);

#endif

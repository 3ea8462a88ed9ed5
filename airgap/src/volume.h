/*
 * A bundle in volumes: a folder with <name>.001, <name>.002, … that put together are the bundle's
 * file, and beside them SHA256SUMS, which sha256sum checks, and SHA256SUMS.sig, which ssh-keygen
 * checks.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_AIRGAP_VOLUME_H
#define QUIPU_AIRGAP_VOLUME_H

#include "export_folder.h"
#include "quipu/bundle.h"
#include "quipu/io.h"
#include "volume_index.h"

#define QUIPU_VOLUME_NAMESPACE "quipu-volumes@v1"
#define QUIPU_VOLUME_INDEX     "SHA256SUMS"
#define QUIPU_VOLUME_SIGNATURE "SHA256SUMS.sig"

/* What the index says of the bundle. */
struct quipu_volume_label {
    const char *source;
    uint64_t number;
    const struct quipu_cid *manifest;
};

/* ------------------------------------------------------------------ writing */

struct quipu_volume_writer {
    struct quipu_export_folder folder;
    uint64_t volume_bytes;
    uint64_t bytes; /* taken so far */
    uint8_t sha256[QUIPU_SHA256_BYTES];
    struct quipu_sha256_stream all;
    int fd; /* of the volume that is being filled; -1: none */
    uint64_t filled;
    uint64_t count;
    struct quipu_sha256_stream one;
    struct quipu_buf lines; /* of the index, for the volumes that are full */
};

#define QUIPU_VOLUME_WRITER_INIT                                                                   \
    {                                                                                              \
        .folder = QUIPU_EXPORT_FOLDER_INIT, .fd = -1                                               \
    }

/* As quipu_export_folder_create. QUIPU_INVALID: the name is too long. */
QUIPU_MUST_CHECK enum quipu_status quipu_volume_writer_create(struct quipu_volume_writer *writer,
                                                              const char *path,
                                                              uint64_t volume_bytes,
                                                              struct quipu_error *err);

/* QUIPU_TOO_LARGE: more than QUIPU_BUNDLE_VOLUMES_MAX. */
struct quipu_sink quipu_volume_writer_sink(struct quipu_volume_writer *writer);

/* Finish the last volume; write the index and its signature by the store's key. */
QUIPU_MUST_CHECK enum quipu_status
quipu_volume_writer_finish(struct quipu_volume_writer *writer, struct quipu_engine *engine,
                           const struct quipu_volume_label *label, struct quipu_error *err);

void quipu_volume_writer_discard(struct quipu_volume_writer *writer);

/* ------------------------------------------------------------------ reading */

struct quipu_volume_reader {
    int folder;
    int fd;
    const char *path;      /* of the folder; borrowed */
    struct quipu_buf text; /* of the index, which borrows from it */
    struct quipu_volume_index index;
    size_t next;
    struct quipu_sha256_stream one; /* what is read now is what was hashed before */
};

#define QUIPU_VOLUME_READER_INIT                                                                   \
    {                                                                                              \
        .folder = -1, .fd = -1                                                                     \
    }

/* Read the index of the open folder, check its signature, find every volume there and hold each
 * against its digest. QUIPU_MISSING (err names which), QUIPU_CID_MISMATCH (one is changed, or two
 * have each other's place), QUIPU_BAD_SIGNATURE, QUIPU_BUNDLE (the index is none), QUIPU_INVALID
 * (no volumes here at all), QUIPU_FORMAT_NEWER. */
QUIPU_MUST_CHECK enum quipu_status quipu_volume_reader_open(struct quipu_volume_reader *reader,
                                                            int folder, const char *path,
                                                            struct quipu_error *err);

/* One volume behind the other. */
struct quipu_source quipu_volume_reader_source(struct quipu_volume_reader *reader);

void quipu_volume_reader_close(struct quipu_volume_reader *reader);

#endif

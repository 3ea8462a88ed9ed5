/*
 * Whole files through the age writer and reader: from a source to a sink, or to a path that is
 * there only when all of it is right.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <sys/stat.h>

#include "age_parts.h"
#include "export_file.h"
#include "quipu/alloc.h"

#define COPY_BYTES ((size_t)QUIPU_AGE_CHUNK_BYTES * 4)

/* All of the source into the sink, through memory that is wiped. */
static enum quipu_status copy(struct quipu_source source, struct quipu_sink sink,
                              struct quipu_error *err)
{
    uint8_t *bytes = quipu_alloc(COPY_BYTES, 1);
    size_t got = 0;
    enum quipu_status status = QUIPU_OK;
    if (bytes == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory to copy an age file");
    }
    do {
        status = source.read(source.ctx, bytes, COPY_BYTES, &got, err);
        if (status == QUIPU_OK && got > 0) {
            status = sink.write(sink.ctx, quipu_slice(bytes, got), err);
        }
    } while (status == QUIPU_OK && got > 0);
    sodium_memzero(bytes, COPY_BYTES);
    quipu_free(bytes);
    return status;
}

enum quipu_status quipu_age_encrypt(struct quipu_source source,
                                    const struct quipu_age_write_options *options,
                                    struct quipu_sink sink, struct quipu_error *err)
{
    struct quipu_age_writer *writer = NULL;
    enum quipu_status status = quipu_age_writer_open(sink, options, &writer, err);
    if (status == QUIPU_OK) {
        status = copy(source, quipu_age_writer_sink(writer), err);
    }
    if (status == QUIPU_OK) {
        status = quipu_age_writer_finish(writer, err);
    }
    quipu_age_writer_close(&writer);
    return status;
}

enum quipu_status quipu_age_decrypt(struct quipu_source source,
                                    const struct quipu_age_secrets *secrets,
                                    const struct quipu_age_read_options *options,
                                    struct quipu_sink sink, struct quipu_error *err)
{
    struct quipu_age_reader *reader = NULL;
    enum quipu_status status = quipu_age_reader_open(source, secrets, options, &reader, err);
    if (status == QUIPU_OK) {
        status = copy(quipu_age_reader_source(reader), sink, err);
    }
    quipu_age_reader_close(&reader);
    return status;
}

/* Sync and name what was written, or remove it. */
static enum quipu_status settle(struct quipu_export_file *file, enum quipu_status status,
                                struct quipu_error *err)
{
    if (status == QUIPU_OK) {
        status = quipu_export_file_finish(file, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_export_file_publish(file, err);
    }
    /* What waited to be written may be plaintext. */
    if (file->pending.data != NULL) {
        sodium_memzero(file->pending.data, file->pending.cap);
    }
    quipu_export_file_discard(file);
    return status;
}

enum quipu_status quipu_age_encrypt_path(struct quipu_source source,
                                         const struct quipu_age_write_options *options,
                                         const char *path, struct quipu_error *err)
{
    struct quipu_export_file file = QUIPU_EXPORT_FILE_INIT;
    enum quipu_status status = quipu_export_file_create(&file, path, err);
    if (status == QUIPU_OK) {
        status = quipu_age_encrypt(source, options, quipu_export_file_sink(&file), err);
    }
    return settle(&file, status, err);
}

enum quipu_status quipu_age_decrypt_path(struct quipu_source source,
                                         const struct quipu_age_secrets *secrets,
                                         const struct quipu_age_read_options *options,
                                         const char *path, struct quipu_error *err)
{
    struct quipu_export_file file = QUIPU_EXPORT_FILE_INIT;
    enum quipu_status status = quipu_export_file_create(&file, path, err);
    if (status == QUIPU_OK && fchmod(file.fd, 0600) != 0) {
        status = quipu_error_errno(err, errno, "make %s readable by its owner only", path);
    }
    if (status == QUIPU_OK) {
        status = quipu_age_decrypt(source, secrets, options, quipu_export_file_sink(&file), err);
    }
    return settle(&file, status, err);
}

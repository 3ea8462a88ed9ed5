/*
 * Writing a bundle in volumes. Holds one volume's hash and the lines of the index; never a volume.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "internal/failpoint.h"
#include "quipu/sshsig.h"
#include "volume.h"

enum quipu_status quipu_volume_writer_create(struct quipu_volume_writer *writer, const char *path,
                                             uint64_t volume_bytes, struct quipu_error *err)
{
    enum quipu_status status = quipu_export_folder_create(&writer->folder, path, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_slice name = quipu_slice_text(writer->folder.base);
    if (!quipu_volume_is_name(name)) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "%s: a bundle in volumes wants a name of at most %u bytes of text "
                               "without control characters and backslashes",
                               path, QUIPU_VOLUME_NAME_MAX);
    }
    writer->volume_bytes = volume_bytes;
    quipu_sha256_stream_init(&writer->all);
    return QUIPU_OK;
}

static void volume_name(const struct quipu_volume_writer *writer, uint64_t number,
                        char out[QUIPU_VOLUME_NAME_BYTES])
{
    struct quipu_buf name;
    quipu_buf_init_fixed(&name, out, QUIPU_VOLUME_NAME_BYTES);
    quipu_buf_append_text(&name, writer->folder.base);
    quipu_buf_printf(&name, ".%03" PRIu64, number);
    quipu_buf_append_byte(&name, 0);
}

static enum quipu_status volume_begin(struct quipu_volume_writer *writer, struct quipu_error *err)
{
    char name[QUIPU_VOLUME_NAME_BYTES];
    if (writer->count == QUIPU_BUNDLE_VOLUMES_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE,
                               "more than %u volumes of %" PRIu64 " bytes; make them larger",
                               QUIPU_BUNDLE_VOLUMES_MAX, writer->volume_bytes);
    }
    volume_name(writer, writer->count + 1, name);
    enum quipu_status status = quipu_export_folder_open(&writer->folder, name, &writer->fd, err);
    if (status == QUIPU_OK) {
        writer->count++;
        writer->filled = 0;
        quipu_sha256_stream_init(&writer->one);
    }
    return status;
}

/* Its line: digest, two spaces, name. */
static enum quipu_status volume_end(struct quipu_volume_writer *writer, struct quipu_error *err)
{
    char name[QUIPU_VOLUME_NAME_BYTES];
    struct quipu_volume_entry entry = {.bytes = writer->filled};
    volume_name(writer, writer->count, name);
    entry.name = quipu_slice_text(name);
    quipu_sha256_stream_final(&writer->one, entry.sha256);
    quipu_volume_index_write_entry(&entry, &writer->lines);
    if (writer->lines.status != QUIPU_OK) {
        return quipu_error_set(err, writer->lines.status, "no memory for an index of volumes");
    }
    return quipu_export_folder_close(&writer->folder, name, &writer->fd, err);
}

static enum quipu_status volumes_write(void *ctx, struct quipu_slice bytes, struct quipu_error *err)
{
    struct quipu_volume_writer *writer = ctx;
    quipu_sha256_stream_update(&writer->all, bytes);
    writer->bytes += bytes.len;
    enum quipu_status status = QUIPU_OK;
    while (status == QUIPU_OK && bytes.len > 0) {
        if (writer->fd < 0) {
            status = volume_begin(writer, err);
            continue;
        }
        uint64_t room = writer->volume_bytes - writer->filled;
        struct quipu_slice part =
            quipu_slice(bytes.data, bytes.len < room ? bytes.len : (size_t)room);
        struct quipu_sink sink = quipu_sink_fd(&writer->fd);
        status = quipu_failpoint("airgap.export.write", err);
        if (status == QUIPU_OK) {
            status = sink.write(sink.ctx, part, err);
        }
        quipu_sha256_stream_update(&writer->one, part);
        writer->filled += part.len;
        bytes = quipu_slice(bytes.data + part.len, bytes.len - part.len);
        if (status == QUIPU_OK && writer->filled == writer->volume_bytes) {
            status = volume_end(writer, err);
        }
    }
    return status == QUIPU_OK ? status : quipu_error_wrap(err, status, "%s", writer->folder.path);
}

struct quipu_sink quipu_volume_writer_sink(struct quipu_volume_writer *writer)
{
    return (struct quipu_sink){volumes_write, writer};
}

static void write_index(const struct quipu_volume_writer *writer,
                        const struct quipu_volume_label *label, struct quipu_buf *out)
{
    struct quipu_volume_index index = {
        .number = label->number, .manifest = *label->manifest, .bytes = writer->bytes};
    (void)snprintf(index.source, sizeof index.source, "%s", label->source);
    memcpy(index.sha256, writer->sha256, sizeof index.sha256);
    quipu_volume_index_write_head(&index, out);
    quipu_buf_append_slice(out, quipu_buf_slice(&writer->lines));
}

enum quipu_status quipu_volume_writer_finish(struct quipu_volume_writer *writer,
                                             struct quipu_engine *engine,
                                             const struct quipu_volume_label *label,
                                             struct quipu_error *err)
{
    struct quipu_buf index = QUIPU_BUF_INIT;
    struct quipu_buf blob = QUIPU_BUF_INIT;
    struct quipu_buf armor = QUIPU_BUF_INIT;
    enum quipu_status status = writer->fd < 0 ? QUIPU_OK : volume_end(writer, err);
    if (status != QUIPU_OK) {
        return status;
    }
    quipu_sha256_stream_final(&writer->all, writer->sha256);
    write_index(writer, label, &index);
    status =
        index.status == QUIPU_OK
            ? quipu_sshsig_sign(engine, QUIPU_VOLUME_NAMESPACE, quipu_buf_slice(&index), &blob, err)
            : quipu_error_set(err, index.status, "no memory for an index of volumes");
    if (status == QUIPU_OK) {
        quipu_sshsig_armor(quipu_buf_slice(&blob), &armor);
        status = armor.status == QUIPU_OK
                     ? quipu_export_folder_put(&writer->folder, QUIPU_VOLUME_INDEX,
                                               quipu_buf_slice(&index), err)
                     : quipu_error_set(err, armor.status, "no memory for a signature");
    }
    if (status == QUIPU_OK) {
        status = quipu_export_folder_put(&writer->folder, QUIPU_VOLUME_SIGNATURE,
                                         quipu_buf_slice(&armor), err);
    }
    quipu_buf_release(&index);
    quipu_buf_release(&blob);
    quipu_buf_release(&armor);
    return status;
}

void quipu_volume_writer_discard(struct quipu_volume_writer *writer)
{
    if (writer->fd >= 0) {
        (void)close(writer->fd); /* nothing of it is kept */
    }
    quipu_export_folder_discard(&writer->folder);
    quipu_buf_release(&writer->lines);
    *writer = (struct quipu_volume_writer)QUIPU_VOLUME_WRITER_INIT;
}

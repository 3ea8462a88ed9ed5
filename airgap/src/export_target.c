/*
 * One file or a folder of volumes, behind one door.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "export_target.h"

#include <unistd.h>

#include "bundle_reader.h"
#include "quipu/alloc.h"

#define COMPARE_BYTES ((size_t)256 << 10)

enum quipu_status quipu_export_target_create(struct quipu_export_target *target, const char *path,
                                             uint64_t volume_bytes, struct quipu_error *err)
{
    target->volume_bytes = volume_bytes;
    return volume_bytes == 0
               ? quipu_export_file_create(&target->file, path, err)
               : quipu_volume_writer_create(&target->volumes, path, volume_bytes, err);
}

struct quipu_sink quipu_export_target_sink(struct quipu_export_target *target)
{
    return target->volume_bytes == 0 ? quipu_export_file_sink(&target->file)
                                     : quipu_volume_writer_sink(&target->volumes);
}

enum quipu_status quipu_export_target_finish(struct quipu_export_target *target,
                                             struct quipu_engine *engine,
                                             const struct quipu_volume_label *label,
                                             struct quipu_error *err)
{
    return target->volume_bytes == 0
               ? quipu_export_file_finish(&target->file, err)
               : quipu_volume_writer_finish(&target->volumes, engine, label, err);
}

enum quipu_status quipu_export_target_reread(struct quipu_export_target *target,
                                             struct quipu_export_reread *reread,
                                             struct quipu_source *source, struct quipu_error *err)
{
    *reread = (struct quipu_export_reread){.fd = -1, .volumes = QUIPU_VOLUME_READER_INIT};
    if (target->volume_bytes != 0) {
        enum quipu_status status = quipu_volume_reader_open(
            &reread->volumes, target->volumes.folder.fd, target->volumes.folder.path, err);
        *source = quipu_volume_reader_source(&reread->volumes);
        return status;
    }
    enum quipu_status status = quipu_bundle_open_at(target->file.folder, target->file.temp,
                                                    target->file.path, &reread->fd, err);
    *source = quipu_source_fd(&reread->fd);
    return status;
}

void quipu_export_target_reread_close(struct quipu_export_reread *reread)
{
    if (reread->fd >= 0) {
        (void)close(reread->fd); /* was only read */
    }
    quipu_volume_reader_close(&reread->volumes);
    reread->fd = -1;
}

enum quipu_status quipu_export_target_publish(struct quipu_export_target *target,
                                              struct quipu_error *err)
{
    return target->volume_bytes == 0 ? quipu_export_file_publish(&target->file, err)
                                     : quipu_export_folder_publish(&target->volumes.folder, err);
}

void quipu_export_target_retract(struct quipu_export_target *target)
{
    if (target->volume_bytes == 0) {
        quipu_export_file_retract(&target->file);
    } else {
        quipu_export_folder_retract(&target->volumes.folder);
    }
}

void quipu_export_target_discard(struct quipu_export_target *target)
{
    quipu_export_file_discard(&target->file);
    quipu_volume_writer_discard(&target->volumes);
}

uint64_t quipu_export_target_bytes(const struct quipu_export_target *target)
{
    return target->volume_bytes == 0 ? target->file.bytes : target->volumes.bytes;
}

const uint8_t *quipu_export_target_sha256(const struct quipu_export_target *target)
{
    return target->volume_bytes == 0 ? target->file.sha256 : target->volumes.sha256;
}

enum quipu_status quipu_export_source_sha256(struct quipu_source source,
                                             uint8_t digest[QUIPU_SHA256_BYTES],
                                             struct quipu_error *err)
{
    struct quipu_sha256_stream stream;
    uint8_t *bytes = quipu_alloc(COMPARE_BYTES, 1);
    size_t got = 1;
    enum quipu_status status =
        bytes == NULL ? quipu_error_set(err, QUIPU_NO_MEMORY, "no memory to read back") : QUIPU_OK;
    quipu_sha256_stream_init(&stream);
    while (status == QUIPU_OK && got > 0) {
        status = source.read(source.ctx, bytes, COMPARE_BYTES, &got, err);
        quipu_sha256_stream_update(&stream, quipu_slice(bytes, status == QUIPU_OK ? got : 0));
    }
    quipu_sha256_stream_final(&stream, digest);
    quipu_free(bytes);
    return status;
}

/*
 * Where an export writes: one file, or a folder of volumes. Either is complete under its name, or
 * not there. Counts and hashes what goes in.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_AIRGAP_EXPORT_TARGET_H
#define QUIPU_AIRGAP_EXPORT_TARGET_H

#include "export_file.h"
#include "export_folder.h"
#include "quipu/engine.h"
#include "volume.h"

/* Make it with QUIPU_EXPORT_TARGET_INIT; discard works from then on. */
struct quipu_export_target {
    uint64_t volume_bytes; /* 0: one file */
    struct quipu_export_file file;
    struct quipu_volume_writer volumes;
};

#define QUIPU_EXPORT_TARGET_INIT                                                                   \
    {                                                                                              \
        .file = QUIPU_EXPORT_FILE_INIT, .volumes = QUIPU_VOLUME_WRITER_INIT                        \
    }

/* As quipu_export_file_create. */
QUIPU_MUST_CHECK enum quipu_status quipu_export_target_create(struct quipu_export_target *target,
                                                              const char *path,
                                                              uint64_t volume_bytes,
                                                              struct quipu_error *err);

struct quipu_sink quipu_export_target_sink(struct quipu_export_target *target);

/* Write out, sync, and for volumes write their signed index. */
QUIPU_MUST_CHECK enum quipu_status
quipu_export_target_finish(struct quipu_export_target *target, struct quipu_engine *engine,
                           const struct quipu_volume_label *label, struct quipu_error *err);

/* What is there now, from its start. Close it with quipu_export_target_reread_close. */
struct quipu_export_reread {
    int fd;
    struct quipu_volume_reader volumes;
};
QUIPU_MUST_CHECK enum quipu_status quipu_export_target_reread(struct quipu_export_target *target,
                                                              struct quipu_export_reread *reread,
                                                              struct quipu_source *source,
                                                              struct quipu_error *err);
void quipu_export_target_reread_close(struct quipu_export_reread *reread);

/* As quipu_export_file_publish, _retract and _discard. */
QUIPU_MUST_CHECK enum quipu_status quipu_export_target_publish(struct quipu_export_target *target,
                                                               struct quipu_error *err);
void quipu_export_target_retract(struct quipu_export_target *target);
void quipu_export_target_discard(struct quipu_export_target *target);

/* Digest of all that a source gives. Who encrypts cannot open it again: what lies there must be the
 * bytes that were written. */
QUIPU_MUST_CHECK enum quipu_status quipu_export_source_sha256(struct quipu_source source,
                                                              uint8_t digest[QUIPU_SHA256_BYTES],
                                                              struct quipu_error *err);

uint64_t quipu_export_target_bytes(const struct quipu_export_target *target);
const uint8_t *quipu_export_target_sha256(const struct quipu_export_target *target);

#endif

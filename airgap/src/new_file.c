/*
 * Small files that are new. Holds none of them; how it is done stands in export_file.c.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/new_file.h"

#include "export_file.h"

enum quipu_status quipu_new_file_write(const char *path, struct quipu_slice bytes,
                                       struct quipu_error *err)
{
    struct quipu_export_file file = QUIPU_EXPORT_FILE_INIT;
    enum quipu_status status = quipu_export_file_create(&file, path, err);
    if (status == QUIPU_OK) {
        struct quipu_sink sink = quipu_export_file_sink(&file);
        status = sink.write(sink.ctx, bytes, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_export_file_finish(&file, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_export_file_publish(&file, err);
    }
    quipu_export_file_discard(&file);
    return status;
}

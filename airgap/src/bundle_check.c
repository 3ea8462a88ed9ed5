/*
 * Checking a bundle by itself: one pass of the reader that keeps nothing.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <unistd.h>

#include "bundle_reader.h"

enum quipu_status quipu_bundle_check(const char *path, struct quipu_bundle_report *report,
                                     struct quipu_error *err)
{
    struct quipu_bundle_report found;
    struct quipu_bundle_pass pass = {.name = path};
    int fd = -1;
    if (path == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE, "check needs a path");
    }
    enum quipu_status status = quipu_bundle_open(path, &fd, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = quipu_bundle_read(fd, &pass, &found, err);
    if (status == QUIPU_OK && report != NULL) {
        *report = found;
    }
    (void)close(fd); /* was only read */
    return status;
}

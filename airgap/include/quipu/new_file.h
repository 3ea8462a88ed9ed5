/*
 * A small file that is complete and synced under its name, or not there: such as the public half of
 * a key, or the bytes that somebody signs.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_NEW_FILE_H
#define QUIPU_NEW_FILE_H

#include "quipu/error.h"
#include "quipu/export.h"
#include "quipu/slice.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Write `bytes` to a new file that everybody may read as the umask lets them: under a temporary
 * name beside it, synced, and named only when the name is free. A killed run leaves the temporary
 * file, which a later one in that folder removes.
 * @param bytes  Borrowed for the call.
 * @retval QUIPU_EXISTS     something has the name; it is not touched
 * @retval QUIPU_NOT_FOUND  no such folder. QUIPU_INVALID  the path names no file
 * @retval QUIPU_PERMISSION, QUIPU_NO_SPACE, QUIPU_IO, QUIPU_NO_MEMORY, QUIPU_NO_RANDOM
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_new_file_write(const char *path, struct quipu_slice bytes, struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif

/*
 * The file that holds the signing key.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_IDENTITY_FILE_H
#define QUIPU_ENGINE_IDENTITY_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "nkey.h"
#include "quipu/error.h"

/* `dir` is the store's folder, wherever the process is by now, and `folder` its name for errors. */

/* Read the seed. The caller wipes it.
 * @retval QUIPU_KEY_LOCKED  the file is wrapped
 * @retval QUIPU_NOT_FOUND, QUIPU_PERMISSION (others can read it, or we cannot), QUIPU_CORRUPT (it
 * holds something else), QUIPU_IO */
QUIPU_MUST_CHECK enum quipu_status identity_file_read(int dir, const char *folder,
                                                      uint8_t seed[NKEY_SEED_BYTES],
                                                      struct quipu_error *err);

/* Write the seed, mode 0600, so that after a crash there is the whole file or none. Nobody else may
 * do so at the same time.
 * @retval QUIPU_PERMISSION, QUIPU_NO_SPACE, QUIPU_IO */
QUIPU_MUST_CHECK enum quipu_status identity_file_write(int dir, const char *folder,
                                                       const uint8_t seed[NKEY_SEED_BYTES],
                                                       struct quipu_error *err);

/* Give the file, if there is one, a name that nobody looks for: signing.key.retired, or that and a
 * number where it is taken. Durable when it returns. Nobody else may do so at the same time.
 * @retval QUIPU_PERMISSION, QUIPU_EXISTS (no name is free), QUIPU_IO */
QUIPU_MUST_CHECK enum quipu_status identity_file_retire(int dir, const char *folder,
                                                        struct quipu_error *err);

bool identity_file_is_there(int dir);

#endif

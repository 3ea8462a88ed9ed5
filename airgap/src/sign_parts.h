/*
 * What signing and releasing a bundle share. Private to airgap/.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_AIRGAP_SIGN_PARTS_H
#define QUIPU_AIRGAP_SIGN_PARTS_H

#include "bundle_reader.h"
#include "quipu/sign_bundle.h"

/* Open a bundle in clear and in one file. QUIPU_INVALID: it is neither, and the message says what
 * to do; or a symbolic link, whose place a new file would take. QUIPU_NOT_FOUND, QUIPU_PERMISSION,
 * … */
QUIPU_MUST_CHECK enum quipu_status quipu_sign_input_open(const char *path, int *fd,
                                                         struct quipu_error *err);

/* Copy the open file from `offset` to its end, hashing it where `sha256` is not NULL. */
QUIPU_MUST_CHECK enum quipu_status quipu_sign_copy(int fd, uint64_t offset, struct quipu_sink sink,
                                                   struct quipu_sha256_stream *sha256,
                                                   struct quipu_error *err);

#endif

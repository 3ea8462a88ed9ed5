/*
 * The detail of a failure, for people: a status, a byte offset where there is one, and one line.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ERROR_H
#define QUIPU_ERROR_H

#include <stdbool.h>
#include <stdint.h>

#include "quipu/export.h"
#include "quipu/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define QUIPU_ERROR_MESSAGE_BYTES 512
#define QUIPU_ERROR_NO_OFFSET     UINT64_MAX

/**
 * Detail of the last failure. The caller owns it (usually on the stack); it is written only on
 * failure. Every function that takes one accepts NULL.
 */
struct quipu_error {
    enum quipu_status status;
    /** What was asked for may have been done all the same: a commit was broken off, and the disk
     * may have taken it. False wherever the call does not document it. */
    bool is_unsure;
    /** Byte offset in the input that is at fault, or QUIPU_ERROR_NO_OFFSET. */
    uint64_t offset;
    /** One line for people, lower case, no full stop, never parsed, never secret. */
    char message[QUIPU_ERROR_MESSAGE_BYTES];
};

/** Record `status` and a printf-style line; offset becomes none, is_unsure false. Returns `status`,
 * so that a failing function can end with `return quipu_error_set(err, QUIPU_X, …)`. Any thread. */
QUIPU_API enum quipu_status quipu_error_set(struct quipu_error *err, enum quipu_status status,
                                            const char *format, ...) QUIPU_PRINTF(3, 4);

/** The same with a byte offset, which the line also names. */
QUIPU_API enum quipu_status quipu_error_set_at(struct quipu_error *err, enum quipu_status status,
                                               uint64_t offset, const char *format, ...)
    QUIPU_PRINTF(4, 5);

/** Put context before the line: "line 7: <what it was>". The status becomes `status`, which a layer
 * may so change: what is an envelope's fault in a file is damage in a store. Returns it. */
QUIPU_API enum quipu_status quipu_error_wrap(struct quipu_error *err, enum quipu_status status,
                                             const char *format, ...) QUIPU_PRINTF(3, 4);

/** Status for an errno value: ENOSPC → NO_SPACE, EACCES → PERMISSION, ENOMEM → NO_MEMORY… */
QUIPU_API enum quipu_status quipu_status_from_errno(int number);

/** Record "doing `what`: strerror" with quipu_status_from_errno(number). */
QUIPU_API enum quipu_status quipu_error_errno(struct quipu_error *err, int number,
                                              const char *format, ...) QUIPU_PRINTF(3, 4);

#ifdef __cplusplus
}
#endif

#endif

/*
 * Filling in struct quipu_error. Never allocates, so that out of memory can be reported too.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/error.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

QUIPU_PRINTF(3, 0)
static void format_line(struct quipu_error *err, enum quipu_status status, const char *format,
                        va_list args)
{
    err->status = status;
    err->is_unsure = false;
    err->offset = QUIPU_ERROR_NO_OFFSET;
    /* Too long a line is cut: it is for people. */
    (void)vsnprintf(err->message, sizeof err->message, format, args);
}

enum quipu_status quipu_error_set(struct quipu_error *err, enum quipu_status status,
                                  const char *format, ...)
{
    if (err != NULL) {
        va_list args;
        va_start(args, format);
        format_line(err, status, format, args);
        va_end(args);
    }
    return status;
}

enum quipu_status quipu_error_set_at(struct quipu_error *err, enum quipu_status status,
                                     uint64_t offset, const char *format, ...)
{
    if (err != NULL) {
        va_list args;
        va_start(args, format);
        format_line(err, status, format, args);
        va_end(args);
        err->offset = offset;
        size_t used = strlen(err->message);
        (void)snprintf(err->message + used, sizeof err->message - used, ", at byte %" PRIu64,
                       offset);
    }
    return status;
}

enum quipu_status quipu_error_wrap(struct quipu_error *err, enum quipu_status status,
                                   const char *format, ...)
{
    if (err == NULL) {
        return status;
    }

    err->status = status;
    char inner[QUIPU_ERROR_MESSAGE_BYTES];
    memcpy(inner, err->message, sizeof inner);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    size_t used = strlen(err->message);
    (void)snprintf(err->message + used, sizeof err->message - used, ": %s", inner);
    return status;
}

enum quipu_status quipu_status_from_errno(int number)
{
    switch (number) {
    case ENOSPC:
    case EDQUOT:
        return QUIPU_NO_SPACE;
    case EACCES:
    case EPERM:
    case EROFS:
        return QUIPU_PERMISSION;
    case ENOMEM:
        return QUIPU_NO_MEMORY;
    case ENOENT:
        return QUIPU_NOT_FOUND;
    case EEXIST:
        return QUIPU_EXISTS;
    case EFBIG:
        return QUIPU_TOO_LARGE;
    default:
        return QUIPU_IO;
    }
}

enum quipu_status quipu_error_errno(struct quipu_error *err, int number, const char *format, ...)
{
    enum quipu_status status = quipu_status_from_errno(number);
    if (err != NULL) {
        va_list args;
        va_start(args, format);
        format_line(err, status, format, args);
        va_end(args);
        char storage[128];
        /* The GNU form (_GNU_SOURCE): it returns the text, which need not be in `storage`. */
        const char *reason = strerror_r(number, storage, sizeof storage);
        size_t used = strlen(err->message);
        (void)snprintf(err->message + used, sizeof err->message - used, ": %s", reason);
    }
    return status;
}

/*
 * The one table that turns LMDB's codes into quipu's, so that no MDB_ name leaves store/.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "lmdb_status.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <lmdb.h>

static const struct {
    int code;
    enum quipu_status status;
} lmdb_codes[] = {
    {MDB_SUCCESS, QUIPU_OK},
    {MDB_KEYEXIST, QUIPU_EXISTS},
    {MDB_NOTFOUND, QUIPU_NOT_FOUND},
    {MDB_PAGE_NOTFOUND, QUIPU_CORRUPT},
    {MDB_CORRUPTED, QUIPU_CORRUPT},
    /* An earlier write of the meta page failed; the environment must be opened again. */
    {MDB_PANIC, QUIPU_IO},
    {MDB_VERSION_MISMATCH, QUIPU_FORMAT_NEWER},
    {MDB_INVALID, QUIPU_NOT_A_STORE},
    {MDB_MAP_FULL, QUIPU_NO_SPACE},
    {MDB_DBS_FULL, QUIPU_NOT_A_STORE},
    {MDB_READERS_FULL, QUIPU_BUSY},
    {MDB_TLS_FULL, QUIPU_NO_MEMORY},
    {MDB_TXN_FULL, QUIPU_TOO_LARGE},
    {MDB_CURSOR_FULL, QUIPU_CORRUPT},
    {MDB_PAGE_FULL, QUIPU_CORRUPT},
    {MDB_MAP_RESIZED, QUIPU_BUSY},
    {MDB_INCOMPATIBLE, QUIPU_CORRUPT},
    {MDB_BAD_RSLOT, QUIPU_MISUSE},
    /* A write of this transaction failed before. */
    {MDB_BAD_TXN, QUIPU_IO},
    {MDB_BAD_VALSIZE, QUIPU_TOO_LARGE},
    {MDB_BAD_DBI, QUIPU_CORRUPT},
};

enum quipu_status quipu_lmdb_status(int code)
{
    for (size_t i = 0; i < sizeof lmdb_codes / sizeof lmdb_codes[0]; i++) {
        if (lmdb_codes[i].code == code) {
            return lmdb_codes[i].status;
        }
    }
    return code > 0 ? quipu_status_from_errno(code) : QUIPU_IO;
}

enum quipu_status quipu_lmdb_error(struct quipu_error *err, int code, const char *format, ...)
{
    if (err == NULL) {
        return quipu_lmdb_status(code);
    }
    char line[QUIPU_ERROR_MESSAGE_BYTES / 2];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args); /* too long a line is cut: it is for people */
    va_end(args);
    if (code > 0) {
        /* An errno: mdb_strerror would go through strerror, which threads may not share. */
        return quipu_error_errno(err, code, "%s", line);
    }
    return quipu_error_set(err, quipu_lmdb_status(code), "%s: %s", line, mdb_strerror(code));
}

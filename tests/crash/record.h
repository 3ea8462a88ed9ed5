/*
 * What the recorder writes down and the explorer reads: one header per call, followed by its names
 * and its data. Both run on the same machine, so that the header is a plain image.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_CRASH_RECORD_H
#define QUIPU_TESTS_CRASH_RECORD_H

#include <stdint.h>

/* Environment of the recorded program: the folder to watch and the file to write to. */
#define RECORD_ROOT_VARIABLE "QUIPU_RECORD_ROOT"
#define RECORD_LOG_VARIABLE  "QUIPU_RECORD_LOG"

#define RECORD_NAME_BYTES 64

enum record_kind {
    RECORD_ROOT = 1, /* inode: the watched folder */
    RECORD_CREATE,   /* a file `inode` became `name` of `folder` */
    RECORD_MKDIR,    /* the same with a folder */
    RECORD_RENAME,   /* `name` of `folder` became `to_name` of `to_folder` */
    RECORD_UNLINK,   /* `name` of `folder` is gone, file or folder */
    RECORD_WRITE,    /* data at `offset` */
    RECORD_TRUNCATE, /* the file has `offset` bytes now */
    RECORD_SYNC,     /* fsync, fdatasync or msync of `inode` has returned */
    RECORD_MARK,     /* data is a piece of the program's standard output */
};

struct record_header {
    uint32_t kind;
    uint32_t is_synchronous; /* write: through a descriptor with O_DSYNC or O_SYNC */
    uint64_t inode;
    uint64_t folder;
    uint64_t to_folder;
    uint64_t offset;
    uint64_t data_bytes; /* behind the header */
    char name[RECORD_NAME_BYTES];
    char to_name[RECORD_NAME_BYTES];
};

#endif

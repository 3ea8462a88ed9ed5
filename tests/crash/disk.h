/*
 * A model of what a disk may hold after the power went off: every call of a record is applied to
 * it, and at any moment it can lay down one of the states that a file system is free to leave
 * behind.
 *
 * The rules, which are those of POSIX and weaker than those of any journalling file system:
 *  - A write is in doubt until an fsync or fdatasync of its file has returned; one through a
 *    descriptor with O_DSYNC until it has itself returned, and it settles no other write.
 *  - The disk writes sectors (of 512 bytes, or as it is told). A sector in doubt holds what some
 *    write to it left there, each sector by itself: writes are lost, reordered and torn.
 *  - The length of a file is in doubt like its data, and not tied to it.
 *  - A name (creat, mkdir, rename, unlink) is in doubt until the folder has been synced, each by
 *    itself; a sync of the file does not settle its name. A rename is all or nothing.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_CRASH_DISK_H
#define QUIPU_TESTS_CRASH_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "record.h"

struct disk;

/* What becomes of the changes in doubt. */
enum disk_choice { DISK_NOTHING_KEPT, DISK_ALL_KEPT, DISK_RANDOM };

/* What no power cut tears: sectors of so many bytes. */
#define DISK_SECTOR_BYTES 512

struct disk *disk_new(size_t sector_bytes);
void disk_free(struct disk *disk);

/* A call has begun: what it changes is in doubt. False (with a line on stderr) for a record that
 * makes no sense. Syncs and marks change nothing. */
bool disk_begin(struct disk *disk, const struct record_header *header, const uint8_t *data);
/* The call has returned: settles what it is said to settle. */
bool disk_finish(struct disk *disk, const struct record_header *header);

/* Is this inode a folder's? */
bool disk_is_folder(const struct disk *disk, uint64_t inode);

/* Changes in doubt. */
size_t disk_doubts(const struct disk *disk);

/* Lay down a state in the new folder `path`. `random` is a generator's state. `*hash`: of all of
 * it. Aborts where the folder cannot be written. */
void disk_lay_down(const struct disk *disk, enum disk_choice choice, uint64_t *random,
                   const char *path, uint64_t *hash);

/* Is what the calls have left, as the program saw it, what lies in the folder? Says on stderr what
 * differs. lock.mdb is left out: it is changed through a map and means nothing after a crash. */
bool disk_matches(const struct disk *disk, const char *path);

#endif

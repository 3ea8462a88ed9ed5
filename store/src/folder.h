/*
 * The store's folder: entering it, its lock bytes, syncing it. Never touches LMDB. Private to
 * store/.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_STORE_FOLDER_H
#define QUIPU_STORE_FOLDER_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "quipu/error.h"

/* Byte of open.lock that is held while a store is made. The byte of a process that has the store
 * open is its number, far below. */
#define QUIPU_CREATION_BYTE (INT64_C(1) << 40)

/* From here on: the byte of the process that has the store alone. It holds all of the bytes below
 * QUIPU_CREATION_BYTE as well. */
#define QUIPU_ALONE_BYTES (INT64_C(1) << 41)

/* From here on: the bytes of the processes that read a store which they may not write to. They
 * share all of the bytes below QUIPU_CREATION_BYTE. */
#define QUIPU_READER_BYTES (INT64_C(1) << 42)

/* Open the folder for reading, after making it with mode 0700 where `may_make` and there is none.
 * `real_path` gets its absolute path. Fails with QUIPU_NOT_FOUND, QUIPU_NOT_A_STORE (not a folder),
 * QUIPU_INVALID (network file system), QUIPU_PERMISSION… */
QUIPU_MUST_CHECK enum quipu_status quipu_folder_enter(const char *path, bool may_make, int *fd,
                                                      char real_path[PATH_MAX],
                                                      struct quipu_error *err);

/* True for the magic numbers, as of statfs, of file systems on which LMDB's locks and map do not
 * work between machines. */
bool quipu_folder_is_network(uint64_t magic);

/* True where nothing is in it but what a half-made store leaves: lock files, create.tmp,
 * lost+found. */
QUIPU_MUST_CHECK enum quipu_status quipu_folder_is_blank(int fd, bool *is_blank,
                                                         struct quipu_error *err);

/* Does it hold this name? */
QUIPU_MUST_CHECK enum quipu_status quipu_folder_has(int fd, const char *name, bool *has,
                                                    struct quipu_error *err);

/* fsync the folder, and its parent where that may be read. */
QUIPU_MUST_CHECK enum quipu_status quipu_folder_sync(int fd, struct quipu_error *err);

/* The path of create.tmp in the folder at `real_path`. Fails with QUIPU_TOO_LARGE. */
QUIPU_MUST_CHECK enum quipu_status quipu_folder_temp_path(const char *real_path, char out[PATH_MAX],
                                                          struct quipu_error *err);

/* Remove create.tmp and what is in it; fine where it is not there. A link of that name is not
 * followed: QUIPU_EXISTS. */
enum quipu_status quipu_folder_remove_temp(int fd, struct quipu_error *err);

/* Open a lock file of the folder; `flags` are O_RDWR | O_CREAT, or O_RDONLY. What is written to it
 * must not go elsewhere, so a link is not followed, and it must be a plain file. Returns errno, or
 * 0; `*out` is untouched then. */
QUIPU_MUST_CHECK int quipu_lock_file_open(int fd, const char *name, int flags, int *out);
/* That it failed with this number, as an error. */
enum quipu_status quipu_lock_file_error(struct quipu_error *err, int number, const char *path,
                                        const char *name);

/* Does the file that was opened still have its name? A lock of one that was deleted keeps nobody
 * out. */
bool quipu_folder_names(int fd, const char *name, int opened);

/* Have the store alone: lock the byte of every process there may be, and say in open.lock who we
 * are. Fails with QUIPU_BUSY, naming a process that has it open. Released when `fd` is closed. */
QUIPU_MUST_CHECK enum quipu_status quipu_folder_lock_alone(int fd, const char *path,
                                                           struct quipu_error *err);

/* Keep everybody out who would write, and share that with others who only read; `fd` need not be
 * open for writing. Fails with QUIPU_BUSY, naming a process that has it open. */
QUIPU_MUST_CHECK enum quipu_status quipu_folder_lock_reader(int fd, const char *path,
                                                            struct quipu_error *err);

/* Release every lock that is held by way of this descriptor. Not left to closing it: a child that
 * was forked meanwhile has the file open too. */
void quipu_folder_unlock(int fd);

/* Why could our own byte not be locked? QUIPU_BUSY where somebody has the store alone, or reads it
 * and must not be disturbed, else QUIPU_EXISTS. */
enum quipu_status quipu_folder_explain_lock(int fd, const char *path, struct quipu_error *err);

/* Lock one byte, for this open file only (not for the process): true where it is held now. */
QUIPU_MUST_CHECK enum quipu_status quipu_byte_lock(int fd, off_t byte, bool wait, bool *is_held,
                                                   struct quipu_error *err);
void quipu_byte_unlock(int fd, off_t byte);

#endif

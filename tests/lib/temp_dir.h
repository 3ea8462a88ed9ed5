/*
 * A folder of its own for each test, removed with all that is in it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_TEMP_DIR_H
#define QUIPU_TESTS_TEMP_DIR_H

#define TEMP_DIR_BYTES 256

struct temp_dir {
    char path[TEMP_DIR_BYTES];
};

/* Make a new folder below TMPDIR (or /tmp); the test is aborted where that fails. */
void temp_dir_init(struct temp_dir *dir);

/* Remove it and everything in it. */
void temp_dir_release(struct temp_dir *dir);

/* "<dir>/<name>" in a buffer of the caller's; returns the buffer. */
char *temp_dir_join(const struct temp_dir *dir, const char *name, char out[2 * TEMP_DIR_BYTES]);

#endif

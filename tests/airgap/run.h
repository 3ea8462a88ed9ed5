/*
 * Running another program from a test, without a shell; whole files; what is in a folder.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_RUN_H
#define QUIPU_TESTS_RUN_H

#include <stdbool.h>
#include <stddef.h>

#include "quipu/slice.h"

/* True where the program is on PATH. */
bool run_is_there(const char *program);

/* Run argv[0] with `input` (a file's path, or NULL: nothing) as its standard input; what it prints
 * goes to this process's standard error. Its exit code, or 128 and the signal that ended it. */
int run(const char *const argv[], const char *input);

/* Write a whole file, or read one; the test is aborted where that fails. The caller frees. */
void write_file(const char *path, struct quipu_slice bytes);
struct quipu_slice read_file(const char *path);
void free_file(struct quipu_slice *bytes);

/* How many names of a folder begin with `prefix`; "": all of them, without "." and "..". */
size_t count_names(const char *folder, const char *prefix);

#endif

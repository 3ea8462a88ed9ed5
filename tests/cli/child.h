/*
 * Runs the program, lets it end or kills it at a random moment, and reads what it said.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_CHILD_H
#define QUIPU_TESTS_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* How a run ended. */
enum child_end { CHILD_SUCCEEDED, CHILD_FAILED, CHILD_KILLED };

/* Run argv[0] with stdout and stderr in these files; kill it with SIGKILL after `kill_after_us`
 * unless it has ended before (0: never). */
enum child_end child_run(const char *const argv[], const char *out, const char *err,
                         uint64_t kill_after_us);

/* Run to the end; the test ends with what the program said on stderr where that fails. */
void child_must(const char *const argv[], const char *out, const char *err);

/* Value of a text or number member of a JSON line, without quotes; false where it is not there. */
bool child_member(const char *line, const char *name, char *out, size_t cap);

/* Number member of the one line in a file. */
uint64_t child_number(const char *path, const char *name);

/* A random moment in the run of a program that works for up to `work_us` once it has started: how
 * long a start takes differs tenfold between builds, so it is measured. */
struct child_moments {
    uint64_t seed; /* not 0 */
    uint64_t start_us;
    uint64_t work_us;
};
void child_moments_init(struct child_moments *moments, const char *program, const char *out,
                        const char *err);
uint64_t child_moment_us(struct child_moments *moments);

/* Say why and end the test. */
_Noreturn void child_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif

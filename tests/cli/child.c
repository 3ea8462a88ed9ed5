/*
 * Runs the program and kills it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "child.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES 8192

_Noreturn void child_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fputs("failed: ", stderr);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
    exit(1);
}

/* By us and not by the child: it may be killed before it comes to that. */
static int make_empty(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        child_fail("make %s", path);
    }
    return fd;
}

enum child_end child_run(const char *const argv[], const char *out, const char *err,
                         uint64_t kill_after_us)
{
    int out_fd = make_empty(out);
    int err_fd = make_empty(err);
    pid_t pid = fork();
    if (pid < 0) {
        child_fail("fork");
    }
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* no run outlives the test */
        if (dup2(out_fd, STDOUT_FILENO) < 0 || dup2(err_fd, STDERR_FILENO) < 0) {
            _exit(126);
        }
        /* execv takes no const for old programs' sake; it changes nothing. */
        union {
            const char *const *ours;
            char *const *theirs;
        } arguments = {.ours = argv};
        (void)execv(argv[0], arguments.theirs);
        _exit(127);
    }
    (void)close(out_fd); /* the child has its own */
    (void)close(err_fd); /* the same */
    if (kill_after_us > 0) {
        struct timespec moment = {(time_t)(kill_after_us / 1000000),
                                  (long)(kill_after_us % 1000000) * 1000};
        (void)nanosleep(&moment, NULL); /* no signal comes here */
        (void)kill(pid, SIGKILL);       /* it may have ended: it is not waited for yet */
    }
    int how = 0;
    if (waitpid(pid, &how, 0) != pid) {
        child_fail("waitpid");
    }
    if (WIFSIGNALED(how)) {
        return WTERMSIG(how) == SIGKILL ? CHILD_KILLED : CHILD_FAILED;
    }
    return WEXITSTATUS(how) == 0 ? CHILD_SUCCEEDED : CHILD_FAILED;
}

void child_must(const char *const argv[], const char *out, const char *err)
{
    if (child_run(argv, out, err, 0) == CHILD_SUCCEEDED) {
        return;
    }
    char line[LINE_BYTES] = "";
    FILE *file = fopen(err, "r");
    if (file != NULL) {
        if (fgets(line, sizeof line, file) == NULL) {
            line[0] = 0;
        }
        (void)fclose(file); /* only read from */
    }
    child_fail("%s %s: %s", argv[0], argv[1], line);
}

bool child_member(const char *line, const char *name, char *out, size_t cap)
{
    char key[64];
    (void)snprintf(key, sizeof key, "\"%s\":", name);
    const char *value = strstr(line, key);
    if (value == NULL) {
        return false;
    }
    value += strlen(key);
    bool is_text = value[0] == '"';
    value += is_text ? 1 : 0;
    size_t len = strcspn(value, is_text ? "\"" : ",}");
    if (value[len] == 0 || len >= cap) {
        return false; /* cut off */
    }
    memcpy(out, value, len);
    out[len] = 0;
    return true;
}

uint64_t child_number(const char *path, const char *name)
{
    char line[LINE_BYTES];
    char text[32];
    FILE *file = fopen(path, "r");
    if (file == NULL || fgets(line, sizeof line, file) == NULL ||
        !child_member(line, name, text, sizeof text)) {
        child_fail("%s holds no member %s", path, name);
    }
    (void)fclose(file); /* only read from */
    return strtoull(text, NULL, 10);
}

/* xorshift64*: the same numbers for the same seed. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

void child_moments_init(struct child_moments *moments, const char *program, const char *out,
                        const char *err)
{
    const char *version[] = {program, "version", NULL};
    struct timespec begin;
    struct timespec end;
    (void)clock_gettime(CLOCK_MONOTONIC, &begin); /* cannot fail with this clock */
    child_must(version, out, err);
    (void)clock_gettime(CLOCK_MONOTONIC, &end); /* the same */
    int64_t took_us =
        (int64_t)(end.tv_sec - begin.tv_sec) * 1000000 + (end.tv_nsec - begin.tv_nsec) / 1000;
    moments->start_us = took_us > 0 ? (uint64_t)took_us : 1;
}

uint64_t child_moment_us(struct child_moments *moments)
{
    return moments->start_us / 2 +
           next_random(&moments->seed) % (moments->start_us + moments->work_us) + 1;
}

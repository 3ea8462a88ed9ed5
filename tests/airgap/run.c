/*
 * Running another program from a test, whole files, names in folders.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "run.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void die(const char *what)
{
    perror(what);
    abort();
}

bool run_is_there(const char *program)
{
    char text[4096];
    const char *path = getenv("PATH");
    (void)snprintf(text, sizeof text, "%s", path == NULL ? "" : path);
    char *save = NULL;
    for (char *folder = strtok_r(text, ":", &save); folder != NULL;
         folder = strtok_r(NULL, ":", &save)) {
        char whole[8192];
        (void)snprintf(whole, sizeof whole, "%s/%s", folder, program);
        if (access(whole, X_OK) == 0) {
            return true;
        }
    }
    return false;
}

static void run_child(const char *const argv[], const char *input)
{
    int in = open(input == NULL ? "/dev/null" : input, O_RDONLY);
    if (in < 0 || dup2(in, 0) < 0 || dup2(2, 1) < 0) {
        _exit(126);
    }
    /* exec does not write through these pointers, whatever its prototype allows. */
    (void)execvp(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

int run(const char *const argv[], const char *input)
{
    int state = 0;
    pid_t child = fork();
    if (child < 0) {
        die("fork");
    }
    if (child == 0) {
        run_child(argv, input);
    }
    if (waitpid(child, &state, 0) != child) {
        die("waitpid");
    }
    return WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
}

void write_file(const char *path, struct quipu_slice bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        die(path);
    }
    for (size_t at = 0; at < bytes.len;) {
        ssize_t count = write(fd, bytes.data + at, bytes.len - at);
        if (count <= 0) {
            die(path);
        }
        at += (size_t)count;
    }
    if (close(fd) != 0) {
        die(path);
    }
}

struct quipu_slice read_file(const char *path)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0) {
        die(path);
    }
    size_t len = (size_t)info.st_size;
    uint8_t *data = malloc(len + 1);
    if (data == NULL || read(fd, data, len) != (ssize_t)len || close(fd) != 0) {
        die(path);
    }
    return quipu_slice(data, len);
}

void free_file(struct quipu_slice *bytes)
{
    free((void *)(uintptr_t)bytes->data);
    *bytes = (struct quipu_slice){0};
}

size_t count_names(const char *folder, const char *prefix)
{
    size_t count = 0;
    DIR *opened = opendir(folder);
    if (opened == NULL) {
        die(folder);
    }
    for (struct dirent *entry = readdir(opened); entry != NULL; entry = readdir(opened)) {
        bool is_itself = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
        count += !is_itself && strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    }
    (void)closedir(opened); /* was only read */
    return count;
}

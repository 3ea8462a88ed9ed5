/*
 * What the benchmark asks of the system: time, folders, the page cache, bytes sent to the device.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bench_store.h"

#define STAT_BLOCK_BYTES 512
#define OPEN_FOLDERS_MAX 16

volatile uint64_t bench_sink;

noreturn void die(const char *format, ...)
{
    va_list arguments;
    fprintf(stderr, "%s: ", program_invocation_short_name);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

void *must_alloc(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (memory == NULL) {
        die("no memory for %zu × %zu bytes", count, size);
    }
    return memory;
}

double now_seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

struct io_bytes io_bytes_now(void)
{
    FILE *file = fopen("/proc/self/io", "r");
    char line[128];
    struct io_bytes bytes = {0, 0};
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        (void)sscanf(line, "wchar: %" SCNu64, &bytes.handed_over);
        (void)sscanf(line, "write_bytes: %" SCNu64, &bytes.to_device);
    }
    if (file != NULL) {
        fclose(file);
    }
    return bytes;
}

/* nftw has no context argument; the program walks folders from its main thread only. */
static uint64_t walked_bytes;

static int add_bytes(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)path;
    (void)walk;
    if (type == FTW_F) {
        walked_bytes += (uint64_t)info->st_blocks * STAT_BLOCK_BYTES;
    }
    return 0;
}

uint64_t folder_bytes(const char *path)
{
    walked_bytes = 0;
    if (nftw(path, add_bytes, OPEN_FOLDERS_MAX, FTW_PHYS) != 0) {
        die("cannot walk %s: %s", path, strerror(errno));
    }
    return walked_bytes;
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

void folder_remove(const char *path)
{
    if (nftw(path, remove_entry, OPEN_FOLDERS_MAX, FTW_PHYS | FTW_DEPTH) != 0 && errno != ENOENT) {
        fprintf(stderr, "bench_store: cannot delete %s: %s\n", path, strerror(errno));
    }
}

static int evict_file(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info;
    (void)walk;
    int file = type == FTW_F ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file >= 0) {
        (void)fdatasync(file);
        (void)posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
        close(file);
    }
    return 0;
}

void folder_evict(const char *path)
{
    if (nftw(path, evict_file, OPEN_FOLDERS_MAX, FTW_PHYS) != 0) {
        die("cannot walk %s: %s", path, strerror(errno));
    }
}

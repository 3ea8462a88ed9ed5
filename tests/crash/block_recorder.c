/*
 * A disk that writes down what it is told: a file system (FUSE) of two files. `image` is the disk,
 * to put a loop device on: every write of it and every flush goes to the record, in order and with
 * data. `marks` takes lines from the workload, which go to the same record; one thread serves both,
 * so that the place of a line among the flushes is its true one. It keeps no cache, drops nothing
 * and makes nothing fail; discards are not offered.
 *
 * A write that has been taken when the flush comes counts as flushed, as on a disk with a cache. A
 * write through a device that asks for more (FUA) comes with a flush of its own, by the kernel.
 *
 * usage: crash_block_recorder MOUNT IMAGE RECORD READY-DESCRIPTOR
 *   Serves until it is unmounted; writes a byte to the descriptor when it is ready.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define FUSE_USE_VERSION 31

#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block_recorder.h"
#include "record.h"

#define ROOT_INODE  1
#define IMAGE_INODE 2
#define PIECE_BYTES (1u << 20)

static struct {
    int image_fd;
    int record_fd;
    int ready_fd;
    off_t image_bytes;
} disk;

static void die(const char *what)
{
    perror(what);
    exit(EXIT_FAILURE);
}

static void put(const void *data, size_t len)
{
    for (const char *at = data; len > 0;) {
        ssize_t wrote = write(disk.record_fd, at, len);
        if (wrote <= 0) {
            die("record"); /* a record with a hole is worth nothing */
        }
        at += wrote;
        len -= (size_t)wrote;
    }
}

static void put_record(const struct record_header *header, const void *data)
{
    put(header, sizeof *header);
    put(data, header->data_bytes);
}

static void put_flush(uint64_t inode)
{
    struct record_header header = {.kind = RECORD_SYNC, .inode = inode};
    put_record(&header, NULL);
}

static void put_write(const char *data, size_t len, off_t offset)
{
    struct record_header header = {
        .kind = RECORD_WRITE, .inode = IMAGE_INODE, .offset = (uint64_t)offset, .data_bytes = len};
    put_record(&header, data);
}

static void put_mark(const char *data, size_t len)
{
    struct record_header header = {.kind = RECORD_MARK, .data_bytes = len};
    put_record(&header, data);
}

/* The disk as it is before anything happens, all of it flushed. */
static void put_beginning(void)
{
    struct record_header root = {.kind = RECORD_ROOT, .inode = ROOT_INODE};
    struct record_header file = {.kind = RECORD_CREATE, .inode = IMAGE_INODE, .folder = ROOT_INODE};
    char *piece = malloc(PIECE_BYTES);
    (void)snprintf(file.name, sizeof file.name, "%s", BLOCK_RECORDER_IMAGE);
    put_record(&root, NULL);
    put_record(&file, NULL);
    for (off_t at = 0; piece != NULL && at < disk.image_bytes;) {
        ssize_t got = pread(disk.image_fd, piece, PIECE_BYTES, at);
        if (got <= 0) {
            die("image");
        }
        put_write(piece, (size_t)got, at);
        at += got;
    }
    free(piece);
    put_flush(IMAGE_INODE);
    put_flush(ROOT_INODE);
    put_mark(BLOCK_RECORDER_BEGIN, strlen(BLOCK_RECORDER_BEGIN));
}

/* ------------------------------------------------------------------ the file system */

static bool is_image(const char *path)
{
    return strcmp(path, "/" BLOCK_RECORDER_IMAGE) == 0;
}

static bool is_marks(const char *path)
{
    return strcmp(path, "/" BLOCK_RECORDER_MARKS) == 0;
}

static void *on_init(struct fuse_conn_info *connection, struct fuse_config *config)
{
    (void)connection;
    config->use_ino = 1;
    config->nullpath_ok = 0;
    if (write(disk.ready_fd, "r", 1) != 1) {
        die("ready");
    }
    (void)close(disk.ready_fd); /* said what it had to say */
    return NULL;
}

static int on_getattr(const char *path, struct stat *out, struct fuse_file_info *file)
{
    (void)file;
    *out = (struct stat){.st_nlink = 1, .st_mode = S_IFREG | 0600, .st_ino = IMAGE_INODE};
    if (is_image(path)) {
        out->st_size = disk.image_bytes;
    } else if (is_marks(path)) {
        out->st_ino = IMAGE_INODE + 1;
    } else if (strcmp(path, "/") == 0) {
        out->st_ino = ROOT_INODE;
        out->st_mode = S_IFDIR | 0700;
        out->st_nlink = 2;
    } else {
        return -ENOENT;
    }
    return 0;
}

static int on_open(const char *path, struct fuse_file_info *file)
{
    /* Lines must come one write each, at their moment. */
    file->direct_io = is_marks(path);
    return is_image(path) || is_marks(path) ? 0 : -ENOENT;
}

static int on_read(const char *path, char *out, size_t len, off_t offset,
                   struct fuse_file_info *file)
{
    (void)file;
    if (!is_image(path)) {
        return 0;
    }
    ssize_t got = pread(disk.image_fd, out, len, offset);
    return got < 0 ? -errno : (int)got;
}

static int on_write(const char *path, const char *data, size_t len, off_t offset,
                    struct fuse_file_info *file)
{
    (void)file;
    if (is_marks(path)) {
        put_mark(data, len);
        return (int)len;
    }
    if (!is_image(path) || offset < 0 || offset + (off_t)len > disk.image_bytes) {
        return -ENOSPC;
    }
    ssize_t wrote = pwrite(disk.image_fd, data, len, offset);
    if (wrote < 0) {
        return -errno;
    }
    put_write(data, (size_t)wrote, offset);
    return (int)wrote;
}

static int on_fsync(const char *path, int is_data_only, struct fuse_file_info *file)
{
    (void)is_data_only;
    (void)file;
    if (is_image(path)) {
        put_flush(IMAGE_INODE);
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct fuse_operations operations = {
        .init = on_init,
        .getattr = on_getattr,
        .open = on_open,
        .read = on_read,
        .write = on_write,
        .fsync = on_fsync,
    };
    struct stat info;
    if (argc != 5) {
        (void)fprintf(stderr, "usage: crash_block_recorder MOUNT IMAGE RECORD READY-DESCRIPTOR\n");
        return 2;
    }
    disk.image_fd = open(argv[2], O_RDWR | O_CLOEXEC);
    disk.record_fd = open(argv[3], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    disk.ready_fd = (int)strtol(argv[4], NULL, 10);
    if (disk.image_fd < 0 || disk.record_fd < 0 || fstat(disk.image_fd, &info) != 0) {
        die("block recorder");
    }
    disk.image_bytes = info.st_size;
    put_beginning();
    /* Its end is the end of the mount, and with it of a loop device that a dead parent left. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
        die("prctl");
    }
    char in_foreground[] = "-f";
    char by_one_thread[] = "-s";
    char *arguments[] = {argv[0], in_foreground, by_one_thread, argv[1], NULL};
    return fuse_main(4, arguments, &operations, NULL);
}

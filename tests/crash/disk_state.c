/*
 * The model of a disk: the states it may be found in.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk_impl.h"
#include "sample.h"

#define DEPTH_MAX        8
#define LOCK_FILE        "lock.mdb"
#define LOCK_FILE_BYTES  65536
#define KEEP_EIGHTHS_MAX 8
#define PIECE_BYTES      16384

/* How one state is drawn. */
struct draw {
    enum disk_choice choice;
    uint64_t *random;
    bool *is_kept;         /* per change */
    bool may_tear;         /* sectors of a kept write fare differently */
    bool is_prefix;        /* the changes up to one are kept, that one perhaps torn */
    size_t prefix_len;     /* with is_prefix */
    unsigned keep_eighths; /* else: chance of each to be kept */
    uint64_t hash;
};

static uint64_t below(struct draw *draw, uint64_t limit)
{
    return sample_random(draw->random) % limit;
}

static void draw_changes(const struct disk *disk, struct draw *draw)
{
    static const unsigned eighths[] = {1, 4, 4, 7};
    draw->is_kept = calloc(disk->changes_len + 1, sizeof *draw->is_kept);
    if (draw->is_kept == NULL) {
        abort();
    }
    if (draw->choice == DISK_RANDOM) {
        draw->may_tear = below(draw, 2) == 0;
        draw->is_prefix = below(draw, 4) == 0;
        draw->prefix_len = (size_t)below(draw, disk->changes_len + 1);
        draw->keep_eighths = eighths[below(draw, 4)];
    }
    for (size_t i = 0; i < disk->changes_len; i++) {
        if (draw->choice != DISK_RANDOM) {
            draw->is_kept[i] = draw->choice == DISK_ALL_KEPT;
        } else if (draw->is_prefix) {
            draw->is_kept[i] = i < draw->prefix_len;
        } else {
            draw->is_kept[i] = below(draw, KEEP_EIGHTHS_MAX) < draw->keep_eighths;
        }
    }
}

static void hash_bytes(struct draw *draw, const void *data, size_t len)
{
    const uint8_t *at = data;
    uint64_t hash = draw->hash ^ len;
    while (len > 0) {
        uint64_t word = 0;
        size_t some = len < sizeof word ? len : sizeof word;
        memcpy(&word, at, some);
        hash = (hash ^ word) * UINT64_C(0x9fb21c651e98df25);
        hash ^= hash >> 32;
        at += some;
        len -= some;
    }
    draw->hash = hash;
}

/* ------------------------------------------------------------------ files */

/* Some sectors of a write: those before one, those from one on, or each by chance. */
static void put_torn(struct draw *draw, struct bytes *file, const struct change *change,
                     size_t sector_bytes)
{
    size_t sectors = (change->image.len + sector_bytes - 1) / sector_bytes;
    size_t cut = (size_t)below(draw, sectors + 1);
    uint64_t way = below(draw, 3);
    for (size_t i = 0; i < sectors; i++) {
        bool is_kept = way == 0 ? i < cut : way == 1 ? i >= cut : below(draw, 2) == 0;
        size_t at = i * sector_bytes;
        size_t len = change->image.len - at < sector_bytes ? change->image.len - at : sector_bytes;
        if (is_kept) {
            bytes_put(file, change->offset + at, change->image.data + at, len);
        }
    }
}

/* The file as the kept changes leave it. */
static void file_build(const struct disk *disk, struct draw *draw, const struct node *node,
                       struct bytes *file)
{
    uint64_t longest = node->durable.len;
    bytes_put(file, 0, node->durable.data, node->durable.len);
    for (size_t i = 0; i < disk->changes_len; i++) {
        const struct change *change = &disk->changes[i];
        if (change->node != node) {
            continue;
        }
        longest = change->length;
        if (!draw->is_kept[i]) {
            continue;
        }
        bool is_last = draw->is_prefix && i + 1 == draw->prefix_len;
        if (change->is_length) {
            bytes_resize(file, change->length);
        } else if (draw->may_tear && (is_last || !draw->is_prefix) && below(draw, 2) == 0) {
            put_torn(draw, file, change, disk->sector_bytes);
        } else {
            bytes_put(file, change->offset, change->image.data, change->image.len);
        }
    }
    if (draw->choice == DISK_RANDOM) {
        /* The length is kept without the data, or the data without the length. */
        uint64_t way = below(draw, 8);
        if (way < 2) {
            bytes_resize(file, longest);
        } else if (way == 2) {
            bytes_resize(file, node->durable.len);
        }
    }
}

/* Changed through a map, so that any of it may be on the disk: nothing, zeros or rubbish. */
static void lock_file_build(struct draw *draw, struct bytes *file)
{
    uint64_t way = draw->choice == DISK_RANDOM ? below(draw, 3) : 0;
    if (way > 0) {
        bytes_resize(file, LOCK_FILE_BYTES);
    }
    for (size_t i = 0; way == 2 && i < LOCK_FILE_BYTES; i++) {
        file->data[i] = (uint8_t)below(draw, 256);
    }
}

static void die(const char *path)
{
    perror(path);
    abort();
}

static void file_lay_down(const char *path, const struct bytes *file)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        die(path);
    }
    /* What is zero stays a hole: a disk's image is mostly that. */
    if (ftruncate(fd, (off_t)file->len) != 0) {
        die(path);
    }
    for (size_t done = 0; done < file->len;) {
        size_t some = file->len - done < PIECE_BYTES ? file->len - done : PIECE_BYTES;
        const uint8_t *piece = file->data + done;
        bool is_zero = piece[0] == 0 && memcmp(piece, piece + 1, some - 1) == 0;
        ssize_t wrote = is_zero ? (ssize_t)some : pwrite(fd, piece, some, (off_t)done);
        if (wrote <= 0) {
            die(path);
        }
        done += (size_t)wrote;
    }
    (void)close(fd); /* needs to outlive no crash */
}

static void join(char out[PATH_MAX], const char *folder, const char *name)
{
    int len = snprintf(out, PATH_MAX, "%s/%s", folder, name);
    if (len < 0 || len >= PATH_MAX) {
        abort();
    }
}

/* ------------------------------------------------------------------ folders */

/* Depth is that of the stores' folders, three at most. */
static void folder_lay_down(const struct disk *disk, struct draw *draw, const struct names *names,
                            const struct node *folder, const char *path, int depth)
{
    char inner[PATH_MAX];
    if (depth > DEPTH_MAX || mkdir(path, 0700) != 0) {
        die(path);
    }
    for (size_t i = 0; i < names->len; i++) {
        const struct name *name = &names->at[i];
        if (name->folder != folder || name->target == NULL) {
            continue;
        }
        join(inner, path, name->text);
        hash_bytes(draw, name->text, strlen(name->text));
        if (name->target->is_folder) {
            folder_lay_down(disk, draw, names, name->target, inner, depth + 1);
            continue;
        }
        struct bytes file = {.data = NULL};
        if (strcmp(name->text, LOCK_FILE) == 0) {
            lock_file_build(draw, &file);
        } else {
            file_build(disk, draw, name->target, &file);
            hash_bytes(draw, file.data, file.len);
        }
        file_lay_down(inner, &file);
        free(file.data);
    }
}

void disk_lay_down(const struct disk *disk, enum disk_choice choice, uint64_t *random,
                   const char *path, uint64_t *hash)
{
    struct draw draw = {.choice = choice, .random = random};
    struct names names;
    draw_changes(disk, &draw);
    names_copy(&names, &disk->durable);
    for (size_t i = 0; i < disk->changes_len; i++) {
        for (size_t j = 0; draw.is_kept[i] && j < disk->changes[i].names_len; j++) {
            names_set(&names, &disk->changes[i].names[j]);
        }
    }
    folder_lay_down(disk, &draw, &names, disk->root, path, 0);
    free(names.at);
    free(draw.is_kept);
    *hash = draw.hash;
}

/* ------------------------------------------------------------------ is the record whole? */

static bool file_matches(const struct node *node, const char *path)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool is_same = fd >= 0 && fstat(fd, &info) == 0 && (uint64_t)info.st_size == node->cached.len;
    uint8_t *data = malloc(node->cached.len + 1);
    size_t done = 0;
    while (is_same && data != NULL && done < node->cached.len) {
        ssize_t got = read(fd, data + done, node->cached.len - done);
        is_same = got > 0;
        done += is_same ? (size_t)got : 0;
    }
    is_same = is_same && data != NULL && (done == 0 || memcmp(data, node->cached.data, done) == 0);
    free(data);
    if (fd >= 0) {
        (void)close(fd); /* was only read */
    }
    if (!is_same) {
        (void)fprintf(stderr, "%s: not what the record says\n", path);
    }
    return is_same;
}

static bool folder_matches(const struct disk *disk, const struct node *folder, const char *path,
                           int depth)
{
    char inner[PATH_MAX];
    size_t expected = 0;
    bool is_same = depth <= DEPTH_MAX;
    for (size_t i = 0; i < disk->cached.len && is_same; i++) {
        const struct name *name = &disk->cached.at[i];
        if (name->folder != folder || name->target == NULL) {
            continue;
        }
        expected++;
        join(inner, path, name->text);
        if (name->target->is_folder) {
            is_same = folder_matches(disk, name->target, inner, depth + 1);
        } else if (strcmp(name->text, LOCK_FILE) != 0) {
            is_same = file_matches(name->target, inner);
        }
    }
    DIR *dir = opendir(path);
    size_t found = 0;
    for (const struct dirent *entry = dir == NULL ? NULL : readdir(dir); entry != NULL;
         entry = readdir(dir)) {
        found += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    if (dir != NULL) {
        (void)closedir(dir); /* was only read */
    }
    if (is_same && found != expected) {
        (void)fprintf(stderr, "%s: %zu names, the record says %zu\n", path, found, expected);
        return false;
    }
    return is_same;
}

bool disk_matches(const struct disk *disk, const char *path)
{
    return folder_matches(disk, disk->root, path, 0);
}

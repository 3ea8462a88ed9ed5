/*
 * What disk.c (calls) and disk_state.c (states) share.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_CRASH_DISK_IMPL_H
#define QUIPU_TESTS_CRASH_DISK_IMPL_H

#include "disk.h"

struct bytes {
    uint8_t *data;
    size_t len;
    size_t cap;
};

/* A file or a folder, whatever it is called. */
struct node {
    uint64_t inode;
    bool is_folder;
    struct bytes durable;
    struct bytes cached;
};

struct name {
    const struct node *folder;
    struct node *target; /* NULL: there is no such name */
    char text[RECORD_NAME_BYTES];
};

struct names {
    struct name *at;
    size_t len;
};

/* In doubt: of a file's data and length where `node` is set, else of one name or two. */
struct change {
    struct node *node;
    uint64_t offset;    /* whole sectors, as they were in the cache after the write */
    struct bytes image; /* none: only the length */
    uint64_t end;       /* of the write itself, or the new length */
    uint64_t length;    /* of the file afterwards */
    bool is_length;
    struct name names[2];
    size_t names_len;
};

struct disk {
    size_t sector_bytes;
    struct node **nodes;
    size_t nodes_len;
    struct node *root;
    struct names durable;
    struct names cached;
    struct change *changes;
    size_t changes_len;
};

void bytes_resize(struct bytes *bytes, uint64_t len);
void bytes_put(struct bytes *bytes, uint64_t offset, const uint8_t *data, size_t len);

void names_set(struct names *names, const struct name *name);
void names_copy(struct names *into, const struct names *from);

#endif

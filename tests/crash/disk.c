/*
 * The model of a disk: how calls change it and what syncs settle.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk_impl.h"

static void *grow(void *at, size_t count, size_t size)
{
    void *grown = realloc(at, count * size);
    if (grown == NULL) {
        abort();
    }
    return grown;
}

void bytes_resize(struct bytes *bytes, uint64_t len)
{
    if (len > bytes->cap) {
        bytes->cap = (size_t)len + (size_t)len / 2;
        bytes->data = grow(bytes->data, bytes->cap, 1);
    }
    if (len > bytes->len) {
        memset(bytes->data + bytes->len, 0, (size_t)len - bytes->len);
    }
    bytes->len = (size_t)len;
}

void bytes_put(struct bytes *bytes, uint64_t offset, const uint8_t *data, size_t len)
{
    if (offset + len > bytes->len) {
        bytes_resize(bytes, offset + len);
    }
    if (len > 0) {
        memcpy(bytes->data + offset, data, len);
    }
}

static bool is_same_name(const struct name *a, const struct name *b)
{
    return a->folder == b->folder && strcmp(a->text, b->text) == 0;
}

void names_set(struct names *names, const struct name *name)
{
    for (size_t i = 0; i < names->len; i++) {
        if (is_same_name(&names->at[i], name)) {
            names->at[i].target = name->target;
            return;
        }
    }
    names->at = grow(names->at, names->len + 1, sizeof *names->at);
    names->at[names->len++] = *name;
}

void names_copy(struct names *into, const struct names *from)
{
    into->len = from->len;
    into->at = grow(NULL, from->len + 1, sizeof *from->at);
    if (from->len > 0) {
        memcpy(into->at, from->at, from->len * sizeof *from->at);
    }
}

struct disk *disk_new(size_t sector_bytes)
{
    struct disk *disk = calloc(1, sizeof *disk);
    if (disk == NULL) {
        abort();
    }
    disk->sector_bytes = sector_bytes;
    return disk;
}

void disk_free(struct disk *disk)
{
    for (size_t i = 0; i < disk->nodes_len; i++) {
        free(disk->nodes[i]->durable.data);
        free(disk->nodes[i]->cached.data);
        free(disk->nodes[i]);
    }
    for (size_t i = 0; i < disk->changes_len; i++) {
        free(disk->changes[i].image.data);
    }
    free(disk->nodes);
    free(disk->changes);
    free(disk->durable.at);
    free(disk->cached.at);
    free(disk);
}

size_t disk_doubts(const struct disk *disk)
{
    return disk->changes_len;
}

/* The newest one with this inode: numbers are used again. */
static struct node *node_of(const struct disk *disk, uint64_t inode)
{
    for (size_t i = disk->nodes_len; i > 0; i--) {
        if (disk->nodes[i - 1]->inode == inode) {
            return disk->nodes[i - 1];
        }
    }
    (void)fprintf(stderr, "the record names inode %lu, which nothing has made\n",
                  (unsigned long)inode);
    return NULL;
}

bool disk_is_folder(const struct disk *disk, uint64_t inode)
{
    for (size_t i = disk->nodes_len; i > 0; i--) {
        if (disk->nodes[i - 1]->inode == inode) {
            return disk->nodes[i - 1]->is_folder;
        }
    }
    return false;
}

static struct node *node_add(struct disk *disk, uint64_t inode, bool is_folder)
{
    struct node *node = calloc(1, sizeof *node);
    if (node == NULL) {
        abort();
    }
    node->inode = inode;
    node->is_folder = is_folder;
    disk->nodes = grow(disk->nodes, disk->nodes_len + 1, sizeof(struct node *));
    disk->nodes[disk->nodes_len++] = node;
    return node;
}

static struct change *change_add(struct disk *disk)
{
    disk->changes = grow(disk->changes, disk->changes_len + 1, sizeof *disk->changes);
    struct change *change = &disk->changes[disk->changes_len++];
    *change = (struct change){.node = NULL};
    return change;
}

/* ------------------------------------------------------------------ calls begin */

static void write_begin(struct disk *disk, struct node *node, const struct record_header *header,
                        const uint8_t *data)
{
    uint64_t end = header->offset + header->data_bytes;
    bytes_put(&node->cached, header->offset, data, (size_t)header->data_bytes);
    uint64_t low = header->offset / disk->sector_bytes * disk->sector_bytes;
    uint64_t high = (end + disk->sector_bytes - 1) / disk->sector_bytes * disk->sector_bytes;
    uint64_t have = high < node->cached.len ? high : node->cached.len;
    struct change *change = change_add(disk);
    change->node = node;
    change->offset = low;
    change->end = end;
    change->length = node->cached.len;
    bytes_put(&change->image, 0, node->cached.data + low, (size_t)(have - low));
}

static void truncate_begin(struct disk *disk, struct node *node, uint64_t length)
{
    bytes_resize(&node->cached, length);
    struct change *change = change_add(disk);
    change->node = node;
    change->end = length;
    change->length = length;
    change->is_length = true;
}

static bool name_begin(struct disk *disk, const struct record_header *header)
{
    struct name name = {.folder = node_of(disk, header->folder)};
    struct name to = {.folder = NULL};
    memcpy(name.text, header->name, sizeof name.text);
    if (name.folder == NULL) {
        return false;
    }
    if (header->kind == RECORD_CREATE || header->kind == RECORD_MKDIR) {
        name.target = node_add(disk, header->inode, header->kind == RECORD_MKDIR);
    }
    if (header->kind == RECORD_RENAME) {
        to.folder = node_of(disk, header->to_folder);
        memcpy(to.text, header->to_name, sizeof to.text);
        for (size_t i = 0; i < disk->cached.len; i++) {
            if (is_same_name(&disk->cached.at[i], &name)) {
                to.target = disk->cached.at[i].target;
            }
        }
        if (to.folder == NULL || to.target == NULL) {
            (void)fprintf(stderr, "the record renames %s, which is not there\n", name.text);
            return false;
        }
    }
    struct change *change = change_add(disk);
    change->names[change->names_len++] = name;
    if (to.folder != NULL) {
        change->names[change->names_len++] = to;
    }
    for (size_t i = 0; i < change->names_len; i++) {
        names_set(&disk->cached, &change->names[i]);
    }
    return true;
}

bool disk_begin(struct disk *disk, const struct record_header *header, const uint8_t *data)
{
    struct node *node;
    switch ((enum record_kind)header->kind) {
    case RECORD_ROOT:
        disk->root = node_add(disk, header->inode, true);
        return true;
    case RECORD_CREATE:
    case RECORD_MKDIR:
    case RECORD_RENAME:
    case RECORD_UNLINK:
        return name_begin(disk, header);
    case RECORD_WRITE:
        node = node_of(disk, header->inode);
        if (node != NULL) {
            write_begin(disk, node, header, data);
        }
        return node != NULL;
    case RECORD_TRUNCATE:
        node = node_of(disk, header->inode);
        if (node != NULL) {
            truncate_begin(disk, node, header->offset);
        }
        return node != NULL;
    case RECORD_SYNC:
        return node_of(disk, header->inode) != NULL;
    case RECORD_MARK:
        return true;
    }
    (void)fprintf(stderr, "the record has an entry of unknown kind %u\n", header->kind);
    return false;
}

/* ------------------------------------------------------------------ syncs settle */

static void changes_drop(struct disk *disk, bool (*is_settled)(const struct change *, const void *),
                         const void *ctx)
{
    size_t kept = 0;
    for (size_t i = 0; i < disk->changes_len; i++) {
        if (is_settled(&disk->changes[i], ctx)) {
            free(disk->changes[i].image.data);
        } else {
            disk->changes[kept++] = disk->changes[i];
        }
    }
    disk->changes_len = kept;
}

static bool is_of_node(const struct change *change, const void *node)
{
    return change->node == node;
}

static bool is_empty(const struct change *change, const void *ctx)
{
    (void)ctx;
    return change->node == NULL && change->names_len == 0;
}

static bool touches(const struct change *a, const struct change *b)
{
    for (size_t i = 0; i < a->names_len; i++) {
        for (size_t j = 0; j < b->names_len; j++) {
            if (is_same_name(&a->names[i], &b->names[j])) {
                return true;
            }
        }
    }
    return false;
}

/* All changes of names in this folder, and before each of them what else happened to the names it
 * touches: once a name is settled, nothing older can come back. */
static void folder_settle(struct disk *disk, const struct node *folder)
{
    bool *is_settled = calloc(disk->changes_len + 1, sizeof *is_settled);
    if (is_settled == NULL) {
        abort();
    }
    for (size_t i = disk->changes_len; i > 0; i--) {
        const struct change *change = &disk->changes[i - 1];
        for (size_t j = 0; j < change->names_len; j++) {
            is_settled[i - 1] |= change->names[j].folder == folder;
        }
        for (size_t j = i; j < disk->changes_len && !is_settled[i - 1]; j++) {
            is_settled[i - 1] = is_settled[j] && touches(change, &disk->changes[j]);
        }
    }
    for (size_t i = 0; i < disk->changes_len; i++) {
        struct change *change = &disk->changes[i];
        for (size_t j = 0; is_settled[i] && j < change->names_len; j++) {
            names_set(&disk->durable, &change->names[j]);
        }
        if (is_settled[i]) {
            change->names_len = 0;
        }
    }
    free(is_settled);
    changes_drop(disk, is_empty, NULL);
}

/* A synchronous write, the newest change of all: it is on the disk, and older writes to its sectors
 * can no longer show. */
static void write_settle(struct disk *disk)
{
    struct change *change = &disk->changes[disk->changes_len - 1];
    struct node *node = change->node;
    uint64_t end = change->offset + change->image.len;
    uint64_t length = node->durable.len > change->end ? node->durable.len : change->end;
    bytes_put(&node->durable, change->offset, change->image.data, change->image.len);
    bytes_resize(&node->durable, length);
    for (size_t i = 0; i + 1 < disk->changes_len; i++) {
        struct change *old = &disk->changes[i];
        uint64_t old_end = old->offset + old->image.len;
        if (old->node != node || old->is_length || old->offset >= end ||
            old_end <= change->offset) {
            continue;
        }
        uint64_t low = old->offset > change->offset ? old->offset : change->offset;
        uint64_t high = old_end < end ? old_end : end;
        memcpy(old->image.data + (low - old->offset), change->image.data + (low - change->offset),
               (size_t)(high - low));
    }
    free(change->image.data);
    disk->changes_len--;
}

/* The file is on the disk as it is in the cache: what has changed, and no more, because it may be
 * the image of a whole file system. */
static void file_settle(struct disk *disk, struct node *node)
{
    bytes_resize(&node->durable, node->cached.len);
    for (size_t i = 0; i < disk->changes_len; i++) {
        const struct change *change = &disk->changes[i];
        /* Where the file was cut off and grew again, zeros are new as well. */
        uint64_t low = change->is_length ? 0 : change->offset;
        uint64_t high = change->is_length ? node->cached.len : low + change->image.len;
        high = high < node->cached.len ? high : node->cached.len;
        if (change->node == node && low < high) {
            bytes_put(&node->durable, low, node->cached.data + low, (size_t)(high - low));
        }
    }
}

bool disk_finish(struct disk *disk, const struct record_header *header)
{
    if (header->kind == RECORD_WRITE && header->is_synchronous != 0) {
        write_settle(disk);
    }
    if (header->kind != RECORD_SYNC) {
        return true;
    }
    struct node *node = node_of(disk, header->inode);
    if (node == NULL) {
        return false;
    }
    if (node->is_folder) {
        folder_settle(disk, node);
        return true;
    }
    file_settle(disk, node);
    changes_drop(disk, is_of_node, node);
    return true;
}

/*
 * LMDB's own layout in data.mdb (0.9.24, data version 1, 64-bit, little-endian), and reading it by
 * pread, not through the map. Private to store/.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_STORE_DATA_FILE_H
#define QUIPU_STORE_DATA_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define DATA_META_MAGIC        UINT32_C(0xbeefc0de)
#define DATA_META_VERSION      1
#define DATA_META_BYTES        136 /* behind the page's header */
#define DATA_PAGE_HEADER_BYTES 16
#define DATA_NODE_HEADER_BYTES 8
#define DATA_PAGE_BYTES_MAX    65536
#define DATA_DB_RECORD_BYTES   48
#define DATA_FIRST_PAGE        2 /* behind the two meta pages */
#define DATA_NO_PAGE           UINT64_MAX
/* A sound file misses a few pages at its end, never more than one transaction may hold. */
#define DATA_MISSING_PAGES_MAX (UINT64_C(1) << 20)

/* Page flags and node flags. */
#define DATA_PAGE_IS_BRANCH 0x01
#define DATA_PAGE_IS_LEAF   0x02
#define DATA_PAGE_IS_LARGE  0x04
#define DATA_PAGE_IS_META   0x08
#define DATA_NODE_IS_LARGE  0x01
#define DATA_NODE_IS_DB     0x02

/* Where a page's header has what. */
#define DATA_PAGE_FLAGS_AT 10
#define DATA_PAGE_LOWER_AT 12 /* of a large value's first page: u32, how many there are */
#define DATA_PAGE_UPPER_AT 14

/* LMDB writes integers in the machine's order. */
static inline uint16_t data_load_u16(const uint8_t *p)
{
    uint16_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

static inline uint32_t data_load_u32(const uint8_t *p)
{
    uint32_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

static inline uint64_t data_load_u64(const uint8_t *p)
{
    uint64_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

/* All `len` bytes. 0, or why not: ENODATA where the file ends before. */
int quipu_data_read(int fd, uint64_t offset, void *into, size_t len);

/* What LMDB records of a database. */
struct quipu_data_db {
    uint32_t pad;
    uint16_t flags;
    uint16_t depth;
    uint64_t branch_pages;
    uint64_t leaf_pages;
    uint64_t overflow_pages;
    uint64_t entries;
    uint64_t root;
};

static inline struct quipu_data_db quipu_data_db_load(const uint8_t *p)
{
    return (struct quipu_data_db){
        .pad = data_load_u32(p),
        .flags = data_load_u16(p + 4),
        .depth = data_load_u16(p + 6),
        .branch_pages = data_load_u64(p + 8),
        .leaf_pages = data_load_u64(p + 16),
        .overflow_pages = data_load_u64(p + 24),
        .entries = data_load_u64(p + 32),
        .root = data_load_u64(p + 40),
    };
}

/* A node of a branch or a leaf. */
struct quipu_data_node {
    uint16_t flags;
    size_t key_bytes;
    const uint8_t *key;
    uint64_t child;    /* of a branch */
    size_t data_bytes; /* of a leaf; a large value's are elsewhere */
    const uint8_t *data;
};

/* The node at this offset, of whose header every byte is in the page; only the header is looked at.
 */
static inline struct quipu_data_node quipu_data_node_at(const uint8_t *page, size_t at)
{
    const uint8_t *node = page + at;
    uint64_t low = data_load_u16(node) | (uint64_t)data_load_u16(node + 2) << 16;
    uint16_t flags = data_load_u16(node + 4);
    size_t key_bytes = data_load_u16(node + 6);
    return (struct quipu_data_node){
        .flags = flags,
        .key_bytes = key_bytes,
        .key = node + DATA_NODE_HEADER_BYTES,
        .child = low | (uint64_t)flags << 32,
        .data_bytes = (size_t)low,
        .data = node + DATA_NODE_HEADER_BYTES + key_bytes,
    };
}

/* The node of this number. */
static inline struct quipu_data_node quipu_data_node(const uint8_t *page, uint32_t index)
{
    return quipu_data_node_at(page,
                              data_load_u16(page + DATA_PAGE_HEADER_BYTES + 2 * (size_t)index));
}

#endif

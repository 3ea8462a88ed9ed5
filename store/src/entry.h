/*
 * Entries of the indexes, as bytes and as numbers. All integers are big-endian, so that byte order
 * is the order of the pairs (prefix, rest). An offset is a position less the first one of the run.
 * SPEC §6.5. Private to store/.
 *
 *   cidrun   u64 first 8 bytes of a digest, u32 offset << 1 | (0: envelope, 1: payload)
 *   eidrun   u64 first 8 bytes of an event_id, u32 offset
 *   termrun  u32 hash of a term, u32 offset
 *
 * The hash of a term is FNV-1a (64 bits) of its bytes, both halves xored; bit 31 is 0 for an event
 * type and 1 for a correlation_id.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_STORE_ENTRY_H
#define QUIPU_STORE_ENTRY_H

#include "internal/bytes.h"
#include "manifest.h"

struct quipu_entry {
    uint64_t prefix;
    uint64_t rest; /* position; in the CID index position << 1 | kind */
};

/* What an entry's `rest` is counted from. */
static inline uint64_t quipu_entry_base(const struct quipu_run *run, enum quipu_index index)
{
    return index == QUIPU_INDEX_CID ? run->first_position << 1 : run->first_position;
}

static inline struct quipu_entry quipu_entry_load(const struct quipu_run *run,
                                                  enum quipu_index index, const uint8_t *p)
{
    bool is_term = index == QUIPU_INDEX_TERM;
    return (struct quipu_entry){
        is_term ? quipu_load_be32(p) : quipu_load_be64(p),
        quipu_entry_base(run, index) + quipu_load_be32(p + (is_term ? 4 : 8)),
    };
}

static inline void quipu_entry_store(const struct quipu_run *run, enum quipu_index index,
                                     const struct quipu_entry *entry, uint8_t *p)
{
    uint32_t rest = (uint32_t)(entry->rest - quipu_entry_base(run, index));
    if (index == QUIPU_INDEX_TERM) {
        quipu_store_be32(p, (uint32_t)entry->prefix);
        quipu_store_be32(p + 4, rest);
        return;
    }
    quipu_store_be64(p, entry->prefix);
    quipu_store_be32(p + 8, rest);
}

static inline bool quipu_entry_is_below(const struct quipu_entry *a, const struct quipu_entry *b)
{
    return a->prefix < b->prefix || (a->prefix == b->prefix && a->rest < b->rest);
}

static inline uint64_t quipu_entry_position(enum quipu_index index, const struct quipu_entry *entry)
{
    return index == QUIPU_INDEX_CID ? entry->rest >> 1 : entry->rest;
}

/* First eight bytes of a term's entry, for the position that is `offset` behind the run's first. */
static inline uint64_t quipu_term_key(uint32_t hash, uint64_t offset)
{
    return (uint64_t)hash << 32 | offset;
}

#endif

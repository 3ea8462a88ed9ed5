/*
 * Strict DAG-CBOR: a writer that can only write canonical bytes, and a zero-copy pull reader that
 * accepts nothing else. So encode(decode(x)) = x for every x that is accepted.
 *
 * Specification: ipld.io/specs/codecs/dag-cbor; docs/SPEC.md §1 lists every rule with its status.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_DAGCBOR_H
#define QUIPU_DAGCBOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "quipu/buf.h"
#include "quipu/cid.h"
#include "quipu/error.h"
#include "quipu/export.h"
#include "quipu/slice.h"

#ifdef __cplusplus
extern "C" {
#endif

#define QUIPU_DAGCBOR_DEPTH_DEFAULT 128
#define QUIPU_DAGCBOR_DEPTH_MAX     1024

/** Canonical order of map keys: the shorter first, equally long ones bytewise; <0, 0, >0. Any
 * thread. */
static inline int quipu_dagcbor_key_compare(struct quipu_slice a, struct quipu_slice b)
{
    if (a.len != b.len) {
        return a.len < b.len ? -1 : 1;
    }
    if (a.len == 0) {
        return 0;
    }
    /* Mostly the first byte tells. */
    return a.data[0] != b.data[0] ? a.data[0] - b.data[0] : memcmp(a.data, b.data, a.len);
}

/* ------------------------------------------------------------------ writing */

/**
 * Appends one item to a buffer in a single pass. Errors stick (in `status`): write freely, then ask
 * quipu_dagcbor_writer_finish once. Counts are given up front and held to; map keys must come in
 * canonical order (length first, then bytewise) and are checked. Nesting up to
 * QUIPU_DAGCBOR_DEPTH_DEFAULT. Caller's storage; no allocation besides the buffer's growth.
 * One thread at a time.
 */
struct quipu_dagcbor_writer {
    struct quipu_buf *buf;
    enum quipu_status status;
    uint8_t due;  /* what may be written next */
    size_t start; /* length of the buffer when writing began */
    /* The list or map that is being written; outside of any, a list of one item. */
    struct quipu_dagcbor_writer_level {
        uint64_t left;     /* items still to come; a map counts keys and values */
        size_t key;        /* offset in buf of the last key's bytes */
        uint32_t key_mark; /* the last key's length + 1; 0: none yet */
        bool is_map;
    } level;
    uint32_t depth;
    uint32_t depth_max;
    /* NULL unless the caller lends a larger stack with quipu_dagcbor_writer_set_stack. */
    struct quipu_dagcbor_writer_level *stack;
    struct quipu_dagcbor_writer_level levels[QUIPU_DAGCBOR_DEPTH_DEFAULT]; /* around this one */
};

QUIPU_API void quipu_dagcbor_writer_init(struct quipu_dagcbor_writer *writer,
                                         struct quipu_buf *buf);
/** Allow nesting up to `depth` (≤ QUIPU_DAGCBOR_DEPTH_MAX) on the caller's stack of that many
 * levels. Before the first write. */
QUIPU_API void quipu_dagcbor_writer_set_stack(struct quipu_dagcbor_writer *writer,
                                              struct quipu_dagcbor_writer_level *stack,
                                              uint32_t depth);
/** `pairs` key-value pairs follow; each key by quipu_dagcbor_write_key (or _text). */
QUIPU_API void quipu_dagcbor_write_map(struct quipu_dagcbor_writer *writer, uint64_t pairs);
QUIPU_API void quipu_dagcbor_write_list(struct quipu_dagcbor_writer *writer, uint64_t items);
/** Text: must be valid UTF-8 (QUIPU_CBOR_UTF8). */
QUIPU_API void quipu_dagcbor_write_text(struct quipu_dagcbor_writer *writer,
                                        struct quipu_slice text);
/** A key given as a C literal, whose length the compiler then knows. */
static inline void quipu_dagcbor_write_key(struct quipu_dagcbor_writer *writer, const char *key)
{
    quipu_dagcbor_write_text(writer, quipu_slice(key, strlen(key)));
}
QUIPU_API void quipu_dagcbor_write_bytes(struct quipu_dagcbor_writer *writer,
                                         struct quipu_slice bytes);
QUIPU_API void quipu_dagcbor_write_uint(struct quipu_dagcbor_writer *writer, uint64_t value);
/** The integer -1 - `value`: 0 writes -1, UINT64_MAX writes -2^64. */
QUIPU_API void quipu_dagcbor_write_negative(struct quipu_dagcbor_writer *writer, uint64_t value);
QUIPU_API void quipu_dagcbor_write_int(struct quipu_dagcbor_writer *writer, int64_t value);
QUIPU_API void quipu_dagcbor_write_bool(struct quipu_dagcbor_writer *writer, bool value);
QUIPU_API void quipu_dagcbor_write_null(struct quipu_dagcbor_writer *writer);
/** NaN and infinities are refused (QUIPU_CBOR_FLOAT_NOT_FINITE). */
QUIPU_API void quipu_dagcbor_write_float(struct quipu_dagcbor_writer *writer, double value);
/** A link of the event profile; any other codec is QUIPU_MISUSE. */
QUIPU_API void quipu_dagcbor_write_link(struct quipu_dagcbor_writer *writer,
                                        const struct quipu_cid *cid);
/** A link to any CID that quipu_cid_view_take has read. */
QUIPU_API void quipu_dagcbor_write_link_view(struct quipu_dagcbor_writer *writer,
                                             const struct quipu_cid_view *cid);
/** One item, not a key, that is canonical already (checked by the caller, such as a stored block).
 */
QUIPU_API void quipu_dagcbor_write_item(struct quipu_dagcbor_writer *writer,
                                        struct quipu_slice item);

#define QUIPU_DAGCBOR_KEY_BYTES_MAX 16

/** A key of a fixed schema with its head before it, so that it is written as it stands. */
struct quipu_dagcbor_key {
    uint8_t head;
    char text[QUIPU_DAGCBOR_KEY_BYTES_MAX]; /* filled up with zeros */
    uint8_t len;
};

/** Initialiser of a `static const struct quipu_dagcbor_key` from a literal of at most
 * QUIPU_DAGCBOR_KEY_BYTES_MAX bytes. */
#define QUIPU_DAGCBOR_KEY(literal)                                                                 \
    {                                                                                              \
        .head = 0x60 + sizeof(literal) - 1, .text = literal, .len = sizeof(literal) - 1            \
    }

/* Such a key and its value in one step: the same bytes and the same refusals as
 * quipu_dagcbor_write_key and then quipu_dagcbor_write_… for the value, in less time. */
QUIPU_API void quipu_dagcbor_write_pair_text(struct quipu_dagcbor_writer *writer,
                                             const struct quipu_dagcbor_key *key,
                                             struct quipu_slice text);
QUIPU_API void quipu_dagcbor_write_pair_bytes(struct quipu_dagcbor_writer *writer,
                                              const struct quipu_dagcbor_key *key,
                                              struct quipu_slice bytes);
QUIPU_API void quipu_dagcbor_write_pair_uint(struct quipu_dagcbor_writer *writer,
                                             const struct quipu_dagcbor_key *key, uint64_t value);
QUIPU_API void quipu_dagcbor_write_pair_int(struct quipu_dagcbor_writer *writer,
                                            const struct quipu_dagcbor_key *key, int64_t value);
QUIPU_API void quipu_dagcbor_write_pair_null(struct quipu_dagcbor_writer *writer,
                                             const struct quipu_dagcbor_key *key);
QUIPU_API void quipu_dagcbor_write_pair_link(struct quipu_dagcbor_writer *writer,
                                             const struct quipu_dagcbor_key *key,
                                             const struct quipu_cid *cid);

/**
 * @retval QUIPU_OK               the buffer holds one complete item behind what it held before
 * @retval QUIPU_CBOR_INCOMPLETE  a map or list is short of items, or nothing was written
 * @retval QUIPU_CBOR_KEY_ORDER, QUIPU_CBOR_KEY_DUPLICATE, QUIPU_CBOR_KEY_NOT_TEXT, QUIPU_CBOR_UTF8,
 *         QUIPU_CBOR_FLOAT_NOT_FINITE, QUIPU_CBOR_DEPTH, QUIPU_MISUSE (more items than announced, a
 *         link that is none, an empty item),
 *         QUIPU_NO_MEMORY, QUIPU_TOO_LARGE (fixed buffer full)
 * On failure the buffer's length goes back to where it was.
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_dagcbor_writer_finish(struct quipu_dagcbor_writer *writer, struct quipu_error *err);

/* ------------------------------------------------------------------ reading */

enum quipu_dagcbor_kind {
    QUIPU_DAGCBOR_UINT,     /* integer `number` */
    QUIPU_DAGCBOR_NEGATIVE, /* integer -1 - `number` */
    QUIPU_DAGCBOR_BYTES,    /* `bytes` */
    QUIPU_DAGCBOR_TEXT,     /* `bytes`, valid UTF-8 */
    QUIPU_DAGCBOR_LIST,     /* `number` items follow */
    QUIPU_DAGCBOR_MAP,      /* `number` pairs follow: key (text), value, key, value… */
    QUIPU_DAGCBOR_LINK,     /* `link` */
    QUIPU_DAGCBOR_BOOL,     /* `number` 0 or 1 */
    QUIPU_DAGCBOR_NULL,
    QUIPU_DAGCBOR_FLOAT, /* `real` */
};

/** One item; slices are borrowed from the input and valid as long as it. `kind`, `is_key` and
 * `offset` are always written, of the others those that the kind names. */
struct quipu_dagcbor_item {
    enum quipu_dagcbor_kind kind;
    bool is_key; /* this text is a map key */
    uint64_t number;
    double real;
    struct quipu_slice bytes;
    struct quipu_cid_view link;
    size_t offset; /* of the item's head in the input */
};

/** Pull reader: caller's storage, no allocation, an explicit stack. One thread at a time. */
struct quipu_dagcbor_reader {
    struct quipu_slice input;
    size_t at;
    /* The list or map that is being read; outside of any, a list of one item. */
    struct quipu_dagcbor_reader_level {
        uint64_t left;          /* items still to come; a map counts keys and values */
        struct quipu_slice key; /* the last key; data is NULL before the first */
        bool is_map;
    } level;
    uint32_t depth;
    uint32_t depth_max; /* QUIPU_DAGCBOR_DEPTH_DEFAULT; at most QUIPU_DAGCBOR_DEPTH_MAX */
    /* NULL unless the caller lends a larger stack with quipu_dagcbor_reader_set_stack. */
    struct quipu_dagcbor_reader_level *stack;
    struct quipu_dagcbor_reader_level levels[QUIPU_DAGCBOR_DEPTH_DEFAULT]; /* around this one */
};

/** Write an item as the reader gave it, a key as a key: what is read and written so comes out as it
 * was. */
QUIPU_API void quipu_dagcbor_write_read(struct quipu_dagcbor_writer *writer,
                                        const struct quipu_dagcbor_item *item);

/** A key, and a value as the reader gave it; the items of a list or map follow as usual. */
QUIPU_API void quipu_dagcbor_write_pair_read(struct quipu_dagcbor_writer *writer,
                                             struct quipu_slice key,
                                             const struct quipu_dagcbor_item *value);

/** Read the one item that `input` must consist of. Borrowed while reading. */
QUIPU_API void quipu_dagcbor_reader_init(struct quipu_dagcbor_reader *reader,
                                         struct quipu_slice input);

/** Allow nesting up to `depth` (≤ QUIPU_DAGCBOR_DEPTH_MAX) on the caller's stack of that many
 * levels. Before the first read. */
QUIPU_API void quipu_dagcbor_reader_set_stack(struct quipu_dagcbor_reader *reader,
                                              struct quipu_dagcbor_reader_level *stack,
                                              uint32_t depth);

/**
 * Next item, depth first.
 * @retval QUIPU_OK    `*out` is filled
 * @retval QUIPU_DONE  the one item is complete and no byte is left
 * @retval QUIPU_CBOR_*  the first rule that is broken, with its byte offset in err; read no further
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_dagcbor_next(struct quipu_dagcbor_reader *reader,
                                                                struct quipu_dagcbor_item *out,
                                                                struct quipu_error *err);

/** Read (and check) the whole next item, however deep, and give its bytes. Statuses as above. */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_dagcbor_next_whole(struct quipu_dagcbor_reader *reader, struct quipu_slice *out,
                         struct quipu_error *err);

/* The next item, which must be of this kind; @retval QUIPU_CBOR_KIND where it is not: the reader is
 * behind it then. */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_dagcbor_read_map(struct quipu_dagcbor_reader *reader, uint64_t *pairs,
                       struct quipu_error *err);
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_dagcbor_read_list(struct quipu_dagcbor_reader *reader, uint64_t *items,
                        struct quipu_error *err);
/** Text, also a key. */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_dagcbor_read_text(struct quipu_dagcbor_reader *reader, struct quipu_slice *out,
                        struct quipu_error *err);
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_dagcbor_read_bytes(struct quipu_dagcbor_reader *reader, struct quipu_slice *out,
                         struct quipu_error *err);
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_dagcbor_read_uint(struct quipu_dagcbor_reader *reader, uint64_t *out,
                        struct quipu_error *err);
/** An integer that fits int64_t, else QUIPU_CBOR_KIND. */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_dagcbor_read_int(struct quipu_dagcbor_reader *reader, int64_t *out, struct quipu_error *err);
/** A link of the event profile, else QUIPU_CBOR_KIND or QUIPU_CID_PROFILE. */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_dagcbor_read_link(struct quipu_dagcbor_reader *reader, struct quipu_cid *out,
                        struct quipu_error *err);

/** Is `block` exactly one item of strict DAG-CBOR? Depth up to QUIPU_DAGCBOR_DEPTH_DEFAULT. */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_dagcbor_validate(struct quipu_slice block,
                                                                    struct quipu_error *err);

/**
 * The value of `key` in the map that `block` is: its bytes, borrowed from `block`. For a one-off
 * look; a loop over a map should pull.
 * @retval QUIPU_NOT_FOUND  @retval QUIPU_CBOR_KIND  block is no map
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_dagcbor_map_get(struct quipu_slice block,
                                                                   const char *key,
                                                                   struct quipu_slice *value,
                                                                   struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif

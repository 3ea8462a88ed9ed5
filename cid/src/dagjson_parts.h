/*
 * What the files of DAG-JSON share: numbers, and the reader that turns text into DAG-CBOR.
 * Private to cid/.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_DAGJSON_PARTS_H
#define QUIPU_DAGJSON_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dagcbor_head.h"
#include "quipu/buf.h"
#include "quipu/dagcbor.h"
#include "quipu/error.h"
#include "quipu/slice.h"

/* Bytes are written as two nested objects, so text nests two levels deeper than its value may. */
#define DAGJSON_TEXT_DEPTH (QUIPU_DAGCBOR_DEPTH_DEFAULT + 2)

/* ------------------------------------------------------------------ numbers */

/* Append the shortest text that reads back to `value`, which is finite; it always shows '.' or
 * 'e'. The buffer's status tells of failure. */
void dagjson_append_float(struct quipu_buf *out, double value);

/* Value of the JSON number `text`, rounded correctly and whatever the locale; infinite where it is
 * too large. @retval QUIPU_NO_MEMORY */
QUIPU_MUST_CHECK enum quipu_status dagjson_parse_float(struct quipu_slice text,
                                                       struct quipu_buf *scratch, double *out,
                                                       struct quipu_error *err);

/* ------------------------------------------------------------------ the reader */

/* What a finished value looked like in the text, as far as the reserved key "/" cares. */
enum dagjson_form {
    DAGJSON_PLAIN,
    DAGJSON_STRING,
    DAGJSON_BYTES_ALONE,    /* {"bytes": string} */
    DAGJSON_BYTES_AND_MORE, /* the same with more keys behind */
};

/* A map's pair. Its bytes in `work` are the key's item and then the value's item. */
struct dagjson_entry {
    struct quipu_slice key; /* set while the map is closed, when `work` does not move */
    size_t begin;           /* of the key's item */
    size_t key_len;         /* of the key's text */
    size_t value;           /* of the value's item */
    size_t end;
    size_t source; /* of the key in the text */
    size_t value_source;
    size_t text_len; /* STRING and BYTES_*: the string is the last that many bytes */
    enum dagjson_form form;
};

/* An open list or map. */
struct dagjson_frame {
    size_t begin;   /* in `work`: one byte kept for the head, then the items */
    size_t entries; /* a map's first entry in `entries` */
    size_t count;
    size_t source;      /* of the bracket in the text */
    size_t deep_source; /* of a child too deep for anything but bytes, or SIZE_MAX */
    bool is_map;
};

struct dagjson_reader {
    struct quipu_slice json;
    size_t at;
    struct quipu_buf work;    /* DAG-CBOR of what has been read */
    struct quipu_buf entries; /* struct dagjson_entry of all open maps */
    struct quipu_buf scratch;
    uint32_t depth;
    struct dagjson_frame frames[DAGJSON_TEXT_DEPTH];
};

/* Append the head of an item in its shortest form. */
void dagjson_append_head(struct quipu_buf *out, enum cbor_major major, uint64_t argument);

/* Note that a value has been read whose item ends where `work` ends. */
void dagjson_value_end(struct dagjson_reader *reader, enum dagjson_form form, size_t text_len);

/* Close the innermost list or map: sort, judge the reserved key, write the head. */
QUIPU_MUST_CHECK enum quipu_status dagjson_close(struct dagjson_reader *reader,
                                                 struct quipu_error *err);

static inline struct dagjson_entry *dagjson_entry_at(const struct dagjson_reader *reader,
                                                     size_t index)
{
    return (struct dagjson_entry *)(void *)reader->entries.data + index;
}

static inline size_t dagjson_entry_count(const struct dagjson_reader *reader)
{
    return reader->entries.len / sizeof(struct dagjson_entry);
}

#endif

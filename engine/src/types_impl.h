/*
 * What a registry of event types is inside, for the files types*.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_TYPES_IMPL_H
#define QUIPU_ENGINE_TYPES_IMPL_H

#include "quipu/types.h"

#define TYPES_FORMAT 1

/* Memory that is given back all at once: a list of blocks. */
struct types_block {
    struct types_block *next;
};

/* One declaration, with all that it points to. */
struct types_entry {
    struct quipu_type type;
    struct types_block *blocks;
    size_t fields; /* in it, on all levels */
};

struct quipu_types {
    enum quipu_types_rule rule;
    struct types_entry *entries; /* by name and schema */
    size_t count;
    size_t cap;
};

/* Of a map without declared members, so that its pointer is not NULL. */
extern const struct quipu_field types_no_fields[1];

/* Zeroed memory of the entry's; NULL where there is none left. */
void *types_entry_alloc(struct types_entry *entry, size_t count, size_t size);
/* A copy with a NUL behind it; NULL as above. */
const char *types_entry_text(struct types_entry *entry, struct quipu_slice text);
void types_entry_release(struct types_entry *entry);

/* Names and the schema. @retval QUIPU_INVALID */
QUIPU_MUST_CHECK enum quipu_status types_names_check(struct quipu_slice name,
                                                     struct quipu_slice aggregate_type,
                                                     bool has_aggregate_type, uint64_t schema,
                                                     struct quipu_error *err);
/* A member's name. @retval QUIPU_INVALID */
QUIPU_MUST_CHECK enum quipu_status types_field_name_check(const struct quipu_type *type,
                                                          struct quipu_slice name,
                                                          struct quipu_error *err);
/* Count `more` fields and one level at `depth`. @retval QUIPU_TOO_LARGE */
QUIPU_MUST_CHECK enum quipu_status types_fields_add(struct types_entry *entry, uint64_t more,
                                                    size_t depth, struct quipu_error *err);

/* Take over what `entry` holds, at its place in the order. @retval QUIPU_NO_MEMORY,
 * QUIPU_TOO_LARGE; then the entry is still the caller's. */
QUIPU_MUST_CHECK enum quipu_status types_insert(struct quipu_types *types,
                                                struct types_entry *entry, struct quipu_error *err);

/* The registry's row, as `txn` sees it. @retval QUIPU_NOT_FOUND, QUIPU_IO, … */
QUIPU_MUST_CHECK enum quipu_status types_row_get(struct quipu_txn *txn, struct quipu_slice *block,
                                                 struct quipu_error *err);
/* Decode that row; what is none is damage of the store. @retval QUIPU_CORRUPT, QUIPU_FORMAT_NEWER,
 * QUIPU_NO_MEMORY */
QUIPU_MUST_CHECK enum quipu_status
types_block_read(struct quipu_slice block, struct quipu_types **out, struct quipu_error *err);

/* Append one declaration as DAG-CBOR. */
struct quipu_dagcbor_writer;
void types_entry_write(struct quipu_dagcbor_writer *writer, const struct quipu_type *type);

#endif

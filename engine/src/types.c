/*
 * The registry of event types: declarations, copied whole and kept by name and schema.
 *
 * Never looks at a payload (types_check.c), at bytes of a registry (types_codec.c) or at the store
 * (types_store.c). Nothing here is recursive: what is still to be copied waits in a list.
 *
 * Specification: docs/SPEC.md §7.1.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/types.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "event_check.h"
#include "quipu/alloc.h"
#include "quipu/dagcbor.h"
#include "quipu/text.h"
#include "types_impl.h"

const struct quipu_field types_no_fields[1];

const char *quipu_field_kind_text(enum quipu_field_kind kind)
{
    static const char *const words[] = {
#define FIELD_WORD(name, word) [QUIPU_FIELD_##name] = word,
        QUIPU_FIELD_KIND_MAP(FIELD_WORD)
#undef FIELD_WORD
    };
    return (size_t)kind < sizeof words / sizeof words[0] ? words[kind] : "unknown";
}

/* ------------------------------------------------------------------ memory */

void *types_entry_alloc(struct types_entry *entry, size_t count, size_t size)
{
    size_t bytes = count * size; /* both are far below the square root of SIZE_MAX */
    struct types_block *block = quipu_alloc_zero(1, sizeof *block + bytes);
    if (block == NULL) {
        return NULL;
    }
    block->next = entry->blocks;
    entry->blocks = block;
    return block + 1;
}

const char *types_entry_text(struct types_entry *entry, struct quipu_slice text)
{
    char *copy = types_entry_alloc(entry, text.len + 1, 1);
    if (copy != NULL && text.len > 0) {
        memcpy(copy, text.data, text.len);
    }
    return copy;
}

void types_entry_release(struct types_entry *entry)
{
    while (entry->blocks != NULL) {
        struct types_block *next = entry->blocks->next;
        quipu_free(entry->blocks);
        entry->blocks = next;
    }
}

enum quipu_status quipu_types_new(enum quipu_types_rule rule, struct quipu_types **out,
                                  struct quipu_error *err)
{
    if (out == NULL || (unsigned)rule > QUIPU_TYPES_STRICT) {
        return quipu_error_set(err, QUIPU_MISUSE, "types: nowhere to put them, or no such rule: %d",
                               (int)rule);
    }
    struct quipu_types *types = quipu_alloc_zero(1, sizeof *types);
    if (types == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "types: out of memory");
    }
    types->rule = rule;
    *out = types;
    return QUIPU_OK;
}

void quipu_types_free(struct quipu_types *types)
{
    if (types == NULL) {
        return;
    }
    for (size_t i = 0; i < types->count; i++) {
        types_entry_release(&types->entries[i]);
    }
    quipu_free(types->entries);
    quipu_free(types);
}

/* ------------------------------------------------------------------ checking declarations */

enum quipu_status types_names_check(struct quipu_slice name, struct quipu_slice aggregate_type,
                                    bool has_aggregate_type, uint64_t schema,
                                    struct quipu_error *err)
{
    if (!name_is_tokens(name, QUIPU_EVENT_TYPE_BYTES_MAX)) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "types: a name must be an event type such as key.generated, at most "
                               "%d bytes",
                               QUIPU_EVENT_TYPE_BYTES_MAX);
    }
    if (schema == 0 || schema > QUIPU_ENVELOPE_INTEGER_MAX) {
        return quipu_error_set(err, QUIPU_INVALID, "%.*s: schema %" PRIu64 " is not 1 to 2^53-1",
                               QUIPU_SLICE_FMT(name), schema);
    }
    if (has_aggregate_type && !name_is_token(aggregate_type, QUIPU_AGGREGATE_TYPE_BYTES_MAX)) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "%.*s schema %" PRIu64 ": its aggregate type is none",
                               QUIPU_SLICE_FMT(name), schema);
    }
    return QUIPU_OK;
}

enum quipu_status types_field_name_check(const struct quipu_type *type, struct quipu_slice name,
                                         struct quipu_error *err)
{
    /* DAG-JSON reads a map with the key "/" as a link. */
    if (name.len > 0 && name.len <= QUIPU_FIELD_NAME_BYTES_MAX && quipu_text_is_printable(name) &&
        !(name.len == 1 && name.data[0] == '/')) {
        return QUIPU_OK;
    }
    return quipu_error_set(err, QUIPU_INVALID,
                           "%s schema %" PRIu64
                           ": a field's name must be 1 to %d bytes of UTF-8 without control "
                           "characters, and not /",
                           type->name, type->schema, QUIPU_FIELD_NAME_BYTES_MAX);
}

enum quipu_status types_fields_add(struct types_entry *entry, uint64_t more, size_t depth,
                                   struct quipu_error *err)
{
    if (depth > QUIPU_TYPE_DEPTH_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE,
                               "%s schema %" PRIu64 ": more than %d maps and lists around a field",
                               entry->type.name, entry->type.schema, QUIPU_TYPE_DEPTH_MAX);
    }
    if (more > QUIPU_TYPE_FIELDS_MAX - entry->fields) {
        return quipu_error_set(err, QUIPU_TOO_LARGE, "%s schema %" PRIu64 ": more than %d fields",
                               entry->type.name, entry->type.schema, QUIPU_TYPE_FIELDS_MAX);
    }
    entry->fields += (size_t)more;
    return QUIPU_OK;
}

static enum quipu_status field_check(const struct quipu_type *type, const struct quipu_field *field,
                                     struct quipu_error *err)
{
    const char *what = NULL;
    bool is_map = field->kind == QUIPU_FIELD_MAP;
    if ((unsigned)field->kind > QUIPU_FIELD_MAP) {
        what = "is of no known kind";
    } else if (!is_map && (field->fields != NULL || field->field_count > 0 || field->is_open)) {
        what = "is no map, and cannot have members or be open";
    } else if (is_map && field->fields == NULL && field->field_count > 0) {
        what = "counts members, but names none";
    } else if (field->kind != QUIPU_FIELD_LIST && field->items != NULL) {
        what = "is no list, and cannot have items";
    } else if (field->name == NULL && field->is_optional) {
        what = "cannot be optional";
    }
    if (what == NULL) {
        return QUIPU_OK;
    }
    return quipu_error_set(err, QUIPU_INVALID, "%s schema %" PRIu64 ": %s %s", type->name,
                           type->schema, field->name == NULL ? "a payload or item" : field->name,
                           what);
}

/* ------------------------------------------------------------------ copying */

/* A field whose members or items are still the caller's. */
struct field_todo {
    struct quipu_field *field;
    size_t depth; /* maps and lists around it */
};

struct field_copy {
    struct types_entry *entry;
    struct field_todo *todo;
    size_t todo_count;
};

static int field_compare(const void *a, const void *b)
{
    const struct quipu_field *left = a;
    const struct quipu_field *right = b;
    return quipu_dagcbor_key_compare(quipu_slice_text(left->name), quipu_slice_text(right->name));
}

static enum quipu_status copy_no_memory(struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_NO_MEMORY, "types: out of memory for a declaration");
}

static void copy_later(struct field_copy *copy, struct quipu_field *field, size_t depth)
{
    if (field->fields != NULL || field->items != NULL) {
        copy->todo[copy->todo_count++] = (struct field_todo){field, depth};
    }
}

/* A copy of the members in canonical order, with names of its own. */
static enum quipu_status members_copy(struct field_copy *copy, struct quipu_field *map,
                                      size_t depth, struct quipu_error *err)
{
    struct types_entry *entry = copy->entry;
    size_t count = map->field_count;
    if (count == 0) {
        /* An open map without members is any map. */
        map->fields = map->is_open ? NULL : types_no_fields;
        return QUIPU_OK;
    }
    struct quipu_field *members = types_entry_alloc(entry, count, sizeof *members);
    if (members == NULL) {
        return copy_no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        members[i] = map->fields[i];
        enum quipu_status status =
            types_field_name_check(&entry->type, quipu_slice_text(members[i].name), err);
        if (status != QUIPU_OK) {
            return status;
        }
        members[i].name = types_entry_text(entry, quipu_slice_text(members[i].name));
        if (members[i].name == NULL) {
            return copy_no_memory(err);
        }
    }
    qsort(members, count, sizeof *members, field_compare);
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && strcmp(members[i].name, members[i - 1].name) == 0) {
            return quipu_error_set(err, QUIPU_INVALID, "%s schema %" PRIu64 ": the field %s twice",
                                   entry->type.name, entry->type.schema, members[i].name);
        }
        enum quipu_status status = field_check(&entry->type, &members[i], err);
        if (status != QUIPU_OK) {
            return status;
        }
        copy_later(copy, &members[i], depth + 1);
    }
    map->fields = members;
    return QUIPU_OK;
}

static enum quipu_status item_copy(struct field_copy *copy, struct quipu_field *list, size_t depth,
                                   struct quipu_error *err)
{
    if (list->items->kind == QUIPU_FIELD_ANY && !list->items->is_optional) {
        list->items = NULL; /* the same, said shorter */
        return QUIPU_OK;
    }
    struct quipu_field *item = types_entry_alloc(copy->entry, 1, sizeof *item);
    if (item == NULL) {
        return copy_no_memory(err);
    }
    *item = *list->items;
    item->name = NULL;
    list->items = item;
    copy_later(copy, item, depth + 1);
    return field_check(&copy->entry->type, item, err);
}

static enum quipu_status payload_copy(struct types_entry *entry, struct quipu_error *err)
{
    struct quipu_field *payload = &entry->type.payload;
    payload->name = NULL;
    enum quipu_status status = field_check(&entry->type, payload, err);
    if (status != QUIPU_OK) {
        return status;
    }
    /* Each field waits once at most. */
    struct field_copy copy = {.entry = entry};
    copy.todo = quipu_alloc(QUIPU_TYPE_FIELDS_MAX + 1, sizeof *copy.todo);
    if (copy.todo == NULL) {
        return copy_no_memory(err);
    }
    copy_later(&copy, payload, 1);
    while (status == QUIPU_OK && copy.todo_count > 0) {
        struct field_todo next = copy.todo[--copy.todo_count];
        bool is_map = next.field->fields != NULL;
        status = types_fields_add(entry, is_map ? next.field->field_count : 1, next.depth, err);
        if (status == QUIPU_OK) {
            status = is_map ? members_copy(&copy, next.field, next.depth, err)
                            : item_copy(&copy, next.field, next.depth, err);
        }
    }
    quipu_free(copy.todo);
    return status;
}

static enum quipu_status entry_init(struct types_entry *entry, const struct quipu_type *type,
                                    struct quipu_error *err)
{
    *entry = (struct types_entry){.type = *type};
    enum quipu_status status =
        types_names_check(quipu_slice_text(type->name), quipu_slice_text(type->aggregate_type),
                          type->aggregate_type != NULL, type->schema, err);
    if (status != QUIPU_OK) {
        return status;
    }
    entry->type.name = types_entry_text(entry, quipu_slice_text(type->name));
    if (type->aggregate_type != NULL) {
        entry->type.aggregate_type =
            types_entry_text(entry, quipu_slice_text(type->aggregate_type));
    }
    if (entry->type.name == NULL ||
        (type->aggregate_type != NULL && entry->type.aggregate_type == NULL)) {
        return copy_no_memory(err);
    }
    return payload_copy(entry, err);
}

/* ------------------------------------------------------------------ the registry */

enum quipu_types_rule quipu_types_rule(const struct quipu_types *types)
{
    return types->rule;
}

void quipu_types_rule_set(struct quipu_types *types, enum quipu_types_rule rule)
{
    types->rule = rule;
}

/* Index of the first declaration at or behind (name, schema). */
static size_t place_of(const struct quipu_types *types, struct quipu_slice name, uint64_t schema)
{
    size_t low = 0;
    size_t high = types->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct quipu_type *type = &types->entries[middle].type;
        int order = quipu_slice_compare(quipu_slice_text(type->name), name);
        if (order < 0 || (order == 0 && type->schema < schema)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool is_named(const struct quipu_types *types, size_t index, struct quipu_slice name)
{
    return index < types->count &&
           quipu_slice_equal(quipu_slice_text(types->entries[index].type.name), name);
}

const struct quipu_type *quipu_types_find(const struct quipu_types *types, struct quipu_slice name,
                                          uint64_t schema)
{
    size_t place = place_of(types, name, schema);
    bool is_found = is_named(types, place, name) && types->entries[place].type.schema == schema;
    return is_found ? &types->entries[place].type : NULL;
}

uint64_t quipu_types_newest(const struct quipu_types *types, struct quipu_slice name)
{
    size_t behind = place_of(types, name, UINT64_MAX);
    return behind > 0 && is_named(types, behind - 1, name) ? types->entries[behind - 1].type.schema
                                                           : 0;
}

size_t quipu_types_count(const struct quipu_types *types)
{
    return types->count;
}

const struct quipu_type *quipu_types_at(const struct quipu_types *types, size_t index)
{
    return index < types->count ? &types->entries[index].type : NULL;
}

enum quipu_status types_insert(struct quipu_types *types, struct types_entry *entry,
                               struct quipu_error *err)
{
    if (types->count == QUIPU_TYPES_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE, "types: more than %d declarations",
                               QUIPU_TYPES_MAX);
    }
    if (types->count == types->cap) {
        size_t cap = types->cap == 0 ? 16 : 2 * types->cap;
        struct types_entry *grown = quipu_realloc(types->entries, cap, sizeof *grown);
        if (grown == NULL) {
            return copy_no_memory(err);
        }
        types->entries = grown;
        types->cap = cap;
    }
    size_t place = place_of(types, quipu_slice_text(entry->type.name), entry->type.schema);
    memmove(&types->entries[place + 1], &types->entries[place],
            (types->count - place) * sizeof *types->entries);
    types->entries[place] = *entry;
    types->count++;
    return QUIPU_OK;
}

static enum quipu_status is_same(const struct quipu_type *a, const struct quipu_type *b, bool *out,
                                 struct quipu_error *err)
{
    struct quipu_buf bytes = QUIPU_BUF_INIT;
    struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, &bytes);
    types_entry_write(&writer, a);
    enum quipu_status status = quipu_dagcbor_writer_finish(&writer, err);
    size_t first = bytes.len;
    if (status == QUIPU_OK) {
        quipu_dagcbor_writer_init(&writer, &bytes);
        types_entry_write(&writer, b);
        status = quipu_dagcbor_writer_finish(&writer, err);
    }
    *out = status == QUIPU_OK && bytes.len == 2 * first &&
           memcmp(bytes.data, bytes.data + first, first) == 0;
    quipu_buf_release(&bytes);
    return status;
}

/* QUIPU_OK where it must be inserted, QUIPU_DONE where the same is there. */
static enum quipu_status is_new(const struct quipu_types *types, const struct quipu_type *type,
                                struct quipu_error *err)
{
    const struct quipu_type *there =
        quipu_types_find(types, quipu_slice_text(type->name), type->schema);
    if (there == NULL) {
        return QUIPU_OK;
    }
    bool is_there = false;
    enum quipu_status status = is_same(there, type, &is_there, err);
    if (status != QUIPU_OK || is_there) {
        return status == QUIPU_OK ? QUIPU_DONE : status;
    }
    return quipu_error_set(err, QUIPU_EXISTS,
                           "%s schema %" PRIu64 " is declared otherwise already; raise the schema",
                           type->name, type->schema);
}

enum quipu_status quipu_types_declare(struct quipu_types *types, const struct quipu_type *type,
                                      struct quipu_error *err)
{
    if (types == NULL || type == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE, "types: no registry, or nothing to declare");
    }
    struct types_entry entry;
    enum quipu_status status = entry_init(&entry, type, err);
    if (status == QUIPU_OK) {
        status = is_new(types, &entry.type, err);
    }
    if (status == QUIPU_OK) {
        status = types_insert(types, &entry, err);
    }
    if (status != QUIPU_OK) {
        types_entry_release(&entry);
    }
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

enum quipu_status quipu_types_merge(struct quipu_types *types, const struct quipu_types *from,
                                    struct quipu_error *err)
{
    /* Into a copy of both first, so that a failure leaves `types` as it was. */
    struct quipu_types both = {.rule = types->rule};
    enum quipu_status status = QUIPU_OK;
    const struct quipu_types *const sources[] = {types, from};
    for (size_t s = 0; s < 2; s++) {
        for (size_t i = 0; status == QUIPU_OK && i < sources[s]->count; i++) {
            status = quipu_types_declare(&both, &sources[s]->entries[i].type, err);
        }
    }
    struct quipu_types old = both;
    if (status == QUIPU_OK) {
        old = *types;
        *types = both;
    }
    for (size_t i = 0; i < old.count; i++) {
        types_entry_release(&old.entries[i]);
    }
    quipu_free(old.entries);
    return status;
}

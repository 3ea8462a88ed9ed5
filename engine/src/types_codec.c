/*
 * A registry of event types as canonical DAG-CBOR:
 *
 *     {"v": 1, "types": [{"type", "schema", "payload": what, "aggregate"?}…], "strict": bool}
 *
 *     what = a word such as "text"; a member that may be absent has "text?"
 *          | {"list": what}                      | {"list?": what}
 *          | {"map": {name: what…}, "open"?: true} | {"map?": …}
 *
 * Each declaration has one form only, and nothing else is read: what says the same in fewer bytes
 * must be said so. Nothing here is recursive.
 *
 * Specification: docs/SPEC.md §7.1.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "internal/invariant.h"
#include "quipu/dagcbor.h"
#include "types_impl.h"

/* ------------------------------------------------------------------ writing */

struct write_frame {
    const struct quipu_field *field;
    size_t next;
};

struct what_writer {
    struct quipu_dagcbor_writer *writer;
    /* A map of the leaf kind that has a pointer counts as described: one more than are counted. */
    struct write_frame frames[QUIPU_TYPE_DEPTH_MAX + 1];
    size_t depth;
};

static void word_write(struct quipu_dagcbor_writer *writer, const struct quipu_field *field)
{
    char word[24];
    struct quipu_buf text;
    quipu_buf_init_fixed(&text, word, sizeof word);
    quipu_buf_append_text(&text, quipu_field_kind_text(field->kind));
    quipu_buf_append_text(&text, field->is_optional ? "?" : "");
    quipu_dagcbor_write_text(writer, quipu_buf_slice(&text));
}

/* What the field is; of a described list or map, up to its first item or member. */
static void field_write(struct what_writer *out, const struct quipu_field *field)
{
    bool is_described = field->fields != NULL || field->items != NULL;
    if (is_described) {
        quipu_dagcbor_write_map(out->writer, field->is_open ? 2 : 1);
    }
    word_write(out->writer, field);
    if (!is_described) {
        return;
    }
    if (field->fields != NULL) {
        quipu_dagcbor_write_map(out->writer, field->field_count);
    }
    QUIPU_INVARIANT(out->depth < sizeof out->frames / sizeof out->frames[0]);
    out->frames[out->depth++] = (struct write_frame){field, 0};
}

static void frame_write(struct what_writer *out)
{
    struct write_frame *frame = &out->frames[out->depth - 1];
    const struct quipu_field *field = frame->field;
    size_t count = field->fields != NULL ? field->field_count : 1;
    if (frame->next == count) {
        if (field->is_open) {
            quipu_dagcbor_write_key(out->writer, "open");
            quipu_dagcbor_write_bool(out->writer, true);
        }
        out->depth--;
        return;
    }
    const struct quipu_field *child = field->items;
    if (field->fields != NULL) {
        child = &field->fields[frame->next];
        quipu_dagcbor_write_key(out->writer, child->name);
    }
    frame->next++;
    field_write(out, child);
}

void types_entry_write(struct quipu_dagcbor_writer *writer, const struct quipu_type *type)
{
    quipu_dagcbor_write_map(writer, type->aggregate_type == NULL ? 3 : 4);
    quipu_dagcbor_write_key(writer, "type");
    quipu_dagcbor_write_text(writer, quipu_slice_text(type->name));
    quipu_dagcbor_write_key(writer, "schema");
    quipu_dagcbor_write_uint(writer, type->schema);
    quipu_dagcbor_write_key(writer, "payload");
    struct what_writer out = {.writer = writer};
    field_write(&out, &type->payload);
    while (out.depth > 0) {
        frame_write(&out);
    }
    if (type->aggregate_type != NULL) {
        quipu_dagcbor_write_key(writer, "aggregate");
        quipu_dagcbor_write_text(writer, quipu_slice_text(type->aggregate_type));
    }
}

enum quipu_status quipu_types_encode(const struct quipu_types *types, struct quipu_buf *out,
                                     struct quipu_error *err)
{
    size_t start = out->len;
    struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, out);
    quipu_dagcbor_write_map(&writer, 3);
    quipu_dagcbor_write_key(&writer, "v");
    quipu_dagcbor_write_uint(&writer, TYPES_FORMAT);
    quipu_dagcbor_write_key(&writer, "types");
    quipu_dagcbor_write_list(&writer, types->count);
    for (size_t i = 0; i < types->count; i++) {
        types_entry_write(&writer, &types->entries[i].type);
    }
    quipu_dagcbor_write_key(&writer, "strict");
    quipu_dagcbor_write_bool(&writer, types->rule == QUIPU_TYPES_STRICT);
    enum quipu_status status = quipu_dagcbor_writer_finish(&writer, err);
    if (status == QUIPU_OK && out->len - start > QUIPU_TYPES_BYTES_MAX) {
        status = quipu_error_set(err, QUIPU_TOO_LARGE, "types: %zu bytes, at most %u are allowed",
                                 out->len - start, QUIPU_TYPES_BYTES_MAX);
        out->len = start;
    }
    return status;
}

/* ------------------------------------------------------------------ reading what a field is */

struct read_frame {
    struct quipu_field *field;
    struct quipu_field *children; /* the same that `field` points to, to be filled */
    size_t count;
    size_t next;
};

struct what_reader {
    struct quipu_dagcbor_reader *reader;
    struct types_entry *entry;
    struct read_frame frames[QUIPU_TYPE_DEPTH_MAX];
    size_t depth;
};

static enum quipu_status malformed(const struct types_entry *entry, const char *what,
                                   struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_INVALID, "%s schema %" PRIu64 ": %s", entry->type.name,
                           entry->type.schema, what);
}

static enum quipu_status no_memory(struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_NO_MEMORY, "types: out of memory for a declaration");
}

static enum quipu_status key_read(struct quipu_dagcbor_reader *reader, const char *key,
                                  struct quipu_error *err)
{
    struct quipu_slice found;
    enum quipu_status status = quipu_dagcbor_read_text(reader, &found, err);
    if (status == QUIPU_OK && !quipu_slice_equal(found, quipu_slice_text(key))) {
        return quipu_error_set(err, QUIPU_INVALID, "types: expected the key \"%s\"", key);
    }
    return status;
}

static enum quipu_status true_read(struct quipu_dagcbor_reader *reader, bool *out,
                                   struct quipu_error *err)
{
    struct quipu_dagcbor_item item;
    enum quipu_status status = quipu_dagcbor_next(reader, &item, err);
    if (status == QUIPU_OK && item.kind != QUIPU_DAGCBOR_BOOL) {
        return quipu_error_set(err, QUIPU_INVALID, "types: expected true or false");
    }
    *out = status == QUIPU_OK && item.number != 0;
    return status;
}

/* A kind's word, with "?" behind it where the field is optional. */
static bool word_read(struct quipu_slice word, struct quipu_field *out)
{
    out->is_optional = word.len > 0 && word.data[word.len - 1] == '?';
    word.len -= out->is_optional ? 1 : 0;
    for (int kind = QUIPU_FIELD_ANY; kind <= QUIPU_FIELD_MAP; kind++) {
        out->kind = (enum quipu_field_kind)kind;
        if (quipu_slice_equal(word, quipu_slice_text(quipu_field_kind_text(out->kind)))) {
            return true;
        }
    }
    return false;
}

/* The head of {"list": …} or {"map": …}: its items or members are to be read next. */
static enum quipu_status described_begin(struct what_reader *in, uint64_t pairs,
                                         struct quipu_field *out, struct quipu_error *err)
{
    struct quipu_slice word;
    if (pairs == 0) {
        return malformed(in->entry, "expected \"list\" or \"map\"", err);
    }
    enum quipu_status status = quipu_dagcbor_read_text(in->reader, &word, err);
    if (status != QUIPU_OK) {
        return status;
    }
    bool is_known = word_read(word, out);
    bool is_map = is_known && out->kind == QUIPU_FIELD_MAP;
    if (!is_map && !(is_known && out->kind == QUIPU_FIELD_LIST)) {
        return malformed(in->entry, "expected \"list\" or \"map\"", err);
    }
    if (pairs != 1 && !(is_map && pairs == 2)) {
        return malformed(in->entry, "more than \"list\", or more than \"map\" and \"open\"", err);
    }
    uint64_t count = 1;
    if (is_map) {
        status = quipu_dagcbor_read_map(in->reader, &count, err);
    }
    if (status == QUIPU_OK) {
        status = types_fields_add(in->entry, count, in->depth + 1, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (is_map && pairs == 2 && count == 0) {
        return malformed(in->entry, "an open map without members is \"map\"", err);
    }
    struct quipu_field *children =
        types_entry_alloc(in->entry, count == 0 ? 1 : (size_t)count, sizeof *children);
    if (children == NULL) {
        return no_memory(err);
    }
    if (is_map) {
        out->fields = children;
        out->field_count = (size_t)count;
        out->is_open = pairs == 2;
    } else {
        out->items = children;
    }
    in->frames[in->depth++] = (struct read_frame){out, children, (size_t)count, 0};
    return QUIPU_OK;
}

static enum quipu_status field_read(struct what_reader *in, struct quipu_field *out,
                                    struct quipu_error *err)
{
    struct quipu_dagcbor_item item;
    enum quipu_status status = quipu_dagcbor_next(in->reader, &item, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (item.kind == QUIPU_DAGCBOR_MAP) {
        status = described_begin(in, item.number, out, err);
    } else if (item.kind != QUIPU_DAGCBOR_TEXT || !word_read(item.bytes, out)) {
        return malformed(in->entry, "a field of no known kind", err);
    }
    if (status == QUIPU_OK && out->name == NULL && out->is_optional) {
        return malformed(in->entry, "a payload or item cannot be optional", err);
    }
    return status;
}

static enum quipu_status frame_end(struct what_reader *in, const struct quipu_field *field,
                                   struct quipu_error *err)
{
    in->depth--;
    if (field->items != NULL && field->items->kind == QUIPU_FIELD_ANY) {
        return malformed(in->entry, "a list of any is \"list\"", err);
    }
    if (!field->is_open) {
        return QUIPU_OK;
    }
    bool is_open = false;
    enum quipu_status status = key_read(in->reader, "open", err);
    if (status == QUIPU_OK) {
        status = true_read(in->reader, &is_open, err);
    }
    if (status == QUIPU_OK && !is_open) {
        return malformed(in->entry, "\"open\" is true or absent", err);
    }
    return status;
}

static enum quipu_status frame_read(struct what_reader *in, struct quipu_error *err)
{
    struct read_frame *frame = &in->frames[in->depth - 1];
    if (frame->next == frame->count) {
        return frame_end(in, frame->field, err);
    }
    struct quipu_field *child = &frame->children[frame->next++];
    if (frame->field->items == NULL) {
        struct quipu_slice name;
        enum quipu_status status = quipu_dagcbor_read_text(in->reader, &name, err);
        if (status == QUIPU_OK) {
            status = types_field_name_check(&in->entry->type, name, err);
        }
        if (status != QUIPU_OK) {
            return status;
        }
        child->name = types_entry_text(in->entry, name);
        if (child->name == NULL) {
            return no_memory(err);
        }
    }
    return field_read(in, child, err);
}

/* ------------------------------------------------------------------ reading a registry */

/* The names, up to the value of "payload". `*pairs` is 3 or 4. */
static enum quipu_status names_read(struct quipu_dagcbor_reader *reader, struct types_entry *entry,
                                    uint64_t *pairs, struct quipu_error *err)
{
    struct quipu_slice name = {NULL, 0};
    enum quipu_status status = quipu_dagcbor_read_map(reader, pairs, err);
    if (status == QUIPU_OK && *pairs != 3 && *pairs != 4) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "types: a declaration of %" PRIu64 " members, expected 3 or 4",
                               *pairs);
    }
    if (status == QUIPU_OK) {
        status = key_read(reader, "type", err);
    }
    if (status == QUIPU_OK) {
        status = quipu_dagcbor_read_text(reader, &name, err);
    }
    if (status == QUIPU_OK) {
        status = key_read(reader, "schema", err);
    }
    if (status == QUIPU_OK) {
        status = quipu_dagcbor_read_uint(reader, &entry->type.schema, err);
    }
    if (status == QUIPU_OK) {
        status = types_names_check(name, quipu_slice(NULL, 0), false, entry->type.schema, err);
    }
    if (status == QUIPU_OK) {
        status = key_read(reader, "payload", err);
    }
    if (status == QUIPU_OK) {
        entry->type.name = types_entry_text(entry, name);
        status = entry->type.name == NULL ? no_memory(err) : QUIPU_OK;
    }
    return status;
}

static enum quipu_status aggregate_read(struct quipu_dagcbor_reader *reader,
                                        struct types_entry *entry, struct quipu_error *err)
{
    struct quipu_slice name;
    enum quipu_status status = key_read(reader, "aggregate", err);
    if (status == QUIPU_OK) {
        status = quipu_dagcbor_read_text(reader, &name, err);
    }
    if (status == QUIPU_OK) {
        status = types_names_check(quipu_slice_text(entry->type.name), name, true,
                                   entry->type.schema, err);
    }
    if (status == QUIPU_OK) {
        entry->type.aggregate_type = types_entry_text(entry, name);
        status = entry->type.aggregate_type == NULL ? no_memory(err) : QUIPU_OK;
    }
    return status;
}

static enum quipu_status entry_read(struct quipu_dagcbor_reader *reader, struct types_entry *entry,
                                    struct quipu_error *err)
{
    uint64_t pairs = 0;
    enum quipu_status status = names_read(reader, entry, &pairs, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct what_reader in = {.reader = reader, .entry = entry};
    status = field_read(&in, &entry->type.payload, err);
    while (status == QUIPU_OK && in.depth > 0) {
        status = frame_read(&in, err);
    }
    if (status == QUIPU_OK && pairs == 4) {
        status = aggregate_read(reader, entry, err);
    }
    return status;
}

static bool is_in_order(const struct quipu_types *types, const struct quipu_type *next)
{
    if (types->count == 0) {
        return true;
    }
    const struct quipu_type *last = &types->entries[types->count - 1].type;
    int order = strcmp(last->name, next->name);
    return order < 0 || (order == 0 && last->schema < next->schema);
}

static enum quipu_status entries_read(struct quipu_dagcbor_reader *reader,
                                      struct quipu_types *types, struct quipu_error *err)
{
    uint64_t count = 0;
    enum quipu_status status = quipu_dagcbor_read_list(reader, &count, err);
    for (uint64_t i = 0; status == QUIPU_OK && i < count; i++) {
        struct types_entry entry = {.blocks = NULL};
        status = entry_read(reader, &entry, err);
        if (status == QUIPU_OK && !is_in_order(types, &entry.type)) {
            status = malformed(&entry, "out of order: by type and then by schema, each once", err);
        }
        if (status == QUIPU_OK) {
            status = types_insert(types, &entry, err);
        }
        if (status != QUIPU_OK) {
            types_entry_release(&entry);
        }
    }
    return status;
}

static enum quipu_status head_read(struct quipu_dagcbor_reader *reader, struct quipu_error *err)
{
    uint64_t pairs = 0;
    uint64_t format = 0;
    enum quipu_status status = quipu_dagcbor_read_map(reader, &pairs, err);
    if (status == QUIPU_OK) {
        status = key_read(reader, "v", err);
    }
    if (status == QUIPU_OK) {
        status = quipu_dagcbor_read_uint(reader, &format, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (format > TYPES_FORMAT) {
        return quipu_error_set(err, QUIPU_FORMAT_NEWER,
                               "types: format %" PRIu64 ", this quipu reads up to %d", format,
                               TYPES_FORMAT);
    }
    if (format != TYPES_FORMAT || pairs != 3) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "types: expected \"v\": 1, \"types\" and \"strict\"");
    }
    return key_read(reader, "types", err);
}

enum quipu_status quipu_types_decode(struct quipu_slice block, struct quipu_types **out,
                                     struct quipu_error *err)
{
    if (out == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE, "types: nowhere to put them");
    }
    if (block.len > QUIPU_TYPES_BYTES_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE, "types: %zu bytes, at most %u are allowed",
                               block.len, QUIPU_TYPES_BYTES_MAX);
    }
    struct quipu_types *types = NULL;
    enum quipu_status status = quipu_types_new(QUIPU_TYPES_LENIENT, &types, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_dagcbor_reader reader;
    struct quipu_dagcbor_item item;
    bool is_strict = false;
    quipu_dagcbor_reader_init(&reader, block);
    status = head_read(&reader, err);
    if (status == QUIPU_OK) {
        status = entries_read(&reader, types, err);
    }
    if (status == QUIPU_OK) {
        status = key_read(&reader, "strict", err);
    }
    if (status == QUIPU_OK) {
        status = true_read(&reader, &is_strict, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_dagcbor_next(&reader, &item, err);
    }
    if (status != QUIPU_DONE) {
        quipu_types_free(types);
        return status;
    }
    types->rule = is_strict ? QUIPU_TYPES_STRICT : QUIPU_TYPES_LENIENT;
    *out = types;
    return QUIPU_OK;
}

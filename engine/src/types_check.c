/*
 * Does an event fit its declaration? One walk over the payload with an explicit stack: keys of a
 * payload and members of a declaration come in the same canonical order, so both are read side by
 * side.
 *
 * Never changes anything, allocates nothing; what it says of a payload is names of fields and kinds
 * of values, never a value.
 *
 * Specification: docs/SPEC.md §7.1.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>

#include "quipu/clock.h"
#include "quipu/dagcbor.h"
#include "quipu/engine.h"
#include "quipu/text.h"
#include "types_impl.h"

/* A map or list of the payload that is being read. The innermost may be one that is not described
 * any further, hence one more than declarations may nest. */
struct check_frame {
    const struct quipu_field *field;
    uint64_t left; /* pairs or items still to come */
    uint64_t read;
    size_t next_member; /* of the declaration */
    struct quipu_slice key;
};

struct check {
    const struct quipu_type *type;
    struct quipu_dagcbor_reader reader;
    struct check_frame frames[QUIPU_TYPE_DEPTH_MAX + 1];
    size_t depth;
};

static const struct quipu_field any_field;

/* ------------------------------------------------------------------ what is said */

static const char *found_text(enum quipu_dagcbor_kind kind)
{
    switch (kind) {
    case QUIPU_DAGCBOR_UINT:
        return "uint";
    case QUIPU_DAGCBOR_NEGATIVE:
        return "a negative int";
    case QUIPU_DAGCBOR_BYTES:
        return "bytes";
    case QUIPU_DAGCBOR_TEXT:
        return "text";
    case QUIPU_DAGCBOR_LIST:
        return "list";
    case QUIPU_DAGCBOR_MAP:
        return "map";
    case QUIPU_DAGCBOR_LINK:
        return "link";
    case QUIPU_DAGCBOR_BOOL:
        return "bool";
    case QUIPU_DAGCBOR_NULL:
        return "null";
    case QUIPU_DAGCBOR_FLOAT:
        return "float";
    }
    return "unknown";
}

/* "owner.keys[3].serial" of the value that is being read; `last` is its name, or empty. */
static void path_append(const struct check *check, struct quipu_slice last, struct quipu_buf *out)
{
    size_t start = out->len;
    for (size_t i = 0; i < check->depth; i++) {
        const struct check_frame *frame = &check->frames[i];
        bool is_last = i + 1 == check->depth;
        if (frame->field->kind == QUIPU_FIELD_LIST) {
            quipu_buf_printf(out, "[%" PRIu64 "]", frame->read == 0 ? 0 : frame->read - 1);
            continue;
        }
        struct quipu_slice name = is_last && last.len > 0 ? last : frame->key;
        /* A payload's own key is text of others. */
        bool is_plain = name.len <= QUIPU_FIELD_NAME_BYTES_MAX && quipu_text_is_printable(name);
        quipu_buf_append_text(out, out->len > start ? "." : "");
        quipu_buf_append_slice(out, is_plain ? name : quipu_slice_text("(a key)"));
    }
    if (out->len == start) {
        quipu_buf_append_text(out, "payload");
    }
}

static enum quipu_status check_fail(const struct check *check, struct quipu_slice last,
                                    const char *expected, const char *found,
                                    struct quipu_error *err)
{
    char storage[256];
    struct quipu_buf path;
    quipu_buf_init_fixed(&path, storage, sizeof storage);
    path_append(check, last, &path);
    struct quipu_slice shown = quipu_slice(storage, path.len);
    shown.len = quipu_utf8_valid_prefix(shown);
    return quipu_error_set(err, QUIPU_TYPE, "%s schema %" PRIu64 ": %.*s%s: expected %s, found %s",
                           check->type->name, check->type->schema, QUIPU_SLICE_FMT(shown),
                           path.status == QUIPU_OK ? "" : "…", expected, found);
}

/* ------------------------------------------------------------------ values */

static bool is_of_kind(enum quipu_field_kind kind, const struct quipu_dagcbor_item *item)
{
    struct quipu_uuid uuid;
    int64_t unix_us;
    switch (kind) {
    case QUIPU_FIELD_ANY:
        return true;
    case QUIPU_FIELD_TEXT:
        return item->kind == QUIPU_DAGCBOR_TEXT;
    case QUIPU_FIELD_BYTES:
        return item->kind == QUIPU_DAGCBOR_BYTES;
    case QUIPU_FIELD_INT:
        return item->kind == QUIPU_DAGCBOR_UINT || item->kind == QUIPU_DAGCBOR_NEGATIVE;
    case QUIPU_FIELD_UINT:
        return item->kind == QUIPU_DAGCBOR_UINT;
    case QUIPU_FIELD_BOOL:
        return item->kind == QUIPU_DAGCBOR_BOOL;
    case QUIPU_FIELD_FLOAT:
        return item->kind == QUIPU_DAGCBOR_FLOAT;
    case QUIPU_FIELD_LINK:
        return item->kind == QUIPU_DAGCBOR_LINK;
    case QUIPU_FIELD_UUID:
        return item->kind == QUIPU_DAGCBOR_BYTES && item->bytes.len == QUIPU_UUID_BYTES;
    case QUIPU_FIELD_UUID_TEXT:
        return item->kind == QUIPU_DAGCBOR_TEXT && quipu_uuid_parse(item->bytes, &uuid) == QUIPU_OK;
    case QUIPU_FIELD_TIME:
        return (item->kind == QUIPU_DAGCBOR_UINT || item->kind == QUIPU_DAGCBOR_NEGATIVE) &&
               item->number <= INT64_MAX;
    case QUIPU_FIELD_TIME_TEXT:
        return item->kind == QUIPU_DAGCBOR_TEXT &&
               quipu_rfc3339_parse(item->bytes, &unix_us) == QUIPU_OK;
    case QUIPU_FIELD_LIST:
        return item->kind == QUIPU_DAGCBOR_LIST;
    case QUIPU_FIELD_MAP:
        return item->kind == QUIPU_DAGCBOR_MAP;
    }
    return false;
}

/* Read the next value; a list or map becomes the innermost frame. */
static enum quipu_status value_check(struct check *check, const struct quipu_field *field,
                                     struct quipu_error *err)
{
    if (field->kind == QUIPU_FIELD_ANY) {
        struct quipu_slice whole;
        return quipu_dagcbor_next_whole(&check->reader, &whole, err);
    }
    struct quipu_dagcbor_item item;
    enum quipu_status status = quipu_dagcbor_next(&check->reader, &item, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (!is_of_kind(field->kind, &item)) {
        return check_fail(check, quipu_slice(NULL, 0), quipu_field_kind_text(field->kind),
                          item.kind == QUIPU_DAGCBOR_TEXT && field->kind == QUIPU_FIELD_TIME_TEXT
                              ? "text that is no RFC 3339"
                          : item.kind == QUIPU_DAGCBOR_TEXT && field->kind == QUIPU_FIELD_UUID_TEXT
                              ? "text that is no UUID"
                          : item.kind == QUIPU_DAGCBOR_BYTES && field->kind == QUIPU_FIELD_UUID
                              ? "bytes, but not 16"
                              : found_text(item.kind),
                          err);
    }
    if (item.kind == QUIPU_DAGCBOR_LIST || item.kind == QUIPU_DAGCBOR_MAP) {
        check->frames[check->depth++] = (struct check_frame){.field = field, .left = item.number};
    }
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ maps and lists */

/* The members that come before `key` in the declaration are not in the payload: none may be
 * required. An empty key stands behind all. */
static enum quipu_status members_pass(struct check *check, struct check_frame *frame,
                                      struct quipu_slice key, bool is_end, struct quipu_error *err)
{
    const struct quipu_field *map = frame->field;
    for (; frame->next_member < map->field_count; frame->next_member++) {
        const struct quipu_field *member = &map->fields[frame->next_member];
        struct quipu_slice name = quipu_slice_text(member->name);
        if (!is_end && quipu_dagcbor_key_compare(name, key) >= 0) {
            return QUIPU_OK;
        }
        if (!member->is_optional) {
            return check_fail(check, name, quipu_field_kind_text(member->kind), "nothing", err);
        }
    }
    return QUIPU_OK;
}

static enum quipu_status member_check(struct check *check, struct check_frame *frame,
                                      struct quipu_error *err)
{
    const struct quipu_field *map = frame->field;
    enum quipu_status status = quipu_dagcbor_read_text(&check->reader, &frame->key, err);
    if (status == QUIPU_OK) {
        status = members_pass(check, frame, frame->key, false, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (frame->next_member < map->field_count) {
        const struct quipu_field *member = &map->fields[frame->next_member];
        if (quipu_slice_equal(quipu_slice_text(member->name), frame->key)) {
            frame->next_member++;
            return value_check(check, member, err);
        }
    }
    if (map->fields != NULL && !map->is_open) {
        return check_fail(check, quipu_slice(NULL, 0), "no such field", "one", err);
    }
    return value_check(check, &any_field, err);
}

static enum quipu_status frame_step(struct check *check, struct quipu_error *err)
{
    struct check_frame *frame = &check->frames[check->depth - 1];
    bool is_list = frame->field->kind == QUIPU_FIELD_LIST;
    if (frame->left == 0) {
        enum quipu_status status =
            is_list ? QUIPU_OK : members_pass(check, frame, frame->key, true, err);
        check->depth--;
        return status;
    }
    frame->left--;
    frame->read++;
    if (!is_list) {
        return member_check(check, frame, err);
    }
    return value_check(check, frame->field->items == NULL ? &any_field : frame->field->items, err);
}

static enum quipu_status payload_check(const struct quipu_type *type, struct quipu_slice payload,
                                       struct quipu_error *err)
{
    struct check check;
    check.type = type;
    check.depth = 0;
    quipu_dagcbor_reader_init(&check.reader, payload);
    enum quipu_status status = value_check(&check, &type->payload, err);
    while (status == QUIPU_OK && check.depth > 0) {
        status = frame_step(&check, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_dagcbor_item item;
    status = quipu_dagcbor_next(&check.reader, &item, err);
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

/* ------------------------------------------------------------------ events */

static enum quipu_status undeclared(const struct quipu_types *types, struct quipu_slice name,
                                    uint64_t schema, struct quipu_error *err)
{
    if (types->rule == QUIPU_TYPES_LENIENT) {
        return QUIPU_OK;
    }
    uint64_t newest = quipu_types_newest(types, name);
    if (newest == 0) {
        return quipu_error_set(err, QUIPU_TYPE,
                               "the event type %.*s is not declared, and only declared ones may be "
                               "appended",
                               QUIPU_SLICE_FMT(name));
    }
    return quipu_error_set(
        err, QUIPU_TYPE, "%.*s schema %" PRIu64 " is not declared; the newest that is, is %" PRIu64,
        QUIPU_SLICE_FMT(name), schema, newest);
}

enum quipu_status quipu_types_check(const struct quipu_types *types,
                                    const struct quipu_event *event, struct quipu_error *err)
{
    struct quipu_slice name = quipu_slice_text(event->type);
    uint64_t schema = event->schema == 0 ? 1 : event->schema;
    const struct quipu_type *type = quipu_types_find(types, name, schema);
    if (type == NULL) {
        /* A name of any length and content may come in; one that is none is never declared. */
        name.len = name.len <= QUIPU_EVENT_TYPE_BYTES_MAX ? name.len : QUIPU_EVENT_TYPE_BYTES_MAX;
        return undeclared(types, name, schema, err);
    }
    struct quipu_slice aggregate_type = quipu_slice_text(event->aggregate.type);
    if (type->aggregate_type != NULL &&
        !quipu_slice_equal(aggregate_type, quipu_slice_text(type->aggregate_type))) {
        return quipu_error_set(err, QUIPU_TYPE,
                               "%s schema %" PRIu64 ": expected an aggregate of type %s, found "
                               "%.*s",
                               type->name, type->schema, type->aggregate_type,
                               QUIPU_AGGREGATE_TYPE_BYTES_MAX,
                               event->aggregate.type == NULL ? "none" : event->aggregate.type);
    }
    return payload_check(type, event->payload, err);
}

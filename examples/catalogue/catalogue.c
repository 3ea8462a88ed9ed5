/*
 * The table of event types, and the builder of payloads: fields in any order become one canonical
 * map.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "catalogue.h"

#include <string.h>

#include "quipu/dagcbor.h"

static const struct catalogue_entry entries[] = {
#define CATALOGUE_ENTRY(NAME, name, type, aggregate, state) {type, aggregate, state},
    CATALOGUE_MAP(CATALOGUE_ENTRY)
#undef CATALOGUE_ENTRY
};

const struct catalogue_entry *catalogue_entry(enum catalogue_type type)
{
    return &entries[type];
}

enum catalogue_type catalogue_type_of(const struct catalogue_entry *entry)
{
    return (enum catalogue_type)(entry - entries);
}

const struct catalogue_entry *catalogue_find(struct quipu_slice event_type)
{
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++) {
        if (quipu_slice_equal(event_type, quipu_slice_text(entries[i].event_type))) {
            return &entries[i];
        }
    }
    return NULL;
}

void catalogue_subject(enum catalogue_type type, const char *prefix, struct quipu_buf *out)
{
    quipu_buf_printf(out, "%s.%s.%s.*", prefix, entries[type].aggregate_type,
                     entries[type].event_type);
}

/* DAG-CBOR's order of keys: the shorter first, then bytewise. */
static bool is_before(const char *a, const char *b)
{
    size_t a_len = strlen(a);
    size_t b_len = strlen(b);
    return a_len != b_len ? a_len < b_len : strcmp(a, b) < 0;
}

static void write_field(struct quipu_dagcbor_writer *writer, const struct catalogue_field *field)
{
    quipu_dagcbor_write_key(writer, field->key);
    switch (field->kind) {
    case CATALOGUE_TEXT:
        quipu_dagcbor_write_text(writer, field->slice);
        return;
    case CATALOGUE_BYTES:
    case CATALOGUE_DIGEST:
        quipu_dagcbor_write_bytes(writer, field->slice);
        return;
    case CATALOGUE_NUMBER:
    case CATALOGUE_TIME:
        quipu_dagcbor_write_int(writer, field->number);
        return;
    }
}

enum quipu_status catalogue_payload(const struct catalogue_field *fields, size_t count,
                                    struct quipu_buf *out, struct quipu_error *err)
{
    const struct catalogue_field *sorted[CATALOGUE_FIELDS_MAX];
    if (count > CATALOGUE_FIELDS_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE, "a payload has %d fields at most, found %zu",
                               CATALOGUE_FIELDS_MAX, count);
    }
    for (size_t i = 0; i < count; i++) {
        size_t at = i;
        for (; at > 0 && is_before(fields[i].key, sorted[at - 1]->key); at--) {
            sorted[at] = sorted[at - 1];
        }
        sorted[at] = &fields[i];
    }
    struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, out);
    quipu_dagcbor_write_map(&writer, count);
    for (size_t i = 0; i < count; i++) {
        write_field(&writer, sorted[i]);
    }
    return quipu_dagcbor_writer_finish(&writer, err);
}

struct quipu_event catalogue_event(enum catalogue_type type, const char *aggregate_id)
{
    struct quipu_event event = {
        .type = entries[type].event_type,
        .schema = CATALOGUE_SCHEMA,
        .aggregate = {.type = entries[type].aggregate_type, .id = aggregate_id},
    };
    return event;
}

const struct quipu_projection *const catalogue_projections[] = {
    &catalogue_roles,
    &catalogue_inventory,
    &catalogue_state,
};

const size_t catalogue_projection_count =
    sizeof catalogue_projections / sizeof catalogue_projections[0];

const struct quipu_projection *catalogue_projection_find(const char *name)
{
    for (size_t i = 0; i < catalogue_projection_count; i++) {
        if (strcmp(catalogue_projections[i]->name, name) == 0) {
            return catalogue_projections[i];
        }
    }
    return NULL;
}

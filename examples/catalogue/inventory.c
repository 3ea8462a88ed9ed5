/*
 * The projection "inventory": every aggregate that the catalogue knows, with its state, and how
 * many there are of each kind in each state. What happens to one aggregate does not depend on the
 * others, so stores that hold the same events reach the same rows, whatever the order in which
 * different aggregates' events came in.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "catalogue.h"

#include <string.h>

#include "quipu/dagcbor.h"

/* The row of one aggregate. Slices borrow from the row or the event. */
struct item {
    struct quipu_slice name;
    struct quipu_slice state;
    uint64_t events;
};

static void key_of(struct quipu_buf *out, const char *kind, struct quipu_slice aggregate_type,
                   struct quipu_slice rest)
{
    quipu_buf_reset(out);
    quipu_buf_append_text(out, kind);
    quipu_buf_append_slice(out, aggregate_type);
    quipu_buf_append_byte(out, '/');
    quipu_buf_append_slice(out, rest);
}

/* Text member of a map, or empty. */
static struct quipu_slice text_of(struct quipu_slice map, const char *key)
{
    struct quipu_slice value;
    struct quipu_slice text;
    struct quipu_dagcbor_reader reader;
    if (quipu_dagcbor_map_get(map, key, &value, NULL) != QUIPU_OK) {
        return quipu_slice(NULL, 0);
    }
    quipu_dagcbor_reader_init(&reader, value);
    return quipu_dagcbor_read_text(&reader, &text, NULL) == QUIPU_OK ? text : quipu_slice(NULL, 0);
}

static enum quipu_status number_of(struct quipu_slice map, const char *key, uint64_t *out,
                                   struct quipu_error *err)
{
    struct quipu_slice value;
    struct quipu_dagcbor_reader reader;
    enum quipu_status status = quipu_dagcbor_map_get(map, key, &value, err);
    if (status != QUIPU_OK) {
        return status;
    }
    quipu_dagcbor_reader_init(&reader, value);
    return quipu_dagcbor_read_uint(&reader, out, err);
}

/* One more or one less of this kind in this state; a row that reaches 0 goes. */
static enum quipu_status count(struct quipu_rows *rows, struct quipu_slice aggregate_type,
                               struct quipu_slice state, bool is_more, struct quipu_error *err)
{
    struct quipu_buf key = QUIPU_BUF_INIT;
    struct quipu_buf row = QUIPU_BUF_INIT;
    struct quipu_slice value;
    uint64_t number = 0;
    key_of(&key, "count/", aggregate_type, state);
    enum quipu_status status = quipu_rows_get(rows, quipu_buf_slice(&key), &value, err);
    if (status == QUIPU_OK) {
        status = number_of(value, "count", &number, err);
    } else if (status == QUIPU_NOT_FOUND) {
        status = QUIPU_OK;
    }
    if (status != QUIPU_OK) {
        goto done;
    }
    if (!is_more && number <= 1) {
        status = quipu_rows_delete(rows, quipu_buf_slice(&key), err);
        goto done;
    }
    number = is_more ? number + 1 : number - 1;
    struct catalogue_field field = catalogue_number("count", (int64_t)number);
    status = catalogue_payload(&field, 1, &row, err);
    if (status == QUIPU_OK) {
        status = quipu_rows_put(rows, quipu_buf_slice(&key), quipu_buf_slice(&row), err);
    }
done:
    quipu_buf_release(&row);
    quipu_buf_release(&key);
    return status;
}

static enum quipu_status put_item(struct quipu_rows *rows, struct quipu_slice key,
                                  const struct item *item, struct quipu_error *err)
{
    struct quipu_buf row = QUIPU_BUF_INIT;
    struct catalogue_field fields[3];
    size_t used = 0;
    fields[used++] = catalogue_number("events", (int64_t)item->events);
    fields[used++] = (struct catalogue_field){"state", CATALOGUE_TEXT, item->state, 0};
    if (item->name.len > 0) {
        fields[used++] = (struct catalogue_field){"name", CATALOGUE_TEXT, item->name, 0};
    }
    enum quipu_status status = catalogue_payload(fields, used, &row, err);
    if (status == QUIPU_OK) {
        status = quipu_rows_put(rows, key, quipu_buf_slice(&row), err);
    }
    quipu_buf_release(&row);
    return status;
}

/* The row as it was, in memory of our own: `value` dies with the next put. */
static enum quipu_status load_item(struct quipu_rows *rows, struct quipu_slice key,
                                   struct quipu_buf *storage, struct item *out,
                                   struct quipu_error *err)
{
    struct quipu_slice value;
    *out = (struct item){{NULL, 0}, {NULL, 0}, 0};
    enum quipu_status status = quipu_rows_get(rows, key, &value, err);
    if (status == QUIPU_NOT_FOUND) {
        return QUIPU_OK;
    }
    if (status != QUIPU_OK) {
        return status;
    }
    quipu_buf_append_slice(storage, value);
    if (storage->status != QUIPU_OK) {
        return quipu_error_set(err, storage->status, "a row of %zu bytes", value.len);
    }
    struct quipu_slice row = quipu_buf_slice(storage);
    out->name = text_of(row, "name");
    out->state = text_of(row, "state");
    return number_of(row, "events", &out->events, err);
}

static enum quipu_status apply(void *ctx, struct quipu_rows *rows,
                               const struct quipu_event_view *event, struct quipu_error *err)
{
    (void)ctx;
    const struct quipu_envelope *envelope = &event->envelope;
    const struct catalogue_entry *entry = catalogue_find(envelope->event_type);
    if (entry == NULL ||
        !quipu_slice_equal(envelope->aggregate_type, quipu_slice_text(entry->aggregate_type))) {
        return QUIPU_OK; /* not of this catalogue */
    }
    struct quipu_buf key = QUIPU_BUF_INIT;
    struct quipu_buf storage = QUIPU_BUF_INIT;
    struct item item;
    key_of(&key, "item/", envelope->aggregate_type, envelope->aggregate_id);
    enum quipu_status status = load_item(rows, quipu_buf_slice(&key), &storage, &item, err);
    if (status != QUIPU_OK) {
        goto done;
    }
    struct quipu_slice state = quipu_slice_text(entry->state);
    if (!quipu_slice_equal(item.state, state)) {
        if (item.events > 0) {
            status = count(rows, envelope->aggregate_type, item.state, false, err);
        }
        if (status == QUIPU_OK) {
            status = count(rows, envelope->aggregate_type, state, true, err);
        }
    }
    item.state = state;
    item.events++;
    struct quipu_slice name = text_of(event->payload, "name");
    if (name.len > 0) {
        item.name = name;
    }
    if (status == QUIPU_OK) {
        status = put_item(rows, quipu_buf_slice(&key), &item, err);
    }
done:
    quipu_buf_release(&storage);
    quipu_buf_release(&key);
    return status;
}

const struct quipu_projection catalogue_inventory = {
    .name = "inventory",
    .version = 1,
    .apply = apply,
};

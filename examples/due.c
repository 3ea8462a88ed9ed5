/*
 * Rows in order: certificates by the day on which they end. A day that is closed takes all rows in
 * front of it away, and a reader asks what ends next. Prints:
 *
 *     next to end from 2026-01-01 on: mail on 2026-03-31
 *     next to end from 2026-04-01 on: vpn on 2026-06-30
 *     last to end: web on 2026-12-31
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "example.h"
#include "quipu/dagcbor.h"
#include "quipu/projection.h"

#define KEY_BYTES (sizeof "2026-12-31/" + QUIPU_AGGREGATE_ID_BYTES_MAX)
#define DAY_CHARS ((size_t)10)

/* A row "DAY/ID" for each certificate that has not ended. */
static enum quipu_status issue(struct quipu_rows *rows, const struct quipu_event_view *event,
                               struct quipu_slice day, struct quipu_error *err)
{
    char key[KEY_BYTES];
    snprintf(key, sizeof key, "%.*s/%.*s", QUIPU_SLICE_FMT(day),
             QUIPU_SLICE_FMT(event->envelope.aggregate_id));
    return quipu_rows_put(rows, quipu_slice_text(key), quipu_slice_text(""), err);
}

/* The first row is the one that ends first: take it away until it ends on `day` or later. */
static enum quipu_status close_day(struct quipu_rows *rows, struct quipu_slice day,
                                   struct quipu_error *err)
{
    for (;;) {
        uint8_t ended[KEY_BYTES];
        struct quipu_slice key;
        struct quipu_slice value;
        enum quipu_status status =
            quipu_rows_seek(rows, quipu_slice_text(""), QUIPU_SEEK_GE, &key, &value, err);
        if (status == QUIPU_DONE || (status == QUIPU_OK && quipu_slice_compare(key, day) >= 0)) {
            return QUIPU_OK;
        }
        if (status != QUIPU_OK) {
            return status;
        }
        memcpy(ended, key.data, key.len); /* what was found lives until the delete */
        status = quipu_rows_delete(rows, quipu_slice(ended, key.len), err);
        if (status != QUIPU_OK) {
            return status;
        }
    }
}

static enum quipu_status keep(void *ctx, struct quipu_rows *rows,
                              const struct quipu_event_view *event, struct quipu_error *err)
{
    (void)ctx;
    struct quipu_slice item;
    struct quipu_slice day;
    struct quipu_dagcbor_reader reader;
    enum quipu_status status = quipu_dagcbor_map_get(event->payload, "day", &item, err);
    if (status == QUIPU_OK) {
        quipu_dagcbor_reader_init(&reader, item);
        status = quipu_dagcbor_read_text(&reader, &day, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    bool is_closed = quipu_slice_equal(event->envelope.event_type, quipu_slice_text("day.closed"));
    return is_closed ? close_day(rows, day, err) : issue(rows, event, day, err);
}

static const struct quipu_projection due = {.name = "due", .version = 1, .apply = keep};

/* "ID on DAY" of the row nearest to `ctx`, a day; the last of all where it is empty. */
static enum quipu_status print_next(void *ctx, struct quipu_rows *rows, struct quipu_error *err)
{
    struct quipu_slice day = quipu_slice_text(ctx);
    struct quipu_slice key;
    struct quipu_slice value;
    enum quipu_seek seek = day.len == 0 ? QUIPU_SEEK_LE : QUIPU_SEEK_GE;
    enum quipu_status status = quipu_rows_seek(rows, day, seek, &key, &value, err);
    if (status == QUIPU_OK) {
        printf("%.*s on %.*s\n", (int)(key.len - DAY_CHARS - 1),
               (const char *)key.data + DAY_CHARS + 1, (int)DAY_CHARS, (const char *)key.data);
    }
    return status; /* QUIPU_DONE: there is none */
}

static void record(struct quipu_engine *engine, const char *type, const char *id, const char *json)
{
    struct quipu_error err;
    struct quipu_event event = {.type = type, .aggregate = {"certificate", id}};
    check(append_json(engine, event, json, &err), &err);
}

int main(int argc, char **argv)
{
    struct quipu_error err;
    char from[] = "2026-01-01";
    char later[] = "2026-04-01";
    char last[] = "";
    struct quipu_engine *engine = open_engine(argc > 1 ? argv[1] : "due.quipu");
    record(engine, "certificate.issued", "web", "{\"day\":\"2026-12-31\"}");
    record(engine, "certificate.issued", "mail", "{\"day\":\"2026-03-31\"}");
    record(engine, "certificate.issued", "vpn", "{\"day\":\"2026-06-30\"}");
    check(quipu_replay(engine, &due, QUIPU_REPLAY_CATCH_UP, NULL, &err), &err);
    printf("next to end from %s on: ", from);
    check(quipu_projection_read_rows(engine, "due", print_next, from, &err), &err);

    record(engine, "day.closed", "calendar", "{\"day\":\"2026-04-01\"}");
    check(quipu_replay(engine, &due, QUIPU_REPLAY_CATCH_UP, NULL, &err), &err);
    printf("next to end from %s on: ", later);
    check(quipu_projection_read_rows(engine, "due", print_next, later, &err), &err);
    printf("last to end: ");
    check(quipu_projection_read_rows(engine, "due", print_next, last, &err), &err);
    close_engine(engine);
    return 0;
}

/*
 * A type of event grows: schema 1 of key.used says how often, schema 2 also what for. What is
 * recorded stays as it is; an upcaster brings it up on its way to a projection and an aggregate. A
 * schema that is newer than the program is told of, not guessed at. Prints:
 *
 *     7 signatures: folded 3, snapshot none
 *     7 signatures: folded 0, snapshot used
 *     root, used last: {"purpose":"unknown","signatures":1}
 *     aggregate: key/root version 4: key.used has schema 3, the newest that is known here is 2…
 *     projection: …position 4: key.used has schema 3, the newest that is known here is 2…
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "example.h"
#include "number.h"
#include "quipu/projection.h"
#include "quipu/upcast.h"

/* {"count": n} becomes {"purpose": "unknown", "signatures": n}, the one form that readers know. */
static enum quipu_status say_purpose(void *ctx, const struct quipu_event_view *event,
                                     struct quipu_buf *payload, struct quipu_error *err)
{
    (void)ctx;
    struct quipu_slice count;
    struct quipu_dagcbor_writer writer;
    enum quipu_status status = quipu_dagcbor_map_get(event->payload, "count", &count, err);
    if (status != QUIPU_OK) {
        return status;
    }
    quipu_dagcbor_writer_init(&writer, payload);
    quipu_dagcbor_write_map(&writer, 2);
    quipu_dagcbor_write_key(&writer, "purpose");
    quipu_dagcbor_write_text(&writer, quipu_slice_text("unknown"));
    quipu_dagcbor_write_key(&writer, "signatures");
    quipu_dagcbor_write_item(&writer, count);
    return quipu_dagcbor_writer_finish(&writer, err);
}

static const struct quipu_upcaster upcasters[] = {{"key.used", 1, say_purpose, NULL}};

/* The projection: one row per key, its last use. */
static enum quipu_status remember(void *ctx, struct quipu_rows *rows,
                                  const struct quipu_event_view *event, struct quipu_error *err)
{
    (void)ctx;
    return quipu_rows_put(rows, event->envelope.aggregate_id, event->payload, err);
}

/* The aggregate: how many signatures a key has made. A snapshot at every third event. */
static enum quipu_status add_up(void *ctx, void *state, const struct quipu_event_view *event,
                                struct quipu_error *err)
{
    (void)ctx;
    uint64_t more = 0;
    enum quipu_status status = number_of(event->payload, "signatures", &more, err);
    *(uint64_t *)state += more;
    return status;
}

static void print_key(struct quipu_engine *engine, const struct quipu_aggregate_kind *kind)
{
    struct quipu_loaded key;
    struct quipu_error err;
    if (quipu_aggregate_load(engine, kind, "root", &key, &err) != QUIPU_OK) {
        printf("aggregate: %s\n", err.message);
        return;
    }
    printf("%llu signatures: folded %llu, snapshot %s\n",
           (unsigned long long)*(uint64_t *)key.state, (unsigned long long)key.folded,
           quipu_snapshot_found_text(key.snapshot));
    quipu_loaded_release(kind, &key);
}

static enum quipu_status print_row(void *ctx, struct quipu_slice key, struct quipu_slice value,
                                   struct quipu_error *err)
{
    (void)ctx;
    (void)err;
    printf("%.*s, used last: ", QUIPU_SLICE_FMT(key));
    print_json("", value);
    return QUIPU_OK;
}

int main(int argc, char **argv)
{
    struct quipu_engine *engine = open_engine(argc > 1 ? argv[1] : "keys.quipu");
    struct quipu_upcasts *upcasts; /* knows key.used up to schema 2, where its chain ends */
    struct quipu_error err;
    check(quipu_upcasts_new(upcasters, 1, NULL, 0, &upcasts, &err), &err);
    struct quipu_upcasting upcasting = {.upcasts = upcasts};
    struct quipu_projection uses = {.name = "uses",
                                    .version = 2, /* raised with the schema: it is built anew */
                                    .apply = remember,
                                    .upcast = quipu_upcast,
                                    .upcast_ctx = &upcasting};
    struct quipu_aggregate_kind key_kind = {.aggregate_type = "key",
                                            .create = number_create,
                                            .apply = add_up,
                                            .destroy = number_destroy,
                                            .save = number_save,
                                            .restore = number_restore,
                                            .snapshot_schema = 2, /* as well: old ones are stale */
                                            .snapshot_every = 3,
                                            .upcast = quipu_upcast,
                                            .upcast_ctx = &upcasting};

    struct quipu_event event = {.type = "key.used", .aggregate = {"key", "root"}};
    check(append_json(engine, event, "{\"count\":2}", &err), &err);
    event.schema = 2;
    check(append_json(engine, event, "{\"purpose\":\"audit\",\"signatures\":4}", &err), &err);
    event.schema = 1; /* a device with an old program may still write the old schema */
    check(append_json(engine, event, "{\"count\":1}", &err), &err);
    print_key(engine, &key_kind);
    print_key(engine, &key_kind);
    check(quipu_replay(engine, &uses, QUIPU_REPLAY_CATCH_UP, NULL, &err), &err);
    check(quipu_projection_each_row(engine, "uses", quipu_slice_text(""), print_row, NULL, &err),
          &err);

    event.schema = 3; /* and one with a newer program a newer one */
    check(append_json(engine, event, "{\"by\":\"root\",\"total\":9}", &err), &err);
    print_key(engine, &key_kind);
    if (quipu_replay(engine, &uses, QUIPU_REPLAY_CATCH_UP, NULL, &err) == QUIPU_SCHEMA_NEWER) {
        printf("projection: %s\n", err.message); /* parked until the program is newer, too */
    }

    quipu_upcasting_release(&upcasting);
    quipu_upcasts_free(upcasts);
    close_engine(engine);
    return 0;
}

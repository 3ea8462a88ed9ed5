/* A key may be used ten times, and then no more: load, decide, append. The state is folded from the
 * key's events, or from a snapshot and the events behind it. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quipu/command.h"

#define USES_MAX 10

static void check(enum quipu_status status, const struct quipu_error *err)
{
    if (status != QUIPU_OK) {
        fprintf(stderr, "%s: %s\n", quipu_status_text(status), err->message);
        exit(1);
    }
}

/* ---------------------------------------------------------------- what a key is */

struct key {
    int is_generated;
    int uses;
};

static enum quipu_status key_create(void *ctx, void **state, struct quipu_error *err)
{
    (void)ctx;
    *state = calloc(1, sizeof(struct key));
    return *state != NULL ? QUIPU_OK : quipu_error_set(err, QUIPU_NO_MEMORY, "no memory for a key");
}

static enum quipu_status key_apply(void *ctx, void *state, const struct quipu_event_view *event,
                                   struct quipu_error *err)
{
    (void)ctx;
    (void)err;
    struct key *key = state;
    if (quipu_slice_equal(event->envelope.event_type, quipu_slice_text("key.generated"))) {
        key->is_generated = 1;
    } else if (quipu_slice_equal(event->envelope.event_type, quipu_slice_text("key.used"))) {
        key->uses++;
    }
    return QUIPU_OK;
}

static void key_destroy(void *ctx, void *state)
{
    (void)ctx;
    free(state);
}

/* A snapshot is text here: "generated uses". */
static enum quipu_status key_save(void *ctx, const void *state, struct quipu_buf *out,
                                  struct quipu_error *err)
{
    (void)ctx;
    (void)err;
    const struct key *key = state;
    quipu_buf_printf(out, "%d %d", key->is_generated, key->uses);
    return QUIPU_OK;
}

static enum quipu_status key_restore(void *ctx, void *state, struct quipu_slice saved,
                                     struct quipu_error *err)
{
    (void)ctx;
    struct key *key = state;
    char text[32];
    snprintf(text, sizeof text, "%.*s", QUIPU_SLICE_FMT(saved));
    return sscanf(text, "%d %d", &key->is_generated, &key->uses) == 2
               ? QUIPU_OK
               : quipu_error_set(err, QUIPU_INVALID, "this is no key");
}

static const struct quipu_aggregate_kind key_kind = {
    .aggregate_type = "key",
    .create = key_create,
    .apply = key_apply,
    .destroy = key_destroy,
    .save = key_save,
    .restore = key_restore,
    .snapshot_schema = 1,
    .snapshot_every = 4,
};

/* ---------------------------------------------------------------- what may happen to it */

/* A decision adds events, or refuses in its own words. */
static enum quipu_status use(void *ctx, const struct quipu_loaded *loaded,
                             struct quipu_decision *out, struct quipu_error *err)
{
    const struct key *key = loaded->state;
    if (key->uses >= USES_MAX) {
        return quipu_error_set(err, QUIPU_INVALID, "this key was used %d times already", key->uses);
    }
    struct quipu_event event = {.payload = *(const struct quipu_slice *)ctx};
    if (!key->is_generated) {
        event.type = "key.generated";
        check(quipu_decision_add(out, &event, err), err);
    }
    event.type = "key.used";
    return quipu_decision_add(out, &event, err);
}

int main(int argc, char **argv)
{
    struct quipu_store *store;
    struct quipu_engine *engine;
    struct quipu_error err;
    check(quipu_store_open(argc > 1 ? argv[1] : "keys.quipu", NULL, &store, &err), &err);
    check(quipu_engine_open(store, NULL, &engine, &err), &err);

    static const uint8_t empty_map[] = {0xa0};
    struct quipu_slice payload = quipu_slice(empty_map, sizeof empty_map);
    struct quipu_command command = QUIPU_COMMAND_INIT;
    command.kind = &key_kind;
    command.aggregate_id = "root-2026";
    command.decide = use;
    command.ctx = &payload;
    command.retries = 5; /* where another writer came first, look again and decide anew */

    struct quipu_command_report report;
    enum quipu_status status = QUIPU_OK;
    while (status == QUIPU_OK) {
        status = quipu_command_run(engine, &command, &report, &err);
        if (status == QUIPU_OK) {
            printf("version %llu, snapshot %s\n", (unsigned long long)report.version,
                   quipu_snapshot_found_text(report.snapshot));
        }
    }
    printf("refused: %s\n", err.message);

    quipu_engine_close(&engine);
    quipu_store_close(&store);
    return status == QUIPU_INVALID ? 0 : 1;
}

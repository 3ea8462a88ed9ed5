/*
 * The smallest honest use of an installed libquipu: append an event to a new store and read it
 * back. Part of the tests of the install rules; uses nothing but what is installed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <quipu/dagjson.h>
#include <quipu/engine.h>

#include <stdio.h>
#include <string.h>

static enum quipu_status count_one(void *ctx, const struct quipu_event_view *event,
                                   struct quipu_error *err)
{
    (void)err;
    if (event->position == 1 && event->payload.len > 0) {
        ++*(int *)ctx;
    }
    return QUIPU_OK;
}

int main(int argc, char **argv)
{
    struct quipu_store *store = NULL;
    struct quipu_engine *engine = NULL;
    struct quipu_error err = {0};
    struct quipu_buf payload = {0};
    const char json[] = "{\"algorithm\":\"Ed25519\"}";
    struct quipu_slice text = {(const uint8_t *)json, strlen(json)};
    int seen = 0;

    if (argc != 2 || quipu_store_open(argv[1], NULL, &store, &err) != QUIPU_OK ||
        quipu_engine_open(store, NULL, &engine, &err) != QUIPU_OK ||
        quipu_dagjson_to_dagcbor(text, &payload, &err) != QUIPU_OK) {
        fprintf(stderr, "consumer: %s\n", err.message);
        return 1;
    }
    struct quipu_event event = {.type = "key.generated", .aggregate = {"key", "root-2026"}};
    event.payload = quipu_buf_slice(&payload);
    event.expected = quipu_expect_no_stream();
    struct quipu_filter all = {0};
    if (quipu_append(engine, &event, NULL, &err) != QUIPU_OK ||
        quipu_each_event(engine, &all, count_one, &seen, &err) != QUIPU_OK) {
        fprintf(stderr, "consumer: %s\n", err.message);
        return 1;
    }
    quipu_buf_release(&payload);
    quipu_engine_close(&engine);
    quipu_store_close(&store);
    printf("consumer: %d event\n", seen);
    return seen == 1 ? 0 : 1;
}

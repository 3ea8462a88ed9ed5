/*
 * Threads on one engine, as a plain program, because Criterion does not start under the thread
 * sanitizer: appends in groups, readers, acknowledgements and a projection at the same time.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "quipu/engine.h"
#include "quipu/outbox.h"
#include "quipu/projection.h"
#include "quipu/verify.h"
#include "race_kit.h"
#include "temp_dir.h"

enum { WRITERS = 4, ROUNDS = 100 };

struct race {
    struct quipu_engine *engine;
    atomic_int writers_left;
};

static void *write_events(void *ctx)
{
    static const uint8_t payload[] = {0xa1, 0x61, 'n', 0x01};
    struct race *race = ctx;
    struct quipu_error err;
    for (int i = 0; i < ROUNDS; i++) {
        struct quipu_event events[3];
        for (size_t j = 0; j < 3; j++) {
            events[j] = (struct quipu_event){
                .type = "thing.changed",
                .aggregate = {"thing", j == 0 ? "a" : "b"},
                .payload = quipu_slice(payload, sizeof payload),
            };
        }
        race_must(quipu_append_batch(race->engine, events, 3, NULL, NULL, &err), &err);
    }
    atomic_fetch_sub(&race->writers_left, 1);
    return NULL;
}

static enum quipu_status count_event(void *ctx, struct quipu_rows *rows,
                                     const struct quipu_event_view *event, struct quipu_error *err)
{
    (void)ctx;
    return quipu_rows_put(rows, event->envelope.aggregate_id,
                          quipu_slice(event->cid.digest, sizeof event->cid.digest), err);
}

static void *flush_and_project(void *ctx)
{
    struct race *race = ctx;
    struct quipu_error err;
    struct quipu_projection projection = {.name = "last", .version = 1, .apply = count_event};
    bool is_last = false;
    while (!is_last) {
        is_last = atomic_load(&race->writers_left) == 0;
        size_t acknowledged = race_acknowledge(race->engine);
        race_must(quipu_replay(race->engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &err), &err);
        is_last = is_last && acknowledged == 0;
    }
    return NULL;
}

static enum quipu_status check_hash(void *ctx, const struct quipu_event_view *event,
                                    struct quipu_error *err)
{
    (void)ctx;
    return quipu_event_view_verify(event, err);
}

static void *read_events(void *ctx)
{
    struct race *race = ctx;
    struct quipu_error err;
    while (atomic_load(&race->writers_left) > 0) {
        race_must(quipu_each_event(race->engine, NULL, check_hash, NULL, &err), &err);
    }
    return NULL;
}

int main(void)
{
    struct temp_dir dir;
    char path[2 * TEMP_DIR_BYTES];
    struct quipu_store *store = NULL;
    struct quipu_error err;
    struct race race = {.writers_left = WRITERS};
    pthread_t threads[WRITERS + 2];
    temp_dir_init(&dir);
    race_must(quipu_store_open(temp_dir_join(&dir, "store", path), NULL, &store, &err), &err);
    race_must(quipu_engine_open(store, NULL, &race.engine, &err), &err);
    int failed = 0;
    for (size_t i = 0; i < WRITERS; i++) {
        failed |= pthread_create(&threads[i], NULL, write_events, &race);
    }
    failed |= pthread_create(&threads[WRITERS], NULL, read_events, &race);
    failed |= pthread_create(&threads[WRITERS + 1], NULL, flush_and_project, &race);
    for (size_t i = 0; failed == 0 && i < WRITERS + 2; i++) {
        failed |= pthread_join(threads[i], NULL);
    }
    struct quipu_verify_report report = {0};
    struct quipu_outbox_status status = {0};
    race_must(quipu_verify(race.engine, NULL, &report, &err), &err);
    race_must(quipu_outbox_status(race.engine, &status, &err), &err);
    quipu_engine_close(&race.engine);
    quipu_store_close(&store);
    temp_dir_release(&dir);
    (void)printf("%lu events, %lu published\n", (unsigned long)report.events,
                 (unsigned long)status.published);
    bool is_right = failed == 0 && report.events == 3 * WRITERS * ROUNDS && status.pending == 0;
    return is_right ? EXIT_SUCCESS : EXIT_FAILURE;
}

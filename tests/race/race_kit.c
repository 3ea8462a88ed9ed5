/*
 * Threads, a store, and claims that abort.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "race_kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "quipu/outbox.h"

#define ACKS_MAX 64

void race_require(bool is_true, const char *what)
{
    if (!is_true) {
        (void)fprintf(stderr, "not so: %s\n", what);
        abort();
    }
}

void race_must(enum quipu_status status, const struct quipu_error *err)
{
    if (status != QUIPU_OK) {
        (void)fprintf(stderr, "%s: %s\n", quipu_status_name(status), err->message);
        abort();
    }
}

pthread_t race_begin(void *(*run)(void *ctx), void *ctx)
{
    pthread_t thread;
    race_require(pthread_create(&thread, NULL, run, ctx) == 0, "a thread begins");
    return thread;
}

void race_end(pthread_t thread)
{
    race_require(pthread_join(thread, NULL) == 0, "a thread ends");
}

void race_pause_ms(long ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    (void)nanosleep(&pause, NULL);
}

void race_store_open(struct race_store *store)
{
    struct quipu_error err;
    char path[2 * TEMP_DIR_BYTES];
    memset(store, 0, sizeof *store);
    temp_dir_init(&store->dir);
    race_must(
        quipu_store_open(temp_dir_join(&store->dir, "store", path), NULL, &store->store, &err),
        &err);
    race_must(quipu_engine_open(store->store, NULL, &store->engine, &err), &err);
}

void race_store_close(struct race_store *store)
{
    quipu_engine_close(&store->engine);
    quipu_store_close(&store->store);
    temp_dir_release(&store->dir);
}

void race_append(struct quipu_engine *engine, const char *id)
{
    static const uint8_t payload[] = {0xa1, 0x61, 'n', 0x01};
    struct quipu_error err;
    struct quipu_appended appended;
    struct quipu_event event = {
        .type = "thing.changed",
        .aggregate = {"thing", id},
        .payload = quipu_slice(payload, sizeof payload),
    };
    race_must(quipu_append(engine, &event, &appended, &err), &err);
}

struct acks {
    struct quipu_ack at[ACKS_MAX];
    size_t len;
};

static enum quipu_status gather(void *ctx, const struct quipu_event_view *event,
                                struct quipu_error *err)
{
    struct acks *acks = ctx;
    (void)err;
    acks->at[acks->len++] = (struct quipu_ack){event->position, event->position, false, 0};
    return QUIPU_OK;
}

size_t race_acknowledge(struct quipu_engine *engine)
{
    struct quipu_error err;
    struct acks acks = {.len = 0};
    race_must(quipu_outbox_each_pending(engine, 0, ACKS_MAX, gather, &acks, NULL, &err), &err);
    race_must(quipu_outbox_acknowledge(engine, quipu_slice_text("EVENTS"), acks.at, acks.len, &err),
              &err);
    return acks.len;
}

uint64_t race_events(struct race_store *store)
{
    struct quipu_error err;
    struct quipu_txn *txn = NULL;
    race_must(quipu_txn_begin_read(store->store, &txn, &err), &err);
    uint64_t last = quipu_txn_last_position(txn);
    quipu_txn_abort(&txn);
    return last;
}

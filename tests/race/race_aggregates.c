/*
 * 64 threads that append with exact versions, each to an aggregate of its own and all to a few
 * shared ones, while others scan, look events up, replay a projection and move the outbox cursor. A
 * plain program, because Criterion does not start under the thread sanitizer. The indexes' sizes
 * are small, so that runs are made and merged all the time.
 *
 * usage: race_aggregates [ROUNDS]
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quipu/outbox.h"
#include "quipu/projection.h"
#include "quipu/verify.h"
#include "race_kit.h"
#include "temp_dir.h"
#include "tuning.h"

#define WRITERS        64
#define SHARED         4
#define ROUNDS_DEFAULT 8
#define ROUNDS_MAX     1000

struct race {
    struct quipu_store *store;
    struct quipu_engine *engine;
    uint64_t rounds;
    /* What was acknowledged; `written` entries from the start are filled in. */
    struct quipu_appended *appended;
    pthread_mutex_t appended_mutex;
    size_t written;
    atomic_int writers_left;
    atomic_ullong conflicts;
    atomic_ullong scans;
    atomic_ullong found;
};

struct writer {
    struct race *race;
    unsigned number;
};

/* ------------------------------------------------------------------ appending */

static uint64_t version_of(struct race *race, const char *id)
{
    struct quipu_txn *txn = NULL;
    struct quipu_head head = {.version = 0};
    struct quipu_error err;
    struct quipu_aggregate aggregate = {quipu_slice_text("thing"), quipu_slice_text(id)};
    race_must(quipu_txn_begin_read(race->store, &txn, &err), &err);
    enum quipu_status status = quipu_txn_head(txn, aggregate, &head, &err);
    if (status != QUIPU_NOT_FOUND) {
        race_must(status, &err);
    }
    quipu_txn_abort(&txn);
    return head.version;
}

/* QUIPU_OK or QUIPU_VERSION_CONFLICT. */
static enum quipu_status append_one(struct race *race, const char *id, uint64_t version)
{
    static const uint8_t payload[] = {0xa1, 0x61, 'n', 0x01};
    struct quipu_appended appended;
    struct quipu_error err;
    struct quipu_event event = {
        .type = "thing.changed",
        .aggregate = {"thing", id},
        .payload = quipu_slice(payload, sizeof payload),
        .expected = quipu_expect_exact(version),
    };
    enum quipu_status status = quipu_append(race->engine, &event, &appended, &err);
    if (status == QUIPU_VERSION_CONFLICT) {
        return status;
    }
    race_must(status, &err);
    race_require(appended.version == version + 1 && !appended.was_duplicate,
                 "an exact append gives the next version");
    pthread_mutex_lock(&race->appended_mutex);
    race->appended[race->written++] = appended;
    pthread_mutex_unlock(&race->appended_mutex);
    return QUIPU_OK;
}

static void *write_events(void *ctx)
{
    const struct writer *writer = ctx;
    struct race *race = writer->race;
    char own[24];
    char shared[24];
    (void)snprintf(own, sizeof own, "own-%u", writer->number);
    (void)snprintf(shared, sizeof shared, "shared-%u", writer->number % SHARED);
    for (uint64_t i = 0; i < race->rounds; i++) {
        race_require(append_one(race, own, i) == QUIPU_OK, "nobody else appends to one's own");
        while (append_one(race, shared, version_of(race, shared)) != QUIPU_OK) {
            atomic_fetch_add(&race->conflicts, 1);
        }
    }
    atomic_fetch_sub(&race->writers_left, 1);
    return NULL;
}

/* ------------------------------------------------------------------ reading */

static enum quipu_status scan_one(void *ctx, const struct quipu_event_view *event,
                                  struct quipu_error *err)
{
    uint64_t *last = ctx;
    race_require(event->position == *last + 1, "a scan sees every position once");
    *last = event->position;
    return quipu_event_view_verify(event, err);
}

static void *scan_events(void *ctx)
{
    struct race *race = ctx;
    struct quipu_error err;
    uint64_t before = 0;
    while (atomic_load(&race->writers_left) > 0) {
        uint64_t last = 0;
        race_must(quipu_each_event(race->engine, NULL, scan_one, &last, &err), &err);
        race_require(last >= before, "a later scan sees no less");
        before = last;
        atomic_fetch_add(&race->scans, 1);
    }
    return NULL;
}

static void find_one(struct race *race, const struct quipu_appended *wanted)
{
    struct quipu_txn *txn = NULL;
    struct quipu_record record;
    struct quipu_error err;
    enum quipu_block_kind kind;
    race_must(quipu_txn_begin_read(race->store, &txn, &err), &err);
    race_must(quipu_txn_find_cid(txn, &wanted->cid, &record, &kind, &err), &err);
    race_require(record.position == wanted->position && kind == QUIPU_BLOCK_ENVELOPE,
                 "found by its CID where it was appended");
    race_must(quipu_txn_find_event_id(txn, wanted->event_id, &record, &err), &err);
    race_require(record.position == wanted->position,
                 "found by its event_id where it was appended");
    quipu_txn_abort(&txn);
}

static void *find_events(void *ctx)
{
    struct race *race = ctx;
    uint64_t random = 1;
    while (atomic_load(&race->writers_left) > 0) {
        struct quipu_appended wanted;
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407U;
        pthread_mutex_lock(&race->appended_mutex);
        size_t written = race->written;
        if (written > 0) {
            wanted = race->appended[(random >> 33) % written];
        }
        pthread_mutex_unlock(&race->appended_mutex);
        if (written > 0) {
            find_one(race, &wanted);
            atomic_fetch_add(&race->found, 1);
        }
    }
    return NULL;
}

/* ------------------------------------------------------------------ projection, outbox */

static enum quipu_status apply(void *ctx, struct quipu_rows *rows,
                               const struct quipu_event_view *event, struct quipu_error *err)
{
    (void)ctx;
    return quipu_rows_put(rows, event->envelope.aggregate_id,
                          quipu_slice(event->cid.digest, sizeof event->cid.digest), err);
}

static void *replay_events(void *ctx)
{
    struct race *race = ctx;
    struct quipu_error err;
    struct quipu_projection projection = {.name = "last", .version = 1, .apply = apply};
    bool is_last = false;
    while (!is_last) {
        is_last = atomic_load(&race->writers_left) == 0;
        race_must(quipu_replay(race->engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &err), &err);
    }
    return NULL;
}

static void *flush_events(void *ctx)
{
    struct race *race = ctx;
    bool is_last = false;
    while (!is_last) {
        is_last = atomic_load(&race->writers_left) == 0;
        is_last = race_acknowledge(race->engine) == 0 && is_last;
    }
    return NULL;
}

/* ------------------------------------------------------------------ afterwards */

static enum quipu_status count_version(void *ctx, const struct quipu_event_view *event,
                                       struct quipu_error *err)
{
    uint64_t *versions = ctx; /* of each own aggregate, then of each shared one */
    char id[24] = {0};
    unsigned number = 0;
    (void)err;
    race_require(event->envelope.aggregate_id.len < sizeof id, "ids are short");
    memcpy(id, event->envelope.aggregate_id.data, event->envelope.aggregate_id.len);
    if (sscanf(id, "shared-%u", &number) == 1) {
        number += WRITERS;
    } else {
        race_require(sscanf(id, "own-%u", &number) == 1, "ids are ours");
    }
    race_require(event->envelope.version == versions[number] + 1,
                 "versions of an aggregate are gap-free");
    versions[number]++;
    return QUIPU_OK;
}

static void check_all(struct race *race)
{
    uint64_t versions[WRITERS + SHARED] = {0};
    struct quipu_verify_report report = {0};
    struct quipu_outbox_status outbox = {0};
    struct quipu_error err;
    race_must(quipu_verify(race->engine, NULL, &report, &err), &err);
    race_must(quipu_each_event(race->engine, NULL, count_version, versions, &err), &err);
    race_must(quipu_outbox_status(race->engine, &outbox, &err), &err);
    for (size_t i = 0; i < race->written; i++) {
        find_one(race, &race->appended[i]);
    }
    for (size_t i = 0; i < WRITERS; i++) {
        race_require(versions[i] == race->rounds, "every event of an own aggregate is there");
    }
    for (size_t i = 0; i < SHARED; i++) {
        race_require(versions[WRITERS + i] == race->rounds * WRITERS / SHARED,
                     "every event of a shared aggregate is there");
    }
    race_require(report.events == 2 * WRITERS * race->rounds && race->written == report.events,
                 "as many events as were acknowledged");
    race_require(outbox.pending == 0 && outbox.cursor == report.events, "the outbox is empty");
}

int main(int argc, char **argv)
{
    static void *(*const others[])(void *) = {scan_events,   scan_events, find_events,
                                              find_events,   find_events, find_events,
                                              replay_events, flush_events};
    enum { OTHERS = sizeof others / sizeof others[0] };
    static struct writer writers[WRITERS];
    struct race race = {.writers_left = WRITERS, .rounds = ROUNDS_DEFAULT};
    struct quipu_store_tuning tuning = quipu_store_tuning_default();
    struct temp_dir dir;
    char path[2 * TEMP_DIR_BYTES];
    struct quipu_error err;
    pthread_t threads[WRITERS + OTHERS];
    if (argc > 1) {
        race.rounds = strtoull(argv[1], NULL, 10);
        race_require(race.rounds > 0 && race.rounds <= ROUNDS_MAX, "1 to 1,000 rounds");
    }
    tuning.tail_events = 16;
    tuning.fan_out = 2;
    tuning.segment_entries = 64;
    race.appended = calloc((size_t)(2 * WRITERS * race.rounds), sizeof *race.appended);
    race_require(race.appended != NULL && pthread_mutex_init(&race.appended_mutex, NULL) == 0,
                 "memory");
    temp_dir_init(&dir);
    race_must(quipu_store_open_tuned(temp_dir_join(&dir, "store", path), NULL, &tuning, &race.store,
                                     &err),
              &err);
    race_must(quipu_engine_open(race.store, NULL, &race.engine, &err), &err);
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){&race, i};
        race_require(pthread_create(&threads[i], NULL, write_events, &writers[i]) == 0, "a thread");
    }
    for (size_t i = 0; i < OTHERS; i++) {
        race_require(pthread_create(&threads[WRITERS + i], NULL, others[i], &race) == 0,
                     "a thread");
    }
    for (size_t i = 0; i < WRITERS + OTHERS; i++) {
        race_require(pthread_join(threads[i], NULL) == 0, "a thread ends");
    }
    check_all(&race);
    (void)printf("%zu events by %d threads, %llu version conflicts, %llu scans, %llu lookups\n",
                 race.written, WRITERS, atomic_load(&race.conflicts), atomic_load(&race.scans),
                 atomic_load(&race.found));
    quipu_engine_close(&race.engine);
    quipu_store_close(&race.store);
    temp_dir_release(&dir);
    (void)pthread_mutex_destroy(&race.appended_mutex);
    free(race.appended);
    return EXIT_SUCCESS;
}

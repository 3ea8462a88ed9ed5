/*
 * The program whose writes are recorded: single appends, batches, projections, outbox receipts,
 * backups, a reopening, a compaction and a repair, drawn by a seed; on request imports of many
 * events in one transaction, or threads that append side by side while one of them acknowledges and
 * one backs up. It prints what it is about to do and, after the call has returned, what was
 * acknowledged; by plain write(2), so that the recorder sees each line at its moment.
 *
 *   try EVENTS               an append begins; it leads to this many events
 *   source KEY               the store has a signing key
 *   event POSITION CID       acknowledged
 *   outbox CURSOR            every position up to it is acknowledged as published
 *   projection POSITION      the checkpoint
 *   backup NAME EVENTS       begins; `saved NAME EVENTS` once it has returned
 *   threads                  from here on calls go on side by side and each line counts at once
 *   appended FIRST COUNT CID …  acknowledged, as one append of a thread
 *   done EVENTS              what was begun is acknowledged; there are this many events
 *
 * usage: crash_workload FOLDER SEED STEPS durable|relaxed plain|imports|threads
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "quipu/ingest.h"
#include "quipu/outbox.h"
#include "quipu/store_upkeep.h"
#include "quipu/verify.h"
#include "sample.h"
#include "temp_dir.h"

#define BATCH_MAX        24
#define IMPORT_MAX       200
#define WRITERS          6
#define THREAD_BATCH_MAX 4
#define LINE_BYTES       512

struct work {
    const char *folder;
    struct quipu_store_options options;
    struct quipu_store *store;
    struct quipu_engine *engine;
    uint64_t random;
    uint64_t events;
    uint64_t cursor;
    unsigned backups;
    uint64_t numbers; /* of the samples that were appended so far */
    bool has_imports;
    /* The store whose events are imported; outside of the folder that is recorded. */
    struct temp_dir far_dir;
    struct quipu_store *far_store;
    struct quipu_engine *far_engine;
    uint64_t far_events;
    uint64_t far_taken;
    struct sample samples[BATCH_MAX];
};

static void must(enum quipu_status status, const struct quipu_error *err)
{
    if (status != QUIPU_OK) {
        (void)fprintf(stderr, "%s: %s\n", quipu_status_name(status), err->message);
        exit(EXIT_FAILURE);
    }
}

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *format, ...)
{
    char line[LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (len < 0 || (size_t)len >= sizeof line || write(STDOUT_FILENO, line, (size_t)len) != len) {
        exit(EXIT_FAILURE);
    }
}

static void append(struct work *work, size_t count)
{
    struct quipu_event events[BATCH_MAX];
    struct quipu_appended appended[BATCH_MAX];
    struct quipu_error err;
    for (size_t i = 0; i < count; i++) {
        sample_make(&work->samples[i], ++work->numbers);
        events[i] = work->samples[i].event;
    }
    say("try %" PRIu64 "\n", work->events + count);
    must(quipu_append_batch(work->engine, events, count, appended, NULL, &err), &err);
    for (size_t i = 0; i < count; i++) {
        char cid[QUIPU_CID_TEXT_BYTES];
        quipu_cid_format(&appended[i].cid, cid);
        say("event %" PRIu64 " %s\n", appended[i].position, cid);
    }
    work->events += count;
}

static void acknowledge(struct work *work)
{
    struct quipu_ack acks[BATCH_MAX];
    struct quipu_error err;
    size_t count = 0;
    uint64_t wanted = 1 + sample_random(&work->random) % BATCH_MAX;
    while (count < wanted && work->cursor + count < work->events) {
        uint64_t position = work->cursor + count + 1;
        acks[count++] = (struct quipu_ack){position, position, false, 0};
    }
    if (count == 0) {
        return;
    }
    must(quipu_outbox_acknowledge(work->engine, quipu_slice_text("EVENTS"), acks, count, &err),
         &err);
    work->cursor += count;
    say("outbox %" PRIu64 "\n", work->cursor);
}

static void project(struct work *work)
{
    struct quipu_projection projection = sample_projection();
    struct quipu_replay_report report;
    struct quipu_error err;
    enum quipu_replay_mode mode =
        sample_random(&work->random) % 4 == 0 ? QUIPU_REPLAY_REBUILD : QUIPU_REPLAY_CATCH_UP;
    must(quipu_replay(work->engine, &projection, mode, &report, &err), &err);
    say("projection %" PRIu64 "\n", report.position);
}

static void back_up(struct work *work)
{
    char path[512];
    struct quipu_error err;
    unsigned number = work->backups++;
    (void)snprintf(path, sizeof path, "%s/backup-%u", work->folder, number);
    say("backup backup-%u %" PRIu64 "\n", number, work->events);
    must(quipu_store_backup(work->store, path, &err), &err);
    say("saved backup-%u %" PRIu64 "\n", number, work->events);
}

/* What opening writes is in the record as well. */
static void open_both(struct work *work)
{
    char path[512];
    struct quipu_error err;
    (void)snprintf(path, sizeof path, "%s/store", work->folder);
    must(sample_store_open(path, &work->options, 0, &work->store, &err), &err);
    must(quipu_engine_open(work->store, NULL, &work->engine, &err), &err);
}

static void close_both(struct work *work)
{
    quipu_engine_close(&work->engine);
    quipu_store_close(&work->store);
}

/* A new file takes the place of the store's. */
static void renew(struct work *work, bool is_repair)
{
    char path[512];
    struct quipu_error err;
    (void)snprintf(path, sizeof path, "%s/store", work->folder);
    close_both(work);
    must(is_repair ? quipu_store_repair(path, NULL, NULL, &err)
                   : quipu_store_compact(path, NULL, NULL, &err),
         &err);
    open_both(work);
}

/* ------------------------------------------------------------------ imports */

struct import {
    struct work *work;
    struct quipu_ingest *ingest;
    struct quipu_cid cids[IMPORT_MAX];
    uint64_t count;
};

static enum quipu_status take_in(void *ctx, const struct quipu_event_view *event,
                                 struct quipu_error *err)
{
    struct import *import = ctx;
    enum quipu_ingest_outcome outcome;
    struct quipu_foreign foreign = {
        .cid = event->cid, .envelope = event->envelope_block, .payload = event->payload};
    import->cids[import->count++] = event->cid;
    return quipu_ingest_event(import->ingest, &foreign, &outcome, err);
}

/* More events in the other store, and all of them into this one, in one transaction. */
static void import(struct work *work)
{
    static struct import import;
    struct quipu_error err;
    struct sample *sample = &work->samples[0];
    uint64_t count = 1 + sample_random(&work->random) % IMPORT_MAX;
    for (uint64_t i = 0; i < count; i++) {
        sample_make(sample, SAMPLE_FOREIGN + ++work->far_events);
        must(quipu_append(work->far_engine, &sample->event, NULL, &err), &err);
    }
    import.work = work;
    import.count = 0;
    struct quipu_filter filter = {.after = work->far_taken};
    say("try %" PRIu64 "\n", work->events + count);
    must(quipu_ingest_begin(work->engine, QUIPU_INGEST_STRICT, &import.ingest, &err), &err);
    must(quipu_each_event(work->far_engine, &filter, take_in, &import, &err), &err);
    must(quipu_ingest_commit(&import.ingest, NULL, &err), &err);
    for (uint64_t i = 0; i < count; i++) {
        char cid[QUIPU_CID_TEXT_BYTES];
        quipu_cid_format(&import.cids[i], cid);
        say("event %" PRIu64 " %s\n", work->events + i + 1, cid);
    }
    work->far_taken += count;
    work->events += count;
}

static void far_open(struct work *work)
{
    char path[2 * TEMP_DIR_BYTES];
    struct quipu_store_options options = QUIPU_STORE_OPTIONS_INIT;
    struct quipu_error err;
    options.durability = QUIPU_RELAXED;
    temp_dir_init(&work->far_dir);
    temp_dir_join(&work->far_dir, "store", path);
    must(sample_store_open(path, &options, 1, &work->far_store, &err), &err);
    must(quipu_engine_open(work->far_store, NULL, &work->far_engine, &err), &err);
}

static void far_close(struct work *work)
{
    quipu_engine_close(&work->far_engine);
    quipu_store_close(&work->far_store);
    temp_dir_release(&work->far_dir);
}

/* ------------------------------------------------------------------ threads */

struct crowd {
    struct work *work;
    uint64_t appends; /* of each writer */
    pthread_mutex_t mutex;
    uint64_t numbers;
    uint64_t events; /* acknowledged for certain: the greatest position */
    int writers_left;
};

static void append_as_thread(struct crowd *crowd, struct sample *samples, uint64_t *random)
{
    struct quipu_event events[THREAD_BATCH_MAX];
    struct quipu_appended appended[THREAD_BATCH_MAX];
    struct quipu_error err;
    char line[LINE_BYTES];
    size_t count = 1 + (size_t)(sample_random(random) % THREAD_BATCH_MAX);
    pthread_mutex_lock(&crowd->mutex);
    uint64_t first = crowd->numbers + 1;
    crowd->numbers += count;
    pthread_mutex_unlock(&crowd->mutex);
    for (size_t i = 0; i < count; i++) {
        sample_make(&samples[i], first + i);
        events[i] = samples[i].event;
    }
    must(quipu_append_batch(crowd->work->engine, events, count, appended, NULL, &err), &err);
    int used = snprintf(line, sizeof line, "appended %" PRIu64 " %zu", appended[0].position, count);
    for (size_t i = 0; i < count; i++) {
        char cid[QUIPU_CID_TEXT_BYTES];
        quipu_cid_format(&appended[i].cid, cid);
        used += snprintf(line + used, sizeof line - (size_t)used, " %s", cid);
        if (appended[i].position != appended[0].position + i) {
            (void)fprintf(stderr, "an append is not in one piece\n");
            exit(EXIT_FAILURE);
        }
    }
    say("%s\n", line);
    uint64_t last = appended[count - 1].position;
    pthread_mutex_lock(&crowd->mutex);
    crowd->events = last > crowd->events ? last : crowd->events;
    pthread_mutex_unlock(&crowd->mutex);
}

static void *write_as_thread(void *ctx)
{
    struct crowd *crowd = ctx;
    struct sample *samples = malloc(THREAD_BATCH_MAX * sizeof *samples);
    pthread_mutex_lock(&crowd->mutex);
    uint64_t random = sample_random(&crowd->work->random);
    pthread_mutex_unlock(&crowd->mutex);
    if (samples == NULL) {
        exit(EXIT_FAILURE);
    }
    for (uint64_t i = 0; i < crowd->appends; i++) {
        append_as_thread(crowd, samples, &random);
    }
    free(samples);
    pthread_mutex_lock(&crowd->mutex);
    crowd->writers_left--;
    pthread_mutex_unlock(&crowd->mutex);
    return NULL;
}

static bool look(struct crowd *crowd, uint64_t *events)
{
    pthread_mutex_lock(&crowd->mutex);
    bool is_going_on = crowd->writers_left > 0;
    *events = crowd->events;
    pthread_mutex_unlock(&crowd->mutex);
    return is_going_on;
}

/* Rows of tables in transactions between those of the appends, and two backups in the midst. */
static void *tend_as_thread(void *ctx)
{
    struct crowd *crowd = ctx;
    struct work *work = crowd->work;
    while (look(crowd, &work->events)) {
        acknowledge(work);
        if (work->backups < 2 && work->events > (work->backups + 1) * crowd->appends) {
            back_up(work);
        }
    }
    return NULL;
}

static void run_threads(struct work *work, uint64_t steps)
{
    struct crowd crowd = {.work = work, .appends = steps / WRITERS + 1, .writers_left = WRITERS};
    pthread_t threads[WRITERS + 1];
    int failed = pthread_mutex_init(&crowd.mutex, NULL);
    say("threads\n");
    for (size_t i = 0; i < WRITERS; i++) {
        failed |= pthread_create(&threads[i], NULL, write_as_thread, &crowd);
    }
    failed |= pthread_create(&threads[WRITERS], NULL, tend_as_thread, &crowd);
    for (size_t i = 0; failed == 0 && i <= WRITERS; i++) {
        failed |= pthread_join(threads[i], NULL);
    }
    if (failed != 0) {
        (void)fprintf(stderr, "threads do not start\n");
        exit(EXIT_FAILURE);
    }
    (void)pthread_mutex_destroy(&crowd.mutex); /* nobody has it any more */
}

/* ------------------------------------------------------------------ the program */

static void step(struct work *work, uint64_t number, uint64_t steps)
{
    uint64_t kind = sample_random(&work->random) % 10;
    if (number == steps / 2) {
        back_up(work);
    } else if (number == steps / 4) {
        close_both(work);
        open_both(work);
    } else if (number == steps / 3 || number == steps - steps / 4) {
        renew(work, number != steps / 3);
    } else if (work->has_imports && kind < 3) {
        import(work);
    } else if (kind < 5) {
        append(work, 1);
    } else if (kind < 7) {
        append(work, 2 + sample_random(&work->random) % (BATCH_MAX - 1));
    } else if (kind < 9) {
        acknowledge(work);
    } else {
        project(work);
    }
    say("done %" PRIu64 "\n", work->events);
}

static void run_alone(struct work *work, uint64_t steps)
{
    if (work->has_imports) {
        far_open(work);
    }
    for (uint64_t i = 0; i < steps; i++) {
        step(work, i, steps);
    }
    if (work->has_imports) {
        far_close(work);
    }
}

int main(int argc, char **argv)
{
    static struct work work;
    struct quipu_error err;
    char source[QUIPU_SOURCE_TEXT_BYTES];
    if (argc != 6) {
        (void)fprintf(stderr, "usage: crash_workload FOLDER SEED STEPS durable|relaxed "
                              "plain|imports|threads\n");
        return 2;
    }
    work.folder = argv[1];
    work.random = strtoull(argv[2], NULL, 10);
    uint64_t steps = strtoull(argv[3], NULL, 10);
    work.options = (struct quipu_store_options)QUIPU_STORE_OPTIONS_INIT;
    if (strcmp(argv[4], "relaxed") == 0) {
        work.options.durability = QUIPU_RELAXED;
    }
    work.has_imports = strcmp(argv[5], "imports") == 0;
    open_both(&work);
    must(quipu_identity_ensure(work.engine, &err), &err);
    must(quipu_identity_source(work.engine, source, &err), &err);
    say("source %s\n", source);
    say("done 0\n");
    if (strcmp(argv[5], "threads") == 0) {
        run_threads(&work, steps);
    } else {
        run_alone(&work, steps);
    }
    close_both(&work);
    return EXIT_SUCCESS;
}

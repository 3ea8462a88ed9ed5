/*
 * The program whose writes are recorded: single appends, batches, projections, outbox receipts, a
 * backup and a reopening, drawn by a seed. It prints what it is about to do and, after the call has
 * returned, what was acknowledged; by plain write(2), so that the recorder sees each line at its
 * moment.
 *
 *   try EVENTS               an append begins; it leads to this many events
 *   source KEY               the store has a signing key
 *   event POSITION CID       acknowledged
 *   outbox CURSOR            every position up to it is acknowledged as published
 *   projection POSITION      the checkpoint
 *   backup NAME EVENTS       begins; `saved NAME EVENTS` once it has returned
 *   done EVENTS              what was begun is acknowledged; there are this many events
 *
 * usage: crash_workload FOLDER SEED STEPS durable|relaxed
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "quipu/outbox.h"
#include "quipu/verify.h"
#include "sample.h"

#define BATCH_MAX 24

struct work {
    const char *folder;
    struct quipu_store_options options;
    struct quipu_store *store;
    struct quipu_engine *engine;
    uint64_t random;
    uint64_t events;
    uint64_t cursor;
    unsigned backups;
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
    char line[256];
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
        sample_make(&work->samples[i], work->events + i + 1);
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
        acks[count++] = (struct quipu_ack){position, position, false};
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

static void step(struct work *work, uint64_t number, uint64_t steps)
{
    uint64_t kind = sample_random(&work->random) % 10;
    if (number == steps / 2) {
        back_up(work);
    } else if (number == steps / 4) {
        close_both(work);
        open_both(work);
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

int main(int argc, char **argv)
{
    static struct work work;
    struct quipu_error err;
    char source[QUIPU_SOURCE_TEXT_BYTES];
    if (argc != 5) {
        (void)fprintf(stderr, "usage: crash_workload FOLDER SEED STEPS durable|relaxed\n");
        return 2;
    }
    work.folder = argv[1];
    work.random = strtoull(argv[2], NULL, 10);
    uint64_t steps = strtoull(argv[3], NULL, 10);
    work.options = (struct quipu_store_options)QUIPU_STORE_OPTIONS_INIT;
    if (strcmp(argv[4], "relaxed") == 0) {
        work.options.durability = QUIPU_RELAXED;
    }
    open_both(&work);
    must(quipu_identity_ensure(work.engine, &err), &err);
    must(quipu_identity_source(work.engine, source, &err), &err);
    say("source %s\n", source);
    say("done 0\n");
    for (uint64_t i = 0; i < steps; i++) {
        step(&work, i, steps);
    }
    close_both(&work);
    return EXIT_SUCCESS;
}

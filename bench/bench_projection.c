/*
 * How fast history becomes state: a counter per key over a log of a million events, durable with
 * its checkpoint, beside SQLite doing the same UPSERTs in the same run.
 *
 *   bench_projection [--events N] [--rounds N] [--only CASE] FOLDER
 *
 * A table, the ratios and one line of JSON for each figure on stdout. The log is made in FOLDER,
 * used again by the next run with the same number of events, and not deleted.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "bench_projection.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench_store.h"
#include "quipu/dagcbor.h"
#include "quipu/engine.h"
#include "quipu/projection.h"

#define RUN_COUNT   4
#define REPEATS_MAX 15

struct bench {
    const char *folder;
    uint64_t events;
    unsigned rounds;
    const char *only;
    struct quipu_store *store;
    struct quipu_engine *engine;
};

static void must(enum quipu_status status, const struct quipu_error *err, const char *what)
{
    if (status != QUIPU_OK) {
        die("quipu: %s: %s", what, err->message);
    }
}

uint64_t key_number(uint64_t number, uint64_t keys)
{
    uint64_t state = number;
    return random_next(&state) % keys;
}

void key_text(uint64_t key, char out[KEY_BYTES])
{
    (void)snprintf(out, KEY_BYTES, "key-%07" PRIu64, key % 10000000);
}

struct spent spent_now(void)
{
    struct timespec cpu;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    return (struct spent){now_seconds(), (double)cpu.tv_sec + (double)cpu.tv_nsec * 1e-9};
}

struct spent spent_since(const struct spent *began)
{
    struct spent now = spent_now();
    return (struct spent){now.seconds - began->seconds, now.cpu_seconds - began->cpu_seconds};
}

/* ------------------------------------------------------------------ the log */

/* The aggregate's id carries the key of the case with as many keys as events; the few keys are the
 * same number's remainder, so that one log serves both. */
static void log_fill(struct bench *bench, uint64_t from)
{
    struct quipu_event *events = must_alloc(BATCH_EVENTS, sizeof *events);
    char(*ids)[KEY_BYTES] = must_alloc(BATCH_EVENTS, sizeof *ids);
    static const uint8_t payload[] = "\xa2"
                                     "drole\x72signing-key-backup"
                                     "hlocation\x78\x1bsafe 7, first floor, room 2";
    struct quipu_error err;
    for (uint64_t first = from; first < bench->events; first += BATCH_EVENTS) {
        size_t count =
            bench->events - first < BATCH_EVENTS ? (size_t)(bench->events - first) : BATCH_EVENTS;
        for (size_t i = 0; i < count; i++) {
            key_text(key_number(first + i, bench->events), ids[i]);
            events[i] = (struct quipu_event){
                .type = "key.generated",
                .aggregate = {"key", ids[i]},
                .payload = quipu_slice(payload, sizeof payload - 1),
            };
        }
        must(quipu_append_batch(bench->engine, events, count, NULL, NULL, &err), &err, "append");
    }
    free(events);
    free(ids);
}

static void bench_open(struct bench *bench, enum quipu_durability durability)
{
    char path[4096];
    struct quipu_store_options options = QUIPU_STORE_OPTIONS_INIT;
    struct quipu_error err;
    options.durability = durability;
    (void)snprintf(path, sizeof path, "%s/projection-%" PRIu64, bench->folder, bench->events);
    must(quipu_store_open(path, &options, &bench->store, &err), &err, "open");
    must(quipu_engine_open(bench->store, NULL, &bench->engine, &err), &err, "open");
}

static void bench_close(struct bench *bench)
{
    quipu_engine_close(&bench->engine);
    quipu_store_close(&bench->store);
}

static uint64_t log_events(struct bench *bench)
{
    struct quipu_txn *txn = NULL;
    struct quipu_error err;
    must(quipu_txn_begin_read(bench->store, &txn, &err), &err, "read");
    uint64_t last = quipu_txn_last_position(txn);
    quipu_txn_abort(&txn);
    return last;
}

static void log_make(struct bench *bench)
{
    bench_open(bench, QUIPU_RELAXED);
    uint64_t there = log_events(bench);
    if (there < bench->events) {
        fprintf(stderr, "bench_projection: appending %" PRIu64 " events\n", bench->events - there);
        log_fill(bench, there);
    }
    bench_close(bench);
    bench_open(bench, QUIPU_DURABLE);
}

/* ------------------------------------------------------------------ the projections */

static enum quipu_status count_up(struct quipu_rows *rows, struct quipu_slice key,
                                  struct quipu_error *err)
{
    struct quipu_slice value;
    uint64_t count = 0;
    enum quipu_status status = quipu_rows_get(rows, key, &value, err);
    if (status == QUIPU_OK) {
        memcpy(&count, value.data, sizeof count);
    } else if (status != QUIPU_NOT_FOUND) {
        return status;
    }
    count++;
    return quipu_rows_put(rows, key, quipu_slice(&count, sizeof count), err);
}

static enum quipu_status count_many(void *ctx, struct quipu_rows *rows,
                                    const struct quipu_event_view *event, struct quipu_error *err)
{
    (void)ctx;
    return count_up(rows, event->envelope.aggregate_id, err);
}

/* The last four digits. */
static enum quipu_status count_few(void *ctx, struct quipu_rows *rows,
                                   const struct quipu_event_view *event, struct quipu_error *err)
{
    (void)ctx;
    struct quipu_slice id = event->envelope.aggregate_id;
    char key[KEY_BYTES] = "key-000";
    memcpy(key + 7, id.data + id.len - 4, 4);
    return count_up(rows, quipu_slice(key, 11), err);
}

static enum quipu_status look(void *ctx, struct quipu_rows *rows,
                              const struct quipu_event_view *event, struct quipu_error *err)
{
    (void)rows;
    (void)err;
    *(uint64_t *)ctx += event->payload.len;
    return QUIPU_OK;
}

static uint64_t looked;
static const char *const other_types[] = {"key.revoked", NULL};
static const char *const names[RUN_COUNT] = {"one", "two", "three", "four"};

/* What it takes to replay each of them, one after another or in one pass; they are dropped again.
 */
static struct spent measure(struct bench *bench, const struct quipu_projection *like, size_t count,
                            bool is_one_pass)
{
    struct quipu_projection projections[RUN_COUNT];
    const struct quipu_projection *list[RUN_COUNT];
    struct quipu_error err;
    for (size_t i = 0; i < count; i++) {
        projections[i] = *like;
        projections[i].name = names[i];
        list[i] = &projections[i];
    }
    struct spent began = spent_now();
    if (is_one_pass) {
        must(quipu_projections_run(bench->engine, list, count, NULL, &err), &err, "run");
    } else {
        for (size_t i = 0; i < count; i++) {
            must(quipu_replay(bench->engine, list[i], QUIPU_REPLAY_CATCH_UP, NULL, &err), &err,
                 "replay");
        }
    }
    struct spent took = spent_since(&began);
    for (size_t i = 0; i < count; i++) {
        must(quipu_projection_drop(bench->engine, names[i], &err), &err, "drop");
    }
    return took;
}

/* ------------------------------------------------------------------ the cases */

struct figure {
    const char *name;
    const char *what;
    enum quipu_status (*apply)(void *ctx, struct quipu_rows *rows,
                               const struct quipu_event_view *event, struct quipu_error *err);
    const char *const *event_types;
    size_t count; /* projections at a time */
    bool is_one_pass;
    bool is_sqlite;
    bool is_with_log; /* SQLite reads its keys from a log of its own */
    uint64_t keys;    /* of SQLite; 0: as many as events */
    double seconds[REPEATS_MAX];
    double cpu_seconds[REPEATS_MAX];
};

static struct figure figures[] = {
    {.name = "few", .what = "quipu, counters of 10,000 keys", .apply = count_few, .count = 1},
    {.name = "few-sqlite",
     .what = "SQLite, from a log of its own",
     .is_sqlite = true,
     .is_with_log = true,
     .keys = FEW_KEYS,
     .count = 1},
    {.name = "few-memory",
     .what = "SQLite, UPSERTs alone",
     .is_sqlite = true,
     .keys = FEW_KEYS,
     .count = 1},
    {.name = "many", .what = "quipu, as many keys as events", .apply = count_many, .count = 1},
    {.name = "many-sqlite",
     .what = "SQLite, from a log of its own",
     .is_sqlite = true,
     .is_with_log = true,
     .count = 1},
    {.name = "many-memory", .what = "SQLite, UPSERTs alone", .is_sqlite = true, .count = 1},
    {.name = "look", .what = "quipu, no rows", .apply = look, .count = 1},
    {.name = "filtered",
     .what = "quipu, every event left out by its type",
     .apply = look,
     .event_types = other_types,
     .count = 1},
    {.name = "four",
     .what = "quipu, four of 10,000 keys, in turns",
     .apply = count_few,
     .count = RUN_COUNT},
    {.name = "four-pass",
     .what = "quipu, the four in one pass",
     .apply = count_few,
     .count = RUN_COUNT,
     .is_one_pass = true},
};

#define FIGURES (sizeof figures / sizeof figures[0])

static struct spent figure_measure(struct bench *bench, const struct figure *figure)
{
    if (!figure->is_sqlite) {
        struct quipu_projection projection = {.version = 1,
                                              .apply = figure->apply,
                                              .ctx = &looked,
                                              .event_types = figure->event_types};
        return measure(bench, &projection, figure->count, figure->is_one_pass);
    }
#ifdef QUIPU_BENCH_SQLITE
    char path[4096];
    uint64_t keys = figure->keys == 0 ? bench->events : figure->keys;
    (void)snprintf(path, sizeof path, "%s/sqlite-%s", bench->folder,
                   figure->is_with_log ? "log" : "counts");
    return figure->is_with_log ? sqlite_replay(path, bench->events, keys)
                               : sqlite_upserts(path, bench->events, keys);
#else
    return (struct spent){0, 0};
#endif
}

static int compare_seconds(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

static bool is_wanted(const struct bench *bench, const struct figure *figure)
{
#ifndef QUIPU_BENCH_SQLITE
    if (figure->is_sqlite) {
        return false;
    }
#endif
    return bench->only == NULL || strncmp(figure->name, bench->only, strlen(bench->only)) == 0;
}

/* Events a second, times projections; 0: not measured. */
static double rate(const struct bench *bench, const struct figure *figure, double seconds)
{
    return seconds > 0 ? (double)bench->events * (double)figure->count / seconds : 0;
}

static double median_rate(const struct bench *bench, const char *name, bool is_cpu)
{
    for (size_t i = 0; i < FIGURES; i++) {
        if (strcmp(figures[i].name, name) == 0) {
            const double *seconds = is_cpu ? figures[i].cpu_seconds : figures[i].seconds;
            return rate(bench, &figures[i], seconds[bench->rounds / 2]);
        }
    }
    return 0;
}

static void ratio(const struct bench *bench, const char *name, const char *peer, double bar)
{
    double own = median_rate(bench, name, false);
    double other = median_rate(bench, peer, false);
    if (own <= 0 || other <= 0) {
        return;
    }
    double cpu = median_rate(bench, name, true) / median_rate(bench, peer, true);
    printf("%-10s %.2f × %s (bar %.1f); by processor time %.2f\n", name, own / other, peer, bar,
           cpu);
    printf("{\"bench\":\"projection\",\"ratio\":\"%s\",\"against\":\"%s\",\"value\":%.3f,"
           "\"bar\":%.1f,\"cpu_value\":%.3f}\n",
           name, peer, own / other, bar, cpu);
}

static void report(const struct bench *bench)
{
    printf("%-12s %-42s %12s %12s %12s %12s\n", "case", "", "events/s", "lowest", "highest",
           "per cpu-s");
    for (size_t i = 0; i < FIGURES; i++) {
        const struct figure *figure = &figures[i];
        if (is_wanted(bench, figure)) {
            printf("%-12s %-42s %12.0f %12.0f %12.0f %12.0f\n", figure->name, figure->what,
                   rate(bench, figure, figure->seconds[bench->rounds / 2]),
                   rate(bench, figure, figure->seconds[bench->rounds - 1]),
                   rate(bench, figure, figure->seconds[0]),
                   rate(bench, figure, figure->cpu_seconds[bench->rounds / 2]));
        }
    }
    for (size_t i = 0; i < FIGURES; i++) {
        const struct figure *figure = &figures[i];
        if (is_wanted(bench, figure)) {
            printf("{\"bench\":\"projection\",\"case\":\"%s\",\"events\":%" PRIu64
                   ",\"rounds\":%u,\"median_s\":%.4f,\"cpu_s\":%.4f,\"events_per_s\":%.0f}\n",
                   figure->name, bench->events, bench->rounds, figure->seconds[bench->rounds / 2],
                   figure->cpu_seconds[bench->rounds / 2],
                   rate(bench, figure, figure->seconds[bench->rounds / 2]));
        }
    }
    ratio(bench, "few", "few-sqlite", 3);
    ratio(bench, "many", "many-sqlite", 3);
    ratio(bench, "few", "few-memory", 3);
    ratio(bench, "many", "many-memory", 3);
    ratio(bench, "four-pass", "four", 1);
}

static bool number_of(const char *text, uint64_t low, uint64_t high, uint64_t *out)
{
    char *end = NULL;
    *out = strtoull(text, &end, 10);
    return *text != 0 && *end == 0 && *out >= low && *out <= high;
}

static void options_read(struct bench *bench, int argc, char **argv)
{
    uint64_t rounds = 5;
    bool is_good = true;
    for (int i = 1; i < argc && is_good; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--events") == 0) {
            is_good = number_of(value, 1000, 10000000, &bench->events);
            i++;
        } else if (strcmp(argv[i], "--rounds") == 0) {
            is_good = number_of(value, 1, REPEATS_MAX, &rounds);
            i++;
        } else if (strcmp(argv[i], "--only") == 0) {
            bench->only = value;
            i++;
        } else {
            is_good = argv[i][0] != '-' && bench->folder == NULL;
            bench->folder = argv[i];
        }
    }
    bench->rounds = (unsigned)rounds;
    if (!is_good || bench->folder == NULL) {
        die("usage: bench_projection [--events N] [--rounds N] [--only CASE] FOLDER");
    }
}

int main(int argc, char **argv)
{
    struct bench bench = {.events = 1000000};
    options_read(&bench, argc, argv);
    log_make(&bench);
    /* Round by round, so that a slow minute of the machine meets all of them. */
    for (unsigned round = 0; round < bench.rounds; round++) {
        for (size_t i = 0; i < FIGURES; i++) {
            if (is_wanted(&bench, &figures[i])) {
                struct spent spent = figure_measure(&bench, &figures[i]);
                figures[i].seconds[round] = spent.seconds;
                figures[i].cpu_seconds[round] = spent.cpu_seconds;
            }
        }
    }
    bench_close(&bench);
    for (size_t i = 0; i < FIGURES; i++) {
        qsort(figures[i].seconds, bench.rounds, sizeof figures[i].seconds[0], compare_seconds);
        qsort(figures[i].cpu_seconds, bench.rounds, sizeof figures[i].cpu_seconds[0],
              compare_seconds);
    }
    report(&bench);
    return 0;
}

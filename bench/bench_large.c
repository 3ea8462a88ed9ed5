/*
 * A large store, from the first append to the last look-up: fills a fresh store in batches, opens
 * it again, verifies all of it, scans it, and looks events up by CID, by event_id and by aggregate.
 * Prints times, the file's size, the worst commit and the greatest memory of the process's own. It
 * fails where anything that was acknowledged is not there or --memory-max is exceeded; it compares
 * with no peer (bench_store does) and drops no caches: a store of more than the machine's memory
 * is read from the disk, a smaller one from the page cache.
 *
 * Memory of its own is RssAnon of /proc/self/status, read every few milliseconds: pages of the
 * mapped file are the kernel's to take back and do not count.
 *
 * usage: bench_large [--events N] [--batch N] [--memory-max MIB] [--folder FOLDER]
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench_store.h"
#include "quipu/engine.h"
#include "quipu/verify.h"

#define EVENTS_DEFAULT   200000
#define BATCH_DEFAULT    1000
#define BATCH_MAX        10000
#define EVENTS_AGGREGATE 100 /* events of one aggregate, on average */
#define PAYLOAD_BYTES    240
#define KEPT_MAX         20000
#define SAMPLE_NANOS     5000000
#define PATH_BYTES       512
#define MIB              (1024.0 * 1024.0)

/* One of the events that are looked up at the end. */
struct kept {
    uint64_t number;
    struct quipu_uuid event_id;
    struct quipu_cid cid;
};

struct large {
    uint64_t events;
    uint64_t batch;
    uint64_t memory_max_mib;
    const char *folder;
    char path[PATH_BYTES];
    struct quipu_store *store;
    struct quipu_engine *engine;
    struct kept *kept;
    size_t kept_len;
    double worst_commit_s;
};

/* The thread that watches the process's memory. */
static atomic_bool is_watching;
static _Atomic uint64_t peak_kib;

static void must(enum quipu_status status, const char *what, const struct quipu_error *err)
{
    if (status != QUIPU_OK) {
        die("%s: %s: %s", what, quipu_status_name(status), err->message);
    }
}

/* ------------------------------------------------------------------ memory */

static uint64_t memory_kib(void)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[128];
    uint64_t kib = 0;
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        (void)sscanf(line, "RssAnon: %" SCNu64, &kib);
    }
    if (file == NULL || kib == 0) {
        die("/proc/self/status does not say RssAnon");
    }
    (void)fclose(file); /* was only read */
    return kib;
}

static void *watch_memory(void *ctx)
{
    const struct timespec pause = {.tv_nsec = SAMPLE_NANOS};
    (void)ctx;
    while (atomic_load(&is_watching)) {
        uint64_t now = memory_kib();
        if (now > atomic_load(&peak_kib)) {
            atomic_store(&peak_kib, now);
        }
        (void)nanosleep(&pause, NULL);
    }
    return NULL;
}

/* Prints what came to an end, and begins the next one. */
static void phase_end(const char *what, uint64_t count, double *started)
{
    double now = now_seconds();
    double seconds = now - *started;
    (void)printf("%-22s %10" PRIu64 "  %9.2f s  %12.0f/s  peak %7.1f MiB\n", what, count, seconds,
                 (double)count / (seconds > 0 ? seconds : 1e-9),
                 (double)atomic_load(&peak_kib) / 1024.0);
    (void)fflush(stdout);
    *started = now_seconds();
}

/* ------------------------------------------------------------------ appending */

struct draft {
    char aggregate_id[24];
    uint8_t payload[PAYLOAD_BYTES];
};

/* Event number n, from 0: its aggregate and its payload follow from n. */
static void aggregate_of(const struct large *large, uint64_t number, char out[24])
{
    uint64_t state = number;
    uint64_t aggregates = large->events / EVENTS_AGGREGATE + 1;
    (void)snprintf(out, 24, "%010" PRIu64, random_next(&state) % aggregates);
}

static struct quipu_event draft_event(const struct large *large, uint64_t number,
                                      struct draft *draft)
{
    uint64_t state = ~number;
    /* A byte string of one length byte; its content tells the number. */
    draft->payload[0] = 0x58;
    draft->payload[1] = PAYLOAD_BYTES - 2;
    for (size_t i = 2; i < PAYLOAD_BYTES; i += 7) {
        uint64_t random = random_next(&state);
        size_t some = PAYLOAD_BYTES - i < 7 ? PAYLOAD_BYTES - i : 7;
        memcpy(draft->payload + i, &random, some);
    }
    aggregate_of(large, number, draft->aggregate_id);
    return (struct quipu_event){
        .type = "key.rotated",
        .aggregate = {"key", draft->aggregate_id},
        .payload = quipu_slice(draft->payload, sizeof draft->payload),
        .secrets = QUIPU_SECRET_ALLOW, /* random bytes look like a key now and then */
    };
}

static void fill(struct large *large)
{
    struct quipu_error err;
    struct draft *drafts = must_alloc(large->batch, sizeof *drafts);
    struct quipu_event *events = must_alloc(large->batch, sizeof *events);
    struct quipu_appended *appended = must_alloc(large->batch, sizeof *appended);
    uint64_t every = large->events / KEPT_MAX + 1;
    for (uint64_t from = 0; from < large->events; from += large->batch) {
        uint64_t left = large->events - from;
        size_t count = (size_t)(left < large->batch ? left : large->batch);
        for (size_t i = 0; i < count; i++) {
            events[i] = draft_event(large, from + i, &drafts[i]);
        }
        double started = now_seconds();
        must(quipu_append_batch(large->engine, events, count, appended, NULL, &err), "append",
             &err);
        double seconds = now_seconds() - started;
        large->worst_commit_s = seconds > large->worst_commit_s ? seconds : large->worst_commit_s;
        for (size_t i = 0; i < count; i++) {
            if (appended[i].position != from + i + 1) {
                die("event %" PRIu64 " is at position %" PRIu64, from + i, appended[i].position);
            }
            if ((from + i) % every == 0) {
                large->kept[large->kept_len++] =
                    (struct kept){from + i, appended[i].event_id, appended[i].cid};
            }
        }
    }
    free(drafts);
    free(events);
    free(appended);
}

/* ------------------------------------------------------------------ reading */

static void open_both(struct large *large)
{
    struct quipu_error err;
    must(quipu_store_open(large->path, NULL, &large->store, &err), "open", &err);
    must(quipu_engine_open(large->store, NULL, &large->engine, &err), "open the engine", &err);
}

static void close_both(struct large *large)
{
    quipu_engine_close(&large->engine);
    quipu_store_close(&large->store);
}

static void verify(struct large *large)
{
    struct quipu_verify_report report = {0};
    struct quipu_error err;
    must(quipu_verify(large->engine, NULL, &report, &err), "verify", &err);
    if (report.events != large->events) {
        die("verified %" PRIu64 " events of %" PRIu64, report.events, large->events);
    }
}

static enum quipu_status count_event(void *ctx, const struct quipu_event_view *event,
                                     struct quipu_error *err)
{
    uint64_t *count = ctx;
    (void)err;
    *count += 1;
    bench_sink += event->payload.len;
    return QUIPU_OK;
}

static uint64_t scan(struct large *large, const struct quipu_filter *filter)
{
    struct quipu_error err;
    uint64_t count = 0;
    must(quipu_each_event(large->engine, filter, count_event, &count, &err), "scan", &err);
    return count;
}

static void look_up(struct large *large, bool is_by_cid)
{
    struct quipu_error err;
    struct quipu_record record;
    enum quipu_block_kind kind;
    struct quipu_txn *txn = NULL;
    must(quipu_txn_begin_read(large->store, &txn, &err), "read", &err);
    for (size_t i = 0; i < large->kept_len; i++) {
        const struct kept *kept = &large->kept[i];
        must(is_by_cid ? quipu_txn_find_cid(txn, &kept->cid, &record, &kind, &err)
                       : quipu_txn_find_event_id(txn, kept->event_id, &record, &err),
             "look up", &err);
        if (record.position != kept->number + 1) {
            die("event %" PRIu64 " was found at position %" PRIu64, kept->number, record.position);
        }
    }
    quipu_txn_abort(&txn);
}

/* Each of the kept events' aggregates, from first to last event. Returns how many were read. */
static uint64_t read_aggregates(struct large *large)
{
    uint64_t count = 0;
    for (size_t i = 0; i < large->kept_len; i++) {
        char id[24];
        aggregate_of(large, large->kept[i].number, id);
        struct quipu_filter filter = {.aggregate_type = "key", .aggregate_id = id};
        uint64_t found = scan(large, &filter);
        if (found == 0) {
            die("aggregate %s has no event", id);
        }
        count += found;
    }
    return count;
}

static void shuffle(struct large *large)
{
    uint64_t state = 1;
    for (size_t i = large->kept_len; i > 1; i--) {
        size_t other = (size_t)(random_next(&state) % i);
        struct kept kept = large->kept[i - 1];
        large->kept[i - 1] = large->kept[other];
        large->kept[other] = kept;
    }
}

/* ------------------------------------------------------------------ the program */

static uint64_t parse_number(const char *option, const char *text, uint64_t max)
{
    char *end = NULL;
    uint64_t number = text == NULL ? 0 : strtoull(text, &end, 10);
    if (text == NULL || end == text || *end != 0 || number == 0 || number > max) {
        die("%s needs a number from 1 to %" PRIu64, option, max);
    }
    return number;
}

static void parse_options(struct large *large, int argc, char **argv)
{
    *large = (struct large){.events = EVENTS_DEFAULT, .batch = BATCH_DEFAULT, .folder = "/tmp"};
    for (int i = 1; i < argc; i += 2) {
        const char *option = argv[i];
        const char *value = argv[i + 1]; /* NULL behind the last */
        if (strcmp(option, "--events") == 0) {
            large->events = parse_number(option, value, UINT64_C(1000000000));
        } else if (strcmp(option, "--batch") == 0) {
            large->batch = parse_number(option, value, BATCH_MAX);
        } else if (strcmp(option, "--memory-max") == 0) {
            large->memory_max_mib = parse_number(option, value, 1u << 20);
        } else if (strcmp(option, "--folder") == 0 && value != NULL) {
            large->folder = value;
        } else {
            die("usage: bench_large [--events N] [--batch N] [--memory-max MIB] "
                "[--folder FOLDER]");
        }
    }
}

static void run(struct large *large)
{
    double started = now_seconds();
    open_both(large);
    phase_end("made", 1, &started);
    fill(large);
    phase_end("appended", large->events, &started);
    (void)printf("%-22s %10.1f MiB, %.1f ms the longest append of %" PRIu64 " events\n", "store",
                 (double)folder_bytes(large->path) / MIB, large->worst_commit_s * 1e3,
                 large->batch);
    close_both(large);
    phase_end("closed", 1, &started);
    open_both(large);
    phase_end("opened", 1, &started);
    verify(large);
    phase_end("verified", large->events, &started);
    uint64_t scanned = scan(large, NULL);
    if (scanned != large->events) {
        die("scanned %" PRIu64 " events of %" PRIu64, scanned, large->events);
    }
    phase_end("scanned", scanned, &started);
    shuffle(large);
    started = now_seconds();
    look_up(large, true);
    phase_end("looked up by CID", large->kept_len, &started);
    look_up(large, false);
    phase_end("looked up by event_id", large->kept_len, &started);
    uint64_t read = read_aggregates(large);
    phase_end("read by aggregate", read, &started);
    close_both(large);
}

int main(int argc, char **argv)
{
    struct large large;
    pthread_t watcher;
    parse_options(&large, argc, argv);
    char *folder = must_alloc(PATH_BYTES, 1);
    (void)snprintf(folder, PATH_BYTES, "%s/quipu-large-XXXXXX", large.folder);
    if (strlen(large.folder) > PATH_BYTES / 2 || mkdtemp(folder) == NULL) {
        die("%s: cannot make a folder in it", large.folder);
    }
    (void)snprintf(large.path, sizeof large.path, "%s", folder);
    large.kept = must_alloc(KEPT_MAX, sizeof *large.kept);
    atomic_store(&is_watching, true);
    if (pthread_create(&watcher, NULL, watch_memory, NULL) != 0) {
        die("cannot start a thread");
    }
    run(&large);
    atomic_store(&is_watching, false);
    (void)pthread_join(watcher, NULL); /* it is the one that was started */
    folder_remove(large.path);
    free(large.kept);
    free(folder);
    double peak_mib = (double)atomic_load(&peak_kib) / 1024.0;
    if (large.memory_max_mib > 0 && peak_mib > (double)large.memory_max_mib) {
        die("%.1f MiB of memory, allowed were %" PRIu64, peak_mib, large.memory_max_mib);
    }
    return EXIT_SUCCESS;
}

/*
 * bench_flush: from a store to stream and object store and back, beside what a plain libnats
 * program does with the same messages and beside the official client, all taking turns against one
 * nats-server in one run.
 *
 *     bench_flush [--events N] [--rounds N] [--dir DIR] [--json]
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <ftw.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench_flush.h"
#include "quipu/event_json.h"
#include "quipu/jetstream.h"

#define ROUNDS_MAX       31
#define PUT_EVENTS       500
#define LATENCY_EVENTS   400
#define PAYLOAD_BYTES    200
#define AGGREGATE_EVENTS 100
#define BATCH            1000

enum line {
    LINE_BARE,
    LINE_ENVELOPES,
    LINE_FLUSH,
    LINE_FLUSH_ONE, /* all of one aggregate */
    LINE_AGAIN,     /* everything is there */
    LINE_PUT,
    LINE_PUT_ALL,
    LINE_BARE_PULL,
    LINE_PULL,
    LINES
};

static const char *const names[LINES] = {
    [LINE_BARE] = "bare pipeline, three messages",
    [LINE_ENVELOPES] = "bare pipeline, envelope only",
    [LINE_FLUSH] = "quipu flush",
    [LINE_FLUSH_ONE] = "quipu flush, one aggregate",
    [LINE_AGAIN] = "quipu flush, all is there",
    [LINE_PUT] = "official client, put + publish",
    [LINE_PUT_ALL] = "the same, all at once",
    [LINE_BARE_PULL] = "bare pull of 500 + payloads",
    [LINE_PULL] = "quipu pull + verify + ingest",
};

struct bench {
    size_t events;
    size_t rounds;
    bool is_json;
    bool has_peer;
    char folder[256];
    struct bench_server server;
    double rates[LINES][ROUNDS_MAX]; /* events a second */
    size_t samples[LINES];
    double latencies[LATENCY_EVENTS];
};

struct subject {
    char path[300];
    struct quipu_store *store;
    struct quipu_engine *engine;
    struct prepared *prepared;
};

static void must(enum quipu_status status, const struct quipu_error *err, const char *what)
{
    if (status != QUIPU_OK) {
        die("%s: %s: %s", what, quipu_status_name(status), err->message);
    }
}

/* ------------------------------------------------------------------ stores */

static void subject_open(struct subject *subject, const struct bench *bench, const char *name)
{
    struct quipu_error err;
    memset(subject, 0, sizeof *subject);
    (void)snprintf(subject->path, sizeof subject->path, "%s/%s", bench->folder, name);
    must(quipu_store_open(subject->path, NULL, &subject->store, &err), &err, "open store");
    must(quipu_engine_open(subject->store, NULL, &subject->engine, &err), &err, "open engine");
}

static int remove_entry(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
    (void)stat;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void folder_delete(const char *path)
{
    (void)nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void subject_close(struct subject *subject)
{
    if (subject->prepared != NULL) {
        prepared_free(subject->prepared);
    }
    quipu_engine_close(&subject->engine);
    quipu_store_close(&subject->store);
    folder_delete(subject->path);
}

static void event_line(struct quipu_buf *line, size_t number, size_t aggregate)
{
    quipu_buf_reset(line);
    quipu_buf_printf(line,
                     "{\"aggregate_type\":\"key\",\"aggregate_id\":\"k%zu\",\"event_type\":"
                     "\"key.used\",\"payload\":{\"n\":%zu,\"text\":\"",
                     aggregate, number);
    for (size_t i = 0; i < PAYLOAD_BYTES; i++) {
        quipu_buf_append_byte(line, (uint8_t)('a' + (number * 7 + i) % 26));
    }
    quipu_buf_append_text(line, "\"}}");
}

/* `per_aggregate` events of an aggregate, in turns of ten aggregates. */
static void fill(struct subject *subject, size_t count, size_t per_aggregate)
{
    struct quipu_error err;
    struct quipu_buf line = QUIPU_BUF_INIT;
    static struct quipu_event_arena arenas[BATCH];
    static struct quipu_event events[BATCH];
    size_t in_turn = per_aggregate >= count ? 1 : 10;
    for (size_t done = 0; done < count;) {
        size_t batch = count - done < BATCH ? count - done : BATCH;
        for (size_t i = 0; i < batch; i++) {
            size_t n = done + i;
            event_line(&line, n, n / (per_aggregate * in_turn) * in_turn + n % in_turn);
            must(quipu_event_from_json(quipu_buf_slice(&line), &arenas[i], &events[i], &err), &err,
                 "event");
        }
        must(quipu_append_batch(subject->engine, events, batch, NULL, NULL, &err), &err, "append");
        done += batch;
    }
    for (size_t i = 0; i < BATCH; i++) {
        quipu_event_arena_release(&arenas[i]);
        memset(&arenas[i], 0, sizeof arenas[i]);
    }
    quipu_buf_release(&line);
}

/* ------------------------------------------------------------------ the server's side */

static struct quipu_nats *open_nats(const struct bench *bench)
{
    struct quipu_error err;
    struct quipu_nats *nats = NULL;
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    options.url = bench->server.url;
    must(quipu_nats_open(&options, &nats, &err), &err, "connect");
    return nats;
}

/* Stream and bucket made anew, empty. */
static void renew(const struct bench *bench)
{
    natsConnection *connection = NULL;
    jsCtx *js = NULL;
    if (natsConnection_ConnectTo(&connection, bench->server.url) != NATS_OK ||
        natsConnection_JetStream(&js, connection, NULL) != NATS_OK) {
        die("no connection");
    }
    (void)js_DeleteStream(js, BENCH_STREAM, NULL, NULL);
    (void)js_DeleteStream(js, "OBJ_" BENCH_BUCKET, NULL, NULL);
    jsCtx_Destroy(js);
    natsConnection_Destroy(connection);
    struct quipu_error err;
    struct quipu_provision_report report = {0};
    struct quipu_nats *nats = open_nats(bench);
    must(quipu_provision(nats, NULL, &report, &err), &err, "provision");
    quipu_buf_release(&report.drift);
    quipu_nats_close(&nats);
}

static double run_flush(const struct bench *bench, struct subject *subject, uint64_t *published)
{
    struct quipu_error err;
    struct quipu_flush_report report;
    struct quipu_flush_options options = QUIPU_FLUSH_OPTIONS_INIT;
    struct quipu_nats *nats = open_nats(bench);
    options.window = BENCH_WINDOW;
    options.restart = true;
    double began = now_seconds();
    must(quipu_flush(subject->engine, nats, &options, &report, &err), &err, "flush");
    double took = now_seconds() - began;
    quipu_nats_close(&nats);
    *published = report.published;
    return took;
}

static double run_pull(const struct bench *bench)
{
    struct quipu_error err;
    struct quipu_pull_report report;
    struct subject puller;
    struct quipu_nats *nats = open_nats(bench);
    subject_open(&puller, bench, "puller");
    double began = now_seconds();
    must(quipu_pull(puller.engine, nats, NULL, &report, &err), &err, "pull");
    double took = now_seconds() - began;
    if (report.events.added != bench->events) {
        die("pulled %" PRIu64 " events of %zu", report.events.added, bench->events);
    }
    quipu_nats_close(&nats);
    subject_close(&puller);
    return took;
}

/* One event at a time, from its append until the receipt is recorded. */
static void run_latency(struct bench *bench)
{
    struct quipu_error err;
    struct subject subject;
    struct quipu_buf line = QUIPU_BUF_INIT;
    struct quipu_event_arena arena = {0};
    struct quipu_event event;
    renew(bench);
    struct quipu_nats *nats = open_nats(bench);
    subject_open(&subject, bench, "latency");
    for (size_t i = 0; i < LATENCY_EVENTS; i++) {
        event_line(&line, i, i / AGGREGATE_EVENTS);
        must(quipu_event_from_json(quipu_buf_slice(&line), &arena, &event, &err), &err, "event");
        double began = now_seconds();
        must(quipu_append(subject.engine, &event, NULL, &err), &err, "append");
        must(quipu_flush(subject.engine, nats, NULL, NULL, &err), &err, "flush");
        bench->latencies[i] = now_seconds() - began;
    }
    quipu_event_arena_release(&arena);
    quipu_buf_release(&line);
    quipu_nats_close(&nats);
    subject_close(&subject);
}

/* ------------------------------------------------------------------ rounds */

static void note(struct bench *bench, enum line line, size_t events, double seconds)
{
    bench->rates[line][bench->samples[line]++] = (double)events / seconds;
}

static void flush_and_note(struct bench *bench, struct subject *subject, enum line line,
                           uint64_t expected)
{
    uint64_t published = 0;
    note(bench, line, bench->events, run_flush(bench, subject, &published));
    if (published != expected) {
        die("published %" PRIu64 " events of %" PRIu64, published, expected);
    }
}

static void run_round(struct bench *bench, struct subject *many, struct subject *one)
{
    renew(bench);
    note(bench, LINE_BARE, bench->events,
         bare_publish(bench->server.url, many->prepared, BARE_ALL));
    renew(bench);
    flush_and_note(bench, many, LINE_FLUSH, bench->events);
    note(bench, LINE_BARE_PULL, bench->events, bare_pull(bench->server.url, many->prepared));
    note(bench, LINE_PULL, bench->events, run_pull(bench));
    flush_and_note(bench, many, LINE_AGAIN, 0);
    renew(bench);
    flush_and_note(bench, one, LINE_FLUSH_ONE, bench->events);
    renew(bench);
    note(bench, LINE_ENVELOPES, bench->events,
         bare_publish(bench->server.url, many->prepared, BARE_ENVELOPES));
    if (bench->has_peer) {
        renew(bench);
        note(bench, LINE_PUT, PUT_EVENTS, peer_put(PUT_EVENTS, PAYLOAD_BYTES + 20, 330));
        note(bench, LINE_PUT_ALL, PUT_EVENTS, peer_put_all(PUT_EVENTS, PAYLOAD_BYTES + 20, 330));
    }
}

/* ------------------------------------------------------------------ report */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(struct bench *bench, enum line line)
{
    size_t count = bench->samples[line];
    if (count == 0) {
        return 0;
    }
    qsort(bench->rates[line], count, sizeof(double), by_value);
    return bench->rates[line][count / 2];
}

static void say_ratio(const struct bench *bench, const char *name, double value, double bar)
{
    if (bench->is_json) {
        printf("{\"ratio\":\"%s\",\"value\":%.3f,\"bar\":%.2f}\n", name, value, bar);
    } else {
        printf("%-52s %8.2f  bar %.1f  %s\n", name, value, bar, value >= bar ? "met" : "MISSED");
    }
}

static void report_latency(struct bench *bench)
{
    double sum = 0;
    qsort(bench->latencies, LATENCY_EVENTS, sizeof(double), by_value);
    for (size_t i = 0; i < LATENCY_EVENTS; i++) {
        sum += bench->latencies[i];
    }
    double average = sum / LATENCY_EVENTS * 1e3;
    double half = bench->latencies[LATENCY_EVENTS / 2] * 1e3;
    double p99 = bench->latencies[LATENCY_EVENTS * 99 / 100] * 1e3;
    if (bench->is_json) {
        printf("{\"latency_ms\":{\"average\":%.3f,\"median\":%.3f,\"p99\":%.3f}}\n", average, half,
               p99);
    } else {
        printf(
            "\none event, append to receipt: average %.2f ms (goal < 10), median %.2f ms (goal < "
            "3), p99 %.2f ms\n",
            average, half, p99);
    }
}

static void report(struct bench *bench)
{
    double medians[LINES];
    for (int line = 0; line < LINES; line++) {
        medians[line] = median(bench, (enum line)line);
        if (bench->samples[line] == 0) {
            continue;
        }
        if (bench->is_json) {
            printf("{\"path\":\"%s\",\"events_per_second\":%.0f,\"rounds\":%zu}\n", names[line],
                   medians[line], bench->samples[line]);
        } else {
            printf("%-36s %10.0f events/s %8.1f us\n", names[line], medians[line],
                   1e6 / medians[line]);
        }
    }
    if (!bench->is_json) {
        puts("");
    }
    say_ratio(bench, "flush / bare pipeline", medians[LINE_FLUSH] / medians[LINE_BARE], 0.8);
    say_ratio(bench, "flush of one aggregate / bare pipeline",
              medians[LINE_FLUSH_ONE] / medians[LINE_BARE], 0.8);
    if (bench->has_peer) {
        say_ratio(bench, "flush / official put + publish", medians[LINE_FLUSH] / medians[LINE_PUT],
                  10);
    } else {
        puts("left out: the official client (no node, or tests/interop is not installed)");
    }
    say_ratio(bench, "pull + verify + ingest / bare pull",
              medians[LINE_PULL] / medians[LINE_BARE_PULL], 0.7);
    report_latency(bench);
}

static void parse(struct bench *bench, int argc, char **argv)
{
    static const struct option options[] = {{"events", required_argument, NULL, 'e'},
                                            {"rounds", required_argument, NULL, 'r'},
                                            {"dir", required_argument, NULL, 'd'},
                                            {"json", no_argument, NULL, 'j'},
                                            {NULL, 0, NULL, 0}};
    const char *dir = "/tmp";
    for (int c = 0; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'e') {
            bench->events = strtoul(optarg, NULL, 10);
        } else if (c == 'r') {
            bench->rounds = strtoul(optarg, NULL, 10);
        } else if (c == 'd') {
            dir = optarg;
        } else if (c == 'j') {
            bench->is_json = true;
        } else {
            die("usage: bench_flush [--events N] [--rounds 1..%d] [--dir DIR] [--json]",
                ROUNDS_MAX);
        }
    }
    if (bench->events < BATCH || bench->rounds < 1 || bench->rounds > ROUNDS_MAX) {
        die("--events wants at least %d, --rounds 1 to %d", BATCH, ROUNDS_MAX);
    }
    (void)snprintf(bench->folder, sizeof bench->folder, "%s/bench-flush-XXXXXX", dir);
    if (mkdtemp(bench->folder) == NULL) {
        die("no folder below %s", dir);
    }
}

int main(int argc, char **argv)
{
    static struct bench bench = {.events = 20000, .rounds = 5};
    char data[300];
    struct subject many;
    struct subject one;
    parse(&bench, argc, argv);
    (void)snprintf(data, sizeof data, "%s/server", bench.folder);
    server_start(&bench.server, data);
    bench.has_peer = peer_start(bench.server.url);
    subject_open(&many, &bench, "many");
    subject_open(&one, &bench, "one");
    fill(&many, bench.events, AGGREGATE_EVENTS);
    fill(&one, bench.events, bench.events);
    many.prepared = prepared_make(many.engine);
    for (size_t round = 0; round < bench.rounds; round++) {
        run_round(&bench, &many, &one);
    }
    run_latency(&bench);
    report(&bench);
    subject_close(&many);
    subject_close(&one);
    peer_stop();
    server_stop(&bench.server);
    folder_delete(bench.folder);
    nats_Close();
    return 0;
}

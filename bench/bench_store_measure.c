/*
 * Measures: one case after the other, in each the rounds, in each round the peers in turns.
 *
 * A fresh store is made anew for each round. A filled one grows a little with each round, the same
 * for every peer up to what it can append in the time.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_store.h"

#define BATCH_MAX           1000
#define PREFILL_BATCH       PREFILL_GRANULARITY
#define ROUND_EVENTS_MIN    20000
#define ROUND_SHARE         20
#define SCAN_EVENTS_MAX     200000
#define READS_BETWEEN_LOOKS 16
#define VERSION_FROM        91
#define DEDUP_BATCH         10000
#define DEDUP_EVENTS_MAX    100000
#define DEDUP_SHARE         10

const struct bench_case CASES[] = {
    {"append, batch 1", CASE_APPEND, 1, "events/s", false},
    {"append, batch 10", CASE_APPEND, 10, "events/s", false},
    {"append, batch 100", CASE_APPEND, 100, "events/s", false},
    {"append, batch 1000", CASE_APPEND, 1000, "events/s", false},
    {"append, 4 threads", CASE_THREADS, 4, "events/s", false},
    {"append, 16 threads", CASE_THREADS, 16, "events/s", false},
    {"append, 64 threads", CASE_THREADS, 64, "events/s", false},
    {"bytes written, batch 1", CASE_HANDED_OVER, 1, "bytes/event", true},
    {"bytes written, batch 1000", CASE_HANDED_OVER, 1000, "bytes/event", true},
    {"bytes to device, batch 1", CASE_TO_DEVICE, 1, "bytes/event", true},
    {"bytes to device, batch 1000", CASE_TO_DEVICE, 1000, "bytes/event", true},
    {"scan of records", CASE_SCAN, 0, "events/s", false},
    {"replay", CASE_REPLAY, 0, "events/s", false},
    {"replay, re-hashed", CASE_HASHED, 0, "events/s", false},
    {"get by CID", CASE_GET, 0, "gets/s", false},
    {"aggregate of 100", CASE_AGGREGATE, 0, "aggregates/s", false},
    {"aggregate from version 91", CASE_VERSION, 0, "aggregates/s", false},
    {"by event type, 1 in 101", CASE_TYPE, 0, "events/s", false},
    {"by correlation of 10", CASE_CORRELATION, 0, "correlations/s", false},
    {"dedup, random ids, new", CASE_DEDUP_NEW, 0, "events/s", false},
    {"dedup, random ids, known", CASE_DEDUP_KNOWN, 0, "events/s", false},
    {"bytes on disk", CASE_DISK, 0, "bytes/event", true},
    {"open + first get, warm", CASE_OPEN_WARM, 0, "ms", true},
    {"open + first get, cold", CASE_OPEN_COLD, 0, "ms", true},
};
const size_t CASE_COUNT = sizeof CASES / sizeof CASES[0];
_Static_assert(sizeof CASES / sizeof CASES[0] <= CASES_MAX, "results hold every case");

/* A peer's store at the size that is being measured. */
struct place {
    const struct peer *peer;
    char path[4096];
    struct lanes *lanes; /* shared by the peers of one folder */
    struct lanes own_lanes;
    bool is_first; /* of its folder: it fills and deletes it */
    uint64_t size;
    void *store;
    void *session;
    uint64_t random;
    uint64_t deduped; /* events of DEDUP_LANE that were appended a second time */
};

static void place_open(struct place *place)
{
    place->store = place->peer->open(place->path, OPEN_DURABLE);
    place->session = place->peer->session_open(place->store);
}

static void place_close(struct place *place)
{
    if (place->store != NULL) {
        place->peer->session_close(place->session);
        place->peer->close(place->store);
    }
    place->store = NULL;
}

/* An empty store in which one event has been appended, so that keys and files are made. */
static void place_renew(struct place *place)
{
    struct sample sample;
    place_close(place);
    folder_remove(place->path);
    memset(place->lanes, 0, sizeof *place->lanes);
    place_open(place);
    samples_make(place->lanes, 0, &sample, 1);
    place->peer->append(place->session, &sample, 1);
}

static void place_fill(struct place *place)
{
    struct sample *samples = must_alloc(PREFILL_BATCH, sizeof *samples);
    double start = now_seconds();
    void *store = place->peer->open(place->path, OPEN_PREFILL);
    void *session = place->peer->session_open(store);
    for (uint64_t done = 0; done < place->size; done += PREFILL_BATCH) {
        samples_make(place->lanes, 0, samples, PREFILL_BATCH);
        place->peer->append(session, samples, PREFILL_BATCH);
    }
    place->peer->session_close(session);
    place->peer->close(store);
    free(samples);
    fprintf(stderr, "filled %s with %llu events in %.1f s\n", place->peer->name,
            (unsigned long long)place->size, now_seconds() - start);
}

/* ------------------------------------------------------------------ appending */

static uint64_t round_events(const struct place *place)
{
    return ROUND_EVENTS_MIN + place->size / ROUND_SHARE;
}

/* Events a second, or bytes written for each. Making the events is not counted. */
static double measure_append(struct place *place, const struct bench_case *what, double seconds)
{
    static struct sample samples[BATCH_MAX];
    double spent = 0;
    uint64_t events = 0;
    struct io_bytes before = io_bytes_now();
    while (spent < seconds && events < round_events(place)) {
        samples_make(place->lanes, 0, samples, what->count);
        double start = now_seconds();
        place->peer->append(place->session, samples, what->count);
        spent += now_seconds() - start;
        events += what->count;
    }
    struct io_bytes after = io_bytes_now();
    if (what->kind == CASE_HANDED_OVER) {
        return (double)(after.handed_over - before.handed_over) / (double)events;
    }
    if (what->kind == CASE_TO_DEVICE) {
        return (double)(after.to_device - before.to_device) / (double)events;
    }
    return (double)events / spent;
}

struct writer {
    struct place *place;
    pthread_barrier_t *start;
    pthread_t thread;
    unsigned lane;
    double seconds;
    double deadline;
    uint64_t in_time;
};

static void *writer_run(void *ctx)
{
    struct writer *writer = ctx;
    const struct peer *peer = writer->place->peer;
    void *session = peer->session_open(writer->place->store);
    struct sample sample;
    pthread_barrier_wait(writer->start);
    double now = now_seconds();
    writer->deadline = now + writer->seconds;
    while (now < writer->deadline) {
        samples_make(writer->place->lanes, writer->lane, &sample, 1);
        peer->append(session, &sample, 1);
        now = now_seconds();
        writer->in_time += now <= writer->deadline ? 1 : 0;
    }
    peer->session_close(session);
    return NULL;
}

/* Appends that returned before the time was over, all threads together. */
static double measure_threads(struct place *place, unsigned count, double seconds)
{
    struct writer writers[LANES_MAX - 1];
    pthread_barrier_t start;
    uint64_t events = 0;
    (void)pthread_barrier_init(&start, NULL, count);
    for (unsigned i = 0; i < count; i++) {
        writers[i] =
            (struct writer){.place = place, .start = &start, .lane = i + 1, .seconds = seconds};
        if (pthread_create(&writers[i].thread, NULL, writer_run, &writers[i]) != 0) {
            die("cannot start thread %u", i);
        }
    }
    for (unsigned i = 0; i < count; i++) {
        pthread_join(writers[i].thread, NULL);
        events += writers[i].in_time;
    }
    pthread_barrier_destroy(&start);
    return (double)events / seconds;
}

/* ------------------------------------------------------------------ reading */

static double measure_scan(struct place *place, enum scan_kind kind)
{
    uint64_t count = place->size < SCAN_EVENTS_MAX ? place->size : SCAN_EVENTS_MAX;
    double start = now_seconds();
    uint64_t seen = place->peer->scan(place->session, kind, count);
    if (seen != count) {
        die("%s: a scan saw %llu events of %llu", place->peer->name, (unsigned long long)seen,
            (unsigned long long)count);
    }
    return (double)count / (now_seconds() - start);
}

static void random_digest(struct place *place, uint8_t out[DIGEST_BYTES])
{
    uint64_t number = random_next(&place->random) % place->size;
    if (place->peer->digest != NULL) {
        place->peer->digest(place->session, number, out);
    } else {
        sample_digest(number, out);
    }
}

static double measure_get(struct place *place, double seconds)
{
    uint8_t digests[READS_BETWEEN_LOOKS][DIGEST_BYTES];
    double spent = 0;
    uint64_t reads = 0;
    while (spent < seconds) {
        for (size_t i = 0; i < READS_BETWEEN_LOOKS; i++) {
            random_digest(place, digests[i]);
        }
        double start = now_seconds();
        for (size_t i = 0; i < READS_BETWEEN_LOOKS; i++) {
            place->peer->get(place->session, digests[i]);
        }
        spent += now_seconds() - start;
        reads += READS_BETWEEN_LOOKS;
    }
    return (double)reads / spent;
}

static double measure_aggregate(struct place *place, double seconds)
{
    double spent = 0;
    uint64_t reads = 0;
    while (spent < seconds) {
        char id[AGGREGATE_ID_BYTES];
        sample_aggregate_id(random_next(&place->random) % (place->size / AGGREGATE_EVENTS), id);
        double start = now_seconds();
        uint64_t events = place->peer->aggregate(place->session, id);
        spent += now_seconds() - start;
        if (events != AGGREGATE_EVENTS) {
            die("%s: %s has %llu events", place->peer->name, id, (unsigned long long)events);
        }
        reads++;
    }
    return (double)reads / spent;
}

static double measure_version(struct place *place, double seconds)
{
    double spent = 0;
    uint64_t reads = 0;
    while (spent < seconds) {
        char id[AGGREGATE_ID_BYTES];
        sample_aggregate_id(random_next(&place->random) % (place->size / AGGREGATE_EVENTS), id);
        double start = now_seconds();
        uint64_t events = place->peer->from_version(place->session, id, VERSION_FROM);
        spent += now_seconds() - start;
        if (events != AGGREGATE_EVENTS - VERSION_FROM + 1) {
            die("%s: %s has %llu events from version %d on", place->peer->name, id,
                (unsigned long long)events, VERSION_FROM);
        }
        reads++;
    }
    return (double)reads / spent;
}

static double measure_type(struct place *place)
{
    uint64_t wanted = (place->size + RARE_EVERY - 1) / RARE_EVERY;
    double start = now_seconds();
    uint64_t seen = place->peer->by_type(place->session, TYPE_RARE);
    if (seen != wanted) {
        die("%s: %llu events of the type, not %llu", place->peer->name, (unsigned long long)seen,
            (unsigned long long)wanted);
    }
    return (double)seen / (now_seconds() - start);
}

static double measure_correlation(struct place *place, double seconds)
{
    double spent = 0;
    uint64_t reads = 0;
    while (spent < seconds) {
        uint8_t id[EVENT_ID_BYTES];
        sample_correlation_id(random_next(&place->random) % place->size, id);
        double start = now_seconds();
        uint64_t events = place->peer->by_correlation(place->session, id);
        spent += now_seconds() - start;
        if (events != CORRELATION_EVENTS) {
            die("%s: a correlation has %llu events", place->peer->name, (unsigned long long)events);
        }
        reads++;
    }
    return (double)reads / spent;
}

/* Events a second of a delivery with random event_ids: a first one, or the oldest one that has not
 * been repeated yet, again. */
static double measure_dedup(struct place *place, bool is_known)
{
    if (is_known && place->deduped == place->lanes->next[DEDUP_LANE]) {
        (void)measure_dedup(place, false); /* there is nothing yet to be repeated */
    }
    struct sample *samples = must_alloc(DEDUP_BATCH, sizeof *samples);
    struct lanes again = {{0}};
    struct lanes *lanes = is_known ? &again : place->lanes;
    uint64_t share = place->size / DEDUP_SHARE;
    uint64_t count = share < DEDUP_EVENTS_MAX ? share : DEDUP_EVENTS_MAX;
    double spent = 0;
    again.next[DEDUP_LANE] = place->deduped;
    for (uint64_t done = 0; done < count; done += DEDUP_BATCH) {
        samples_make(lanes, DEDUP_LANE, samples, DEDUP_BATCH);
        double start = now_seconds();
        uint64_t appended = place->peer->append_new(place->session, samples, DEDUP_BATCH);
        spent += now_seconds() - start;
        if (appended != (is_known ? 0 : DEDUP_BATCH)) {
            die("%s: %llu events of a batch were new", place->peer->name,
                (unsigned long long)appended);
        }
    }
    place->deduped = again.next[DEDUP_LANE];
    free(samples);
    return (double)count / spent;
}

/* Milliseconds to open and find one event. The digest is looked up in an opening before. */
static double measure_open(struct place *place, bool is_cold)
{
    uint8_t digest[DIGEST_BYTES];
    place_open(place);
    random_digest(place, digest);
    place_close(place);
    if (is_cold) {
        folder_evict(place->path);
    }
    double start = now_seconds();
    place_open(place);
    place->peer->get(place->session, digest);
    double spent = now_seconds() - start;
    place_close(place);
    return spent * 1e3;
}

/* ------------------------------------------------------------------ the order of things */

static bool case_applies(const struct plan *plan, const struct bench_case *what,
                         const struct place *place)
{
    bool is_append = what->kind == CASE_APPEND || what->kind == CASE_THREADS ||
                     what->kind == CASE_HANDED_OVER || what->kind == CASE_TO_DEVICE;
    bool is_dedup = what->kind == CASE_DEDUP_NEW || what->kind == CASE_DEDUP_KNOWN;
    const struct peer *peer = place->peer;
    bool can = is_append || is_dedup ? !peer->reads_only : !peer->appends_only;
    can = can && (!is_dedup || peer->append_new != NULL) &&
          (what->kind != CASE_VERSION || peer->from_version != NULL) &&
          (what->kind != CASE_TYPE || peer->by_type != NULL) &&
          (what->kind != CASE_CORRELATION || peer->by_correlation != NULL);
    return can && (plan->only == NULL || strstr(what->name, plan->only) != NULL) &&
           (is_append || place->size > 0);
}

static double measure_once(const struct plan *plan, struct place *place,
                           const struct bench_case *what)
{
    switch (what->kind) {
    case CASE_APPEND:
    case CASE_HANDED_OVER:
    case CASE_TO_DEVICE:
        return measure_append(place, what, plan->seconds);
    case CASE_THREADS:
        return measure_threads(place, what->count, plan->seconds);
    case CASE_SCAN:
        return measure_scan(place, SCAN_RECORDS);
    case CASE_REPLAY:
        return measure_scan(place, SCAN_REPLAY);
    case CASE_HASHED:
        return measure_scan(place, SCAN_HASHED);
    case CASE_GET:
        return measure_get(place, plan->seconds);
    case CASE_AGGREGATE:
        return measure_aggregate(place, plan->seconds);
    case CASE_VERSION:
        return measure_version(place, plan->seconds);
    case CASE_TYPE:
        return measure_type(place);
    case CASE_CORRELATION:
        return measure_correlation(place, plan->seconds);
    case CASE_DEDUP_NEW:
        return measure_dedup(place, false);
    case CASE_DEDUP_KNOWN:
        return measure_dedup(place, true);
    case CASE_OPEN_WARM:
        return measure_open(place, false);
    case CASE_OPEN_COLD:
        return measure_open(place, true);
    case CASE_DISK:
        return (double)folder_bytes(place->path) / (double)place->size;
    }
    return 0;
}

static int compare_doubles(const void *a, const void *b)
{
    const double *x = a;
    const double *y = b;
    return (*x > *y) - (*x < *y);
}

static void measure_case(const struct plan *plan, size_t size, size_t what, struct place *places,
                         struct results *results)
{
    double values[PEERS_MAX][ROUNDS_MAX] = {{0}};
    bool is_fresh = plan->sizes[size] == 0;
    for (unsigned round = 0; round < plan->rounds; round++) {
        for (size_t p = 0; p < plan->peer_count; p++) {
            if (!case_applies(plan, &CASES[what], &places[p])) {
                continue;
            }
            if (is_fresh) {
                place_renew(&places[p]);
            }
            values[p][round] = measure_once(plan, &places[p], &CASES[what]);
            if (is_fresh) {
                place_close(&places[p]);
            }
        }
    }
    for (size_t p = 0; p < plan->peer_count; p++) {
        qsort(values[p], plan->rounds, sizeof values[p][0], compare_doubles);
        results->median[size][what][p] = values[p][plan->rounds / 2];
        results->low[size][what][p] = values[p][0];
        results->high[size][what][p] = values[p][plan->rounds - 1];
    }
}

static void measure_kinds(const struct plan *plan, size_t size, struct place *places,
                          enum case_kind first, enum case_kind last, struct results *results)
{
    for (size_t what = 0; what < CASE_COUNT; what++) {
        if (CASES[what].kind >= first && CASES[what].kind <= last) {
            measure_case(plan, size, what, places, results);
        }
    }
}

/* As the stores were filled: their size and reading; then the appends; last what makes the page
 * cache forget them. */
static void measure_cases(const struct plan *plan, size_t size, struct place *places,
                          struct results *results)
{
    measure_kinds(plan, size, places, CASE_DISK, CASE_OPEN_WARM, results);
    for (size_t p = 0; p < plan->peer_count && plan->sizes[size] > 0; p++) {
        place_open(&places[p]);
    }
    measure_kinds(plan, size, places, CASE_SCAN, CASE_CORRELATION, results);
    measure_kinds(plan, size, places, CASE_APPEND, CASE_DEDUP_KNOWN, results);
    for (size_t p = 0; p < plan->peer_count; p++) {
        place_close(&places[p]);
    }
    measure_kinds(plan, size, places, CASE_OPEN_COLD, CASE_OPEN_COLD, results);
}

static void places_init(const struct plan *plan, size_t size, struct place *places)
{
    for (size_t p = 0; p < plan->peer_count; p++) {
        struct place *place = &places[p];
        place->peer = plan->peers[p];
        place->size = plan->sizes[size];
        place->lanes = &place->own_lanes;
        place->is_first = true;
        place->random = p;
        (void)snprintf(place->path, sizeof place->path, "%s/%s", plan->folder, place->peer->folder);
        for (size_t before = 0; before < p; before++) {
            if (strcmp(places[before].peer->folder, place->peer->folder) == 0) {
                place->lanes = places[before].lanes;
                place->is_first = false;
                break;
            }
        }
        if (place->is_first && place->size > 0) {
            place_fill(place);
        }
    }
}

void measure_size(const struct plan *plan, size_t size, struct results *results)
{
    struct place *places = must_alloc(plan->peer_count, sizeof *places);
    places_init(plan, size, places);
    measure_cases(plan, size, places, results);
    for (size_t p = 0; p < plan->peer_count; p++) {
        if (places[p].is_first) {
            folder_remove(places[p].path);
        }
    }
    free(places);
}

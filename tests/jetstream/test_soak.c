/*
 * Fault schedules by seed. In each, one store writes and exports a bundle, and two machines import
 * it. The first store and the second machine flush at once, the store now and then also by a second
 * process, through a network that spoils connections and to a server that is killed, paused and
 * restarted meanwhile, with pauses beyond its duplicate window. When the window is over for good,
 * the third machine flushes the same bundle too. Afterwards the stream holds every event exactly
 * once and every payload whole.
 *
 * Every third schedule flushes with dedup = "window", to a stream whose window is longer than any
 * fault, as that mode wants. In some of them the third machine's flush is the first to begin: it
 * has asked what is there, and stands still until the others have published everything and the
 * server has forgotten it. What it was told is wrong by then. Meanwhile such a schedule is parked,
 * and the next ones run.
 *
 * Each kind of fault is counted where it really struck a flush that was under way; from
 * TALLY_SCHEDULES schedules on, every kind must have.
 *
 * QUIPU_SOAK_SCHEDULES (10) and QUIPU_SOAK_SEED (1) choose how many and which; scripts/soak runs
 * hundreds.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "js_kit.h"
#include "quipu/bundle.h"
#include "tcp_proxy.h"

#define SCHEDULES_DEFAULT   10
#define TALLY_SCHEDULES     40
#define DUPLICATE_WINDOW_US 100000
/* Of the stream, where the flushes go by it: the least that they take. */
#define LONG_WINDOW_US 30000000
/* Then the server has forgotten its ids: it looks for those to forget when they are due. */
#define FORGOTTEN_US (LONG_WINDOW_US + 1000000)
#define PARKED_MAX   3
/* Longer than a flush stands still: a server that lets itself be waited for must not end it. */
#define PATIENCE_US        ((int64_t)300 * 1000000)
#define ATTEMPTS_MAX       400
#define NS_PER_MS          1000000
#define REQUEST_TIMEOUT_US 200000

/* ------------------------------------------------------------------ what really happened */

enum tally {
    TALLY_KILLED,
    TALLY_PAUSED,
    TALLY_PAUSED_LONG,
    TALLY_WINDOW_OVER,
    TALLY_CLOSED,
    TALLY_RESET,
    TALLY_HALF_CLOSED,
    TALLY_DEAF,
    TALLY_LOST_ANSWERS,
    TALLY_DAWDLED,
    TALLY_BLACKED,
    TALLY_RESENT,
    TALLY_RECONNECTED,
    TALLY_DUPLICATES,
    TALLY_PROCESSES,
    TALLY_BUSY,
    TALLY_BUNDLES,
    TALLY_LATE,
    TALLY_BY_WINDOW,
    TALLY_STOOD_STILL,
    TALLY_ASKED_ANEW,
    TALLY_FOUND,
    TALLIES,
};

static const char *const tally_names[TALLIES] = {
    [TALLY_KILLED] = "server killed (-9) and restarted in mid-flush",
    [TALLY_PAUSED] = "server paused (SIGSTOP) in mid-flush",
    [TALLY_PAUSED_LONG] = "  of these, longer than an answer may take",
    [TALLY_WINDOW_OVER] = "faults in mid-flush that outlasted the duplicate window",
    [TALLY_CLOSED] = "connections closed after some bytes",
    [TALLY_RESET] = "connections reset after some bytes",
    [TALLY_HALF_CLOSED] = "connections half closed: what is sent still arrives",
    [TALLY_DEAF] = "connections gone deaf: stored, and no ack comes back",
    [TALLY_LOST_ANSWERS] = "pieces of answers lost between commit and ack",
    [TALLY_DAWDLED] = "connections delayed",
    [TALLY_BLACKED] = "connections that vanished without a word",
    [TALLY_RESENT] = "messages that were sent again",
    [TALLY_RECONNECTED] = "reconnects by a flush in its midst",
    [TALLY_DUPLICATES] = "events found stored already, and ours",
    [TALLY_PROCESSES] = "second processes at the same store",
    [TALLY_BUSY] = "flushes that found another one at work",
    [TALLY_BUNDLES] = "imports of one bundle on two machines",
    [TALLY_LATE] = "events offered again beyond the duplicate window",
    [TALLY_BY_WINDOW] = "schedules with dedup = \"window\"",
    [TALLY_STOOD_STILL] = "  of these, a flush that stood still beyond the duplicate window",
    [TALLY_ASKED_ANEW] = "  messages that it sent again",
    [TALLY_FOUND] = "  events that it found published by others and forgotten",
};

static uint64_t tallies[TALLIES];
static pthread_mutex_t tallies_mutex = PTHREAD_MUTEX_INITIALIZER;

static void count(enum tally what, uint64_t more)
{
    (void)pthread_mutex_lock(&tallies_mutex);
    tallies[what] += more;
    (void)pthread_mutex_unlock(&tallies_mutex);
}

static void show_tallies(uint64_t schedules)
{
    for (int i = 0; i < TALLIES; i++) {
        printf("%10" PRIu64 "  %s\n", tallies[i], tally_names[i]);
        cr_assert(schedules < TALLY_SCHEDULES || tallies[i] > 0,
                  "in %" PRIu64 " schedules never: %s", schedules, tally_names[i]);
    }
}

/* ------------------------------------------------------------------ a schedule */

struct flushing {
    struct js_store *store;
    const char *url;
    enum quipu_dedup dedup;
    pthread_t thread;
    enum quipu_status status;
    struct quipu_error err;
    int attempts;
    uint64_t published;
    uint64_t duplicates;
    uint64_t resent;
    atomic_bool is_done;
    /* Rounds of its loop after which it stands still, once; 0: never. */
    uint64_t stands_after;
    atomic_bool is_standing;
    atomic_bool may_go_on;
};

struct schedule {
    bool is_parked; /* from its begin on: it will be */
    int64_t published_us;
    uint64_t faults;
    uint64_t seed;
    uint64_t random;
    struct nats_fixture server;
    struct tcp_proxy proxy;
    struct js_store first;
    struct js_store second; /* imported the first one's bundle */
    struct js_store third;  /* imported the same bundle */
    uint64_t events;
    enum quipu_dedup dedup; /* of everybody */
    int64_t window_us;      /* of the stream */
    struct flushing first_flush;
    struct flushing second_flush;
    struct flushing third_flush; /* where it stands still */
    pid_t child;                 /* flushes the first store as well; 0: none */
};

/* Splitmix64: seeds that lie side by side draw numbers that have nothing to do with each other. */
static uint64_t draw(struct schedule *schedule, uint64_t below)
{
    uint64_t mixed = schedule->random += 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
    return (mixed ^ mixed >> 31) % below;
}

static void wait_ms(uint64_t ms)
{
    struct timespec pause = {(time_t)(ms / 1000), (long)(ms % 1000) * NS_PER_MS};
    (void)nanosleep(&pause, NULL);
}

/* ------------------------------------------------------------------ flushing */

/* Statuses that a fault may give; any other is a defect. */
static bool is_excused(enum quipu_status status)
{
    return status == QUIPU_OFFLINE || status == QUIPU_TIMEOUT || status == QUIPU_BUSY ||
           status == QUIPU_SERVER;
}

/* Called in each round of the flush's loop, on its thread: messages are under way, and answers may
 * have come that it has not seen yet. */
static bool stand_still(void *ctx)
{
    struct flushing *flushing = ctx;
    if (flushing->stands_after > 0 && --flushing->stands_after == 0) {
        atomic_store(&flushing->is_standing, true);
        while (!atomic_load(&flushing->may_go_on)) {
            wait_ms(5);
        }
    }
    return false;
}

static enum quipu_status flush_once(struct flushing *flushing)
{
    struct quipu_nats *nats = NULL;
    struct quipu_flush_report report;
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    struct quipu_flush_options flush = QUIPU_FLUSH_OPTIONS_INIT;
    options.url = flushing->url;
    options.connect_timeout_us = 500000;
    options.request_timeout_us = REQUEST_TIMEOUT_US;
    flush.give_up_us = 2000000;
    flush.window = 64;
    flush.dedup = flushing->dedup;
    if (flushing->stands_after > 0) {
        flush.give_up_us = PATIENCE_US;
        flush.should_stop = stand_still;
        flush.ctx = flushing;
    }
    enum quipu_status status = quipu_nats_open(&options, &nats, &flushing->err);
    if (status == QUIPU_OK) {
        status = quipu_flush(flushing->store->engine, nats, &flush, &report, &flushing->err);
        flushing->published += report.published;
        flushing->duplicates += report.duplicates;
        flushing->resent += report.resent;
        count(TALLY_RESENT, report.resent);
        count(TALLY_RECONNECTED, report.reconnects);
        count(TALLY_DUPLICATES, report.duplicates);
        count(TALLY_BUSY, status == QUIPU_BUSY);
    }
    quipu_nats_close(&nats);
    return status;
}

static void *flush_until_done(void *arg)
{
    struct flushing *flushing = arg;
    do {
        flushing->status = flush_once(flushing);
        flushing->attempts++;
        if (is_excused(flushing->status)) {
            wait_ms(5);
        }
    } while (is_excused(flushing->status) && flushing->attempts < ATTEMPTS_MAX);
    atomic_store(&flushing->is_done, true);
    return NULL;
}

static void flushing_start(struct flushing *flushing, struct js_store *store, const char *url,
                           enum quipu_dedup dedup)
{
    flushing->store = store;
    flushing->url = url;
    flushing->dedup = dedup;
    cr_assert_eq(pthread_create(&flushing->thread, NULL, flush_until_done, flushing), 0);
}

static void flushing_end(struct flushing *flushing, const char *who, uint64_t seed)
{
    (void)pthread_join(flushing->thread, NULL);
    cr_assert_eq(flushing->status, QUIPU_OK, "seed %" PRIu64 ", %s, after %d attempts: %s: %s",
                 seed, who, flushing->attempts, quipu_status_name(flushing->status),
                 flushing->status == QUIPU_OK ? "" : flushing->err.message);
    cr_assert_eq(js_store_outbox(flushing->store).dead, 0, "seed %" PRIu64 ", %s: a dead letter",
                 seed, who);
}

/* A second process at the same store: it may flush, or find it busy, or the server away. */
static void child_end(struct schedule *schedule)
{
    if (schedule->child == 0) {
        return;
    }
    int state = js_child_wait(schedule->child);
    cr_assert(WIFEXITED(state), "the second process died");
    int code = WEXITSTATUS(state);
    count(TALLY_PROCESSES, 1);
    count(TALLY_BUSY, code == QUIPU_BUSY);
    cr_assert(code == QUIPU_OK || is_excused((enum quipu_status)code),
              "seed %" PRIu64 ": the second process ended with %s", schedule->seed,
              quipu_status_name((enum quipu_status)code));
}

/* ------------------------------------------------------------------ faults */

enum fault { FAULT_KILL, FAULT_PAUSE, FAULT_NETWORK, FAULT_SILENCE, FAULT_WAIT, FAULTS };

/* Is there still a flush for a fault to strike? */
static bool is_flushing(struct schedule *schedule)
{
    return !atomic_load(&schedule->first_flush.is_done) ||
           !atomic_load(&schedule->second_flush.is_done);
}

/* Counts a fault that struck, once it is over, and the time that it took. */
static void strike(struct schedule *schedule, enum fault fault, uint64_t ms)
{
    if (!is_flushing(schedule)) {
        return;
    }
    count(TALLY_KILLED, fault == FAULT_KILL);
    count(TALLY_PAUSED, fault == FAULT_PAUSE);
    count(TALLY_PAUSED_LONG, fault == FAULT_PAUSE && ms * 1000 > REQUEST_TIMEOUT_US);
    count(TALLY_WINDOW_OVER, ms * 1000 > DUPLICATE_WINDOW_US);
}

static void inflict(struct schedule *schedule, enum fault fault)
{
    uint64_t ms = 0;
    switch (fault) {
    case FAULT_KILL:
        ms = draw(schedule, 2) * 150; /* now and then beyond the duplicate window */
        nats_fixture_kill(&schedule->server);
        strike(schedule, fault, ms);
        wait_ms(ms);
        nats_fixture_restart(&schedule->server);
        return;
    case FAULT_PAUSE:
        ms = 50 + draw(schedule, 500);
        nats_fixture_pause(&schedule->server);
        strike(schedule, fault, ms);
        wait_ms(ms);
        nats_fixture_resume(&schedule->server);
        return;
    case FAULT_NETWORK:
        tcp_proxy_trouble(&schedule->proxy, schedule->random, 1 + (int)draw(schedule, 3), 80000);
        return;
    case FAULT_SILENCE:
        tcp_proxy_blacken(&schedule->proxy);
        return;
    case FAULT_WAIT:
    case FAULTS:
        break;
    }
    ms = DUPLICATE_WINDOW_US / 1000 + draw(schedule, 100);
    wait_ms(ms);
    strike(schedule, FAULT_WAIT, ms);
}

static void import(struct js_store *into, const char *bundle)
{
    struct quipu_error err;
    enum quipu_status status = quipu_import(into->engine, bundle, NULL, NULL, &err);
    cr_assert_eq(status, QUIPU_OK, "%s", status == QUIPU_OK ? "" : err.message);
}

/* One bundle of all events, imported on two machines. */
static void carry(struct schedule *schedule)
{
    struct quipu_error err;
    char bundle[2 * TEMP_DIR_BYTES];
    temp_dir_join(&schedule->first.dir, "events.car", bundle);
    enum quipu_status status = quipu_export(schedule->first.engine, bundle, NULL, NULL, &err);
    cr_assert_eq(status, QUIPU_OK, "%s", status == QUIPU_OK ? "" : err.message);
    import(&schedule->second, bundle);
    import(&schedule->third, bundle);
    count(TALLY_BUNDLES, 2);
}

static void schedule_prepare(struct schedule *schedule)
{
    nats_fixture_start(&schedule->server, "max_payload: 64KB");
    tcp_proxy_start(&schedule->proxy, schedule->server.port);
    js_store_open(&schedule->first);
    js_store_open(&schedule->second);
    js_store_open(&schedule->third);
    schedule->events = 300 + draw(schedule, 900);
    enum js_payloads payloads = draw(schedule, 4) == 0 ? JS_PAYLOADS_SHARED : JS_PAYLOADS_UNIQUE;
    js_store_fill(&schedule->first, schedule->events, 20 + draw(schedule, 900), payloads);
    carry(schedule);
    struct quipu_nats *nats = js_connect(&schedule->server);
    js_provision(nats, schedule->window_us);
    quipu_nats_close(&nats);
}

/* What the server has, it has in the stream: it remembers no id any more, or is asked first. */
static void flush_late(struct schedule *schedule)
{
    bool is_asked = schedule->dedup == QUIPU_DEDUP_WINDOW;
    wait_ms(is_asked ? 0 : DUPLICATE_WINDOW_US * 2 / 1000);
    struct quipu_nats *nats = js_connect(&schedule->server);
    struct quipu_error err;
    struct quipu_flush_report report;
    struct quipu_flush_options options = QUIPU_FLUSH_OPTIONS_INIT;
    options.dedup = schedule->dedup;
    enum quipu_status status = quipu_flush(schedule->third.engine, nats, &options, &report, &err);
    cr_assert_eq(status, QUIPU_OK, "seed %" PRIu64 ": %s", schedule->seed,
                 status == QUIPU_OK ? "" : err.message);
    cr_assert_eq(report.published, 0, "seed %" PRIu64 ": published again: %" PRIu64, schedule->seed,
                 report.published);
    cr_assert_eq(report.duplicates, schedule->events);
    count(TALLY_LATE, is_asked ? 0 : report.duplicates);
    quipu_nats_close(&nats);
}

static void count_network(struct schedule *schedule)
{
    struct tcp_tally tally = tcp_proxy_tally(&schedule->proxy);
    count(TALLY_CLOSED, tally.began[TCP_CLOSES]);
    count(TALLY_RESET, tally.began[TCP_RESETS]);
    count(TALLY_HALF_CLOSED, tally.began[TCP_HALF_CLOSES]);
    count(TALLY_DEAF, tally.began[TCP_IS_DEAF]);
    count(TALLY_DAWDLED, tally.began[TCP_DAWDLES]);
    count(TALLY_BLACKED, tally.blacked);
    count(TALLY_LOST_ANSWERS, tally.lost_answers);
}

static int64_t monotonic_us(void)
{
    struct timespec now = {0, 0};
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Has the server forgotten the ids of all that was published? */
static bool is_forgotten(const struct schedule *schedule)
{
    return monotonic_us() - schedule->published_us > FORGOTTEN_US;
}

/* The third machine's flush goes on: the server has forgotten all that the others have published
 * while it stood still, and it knows nothing of that. */
static void go_on(struct schedule *schedule)
{
    struct flushing *flushing = &schedule->third_flush;
    atomic_store(&flushing->may_go_on, true);
    flushing_end(flushing, "the flush that stood still", schedule->seed);
    count(TALLY_STOOD_STILL, atomic_load(&flushing->is_standing));
    count(TALLY_ASKED_ANEW, flushing->resent);
    count(TALLY_FOUND, flushing->duplicates);
}

/* Everything is in the stream, once; nobody has anything left to say. */
static void schedule_check(struct schedule *schedule)
{
    struct js_store *stores[] = {&schedule->first, &schedule->second, &schedule->third};
    if (schedule->third_flush.store != NULL) {
        go_on(schedule);
    } else {
        flush_late(schedule);
    }
    for (size_t i = 0; i < sizeof stores / sizeof stores[0]; i++) {
        js_expect_all_published(&schedule->server, stores[i]);
        cr_assert_eq(js_store_outbox(stores[i]).pending, 0);
    }
    cr_assert_eq(js_stream_messages(&schedule->server, QUIPU_STREAM_DEFAULT), schedule->events);
}

static void schedule_end(struct schedule *schedule)
{
    schedule_check(schedule);
    count_network(schedule);
    printf("seed %" PRIu64 ": %" PRIu64 " events, %" PRIu64 " faults, %d connections spoilt, %d "
           "and %d flushes, published %" PRIu64 " and %" PRIu64 "%s\n",
           schedule->seed, schedule->events, schedule->faults, tcp_proxy_cuts(&schedule->proxy),
           schedule->first_flush.attempts, schedule->second_flush.attempts,
           schedule->first_flush.published, schedule->second_flush.published,
           schedule->is_parked ? ", and one stood still" : "");
    (void)fflush(stdout);
    js_store_release(&schedule->first);
    js_store_release(&schedule->second);
    js_store_release(&schedule->third);
    tcp_proxy_stop(&schedule->proxy);
    nats_fixture_stop(&schedule->server);
    schedule->is_parked = false;
}

/* The third machine's flush asks what is there, before anything is, and stands still. */
static void third_stands_still(struct schedule *schedule)
{
    struct flushing *flushing = &schedule->third_flush;
    flushing->stands_after = 2 + draw(schedule, 4);
    flushing_start(flushing, &schedule->third, schedule->server.url, schedule->dedup);
    while (!atomic_load(&flushing->is_standing) && !atomic_load(&flushing->is_done)) {
        wait_ms(1);
    }
}

/* Until everything is published by the first two. */
static void schedule_run(struct schedule *schedule)
{
    schedule_prepare(schedule);
    if (schedule->is_parked) {
        third_stands_still(schedule);
    }
    if (draw(schedule, 2) == 0) {
        tcp_proxy_trouble(&schedule->proxy, schedule->seed, 2, 60000);
    }

    flushing_start(&schedule->first_flush, &schedule->first, schedule->proxy.url, schedule->dedup);
    bool is_second_direct = draw(schedule, 2) == 0;
    flushing_start(&schedule->second_flush, &schedule->second,
                   is_second_direct ? schedule->server.url : schedule->proxy.url, schedule->dedup);
    if (draw(schedule, 2) == 0) {
        const char *verb = schedule->dedup == QUIPU_DEDUP_WINDOW ? "window" : NULL;
        schedule->child = js_child_start(&schedule->first, schedule->server.url, verb, NULL);
    }
    schedule->faults = 1 + draw(schedule, 4);
    for (uint64_t i = 0; i < schedule->faults; i++) {
        wait_ms(draw(schedule, 60));
        inflict(schedule, (enum fault)draw(schedule, FAULTS));
    }
    tcp_proxy_cut(&schedule->proxy, schedule->seed, 0, 1); /* from now on the network is kind */
    flushing_end(&schedule->first_flush, "the first store", schedule->seed);
    flushing_end(&schedule->second_flush, "the second machine", schedule->seed);
    child_end(schedule);
    schedule->published_us = monotonic_us();
}

/* ------------------------------------------------------------------ all of them */

static struct schedule schedules[PARKED_MAX + 1];

static struct schedule *schedule_new(uint64_t seed, size_t parked_max)
{
    struct schedule *schedule = NULL;
    size_t parked = 0;
    for (size_t i = 0; i < PARKED_MAX + 1; i++) {
        parked += schedules[i].is_parked;
        schedule = schedules[i].is_parked ? schedule : &schedules[i];
    }
    cr_assert_not_null(schedule);
    memset(schedule, 0, sizeof *schedule);
    schedule->seed = seed;
    schedule->random = seed;
    bool is_by_window = seed % 3 == 0;
    schedule->dedup = is_by_window ? QUIPU_DEDUP_WINDOW : QUIPU_DEDUP_SUBJECT;
    schedule->window_us = is_by_window ? LONG_WINDOW_US : DUPLICATE_WINDOW_US;
    schedule->is_parked = is_by_window && parked < parked_max;
    count(TALLY_BY_WINDOW, is_by_window);
    return schedule;
}

/* Ends what is parked and whose ids are forgotten; all of it, and waits for that, where
 * `is_final`. */
static void parked_end(bool is_final)
{
    for (size_t i = 0; i < PARKED_MAX + 1; i++) {
        struct schedule *schedule = &schedules[i];
        while (is_final && schedule->is_parked && !is_forgotten(schedule)) {
            wait_ms(50);
        }
        if (schedule->is_parked && is_forgotten(schedule)) {
            schedule_end(schedule);
        }
    }
}

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

/* The first one is parked, so that a short run, which parks no other, has little left to wait for
 * at its end. */
Test(soak, every_event_is_in_the_stream_exactly_once_whatever_fails)
{
    uint64_t seed = number_of("QUIPU_SOAK_SEED", 1);
    uint64_t total = number_of("QUIPU_SOAK_SCHEDULES", SCHEDULES_DEFAULT);
    size_t parked_max = total < TALLY_SCHEDULES ? 1 : PARKED_MAX;
    uint64_t to_third = (3 - seed % 3) % 3;
    for (uint64_t i = 0; i < total; i++) {
        struct schedule *schedule = schedule_new(seed + (i + to_third) % total, parked_max);
        schedule_run(schedule);
        if (!schedule->is_parked) {
            schedule_end(schedule);
        }
        parked_end(false);
    }
    parked_end(true);
    printf("%" PRIu64 " schedules from seed %" PRIu64 ": every event exactly once\n", total, seed);
    show_tallies(total);
}

/*
 * Fault schedules by seed. In each, a store and a second one that has taken in the same events
 * flush at once, the first also by a second process, through a network that spoils connections and
 * to a server that is killed, paused and restarted meanwhile, with pauses beyond its duplicate
 * window. Afterwards the stream holds every event exactly once and every payload whole.
 *
 * QUIPU_SOAK_SCHEDULES (10) and QUIPU_SOAK_SEED (1) choose how many and which; scripts/soak runs
 * hundreds.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "js_kit.h"
#include "tcp_proxy.h"

#define SCHEDULES_DEFAULT   10
#define DUPLICATE_WINDOW_US 100000
#define ATTEMPTS_MAX        400
#define NS_PER_MS           1000000

struct schedule {
    uint64_t seed;
    uint64_t random;
    struct nats_fixture server;
    struct tcp_proxy proxy;
    struct js_store first;
    struct js_store second; /* has the first one's events too, as by a bundle */
    pid_t child;            /* flushes the first store as well; 0: none */
    int kills;
    int pauses;
};

static uint64_t draw(struct schedule *schedule, uint64_t below)
{
    schedule->random = schedule->random * 6364136223846793005u + 1442695040888963407u;
    return (schedule->random >> 33) % below;
}

static void wait_ms(uint64_t ms)
{
    struct timespec pause = {(time_t)(ms / 1000), (long)(ms % 1000) * NS_PER_MS};
    (void)nanosleep(&pause, NULL);
}

/* ------------------------------------------------------------------ flushing */

struct flushing {
    struct js_store *store;
    const char *url;
    pthread_t thread;
    enum quipu_status status;
    struct quipu_error err;
    int attempts;
    uint64_t published;
    uint64_t duplicates;
};

/* Statuses that a fault may give; any other is a defect. */
static bool is_excused(enum quipu_status status)
{
    return status == QUIPU_OFFLINE || status == QUIPU_TIMEOUT || status == QUIPU_BUSY ||
           status == QUIPU_SERVER;
}

static enum quipu_status flush_once(struct flushing *flushing)
{
    struct quipu_nats *nats = NULL;
    struct quipu_flush_report report;
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    struct quipu_flush_options flush = QUIPU_FLUSH_OPTIONS_INIT;
    options.url = flushing->url;
    options.connect_timeout_us = 500000;
    options.request_timeout_us = 200000;
    flush.give_up_us = 2000000;
    flush.window = 64;
    enum quipu_status status = quipu_nats_open(&options, &nats, &flushing->err);
    if (status == QUIPU_OK) {
        status = quipu_flush(flushing->store->engine, nats, &flush, &report, &flushing->err);
        flushing->published += report.published;
        flushing->duplicates += report.duplicates;
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
    return NULL;
}

static void flushing_start(struct flushing *flushing, struct js_store *store, const char *url)
{
    memset(flushing, 0, sizeof *flushing);
    flushing->store = store;
    flushing->url = url;
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
static void child_start(struct schedule *schedule)
{
    char program[512];
    ssize_t len = readlink("/proc/self/exe", program, sizeof program - 1);
    cr_assert_gt(len, 0);
    program[len] = 0;
    char *slash = strrchr(program, '/');
    (void)snprintf(slash + 1, sizeof program - (size_t)(slash + 1 - program), "flush_child");
    schedule->child = fork();
    cr_assert_geq(schedule->child, 0);
    if (schedule->child == 0) {
        execl(program, program, schedule->first.path, schedule->server.url, (char *)NULL);
        _exit(127);
    }
}

static void child_end(struct schedule *schedule)
{
    int state = 0;
    if (schedule->child == 0) {
        return;
    }
    cr_assert_eq(waitpid(schedule->child, &state, 0), schedule->child);
    cr_assert(WIFEXITED(state), "the second process died");
    int code = WEXITSTATUS(state);
    cr_assert(code == QUIPU_OK || is_excused((enum quipu_status)code),
              "seed %" PRIu64 ": the second process ended with %s", schedule->seed,
              quipu_status_name((enum quipu_status)code));
}

/* ------------------------------------------------------------------ faults */

enum fault { FAULT_KILL, FAULT_PAUSE, FAULT_NETWORK, FAULT_SILENCE, FAULT_WAIT, FAULTS };

static void inflict(struct schedule *schedule, enum fault fault)
{
    switch (fault) {
    case FAULT_KILL:
        nats_fixture_kill(&schedule->server);
        wait_ms(draw(schedule, 2) * 150); /* now and then beyond the duplicate window */
        nats_fixture_restart(&schedule->server);
        schedule->kills++;
        return;
    case FAULT_PAUSE:
        nats_fixture_pause(&schedule->server);
        wait_ms(50 + draw(schedule, 500));
        nats_fixture_resume(&schedule->server);
        schedule->pauses++;
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
    wait_ms(DUPLICATE_WINDOW_US / 1000 + draw(schedule, 100));
}

static void schedule_prepare(struct schedule *schedule)
{
    nats_fixture_start(&schedule->server, "max_payload: 64KB");
    tcp_proxy_start(&schedule->proxy, schedule->server.port);
    js_store_open(&schedule->first);
    js_store_open(&schedule->second);
    size_t events = 300 + draw(schedule, 900);
    enum js_payloads payloads = draw(schedule, 4) == 0 ? JS_PAYLOADS_SHARED : JS_PAYLOADS_UNIQUE;
    js_store_fill(&schedule->first, events, 20 + draw(schedule, 900), payloads);
    js_store_copy(&schedule->first, &schedule->second);
    struct quipu_nats *nats = js_connect(&schedule->server);
    js_provision(nats, DUPLICATE_WINDOW_US);
    quipu_nats_close(&nats);
}

static void schedule_run(uint64_t seed)
{
    struct schedule schedule;
    struct flushing first;
    struct flushing second;
    memset(&schedule, 0, sizeof schedule);
    schedule.seed = seed;
    schedule.random = seed * 2654435761u + 1;
    schedule_prepare(&schedule);
    if (draw(&schedule, 2) == 0) {
        tcp_proxy_trouble(&schedule.proxy, seed, 2, 60000);
    }

    flushing_start(&first, &schedule.first, schedule.proxy.url);
    bool is_second_direct = draw(&schedule, 2) == 0;
    flushing_start(&second, &schedule.second,
                   is_second_direct ? schedule.server.url : schedule.proxy.url);
    if (draw(&schedule, 2) == 0) {
        child_start(&schedule);
    }
    uint64_t faults = 1 + draw(&schedule, 4);
    for (uint64_t i = 0; i < faults; i++) {
        wait_ms(draw(&schedule, 60));
        inflict(&schedule, (enum fault)draw(&schedule, FAULTS));
    }
    tcp_proxy_cut(&schedule.proxy, seed, 0, 1); /* from now on the network is kind */
    flushing_end(&first, "the first store", seed);
    flushing_end(&second, "the second store", seed);
    child_end(&schedule);

    js_expect_all_published(&schedule.server, &schedule.first);
    js_expect_all_published(&schedule.server, &schedule.second);
    cr_assert_eq(js_store_outbox(&schedule.first).pending, 0);
    cr_assert_eq(js_store_outbox(&schedule.second).pending, 0);
    printf("seed %" PRIu64 ": %" PRIu64 " faults, %d kills, %d pauses, %d connections spoilt, %d "
           "and %d flushes, published %" PRIu64 " and %" PRIu64 "\n",
           seed, faults, schedule.kills, schedule.pauses, tcp_proxy_cuts(&schedule.proxy),
           first.attempts, second.attempts, first.published, second.published);
    (void)fflush(stdout);
    js_store_release(&schedule.first);
    js_store_release(&schedule.second);
    tcp_proxy_stop(&schedule.proxy);
    nats_fixture_stop(&schedule.server);
}

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

Test(soak, every_event_is_in_the_stream_exactly_once_whatever_fails)
{
    uint64_t seed = number_of("QUIPU_SOAK_SEED", 1);
    uint64_t count = number_of("QUIPU_SOAK_SCHEDULES", SCHEDULES_DEFAULT);
    for (uint64_t i = 0; i < count; i++) {
        schedule_run(seed + i);
    }
    printf("%" PRIu64 " schedules from seed %" PRIu64 ": every event exactly once\n", count, seed);
}

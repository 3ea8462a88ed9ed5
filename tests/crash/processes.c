/*
 * Processes on one store: two writers, one that moves the outbox cursor as a flusher does, two
 * readers, one that makes backups and verifies them, and one that verifies the store. For some
 * seconds one of them is killed at a random moment and started again. What a call has acknowledged
 * stays; readers see no gap, no event twice, and each writer's events in its order; every copy is
 * whole; verify is clean, at any moment and at the end. The thresholds of the indexes are small, so
 * that the writers, who live through many of each other's commits, flush and merge all the time.
 *
 * usage: crash_processes [MILLISECONDS [SEED]]
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "quipu/outbox.h"
#include "quipu/verify.h"
#include "sample.h"
#include "temp_dir.h"

#define WRITERS   2
#define PROCESSES (WRITERS + 5)
/* Event i of writer w has number w * WRITER_EVENTS + i, i from 1 on. */
#define WRITER_EVENTS    (UINT64_C(1) << 28)
#define BATCH_MAX        8
#define SMALL_SIZES      0 /* of the indexes: sample_store_open */
#define ACKS_MAX         32
#define MILLISECONDS     4000
#define MILLISECONDS_MAX 3600000

/* Shared by all of the processes; written after the call in question has returned. */
struct board {
    atomic_ullong events;           /* the last position that was acknowledged */
    atomic_ullong written[WRITERS]; /* and of each writer's own events */
    atomic_ullong cursor;
    atomic_ullong scans;
    atomic_ullong starts;
    atomic_ullong backups;
    atomic_ullong verified;
    atomic_ullong folders; /* for backups, also of those that were killed */
};

struct work {
    const char *path;
    struct board *board;
    struct quipu_store *store;
    struct quipu_engine *engine;
    uint64_t random;
    uint64_t writer; /* which one it is */
};

static void open_both(struct work *work)
{
    struct quipu_error err;
    sample_must(sample_store_open(work->path, NULL, SMALL_SIZES, &work->store, &err), "open", &err);
    sample_must(quipu_engine_open(work->store, NULL, &work->engine, &err), "open the engine", &err);
}

static void close_both(struct work *work)
{
    quipu_engine_close(&work->engine);
    quipu_store_close(&work->store);
}

static uint64_t last_position(struct work *work)
{
    struct quipu_txn *txn = NULL;
    struct quipu_error err;
    sample_must(quipu_txn_begin_read(work->store, &txn, &err), "read", &err);
    uint64_t last = quipu_txn_last_position(txn);
    quipu_txn_abort(&txn);
    return last;
}

/* ------------------------------------------------------------------ what the processes do */

/* How many events of this writer are there. */
static uint64_t own_events(struct work *work)
{
    static struct sample sample;
    struct quipu_txn *txn = NULL;
    struct quipu_record record;
    struct quipu_error err;
    uint64_t count = atomic_load(&work->board->written[work->writer]);
    sample_must(quipu_txn_begin_read(work->store, &txn, &err), "read", &err);
    for (;; count++) {
        sample_make(&sample, work->writer * WRITER_EVENTS + count + 1);
        enum quipu_status status =
            quipu_txn_find_event_id(txn, sample.event.event_id, &record, &err);
        if (status == QUIPU_NOT_FOUND) {
            break; /* all that was acknowledged is behind this, or the readers will tell */
        }
        sample_must(status, "find an event of one's own", &err);
    }
    quipu_txn_abort(&txn);
    return count;
}

static void board_raise(atomic_ullong *at, unsigned long long to)
{
    unsigned long long found = atomic_load(at);
    while (found < to && !atomic_compare_exchange_weak(at, &found, to)) {
    }
}

static void write_events(struct work *work)
{
    static struct sample samples[BATCH_MAX];
    struct quipu_event events[BATCH_MAX];
    struct quipu_appended appended[BATCH_MAX];
    struct quipu_error err;
    uint64_t acknowledged = atomic_load(&work->board->events);
    uint64_t last = last_position(work);
    uint64_t own = own_events(work);
    sample_require(last >= acknowledged, "events after a kill", acknowledged, last);
    for (;;) {
        size_t count = (size_t)(1 + sample_random(&work->random) % BATCH_MAX);
        for (size_t i = 0; i < count; i++) {
            sample_make(&samples[i], work->writer * WRITER_EVENTS + own + 1 + i);
            events[i] = samples[i].event;
        }
        sample_must(quipu_append_batch(work->engine, events, count, appended, NULL, &err), "append",
                    &err);
        sample_require(!appended[0].was_duplicate, "an event that is there, number", 0, own + 1);
        sample_require(appended[0].position > last, "appended behind", last, appended[0].position);
        last = appended[count - 1].position;
        sample_require(last == appended[0].position + count - 1, "end of a batch",
                       appended[0].position + count - 1, last);
        own += count;
        atomic_store(&work->board->written[work->writer], own);
        board_raise(&work->board->events, last);
    }
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

static void flush_events(struct work *work)
{
    struct quipu_error err;
    for (;;) {
        struct quipu_outbox_status status;
        struct acks acks = {.len = 0};
        uint64_t acknowledged = atomic_load(&work->board->cursor);
        sample_must(quipu_outbox_status(work->engine, &status, &err), "outbox", &err);
        sample_require(status.cursor >= acknowledged, "outbox cursor", acknowledged, status.cursor);
        sample_must(quipu_outbox_each_pending(work->engine, 0, ACKS_MAX, gather, &acks, NULL, &err),
                    "pending", &err);
        if (acks.len == 0) {
            (void)usleep(1000); /* woken early: looks again early */
            continue;
        }
        sample_require(acks.at[0].position == status.cursor + 1, "first that waits",
                       status.cursor + 1, acks.at[0].position);
        sample_must(quipu_outbox_acknowledge(work->engine, quipu_slice_text("EVENTS"), acks.at,
                                             acks.len, &err),
                    "acknowledge", &err);
        atomic_store(&work->board->cursor, acks.at[acks.len - 1].position);
    }
}

struct scan {
    uint64_t last;
    uint64_t own[WRITERS]; /* events of each writer up to there */
    struct sample sample;
};

static enum quipu_status scan_one(void *ctx, const struct quipu_event_view *event,
                                  struct quipu_error *err)
{
    struct scan *scan = ctx;
    sample_require(event->position == scan->last + 1, "next position", scan->last + 1,
                   event->position);
    uint64_t number = sample_number(&event->envelope.event_id);
    uint64_t writer = number / WRITER_EVENTS;
    sample_require(writer < WRITERS, "writer of an event", WRITERS - 1, writer);
    sample_require(number % WRITER_EVENTS == scan->own[writer] + 1, "next event of a writer",
                   scan->own[writer] + 1, number % WRITER_EVENTS);
    scan->own[writer]++;
    sample_make(&scan->sample, number);
    sample_require(quipu_uuid_equal(event->envelope.event_id, scan->sample.event.event_id) &&
                       quipu_slice_equal(event->payload, scan->sample.event.payload),
                   "another event than was appended; position", event->position, event->position);
    scan->last = event->position;
    (void)err;
    return QUIPU_OK;
}

/* A scan ends where the log ended as it began: at what was acknowledged by then, or behind it. */
static void read_events(struct work *work)
{
    static struct scan scan;
    struct quipu_error err;
    uint64_t before = 0;
    for (;;) {
        struct quipu_filter filter = {.after = 0};
        uint64_t acknowledged = atomic_load(&work->board->events);
        if (sample_random(&work->random) % 4 != 0) {
            filter.after = before; /* go on, as one that follows does */
        }
        scan.last = filter.after;
        if (filter.after == 0) {
            memset(scan.own, 0, sizeof scan.own);
        }
        sample_must(quipu_each_event(work->engine, &filter, scan_one, &scan, &err), "scan", &err);
        sample_require(scan.last >= acknowledged && scan.last >= before, "a scan's end",
                       acknowledged, scan.last);
        before = scan.last;
        atomic_fetch_add(&work->board->scans, 1);
    }
}

static void note_problem(void *ctx, uint64_t position, const char *line)
{
    (void)fprintf(stderr, "%s: position %" PRIu64 ": %s\n", (const char *)ctx, position, line);
}

/* Everything up to what was acknowledged before must be there, and sound. */
static void verify_store(struct quipu_engine *engine, const char *what, uint64_t acknowledged)
{
    char name[64];
    struct quipu_verify_options options = QUIPU_VERIFY_OPTIONS_INIT;
    struct quipu_verify_report report = {0};
    struct quipu_error err;
    (void)snprintf(name, sizeof name, "%s", what);
    options.problem = note_problem;
    options.ctx = name;
    sample_must(quipu_verify(engine, &options, &report, &err), what, &err);
    sample_require(report.events >= acknowledged, what, acknowledged, report.events);
}

/* A copy ends where the log ended as it was made: at what was acknowledged by then, or behind it.
 */
static void back_up(struct work *work)
{
    for (;;) {
        char folder[4 * TEMP_DIR_BYTES];
        struct work copy = {.path = folder};
        struct quipu_error err;
        uint64_t acknowledged = atomic_load(&work->board->events);
        (void)snprintf(folder, sizeof folder, "%s-copy-%llu", work->path,
                       atomic_fetch_add(&work->board->folders, 1));
        sample_must(quipu_store_backup(work->store, folder, &err), "backup", &err);
        open_both(&copy);
        verify_store(copy.engine, "verify of a copy", acknowledged);
        close_both(&copy);
        atomic_fetch_add(&work->board->backups, 1);
    }
}

static void verify_events(struct work *work)
{
    for (;;) {
        verify_store(work->engine, "verify", atomic_load(&work->board->events));
        atomic_fetch_add(&work->board->verified, 1);
    }
}

/* ------------------------------------------------------------------ the one that kills */

static pid_t start(struct work work, size_t role)
{
    static void (*const roles[PROCESSES])(struct work *) = {
        write_events, write_events, flush_events, read_events, read_events, back_up, verify_events};
    pid_t parent = getpid();
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) {
        perror("fork");
        exit(EXIT_FAILURE);
    }
    if (pid == 0) {
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) {
            _exit(2);
        }
        work.writer = role; /* the roles of writers come first */
        open_both(&work);
        atomic_fetch_add(&work.board->starts, 1);
        roles[role](&work);
    }
    return pid;
}

/* It must have been running until then. */
static void kill_one(pid_t pid)
{
    int how = 0;
    (void)kill(pid, SIGKILL); /* one that has ended is told apart below */
    if (waitpid(pid, &how, 0) != pid || !WIFSIGNALED(how) || WTERMSIG(how) != SIGKILL) {
        (void)fprintf(stderr, "a process ended by itself: status 0x%x\n", (unsigned)how);
        exit(EXIT_FAILURE);
    }
}

static uint64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t kill_for_a_while(struct work *work, uint64_t milliseconds)
{
    pid_t pids[PROCESSES];
    uint64_t kills = 0;
    uint64_t until = now_ms() + milliseconds;
    for (size_t i = 0; i < PROCESSES; i++) {
        work->random++;
        pids[i] = start(*work, i);
    }
    while (now_ms() < until) {
        (void)usleep((useconds_t)(5000 + sample_random(&work->random) % 80000)); /* any moment */
        size_t victim = (size_t)(sample_random(&work->random) % PROCESSES);
        kill_one(pids[victim]);
        pids[victim] = start(*work, victim);
        kills++;
    }
    for (size_t i = 0; i < PROCESSES; i++) {
        kill_one(pids[i]);
    }
    return kills;
}

static void check_all(struct work *work)
{
    static struct scan scan;
    struct quipu_outbox_status status;
    struct quipu_error err;
    uint64_t events = atomic_load(&work->board->events);
    uint64_t cursor = atomic_load(&work->board->cursor);
    open_both(work);
    verify_store(work->engine, "verify at the end", events);
    sample_must(quipu_each_event(work->engine, NULL, scan_one, &scan, &err), "scan", &err);
    for (size_t i = 0; i < WRITERS; i++) {
        uint64_t written = atomic_load(&work->board->written[i]);
        sample_require(written > 0 && scan.own[i] >= written, "events of a writer", written,
                       scan.own[i]);
    }
    sample_require(scan.last == last_position(work), "scanned at the end", last_position(work),
                   scan.last);
    sample_must(quipu_outbox_status(work->engine, &status, &err), "outbox", &err);
    sample_require(status.cursor >= cursor, "outbox cursor at the end", cursor, status.cursor);
    close_both(work);
}

int main(int argc, char **argv)
{
    struct temp_dir dir;
    char path[2 * TEMP_DIR_BYTES];
    uint64_t milliseconds = argc > 1 ? strtoull(argv[1], NULL, 10) : MILLISECONDS;
    sample_require(milliseconds > 0 && milliseconds <= MILLISECONDS_MAX, "milliseconds",
                   MILLISECONDS, milliseconds);
    temp_dir_init(&dir);
    struct work work = {.path = temp_dir_join(&dir, "store", path),
                        .random = argc > 2 ? strtoull(argv[2], NULL, 10) : 1};
    void *board =
        mmap(NULL, sizeof *work.board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED) {
        perror("mmap");
        return EXIT_FAILURE;
    }
    work.board = board;
    uint64_t kills = kill_for_a_while(&work, milliseconds);
    check_all(&work);
    (void)printf("%" PRIu64 " kills: %llu events, cursor at %llu, %llu scans, %llu starts, %llu "
                 "backups, %llu times verified\n",
                 kills, atomic_load(&work.board->events), atomic_load(&work.board->cursor),
                 atomic_load(&work.board->scans), atomic_load(&work.board->starts),
                 atomic_load(&work.board->backups), atomic_load(&work.board->verified));
    sample_require(atomic_load(&work.board->events) >= 20 &&
                       atomic_load(&work.board->cursor) >= 1 &&
                       atomic_load(&work.board->scans) >= 5 && kills >= 10,
                   "work done; kills", 10, kills);
    sample_require(atomic_load(&work.board->backups) >= 1, "backups", 1, 0);
    sample_require(atomic_load(&work.board->verified) >= 1, "times verified", 1, 0);
    (void)munmap(board, sizeof *work.board); /* the process ends */
    temp_dir_release(&dir);
    return EXIT_SUCCESS;
}

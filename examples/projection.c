/*
 * A projection that is kept up to date while events come in, with a reaction. It parks in front of
 * an event that it cannot apply; a person skips that one, and the digest tells of it. Prints:
 *
 *     reaction to 1, root-2026
 *     reaction to 2, root-2026
 *     parked in front of 3: map has no key "owner"
 *     reaction to 4, backup-2026
 *     live, skipped: 1
 *     as it was kept, digest …
 *     built anew, digest …
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <pthread.h>
#include <stdatomic.h>

#include "example.h"
#include "quipu/dagcbor.h"
#include "quipu/projection.h"

/* One row per key: who has it. Depends on nothing but rows and event. */
static enum quipu_status assign(void *ctx, struct quipu_rows *rows,
                                const struct quipu_event_view *event, struct quipu_error *err)
{
    (void)ctx;
    struct quipu_slice owner;
    enum quipu_status status = quipu_dagcbor_map_get(event->payload, "owner", &owner, err);
    return status != QUIPU_OK ? status
                              : quipu_rows_put(rows, event->envelope.aggregate_id, owner, err);
}

/* The side effect: for each event that took effect, in their order, but not again by a rebuild. A
 * crash may bring the last ones twice: a mail would carry the event_id, so that doubles show. */
static enum quipu_status tell(void *ctx, const struct quipu_event_view *event,
                              struct quipu_error *err)
{
    (void)ctx;
    (void)err;
    printf("reaction to %llu, %.*s\n", (unsigned long long)event->position,
           QUIPU_SLICE_FMT(event->envelope.aggregate_id));
    return QUIPU_OK;
}

static const struct quipu_projection owners = {
    .name = "owners", .version = 1, .apply = assign, .react = tell};

static struct quipu_engine *engine;
static struct quipu_watch *work; /* wakes the thread that keeps the projection */
static struct quipu_watch *seen; /* wakes main, which looks on */
static atomic_bool is_over;      /* a service would set it in its handler of SIGTERM */

static bool stop(void *ctx)
{
    (void)ctx;
    return atomic_load(&is_over);
}

/* Keep it up to date, whichever process appends, until told to stop. */
static void *keep(void *ctx)
{
    struct quipu_error err;
    const struct quipu_projection *all[] = {&owners};
    struct quipu_run_options options = QUIPU_RUN_OPTIONS_INIT;
    options.watch = work;
    options.stop = stop;
    enum quipu_status status = quipu_projections_run(engine, all, 1, &options, &err);
    check(status == QUIPU_STOPPED ? QUIPU_OK : status, &err);
    return ctx;
}

static void record(const char *key, const char *json)
{
    struct quipu_error err;
    struct quipu_event event = {.type = "key.assigned", .aggregate = {"key", key}};
    check(append_json(engine, event, json, &err), &err);
}

/* How it is, once it is in this state and has reacted to all up to this position. */
static struct quipu_projection_status wait_for(enum quipu_projection_state state, uint64_t reacted)
{
    struct quipu_projection_status now = {.state = QUIPU_PROJECTION_CATCHING_UP};
    struct quipu_error err;
    for (;;) { /* clear, look, and only then wait: no commit is missed */
        quipu_watch_clear(seen);
        enum quipu_status status = quipu_projection_status(engine, owners.name, &now, &err);
        check(status == QUIPU_NOT_FOUND ? QUIPU_OK : status, &err); /* not begun yet */
        if (now.state == state && now.reacted >= reacted) {
            return now;
        }
        check(quipu_watch_wait(seen, -1, &err), &err);
    }
}

int main(int argc, char **argv)
{
    struct quipu_error err;
    struct quipu_replay_report report;
    engine = open_engine(argc > 1 ? argv[1] : "keys.quipu");
    check(quipu_watch_open(quipu_engine_store(engine), &work, &err), &err);
    check(quipu_watch_open(quipu_engine_store(engine), &seen, &err), &err);
    pthread_t keeper;
    pthread_create(&keeper, NULL, keep, NULL);

    record("root-2026", "{\"owner\":\"alice\"}");
    record("root-2026", "{\"owner\":\"bob\"}");
    record("root-2026", "{\"holder\":\"carol\"}"); /* no owner: it parks here */
    record("backup-2026", "{\"owner\":\"dave\"}");
    struct quipu_projection_status now = wait_for(QUIPU_PROJECTION_PARKED, 2);
    printf("parked in front of %llu: %s\n", (unsigned long long)now.parked_position,
           now.parked_line);

    /* Mend `assign` and raise its version, or give up on the event, with a reason that is kept. */
    check(quipu_projection_skip(engine, "owners", now.parked_position, "a slip", &err), &err);
    now = wait_for(QUIPU_PROJECTION_LIVE, now.parked_position + 1);
    printf("live, skipped: %llu\n", (unsigned long long)now.skipped);

    atomic_store(&is_over, true);
    quipu_watch_wake(work); /* have `stop` asked */
    pthread_join(keeper, NULL);
    check(quipu_replay(engine, &owners, QUIPU_REPLAY_CATCH_UP, &report, &err), &err);
    print_digest("as it was kept", report.digest);
    check(quipu_replay(engine, &owners, QUIPU_REPLAY_REBUILD, &report, &err), &err);
    print_digest("built anew", report.digest);

    quipu_watch_close(&seen);
    quipu_watch_close(&work);
    close_engine(engine);
    return 0;
}

/*
 * What must be true of a store after a crash: it opens; verify finds nothing; it holds what had
 * been acknowledged, whole transactions only, each event once and with the CID it was given; its
 * signing key is there; its outbox cursor and its checkpoint are where they were said to be, or
 * further on; the projection goes on to what a rebuild gives; appends and backups go on. So do the
 * backups that were acknowledged.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "quipu/outbox.h"
#include "quipu/verify.h"
#include "sample.h"

#define CHECK_SECONDS_MAX 60
#define APPENDS           40

static void say_problem(void *ctx, uint64_t position, const char *line)
{
    (void)ctx;
    (void)fprintf(stderr, "verify: position %" PRIu64 ": %s\n", position, line);
}

/* Number of events; exits where anything is wrong. */
static uint64_t verify(struct quipu_engine *engine, const char *when)
{
    struct quipu_verify_options options = QUIPU_VERIFY_OPTIONS_INIT;
    struct quipu_verify_report report = {0};
    struct quipu_error err;
    options.problem = say_problem;
    sample_must(quipu_verify(engine, &options, &report, &err), when, &err);
    sample_require(report.problems == 0, when, 0, report.problems);
    return report.events;
}

struct scan {
    const struct check_plan *plan;
    uint64_t last;
    struct quipu_uuid last_id;
};

/* Events are told apart by their CIDs, and position and event_id go into those of the record: the
 * same CID at the same position for each means that none is missing and none is there twice. */
static enum quipu_status scan_one(void *ctx, const struct quipu_event_view *event,
                                  struct quipu_error *err)
{
    struct scan *scan = ctx;
    (void)err;
    sample_require(event->position == scan->last + 1, "next position", scan->last + 1,
                   event->position);
    sample_require(event->position <= scan->plan->events_max, "last position",
                   scan->plan->events_max, event->position);
    sample_require(quipu_cid_equal(&event->cid, &scan->plan->cids[event->position]),
                   "an event has another CID than was acknowledged; position", event->position,
                   event->position);
    scan->last = event->position;
    scan->last_id = event->envelope.event_id;
    return QUIPU_OK;
}

static struct scan check_events(struct quipu_engine *engine, const struct check_plan *plan,
                                uint64_t least)
{
    struct scan scan = {.plan = plan};
    struct quipu_error err;
    sample_must(quipu_each_event(engine, NULL, scan_one, &scan, &err), "scan", &err);
    sample_require(scan.last >= least, "acknowledged events", least, scan.last);
    sample_require(plan->is_boundary[scan.last], "a part of a transaction is there; events", least,
                   scan.last);
    return scan;
}

static void check_outbox(struct quipu_engine *engine, const struct check_plan *plan)
{
    struct quipu_outbox_status status;
    struct quipu_error err;
    sample_must(quipu_outbox_status(engine, &status, &err), "outbox", &err);
    sample_require(status.cursor >= plan->least.cursor, "outbox cursor", plan->least.cursor,
                   status.cursor);
}

/* The signing key is the one that the events are signed as: another would be another source. */
static void check_source(struct quipu_engine *engine, const struct check_plan *plan)
{
    char source[QUIPU_SOURCE_TEXT_BYTES];
    struct quipu_error err;
    if (plan->least.source[0] == 0) {
        return;
    }
    sample_must(quipu_identity_source(engine, source, &err), "source", &err);
    if (strcmp(source, plan->least.source) != 0) {
        (void)fprintf(stderr, "source: wanted %s, found %s\n", plan->least.source, source);
        exit(EXIT_FAILURE);
    }
}

static void check_projection(struct quipu_engine *engine, const struct check_plan *plan,
                             uint64_t events)
{
    struct quipu_projection projection = sample_projection();
    struct quipu_replay_report further;
    struct quipu_replay_report anew;
    struct quipu_error err;
    sample_must(quipu_replay(engine, &projection, QUIPU_REPLAY_CATCH_UP, &further, &err), "replay",
                &err);
    uint64_t checkpoint = further.position - further.applied;
    sample_require(checkpoint >= plan->least.checkpoint, "checkpoint", plan->least.checkpoint,
                   checkpoint);
    sample_require(further.position == events, "replayed events", events, further.position);
    sample_must(quipu_replay(engine, &projection, QUIPU_REPLAY_REBUILD, &anew, &err), "rebuild",
                &err);
    sample_require(memcmp(further.digest, anew.digest, sizeof anew.digest) == 0,
                   "a rebuild gives other rows; rows", anew.rows, further.rows);
}

/* The last event again is a duplicate of itself; new ones go behind it. */
static void check_appends(struct quipu_engine *engine, const struct scan *scan)
{
    struct sample *sample = malloc(sizeof *sample);
    struct quipu_appended appended;
    struct quipu_error err;
    uint64_t known = sample_number(&scan->last_id);
    if (sample == NULL) {
        abort();
    }
    if (scan->last > 0 && known > 0) {
        sample_make(sample, known);
        sample_must(quipu_append(engine, &sample->event, &appended, &err), "append again", &err);
        sample_require(appended.was_duplicate && appended.position == scan->last,
                       "a duplicate; position", scan->last, appended.position);
    }
    for (uint64_t i = 1; i <= APPENDS; i++) {
        sample_make(sample, SAMPLE_FRESH + i);
        sample_must(quipu_append(engine, &sample->event, &appended, &err), "append", &err);
        sample_require(!appended.was_duplicate && appended.position == scan->last + i,
                       "appended at", scan->last + i, appended.position);
    }
    free(sample);
    sample_require(verify(engine, "verify after appends") == scan->last + APPENDS,
                   "events after appends", scan->last + APPENDS, 0);
}

static void open_both(const struct check_plan *plan, const char *path, bool is_old,
                      struct quipu_store **store, struct quipu_engine **engine)
{
    struct quipu_store_options options = QUIPU_STORE_OPTIONS_INIT;
    struct quipu_error err;
    options.durability = plan->durability;
    options.create = is_old ? QUIPU_STORE_OPEN_EXISTING : QUIPU_STORE_CREATE_IF_MISSING;
    sample_must(sample_store_open(path, &options, plan->number, store, &err), "open", &err);
    sample_must(quipu_engine_open(*store, NULL, engine, &err), "open the engine", &err);
}

static bool is_store(const char *path)
{
    struct quipu_store_options options = QUIPU_STORE_OPTIONS_INIT;
    struct quipu_store *store = NULL;
    struct quipu_error err;
    options.create = QUIPU_STORE_OPEN_EXISTING;
    enum quipu_status status = sample_store_open(path, &options, 0, &store, &err);
    quipu_store_close(&store);
    if (status != QUIPU_NOT_FOUND && status != QUIPU_NOT_A_STORE) {
        sample_must(status, "open what is left of a backup", &err);
    }
    return status == QUIPU_OK;
}

static void check_backup(const struct check_plan *plan, const struct check_backup *backup,
                         struct quipu_store *source)
{
    struct quipu_store *store = NULL;
    struct quipu_engine *engine = NULL;
    struct quipu_error err;
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", plan->root, backup->name);
    if (!backup->is_saved && !is_store(path)) {
        /* Cut short: what is there does not pass for a store, and the copy can be made again. */
        sample_must(quipu_store_backup(source, path, &err), "back up again", &err);
    }
    open_both(plan, path, true, &store, &engine);
    sample_require(verify(engine, "verify a backup") ==
                       check_events(engine, plan, backup->events).last,
                   "events of a backup", backup->events, 0);
    quipu_engine_close(&engine);
    quipu_store_close(&store);
}

static void check(const struct check_plan *plan)
{
    struct quipu_store *store = NULL;
    struct quipu_engine *engine = NULL;
    char path[512];
    (void)snprintf(path, sizeof path, "%s/store", plan->root);
    open_both(plan, path, plan->least.events > 0, &store, &engine);
    uint64_t verified = verify(engine, "verify");
    struct scan scan = check_events(engine, plan, plan->least.events);
    sample_require(verified == scan.last, "verified events", scan.last, verified);
    check_source(engine, plan);
    check_outbox(engine, plan);
    check_projection(engine, plan, scan.last);
    for (size_t i = 0; i < plan->least.backups_len; i++) {
        check_backup(plan, &plan->least.backups[i], store);
    }
    check_appends(engine, &scan);
    quipu_engine_close(&engine);
    quipu_store_close(&store);
}

bool check_in_child(const struct check_plan *plan)
{
    int how = 0;
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        (void)alarm(CHECK_SECONDS_MAX);
        check(plan);
        exit(EXIT_SUCCESS);
    }
    if (pid < 0 || waitpid(pid, &how, 0) != pid) {
        perror("fork");
        abort();
    }
    if (WIFSIGNALED(how)) {
        (void)fprintf(stderr, "killed by signal %d\n", WTERMSIG(how));
    }
    return WIFEXITED(how) && WEXITSTATUS(how) == EXIT_SUCCESS;
}

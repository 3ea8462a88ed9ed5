/*
 * The shared part of jetstream's tests. What is on the server is read with libnats directly.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "js_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "quipu/event_json.h"
#include "quipu/multibase.h"

#define AGGREGATES 10
/* What a test flushes above this is more than one message of its server. */
#define LONG_PAYLOAD_BYTES 60000
#define FIGURE_PATIENCE_S  30

static void must(enum quipu_status status, const struct quipu_error *err, const char *what)
{
    cr_assert_eq(status, QUIPU_OK, "%s: %s: %s", what, quipu_status_name(status),
                 status == QUIPU_OK ? "" : err->message);
}

/* ------------------------------------------------------------------ stores */

void js_store_reopen(struct js_store *store)
{
    struct quipu_error err;
    must(quipu_store_open(store->path, NULL, &store->store, &err), &err, "open store");
    must(quipu_engine_open(store->store, NULL, &store->engine, &err), &err, "open engine");
}

void js_store_open(struct js_store *store)
{
    memset(store, 0, sizeof *store);
    temp_dir_init(&store->dir);
    temp_dir_join(&store->dir, "store", store->path);
    js_store_reopen(store);
}

void js_store_close(struct js_store *store)
{
    quipu_engine_close(&store->engine);
    quipu_store_close(&store->store);
}

void js_store_release(struct js_store *store)
{
    js_store_close(store);
    temp_dir_release(&store->dir);
}

void js_store_fill(struct js_store *store, size_t count, size_t bytes, enum js_payloads payloads)
{
    struct quipu_error err;
    struct quipu_event_arena arenas[64];
    struct quipu_event events[64];
    struct quipu_buf line = QUIPU_BUF_INIT;
    memset(arenas, 0, sizeof arenas);
    for (size_t done = 0; done < count;) {
        size_t batch = count - done < 64 ? count - done : 64;
        for (size_t i = 0; i < batch; i++) {
            size_t n = done + i;
            quipu_buf_reset(&line);
            quipu_buf_printf(&line,
                             "{\"aggregate_type\":\"key\",\"aggregate_id\":\"k%zu\",\"event_type\":"
                             "\"key.used\",\"payload\":{\"n\":%zu,\"text\":\"",
                             n % AGGREGATES, payloads == JS_PAYLOADS_UNIQUE ? n : n % AGGREGATES);
            for (size_t b = 0; b < bytes; b++) {
                quipu_buf_append_byte(&line, (uint8_t)('a' + (n * 7 + b) % 26));
                if (payloads == JS_PAYLOADS_SHARED) {
                    line.data[line.len - 1] = 'x';
                }
            }
            quipu_buf_append_text(&line, "\"}}");
            must(quipu_event_from_json(quipu_buf_slice(&line), &arenas[i], &events[i], &err), &err,
                 "event from JSON");
        }
        must(quipu_append_batch(store->engine, events, batch, NULL, NULL, &err), &err, "append");
        done += batch;
    }
    for (size_t i = 0; i < 64; i++) {
        quipu_event_arena_release(&arenas[i]);
    }
    quipu_buf_release(&line);
}

uint64_t js_store_append(struct js_store *store, const char *line)
{
    struct quipu_error err;
    struct quipu_event_arena arena;
    struct quipu_event event;
    struct quipu_appended appended;
    memset(&arena, 0, sizeof arena);
    must(quipu_event_from_json(quipu_slice_text(line), &arena, &event, &err), &err, line);
    must(quipu_append(store->engine, &event, &appended, &err), &err, line);
    quipu_event_arena_release(&arena);
    return appended.position;
}

static enum quipu_status copy_event(void *ctx, const struct quipu_event_view *event,
                                    struct quipu_error *err)
{
    struct quipu_foreign foreign = {
        .cid = event->cid, .envelope = event->envelope_block, .payload = event->payload};
    enum quipu_ingest_outcome outcome;
    return quipu_ingest_event(ctx, &foreign, &outcome, err);
}

void js_store_copy(struct js_store *from, struct js_store *into)
{
    struct quipu_error err;
    struct quipu_ingest *ingest = NULL;
    must(quipu_ingest_begin(into->engine, QUIPU_INGEST_STRICT, &ingest, &err), &err, "ingest");
    must(quipu_each_event(from->engine, NULL, copy_event, ingest, &err), &err, "copy");
    must(quipu_ingest_commit(&ingest, NULL, &err), &err, "ingest commit");
}

struct quipu_outbox_status js_store_outbox(struct js_store *store)
{
    struct quipu_error err;
    struct quipu_outbox_status status;
    must(quipu_outbox_status(store->engine, &status, &err), &err, "outbox");
    return status;
}

/* ------------------------------------------------------------------ server */

/* Of all figures, which are few. */
static pthread_mutex_t figures_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t figures_changed = PTHREAD_COND_INITIALIZER;

void js_figure_add(uint64_t *figure, uint64_t by)
{
    (void)pthread_mutex_lock(&figures_mutex);
    *figure += by;
    (void)pthread_cond_broadcast(&figures_changed);
    (void)pthread_mutex_unlock(&figures_mutex);
}

void js_figure_await(const uint64_t *figure, uint64_t at_least)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += FIGURE_PATIENCE_S;
    int error = 0;
    (void)pthread_mutex_lock(&figures_mutex);
    while (*figure < at_least && error == 0) {
        error = pthread_cond_timedwait(&figures_changed, &figures_mutex, &until);
    }
    uint64_t is = *figure;
    (void)pthread_mutex_unlock(&figures_mutex);
    cr_assert_geq(is, at_least);
}

struct quipu_nats *js_connect(const struct nats_fixture *server)
{
    struct quipu_error err;
    struct quipu_nats *nats = NULL;
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    options.url = server->url;
    must(quipu_nats_open(&options, &nats, &err), &err, "connect");
    return nats;
}

void js_provision(struct quipu_nats *nats, int64_t duplicate_window_us)
{
    struct quipu_error err;
    struct quipu_provision_report report;
    struct quipu_provision_options options = QUIPU_PROVISION_OPTIONS_INIT;
    options.duplicate_window_us = duplicate_window_us;
    must(quipu_provision(nats, &options, &report, &err), &err, "provision");
    quipu_buf_release(&report.drift);
}

struct quipu_flush_report js_flush(struct js_store *store, struct quipu_nats *nats)
{
    struct quipu_error err;
    struct quipu_flush_report report;
    must(quipu_flush(store->engine, nats, NULL, &report, &err), &err, "flush");
    return report;
}

struct quipu_pull_report js_pull(struct js_store *store, struct quipu_nats *nats)
{
    struct quipu_error err;
    struct quipu_pull_report report;
    must(quipu_pull(store->engine, nats, NULL, &report, &err), &err, "pull");
    return report;
}

void js_start(struct nats_fixture *server, struct js_store *store, struct quipu_nats **nats)
{
    nats_fixture_start(server, NULL);
    js_store_open(store);
    if (nats != NULL) {
        *nats = js_connect(server);
    }
}

void js_stop(struct nats_fixture *server, struct js_store *store, struct quipu_nats **nats)
{
    if (nats != NULL) {
        quipu_nats_close(nats);
    }
    js_store_release(store);
    nats_fixture_stop(server);
}

static enum quipu_status note_letter(void *ctx, const struct quipu_dead_letter *letter,
                                     struct quipu_error *err)
{
    (void)err;
    struct js_letters *letters = ctx;
    cr_assert_lt(letters->count, JS_LETTERS_MAX);
    letters->positions[letters->count] = letter->position;
    letters->reasons[letters->count] = letter->reason;
    (void)snprintf(letters->lines[letters->count], QUIPU_ERROR_MESSAGE_BYTES, "%.*s",
                   QUIPU_SLICE_FMT(letter->line));
    letters->count++;
    return QUIPU_OK;
}

struct js_letters js_letters_of(struct js_store *store)
{
    struct quipu_error err;
    struct js_letters letters = {.count = 0};
    must(quipu_each_dead_letter(store->engine, note_letter, &letters, &err), &err, "dead letters");
    return letters;
}

/* ------------------------------------------------------------------ processes */

pid_t js_child_start(const struct js_store *store, const char *url, const char *verb,
                     const char *failpoint)
{
    char program[1024];
    ssize_t len = readlink("/proc/self/exe", program, sizeof program - 1);
    cr_assert_gt(len, 0);
    program[len] = 0;
    char *slash = strrchr(program, '/');
    (void)snprintf(slash + 1, sizeof program - (size_t)(slash + 1 - program), "flush_child");
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        if (failpoint != NULL) {
            (void)setenv("QUIPU_FAILPOINT", failpoint, 1);
        }
        execl(program, program, store->path, url, verb, (char *)NULL);
        _exit(127);
    }
    return pid;
}

int js_child_wait(pid_t pid)
{
    int state = 0;
    while (waitpid(pid, &state, 0) < 0 && errno == EINTR) {
    }
    return state;
}

/* ------------------------------------------------------------------ looking at the server */

void js_side_open(const struct nats_fixture *server, natsConnection **connection, jsCtx **js)
{
    cr_assert_eq(natsConnection_ConnectTo(connection, server->url), NATS_OK);
    cr_assert_eq(natsConnection_JetStream(js, *connection, NULL), NATS_OK);
}

void js_side_close(natsConnection **connection, jsCtx **js)
{
    jsCtx_Destroy(*js);
    natsConnection_Destroy(*connection);
    *js = NULL;
    *connection = NULL;
}

void js_with(const struct nats_fixture *server, void (*act)(jsCtx *js, const void *ctx),
             const void *ctx)
{
    natsConnection *connection = NULL;
    jsCtx *js = NULL;
    js_side_open(server, &connection, &js);
    act(js, ctx);
    js_side_close(&connection, &js);
}

struct look {
    natsConnection *connection;
    jsCtx *js;
    uint64_t checked;
    uint64_t last_sequence[AGGREGATES * 2];
    char aggregate[AGGREGATES * 2][32];
};

static void look_open(struct look *look, const struct nats_fixture *server)
{
    memset(look, 0, sizeof *look);
    js_side_open(server, &look->connection, &look->js);
}

static void look_close(struct look *look)
{
    js_side_close(&look->connection, &look->js);
}

static uint64_t look_messages(struct look *look, const char *stream)
{
    jsStreamInfo *info = NULL;
    cr_assert_eq(js_GetStreamInfo(&info, look->js, stream, NULL, NULL), NATS_OK, "no stream %s",
                 stream);
    uint64_t messages = info->State.Msgs;
    jsStreamInfo_Destroy(info);
    return messages;
}

uint64_t js_stream_messages(const struct nats_fixture *server, const char *stream)
{
    struct look look;
    look_open(&look, server);
    uint64_t messages = look_messages(&look, stream);
    look_close(&look);
    return messages;
}

static natsMsg *look_last(struct look *look, const char *stream, const char *subject)
{
    natsMsg *msg = NULL;
    jsDirectGetMsgOptions options;
    (void)jsDirectGetMsgOptions_Init(&options);
    options.LastBySubject = subject;
    natsStatus s = js_DirectGetMsg(&msg, look->js, stream, NULL, &options);
    cr_assert_eq(s, NATS_OK, "stream %s has nothing at %s: %s", stream, subject,
                 natsStatus_GetText(s));
    return msg;
}

static void check_order(struct look *look, const struct quipu_event_view *event, uint64_t sequence)
{
    char aggregate[32];
    (void)snprintf(aggregate, sizeof aggregate, "%.*s",
                   QUIPU_SLICE_FMT(event->envelope.aggregate_id));
    for (size_t i = 0; i < AGGREGATES * 2; i++) {
        if (look->aggregate[i][0] == 0) {
            memcpy(look->aggregate[i], aggregate, sizeof aggregate);
        }
        if (strcmp(look->aggregate[i], aggregate) == 0) {
            cr_assert_gt(sequence, look->last_sequence[i],
                         "aggregate %s: version %" PRIu64 " lies before the one it follows",
                         aggregate, event->envelope.version);
            look->last_sequence[i] = sequence;
            return;
        }
    }
}

static void check_payload(struct look *look, const struct quipu_event_view *event)
{
    char cid[QUIPU_CID_TEXT_BYTES];
    char subject[256];
    char expected[512];
    quipu_cid_format(&event->envelope.payload, cid);
    struct quipu_buf name = QUIPU_BUF_INIT;
    struct quipu_buf digest = QUIPU_BUF_INIT;
    cr_assert_eq(quipu_multibase_encode(QUIPU_BASE_64_URL_PAD, quipu_slice_text(cid), &name, NULL),
                 QUIPU_OK);
    cr_assert_eq(
        quipu_multibase_encode(QUIPU_BASE_64_URL_PAD,
                               quipu_slice(event->envelope.payload.digest, QUIPU_SHA256_BYTES),
                               &digest, NULL),
        QUIPU_OK);
    (void)snprintf(subject, sizeof subject, "$O.%s.M.%.*s", QUIPU_BUCKET_DEFAULT,
                   (int)(name.len - 1), (const char *)name.data + 1);
    natsMsg *meta = look_last(look, "OBJ_" QUIPU_BUCKET_DEFAULT, subject);
    if (event->payload.len > LONG_PAYLOAD_BYTES) {
        /* Its chunks are another test's business. */
        cr_assert_not_null(strstr(natsMsg_GetData(meta), "-chunks\",\"size\":"));
        natsMsg_Destroy(meta);
        quipu_buf_release(&name);
        quipu_buf_release(&digest);
        return;
    }
    (void)snprintf(expected, sizeof expected,
                   "{\"name\":\"%s\",\"bucket\":\"%s\",\"nuid\":\"%s\",\"size\":%zu,\"mtime\":"
                   "\"0001-01-01T00:00:00Z\",\"chunks\":1,\"digest\":\"SHA-256=%.*s\"}",
                   cid, QUIPU_BUCKET_DEFAULT, cid, event->payload.len, (int)(digest.len - 1),
                   (const char *)digest.data + 1);
    cr_assert_eq((size_t)natsMsg_GetDataLength(meta), strlen(expected));
    cr_assert_arr_eq(natsMsg_GetData(meta), expected, strlen(expected));
    natsMsg_Destroy(meta);

    (void)snprintf(subject, sizeof subject, "$O.%s.C.%s", QUIPU_BUCKET_DEFAULT, cid);
    natsMsg *chunk = look_last(look, "OBJ_" QUIPU_BUCKET_DEFAULT, subject);
    cr_assert_eq((size_t)natsMsg_GetDataLength(chunk), event->payload.len);
    cr_assert_arr_eq(natsMsg_GetData(chunk), event->payload.data, event->payload.len);
    natsMsg_Destroy(chunk);
    quipu_buf_release(&name);
    quipu_buf_release(&digest);
}

static enum quipu_status check_event(void *ctx, const struct quipu_event_view *event,
                                     struct quipu_error *err)
{
    (void)err;
    struct look *look = ctx;
    char id[QUIPU_UUID_TEXT_BYTES];
    char subject[512];
    quipu_uuid_format(event->envelope.event_id, id);
    (void)snprintf(subject, sizeof subject, "%s.%.*s.%.*s.%s", QUIPU_SUBJECT_PREFIX_DEFAULT,
                   QUIPU_SLICE_FMT(event->envelope.aggregate_type),
                   QUIPU_SLICE_FMT(event->envelope.event_type), id);
    natsMsg *msg = look_last(look, QUIPU_STREAM_DEFAULT, subject);
    const char *sequence = NULL;
    cr_assert_eq(natsMsgHeader_Get(msg, "Nats-Sequence", &sequence), NATS_OK);
    cr_assert_eq((size_t)natsMsg_GetDataLength(msg), event->envelope_block.len);
    cr_assert_arr_eq(natsMsg_GetData(msg), event->envelope_block.data, event->envelope_block.len);
    check_order(look, event, strtoull(sequence, NULL, 10));
    natsMsg_Destroy(msg);
    check_payload(look, event);
    look->checked++;
    return QUIPU_OK;
}

void js_expect_all_published(const struct nats_fixture *server, struct js_store *store)
{
    struct look look;
    struct quipu_error err;
    look_open(&look, server);
    must(quipu_each_event(store->engine, NULL, check_event, &look, &err), &err, "read the store");
    /* As many messages as events, and every event there: so none is twice. */
    cr_assert_eq(look_messages(&look, QUIPU_STREAM_DEFAULT), look.checked);
    look_close(&look);
}

/* ------------------------------------------------------------------ comparing stores */

struct compare {
    struct quipu_txn *txn;
    uint64_t seen;
};

static enum quipu_status compare_event(void *ctx, const struct quipu_event_view *event,
                                       struct quipu_error *err)
{
    struct compare *compare = ctx;
    struct quipu_record record;
    cr_assert_eq(quipu_txn_find_event_id(compare->txn, event->envelope.event_id, &record, err),
                 QUIPU_OK);
    cr_assert(quipu_slice_equal(record.envelope, event->envelope_block));
    cr_assert(quipu_slice_equal(record.payload, event->payload));
    compare->seen++;
    return QUIPU_OK;
}

void js_assert_same_events(struct js_store *a, struct js_store *b)
{
    struct quipu_error err;
    struct compare compare = {NULL, 0};
    cr_assert_eq(quipu_txn_begin_read(b->store, &compare.txn, &err), QUIPU_OK);
    cr_assert_eq(quipu_each_event(a->engine, NULL, compare_event, &compare, &err), QUIPU_OK);
    cr_assert_eq(quipu_txn_last_position(compare.txn), compare.seen);
    quipu_txn_abort(&compare.txn);
}

/*
 * quipu through its public engine API: strict check of each payload, secret guard, envelope, both
 * hashes, dedup by event_id, expected version and every index are inside what is measured.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>
#include <string.h>

#include "bench_store.h"
#include "quipu/engine.h"

#define SLICE_EVENTS 10000

struct knots {
    struct quipu_store *store;
    struct quipu_engine *engine;
};

struct knots_session {
    struct knots *knots;
    struct quipu_event *events;
    size_t cap;
};

static void must(enum quipu_status status, const struct quipu_error *err, const char *what)
{
    if (status != QUIPU_OK) {
        die("quipu: %s: %s", what, err->message);
    }
}

static void *knots_open(const char *path, enum open_mode mode)
{
    struct knots *knots = must_alloc(1, sizeof *knots);
    struct quipu_store_options options = QUIPU_STORE_OPTIONS_INIT;
    struct quipu_error err;
    options.durability = mode == OPEN_PREFILL ? QUIPU_RELAXED : QUIPU_DURABLE;
    must(quipu_store_open(path, &options, &knots->store, &err), &err, "open");
    must(quipu_engine_open(knots->store, NULL, &knots->engine, &err), &err, "engine");
    return knots;
}

static void knots_close(void *store)
{
    struct knots *knots = store;
    quipu_engine_close(&knots->engine);
    quipu_store_close(&knots->store);
    free(knots);
}

static void *knots_session_open(void *store)
{
    struct knots_session *session = must_alloc(1, sizeof *session);
    session->knots = store;
    return session;
}

static void knots_session_close(void *opened)
{
    struct knots_session *session = opened;
    free(session->events);
    free(session);
}

/* The events of the samples, with the samples' event_ids or without. */
static void make_events(struct knots_session *session, const struct sample *samples, size_t count,
                        bool has_ids)
{
    if (session->cap < count) {
        free(session->events);
        session->events = must_alloc(count, sizeof *session->events);
        session->cap = count;
    }
    for (size_t i = 0; i < count; i++) {
        struct quipu_event *event = &session->events[i];
        event->type = samples[i].type;
        event->aggregate.type = AGGREGATE_TYPE;
        event->aggregate.id = samples[i].aggregate_id;
        event->payload = quipu_slice(samples[i].payload, samples[i].payload_bytes);
        event->expected = quipu_expect_exact(samples[i].version - 1);
        memcpy(event->correlation_id.bytes, samples[i].correlation_id, EVENT_ID_BYTES);
        memset(event->event_id.bytes, 0, EVENT_ID_BYTES);
        if (has_ids) {
            memcpy(event->event_id.bytes, samples[i].event_id, EVENT_ID_BYTES);
        }
    }
}

static void knots_append(void *opened, const struct sample *samples, size_t count)
{
    struct knots_session *session = opened;
    struct quipu_error err;
    make_events(session, samples, count, false);
    must(quipu_append_batch(session->knots->engine, session->events, count, NULL, NULL, &err), &err,
         "append");
}

static uint64_t knots_append_new(void *opened, const struct sample *samples, size_t count)
{
    struct knots_session *session = opened;
    struct quipu_error err;
    struct quipu_appended *appended = must_alloc(count, sizeof *appended);
    uint64_t fresh = 0;
    make_events(session, samples, count, true);
    must(quipu_append_batch(session->knots->engine, session->events, count, appended, NULL, &err),
         &err, "append");
    for (size_t i = 0; i < count; i++) {
        fresh += appended[i].was_duplicate ? 0 : 1;
    }
    free(appended);
    return fresh;
}

static void touch_record(const struct quipu_record *record)
{
    blocks_touch(record->envelope.data, record->envelope.len, record->payload.data,
                 record->payload.len, SCAN_RECORDS);
}

/* Records alone, below the engine: what a cursor of LMDB does. */
static uint64_t scan_records(struct knots *knots, uint64_t count)
{
    struct quipu_error err;
    uint64_t seen = 0;
    bool is_end = false;
    while (!is_end && seen < count) {
        struct quipu_txn *txn;
        must(quipu_txn_begin_read(knots->store, &txn, &err), &err, "begin");
        uint64_t last = quipu_txn_last_position(txn);
        uint64_t until = last < count ? last : count;
        is_end = until <= seen + SLICE_EVENTS;
        until = is_end ? until : seen + SLICE_EVENTS;
        while (seen < until) {
            struct quipu_record record;
            must(quipu_txn_record_at(txn, seen + 1, &record, &err), &err, "record");
            touch_record(&record);
            seen++;
        }
        quipu_txn_abort(&txn);
    }
    return seen;
}

struct visit {
    uint64_t seen;
};

static enum quipu_status visit_event(void *ctx, const struct quipu_event_view *event,
                                     struct quipu_error *err)
{
    struct visit *visit = ctx;
    visit->seen++;
    bench_sink += event->envelope.version + event->payload.len;
    (void)err;
    return QUIPU_OK;
}

static uint64_t each_event(struct knots *knots, const struct quipu_filter *filter, bool is_hashed)
{
    struct visit visit = {0};
    struct quipu_filter wanted = *filter;
    struct quipu_error err;
    wanted.skips_hashing = !is_hashed;
    must(quipu_each_event(knots->engine, &wanted, visit_event, &visit, &err), &err, "read");
    return visit.seen;
}

static uint64_t knots_scan(void *opened, enum scan_kind kind, uint64_t count)
{
    struct knots_session *session = opened;
    struct quipu_filter filter = {.until = count};
    if (kind == SCAN_RECORDS) {
        return scan_records(session->knots, count);
    }
    return each_event(session->knots, &filter, kind == SCAN_HASHED);
}

static void knots_get(void *opened, const uint8_t digest[DIGEST_BYTES])
{
    struct knots_session *session = opened;
    struct quipu_cid cid = {.codec = QUIPU_CODEC_DAG_CBOR};
    struct quipu_txn *txn;
    struct quipu_record record;
    enum quipu_block_kind kind;
    struct quipu_error err;
    memcpy(cid.digest, digest, DIGEST_BYTES);
    must(quipu_txn_begin_read(session->knots->store, &txn, &err), &err, "begin");
    must(quipu_txn_find_cid(txn, &cid, &record, &kind, &err), &err, "find");
    touch_record(&record);
    quipu_txn_abort(&txn);
}

static uint64_t knots_aggregate(void *opened, const char *aggregate_id)
{
    struct knots_session *session = opened;
    struct quipu_filter filter = {.aggregate_type = AGGREGATE_TYPE, .aggregate_id = aggregate_id};
    return each_event(session->knots, &filter, false);
}

static uint64_t knots_from_version(void *opened, const char *aggregate_id, uint64_t version)
{
    struct knots_session *session = opened;
    struct quipu_filter filter = {
        .aggregate_type = AGGREGATE_TYPE, .aggregate_id = aggregate_id, .from_version = version};
    return each_event(session->knots, &filter, false);
}

static uint64_t knots_by_type(void *opened, const char *type)
{
    struct knots_session *session = opened;
    struct quipu_filter filter = {.event_type = type};
    return each_event(session->knots, &filter, false);
}

static uint64_t knots_by_correlation(void *opened, const uint8_t id[EVENT_ID_BYTES])
{
    struct knots_session *session = opened;
    struct quipu_filter filter = {.event_type = NULL};
    memcpy(filter.correlation_id.bytes, id, EVENT_ID_BYTES);
    return each_event(session->knots, &filter, false);
}

static void knots_digest(void *opened, uint64_t number, uint8_t out[DIGEST_BYTES])
{
    struct knots_session *session = opened;
    struct quipu_txn *txn;
    struct quipu_record record;
    struct quipu_error err;
    must(quipu_txn_begin_read(session->knots->store, &txn, &err), &err, "begin");
    must(quipu_txn_record_at(txn, number + 1, &record, &err), &err, "record");
    memcpy(out, record.envelope_cid.digest, DIGEST_BYTES);
    quipu_txn_abort(&txn);
}

const struct peer PEER_QUIPU = {
    .name = "quipu",
    .note = "quipu's engine: strict payload check, envelope, both hashes and dedup included",
    .folder = "quipu",
    .open = knots_open,
    .close = knots_close,
    .session_open = knots_session_open,
    .session_close = knots_session_close,
    .append = knots_append,
    .scan = knots_scan,
    .get = knots_get,
    .aggregate = knots_aggregate,
    .append_new = knots_append_new,
    .from_version = knots_from_version,
    .by_type = knots_by_type,
    .by_correlation = knots_by_correlation,
    .digest = knots_digest,
};

/*
 * The queries `event` and `events`. A page of events ends where the log ended when the answer
 * began; where events that are not wanted have to be looked at, it also ends after a span of
 * positions, so that one answer costs a bounded amount of work. Each event is hashed again before
 * it is shown.
 *
 * Specification: docs/SPEC.md §8.1.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "engine_impl.h"
#include "event_checked.h"
#include "query_reply.h"

/* The blocks as the items they are, so that the bytes of each hash to its CID; what a reply cannot
 * hold so (a payload that is no DAG-CBOR, that DAG-JSON cannot carry, or nested very deep) as
 * bytes.
 */
static void write_event(struct quipu_dagcbor_writer *writer, const struct quipu_event_view *event)
{
    bool has_payload =
        event->envelope.payload.codec == QUIPU_CODEC_DAG_CBOR && reply_takes_item(event->payload);
    bool has_envelope = reply_takes_item(event->envelope_block);
    quipu_dagcbor_write_map(writer, 4);
    quipu_dagcbor_write_key(writer, "cid");
    quipu_dagcbor_write_link(writer, &event->cid);
    if (has_payload) {
        quipu_dagcbor_write_key(writer, "payload");
        quipu_dagcbor_write_item(writer, event->payload);
    }
    if (has_envelope) {
        quipu_dagcbor_write_key(writer, "envelope");
        quipu_dagcbor_write_item(writer, event->envelope_block);
    }
    reply_write_number(writer, "position", event->position);
    if (!has_payload) {
        quipu_dagcbor_write_key(writer, "raw_payload");
        quipu_dagcbor_write_bytes(writer, event->payload);
    }
    if (!has_envelope) {
        quipu_dagcbor_write_key(writer, "raw_envelope");
        quipu_dagcbor_write_bytes(writer, event->envelope_block);
    }
}

static enum quipu_status find_event(struct quipu_txn *txn, const struct quipu_query *query,
                                    struct quipu_record *out, struct quipu_error *err)
{
    char text[QUIPU_CID_TEXT_BYTES];
    enum quipu_block_kind kind;
    enum quipu_status status;
    if (query->position != 0) {
        status = quipu_txn_record_at(txn, query->position, out, err);
        return status == QUIPU_NOT_FOUND
                   ? quipu_error_set(err, status,
                                     "no event at position %" PRIu64 ", the last is %" PRIu64,
                                     query->position, quipu_txn_last_position(txn))
                   : status;
    }
    if (query->has_cid) {
        status = quipu_txn_find_cid(txn, &query->cid, out, &kind, err);
        quipu_cid_format(&query->cid, text);
    } else {
        status = quipu_txn_find_event_id(txn, query->event_id, out, err);
        quipu_uuid_format(query->event_id, text);
    }
    return status == QUIPU_NOT_FOUND ? quipu_error_set(err, status, "no event %s", text) : status;
}

enum quipu_status query_event(struct quipu_txn *txn, const struct quipu_query *query,
                              struct quipu_buf *reply, struct quipu_error *err)
{
    struct quipu_record record;
    struct quipu_event_view event;
    enum quipu_status status = find_event(txn, query, &record, err);
    if (status == QUIPU_OK) {
        status = event_view_checked(&record, &event, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, reply);
    quipu_dagcbor_write_map(&writer, 3);
    reply_write_format(&writer);
    quipu_dagcbor_write_key(&writer, "event");
    write_event(&writer, &event);
    reply_write_kind(&writer, query->kind);
    return quipu_dagcbor_writer_finish(&writer, err);
}

/* What the walk over events leaves behind. */
struct events_page {
    struct page page;
    uint64_t last; /* position of the page's last event */
};

static enum quipu_status add_event(void *ctx, const struct quipu_event_view *event,
                                   struct quipu_error *err)
{
    struct events_page *events = ctx;
    struct page *page = &events->page;
    struct quipu_dagcbor_writer writer;
    size_t start = page->items.len;
    if (page->count == page->limit) {
        page->has_more = true;
        return QUIPU_DONE;
    }
    quipu_dagcbor_writer_init(&writer, &page->items);
    write_event(&writer, event);
    enum quipu_status status = quipu_dagcbor_writer_finish(&writer, err);
    if (status == QUIPU_OK) {
        status = page_add(page, start, "an event", err);
    }
    if (status == QUIPU_OK) {
        events->last = event->position;
        return QUIPU_OK;
    }
    return status == QUIPU_TOO_LARGE
               ? quipu_error_wrap(err, status, "position %" PRIu64, event->position)
               : status;
}

/* C text of what the request borrows; decoding has held the lengths against these limits. */
struct names {
    char event_type[QUIPU_EVENT_TYPE_BYTES_MAX + 1];
    char aggregate_type[QUIPU_AGGREGATE_TYPE_BYTES_MAX + 1];
    char aggregate_id[QUIPU_AGGREGATE_ID_BYTES_MAX + 1];
};

static const char *name_of(struct quipu_slice text, char *storage)
{
    if (text.len == 0) {
        return NULL;
    }
    memcpy(storage, text.data, text.len);
    storage[text.len] = 0;
    return storage;
}

/* Where more than one thing is asked for, or one that no index leads to, events that are not wanted
 * have to be looked at: then one answer goes over QUIPU_QUERY_SPAN_MAX positions at most. */
static bool is_searched(const struct quipu_query *query)
{
    int wanted = (query->aggregate_type.len > 0) + (query->event_type.len > 0) +
                 !quipu_uuid_is_nil(query->correlation_id);
    return wanted > 1 || (query->aggregate_type.len > 0 && query->aggregate_id.len == 0);
}

/* The filter of one page, as the log is now. `*next` is where to go on when the page does not end
 * before; 0: nowhere. @retval QUIPU_DONE  nothing can be in it */
static enum quipu_status filter_of(const struct quipu_query *query, uint64_t end,
                                   struct names *names, struct quipu_filter *out, uint64_t *next)
{
    uint64_t first = query->since == 0 ? 1 : query->since;
    uint64_t last = query->until == 0 || query->until > end ? end : query->until;
    *next = 0;
    if (query->after != 0 && query->is_newest_first && query->after <= last) {
        last = query->after - 1;
    } else if (!query->is_newest_first && query->after >= first) {
        if (query->after >= last) {
            return QUIPU_DONE;
        }
        first = query->after + 1;
    }
    if (first > last) {
        return QUIPU_DONE;
    }
    if (is_searched(query) && last - first >= QUIPU_QUERY_SPAN_MAX) {
        if (query->is_newest_first) {
            first = last - QUIPU_QUERY_SPAN_MAX + 1;
            *next = first;
        } else {
            last = first + QUIPU_QUERY_SPAN_MAX - 1;
            *next = last;
        }
    }
    *out = (struct quipu_filter){
        .after = first - 1,
        .until = last,
        .aggregate_type = name_of(query->aggregate_type, names->aggregate_type),
        .aggregate_id = name_of(query->aggregate_id, names->aggregate_id),
        .event_type = name_of(query->event_type, names->event_type),
        .correlation_id = query->correlation_id,
        .from_version = query->from_version,
        .direction = query->is_newest_first ? QUIPU_BACKWARDS : QUIPU_FORWARDS,
    };
    return QUIPU_OK;
}

static enum quipu_status write_events(const struct events_page *events, uint64_t next, uint64_t end,
                                      struct quipu_buf *reply, struct quipu_error *err)
{
    struct quipu_dagcbor_writer writer;
    uint64_t after = events->page.has_more ? events->last : next;
    quipu_dagcbor_writer_init(&writer, reply);
    quipu_dagcbor_write_map(&writer, after != 0 ? 5 : 4);
    reply_write_format(&writer);
    reply_write_number(&writer, "last", end);
    if (after != 0) {
        reply_write_number(&writer, "next", after);
    }
    reply_write_kind(&writer, QUIPU_QUERY_EVENTS);
    page_write(&events->page, "events", &writer);
    return quipu_dagcbor_writer_finish(&writer, err);
}

enum quipu_status query_events(struct quipu_engine *engine, const struct quipu_query *query,
                               size_t reply_bytes_max, struct quipu_buf *reply,
                               struct quipu_error *err)
{
    struct events_page events = {.last = 0};
    struct quipu_filter filter;
    struct names names;
    uint64_t end = 0;
    uint64_t next = 0;
    page_init(&events.page, query, reply_bytes_max);
    enum quipu_status status = engine_last_position(engine, &end, err);
    if (status == QUIPU_OK) {
        status = filter_of(query, end, &names, &filter, &next);
    }
    if (status == QUIPU_OK) {
        status = quipu_each_event(engine, &filter, add_event, &events, err);
    }
    if (status == QUIPU_OK || status == QUIPU_DONE) {
        status = write_events(&events, next, end, reply, err);
    }
    page_release(&events.page);
    return status;
}

/*
 * The sample: events of 308 bytes with the envelope's keys, written as a fixed schema and as a map
 * whose keys come in any order.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_cid.h"

static const char SOURCE[] = "UBENCHBENCHBENCHBENCHBENCHBENCHBENCHBENCHBENCHBENCHBENCH";

static uint64_t draw(void)
{
    static uint64_t seed = 20261120;
    uint64_t z = (seed += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static void draw_bytes(uint8_t *into, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        into[i] = (uint8_t)draw();
    }
}

static const struct quipu_dagcbor_key KEY_V = QUIPU_DAGCBOR_KEY("v");
static const struct quipu_dagcbor_key KEY_SCHEMA = QUIPU_DAGCBOR_KEY("schema");
static const struct quipu_dagcbor_key KEY_SOURCE = QUIPU_DAGCBOR_KEY("source");
static const struct quipu_dagcbor_key KEY_PAYLOAD = QUIPU_DAGCBOR_KEY("payload");
static const struct quipu_dagcbor_key KEY_VERSION = QUIPU_DAGCBOR_KEY("version");
static const struct quipu_dagcbor_key KEY_EVENT_ID = QUIPU_DAGCBOR_KEY("event_id");
static const struct quipu_dagcbor_key KEY_EVENT_TYPE = QUIPU_DAGCBOR_KEY("event_type");
static const struct quipu_dagcbor_key KEY_SOURCE_SEQ = QUIPU_DAGCBOR_KEY("source_seq");
static const struct quipu_dagcbor_key KEY_OCCURRED_AT = QUIPU_DAGCBOR_KEY("occurred_at");
static const struct quipu_dagcbor_key KEY_AGGREGATE_ID = QUIPU_DAGCBOR_KEY("aggregate_id");
static const struct quipu_dagcbor_key KEY_CAUSATION_ID = QUIPU_DAGCBOR_KEY("causation_id");
static const struct quipu_dagcbor_key KEY_AGGREGATE_TYPE = QUIPU_DAGCBOR_KEY("aggregate_type");
static const struct quipu_dagcbor_key KEY_CORRELATION_ID = QUIPU_DAGCBOR_KEY("correlation_id");

void event_write_fixed(const struct event *event, struct quipu_buf *out)
{
    struct quipu_dagcbor_writer w;
    quipu_dagcbor_writer_init(&w, out);
    quipu_dagcbor_write_map(&w, EVENT_PAIRS);
    quipu_dagcbor_write_pair_uint(&w, &KEY_V, 1);
    quipu_dagcbor_write_key(&w, "prev");
    quipu_dagcbor_write_list(&w, 0);
    quipu_dagcbor_write_pair_uint(&w, &KEY_SCHEMA, 1);
    quipu_dagcbor_write_pair_text(&w, &KEY_SOURCE, quipu_slice(SOURCE, sizeof SOURCE - 1));
    quipu_dagcbor_write_pair_link(&w, &KEY_PAYLOAD, &event->payload);
    quipu_dagcbor_write_pair_uint(&w, &KEY_VERSION, 1);
    quipu_dagcbor_write_pair_bytes(&w, &KEY_EVENT_ID, quipu_slice(event->event_id, 16));
    quipu_dagcbor_write_pair_text(&w, &KEY_EVENT_TYPE, quipu_slice("key.signed", 10));
    quipu_dagcbor_write_pair_uint(&w, &KEY_SOURCE_SEQ, event->source_seq);
    quipu_dagcbor_write_pair_int(&w, &KEY_OCCURRED_AT, event->occurred_at);
    quipu_dagcbor_write_pair_text(&w, &KEY_AGGREGATE_ID, quipu_slice(event->aggregate_id, 3));
    quipu_dagcbor_write_pair_null(&w, &KEY_CAUSATION_ID);
    quipu_dagcbor_write_pair_text(&w, &KEY_AGGREGATE_TYPE, quipu_slice("key", 3));
    quipu_dagcbor_write_pair_bytes(&w, &KEY_CORRELATION_ID, quipu_slice(event->correlation_id, 16));
    if (quipu_dagcbor_writer_finish(&w, NULL) != QUIPU_OK) {
        abort();
    }
}

/* Few keys: sorting by insertion beats qsort. */
void event_write_dynamic(const struct event *event, struct quipu_buf *out)
{
    const struct event_pair *sorted[EVENT_PAIRS];
    for (size_t i = 0; i < EVENT_PAIRS; i++) {
        const struct event_pair *pair = &event->pairs[i];
        size_t at = i;
        while (at > 0 && quipu_dagcbor_key_compare(pair->key, sorted[at - 1]->key) < 0) {
            sorted[at] = sorted[at - 1];
            at--;
        }
        sorted[at] = pair;
    }
    struct quipu_dagcbor_writer w;
    quipu_dagcbor_writer_init(&w, out);
    quipu_dagcbor_write_map(&w, EVENT_PAIRS);
    for (size_t i = 0; i < EVENT_PAIRS; i++) {
        quipu_dagcbor_write_pair_read(&w, sorted[i]->key, &sorted[i]->value);
    }
    if (quipu_dagcbor_writer_finish(&w, NULL) != QUIPU_OK) {
        abort();
    }
}

static void read_pairs(struct event *event)
{
    /* An order that a hash table might give. */
    static const size_t order[EVENT_PAIRS] = {9, 2, 12, 5, 0, 7, 13, 3, 10, 1, 6, 11, 4, 8};
    struct quipu_dagcbor_reader reader;
    struct quipu_dagcbor_item item;
    quipu_dagcbor_reader_init(&reader, quipu_slice(event->block, EVENT_BYTES));
    bool is_ok = quipu_dagcbor_next(&reader, &item, NULL) == QUIPU_OK;
    for (size_t i = 0; i < EVENT_PAIRS; i++) {
        struct event_pair *pair = &event->pairs[order[i]];
        is_ok = is_ok && quipu_dagcbor_next(&reader, &item, NULL) == QUIPU_OK;
        pair->key = item.bytes;
        is_ok = is_ok && quipu_dagcbor_next(&reader, &pair->value, NULL) == QUIPU_OK;
    }
    if (!is_ok) {
        abort();
    }
}

static void make_event(struct event *event, size_t number)
{
    draw_bytes(event->event_id, sizeof event->event_id);
    memcpy(event->correlation_id, event->event_id, sizeof event->event_id);
    (void)snprintf(event->aggregate_id, sizeof event->aggregate_id, "%03zx", number);
    event->payload.codec = QUIPU_CODEC_DAG_CBOR;
    draw_bytes(event->payload.digest, sizeof event->payload.digest);
    event->source_seq = 100000 + number;
    event->occurred_at = INT64_C(1795183098000000) + (int64_t)number;
    uint8_t storage[2 * EVENT_BYTES];
    struct quipu_buf out;
    quipu_buf_init_fixed(&out, storage, sizeof storage);
    event_write_fixed(event, &out);
    if (out.len != EVENT_BYTES) {
        fprintf(stderr, "bench_cid: an event has %zu bytes, not %d\n", out.len, EVENT_BYTES);
        abort();
    }
    memcpy(event->block, storage, EVENT_BYTES);
    read_pairs(event);
}

struct event *bench_events(void)
{
    static struct event events[EVENT_COUNT];
    static bool is_made;
    for (size_t i = 0; !is_made && i < EVENT_COUNT; i++) {
        make_event(&events[i], i);
    }
    is_made = true;
    return events;
}

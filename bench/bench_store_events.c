/*
 * The events of bench_store: envelopes as the engine makes them, about 550 bytes with the payload.
 *
 * The peers' events are copies of one encoded envelope and one payload in which everything that
 * tells events apart is overwritten, so that making them costs next to nothing and no hash.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bench_store.h"
#include "quipu/buf.h"
#include "quipu/dagcbor.h"
#include "quipu/envelope.h"
#include "quipu/sha256.h"

#define LANE_SHIFT 40

static const char SOURCE[] = "UBENCHBENCHBENCHBENCHBENCHBENCHBENCHBENCHBENCHBENCHBENCH";
static const char AGGREGATE_MARK[] = "k00-0000000";

static struct sample template_sample;
static size_t at_event_id;
static size_t at_aggregate_id;
static size_t at_payload_digest;
static size_t at_type;
static size_t at_correlation_id;
static size_t at_serial;
static pthread_once_t template_once = PTHREAD_ONCE_INIT;

uint64_t random_next(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static void fill_random(uint64_t seed, uint8_t *into, size_t len)
{
    for (size_t i = 0; i < len; i += sizeof(uint64_t)) {
        uint64_t word = random_next(&seed);
        memcpy(into + i, &word, sizeof word);
    }
}

static void write_text(struct quipu_dagcbor_writer *w, const char *key, const char *text)
{
    quipu_dagcbor_write_key(w, key);
    quipu_dagcbor_write_text(w, quipu_slice(text, strlen(text)));
}

static void template_payload(struct sample *sample, const uint8_t serial[DIGEST_BYTES])
{
    struct quipu_buf out;
    struct quipu_dagcbor_writer w;
    quipu_buf_init_fixed(&out, sample->payload, sizeof sample->payload);
    quipu_dagcbor_writer_init(&w, &out);
    quipu_dagcbor_write_map(&w, 6);
    write_text(&w, "role", "intermediate-authority");
    quipu_dagcbor_write_key(&w, "serial");
    quipu_dagcbor_write_bytes(&w, quipu_slice(serial, DIGEST_BYTES));
    write_text(&w, "purpose", "certificate-signing");
    write_text(&w, "subject", "CN=Example Issuing Authority 7, O=Example");
    write_text(&w, "algorithm", "ed25519");
    write_text(&w, "custodian", "custodian-04");
    if (quipu_dagcbor_writer_finish(&w, NULL) != QUIPU_OK) {
        die("cannot encode the payload");
    }
    sample->payload_bytes = out.len;
}

static size_t find_bytes(const uint8_t *in, size_t len, const void *what, size_t what_len)
{
    const uint8_t *found = memmem(in, len, what, what_len);
    if (found == NULL) {
        die("a field is not in its block");
    }
    return (size_t)(found - in);
}

static void make_template(void)
{
    struct sample *sample = &template_sample;
    struct quipu_envelope envelope = {
        .event_type = quipu_slice(TYPE_COMMON, strlen(TYPE_COMMON)),
        .schema = 1,
        .aggregate_type = quipu_slice(AGGREGATE_TYPE, strlen(AGGREGATE_TYPE)),
        .aggregate_id = quipu_slice(AGGREGATE_MARK, sizeof AGGREGATE_MARK - 1),
        .version = 50,
        .prev_count = 1,
        .occurred_unix_us = INT64_C(1795183098000000),
        .source = quipu_slice(SOURCE, sizeof SOURCE - 1),
        .source_seq = 100000,
    };
    uint8_t serial[DIGEST_BYTES];
    fill_random(1, serial, sizeof serial);
    fill_random(2, envelope.event_id.bytes, EVENT_ID_BYTES);
    fill_random(3, envelope.correlation_id.bytes, EVENT_ID_BYTES);
    envelope.prev[0].codec = QUIPU_CODEC_DAG_CBOR;
    fill_random(4, envelope.prev[0].digest, DIGEST_BYTES);
    envelope.payload.codec = QUIPU_CODEC_DAG_CBOR;
    fill_random(5, envelope.payload.digest, DIGEST_BYTES);
    template_payload(sample, serial);
    struct quipu_buf out;
    struct quipu_error err;
    quipu_buf_init_fixed(&out, sample->envelope, sizeof sample->envelope);
    if (quipu_envelope_encode(&envelope, &out, &err) != QUIPU_OK) {
        die("cannot encode the envelope: %s", err.message);
    }
    sample->envelope_bytes = out.len;
    at_event_id = find_bytes(sample->envelope, out.len, envelope.event_id.bytes, EVENT_ID_BYTES);
    at_aggregate_id =
        find_bytes(sample->envelope, out.len, AGGREGATE_MARK, sizeof AGGREGATE_MARK - 1);
    at_payload_digest =
        find_bytes(sample->envelope, out.len, envelope.payload.digest, DIGEST_BYTES);
    at_type = find_bytes(sample->envelope, out.len, TYPE_COMMON, strlen(TYPE_COMMON));
    at_correlation_id =
        find_bytes(sample->envelope, out.len, envelope.correlation_id.bytes, EVENT_ID_BYTES);
    at_serial = find_bytes(sample->payload, sample->payload_bytes, serial, DIGEST_BYTES);
}

size_t sample_record_bytes(void)
{
    (void)pthread_once(&template_once, make_template);
    return template_sample.envelope_bytes + template_sample.payload_bytes;
}

void sample_digest(uint64_t number, uint8_t out[DIGEST_BYTES])
{
    fill_random(number * 3 + 1, out, DIGEST_BYTES);
}

void sample_correlation_id(uint64_t number, uint8_t out[EVENT_ID_BYTES])
{
    fill_random(~(number / CORRELATION_EVENTS), out, EVENT_ID_BYTES);
}

void sample_aggregate_id(uint64_t aggregate, char out[AGGREGATE_ID_BYTES])
{
    (void)snprintf(out, AGGREGATE_ID_BYTES, "k00-%07" PRIu64, aggregate % 10000000);
}

static void fill_event_id(uint64_t seed, uint8_t out[EVENT_ID_BYTES])
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    uint64_t ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    uint64_t fraction = (uint64_t)now.tv_nsec % 1000000 * 4096 / 1000000;
    fill_random(seed, out, EVENT_ID_BYTES);
    for (size_t i = 0; i < 6; i++) {
        out[i] = (uint8_t)(ms >> (40 - 8 * i));
    }
    out[6] = (uint8_t)(0x70 | fraction >> 8);
    out[7] = (uint8_t)fraction;
    out[8] = (uint8_t)(0x80 | (out[8] & 0x3f));
}

static void sample_make(unsigned lane, uint64_t at, struct sample *out)
{
    uint64_t number = (uint64_t)lane << LANE_SHIFT | at;
    *out = template_sample;
    if (lane == 0 || lane == DEDUP_LANE) {
        uint64_t block = at / PREFILL_GRANULARITY;
        sample_aggregate_id(block * AGGREGATES_IN_TURN + at % AGGREGATES_IN_TURN,
                            out->aggregate_id);
        out->aggregate_id[0] = lane == 0 ? 'k' : 'd';
        out->version = at % PREFILL_GRANULARITY / AGGREGATES_IN_TURN + 1;
    } else {
        (void)snprintf(out->aggregate_id, sizeof out->aggregate_id, "t%02u-%07" PRIu64, lane % 100,
                       at / AGGREGATE_EVENTS % 10000000);
        out->version = at % AGGREGATE_EVENTS + 1;
    }
    out->type = at % RARE_EVERY == 0 ? TYPE_RARE : TYPE_COMMON;
    sample_correlation_id(number, out->correlation_id);
    fill_event_id(number * 3, out->event_id);
    if (lane == DEDUP_LANE) {
        fill_random(number * 3, out->event_id, EVENT_ID_BYTES);
        out->event_id[6] = (uint8_t)(0x40 | (out->event_id[6] & 0x0f));
        out->event_id[8] = (uint8_t)(0x80 | (out->event_id[8] & 0x3f));
    }
    sample_digest(number, out->envelope_digest);
    fill_random(number * 3 + 2, out->payload_digest, DIGEST_BYTES);
    memcpy(out->envelope + at_event_id, out->event_id, EVENT_ID_BYTES);
    memcpy(out->envelope + at_type, out->type, strlen(TYPE_COMMON));
    memcpy(out->envelope + at_correlation_id, out->correlation_id, EVENT_ID_BYTES);
    memcpy(out->envelope + at_aggregate_id, out->aggregate_id, sizeof AGGREGATE_MARK - 1);
    memcpy(out->envelope + at_payload_digest, out->payload_digest, DIGEST_BYTES);
    memcpy(out->payload + at_serial, out->envelope_digest, DIGEST_BYTES);
}

void samples_make(struct lanes *lanes, unsigned lane, struct sample *out, size_t count)
{
    (void)pthread_once(&template_once, make_template);
    for (size_t i = 0; i < count; i++) {
        sample_make(lane, lanes->next[lane]++, &out[i]);
    }
}

void blocks_touch(const uint8_t *envelope, size_t envelope_bytes, const uint8_t *payload,
                  size_t payload_bytes, enum scan_kind kind)
{
    if (kind == SCAN_HASHED) {
        uint8_t digest[QUIPU_SHA256_BYTES];
        quipu_sha256(quipu_slice(envelope, envelope_bytes), digest);
        bench_sink += digest[0];
        quipu_sha256(quipu_slice(payload, payload_bytes), digest);
        bench_sink += digest[0];
        return;
    }
    bench_sink += (uint64_t)envelope[0] + envelope[envelope_bytes - 1] + payload[0] +
                  payload[payload_bytes - 1];
}

/*
 * A record of the log as bytes. Nothing is stored twice: what names the event, its aggregate, its
 * type and its correlation is in the envelope already, so the header only says where. All that
 * derives from the log can so be made again without understanding an envelope. Never touches LMDB.
 * SPEC §6.3.
 *
 *   0  u8   record format, 1                 14  u8   aggregate type bytes
 *   1  u8   codec of the payload             15  u8   aggregate id bytes
 *   2  u16  event_id at, in the envelope     16  u8   event type bytes
 *   4  u16  payload digest at                17  u24  envelope bytes
 *   6  u16  aggregate type at                20  u32  payload bytes
 *   8  u16  aggregate id at                  24  u64  version
 *  10  u16  event type at                    32  u64  previous position in the aggregate, 0: none
 *  12  u16  correlation_id at,               40  [32] digest of the envelope
 *           0xffff: it is the event_id       72  envelope, then payload
 *                                                all integers big-endian
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "record.h"

#include <inttypes.h>
#include <string.h>

#include "internal/bytes.h"
#include "internal/fnv.h"

#define RECORD_FORMAT 1

/* No 16 bytes of an envelope of at most 65,536 lie there. */
#define IS_EVENT_ID 0xffff

#define VERSION_MAX (UINT64_MAX >> 1)

static enum quipu_status check_limits(const struct quipu_record_new *record,
                                      struct quipu_error *err)
{
    if (record->envelope.len > QUIPU_ENVELOPE_BYTES_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE, "envelope has %zu bytes, limit %u",
                               record->envelope.len, QUIPU_ENVELOPE_BYTES_MAX);
    }
    if (record->payload.len > QUIPU_PAYLOAD_BYTES_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE, "payload has %zu bytes, limit %u",
                               record->payload.len, QUIPU_PAYLOAD_BYTES_MAX);
    }
    if (record->event_type.len == 0 || record->event_type.len > QUIPU_TERM_BYTES_MAX) {
        return quipu_error_set(err, record->event_type.len == 0 ? QUIPU_MISUSE : QUIPU_TOO_LARGE,
                               "event type has %zu bytes, want 1 to %d", record->event_type.len,
                               QUIPU_TERM_BYTES_MAX);
    }
    if (record->version > VERSION_MAX) {
        return quipu_error_set(err, QUIPU_MISUSE, "version %" PRIu64 " is above 2^63 - 1",
                               record->version);
    }
    if (record->envelope_cid.codec != QUIPU_CODEC_DAG_CBOR ||
        (record->payload_cid.codec != QUIPU_CODEC_DAG_CBOR &&
         record->payload_cid.codec != QUIPU_CODEC_RAW)) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "codecs 0x%02x (envelope) and 0x%02x (payload): want dag-cbor, and "
                               "dag-cbor or raw",
                               record->envelope_cid.codec, record->payload_cid.codec);
    }
    return QUIPU_OK;
}

/* A search through an envelope for one field after the other. */
struct locator {
    struct quipu_slice envelope;
    size_t at; /* behind what was found last */
    const char *missing;
};

/*
 * Where in the envelope these bytes are. Fields come in the order of their keys, so the search goes
 * on where the last one was found, and only then begins again; where a caller's slice is a part of
 * the envelope there is nothing to search. Any place with the same bytes will do.
 */
static uint16_t locate(struct locator *locator, const void *bytes, size_t len, const char *name)
{
    const uint8_t *all = locator->envelope.data;
    uintptr_t inside = (uintptr_t)bytes - (uintptr_t)all;
    size_t left = locator->envelope.len - locator->at;
    size_t at = (size_t)inside;
    if (inside >= locator->envelope.len || len > locator->envelope.len - inside) {
        const uint8_t *found = left == 0 ? NULL : memmem(all + locator->at, left, bytes, len);
        if (found == NULL) {
            found = memmem(all, locator->envelope.len, bytes, len);
        }
        if (found == NULL) {
            locator->missing = locator->missing == NULL ? name : locator->missing;
            return 0;
        }
        at = (size_t)(found - all);
    }
    locator->at = at + len;
    return (uint16_t)at; /* an envelope has at most 65,536 bytes and what is found is not empty */
}

enum quipu_status quipu_record_plan(const struct quipu_record_new *record,
                                    struct quipu_record_layout *out, struct quipu_error *err)
{
    enum quipu_status status = check_limits(record, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct locator locator = {.envelope = record->envelope};
    bool is_own = quipu_uuid_is_nil(record->correlation_id) ||
                  quipu_uuid_equal(record->correlation_id, record->event_id);
    struct quipu_record_layout layout = {
        .value_bytes = QUIPU_RECORD_HEADER_BYTES + record->envelope.len + record->payload.len,
    };
    layout.payload_digest_at =
        locate(&locator, record->payload_cid.digest, QUIPU_SHA256_BYTES, "payload's digest");
    layout.event_id_at = locate(&locator, record->event_id.bytes, QUIPU_UUID_BYTES, "event_id");
    layout.event_type_at =
        locate(&locator, record->event_type.data, record->event_type.len, "event type");
    layout.aggregate_id_at =
        locate(&locator, record->aggregate.id.data, record->aggregate.id.len, "aggregate id");
    layout.aggregate_type_at =
        locate(&locator, record->aggregate.type.data, record->aggregate.type.len, "aggregate type");
    layout.correlation_id_at =
        is_own ? IS_EVENT_ID
               : locate(&locator, record->correlation_id.bytes, QUIPU_UUID_BYTES, "correlation_id");
    if (locator.missing != NULL) {
        return quipu_error_set(err, QUIPU_MISUSE, "envelope does not contain its %s",
                               locator.missing);
    }
    *out = layout;
    return QUIPU_OK;
}

void quipu_record_encode(const struct quipu_record_new *record,
                         const struct quipu_record_layout *layout, uint8_t *into)
{
    /* Three bytes at 17: the first of the four is 0 and is written over below. */
    quipu_store_be32(into + 16, (uint32_t)record->envelope.len);
    into[0] = RECORD_FORMAT;
    into[1] = record->payload_cid.codec;
    quipu_store_be16(into + 2, layout->event_id_at);
    quipu_store_be16(into + 4, layout->payload_digest_at);
    quipu_store_be16(into + 6, layout->aggregate_type_at);
    quipu_store_be16(into + 8, layout->aggregate_id_at);
    quipu_store_be16(into + 10, layout->event_type_at);
    quipu_store_be16(into + 12, layout->correlation_id_at);
    into[14] = (uint8_t)record->aggregate.type.len;
    into[15] = (uint8_t)record->aggregate.id.len;
    into[16] = (uint8_t)record->event_type.len;
    quipu_store_be32(into + 20, (uint32_t)record->payload.len);
    quipu_store_be64(into + 24, record->version);
    quipu_store_be64(into + 32, layout->prev_position);
    memcpy(into + 40, record->envelope_cid.digest, sizeof record->envelope_cid.digest);
    memcpy(into + QUIPU_RECORD_HEADER_BYTES, record->envelope.data, record->envelope.len);
    if (record->payload.len > 0) {
        memcpy(into + QUIPU_RECORD_HEADER_BYTES + record->envelope.len, record->payload.data,
               record->payload.len);
    }
}

static uint32_t envelope_bytes_of(const uint8_t *p)
{
    return quipu_load_be32(p + 16) & 0xffffff;
}

static bool fields_are_inside(const uint8_t *p)
{
    uint32_t end = envelope_bytes_of(p);
    uint32_t correlation_at = quipu_load_be16(p + 12);
    return quipu_load_be16(p + 2) + (uint32_t)QUIPU_UUID_BYTES <= end &&
           quipu_load_be16(p + 4) + (uint32_t)QUIPU_SHA256_BYTES <= end &&
           quipu_load_be16(p + 6) + (uint32_t)p[14] <= end &&
           quipu_load_be16(p + 8) + (uint32_t)p[15] <= end &&
           quipu_load_be16(p + 10) + (uint32_t)p[16] <= end &&
           (correlation_at == IS_EVENT_ID || correlation_at + QUIPU_UUID_BYTES <= end);
}

static const char *record_fault(struct quipu_slice value, uint64_t position)
{
    if (value.len < QUIPU_RECORD_HEADER_BYTES) {
        return "shorter than its header";
    }
    const uint8_t *p = value.data;
    if (p[0] != RECORD_FORMAT) {
        return "unknown record format";
    }
    if (p[1] != QUIPU_CODEC_DAG_CBOR && p[1] != QUIPU_CODEC_RAW) {
        return "unknown payload codec";
    }
    if (p[14] == 0 || p[14] > QUIPU_AGGREGATE_TYPE_BYTES_MAX || p[15] == 0 || p[16] == 0 ||
        p[16] > QUIPU_TERM_BYTES_MAX) {
        return "its aggregate or type has no name of a possible length";
    }
    uint64_t blocks_bytes = envelope_bytes_of(p) + (uint64_t)quipu_load_be32(p + 20);
    if (blocks_bytes != value.len - QUIPU_RECORD_HEADER_BYTES) {
        return "lengths do not add up";
    }
    if (!fields_are_inside(p)) {
        return "points behind its envelope";
    }
    if (quipu_load_be64(p + 24) > VERSION_MAX) {
        return "version is out of range";
    }
    if (quipu_load_be64(p + 32) >= position) {
        return "previous position is not before it";
    }
    return NULL;
}

enum quipu_status quipu_record_decode(struct quipu_slice value, uint64_t position,
                                      struct quipu_record *out, struct quipu_error *err)
{
    const char *fault = record_fault(value, position);
    if (fault != NULL) {
        return quipu_error_set(err, QUIPU_CORRUPT, "record at position %" PRIu64 ": %s", position,
                               fault);
    }
    const uint8_t *p = value.data;
    const uint8_t *envelope = p + QUIPU_RECORD_HEADER_BYTES;
    size_t envelope_bytes = envelope_bytes_of(p);
    out->position = position;
    out->version = quipu_load_be64(p + 24);
    out->aggregate_prev_position = quipu_load_be64(p + 32);
    out->aggregate.type = quipu_slice(envelope + quipu_load_be16(p + 6), p[14]);
    out->aggregate.id = quipu_slice(envelope + quipu_load_be16(p + 8), p[15]);
    out->event_type = quipu_slice(envelope + quipu_load_be16(p + 10), p[16]);
    memcpy(out->event_id.bytes, envelope + quipu_load_be16(p + 2), sizeof out->event_id.bytes);
    uint16_t correlation_at = quipu_load_be16(p + 12);
    out->correlation_id = out->event_id;
    if (correlation_at != IS_EVENT_ID) {
        memcpy(out->correlation_id.bytes, envelope + correlation_at,
               sizeof out->correlation_id.bytes);
    }
    out->envelope_cid.codec = QUIPU_CODEC_DAG_CBOR;
    memcpy(out->envelope_cid.digest, p + 40, sizeof out->envelope_cid.digest);
    out->payload_cid.codec = p[1];
    memcpy(out->payload_cid.digest, envelope + quipu_load_be16(p + 4),
           sizeof out->payload_cid.digest);
    out->envelope = quipu_slice(envelope, envelope_bytes);
    out->payload = quipu_slice(envelope + envelope_bytes, quipu_load_be32(p + 20));
    return QUIPU_OK;
}

size_t quipu_head_key(struct quipu_aggregate aggregate, uint8_t out[QUIPU_HEAD_KEY_BYTES_MAX])
{
    if (aggregate.type.len == 0 || aggregate.type.len > QUIPU_AGGREGATE_TYPE_BYTES_MAX ||
        aggregate.id.len == 0 || aggregate.id.len > QUIPU_AGGREGATE_ID_BYTES_MAX) {
        return 0;
    }
    out[0] = (uint8_t)aggregate.type.len;
    memcpy(out + 1, aggregate.type.data, aggregate.type.len);
    memcpy(out + 1 + aggregate.type.len, aggregate.id.data, aggregate.id.len);
    return 1 + aggregate.type.len + aggregate.id.len;
}

uint64_t quipu_head_key_hash(struct quipu_slice head_key)
{
    return quipu_fnv(QUIPU_FNV_BEGIN, head_key.data, head_key.len);
}

uint64_t quipu_aggregate_hash(struct quipu_aggregate aggregate)
{
    uint8_t key[QUIPU_HEAD_KEY_BYTES_MAX];
    return quipu_head_key_hash(quipu_slice(key, quipu_head_key(aggregate, key)));
}

uint32_t quipu_term_hash(enum quipu_term_kind kind, struct quipu_slice value)
{
    uint64_t hash = quipu_head_key_hash(value);
    uint32_t folded = (uint32_t)(hash ^ hash >> 32) & UINT32_C(0x7fffffff);
    return kind == QUIPU_TERM_CORRELATION ? folded | UINT32_C(0x80000000) : folded;
}

void quipu_record_terms(const struct quipu_record *record, uint32_t *type, uint32_t *correlation)
{
    *type = quipu_term_hash(QUIPU_TERM_EVENT_TYPE, record->event_type);
    *correlation = 0;
    if (!quipu_uuid_equal(record->correlation_id, record->event_id)) {
        *correlation = quipu_term_hash(
            QUIPU_TERM_CORRELATION,
            quipu_slice(record->correlation_id.bytes, sizeof record->correlation_id.bytes));
    }
}

/*
 * A record of the log as bytes. Nothing is stored twice: the event_id and the payload's digest are
 * in the envelope already, so the header only says where. Never touches LMDB. SPEC §6.3.
 *
 *   0  u8   record format, 1                 16  u64  version
 *   1  u8   codec of the payload             24  u64  previous position in the aggregate, 0: none
 *   2  u16  event_id at, in the envelope     32  u64  FNV-1a of the aggregate's key
 *   4  u16  payload digest at                40  [32] digest of the envelope
 *   6  u16  0                                72  envelope, then payload
 *   8  u32  envelope bytes
 *  12  u32  payload bytes                    all integers big-endian
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "record.h"

#include <inttypes.h>
#include <string.h>

#include "internal/bytes.h"

#define RECORD_FORMAT 1

enum quipu_status quipu_record_plan(const struct quipu_record_new *record,
                                    struct quipu_slice head_key, struct quipu_record_layout *out,
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
    if (record->envelope_cid.codec != QUIPU_CODEC_DAG_CBOR ||
        (record->payload_cid.codec != QUIPU_CODEC_DAG_CBOR &&
         record->payload_cid.codec != QUIPU_CODEC_RAW)) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "codecs 0x%02x (envelope) and 0x%02x (payload): want dag-cbor, and "
                               "dag-cbor or raw",
                               record->envelope_cid.codec, record->payload_cid.codec);
    }

    const uint8_t *event_id = memmem(record->envelope.data, record->envelope.len,
                                     record->event_id.bytes, sizeof record->event_id.bytes);
    const uint8_t *digest = memmem(record->envelope.data, record->envelope.len,
                                   record->payload_cid.digest, sizeof record->payload_cid.digest);
    if (event_id == NULL || digest == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE, "envelope does not contain its %s",
                               event_id == NULL ? "event_id" : "payload's digest");
    }
    /* Both fit: an envelope has at most 65,536 bytes and what is found is not empty. */
    out->event_id_at = (uint16_t)(event_id - record->envelope.data);
    out->payload_digest_at = (uint16_t)(digest - record->envelope.data);
    out->value_bytes = QUIPU_RECORD_HEADER_BYTES + record->envelope.len + record->payload.len;
    out->aggregate_hash = quipu_head_key_hash(head_key);
    out->prev_position = 0;
    return QUIPU_OK;
}

void quipu_record_encode(const struct quipu_record_new *record,
                         const struct quipu_record_layout *layout, uint8_t *into)
{
    into[0] = RECORD_FORMAT;
    into[1] = record->payload_cid.codec;
    quipu_store_be16(into + 2, layout->event_id_at);
    quipu_store_be16(into + 4, layout->payload_digest_at);
    quipu_store_be16(into + 6, 0);
    quipu_store_be32(into + 8, (uint32_t)record->envelope.len);
    quipu_store_be32(into + 12, (uint32_t)record->payload.len);
    quipu_store_be64(into + 16, record->version);
    quipu_store_be64(into + 24, layout->prev_position);
    quipu_store_be64(into + 32, layout->aggregate_hash);
    memcpy(into + 40, record->envelope_cid.digest, sizeof record->envelope_cid.digest);
    memcpy(into + QUIPU_RECORD_HEADER_BYTES, record->envelope.data, record->envelope.len);
    if (record->payload.len > 0) {
        memcpy(into + QUIPU_RECORD_HEADER_BYTES + record->envelope.len, record->payload.data,
               record->payload.len);
    }
}

static const char *record_fault(struct quipu_slice value, uint64_t position)
{
    if (value.len < QUIPU_RECORD_HEADER_BYTES) {
        return "shorter than its header";
    }
    const uint8_t *p = value.data;
    if (p[0] != RECORD_FORMAT || quipu_load_be16(p + 6) != 0) {
        return "unknown record format";
    }
    if (p[1] != QUIPU_CODEC_DAG_CBOR && p[1] != QUIPU_CODEC_RAW) {
        return "unknown payload codec";
    }
    uint64_t envelope_bytes = quipu_load_be32(p + 8);
    uint64_t payload_bytes = quipu_load_be32(p + 12);
    if (envelope_bytes + payload_bytes != value.len - QUIPU_RECORD_HEADER_BYTES) {
        return "lengths do not add up";
    }
    if (quipu_load_be16(p + 2) + (uint64_t)QUIPU_UUID_BYTES > envelope_bytes ||
        quipu_load_be16(p + 4) + (uint64_t)QUIPU_SHA256_BYTES > envelope_bytes) {
        return "points behind its envelope";
    }
    if (quipu_load_be64(p + 24) >= position) {
        return "previous position is not before it";
    }
    return NULL;
}

enum quipu_status quipu_record_decode(struct quipu_slice value, uint64_t position,
                                      struct quipu_record *out, uint64_t *aggregate_hash,
                                      struct quipu_error *err)
{
    const char *fault = record_fault(value, position);
    if (fault != NULL) {
        return quipu_error_set(err, QUIPU_CORRUPT, "record at position %" PRIu64 ": %s", position,
                               fault);
    }
    const uint8_t *p = value.data;
    const uint8_t *envelope = p + QUIPU_RECORD_HEADER_BYTES;
    size_t envelope_bytes = quipu_load_be32(p + 8);
    out->position = position;
    out->version = quipu_load_be64(p + 16);
    out->aggregate_prev_position = quipu_load_be64(p + 24);
    memcpy(out->event_id.bytes, envelope + quipu_load_be16(p + 2), sizeof out->event_id.bytes);
    out->envelope_cid.codec = QUIPU_CODEC_DAG_CBOR;
    memcpy(out->envelope_cid.digest, p + 40, sizeof out->envelope_cid.digest);
    out->payload_cid.codec = p[1];
    memcpy(out->payload_cid.digest, envelope + quipu_load_be16(p + 4),
           sizeof out->payload_cid.digest);
    out->envelope = quipu_slice(envelope, envelope_bytes);
    out->payload = quipu_slice(envelope + envelope_bytes, quipu_load_be32(p + 12));
    if (aggregate_hash != NULL) {
        *aggregate_hash = quipu_load_be64(p + 32);
    }
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
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < head_key.len; i++) {
        hash = (hash ^ head_key.data[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

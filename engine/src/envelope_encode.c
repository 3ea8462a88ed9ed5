/*
 * Writing an envelope: checks each value against SPEC §3, then writes the keys in canonical order
 * into the caller's buffer. Never allocates besides that buffer's growth.
 *
 * Specification: docs/SPEC.md §3.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>

#include "envelope_keys.h"
#include "event_check.h"
#include "nkey.h"
#include "quipu/dagcbor.h"
#include "quipu/store.h"

static enum quipu_status refuse(struct quipu_error *err, const char *field, const char *rule)
{
    return quipu_error_set(err, QUIPU_ENVELOPE, "envelope: %s %s", field, rule);
}

static enum quipu_status number_check(uint64_t value, const char *field, struct quipu_error *err)
{
    if (value < 1 || value > QUIPU_ENVELOPE_INTEGER_MAX) {
        return quipu_error_set(err, QUIPU_ENVELOPE,
                               "envelope: %s must be 1 to 2^53-1, found %" PRIu64, field, value);
    }
    return QUIPU_OK;
}

static enum quipu_status names_check(const struct quipu_envelope *envelope, struct quipu_error *err)
{
    if (!name_is_tokens(envelope->event_type, QUIPU_EVENT_TYPE_BYTES_MAX)) {
        return refuse(err, "event_type", "must be 1 to 128 bytes of [a-z0-9_-], joined by dots");
    }
    if (!name_is_token(envelope->aggregate_type, QUIPU_AGGREGATE_TYPE_BYTES_MAX)) {
        return refuse(err, "aggregate_type", "must be 1 to 64 bytes of [a-z0-9_-]");
    }
    if (!name_is_aggregate_id(envelope->aggregate_id)) {
        return refuse(err, "aggregate_id",
                      "must be 1 to 255 bytes of UTF-8 without control characters");
    }
    if (!nkey_looks_like_source(envelope->source)) {
        return refuse(err, "source", "must be 'U' and 55 characters of base32");
    }
    return QUIPU_OK;
}

static enum quipu_status numbers_check(const struct quipu_envelope *envelope,
                                       struct quipu_error *err)
{
    enum quipu_status status = number_check(envelope->schema, "schema", err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = number_check(envelope->version, "version", err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = number_check(envelope->source_seq, "source_seq", err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (envelope->occurred_unix_us > QUIPU_ENVELOPE_INTEGER_MAX ||
        envelope->occurred_unix_us < -QUIPU_ENVELOPE_INTEGER_MAX) {
        return refuse(err, "occurred_at", "must stay within 2^53-1 microseconds around 1970");
    }
    return QUIPU_OK;
}

static enum quipu_status links_check(const struct quipu_envelope *envelope, struct quipu_error *err)
{
    if (envelope->prev_count > QUIPU_ENVELOPE_PREV_MAX) {
        return refuse(err, "prev", "must hold at most 16 links");
    }
    if ((envelope->version == 1) != (envelope->prev_count == 0)) {
        return refuse(err, "prev", "must be empty at version 1, and only there");
    }
    for (size_t i = 0; i < envelope->prev_count; i++) {
        if (envelope->prev[i].codec != QUIPU_CODEC_DAG_CBOR) {
            return refuse(err, "prev", "must hold dag-cbor links");
        }
        for (size_t j = 0; j < i; j++) {
            if (quipu_cid_equal(&envelope->prev[i], &envelope->prev[j])) {
                return refuse(err, "prev", "holds a link twice");
            }
        }
    }
    bool is_raw = envelope->payload.codec == QUIPU_CODEC_RAW && envelope->enc.len > 0;
    if (envelope->payload.codec != QUIPU_CODEC_DAG_CBOR && !is_raw) {
        return refuse(err, "payload", "must be a dag-cbor link (raw only where enc is there)");
    }
    if (envelope->has_causation && envelope->causation.codec != QUIPU_CODEC_DAG_CBOR) {
        return refuse(err, "causation", "must be a dag-cbor link");
    }
    if (envelope->has_causation && quipu_uuid_is_nil(envelope->causation_id)) {
        return refuse(err, "causation", "needs a causation_id");
    }
    return QUIPU_OK;
}

enum quipu_status envelope_check(const struct quipu_envelope *envelope, struct quipu_error *err)
{
    if (quipu_uuid_is_nil(envelope->event_id)) {
        return refuse(err, "event_id", "must not be the nil UUID");
    }
    if (quipu_uuid_is_nil(envelope->correlation_id)) {
        return refuse(err, "correlation_id", "must not be the nil UUID");
    }
    enum quipu_status status = names_check(envelope, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = numbers_check(envelope, err);
    if (status != QUIPU_OK) {
        return status;
    }
    return links_check(envelope, err);
}

static void write_text(struct quipu_dagcbor_writer *writer, enum envelope_key key,
                       struct quipu_slice text)
{
    quipu_dagcbor_write_pair_text(writer, &envelope_keys[key], text);
}

static void write_uint(struct quipu_dagcbor_writer *writer, enum envelope_key key, uint64_t value)
{
    quipu_dagcbor_write_pair_uint(writer, &envelope_keys[key], value);
}

static void write_link(struct quipu_dagcbor_writer *writer, enum envelope_key key,
                       const struct quipu_cid *cid)
{
    quipu_dagcbor_write_pair_link(writer, &envelope_keys[key], cid);
}

static void write_uuid(struct quipu_dagcbor_writer *writer, enum envelope_key key,
                       const struct quipu_uuid *uuid)
{
    quipu_dagcbor_write_pair_bytes(writer, &envelope_keys[key],
                                   quipu_slice(uuid->bytes, sizeof uuid->bytes));
}

static void write_key(struct quipu_dagcbor_writer *writer, enum envelope_key key)
{
    quipu_dagcbor_write_text(writer, quipu_slice(envelope_keys[key].text, envelope_keys[key].len));
}

static void write_optional_item(struct quipu_dagcbor_writer *writer, enum envelope_key key,
                                struct quipu_slice item)
{
    if (item.len > 0) {
        write_key(writer, key);
        quipu_dagcbor_write_item(writer, item);
    }
}

enum quipu_status envelope_write(const struct quipu_envelope *envelope, struct quipu_buf *out,
                                 struct quipu_error *err)
{
    struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, out);
    quipu_dagcbor_write_map(&writer, ENVELOPE_KEYS_ALWAYS + (uint64_t)(envelope->enc.len > 0) +
                                         (uint64_t)(envelope->meta.len > 0) +
                                         (uint64_t)envelope->has_causation);
    write_uint(&writer, ENVELOPE_V, QUIPU_ENVELOPE_FORMAT);
    write_optional_item(&writer, ENVELOPE_ENC, envelope->enc);
    write_optional_item(&writer, ENVELOPE_META, envelope->meta);
    write_key(&writer, ENVELOPE_PREV);
    quipu_dagcbor_write_list(&writer, envelope->prev_count);
    for (size_t i = 0; i < envelope->prev_count; i++) {
        quipu_dagcbor_write_link(&writer, &envelope->prev[i]);
    }
    write_uint(&writer, ENVELOPE_SCHEMA, envelope->schema);
    write_text(&writer, ENVELOPE_SOURCE, envelope->source);
    write_link(&writer, ENVELOPE_PAYLOAD, &envelope->payload);
    write_uint(&writer, ENVELOPE_VERSION, envelope->version);
    write_uuid(&writer, ENVELOPE_EVENT_ID, &envelope->event_id);
    if (envelope->has_causation) {
        write_link(&writer, ENVELOPE_CAUSATION, &envelope->causation);
    }
    write_text(&writer, ENVELOPE_EVENT_TYPE, envelope->event_type);
    write_uint(&writer, ENVELOPE_SOURCE_SEQ, envelope->source_seq);
    quipu_dagcbor_write_pair_int(&writer, &envelope_keys[ENVELOPE_OCCURRED_AT],
                                 envelope->occurred_unix_us);
    write_text(&writer, ENVELOPE_AGGREGATE_ID, envelope->aggregate_id);
    if (quipu_uuid_is_nil(envelope->causation_id)) {
        quipu_dagcbor_write_pair_null(&writer, &envelope_keys[ENVELOPE_CAUSATION_ID]);
    } else {
        write_uuid(&writer, ENVELOPE_CAUSATION_ID, &envelope->causation_id);
    }
    write_text(&writer, ENVELOPE_AGGREGATE_TYPE, envelope->aggregate_type);
    write_uuid(&writer, ENVELOPE_CORRELATION_ID, &envelope->correlation_id);
    return quipu_dagcbor_writer_finish(&writer, err);
}

/* `meta` and `enc` as the public encoder gets them: anything. */
static enum quipu_status annotation_check(struct quipu_slice map, const char *what,
                                          struct quipu_error *err)
{
    if (map.len == 0) {
        return QUIPU_OK;
    }
    if (map_check(map, what, err) != QUIPU_OK) {
        return quipu_error_set(err, QUIPU_ENVELOPE, "envelope: %s must be a map of DAG-CBOR", what);
    }
    return QUIPU_OK;
}

enum quipu_status quipu_envelope_encode(const struct quipu_envelope *envelope,
                                        struct quipu_buf *out, struct quipu_error *err)
{
    enum quipu_status status = envelope_check(envelope, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = annotation_check(envelope->meta, "meta", err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = annotation_check(envelope->enc, "enc", err);
    if (status != QUIPU_OK) {
        return status;
    }
    size_t start = out->len;
    status = envelope_write(envelope, out, err);
    if (status == QUIPU_OK && out->len - start > QUIPU_ENVELOPE_BYTES_MAX) {
        size_t bytes = out->len - start;
        out->len = start;
        return quipu_error_set(err, QUIPU_TOO_LARGE,
                               "envelope: %zu bytes, at most %u are allowed; shorten meta", bytes,
                               QUIPU_ENVELOPE_BYTES_MAX);
    }
    return status;
}

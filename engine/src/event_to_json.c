/*
 * An event as one JSON object, whole: what the store knows of it, every field of the envelope, the
 * payload as DAG-JSON, or as bytes where that cannot carry it. The order of the keys is fixed and
 * meant for people. Hashes nothing.
 *
 * Specification: docs/SPEC.md §8.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>

#include "quipu/dagjson.h"
#include "quipu/event_json.h"

static void put_key(struct quipu_buf *out, const char *key)
{
    /* The first key stands behind the brace. */
    if (out->status == QUIPU_OK && out->len > 0 && out->data[out->len - 1] != '{') {
        quipu_buf_append_byte(out, ',');
    }
    quipu_buf_printf(out, "\"%s\":", key);
}

static void put_text(struct quipu_buf *out, const char *key, struct quipu_slice text)
{
    put_key(out, key);
    quipu_json_append_string(out, text);
}

static void put_number(struct quipu_buf *out, const char *key, uint64_t number)
{
    put_key(out, key);
    quipu_buf_printf(out, "%" PRIu64, number);
}

static void put_uuid(struct quipu_buf *out, const char *key, struct quipu_uuid uuid)
{
    char text[QUIPU_UUID_TEXT_BYTES];
    quipu_uuid_format(uuid, text);
    put_text(out, key, quipu_slice_text(text));
}

static void put_cid(struct quipu_buf *out, const char *key, const struct quipu_cid *cid)
{
    char text[QUIPU_CID_TEXT_BYTES];
    quipu_cid_format(cid, text);
    put_text(out, key, quipu_slice_text(text));
}

static void put_prev(struct quipu_buf *out, const struct quipu_envelope *envelope)
{
    put_key(out, "prev");
    quipu_buf_append_byte(out, '[');
    for (size_t i = 0; i < envelope->prev_count; i++) {
        char text[QUIPU_CID_TEXT_BYTES];
        quipu_cid_format(&envelope->prev[i], text);
        quipu_buf_printf(out, "%s\"%s\"", i == 0 ? "" : ",", text);
    }
    quipu_buf_append_byte(out, ']');
}

/* As DAG-JSON under `key`; what that cannot carry as the bytes it is, under `key_bytes`. */
static enum quipu_status put_block(struct quipu_buf *out, const char *key, const char *key_bytes,
                                   struct quipu_slice block, struct quipu_error *err)
{
    size_t start = out->len;
    put_key(out, key);
    enum quipu_status status = quipu_dagjson_from_dagcbor(block, out, err);
    if (status != QUIPU_DAGJSON) {
        return status;
    }
    out->len = start;
    put_key(out, key_bytes);
    quipu_dagjson_append_bytes(out, block);
    return QUIPU_OK; /* or the buffer's status tells */
}

/* A payload that is not DAG-CBOR (it is encrypted) is shown as the bytes it is. */
static enum quipu_status put_payload(struct quipu_buf *out, const struct quipu_event_view *event,
                                     struct quipu_error *err)
{
    if (event->envelope.payload.codec != QUIPU_CODEC_RAW) {
        return put_block(out, "payload", "payload_bytes", event->payload, err);
    }
    put_key(out, "payload");
    quipu_dagjson_append_bytes(out, event->payload);
    return QUIPU_OK; /* as above */
}

static void put_envelope(struct quipu_buf *out, const struct quipu_envelope *envelope)
{
    put_uuid(out, "event_id", envelope->event_id);
    put_text(out, "event_type", envelope->event_type);
    put_number(out, "schema", envelope->schema);
    put_text(out, "aggregate_type", envelope->aggregate_type);
    put_text(out, "aggregate_id", envelope->aggregate_id);
    put_number(out, "version", envelope->version);
    put_prev(out, envelope);
    put_uuid(out, "correlation_id", envelope->correlation_id);
    if (quipu_uuid_is_nil(envelope->causation_id)) {
        put_key(out, "causation_id");
        quipu_buf_append_text(out, "null");
    } else {
        put_uuid(out, "causation_id", envelope->causation_id);
    }
    if (envelope->has_causation) {
        put_cid(out, "causation", &envelope->causation);
    }
    char when[QUIPU_RFC3339_BYTES];
    quipu_rfc3339_format(envelope->occurred_unix_us, when);
    put_text(out, "occurred_at", quipu_slice_text(when));
    put_text(out, "source", envelope->source);
    put_number(out, "source_seq", envelope->source_seq);
}

static enum quipu_status put_event(struct quipu_buf *out, const struct quipu_event_view *event,
                                   struct quipu_error *err)
{
    const struct quipu_envelope *envelope = &event->envelope;
    enum quipu_status status = QUIPU_OK;
    quipu_buf_append_byte(out, '{');
    put_number(out, "position", event->position);
    put_cid(out, "cid", &event->cid);
    put_envelope(out, envelope);
    if (envelope->meta.len > 0) {
        status = put_block(out, "meta", "meta_bytes", envelope->meta, err);
    }
    if (status == QUIPU_OK && envelope->enc.len > 0) {
        status = put_block(out, "enc", "enc_bytes", envelope->enc, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    put_cid(out, "payload_cid", &envelope->payload);
    status = put_payload(out, event, err);
    quipu_buf_append_byte(out, '}');
    return status;
}

enum quipu_status quipu_event_to_json(const struct quipu_event_view *event, struct quipu_buf *out,
                                      struct quipu_error *err)
{
    size_t start = out->len;
    enum quipu_status status = put_event(out, event, err);
    if (status == QUIPU_OK && out->status != QUIPU_OK) {
        status =
            quipu_error_set(err, out->status, "event as JSON: %s", quipu_status_text(out->status));
    }
    if (status == QUIPU_OK) {
        return QUIPU_OK;
    }
    out->len = start;
    bool is_broken =
        status != QUIPU_NO_MEMORY && status != QUIPU_TOO_LARGE && status != QUIPU_CBOR_DEPTH;
    return is_broken ? quipu_error_wrap(err, QUIPU_CORRUPT, "position %" PRIu64, event->position)
                     : status;
}

/*
 * Names, descriptions and messages of payload objects: pure functions over text. No I/O.
 *
 * Specification: docs/SPEC.md §10.2, NATS ADR-20.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "payload_store.h"
#include "quipu/multibase.h"

/* Room for headers of a chunk or meta message when a message must stay below a limit. */
#define HEADER_ROOM_BYTES 256

/* Append padded base64url without the letter that multibase puts before it. */
static enum quipu_status append_base64url(struct quipu_slice bytes, struct quipu_buf *out,
                                          struct quipu_error *err)
{
    uint8_t storage[PAYLOAD_SUBJECT_BYTES];
    struct quipu_buf text;
    quipu_buf_init_fixed(&text, storage, sizeof storage);
    enum quipu_status status = quipu_multibase_encode(QUIPU_BASE_64_URL_PAD, bytes, &text, err);
    if (status == QUIPU_OK) {
        quipu_buf_append(out, text.data + 1, text.len - 1);
        status = out->status;
    }
    return status;
}

enum quipu_status quipu_payload_names(const char *bucket, const struct quipu_cid *cid,
                                      struct payload_names *out, struct quipu_error *err)
{
    quipu_cid_format(cid, out->cid);
    (void)snprintf(out->chunk_subject, sizeof out->chunk_subject, "$O.%s.C.%s", bucket, out->cid);
    (void)snprintf(out->chain_nuid, sizeof out->chain_nuid, "%s-chunks", out->cid);
    (void)snprintf(out->chain_subject, sizeof out->chain_subject, "$O.%s.C.%s", bucket,
                   out->chain_nuid);
    struct quipu_buf subject;
    quipu_buf_init_fixed(&subject, out->meta_subject, sizeof out->meta_subject);
    quipu_buf_printf(&subject, "$O.%s.M.", bucket);
    enum quipu_status status = append_base64url(quipu_slice_text(out->cid), &subject, err);
    quipu_buf_append_byte(&subject, 0);
    if (status == QUIPU_OK && subject.status != QUIPU_OK) {
        status = quipu_error_set(err, QUIPU_TOO_LARGE, "bucket name %s is too long", bucket);
    }
    return status;
}

enum quipu_status quipu_payload_meta(const char *bucket, const struct payload_names *names,
                                     const struct quipu_cid *cid,
                                     const struct payload_object *object, struct quipu_buf *out,
                                     struct quipu_error *err)
{
    /* ADR-20: the time is never stored; readers take the message's. Official writers put the zero
     * time here, and readers expect the member. */
    quipu_buf_printf(out,
                     "{\"name\":\"%s\",\"bucket\":\"%s\",\"nuid\":\"%s\",\"size\":%" PRIu64
                     ",\"mtime\":\"0001-01-01T00:00:00Z\",\"chunks\":%" PRIu64
                     ",\"digest\":\"SHA-256=",
                     names->cid, bucket, object->nuid, object->bytes, object->chunks);
    enum quipu_status status =
        append_base64url(quipu_slice(cid->digest, sizeof cid->digest), out, err);
    quipu_buf_append_text(out, "\"}");
    if (status == QUIPU_OK && out->status != QUIPU_OK) {
        status =
            quipu_error_set(err, out->status, "out of memory describing payload %s", names->cid);
    }
    return status;
}

/* Where nothing may be there, there is nothing to roll up either; and servers leave what has that
 * header out of mirrors and sources. */
static void add_guard(struct nats_outgoing *message, enum payload_guard guard)
{
    switch (guard) {
    case PAYLOAD_EXPECT_NOTHING:
        quipu_outgoing_add(message, "Nats-Expected-Last-Subject-Sequence", "0");
        break;
    case PAYLOAD_REPLACE:
        quipu_outgoing_add(message, "Nats-Rollup", "sub");
        break;
    }
}

void quipu_payload_chunk_message(const struct payload_names *names, struct quipu_slice payload,
                                 enum payload_guard guard, struct nats_outgoing *out)
{
    memset(out, 0, sizeof *out);
    out->subject = names->chunk_subject;
    out->body = payload;
    add_guard(out, guard);
}

void quipu_payload_meta_message(const struct payload_names *names, struct quipu_slice meta,
                                enum payload_guard guard, struct nats_outgoing *out)
{
    memset(out, 0, sizeof *out);
    out->subject = names->meta_subject;
    out->body = meta;
    add_guard(out, guard);
}

size_t quipu_payload_chunk_max(int64_t server_max, int64_t bucket_max)
{
    int64_t max = server_max < bucket_max ? server_max : bucket_max;
    return max <= HEADER_ROOM_BYTES ? 0 : (size_t)(max - HEADER_ROOM_BYTES);
}

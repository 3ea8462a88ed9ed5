/*
 * Reading an object, and writing one of several chunks, request by request.
 *
 * Writing is safe against crashes and against others who write the same payload at the same time:
 * every chunk names the sequence of the one before it as the expected last one of its subject (the
 * first names 0), so the chunks on a subject are one chain and each is there once. An attempt that
 * finds chunks reads them: they must be the payload's beginning, however long each is, and the
 * attempt goes on behind them. A chain that somebody else lengthens meanwhile is refused to us
 * (10071), read again, and gone on with. The meta message comes last, with the number of chunks
 * that are really there; a reader sees no object before that.
 *
 * Specification: docs/SPEC.md §10.2, NATS ADR-20.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "payload_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_view.h"
#include "nats_status.h"
#include "quipu/store.h"
#include "stored.h"
#include "streams.h"

/* Each round that is lost means that another writer has got further. */
#define PUT_ROUNDS_MAX 4096
#define NUID_BYTES_MAX 100

struct object_meta {
    char nuid[NUID_BYTES_MAX + 1];
    uint64_t bytes;
    uint64_t chunks;
    bool is_deleted;
};

/* ------------------------------------------------------------------ requests */

static enum quipu_status object_failure(struct quipu_nats *nats, natsStatus s, int number,
                                        const char *what, const char *subject,
                                        struct quipu_error *err)
{
    if (s == NATS_NO_RESPONDERS) {
        return quipu_error_set(err, QUIPU_NOT_PROVISIONED,
                               "server %s has no bucket %s; make it with quipu provision",
                               nats->server, nats->bucket);
    }
    return quipu_js_failure(nats, s, number, what, subject, err);
}

/* Last message on a subject, or the first at or behind `sequence` where that is not 0. To be
 * released on QUIPU_OK. */
static enum quipu_status object_get(struct quipu_nats *nats, const char *subject, uint64_t sequence,
                                    struct stored *out, struct quipu_error *err)
{
    const struct stored_ask ask = {
        .stream = nats->bucket_stream, .subject = subject, .sequence = sequence};
    enum quipu_status status = quipu_stored_get(nats, &ask, STORED_DIRECT, out, err);
    if (status == QUIPU_NOT_FOUND) {
        return quipu_error_set(err, status, "bucket %s has nothing at %s", nats->bucket, subject);
    }
    return status == QUIPU_NOT_PROVISIONED
               ? object_failure(nats, NATS_NO_RESPONDERS, 0, "getting", subject, err)
               : status;
}

struct object_message {
    const char *subject;
    struct quipu_slice body;
    uint64_t expected; /* last sequence on the subject; 0: none */
};

/* Publish and wait. @retval QUIPU_EXISTS  the subject has moved on */
static enum quipu_status publish_wait(struct quipu_nats *nats, const struct object_message *message,
                                      uint64_t *sequence, struct quipu_error *err)
{
    natsMsg *msg = NULL;
    jsPubAck *ack = NULL;
    jsPubOptions options;
    jsErrCode number = 0;
    natsStatus s = jsPubOptions_Init(&options);
    if (s == NATS_OK) {
        s = natsMsg_Create(&msg, message->subject, NULL, (const char *)message->body.data,
                           (int)message->body.len);
    }
    if (s == NATS_OK) {
        options.ExpectLastSubjectSeq = message->expected;
        options.ExpectNoMessage = message->expected == 0;
        s = js_PublishMsg(&ack, nats->js, msg, &options, &number);
    }
    natsMsg_Destroy(msg);
    if (s == NATS_OK) {
        *sequence = ack->Sequence;
        jsPubAck_Destroy(ack);
        return QUIPU_OK;
    }
    return object_failure(nats, s, (int)number, "storing", message->subject, err);
}

/* ------------------------------------------------------------------ meta */

static bool meta_parse(struct quipu_slice json, struct object_meta *out)
{
    struct object_meta meta = {.bytes = 0};
    bool has_nuid = false;
    bool has_bytes = false;
    bool has_chunks = false;
    struct json_view view = quipu_json_view(json);
    struct json_member member;
    while (quipu_json_next(&view, &member)) {
        if (quipu_json_key_is(&member, "nuid") && member.kind == JSON_TEXT && member.raw.len > 0 &&
            member.raw.len <= NUID_BYTES_MAX) {
            memcpy(meta.nuid, member.raw.data, member.raw.len);
            meta.nuid[member.raw.len] = 0;
            has_nuid = strpbrk(meta.nuid, ".*> \t\"\\") == NULL;
        } else if (quipu_json_key_is(&member, "size")) {
            has_bytes = quipu_json_u64(&member, &meta.bytes);
        } else if (quipu_json_key_is(&member, "chunks")) {
            has_chunks = quipu_json_u64(&member, &meta.chunks);
        } else if (quipu_json_key_is(&member, "deleted")) {
            meta.is_deleted = member.kind == JSON_TRUE;
        }
    }
    if (view.state != JSON_AT_END ||
        (!meta.is_deleted && (!has_nuid || !has_bytes || !has_chunks))) {
        return false;
    }
    *out = meta;
    return true;
}

bool quipu_payload_is_erased(struct quipu_slice meta)
{
    struct object_meta parsed;
    return meta_parse(meta, &parsed) && parsed.is_deleted;
}

/* @retval QUIPU_NOT_FOUND  there is none. @retval QUIPU_CORRUPT  it is not what ADR-20 says */
static enum quipu_status meta_get(struct quipu_nats *nats, const struct payload_names *names,
                                  struct object_meta *out, struct quipu_error *err)
{
    struct stored stored;
    enum quipu_status status = object_get(nats, names->meta_subject, 0, &stored, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (!meta_parse(stored.body, out)) {
        status = quipu_error_set(err, QUIPU_CORRUPT,
                                 "bucket %s: the description of object %s is not an object's",
                                 nats->bucket, names->cid);
    }
    quipu_stored_release(&stored);
    return status;
}

/* ------------------------------------------------------------------ writing */

/* How much of the payload its chunk subject holds already. */
struct chain {
    uint64_t chunks;
    size_t bytes;
    uint64_t last_sequence; /* 0: no chunk */
};

static enum quipu_status chain_survey(struct quipu_nats *nats, const struct payload_names *names,
                                      struct quipu_slice payload, struct chain *out,
                                      struct quipu_error *err)
{
    struct chain chain = {0, 0, 0};
    for (;;) {
        struct stored stored;
        enum quipu_status status =
            object_get(nats, names->chain_subject, chain.last_sequence + 1, &stored, err);
        if (status == QUIPU_NOT_FOUND) {
            *out = chain;
            return QUIPU_OK;
        }
        if (status != QUIPU_OK) {
            return status;
        }
        struct quipu_slice chunk = stored.body;
        bool is_ours = chunk.len > 0 && chunk.len <= payload.len - chain.bytes &&
                       memcmp(chunk.data, payload.data + chain.bytes, chunk.len) == 0;
        chain.bytes += is_ours ? chunk.len : 0;
        chain.chunks++;
        chain.last_sequence = stored.sequence;
        quipu_stored_release(&stored);
        if (!is_ours) {
            return quipu_error_set(err, QUIPU_CORRUPT,
                                   "bucket %s: chunk %" PRIu64 " under %s is not this payload's; "
                                   "remove the messages on %s",
                                   nats->bucket, chain.chunks, names->cid, names->chain_subject);
        }
    }
}

/* @retval QUIPU_EXISTS  another writer was faster */
static enum quipu_status chain_extend(struct quipu_nats *nats, const struct payload_names *names,
                                      struct quipu_slice payload, size_t chunk_max,
                                      struct chain *chain, struct quipu_error *err)
{
    while (chain->bytes < payload.len) {
        size_t rest = payload.len - chain->bytes;
        size_t len = rest < chunk_max ? rest : chunk_max;
        struct object_message message = {.subject = names->chain_subject,
                                         .body = quipu_slice(payload.data + chain->bytes, len),
                                         .expected = chain->last_sequence};
        enum quipu_status status = publish_wait(nats, &message, &chain->last_sequence, err);
        if (status != QUIPU_OK) {
            return status;
        }
        chain->bytes += len;
        chain->chunks++;
    }
    return QUIPU_OK;
}

/* One attempt. @retval QUIPU_EXISTS  another writer got in between: try again */
static enum quipu_status put_round(struct quipu_nats *nats, const struct quipu_cid *cid,
                                   struct quipu_slice payload, size_t chunk_max,
                                   enum payload_put *outcome, struct quipu_error *err)
{
    struct payload_names names;
    enum quipu_status status = quipu_payload_names(nats->bucket, cid, &names, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct object_meta found;
    status = meta_get(nats, &names, &found, err);
    if (status != QUIPU_NOT_FOUND) {
        if (status == QUIPU_OK) {
            *outcome = found.is_deleted ? PAYLOAD_PUT_ERASED : PAYLOAD_PUT_EXISTED;
        }
        return status;
    }

    struct chain chain = {0, 0, 0};
    struct quipu_buf meta = QUIPU_BUF_INIT;
    uint64_t ignored = 0;
    status = chain_survey(nats, &names, payload, &chain, err);
    if (status == QUIPU_OK) {
        status = chain_extend(nats, &names, payload, chunk_max, &chain, err);
    }
    if (status == QUIPU_OK) {
        struct payload_object object = {names.chain_nuid, payload.len, chain.chunks};
        status = quipu_payload_meta(nats->bucket, &names, cid, &object, &meta, err);
    }
    if (status == QUIPU_OK) {
        struct object_message message = {.subject = names.meta_subject,
                                         .body = quipu_buf_slice(&meta)};
        status = publish_wait(nats, &message, &ignored, err);
    }
    if (status == QUIPU_OK) {
        *outcome = PAYLOAD_PUT_STORED;
    }
    quipu_buf_release(&meta);
    return status;
}

enum quipu_status quipu_payload_put(struct quipu_nats *nats, const struct quipu_cid *cid,
                                    struct quipu_slice payload, size_t chunk_max,
                                    enum payload_put *outcome, struct quipu_error *err)
{
    if (chunk_max == 0) {
        return quipu_error_set(err, QUIPU_TOO_LARGE,
                               "bucket %s takes no message long enough for a chunk; raise "
                               "max_payload or max_msg_size",
                               nats->bucket);
    }
    for (int round = 0; round < PUT_ROUNDS_MAX; round++) {
        enum quipu_status status = put_round(nats, cid, payload, chunk_max, outcome, err);
        if (status != QUIPU_EXISTS) {
            return status;
        }
    }
    return quipu_error_set(err, QUIPU_SERVER,
                           "bucket %s changes under us again and again; try again later",
                           nats->bucket);
}

enum quipu_status quipu_payload_settle(struct quipu_nats *nats, const struct quipu_cid *cid,
                                       uint64_t chunk_sequence, struct quipu_error *err)
{
    struct payload_names names;
    struct object_meta meta;
    enum quipu_status status = quipu_payload_names(nats->bucket, cid, &names, err);
    if (status == QUIPU_OK) {
        status = meta_get(nats, &names, &meta, err);
    }
    if (status != QUIPU_OK || (!meta.is_deleted && strcmp(meta.nuid, names.cid) == 0)) {
        return status;
    }
    if (!meta.is_deleted) {
        struct quipu_buf theirs = QUIPU_BUF_INIT;
        status = quipu_payload_get(nats, cid, &theirs, err);
        quipu_buf_release(&theirs);
        if (status != QUIPU_OK) {
            return status;
        }
    }
    jsErrCode number = 0;
    natsStatus s = js_EraseMsg(nats->js, nats->bucket_stream, chunk_sequence, NULL, &number);
    if (s == NATS_OK || number == JSSequenceNotFoundErr || number == JSNoMessageFoundErr) {
        return QUIPU_OK;
    }
    return quipu_js_failure(nats, s, (int)number, "erasing a chunk of", names.cid, err);
}

/* ------------------------------------------------------------------ reading */

static enum quipu_status chunks_get(struct quipu_nats *nats, const char *subject, uint64_t bytes,
                                    uint64_t chunks, struct quipu_buf *out, struct quipu_error *err)
{
    size_t before = out->len;
    uint64_t last = 0;
    for (uint64_t i = 0; i < chunks; i++) {
        struct stored stored;
        enum quipu_status status = object_get(nats, subject, last + 1, &stored, err);
        if (status != QUIPU_OK) {
            return status;
        }
        struct quipu_slice chunk = stored.body;
        bool is_too_long = chunk.len > bytes - (out->len - before);
        if (!is_too_long) {
            quipu_buf_append_slice(out, chunk);
        }
        last = stored.sequence;
        quipu_stored_release(&stored);
        if (is_too_long) {
            return quipu_error_set(err, QUIPU_CORRUPT, "%s holds more than its %" PRIu64 " bytes",
                                   subject, bytes);
        }
        if (out->status != QUIPU_OK) {
            return quipu_error_set(err, out->status, "out of memory reading %s", subject);
        }
    }
    return QUIPU_OK;
}

enum quipu_status quipu_payload_get(struct quipu_nats *nats, const struct quipu_cid *cid,
                                    struct quipu_buf *out, struct quipu_error *err)
{
    struct payload_names names;
    struct object_meta meta;
    enum quipu_status status = quipu_payload_names(nats->bucket, cid, &names, err);
    if (status == QUIPU_OK) {
        status = meta_get(nats, &names, &meta, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (meta.is_deleted) {
        return quipu_error_set(err, QUIPU_NOT_FOUND, "payload %s has been erased from bucket %s",
                               names.cid, nats->bucket);
    }
    if (meta.bytes > QUIPU_PAYLOAD_BYTES_MAX || meta.chunks > meta.bytes) {
        return quipu_error_set(err, QUIPU_TOO_LARGE,
                               "payload %s in bucket %s: %" PRIu64 " bytes in %" PRIu64
                               " chunks, %u bytes are allowed",
                               names.cid, nats->bucket, meta.bytes, meta.chunks,
                               QUIPU_PAYLOAD_BYTES_MAX);
    }

    char subject[PAYLOAD_SUBJECT_BYTES + NUID_BYTES_MAX];
    (void)snprintf(subject, sizeof subject, "$O.%s.C.%s", nats->bucket, meta.nuid);
    size_t before = out->len;
    status = chunks_get(nats, subject, meta.bytes, meta.chunks, out, err);
    if (status == QUIPU_OK) {
        uint8_t digest[QUIPU_SHA256_BYTES];
        quipu_sha256(quipu_slice(out->data + before, out->len - before), digest);
        if (memcmp(digest, cid->digest, sizeof digest) != 0) {
            status = quipu_error_set(err, QUIPU_CORRUPT,
                                     "payload %s in bucket %s does not hash to its CID", names.cid,
                                     nats->bucket);
        }
    }
    if (status != QUIPU_OK) {
        out->len = before;
    }
    return status;
}

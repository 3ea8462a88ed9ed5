/*
 * Payloads in the JetStream object store: NATS ADR-20 with the text of the CID as the object's
 * name.
 *
 * The usual payload is one chunk and one meta message, published by the flusher among everything
 * else; what is here makes those messages. Its nuid is the CID too, so that the chunk of a payload
 * that is there already is refused, and so that a reader finds it without the meta message. A
 * payload too long for one message is a chain of chunks under a nuid of its own, "<cid>-chunks":
 * thus what lies under the CID itself is always whole, and a meta that names it is right whoever
 * sent it. It is put here, one request at a time, as are the rare odd answers.
 *
 * Specification: docs/SPEC.md §10.2.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_PAYLOAD_STORE_H
#define QUIPU_PAYLOAD_STORE_H

#include "connection.h"
#include "publish.h"
#include "quipu/buf.h"
#include "quipu/cid.h"

#define PAYLOAD_SUBJECT_BYTES (NATS_NAME_BYTES_MAX + 100)

struct payload_names {
    char cid[QUIPU_CID_TEXT_BYTES];
    char chunk_subject[PAYLOAD_SUBJECT_BYTES]; /* $O.<bucket>.C.<cid> */
    char chain_nuid[QUIPU_CID_TEXT_BYTES + 8]; /* <cid>-chunks */
    char chain_subject[PAYLOAD_SUBJECT_BYTES]; /* $O.<bucket>.C.<cid>-chunks */
    char meta_subject[PAYLOAD_SUBJECT_BYTES];  /* $O.<bucket>.M.<base64url of cid, padded> */
};

/* What a meta message describes. */
struct payload_object {
    const char *nuid;
    uint64_t bytes;
    uint64_t chunks;
};

/* @retval QUIPU_NO_MEMORY */
enum quipu_status quipu_payload_names(const char *bucket, const struct quipu_cid *cid,
                                      struct payload_names *out,
                                      struct quipu_error *err) QUIPU_MUST_CHECK;

/* Append the JSON that describes the object. @retval QUIPU_NO_MEMORY */
enum quipu_status quipu_payload_meta(const char *bucket, const struct payload_names *names,
                                     const struct quipu_cid *cid,
                                     const struct payload_object *object, struct quipu_buf *out,
                                     struct quipu_error *err) QUIPU_MUST_CHECK;

/* What keeps a second chunk from a payload's subject. */
enum payload_guard {
    PAYLOAD_EXPECT_NOTHING, /* it is refused */
    PAYLOAD_REPLACE,        /* it takes the first one's place (Nats-Rollup) */
};

/* The two messages of a payload of one chunk; both borrow from their arguments. */
void quipu_payload_chunk_message(const struct payload_names *names, struct quipu_slice payload,
                                 enum payload_guard guard, struct nats_outgoing *out);
void quipu_payload_meta_message(const struct payload_names *names, struct quipu_slice meta,
                                enum payload_guard guard, struct nats_outgoing *out);

/* Is this meta message's body a tombstone? */
bool quipu_payload_is_erased(struct quipu_slice meta);

/* Longest chunk that fits into one message of a server with this max_payload and a bucket with this
 * message_bytes_max; 0 where not even a byte does. */
size_t quipu_payload_chunk_max(int64_t server_max, int64_t bucket_max);

enum payload_put {
    PAYLOAD_PUT_STORED,  /* it is there now, by us */
    PAYLOAD_PUT_EXISTED, /* it was there */
    PAYLOAD_PUT_ERASED,  /* a tombstone is there: it stays erased */
};

/*
 * Store a payload in chunks of at most `chunk_max` bytes, whatever an earlier attempt or a
 * concurrent one has left there; afterwards there is exactly one object, complete.
 * @retval QUIPU_CORRUPT  the chunks under this CID are not this payload
 * @retval QUIPU_OFFLINE, QUIPU_TIMEOUT, QUIPU_PERMISSION, QUIPU_SERVER, QUIPU_TOO_LARGE, …
 */
enum quipu_status quipu_payload_put(struct quipu_nats *nats, const struct quipu_cid *cid,
                                    struct quipu_slice payload, size_t chunk_max,
                                    enum payload_put *outcome,
                                    struct quipu_error *err) QUIPU_MUST_CHECK;

/*
 * The server took our chunk (stream sequence `chunk_sequence`) but had a meta already. Where that
 * is a tombstone, or an object that somebody put anew under another nuid, our chunk is erased
 * again.
 * @retval QUIPU_CORRUPT  that object is not this payload (our chunk stays), or the meta is none
 */
enum quipu_status quipu_payload_settle(struct quipu_nats *nats, const struct quipu_cid *cid,
                                       uint64_t chunk_sequence,
                                       struct quipu_error *err) QUIPU_MUST_CHECK;

/*
 * Append the payload to `out`: meta → nuid → chunks, the hash checked against the CID.
 * @retval QUIPU_NOT_FOUND  no such object, or erased. @retval QUIPU_CORRUPT  another content
 * @retval QUIPU_OFFLINE, QUIPU_TIMEOUT, QUIPU_PERMISSION, QUIPU_TOO_LARGE, QUIPU_NO_MEMORY
 */
enum quipu_status quipu_payload_get(struct quipu_nats *nats, const struct quipu_cid *cid,
                                    struct quipu_buf *out,
                                    struct quipu_error *err) QUIPU_MUST_CHECK;

#endif

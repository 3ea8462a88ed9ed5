/*
 * Messages out and replies in: plain publishes with a reply subject of ours, one subscription for
 * all replies, and the ack that JetStream sends read into a struct. No deadline and no repetition
 * is decided here.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_PUBLISH_H
#define QUIPU_PUBLISH_H

#include <nats/nats.h>
#include <stdbool.h>
#include <stdint.h>

#include "connection.h"
#include "quipu/slice.h"

/* What a reply belongs to: a number of the caller's and a small kind, both in the reply subject. */
struct nats_token {
    uint64_t number;
    uint8_t kind; /* 0 to 15 */
};

struct nats_header {
    const char *name;
    const char *value;
};

/* Longest list of headers that quipu sends, and what they and their names may take up on the wire
 * beside values of variable length; used to see beforehand whether a message fits. */
#define NATS_HEADERS_MAX 16

struct nats_outgoing {
    const char *subject;
    struct nats_header headers[NATS_HEADERS_MAX];
    size_t header_count;
    struct quipu_slice body;
};

void quipu_outgoing_add(struct nats_outgoing *message, const char *name, const char *value);

/* Bytes of its headers and body on the wire, as the server counts them against max_payload. */
size_t quipu_outgoing_bytes(const struct nats_outgoing *message);

/* Hand it to the connection, with a reply subject made of `token` (NULL: none).
 * @retval QUIPU_OFFLINE  the connection is gone. @retval QUIPU_PERMISSION  this user's JWT forbids
 * it; nothing was sent. @retval QUIPU_TOO_LARGE, QUIPU_NO_MEMORY */
enum quipu_status quipu_nats_publish(struct quipu_nats *nats, const struct nats_outgoing *message,
                                     const struct nats_token *token,
                                     struct quipu_error *err) QUIPU_MUST_CHECK;

/*
 * The next reply, waiting up to wait_us (0: not at all). The caller destroys `*out`.
 * @retval QUIPU_DONE  none came. @retval QUIPU_OFFLINE  the connection is gone
 * @retval QUIPU_PERMISSION  the server has denied something since connecting
 * @retval QUIPU_NOT_PROVISIONED  nobody takes one of the subjects that were published to; the
 *         library does not say which (it swallows the server's 503). Or what came is a stored
 *         message that is empty and has a header that says so
 */
enum quipu_status quipu_nats_receive(struct quipu_nats *nats, int64_t wait_us, natsMsg **out,
                                     struct nats_token *token,
                                     struct quipu_error *err) QUIPU_MUST_CHECK;

/* JetStream's answer to a publish. Slices are borrowed from the message. */
struct nats_ack {
    struct quipu_slice stream;
    uint64_t sequence;
    bool is_duplicate;
    int refusal; /* JetStream's error number; 0: stored. -1: an error without a number */
    struct quipu_slice description;
};

/* False where the body is no ack at all. */
bool quipu_nats_ack_read(struct quipu_slice body, struct nats_ack *out);

struct quipu_slice quipu_msg_body(const natsMsg *msg);

/* First value of a header, or NULL. Borrowed from the message. */
const char *quipu_msg_header(natsMsg *msg, const char *name);

/* Number in a "Status" header (404, 408, 409, …); 0 where there is none. Of what a stream gives
 * back (stored.h) it may be anybody's word. */
int quipu_msg_status(natsMsg *msg);

#endif

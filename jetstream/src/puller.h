/*
 * One pull in progress, as its files share it: fetch (pull_fetch.c) → payloads (pull_payloads.c) →
 * ingest, commit, acknowledge (pull.c).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_PULLER_H
#define QUIPU_PULLER_H

#include "connection.h"
#include "pull_place.h"
#include "quipu/buf.h"
#include "quipu/jetstream.h"
#include "streams.h"

#define PULL_CONSUMER_BYTES (QUIPU_SOURCE_TEXT_BYTES + sizeof "quipu-")

/* A message of the stream and what belongs to it. */
struct pulled {
    natsMsg *msg; /* NULL: it came earlier, and what follows is known (pull_missing.c) */
    uint64_t sequence;
    int64_t stored_unix_us;       /* by the server's clock; 0: not known */
    struct quipu_cid cid;         /* what the message says it is */
    struct quipu_cid payload_cid; /* where is_envelope */
    bool is_envelope;             /* its body decodes as one */
    bool is_in_place;             /* under the subject that its event has */
    bool has_payload;             /* fetched, or taken from here */
    /* The event is here and has no receipt: it gets one where the bucket has its payload. */
    bool is_unpublished;
    bool is_chunk_good; /* of those: what lies under the payload's CID is that payload */
    bool is_payload_up; /* of those: the bucket has it, whole */
    bool is_asked_for;
    bool is_meta_asked_for; /* what lies under its CID is not the whole of it */
    bool has_reply;         /* nothing more is to come */
    struct quipu_buf payload;
};

struct puller {
    struct quipu_engine *engine;
    struct quipu_nats *nats;
    struct quipu_pull_options options; /* complete */
    struct quipu_pull_report report;
    struct stream_facts stream;
    bool has_receipts; /* the store's receipts speak of this stream */
    char consumer[PULL_CONSUMER_BYTES];
    natsSubscription *inbox; /* of fetched messages: they keep their own subject */
    char inbox_subject[NATS_INBOX_BYTES];

    struct pulled *batch;
    size_t count;
    bool is_requested; /* the next batch, by quipu_pull_fetch_ahead */

    struct pull_place place;
    struct pull_place stored_place; /* what the store's row says */
    uint64_t delivery;              /* the consumer's number of its last one */
    uint64_t done;
    uint64_t total;
    int64_t shown_us;
    size_t reply_bytes_max; /* longest payload chunk so far */
    uint64_t token_base;    /* batch[i] asks for its payload under token_base + i */
    size_t read_to;         /* of the batch: looked at */
    size_t sent_to;         /* asked for where that is needed */
    size_t in_flight;
    size_t unread; /* of those: answered so that it cannot be read, as far as is known */
    bool is_wary;  /* that has happened: the bucket's leader is asked */
};

/* QUIPU_STOPPED where the host wants an end. What is taken in is acknowledged, the rest stays in
 * the stream. */
enum quipu_status quipu_pull_stop_check(const struct puller *puller,
                                        struct quipu_error *err) QUIPU_MUST_CHECK;

/* Open the inbox for the consumer's messages. */
enum quipu_status quipu_pull_inbox_open(struct puller *puller,
                                        struct quipu_error *err) QUIPU_MUST_CHECK;

/* Is the message at puller->place still the one that was taken in? Its leader is asked. */
enum quipu_status quipu_pull_place_holds(struct puller *puller, bool *out,
                                         struct quipu_error *err) QUIPU_MUST_CHECK;

/* Make the durable consumer stand right behind puller->place. Fills in puller->total. */
enum quipu_status quipu_pull_consumer(struct puller *puller,
                                      struct quipu_error *err) QUIPU_MUST_CHECK;

/* Ask the bucket again for payloads that events in quarantine want. */
enum quipu_status quipu_pull_missing(struct puller *puller,
                                     struct quipu_error *err) QUIPU_MUST_CHECK;

/* Fetch the next messages into puller->batch. @retval QUIPU_DONE  the stream's leader knows of none
 * up to puller->stream.last_sequence */
enum quipu_status quipu_pull_fetch(struct puller *puller, struct quipu_error *err) QUIPU_MUST_CHECK;

/* Ask for the next batch already, so that the server sends it while this one is committed. */
enum quipu_status quipu_pull_fetch_ahead(struct puller *puller,
                                         struct quipu_error *err) QUIPU_MUST_CHECK;

/* Get the payloads of batch[from…]: of as many as make one transaction, by number or by bytes. More
 * are asked for already, so that the server has something to do during the commit. `*to` is behind
 * the last one that is complete. */
enum quipu_status quipu_pull_payloads(struct puller *puller, size_t from, size_t *to,
                                      struct quipu_error *err) QUIPU_MUST_CHECK;

/* Tell the server that batch[from…to-1] is safe here. */
enum quipu_status quipu_pull_acknowledge(struct puller *puller, size_t from, size_t to,
                                         struct quipu_error *err) QUIPU_MUST_CHECK;

/* Wait until the server has all that it was told. */
enum quipu_status quipu_pull_acknowledged(struct puller *puller,
                                          struct quipu_error *err) QUIPU_MUST_CHECK;

/* Forget the batch. */
void quipu_pull_batch_clear(struct puller *puller);

/* Stream sequence in the reply subject of a delivered message; 0 where it is none. */
uint64_t quipu_ack_subject_sequence(const char *reply);

/* Which delivery of its consumer it is, from 1, without gaps; 0 where it is none. */
uint64_t quipu_ack_subject_delivery(const char *reply);

/* When the stream got that message, in microseconds since 1970 UTC; 0 where it is none. */
int64_t quipu_ack_subject_time(const char *reply);

/* A transaction that takes events in: forks kept, as much waiting as the options say. */
QUIPU_MUST_CHECK enum quipu_status quipu_pull_ingest_begin(const struct puller *puller,
                                                           struct quipu_ingest **out,
                                                           struct quipu_error *err);

#endif

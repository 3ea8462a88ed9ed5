/*
 * A connection as the rest of this module sees it: the handle's fields, reconnecting, and what the
 * library's threads have recorded.
 *
 * libnats never reconnects by itself here, so there is no reconnect buffer and no message that is
 * sent twice behind our back: a lost connection is closed, rebuilt by quipu_nats_reconnect, and
 * whoever had messages in flight sends them again.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CONNECTION_H
#define QUIPU_CONNECTION_H

#include <nats/nats.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "credentials.h"
#include "dial_guard.h"
#include "quipu/jetstream.h"
#include "subject_template.h"

#define NATS_NAME_BYTES_MAX   200 /* of a stream, a bucket, a subject prefix */
#define NATS_DENIED_BYTES     256
#define NATS_INBOX_BYTES      64
#define NATS_SERVER_TEXT_MAX  256
#define NATS_BUCKET_STREAM    "OBJ_"
#define NATS_STREAM_BYTES_MAX (NATS_NAME_BYTES_MAX + sizeof NATS_BUCKET_STREAM)

#define NATS_REPORTS_QUEUED 16

/* Written by several threads: nothing but facts, under `mutex`. */
struct nats_link {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool is_closed;              /* the library is done with this connection */
    bool is_hanging_up;          /* closing it is our own doing, and no loss */
    bool is_denied;              /* the server refused a publish or a subscribe */
    bool is_subscription_denied; /* a subscribe; or it has taken one away */
    char denied[NATS_DENIED_BYTES];

    struct quipu_nats_report now;
    /* What the host is yet to be told, oldest first. Where it is too slow, the oldest go. */
    struct quipu_nats_report queue[NATS_REPORTS_QUEUED];
    unsigned queue_first;
    unsigned queued;
    bool is_telling; /* a thread is in on_state, and tells what comes meanwhile too */
    quipu_nats_state_fn on_state;
    void *on_state_ctx;
};

enum nats_identity_kind {
    NATS_IDENTITY_PLAIN, /* none, a password, or a token */
    NATS_IDENTITY_NKEY,
    NATS_IDENTITY_JWT,
};

/* Where credentials come from and the newest of them. Once open, what changes is guarded by
 * link.mutex. */
struct nats_identity {
    enum nats_identity_kind kind;
    char *file;  /* of secrets; NULL where there is none */
    char *token; /* secret */
    quipu_nats_refresh_fn refresh;
    void *refresh_ctx;
    bool has_forbidden;
    uint8_t forbidden[QUIPU_PUBLIC_KEY_BYTES]; /* the store's signing key */

    struct nats_credentials newest;
    uint64_t generation; /* of `newest`; 0: there is none yet */
    bool is_renewing;    /* a thread is getting newer ones */
    bool is_stopping;
    bool has_watcher;
    pthread_t watcher;
};

/* The figures of a stream that flush and pull go by. */
struct stream_facts {
    uint64_t messages;
    uint64_t first_sequence; /* of an empty stream: the next one */
    uint64_t last_sequence;
    bool is_limited;           /* drops what it has: by age, or the oldest for the newest */
    bool is_refusing;          /* has room for so much and takes no more, but drops nothing */
    bool is_replicated;        /* several servers hold it */
    bool is_sealed;            /* it may be read, and takes nothing any more */
    int64_t created_unix_ns;   /* tells a stream from one of the same name that was there before */
    int64_t duplicates_us;     /* how long it knows the ids of messages */
    int64_t message_bytes_max; /* headers and body; INT64_MAX where the stream sets none */
};

/* What the streams were like when they were last asked about, over this very connection. */
struct nats_facts {
    bool is_known;
    int64_t asked_us; /* of quipu_monotonic_us */
    struct stream_facts stream;
    struct stream_facts bucket;
};

struct quipu_nats {
    char stream[NATS_NAME_BYTES_MAX + 1];
    char bucket[NATS_NAME_BYTES_MAX + 1];
    char bucket_stream[NATS_STREAM_BYTES_MAX];
    /* What every subject of ours begins with: the template's tokens in front of its variables. */
    char subject_prefix[NATS_NAME_BYTES_MAX + 1];
    char subject_template[SUBJECT_TEMPLATE_BYTES];
    char server[NATS_SERVER_TEXT_MAX]; /* the url without its secrets, for messages */
    int64_t connect_timeout_us;
    int64_t request_timeout_us;
    uint16_t ports[DIAL_SERVERS_MAX]; /* of the servers */
    int port_count;
    unsigned handshake_pieces; /* segments that TLS may send, at most; 0: there is no TLS */

    struct nats_identity identity;
    /* What this connection was made with: only the thread that uses the handle, and the library
     * while that thread connects, look at them. */
    struct nats_credentials in_use;
    uint64_t in_use_generation;
    bool is_signature_unlucky; /* libnats cannot send it: the next nonce gives another */
    bool is_dial_cut;          /* the server fell silent in the midst of connecting */
    bool is_nonce_refused;     /* the server wants something else signed than a nonce */

    natsOptions *options;
    natsConnection *connection; /* NULL where there is none */
    jsCtx *js;
    natsSubscription *inbox;
    char inbox_prefix[NATS_INBOX_BYTES]; /* "_INBOX.<unique>." */
    /* Every number below has been in a reply subject: an operation that ended early may leave
     * replies behind, and they must never be taken for answers to a later one. */
    uint64_t next_token;
    struct nats_facts facts; /* flush_facts.c */
    struct nats_link link;
};

/* Connect, or connect anew where the connection does not answer, or where there are newer
 * credentials; nothing where it stands.
 * @retval QUIPU_OFFLINE, QUIPU_AUTH, QUIPU_INVALID, QUIPU_TIMEOUT, QUIPU_SERVER, QUIPU_NO_MEMORY */
enum quipu_status quipu_nats_ready(struct quipu_nats *nats,
                                   struct quipu_error *err) QUIPU_MUST_CHECK;

/* Does a connection stand, as far as is known without asking, made with the newest credentials?
 * What an earlier operation was denied is then forgotten, as quipu_nats_ready does. */
bool quipu_nats_stands(struct quipu_nats *nats);

/* A ping behind all that was sent, and its answer within a request's time: the server has it all.
 * There must be a connection. */
natsStatus quipu_nats_round_trip(const struct quipu_nats *nats);

/* Drop what is there of a connection and connect once. */
enum quipu_status quipu_nats_reconnect(struct quipu_nats *nats,
                                       struct quipu_error *err) QUIPU_MUST_CHECK;

/* Close the connection and wait until the library's threads are done with it; the next operation
 * connects anew. False: they are not, after ten seconds. There must be a connection. */
bool quipu_nats_hang_up(struct quipu_nats *nats);

/* What a connection is in that could not be had: waiting may help (offline), or somebody has to do
 * something (error). */
enum quipu_nats_state quipu_nats_state_after(enum quipu_status failure);

/* QUIPU_PERMISSION with a line where the server has denied something since the connection was made,
 * else `status` as it is. */
enum quipu_status quipu_nats_denied(struct quipu_nats *nats, enum quipu_status status,
                                    struct quipu_error *err);

/* The same for those who have subscribed and made a round trip since: the server's refusal is known
 * to the library by then, but comes to us by another thread of its own, which is waited for. */
enum quipu_status quipu_nats_subscribed(struct quipu_nats *nats, struct quipu_error *err);

/* The same for subscriptions that have stood: has the server taken one away, or said late that
 * there is none? Asks nobody. */
enum quipu_status quipu_nats_keeps_subscriptions(struct quipu_nats *nats, struct quipu_error *err);

/* Milliseconds for the library, at least 1. */
int64_t quipu_nats_ms(int64_t us);

/* Microseconds of a clock that only goes forwards; for deadlines, never stored. */
int64_t quipu_monotonic_us(void);

/* For how long the machine has been suspended since it was started, which that clock leaves out. */
int64_t quipu_slept_us(void);

#endif

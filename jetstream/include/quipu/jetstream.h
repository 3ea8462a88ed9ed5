/*
 * libquipu-jetstream: events to a NATS JetStream stream, payloads to the JetStream object store,
 * and back. The only part of quipu with a network in it.
 *
 * Specification: docs/SPEC.md §10 (subjects, headers, messages), NATS ADR-20 (object store).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_JETSTREAM_H
#define QUIPU_JETSTREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "quipu/buf.h"
#include "quipu/engine.h"
#include "quipu/flush.h"
#include "quipu/ingest.h"
#include "quipu/outbox.h"

#ifdef __cplusplus
extern "C" {
#endif

#define QUIPU_STREAM_DEFAULT         "CIM_KEYS_EVENTS"
#define QUIPU_BUCKET_DEFAULT         "cim-keys-objects"
#define QUIPU_SUBJECT_PREFIX_DEFAULT "cim.keys"

/* ------------------------------------------------------------------ connection */

/** What a connection is doing. */
enum quipu_nats_state {
    QUIPU_NATS_OFFLINE,      /* there is none; the next operation makes it */
    QUIPU_NATS_CONNECTING,   /* for the first time */
    QUIPU_NATS_CONNECTED,    /* it stands, as far as is known */
    QUIPU_NATS_RECONNECTING, /* one was lost and is being made anew */
    QUIPU_NATS_ERROR,        /* waiting does not help: `status` and `message` say what does */
};

/** Name such as "connected". Static text. Any thread. */
QUIPU_API const char *quipu_nats_state_name(enum quipu_nats_state state);

/** The connection at one moment. */
struct quipu_nats_report {
    enum quipu_nats_state state;
    int64_t since_unix_us;     /* when this state was entered; microseconds since 1970 UTC */
    int64_t connected_unix_us; /* when a connection last came about; 0: never yet */
    uint64_t connects;         /* how many have come about */
    /** Of the last failure or loss; QUIPU_OK and "" once connected. No secrets. */
    enum quipu_status status;
    char message[QUIPU_ERROR_MESSAGE_BYTES];
    int64_t credentials_expire_unix_us; /* by the user's JWT; 0: never, or no JWT */
    bool is_refresh_due;                /* less than an hour of it is left */
    uint64_t refreshes;                 /* how often new credentials have been taken */
};

/**
 * Told of each change of state, of credentials that fall due and of new ones that were taken: in
 * order, never twice at once, from whichever thread notices: the one that uses the handle, one of
 * libnats, or quipu's own that refreshes credentials. Must return soon and may call nothing on the
 * handle but quipu_nats_state. `now` is borrowed for the call. The last call is made by
 * quipu_nats_close (or by a quipu_nats_open that fails).
 */
typedef void (*quipu_nats_state_fn)(void *ctx, const struct quipu_nats_report *now);

/**
 * Asked for new credentials when less than an hour is left of the ones in use (again and again
 * until there are newer ones), and once when the server refuses them. Appends the text of a .creds
 * file to `creds`, which the library wipes. Called from a thread of quipu's own, or from the one
 * that uses the handle while it connects; never twice at once. Any failure leaves the credentials
 * in use as they are. May take its time; quipu_nats_close waits for it.
 */
typedef enum quipu_status (*quipu_nats_refresh_fn)(void *ctx, struct quipu_buf *creds,
                                                   struct quipu_error *err);

/** How to reach the server. Strings are copied by quipu_nats_open. NULL or 0: the default. */
struct quipu_nats_options {
    size_t size; /* sizeof this struct */
    /* nats://127.0.0.1:4222; tls:// and several with commas between are possible; may carry
     * user:password@ or token@, which no message ever shows. One tls:// makes all of them use it */
    const char *url;
    /* Who we are: at most one of these ways (the url's counts). With none of them
     * quipu_nats_credentials_default where that file exists; "" as credentials_file: not even that.
     * The files of secrets are refused where group or others have any right to them. */
    const char *credentials_file; /* .creds: JWT and seed. Read again at each connect */
    const char *nkey_file;        /* a user's NKey seed, "SU…" */
    const char *user;
    const char *password;
    const char *token;
    /* TLS is on where any of these, or a tls:// url, is given. It never changes who we are. */
    const char *tls_ca_file;   /* PEM; else what the system trusts */
    const char *tls_cert_file; /* PEM, client certificate and what leads to its CA */
    const char *tls_key_file;  /* PEM, its key: both or none */
    const char *tls_host;      /* the name in the server's certificate; else the url's host */
    const char *stream;
    const char *bucket;
    const char *subject_prefix;
    /* How an event's subject is made (config.h, quipu_subject_template_check); "{prefix}" stands
     * for subject_prefix. It belongs to the stream: another one would let in a second copy. */
    const char *subject_template;
    int64_t connect_timeout_us; /* 5 s */
    int64_t request_timeout_us; /* 5 s; an ack that takes longer is sent again */
    /* The store whose signing key is never used to connect (QUIPU_INVALID): a server could have it
     * sign what it likes. Only read during quipu_nats_open. */
    struct quipu_engine *engine;
    quipu_nats_state_fn on_state;
    void *on_state_ctx;
    /* Without a credentials_file the first credentials come from it too. */
    quipu_nats_refresh_fn refresh;
    void *refresh_ctx;
};

#define QUIPU_NATS_OPTIONS_INIT                                                                    \
    {                                                                                              \
        .size = sizeof(struct quipu_nats_options)                                                  \
    }

/** A connection with the names of the stream and the bucket. One thread at a time, except for
 * quipu_nats_state. */
struct quipu_nats;

/**
 * Connect, within the timeout. A connection that is lost later is made anew by the next operation,
 * and by a flush in its midst. With TLS the server's certificate must be signed by the CA and name
 * the host of the url (or tls_host). Secrets are wiped at close, except for password and token,
 * which libnats keeps and frees.
 * @retval QUIPU_OFFLINE  nobody listens at url. @retval QUIPU_AUTH  credentials (or, with TLS, the
 * server's certificate) refused; err says the cure
 * @retval QUIPU_INVALID  url, a file or a name is malformed, more than one way to say who we are is
 * given, or the key is the store's signing key. @retval QUIPU_PERMISSION  others may read a file of
 * secrets. @retval QUIPU_MISUSE  options->size
 * @retval QUIPU_TIMEOUT, QUIPU_SERVER, QUIPU_NO_MEMORY, and what options->refresh says
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_nats_open(const struct quipu_nats_options *options, struct quipu_nats **out,
                struct quipu_error *err);
/** All that quipu_nats_open can find wrong without asking a server: names, the url, files (which
 * are read), two identities, the store's signing key. For those who then wait for a server for as
 * long as it takes, so that they do not wait where waiting cannot help. on_state hears of a
 * failure.
 * @retval QUIPU_OK  whether the server takes them is for the server to say
 * @retval QUIPU_INVALID, QUIPU_PERMISSION, QUIPU_MISUSE, QUIPU_NO_MEMORY, and what options->refresh
 * says, as by quipu_nats_open. Any thread */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_nats_options_check(const struct quipu_nats_options *options, struct quipu_error *err);
/** Close and set NULL; waits until the library's threads are done with it. NULL is fine. */
QUIPU_API void quipu_nats_close(struct quipu_nats **nats);

/** What the connection is doing. Any thread, until quipu_nats_close is called. */
QUIPU_API void quipu_nats_state(struct quipu_nats *nats, struct quipu_nats_report *out);

/** "$XDG_CONFIG_HOME/quipu/nats.creds", or below "$HOME/.config": append its path and a NUL,
 * whether or not there is such a file.
 * @retval QUIPU_NOT_FOUND  neither variable is set to an absolute path. @retval QUIPU_NO_MEMORY */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_nats_credentials_default(struct quipu_buf *path, struct quipu_error *err);

/** What a credentials file says about itself. */
struct quipu_nats_credentials_info {
    char user[QUIPU_SOURCE_TEXT_BYTES]; /* the user's public key, U… */
    int64_t expires_unix_us;            /* by its JWT; 0: never */
    bool is_refresh_due;                /* less than an hour is left, or nothing */
};

/**
 * Read a .creds file as quipu_nats_open would, and ask no server.
 * @retval QUIPU_INVALID  it cannot be read, or is malformed. @retval QUIPU_PERMISSION  others may
 * read it. @retval QUIPU_NO_MEMORY, QUIPU_MISUSE
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_nats_credentials_read(const char *path, struct quipu_nats_credentials_info *out,
                            struct quipu_error *err);

/**
 * May this user publish to `subject` (wildcards: to all that it matches), as far as its JWT says?
 * Every publish and request is held against that before it is sent. The server's own rules may be
 * narrower.
 * @retval QUIPU_PERMISSION  err names the subject and the rule. One thread at a time
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_nats_may_publish(const struct quipu_nats *nats, const char *subject, struct quipu_error *err);

/* ------------------------------------------------------------------ provisioning */

enum quipu_stream_storage { QUIPU_STREAM_FILE, QUIPU_STREAM_MEMORY };

/** What a stream is made with, and what one that is there is held against. An audit log does not
 * expire: the limits are off unless they are asked for by name. They are for the event stream
 * alone; payloads never expire. */
struct quipu_provision_options {
    size_t size;
    int64_t duplicate_window_us; /* 0: 2 minutes; at most max_age_us where that is given */
    uint32_t replicas;           /* 1 to 5; 0: 1 */
    enum quipu_stream_storage storage;
    int64_t max_age_us;   /* 0: no limit; at least 100 ms: the server forgets older events */
    uint64_t max_events;  /* 0: no limit. At the limit the stream takes no more */
    uint64_t max_bytes;   /* 0: no limit. As above */
    bool may_lose_events; /* required where max_age_us is given, or storage in memory is */
};

#define QUIPU_PROVISION_OPTIONS_INIT                                                               \
    {                                                                                              \
        .size = sizeof(struct quipu_provision_options)                                             \
    }

#define QUIPU_PROVISION_NOTES_BYTES 2048

struct quipu_provision_report {
    bool stream_created;
    bool bucket_created;
    uint64_t stream_messages; /* that are in it */
    /** What differs from what quipu would have made, one line each, empty where nothing. Buffer is
     * caller's: release it. */
    struct quipu_buf drift;
    /** What is worth knowing although it is as asked: limits that let an audit log lose events, and
     * what this server's version is known to do wrong. One line each, NUL-terminated. */
    char notes[QUIPU_PROVISION_NOTES_BYTES];
};

/**
 * Create the stream and the bucket where they are missing; change nothing that is there.
 * @retval QUIPU_OK     both are there and as they should be
 * @retval QUIPU_DRIFT  both are there, but `report->drift` says what is otherwise. Nothing else
 * writes the report on failure
 * @retval QUIPU_INVALID  a limit is out of range, or an audit log that can lose events is asked for
 * without may_lose_events
 * @retval QUIPU_SERVER, QUIPU_TIMEOUT, QUIPU_OFFLINE, QUIPU_AUTH, QUIPU_PERMISSION,
 * QUIPU_NO_MEMORY, QUIPU_MISUSE
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_provision(struct quipu_nats *nats, const struct quipu_provision_options *options,
                struct quipu_provision_report *report, struct quipu_error *err);

/* ------------------------------------------------------------------ pulling */

struct quipu_pull_options {
    size_t size;
    uint32_t batch; /* messages per fetch, up to 10,000; 0: 2,000 */
    /** Called now and then. May be NULL. */
    void (*progress)(void *ctx, uint64_t done, uint64_t total);
    void *ctx;
    /** As those of struct quipu_ingest_options. */
    uint64_t pending_events_max;
    uint64_t pending_bytes_max;
    uint64_t quarantine_bytes_max;
    /** Asked between batches, with `ctx`: true ends the pull, once what was taken in is
     * acknowledged, with QUIPU_STOPPED. May be NULL. */
    bool (*should_stop)(void *ctx);
    /** Ask now for every payload that is missing, and not only for those whose pause is over. */
    bool asks_at_once;
};

#define QUIPU_PULL_OPTIONS_INIT                                                                    \
    {                                                                                              \
        .size = sizeof(struct quipu_pull_options)                                                  \
    }

struct quipu_pull_report {
    struct quipu_ingest_report events;
    uint64_t last_sequence; /* of the stream, that was taken in */
    int64_t took_us;
};

/**
 * Bring in what is in the stream and not yet here: fetch messages and their payloads, verify,
 * ingest, commit, then acknowledge. The place in the stream is kept in the store and by a durable
 * consumer "quipu-<source>", which is made anew where it stands elsewhere. What is pulled counts as
 * published, unless the store's receipts speak of another stream. A message that is not a
 * quipu event, or whose payload is missing, goes to quarantine; payloads that were missing are
 * asked for again first, each after a pause that doubles from 10 s to an hour. Where the stream's
 * message at our place is not the one that was taken in (a server that was set back), all of the
 * stream is taken again, what is here as known. Forks are kept (forks.h). Takes the store's
 * "puller" lock and makes its signing key where it has none. The report (may be NULL) is filled in
 * on failure too.
 * @retval QUIPU_OK  the end of the stream, as of the call, is reached
 * @retval QUIPU_SERVER  also where the stream has a message that its consumer does not deliver
 * @retval QUIPU_STOPPED  options->should_stop said so
 * @retval QUIPU_BUSY  another process pulls into this store
 * @retval QUIPU_TOO_LARGE  as many events wait in quarantine for others as may, or it holds as much
 * as it may; what came before is taken in, and this message and those behind it stay in the stream
 * @retval QUIPU_NOT_PROVISIONED, QUIPU_DRIFT, QUIPU_OFFLINE, QUIPU_TIMEOUT, QUIPU_AUTH,
 * QUIPU_PERMISSION, QUIPU_SERVER, QUIPU_MISUSE, QUIPU_INVALID, and what the store says
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_pull(struct quipu_engine *engine,
                                                        struct quipu_nats *nats,
                                                        const struct quipu_pull_options *options,
                                                        struct quipu_pull_report *report,
                                                        struct quipu_error *err);

struct quipu_puller_options {
    size_t size;
    struct quipu_pull_options pull; /* should_stop is left to the puller */
    int64_t interval_us;            /* between two pulls; 0: 5 s */
    /** After each pull that took something in or failed; with pull.ctx. `err` is NULL unless
     * `status` is a failure. May be NULL. */
    void (*after)(void *ctx, enum quipu_status status, const struct quipu_pull_report *report,
                  const struct quipu_error *err);
};

#define QUIPU_PULLER_OPTIONS_INIT                                                                  \
    {                                                                                              \
        .size = sizeof(struct quipu_puller_options), .pull = {                                     \
            .size = sizeof(struct quipu_pull_options)                                              \
        }                                                                                          \
    }

/** A pull that is repeated: every interval, and when the server is back. */
struct quipu_puller;

/**
 * @param engine, nats  borrowed until the puller is closed
 * @retval QUIPU_MISUSE, QUIPU_NO_MEMORY, and what quipu_watch_open says
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_puller_open(struct quipu_engine *engine, struct quipu_nats *nats,
                  const struct quipu_puller_options *options, struct quipu_puller **out,
                  struct quipu_error *err);

/**
 * Go on until quipu_puller_stop, or until a failure that waiting does not heal, as with
 * quipu_flusher_run; too many events that wait in quarantine (QUIPU_TOO_LARGE) are one.
 * @retval QUIPU_OK  it was stopped; what was taken in is acknowledged
 * @threads one; quipu_puller_stop from any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_puller_run(struct quipu_puller *puller,
                                                              struct quipu_error *err);

/** Have the run end soon; one that has not begun ends at once. @threads any; also from a signal
 * handler. NULL is fine. */
QUIPU_API void quipu_puller_stop(struct quipu_puller *puller);

/** Close and set NULL, when no run is under way. NULL is fine. */
QUIPU_API void quipu_puller_close(struct quipu_puller **puller);

#ifdef __cplusplus
}
#endif

#endif

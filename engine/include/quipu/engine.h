/*
 * The engine: append events to aggregates, read them back, take in events of others.
 *
 * An engine is shareable between threads. It keeps no thread of its own. Every failure leaves the
 * store as it was, but for one: where the disk fails in the middle of a commit (QUIPU_IO, or
 * QUIPU_NO_SPACE), nothing is acknowledged, and all of that commit is stored or nothing of it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_H
#define QUIPU_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quipu/clock.h"
#include "quipu/envelope.h"
#include "quipu/error.h"
#include "quipu/export.h"
#include "quipu/slice.h"
#include "quipu/store.h"
#include "quipu/uuid.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------ opening */

struct quipu_engine;
struct quipu_types; /* quipu/types.h */

struct quipu_engine_options {
    size_t size;                       /* sizeof this struct */
    const struct quipu_clock *clock;   /* NULL: the system's. Copied. */
    const struct quipu_random *random; /* NULL: the system's. Copied. */
    /** Declared event types: what is appended must fit them, and where their rule is strict, be
     * declared. Borrowed until close, and must not change. NULL: those that the store keeps
     * (quipu_types_save), as they are when an event is appended, also where another process has
     * changed them meanwhile. */
    const struct quipu_types *types;
    /** Do not look at what the store keeps: with `types` NULL nothing is checked. For who moves
     * events that were recorded under other declarations. */
    bool ignores_stored_types;
};

#define QUIPU_ENGINE_OPTIONS_INIT                                                                  \
    {                                                                                              \
        .size = sizeof(struct quipu_engine_options)                                                \
    }

/** Work on `store`, which must stay open until close. Reads and writes nothing yet.
 * @retval QUIPU_NO_MEMORY, QUIPU_MISUSE */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_engine_open(struct quipu_store *store, const struct quipu_engine_options *options,
                  struct quipu_engine **out, struct quipu_error *err);
QUIPU_API void quipu_engine_close(struct quipu_engine **engine);

/** The store it works on; borrowed. */
QUIPU_API struct quipu_store *quipu_engine_store(const struct quipu_engine *engine);

/* ------------------------------------------------------------------ appending */

#define QUIPU_APPEND_EVENTS_MAX 65536
/* Payloads and metas of one call together. */
#define QUIPU_APPEND_BYTES_MAX (256u << 20)

enum quipu_expected_kind { QUIPU_EXPECT_ANY = 0, QUIPU_EXPECT_NO_STREAM, QUIPU_EXPECT_EXACT };

/** What the caller believes about the aggregate just before this event. Zero: anything. */
struct quipu_expected {
    enum quipu_expected_kind kind;
    uint64_t version;
};

static inline struct quipu_expected quipu_expect_any(void)
{
    struct quipu_expected expected = {QUIPU_EXPECT_ANY, 0};
    return expected;
}

/** The aggregate has no event yet. */
static inline struct quipu_expected quipu_expect_no_stream(void)
{
    struct quipu_expected expected = {QUIPU_EXPECT_NO_STREAM, 0};
    return expected;
}

/** The aggregate's last event has this version (0 means: no event yet). */
static inline struct quipu_expected quipu_expect_exact(uint64_t version)
{
    struct quipu_expected expected = {QUIPU_EXPECT_EXACT, version};
    return expected;
}

/** An instant that may be absent. Zero: absent. */
struct quipu_instant {
    bool is_set;
    int64_t unix_us;
};

static inline struct quipu_instant quipu_instant_at(int64_t unix_us)
{
    struct quipu_instant instant = {true, unix_us};
    return instant;
}

enum quipu_secret_policy {
    QUIPU_SECRET_REFUSE = 0,
    /** The caller has seen the rule's name and wants this payload stored in clear all the same. */
    QUIPU_SECRET_ALLOW,
};

/** An event to append. All borrowed for the call. Zero-initialise, then set what is known. */
struct quipu_event {
    const char
        *type; /* such as "key.generated": tokens of [a-z0-9_-] joined by dots, 1 to 128 bytes */
    struct {
        const char *type; /* one token of [a-z0-9_-], 1 to 64 bytes */
        const char *id;   /* UTF-8 without control characters, 1 to 255 bytes */
    } aggregate;
    struct quipu_slice payload;       /* one item of DAG-CBOR, up to QUIPU_PAYLOAD_BYTES_MAX */
    struct quipu_expected expected;   /* default: any */
    uint64_t schema;                  /* version of the type; 0: 1 */
    struct quipu_uuid event_id;       /* nil: a new UUIDv7 */
    struct quipu_uuid correlation_id; /* nil: the event's own id */
    struct quipu_uuid causation_id;   /* nil: nothing caused it */
    struct quipu_instant occurred_at; /* absent: now, by the engine's clock */
    struct quipu_slice meta;          /* a DAG-CBOR map, or empty */
    enum quipu_secret_policy secrets;
};

/** What became of an event. */
struct quipu_appended {
    uint64_t position;
    uint64_t version;
    struct quipu_uuid event_id;
    struct quipu_cid cid; /* of the envelope */
    /** The same event was there already; the figures are those of the first time. */
    bool was_duplicate;
};

/**
 * Append `count` events (0: nothing happens), of one or several aggregates, in this order, all or
 * none. Durable when it returns. Calls of several threads at the same time share one commit; each
 * still succeeds or fails by itself, but for a failure of the disk in that commit. An event whose
 * event_id is stored already with the same type, aggregate, payload and other given fields is a
 * duplicate: it is not stored again, its expectation is not checked, and `out` tells where it is.
 * Nor does it matter then what is declared or allowed today: a retry is answered as the first time
 * also where the event would be refused for its type or for a secret that was allowed before.
 * Expectations see the events before them in the same call.
 *
 * The store's signing key and with it its `source` are made on the first append where there are
 * none.
 *
 * @param out  `count` results, or NULL. Untouched on failure.
 * @retval QUIPU_OK
 * @retval QUIPU_VERSION_CONFLICT   names the aggregate, the expected and the found version
 * @retval QUIPU_FORK               the aggregate has an open conflict: names its tips; quipu_merge
 * (forks.h) joins them
 * @retval QUIPU_EVENT_ID_CONFLICT  the id is stored (or in this call) with other content; names the
 * first field that differs and what it says on both sides, and the CID of what is stored
 * @retval QUIPU_SECRET_REFUSED     names the rule
 * @retval QUIPU_TYPE               it does not fit its declaration; names type, path and both kinds
 * @retval QUIPU_INVALID, QUIPU_TOO_LARGE, QUIPU_CBOR_*  the event is not one; names index and field
 * @retval QUIPU_TOO_LARGE  also: the call changes more pages than one commit may hold (SPEC §11);
 * append in smaller calls
 * @retval QUIPU_MISUSE             no engine, no events, no such kind of expectation; after fork();
 * this thread has a write transaction in progress, or a quipu_ingest
 * @retval QUIPU_NO_SPACE, QUIPU_IO, QUIPU_NO_MEMORY, QUIPU_NO_RANDOM, QUIPU_PERMISSION,
 * QUIPU_CORRUPT. Where the disk fails in the commit itself, err->is_unsure is true and the line
 * says so: the events may or may not be stored; append them again with the same event_id, which
 * gives each once. A map that is full (QUIPU_NO_SPACE) is enlarged by the call itself, unless
 * another transaction of this process is in progress. Duplicates are synced before they are
 * acknowledged where that is not known to be done; see quipu_store_sync. For a failure that one
 * event causes, `*failed` (may be NULL) is its index, else `count`.
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_append_batch(struct quipu_engine *engine, const struct quipu_event *events, size_t count,
                   struct quipu_appended *out, size_t *failed, struct quipu_error *err);

/** quipu_append_batch with one event. */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_append(struct quipu_engine *engine,
                                                          const struct quipu_event *event,
                                                          struct quipu_appended *out,
                                                          struct quipu_error *err);

/* ------------------------------------------------------------------ reading */

/** An event as it is stored. Slices live as long as its transaction (or callback) says. */
struct quipu_event_view {
    uint64_t position;
    struct quipu_cid cid;
    struct quipu_envelope envelope;
    struct quipu_slice envelope_block;
    struct quipu_slice payload;
};

/** Decode a record of the store, as it is on the disk: unlike every call that hands out events, it
 * hashes nothing, so a block that was damaged may pass. Who shows its bytes to others calls
 * quipu_event_view_verify first. On failure `*out` is undefined. @retval QUIPU_CORRUPT */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_event_view_of(const struct quipu_record *record,
                                                                 struct quipu_event_view *out,
                                                                 struct quipu_error *err);

/** Hash both blocks again. @retval QUIPU_CORRUPT  names position and block */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_event_view_verify(const struct quipu_event_view *event, struct quipu_error *err);

/**
 * Did this store record the event itself, under its identity or one that it had before? Then what
 * the event says of itself is this store's own word. What came in from a stream or in a bundle is
 * another's, whatever it says; of the store's own source that is let in only under its signature,
 * and counts as recorded here.
 * @param txn    any, of the engine's store. @param event  as that transaction shows it
 * @param out    written on QUIPU_OK
 * @retval QUIPU_CORRUPT, QUIPU_IO
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_event_is_recorded_here(struct quipu_txn *txn, const struct quipu_event_view *event, bool *out,
                             struct quipu_error *err);

/** Which events, in which order. Zero: all, oldest first. */
struct quipu_filter {
    uint64_t after;                   /* only positions greater than this */
    uint64_t until;                   /* 0: to the end; else up to and with this position */
    uint64_t limit;                   /* 0: no limit */
    const char *aggregate_type;       /* NULL: any */
    const char *aggregate_id;         /* NULL: any; needs aggregate_type */
    const char *event_type;           /* NULL: any */
    struct quipu_uuid correlation_id; /* nil: any */
    uint64_t from_version;            /* 0: from the first; needs aggregate_id */
    enum { QUIPU_FORWARDS = 0, QUIPU_BACKWARDS } direction;
    /** Show events without hashing their blocks again: for a visitor that verifies otherwise, such
     * as by quipu_event_view_verify. Whatever the disk has made of the bytes is shown. */
    bool skips_hashing;
};

/** Called for each event; the view is valid during the call. Return QUIPU_OK to go on, QUIPU_DONE
 * to end well, any failure to end with it. Must not append through the same engine. */
typedef enum quipu_status (*quipu_event_fn)(void *ctx, const struct quipu_event_view *event,
                                            struct quipu_error *err);

/**
 * Call `visit` for each event that the filter lets through, as of the moment of the call. Reads in
 * slices, so that it may take as long as it likes without making the file grow. What is shown is
 * decoded strictly and both its blocks are hashed again (filter: skips_hashing), so that a damaged
 * event ends the reading with QUIPU_CORRUPT, which names its position and the block; what the
 * filter leaves out is not decoded at all.
 * @retval QUIPU_INVALID  an aggregate_id without aggregate_type, a from_version without
 * aggregate_id, a type or an id that no event can have
 * @retval QUIPU_MISUSE   no engine, no visitor, no such direction
 * @retval QUIPU_OK   also after QUIPU_DONE by the callback. @retval QUIPU_CORRUPT, QUIPU_IO, …, or
 * the callback's
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_each_event(struct quipu_engine *engine,
                                                              const struct quipu_filter *filter,
                                                              quipu_event_fn visit, void *ctx,
                                                              struct quipu_error *err);

/* ------------------------------------------------------------------ identity */

/*
 * The signing key lies in the store's folder as signing.key: plain, or wrapped as an age file for a
 * passphrase (quipu/keyring.h makes and opens those). Recording needs only the source, which the
 * database knows, so a store with a wrapped key is opened, appended to and read as ever; what needs
 * the secret says QUIPU_KEY_LOCKED until quipu_identity_unlock has got it.
 */

/** Text of an NKey public key "U…" and a NUL. */
#define QUIPU_SOURCE_TEXT_BYTES 57
/** Text of an NKey seed "SU…" and a NUL. */
#define QUIPU_NKEY_SEED_TEXT_BYTES 59
#define QUIPU_SIGNATURE_BYTES      64
#define QUIPU_PUBLIC_KEY_BYTES     32

/** Make the signing key and the source where there are none yet; idempotent. A key that is made
 * here is plain.
 * @retval QUIPU_KEY_LOCKED  the key is wrapped and nothing was recorded under it yet, so that only
 *         the opened key tells the source
 * @retval QUIPU_PERMISSION, QUIPU_IO, QUIPU_NO_SPACE, QUIPU_NO_RANDOM */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_identity_ensure(struct quipu_engine *engine,
                                                                   struct quipu_error *err);

/** The same, but never a new key in the place of a lost one, and only where the key can sign: for
 * those who speak for the store without recording, whose readers would take it for a stranger.
 * @retval QUIPU_NOT_FOUND   the store had a source and its key is gone; err names the cure
 * @retval QUIPU_KEY_LOCKED  the key is wrapped and was not opened. As above */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_identity_ensure_first(struct quipu_engine *engine, struct quipu_error *err);

/** The store's source. @retval QUIPU_NOT_FOUND  it has none yet (new, or restored from a backup)
 * @retval QUIPU_KEY_LOCKED  as for quipu_identity_ensure
 * @retval QUIPU_PERMISSION, QUIPU_CORRUPT, QUIPU_IO  as for quipu_identity_sign */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_identity_source(struct quipu_engine *engine, char out[QUIPU_SOURCE_TEXT_BYTES],
                      struct quipu_error *err);

/** Ed25519 signature of `message` by the store's signing key.
 * @retval QUIPU_NOT_FOUND   no key yet. @retval QUIPU_PERMISSION  others may read the key file
 * @retval QUIPU_KEY_LOCKED  the key is wrapped and was not opened: err names the cure
 * @retval QUIPU_CORRUPT     the file holds no key. @retval QUIPU_IO */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_identity_sign(struct quipu_engine *engine, struct quipu_slice message,
                    uint8_t signature[QUIPU_SIGNATURE_BYTES], struct quipu_error *err);

enum quipu_identity_state {
    QUIPU_IDENTITY_ABSENT = 0, /* no key is there yet */
    QUIPU_IDENTITY_PLAIN,
    QUIPU_IDENTITY_LOCKED, /* wrapped */
    QUIPU_IDENTITY_OPENED, /* wrapped, and this engine was given what is in it */
};

/** How the signing key lies there. @retval QUIPU_PERMISSION, QUIPU_CORRUPT, QUIPU_IO as for
 * quipu_identity_sign */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_identity_state(struct quipu_engine *engine,
                                                                  enum quipu_identity_state *out,
                                                                  struct quipu_error *err);

/** Was the signing key wrapped when the store last recorded under it, or was made ready to? True
 * still where the file is gone: the key that the next event makes is plain, and somebody should be
 * told.
 * @retval QUIPU_CORRUPT, QUIPU_IO */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_identity_was_wrapped(struct quipu_engine *engine, bool *out, struct quipu_error *err);

/**
 * Give the engine what is in the store's wrapped key, until it is closed. It keeps a copy in
 * guarded memory, left out of core dumps, kept from swap where the system lets, and wiped at the
 * end.
 * @param key  The plaintext of signing.key: "SU…" with or without a newline. The caller wipes it.
 * @retval QUIPU_OK         also where the key lies there in clear and is the same
 * @retval QUIPU_CORRUPT    it is no NKey user seed
 * @retval QUIPU_INVALID    it is the key of another source than the store records under; err names
 *         both
 * @retval QUIPU_NOT_FOUND  the store has no key. @retval QUIPU_PERMISSION, QUIPU_IO,
 *         QUIPU_NO_MEMORY, QUIPU_NO_RANDOM
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_identity_unlock(struct quipu_engine *engine, struct quipu_slice key, struct quipu_error *err);

/** Raw public key of a source text. @retval QUIPU_INVALID  not "U…" or its checksum is wrong. Any
 * thread. */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_source_public_key(struct quipu_slice source, uint8_t out[QUIPU_PUBLIC_KEY_BYTES],
                        struct quipu_error *err);

/** NKey text of a raw Ed25519 public key: prefix 'U' (user), 'A' (account), 'O' (operator), 'N',
 * 'C', 'X' (curve); any other gives an empty text. */
QUIPU_API void quipu_nkey_format(char prefix, const uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES],
                                 char out[QUIPU_SOURCE_TEXT_BYTES]);

/** Raw public key of a user's NKey seed "SU…". The seed is a secret of the caller's, who wipes it.
 * @retval QUIPU_INVALID  not a user's seed, or its checksum is wrong; err never shows it. Any
 * thread. */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_nkey_seed_public_key(struct quipu_slice seed, uint8_t out[QUIPU_PUBLIC_KEY_BYTES],
                           struct quipu_error *err);

/** A new user's NKey seed and a NUL: a secret, which the caller keeps in locked memory and wipes.
 * @param random  NULL for the system's. @retval what the randomness says. Any thread. */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_nkey_seed_generate(const struct quipu_random *random, char out[QUIPU_NKEY_SEED_TEXT_BYTES],
                         struct quipu_error *err);

/** Ed25519 signature of `message` by a user's NKey seed "SU…".
 * @retval QUIPU_INVALID    as for quipu_nkey_seed_public_key
 * @retval QUIPU_NO_RANDOM  libsodium does not start. Any thread. */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_nkey_seed_sign(struct quipu_slice seed, struct quipu_slice message,
                     uint8_t signature[QUIPU_SIGNATURE_BYTES], struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif

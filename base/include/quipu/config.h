/*
 * The settings of a program that embeds quipu, as plain values: what they are called, what they may
 * be, what they are where nobody says. Knows no file format, no environment and no server: the
 * program quipu fills it from TOML, QUIPU_* and options, another host from wherever it likes.
 *
 * Specification: docs/SPEC.md §13 (keys, ranges, defaults).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CONFIG_H
#define QUIPU_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quipu/buf.h"
#include "quipu/error.h"
#include "quipu/export.h"
#include "quipu/slice.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------ the values */

/** Whether, and when, what is appended goes to the server by itself. */
enum quipu_mode {
    QUIPU_MODE_NONE = 0, /* never; flush and pull do when they are asked */
    QUIPU_MODE_OFFLINE,  /* never, and no socket is opened whatever is asked */
    QUIPU_MODE_ONLINE,   /* after each append; that there is no server is a failure */
    QUIPU_MODE_HYBRID,   /* after each append, where there is a server */
};

enum quipu_config_dedup { QUIPU_CONFIG_DEDUP_SUBJECT = 0, QUIPU_CONFIG_DEDUP_WINDOW };
enum quipu_config_storage_kind { QUIPU_CONFIG_FILE = 0, QUIPU_CONFIG_MEMORY };

/** [nats]. NULL: not given. */
struct quipu_config_nats {
    bool enabled;
    const char *url;
    const char *credentials_file;
    const char *nkey_file;
    const char *user;
    const char *password; /* secret */
    const char *token;    /* secret */
    const char *stream_name;
    const char *object_store_bucket;
    const char *source_id; /* the store that is meant: its source must be this one */
    const char *subject_prefix;
    const char *subject_template;
    uint64_t max_retries; /* of the first connect */
    int64_t connection_timeout_us;
    int64_t request_timeout_us;
    int64_t flush_interval_us;
    enum quipu_config_dedup dedup;
};

/** [nats.tls]. TLS is on where any of them is given. */
struct quipu_config_tls {
    const char *ca_cert;
    const char *client_cert;
    const char *client_key;
    const char *server_name;
};

/** [nats.jetstream]: what a stream is made with. */
struct quipu_config_jetstream {
    uint64_t replicas;
    int64_t max_age_us;    /* 0: no limit */
    uint64_t max_messages; /* 0: no limit */
    uint64_t max_bytes;    /* 0: no limit */
    int64_t duplicate_window_us;
    enum quipu_config_storage_kind storage;
    bool may_lose_events; /* asked for where max_age or storage in memory let an audit log lose */
};

/** [storage]. */
struct quipu_config_storage {
    const char *dir;
    const char *offline_events_dir;
    const char *backup_dir;
    bool enable_backup;
    int64_t backup_interval_us;
};

/** [offline]. */
struct quipu_config_offline {
    const char *operator_name;
    int64_t probe_timeout_us; /* how long Hybrid waits for a server after an append */
};

/** Every setting. Strings are borrowed. One thread at a time. */
struct quipu_config {
    size_t size; /* sizeof this struct; quipu_config_init sets it */
    struct quipu_config_nats nats;
    struct quipu_config_tls tls;
    struct quipu_config_jetstream jetstream;
    struct quipu_config_storage storage;
    enum quipu_mode mode;
    struct quipu_config_offline offline;
};

/** Fill in all defaults. */
QUIPU_API void quipu_config_init(struct quipu_config *config);

/** May a socket be opened: nats.enabled, and the mode is not Offline. */
QUIPU_API bool quipu_config_may_connect(const struct quipu_config *config);

/** Does what is appended go to the server by itself: Online or Hybrid, and it may connect. */
QUIPU_API bool quipu_config_publishes(const struct quipu_config *config);

/* ------------------------------------------------------------------ the keys */

enum quipu_config_kind {
    QUIPU_CONFIG_TEXT,
    QUIPU_CONFIG_PATH,     /* text; the host decides what a relative one is relative to */
    QUIPU_CONFIG_BOOL,     /* bool */
    QUIPU_CONFIG_NUMBER,   /* uint64_t */
    QUIPU_CONFIG_BYTES,    /* uint64_t; as text "10MiB", "2GB", "512B" */
    QUIPU_CONFIG_DURATION, /* int64_t, microseconds; as text "500ms", "30s", "5m", "12h", "30d";
                            * as a number, seconds */
    QUIPU_CONFIG_WORD,     /* one of a few words: an enum */
};

#define QUIPU_CONFIG_WORDS_MAX 4

/** One setting. */
struct quipu_config_key {
    const char *section; /* such as "nats.tls" */
    const char *name;    /* such as "ca_cert" */
    const char *path;    /* both with a dot between */
    const char *environment;
    const char *environment_short; /* another variable for the same, or NULL */
    const char *fallback;          /* what it is where nobody says, as text; NULL: nothing */
    const char *example;           /* a value as it stands in a TOML file */
    const char *help;
    enum quipu_config_kind kind;
    size_t offset;    /* of the field in struct quipu_config */
    int64_t min, max; /* of the field; for text its length in bytes */
    bool is_secret;   /* never shown */
    /** The enum's words by its values; NULL behind the last. Those from word_first on may be given.
     */
    const char *words[QUIPU_CONFIG_WORDS_MAX];
    size_t word_first;
};

/** All keys, section by section, and how many. Static. Any thread. */
QUIPU_API const struct quipu_config_key *quipu_config_keys(size_t *count);

/** The key of that path such as "nats.url"; NULL where there is none. */
QUIPU_API const struct quipu_config_key *quipu_config_key_find(struct quipu_slice path);

/** Is it the name of a section, such as "nats" or "nats.tls"? */
QUIPU_API bool quipu_config_is_section(struct quipu_slice path);

/** The key that a wrong path was most likely to be; NULL where nothing is near. */
QUIPU_API const struct quipu_config_key *quipu_config_key_nearest(struct quipu_slice path);

/* ------------------------------------------------------------------ one value */

/**
 * Set one value from text, as it comes from an environment or an option: true or false, digits,
 * durations and sizes with their unit, a word. TEXT and PATH are borrowed as they are.
 * @retval QUIPU_INVALID  err names the key, what it wants and what was found (secrets: not), and
 * how to write it. Nothing is changed
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_config_set_text(struct quipu_config *config, const struct quipu_config_key *key,
                      const char *text, struct quipu_error *err);

/** Set a NUMBER, BYTES (bytes) or DURATION (seconds). @retval QUIPU_INVALID as above, also for
 * another kind of key */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_config_set_number(struct quipu_config *config, const struct quipu_config_key *key,
                        int64_t number, struct quipu_error *err);

/** Set a BOOL. @retval QUIPU_INVALID  the key is of another kind */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_config_set_bool(struct quipu_config *config, const struct quipu_config_key *key, bool value,
                      struct quipu_error *err);

/** Put the default back. */
QUIPU_API void quipu_config_unset(struct quipu_config *config, const struct quipu_config_key *key);

/** Is there a value, the default counted? */
QUIPU_API bool quipu_config_has(const struct quipu_config *config,
                                const struct quipu_config_key *key);

/** Append the value as text: nothing where there is none, "********" for a secret, a url without
 * what may be a password in it. */
QUIPU_API void quipu_config_format(const struct quipu_config *config,
                                   const struct quipu_config_key *key, struct quipu_buf *out);

/** "90s" and the like in microseconds; 0 with a unit is fine. @retval QUIPU_INVALID */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_duration_parse(struct quipu_slice text,
                                                                  int64_t *us);

/** "512B", "64kB", "10MiB" in bytes, up to INT64_MAX. @retval QUIPU_INVALID */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_bytes_parse(struct quipu_slice text,
                                                               uint64_t *bytes);

/* ------------------------------------------------------------------ all of them */

/**
 * Hold every value against its range, and all of them against one another. Opens no file and no
 * socket: whether what they name is there shows when it is used.
 * @param at  the key at fault, for who knows where it was written. May be NULL
 * @retval QUIPU_INVALID  err says what and the cure. @retval QUIPU_MISUSE  config->size
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_config_validate(const struct quipu_config *config, const struct quipu_config_key **at,
                      struct quipu_error *err);

#define QUIPU_SUBJECT_TEMPLATE_DEFAULT "{prefix}.{aggregate_type}.{event_type}.{event_id}"
#define QUIPU_SUBJECT_LITERAL_MAX      200

/**
 * Is it a template of subjects? Tokens with dots between them; a token is letters, digits, '_' and
 * '-', or one of {prefix}, {aggregate_type}, {event_type}, {event_id}, each at most once. The first
 * token is no variable of the event, so that the stream can be told its subjects, and the last one
 * is {event_id}, by which the server knows what it has already.
 * @param prefix  what {prefix} stands for
 * @retval QUIPU_INVALID
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_subject_template_check(const char *text, const char *prefix, struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif

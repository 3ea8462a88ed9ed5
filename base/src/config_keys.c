/*
 * The table of all settings: their names, ranges and defaults. Everything that reads, shows or
 * checks settings goes by it. Never holds a value of this run.
 *
 * Specification: docs/SPEC.md §13.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "quipu/config.h"

#define SECOND    INT64_C(1000000)
#define DAY       (INT64_C(86400) * SECOND)
#define NAME_MAX_ 200 /* of a stream, a bucket, a prefix: as the network library has it */
#define TEXT_MAX_ 4096

#define FIELD(member) offsetof(struct quipu_config, member)

/* A row of the section `group` with the names and the environment variable that belong to it. */
#define ROW(group, key, variable)                                                                  \
    .section = group, .name = key, .path = group "." key, .environment = "QUIPU_" variable

static const struct quipu_config_key keys[] = {
    {ROW("nats", "enabled", "NATS_ENABLED"), .kind = QUIPU_CONFIG_BOOL,
     .offset = FIELD(nats.enabled), .fallback = "true", .example = "true",
     .help = "false: no socket is opened"},
    {ROW("nats", "url", "NATS_URL"), .kind = QUIPU_CONFIG_TEXT, .offset = FIELD(nats.url),
     .environment_short = "QUIPU_SERVER", .fallback = "nats://127.0.0.1:4222",
     .example = "\"nats://127.0.0.1:4222\"", .min = 1, .max = TEXT_MAX_,
     .help = "the server, or several with commas between"},
    {ROW("nats", "credentials_file", "NATS_CREDENTIALS_FILE"), .kind = QUIPU_CONFIG_PATH,
     .offset = FIELD(nats.credentials_file), .example = "\"nats.creds\"", .min = 1,
     .max = TEXT_MAX_, .help = "credentials: JWT and seed"},
    {ROW("nats", "nkey_file", "NATS_NKEY_FILE"), .kind = QUIPU_CONFIG_PATH,
     .offset = FIELD(nats.nkey_file), .example = "\"user.nk\"", .min = 1, .max = TEXT_MAX_,
     .help = "a user's NKey seed"},
    {ROW("nats", "user", "NATS_USER"), .kind = QUIPU_CONFIG_TEXT, .offset = FIELD(nats.user),
     .example = "\"keys\"", .min = 1, .max = NAME_MAX_, .help = "user name"},
    {ROW("nats", "password", "NATS_PASSWORD"), .kind = QUIPU_CONFIG_TEXT,
     .offset = FIELD(nats.password), .example = "\"…\"", .min = 1, .max = 1024, .is_secret = true,
     .help = "the user's password"},
    {ROW("nats", "token", "NATS_TOKEN"), .kind = QUIPU_CONFIG_TEXT, .offset = FIELD(nats.token),
     .example = "\"…\"", .min = 1, .max = 1024, .is_secret = true, .help = "token"},
    {ROW("nats", "stream_name", "NATS_STREAM_NAME"), .kind = QUIPU_CONFIG_TEXT,
     .offset = FIELD(nats.stream_name), .fallback = "CIM_KEYS_EVENTS",
     .example = "\"CIM_KEYS_EVENTS\"", .min = 1, .max = NAME_MAX_, .help = "stream of events"},
    {ROW("nats", "object_store_bucket", "NATS_OBJECT_STORE_BUCKET"), .kind = QUIPU_CONFIG_TEXT,
     .offset = FIELD(nats.object_store_bucket), .fallback = "cim-keys-objects",
     .example = "\"cim-keys-objects\"", .min = 1, .max = NAME_MAX_, .help = "bucket of payloads"},
    {ROW("nats", "source_id", "NATS_SOURCE_ID"), .kind = QUIPU_CONFIG_TEXT,
     .offset = FIELD(nats.source_id), .example = "\"U…\"", .min = 56, .max = 56,
     .help = "only the store with this source is published"},
    {ROW("nats", "subject_prefix", "NATS_SUBJECT_PREFIX"), .kind = QUIPU_CONFIG_TEXT,
     .offset = FIELD(nats.subject_prefix), .fallback = "cim.keys", .example = "\"cim.keys\"",
     .min = 1, .max = NAME_MAX_, .help = "what {prefix} stands for in subject_template"},
    {ROW("nats", "subject_template", "NATS_SUBJECT_TEMPLATE"), .kind = QUIPU_CONFIG_TEXT,
     .offset = FIELD(nats.subject_template), .fallback = QUIPU_SUBJECT_TEMPLATE_DEFAULT,
     .example = "\"" QUIPU_SUBJECT_TEMPLATE_DEFAULT "\"", .min = 1, .max = 512,
     .help = "how an event's subject is made; it ends with {event_id}"},
    {ROW("nats", "max_retries", "NATS_MAX_RETRIES"), .kind = QUIPU_CONFIG_NUMBER,
     .offset = FIELD(nats.max_retries), .fallback = "0", .example = "3", .max = 1000,
     .help = "how often connecting is tried again; no event is ever given up for it"},
    {ROW("nats", "connection_timeout_secs", "NATS_CONNECTION_TIMEOUT_SECS"),
     .kind = QUIPU_CONFIG_DURATION, .offset = FIELD(nats.connection_timeout_us), .fallback = "5s",
     .example = "5", .min = 1000, .max = 3600 * SECOND, .help = "how long connecting may take"},
    {ROW("nats", "request_timeout_secs", "NATS_REQUEST_TIMEOUT_SECS"),
     .kind = QUIPU_CONFIG_DURATION, .offset = FIELD(nats.request_timeout_us), .fallback = "5s",
     .example = "5", .min = 1000, .max = 3600 * SECOND, .help = "how long an answer may take"},
    {ROW("nats", "flush_interval_secs", "NATS_FLUSH_INTERVAL_SECS"), .kind = QUIPU_CONFIG_DURATION,
     .offset = FIELD(nats.flush_interval_us), .fallback = "60s", .example = "60", .min = 1000,
     .max = 365 * DAY, .help = "how often a flush that goes on looks for what it was not told of"},
    {ROW("nats", "dedup", "NATS_DEDUP"), .kind = QUIPU_CONFIG_WORD, .offset = FIELD(nats.dedup),
     .fallback = "subject", .example = "\"subject\"", .words = {"subject", "window"},
     .help = "what keeps a second copy out: the event's subject, or the server's window"},

    {ROW("nats.tls", "ca_cert", "NATS_TLS_CA_CERT"), .kind = QUIPU_CONFIG_PATH,
     .offset = FIELD(tls.ca_cert), .example = "\"ca.pem\"", .min = 1, .max = TEXT_MAX_,
     .help = "CA certificates (PEM)"},
    {ROW("nats.tls", "client_cert", "NATS_TLS_CLIENT_CERT"), .kind = QUIPU_CONFIG_PATH,
     .offset = FIELD(tls.client_cert), .example = "\"client.pem\"", .min = 1, .max = TEXT_MAX_,
     .help = "our certificate (PEM)"},
    {ROW("nats.tls", "client_key", "NATS_TLS_CLIENT_KEY"), .kind = QUIPU_CONFIG_PATH,
     .offset = FIELD(tls.client_key), .example = "\"client.key\"", .min = 1, .max = TEXT_MAX_,
     .help = "its key (PEM)"},
    {ROW("nats.tls", "server_name", "NATS_TLS_SERVER_NAME"), .kind = QUIPU_CONFIG_TEXT,
     .offset = FIELD(tls.server_name), .example = "\"nats.example.org\"", .min = 1, .max = 253,
     .help = "the name in the server's certificate"},

    {ROW("nats.jetstream", "replicas", "NATS_JETSTREAM_REPLICAS"), .kind = QUIPU_CONFIG_NUMBER,
     .offset = FIELD(jetstream.replicas), .fallback = "1", .example = "1", .min = 1, .max = 5,
     .help = "copies in a cluster"},
    {ROW("nats.jetstream", "max_age", "NATS_JETSTREAM_MAX_AGE"), .kind = QUIPU_CONFIG_DURATION,
     .offset = FIELD(jetstream.max_age_us), .fallback = "0s", .example = "\"365d\"", .min = 0,
     .max = 36500 * DAY, .help = "when the server forgets events; 0: never"},
    {ROW("nats.jetstream", "max_messages", "NATS_JETSTREAM_MAX_MESSAGES"),
     .kind = QUIPU_CONFIG_NUMBER, .offset = FIELD(jetstream.max_messages), .fallback = "0",
     .example = "1000000", .max = INT64_MAX, .help = "events that the stream takes; 0: no limit"},
    {ROW("nats.jetstream", "max_bytes", "NATS_JETSTREAM_MAX_BYTES"), .kind = QUIPU_CONFIG_BYTES,
     .offset = FIELD(jetstream.max_bytes), .fallback = "0B", .example = "\"10GiB\"",
     .max = INT64_MAX, .help = "bytes that the stream takes; 0: no limit"},
    {ROW("nats.jetstream", "duplicate_window", "NATS_JETSTREAM_DUPLICATE_WINDOW"),
     .kind = QUIPU_CONFIG_DURATION, .offset = FIELD(jetstream.duplicate_window_us),
     .fallback = "2m", .example = "\"2m\"", .min = 100000, .max = 365 * DAY,
     .help = "how long the server remembers an event's id"},
    {ROW("nats.jetstream", "storage", "NATS_JETSTREAM_STORAGE"), .kind = QUIPU_CONFIG_WORD,
     .offset = FIELD(jetstream.storage), .fallback = "file", .example = "\"file\"",
     .words = {"file", "memory"}, .help = "where the server keeps the stream"},
    {ROW("nats.jetstream", "may_lose_events", "NATS_JETSTREAM_MAY_LOSE_EVENTS"),
     .kind = QUIPU_CONFIG_BOOL, .offset = FIELD(jetstream.may_lose_events), .fallback = "false",
     .example = "true", .help = "max_age or memory is meant, although the log loses events by it"},

    {ROW("storage", "dir", "STORAGE_DIR"), .kind = QUIPU_CONFIG_PATH, .offset = FIELD(storage.dir),
     .environment_short = "QUIPU_STORE", .fallback = ".quipu", .example = "\"ceremony.quipu\"",
     .min = 1, .max = TEXT_MAX_, .help = "the store"},
    {ROW("storage", "offline_events_dir", "STORAGE_OFFLINE_EVENTS_DIR"), .kind = QUIPU_CONFIG_PATH,
     .offset = FIELD(storage.offline_events_dir), .example = "\"/media/stick\"", .min = 1,
     .max = TEXT_MAX_, .help = "where export puts a bundle that it is given no file for"},
    {ROW("storage", "backup_dir", "STORAGE_BACKUP_DIR"), .kind = QUIPU_CONFIG_PATH,
     .offset = FIELD(storage.backup_dir), .example = "\"/var/backups/quipu\"", .min = 1,
     .max = TEXT_MAX_, .help = "where backups go that are given no folder"},
    {ROW("storage", "enable_backup", "STORAGE_ENABLE_BACKUP"), .kind = QUIPU_CONFIG_BOOL,
     .offset = FIELD(storage.enable_backup), .fallback = "false", .example = "true",
     .help = "a backup after events were added, where the newest one is older than the interval"},
    {ROW("storage", "backup_interval_secs", "STORAGE_BACKUP_INTERVAL_SECS"),
     .kind = QUIPU_CONFIG_DURATION, .offset = FIELD(storage.backup_interval_us), .fallback = "1h",
     .example = "\"1h\"", .min = 0, .max = 365 * DAY, .help = "see enable_backup; 0: every time"},

    {ROW("mode", "mode", "MODE"), .kind = QUIPU_CONFIG_WORD, .offset = FIELD(mode),
     .fallback = "none", .example = "\"Hybrid\"", .words = {"none", "Offline", "Online", "Hybrid"},
     .word_first = QUIPU_MODE_OFFLINE,
     .help = "Offline: no socket; Online: append, then flush; Hybrid: flush where there is a "
             "server"},

    {ROW("offline", "operator", "OFFLINE_OPERATOR"), .kind = QUIPU_CONFIG_TEXT,
     .offset = FIELD(offline.operator_name), .example = "\"Ada Quispe\"", .min = 1, .max = 256,
     .help = "who exports, for a bundle's manifest"},
    {ROW("offline", "probe_timeout_secs", "OFFLINE_PROBE_TIMEOUT_SECS"),
     .kind = QUIPU_CONFIG_DURATION, .offset = FIELD(offline.probe_timeout_us), .fallback = "500ms",
     .example = "\"500ms\"", .min = 1000, .max = 3600 * SECOND,
     .help = "how long Hybrid waits for a server after an append"},
};

#define KEY_COUNT (sizeof keys / sizeof keys[0])

const struct quipu_config_key *quipu_config_keys(size_t *count)
{
    *count = KEY_COUNT;
    return keys;
}

const struct quipu_config_key *quipu_config_key_find(struct quipu_slice path)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (quipu_slice_equal(path, quipu_slice_text(keys[i].path))) {
            return &keys[i];
        }
    }
    return NULL;
}

bool quipu_config_is_section(struct quipu_slice path)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (quipu_slice_equal(path, quipu_slice_text(keys[i].section))) {
            return true;
        }
    }
    return false;
}

/* ------------------------------------------------------------------ the nearest key */

#define NEAR_BYTES_MAX 64

/* How many letters must be put in, left out or changed (Levenshtein); a row at a time. */
static size_t distance(struct quipu_slice a, struct quipu_slice b)
{
    size_t row[NEAR_BYTES_MAX + 1];
    if (a.len > NEAR_BYTES_MAX || b.len > NEAR_BYTES_MAX) {
        return SIZE_MAX - 1; /* far from everything */
    }
    for (size_t j = 0; j <= b.len; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= a.len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t changed = diagonal + (a.data[i - 1] == b.data[j - 1] ? 0 : 1);
            size_t longer = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = changed < longer ? changed : longer;
        }
    }
    return row[b.len];
}

static struct quipu_slice last_part(struct quipu_slice path)
{
    size_t at = path.len;
    while (at > 0 && path.data[at - 1] != '.') {
        at--;
    }
    return quipu_slice(path.data + at, path.len - at);
}

/* The right name in the wrong section is near too, but behind a slip of the pen in the right one.
 */
const struct quipu_config_key *quipu_config_key_nearest(struct quipu_slice path)
{
    const struct quipu_config_key *nearest = NULL;
    struct quipu_slice name = last_part(path);
    if (name.len == 0) {
        return NULL;
    }
    size_t best = name.len / 3 + 1;
    for (size_t i = 0; i < KEY_COUNT; i++) {
        size_t whole = distance(path, quipu_slice_text(keys[i].path));
        size_t part = distance(name, quipu_slice_text(keys[i].name)) + 1;
        size_t found = whole < part ? whole : part;
        if (found < best) {
            best = found;
            nearest = &keys[i];
        }
    }
    return nearest;
}

/*
 * What settings may be, alone and together, and the lines that say so. Opens nothing and asks
 * nobody: a file or a server that is named and is not there shows where it is used.
 *
 * Specification: docs/SPEC.md §13.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config_check.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "quipu/text.h"

#define WANTS_BYTES 160
#define FOUND_BYTES 80

#define FIELD(member) offsetof(struct quipu_config, member)

/* ------------------------------------------------------------------ one value */

/* What the key wants, in words. */
static void append_wants(struct quipu_buf *out, const struct quipu_config_key *key)
{
    switch (key->kind) {
    case QUIPU_CONFIG_TEXT:
    case QUIPU_CONFIG_PATH:
        if (key->min == key->max) {
            quipu_buf_printf(out, "text of %" PRId64 " bytes", key->min);
        } else {
            quipu_buf_printf(out, "text of %" PRId64 " to %" PRId64 " bytes", key->min, key->max);
        }
        return;
    case QUIPU_CONFIG_BOOL:
        quipu_buf_append_text(out, "true or false");
        return;
    case QUIPU_CONFIG_NUMBER:
        quipu_buf_printf(out, "a whole number from %" PRId64, key->min);
        if (key->max != INT64_MAX) {
            quipu_buf_printf(out, " to %" PRId64, key->max);
        }
        return;
    case QUIPU_CONFIG_BYTES:
        quipu_buf_append_text(out, "a size such as 512kB or 10MiB");
        return;
    case QUIPU_CONFIG_DURATION: {
        struct quipu_config ends = {.size = sizeof ends};
        quipu_buf_append_text(out, "a duration from ");
        memcpy((char *)&ends + key->offset, &key->min, sizeof key->min);
        quipu_config_format(&ends, key, out);
        quipu_buf_append_text(out, " to ");
        memcpy((char *)&ends + key->offset, &key->max, sizeof key->max);
        quipu_config_format(&ends, key, out);
        return;
    }
    case QUIPU_CONFIG_WORD:
        for (size_t i = key->word_first; i < QUIPU_CONFIG_WORDS_MAX && key->words[i] != NULL; i++) {
            quipu_buf_printf(out, "%s\"%s\"", i == key->word_first ? "" : " or ", key->words[i]);
        }
        return;
    }
}

enum quipu_status quipu_config_fault(struct quipu_error *err, const struct quipu_config_key *key,
                                     const char *found)
{
    char storage[WANTS_BYTES];
    struct quipu_buf wants;
    quipu_buf_init_fixed(&wants, storage, sizeof storage);
    append_wants(&wants, key);
    if (key->is_secret || key->offset == FIELD(nats.url)) { /* a url may hold a password */
        return quipu_error_set(err, QUIPU_INVALID, "%s wants %.*s; write %s = %s", key->path,
                               QUIPU_SLICE_FMT(quipu_buf_slice(&wants)), key->name, key->example);
    }
    size_t len = strlen(found);
    size_t shown = len;
    if (len > FOUND_BYTES) {
        shown = quipu_utf8_valid_prefix(quipu_slice(found, FOUND_BYTES));
    }
    return quipu_error_set(err, QUIPU_INVALID, "%s wants %.*s, found \"%.*s%s\"; write %s = %s",
                           key->path, QUIPU_SLICE_FMT(quipu_buf_slice(&wants)), (int)shown, found,
                           shown < len ? "…" : "", key->name, key->example);
}

enum quipu_status quipu_config_check_number(const struct quipu_config_key *key, int64_t number,
                                            const char *found, struct quipu_error *err)
{
    if (number < key->min || number > key->max) {
        return quipu_config_fault(err, key, found);
    }
    return QUIPU_OK;
}

static bool is_token_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

/* Letters, digits, '_' and '-'; with dots between where they are allowed. */
static bool is_name(const char *text, bool allows_dots)
{
    for (size_t i = 0; text[i] != 0; i++) {
        bool is_dot =
            allows_dots && text[i] == '.' && i > 0 && text[i - 1] != '.' && text[i + 1] != 0;
        if (!is_dot && !is_token_letter(text[i])) {
            return false;
        }
    }
    return text[0] != 0;
}

/* An NKey of a user: 'U' and base32. Its checksum is looked at where the key is used. */
static bool is_source(const char *text)
{
    return text[0] == 'U' && strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == strlen(text);
}

static enum quipu_status check_name(const struct quipu_config_key *key, const char *text,
                                    struct quipu_error *err)
{
    bool is_good = true;
    const char *wants = "";
    if (key->offset == FIELD(nats.stream_name) || key->offset == FIELD(nats.object_store_bucket)) {
        is_good = is_name(text, false);
        wants = "letters, digits, \"_\" and \"-\"";
    } else if (key->offset == FIELD(nats.subject_prefix)) {
        is_good = is_name(text, true);
        wants = "tokens of letters, digits, \"_\" and \"-\" with dots between";
    } else if (key->offset == FIELD(nats.source_id)) {
        is_good = is_source(text);
        wants = "a store's source";
    }
    if (is_good) {
        return QUIPU_OK;
    }
    return quipu_error_set(err, QUIPU_INVALID, "%s wants %s, found \"%.100s\"; write %s = %s",
                           key->path, wants, text, key->name, key->example);
}

enum quipu_status quipu_config_check_text(const struct quipu_config_key *key, const char *text,
                                          struct quipu_error *err)
{
    size_t len = strlen(text);
    if ((int64_t)len < key->min || (int64_t)len > key->max) {
        return quipu_config_fault(err, key, text);
    }
    if (!quipu_text_is_printable(quipu_slice(text, len))) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "%s holds a control character or is not UTF-8; write %s = %s",
                               key->path, key->name, key->example);
    }
    return check_name(key, text, err);
}

/* ------------------------------------------------------------------ subjects */

enum variable { VARIABLE_PREFIX, VARIABLE_AGGREGATE, VARIABLE_EVENT_TYPE, VARIABLE_EVENT_ID };

static const char *const variables[] = {"{prefix}", "{aggregate_type}", "{event_type}",
                                        "{event_id}"};

#define VARIABLES (sizeof variables / sizeof variables[0])

static enum quipu_status template_fault(struct quipu_error *err, const char *text, const char *why)
{
    return quipu_error_set(err, QUIPU_INVALID,
                           "subject template \"%.100s\": %s; such as "
                           "\"" QUIPU_SUBJECT_TEMPLATE_DEFAULT "\"",
                           text, why);
}

/* Which variable the token is; VARIABLES where it is none. */
static size_t variable_of(struct quipu_slice token)
{
    size_t found = 0;
    while (found < VARIABLES && !quipu_slice_equal(token, quipu_slice_text(variables[found]))) {
        found++;
    }
    return found;
}

static bool is_literal_token(struct quipu_slice token)
{
    for (size_t i = 0; i < token.len; i++) {
        if (!is_token_letter((char)token.data[i])) {
            return false;
        }
    }
    return token.len > 0;
}

enum quipu_status quipu_subject_template_check(const char *text, const char *prefix,
                                               struct quipu_error *err)
{
    bool seen[VARIABLES] = {false};
    size_t literal = 0;
    size_t last = VARIABLES;
    const char *rest = text;
    for (size_t tokens = 0;; tokens++) {
        struct quipu_slice token = quipu_slice(rest, strcspn(rest, "."));
        last = variable_of(token);
        if (last == VARIABLES && !is_literal_token(token)) {
            return template_fault(err, text,
                                  "a token is letters, digits, \"_\" and \"-\", or one of "
                                  "{prefix}, {aggregate_type}, {event_type}, {event_id}");
        }
        if (tokens == 0 && last != VARIABLES && last != VARIABLE_PREFIX) {
            return template_fault(err, text, "it begins with what is the same for all events");
        }
        if (last != VARIABLES && seen[last]) {
            return template_fault(err, text, "a variable stands there twice");
        }
        if (last != VARIABLES) {
            seen[last] = true;
        }
        /* Each with the dot behind it; a variable brings its own. */
        if (last == VARIABLES) {
            literal += token.len + 1;
        } else if (last == VARIABLE_PREFIX) {
            literal += strlen(prefix) + 1;
        }
        rest += token.len;
        if (*rest == 0) {
            break;
        }
        rest++;
    }
    if (last != VARIABLE_EVENT_ID) {
        return template_fault(err, text, "{event_id} is the last token, so that nothing is twice");
    }
    if (literal > QUIPU_SUBJECT_LITERAL_MAX + 1) {
        return template_fault(err, text, "without its variables it has more than 200 bytes");
    }
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ all of them */

static enum quipu_status check_one(const struct quipu_config *config,
                                   const struct quipu_config_key *key, struct quipu_error *err)
{
    const char *text = quipu_config_text_of(config, key);
    int64_t number = quipu_config_number_of(config, key);
    char found[32];
    (void)snprintf(found, sizeof found, "%" PRId64, number);
    switch (key->kind) {
    case QUIPU_CONFIG_TEXT:
    case QUIPU_CONFIG_PATH:
        return text == NULL ? QUIPU_OK : quipu_config_check_text(key, text, err);
    case QUIPU_CONFIG_NUMBER:
    case QUIPU_CONFIG_BYTES:
    case QUIPU_CONFIG_DURATION:
        return quipu_config_check_number(key, number, found, err);
    case QUIPU_CONFIG_WORD:
        if (number < 0 || number >= QUIPU_CONFIG_WORDS_MAX || key->words[number] == NULL) {
            return quipu_config_fault(err, key, found);
        }
        return QUIPU_OK;
    case QUIPU_CONFIG_BOOL:
        return QUIPU_OK;
    }
    return QUIPU_OK;
}

struct rule {
    const char *path; /* of the key that is told about */
    bool is_broken;
    const char *line;
};

/* What cannot be meant together. */
static enum quipu_status check_together(const struct quipu_config *config,
                                        const struct quipu_config_key **at, struct quipu_error *err)
{
    const struct quipu_config_nats *nats = &config->nats;
    int ways = (nats->credentials_file != NULL) + (nats->nkey_file != NULL) +
               (nats->token != NULL) + (nats->user != NULL);
    bool may_lose = config->jetstream.may_lose_events;
    const struct rule rules[] = {
        {nats->credentials_file != NULL ? "nats.credentials_file"
         : nats->nkey_file != NULL      ? "nats.nkey_file"
                                        : "nats.token",
         ways > 1,
         "more than one of nats.credentials_file, nkey_file, token and user says who we are; leave "
         "one"},
        {"nats.password", nats->password != NULL && nats->user == NULL,
         "nats.password is given and nats.user is not; give both"},
        {config->tls.client_cert != NULL ? "nats.tls.client_cert" : "nats.tls.client_key",
         (config->tls.client_cert == NULL) != (config->tls.client_key == NULL),
         "one of nats.tls.client_cert and client_key is given; give both or none"},
        {"mode.mode", config->mode == QUIPU_MODE_ONLINE && !nats->enabled,
         "mode.mode is Online and nats.enabled is false; set one of them otherwise"},
        {"nats.jetstream.max_age", config->jetstream.max_age_us > 0 && !may_lose,
         "nats.jetstream.max_age makes an audit log forget; set may_lose_events = true where that "
         "is meant"},
        {"nats.jetstream.max_age",
         config->jetstream.max_age_us > 0 &&
             config->jetstream.max_age_us < config->jetstream.duplicate_window_us,
         "nats.jetstream.max_age is shorter than duplicate_window; make it at least as long"},
        {"nats.jetstream.storage", config->jetstream.storage == QUIPU_CONFIG_MEMORY && !may_lose,
         "nats.jetstream.storage in memory is lost with the server; set may_lose_events = true "
         "where that is meant"},
        {"storage.enable_backup",
         config->storage.enable_backup && config->storage.backup_dir == NULL,
         "storage.enable_backup is true and there is no storage.backup_dir; name the folder"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (rules[i].is_broken) {
            *at = quipu_config_key_find(quipu_slice_text(rules[i].path));
            return quipu_error_set(err, QUIPU_INVALID, "%s", rules[i].line);
        }
    }
    return QUIPU_OK;
}

enum quipu_status quipu_config_validate(const struct quipu_config *config,
                                        const struct quipu_config_key **at, struct quipu_error *err)
{
    const struct quipu_config_key *ignored = NULL;
    const struct quipu_config_key **fault = at != NULL ? at : &ignored;
    size_t count;
    const struct quipu_config_key *keys = quipu_config_keys(&count);
    if (config == NULL || config->size != sizeof *config) {
        return quipu_error_set(err, QUIPU_MISUSE, "settings are made with quipu_config_init");
    }
    for (size_t i = 0; i < count; i++) {
        enum quipu_status status = check_one(config, &keys[i], err);
        if (status != QUIPU_OK) {
            *fault = &keys[i];
            return status;
        }
    }
    const char *template = config->nats.subject_template;
    const char *prefix = config->nats.subject_prefix;
    enum quipu_status status =
        quipu_subject_template_check(template != NULL ? template : QUIPU_SUBJECT_TEMPLATE_DEFAULT,
                                     prefix != NULL ? prefix : "", err);
    if (status != QUIPU_OK) {
        *fault = quipu_config_key_find(quipu_slice_text("nats.subject_template"));
        return status;
    }
    return check_together(config, fault, err);
}

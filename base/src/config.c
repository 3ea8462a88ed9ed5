/*
 * One setting at a time: from text, numbers and truth values into its field, and back into text.
 * Never looks at two settings together: that is config_check.c.
 *
 * Specification: docs/SPEC.md §13.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "config_check.h"
#include "internal/invariant.h"

#define SECOND INT64_C(1000000)

struct unit {
    const char *name;
    int64_t factor;
};

/* From the largest on: the first that divides a value is the one that it is shown in. */
static const struct unit durations[] = {{"d", 86400 * SECOND}, {"h", 3600 * SECOND},
                                        {"m", 60 * SECOND},    {"s", SECOND},
                                        {"ms", 1000},          {"us", 1}};
static const struct unit sizes[] = {
    {"TiB", INT64_C(1) << 40},   {"TB", INT64_C(1000000000000)}, {"GiB", INT64_C(1) << 30},
    {"GB", INT64_C(1000000000)}, {"MiB", INT64_C(1) << 20},      {"MB", INT64_C(1000000)},
    {"KiB", INT64_C(1) << 10},   {"kB", INT64_C(1000)},          {"B", 1}};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* ------------------------------------------------------------------ numbers with units */

/* Takes the digits off the front of `*text`. False where there are none, or too many. */
static bool take_digits(struct quipu_slice *text, int64_t *out)
{
    int64_t value = 0;
    size_t at = 0;
    while (at < text->len && text->data[at] >= '0' && text->data[at] <= '9') {
        int64_t digit = text->data[at] - '0';
        if (value > (INT64_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
        at++;
    }
    *out = value;
    *text = quipu_slice(text->data + at, text->len - at);
    return at > 0;
}

static bool parse_with_unit(struct quipu_slice text, const struct unit *units, size_t count,
                            int64_t *out)
{
    int64_t value;
    if (!take_digits(&text, &value)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!quipu_slice_equal(text, quipu_slice_text(units[i].name))) {
            continue;
        }
        if (value > INT64_MAX / units[i].factor) {
            return false;
        }
        *out = value * units[i].factor;
        return true;
    }
    return false;
}

enum quipu_status quipu_duration_parse(struct quipu_slice text, int64_t *us)
{
    return parse_with_unit(text, durations, COUNT(durations), us) ? QUIPU_OK : QUIPU_INVALID;
}

enum quipu_status quipu_bytes_parse(struct quipu_slice text, uint64_t *bytes)
{
    int64_t value;
    if (!parse_with_unit(text, sizes, COUNT(sizes), &value)) {
        return QUIPU_INVALID;
    }
    *bytes = (uint64_t)value;
    return QUIPU_OK;
}

static void append_with_unit(struct quipu_buf *out, int64_t value, const struct unit *units,
                             size_t count)
{
    size_t unit = count - 1;
    for (size_t i = 0; i < count && value != 0; i++) {
        if (value % units[i].factor == 0) {
            unit = i;
            break;
        }
    }
    quipu_buf_printf(out, "%" PRId64 "%s", value / units[unit].factor, units[unit].name);
}

/* Zero has every unit: seconds and bytes, which people read without thinking. */
static void append_duration(struct quipu_buf *out, int64_t us)
{
    if (us == 0) {
        quipu_buf_append_text(out, "0s");
        return;
    }
    append_with_unit(out, us, durations, COUNT(durations));
}

/* ------------------------------------------------------------------ fields */

static void *field_of(struct quipu_config *config, const struct quipu_config_key *key)
{
    return (char *)config + key->offset;
}

static const void *field_in(const struct quipu_config *config, const struct quipu_config_key *key)
{
    return (const char *)config + key->offset;
}

int64_t quipu_config_number_of(const struct quipu_config *config,
                               const struct quipu_config_key *key)
{
    const void *field = field_in(config, key);
    switch (key->kind) {
    case QUIPU_CONFIG_NUMBER:
    case QUIPU_CONFIG_BYTES: {
        uint64_t value = *(const uint64_t *)field;
        return value > INT64_MAX ? INT64_MAX : (int64_t)value;
    }
    case QUIPU_CONFIG_DURATION:
        return *(const int64_t *)field;
    case QUIPU_CONFIG_WORD:
        return *(const int *)field;
    case QUIPU_CONFIG_BOOL:
        return *(const bool *)field ? 1 : 0;
    case QUIPU_CONFIG_TEXT:
    case QUIPU_CONFIG_PATH:
        break;
    }
    return 0;
}

const char *quipu_config_text_of(const struct quipu_config *config,
                                 const struct quipu_config_key *key)
{
    bool is_text = key->kind == QUIPU_CONFIG_TEXT || key->kind == QUIPU_CONFIG_PATH;
    return is_text ? *(const char *const *)field_in(config, key) : NULL;
}

/* Only for a number that quipu_config_check_number has let through. */
static void put_number(struct quipu_config *config, const struct quipu_config_key *key,
                       int64_t number)
{
    void *field = field_of(config, key);
    if (key->kind == QUIPU_CONFIG_DURATION) {
        *(int64_t *)field = number;
    } else {
        *(uint64_t *)field = (uint64_t)number;
    }
}

/* ------------------------------------------------------------------ setting */

static enum quipu_status set_word(struct quipu_config *config, const struct quipu_config_key *key,
                                  const char *text, struct quipu_error *err)
{
    for (size_t i = key->word_first; i < QUIPU_CONFIG_WORDS_MAX && key->words[i] != NULL; i++) {
        if (strcmp(text, key->words[i]) == 0) {
            *(int *)field_of(config, key) = (int)i;
            return QUIPU_OK;
        }
    }
    return quipu_config_fault(err, key, text);
}

static enum quipu_status set_measure(struct quipu_config *config,
                                     const struct quipu_config_key *key, const char *text,
                                     struct quipu_error *err)
{
    int64_t value = 0;
    struct quipu_slice rest = quipu_slice_text(text);
    struct quipu_slice digits = rest;
    bool is_plain = take_digits(&digits, &value) && digits.len == 0;
    if (is_plain && key->kind == QUIPU_CONFIG_DURATION) {
        return quipu_config_set_number(config, key, value, err);
    }
    if (!is_plain && key->kind == QUIPU_CONFIG_NUMBER) {
        return quipu_config_fault(err, key, text);
    }
    const struct unit *units = key->kind == QUIPU_CONFIG_DURATION ? durations : sizes;
    size_t count = key->kind == QUIPU_CONFIG_DURATION ? COUNT(durations) : COUNT(sizes);
    if (!is_plain && !parse_with_unit(rest, units, count, &value)) {
        return quipu_config_fault(err, key, text);
    }
    enum quipu_status status = quipu_config_check_number(key, value, text, err);
    if (status == QUIPU_OK) {
        put_number(config, key, value);
    }
    return status;
}

enum quipu_status quipu_config_set_text(struct quipu_config *config,
                                        const struct quipu_config_key *key, const char *text,
                                        struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    switch (key->kind) {
    case QUIPU_CONFIG_TEXT:
    case QUIPU_CONFIG_PATH:
        status = quipu_config_check_text(key, text, err);
        if (status == QUIPU_OK) {
            *(const char **)field_of(config, key) = text;
        }
        return status;
    case QUIPU_CONFIG_BOOL:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0) {
            return quipu_config_fault(err, key, text);
        }
        return quipu_config_set_bool(config, key, text[0] == 't', err);
    case QUIPU_CONFIG_NUMBER:
    case QUIPU_CONFIG_BYTES:
    case QUIPU_CONFIG_DURATION:
        return set_measure(config, key, text, err);
    case QUIPU_CONFIG_WORD:
        return set_word(config, key, text, err);
    }
    return QUIPU_OK;
}

enum quipu_status quipu_config_set_number(struct quipu_config *config,
                                          const struct quipu_config_key *key, int64_t number,
                                          struct quipu_error *err)
{
    char found[32];
    (void)snprintf(found, sizeof found, "%" PRId64, number);
    bool is_duration = key->kind == QUIPU_CONFIG_DURATION;
    if (!is_duration && key->kind != QUIPU_CONFIG_NUMBER && key->kind != QUIPU_CONFIG_BYTES) {
        return quipu_config_fault(err, key, found);
    }
    if (is_duration && (number > INT64_MAX / SECOND || number < 0)) {
        return quipu_config_fault(err, key, found);
    }
    int64_t value = is_duration ? number * SECOND : number;
    enum quipu_status status = quipu_config_check_number(key, value, found, err);
    if (status == QUIPU_OK) {
        put_number(config, key, value);
    }
    return status;
}

enum quipu_status quipu_config_set_bool(struct quipu_config *config,
                                        const struct quipu_config_key *key, bool value,
                                        struct quipu_error *err)
{
    if (key->kind != QUIPU_CONFIG_BOOL) {
        return quipu_config_fault(err, key, value ? "true" : "false");
    }
    *(bool *)field_of(config, key) = value;
    return QUIPU_OK;
}

void quipu_config_unset(struct quipu_config *config, const struct quipu_config_key *key)
{
    enum quipu_status status = QUIPU_OK;
    switch (key->kind) {
    case QUIPU_CONFIG_TEXT:
    case QUIPU_CONFIG_PATH:
        *(const char **)field_of(config, key) = key->fallback;
        break;
    case QUIPU_CONFIG_WORD: /* the first word is the default, also where nobody may say it */
        *(int *)field_of(config, key) = 0;
        break;
    case QUIPU_CONFIG_BOOL:
    case QUIPU_CONFIG_NUMBER:
    case QUIPU_CONFIG_BYTES:
    case QUIPU_CONFIG_DURATION:
        status = quipu_config_set_text(config, key, key->fallback, NULL);
        break;
    }
    QUIPU_INVARIANT(status == QUIPU_OK); /* the table's own defaults */
}

void quipu_config_init(struct quipu_config *config)
{
    size_t count;
    const struct quipu_config_key *keys = quipu_config_keys(&count);
    *config = (struct quipu_config){.size = sizeof *config};
    for (size_t i = 0; i < count; i++) {
        quipu_config_unset(config, &keys[i]);
    }
}

/* ------------------------------------------------------------------ showing */

bool quipu_config_has(const struct quipu_config *config, const struct quipu_config_key *key)
{
    bool is_text = key->kind == QUIPU_CONFIG_TEXT || key->kind == QUIPU_CONFIG_PATH;
    return !is_text || quipu_config_text_of(config, key) != NULL;
}

/* Of each address in a list, what stands before an '@' may be a secret. */
static void append_without_user(struct quipu_buf *out, const char *urls)
{
    while (*urls != 0) {
        size_t len = strcspn(urls, ",");
        const char *scheme = strstr(urls, "://");
        size_t head = scheme != NULL && scheme < urls + len ? (size_t)(scheme + 3 - urls) : 0;
        size_t from = head;
        for (size_t i = head; i < len; i++) {
            if (urls[i] == '@') {
                from = i;
            }
        }
        quipu_buf_append(out, urls, head);
        if (from > head) {
            quipu_buf_append_text(out, "********");
        }
        quipu_buf_append(out, urls + from, len - from);
        urls += len;
        if (*urls == ',') {
            quipu_buf_append_byte(out, ',');
            urls++;
        }
    }
}

void quipu_config_format(const struct quipu_config *config, const struct quipu_config_key *key,
                         struct quipu_buf *out)
{
    const char *text = quipu_config_text_of(config, key);
    int64_t number = quipu_config_number_of(config, key);
    switch (key->kind) {
    case QUIPU_CONFIG_TEXT:
    case QUIPU_CONFIG_PATH:
        if (text != NULL && key->is_secret) {
            quipu_buf_append_text(out, "********");
        } else if (text != NULL && key->offset == offsetof(struct quipu_config, nats.url)) {
            append_without_user(out, text);
        } else if (text != NULL) {
            quipu_buf_append_text(out, text);
        }
        return;
    case QUIPU_CONFIG_BOOL:
        quipu_buf_append_text(out, number != 0 ? "true" : "false");
        return;
    case QUIPU_CONFIG_NUMBER:
        quipu_buf_printf(out, "%" PRId64, number);
        return;
    case QUIPU_CONFIG_BYTES:
        append_with_unit(out, number, sizes, COUNT(sizes));
        return;
    case QUIPU_CONFIG_DURATION:
        append_duration(out, number);
        return;
    case QUIPU_CONFIG_WORD:
        if (number >= 0 && number < QUIPU_CONFIG_WORDS_MAX && key->words[number] != NULL) {
            quipu_buf_append_text(out, key->words[number]);
        }
        return;
    }
}

bool quipu_config_may_connect(const struct quipu_config *config)
{
    return config->nats.enabled && config->mode != QUIPU_MODE_OFFLINE;
}

bool quipu_config_publishes(const struct quipu_config *config)
{
    bool wants = config->mode == QUIPU_MODE_ONLINE || config->mode == QUIPU_MODE_HYBRID;
    return wants && quipu_config_may_connect(config);
}

/*
 * The parser of allowed_signers, and the patterns in it. Strict: a line that ssh-keygen would read
 * in another way than we do is refused, never skipped. Looks at no signature, and reads no file.
 *
 * Specification: ssh-keygen(1), ALLOWED SIGNERS, and ssh_config(5), PATTERNS; docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/trust.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "age_parts.h"
#include "quipu/alloc.h"
#include "quipu/buf.h"
#include "quipu/text.h"
#include "ssh_wire.h"

#define US_PER_SECOND INT64_C(1000000)

struct quipu_trust {
    struct quipu_buf text; /* what the slices borrow from */
    struct quipu_buf keys; /* the same; never grows behind its beginning */
    struct quipu_trust_signer *signers;
    size_t count;
    size_t cap;
    size_t ignored;
};

/* One line on its way. */
struct line {
    struct quipu_slice rest;
    uint64_t number;
    struct quipu_trust_signer signer;
    unsigned seen; /* options, as bits */
    struct quipu_buf *keys;
    struct quipu_error *err;
};

/* ------------------------------------------------------------------ words */

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

static void skip_blanks(struct quipu_slice *rest)
{
    while (rest->len > 0 && is_blank(rest->data[0])) {
        *rest = quipu_slice(rest->data + 1, rest->len - 1);
    }
}

static struct quipu_slice take(struct quipu_slice *rest, size_t len)
{
    struct quipu_slice taken = quipu_slice(rest->data, len);
    *rest = quipu_slice(rest->data + len, rest->len - len);
    return taken;
}

/* Up to the next blank. */
static struct quipu_slice take_word(struct quipu_slice *rest)
{
    size_t len = 0;
    while (len < rest->len && !is_blank(rest->data[len])) {
        len++;
    }
    struct quipu_slice word = take(rest, len);
    skip_blanks(rest);
    return word;
}

static bool is_text(struct quipu_slice word, const char *text)
{
    return quipu_slice_equal(word, quipu_slice_text(text));
}

static enum quipu_status refuse(const struct line *line, const char *why)
{
    return quipu_error_set(line->err, QUIPU_INVALID, "line %" PRIu64 ": %s", line->number, why);
}

/* Comma-separated patterns: none is empty, and none holds what ends a field. */
static bool is_pattern_list(struct quipu_slice list)
{
    bool is_empty = true;
    for (size_t i = 0; i < list.len; i++) {
        uint8_t byte = list.data[i];
        if (byte == ',') {
            if (is_empty) {
                return false;
            }
            is_empty = true;
        } else if (byte == '!' && is_empty) {
            /* stays empty: a lone '!' negates nothing */
            if (i > 0 && list.data[i - 1] == '!') {
                return false;
            }
        } else if (byte == '"' || byte == '\\' || is_blank(byte)) {
            return false;
        } else {
            is_empty = false;
        }
    }
    return !is_empty;
}

/* ------------------------------------------------------------------ times */

static bool digits(struct quipu_slice text, size_t at, size_t len, int *out)
{
    int value = 0;
    for (size_t i = at; i < at + len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        value = value * 10 + (text.data[i] - '0');
    }
    *out = value;
    return true;
}

/* YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, and Z for UTC. A day that is none is refused: the C
 * library would make it another one. */
static bool parse_time(struct quipu_slice text, int64_t *unix_us)
{
    struct tm when = {.tm_isdst = -1};
    bool is_utc = text.len > 0 && text.data[text.len - 1] == 'Z';
    size_t len = text.len - (is_utc ? 1 : 0);
    if (len != 8 && len != 12 && len != 14) {
        return false;
    }
    if (!digits(text, 0, 4, &when.tm_year) || !digits(text, 4, 2, &when.tm_mon) ||
        !digits(text, 6, 2, &when.tm_mday) || (len > 8 && !digits(text, 8, 2, &when.tm_hour)) ||
        (len > 8 && !digits(text, 10, 2, &when.tm_min)) ||
        (len > 12 && !digits(text, 12, 2, &when.tm_sec))) {
        return false;
    }
    if (when.tm_year < 1970 || when.tm_mon < 1 || when.tm_mon > 12 || when.tm_mday < 1 ||
        when.tm_mday > 31 || when.tm_hour > 23 || when.tm_min > 59 || when.tm_sec > 59) {
        return false;
    }
    when.tm_year -= 1900;
    when.tm_mon -= 1;
    struct tm asked = when;
    time_t seconds = is_utc ? timegm(&when) : mktime(&when);
    if (when.tm_mday != asked.tm_mday || when.tm_mon != asked.tm_mon || seconds < 0) {
        return false;
    }
    *unix_us = (int64_t)seconds * US_PER_SECOND;
    return true;
}

/* ------------------------------------------------------------------ options */

enum option { NAMESPACES, VALID_AFTER, VALID_BEFORE, OPTIONS };

static const char *const option_names[OPTIONS] = {"namespaces", "valid-after", "valid-before"};

/* The quoted value of an option, at rest. */
static enum quipu_status take_value(struct line *line, struct quipu_slice *value)
{
    if (line->rest.len < 2 || line->rest.data[0] != '=' || line->rest.data[1] != '"') {
        return refuse(line, "an option wants its value in quotes, as in namespaces=\"…\"");
    }
    (void)take(&line->rest, 2);
    const uint8_t *end = line->rest.len == 0 ? NULL : memchr(line->rest.data, '"', line->rest.len);
    if (end == NULL) {
        return refuse(line, "a quote is not closed");
    }
    *value = take(&line->rest, (size_t)(end - line->rest.data));
    (void)take(&line->rest, 1);
    return QUIPU_OK;
}

static enum quipu_status set_option(struct line *line, enum option option, struct quipu_slice value)
{
    struct quipu_trust_signer *signer = &line->signer;
    if ((line->seen & 1u << option) != 0) {
        return refuse(line, "an option stands there twice");
    }
    line->seen |= 1u << option;
    if (option == NAMESPACES) {
        signer->namespaces = value;
        return is_pattern_list(value)
                   ? QUIPU_OK
                   : refuse(line, "namespaces wants patterns with commas between them");
    }
    int64_t *into =
        option == VALID_AFTER ? &signer->valid_after_unix_us : &signer->valid_before_unix_us;
    return parse_time(value, into) ? QUIPU_OK
                                   : refuse(line, "a time is YYYYMMDD[Z] or YYYYMMDDHHMM[SS][Z]");
}

static enum quipu_status take_option(struct line *line)
{
    size_t len = 0;
    struct quipu_slice value = {0};
    while (len < line->rest.len && strchr(" \t,=", line->rest.data[len]) == NULL) {
        len++;
    }
    struct quipu_slice name = take(&line->rest, len);
    if (is_text(name, "cert-authority")) {
        return refuse(line, "cert-authority is not supported: name the keys that sign themselves");
    }
    for (unsigned i = 0; i < OPTIONS; i++) {
        if (is_text(name, option_names[i])) {
            enum quipu_status status = take_value(line, &value);
            return status == QUIPU_OK ? set_option(line, (enum option)i, value) : status;
        }
    }
    return refuse(line, "neither an option (namespaces, valid-after, valid-before) nor a key type "
                        "stands behind the principals");
}

static enum quipu_status take_options(struct line *line)
{
    for (;;) {
        enum quipu_status status = take_option(line);
        if (status != QUIPU_OK) {
            return status;
        }
        if (line->rest.len == 0 || is_blank(line->rest.data[0])) {
            skip_blanks(&line->rest);
            return QUIPU_OK;
        }
        if (line->rest.data[0] != ',') {
            return refuse(line, "options are separated by a comma");
        }
        (void)take(&line->rest, 1);
    }
}

/* ------------------------------------------------------------------ the key */

/* DSA keys sign with SHA-1, so they trust nobody. */
#define IGNORED_TYPE "ssh-dss"

static bool is_key_type(struct quipu_slice word)
{
    static const enum quipu_ssh_key_type types[] = {
        QUIPU_SSH_KEY_ED25519,       QUIPU_SSH_KEY_ECDSA_P256, QUIPU_SSH_KEY_ECDSA_P384,
        QUIPU_SSH_KEY_ECDSA_P521,    QUIPU_SSH_KEY_RSA,        QUIPU_SSH_KEY_SK_ED25519,
        QUIPU_SSH_KEY_SK_ECDSA_P256,
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (is_text(word, quipu_ssh_key_type_name(types[i]))) {
            return true;
        }
    }
    return is_text(word, IGNORED_TYPE);
}

/* Base64 of the wire form, whose first string is the type once more. */
static enum quipu_status read_key(struct line *line, struct quipu_slice type,
                                  struct quipu_slice text)
{
    struct quipu_slice named = {0};
    struct quipu_ssh_key key;
    size_t len = 0;
    uint8_t *wire = quipu_buf_reserve(line->keys, text.len); /* there is room: see parse */
    if (wire == NULL) {
        return quipu_error_set(line->err, line->keys->status, "no memory for a key");
    }
    if (!age_base64_decode(text, true, wire, text.len, &len)) {
        return refuse(line, "the key is not canonical base64");
    }
    struct quipu_slice rest = quipu_slice(wire, len);
    if (!quipu_ssh_take_string(&rest, &named) || !quipu_slice_equal(named, type)) {
        return refuse(line, "the key is not of the type in front of it");
    }
    if (is_text(type, IGNORED_TYPE)) {
        return QUIPU_OK;
    }
    const char *wrong = quipu_ssh_key_decode(quipu_slice(wire, len), &key);
    if (wrong != NULL) {
        return refuse(line, wrong);
    }
    line->signer.key = quipu_slice(wire, len);
    line->signer.type = key.type;
    line->keys->len += len;
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ lines */

static enum quipu_status read_line(struct line *line, bool *is_ours)
{
    struct quipu_trust_signer *signer = &line->signer;
    signer->valid_after_unix_us = INT64_MIN;
    signer->valid_before_unix_us = INT64_MAX;
    signer->line = line->number;
    signer->principals = take_word(&line->rest);
    if (!is_pattern_list(signer->principals)) {
        return refuse(line, "it begins with principals: patterns with commas between them, without "
                            "quotes and blanks");
    }
    struct quipu_slice ahead = line->rest;
    struct quipu_slice type = take_word(&ahead);
    if (!is_key_type(type)) {
        enum quipu_status status = take_options(line);
        if (status != QUIPU_OK) {
            return status;
        }
        ahead = line->rest;
        type = take_word(&ahead);
    }
    line->rest = ahead;
    *is_ours = !is_text(type, IGNORED_TYPE);
    if (!is_key_type(type)) {
        return refuse(line, "a key type such as ssh-ed25519 is missing, or is unknown");
    }
    return read_key(line, type, take_word(&line->rest)); /* what is left is a comment */
}

static enum quipu_status keep(struct quipu_trust *trust, const struct quipu_trust_signer *signer,
                              struct quipu_error *err)
{
    if (trust->count == QUIPU_TRUST_SIGNERS_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE, "line %" PRIu64 ": more than %u signers",
                               signer->line, QUIPU_TRUST_SIGNERS_MAX);
    }
    if (trust->count == trust->cap) {
        size_t cap = trust->cap == 0 ? 16 : trust->cap * 2;
        struct quipu_trust_signer *grown = quipu_realloc(trust->signers, cap, sizeof *grown);
        if (grown == NULL) {
            return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory for %zu signers", cap);
        }
        trust->signers = grown;
        trust->cap = cap;
    }
    trust->signers[trust->count++] = *signer;
    return QUIPU_OK;
}

static enum quipu_status parse_line(struct quipu_trust *trust, struct quipu_slice text,
                                    uint64_t number, struct quipu_error *err)
{
    struct line line = {.rest = text, .number = number, .keys = &trust->keys, .err = err};
    bool is_ours = false;
    if (text.len > 0 && text.data[text.len - 1] == '\r') {
        line.rest.len--;
    }
    skip_blanks(&line.rest);
    if (line.rest.len == 0 || line.rest.data[0] == '#') {
        return QUIPU_OK;
    }
    for (size_t i = 0; i < line.rest.len; i++) {
        if ((line.rest.data[i] < ' ' && line.rest.data[i] != '\t') || line.rest.data[i] == 0x7f) {
            return refuse(&line, "there are control characters in it");
        }
    }
    enum quipu_status status = read_line(&line, &is_ours);
    if (status != QUIPU_OK) {
        return status;
    }
    if (!is_ours) {
        trust->ignored++;
        return QUIPU_OK;
    }
    return keep(trust, &line.signer, err);
}

static enum quipu_status parse_all(struct quipu_trust *trust, struct quipu_error *err)
{
    struct quipu_slice rest = quipu_buf_slice(&trust->text);
    enum quipu_status status = QUIPU_OK;
    for (uint64_t number = 1; rest.len > 0 && status == QUIPU_OK; number++) {
        const uint8_t *end = memchr(rest.data, '\n', rest.len);
        size_t len = end == NULL ? rest.len : (size_t)(end - rest.data);
        struct quipu_slice line = take(&rest, len);
        if (end != NULL) {
            (void)take(&rest, 1);
        }
        status = parse_line(trust, line, number, err);
    }
    return status;
}

enum quipu_status quipu_trust_parse(struct quipu_slice text, struct quipu_trust **out,
                                    struct quipu_error *err)
{
    if (text.len > QUIPU_TRUST_BYTES_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE, "%zu bytes of allowed signers, limit %u",
                               text.len, QUIPU_TRUST_BYTES_MAX);
    }
    struct quipu_trust *trust = quipu_alloc_zero(1, sizeof *trust);
    if (trust == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory for the allowed signers");
    }
    quipu_buf_append_slice(&trust->text, text);
    /* All keys are shorter than their text, so those that are read stay where they are. */
    bool has_room = quipu_buf_reserve(&trust->keys, text.len + 1) != NULL;
    enum quipu_status status = QUIPU_OK;
    if (!has_room || trust->text.status != QUIPU_OK) {
        status = quipu_error_set(err, QUIPU_NO_MEMORY, "no memory for the allowed signers");
    } else {
        status = parse_all(trust, err);
    }
    if (status != QUIPU_OK) {
        quipu_trust_free(&trust);
        return status;
    }
    *out = trust;
    return QUIPU_OK;
}

void quipu_trust_free(struct quipu_trust **trust)
{
    if (*trust == NULL) {
        return;
    }
    quipu_buf_release(&(*trust)->text);
    quipu_buf_release(&(*trust)->keys);
    quipu_free((*trust)->signers);
    quipu_free(*trust);
    *trust = NULL;
}

/* ------------------------------------------------------------------ asking */

size_t quipu_trust_count(const struct quipu_trust *trust)
{
    return trust->count;
}

size_t quipu_trust_ignored(const struct quipu_trust *trust)
{
    return trust->ignored;
}

const struct quipu_trust_signer *quipu_trust_signer_at(const struct quipu_trust *trust,
                                                       size_t index)
{
    return index < trust->count ? &trust->signers[index] : NULL;
}

/* '*' any number of characters, '?' one. Goes back to the last '*' only, so it is never worse than
 * the product of both lengths. */
static bool pattern_matches(struct quipu_slice pattern, struct quipu_slice text)
{
    size_t at = 0;
    size_t star = SIZE_MAX; /* place behind the last '*' */
    size_t resume = 0;
    for (size_t i = 0; i < text.len;) {
        if (at < pattern.len && pattern.data[at] == '*') {
            star = ++at;
            resume = i;
        } else if (at < pattern.len &&
                   (pattern.data[at] == '?' || pattern.data[at] == text.data[i])) {
            at++;
            i++;
        } else if (star != SIZE_MAX) {
            at = star;
            i = ++resume;
        } else {
            return false;
        }
    }
    while (at < pattern.len && pattern.data[at] == '*') {
        at++;
    }
    return at == pattern.len;
}

/* One pattern matches, and none with '!' in front of it does. */
static bool list_matches(struct quipu_slice list, struct quipu_slice text)
{
    bool is_matched = false;
    while (list.len > 0) {
        const uint8_t *comma = memchr(list.data, ',', list.len);
        size_t len = comma == NULL ? list.len : (size_t)(comma - list.data);
        struct quipu_slice pattern = take(&list, len);
        bool is_negated = pattern.len > 0 && pattern.data[0] == '!';
        if (comma != NULL) {
            (void)take(&list, 1);
        }
        if (is_negated) {
            (void)take(&pattern, 1);
        }
        if (pattern_matches(pattern, text)) {
            if (is_negated) {
                return false;
            }
            is_matched = true;
        }
    }
    return is_matched;
}

bool quipu_trust_signer_may(const struct quipu_trust_signer *signer, const char *name_space,
                            int64_t unix_us)
{
    return unix_us >= signer->valid_after_unix_us && unix_us <= signer->valid_before_unix_us &&
           (signer->namespaces.len == 0 ||
            list_matches(signer->namespaces, quipu_slice_text(name_space)));
}

const struct quipu_trust_signer *quipu_trust_find(const struct quipu_trust *trust,
                                                  struct quipu_slice key, const char *name_space,
                                                  int64_t unix_us)
{
    for (size_t i = 0; i < trust->count; i++) {
        const struct quipu_trust_signer *signer = &trust->signers[i];
        if (quipu_slice_equal(signer->key, key) &&
            quipu_trust_signer_may(signer, name_space, unix_us)) {
            return signer;
        }
    }
    return NULL;
}

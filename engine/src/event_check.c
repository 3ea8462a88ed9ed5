/*
 * What an event must be before it is let into the log: names that are safe in NATS subjects,
 * limits, strict DAG-CBOR, and no secret material in clear. Looks at the event alone, never at the
 * store.
 *
 * Specification: docs/SPEC.md §3.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "event_check.h"

#include <inttypes.h>

#include "quipu/dagcbor.h"
#include "quipu/text.h"
#include "secret_guard.h"

/* Of a name that is none, in an error line. */
#define WANTED_SHOWN_BYTES 128

/* What a token is made of. */
#define TOKEN_BYTE(c) [c] = true
static const bool token_bytes[256] = {
    TOKEN_BYTE('a'), TOKEN_BYTE('b'), TOKEN_BYTE('c'), TOKEN_BYTE('d'), TOKEN_BYTE('e'),
    TOKEN_BYTE('f'), TOKEN_BYTE('g'), TOKEN_BYTE('h'), TOKEN_BYTE('i'), TOKEN_BYTE('j'),
    TOKEN_BYTE('k'), TOKEN_BYTE('l'), TOKEN_BYTE('m'), TOKEN_BYTE('n'), TOKEN_BYTE('o'),
    TOKEN_BYTE('p'), TOKEN_BYTE('q'), TOKEN_BYTE('r'), TOKEN_BYTE('s'), TOKEN_BYTE('t'),
    TOKEN_BYTE('u'), TOKEN_BYTE('v'), TOKEN_BYTE('w'), TOKEN_BYTE('x'), TOKEN_BYTE('y'),
    TOKEN_BYTE('z'), TOKEN_BYTE('0'), TOKEN_BYTE('1'), TOKEN_BYTE('2'), TOKEN_BYTE('3'),
    TOKEN_BYTE('4'), TOKEN_BYTE('5'), TOKEN_BYTE('6'), TOKEN_BYTE('7'), TOKEN_BYTE('8'),
    TOKEN_BYTE('9'), TOKEN_BYTE('_'), TOKEN_BYTE('-'),
};
#undef TOKEN_BYTE

bool name_is_token(struct quipu_slice name, size_t max)
{
    if (name.len == 0 || name.len > max) {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        if (!token_bytes[name.data[i]]) {
            return false;
        }
    }
    return true;
}

bool name_is_tokens(struct quipu_slice name, size_t max)
{
    if (name.len == 0 || name.len > max) {
        return false;
    }
    bool is_in_token = false;
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] == '.' && is_in_token) {
            is_in_token = false;
        } else if (token_bytes[name.data[i]]) {
            is_in_token = true;
        } else {
            return false;
        }
    }
    return is_in_token;
}

bool name_is_aggregate_id(struct quipu_slice name)
{
    return name.len > 0 && name.len <= QUIPU_AGGREGATE_ID_BYTES_MAX &&
           quipu_text_is_printable(name);
}

/* A name that no event can have would be waited for in vain. */
static enum quipu_status wanted_check(const char *text, const char *field, bool is_valid,
                                      struct quipu_error *err)
{
    if (text == NULL || is_valid) {
        return QUIPU_OK;
    }
    struct quipu_slice name = quipu_slice_text(text);
    if (name.len > WANTED_SHOWN_BYTES || !quipu_text_is_printable(name)) {
        name = quipu_slice_text("…");
    }
    return quipu_error_set(err, QUIPU_INVALID,
                           "filter: \"%.*s\" is no %s, and no event can have it",
                           QUIPU_SLICE_FMT(name), field);
}

enum quipu_status event_type_wanted_check(const char *event_type, struct quipu_error *err)
{
    return wanted_check(event_type, "event_type",
                        name_is_tokens(quipu_slice_text(event_type), QUIPU_EVENT_TYPE_BYTES_MAX),
                        err);
}

enum quipu_status aggregate_wanted_check(const char *type, const char *id, struct quipu_error *err)
{
    enum quipu_status status =
        wanted_check(type, "aggregate_type",
                     name_is_token(quipu_slice_text(type), QUIPU_AGGREGATE_TYPE_BYTES_MAX), err);
    return status == QUIPU_OK
               ? wanted_check(id, "aggregate_id", name_is_aggregate_id(quipu_slice_text(id)), err)
               : status;
}

/* One name: absent, too long or of other characters, each with its own line. */
static enum quipu_status name_check(const char *text, const char *field, bool is_valid, size_t max,
                                    struct quipu_error *err)
{
    struct quipu_slice name = quipu_slice_text(text);
    if (name.len == 0) {
        return quipu_error_set(err, QUIPU_INVALID, "%s is %s", field,
                               text == NULL ? "missing" : "empty");
    }
    if (name.len > max) {
        return quipu_error_set(err, QUIPU_TOO_LARGE, "%s: %zu bytes, at most %zu are allowed",
                               field, name.len, max);
    }
    if (!is_valid) {
        return quipu_error_set(err, QUIPU_INVALID, "%s: %s", field,
                               max == QUIPU_AGGREGATE_ID_BYTES_MAX
                                   ? "must be UTF-8 without control characters"
                                   : "must be made of a-z, 0-9, _ and - (an event type joins such "
                                     "words with single dots)");
    }
    return QUIPU_OK;
}

static enum quipu_status names_check(const struct quipu_event *event, struct quipu_error *err)
{
    struct quipu_slice type = quipu_slice_text(event->type);
    struct quipu_slice aggregate_type = quipu_slice_text(event->aggregate.type);
    struct quipu_slice aggregate_id = quipu_slice_text(event->aggregate.id);

    enum quipu_status status =
        name_check(event->aggregate.type, "aggregate_type",
                   name_is_token(aggregate_type, QUIPU_AGGREGATE_TYPE_BYTES_MAX),
                   QUIPU_AGGREGATE_TYPE_BYTES_MAX, err);
    if (status == QUIPU_OK) {
        status = name_check(event->aggregate.id, "aggregate_id", name_is_aggregate_id(aggregate_id),
                            QUIPU_AGGREGATE_ID_BYTES_MAX, err);
    }
    return status == QUIPU_OK ? name_check(event->type, "event_type",
                                           name_is_tokens(type, QUIPU_EVENT_TYPE_BYTES_MAX),
                                           QUIPU_EVENT_TYPE_BYTES_MAX, err)
                              : status;
}

static enum quipu_status numbers_check(const struct quipu_event *event, struct quipu_error *err)
{
    if (event->schema > QUIPU_ENVELOPE_INTEGER_MAX) {
        return quipu_error_set(err, QUIPU_INVALID, "schema: %" PRIu64 " is over 2^53-1",
                               event->schema);
    }
    if (event->occurred_at.is_set && (event->occurred_at.unix_us > QUIPU_ENVELOPE_INTEGER_MAX ||
                                      event->occurred_at.unix_us < -QUIPU_ENVELOPE_INTEGER_MAX)) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "occurred_at: %" PRId64 " microseconds are outside ±(2^53-1)",
                               event->occurred_at.unix_us);
    }
    if ((unsigned)event->expected.kind > QUIPU_EXPECT_EXACT) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "expected: no such kind: %d; use quipu_expect_any, _no_stream or "
                               "_exact",
                               (int)event->expected.kind);
    }
    if ((unsigned)event->secrets > QUIPU_SECRET_ALLOW) {
        return quipu_error_set(err, QUIPU_MISUSE, "secrets: no such policy: %d",
                               (int)event->secrets);
    }
    if (!quipu_uuid_is_nil(event->causation_id) &&
        quipu_uuid_equal(event->causation_id, event->event_id)) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "causation_id: an event cannot be its own cause; leave it out");
    }
    return QUIPU_OK;
}

static enum quipu_status secret_refuse(const char *rule, const char *what, struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_SECRET_REFUSED,
                           "%s holds secret material in clear (rule %s); store the public half or "
                           "a digest of it, or allow it by name",
                           what, rule);
}

/* Strict DAG-CBOR and, unless allowed, no secret in any text or byte string of it. */
static enum quipu_status block_check(struct quipu_slice block, enum quipu_secret_policy policy,
                                     const char *what, struct quipu_error *err)
{
    if (policy == QUIPU_SECRET_ALLOW) {
        enum quipu_status status = quipu_dagcbor_validate(block, err);
        return status == QUIPU_OK ? status : quipu_error_wrap(err, status, "%s", what);
    }
    struct quipu_dagcbor_reader reader;
    quipu_dagcbor_reader_init(&reader, block);
    for (;;) {
        struct quipu_dagcbor_item item;
        enum quipu_status status = quipu_dagcbor_next(&reader, &item, err);
        if (status == QUIPU_DONE) {
            return QUIPU_OK;
        }
        if (status != QUIPU_OK) {
            return quipu_error_wrap(err, status, "%s", what);
        }
        if (item.kind != QUIPU_DAGCBOR_TEXT && item.kind != QUIPU_DAGCBOR_BYTES) {
            continue;
        }
        const char *rule = secret_guard_rule(item.bytes);
        if (rule != NULL) {
            return secret_refuse(rule, what, err);
        }
    }
}

enum quipu_status map_check(struct quipu_slice block, const char *what, struct quipu_error *err)
{
    struct quipu_dagcbor_reader reader;
    quipu_dagcbor_reader_init(&reader, block);
    /* The envelope will be a map around it, and must be readable in its turn. */
    reader.depth_max = QUIPU_DAGCBOR_DEPTH_DEFAULT - 1;
    uint64_t pairs;
    enum quipu_status status = quipu_dagcbor_read_map(&reader, &pairs, err);
    if (status == QUIPU_CBOR_KIND) {
        return quipu_error_set(err, QUIPU_INVALID, "%s must be a map", what);
    }
    struct quipu_dagcbor_item item;
    while (status == QUIPU_OK) {
        status = quipu_dagcbor_next(&reader, &item, err);
    }
    return status == QUIPU_DONE ? QUIPU_OK : quipu_error_wrap(err, status, "%s", what);
}

enum quipu_status block_size_check(struct quipu_slice block, size_t max, const char *what,
                                   struct quipu_error *err)
{
    if (block.len > max) {
        return quipu_error_set(err, QUIPU_TOO_LARGE, "%s: %zu bytes, at most %zu are allowed", what,
                               block.len, max);
    }
    return QUIPU_OK;
}

static enum quipu_status sizes_check(const struct quipu_event *event, struct quipu_error *err)
{
    if (event->payload.len == 0) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "payload is missing; null is one byte of DAG-CBOR, f6");
    }
    enum quipu_status status = block_size_check(event->meta, QUIPU_META_BYTES_MAX, "meta", err);
    return status == QUIPU_OK
               ? block_size_check(event->payload, QUIPU_PAYLOAD_BYTES_MAX, "payload", err)
               : status;
}

static enum quipu_status meta_check(const struct quipu_event *event, struct quipu_error *err)
{
    if (event->meta.len == 0) {
        return QUIPU_OK;
    }
    enum quipu_status status = map_check(event->meta, "meta", err);
    if (status != QUIPU_OK) {
        return status;
    }
    return block_check(event->meta, event->secrets, "meta", err);
}

enum quipu_status event_check(const struct quipu_event *event, struct quipu_error *err)
{
    enum quipu_status status = names_check(event, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = numbers_check(event, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = sizes_check(event, err);
    if (status != QUIPU_OK) {
        return status;
    }
    const char *rule = event->secrets == QUIPU_SECRET_ALLOW
                           ? NULL
                           : secret_guard_rule(quipu_slice_text(event->aggregate.id));
    if (rule != NULL) {
        return secret_refuse(rule, "aggregate_id", err);
    }
    status = meta_check(event, err);
    if (status != QUIPU_OK) {
        return status;
    }
    return block_check(event->payload, event->secrets, "payload", err);
}

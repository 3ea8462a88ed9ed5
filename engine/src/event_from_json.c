/*
 * One JSON line to an event: JSON to DAG-CBOR (dagjson.h), then one pass over the map. Payload and
 * meta are borrowed from that block as they are, so what is stored is the canonical form of what
 * was written. An unknown key is refused with a hint where it looks like a known one. Checks kinds
 * only: names and limits are looked at when the event is appended.
 *
 * Specification: docs/SPEC.md §8.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "quipu/dagcbor.h"
#include "quipu/dagjson.h"
#include "quipu/event_json.h"

/* X(constant, key), in canonical order */
#define LINE_KEY_MAP(X)                                                                            \
    X(META, "meta")                                                                                \
    X(SCHEMA, "schema")                                                                            \
    X(PAYLOAD, "payload")                                                                          \
    X(EVENT_ID, "event_id")                                                                        \
    X(EVENT_TYPE, "event_type")                                                                    \
    X(OCCURRED_AT, "occurred_at")                                                                  \
    X(AGGREGATE_ID, "aggregate_id")                                                                \
    X(CAUSATION_ID, "causation_id")                                                                \
    X(AGGREGATE_TYPE, "aggregate_type")                                                            \
    X(CORRELATION_ID, "correlation_id")                                                            \
    X(EXPECTED_VERSION, "expected_version")

enum line_key {
#define LINE_KEY_ENUM(constant, key) LINE_##constant,
    LINE_KEY_MAP(LINE_KEY_ENUM)
#undef LINE_KEY_ENUM
        LINE_KEY_COUNT
};

static const char *const line_keys[LINE_KEY_COUNT] = {
#define LINE_KEY_ROW(constant, key) key,
    LINE_KEY_MAP(LINE_KEY_ROW)
#undef LINE_KEY_ROW
};

/* In the order in which people write them: the first that is missing is named. */
static const enum line_key required_keys[] = {LINE_AGGREGATE_TYPE, LINE_AGGREGATE_ID,
                                              LINE_EVENT_TYPE, LINE_PAYLOAD};

/* Names that other tools use. */
static const struct {
    const char *name;
    enum line_key meant;
} line_aliases[] = {
    {"type", LINE_EVENT_TYPE},        {"id", LINE_EVENT_ID},
    {"data", LINE_PAYLOAD},           {"body", LINE_PAYLOAD},
    {"metadata", LINE_META},          {"timestamp", LINE_OCCURRED_AT},
    {"time", LINE_OCCURRED_AT},       {"version", LINE_EXPECTED_VERSION},
    {"stream", LINE_AGGREGATE_ID},    {"aggregate", LINE_AGGREGATE_ID},
    {"schema_version", LINE_SCHEMA},  {"correlation", LINE_CORRELATION_ID},
    {"causation", LINE_CAUSATION_ID},
};

#define HINT_NAME_BYTES_MAX 32
#define HINT_DISTANCE_MAX   2

void quipu_event_arena_release(struct quipu_event_arena *arena)
{
    quipu_buf_release(&arena->block);
    quipu_buf_release(&arena->text);
}

/* ------------------------------------------------------------------ unknown keys */

static bool is_same_letter(uint8_t a, uint8_t b)
{
    uint8_t lower = a >= 'A' && a <= 'Z' ? (uint8_t)(a + 32) : a;
    return lower == b || (a == '-' && b == '_');
}

/* Edits that turn `name` into `key`: Levenshtein's distance, one row at a time. Both are short. */
static size_t edit_distance(struct quipu_slice name, struct quipu_slice key)
{
    size_t row[HINT_NAME_BYTES_MAX + 1];
    for (size_t j = 0; j <= key.len; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= name.len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= key.len; j++) {
            size_t change = diagonal + !is_same_letter(name.data[i - 1], key.data[j - 1]);
            size_t insert_or_delete = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = change < insert_or_delete ? change : insert_or_delete;
        }
    }
    return row[key.len];
}

/* The key that somebody who wrote `name` may have meant, or NULL. */
static const char *hint_for(struct quipu_slice name)
{
    if (name.len > HINT_NAME_BYTES_MAX) {
        return NULL;
    }
    for (size_t i = 0; i < sizeof line_aliases / sizeof line_aliases[0]; i++) {
        if (quipu_slice_equal(name, quipu_slice_text(line_aliases[i].name))) {
            return line_keys[line_aliases[i].meant];
        }
    }
    const char *best = NULL;
    size_t best_distance = HINT_DISTANCE_MAX + 1;
    for (size_t i = 0; i < LINE_KEY_COUNT; i++) {
        /* aggregateType → aggregate_type is one edit, with the capital letter forgiven. */
        size_t distance = edit_distance(name, quipu_slice_text(line_keys[i]));
        if (distance < best_distance) {
            best_distance = distance;
            best = line_keys[i];
        }
    }
    return best;
}

static enum quipu_status unknown_key(struct quipu_slice name, struct quipu_error *err)
{
    struct quipu_slice shown = quipu_slice(name.data, name.len < 64 ? name.len : 64);
    const char *hint = hint_for(name);
    if (hint == NULL) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "unknown field '%.*s'; put what is your own into payload or meta",
                               QUIPU_SLICE_FMT(shown));
    }
    return quipu_error_set(err, QUIPU_INVALID, "unknown field '%.*s'; did you mean '%s'?",
                           QUIPU_SLICE_FMT(shown), hint);
}

/* ------------------------------------------------------------------ values */

static enum quipu_status wrong_kind(enum line_key key, const char *wanted, struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_INVALID, "%s must be %s", line_keys[key], wanted);
}

/* A NUL-terminated copy in the arena, whose memory is reserved and so does not move. */
static enum quipu_status take_text(const struct quipu_dagcbor_item *item, enum line_key key,
                                   struct quipu_event_arena *arena, const char **out,
                                   struct quipu_error *err)
{
    if (item->kind != QUIPU_DAGCBOR_TEXT) {
        return wrong_kind(key, "a string", err);
    }
    if (item->bytes.len > 0 && memchr(item->bytes.data, 0, item->bytes.len) != NULL) {
        return quipu_error_set(err, QUIPU_INVALID, "%s holds the control character U+0000",
                               line_keys[key]);
    }
    size_t start = arena->text.len;
    quipu_buf_append_slice(&arena->text, item->bytes);
    quipu_buf_append_byte(&arena->text, 0);
    if (arena->text.status != QUIPU_OK) {
        return quipu_error_set(err, arena->text.status, "out of memory for %s", line_keys[key]);
    }
    *out = (const char *)arena->text.data + start;
    return QUIPU_OK;
}

static enum quipu_status take_uuid(const struct quipu_dagcbor_item *item, enum line_key key,
                                   struct quipu_uuid *out, struct quipu_error *err)
{
    if (item->kind == QUIPU_DAGCBOR_NULL) {
        return QUIPU_OK; /* the same as leaving it out */
    }
    if (item->kind != QUIPU_DAGCBOR_TEXT || quipu_uuid_parse(item->bytes, out) != QUIPU_OK) {
        return wrong_kind(key, "a UUID such as 0190b5d6-7c3a-7000-8000-000000000001, or absent",
                          err);
    }
    if (quipu_uuid_is_nil(*out)) {
        return wrong_kind(key, "another UUID than the nil UUID, or absent", err);
    }
    return QUIPU_OK;
}

static enum quipu_status take_instant(const struct quipu_dagcbor_item *item,
                                      struct quipu_instant *out, struct quipu_error *err)
{
    int64_t unix_us = 0;
    bool is_valid = false;
    if (item->kind == QUIPU_DAGCBOR_TEXT) {
        is_valid = quipu_rfc3339_parse(item->bytes, &unix_us) == QUIPU_OK;
    } else if (item->kind == QUIPU_DAGCBOR_UINT && item->number <= INT64_MAX) {
        is_valid = true;
        unix_us = (int64_t)item->number;
    } else if (item->kind == QUIPU_DAGCBOR_NEGATIVE && item->number <= INT64_MAX) {
        is_valid = true;
        unix_us = -1 - (int64_t)item->number;
    }
    if (!is_valid) {
        return wrong_kind(LINE_OCCURRED_AT,
                          "RFC 3339 text such as \"2026-11-20T13:58:18Z\", or an integer of "
                          "microseconds since 1970",
                          err);
    }
    *out = quipu_instant_at(unix_us);
    return QUIPU_OK;
}

static enum quipu_status take_number(const struct quipu_dagcbor_item *item, enum line_key key,
                                     uint64_t min, uint64_t *out, struct quipu_error *err)
{
    if (item->kind != QUIPU_DAGCBOR_UINT || item->number < min) {
        return wrong_kind(key, min == 0 ? "an integer of 0 or more" : "an integer of 1 or more",
                          err);
    }
    *out = item->number;
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ the line */

/* The value of a key whose kind is simple: one item. */
static enum quipu_status take_item(struct quipu_dagcbor_reader *reader, enum line_key key,
                                   struct quipu_event_arena *arena, struct quipu_event *out,
                                   struct quipu_error *err)
{
    struct quipu_dagcbor_item item;
    enum quipu_status status = quipu_dagcbor_next(reader, &item, err);
    if (status != QUIPU_OK) {
        return status;
    }
    switch (key) {
    case LINE_EVENT_TYPE:
        return take_text(&item, key, arena, &out->type, err);
    case LINE_AGGREGATE_TYPE:
        return take_text(&item, key, arena, &out->aggregate.type, err);
    case LINE_AGGREGATE_ID:
        return take_text(&item, key, arena, &out->aggregate.id, err);
    case LINE_SCHEMA:
        return take_number(&item, key, 1, &out->schema, err);
    case LINE_EVENT_ID:
        return take_uuid(&item, key, &out->event_id, err);
    case LINE_CORRELATION_ID:
        return take_uuid(&item, key, &out->correlation_id, err);
    case LINE_CAUSATION_ID:
        return take_uuid(&item, key, &out->causation_id, err);
    case LINE_OCCURRED_AT:
        return take_instant(&item, &out->occurred_at, err);
    case LINE_EXPECTED_VERSION:
        out->expected.kind = QUIPU_EXPECT_EXACT;
        return take_number(&item, key, 0, &out->expected.version, err);
    case LINE_META:
    case LINE_PAYLOAD:
    case LINE_KEY_COUNT:
        break;
    }
    return QUIPU_MISUSE;
}

static enum quipu_status take_value(struct quipu_dagcbor_reader *reader, enum line_key key,
                                    struct quipu_event_arena *arena, struct quipu_event *out,
                                    struct quipu_error *err)
{
    if (key == LINE_PAYLOAD) {
        return quipu_dagcbor_next_whole(reader, &out->payload, err);
    }
    if (key != LINE_META) {
        return take_item(reader, key, arena, out, err);
    }
    enum quipu_status status = quipu_dagcbor_next_whole(reader, &out->meta, err);
    /* Major type 5: a map. */
    if (status == QUIPU_OK && out->meta.data[0] >> 5 != 5) {
        return wrong_kind(key, "an object", err);
    }
    return status;
}

static enum quipu_status take_pairs(struct quipu_dagcbor_reader *reader, uint64_t pairs,
                                    struct quipu_event_arena *arena, struct quipu_event *out,
                                    struct quipu_error *err)
{
    bool has[LINE_KEY_COUNT] = {false};
    for (uint64_t i = 0; i < pairs; i++) {
        struct quipu_slice name;
        enum quipu_status status = quipu_dagcbor_read_text(reader, &name, err);
        if (status != QUIPU_OK) {
            return status;
        }
        size_t key = 0;
        while (key < LINE_KEY_COUNT && !quipu_slice_equal(name, quipu_slice_text(line_keys[key]))) {
            key++;
        }
        if (key == LINE_KEY_COUNT) {
            return unknown_key(name, err);
        }
        status = take_value(reader, (enum line_key)key, arena, out, err);
        if (status != QUIPU_OK) {
            return status;
        }
        has[key] = true;
    }
    for (size_t i = 0; i < sizeof required_keys / sizeof required_keys[0]; i++) {
        if (!has[required_keys[i]]) {
            return quipu_error_set(err, QUIPU_INVALID, "%s is missing",
                                   line_keys[required_keys[i]]);
        }
    }
    return QUIPU_OK;
}

enum quipu_status quipu_event_from_json(struct quipu_slice line, struct quipu_event_arena *arena,
                                        struct quipu_event *out, struct quipu_error *err)
{
    quipu_buf_reset(&arena->block);
    quipu_buf_reset(&arena->text);
    if (line.len >= 3 && memcmp(line.data, "\xef\xbb\xbf", 3) == 0) {
        return quipu_error_set(
            err, QUIPU_JSON,
            "the line begins with a byte order mark (EF BB BF): save it as UTF-8 "
            "without one");
    }
    enum quipu_status status = quipu_dagjson_to_dagcbor(line, &arena->block, err);
    if (status != QUIPU_OK) {
        return status;
    }
    /* The texts are parts of the block, each with a NUL more: pointers into this stay good. */
    if (quipu_buf_reserve(&arena->text, arena->block.len + LINE_KEY_COUNT) == NULL) {
        return quipu_error_set(err, arena->text.status, "out of memory for a line of %zu bytes",
                               line.len);
    }
    struct quipu_dagcbor_reader reader;
    quipu_dagcbor_reader_init(&reader, quipu_buf_slice(&arena->block));
    uint64_t pairs;
    status = quipu_dagcbor_read_map(&reader, &pairs, err);
    if (status == QUIPU_CBOR_KIND) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "an event is a JSON object: {\"aggregate_type\":…,\"aggregate_id\":"
                               "…,\"event_type\":…,\"payload\":…}");
    }
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_event event = {0};
    status = take_pairs(&reader, pairs, arena, &event, err);
    if (status == QUIPU_OK) {
        *out = event;
    }
    return status;
}

/*
 * Requests of the query API: strict decoding, and encoding in one form. The members of the map are
 * collected first, since which of them belong there depends on `query`, which may come behind them;
 * then each is read by its own rule. Knows nothing of a store.
 *
 * Specification: docs/SPEC.md §8.1.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/query.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "query_reply.h"
#include "quipu/dagcbor.h"
#include "quipu/store.h"
#include "quipu/text.h"

/* The members in canonical order, so that encoding goes down this list. X(NAME, key) */
#define MEMBER_MAP(X)                                                                              \
    X(V, "v")                                                                                      \
    X(CID, "cid")                                                                                  \
    X(KEY, "key")                                                                                  \
    X(AFTER, "after")                                                                              \
    X(LIMIT, "limit")                                                                              \
    X(ORDER, "order")                                                                              \
    X(QUERY, "query")                                                                              \
    X(SINCE, "since")                                                                              \
    X(UNTIL, "until")                                                                              \
    X(PREFIX, "prefix")                                                                            \
    X(EVENT_ID, "event_id")                                                                        \
    X(POSITION, "position")                                                                        \
    X(EVENT_TYPE, "event_type")                                                                    \
    X(PROJECTION, "projection")                                                                    \
    X(AGGREGATE_ID, "aggregate_id")                                                                \
    X(FROM_VERSION, "from_version")                                                                \
    X(AGGREGATE_TYPE, "aggregate_type")                                                            \
    X(CORRELATION_ID, "correlation_id")

enum member {
#define MEMBER_ENUM(name, key) MEMBER_##name,
    MEMBER_MAP(MEMBER_ENUM)
#undef MEMBER_ENUM
        MEMBERS
};

static const char *const member_keys[MEMBERS] = {
#define MEMBER_KEY(name, key) key,
    MEMBER_MAP(MEMBER_KEY)
#undef MEMBER_KEY
};

#define BIT(name) (1u << MEMBER_##name)

/* What each query takes and needs beside `v` and `query`. */
static const struct {
    const char *word;
    unsigned takes;
    unsigned needs;
} kinds[] = {
    [QUIPU_QUERY_GET] = {"get", BIT(PROJECTION) | BIT(KEY), BIT(PROJECTION) | BIT(KEY)},
    [QUIPU_QUERY_LIST] = {"list", BIT(PROJECTION) | BIT(PREFIX) | BIT(AFTER) | BIT(LIMIT),
                          BIT(PROJECTION)},
    [QUIPU_QUERY_STATUS] = {"status", 0, 0},
    [QUIPU_QUERY_EVENT] = {"event", BIT(POSITION) | BIT(EVENT_ID) | BIT(CID), 0},
    [QUIPU_QUERY_EVENTS] = {"events",
                            BIT(AFTER) | BIT(LIMIT) | BIT(ORDER) | BIT(SINCE) | BIT(UNTIL) |
                                BIT(EVENT_TYPE) | BIT(AGGREGATE_ID) | BIT(FROM_VERSION) |
                                BIT(AGGREGATE_TYPE) | BIT(CORRELATION_ID),
                            0},
};

#define KINDS (sizeof kinds / sizeof kinds[0])

/* The members of a request as they stand in it; data is NULL where one is absent. */
struct members {
    const char *query; /* for messages; NULL until it is known */
    struct quipu_slice values[MEMBERS];
};

const char *quipu_query_kind_text(enum quipu_query_kind kind)
{
    return (size_t)kind < KINDS ? kinds[kind].word : "";
}

/* ------------------------------------------------------------------ collecting */

static enum member member_find(struct quipu_slice key)
{
    for (int i = 0; i < MEMBERS; i++) {
        if (quipu_slice_equal(key, quipu_slice_text(member_keys[i]))) {
            return (enum member)i;
        }
    }
    return MEMBERS;
}

static enum quipu_status collect_one(struct quipu_dagcbor_reader *reader, struct members *out,
                                     struct quipu_error *err)
{
    struct quipu_slice key;
    enum quipu_status status = quipu_dagcbor_read_text(reader, &key, err);
    if (status != QUIPU_OK) {
        return status;
    }
    enum member member = member_find(key);
    if (member == MEMBERS) {
        int shown = key.len > 40 ? 40 : (int)key.len;
        return quipu_text_is_printable(quipu_slice(key.data, (size_t)shown))
                   ? quipu_error_set(err, QUIPU_INVALID, "query: unknown member \"%.*s\"", shown,
                                     (const char *)key.data)
                   : quipu_error_set(err, QUIPU_INVALID, "query: an unknown member");
    }
    return quipu_dagcbor_next_whole(reader, &out->values[member], err);
}

static enum quipu_status collect(struct quipu_slice request, struct members *out,
                                 struct quipu_error *err)
{
    struct quipu_dagcbor_reader reader;
    struct quipu_dagcbor_item item;
    uint64_t pairs = 0;
    quipu_dagcbor_reader_init(&reader, request);
    enum quipu_status status = quipu_dagcbor_next(&reader, &item, err);
    if (status == QUIPU_OK && item.kind != QUIPU_DAGCBOR_MAP) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "query: a request is a map such as {\"query\":\"status\"}");
    }
    if (status == QUIPU_OK) {
        pairs = item.number;
    }
    for (uint64_t i = 0; i < pairs && status == QUIPU_OK; i++) {
        status = collect_one(&reader, out, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_dagcbor_next(&reader, &item, err); /* nothing may stand behind the map */
    }
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

/* ------------------------------------------------------------------ single values */

static enum quipu_status wrong(const struct members *members, enum member member,
                               const char *expected, struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_INVALID, "query %s: \"%s\" must be %s",
                           members->query == NULL ? "?" : members->query, member_keys[member],
                           expected);
}

/* The one item that a member's value is; the reader has checked it already. */
static struct quipu_dagcbor_item item_of(const struct members *members, enum member member)
{
    struct quipu_dagcbor_reader reader;
    struct quipu_dagcbor_item item = {.kind = QUIPU_DAGCBOR_NULL};
    quipu_dagcbor_reader_init(&reader, members->values[member]);
    if (quipu_dagcbor_next(&reader, &item, NULL) != QUIPU_OK) {
        item.kind = QUIPU_DAGCBOR_NULL;
    }
    return item;
}

static enum quipu_status read_number(const struct members *members, enum member member,
                                     uint64_t min, uint64_t max, uint64_t *out,
                                     struct quipu_error *err)
{
    struct quipu_dagcbor_item item = item_of(members, member);
    if (item.kind == QUIPU_DAGCBOR_UINT && item.number >= min && item.number <= max) {
        *out = item.number;
        return QUIPU_OK;
    }
    char expected[80];
    int len = snprintf(expected, sizeof expected, "an integer from %" PRIu64, min);
    if (max != UINT64_MAX) {
        len += snprintf(expected + len, sizeof expected - (size_t)len, " to %" PRIu64, max);
    }
    if (item.kind == QUIPU_DAGCBOR_UINT) {
        (void)snprintf(expected + len, sizeof expected - (size_t)len, ", found %" PRIu64,
                       item.number);
    }
    return wrong(members, member, expected, err);
}

/* Text of 1 to `max` bytes without U+0000: it becomes a C string later. */
static enum quipu_status read_text(const struct members *members, enum member member, size_t max,
                                   struct quipu_slice *out, struct quipu_error *err)
{
    struct quipu_dagcbor_item item = item_of(members, member);
    if (item.kind == QUIPU_DAGCBOR_TEXT && item.bytes.len >= 1 && item.bytes.len <= max &&
        memchr(item.bytes.data, 0, item.bytes.len) == NULL) {
        *out = item.bytes;
        return QUIPU_OK;
    }
    char expected[64];
    (void)snprintf(expected, sizeof expected, "text of 1 to %zu bytes without U+0000", max);
    return wrong(members, member, expected, err);
}

/* A row's key, or the beginning of one: text or bytes, whichever is handier; the same row. */
static enum quipu_status read_key(const struct members *members, enum member member, size_t min,
                                  struct quipu_slice *out, struct quipu_error *err)
{
    struct quipu_dagcbor_item item = item_of(members, member);
    if ((item.kind == QUIPU_DAGCBOR_TEXT || item.kind == QUIPU_DAGCBOR_BYTES) &&
        item.bytes.len >= min && item.bytes.len <= QUIPU_TABLE_KEY_BYTES_MAX) {
        *out = item.bytes;
        return QUIPU_OK;
    }
    char expected[64];
    (void)snprintf(expected, sizeof expected, "text or bytes, %zu to %d bytes", min,
                   QUIPU_TABLE_KEY_BYTES_MAX);
    return wrong(members, member, expected, err);
}

static enum quipu_status read_uuid(const struct members *members, enum member member,
                                   struct quipu_uuid *out, struct quipu_error *err)
{
    struct quipu_dagcbor_item item = item_of(members, member);
    struct quipu_uuid uuid = {{0}};
    bool is_uuid = false;
    if (item.kind == QUIPU_DAGCBOR_BYTES && item.bytes.len == sizeof uuid.bytes) {
        memcpy(uuid.bytes, item.bytes.data, sizeof uuid.bytes);
        is_uuid = true;
    } else if (item.kind == QUIPU_DAGCBOR_TEXT) {
        is_uuid = quipu_uuid_parse(item.bytes, &uuid) == QUIPU_OK;
    }
    if (!is_uuid || quipu_uuid_is_nil(uuid)) {
        return wrong(members, member, "a UUID that is not nil: 16 bytes, or its text", err);
    }
    *out = uuid;
    return QUIPU_OK;
}

static enum quipu_status read_cid(const struct members *members, struct quipu_query *out,
                                  struct quipu_error *err)
{
    struct quipu_dagcbor_item item = item_of(members, MEMBER_CID);
    bool is_cid = (item.kind == QUIPU_DAGCBOR_LINK &&
                   quipu_cid_from_view(&item.link, &out->cid, NULL) == QUIPU_OK) ||
                  (item.kind == QUIPU_DAGCBOR_TEXT &&
                   quipu_cid_parse(item.bytes, &out->cid, NULL) == QUIPU_OK);
    if (!is_cid) {
        return wrong(members, MEMBER_CID, "the CID of an event or a payload: a link, or its text",
                     err);
    }
    out->has_cid = true;
    return QUIPU_OK;
}

static enum quipu_status read_order(const struct members *members, struct quipu_query *out,
                                    struct quipu_error *err)
{
    struct quipu_dagcbor_item item = item_of(members, MEMBER_ORDER);
    bool is_text = item.kind == QUIPU_DAGCBOR_TEXT;
    if (is_text && quipu_slice_equal(item.bytes, quipu_slice_text("newest"))) {
        out->is_newest_first = true;
        return QUIPU_OK;
    }
    return is_text && quipu_slice_equal(item.bytes, quipu_slice_text("oldest"))
               ? QUIPU_OK
               : wrong(members, MEMBER_ORDER, "\"oldest\" or \"newest\"", err);
}

static enum quipu_status read_version(const struct members *members, struct quipu_error *err)
{
    uint64_t version = QUIPU_QUERY_FORMAT;
    enum quipu_status status = QUIPU_OK;
    if (members->values[MEMBER_V].data != NULL) {
        status = read_number(members, MEMBER_V, 1, UINT64_MAX, &version, err);
    }
    if (status == QUIPU_OK && version > QUIPU_QUERY_FORMAT) {
        return quipu_error_set(err, QUIPU_FORMAT_NEWER,
                               "query: format %" PRIu64 ", this program knows up to %d", version,
                               QUIPU_QUERY_FORMAT);
    }
    return status;
}

/* ------------------------------------------------------------------ decoding */

static enum quipu_status read_kind(struct members *members, enum quipu_query_kind *out,
                                   struct quipu_error *err)
{
    struct quipu_slice word = {NULL, 0};
    enum quipu_status status = QUIPU_INVALID;
    if (members->values[MEMBER_QUERY].data != NULL) {
        status = read_text(members, MEMBER_QUERY, 64, &word, NULL);
    }
    for (size_t i = 0; i < KINDS && status == QUIPU_OK; i++) {
        if (quipu_slice_equal(word, quipu_slice_text(kinds[i].word))) {
            members->query = kinds[i].word;
            *out = (enum quipu_query_kind)i;
            return QUIPU_OK;
        }
    }
    return quipu_error_set(
        err, QUIPU_INVALID,
        "query: \"query\" must be \"get\", \"list\", \"status\", \"event\" or \"events\"");
}

static enum quipu_status read_member(const struct members *members, enum member member,
                                     struct quipu_query *out, struct quipu_error *err)
{
    switch (member) {
    case MEMBER_KEY:
        return read_key(members, member, 1, &out->key, err);
    case MEMBER_PREFIX:
        return read_key(members, member, 0, &out->prefix, err);
    case MEMBER_AFTER:
        return out->kind == QUIPU_QUERY_LIST
                   ? read_key(members, member, 1, &out->after_key, err)
                   : read_number(members, member, 0, UINT64_MAX, &out->after, err);
    case MEMBER_LIMIT:
        return read_number(members, member, 1, QUIPU_QUERY_LIMIT_MAX, &out->limit, err);
    case MEMBER_SINCE:
        return read_number(members, member, 1, UINT64_MAX, &out->since, err);
    case MEMBER_UNTIL:
        return read_number(members, member, 1, UINT64_MAX, &out->until, err);
    case MEMBER_POSITION:
        return read_number(members, member, 1, UINT64_MAX, &out->position, err);
    case MEMBER_FROM_VERSION:
        return read_number(members, member, 1, UINT64_MAX, &out->from_version, err);
    case MEMBER_PROJECTION:
        return read_text(members, member, 64, &out->projection, err);
    case MEMBER_EVENT_TYPE:
        return read_text(members, member, QUIPU_EVENT_TYPE_BYTES_MAX, &out->event_type, err);
    case MEMBER_AGGREGATE_TYPE:
        return read_text(members, member, QUIPU_AGGREGATE_TYPE_BYTES_MAX, &out->aggregate_type,
                         err);
    case MEMBER_AGGREGATE_ID:
        return read_text(members, member, QUIPU_AGGREGATE_ID_BYTES_MAX, &out->aggregate_id, err);
    case MEMBER_EVENT_ID:
        return read_uuid(members, member, &out->event_id, err);
    case MEMBER_CORRELATION_ID:
        return read_uuid(members, member, &out->correlation_id, err);
    case MEMBER_CID:
        return read_cid(members, out, err);
    case MEMBER_ORDER:
        return read_order(members, out, err);
    case MEMBER_V:
    case MEMBER_QUERY:
    case MEMBERS:
        break; /* read already */
    }
    return QUIPU_OK;
}

/* What members demand of one another. */
static enum quipu_status check_together(const struct quipu_query *query, struct quipu_error *err)
{
    int names = (query->position != 0) + !quipu_uuid_is_nil(query->event_id) + query->has_cid;
    if (query->kind == QUIPU_QUERY_EVENT && names != 1) {
        return quipu_error_set(
            err, QUIPU_INVALID,
            "query event: wants one of \"position\", \"event_id\" and \"cid\", found %d", names);
    }
    if (query->aggregate_id.len > 0 && query->aggregate_type.len == 0) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "query events: \"aggregate_id\" needs \"aggregate_type\" beside it");
    }
    if (query->from_version != 0 && query->aggregate_id.len == 0) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "query events: \"from_version\" needs \"aggregate_id\" beside it");
    }
    return QUIPU_OK;
}

enum quipu_status quipu_query_decode(struct quipu_slice request, struct quipu_query *out,
                                     struct quipu_error *err)
{
    struct members members = {NULL, {{NULL, 0}}};
    struct quipu_query query = {.kind = QUIPU_QUERY_GET};
    if (request.len > QUIPU_QUERY_REQUEST_BYTES_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE,
                               "query: a request has %u bytes at most, found %zu",
                               QUIPU_QUERY_REQUEST_BYTES_MAX, request.len);
    }
    enum quipu_status status = collect(request, &members, err);
    if (status == QUIPU_OK) {
        status = read_version(&members, err);
    }
    if (status == QUIPU_OK) {
        status = read_kind(&members, &query.kind, err);
    }
    for (int i = 0; i < MEMBERS && status == QUIPU_OK; i++) {
        bool is_there = members.values[i].data != NULL;
        bool is_common = i == MEMBER_V || i == MEMBER_QUERY;
        if (is_there && !is_common && (kinds[query.kind].takes & 1u << i) == 0) {
            return quipu_error_set(err, QUIPU_INVALID, "query %s: \"%s\" does not belong to it",
                                   members.query, member_keys[i]);
        }
        if (!is_there && (kinds[query.kind].needs & 1u << i) != 0) {
            return quipu_error_set(err, QUIPU_INVALID, "query %s: \"%s\" is missing", members.query,
                                   member_keys[i]);
        }
        if (is_there) {
            status = read_member(&members, (enum member)i, &query, err);
        }
    }
    if (status == QUIPU_OK) {
        status = check_together(&query, err);
    }
    if (status == QUIPU_OK) {
        *out = query;
    }
    return status;
}

/* ------------------------------------------------------------------ encoding */

/* The members that say something. */
static unsigned members_of(const struct quipu_query *query)
{
    bool is_list = query->kind == QUIPU_QUERY_LIST;
    bool has_after = is_list ? query->after_key.len > 0 : query->after != 0;
    return BIT(V) | BIT(QUERY) | (query->has_cid ? BIT(CID) : 0) |
           (query->key.len > 0 ? BIT(KEY) : 0) | (has_after ? BIT(AFTER) : 0) |
           (query->limit != 0 ? BIT(LIMIT) : 0) | (query->is_newest_first ? BIT(ORDER) : 0) |
           (query->since != 0 ? BIT(SINCE) : 0) | (query->until != 0 ? BIT(UNTIL) : 0) |
           (query->prefix.len > 0 ? BIT(PREFIX) : 0) |
           (quipu_uuid_is_nil(query->event_id) ? 0 : BIT(EVENT_ID)) |
           (query->position != 0 ? BIT(POSITION) : 0) |
           (query->event_type.len > 0 ? BIT(EVENT_TYPE) : 0) |
           (query->projection.len > 0 ? BIT(PROJECTION) : 0) |
           (query->aggregate_id.len > 0 ? BIT(AGGREGATE_ID) : 0) |
           (query->from_version != 0 ? BIT(FROM_VERSION) : 0) |
           (query->aggregate_type.len > 0 ? BIT(AGGREGATE_TYPE) : 0) |
           (quipu_uuid_is_nil(query->correlation_id) ? 0 : BIT(CORRELATION_ID));
}

static void write_uuid(struct quipu_dagcbor_writer *writer, const struct quipu_uuid *uuid)
{
    quipu_dagcbor_write_bytes(writer, quipu_slice(uuid->bytes, sizeof uuid->bytes));
}

static void write_after(struct quipu_dagcbor_writer *writer, const struct quipu_query *query)
{
    if (query->kind == QUIPU_QUERY_LIST) {
        reply_write_key(writer, query->after_key);
    } else {
        quipu_dagcbor_write_uint(writer, query->after);
    }
}

static void write_member(struct quipu_dagcbor_writer *writer, const struct quipu_query *query,
                         enum member member)
{
    switch (member) {
    case MEMBER_V:
        quipu_dagcbor_write_uint(writer, QUIPU_QUERY_FORMAT);
        return;
    case MEMBER_CID:
        quipu_dagcbor_write_link(writer, &query->cid);
        return;
    case MEMBER_KEY:
        reply_write_key(writer, query->key);
        return;
    case MEMBER_AFTER:
        write_after(writer, query);
        return;
    case MEMBER_LIMIT:
        quipu_dagcbor_write_uint(writer, query->limit);
        return;
    case MEMBER_ORDER:
        quipu_dagcbor_write_text(writer, quipu_slice_text("newest"));
        return;
    case MEMBER_QUERY:
        quipu_dagcbor_write_text(writer, quipu_slice_text(kinds[query->kind].word));
        return;
    case MEMBER_SINCE:
        quipu_dagcbor_write_uint(writer, query->since);
        return;
    case MEMBER_UNTIL:
        quipu_dagcbor_write_uint(writer, query->until);
        return;
    case MEMBER_PREFIX:
        reply_write_key(writer, query->prefix);
        return;
    case MEMBER_EVENT_ID:
        write_uuid(writer, &query->event_id);
        return;
    case MEMBER_POSITION:
        quipu_dagcbor_write_uint(writer, query->position);
        return;
    case MEMBER_EVENT_TYPE:
        quipu_dagcbor_write_text(writer, query->event_type);
        return;
    case MEMBER_PROJECTION:
        quipu_dagcbor_write_text(writer, query->projection);
        return;
    case MEMBER_AGGREGATE_ID:
        quipu_dagcbor_write_text(writer, query->aggregate_id);
        return;
    case MEMBER_FROM_VERSION:
        quipu_dagcbor_write_uint(writer, query->from_version);
        return;
    case MEMBER_AGGREGATE_TYPE:
        quipu_dagcbor_write_text(writer, query->aggregate_type);
        return;
    case MEMBER_CORRELATION_ID:
        write_uuid(writer, &query->correlation_id);
        return;
    case MEMBERS:
        return;
    }
}

enum quipu_status quipu_query_encode(const struct quipu_query *query, struct quipu_buf *out,
                                     struct quipu_error *err)
{
    struct quipu_dagcbor_writer writer;
    struct quipu_query again;
    size_t start = out->len;
    unsigned members = members_of(query);
    uint64_t pairs = 0;
    if ((size_t)query->kind >= KINDS) {
        return quipu_error_set(err, QUIPU_INVALID, "query: unknown kind %d", (int)query->kind);
    }
    for (unsigned left = members; left != 0; left &= left - 1) {
        pairs++;
    }
    quipu_dagcbor_writer_init(&writer, out);
    quipu_dagcbor_write_map(&writer, pairs);
    for (int i = 0; i < MEMBERS; i++) {
        if ((members & 1u << i) != 0) {
            quipu_dagcbor_write_key(&writer, member_keys[i]);
            write_member(&writer, query, (enum member)i);
        }
    }
    enum quipu_status status = quipu_dagcbor_writer_finish(&writer, err);
    if (status == QUIPU_OK) {
        status = quipu_query_decode(quipu_slice(out->data + start, out->len - start), &again, err);
    }
    if (status != QUIPU_OK) {
        out->len = start;
    }
    return status;
}

/*
 * Pages of the query API: from where to where, how long, and without gaps or doubles while a writer
 * appends and a projection is rebuilt.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "query_kit.h"
#include "quipu/dagcbor.h"

static bool has(const char *key)
{
    struct quipu_slice value;
    return quipu_dagcbor_map_get(quipu_buf_slice(&reply), key, &value, NULL) == QUIPU_OK;
}

/* ------------------------------------------------------------------ rows */

/* The keys of a page behind one another: "row/a row/b >row/b" where there is more behind it. */
static const char *list_keys(const char *rest)
{
    static char keys[400];
    char request[300];
    size_t len = 0;
    (void)snprintf(request, sizeof request, "{\"query\":\"list\",\"projection\":\"mirror\"%s}",
                   rest);
    kit_assert_ok(&kit, ask(request));
    struct quipu_dagcbor_reader reader;
    uint64_t rows = 0;
    quipu_dagcbor_reader_init(&reader, member(quipu_buf_slice(&reply), "rows"));
    kit_assert_ok(&kit, quipu_dagcbor_read_list(&reader, &rows, &kit.err));
    keys[0] = 0;
    for (uint64_t i = 0; i < rows; i++) {
        struct quipu_slice row;
        kit_assert_ok(&kit, quipu_dagcbor_next_whole(&reader, &row, &kit.err));
        struct quipu_slice key = member(row, "key"); /* short: a head of one byte */
        len += (size_t)snprintf(keys + len, sizeof keys - len, "%s%.*s", len == 0 ? "" : " ",
                                (int)key.len - 1, (const char *)key.data + 1);
    }
    if (has("next")) {
        struct quipu_slice next = member(quipu_buf_slice(&reply), "next");
        (void)snprintf(keys + len, sizeof keys - len, " >%.*s", (int)next.len - 1,
                       (const char *)next.data + 1);
    }
    return keys;
}

Test(query, lists_rows_by_prefix_from_key_to_key)
{
    static const char *const names[] = {"a", "b1", "b2", "b3", "c"};
    for (size_t i = 0; i < 5; i++) {
        kit_append(&kit, names[i], (int)i);
    }
    replay(QUIPU_REPLAY_CATCH_UP);

    cr_assert_str_eq(list_keys(",\"prefix\":\"row/b\""), "row/b1 row/b2 row/b3");
    cr_assert_str_eq(list_keys(",\"prefix\":\"row/b\",\"limit\":2"), "row/b1 row/b2 >row/b2");
    cr_assert_str_eq(list_keys(",\"prefix\":\"row/b\",\"limit\":2,\"after\":\"row/b2\""), "row/b3");
    cr_assert_str_eq(list_keys(",\"prefix\":\"row/b\",\"limit\":3"), "row/b1 row/b2 row/b3");
    /* Keys that are no rows: behind, between, before the prefix. */
    cr_assert_str_eq(list_keys(",\"prefix\":\"row/b\",\"after\":\"row/b3\""), "");
    cr_assert_str_eq(list_keys(",\"prefix\":\"row/b\",\"after\":\"zzz\""), "");
    cr_assert_str_eq(list_keys(",\"prefix\":\"row/b\",\"after\":\"row/b20\""), "row/b3");
    cr_assert_str_eq(list_keys(",\"prefix\":\"row/b\",\"after\":\"row/a\""),
                     "row/b1 row/b2 row/b3");
    cr_assert_str_eq(list_keys(",\"prefix\":\"x\""), "");
    cr_assert_str_eq(list_keys(",\"limit\":1"), "row/a >row/a");
    cr_assert_str_eq(list_keys(",\"after\":\"row/b3\",\"prefix\":\"row\""), "row/c");
}

/* ------------------------------------------------------------------ events */

/* Positions of a page: "3 4 >4 of 9". */
static const char *positions_of_reply(void)
{
    static char positions[400];
    struct quipu_dagcbor_reader reader;
    uint64_t events = 0;
    size_t len = 0;
    quipu_dagcbor_reader_init(&reader, member(quipu_buf_slice(&reply), "events"));
    kit_assert_ok(&kit, quipu_dagcbor_read_list(&reader, &events, &kit.err));
    positions[0] = 0;
    for (uint64_t i = 0; i < events; i++) {
        struct quipu_slice event;
        kit_assert_ok(&kit, quipu_dagcbor_next_whole(&reader, &event, &kit.err));
        len += (size_t)snprintf(positions + len, sizeof positions - len, "%llu ",
                                (unsigned long long)number(event, "position"));
    }
    if (has("next")) {
        len += (size_t)snprintf(positions + len, sizeof positions - len, ">%llu ",
                                (unsigned long long)number(quipu_buf_slice(&reply), "next"));
    }
    (void)snprintf(positions + len, sizeof positions - len, "of %llu",
                   (unsigned long long)number(quipu_buf_slice(&reply), "last"));
    return positions;
}

static const char *positions(const char *rest)
{
    char request[300];
    (void)snprintf(request, sizeof request, "{\"query\":\"events\"%s}", rest);
    kit_assert_ok(&kit, ask(request));
    return positions_of_reply();
}

Test(query, lists_events_in_either_order_and_goes_on)
{
    cr_assert_str_eq(positions(""), "of 0");
    for (int i = 0; i < 6; i++) {
        kit_append(&kit, i % 2 == 0 ? "even" : "odd", i);
    }

    cr_assert_str_eq(positions(""), "1 2 3 4 5 6 of 6");
    cr_assert_str_eq(positions(",\"limit\":2"), "1 2 >2 of 6");
    cr_assert_str_eq(positions(",\"limit\":2,\"after\":2"), "3 4 >4 of 6");
    cr_assert_str_eq(positions(",\"limit\":2,\"after\":4"), "5 6 of 6");
    cr_assert_str_eq(positions(",\"after\":6"), "of 6");
    cr_assert_str_eq(positions(",\"after\":99"), "of 6");
    cr_assert_str_eq(positions(",\"order\":\"newest\",\"limit\":4"), "6 5 4 3 >3 of 6");
    cr_assert_str_eq(positions(",\"order\":\"newest\",\"limit\":4,\"after\":3"), "2 1 of 6");
    cr_assert_str_eq(positions(",\"order\":\"newest\",\"after\":1"), "of 6");
    cr_assert_str_eq(positions(",\"order\":\"newest\",\"after\":99,\"limit\":1"), "6 >6 of 6");
    cr_assert_str_eq(positions(",\"since\":2,\"until\":4"), "2 3 4 of 6");
    cr_assert_str_eq(positions(",\"since\":2,\"until\":4,\"after\":2"), "3 4 of 6");
    cr_assert_str_eq(positions(",\"since\":4,\"after\":2"), "4 5 6 of 6");
    cr_assert_str_eq(positions(",\"since\":2,\"until\":4,\"order\":\"newest\",\"after\":4"),
                     "3 2 of 6");
    cr_assert_str_eq(positions(",\"since\":5,\"until\":4"), "of 6");
    cr_assert_str_eq(positions(",\"aggregate_type\":\"thing\",\"aggregate_id\":\"odd\""),
                     "2 4 6 of 6");
    cr_assert_str_eq(positions(",\"aggregate_type\":\"thing\",\"aggregate_id\":\"odd\","
                               "\"from_version\":3"),
                     "6 of 6");
    cr_assert_str_eq(positions(",\"event_type\":\"thing.changed\",\"limit\":1"), "1 >1 of 6");
    cr_assert_str_eq(positions(",\"event_type\":\"thing.other\""), "of 6");
}

Test(query, finds_the_events_of_one_correlation)
{
    struct quipu_event event = kit_event(&kit, "a", 1);
    event.correlation_id = kit_uuid(9);
    kit_append(&kit, "a", 0);
    kit_assert_ok(&kit, quipu_append(kit.engine, &event, NULL, &kit.err));
    char id[QUIPU_UUID_TEXT_BYTES];
    char rest[100];
    quipu_uuid_format(kit_uuid(9), id);
    (void)snprintf(rest, sizeof rest, ",\"correlation_id\":\"%s\"", id);

    cr_assert_str_eq(positions(rest), "2 of 2");
}

Test(query, searches_a_span_at_a_time_and_says_where_to_go_on, .timeout = 120)
{
    enum { BATCH = 10000 };
    struct quipu_event *events = calloc(BATCH, sizeof *events);
    struct quipu_event needle = kit_event(&kit, "needle", 1);
    cr_assert_not_null(events);
    needle.aggregate.type = "needle";
    kit_assert_ok(&kit, quipu_append(kit.engine, &needle, NULL, &kit.err));
    for (int i = 0; i < BATCH; i++) {
        events[i] = kit_event(&kit, "hay", 1);
        events[i].payload = kit_block(&kit, "1");
    }
    for (uint64_t done = 0; done < QUIPU_QUERY_SPAN_MAX; done += BATCH) {
        kit_assert_ok(&kit, quipu_append_batch(kit.engine, events, BATCH, NULL, NULL, &kit.err));
    }
    needle = kit_event(&kit, "needle", 2);
    needle.aggregate.type = "needle";
    kit_assert_ok(&kit, quipu_append(kit.engine, &needle, NULL, &kit.err));
    free(events);

    cr_assert_str_eq(positions(",\"aggregate_type\":\"needle\""), "1 >100000 of 100002");
    cr_assert_str_eq(positions(",\"aggregate_type\":\"needle\",\"after\":100000"),
                     "100002 of 100002");
    cr_assert_str_eq(positions(",\"aggregate_type\":\"needle\",\"order\":\"newest\""),
                     "100002 >3 of 100002");
    cr_assert_str_eq(positions(",\"aggregate_type\":\"needle\",\"order\":\"newest\",\"after\":3"),
                     "1 of 100002");
    /* An index leads there: no need to go on. */
    cr_assert_str_eq(positions(",\"aggregate_type\":\"needle\",\"aggregate_id\":\"needle\""),
                     "1 100002 of 100002");
}

/* ------------------------------------------------------------------ sizes */

Test(query, ends_a_page_where_the_reply_would_become_too_long)
{
    char json[2100];
    memset(json, 'x', sizeof json);
    memcpy(json, "{\"n\":\"", 6);
    memcpy(json + sizeof json - 3, "\"}", 3);
    for (int i = 0; i < 3; i++) {
        char id[2] = {(char)('a' + i), 0};
        struct quipu_event event = kit_event(&kit, id, i);
        event.payload = kit_block(&kit, json);
        kit_assert_ok(&kit, quipu_append(kit.engine, &event, NULL, &kit.err));
    }
    replay(QUIPU_REPLAY_CATCH_UP);

    kit_assert_ok(&kit, ask_within("{\"query\":\"events\"}", 8192));
    cr_assert_str_eq(positions_of_reply(), "1 2 >2 of 3");
    cr_assert_leq(reply.len, 8192);
    kit_assert_ok(&kit, ask_within("{\"query\":\"list\",\"projection\":\"mirror\"}", 8192));
    cr_assert(has("next"));
    cr_assert_leq(reply.len, 8192);

    cr_assert_eq(ask_within("{\"query\":\"events\",\"after\":1}", 4096), QUIPU_TOO_LARGE);
    cr_assert_not_null(strstr(kit.err.message, "position 2: "), "%s", kit.err.message);
    cr_assert_eq(ask_within("{\"query\":\"list\",\"projection\":\"mirror\"}", 4096),
                 QUIPU_TOO_LARGE);
    cr_assert_not_null(strstr(kit.err.message, "row \"row/a\": "), "%s", kit.err.message);
    cr_assert_eq(reply.len, 0);
}

Test(query, holds_its_options_against_their_limits)
{
    struct quipu_query query = {.kind = QUIPU_QUERY_STATUS};
    struct quipu_query_options options = QUIPU_QUERY_OPTIONS_INIT;
    static const struct {
        size_t max;
        enum quipu_status status;
    } cases[] = {
        {0, QUIPU_OK},
        {QUIPU_QUERY_REPLY_BYTES_MIN - 1, QUIPU_MISUSE},
        {QUIPU_QUERY_REPLY_BYTES_MIN, QUIPU_OK},
        {QUIPU_QUERY_REPLY_BYTES_MAX, QUIPU_OK},
        {QUIPU_QUERY_REPLY_BYTES_MAX + 1, QUIPU_MISUSE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        options.reply_bytes_max = cases[i].max;
        cr_assert_eq(quipu_query_run(kit.engine, &query, &options, &reply, &kit.err),
                     cases[i].status, "%zu", cases[i].max);
    }
    options.reply_bytes_max = 0;
    options.size--;
    cr_assert_eq(quipu_query_run(kit.engine, &query, &options, &reply, &kit.err), QUIPU_MISUSE);
    query.limit = 1;
    cr_assert_eq(quipu_query_run(kit.engine, &query, NULL, &reply, &kit.err), QUIPU_INVALID);
}

/* ------------------------------------------------------------------ while others write */

enum { ROUNDS = 40, ROWS = 200 };

static atomic_bool is_over;
static atomic_int failures;

static void *append_and_rebuild(void *ctx)
{
    (void)ctx;
    struct quipu_error err;
    for (int round = 0; !atomic_load(&is_over); round++) {
        for (int i = 0; i < 5; i++) {
            char id[16];
            char payload[] = {0x01}; /* the integer 1 */
            (void)snprintf(id, sizeof id, "%03d", (round * 7 + i * 31) % ROWS);
            struct quipu_event event = {.type = "thing.changed",
                                        .aggregate = {"thing", id},
                                        .payload = quipu_slice(payload, sizeof payload)};
            if (quipu_append(kit.engine, &event, NULL, &err) != QUIPU_OK) {
                atomic_fetch_add(&failures, 1);
            }
        }
        if (quipu_replay(kit.engine, &mirrored,
                         round % 3 == 0 ? QUIPU_REPLAY_REBUILD : QUIPU_REPLAY_CATCH_UP, NULL,
                         &err) != QUIPU_OK) {
            atomic_fetch_add(&failures, 1);
        }
    }
    return NULL;
}

/* Go over all pages of rows; each of the ROWS keys must be met once, in order. */
static void read_all_rows(struct quipu_buf *request)
{
    uint64_t met = 0;
    struct quipu_buf next = QUIPU_BUF_INIT;
    do {
        struct quipu_query query = {.kind = QUIPU_QUERY_LIST,
                                    .limit = 17,
                                    .projection = quipu_slice_text("mirror"),
                                    .prefix = quipu_slice_text("row/"),
                                    .after_key = quipu_buf_slice(&next)};
        quipu_buf_reset(request);
        kit_assert_ok(&kit, quipu_query_encode(&query, request, &kit.err));
        quipu_buf_reset(&reply);
        kit_assert_ok(
            &kit, quipu_query_answer(kit.engine, quipu_buf_slice(request), NULL, &reply, &kit.err));
        struct quipu_dagcbor_reader reader;
        uint64_t rows = 0;
        quipu_dagcbor_reader_init(&reader, member(quipu_buf_slice(&reply), "rows"));
        kit_assert_ok(&kit, quipu_dagcbor_read_list(&reader, &rows, &kit.err));
        for (uint64_t i = 0; i < rows; i++) {
            char expected[16];
            struct quipu_slice row;
            kit_assert_ok(&kit, quipu_dagcbor_next_whole(&reader, &row, &kit.err));
            int len = snprintf(expected, sizeof expected, "%crow/%03llu", 0x67,
                               (unsigned long long)met++);
            cr_assert(quipu_slice_equal(member(row, "key"), quipu_slice(expected, (size_t)len)),
                      "row %llu of the walk is another one", (unsigned long long)met);
        }
        quipu_buf_reset(&next);
        if (has("next")) {
            struct quipu_slice key = member(quipu_buf_slice(&reply), "next");
            quipu_buf_append(&next, key.data + 1, key.len - 1);
        }
    } while (next.len > 0);
    cr_assert_eq(met, ROWS);
    quipu_buf_release(&next);
}

/* Go over all pages of events; positions must be 1, 2, 3 … to the end of the last page. */
static void read_all_events(void)
{
    uint64_t met = 0;
    bool goes_on = true;
    while (goes_on) {
        char request[100];
        (void)snprintf(request, sizeof request,
                       "{\"query\":\"events\",\"limit\":50,\"after\":%llu}",
                       (unsigned long long)met);
        kit_assert_ok(&kit, ask(request));
        struct quipu_dagcbor_reader reader;
        uint64_t events = 0;
        quipu_dagcbor_reader_init(&reader, member(quipu_buf_slice(&reply), "events"));
        kit_assert_ok(&kit, quipu_dagcbor_read_list(&reader, &events, &kit.err));
        for (uint64_t i = 0; i < events; i++) {
            struct quipu_slice event;
            kit_assert_ok(&kit, quipu_dagcbor_next_whole(&reader, &event, &kit.err));
            cr_assert_eq(number(event, "position"), ++met);
        }
        goes_on = has("next");
        cr_assert_eq(goes_on ? number(quipu_buf_slice(&reply), "next")
                             : number(quipu_buf_slice(&reply), "last"),
                     met);
    }
}

Test(query, pages_have_no_gaps_and_no_doubles_while_others_write, .timeout = 120)
{
    struct quipu_buf request = QUIPU_BUF_INIT;
    pthread_t writer;
    for (int i = 0; i < ROWS; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "%03d", i);
        kit_append(&kit, id, i);
    }
    replay(QUIPU_REPLAY_CATCH_UP);
    atomic_store(&is_over, false);
    cr_assert_eq(pthread_create(&writer, NULL, append_and_rebuild, NULL), 0);

    for (int round = 0; round < ROUNDS; round++) {
        read_all_rows(&request);
        read_all_events();
    }

    atomic_store(&is_over, true);
    cr_assert_eq(pthread_join(writer, NULL), 0);
    cr_assert_eq(atomic_load(&failures), 0);
    quipu_buf_release(&request);
}

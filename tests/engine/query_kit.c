/*
 * The suite "query".
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "query_kit.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "quipu/dagcbor.h"
#include "quipu/dagjson.h"

struct kit kit;
struct quipu_buf reply;
static struct quipu_buf text;

static void setup(void)
{
    kit_open(&kit);
    reply = (struct quipu_buf)QUIPU_BUF_INIT;
    text = (struct quipu_buf)QUIPU_BUF_INIT;
}

static void teardown(void)
{
    quipu_buf_release(&reply);
    quipu_buf_release(&text);
    kit_close(&kit);
}

TestSuite(query, .init = setup, .fini = teardown);

enum quipu_status ask_within(const char *json, size_t reply_bytes_max)
{
    struct quipu_query_options options = QUIPU_QUERY_OPTIONS_INIT;
    options.reply_bytes_max = reply_bytes_max;
    quipu_buf_reset(&reply);
    return quipu_query_answer(kit.engine, kit_block(&kit, json), &options, &reply, &kit.err);
}

enum quipu_status ask(const char *json)
{
    return ask_within(json, 0);
}

const char *reply_json(void)
{
    quipu_buf_reset(&text);
    kit_assert_ok(&kit, quipu_dagjson_from_dagcbor(quipu_buf_slice(&reply), &text, &kit.err));
    quipu_buf_append_byte(&text, 0);
    return (const char *)text.data;
}

struct quipu_slice member(struct quipu_slice map, const char *key)
{
    struct quipu_slice value = {NULL, 0};
    kit_assert_ok(&kit, quipu_dagcbor_map_get(map, key, &value, &kit.err));
    return value;
}

uint64_t number(struct quipu_slice map, const char *key)
{
    struct quipu_dagcbor_reader reader;
    uint64_t value = 0;
    quipu_dagcbor_reader_init(&reader, member(map, key));
    kit_assert_ok(&kit, quipu_dagcbor_read_uint(&reader, &value, &kit.err));
    return value;
}

static enum quipu_status mirror(void *ctx, struct quipu_rows *rows,
                                const struct quipu_event_view *event, struct quipu_error *err)
{
    (void)ctx;
    char key[300];
    int len = snprintf(key, sizeof key, "row/%.*s", QUIPU_SLICE_FMT(event->envelope.aggregate_id));
    enum quipu_status status =
        quipu_rows_put(rows, quipu_slice(key, (size_t)len), event->payload, err);
    return status == QUIPU_OK
               ? quipu_rows_put(rows, quipu_slice("\xff", 1), quipu_slice("\xff\x00", 2), err)
               : status;
}

const struct quipu_projection mirrored = {.name = "mirror", .version = 3, .apply = mirror};

void replay(enum quipu_replay_mode mode)
{
    kit_assert_ok(&kit, quipu_replay(kit.engine, &mirrored, mode, NULL, &kit.err));
}

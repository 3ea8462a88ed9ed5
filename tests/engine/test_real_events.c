/*
 * 3,288 real events of a public root-signing ceremony: in as JSON lines, in again as duplicates,
 * out as JSON. Skipped where the data is not beside the project.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine_kit.h"
#include "quipu/dagcbor.h"
#include "quipu/dagjson.h"

enum { REAL_EVENTS = 3288 };

static struct kit kit;

static FILE *open_events(void)
{
    char path[1024];
    char command[1100];
    const char *shared = getenv("QUIPU_SHARED_DIR");
    (void)snprintf(path, sizeof path, "%s/data/root-signing.events.jsonl.gz",
                   shared == NULL ? "" : shared);
    if (shared == NULL || access(path, R_OK) != 0) {
        cr_skip("skipped: no root-signing.events.jsonl.gz in QUIPU_SHARED_DIR");
    }
    (void)snprintf(command, sizeof command, "zcat '%s'", path);
    return popen(command, "r");
}

/* Append all lines; how many were duplicates. */
static uint64_t append_all(void)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    uint64_t lines = 0;
    uint64_t duplicates = 0;
    struct quipu_event_arena arena = {0};
    FILE *file = open_events();
    while ((len = getline(&line, &cap, file)) > 0) {
        struct quipu_event event;
        struct quipu_appended appended;
        lines++;
        kit_assert_ok(
            &kit, quipu_event_from_json(quipu_slice(line, (size_t)len), &arena, &event, &kit.err));
        kit_assert_ok(&kit, quipu_append(kit.engine, &event, &appended, &kit.err));
        cr_assert_eq(appended.position, lines);
        duplicates += appended.was_duplicate;
    }
    cr_assert_eq(lines, REAL_EVENTS);
    (void)pclose(file);
    free(line);
    quipu_event_arena_release(&arena);
    return duplicates;
}

static enum quipu_status show(void *ctx, const struct quipu_event_view *event,
                              struct quipu_error *err)
{
    /* The line is DAG-JSON, and the payload in it is the payload that is stored. */
    struct quipu_buf *json = ctx;
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct quipu_slice payload;
    quipu_buf_reset(json);
    kit_assert_ok(&kit, quipu_event_to_json(event, json, err));
    kit_assert_ok(&kit, quipu_dagjson_to_dagcbor(quipu_buf_slice(json), &block, err));
    kit_assert_ok(&kit, quipu_dagcbor_map_get(quipu_buf_slice(&block), "payload", &payload, err));
    cr_assert(quipu_slice_equal(payload, event->payload));
    quipu_buf_release(&block);
    return QUIPU_OK;
}

Test(real_events, go_in_once_and_come_out_whole, .timeout = 120)
{
    struct quipu_buf json = QUIPU_BUF_INIT;
    kit_open(&kit);
    cr_assert_eq(append_all(), 0);
    kit_assert_sound(&kit, REAL_EVENTS);
    kit_reopen(&kit);
    cr_assert_eq(append_all(), REAL_EVENTS);
    kit_assert_sound(&kit, REAL_EVENTS);
    kit_assert_ok(&kit, quipu_each_event(kit.engine, NULL, show, &json, &kit.err));
    quipu_buf_release(&json);
    kit_close(&kit);
}

/* Record that a key was generated; read the history back into a state. SPDX-License-Identifier:
 * Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "quipu/dagcbor.h"
#include "quipu/engine.h"
#include "quipu/projection.h"

static void check(enum quipu_status status, const struct quipu_error *err)
{
    if (status != QUIPU_OK) {
        fprintf(stderr, "%s: %s\n", quipu_status_text(status), err->message);
        exit(1);
    }
}

/* State: one row per key, holding what happened to it last. Rows and checkpoint commit together. */
static enum quipu_status remember(void *ctx, struct quipu_rows *rows,
                                  const struct quipu_event_view *event, struct quipu_error *err)
{
    (void)ctx;
    return quipu_rows_put(rows, event->envelope.aggregate_id, event->envelope.event_type, err);
}

int main(int argc, char **argv)
{
    struct quipu_store *store;
    struct quipu_engine *engine;
    struct quipu_error err;
    check(quipu_store_open(argc > 1 ? argv[1] : "ceremony.quipu", NULL, &store, &err), &err);
    check(quipu_engine_open(store, NULL, &engine, &err), &err);

    struct quipu_buf payload = QUIPU_BUF_INIT; /* {"algorithm": "Ed25519"} */
    struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, &payload);
    quipu_dagcbor_write_map(&writer, 1);
    quipu_dagcbor_write_key(&writer, "algorithm");
    quipu_dagcbor_write_text(&writer, quipu_slice_text("Ed25519"));
    check(quipu_dagcbor_writer_finish(&writer, &err), &err);

    struct quipu_event event = {.type = "key.generated",
                                .aggregate = {"key", "root-2026"},
                                .payload = quipu_buf_slice(&payload),
                                .expected = quipu_expect_no_stream()};
    struct quipu_appended appended;
    check(quipu_append(engine, &event, &appended, &err), &err); /* durable when it returns */

    char cid[QUIPU_CID_TEXT_BYTES];
    quipu_cid_format(&appended.cid, cid);
    printf("position %llu, %s\n", (unsigned long long)appended.position, cid);

    struct quipu_projection keys = {.name = "keys", .version = 1, .apply = remember};
    struct quipu_replay_report report;
    check(quipu_replay(engine, &keys, QUIPU_REPLAY_CATCH_UP, &report, &err), &err);
    printf("%llu key in the state\n", (unsigned long long)report.rows);

    quipu_buf_release(&payload);
    quipu_engine_close(&engine);
    quipu_store_close(&store);
    return 0;
}

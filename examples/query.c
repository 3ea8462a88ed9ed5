/*
 * Queries: a request in, a reply out, both DAG-CBOR, shown here as DAG-JSON. One row, all rows page
 * by page, and how the store is. Only reads. Prints:
 *
 *     {"key":"key/root","position":5,"projection":"owners",…,"value":{"owner":"alice"},"version":1}
 *     {"error":{"line":"projection owners has no row \"key/none\"",…,"status":"NOT_FOUND"},"v":1}
 *     page: key/backup key/escrow
 *     page: key/root key/signing
 *     page: key/timestamp
 *     {"forks":…,"projections":[{"lag":0,"name":"owners",…}],…,"store":{…,"events":5,…},"v":1}
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/query.h"
#include "example.h"
#include "quipu/dagcbor.h"
#include "quipu/projection.h"

/* What there is to ask about: one row per key, "key/ID", holding the payload as it is. */
static enum quipu_status remember(void *ctx, struct quipu_rows *rows,
                                  const struct quipu_event_view *event, struct quipu_error *err)
{
    (void)ctx;
    char key[sizeof "key/" + QUIPU_AGGREGATE_ID_BYTES_MAX];
    snprintf(key, sizeof key, "key/%.*s", QUIPU_SLICE_FMT(event->envelope.aggregate_id));
    return quipu_rows_put(rows, quipu_slice_text(key), event->payload, err);
}

/* The text that is one member of a reply, or of a row in it. */
static enum quipu_status text_of(struct quipu_slice map, const char *member,
                                 struct quipu_slice *out, struct quipu_error *err)
{
    struct quipu_slice item;
    struct quipu_dagcbor_reader reader;
    enum quipu_status status = quipu_dagcbor_map_get(map, member, &item, err);
    if (status != QUIPU_OK) {
        return status;
    }
    quipu_dagcbor_reader_init(&reader, item);
    return quipu_dagcbor_read_text(&reader, out, err);
}

static void print_keys(const struct quipu_buf *reply)
{
    struct quipu_error err;
    struct quipu_slice item;
    struct quipu_slice key;
    struct quipu_dagcbor_reader reader;
    uint64_t rows;
    check(quipu_dagcbor_map_get(quipu_buf_slice(reply), "rows", &item, &err), &err);
    quipu_dagcbor_reader_init(&reader, item);
    check(quipu_dagcbor_read_list(&reader, &rows, &err), &err);
    printf("page:");
    for (; rows > 0; rows--) { /* {"key": …, "value": …} */
        check(quipu_dagcbor_next_whole(&reader, &item, &err), &err);
        check(text_of(item, "key", &key, &err), &err);
        printf(" %.*s", QUIPU_SLICE_FMT(key));
    }
    printf("\n");
}

/* A page ends at its limit, or before the reply becomes too long. Where there is more, the reply
 * has `next`: going on behind it, no row is missed and none comes twice. */
static void print_pages(struct quipu_engine *engine)
{
    struct quipu_error err;
    struct quipu_buf replies[2] = {QUIPU_BUF_INIT, QUIPU_BUF_INIT}; /* `next` is in the other one */
    struct quipu_query query = {.kind = QUIPU_QUERY_LIST,
                                .projection = quipu_slice_text("owners"),
                                .prefix = quipu_slice_text("key/"),
                                .limit = 2};
    enum quipu_status status = QUIPU_OK;
    for (int page = 0; status == QUIPU_OK; page++) {
        struct quipu_buf *reply = &replies[page % 2];
        quipu_buf_reset(reply);
        check(quipu_query_run(engine, &query, NULL, reply, &err), &err);
        print_keys(reply);
        status = text_of(quipu_buf_slice(reply), "next", &query.after_key, &err);
    }
    check(status == QUIPU_NOT_FOUND ? QUIPU_OK : status, &err);
    quipu_buf_release(&replies[0]);
    quipu_buf_release(&replies[1]);
}

/* A service does no more than this with what it is sent; see also `quipu query` and `quipu serve`.
 */
static void answer(struct quipu_engine *engine, const char *json)
{
    struct quipu_error err;
    struct quipu_buf request = QUIPU_BUF_INIT;
    struct quipu_buf reply = QUIPU_BUF_INIT;
    check(quipu_dagjson_to_dagcbor(quipu_slice_text(json), &request, &err), &err);
    enum quipu_status status =
        quipu_query_answer(engine, quipu_buf_slice(&request), NULL, &reply, &err);
    if (status != QUIPU_OK) { /* also a reply: {"error": …} */
        check(quipu_query_failure(status, &err, &reply, &err), &err);
    }
    print_json("", quipu_buf_slice(&reply));
    quipu_buf_release(&reply);
    quipu_buf_release(&request);
}

int main(int argc, char **argv)
{
    struct quipu_engine *engine = open_engine(argc > 1 ? argv[1] : "keys.quipu");
    struct quipu_error err;
    static const char *const keys[] = {"root", "backup", "signing", "escrow", "timestamp"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        struct quipu_event event = {.type = "key.assigned", .aggregate = {"key", keys[i]}};
        check(append_json(engine, event, "{\"owner\":\"alice\"}", &err), &err);
    }
    struct quipu_projection owners = {.name = "owners", .version = 1, .apply = remember};
    check(quipu_replay(engine, &owners, QUIPU_REPLAY_CATCH_UP, NULL, &err), &err);

    answer(engine, "{\"query\":\"get\",\"projection\":\"owners\",\"key\":\"key/root\"}");
    answer(engine, "{\"query\":\"get\",\"projection\":\"owners\",\"key\":\"key/none\"}");
    print_pages(engine);
    answer(engine, "{\"query\":\"status\"}");

    close_engine(engine);
    return 0;
}

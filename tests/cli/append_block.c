/*
 * Appends one event whose payload, and meta where it is given, are these blocks of DAG-CBOR: also
 * such as no line of JSON can bring.
 *   append_block STORE AGGREGATE_ID PAYLOAD-HEX [META-HEX]
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>

#include "quipu/engine.h"
#include "quipu/text.h"

static void check(enum quipu_status status, const struct quipu_error *err)
{
    if (status != QUIPU_OK) {
        (void)fprintf(stderr, "append_block: %s\n", err->message);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    struct quipu_error err = {.message = "not hexadecimal"};
    struct quipu_store *store = NULL;
    struct quipu_engine *engine = NULL;
    struct quipu_buf payload = QUIPU_BUF_INIT;
    struct quipu_buf meta = QUIPU_BUF_INIT;
    if (argc != 4 && argc != 5) {
        (void)fprintf(stderr, "usage: append_block STORE AGGREGATE_ID PAYLOAD-HEX [META-HEX]\n");
        return 2;
    }
    check(quipu_hex_decode(&payload, quipu_slice_text(argv[3])), &err);
    if (argc == 5) {
        check(quipu_hex_decode(&meta, quipu_slice_text(argv[4])), &err);
    }
    check(quipu_store_open(argv[1], NULL, &store, &err), &err);
    check(quipu_engine_open(store, NULL, &engine, &err), &err);
    struct quipu_event event = {.type = "note.written",
                                .aggregate = {"note", argv[2]},
                                .payload = quipu_buf_slice(&payload),
                                .meta = quipu_buf_slice(&meta)};
    check(quipu_append(engine, &event, NULL, &err), &err);
    quipu_engine_close(&engine);
    quipu_store_close(&store);
    quipu_buf_release(&payload);
    quipu_buf_release(&meta);
    return 0;
}

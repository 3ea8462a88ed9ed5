/*
 * IPLD's codec fixtures, one CAR with each value in several codecs: every DAG-JSON block must give
 * the very DAG-CBOR block that stands beside it, and come back letter for letter. Skipped where the
 * shared vectors are absent.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "quipu/car.h"
#include "quipu/dagjson.h"
#include "quipu/multihash.h"

#define FIXTURE "vectors/cid/car/codec-fixtures.car"

struct fixture {
    uint64_t codec;
    struct quipu_cid as_dag_cbor; /* what the block's CID is, or would be, under dag-cbor */
    struct quipu_buf block;
};

struct fixtures {
    struct fixture items[1000];
    size_t count;
};

static void fixtures_read(struct fixtures *out, int fd)
{
    struct quipu_car_reader *reader = NULL;
    struct quipu_car_block block;
    cr_assert_eq(quipu_car_reader_open(quipu_source_fd(&fd), NULL, &reader, NULL), QUIPU_OK);
    enum quipu_status status;
    while ((status = quipu_car_next(reader, &block, NULL)) == QUIPU_OK) {
        cr_assert(block.is_verified);
        cr_assert_lt(out->count, sizeof out->items / sizeof out->items[0]);
        struct fixture *fixture = &out->items[out->count++];
        fixture->codec = block.cid.codec;
        fixture->as_dag_cbor = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, block.block);
        quipu_buf_append_slice(&fixture->block, block.block);
    }
    cr_assert_eq(status, QUIPU_DONE);
    quipu_car_reader_close(&reader);
}

static bool has_dag_cbor(const struct fixtures *fixtures, const struct quipu_cid *cid)
{
    for (size_t i = 0; i < fixtures->count; i++) {
        if (fixtures->items[i].codec == QUIPU_CODEC_DAG_CBOR &&
            quipu_cid_equal(&fixtures->items[i].as_dag_cbor, cid)) {
            return true;
        }
    }
    return false;
}

static void check_json(const struct fixtures *fixtures, struct quipu_slice json)
{
    struct quipu_buf cbor = QUIPU_BUF_INIT;
    struct quipu_buf back = QUIPU_BUF_INIT;
    struct quipu_error err = {.message = ""};

    cr_assert_eq(quipu_dagjson_to_dagcbor(json, &cbor, &err), QUIPU_OK, "%.*s: %s",
                 QUIPU_SLICE_FMT(json), err.message);
    struct quipu_cid cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_buf_slice(&cbor));
    cr_assert(has_dag_cbor(fixtures, &cid), "%.*s", QUIPU_SLICE_FMT(json));
    cr_assert_eq(quipu_dagjson_from_dagcbor(quipu_buf_slice(&cbor), &back, &err), QUIPU_OK);
    cr_assert(quipu_slice_equal(quipu_buf_slice(&back), json), "%.*s, not %.*s",
              QUIPU_SLICE_FMT(quipu_buf_slice(&back)), QUIPU_SLICE_FMT(json));

    quipu_buf_release(&cbor);
    quipu_buf_release(&back);
}

Test(codec_fixtures, dag_json_and_dag_cbor_are_the_same_values)
{
    const char *shared = getenv("QUIPU_SHARED_DIR");
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/" FIXTURE, shared == NULL ? "" : shared);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        cr_skip_test("no shared vectors here");
    }
    uint64_t dag_json;
    cr_assert_eq(quipu_codec_find(quipu_slice_text("dag-json"), &dag_json), QUIPU_OK);
    struct fixtures *fixtures = calloc(1, sizeof *fixtures);
    fixtures_read(fixtures, fd);
    size_t checked = 0;

    for (size_t i = 0; i < fixtures->count; i++) {
        if (fixtures->items[i].codec == dag_json) {
            check_json(fixtures, quipu_buf_slice(&fixtures->items[i].block));
            checked++;
        }
    }

    cr_assert_geq(checked, 100);
    for (size_t i = 0; i < fixtures->count; i++) {
        quipu_buf_release(&fixtures->items[i].block);
    }
    free(fixtures);
    (void)close(fd);
}

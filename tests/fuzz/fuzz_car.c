/*
 * Property: a CAR that is read to its end is, section by section, the bytes that were read; in
 * whatever pieces the source gives it; and a CAR of quipu's own profile is what quipu would write.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "fuzz.h"
#include "quipu/car.h"
#include "quipu/dagcbor.h"
#include "quipu/varint.h"

/* A source that gives few bytes at a time. */
struct drip {
    struct quipu_slice rest;
    size_t step;
};

static enum quipu_status drip_read(void *ctx, void *into, size_t cap, size_t *got,
                                   struct quipu_error *err)
{
    (void)err;
    struct drip *drip = ctx;
    size_t take = drip->rest.len < drip->step ? drip->rest.len : drip->step;
    take = take < cap ? take : cap;
    if (take > 0) {
        memcpy(into, drip->rest.data, take);
        drip->rest.data += take;
        drip->rest.len -= take;
    }
    *got = take;
    return QUIPU_OK;
}

/* The header that names these roots, from the specification and not by the library's CAR writer. */
static void append_header(struct quipu_buf *out, const struct quipu_car_reader *reader)
{
    struct quipu_buf header = QUIPU_BUF_INIT;
    struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, &header);
    quipu_dagcbor_write_map(&writer, 2);
    quipu_dagcbor_write_key(&writer, "roots");
    quipu_dagcbor_write_list(&writer, quipu_car_root_count(reader));
    for (size_t i = 0; i < quipu_car_root_count(reader); i++) {
        quipu_dagcbor_write_link_view(&writer, quipu_car_root(reader, i));
    }
    quipu_dagcbor_write_key(&writer, "version");
    quipu_dagcbor_write_uint(&writer, 1);
    FUZZ_REQUIRE(quipu_dagcbor_writer_finish(&writer, NULL) == QUIPU_OK);
    quipu_varint_append(out, header.len);
    quipu_buf_append_slice(out, quipu_buf_slice(&header));
    quipu_buf_release(&header);
}

/* The same by the library's writer; false where a root is of another profile. */
static int write_own_header(struct quipu_buf *out, const struct quipu_car_reader *reader)
{
    size_t count = quipu_car_root_count(reader);
    struct quipu_cid *roots = calloc(count + 1, sizeof *roots);
    int is_own = count > 0;
    for (size_t i = 0; i < count && is_own; i++) {
        is_own = quipu_cid_from_view(quipu_car_root(reader, i), &roots[i], NULL) == QUIPU_OK;
    }
    if (is_own) {
        FUZZ_REQUIRE(quipu_car_write_header(quipu_sink_buf(out), roots, count, NULL) == QUIPU_OK);
    }
    free(roots);
    return is_own;
}

/* Read it all; `again` receives what was read, `own` what quipu would write of it. */
static enum quipu_status read_car(struct quipu_source source, struct quipu_buf *again,
                                  struct quipu_buf *own, int *is_own, struct quipu_error *err)
{
    struct quipu_car_reader *reader = NULL;
    enum quipu_status status = quipu_car_reader_open(source, NULL, &reader, err);
    if (status != QUIPU_OK) {
        FUZZ_REQUIRE(reader == NULL);
        return status;
    }
    append_header(again, reader);
    *is_own = write_own_header(own, reader);
    for (;;) {
        struct quipu_car_block block;
        status = quipu_car_next(reader, &block, err);
        if (status != QUIPU_OK) {
            break;
        }
        FUZZ_REQUIRE(block.offset == again->len);
        FUZZ_REQUIRE(!block.is_verified ||
                     quipu_cid_view_verify(&block.cid, block.block, NULL) == QUIPU_OK);
        quipu_varint_append(again, block.cid.bytes.len + block.block.len);
        quipu_buf_append_slice(again, block.cid.bytes);
        quipu_buf_append_slice(again, block.block);
        struct quipu_cid cid;
        *is_own = *is_own && quipu_cid_from_view(&block.cid, &cid, NULL) == QUIPU_OK;
        if (*is_own) {
            FUZZ_REQUIRE(quipu_car_write_block(quipu_sink_buf(own), &cid, block.block, NULL) ==
                         QUIPU_OK);
        }
    }
    FUZZ_REQUIRE(quipu_car_roots_missing(reader) <= quipu_car_root_count(reader));
    quipu_car_reader_close(&reader);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct quipu_slice rest = quipu_slice(data, size);
    struct quipu_buf again = QUIPU_BUF_INIT;
    struct quipu_buf own = QUIPU_BUF_INIT;
    struct quipu_buf pieces = QUIPU_BUF_INIT;
    struct quipu_buf unused = QUIPU_BUF_INIT;
    struct quipu_error err = {.offset = 0};
    int is_own = 0;
    enum quipu_status status = read_car(quipu_source_slice(&rest), &again, &own, &is_own, &err);
    if (status == QUIPU_DONE) {
        FUZZ_REQUIRE(quipu_slice_equal(quipu_buf_slice(&again), quipu_slice(data, size)));
        FUZZ_REQUIRE(!is_own || quipu_slice_equal(quipu_buf_slice(&own), quipu_slice(data, size)));
    } else {
        FUZZ_REQUIRE(status >= QUIPU_MISUSE && err.status == status);
        FUZZ_REQUIRE(err.offset <= size || err.offset == QUIPU_ERROR_NO_OFFSET);
    }

    struct drip drip = {quipu_slice(data, size), 1 + size % 7};
    FUZZ_REQUIRE(read_car((struct quipu_source){drip_read, &drip}, &pieces, &unused, &is_own,
                          NULL) == status);
    FUZZ_REQUIRE(quipu_slice_equal(quipu_buf_slice(&pieces), quipu_buf_slice(&again)));

    quipu_buf_release(&again);
    quipu_buf_release(&own);
    quipu_buf_release(&pieces);
    quipu_buf_release(&unused);
    return 0;
}

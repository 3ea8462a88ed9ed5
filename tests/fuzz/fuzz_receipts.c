/*
 * Property: a root, a statement or a chunk of receipts that is accepted is, byte for byte, what
 * quipu would write of it. The first byte of the input says which of them it is.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "fuzz.h"
#include "receipts_codec.h"

static struct quipu_travelled items[QUIPU_RECEIPTS_CHUNK];

static enum quipu_status recode(uint8_t kind, struct quipu_slice block, struct quipu_buf *again,
                                struct quipu_error *err)
{
    struct quipu_receipts_root root;
    struct quipu_receipts_statement statement;
    size_t count = 0;
    enum quipu_status status = QUIPU_OK;
    switch (kind % 3) {
    case 0:
        status = quipu_receipts_root_decode(block, &root, err);
        return status == QUIPU_OK ? quipu_receipts_root_encode(&root, again, err) : status;
    case 1:
        status = quipu_receipts_statement_decode(block, &statement, err);
        if (status == QUIPU_OK) {
            status = quipu_receipts_statement_encode(&statement, again, err);
            quipu_receipts_statement_release(&statement);
        }
        return status;
    default:
        status = quipu_receipts_chunk_decode(block, 2, items, &count, err);
        return status == QUIPU_OK ? quipu_receipts_chunk_encode(items, count, again, err) : status;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct quipu_buf again = QUIPU_BUF_INIT;
    struct quipu_error err = {.offset = 0};
    if (size == 0) {
        return 0;
    }
    struct quipu_slice block = quipu_slice(data + 1, size - 1);
    enum quipu_status status = recode(data[0], block, &again, &err);
    if (status == QUIPU_OK) {
        FUZZ_REQUIRE(quipu_slice_equal(quipu_buf_slice(&again), block));
    } else {
        FUZZ_REQUIRE(err.status == status && status != QUIPU_MISUSE);
    }
    quipu_buf_release(&again);
    return 0;
}

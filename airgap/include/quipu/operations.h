/*
 * The store's operations log: what went out of the store and what came in, when, by whom, under
 * which digest. One row for each, written in the transaction that it tells about where there is
 * one. Rows are never changed or removed.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_OPERATIONS_H
#define QUIPU_OPERATIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "quipu/cid.h"
#include "quipu/engine.h"
#include "quipu/sha256.h"
#include "quipu/store.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Kinds that the library records. Others are 1 to 32 of a-z and '-'. */
#define QUIPU_OPERATION_EXPORT          "export"
#define QUIPU_OPERATION_IMPORT          "import"
#define QUIPU_OPERATION_EXPORT_RECEIPTS "export-receipts"
#define QUIPU_OPERATION_IMPORT_RECEIPTS "import-receipts"
#define QUIPU_OPERATION_IMPORT_LINES    "import-lines"
#define QUIPU_OPERATION_RELEASE         "release"
/** The release in the row with the same manifest and digest before it did not get its name. */
#define QUIPU_OPERATION_RELEASE_UNDONE "release-undone"

#define QUIPU_OPERATION_KIND_BYTES_MAX 32
#define QUIPU_OPERATION_TEXT_BYTES_MAX 4096 /* of each text */

/** One row. Slices are borrowed: from the caller when it is recorded, during the callback when it
 * is read. Texts are UTF-8 without control characters, and empty where nothing is to be said. */
struct quipu_operation {
    uint64_t number; /* from 1, without gaps; given by the store */
    int64_t unix_us;
    struct quipu_slice kind;
    struct quipu_slice operator_name;
    struct quipu_slice reason;
    struct quipu_slice source;  /* NKey text of the store whose bundle it is */
    struct quipu_slice signers; /* names (signers.h) of those whose signatures held, with spaces */
    uint64_t bundle;            /* its number; 0: none */
    bool has_manifest;
    struct quipu_cid manifest;
    bool has_sha256;
    uint8_t sha256[QUIPU_SHA256_BYTES]; /* of the file in clear */
    uint64_t events;
    uint64_t added;
    uint64_t known;
    uint64_t missing; /* bundles whose absence was accepted, for `reason` */
};

/**
 * Write a row in a write transaction of the caller's; `operation->number` is not looked at.
 * @param number  What it got; may be NULL.
 * @retval QUIPU_INVALID    the kind is none, or a text holds control characters
 * @retval QUIPU_TOO_LARGE  a text over its limit
 * @retval QUIPU_CORRUPT, QUIPU_MISUSE (a read transaction), and as quipu_txn_table_put
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_operation_record(struct quipu_txn *txn, const struct quipu_operation *operation,
                       uint64_t *number, struct quipu_error *err);

typedef enum quipu_status (*quipu_operation_fn)(void *ctx, const struct quipu_operation *operation,
                                                struct quipu_error *err);

/**
 * Call `visit` for each row with a number greater than `after`, in order, within one read
 * transaction. QUIPU_DONE from it ends well; any other status ends with it.
 * @retval QUIPU_CORRUPT  a row is damaged; err names its number
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_each_operation(struct quipu_engine *engine, uint64_t after, quipu_operation_fn visit,
                     void *ctx, struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif

/*
 * The rows of the operations log: one DAG-CBOR map under each number.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/operations.h"

#include <inttypes.h>
#include <string.h>

#include "internal/bytes.h"
#include "quipu/dagcbor.h"
#include "quipu/text.h"

/* On disk, so it never changes; store.h says who has which numbers. */
#define TABLE_OPERATIONS ((struct quipu_table){0x102})

#define ROW_PAIRS 13u

/* ------------------------------------------------------------------ write */

static bool is_kind(struct quipu_slice kind)
{
    if (kind.len == 0 || kind.len > QUIPU_OPERATION_KIND_BYTES_MAX) {
        return false;
    }
    for (size_t i = 0; i < kind.len; i++) {
        if (kind.data[i] != '-' && (kind.data[i] < 'a' || kind.data[i] > 'z')) {
            return false;
        }
    }
    return true;
}

static enum quipu_status check(const struct quipu_operation *operation, struct quipu_error *err)
{
    const struct {
        const char *name;
        struct quipu_slice text;
    } texts[] = {
        {"operator", operation->operator_name},
        {"reason", operation->reason},
        {"source", operation->source},
        {"signers", operation->signers},
    };
    if (!is_kind(operation->kind)) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "an operation's kind is 1 to %d of a-z and '-', found %zu bytes",
                               QUIPU_OPERATION_KIND_BYTES_MAX, operation->kind.len);
    }
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (texts[i].text.len > QUIPU_OPERATION_TEXT_BYTES_MAX) {
            return quipu_error_set(err, QUIPU_TOO_LARGE, "an operation's %s: %zu bytes, limit %d",
                                   texts[i].name, texts[i].text.len,
                                   QUIPU_OPERATION_TEXT_BYTES_MAX);
        }
        if (!quipu_text_is_printable(texts[i].text)) {
            return quipu_error_set(err, QUIPU_INVALID,
                                   "an operation's %s is UTF-8 without control characters",
                                   texts[i].name);
        }
    }
    return QUIPU_OK;
}

static void write_uint(struct quipu_dagcbor_writer *writer, const char *key, uint64_t value)
{
    quipu_dagcbor_write_key(writer, key);
    quipu_dagcbor_write_uint(writer, value);
}

static void write_text(struct quipu_dagcbor_writer *writer, const char *key,
                       struct quipu_slice text)
{
    quipu_dagcbor_write_key(writer, key);
    quipu_dagcbor_write_text(writer, text);
}

static enum quipu_status encode(const struct quipu_operation *operation, struct quipu_buf *row,
                                struct quipu_error *err)
{
    struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, row);
    quipu_dagcbor_write_map(&writer, ROW_PAIRS);
    quipu_dagcbor_write_key(&writer, "at");
    quipu_dagcbor_write_int(&writer, operation->unix_us);
    write_text(&writer, "kind", operation->kind);
    write_uint(&writer, "added", operation->added);
    write_uint(&writer, "known", operation->known);
    write_uint(&writer, "bundle", operation->bundle);
    write_uint(&writer, "events", operation->events);
    write_text(&writer, "reason", operation->reason);
    quipu_dagcbor_write_key(&writer, "sha256");
    quipu_dagcbor_write_bytes(
        &writer, quipu_slice(operation->sha256, operation->has_sha256 ? QUIPU_SHA256_BYTES : 0));
    write_text(&writer, "source", operation->source);
    write_uint(&writer, "missing", operation->missing);
    write_text(&writer, "signers", operation->signers);
    quipu_dagcbor_write_key(&writer, "manifest");
    if (operation->has_manifest) {
        quipu_dagcbor_write_link(&writer, &operation->manifest);
    } else {
        quipu_dagcbor_write_null(&writer);
    }
    write_text(&writer, "operator", operation->operator_name);
    return quipu_dagcbor_writer_finish(&writer, err);
}

static enum quipu_status last_number(struct quipu_txn *txn, uint64_t *number,
                                     struct quipu_error *err)
{
    struct quipu_slice key = {0};
    struct quipu_slice value = {0};
    enum quipu_status status = quipu_txn_table_seek(txn, TABLE_OPERATIONS, quipu_slice(NULL, 0),
                                                    QUIPU_SEEK_LE, &key, &value, err);
    if (status == QUIPU_DONE) {
        *number = 0;
        return QUIPU_OK;
    }
    if (status == QUIPU_OK && key.len != 8) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "the operations log has a row under a key of %zu bytes", key.len);
    }
    if (status == QUIPU_OK) {
        *number = quipu_load_be64(key.data);
    }
    return status;
}

enum quipu_status quipu_operation_record(struct quipu_txn *txn,
                                         const struct quipu_operation *operation, uint64_t *number,
                                         struct quipu_error *err)
{
    struct quipu_buf row = QUIPU_BUF_INIT;
    uint8_t key[8];
    uint64_t last = 0;
    enum quipu_status status = check(operation, err);
    if (status == QUIPU_OK) {
        status = last_number(txn, &last, err);
    }
    if (status == QUIPU_OK) {
        status = encode(operation, &row, err);
    }
    if (status == QUIPU_OK) {
        quipu_store_be64(key, last + 1);
        status = quipu_txn_table_put(txn, TABLE_OPERATIONS, quipu_slice(key, sizeof key),
                                     quipu_buf_slice(&row), err);
    }
    quipu_buf_release(&row);
    if (status == QUIPU_OK && number != NULL) {
        *number = last + 1;
    }
    return status;
}

/* ------------------------------------------------------------------ read */

static bool read_key(struct quipu_dagcbor_reader *reader, const char *wanted)
{
    struct quipu_slice key = {0};
    return quipu_dagcbor_read_text(reader, &key, NULL) == QUIPU_OK &&
           quipu_slice_equal(key, quipu_slice_text(wanted));
}

static bool read_uint(struct quipu_dagcbor_reader *reader, const char *key, uint64_t *out)
{
    return read_key(reader, key) && quipu_dagcbor_read_uint(reader, out, NULL) == QUIPU_OK;
}

static bool read_text(struct quipu_dagcbor_reader *reader, const char *key, struct quipu_slice *out)
{
    return read_key(reader, key) && quipu_dagcbor_read_text(reader, out, NULL) == QUIPU_OK;
}

static bool read_sha256(struct quipu_dagcbor_reader *reader, struct quipu_operation *out)
{
    struct quipu_slice digest = {0};
    if (!read_key(reader, "sha256") ||
        quipu_dagcbor_read_bytes(reader, &digest, NULL) != QUIPU_OK ||
        (digest.len != 0 && digest.len != QUIPU_SHA256_BYTES)) {
        return false;
    }
    out->has_sha256 = digest.len > 0;
    if (out->has_sha256) {
        memcpy(out->sha256, digest.data, digest.len);
    }
    return true;
}

/* A link or null. */
static bool read_manifest(struct quipu_dagcbor_reader *reader, struct quipu_operation *out)
{
    struct quipu_dagcbor_item item;
    if (!read_key(reader, "manifest") || quipu_dagcbor_next(reader, &item, NULL) != QUIPU_OK) {
        return false;
    }
    out->has_manifest = item.kind == QUIPU_DAGCBOR_LINK;
    return out->has_manifest ? quipu_cid_from_view(&item.link, &out->manifest, NULL) == QUIPU_OK
                             : item.kind == QUIPU_DAGCBOR_NULL;
}

static bool decode(struct quipu_slice row, struct quipu_operation *out)
{
    struct quipu_dagcbor_reader reader;
    uint64_t pairs = 0;
    quipu_dagcbor_reader_init(&reader, row);
    return quipu_dagcbor_validate(row, NULL) == QUIPU_OK &&
           quipu_dagcbor_read_map(&reader, &pairs, NULL) == QUIPU_OK && pairs == ROW_PAIRS &&
           read_key(&reader, "at") &&
           quipu_dagcbor_read_int(&reader, &out->unix_us, NULL) == QUIPU_OK &&
           read_text(&reader, "kind", &out->kind) && read_uint(&reader, "added", &out->added) &&
           read_uint(&reader, "known", &out->known) && read_uint(&reader, "bundle", &out->bundle) &&
           read_uint(&reader, "events", &out->events) &&
           read_text(&reader, "reason", &out->reason) && read_sha256(&reader, out) &&
           read_text(&reader, "source", &out->source) &&
           read_uint(&reader, "missing", &out->missing) &&
           read_text(&reader, "signers", &out->signers) && read_manifest(&reader, out) &&
           read_text(&reader, "operator", &out->operator_name);
}

enum quipu_status quipu_each_operation(struct quipu_engine *engine, uint64_t after,
                                       quipu_operation_fn visit, void *ctx, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    uint8_t from[8];
    enum quipu_status status = quipu_txn_begin_read(quipu_engine_store(engine), &txn, err);
    quipu_store_be64(from, after);
    for (uint64_t wanted = after + 1; status == QUIPU_OK; wanted++) {
        struct quipu_operation operation = {0};
        struct quipu_slice key = {0};
        struct quipu_slice value = {0};
        status = quipu_txn_table_seek(txn, TABLE_OPERATIONS, quipu_slice(from, sizeof from),
                                      QUIPU_SEEK_GT, &key, &value, err);
        if (status != QUIPU_OK) {
            break;
        }
        if (key.len != sizeof from || quipu_load_be64(key.data) != wanted ||
            !decode(value, &operation)) {
            status = quipu_error_set(err, QUIPU_CORRUPT,
                                     "row %" PRIu64 " of the operations log is missing or damaged",
                                     wanted);
            break;
        }
        memcpy(from, key.data, sizeof from);
        operation.number = wanted;
        status = visit(ctx, &operation, err);
    }
    quipu_txn_abort(&txn);
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

/*
 * Reading rows that are DAG-CBOR maps of a known shape: key after key, each with its kind. Whatever
 * is otherwise is QUIPU_CORRUPT or the rule of DAG-CBOR that is broken.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "row_codec.h"

#include "quipu/text.h"

enum quipu_status row_read_begin(struct quipu_dagcbor_reader *reader, struct quipu_slice value,
                                 uint64_t *pairs, struct quipu_error *err)
{
    quipu_dagcbor_reader_init(reader, value);
    return quipu_dagcbor_read_map(reader, pairs, err);
}

enum quipu_status row_read_key(struct quipu_dagcbor_reader *reader, const char *key,
                               struct quipu_error *err)
{
    struct quipu_slice found;
    enum quipu_status status = quipu_dagcbor_read_text(reader, &found, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (!quipu_slice_equal(found, quipu_slice_text(key))) {
        return quipu_error_set(err, QUIPU_CORRUPT, "expected the key '%s'", key);
    }
    return QUIPU_OK;
}

enum quipu_status row_read_text(struct quipu_dagcbor_reader *reader, const char *key,
                                struct quipu_slice *out, struct quipu_error *err)
{
    enum quipu_status status = row_read_key(reader, key, err);
    return status == QUIPU_OK ? quipu_dagcbor_read_text(reader, out, err) : status;
}

enum quipu_status row_read_bytes(struct quipu_dagcbor_reader *reader, const char *key,
                                 struct quipu_slice *out, struct quipu_error *err)
{
    enum quipu_status status = row_read_key(reader, key, err);
    return status == QUIPU_OK ? quipu_dagcbor_read_bytes(reader, out, err) : status;
}

enum quipu_status row_read_uint(struct quipu_dagcbor_reader *reader, const char *key, uint64_t *out,
                                struct quipu_error *err)
{
    enum quipu_status status = row_read_key(reader, key, err);
    return status == QUIPU_OK ? quipu_dagcbor_read_uint(reader, out, err) : status;
}

enum quipu_status row_read_int(struct quipu_dagcbor_reader *reader, const char *key, int64_t *out,
                               struct quipu_error *err)
{
    enum quipu_status status = row_read_key(reader, key, err);
    return status == QUIPU_OK ? quipu_dagcbor_read_int(reader, out, err) : status;
}

enum quipu_status row_read_bool(struct quipu_dagcbor_reader *reader, const char *key, bool *out,
                                struct quipu_error *err)
{
    enum quipu_status status = row_read_key(reader, key, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_dagcbor_item item;
    status = quipu_dagcbor_next(reader, &item, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (item.kind != QUIPU_DAGCBOR_BOOL) {
        return quipu_error_set(err, QUIPU_CORRUPT, "'%s' is not true or false", key);
    }
    *out = item.number != 0;
    return QUIPU_OK;
}

struct quipu_slice row_line(struct quipu_slice line)
{
    size_t len = line.len < ROW_LINE_BYTES_MAX ? line.len : ROW_LINE_BYTES_MAX;
    struct quipu_slice kept = quipu_slice(line.data, len);
    kept.len = quipu_utf8_valid_prefix(kept);
    return kept;
}

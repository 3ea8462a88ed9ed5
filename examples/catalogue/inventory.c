/*
 * The projection "inventory": which organisations, people, keys, YubiKeys and certificates there
 * are, and what happened to each of them last.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "catalogue.h"
#include "quipu/dagcbor.h"

static bool is_inventoried(struct quipu_slice aggregate_type)
{
    static const char *const types[] = {"organization", "person", "key", "yubikey", "certificate"};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (quipu_slice_equal(aggregate_type, quipu_slice_text(types[i]))) {
            return true;
        }
    }
    return false;
}

static enum quipu_status apply(void *ctx, struct quipu_rows *rows,
                               const struct quipu_event_view *event, struct quipu_error *err)
{
    (void)ctx;
    const struct quipu_envelope *envelope = &event->envelope;
    if (!is_inventoried(envelope->aggregate_type)) {
        return QUIPU_OK;
    }

    struct quipu_buf key = QUIPU_BUF_INIT;
    struct quipu_buf value = QUIPU_BUF_INIT;
    struct quipu_dagcbor_writer writer;
    quipu_buf_append_slice(&key, envelope->aggregate_type);
    quipu_buf_append_byte(&key, '/');
    quipu_buf_append_slice(&key, envelope->aggregate_id);
    quipu_dagcbor_writer_init(&writer, &value);
    quipu_dagcbor_write_map(&writer, 2);
    quipu_dagcbor_write_key(&writer, "state");
    quipu_dagcbor_write_text(&writer, envelope->event_type);
    quipu_dagcbor_write_key(&writer, "version");
    quipu_dagcbor_write_uint(&writer, envelope->version);
    enum quipu_status status = quipu_dagcbor_writer_finish(&writer, err);
    if (status == QUIPU_OK && key.status != QUIPU_OK) {
        status = quipu_error_set(err, key.status, "inventory: %s", quipu_status_text(key.status));
    }
    if (status == QUIPU_OK) {
        status = quipu_rows_put(rows, quipu_buf_slice(&key), quipu_buf_slice(&value), err);
    }
    quipu_buf_release(&key);
    quipu_buf_release(&value);
    return status;
}

struct quipu_projection catalogue_inventory(void)
{
    return (struct quipu_projection){.name = "inventory", .version = 1, .apply = apply};
}

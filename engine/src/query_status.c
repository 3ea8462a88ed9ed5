/*
 * The query `status`: what is in the store, what waits, what was refused, how far each projection
 * has come. Counts; never lists events or rows.
 *
 * Specification: docs/SPEC.md §8.1.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "engine_impl.h"
#include "query_reply.h"
#include "quipu/forks.h"
#include "quipu/outbox.h"
#include "quipu/projection.h"
#include "quipu/text.h"
#include "tables.h"

struct figures {
    struct quipu_store_stat store;
    char source[QUIPU_SOURCE_TEXT_BYTES]; /* "" where it has none yet */
    struct quipu_outbox_status outbox;
    uint64_t last;
    uint64_t quarantined;
    struct quipu_fork_counts forks;
    struct quipu_buf projections; /* struct quipu_projection_status each */
};

static enum quipu_status remember_projection(void *ctx,
                                             const struct quipu_projection_status *projection,
                                             struct quipu_error *err)
{
    struct quipu_buf *projections = ctx;
    quipu_buf_append(projections, projection, sizeof *projection);
    return projections->status == QUIPU_OK
               ? QUIPU_OK
               : quipu_error_set(err, projections->status, "query status: %s",
                                 quipu_status_text(projections->status));
}

static enum quipu_status figures_of_store(struct quipu_engine *engine, struct figures *out,
                                          struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_read(engine->store, &txn, err);
    if (status == QUIPU_OK) {
        out->last = quipu_txn_last_position(txn);
        status = quipu_txn_stat(txn, &out->store, err);
    }
    if (status == QUIPU_OK) {
        status = table_count(txn, TABLE_QUARANTINE, &out->quarantined, err);
    }
    quipu_txn_abort(&txn);
    return status;
}

static enum quipu_status gather(struct quipu_engine *engine, struct figures *out,
                                struct quipu_error *err)
{
    enum quipu_status status = figures_of_store(engine, out, err);
    if (status == QUIPU_OK) {
        status = quipu_identity_source(engine, out->source, err);
        if (status == QUIPU_NOT_FOUND || status == QUIPU_KEY_LOCKED) {
            out->source[0] = 0;
            status = QUIPU_OK;
        }
    }
    if (status == QUIPU_OK) {
        status = quipu_outbox_status(engine, &out->outbox, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_fork_count(engine, &out->forks, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_each_projection(engine, remember_projection, &out->projections, err);
    }
    return status;
}

static void write_text(struct quipu_dagcbor_writer *writer, const char *key, const char *text)
{
    quipu_dagcbor_write_key(writer, key);
    quipu_dagcbor_write_text(writer, quipu_slice_text(text));
}

static void write_parked(struct quipu_dagcbor_writer *writer,
                         const struct quipu_projection_status *projection)
{
    quipu_dagcbor_write_key(writer, "parked");
    if (projection->parked_position == 0) {
        quipu_dagcbor_write_null(writer);
        return;
    }
    quipu_dagcbor_write_map(writer, 5);
    quipu_dagcbor_write_key(writer, "at");
    quipu_dagcbor_write_int(writer, projection->parked_unix_us);
    /* It may have been cut at its limit, inside of a character. */
    struct quipu_slice line = quipu_slice_text(projection->parked_line);
    line.len = quipu_utf8_valid_prefix(line);
    quipu_dagcbor_write_key(writer, "line");
    quipu_dagcbor_write_text(writer, line);
    write_text(writer, "status", quipu_status_name(projection->parked_status));
    reply_write_number(writer, "version", projection->parked_version);
    reply_write_number(writer, "position", projection->parked_position);
}

static void write_projection(struct quipu_dagcbor_writer *writer,
                             const struct quipu_projection_status *projection)
{
    quipu_dagcbor_write_map(writer, 9);
    reply_write_number(writer, "lag", projection->lag);
    write_text(writer, "name", projection->name);
    write_text(writer, "state", quipu_projection_state_text(projection->state));
    write_parked(writer, projection);
    quipu_dagcbor_write_key(writer, "shadow"); /* of the rebuild beside */
    if (projection->shadow_version == 0) {
        quipu_dagcbor_write_null(writer);
    } else {
        quipu_dagcbor_write_map(writer, 4);
        quipu_dagcbor_write_key(writer, "causal");
        quipu_dagcbor_write_bool(writer, projection->shadow_is_causal);
        reply_write_number(writer, "version", projection->shadow_version);
        reply_write_number(writer, "position", projection->shadow_position);
        quipu_dagcbor_write_key(writer, "left_over");
        quipu_dagcbor_write_bool(writer, projection->shadow_is_left_over);
    }
    reply_write_number(writer, "reacted", projection->reacted);
    reply_write_number(writer, "skipped", projection->skipped);
    reply_write_number(writer, "version", projection->version);
    reply_write_number(writer, "position", projection->position);
}

static void write_store(struct quipu_dagcbor_writer *writer, const struct figures *figures)
{
    quipu_dagcbor_write_key(writer, "store");
    quipu_dagcbor_write_map(writer, 5);
    reply_write_number(writer, "last", figures->last);
    reply_write_number(writer, "events", figures->store.events);
    reply_write_number(writer, "format", figures->store.format);
    reply_write_number(writer, "aggregates", figures->store.aggregates);
    reply_write_number(writer, "file_bytes", figures->store.file_bytes);
}

static void write_outbox(struct quipu_dagcbor_writer *writer, const struct figures *figures)
{
    quipu_dagcbor_write_key(writer, "outbox");
    quipu_dagcbor_write_map(writer, 4);
    reply_write_number(writer, "dead", figures->outbox.dead);
    reply_write_number(writer, "cursor", figures->outbox.cursor);
    reply_write_number(writer, "pending", figures->outbox.pending);
    reply_write_number(writer, "published", figures->outbox.published);
}

static void write_forks(struct quipu_dagcbor_writer *writer, const struct figures *figures)
{
    quipu_dagcbor_write_key(writer, "forks");
    quipu_dagcbor_write_map(writer, 3);
    reply_write_number(writer, "open", figures->forks.aggregates_open);
    reply_write_number(writer, "sources", figures->forks.sources);
    reply_write_number(writer, "aggregates", figures->forks.aggregates);
}

static enum quipu_status write_reply(const struct figures *figures, struct quipu_buf *out,
                                     struct quipu_error *err)
{
    struct quipu_dagcbor_writer writer;
    size_t count = figures->projections.len / sizeof(struct quipu_projection_status);
    quipu_dagcbor_writer_init(&writer, out);
    quipu_dagcbor_write_map(&writer, 8);
    reply_write_format(&writer);
    write_forks(&writer, figures);
    reply_write_kind(&writer, QUIPU_QUERY_STATUS);
    write_store(&writer, figures);
    write_outbox(&writer, figures);
    quipu_dagcbor_write_key(&writer, "source");
    if (figures->source[0] == 0) {
        quipu_dagcbor_write_null(&writer);
    } else {
        quipu_dagcbor_write_text(&writer, quipu_slice_text(figures->source));
    }
    quipu_dagcbor_write_key(&writer, "projections");
    quipu_dagcbor_write_list(&writer, count);
    for (size_t i = 0; i < count; i++) {
        struct quipu_projection_status projection;
        memcpy(&projection, figures->projections.data + i * sizeof projection, sizeof projection);
        write_projection(&writer, &projection);
    }
    reply_write_number(&writer, "quarantined", figures->quarantined);
    return quipu_dagcbor_writer_finish(&writer, err);
}

enum quipu_status query_status(struct quipu_engine *engine, struct quipu_buf *out,
                               struct quipu_error *err)
{
    struct figures figures = {.projections = QUIPU_BUF_INIT};
    enum quipu_status status = gather(engine, &figures, err);
    if (status == QUIPU_OK) {
        status = write_reply(&figures, out, err);
    }
    quipu_buf_release(&figures.projections);
    return status;
}

/*
 * An aggregate kind for the tests of commands.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "command_kit.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quipu/alloc.h"
#include "quipu/dagcbor.h"

static enum quipu_status tally_create(void *ctx, void **state, struct quipu_error *err)
{
    struct tally *tally = quipu_alloc_zero(1, sizeof *tally);
    if (tally == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "tally: out of memory");
    }
    ((struct tally_ctx *)ctx)->live++;
    *state = tally;
    return QUIPU_OK;
}

static void tally_destroy(void *ctx, void *state)
{
    ((struct tally_ctx *)ctx)->live--;
    quipu_free(state);
}

/* For what threads call: Criterion's assertions leave memory behind in any but the first. */
static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

int64_t tally_n(struct quipu_slice payload)
{
    struct quipu_dagcbor_reader reader;
    struct quipu_slice key;
    uint64_t pairs;
    int64_t n;
    quipu_dagcbor_reader_init(&reader, payload);
    require(quipu_dagcbor_read_map(&reader, &pairs, NULL) == QUIPU_OK);
    require(quipu_dagcbor_read_text(&reader, &key, NULL) == QUIPU_OK);
    require(quipu_dagcbor_read_int(&reader, &n, NULL) == QUIPU_OK);
    return n;
}

void tally_payload(struct quipu_buf *out, int64_t n)
{
    struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, out);
    quipu_dagcbor_write_map(&writer, 1);
    quipu_dagcbor_write_key(&writer, "n");
    quipu_dagcbor_write_int(&writer, n);
    require(quipu_dagcbor_writer_finish(&writer, NULL) == QUIPU_OK);
}

static void tally_add(struct tally *tally, int64_t n)
{
    tally->events++;
    tally->sum += n;
    tally->order = tally->order * 31 + (uint64_t)n;
}

static enum quipu_status tally_apply(void *ctx, void *state, const struct quipu_event_view *event,
                                     struct quipu_error *err)
{
    struct tally_ctx *counting = ctx;
    counting->applied++;
    if (event->envelope.version == counting->fail_at) {
        return quipu_error_set(err, QUIPU_INVALID, "poison");
    }
    tally_add(state, tally_n(event->payload));
    return QUIPU_OK;
}

static enum quipu_status tally_save(void *ctx, const void *state, struct quipu_buf *out,
                                    struct quipu_error *err)
{
    struct tally_ctx *counting = ctx;
    counting->saved++;
    if (counting->refuses_to_save) {
        return quipu_error_set(err, QUIPU_INVALID, "not now");
    }
    quipu_buf_append(out, state, sizeof(struct tally));
    uint8_t *padding = quipu_buf_reserve(out, counting->padding + 1);
    if (padding != NULL) {
        memset(padding, 0, counting->padding);
        out->len += counting->padding;
    }
    return QUIPU_OK; /* the buffer keeps its own failure */
}

static enum quipu_status tally_restore(void *ctx, void *state, struct quipu_slice saved,
                                       struct quipu_error *err)
{
    struct tally_ctx *counting = ctx;
    counting->restored++;
    if (counting->refuses_to_restore || saved.len < sizeof(struct tally)) {
        /* Half done: what was begun must not be used. */
        ((struct tally *)state)->sum = 999;
        return quipu_error_set(err, QUIPU_INVALID, "no state of mine");
    }
    memcpy(state, saved.data, sizeof(struct tally));
    return QUIPU_OK;
}

struct quipu_aggregate_kind tally_kind(struct tally_ctx *ctx, uint64_t snapshot_every)
{
    return (struct quipu_aggregate_kind){
        .aggregate_type = "thing",
        .create = tally_create,
        .apply = tally_apply,
        .destroy = tally_destroy,
        .save = tally_save,
        .restore = tally_restore,
        .snapshot_schema = 1,
        .snapshot_every = snapshot_every,
        .ctx = ctx,
    };
}

static enum quipu_status log_add(void *ctx, const struct quipu_event_view *event,
                                 struct quipu_error *err)
{
    (void)err;
    tally_add(ctx, tally_n(event->payload));
    return QUIPU_OK;
}

struct tally tally_from_log(struct kit *kit, const char *aggregate_id)
{
    struct tally tally = {0};
    struct quipu_filter filter = {.aggregate_type = "thing", .aggregate_id = aggregate_id};
    kit_assert_ok(kit, quipu_each_event(kit->engine, &filter, log_add, &tally, &kit->err));
    return tally;
}

struct tally tally_load(struct kit *kit, const struct quipu_aggregate_kind *kind,
                        const char *aggregate_id, struct quipu_loaded *loaded)
{
    struct quipu_loaded mine = {0};
    kit_assert_ok(kit, quipu_aggregate_load(kit->engine, kind, aggregate_id, &mine, &kit->err));
    struct tally tally = *(const struct tally *)mine.state;
    quipu_loaded_release(kind, &mine);
    cr_assert_null(mine.state);
    if (loaded != NULL) {
        *loaded = mine;
    }
    return tally;
}

void tally_assert_equal(struct tally a, struct tally b)
{
    cr_assert_eq(a.events, b.events, "%" PRIu64 " and %" PRIu64 " events", a.events, b.events);
    cr_assert_eq(a.sum, b.sum, "sums %" PRId64 " and %" PRId64, a.sum, b.sum);
    cr_assert_eq(a.order, b.order, "events in another order");
}

enum quipu_status decide_add(void *ctx, const struct quipu_loaded *loaded,
                             struct quipu_decision *out, struct quipu_error *err)
{
    struct add_command *add = ctx;
    const struct tally *tally = loaded->state;
    add->decisions++;
    if (add->meddle != NULL) {
        add->meddle(add);
    }
    if (tally->sum + add->value < 0) {
        return quipu_error_set(err, QUIPU_INVALID, "there are only %" PRId64, tally->sum);
    }
    enum quipu_status status = QUIPU_OK;
    int events = add->events == 0 ? 1 : add->events;
    for (int i = 0; status == QUIPU_OK && i < events; i++) {
        /* Without the kit, whose memory is not to fail. */
        uint8_t storage[16];
        struct quipu_buf payload;
        quipu_buf_init_fixed(&payload, storage, sizeof storage);
        tally_payload(&payload, add->value);
        struct quipu_event event = {.type = "thing.changed", .payload = quipu_buf_slice(&payload)};
        status = quipu_decision_add(out, &event, err);
    }
    return status;
}

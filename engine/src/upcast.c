/*
 * Upcasters, chained by event type and schema: sorted once, so that a chain is a run of neighbours
 * and bringing an event up is one search and then a step from one to the next.
 *
 * Never writes to the store and never changes a stored byte.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/upcast.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "event_check.h"
#include "quipu/alloc.h"
#include "quipu/dagcbor.h"

/* A type: `steps[first]` reads the schema `oldest`, its neighbour the next one, up to the one that
 * makes `newest`. */
struct chain {
    const char *event_type; /* in `texts` */
    uint64_t oldest;
    uint64_t newest;
    size_t first;
};

struct quipu_upcasts {
    struct quipu_upcaster *steps; /* by type and schema; their event_type is a chain's */
    struct chain *chains;         /* by type */
    size_t chain_count;
    struct quipu_buf texts;
};

/* ------------------------------------------------------------------ what was given */

static int step_compare(const void *a, const void *b)
{
    const struct quipu_upcaster *left = a;
    const struct quipu_upcaster *right = b;
    int order = strcmp(left->event_type, right->event_type);
    return order != 0 ? order : (left->schema > right->schema) - (left->schema < right->schema);
}

static int chain_compare(const void *a, const void *b)
{
    const struct chain *left = a;
    const struct chain *right = b;
    return strcmp(left->event_type, right->event_type);
}

static enum quipu_status named_check(const char *event_type, uint64_t schema,
                                     struct quipu_error *err)
{
    if (!name_is_tokens(quipu_slice_text(event_type), QUIPU_EVENT_TYPE_BYTES_MAX)) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "upcasts: a name must be an event type such as key.generated, at "
                               "most %d bytes",
                               QUIPU_EVENT_TYPE_BYTES_MAX);
    }
    if (schema == 0 || schema > QUIPU_ENVELOPE_INTEGER_MAX) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "upcasts: %s schema %" PRIu64 " is not 1 to 2^53-1", event_type,
                               schema);
    }
    return QUIPU_OK;
}

static enum quipu_status given_check(const struct quipu_upcaster *upcasters, size_t upcaster_count,
                                     const struct quipu_schema *schemas, size_t schema_count,
                                     struct quipu_error *err)
{
    if (upcaster_count > QUIPU_UPCASTERS_MAX || schema_count > QUIPU_UPCASTERS_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE,
                               "upcasts: %zu upcasters and %zu schemas, at most %d are allowed",
                               upcaster_count, schema_count, QUIPU_UPCASTERS_MAX);
    }
    enum quipu_status status = QUIPU_OK;
    for (size_t i = 0; status == QUIPU_OK && i < upcaster_count; i++) {
        status = named_check(upcasters[i].event_type, upcasters[i].schema, err);
        if (status == QUIPU_OK && upcasters[i].make == NULL) {
            return quipu_error_set(err, QUIPU_INVALID,
                                   "upcasts: %s from schema %" PRIu64 " has no function",
                                   upcasters[i].event_type, upcasters[i].schema);
        }
    }
    for (size_t i = 0; status == QUIPU_OK && i < schema_count; i++) {
        status = named_check(schemas[i].event_type, schemas[i].newest, err);
    }
    return status;
}

/* ------------------------------------------------------------------ chains */

/* The steps of one type as a chain, from `*at` on, which moves behind them. */
static enum quipu_status chain_of_steps(const struct quipu_upcaster *steps, size_t count,
                                        size_t *at, struct chain *out, struct quipu_error *err)
{
    size_t first = *at;
    size_t end = first + 1;
    for (; end < count && strcmp(steps[end].event_type, steps[first].event_type) == 0; end++) {
        uint64_t before = steps[end - 1].schema;
        if (steps[end].schema == before) {
            return quipu_error_set(err, QUIPU_INVALID,
                                   "upcasts: two upcasters of %s from schema %" PRIu64,
                                   steps[end].event_type, before);
        }
        if (steps[end].schema != before + 1) {
            return quipu_error_set(err, QUIPU_INVALID,
                                   "upcasts: no upcaster of %s from schema %" PRIu64
                                   ", but one from schema %" PRIu64,
                                   steps[end].event_type, before + 1, steps[end].schema);
        }
    }
    *out = (struct chain){
        .event_type = steps[first].event_type,
        .oldest = steps[first].schema,
        .newest = steps[end - 1].schema + 1,
        .first = first,
    };
    *at = end;
    return QUIPU_OK;
}

/* A type that was given a newest schema, and has steps or not. */
static enum quipu_status chain_declare(struct quipu_upcasts *upcasts, size_t with_steps,
                                       const char *event_type, uint64_t newest,
                                       struct quipu_error *err)
{
    struct chain wanted = {.event_type = event_type, .oldest = newest, .newest = newest};
    /* Those with steps came first, and are in order; the others are few. */
    const struct chain *there =
        bsearch(&wanted, upcasts->chains, with_steps, sizeof wanted, chain_compare);
    for (size_t i = with_steps; there == NULL && i < upcasts->chain_count; i++) {
        if (strcmp(upcasts->chains[i].event_type, event_type) == 0) {
            there = &upcasts->chains[i];
        }
    }
    if (there == NULL) {
        upcasts->chains[upcasts->chain_count++] = wanted;
        return QUIPU_OK;
    }
    if (there->newest == newest) {
        return QUIPU_OK;
    }
    return quipu_error_set(err, QUIPU_INVALID,
                           "upcasts: the newest schema of %s is %" PRIu64
                           ", but its upcasters, or another line, say %" PRIu64,
                           event_type, newest, there->newest);
}

static enum quipu_status chains_make(struct quipu_upcasts *upcasts, size_t step_count,
                                     const struct quipu_schema *schemas, size_t schema_count,
                                     struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    qsort(upcasts->steps, step_count, sizeof *upcasts->steps, step_compare);
    for (size_t at = 0; status == QUIPU_OK && at < step_count;) {
        status = chain_of_steps(upcasts->steps, step_count, &at,
                                &upcasts->chains[upcasts->chain_count], err);
        upcasts->chain_count += status == QUIPU_OK;
    }
    size_t with_steps = upcasts->chain_count;
    for (size_t i = 0; status == QUIPU_OK && i < schema_count; i++) {
        status = chain_declare(upcasts, with_steps, schemas[i].event_type, schemas[i].newest, err);
    }
    if (status == QUIPU_OK) {
        qsort(upcasts->chains, upcasts->chain_count, sizeof *upcasts->chains, chain_compare);
    }
    return status;
}

/* Names of our own in the place of the caller's. */
static enum quipu_status texts_keep(struct quipu_upcasts *upcasts, struct quipu_error *err)
{
    size_t bytes = 0;
    for (size_t i = 0; i < upcasts->chain_count; i++) {
        bytes += strlen(upcasts->chains[i].event_type) + 1; /* each is short */
    }
    if (bytes > 0 && quipu_buf_reserve(&upcasts->texts, bytes) == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "upcasts: out of memory");
    }
    for (size_t i = 0; i < upcasts->chain_count; i++) {
        struct chain *chain = &upcasts->chains[i];
        const char *kept = (const char *)upcasts->texts.data + upcasts->texts.len;
        quipu_buf_append(&upcasts->texts, chain->event_type, strlen(chain->event_type) + 1);
        chain->event_type = kept;
        for (uint64_t step = 0; step < chain->newest - chain->oldest; step++) {
            upcasts->steps[chain->first + step].event_type = kept;
        }
    }
    return upcasts->texts.status;
}

enum quipu_status quipu_upcasts_new(const struct quipu_upcaster *upcasters, size_t upcaster_count,
                                    const struct quipu_schema *schemas, size_t schema_count,
                                    struct quipu_upcasts **out, struct quipu_error *err)
{
    enum quipu_status status = given_check(upcasters, upcaster_count, schemas, schema_count, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_upcasts *upcasts = quipu_alloc_zero(1, sizeof *upcasts);
    if (upcasts == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "upcasts: out of memory");
    }
    upcasts->steps = quipu_alloc(upcaster_count + 1, sizeof *upcasts->steps);
    upcasts->chains = quipu_alloc(upcaster_count + schema_count + 1, sizeof *upcasts->chains);
    if (upcasts->steps == NULL || upcasts->chains == NULL) {
        status = quipu_error_set(err, QUIPU_NO_MEMORY, "upcasts: out of memory");
        goto done;
    }
    if (upcaster_count > 0) {
        memcpy(upcasts->steps, upcasters, upcaster_count * sizeof *upcasters);
    }
    status = chains_make(upcasts, upcaster_count, schemas, schema_count, err);
    if (status == QUIPU_OK) {
        status = texts_keep(upcasts, err);
    }
done:
    if (status != QUIPU_OK) {
        quipu_upcasts_free(upcasts);
        return status;
    }
    *out = upcasts;
    return QUIPU_OK;
}

void quipu_upcasts_free(struct quipu_upcasts *upcasts)
{
    if (upcasts == NULL) {
        return;
    }
    quipu_free(upcasts->steps);
    quipu_free(upcasts->chains);
    quipu_buf_release(&upcasts->texts);
    quipu_free(upcasts);
}

/* ------------------------------------------------------------------ bringing up */

static const struct chain *chain_find(const struct quipu_upcasts *upcasts,
                                      struct quipu_slice event_type)
{
    size_t low = 0;
    size_t high = upcasts->chain_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct chain *chain = &upcasts->chains[middle];
        int order = quipu_slice_compare(quipu_slice_text(chain->event_type), event_type);
        if (order == 0) {
            return chain;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

uint64_t quipu_upcasts_newest(const struct quipu_upcasts *upcasts, struct quipu_slice event_type)
{
    const struct chain *chain = chain_find(upcasts, event_type);
    return chain == NULL ? 0 : chain->newest;
}

void quipu_upcasting_release(struct quipu_upcasting *upcasting)
{
    quipu_buf_release(&upcasting->buffers[0]);
    quipu_buf_release(&upcasting->buffers[1]);
}

/* One step: `event` becomes one of the next schema, with its payload in `into`. */
static enum quipu_status step_make(const struct quipu_upcaster *step,
                                   struct quipu_event_view *event, struct quipu_buf *into,
                                   struct quipu_error *err)
{
    quipu_buf_reset(into);
    enum quipu_status status = step->make(step->ctx, event, into, err);
    if (status == QUIPU_OK && into->status != QUIPU_OK) {
        status = quipu_error_set(err, into->status, "out of memory for its payload");
    }
    if (status == QUIPU_OK && into->len > QUIPU_PAYLOAD_BYTES_MAX) {
        status = quipu_error_set(err, QUIPU_TOO_LARGE,
                                 "it made a payload of %zu bytes, at most %u are allowed",
                                 into->len, QUIPU_PAYLOAD_BYTES_MAX);
    }
    if (status == QUIPU_OK) {
        status = quipu_dagcbor_validate(quipu_buf_slice(into), err);
    }
    if (status != QUIPU_OK) {
        return quipu_error_wrap(err, status, "upcasting %s from schema %" PRIu64, step->event_type,
                                step->schema);
    }
    event->payload = quipu_buf_slice(into);
    event->envelope.schema++;
    return QUIPU_OK;
}

enum quipu_status quipu_upcast(void *ctx, struct quipu_event_view *event, struct quipu_error *err)
{
    struct quipu_upcasting *upcasting = ctx;
    uint64_t schema = event->envelope.schema;
    const struct chain *chain = chain_find(upcasting->upcasts, event->envelope.event_type);
    if (chain == NULL || schema == chain->newest) {
        return QUIPU_OK;
    }
    if (schema > chain->newest) {
        return quipu_error_set(err, QUIPU_SCHEMA_NEWER,
                               "%s has schema %" PRIu64
                               ", the newest that is known here is %" PRIu64
                               "; use a newer version of this program",
                               chain->event_type, schema, chain->newest);
    }
    if (schema < chain->oldest) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "no upcaster of %s from schema %" PRIu64
                               "; the oldest that can be read is %" PRIu64,
                               chain->event_type, schema, chain->oldest);
    }
    struct quipu_event_view made = *event;
    enum quipu_status status = QUIPU_OK;
    for (size_t turn = 0; status == QUIPU_OK && made.envelope.schema < chain->newest; turn++) {
        const struct quipu_upcaster *step =
            &upcasting->upcasts->steps[chain->first + (made.envelope.schema - chain->oldest)];
        status = step_make(step, &made, &upcasting->buffers[turn % 2], err);
    }
    if (status == QUIPU_OK) {
        *event = made;
    }
    return status;
}

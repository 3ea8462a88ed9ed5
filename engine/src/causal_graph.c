/*
 * Reading the links of all events for causal order:
 *
 *  1. Go through the log once: note each event's id, its links to other events (pairs of indexes)
 *     and its number (source, source_seq).
 *  2. Sort the pairs by what they link to, by counting.
 *  3. Sort the numbers and put events of one number of one source into a group.
 *
 * The lists of steps 2 and 3 take the place of the pairs and numbers of step 1, which are freed.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "causal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine_impl.h"
#include "forks.h"
#include "internal/fnv.h"
#include "quipu/alloc.h"
#include "slice_budget.h"

#define SOURCE_CHARS  (QUIPU_SOURCE_TEXT_BYTES - 1)
#define SOURCES_FIRST 16
#define LINKS_FIRST   1024

struct link_pair {
    uint32_t from; /* what is named */
    uint32_t to;   /* who names it */
};

struct number {
    uint64_t seq;
    uint32_t source;
    uint32_t index;
};

/* Sources by the order in which they were met, with an open-addressed table over them. */
struct source_table {
    char (*texts)[SOURCE_CHARS];
    uint32_t *slots; /* index + 1, 0 is free; twice the texts at least */
    uint32_t count;
    uint32_t cap;
};

struct reading {
    struct quipu_engine *engine;
    struct causal_graph *graph;
    struct link_pair *pairs;
    size_t pair_count;
    size_t pair_cap;
    struct number *numbers;
    struct source_table sources;
};

static enum quipu_status no_memory(uint64_t count, struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_NO_MEMORY,
                           "causal order: out of memory for %" PRIu64 " events", count);
}

/* ------------------------------------------------------------------ sources */

static uint32_t *source_slot(const struct source_table *table, const uint8_t *text)
{
    uint64_t hash = quipu_fnv(QUIPU_FNV_BEGIN, text, SOURCE_CHARS);
    uint32_t mask = 2 * table->cap - 1;
    uint32_t at = (uint32_t)(hash ^ hash >> 32) & mask;
    while (table->slots[at] != 0 &&
           memcmp(table->texts[table->slots[at] - 1], text, SOURCE_CHARS) != 0) {
        at = (at + 1) & mask;
    }
    return &table->slots[at];
}

static bool sources_grow(struct source_table *table)
{
    uint32_t cap = table->cap == 0 ? SOURCES_FIRST : 2 * table->cap;
    void *texts = quipu_realloc(table->texts, cap, sizeof *table->texts);
    if (texts == NULL) {
        return false;
    }
    table->texts = texts;
    uint32_t *slots = quipu_alloc_zero(2 * (size_t)cap, sizeof *slots);
    if (slots == NULL) {
        return false;
    }
    quipu_free(table->slots);
    table->slots = slots;
    table->cap = cap;
    for (uint32_t i = 0; i < table->count; i++) {
        *source_slot(table, (const uint8_t *)table->texts[i]) = i + 1;
    }
    return true;
}

/* Its index. False: out of memory. */
static bool source_take(struct source_table *table, struct quipu_slice source, uint32_t *index)
{
    if (table->count == table->cap && !sources_grow(table)) {
        return false;
    }
    uint32_t *slot = source_slot(table, source.data);
    if (*slot == 0) {
        memcpy(table->texts[table->count], source.data, SOURCE_CHARS);
        *slot = ++table->count;
    }
    *index = *slot - 1;
    return true;
}

/* ------------------------------------------------------------------ links */

static enum quipu_status pair_add(struct reading *reading, uint64_t from_position,
                                  uint64_t to_position, struct quipu_error *err)
{
    struct causal_graph *graph = reading->graph;
    if (from_position > graph->count) {
        return QUIPU_OK; /* it came after the walk was opened */
    }
    if (reading->pair_count == UINT32_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE,
                               "causal order: more than %" PRIu32 " links between events",
                               UINT32_MAX);
    }
    if (reading->pair_count == reading->pair_cap) {
        size_t cap =
            reading->pair_cap == 0 ? LINKS_FIRST : reading->pair_cap + reading->pair_cap / 2;
        void *grown = quipu_realloc(reading->pairs, cap, sizeof *reading->pairs);
        if (grown == NULL) {
            return no_memory(graph->count, err);
        }
        reading->pairs = grown;
        reading->pair_cap = cap;
    }
    uint32_t to = (uint32_t)(to_position - 1);
    reading->pairs[reading->pair_count++] =
        (struct link_pair){.from = (uint32_t)(from_position - 1), .to = to};
    graph->links[to]++;
    return QUIPU_OK;
}

/* An event that prev names, if it is here; most often that is the aggregate's event before. */
static enum quipu_status prev_read(struct reading *reading, struct quipu_txn *txn,
                                   const struct quipu_record *record,
                                   const struct quipu_envelope *envelope,
                                   const struct quipu_cid *cid, struct quipu_error *err)
{
    struct quipu_aggregate aggregate = {envelope->aggregate_type, envelope->aggregate_id};
    struct quipu_record named;
    struct quipu_error why;
    enum quipu_status status = QUIPU_NOT_FOUND;
    if (record->aggregate_prev_position != 0) {
        status = quipu_txn_record_at(txn, record->aggregate_prev_position, &named, &why);
        if (status == QUIPU_OK && !quipu_cid_equal(&named.envelope_cid, cid)) {
            status = QUIPU_NOT_FOUND;
        }
    }
    if (status == QUIPU_NOT_FOUND) {
        status = fork_envelope_find(txn, aggregate, cid, &named, &why);
    }
    if (status == QUIPU_OK) {
        return pair_add(reading, named.position, record->position, err);
    }
    return status == QUIPU_NOT_FOUND ? QUIPU_OK : quipu_error_set(err, status, "%s", why.message);
}

/* The event that caused it, if it is here under the CID that is named. */
static enum quipu_status cause_read(struct reading *reading, struct quipu_txn *txn,
                                    uint64_t position, const struct quipu_envelope *envelope,
                                    struct quipu_error *err)
{
    struct quipu_record cause;
    struct quipu_error why;
    enum quipu_status status = quipu_txn_find_event_id(txn, envelope->causation_id, &cause, &why);
    if (status == QUIPU_OK && quipu_cid_equal(&cause.envelope_cid, &envelope->causation)) {
        return pair_add(reading, cause.position, position, err);
    }
    return status == QUIPU_OK || status == QUIPU_NOT_FOUND
               ? QUIPU_OK
               : quipu_error_set(err, status, "%s", why.message);
}

static enum quipu_status event_read(struct reading *reading, struct quipu_txn *txn,
                                    uint64_t position, struct quipu_error *err)
{
    struct causal_graph *graph = reading->graph;
    struct quipu_record record;
    struct quipu_event_view view;
    enum quipu_status status = quipu_txn_record_at(txn, position, &record, err);
    if (status == QUIPU_OK) {
        status = quipu_event_view_of(&record, &view, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    const struct quipu_envelope *envelope = &view.envelope;
    uint32_t index = (uint32_t)(position - 1);
    struct number *number = &reading->numbers[index];
    graph->ids[index] = envelope->event_id;
    number->seq = envelope->source_seq;
    number->index = index;
    if (!source_take(&reading->sources, envelope->source, &number->source)) {
        return no_memory(graph->count, err);
    }
    for (size_t i = 0; status == QUIPU_OK && i < envelope->prev_count; i++) {
        status = prev_read(reading, txn, &record, envelope, &envelope->prev[i], err);
    }
    if (status == QUIPU_OK && envelope->has_causation &&
        !fork_names(envelope, &envelope->causation)) {
        status = cause_read(reading, txn, position, envelope, err);
    }
    return status;
}

static enum quipu_status log_read(struct reading *reading, struct quipu_txn **txn,
                                  struct quipu_error *err)
{
    struct slice_budget budget;
    slice_budget_start(&budget);
    for (uint64_t position = 1; position <= reading->graph->count; position++) {
        enum quipu_status status = QUIPU_OK;
        if (*txn == NULL) {
            slice_budget_start(&budget);
            status = quipu_txn_begin_read(reading->engine->store, txn, err);
        }
        if (status == QUIPU_OK) {
            status = event_read(reading, *txn, position, err);
        }
        if (status != QUIPU_OK) {
            return status;
        }
        if (slice_budget_spend(&budget)) {
            quipu_txn_abort(txn);
        }
    }
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ lists */

/* By counting: how many follow each, where each one's list begins, then fill the lists. */
static bool followers_sort(struct reading *reading)
{
    struct causal_graph *graph = reading->graph;
    size_t count = (size_t)graph->count;
    graph->starts = quipu_alloc_zero(count + 2, sizeof *graph->starts);
    graph->followers = quipu_alloc(reading->pair_count + 1, sizeof *graph->followers);
    if (graph->starts == NULL || graph->followers == NULL) {
        return false;
    }
    for (size_t i = 0; i < reading->pair_count; i++) {
        graph->starts[reading->pairs[i].from + 2]++;
    }
    for (size_t i = 2; i < count + 2; i++) {
        graph->starts[i] += graph->starts[i - 1];
    }
    for (size_t i = 0; i < reading->pair_count; i++) {
        uint32_t *next = &graph->starts[reading->pairs[i].from + 1];
        graph->followers[(*next)++] = reading->pairs[i].to;
    }
    return true;
}

static int number_compare(const void *a, const void *b)
{
    const struct number *x = a;
    const struct number *y = b;
    if (x->source != y->source) {
        return x->source < y->source ? -1 : 1;
    }
    if (x->seq != y->seq) {
        return x->seq < y->seq ? -1 : 1;
    }
    return x->index < y->index ? -1 : 1;
}

static bool groups_sort(struct reading *reading)
{
    struct causal_graph *graph = reading->graph;
    size_t count = (size_t)graph->count;
    const struct number *numbers = reading->numbers;
    qsort(reading->numbers, count, sizeof *reading->numbers, number_compare);
    size_t groups = 0;
    for (size_t i = 0; i < count; i++) {
        groups += i == 0 || numbers[i].source != numbers[i - 1].source ||
                  numbers[i].seq != numbers[i - 1].seq;
    }
    graph->group_of = quipu_alloc(count + 1, sizeof *graph->group_of);
    graph->members = quipu_alloc(count + 1, sizeof *graph->members);
    graph->groups = quipu_alloc_zero(groups + 1, sizeof *graph->groups);
    if (graph->group_of == NULL || graph->members == NULL || graph->groups == NULL) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        bool is_same_source = i > 0 && numbers[i].source == numbers[i - 1].source;
        if (!is_same_source || numbers[i].seq != numbers[i - 1].seq) {
            graph->groups[graph->group_count++] = (struct causal_group){
                .first = (uint32_t)i, .is_behind = is_same_source, .is_in_reach = !is_same_source};
        }
        graph->groups[graph->group_count - 1].left++;
        graph->group_of[numbers[i].index] = graph->group_count - 1;
        graph->members[i] = numbers[i].index;
    }
    return true;
}

/* ------------------------------------------------------------------ all of it */

static enum quipu_status graph_begin(struct reading *reading, struct quipu_txn **txn,
                                     struct quipu_error *err)
{
    struct causal_graph *graph = reading->graph;
    enum quipu_status status = quipu_txn_begin_read(reading->engine->store, txn, err);
    if (status != QUIPU_OK) {
        return status;
    }
    graph->count = quipu_txn_last_position(*txn);
    if (graph->count > CAUSAL_EVENTS_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE,
                               "causal order: %" PRIu64 " events, at most %" PRIu32
                               " can be ordered",
                               graph->count, CAUSAL_EVENTS_MAX);
    }
    size_t count = (size_t)graph->count;
    graph->ids = quipu_alloc(count + 1, sizeof *graph->ids);
    graph->links = quipu_alloc_zero(count + 1, sizeof *graph->links);
    reading->numbers = quipu_alloc(count + 1, sizeof *reading->numbers);
    return graph->ids == NULL || graph->links == NULL || reading->numbers == NULL
               ? no_memory(graph->count, err)
               : QUIPU_OK;
}

enum quipu_status causal_graph_read(struct quipu_engine *engine, struct causal_graph *out,
                                    struct quipu_error *err)
{
    struct reading reading = {.engine = engine, .graph = out};
    struct quipu_txn *txn = NULL;
    enum quipu_status status = graph_begin(&reading, &txn, err);
    if (status == QUIPU_OK) {
        status = log_read(&reading, &txn, err);
    }
    quipu_txn_abort(&txn);
    quipu_free(reading.sources.texts);
    quipu_free(reading.sources.slots);
    if (status == QUIPU_OK && !followers_sort(&reading)) {
        status = no_memory(out->count, err);
    }
    quipu_free(reading.pairs);
    if (status == QUIPU_OK && !groups_sort(&reading)) {
        status = no_memory(out->count, err);
    }
    quipu_free(reading.numbers);
    return status;
}

void causal_graph_release(struct causal_graph *graph)
{
    quipu_free(graph->ids);
    quipu_free(graph->starts);
    quipu_free(graph->followers);
    quipu_free(graph->links);
    quipu_free(graph->group_of);
    quipu_free(graph->members);
    quipu_free(graph->groups);
    *graph = (struct causal_graph){0};
}

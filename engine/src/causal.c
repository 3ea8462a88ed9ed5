/*
 * The walk in causal order. Two heaps by event_id:
 *
 *   ready  every link of the event is walked, and so is the number before its own
 *   held   every link is walked, but not the number before
 *
 * The next event is the smallest one that is ready; where none is, the smallest one that is held:
 * numbers of a source that is in use twice can contradict the links, and then the links win. What
 * is in the heaps follows from the set of events walked so far, and so does the whole order.
 *
 * Links are hashes of what they name, so they go in no circle; a store where they seem to is
 * damaged.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "causal.h"

#include <inttypes.h>
#include <string.h>

#include "engine_impl.h"
#include "event_checked.h"
#include "event_filter.h"
#include "quipu/alloc.h"
#include "slice_budget.h"

#define LINKS_WALKED 0xff /* in graph.links: the event is walked */

/* Indexes, the one with the smallest event_id on top. */
struct id_heap {
    uint32_t *items;
    size_t len;
    size_t cap;
};

struct quipu_causal {
    struct causal_graph graph;
    uint64_t walked;
    struct id_heap ready;
    struct id_heap held;
};

/* ------------------------------------------------------------------ heaps */

static bool is_before(const struct causal_graph *graph, uint32_t a, uint32_t b)
{
    return memcmp(graph->ids[a].bytes, graph->ids[b].bytes, sizeof graph->ids[a].bytes) < 0;
}

static bool heap_push(const struct causal_graph *graph, struct id_heap *heap, uint32_t index)
{
    if (heap->len == heap->cap) {
        size_t cap = heap->cap == 0 ? 256 : heap->cap * 2;
        void *grown = quipu_realloc(heap->items, cap, sizeof *heap->items);
        if (grown == NULL) {
            return false;
        }
        heap->items = grown;
        heap->cap = cap;
    }
    size_t at = heap->len++;
    while (at > 0 && is_before(graph, index, heap->items[(at - 1) / 2])) {
        heap->items[at] = heap->items[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap->items[at] = index;
    return true;
}

/* Take the top of a heap that is not empty. */
static uint32_t heap_pop(const struct causal_graph *graph, struct id_heap *heap)
{
    uint32_t top = heap->items[0];
    uint32_t last = heap->items[--heap->len];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < heap->len && is_before(graph, heap->items[child + 1], heap->items[child])) {
            child++;
        }
        if (child >= heap->len || !is_before(graph, heap->items[child], last)) {
            break;
        }
        heap->items[at] = heap->items[child];
        at = child;
    }
    heap->items[at] = last;
    return top;
}

/* ------------------------------------------------------------------ the walk */

static bool is_in_reach(const struct causal_graph *graph, uint32_t index)
{
    return graph->groups[graph->group_of[index]].is_in_reach;
}

/* Every link of it is walked. */
static bool event_offer(struct quipu_causal *causal, uint32_t index)
{
    const struct causal_graph *graph = &causal->graph;
    return heap_push(graph, is_in_reach(graph, index) ? &causal->ready : &causal->held, index);
}

/* The number before this group's is walked through: who waited only for that is ready now. Its
 * entry in `held` is passed over later. */
static bool group_reach(struct quipu_causal *causal, struct causal_group *group, uint32_t count)
{
    const struct causal_graph *graph = &causal->graph;
    group->is_in_reach = true;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = graph->members[group->first + i];
        if (graph->links[index] == 0 && !heap_push(graph, &causal->ready, index)) {
            return false;
        }
    }
    return true;
}

static uint32_t group_end(const struct causal_graph *graph, uint32_t group)
{
    return group + 1 < graph->group_count ? graph->groups[group + 1].first : (uint32_t)graph->count;
}

static bool event_walk(struct quipu_causal *causal, uint32_t index)
{
    struct causal_graph *graph = &causal->graph;
    graph->links[index] = LINKS_WALKED;
    causal->walked++;
    for (uint32_t i = graph->starts[index]; i < graph->starts[index + 1]; i++) {
        uint32_t follower = graph->followers[i];
        if (--graph->links[follower] == 0 && !event_offer(causal, follower)) {
            return false;
        }
    }
    uint32_t at = graph->group_of[index];
    struct causal_group *group = &graph->groups[at];
    if (--group->left > 0 || at + 1 == graph->group_count || !graph->groups[at + 1].is_behind) {
        return true;
    }
    struct causal_group *next = &graph->groups[at + 1];
    return group_reach(causal, next, group_end(graph, at + 1) - next->first);
}

static enum quipu_status no_memory(const struct quipu_causal *causal, struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_NO_MEMORY,
                           "causal order: out of memory for %" PRIu64 " events",
                           causal->graph.count);
}

/* @retval QUIPU_DONE */
static enum quipu_status event_take(struct quipu_causal *causal, uint32_t *index,
                                    struct quipu_error *err)
{
    const struct causal_graph *graph = &causal->graph;
    if (causal->walked == graph->count) {
        return QUIPU_DONE;
    }
    if (causal->ready.len > 0) {
        *index = heap_pop(graph, &causal->ready);
        return QUIPU_OK;
    }
    while (causal->held.len > 0) {
        *index = heap_pop(graph, &causal->held);
        /* Those that came into reach were in the other heap, and that one is empty. */
        if (graph->links[*index] != LINKS_WALKED) {
            return QUIPU_OK;
        }
    }
    return quipu_error_set(err, QUIPU_CORRUPT,
                           "causal order: %" PRIu64 " of %" PRIu64 " events can be ordered, the "
                           "links of the others go in a circle; run `quipu verify`",
                           causal->walked, graph->count);
}

enum quipu_status quipu_causal_next(struct quipu_causal *causal, uint64_t *position,
                                    struct quipu_error *err)
{
    uint32_t index = 0;
    enum quipu_status status = event_take(causal, &index, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (!event_walk(causal, index)) {
        return no_memory(causal, err);
    }
    *position = (uint64_t)index + 1;
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ open and close */

enum quipu_status quipu_causal_open(struct quipu_engine *engine, struct quipu_causal **out,
                                    struct quipu_error *err)
{
    struct quipu_causal *causal = quipu_alloc_zero(1, sizeof *causal);
    if (causal == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "causal order: out of memory");
    }
    enum quipu_status status = causal_graph_read(engine, &causal->graph, err);
    for (uint64_t i = 0; status == QUIPU_OK && i < causal->graph.count; i++) {
        if (causal->graph.links[i] == 0 && !event_offer(causal, (uint32_t)i)) {
            status = no_memory(causal, err);
        }
    }
    if (status != QUIPU_OK) {
        quipu_causal_close(&causal);
        return status;
    }
    *out = causal;
    return QUIPU_OK;
}

uint64_t quipu_causal_count(const struct quipu_causal *causal)
{
    return causal->graph.count;
}

void quipu_causal_close(struct quipu_causal **causal)
{
    struct quipu_causal *closing = *causal;
    *causal = NULL;
    if (closing == NULL) {
        return;
    }
    causal_graph_release(&closing->graph);
    quipu_free(closing->ready.items);
    quipu_free(closing->held.items);
    quipu_free(closing);
}

/* ------------------------------------------------------------------ each event */

struct causal_visit {
    const struct quipu_filter *filter;
    struct event_filter wanted;
    quipu_event_fn visit;
    void *ctx;
    uint64_t left;
};

static bool lets_through(const struct causal_visit *visit, const struct quipu_record *record)
{
    const struct quipu_filter *filter = visit->filter;
    return record->position > filter->after &&
           (filter->until == 0 || record->position <= filter->until) &&
           event_filter_lets_through(&visit->wanted, record);
}

static enum quipu_status visit_next(struct quipu_causal *causal, struct quipu_txn *txn,
                                    struct causal_visit *visit, struct quipu_error *err)
{
    uint64_t position = 0;
    struct quipu_record record;
    struct quipu_event_view view;
    enum quipu_status status = quipu_causal_next(causal, &position, err);
    if (status == QUIPU_OK) {
        status = quipu_txn_record_at(txn, position, &record, err);
    }
    if (status != QUIPU_OK || !lets_through(visit, &record)) {
        return status;
    }
    status = event_view_read(&record, visit->filter->skips_hashing, &view, err);
    if (status == QUIPU_OK) {
        status = visit->visit(visit->ctx, &view, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    visit->left--;
    return visit->left == 0 ? QUIPU_DONE : QUIPU_OK;
}

enum quipu_status quipu_each_event_causal(struct quipu_engine *engine,
                                          const struct quipu_filter *filter, quipu_event_fn visit,
                                          void *ctx, struct quipu_error *err)
{
    static const struct quipu_filter everything;
    if (engine == NULL || visit == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE, "each event: no %s",
                               engine == NULL ? "engine" : "visitor");
    }
    struct causal_visit visiting = {
        .filter = filter == NULL ? &everything : filter, .visit = visit, .ctx = ctx};
    visiting.left = visiting.filter->limit == 0 ? UINT64_MAX : visiting.filter->limit;
    enum quipu_status status = event_filter_init(&visiting.wanted, visiting.filter, err);
    if (status == QUIPU_OK && visiting.filter->direction != QUIPU_FORWARDS) {
        status = quipu_error_set(err, QUIPU_INVALID, "filter: causal order goes forwards");
    }
    struct quipu_causal *causal = NULL;
    struct quipu_txn *txn = NULL;
    struct slice_budget budget = {0};
    if (status == QUIPU_OK) {
        status = quipu_causal_open(engine, &causal, err);
    }
    while (status == QUIPU_OK) {
        if (txn == NULL) {
            slice_budget_start(&budget);
            status = quipu_txn_begin_read(engine->store, &txn, err);
        }
        if (status == QUIPU_OK) {
            status = visit_next(causal, txn, &visiting, err);
        }
        if (slice_budget_spend(&budget)) {
            quipu_txn_abort(&txn);
        }
    }
    quipu_txn_abort(&txn);
    quipu_causal_close(&causal);
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

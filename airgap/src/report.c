/*
 * What the report says, read from the store:
 *
 *   1. who: the store, its source, the fingerprint of the source's key
 *   2. every event, in slices of a transaction each: both blocks are hashed again, events counted
 *      under their names, the tree over what the source has recorded grown leaf by leaf
 *   3. the source's last bundle, receipts, conflicts, quarantine
 *   4. the operations log, for its kinds, operators and the keys that signed
 *   5. counts become tables, whose names lie in one buffer
 *
 * Only reads, and holds what does not grow with the store.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "export_record.h"
#include "merkle.h"
#include "quipu/alloc.h"
#include "quipu/bundle.h"
#include "quipu/ingest.h"
#include "quipu/operations.h"
#include "quipu/receipts.h"
#include "tally.h"

#define SLICE_EVENTS 1024u /* of one read transaction */

/* Counts under names, up to so many names. */
struct counted {
    struct quipu_tally tally;
    size_t names_max;
    uint64_t others;
};

struct collecting {
    struct quipu_report *report;
    struct quipu_engine *engine;
    struct quipu_merkle tree;
    struct counted types;
    struct counted aggregate_types;
    struct counted firsts; /* per type of aggregates: their first events, so aggregates */
    struct counted by_aggregate;
    struct counted sources;
    struct counted kinds;
    struct counted operators;
    struct quipu_buf name;  /* "type/id" */
    struct quipu_buf forks; /* names of the conflicts' rows, one behind the other */
};

static enum quipu_status no_memory(struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory for the report");
}

/* One more under this name, or among the others where there are too many. */
static enum quipu_status count_one(struct counted *counted, struct quipu_slice name,
                                   struct quipu_error *err)
{
    size_t index = 0;
    if (!quipu_tally_find(&counted->tally, name, &index) &&
        counted->tally.count >= counted->names_max) {
        counted->others++;
        return QUIPU_OK;
    }
    return quipu_tally_count(&counted->tally, name, 0, counted->names_max, err);
}

/* ------------------------------------------------------------------ 1: who */

static enum quipu_status take_fingerprint(struct quipu_report *report, struct quipu_error *err)
{
    uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES];
    uint8_t key[QUIPU_SSH_ED25519_KEY_BYTES];
    enum quipu_status status =
        quipu_source_public_key(quipu_slice_text(report->source), public_key, err);
    if (status != QUIPU_OK) {
        return status;
    }
    quipu_ssh_key_from_ed25519(public_key, key);
    quipu_ssh_key_fingerprint(quipu_slice(key, sizeof key), report->fingerprint);
    return QUIPU_OK;
}

static enum quipu_status collect_who(struct collecting *run, struct quipu_error *err)
{
    struct quipu_report *report = run->report;
    report->tool = "quipu " QUIPU_VERSION_TEXT;
    report->store = quipu_store_id(quipu_engine_store(run->engine));
    enum quipu_status status = quipu_identity_source(run->engine, report->source, err);
    if (status == QUIPU_NOT_FOUND || status == QUIPU_KEY_LOCKED) {
        /* New, or restored from a backup, perhaps beside a wrapped key that has not recorded. */
        report->source[0] = 0;
        return QUIPU_OK;
    }
    return status == QUIPU_OK ? take_fingerprint(report, err) : status;
}

/* ------------------------------------------------------------------ 2: events */

static enum quipu_status grow_tree(struct collecting *run, const struct quipu_event_view *event,
                                   struct quipu_error *err)
{
    uint64_t number = event->envelope.source_seq;
    if (!quipu_slice_equal(event->envelope.source, quipu_slice_text(run->report->source)) ||
        number <= run->tree.size) {
        return QUIPU_OK; /* another source's, or a number that was used twice: the first counts */
    }
    if (number != run->tree.size + 1) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "position %" PRIu64 " has number %" PRIu64
                               " of the store's source, where %" PRIu64 " should follow",
                               event->position, number, run->tree.size + 1);
    }
    quipu_merkle_add(&run->tree, event->envelope_block);
    return QUIPU_OK;
}

static void note_time(struct quipu_report *report, const struct quipu_event_view *event)
{
    int64_t unix_us = event->envelope.occurred_unix_us;
    bool is_first = event->position == 1;
    if (is_first || unix_us < report->first_occurred_unix_us) {
        report->first_occurred_unix_us = unix_us;
    }
    if (is_first || unix_us > report->last_occurred_unix_us) {
        report->last_occurred_unix_us = unix_us;
    }
}

static enum quipu_status name_aggregate(struct collecting *run, struct quipu_slice type,
                                        struct quipu_slice id, struct quipu_error *err)
{
    quipu_buf_reset(&run->name);
    quipu_buf_append_slice(&run->name, type);
    quipu_buf_append_byte(&run->name, '/');
    quipu_buf_append_slice(&run->name, id);
    return run->name.status == QUIPU_OK ? QUIPU_OK : no_memory(err);
}

static enum quipu_status count_event(struct collecting *run, const struct quipu_record *record,
                                     struct quipu_error *err)
{
    struct quipu_event_view event;
    enum quipu_status status = quipu_event_view_of(record, &event, err);
    if (status == QUIPU_OK) {
        status = quipu_event_view_verify(&event, err);
    }
    if (status == QUIPU_OK) {
        status = grow_tree(run, &event, err);
    }
    if (status == QUIPU_OK) {
        note_time(run->report, &event);
        status = count_one(&run->types, event.envelope.event_type, err);
    }
    if (status == QUIPU_OK) {
        status = count_one(&run->sources, event.envelope.source, err);
    }
    if (status == QUIPU_OK) {
        status = count_one(&run->aggregate_types, event.envelope.aggregate_type, err);
    }
    /* A type's first event is the first of its first aggregate: both hold the same names. */
    if (status == QUIPU_OK && record->aggregate_prev_position == 0) {
        run->report->aggregates++;
        status = count_one(&run->firsts, event.envelope.aggregate_type, err);
    }
    if (status == QUIPU_OK && run->report->aggregates <= QUIPU_REPORT_AGGREGATES_MAX) {
        status =
            name_aggregate(run, event.envelope.aggregate_type, event.envelope.aggregate_id, err);
        if (status == QUIPU_OK) {
            status = count_one(&run->by_aggregate, quipu_buf_slice(&run->name), err);
        }
    }
    return status;
}

/* The log as it was at the start; a transaction for each slice, so that the file of a store that
 * others write does not grow for our sake. */
static enum quipu_status collect_events(struct collecting *run, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_read(quipu_engine_store(run->engine), &txn, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = quipu_txn_backup_mark(txn, &run->report->was_backup, err);
    uint64_t last = quipu_txn_last_position(txn);
    for (uint64_t at = 1; status == QUIPU_OK && at <= last; at++) {
        struct quipu_record record;
        if (at % SLICE_EVENTS == 0) {
            quipu_txn_abort(&txn);
            status = quipu_txn_begin_read(quipu_engine_store(run->engine), &txn, err);
        }
        if (status == QUIPU_OK) {
            status = quipu_txn_record_at(txn, at, &record, err);
        }
        if (status == QUIPU_NOT_FOUND) {
            status = quipu_error_set(err, QUIPU_CORRUPT, "position %" PRIu64 " is missing", at);
        }
        if (status == QUIPU_OK) {
            status = count_event(run, &record, err);
        }
    }
    quipu_txn_abort(&txn);
    run->report->events = last;
    run->report->log_size = run->tree.size;
    quipu_merkle_root(&run->tree, run->report->log_root);
    return status;
}

/* ------------------------------------------------------------------ 3: how it stands */

static enum quipu_status collect_bundle(struct collecting *run, struct quipu_error *err)
{
    struct quipu_report *report = run->report;
    struct quipu_export_record record = {0};
    enum quipu_status status = quipu_export_record_load(run->engine, report->source, &record, err);
    if (status != QUIPU_OK) {
        return status;
    }
    report->bundle = record.number;
    report->is_bundle_settled = record.is_settled;
    report->bundle_manifest = record.manifest;
    report->has_bundle_log = record.has_tree;
    report->bundle_log_size = record.tree.size;
    memcpy(report->bundle_log_root, record.tree.root, sizeof report->bundle_log_root);
    /* A bundle that was made meanwhile may hold more than was read here. */
    report->not_exported = record.exported < report->events ? report->events - record.exported : 0;
    return QUIPU_OK;
}

static enum quipu_status take_fork(void *ctx, const struct quipu_fork *fork,
                                   struct quipu_error *err)
{
    struct collecting *run = ctx;
    struct quipu_report *report = run->report;
    if (fork->state == QUIPU_FORK_CLOSED || report->fork_row_count == QUIPU_REPORT_FORKS_MAX) {
        return QUIPU_OK;
    }
    enum quipu_status status = name_aggregate(run, fork->aggregate.type, fork->aggregate.id, err);
    if (status != QUIPU_OK) {
        return status;
    }
    bool is_source = fork->kind == QUIPU_FORK_SOURCE;
    struct quipu_slice source = is_source ? fork->source : quipu_slice(NULL, 0);
    /* Their text goes into `forks`, which may move: for now only the lengths are right. */
    report->fork_rows[report->fork_row_count++] = (struct quipu_report_fork){
        .kind = fork->kind,
        .state = fork->state,
        .aggregate = quipu_slice(NULL, run->name.len),
        .source = quipu_slice(NULL, source.len),
        .number = is_source ? fork->source_seq : fork->version,
    };
    quipu_buf_append_slice(&run->forks, quipu_buf_slice(&run->name));
    quipu_buf_append_slice(&run->forks, source);
    return run->forks.status == QUIPU_OK ? QUIPU_OK : no_memory(err);
}

static enum quipu_status count_quarantined(void *ctx, const struct quipu_quarantined *event,
                                           struct quipu_error *err)
{
    struct quipu_report *report = ctx;
    (void)event;
    (void)err;
    report->quarantined++;
    return QUIPU_OK;
}

static enum quipu_status collect_state(struct collecting *run, struct quipu_error *err)
{
    struct quipu_report *report = run->report;
    enum quipu_status status = collect_bundle(run, err);
    if (status == QUIPU_OK) {
        status = quipu_outbox_status(run->engine, &report->outbox, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_fork_count(run->engine, &report->forks, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_each_fork(run->engine, take_fork, run, err);
    }
    return status == QUIPU_OK ? quipu_each_quarantined(run->engine, count_quarantined, report, err)
                              : status;
}

/* ------------------------------------------------------------------ 4: operations */

/* An NKey or a fingerprint: what may stand under a number instead of itself. */
static bool is_key_name(struct quipu_slice name)
{
    static const char begin[] = "SHA256:";
    char text[QUIPU_SOURCE_TEXT_BYTES];
    uint8_t key[QUIPU_PUBLIC_KEY_BYTES];
    if (name.len >= sizeof text) {
        return false;
    }
    if (name.len == QUIPU_SSH_FINGERPRINT_BYTES - 1 &&
        memcmp(name.data, begin, sizeof begin - 1) == 0) {
        return true;
    }
    return quipu_source_public_key(name, key, NULL) == QUIPU_OK;
}

static void count_signer(struct quipu_report *report, struct quipu_slice name)
{
    if (quipu_slice_equal(name, quipu_slice_text(report->source))) {
        return;
    }
    for (size_t i = 0; i < report->signer_count; i++) {
        if (quipu_slice_equal(name, quipu_slice_text(report->signers[i].name))) {
            report->signers[i].operations++;
            return;
        }
    }
    if (report->signer_count == QUIPU_REPORT_SIGNERS_MAX || !is_key_name(name)) {
        return;
    }
    struct quipu_report_signer *signer = &report->signers[report->signer_count++];
    memcpy(signer->name, name.data, name.len);
    signer->name[name.len] = 0;
    signer->operations = 1;
}

/* Spaces stand between the names. */
static void count_signers(struct quipu_report *report, struct quipu_slice names)
{
    size_t from = 0;
    for (size_t i = 0; i <= names.len; i++) {
        if (i < names.len && names.data[i] != ' ') {
            continue;
        }
        if (i > from) {
            count_signer(report, quipu_slice(names.data + from, i - from));
        }
        from = i + 1;
    }
}

/* By a line for bundles or receipts, whenever it holds: whose key it is, not what it may. */
static bool does_name(const struct quipu_trust_signer *line, const char *name)
{
    char named[QUIPU_SOURCE_TEXT_BYTES];
    int64_t unix_us = line->valid_before_unix_us;
    if (!quipu_trust_signer_may(line, QUIPU_BUNDLE_NAMESPACE, unix_us) &&
        !quipu_trust_signer_may(line, QUIPU_RECEIPTS_NAMESPACE, unix_us)) {
        return false;
    }
    quipu_ssh_key_name(line->key, named);
    return strcmp(named, name) == 0;
}

static void name_signers(struct quipu_report *report, const struct quipu_trust *trust)
{
    size_t lines = trust == NULL ? 0 : quipu_trust_count(trust);
    for (size_t i = 0; i < report->signer_count; i++) {
        struct quipu_report_signer *signer = &report->signers[i];
        for (size_t at = 0; at < lines && signer->principals.len == 0; at++) {
            const struct quipu_trust_signer *line = quipu_trust_signer_at(trust, at);
            if (does_name(line, signer->name)) {
                signer->principals = line->principals;
            }
        }
    }
}

static enum quipu_status count_operation(void *ctx, const struct quipu_operation *operation,
                                         struct quipu_error *err)
{
    struct collecting *run = ctx;
    run->report->last_operation = operation->number;
    count_signers(run->report, operation->signers);
    enum quipu_status status = count_one(&run->kinds, operation->kind, err);
    if (status == QUIPU_OK && operation->operator_name.len > 0) {
        status = count_one(&run->operators, operation->operator_name, err);
    }
    return status;
}

/* ------------------------------------------------------------------ 5: tables */

static int row_order(const void *a, const void *b)
{
    const struct quipu_report_count *left = a;
    const struct quipu_report_count *right = b;
    return quipu_slice_compare(left->name, right->name);
}

/* The names must lie in `names` for good: it has room for all of them. */
static enum quipu_status make_table(const struct counted *counted, const struct counted *firsts,
                                    struct quipu_buf *names, struct quipu_report_table *table,
                                    struct quipu_error *err)
{
    const struct quipu_tally *tally = &counted->tally;
    size_t count = tally->count + (counted->others > 0 ? 1 : 0);
    if (count == 0) {
        return QUIPU_OK;
    }
    table->rows = quipu_alloc_zero(count, sizeof *table->rows);
    if (table->rows == NULL) {
        return no_memory(err);
    }
    table->count = count;
    for (size_t i = 0; i < tally->count; i++) {
        const uint8_t *at = names->data + names->len;
        quipu_buf_append_slice(names, tally->entries[i].name);
        table->rows[i] = (struct quipu_report_count){
            .name = quipu_slice(at, tally->entries[i].name.len),
            .count = tally->entries[i].count,
            .aggregates = firsts == NULL ? 0 : firsts->tally.entries[i].count,
        };
    }
    qsort(table->rows, tally->count, sizeof *table->rows, row_order);
    if (counted->others > 0) {
        table->rows[tally->count].count = counted->others;
        table->rows[tally->count].aggregates = firsts == NULL ? 0 : firsts->others;
    }
    return QUIPU_OK;
}

static size_t names_bytes(const struct counted *counted)
{
    size_t bytes = 0;
    for (size_t i = 0; i < counted->tally.count; i++) {
        bytes += counted->tally.entries[i].name.len;
    }
    return bytes;
}

static void name_forks(struct collecting *run)
{
    struct quipu_report *report = run->report;
    const uint8_t *at = report->names.data + report->names.len;
    quipu_buf_append_slice(&report->names, quipu_buf_slice(&run->forks));
    for (size_t i = 0; i < report->fork_row_count; i++) {
        struct quipu_report_fork *fork = &report->fork_rows[i];
        fork->aggregate.data = at;
        fork->source.data = at + fork->aggregate.len;
        at += fork->aggregate.len + fork->source.len;
    }
}

static enum quipu_status make_tables(struct collecting *run, struct quipu_error *err)
{
    struct quipu_report *report = run->report;
    struct {
        const struct counted *counted;
        const struct counted *firsts;
        struct quipu_report_table *table;
    } tables[] = {
        {&run->types, NULL, &report->types},
        {&run->aggregate_types, &run->firsts, &report->aggregate_types},
        {&run->by_aggregate, NULL, &report->by_aggregate},
        {&run->sources, NULL, &report->sources},
        {&run->kinds, NULL, &report->kinds},
        {&run->operators, NULL, &report->operators},
    };
    size_t bytes = run->forks.len + 1; /* never 0, so that there is memory to point into */
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        bytes += names_bytes(tables[i].counted);
    }
    if (quipu_buf_reserve(&report->names, bytes) == NULL) {
        return no_memory(err);
    }
    name_forks(run);
    enum quipu_status status = QUIPU_OK;
    for (size_t i = 0; i < sizeof tables / sizeof tables[0] && status == QUIPU_OK; i++) {
        bool has_too_many = tables[i].counted == &run->by_aggregate &&
                            report->aggregates > QUIPU_REPORT_AGGREGATES_MAX;
        if (!has_too_many) {
            status = make_table(tables[i].counted, tables[i].firsts, &report->names,
                                tables[i].table, err);
        }
    }
    return status;
}

/* ------------------------------------------------------------------ all of it */

static enum quipu_status collect(struct collecting *run, const struct quipu_trust *trust,
                                 struct quipu_error *err)
{
    enum quipu_status status = collect_who(run, err);
    if (status == QUIPU_OK) {
        status = collect_events(run, err);
    }
    if (status == QUIPU_OK) {
        status = collect_state(run, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_each_operation(run->engine, run->report->after, count_operation, run, err);
    }
    name_signers(run->report, trust);
    return status == QUIPU_OK ? make_tables(run, err) : status;
}

enum quipu_status quipu_report_collect(struct quipu_engine *engine,
                                       const struct quipu_report_options *options,
                                       struct quipu_report *out, struct quipu_error *err)
{
    static const struct quipu_report_options defaults = QUIPU_REPORT_OPTIONS_INIT;
    if (engine == NULL || out == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE, "a report needs an engine and a place");
    }
    *out = (struct quipu_report){0};
    if (options == NULL) {
        options = &defaults;
    }
    if (options->size != sizeof *options) {
        return quipu_error_set(err, QUIPU_MISUSE, "report options of %zu bytes, not %zu",
                               options->size, sizeof *options);
    }
    struct quipu_clock system = quipu_clock_system();
    const struct quipu_clock *clock = options->clock == NULL ? &system : options->clock;
    out->engine = engine;
    out->after = options->after;
    out->last_operation = options->after;
    out->printed_unix_us = clock->unix_us(clock->ctx);
    struct collecting run = {
        .report = out,
        .engine = engine,
        .types = {.names_max = QUIPU_REPORT_NAMES_MAX},
        .aggregate_types = {.names_max = QUIPU_REPORT_NAMES_MAX},
        .firsts = {.names_max = QUIPU_REPORT_NAMES_MAX},
        .by_aggregate = {.names_max = QUIPU_REPORT_AGGREGATES_MAX},
        .sources = {.names_max = QUIPU_REPORT_NAMES_MAX},
        .kinds = {.names_max = QUIPU_REPORT_NAMES_MAX},
        .operators = {.names_max = QUIPU_REPORT_OPERATORS_MAX},
    };
    enum quipu_status status = collect(&run, options->trust, err);
    struct counted *all[] = {&run.types,   &run.aggregate_types, &run.firsts,   &run.by_aggregate,
                             &run.sources, &run.kinds,           &run.operators};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        quipu_tally_release(&all[i]->tally);
    }
    quipu_buf_release(&run.name);
    quipu_buf_release(&run.forks);
    return status;
}

static void table_release(struct quipu_report_table *table)
{
    quipu_free(table->rows);
    *table = (struct quipu_report_table){0};
}

void quipu_report_release(struct quipu_report *report)
{
    table_release(&report->types);
    table_release(&report->aggregate_types);
    table_release(&report->by_aggregate);
    table_release(&report->sources);
    table_release(&report->kinds);
    table_release(&report->operators);
    quipu_buf_release(&report->names);
    *report = (struct quipu_report){0};
}

/*
 * Taking a checked bundle, or checked lines, in: in one transaction, or in slices into a copy of
 * the store that then takes its place (docs/adr/0011). Its place among the bundles of its source
 * and its row in the operations log are written together with the last of its events.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "import.h"
#include "internal/failpoint.h"
#include "quipu/operations.h"
#include "quipu/store_upkeep.h"

/* A slice of an import into a copy: so much held in memory, or so many events, whichever comes
 * first. */
#define SLICE_BYTES  (UINT64_C(16) << 20)
#define SLICE_EVENTS UINT64_C(8192)

struct accepting {
    struct quipu_import *import;
    struct quipu_engine *engine;
    bool is_sliced;
    struct quipu_ingest *ingest;
    struct quipu_import_place place;
    uint64_t slice_events;
    uint64_t memory_max;                  /* of one transaction for all */
    struct quipu_ingest_report events;    /* of the bundle, so far */
    struct quipu_ingest_report committed; /* with those that were let out of quarantine */
    enum quipu_status refused;            /* what the store said */
};

static enum quipu_status begin_slice(struct accepting *run, struct quipu_error *err)
{
    struct quipu_ingest_options options = QUIPU_INGEST_OPTIONS_INIT;
    options.policy = QUIPU_INGEST_STRICT;
    options.forks =
        run->import->options.keeps_forks ? QUIPU_INGEST_FORKS_KEEP : QUIPU_INGEST_FORKS_REFUSE;
    /* Its signature held (judge_signers); it speaks for this source's events and no other's. */
    options.proven_source = quipu_slice_text(run->import->bundle.source);
    run->slice_events = 0;
    return quipu_ingest_begin_with(run->engine, &options, &run->ingest, err);
}

static enum quipu_status end_slice(struct accepting *run, struct quipu_error *err)
{
    struct quipu_ingest_report report = {0};
    enum quipu_status status = quipu_ingest_commit(&run->ingest, &report, err);
    if (status == QUIPU_OK) {
        run->committed.added += report.added;
        run->committed.known += report.known;
        run->committed.released += report.released;
        run->committed.forks += report.forks;
    }
    return status;
}

static enum quipu_status take_slice(struct accepting *run, struct quipu_error *err)
{
    enum quipu_status status = quipu_failpoint("airgap.import.slice", err);
    if (status == QUIPU_OK) {
        status = end_slice(run, err);
    }
    return status == QUIPU_OK ? begin_slice(run, err) : status;
}

static enum quipu_status too_large(const struct accepting *run, struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_TOO_LARGE, "more than %" PRIu64 " MiB of memory",
                           run->memory_max >> 20);
}

/* Slices end in time; one transaction for all has its bound. */
static enum quipu_status hold_little(struct accepting *run, struct quipu_error *err)
{
    uint64_t held = quipu_txn_bytes_held(quipu_ingest_txn(run->ingest));
    if (!run->is_sliced) {
        return held > run->memory_max ? too_large(run, err) : QUIPU_OK;
    }
    run->slice_events++;
    return held >= SLICE_BYTES || run->slice_events >= SLICE_EVENTS ? take_slice(run, err)
                                                                    : QUIPU_OK;
}

/* The reader has held each block to its limit: it is the transaction that is full. */
static enum quipu_status wrap_full(enum quipu_status status, struct quipu_error *err)
{
    return status != QUIPU_TOO_LARGE
               ? status
               : quipu_error_wrap(err, status,
                                  "too much for one transaction, so nothing is taken in; have it "
                                  "taken in with the store closed to others");
}

static enum quipu_status take_event(void *ctx, const struct quipu_bundle_event *event,
                                    struct quipu_error *err)
{
    struct accepting *run = ctx;
    struct quipu_foreign foreign = {
        .cid = event->cid, .envelope = event->envelope, .payload = event->payload};
    enum quipu_ingest_outcome outcome = QUIPU_INGEST_ADDED;
    enum quipu_status status = quipu_failpoint("airgap.import.event", err);
    if (status == QUIPU_OK) {
        status = quipu_ingest_event(run->ingest, &foreign, &outcome, err);
    }
    if (status == QUIPU_OK) {
        run->events.added += outcome == QUIPU_INGEST_ADDED;
        run->events.known += outcome == QUIPU_INGEST_KNOWN;
    }
    if (status == QUIPU_OK) {
        status = hold_little(run, err);
    }
    if (status != QUIPU_OK) {
        run->refused = status;
    }
    return wrap_full(status, err);
}

/* At most as many events can be known as the store holds, and all others are new: a bundle that is
 * too large by that count needs no try. */
static enum quipu_status judge_size(const struct accepting *run, struct quipu_error *err)
{
    const struct quipu_bundle_report *bundle = &run->import->bundle;
    uint64_t here = quipu_txn_last_position(quipu_ingest_txn(run->ingest));
    uint64_t added = bundle->events > here ? bundle->events - here : 0;
    if (run->is_sliced || added == 0 ||
        run->import->item_bytes / bundle->events <= run->memory_max / added) {
        return QUIPU_OK;
    }
    return wrap_full(too_large(run, err), err);
}

static enum quipu_status judge_place(struct accepting *run, struct quipu_error *err)
{
    const struct quipu_import *import = run->import;
    enum quipu_status status =
        quipu_import_place_judge(quipu_ingest_txn(run->ingest), &import->bundle, &run->place, err);
    if (status == QUIPU_OK && run->place.missing > 0 && import->options.accept_gap == NULL) {
        status = quipu_import_place_gap(&import->bundle, run->place.missing, err);
    }
    return status == QUIPU_OK ? status : quipu_error_wrap(err, status, "%s", import->path);
}

/* Its place and its operation, in the transaction of its last events. */
static enum quipu_status record(struct accepting *run, uint64_t *number, struct quipu_error *err)
{
    const struct quipu_import *import = run->import;
    const struct quipu_bundle_report *bundle = &import->bundle;
    struct quipu_txn *txn = quipu_ingest_txn(run->ingest);
    struct quipu_buf names = QUIPU_BUF_INIT;
    quipu_signer_names(bundle->signers, (size_t)bundle->signatures, &names);
    struct quipu_operation operation = {
        .unix_us = import->clock.unix_us(import->clock.ctx),
        .kind = quipu_slice_text(import->is_lines ? QUIPU_OPERATION_IMPORT_LINES
                                                  : QUIPU_OPERATION_IMPORT),
        .operator_name = quipu_slice_text(import->options.operator_name),
        .source = quipu_slice_text(bundle->source),
        .signers = quipu_buf_slice(&names),
        .bundle = bundle->number,
        .has_manifest = !import->is_lines,
        .manifest = bundle->manifest,
        .has_sha256 = true,
        .events = bundle->events,
        .added = run->events.added,
        .known = run->events.known,
        .missing = run->place.missing,
    };
    memcpy(operation.sha256, bundle->file_sha256, sizeof operation.sha256);
    if (run->place.missing > 0) {
        operation.reason = quipu_slice_text(import->options.accept_gap);
    }
    enum quipu_status status =
        names.status == QUIPU_OK
            ? QUIPU_OK
            : quipu_error_set(err, names.status, "no memory to record the import");
    if (status == QUIPU_OK && !run->place.is_known) {
        status = quipu_import_place_keep(txn, bundle, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_operation_record(txn, &operation, number, err);
    }
    quipu_buf_release(&names);
    return status;
}

static enum quipu_status accept_all(struct accepting *run, struct quipu_import_report *report,
                                    struct quipu_error *err)
{
    struct quipu_import *import = run->import;
    bool is_empty = import->is_lines && import->bundle.events == 0;
    uint64_t number = 0;
    enum quipu_status status = begin_slice(run, err);
    if (status == QUIPU_OK) {
        status = judge_place(run, err);
    }
    if (status == QUIPU_OK) {
        status = judge_size(run, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_import_again(import, take_event, run, &run->refused, err);
    }
    if (status == QUIPU_OK && !is_empty) {
        status = record(run, &number, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_failpoint("airgap.import.commit", err);
    }
    if (status == QUIPU_OK && !is_empty && (!import->options.is_dry_run || run->is_sliced)) {
        status = end_slice(run, err);
    }
    quipu_ingest_abort(&run->ingest);
    if (status == QUIPU_OK) {
        *report = (struct quipu_import_report){
            .bundle = import->bundle,
            .events = import->options.is_dry_run ? run->events : run->committed,
            .missing = run->place.missing,
            .was_known = run->place.is_known,
            .operation = import->options.is_dry_run ? 0 : number,
        };
    }
    return status;
}

enum quipu_status quipu_import_accept(struct quipu_import *import, struct quipu_engine *engine,
                                      struct quipu_import_report *report, struct quipu_error *err)
{
    return quipu_import_accept_within(import, engine, UINT64_MAX, report, err);
}

enum quipu_status quipu_import_accept_within(struct quipu_import *import,
                                             struct quipu_engine *engine, uint64_t memory_max,
                                             struct quipu_import_report *report,
                                             struct quipu_error *err)
{
    struct accepting run = {.import = import, .engine = engine, .memory_max = memory_max};
    struct quipu_import_report found;
    enum quipu_status status = accept_all(&run, &found, err);
    if (status == QUIPU_OK && report != NULL) {
        *report = found;
    }
    return status;
}

enum quipu_status quipu_import_accept_alone(struct quipu_import *import, const char *store,
                                            struct quipu_import_report *report,
                                            struct quipu_error *err)
{
    struct quipu_store_stage *stage = NULL;
    struct quipu_import_report found;
    struct accepting run = {.import = import, .is_sliced = true};
    enum quipu_status status = quipu_store_stage_begin(store, &stage, err);
    if (status == QUIPU_OK) {
        status = quipu_engine_open(quipu_store_stage_store(stage), NULL, &run.engine, err);
    }
    if (status == QUIPU_OK) {
        status = accept_all(&run, &found, err);
    }
    quipu_engine_close(&run.engine);
    if (status == QUIPU_OK && !import->options.is_dry_run) {
        status = quipu_store_stage_commit(&stage, err);
    }
    quipu_store_stage_abort(&stage);
    if (status == QUIPU_OK && report != NULL) {
        *report = found;
    }
    return status;
}

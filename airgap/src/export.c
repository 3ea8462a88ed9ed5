/*
 * Export, as a straight line:
 *
 *   1. fix which events: the filter's end is the log's end now at the latest
 *   2. first pass: hash every block again, collect the envelopes' CIDs, counts, ranges, tree
 *   3. checkpoint, proofs, manifest, signature, root: they stand first in the file and name what
 *      follows
 *   4. second pass: write the blocks to a temporary file; sync it
 *   5. read it back as an importer would
 *   6. reserve its number in the store; give it its name; settle it in the store
 *
 * The log only grows, so both passes see the same events. A failure before step 6 leaves nothing
 * behind, a failure in it takes the file and the number back. A kill between reserving and settling
 * leaves a number that is not used again, and the next bundle since the last one holds its events
 * once more. Never writes to the log and marks nothing as published.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "export_run.h"
#include "internal/failpoint.h"
#include "quipu/alloc.h"
#include "said.h"

#define EXPORT_LOCK "export"

/* ------------------------------------------------------------------ 1: which */

/* Does it leave events between its ends out? */
static bool filter_chooses(const struct quipu_filter *filter)
{
    return filter->limit != 0 || filter->aggregate_type != NULL || filter->aggregate_id != NULL ||
           filter->event_type != NULL || !quipu_uuid_is_nil(filter->correlation_id) ||
           filter->from_version != 0;
}

static enum quipu_status check_options(const struct quipu_export_options *options,
                                       struct quipu_error *err)
{
    if (options->size != sizeof *options) {
        return quipu_error_set(err, QUIPU_MISUSE, "export options of %zu bytes, not %zu",
                               options->size, sizeof *options);
    }
    if (options->filter.direction != QUIPU_FORWARDS) {
        return quipu_error_set(err, QUIPU_MISUSE, "a bundle holds events oldest first");
    }
    if (options->volume_bytes != 0 && options->volume_bytes < QUIPU_BUNDLE_VOLUME_BYTES_MIN) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "volumes of %" PRIu64 " bytes are smaller than %u",
                               options->volume_bytes, QUIPU_BUNDLE_VOLUME_BYTES_MIN);
    }
    if (options->from == QUIPU_EXPORT_SINCE_LAST &&
        (options->filter.after != 0 || filter_chooses(&options->filter))) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "what has come in since the last bundle is all of it: leave the "
                               "selection out");
    }
    enum quipu_status status =
        quipu_said_check("operator", options->operator_name, QUIPU_BUNDLE_OPERATOR_BYTES_MAX, err);
    if (status == QUIPU_OK) {
        status = quipu_said_check("reason", options->reason, QUIPU_BUNDLE_REASON_BYTES_MAX, err);
    }
    return status;
}

/* The log may grow while we write: what comes after this moment is not in this bundle. */
static enum quipu_status fix_end(struct quipu_export_run *run, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_read(quipu_engine_store(run->engine), &txn, err);
    if (status != QUIPU_OK) {
        return status;
    }
    run->log_end = quipu_txn_last_position(txn);
    quipu_txn_abort(&txn);
    run->filter = run->options.filter;
    if (run->log_end == 0) {
        return quipu_error_set(err, QUIPU_NOT_FOUND, "the store has no events to export");
    }
    if (run->filter.until == 0 || run->filter.until > run->log_end) {
        run->filter.until = run->log_end;
    }
    return QUIPU_OK;
}

/* One at a time, or two bundles would have one number. Who cannot write takes none. */
static enum quipu_status take_lock(struct quipu_export_run *run, struct quipu_error *err)
{
    enum quipu_status status =
        quipu_store_lock_take(quipu_engine_store(run->engine), EXPORT_LOCK, &run->lock, err);
    if (status != QUIPU_PERMISSION) {
        return status;
    }
    run->is_read_only = true;
    return QUIPU_OK;
}

static enum quipu_status export_begin(struct quipu_export_run *run, struct quipu_error *err)
{
    enum quipu_status status = take_lock(run, err);
    if (status == QUIPU_OK) {
        status = fix_end(run, err);
    }
    if (status == QUIPU_OK && !run->is_read_only) {
        status = quipu_identity_ensure_first(run->engine, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_identity_source(run->engine, run->source, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_export_record_load(run->engine, run->source, &run->last, err);
    }
    if (status == QUIPU_OK && run->options.from == QUIPU_EXPORT_SINCE_LAST) {
        run->filter.after = run->last.exported;
    }
    if (status == QUIPU_OK && run->filter.after >= run->filter.until) {
        status =
            run->options.from == QUIPU_EXPORT_SINCE_LAST
                ? quipu_error_set(err, QUIPU_NOT_FOUND,
                                  "no event has come in since bundle number %" PRIu64,
                                  run->last.number)
                : quipu_error_set(err, QUIPU_NOT_FOUND, "no event is let through by the filter");
    }
    return status != QUIPU_OK
               ? status
               : quipu_merkle_log_load(&run->log, run->engine, run->source, run->log_end, err);
}

/* ------------------------------------------------------------------ 6: number, name, settle */

/* After this nobody else gets the number, whatever happens. */
static enum quipu_status reserve(struct quipu_export_run *run, struct quipu_export_record *record,
                                 struct quipu_error *err)
{
    *record = (struct quipu_export_record){
        .number = run->manifest.number,
        .manifest = run->manifest_cid,
        .exported = run->last.exported,
        .has_tree = true,
        .tree = run->log_tree,
    };
    enum quipu_status status = quipu_failpoint("airgap.export.reserve", err);
    if (status == QUIPU_OK) {
        status = quipu_export_record_save(run->engine, run->source, record, &run->log, NULL, err);
    }
    return status == QUIPU_OK
               ? status
               : quipu_error_wrap(err, status, "reserve bundle number %" PRIu64, record->number);
}

/* What the operations log says of this export. */
static struct quipu_operation describe(const struct quipu_export_run *run)
{
    struct quipu_operation operation = {
        .unix_us = run->manifest.created_unix_us,
        .kind = quipu_slice_text(QUIPU_OPERATION_EXPORT),
        .operator_name = run->manifest.operator_name,
        .reason = run->manifest.reason,
        .source = run->manifest.source,
        .signers = run->manifest.source,
        .bundle = run->manifest.number,
        .has_manifest = true,
        .manifest = run->manifest_cid,
        .has_sha256 = true,
        .events = run->tree.size,
    };
    memcpy(operation.sha256, run->car_sha256, sizeof operation.sha256);
    return operation;
}

static enum quipu_status settle(struct quipu_export_run *run, struct quipu_export_record *record,
                                struct quipu_error *err)
{
    struct quipu_operation operation = describe(run);
    record->is_settled = true;
    if (run->filter.after <= record->exported && run->filter.until > record->exported &&
        !filter_chooses(&run->filter)) {
        record->exported = run->filter.until;
    }
    enum quipu_status status = quipu_failpoint("airgap.export.record", err);
    if (status == QUIPU_OK) {
        status = quipu_export_record_save(run->engine, run->source, record, NULL, &operation, err);
    }
    return status == QUIPU_OK
               ? status
               : quipu_error_wrap(err, status, "record bundle number %" PRIu64, record->number);
}

static enum quipu_status export_publish(struct quipu_export_run *run, struct quipu_error *err)
{
    struct quipu_export_record record = {0};
    if (run->is_read_only) {
        return quipu_export_target_publish(&run->target, err);
    }
    enum quipu_status status = reserve(run, &record, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = quipu_export_target_publish(&run->target, err);
    if (status == QUIPU_OK) {
        status = settle(run, &record, err);
        if (status != QUIPU_OK) {
            quipu_export_target_retract(&run->target);
        }
    }
    if (status != QUIPU_OK) {
        /* Nobody has seen the file, so its number is free again; where this fails it is lost. */
        enum quipu_status ignored =
            quipu_export_record_save(run->engine, run->source, &run->last, NULL, NULL, NULL);
        (void)ignored; /* the failure before it is what is told */
    }
    return status;
}

static void fill_report(const struct quipu_export_run *run, struct quipu_export_report *report)
{
    *report = (struct quipu_export_report){
        .events = run->tree.size,
        .file_bytes = quipu_export_target_bytes(&run->target),
        .first_position = run->manifest.first_position,
        .last_position = run->manifest.last_position,
        .root = run->root_cid,
        .manifest = run->manifest_cid,
        .number = run->manifest.number,
        .log_size = run->log_tree.size,
        .volumes = run->target.volumes.count,
        .was_interrupted = run->last.number > 0 && !run->last.is_settled,
    };
    memcpy(report->file_sha256, quipu_export_target_sha256(&run->target),
           sizeof report->file_sha256);
    memcpy(report->car_sha256, run->car_sha256, sizeof report->car_sha256);
    memcpy(report->log_root, run->log_tree.root, sizeof report->log_root);
}

static enum quipu_status export_run(struct quipu_export_run *run, const char *path,
                                    struct quipu_error *err)
{
    enum quipu_status status = export_begin(run, err);
    if (status == QUIPU_OK) {
        status = quipu_export_target_create(&run->target, path, run->options.volume_bytes, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_export_collect(run, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_export_front(run, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_export_write(run, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_export_read_back(run, err);
    }
    return status != QUIPU_OK ? status : export_publish(run, err);
}

enum quipu_status quipu_export(struct quipu_engine *engine, const char *path,
                               const struct quipu_export_options *options,
                               struct quipu_export_report *report, struct quipu_error *err)
{
    static const struct quipu_export_options defaults = QUIPU_EXPORT_OPTIONS_INIT;
    if (engine == NULL || path == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE, "export needs an engine and a path");
    }
    enum quipu_status status = check_options(options == NULL ? &defaults : options, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_export_run *run = quipu_alloc_zero(1, sizeof *run);
    if (run == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory to export");
    }
    run->engine = engine;
    run->options = options == NULL ? defaults : *options;
    run->target = (struct quipu_export_target)QUIPU_EXPORT_TARGET_INIT;
    status = export_run(run, path, err);
    if (status == QUIPU_OK && report != NULL) {
        fill_report(run, report);
    }
    quipu_age_writer_close(&run->age);
    quipu_export_target_discard(&run->target);
    quipu_store_lock_release(&run->lock);
    quipu_merkle_log_release(&run->log);
    quipu_bundle_manifest_release(&run->manifest);
    quipu_payload_window_release(&run->window);
    quipu_buf_release(&run->named);
    quipu_buf_release(&run->proof);
    quipu_buf_release(&run->checkpoint);
    quipu_buf_release(&run->consistency);
    quipu_buf_release(&run->digests);
    quipu_buf_release(&run->manifest_block);
    quipu_buf_release(&run->root_block);
    quipu_free(run);
    return status;
}

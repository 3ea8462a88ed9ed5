/*
 * Release: a bundle leaves the machine only when enough people have signed it.
 *
 *   1. check all of the bundle, and who signed it
 *   2. copy it to a new file or volumes, encrypted or not; what is copied must be what was checked
 *   3. sync, read it back
 *   4. record the release, in a transaction of the store that is durable before it goes on
 *   5. give it its name; where that fails, record that too
 *
 * A kill between 4 and 5 leaves a row without a file, never a file without a row.
 *
 * Never signs anything but the index of volumes.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "export_target.h"
#include "internal/failpoint.h"
#include "quipu/alloc.h"
#include "quipu/operations.h"
#include "said.h"
#include "sign_parts.h"

struct release {
    struct quipu_engine *engine;
    const char *path;
    const char *out;
    const struct quipu_release_options *options;
    struct quipu_clock clock;
    struct quipu_bundle_pass pass;
    struct quipu_bundle_report bundle;
    int fd;
    struct quipu_export_target target;
    struct quipu_age_writer *age;
    uint64_t operation;
};

/* ------------------------------------------------------------------ options */

static enum quipu_status check_options(const struct release *run, struct quipu_error *err)
{
    const struct quipu_release_options *options = run->options;
    if (options->required_signers == 0) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "a release asks for one signer at least, found 0");
    }
    if (options->volume_bytes != 0 && options->volume_bytes < QUIPU_BUNDLE_VOLUME_BYTES_MIN) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "volumes of %" PRIu64 " bytes are smaller than %u",
                               options->volume_bytes, QUIPU_BUNDLE_VOLUME_BYTES_MIN);
    }
    if (options->volume_bytes != 0 && run->engine == NULL) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "volumes need the store that made the bundle, which signs their "
                               "index");
    }
    enum quipu_status status =
        quipu_said_check("operator", options->operator_name, QUIPU_BUNDLE_OPERATOR_BYTES_MAX, err);
    return status != QUIPU_OK
               ? status
               : quipu_said_check("reason", options->reason, QUIPU_BUNDLE_REASON_BYTES_MAX, err);
}

/* ------------------------------------------------------------------ 1: who signed */

static enum quipu_status check_volumes(const struct release *run, struct quipu_error *err)
{
    char source[QUIPU_SOURCE_TEXT_BYTES];
    if (run->options->volume_bytes == 0) {
        return QUIPU_OK;
    }
    enum quipu_status status = quipu_identity_source(run->engine, source, err);
    if (status == QUIPU_OK && strcmp(source, run->bundle.source) != 0) {
        status = quipu_error_set(err, QUIPU_INVALID,
                                 "%s was made by store %s, and only that store can sign the index "
                                 "of its volumes; this one is %s",
                                 run->path, run->bundle.source, source);
    }
    return status;
}

static enum quipu_status check_bundle(struct release *run, struct quipu_error *err)
{
    const struct quipu_release_options *options = run->options;
    run->pass = (struct quipu_bundle_pass){
        .name = run->path,
        .policy =
            {
                .trusted = options->trusted,
                .trusted_count = options->trusted_count,
                .trust = options->trust,
                .unix_us = run->clock.unix_us(run->clock.ctx),
                .required = options->required_signers,
            },
    };
    enum quipu_status status =
        quipu_signer_policy_check(&run->pass.policy, QUIPU_BUNDLE_NAMESPACE, err);
    if (status == QUIPU_OK) {
        status = quipu_sign_input_open(run->path, &run->fd, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_bundle_read(run->fd, &run->pass, &run->bundle, err);
    }
    return status == QUIPU_OK ? check_volumes(run, err) : status;
}

/* ------------------------------------------------------------------ 2: copy */

static enum quipu_status copy_bundle(struct release *run, struct quipu_error *err)
{
    struct quipu_sha256_stream stream;
    uint8_t digest[QUIPU_SHA256_BYTES];
    struct quipu_sink sink = quipu_export_target_sink(&run->target);
    enum quipu_status status = QUIPU_OK;
    quipu_sha256_stream_init(&stream);
    if (run->options->encryption != NULL) {
        status = quipu_age_writer_open(sink, run->options->encryption, &run->age, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_sign_copy(
            run->fd, 0, run->age == NULL ? sink : quipu_age_writer_sink(run->age), &stream, err);
    }
    if (status == QUIPU_OK && run->age != NULL) {
        status = quipu_age_writer_finish(run->age, err);
    }
    quipu_sha256_stream_final(&stream, digest);
    if (status == QUIPU_OK && memcmp(digest, run->bundle.file_sha256, sizeof digest) != 0) {
        status = quipu_error_set(err, QUIPU_BUNDLE,
                                 "%s changed between the check and the release: nothing was "
                                 "released",
                                 run->path);
    }
    return status;
}

static enum quipu_status finish(struct release *run, struct quipu_error *err)
{
    struct quipu_volume_label label = {run->bundle.source, run->bundle.number,
                                       &run->bundle.manifest};
    return quipu_export_target_finish(&run->target, run->engine, &label, err);
}

/* ------------------------------------------------------------------ 3: read back */

static enum quipu_status read_back(struct release *run, struct quipu_error *err)
{
    struct quipu_export_reread reread = {.fd = -1, .volumes = QUIPU_VOLUME_READER_INIT};
    struct quipu_bundle_pass pass = run->pass;
    struct quipu_bundle_report again;
    struct quipu_source source = {0};
    uint8_t digest[QUIPU_SHA256_BYTES];
    pass.name = "reading back what was released";
    enum quipu_status status = quipu_failpoint("airgap.release.check", err);
    if (status == QUIPU_OK) {
        status = quipu_export_target_reread(&run->target, &reread, &source, err);
    }
    if (status == QUIPU_OK && run->age != NULL) {
        status = quipu_export_source_sha256(source, digest, err);
    } else if (status == QUIPU_OK) {
        status = quipu_bundle_read_source(source, &pass, &again, err);
        memcpy(digest, again.file_sha256, status == QUIPU_OK ? sizeof digest : 0);
    }
    if (status == QUIPU_OK &&
        memcmp(digest, quipu_export_target_sha256(&run->target), sizeof digest) != 0) {
        status = quipu_error_set(err, QUIPU_IO, "%s: it is not what was written", run->out);
    }
    quipu_export_target_reread_close(&reread);
    return status;
}

/* ------------------------------------------------------------------ 4, 5: record and name */

static enum quipu_status write_row(struct release *run, const char *kind, struct quipu_txn *txn,
                                   uint64_t *number, struct quipu_error *err)
{
    const struct quipu_bundle_report *bundle = &run->bundle;
    struct quipu_buf names = QUIPU_BUF_INIT;
    quipu_signer_names(bundle->signers, (size_t)bundle->signatures, &names);
    struct quipu_operation operation = {
        .unix_us = run->pass.policy.unix_us,
        .kind = quipu_slice_text(kind),
        .operator_name = quipu_slice_text(run->options->operator_name),
        .reason = quipu_slice_text(run->options->reason),
        .source = quipu_slice_text(bundle->source),
        .signers = quipu_buf_slice(&names),
        .bundle = bundle->number,
        .has_manifest = true,
        .manifest = bundle->manifest,
        .has_sha256 = true,
        .events = bundle->events,
    };
    memcpy(operation.sha256, bundle->file_sha256, sizeof operation.sha256);
    enum quipu_status status =
        names.status == QUIPU_OK
            ? quipu_operation_record(txn, &operation, number, err)
            : quipu_error_set(err, names.status, "no memory to record the release");
    quipu_buf_release(&names);
    return status;
}

/* Durable when it returns. */
static enum quipu_status record(struct release *run, const char *kind, uint64_t *number,
                                struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_write(quipu_engine_store(run->engine), &txn, err);
    if (status == QUIPU_OK) {
        status = write_row(run, kind, txn, number, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_txn_commit(&txn, err);
    }
    quipu_txn_abort(&txn);
    return status;
}

static enum quipu_status publish(struct release *run, struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    if (run->engine == NULL) {
        return quipu_export_target_publish(&run->target, err);
    }
    status = quipu_failpoint("airgap.release.record", err);
    if (status == QUIPU_OK) {
        status = record(run, QUIPU_OPERATION_RELEASE, &run->operation, err);
    }
    if (status != QUIPU_OK) {
        return quipu_error_wrap(err, status, "nothing was released, for it cannot be recorded");
    }
    status = quipu_failpoint("airgap.release.name", err);
    if (status == QUIPU_OK) {
        status = quipu_export_target_publish(&run->target, err);
    }
    if (status != QUIPU_OK) {
        /* Where this fails too, the row before it says more than has happened, never less. */
        enum quipu_status ignored = record(run, QUIPU_OPERATION_RELEASE_UNDONE, NULL, NULL);
        (void)ignored; /* the failure before it is what is told */
    }
    return status;
}

/* ------------------------------------------------------------------ all of it */

static enum quipu_status release_run(struct release *run, struct quipu_error *err)
{
    enum quipu_status status = check_options(run, err);
    if (status == QUIPU_OK) {
        status = check_bundle(run, err);
    }
    if (status == QUIPU_OK) {
        status =
            quipu_export_target_create(&run->target, run->out, run->options->volume_bytes, err);
    }
    if (status == QUIPU_OK) {
        status = copy_bundle(run, err);
    }
    if (status == QUIPU_OK) {
        status = finish(run, err);
    }
    if (status == QUIPU_OK) {
        status = read_back(run, err);
    }
    return status == QUIPU_OK ? publish(run, err) : status;
}

enum quipu_status quipu_release(struct quipu_engine *engine, const char *path, const char *out,
                                const struct quipu_release_options *options,
                                struct quipu_release_report *report, struct quipu_error *err)
{
    if (path == NULL || out == NULL || options == NULL || options->size != sizeof *options) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "a release needs a bundle, a place for it and options of %zu bytes",
                               sizeof *options);
    }
    struct release *run = quipu_alloc_zero(1, sizeof *run);
    if (run == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory to release %s", path);
    }
    run->engine = engine;
    run->path = path;
    run->out = out;
    run->options = options;
    run->clock = options->clock == NULL ? quipu_clock_system() : *options->clock;
    run->fd = -1;
    run->target = (struct quipu_export_target)QUIPU_EXPORT_TARGET_INIT;
    enum quipu_status status = release_run(run, err);
    if (status == QUIPU_OK && report != NULL) {
        *report = (struct quipu_release_report){
            .bundle = run->bundle,
            .file_bytes = quipu_export_target_bytes(&run->target),
            .volumes = run->target.volumes.count,
            .operation = run->operation,
        };
        memcpy(report->file_sha256, quipu_export_target_sha256(&run->target),
               sizeof report->file_sha256);
    }
    quipu_age_writer_close(&run->age);
    quipu_export_target_discard(&run->target);
    if (run->fd >= 0) {
        (void)close(run->fd); /* was only read */
    }
    quipu_free(run);
    return status;
}

/*
 * Export, steps 4 and 5: the second pass, which writes the blocks, and reading them back.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bundle_reader.h"
#include "export_run.h"
#include "internal/failpoint.h"
#include "quipu/alloc.h"
#include "quipu/car.h"

static enum quipu_status write_event(void *ctx, const struct quipu_event_view *event,
                                     struct quipu_error *err)
{
    struct quipu_export_run *run = ctx;
    struct quipu_slice known;
    const struct quipu_cid *payload_cid = &event->envelope.payload;
    if (run->written == run->tree.size ||
        memcmp(run->digests.data + run->written * QUIPU_SHA256_BYTES, event->cid.digest,
               QUIPU_SHA256_BYTES) != 0) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "position %" PRIu64 " held another event a moment ago",
                               event->position);
    }
    run->written++;
    enum quipu_status status =
        quipu_car_write_block(run->sink, &event->cid, event->envelope_block, err);
    if (status != QUIPU_OK || quipu_payload_window_find(&run->window, payload_cid, &known)) {
        return status;
    }
    status = quipu_car_write_block(run->sink, payload_cid, event->payload, err);
    if (status == QUIPU_OK) {
        status = quipu_payload_window_add(&run->window, payload_cid, event->payload, err);
    }
    return status;
}

static enum quipu_status write_chunks(struct quipu_export_run *run, struct quipu_error *err)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    enum quipu_status status = QUIPU_OK;
    uint64_t chunks = quipu_export_chunk_count(run);
    for (uint64_t i = 0; status == QUIPU_OK && i < chunks; i++) {
        struct quipu_cid cid = {.codec = QUIPU_CODEC_DAG_CBOR};
        memcpy(cid.digest, run->manifest.links.data + i * QUIPU_SHA256_BYTES, sizeof cid.digest);
        quipu_buf_reset(&block);
        status = quipu_bundle_chunk_encode(quipu_export_chunk(run, i), &block, err);
        if (status == QUIPU_OK) {
            status = quipu_car_write_block(run->sink, &cid, quipu_buf_slice(&block), err);
        }
    }
    quipu_buf_release(&block);
    return status;
}

static enum quipu_status write_proof(struct quipu_export_run *run, struct quipu_error *err)
{
    size_t parts = run->manifest.log.proof.len / QUIPU_SHA256_BYTES;
    enum quipu_status status = QUIPU_OK;
    for (size_t i = 0; status == QUIPU_OK && i < parts; i++) {
        struct quipu_cid cid = {.codec = QUIPU_CODEC_RAW};
        memcpy(cid.digest, run->manifest.log.proof.data + i * QUIPU_SHA256_BYTES,
               sizeof cid.digest);
        status = quipu_car_write_block(run->sink, &cid, quipu_export_proof_part(run, i), err);
    }
    quipu_buf_release(&run->proof);
    return status;
}

static enum quipu_status write_car(struct quipu_export_run *run, struct quipu_error *err)
{
    enum quipu_status status = quipu_car_write_header(run->sink, &run->root_cid, 1, err);
    if (status == QUIPU_OK) {
        status = quipu_car_write_block(run->sink, &run->root_cid, quipu_buf_slice(&run->root_block),
                                       err);
    }
    if (status == QUIPU_OK) {
        status = quipu_car_write_block(run->sink, &run->manifest_cid,
                                       quipu_buf_slice(&run->manifest_block), err);
    }
    if (status == QUIPU_OK) {
        status = write_proof(run, err);
    }
    if (status == QUIPU_OK) {
        status = write_chunks(run, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_each_event(run->engine, &run->filter, write_event, run, err);
    }
    if (status == QUIPU_OK && run->written != run->tree.size) {
        status = quipu_error_set(err, QUIPU_CORRUPT,
                                 "the log gave %" PRIu64 " events, and then %" PRIu64,
                                 run->tree.size, run->written);
    }
    return status;
}

/* The CAR is hashed here, what lies in the file is hashed there. */
static enum quipu_status car_write(void *ctx, struct quipu_slice bytes, struct quipu_error *err)
{
    struct quipu_export_run *run = ctx;
    struct quipu_sink next =
        run->age != NULL ? quipu_age_writer_sink(run->age) : quipu_export_target_sink(&run->target);
    quipu_sha256_stream_update(&run->car_stream, bytes);
    return next.write(next.ctx, bytes, err);
}

enum quipu_status quipu_export_write(struct quipu_export_run *run, struct quipu_error *err)
{
    struct quipu_volume_label label = {run->source, run->manifest.number, &run->manifest_cid};
    enum quipu_status status = QUIPU_OK;
    run->sink = (struct quipu_sink){car_write, run};
    quipu_sha256_stream_init(&run->car_stream);
    if (run->options.encryption != NULL) {
        status = quipu_age_writer_open(quipu_export_target_sink(&run->target),
                                       run->options.encryption, &run->age, err);
    }
    if (status == QUIPU_OK) {
        status = write_car(run, err);
    }
    if (status == QUIPU_OK && run->age != NULL) {
        status = quipu_age_writer_finish(run->age, err);
    }
    quipu_sha256_stream_final(&run->car_stream, run->car_sha256);
    return status != QUIPU_OK ? status
                              : quipu_export_target_finish(&run->target, run->engine, &label, err);
}

/* ------------------------------------------------------------------ read back */

enum quipu_status quipu_export_read_back(struct quipu_export_run *run, struct quipu_error *err)
{
    char name[QUIPU_ERROR_MESSAGE_BYTES];
    struct quipu_bundle_report report;
    struct quipu_bundle_pass pass = {.name = name};
    struct quipu_export_reread reread = {.fd = -1, .volumes = QUIPU_VOLUME_READER_INIT};
    struct quipu_source source = {0};
    uint8_t digest[QUIPU_SHA256_BYTES];
    (void)snprintf(name, sizeof name, "reading back %s",
                   run->target.volume_bytes == 0 ? run->target.file.path
                                                 : run->target.volumes.folder.path);
    /* The reader has a list of its own: two would be too much of a large bundle. */
    quipu_buf_release(&run->digests);
    enum quipu_status status = quipu_failpoint("airgap.export.check", err);
    if (status == QUIPU_OK) {
        status = quipu_export_target_reread(&run->target, &reread, &source, err);
    }
    if (status == QUIPU_OK && run->age != NULL) {
        status = quipu_export_source_sha256(source, digest, err);
    } else if (status == QUIPU_OK) {
        status = quipu_bundle_read_source(source, &pass, &report, err);
        memcpy(digest, report.file_sha256, status == QUIPU_OK ? sizeof digest : 0);
    }
    if (status == QUIPU_OK &&
        memcmp(digest, quipu_export_target_sha256(&run->target), sizeof digest) != 0) {
        status = quipu_error_set(err, QUIPU_IO, "%s: it is not what was written", name);
    }
    quipu_export_target_reread_close(&reread);
    return status;
}

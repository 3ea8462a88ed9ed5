/*
 * Writing receipts: the chunks come first into a file without a name, because root and statement
 * stand in front of them and name them; then all of it into the new file, which is read back before
 * it gets its name.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "export_file.h"
#include "import_input.h"
#include "internal/failpoint.h"
#include "quipu/alloc.h"
#include "quipu/car.h"
#include "quipu/operations.h"
#include "quipu/outbox.h"
#include "quipu/sshsig.h"
#include "receipts_codec.h"
#include "said.h"

#define SNAPSHOT_EVENTS 4096u
#define COPY_BYTES      65536u

struct sending {
    struct quipu_engine *engine;
    struct quipu_clock clock;
    struct quipu_receipts_statement statement;
    struct quipu_buf names; /* what the streams' slices borrow from, at their offsets */
    size_t offsets[QUIPU_RECEIPTS_STREAMS_MAX + 1];
    struct quipu_travelled *items; /* QUIPU_RECEIPTS_CHUNK of them */
    size_t count;
    struct quipu_buf block;
    int spool;
    char source[QUIPU_SOURCE_TEXT_BYTES];
    struct quipu_export_file file;
    struct quipu_cid statement_cid;
};

/* ------------------------------------------------------------------ collecting */

static struct quipu_slice stream_name(const struct sending *run, size_t index)
{
    return quipu_slice(run->names.data + run->offsets[index],
                       run->offsets[index + 1] - run->offsets[index]);
}

static enum quipu_status stream_index(struct sending *run, struct quipu_slice name, uint64_t *index,
                                      struct quipu_error *err)
{
    size_t count = run->statement.stream_count;
    for (size_t i = count; i > 0; i--) {
        if (quipu_slice_equal(stream_name(run, i - 1), name)) {
            *index = i - 1;
            return QUIPU_OK;
        }
    }
    if (count == QUIPU_RECEIPTS_STREAMS_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE,
                               "events were published to more than %u streams",
                               QUIPU_RECEIPTS_STREAMS_MAX);
    }
    quipu_buf_append_slice(&run->names, name);
    if (run->names.status != QUIPU_OK) {
        return quipu_error_set(err, run->names.status, "no memory for the name of a stream");
    }
    run->offsets[count + 1] = run->names.len;
    run->statement.stream_count = count + 1;
    *index = count;
    return QUIPU_OK;
}

/* The chunk as a section of the CAR, into the file without a name. */
static enum quipu_status flush_chunk(struct sending *run, struct quipu_error *err)
{
    if (run->count == 0) {
        return QUIPU_OK;
    }
    if (run->statement.chunk_count == QUIPU_RECEIPTS_CHUNKS_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE, "more than %u chunks of receipts",
                               QUIPU_RECEIPTS_CHUNKS_MAX);
    }
    quipu_buf_reset(&run->block);
    enum quipu_status status =
        quipu_receipts_chunk_encode(run->items, run->count, &run->block, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_cid cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_buf_slice(&run->block));
    quipu_buf_append(&run->statement.chunks, &cid, sizeof cid);
    if (run->statement.chunks.status != QUIPU_OK) {
        return quipu_error_set(err, run->statement.chunks.status, "no memory for a link");
    }
    run->statement.chunk_count++;
    run->statement.count += run->count;
    run->count = 0;
    return quipu_car_write_block(quipu_sink_fd(&run->spool), &cid, quipu_buf_slice(&run->block),
                                 err);
}

static enum quipu_status collect_one(struct sending *run, struct quipu_txn *txn, uint64_t position,
                                     struct quipu_error *err)
{
    struct quipu_receipt receipt;
    struct quipu_record record;
    enum quipu_status status = quipu_receipt_at(txn, position, &receipt, err);
    if (status == QUIPU_NOT_FOUND) {
        return QUIPU_OK; /* not published yet */
    }
    if (status == QUIPU_OK) {
        status = quipu_txn_record_at(txn, position, &record, err);
    }
    struct quipu_travelled *item = &run->items[run->count];
    if (status == QUIPU_OK) {
        status = stream_index(run, receipt.stream, &item->stream, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    memcpy(item->digest, record.envelope_cid.digest, sizeof item->digest);
    item->sequence = receipt.sequence;
    return ++run->count == QUIPU_RECEIPTS_CHUNK ? flush_chunk(run, err) : QUIPU_OK;
}

static enum quipu_status collect(struct sending *run, struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    uint64_t last = 1;
    for (uint64_t position = 1; status == QUIPU_OK && position <= last;) {
        struct quipu_txn *txn = NULL;
        status = quipu_txn_begin_read(quipu_engine_store(run->engine), &txn, err);
        if (status != QUIPU_OK) {
            return status;
        }
        last = quipu_txn_last_position(txn);
        for (unsigned i = 0; i < SNAPSHOT_EVENTS && status == QUIPU_OK && position <= last; i++) {
            status = collect_one(run, txn, position, err);
            position++;
        }
        quipu_txn_abort(&txn);
    }
    if (status == QUIPU_OK) {
        status = flush_chunk(run, err);
    }
    if (status == QUIPU_OK && run->statement.count == 0) {
        return quipu_error_set(err, QUIPU_NOT_FOUND, "no event of this store is published yet");
    }
    return status;
}

/* ------------------------------------------------------------------ the file */

static enum quipu_status sign(struct sending *run, struct quipu_buf *root_block,
                              struct quipu_error *err)
{
    struct quipu_buf signature = QUIPU_BUF_INIT;
    quipu_buf_reset(&run->block);
    enum quipu_status status = quipu_receipts_statement_encode(&run->statement, &run->block, err);
    if (status == QUIPU_OK) {
        status = quipu_sshsig_sign(run->engine, QUIPU_RECEIPTS_NAMESPACE,
                                   quipu_buf_slice(&run->block), &signature, err);
    }
    if (status == QUIPU_OK) {
        run->statement_cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_buf_slice(&run->block));
        struct quipu_receipts_root root = {.statement = run->statement_cid, .signature_count = 1};
        root.signatures[0] = quipu_buf_slice(&signature);
        status = quipu_receipts_root_encode(&root, root_block, err);
    }
    quipu_buf_release(&signature);
    return status;
}

static enum quipu_status copy_chunks(struct sending *run, struct quipu_sink sink,
                                     struct quipu_error *err)
{
    struct quipu_source source = quipu_source_fd(&run->spool);
    uint8_t *window = quipu_alloc(COPY_BYTES, 1);
    size_t got = 1;
    enum quipu_status status = QUIPU_OK;
    if (window == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory to copy receipts");
    }
    if (lseek(run->spool, 0, SEEK_SET) < 0) {
        status = quipu_error_errno(err, errno, "go to the start of a temporary file");
    }
    while (status == QUIPU_OK && got > 0) {
        status = source.read(source.ctx, window, COPY_BYTES, &got, err);
        if (status == QUIPU_OK && got > 0) {
            status = sink.write(sink.ctx, quipu_slice(window, got), err);
        }
    }
    quipu_free(window);
    return status;
}

static enum quipu_status write_all(struct sending *run, struct quipu_error *err)
{
    struct quipu_sink sink = quipu_export_file_sink(&run->file);
    struct quipu_buf root_block = QUIPU_BUF_INIT;
    enum quipu_status status = sign(run, &root_block, err);
    struct quipu_cid root = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_buf_slice(&root_block));
    if (status == QUIPU_OK) {
        status = quipu_car_write_header(sink, &root, 1, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_car_write_block(sink, &root, quipu_buf_slice(&root_block), err);
    }
    if (status == QUIPU_OK) {
        status =
            quipu_car_write_block(sink, &run->statement_cid, quipu_buf_slice(&run->block), err);
    }
    if (status == QUIPU_OK) {
        status = copy_chunks(run, sink, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_failpoint("airgap.receipts.write", err);
    }
    quipu_buf_release(&root_block);
    return status == QUIPU_OK ? quipu_export_file_finish(&run->file, err) : status;
}

static enum quipu_status hash_again(int fd, uint8_t digest[QUIPU_SHA256_BYTES],
                                    struct quipu_error *err)
{
    struct quipu_source source = quipu_source_fd(&fd);
    struct quipu_sha256_stream stream;
    uint8_t window[16384];
    size_t got = 1;
    enum quipu_status status = QUIPU_OK;
    quipu_sha256_stream_init(&stream);
    while (status == QUIPU_OK && got > 0) {
        status = source.read(source.ctx, window, sizeof window, &got, err);
        if (status == QUIPU_OK) {
            quipu_sha256_stream_update(&stream, quipu_slice(window, got));
        }
    }
    quipu_sha256_stream_final(&stream, digest);
    return status;
}

/* What stands on the medium is what was hashed on its way there. */
static enum quipu_status read_back(struct sending *run, struct quipu_error *err)
{
    int fd = -1;
    uint8_t digest[QUIPU_SHA256_BYTES];
    enum quipu_status status =
        quipu_bundle_open_at(run->file.folder, run->file.temp, run->file.path, &fd, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = hash_again(fd, digest, err);
    (void)close(fd); /* was only read */
    if (status == QUIPU_OK && memcmp(digest, run->file.sha256, sizeof digest) != 0) {
        status = quipu_error_set(err, QUIPU_IO, "it is not what was written");
    }
    return status == QUIPU_OK ? status
                              : quipu_error_wrap(err, status, "reading back %s", run->file.path);
}

static enum quipu_status record(struct sending *run, uint64_t *number, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    struct quipu_operation operation = {
        .unix_us = run->statement.created_unix_us,
        .kind = quipu_slice_text(QUIPU_OPERATION_EXPORT_RECEIPTS),
        .operator_name = run->statement.operator_name,
        .source = run->statement.source,
        .signers = run->statement.source,
        .has_manifest = true,
        .manifest = run->statement_cid,
        .has_sha256 = true,
        .events = run->statement.count,
    };
    memcpy(operation.sha256, run->file.sha256, sizeof operation.sha256);
    enum quipu_status status = quipu_txn_begin_write(quipu_engine_store(run->engine), &txn, err);
    if (status == QUIPU_OK) {
        status = quipu_operation_record(txn, &operation, number, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_txn_commit(&txn, err);
    }
    quipu_txn_abort(&txn);
    if (status == QUIPU_PERMISSION) {
        *number = 0; /* a store that cannot be written may still speak */
        status = QUIPU_OK;
    }
    return status;
}

static enum quipu_status prepare(struct sending *run, const char *path,
                                 const struct quipu_receipts_export_options *options,
                                 struct quipu_error *err)
{
    if (options->size != sizeof *options) {
        return quipu_error_set(err, QUIPU_MISUSE, "options of %zu bytes, not %zu", options->size,
                               sizeof *options);
    }
    enum quipu_status status =
        quipu_said_check("operator", options->operator_name, QUIPU_BUNDLE_OPERATOR_BYTES_MAX, err);
    if (status != QUIPU_OK) {
        return status;
    }
    run->clock = options->clock == NULL ? quipu_clock_system() : *options->clock;
    run->items = quipu_alloc(QUIPU_RECEIPTS_CHUNK, sizeof *run->items);
    if (run->items == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory for a chunk of receipts");
    }
    status = quipu_identity_ensure_first(run->engine, err);
    if (status == QUIPU_PERMISSION) {
        status = QUIPU_OK; /* it cannot be written: then there is a key already, or none */
    }
    if (status == QUIPU_OK) {
        status = quipu_identity_source(run->engine, run->source, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_export_file_create(&run->file, path, err);
    }
    if (status == QUIPU_OK) {
        /* Beside the new file, where there is room for it anyway. */
        status = quipu_import_spool_make(run->file.folder, &run->spool, err);
    }
    run->statement.tool = quipu_slice_text("quipu " QUIPU_VERSION_TEXT);
    run->statement.source = quipu_slice_text(run->source);
    run->statement.operator_name = quipu_slice_text(options->operator_name);
    run->statement.created_unix_us = run->clock.unix_us(run->clock.ctx);
    return status;
}

static void fill_report(const struct sending *run, uint64_t operation,
                        struct quipu_receipts_report *report)
{
    *report = (struct quipu_receipts_report){
        .receipts = run->statement.count,
        .streams = run->statement.stream_count,
        .file_bytes = run->file.bytes,
        .statement = run->statement_cid,
        .created_unix_us = run->statement.created_unix_us,
        .operation = operation,
    };
    memcpy(report->file_sha256, run->file.sha256, sizeof report->file_sha256);
    memcpy(report->source, run->source, sizeof report->source);
    memcpy(report->signer, run->source, sizeof report->signer);
    struct quipu_slice said = run->statement.operator_name;
    if (said.len > 0) {
        memcpy(report->operator_name, said.data, said.len);
    }
}

static enum quipu_status send(struct sending *run, uint64_t *operation, struct quipu_error *err)
{
    enum quipu_status status = collect(run, err);
    for (size_t i = 0; i < run->statement.stream_count; i++) {
        run->statement.streams[i] = stream_name(run, i);
    }
    if (status == QUIPU_OK) {
        status = write_all(run, err);
    }
    if (status == QUIPU_OK) {
        status = read_back(run, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_export_file_publish(&run->file, err);
    }
    if (status == QUIPU_OK) {
        status = record(run, operation, err);
        if (status != QUIPU_OK) {
            quipu_export_file_retract(&run->file);
        }
    }
    return status;
}

enum quipu_status quipu_receipts_export(struct quipu_engine *engine, const char *path,
                                        const struct quipu_receipts_export_options *options,
                                        struct quipu_receipts_report *report,
                                        struct quipu_error *err)
{
    static const struct quipu_receipts_export_options defaults = QUIPU_RECEIPTS_EXPORT_OPTIONS_INIT;
    uint64_t operation = 0;
    if (engine == NULL || path == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE, "receipts need an engine and a path");
    }
    struct sending *run = quipu_alloc_zero(1, sizeof *run);
    if (run == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory to export receipts");
    }
    run->engine = engine;
    run->spool = -1;
    run->file = (struct quipu_export_file)QUIPU_EXPORT_FILE_INIT;
    enum quipu_status status = prepare(run, path, options == NULL ? &defaults : options, err);
    if (status == QUIPU_OK) {
        status = send(run, &operation, err);
    }
    if (status == QUIPU_OK && report != NULL) {
        fill_report(run, operation, report);
    }
    if (run->spool >= 0) {
        (void)close(run->spool); /* nobody reads it again */
    }
    quipu_export_file_discard(&run->file);
    quipu_receipts_statement_release(&run->statement);
    quipu_buf_release(&run->names);
    quipu_buf_release(&run->block);
    quipu_free(run->items);
    quipu_free(run);
    return status;
}

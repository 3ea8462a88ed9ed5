/*
 * Taking receipts in: one pass that checks all of the file, one that marks. Blocks are hashed by
 * the CAR's reader; the statement that is signed names every chunk. What comes through a pipe is
 * checked while it is copied, so that what never ends is refused at its first block.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "import.h"
#include "internal/failpoint.h"
#include "quipu/alloc.h"
#include "quipu/car.h"
#include "quipu/operations.h"
#include "quipu/outbox.h"
#include "quipu/sshsig.h"
#include "receipts_codec.h"

#define HEADER_BYTES_MAX 4096u
#define REASON_BYTES     64

struct receiving {
    struct quipu_import *import;
    struct quipu_engine *engine;
    struct quipu_source below;
    struct quipu_sha256_stream sha256;
    uint64_t bytes;
    struct quipu_car_reader *car;
    struct quipu_buf root_block; /* what root and statement borrow from */
    struct quipu_buf statement_block;
    struct quipu_receipts_root root;
    struct quipu_receipts_statement statement;
    struct quipu_signer_group group;
    struct quipu_travelled *items;
    struct quipu_ack *acks;
    bool is_marking;
    bool is_dry;
    struct quipu_receipts_report report;
    enum quipu_status refused; /* what the store said */
};

/* ------------------------------------------------------------------ blocks */

static enum quipu_status hashed_read(void *ctx, void *into, size_t cap, size_t *got,
                                     struct quipu_error *err)
{
    struct receiving *run = ctx;
    enum quipu_status status = run->below.read(run->below.ctx, into, cap, got, err);
    if (status == QUIPU_OK) {
        quipu_sha256_stream_update(&run->sha256, quipu_slice(into, *got));
        run->bytes += *got;
    }
    return status;
}

/* The next block, which must have this CID. */
static enum quipu_status next_block(struct receiving *run, const struct quipu_cid *wanted,
                                    const char *what, struct quipu_slice *block,
                                    struct quipu_error *err)
{
    struct quipu_car_block section = {0};
    struct quipu_cid cid = {0};
    enum quipu_status status = quipu_car_next(run->car, &section, err);
    if (status == QUIPU_DONE) {
        return quipu_error_set_at(err, QUIPU_CAR_TRUNCATED, run->bytes,
                                  "the file ends where %s should follow", what);
    }
    if (status != QUIPU_OK) {
        return quipu_error_wrap(err, status, "%s", what);
    }
    if (!section.is_verified || quipu_cid_from_view(&section.cid, &cid, NULL) != QUIPU_OK ||
        !quipu_cid_equal(&cid, wanted)) {
        return quipu_error_set_at(err, QUIPU_BUNDLE, section.offset,
                                  "another block stands where %s should", what);
    }
    *block = section.block;
    return QUIPU_OK;
}

static enum quipu_status keep(struct quipu_buf *into, struct quipu_slice block,
                              struct quipu_error *err)
{
    quipu_buf_reset(into);
    quipu_buf_append_slice(into, block);
    return into->status == QUIPU_OK
               ? QUIPU_OK
               : quipu_error_set(err, into->status, "no memory for a block of %zu bytes",
                                 block.len);
}

/* A block that a decoder refuses makes the file no file of receipts. */
static enum quipu_status judge_decoded(enum quipu_status status, struct quipu_error *err)
{
    bool is_told = status == QUIPU_OK || status == QUIPU_NO_MEMORY ||
                   status == QUIPU_FORMAT_NEWER || status == QUIPU_UNSIGNED;
    if (is_told) {
        return status;
    }
    return quipu_error_wrap(err, QUIPU_BUNDLE, "no receipts");
}

/* ------------------------------------------------------------------ who signed */

/* Every signature holds, the store that it names has signed, and one signer is trusted. */
static enum quipu_status check_signatures(struct receiving *run, struct quipu_error *err)
{
    struct quipu_signer_group *group = &run->group;
    enum quipu_status status =
        quipu_signers_verify(group, run->root.signatures, run->root.signature_count,
                             QUIPU_RECEIPTS_NAMESPACE, quipu_buf_slice(&run->statement_block), err);
    if (status == QUIPU_OK) {
        status = quipu_signers_judge(group, &run->import->policy, QUIPU_RECEIPTS_NAMESPACE,
                                     run->statement.source, err);
    }
    if (status == QUIPU_OK) {
        const char *signer = group->signers[group->told].name;
        memcpy(run->report.signer, signer, sizeof run->report.signer);
    }
    return status;
}

/* ------------------------------------------------------------------ marking */

/* Do both name the same place? A sequence of 0 names none. */
static bool is_same_place(const struct receiving *run, const struct quipu_receipt *receipt,
                          const struct quipu_travelled *item)
{
    return quipu_slice_equal(receipt->stream, run->statement.streams[item->stream]) &&
           (receipt->sequence == 0 || item->sequence == 0 || receipt->sequence == item->sequence);
}

static void count_marked(struct receiving *run, uint64_t position, bool is_same)
{
    struct quipu_receipts_report *report = &run->report;
    report->known += is_same;
    report->conflicting += !is_same;
    if (!is_same && report->conflict_position == 0) {
        report->conflict_position = position;
    }
}

/* Where the event is, unless it is not here or has a receipt; then 0. */
static enum quipu_status find_event(struct receiving *run, struct quipu_txn *txn,
                                    const struct quipu_travelled *item, uint64_t *position,
                                    struct quipu_error *err)
{
    struct quipu_cid cid = {.codec = QUIPU_CODEC_DAG_CBOR};
    struct quipu_record record;
    struct quipu_receipt receipt;
    enum quipu_block_kind kind = QUIPU_BLOCK_ENVELOPE;
    memcpy(cid.digest, item->digest, sizeof cid.digest);
    *position = 0;
    enum quipu_status status = quipu_txn_find_cid(txn, &cid, &record, &kind, err);
    if (status == QUIPU_NOT_FOUND || (status == QUIPU_OK && kind != QUIPU_BLOCK_ENVELOPE)) {
        run->report.strangers++;
        return QUIPU_OK;
    }
    if (status == QUIPU_OK) {
        status = quipu_receipt_at(txn, record.position, &receipt, err);
    }
    if (status == QUIPU_OK) {
        count_marked(run, record.position, is_same_place(run, &receipt, item));
    } else if (status == QUIPU_NOT_FOUND) {
        run->report.added++;
        *position = record.position;
        status = QUIPU_OK;
    }
    return status;
}

static enum quipu_status mark_stream(struct receiving *run, uint64_t stream, size_t count,
                                     struct quipu_error *err)
{
    enum quipu_status status = quipu_failpoint("airgap.receipts.mark", err);
    if (status != QUIPU_OK || count == 0 || run->is_dry) {
        return status;
    }
    return quipu_outbox_acknowledge(run->engine, run->statement.streams[stream], run->acks, count,
                                    err);
}

/* The chunk's receipts of each run of one stream. */
static enum quipu_status mark(struct receiving *run, size_t count, struct quipu_error *err)
{
    size_t at = 0;
    enum quipu_status status = QUIPU_OK;
    while (at < count && status == QUIPU_OK) {
        struct quipu_txn *txn = NULL;
        uint64_t stream = run->items[at].stream;
        size_t acks = 0;
        status = quipu_txn_begin_read(quipu_engine_store(run->engine), &txn, err);
        for (; status == QUIPU_OK && at < count && run->items[at].stream == stream; at++) {
            uint64_t position = 0;
            status = find_event(run, txn, &run->items[at], &position, err);
            if (status == QUIPU_OK && position != 0) {
                run->acks[acks++] =
                    (struct quipu_ack){.position = position, .sequence = run->items[at].sequence};
            }
        }
        quipu_txn_abort(&txn);
        if (status == QUIPU_OK) {
            status = mark_stream(run, stream, acks, err);
        }
    }
    return status;
}

/* ------------------------------------------------------------------ one pass */

static enum quipu_status read_front(struct receiving *run, struct quipu_error *err)
{
    struct quipu_cid root = {0};
    struct quipu_slice block = {0};
    if (quipu_car_root_count(run->car) != 1 ||
        quipu_cid_from_view(quipu_car_root(run->car, 0), &root, NULL) != QUIPU_OK ||
        root.codec != QUIPU_CODEC_DAG_CBOR) {
        return quipu_error_set(err, QUIPU_BUNDLE,
                               "a CAR, but no receipts: they have one root, a dag-cbor block");
    }
    enum quipu_status status = next_block(run, &root, "the root", &block, err);
    if (status == QUIPU_OK) {
        status = keep(&run->root_block, block, err);
    }
    if (status == QUIPU_OK) {
        status = judge_decoded(
            quipu_receipts_root_decode(quipu_buf_slice(&run->root_block), &run->root, err), err);
    }
    if (status == QUIPU_OK) {
        status = next_block(run, &run->root.statement, "the statement", &block, err);
    }
    if (status == QUIPU_OK) {
        status = keep(&run->statement_block, block, err);
    }
    if (status == QUIPU_OK) {
        quipu_receipts_statement_release(&run->statement);
        status = judge_decoded(quipu_receipts_statement_decode(
                                   quipu_buf_slice(&run->statement_block), &run->statement, err),
                               err);
    }
    return status == QUIPU_OK ? check_signatures(run, err) : status;
}

static enum quipu_status read_chunk(struct receiving *run, size_t index, struct quipu_error *err)
{
    struct quipu_cid cid;
    struct quipu_slice block = {0};
    size_t count = 0;
    memcpy(&cid, run->statement.chunks.data + index * sizeof cid, sizeof cid);
    enum quipu_status status = next_block(run, &cid, "a chunk", &block, err);
    if (status == QUIPU_OK) {
        status = judge_decoded(quipu_receipts_chunk_decode(block, run->statement.stream_count,
                                                           run->items, &count, err),
                               err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    uint64_t left = run->statement.count - (uint64_t)index * QUIPU_RECEIPTS_CHUNK;
    uint64_t wanted = left < QUIPU_RECEIPTS_CHUNK ? left : QUIPU_RECEIPTS_CHUNK;
    if (count != wanted) {
        return quipu_error_set(err, QUIPU_BUNDLE,
                               "chunk %zu holds %zu receipts, and %" PRIu64 " belong into it",
                               index + 1, count, wanted);
    }
    if (!run->is_marking) {
        return QUIPU_OK;
    }
    run->refused = mark(run, count, err);
    return run->refused;
}

static enum quipu_status read_pass(struct receiving *run, struct quipu_error *err)
{
    struct quipu_car_options options = QUIPU_CAR_OPTIONS_INIT;
    struct quipu_car_block section = {0};
    options.header_bytes_max = HEADER_BYTES_MAX;
    run->bytes = 0;
    quipu_sha256_stream_init(&run->sha256);
    enum quipu_status status = quipu_import_input_source(&run->import->input, &run->below, err);
    if (status == QUIPU_OK) {
        status = quipu_car_reader_open((struct quipu_source){hashed_read, run}, &options, &run->car,
                                       err);
    }
    if (status == QUIPU_OK) {
        status = read_front(run, err);
    }
    for (size_t i = 0; status == QUIPU_OK && i < run->statement.chunk_count; i++) {
        status = read_chunk(run, i, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_car_next(run->car, &section, err);
        status = status == QUIPU_OK     ? quipu_error_set_at(err, QUIPU_BUNDLE, section.offset,
                                                             "a block stands behind the last chunk")
                 : status == QUIPU_DONE ? QUIPU_OK
                                        : status;
    }
    quipu_car_reader_close(&run->car);
    return status;
}

/* ------------------------------------------------------------------ all of it */

static enum quipu_status record(struct receiving *run, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    const struct quipu_import *import = run->import;
    char reason[REASON_BYTES] = "";
    if (run->report.conflicting > 0) {
        (void)snprintf(reason, sizeof reason, "contradicts what is marked here: %" PRIu64,
                       run->report.conflicting);
    }
    struct quipu_operation operation = {
        .unix_us = import->clock.unix_us(import->clock.ctx),
        .kind = quipu_slice_text(QUIPU_OPERATION_IMPORT_RECEIPTS),
        .operator_name = quipu_slice_text(import->options.operator_name),
        .reason = quipu_slice_text(reason),
        .source = run->statement.source,
        .signers = quipu_slice_text(run->report.signer),
        .has_manifest = true,
        .manifest = run->root.statement,
        .has_sha256 = true,
        .events = run->report.receipts,
        .added = run->report.added,
        .known = run->report.known,
    };
    memcpy(operation.sha256, run->report.file_sha256, sizeof operation.sha256);
    enum quipu_status status = quipu_txn_begin_write(quipu_engine_store(run->engine), &txn, err);
    if (status == QUIPU_OK) {
        status = quipu_operation_record(txn, &operation, &run->report.operation, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_txn_commit(&txn, err);
    }
    quipu_txn_abort(&txn);
    return status;
}

static void fill_report(struct receiving *run)
{
    const struct quipu_receipts_statement *statement = &run->statement;
    struct quipu_receipts_report *report = &run->report;
    report->receipts = statement->count;
    report->streams = statement->stream_count;
    report->file_bytes = run->bytes;
    report->statement = run->root.statement;
    report->created_unix_us = statement->created_unix_us;
    memcpy(report->source, statement->source.data, statement->source.len); /* 56, checked */
    if (statement->operator_name.len > 0) {
        memcpy(report->operator_name, statement->operator_name.data, statement->operator_name.len);
    }
    quipu_sha256_stream_final(&run->sha256, report->file_sha256);
}

static enum quipu_status receive(struct receiving *run, struct quipu_error *err)
{
    uint8_t digest[QUIPU_SHA256_BYTES];
    struct quipu_import *import = run->import;
    struct quipu_import_from from = quipu_import_from_of(import, run->engine);
    enum quipu_status status = quipu_import_input_open(&import->input, &from, err);
    if (status == QUIPU_OK) {
        status = read_pass(run, err);
    }
    if (status != QUIPU_OK) {
        return quipu_error_wrap(err, status, "%s", import->path);
    }
    fill_report(run);
    run->is_marking = true;
    status = read_pass(run, err);
    if (status == QUIPU_OK) {
        quipu_sha256_stream_final(&run->sha256, digest);
    }
    bool is_same =
        status == QUIPU_OK && memcmp(digest, run->report.file_sha256, sizeof digest) == 0;
    bool is_machine = status == QUIPU_IO || status == QUIPU_NO_MEMORY;
    if (!is_same && run->refused == QUIPU_OK && !is_machine) {
        return quipu_error_set(err, QUIPU_BUNDLE, "%s changed while it was taken in", import->path);
    }
    return status == QUIPU_OK && !run->is_dry ? record(run, err) : status;
}

enum quipu_status quipu_receipts_import(struct quipu_engine *engine, const char *path,
                                        const struct quipu_import_options *options,
                                        struct quipu_receipts_report *report,
                                        struct quipu_error *err)
{
    struct quipu_import *import = NULL;
    enum quipu_status status =
        quipu_import_prepare(engine, path, options, QUIPU_RECEIPTS_NAMESPACE, &import, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct receiving *run = quipu_alloc_zero(1, sizeof *run);
    if (run != NULL) {
        run->items = quipu_alloc(QUIPU_RECEIPTS_CHUNK, sizeof *run->items);
        run->acks = quipu_alloc(QUIPU_RECEIPTS_CHUNK, sizeof *run->acks);
    }
    if (run == NULL || run->items == NULL || run->acks == NULL) {
        status = quipu_error_set(err, QUIPU_NO_MEMORY, "no memory to import receipts");
    } else {
        run->import = import;
        run->engine = engine;
        run->is_dry = import->options.is_dry_run;
        status = receive(run, err);
        if (status == QUIPU_OK && report != NULL) {
            *report = run->report;
        }
        quipu_receipts_statement_release(&run->statement);
        quipu_buf_release(&run->root_block);
        quipu_buf_release(&run->statement_block);
    }
    if (run != NULL) {
        quipu_free(run->items);
        quipu_free(run->acks);
        quipu_free(run);
    }
    quipu_import_close(&import);
    return status;
}

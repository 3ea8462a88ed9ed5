/*
 * A bundle unpacked for an auditor: a folder in which sha256sum, ssh-keygen, age and any IPLD
 * library check what quipu says, with the commands written down beside it.
 *
 * First a pass that checks everything, then one that writes; a bundle that is not the same in both
 * leaves no folder. Holds one block at a time.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bundle_reader.h"
#include "checkpoint.h"
#include "export_folder.h"
#include "jsonl.h"
#include "quipu/alloc.h"
#include "quipu/dagcbor.h"
#include "quipu/dagjson.h"
#include "quipu/sshsig.h"
#include "quipu/text.h"
#include "unpack_text.h"

#define PENDING_BYTES ((size_t)256 << 10)
#define NAME_BYTES    40u
#define CAR_NAME      "events.car"
#define NDJSON_NAME   "events.ndjson"

/* A file of the folder that is written in pieces. */
struct unpack_file {
    const char *name;
    int fd;
    struct quipu_buf pending;
    struct quipu_sha256_stream stream;
};

struct unpack {
    const char *path; /* of the bundle */
    const struct quipu_bundle_check_options *options;
    struct quipu_bundle_report report;
    struct quipu_export_folder folder;
    struct unpack_file car;
    struct unpack_file lines;
    struct quipu_buf scratch;  /* for one line */
    struct quipu_source below; /* the CAR, while it is copied */
    struct quipu_buf sums;     /* lines of SHA256SUMS */
    struct quipu_buf signers;  /* lines of allowed_signers */
    struct quipu_unpack_facts facts;
};

static enum quipu_status no_memory(struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory to unpack");
}

/* ------------------------------------------------------------------ files */

static enum quipu_status add_sum(struct unpack *unpack, const char *name,
                                 const uint8_t digest[QUIPU_SHA256_BYTES], struct quipu_error *err)
{
    quipu_hex_append(&unpack->sums, quipu_slice(digest, QUIPU_SHA256_BYTES));
    quipu_buf_printf(&unpack->sums, "  %s\n", name);
    return unpack->sums.status == QUIPU_OK ? QUIPU_OK : no_memory(err);
}

/* A whole small file, and its line of SHA256SUMS. `text` is what failed where it could not grow. */
static enum quipu_status put(struct unpack *unpack, const char *name, const struct quipu_buf *text,
                             struct quipu_error *err)
{
    uint8_t digest[QUIPU_SHA256_BYTES];
    if (text->status != QUIPU_OK) {
        return no_memory(err);
    }
    enum quipu_status status =
        quipu_export_folder_put(&unpack->folder, name, quipu_buf_slice(text), err);
    if (status == QUIPU_OK) {
        quipu_sha256(quipu_buf_slice(text), digest);
        status = add_sum(unpack, name, digest, err);
    }
    return status;
}

static enum quipu_status put_slice(struct unpack *unpack, const char *name,
                                   struct quipu_slice bytes, struct quipu_error *err)
{
    struct quipu_buf text = QUIPU_BUF_INIT;
    quipu_buf_append_slice(&text, bytes);
    enum quipu_status status = put(unpack, name, &text, err);
    quipu_buf_release(&text);
    return status;
}

static enum quipu_status file_open(struct unpack *unpack, struct unpack_file *file,
                                   const char *name, struct quipu_error *err)
{
    file->name = name;
    quipu_sha256_stream_init(&file->stream);
    return quipu_export_folder_open(&unpack->folder, name, &file->fd, err);
}

static enum quipu_status file_flush(struct unpack *unpack, struct unpack_file *file,
                                    struct quipu_error *err)
{
    struct quipu_sink sink = quipu_sink_fd(&file->fd);
    if (file->pending.status != QUIPU_OK) {
        return no_memory(err);
    }
    quipu_sha256_stream_update(&file->stream, quipu_buf_slice(&file->pending));
    enum quipu_status status = sink.write(sink.ctx, quipu_buf_slice(&file->pending), err);
    quipu_buf_reset(&file->pending);
    return status == QUIPU_OK
               ? status
               : quipu_error_wrap(err, status, "%s in %s", file->name, unpack->folder.path);
}

static enum quipu_status file_end(struct unpack *unpack, struct unpack_file *file,
                                  struct quipu_error *err)
{
    uint8_t digest[QUIPU_SHA256_BYTES];
    enum quipu_status status = file_flush(unpack, file, err);
    if (status == QUIPU_OK) {
        status = quipu_export_folder_close(&unpack->folder, file->name, &file->fd, err);
    }
    if (status == QUIPU_OK) {
        quipu_sha256_stream_final(&file->stream, digest);
        status = add_sum(unpack, file->name, digest, err);
    }
    return status;
}

static void file_release(struct unpack_file *file)
{
    if (file->fd >= 0) {
        (void)close(file->fd); /* nothing of it is kept */
    }
    quipu_buf_release(&file->pending);
}

/* ------------------------------------------------------------------ what the reader shows */

/* Signature, public key and line of allowed_signers of one who signed. */
static enum quipu_status put_signer(struct unpack *unpack, size_t index,
                                    struct quipu_slice signature, struct quipu_slice key,
                                    struct quipu_error *err)
{
    char name[NAME_BYTES];
    char *principal = unpack->facts.principals[index];
    struct quipu_buf text = QUIPU_BUF_INIT;
    struct quipu_buf line = QUIPU_BUF_INIT;
    (void)snprintf(name, sizeof name, "signature-%zu.sig", index + 1);
    quipu_sshsig_armor(signature, &text);
    enum quipu_status status = put(unpack, name, &text, err);
    if (status == QUIPU_OK) {
        status = quipu_ssh_key_line(key, NULL, &line, err);
    }
    if (status == QUIPU_OK) {
        (void)snprintf(name, sizeof name, "signer-%zu.pub", index + 1);
        status = put(unpack, name, &line, err);
    }
    if (status == QUIPU_OK) {
        quipu_unpack_principal(key, principal);
        status = quipu_ssh_key_allowed_line(principal, QUIPU_BUNDLE_NAMESPACE, key,
                                            &unpack->signers, err);
        unpack->facts.signers = index + 1;
    }
    quipu_buf_release(&text);
    quipu_buf_release(&line);
    return status;
}

static enum quipu_status put_front(void *ctx, const struct quipu_bundle_front *front,
                                   struct quipu_error *err)
{
    struct unpack *unpack = ctx;
    struct quipu_buf text = QUIPU_BUF_INIT;
    enum quipu_status status = put_slice(unpack, "manifest.cbor", front->manifest, err);
    if (status == QUIPU_OK) {
        status = quipu_dagjson_from_dagcbor(front->manifest, &text, err);
        quipu_buf_append_byte(&text, '\n');
    }
    if (status == QUIPU_OK) {
        status = put(unpack, "manifest.json", &text, err);
    }
    if (status == QUIPU_OK) {
        status = put_slice(unpack, "checkpoint", front->checkpoint, err);
    }
    quipu_buf_reset(&text);
    if (status == QUIPU_OK) {
        status = quipu_checkpoint_vkey(front->source, &text, err);
    }
    if (status == QUIPU_OK) {
        status = put(unpack, "checkpoint.vkey", &text, err);
    }
    for (size_t i = 0; status == QUIPU_OK && i < front->signature_count; i++) {
        status = put_signer(unpack, i, front->signatures[i], front->signer_keys[i], err);
    }
    if (status == QUIPU_OK) {
        status = put(unpack, "allowed_signers", &unpack->signers, err);
    }
    quipu_buf_release(&text);
    return status;
}

/* {"cid": …, "envelope": …, "payload": …} in canonical DAG-JSON, one event a line. */
static enum quipu_status put_event(void *ctx, const struct quipu_bundle_event *event,
                                   struct quipu_error *err)
{
    struct unpack *unpack = ctx;
    struct quipu_envelope envelope;
    struct quipu_buf *out = &unpack->lines.pending;
    enum quipu_status status = quipu_envelope_decode(event->envelope, &envelope, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_event_line line = {
        .cid = &event->cid,
        .envelope = event->envelope,
        .payload = event->payload,
        .is_raw = envelope.payload.codec == QUIPU_CODEC_RAW,
        .shows_raw = true,
    };
    status = quipu_event_line_put(&line, &unpack->scratch, out, err);
    quipu_buf_append_byte(out, '\n');
    if (status != QUIPU_OK) {
        return quipu_error_wrap(err, status, "event %" PRIu64 " as DAG-JSON", event->number);
    }
    return out->len < PENDING_BYTES ? QUIPU_OK : file_flush(unpack, &unpack->lines, err);
}

/* What the reader reads is what is written down. */
static enum quipu_status copy_read(void *ctx, void *into, size_t cap, size_t *got,
                                   struct quipu_error *err)
{
    struct unpack *unpack = ctx;
    enum quipu_status status = unpack->below.read(unpack->below.ctx, into, cap, got, err);
    if (status != QUIPU_OK) {
        return status;
    }
    quipu_buf_append(&unpack->car.pending, into, *got);
    return unpack->car.pending.len < PENDING_BYTES ? QUIPU_OK
                                                   : file_flush(unpack, &unpack->car, err);
}

/* ------------------------------------------------------------------ the pass that writes */

static enum quipu_status copy_bundle(struct unpack *unpack, struct quipu_error *err)
{
    struct quipu_bundle_stream *stream = NULL;
    struct quipu_bundle_report again;
    struct quipu_bundle_pass pass = {
        .name = unpack->path, .visit = put_event, .front = put_front, .ctx = unpack};
    enum quipu_status status = quipu_bundle_stream_open(unpack->path, unpack->options->secrets,
                                                        &stream, &unpack->below, err);
    if (status == QUIPU_OK) {
        status =
            quipu_bundle_read_source((struct quipu_source){copy_read, unpack}, &pass, &again, err);
    }
    if (status == QUIPU_OK &&
        memcmp(again.file_sha256, unpack->report.file_sha256, sizeof again.file_sha256) != 0) {
        status =
            quipu_error_set(err, QUIPU_BUNDLE, "%s changed while it was unpacked", unpack->path);
    }
    quipu_bundle_stream_close(&stream);
    return status;
}

static enum quipu_status fill_folder(struct unpack *unpack, struct quipu_error *err)
{
    struct quipu_buf text = QUIPU_BUF_INIT;
    enum quipu_status status = file_open(unpack, &unpack->car, CAR_NAME, err);
    if (status == QUIPU_OK) {
        status = file_open(unpack, &unpack->lines, NDJSON_NAME, err);
    }
    if (status == QUIPU_OK) {
        status = copy_bundle(unpack, err);
    }
    if (status == QUIPU_OK) {
        status = file_end(unpack, &unpack->car, err);
    }
    if (status == QUIPU_OK) {
        status = file_end(unpack, &unpack->lines, err);
    }
    if (status == QUIPU_OK) {
        unpack->facts.report = &unpack->report;
        quipu_unpack_instructions(&unpack->facts, &text);
        status = put(unpack, "VERIFY.txt", &text, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_export_folder_put(&unpack->folder, "SHA256SUMS",
                                         quipu_buf_slice(&unpack->sums), err);
    }
    quipu_buf_release(&text);
    return status != QUIPU_OK ? status : quipu_export_folder_publish(&unpack->folder, err);
}

enum quipu_status quipu_bundle_unpack(const char *path,
                                      const struct quipu_bundle_check_options *options,
                                      const char *folder, struct quipu_bundle_report *report,
                                      struct quipu_error *err)
{
    static const struct quipu_bundle_check_options defaults = QUIPU_BUNDLE_CHECK_OPTIONS_INIT;
    if (path == NULL || folder == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE, "unpack needs a bundle and a folder");
    }
    struct unpack *unpack = quipu_alloc_zero(1, sizeof *unpack);
    if (unpack == NULL) {
        return no_memory(err);
    }
    unpack->path = path;
    unpack->options = options == NULL ? &defaults : options;
    unpack->folder = (struct quipu_export_folder)QUIPU_EXPORT_FOLDER_INIT;
    unpack->car.fd = -1;
    unpack->lines.fd = -1;
    enum quipu_status status = quipu_export_folder_create(&unpack->folder, folder, err);
    if (status == QUIPU_OK) {
        status = quipu_bundle_check_with(path, unpack->options, &unpack->report, err);
    }
    if (status == QUIPU_OK) {
        status = fill_folder(unpack, err);
    }
    if (status == QUIPU_OK && report != NULL) {
        *report = unpack->report;
    }
    file_release(&unpack->car);
    file_release(&unpack->lines);
    quipu_export_folder_discard(&unpack->folder);
    quipu_buf_release(&unpack->scratch);
    quipu_buf_release(&unpack->sums);
    quipu_buf_release(&unpack->signers);
    quipu_free(unpack);
    return status;
}

/*
 * Reading a bundle, as a straight line:
 *
 *   1. the CAR's header names one root, and the first block is it
 *   2. the second block is the manifest that the root links
 *   3. every signature holds over the manifest's bytes; the store that the manifest names has
 *      signed; one signer is trusted
 *   4. the list of envelopes: from the manifest, or from the chunks behind it
 *   5. each envelope in that order, its payload behind it unless the window still holds it
 *   6. nothing behind the last; counts, ranges and tree are what the manifest says
 *
 * The first thing that is not so ends it, named with file, event and byte. Never writes.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "bundle_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bundle_parts.h"
#include "quipu/alloc.h"
#include "receipts_codec.h"

/* A bundle's header names one root: 59 bytes. A larger one is not read. */
#define HEADER_BYTES_MAX 4096u

#define NAME_BYTES_SHOWN 160u

/* ------------------------------------------------------------------ the file */

enum quipu_status quipu_bundle_open_at(int folder, const char *base, const char *name, int *fd,
                                       struct quipu_error *err)
{
    struct stat info;
    /* O_NONBLOCK, so that a pipe is refused below and not waited for; files do not heed it. */
    int opened = openat(folder, base, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (opened < 0) {
        return quipu_error_errno(err, errno, "open %s", name);
    }
    enum quipu_status status = QUIPU_OK;
    if (fstat(opened, &info) != 0) {
        status = quipu_error_errno(err, errno, "look at %s", name);
    } else if (S_ISDIR(info.st_mode)) {
        status =
            quipu_error_set(err, QUIPU_INVALID, "%s is a folder; name the bundle's file", name);
    } else if (!S_ISREG(info.st_mode)) {
        status = quipu_error_set(
            err, QUIPU_INVALID,
            "%s is a pipe or device: copy the bundle to a file first, it is read twice", name);
    }
    if (status != QUIPU_OK) {
        (void)close(opened); /* nothing was written */
        return status;
    }
    (void)posix_fadvise(opened, 0, 0, POSIX_FADV_SEQUENTIAL); /* advice only */
    *fd = opened;
    return QUIPU_OK;
}

enum quipu_status quipu_bundle_open(const char *path, int *fd, struct quipu_error *err)
{
    return quipu_bundle_open_at(AT_FDCWD, path, path, fd, err);
}

static enum quipu_status input_read(void *ctx, void *into, size_t cap, size_t *got,
                                    struct quipu_error *err)
{
    struct quipu_bundle_input *input = ctx;
    enum quipu_status status = input->source.read(input->source.ctx, into, cap, got, err);
    if (status == QUIPU_OK) {
        quipu_sha256_stream_update(&input->sha256, quipu_slice(into, *got));
        input->bytes += *got;
    }
    return status;
}

/* ------------------------------------------------------------------ blocks */

/* A section is a varint of what follows, the CID, the block. */
static uint64_t section_head_bytes(const struct quipu_car_block *section)
{
    uint64_t rest = section->cid.bytes.len + section->block.len;
    uint64_t varint = 1;
    for (uint64_t left = rest >> 7; left > 0; left >>= 7) {
        varint++;
    }
    return varint + section->cid.bytes.len;
}

enum quipu_status quipu_bundle_next_block(struct quipu_bundle_reader *reader, const char *what)
{
    struct quipu_car_block section = {0};
    enum quipu_status status = quipu_car_next(reader->car, &section, reader->err);
    if (status == QUIPU_DONE) {
        return quipu_error_set_at(reader->err, QUIPU_CAR_TRUNCATED, reader->input.bytes,
                                  "the file ends where %s should follow", what);
    }
    if (status != QUIPU_OK) {
        return quipu_error_wrap(reader->err, status, "%s", what);
    }
    if (!section.is_verified || quipu_cid_from_view(&section.cid, &reader->cid, NULL) != QUIPU_OK) {
        return quipu_error_set_at(reader->err, QUIPU_BUNDLE, section.offset,
                                  "a block with a CID that no bundle has stands where %s should",
                                  what);
    }
    reader->block = section.block;
    reader->offset = section.offset;
    reader->data_offset = section.offset + section_head_bytes(&section);
    reader->blocks++;
    return QUIPU_OK;
}

enum quipu_status quipu_bundle_refused(struct quipu_bundle_reader *reader, enum quipu_status status,
                                       const char *what)
{
    struct quipu_error *err = reader->err;
    if (err != NULL) {
        uint64_t inner = err->offset == QUIPU_ERROR_NO_OFFSET ? 0 : err->offset;
        (void)quipu_error_wrap(err, status, "%s, whose block begins at byte %" PRIu64, what,
                               reader->data_offset); /* the status is returned below */
        err->offset = reader->data_offset + inner;
    }
    return status;
}

enum quipu_status quipu_bundle_not_one(struct quipu_bundle_reader *reader, enum quipu_status status,
                                       const char *what)
{
    bool is_ours = status == QUIPU_NO_MEMORY || status == QUIPU_FORMAT_NEWER;
    return quipu_bundle_refused(reader, is_ours ? status : QUIPU_BUNDLE, what);
}

/* Keep a block's bytes beyond the next one. */
static enum quipu_status keep_block(struct quipu_bundle_reader *reader, struct quipu_buf *into)
{
    quipu_buf_reset(into);
    quipu_buf_append_slice(into, reader->block);
    if (into->status != QUIPU_OK) {
        return quipu_error_set(reader->err, into->status, "no memory for a block of %zu bytes",
                               reader->block.len);
    }
    return QUIPU_OK;
}

enum quipu_status quipu_bundle_expect(struct quipu_bundle_reader *reader,
                                      const struct quipu_cid *cid, const char *what)
{
    if (quipu_cid_equal(&reader->cid, cid)) {
        return QUIPU_OK;
    }
    char found[QUIPU_CID_TEXT_BYTES];
    char wanted[QUIPU_CID_TEXT_BYTES];
    quipu_cid_format(&reader->cid, found);
    quipu_cid_format(cid, wanted);
    return quipu_error_set_at(reader->err, QUIPU_BUNDLE, reader->offset,
                              "block %s stands where %s %s should", found, what, wanted);
}

/* ------------------------------------------------------------------ root and manifest */

/* The other kind of file that travels over an air gap. */
static bool is_receipts(const struct quipu_bundle_reader *reader)
{
    struct quipu_receipts_root root;
    enum quipu_status status =
        quipu_receipts_root_decode(quipu_buf_slice(&reader->root_block), &root, NULL);
    return status == QUIPU_OK || status == QUIPU_UNSIGNED;
}

static enum quipu_status read_root(struct quipu_bundle_reader *reader)
{
    struct quipu_cid root = {0};
    if (quipu_car_root_count(reader->car) != 1 ||
        quipu_cid_from_view(quipu_car_root(reader->car, 0), &root, NULL) != QUIPU_OK ||
        root.codec != QUIPU_CODEC_DAG_CBOR) {
        return quipu_error_set(reader->err, QUIPU_BUNDLE,
                               "a CAR, but not a bundle: that has one root, a dag-cbor block");
    }
    enum quipu_status status = quipu_bundle_next_block(reader, "the root");
    if (status == QUIPU_OK) {
        status = quipu_bundle_expect(reader, &root, "the root");
    }
    if (status == QUIPU_OK) {
        status = keep_block(reader, &reader->root_block);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    status =
        quipu_bundle_root_decode(quipu_buf_slice(&reader->root_block), &reader->root, reader->err);
    if (status != QUIPU_OK && status != QUIPU_NO_MEMORY && is_receipts(reader)) {
        return quipu_error_set(reader->err, QUIPU_INVALID,
                               "these are receipts, not a bundle; look at them with `quipu import "
                               "--receipts --dry-run`");
    }
    return status == QUIPU_OK ? status : quipu_bundle_not_one(reader, status, "the root");
}

static enum quipu_status read_manifest(struct quipu_bundle_reader *reader)
{
    enum quipu_status status = quipu_bundle_next_block(reader, "the manifest");
    if (status == QUIPU_OK) {
        status = quipu_bundle_expect(reader, &reader->root.manifest, "the manifest");
    }
    if (status == QUIPU_OK) {
        reader->manifest_offset = reader->offset;
        status = keep_block(reader, &reader->manifest_block);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    status = quipu_bundle_manifest_decode(quipu_buf_slice(&reader->manifest_block),
                                          &reader->manifest, reader->err);
    return status == QUIPU_OK ? status : quipu_bundle_not_one(reader, status, "the manifest");
}

/* ------------------------------------------------------------------ signatures */

static enum quipu_status check_signatures(struct quipu_bundle_reader *reader)
{
    const struct quipu_bundle_root *root = &reader->root;
    enum quipu_status status = quipu_signers_verify(
        &reader->group, root->signatures, root->signature_count, QUIPU_BUNDLE_NAMESPACE,
        quipu_buf_slice(&reader->manifest_block), reader->err);
    return status != QUIPU_OK
               ? status
               : quipu_signers_judge(&reader->group, &reader->pass->policy, QUIPU_BUNDLE_NAMESPACE,
                                     reader->manifest.source, reader->err);
}

/* ------------------------------------------------------------------ the pass */

/* The end of a long path: what is wrong must still fit on the line. */
static const char *short_name(const char *name)
{
    size_t len = strlen(name);
    const char *from = len > NAME_BYTES_SHOWN ? name + len - NAME_BYTES_SHOWN : name;
    while (from > name && ((unsigned char)*from & 0xc0) == 0x80) {
        from++; /* not inside a character */
    }
    return from;
}

static enum quipu_status read_end(struct quipu_bundle_reader *reader)
{
    struct quipu_car_block section = {0};
    enum quipu_status status = quipu_car_next(reader->car, &section, reader->err);
    if (status == QUIPU_DONE) {
        return QUIPU_OK;
    }
    if (status != QUIPU_OK) {
        return quipu_error_wrap(reader->err, status, "behind the last event");
    }
    return quipu_error_set_at(reader->err, QUIPU_BUNDLE, section.offset,
                              "a block stands behind the last event, which the manifest does not "
                              "name");
}

static enum quipu_status show_front(struct quipu_bundle_reader *reader)
{
    struct quipu_bundle_front front = {
        .manifest = quipu_buf_slice(&reader->manifest_block),
        .checkpoint = reader->manifest.log.checkpoint,
        .source = reader->manifest.source,
        .signatures = reader->root.signatures,
        .signature_count = reader->root.signature_count,
        .signer_keys = reader->group.keys,
        .manifest_offset = reader->manifest_offset,
    };
    return reader->pass->front == NULL
               ? QUIPU_OK
               : reader->pass->front(reader->pass->ctx, &front, reader->err);
}

static enum quipu_status read_all(struct quipu_bundle_reader *reader)
{
    struct quipu_car_options options = QUIPU_CAR_OPTIONS_INIT;
    options.header_bytes_max = HEADER_BYTES_MAX;
    struct quipu_source source = {input_read, &reader->input};
    enum quipu_status status = quipu_car_reader_open(source, &options, &reader->car, reader->err);
    if (status == QUIPU_OK) {
        status = read_root(reader);
    }
    if (status == QUIPU_OK) {
        status = read_manifest(reader);
    }
    if (status == QUIPU_OK) {
        status = check_signatures(reader);
    }
    if (status == QUIPU_OK) {
        status = quipu_bundle_read_proof(reader);
    }
    if (status == QUIPU_OK) {
        status = show_front(reader);
    }
    if (status == QUIPU_OK) {
        status = quipu_bundle_read_list(reader);
    }
    if (status == QUIPU_OK) {
        status = quipu_bundle_read_events(reader);
    }
    if (status == QUIPU_OK) {
        status = read_end(reader);
    }
    if (status == QUIPU_OK) {
        status = quipu_bundle_check_sums(reader);
    }
    return status != QUIPU_OK ? status : quipu_bundle_check_proof(reader);
}

static void copy_text(char *into, size_t cap, struct quipu_slice text)
{
    size_t len = text.len < cap ? text.len : cap - 1; /* the decoder held it to less */
    if (len > 0) {
        memcpy(into, text.data, len);
    }
    into[len] = 0;
}

/* Events whose source has not signed: nothing in the file says that they are its own. */
static uint64_t count_unproven(const struct quipu_bundle_reader *reader)
{
    const struct quipu_signer_group *group = &reader->group;
    const struct quipu_tally *sources = &reader->manifest.sources;
    uint64_t unproven = 0;
    for (size_t i = 0; i < sources->count; i++) {
        bool has_signed = false;
        for (size_t k = 0; k < group->count && !has_signed; k++) {
            has_signed = quipu_slice_equal(sources->entries[i].name,
                                           quipu_slice_text(group->signers[k].name));
        }
        unproven += has_signed ? 0 : sources->entries[i].count;
    }
    return unproven;
}

static void fill_report(struct quipu_bundle_reader *reader, struct quipu_bundle_report *report)
{
    const struct quipu_bundle_manifest *manifest = &reader->manifest;
    struct quipu_bundle_report filled = {
        .events = manifest->tree_size,
        .blocks = reader->blocks,
        .file_bytes = reader->input.bytes,
        .manifest = reader->root.manifest,
        .created_unix_us = manifest->created_unix_us,
        .number = manifest->number,
        .first_position = manifest->first_position,
        .last_position = manifest->last_position,
        .has_previous = manifest->has_previous,
        .previous = manifest->previous,
        .log_size = reader->log_tree.size,
        .has_log_previous = manifest->log.has_previous,
        .log_previous_size = manifest->log.previous.size,
        .left_out = reader->log_tree.size - manifest->log.previous.size - reader->proven_new,
        .proven = reader->proven,
        .unproven = count_unproven(reader),
        .signatures = reader->root.signature_count,
        .people = reader->group.people,
    };
    memcpy(filled.log_root, reader->log_tree.root, sizeof filled.log_root);
    memcpy(filled.log_previous_root, manifest->log.previous.root, sizeof filled.log_previous_root);
    memcpy(filled.signer, reader->group.signers[reader->group.told].name, sizeof filled.signer);
    memcpy(filled.signers, reader->group.signers,
           reader->group.count * sizeof reader->group.signers[0]);
    memcpy(filled.tree_root, manifest->tree_root, sizeof filled.tree_root);
    copy_text(filled.source, sizeof filled.source, manifest->source);
    copy_text(filled.operator_name, sizeof filled.operator_name, manifest->operator_name);
    copy_text(filled.reason, sizeof filled.reason, manifest->reason);
    quipu_sha256_stream_final(&reader->input.sha256, filled.file_sha256);
    *report = filled;
}

enum quipu_status quipu_bundle_read(int fd, const struct quipu_bundle_pass *pass,
                                    struct quipu_bundle_report *report, struct quipu_error *err)
{
    if (lseek(fd, 0, SEEK_SET) < 0) {
        return quipu_error_errno(err, errno, "go to the start of %s", pass->name);
    }
    return quipu_bundle_read_source(quipu_source_fd(&fd), pass, report, err);
}

enum quipu_status quipu_bundle_read_source(struct quipu_source source,
                                           const struct quipu_bundle_pass *pass,
                                           struct quipu_bundle_report *report,
                                           struct quipu_error *err)
{
    struct quipu_bundle_reader *reader = quipu_alloc_zero(1, sizeof *reader);
    if (reader == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory to read %s", pass->name);
    }
    reader->pass = pass;
    reader->err = err;
    reader->input.source = source;
    reader->window.keeps_bytes = true;
    quipu_sha256_stream_init(&reader->input.sha256);

    enum quipu_status status = read_all(reader);
    if (status == QUIPU_OK) {
        fill_report(reader, report);
    } else {
        const char *name = short_name(pass->name);
        status = quipu_error_wrap(err, status, "%s%s", name == pass->name ? "" : "…", name);
    }

    quipu_car_reader_close(&reader->car);
    quipu_bundle_manifest_release(&reader->manifest);
    quipu_payload_window_release(&reader->window);
    quipu_buf_release(&reader->root_block);
    quipu_buf_release(&reader->manifest_block);
    quipu_buf_release(&reader->proof_hashes);
    quipu_buf_release(&reader->digests);
    quipu_buf_release(&reader->envelope_block);
    quipu_free(reader->types_seen);
    quipu_free(reader->sources_seen);
    quipu_free(reader);
    return status;
}

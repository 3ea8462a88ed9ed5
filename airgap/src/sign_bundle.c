/*
 * Signing a bundle, as a straight line:
 *
 *   1. open and lock the file, check all of it, keep manifest and signatures
 *   2. each new signature is verified over that manifest, and is by a key that has not signed
 *   3. write header and root anew, copy everything from the manifest on as it stands, sync
 *   4. read it back as an importer would
 *   5. give it its name: a new one, or in one rename that of the bundle
 *
 * A failure or a kill before step 5 leaves the bundle as it was. Never decides whether enough have
 * signed.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/sign_bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bundle_manifest.h"
#include "export_file.h"
#include "internal/failpoint.h"
#include "quipu/alloc.h"
#include "quipu/car.h"
#include "sign_parts.h"

#define COPY_BYTES  ((size_t)256 << 10)
#define SNIFF_BYTES 64u

/* One signature and who made it. */
struct signature {
    struct quipu_buf blob;
    struct quipu_slice key; /* in the blob */
    struct quipu_signer signer;
};

struct quipu_signing {
    char *path;
    int fd;
    struct stat info; /* of the file that was opened */
    struct quipu_bundle_report report;
    struct quipu_buf manifest;
    uint64_t manifest_offset;
    size_t count;
    struct signature signatures[QUIPU_SIGNERS_MAX];
};

/* ------------------------------------------------------------------ 1: open and check */

static enum quipu_status refuse_encrypted(const char *path, int fd, struct quipu_error *err)
{
    uint8_t first[SNIFF_BYTES];
    size_t got = 0;
    enum quipu_status status =
        quipu_source_read_full(quipu_source_fd(&fd), first, sizeof first, &got, err);
    if (status == QUIPU_OK && quipu_bundle_is_age(quipu_slice(first, got))) {
        status = quipu_error_set(err, QUIPU_INVALID,
                                 "%s is encrypted; sign it before it is encrypted, or decrypt it "
                                 "with `age -d` first",
                                 path);
    }
    return status;
}

enum quipu_status quipu_sign_input_open(const char *path, int *fd, struct quipu_error *err)
{
    struct stat info;
    int opened = -1;
    if (lstat(path, &info) == 0 && S_ISLNK(info.st_mode)) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "%s is a symbolic link; name the file that it points at", path);
    }
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "%s is a folder; a bundle is signed as one file, before it is split "
                               "into volumes",
                               path);
    }
    enum quipu_status status = quipu_bundle_open(path, &opened, err);
    if (status == QUIPU_OK) {
        status = refuse_encrypted(path, opened, err);
    }
    if (status != QUIPU_OK) {
        if (opened >= 0) {
            (void)close(opened); /* was only read */
        }
        return status;
    }
    *fd = opened;
    return QUIPU_OK;
}

/* Two that sign one file at a time would each keep only its own signature. A file system without
 * locks has none to hold. */
static enum quipu_status lock(struct quipu_signing *signing, struct quipu_error *err)
{
    if (flock(signing->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        return quipu_error_set(err, QUIPU_BUSY, "%s is being signed by another process",
                               signing->path);
    }
    return fstat(signing->fd, &signing->info) == 0
               ? QUIPU_OK
               : quipu_error_errno(err, errno, "look at %s", signing->path);
}

static enum quipu_status keep_signature(struct quipu_signing *signing, struct quipu_slice blob,
                                        struct quipu_error *err)
{
    struct signature *kept = &signing->signatures[signing->count];
    struct quipu_sshsig sshsig = {0};
    *kept = (struct signature){.signer = {.type = QUIPU_SSH_KEY_ED25519}};
    quipu_buf_append_slice(&kept->blob, blob);
    enum quipu_status status = kept->blob.status;
    if (status != QUIPU_OK) {
        status = quipu_error_set(err, status, "no memory for a signature");
    } else {
        status = quipu_sshsig_decode(quipu_buf_slice(&kept->blob), &sshsig, err);
    }
    if (status != QUIPU_OK) {
        quipu_buf_release(&kept->blob);
        return status;
    }
    kept->key = sshsig.key;
    kept->signer.type = sshsig.type;
    quipu_ssh_key_name(sshsig.key, kept->signer.name);
    quipu_ssh_key_fingerprint(sshsig.key, kept->signer.fingerprint);
    kept->signer.is_source = strcmp(kept->signer.name, signing->report.source) == 0;
    signing->count++;
    return QUIPU_OK;
}

static enum quipu_status keep_front(void *ctx, const struct quipu_bundle_front *front,
                                    struct quipu_error *err)
{
    struct quipu_signing *signing = ctx;
    enum quipu_status status = QUIPU_OK;
    signing->manifest_offset = front->manifest_offset;
    quipu_buf_append_slice(&signing->manifest, front->manifest);
    if (signing->manifest.status != QUIPU_OK) {
        return quipu_error_set(err, signing->manifest.status, "no memory for a manifest");
    }
    /* The decoder held it to the length of an NKey. */
    memcpy(signing->report.source, front->source.data, front->source.len);
    for (size_t i = 0; status == QUIPU_OK && i < front->signature_count; i++) {
        status = keep_signature(signing, front->signatures[i], err);
    }
    return status;
}

enum quipu_status quipu_signing_open(const char *path, struct quipu_signing **out,
                                     struct quipu_error *err)
{
    if (path == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE, "signing needs a path");
    }
    struct quipu_signing *signing = quipu_alloc_zero(1, sizeof *signing);
    size_t len = strlen(path) + 1;
    if (signing != NULL) {
        signing->fd = -1;
        signing->path = quipu_alloc(len, 1);
    }
    if (signing == NULL || signing->path == NULL) {
        quipu_free(signing);
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory to sign %s", path);
    }
    memcpy(signing->path, path, len);
    struct quipu_bundle_pass pass = {.name = path, .front = keep_front, .ctx = signing};
    struct quipu_bundle_report report;
    enum quipu_status status = quipu_sign_input_open(path, &signing->fd, err);
    if (status == QUIPU_OK) {
        status = lock(signing, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_bundle_read(signing->fd, &pass, &report, err);
    }
    if (status != QUIPU_OK) {
        quipu_signing_close(&signing);
        return status;
    }
    signing->report = report;
    *out = signing;
    return QUIPU_OK;
}

void quipu_signing_close(struct quipu_signing **signing)
{
    if (*signing == NULL) {
        return;
    }
    for (size_t i = 0; i < (*signing)->count; i++) {
        quipu_buf_release(&(*signing)->signatures[i].blob);
    }
    if ((*signing)->fd >= 0) {
        (void)close((*signing)->fd); /* was only read; lets go of the lock */
    }
    quipu_buf_release(&(*signing)->manifest);
    quipu_free((*signing)->path);
    quipu_free(*signing);
    *signing = NULL;
}

const struct quipu_bundle_report *quipu_signing_bundle(const struct quipu_signing *signing)
{
    return &signing->report;
}

struct quipu_slice quipu_signing_manifest(const struct quipu_signing *signing)
{
    return quipu_buf_slice(&signing->manifest);
}

size_t quipu_signing_count(const struct quipu_signing *signing)
{
    return signing->count;
}

const struct quipu_signer *quipu_signing_at(const struct quipu_signing *signing, size_t index)
{
    return index < signing->count ? &signing->signatures[index].signer : NULL;
}

/* ------------------------------------------------------------------ 2: add */

static bool has_key(const struct quipu_signing *signing, struct quipu_slice key)
{
    for (size_t i = 0; i < signing->count; i++) {
        if (quipu_slice_equal(signing->signatures[i].key, key)) {
            return true;
        }
    }
    return false;
}

enum quipu_status quipu_signing_add(struct quipu_signing *signing, struct quipu_slice blob,
                                    struct quipu_error *err)
{
    struct quipu_sshsig sshsig;
    char name[QUIPU_SOURCE_TEXT_BYTES];
    enum quipu_status status = quipu_sshsig_verify(
        blob, QUIPU_BUNDLE_NAMESPACE, quipu_buf_slice(&signing->manifest), &sshsig, err);
    if (status == QUIPU_BAD_SIGNATURE) {
        return quipu_error_wrap(err, status, "not a signature of the manifest of %s",
                                signing->path);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (has_key(signing, sshsig.key)) {
        quipu_ssh_key_name(sshsig.key, name);
        return quipu_error_set(err, QUIPU_EXISTS, "%s has signed %s already: each key signs once",
                               name, signing->path);
    }
    if (signing->count == QUIPU_SIGNERS_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE, "%s has %u signatures, and may have no more",
                               signing->path, QUIPU_SIGNERS_MAX);
    }
    return keep_signature(signing, blob, err);
}

enum quipu_status quipu_signing_sign(struct quipu_signing *signing,
                                     const struct quipu_signing_key *key, struct quipu_error *err)
{
    struct quipu_slice space = quipu_slice_text(QUIPU_BUNDLE_NAMESPACE);
    struct quipu_buf bytes = QUIPU_BUF_INIT;
    struct quipu_buf blob = QUIPU_BUF_INIT;
    uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES];
    uint8_t signature[QUIPU_SIGNATURE_BYTES];
    quipu_signing_key_public(key, public_key);
    quipu_sshsig_signed_bytes(space, QUIPU_SSHSIG_SHA512, quipu_buf_slice(&signing->manifest),
                              &bytes);
    enum quipu_status status = bytes.status;
    if (status != QUIPU_OK) {
        status = quipu_error_set(err, status, "no memory to sign");
        goto done;
    }
    status = quipu_signing_key_sign(key, quipu_buf_slice(&bytes), signature, err);
    if (status != QUIPU_OK) {
        goto done;
    }
    quipu_sshsig_encode_ed25519(public_key, space, signature, &blob);
    status = blob.status == QUIPU_OK
                 ? quipu_signing_add(signing, quipu_buf_slice(&blob), err)
                 : quipu_error_set(err, blob.status, "no memory for a signature");
done:
    quipu_buf_release(&bytes);
    quipu_buf_release(&blob);
    return status;
}

enum quipu_status quipu_signing_merge(struct quipu_signing *signing, const char *path,
                                      size_t *added, struct quipu_error *err)
{
    struct quipu_signing *other = NULL;
    size_t count = 0;
    enum quipu_status status = quipu_signing_open(path, &other, err);
    if (status == QUIPU_OK &&
        !quipu_cid_equal(&other->report.manifest, &signing->report.manifest)) {
        status = quipu_error_set(err, QUIPU_BUNDLE,
                                 "%s is another bundle than %s: their manifests differ", path,
                                 signing->path);
    }
    for (size_t i = 0; status == QUIPU_OK && i < other->count; i++) {
        if (!has_key(signing, other->signatures[i].key)) {
            status = quipu_signing_add(signing, quipu_buf_slice(&other->signatures[i].blob), err);
            count++;
        }
    }
    quipu_signing_close(&other);
    if (status == QUIPU_OK && added != NULL) {
        *added = count;
    }
    return status;
}

/* ------------------------------------------------------------------ 3 to 5: write */

static int signature_order(const void *a, const void *b)
{
    const struct signature *const *left = a;
    const struct signature *const *right = b;
    if ((*left)->signer.is_source != (*right)->signer.is_source) {
        return (*left)->signer.is_source ? -1 : 1;
    }
    return quipu_slice_compare((*left)->key, (*right)->key);
}

static enum quipu_status encode_root(const struct quipu_signing *signing, struct quipu_buf *block,
                                     struct quipu_error *err)
{
    const struct signature *ordered[QUIPU_SIGNERS_MAX];
    struct quipu_bundle_root root = {.manifest = signing->report.manifest,
                                     .signature_count = signing->count};
    for (size_t i = 0; i < signing->count; i++) {
        ordered[i] = &signing->signatures[i];
    }
    qsort(ordered, signing->count, sizeof ordered[0], signature_order);
    for (size_t i = 0; i < signing->count; i++) {
        root.signatures[i] = quipu_buf_slice(&ordered[i]->blob);
    }
    return quipu_bundle_root_encode(&root, block, err);
}

enum quipu_status quipu_sign_copy(int fd, uint64_t offset, struct quipu_sink sink,
                                  struct quipu_sha256_stream *sha256, struct quipu_error *err)
{
    size_t got = 1;
    struct quipu_source source = quipu_source_fd(&fd);
    if (lseek(fd, (off_t)offset, SEEK_SET) < 0) {
        return quipu_error_errno(err, errno, "go to byte %llu", (unsigned long long)offset);
    }
    uint8_t *bytes = quipu_alloc(COPY_BYTES, 1);
    enum quipu_status status =
        bytes == NULL ? quipu_error_set(err, QUIPU_NO_MEMORY, "no memory to copy") : QUIPU_OK;
    while (status == QUIPU_OK && got > 0) {
        status = source.read(source.ctx, bytes, COPY_BYTES, &got, err);
        if (status == QUIPU_OK && got > 0) {
            if (sha256 != NULL) {
                quipu_sha256_stream_update(sha256, quipu_slice(bytes, got));
            }
            status = sink.write(sink.ctx, quipu_slice(bytes, got), err);
        }
    }
    quipu_free(bytes);
    return status;
}

static enum quipu_status write_car(const struct quipu_signing *signing, struct quipu_sink sink,
                                   struct quipu_cid *root, struct quipu_error *err)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    enum quipu_status status = encode_root(signing, &block, err);
    if (status == QUIPU_OK) {
        *root = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_buf_slice(&block));
        status = quipu_car_write_header(sink, root, 1, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_car_write_block(sink, root, quipu_buf_slice(&block), err);
    }
    if (status == QUIPU_OK) {
        status = quipu_sign_copy(signing->fd, signing->manifest_offset, sink, NULL, err);
    }
    quipu_buf_release(&block);
    return status;
}

/* As an importer reads it: also the events, so that a bundle that changed under our hands is not
 * given its name. */
static enum quipu_status read_back(const struct quipu_signing *signing,
                                   struct quipu_export_file *file, struct quipu_error *err)
{
    struct quipu_bundle_pass pass = {.name = "reading back what was signed"};
    struct quipu_bundle_report again;
    int fd = -1;
    enum quipu_status status = quipu_failpoint("airgap.sign.check", err);
    if (status == QUIPU_OK) {
        status = quipu_bundle_open_at(file->folder, file->temp, file->path, &fd, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    status = quipu_bundle_read(fd, &pass, &again, err);
    (void)close(fd); /* was only read */
    if (status == QUIPU_OK && (again.signatures != signing->count ||
                               !quipu_cid_equal(&again.manifest, &signing->report.manifest) ||
                               memcmp(again.file_sha256, file->sha256, sizeof file->sha256) != 0)) {
        status = quipu_error_set(err, QUIPU_IO, "%s: it is not what was written", file->path);
    }
    return status;
}

enum quipu_status quipu_signing_write(struct quipu_signing *signing, const char *out,
                                      struct quipu_signed_report *report, struct quipu_error *err)
{
    struct quipu_export_file file = QUIPU_EXPORT_FILE_INIT;
    struct quipu_cid root;
    enum quipu_status status =
        out != NULL ? quipu_export_file_create_as(&file, out, &signing->info, err)
                    : quipu_export_file_create_over(&file, signing->path, &signing->info, err);
    if (status == QUIPU_OK) {
        status = write_car(signing, quipu_export_file_sink(&file), &root, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_export_file_finish(&file, err);
    }
    if (status == QUIPU_OK) {
        status = read_back(signing, &file, err);
    }
    if (status == QUIPU_OK) {
        status = out != NULL ? quipu_export_file_publish(&file, err)
                             : quipu_export_file_replace(&file, &signing->info, err);
    }
    if (status == QUIPU_OK && report != NULL) {
        *report = (struct quipu_signed_report){.file_bytes = file.bytes, .root = root};
        memcpy(report->file_sha256, file.sha256, sizeof report->file_sha256);
    }
    quipu_export_file_discard(&file);
    return status;
}

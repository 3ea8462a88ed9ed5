/*
 * Reading a bundle in volumes: the signed index first, then every volume against its digest, and
 * only then a byte of them. Never writes.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "quipu/alloc.h"
#include "quipu/sshsig.h"
#include "quipu/text.h"
#include "volume.h"

#define INDEX_BYTES_MAX     ((size_t)512 << 10)
#define SIGNATURE_BYTES_MAX ((size_t)4096)
#define READ_BYTES          ((size_t)256 << 10)
#define NAMES_SHOWN         5u

void quipu_volume_reader_close(struct quipu_volume_reader *reader)
{
    if (reader->fd >= 0) {
        (void)close(reader->fd); /* was only read */
    }
    if (reader->folder >= 0) {
        (void)close(reader->folder); /* was only read */
    }
    quipu_buf_release(&reader->text);
    quipu_volume_index_release(&reader->index);
    *reader = (struct quipu_volume_reader)QUIPU_VOLUME_READER_INIT;
}

/* ------------------------------------------------------------------ the index */

/* A whole small file. QUIPU_NOT_FOUND. */
static enum quipu_status read_small(struct quipu_volume_reader *reader, const char *name,
                                    size_t bytes_max, struct quipu_buf *out,
                                    struct quipu_error *err)
{
    int fd = openat(reader->folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    size_t got = 0;
    if (fd < 0) {
        return quipu_error_errno(err, errno, "open %s in %s", name, reader->path);
    }
    uint8_t *into = quipu_buf_reserve(out, bytes_max + 1);
    enum quipu_status status =
        into == NULL ? quipu_error_set(err, QUIPU_NO_MEMORY, "no memory for %s", name)
                     : quipu_source_read_full(quipu_source_fd(&fd), into, bytes_max + 1, &got, err);
    if (status == QUIPU_OK && got > bytes_max) {
        status = quipu_error_set(err, QUIPU_TOO_LARGE, "%s in %s has more than %zu bytes", name,
                                 reader->path, bytes_max);
    }
    out->len += status == QUIPU_OK ? got : 0;
    (void)close(fd); /* was only read */
    return status;
}

/* The binary signature out of its armor, which must be as quipu_sshsig_armor writes it. */
static bool read_armor(struct quipu_slice armor, struct quipu_buf *blob)
{
    static const char head[] = "-----BEGIN SSH SIGNATURE-----\n";
    static const char tail[] = "-----END SSH SIGNATURE-----\n";
    struct quipu_buf again = QUIPU_BUF_INIT;
    size_t frame = sizeof head - 1 + sizeof tail - 1;
    size_t len = 0;
    uint8_t *into = quipu_buf_reserve(blob, SIGNATURE_BYTES_MAX);
    if (into == NULL || armor.len <= frame ||
        sodium_base642bin(into, SIGNATURE_BYTES_MAX, (const char *)armor.data + sizeof head - 1,
                          armor.len - frame, "\n", &len, NULL,
                          sodium_base64_VARIANT_ORIGINAL) != 0) {
        return false;
    }
    blob->len = len;
    quipu_sshsig_armor(quipu_buf_slice(blob), &again);
    bool is_same = again.status == QUIPU_OK && quipu_slice_equal(quipu_buf_slice(&again), armor);
    quipu_buf_release(&again);
    return is_same;
}

static enum quipu_status check_index_signature(struct quipu_volume_reader *reader,
                                               struct quipu_slice armor, struct quipu_error *err)
{
    uint8_t signer[QUIPU_PUBLIC_KEY_BYTES] = {0};
    uint8_t wanted[QUIPU_PUBLIC_KEY_BYTES];
    struct quipu_sshsig sshsig;
    bool is_ed25519 = false;
    struct quipu_buf blob = QUIPU_BUF_INIT;
    enum quipu_status status =
        quipu_source_public_key(quipu_slice_text(reader->index.source), wanted, err);
    if (status == QUIPU_OK && !read_armor(armor, &blob)) {
        status = quipu_error_set(err, QUIPU_BAD_SIGNATURE, "%s in %s holds no signature",
                                 QUIPU_VOLUME_SIGNATURE, reader->path);
    }
    if (status == QUIPU_OK) {
        status = quipu_sshsig_verify(quipu_buf_slice(&blob), QUIPU_VOLUME_NAMESPACE,
                                     quipu_buf_slice(&reader->text), &sshsig, err);
    }
    if (status == QUIPU_OK) {
        is_ed25519 = quipu_ssh_key_ed25519(sshsig.key, signer);
    }
    quipu_buf_release(&blob);
    if (status == QUIPU_OK && (!is_ed25519 || memcmp(signer, wanted, sizeof signer) != 0)) {
        status =
            quipu_error_set(err, QUIPU_BAD_SIGNATURE,
                            "it names source %s, but another key signed it", reader->index.source);
    }
    return status == QUIPU_OK
               ? status
               : quipu_error_wrap(err, status, "%s in %s", QUIPU_VOLUME_INDEX, reader->path);
}

static enum quipu_status load_index(struct quipu_volume_reader *reader, struct quipu_error *err)
{
    struct quipu_buf armor = QUIPU_BUF_INIT;
    enum quipu_status status =
        read_small(reader, QUIPU_VOLUME_INDEX, INDEX_BYTES_MAX, &reader->text, err);
    if (status == QUIPU_NOT_FOUND) {
        return quipu_error_set(err, QUIPU_MISSING,
                               "%s is a folder without %s: name the bundle's file, or the folder "
                               "that holds all of its volumes and their index",
                               reader->path, QUIPU_VOLUME_INDEX);
    }
    if (status == QUIPU_OK) {
        status = quipu_volume_index_parse(quipu_buf_slice(&reader->text), &reader->index, err);
        if (status != QUIPU_OK) {
            status = quipu_error_wrap(err, status, "%s in %s", QUIPU_VOLUME_INDEX, reader->path);
        }
    }
    if (status == QUIPU_OK) {
        status = read_small(reader, QUIPU_VOLUME_SIGNATURE, SIGNATURE_BYTES_MAX, &armor, err);
        if (status == QUIPU_NOT_FOUND) {
            status = quipu_error_set(err, QUIPU_MISSING, "%s is not in %s", QUIPU_VOLUME_SIGNATURE,
                                     reader->path);
        }
    }
    if (status == QUIPU_OK) {
        status = check_index_signature(reader, quipu_buf_slice(&armor), err);
    }
    quipu_buf_release(&armor);
    return status;
}

/* ------------------------------------------------------------------ the volumes */

/* A name that is a symbolic link, a folder, a device or a pipe, or holds more than the signed index
 * says of all volumes together, is nobody's volume: it is not read. */
static enum quipu_status refuse_kind(const struct quipu_volume_reader *reader,
                                     const struct quipu_volume_entry *entry, const char *what,
                                     struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_BUNDLE, "%s: %.*s is %s; put the volume itself there",
                           reader->path, QUIPU_SLICE_FMT(entry->name), what);
}

static enum quipu_status check_kind(const struct quipu_volume_reader *reader,
                                    const struct quipu_volume_entry *entry, int fd,
                                    struct quipu_error *err)
{
    struct stat info;
    if (fstat(fd, &info) != 0) {
        return quipu_error_errno(err, errno, "look at %.*s in %s", QUIPU_SLICE_FMT(entry->name),
                                 reader->path);
    }
    if (!S_ISREG(info.st_mode)) {
        return refuse_kind(reader, entry, "no regular file", err);
    }
    return (uint64_t)info.st_size > reader->index.bytes
               ? refuse_kind(reader, entry, "larger than the whole bundle", err)
               : QUIPU_OK;
}

static int open_entry(const struct quipu_volume_reader *reader,
                      const struct quipu_volume_entry *entry)
{
    char name[QUIPU_VOLUME_NAME_BYTES];
    memcpy(name, entry->name.data, entry->name.len);
    name[entry->name.len] = 0;
    return openat(reader->folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
}

static enum quipu_status find_all(const struct quipu_volume_reader *reader, struct quipu_error *err)
{
    char storage[256];
    struct quipu_buf names;
    size_t missing = 0;
    quipu_buf_init_fixed(&names, storage, sizeof storage);
    for (size_t i = 0; i < reader->index.count; i++) {
        const struct quipu_volume_entry *entry = &reader->index.entries[i];
        int fd = open_entry(reader, entry);
        if (fd >= 0) {
            enum quipu_status status = check_kind(reader, entry, fd, err);
            (void)close(fd); /* was only looked for */
            if (status != QUIPU_OK) {
                return status;
            }
            continue;
        }
        if (errno == ELOOP) {
            return refuse_kind(reader, entry, "a symbolic link", err);
        }
        if (errno == ENXIO || errno == ENODEV) {
            return refuse_kind(reader, entry, "no regular file", err);
        }
        if (errno != ENOENT) {
            return quipu_error_errno(err, errno, "open %.*s in %s", QUIPU_SLICE_FMT(entry->name),
                                     reader->path);
        }
        if (missing++ < NAMES_SHOWN) {
            quipu_buf_printf(&names, "%s%.*s", missing == 1 ? "" : ", ",
                             QUIPU_SLICE_FMT(entry->name));
        }
    }
    if (missing > 0) {
        return quipu_error_set(err, QUIPU_MISSING, "%zu of %zu volumes are not in %s: %.*s%s",
                               missing, reader->index.count, reader->path, (int)names.len,
                               (const char *)names.data, missing > NAMES_SHOWN ? ", …" : "");
    }
    return QUIPU_OK;
}

static enum quipu_status hash_entry(const struct quipu_volume_reader *reader,
                                    const struct quipu_volume_entry *entry, uint8_t *scratch,
                                    uint8_t digest[QUIPU_SHA256_BYTES], struct quipu_error *err)
{
    struct quipu_sha256_stream stream;
    size_t got = 1;
    int fd = open_entry(reader, entry);
    if (fd < 0) {
        return quipu_error_errno(err, errno, "open %.*s in %s", QUIPU_SLICE_FMT(entry->name),
                                 reader->path);
    }
    struct quipu_source source = quipu_source_fd(&fd);
    enum quipu_status status = QUIPU_OK;
    uint64_t left = reader->index.bytes;
    quipu_sha256_stream_init(&stream);
    while (status == QUIPU_OK && got > 0) {
        status = source.read(source.ctx, scratch, READ_BYTES, &got, err);
        if (status == QUIPU_OK && got > left) { /* it grew since it was looked at */
            (void)close(fd);                    /* was only read */
            return refuse_kind(reader, entry, "larger than the whole bundle", err);
        }
        left -= status == QUIPU_OK ? got : 0;
        quipu_sha256_stream_update(&stream, quipu_slice(scratch, status == QUIPU_OK ? got : 0));
    }
    quipu_sha256_stream_final(&stream, digest);
    (void)close(fd); /* was only read */
    return status == QUIPU_OK ? status
                              : quipu_error_wrap(err, status, "%.*s in %s",
                                                 QUIPU_SLICE_FMT(entry->name), reader->path);
}

/* What was found instead tells what was done. */
static enum quipu_status refuse_entry(const struct quipu_volume_reader *reader, size_t index,
                                      const uint8_t digest[QUIPU_SHA256_BYTES],
                                      struct quipu_error *err)
{
    const struct quipu_volume_entry *entry = &reader->index.entries[index];
    for (size_t i = 0; i < reader->index.count; i++) {
        if (memcmp(reader->index.entries[i].sha256, digest, QUIPU_SHA256_BYTES) == 0) {
            return quipu_error_set(err, QUIPU_CID_MISMATCH,
                                   "%s: %.*s holds what is %.*s: volumes are swapped; give them "
                                   "their names back",
                                   reader->path, QUIPU_SLICE_FMT(entry->name),
                                   QUIPU_SLICE_FMT(reader->index.entries[i].name));
        }
    }
    return quipu_error_set(err, QUIPU_CID_MISMATCH,
                           "%s: %.*s is not what the index was signed for: it was cut or changed, "
                           "or is of another bundle",
                           reader->path, QUIPU_SLICE_FMT(entry->name));
}

static enum quipu_status check_all(struct quipu_volume_reader *reader, struct quipu_error *err)
{
    uint8_t *scratch = quipu_alloc(READ_BYTES, 1);
    enum quipu_status status =
        scratch == NULL ? quipu_error_set(err, QUIPU_NO_MEMORY, "no memory to read volumes")
                        : QUIPU_OK;
    for (size_t i = 0; status == QUIPU_OK && i < reader->index.count; i++) {
        uint8_t digest[QUIPU_SHA256_BYTES];
        status = hash_entry(reader, &reader->index.entries[i], scratch, digest, err);
        if (status == QUIPU_OK &&
            memcmp(digest, reader->index.entries[i].sha256, sizeof digest) != 0) {
            status = refuse_entry(reader, i, digest, err);
        }
    }
    quipu_free(scratch);
    return status;
}

enum quipu_status quipu_volume_reader_open(struct quipu_volume_reader *reader, int folder,
                                           const char *path, struct quipu_error *err)
{
    reader->path = path;
    reader->folder = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (reader->folder < 0) {
        return quipu_error_errno(err, errno, "open %s", path);
    }
    enum quipu_status status = load_index(reader, err);
    if (status == QUIPU_OK) {
        status = find_all(reader, err);
    }
    return status != QUIPU_OK ? status : check_all(reader, err);
}

/* The volume that is open ends: it must be what was hashed when all of them were checked. */
static enum quipu_status leave_entry(struct quipu_volume_reader *reader, struct quipu_error *err)
{
    uint8_t digest[QUIPU_SHA256_BYTES];
    (void)close(reader->fd); /* was only read */
    reader->fd = -1;
    quipu_sha256_stream_final(&reader->one, digest);
    size_t index = reader->next - 1;
    return memcmp(digest, reader->index.entries[index].sha256, sizeof digest) == 0
               ? QUIPU_OK
               : refuse_entry(reader, index, digest, err);
}

static enum quipu_status volumes_read(void *ctx, void *into, size_t cap, size_t *got,
                                      struct quipu_error *err)
{
    struct quipu_volume_reader *reader = ctx;
    for (;;) {
        if (reader->fd < 0) {
            if (reader->next == reader->index.count) {
                *got = 0;
                return QUIPU_OK;
            }
            const struct quipu_volume_entry *entry = &reader->index.entries[reader->next++];
            reader->fd = open_entry(reader, entry);
            if (reader->fd < 0) {
                return quipu_error_errno(err, errno, "open %.*s in %s",
                                         QUIPU_SLICE_FMT(entry->name), reader->path);
            }
            quipu_sha256_stream_init(&reader->one);
        }
        struct quipu_source source = quipu_source_fd(&reader->fd);
        enum quipu_status status = source.read(source.ctx, into, cap, got, err);
        if (status != QUIPU_OK) {
            return status;
        }
        quipu_sha256_stream_update(&reader->one, quipu_slice(into, *got));
        if (*got > 0) {
            return QUIPU_OK;
        }
        status = leave_entry(reader, err);
        if (status != QUIPU_OK) {
            return status;
        }
    }
}

struct quipu_source quipu_volume_reader_source(struct quipu_volume_reader *reader)
{
    return (struct quipu_source){volumes_read, reader};
}

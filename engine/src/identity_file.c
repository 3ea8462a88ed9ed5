/*
 * signing.key: the NKey text of an Ed25519 user seed and a newline, mode 0600; or that text wrapped
 * as an age file for a passphrase, which is known by its first bytes and not opened here. Written
 * to a temporary name, synced, renamed, and the folder synced. Refused where group or others have
 * any right to it. Never leaves a copy of the seed in memory that it does not hand to its caller.
 *
 * Specification: docs/SPEC.md §6.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "identity_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "identity.h"
#include "internal/failpoint.h"
#include "quipu/io.h"

#define IDENTITY_FILE_NEW  IDENTITY_FILE ".new"
#define FILE_BYTES         NKEY_SEED_TEXT_BYTES /* 58 characters and a newline */
#define IDENTITY_FILE_OLD  IDENTITY_FILE ".retired"
#define RETIRED_MAX        10000
#define FILE_MODE          0600
#define FILE_MODE_OF_OTHER 0077

bool identity_file_is_there(int dir)
{
    struct stat info;
    return fstatat(dir, IDENTITY_FILE, &info, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Only a plain file that nobody else can read is taken for a key. */
static enum quipu_status file_rights_check(int fd, const char *folder, struct quipu_error *err)
{
    struct stat info;
    if (fstat(fd, &info) != 0) {
        return quipu_error_errno(err, errno, "stat %s/%s", folder, IDENTITY_FILE);
    }
    if (!S_ISREG(info.st_mode)) {
        return quipu_error_set(err, QUIPU_CORRUPT, "%s/%s is not a plain file", folder,
                               IDENTITY_FILE);
    }
    if ((info.st_mode & FILE_MODE_OF_OTHER) != 0) {
        return quipu_error_set(err, QUIPU_PERMISSION,
                               "%s/%s: mode %04o lets others at the signing key; chmod 600 it",
                               folder, IDENTITY_FILE, (unsigned)(info.st_mode & 07777));
    }
    return QUIPU_OK;
}

/* An age file, binary or armored; white space may stand before armor. */
static bool is_wrapped(struct quipu_slice text)
{
    static const char *const marks[] = {"age-encryption.org/",
                                        "-----BEGIN AGE ENCRYPTED FILE-----"};
    while (text.len > 0 && memchr(" \t\r\n", text.data[0], 4) != NULL) {
        text = quipu_slice(text.data + 1, text.len - 1);
    }
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        size_t len = strlen(marks[i]);
        if (text.len >= len && memcmp(text.data, marks[i], len) == 0) {
            return true;
        }
    }
    return false;
}

static enum quipu_status seed_read(int fd, const char *folder, uint8_t seed[NKEY_SEED_BYTES],
                                   struct quipu_error *err)
{
    /* One byte more than there may be, to see that there is none. */
    uint8_t text[FILE_BYTES + 1];
    size_t got = 0;
    enum quipu_status status =
        quipu_source_read_full(quipu_source_fd(&fd), text, sizeof text, &got, err);
    if (status == QUIPU_OK) {
        bool has_newline = got == FILE_BYTES && text[FILE_BYTES - 1] == '\n';
        size_t chars = has_newline ? got - 1 : got;
        if (nkey_user_seed_parse(quipu_slice(text, chars), seed) == QUIPU_OK) {
            status = QUIPU_OK;
        } else if (is_wrapped(quipu_slice(text, got))) {
            status =
                quipu_error_set(err, QUIPU_KEY_LOCKED,
                                "%s/%s is wrapped and has not been opened; give its passphrase",
                                folder, IDENTITY_FILE);
        } else {
            status = quipu_error_set(err, QUIPU_CORRUPT,
                                     "%s/%s does not hold one NKey user seed; put the right file "
                                     "back, or move it away and a new key is made",
                                     folder, IDENTITY_FILE);
        }
    }
    sodium_memzero(text, sizeof text);
    return status;
}

enum quipu_status identity_file_read(int dir, const char *folder, uint8_t seed[NKEY_SEED_BYTES],
                                     struct quipu_error *err)
{
    /* O_NONBLOCK: opening a FIFO would wait for whoever writes to it. */
    int fd = openat(dir, IDENTITY_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        return errno == ENOENT
                   ? quipu_error_set(err, QUIPU_NOT_FOUND, "%s has no signing key yet", folder)
                   : quipu_error_errno(err, errno, "open %s/%s", folder, IDENTITY_FILE);
    }
    enum quipu_status status = file_rights_check(fd, folder, err);
    if (status == QUIPU_OK) {
        status = seed_read(fd, folder, seed, err);
    }
    (void)close(fd); /* read only */
    return status;
}

static enum quipu_status seed_write(int fd, const char *folder, const uint8_t seed[NKEY_SEED_BYTES],
                                    struct quipu_error *err)
{
    char text[NKEY_SEED_TEXT_BYTES];
    nkey_user_seed_format(seed, text);
    text[NKEY_SEED_CHARS] = '\n'; /* in place of the NUL */
    struct quipu_sink sink = quipu_sink_fd(&fd);
    enum quipu_status status = sink.write(sink.ctx, quipu_slice(text, sizeof text), err);
    sodium_memzero(text, sizeof text);
    if (status == QUIPU_OK && fsync(fd) != 0) {
        status = quipu_error_errno(err, errno, "sync %s/%s", folder, IDENTITY_FILE_NEW);
    }
    return status;
}

/* The temporary file exists and is synced: give it its name, durably. */
static enum quipu_status file_name(int dir, const char *folder, struct quipu_error *err)
{
    enum quipu_status status = quipu_failpoint("engine.identity.before_rename", err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (renameat(dir, IDENTITY_FILE_NEW, dir, IDENTITY_FILE) != 0) {
        return quipu_error_errno(err, errno, "rename %s/%s", folder, IDENTITY_FILE_NEW);
    }
    if (fsync(dir) != 0) {
        return quipu_error_errno(err, errno, "sync %s", folder);
    }
    return quipu_failpoint("engine.identity.after_rename", err);
}

enum quipu_status identity_file_write(int dir, const char *folder,
                                      const uint8_t seed[NKEY_SEED_BYTES], struct quipu_error *err)
{
    /* A rest of a crash: nobody else is writing it now. */
    if (unlinkat(dir, IDENTITY_FILE_NEW, 0) != 0 && errno != ENOENT) {
        return quipu_error_errno(err, errno, "remove %s/%s", folder, IDENTITY_FILE_NEW);
    }
    int fd = openat(dir, IDENTITY_FILE_NEW, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                    FILE_MODE);
    if (fd < 0) {
        return quipu_error_errno(err, errno, "create %s/%s", folder, IDENTITY_FILE_NEW);
    }
    enum quipu_status status = seed_write(fd, folder, seed, err);
    if (status == QUIPU_OK) {
        status = file_name(dir, folder, err);
    }
    (void)close(fd); /* synced, or given up */
    return status;
}

enum quipu_status identity_file_retire(int dir, const char *folder, struct quipu_error *err)
{
    if (!identity_file_is_there(dir)) {
        return QUIPU_OK;
    }
    char name[sizeof IDENTITY_FILE_OLD + 16] = IDENTITY_FILE_OLD;
    struct stat info;
    int number = 1;
    while (fstatat(dir, name, &info, AT_SYMLINK_NOFOLLOW) == 0) {
        if (++number > RETIRED_MAX) {
            return quipu_error_set(err, QUIPU_EXISTS, "%s/%s: %d such files; move them elsewhere",
                                   folder, IDENTITY_FILE_OLD, RETIRED_MAX);
        }
        (void)snprintf(name, sizeof name, "%s.%d", IDENTITY_FILE_OLD, number);
    }
    if (errno != ENOENT) {
        return quipu_error_errno(err, errno, "look at %s/%s", folder, name);
    }
    if (renameat(dir, IDENTITY_FILE, dir, name) != 0) {
        return quipu_error_errno(err, errno, "rename %s/%s to %s", folder, IDENTITY_FILE, name);
    }
    if (fsync(dir) != 0) {
        return quipu_error_errno(err, errno, "sync %s", folder);
    }
    return quipu_failpoint("engine.identity.retired", err);
}

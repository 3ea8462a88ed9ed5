/*
 * Reads .creds and seed files. Refuses a file that others may read, and never puts a byte of it
 * into a message. What it reads is wiped.
 *
 * Specification: docs.nats.io, credentials files; docs/SPEC.md §10.11.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "connection_state.h"
#include "quipu/clock.h"
#include "quipu/jetstream.h"

#define FILE_BYTES_MAX     (JWT_BYTES_MAX + 4096)
#define MODE_OF_OTHERS     0077
#define JWT_MARK           "-----BEGIN NATS USER JWT-----"
#define SEED_MARK          "-----BEGIN USER NKEY SEED-----"
#define END_MARK           "---"
#define CONFIG_FOLDER      "/quipu/nats.creds"
#define HOME_CONFIG_FOLDER "/.config" CONFIG_FOLDER

/* ------------------------------------------------------------------ files of secrets */

void quipu_secret_release(struct quipu_buf *secret)
{
    if (secret->data != NULL) {
        explicit_bzero(secret->data, secret->cap);
    }
    quipu_buf_release(secret);
}

static enum quipu_status secret_open(const char *what, const char *path, int *out,
                                     struct quipu_error *err)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &info) != 0) {
        (void)quipu_error_errno(err, errno, "open"); /* the status below says more */
        enum quipu_status status =
            quipu_error_wrap(err, QUIPU_INVALID, "%s %s cannot be read", what, path);
        if (fd >= 0) {
            (void)close(fd); /* only opened */
        }
        return status;
    }
    if (!S_ISREG(info.st_mode) || (info.st_mode & MODE_OF_OTHERS) != 0) {
        (void)close(fd); /* only opened */
        if (!S_ISREG(info.st_mode)) {
            return quipu_error_set(err, QUIPU_INVALID, "%s %s is not a plain file", what, path);
        }
        return quipu_error_set(err, QUIPU_PERMISSION,
                               "%s %s has mode %04o, and others may use the secret in it; chmod "
                               "600 it, and renew it where they may have read it",
                               what, path, (unsigned)(info.st_mode & 07777));
    }
    *out = fd;
    return QUIPU_OK;
}

enum quipu_status quipu_secret_check(const char *what, const char *path, struct quipu_error *err)
{
    int fd = -1;
    enum quipu_status status = secret_open(what, path, &fd, err);
    if (status == QUIPU_OK) {
        (void)close(fd); /* only opened */
    }
    return status;
}

enum quipu_status quipu_secret_read(const char *what, const char *path, struct quipu_buf *out,
                                    struct quipu_error *err)
{
    int fd = -1;
    enum quipu_status status = secret_open(what, path, &fd, err);
    if (status != QUIPU_OK) {
        return status;
    }
    /* All the room at once: a buffer that grows leaves copies behind. */
    uint8_t *room = quipu_buf_reserve(out, FILE_BYTES_MAX + 1);
    size_t len = 0;
    ssize_t got = 1;
    while (room != NULL && got > 0 && len <= FILE_BYTES_MAX) {
        got = read(fd, room + len, FILE_BYTES_MAX + 1 - len);
        if (got < 0 && errno == EINTR) {
            got = 1;
            continue;
        }
        len += got > 0 ? (size_t)got : 0;
    }
    if (room == NULL) {
        status = quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory reading %s", path);
    } else if (got < 0) {
        (void)quipu_error_errno(err, errno, "read"); /* the status below says more */
        status = quipu_error_wrap(err, QUIPU_INVALID, "%s %s cannot be read", what, path);
    } else if (len > FILE_BYTES_MAX) {
        status = quipu_error_set(err, QUIPU_INVALID, "%s %s has more than %d bytes", what, path,
                                 FILE_BYTES_MAX);
    } else {
        out->len += len;
    }
    (void)close(fd); /* only read */
    return status;
}

/* ------------------------------------------------------------------ parsing */

static struct quipu_slice trimmed(struct quipu_slice text)
{
    while (text.len > 0 && text.data[0] <= ' ') {
        text = quipu_slice(text.data + 1, text.len - 1);
    }
    while (text.len > 0 && text.data[text.len - 1] <= ' ') {
        text.len--;
    }
    return text;
}

static struct quipu_slice next_line(struct quipu_slice *rest)
{
    const uint8_t *end = memchr(rest->data, '\n', rest->len);
    size_t len = end == NULL ? rest->len : (size_t)(end - rest->data);
    struct quipu_slice line = quipu_slice(rest->data, len);
    size_t taken = end == NULL ? len : len + 1;
    *rest = quipu_slice(rest->data + taken, rest->len - taken);
    return trimmed(line);
}

static bool begins(struct quipu_slice line, const char *mark)
{
    size_t len = strlen(mark);
    return line.len >= len && memcmp(line.data, mark, len) == 0;
}

/* The one line between `mark` and the next line of dashes; empty where there is none. */
static struct quipu_slice section(struct quipu_slice text, const char *mark)
{
    struct quipu_slice found = quipu_slice(NULL, 0);
    bool is_inside = false;
    while (text.len > 0) {
        struct quipu_slice line = next_line(&text);
        if (begins(line, mark)) {
            is_inside = true;
        } else if (is_inside && begins(line, END_MARK)) {
            return found;
        } else if (is_inside && line.len > 0) {
            if (found.len > 0) {
                return quipu_slice(NULL, 0);
            }
            found = line;
        }
    }
    return quipu_slice(NULL, 0);
}

/* The seed and what follows from it. */
static enum quipu_status seed_take(struct quipu_slice seed, const char *name,
                                   struct nats_credentials *out, struct quipu_error *err)
{
    enum quipu_status status = quipu_nkey_seed_public_key(seed, out->public_key, err);
    if (status != QUIPU_OK) {
        return quipu_error_wrap(err, status, "%s", name);
    }
    memcpy(out->seed, seed.data, SEED_TEXT_CHARS);
    out->seed[SEED_TEXT_CHARS] = 0;
    quipu_nkey_format('U', out->public_key, out->public_text);
    out->is_there = true;
    return QUIPU_OK;
}

enum quipu_status quipu_seed_parse(struct quipu_slice text, const char *name,
                                   struct nats_credentials *out, struct quipu_error *err)
{
    struct nats_credentials made;
    memset(&made, 0, sizeof made);
    enum quipu_status status = seed_take(trimmed(text), name, &made, err);
    if (status == QUIPU_OK) {
        *out = made;
    }
    explicit_bzero(&made, sizeof made);
    return status;
}

static enum quipu_status parse_into(struct quipu_slice text, const char *name,
                                    struct nats_credentials *made, struct quipu_error *err)
{
    struct quipu_slice jwt = section(text, JWT_MARK);
    struct quipu_slice seed = section(text, SEED_MARK);
    if (jwt.len == 0 || seed.len == 0) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "%s has no single line behind \"%s\"; give a .creds file with a "
                               "user's JWT and seed",
                               name, jwt.len == 0 ? JWT_MARK : SEED_MARK);
    }
    enum quipu_status status = seed_take(seed, name, made, err);
    if (status == QUIPU_OK) {
        status = quipu_user_jwt_read(jwt, &made->claims, err);
        if (status != QUIPU_OK) {
            return quipu_error_wrap(err, status, "%s", name);
        }
    }
    if (status == QUIPU_OK && strcmp(made->public_text, made->claims.subject) != 0) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "%s holds the JWT of user %s and the seed of %s; give a file with "
                               "both of one user",
                               name, made->claims.subject, made->public_text);
    }
    if (status == QUIPU_OK) {
        quipu_buf_append_slice(&made->jwt, jwt);
        quipu_buf_append_byte(&made->jwt, 0);
        if (made->jwt.status != QUIPU_OK) {
            status = quipu_error_set(err, made->jwt.status, "out of memory reading %s", name);
        }
    }
    return status;
}

enum quipu_status quipu_credentials_parse(struct quipu_slice text, const char *name,
                                          struct nats_credentials *out, struct quipu_error *err)
{
    struct nats_credentials made;
    memset(&made, 0, sizeof made);
    enum quipu_status status = parse_into(text, name, &made, err);
    if (status == QUIPU_OK) {
        *out = made;
        explicit_bzero(&made, sizeof made);
    } else {
        quipu_credentials_release(&made);
    }
    return status;
}

enum quipu_status quipu_credentials_copy(const struct nats_credentials *from,
                                         struct nats_credentials *into, struct quipu_error *err)
{
    struct nats_credentials made = *from;
    memset(&made.jwt, 0, sizeof made.jwt);
    memset(&made.claims.publish, 0, sizeof made.claims.publish);
    quipu_buf_append_slice(&made.jwt, quipu_buf_slice(&from->jwt));
    enum quipu_status status = made.jwt.status;
    if (status == QUIPU_OK) {
        status = quipu_rules_copy(&from->claims.publish, &made.claims.publish, err);
    }
    if (status == QUIPU_OK) {
        quipu_credentials_release(into);
        *into = made;
        explicit_bzero(&made, sizeof made);
        return QUIPU_OK;
    }
    quipu_credentials_release(&made);
    return quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory copying credentials");
}

void quipu_credentials_release(struct nats_credentials *credentials)
{
    quipu_user_jwt_release(&credentials->claims);
    quipu_secret_release(&credentials->jwt);
    explicit_bzero(credentials, sizeof *credentials);
}

/* ------------------------------------------------------------------ where they are */

enum quipu_status quipu_nats_credentials_default(struct quipu_buf *path, struct quipu_error *err)
{
    const char *config = getenv("XDG_CONFIG_HOME");
    const char *home = getenv("HOME");
    size_t before = path->len;
    if (config != NULL && config[0] == '/') { /* a relative one counts as none (XDG) */
        quipu_buf_append_text(path, config);
        quipu_buf_append_text(path, CONFIG_FOLDER);
    } else if (home != NULL && home[0] == '/') {
        quipu_buf_append_text(path, home);
        quipu_buf_append_text(path, HOME_CONFIG_FOLDER);
    } else {
        return quipu_error_set(err, QUIPU_NOT_FOUND,
                               "neither XDG_CONFIG_HOME nor HOME is set to an absolute path; name "
                               "the credentials file");
    }
    quipu_buf_append_byte(path, 0);
    if (path->status != QUIPU_OK) {
        path->len = before;
        return quipu_error_set(err, path->status, "out of memory naming the credentials file");
    }
    return QUIPU_OK;
}

enum quipu_status quipu_nats_credentials_read(const char *path,
                                              struct quipu_nats_credentials_info *out,
                                              struct quipu_error *err)
{
    struct quipu_buf text = QUIPU_BUF_INIT;
    struct nats_credentials found = {.is_there = false};
    if (path == NULL || out == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE, "a credentials file needs a path");
    }
    enum quipu_status status = quipu_secret_read("credentials file", path, &text, err);
    if (status == QUIPU_OK) {
        status = quipu_credentials_parse(quipu_buf_slice(&text), path, &found, err);
    }
    if (status == QUIPU_OK) {
        struct quipu_clock clock = quipu_clock_system();
        int64_t expires_us = found.claims.expires_unix_us;
        memcpy(out->user, found.public_text, sizeof out->user);
        out->expires_unix_us = expires_us;
        out->is_refresh_due =
            expires_us != 0 && expires_us - clock.unix_us(clock.ctx) < NATS_REFRESH_BEFORE_US;
    }
    quipu_credentials_release(&found);
    quipu_secret_release(&text);
    return status;
}

/*
 * Passphrases from a descriptor, a systemd credential, pinentry or the terminal, in this order:
 * what somebody gave for this run comes before what the machine was given, and people are asked
 * last. A source that is named and does not work is a failure: nobody else is asked then, or a
 * passphrase meant for one thing would be given for another.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "passphrase.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "passphrase_parts.h"
#include "print.h"

#define PINENTRY_DEFAULT "pinentry"
#define PROMPT_BYTES     512

/* ------------------------------------------------------------------ memory */

void cli_guard_secrets(void)
{
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* cannot fail with this value */
}

uint8_t *passphrase_room(void)
{
    return sodium_init() < 0 ? NULL : sodium_malloc(PASSPHRASE_ROOM);
}

void cli_passphrase_release(struct cli_passphrase *passphrase)
{
    sodium_free(passphrase->bytes); /* wipes it; NULL is fine */
    *passphrase = (struct cli_passphrase){0};
}

/* Said once for a run, however many passphrases it takes. */
static void warn_of_swap(const struct cli *cli, const struct cli_passphrase *passphrase)
{
    static bool was_said;
    /* sodium_malloc locks too, but does not tell; a second lock changes nothing. */
    if (!was_said && sodium_mlock(passphrase->bytes, PASSPHRASE_ROOM) != 0) {
        was_said = true;
        cli_note(cli,
                 "the system does not lock memory here (ulimit -l), so secrets may reach swap");
    }
}

/* ------------------------------------------------------------------ sources */

/* The first line, which may end as on Windows. Not a byte behind it is taken: what follows may be a
 * second passphrase. */
static enum quipu_status read_line(int fd, const char *what, struct cli_passphrase *out,
                                   struct quipu_error *err)
{
    out->len = 0;
    for (;;) {
        uint8_t byte;
        ssize_t got = read(fd, &byte, 1);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return quipu_error_errno(err, errno, "read the passphrase from %s", what);
        }
        if (got == 1 && byte == '\n' && out->len > 0 && out->bytes[out->len - 1] == '\r') {
            out->len--;
        }
        if (got == 0 || byte == '\n') {
            byte = 0;
            return QUIPU_OK;
        }
        if (out->len == PASSPHRASE_ROOM - 1) {
            return quipu_error_set(err, QUIPU_TOO_LARGE,
                                   "the passphrase from %s has more than %d bytes; take a shorter "
                                   "one",
                                   what, QUIPU_AGE_PASSPHRASE_BYTES_MAX);
        }
        out->bytes[out->len++] = byte;
    }
}

static enum quipu_status from_descriptor(const struct cli_passphrase_from *from,
                                         struct cli_passphrase *out, struct quipu_error *err)
{
    char what[64];
    if (from->fd.value > INT32_MAX) {
        return quipu_error_set(err, QUIPU_INVALID, "%s wants the number of an open descriptor",
                               from->option);
    }
    (void)snprintf(what, sizeof what, "descriptor %" PRIu64, from->fd.value);
    return read_line((int)from->fd.value, what, out, err);
}

/* Open the credential. QUIPU_NOT_FOUND: there is none. */
static enum quipu_status credential_open(const char *name, int *fd, struct quipu_error *err)
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    if (name == NULL || folder == NULL || folder[0] == 0) {
        return QUIPU_NOT_FOUND;
    }
    if (folder[0] != '/') {
        return quipu_error_set(err, QUIPU_INVALID,
                               "CREDENTIALS_DIRECTORY is no absolute path; let systemd set it");
    }
    int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int found = dir < 0 ? -1 : openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    int number = errno;
    if (dir >= 0) {
        (void)close(dir); /* was only read */
    }
    if (found < 0) {
        return number == ENOENT ? QUIPU_NOT_FOUND
                                : quipu_error_errno(err, number, "open the credential %s", name);
    }
    struct stat info;
    if (fstat(found, &info) != 0 || !S_ISREG(info.st_mode)) {
        (void)close(found); /* as above */
        return quipu_error_set(err, QUIPU_INVALID, "the credential %s is not a plain file", name);
    }
    *fd = found;
    return QUIPU_OK;
}

static enum quipu_status from_credential(const char *name, struct cli_passphrase *out,
                                         struct quipu_error *err)
{
    char what[64];
    int fd = -1;
    enum quipu_status status = credential_open(name, &fd, err);
    if (status == QUIPU_OK) {
        (void)snprintf(what, sizeof what, "the credential %s", name);
        status = read_line(fd, what, out, err);
        (void)close(fd); /* was only read */
    }
    return status;
}

/* NULL: nobody wants pinentry. */
static const char *pinentry_program(const struct cli_passphrase_from *from)
{
    const char *named = getenv("QUIPU_PINENTRY");
    named = named != NULL && named[0] != 0 ? named : NULL;
    if (from->pinentry != NULL && from->pinentry[0] != 0) {
        return from->pinentry;
    }
    return from->pinentry != NULL && named == NULL ? PINENTRY_DEFAULT : named;
}

/* ------------------------------------------------------------------ people */

/* Who can be asked again. */
struct asker {
    const char *program; /* NULL: the terminal */
    int tty;
};

static enum quipu_status ask(const struct asker *asker, const char *prompt, const char *problem,
                             struct cli_passphrase *out, struct quipu_error *err)
{
    return asker->program != NULL ? passphrase_pinentry(asker->program, prompt, problem, out, err)
                                  : passphrase_terminal(asker->tty, prompt, problem, out, err);
}

/* Once, and once more: nobody sees what is typed, and a slip would lock the key for ever.
 * QUIPU_DONE: `problem` says what is wrong with it. */
static enum quipu_status ask_new_once(const struct asker *asker, const char *what, char *problem,
                                      struct cli_passphrase *out, struct quipu_error *err)
{
    struct cli_passphrase again = {0};
    struct quipu_error why = {.message = ""};
    char prompt[PROMPT_BYTES];
    (void)snprintf(prompt, sizeof prompt, "New passphrase for %s%s", what,
                   asker->program == NULL ? ": " : "");
    enum quipu_status status = ask(asker, prompt, problem[0] == 0 ? NULL : problem, out, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = quipu_passphrase_check(quipu_slice(out->bytes, out->len), &why);
    if (status != QUIPU_OK) {
        (void)snprintf(problem, QUIPU_ERROR_MESSAGE_BYTES, "%s", why.message);
        return QUIPU_DONE;
    }
    again.bytes = passphrase_room();
    if (again.bytes == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory for a passphrase");
    }
    (void)snprintf(prompt, sizeof prompt, "The same again%s", asker->program == NULL ? ": " : "");
    status = ask(asker, prompt, NULL, &again, err);
    if (status == QUIPU_OK &&
        (again.len != out->len || sodium_memcmp(again.bytes, out->bytes, out->len) != 0)) {
        (void)snprintf(problem, QUIPU_ERROR_MESSAGE_BYTES, "the two are not the same");
        status = QUIPU_DONE;
    }
    cli_passphrase_release(&again);
    return status;
}

static enum quipu_status ask_new(const struct asker *asker, const char *what,
                                 struct cli_passphrase *out, struct quipu_error *err)
{
    char problem[QUIPU_ERROR_MESSAGE_BYTES] = "";
    for (int tries = 0; tries < PASSPHRASE_TRIES; tries++) {
        enum quipu_status status = ask_new_once(asker, what, problem, out, err);
        if (status != QUIPU_DONE) {
            return status;
        }
    }
    return quipu_error_set(err, QUIPU_INVALID, "no passphrase was set: %s", problem);
}

static enum quipu_status ask_people(const struct cli_passphrase_from *from, const char *what,
                                    enum cli_passphrase_use use, struct cli_passphrase *out,
                                    struct quipu_error *err)
{
    struct asker asker = {.program = pinentry_program(from), .tty = -1};
    char prompt[PROMPT_BYTES];
    char plain[PROMPT_BYTES / 2];
    if (asker.program == NULL) {
        asker.tty = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
        if (asker.tty < 0) {
            return quipu_error_set(err,
                                   use == CLI_PASSPHRASE_NEW ? QUIPU_INVALID : QUIPU_KEY_LOCKED,
                                   "no passphrase for %s, and no terminal to ask on; give %s N, or "
                                   "--pinentry",
                                   what, from->option);
        }
    }
    (void)snprintf(plain, sizeof plain, "%s", what);
    for (char *c = plain; *c != 0; c++) {
        *c =
            (unsigned char)*c < 0x20 || *c == 0x7f ? ' ' : *c; /* paths must not drive a terminal */
    }
    (void)snprintf(prompt, sizeof prompt, "Passphrase of %s%s", plain,
                   asker.program == NULL ? ": " : "");
    enum quipu_status status = use == CLI_PASSPHRASE_NEW ? ask_new(&asker, plain, out, err)
                                                         : ask(&asker, prompt, NULL, out, err);
    if (asker.tty >= 0) {
        (void)close(asker.tty); /* everything was said */
    }
    return status;
}

/* ------------------------------------------------------------------ public */

static enum quipu_status take(const struct cli_passphrase_from *from, const char *what,
                              enum cli_passphrase_use use, struct cli_passphrase *out,
                              struct quipu_error *err)
{
    enum quipu_status status = from->fd.is_set ? from_descriptor(from, out, err)
                                               : from_credential(from->credential, out, err);
    if (!from->fd.is_set && status == QUIPU_NOT_FOUND) {
        status = ask_people(from, what, use, out, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_slice given = quipu_slice(out->bytes, out->len);
    if (given.len == 0) {
        return quipu_error_set(err, QUIPU_INVALID, "the passphrase for %s is empty; give one",
                               what);
    }
    /* A program that writes text in another encoding, or a file that is none. */
    if (memchr(given.data, 0, given.len) != NULL) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "there is a NUL in the passphrase for %s; give it as UTF-8 text",
                               what);
    }
    return use == CLI_PASSPHRASE_NEW ? quipu_passphrase_check(given, err) : QUIPU_OK;
}

enum quipu_status cli_passphrase_ask(const struct cli_passphrase_from *from, const char *what,
                                     enum cli_passphrase_use use, struct cli_passphrase *out,
                                     struct quipu_error *err)
{
    struct cli_passphrase given = {.bytes = passphrase_room()};
    if (given.bytes == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory for a passphrase");
    }
    cli_guard_secrets();
    warn_of_swap(from->cli, &given);
    enum quipu_status status = take(from, what, use, &given, err);
    if (status != QUIPU_OK) {
        cli_passphrase_release(&given);
        return status;
    }
    *out = given;
    return QUIPU_OK;
}

static enum quipu_status ask_for_key(void *ctx, const char *path, struct quipu_age_secrets *into,
                                     struct quipu_error *err)
{
    const struct cli_passphrase_from *from = ctx;
    struct cli_passphrase given = {0};
    enum quipu_status status = cli_passphrase_ask(from, path, CLI_PASSPHRASE_OPENS, &given, err);
    if (status == QUIPU_OK) {
        status = quipu_age_secrets_set_passphrase(into, quipu_slice(given.bytes, given.len), err);
    }
    cli_passphrase_release(&given);
    return status;
}

struct quipu_passphrase cli_passphrase_of_key(const struct cli_passphrase_from *from)
{
    /* The library hands the context back as it got it; nothing writes through it. */
    return (struct quipu_passphrase){ask_for_key, (void *)(uintptr_t)from};
}

int cli_unlock(const struct cli *cli, const struct cli_passphrase_from *from)
{
    struct quipu_error err;
    struct quipu_passphrase passphrase = cli_passphrase_of_key(from);
    cli_guard_secrets();
    enum quipu_status status = quipu_engine_unlock(cli->engine, &passphrase, &err);
    return status == QUIPU_OK ? 0 : cli_fail(cli, status, &err, NULL);
}

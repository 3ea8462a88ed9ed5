/*
 * quipu keygen: make key files, and change how they are covered. A key is wrapped with a passphrase
 * unless somebody says --plain. Never overwrites a file, and shows no secret.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "passphrase.h"
#include "print.h"
#include "quipu/new_file.h"
#include "quipu/sshsig.h"

#define CURE_NO_KEY "make one with `quipu keygen --signing FILE`, or name the file that is meant"

struct keygen_values {
    const char *signing;
    const char *age;
    bool is_plain;
    bool wraps;
    bool unwraps;
    bool changes;
    bool shows;
    struct cli_number passphrase_fd;
    struct cli_number new_passphrase_fd;
    const char *pinentry;
};

/* ------------------------------------------------------------------ what is said */

static enum quipu_status ssh_line(const struct quipu_key_public *key, struct quipu_buf *out,
                                  struct quipu_error *err)
{
    return key->kind == QUIPU_KEY_SIGNING
               ? quipu_ssh_public_key_line(key->public_key, key->text, out, err)
               : QUIPU_OK;
}

static enum quipu_status say(const struct cli *cli, const char *path,
                             const struct quipu_key_public *key, struct quipu_error *err)
{
    struct quipu_buf ssh = QUIPU_BUF_INIT;
    bool is_signing = key->kind == QUIPU_KEY_SIGNING;
    enum quipu_status status = ssh_line(key, &ssh, err);
    struct quipu_slice line = quipu_slice(ssh.data, ssh.len == 0 ? 0 : ssh.len - 1);
    if (status == QUIPU_OK && cli->is_json) {
        struct cli_json json = {0};
        cli_json_begin(&json);
        cli_json_text(&json, "file", quipu_slice_text(path));
        cli_json_text(&json, "kind", quipu_slice_text(is_signing ? "signing" : "age"));
        cli_json_bool(&json, "wrapped", key->is_wrapped);
        cli_json_text(&json, "public", quipu_slice_text(key->text));
        if (is_signing) {
            cli_json_text(&json, "ssh", line);
        }
        status = cli_json_end(&json, err);
        cli_json_release(&json);
    } else if (status == QUIPU_OK) {
        cli_say("key     %s, %s", path, key->is_wrapped ? "wrapped" : "plain");
        (void)printf("public  %s\n", key->text);
        if (is_signing) {
            (void)printf("ssh     %.*s\n", QUIPU_SLICE_FMT(line));
        }
    }
    quipu_buf_release(&ssh);
    return status;
}

/* ------------------------------------------------------------------ FILE.pub */

/* "FILE.pub" with its NUL; refused where it is there. */
static enum quipu_status public_path(const char *path, struct quipu_buf *out,
                                     struct quipu_error *err)
{
    quipu_buf_printf(out, "%s.pub", path);
    quipu_buf_append_byte(out, 0);
    if (out->status != QUIPU_OK) {
        return quipu_error_set(err, out->status, "no memory for a path");
    }
    if (faccessat(AT_FDCWD, (const char *)out->data, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
        return quipu_error_set(err, QUIPU_EXISTS,
                               "\"%s\" exists already, it is untouched; choose another name",
                               (const char *)out->data);
    }
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ passphrases */

static struct cli_passphrase_from source_of(const struct cli *cli,
                                            const struct keygen_values *values, bool is_new)
{
    /* Two passphrases are there only where one takes the place of another. */
    bool is_second = is_new && values->changes;
    return (struct cli_passphrase_from){
        .cli = cli,
        .fd = is_second ? values->new_passphrase_fd : values->passphrase_fd,
        .pinentry = values->pinentry,
        .credential = is_second ? "quipu-new-passphrase" : CLI_CREDENTIAL_KEY,
        .option = is_second ? "--new-passphrase-fd" : "--passphrase-fd",
    };
}

/* A new passphrase for `path`; the caller frees the secrets. */
static enum quipu_status ask_new(const struct cli *cli, const struct keygen_values *values,
                                 const char *path, struct quipu_age_secrets **out,
                                 struct quipu_error *err)
{
    struct cli_passphrase_from from = source_of(cli, values, true);
    struct cli_passphrase given = {0};
    enum quipu_status status = cli_passphrase_ask(&from, path, CLI_PASSPHRASE_NEW, &given, err);
    if (status == QUIPU_OK) {
        status = quipu_age_secrets_new(out, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_age_secrets_set_passphrase(*out, quipu_slice(given.bytes, given.len), err);
    }
    cli_passphrase_release(&given);
    return status;
}

/* The passphrase that was asked for first is used again for the same file. */
struct opener {
    struct cli_passphrase_from from;
    struct cli_passphrase given;
};

static enum quipu_status open_with(void *ctx, const char *path, struct quipu_age_secrets *into,
                                   struct quipu_error *err)
{
    struct opener *opener = ctx;
    enum quipu_status status = QUIPU_OK;
    if (opener->given.bytes == NULL) {
        status = cli_passphrase_ask(&opener->from, path, CLI_PASSPHRASE_OPENS, &opener->given, err);
    }
    return status == QUIPU_OK ? quipu_age_secrets_set_passphrase(
                                    into, quipu_slice(opener->given.bytes, opener->given.len), err)
                              : status;
}

/* ------------------------------------------------------------------ make */

static int make(const struct cli *cli, const struct keygen_values *values)
{
    struct quipu_error err;
    struct quipu_key_options options = QUIPU_KEY_OPTIONS_INIT;
    struct quipu_age_secrets *secrets = NULL;
    struct quipu_key_public made;
    struct quipu_buf beside = QUIPU_BUF_INIT;
    struct quipu_buf line = QUIPU_BUF_INIT;
    bool is_signing = values->signing != NULL;
    const char *path = is_signing ? values->signing : values->age;
    enum quipu_status status = QUIPU_OK;
    /* Before anybody types a passphrase for nothing. */
    if (faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
        status =
            quipu_error_set(&err, QUIPU_EXISTS,
                            "\"%s\" exists already, it is untouched; choose another name", path);
    }
    if (status == QUIPU_OK && is_signing) {
        status = public_path(path, &beside, &err);
    }
    if (status == QUIPU_OK && !values->is_plain) {
        status = ask_new(cli, values, path, &secrets, &err);
    }
    if (status == QUIPU_OK) {
        options.passphrase = secrets;
        status = quipu_key_make(path, is_signing ? QUIPU_KEY_SIGNING : QUIPU_KEY_AGE, &options,
                                &made, &err);
    }
    if (status == QUIPU_OK && is_signing) {
        status = ssh_line(&made, &line, &err);
        if (status == QUIPU_OK) {
            status = quipu_new_file_write((const char *)beside.data, quipu_buf_slice(&line), &err);
        }
        if (status != QUIPU_OK) {
            cli_note(cli, "the key in %s is good; `quipu keygen --public %s` shows its public half",
                     path, path);
        }
    }
    if (status == QUIPU_OK) {
        status = say(cli, path, &made, &err);
    }
    quipu_buf_release(&line);
    quipu_buf_release(&beside);
    quipu_age_secrets_free(&secrets);
    return status == QUIPU_OK ? 0 : cli_fail(cli, status, &err, NULL);
}

/* ------------------------------------------------------------------ a file that is there */

/* Give the file another cover. Where it is a store's, its write transaction keeps every other
 * process from putting another key in its place meanwhile. */
static enum quipu_status cover(const struct cli *cli, const char *path, struct opener *opener,
                               const struct quipu_age_secrets *secrets,
                               struct quipu_key_public *out, struct quipu_error *err)
{
    struct quipu_key_options options = QUIPU_KEY_OPTIONS_INIT;
    struct quipu_passphrase passphrase = {open_with, opener};
    struct quipu_txn *txn = NULL;
    options.passphrase = secrets;
    enum quipu_status status =
        cli->store == NULL ? QUIPU_OK : quipu_txn_begin_write(cli->store, &txn, err);
    if (status == QUIPU_OK) {
        status = quipu_key_rewrap(path, &passphrase, &options, out, err);
    }
    quipu_txn_abort(&txn); /* nothing was written in it; NULL is fine */
    return status;
}

/* A store whose making was interrupted has a wrapped key and does not know its source: the key is
 * open now, so let it. */
static enum quipu_status settle_source(const struct cli *cli,
                                       const struct quipu_passphrase *passphrase,
                                       struct quipu_error *err)
{
    char source[QUIPU_SOURCE_TEXT_BYTES];
    if (cli->store == NULL ||
        quipu_identity_source(cli->engine, source, NULL) != QUIPU_KEY_LOCKED) {
        return QUIPU_OK;
    }
    enum quipu_status status = quipu_engine_unlock(cli->engine, passphrase, err);
    return status == QUIPU_OK ? quipu_identity_ensure(cli->engine, err) : status;
}

static int treat(const struct cli *cli, const struct keygen_values *values, const char *path)
{
    struct quipu_error err;
    struct quipu_key_public found;
    struct quipu_age_secrets *secrets = NULL;
    struct opener opener = {.from = source_of(cli, values, false)};
    struct quipu_passphrase passphrase = {open_with, &opener};
    bool is_wrapped = false;
    enum quipu_status status = quipu_key_is_wrapped(path, &is_wrapped, &err);
    if (status == QUIPU_OK && is_wrapped == values->wraps && !values->shows) {
        status = quipu_error_set(&err, QUIPU_INVALID,
                                 is_wrapped ? "\"%s\" is wrapped; give it another passphrase with "
                                              "--change"
                                            : "\"%s\" is not wrapped; wrap it with --wrap",
                                 path);
    }
    /* Opened first, so that a slip is told before a new passphrase is asked for. */
    if (status == QUIPU_OK) {
        status = quipu_key_look(path, &passphrase, &found, &err);
    }
    if (status == QUIPU_OK) {
        status = settle_source(cli, &passphrase, &err);
    }
    if (status == QUIPU_OK && (values->wraps || values->changes)) {
        status = ask_new(cli, values, path, &secrets, &err);
    }
    if (status == QUIPU_OK && !values->shows) {
        status = cover(cli, path, &opener, secrets, &found, &err);
    }
    if (status == QUIPU_OK && cli->store != NULL && !values->shows) {
        status = quipu_identity_ensure(cli->engine, &err); /* the store remembers the cover */
    }
    if (status == QUIPU_OK && values->wraps) {
        cli_note(cli, "what the disk held in clear may still be found on it; a key for which that "
                      "matters is made wrapped");
    }
    if (status == QUIPU_OK) {
        status = say(cli, path, &found, &err);
    }
    cli_passphrase_release(&opener.given);
    quipu_age_secrets_free(&secrets);
    return status == QUIPU_OK
               ? 0
               : cli_fail(cli, status, &err, status == QUIPU_NOT_FOUND ? CURE_NO_KEY : NULL);
}

/* Without a FILE it is the store's own key. */
static int treat_store(struct cli *cli, const struct keygen_values *values)
{
    struct quipu_buf path = QUIPU_BUF_INIT;
    int code = cli_open(cli);
    if (code != 0) {
        return code;
    }
    quipu_buf_printf(&path, "%s/signing.key", quipu_store_path(cli->store));
    quipu_buf_append_byte(&path, 0);
    code = path.status == QUIPU_OK ? treat(cli, values, (const char *)path.data)
                                   : cli_fail(cli, path.status, NULL, NULL);
    quipu_buf_release(&path);
    return code;
}

/* ------------------------------------------------------------------ the verb */

static int check_values(const struct cli *cli, const struct keygen_values *values, int argc)
{
    int makes = (values->signing != NULL) + (values->age != NULL);
    int treats = values->wraps + values->unwraps + values->changes + values->shows;
    bool takes_passphrase = values->passphrase_fd.is_set || values->pinentry != NULL;
    if (makes + treats != 1) {
        return cli_usage(cli, "wants one of --signing FILE, --age FILE, --wrap, --unwrap, --change "
                              "and --public");
    }
    if (makes == 1 && argc > 0) {
        return cli_usage(cli, "makes one file: the one that --%s names",
                         values->signing != NULL ? "signing" : "age");
    }
    if (values->is_plain && (treats == 1 || takes_passphrase)) {
        return cli_usage(cli, "--plain is for --signing or --age, and takes no passphrase");
    }
    if (values->new_passphrase_fd.is_set && !values->changes) {
        return cli_usage(cli, "--new-passphrase-fd is for --change alone");
    }
    return 0;
}

static int run(struct cli *cli, const void *values, int argc, char **argv)
{
    const struct keygen_values *given = values;
    int code = check_values(cli, given, argc);
    if (code != 0) {
        return code;
    }
    cli_guard_secrets();
    if (given->signing != NULL || given->age != NULL) {
        return make(cli, given);
    }
    return argc == 1 ? treat(cli, given, argv[0]) : treat_store(cli, given);
}

static const struct cli_option options[] = {
    {"signing", CLI_TEXT, offsetof(struct keygen_values, signing), "FILE",
     "make a signing key, and its public half as FILE.pub"},
    {"age", CLI_TEXT, offsetof(struct keygen_values, age), "FILE", "make an age identity"},
    {"plain", CLI_FLAG, offsetof(struct keygen_values, is_plain), NULL,
     "do not wrap it: who can read the file has the key"},
    {"wrap", CLI_FLAG, offsetof(struct keygen_values, wraps), NULL,
     "wrap a plain key with a passphrase"},
    {"unwrap", CLI_FLAG, offsetof(struct keygen_values, unwraps), NULL, "make a wrapped key plain"},
    {"change", CLI_FLAG, offsetof(struct keygen_values, changes), NULL,
     "give a wrapped key another passphrase"},
    {"public", CLI_FLAG, offsetof(struct keygen_values, shows), NULL,
     "show the public half of a key"},
    {"passphrase-fd", CLI_NUMBER, offsetof(struct keygen_values, passphrase_fd), "N",
     "take the passphrase from this descriptor, up to a newline or its end"},
    {"new-passphrase-fd", CLI_NUMBER, offsetof(struct keygen_values, new_passphrase_fd), "N",
     "of --change: the new one (may be the next line of the same descriptor)"},
    CLI_PINENTRY_OPTION(keygen_values, pinentry),
};

const struct cli_verb cli_verb_keygen = {
    .name = "keygen",
    .arguments = "[FILE]",
    .summary = "Make keys, and wrap them with a passphrase",
    .details =
        "A signing key is what a store has as signing.key: it signs bundles, and its public half\n"
        "is an NKey (U...) and an ssh-ed25519 key. An age identity opens what was encrypted to "
        "its\n"
        "recipient (age1...). Both are wrapped unless --plain is given: as an age file for a\n"
        "passphrase of 12 characters or more, which `age -d` opens too. A file that is there is\n"
        "not touched. --wrap, --unwrap, --change and --public take FILE, or the store's key.\n"
        "Passphrases come from --passphrase-fd, else from the systemd credential "
        "quipu-passphrase,\n"
        "else from pinentry where it is named, else from the terminal.",
    .example = "quipu keygen --signing officer.key",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .values_bytes = sizeof(struct keygen_values),
    .arguments_max = 1,
    .run = run,
};

/*
 * quipu sign: one more signature on a bundle, by a key file, or by whatever key OpenSSH signs with.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "export_bundle.h"
#include "passphrase.h"
#include "print.h"
#include "quipu/alloc.h"
#include "quipu/io.h"
#include "quipu/new_file.h"
#include "quipu/sign_bundle.h"
#include "quipu/text.h"
#include "signers.h"
#include "verify_bundle.h"

struct sign_values {
    const char *key;
    struct cli_texts add;
    const char *manifest;
    const char *output;
    struct cli_number passphrase_fd;
    const char *pinentry;
};

struct sign_run {
    struct cli *cli;
    const struct sign_values *values;
    const char *path;
    struct quipu_signing *signing;
    size_t before; /* signatures that it came with */
    bool is_shown;
};

/* ------------------------------------------------------------------ what is said */

static void manifest_digest(const struct sign_run *run, uint8_t digest[QUIPU_SHA256_BYTES])
{
    quipu_sha256(quipu_signing_manifest(run->signing), digest);
}

static const struct quipu_signer *signers_from(const struct sign_run *run, size_t index)
{
    return quipu_signing_at(run->signing, index);
}

static void put_said(const char *word, const char *text)
{
    if (text[0] != 0) {
        (void)printf("%-9s ", word);
        cli_put_plain(quipu_slice_text(text));
        (void)putchar('\n');
    }
}

/* What is signed: once, and not with --json. */
static void show(struct sign_run *run)
{
    const struct quipu_bundle_report *bundle = quipu_signing_bundle(run->signing);
    uint8_t digest[QUIPU_SHA256_BYTES];
    char events[CLI_COUNTED_BYTES];
    char time[QUIPU_RFC3339_BYTES];
    char manifest[QUIPU_CID_TEXT_BYTES];
    if (run->is_shown || run->cli->is_json) {
        return;
    }
    run->is_shown = true;
    manifest_digest(run, digest);
    quipu_rfc3339_format(bundle->created_unix_us, time);
    quipu_cid_format(&bundle->manifest, manifest);
    (void)printf("bundle    %" PRIu64 ", %s, positions %" PRIu64 " to %" PRIu64 "\n"
                 "source    %s\nmade      %s\n",
                 bundle->number, cli_counted(bundle->events, "event", events),
                 bundle->first_position, bundle->last_position, bundle->source, time);
    put_said("operator", bundle->operator_name);
    put_said("reason", bundle->reason);
    (void)printf("manifest  %s\n", manifest);
    cli_say_digest("signs", quipu_slice(digest, sizeof digest));
    for (size_t i = 0; i < run->before; i++) { /* they do not lie one behind the other */
        cli_say_signers("signed", signers_from(run, i), 1);
    }
}

static void say_written(const struct sign_run *run, const struct quipu_signed_report *report)
{
    const char *path = run->values->output != NULL ? run->values->output : run->path;
    size_t count = quipu_signing_count(run->signing);
    char signatures[CLI_COUNTED_BYTES];
    for (size_t i = run->before; i < count; i++) {
        cli_say_signers("added", signers_from(run, i), 1);
    }
    cli_say("wrote     %s, %s", path, cli_counted(count, "signature", signatures));
    cli_say_digest("sha256", quipu_slice(report->file_sha256, sizeof report->file_sha256));
}

/* `report` NULL: the manifest alone was written. */
static enum quipu_status say_json(const struct sign_run *run,
                                  const struct quipu_signed_report *report, struct quipu_error *err)
{
    const struct quipu_bundle_report *bundle = quipu_signing_bundle(run->signing);
    size_t count = quipu_signing_count(run->signing);
    struct quipu_signer all[QUIPU_SIGNERS_MAX];
    struct cli_json json = {0};
    uint8_t digest[QUIPU_SHA256_BYTES];
    const struct sign_values *values = run->values;
    for (size_t i = 0; i < count; i++) {
        all[i] = *quipu_signing_at(run->signing, i);
    }
    manifest_digest(run, digest);
    cli_json_begin(&json);
    cli_json_text(&json, "file",
                  quipu_slice_text(report == NULL           ? values->manifest
                                   : values->output != NULL ? values->output
                                                            : run->path));
    cli_json_number(&json, "number", bundle->number);
    cli_json_number(&json, "events", bundle->events);
    cli_json_number(&json, "first_position", bundle->first_position);
    cli_json_number(&json, "last_position", bundle->last_position);
    cli_json_text(&json, "source", quipu_slice_text(bundle->source));
    cli_json_time(&json, "created_at", bundle->created_unix_us);
    cli_json_text(&json, "operator", quipu_slice_text(bundle->operator_name));
    cli_json_text(&json, "reason", quipu_slice_text(bundle->reason));
    cli_json_cid(&json, "manifest", &bundle->manifest);
    cli_json_hex(&json, "manifest_sha256", quipu_slice(digest, sizeof digest));
    cli_json_spoken(&json, quipu_slice(digest, sizeof digest));
    cli_json_number(&json, "signatures", count);
    cli_json_number(&json, "added", count - run->before);
    cli_json_signers(&json, all, count);
    if (report != NULL) {
        cli_json_number(&json, "file_bytes", report->file_bytes);
        cli_json_hex(&json, "sha256", quipu_slice(report->file_sha256, sizeof report->file_sha256));
    }
    enum quipu_status status = cli_json_end(&json, err);
    cli_json_release(&json);
    return status;
}

/* ------------------------------------------------------------------ the manifest, for ssh-keygen
 */

static int write_manifest(struct sign_run *run)
{
    struct quipu_error err;
    const char *path = run->values->manifest;
    enum quipu_status status =
        quipu_new_file_write(path, quipu_signing_manifest(run->signing), &err);
    if (status == QUIPU_OK && run->cli->is_json) {
        status = say_json(run, NULL, &err);
    } else if (status == QUIPU_OK) {
        show(run);
        (void)printf("wrote     %s\nnext      ssh-keygen -Y sign -n %s -f KEY %s\n"
                     "then      quipu sign %s --add %s.sig\n",
                     path, QUIPU_BUNDLE_NAMESPACE, path, run->path, path);
    }
    return status == QUIPU_OK ? 0 : cli_fail(run->cli, status, &err, NULL);
}

/* ------------------------------------------------------------------ signatures */

static enum quipu_status sign_with_key(struct sign_run *run, struct quipu_error *err)
{
    const struct sign_values *values = run->values;
    bool is_wrapped = false;
    struct quipu_signing_key *key = NULL;
    struct cli_passphrase_from from = {
        .cli = run->cli,
        .fd = values->passphrase_fd,
        .pinentry = values->pinentry,
        .credential = CLI_CREDENTIAL_KEY,
        .option = "--passphrase-fd",
    };
    struct quipu_passphrase passphrase = cli_passphrase_of_key(&from);
    cli_guard_secrets();
    enum quipu_status status = quipu_key_is_wrapped(values->key, &is_wrapped, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (is_wrapped) { /* who types a passphrase for it sees first what it signs */
        show(run);
        (void)fflush(stdout);
    }
    status = quipu_signing_key_load(values->key, &passphrase, &key, err);
    if (status == QUIPU_OK) {
        status = quipu_signing_sign(run->signing, key, err);
    }
    quipu_signing_key_free(&key);
    return status;
}

static enum quipu_status add_armor(struct sign_run *run, const char *path, struct quipu_slice text,
                                   struct quipu_error *err)
{
    struct quipu_buf blob = QUIPU_BUF_INIT;
    enum quipu_status status = quipu_sshsig_dearmor(text, &blob, err);
    if (status == QUIPU_OK) {
        status = quipu_signing_add(run->signing, quipu_buf_slice(&blob), err);
    }
    quipu_buf_release(&blob);
    return status == QUIPU_OK ? status : quipu_error_wrap(err, status, "%s", path);
}

/* What begins as armor does is a signature, all else a copy of the bundle. Returns 0, or the exit
 * code after it has said what is wrong. */
static int add_file(struct sign_run *run, const char *path)
{
    struct quipu_error err;
    size_t got = 0;
    int fd = -1;
    int code = cli_open_input(run->cli, path,
                              "name a signature of ssh-keygen, or a copy of the bundle", &fd);
    if (code != 0) {
        return code;
    }
    uint8_t *bytes = quipu_alloc(QUIPU_SSHSIG_ARMOR_BYTES_MAX + 1, 1);
    enum quipu_status status =
        bytes == NULL ? quipu_error_set(&err, QUIPU_NO_MEMORY, "no memory to read %s", path)
                      : quipu_source_read_full(quipu_source_fd(&fd), bytes,
                                               QUIPU_SSHSIG_ARMOR_BYTES_MAX + 1, &got, &err);
    if (fd != STDIN_FILENO) {
        (void)close(fd); /* was only read */
    }
    if (status == QUIPU_OK) {
        struct quipu_slice text = quipu_slice(bytes, got);
        bool is_armor = quipu_sshsig_is_armor(text) || strcmp(path, "-") == 0;
        status = is_armor ? add_armor(run, path, text, &err)
                          : quipu_signing_merge(run->signing, path, NULL, &err);
    }
    quipu_free(bytes);
    return status == QUIPU_OK
               ? 0
               : cli_fail(run->cli, status, &err,
                          status == QUIPU_EXISTS          ? "leave it out"
                          : status == QUIPU_BAD_SIGNATURE ? "sign the bytes of --manifest with "
                                                            "`ssh-keygen -Y sign -n "
                                                            "quipu-bundle@v1`"
                          : status == QUIPU_BUNDLE        ? "name a copy of this bundle"
                                                          : NULL);
}

static int add_all(struct sign_run *run)
{
    struct quipu_error err;
    int code = 0;
    for (size_t i = 0; code == 0 && i < run->values->add.count; i++) {
        code = add_file(run, run->values->add.items[i]);
    }
    if (code == 0 && run->values->key != NULL) {
        enum quipu_status status = sign_with_key(run, &err);
        code = status == QUIPU_OK
                   ? 0
                   : cli_fail(run->cli, status, &err,
                              status == QUIPU_EXISTS      ? "another person signs with another key"
                              : status == QUIPU_NOT_FOUND ? "name a key file of `quipu keygen "
                                                            "--signing FILE`"
                                                          : NULL);
    }
    return code;
}

/* ------------------------------------------------------------------ the verb */

static int write_bundle(struct sign_run *run)
{
    struct quipu_error err;
    struct quipu_signed_report report;
    size_t added = quipu_signing_count(run->signing) - run->before;
    if (added == 0) {
        (void)quipu_error_set(&err, QUIPU_EXISTS, "%s has all of these signatures already",
                              run->path);
        return cli_fail(run->cli, QUIPU_EXISTS, &err, "");
    }
    enum quipu_status status =
        quipu_signing_write(run->signing, run->values->output, &report, &err);
    if (status == QUIPU_OK) {
        cli_done(run->cli, added, added == 1 ? "signature added" : "signatures added");
        if (run->cli->is_json) {
            status = say_json(run, &report, &err);
        } else {
            show(run);
            say_written(run, &report);
        }
    }
    return status == QUIPU_OK
               ? 0
               : cli_fail(run->cli, status, &err,
                          status == QUIPU_EXISTS && run->values->output == NULL ? "run it again"
                                                                                : NULL);
}

static int check_values(const struct cli *cli, const struct sign_values *values)
{
    bool signs = values->key != NULL || values->add.count > 0;
    if (!signs && values->manifest == NULL) {
        return cli_usage(cli, "wants --key FILE or --add SIG, or --manifest OUT for ssh-keygen");
    }
    if (values->manifest != NULL && (signs || values->output != NULL)) {
        return cli_usage(cli, "--manifest writes what is to be signed, and nothing else: leave "
                              "--key, --add and --output out");
    }
    if (values->key == NULL && (values->passphrase_fd.is_set || values->pinentry != NULL)) {
        return cli_usage(cli, "--passphrase-fd and --pinentry are for a wrapped --key");
    }
    return 0;
}

static int run(struct cli *cli, const void *values, int argc, char **argv)
{
    (void)argc;
    struct quipu_error err = {.offset = QUIPU_ERROR_NO_OFFSET};
    struct sign_run state = {.cli = cli, .values = values, .path = argv[0]};
    int code = check_values(cli, values);
    if (code != 0) {
        return code;
    }
    enum quipu_status status = quipu_signing_open(state.path, &state.signing, &err);
    if (status != QUIPU_OK) {
        return cli_bundle_fail(cli, status, &err, false);
    }
    state.before = quipu_signing_count(state.signing);
    if (state.values->manifest != NULL) {
        code = write_manifest(&state);
    } else {
        code = add_all(&state);
        if (code == 0) {
            code = write_bundle(&state);
        }
    }
    quipu_signing_close(&state.signing);
    return code;
}

static const struct cli_option options[] = {
    {"key", CLI_TEXT, offsetof(struct sign_values, key), "FILE",
     "sign with this key file, plain or wrapped (quipu keygen --signing)"},
    {"manifest", CLI_TEXT, offsetof(struct sign_values, manifest), "OUT",
     "write the bytes that ssh-keygen -Y sign is to sign, and nothing else"},
    {"add", CLI_TEXTS, offsetof(struct sign_values, add), "SIG",
     "add this signature of ssh-keygen, or those of another copy; several times"},
    {"output", CLI_TEXT, offsetof(struct sign_values, output), "FILE",
     "write a new file, and leave BUNDLE as it is"},
    {"passphrase-fd", CLI_NUMBER, offsetof(struct sign_values, passphrase_fd), "N",
     "take the passphrase of a wrapped key from this descriptor"},
    CLI_PINENTRY_OPTION(sign_values, pinentry),
};

const struct cli_verb cli_verb_sign = {
    .name = "sign",
    .arguments = "BUNDLE",
    .summary = "Sign a bundle, beside the store that made it",
    .details =
        "The bundle is checked wholly, and what is signed is shown: compare the digest with what "
        "the\n"
        "others read aloud. Several people sign in any order, also copies on different machines, "
        "which\n"
        "--add BUNDLE brings together; the same signatures give the same file. Keys of OpenSSH, "
        "also in\n"
        "hardware: --manifest OUT, then `ssh-keygen -Y sign -n quipu-bundle@v1 -f KEY OUT`, then\n"
        "--add OUT.sig. BUNDLE is replaced at once, or left as it is with --output. Sign before a "
        "bundle\n"
        "is encrypted or split: `quipu release` does that. Needs no store. Exit codes as `quipu "
        "verify\n"
        "BUNDLE` where the bundle is at fault.",
    .example = "quipu sign ceremony.car --key ada.key",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .values_bytes = sizeof(struct sign_values),
    .arguments_min = 1,
    .arguments_max = 1,
    .run = run,
};

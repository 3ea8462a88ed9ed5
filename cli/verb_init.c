/*
 * quipu init: make a store and its signing key, plain or wrapped by a passphrase.
 *
 * A key that is to be wrapped is made so: it never lies on the disk in clear.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli.h"
#include "passphrase.h"
#include "print.h"

struct init_values {
    bool is_wrapped;
    struct cli_number passphrase_fd;
    const char *pinentry;
};

static enum quipu_status say(const struct cli *cli, const char *source, bool is_wrapped,
                             struct quipu_error *err)
{
    if (!cli->is_json) {
        cli_say("store   %s", cli->store_path);
        (void)printf("source  %s\n", source);
        return QUIPU_OK;
    }
    struct cli_json json = {0};
    cli_json_begin(&json);
    cli_json_text(&json, "store", quipu_slice_text(cli->store_path));
    cli_json_text(&json, "source", quipu_slice_text(source));
    cli_json_bool(&json, "wrapped", is_wrapped);
    enum quipu_status status = cli_json_end(&json, err);
    cli_json_release(&json);
    return status;
}

/* The passphrase that was given for the new key opens it too. */
static enum quipu_status answer(void *ctx, const char *path, struct quipu_age_secrets *into,
                                struct quipu_error *err)
{
    const struct cli_passphrase *given = ctx;
    (void)path;
    return quipu_age_secrets_set_passphrase(into, quipu_slice(given->bytes, given->len), err);
}

/* signing.key, wrapped, and opened for this engine. */
static enum quipu_status make_wrapped(const struct cli *cli, struct cli_passphrase *given,
                                      struct quipu_error *err)
{
    struct quipu_key_options options = QUIPU_KEY_OPTIONS_INIT;
    struct quipu_age_secrets *secrets = NULL;
    struct quipu_passphrase passphrase = {answer, given};
    struct quipu_buf path = QUIPU_BUF_INIT;
    enum quipu_status status = quipu_age_secrets_new(&secrets, err);
    if (status == QUIPU_OK) {
        status = answer(given, NULL, secrets, err);
    }
    quipu_buf_printf(&path, "%s/signing.key", quipu_store_path(cli->store));
    quipu_buf_append_byte(&path, 0);
    if (status == QUIPU_OK && path.status != QUIPU_OK) {
        status = quipu_error_set(err, path.status, "no memory for a path");
    }
    if (status == QUIPU_OK) {
        options.passphrase = secrets;
        status = quipu_key_make((const char *)path.data, QUIPU_KEY_SIGNING, &options, NULL, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_engine_unlock(cli->engine, &passphrase, err);
    }
    quipu_buf_release(&path);
    quipu_age_secrets_free(&secrets);
    return status;
}

static int make_store(struct cli *cli, struct cli_passphrase *given)
{
    struct quipu_error err;
    char source[QUIPU_SOURCE_TEXT_BYTES];
    int code = cli_open_new(cli);
    if (code != 0) {
        return code;
    }
    enum quipu_status status = given->bytes == NULL ? QUIPU_OK : make_wrapped(cli, given, &err);
    if (status == QUIPU_OK) {
        status = quipu_identity_ensure(cli->engine, &err);
    }
    if (status == QUIPU_OK) {
        status = quipu_identity_source(cli->engine, source, &err);
    }
    if (status == QUIPU_OK) {
        status = say(cli, source, given->bytes != NULL, &err);
    }
    return status == QUIPU_OK ? 0 : cli_fail(cli, status, &err, NULL);
}

static int run(struct cli *cli, const void *values, int argc, char **argv)
{
    const struct init_values *given = values;
    struct cli_passphrase passphrase = {0};
    struct quipu_error err;
    enum quipu_status status = QUIPU_OK;
    (void)argc;
    (void)argv;
    cli_guard_secrets();
    /* Before anything is made, so that who gives up leaves nothing. */
    if (given->is_wrapped || given->passphrase_fd.is_set) {
        struct cli_passphrase_from from = {
            .cli = cli,
            .fd = given->passphrase_fd,
            .pinentry = given->pinentry,
            .credential = CLI_CREDENTIAL_KEY,
            .option = "--passphrase-fd",
        };
        char what[256];
        (void)snprintf(what, sizeof what, "the key of %s", cli->store_path);
        status = cli_passphrase_ask(&from, what, CLI_PASSPHRASE_NEW, &passphrase, &err);
    }
    int code =
        status == QUIPU_OK ? make_store(cli, &passphrase) : cli_fail(cli, status, &err, NULL);
    cli_passphrase_release(&passphrase);
    return code;
}

static const struct cli_option options[] = {
    {"wrap", CLI_FLAG, offsetof(struct init_values, is_wrapped), NULL,
     "wrap the signing key with a passphrase, and ask for it"},
    {"passphrase-fd", CLI_NUMBER, offsetof(struct init_values, passphrase_fd), "N",
     "wrap it with the passphrase that this descriptor gives"},
    CLI_PINENTRY_OPTION(init_values, pinentry),
};

const struct cli_verb cli_verb_init = {
    .name = "init",
    .arguments = "",
    .summary = "Make a store and its signing key",
    .details =
        "The folder is made with mode 0700, its parents are not. The key's public half is the\n"
        "store's source: it names who recorded an event, and it signs bundles. A store that is\n"
        "there already stays as it is. With --wrap the key is an age file for a passphrase: "
        "events\n"
        "are recorded without it, and what signs asks for it.",
    .example = "quipu init --store ceremony.quipu",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .values_bytes = sizeof(struct init_values),
    .run = run,
};

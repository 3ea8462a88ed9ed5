/*
 * quipu init: make a store and its signing key.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli.h"
#include "print.h"

static enum quipu_status say(const struct cli *cli, const char *source, struct quipu_error *err)
{
    if (!cli->is_json) {
        (void)printf("store   %s\nsource  %s\n", cli->store_path, source);
        return QUIPU_OK;
    }
    struct cli_json json = {0};
    cli_json_begin(&json);
    cli_json_text(&json, "store", quipu_slice_text(cli->store_path));
    cli_json_text(&json, "source", quipu_slice_text(source));
    enum quipu_status status = cli_json_end(&json, err);
    cli_json_release(&json);
    return status;
}

static int run(struct cli *cli, const void *values, int argc, char **argv)
{
    (void)values;
    (void)argc;
    (void)argv;
    int code = cli_open_new(cli);
    if (code != 0) {
        return code;
    }
    struct quipu_error err;
    char source[QUIPU_SOURCE_TEXT_BYTES];
    enum quipu_status status = quipu_identity_ensure(cli->engine, &err);
    if (status == QUIPU_OK) {
        status = quipu_identity_source(cli->engine, source, &err);
    }
    if (status == QUIPU_OK) {
        status = say(cli, source, &err);
    }
    return status == QUIPU_OK ? 0 : cli_fail(cli, status, &err, NULL);
}

const struct cli_verb cli_verb_init = {
    .name = "init",
    .arguments = "",
    .summary = "Make a store and its signing key",
    .details =
        "The folder is made with mode 0700, its parents are not. The key's public half is the\n"
        "store's source: it names who recorded an event, and it signs bundles. A store that is\n"
        "there already stays as it is.",
    .example = "quipu init --store ceremony.quipu",
    .run = run,
};

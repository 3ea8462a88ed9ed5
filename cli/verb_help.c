/*
 * quipu help and quipu version.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli.h"
#include "print.h"

static enum quipu_status list_json(struct quipu_error *err)
{
    struct cli_json json = {0};
    enum quipu_status status = QUIPU_OK;
    for (size_t i = 0; cli_verbs[i] != NULL && status == QUIPU_OK; i++) {
        cli_json_begin(&json);
        cli_json_text(&json, "verb", quipu_slice_text(cli_verbs[i]->name));
        cli_json_text(&json, "arguments", quipu_slice_text(cli_verbs[i]->arguments));
        cli_json_text(&json, "summary", quipu_slice_text(cli_verbs[i]->summary));
        status = cli_json_end(&json, err);
    }
    cli_json_release(&json);
    return status;
}

static void list_text(const struct cli *cli)
{
    (void)printf("Usage: quipu VERB [OPTION]... [ARGUMENT]...\n"
                 "Offline-first event sourcing with content addressing.\n\n");
    for (size_t i = 0; cli_verbs[i] != NULL; i++) {
        (void)printf("  %s%-11s%s %s\n", cli_paint(cli, CLI_BOLD), cli_verbs[i]->name,
                     cli_paint(cli, CLI_PLAIN), cli_verbs[i]->summary);
    }
    (void)printf("\n`quipu VERB --help` tells more; `man quipu` tells all.\n");
}

static int run_help(struct cli *cli, const void *values, int argc, char **argv)
{
    (void)values;
    if (argc == 1) {
        const struct cli_verb *verb = cli_verb_find(argv[0]);
        if (verb == NULL) {
            return cli_usage(cli, "there is no verb \"%s\"", argv[0]);
        }
        cli_help_verb(verb);
        return 0;
    }
    if (!cli->is_json) {
        list_text(cli);
        return 0;
    }
    struct quipu_error err;
    enum quipu_status status = list_json(&err);
    return status == QUIPU_OK ? 0 : cli_fail(cli, status, &err, NULL);
}

const struct cli_verb cli_verb_help = {
    .name = "help",
    .arguments = "[VERB]",
    .summary = "List the verbs, or tell about one",
    .example = "quipu help append",
    .arguments_max = 1,
    .run = run_help,
};

static int run_version(struct cli *cli, const void *values, int argc, char **argv)
{
    (void)values;
    (void)argc;
    (void)argv;
    if (!cli->is_json) {
        (void)printf("quipu %s\n", QUIPU_CLI_VERSION);
        return 0;
    }
    struct cli_json json = {0};
    struct quipu_error err;
    cli_json_begin(&json);
    cli_json_text(&json, "version", quipu_slice_text(QUIPU_CLI_VERSION));
    cli_json_bool(&json, "with_jetstream", cli_has_network);
    enum quipu_status status = cli_json_end(&json, &err);
    cli_json_release(&json);
    return status == QUIPU_OK ? 0 : cli_fail(cli, status, &err, NULL);
}

const struct cli_verb cli_verb_version = {
    .name = "version",
    .arguments = "",
    .summary = "Say which quipu this is",
    .example = "quipu version --json",
    .run = run_version,
};

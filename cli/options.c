/*
 * getopt_long over tables: the common options and those of a verb, in any order with the arguments.
 * Also the text of --help, from the same tables.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "print.h"
#include "quipu/config.h"
#include "quipu/slice.h"

#define OPTION_BASE 256 /* getopt's values of the table's rows; below are short options */

/* Every verb takes them all, so that one command line can be kept for several verbs; the first one
 * is told about only where it does something. */
static const struct cli_option common_options[] = {
    {"server", CLI_TEXT, offsetof(struct cli, server), "URL",
     "the NATS server (else QUIPU_SERVER, else nats.url, else nats://127.0.0.1:4222)"},
    {"config", CLI_TEXT, offsetof(struct cli, config_path), "FILE",
     "settings in TOML (else QUIPU_CONFIG, else ~/.config/quipu/config.toml)"},
    {"store", CLI_TEXT, offsetof(struct cli, store_path), "DIR",
     "the store (else QUIPU_STORE, else storage.dir, else ./" CLI_STORE_DEFAULT ")"},
    {"json", CLI_FLAG, offsetof(struct cli, is_json), NULL,
     "JSON lines on stdout, failures as JSON on stderr"},
    {"quiet", CLI_FLAG, offsetof(struct cli, is_quiet), NULL, "no progress and no notes"},
    {"help", CLI_FLAG, offsetof(struct cli, wants_help), NULL, "this help"},
    {"version", CLI_FLAG, offsetof(struct cli, wants_version), NULL, "which quipu this is"},
};

#define COMMON_COUNT (sizeof common_options / sizeof common_options[0])

bool cli_number_parse(const char *text, uint64_t *out)
{
    if (text[0] < '0' || text[0] > '9') {
        return false; /* strtoull would take signs and spaces */
    }
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || *end != 0) {
        return false;
    }
    *out = value;
    return true;
}

/* 0 stands for "not given" in a verb's values, so it cannot be asked for. */
static bool duration_parse(const char *text, int64_t *out)
{
    int64_t us;
    if (quipu_duration_parse(quipu_slice_text(text), &us) != QUIPU_OK || us == 0) {
        return false;
    }
    *out = us;
    return true;
}

/* Store one option's value in its field. Returns 0, or the exit code. */
static int set_value(struct cli *cli, const struct cli_option *option, void *values,
                     const char *text)
{
    void *field = (char *)values + option->offset;
    switch (option->kind) {
    case CLI_FLAG:
        *(bool *)field = true;
        return 0;
    case CLI_TEXT:
        *(const char **)field = text;
        return 0;
    case CLI_OPTIONAL:
        *(const char **)field = text == NULL ? "" : text;
        return 0;
    case CLI_TEXTS: {
        struct cli_texts *texts = field;
        if (texts->count == CLI_TEXTS_MAX) {
            return cli_usage(cli, "--%s is given more than %d times", option->name, CLI_TEXTS_MAX);
        }
        texts->items[texts->count++] = text;
        return 0;
    }
    case CLI_NUMBER: {
        struct cli_number *number = field;
        if (!cli_number_parse(text, &number->value)) {
            return cli_usage(cli, "--%s wants a number, found \"%s\"", option->name, text);
        }
        number->is_set = true;
        return 0;
    }
    case CLI_UUID:
        if (quipu_uuid_parse(quipu_slice_text(text), field) != QUIPU_OK) {
            return cli_usage(cli, "--%s wants a UUID, found \"%s\"", option->name, text);
        }
        return 0;
    case CLI_DURATION:
        if (!duration_parse(text, field)) {
            return cli_usage(cli, "--%s wants a duration such as 500ms, 90s or 2m, found \"%s\"",
                             option->name, text);
        }
        return 0;
    }
    return 0;
}

/* Does it want a value? As getopt says it. */
static int argument_kind(enum cli_kind kind)
{
    if (kind == CLI_OPTIONAL) {
        return optional_argument;
    }
    return kind == CLI_FLAG ? no_argument : required_argument;
}

static void fill_long(struct option *into, const struct cli_option *from, size_t count, size_t base)
{
    for (size_t i = 0; i < count; i++) {
        into[i] = (struct option){
            .name = from[i].name,
            .has_arg = argument_kind(from[i].kind),
            .val = (int)(OPTION_BASE + base + i),
        };
    }
}

/* Everything that getopt reports; `verb` NULL in front of the verb. Stops at the first argument
 * where `short_options` says so. */
static int read_options(struct cli *cli, void *values, int argc, char **argv,
                        const char *short_options)
{
    const struct cli_verb *verb = values == NULL ? NULL : cli->verb;
    size_t own_count = verb == NULL ? 0 : verb->option_count;
    struct option table[COMMON_COUNT + CLI_OPTIONS_MAX + 1] = {{0}};
    fill_long(table, common_options, COMMON_COUNT, 0);
    if (own_count > 0) {
        fill_long(table + COMMON_COUNT, verb->options, own_count, COMMON_COUNT);
    }
    optind = 0; /* GNU: start anew, with another argv */
    opterr = 0;
    int found;
    while ((found = getopt_long(argc, argv, short_options, table, NULL)) != -1) {
        if (found == 'h') {
            cli->wants_help = true;
            continue;
        }
        if (found == ':') {
            return cli_usage(cli, "%s wants a value", argv[optind - 1]);
        }
        if (found < OPTION_BASE) {
            return cli_usage(cli, "there is no option %s", argv[optind - 1]);
        }
        size_t row = (size_t)(found - OPTION_BASE);
        int code = row < COMMON_COUNT
                       ? set_value(cli, &common_options[row], cli, optarg)
                       : set_value(cli, &verb->options[row - COMMON_COUNT], values, optarg);
        if (code != 0) {
            return code;
        }
    }
    return 0;
}

int cli_options_front(struct cli *cli, int argc, char **argv, int *verb_at)
{
    int code = read_options(cli, NULL, argc, argv, "+:h");
    *verb_at = optind;
    return code;
}

int cli_options_read(struct cli *cli, void *values, int argc, char **argv, int *first)
{
    int code = read_options(cli, values, argc, argv, ":h");
    *first = optind;
    if (code != 0 || cli->wants_help || cli->wants_version) {
        return code;
    }
    int given = argc - optind;
    if (given < cli->verb->arguments_min) {
        return cli_usage(cli, "wants %s", cli->verb->arguments);
    }
    if (given > cli->verb->arguments_max) {
        return cli_usage(cli, "does not know what to do with \"%s\"",
                         argv[optind + cli->verb->arguments_max]);
    }
    return 0;
}

static void help_options(const struct cli_option *options, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char left[64];
        bool is_optional = options[i].kind == CLI_OPTIONAL;
        (void)snprintf(left, sizeof left, "--%s%s%s%s", options[i].name,
                       options[i].argument == NULL ? "" : (is_optional ? "[=" : " "),
                       options[i].argument == NULL ? "" : options[i].argument,
                       is_optional ? "]" : "");
        (void)printf("  %-22s %s\n", left, options[i].help);
    }
}

void cli_help_verb(const struct cli_verb *verb)
{
    (void)printf("Usage: quipu %s [OPTION]...%s%s\n%s.\n", verb->name,
                 verb->arguments[0] == 0 ? "" : " ", verb->arguments, verb->summary);
    if (verb->details != NULL) {
        (void)printf("\n%s\n", verb->details);
    }
    (void)printf("\nOptions:\n");
    help_options(verb->options, verb->option_count);
    size_t skipped = verb->is_network ? 0 : 1;
    help_options(common_options + skipped, COMMON_COUNT - skipped);
    if (verb->help_more != NULL) {
        verb->help_more();
    }
    (void)printf("\nExit codes:\n");
    for (int code = CLI_EXIT_OK; code <= CLI_EXIT_ASIDE; code++) {
        (void)printf("  %d  %s\n", code, cli_exit_text((enum cli_exit)code));
    }
    (void)printf("\nExample:\n  %s\n", verb->example);
}

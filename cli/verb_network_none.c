/*
 * quipu provision, flush, pull and reconcile in a build without the network: they are known and say
 * that they are not there. It stands in the place of verb_network.c where libquipu-jetstream is not
 * built.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli.h"
#include "print.h"

const bool cli_has_network = false;

static int run(struct cli *cli, const void *values, int argc, char **argv)
{
    (void)values;
    (void)argc;
    (void)argv;
    static const struct quipu_error err = {
        .status = QUIPU_MISUSE,
        .offset = QUIPU_ERROR_NO_OFFSET,
        .message = "this quipu is built without the network",
    };
    struct cli_failure failure = {
        .status = QUIPU_MISUSE,
        .err = &err,
        .cure = "carry a bundle (`quipu export`) to a machine whose quipu has it",
        .code = CLI_EXIT_USAGE,
    };
    return cli_fail_with(cli, &failure);
}

/* The options are known too, so that the same command line gets the same answer. */
struct network_values {
    const char *text;
    struct cli_number number;
    int64_t duration_us;
    bool flag;
};

#define TEXT(name, argument)                                                                       \
    {                                                                                              \
        name, CLI_TEXT, offsetof(struct network_values, text), argument, "not in this build"       \
    }

static const struct cli_option options[] = {
    TEXT("stream", "NAME"),
    TEXT("bucket", "NAME"),
    TEXT("prefix", "SUBJECT"),
    TEXT("creds", "FILE"),
    TEXT("user", "NAME"),
    TEXT("nkey", "FILE"),
    TEXT("tls-ca", "FILE"),
    TEXT("tls-cert", "FILE"),
    TEXT("tls-key", "FILE"),
    TEXT("tls-name", "NAME"),
    {"password-fd", CLI_NUMBER, offsetof(struct network_values, number), "N", "not in this build"},
    {"pending", CLI_NUMBER, offsetof(struct network_values, number), "N", "not in this build"},
    {"replicas", CLI_NUMBER, offsetof(struct network_values, number), "N", "not in this build"},
    {"window", CLI_NUMBER, offsetof(struct network_values, number), "N", "not in this build"},
    {"duplicates", CLI_DURATION, offsetof(struct network_values, duration_us), "DURATION",
     "not in this build"},
    TEXT("dedup", "HOW"),
    {"interval", CLI_DURATION, offsetof(struct network_values, duration_us), "DURATION",
     "not in this build"},
    {"follow", CLI_FLAG, offsetof(struct network_values, flag), NULL, "not in this build"},
    {"watch", CLI_FLAG, offsetof(struct network_values, flag), NULL, "not in this build"},
    {"repair", CLI_FLAG, offsetof(struct network_values, flag), NULL, "not in this build"},
    {"no-payloads", CLI_FLAG, offsetof(struct network_values, flag), NULL, "not in this build"},
    TEXT("name", "NAME"),
    TEXT("service-prefix", "SUBJECT"),
    TEXT("metrics", "HOST:PORT"),
    TEXT("log-format", "FORMAT"),
    {"workers", CLI_NUMBER, offsetof(struct network_values, number), "N", "not in this build"},
    {"waiting", CLI_NUMBER, offsetof(struct network_values, number), "N", "not in this build"},
    {"flush", CLI_FLAG, offsetof(struct network_values, flag), NULL, "not in this build"},
    {"times", CLI_FLAG, offsetof(struct network_values, flag), NULL, "not in this build"},
    {"again", CLI_FLAG, offsetof(struct network_values, flag), NULL, "not in this build"},
};

_Static_assert(sizeof options / sizeof options[0] <= CLI_OPTIONS_MAX, "more than are read");

#define VERB(verb_name)                                                                            \
    {                                                                                              \
        .name = verb_name, .arguments = "",                                                        \
        .summary = "Not in this build: it has no network code",                                    \
        .example = "quipu export ceremony.car", .is_network = true, .options = options,            \
        .option_count = sizeof options / sizeof options[0],                                        \
        .values_bytes = sizeof(struct network_values), .run = run,                                 \
    }

const struct cli_verb cli_verb_provision = VERB("provision");
const struct cli_verb cli_verb_flush = VERB("flush");
const struct cli_verb cli_verb_pull = VERB("pull");
const struct cli_verb cli_verb_reconcile = VERB("reconcile");
const struct cli_verb cli_verb_serve = VERB("serve");

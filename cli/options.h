/*
 * Verbs and their options, as tables: parsing, checking and --help come from the same rows.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CLI_OPTIONS_H
#define QUIPU_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quipu/uuid.h"

struct cli;

/* What an option's field holds. */
enum cli_kind {
    CLI_FLAG,     /* bool */
    CLI_TEXT,     /* const char * */
    CLI_OPTIONAL, /* const char *, "" where the option is given without a value: --name[=VALUE] */
    CLI_TEXTS,    /* struct cli_texts: may be given several times */
    CLI_NUMBER,   /* struct cli_number */
    CLI_UUID,     /* struct quipu_uuid; nil: not given */
    CLI_DURATION, /* int64_t, microseconds; 0: not given. Text such as 500ms, 90s, 2m, 1h */
};

struct cli_number {
    bool is_set;
    uint64_t value;
};

#define CLI_TEXTS_MAX 64

struct cli_texts {
    const char *items[CLI_TEXTS_MAX];
    size_t count;
};

struct cli_option {
    const char *name;
    enum cli_kind kind;
    size_t offset;        /* of the field in the verb's values */
    const char *argument; /* name of the value in the help; NULL for a flag */
    const char *help;
};

#define CLI_OPTIONS_MAX 40

struct cli_verb {
    const char *name;
    const char *arguments; /* for the usage line, "" for none */
    const char *summary;   /* one line, no full stop */
    const char *details;   /* more, or NULL */
    const char *example;   /* one command line */
    const struct cli_option *options;
    size_t option_count;
    bool is_network;     /* it reaches a server: --server is in its help */
    size_t values_bytes; /* the values are this many zeroed bytes before parsing */
    int arguments_min;
    int arguments_max;
    void (*help_more)(void); /* prints what only a table knows, behind the options; NULL: nothing */
    /* Returns the exit code. `argv` are the arguments that are no options. */
    int (*run)(struct cli *cli, const void *values, int argc, char **argv);
};

/* Selection of events that log and export share. */
struct cli_selection {
    const char *aggregate;
    const char *type;
    struct cli_number since;
    struct cli_number until;
};

#define CLI_SELECTION_OPTIONS(values, member)                                                      \
    {"aggregate", CLI_TEXT, offsetof(struct values, member.aggregate), "T/ID",                     \
     "only this aggregate, or with T alone this type of aggregates"},                              \
        {"type", CLI_TEXT, offsetof(struct values, member.type), "TYPE",                           \
         "only events of this type"},                                                              \
        {"since", CLI_NUMBER, offsetof(struct values, member.since), "POS",                        \
         "from this position on"},                                                                 \
    {                                                                                              \
        "until", CLI_NUMBER, offsetof(struct values, member.until), "POS",                         \
            "up to and with this position"                                                         \
    }

/**
 * Take the common options in front of the verb. `*verb_at` is the index of the verb in argv, argc
 * where there is none. Returns 0, or the exit code after it has said what is wrong.
 */
int cli_options_front(struct cli *cli, int argc, char **argv, int *verb_at);

/**
 * Read the options of cli->verb and the common ones from argv (argv[0] is the verb), in any order
 * with the arguments. `values` is filled; `*first` is the index of the first argument. Returns 0,
 * or the exit code after it has said what is wrong.
 */
int cli_options_read(struct cli *cli, void *values, int argc, char **argv, int *first);

/** Print usage, options, exit codes and the example of a verb on stdout. */
void cli_help_verb(const struct cli_verb *verb);

/** Reads a whole decimal number. False where it is none or does not fit. */
bool cli_number_parse(const char *text, uint64_t *out);

#endif

/*
 * What the verbs of the program share: the settings of this run, the opened store, the table of
 * verbs.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CLI_H
#define QUIPU_CLI_H

#include <stdbool.h>
#include <stdio.h>

#include "exit_code.h"
#include "options.h"
#include "quipu/buf.h"
#include "quipu/engine.h"
#include "quipu/error.h"
#include "quipu/store.h"

#define CLI_CURE_DAMAGED   "restore a backup, or import a bundle into a new store"
#define CLI_CURE_NO_PARENT "make its parent folder first, or choose another path"
#define CLI_STORE_DEFAULT  ".quipu"

struct cli_config;

struct cli {
    const struct cli_verb *verb; /* NULL until it is known */
    const char *config_path;     /* of --config */
    const char *store_path;
    const char *server;
    struct cli_config *config; /* NULL where the verb needs no settings */
    bool is_json;
    bool is_quiet;
    bool wants_help;
    bool wants_version;
    bool has_colour;   /* stdout is a terminal and NO_COLOR is not set */
    bool has_progress; /* stderr is a terminal and --quiet was not given */
    bool was_backup;   /* when it was opened; see cli_say_restored */
    bool had_key;      /* its signing key was there, then */
    bool was_wrapped;  /* and wrapped; where it was gone: when it was last used */
    struct quipu_store *store;
    struct quipu_engine *engine;
    char done[96]; /* what stands even where the results do not reach stdout; "" nothing */
};

/** The verbs in the order of `quipu help`, ended by NULL. */
extern const struct cli_verb *const cli_verbs[];

/** NULL where there is no such verb. */
const struct cli_verb *cli_verb_find(const char *name);

/**
 * Open the store that --store names, and the engine on it, into `cli`; main closes them. Returns 0,
 * or the exit code after it has said what is wrong.
 */
int cli_open(struct cli *cli);

/** Before the store is closed: say so where it was a backup that nobody had recorded in, and now
 * records under a source of its own. */
void cli_say_restored(const struct cli *cli);

/** cli_open for a store that must not be there yet. */
int cli_open_new(struct cli *cli);

/** Open a file to read from, stdin for "-". A folder is refused as input. The caller closes what is
 * not STDIN_FILENO. Returns 0, or the exit code after it has said what is wrong. */
int cli_open_input(const struct cli *cli, const char *path, const char *cure, int *fd);

/** All that can be read from `fd`, behind what `out` holds, at most `max` bytes. The room is taken
 * at once, so that no copy of a secret is left behind where it grows.
 * @retval QUIPU_TOO_LARGE  "`what` has more than `max` bytes" @retval QUIPU_NO_MEMORY, QUIPU_IO */
enum quipu_status cli_read_all(int fd, const char *what, size_t max, struct quipu_buf *out,
                               struct quipu_error *err);

/** Open an existing store elsewhere, or make it: for verbs that need a second one. The caller
 * closes. */
enum quipu_status cli_open_at(const char *path, enum quipu_store_create create,
                              struct quipu_store **store, struct quipu_engine **engine,
                              struct quipu_error *err);
void cli_close(struct quipu_store **store, struct quipu_engine **engine);

/* A selection as a filter of the engine. */
struct cli_filter {
    struct quipu_filter filter;
    char aggregate_type[QUIPU_AGGREGATE_TYPE_BYTES_MAX + 1];
};

/** Splits T/ID at the first '/': ids may hold more of them. Returns 0 or the exit code after it has
 * said what is wrong. `out` must stay where it is. */
int cli_filter_init(const struct cli *cli, const struct cli_selection *selection,
                    struct cli_filter *out);

/** Is libquipu-jetstream linked? Defined by the file that holds the network verbs. */
extern const bool cli_has_network;

extern const struct cli_verb cli_verb_init;
extern const struct cli_verb cli_verb_keygen;
extern const struct cli_verb cli_verb_append;
extern const struct cli_verb cli_verb_log;
extern const struct cli_verb cli_verb_show;
extern const struct cli_verb cli_verb_cat;
extern const struct cli_verb cli_verb_query;
extern const struct cli_verb cli_verb_verify;
extern const struct cli_verb cli_verb_status;
extern const struct cli_verb cli_verb_export;
extern const struct cli_verb cli_verb_import;
extern const struct cli_verb cli_verb_sign;
extern const struct cli_verb cli_verb_release;
extern const struct cli_verb cli_verb_operations;
extern const struct cli_verb cli_verb_report;
extern const struct cli_verb cli_verb_provision;
extern const struct cli_verb cli_verb_flush;
extern const struct cli_verb cli_verb_pull;
extern const struct cli_verb cli_verb_reconcile;
extern const struct cli_verb cli_verb_serve;
extern const struct cli_verb cli_verb_replay;
extern const struct cli_verb cli_verb_projections;
extern const struct cli_verb cli_verb_subscriptions;
extern const struct cli_verb cli_verb_backup;
extern const struct cli_verb cli_verb_compact;
extern const struct cli_verb cli_verb_deadletter;
extern const struct cli_verb cli_verb_quarantine;
extern const struct cli_verb cli_verb_forks;
extern const struct cli_verb cli_verb_merge;
extern const struct cli_verb cli_verb_types;
extern const struct cli_verb cli_verb_cid;
extern const struct cli_verb cli_verb_car;
extern const struct cli_verb cli_verb_config;
extern const struct cli_verb cli_verb_demo;
extern const struct cli_verb cli_verb_help;
extern const struct cli_verb cli_verb_version;

#endif

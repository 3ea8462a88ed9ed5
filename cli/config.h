/*
 * The settings of this run: defaults, then the file, then the environment, then options; and where
 * each came from.
 *
 * Specification: docs/SPEC.md §13.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CLI_CONFIG_H
#define QUIPU_CLI_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "quipu/buf.h"
#include "quipu/config.h"

struct cli;

#define CLI_CONFIG_KEYS_MAX 64

enum cli_origin_kind {
    CLI_FROM_DEFAULT,
    CLI_FROM_FILE,
    CLI_FROM_ENVIRONMENT,
    CLI_FROM_OPTION,
};

/* Where a value came from. */
struct cli_origin {
    enum cli_origin_kind kind;
    const char *name; /* of the variable or the option; NULL otherwise */
    uint32_t line;    /* in the file; 0 otherwise */
    uint32_t column;
};

/* Text that lives as long as the settings do, and is wiped then. */
struct cli_config_text {
    struct cli_config_text *next;
    size_t len;
    char text[];
};

struct cli_config {
    struct quipu_config values;
    const char *file;        /* that was read; NULL: there is none */
    const char *file_wanted; /* that would have been read */
    struct cli_origin origins[CLI_CONFIG_KEYS_MAX];
    struct cli_config_text *texts;
    uint64_t opened_position; /* of the last event when the store was opened */
};

/** Fill cli->config and what follows from it (store_path, server). Returns 0, or the exit code
 * after it has said what is wrong. Release in either case. */
int cli_config_load(struct cli *cli);
void cli_config_release(struct cli_config **config);

/** The origin of a key of quipu_config_keys. */
struct cli_origin *cli_config_origin(struct cli_config *config, const struct quipu_config_key *key);

/** A copy that lives as long as the settings; NULL without memory. */
const char *cli_config_keep(struct cli_config *config, const char *text, size_t len);

/** Read the file into the settings. Returns 0 or the exit code, as above. */
int cli_config_read_file(struct cli *cli, const char *path);

/** Say what is wrong at a place of a file. Returns the exit code. */
int cli_config_fail_at(const struct cli *cli, const char *path, uint32_t line, uint32_t column,
                       struct quipu_error *err);

/** Remember how far the store is. Returns 0 or the exit code. */
int cli_config_opened(struct cli *cli);

/** What the settings ask for behind a verb that went well: publish what was appended, make a
 * backup. Returns 0 or the exit code. */
int cli_config_finish(struct cli *cli);

/** A name for a new backup below storage.backup_dir, NUL-terminated; the folder itself is made.
 * Returns 0 or the exit code. */
int cli_config_backup_path(struct cli *cli, struct quipu_buf *path);

/** A name for a new bundle in storage.offline_events_dir, NUL-terminated. */
enum quipu_status cli_config_bundle_path(const struct cli *cli, struct quipu_buf *path,
                                         struct quipu_error *err) QUIPU_MUST_CHECK;

/** Publish what is pending, as the mode says. Defined where there is a network, and where not.
 * Returns 0 or the exit code. */
int cli_config_flush(struct cli *cli);

/** Refuse a verb that would open a socket where the settings say that none is. Returns 0 or the
 * exit code. */
int cli_config_allow_network(const struct cli *cli);

#endif

/*
 * quipu backup: a consistent copy while others read and write.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "print.h"

/* Figures of the copy itself, so that what is said was read back from it. */
static enum quipu_status look(const char *path, struct quipu_store_stat *stat,
                              struct quipu_error *err)
{
    struct quipu_store *store = NULL;
    struct quipu_engine *engine = NULL;
    struct quipu_txn *txn = NULL;
    enum quipu_status status = cli_open_at(path, QUIPU_STORE_OPEN_EXISTING, &store, &engine, err);
    if (status == QUIPU_OK) {
        status = quipu_txn_begin_read(store, &txn, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_txn_stat(txn, stat, err);
    }
    quipu_txn_abort(&txn);
    cli_close(&store, &engine);
    return status;
}

static enum quipu_status say(const struct cli *cli, const char *path,
                             const struct quipu_store_stat *stat, struct quipu_error *err)
{
    if (!cli->is_json) {
        char events[CLI_COUNTED_BYTES];
        char bytes[CLI_COUNT_BYTES];
        (void)printf("%s, %s, in %s\n", cli_counted(stat->events, "event", events),
                     cli_bytes(stat->file_bytes, bytes), path);
        cli_note(cli,
                 "the signing key is not in a backup: the copy gets a source of its own when it "
                 "is first written to");
        return QUIPU_OK;
    }
    struct cli_json json = {0};
    cli_json_begin(&json);
    cli_json_text(&json, "backup", quipu_slice_text(path));
    cli_json_number(&json, "events", stat->events);
    cli_json_number(&json, "file_bytes", stat->file_bytes);
    enum quipu_status status = cli_json_end(&json, err);
    cli_json_release(&json);
    return status;
}

/* A backup inside the store goes when the store's folder does. A destination that is not there yet
 * is where its parent is; what cannot be resolved is left to the copying itself to refuse. */
static enum quipu_status check_place(const struct cli *cli, const char *path,
                                     struct quipu_error *err)
{
    char store[PATH_MAX];
    char real[PATH_MAX];
    char copy[PATH_MAX];
    if (realpath(cli->store_path, store) == NULL || strlen(path) >= sizeof copy) {
        return QUIPU_OK;
    }
    memcpy(copy, path, strlen(path) + 1);
    if (realpath(path, real) == NULL && realpath(dirname(copy), real) == NULL) {
        return QUIPU_OK;
    }
    size_t len = strlen(store);
    if (strncmp(real, store, len) != 0 || (real[len] != 0 && real[len] != '/')) {
        return QUIPU_OK;
    }
    return quipu_error_set(err, QUIPU_INVALID, "\"%s\" is in the store's own folder", path);
}

static int run(struct cli *cli, const void *values, int argc, char **argv)
{
    (void)values;
    (void)argc;
    int code = cli_open(cli);
    if (code != 0) {
        return code;
    }
    struct quipu_error err;
    struct quipu_store_stat stat;
    enum quipu_status status = check_place(cli, argv[0], &err);
    if (status == QUIPU_INVALID) {
        return cli_fail(cli, status, &err, "choose a folder outside the store");
    }
    if (status == QUIPU_OK) {
        status = quipu_store_backup(cli->store, argv[0], &err);
    }
    if (status == QUIPU_OK) {
        status = look(argv[0], &stat, &err);
    }
    if (status == QUIPU_OK) {
        status = say(cli, argv[0], &stat, &err);
    }
    return status == QUIPU_OK
               ? 0
               : cli_fail(cli, status, &err, status == QUIPU_NOT_FOUND ? CLI_CURE_NO_PARENT : NULL);
}

const struct cli_verb cli_verb_backup = {
    .name = "backup",
    .arguments = "DEST",
    .summary = "Copy the store into a new or empty folder while it is in use",
    .details =
        "The copy is compact and synced. The signing key is not copied: a store that is restored\n"
        "takes a new source, so that it cannot fork the old one.",
    .example = "quipu backup /media/stick/ceremony.quipu",
    .arguments_min = 1,
    .arguments_max = 1,
    .run = run,
};

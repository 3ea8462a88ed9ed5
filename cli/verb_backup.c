/*
 * quipu backup: a consistent copy while others read and write.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <libgen.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "config.h"
#include "meter.h"
#include "print.h"
#include "quipu/verify.h"

struct backup_values {
    bool wants_progress;
    bool is_unverified;
};

/* What is said of a copy was read back from it. */
struct copy_report {
    struct quipu_store_stat stat;
    struct quipu_verify_report verified; /* all zero where nobody asked */
};

static void on_progress(void *ctx, const struct quipu_verify_progress *progress)
{
    if (strcmp(progress->part, "events") == 0) {
        cli_meter(ctx, &(struct cli_metered){.what = "events of the copy verified",
                                             .done = progress->done,
                                             .total = progress->total,
                                             .bytes = progress->block_bytes});
    }
}

static enum quipu_status verify_copy(const struct cli *cli, const struct backup_values *values,
                                     struct quipu_engine *engine,
                                     struct quipu_verify_report *report, struct quipu_error *err)
{
    struct cli_meter meter = {.cli = cli, .is_plain = values->wants_progress};
    struct quipu_verify_options options = QUIPU_VERIFY_OPTIONS_INIT;
    options.progress = on_progress;
    options.ctx = &meter;
    enum quipu_status status = quipu_verify(engine, &options, report, err);
    cli_meter_end(&meter);
    return status;
}

static enum quipu_status look(const struct cli *cli, const struct backup_values *values,
                              const char *path, struct copy_report *out, struct quipu_error *err)
{
    struct quipu_store *store = NULL;
    struct quipu_engine *engine = NULL;
    struct quipu_txn *txn = NULL;
    *out = (struct copy_report){.verified = {0}};
    enum quipu_status status = cli_open_at(path, QUIPU_STORE_OPEN_EXISTING, &store, &engine, err);
    if (status == QUIPU_OK) {
        status = quipu_txn_begin_read(store, &txn, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_txn_stat(txn, &out->stat, err);
    }
    quipu_txn_abort(&txn);
    if (status == QUIPU_OK && !values->is_unverified) {
        status = verify_copy(cli, values, engine, &out->verified, err);
        if (status == QUIPU_CORRUPT) {
            (void)quipu_error_wrap(err, status, "the copy in %s is damaged", path);
        }
    }
    cli_close(&store, &engine);
    return status;
}

static enum quipu_status say(const struct cli *cli, const struct backup_values *values,
                             const char *path, const struct copy_report *report,
                             struct quipu_error *err)
{
    if (!cli->is_json) {
        char events[CLI_COUNTED_BYTES];
        char bytes[CLI_COUNT_BYTES];
        cli_say("%s, %s, in %s%s", cli_counted(report->stat.events, "event", events),
                cli_bytes(report->stat.file_bytes, bytes), path,
                values->is_unverified ? "" : ", verified");
        cli_note(cli,
                 "the signing key is not in a backup: the copy gets a source of its own when it "
                 "is first written to, also where it is put back in the store's place");
        return QUIPU_OK;
    }
    struct cli_json json = {0};
    cli_json_begin(&json);
    cli_json_text(&json, "backup", quipu_slice_text(path));
    cli_json_number(&json, "events", report->stat.events);
    cli_json_number(&json, "file_bytes", report->stat.file_bytes);
    cli_json_bool(&json, "verified", !values->is_unverified);
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

static int back_up_to(struct cli *cli, const struct backup_values *given, const char *path)
{
    struct quipu_error err;
    struct copy_report report;
    enum quipu_status status = check_place(cli, path, &err);
    if (status == QUIPU_INVALID) {
        return cli_fail(cli, status, &err, "choose a folder outside the store");
    }
    if (status == QUIPU_OK) {
        status = quipu_store_backup(cli->store, path, &err);
    }
    if (status == QUIPU_OK) {
        status = look(cli, given, path, &report, &err);
    }
    if (status == QUIPU_OK) {
        status = say(cli, given, path, &report, &err);
    }
    switch ((int)status) {
    case QUIPU_OK:
        return 0;
    case QUIPU_NOT_FOUND:
        return cli_fail(cli, status, &err, CLI_CURE_NO_PARENT);
    case QUIPU_CORRUPT:
        return cli_fail(cli, status, &err, "the store is too, most likely: see `quipu verify`");
    default:
        return cli_fail(cli, status, &err, NULL);
    }
}

static int run(struct cli *cli, const void *values, int argc, char **argv)
{
    if (argc == 0 && cli->config->values.storage.backup_dir == NULL) {
        return cli_usage(cli, "wants DEST where there is no storage.backup_dir");
    }
    int code = cli_open(cli);
    if (code != 0 || argc == 1) {
        return code != 0 ? code : back_up_to(cli, values, argv[0]);
    }
    struct quipu_buf path = QUIPU_BUF_INIT;
    code = cli_config_backup_path(cli, &path);
    if (code == 0) {
        code = back_up_to(cli, values, (const char *)path.data);
    }
    quipu_buf_release(&path);
    return code;
}

static const struct cli_option options[] = {
    {"no-verify", CLI_FLAG, offsetof(struct backup_values, is_unverified), NULL,
     "do not verify the copy"},
    {"progress", CLI_FLAG, offsetof(struct backup_values, wants_progress), NULL,
     "say how far it is, a line a second"},
};

const struct cli_verb cli_verb_backup = {
    .name = "backup",
    .arguments = "[DEST]",
    .summary = "Copy the store into a new or empty folder while it is in use",
    .details =
        "The copy is consistent, compact, synced and then verified. The signing key is not "
        "copied:\n"
        "a store that is restored takes a new source, so that it cannot fork the old one, and all\n"
        "events stay verifiable. Without DEST it gets a name in the folder storage.backup_dir.",
    .example = "quipu backup /media/stick/ceremony.quipu",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .values_bytes = sizeof(struct backup_values),
    .arguments_min = 0,
    .arguments_max = 1,
    .run = run,
};

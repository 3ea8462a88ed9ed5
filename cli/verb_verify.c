/*
 * quipu verify: the full scrub of a store, or the check of a bundle by itself.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "cli.h"
#include "meter.h"
#include "print.h"
#include "quipu/clock.h"
#include "quipu/text.h"
#include "quipu/verify.h"
#include "verify_bundle.h"

/* ------------------------------------------------------------------ a store */

/* The log, its indexes and all tables are in this file of the store's folder. */
#define DATA_FILE "data.mdb"

struct verify_values {
    bool wants_progress;
    bool is_repair;
    struct cli_verify_bundle bundle;
};

struct verify_run {
    const struct cli *cli;
    struct cli_meter meter;
    struct cli_json json;
    /* The first finding. */
    uint64_t position;
    char line[QUIPU_ERROR_MESSAGE_BYTES];
};

static void finding_json(struct cli_json *json, const char *key, uint64_t position,
                         const char *line)
{
    cli_json_object(json, key);
    cli_json_number(json, "position", position);
    cli_json_text(json, "line", quipu_slice_text(line));
    cli_json_text(json, "file", quipu_slice_text(DATA_FILE));
    cli_json_close(json, '}');
}

/* The line names the position already, where there is one. */
static void on_problem(void *ctx, uint64_t position, const char *line)
{
    struct verify_run *run = ctx;
    if (run->line[0] == 0) {
        run->position = position;
        (void)snprintf(run->line, sizeof run->line, "%s", line);
    }
    cli_meter_end(&run->meter);
    if (!run->cli->is_json) {
        (void)fputs(DATA_FILE ": ", stdout);
        cli_put_plain(quipu_slice_text(line));
        (void)putchar('\n');
        return;
    }
    cli_json_begin(&run->json);
    finding_json(&run->json, "problem", position, line);
    (void)cli_json_end(&run->json, NULL); /* without memory the summary still counts the problem */
}

static void on_progress(void *ctx, const struct quipu_verify_progress *progress)
{
    struct verify_run *run = ctx;
    bool is_log = strcmp(progress->part, "events") == 0;
    if (!is_log && strcmp(progress->part, "indexes") != 0) {
        return; /* the tables are looked at in no time */
    }
    struct cli_metered now = {
        .what = is_log ? "events verified" : "events held against the indexes",
        .done = progress->done,
        .total = progress->total,
        .bytes = is_log ? progress->block_bytes : 0,
    };
    cli_meter(&run->meter, &now);
}

static enum quipu_status say_store(struct verify_run *run, const struct quipu_verify_report *report,
                                   int64_t took_us, struct quipu_error *err)
{
    if (!run->cli->is_json) {
        char events[CLI_COUNTED_BYTES];
        char aggregates[CLI_COUNTED_BYTES];
        char sources[CLI_COUNTED_BYTES];
        char bytes[CLI_COUNT_BYTES];
        char problems[CLI_COUNTED_BYTES];
        char took[CLI_COUNT_BYTES];
        (void)printf(
            "%s%s%s: %s, %s, %s, %s hashed again, %s, %s\n",
            cli_paint(run->cli, report->problems == 0 ? CLI_GREEN : CLI_RED),
            report->problems == 0 ? "intact" : "damaged", cli_paint(run->cli, CLI_PLAIN),
            cli_counted(report->events, "event", events),
            cli_counted(report->aggregates, "aggregate", aggregates),
            cli_counted(report->sources, "source", sources), cli_bytes(report->block_bytes, bytes),
            cli_counted(report->problems, "problem", problems), cli_duration(took_us, took));
        return QUIPU_OK;
    }
    cli_json_begin(&run->json);
    cli_json_bool(&run->json, "intact", report->problems == 0);
    cli_json_number(&run->json, "events", report->events);
    cli_json_number(&run->json, "aggregates", report->aggregates);
    cli_json_number(&run->json, "sources", report->sources);
    cli_json_number(&run->json, "block_bytes", report->block_bytes);
    cli_json_number(&run->json, "problems", report->problems);
    cli_json_number(&run->json, "took_us", (uint64_t)took_us);
    if (report->problems == 0) {
        cli_json_null(&run->json, "first");
    } else {
        finding_json(&run->json, "first", run->position, run->line);
    }
    return cli_json_end(&run->json, err);
}

/* What was mended, before the store is verified. */
static enum quipu_status say_repair(const struct cli *cli, const struct quipu_repair_report *store,
                                    const struct quipu_repaired *rows, struct quipu_error *err)
{
    if (!cli->is_json) {
        char events[CLI_COUNTED_BYTES];
        char links[CLI_COUNTED_BYTES];
        char counters[CLI_COUNTED_BYTES];
        char added[CLI_COUNTED_BYTES];
        char removed[CLI_COUNTED_BYTES];
        (void)printf("rebuilt: the indexes of %s; put right: %s, %s of the outbox; numbers of "
                     "sources: %s added, %s removed\n",
                     cli_counted(store->events, "event", events),
                     cli_counted(store->relinked, "link", links),
                     cli_counted(rows->counters, "counter", counters),
                     cli_counted(rows->numbers_added, "row", added),
                     cli_counted(rows->numbers_removed, "row", removed));
        return QUIPU_OK;
    }
    struct cli_json json = {0};
    cli_json_begin(&json);
    cli_json_object(&json, "rebuilt");
    cli_json_number(&json, "events", store->events);
    cli_json_number(&json, "aggregates", store->aggregates);
    cli_json_number(&json, "relinked", store->relinked);
    cli_json_number(&json, "counters", rows->counters);
    cli_json_number(&json, "numbers_added", rows->numbers_added);
    cli_json_number(&json, "numbers_removed", rows->numbers_removed);
    cli_json_number(&json, "bytes_before", store->bytes_before);
    cli_json_number(&json, "bytes_after", store->bytes_after);
    cli_json_close(&json, '}');
    enum quipu_status status = cli_json_end(&json, err);
    cli_json_release(&json);
    return status;
}

/* Rebuild what derives from the log, and leave the store open. Returns 0 or the exit code. */
static int repair_store(struct cli *cli, const struct verify_values *values)
{
    struct cli_meter meter = {.cli = cli, .is_plain = values->wants_progress};
    struct quipu_upkeep_options options = QUIPU_UPKEEP_OPTIONS_INIT;
    options.progress = cli_meter_upkeep;
    options.ctx = &meter;
    struct quipu_repair_report report;
    struct quipu_repaired rows;
    struct quipu_error err = {0};
    enum quipu_status status = quipu_store_repair(cli->store_path, &options, &report, &err);
    cli_meter_end(&meter);
    if (status != QUIPU_OK) {
        return cli_fail(cli, status, &err,
                        status == QUIPU_CORRUPT     ? cli_cure_unless_said(&err, CLI_CURE_DAMAGED)
                        : status == QUIPU_NOT_FOUND ? "name a store with --store DIR"
                                                    : NULL);
    }
    int code = cli_open(cli);
    if (code != 0) {
        return code;
    }
    status = quipu_repair_derived(cli->engine, &rows, &err);
    if (status == QUIPU_OK) {
        status = say_repair(cli, &report, &rows, &err);
    }
    return status == QUIPU_OK
               ? 0
               : cli_fail(cli, status, &err, status == QUIPU_CORRUPT ? CLI_CURE_DAMAGED : NULL);
}

/* Of a log that has an event_id twice, which nothing takes out again. */
#define CURE_REPEATED                                                                              \
    "restore a backup from before the second one, or bring the events before it into a new store " \
    "(`quipu export --until POSITION`, `quipu import`) and append there what came after it"

#define CURE_REBUILD "rebuild what derives from the log with `quipu verify --repair-indexes`"

static const char *cure_of(const struct quipu_verify_report *report)
{
    if (report->mendable == report->problems) {
        return CURE_REBUILD;
    }
    if (report->mendable + report->repeated < report->problems) {
        return CLI_CURE_DAMAGED;
    }
    return report->mendable == 0 ? CURE_REPEATED : CURE_REBUILD ", then " CURE_REPEATED;
}

static int verify_store(struct cli *cli, const struct verify_values *values)
{
    int code = values->is_repair ? repair_store(cli, values) : cli_open(cli);
    if (code != 0) {
        return code;
    }
    struct verify_run run = {.cli = cli, .meter = {.cli = cli, .is_plain = values->wants_progress}};
    struct quipu_verify_options options = QUIPU_VERIFY_OPTIONS_INIT;
    options.problem = on_problem;
    options.progress = on_progress;
    options.ctx = &run;
    struct quipu_verify_report report = {0};
    struct quipu_error err;
    int64_t began_us = cli_now_us();
    enum quipu_status status = quipu_verify(cli->engine, &options, &report, &err);
    cli_meter_end(&run.meter);
    enum quipu_status said = QUIPU_OK;
    if (status == QUIPU_OK || status == QUIPU_CORRUPT) {
        said = say_store(&run, &report, cli_now_us() - began_us, status == QUIPU_OK ? &err : NULL);
    }
    if (status == QUIPU_OK) {
        status = said;
    }
    cli_json_release(&run.json);
    return status == QUIPU_OK
               ? 0
               : cli_fail(cli, status, &err, status == QUIPU_CORRUPT ? cure_of(&report) : NULL);
}

/* ------------------------------------------------------------------ the verb */

static int run(struct cli *cli, const void *values, int argc, char **argv)
{
    const struct verify_values *given = values;
    const struct cli_verify_bundle *bundle = &given->bundle;
    if (argc > 0 && (given->is_repair || given->wants_progress)) {
        return cli_usage(cli, "--%s is for a store, not for a bundle",
                         given->is_repair ? "repair-indexes" : "progress");
    }
    if (argc == 0 && (cli_signers_are_given(&bundle->signers) || bundle->unpack != NULL ||
                      cli_age_is_given(&bundle->age))) {
        return cli_usage(cli, "--trust, --identity, --passphrase, --passphrase-fd and --unpack are "
                              "for a bundle: name its file");
    }
    if (argc > 1 && bundle->unpack != NULL) {
        return cli_usage(cli, "--unpack takes one bundle");
    }
    return argc == 0 ? verify_store(cli, given) : cli_verify_bundles(cli, bundle, argc, argv);
}

static const struct cli_option options[] = {
    {"progress", CLI_FLAG, offsetof(struct verify_values, wants_progress), NULL,
     "say how far it is, a line a second"},
    {"repair-indexes", CLI_FLAG, offsetof(struct verify_values, is_repair), NULL,
     "first rebuild all that derives from the log"},
    CLI_SIGNER_OPTIONS(verify_values, bundle.signers),
    CLI_AGE_OPTIONS(verify_values, bundle.age),
    {"unpack", CLI_TEXT, offsetof(struct verify_values, bundle.unpack), "DIR",
     "of a bundle: write what an auditor checks with stock tools into a new folder"},
};

const struct cli_verb cli_verb_verify = {
    .name = "verify",
    .arguments = "[BUNDLE...]",
    .summary = "Check every byte, chain and index of the store, or bundles by themselves",
    .details =
        "Without an argument: every block of the store is hashed again, every chain, number and\n"
        "index checked; each problem is one line that names file, position and what is wrong.\n"
        "Others may go on appending. --repair-indexes first makes indexes, heads and counters "
        "anew\n"
        "in a new file; nobody else may have the store open then.\n"
        "With bundles: blocks, manifest, signatures, checkpoint and proofs of each, and that each\n"
        "follows the one of its source before it; no store is needed. Exit codes then: 20 "
        "tampered, 21 "
        "truncated,\n"
        "22 a part is missing, 23 gap, 24 fork or rolled back, 25 unsigned, 26 untrusted signer,\n"
        "27 wrong recipient, 28 unknown version, 29 replayed or out of order,\n"
        "30 too few signers, 31 repeated event_id.",
    .example = "quipu verify ceremony.car",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .values_bytes = sizeof(struct verify_values),
    .arguments_max = 999,
    .run = run,
};

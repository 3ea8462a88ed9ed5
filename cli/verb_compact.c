/*
 * quipu compact: the store as small as it can be.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stddef.h>
#include <string.h>

#include "cli.h"
#include "meter.h"
#include "print.h"
#include "quipu/store_upkeep.h"

struct compact_values {
    bool wants_progress;
};

static enum quipu_status say(const struct cli *cli, const struct quipu_compact_report *report,
                             struct quipu_error *err)
{
    if (!cli->is_json) {
        char events[CLI_COUNTED_BYTES];
        char before[CLI_COUNT_BYTES];
        char after[CLI_COUNT_BYTES];
        char runs[CLI_COUNTED_BYTES];
        cli_say("%s: %s, %s before, %s after, %s merged into %u", cli->store_path,
                cli_counted(report->events, "event", events),
                cli_bytes(report->bytes_before, before), cli_bytes(report->bytes_after, after),
                cli_counted(report->runs_before, "run", runs), report->runs_after);
        return QUIPU_OK;
    }
    struct cli_json json = {0};
    cli_json_begin(&json);
    cli_json_text(&json, "store", quipu_slice_text(cli->store_path));
    cli_json_number(&json, "events", report->events);
    cli_json_number(&json, "bytes_before", report->bytes_before);
    cli_json_number(&json, "bytes_after", report->bytes_after);
    cli_json_number(&json, "runs_before", report->runs_before);
    cli_json_number(&json, "runs_after", report->runs_after);
    enum quipu_status status = cli_json_end(&json, err);
    cli_json_release(&json);
    return status;
}

static const char *cure_of(enum quipu_status status)
{
    switch ((int)status) {
    case QUIPU_NOT_FOUND:
        return "make one with `quipu init`, or name one with --store DIR";
    case QUIPU_NO_SPACE:
        return "nothing is lost: free as much as the store takes, and try again";
    case QUIPU_CORRUPT:
        return "list what is damaged with `quipu verify`, which says how to mend it";
    default:
        return NULL;
    }
}

static int run(struct cli *cli, const void *values, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    const struct compact_values *given = values;
    struct cli_meter meter = {.cli = cli, .is_plain = given->wants_progress};
    struct quipu_upkeep_options options = QUIPU_UPKEEP_OPTIONS_INIT;
    options.progress = cli_meter_upkeep;
    options.ctx = &meter;
    struct quipu_compact_report report;
    struct quipu_error err = {0};
    enum quipu_status status = quipu_store_compact(cli->store_path, &options, &report, &err);
    cli_meter_end(&meter);
    if (status == QUIPU_OK) {
        cli_done(cli, report.events, "compacted");
        status = say(cli, &report, &err);
    }
    return status == QUIPU_OK
               ? 0
               : cli_fail(cli, status, &err, cli_cure_unless_said(&err, cure_of(status)));
}

static const struct cli_option options[] = {
    {"progress", CLI_FLAG, offsetof(struct compact_values, wants_progress), NULL,
     "say how far it is, a line a second"},
};

const struct cli_verb cli_verb_compact = {
    .name = "compact",
    .arguments = "",
    .summary = "Make the store's file as small as it can be",
    .details =
        "Merges the indexes, then writes data.mdb anew without free pages, compares it with the "
        "old\n"
        "one and puts it in its place. Nobody else may have the store open; a kill at any moment\n"
        "leaves it good. The disk needs room for a second copy meanwhile.",
    .example = "quipu compact",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .values_bytes = sizeof(struct compact_values),
    .run = run,
};

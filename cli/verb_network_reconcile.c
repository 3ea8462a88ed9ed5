/*
 * quipu reconcile: does the stream hold what this log says is published? Writes nothing, unless
 * --repair lets it send again what is missing.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "config.h"
#include "network.h"
#include "quipu/config_nats.h"

struct reconcile_values {
    struct network_values network;
    bool is_repair;
    bool is_without_payloads;
    bool notes_times;
    const char *dedup;
};

static const char *name_of(enum quipu_difference what)
{
    switch (what) {
    case QUIPU_DIFFERENCE_MISSING:
        return "missing";
    case QUIPU_DIFFERENCE_OTHER:
        return "other";
    case QUIPU_DIFFERENCE_EXTRA:
        return "extra";
    case QUIPU_DIFFERENCE_COPY:
        return "copy";
    case QUIPU_DIFFERENCE_PAYLOAD:
        return "payload";
    case QUIPU_DIFFERENCE_EXPIRED:
        return "expired";
    }
    return "";
}

struct telling {
    struct cli *cli;
    struct cli_progress progress;
};

/* One line each, on stdout: what a script works on. */
static enum quipu_status tell(void *ctx, const struct quipu_difference_seen *difference,
                              struct quipu_error *err)
{
    struct telling *telling = ctx;
    cli_progress_end(&telling->progress);
    if (!telling->cli->is_json) {
        (void)printf("%-8s ", name_of(difference->what));
        cli_put_plain(difference->line);
        (void)putchar('\n');
        return QUIPU_OK;
    }
    struct cli_json json = {0};
    cli_json_begin(&json);
    cli_json_text(&json, "difference", quipu_slice_text(name_of(difference->what)));
    cli_json_number(&json, "position", difference->position);
    cli_json_number(&json, "sequence", difference->sequence);
    cli_json_text(&json, "line", difference->line);
    enum quipu_status status = cli_json_end(&json, err);
    cli_json_release(&json);
    return status;
}

static void show_progress(void *ctx, uint64_t done, uint64_t total)
{
    struct telling *telling = ctx;
    cli_progress(&telling->progress, done, total);
}

static enum quipu_status say_report(const struct cli *cli,
                                    const struct quipu_reconcile_report *report,
                                    struct quipu_error *err)
{
    if (!cli->is_json) {
        char same[CLI_COUNT_BYTES];
        char messages[CLI_COUNTED_BYTES];
        char expired[CLI_COUNT_BYTES + sizeof " expired, "] = "";
        if (report->expired > 0) {
            (void)snprintf(expired, sizeof expired, "%" PRIu64 " expired, ", report->expired);
        }
        (void)printf("%s the same, %" PRIu64 " missing, %" PRIu64 " other, %" PRIu64
                     " copies, %" PRIu64 " payloads, %" PRIu64 " extra, %s%" PRIu64
                     " not published yet; %s looked at\n",
                     cli_count(report->same, same), report->missing, report->other, report->copies,
                     report->payloads, report->extra, expired, report->waiting,
                     cli_counted(report->messages, "message", messages));
        if (report->times > 0) {
            char receipts[CLI_COUNTED_BYTES];
            (void)printf("when their events were stored is noted in %s\n",
                         cli_counted(report->times, "receipt", receipts));
        }
        return QUIPU_OK;
    }
    struct cli_json json = {0};
    cli_json_begin(&json);
    cli_json_number(&json, "events", report->events);
    cli_json_number(&json, "same", report->same);
    cli_json_number(&json, "missing", report->missing);
    cli_json_number(&json, "other", report->other);
    cli_json_number(&json, "copies", report->copies);
    cli_json_number(&json, "payloads", report->payloads);
    cli_json_number(&json, "extra", report->extra);
    cli_json_number(&json, "expired", report->expired);
    cli_json_number(&json, "waiting", report->waiting);
    cli_json_number(&json, "messages", report->messages);
    cli_json_number(&json, "times", report->times);
    cli_json_number(&json, "first_sequence", report->first_sequence);
    cli_json_number(&json, "last_sequence", report->last_sequence);
    enum quipu_status status = cli_json_end(&json, err);
    cli_json_release(&json);
    return status;
}

static enum quipu_status reconcile(struct cli *cli, struct quipu_nats *nats,
                                   const struct reconcile_values *values,
                                   struct quipu_reconcile_report *report, struct quipu_error *err)
{
    struct telling telling = {.cli = cli, .progress = {.cli = cli, .what = "looked at"}};
    struct quipu_reconcile_options options = QUIPU_RECONCILE_OPTIONS_INIT;
    options.payloads = values->is_without_payloads ? QUIPU_PAYLOADS_SKIP : QUIPU_PAYLOADS_CHECK;
    options.notes_times = values->notes_times;
    options.seen = tell;
    options.progress = show_progress;
    options.ctx = &telling;
    memset(report, 0, sizeof *report);
    enum quipu_status status = quipu_reconcile(cli->engine, nats, &options, report, err);
    cli_progress_end(&telling.progress);
    if (status != QUIPU_OK && status != QUIPU_DRIFT) {
        return status;
    }
    struct quipu_error said_err;
    enum quipu_status said = say_report(cli, report, &said_err);
    if (said != QUIPU_OK) {
        *err = said_err;
        return said;
    }
    return status;
}

/* Every event is offered again: what the stream has is recognised, what it lacks is stored. */
static enum quipu_status repair(struct cli *cli, struct quipu_nats *nats,
                                const struct quipu_flush_options *options, struct quipu_error *err)
{
    struct quipu_flush_report report = {0};
    enum quipu_status status = quipu_flush(cli->engine, nats, options, &report, err);
    cli_done(cli, report.published, "published again");
    if (status == QUIPU_OK && !cli->is_json) {
        char events[CLI_COUNTED_BYTES];
        (void)printf("sent again: %s, and the payloads that were missing\n",
                     cli_counted(report.published, "event", events));
    }
    return status;
}

/* What helps against what was found. */
static const char *cure_for(const struct quipu_reconcile_report *report, bool is_repair)
{
    if (report->other > 0 && (is_repair || report->missing + report->payloads == 0)) {
        return "a message in the place of another must be removed from the stream by its operator, "
               "then `quipu reconcile --repair`";
    }
    if (report->missing + report->payloads == 0) {
        return "copies do no harm to readers that go by event_id; the stream's operator can remove "
               "the later ones by their sequences";
    }
    if (report->expired > 0) {
        return "the stream drops old events by its limits, and offering every event again would "
               "store those once more: raise the limits and use `quipu flush --again` if that is "
               "what you want";
    }
    return is_repair ? "it went missing again, or could not be stored: see `quipu deadletter list`"
                     : "send again what is missing with --repair";
}

static int answer(struct cli *cli, const struct quipu_reconcile_report *report, bool is_repair,
                  enum quipu_status status, const struct quipu_error *err)
{
    bool has_found = report->missing + report->other + report->copies + report->payloads > 0;
    if (status != QUIPU_DRIFT || !has_found) {
        return status == QUIPU_OK ? 0 : cli_fail_network(cli, status, err);
    }
    struct quipu_error plain = cli_without_cure(err);
    struct cli_failure failure = {.status = status,
                                  .err = &plain,
                                  .cure = cure_for(report, is_repair),
                                  .code = CLI_EXIT_DAMAGED};
    return cli_fail_with(cli, &failure);
}

static int run_reconcile(struct cli *cli, const void *values, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    const struct reconcile_values *given = values;
    struct quipu_nats *nats = NULL;
    struct quipu_flush_options options = QUIPU_FLUSH_OPTIONS_INIT;
    quipu_config_flush_options(&cli->config->values, &options);
    options.restart = true;
    int code = cli_dedup_option(cli, given->dedup, &options);
    if (code == 0 && given->dedup != NULL && !given->is_repair) {
        code = cli_usage(cli, "--dedup wants --repair too");
    }
    if (code == 0) {
        code = cli_open_and_connect(cli, &given->network, NULL, &nats);
    }
    if (code != 0) {
        return code;
    }
    struct quipu_error err;
    struct quipu_reconcile_report report;
    enum quipu_status status = reconcile(cli, nats, given, &report, &err);
    /* Where the stream drops events by itself, those would be stored once more. */
    if (status == QUIPU_DRIFT && given->is_repair && report.missing + report.payloads > 0 &&
        report.expired == 0) {
        status = repair(cli, nats, &options, &err);
        if (status == QUIPU_OK) {
            status = reconcile(cli, nats, given, &report, &err);
        }
    }
    code = answer(cli, &report, given->is_repair, status, &err);
    quipu_nats_close(&nats);
    return code;
}

static const struct cli_option reconcile_options[] = {
    NETWORK_OPTIONS(reconcile_values, network),
    {"repair", CLI_FLAG, offsetof(struct reconcile_values, is_repair), NULL,
     "offer every event again, so that what is missing is stored; then look again"},
    {"times", CLI_FLAG, offsetof(struct reconcile_values, notes_times), NULL,
     "note in receipts that lack it when the server stored their events"},
    {"no-payloads", CLI_FLAG, offsetof(struct reconcile_values, is_without_payloads), NULL,
     "leave the payloads in the object store unread"},
    {"dedup", CLI_TEXT, offsetof(struct reconcile_values, dedup), "HOW",
     "with --repair, as for flush: subject or window (else nats.dedup)"},
};

const struct cli_verb cli_verb_reconcile = {
    .name = "reconcile",
    .arguments = "",
    .summary = "Prove that log and stream say the same",
    .details =
        "Every event that counts as published is held against the stream byte by byte, with its\n"
        "payload, and every message of the stream against the log. Differences are told by "
        "position "
        "and\n"
        "sequence: missing, other (something else under its id), copy (there twice), payload; the\n"
        "exit code is then 6. What is extra, in the stream and not here, comes with `quipu pull` "
        "and "
        "is\n"
        "no failure. Writes nothing without --repair or --times.",
    .example = "quipu reconcile --repair",
    .is_network = true,
    .options = reconcile_options,
    .option_count = sizeof reconcile_options / sizeof reconcile_options[0],
    .values_bytes = sizeof(struct reconcile_values),
    .run = run_reconcile,
};

/*
 * quipu report: the page about a ceremony that people read, compare and sign by hand; as text, as
 * one HTML file, or as JSON lines. What it says is the library's (quipu/report.h).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "export_bundle.h"
#include "operation_line.h"
#include "print.h"
#include "quipu/report.h"
#include "quipu/trust.h"

struct report_values {
    const char *html;
    struct cli_number after;
    const char *allowed_signers;
};

/* ------------------------------------------------------------------ JSON lines */

static void root(struct cli_json *json, const uint8_t digest[QUIPU_SHA256_BYTES])
{
    struct quipu_slice bytes = quipu_slice(digest, QUIPU_SHA256_BYTES);
    cli_json_hex(json, "root", bytes);
    cli_json_spoken(json, bytes);
}

static void text_or_null(struct cli_json *json, const char *key, const char *text)
{
    if (text[0] == 0) {
        cli_json_null(json, key);
    } else {
        cli_json_text(json, key, quipu_slice_text(text));
    }
}

static void counts(struct cli_json *json, const char *key, const struct quipu_report_table *table,
                   bool has_aggregates)
{
    cli_json_list(json, key);
    for (size_t i = 0; i < table->count; i++) {
        cli_json_item(json);
        cli_json_text(json, "name", table->rows[i].name);
        cli_json_number(json, "count", table->rows[i].count);
        if (has_aggregates) {
            cli_json_number(json, "aggregates", table->rows[i].aggregates);
        }
        cli_json_close(json, '}');
    }
    cli_json_close(json, ']');
}

static void say_log(struct cli_json *json, const struct quipu_report *report)
{
    cli_json_object(json, "log");
    cli_json_number(json, "size", report->log_size);
    root(json, report->log_root);
    cli_json_close(json, '}');
    if (report->bundle == 0) {
        cli_json_null(json, "bundle");
        return;
    }
    cli_json_object(json, "bundle");
    cli_json_number(json, "number", report->bundle);
    cli_json_bool(json, "settled", report->is_bundle_settled);
    cli_json_cid(json, "manifest", &report->bundle_manifest);
    if (report->has_bundle_log) {
        cli_json_number(json, "size", report->bundle_log_size);
        root(json, report->bundle_log_root);
    }
    cli_json_number(json, "not_exported", report->not_exported);
    cli_json_close(json, '}');
}

static void say_forks(struct cli_json *json, const struct quipu_report *report)
{
    cli_json_list(json, "forks");
    for (size_t i = 0; i < report->fork_row_count; i++) {
        const struct quipu_report_fork *fork = &report->fork_rows[i];
        bool is_source = fork->kind == QUIPU_FORK_SOURCE;
        cli_json_item(json);
        cli_json_text(json, "aggregate", fork->aggregate);
        if (is_source) {
            cli_json_text(json, "source", fork->source);
        }
        cli_json_number(json, is_source ? "source_seq" : "version", fork->number);
        cli_json_close(json, '}');
    }
    cli_json_close(json, ']');
}

static void say_signers(struct cli_json *json, const struct quipu_report *report)
{
    cli_json_list(json, "signers");
    for (size_t i = 0; i < report->signer_count; i++) {
        const struct quipu_report_signer *signer = &report->signers[i];
        cli_json_item(json);
        cli_json_text(json, "name", quipu_slice_text(signer->name));
        cli_json_text(json, "principals", signer->principals);
        cli_json_number(json, "count", signer->operations);
        cli_json_close(json, '}');
    }
    cli_json_close(json, ']');
}

static enum quipu_status say_summary(struct cli_json *json, const struct quipu_report *report,
                                     struct quipu_error *err)
{
    cli_json_begin(json);
    cli_json_text(json, "report", quipu_slice_text("ceremony"));
    cli_json_time(json, "printed_at", report->printed_unix_us);
    cli_json_text(json, "tool", quipu_slice_text(report->tool));
    cli_json_uuid(json, "store", report->store);
    cli_json_bool(json, "backup", report->was_backup);
    text_or_null(json, "source", report->source);
    text_or_null(json, "ssh_fingerprint", report->fingerprint);
    cli_json_number(json, "events", report->events);
    cli_json_number(json, "aggregates", report->aggregates);
    if (report->events > 0) {
        cli_json_time(json, "first_at", report->first_occurred_unix_us);
        cli_json_time(json, "last_at", report->last_occurred_unix_us);
    }
    say_log(json, report);
    cli_json_number(json, "published", report->outbox.published);
    cli_json_number(json, "pending", report->outbox.pending);
    cli_json_number(json, "dead", report->outbox.dead);
    cli_json_number(json, "quarantined", report->quarantined);
    cli_json_number(json, "open_forks", report->forks.aggregates_open);
    cli_json_number(json, "used_twice", report->forks.sources);
    say_forks(json, report);
    counts(json, "types", &report->types, false);
    counts(json, "aggregate_types", &report->aggregate_types, true);
    counts(json, "by_aggregate", &report->by_aggregate, false);
    counts(json, "sources", &report->sources, false);
    counts(json, "operators", &report->operators, false);
    say_signers(json, report);
    counts(json, "kinds", &report->kinds, false);
    cli_json_number(json, "after", report->after);
    cli_json_number(json, "operations", report->last_operation - report->after);
    return cli_json_end(json, err);
}

struct rows {
    const struct quipu_report *report;
    struct cli_json json;
};

/* Rows that came behind the summary are another report's. */
static enum quipu_status say_row(void *ctx, const struct quipu_operation *operation,
                                 struct quipu_error *err)
{
    struct rows *rows = ctx;
    if (operation->number > rows->report->last_operation) {
        return QUIPU_DONE;
    }
    cli_json_begin(&rows->json);
    cli_operation_members(&rows->json, operation);
    if (operation->has_sha256) {
        cli_json_spoken(&rows->json, quipu_slice(operation->sha256, sizeof operation->sha256));
    } else {
        cli_json_null(&rows->json, "spoken");
    }
    return cli_json_end(&rows->json, err);
}

static enum quipu_status say_json(const struct cli *cli, const struct quipu_report *report,
                                  struct quipu_error *err)
{
    struct rows rows = {.report = report};
    enum quipu_status status = say_summary(&rows.json, report, err);
    if (status == QUIPU_OK) {
        status = quipu_each_operation(cli->engine, report->after, say_row, &rows, err);
    }
    cli_json_release(&rows.json);
    return status;
}

/* ------------------------------------------------------------------ the page */

static enum quipu_status to_stdout(void *ctx, struct quipu_slice bytes, struct quipu_error *err)
{
    (void)ctx;
    (void)err;
    (void)fwrite(bytes.data, 1, bytes.len, stdout); /* main asks ferror at the end */
    return QUIPU_OK;
}

static enum quipu_status say_saved(const struct cli *cli, const char *path,
                                   const uint8_t digest[QUIPU_SHA256_BYTES],
                                   struct quipu_error *err)
{
    struct quipu_slice sha256 = quipu_slice(digest, QUIPU_SHA256_BYTES);
    if (!cli->is_json) {
        cli_say("report    %s", path);
        cli_say_digest("sha256", sha256);
        return QUIPU_OK;
    }
    struct cli_json json = {0};
    cli_json_begin(&json);
    cli_json_text(&json, "file", quipu_slice_text(path));
    cli_json_hex(&json, "sha256", sha256);
    cli_json_spoken(&json, sha256);
    enum quipu_status status = cli_json_end(&json, err);
    cli_json_release(&json);
    return status;
}

static enum quipu_status show(const struct cli *cli, const struct report_values *values,
                              const struct quipu_report *report, struct quipu_error *err)
{
    uint8_t digest[QUIPU_SHA256_BYTES];
    struct quipu_sink sink = {to_stdout, NULL};
    if (values->html != NULL && strcmp(values->html, "-") != 0) {
        enum quipu_status status =
            quipu_report_save(report, QUIPU_REPORT_HTML, values->html, digest, err);
        return status == QUIPU_OK ? say_saved(cli, values->html, digest, err) : status;
    }
    if (values->html != NULL) {
        return quipu_report_write(report, QUIPU_REPORT_HTML, sink, err);
    }
    return cli->is_json ? say_json(cli, report, err)
                        : quipu_report_write(report, QUIPU_REPORT_TEXT, sink, err);
}

static int run_with(struct cli *cli, const struct report_values *values,
                    const struct quipu_trust *trust)
{
    struct quipu_report_options options = QUIPU_REPORT_OPTIONS_INIT;
    struct quipu_report report = {0};
    struct quipu_error err = {0};
    options.after = values->after.value;
    options.trust = trust;
    int code = cli_open(cli);
    if (code != 0) {
        return code;
    }
    enum quipu_status status = quipu_report_collect(cli->engine, &options, &report, &err);
    if (status == QUIPU_OK) {
        status = show(cli, values, &report, &err);
    }
    quipu_report_release(&report);
    if (status == QUIPU_OK) {
        return 0;
    }
    return cli_fail(cli, status, &err,
                    status == QUIPU_NOT_FOUND ? "make its folder first, or choose another" : NULL);
}

static int run(struct cli *cli, const void *values, int argc, char **argv)
{
    const struct report_values *report_values = values;
    struct quipu_trust *trust = NULL;
    struct quipu_error err = {0};
    (void)argc;
    (void)argv;
    if (report_values->allowed_signers != NULL) {
        enum quipu_status status = quipu_trust_load(report_values->allowed_signers, &trust, &err);
        if (status != QUIPU_OK) {
            return cli_fail(cli, status, &err, "name a file of allowed signers");
        }
    }
    int code = run_with(cli, report_values, trust);
    quipu_trust_free(&trust);
    return code;
}

static const struct cli_option options[] = {
    {"html", CLI_TEXT, offsetof(struct report_values, html), "FILE",
     "write one HTML file that needs nothing else, for screen and paper (- for stdout)"},
    {"after", CLI_NUMBER, offsetof(struct report_values, after), "N",
     "only operations with a number greater than N"},
    {"allowed-signers", CLI_TEXT, offsetof(struct report_values, allowed_signers), "FILE",
     "say whose the keys are that signed, as ssh-keygen's allowed_signers has them"},
};

const struct cli_verb cli_verb_report = {
    .name = "report",
    .arguments = "",
    .summary = "Write the page about a ceremony that people sign by hand",
    .details =
        "Who (source, its SSH fingerprint, operators), each export and import with its digest in\n"
        "hexadecimal and in words, the log's size and root, the last bundle, events by type and\n"
        "aggregate, what is not in order, and lines to sign on. Every block is hashed again; no "
        "key\n"
        "is needed, and nothing is written to the store. Without --html it is text of 80 columns.\n"
        "With --json the first line is the page, each other one an operation.",
    .example = "quipu report --html ceremony.html",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .values_bytes = sizeof(struct report_values),
    .run = run,
};

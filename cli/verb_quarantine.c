/*
 * quipu quarantine: the events of others that could not be taken in: list them, judge them again,
 * forget one. What is shown of them is others' text and never drives the terminal.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "cli.h"
#include "print.h"
#include "quipu/clock.h"
#include "quipu/ingest.h"

struct list_run {
    const struct cli *cli;
    struct cli_json json;
};

static void list_text(const struct quipu_quarantined *event)
{
    char cid[QUIPU_CID_TEXT_BYTES];
    char bytes[CLI_COUNT_BYTES];
    quipu_cid_format(&event->cid, cid);
    (void)printf("%s  ", cid);
    if (event->stream.len > 0) {
        cli_put_plain(event->stream);
        (void)printf(" %" PRIu64 "  ", event->sequence);
    }
    (void)printf("%s  %s: ", cli_bytes(event->envelope.len + event->payload.len, bytes),
                 quipu_status_text(event->reason));
    cli_put_plain(event->line);
    if (event->waits_for.kind == QUIPU_WAITS_FOR_NUMBER) {
        (void)printf(" (waits for number %" PRIu64 ")", event->waits_for.source_seq);
    } else if (event->waits_for.kind == QUIPU_WAITS_FOR_EVENT) {
        quipu_cid_format(&event->waits_for.event, cid);
        (void)printf(" (waits for %s)", cid);
    }
    (void)fputc('\n', stdout);
}

static void waits_json(struct cli_json *json, const struct quipu_waits_for *waits)
{
    if (waits->kind == QUIPU_WAITS_FOR_NOTHING) {
        cli_json_null(json, "waits_for");
        return;
    }
    cli_json_object(json, "waits_for");
    if (waits->kind == QUIPU_WAITS_FOR_EVENT) {
        cli_json_cid(json, "cid", &waits->event);
    } else {
        cli_json_text(json, "source", waits->source);
        cli_json_number(json, "source_seq", waits->source_seq);
    }
    cli_json_close(json, '}');
}

static enum quipu_status list_one(void *ctx, const struct quipu_quarantined *event,
                                  struct quipu_error *err)
{
    struct list_run *run = ctx;
    if (!run->cli->is_json) {
        list_text(event);
        return QUIPU_OK;
    }
    cli_json_begin(&run->json);
    cli_json_cid(&run->json, "cid", &event->cid);
    cli_json_text(&run->json, "reason", quipu_slice_text(quipu_status_name(event->reason)));
    cli_json_text(&run->json, "line", event->line);
    if (event->stream.len == 0) {
        cli_json_null(&run->json, "stream");
        cli_json_null(&run->json, "sequence");
    } else {
        cli_json_text(&run->json, "stream", event->stream);
        cli_json_number(&run->json, "sequence", event->sequence);
    }
    cli_json_number(&run->json, "envelope_bytes", event->envelope.len);
    cli_json_number(&run->json, "payload_bytes", event->payload.len);
    waits_json(&run->json, &event->waits_for);
    cli_json_time(&run->json, "received_at", event->received_unix_us);
    return cli_json_end(&run->json, err);
}

static int list(const struct cli *cli)
{
    struct quipu_error err;
    struct list_run run = {.cli = cli};
    enum quipu_status status = quipu_each_quarantined(cli->engine, list_one, &run, &err);
    cli_json_release(&run.json);
    return status == QUIPU_OK ? 0 : cli_fail(cli, status, &err, NULL);
}

static enum quipu_status say_retry(const struct cli *cli, const struct quipu_ingest_report *report,
                                   struct quipu_error *err)
{
    if (!cli->is_json) {
        char added[CLI_COUNT_BYTES];
        char known[CLI_COUNT_BYTES];
        char refused[CLI_COUNT_BYTES];
        char forks[CLI_COUNT_BYTES];
        (void)printf("%s added (%s of them forks), %s known already, %s refused again\n",
                     cli_count(report->added, added), cli_count(report->forks, forks),
                     cli_count(report->known, known), cli_count(report->quarantined, refused));
        return QUIPU_OK;
    }
    struct cli_json json = {0};
    cli_json_begin(&json);
    cli_json_number(&json, "added", report->added);
    cli_json_number(&json, "forks", report->forks);
    cli_json_number(&json, "known", report->known);
    cli_json_number(&json, "quarantined", report->quarantined);
    enum quipu_status status = cli_json_end(&json, err);
    cli_json_release(&json);
    return status;
}

static int retry(struct cli *cli)
{
    struct quipu_error err;
    struct quipu_ingest_report report = {0};
    enum quipu_status status = quipu_quarantine_retry(cli->engine, &report, &err);
    if (status == QUIPU_OK) {
        cli_done(cli, report.added, "added");
        status = say_retry(cli, &report, &err);
    }
    return status == QUIPU_OK ? 0 : cli_fail(cli, status, &err, NULL);
}

static int drop(const struct cli *cli, const char *name)
{
    struct quipu_error err;
    struct quipu_cid cid;
    enum quipu_status status = quipu_cid_parse(quipu_slice_text(name), &cid, &err);
    if (status != QUIPU_OK) {
        (void)quipu_error_wrap(&err, status, "\"%.80s\"", name);
        return cli_fail(cli, status, &err, "give the CID as `quipu quarantine list` shows it");
    }
    status = quipu_quarantine_drop(cli->engine, &cid, &err);
    if (status == QUIPU_NOT_FOUND) {
        (void)quipu_error_set(&err, status, "%s is not in quarantine", name);
        return cli_fail(cli, status, &err, "`quipu quarantine list` shows what is");
    }
    if (status == QUIPU_OK && !cli->is_json) {
        (void)printf("%s is dropped\n", name);
    } else if (status == QUIPU_OK) {
        struct cli_json json = {0};
        cli_json_begin(&json);
        cli_json_cid(&json, "cid", &cid);
        cli_json_text(&json, "became", quipu_slice_text("dropped"));
        status = cli_json_end(&json, &err);
        cli_json_release(&json);
    }
    return status == QUIPU_OK ? 0 : cli_fail(cli, status, &err, NULL);
}

static int run(struct cli *cli, const void *values, int argc, char **argv)
{
    (void)values;
    const char *what = argc == 0 ? "list" : argv[0];
    bool is_drop = strcmp(what, "drop") == 0;
    bool is_list = strcmp(what, "list") == 0;
    if (!is_drop && !is_list && strcmp(what, "retry") != 0) {
        return cli_usage(cli, "wants list, retry or drop, found \"%s\"", what);
    }
    if (is_drop ? argc != 2 : argc > 1) {
        return cli_usage(cli, is_drop ? "%s wants a CID" : "%s takes no CID", what);
    }
    int code = cli_open(cli);
    if (code != 0) {
        return code;
    }
    if (is_drop) {
        return drop(cli, argv[1]);
    }
    return is_list ? list(cli) : retry(cli);
}

const struct cli_verb cli_verb_quarantine = {
    .name = "quarantine",
    .arguments = "[list|retry|drop CID]",
    .summary = "Events of others that were refused: list, judge again, drop one",
    .details =
        "Each line of the list: the CID, where it came from, its size, and why it was refused. An "
        "event\n"
        "that waits for another one comes in by itself when that one does, and the line names it; "
        "retry\n"
        "judges all of them again, and keeps forks. A dropped one is forgotten here; it comes back "
        "when its carrier brings it again.",
    .example = "quipu quarantine list --json",
    .arguments_min = 0,
    .arguments_max = 2,
    .run = run,
};

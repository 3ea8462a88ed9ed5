/*
 * quipu pull: once, or, with --follow, until it is interrupted.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <signal.h>
#include <string.h>

#include "network.h"

struct pull_values {
    struct network_values network;
    struct cli_number pending;
    const char *log_format;
    bool is_follow;
    int64_t interval_us;
    bool asks_at_once;
};

static void log_pull(const struct quipu_log *log, enum quipu_status status,
                     const struct quipu_pull_report *report, const struct quipu_error *err)
{
    struct quipu_log_field fields[] = {
        quipu_log_number("added", report->events.added),
        quipu_log_number("known", report->events.known),
        quipu_log_number("quarantined", report->events.quarantined),
        quipu_log_number("forks", report->events.forks),
        quipu_log_number("last_sequence", report->last_sequence),
        quipu_log_signed("took_us", report->took_us),
        quipu_log_text("status", quipu_status_name(status)),
        quipu_log_text("line", err == NULL ? "" : err->message),
    };
    size_t count = sizeof fields / sizeof fields[0];
    quipu_log_write(log, err == NULL ? QUIPU_LOG_INFO : QUIPU_LOG_WARN,
                    err == NULL ? "pull.done" : "pull.failed", fields,
                    err == NULL ? count - 2 : count);
}

static enum quipu_status say_pull(const struct cli *cli, const struct quipu_pull_report *report,
                                  struct quipu_error *err)
{
    if (!cli->is_json) {
        char added[CLI_COUNT_BYTES];
        char known[CLI_COUNT_BYTES];
        char quarantined[CLI_COUNT_BYTES];
        char took[CLI_COUNT_BYTES];
        (void)printf("%s added, %s known already, %s in quarantine, stream at %" PRIu64 ", %s\n",
                     cli_count(report->events.added, added), cli_count(report->events.known, known),
                     cli_count(report->events.quarantined, quarantined), report->last_sequence,
                     cli_duration(report->took_us, took));
        return QUIPU_OK;
    }
    struct cli_json json = {0};
    cli_json_begin(&json);
    cli_json_number(&json, "added", report->events.added);
    cli_json_number(&json, "forks", report->events.forks);
    cli_json_number(&json, "known", report->events.known);
    cli_json_number(&json, "quarantined", report->events.quarantined);
    cli_json_number(&json, "last_sequence", report->last_sequence);
    cli_json_number(&json, "took_us", (uint64_t)report->took_us);
    enum quipu_status status = cli_json_end(&json, err);
    cli_json_release(&json);
    return status;
}

/* What this run put into quarantine, by the order of the stream. */
struct aside_run {
    int64_t since_unix_us;
    bool has_first;
    uint64_t sequence; /* of the first one, as are the others */
    enum quipu_status reason;
    char line[QUIPU_ERROR_MESSAGE_BYTES];
};

static enum quipu_status find_first(void *ctx, const struct quipu_quarantined *event,
                                    struct quipu_error *err)
{
    (void)err;
    struct aside_run *run = ctx;
    if (event->received_unix_us < run->since_unix_us || event->stream.len == 0 ||
        (run->has_first && event->sequence >= run->sequence)) {
        return QUIPU_OK;
    }
    run->has_first = true;
    run->sequence = event->sequence;
    run->reason = event->reason;
    cli_copy_reason(run->line, event->line);
    return QUIPU_OK;
}

static int answer_for_quarantine(const struct cli *cli, uint64_t quarantined, int64_t since_unix_us)
{
    if (quarantined == 0) {
        return 0;
    }
    struct quipu_error err;
    struct aside_run run = {.since_unix_us = since_unix_us};
    enum quipu_status status = quipu_each_quarantined(cli->engine, find_first, &run, &err);
    if (status != QUIPU_OK) {
        return cli_fail_network(cli, status, &err);
    }
    char count[CLI_COUNTED_BYTES];
    (void)cli_counted(quarantined, "event", count);
    if (run.has_first) {
        (void)quipu_error_set(&err, run.reason,
                              "%s went to quarantine, the first at sequence %" PRIu64 ": %s", count,
                              run.sequence, run.line);
    } else { /* the clock was set back meanwhile, or another run took it in already */
        (void)quipu_error_set(&err, QUIPU_INVALID, "%s went to quarantine", count);
    }
    struct cli_failure failure = {.status = err.status,
                                  .err = &err,
                                  .cure = "`quipu quarantine list` shows all with their reasons",
                                  .code = CLI_EXIT_ASIDE};
    return cli_fail_with(cli, &failure);
}

static int64_t unix_now_us(void)
{
    struct quipu_clock clock = quipu_clock_system();
    return clock.unix_us(clock.ctx);
}

/* ------------------------------------------------------------------ following */

struct following {
    const struct cli *cli;
    const struct quipu_log *log;
    struct cli_progress progress;
    uint64_t added;
    uint64_t quarantined;
    bool is_said; /* the failure that goes on; said once */
    enum quipu_status trouble;
};

static void show_progress(void *ctx, uint64_t done, uint64_t total)
{
    struct following *following = ctx;
    cli_progress(&following->progress, done, total);
}

static void say_pulled(void *ctx, enum quipu_status status, const struct quipu_pull_report *report,
                       const struct quipu_error *err)
{
    struct following *following = ctx;
    const struct quipu_ingest_report *events = &report->events;
    bool is_new = err != NULL && (!following->is_said || following->trouble != status);
    following->added += events->added;
    following->quarantined += events->quarantined;
    following->is_said = err != NULL;
    following->trouble = status;
    cli_progress_end(&following->progress);
    if (following->log->fd >= 0) {
        log_pull(following->log, status, report, err);
    } else if (is_new) {
        cli_note(following->cli, "%s; trying again", err->message);
    }
    if (events->added + events->known + events->quarantined > 0) {
        struct quipu_error ignored;
        if (say_pull(following->cli, report, &ignored) == QUIPU_OK) {
            (void)fflush(stdout); /* main asks ferror at the end */
        }
    }
}

/* For the signal handler. */
static struct quipu_puller *followed;

static void stop(int number)
{
    (void)number;
    quipu_puller_stop(followed);
}

static void set_handler(void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

static enum quipu_status follow(struct cli *cli, struct quipu_nats *nats,
                                const struct pull_values *values, struct following *following,
                                struct quipu_error *err)
{
    struct quipu_puller_options options = QUIPU_PULLER_OPTIONS_INIT;
    options.pull.progress = following->log->fd < 0 ? show_progress : NULL;
    options.pull.ctx = following;
    options.pull.pending_events_max = values->pending.value;
    options.interval_us = values->interval_us;
    options.after = say_pulled;
    enum quipu_status status = quipu_puller_open(cli->engine, nats, &options, &followed, err);
    if (status == QUIPU_OK) {
        set_handler(stop);
        status = quipu_puller_run(followed, err);
        set_handler(SIG_DFL);
        quipu_puller_close(&followed);
    }
    return status;
}

static enum quipu_status pull_once(struct cli *cli, struct quipu_nats *nats,
                                   const struct pull_values *values, struct following *following,
                                   struct quipu_error *err)
{
    struct quipu_pull_options options = QUIPU_PULL_OPTIONS_INIT;
    struct quipu_pull_report report = {.last_sequence = 0};
    options.progress = following->log->fd < 0 ? show_progress : NULL;
    options.ctx = following;
    options.pending_events_max = values->pending.value;
    options.asks_at_once = values->asks_at_once;
    enum quipu_status status = quipu_pull(cli->engine, nats, &options, &report, err);
    cli_progress_end(&following->progress);
    following->added = report.events.added;
    following->quarantined = report.events.quarantined;
    if (status == QUIPU_OK) {
        log_pull(following->log, status, &report, NULL);
        status = say_pull(cli, &report, err);
    }
    return status;
}

static int run_pull(struct cli *cli, const void *values, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    const struct pull_values *pull = values;
    struct quipu_nats *nats = NULL;
    struct quipu_log log;
    struct quipu_error err;
    if (pull->interval_us != 0 && !pull->is_follow) {
        return cli_usage(cli, "--interval wants --follow too");
    }
    if (pull->asks_at_once && pull->is_follow) {
        return cli_usage(cli, "--missing is for one pull, without --follow");
    }
    int code = cli_log_open(cli, pull->log_format, &log);
    if (code == 0) {
        code = cli_open_and_connect(cli, &pull->network, &log, &nats);
    }
    if (code != 0) {
        return code;
    }
    struct following following = {
        .cli = cli, .log = &log, .progress = {.cli = cli, .what = "messages pulled"}};
    int64_t began_unix_us = unix_now_us();
    enum quipu_status status = pull->is_follow ? follow(cli, nats, pull, &following, &err)
                                               : pull_once(cli, nats, pull, &following, &err);
    cli_done(cli, following.added, "added");
    code = status == QUIPU_OK ? answer_for_quarantine(cli, following.quarantined, began_unix_us)
                              : cli_fail_network(cli, status, &err);
    quipu_nats_close(&nats);
    return code;
}

static const struct cli_option pull_options[] = {
    NETWORK_OPTIONS(pull_values, network),
    {"pending", CLI_NUMBER, offsetof(struct pull_values, pending), "N",
     "events that may wait in quarantine for others (100,000)"},
    {"log-format", CLI_TEXT, offsetof(struct pull_values, log_format), "FORMAT",
     "lines about the run on stderr, in the place of progress: text or json"},
    {"missing", CLI_FLAG, offsetof(struct pull_values, asks_at_once), NULL,
     "ask now for every payload that is missing; else each after a pause that grows"},
    {"follow", CLI_FLAG, offsetof(struct pull_values, is_follow), NULL,
     "go on: pull what others publish, until interrupted"},
    {"interval", CLI_DURATION, offsetof(struct pull_values, interval_us), "DURATION",
     "with --follow: how long to wait between two pulls (5s)"},
};

const struct cli_verb cli_verb_pull = {
    .name = "pull",
    .arguments = "",
    .summary = "Bring in what others published",
    .details = "Each message and its payload are verified before they are taken in; what cannot be "
               "taken goes\n"
               "to quarantine and is never lost silently; then the exit code is 9. Own events come "
               "back as\n"
               "known. Forks are kept (`quipu forks`). With --follow it goes on until it is "
               "interrupted; a\n"
               "server that is away is waited for.",
    .example = "quipu pull --server nats://127.0.0.1:4222",
    .is_network = true,
    .options = pull_options,
    .option_count = sizeof pull_options / sizeof pull_options[0],
    .values_bytes = sizeof(struct pull_values),
    .run = run_pull,
};

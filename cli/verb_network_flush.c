/*
 * quipu flush: once, or, with --watch, until it is interrupted.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <signal.h>
#include <string.h>

#include "config.h"
#include "network.h"
#include "quipu/config_nats.h"

struct flush_values {
    struct network_values network;
    struct cli_number window;
    bool again;
    bool is_watch;
    int64_t interval_us;
    const char *dedup;
    const char *log_format;
};

static uint64_t rate_of(const struct quipu_flush_report *report)
{
    uint64_t settled = report->published + report->duplicates;
    return report->took_us <= 0 ? 0 : settled * 1000000 / (uint64_t)report->took_us;
}

static enum quipu_status say_flush(const struct cli *cli, const struct quipu_flush_report *report,
                                   int64_t took_us, struct quipu_error *err)
{
    if (!cli->is_json) {
        char published[CLI_COUNT_BYTES];
        char duplicates[CLI_COUNT_BYTES];
        char dead[CLI_COUNT_BYTES];
        char took[CLI_COUNT_BYTES];
        char ahead[CLI_COUNTED_BYTES];
        (void)printf("%s published, %s there already, %s dead letter%s, %s\n",
                     cli_count(report->published, published),
                     cli_count(report->duplicates, duplicates), cli_count(report->dead, dead),
                     report->dead == 1 ? "" : "s", cli_duration(took_us, took));
        if (report->ahead > 0) {
            (void)printf("%s in the stream before one that is a dead letter now; readers wait for "
                         "it\n",
                         cli_counted(report->ahead, "event", ahead));
        }
        return QUIPU_OK;
    }
    struct cli_json json = {0};
    cli_json_begin(&json);
    cli_json_number(&json, "published", report->published);
    cli_json_number(&json, "duplicates", report->duplicates);
    cli_json_number(&json, "dead", report->dead);
    cli_json_number(&json, "pending", report->pending);
    cli_json_number(&json, "payloads_stored", report->payloads_stored);
    cli_json_number(&json, "payload_bytes", report->payload_bytes);
    cli_json_number(&json, "ahead", report->ahead);
    cli_json_number(&json, "resent", report->resent);
    cli_json_number(&json, "reconnects", report->reconnects);
    cli_json_number(&json, "events_per_second", rate_of(report));
    cli_json_number(&json, "took_us", (uint64_t)took_us);
    enum quipu_status status = cli_json_end(&json, err);
    cli_json_release(&json);
    return status;
}

static void log_flush(const struct quipu_log *log, enum quipu_status status,
                      const struct quipu_flush_report *report, const struct quipu_error *err)
{
    struct quipu_log_field fields[] = {
        quipu_log_number("published", report->published),
        quipu_log_number("duplicates", report->duplicates),
        quipu_log_number("dead", report->dead),
        quipu_log_number("pending", report->pending),
        quipu_log_number("resent", report->resent),
        quipu_log_number("reconnects", report->reconnects),
        quipu_log_number("events_per_second", rate_of(report)),
        quipu_log_signed("took_us", report->took_us),
        quipu_log_text("status", quipu_status_name(status)),
        quipu_log_text("line", err == NULL ? "" : err->message),
    };
    size_t count = sizeof fields / sizeof fields[0];
    quipu_log_write(log, err == NULL ? QUIPU_LOG_INFO : QUIPU_LOG_WARN,
                    err == NULL ? "flush.done" : "flush.failed", fields,
                    err == NULL ? count - 2 : count);
}

/* The dead letters that a person has not decided on: each holds back what follows it. */
struct dead_run {
    uint64_t count;
    uint64_t position; /* of the first one, as are the others */
    enum quipu_status reason;
    char line[QUIPU_ERROR_MESSAGE_BYTES];
};

static enum quipu_status count_dead(void *ctx, const struct quipu_dead_letter *letter,
                                    struct quipu_error *err)
{
    (void)err;
    struct dead_run *run = ctx;
    if (letter->is_dropped) {
        return QUIPU_OK;
    }
    if (run->count++ == 0) {
        run->position = letter->position;
        run->reason = letter->reason;
        cli_copy_reason(run->line, letter->line);
    }
    return QUIPU_OK;
}

/* Nothing went wrong, and yet not everything is published: a script must see it. */
static int answer_for_dead(const struct cli *cli)
{
    struct quipu_error err;
    struct dead_run run = {0};
    enum quipu_status status = quipu_each_dead_letter(cli->engine, count_dead, &run, &err);
    if (status != QUIPU_OK) {
        return cli_fail_network(cli, status, &err);
    }
    if (run.count == 0) {
        return 0;
    }
    char count[CLI_COUNTED_BYTES];
    (void)quipu_error_set(&err, run.reason, "%s, the first at position %" PRIu64 ": %s",
                          cli_counted(run.count, "dead letter", count), run.position, run.line);
    struct cli_failure failure = {.status = run.reason,
                                  .err = &err,
                                  .cure = "`quipu deadletter list` shows all; then retry or drop",
                                  .code = CLI_EXIT_ASIDE};
    return cli_fail_with(cli, &failure);
}

/* ------------------------------------------------------------------ the live line */

struct watching {
    struct cli *cli;
    const struct quipu_log *log;
    bool is_shown;
    int64_t shown_us;
    uint64_t published; /* by flushes that have ended */
    uint64_t duplicates;
    uint64_t dead;
    bool is_said; /* the failure that goes on; said once */
    enum quipu_status trouble;
};

#define LIVE_EVERY_US 100000

static void wipe_line(struct watching *watching)
{
    if (watching->is_shown) {
        (void)fputs("\r\x1b[K", stderr);
        (void)fflush(stderr);
        watching->is_shown = false;
    }
}

static void show_live(void *ctx, const struct quipu_flush_live *live)
{
    struct watching *watching = ctx;
    int64_t now_us = cli_now_us();
    if (!watching->cli->has_progress || watching->log->fd >= 0 ||
        now_us - watching->shown_us < LIVE_EVERY_US) {
        return;
    }
    char pending[CLI_COUNT_BYTES];
    char rate[CLI_COUNT_BYTES];
    char acked[CLI_COUNT_BYTES];
    char there[CLI_COUNT_BYTES];
    char dead[CLI_COUNT_BYTES];
    uint64_t duplicates = watching->duplicates + live->duplicates;
    watching->shown_us = now_us;
    watching->is_shown = true;
    (void)fprintf(stderr,
                  "\r%s%s pending, %s/s, %" PRIu32 " in flight, %s acked, %s duplicates, %s "
                  "dead\x1b[K",
                  live->is_reconnecting ? "reconnecting: " : "", cli_count(live->pending, pending),
                  cli_count(live->events_per_second, rate), live->in_flight,
                  cli_count(watching->published + live->published + duplicates, acked),
                  cli_count(duplicates, there), cli_count(watching->dead + live->dead, dead));
    (void)fflush(stderr);
}

static void say_flushed(void *ctx, enum quipu_status status,
                        const struct quipu_flush_report *report, const struct quipu_error *err)
{
    struct watching *watching = ctx;
    uint64_t settled = report->published + report->duplicates + report->dead;
    watching->published += report->published;
    watching->duplicates += report->duplicates;
    watching->dead += report->dead;
    wipe_line(watching);
    bool is_new = err != NULL && (!watching->is_said || watching->trouble != status);
    if (watching->log->fd >= 0) {
        log_flush(watching->log, status, report, err);
    } else if (is_new) {
        cli_note(watching->cli, "%s; trying again", err->message);
    }
    watching->is_said = err != NULL;
    watching->trouble = status;
    if (settled > 0) {
        struct quipu_error ignored;
        if (say_flush(watching->cli, report, report->took_us, &ignored) == QUIPU_OK) {
            (void)fflush(stdout); /* main asks ferror at the end */
        }
    }
}

/* ------------------------------------------------------------------ running */

/* For the signal handler. */
static struct quipu_flusher *watched;

static void stop(int number)
{
    (void)number;
    quipu_flusher_stop(watched);
}

static int watch(struct cli *cli, struct quipu_nats *nats, const struct flush_values *values,
                 const struct quipu_flush_options *options, const struct quipu_log *log)
{
    struct quipu_error err;
    struct watching watching = {.cli = cli, .log = log};
    int64_t interval_us = values->interval_us;
    struct quipu_flusher_options known;
    quipu_config_flusher_options(&cli->config->values, &known);
    known.flush = *options;
    known.flush.progress = NULL;
    known.flush.live = show_live;
    known.flush.ctx = &watching;
    known.interval_us = interval_us != 0 ? interval_us : known.interval_us;
    known.after = say_flushed;
    enum quipu_status status = quipu_flusher_open(cli->engine, nats, &known, &watched, &err);
    if (status == QUIPU_OK) {
        struct sigaction action = {.sa_handler = stop};
        (void)sigemptyset(&action.sa_mask);
        (void)sigaction(SIGINT, &action, NULL);
        (void)sigaction(SIGTERM, &action, NULL);
        status = quipu_flusher_run(watched, &err);
        action.sa_handler = SIG_DFL;
        (void)sigaction(SIGINT, &action, NULL);
        (void)sigaction(SIGTERM, &action, NULL);
        quipu_flusher_close(&watched);
    }
    wipe_line(&watching);
    cli_done(cli, watching.published, "published");
    return status == QUIPU_OK ? answer_for_dead(cli) : cli_fail_network(cli, status, &err);
}

static int flush_once(struct cli *cli, struct quipu_nats *nats,
                      const struct quipu_flush_options *given, const struct quipu_log *log)
{
    struct cli_progress progress = {.cli = cli, .what = "events published"};
    struct quipu_error err;
    struct quipu_flush_options options = *given;
    options.progress = log->fd < 0 ? cli_progress : NULL; /* one or the other on stderr */
    options.ctx = &progress;
    struct quipu_flush_report report = {0};
    int64_t began_us = cli_now_us();
    enum quipu_status status = quipu_flush(cli->engine, nats, &options, &report, &err);
    cli_progress_end(&progress);
    cli_done(cli, report.published, "published");
    if (status == QUIPU_OK) {
        log_flush(log, status, &report, NULL);
        status = say_flush(cli, &report, cli_now_us() - began_us, &err);
    }
    return status == QUIPU_OK ? answer_for_dead(cli) : cli_fail_network(cli, status, &err);
}

int cli_dedup_option(const struct cli *cli, const char *given, struct quipu_flush_options *options)
{
    if (given == NULL) {
        return 0; /* as the settings say */
    }
    if (strcmp(given, "subject") == 0) {
        options->dedup = QUIPU_DEDUP_SUBJECT;
    } else if (strcmp(given, "window") == 0) {
        options->dedup = QUIPU_DEDUP_WINDOW;
    } else {
        return cli_usage(cli, "--dedup wants subject or window, found %s", given);
    }
    return 0;
}

static int check_values(const struct cli *cli, const struct flush_values *flush,
                        struct quipu_flush_options *options)
{
    if (flush->window.is_set && (flush->window.value < 1 || flush->window.value > 65536)) {
        return cli_usage(cli, "--window wants 1 to 65536, found %" PRIu64, flush->window.value);
    }
    if (flush->interval_us != 0 && !flush->is_watch) {
        return cli_usage(cli, "--interval wants --watch too");
    }
    quipu_config_flush_options(&cli->config->values, options);
    options->window = (uint32_t)flush->window.value;
    options->restart = flush->again;
    return cli_dedup_option(cli, flush->dedup, options);
}

static int run_flush(struct cli *cli, const void *values, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    const struct flush_values *flush = values;
    struct quipu_flush_options options = QUIPU_FLUSH_OPTIONS_INIT;
    struct quipu_nats *nats = NULL;
    struct quipu_log log;
    int code = check_values(cli, flush, &options);
    if (code == 0) {
        code = cli_log_open(cli, flush->log_format, &log);
    }
    if (code == 0) {
        code = cli_open_and_connect(cli, &flush->network, &log, &nats);
    }
    if (code != 0) {
        return code;
    }
    code = flush->is_watch ? watch(cli, nats, flush, &options, &log)
                           : flush_once(cli, nats, &options, &log);
    quipu_nats_close(&nats);
    return code;
}

static const struct cli_option flush_options[] = {
    NETWORK_OPTIONS(flush_values, network),
    {"window", CLI_NUMBER, offsetof(struct flush_values, window), "N", "events in flight (512)"},
    {"again", CLI_FLAG, offsetof(struct flush_values, again), NULL,
     "forget what other streams said, offer every event to this one"},
    {"watch", CLI_FLAG, offsetof(struct flush_values, is_watch), NULL,
     "go on: flush what is appended, when it is, until interrupted"},
    {"interval", CLI_DURATION, offsetof(struct flush_values, interval_us), "DURATION",
     "with --watch: flush at least this often (else nats.flush_interval_secs, else 60s)"},
    {"dedup", CLI_TEXT, offsetof(struct flush_values, dedup), "HOW",
     "subject: the server expects nothing there; window: it is asked first (else nats.dedup)"},
    {"log-format", CLI_TEXT, offsetof(struct flush_values, log_format), "FORMAT",
     "lines about the run on stderr, in the place of progress: text or json"},
};

const struct cli_verb cli_verb_flush = {
    .name = "flush",
    .arguments = "",
    .summary = "Publish what is pending, each event exactly once",
    .details =
        "Per event its payload to the object store, then its envelope to the stream, then its "
        "receipt\n"
        "into the store. A broken flush is simply run again: what the server has already is\n"
        "recognised, however long ago it got it. Another stream, or one that was made anew, gets "
        "all\n"
        "events with --again; without it such a flush is refused. While dead letters hold back "
        "what\n"
        "follows them, the exit code is 9. With --watch it goes on until it is interrupted: "
        "events\n"
        "of any process are published as they are appended, and a server that is away is waited "
        "for;\n"
        "on a terminal one line shows what is pending, the rate, what is in flight, acknowledged, "
        "there\n"
        "already and dead.",
    .example = "quipu flush --server nats://127.0.0.1:4222",
    .is_network = true,
    .options = flush_options,
    .option_count = sizeof flush_options / sizeof flush_options[0],
    .values_bytes = sizeof(struct flush_values),
    .run = run_flush,
};

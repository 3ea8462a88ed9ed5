/*
 * quipu provision and pull. A build without the network has verb_network_none.c in this file's
 * place.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "config.h"
#include "network.h"
#include "quipu/config_nats.h"

const bool cli_has_network = true;

/* ------------------------------------------------------------------ provision */

struct provision_values {
    struct network_values network;
    int64_t duplicates_us;
    struct cli_number replicas;
};

static void say_provision(const struct quipu_nats_options *names,
                          const struct quipu_provision_report *report)
{
    char messages[CLI_COUNTED_BYTES];
    (void)printf("stream %s: %s, %s\nbucket %s: %s\n", names->stream,
                 report->stream_created ? "made" : "was there",
                 cli_counted(report->stream_messages, "message", messages), names->bucket,
                 report->bucket_created ? "made" : "was there");
    if (report->drift.len > 0) {
        (void)printf("otherwise than quipu would have made them:\n%.*s",
                     QUIPU_SLICE_FMT(quipu_buf_slice(&report->drift)));
    }
}

static enum quipu_status say_provision_json(const struct quipu_nats_options *names,
                                            const struct quipu_provision_report *report,
                                            struct quipu_error *err)
{
    struct cli_json json = {0};
    cli_json_begin(&json);
    cli_json_text(&json, "stream", quipu_slice_text(names->stream));
    cli_json_text(&json, "bucket", quipu_slice_text(names->bucket));
    cli_json_bool(&json, "stream_created", report->stream_created);
    cli_json_bool(&json, "bucket_created", report->bucket_created);
    cli_json_number(&json, "stream_messages", report->stream_messages);
    cli_json_text(&json, "drift", quipu_buf_slice(&report->drift));
    enum quipu_status status = cli_json_end(&json, err);
    cli_json_release(&json);
    return status;
}

static int run_provision(struct cli *cli, const void *values, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    const struct provision_values *provision = values;
    if (provision->replicas.is_set &&
        (provision->replicas.value < 1 || provision->replicas.value > 5)) {
        return cli_usage(cli, "--replicas wants 1 to 5, found %" PRIu64, provision->replicas.value);
    }
    struct quipu_nats *nats = NULL;
    int code = cli_connect(cli, &provision->network, NULL, &nats);
    if (code != 0) {
        return code;
    }
    struct quipu_error err;
    struct quipu_error say_err;
    struct quipu_nats_options names;
    struct quipu_provision_options options;
    cli_network_options(cli, &provision->network, &names);
    quipu_config_provision_options(&cli->config->values, &options);
    if (provision->duplicates_us != 0) {
        options.duplicate_window_us = provision->duplicates_us;
    }
    if (provision->replicas.is_set) {
        options.replicas = (uint32_t)provision->replicas.value;
    }
    struct quipu_provision_report report = {0};
    enum quipu_status status = quipu_provision(nats, &options, &report, &err);
    if (status == QUIPU_OK || status == QUIPU_DRIFT) {
        if (!cli->is_json) {
            say_provision(&names, &report);
        } else {
            enum quipu_status said = say_provision_json(&names, &report, &say_err);
            if (said != QUIPU_OK && status == QUIPU_OK) {
                status = said;
                err = say_err;
            }
        }
    }
    code = status == QUIPU_OK ? 0 : cli_fail_network(cli, status, &err);
    quipu_buf_release(&report.drift);
    quipu_nats_close(&nats);
    return code;
}

static const struct cli_option provision_options[] = {
    NETWORK_OPTIONS(provision_values, network),
    {"duplicates", CLI_DURATION, offsetof(struct provision_values, duplicates_us), "DURATION",
     "the stream's duplicate window (else nats.jetstream.duplicate_window, else 2m)"},
    {"replicas", CLI_NUMBER, offsetof(struct provision_values, replicas), "N",
     "copies in a cluster (else nats.jetstream.replicas, else 1)"},
};

const struct cli_verb cli_verb_provision = {
    .name = "provision",
    .arguments = "",
    .summary = "Make the stream and the bucket where they are missing",
    .details =
        "What is there is not changed: where it is configured otherwise, the differences are "
        "listed\n"
        "and the exit code is 8. Nothing expires unless the server is told so by other means. No\n"
        "store is needed.",
    .example = "quipu provision --server nats://127.0.0.1:4222",
    .is_network = true,
    .options = provision_options,
    .option_count = sizeof provision_options / sizeof provision_options[0],
    .values_bytes = sizeof(struct provision_values),
    .run = run_provision,
};

/* ------------------------------------------------------------------ pull */

struct pull_values {
    struct network_values network;
    struct cli_number pending;
    const char *log_format;
};

static void log_pull(const struct quipu_log *log, const struct quipu_pull_report *report,
                     int64_t took_us)
{
    struct quipu_log_field fields[] = {
        quipu_log_number("added", report->events.added),
        quipu_log_number("known", report->events.known),
        quipu_log_number("quarantined", report->events.quarantined),
        quipu_log_number("forks", report->events.forks),
        quipu_log_number("last_sequence", report->last_sequence),
        quipu_log_signed("took_us", took_us),
    };
    quipu_log_write(log, QUIPU_LOG_INFO, "pull.done", fields, sizeof fields / sizeof fields[0]);
}

static enum quipu_status say_pull(const struct cli *cli, const struct quipu_pull_report *report,
                                  int64_t took_us, struct quipu_error *err)
{
    if (!cli->is_json) {
        char added[CLI_COUNT_BYTES];
        char known[CLI_COUNT_BYTES];
        char quarantined[CLI_COUNT_BYTES];
        char took[CLI_COUNT_BYTES];
        (void)printf("%s added, %s known already, %s in quarantine, stream at %" PRIu64 ", %s\n",
                     cli_count(report->events.added, added), cli_count(report->events.known, known),
                     cli_count(report->events.quarantined, quarantined), report->last_sequence,
                     cli_duration(took_us, took));
        return QUIPU_OK;
    }
    struct cli_json json = {0};
    cli_json_begin(&json);
    cli_json_number(&json, "added", report->events.added);
    cli_json_number(&json, "forks", report->events.forks);
    cli_json_number(&json, "known", report->events.known);
    cli_json_number(&json, "quarantined", report->events.quarantined);
    cli_json_number(&json, "last_sequence", report->last_sequence);
    cli_json_number(&json, "took_us", (uint64_t)took_us);
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

static int run_pull(struct cli *cli, const void *values, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    const struct pull_values *pull = values;
    struct quipu_nats *nats = NULL;
    struct quipu_log log;
    int code = cli_log_open(cli, pull->log_format, &log);
    if (code == 0) {
        code = cli_open_and_connect(cli, &pull->network, &log, &nats);
    }
    if (code != 0) {
        return code;
    }
    struct cli_progress progress = {.cli = cli, .what = "messages pulled"};
    struct quipu_error err;
    struct quipu_pull_options options = {.size = sizeof options};
    options.progress = log.fd < 0 ? cli_progress : NULL; /* one or the other on stderr */
    options.ctx = &progress;
    options.pending_events_max = pull->pending.is_set ? pull->pending.value : 0;
    struct quipu_pull_report report = {0};
    int64_t began_us = cli_now_us();
    int64_t began_unix_us = unix_now_us();
    enum quipu_status status = quipu_pull(cli->engine, nats, &options, &report, &err);
    cli_progress_end(&progress);
    cli_done(cli, report.events.added, "added");
    if (status == QUIPU_OK) {
        int64_t took_us = cli_now_us() - began_us;
        log_pull(&log, &report, took_us);
        status = say_pull(cli, &report, took_us, &err);
    }
    code = status == QUIPU_OK ? answer_for_quarantine(cli, report.events.quarantined, began_unix_us)
                              : cli_fail_network(cli, status, &err);
    quipu_nats_close(&nats);
    return code;
}

static const struct cli_option pull_options[] = {
    NETWORK_OPTIONS(pull_values, network),
    {"pending", CLI_NUMBER, offsetof(struct pull_values, pending), "N",
     "events that may wait in quarantine for others (100,000)"},
    {"log-format", CLI_TEXT, offsetof(struct pull_values, log_format), "FORMAT",
     "lines about the run on stderr: text or json"},
};

const struct cli_verb cli_verb_pull = {
    .name = "pull",
    .arguments = "",
    .summary = "Bring in what others published",
    .details = "Each message and its payload are verified before they are taken in; what cannot be "
               "taken goes\n"
               "to quarantine and is never lost silently; then the exit code is 9. Own events come "
               "back as\n"
               "known. Forks are kept (`quipu forks`).",
    .example = "quipu pull --server nats://127.0.0.1:4222",
    .is_network = true,
    .options = pull_options,
    .option_count = sizeof pull_options / sizeof pull_options[0],
    .values_bytes = sizeof(struct pull_values),
    .run = run_pull,
};

/*
 * quipu log: history, oldest first, one event a line; with --follow it goes on as events come in.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#include "cli.h"
#include "print.h"
#include "quipu/event_json.h"

/* How long --follow rests before it looks again; a look at an unchanged store costs microseconds.
 */
#define FOLLOW_EVERY_MS 100

struct log_values {
    struct cli_selection selection;
    struct cli_number limit;
    struct quipu_uuid correlation;
    bool is_reverse;
    bool is_follow;
};

struct log_run {
    const struct cli *cli;
    struct quipu_buf line;
    uint64_t shown;
    uint64_t last; /* position of the event shown last */
};

static volatile sig_atomic_t is_stopped;

static void stop(int number)
{
    (void)number;
    is_stopped = 1;
}

static enum quipu_status show_json(struct log_run *run, const struct quipu_event_view *event,
                                   struct quipu_error *err)
{
    quipu_buf_reset(&run->line);
    enum quipu_status status = quipu_event_to_json(event, &run->line, err);
    if (status != QUIPU_OK) {
        return status;
    }
    quipu_buf_append_byte(&run->line, '\n');
    if (run->line.status != QUIPU_OK) {
        return quipu_error_set(err, run->line.status, "a line of the log: %s",
                               quipu_status_text(run->line.status));
    }
    (void)fwrite(run->line.data, 1, run->line.len, stdout); /* main asks ferror at the end */
    return QUIPU_OK;
}

static void show_text(const struct log_run *run, const struct quipu_event_view *event)
{
    const struct cli *cli = run->cli;
    const struct quipu_envelope *envelope = &event->envelope;
    char time[QUIPU_RFC3339_BYTES];
    char cid[QUIPU_CID_TEXT_BYTES];
    quipu_rfc3339_format(envelope->occurred_unix_us, time);
    quipu_cid_format(&event->cid, cid);
    /* The ends tell CIDs apart: all of ours begin alike. A source is known by its beginning. */
    const char *cid_end = cid + strlen(cid) - 8;
    int source_len = envelope->source.len < 7 ? (int)envelope->source.len : 7;
    (void)printf("%s%8" PRIu64 "%s  %-27s  %s%-28.*s%s v%-5" PRIu64 " %.*s/%.*s  %s…%s %.*s…%s\n",
                 cli_paint(cli, CLI_DIM), event->position, cli_paint(cli, CLI_PLAIN), time,
                 cli_paint(cli, CLI_BOLD), QUIPU_SLICE_FMT(envelope->event_type),
                 cli_paint(cli, CLI_PLAIN), envelope->version,
                 QUIPU_SLICE_FMT(envelope->aggregate_type), QUIPU_SLICE_FMT(envelope->aggregate_id),
                 cli_paint(cli, CLI_DIM), cid_end, source_len, (const char *)envelope->source.data,
                 cli_paint(cli, CLI_PLAIN));
}

static enum quipu_status show(void *ctx, const struct quipu_event_view *event,
                              struct quipu_error *err)
{
    struct log_run *run = ctx;
    if (is_stopped) {
        return QUIPU_DONE;
    }
    run->last = event->position;
    run->shown++;
    if (run->cli->is_json) {
        return show_json(run, event, err);
    }
    show_text(run, event);
    return QUIPU_OK;
}

static enum quipu_status follow(struct log_run *run, struct quipu_filter *filter,
                                struct quipu_error *err)
{
    struct sigaction action = {.sa_handler = stop};
    (void)sigaction(SIGINT, &action, NULL);  /* a valid signal and handler: cannot fail */
    (void)sigaction(SIGTERM, &action, NULL); /* the same */
    uint64_t limit = filter->limit;
    enum quipu_status status = QUIPU_OK;
    while (status == QUIPU_OK && !is_stopped) {
        if (run->last > filter->after) {
            filter->after = run->last;
        }
        if (limit > 0) {
            if (run->shown >= limit) {
                break;
            }
            filter->limit = limit - run->shown;
        }
        if (fflush(stdout) != 0) {
            break; /* main reports it */
        }
        (void)poll(NULL, 0, FOLLOW_EVERY_MS); /* a signal ends the rest early */
        status = quipu_each_event(run->cli->engine, filter, show, run, err);
    }
    return status;
}

static int run(struct cli *cli, const void *values, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    const struct log_values *log_values = values;
    if (log_values->is_follow && (log_values->is_reverse || log_values->selection.until.is_set)) {
        return cli_usage(cli, "--follow goes forwards and has no end: leave %s out",
                         log_values->is_reverse ? "--reverse" : "--until");
    }
    struct cli_filter filter;
    int code = cli_filter_init(cli, &log_values->selection, &filter);
    if (code != 0) {
        return code;
    }
    filter.filter.correlation_id = log_values->correlation;
    if (log_values->is_reverse) {
        filter.filter.direction = QUIPU_BACKWARDS;
    }
    if (log_values->limit.is_set) {
        if (log_values->limit.value == 0) {
            return cli_usage(cli, "--limit wants 1 or more");
        }
        filter.filter.limit = log_values->limit.value;
    }
    code = cli_open(cli);
    if (code != 0) {
        return code;
    }
    struct quipu_error err;
    struct log_run state = {.cli = cli};
    enum quipu_status status = quipu_each_event(cli->engine, &filter.filter, show, &state, &err);
    if (status == QUIPU_OK && log_values->is_follow) {
        status = follow(&state, &filter.filter, &err);
    }
    quipu_buf_release(&state.line);
    return status == QUIPU_OK ? 0 : cli_fail(cli, status, &err, NULL);
}

static const struct cli_option options[] = {
    CLI_SELECTION_OPTIONS(log_values, selection),
    {"correlation", CLI_UUID, offsetof(struct log_values, correlation), "UUID",
     "only events that share this correlation_id"},
    {"limit", CLI_NUMBER, offsetof(struct log_values, limit), "N", "at most N events"},
    {"reverse", CLI_FLAG, offsetof(struct log_values, is_reverse), NULL, "newest first"},
    {"follow", CLI_FLAG, offsetof(struct log_values, is_follow), NULL,
     "go on with new events until interrupted"},
};

const struct cli_verb cli_verb_log = {
    .name = "log",
    .arguments = "",
    .summary = "Read the history",
    .details =
        "Columns: position, time (as the event says), type, version, aggregate, end of the CID,\n"
        "beginning of the source. --json prints each event whole, one object a line.",
    .example = "quipu log --aggregate role/root --limit 20",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .values_bytes = sizeof(struct log_values),
    .run = run,
};

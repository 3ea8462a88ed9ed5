/*
 * quipu log: history, oldest first, one event a line; with --follow it goes on as events come in,
 * woken by each commit of whatever process.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <signal.h>
#include <string.h>

#include "cli.h"
#include "print.h"
#include "quipu/event_json.h"
#include "quipu/subscription.h"

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
};

/* For the signal handler. */
static volatile sig_atomic_t is_stopped;
static struct quipu_subscription *followed;

static void stop(int number)
{
    (void)number;
    is_stopped = 1;
    quipu_subscription_stop(followed); /* ends its wait, also one that is yet to begin */
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
    cli_put_json(quipu_buf_slice(&run->line), stdout);
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
    run->shown++;
    if (run->cli->is_json) {
        return show_json(run, event, err);
    }
    show_text(run, event);
    return QUIPU_OK;
}

/* A subscription takes over history and the wait for more; wanted is what the filter says. */
static enum quipu_status follow_open(const struct log_run *run, const struct quipu_filter *filter,
                                     struct quipu_subscription **out, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status =
        quipu_txn_begin_read(quipu_engine_store(run->cli->engine), &txn, err);
    if (status != QUIPU_OK) {
        return status;
    }
    uint64_t last = quipu_txn_last_position(txn);
    quipu_txn_abort(&txn);
    const char *const types[] = {filter->event_type, NULL};
    struct quipu_subscription_options options = QUIPU_SUBSCRIPTION_OPTIONS_INIT;
    options.start = QUIPU_START_AFTER;
    options.after = filter->after < last ? filter->after : last;
    options.event_types = filter->event_type == NULL ? NULL : types;
    options.aggregate_type = filter->aggregate_type;
    options.aggregate_id = filter->aggregate_id;
    options.correlation_id = filter->correlation_id;
    return quipu_subscription_open(run->cli->engine, &options, out, err);
}

/* Show what is there. @retval QUIPU_DONE  --limit is reached */
static enum quipu_status follow_show(struct log_run *run, const struct quipu_filter *filter,
                                     struct quipu_subscription *subscription,
                                     struct quipu_error *err)
{
    struct quipu_event_view event;
    enum quipu_status status;
    while ((status = quipu_subscription_next(subscription, &event, err)) == QUIPU_OK) {
        /* --since may name a position that is still to come. */
        if (event.position > filter->after) {
            status = show(run, &event, err);
        }
        if (status != QUIPU_OK || (filter->limit > 0 && run->shown >= filter->limit)) {
            return status == QUIPU_OK ? QUIPU_DONE : status;
        }
    }
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

static enum quipu_status follow(struct log_run *run, const struct quipu_filter *filter,
                                struct quipu_error *err)
{
    struct quipu_subscription *subscription = NULL;
    enum quipu_status status = follow_open(run, filter, &subscription, err);
    if (status != QUIPU_OK) {
        return status;
    }
    followed = subscription;
    struct sigaction action = {.sa_handler = stop};
    (void)sigaction(SIGINT, &action, NULL);  /* a valid signal and handler: cannot fail */
    (void)sigaction(SIGTERM, &action, NULL); /* the same */
    while (status == QUIPU_OK && !is_stopped) {
        status = follow_show(run, filter, subscription, err);
        if (status != QUIPU_OK || is_stopped || fflush(stdout) != 0) {
            break; /* main reports what stdout has */
        }
        status = quipu_subscription_wait(subscription, -1, err);
    }
    action.sa_handler = SIG_DFL;
    (void)sigaction(SIGINT, &action, NULL);  /* as above */
    (void)sigaction(SIGTERM, &action, NULL); /* as above */
    quipu_subscription_close(&subscription);
    return status == QUIPU_DONE ? QUIPU_OK : status;
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
    enum quipu_status status =
        log_values->is_follow ? follow(&state, &filter.filter, &err)
                              : quipu_each_event(cli->engine, &filter.filter, show, &state, &err);
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

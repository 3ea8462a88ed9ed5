/*
 * quipu serve: commands and queries as NATS requests, until a signal ends it; beside it, where
 * asked for, a flush that goes on by itself and figures for Prometheus on loopback.
 *
 * The flush has a connection and a thread of its own, so a stream that refuses holds up no request.
 *
 * Specification: docs/SPEC.md §10.8, §10.9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "config_network.h"
#include "network.h"
#include "quipu/config_nats.h"
#include "quipu/metrics.h"
#include "quipu/service.h"

#define RETRY_US INT64_C(2000000)
#define URL_MAX  1024

struct serve_values {
    struct network_values network;
    const char *name;
    const char *service_prefix;
    const char *metrics;
    const char *log_format;
    struct cli_texts reply_prefixes;
    struct cli_number workers;
    struct cli_number waiting;
    bool flush;
};

/* What runs; the threads of service, metrics and flush meet here. */
struct serving {
    struct cli *cli;
    struct quipu_log log;
    struct quipu_nats_options nats;
    struct quipu_service *service;
    char url[URL_MAX];

    pthread_mutex_t mutex; /* guards what is below */
    pthread_cond_t stopped;
    bool is_stopping;
    struct quipu_flusher *flusher;
    struct quipu_nats *flush_nats;
    struct quipu_flush_totals totals; /* of the flushes that have ended */
    struct quipu_flush_live live;     /* of the one under way; zeros: none is */
    struct quipu_error flush_trouble; /* of the last one; status QUIPU_OK: it went well */
};

/* For the signal handler. */
static struct quipu_service *signalled;

static void stop(int number)
{
    (void)number;
    quipu_service_stop(signalled);
}

static void set_handler(void (*handler)(int))
{
    struct sigaction was;
    struct sigaction action = {.sa_handler = handler};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    /* When its terminal goes, what waits is answered too; under nohup nothing ends it. */
    if (sigaction(SIGHUP, NULL, &was) == 0 && was.sa_handler != SIG_IGN) {
        (void)sigaction(SIGHUP, &action, NULL);
    }
}

/* ------------------------------------------------------------------ the flush beside it */

/* Waiting heals these, or another process does the work: no reason to call anybody. */
static bool is_passing(enum quipu_status status)
{
    return status == QUIPU_OFFLINE || status == QUIPU_TIMEOUT || status == QUIPU_BUSY ||
           status == QUIPU_STOPPED;
}

/* `err` NULL: there is none. */
static void note_trouble(struct serving *serving, const struct quipu_error *err)
{
    static const struct quipu_error none = {.status = QUIPU_OK};
    (void)pthread_mutex_lock(&serving->mutex);
    serving->flush_trouble = err == NULL ? none : *err;
    (void)pthread_mutex_unlock(&serving->mutex);
}

static void on_live(void *ctx, const struct quipu_flush_live *live)
{
    struct serving *serving = ctx;
    (void)pthread_mutex_lock(&serving->mutex);
    serving->live = *live;
    (void)pthread_mutex_unlock(&serving->mutex);
}

static void after_flush(void *ctx, enum quipu_status status,
                        const struct quipu_flush_report *report, const struct quipu_error *err)
{
    struct serving *serving = ctx;
    struct quipu_log_field fields[] = {
        quipu_log_number("published", report->published),
        quipu_log_number("duplicates", report->duplicates),
        quipu_log_number("dead", report->dead),
        quipu_log_number("pending", report->pending),
        quipu_log_signed("took_us", report->took_us),
        quipu_log_text("status", quipu_status_name(status)),
        quipu_log_text("line", err == NULL ? "" : err->message),
    };
    note_trouble(serving, err);
    (void)pthread_mutex_lock(&serving->mutex);
    memset(&serving->live, 0, sizeof serving->live);
    quipu_flush_totals_add(&serving->totals, status, report,
                           serving->log.clock.unix_us(serving->log.clock.ctx));
    (void)pthread_mutex_unlock(&serving->mutex);
    quipu_log_write(&serving->log, err == NULL ? QUIPU_LOG_INFO : QUIPU_LOG_WARN,
                    err == NULL ? "flush.done" : "flush.failed", fields, err == NULL ? 5 : 7);
}

/* False: the service is stopping. */
static bool pause_flush(struct serving *serving)
{
    struct timespec until;
    int waited = 0;
    (void)clock_gettime(CLOCK_REALTIME, &until); /* cannot fail for this clock */
    until.tv_sec += (time_t)(RETRY_US / 1000000);
    (void)pthread_mutex_lock(&serving->mutex);
    while (!serving->is_stopping && waited == 0) {
        waited = pthread_cond_timedwait(&serving->stopped, &serving->mutex, &until);
    }
    bool goes_on = !serving->is_stopping;
    (void)pthread_mutex_unlock(&serving->mutex);
    return goes_on;
}

/* One connection and one flusher, until the service stops or a failure that waiting here may heal.
 */
static enum quipu_status flush_once(struct serving *serving, struct quipu_error *err)
{
    struct quipu_nats *nats = NULL;
    struct quipu_flusher *flusher = NULL;
    struct quipu_flusher_options options;
    quipu_config_flusher_options(&serving->cli->config->values, &options);
    options.after = after_flush;
    options.flush.ctx = serving;
    options.flush.live = on_live;
    enum quipu_status status = quipu_nats_open(&serving->nats, &nats, err);
    if (status == QUIPU_OK) {
        status = quipu_flusher_open(serving->cli->engine, nats, &options, &flusher, err);
    }
    if (status == QUIPU_OK) {
        (void)pthread_mutex_lock(&serving->mutex);
        serving->flusher = flusher;
        serving->flush_nats = nats;
        if (serving->is_stopping) {
            quipu_flusher_stop(flusher);
        }
        (void)pthread_mutex_unlock(&serving->mutex);
        status = quipu_flusher_run(flusher, err);
    }
    (void)pthread_mutex_lock(&serving->mutex);
    serving->flusher = NULL;
    serving->flush_nats = NULL;
    memset(&serving->live, 0, sizeof serving->live);
    (void)pthread_mutex_unlock(&serving->mutex);
    quipu_flusher_close(&flusher);
    quipu_nats_close(&nats);
    return status;
}

static void *flush_on(void *ctx)
{
    struct serving *serving = ctx;
    struct quipu_error err;
    do {
        enum quipu_status status = flush_once(serving, &err);
        if (status != QUIPU_OK) {
            note_trouble(serving, &err);
            struct quipu_log_field fields[] = {quipu_log_text("status", quipu_status_name(status)),
                                               quipu_log_text("line", err.message)};
            quipu_log_write(&serving->log, QUIPU_LOG_WARN, "flush.waits", fields, 2);
        }
    } while (pause_flush(serving));
    return NULL;
}

/* ------------------------------------------------------------------ health */

/* How the flush is, where there is one. */
static enum quipu_status health(void *ctx, struct quipu_error *err)
{
    struct serving *serving = ctx;
    (void)pthread_mutex_lock(&serving->mutex);
    struct quipu_error trouble = serving->flush_trouble;
    (void)pthread_mutex_unlock(&serving->mutex);
    if (trouble.status == QUIPU_OK || trouble.status == QUIPU_BUSY) {
        return QUIPU_OK;
    }
    return quipu_error_set(err, trouble.status, "flush: %.400s", trouble.message);
}

/* For whoever restarts what does not answer well: a server that is away is no reason to, and one
 * that does not take us is. The service's own connection is asked about here alone: who asks over
 * that connection has his answer. */
static enum quipu_status healthz(void *ctx, struct quipu_buf *out, struct quipu_error *err)
{
    const struct serving *serving = ctx;
    struct quipu_service_report report;
    enum quipu_status status = health(ctx, err);
    if (status != QUIPU_OK && !is_passing(status)) {
        return status;
    }
    quipu_service_report(serving->service, &report);
    const struct quipu_nats_report *nats = &report.bridge.nats;
    if (nats->status != QUIPU_OK && !is_passing(nats->status)) {
        return quipu_error_set(err, nats->status, "service: %.400s", nats->message);
    }
    quipu_buf_append_text(out, "ok\n");
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ figures */

/* What the flush under way has come to so far is part of the figures. */
static struct quipu_flush_totals totals_now(const struct serving *serving)
{
    struct quipu_flush_totals totals = serving->totals;
    const struct quipu_flush_live *live = &serving->live;
    totals.published += live->published;
    totals.duplicates += live->duplicates;
    totals.dead += live->dead;
    totals.resent += live->resent;
    if (live->events_per_second > 0) {
        totals.events_per_second = live->events_per_second;
    }
    return totals;
}

static enum quipu_status metrics(void *ctx, struct quipu_buf *out, struct quipu_error *err)
{
    struct serving *serving = ctx;
    struct quipu_nats_report nats = {.state = QUIPU_NATS_OFFLINE};
    (void)pthread_mutex_lock(&serving->mutex);
    struct quipu_flush_totals totals = totals_now(serving);
    bool has_nats = serving->flush_nats != NULL;
    if (has_nats) {
        quipu_nats_state(serving->flush_nats, &nats);
    }
    (void)pthread_mutex_unlock(&serving->mutex);
    if (!has_nats) { /* without a flush it is the service's connection that there is */
        struct quipu_service_report report;
        quipu_service_report(serving->service, &report);
        nats = report.bridge.nats;
    }
    struct quipu_metrics_of of = {serving->cli->engine, &nats, &totals, serving->service};
    return quipu_metrics_append(&of, out, err);
}

static int open_metrics(struct serving *serving, const char *address,
                        struct quipu_metrics_server **out)
{
    struct quipu_error err;
    struct quipu_metrics_server_options options = QUIPU_METRICS_SERVER_OPTIONS_INIT;
    if (address == NULL) {
        return 0;
    }
    options.address = address;
    options.metrics = metrics;
    options.health = healthz;
    options.ctx = serving;
    enum quipu_status status = quipu_metrics_server_open(&options, out, &err);
    if (status != QUIPU_OK) {
        return cli_fail(serving->cli, status, &err, NULL);
    }
    struct quipu_log_field port = quipu_log_number("port", quipu_metrics_server_port(*out));
    quipu_log_write(&serving->log, QUIPU_LOG_INFO, "metrics.started", &port, 1);
    return 0;
}

/* ------------------------------------------------------------------ the verb */

/* The service waits for its server, but not for files that are not there, nor for a key that never
 * connects. */
static int check_options(const struct serving *serving)
{
    struct quipu_error err;
    enum quipu_status status = quipu_nats_options_check(&serving->nats, &err);
    return status == QUIPU_OK ? 0 : cli_fail_network(serving->cli, status, &err);
}

static int open_service(struct serving *serving, const struct serve_values *values)
{
    struct quipu_error err;
    struct quipu_service_options options = QUIPU_SERVICE_OPTIONS_INIT;
    options.nats = &serving->nats;
    options.name = values->name;
    options.version = QUIPU_CLI_VERSION;
    options.description = "events of a quipu store: commands and queries";
    options.prefix = values->service_prefix;
    options.workers = (uint32_t)values->workers.value;
    options.waiting_max = (uint32_t)values->waiting.value;
    options.log = &serving->log;
    options.reply_prefixes = values->reply_prefixes.items;
    options.reply_prefix_count = values->reply_prefixes.count;
    options.health = health;
    options.health_ctx = serving;
    enum quipu_status status =
        quipu_service_open(serving->cli->engine, &options, &serving->service, &err);
    return status == QUIPU_OK ? 0 : cli_fail(serving->cli, status, &err, NULL);
}

static int serve(struct serving *serving, bool flushes)
{
    struct quipu_error err;
    pthread_t flush_thread;
    bool has_thread = flushes && pthread_create(&flush_thread, NULL, flush_on, serving) == 0;
    if (flushes && !has_thread) {
        return cli_fail(serving->cli, QUIPU_NO_MEMORY, NULL, NULL);
    }
    signalled = serving->service;
    set_handler(stop);
    enum quipu_status status = quipu_service_run(serving->service, &err);
    set_handler(SIG_DFL);
    (void)pthread_mutex_lock(&serving->mutex);
    serving->is_stopping = true;
    quipu_flusher_stop(serving->flusher);
    (void)pthread_cond_broadcast(&serving->stopped);
    (void)pthread_mutex_unlock(&serving->mutex);
    if (has_thread) {
        (void)pthread_join(flush_thread, NULL);
    }
    return status == QUIPU_OK ? 0 : cli_fail_network(serving->cli, status, &err);
}

static int check(const struct cli *cli, const struct serve_values *values, struct serving *serving)
{
    if (values->network.password_fd.is_set) {
        return cli_usage(cli, "takes the password from QUIPU_NATS_PASSWORD, not --password-fd");
    }
    if (values->workers.is_set &&
        (values->workers.value < 1 || values->workers.value > QUIPU_SERVICE_WORKERS_MAX)) {
        return cli_usage(cli, "--workers wants 1 to %d, found %" PRIu64, QUIPU_SERVICE_WORKERS_MAX,
                         values->workers.value);
    }
    if (values->waiting.is_set &&
        (values->waiting.value < 1 || values->waiting.value > QUIPU_BRIDGE_MESSAGES_MAX)) {
        return cli_usage(cli, "--waiting wants 1 to %d, found %" PRIu64, QUIPU_BRIDGE_MESSAGES_MAX,
                         values->waiting.value);
    }
    serving->log = (struct quipu_log){.fd = STDERR_FILENO, .clock = quipu_clock_system()};
    serving->log.level_min = cli->is_quiet ? QUIPU_LOG_WARN : QUIPU_LOG_INFO;
    serving->log.format = cli->is_json ? QUIPU_LOG_JSON : QUIPU_LOG_TEXT;
    if (values->log_format != NULL &&
        quipu_log_format_parse(values->log_format, &serving->log.format, NULL) != QUIPU_OK) {
        return cli_usage(cli, "--log-format wants text or json, found \"%s\"", values->log_format);
    }
    return 0;
}

static int run(struct cli *cli, const void *given, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    const struct serve_values *values = given;
    struct serving serving = {.cli = cli};
    struct quipu_metrics_server *server = NULL;
    int code = check(cli, values, &serving);
    if (code == 0) {
        code = cli_network_check(cli, &values->network);
    }
    if (code == 0) {
        code = cli_open(cli);
    }
    if (code == 0) {
        struct quipu_error err;
        enum quipu_status status = cli_network_check_source(cli, &err);
        code = status == QUIPU_OK ? 0 : cli_fail(cli, status, &err, NULL);
    }
    if (code != 0) {
        return code;
    }
    cli_network_options(cli, &values->network, &serving.nats);
    size_t len = strlen(cli->server);
    while (len > 0 && cli->server[len - 1] == '/') {
        len--; /* what people copy along */
    }
    if (len >= sizeof serving.url) {
        return cli_usage(cli, "the server's url has %zu bytes, up to %d are taken", len,
                         URL_MAX - 1);
    }
    memcpy(serving.url, cli->server, len);
    serving.nats.url = serving.url;
    (void)pthread_mutex_init(&serving.mutex, NULL); /* cannot fail with default attributes */
    (void)pthread_cond_init(&serving.stopped, NULL);
    code = check_options(&serving);
    if (code == 0) {
        code = open_service(&serving, values);
    }
    if (code == 0) {
        code = open_metrics(&serving, values->metrics, &server);
    }
    if (code == 0) {
        code = serve(&serving, values->flush);
    }
    quipu_metrics_server_close(&server);
    quipu_service_close(&serving.service);
    (void)pthread_cond_destroy(&serving.stopped);
    (void)pthread_mutex_destroy(&serving.mutex);
    explicit_bzero(serving.url, sizeof serving.url); /* it may hold a password */
    return code;
}

static const struct cli_option options[] = {
    NETWORK_OPTIONS(serve_values, network),
    {"name", CLI_TEXT, offsetof(struct serve_values, name), "NAME",
     "the service's name (quipu): health.NAME, and what discovery shows"},
    {"service-prefix", CLI_TEXT, offsetof(struct serve_values, service_prefix), "SUBJECT",
     "what its subjects begin with (\"svc.\" and --prefix)"},
    {"workers", CLI_NUMBER, offsetof(struct serve_values, workers), "N",
     "requests carried out at the same time (4)"},
    {"waiting", CLI_NUMBER, offsetof(struct serve_values, waiting), "N",
     "requests that may wait (1024); more are refused at once"},
    {"reply-prefix", CLI_TEXTS, offsetof(struct serve_values, reply_prefixes), "SUBJECT",
     "where replies may go beside _INBOX.; may be given several times"},
    {"flush", CLI_FLAG, offsetof(struct serve_values, flush), NULL,
     "publish what is appended, as `quipu flush --watch` does"},
    {"metrics", CLI_TEXT, offsetof(struct serve_values, metrics), "HOST:PORT",
     "figures for Prometheus at http://HOST:PORT/metrics, loopback only"},
    {"log-format", CLI_TEXT, offsetof(struct serve_values, log_format), "FORMAT",
     "of the lines on stderr: text or json"},
};

const struct cli_verb cli_verb_serve = {
    .name = "serve",
    .arguments = "",
    .summary = "Take commands and queries as NATS requests",
    .details =
        "PREFIX.cmd.append takes the lines of `quipu append`, PREFIX.query the requests of `quipu\n"
        "query` and {\"query\":\"verify\"}. An answer to a command comes when its events are "
        "durable;\n"
        "a request with an X-Request-ID may be repeated and appends nothing twice. Ends well, "
        "with\n"
        "all that has come answered, on SIGINT, SIGTERM and SIGHUP. Who may ask is for the "
        "server's\n"
        "permissions to say; the service's own user wants allow_responses and P.errors.>, and\n"
        "$JS.API.> only for --flush. Replies go to _INBOX. and to each --reply-prefix alone.",
    .example = "quipu serve --server nats://127.0.0.1:4222 --metrics 127.0.0.1:9464",
    .is_network = true,
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .values_bytes = sizeof(struct serve_values),
    .run = run,
};

/*
 * Connecting and publishing by the settings. Online: what was appended is published before the verb
 * ends, and that it could not be is a failure. Hybrid: it is published where there is a server.
 * Either way the events are durable first, and stay in the outbox until the server has them.
 *
 * Specification: docs/SPEC.md §13.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config_network.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "config.h"
#include "print.h"

#define PAUSE_FIRST_US INT64_C(200000)
#define PAUSE_MAX_US   INT64_C(5000000)

static void pause_us(int64_t us)
{
    struct timespec left = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

/* A file of settings says which store it is for: another one's events have no place there. */
enum quipu_status cli_network_check_source(const struct cli *cli, struct quipu_error *err)
{
    const char *wanted = cli->config->values.nats.source_id;
    char found[QUIPU_SOURCE_TEXT_BYTES];
    if (wanted == NULL || cli->engine == NULL) {
        return QUIPU_OK;
    }
    enum quipu_status status = quipu_identity_source(cli->engine, found, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (strcmp(wanted, found) != 0) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "nats.source_id is %s and this store's source is %s; name the store "
                               "that is meant, or that source",
                               wanted, found);
    }
    return QUIPU_OK;
}

enum quipu_status cli_network_connect(const struct cli *cli,
                                      const struct quipu_nats_options *options,
                                      struct quipu_nats **out, struct quipu_error *err)
{
    enum quipu_status status = cli_network_check_source(cli, err);
    if (status != QUIPU_OK) {
        return status;
    }
    int64_t wait_us = PAUSE_FIRST_US;
    for (uint64_t tries = 0;; tries++) {
        status = quipu_nats_open(options, out, err);
        bool may_heal = status == QUIPU_OFFLINE || status == QUIPU_TIMEOUT;
        if (!may_heal || tries >= cli->config->values.nats.max_retries) {
            return status;
        }
        pause_us(wait_us);
        wait_us = wait_us * 2 < PAUSE_MAX_US ? wait_us * 2 : PAUSE_MAX_US;
    }
}

/* ------------------------------------------------------------------ behind an append */

/* Not published: a failure where the mode is Online, an ordinary day where it is Hybrid. */
static int stay_pending(const struct cli *cli, const struct quipu_error *err)
{
    bool is_away = err->status == QUIPU_OFFLINE || err->status == QUIPU_TIMEOUT;
    if (err->status == QUIPU_BUSY) {
        return 0; /* another process publishes, these events too */
    }
    if (is_away && cli->config->values.mode == QUIPU_MODE_HYBRID) {
        if (!cli->is_json) {
            cli_note(cli, "no server; what was added waits in the outbox");
        }
        return 0;
    }
    char note[sizeof cli->done + 48];
    (void)snprintf(note, sizeof note, "%s and wait%s in the outbox",
                   cli->done[0] != 0 ? cli->done : "the events are stored",
                   strncmp(cli->done, "1 event ", 8) == 0 ? "s" : "");
    struct quipu_error line = *err;
    (void)quipu_error_wrap(&line, err->status, "flush");
    struct cli_failure failure = {.status = err->status, .err = &line, .note = note};
    if (err->status == QUIPU_PERMISSION) {
        failure.code = CLI_EXIT_REFUSED; /* the server's, not this machine's */
    }
    return cli_fail_with(cli, &failure);
}

int cli_config_flush(struct cli *cli)
{
    const struct quipu_config *values = &cli->config->values;
    struct quipu_nats_options options;
    struct quipu_flush_options flush;
    struct quipu_flush_report report = {0};
    struct quipu_nats *nats = NULL;
    struct quipu_error err;
    quipu_config_nats_options(values, &options);
    quipu_config_flush_options(values, &flush);
    options.engine = cli->engine;
    enum quipu_status status = QUIPU_OK;
    if (values->mode == QUIPU_MODE_HYBRID) {
        /* One short look: an append on a machine without a network must not wait. */
        int64_t probe_us = values->offline.probe_timeout_us;
        if (probe_us < options.connect_timeout_us) {
            options.connect_timeout_us = probe_us;
        }
        status = cli_network_check_source(cli, &err);
        if (status == QUIPU_OK) {
            status = quipu_nats_open(&options, &nats, &err);
        }
    } else {
        status = cli_network_connect(cli, &options, &nats, &err);
    }
    if (status == QUIPU_OK) {
        status = quipu_flush(cli->engine, nats, &flush, &report, &err);
    }
    quipu_nats_close(&nats);
    if (status != QUIPU_OK) {
        return stay_pending(cli, &err);
    }
    if (!cli->is_json) {
        char published[CLI_COUNTED_BYTES];
        cli_note(cli, "%s published", cli_counted(report.published, "event", published));
    }
    if (report.dead == 0) {
        return 0;
    }
    char dead[CLI_COUNTED_BYTES];
    (void)quipu_error_set(&err, QUIPU_SERVER, "%s", cli_counted(report.dead, "dead letter", dead));
    return cli_fail_with(cli, &(struct cli_failure){.status = QUIPU_SERVER,
                                                    .err = &err,
                                                    .cure = "`quipu deadletter list` shows all; "
                                                            "then retry or drop",
                                                    .code = CLI_EXIT_ASIDE});
}

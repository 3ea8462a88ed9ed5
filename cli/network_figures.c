/*
 * The history that flushes leave in the store, and the expiry in the credentials file that a
 * network verb would take: the settings' one, or the usual one where they name nobody else. A file
 * that cannot be read is said and no failure: the store is what was asked about.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "network_figures.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "quipu/clock.h"
#include "quipu/jetstream.h"

/* Appends the path and a NUL; QUIPU_NOT_FOUND: a network verb would take no credentials file. */
static enum quipu_status credentials_path(const struct cli *cli, struct quipu_buf *path,
                                          struct quipu_error *err)
{
    const struct quipu_config_nats *nats = &cli->config->values.nats;
    if (nats->credentials_file != NULL && nats->credentials_file[0] != 0) {
        quipu_buf_append(path, nats->credentials_file, strlen(nats->credentials_file) + 1);
        return path->status == QUIPU_OK
                   ? QUIPU_OK
                   : quipu_error_set(err, path->status, "out of memory for a path");
    }
    bool is_other = nats->credentials_file != NULL || nats->nkey_file != NULL ||
                    nats->user != NULL || nats->token != NULL || strchr(nats->url, '@') != NULL;
    if (is_other) {
        return QUIPU_NOT_FOUND;
    }
    enum quipu_status status = quipu_nats_credentials_default(path, err);
    return status == QUIPU_OK && access((const char *)path->data, F_OK) != 0 ? QUIPU_NOT_FOUND
                                                                             : status;
}

/* What is known about the credentials. */
struct looked_at {
    struct quipu_buf path;
    enum quipu_status status; /* of reading them; QUIPU_NOT_FOUND: there are none */
    struct quipu_nats_credentials_info info;
    int64_t left_us; /* below 0: they have expired */
    struct quipu_error err;
};

static enum quipu_status look(const struct cli *cli, struct looked_at *out, struct quipu_error *err)
{
    out->status = credentials_path(cli, &out->path, &out->err);
    if (out->status == QUIPU_OK) {
        out->status =
            quipu_nats_credentials_read((const char *)out->path.data, &out->info, &out->err);
    }
    if (out->status == QUIPU_NO_MEMORY) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory for the credentials");
    }
    struct quipu_clock clock = quipu_clock_system();
    out->left_us = out->info.expires_unix_us - clock.unix_us(clock.ctx);
    return QUIPU_OK;
}

/* "3 d", "5 h", "12 min", "40 s": the unit that says most. */
static const char *rough_time(int64_t us, char out[CLI_COUNT_BYTES])
{
    static const struct {
        int64_t seconds;
        const char *unit;
    } units[] = {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}};
    int64_t seconds = us / 1000000;
    size_t i = 0;
    while (i + 1 < sizeof units / sizeof units[0] && seconds < 2 * units[i].seconds) {
        i++;
    }
    (void)snprintf(out, CLI_COUNT_BYTES, "%" PRId64 " %s", seconds / units[i].seconds,
                   units[i].unit);
    return out;
}

static void say_history(const struct cli *cli, const struct quipu_flush_history *history)
{
    char when[QUIPU_RFC3339_BYTES];
    char published[CLI_COUNT_BYTES];
    char duplicates[CLI_COUNT_BYTES];
    char resent[CLI_COUNT_BYTES];
    char rate[CLI_COUNT_BYTES];
    if (history->last_unix_us == 0) {
        return;
    }
    quipu_rfc3339_format(history->last_unix_us, when);
    cli_print_name(cli, "flushed");
    (void)printf("%s at %s events/s; in all %s published, %s there already, %s sent again\n", when,
                 cli_count(history->events_per_second, rate),
                 cli_count(history->published, published),
                 cli_count(history->duplicates, duplicates), cli_count(history->resent, resent));
}

static void say_credentials(const struct cli *cli, const struct looked_at *credentials)
{
    char when[QUIPU_RFC3339_BYTES];
    char time[CLI_COUNT_BYTES];
    if (credentials->status == QUIPU_NOT_FOUND) {
        return;
    }
    cli_print_name(cli, "credentials");
    if (credentials->status != QUIPU_OK) {
        cli_put_plain(quipu_slice_text(credentials->err.message));
        (void)putchar('\n');
        return;
    }
    cli_put_plain(quipu_slice_text((const char *)credentials->path.data));
    if (credentials->info.expires_unix_us == 0) {
        (void)printf(": never expire\n");
        return;
    }
    quipu_rfc3339_format(credentials->info.expires_unix_us, when);
    if (credentials->left_us <= 0) {
        (void)printf(": expired at %s\n", when);
    } else {
        (void)printf(": %s left, until %s\n", rough_time(credentials->left_us, time), when);
    }
}

enum quipu_status cli_network_figures_say(const struct cli *cli, struct quipu_error *err)
{
    struct quipu_flush_history history;
    struct looked_at credentials = {.path = QUIPU_BUF_INIT};
    enum quipu_status status = quipu_flush_history_read(cli->engine, &history, err);
    if (status == QUIPU_OK) {
        say_history(cli, &history);
        status = look(cli, &credentials, err);
    }
    if (status == QUIPU_OK) {
        say_credentials(cli, &credentials);
    }
    quipu_buf_release(&credentials.path);
    return status;
}

/* ------------------------------------------------------------------ as JSON */

static void history_json(struct cli_json *json, const struct quipu_flush_history *history)
{
    if (history->last_unix_us == 0) {
        cli_json_null(json, "flush");
        return;
    }
    cli_json_object(json, "flush");
    cli_json_time(json, "last_at", history->last_unix_us);
    cli_json_number(json, "events_per_second", history->events_per_second);
    cli_json_number(json, "published", history->published);
    cli_json_number(json, "duplicates", history->duplicates);
    cli_json_number(json, "dead", history->dead);
    cli_json_number(json, "resent", history->resent);
    cli_json_number(json, "reconnects", history->reconnects);
    cli_json_close(json, '}');
}

static void credentials_json(struct cli_json *json, const struct looked_at *credentials)
{
    if (credentials->status == QUIPU_NOT_FOUND) {
        cli_json_null(json, "credentials");
        return;
    }
    cli_json_object(json, "credentials");
    cli_json_text(json, "file", quipu_slice_text((const char *)credentials->path.data));
    if (credentials->status != QUIPU_OK) {
        cli_json_text(json, "line", quipu_slice_text(credentials->err.message));
    } else if (credentials->info.expires_unix_us == 0) {
        cli_json_null(json, "expires_at");
        cli_json_null(json, "left_seconds");
    } else {
        int64_t left = credentials->left_us / 1000000;
        cli_json_time(json, "expires_at", credentials->info.expires_unix_us);
        cli_json_number(json, "left_seconds", left < 0 ? 0 : (uint64_t)left);
    }
    cli_json_close(json, '}');
}

enum quipu_status cli_network_figures_json(const struct cli *cli, struct cli_json *json,
                                           struct quipu_error *err)
{
    struct quipu_flush_history history;
    struct looked_at credentials = {.path = QUIPU_BUF_INIT};
    enum quipu_status status = quipu_flush_history_read(cli->engine, &history, err);
    if (status == QUIPU_OK) {
        history_json(json, &history);
        status = look(cli, &credentials, err);
    }
    if (status == QUIPU_OK) {
        credentials_json(json, &credentials);
    }
    quipu_buf_release(&credentials.path);
    return status;
}

/*
 * What the settings ask for behind a verb that has added events: a backup, and publishing. And the
 * names that backups and bundles get where nobody gives one.
 *
 * Events are durable before any of this begins: what fails here leaves them where they are, and
 * says so.
 *
 * Specification: docs/SPEC.md §13.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "config.h"
#include "print.h"
#include "quipu/clock.h"
#include "quipu/text.h"

#define STAMP_BYTES 20 /* "20261121T170000Z" */
#define NAME_BYTES  48 /* "0190a1b2c3d4-20261121T170000Z-12" */
#define ID_BYTES    6  /* of the store's id: its time in milliseconds */
#define NAMES_MAX   100

static bool wants_backup(const struct cli *cli)
{
    return cli->config != NULL && cli->config->values.storage.enable_backup;
}

static bool wants_flush(const struct cli *cli)
{
    return cli->config != NULL && quipu_config_publishes(&cli->config->values) &&
           !cli->verb->is_network;
}

static enum quipu_status last_position(const struct cli *cli, uint64_t *out,
                                       struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_read(cli->store, &txn, err);
    if (status == QUIPU_OK) {
        *out = quipu_txn_last_position(txn);
    }
    quipu_txn_abort(&txn);
    return status;
}

int cli_config_opened(struct cli *cli)
{
    if (!wants_backup(cli) && !wants_flush(cli)) {
        return 0;
    }
    struct quipu_error err;
    enum quipu_status status = last_position(cli, &cli->config->opened_position, &err);
    return status == QUIPU_OK ? 0 : cli_fail(cli, status, &err, NULL);
}

/* ------------------------------------------------------------------ names */

static int64_t now_us(void)
{
    struct quipu_clock clock = quipu_clock_system();
    return clock.unix_us(clock.ctx);
}

/* Stamps sort as their times do. */
static void format_stamp(int64_t unix_us, char out[STAMP_BYTES])
{
    time_t seconds = (time_t)(unix_us / 1000000);
    struct tm utc;
    if (gmtime_r(&seconds, &utc) == NULL ||
        strftime(out, STAMP_BYTES, "%Y%m%dT%H%M%SZ", &utc) == 0) {
        out[0] = 0;
    }
}

/* "<the store's id>-<stamp>": backups of several stores may lie in one folder. */
static void format_name(const struct cli *cli, int64_t unix_us, char out[NAME_BYTES])
{
    struct quipu_uuid id = quipu_store_id(cli->store);
    char stamp[STAMP_BYTES];
    struct quipu_buf name;
    format_stamp(unix_us, stamp);
    quipu_buf_init_fixed(&name, out, NAME_BYTES);
    quipu_hex_append(&name, quipu_slice(id.bytes, ID_BYTES));
    quipu_buf_printf(&name, "-%s", stamp);
    quipu_buf_append_byte(&name, 0);
}

/* The first of "PATH", "PATH-2", "PATH-3" that is not there. */
static enum quipu_status free_name(const char *folder, const char *name, const char *ending,
                                   struct quipu_buf *path, struct quipu_error *err)
{
    for (int i = 1; i <= NAMES_MAX; i++) {
        char number[8] = "";
        if (i > 1) {
            (void)snprintf(number, sizeof number, "-%d", i);
        }
        quipu_buf_reset(path);
        quipu_buf_printf(path, "%s/%s%s%s", folder, name, number, ending);
        quipu_buf_append_byte(path, 0);
        if (path->status != QUIPU_OK) {
            return quipu_error_set(err, path->status, "out of memory");
        }
        if (access((const char *)path->data, F_OK) != 0) {
            return QUIPU_OK;
        }
    }
    return quipu_error_set(err, QUIPU_EXISTS, "\"%s/%s\" and %d more are there already", folder,
                           name, NAMES_MAX - 1);
}

enum quipu_status cli_config_bundle_path(const struct cli *cli, struct quipu_buf *path,
                                         struct quipu_error *err)
{
    char name[NAME_BYTES];
    format_name(cli, now_us(), name);
    return free_name(cli->config->values.storage.offline_events_dir, name, ".car", path, err);
}

int cli_config_backup_path(struct cli *cli, struct quipu_buf *path)
{
    struct quipu_error err;
    char name[NAME_BYTES];
    const char *folder = cli->config->values.storage.backup_dir;
    format_name(cli, now_us(), name);
    if (mkdir(folder, 0700) != 0 && errno != EEXIST) {
        enum quipu_status status = quipu_error_errno(&err, errno, "make folder \"%s\"", folder);
        return cli_fail(cli, status, &err, "name another one as storage.backup_dir");
    }
    enum quipu_status status = free_name(folder, name, "", path, &err);
    return status == QUIPU_OK ? 0 : cli_fail(cli, status, &err, NULL);
}

/* ------------------------------------------------------------------ backup */

/* Is there a whole backup of this store that was made behind `oldest`, and not in the future? */
static bool has_backup_since(const struct cli *cli, const char *oldest, const char *now)
{
    const char *folder = cli->config->values.storage.backup_dir;
    DIR *names = opendir(folder);
    bool found = false;
    if (names == NULL) {
        return false; /* it is not there yet; what else is wrong with it shows when it is used */
    }
    size_t id_len = (size_t)2 * ID_BYTES + 1;
    for (struct dirent *entry = readdir(names); entry != NULL && !found; entry = readdir(names)) {
        char database[600];
        if (strncmp(entry->d_name, now, id_len) != 0 || strcmp(entry->d_name, oldest) <= 0 ||
            strncmp(entry->d_name, now, strlen(now)) > 0) {
            continue;
        }
        /* One that was broken off has no database: its last step is to give it its name. */
        (void)snprintf(database, sizeof database, "%s/data.mdb", entry->d_name);
        found = faccessat(dirfd(names), database, F_OK, 0) == 0;
    }
    (void)closedir(names); /* only read from */
    return found;
}

/* Events are there, whatever becomes of this. */
static int fail_after(const struct cli *cli, const struct quipu_error *err, const char *what)
{
    struct quipu_error line = *err;
    (void)quipu_error_wrap(&line, err->status, "%s", what);
    struct cli_failure failure = {.status = err->status,
                                  .err = &line,
                                  .note = cli->done[0] != 0 ? cli->done : "the events are stored"};
    return cli_fail_with(cli, &failure);
}

static int back_up(struct cli *cli)
{
    char oldest[NAME_BYTES];
    char now[NAME_BYTES];
    int64_t at_us = now_us();
    int64_t interval_us = cli->config->values.storage.backup_interval_us;
    format_name(cli, at_us, now);
    format_name(cli, interval_us < at_us ? at_us - interval_us : 0, oldest);
    if (interval_us > 0 && has_backup_since(cli, oldest, now)) {
        return 0;
    }
    struct quipu_buf path = QUIPU_BUF_INIT;
    struct quipu_error err;
    int code = cli_config_backup_path(cli, &path);
    if (code == 0) {
        const char *to = (const char *)path.data;
        enum quipu_status status = quipu_store_backup(cli->store, to, &err);
        if (status != QUIPU_OK) {
            code = fail_after(cli, &err, "backup");
        } else if (!cli->is_json) {
            cli_note(cli, "backup in %s", to);
        }
    }
    quipu_buf_release(&path);
    return code;
}

/* ------------------------------------------------------------------ the end of a verb */

int cli_config_finish(struct cli *cli)
{
    struct quipu_error err;
    uint64_t position = 0;
    if (cli->store == NULL || (!wants_backup(cli) && !wants_flush(cli))) {
        return 0;
    }
    enum quipu_status status = last_position(cli, &position, &err);
    if (status != QUIPU_OK) {
        return fail_after(cli, &err, "after the verb");
    }
    if (position == cli->config->opened_position) {
        return 0;
    }
    int code = wants_backup(cli) ? back_up(cli) : 0;
    int flush_code = wants_flush(cli) ? cli_config_flush(cli) : 0;
    return code != 0 ? code : flush_code;
}

int cli_config_allow_network(const struct cli *cli)
{
    if (cli->config == NULL || quipu_config_may_connect(&cli->config->values)) {
        return 0;
    }
    struct quipu_error err;
    bool is_offline = cli->config->values.mode == QUIPU_MODE_OFFLINE;
    (void)quipu_error_set(&err, QUIPU_OFFLINE,
                          is_offline ? "mode.mode is Offline, so no socket is opened"
                                     : "nats.enabled is false, so no socket is opened");
    return cli_fail(cli, QUIPU_OFFLINE, &err,
                    is_offline ? "set it to Hybrid or Online, such as by QUIPU_MODE=Hybrid"
                               : "set it to true, such as by QUIPU_NATS_ENABLED=true");
}

/*
 * Opening and closing the store of this run, and turning a selection into the engine's filter.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "config.h"
#include "print.h"
#include "quipu/io.h"

enum quipu_status cli_open_at(const char *path, enum quipu_store_create create,
                              struct quipu_store **store, struct quipu_engine **engine,
                              struct quipu_error *err)
{
    struct quipu_store_options options = QUIPU_STORE_OPTIONS_INIT;
    options.create = create;
    enum quipu_status status = quipu_store_open(path, &options, store, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = quipu_engine_open(*store, NULL, engine, err);
    if (status != QUIPU_OK) {
        quipu_store_close(store);
    }
    return status;
}

void cli_close(struct quipu_store **store, struct quipu_engine **engine)
{
    quipu_engine_close(engine);
    quipu_store_close(store);
}

/* `cure` where the library has not said one already. */
static int fail_to_open(const struct cli *cli, const struct quipu_error *err, const char *cure)
{
    return cli_fail(cli, err->status, err, cli_cure_unless_said(err, cure));
}

/* A store that cannot be read says so elsewhere. */
static bool is_marked_backup(struct quipu_store *store)
{
    struct quipu_txn *txn = NULL;
    bool is_marked = false;
    if (quipu_txn_begin_read(store, &txn, NULL) != QUIPU_OK) {
        return false;
    }
    bool is_known = quipu_txn_backup_mark(txn, &is_marked, NULL) == QUIPU_OK;
    quipu_txn_abort(&txn);
    return is_known && is_marked;
}

/* Of a key that cannot be read, whoever needs it says so. */
static enum quipu_identity_state key_state(struct quipu_engine *engine)
{
    enum quipu_identity_state state;
    return quipu_identity_state(engine, &state, NULL) == QUIPU_OK ? state : QUIPU_IDENTITY_PLAIN;
}

static void look_at_key(struct cli *cli)
{
    bool was_wrapped = false;
    enum quipu_identity_state state = key_state(cli->engine);
    /* A store that cannot be read says so elsewhere. */
    if (quipu_identity_was_wrapped(cli->engine, &was_wrapped, NULL) != QUIPU_OK) {
        was_wrapped = false;
    }
    cli->had_key = state != QUIPU_IDENTITY_ABSENT;
    cli->was_wrapped = cli->had_key ? state == QUIPU_IDENTITY_LOCKED : was_wrapped;
}

void cli_say_restored(const struct cli *cli)
{
    char source[QUIPU_SOURCE_TEXT_BYTES];
    const char *why = NULL;
    if (cli->store == NULL) {
        return;
    }
    if (cli->was_backup && !is_marked_backup(cli->store)) {
        why = "was restored from a backup";
    } else if (cli->was_wrapped && !cli->had_key &&
               key_state(cli->engine) == QUIPU_IDENTITY_PLAIN) {
        why = "had a wrapped key, which is gone";
    }
    if (why == NULL || quipu_identity_source(cli->engine, source, NULL) != QUIPU_OK) {
        return;
    }
    cli_note(cli, "the store in %s %s: it records under a new source from now on, %s",
             cli->store_path, why, source);
    if (cli->was_wrapped) {
        cli_note(cli, "the new source's key is plain; wrap it with `quipu keygen --wrap`");
    }
}

int cli_open(struct cli *cli)
{
    struct quipu_error err = {0};
    enum quipu_status status =
        cli_open_at(cli->store_path, QUIPU_STORE_OPEN_EXISTING, &cli->store, &cli->engine, &err);
    switch ((int)status) {
    case QUIPU_OK:
        cli->was_backup = is_marked_backup(cli->store);
        look_at_key(cli);
        return cli_config_opened(cli);
    case QUIPU_NOT_FOUND:
        (void)quipu_error_set(&err, status, "there is no store in \"%s\"", cli->store_path);
        return cli_fail(cli, status, &err,
                        "make one with `quipu init`, or name one with --store DIR");
    case QUIPU_CORRUPT: /* verify could not open it either */
        return fail_to_open(cli, &err, CLI_CURE_DAMAGED);
    case QUIPU_INVALID:
        return fail_to_open(cli, &err, "name another folder with --store DIR");
    default:
        return cli_fail(cli, status, &err, NULL);
    }
}

int cli_open_new(struct cli *cli)
{
    struct quipu_error err = {0};
    enum quipu_status status =
        cli_open_at(cli->store_path, QUIPU_STORE_CREATE_NEW, &cli->store, &cli->engine, &err);
    switch ((int)status) {
    case QUIPU_OK:
        return cli_config_opened(cli);
    case QUIPU_EXISTS:
        (void)quipu_error_set(&err, status, "there is a store in \"%s\" already, it is untouched",
                              cli->store_path);
        return cli_fail(cli, status, &err, "use it, or name another folder with --store DIR");
    case QUIPU_NOT_A_STORE:
        return cli_fail(cli, status, &err, "name an empty or a new folder with --store DIR");
    case QUIPU_NOT_FOUND:
        return cli_fail(cli, status, &err, CLI_CURE_NO_PARENT);
    case QUIPU_INVALID:
        return fail_to_open(cli, &err, "name another folder with --store DIR");
    default:
        return cli_fail(cli, status, &err, NULL);
    }
}

int cli_open_input(const struct cli *cli, const char *path, const char *cure, int *fd)
{
    struct quipu_error err;
    bool is_stdin = strcmp(path, "-") == 0;
    int opened = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (opened < 0) {
        enum quipu_status status = quipu_error_errno(&err, errno, "open \"%s\"", path);
        return cli_fail(cli, status, &err, cure);
    }
    struct stat info;
    if (fstat(opened, &info) == 0 && S_ISDIR(info.st_mode)) {
        if (!is_stdin) {
            (void)close(opened); /* nothing was read from it */
        }
        (void)quipu_error_set(&err, QUIPU_INVALID, "\"%s\" is a folder", is_stdin ? "stdin" : path);
        return cli_fail(cli, QUIPU_INVALID, &err, cure);
    }
    *fd = opened;
    return 0;
}

enum quipu_status cli_read_all(int fd, const char *what, size_t max, struct quipu_buf *out,
                               struct quipu_error *err)
{
    size_t got = 0;
    uint8_t *room = quipu_buf_reserve(out, max + 1);
    if (room == NULL) {
        return quipu_error_set(err, out->status, "%s: no memory for up to %zu bytes", what, max);
    }
    enum quipu_status status =
        quipu_source_read_full(quipu_source_fd(&fd), room, max + 1, &got, err);
    out->len += got;
    if (status == QUIPU_OK && got > max) {
        return quipu_error_set(err, QUIPU_TOO_LARGE, "%s has more than %zu bytes", what, max);
    }
    return status;
}

int cli_filter_init(const struct cli *cli, const struct cli_selection *selection,
                    struct cli_filter *out)
{
    *out = (struct cli_filter){{0}, {0}};
    out->filter.event_type = selection->type;
    if (selection->since.is_set && selection->since.value > 0) {
        out->filter.after = selection->since.value - 1;
    }
    if (selection->until.is_set) {
        if (selection->until.value == 0) {
            return cli_usage(cli, "--until 0 lets nothing through: positions begin at 1");
        }
        out->filter.until = selection->until.value;
    }
    if (selection->aggregate == NULL) {
        return 0;
    }
    const char *slash = strchr(selection->aggregate, '/');
    size_t len =
        slash == NULL ? strlen(selection->aggregate) : (size_t)(slash - selection->aggregate);
    if (len == 0 || len >= sizeof out->aggregate_type) {
        return cli_usage(cli,
                         "--aggregate wants TYPE/ID with a type of 1 to %d bytes, found \"%s\"",
                         QUIPU_AGGREGATE_TYPE_BYTES_MAX, selection->aggregate);
    }
    memcpy(out->aggregate_type, selection->aggregate, len);
    out->filter.aggregate_type = out->aggregate_type;
    out->filter.aggregate_id = slash == NULL ? NULL : slash + 1;
    return 0;
}

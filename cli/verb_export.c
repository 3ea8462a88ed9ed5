/*
 * quipu export: events into one file, as a signed bundle or as JSON lines. Marks nothing as
 * published.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "config.h"
#include "export_bundle.h"
#include "print.h"
#include "quipu/event_lines.h"
#include "quipu/text.h"
#include "receipts.h"

struct export_values {
    struct cli_selection selection;
    const char *format;
    bool is_receipts;
    struct cli_export_bundle bundle;
};

/* ------------------------------------------------------------------ JSON lines */

struct lines_run {
    FILE *out;
    struct quipu_buf line;
    uint64_t events;
};

static enum quipu_status write_line(void *ctx, const struct quipu_event_view *event,
                                    struct quipu_error *err)
{
    struct lines_run *run = ctx;
    quipu_buf_reset(&run->line);
    enum quipu_status status = quipu_event_line_write(event, &run->line, err);
    if (status != QUIPU_OK) {
        return status;
    }
    quipu_buf_append_byte(&run->line, '\n');
    if (run->line.status != QUIPU_OK ||
        fwrite(run->line.data, 1, run->line.len, run->out) != run->line.len) {
        return run->line.status != QUIPU_OK
                   ? quipu_error_set(err, run->line.status, "position %" PRIu64 ": %s",
                                     event->position, quipu_status_text(run->line.status))
                   : quipu_error_errno(err, errno, "write position %" PRIu64, event->position);
    }
    run->events++;
    return QUIPU_OK;
}

static enum quipu_status each_line(const struct cli *cli, const struct quipu_filter *filter,
                                   FILE *out, uint64_t *events, struct quipu_error *err)
{
    struct lines_run run = {.out = out};
    enum quipu_status status = quipu_each_event(cli->engine, filter, write_line, &run, err);
    quipu_buf_release(&run.line);
    if (status == QUIPU_OK && run.events == 0) {
        return quipu_error_set(err, QUIPU_NOT_FOUND, "no event is let through by these options");
    }
    *events = run.events;
    return status;
}

/* A rename is durable when its folder is synced. */
static enum quipu_status sync_folder(const char *path, struct quipu_error *err)
{
    char *copy = strdup(path);
    if (copy == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "a path of %zu bytes", strlen(path));
    }
    enum quipu_status status = QUIPU_OK;
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* EINVAL: a file system that does not sync folders, so there is nothing to wait for. */
    if (fd < 0 || (fsync(fd) != 0 && errno != EINVAL)) {
        status = quipu_error_errno(err, errno, "sync the folder of \"%s\"", path);
    }
    if (fd >= 0) {
        (void)close(fd); /* nothing was written through it */
    }
    free(copy);
    return status;
}

/* Refuses a name that is taken, also by a file made since. Some file systems, as on sticks, know no
 * second name for a file, and some no rename that spares its target. */
static bool name_file(const char *temporary, const char *path)
{
    if (renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_NOREPLACE) == 0) {
        return true;
    }
    return (errno == EINVAL || errno == ENOSYS) && link(temporary, path) == 0;
}

/* Under a temporary name first, so that FILE is whole or not there. */
static enum quipu_status export_lines(const struct cli *cli, const struct quipu_filter *filter,
                                      const char *path, uint64_t *events, struct quipu_error *err)
{
    char temporary[4096];
    int len = snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
    if (len < 0 || (size_t)len >= sizeof temporary) {
        return quipu_error_set(err, QUIPU_INVALID, "a path of %zu bytes is too long", strlen(path));
    }
    int fd = mkostemp(temporary, O_CLOEXEC);
    FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
    if (out == NULL) {
        enum quipu_status status = quipu_error_errno(err, errno, "make \"%s\"", temporary);
        if (fd >= 0) {
            (void)close(fd);         /* nothing was written through it */
            (void)unlink(temporary); /* best effort: an empty temporary file */
        }
        return status;
    }
    enum quipu_status status = each_line(cli, filter, out, events, err);
    if (status == QUIPU_OK && (fflush(out) != 0 || fsync(fd) != 0)) {
        status = quipu_error_errno(err, errno, "write \"%s\"", path);
    }
    if (fclose(out) != 0 && status == QUIPU_OK) {
        status = quipu_error_errno(err, errno, "close \"%s\"", path);
    }
    if (status == QUIPU_OK && !name_file(temporary, path)) {
        status = errno == EEXIST
                     ? quipu_error_set(err, QUIPU_EXISTS,
                                       "there is a file \"%s\" already, it is untouched", path)
                     : quipu_error_errno(err, errno, "make \"%s\"", path);
    }
    (void)unlink(temporary); /* best effort: the file itself has its own name now, or none */
    return status == QUIPU_OK ? sync_folder(path, err) : status;
}

static enum quipu_status export_json_lines(const struct cli *cli, const struct quipu_filter *filter,
                                           const char *path, struct quipu_error *err)
{
    uint64_t events = 0;
    if (strcmp(path, "-") == 0) {
        return each_line(cli, filter, stdout, &events, err);
    }
    enum quipu_status status = export_lines(cli, filter, path, &events, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (!cli->is_json) {
        char text[CLI_COUNTED_BYTES];
        cli_say("%s in %s", cli_counted(events, "event", text), path);
        return QUIPU_OK;
    }
    struct cli_json json = {0};
    cli_json_begin(&json);
    cli_json_text(&json, "file", quipu_slice_text(path));
    cli_json_number(&json, "events", events);
    status = cli_json_end(&json, err);
    cli_json_release(&json);
    return status;
}

/* ------------------------------------------------------------------ the verb */

static int export_receipts(struct cli *cli, const struct export_values *values, const char *path)
{
    const struct cli_selection *selection = &values->selection;
    if (path == NULL || strcmp(path, "-") == 0 || values->format != NULL ||
        selection->aggregate != NULL || selection->type != NULL || selection->since.is_set ||
        selection->until.is_set) {
        return cli_usage(cli, "--receipts wants a FILE, and neither a format nor a selection");
    }
    int code = cli_open(cli);
    if (code == 0) {
        code = cli_export_unlock(cli, &values->bundle);
    }
    if (code != 0) {
        return code;
    }
    const char *operator_name = values->bundle.operator_name;
    return cli_receipts_export(cli, path,
                               operator_name != NULL ? operator_name
                                                     : cli->config->values.offline.operator_name);
}

static int run(struct cli *cli, const void *values, int argc, char **argv)
{
    const struct export_values *export_values = values;
    const char *path = argc == 1 ? argv[0] : NULL;
    bool is_lines = false;
    if (export_values->is_receipts) {
        return export_receipts(cli, export_values, path);
    }
    if (export_values->format != NULL) {
        is_lines = strcmp(export_values->format, "jsonl") == 0;
        if (!is_lines && strcmp(export_values->format, "car") != 0) {
            return cli_usage(cli, "--format wants car or jsonl, found \"%s\"",
                             export_values->format);
        }
    }
    if (path == NULL && (is_lines || export_values->bundle.unpack == NULL) &&
        (is_lines || cli->config->values.storage.offline_events_dir == NULL)) {
        return cli_usage(cli, "wants FILE where no storage.offline_events_dir takes a bundle");
    }
    if (!is_lines && path != NULL && strcmp(path, "-") == 0) {
        return cli_usage(cli, "a bundle is read back before it gets its name, so it needs a FILE "
                              "(--format jsonl writes to -)");
    }
    struct cli_filter filter;
    int code = cli_filter_init(cli, &export_values->selection, &filter);
    if (code == 0) {
        code = cli_open(cli);
    }
    if (code != 0) {
        return code;
    }
    struct cli_export_bundle bundle = export_values->bundle;
    struct quipu_error err;
    struct quipu_buf named = QUIPU_BUF_INIT;
    enum quipu_status status = QUIPU_OK;
    if (bundle.operator_name == NULL) {
        bundle.operator_name = cli->config->values.offline.operator_name;
    }
    if (path == NULL && bundle.unpack != NULL) {
        quipu_buf_printf(&named, "%s.car", bundle.unpack);
        quipu_buf_append_byte(&named, 0);
        status =
            named.status == QUIPU_OK ? QUIPU_OK : quipu_error_set(&err, named.status, "a path");
        path = (const char *)named.data;
    } else if (path == NULL) {
        status = cli_config_bundle_path(cli, &named, &err);
        path = (const char *)named.data;
    }
    if (status == QUIPU_OK && !is_lines) {
        code = cli_export_bundle(cli, &bundle, &filter.filter, path);
    } else if (status == QUIPU_OK) {
        status = export_json_lines(cli, &filter.filter, path, &err);
    }
    quipu_buf_release(&named);
    return status == QUIPU_OK ? code : cli_fail(cli, status, &err, NULL);
}

static const struct cli_option options[] = {
    CLI_SELECTION_OPTIONS(export_values, selection),
    {"format", CLI_TEXT, offsetof(struct export_values, format), "car|jsonl",
     "a signed bundle (car), or whole events as JSON lines"},
    {"receipts", CLI_FLAG, offsetof(struct export_values, is_receipts), NULL,
     "what is published, for the machine that recorded it"},
    CLI_EXPORT_BUNDLE_OPTIONS(export_values, bundle),
};

const struct cli_verb cli_verb_export = {
    .name = "export",
    .arguments = "[FILE]",
    .summary = "Write events into one signed file that travels over an air gap",
    .details =
        "The bundle is a CARv1 that any IPLD tool lists and verifies. It is written under a "
        "temporary\n"
        "name, synced, read back and verified, then renamed; a file that is there is not "
        "touched. With\n"
        "--format jsonl FILE may be - for stdout; nobody signs those lines. --receipts writes what "
        "was\n"
        "published where, signed, for `quipu import --receipts`. Without FILE a bundle gets a name "
        "in the\n"
        "folder storage.offline_events_dir. --unpack DIR also writes what an auditor checks with\n"
        "stock tools, and without FILE the bundle is DIR.car then.",
    .example = "quipu export --operator 'Ada Quispe' ceremony.car",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .values_bytes = sizeof(struct export_values),
    .arguments_min = 0,
    .arguments_max = 1,
    .run = run,
};

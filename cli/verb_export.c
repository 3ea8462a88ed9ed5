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
#include "print.h"
#include "quipu/bundle.h"
#include "quipu/event_json.h"
#include "quipu/text.h"

struct export_values {
    struct cli_selection selection;
    const char *operator_name;
    const char *reason;
    const char *format;
};

/* ------------------------------------------------------------------ a bundle */

static void say_bundle(const char *path, const struct quipu_export_report *report)
{
    char events[CLI_COUNTED_BYTES];
    char bytes[CLI_COUNT_BYTES];
    char root[QUIPU_CID_TEXT_BYTES];
    struct quipu_buf digest = QUIPU_BUF_INIT;
    quipu_cid_format(&report->root, root);
    quipu_hex_append(&digest, quipu_slice(report->file_sha256, sizeof report->file_sha256));
    (void)printf("%s, positions %" PRIu64 " to %" PRIu64 ", in %s, %s\n",
                 cli_counted(report->events, "event", events), report->first_position,
                 report->last_position, path, cli_bytes(report->file_bytes, bytes));
    (void)printf("root    %s\nsha256  %.*s\n", root, QUIPU_SLICE_FMT(quipu_buf_slice(&digest)));
    quipu_buf_release(&digest);
}

static enum quipu_status say_bundle_json(const char *path, const struct quipu_export_report *report,
                                         struct quipu_error *err)
{
    struct cli_json json = {0};
    cli_json_begin(&json);
    cli_json_text(&json, "file", quipu_slice_text(path));
    cli_json_number(&json, "events", report->events);
    cli_json_number(&json, "first_position", report->first_position);
    cli_json_number(&json, "last_position", report->last_position);
    cli_json_number(&json, "file_bytes", report->file_bytes);
    cli_json_cid(&json, "root", &report->root);
    cli_json_cid(&json, "manifest", &report->manifest);
    cli_json_hex(&json, "sha256", quipu_slice(report->file_sha256, sizeof report->file_sha256));
    enum quipu_status status = cli_json_end(&json, err);
    cli_json_release(&json);
    return status;
}

static enum quipu_status export_bundle(const struct cli *cli, const struct export_values *values,
                                       const struct quipu_filter *filter, const char *path,
                                       struct quipu_error *err)
{
    struct quipu_export_options options = QUIPU_EXPORT_OPTIONS_INIT;
    options.filter = *filter;
    options.operator_name = values->operator_name;
    options.reason = values->reason;
    struct quipu_export_report report;
    enum quipu_status status = quipu_export(cli->engine, path, &options, &report, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (cli->is_json) {
        return say_bundle_json(path, &report, err);
    }
    say_bundle(path, &report);
    return QUIPU_OK;
}

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
    enum quipu_status status = quipu_event_view_verify(event, err);
    if (status != QUIPU_OK) {
        return status;
    }
    quipu_buf_reset(&run->line);
    status = quipu_event_to_json(event, &run->line, err);
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
    if (fd < 0 || fsync(fd) != 0) {
        status = quipu_error_errno(err, errno, "sync the folder of \"%s\"", path);
    }
    if (fd >= 0) {
        (void)close(fd); /* nothing was written through it */
    }
    free(copy);
    return status;
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
    /* link and not rename: it refuses a name that is taken, also by a file made since. */
    if (status == QUIPU_OK && link(temporary, path) != 0) {
        status = errno == EEXIST
                     ? quipu_error_set(err, QUIPU_EXISTS,
                                       "there is a file \"%s\" already, it is untouched", path)
                     : quipu_error_errno(err, errno, "make \"%s\"", path);
    }
    (void)unlink(temporary); /* best effort: the file itself has its own name now, or failed */
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
        (void)printf("%s in %s\n", cli_counted(events, "event", text), path);
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

static int run(struct cli *cli, const void *values, int argc, char **argv)
{
    (void)argc;
    const struct export_values *export_values = values;
    bool is_lines = false;
    if (export_values->format != NULL) {
        is_lines = strcmp(export_values->format, "jsonl") == 0;
        if (!is_lines && strcmp(export_values->format, "car") != 0) {
            return cli_usage(cli, "--format wants car or jsonl, found \"%s\"",
                             export_values->format);
        }
    }
    if (!is_lines && strcmp(argv[0], "-") == 0) {
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
    struct quipu_error err;
    enum quipu_status status =
        is_lines ? export_json_lines(cli, &filter.filter, argv[0], &err)
                 : export_bundle(cli, export_values, &filter.filter, argv[0], &err);
    return status == QUIPU_OK ? 0 : cli_fail(cli, status, &err, NULL);
}

static const struct cli_option options[] = {
    CLI_SELECTION_OPTIONS(export_values, selection),
    {"format", CLI_TEXT, offsetof(struct export_values, format), "car|jsonl",
     "a signed bundle (car), or lines for reading as `quipu log --json`"},
    {"operator", CLI_TEXT, offsetof(struct export_values, operator_name), "NAME",
     "who exports, for the manifest"},
    {"reason", CLI_TEXT, offsetof(struct export_values, reason), "TEXT", "why, for the manifest"},
};

const struct cli_verb cli_verb_export = {
    .name = "export",
    .arguments = "FILE",
    .summary = "Write events into one signed file that travels over an air gap",
    .details =
        "The bundle is a CARv1 that any IPLD tool lists and verifies. It is written under a "
        "temporary\n"
        "name, synced, read back and verified, then renamed; a file that is there is not "
        "touched. With\n"
        "--format jsonl FILE may be - for stdout; those lines are for reading: no verb takes "
        "them in\n"
        "again. What another store shall have goes as a bundle.",
    .example = "quipu export --operator 'Ada Quispe' ceremony.car",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .values_bytes = sizeof(struct export_values),
    .arguments_min = 1,
    .arguments_max = 1,
    .run = run,
};

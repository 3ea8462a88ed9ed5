/*
 * quipu replay: bring the built-in projections up to the end of the log, or build them anew, and
 * show their rows.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "catalogue.h"
#include "cli.h"
#include "print.h"
#include "quipu/text.h"

struct replay_values {
    const char *projection;
    bool is_rebuild;
    bool is_causal;
    bool is_show;
};

/* A slice while somebody looks on. */
#define PROGRESS_US 100000
/* More projections than a screen has lines for. */
#define NAMES_BYTES 512

struct progress {
    const struct cli *cli;
    const char *name;
    bool is_shown;
};

struct show_run {
    const struct cli *cli;
    const char *projection;
    struct cli_json json;
    struct quipu_buf value;
};

/* What DAG-JSON cannot carry is shown as bytes, under `raw` as in replies to queries. */
static enum quipu_status show_row(void *ctx, struct quipu_slice key, struct quipu_slice value,
                                  struct quipu_error *err)
{
    struct show_run *run = ctx;
    quipu_buf_reset(&run->value);
    bool is_bytes = false;
    enum quipu_status status = cli_json_block(value, &run->value, &is_bytes, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (!run->cli->is_json) {
        cli_put_plain(key);
        (void)fputs(is_bytes ? " raw " : " ", stdout);
        cli_put_plain(quipu_buf_slice(&run->value));
        (void)fputc('\n', stdout);
        return QUIPU_OK;
    }
    cli_json_begin(&run->json);
    cli_json_text(&run->json, "projection", quipu_slice_text(run->projection));
    cli_json_text(&run->json, "key", key);
    cli_json_raw(&run->json, is_bytes ? "raw" : "value", quipu_buf_slice(&run->value));
    return cli_json_end(&run->json, err);
}

static enum quipu_status show_rows(const struct cli *cli, const struct quipu_projection *projection,
                                   struct quipu_error *err)
{
    struct show_run run = {.cli = cli, .projection = projection->name};
    enum quipu_status status = quipu_projection_each_row(cli->engine, projection->name,
                                                         quipu_slice(NULL, 0), show_row, &run, err);
    cli_json_release(&run.json);
    quipu_buf_release(&run.value);
    return status;
}

static void say(const struct cli *cli, const struct quipu_projection *projection,
                const struct quipu_replay_report *report, int64_t took_us)
{
    char applied[CLI_COUNTED_BYTES];
    char rows[CLI_COUNTED_BYTES];
    char rate[CLI_COUNT_BYTES];
    char took[CLI_COUNT_BYTES];
    struct quipu_buf digest = QUIPU_BUF_INIT;
    quipu_hex_append(&digest, quipu_slice(report->digest, sizeof report->digest));
    uint64_t per_second =
        report->applied * UINT64_C(1000000) / (uint64_t)(took_us > 0 ? took_us : 1);
    (void)printf("%s%s%s version %" PRIu64 ": position %" PRIu64 ", %s, %s applied in %s "
                 "(%s/s)\ndigest  %.*s\n",
                 cli_paint(cli, CLI_BOLD), projection->name, cli_paint(cli, CLI_PLAIN),
                 projection->version, report->position, cli_counted(report->rows, "row", rows),
                 cli_counted(report->applied, "event", applied), cli_duration(took_us, took),
                 cli_count(per_second, rate), QUIPU_SLICE_FMT(quipu_buf_slice(&digest)));
    quipu_buf_release(&digest);
}

static enum quipu_status say_json(const struct quipu_projection *projection,
                                  const struct quipu_replay_report *report, int64_t took_us,
                                  struct quipu_error *err)
{
    struct cli_json json = {0};
    cli_json_begin(&json);
    cli_json_text(&json, "projection", quipu_slice_text(projection->name));
    cli_json_number(&json, "version", projection->version);
    cli_json_number(&json, "position", report->position);
    cli_json_number(&json, "rows", report->rows);
    cli_json_number(&json, "applied", report->applied);
    cli_json_number(&json, "skipped", report->skipped);
    cli_json_hex(&json, "digest", quipu_slice(report->digest, sizeof report->digest));
    cli_json_number(&json, "took_us", (uint64_t)took_us);
    enum quipu_status status = cli_json_end(&json, err);
    cli_json_release(&json);
    return status;
}

/* How far it is, at which rate, and how long it will take, on one line of the terminal that is
 * written over after each slice. */
static void progress_show(void *ctx, const struct quipu_replay_progress *now)
{
    struct progress *progress = ctx;
    if (!progress->cli->has_progress) {
        return;
    }
    char done[CLI_COUNT_BYTES];
    char total[CLI_COUNTED_BYTES];
    char rate[CLI_COUNT_BYTES];
    char left[CLI_COUNT_BYTES];
    (void)fprintf(stderr, "\r%s: %s of %s, %s/s, %s left\x1b[K", progress->name,
                  cli_count(now->done, done), cli_counted(now->total, "event", total),
                  cli_count(now->per_second, rate),
                  now->left_us < 0 ? "?" : cli_duration(now->left_us, left));
    (void)fflush(stderr);
    progress->is_shown = true;
}

/* The rows are the result of --show; the figures then only stand in its way. */
static enum quipu_status replay(const struct cli *cli, const struct replay_values *values,
                                const struct quipu_projection *projection, struct quipu_error *err)
{
    struct quipu_replay_report report;
    struct quipu_replay_options options = QUIPU_REPLAY_OPTIONS_INIT;
    struct progress progress = {.cli = cli, .name = projection->name};
    options.mode = values->is_causal    ? QUIPU_REPLAY_CAUSAL
                   : values->is_rebuild ? QUIPU_REPLAY_REBUILD
                                        : QUIPU_REPLAY_CATCH_UP;
    options.progress = progress_show;
    options.ctx = &progress;
    if (cli->has_progress) {
        options.slice_us = PROGRESS_US;
    }
    int64_t began_us = cli_now_us();
    enum quipu_status status = quipu_replay_with(cli->engine, projection, &options, &report, err);
    if (progress.is_shown) {
        (void)fputs("\r\x1b[K", stderr);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    int64_t took_us = cli_now_us() - began_us;
    if (values->is_show) {
        return show_rows(cli, projection, err);
    }
    if (cli->is_json) {
        return say_json(projection, &report, took_us, err);
    }
    say(cli, projection, &report, took_us);
    return QUIPU_OK;
}

/* The names of all projections, with commas. */
static void projection_names(char out[NAMES_BYTES])
{
    size_t len = 0;
    for (size_t i = 0; i < catalogue_projection_count && len < NAMES_BYTES; i++) {
        len += (size_t)snprintf(out + len, NAMES_BYTES - len, "%s%s", i == 0 ? "" : ", ",
                                catalogue_projections[i]->name);
    }
}

static void help_projections(void)
{
    char names[NAMES_BYTES];
    projection_names(names);
    (void)printf("\nProjections:\n  %s\n", names);
}

static int run(struct cli *cli, const void *values, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    const struct replay_values *replay_values = values;
    const char *name = replay_values->projection;
    if (name != NULL && catalogue_projection_find(name) == NULL) {
        char names[NAMES_BYTES];
        projection_names(names);
        return cli_usage(cli, "there is no projection \"%s\": they are %s", name, names);
    }
    int code = cli_open(cli);
    if (code != 0) {
        return code;
    }
    struct quipu_error err;
    enum quipu_status status = QUIPU_OK;
    for (size_t i = 0; i < catalogue_projection_count && status == QUIPU_OK; i++) {
        if (name == NULL || strcmp(name, catalogue_projections[i]->name) == 0) {
            status = replay(cli, replay_values, catalogue_projections[i], &err);
        }
    }
    return status == QUIPU_OK ? 0 : cli_fail(cli, status, &err, NULL);
}

static const struct cli_option options[] = {
    {"projection", CLI_TEXT, offsetof(struct replay_values, projection), "NAME",
     "only this one of those below"},
    {"rebuild", CLI_FLAG, offsetof(struct replay_values, is_rebuild), NULL,
     "from the first event, beside the old rows, then swap"},
    {"causal", CLI_FLAG, offsetof(struct replay_values, is_causal), NULL,
     "rebuild in causal order, the same on stores with the same events"},
    {"show", CLI_FLAG, offsetof(struct replay_values, is_show), NULL,
     "print the rows, values as DAG-JSON"},
};

const struct cli_verb cli_verb_replay = {
    .name = "replay",
    .arguments = "",
    .summary = "Bring projections up to the end of the log",
    .details = "The digest covers name, version, position, skipped events and every row: two "
               "stores that show\n"
               "the same one reached the same state. `quipu projections` shows how they are.",
    .example = "quipu replay --projection roles --show",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .values_bytes = sizeof(struct replay_values),
    .help_more = help_projections,
    .run = run,
};

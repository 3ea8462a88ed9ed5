/*
 * quipu projections: how the projections of a store are, and what a person may do about them:
 * pause, resume, retry, skip, drop. Bringing one up to date is `quipu replay`.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "cli.h"
#include "print.h"
#include "quipu/clock.h"
#include "quipu/projection.h"

struct projections_values {
    const char *why;
};

/* ------------------------------------------------------------------ list */

struct list_run {
    const struct cli *cli;
    const char *name; /* whose skips are visited */
    struct cli_json json;
};

static enum quipu_status skip_text(void *ctx, const struct quipu_projection_skip *skip,
                                   struct quipu_error *err)
{
    char time[QUIPU_RFC3339_BYTES];
    char cid[QUIPU_CID_TEXT_BYTES];
    (void)ctx;
    (void)err;
    quipu_rfc3339_format(skip->skipped_unix_us, time);
    quipu_cid_format(&skip->cid, cid);
    (void)printf("    skips position %" PRIu64 " in version %" PRIu64 " since %s, %s: ",
                 skip->position, skip->version, time, cid);
    cli_put_plain(skip->why);
    (void)fputc('\n', stdout);
    return QUIPU_OK;
}

static void rebuild_text(const struct quipu_projection_status *one)
{
    const char *order = one->shadow_is_causal ? " in causal order" : "";
    if (one->shadow_version == 0) {
        return;
    }
    if (!one->shadow_is_left_over) {
        (void)printf("    rebuilt%s as version %" PRIu64 " up to position %" PRIu64 "\n", order,
                     one->shadow_version, one->shadow_position);
        return;
    }
    (void)printf("    a rebuild%s as version %" PRIu64 " is left over at position %" PRIu64
                 "; %s\n",
                 order, one->shadow_version, one->shadow_position,
                 one->parked_position != 0 ? "the next replay after retry or skip clears it"
                                           : "the next replay clears it");
}

static void list_text(const struct cli *cli, const struct quipu_projection_status *one)
{
    char lag[CLI_COUNTED_BYTES];
    (void)printf("%s%s%s version %" PRIu64 ": %s, position %" PRIu64 ", %s behind\n",
                 cli_paint(cli, CLI_BOLD), one->name, cli_paint(cli, CLI_PLAIN), one->version,
                 quipu_projection_state_text(one->state), one->position,
                 cli_counted(one->lag, "event", lag));
    rebuild_text(one);
    if (one->parked_position != 0) {
        char time[QUIPU_RFC3339_BYTES];
        quipu_rfc3339_format(one->parked_unix_us, time);
        (void)printf("    %sversion %" PRIu64 " is parked in front of position %" PRIu64
                     " since %s: %s: ",
                     one->parked_is_shadow ? "the rebuild as " : "", one->parked_version,
                     one->parked_position, time, quipu_status_text(one->parked_status));
        cli_put_plain(quipu_slice_text(one->parked_line));
        (void)fputc('\n', stdout);
    }
}

static enum quipu_status skip_json(void *ctx, const struct quipu_projection_skip *skip,
                                   struct quipu_error *err)
{
    struct list_run *run = ctx;
    (void)err;
    cli_json_item(&run->json);
    cli_json_number(&run->json, "version", skip->version);
    cli_json_number(&run->json, "position", skip->position);
    cli_json_cid(&run->json, "cid", &skip->cid);
    cli_json_time(&run->json, "skipped_at", skip->skipped_unix_us);
    cli_json_text(&run->json, "why", skip->why);
    cli_json_close(&run->json, '}');
    return QUIPU_OK;
}

static void parked_json(struct cli_json *json, const struct quipu_projection_status *one)
{
    if (one->parked_position == 0) {
        cli_json_null(json, "parked");
        return;
    }
    cli_json_object(json, "parked");
    cli_json_number(json, "version", one->parked_version);
    cli_json_number(json, "position", one->parked_position);
    cli_json_text(json, "reason", quipu_slice_text(quipu_status_name(one->parked_status)));
    cli_json_text(json, "line", quipu_slice_text(one->parked_line));
    cli_json_time(json, "parked_at", one->parked_unix_us);
    cli_json_bool(json, "by_rebuild", one->parked_is_shadow);
    cli_json_close(json, '}');
}

static void list_json(struct cli_json *json, const struct quipu_projection_status *one)
{
    cli_json_begin(json);
    cli_json_text(json, "projection", quipu_slice_text(one->name));
    cli_json_text(json, "state", quipu_slice_text(quipu_projection_state_text(one->state)));
    cli_json_number(json, "version", one->version);
    cli_json_number(json, "position", one->position);
    cli_json_number(json, "lag", one->lag);
    cli_json_number(json, "reacted", one->reacted);
    cli_json_number(json, "skipped", one->skipped);
    if (one->shadow_version == 0) {
        cli_json_null(json, "rebuild");
    } else {
        cli_json_object(json, "rebuild");
        cli_json_number(json, "version", one->shadow_version);
        cli_json_number(json, "position", one->shadow_position);
        cli_json_bool(json, "causal", one->shadow_is_causal);
        cli_json_bool(json, "left_over", one->shadow_is_left_over);
        cli_json_close(json, '}');
    }
    parked_json(json, one);
}

static enum quipu_status list_one(void *ctx, const struct quipu_projection_status *one,
                                  struct quipu_error *err)
{
    struct list_run *run = ctx;
    if (!run->cli->is_json) {
        list_text(run->cli, one);
        return quipu_projection_each_skip(run->cli->engine, one->name, skip_text, run, err);
    }
    list_json(&run->json, one);
    cli_json_list(&run->json, "skips");
    enum quipu_status status =
        quipu_projection_each_skip(run->cli->engine, one->name, skip_json, run, err);
    cli_json_close(&run->json, ']');
    return status == QUIPU_OK ? cli_json_end(&run->json, err) : status;
}

static enum quipu_status list(const struct cli *cli, struct quipu_error *err)
{
    struct list_run run = {.cli = cli};
    enum quipu_status status = quipu_each_projection(cli->engine, list_one, &run, err);
    cli_json_release(&run.json);
    return status;
}

/* ------------------------------------------------------------------ the other words */

struct wish {
    const char *name;
    uint64_t position;
    const char *why;
};

static enum quipu_status do_pause(const struct cli *cli, const struct wish *wish,
                                  struct quipu_error *err)
{
    return quipu_projection_pause(cli->engine, wish->name, err);
}

static enum quipu_status do_resume(const struct cli *cli, const struct wish *wish,
                                   struct quipu_error *err)
{
    return quipu_projection_resume(cli->engine, wish->name, err);
}

static enum quipu_status do_retry(const struct cli *cli, const struct wish *wish,
                                  struct quipu_error *err)
{
    return quipu_projection_retry(cli->engine, wish->name, err);
}

static enum quipu_status do_skip(const struct cli *cli, const struct wish *wish,
                                 struct quipu_error *err)
{
    return quipu_projection_skip(cli->engine, wish->name, wish->position, wish->why, err);
}

static enum quipu_status do_drop(const struct cli *cli, const struct wish *wish,
                                 struct quipu_error *err)
{
    return quipu_projection_drop(cli->engine, wish->name, err);
}

struct word {
    const char *name;
    const char *became;
    enum quipu_status (*make)(const struct cli *cli, const struct wish *wish,
                              struct quipu_error *err);
};

static const struct word words[] = {
    {"pause", "paused", do_pause},   {"resume", "resumed", do_resume},
    {"retry", "to retry", do_retry}, {"skip", "going over it", do_skip},
    {"drop", "dropped", do_drop},
};

static const struct word *word_find(const char *name)
{
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(words[i].name, name) == 0) {
            return &words[i];
        }
    }
    return NULL;
}

static enum quipu_status change(const struct cli *cli, const struct word *word,
                                const struct wish *wish, struct quipu_error *err)
{
    enum quipu_status status = word->make(cli, wish, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (!cli->is_json) {
        (void)printf("%s is %s\n", wish->name, word->became);
        return QUIPU_OK;
    }
    struct cli_json json = {0};
    cli_json_begin(&json);
    cli_json_text(&json, "projection", quipu_slice_text(wish->name));
    cli_json_text(&json, "became", quipu_slice_text(word->became));
    status = cli_json_end(&json, err);
    cli_json_release(&json);
    return status;
}

/* What the command line asks for. Returns 0, or the exit code after it has said what is wrong. */
static int wish_read(const struct cli *cli, const struct word *word, int argc, char **argv,
                     struct wish *wish)
{
    bool is_skip = word->make == do_skip;
    if (argc != (is_skip ? 3 : 2)) {
        return cli_usage(cli,
                         is_skip ? "%s wants a projection and a position" : "%s wants a projection",
                         word->name);
    }
    if (is_skip && !cli_number_parse(argv[2], &wish->position)) {
        return cli_usage(cli, "skip wants a position, found \"%s\"", argv[2]);
    }
    if (is_skip == (wish->why == NULL)) {
        return cli_usage(
            cli, is_skip ? "%s wants --why TEXT: it is kept with the skip" : "%s takes no --why",
            word->name);
    }
    wish->name = argv[1];
    return 0;
}

static int run(struct cli *cli, const void *values, int argc, char **argv)
{
    const struct projections_values *given = values;
    struct wish wish = {.why = given->why};
    bool is_list = argc == 0 || strcmp(argv[0], "list") == 0;
    const struct word *word = is_list ? NULL : word_find(argv[0]);
    if (is_list && (argc > 1 || wish.why != NULL)) {
        return cli_usage(cli, "list takes nothing else");
    }
    if (!is_list && word == NULL) {
        return cli_usage(cli, "wants list, pause, resume, retry, skip or drop, found \"%s\"",
                         argv[0]);
    }
    int code = is_list ? 0 : wish_read(cli, word, argc, argv, &wish);
    if (code == 0) {
        code = cli_open(cli);
    }
    if (code != 0) {
        return code;
    }
    struct quipu_error err;
    enum quipu_status status = is_list ? list(cli, &err) : change(cli, word, &wish, &err);
    if (status == QUIPU_OK) {
        return 0;
    }
    return cli_fail(cli, status, &err,
                    status == QUIPU_NOT_FOUND ? "`quipu projections list` shows what there is"
                                              : NULL);
}

static const struct cli_option options[] = {
    {"why", CLI_TEXT, offsetof(struct projections_values, why), "TEXT",
     "why the event is skipped; kept, and listed"},
};

const struct cli_verb cli_verb_projections = {
    .name = "projections",
    .arguments = "[list|pause NAME|resume NAME|retry NAME|skip NAME POSITION|drop NAME]",
    .summary = "How projections are; pause, resume, retry, skip, drop",
    .details =
        "A projection that cannot apply an event is parked in front of it. When the cause is gone, "
        "retry lets\n"
        "the next replay try again; skip, with --why, goes over that event for good in this "
        "version: its\n"
        "digest then says so. drop forgets rows, checkpoint and skips; events stay.",
    .example = "quipu projections skip inventory 1017 --why \"mistyped serial number\"",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .values_bytes = sizeof(struct projections_values),
    .arguments_max = 3,
    .run = run,
};

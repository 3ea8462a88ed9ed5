/*
 * quipu subscriptions: the named subscriptions of a store, how far each has come, and what a person
 * may do about one: have it go on elsewhere, or forget it. Never reads an event.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "cli.h"
#include "print.h"
#include "quipu/clock.h"
#include "quipu/subscription.h"

/* ------------------------------------------------------------------ list */

struct list_run {
    const struct cli *cli;
    struct cli_json json;
};

static enum quipu_status list_one(void *ctx, const struct quipu_subscription_cursor *cursor,
                                  struct quipu_error *err)
{
    struct list_run *run = ctx;
    const struct cli *cli = run->cli;
    if (!cli->is_json) {
        char behind[CLI_COUNTED_BYTES];
        char time[QUIPU_RFC3339_BYTES];
        quipu_rfc3339_format(cursor->acknowledged_unix_us, time);
        (void)printf("%s%.*s%s: position %" PRIu64 ", %s behind, since %s\n",
                     cli_paint(cli, CLI_BOLD), QUIPU_SLICE_FMT(cursor->name),
                     cli_paint(cli, CLI_PLAIN), cursor->position,
                     cli_counted(cursor->behind, "event", behind), time);
        return QUIPU_OK;
    }
    cli_json_begin(&run->json);
    cli_json_text(&run->json, "subscription", cursor->name);
    cli_json_number(&run->json, "position", cursor->position);
    cli_json_number(&run->json, "behind", cursor->behind);
    cli_json_time(&run->json, "acknowledged_at", cursor->acknowledged_unix_us);
    return cli_json_end(&run->json, err);
}

static enum quipu_status list(const struct cli *cli, struct quipu_error *err)
{
    struct list_run run = {.cli = cli};
    enum quipu_status status = quipu_each_subscription(cli->engine, list_one, &run, err);
    cli_json_release(&run.json);
    return status;
}

/* ------------------------------------------------------------------ reset, drop */

enum word { WORD_LIST, WORD_RESET, WORD_DROP };

struct wish {
    enum word word;
    const char *name;
    uint64_t position;
};

static enum quipu_status change(const struct cli *cli, const struct wish *wish,
                                struct quipu_error *err)
{
    bool is_reset = wish->word == WORD_RESET;
    enum quipu_status status =
        is_reset ? quipu_subscription_reset(cli->engine, wish->name, wish->position, err)
                 : quipu_subscription_drop(cli->engine, wish->name, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (!cli->is_json) {
        if (is_reset) {
            (void)printf("%s goes on behind position %" PRIu64 "\n", wish->name, wish->position);
        } else {
            (void)printf("%s is dropped\n", wish->name);
        }
        return QUIPU_OK;
    }
    struct cli_json json = {0};
    cli_json_begin(&json);
    cli_json_text(&json, "subscription", quipu_slice_text(wish->name));
    cli_json_text(&json, "became", quipu_slice_text(is_reset ? "reset" : "dropped"));
    if (is_reset) {
        cli_json_number(&json, "position", wish->position);
    }
    status = cli_json_end(&json, err);
    cli_json_release(&json);
    return status;
}

/* ------------------------------------------------------------------ the verb */

/* What the command line asks for. Returns 0, or the exit code after it has said what is wrong. */
static int wish_read(const struct cli *cli, int argc, char **argv, struct wish *wish)
{
    const char *word = argc == 0 ? "list" : argv[0];
    if (strcmp(word, "list") == 0) {
        wish->word = WORD_LIST;
        return argc <= 1 ? 0 : cli_usage(cli, "list takes nothing else");
    }
    bool is_reset = strcmp(word, "reset") == 0;
    if (!is_reset && strcmp(word, "drop") != 0) {
        return cli_usage(cli, "wants list, reset or drop, found \"%s\"", word);
    }
    if (argc < 2 || (!is_reset && argc > 2)) {
        return cli_usage(cli, "%s wants the name of a subscription%s", word,
                         is_reset ? ", and perhaps a position" : "");
    }
    if (argc == 3 && !cli_number_parse(argv[2], &wish->position)) {
        return cli_usage(cli, "reset wants a position, found \"%s\"", argv[2]);
    }
    wish->word = is_reset ? WORD_RESET : WORD_DROP;
    wish->name = argv[1];
    return 0;
}

static int run(struct cli *cli, const void *values, int argc, char **argv)
{
    (void)values;
    struct wish wish = {.position = 0};
    int code = wish_read(cli, argc, argv, &wish);
    if (code == 0) {
        code = cli_open(cli);
    }
    if (code != 0) {
        return code;
    }
    struct quipu_error err;
    enum quipu_status status = wish.word == WORD_LIST ? list(cli, &err) : change(cli, &wish, &err);
    if (status == QUIPU_OK) {
        return 0;
    }
    const char *cure = NULL;
    if (status == QUIPU_NOT_FOUND) {
        cure = "`quipu subscriptions list` shows what there is";
    } else if (status == QUIPU_BUSY) {
        cure = "end the program that has it open, then try again";
    }
    return cli_fail(cli, status, &err, cure);
}

const struct cli_verb cli_verb_subscriptions = {
    .name = "subscriptions",
    .arguments = "[list|reset NAME [POSITION]|drop NAME]",
    .summary = "How far named subscriptions have come; reset, drop",
    .details =
        "A subscription keeps its place in the log under its name. reset has it go on behind "
        "POSITION, 0 where\n"
        "none is given: it gets every event behind that, again. drop forgets it: opened again, it "
        "begins\n"
        "where its program says. Either is refused while a program has it open.",
    .example = "quipu subscriptions reset mailer 1017",
    .arguments_max = 3,
    .run = run,
};

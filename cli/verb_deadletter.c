/*
 * quipu deadletter: the events that a server will never take: list them, try again, give up.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "cli.h"
#include "print.h"
#include "quipu/clock.h"
#include "quipu/outbox.h"

struct list_run {
    const struct cli *cli;
    struct cli_json json;
};

static enum quipu_status list_one(void *ctx, const struct quipu_dead_letter *letter,
                                  struct quipu_error *err)
{
    struct list_run *run = ctx;
    char time[QUIPU_RFC3339_BYTES];
    if (!run->cli->is_json) {
        quipu_rfc3339_format(letter->buried_unix_us, time);
        (void)printf("%8" PRIu64 "  %-27s  %s%s: ", letter->position, time,
                     letter->is_dropped ? "dropped, " : "", quipu_status_text(letter->reason));
        cli_put_plain(letter->line);
        (void)fputc('\n', stdout);
        return QUIPU_OK;
    }
    cli_json_begin(&run->json);
    cli_json_number(&run->json, "position", letter->position);
    cli_json_text(&run->json, "reason", quipu_slice_text(quipu_status_name(letter->reason)));
    cli_json_text(&run->json, "line", letter->line);
    cli_json_time(&run->json, "buried_at", letter->buried_unix_us);
    cli_json_bool(&run->json, "dropped", letter->is_dropped);
    return cli_json_end(&run->json, err);
}

static enum quipu_status list(const struct cli *cli, struct quipu_error *err)
{
    struct list_run run = {.cli = cli};
    enum quipu_status status = quipu_each_dead_letter(cli->engine, list_one, &run, err);
    cli_json_release(&run.json);
    return status;
}

static enum quipu_status change(const struct cli *cli, const char *what, uint64_t position,
                                struct quipu_error *err)
{
    bool is_retry = strcmp(what, "retry") == 0;
    enum quipu_status status = is_retry ? quipu_dead_letter_retry(cli->engine, position, err)
                                        : quipu_dead_letter_drop(cli->engine, position, err);
    if (status == QUIPU_NOT_FOUND) {
        return quipu_error_set(err, status,
                               "there is no dead letter at position %" PRIu64
                               "; `quipu deadletter list` shows them",
                               position);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    const char *became = is_retry ? "pending again" : "given up";
    if (!cli->is_json) {
        (void)printf("position %" PRIu64 " is %s\n", position, became);
        if (!is_retry) {
            cli_note(cli, "later events of its aggregate cannot be read elsewhere without it: a "
                          "store that pulls them keeps them in quarantine");
        }
        return QUIPU_OK;
    }
    struct cli_json json = {0};
    cli_json_begin(&json);
    cli_json_number(&json, "position", position);
    cli_json_text(&json, "became", quipu_slice_text(is_retry ? "pending" : "dropped"));
    status = cli_json_end(&json, err);
    cli_json_release(&json);
    return status;
}

static int run(struct cli *cli, const void *values, int argc, char **argv)
{
    (void)values;
    const char *what = argv[0];
    bool is_list = strcmp(what, "list") == 0;
    uint64_t position = 0;
    if (!is_list && strcmp(what, "retry") != 0 && strcmp(what, "drop") != 0) {
        return cli_usage(cli, "wants list, retry or drop, found \"%s\"", what);
    }
    if (is_list ? argc != 1 : argc != 2) {
        return cli_usage(cli, is_list ? "%s takes no position" : "%s wants a position", what);
    }
    if (!is_list && !cli_number_parse(argv[1], &position)) {
        return cli_usage(cli, "%s wants a position, found \"%s\"", what, argv[1]);
    }
    int code = cli_open(cli);
    if (code != 0) {
        return code;
    }
    struct quipu_error err;
    enum quipu_status status = is_list ? list(cli, &err) : change(cli, what, position, &err);
    return status == QUIPU_OK ? 0 : cli_fail(cli, status, &err, NULL);
}

const struct cli_verb cli_verb_deadletter = {
    .name = "deadletter",
    .arguments = "list|retry POSITION|drop POSITION",
    .summary = "Events that a server refused for good: list, retry, drop",
    .details =
        "A dropped one stays in the log and in the list; it is only never published. Later events "
        "of its\n"
        "aggregate name it as the one before them: elsewhere they cannot be taken in without it, "
        "unless a\n"
        "bundle brings it.",
    .example = "quipu deadletter retry 17",
    .arguments_min = 1,
    .arguments_max = 2,
    .run = run,
};

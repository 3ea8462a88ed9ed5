/*
 * quipu merge: join the branches of a forked aggregate by one event, given as one JSON line.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "lines.h"
#include "print.h"
#include "quipu/event_json.h"
#include "quipu/forks.h"

struct merge_values {
    bool allows_secrets;
};

/* The one line that is not blank. */
static enum quipu_status read_line(struct cli_lines *lines, struct quipu_event_arena *arena,
                                   struct quipu_event *event, struct quipu_error *err)
{
    struct quipu_slice line;
    bool has_event = false;
    enum quipu_status status = cli_lines_next(lines, &line, err);
    for (; status == QUIPU_OK; status = cli_lines_next(lines, &line, err)) {
        if (line.len == 0) {
            continue;
        }
        if (has_event) {
            return quipu_error_set(
                err, QUIPU_INVALID,
                "line %" PRIu64 ": a merge is one event, and one was read already", lines->number);
        }
        status = quipu_event_from_json(line, arena, event, err);
        if (status != QUIPU_OK) {
            return quipu_error_wrap(err, status, "line %" PRIu64, lines->number);
        }
        has_event = true;
    }
    if (status != QUIPU_DONE) {
        return status;
    }
    return has_event ? QUIPU_OK
                     : quipu_error_set(err, QUIPU_INVALID, "there is no event in the input");
}

static enum quipu_status aggregate_check(const char *named, const struct quipu_event *event,
                                         struct quipu_error *err)
{
    size_t type = strlen(event->aggregate.type);
    if (strncmp(named, event->aggregate.type, type) == 0 && named[type] == '/' &&
        strcmp(named + type + 1, event->aggregate.id) == 0) {
        return QUIPU_OK;
    }
    return quipu_error_set(err, QUIPU_INVALID,
                           "the event is of aggregate %s/%s, and %.400s is to be merged; name the "
                           "same one in both",
                           event->aggregate.type, event->aggregate.id, named);
}

static enum quipu_status say(const struct cli *cli, const struct quipu_merged *merged,
                             struct quipu_error *err)
{
    if (!cli->is_json) {
        char cid[QUIPU_CID_TEXT_BYTES];
        quipu_cid_format(&merged->event.cid, cid);
        (void)printf("%s  position %" PRIu64 ", version %" PRIu64 "%s, %" PRIu64 " tip%s left\n",
                     cid, merged->event.position, merged->event.version,
                     merged->event.was_duplicate ? ", was there already" : "", merged->tips_left,
                     merged->tips_left == 1 ? "" : "s");
        return QUIPU_OK;
    }
    struct cli_json json = {0};
    cli_json_begin(&json);
    cli_json_number(&json, "position", merged->event.position);
    cli_json_number(&json, "version", merged->event.version);
    cli_json_uuid(&json, "event_id", merged->event.event_id);
    cli_json_cid(&json, "cid", &merged->event.cid);
    cli_json_bool(&json, "duplicate", merged->event.was_duplicate);
    cli_json_number(&json, "tips_joined", merged->tips_joined);
    cli_json_number(&json, "tips_left", merged->tips_left);
    enum quipu_status status = cli_json_end(&json, err);
    cli_json_release(&json);
    return status;
}

static int run(struct cli *cli, const void *values, int argc, char **argv)
{
    const struct merge_values *merge_values = values;
    const char *path = argc == 1 ? "-" : argv[1];
    struct cli_lines lines = {.fd = STDIN_FILENO};
    struct quipu_event_arena arena = {0};
    struct quipu_event event = {0};
    struct quipu_merged merged;
    struct quipu_error err = {0};
    int code = cli_open(cli);
    if (code == 0) {
        code =
            cli_open_input(cli, path, "name a file with one JSON line, or - for stdin", &lines.fd);
    }
    if (code != 0) {
        return code;
    }
    enum quipu_status status = read_line(&lines, &arena, &event, &err);
    const char *cure = cli_is_cbor(status) ? CLI_CURE_JSON_VALUE : NULL;
    if (status == QUIPU_OK) {
        event.secrets = merge_values->allows_secrets ? QUIPU_SECRET_ALLOW : QUIPU_SECRET_REFUSE;
        status = aggregate_check(argv[0], &event, &err);
    }
    if (status == QUIPU_OK) {
        status = quipu_merge(cli->engine, &event, &merged, &err);
    }
    if (status == QUIPU_OK) {
        cli_done(cli, 1, "merged");
        status = say(cli, &merged, &err);
    }
    if (lines.fd != STDIN_FILENO) {
        (void)close(lines.fd); /* only read from */
    }
    quipu_event_arena_release(&arena);
    cli_lines_release(&lines);
    return status == QUIPU_OK ? 0 : cli_fail(cli, status, &err, cure);
}

static const struct cli_option options[] = {
    {"allow-secret", CLI_FLAG, offsetof(struct merge_values, allows_secrets), NULL,
     "store a payload that holds secret material in clear"},
};

const struct cli_verb cli_verb_merge = {
    .name = "merge",
    .arguments = "T/ID [FILE|-]",
    .summary = "Join the branches of a forked aggregate by one event",
    .details =
        "The event is one JSON line as `quipu append` takes it, of any type; its payload says what "
        "the\n"
        "merged state is. It follows all tips of the aggregate, up to 16; `quipu forks` shows what "
        "parted.\n"
        "Where more tips are left, merge again. Run again with the same event_id it changes "
        "nothing.",
    .example = "quipu merge key/root-2026 merged.json",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .values_bytes = sizeof(struct merge_values),
    .arguments_min = 1,
    .arguments_max = 2,
    .run = run,
};

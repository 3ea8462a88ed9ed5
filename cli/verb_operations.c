/*
 * quipu operations: what went out of the store and what came in, oldest first.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "operation_line.h"

#include <inttypes.h>

#include "cli.h"
#include "print.h"
#include "quipu/operations.h"
#include "quipu/text.h"

struct operations_values {
    struct cli_number after;
};

static void put_said(const char *name, struct quipu_slice text)
{
    if (text.len > 0) {
        (void)printf("  %s ", name);
        cli_put_plain(text);
        (void)printf("\n");
    }
}

static enum quipu_status say(void *ctx, const struct quipu_operation *operation,
                             struct quipu_error *err)
{
    const struct cli *cli = ctx;
    char when[QUIPU_RFC3339_BYTES];
    char events[CLI_COUNTED_BYTES];
    char added[CLI_COUNT_BYTES];
    char known[CLI_COUNT_BYTES];
    (void)err;
    quipu_rfc3339_format(operation->unix_us, when);
    (void)printf("%s%" PRIu64 "%s  %s  %.*s, %s", cli_paint(cli, CLI_BOLD), operation->number,
                 cli_paint(cli, CLI_PLAIN), when, QUIPU_SLICE_FMT(operation->kind),
                 cli_counted(operation->events, "event", events));
    if (operation->added > 0 || operation->known > 0) {
        (void)printf(", %s added, %s known", cli_count(operation->added, added),
                     cli_count(operation->known, known));
    }
    if (operation->bundle > 0) {
        (void)printf(", bundle %" PRIu64, operation->bundle);
    }
    if (operation->missing > 0) {
        (void)printf(", %" PRIu64 " missing before it", operation->missing);
    }
    (void)printf("\n");
    put_said("operator", operation->operator_name);
    put_said("reason  ", operation->reason);
    put_said("source  ", operation->source);
    put_said("signed  ", operation->signers);
    if (operation->has_sha256) {
        struct quipu_buf digest = QUIPU_BUF_INIT;
        quipu_hex_append(&digest, quipu_slice(operation->sha256, sizeof operation->sha256));
        put_said("sha256  ", quipu_buf_slice(&digest));
        quipu_buf_release(&digest);
    }
    return QUIPU_OK;
}

void cli_operation_members(struct cli_json *json, const struct quipu_operation *operation)
{
    cli_json_number(json, "number", operation->number);
    cli_json_time(json, "at", operation->unix_us);
    cli_json_text(json, "kind", operation->kind);
    cli_json_number(json, "events", operation->events);
    cli_json_number(json, "added", operation->added);
    cli_json_number(json, "known", operation->known);
    cli_json_number(json, "bundle", operation->bundle);
    cli_json_number(json, "missing", operation->missing);
    cli_json_text(json, "operator", operation->operator_name);
    cli_json_text(json, "reason", operation->reason);
    cli_json_text(json, "source", operation->source);
    cli_json_text(json, "signers", operation->signers);
    if (operation->has_manifest) {
        cli_json_cid(json, "manifest", &operation->manifest);
    } else {
        cli_json_null(json, "manifest");
    }
    if (operation->has_sha256) {
        cli_json_hex(json, "sha256", quipu_slice(operation->sha256, sizeof operation->sha256));
    } else {
        cli_json_null(json, "sha256");
    }
}

static enum quipu_status say_json(void *ctx, const struct quipu_operation *operation,
                                  struct quipu_error *err)
{
    struct cli_json json = {0};
    (void)ctx;
    cli_json_begin(&json);
    cli_operation_members(&json, operation);
    enum quipu_status status = cli_json_end(&json, err);
    cli_json_release(&json);
    return status;
}

static int run(struct cli *cli, const void *values, int argc, char **argv)
{
    const struct operations_values *operations_values = values;
    struct quipu_error err;
    (void)argc;
    (void)argv;
    int code = cli_open(cli);
    if (code != 0) {
        return code;
    }
    enum quipu_status status = quipu_each_operation(cli->engine, operations_values->after.value,
                                                    cli->is_json ? say_json : say, cli, &err);
    return status == QUIPU_OK ? 0 : cli_fail(cli, status, &err, NULL);
}

static const struct cli_option options[] = {
    {"after", CLI_NUMBER, offsetof(struct operations_values, after), "N",
     "only those with a number greater than N"},
};

const struct cli_verb cli_verb_operations = {
    .name = "operations",
    .arguments = "",
    .summary = "List what was exported and imported, when and by whom",
    .details = "Each export and import is a row that is written with it and never changed: its "
               "kind, when,\n"
               "by whom, how many events, the digest of the file, and a gap that was accepted.",
    .example = "quipu operations --json",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .values_bytes = sizeof(struct operations_values),
    .run = run,
};

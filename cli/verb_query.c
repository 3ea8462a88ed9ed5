/*
 * quipu query: ask the store with a request in DAG-JSON, or with one on each line of stdin.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "lines.h"
#include "print.h"
#include "quipu/dagjson.h"
#include "quipu/query.h"

#define CURE_REQUEST   "`quipu query --help` shows a request of each kind"
#define CURE_NOT_FOUND "the queries status, list and events show what there is"

/* Storage that one request after another uses. */
struct asking {
    struct quipu_buf request;
    struct quipu_buf reply;
    struct quipu_buf text;
};

static void release(struct asking *asking)
{
    quipu_buf_release(&asking->request);
    quipu_buf_release(&asking->reply);
    quipu_buf_release(&asking->text);
}

/* One line of DAG-JSON in, one out. */
static enum quipu_status ask(struct cli *cli, struct asking *asking, struct quipu_slice line,
                             struct quipu_error *err)
{
    quipu_buf_reset(&asking->request);
    quipu_buf_reset(&asking->reply);
    quipu_buf_reset(&asking->text);
    enum quipu_status status = quipu_dagjson_to_dagcbor(line, &asking->request, err);
    if (status == QUIPU_OK) {
        status = quipu_query_answer(cli->engine, quipu_buf_slice(&asking->request), NULL,
                                    &asking->reply, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_dagjson_from_dagcbor(quipu_buf_slice(&asking->reply), &asking->text, err);
    }
    if (status == QUIPU_OK) {
        quipu_buf_append_byte(&asking->text, '\n');
        if (asking->text.status != QUIPU_OK) {
            return quipu_error_set(err, asking->text.status, "a reply of %zu bytes",
                                   asking->text.len);
        }
        cli_put_json(quipu_buf_slice(&asking->text), stdout);
    }
    return status;
}

static enum quipu_status ask_lines(struct cli *cli, struct asking *asking, struct quipu_error *err)
{
    struct cli_lines lines = {.fd = STDIN_FILENO};
    struct quipu_slice line;
    enum quipu_status status = QUIPU_OK;
    while (status == QUIPU_OK) {
        status = cli_lines_next(&lines, &line, err);
        if (status == QUIPU_OK && line.len > 0) {
            status = ask(cli, asking, line, err);
            (void)fflush(stdout); /* whoever asks waits for it; main asks ferror */
        }
        if (status != QUIPU_OK && status != QUIPU_DONE) {
            (void)quipu_error_wrap(err, status, "line %" PRIu64, lines.number);
        }
    }
    cli_lines_release(&lines);
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

static int run(struct cli *cli, const void *values, int argc, char **argv)
{
    (void)values;
    (void)argc;
    struct quipu_error err = {0};
    struct asking asking = {QUIPU_BUF_INIT, QUIPU_BUF_INIT, QUIPU_BUF_INIT};
    int code = cli_open(cli);
    if (code != 0) {
        return code;
    }
    enum quipu_status status = strcmp(argv[0], "-") == 0
                                   ? ask_lines(cli, &asking, &err)
                                   : ask(cli, &asking, quipu_slice_text(argv[0]), &err);
    release(&asking);
    if (status == QUIPU_OK) {
        return 0;
    }
    bool is_request = status == QUIPU_INVALID || status == QUIPU_JSON || status == QUIPU_DAGJSON;
    bool is_absent = status == QUIPU_NOT_FOUND;
    return cli_fail(cli, status, &err,
                    is_request  ? CURE_REQUEST
                    : is_absent ? CURE_NOT_FOUND
                                : NULL);
}

const struct cli_verb cli_verb_query = {
    .name = "query",
    .arguments = "REQUEST|-",
    .summary = "Ask for rows, events or the status, in DAG-JSON",
    .details =
        "REQUEST is one of these, with what is in brackets or without:\n"
        "  {\"query\":\"get\",\"projection\":P,\"key\":K}\n"
        "  {\"query\":\"list\",\"projection\":P[,\"prefix\":K,\"limit\":N,\"after\":K]}\n"
        "  {\"query\":\"event\",\"position\":N}, or \"event_id\" or \"cid\" in its place\n"
        "  {\"query\":\"events\"[,\"aggregate_type\":T,\"aggregate_id\":I,\"event_type\":T,\n"
        "   "
        "\"correlation_id\":U,\"from_version\":N,\"since\":N,\"until\":N,\"limit\":N,\"after\":N,\n"
        "   \"order\":\"newest\"]}\n"
        "  {\"query\":\"status\"}\n"
        "Each reply is one line. Where it has \"next\", there may be more: ask again with that as\n"
        "\"after\". With - each line of stdin is a request, until one fails.",
    .example =
        "quipu query '{\"query\":\"list\",\"projection\":\"catalogue\",\"prefix\":\"key/\"}'",
    .arguments_min = 1,
    .arguments_max = 1,
    .run = run,
};

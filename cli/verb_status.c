/*
 * quipu status: what is in the store, what waits, what was refused.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>

#include "catalogue.h"
#include "cli.h"
#include "print.h"
#include "quipu/forks.h"
#include "quipu/ingest.h"
#include "quipu/outbox.h"

#define PROJECTIONS_MAX 8

struct figures {
    struct quipu_store_stat store;
    char source[QUIPU_SOURCE_TEXT_BYTES]; /* "" where it has none yet */
    struct quipu_outbox_status outbox;
    uint64_t quarantined;
    struct quipu_fork_counts forks;
    struct {
        bool is_built;
        uint64_t rows;
    } projections[PROJECTIONS_MAX];
};

static enum quipu_status count_quarantined(void *ctx, const struct quipu_quarantined *event,
                                           struct quipu_error *err)
{
    (void)event;
    (void)err;
    uint64_t *count = ctx;
    (*count)++;
    return QUIPU_OK;
}

static enum quipu_status count_row(void *ctx, struct quipu_slice key, struct quipu_slice value,
                                   struct quipu_error *err)
{
    (void)key;
    (void)value;
    (void)err;
    uint64_t *count = ctx;
    (*count)++;
    return QUIPU_OK;
}

static enum quipu_status gather(struct cli *cli, struct figures *out, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_read(cli->store, &txn, err);
    if (status == QUIPU_OK) {
        status = quipu_txn_stat(txn, &out->store, err);
    }
    quipu_txn_abort(&txn);
    if (status == QUIPU_OK) {
        status = quipu_identity_source(cli->engine, out->source, err);
        if (status == QUIPU_NOT_FOUND) {
            out->source[0] = 0;
            status = QUIPU_OK;
        }
    }
    if (status == QUIPU_OK) {
        status = quipu_outbox_status(cli->engine, &out->outbox, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_each_quarantined(cli->engine, count_quarantined, &out->quarantined, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_fork_count(cli->engine, &out->forks, err);
    }
    for (size_t i = 0; status == QUIPU_OK && i < catalogue_projection_count; i++) {
        status = quipu_projection_each_row(cli->engine, catalogue_projections[i]->name,
                                           quipu_slice(NULL, 0), count_row,
                                           &out->projections[i].rows, err);
        out->projections[i].is_built = status == QUIPU_OK;
        if (status == QUIPU_NOT_FOUND) {
            status = QUIPU_OK;
        }
    }
    return status;
}

static void print_count(const struct cli *cli, const char *name, uint64_t value)
{
    char text[CLI_COUNT_BYTES];
    (void)printf("%s%-12s%s %s\n", cli_paint(cli, CLI_DIM), name, cli_paint(cli, CLI_PLAIN),
                 cli_count(value, text));
}

static void say_text(const struct cli *cli, const struct figures *figures)
{
    char bytes[CLI_COUNT_BYTES];
    (void)printf("%s%-12s%s %s\n", cli_paint(cli, CLI_DIM), "store", cli_paint(cli, CLI_PLAIN),
                 cli->store_path);
    (void)printf("%s%-12s%s %s\n", cli_paint(cli, CLI_DIM), "source", cli_paint(cli, CLI_PLAIN),
                 figures->source[0] == 0 ? "none yet, the first append makes it" : figures->source);
    print_count(cli, "events", figures->store.events);
    print_count(cli, "aggregates", figures->store.aggregates);
    (void)printf("%s%-12s%s %s, format %" PRIu64 "\n", cli_paint(cli, CLI_DIM), "file",
                 cli_paint(cli, CLI_PLAIN), cli_bytes(figures->store.file_bytes, bytes),
                 figures->store.format);
    print_count(cli, "published", figures->outbox.published);
    print_count(cli, "pending", figures->outbox.pending);
    print_count(cli, "dead letters", figures->outbox.dead);
    print_count(cli, "cursor", figures->outbox.cursor);
    print_count(cli, "quarantine", figures->quarantined);
    if (figures->forks.aggregates_open > 0) {
        print_count(cli, "open forks", figures->forks.aggregates_open);
    }
    if (figures->forks.sources > 0) {
        print_count(cli, "used twice", figures->forks.sources);
    }
    for (size_t i = 0; i < catalogue_projection_count; i++) {
        char rows[CLI_COUNT_BYTES];
        (void)printf("%s%-12s%s %s: %s%s\n", cli_paint(cli, CLI_DIM), "projection",
                     cli_paint(cli, CLI_PLAIN), catalogue_projections[i]->name,
                     figures->projections[i].is_built
                         ? cli_count(figures->projections[i].rows, rows)
                         : "not built, `quipu replay` builds it",
                     figures->projections[i].is_built ? " rows" : "");
    }
}

static enum quipu_status say_json(const struct cli *cli, const struct figures *figures,
                                  struct quipu_error *err)
{
    struct cli_json json = {0};
    cli_json_begin(&json);
    cli_json_text(&json, "store", quipu_slice_text(cli->store_path));
    if (figures->source[0] == 0) {
        cli_json_null(&json, "source");
    } else {
        cli_json_text(&json, "source", quipu_slice_text(figures->source));
    }
    cli_json_number(&json, "events", figures->store.events);
    cli_json_number(&json, "aggregates", figures->store.aggregates);
    cli_json_number(&json, "file_bytes", figures->store.file_bytes);
    cli_json_number(&json, "format", figures->store.format);
    cli_json_object(&json, "outbox");
    cli_json_number(&json, "cursor", figures->outbox.cursor);
    cli_json_number(&json, "pending", figures->outbox.pending);
    cli_json_number(&json, "published", figures->outbox.published);
    cli_json_number(&json, "dead", figures->outbox.dead);
    cli_json_close(&json, '}');
    cli_json_number(&json, "quarantined", figures->quarantined);
    cli_json_object(&json, "forks");
    cli_json_number(&json, "open", figures->forks.aggregates_open);
    cli_json_number(&json, "aggregates", figures->forks.aggregates);
    cli_json_number(&json, "sources", figures->forks.sources);
    cli_json_close(&json, '}');
    cli_json_list(&json, "projections");
    for (size_t i = 0; i < catalogue_projection_count; i++) {
        cli_json_item(&json);
        cli_json_text(&json, "name", quipu_slice_text(catalogue_projections[i]->name));
        if (figures->projections[i].is_built) {
            cli_json_number(&json, "rows", figures->projections[i].rows);
        } else {
            cli_json_null(&json, "rows");
        }
        cli_json_close(&json, '}');
    }
    cli_json_close(&json, ']');
    enum quipu_status status = cli_json_end(&json, err);
    cli_json_release(&json);
    return status;
}

static int run(struct cli *cli, const void *values, int argc, char **argv)
{
    (void)values;
    (void)argc;
    (void)argv;
    int code = cli_open(cli);
    if (code != 0) {
        return code;
    }
    struct quipu_error err;
    struct figures figures = {0};
    enum quipu_status status = gather(cli, &figures, &err);
    if (status == QUIPU_OK) {
        if (cli->is_json) {
            status = say_json(cli, &figures, &err);
        } else {
            say_text(cli, &figures);
        }
    }
    return status == QUIPU_OK ? 0 : cli_fail(cli, status, &err, NULL);
}

const struct cli_verb cli_verb_status = {
    .name = "status",
    .arguments = "",
    .summary = "Say what is in the store and what waits",
    .details =
        "Published are the events with a receipt of a server; pending wait for `quipu flush`; "
        "dead\n"
        "letters were refused for good (`quipu deadletter`); quarantine holds what `quipu pull`\n"
        "could not take in. Open forks are aggregates whose branches want `quipu merge`; used "
        "twice "
        "are\n"
        "numbers of a source (`quipu forks`).",
    .example = "quipu status --json | jq .outbox.pending",
    .run = run,
};

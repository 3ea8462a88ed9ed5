/*
 * quipu types: the event types that a store declares: list them, show one, take a file of them in,
 * write them out, try them on the events that are there.
 *
 * A file of declarations is DAG-JSON or DAG-CBOR, as `quipu types export` writes it.
 *
 * Specification: docs/SPEC.md §7.1.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "print.h"
#include "quipu/dagjson.h"
#include "quipu/io.h"
#include "quipu/types.h"

/* DAG-JSON of a registry at its limit, with every name escaped, and room for white space. */
#define FILE_BYTES_MAX ((size_t)8 * QUIPU_TYPES_BYTES_MAX)
#define MISFITS_SHOWN  20

#define CURE_FILE "name a file as `quipu types export` writes it, or - for stdin"

struct types_values {
    bool is_cbor;
    bool replaces;
};

/* ------------------------------------------------------------------ reading */

/* DAG-JSON begins with a brace, or with white space; a map of DAG-CBOR never does. */
static bool is_json_text(struct quipu_slice bytes)
{
    return bytes.len > 0 && bytes.data[0] < 0x80;
}

static enum quipu_status registry_read(int fd, struct quipu_types **out, struct quipu_error *err)
{
    struct quipu_buf bytes = QUIPU_BUF_INIT;
    struct quipu_buf block = QUIPU_BUF_INIT;
    enum quipu_status status = cli_read_all(fd, "the file", FILE_BYTES_MAX, &bytes, err);
    struct quipu_slice encoded = quipu_buf_slice(&bytes);
    if (status == QUIPU_OK && is_json_text(encoded)) {
        status = quipu_dagjson_to_dagcbor(encoded, &block, err);
        encoded = quipu_buf_slice(&block);
    }
    if (status == QUIPU_OK) {
        status = quipu_types_decode(encoded, out, err);
    }
    quipu_buf_release(&bytes);
    quipu_buf_release(&block);
    return status;
}

/* Of a file that an argument names. Returns 0 or the exit code after it has said what is wrong. */
static int registry_open(const struct cli *cli, const char *path, struct quipu_types **out)
{
    struct quipu_error err;
    int fd = -1;
    int code = cli_open_input(cli, path, CURE_FILE, &fd);
    if (code != 0) {
        return code;
    }
    enum quipu_status status = registry_read(fd, out, &err);
    if (fd != STDIN_FILENO) {
        (void)close(fd); /* only read from */
    }
    bool is_of_machine = status == QUIPU_NO_MEMORY || status == QUIPU_IO;
    return status == QUIPU_OK
               ? 0
               : cli_fail(cli, status, &err,
                          is_of_machine || status == QUIPU_FORMAT_NEWER ? NULL : CURE_FILE);
}

/* ------------------------------------------------------------------ showing */

static const char *rule_text(const struct quipu_types *types)
{
    return quipu_types_rule(types) == QUIPU_TYPES_STRICT ? "strict" : "lenient";
}

static enum quipu_status list(const struct cli *cli, const struct quipu_types *types,
                              struct quipu_error *err)
{
    struct cli_json json = {0};
    enum quipu_status status = QUIPU_OK;
    for (size_t i = 0; status == QUIPU_OK && i < quipu_types_count(types); i++) {
        const struct quipu_type *type = quipu_types_at(types, i);
        if (!cli->is_json) {
            (void)printf("%-40s %6" PRIu64 "  %-16s %zu fields\n", type->name, type->schema,
                         type->aggregate_type == NULL ? "any aggregate" : type->aggregate_type,
                         type->payload.field_count);
            continue;
        }
        cli_json_begin(&json);
        cli_json_text(&json, "type", quipu_slice_text(type->name));
        cli_json_number(&json, "schema", type->schema);
        if (type->aggregate_type == NULL) {
            cli_json_null(&json, "aggregate_type");
        } else {
            cli_json_text(&json, "aggregate_type", quipu_slice_text(type->aggregate_type));
        }
        cli_json_text(&json, "payload",
                      quipu_slice_text(quipu_field_kind_text(type->payload.kind)));
        cli_json_number(&json, "fields", type->payload.field_count);
        cli_json_bool(&json, "strict", quipu_types_rule(types) == QUIPU_TYPES_STRICT);
        status = cli_json_end(&json, err);
    }
    if (status == QUIPU_OK && !cli->is_json) {
        char counted[CLI_COUNTED_BYTES];
        (void)printf("%s, %s\n", cli_counted(quipu_types_count(types), "declaration", counted),
                     rule_text(types));
    }
    cli_json_release(&json);
    return status;
}

/* The registry as one line, or indented for people, or as it is stored. */
static enum quipu_status print(const struct cli *cli, const struct quipu_types *types, bool is_cbor,
                               struct quipu_error *err)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct quipu_buf json = QUIPU_BUF_INIT;
    struct quipu_buf text = QUIPU_BUF_INIT;
    struct quipu_buf *shown = &block;
    enum quipu_status status = quipu_types_encode(types, &block, err);
    if (status == QUIPU_OK && !is_cbor) {
        status = quipu_dagjson_from_dagcbor(quipu_buf_slice(&block), &json, err);
        shown = &json;
    }
    if (status == QUIPU_OK && !is_cbor && !cli->is_json) {
        cli_json_indent(quipu_buf_slice(&json), "", &text);
        shown = &text;
    }
    if (status == QUIPU_OK && shown->status != QUIPU_OK) {
        status = quipu_error_set(err, shown->status, "out of memory for the declarations");
    }
    if (status == QUIPU_OK) {
        /* What does not reach stdout is told by main. */
        if (is_cbor) {
            (void)fwrite(shown->data, 1, shown->len, stdout);
        } else {
            cli_put_json(quipu_buf_slice(shown), stdout);
        }
        if (!is_cbor && (shown->len == 0 || shown->data[shown->len - 1] != '\n')) {
            (void)fputc('\n', stdout);
        }
    }
    quipu_buf_release(&block);
    quipu_buf_release(&json);
    quipu_buf_release(&text);
    return status;
}

/* Every schema of one type, as a registry of its own. */
static enum quipu_status show(const struct cli *cli, const struct quipu_types *types,
                              const char *name, struct quipu_error *err)
{
    if (quipu_types_newest(types, quipu_slice_text(name)) == 0) {
        return quipu_error_set(err, QUIPU_NOT_FOUND, "the event type %s is not declared here",
                               name);
    }
    struct quipu_types *one = NULL;
    enum quipu_status status = quipu_types_new(quipu_types_rule(types), &one, err);
    for (size_t i = 0; status == QUIPU_OK && i < quipu_types_count(types); i++) {
        const struct quipu_type *type = quipu_types_at(types, i);
        if (strcmp(type->name, name) == 0) {
            status = quipu_types_declare(one, type, err);
        }
    }
    if (status == QUIPU_OK) {
        status = print(cli, one, false, err);
    }
    quipu_types_free(one);
    return status;
}

/* ------------------------------------------------------------------ taking in */

/* The file's declarations beside the stored ones, or in their place; the file's rule holds. */
static enum quipu_status import(const struct cli *cli, struct quipu_types *from, bool replaces,
                                struct quipu_error *err)
{
    struct quipu_types *stored = NULL;
    struct quipu_types *kept = from;
    enum quipu_status status =
        replaces ? QUIPU_NOT_FOUND : quipu_types_load(cli->store, &stored, err);
    if (status == QUIPU_OK) {
        kept = stored;
        quipu_types_rule_set(stored, quipu_types_rule(from));
        status = quipu_types_merge(stored, from, err);
    } else if (status == QUIPU_NOT_FOUND) {
        status = QUIPU_OK;
    }
    if (status == QUIPU_OK) {
        status = quipu_types_save(cli->store, kept, err);
    }
    if (status == QUIPU_OK && cli->is_json) {
        struct cli_json json = {0};
        cli_json_begin(&json);
        cli_json_number(&json, "declarations", quipu_types_count(kept));
        cli_json_bool(&json, "strict", quipu_types_rule(kept) == QUIPU_TYPES_STRICT);
        status = cli_json_end(&json, err);
        cli_json_release(&json);
    } else if (status == QUIPU_OK) {
        char counted[CLI_COUNTED_BYTES];
        (void)printf("%s, %s: what is appended from now on is held to them\n",
                     cli_counted(quipu_types_count(kept), "declaration", counted), rule_text(kept));
    }
    quipu_types_free(stored);
    return status;
}

/* ------------------------------------------------------------------ trying */

struct trial {
    const struct cli *cli;
    const struct quipu_types *types;
    struct cli_json json;
    uint64_t events;
    uint64_t misfits;
};

/* The stored event as it would be appended. */
static enum quipu_status trial_event(void *ctx, const struct quipu_event_view *view,
                                     struct quipu_error *err)
{
    struct trial *trial = ctx;
    char type[QUIPU_EVENT_TYPE_BYTES_MAX + 1];
    char aggregate_type[QUIPU_AGGREGATE_TYPE_BYTES_MAX + 1];
    struct quipu_error why;
    /* A decoded envelope holds names within their limits. */
    (void)snprintf(type, sizeof type, "%.*s", QUIPU_SLICE_FMT(view->envelope.event_type));
    (void)snprintf(aggregate_type, sizeof aggregate_type, "%.*s",
                   QUIPU_SLICE_FMT(view->envelope.aggregate_type));
    const struct quipu_event event = {
        .type = type,
        .aggregate = {.type = aggregate_type},
        .payload = view->payload,
        .schema = view->envelope.schema,
    };
    trial->events++;
    enum quipu_status status = quipu_types_check(trial->types, &event, &why);
    if (status == QUIPU_OK) {
        return QUIPU_OK;
    }
    trial->misfits++;
    if (trial->cli->is_json) {
        cli_json_begin(&trial->json);
        cli_json_number(&trial->json, "position", view->position);
        cli_json_text(&trial->json, "line", quipu_slice_text(why.message));
        return cli_json_end(&trial->json, err);
    }
    if (trial->misfits <= MISFITS_SHOWN) {
        (void)printf("%8" PRIu64 "  ", view->position);
        cli_put_plain(quipu_slice_text(why.message));
        (void)fputc('\n', stdout);
    }
    return QUIPU_OK;
}

static int check(const struct cli *cli, const struct quipu_types *types)
{
    struct quipu_error err;
    struct trial trial = {.cli = cli, .types = types};
    char counted[CLI_COUNTED_BYTES];
    enum quipu_status status = quipu_each_event(cli->engine, NULL, trial_event, &trial, &err);
    cli_json_release(&trial.json);
    if (status != QUIPU_OK) {
        return cli_fail(cli, status, &err, NULL);
    }
    if (trial.misfits > 0) {
        char misfits[CLI_COUNTED_BYTES];
        (void)quipu_error_set(&err, QUIPU_TYPE, "%s of %s would be refused today",
                              cli_counted(trial.misfits, "event", misfits),
                              cli_counted(trial.events, "event", counted));
        return cli_fail(cli, QUIPU_TYPE, &err,
                        "what is stored stays; declare another schema for what comes");
    }
    if (!cli->is_json) {
        (void)printf("%s, all fit\n", cli_counted(trial.events, "event", counted));
    }
    return 0;
}

/* ------------------------------------------------------------------ the verb */

static enum quipu_status registry_verb(const struct cli *cli, const struct types_values *values,
                                       const char *what, const char *name, struct quipu_error *err)
{
    struct quipu_types *types = NULL;
    enum quipu_status status = quipu_types_load(cli->store, &types, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (strcmp(what, "list") == 0) {
        status = list(cli, types, err);
    } else if (name != NULL) {
        status = show(cli, types, name, err);
    } else {
        status = print(cli, types, values->is_cbor, err);
    }
    quipu_types_free(types);
    return status;
}

static int file_verb(struct cli *cli, const struct types_values *values, const char *what,
                     const char *path)
{
    struct quipu_error err;
    struct quipu_types *types = NULL;
    int code = registry_open(cli, path, &types);
    if (code != 0) {
        return code;
    }
    if (strcmp(what, "check") == 0) {
        code = check(cli, types);
    } else {
        enum quipu_status status = import(cli, types, values->replaces, &err);
        if (status != QUIPU_OK) {
            /* The library says the cure where it is another schema. */
            const struct cli_failure failure = {
                .status = status,
                .err = &err,
                .cure = status == QUIPU_EXISTS ? "" : NULL,
                .note = status == QUIPU_EXISTS ? "--replace forgets what was declared" : NULL,
            };
            code = cli_fail_with(cli, &failure);
        }
    }
    quipu_types_free(types);
    return code;
}

static int run(struct cli *cli, const void *values, int argc, char **argv)
{
    const struct types_values *options = values;
    const char *what = argc == 0 ? "list" : argv[0];
    const char *argument = argc == 2 ? argv[1] : NULL;
    bool is_file = strcmp(what, "import") == 0 || strcmp(what, "check") == 0;
    bool is_show = strcmp(what, "show") == 0;
    bool is_export = strcmp(what, "export") == 0;
    if (!is_file && !is_show && !is_export && strcmp(what, "list") != 0) {
        return cli_usage(cli, "wants list, show, import, export or check, found \"%s\"", what);
    }
    if (is_file && argument == NULL) {
        return cli_usage(cli, "%s wants a file, or - for stdin", what);
    }
    if (!is_file && !is_show && argument != NULL) {
        return cli_usage(cli, "%s takes no argument", what);
    }
    if ((options->is_cbor && !is_export) || (options->replaces && strcmp(what, "import") != 0)) {
        return cli_usage(cli, "--cbor is for export, --replace for import");
    }
    int code = cli_open(cli);
    if (code != 0) {
        return code;
    }
    if (is_file) {
        return file_verb(cli, options, what, argument);
    }
    struct quipu_error err;
    enum quipu_status status = registry_verb(cli, options, what, argument, &err);
    return status == QUIPU_OK
               ? 0
               : cli_fail(cli, status, &err,
                          status == QUIPU_NOT_FOUND ? "declare them with `quipu types import FILE`"
                                                    : NULL);
}

static const struct cli_option options[] = {
    {"cbor", CLI_FLAG, offsetof(struct types_values, is_cbor), NULL,
     "export: DAG-CBOR, as it is stored"},
    {"replace", CLI_FLAG, offsetof(struct types_values, replaces), NULL,
     "import: in the place of all that is declared"},
};

const struct cli_verb cli_verb_types = {
    .name = "types",
    .arguments = "[list|show [TYPE]|import FILE|export|check FILE]",
    .summary = "Event types that are declared: list, show, import, export, check",
    .details =
        "What is appended must fit what is declared of its type and schema; where the "
        "declarations\n"
        "are strict, what is not declared is refused. Events that are stored already, and those\n"
        "that come from elsewhere, are never refused: check says which would be.",
    .example = "quipu types import types.json",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .values_bytes = sizeof(struct types_values),
    .arguments_min = 0,
    .arguments_max = 2,
    .run = run,
};

/*
 * quipu forks: conflicts that the store holds, and the evidence of each, which whoever gets the
 * file can verify without a store. What is shown of events is others' text and never drives the
 * terminal.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "print.h"
#include "quipu/forks.h"
#include "quipu/io.h"

/* Two envelopes and what stands around them. */
#define EVIDENCE_BYTES_MAX (2 * (size_t)QUIPU_ENVELOPE_BYTES_MAX + 4096)

static const char *state_name(enum quipu_fork_state state)
{
    switch (state) {
    case QUIPU_FORK_OPEN:
        return "open";
    case QUIPU_FORK_CLOSED:
        return "closed";
    case QUIPU_FORK_LASTING:
        break;
    }
    return "lasting";
}

/* ------------------------------------------------------------------ one conflict */

static void put_aggregate(const struct quipu_fork *fork)
{
    cli_put_plain(fork->aggregate.type);
    (void)fputc('/', stdout);
    cli_put_plain(fork->aggregate.id);
}

static void put_place(const struct quipu_fork *fork)
{
    if (fork->kind == QUIPU_FORK_SOURCE) {
        (void)printf("number %" PRIu64 " of source ", fork->source_seq);
        cli_put_plain(fork->source);
        return;
    }
    put_aggregate(fork);
    (void)printf(" from version %" PRIu64, fork->version);
}

static enum quipu_status fork_json(struct cli_json *json, const struct quipu_fork *fork,
                                   bool has_store, struct quipu_error *err)
{
    cli_json_begin(json);
    cli_json_cid(json, "cid", &fork->cid);
    cli_json_text(json, "kind",
                  quipu_slice_text(fork->kind == QUIPU_FORK_SOURCE ? "source" : "aggregate"));
    if (has_store) {
        cli_json_text(json, "state", quipu_slice_text(state_name(fork->state)));
    }
    if (fork->kind == QUIPU_FORK_SOURCE) {
        cli_json_text(json, "source", fork->source);
        cli_json_number(json, "source_seq", fork->source_seq);
    } else {
        cli_json_text(json, "aggregate_type", fork->aggregate.type);
        cli_json_text(json, "aggregate_id", fork->aggregate.id);
        cli_json_number(json, "version", fork->version);
    }
    cli_json_cid(json, "first", &fork->events[0]);
    cli_json_cid(json, "second", &fork->events[1]);
    return cli_json_end(json, err);
}

static void event_text(const char *name, const struct quipu_cid *cid, struct quipu_slice block)
{
    char text[QUIPU_CID_TEXT_BYTES];
    char id[QUIPU_UUID_TEXT_BYTES];
    struct quipu_envelope envelope;
    quipu_cid_format(cid, text);
    (void)printf("%-8s %s\n", name, text);
    if (quipu_envelope_decode(block, &envelope, NULL) != QUIPU_OK) {
        return; /* it was verified a moment ago */
    }
    quipu_uuid_format(envelope.event_id, id);
    (void)printf("         version %" PRIu64 ", event %s, ", envelope.version, id);
    cli_put_plain(envelope.event_type);
    (void)printf("\n         number %" PRIu64 " of ", envelope.source_seq);
    cli_put_plain(envelope.source);
    (void)fputc('\n', stdout);
}

static void fork_text(const struct quipu_fork *fork, bool has_store)
{
    char text[QUIPU_CID_TEXT_BYTES];
    quipu_cid_format(&fork->cid, text);
    (void)printf("evidence %s\nplace    ", text);
    put_place(fork);
    (void)fputc('\n', stdout);
    if (has_store) {
        (void)printf("state    %s\n", state_name(fork->state));
    }
    event_text("first", &fork->events[0], fork->envelopes[0]);
    event_text("second", &fork->events[1], fork->envelopes[1]);
}

/* ------------------------------------------------------------------ list */

struct list_run {
    const struct cli *cli;
    struct cli_json json;
    uint64_t open;
    uint64_t lasting;
    uint64_t closed;
};

static enum quipu_status list_one(void *ctx, const struct quipu_fork *fork, struct quipu_error *err)
{
    struct list_run *run = ctx;
    run->open += fork->state == QUIPU_FORK_OPEN;
    run->lasting += fork->state == QUIPU_FORK_LASTING;
    run->closed += fork->state == QUIPU_FORK_CLOSED;
    if (run->cli->is_json) {
        return fork_json(&run->json, fork, true, err);
    }
    char text[QUIPU_CID_TEXT_BYTES];
    quipu_cid_format(&fork->cid, text);
    (void)printf("%s  %-7s  ", text, state_name(fork->state));
    put_place(fork);
    (void)fputc('\n', stdout);
    return QUIPU_OK;
}

static int list(const struct cli *cli)
{
    struct quipu_error err;
    struct list_run run = {.cli = cli};
    enum quipu_status status = quipu_each_fork(cli->engine, list_one, &run, &err);
    cli_json_release(&run.json);
    if (status != QUIPU_OK) {
        return cli_fail(cli, status, &err, NULL);
    }
    if (cli->is_json) {
        return 0;
    }
    if (run.open + run.lasting + run.closed == 0) {
        (void)printf("no forks\n");
    }
    if (run.open > 0) {
        cli_note(cli,
                 "%" PRIu64 " open: `quipu merge T/ID FILE` joins the branches of an aggregate",
                 run.open);
    }
    if (run.lasting > 0) {
        cli_note(cli,
                 "%" PRIu64
                 " numbers are claimed twice: a signing key is in use on two devices, or "
                 "a store was put back to an old copy beside its key, or somebody else wrote one "
                 "of the two; bundles and checkpoints that the source signed tell which",
                 run.lasting);
    }
    return 0;
}

/* ------------------------------------------------------------------ show and export */

struct find_run {
    const struct cli *cli;
    const struct quipu_cid *cid;
    struct cli_json json;
    bool is_found;
};

static enum quipu_status show_if(void *ctx, const struct quipu_fork *fork, struct quipu_error *err)
{
    struct find_run *run = ctx;
    if (!quipu_cid_equal(&fork->cid, run->cid)) {
        return QUIPU_OK;
    }
    run->is_found = true;
    enum quipu_status status = QUIPU_OK;
    if (run->cli->is_json) {
        status = fork_json(&run->json, fork, true, err);
    } else {
        fork_text(fork, true);
    }
    return status == QUIPU_OK ? QUIPU_DONE : status;
}

static int show(const struct cli *cli, const struct quipu_cid *cid)
{
    struct quipu_error err;
    struct find_run run = {.cli = cli, .cid = cid};
    enum quipu_status status = quipu_each_fork(cli->engine, show_if, &run, &err);
    cli_json_release(&run.json);
    if (status == QUIPU_OK && !run.is_found) {
        char text[QUIPU_CID_TEXT_BYTES];
        quipu_cid_format(cid, text);
        status = quipu_error_set(&err, QUIPU_NOT_FOUND, "no conflict has the evidence %s", text);
    }
    return status == QUIPU_OK
               ? 0
               : cli_fail(cli, status, &err,
                          status == QUIPU_NOT_FOUND ? "`quipu forks` lists what there is" : NULL);
}

/* A new file, whole and on disk. */
static enum quipu_status file_write(const char *path, struct quipu_slice bytes,
                                    struct quipu_error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) {
        return errno == EEXIST ? quipu_error_set(err, QUIPU_EXISTS, "%s exists already", path)
                               : quipu_error_errno(err, errno, "make %s", path);
    }
    struct quipu_sink sink = quipu_sink_fd(&fd);
    enum quipu_status status = sink.write(sink.ctx, bytes, err);
    if (status == QUIPU_OK && fsync(fd) != 0) {
        status = quipu_error_errno(err, errno, "sync %s", path);
    }
    if (close(fd) != 0 && status == QUIPU_OK) {
        status = quipu_error_errno(err, errno, "close %s", path);
    }
    if (status != QUIPU_OK) {
        (void)unlink(path); /* half of it proves nothing */
    }
    return status;
}

static int export_one(struct cli *cli, const struct quipu_cid *cid, const char *path)
{
    struct quipu_error err;
    struct quipu_buf block = QUIPU_BUF_INIT;
    enum quipu_status status = quipu_fork_evidence(cli->engine, cid, &block, &err);
    bool is_stdout = strcmp(path, "-") == 0;
    if (status == QUIPU_OK && is_stdout) {
        (void)fwrite(block.data, 1, block.len, stdout); /* main asks ferror at the end */
    } else if (status == QUIPU_OK) {
        status = file_write(path, quipu_buf_slice(&block), &err);
    }
    if (status == QUIPU_OK && !is_stdout && cli->is_json) {
        struct cli_json json = {0};
        cli_json_begin(&json);
        cli_json_cid(&json, "cid", cid);
        cli_json_text(&json, "file", quipu_slice_text(path));
        cli_json_number(&json, "bytes", block.len);
        status = cli_json_end(&json, &err);
        cli_json_release(&json);
    } else if (status == QUIPU_OK && !is_stdout) {
        char bytes[CLI_COUNT_BYTES];
        cli_say("%s: %s", path, cli_bytes(block.len, bytes));
    }
    quipu_buf_release(&block);
    const char *cure = status == QUIPU_NOT_FOUND ? "`quipu forks` lists what there is"
                       : status == QUIPU_EXISTS  ? "name a new file"
                                                 : NULL;
    return status == QUIPU_OK ? 0 : cli_fail(cli, status, &err, cure);
}

/* ------------------------------------------------------------------ verify */

static int verify(const struct cli *cli, const char *path)
{
    struct quipu_error err;
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct quipu_fork fork;
    int fd = -1;
    int code = cli_open_input(cli, path, "name a file that `quipu forks export` wrote", &fd);
    if (code != 0) {
        return code;
    }
    enum quipu_status status = cli_read_all(fd, "the file", EVIDENCE_BYTES_MAX, &block, &err);
    if (fd != STDIN_FILENO) {
        (void)close(fd); /* only read from */
    }
    if (status == QUIPU_OK) {
        status = quipu_fork_verify(quipu_buf_slice(&block), &fork, &err);
    }
    if (status == QUIPU_OK && cli->is_json) {
        struct cli_json json = {0};
        status = fork_json(&json, &fork, false, &err);
        cli_json_release(&json);
    } else if (status == QUIPU_OK) {
        fork_text(&fork, false);
        (void)printf("holds: two envelopes claim one place; envelopes are not signed one by one: "
                     "who made them is shown by signed bundles and checkpoints of %s\n",
                     fork.kind == QUIPU_FORK_SOURCE ? "that source" : "their sources");
    }
    quipu_buf_release(&block);
    return status == QUIPU_OK ? 0
                              : cli_fail(cli, status, &err,
                                         "ask whoever gave you the file for the evidence again");
}

/* ------------------------------------------------------------------ the verb */

static int with_cid(struct cli *cli, const char *name, const char *path)
{
    struct quipu_error err;
    struct quipu_cid cid;
    enum quipu_status status = quipu_cid_parse(quipu_slice_text(name), &cid, &err);
    if (status != QUIPU_OK) {
        (void)quipu_error_wrap(&err, status, "\"%.80s\"", name);
        return cli_fail(cli, status, &err, "give the CID as `quipu forks` shows it");
    }
    int code = cli_open(cli);
    if (code != 0) {
        return code;
    }
    return path == NULL ? show(cli, &cid) : export_one(cli, &cid, path);
}

static int run(struct cli *cli, const void *values, int argc, char **argv)
{
    (void)values;
    const char *what = argc == 0 ? "list" : argv[0];
    bool is_list = strcmp(what, "list") == 0;
    bool is_show = strcmp(what, "show") == 0;
    bool is_export = strcmp(what, "export") == 0;
    if (!is_list && !is_show && !is_export && strcmp(what, "verify") != 0) {
        return cli_usage(cli, "wants list, show, verify or export, found \"%s\"", what);
    }
    if (is_list) {
        if (argc > 1) {
            return cli_usage(cli, "list takes no more words, found \"%s\"", argv[1]);
        }
        int code = cli_open(cli);
        return code == 0 ? list(cli) : code;
    }
    if (argc != (is_export ? 3 : 2)) {
        return cli_usage(cli,
                         is_export ? "%s wants a CID and a file"
                         : is_show ? "%s wants a CID"
                                   : "%s wants a file, or - for stdin",
                         what);
    }
    if (is_show || is_export) {
        return with_cid(cli, argv[1], is_export ? argv[2] : NULL);
    }
    return verify(cli, argv[1]);
}

const struct cli_verb cli_verb_forks = {
    .name = "forks",
    .arguments = "[list|show CID|verify FILE|export CID FILE]",
    .summary = "Conflicts: two events that claim one place, and their evidence",
    .details =
        "Where two devices went on from the same event, both branches are kept; the conflict is "
        "open until\n"
        "`quipu merge` joins them. Where one source gave a number twice, its key is in use on two "
        "devices, its\n"
        "store was put back, or somebody else wrote one of the two; that stays so. export writes "
        "the "
        "evidence of\n"
        "one: a block of DAG-CBOR with both envelopes, which verify checks without a store. It "
        "shows "
        "that two\n"
        "envelopes claim one place, not who made them: envelopes are not signed one by one, signed "
        "bundles and\n"
        "checkpoints of a source show what it recorded. FILE - is stdin or stdout.",
    .example = "quipu forks export bafyrei… evidence.cbor && quipu forks verify evidence.cbor",
    .arguments_max = 3,
    .run = run,
};

/*
 * quipu import: take the events of a bundle, or of lines, in, all or none, after they were shown
 * and accepted.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "age_keys.h"
#include "cli.h"
#include "config.h"
#include "import_fault.h"
#include "print.h"
#include "quipu/bundle.h"
#include "quipu/event_lines.h"
#include "quipu/text.h"
#include "receipts.h"
#include "signers.h"

#define ROWS_SHOWN 12u /* of each kind, for people */

#define SIGNED_BY_NOBODY "signed  by nobody: these are lines\n"

struct import_values {
    struct cli_signer_values signers;
    struct cli_age_values age;
    const char *accept_gap;
    const char *operator_name;
    bool is_dry_run;
    bool keeps_forks;
    bool is_accepted;
    bool takes_unproven;
    bool is_receipts;
    const char *format;
};

/* One import on its way. */
struct import_run {
    struct cli *cli;
    const struct import_values *values;
    const char *path;
    bool is_lines;
    int fd; /* of what is not read by its path; -1: none */
    struct quipu_source source;
    struct quipu_import_options options;
    struct quipu_trust *trust;
    struct quipu_age_secrets *secrets;
    struct quipu_import *import;
    struct cli_json json; /* the rows, with --json */
    enum quipu_import_row_kind kind;
    uint64_t rows; /* of this kind, so far */
};

static int fail(const struct import_run *run, enum quipu_status status,
                const struct quipu_error *err)
{
    if (run->is_lines && run->import == NULL) {
        return cli_lines_fail(run->cli, status, err);
    }
    return cli_import_fail(run->cli, run->import, &run->options, status, err);
}

/* ------------------------------------------------------------------ what is new */

static void put_name(struct quipu_slice name)
{
    if (name.len == 0) {
        (void)printf("all others");
    } else {
        cli_put_plain(name);
    }
}

static enum quipu_status show_row(void *ctx, const struct quipu_import_row *row,
                                  struct quipu_error *err)
{
    struct import_run *run = ctx;
    char added[CLI_COUNT_BYTES];
    char known[CLI_COUNT_BYTES];
    char conflicting[CLI_COUNT_BYTES];
    (void)err;
    run->rows = run->kind == row->kind ? run->rows + 1 : 1;
    run->kind = row->kind;
    if (run->rows == 1) {
        (void)printf("%9s %9s %11s  %s\n", "new", "known", "conflicting",
                     row->kind == QUIPU_IMPORT_BY_TYPE ? "type" : "aggregate");
    }
    if (run->rows > ROWS_SHOWN) {
        if (run->rows == ROWS_SHOWN + 1) {
            (void)printf("%31s  …\n", "");
        }
        return QUIPU_OK;
    }
    (void)printf("%9s %9s %11s  ", cli_count(row->added, added), cli_count(row->known, known),
                 cli_count(row->conflicting, conflicting));
    put_name(row->name);
    (void)printf("\n");
    return QUIPU_OK;
}

static enum quipu_status note_row(void *ctx, const struct quipu_import_row *row,
                                  struct quipu_error *err)
{
    struct import_run *run = ctx;
    (void)err;
    if (row->kind != run->kind) {
        cli_json_close(&run->json, ']');
        cli_json_list(&run->json, "aggregates");
        run->kind = row->kind;
    }
    cli_json_item(&run->json);
    cli_json_text(&run->json, "name", row->name);
    cli_json_number(&run->json, "added", row->added);
    cli_json_number(&run->json, "known", row->known);
    cli_json_number(&run->json, "conflicting", row->conflicting);
    cli_json_close(&run->json, '}');
    return QUIPU_OK;
}

static void show_digest(const struct quipu_bundle_report *bundle)
{
    struct quipu_buf digest = QUIPU_BUF_INIT;
    quipu_hex_append(&digest, quipu_slice(bundle->file_sha256, sizeof bundle->file_sha256));
    (void)printf("sha256  %.*s\n", QUIPU_SLICE_FMT(quipu_buf_slice(&digest)));
    quipu_buf_release(&digest);
}

static void show_lines(const struct quipu_bundle_report *lines)
{
    char events[CLI_COUNTED_BYTES];
    (void)printf("lines   %s\n" SIGNED_BY_NOBODY, cli_counted(lines->events, "event", events));
    show_digest(lines);
}

static void show_bundle(const struct quipu_bundle_report *bundle)
{
    char events[CLI_COUNTED_BYTES];
    char when[QUIPU_RFC3339_BYTES];
    quipu_rfc3339_format(bundle->created_unix_us, when);
    (void)printf("bundle  %" PRIu64 " of %s, %s\nsigned  %s\nmade    %s", bundle->number,
                 bundle->source, cli_counted(bundle->events, "event", events), bundle->signer,
                 when);
    if (bundle->operator_name[0] != 0) {
        (void)printf(" by ");
        cli_put_plain(quipu_slice_text(bundle->operator_name));
    }
    (void)printf("\n");
    show_digest(bundle);
    if (bundle->signatures > 1) {
        cli_say_signers("signer ", bundle->signers, (size_t)bundle->signatures);
    }
    if (bundle->unproven > 0) {
        char others[CLI_COUNTED_BYTES];
        (void)printf("word    %s of other sources: taken on the signer's word\n",
                     cli_counted(bundle->unproven, "event", others));
    }
}

static enum quipu_status show_all(struct import_run *run, struct quipu_error *err)
{
    struct quipu_import_diff diff;
    char missing[CLI_COUNTED_BYTES];
    if (run->is_lines) {
        show_lines(quipu_import_bundle(run->import));
    } else {
        show_bundle(quipu_import_bundle(run->import));
    }
    enum quipu_status status =
        quipu_import_compare(run->import, run->cli->engine, show_row, run, &diff, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (diff.was_known) {
        (void)printf("this very bundle came in before\n");
    }
    if (diff.missing > 0) {
        (void)printf("%s of its source never came in before it\n",
                     cli_counted(diff.missing, "bundle", missing));
    }
    return QUIPU_OK;
}

/* The same as members of the JSON object. */
static enum quipu_status note_all(struct import_run *run, struct quipu_error *err)
{
    struct quipu_import_diff diff;
    run->kind = QUIPU_IMPORT_BY_TYPE;
    cli_json_list(&run->json, "types");
    enum quipu_status status =
        quipu_import_compare(run->import, run->cli->engine, note_row, run, &diff, err);
    if (status == QUIPU_OK) {
        cli_json_close(&run->json, ']');
        cli_json_number(&run->json, "conflicting", diff.conflicting);
    }
    return status;
}

/* ------------------------------------------------------------------ accepted? */

/* What comes on standard input leaves the terminal to ask on. */
static bool may_ask(const struct import_run *run)
{
    return isatty(STDIN_FILENO) == 1 || (strcmp(run->path, "-") == 0 && isatty(STDERR_FILENO) == 1);
}

/* Anything but y or yes is no. */
static bool ask(void)
{
    char answer[8];
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    FILE *terminal = fd < 0 ? NULL : fdopen(fd, "r+");
    if (terminal == NULL) {
        if (fd >= 0) {
            (void)close(fd); /* nothing was written */
        }
        return false;
    }
    (void)fputs("take it in? [y/N] ", terminal);
    (void)fflush(terminal);
    const char *got = fgets(answer, sizeof answer, terminal);
    (void)fclose(terminal); /* an answer was read, or none */
    return got != NULL && (strcmp(answer, "y\n") == 0 || strcmp(answer, "yes\n") == 0);
}

/* Returns 0 where it is accepted, else the exit code after it was said. */
static int review(struct import_run *run)
{
    struct quipu_error err;
    const struct import_values *values = run->values;
    bool shows = !run->cli->is_json && (values->is_dry_run || !values->is_accepted);
    enum quipu_status status = shows ? show_all(run, &err) : QUIPU_OK;
    if (status != QUIPU_OK) {
        return fail(run, status, &err);
    }
    if (!shows || values->is_dry_run) {
        return 0;
    }
    (void)fflush(stdout);
    if (ask()) {
        return 0;
    }
    (void)quipu_error_set(&err, QUIPU_STOPPED, "not accepted: nothing was taken in");
    return cli_fail(run->cli, QUIPU_STOPPED, &err, "");
}

/* ------------------------------------------------------------------ taken in */

static void say(const struct import_run *run, const struct quipu_import_report *report)
{
    char added[CLI_COUNT_BYTES];
    char known[CLI_COUNT_BYTES];
    char missing[CLI_COUNTED_BYTES];
    (void)printf("%s %s, %s known already\n", cli_count(report->events.added, added),
                 run->options.is_dry_run ? "would be added" : "added",
                 cli_count(report->events.known, known));
    if (run->is_lines) {
        (void)printf(SIGNED_BY_NOBODY);
        return;
    }
    (void)printf("source  %s\nsigned  %s\n", report->bundle.source, report->bundle.signer);
    if (report->missing > 0) {
        (void)printf("gap     %s before it, accepted\n",
                     cli_counted(report->missing, "bundle", missing));
    }
}

/* What a bundle says of itself, and lines do not. */
static void note_bundle(struct cli_json *json, const struct quipu_import_report *report)
{
    const struct quipu_bundle_report *bundle = &report->bundle;
    cli_json_number(json, "unproven", bundle->unproven);
    cli_json_text(json, "source", quipu_slice_text(bundle->source));
    cli_json_text(json, "signer", quipu_slice_text(bundle->signer));
    cli_json_number(json, "people", bundle->people);
    cli_json_signers(json, bundle->signers, (size_t)bundle->signatures);
    cli_json_number(json, "number", bundle->number);
    cli_json_number(json, "missing", report->missing);
    cli_json_bool(json, "was_known", report->was_known);
    cli_json_bool(json, "encrypted", bundle->was_encrypted);
}

static enum quipu_status say_json(struct import_run *run, const struct quipu_import_report *report,
                                  struct quipu_error *err)
{
    struct cli_json *json = &run->json;
    const struct quipu_bundle_report *bundle = &report->bundle;
    cli_json_number(json, "added", report->events.added);
    cli_json_number(json, "forks", report->events.forks);
    cli_json_number(json, "known", report->events.known);
    cli_json_bool(json, "dry_run", run->options.is_dry_run);
    cli_json_number(json, "events", bundle->events);
    if (run->is_lines) {
        cli_json_null(json, "signer");
    } else {
        note_bundle(json, report);
    }
    cli_json_number(json, "operation", report->operation);
    if (!run->is_lines) {
        cli_json_cid(json, "manifest", &bundle->manifest);
    }
    cli_json_hex(json, "sha256", quipu_slice(bundle->file_sha256, sizeof bundle->file_sha256));
    enum quipu_status status = run->options.is_dry_run ? note_all(run, err) : QUIPU_OK;
    return status == QUIPU_OK ? cli_json_end(json, err) : status;
}

/* Others use the store, or the disk has no room for a copy: in one transaction after all, which may
 * hold ten times as much memory. Where that does not go either, `why` is what is told. */
static enum quipu_status accept_at_once(struct import_run *run, struct quipu_import_report *report,
                                        const struct quipu_error *why, struct quipu_error *err)
{
    cli_note(run->cli, "%s: not into a copy, but in one transaction, which takes more memory",
             why->status == QUIPU_BUSY ? "the store is in use" : "the disk has no room");
    enum quipu_status status = quipu_import_accept(run->import, run->cli->engine, report, err);
    if (status == QUIPU_TOO_LARGE) {
        *err = *why;
    }
    return status == QUIPU_TOO_LARGE ? why->status : status;
}

/* More than one small transaction takes: into a copy, with the store closed meanwhile. */
static enum quipu_status accept_alone(struct import_run *run, struct quipu_import_report *report,
                                      int *code, struct quipu_error *err)
{
    struct cli *cli = run->cli;
    uint64_t opened_position = cli->config->opened_position;
    cli_note(cli, "more than one small transaction takes: into a copy of the store, which then "
                  "takes its place");
    cli_close(&cli->store, &cli->engine);
    enum quipu_status status = quipu_import_accept_alone(run->import, cli->store_path, report, err);
    bool is_elsewhere = status == QUIPU_BUSY || status == QUIPU_NO_SPACE;
    if (status == QUIPU_OK || is_elsewhere) {
        *code = cli_open(cli);
        cli->config->opened_position = opened_position;
    }
    if (is_elsewhere && *code == 0) {
        struct quipu_error why = *err;
        status = accept_at_once(run, report, &why, err);
    }
    return status;
}

static int accept_it(struct import_run *run)
{
    struct quipu_error err;
    struct quipu_import_report report;
    int code = 0;
    enum quipu_status status = quipu_import_accept_within(
        run->import, run->cli->engine, QUIPU_IMPORT_MEMORY_DEFAULT, &report, &err);
    if (status == QUIPU_TOO_LARGE) {
        status = accept_alone(run, &report, &code, &err);
    }
    if (status != QUIPU_OK) {
        return fail(run, status, &err);
    }
    if (!run->options.is_dry_run) {
        cli_done(run->cli, report.events.added, "added");
    }
    if (!run->cli->is_json) {
        say(run, &report);
        return code;
    }
    status = say_json(run, &report, &err);
    return status == QUIPU_OK ? code : cli_fail(run->cli, status, &err, NULL);
}

/* ------------------------------------------------------------------ the verb */

/* Returns 0, or the exit code after it has said what is wrong. */
static int gather(struct import_run *run)
{
    const struct import_values *values = run->values;
    struct quipu_import_options *options = &run->options;
    int code = cli_signers_load(run->cli, &values->signers, &run->trust);
    if (code != 0) {
        return code;
    }
    if (!values->is_accepted && !values->is_dry_run && (run->cli->is_json || !may_ask(run))) {
        return cli_usage(run->cli, "there is no terminal to ask on: take it in with --yes, or look "
                                   "at it with --dry-run");
    }
    options->is_dry_run = values->is_dry_run;
    options->keeps_forks = values->keeps_forks;
    options->takes_unproven = values->takes_unproven;
    options->trusted = values->signers.trusted.count == 0 ? NULL : values->signers.trusted.items;
    options->trusted_count = values->signers.trusted.count;
    options->trust = run->trust;
    options->required_signers = values->signers.required.value;
    options->accept_gap = values->accept_gap;
    options->operator_name = values->operator_name != NULL
                                 ? values->operator_name
                                 : run->cli->config->values.offline.operator_name;
    code = cli_age_secrets(run->cli, &values->age, CLI_PASSPHRASE_OPENS, &run->secrets);
    options->secrets = run->secrets;
    return code;
}

/* Is one of the options given that lines know nothing of? */
static bool wants_signature(const struct import_values *values)
{
    return cli_signers_are_given(&values->signers) || values->accept_gap != NULL ||
           values->is_receipts || cli_age_is_given(&values->age);
}

/* On whose word? A mark of publishing cannot be taken back, and neither can an event. */
static int check_word(const struct cli *cli, const struct import_values *values, bool is_lines)
{
    if (is_lines && !values->takes_unproven) {
        return cli_usage(cli, "nobody signs lines, so nothing proves whose events they are: take "
                              "them in with --unproven, or have a bundle exported");
    }
    if (values->is_receipts && !cli_signers_are_given(&values->signers)) {
        return cli_usage(cli, "receipts of anybody would mark events as published for good: say "
                              "whose they are with --trust U… or --allowed-signers FILE, or look "
                              "at them with --dry-run");
    }
    return 0;
}

/* Returns 0, or the exit code after it has said what is wrong. */
static int check_format(const struct cli *cli, const struct import_values *values, bool *is_lines)
{
    *is_lines = values->format != NULL && strcmp(values->format, "jsonl") == 0;
    if (values->format != NULL && !*is_lines && strcmp(values->format, "car") != 0) {
        return cli_usage(cli, "--format wants car or jsonl, found \"%s\"", values->format);
    }
    if (*is_lines && wants_signature(values)) {
        return cli_usage(cli,
                         "lines are neither signed nor encrypted: leave --trust, "
                         "--allowed-signers, --require, --accept-gap, --identity, --passphrase, "
                         "--passphrase-fd and --receipts out");
    }
    if (values->is_receipts && !values->is_accepted && !values->is_dry_run) {
        return cli_usage(cli, "take receipts in with --yes, or look at them with --dry-run");
    }
    return values->is_dry_run ? 0 : check_word(cli, values, *is_lines);
}

/* What can be read again is read where it is; lines may come from a pipe that has a name, too. */
static int open_source(struct import_run *run)
{
    struct stat info;
    int code = 0;
    if (run->is_lines) {
        code = cli_open_input(run->cli, run->path,
                              "name a file that `quipu export --format jsonl` wrote", &run->fd);
    } else if (strcmp(run->path, "-") == 0) {
        run->fd = STDIN_FILENO;
    }
    if (code != 0 || run->fd < 0) {
        return code;
    }
    bool is_file = fstat(run->fd, &info) == 0 && S_ISREG(info.st_mode);
    if (run->fd == STDIN_FILENO || !is_file) {
        run->source = quipu_source_fd(&run->fd);
        run->options.source = &run->source;
    }
    return 0;
}

static int import_it(struct import_run *run)
{
    struct quipu_error err;
    const char *name = strcmp(run->path, "-") == 0 ? "standard input" : run->path;
    int code = open_source(run);
    if (code != 0) {
        return code;
    }
    if (run->values->is_receipts) {
        return cli_receipts_import(run->cli, name, &run->options);
    }
    enum quipu_status status =
        run->is_lines
            ? quipu_import_open_lines(run->cli->engine, name, &run->options, &run->import, &err)
            : quipu_import_open(run->cli->engine, name, &run->options, &run->import, &err);
    if (status != QUIPU_OK) {
        return fail(run, status, &err);
    }
    code = review(run);
    return code == 0 ? accept_it(run) : code;
}

static int run(struct cli *cli, const void *values, int argc, char **argv)
{
    (void)argc;
    struct import_run state = {
        .cli = cli,
        .values = values,
        .path = argv[0],
        .fd = -1,
        .options = QUIPU_IMPORT_OPTIONS_INIT,
    };
    int code = check_format(cli, values, &state.is_lines);
    if (code == 0) {
        code = gather(&state);
    }
    if (code == 0) {
        code = cli_open(cli);
    }
    if (code == 0) {
        cli_json_begin(&state.json);
        code = import_it(&state);
    }
    quipu_import_close(&state.import);
    if (state.fd > STDIN_FILENO) {
        (void)close(state.fd); /* was only read */
    }
    quipu_trust_free(&state.trust);
    quipu_age_secrets_free(&state.secrets);
    cli_json_release(&state.json);
    return code;
}

static const struct cli_option options[] = {
    {"yes", CLI_FLAG, offsetof(struct import_values, is_accepted), NULL,
     "take it in without asking"},
    {"dry-run", CLI_FLAG, offsetof(struct import_values, is_dry_run), NULL,
     "check everything against the store, write nothing"},
    {"keep-forks", CLI_FLAG, offsetof(struct import_values, keeps_forks), NULL,
     "take branches of an aggregate in, and record the conflict"},
    {"unproven", CLI_FLAG, offsetof(struct import_values, takes_unproven), NULL,
     "take events whose source did not sign, on the word of a signer whom you did not name"},
    CLI_SIGNER_OPTIONS(import_values, signers),
    CLI_AGE_OPTIONS(import_values, age),
    {"accept-gap", CLI_TEXT, offsetof(struct import_values, accept_gap), "REASON",
     "take it although bundles before it never came in, and record why"},
    {"format", CLI_TEXT, offsetof(struct import_values, format), "car|jsonl",
     "a bundle (car), or lines of `quipu export --format jsonl`"},
    {"receipts", CLI_FLAG, offsetof(struct import_values, is_receipts), NULL,
     "FILE is of `quipu export --receipts`: mark its events as published"},
    {"operator", CLI_TEXT, offsetof(struct import_values, operator_name), "NAME",
     "who imports, for the operations log (else offline.operator)"},
};

const struct cli_verb cli_verb_import = {
    .name = "import",
    .arguments = "FILE|-",
    .summary = "Take a bundle's events in, all or none",
    .details = "Every block, the manifest, the signatures and every event's place are checked "
               "first; then what is\n"
               "new is shown, by type and aggregate, and taken in where it is accepted. FILE is a "
               "bundle, an age\n"
               "file with one inside, the folder of its volumes, or - for standard input; with "
               "--format jsonl it\n"
               "holds lines, which go the same way. Importing the same events again adds nothing. "
               "Without --trust\n"
               "and --allowed-signers any signature that holds is accepted for the signer's own "
               "events, and the\n"
               "signer is named; events of others, and lines, come in with --unproven only. A fork "
               "is refused\n"
               "unless it is to be kept, and a bundle that is missing before this one unless that "
               "is accepted. Each\n"
               "import is in `quipu operations`.",
    .example = "age -d -i key.txt ceremony.age | quipu import --yes --trust UDOBVPEE… -",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .values_bytes = sizeof(struct import_values),
    .arguments_min = 1,
    .arguments_max = 1,
    .run = run,
};

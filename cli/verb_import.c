/*
 * quipu import: take a bundle's events in, all or none.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>

#include "cli.h"
#include "print.h"
#include "quipu/bundle.h"

struct import_values {
    struct cli_texts trust;
    bool is_dry_run;
    bool keeps_forks;
};

static void say(const struct quipu_import_report *report, bool is_dry_run)
{
    char added[CLI_COUNT_BYTES];
    char known[CLI_COUNT_BYTES];
    (void)printf("%s %s, %s known already\nsource  %s\nsigned  %s\n",
                 cli_count(report->events.added, added), is_dry_run ? "would be added" : "added",
                 cli_count(report->events.known, known), report->bundle.source,
                 report->bundle.signer);
}

static enum quipu_status say_json(const struct quipu_import_report *report, bool is_dry_run,
                                  struct quipu_error *err)
{
    struct cli_json json = {0};
    cli_json_begin(&json);
    cli_json_number(&json, "added", report->events.added);
    cli_json_number(&json, "forks", report->events.forks);
    cli_json_number(&json, "known", report->events.known);
    cli_json_bool(&json, "dry_run", is_dry_run);
    cli_json_number(&json, "events", report->bundle.events);
    cli_json_text(&json, "source", quipu_slice_text(report->bundle.source));
    cli_json_text(&json, "signer", quipu_slice_text(report->bundle.signer));
    cli_json_cid(&json, "manifest", &report->bundle.manifest);
    cli_json_hex(&json, "sha256",
                 quipu_slice(report->bundle.file_sha256, sizeof report->bundle.file_sha256));
    enum quipu_status status = cli_json_end(&json, err);
    cli_json_release(&json);
    return status;
}

static int run(struct cli *cli, const void *values, int argc, char **argv)
{
    (void)argc;
    const struct import_values *import_values = values;
    struct quipu_error err;
    for (size_t i = 0; i < import_values->trust.count; i++) {
        uint8_t key[QUIPU_PUBLIC_KEY_BYTES];
        const char *source = import_values->trust.items[i];
        if (quipu_source_public_key(quipu_slice_text(source), key, NULL) != QUIPU_OK) {
            return cli_usage(
                cli, "--trust wants a source such as `quipu status` shows, found \"%s\"", source);
        }
    }
    int code = cli_open(cli);
    if (code != 0) {
        return code;
    }
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    options.is_dry_run = import_values->is_dry_run;
    options.keeps_forks = import_values->keeps_forks;
    options.trusted = import_values->trust.count == 0 ? NULL : import_values->trust.items;
    options.trusted_count = import_values->trust.count;
    struct quipu_import_report report;
    enum quipu_status status = quipu_import(cli->engine, argv[0], &options, &report, &err);
    if (status == QUIPU_OK) {
        if (!options.is_dry_run) {
            cli_done(cli, report.events.added, "added");
        }
        if (cli->is_json) {
            status = say_json(&report, options.is_dry_run, &err);
        } else {
            say(&report, options.is_dry_run);
        }
    }
    return status == QUIPU_OK
               ? 0
               : cli_fail(cli, status, &err,
                          status == QUIPU_NOT_FOUND ? "name a file that `quipu export` wrote"
                                                    : NULL);
}

static const struct cli_option options[] = {
    {"dry-run", CLI_FLAG, offsetof(struct import_values, is_dry_run), NULL,
     "check everything against the store, write nothing"},
    {"keep-forks", CLI_FLAG, offsetof(struct import_values, keeps_forks), NULL,
     "take branches of an aggregate in, and record the conflict"},
    {"trust", CLI_TEXTS, offsetof(struct import_values, trust), "U…",
     "accept only this signer; several times for several"},
};

const struct cli_verb cli_verb_import = {
    .name = "import",
    .arguments = "FILE",
    .summary = "Take a bundle's events in, all or none",
    .details = "Every block, the manifest, the signature and every event's place are checked "
               "before anything\n"
               "is written. Importing the same bundle again adds nothing. Without --trust any "
               "signature that\n"
               "holds is accepted, and the signer is named. A fork is refused unless it is to be "
               "kept.",
    .example = "quipu import --trust UDOBVPEE… ceremony.car",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .values_bytes = sizeof(struct import_values),
    .arguments_min = 1,
    .arguments_max = 1,
    .run = run,
};

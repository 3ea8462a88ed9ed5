/*
 * quipu release: a bundle leaves the machine when enough people have signed it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"
#include "config.h"
#include "export_bundle.h"
#include "print.h"
#include "quipu/sign_bundle.h"
#include "signers.h"
#include "verify_bundle.h"

struct release_values {
    struct cli_signer_values signers;
    struct cli_export_bundle bundle;
    bool is_unrecorded;
};

/* ------------------------------------------------------------------ what is said */

static void say_text(const char *path, const struct quipu_release_report *report, uint64_t required)
{
    const struct quipu_bundle_report *bundle = &report->bundle;
    char events[CLI_COUNTED_BYTES];
    char bytes[CLI_COUNT_BYTES];
    char volumes[CLI_COUNTED_BYTES];
    cli_say("released  bundle %" PRIu64 ", %s, in %s, %s%s%s", bundle->number,
            cli_counted(bundle->events, "event", events), path,
            cli_bytes(report->file_bytes, bytes), report->volumes == 0 ? "" : " in ",
            report->volumes == 0 ? "" : cli_counted(report->volumes, "volume", volumes));
    (void)printf("people    %" PRIu32 ", %" PRIu64 " asked for\n", bundle->people, required);
    cli_say_signers("signed", bundle->signers, (size_t)bundle->signatures);
    cli_say_digest("sha256", quipu_slice(report->file_sha256, sizeof report->file_sha256));
    if (memcmp(report->file_sha256, bundle->file_sha256, sizeof bundle->file_sha256) != 0) {
        cli_say_digest("inside", quipu_slice(bundle->file_sha256, sizeof bundle->file_sha256));
    }
}

static enum quipu_status say_json(const char *path, const struct quipu_release_report *report,
                                  struct quipu_error *err)
{
    const struct quipu_bundle_report *bundle = &report->bundle;
    struct quipu_slice digest = quipu_slice(report->file_sha256, sizeof report->file_sha256);
    struct cli_json json = {0};
    cli_json_begin(&json);
    cli_json_text(&json, "file", quipu_slice_text(path));
    cli_json_number(&json, "number", bundle->number);
    cli_json_number(&json, "events", bundle->events);
    cli_json_text(&json, "source", quipu_slice_text(bundle->source));
    cli_json_cid(&json, "manifest", &bundle->manifest);
    cli_json_number(&json, "people", bundle->people);
    cli_json_signers(&json, bundle->signers, (size_t)bundle->signatures);
    cli_json_number(&json, "file_bytes", report->file_bytes);
    cli_json_hex(&json, "sha256", digest);
    cli_json_spoken(&json, digest);
    cli_json_hex(&json, "car_sha256", quipu_slice(bundle->file_sha256, sizeof bundle->file_sha256));
    cli_json_number(&json, "volumes", report->volumes);
    cli_json_bool(&json, "recorded", report->operation > 0);
    cli_json_number(&json, "operation", report->operation);
    enum quipu_status status = cli_json_end(&json, err);
    cli_json_release(&json);
    return status;
}

/* ------------------------------------------------------------------ the verb */

/* What leaves the machine is recorded, unless that is said not to be wanted. */
static int open_store(struct cli *cli, const struct release_values *values)
{
    if (values->is_unrecorded) {
        return values->bundle.volume_size == NULL
                   ? 0
                   : cli_usage(cli, "the store that made the bundle signs the index of its "
                                    "volumes: leave --no-record out");
    }
    struct stat info;
    if (stat(cli->store_path, &info) != 0 && errno == ENOENT) {
        struct quipu_error err;
        (void)quipu_error_set(&err, QUIPU_NOT_A_STORE,
                              "there is no store in \"%s\" to record the release in",
                              cli->store_path);
        return cli_fail(cli, QUIPU_NOT_A_STORE, &err,
                        "name a store with --store DIR, or release it unrecorded with --no-record");
    }
    int code = cli_open(cli);
    if (code == 0 && values->bundle.volume_size != NULL) {
        code = cli_export_unlock(cli, &values->bundle);
    }
    return code;
}

static int release(struct cli *cli, const struct release_values *values,
                   const struct quipu_release_options *options, char **paths)
{
    struct quipu_error err = {.offset = QUIPU_ERROR_NO_OFFSET};
    struct quipu_release_report report;
    enum quipu_status status =
        quipu_release(cli->engine, paths[0], paths[1], options, &report, &err);
    if (status != QUIPU_OK) {
        return cli_bundle_fail(cli, status, &err, false);
    }
    if (cli->is_json) {
        status = say_json(paths[1], &report, &err);
    } else {
        say_text(paths[1], &report, values->signers.required.value);
    }
    return status == QUIPU_OK ? 0 : cli_fail(cli, status, &err, NULL);
}

static int run(struct cli *cli, const void *values, int argc, char **argv)
{
    (void)argc;
    const struct release_values *given = values;
    struct quipu_release_options options = QUIPU_RELEASE_OPTIONS_INIT;
    struct cli_export_cover cover;
    struct quipu_trust *trust = NULL;
    int code = cli_export_cover(cli, &given->bundle, &cover);
    if (code == 0 && !given->signers.required.is_set) {
        code = cli_usage(cli, "wants --require N: how many people must have signed");
    }
    if (code == 0) {
        code = cli_signers_load(cli, &given->signers, &trust);
    }
    if (code == 0) {
        code = open_store(cli, given);
    }
    if (code == 0) {
        code = cli_export_cover_ask(cli, &given->bundle, &cover);
    }
    if (code == 0) {
        options.trusted = given->signers.trusted.items;
        options.trusted_count = given->signers.trusted.count;
        options.trust = trust;
        options.required_signers = given->signers.required.value;
        options.encryption = cover.is_encrypted ? &cover.encryption : NULL;
        options.volume_bytes = cover.volume_bytes;
        options.operator_name = given->bundle.operator_name != NULL
                                    ? given->bundle.operator_name
                                    : cli->config->values.offline.operator_name;
        options.reason = given->bundle.reason;
        code = release(cli, given, &options, argv);
    }
    cli_export_cover_release(&cover);
    quipu_trust_free(&trust);
    return code;
}

static const struct cli_option options[] = {
    CLI_SIGNER_OPTIONS(release_values, signers),
    {"recipient", CLI_TEXTS, offsetof(struct release_values, bundle.recipients), "age1…",
     "encrypt to this age recipient (may be given several times)"},
    {"passphrase-fd", CLI_NUMBER, offsetof(struct release_values, bundle.passphrase_fd), "N",
     "encrypt to the passphrase that this descriptor gives"},
    {"passphrase", CLI_FLAG, offsetof(struct release_values, bundle.asks_passphrase), NULL,
     "encrypt to a passphrase, and ask for it"},
    {"armor", CLI_FLAG, offsetof(struct release_values, bundle.is_armored), NULL,
     "write the encrypted file as text"},
    {"volume-size", CLI_TEXT, offsetof(struct release_values, bundle.volume_size), "SIZE",
     "make OUT a folder of volumes of this size, such as 4G or 650M"},
    CLI_KEY_PASSPHRASE_OPTION(release_values, bundle.key_passphrase_fd),
    CLI_PINENTRY_OPTION(release_values, bundle.pinentry),
    {"operator", CLI_TEXT, offsetof(struct release_values, bundle.operator_name), "NAME",
     "who releases, for the operations log (else offline.operator)"},
    {"reason", CLI_TEXT, offsetof(struct release_values, bundle.reason), "TEXT",
     "why, for the operations log"},
    {"no-record", CLI_FLAG, offsetof(struct release_values, is_unrecorded), NULL,
     "release it although no store here records that"},
};

const struct cli_verb cli_verb_release = {
    .name = "release",
    .arguments = "BUNDLE OUT",
    .summary = "Write a signed bundle out, once enough people have signed it",
    .details =
        "BUNDLE is checked wholly; OUT is written only where so many people of the allowed signers "
        "have\n"
        "signed it as --require asks for. Keys that share a principal are one person, keys behind "
        "a\n"
        "pattern nobody. OUT is encrypted or in volumes as `quipu export` would have it; a file "
        "that is\n"
        "there is not touched. The release is in `quipu operations` before OUT has its name; "
        "without a\n"
        "store it wants --no-record. Volumes are made by the store of the bundle. Exit codes\n"
        "as `quipu verify BUNDLE`: 30 too few signers.",
    .example = "quipu release ceremony.car /media/stick/ceremony.car --require 2 --allowed-signers "
               "officers",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .values_bytes = sizeof(struct release_values),
    .arguments_min = 2,
    .arguments_max = 2,
    .run = run,
};

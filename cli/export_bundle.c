/*
 * quipu export, a bundle: who reads it, in how many volumes, and what is said of it. Marks nothing
 * as published.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "export_bundle.h"

#include <inttypes.h>
#include <string.h>

#include "age_keys.h"
#include "print.h"
#include "quipu/alloc.h"
#include "quipu/bundle.h"
#include "quipu/text.h"

/* ------------------------------------------------------------------ options */

/* 650M, 4G, 65536; units of 1024. */
static bool size_parse(const char *text, uint64_t *out)
{
    static const char units[] = "KMGT";
    char digits[24];
    size_t len = strlen(text);
    unsigned shift = 0;
    if (len > 0) {
        const char *unit = strchr(units, text[len - 1]);
        shift = unit == NULL ? 0 : 10 * ((unsigned)(unit - units) + 1);
    }
    size_t count = shift == 0 ? len : len - 1;
    if (count == 0 || count >= sizeof digits) {
        return false;
    }
    memcpy(digits, text, count);
    digits[count] = 0;
    uint64_t value = 0;
    if (!cli_number_parse(digits, &value) || value == 0 || value > UINT64_MAX >> shift) {
        return false;
    }
    *out = value << shift;
    return true;
}

static int read_recipients(const struct cli *cli, const struct cli_texts *texts,
                           struct quipu_age_recipient recipients[CLI_TEXTS_MAX])
{
    for (size_t i = 0; i < texts->count; i++) {
        struct quipu_error err;
        enum quipu_status status =
            quipu_age_recipient_parse(quipu_slice_text(texts->items[i]), &recipients[i], &err);
        if (status != QUIPU_OK) {
            return cli_fail(cli, status, &err, NULL);
        }
    }
    return 0;
}

static int check_values(const struct cli *cli, const struct cli_export_bundle *values)
{
    bool has_passphrase = values->passphrase_fd.is_set || values->asks_passphrase;
    bool is_encrypted = values->recipients.count > 0 || has_passphrase;
    if (values->recipients.count > 0 && has_passphrase) {
        return cli_usage(cli, "--recipient and --passphrase%s: choose one",
                         values->passphrase_fd.is_set ? "-fd" : "");
    }
    if (values->is_armored && !is_encrypted) {
        return cli_usage(cli, "--armor is for an encrypted bundle: name a --recipient too");
    }
    if (values->unpack != NULL && is_encrypted) {
        return cli_usage(cli, "--unpack would lay open what is encrypted; who receives it unpacks "
                              "it with `quipu verify --unpack DIR`");
    }
    return 0;
}

/* ------------------------------------------------------------------ what is said */

void cli_say_digest(const char *what, struct quipu_slice digest)
{
    struct quipu_buf hex = QUIPU_BUF_INIT;
    struct quipu_buf words = QUIPU_BUF_INIT;
    quipu_hex_append(&hex, digest);
    quipu_digest_words(digest, &words);
    (void)printf("%-9s %.*s\n%-9s %.*s\n", what, QUIPU_SLICE_FMT(quipu_buf_slice(&hex)), "spoken",
                 QUIPU_SLICE_FMT(quipu_buf_slice(&words)));
    quipu_buf_release(&hex);
    quipu_buf_release(&words);
}

void cli_json_spoken(struct cli_json *json, struct quipu_slice digest)
{
    struct quipu_buf words = QUIPU_BUF_INIT;
    quipu_digest_words(digest, &words);
    if (words.status == QUIPU_OK) {
        cli_json_text(json, "spoken", quipu_buf_slice(&words));
    } else if (json->buf.status == QUIPU_OK) {
        json->buf.status = words.status; /* told when the line ends */
    }
    quipu_buf_release(&words);
}

static void say_text(const char *path, const struct quipu_export_report *report)
{
    char events[CLI_COUNTED_BYTES];
    char bytes[CLI_COUNT_BYTES];
    char volumes[CLI_COUNTED_BYTES];
    char root[QUIPU_CID_TEXT_BYTES];
    struct quipu_slice file = quipu_slice(report->file_sha256, sizeof report->file_sha256);
    quipu_cid_format(&report->root, root);
    cli_say("%s, positions %" PRIu64 " to %" PRIu64 ", in %s, %s%s%s",
            cli_counted(report->events, "event", events), report->first_position,
            report->last_position, path, cli_bytes(report->file_bytes, bytes),
            report->volumes == 0 ? "" : " in ",
            report->volumes == 0 ? "" : cli_counted(report->volumes, "volume", volumes));
    if (report->number > 0) {
        (void)printf("bundle    %" PRIu64 "\n", report->number);
    }
    (void)printf("root      %s\n", root);
    cli_say_digest("sha256", file);
    if (memcmp(report->file_sha256, report->car_sha256, sizeof report->car_sha256) != 0) {
        cli_say_digest("inside", quipu_slice(report->car_sha256, sizeof report->car_sha256));
    }
}

static enum quipu_status say_json(const char *path, const struct quipu_export_report *report,
                                  struct quipu_error *err)
{
    struct cli_json json = {0};
    struct quipu_slice file = quipu_slice(report->file_sha256, sizeof report->file_sha256);
    cli_json_begin(&json);
    cli_json_text(&json, "file", quipu_slice_text(path));
    cli_json_number(&json, "events", report->events);
    cli_json_number(&json, "first_position", report->first_position);
    cli_json_number(&json, "last_position", report->last_position);
    cli_json_number(&json, "file_bytes", report->file_bytes);
    cli_json_number(&json, "number", report->number);
    cli_json_cid(&json, "root", &report->root);
    cli_json_cid(&json, "manifest", &report->manifest);
    cli_json_hex(&json, "sha256", file);
    cli_json_spoken(&json, file);
    cli_json_hex(&json, "car_sha256", quipu_slice(report->car_sha256, sizeof report->car_sha256));
    cli_json_number(&json, "log_size", report->log_size);
    cli_json_hex(&json, "log_root", quipu_slice(report->log_root, sizeof report->log_root));
    cli_json_number(&json, "volumes", report->volumes);
    cli_json_bool(&json, "recorded", report->number > 0);
    enum quipu_status status = cli_json_end(&json, err);
    cli_json_release(&json);
    return status;
}

static enum quipu_status say(const struct cli *cli, const char *path,
                             const struct quipu_export_report *report, struct quipu_error *err)
{
    if (report->number == 0) {
        cli_note(cli, "the store cannot be written: the bundle has no number and is not recorded "
                      "there, so --since-last and the row of bundles do not know of it");
    }
    if (report->was_interrupted) {
        cli_note(cli,
                 "the export of bundle %" PRIu64 " was interrupted: its number is not used again; "
                 "if its file stands it is good, else who imports %" PRIu64 " will miss it",
                 report->number - 1, report->number);
    }
    if (cli->is_json) {
        return say_json(path, report, err);
    }
    say_text(path, report);
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ the run */

static int export_with(const struct cli *cli, const struct cli_export_bundle *values,
                       const struct quipu_export_options *options, const char *path)
{
    struct quipu_error err = {0};
    struct quipu_export_report report;
    enum quipu_status status = quipu_export(cli->engine, path, options, &report, &err);
    if (status == QUIPU_OK && values->unpack != NULL) {
        status = quipu_bundle_unpack(path, NULL, values->unpack, NULL, &err);
    }
    if (status == QUIPU_OK) {
        status = say(cli, path, &report, &err);
    }
    return status == QUIPU_OK ? 0 : cli_fail(cli, status, &err, NULL);
}

int cli_export_unlock(const struct cli *cli, const struct cli_export_bundle *values)
{
    struct cli_passphrase_from from = {
        .cli = cli,
        .fd = values->key_passphrase_fd,
        .pinentry = values->pinentry,
        .credential = CLI_CREDENTIAL_KEY,
        .option = "--key-passphrase-fd",
    };
    return cli_unlock(cli, &from);
}

int cli_export_cover(const struct cli *cli, const struct cli_export_bundle *values,
                     struct cli_export_cover *cover)
{
    *cover = (struct cli_export_cover){.encryption = QUIPU_AGE_WRITE_OPTIONS_INIT};
    int code = check_values(cli, values);
    if (code == 0 && values->volume_size != NULL &&
        !size_parse(values->volume_size, &cover->volume_bytes)) {
        code = cli_usage(cli, "--volume-size wants a size such as 4G, 650M or 65536, found \"%s\"",
                         values->volume_size);
    }
    return code == 0 ? read_recipients(cli, &values->recipients, cover->recipients) : code;
}

int cli_export_cover_ask(const struct cli *cli, const struct cli_export_bundle *values,
                         struct cli_export_cover *cover)
{
    struct cli_age_values age = {
        .passphrase_fd = values->passphrase_fd,
        .asks_passphrase = values->asks_passphrase,
        .pinentry = values->pinentry,
    };
    int code = cli_age_secrets(cli, &age, CLI_PASSPHRASE_NEW, &cover->secrets);
    if (code != 0 || (cover->secrets == NULL && values->recipients.count == 0)) {
        return code;
    }
    cover->encryption.recipients = values->recipients.count > 0 ? cover->recipients : NULL;
    cover->encryption.recipient_count = values->recipients.count;
    cover->encryption.passphrase = cover->secrets;
    cover->encryption.form = values->is_armored ? QUIPU_AGE_ARMORED : QUIPU_AGE_BINARY;
    cover->is_encrypted = true;
    return 0;
}

void cli_export_cover_release(struct cli_export_cover *cover)
{
    quipu_age_secrets_free(&cover->secrets);
}

int cli_export_bundle(const struct cli *cli, const struct cli_export_bundle *values,
                      const struct quipu_filter *filter, const char *path)
{
    struct quipu_export_options options = QUIPU_EXPORT_OPTIONS_INIT;
    struct cli_export_cover cover;
    int code = cli_export_cover(cli, values, &cover);
    if (code == 0) {
        code = cli_export_unlock(cli, values);
    }
    if (code == 0) {
        code = cli_export_cover_ask(cli, values, &cover);
    }
    if (code == 0) {
        options.filter = *filter;
        options.operator_name = values->operator_name;
        options.reason = values->reason;
        options.from = values->is_since_last ? QUIPU_EXPORT_SINCE_LAST : QUIPU_EXPORT_FROM_FILTER;
        options.encryption = cover.is_encrypted ? &cover.encryption : NULL;
        options.volume_bytes = cover.volume_bytes;
        code = export_with(cli, values, &options, path);
    }
    cli_export_cover_release(&cover);
    return code;
}

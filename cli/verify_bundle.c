/*
 * quipu verify BUNDLE…: checks bundles by themselves, read-only, offline, without a store; says
 * what is proven and what is not, and answers with a verdict of its own for each way in which a
 * bundle can be wrong.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "verify_bundle.h"

#include <inttypes.h>
#include <string.h>

#include "export_bundle.h"
#include "print.h"
#include "quipu/alloc.h"
#include "quipu/bundle.h"

/* The numbers are part of the interface (docs/quipu.1, EXIT STATUS): scripts depend on them. */
enum verdict {
    VERDICT_TAMPERED = 20,
    VERDICT_TRUNCATED = 21,
    VERDICT_MISSING = 22,
    VERDICT_GAP = 23,
    VERDICT_FORK = 24,
    VERDICT_UNSIGNED = 25,
    VERDICT_UNTRUSTED = 26,
    VERDICT_RECIPIENT = 27,
    VERDICT_VERSION = 28,
    VERDICT_REPLAYED = 29,
    VERDICT_TOO_FEW = 30,
    VERDICT_REPEATED = 31,
};

int cli_bundle_verdict(enum quipu_status status, bool is_chain)
{
    if (cli_is_cbor(status)) {
        return VERDICT_TAMPERED;
    }
    switch ((int)status) {
    case QUIPU_CAR:
    case QUIPU_CAR_ROOT_MISSING:
    case QUIPU_CID_MISMATCH:
    case QUIPU_CID_UNVERIFIABLE:
    case QUIPU_BUNDLE:
    case QUIPU_ENVELOPE:
    case QUIPU_BAD_SIGNATURE:
    case QUIPU_AGE:
    case QUIPU_AGE_ARMOR:
    case QUIPU_AGE_HEADER:
    case QUIPU_AGE_MAC:
    case QUIPU_AGE_PAYLOAD:
    case QUIPU_TOO_LARGE:
        return VERDICT_TAMPERED;
    case QUIPU_CAR_TRUNCATED:
    case QUIPU_AGE_TRUNCATED:
        return VERDICT_TRUNCATED;
    case QUIPU_MISSING:
        return VERDICT_MISSING;
    case QUIPU_GAP:
        return VERDICT_GAP;
    case QUIPU_FORK:
        return VERDICT_FORK;
    case QUIPU_UNSIGNED:
        return VERDICT_UNSIGNED;
    case QUIPU_UNTRUSTED:
        return VERDICT_UNTRUSTED;
    case QUIPU_TOO_FEW_SIGNERS:
        return VERDICT_TOO_FEW;
    case QUIPU_EVENT_ID_CONFLICT:
        return VERDICT_REPEATED;
    case QUIPU_AGE_NO_MATCH:
    case QUIPU_AGE_UNSUPPORTED:
        return VERDICT_RECIPIENT;
    case QUIPU_FORMAT_NEWER:
    case QUIPU_CAR_VERSION:
    case QUIPU_AGE_VERSION:
        return VERDICT_VERSION;
    case QUIPU_EXISTS:
    case QUIPU_INVALID:
        return is_chain ? VERDICT_REPLAYED : (int)cli_exit_code(status);
    default:
        return (int)cli_exit_code(status);
    }
}

static const char *verdict_word(int verdict)
{
    switch (verdict) {
    case VERDICT_TAMPERED:
        return "tampered";
    case VERDICT_TRUNCATED:
        return "truncated";
    case VERDICT_MISSING:
        return "missing";
    case VERDICT_GAP:
        return "gap";
    case VERDICT_FORK:
        return "fork";
    case VERDICT_UNSIGNED:
        return "unsigned";
    case VERDICT_UNTRUSTED:
        return "untrusted signer";
    case VERDICT_RECIPIENT:
        return "wrong recipient";
    case VERDICT_VERSION:
        return "unknown version";
    case VERDICT_REPLAYED:
        return "replayed";
    case VERDICT_TOO_FEW:
        return "too few signers";
    case VERDICT_REPEATED:
        return "repeated event_id";
    default:
        return "not checked";
    }
}

int cli_bundle_fail(const struct cli *cli, enum quipu_status status, const struct quipu_error *err,
                    bool is_chain)
{
    struct quipu_buf members = QUIPU_BUF_INIT;
    int verdict = cli_bundle_verdict(status, is_chain);
    struct quipu_error said = *err;
    /* Other verbs have no verdict where it is not the bundle that is at fault. */
    if (verdict >= VERDICT_TAMPERED || cli->verb == &cli_verb_verify) {
        (void)quipu_error_wrap(&said, status, "%s", verdict_word(verdict)); /* returned below */
        quipu_buf_printf(&members, ",\"verdict\":\"%s\"", verdict_word(verdict));
    }
    if (err->offset != QUIPU_ERROR_NO_OFFSET) {
        quipu_buf_printf(&members, ",\"byte\":%" PRIu64, err->offset);
    }
    struct cli_failure failure = {
        .status = status,
        .err = &said,
        .cure = status == QUIPU_NOT_FOUND ? "name a file that `quipu export` wrote" : NULL,
        .code = (enum cli_exit)verdict,
        .members = quipu_buf_slice(&members),
    };
    int code = cli_fail_with(cli, &failure);
    quipu_buf_release(&members);
    return code;
}

/* ------------------------------------------------------------------ what is said */

static void say_proven(const struct cli_verify_bundle *values,
                       const struct quipu_bundle_report *report, bool is_first)
{
    char proven[CLI_COUNTED_BYTES];
    char others[CLI_COUNTED_BYTES];
    char log[CLI_COUNTED_BYTES];
    (void)printf("proven    every block is what its CID says; the manifest is signed by the source "
                 "that it names; %s\n          at their numbers in that source's log, of which "
                 "the signed checkpoint counts %s\n",
                 cli_counted(report->proven, "event", proven),
                 cli_counted(report->log_size, "event", log));
    if (report->has_log_previous) {
        (void)printf("          that log began as the %s that bundle %" PRIu64 " counted\n",
                     cli_counted(report->log_previous_size, "event", log), report->number - 1);
    }
    if (values->signers.trusted.count == 0 && values->signers.allowed_signers == NULL) {
        (void)printf("not       who holds the source's key (--trust U… names whom you trust)\n");
    }
    if (report->left_out > 0) {
        (void)printf("not       that it is all: %s that the source had recorded %s",
                     cli_counted(report->left_out, "event", log),
                     report->left_out == 1 ? "is" : "are");
        if (report->has_log_previous) {
            (void)printf(" not in it, of those since bundle %" PRIu64 "\n", report->number - 1);
        } else {
            (void)printf(" not in it\n");
        }
    }
    if (report->proven < report->events) {
        (void)printf("not       the place of %s of other sources in their own logs\n",
                     cli_counted(report->events - report->proven, "event", others));
    }
    if (report->number == 0) {
        (void)printf("not       its place among the source's bundles: it was made without a "
                     "number\n");
    } else if (is_first && report->number > 1) {
        (void)printf("not       that bundle %" PRIu64 " came before it (verify it together with "
                     "that one)\n",
                     report->number - 1);
    }
}

static void say_text(const struct cli *cli, const struct cli_verify_bundle *values,
                     const char *path, const struct quipu_bundle_report *report, bool is_first)
{
    char events[CLI_COUNTED_BYTES];
    char blocks[CLI_COUNTED_BYTES];
    char bytes[CLI_COUNT_BYTES];
    char time[QUIPU_RFC3339_BYTES];
    char manifest[QUIPU_CID_TEXT_BYTES];
    quipu_rfc3339_format(report->created_unix_us, time);
    quipu_cid_format(&report->manifest, manifest);
    (void)printf("%s%s%s: ", cli_paint(cli, CLI_GREEN), "intact", cli_paint(cli, CLI_PLAIN));
    cli_say("%s, %s in %s, %s", path, cli_counted(report->events, "event", events),
            cli_counted(report->blocks, "block", blocks), cli_bytes(report->file_bytes, bytes));
    (void)printf("bundle    %" PRIu64 "\nmade      %s\nsource    %s\nsigned    %s (%" PRIu64
                 " in all)\n",
                 report->number, time, report->source, report->signer, report->signatures);
    if (report->signatures > 1) {
        cli_say_signers("signer", report->signers, (size_t)report->signatures);
    }
    if (values->signers.required.is_set) {
        (void)printf("people    %" PRIu32 ", %" PRIu64 " asked for\n", report->people,
                     values->signers.required.value);
    }
    (void)printf("manifest  %s\n", manifest);
    cli_say_digest(report->was_encrypted ? "inside" : "sha256",
                   quipu_slice(report->file_sha256, sizeof report->file_sha256));
    say_proven(values, report, is_first);
}

static enum quipu_status say_json(const char *path, const struct quipu_bundle_report *report,
                                  struct quipu_error *err)
{
    struct cli_json json = {0};
    struct quipu_slice digest = quipu_slice(report->file_sha256, sizeof report->file_sha256);
    cli_json_begin(&json);
    cli_json_bool(&json, "intact", true);
    cli_json_text(&json, "file", quipu_slice_text(path));
    cli_json_number(&json, "events", report->events);
    cli_json_number(&json, "blocks", report->blocks);
    cli_json_number(&json, "file_bytes", report->file_bytes);
    cli_json_number(&json, "number", report->number);
    cli_json_time(&json, "created_at", report->created_unix_us);
    cli_json_text(&json, "source", quipu_slice_text(report->source));
    cli_json_text(&json, "signer", quipu_slice_text(report->signer));
    cli_json_number(&json, "signatures", report->signatures);
    cli_json_number(&json, "people", report->people);
    cli_json_signers(&json, report->signers, (size_t)report->signatures);
    cli_json_cid(&json, "manifest", &report->manifest);
    if (report->has_previous) {
        cli_json_cid(&json, "previous", &report->previous);
    } else {
        cli_json_null(&json, "previous");
    }
    cli_json_hex(&json, "sha256", digest);
    cli_json_spoken(&json, digest);
    cli_json_number(&json, "proven", report->proven);
    cli_json_number(&json, "left_out", report->left_out);
    cli_json_number(&json, "log_size", report->log_size);
    cli_json_hex(&json, "log_root", quipu_slice(report->log_root, sizeof report->log_root));
    cli_json_bool(&json, "encrypted", report->was_encrypted);
    cli_json_number(&json, "volumes", report->volumes);
    enum quipu_status status = cli_json_end(&json, err);
    cli_json_release(&json);
    return status;
}

/* ------------------------------------------------------------------ the run */

/* The last bundle of a source that was looked at. */
struct last_of {
    char source[QUIPU_SOURCE_TEXT_BYTES];
    struct quipu_bundle_place place;
};

struct verify_run {
    const struct cli *cli;
    const struct cli_verify_bundle *values;
    const struct quipu_bundle_check_options *options;
    struct last_of *last; /* one a source, at most one a bundle */
    size_t sources;
};

/* NULL: none of its source came before. */
static struct last_of *last_of(const struct verify_run *run, const char *source)
{
    for (size_t i = 0; i < run->sources; i++) {
        if (strcmp(run->last[i].source, source) == 0) {
            return &run->last[i];
        }
    }
    return NULL;
}

/* Behind the last one of its source, whatever lies between them. Those without a number are outside
 * of every row. */
static int check_order(struct verify_run *run, const struct quipu_bundle_report *bundle,
                       const char *path, bool *is_first)
{
    struct quipu_error err;
    struct last_of *last = last_of(run, bundle->source);
    *is_first = last == NULL;
    if (bundle->number == 0) {
        return 0;
    }
    enum quipu_status status =
        last == NULL ? QUIPU_OK : quipu_bundle_follows(&last->place, bundle, &err);
    if (status != QUIPU_OK) {
        (void)quipu_error_wrap(&err, status, "%s", path); /* said below */
        return cli_bundle_fail(run->cli, status, &err, true);
    }
    if (last == NULL) {
        last = &run->last[run->sources++];
        memcpy(last->source, bundle->source, sizeof last->source);
    }
    last->place = quipu_bundle_place_of(bundle);
    return 0;
}

static int check_one(struct verify_run *run, const char *path)
{
    struct quipu_bundle_report report;
    struct quipu_error err = {.offset = QUIPU_ERROR_NO_OFFSET};
    bool is_first = true;
    enum quipu_status status =
        run->values->unpack == NULL
            ? quipu_bundle_check_with(path, run->options, &report, &err)
            : quipu_bundle_unpack(path, run->options, run->values->unpack, &report, &err);
    if (status != QUIPU_OK) {
        return cli_bundle_fail(run->cli, status, &err, false);
    }
    int code = check_order(run, &report, path, &is_first);
    if (code == 0 && run->cli->is_json) {
        status = say_json(path, &report, &err);
        code = status == QUIPU_OK ? 0 : cli_fail(run->cli, status, &err, NULL);
    } else if (code == 0) {
        say_text(run->cli, run->values, path, &report, is_first);
    }
    return code;
}

static int check_all(const struct cli *cli, const struct cli_verify_bundle *values,
                     const struct quipu_bundle_check_options *options, int count, char **paths)
{
    struct quipu_error err;
    struct verify_run run = {.cli = cli, .values = values, .options = options};
    int code = 0;
    run.last = quipu_alloc_zero((size_t)count, sizeof *run.last);
    if (run.last == NULL) {
        enum quipu_status status =
            quipu_error_set(&err, QUIPU_NO_MEMORY, "no memory for %d bundles", count);
        return cli_fail(cli, status, &err, NULL);
    }
    for (int i = 0; code == 0 && i < count; i++) {
        code = check_one(&run, paths[i]);
    }
    quipu_free(run.last);
    return code;
}

int cli_verify_bundles(const struct cli *cli, const struct cli_verify_bundle *values, int count,
                       char **paths)
{
    struct quipu_bundle_check_options options = QUIPU_BUNDLE_CHECK_OPTIONS_INIT;
    struct quipu_age_secrets *secrets = NULL;
    struct quipu_trust *trust = NULL;
    int code = cli_signers_load(cli, &values->signers, &trust);
    if (code == 0) {
        code = cli_age_secrets(cli, &values->age, CLI_PASSPHRASE_OPENS, &secrets);
    }
    if (code == 0) {
        options.secrets = secrets;
        options.trusted = values->signers.trusted.items;
        options.trusted_count = values->signers.trusted.count;
        options.trust = trust;
        options.required_signers = values->signers.required.value;
        code = check_all(cli, values, &options, count, paths);
    }
    quipu_age_secrets_free(&secrets);
    quipu_trust_free(&trust);
    return code;
}

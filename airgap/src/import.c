/*
 * Import, of a bundle or of lines: the whole bundle is checked, and its signer trusted, before the
 * first event is taken in; then a second pass over the same bytes takes all of them in, or none.
 * What is not the same in both passes is refused.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "import.h"

#include <inttypes.h>
#include <string.h>

#include "jsonl.h"
#include "quipu/alloc.h"
#include "quipu/event_lines.h"
#include "said.h"

/* ------------------------------------------------------------------ options */

static enum quipu_status check_options(const struct quipu_import_options *options,
                                       struct quipu_error *err)
{
    if (options->size != sizeof *options) {
        return quipu_error_set(err, QUIPU_MISUSE, "import options of %zu bytes, not %zu",
                               options->size, sizeof *options);
    }
    enum quipu_status status = quipu_said_check("reason of the gap", options->accept_gap,
                                                QUIPU_BUNDLE_REASON_BYTES_MAX, err);
    if (status == QUIPU_OK) {
        status = quipu_said_check("operator", options->operator_name,
                                  QUIPU_BUNDLE_OPERATOR_BYTES_MAX, err);
    }
    return status;
}

/* Of lines. */
static enum quipu_status refuse_bundles_options(const struct quipu_import_options *options,
                                                struct quipu_error *err)
{
    bool is_given = options->trusted_count > 0 || options->trust != NULL ||
                    options->required_signers > 0 || options->accept_gap != NULL ||
                    options->secrets != NULL;
    return is_given ? quipu_error_set(err, QUIPU_INVALID,
                                      "lines are neither signed, numbered nor encrypted, and "
                                      "options say who signs, which gap is accepted or what opens "
                                      "them")
                    : QUIPU_OK;
}

static struct quipu_signer_policy policy_of(const struct quipu_import *import)
{
    const struct quipu_import_options *options = &import->options;
    return (struct quipu_signer_policy){
        .trusted = options->trusted,
        .trusted_count = options->trusted_count,
        .trust = options->trust,
        .unix_us = import->clock.unix_us(import->clock.ctx),
        .required = options->required_signers,
    };
}

/* ------------------------------------------------------------------ first pass */

struct quipu_import_from quipu_import_from_of(const struct quipu_import *import,
                                              struct quipu_engine *engine)
{
    return (struct quipu_import_from){
        .path = import->path,
        .source = import->options.source,
        .secrets = import->options.secrets,
        .folder = quipu_store_folder(quipu_engine_store(engine)),
    };
}

enum quipu_status quipu_import_prepare(struct quipu_engine *engine, const char *path,
                                       const struct quipu_import_options *options,
                                       const char *name_space, struct quipu_import **out,
                                       struct quipu_error *err)
{
    static const struct quipu_import_options defaults = QUIPU_IMPORT_OPTIONS_INIT;
    if (engine == NULL || path == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE, "import needs an engine and a path");
    }
    enum quipu_status status = check_options(options == NULL ? &defaults : options, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_import *import = quipu_alloc_zero(1, sizeof *import);
    if (import == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory to import");
    }
    import->options = options == NULL ? defaults : *options;
    import->path = path;
    import->clock = import->options.clock == NULL ? quipu_clock_system() : *import->options.clock;
    import->input = (struct quipu_import_input)QUIPU_IMPORT_INPUT_INIT;
    import->policy = policy_of(import);
    status = quipu_signer_policy_check(&import->policy, name_space, err);
    if (status != QUIPU_OK) {
        quipu_import_close(&import);
        return status;
    }
    *out = import;
    return QUIPU_OK;
}

/* A signer whom nobody named has shown that he has a key, and nothing else: what he says of others
 * is worth what anybody says. A look at it does no harm. */
static enum quipu_status judge_word(const struct quipu_import *import, struct quipu_error *err)
{
    const struct quipu_import_options *options = &import->options;
    const struct quipu_bundle_report *bundle = &import->bundle;
    bool is_named = options->trusted_count > 0 || options->trust != NULL;
    if (bundle->unproven == 0 || is_named || options->takes_unproven || options->is_dry_run) {
        return QUIPU_OK;
    }
    if (import->is_lines) {
        return quipu_error_set(err, QUIPU_UNTRUSTED,
                               "%s: nobody has signed these lines: nothing proves whose their "
                               "%" PRIu64 " events are",
                               import->path, bundle->events);
    }
    return quipu_error_set(err, QUIPU_UNTRUSTED,
                           "%s: %" PRIu64 " of %" PRIu64
                           " events are of sources that did not sign it, and its signer %s is not "
                           "named as trusted: nothing proves that they are theirs",
                           import->path, bundle->unproven, bundle->events, bundle->signer);
}

static enum quipu_status read_pass(struct quipu_import *import,
                                   const struct quipu_bundle_pass *pass,
                                   struct quipu_bundle_report *report, struct quipu_error *err)
{
    struct quipu_source source = {0};
    if (!import->is_lines) {
        return quipu_import_input_read(&import->input, pass, report, err);
    }
    enum quipu_status status = quipu_import_input_source(&import->input, &source, err);
    return status == QUIPU_OK ? quipu_lines_read(source, pass, report, err) : status;
}

static enum quipu_status add_bytes(void *ctx, const struct quipu_bundle_event *event,
                                   struct quipu_error *err)
{
    uint64_t *bytes = ctx;
    (void)err;
    *bytes += event->envelope.len + event->payload.len;
    return QUIPU_OK;
}

/* A signed file is about as long as its events; a line is as long as its spelling. */
static enum quipu_status check_all(struct quipu_import *import, struct quipu_error *err)
{
    struct quipu_bundle_pass pass = {
        .name = import->path,
        .policy = import->policy,
        .visit = import->is_lines ? add_bytes : NULL,
        .ctx = &import->item_bytes,
    };
    enum quipu_status status = read_pass(import, &pass, &import->bundle, err);
    if (status == QUIPU_OK && !import->is_lines) {
        import->item_bytes = import->bundle.file_bytes;
    }
    return status;
}

static enum quipu_status import_open(struct quipu_engine *engine, struct quipu_import **opening,
                                     struct quipu_import **out, struct quipu_error *err)
{
    struct quipu_import *import = *opening;
    struct quipu_import_from from = quipu_import_from_of(import, engine);
    enum quipu_status status = quipu_import_input_open(&import->input, &from, err);
    if (status == QUIPU_OK) {
        status = check_all(import, err);
    }
    if (status == QUIPU_OK) {
        status = judge_word(import, err);
    }
    if (status != QUIPU_OK) {
        quipu_import_close(opening);
        return status;
    }
    *out = import;
    return QUIPU_OK;
}

enum quipu_status quipu_import_open(struct quipu_engine *engine, const char *path,
                                    const struct quipu_import_options *options,
                                    struct quipu_import **out, struct quipu_error *err)
{
    struct quipu_import *import = NULL;
    enum quipu_status status =
        quipu_import_prepare(engine, path, options, QUIPU_BUNDLE_NAMESPACE, &import, err);
    return status == QUIPU_OK ? import_open(engine, &import, out, err) : status;
}

enum quipu_status quipu_import_open_lines(struct quipu_engine *engine, const char *path,
                                          const struct quipu_import_options *options,
                                          struct quipu_import **out, struct quipu_error *err)
{
    struct quipu_import *import = NULL;
    enum quipu_status status =
        quipu_import_prepare(engine, path, options, QUIPU_BUNDLE_NAMESPACE, &import, err);
    if (status == QUIPU_OK) {
        import->is_lines = true;
        status = refuse_bundles_options(&import->options, err);
    }
    if (status != QUIPU_OK) {
        quipu_import_close(&import);
        return status;
    }
    return import_open(engine, &import, out, err);
}

const struct quipu_bundle_report *quipu_import_bundle(const struct quipu_import *import)
{
    return &import->bundle;
}

void quipu_import_close(struct quipu_import **import)
{
    if (*import == NULL) {
        return;
    }
    quipu_import_input_close(&(*import)->input);
    quipu_free(*import);
    *import = NULL;
}

/* ------------------------------------------------------------------ further passes */

static enum quipu_status refuse_changed(const char *path, struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_BUNDLE,
                           "%s changed between the check and the import: nothing was taken in",
                           path);
}

enum quipu_status quipu_import_again(struct quipu_import *import, quipu_bundle_event_fn visit,
                                     void *ctx, const enum quipu_status *refused,
                                     struct quipu_error *err)
{
    struct quipu_bundle_report again;
    struct quipu_bundle_pass pass = {
        .name = import->path,
        .policy = import->policy,
        .visit = visit,
        .ctx = ctx,
    };
    enum quipu_status status = read_pass(import, &pass, &again, err);
    if (status == QUIPU_OK) {
        return memcmp(again.file_sha256, import->bundle.file_sha256, sizeof again.file_sha256) == 0
                   ? QUIPU_OK
                   : refuse_changed(import->path, err);
    }
    bool is_machine = status == QUIPU_IO || status == QUIPU_NO_MEMORY || status == QUIPU_NO_SPACE;
    /* It was a bundle a moment ago. */
    return *refused == QUIPU_OK && !is_machine ? refuse_changed(import->path, err) : status;
}

enum quipu_status quipu_import(struct quipu_engine *engine, const char *path,
                               const struct quipu_import_options *options,
                               struct quipu_import_report *report, struct quipu_error *err)
{
    struct quipu_import *import = NULL;
    enum quipu_status status = quipu_import_open(engine, path, options, &import, err);
    if (status == QUIPU_OK) {
        status = quipu_import_accept(import, engine, report, err);
    }
    quipu_import_close(&import);
    return status;
}

/*
 * Import: the whole bundle is checked, and its signer trusted, before the first event is taken in;
 * then a second pass over the same descriptor takes all of them in, or none, in one transaction. A
 * file that is not the same in both passes is refused.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <unistd.h>

#include "bundle_reader.h"
#include "internal/failpoint.h"

struct import {
    struct quipu_ingest *ingest;
    struct quipu_ingest_report events;
    enum quipu_status refused; /* what the store said of an event */
};

static enum quipu_status check_options(const struct quipu_import_options *options,
                                       struct quipu_error *err)
{
    if (options->size != sizeof *options) {
        return quipu_error_set(err, QUIPU_MISUSE, "import options of %zu bytes, not %zu",
                               options->size, sizeof *options);
    }
    if (options->trusted == NULL && options->trusted_count > 0) {
        return quipu_error_set(err, QUIPU_MISUSE, "%zu trusted signers, but no texts",
                               options->trusted_count);
    }
    /* A mistyped key would trust nobody, which is safe but hard to understand. */
    for (size_t i = 0; i < options->trusted_count; i++) {
        uint8_t key[QUIPU_PUBLIC_KEY_BYTES];
        enum quipu_status status =
            quipu_source_public_key(quipu_slice_text(options->trusted[i]), key, err);
        if (status != QUIPU_OK) {
            return quipu_error_wrap(err, status, "trusted signer %zu", i + 1);
        }
    }
    return QUIPU_OK;
}

static enum quipu_status take_event(void *ctx, const struct quipu_bundle_event *event,
                                    struct quipu_error *err)
{
    struct import *import = ctx;
    struct quipu_foreign foreign = {
        .cid = event->cid, .envelope = event->envelope, .payload = event->payload};
    enum quipu_ingest_outcome outcome = QUIPU_INGEST_ADDED;
    enum quipu_status status = quipu_failpoint("airgap.import.event", err);
    if (status == QUIPU_OK) {
        status = quipu_ingest_event(import->ingest, &foreign, &outcome, err);
    }
    if (status != QUIPU_OK) {
        import->refused = status;
    }
    if (status == QUIPU_TOO_LARGE) {
        /* The reader has held each block to its limit: it is the transaction that is full. */
        return quipu_error_wrap(err, status,
                                "too much for one transaction, so nothing is taken in; export it "
                                "in parts, by position, and import these in order");
    }
    if (status != QUIPU_OK) {
        return status;
    }
    switch (outcome) {
    case QUIPU_INGEST_ADDED:
        import->events.added++;
        break;
    case QUIPU_INGEST_KNOWN:
        import->events.known++;
        break;
    case QUIPU_INGEST_QUARANTINED:
        import->events.quarantined++;
        break;
    }
    return QUIPU_OK;
}

static enum quipu_status refuse_changed(const char *path, struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_BUNDLE,
                           "%s changed between the check and the import: nothing was taken in",
                           path);
}

/* The second pass; nothing of it stays unless the file was what the first pass saw. */
static enum quipu_status take_all(struct quipu_engine *engine, int fd,
                                  const struct quipu_import_options *options,
                                  struct quipu_bundle_pass *pass,
                                  struct quipu_import_report *report, struct quipu_error *err)
{
    struct import import = {0};
    struct quipu_bundle_report again;
    struct quipu_ingest_options taking = QUIPU_INGEST_OPTIONS_INIT;
    taking.policy = QUIPU_INGEST_STRICT;
    taking.forks = options->keeps_forks ? QUIPU_INGEST_FORKS_KEEP : QUIPU_INGEST_FORKS_REFUSE;
    enum quipu_status status = quipu_ingest_begin_with(engine, &taking, &import.ingest, err);
    if (status != QUIPU_OK) {
        return status;
    }
    pass->visit = take_event;
    pass->ctx = &import;
    status = quipu_bundle_read(fd, pass, &again, err);
    if (status == QUIPU_OK &&
        memcmp(again.file_sha256, report->bundle.file_sha256, sizeof again.file_sha256) != 0) {
        status = refuse_changed(pass->name, err);
    } else if (status != QUIPU_OK && import.refused == QUIPU_OK && status != QUIPU_IO &&
               status != QUIPU_NO_MEMORY) {
        /* It was a bundle a moment ago. */
        status = refuse_changed(pass->name, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_failpoint("airgap.import.commit", err);
    }
    if (status == QUIPU_OK && !options->is_dry_run) {
        status = quipu_ingest_commit(&import.ingest, &import.events, err);
    }
    quipu_ingest_abort(&import.ingest);
    if (status == QUIPU_OK) {
        report->events = import.events;
    }
    return status;
}

enum quipu_status quipu_import(struct quipu_engine *engine, const char *path,
                               const struct quipu_import_options *options,
                               struct quipu_import_report *report, struct quipu_error *err)
{
    static const struct quipu_import_options defaults = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_import_report found = {0};
    int fd = -1;
    if (engine == NULL || path == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE, "import needs an engine and a path");
    }
    if (options == NULL) {
        options = &defaults;
    }
    enum quipu_status status = check_options(options, err);
    if (status == QUIPU_OK) {
        status = quipu_bundle_open(path, &fd, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_bundle_pass pass = {
        .name = path, .trusted = options->trusted, .trusted_count = options->trusted_count};
    status = quipu_bundle_read(fd, &pass, &found.bundle, err);
    if (status == QUIPU_OK) {
        status = take_all(engine, fd, options, &pass, &found, err);
    }
    (void)close(fd); /* was only read */
    if (status == QUIPU_OK && report != NULL) {
        *report = found;
    }
    return status;
}

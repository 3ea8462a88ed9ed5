/*
 * Checking a bundle by itself, whatever it is wrapped in, and whether it follows another one. One
 * pass of the reader that keeps nothing. Never writes.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bundle_reader.h"
#include "quipu/alloc.h"
#include "volume.h"

/* ------------------------------------------------------------------ what it is wrapped in */

#define SNIFF_BYTES 64u

struct quipu_bundle_stream {
    int fd; /* of a file, or of the folder of volumes */
    bool is_folder;
    struct quipu_volume_reader volumes;
    struct quipu_source below;
    uint8_t sniffed[SNIFF_BYTES]; /* its first bytes, given out first */
    struct quipu_slice rest;      /* of them */
    struct quipu_age_reader *age;
};

static enum quipu_status stream_read(void *ctx, void *into, size_t cap, size_t *got,
                                     struct quipu_error *err)
{
    struct quipu_bundle_stream *stream = ctx;
    if (stream->rest.len == 0) {
        return stream->below.read(stream->below.ctx, into, cap, got, err);
    }
    *got = cap < stream->rest.len ? cap : stream->rest.len;
    memcpy(into, stream->rest.data, *got);
    stream->rest = quipu_slice(stream->rest.data + *got, stream->rest.len - *got);
    return QUIPU_OK;
}

/* An age file says so at its first byte, or in armor behind white space. */
bool quipu_bundle_is_age(struct quipu_slice first)
{
    static const char binary[] = "age-encryption.org/";
    static const char armor[] = "-----BEGIN AGE";
    if (first.len >= sizeof binary - 1 && memcmp(first.data, binary, sizeof binary - 1) == 0) {
        return true;
    }
    size_t at = 0;
    while (at < first.len && memchr(" \t\r\n", first.data[at], 4) != NULL) {
        at++;
    }
    return first.len - at >= sizeof armor - 1 &&
           memcmp(first.data + at, armor, sizeof armor - 1) == 0;
}

static enum quipu_status open_below(struct quipu_bundle_stream *stream, const char *path,
                                    struct quipu_error *err)
{
    struct stat info;
    stream->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    stream->is_folder = stream->fd >= 0;
    if (!stream->is_folder) {
        enum quipu_status status = quipu_bundle_open(path, &stream->fd, err);
        stream->below = quipu_source_fd(&stream->fd);
        return status;
    }
    if (fstatat(stream->fd, QUIPU_VOLUME_INDEX, &info, AT_SYMLINK_NOFOLLOW) != 0 &&
        errno == ENOENT && fstatat(stream->fd, QUIPU_VOLUME_SIGNATURE, &info, 0) != 0) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "%s is a folder; name the bundle's file, or the folder that holds "
                               "its volumes and their index",
                               path);
    }
    enum quipu_status status = quipu_volume_reader_open(&stream->volumes, stream->fd, path, err);
    stream->below = quipu_volume_reader_source(&stream->volumes);
    return status;
}

static enum quipu_status open_age(struct quipu_bundle_stream *stream,
                                  const struct quipu_age_secrets *secrets, const char *path,
                                  struct quipu_error *err)
{
    if (secrets == NULL) {
        return quipu_error_set(err, QUIPU_AGE_NO_MATCH,
                               "%s is encrypted, and no identity or passphrase was given", path);
    }
    enum quipu_status status = quipu_age_reader_open((struct quipu_source){stream_read, stream},
                                                     secrets, NULL, &stream->age, err);
    return status == QUIPU_OK ? status : quipu_error_wrap(err, status, "%s", path);
}

enum quipu_status quipu_bundle_stream_open(const char *path,
                                           const struct quipu_age_secrets *secrets,
                                           struct quipu_bundle_stream **out,
                                           struct quipu_source *source, struct quipu_error *err)
{
    struct quipu_bundle_stream *stream = quipu_alloc_zero(1, sizeof *stream);
    size_t got = 0;
    if (stream == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory to read %s", path);
    }
    stream->fd = -1;
    stream->volumes = (struct quipu_volume_reader)QUIPU_VOLUME_READER_INIT;
    enum quipu_status status = open_below(stream, path, err);
    if (status == QUIPU_OK) {
        status = quipu_source_read_full(stream->below, stream->sniffed, SNIFF_BYTES, &got, err);
        stream->rest = quipu_slice(stream->sniffed, got);
    }
    if (status == QUIPU_OK && quipu_bundle_is_age(stream->rest)) {
        status = open_age(stream, secrets, path, err);
    }
    if (status != QUIPU_OK) {
        quipu_bundle_stream_close(&stream);
        return status;
    }
    *source = stream->age != NULL ? quipu_age_reader_source(stream->age)
                                  : (struct quipu_source){stream_read, stream};
    *out = stream;
    return QUIPU_OK;
}

void quipu_bundle_stream_close(struct quipu_bundle_stream **stream)
{
    if (*stream == NULL) {
        return;
    }
    quipu_age_reader_close(&(*stream)->age);
    quipu_volume_reader_close(&(*stream)->volumes);
    if ((*stream)->fd >= 0) {
        (void)close((*stream)->fd); /* was only read */
    }
    quipu_free(*stream);
    *stream = NULL;
}

enum quipu_status quipu_bundle_read_path(const char *path, const struct quipu_age_secrets *secrets,
                                         const struct quipu_bundle_pass *pass,
                                         struct quipu_bundle_report *report,
                                         struct quipu_error *err)
{
    struct quipu_bundle_stream *stream = NULL;
    struct quipu_bundle_report found;
    struct quipu_source source = {0};
    enum quipu_status status = quipu_bundle_stream_open(path, secrets, &stream, &source, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = quipu_bundle_read_source(source, pass, &found, err);
    if (status == QUIPU_OK && stream->is_folder &&
        (strcmp(stream->volumes.index.source, found.source) != 0 ||
         !quipu_cid_equal(&stream->volumes.index.manifest, &found.manifest))) {
        status = quipu_error_set(
            err, QUIPU_BUNDLE, "%s: the index of its volumes was signed for another bundle", path);
    }
    if (status == QUIPU_OK) {
        found.volumes = stream->volumes.index.count;
        found.was_encrypted = stream->age != NULL;
        *report = found;
    }
    quipu_bundle_stream_close(&stream);
    return status;
}

/* ------------------------------------------------------------------ check */

enum quipu_status quipu_bundle_policy_of(const struct quipu_bundle_check_options *options,
                                         struct quipu_signer_policy *policy,
                                         struct quipu_error *err)
{
    if (options->size != sizeof *options) {
        return quipu_error_set(err, QUIPU_MISUSE, "check options of %zu bytes, not %zu",
                               options->size, sizeof *options);
    }
    struct quipu_clock clock = options->clock == NULL ? quipu_clock_system() : *options->clock;
    *policy = (struct quipu_signer_policy){
        .trusted = options->trusted,
        .trusted_count = options->trusted_count,
        .trust = options->trust,
        .unix_us = clock.unix_us(clock.ctx),
        .required = options->required_signers,
    };
    return quipu_signer_policy_check(policy, QUIPU_BUNDLE_NAMESPACE, err);
}

enum quipu_status quipu_bundle_check_with(const char *path,
                                          const struct quipu_bundle_check_options *options,
                                          struct quipu_bundle_report *report,
                                          struct quipu_error *err)
{
    static const struct quipu_bundle_check_options defaults = QUIPU_BUNDLE_CHECK_OPTIONS_INIT;
    struct quipu_bundle_report found;
    struct quipu_bundle_pass pass = {.name = path};
    if (path == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE, "check needs a path");
    }
    if (options == NULL) {
        options = &defaults;
    }
    enum quipu_status status = quipu_bundle_policy_of(options, &pass.policy, err);
    if (status == QUIPU_OK) {
        status = quipu_bundle_read_path(path, options->secrets, &pass, &found, err);
    }
    if (status == QUIPU_OK && report != NULL) {
        *report = found;
    }
    return status;
}

enum quipu_status quipu_bundle_check(const char *path, struct quipu_bundle_report *report,
                                     struct quipu_error *err)
{
    return quipu_bundle_check_with(path, NULL, report, err);
}

/* ------------------------------------------------------------------ one behind the other */

struct quipu_bundle_place quipu_bundle_place_of(const struct quipu_bundle_report *report)
{
    struct quipu_bundle_place place = {
        .number = report->number, .manifest = report->manifest, .log_size = report->log_size};
    memcpy(place.log_root, report->log_root, sizeof place.log_root);
    return place;
}

/* The next number: it must name the bundle and the tree before it. */
static enum quipu_status check_links(const struct quipu_bundle_place *before,
                                     const struct quipu_bundle_report *bundle,
                                     struct quipu_error *err)
{
    if (!bundle->has_previous || !quipu_cid_equal(&bundle->previous, &before->manifest)) {
        return quipu_error_set(err, QUIPU_FORK,
                               "bundle %" PRIu64 " does not follow the bundle %" PRIu64
                               " that is known, but another one with that number: the source was "
                               "rolled back, or its key is used twice",
                               bundle->number, before->number);
    }
    if (bundle->has_log_previous &&
        (bundle->log_previous_size != before->log_size ||
         memcmp(bundle->log_previous_root, before->log_root, sizeof before->log_root) != 0)) {
        return quipu_error_set(err, QUIPU_FORK,
                               "bundle %" PRIu64 " goes on from another log than bundle %" PRIu64
                               " ended with: the source was rolled back",
                               bundle->number, before->number);
    }
    return QUIPU_OK;
}

enum quipu_status quipu_bundle_follows(const struct quipu_bundle_place *before,
                                       const struct quipu_bundle_report *bundle,
                                       struct quipu_error *err)
{
    uint64_t known = before == NULL ? 0 : before->number;
    if (bundle->number == 0) {
        return QUIPU_OK;
    }
    if (bundle->number > known + 1) {
        return bundle->number == known + 2
                   ? quipu_error_set(err, QUIPU_GAP,
                                     "bundle %" PRIu64 " of source %s is missing before %" PRIu64,
                                     known + 1, bundle->source, bundle->number)
                   : quipu_error_set(err, QUIPU_GAP,
                                     "bundles %" PRIu64 " to %" PRIu64
                                     " of source %s are missing before %" PRIu64,
                                     known + 1, bundle->number - 1, bundle->source, bundle->number);
    }
    if (bundle->number == known + 1) {
        return known == 0 ? QUIPU_OK : check_links(before, bundle, err);
    }
    if (bundle->number < known) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "bundle %" PRIu64 " is an old one: bundle %" PRIu64
                               " of source %s came before it",
                               bundle->number, known, bundle->source);
    }
    if (before != NULL && quipu_cid_equal(&bundle->manifest, &before->manifest)) {
        return quipu_error_set(err, QUIPU_EXISTS, "bundle %" PRIu64 " is known already",
                               bundle->number);
    }
    return quipu_error_set(err, QUIPU_FORK,
                           "there are two different bundles with the number %" PRIu64
                           " of source %s: it was rolled back, or its key is used twice",
                           bundle->number, bundle->source);
}

/*
 * Opening what is imported, and copying what cannot be read twice. The copy is read by the second
 * pass only, and holds what the first pass has verified.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "import_input.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "internal/failpoint.h"
#include "quipu/age.h"
#include "quipu/uuid.h"

#define SPOOL_PREFIX     ".quipu-import-"
#define SPOOL_NAME_BYTES (sizeof SPOOL_PREFIX + QUIPU_UUID_TEXT_BYTES)

/* ------------------------------------------------------------------ the copy */

static bool is_spool_name(const char *name)
{
    struct quipu_uuid id;
    size_t prefix = sizeof SPOOL_PREFIX - 1;
    return strncmp(name, SPOOL_PREFIX, prefix) == 0 &&
           quipu_uuid_parse(quipu_slice_text(name + prefix), &id) == QUIPU_OK;
}

/* A spool has its name for a moment only. What a kill in that moment has left is empty and
 * nobody's; where it is that of another import in its moment, that one misses nothing. */
static void remove_left_overs(int folder)
{
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *opened = fd < 0 ? NULL : fdopendir(fd);
    if (opened == NULL) {
        if (fd >= 0) {
            (void)close(fd); /* was only read */
        }
        return;
    }
    for (struct dirent *entry = readdir(opened); entry != NULL; entry = readdir(opened)) {
        if (is_spool_name(entry->d_name)) {
            (void)unlinkat(folder, entry->d_name, 0); /* best effort: it is in nobody's way */
        }
    }
    (void)closedir(opened); /* was only read */
}

/* For file systems without O_TMPFILE. */
static enum quipu_status spool_by_name(int folder, int *fd, struct quipu_error *err)
{
    char name[SPOOL_NAME_BYTES];
    char text[QUIPU_UUID_TEXT_BYTES];
    struct quipu_clock clock = quipu_clock_system();
    struct quipu_random random = quipu_random_system();
    struct quipu_uuid id;
    enum quipu_status status = quipu_uuid_v7(&clock, &random, &id, err);
    if (status != QUIPU_OK) {
        return status;
    }
    remove_left_overs(folder);
    quipu_uuid_format(id, text);
    (void)snprintf(name, sizeof name, SPOOL_PREFIX "%s", text);
    int opened = openat(folder, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (opened < 0) {
        return quipu_error_errno(err, errno, "make a temporary file in the store's folder");
    }
    if (unlinkat(folder, name, 0) != 0 && errno != ENOENT) {
        status = quipu_error_errno(err, errno, "remove the name of a temporary file");
        (void)close(opened); /* nothing was written */
        return status;
    }
    *fd = opened;
    return QUIPU_OK;
}

enum quipu_status quipu_import_spool_make(int folder, int *fd, struct quipu_error *err)
{
    enum quipu_status status = quipu_failpoint("airgap.import.spool", err);
    if (status != QUIPU_OK) {
        return status;
    }
    bool is_known = quipu_failpoint("airgap.import.tmpfile", NULL) == QUIPU_OK;
    int opened = is_known ? openat(folder, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600) : -1;
    if (!is_known || (opened < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL))) {
        return spool_by_name(folder, fd, err);
    }
    if (opened < 0) {
        return quipu_error_errno(err, errno, "make a temporary file in the store's folder");
    }
    *fd = opened;
    return QUIPU_OK;
}

/* What is read is written to the copy before it is looked at. */
static enum quipu_status copy_read(void *ctx, void *into, size_t cap, size_t *got,
                                   struct quipu_error *err)
{
    struct quipu_import_input *input = ctx;
    enum quipu_status status = input->clear.read(input->clear.ctx, into, cap, got, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = quipu_failpoint("airgap.import.copy", err);
    if (status == QUIPU_OK) {
        struct quipu_sink sink = quipu_sink_fd(&input->spool);
        status = sink.write(sink.ctx, quipu_slice(into, *got), err);
    }
    return status == QUIPU_OK ? status : quipu_error_wrap(err, status, "copy it to the store");
}

/* ------------------------------------------------------------------ what it is */

static enum quipu_status whole_read(void *ctx, void *into, size_t cap, size_t *got,
                                    struct quipu_error *err)
{
    struct quipu_import_input *input = ctx;
    if (input->rest.len == 0) {
        return input->below.read(input->below.ctx, into, cap, got, err);
    }
    *got = cap < input->rest.len ? cap : input->rest.len;
    memcpy(into, input->rest.data, *got);
    input->rest = quipu_slice(input->rest.data + *got, input->rest.len - *got);
    return QUIPU_OK;
}

static bool begins_with(struct quipu_slice text, const char *wanted)
{
    size_t len = strlen(wanted);
    return text.len >= len && memcmp(text.data, wanted, len) == 0;
}

/* An age file says so at its first byte, or in armor behind white space. */
static bool is_age(struct quipu_slice first)
{
    struct quipu_slice text = first;
    while (text.len > 0 && memchr(" \t\r\n", text.data[0], 4) != NULL) {
        text = quipu_slice(text.data + 1, text.len - 1);
    }
    return begins_with(first, "age-encryption.org/") || begins_with(text, "-----BEGIN AGE");
}

static enum quipu_status open_age(struct quipu_import_input *input, struct quipu_error *err)
{
    if (input->from.secrets == NULL) {
        return quipu_error_set(err, QUIPU_AGE_NO_MATCH,
                               "%s is encrypted, and no identity or passphrase was given",
                               input->from.path);
    }
    input->is_encrypted = true;
    enum quipu_status status =
        quipu_age_reader_open(input->clear, input->from.secrets, NULL, &input->age, err);
    if (status != QUIPU_OK) {
        return quipu_error_wrap(err, status, "%s", input->from.path);
    }
    input->clear = quipu_age_reader_source(input->age);
    return QUIPU_OK;
}

enum quipu_status quipu_import_input_open(struct quipu_import_input *input,
                                          const struct quipu_import_from *from,
                                          struct quipu_error *err)
{
    size_t got = 0;
    enum quipu_status status = QUIPU_OK;
    input->from = *from;
    if (from->source == NULL) {
        int folder = open(from->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (folder >= 0) {
            (void)close(folder); /* only to see that it is one */
            input->is_volumes = true;
            return QUIPU_OK;
        }
        status = quipu_bundle_open(from->path, &input->fd, err);
        input->below = quipu_source_fd(&input->fd);
    } else {
        input->below = *from->source;
    }
    if (status == QUIPU_OK) {
        status = quipu_source_read_full(input->below, input->first, sizeof input->first, &got, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    input->rest = quipu_slice(input->first, got);
    input->clear = (struct quipu_source){whole_read, input};
    bool is_encrypted = is_age(input->rest);
    if (is_encrypted) {
        status = open_age(input, err);
    }
    if (status == QUIPU_OK && (is_encrypted || from->source != NULL)) {
        status = quipu_import_spool_make(from->folder, &input->spool, err);
    }
    return status;
}

enum quipu_status quipu_import_input_read(struct quipu_import_input *input,
                                          const struct quipu_bundle_pass *pass,
                                          struct quipu_bundle_report *report,
                                          struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    if (input->is_volumes) {
        return quipu_bundle_read_path(input->from.path, input->from.secrets, pass, report, err);
    }
    if (input->spool < 0) {
        return quipu_bundle_read(input->fd, pass, report, err);
    }
    if (input->clear.read == NULL) {
        status = quipu_bundle_read(input->spool, pass, report, err);
    } else {
        struct quipu_source source = {copy_read, input};
        status = quipu_bundle_read_source(source, pass, report, err);
        input->clear = (struct quipu_source){0}; /* it has been read to its end */
        quipu_age_reader_close(&input->age);
    }
    if (status == QUIPU_OK) {
        report->was_encrypted = input->is_encrypted;
    }
    return status;
}

enum quipu_status quipu_import_input_source(struct quipu_import_input *input,
                                            struct quipu_source *source, struct quipu_error *err)
{
    if (input->is_volumes) {
        return quipu_error_set(err, QUIPU_INVALID, "%s is a folder; name a file", input->from.path);
    }
    if (input->spool >= 0 && !input->is_copied) {
        input->is_copied = true;
        *source = (struct quipu_source){copy_read, input};
        return QUIPU_OK;
    }
    int *fd = input->spool >= 0 ? &input->spool : &input->fd;
    if (lseek(*fd, 0, SEEK_SET) < 0) {
        return quipu_error_errno(err, errno, "go to the start of %s", input->from.path);
    }
    *source = quipu_source_fd(fd);
    return QUIPU_OK;
}

void quipu_import_input_close(struct quipu_import_input *input)
{
    quipu_age_reader_close(&input->age);
    if (input->fd >= 0) {
        (void)close(input->fd); /* was only read */
    }
    if (input->spool >= 0) {
        (void)close(input->spool); /* nobody reads it again */
    }
    input->fd = -1;
    input->spool = -1;
}

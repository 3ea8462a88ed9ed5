/*
 * Key files for tests.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "keyring_kit.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "quipu/io.h"

#define NOW_UNIX_US (INT64_C(1795255200) * 1000000 + 345678)
#define WORK_FACTOR 4

static enum quipu_status answer(void *ctx, const char *path, struct quipu_age_secrets *into,
                                struct quipu_error *err)
{
    struct keyring_kit_asked *asked = ctx;
    asked->count++;
    if (asked->answer == NULL) {
        return quipu_error_set(err, QUIPU_STOPPED, "nobody knows the passphrase of %s", path);
    }
    return quipu_age_secrets_set_passphrase(into, quipu_slice_text(asked->answer), err);
}

struct quipu_passphrase keyring_kit_ask(struct keyring_kit_asked *asked)
{
    return (struct quipu_passphrase){answer, asked};
}

struct quipu_age_secrets *keyring_kit_secrets(const char *passphrase)
{
    struct quipu_age_secrets *secrets = NULL;
    cr_assert_eq(quipu_age_secrets_new(&secrets, NULL), QUIPU_OK);
    cr_assert_eq(quipu_age_secrets_set_passphrase(secrets, quipu_slice_text(passphrase), NULL),
                 QUIPU_OK);
    return secrets;
}

static int64_t now(void *ctx)
{
    (void)ctx;
    return NOW_UNIX_US;
}

struct quipu_key_options keyring_kit_options(void)
{
    static const struct quipu_clock clock = {now, NULL};
    struct quipu_key_options options = QUIPU_KEY_OPTIONS_INIT;
    options.work_factor = WORK_FACTOR;
    options.clock = &clock;
    return options;
}

void keyring_kit_make(const char *path, enum quipu_key_kind kind, const char *passphrase,
                      enum quipu_age_form form, struct quipu_key_public *out)
{
    struct quipu_error err = {.message = ""};
    struct quipu_key_options options = keyring_kit_options();
    struct quipu_age_secrets *secrets = passphrase == NULL ? NULL : keyring_kit_secrets(passphrase);
    options.passphrase = secrets;
    options.form = form;
    cr_assert_eq(quipu_key_make(path, kind, &options, out, &err), QUIPU_OK, "%s", err.message);
    quipu_age_secrets_free(&secrets);
}

void keyring_kit_decrypt(const char *path, const char *passphrase, struct quipu_buf *out)
{
    struct quipu_error err = {.message = ""};
    struct quipu_age_secrets *secrets = keyring_kit_secrets(passphrase);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    cr_assert_eq(quipu_age_decrypt(quipu_source_fd(&fd), secrets, NULL, quipu_sink_buf(out), &err),
                 QUIPU_OK, "%s", err.message);
    cr_assert_eq(close(fd), 0);
    quipu_age_secrets_free(&secrets);
}

void keyring_kit_assert_alone(const struct temp_dir *dir, const char *name)
{
    DIR *folder = opendir(dir->path);
    cr_assert_not_null(folder);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        cr_assert(strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
                      strcmp(entry->d_name, name) == 0,
                  "%s is in the folder", entry->d_name);
    }
    cr_assert_eq(closedir(folder), 0);
}

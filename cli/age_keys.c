/*
 * Reading identities and passphrases. Holds them in memory that is wiped; never says a character of
 * them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "age_keys.h"

#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "print.h"
#include "quipu/alloc.h"
#include "quipu/io.h"

#define SECRET_BYTES_MAX ((size_t)64 << 10)

/* All of a descriptor into memory of the caller's, one byte more than is allowed. */
static enum quipu_status read_secret(int fd, const char *what, uint8_t *into, size_t *len,
                                     struct quipu_error *err)
{
    enum quipu_status status =
        quipu_source_read_full(quipu_source_fd(&fd), into, SECRET_BYTES_MAX + 1, len, err);
    if (status == QUIPU_OK && *len > SECRET_BYTES_MAX) {
        status = quipu_error_set(err, QUIPU_TOO_LARGE, "%s has more than %zu bytes", what,
                                 SECRET_BYTES_MAX);
    }
    return status == QUIPU_OK ? status : quipu_error_wrap(err, status, "%s", what);
}

/* Guarded and locked where the system lets. */
static uint8_t *secret_new(void)
{
    return sodium_init() < 0 ? NULL : sodium_malloc(SECRET_BYTES_MAX + 1);
}

int cli_age_passphrase(const struct cli *cli, uint64_t fd, struct quipu_age_secrets *secrets)
{
    struct quipu_error err;
    size_t len = 0;
    uint8_t *bytes = secret_new();
    if (fd > INT32_MAX) {
        sodium_free(bytes);
        return cli_usage(cli, "--passphrase-fd wants the number of an open descriptor");
    }
    enum quipu_status status =
        bytes == NULL ? quipu_error_set(&err, QUIPU_NO_MEMORY, "no memory for a passphrase")
                      : read_secret((int)fd, "the passphrase", bytes, &len, &err);
    if (status == QUIPU_OK) {
        const uint8_t *newline = memchr(bytes, '\n', len);
        len = newline == NULL ? len : (size_t)(newline - bytes);
        status = quipu_age_secrets_set_passphrase(secrets, quipu_slice(bytes, len), &err);
    }
    sodium_free(bytes); /* wipes it; NULL is fine */
    return status == QUIPU_OK ? 0 : cli_fail(cli, status, &err, NULL);
}

static int add_identities(const struct cli *cli, const char *path,
                          struct quipu_age_secrets *secrets)
{
    struct quipu_error err;
    size_t len = 0;
    int fd = -1;
    int code = cli_open_input(cli, path, "name a file that age-keygen wrote", &fd);
    if (code != 0) {
        return code;
    }
    uint8_t *bytes = secret_new();
    enum quipu_status status =
        bytes == NULL ? quipu_error_set(&err, QUIPU_NO_MEMORY, "no memory for identities")
                      : read_secret(fd, path, bytes, &len, &err);
    if (status == QUIPU_OK) {
        status = quipu_age_secrets_add(secrets, quipu_slice(bytes, len), &err);
        status = status == QUIPU_OK ? status : quipu_error_wrap(&err, status, "%s", path);
    }
    sodium_free(bytes); /* wipes it; NULL is fine */
    if (fd != STDIN_FILENO) {
        (void)close(fd); /* was only read */
    }
    return status == QUIPU_OK ? 0 : cli_fail(cli, status, &err, NULL);
}

int cli_age_secrets(const struct cli *cli, const struct cli_age_values *values,
                    struct quipu_age_secrets **out)
{
    struct quipu_error err;
    struct quipu_age_secrets *secrets = NULL;
    int code = 0;
    *out = NULL;
    if (values->identities.count == 0 && !values->passphrase_fd.is_set) {
        return 0;
    }
    enum quipu_status status = quipu_age_secrets_new(&secrets, &err);
    if (status != QUIPU_OK) {
        return cli_fail(cli, status, &err, NULL);
    }
    for (size_t i = 0; code == 0 && i < values->identities.count; i++) {
        code = add_identities(cli, values->identities.items[i], secrets);
    }
    if (code == 0 && values->passphrase_fd.is_set) {
        code = cli_age_passphrase(cli, values->passphrase_fd.value, secrets);
    }
    if (code != 0) {
        quipu_age_secrets_free(&secrets);
        return code;
    }
    *out = secrets;
    return 0;
}

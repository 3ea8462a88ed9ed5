/*
 * Reading identities, and asking for passphrases. Holds them in memory that is wiped; never says a
 * character of them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "age_keys.h"

#include <limits.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "print.h"
#include "quipu/io.h"

#define SECRET_BYTES_MAX ((size_t)64 << 10)

bool cli_age_is_given(const struct cli_age_values *values)
{
    return values->identities.count > 0 || values->passphrase_fd.is_set || values->asks_passphrase;
}

static int add_passphrase(const struct cli *cli, const struct cli_age_values *values,
                          enum cli_passphrase_use use, struct quipu_age_secrets *secrets)
{
    struct quipu_error err;
    struct cli_passphrase given = {0};
    struct cli_passphrase_from from = {
        .cli = cli,
        .fd = values->passphrase_fd,
        .pinentry = values->pinentry,
        .credential = CLI_CREDENTIAL_BUNDLE,
        .option = "--passphrase-fd",
    };
    /* From a descriptor nobody is asked twice, and what a script has agreed on with the other side
     * may have any length. */
    enum cli_passphrase_use asked = values->passphrase_fd.is_set ? CLI_PASSPHRASE_OPENS : use;
    enum quipu_status status = cli_passphrase_ask(&from, "the bundle", asked, &given, &err);
    if (status == QUIPU_OK) {
        status =
            quipu_age_secrets_set_passphrase(secrets, quipu_slice(given.bytes, given.len), &err);
    }
    cli_passphrase_release(&given);
    return status == QUIPU_OK ? 0 : cli_fail(cli, status, &err, NULL);
}

/* All of a descriptor that is no plain file, such as a pipe; one byte more than is allowed. */
static enum quipu_status add_stream(int fd, struct quipu_age_secrets *secrets,
                                    struct quipu_error *err)
{
    size_t len = 0;
    uint8_t *bytes = sodium_init() < 0 ? NULL : sodium_malloc(SECRET_BYTES_MAX + 1);
    enum quipu_status status =
        bytes == NULL
            ? quipu_error_set(err, QUIPU_NO_MEMORY, "no memory for identities")
            : quipu_source_read_full(quipu_source_fd(&fd), bytes, SECRET_BYTES_MAX + 1, &len, err);
    if (status == QUIPU_OK && len > SECRET_BYTES_MAX) {
        status = quipu_error_set(err, QUIPU_TOO_LARGE, "more than %zu bytes", SECRET_BYTES_MAX);
    }
    if (status == QUIPU_OK) {
        status = quipu_age_secrets_add(secrets, quipu_slice(bytes, len), err);
    }
    sodium_free(bytes); /* wipes it; NULL is fine */
    return status;
}

static int add_identities(const struct cli *cli, const char *path,
                          const struct cli_age_values *values, struct quipu_age_secrets *secrets)
{
    struct quipu_error err;
    struct stat info;
    struct cli_passphrase_from from = {
        .cli = cli,
        .fd = values->key_passphrase_fd,
        .pinentry = values->pinentry,
        .credential = CLI_CREDENTIAL_KEY,
        .option = "--key-passphrase-fd",
    };
    struct quipu_passphrase passphrase = cli_passphrase_of_key(&from);
    int fd = -1;
    int code = cli_open_input(cli, path, "name a file that age-keygen wrote", &fd);
    if (code != 0) {
        return code;
    }
    /* A plain file may be wrapped, and must be private; a pipe has nobody else at its end. */
    bool is_file = fd != STDIN_FILENO && fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
    enum quipu_status status = QUIPU_OK;
    if (is_file) {
        status = quipu_age_secrets_load(secrets, path, &passphrase, &err);
    } else {
        status = add_stream(fd, secrets, &err);
        status = status == QUIPU_OK ? status : quipu_error_wrap(&err, status, "%s", path);
    }
    if (fd != STDIN_FILENO) {
        (void)close(fd); /* was only read */
    }
    return status == QUIPU_OK ? 0 : cli_fail(cli, status, &err, NULL);
}

int cli_age_secrets(const struct cli *cli, const struct cli_age_values *values,
                    enum cli_passphrase_use use, struct quipu_age_secrets **out)
{
    struct quipu_error err;
    struct quipu_age_secrets *secrets = NULL;
    int code = 0;
    *out = NULL;
    if (!cli_age_is_given(values)) {
        return 0;
    }
    cli_guard_secrets();
    enum quipu_status status = quipu_age_secrets_new(&secrets, &err);
    if (status == QUIPU_OK && values->scrypt_max.is_set) {
        uint64_t most = values->scrypt_max.value;
        status = quipu_age_secrets_allow_work(secrets, most > UINT_MAX ? UINT_MAX : (unsigned)most,
                                              &err);
    }
    if (status != QUIPU_OK) {
        quipu_age_secrets_free(&secrets);
        return cli_fail(cli, status, &err, NULL);
    }
    for (size_t i = 0; code == 0 && i < values->identities.count; i++) {
        code = add_identities(cli, values->identities.items[i], values, secrets);
    }
    if (code == 0 && (values->passphrase_fd.is_set || values->asks_passphrase)) {
        code = add_passphrase(cli, values, use, secrets);
    }
    if (code != 0) {
        quipu_age_secrets_free(&secrets);
        return code;
    }
    *out = secrets;
    return 0;
}

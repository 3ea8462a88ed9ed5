/*
 * The layers of the settings: defaults, file, environment, options. Each later one wins, and what
 * is wrong names the layer that it stands in.
 *
 * Specification: docs/SPEC.md §13.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "print.h"
#include "quipu/alloc.h"

#define FILE_IN_HOME  "quipu/config.toml"
#define CURE_VARIABLE "set it otherwise, or unset it"

/* ------------------------------------------------------------------ memory */

const char *cli_config_keep(struct cli_config *config, const char *text, size_t len)
{
    struct cli_config_text *kept = quipu_alloc(1, sizeof *kept + len + 1);
    if (kept == NULL) {
        return NULL;
    }
    kept->next = config->texts;
    kept->len = len;
    memcpy(kept->text, text, len);
    kept->text[len] = 0;
    config->texts = kept;
    return kept->text;
}

void cli_config_release(struct cli_config **config)
{
    if (*config == NULL) {
        return;
    }
    struct cli_config_text *text = (*config)->texts;
    while (text != NULL) {
        struct cli_config_text *next = text->next;
        explicit_bzero(text->text, text->len); /* passwords among them */
        quipu_free(text);
        text = next;
    }
    quipu_free(*config);
    *config = NULL;
}

struct cli_origin *cli_config_origin(struct cli_config *config, const struct quipu_config_key *key)
{
    size_t count;
    return &config->origins[key - quipu_config_keys(&count)];
}

static const struct quipu_config_key *key_of(const char *path)
{
    return quipu_config_key_find(quipu_slice_text(path));
}

/* ------------------------------------------------------------------ which file */

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != 0 ? value : NULL;
}

/* NULL where there is no home either. Sets `*status` to QUIPU_NO_MEMORY, or leaves it. */
static const char *default_file(struct cli_config *config, enum quipu_status *status)
{
    const char *home = variable("XDG_CONFIG_HOME");
    const char *between = "/";
    if (home == NULL || home[0] != '/') { /* the specification: relative ones are ignored */
        home = variable("HOME");
        between = "/.config/";
    }
    if (home == NULL || home[0] != '/') {
        return NULL;
    }
    struct quipu_buf path = QUIPU_BUF_INIT;
    quipu_buf_printf(&path, "%s%s%s", home, between, FILE_IN_HOME);
    const char *kept = NULL;
    if (path.status == QUIPU_OK) {
        kept = cli_config_keep(config, (const char *)path.data, path.len);
    }
    *status = kept == NULL ? QUIPU_NO_MEMORY : *status;
    quipu_buf_release(&path);
    return kept;
}

static int read_file(struct cli *cli)
{
    const char *asked = cli->config_path != NULL ? cli->config_path : variable("QUIPU_CONFIG");
    enum quipu_status status = QUIPU_OK;
    const char *path = asked != NULL ? asked : default_file(cli->config, &status);
    if (status != QUIPU_OK) {
        return cli_fail(cli, status, NULL, NULL);
    }
    cli->config->file_wanted = path;
    if (path == NULL || (asked == NULL && access(path, F_OK) != 0 && errno == ENOENT)) {
        return 0;
    }
    return cli_config_read_file(cli, path);
}

/* ------------------------------------------------------------------ environment, options */

static int fail_variable(const struct cli *cli, const char *name, struct quipu_error *err)
{
    struct quipu_error plain = cli_without_cure(err);
    (void)quipu_error_wrap(&plain, err->status, "environment %s", name);
    return cli_fail(cli, err->status, &plain, CURE_VARIABLE);
}

static int read_variable(struct cli *cli, const struct quipu_config_key *key)
{
    const char *name = key->environment;
    const char *value = variable(name);
    if (key->environment_short != NULL) {
        const char *other = variable(key->environment_short);
        if (value != NULL && other != NULL && strcmp(value, other) != 0) {
            struct quipu_error err;
            (void)quipu_error_set(&err, QUIPU_INVALID, "%s and %s are set, and not to the same",
                                  name, key->environment_short);
            return cli_fail(cli, QUIPU_INVALID, &err, "unset one of them");
        }
        if (value == NULL && other != NULL) {
            value = other;
            name = key->environment_short;
        }
    }
    if (value == NULL) {
        return 0;
    }
    struct quipu_error err;
    const char *kept = cli_config_keep(cli->config, value, strlen(value));
    if (kept == NULL) {
        return cli_fail(cli, QUIPU_NO_MEMORY, NULL, NULL);
    }
    enum quipu_status status = quipu_config_set_text(&cli->config->values, key, kept, &err);
    if (status != QUIPU_OK) {
        return fail_variable(cli, name, &err);
    }
    *cli_config_origin(cli->config, key) =
        (struct cli_origin){.kind = CLI_FROM_ENVIRONMENT, .name = name};
    return 0;
}

static int read_environment(struct cli *cli)
{
    size_t count;
    const struct quipu_config_key *keys = quipu_config_keys(&count);
    int code = 0;
    for (size_t i = 0; i < count && code == 0; i++) {
        code = read_variable(cli, &keys[i]);
    }
    return code;
}

static int read_option(struct cli *cli, const char *path, const char *name, const char *value)
{
    const struct quipu_config_key *key = key_of(path);
    struct quipu_error err;
    if (value == NULL) {
        return 0;
    }
    if (value[0] == 0 ||
        quipu_config_set_text(&cli->config->values, key, value, &err) != QUIPU_OK) {
        return cli_usage(cli, "%s wants text of %" PRId64 " to %" PRId64 " bytes, printable", name,
                         key->min, key->max); /* not what was found: a url may hold a password */
    }
    *cli_config_origin(cli->config, key) =
        (struct cli_origin){.kind = CLI_FROM_OPTION, .name = name};
    return 0;
}

/* ------------------------------------------------------------------ who we are */

/* Who we are is one setting although it has several keys: a way that a later layer gives takes the
 * place of what an earlier one said. A password in the environment waits for a user. */
static void settle_identity(struct cli_config *config)
{
    static const char *const ways[] = {"nats.credentials_file", "nats.nkey_file", "nats.token",
                                       "nats.user"};
    size_t count = sizeof ways / sizeof ways[0];
    enum cli_origin_kind latest = CLI_FROM_DEFAULT;
    for (size_t i = 0; i < count; i++) {
        enum cli_origin_kind kind = cli_config_origin(config, key_of(ways[i]))->kind;
        latest = kind > latest ? kind : latest;
    }
    for (size_t i = 0; i < count; i++) {
        const struct quipu_config_key *key = key_of(ways[i]);
        struct cli_origin *origin = cli_config_origin(config, key);
        if (origin->kind < latest) {
            quipu_config_unset(&config->values, key);
            *origin = (struct cli_origin){.kind = CLI_FROM_DEFAULT};
        }
    }
    const struct quipu_config_key *password = key_of("nats.password");
    struct cli_origin *from = cli_config_origin(config, password);
    bool is_overruled = from->kind < latest;
    if (config->values.nats.user == NULL && (is_overruled || from->kind == CLI_FROM_ENVIRONMENT)) {
        quipu_config_unset(&config->values, password);
        *from = (struct cli_origin){.kind = CLI_FROM_DEFAULT};
    }
}

/* ------------------------------------------------------------------ all of it */

static int validate(struct cli *cli)
{
    struct quipu_error err;
    const struct quipu_config_key *key = NULL;
    enum quipu_status status = quipu_config_validate(&cli->config->values, &key, &err);
    if (status == QUIPU_OK) {
        return 0;
    }
    const struct cli_origin *origin = key == NULL ? NULL : cli_config_origin(cli->config, key);
    if (origin != NULL && origin->kind == CLI_FROM_FILE) {
        return cli_config_fail_at(cli, cli->config->file, origin->line, origin->column, &err);
    }
    if (origin != NULL && origin->name != NULL) {
        (void)quipu_error_wrap(&err, status, "%s", origin->name);
    }
    return cli_fail(cli, status, &err, NULL);
}

int cli_config_load(struct cli *cli)
{
    size_t count;
    (void)quipu_config_keys(&count);
    cli->config = quipu_alloc_zero(1, sizeof *cli->config);
    if (cli->config == NULL || count > CLI_CONFIG_KEYS_MAX) {
        return cli_fail(cli, QUIPU_NO_MEMORY, NULL, NULL);
    }
    quipu_config_init(&cli->config->values);
    int code = read_file(cli);
    if (code == 0) {
        code = read_environment(cli);
    }
    if (code == 0) {
        code = read_option(cli, "storage.dir", "--store", cli->store_path);
    }
    if (code == 0) {
        code = read_option(cli, "nats.url", "--server", cli->server);
    }
    if (code == 0) {
        settle_identity(cli->config);
        code = validate(cli);
    }
    cli->store_path = cli->config->values.storage.dir;
    cli->server = cli->config->values.nats.url;
    return code;
}

/*
 * quipu config: check the settings, or show each with where it came from. Secrets are never shown.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "config.h"
#include "print.h"

extern char **environ;

#define ORIGIN_BYTES 4352

/* ------------------------------------------------------------------ show */

static const char *origin_word(enum cli_origin_kind kind)
{
    switch (kind) {
    case CLI_FROM_DEFAULT:
        return "default";
    case CLI_FROM_FILE:
        return "file";
    case CLI_FROM_ENVIRONMENT:
        return "environment";
    case CLI_FROM_OPTION:
        return "option";
    }
    return "";
}

static void show_line(const struct cli *cli, const struct quipu_config_key *key,
                      const struct cli_origin *origin, struct quipu_slice value)
{
    char from[ORIGIN_BYTES];
    switch (origin->kind) {
    case CLI_FROM_DEFAULT:
        (void)snprintf(from, sizeof from, "%s", "default");
        break;
    case CLI_FROM_FILE:
        (void)snprintf(from, sizeof from, "%s:%u:%u", cli->config->file, origin->line,
                       origin->column);
        break;
    case CLI_FROM_ENVIRONMENT:
    case CLI_FROM_OPTION:
        (void)snprintf(from, sizeof from, "%s", origin->name);
        break;
    }
    bool is_set = quipu_config_has(&cli->config->values, key);
    (void)printf("%s%-33s%s ", cli_paint(cli, CLI_BOLD), key->path, cli_paint(cli, CLI_PLAIN));
    cli_put_plain(is_set ? value : quipu_slice_text("-"));
    (void)printf("  %s(", cli_paint(cli, CLI_DIM));
    cli_put_plain(quipu_slice_text(from));
    (void)printf(")%s\n", cli_paint(cli, CLI_PLAIN));
}

static enum quipu_status show_json(const struct cli *cli, struct cli_json *json,
                                   const struct quipu_config_key *key,
                                   const struct cli_origin *origin, struct quipu_slice value,
                                   struct quipu_error *err)
{
    cli_json_begin(json);
    cli_json_text(json, "key", quipu_slice_text(key->path));
    if (quipu_config_has(&cli->config->values, key)) {
        cli_json_text(json, "value", value);
    } else {
        cli_json_null(json, "value");
    }
    cli_json_text(json, "from", quipu_slice_text(origin_word(origin->kind)));
    if (origin->kind == CLI_FROM_FILE) {
        cli_json_text(json, "file", quipu_slice_text(cli->config->file));
        cli_json_number(json, "line", origin->line);
        cli_json_number(json, "column", origin->column);
    } else if (origin->kind != CLI_FROM_DEFAULT) {
        cli_json_text(json, "name", quipu_slice_text(origin->name));
    }
    return cli_json_end(json, err);
}

static enum quipu_status show(const struct cli *cli, struct quipu_error *err)
{
    size_t count;
    const struct quipu_config_key *keys = quipu_config_keys(&count);
    struct quipu_buf value = QUIPU_BUF_INIT;
    struct cli_json json = {0};
    enum quipu_status status = QUIPU_OK;
    for (size_t i = 0; i < count && status == QUIPU_OK; i++) {
        const struct cli_origin *origin = cli_config_origin(cli->config, &keys[i]);
        quipu_buf_reset(&value);
        quipu_config_format(&cli->config->values, &keys[i], &value);
        if (value.status != QUIPU_OK) {
            status = quipu_error_set(err, value.status, "out of memory");
        } else if (cli->is_json) {
            status = show_json(cli, &json, &keys[i], origin, quipu_buf_slice(&value), err);
        } else {
            show_line(cli, &keys[i], origin, quipu_buf_slice(&value));
        }
    }
    cli_json_release(&json);
    quipu_buf_release(&value);
    return status;
}

/* ------------------------------------------------------------------ check */

struct named_file {
    const char *path; /* of the key */
    bool is_secret;
};

/* The files that the settings name: there, and those with secrets for us alone. */
static int check_files(const struct cli *cli)
{
    static const struct named_file files[] = {{"nats.credentials_file", true},
                                              {"nats.nkey_file", true},
                                              {"nats.tls.client_key", true},
                                              {"nats.tls.ca_cert", false},
                                              {"nats.tls.client_cert", false}};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        const struct quipu_config_key *key = quipu_config_key_find(quipu_slice_text(files[i].path));
        const char *name = *(const char *const *)((const char *)&cli->config->values + key->offset);
        struct quipu_error err;
        struct stat info;
        if (name == NULL) {
            continue;
        }
        if (stat(name, &info) != 0 || access(name, R_OK) != 0) {
            enum quipu_status status = quipu_error_errno(&err, errno, "%s \"%s\"", key->path, name);
            return cli_fail(cli, status, &err, "name a file that may be read");
        }
        if (files[i].is_secret && (info.st_mode & 077) != 0) {
            (void)quipu_error_set(&err, QUIPU_PERMISSION,
                                  "%s \"%s\": others may read it (mode %04o)", key->path, name,
                                  (unsigned)(info.st_mode & 07777));
            return cli_fail(cli, QUIPU_PERMISSION, &err, "chmod 600 it");
        }
    }
    return 0;
}

/* A variable that looks like a setting and is none does nothing, and nobody would notice. */
static int check_environment(const struct cli *cli)
{
    static const char *const starts[] = {"QUIPU_NATS_", "QUIPU_STORAGE_", "QUIPU_OFFLINE_",
                                         "QUIPU_MODE_"};
    size_t count;
    const struct quipu_config_key *keys = quipu_config_keys(&count);
    for (char **entry = environ; *entry != NULL; entry++) {
        size_t len = strcspn(*entry, "=");
        bool is_ours = false;
        for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
            is_ours = is_ours || strncmp(*entry, starts[i], strlen(starts[i])) == 0;
        }
        for (size_t i = 0; i < count && is_ours; i++) {
            struct quipu_slice name = quipu_slice(*entry, len);
            is_ours = !quipu_slice_equal(name, quipu_slice_text(keys[i].environment));
        }
        if (is_ours) {
            struct quipu_error err;
            (void)quipu_error_set(&err, QUIPU_INVALID, "the variable %.*s is no setting",
                                  len > 200 ? 200 : (int)len, *entry);
            return cli_fail(cli, QUIPU_INVALID, &err, "see ENVIRONMENT of `man quipu`");
        }
    }
    return 0;
}

static enum quipu_status say_checked(const struct cli *cli, struct quipu_error *err)
{
    size_t count;
    uint64_t set = 0;
    const struct quipu_config_key *keys = quipu_config_keys(&count);
    for (size_t i = 0; i < count; i++) {
        set += cli_config_origin(cli->config, &keys[i])->kind != CLI_FROM_DEFAULT ? 1 : 0;
    }
    const char *file = cli->config->file;
    if (!cli->is_json) {
        char text[CLI_COUNTED_BYTES];
        cli_say("%s: %s, good", file == NULL ? "no file" : file, cli_counted(set, "setting", text));
        return QUIPU_OK;
    }
    struct cli_json json = {0};
    cli_json_begin(&json);
    if (file == NULL) {
        cli_json_null(&json, "file");
    } else {
        cli_json_text(&json, "file", quipu_slice_text(file));
    }
    cli_json_number(&json, "settings", set);
    enum quipu_status status = cli_json_end(&json, err);
    cli_json_release(&json);
    return status;
}

/* ------------------------------------------------------------------ the verb */

static int run(struct cli *cli, const void *values, int argc, char **argv)
{
    (void)values;
    (void)argc;
    struct quipu_error err;
    enum quipu_status status;
    if (strcmp(argv[0], "show") == 0) {
        status = show(cli, &err);
    } else if (strcmp(argv[0], "check") == 0) {
        int code = check_environment(cli);
        if (code == 0) {
            code = check_files(cli);
        }
        if (code != 0) {
            return code;
        }
        status = say_checked(cli, &err);
    } else {
        return cli_usage(cli, "wants check or show, found \"%s\"", argv[0]);
    }
    return status == QUIPU_OK ? 0 : cli_fail(cli, status, &err, NULL);
}

const struct cli_verb cli_verb_config = {
    .name = "config",
    .arguments = "check|show",
    .summary = "Check the settings, or show them with where they came from",
    .details =
        "Settings come from a TOML file (--config FILE, else QUIPU_CONFIG, else\n"
        "~/.config/quipu/config.toml where it is there), over it from QUIPU_* variables, over "
        "those\n"
        "from options. A key that does not exist, a wrong type or a value out of range is refused "
        "by\n"
        "every verb, with file, line and column. Secrets are not shown.",
    .example = "quipu config show --config quipu.toml",
    .arguments_min = 1,
    .arguments_max = 1,
    .run = run,
};

/*
 * A TOML file into the settings. What is wrong in it is told with file, line and column, and how to
 * write it; of several faults, the first in the file. A file with a password in it that others may
 * read is refused.
 *
 * Specification: docs/SPEC.md §13.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "config.h"
#include "print.h"
#include "quipu/io.h"
#include "toml_shim.h"

#define FILE_BYTES_MAX ((size_t)64 << 10)
/* Keys joined by dots make tables in tables, which the parser gives back one inside the other. */
#define LINE_BYTES_MAX 4096

struct reading {
    struct cli_config *config;
    const char *folder; /* of the file, with a slash behind it; "" for the working folder */
    bool has_secret;
    struct cli_toml_place secret; /* where the first one stands */
    /* The fault that comes first in the file. */
    bool has_fault;
    struct cli_toml_place place;
    struct quipu_error err;
};

/* ------------------------------------------------------------------ faults */

static bool is_before(struct cli_toml_place a, struct cli_toml_place b)
{
    return a.line < b.line || (a.line == b.line && a.column < b.column);
}

static void keep_fault(struct reading *reading, struct cli_toml_place place,
                       const struct quipu_error *err)
{
    if (!reading->has_fault || is_before(place, reading->place)) {
        reading->has_fault = true;
        reading->place = place;
        reading->err = *err;
    }
}

int cli_config_fail_at(const struct cli *cli, const char *path, uint32_t line, uint32_t column,
                       struct quipu_error *err)
{
    char members[64];
    int len = snprintf(members, sizeof members, ",\"line\":%" PRIu32 ",\"column\":%" PRIu32, line,
                       column);
    (void)quipu_error_wrap(err, err->status, "%s:%" PRIu32 ":%" PRIu32, path, line, column);
    struct cli_failure failure = {
        .status = err->status, .err = err, .members = quipu_slice(members, (size_t)len)};
    return cli_fail_with(cli, &failure);
}

static int fail_at(const struct cli *cli, const char *path, struct cli_toml_place place,
                   struct quipu_error *err)
{
    return cli_config_fail_at(cli, path, place.line, place.column, err);
}

static const char *kind_name(enum cli_toml_kind kind)
{
    switch (kind) {
    case CLI_TOML_TABLE:
        return "a section";
    case CLI_TOML_TEXT:
        return "text";
    case CLI_TOML_INTEGER:
        return "a whole number";
    case CLI_TOML_BOOL:
        return "true or false";
    case CLI_TOML_FLOAT:
        return "a number with a point";
    case CLI_TOML_DATE:
        return "a date or time";
    case CLI_TOML_LIST:
        return "a list";
    }
    return "";
}

static const char *wanted_name(enum quipu_config_kind kind)
{
    switch (kind) {
    case QUIPU_CONFIG_TEXT:
    case QUIPU_CONFIG_PATH:
    case QUIPU_CONFIG_WORD:
        return "text";
    case QUIPU_CONFIG_BOOL:
        return "true or false";
    case QUIPU_CONFIG_NUMBER:
        return "a whole number";
    case QUIPU_CONFIG_BYTES:
        return "a size: text, or bytes as a whole number";
    case QUIPU_CONFIG_DURATION:
        return "a duration: text, or seconds as a whole number";
    }
    return "";
}

/* ------------------------------------------------------------------ values */

/* A path in a file is relative to that file, and "~/" is the home. NULL: no memory. */
static const char *keep_path(struct reading *reading, const char *text)
{
    const char *home = getenv("HOME");
    struct quipu_buf path = QUIPU_BUF_INIT;
    if (strncmp(text, "~/", 2) == 0 && home != NULL) {
        quipu_buf_printf(&path, "%s%s", home, text + 1);
    } else {
        quipu_buf_printf(&path, "%s%s", text[0] == '/' ? "" : reading->folder, text);
    }
    const char *kept = NULL;
    if (path.status == QUIPU_OK) {
        kept = cli_config_keep(reading->config, (const char *)path.data, path.len);
    }
    quipu_buf_release(&path);
    return kept;
}

static enum quipu_status set_text(struct reading *reading, const struct quipu_config_key *key,
                                  const struct cli_toml_item *item, struct quipu_error *err)
{
    struct quipu_config *values = &reading->config->values;
    if (strlen(item->text) != item->text_len) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "%s holds a control character or is not UTF-8; write %s = %s",
                               key->path, key->name, key->example);
    }
    const char *kept = cli_config_keep(reading->config, item->text, item->text_len);
    enum quipu_status status =
        kept == NULL ? QUIPU_NO_MEMORY : quipu_config_set_text(values, key, kept, err);
    if (status == QUIPU_OK && key->kind == QUIPU_CONFIG_PATH) {
        kept = keep_path(reading, item->text);
        status = kept == NULL ? QUIPU_NO_MEMORY : quipu_config_set_text(values, key, kept, err);
    }
    return kept != NULL ? status : quipu_error_set(err, status, "out of memory");
}

static enum quipu_status set_value(struct reading *reading, const struct quipu_config_key *key,
                                   const struct cli_toml_item *item, struct quipu_error *err)
{
    struct quipu_config *values = &reading->config->values;
    bool is_measure = key->kind == QUIPU_CONFIG_BYTES || key->kind == QUIPU_CONFIG_DURATION;
    bool is_text = key->kind == QUIPU_CONFIG_TEXT || key->kind == QUIPU_CONFIG_PATH ||
                   key->kind == QUIPU_CONFIG_WORD;
    if (item->kind == CLI_TOML_TEXT && (is_text || is_measure)) {
        return set_text(reading, key, item, err);
    }
    if (item->kind == CLI_TOML_INTEGER && (key->kind == QUIPU_CONFIG_NUMBER || is_measure)) {
        return quipu_config_set_number(values, key, item->integer, err);
    }
    if (item->kind == CLI_TOML_BOOL && key->kind == QUIPU_CONFIG_BOOL) {
        return quipu_config_set_bool(values, key, item->truth, err);
    }
    return quipu_error_set(err, QUIPU_INVALID, "%s wants %s, found %s; write %s = %s", key->path,
                           wanted_name(key->kind), kind_name(item->kind), key->name, key->example);
}

static bool is_secret(const struct quipu_config_key *key, const struct cli_toml_item *item)
{
    bool is_url = strcmp(key->path, "nats.url") == 0;
    return key->is_secret || (is_url && item->text != NULL && strchr(item->text, '@') != NULL);
}

static void unknown(struct reading *reading, const struct cli_toml_item *item)
{
    struct quipu_error err;
    const struct quipu_config_key *near = quipu_config_key_nearest(quipu_slice_text(item->path));
    if (item->kind == CLI_TOML_TABLE) {
        (void)quipu_error_set(&err, QUIPU_INVALID,
                              "there is no section %.200s; there are nats, nats.tls, "
                              "nats.jetstream, storage, mode and offline",
                              item->path);
    } else if (near != NULL) {
        (void)quipu_error_set(&err, QUIPU_INVALID,
                              "there is no key %.200s; did you mean %s of [%s]?", item->path,
                              near->name, near->section);
    } else {
        (void)quipu_error_set(&err, QUIPU_INVALID,
                              "there is no key %.200s; `quipu config show` lists all keys",
                              item->path);
    }
    keep_fault(reading, item->key, &err);
}

static bool visit(void *ctx, const struct cli_toml_item *item)
{
    struct reading *reading = ctx;
    struct quipu_slice path = quipu_slice_text(item->path);
    struct quipu_error err;
    if (item->kind == CLI_TOML_TABLE && quipu_config_is_section(path)) {
        return true;
    }
    const struct quipu_config_key *key = quipu_config_key_find(path);
    bool is_mode = strcmp(item->path, "mode") == 0;
    if (is_mode && item->kind == CLI_TOML_TEXT) {
        key = quipu_config_key_find(quipu_slice_text("mode.mode")); /* mode = "…" by itself */
    }
    if (key == NULL && quipu_config_is_section(path)) {
        (void)quipu_error_set(&err, QUIPU_INVALID, "%s is a section, found %s; write [%s]",
                              item->path, kind_name(item->kind), item->path);
        keep_fault(reading, item->value, &err);
        return false;
    }
    if (key == NULL) {
        unknown(reading, item);
        return false;
    }
    if (is_secret(key, item) && (!reading->has_secret || is_before(item->value, reading->secret))) {
        reading->has_secret = true;
        reading->secret = item->value;
    }
    if (set_value(reading, key, item, &err) != QUIPU_OK) {
        keep_fault(reading, item->value, &err);
        return false;
    }
    *cli_config_origin(reading->config, key) = (struct cli_origin){
        .kind = CLI_FROM_FILE, .line = item->value.line, .column = item->value.column};
    return false;
}

/* ------------------------------------------------------------------ the file */

/* Others must not read a password. The owner may be root too, who reads everything anyway. */
static enum quipu_status check_secret(const struct stat *info, struct quipu_error *err)
{
    if (S_ISREG(info->st_mode) && (info->st_mode & 077) != 0) {
        return quipu_error_set(err, QUIPU_PERMISSION,
                               "a secret stands here and others may read the file (mode %04o); "
                               "chmod 600 it",
                               (unsigned)(info->st_mode & 07777));
    }
    if (S_ISREG(info->st_mode) && info->st_uid != geteuid() && info->st_uid != 0) {
        return quipu_error_set(err, QUIPU_PERMISSION,
                               "a secret stands here and the file is another user's; chown it");
    }
    return QUIPU_OK;
}

/* All of the file. Returns 0 or the exit code. */
static int read_all(const struct cli *cli, const char *path, struct quipu_buf *text,
                    struct stat *info)
{
    int fd = -1;
    struct quipu_error err;
    int code = cli_open_input(cli, path, "name a file that may be read with --config FILE", &fd);
    if (code != 0) {
        return code;
    }
    enum quipu_status status = fstat(fd, info) == 0
                                   ? cli_read_all(fd, path, FILE_BYTES_MAX, text, &err)
                                   : quipu_error_errno(&err, errno, "look at \"%s\"", path);
    if (fd != STDIN_FILENO) {
        (void)close(fd); /* only read from */
    }
    const char *cure = status == QUIPU_TOO_LARGE ? "name a file of settings" : NULL;
    return status == QUIPU_OK ? 0 : cli_fail(cli, status, &err, cure);
}

/* The first line that is too long; 0 where there is none. */
static uint32_t long_line(struct quipu_slice text)
{
    uint32_t number = 1;
    while (text.len > 0) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        size_t len = end == NULL ? text.len : (size_t)(end - text.data);
        if (len > LINE_BYTES_MAX) {
            return number;
        }
        size_t taken = end == NULL ? len : len + 1;
        text = quipu_slice(text.data + taken, text.len - taken);
        number++;
    }
    return 0;
}

/* The parser's words as one of our lines: no capital in front, and no semicolon but the cure's. */
static void say_syntax(const struct cli_toml_fault *fault, struct quipu_error *err)
{
    char line[sizeof fault->line];
    memcpy(line, fault->line, sizeof line);
    line[0] = (char)tolower((unsigned char)line[0]);
    for (char *p = line; *p != 0; p++) {
        *p = *p == ';' ? ',' : *p;
    }
    (void)quipu_error_set(err, QUIPU_INVALID,
                          "this is not TOML: %s; write [section], and below it key = value", line);
}

static int parse(struct cli *cli, const char *path, struct quipu_slice text,
                 const struct stat *info)
{
    const char *slash = strrchr(path, '/');
    const char *folder =
        cli_config_keep(cli->config, path, slash == NULL ? 0 : (size_t)(slash + 1 - path));
    struct reading reading = {.config = cli->config, .folder = folder};
    struct cli_toml_fault fault = {.line = ""};
    struct quipu_error err;
    uint32_t line = long_line(text);
    if (folder == NULL) {
        return cli_fail(cli, QUIPU_NO_MEMORY, NULL, NULL);
    }
    if (line != 0) {
        (void)quipu_error_set(&err, QUIPU_TOO_LARGE,
                              "a line has more than %d bytes; name a file of settings",
                              LINE_BYTES_MAX);
        return fail_at(cli, path, (struct cli_toml_place){line, LINE_BYTES_MAX + 1}, &err);
    }
    switch (cli_toml_read((const char *)text.data, text.len, visit, &reading, &fault)) {
    case CLI_TOML_OK:
        break;
    case CLI_TOML_SYNTAX:
        say_syntax(&fault, &err);
        return fail_at(cli, path, fault.place, &err);
    case CLI_TOML_MEMORY:
        return cli_fail(cli, QUIPU_NO_MEMORY, NULL, NULL);
    case CLI_TOML_NOT_BUILT:
        (void)quipu_error_set(&err, QUIPU_MISUSE, "this quipu is built without TOML: \"%s\"", path);
        return cli_fail_with(cli, &(struct cli_failure){.status = QUIPU_MISUSE,
                                                        .err = &err,
                                                        .cure = "set QUIPU_* variables, with "
                                                                "QUIPU_CONFIG=/dev/null",
                                                        .code = CLI_EXIT_USAGE});
    }
    if (!reading.has_fault && reading.has_secret && check_secret(info, &err) != QUIPU_OK) {
        return fail_at(cli, path, reading.secret, &err);
    }
    return reading.has_fault ? fail_at(cli, path, reading.place, &reading.err) : 0;
}

int cli_config_read_file(struct cli *cli, const char *path)
{
    struct quipu_buf text = QUIPU_BUF_INIT;
    struct stat info = {0};
    int code = read_all(cli, path, &text, &info);
    if (code == 0 && text.len > 0) {
        code = parse(cli, path, quipu_buf_slice(&text), &info);
    }
    if (code == 0) {
        cli->config->file = path;
    }
    if (text.data != NULL) {
        explicit_bzero(text.data, text.cap); /* it may hold a password */
    }
    quipu_buf_release(&text);
    return code;
}

/*
 * A connection from a verb's options.
 *
 * Secrets come by descriptor or environment, never by argument, and are wiped after use. The
 * library keeps its own copies for reconnecting and wipes them at close.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "network.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "config_network.h"

#define PASSWORD_BYTES_MAX 1024

int cli_fail_network(const struct cli *cli, enum quipu_status status, const struct quipu_error *err)
{
    struct cli_failure failure = {.status = status, .err = err};
    struct quipu_error plain = cli_without_cure(err);
    if (status == QUIPU_OFFLINE) {
        failure.err = &plain; /* the library cannot know the option that names another server */
    }
    if (status == QUIPU_PERMISSION) {
        failure.code = CLI_EXIT_REFUSED;
        failure.cure =
            cli_cure_unless_said(err, "have the server's operator grant it to this user");
    }
    return cli_fail_with(cli, &failure);
}

/* The first line of a descriptor, without its end. Returns 0 or the exit code. */
static int read_password(const struct cli *cli, uint64_t fd, char into[PASSWORD_BYTES_MAX])
{
    struct quipu_error err;
    size_t len = 0;
    if (fd > INT32_MAX) {
        return cli_usage(cli, "--password-fd wants an open descriptor, found %" PRIu64, fd);
    }
    for (;;) {
        ssize_t got = read((int)fd, into + len, 1); /* no byte behind the line may be taken */
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            enum quipu_status status =
                quipu_error_errno(&err, errno, "read the password from descriptor %" PRIu64, fd);
            return cli_fail(cli, status, &err,
                            "open it in the shell: --password-fd 3 3< <(pass show nats)");
        }
        if (got == 0 || into[len] == '\n') {
            into[len] = 0;
            return 0;
        }
        if (++len == PASSWORD_BYTES_MAX) {
            return cli_usage(cli, "the password has %d bytes or more", PASSWORD_BYTES_MAX);
        }
    }
}

/* A slash at the end of a url is what people copy along; of several urls, each. */
static void trim_slashes(char *url)
{
    size_t kept = 0;
    for (size_t at = 0; url[at] != 0; at++) {
        bool ends = url[at + 1] == 0 || url[at + 1] == ',';
        if (url[at] == '/' && ends && kept > 0 && url[kept - 1] != '/') {
            continue;
        }
        url[kept++] = url[at];
    }
    url[kept] = 0;
}

/* Options that cannot be meant together, before anything is asked of the store or the server. */
int cli_network_check(const struct cli *cli, const struct network_values *values)
{
    const char *const ways[] = {values->creds, values->nkey, values->user};
    static const char *const names[] = {"--creds", "--nkey", "--user"};
    const char *first = NULL;
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        if (ways[i] != NULL && first != NULL) {
            return cli_usage(cli, "%s and %s say two identities, and one is wanted", names[i],
                             first);
        }
        first = ways[i] != NULL ? names[i] : first;
    }
    if ((values->tls_cert == NULL) != (values->tls_key == NULL)) {
        return cli_usage(cli, "--tls-cert and --tls-key belong together, and one is given");
    }
    if (values->password_fd.is_set && values->user == NULL &&
        cli->config->values.nats.user == NULL) {
        return cli_usage(cli, "--password-fd wants --user too");
    }
    return 0;
}

/* What the settings say, and over it what this command line says. Who we are is one thing: an
 * option for it takes the place of all that the settings say about it. */
void cli_network_options(const struct cli *cli, const struct network_values *values,
                         struct quipu_nats_options *options)
{
    quipu_config_nats_options(&cli->config->values, options);
    if (values->creds != NULL || values->nkey != NULL || values->user != NULL) {
        options->credentials_file = values->creds;
        options->nkey_file = values->nkey;
        options->token = NULL;
        options->user = values->user;
        options->password = values->user != NULL ? getenv("QUIPU_NATS_PASSWORD") : NULL;
    }
    options->tls_ca_file = values->tls_ca != NULL ? values->tls_ca : options->tls_ca_file;
    if (values->tls_cert != NULL) {
        options->tls_cert_file = values->tls_cert;
        options->tls_key_file = values->tls_key;
    }
    options->tls_host = values->tls_name != NULL ? values->tls_name : options->tls_host;
    options->stream = values->stream != NULL ? values->stream : options->stream;
    options->bucket = values->bucket != NULL ? values->bucket : options->bucket;
    options->subject_prefix = values->prefix != NULL ? values->prefix : options->subject_prefix;
    options->engine = cli->engine;
}

/* On whichever thread notices. */
static void log_state(void *ctx, const struct quipu_nats_report *now)
{
    const struct quipu_log *log = ctx;
    struct quipu_log_field fields[] = {quipu_log_text("state", quipu_nats_state_name(now->state)),
                                       quipu_log_number("connects", now->connects),
                                       quipu_log_bool("refresh_due", now->is_refresh_due),
                                       quipu_log_text("line", now->message)};
    bool is_well = now->status == QUIPU_OK;
    quipu_log_write(log, is_well ? QUIPU_LOG_INFO : QUIPU_LOG_WARN, "nats.state", fields,
                    now->message[0] == 0 ? 3 : 4);
}

int cli_connect(const struct cli *cli, const struct network_values *values, struct quipu_log *log,
                struct quipu_nats **nats)
{
    char password[PASSWORD_BYTES_MAX];
    int code = cli_network_check(cli, values);
    if (code != 0) {
        return code;
    }
    struct quipu_nats_options options;
    char *url = strdup(cli->server);
    if (url == NULL) {
        return cli_fail(cli, QUIPU_NO_MEMORY, NULL, NULL);
    }
    trim_slashes(url);
    cli_network_options(cli, values, &options);
    options.url = url;
    if (log != NULL && log->fd >= 0) {
        options.on_state = log_state;
        options.on_state_ctx = log;
    }
    if (values->password_fd.is_set) {
        code = read_password(cli, values->password_fd.value, password);
        options.password = password;
    }
    if (code == 0) {
        struct quipu_error err;
        enum quipu_status status = cli_network_connect(cli, &options, nats, &err);
        code = status == QUIPU_OK ? 0 : cli_fail_network(cli, status, &err);
    }
    explicit_bzero(password, sizeof password);
    explicit_bzero(url, strlen(url)); /* it may hold a password */
    free(url);
    return code;
}

int cli_open_and_connect(struct cli *cli, const struct network_values *values,
                         struct quipu_log *log, struct quipu_nats **nats)
{
    int code = cli_network_check(cli, values);
    if (code == 0) {
        code = cli_open(cli);
    }
    return code != 0 ? code : cli_connect(cli, values, log, nats);
}

int cli_log_open(const struct cli *cli, const char *format, struct quipu_log *out)
{
    *out = (struct quipu_log){.fd = -1, .clock = quipu_clock_system()};
    if (format == NULL) {
        return 0;
    }
    out->fd = STDERR_FILENO;
    out->level_min = cli->is_quiet ? QUIPU_LOG_WARN : QUIPU_LOG_INFO;
    return quipu_log_format_parse(format, &out->format, NULL) == QUIPU_OK
               ? 0
               : cli_usage(cli, "--log-format wants text or json, found \"%s\"", format);
}

void cli_copy_reason(char into[QUIPU_ERROR_MESSAGE_BYTES], struct quipu_slice line)
{
    (void)snprintf(into, QUIPU_ERROR_MESSAGE_BYTES, "%.*s", QUIPU_SLICE_FMT(line));
    char *cure = strstr(into, "; ");
    if (cure != NULL) {
        *cure = 0;
    }
}

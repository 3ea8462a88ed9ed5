/*
 * What the verbs that reach a server share: their options, and a connection made of them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CLI_NETWORK_H
#define QUIPU_CLI_NETWORK_H

#include "cli.h"
#include "print.h"
#include "quipu/jetstream.h"
#include "quipu/log_line.h"

/* Where the server is and what proves who we are; the first member of every verb's values. */
struct network_values {
    const char *stream;
    const char *bucket;
    const char *prefix;
    const char *creds;
    const char *nkey;
    const char *user;
    struct cli_number password_fd;
    const char *tls_ca;
    const char *tls_cert;
    const char *tls_key;
    const char *tls_name;
};

#define NETWORK_OPTIONS(values, member)                                                            \
    {"stream", CLI_TEXT, offsetof(struct values, member.stream), "NAME",                           \
     "the stream (else nats.stream_name, else " QUIPU_STREAM_DEFAULT ")"},                         \
        {"bucket", CLI_TEXT, offsetof(struct values, member.bucket), "NAME",                       \
         "the bucket (else nats.object_store_bucket, else " QUIPU_BUCKET_DEFAULT ")"},             \
        {"prefix", CLI_TEXT, offsetof(struct values, member.prefix), "SUBJECT",                    \
         "what subjects begin with (else nats.subject_prefix, else " QUIPU_SUBJECT_PREFIX_DEFAULT  \
         ")"},                                                                                     \
        {"creds", CLI_TEXT, offsetof(struct values, member.creds), "FILE",                         \
         "credentials file (JWT and seed)"},                                                       \
        {"nkey", CLI_TEXT, offsetof(struct values, member.nkey), "FILE",                           \
         "file of a user's NKey seed"},                                                            \
        {"user", CLI_TEXT, offsetof(struct values, member.user), "NAME", "user name"},             \
        {"password-fd", CLI_NUMBER, offsetof(struct values, member.password_fd), "N",              \
         "read the password from this descriptor (else QUIPU_NATS_PASSWORD)"},                     \
        {"tls-ca", CLI_TEXT, offsetof(struct values, member.tls_ca), "FILE",                       \
         "CA certificates (PEM); turns TLS on"},                                                   \
        {"tls-cert", CLI_TEXT, offsetof(struct values, member.tls_cert), "FILE",                   \
         "our certificate (PEM), with --tls-key; turns TLS on"},                                   \
        {"tls-key", CLI_TEXT, offsetof(struct values, member.tls_key), "FILE", "its key (PEM)"},   \
    {                                                                                              \
        "tls-name", CLI_TEXT, offsetof(struct values, member.tls_name), "NAME",                    \
            "the name in the server's certificate (else the url's host); turns TLS on"             \
    }

/** Where lines about the run go: nowhere unless --log-format was given. Returns 0 or the exit code.
 * Results stay on stdout, and the failure that ends a verb is said as ever. */
int cli_log_open(const struct cli *cli, const char *format, struct quipu_log *out);

/** Connect as the options say. `log` (NULL: none) is told of the connection's states; it must stay
 * where it is until the connection is closed. Returns 0, or the exit code after it has said what is
 * wrong. */
int cli_connect(const struct cli *cli, const struct network_values *values, struct quipu_log *log,
                struct quipu_nats **nats);

/** Do these options go together? Returns 0, or the exit code after it has said what is wrong. */
int cli_network_check(const struct cli *cli, const struct network_values *values);

/** What the settings say, and over it what this command line says. Strings are borrowed. */
void cli_network_options(const struct cli *cli, const struct network_values *values,
                         struct quipu_nats_options *options);

/** What --dedup says (NULL: nothing, then the options stay). Returns 0, or the exit code after it
 * has said what is wrong. */
int cli_dedup_option(const struct cli *cli, const char *given, struct quipu_flush_options *options);

/** Open the store, then connect: it costs nothing to find out that the store is not there. */
int cli_open_and_connect(struct cli *cli, const struct network_values *values,
                         struct quipu_log *log, struct quipu_nats **nats);

/** Say a failure that the server is behind: its "permission" is not this machine's. Returns the
 * exit code. */
int cli_fail_network(const struct cli *cli, enum quipu_status status,
                     const struct quipu_error *err);

/** A reason without its cure: the line that it goes into has one of its own. */
void cli_copy_reason(char into[QUIPU_ERROR_MESSAGE_BYTES], struct quipu_slice line);

#endif

/*
 * Checks the caller's options and makes libnats' options from them. Opens no connection. A secret
 * (password, token) never gets into an error line.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "nats_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nats_identity.h"
#include "nats_status.h"
#include "quipu/alloc.h"

#define DEFAULT_TIMEOUT_US ((int64_t)5 * 1000 * 1000)
#define IO_BUFFER_BYTES    (128 << 10)
#define PORT_MAX           65535u
/* Of TLS: the hello, and what ends the handshake; a chain of certificates in between. */
#define HANDSHAKE_PIECES   2
#define CERTIFICATE_PIECES 6
#define PORT_DEFAULT       4222

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

/* Names of streams and buckets: what ADR-6 calls a restricted term. */
static enum quipu_status copy_name(const char *what, const char *given, const char *otherwise,
                                   char out[NATS_NAME_BYTES_MAX + 1], struct quipu_error *err)
{
    const char *name = given != NULL ? given : otherwise;
    size_t len = strlen(name);
    if (len == 0 || len > NATS_NAME_BYTES_MAX) {
        return quipu_error_set(err, QUIPU_INVALID, "%s: %zu characters, 1 to %d are allowed", what,
                               len, NATS_NAME_BYTES_MAX);
    }
    for (size_t i = 0; i < len; i++) {
        if (!is_name_char(name[i])) {
            return quipu_error_set(err, QUIPU_INVALID,
                                   "%s \"%s\": only letters, digits, '-' and '_' are allowed", what,
                                   name);
        }
    }
    memcpy(out, name, len + 1);
    return QUIPU_OK;
}

bool quipu_subject_is_literal(const char *subject)
{
    char before = '.';
    for (const char *p = subject; *p != 0; p++) {
        if (*p <= ' ' || *p > '~' || *p == '*' || *p == '>' || (*p == '.' && before == '.')) {
            return false;
        }
        before = *p;
    }
    return before != '.';
}

_Static_assert(QUIPU_SUBJECT_LITERAL_MAX == NATS_NAME_BYTES_MAX, "one limit for prefixes");

static enum quipu_status set_subjects(struct quipu_nats *nats,
                                      const struct quipu_nats_options *options,
                                      struct quipu_error *err)
{
    const char *prefix =
        options->subject_prefix != NULL ? options->subject_prefix : QUIPU_SUBJECT_PREFIX_DEFAULT;
    size_t len = strlen(prefix);
    if (len > NATS_NAME_BYTES_MAX || !quipu_subject_is_literal(prefix)) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "subject prefix \"%.100s\"; give tokens joined by dots, such as "
                               "\"%s\", at most %d characters",
                               prefix, QUIPU_SUBJECT_PREFIX_DEFAULT, NATS_NAME_BYTES_MAX);
    }
    const char *text = options->subject_template != NULL ? options->subject_template
                                                         : QUIPU_SUBJECT_TEMPLATE_DEFAULT;
    return quipu_subject_template_make(text, prefix, nats->subject_template, nats->subject_prefix,
                                       err);
}

/* Start of the host in one address: behind the scheme and behind what may be a secret. */
static const char *host_start(const char *from, const char *end)
{
    const char *at = from;
    for (const char *p = from; p + 3 <= end; p++) {
        if (memcmp(p, "://", 3) == 0) {
            at = p + 3;
            break;
        }
    }
    for (const char *p = at; p < end; p++) {
        if (*p == '@') {
            at = p + 1;
        }
    }
    return at;
}

static bool port_is_good(const char *from, const char *end)
{
    unsigned port = 0;
    if (from == end || end - from > 5) {
        return false;
    }
    for (const char *p = from; p < end; p++) {
        if (*p < '0' || *p > '9') {
            return false;
        }
        port = port * 10 + (unsigned)(*p - '0');
    }
    return port >= 1 && port <= PORT_MAX;
}

static bool address_is_good(const char *from, const char *end)
{
    const char *scheme_end = NULL;
    for (const char *p = from; p + 3 <= end && scheme_end == NULL; p++) {
        if (memcmp(p, "://", 3) == 0) {
            scheme_end = p;
        }
    }
    if (scheme_end != NULL) {
        size_t len = (size_t)(scheme_end - from);
        if (!(len == 4 && memcmp(from, "nats", 4) == 0) &&
            !(len == 3 && memcmp(from, "tls", 3) == 0)) {
            return false;
        }
    }

    const char *host = host_start(from, end);
    const char *host_end = host;
    if (host < end && *host == '[') { /* IPv6 */
        while (host_end < end && *host_end != ']') {
            host_end++;
        }
        if (host_end == end) {
            return false;
        }
        host_end++;
    } else {
        while (host_end < end && *host_end != ':') {
            if (*host_end <= ' ' || *host_end == '/' || *host_end == '?') {
                return false;
            }
            host_end++;
        }
    }
    if (host_end == host) {
        return false;
    }
    return host_end == end || (*host_end == ':' && port_is_good(host_end + 1, end));
}

/* One address of a list with commas: spaces around it do not count. */
static const char *next_address(const char *from, const char **end)
{
    while (*from == ' ') {
        from++;
    }
    const char *stop = strchr(from, ',');
    *end = stop != NULL ? stop : from + strlen(from);
    while (*end > from && (*end)[-1] == ' ') {
        (*end)--;
    }
    return from;
}

enum quipu_status quipu_nats_url_check(const char *url, struct quipu_error *err)
{
    const char *p = url;
    for (;;) {
        const char *end = NULL;
        p = next_address(p, &end);
        if (!address_is_good(p, end)) {
            char shown[NATS_SERVER_TEXT_MAX];
            quipu_nats_url_redact(url, shown, sizeof shown);
            return quipu_error_set(err, QUIPU_INVALID,
                                   "server url \"%s\"; give nats://host:4222 or tls://host:4222",
                                   shown);
        }
        p = strchr(end, ',');
        if (p == NULL) {
            return QUIPU_OK;
        }
        p++;
    }
}

/* Is "tls" the last scheme that is named in front of `end`? */
static bool scheme_is_tls(const char *from, const char *end)
{
    bool is_tls = false;
    for (const char *p = from; p + 3 <= end; p++) {
        if (memcmp(p, "://", 3) == 0) {
            is_tls = p - from >= 3 && memcmp(p - 3, "tls", 3) == 0;
        }
    }
    return is_tls;
}

void quipu_nats_url_redact(const char *url, char *out, size_t cap)
{
    size_t used = 0;
    const char *p = url;
    /* A password may hold a comma, or anything else that looks like the end of it: nothing that is
     * in front of the last '@' is shown, even if that costs the names of other servers. */
    const char *secret_end = strrchr(url, '@');
    if (secret_end != NULL) {
        const char *end = NULL;
        p = next_address(secret_end + 1, &end);
        int more = snprintf(out, cap, "%s://%.*s", scheme_is_tls(url, secret_end) ? "tls" : "nats",
                            (int)(end - p), p);
        used = more < 0 || (size_t)more >= cap ? cap - 1 : (size_t)more;
        p = strchr(end, ',');
        p = p == NULL ? NULL : p + 1;
    }
    while (p != NULL && used + 1 < cap) {
        const char *end = NULL;
        p = next_address(p, &end);
        const char *host = host_start(p, end);
        bool is_secure = end - p >= 6 && memcmp(p, "tls://", 6) == 0;
        int more = snprintf(out + used, cap - used, "%s%s://%.*s", used == 0 ? "" : ", ",
                            is_secure ? "tls" : "nats", (int)(end - host), host);
        used = more < 0 || (size_t)more >= cap - used ? cap - 1 : used + (size_t)more;
        p = strchr(end, ',');
        p = p == NULL ? NULL : p + 1;
    }
    if (cap > 0 && used == 0) {
        out[0] = 0;
    }
}

static bool url_names_user(const char *url)
{
    return strchr(url, '@') != NULL;
}

static bool url_wants_tls(const char *url)
{
    for (const char *p = url; p != NULL;) {
        const char *end = NULL;
        p = next_address(p, &end);
        if (end - p >= 6 && memcmp(p, "tls://", 6) == 0) {
            return true;
        }
        p = strchr(end, ',');
        p = p == NULL ? NULL : p + 1;
    }
    return false;
}

static enum quipu_status set_client_certificate(struct quipu_nats *nats,
                                                const struct quipu_nats_options *options,
                                                struct quipu_error *err)
{
    const char *cert = options->tls_cert_file;
    const char *key = options->tls_key_file;
    if (cert == NULL && key == NULL) {
        return QUIPU_OK;
    }
    if (cert == NULL || key == NULL) {
        return quipu_error_set(
            err, QUIPU_INVALID, "TLS client %s is given without its %s; give both files",
            cert != NULL ? "certificate" : "key", cert != NULL ? "key" : "certificate");
    }
    enum quipu_status status = quipu_secret_check("TLS client key file", key, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (natsOptions_LoadCertificatesChain(nats->options, cert, key) != NATS_OK) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "TLS client certificate %s and key %s cannot be read as PEM, or do "
                               "not belong together",
                               cert, key);
    }
    return QUIPU_OK;
}

/* Everything about TLS, and nothing else; all of it before the first connect, because libnats 3.4.1
 * begins a new, empty TLS context where options that are in use are changed. */
static enum quipu_status set_tls(struct quipu_nats *nats, const struct quipu_nats_options *options,
                                 const char *url, struct quipu_error *err)
{
    const char *ca = options->tls_ca_file;
    bool is_wanted = ca != NULL || options->tls_cert_file != NULL ||
                     options->tls_key_file != NULL || options->tls_host != NULL ||
                     url_wants_tls(url);
    if (!is_wanted) {
        return QUIPU_OK;
    }
    nats->handshake_pieces =
        HANDSHAKE_PIECES + (options->tls_cert_file == NULL ? 0 : CERTIFICATE_PIECES);
    /* libnats takes tls:// for nats://, and would send secrets in clear to a server without it. */
    natsStatus s = natsOptions_SetSecure(nats->options, true);
    if (s == NATS_OK && ca != NULL &&
        (access(ca, R_OK) != 0 ||
         natsOptions_LoadCATrustedCertificates(nats->options, ca) != NATS_OK)) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "TLS CA file %s cannot be read or holds no certificate in PEM", ca);
    }
    /* The library checks the name of the url's host where no other is given. */
    if (s == NATS_OK && options->tls_host != NULL) {
        s = natsOptions_SetExpectedHostname(nats->options, options->tls_host);
    }
    if (s != NATS_OK) {
        return quipu_error_nats(err, s, 0, "turning TLS on");
    }
    return set_client_certificate(nats, options, err);
}

/* Of one address that address_is_good has found good. */
static uint16_t port_of(const char *address)
{
    const char *host = host_start(address, address + strlen(address));
    const char *behind = strchr(host, ']'); /* IPv6 */
    const char *colon = strchr(behind != NULL ? behind : host, ':');
    return colon == NULL ? PORT_DEFAULT : (uint16_t)strtoul(colon + 1, NULL, 10);
}

/* libnats 3.4.1 takes a list with commas only as servers one by one. */
static enum quipu_status set_servers(struct quipu_nats *nats, const char *url,
                                     struct quipu_error *err)
{
    const char *servers[DIAL_SERVERS_MAX];
    int count = 0;
    size_t bytes = strlen(url) + 1;
    char *copy = quipu_alloc(bytes, 1);
    if (copy == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory copying the server url");
    }
    memcpy(copy, url, bytes);
    natsStatus s = NATS_OK;
    for (char *p = copy; p != NULL && count <= DIAL_SERVERS_MAX;) {
        const char *end = NULL;
        char *from = copy + (next_address(p, &end) - copy);
        char *comma = strchr(from, ',');
        copy[end - copy] = 0;
        if (count < DIAL_SERVERS_MAX) {
            servers[count] = from;
            nats->ports[count] = port_of(from);
        }
        count++;
        p = comma == NULL ? NULL : comma + 1;
    }
    if (count <= DIAL_SERVERS_MAX) {
        nats->port_count = count;
        s = natsOptions_SetServers(nats->options, servers, count);
    }
    explicit_bzero(copy, bytes); /* it may hold a password */
    quipu_free(copy);
    if (count > DIAL_SERVERS_MAX) {
        return quipu_error_set(err, QUIPU_INVALID, "server url lists more than %d servers",
                               DIAL_SERVERS_MAX);
    }
    return s == NATS_OK ? QUIPU_OK : quipu_error_nats(err, s, 0, "setting the servers");
}

static enum quipu_status set_transport(struct quipu_nats *nats, const char *url,
                                       struct quipu_error *err)
{
    enum quipu_status status = set_servers(nats, url, err);
    if (status != QUIPU_OK) {
        return status;
    }
    natsStatus s = natsOptions_SetTimeout(nats->options, quipu_nats_ms(nats->connect_timeout_us));
    if (s == NATS_OK) {
        s = natsOptions_SetAllowReconnect(nats->options, false);
    }
    if (s == NATS_OK) {
        s = natsOptions_SetName(nats->options, "quipu");
    }
    if (s == NATS_OK) {
        s = natsOptions_SetIOBufSize(nats->options, IO_BUFFER_BYTES);
    }
    if (s == NATS_OK) {
        /* The library's own flushing thread sleeps a millisecond first, which an aggregate's run of
         * events, each sent when the one before it is answered, would wait for every time. */
        s = natsOptions_SetSendAsap(nats->options, true);
    }
    if (s == NATS_OK) {
        /* A server that stands still must not hold a publish for ever. */
        s = natsOptions_SetWriteDeadline(nats->options, quipu_nats_ms(nats->request_timeout_us));
    }
    if (s == NATS_OK) {
        s = natsOptions_SetFailRequestsOnDisconnect(nats->options, true);
    }
    return s == NATS_OK ? QUIPU_OK
                        : quipu_error_nats(err, s, 0, "setting the connection's options");
}

static int64_t timeout_or_default(int64_t given)
{
    return given > 0 ? given : DEFAULT_TIMEOUT_US;
}

enum quipu_status quipu_nats_configure(struct quipu_nats *nats,
                                       const struct quipu_nats_options *options,
                                       struct quipu_error *err)
{
    const char *url = options->url != NULL ? options->url : "nats://127.0.0.1:4222";
    enum quipu_status status = quipu_nats_url_check(url, err);
    if (status == QUIPU_OK) {
        status = copy_name("stream", options->stream, QUIPU_STREAM_DEFAULT, nats->stream, err);
    }
    if (status == QUIPU_OK) {
        status = copy_name("bucket", options->bucket, QUIPU_BUCKET_DEFAULT, nats->bucket, err);
    }
    if (status == QUIPU_OK) {
        status = set_subjects(nats, options, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    (void)snprintf(nats->bucket_stream, sizeof nats->bucket_stream, NATS_BUCKET_STREAM "%s",
                   nats->bucket);
    quipu_nats_url_redact(url, nats->server, sizeof nats->server);
    nats->connect_timeout_us = timeout_or_default(options->connect_timeout_us);
    nats->request_timeout_us = timeout_or_default(options->request_timeout_us);

    natsStatus s = natsOptions_Create(&nats->options);
    if (s != NATS_OK) {
        return quipu_error_nats(err, s, 0, "making the connection's options");
    }
    status = set_transport(nats, url, err);
    if (status == QUIPU_OK) {
        status = quipu_nats_identity_configure(nats, options, url_names_user(url), err);
    }
    if (status == QUIPU_OK) {
        status = set_tls(nats, options, url, err);
    }
    return status;
}

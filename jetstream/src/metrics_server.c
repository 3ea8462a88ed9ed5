/*
 * The metrics' HTTP server: its address, its thread, its end. Listens on loopback only. What comes
 * over the connections is for metrics_clients.c.
 *
 * Specification: docs/SPEC.md §10.9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "metrics_clients.h"
#include "quipu/alloc.h"

#define BACKLOG          16
#define TIMEOUT_US       ((int64_t)2 * 1000 * 1000)
#define PORT_MAX         65535u
#define ADDRESS_TEXT_MAX 64

static void *run(void *ctx)
{
    quipu_metrics_clients_serve(ctx);
    return NULL;
}

/* ------------------------------------------------------------------ the address */

union address {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
};

static enum quipu_status bad_address(const char *text, struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_INVALID,
                           "metrics address \"%.60s\"; give a loopback address and a port, such as "
                           "127.0.0.1:9464 or [::1]:9464: there is no password to it",
                           text);
}

/* Splits at the last colon. */
static bool split(const char *text, char host[ADDRESS_TEXT_MAX], uint16_t *port)
{
    const char *colon = strrchr(text, ':');
    unsigned number = 0;
    if (colon == NULL || (size_t)(colon - text) >= ADDRESS_TEXT_MAX || colon[1] == 0 ||
        strlen(colon + 1) > 5) {
        return false;
    }
    for (const char *p = colon + 1; *p != 0; p++) {
        if (*p < '0' || *p > '9') {
            return false;
        }
        number = number * 10 + (unsigned)(*p - '0');
    }
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = 0;
    *port = (uint16_t)number;
    return number <= PORT_MAX;
}

static enum quipu_status address_parse(const char *text, union address *out, socklen_t *len,
                                       struct quipu_error *err)
{
    char host[ADDRESS_TEXT_MAX];
    uint16_t port = 0;
    memset(out, 0, sizeof *out);
    if (text == NULL || !split(text, host, &port)) {
        return bad_address(text == NULL ? "" : text, err);
    }
    if (strcmp(host, "localhost") == 0) {
        (void)snprintf(host, sizeof host, "127.0.0.1");
    }
    if (strcmp(host, "[::1]") == 0) {
        out->six.sin6_family = AF_INET6;
        out->six.sin6_addr = in6addr_loopback;
        out->six.sin6_port = htons(port);
        *len = sizeof out->six;
        return QUIPU_OK;
    }
    out->four.sin_family = AF_INET;
    out->four.sin_port = htons(port);
    *len = sizeof out->four;
    bool is_loopback = inet_pton(AF_INET, host, &out->four.sin_addr) == 1 &&
                       ntohl(out->four.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    return is_loopback ? QUIPU_OK : bad_address(text, err);
}

/* ------------------------------------------------------------------ opening and closing */

static enum quipu_status listen_at(struct quipu_metrics_server *server, const char *text,
                                   struct quipu_error *err)
{
    union address address;
    socklen_t len = 0;
    int on = 1;
    enum quipu_status status = address_parse(text, &address, &len, err);
    if (status != QUIPU_OK) {
        return status;
    }
    server->fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (server->fd < 0) {
        return quipu_error_errno(err, errno, "make a socket for the metrics");
    }
    /* A connection of before that is not quite gone does not keep the port. */
    (void)setsockopt(server->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(server->fd, &address.any, len) != 0 || listen(server->fd, BACKLOG) != 0) {
        int number = errno;
        return number == EADDRINUSE
                   ? quipu_error_set(err, QUIPU_EXISTS,
                                     "somebody listens at %s already; choose another port", text)
                   : quipu_error_errno(err, number, "listen at %s", text);
    }
    if (getsockname(server->fd, &address.any, &len) != 0) {
        return quipu_error_errno(err, errno, "read the port of %s", text);
    }
    server->port =
        ntohs(address.any.sa_family == AF_INET6 ? address.six.sin6_port : address.four.sin_port);
    return QUIPU_OK;
}

enum quipu_status quipu_metrics_server_open(const struct quipu_metrics_server_options *options,
                                            struct quipu_metrics_server **out,
                                            struct quipu_error *err)
{
    if (options == NULL || out == NULL || options->size != sizeof *options ||
        options->metrics == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "a metrics server needs a function for its text, and options that "
                               "start from QUIPU_METRICS_SERVER_OPTIONS_INIT");
    }
    struct quipu_metrics_server *server = quipu_alloc_zero(1, sizeof *server);
    if (server == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory opening a metrics server");
    }
    server->options = *options;
    server->options.address = NULL;
    server->options.timeout_us = options->timeout_us <= 0 ? TIMEOUT_US : options->timeout_us;
    server->fd = -1;
    for (size_t i = 0; i < METRICS_CLIENTS_MAX; i++) {
        server->clients[i].fd = -1;
    }
    server->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    enum quipu_status status = server->stop_fd >= 0
                                   ? listen_at(server, options->address, err)
                                   : quipu_error_errno(err, errno, "make a descriptor");
    if (status == QUIPU_OK) {
        int failed = pthread_create(&server->thread, NULL, run, server);
        server->has_thread = failed == 0;
        status = failed == 0 ? QUIPU_OK : quipu_error_errno(err, failed, "start a thread");
    }
    if (status != QUIPU_OK) {
        quipu_metrics_server_close(&server);
        return status;
    }
    *out = server;
    return QUIPU_OK;
}

uint16_t quipu_metrics_server_port(const struct quipu_metrics_server *server)
{
    return server->port;
}

void quipu_metrics_server_close(struct quipu_metrics_server **server)
{
    struct quipu_metrics_server *handle = *server;
    *server = NULL;
    if (handle == NULL) {
        return;
    }
    if (handle->has_thread) {
        uint64_t one = 1;
        (void)!write(handle->stop_fd, &one, sizeof one); /* cannot block: it is 0 before */
        (void)pthread_join(handle->thread, NULL);
    }
    if (handle->fd >= 0) {
        (void)close(handle->fd);
    }
    if (handle->stop_fd >= 0) {
        (void)close(handle->stop_fd);
    }
    quipu_free(handle);
}

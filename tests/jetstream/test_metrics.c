/*
 * The figures for Prometheus, held against the text format, and the server that hands them out,
 * spoken to over a socket.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "metrics_http.h"
#include "quipu/metrics.h"
#include "service_kit.h"

/* ------------------------------------------------------------------ the text format */

static bool is_metric_name(const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!(isalpha((unsigned char)name[i]) || name[i] == '_' ||
              (i > 0 && isdigit((unsigned char)name[i])))) {
            return false;
        }
    }
    return len > 0;
}

/* The labels in braces; returns what is behind them, NULL where they are malformed. */
static const char *skip_labels(const char *at)
{
    if (*at != '{') {
        return at;
    }
    do {
        at++;
        size_t len = strcspn(at, "=");
        if (!is_metric_name(at, len) || at[len] != '=' || at[len + 1] != '"') {
            return NULL;
        }
        for (at += len + 2; *at != '"'; at++) {
            if (*at == 0 || *at == '\n' ||
                (*at == '\\' && (++at, *at != '\\' && *at != '"' && *at != 'n'))) {
                return NULL;
            }
        }
        at++;
    } while (*at == ',');
    return *at == '}' ? at + 1 : NULL;
}

/* Every line is HELP, TYPE or a sample of the family before it; every family once. */
static void expect_prometheus(const char *text)
{
    static char seen[200][64];
    size_t families = 0;
    const char *line = text;
    cr_assert_eq(text[strlen(text) - 1], '\n');
    while (*line != 0) {
        size_t len = strcspn(line, "\n");
        char name[64];
        char type[16];
        if (strncmp(line, "# HELP ", 7) == 0) {
            cr_assert_eq(sscanf(line, "# HELP %63s", name), 1);
            const char *next = line + len + 1;
            char typed[64];
            cr_assert_eq(sscanf(next, "# TYPE %63s %15s", typed, type), 2, "%.80s", line);
            cr_assert_str_eq(typed, name);
            cr_assert(strcmp(type, "gauge") == 0 || strcmp(type, "counter") == 0, "%s", type);
            bool is_total = strlen(name) > 6 && strcmp(name + strlen(name) - 6, "_total") == 0;
            cr_assert_eq(is_total, strcmp(type, "counter") == 0, "%s is a %s", name, type);
            for (size_t i = 0; i < families; i++) {
                cr_assert_str_neq(seen[i], name, "%s twice", name);
            }
            cr_assert_lt(families, 200);
            (void)snprintf(seen[families++], 64, "%s", name);
            line = next + strcspn(next, "\n") + 1;
            continue;
        }
        size_t name_len = strcspn(line, "{ ");
        cr_assert(is_metric_name(line, name_len), "%.80s", line);
        cr_assert_gt(families, 0);
        cr_assert_eq(strlen(seen[families - 1]), name_len, "%.80s", line);
        cr_assert_eq(memcmp(seen[families - 1], line, name_len), 0, "%.80s", line);
        const char *value = skip_labels(line + name_len);
        cr_assert(value != NULL && *value == ' ', "%.80s", line);
        char *end = NULL;
        (void)strtod(value + 1, &end);
        cr_assert(end > value + 1 && *end == '\n', "%.80s", line);
        line += len + 1;
    }
}

/* The value of a sample, by the beginning of its line. */
static double sample(const char *text, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = text; (at = strstr(at, name)) != NULL; at++) {
        if ((at == text || at[-1] == '\n') && at[len] == ' ') {
            return strtod(at + len, NULL);
        }
    }
    cr_assert_fail("there is no %s", name);
    return 0;
}

Test(metrics, tells_of_store_connection_flushes_and_service)
{
    struct quipu_error err;
    struct served served;
    served_start(&served, NULL);
    struct quipu_nats *nats = js_connect(&served.server);
    js_provision(nats, 0);
    js_store_fill(&served.store, 20, 30, JS_PAYLOADS_UNIQUE);
    struct quipu_flush_report flushed = js_flush(&served.store, nats);
    struct quipu_flush_totals totals = {0};
    struct quipu_clock clock = quipu_clock_system();
    quipu_flush_totals_add(&totals, QUIPU_OK, &flushed, clock.unix_us(clock.ctx));
    quipu_flush_totals_add(&totals, QUIPU_OFFLINE, &(struct quipu_flush_report){0}, 0);
    struct ask good = {.subject = "svc.cim.keys.cmd.append",
                       .body = "{\"aggregate_type\":\"key\",\"aggregate_id\":\"k\",\"event_type\":"
                               "\"key.used\",\"payload\":1,\"occurred_at\":1000000}"};
    struct ask bad = {.subject = "svc.cim.keys.cmd.append", .body = "{"};
    natsMsg_Destroy(served_ask(served.peer, &good));
    natsMsg_Destroy(served_ask(served.peer, &bad));
    struct quipu_nats_report connection;
    quipu_nats_state(nats, &connection);
    connection.credentials_expire_unix_us = clock.unix_us(clock.ctx) - 1500000;
    struct quipu_metrics_of of = {served.store.engine, &connection, &totals, served.service};
    struct quipu_buf out = QUIPU_BUF_INIT;

    cr_assert_eq(quipu_metrics_append(&of, &out, &err), QUIPU_OK, "%s", err.message);
    quipu_buf_append_byte(&out, 0);
    const char *text = (const char *)out.data;

    expect_prometheus(text);
    cr_assert_eq(sample(text, "quipu_store_events"), 21);
    cr_assert_eq(sample(text, "quipu_outbox_pending_events"), 1);
    cr_assert_eq(sample(text, "quipu_outbox_published_events"), 20);
    cr_assert_gt(sample(text, "quipu_outbox_oldest_pending_age_seconds"), 1.7e9);
    cr_assert_eq(sample(text, "quipu_flush_runs_total"), 2);
    cr_assert_eq(sample(text, "quipu_flush_failures_total"), 1);
    cr_assert_eq(sample(text, "quipu_flush_published_events_total"), 20);
    cr_assert_eq(sample(text, "quipu_nats_state{state=\"connected\"}"), 1);
    cr_assert_eq(sample(text, "quipu_nats_state{state=\"offline\"}"), 0);
    cr_assert_lt(sample(text, "quipu_nats_credentials_left_seconds"), -1.4);
    cr_assert_eq(sample(text, "quipu_service_requests_total{endpoint=\"append\"}"), 2);
    cr_assert_eq(sample(text, "quipu_service_errors_total{endpoint=\"append\"}"), 1);
    cr_assert_eq(sample(text, "quipu_service_connected"), 1);
    quipu_buf_release(&out);
    quipu_nats_close(&nats);
    served_release(&served);
}

/* ------------------------------------------------------------------ reading requests */

static const struct {
    const char *head;
    int status;
} heads[] = {
    {"GET /metrics HTTP/1.1\r\nHost: localhost:1\r\n\r\n", 200},
    {"HEAD /healthz HTTP/1.0\r\nhOsT:127.0.0.1\r\nAccept: */*\r\n\r\n", 200},
    {"GET /metrics HTTP/1.1\r\nHost: [::1]:9464\r\nContent-Length: 0\r\n\r\n", 200},
    {"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 404},
    {"GET /metrics/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 404},
    {"POST /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 405},
    {"get /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 405},
    {"GET /metrics HTTP/2.0\r\nHost: localhost\r\n\r\n", 505},
    {"GET /metrics HTTP/1.1\r\n\r\n", 400},
    {"GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400},
    {"GET /metrics HTTP/1.1\r\nHost: localhost\r\n folded: yes\r\n\r\n", 400},
    {"GET /metrics HTTP/1.1\r\nHost : localhost\r\n\r\n", 400},
    {"GET /metrics HTTP/1.1\nHost: localhost\r\n\r\n", 400},
    {"GET  /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
    {"GET /metrics\r\nHost: localhost\r\n\r\n", 400},
    {"GET /metrics HTTP/1.1\r\nHost: figures.example\r\n\r\n", 421},
    {"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1.example:80\r\n\r\n", 421},
    {"GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n", 413},
    {"GET /metrics HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", 413},
};

Test(metrics_http, reads_strictly)
{
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        struct http_request request;
        struct quipu_slice head = quipu_slice_text(heads[i].head);
        cr_assert_eq(quipu_http_head_len(head), head.len, "%zu", i);
        cr_assert_eq(quipu_http_head_len(quipu_slice(head.data, head.len - 1)), 0, "%zu", i);
        cr_assert_eq(quipu_http_read(head, &request), heads[i].status, "%s", heads[i].head);
    }
}

/* ------------------------------------------------------------------ the server */

static enum quipu_status some_text(void *ctx, struct quipu_buf *out, struct quipu_error *err)
{
    if (ctx != NULL) {
        return quipu_error_set(err, QUIPU_IO, "the disk is gone");
    }
    quipu_buf_append_text(out, "quipu_up 1\n");
    return QUIPU_OK;
}

static int connect_to(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void talk(uint16_t port, const char *request, char answer[4096])
{
    int fd = connect_to(port);
    size_t len = 0;
    ssize_t got = 0;
    cr_assert_eq(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
    while ((got = recv(fd, answer + len, 4095 - len, 0)) > 0) {
        len += (size_t)got;
    }
    answer[len] = 0;
    (void)close(fd);
}

static struct quipu_metrics_server *serve_at(const char *address, void *ctx)
{
    struct quipu_error err;
    struct quipu_metrics_server *server = NULL;
    struct quipu_metrics_server_options options = QUIPU_METRICS_SERVER_OPTIONS_INIT;
    options.address = address;
    options.metrics = some_text;
    options.health = ctx == NULL ? NULL : some_text;
    options.ctx = ctx;
    options.timeout_us = 300000;
    enum quipu_status status = quipu_metrics_server_open(&options, &server, &err);
    cr_assert_eq(status, QUIPU_OK, "%s", err.message);
    return server;
}

Test(metrics_server, answers_scrapes)
{
    struct quipu_metrics_server *server = serve_at("localhost:0", NULL);
    uint16_t port = quipu_metrics_server_port(server);
    char answer[4096];

    talk(port, heads[0].head, answer);
    cr_assert_not_null(strstr(answer, "HTTP/1.1 200 OK\r\n"));
    cr_assert_not_null(
        strstr(answer, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    cr_assert_not_null(strstr(answer, "Content-Length: 11\r\n"));
    cr_assert_str_eq(strstr(answer, "\r\n\r\n") + 4, "quipu_up 1\n");
    talk(port, heads[1].head, answer);
    cr_assert_not_null(strstr(answer, "HTTP/1.1 200 OK\r\n"));
    cr_assert_str_eq(strstr(answer, "\r\n\r\n") + 4, "");
    talk(port, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", answer);
    cr_assert_str_eq(strstr(answer, "\r\n\r\n") + 4, "ok\n");
    talk(port, heads[5].head, answer);
    cr_assert_not_null(strstr(answer, "HTTP/1.1 405 "));
    cr_assert_not_null(strstr(answer, "Allow: GET, HEAD\r\n"));

    quipu_metrics_server_close(&server);
    cr_assert_null(server);
}

Test(metrics_server, says_so_where_there_are_no_figures)
{
    int broken = 1;
    struct quipu_metrics_server *server = serve_at("127.0.0.1:0", &broken);
    char answer[4096];
    talk(quipu_metrics_server_port(server), heads[0].head, answer);
    cr_assert_not_null(strstr(answer, "HTTP/1.1 503 "));
    cr_assert_str_eq(strstr(answer, "\r\n\r\n") + 4, "the disk is gone\n");
    quipu_metrics_server_close(&server);
}

Test(metrics_server, bounds_a_request_in_time_and_in_bytes)
{
    struct quipu_metrics_server *server = serve_at("127.0.0.1:0", NULL);
    uint16_t port = quipu_metrics_server_port(server);
    static char large[9001];
    char answer[4096];
    memset(large, 'x', sizeof large - 1);
    int gone = connect_to(port);
    (void)close(gone);

    talk(port, "GET /metrics HTTP/1.1\r\nHost:", answer);
    cr_assert_not_null(strstr(answer, "HTTP/1.1 408 "));
    int fd = connect_to(port);
    cr_assert_gt(send(fd, large, sizeof large - 1, MSG_NOSIGNAL), 8191);
    ssize_t got = recv(fd, answer, 16, MSG_WAITALL);
    cr_assert_geq(got, 12);
    cr_assert_eq(memcmp(answer, "HTTP/1.1 431", 12), 0);
    (void)close(fd);
    talk(port, heads[0].head, answer);
    cr_assert_not_null(strstr(answer, "200 OK"));

    quipu_metrics_server_close(&server);
}

Test(metrics_server, listens_on_loopback_alone)
{
    static const char *const bad[] = {
        "0.0.0.0:9464", "192.0.2.1:1",     ":9464",       "9464",           "127.0.0.1",
        "127.0.0.1:",   "127.0.0.1:x",     "[::]:9464",   "128.0.0.1:9464", "[::1]",
        "example:9464", "127.0.0.1:65536", "127.0.0.1:-1"};
    struct quipu_error err;
    struct quipu_metrics_server *server = NULL;
    struct quipu_metrics_server_options options = QUIPU_METRICS_SERVER_OPTIONS_INIT;
    options.metrics = some_text;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        options.address = bad[i];
        cr_assert_eq(quipu_metrics_server_open(&options, &server, &err), QUIPU_INVALID, "%s",
                     bad[i]);
    }
    server = serve_at("127.0.0.1:0", NULL);
    char taken[64];
    (void)snprintf(taken, sizeof taken, "127.0.0.1:%u", quipu_metrics_server_port(server));
    struct quipu_metrics_server *second = NULL;
    options.address = taken;
    cr_assert_eq(quipu_metrics_server_open(&options, &second, &err), QUIPU_EXISTS);
    quipu_metrics_server_close(&server);
}

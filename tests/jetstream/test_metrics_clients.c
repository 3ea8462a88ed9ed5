/*
 * Several clients of the metrics' server at once: none waits for another, however slow that is. The
 * server's own limit of time is far beyond the test's here, so it helps nobody.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "metrics_clients.h"

#define SCRAPE "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define LINE   "quipu_figure 1234567890\n"
#define LARGE  ((size_t)32 << 20)

TestSuite(metrics_clients, .timeout = 60);

static enum quipu_status text(void *ctx, struct quipu_buf *out, struct quipu_error *err)
{
    const size_t *bytes = ctx;
    (void)err;
    for (size_t len = 0; len < *bytes; len += sizeof LINE - 1) {
        quipu_buf_append_text(out, LINE);
    }
    return QUIPU_OK;
}

static struct quipu_metrics_server *start(size_t *bytes)
{
    struct quipu_error err;
    struct quipu_metrics_server *server = NULL;
    struct quipu_metrics_server_options options = QUIPU_METRICS_SERVER_OPTIONS_INIT;
    options.address = "127.0.0.1:0";
    options.metrics = text;
    options.ctx = bytes;
    options.timeout_us = INT64_C(3600000000);
    cr_assert_eq(quipu_metrics_server_open(&options, &server, &err), QUIPU_OK);
    return server;
}

static int say(const struct quipu_metrics_server *server, const char *what)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_port = htons(quipu_metrics_server_port(server));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(send(fd, what, strlen(what), MSG_NOSIGNAL), (ssize_t)strlen(what));
    return fd;
}

static void expect_answer(int fd)
{
    char answer[4096];
    size_t len = 0;
    ssize_t got = 0;
    while (len < sizeof answer - 1 &&
           (got = recv(fd, answer + len, sizeof answer - 1 - len, 0)) > 0) {
        len += (size_t)got;
    }
    answer[len] = 0;
    cr_assert_not_null(strstr(answer, "HTTP/1.1 200 OK\r\n"), "%s", answer);
    cr_assert_not_null(strstr(answer, LINE));
    (void)close(fd);
}

Test(metrics_clients, a_scrape_does_not_wait_for_those_who_are_slow_to_ask)
{
    size_t bytes = 100;
    struct quipu_metrics_server *server = start(&bytes);
    int slow[METRICS_CLIENTS_MAX - 1];
    for (size_t i = 0; i < METRICS_CLIENTS_MAX - 1; i++) {
        slow[i] = say(server, "GET /me");
    }

    for (int i = 0; i < 3; i++) {
        expect_answer(say(server, SCRAPE));
    }
    const char rest[] = "trics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    cr_assert_eq(send(slow[7], rest, sizeof rest - 1, MSG_NOSIGNAL), (ssize_t)sizeof rest - 1);
    expect_answer(slow[7]); /* and they were not forgotten */

    quipu_metrics_server_close(&server);
    for (size_t i = 0; i < METRICS_CLIENTS_MAX - 1; i++) {
        char byte;
        if (i != 7) {
            cr_assert_eq(recv(slow[i], &byte, 1, 0), 0);
            (void)close(slow[i]);
        }
    }
}

Test(metrics_clients, where_all_places_are_taken_the_slowest_makes_room)
{
    size_t bytes = 100;
    struct quipu_metrics_server *server = start(&bytes);
    int slow[METRICS_CLIENTS_MAX];
    char byte;
    for (size_t i = 0; i < METRICS_CLIENTS_MAX; i++) {
        slow[i] = say(server, "GET /me");
    }
    expect_answer(say(server, SCRAPE));

    cr_assert_leq(recv(slow[0], &byte, 1, 0), 0); /* the first one asked longest ago */
    const char rest[] = "trics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    cr_assert_eq(send(slow[1], rest, sizeof rest - 1, MSG_NOSIGNAL), (ssize_t)sizeof rest - 1);
    expect_answer(slow[1]);
    for (size_t i = 0; i < METRICS_CLIENTS_MAX; i++) {
        if (i != 1) {
            (void)close(slow[i]);
        }
    }
    quipu_metrics_server_close(&server);
}

/* poll takes no more entries than a process may have descriptors. */
Test(metrics_clients, are_served_where_a_process_may_open_few_files)
{
    size_t bytes = 100;
    struct quipu_metrics_server *server = start(&bytes);
    struct rlimit limit;
    int next = dup(server->fd);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert(next >= 0 && next < METRICS_CLIENTS_MAX - 2, "%d files are open", next);
    (void)close(next);
    limit.rlim_cur = METRICS_CLIENTS_MAX;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);

    expect_answer(say(server, SCRAPE));

    quipu_metrics_server_close(&server);
}

Test(metrics_clients, nor_for_those_who_are_slow_to_take_their_answer)
{
    size_t bytes = LARGE; /* more than a socket holds */
    struct quipu_metrics_server *server = start(&bytes);
    int slow = say(server, SCRAPE);
    char first[16];
    cr_assert_eq(recv(slow, first, sizeof first, MSG_WAITALL), (ssize_t)sizeof first);

    int health = say(server, "HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    char answer[16];
    cr_assert_eq(recv(health, answer, sizeof answer - 1, MSG_WAITALL), (ssize_t)sizeof answer - 1);
    answer[15] = 0;
    cr_assert_str_eq(answer, "HTTP/1.1 200 OK");
    (void)close(health);

    static char rest[1 << 20];
    size_t len = sizeof first;
    ssize_t got = 0;
    while ((got = recv(slow, rest, sizeof rest, 0)) > 0) {
        len += (size_t)got;
    }
    cr_assert_gt(len, LARGE); /* whole */
    (void)close(slow);
    quipu_metrics_server_close(&server);
}

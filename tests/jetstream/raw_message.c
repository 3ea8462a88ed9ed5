/*
 * Just enough of the protocol for one publish: CONNECT, HPUB, and a PING that the server answers
 * when it has taken what came before.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "raw_message.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void send_all(int fd, const void *data, size_t len)
{
    const char *at = data;
    while (len > 0) {
        ssize_t sent = send(fd, at, len, MSG_NOSIGNAL);
        cr_assert_gt(sent, 0);
        at += sent;
        len -= (size_t)sent;
    }
}

static void await_pong(int fd)
{
    char text[8192];
    size_t len = 0;
    for (;;) {
        ssize_t got = recv(fd, text + len, sizeof text - 1 - len, 0);
        cr_assert_gt(got, 0);
        len += (size_t)got;
        text[len] = 0;
        cr_assert_null(strstr(text, "-ERR"), "%s", text);
        if (strstr(text, "PONG\r\n") != NULL) {
            return;
        }
        cr_assert_lt(len, sizeof text - 1);
    }
}

void raw_message_publish(const struct nats_fixture *server, const char *subject,
                         struct quipu_slice headers, struct quipu_slice body)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)server->port),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    char line[2048];
    int len = snprintf(line, sizeof line,
                       "CONNECT {\"verbose\":false,\"headers\":true}\r\nHPUB %s %zu %zu\r\n",
                       subject, headers.len, headers.len + body.len);
    cr_assert(len > 0 && (size_t)len < sizeof line);
    send_all(fd, line, (size_t)len);
    send_all(fd, headers.data, headers.len);
    send_all(fd, body.data, body.len);
    send_all(fd, "\r\nPING\r\n", 8);
    await_pong(fd);
    (void)close(fd);
}

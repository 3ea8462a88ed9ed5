/*
 * Whose connection the guard ends: the one that hangs in its greeting, and no other one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dial_guard.h"

/* Both ends of one connection. */
struct pair {
    int client;
    int server;
};

static int listener;
static uint16_t port;

static void start(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    listener = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(listener, (struct sockaddr *)&address, len), 0);
    cr_assert_eq(listen(listener, 8), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    port = ntohs(address.sin_port);
}

static void stop(void)
{
    (void)close(listener);
}

TestSuite(dial_guard, .init = start, .fini = stop, .timeout = 60);

static void say(int from, int to, const char *text)
{
    char heard[64];
    size_t len = strlen(text);
    cr_assert_eq(send(from, text, len, MSG_NOSIGNAL), (ssize_t)len);
    cr_assert_eq(recv(to, heard, len, MSG_WAITALL), (ssize_t)len);
}

/* A connection that has been greeted and has answered. */
static struct pair greet(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int on = 1;
    struct pair pair = {.client = socket(AF_INET, SOCK_STREAM, 0)};
    cr_assert_eq(connect(pair.client, (struct sockaddr *)&address, sizeof address), 0);
    pair.server = accept(listener, NULL, NULL);
    cr_assert_geq(pair.server, 0);
    (void)setsockopt(pair.client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    say(pair.server, pair.client, "INFO {}\r\n");
    say(pair.client, pair.server, "CONNECT {}\r\nPING\r\n");
    return pair;
}

static void hang_up(struct pair pair)
{
    (void)close(pair.client);
    (void)close(pair.server);
}

Test(dial_guard, ends_what_hangs_and_leaves_who_publishes)
{
    struct dial_guard guard;
    struct dial dial = {.timeout_us = 200000, .ports = &port, .port_count = 1};
    char byte;
    struct pair before = greet();
    quipu_dial_guard_begin(&guard, &dial);
    struct pair publisher = greet();
    say(publisher.server, publisher.client, "PONG\r\n");
    say(publisher.client, publisher.server, "PUB a 1\r\n1\r\n"); /* and nobody answers that */
    struct pair stuck = greet();

    cr_assert_eq(recv(stuck.client, &byte, 1, 0), 0); /* until the guard has ended it */
    quipu_dial_guard_end(&guard);
    cr_assert(guard.has_cut);
    say(publisher.client, publisher.server, "PUB a 1\r\n2\r\n");
    say(before.client, before.server, "PING\r\n");
    hang_up(stuck);
    hang_up(publisher);
    hang_up(before);
}

Test(dial_guard, leaves_the_ports_of_others)
{
    struct dial_guard guard;
    uint16_t other = (uint16_t)(port ^ 1);
    const uint16_t both[] = {other, port};
    struct dial dial = {.timeout_us = 1000, .ports = both, .port_count = 1};
    quipu_dial_guard_begin(&guard, &dial);
    struct pair elsewhere = greet();
    struct pollfd end = {.fd = elsewhere.client, .events = POLLIN};
    /* Long enough for it to have looked, most of the time; never too short to pass. */
    cr_assert_eq(poll(&end, 1, 500), 0);
    quipu_dial_guard_end(&guard);
    cr_assert_not(guard.has_cut);
    hang_up(elsewhere);
}

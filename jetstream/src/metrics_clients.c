/*
 * The metrics' HTTP connections: several at a time, one request each, none of which waits for
 * another; all of it bounded in number, in bytes and in time. Where all places are taken, whoever
 * has been longest about asking makes room.
 *
 * Specification: docs/SPEC.md §10.9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "metrics_clients.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "connection.h"
#include "metrics_http.h"
#include "patience.h"

#define FDS_BEFORE 2 /* stop, and who wants in */
#define SHORT_US   ((int64_t)50 * 1000)

/* ------------------------------------------------------------------ one client */

static void client_drop(struct metrics_client *client)
{
    (void)shutdown(client->fd, SHUT_WR);
    (void)close(client->fd);
    client->fd = -1;
    quipu_buf_release(&client->reply);
}

static int make_body(const struct quipu_metrics_server *server, const struct http_request *request,
                     struct quipu_buf *body)
{
    struct quipu_error err = {.message = ""};
    enum quipu_status status = QUIPU_OK;
    if (request->target == HTTP_METRICS) {
        status = server->options.metrics(server->options.ctx, body, &err);
    } else if (server->options.health != NULL) {
        status = server->options.health(server->options.ctx, body, &err);
    } else {
        quipu_buf_append_text(body, "ok\n");
    }
    if (status == QUIPU_OK && body->status == QUIPU_OK) {
        return 200;
    }
    quipu_buf_reset(body);
    quipu_buf_printf(body, "%s\n", err.message[0] != 0 ? err.message : quipu_status_text(status));
    return 503;
}

/* Make the answer; `status` is 200 where the head is whole. */
static void client_answer(const struct quipu_metrics_server *server, struct metrics_client *client,
                          int status, size_t head_len)
{
    struct http_request request = {HTTP_HEALTHZ, false};
    struct quipu_buf body = QUIPU_BUF_INIT;
    if (status == 200) {
        status = quipu_http_read(quipu_slice(client->head, head_len), &request);
    }
    if (status == 200) {
        status = make_body(server, &request, &body);
    } else {
        quipu_buf_printf(&body, "%d %s\n", status, quipu_http_reason(status));
    }
    bool is_metrics = status == 200 && request.target == HTTP_METRICS;
    quipu_buf_printf(
        &client->reply,
        "HTTP/1.1 %d %s\r\nContent-Type: text/plain; %scharset=utf-8\r\n"
        "Content-Length: %zu\r\nCache-Control: no-store\r\n%sConnection: close\r\n\r\n",
        status, quipu_http_reason(status), is_metrics ? "version=0.0.4; " : "", body.len,
        status == 405 ? "Allow: GET, HEAD\r\n" : "");
    if (!request.is_head) {
        quipu_buf_append_slice(&client->reply, quipu_buf_slice(&body));
    }
    quipu_buf_release(&body);
    client->is_answered = true;
    client->deadline_us = quipu_monotonic_us() + server->options.timeout_us;
}

static void client_read(const struct quipu_metrics_server *server, struct metrics_client *client)
{
    ssize_t got = recv(client->fd, client->head + client->head_len,
                       METRICS_HEAD_BYTES_MAX - client->head_len, 0);
    if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN)) {
        client_drop(client);
        return;
    }
    client->head_len += got > 0 ? (size_t)got : 0;
    size_t head_len = quipu_http_head_len(quipu_slice(client->head, client->head_len));
    if (head_len > 0) {
        client_answer(server, client, 200, head_len);
    } else if (client->head_len == METRICS_HEAD_BYTES_MAX) {
        client_answer(server, client, 431, 0);
    }
}

/* Send on; drops it when all is gone, or nobody is there. */
static void client_write(struct metrics_client *client)
{
    ssize_t put = send(client->fd, client->reply.data + client->sent,
                       client->reply.len - client->sent, MSG_NOSIGNAL);
    client->sent += put > 0 ? (size_t)put : 0;
    bool is_gone = put < 0 && errno != EINTR && errno != EAGAIN;
    if (is_gone || client->sent == client->reply.len) {
        client_drop(client);
    }
}

static void client_turn(const struct quipu_metrics_server *server, struct metrics_client *client,
                        int64_t now_us)
{
    if (!client->is_answered) {
        client_read(server, client);
    }
    if (client->fd >= 0 && !client->is_answered && client->deadline_us <= now_us) {
        client_answer(server, client, 408, 0);
    }
    if (client->fd < 0 || !client->is_answered) {
        return;
    }
    if (client->reply.status != QUIPU_OK || client->deadline_us <= now_us) {
        client_drop(client);
    } else {
        client_write(client);
    }
}

/* ------------------------------------------------------------------ all of them */

/* A free place, or that of whoever has been longest about asking, or about taking its answer. */
static struct metrics_client *place_for_one(struct quipu_metrics_server *server)
{
    struct metrics_client *slowest = NULL;
    for (size_t i = 0; i < METRICS_CLIENTS_MAX; i++) {
        struct metrics_client *it = &server->clients[i];
        if (it->fd < 0) {
            return it;
        }
        bool is_worse =
            slowest == NULL || (slowest->is_answered && !it->is_answered) ||
            (slowest->is_answered == it->is_answered && it->deadline_us < slowest->deadline_us);
        slowest = is_worse ? it : slowest;
    }
    client_drop(slowest);
    return slowest;
}

static void take_in(struct quipu_metrics_server *server)
{
    int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            quipu_nats_sleep(SHORT_US); /* who waits is still there, and would be asked at once */
        }
        return;
    }
    struct metrics_client *client = place_for_one(server);
    struct quipu_buf none = QUIPU_BUF_INIT;
    client->fd = fd;
    client->is_answered = false;
    client->deadline_us = quipu_monotonic_us() + server->options.timeout_us;
    client->head_len = 0;
    client->reply = none;
    client->sent = 0;
}

/* What poll is asked about. Only what is open: poll refuses more entries than a process may have
 * descriptors. */
struct watch {
    nfds_t count;
    struct pollfd fds[FDS_BEFORE + METRICS_CLIENTS_MAX];
    struct metrics_client *clients[FDS_BEFORE + METRICS_CLIENTS_MAX];
};

/* Milliseconds until the first client has used up its time; -1: there are none. */
static int fill(struct quipu_metrics_server *server, bool is_ending, struct watch *watch)
{
    int64_t first_us = INT64_MAX;
    /* poll leaves out what is negative */
    watch->fds[0] = (struct pollfd){.fd = is_ending ? -1 : server->stop_fd, .events = POLLIN};
    watch->fds[1] = (struct pollfd){.fd = is_ending ? -1 : server->fd, .events = POLLIN};
    watch->count = FDS_BEFORE;
    for (size_t i = 0; i < METRICS_CLIENTS_MAX; i++) {
        struct metrics_client *it = &server->clients[i];
        if (it->fd < 0) {
            continue;
        }
        watch->clients[watch->count] = it;
        watch->fds[watch->count++] =
            (struct pollfd){.fd = it->fd, .events = it->is_answered ? POLLOUT : POLLIN};
        first_us = it->deadline_us < first_us ? it->deadline_us : first_us;
    }
    int64_t left_us = first_us - quipu_monotonic_us();
    return first_us == INT64_MAX ? -1 : left_us <= 0 ? 0 : (int)quipu_nats_ms(left_us + 999);
}

/* Who has not asked by now goes. True: somebody is still to get an answer. */
static bool let_go(struct quipu_metrics_server *server)
{
    bool has_some = false;
    for (size_t i = 0; i < METRICS_CLIENTS_MAX; i++) {
        struct metrics_client *it = &server->clients[i];
        if (it->fd >= 0 && !it->is_answered) {
            client_drop(it);
        }
        has_some = has_some || it->fd >= 0;
    }
    return has_some;
}

void quipu_metrics_clients_serve(struct quipu_metrics_server *server)
{
    struct watch watch;
    bool is_ending = false;
    while (!is_ending || let_go(server)) {
        int timeout_ms = fill(server, is_ending, &watch);
        if (poll(watch.fds, watch.count, timeout_ms) < 0) {
            if (errno == EINTR) {
                continue;
            }
            return; /* no memory, or a limit that was lowered: the figures end, nothing else does */
        }
        int64_t now_us = quipu_monotonic_us();
        for (nfds_t i = FDS_BEFORE; i < watch.count; i++) {
            struct metrics_client *it = watch.clients[i];
            if (watch.fds[i].revents != 0 || it->deadline_us <= now_us) {
                client_turn(server, it, now_us);
            }
        }
        is_ending = is_ending || watch.fds[0].revents != 0;
        if (watch.fds[1].revents != 0 && !is_ending) {
            take_in(server); /* last: its place must not be looked at by this poll's results */
        }
    }
}

/*
 * A host application with a loop of its own (epoll): what it reads on stdin goes out to a subject,
 * what comes on the subject goes to stdout. Nothing in the loop waits for a server; without one,
 * lines wait in the bridge's bounded queue.
 *
 *     bridge SERVER SUBJECT
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "quipu/bridge.h"

static void show_all(struct quipu_bridge *bridge)
{
    struct quipu_message *message = NULL;
    while (quipu_bridge_next(bridge, &message) == QUIPU_OK) {
        struct quipu_slice body = quipu_message_body(message);
        printf("%s: %.*s\n", quipu_message_subject(message), QUIPU_SLICE_FMT(body));
        quipu_message_free(message);
    }
    (void)fflush(stdout);
}

static int send_line(struct quipu_bridge *bridge, const char *subject, char *line)
{
    struct quipu_error err;
    line[strcspn(line, "\n")] = 0;
    struct quipu_outgoing message = {.subject = subject, .body = quipu_slice_text(line)};
    if (quipu_bridge_publish(bridge, &message, &err) != QUIPU_OK) {
        fprintf(stderr, "bridge: %s\n", err.message);
        return 1;
    }
    return 0;
}

static int run_loop(struct quipu_bridge *bridge, const char *subject)
{
    struct epoll_event wanted = {.events = EPOLLIN, .data.fd = quipu_bridge_fd(bridge)};
    struct epoll_event input = {.events = EPOLLIN, .data.fd = STDIN_FILENO};
    struct epoll_event ready;
    char line[4096];
    int loop = epoll_create1(EPOLL_CLOEXEC);
    if (loop < 0 || epoll_ctl(loop, EPOLL_CTL_ADD, wanted.data.fd, &wanted) != 0 ||
        epoll_ctl(loop, EPOLL_CTL_ADD, STDIN_FILENO, &input) != 0) {
        perror("bridge: epoll (stdin must be a pipe or a terminal)");
        return 1;
    }
    (void)setvbuf(stdin, NULL, _IONBF, 0); /* what is read is what epoll has told of */
    int code = 0;
    for (bool goes_on = true; goes_on && code == 0 && epoll_wait(loop, &ready, 1, -1) == 1;) {
        if (ready.data.fd == wanted.data.fd) {
            show_all(bridge);
        } else if (fgets(line, sizeof line, stdin) == NULL) {
            goes_on = false;
        } else {
            code = send_line(bridge, subject, line);
        }
    }
    (void)close(loop);
    return code;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: bridge SERVER SUBJECT\n");
        return 2;
    }
    struct quipu_error err;
    struct quipu_bridge *bridge = NULL;
    struct quipu_nats_options nats = QUIPU_NATS_OPTIONS_INIT;
    struct quipu_bridge_subscription subscription = {.subject = argv[2]};
    struct quipu_bridge_options options = QUIPU_BRIDGE_OPTIONS_INIT;
    nats.url = argv[1];
    options.nats = &nats;
    options.subscriptions = &subscription;
    options.subscription_count = 1;
    if (quipu_bridge_open(&options, &bridge, &err) != QUIPU_OK) {
        fprintf(stderr, "bridge: %s\n", err.message);
        return 1;
    }
    int code = run_loop(bridge, argv[2]);
    /* A clean end: what was read has gone out, and what has come by then is shown. */
    if (code == 0 && (quipu_bridge_sync(bridge, 5000000, &err) != QUIPU_OK ||
                      quipu_bridge_drain(bridge, 5000000, &err) != QUIPU_OK)) {
        fprintf(stderr, "bridge: %s\n", err.message);
        code = 1;
    }
    show_all(bridge);
    quipu_bridge_close(&bridge);
    return code;
}

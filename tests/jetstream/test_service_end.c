/*
 * How a service ends: at once where nobody is there to wait for, and never well before the server
 * has taken the last reply. And the same request twice at the same time.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "service_kit.h"

TestSuite(service_end, .timeout = 100);

/* ------------------------------------------------------------------ without a server */

/* A service that is to connect to a port of 127.0.0.1, in a run of its own. */
static void run_at(struct served *served, int port)
{
    struct quipu_nats_options nats = QUIPU_NATS_OPTIONS_INIT;
    struct quipu_service_options options = QUIPU_SERVICE_OPTIONS_INIT;
    char url[64];
    (void)snprintf(url, sizeof url, "nats://127.0.0.1:%d", port);
    nats.url = url;
    nats.credentials_file = "";
    nats.connect_timeout_us = 20 * INT64_C(1000000);
    options.nats = &nats;
    js_store_open(&served->store);
    served_begin(served, &options);
}

Test(service_end, that_never_had_a_server_is_at_once)
{
    struct served served = {.peer = NULL};
    run_at(&served, nats_fixture_free_port());
    served_stop(&served); /* asserts that it ended well */
    js_store_release(&served.store);
}

/* The connect under way may take far longer than the end. */
Test(service_end, before_a_server_has_said_a_word_is_at_once)
{
    struct served served = {.peer = NULL};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(listener, (struct sockaddr *)&address, len), 0);
    cr_assert_eq(listen(listener, 1), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    run_at(&served, ntohs(address.sin_port));
    int silent = accept(listener, NULL, NULL); /* from here on it waits for a greeting */
    cr_assert_geq(silent, 0);

    quipu_service_stop(served.service);
    cr_assert_eq(pthread_join(served.thread, NULL), 0);

    cr_assert_eq(served.ended, QUIPU_OK, "%s", quipu_status_name(served.ended));
    (void)close(silent);
    (void)close(listener);
    quipu_service_close(&served.service);
    js_store_release(&served.store);
}

Test(service_end, of_which_the_server_is_gone_is_at_once)
{
    struct served served;
    served_start(&served, NULL);
    nats_fixture_kill(&served.server);

    served_stop(&served); /* asserts that it ended well */

    served_release(&served);
}

/* ------------------------------------------------------------------ the last replies */

/* Read the service's log until the line of an event. */
static void await_line(FILE *log, const char *event)
{
    char line[1024] = "";
    while (strstr(line, event) == NULL) {
        cr_assert_not_null(fgets(line, sizeof line, log), "no %s", event);
    }
}

Test(service_end, is_not_well_before_the_server_has_the_replies)
{
    struct served served;
    struct gate gate;
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    struct quipu_log log = {.fd = ends[1], .clock = quipu_clock_system()};
    struct quipu_service_command command = gate_command(&gate);
    struct quipu_service_options options = QUIPU_SERVICE_OPTIONS_INIT;
    options.commands = &command;
    options.command_count = 1;
    options.log = &log;
    served_start(&served, &options);
    FILE *lines = fdopen(ends[0], "r");
    cr_assert_not_null(lines);
    cr_assert_eq(
        natsConnection_PublishRequestString(served.peer, GATE_SUBJECT, "_INBOX.nobody", ""),
        NATS_OK);
    cr_assert_eq(sem_wait(&gate.entered), 0);

    quipu_service_stop(served.service);
    await_line(lines, "service.drained");
    nats_fixture_pause(&served.server); /* from now on it takes nothing */
    cr_assert_eq(sem_post(&gate.may_go), 0);
    cr_assert_eq(pthread_join(served.thread, NULL), 0);

    cr_assert_eq(served.ended, QUIPU_TIMEOUT, "%s", quipu_status_name(served.ended));
    nats_fixture_resume(&served.server);
    quipu_service_close(&served.service);
    served_release(&served);
    (void)fclose(lines);
    (void)close(ends[1]);
}

/* ------------------------------------------------------------------ the same request twice */

struct twins {
    pthread_mutex_t mutex;
    int entered;
    sem_t both;
    sem_t may_fail;
};

/* Both come in before either has appended; the second one finds that it is too late. */
static enum quipu_status open_vault(void *ctx, struct quipu_request *request,
                                    struct quipu_error *err)
{
    static const uint8_t nothing[] = {0xf6};
    struct twins *twins = ctx;
    struct quipu_event event = {
        .type = "vault.opened", .aggregate = {"vault", "v1"}, .payload = quipu_slice(nothing, 1)};
    (void)pthread_mutex_lock(&twins->mutex);
    bool is_first = twins->entered++ == 0;
    (void)pthread_mutex_unlock(&twins->mutex);
    if (!is_first) {
        (void)sem_post(&twins->both);
        (void)sem_wait(&twins->may_fail);
        return quipu_error_set(err, QUIPU_EXISTS, "the vault is open already");
    }
    (void)sem_wait(&twins->both);
    return quipu_request_append(request, &event, 1, err);
}

Test(service_end, a_request_that_came_twice_at_once_is_answered_twice_with_the_same_event)
{
    struct served served;
    struct twins twins = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    struct quipu_service_command command = {.name = "wait", .run = open_vault, .ctx = &twins};
    struct quipu_service_options options = QUIPU_SERVICE_OPTIONS_INIT;
    natsSubscription *inbox = NULL;
    char position[512];
    cr_assert_eq(sem_init(&twins.both, 0, 0), 0);
    cr_assert_eq(sem_init(&twins.may_fail, 0, 0), 0);
    options.commands = &command;
    options.command_count = 1;
    options.workers = 2;
    served_start(&served, &options);
    cr_assert_eq(natsConnection_SubscribeSync(&inbox, served.peer, "_INBOX.twins"), NATS_OK);

    for (int i = 0; i < 2; i++) {
        natsMsg *request = NULL;
        cr_assert_eq(natsMsg_Create(&request, GATE_SUBJECT, "_INBOX.twins", "{}", 2), NATS_OK);
        cr_assert_eq(natsMsgHeader_Set(request, "X-Request-ID", "r1"), NATS_OK);
        cr_assert_eq(natsConnection_PublishMsg(served.peer, request), NATS_OK);
        natsMsg_Destroy(request);
    }
    for (int i = 0; i < 2; i++) {
        natsMsg *answer = NULL;
        cr_assert_eq(natsSubscription_NextMsg(&answer, inbox, PATIENCE_MS), NATS_OK);
        cr_assert_str_eq(answer_header(answer, "Nats-Service-Error"), "");
        cr_assert_str_eq(answer_at(answer, "events.0.position", position), "1");
        cr_assert_str_eq(answer_at(answer, "duplicate", position), i == 0 ? "false" : "true");
        natsMsg_Destroy(answer);
        cr_assert_eq(sem_post(&twins.may_fail), 0); /* now that the first one has appended */
    }
    cr_assert_eq(served_events(&served), 1);
    natsSubscription_Destroy(inbox);
    served_release(&served);
}

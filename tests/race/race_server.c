/*
 * Servers, credentials and counts.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "race_server.h"

#include <time.h>

#include "race_kit.h"

void race_server_start(struct race_server *server)
{
    char config[4 * JWT_BYTES];
    atomic_init(&server->given, 0);
    atomic_init(&server->connects, 0);
    jwt_realm_make(&server->realm);
    jwt_realm_config(&server->realm, config, sizeof config);
    nats_fixture_start(&server->fixture, config);
}

void race_server_restart(struct race_server *server)
{
    nats_fixture_kill(&server->fixture);
    nats_fixture_restart(&server->fixture);
}

void race_server_stop(struct race_server *server)
{
    nats_fixture_stop(&server->fixture);
}

/* So little time is left of these that newer ones are asked for again and again. */
static enum quipu_status refresh(void *ctx, struct quipu_buf *creds, struct quipu_error *err)
{
    struct race_server *server = ctx;
    struct jwt_user user;
    struct jwt_user_claims claims = {.expires_unix_s = (int64_t)time(NULL) + 1800};
    (void)err;
    (void)atomic_fetch_add(&server->given, 1);
    jwt_user_make(&server->realm, &claims, &user);
    jwt_creds_append(&user, user.jwt, creds);
    return QUIPU_OK;
}

struct quipu_nats *race_server_connect(struct race_server *server, quipu_nats_state_fn on_state,
                                       void *ctx)
{
    struct quipu_error err;
    struct quipu_nats *nats = NULL;
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    options.url = server->fixture.url;
    options.refresh = refresh;
    options.refresh_ctx = server;
    options.on_state = on_state;
    options.on_state_ctx = ctx;
    options.request_timeout_us = 2000000;
    enum quipu_status status = QUIPU_OFFLINE;
    while (status == QUIPU_OFFLINE || status == QUIPU_TIMEOUT) { /* it is being restarted */
        (void)atomic_fetch_add(&server->connects, 1);
        status = quipu_nats_open(&options, &nats, &err);
    }
    race_must(status, &err);
    return nats;
}

unsigned long long race_server_renewals(struct race_server *server)
{
    unsigned long long given = atomic_load(&server->given);
    unsigned long long connects = atomic_load(&server->connects);
    return given > connects ? given - connects : 0;
}

uint64_t race_server_provision(struct quipu_nats *nats)
{
    struct quipu_error err;
    struct quipu_provision_report report;
    race_must(quipu_provision(nats, NULL, &report, &err), &err);
    quipu_buf_release(&report.drift);
    return report.stream_messages;
}

void race_count_add(struct race_count *count, uint64_t by)
{
    (void)pthread_mutex_lock(&count->mutex);
    count->value += by;
    (void)pthread_cond_broadcast(&count->changed);
    (void)pthread_mutex_unlock(&count->mutex);
}

void race_count_await(struct race_count *count, uint64_t at_least)
{
    (void)pthread_mutex_lock(&count->mutex);
    while (count->value < at_least) {
        (void)pthread_cond_wait(&count->changed, &count->mutex);
    }
    (void)pthread_mutex_unlock(&count->mutex);
}

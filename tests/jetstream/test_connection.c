/*
 * What a connection tells its host, and how credentials are renewed beneath it, against a real
 * server that goes away, stands still, and lets credentials expire.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "js_kit.h"
#include "jwt_kit.h"

#define NEWS_MAX 64

static struct nats_fixture server;
static struct jwt_realm realm;
static char creds[2 * TEMP_DIR_BYTES];

/* What the host was told, in order. */
static struct news {
    pthread_mutex_t mutex;
    pthread_cond_t more;
    struct quipu_nats_report reports[NEWS_MAX];
    size_t count;
    int inside; /* calls that have not returned */
    bool was_twice_at_once;
    bool resumes_when_lost;
} news;

static void stop(void)
{
    nats_fixture_stop(&server);
}

static void start_plain(void)
{
    memset(&news, 0, sizeof news);
    (void)pthread_mutex_init(&news.mutex, NULL);
    (void)pthread_cond_init(&news.more, NULL);
    nats_fixture_start(&server, NULL);
}

static void start_with_operator(void)
{
    char config[4 * JWT_BYTES];
    start_plain();
    jwt_realm_make(&realm);
    jwt_realm_config(&realm, config, sizeof config);
    nats_fixture_reconfigure(&server, config);
    temp_dir_join(&server.dir, "user.creds", creds);
}

TestSuite(states, .init = start_plain, .fini = stop, .timeout = 60);
TestSuite(renewal, .init = start_with_operator, .fini = stop, .timeout = 60);

static void on_state(void *ctx, const struct quipu_nats_report *now)
{
    struct news *told = ctx;
    (void)pthread_mutex_lock(&told->mutex);
    told->was_twice_at_once = told->was_twice_at_once || told->inside > 0;
    told->inside++;
    bool resumes = told->resumes_when_lost && now->state == QUIPU_NATS_OFFLINE;
    (void)pthread_mutex_unlock(&told->mutex);
    if (resumes) {
        nats_fixture_resume(&server);
    }
    (void)pthread_mutex_lock(&told->mutex);
    cr_assert_lt(told->count, NEWS_MAX);
    told->reports[told->count++] = *now;
    told->inside--;
    (void)pthread_cond_broadcast(&told->more);
    (void)pthread_mutex_unlock(&told->mutex);
}

/* Wait for report number `index`; the test's own limit ends a wait that is in vain. */
static struct quipu_nats_report await(size_t index)
{
    (void)pthread_mutex_lock(&news.mutex);
    while (news.count <= index) {
        (void)pthread_cond_wait(&news.more, &news.mutex);
    }
    struct quipu_nats_report report = news.reports[index];
    (void)pthread_mutex_unlock(&news.mutex);
    return report;
}

static void await_lost_since(size_t index)
{
    while (await(index).state != QUIPU_NATS_OFFLINE) {
        index++;
    }
}

static size_t news_count(void)
{
    (void)pthread_mutex_lock(&news.mutex);
    size_t count = news.count;
    (void)pthread_mutex_unlock(&news.mutex);
    return count;
}

static void expect_states(const enum quipu_nats_state *states, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct quipu_nats_report report = await(i);
        cr_assert_eq(report.state, states[i], "report %zu: %s, wanted %s: %s", i,
                     quipu_nats_state_name(report.state), quipu_nats_state_name(states[i]),
                     report.message);
        cr_assert_gt(report.since_unix_us, INT64_C(1600000000000000));
        cr_assert(i == 0 || report.since_unix_us >= await(i - 1).since_unix_us);
    }
    cr_assert_eq(news_count(), count);
    cr_assert_not(news.was_twice_at_once);
}

static struct quipu_nats_options watched(void)
{
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    options.url = server.url;
    options.on_state = on_state;
    options.on_state_ctx = &news;
    options.connect_timeout_us = 1000000;
    options.request_timeout_us = 400000;
    return options;
}

static struct quipu_nats *open_watched(const struct quipu_nats_options *options)
{
    struct quipu_error err;
    struct quipu_nats *nats = NULL;
    enum quipu_status status = quipu_nats_open(options, &nats, &err);
    cr_assert_eq(status, QUIPU_OK, "%s", status == QUIPU_OK ? "" : err.message);
    return nats;
}

/* ------------------------------------------------------------------ states */

Test(states, are_told_in_order_from_the_first_connect_to_the_close)
{
    static const enum quipu_nats_state wanted[] = {QUIPU_NATS_CONNECTING, QUIPU_NATS_CONNECTED,
                                                   QUIPU_NATS_OFFLINE,    QUIPU_NATS_RECONNECTING,
                                                   QUIPU_NATS_OFFLINE,    QUIPU_NATS_RECONNECTING,
                                                   QUIPU_NATS_CONNECTED,  QUIPU_NATS_OFFLINE};
    struct quipu_error err;
    struct quipu_provision_report provisioned;
    struct quipu_nats_report report;
    struct quipu_nats_options options = watched();
    struct quipu_nats *nats = open_watched(&options);

    nats_fixture_kill(&server);
    await_lost_since(2); /* without any operation */
    cr_assert_eq(await(2).status, QUIPU_OFFLINE);
    cr_assert_eq(await(2).connects, 1);
    cr_assert_eq(quipu_provision(nats, NULL, &provisioned, &err), QUIPU_OFFLINE);
    quipu_nats_state(nats, &report);
    cr_assert_eq(report.state, QUIPU_NATS_OFFLINE);
    cr_assert_str_eq(report.message, err.message);

    nats_fixture_restart(&server);
    cr_assert_eq(quipu_provision(nats, NULL, &provisioned, &err), QUIPU_OK, "%s", err.message);
    quipu_nats_state(nats, &report);
    cr_assert_eq(report.state, QUIPU_NATS_CONNECTED);
    cr_assert_eq(report.connects, 2);
    cr_assert_eq(report.connected_unix_us, report.since_unix_us);
    cr_assert_str_eq(report.message, "");

    quipu_nats_close(&nats);
    expect_states(wanted, sizeof wanted / sizeof wanted[0]);
    cr_assert_eq(await(3).status, QUIPU_OFFLINE, "while it is tried again, why it is away stays");
}

Test(states, error_means_that_waiting_does_not_help)
{
    static const enum quipu_nats_state wanted[] = {QUIPU_NATS_CONNECTING, QUIPU_NATS_ERROR};
    struct quipu_error err;
    struct quipu_nats *nats = NULL;
    nats_fixture_reconfigure(&server, "authorization { user: alice, password: right }");
    struct quipu_nats_options options = watched();
    options.user = "alice";
    options.password = "wr0ng";

    cr_assert_eq(quipu_nats_open(&options, &nats, &err), QUIPU_AUTH);

    expect_states(wanted, 2);
    cr_assert_eq(await(1).status, QUIPU_AUTH);
    cr_assert_str_eq(await(1).message, err.message);
    cr_assert_null(strstr(err.message, "wr0ng"));
}

Test(states, a_server_that_is_started_late_is_found)
{
    struct quipu_error err;
    struct quipu_nats *nats = NULL;
    struct js_store store;
    js_store_open(&store);
    js_store_fill(&store, 25, 60, JS_PAYLOADS_UNIQUE);
    struct quipu_nats_options options = watched();
    nats_fixture_kill(&server);
    cr_assert_eq(quipu_nats_open(&options, &nats, &err), QUIPU_OFFLINE);
    cr_assert_eq(await(1).state, QUIPU_NATS_OFFLINE);

    nats_fixture_restart(&server);
    nats = open_watched(&options);
    js_provision(nats, 0);
    cr_assert_eq(js_flush(&store, nats).published, 25);
    js_expect_all_published(&server, &store);
    quipu_nats_close(&nats);
    js_store_release(&store);
}

static void pause_in_the_middle(void *ctx, uint64_t done, uint64_t total)
{
    bool *is_paused = ctx;
    if (!*is_paused && done > 0 && done < total) {
        *is_paused = true;
        nats_fixture_pause(&server);
    }
}

Test(states, a_server_that_stands_still_beyond_all_deadlines_loses_nothing)
{
    struct quipu_error err;
    struct quipu_nats_report report;
    struct js_store store;
    bool is_paused = false;
    js_store_open(&store);
    js_store_fill(&store, 4000, 60, JS_PAYLOADS_UNIQUE);
    struct quipu_nats_options options = watched();
    struct quipu_nats *nats = open_watched(&options);
    js_provision(nats, 100000);
    struct quipu_flush_options flush = QUIPU_FLUSH_OPTIONS_INIT;
    flush.progress = pause_in_the_middle;
    flush.ctx = &is_paused;
    news.resumes_when_lost = true; /* when an attempt to connect has timed out */

    enum quipu_status status = quipu_flush(store.engine, nats, &flush, NULL, &err);

    cr_assert_eq(status, QUIPU_OK, "%s", status == QUIPU_OK ? "" : err.message);
    cr_assert(is_paused);
    quipu_nats_state(nats, &report);
    cr_assert_geq(report.connects, 2);
    js_expect_all_published(&server, &store);
    quipu_nats_close(&nats);
    js_store_release(&store);
}

Test(states, a_wrong_bucket_is_named_and_the_outbox_waits)
{
    struct quipu_error err;
    struct js_store store;
    js_store_open(&store);
    js_store_fill(&store, 5, 60, JS_PAYLOADS_UNIQUE);
    struct quipu_nats *nats = js_connect(&server);
    js_provision(nats, 0);
    quipu_nats_close(&nats);
    struct quipu_nats_options options = watched();
    options.bucket = "elsewhere";
    nats = open_watched(&options);

    cr_assert_eq(quipu_flush(store.engine, nats, NULL, NULL, &err), QUIPU_NOT_PROVISIONED);

    cr_assert_not_null(strstr(err.message, "OBJ_elsewhere"), "%s", err.message);
    cr_assert_not_null(strstr(err.message, "quipu provision"));
    cr_assert_eq(js_store_outbox(&store).pending, 5);
    quipu_nats_close(&nats);
    js_store_release(&store);
}

/* ------------------------------------------------------------------ renewal */

/* A host that gives out credentials, each time the next of these lifetimes. */
static struct host {
    pthread_mutex_t mutex;
    int64_t lifetimes_s[4];
    size_t given;
    size_t allowed; /* so many may be given */
} host;

static enum quipu_status refresh(void *ctx, struct quipu_buf *out, struct quipu_error *err)
{
    struct host *from = ctx;
    struct jwt_user user;
    (void)pthread_mutex_lock(&from->mutex);
    bool is_closed = from->given == from->allowed;
    int64_t lifetime = is_closed ? 0 : from->lifetimes_s[from->given++];
    (void)pthread_mutex_unlock(&from->mutex);
    if (is_closed) {
        return quipu_error_set(err, QUIPU_OFFLINE, "the host has no new credentials");
    }
    struct jwt_user_claims claims = {.expires_unix_s = time(NULL) + lifetime};
    jwt_user_make(&realm, &claims, &user);
    jwt_creds_append(&user, user.jwt, out);
    return QUIPU_OK;
}

static struct quipu_nats_options renewed(int64_t first_s, int64_t second_s)
{
    memset(&host, 0, sizeof host);
    (void)pthread_mutex_init(&host.mutex, NULL);
    host.lifetimes_s[0] = first_s;
    host.allowed = 4;
    for (size_t i = 1; i < 4; i++) {
        host.lifetimes_s[i] = second_s;
    }
    struct quipu_nats_options options = watched();
    options.refresh = refresh;
    options.refresh_ctx = &host;
    return options;
}

static void host_allow(size_t allowed)
{
    (void)pthread_mutex_lock(&host.mutex);
    host.allowed = allowed;
    (void)pthread_mutex_unlock(&host.mutex);
}

Test(renewal, is_asked_for_when_less_than_an_hour_is_left)
{
    struct quipu_error err;
    struct quipu_nats_report report;
    struct quipu_provision_report provisioned;
    struct quipu_nats_options options = renewed(1800, 86400);
    struct quipu_nats *nats = open_watched(&options);

    struct quipu_nats_report due = await(2); /* after connecting and connected */
    cr_assert_eq(due.state, QUIPU_NATS_CONNECTED);
    cr_assert(due.is_refresh_due);
    cr_assert_lt(due.credentials_expire_unix_us, ((int64_t)time(NULL) + 1801) * 1000000);
    struct quipu_nats_report fresh = await(3);
    cr_assert_not(fresh.is_refresh_due);
    cr_assert_eq(fresh.refreshes, 1);
    cr_assert_gt(fresh.credentials_expire_unix_us, ((int64_t)time(NULL) + 86000) * 1000000);

    /* The next operation takes them. */
    cr_assert_eq(quipu_provision(nats, NULL, &provisioned, &err), QUIPU_OK, "%s", err.message);
    quipu_nats_state(nats, &report);
    cr_assert_eq(report.connects, 2);
    quipu_nats_close(&nats);
    cr_assert_eq(host.given, 2);
    cr_assert_not(news.was_twice_at_once);
}

Test(renewal, is_not_asked_for_while_there_is_time)
{
    struct quipu_nats_options options = renewed(7200, 86400);
    struct quipu_nats *nats = open_watched(&options);
    js_provision(nats, 0);
    quipu_nats_close(&nats);
    cr_assert_eq(host.given, 1);
}

struct expiring {
    bool is_done;
};

/* In the midst of a flush: hold it up until the server has ended the connection. */
static void outlive_credentials(void *ctx, uint64_t done, uint64_t total)
{
    struct expiring *expiring = ctx;
    if (!expiring->is_done && done > 0 && done < total) {
        expiring->is_done = true;
        await_lost_since(2);
        host_allow(4);
    }
}

Test(renewal, in_the_midst_of_a_flush_loses_no_event)
{
    struct quipu_error err;
    struct quipu_nats_report report;
    struct js_store store;
    struct expiring expiring = {false};
    js_store_open(&store);
    js_store_fill(&store, 4000, 60, JS_PAYLOADS_UNIQUE);
    struct quipu_nats_options options = renewed(3, 86400);
    host_allow(1); /* the next ones only when the first have expired */
    struct quipu_nats *nats = open_watched(&options);
    js_provision(nats, 0);
    struct quipu_flush_options flush = QUIPU_FLUSH_OPTIONS_INIT;
    flush.progress = outlive_credentials;
    flush.ctx = &expiring;

    enum quipu_status status = quipu_flush(store.engine, nats, &flush, NULL, &err);

    cr_assert_eq(status, QUIPU_OK, "%s", status == QUIPU_OK ? "" : err.message);
    cr_assert(expiring.is_done);
    quipu_nats_state(nats, &report);
    cr_assert_geq(report.refreshes, 1);
    cr_assert_geq(report.connects, 2);
    quipu_nats_close(&nats);
    js_store_release(&store);
}

Test(renewal, expired_credentials_are_named_and_a_new_file_is_enough)
{
    struct quipu_error err;
    struct quipu_nats_report report;
    struct js_store store;
    js_store_open(&store);
    js_store_fill(&store, 30, 60, JS_PAYLOADS_UNIQUE);
    int64_t expires = (int64_t)time(NULL) + 2;
    jwt_user_creds(&realm, expires, creds);
    struct quipu_nats_options options = watched();
    options.credentials_file = creds;
    struct quipu_nats *nats = open_watched(&options);
    js_provision(nats, 0);
    await_lost_since(2);
    while (time(NULL) <= expires) { /* in that very second a server still lets it in */
        struct timespec pause = {0, 10 * 1000 * 1000};
        (void)nanosleep(&pause, NULL);
    }

    cr_assert_eq(quipu_flush(store.engine, nats, NULL, NULL, &err), QUIPU_AUTH);
    cr_assert_not_null(strstr(err.message, "expired at"), "%s", err.message);
    quipu_nats_state(nats, &report);
    cr_assert_eq(report.state, QUIPU_NATS_ERROR);
    cr_assert(report.is_refresh_due);
    cr_assert_eq(js_store_outbox(&store).pending, 30);

    jwt_user_creds(&realm, (int64_t)time(NULL) + 86400, creds);
    cr_assert_eq(js_flush(&store, nats).published, 30);
    quipu_nats_state(nats, &report);
    cr_assert_eq(report.refreshes, 1);
    quipu_nats_close(&nats);
    js_store_release(&store);
}

/* ------------------------------------------------------------------ a hostile server */

struct hostile {
    int listener;
    const char *greeting;
    char heard[4096];
    size_t heard_bytes;
};

#define INFO                                                                                       \
    "INFO {\"server_id\":\"N\",\"version\":\"2.9.10\",\"headers\":true,\"max_payload\":1048576"

/* Greets, and listens to what comes back until the other side has had enough. */
static void *greet(void *arg)
{
    struct hostile *hostile = arg;
    int fd = accept(hostile->listener, NULL, NULL);
    (void)send(fd, hostile->greeting, strlen(hostile->greeting), MSG_NOSIGNAL);
    ssize_t got = 1;
    while (got > 0 && hostile->heard_bytes < sizeof hostile->heard) {
        got = recv(fd, hostile->heard + hostile->heard_bytes,
                   sizeof hostile->heard - hostile->heard_bytes, 0);
        hostile->heard_bytes += got > 0 ? (size_t)got : 0;
    }
    (void)close(fd);
    return NULL;
}

static enum quipu_status open_to(struct hostile *hostile, const char *greeting,
                                 struct quipu_error *err)
{
    struct quipu_nats *nats = NULL;
    pthread_t thread;
    char url[64];
    memset(hostile, 0, sizeof *hostile);
    hostile->greeting = greeting;
    hostile->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    cr_assert_eq(bind(hostile->listener, (struct sockaddr *)&address, len), 0);
    cr_assert_eq(listen(hostile->listener, 1), 0);
    cr_assert_eq(getsockname(hostile->listener, (struct sockaddr *)&address, &len), 0);
    cr_assert_eq(pthread_create(&thread, NULL, greet, hostile), 0);
    jwt_user_creds(&realm, 0, creds);
    struct quipu_nats_options options = watched();
    options.credentials_file = creds;
    (void)snprintf(url, sizeof url, "nats://127.0.0.1:%d", ntohs(address.sin_port));
    options.url = url;
    enum quipu_status status = quipu_nats_open(&options, &nats, err);
    (void)pthread_join(thread, NULL);
    (void)close(hostile->listener);
    return status;
}

Test(renewal, nothing_but_a_nonce_is_ever_signed)
{
    struct quipu_error err;
    struct hostile hostile;
    enum quipu_status status = open_to(
        &hostile, INFO ",\"auth_required\":true,\"nonce\":\"quipu checkpoint, tree size 7\"}\r\n",
        &err);

    cr_assert_eq(status, QUIPU_SERVER, "%s", err.message);
    cr_assert_not_null(strstr(err.message, "no nonce"), "%s", err.message);
    cr_assert_eq(hostile.heard_bytes, 0, "%.*s", (int)hostile.heard_bytes, hostile.heard);
}

/* libnats 3.4.1 waits for ever here. */
Test(renewal, a_server_that_greets_and_then_says_nothing_is_given_up)
{
    struct quipu_error err;
    struct hostile hostile;

    cr_assert_eq(open_to(&hostile, INFO "}\r\n", &err), QUIPU_TIMEOUT, "%s", err.message);

    cr_assert_not_null(strstr(err.message, "did not answer within 1000 ms"), "%s", err.message);
    cr_assert_not_null(memmem(hostile.heard, hostile.heard_bytes, "CONNECT", 7));
    /* It asked for no signature and was shown none. */
    cr_assert_not_null(memmem(hostile.heard, hostile.heard_bytes, "\"sig\":\"________", 15));
}

Test(renewal, credentials_do_no_harm_where_the_server_wants_none)
{
    nats_fixture_reconfigure(&server, NULL);
    jwt_user_creds(&realm, 0, creds);
    struct quipu_nats_options options = watched();
    options.credentials_file = creds;
    struct quipu_nats *nats = open_watched(&options);
    js_provision(nats, 0);
    quipu_nats_close(&nats);
}

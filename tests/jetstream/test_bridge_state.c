/*
 * What a bridge's host is told of a connection that waiting does not bring about, and of one that
 * is of no use: why, once it is so, and that it is over, once somebody has done something.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "connection_state.h"
#include "nats_fixture.h"
#include "quipu/bridge.h"
#include "quipu/engine.h"

#define PATIENCE_US ((int64_t)30 * 1000 * 1000)
#define TRIES       3000 /* of 10 ms */

TestSuite(bridge_state, .timeout = 100);

struct told {
    pthread_mutex_t mutex;
    unsigned errors; /* changes to QUIPU_NATS_ERROR */
    enum quipu_status status;
    char line[QUIPU_ERROR_MESSAGE_BYTES];
};

static void note_state(void *ctx, const struct quipu_nats_report *now)
{
    struct told *told = ctx;
    (void)pthread_mutex_lock(&told->mutex);
    if (now->state == QUIPU_NATS_ERROR) {
        told->errors++;
        told->status = now->status;
        (void)snprintf(told->line, sizeof told->line, "%s", now->message);
    }
    (void)pthread_mutex_unlock(&told->mutex);
}

static struct quipu_nats_report report_of(struct quipu_bridge *bridge)
{
    struct quipu_bridge_report report;
    quipu_bridge_report(bridge, &report);
    return report.nats;
}

/* Until the bridge reports this, which is not judged by how long it takes. */
static struct quipu_nats_report await(struct quipu_bridge *bridge, enum quipu_nats_state state,
                                      enum quipu_status status)
{
    struct quipu_nats_report now = report_of(bridge);
    for (int i = 0; i < TRIES && (now.state != state || now.status != status); i++) {
        (void)usleep(10000);
        now = report_of(bridge);
    }
    cr_assert_eq(now.state, state, "%s: %s", quipu_nats_state_name(now.state), now.message);
    cr_assert_eq(now.status, status, "%s: %s", quipu_status_name(now.status), now.message);
    return now;
}

/* Who is told hears of it at the same time as who asks, or a moment later. */
static struct told await_told(struct told *told, enum quipu_status status)
{
    struct told seen = {.errors = 0};
    for (int i = 0; i < TRIES && seen.status != status; i++) {
        (void)pthread_mutex_lock(&told->mutex);
        seen = *told;
        (void)pthread_mutex_unlock(&told->mutex);
        (void)usleep(10000);
    }
    cr_assert_eq(seen.status, status, "%s: %s", quipu_status_name(seen.status), seen.line);
    return seen;
}

static void expect_trouble(struct quipu_bridge *bridge, struct told *told, enum quipu_status status,
                           const char *part)
{
    struct quipu_error err;
    struct quipu_nats_report now = await(bridge, QUIPU_NATS_ERROR, status);
    struct told seen = await_told(told, status);
    cr_assert_not_null(strstr(now.message, part), "%s", now.message);
    cr_assert_not_null(strstr(seen.line, part), "%s", seen.line);
    cr_assert_eq(quipu_bridge_wait_ready(bridge, 0, &err), QUIPU_TIMEOUT);
    cr_assert_not_null(strstr(err.message, part), "%s", err.message);
}

static void expect_well(struct quipu_bridge *bridge)
{
    struct quipu_error err;
    enum quipu_status status = quipu_bridge_wait_ready(bridge, PATIENCE_US, &err);
    cr_assert_eq(status, QUIPU_OK, "%s", err.message);
    (void)await(bridge, QUIPU_NATS_CONNECTED, QUIPU_OK);
}

Test(bridge_state, tells_what_is_wrong_with_a_file_and_goes_on_once_it_is_mended)
{
    struct quipu_error err;
    struct nats_fixture server;
    struct told told = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    struct quipu_bridge *bridge = NULL;
    struct quipu_bridge_options options = QUIPU_BRIDGE_OPTIONS_INIT;
    struct quipu_nats_options nats = QUIPU_NATS_OPTIONS_INIT;
    struct quipu_random random = quipu_random_system();
    char path[2 * TEMP_DIR_BYTES];
    char made[2 * TEMP_DIR_BYTES];
    char seed[QUIPU_NKEY_SEED_TEXT_BYTES];
    nats_fixture_start_plain(&server, NULL);
    nats.url = server.url;
    nats.nkey_file = temp_dir_join(&server.dir, "user.seed", path);
    nats.on_state = note_state;
    nats.on_state_ctx = &told;
    options.nats = &nats;
    enum quipu_status said = quipu_nats_options_check(&nats, &err);
    cr_assert_eq(said, QUIPU_INVALID, "%s", quipu_status_name(said));
    cr_assert_eq(quipu_bridge_open(&options, &bridge, NULL), QUIPU_OK);
    expect_trouble(bridge, &told, QUIPU_INVALID, err.message);

    cr_assert_eq(quipu_nkey_seed_generate(&random, seed, &err), QUIPU_OK);
    FILE *file = fopen(temp_dir_join(&server.dir, "made.seed", made), "w");
    cr_assert_not_null(file);
    cr_assert_eq(fchmod(fileno(file), 0600), 0);
    cr_assert_geq(fputs(seed, file), 0);
    cr_assert_eq(fclose(file), 0);
    cr_assert_eq(rename(made, path), 0); /* whole at once */
    expect_well(bridge);
    cr_assert_eq(quipu_nats_options_check(&nats, &err), QUIPU_OK);
    quipu_bridge_close(&bridge);
    nats_fixture_stop(&server);
}

static const char may_not_subscribe[] =
    "authorization { users = [ { user: host, password: host, permissions: {\n"
    "  publish: \">\", subscribe: [\"_INBOX.>\"] } } ] }\n";
static const char may_subscribe[] =
    "authorization { users = [ { user: host, password: host } ] }\n";
static const char another_password[] =
    "authorization { users = [ { user: host, password: other } ] }\n";

Test(bridge_state, is_not_connected_where_it_may_not_subscribe_or_is_refused)
{
    struct nats_fixture server;
    struct told told = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    struct quipu_bridge *bridge = NULL;
    struct quipu_bridge_subscription subscription = {.subject = "in"};
    struct quipu_bridge_options options = QUIPU_BRIDGE_OPTIONS_INIT;
    struct quipu_nats_options nats = QUIPU_NATS_OPTIONS_INIT;
    nats_fixture_start_plain(&server, another_password);
    nats.url = server.url;
    nats.user = "host";
    nats.password = "host";
    nats.on_state = note_state;
    nats.on_state_ctx = &told;
    options.nats = &nats;
    options.subscriptions = &subscription;
    options.subscription_count = 1;
    cr_assert_eq(quipu_bridge_open(&options, &bridge, NULL), QUIPU_OK);
    expect_trouble(bridge, &told, QUIPU_AUTH, "refuses the credentials");

    nats_fixture_reconfigure(&server, may_not_subscribe);
    expect_trouble(bridge, &told, QUIPU_PERMISSION, "Permissions Violation for Subscription");

    nats_fixture_reconfigure(&server, may_subscribe);
    expect_well(bridge);
    quipu_bridge_close(&bridge);
    nats_fixture_stop(&server);
}

/* A subscription that the server takes away while the connection stays. */
Test(bridge_state, is_not_connected_while_its_subscription_is_taken_away)
{
    struct nats_fixture server;
    struct told told = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    struct quipu_bridge *bridge = NULL;
    struct quipu_bridge_subscription subscription = {.subject = "in"};
    struct quipu_bridge_options options = QUIPU_BRIDGE_OPTIONS_INIT;
    struct quipu_nats_options nats = QUIPU_NATS_OPTIONS_INIT;
    nats_fixture_start_plain(&server, may_subscribe);
    nats.url = server.url;
    nats.user = "host";
    nats.password = "host";
    nats.on_state = note_state;
    nats.on_state_ctx = &told;
    options.nats = &nats;
    options.subscriptions = &subscription;
    options.subscription_count = 1;
    cr_assert_eq(quipu_bridge_open(&options, &bridge, NULL), QUIPU_OK);
    expect_well(bridge);

    nats_fixture_reload(&server, may_not_subscribe);
    expect_trouble(bridge, &told, QUIPU_PERMISSION, "Permissions Violation for Subscription");

    nats_fixture_reload(&server, may_subscribe);
    expect_well(bridge);
    struct quipu_error err;
    struct quipu_message *message = NULL;
    struct quipu_outgoing out = {.subject = "in", .body = quipu_slice_text("here again")};
    cr_assert_eq(quipu_bridge_publish(bridge, &out, &err), QUIPU_OK);
    for (int i = 0; i < TRIES && quipu_bridge_next(bridge, &message) != QUIPU_OK; i++) {
        (void)usleep(10000);
    }
    cr_assert_not_null(message);
    quipu_message_free(message);
    quipu_bridge_close(&bridge);
    nats_fixture_stop(&server);
}

Test(bridge_state, a_connection_that_is_of_no_use_is_told_once_and_is_no_new_one_afterwards)
{
    struct nats_link link;
    struct told told = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    options.on_state = note_state;
    options.on_state_ctx = &told;
    memset(&link, 0, sizeof link);
    quipu_link_init(&link, &options);
    quipu_link_spoil(&link, QUIPU_PERMISSION, "none that stands");
    quipu_link_mend(&link);
    cr_assert_eq(link.now.state, QUIPU_NATS_OFFLINE);
    quipu_link_enter(&link, QUIPU_NATS_CONNECTED, QUIPU_OK, "");
    quipu_link_spoil(&link, QUIPU_PERMISSION, "first");
    quipu_link_spoil(&link, QUIPU_PERMISSION, "second");
    cr_assert_eq(told.errors, 1);
    cr_assert_str_eq(told.line, "first");
    cr_assert_eq(link.now.state, QUIPU_NATS_ERROR);

    quipu_link_mend(&link);

    cr_assert_eq(link.now.state, QUIPU_NATS_CONNECTED);
    cr_assert_eq(link.now.status, QUIPU_OK);
    cr_assert_str_eq(link.now.message, "");
    cr_assert_eq(link.now.connects, 1);
    quipu_link_spoil(&link, QUIPU_PERMISSION, "again");
    cr_assert_eq(told.errors, 2);
    quipu_link_enter(&link, QUIPU_NATS_OFFLINE, QUIPU_OFFLINE, "lost");
    quipu_link_mend(&link);
    cr_assert_eq(link.now.state, QUIPU_NATS_OFFLINE); /* what is lost stays lost */
    quipu_link_release(&link);
}

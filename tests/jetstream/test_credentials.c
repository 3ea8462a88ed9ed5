/*
 * Credentials files against a server that trusts an operator's JWT.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <string.h>

#include "js_kit.h"
#include "jwt_kit.h"

#define CONNECTS 700

static struct nats_fixture server;
static struct jwt_realm realm;
static char creds[2 * TEMP_DIR_BYTES];

static void start(void)
{
    char config[4 * JWT_BYTES];
    jwt_realm_make(&realm);
    jwt_realm_config(&realm, config, sizeof config);
    nats_fixture_start(&server, config);
    temp_dir_join(&server.dir, "user.creds", creds);
}

static void stop(void)
{
    nats_fixture_stop(&server);
}

TestSuite(credentials, .init = start, .fini = stop, .timeout = 60);

static enum quipu_status connect_by_file(struct quipu_nats **nats, struct quipu_error *err)
{
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    options.url = server.url;
    options.credentials_file = creds;
    return quipu_nats_open(&options, nats, err);
}

Test(credentials, let_a_store_provision_and_flush)
{
    struct quipu_error err;
    struct quipu_nats *nats = NULL;
    struct js_store store;
    jwt_user_creds(&realm, 0, creds);
    js_store_open(&store);
    js_store_fill(&store, 20, 50, JS_PAYLOADS_UNIQUE);

    cr_assert_eq(connect_by_file(&nats, &err), QUIPU_OK, "%s", err.message);
    js_provision(nats, 0);
    cr_assert_eq(js_flush(&store, nats).published, 20);

    quipu_nats_close(&nats);
    js_store_release(&store);
}

Test(credentials, of_another_operator_or_expired_are_refused)
{
    struct quipu_error err;
    struct quipu_nats *nats = NULL;
    struct jwt_realm other;
    jwt_realm_make(&other);
    jwt_user_creds(&other, 0, creds);
    cr_assert_eq(connect_by_file(&nats, &err), QUIPU_AUTH);
    cr_assert_not_null(strstr(err.message, "credentials file"));

    jwt_user_creds(&realm, 1700000001, creds);
    cr_assert_eq(connect_by_file(&nats, &err), QUIPU_AUTH);
    cr_assert_null(nats);
}

/* libnats 3.4.1 fails one of 256 signatures; so many connects meet that more than twice. */
Test(credentials, never_fail_for_the_librarys_fault)
{
    struct quipu_error err;
    jwt_user_creds(&realm, 0, creds);
    for (int i = 0; i < CONNECTS; i++) {
        struct quipu_nats *nats = NULL;
        cr_assert_eq(connect_by_file(&nats, &err), QUIPU_OK, "connect %d: %s", i, err.message);
        quipu_nats_close(&nats);
    }
}

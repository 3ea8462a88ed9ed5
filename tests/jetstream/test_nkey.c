/*
 * A seed file that gets another key while a connection made with the old one is in use.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "js_kit.h"
#include "jwt_kit.h"

static void trust(const struct jwt_key *key, char config[256])
{
    (void)snprintf(config, 256, "authorization { users: [ {nkey: %s} ] }\n", key->text);
}

Test(nkey, that_is_replaced_is_taken_at_the_next_connect, .timeout = 60)
{
    struct nats_fixture server;
    struct js_store store;
    struct jwt_key keys[3];
    struct quipu_error err;
    struct quipu_nats *nats = NULL;
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    char path[2 * TEMP_DIR_BYTES];
    char config[256];
    nats_fixture_start(&server, NULL);
    js_store_open(&store);
    temp_dir_join(&server.dir, "user.nk", path);
    jwt_seed_make(&keys[0], path);
    trust(&keys[0], config);
    nats_fixture_reconfigure(&server, config);
    options.url = server.url;
    options.nkey_file = path;
    cr_assert_eq(quipu_nats_open(&options, &nats, &err), QUIPU_OK);
    js_provision(nats, 0);
    js_store_fill(&store, 2, 20, JS_PAYLOADS_UNIQUE);
    cr_assert_eq(js_flush(&store, nats).published, 2);

    cr_assert_eq(remove(path), 0);
    jwt_seed_make(&keys[1], path);
    trust(&keys[1], config);
    nats_fixture_reconfigure(&server, config);
    js_store_fill(&store, 3, 20, JS_PAYLOADS_UNIQUE);
    enum quipu_status status = quipu_flush(store.engine, nats, NULL, NULL, &err);
    cr_assert_eq(status, QUIPU_OK, "%s", status == QUIPU_OK ? "" : err.message);
    cr_assert_eq(js_store_outbox(&store).pending, 0);

    /* One that the server does not know is named, as the one that is in the file. */
    cr_assert_eq(remove(path), 0);
    jwt_seed_make(&keys[2], path);
    nats_fixture_reconfigure(&server, config);
    js_store_fill(&store, 1, 20, JS_PAYLOADS_UNIQUE);
    cr_assert_eq(quipu_flush(store.engine, nats, NULL, NULL, &err), QUIPU_AUTH);
    cr_assert_not_null(strstr(err.message, keys[2].text), "%s", err.message);
    quipu_nats_close(&nats);
    js_store_release(&store);
    nats_fixture_stop(&server);
}

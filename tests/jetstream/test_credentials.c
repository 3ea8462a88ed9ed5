/*
 * Credentials files against a server that trusts an operator's JWT.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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

/* ------------------------------------------------------------------ what the server takes no more
 */

static void expect_outbox_waits(struct js_store *store, uint64_t pending)
{
    struct quipu_outbox_status outbox = js_store_outbox(store);
    cr_assert_eq(outbox.pending, pending);
    cr_assert_eq(outbox.dead, 0);
}

static void restart_with(const struct jwt_realm *trusted)
{
    char config[4 * JWT_BYTES];
    jwt_realm_config(trusted, config, sizeof config);
    nats_fixture_reconfigure(&server, config);
}

Test(credentials, revoked_ones_give_a_clear_state_and_the_outbox_waits)
{
    struct quipu_error err;
    struct quipu_nats *nats = NULL;
    struct quipu_nats_report report;
    struct js_store store;
    struct jwt_user user;
    struct jwt_user_claims claims = {.expires_unix_s = 0};
    jwt_user_make(&realm, &claims, &user);
    jwt_creds_write(&user, creds);
    js_store_open(&store);
    js_store_fill(&store, 30, 50, JS_PAYLOADS_UNIQUE);
    cr_assert_eq(connect_by_file(&nats, &err), QUIPU_OK, "%s", err.message);
    js_provision(nats, 0);

    jwt_realm_revoke(&realm, &user);
    restart_with(&realm);
    cr_assert_eq(quipu_flush(store.engine, nats, NULL, NULL, &err), QUIPU_AUTH, "%s", err.message);

    cr_assert_not_null(strstr(err.message, "revoked"), "%s", err.message);
    cr_assert_not_null(strstr(err.message, user.key.text));
    quipu_nats_state(nats, &report);
    cr_assert_eq(report.state, QUIPU_NATS_ERROR);
    cr_assert_eq(report.status, QUIPU_AUTH);
    cr_assert_str_eq(report.message, err.message);
    expect_outbox_waits(&store, 30);

    /* Another user's file in the same place is all that it takes. */
    jwt_user_creds(&realm, 0, creds);
    cr_assert_eq(js_flush(&store, nats).published, 30);
    quipu_nats_state(nats, &report);
    cr_assert_eq(report.state, QUIPU_NATS_CONNECTED);
    cr_assert_eq(report.status, QUIPU_OK);
    cr_assert_eq(report.refreshes, 1);
    quipu_nats_close(&nats);
    js_store_release(&store);
}

Test(credentials, expired_ones_say_since_when)
{
    struct quipu_error err;
    struct quipu_nats *nats = NULL;
    jwt_user_creds(&realm, 1700000001, creds);
    cr_assert_eq(connect_by_file(&nats, &err), QUIPU_AUTH);
    cr_assert_not_null(strstr(err.message, "expired at 2023-11-14T22:13:21Z"), "%s", err.message);
}

/* ------------------------------------------------------------------ rights */

static struct quipu_nats *connect_allowed(const char *publish)
{
    struct quipu_error err;
    struct quipu_nats *nats = NULL;
    struct jwt_user user;
    struct jwt_user_claims claims = {.publish = publish};
    jwt_user_make(&realm, &claims, &user);
    jwt_creds_write(&user, creds);
    cr_assert_eq(connect_by_file(&nats, &err), QUIPU_OK, "%s", err.message);
    return nats;
}

Test(credentials, publish_rules_are_seen_before_anything_is_sent)
{
    struct quipu_error err;
    struct js_store store;
    js_store_open(&store);
    js_store_fill(&store, 20, 50, JS_PAYLOADS_UNIQUE);
    struct quipu_nats *nats = connect_allowed(NULL);
    js_provision(nats, 0);
    quipu_nats_close(&nats);

    nats = connect_allowed("{\"deny\":[\"cim.keys.key.\\u003e\"]}");
    cr_assert_eq(quipu_flush(store.engine, nats, NULL, NULL, &err), QUIPU_PERMISSION);
    cr_assert_not_null(strstr(err.message, "cim.keys.key.key.used."), "%s", err.message);
    cr_assert_not_null(strstr(err.message, "rule \"cim.keys.key.>\""), "%s", err.message);
    cr_assert_eq(js_store_outbox(&store).pending, 20);
    quipu_nats_close(&nats);

    nats = connect_allowed("{\"allow\":[\"cim.keys.>\",\"$JS.API.>\"]}");
    cr_assert_eq(quipu_flush(store.engine, nats, NULL, NULL, &err), QUIPU_PERMISSION);
    cr_assert_not_null(strstr(err.message, "$O.cim-keys-objects.C."), "%s", err.message);
    expect_outbox_waits(&store, 20);
    quipu_nats_close(&nats);

    nats = connect_allowed("{\"allow\":[\"cim.keys.>\"]}");
    cr_assert_eq(quipu_flush(store.engine, nats, NULL, NULL, &err), QUIPU_PERMISSION);
    cr_assert_not_null(strstr(err.message, "$JS.API.STREAM.INFO.CIM_KEYS_EVENTS"), "%s",
                       err.message);
    cr_assert_eq(quipu_nats_may_publish(nats, "cim.keys.>", &err), QUIPU_OK);
    cr_assert_eq(quipu_nats_may_publish(nats, "cim.other.>", &err), QUIPU_PERMISSION);
    quipu_nats_close(&nats);

    nats = connect_allowed("{\"allow\":[\"cim.keys.>\",\"$JS.API.>\",\"$O.>\"]}");
    cr_assert_eq(js_flush(&store, nats).published, 20);
    quipu_nats_close(&nats);
    js_store_release(&store);
}

/* ------------------------------------------------------------------ files */

Test(credentials, that_others_may_read_are_refused)
{
    struct quipu_error err;
    struct quipu_nats *nats = NULL;
    jwt_user_creds(&realm, 0, creds);
    static const mode_t bad[] = {0640, 0604, 0620, 0601};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_eq(chmod(creds, bad[i]), 0);
        cr_assert_eq(connect_by_file(&nats, &err), QUIPU_PERMISSION, "mode %o", (unsigned)bad[i]);
        cr_assert_not_null(strstr(err.message, "chmod 600"));
    }
    cr_assert_eq(chmod(creds, 0400), 0);
    cr_assert_eq(connect_by_file(&nats, &err), QUIPU_OK);
    quipu_nats_close(&nats);
}

Test(credentials, lie_at_their_usual_place)
{
    struct quipu_error err;
    struct quipu_nats *nats = NULL;
    char folder[2 * TEMP_DIR_BYTES];
    char file[4 * TEMP_DIR_BYTES];
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    options.url = server.url;
    cr_assert_eq(setenv("XDG_CONFIG_HOME", server.dir.path, 1), 0);
    cr_assert_eq(quipu_nats_open(&options, &nats, &err), QUIPU_AUTH, "nobody is let in");

    cr_assert_eq(mkdir(temp_dir_join(&server.dir, "quipu", folder), 0700), 0);
    (void)snprintf(file, sizeof file, "%s/nats.creds", folder);
    jwt_user_creds(&realm, 0, file);
    cr_assert_eq(quipu_nats_open(&options, &nats, &err), QUIPU_OK, "%s", err.message);
    quipu_nats_close(&nats);
    options.credentials_file = "";
    cr_assert_eq(quipu_nats_open(&options, &nats, &err), QUIPU_AUTH, "not even those");

    struct quipu_buf path = QUIPU_BUF_INIT;
    cr_assert_eq(setenv("XDG_CONFIG_HOME", "relative", 1), 0);
    cr_assert_eq(setenv("HOME", "/home/someone", 1), 0);
    cr_assert_eq(quipu_nats_credentials_default(&path, &err), QUIPU_OK);
    cr_assert_str_eq((const char *)path.data, "/home/someone/.config/quipu/nats.creds");
    quipu_buf_release(&path);
    cr_assert_eq(unsetenv("HOME"), 0);
    cr_assert_eq(quipu_nats_credentials_default(&path, &err), QUIPU_NOT_FOUND);
}

Test(credentials, of_two_kinds_are_one_too_many)
{
    struct quipu_error err;
    struct quipu_nats *nats = NULL;
    jwt_user_creds(&realm, 0, creds);
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    options.url = server.url;
    options.credentials_file = creds;
    options.user = "alice";
    cr_assert_eq(quipu_nats_open(&options, &nats, &err), QUIPU_INVALID);
    options.user = NULL;
    options.nkey_file = creds;
    cr_assert_eq(quipu_nats_open(&options, &nats, &err), QUIPU_INVALID);
    options.nkey_file = NULL;
    options.url = "nats://alice:secret@127.0.0.1:4222";
    cr_assert_eq(quipu_nats_open(&options, &nats, &err), QUIPU_INVALID);
    cr_assert_null(strstr(err.message, "secret"));
}

/* ------------------------------------------------------------------ the signing key */

static void copy_file(const char *from, const char *to)
{
    char bytes[256];
    FILE *in = fopen(from, "r");
    FILE *out = fopen(to, "w");
    cr_assert(in != NULL && out != NULL, "%s", from);
    cr_assert_eq(fchmod(fileno(out), 0600), 0);
    size_t len = fread(bytes, 1, sizeof bytes, in);
    cr_assert_eq(fwrite(bytes, 1, len, out), len);
    (void)fclose(in);
    (void)fclose(out);
}

Test(credentials, are_never_the_stores_signing_key)
{
    struct quipu_error err;
    struct quipu_nats *nats = NULL;
    struct js_store store;
    char key[4 * TEMP_DIR_BYTES];
    char copy[2 * TEMP_DIR_BYTES];
    char source[QUIPU_SOURCE_TEXT_BYTES];
    js_store_open(&store);
    cr_assert_eq(quipu_identity_ensure(store.engine, &err), QUIPU_OK);
    cr_assert_eq(quipu_identity_source(store.engine, source, &err), QUIPU_OK);
    (void)snprintf(key, sizeof key, "%s/signing.key", store.path);
    copy_file(key, temp_dir_join(&server.dir, "copy.nk", copy));

    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    options.url = server.url;
    options.nkey_file = copy;
    options.engine = store.engine;
    cr_assert_eq(quipu_nats_open(&options, &nats, &err), QUIPU_INVALID);
    cr_assert_not_null(strstr(err.message, source), "%s", err.message);
    cr_assert_not_null(strstr(err.message, "never connects"));

    options.nkey_file = key; /* and by its name, where no store is given */
    options.engine = NULL;
    cr_assert_eq(quipu_nats_open(&options, &nats, &err), QUIPU_INVALID);
    cr_assert_not_null(strstr(err.message, "never connects"));

    struct jwt_key other; /* another key is none of the store's business */
    options.nkey_file = copy;
    options.engine = store.engine;
    jwt_seed_make(&other, copy);
    cr_assert_eq(quipu_nats_open(&options, &nats, &err), QUIPU_AUTH, "%s", err.message);
    cr_assert_not_null(strstr(err.message, other.text));
    js_store_release(&store);
}

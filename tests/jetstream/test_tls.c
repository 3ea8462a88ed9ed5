/*
 * TLS beside every way to say who we are: none of them puts another out of force.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "js_kit.h"
#include "jwt_kit.h"
#include "tls_kit.h"

static struct nats_fixture server;
static struct jwt_realm realm;
static struct jwt_key nkey;

static char paths[8][2 * TEMP_DIR_BYTES];
enum { CA, CLIENT, CLIENT_KEY, STRANGER, STRANGER_KEY, WRONG_CA, CREDS, SEED };

static void start(void)
{
    static const char *const names[] = {"ca.pem",       "client.pem",  "client.key", "stranger.pem",
                                        "stranger.key", "wrongca.pem", "user.creds", "user.nk"};
    nats_fixture_start(&server, NULL);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        temp_dir_join(&server.dir, names[i], paths[i]);
    }
    jwt_realm_make(&realm);
    jwt_user_creds(&realm, 0, paths[CREDS]);
    jwt_seed_make(&nkey, paths[SEED]);
}

static void stop(void)
{
    nats_fixture_stop(&server);
}

TestSuite(tls, .init = start, .fini = stop, .timeout = 90);

enum way { WAY_NONE, WAY_USER, WAY_TOKEN, WAY_NKEY, WAY_CREDS, WAYS };

static void way_config(enum way way, char *out, size_t cap)
{
    switch (way) {
    case WAY_USER:
        (void)snprintf(out, cap, "authorization { user: alice, password: right }\n");
        return;
    case WAY_TOKEN:
        (void)snprintf(out, cap, "authorization { token: t0ken }\n");
        return;
    case WAY_NKEY:
        (void)snprintf(out, cap, "authorization { users: [ {nkey: %s} ] }\n", nkey.text);
        return;
    case WAY_CREDS:
        jwt_realm_config(&realm, out, cap);
        return;
    case WAY_NONE:
    case WAYS:
        break;
    }
    out[0] = 0;
}

static void way_options(enum way way, struct quipu_nats_options *options)
{
    switch (way) {
    case WAY_USER:
        options->user = "alice";
        options->password = "right";
        return;
    case WAY_TOKEN:
        options->token = "t0ken";
        return;
    case WAY_NKEY:
        options->nkey_file = paths[SEED];
        return;
    case WAY_CREDS:
        options->credentials_file = paths[CREDS];
        return;
    case WAY_NONE:
    case WAYS:
        break;
    }
    options->credentials_file = "";
}

/* A server with that certificate, which asks for a client's where `verifies`. */
static void serve(enum way way, const char *certificate, bool verifies)
{
    char identity[4 * JWT_BYTES];
    char config[5 * JWT_BYTES];
    const char *dir = server.dir.path;
    way_config(way, identity, sizeof identity);
    (void)snprintf(config, sizeof config,
                   "tls { cert_file: \"%s/%s.pem\", key_file: \"%s/%s.key\", ca_file: "
                   "\"%s/ca.pem\", verify: %s }\n%s",
                   dir, certificate, dir, certificate, dir, verifies ? "true" : "false", identity);
    nats_fixture_reconfigure(&server, config);
}

static struct quipu_nats_options options_of(enum way way)
{
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    options.url = server.url;
    options.connect_timeout_us = 2000000;
    way_options(way, &options);
    return options;
}

static enum quipu_status try_open(struct quipu_nats_options options, struct quipu_error *err)
{
    struct quipu_nats *nats = NULL;
    enum quipu_status status = quipu_nats_open(&options, &nats, err);
    quipu_nats_close(&nats);
    return status;
}

static void make_certificates(void)
{
    if (!tls_kit_make(server.dir.path)) {
        cr_skip("openssl is not installed");
    }
}

static void expect(struct quipu_nats_options options, enum quipu_status wanted, enum way way,
                   const char *what)
{
    struct quipu_error err;
    enum quipu_status status = try_open(options, &err);
    cr_assert_eq(status, wanted, "way %d, %s: %s: %s", (int)way, what, quipu_status_name(status),
                 status == QUIPU_OK ? "" : err.message);
    if (status != QUIPU_OK) {
        cr_assert_null(strstr(err.message, "right"));
        cr_assert_null(strstr(err.message, "t0ken"));
        cr_assert_null(strstr(err.message, "SU"));
    }
}

Test(tls, every_option_counts_with_every_way_to_say_who_we_are)
{
    make_certificates();
    for (int i = 0; i < WAYS; i++) {
        enum way way = (enum way)i;
        serve(way, "server", true);

        struct quipu_nats_options good = options_of(way);
        good.tls_ca_file = paths[CA];
        good.tls_cert_file = paths[CLIENT];
        good.tls_key_file = paths[CLIENT_KEY];
        expect(good, QUIPU_OK, way, "all that the server wants");
        good.tls_host = "127.0.0.1";
        expect(good, QUIPU_OK, way, "and the name");

        struct quipu_nats_options bad = good;
        bad.tls_host = "other.example";
        expect(bad, QUIPU_AUTH, way, "a name that the server does not have");
        bad = good;
        bad.tls_ca_file = paths[WRONG_CA];
        expect(bad, QUIPU_AUTH, way, "another CA");
        bad = good;
        bad.tls_cert_file = NULL;
        bad.tls_key_file = NULL;
        struct quipu_error err;
        cr_assert_neq(try_open(bad, &err), QUIPU_OK, "way %d without a client certificate", i);
        bad.tls_cert_file = paths[STRANGER];
        bad.tls_key_file = paths[STRANGER_KEY];
        cr_assert_neq(try_open(bad, &err), QUIPU_OK, "way %d with a stranger's certificate", i);
        if (way != WAY_NONE) {
            bad = good;
            struct quipu_nats_options nobody = options_of(WAY_NONE);
            bad.user = bad.password = bad.token = bad.nkey_file = NULL;
            bad.credentials_file = nobody.credentials_file;
            expect(bad, QUIPU_AUTH, way, "nobody");
        }
    }
}

Test(tls, checks_the_name_that_is_given_and_not_the_urls)
{
    make_certificates();
    serve(WAY_USER, "other", false);
    struct quipu_nats_options options = options_of(WAY_USER);
    options.tls_ca_file = paths[CA];
    expect(options, QUIPU_AUTH, WAY_USER, "the url's host is not the certificate's");
    options.tls_host = "other.example";
    expect(options, QUIPU_OK, WAY_USER, "the name given is");
    options.password = "wrong";
    expect(options, QUIPU_AUTH, WAY_USER, "and the password still counts");
}

Test(tls, a_tls_url_is_never_clear_text)
{
    char url[128];
    struct quipu_error err;
    nats_fixture_reconfigure(&server, "authorization { user: alice, password: right }\n");
    struct quipu_nats_options options = options_of(WAY_USER);
    (void)snprintf(url, sizeof url, "tls://127.0.0.1:%d", server.port);
    options.url = url;
    cr_assert_eq(try_open(options, &err), QUIPU_INVALID, "%s", err.message);
    cr_assert_not_null(strstr(err.message, "TLS"), "%s", err.message);

    make_certificates();
    serve(WAY_USER, "server", false);
    expect(options, QUIPU_AUTH, WAY_USER, "a CA that the system does not know");
    options.tls_ca_file = paths[CA];
    expect(options, QUIPU_OK, WAY_USER, "with the CA");
}

Test(tls, refuses_files_that_are_no_good_before_it_connects)
{
    make_certificates();
    struct quipu_error err;
    struct quipu_nats_options options = options_of(WAY_NONE);
    options.tls_cert_file = paths[CLIENT];
    expect(options, QUIPU_INVALID, WAY_NONE, "a certificate without its key");
    options.tls_key_file = paths[STRANGER_KEY];
    expect(options, QUIPU_INVALID, WAY_NONE, "a key of another certificate");
    options.tls_key_file = paths[CLIENT_KEY];
    options.tls_ca_file = paths[CLIENT_KEY];
    expect(options, QUIPU_INVALID, WAY_NONE, "a CA file without a certificate");
    options.tls_ca_file = paths[CA];
    cr_assert_eq(chmod(paths[CLIENT_KEY], 0644), 0);
    cr_assert_eq(try_open(options, &err), QUIPU_PERMISSION);
    cr_assert_not_null(strstr(err.message, "chmod 600"));
    cr_assert_not_null(strstr(err.message, "client.key"));
}

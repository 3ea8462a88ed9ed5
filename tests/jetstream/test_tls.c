/*
 * TLS beside every way to say who we are: none of them puts another out of force, on the first
 * connect and on every later one.
 *
 * The matrix (way × what the server wants × what the client gives), each with the right identity
 * and with none:
 *
 *     ways     nobody, user, user in the url, token, token in the url, nkey, .creds, host's
 * callback server   clear text, TLS, TLS and a certificate of the client client   nothing, CA, CA
 * and name, CA and certificate, all three
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

enum way {
    WAY_NONE,
    WAY_USER,
    WAY_URL_USER,
    WAY_TOKEN,
    WAY_URL_TOKEN,
    WAY_NKEY,
    WAY_CREDS,
    WAY_HOST,
    WAYS
};

static const char *const way_names[WAYS] = {
    "nobody",           "user", "user in the url", "token",
    "token in the url", "nkey", "creds",           "the host's callback"};

static void way_config(enum way way, char *out, size_t cap)
{
    out[0] = 0;
    switch (way) {
    case WAY_USER:
    case WAY_URL_USER:
        (void)snprintf(out, cap, "authorization { user: alice, password: right }\n");
        break;
    case WAY_TOKEN:
    case WAY_URL_TOKEN:
        (void)snprintf(out, cap, "authorization { token: t0ken }\n");
        break;
    case WAY_NKEY:
        (void)snprintf(out, cap, "authorization { users: [ {nkey: %s} ] }\n", nkey.text);
        break;
    case WAY_CREDS:
    case WAY_HOST:
        jwt_realm_config(&realm, out, cap);
        break;
    case WAY_NONE:
    case WAYS:
        break;
    }
}

static enum quipu_status host_gives(void *ctx, struct quipu_buf *out, struct quipu_error *err)
{
    struct jwt_user user;
    struct jwt_user_claims claims = {.expires_unix_s = 0};
    (void)ctx;
    (void)err;
    jwt_user_make(&realm, &claims, &user);
    jwt_creds_append(&user, user.jwt, out);
    return QUIPU_OK;
}

/* The url of the server as `who` would write it. */
static const char *url_of(const char *who)
{
    static char url[128];
    (void)snprintf(url, sizeof url, "nats://%s127.0.0.1:%d", who, server.port);
    return url;
}

static void way_options(enum way way, struct quipu_nats_options *options)
{
    options->credentials_file = "";
    switch (way) {
    case WAY_USER:
        options->user = "alice";
        options->password = "right";
        break;
    case WAY_URL_USER:
        options->url = url_of("alice:right@");
        break;
    case WAY_TOKEN:
        options->token = "t0ken";
        break;
    case WAY_URL_TOKEN:
        options->url = url_of("t0ken@");
        break;
    case WAY_NKEY:
        options->nkey_file = paths[SEED];
        break;
    case WAY_CREDS:
        options->credentials_file = paths[CREDS];
        break;
    case WAY_HOST:
        options->refresh = host_gives;
        break;
    case WAY_NONE:
    case WAYS:
        break;
    }
}

/* ------------------------------------------------------------------ servers */

enum serving { SERVE_CLEAR, SERVE_TLS, SERVE_VERIFY, SERVINGS };

/* A server with that certificate, which lets this way in. */
static void serve(enum way way, const char *certificate, enum serving serving)
{
    char identity[4 * JWT_BYTES];
    char config[5 * JWT_BYTES];
    const char *dir = server.dir.path;
    way_config(way, identity, sizeof identity);
    if (serving == SERVE_CLEAR) {
        nats_fixture_reconfigure(&server, identity);
        return;
    }
    (void)snprintf(config, sizeof config,
                   "tls { cert_file: \"%s/%s.pem\", key_file: \"%s/%s.key\", ca_file: "
                   "\"%s/ca.pem\", verify: %s }\n%s",
                   dir, certificate, dir, certificate, dir,
                   serving == SERVE_VERIFY ? "true" : "false", identity);
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
    cr_assert_eq(status, wanted, "%s, %s: %s: %s", way_names[way], what, quipu_status_name(status),
                 status == QUIPU_OK ? "" : err.message);
    if (status != QUIPU_OK) {
        cr_assert_null(strstr(err.message, "right"));
        cr_assert_null(strstr(err.message, "t0ken"));
        cr_assert_null(strstr(err.message, "SU"));
    }
}

/* ------------------------------------------------------------------ the matrix */

enum client { GIVES_NOTHING, GIVES_CA, GIVES_NAME, GIVES_CERTIFICATE, GIVES_ALL, CLIENTS };

static const char *const client_names[CLIENTS] = {"nothing", "a CA", "a CA and a name",
                                                  "a CA and a certificate", "all three"};

static struct quipu_nats_options client_options(enum way way, enum client client)
{
    struct quipu_nats_options options = options_of(way);
    bool has_certificate = client == GIVES_CERTIFICATE || client == GIVES_ALL;
    options.tls_ca_file = client == GIVES_NOTHING ? NULL : paths[CA];
    options.tls_host = client == GIVES_NAME || client == GIVES_ALL ? "127.0.0.1" : NULL;
    options.tls_cert_file = has_certificate ? paths[CLIENT] : NULL;
    options.tls_key_file = has_certificate ? paths[CLIENT_KEY] : NULL;
    return options;
}

static bool is_let_in(enum serving serving, enum client client)
{
    switch (serving) {
    case SERVE_CLEAR:
        return client == GIVES_NOTHING; /* whoever wants TLS takes no clear text for it */
    case SERVE_TLS:
        return client != GIVES_NOTHING;
    case SERVE_VERIFY:
        return client == GIVES_CERTIFICATE || client == GIVES_ALL;
    case SERVINGS:
        break;
    }
    return false;
}

static void try_client(enum serving serving, enum way way, enum client client)
{
    struct quipu_error err;
    struct quipu_nats_options options = client_options(way, client);
    if (!is_let_in(serving, client)) {
        cr_assert_neq(try_open(options, &err), QUIPU_OK, "%s with %s at server %d", way_names[way],
                      client_names[client], (int)serving);
        cr_assert_null(strstr(err.message, "right"));
        cr_assert_null(strstr(err.message, "t0ken"));
        return;
    }
    expect(options, QUIPU_OK, way, client_names[client]);
    if (way != WAY_NONE) {
        expect(client_options(WAY_NONE, client), QUIPU_AUTH, way, "and nobody");
    }
    if (client == GIVES_NOTHING) {
        return;
    }
    struct quipu_nats_options bad = options;
    bad.tls_host = "other.example";
    expect(bad, QUIPU_AUTH, way, "a name that the server does not have");
    bad = options;
    bad.tls_ca_file = paths[WRONG_CA];
    expect(bad, QUIPU_AUTH, way, "another CA");
    if (serving == SERVE_VERIFY) {
        bad = options;
        bad.tls_cert_file = paths[STRANGER];
        bad.tls_key_file = paths[STRANGER_KEY];
        cr_assert_neq(try_open(bad, &err), QUIPU_OK, "%s with a stranger's certificate",
                      way_names[way]);
    }
}

static void try_all(enum serving serving)
{
    make_certificates();
    for (int way = 0; way < WAYS; way++) {
        serve((enum way)way, "server", serving);
        for (int client = 0; client < CLIENTS; client++) {
            try_client(serving, (enum way)way, (enum client)client);
        }
    }
}

Test(tls, every_way_and_every_option_at_a_server_in_clear_text)
{
    try_all(SERVE_CLEAR);
}

Test(tls, every_way_and_every_option_at_a_server_with_tls)
{
    try_all(SERVE_TLS);
}

Test(tls, every_way_and_every_option_at_a_server_that_wants_a_certificate)
{
    try_all(SERVE_VERIFY);
}

/* libnats 3.4.1 begins an empty TLS context where options that are in use are changed. */
Test(tls, a_later_connect_checks_and_shows_all_that_the_first_one_did)
{
    make_certificates();
    for (int i = 0; i < WAYS; i++) {
        struct quipu_error err;
        struct quipu_nats *nats = NULL;
        struct quipu_provision_report report;
        enum way way = (enum way)i;
        serve(way, "server", SERVE_VERIFY);
        struct quipu_nats_options options = client_options(way, GIVES_CERTIFICATE);
        cr_assert_eq(quipu_nats_open(&options, &nats, &err), QUIPU_OK, "%s: %s", way_names[way],
                     err.message);
        js_provision(nats, 0);

        jwt_user_creds(&realm, 0, paths[CREDS]); /* another user of the same account */
        serve(way, "server", SERVE_VERIFY);
        js_provision(nats, 0);
        serve(way, "other", SERVE_VERIFY);
        cr_assert_eq(quipu_provision(nats, NULL, &report, &err), QUIPU_AUTH, "%s", way_names[way]);
        serve(way == WAY_NONE ? WAY_USER : WAY_NONE, "server", SERVE_VERIFY);
        if (way == WAY_NONE) {
            cr_assert_eq(quipu_provision(nats, NULL, &report, &err), QUIPU_AUTH);
        } else {
            js_provision(nats, 0); /* a server that asks for nobody's name takes everyone */
        }
        serve(way, "server", SERVE_VERIFY);
        js_provision(nats, 0);
        quipu_nats_close(&nats);
    }
}

/* ------------------------------------------------------------------ names and files */

Test(tls, checks_the_name_that_is_given_and_not_the_urls)
{
    make_certificates();
    serve(WAY_USER, "other", SERVE_TLS);
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
    serve(WAY_USER, "server", SERVE_TLS);
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

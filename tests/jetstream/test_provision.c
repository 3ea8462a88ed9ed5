/*
 * Connecting and provisioning against a real server: every documented status of both.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "js_kit.h"

static struct nats_fixture server;

static void stop(void)
{
    nats_fixture_stop(&server);
}

TestSuite(connect, .fini = stop, .timeout = 60);
TestSuite(provision, .fini = stop, .timeout = 60);

static enum quipu_status try_open(struct quipu_nats_options options, struct quipu_error *err)
{
    struct quipu_nats *nats = NULL;
    options.url = options.url == NULL ? server.url : options.url;
    enum quipu_status status = quipu_nats_open(&options, &nats, err);
    quipu_nats_close(&nats);
    return status;
}

/* ------------------------------------------------------------------ connecting */

Test(connect, says_that_nobody_is_there_and_the_cure)
{
    struct quipu_error err;
    char url[64];
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    (void)snprintf(url, sizeof url, "nats://user:secret@127.0.0.1:%d", nats_fixture_free_port());
    options.url = url;

    cr_assert_eq(try_open(options, &err), QUIPU_OFFLINE);

    cr_assert_not_null(strstr(err.message, "start nats-server"));
    cr_assert_not_null(strstr(err.message, "nats://127.0.0.1:"));
    cr_assert_null(strstr(err.message, "secret"));
}

#define USERS                                                                                      \
    "authorization { users: [ {user: alice, password: right},"                                     \
    " {user: bob, password: right, permissions: {publish: {deny: [\"$JS.API.STREAM.INFO.>\"]}}} ]" \
    " }"

Test(connect, takes_user_and_password_from_options_and_from_the_url)
{
    struct quipu_error err;
    char url[64];
    nats_fixture_start(&server, USERS);
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    options.user = "alice";
    options.password = "right";
    cr_assert_eq(try_open(options, &err), QUIPU_OK);

    options.password = "wrong";
    cr_assert_eq(try_open(options, &err), QUIPU_AUTH);
    cr_assert_not_null(strstr(err.message, "give a user and password"));
    cr_assert_null(strstr(err.message, "wrong"));

    options.user = NULL;
    options.password = NULL;
    cr_assert_eq(try_open(options, &err), QUIPU_AUTH);

    (void)snprintf(url, sizeof url, "nats://alice:right@127.0.0.1:%d", server.port);
    options.url = url;
    cr_assert_eq(try_open(options, &err), QUIPU_OK);
}

Test(connect, takes_a_token)
{
    struct quipu_error err;
    nats_fixture_start(&server, "authorization { token: t0ken }");
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    options.token = "t0ken";
    cr_assert_eq(try_open(options, &err), QUIPU_OK);
    options.token = "other";
    cr_assert_eq(try_open(options, &err), QUIPU_AUTH);
}

Test(connect, refuses_a_credentials_file_that_is_none)
{
    struct quipu_error err;
    char path[2 * TEMP_DIR_BYTES];
    nats_fixture_start(&server, NULL);
    FILE *file = fopen(temp_dir_join(&server.dir, "bad.creds", path), "w");
    cr_assert_not_null(file);
    (void)fputs("this is no JWT\n", file);
    cr_assert_eq(fchmod(fileno(file), 0600), 0);
    (void)fclose(file);
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    options.credentials_file = path;

    cr_assert_eq(try_open(options, &err), QUIPU_INVALID);

    cr_assert_not_null(strstr(err.message, "bad.creds"));
}

/* openssl makes the keys of a test; none lies in the tree. */
static bool make_certificates(void)
{
    char command[2048];
    (void)snprintf(
        command, sizeof command,
        "cd %s && exec 2>/dev/null && openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key "
        "-out "
        "ca.pem -subj /CN=ca -days 2 && openssl req -newkey rsa:2048 -nodes -keyout server.key "
        "-out "
        "server.csr -subj /CN=server && printf subjectAltName=IP:127.0.0.1 > ext && openssl x509 "
        "-req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 "
        "-extfile ext && printf subjectAltName=DNS:other.example > ext && openssl x509 -req -in "
        "server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out other.pem -days 2 -extfile ext "
        "&& "
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout x.key -out wrongca.pem -subj /CN=x "
        "-days "
        "2",
        server.dir.path);
    return system(command) == 0;
}

static void use_certificate(const char *certificate)
{
    char config[1024];
    (void)snprintf(config, sizeof config,
                   "tls { cert_file: \"%s/%s\", key_file: \"%s/server.key\" }\n" USERS,
                   server.dir.path, certificate, server.dir.path);
    nats_fixture_reconfigure(&server, config);
}

Test(connect, uses_tls_with_a_ca_and_checks_the_servers_name)
{
    struct quipu_error err;
    char ca[2 * TEMP_DIR_BYTES];
    char wrong_ca[2 * TEMP_DIR_BYTES];
    nats_fixture_start(&server, NULL);
    if (!make_certificates()) {
        cr_skip("openssl is not installed");
    }
    temp_dir_join(&server.dir, "ca.pem", ca);
    temp_dir_join(&server.dir, "wrongca.pem", wrong_ca);
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    options.user = "alice";
    options.password = "right";

    options.tls_ca_file = ca;
    cr_assert_eq(try_open(options, &err), QUIPU_INVALID, "TLS with a server that has none: %s",
                 err.message);

    use_certificate("server.pem");
    cr_assert_eq(try_open(options, &err), QUIPU_OK, "%s", err.message);
    /* TLS does not put the credentials out of force. */
    options.password = "wrong";
    cr_assert_eq(try_open(options, &err), QUIPU_AUTH);
    cr_assert_not_null(strstr(err.message, "give a user and password"));
    options.password = "right";
    options.tls_ca_file = wrong_ca;
    cr_assert_eq(try_open(options, &err), QUIPU_AUTH);
    cr_assert_not_null(strstr(err.message, "give the CA"));
    options.tls_ca_file = NULL;
    cr_assert_neq(try_open(options, &err), QUIPU_OK);

    use_certificate("other.pem");
    options.tls_ca_file = ca;
    cr_assert_eq(try_open(options, &err), QUIPU_AUTH);
    cr_assert_not_null(strstr(err.message, "name"));
}

/* ------------------------------------------------------------------ provisioning */

Test(provision, makes_what_is_missing_and_then_nothing)
{
    struct quipu_error err;
    struct quipu_provision_report report;
    nats_fixture_start(&server, NULL);
    struct quipu_nats *nats = js_connect(&server);

    cr_assert_eq(quipu_provision(nats, NULL, &report, &err), QUIPU_OK, "%s", err.message);
    cr_assert(report.stream_created && report.bucket_created);
    cr_assert_eq(report.drift.len, 0);

    cr_assert_eq(quipu_provision(nats, NULL, &report, &err), QUIPU_OK);
    cr_assert_not(report.stream_created || report.bucket_created);
    cr_assert_eq(report.drift.len, 0);
    cr_assert_eq(report.stream_messages, 0);
    quipu_nats_close(&nats);
}

static struct quipu_provision_report provision_to_drift(struct quipu_nats *nats,
                                                        struct quipu_provision_options *options)
{
    struct quipu_error err;
    struct quipu_provision_report report;
    cr_assert_eq(quipu_provision(nats, options, &report, &err), QUIPU_DRIFT);
    quipu_buf_append_byte(&report.drift, 0);
    return report;
}

static void expect_line(const struct quipu_provision_report *report, const char *line)
{
    cr_assert_not_null(strstr((const char *)report->drift.data, line), "no \"%s\" in:\n%s", line,
                       (const char *)report->drift.data);
}

/* As somebody else has made it. */
static void make_stream(jsStreamConfig *config)
{
    natsConnection *connection = NULL;
    jsCtx *js = NULL;
    jsStreamInfo *info = NULL;
    cr_assert_eq(natsConnection_ConnectTo(&connection, server.url), NATS_OK);
    cr_assert_eq(natsConnection_JetStream(&js, connection, NULL), NATS_OK);
    cr_assert_eq(js_AddStream(&info, js, config, NULL, NULL), NATS_OK, "%s",
                 nats_GetLastError(NULL));
    jsStreamInfo_Destroy(info);
    jsCtx_Destroy(js);
    natsConnection_Destroy(connection);
}

Test(provision, lists_what_differs_and_changes_nothing)
{
    nats_fixture_start(&server, NULL);
    const char *subjects[] = {"cim.keys.>", "more.>"};
    jsStreamConfig config;
    (void)jsStreamConfig_Init(&config);
    config.Name = QUIPU_STREAM_DEFAULT;
    config.Subjects = subjects;
    config.SubjectsLen = 2;
    config.MaxAge = (int64_t)3600 * 1000000000;
    config.MaxMsgs = 7;
    config.Storage = js_MemoryStorage;
    make_stream(&config);
    struct quipu_nats *nats = js_connect(&server);

    for (int round = 0; round < 2; round++) {
        struct quipu_provision_report report = provision_to_drift(nats, NULL);
        cr_assert_not(report.stream_created);
        expect_line(&report, "stream CIM_KEYS_EVENTS: max_age is 3600 s, quipu would have made it "
                             "0 s\n");
        expect_line(&report, "max_msgs is 7, quipu would have made it -1\n");
        expect_line(&report, "storage is memory, quipu would have made it file\n");
        expect_line(&report, "discard is old, quipu would have made it new\n");
        expect_line(&report, "allow_direct is no, quipu would have made it yes\n");
        expect_line(&report, "subject more.> is more than quipu would have made\n");
        cr_assert_null(strstr((const char *)report.drift.data, "OBJ_"));
        quipu_buf_release(&report.drift);
    }
    quipu_nats_close(&nats);
}

Test(provision, holds_an_option_against_what_is_there)
{
    nats_fixture_start(&server, NULL);
    struct quipu_nats *nats = js_connect(&server);
    js_provision(nats, 1000000);

    struct quipu_provision_report report = provision_to_drift(nats, NULL);

    expect_line(&report, "duplicate_window is 1 s, quipu would have made it 120 s\n");
    quipu_buf_release(&report.drift);
    quipu_nats_close(&nats);
}

Test(provision, says_that_jetstream_is_off)
{
    struct quipu_error err;
    struct quipu_provision_report report;
    nats_fixture_start_plain(&server, NULL);
    struct quipu_nats *nats = js_connect(&server);

    cr_assert_eq(quipu_provision(nats, NULL, &report, &err), QUIPU_SERVER);

    cr_assert_not_null(strstr(err.message, "-js"));
    quipu_nats_close(&nats);
}

Test(provision, says_that_another_stream_has_the_subjects)
{
    struct quipu_error err;
    struct quipu_provision_report report;
    nats_fixture_start(&server, NULL);
    const char *subjects[] = {"cim.>"};
    jsStreamConfig config;
    (void)jsStreamConfig_Init(&config);
    config.Name = "OTHER";
    config.Subjects = subjects;
    config.SubjectsLen = 1;
    make_stream(&config);
    struct quipu_nats *nats = js_connect(&server);

    cr_assert_eq(quipu_provision(nats, NULL, &report, &err), QUIPU_SERVER);

    cr_assert_not_null(strstr(err.message, "another stream"));
    quipu_nats_close(&nats);
}

Test(provision, names_the_permission_that_is_missing)
{
    struct quipu_error err;
    struct quipu_provision_report report;
    nats_fixture_start(&server, USERS);
    struct quipu_nats *nats = NULL;
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    options.url = server.url;
    options.user = "bob";
    options.password = "right";
    options.request_timeout_us = 500000;
    cr_assert_eq(quipu_nats_open(&options, &nats, &err), QUIPU_OK);

    cr_assert_eq(quipu_provision(nats, NULL, &report, &err), QUIPU_PERMISSION, "%s", err.message);

    cr_assert_not_null(strstr(err.message, "$JS.API.STREAM.INFO"), "%s", err.message);
    quipu_nats_close(&nats);
}

Test(provision, gives_up_on_a_server_that_stands_still)
{
    struct quipu_error err;
    struct quipu_provision_report report;
    nats_fixture_start(&server, NULL);
    struct quipu_nats *nats = NULL;
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    options.url = server.url;
    options.request_timeout_us = 300000;
    cr_assert_eq(quipu_nats_open(&options, &nats, &err), QUIPU_OK);
    nats_fixture_pause(&server);

    cr_assert_eq(quipu_provision(nats, NULL, &report, &err), QUIPU_TIMEOUT, "%s", err.message);

    nats_fixture_resume(&server);
    quipu_nats_close(&nats);
}

Test(provision, connects_anew_where_the_server_has_been_away)
{
    struct quipu_error err;
    struct quipu_provision_report report;
    nats_fixture_start(&server, NULL);
    struct quipu_nats *nats = js_connect(&server);
    nats_fixture_kill(&server);
    struct timespec pause = {0, 200 * 1000 * 1000};
    (void)nanosleep(&pause, NULL);
    cr_assert_eq(quipu_provision(nats, NULL, &report, &err), QUIPU_OFFLINE);
    nats_fixture_restart(&server);

    cr_assert_eq(quipu_provision(nats, NULL, &report, &err), QUIPU_OK, "%s", err.message);

    quipu_buf_release(&report.drift);
    quipu_nats_close(&nats);
}

Test(provision, an_audit_log_that_may_lose_events_must_be_asked_for_by_name)
{
    struct quipu_error err;
    struct quipu_provision_report report;
    nats_fixture_start(&server, NULL);
    struct quipu_nats *nats = js_connect(&server);
    struct quipu_provision_options options = QUIPU_PROVISION_OPTIONS_INIT;
    options.max_age_us = (int64_t)60 * 1000000;
    cr_assert_eq(quipu_provision(nats, &options, &report, &err), QUIPU_INVALID);
    cr_assert_not_null(strstr(err.message, "may_lose_events"), "%s", err.message);
    options.max_age_us = 0;
    options.storage = QUIPU_STREAM_MEMORY;
    cr_assert_eq(quipu_provision(nats, &options, &report, &err), QUIPU_INVALID);

    options.may_lose_events = true;
    options.max_age_us = (int64_t)60 * 1000000;
    options.max_events = 1000;
    options.max_bytes = 1 << 20;
    for (int round = 0; round < 2; round++) {
        cr_assert_eq(quipu_provision(nats, &options, &report, &err), QUIPU_OK, "%s", err.message);
        cr_assert_eq(report.stream_created, round == 0);
        cr_assert_not_null(strstr(report.notes, "CIM_KEYS_EVENTS deletes what is older than 60 s"),
                           "%s", report.notes);
        cr_assert_not_null(strstr(report.notes, "CIM_KEYS_EVENTS takes 1000 messages"));
        cr_assert_not_null(strstr(report.notes, "CIM_KEYS_EVENTS takes 1048576 bytes"));
        cr_assert_not_null(strstr(report.notes, "CIM_KEYS_EVENTS is in memory"));
        cr_assert_null(strstr(report.notes, "OBJ_cim-keys-objects deletes"), "payloads stay");
        quipu_buf_release(&report.drift);
    }

    struct quipu_provision_report drift = provision_to_drift(nats, NULL);
    expect_line(&drift, "max_age is 60 s, quipu would have made it 0 s\n");
    expect_line(&drift, "max_msgs is 1000, quipu would have made it -1\n");
    expect_line(&drift, "max_bytes is 1048576, quipu would have made it -1\n");
    expect_line(&drift, "storage is memory, quipu would have made it file\n");
    quipu_buf_release(&drift.drift);
    quipu_nats_close(&nats);
}

Test(provision, notes_say_when_to_reconcile_and_nothing_of_loss_by_default)
{
    struct quipu_error err;
    struct quipu_provision_report report;
    nats_fixture_start(&server, NULL);
    struct quipu_nats *nats = js_connect(&server);

    cr_assert_eq(quipu_provision(nats, NULL, &report, &err), QUIPU_OK);

    cr_assert_not_null(strstr(report.notes, "after a power cut there, reconcile"));
    cr_assert_null(strstr(report.notes, "loses"), "%s", report.notes);
    cr_assert_null(strstr(report.notes, "no more"), "%s", report.notes);
    quipu_buf_release(&report.drift);
    quipu_nats_close(&nats);
}

Test(provision, refuses_numbers_out_of_range)
{
    struct quipu_error err;
    struct quipu_provision_report report;
    nats_fixture_start(&server, NULL);
    struct quipu_nats *nats = js_connect(&server);
    static const struct quipu_provision_options bad[] = {
        {.size = sizeof bad[0], .replicas = 6},
        {.size = sizeof bad[0], .max_age_us = 99999, .may_lose_events = true},
        {.size = sizeof bad[0], .max_age_us = -1, .may_lose_events = true},
        {.size = sizeof bad[0], .max_age_us = INT64_MAX, .may_lose_events = true},
        {.size = sizeof bad[0],
         .max_age_us = 1000000,
         .duplicate_window_us = 1000001,
         .may_lose_events = true},
        {.size = sizeof bad[0], .max_events = (uint64_t)INT64_MAX + 1},
        {.size = sizeof bad[0], .max_bytes = UINT64_MAX},
        {.size = sizeof bad[0], .duplicate_window_us = -1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_eq(quipu_provision(nats, &bad[i], &report, &err), QUIPU_INVALID, "row %zu", i);
    }
    struct quipu_provision_options short_lived = QUIPU_PROVISION_OPTIONS_INIT;
    short_lived.may_lose_events = true;
    short_lived.max_age_us = 100000; /* shorter than the usual duplicate window */
    cr_assert_eq(quipu_provision(nats, &short_lived, &report, &err), QUIPU_OK, "%s", err.message);
    quipu_buf_release(&report.drift);
    quipu_nats_close(&nats);
}

/*
 * The catalogue's projection of current state: what it says of keys, devices, certificates, persons
 * and signatures; payloads that do not fit.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <string.h>

#include "catalogue_kit.h"
#include "quipu/dagjson.h"

TestSuite(catalogue_state, .init = catalogue_kit_open, .fini = catalogue_kit_close);

static enum quipu_status print_row(void *ctx, struct quipu_slice key, struct quipu_slice value,
                                   struct quipu_error *error)
{
    struct quipu_buf *out = ctx;
    quipu_buf_append_slice(out, key);
    quipu_buf_append_byte(out, ' ');
    enum quipu_status status = quipu_dagjson_from_dagcbor(value, out, error);
    quipu_buf_append_byte(out, '\n');
    return status;
}

/* "key value\n" for each row below `prefix`. */
static const char *state(const char *prefix)
{
    quipu_buf_reset(&kit.rows);
    assert_done(quipu_replay(kit.engine, &catalogue_state, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err));
    assert_done(quipu_projection_each_row(kit.engine, "catalogue", text(prefix), print_row,
                                          &kit.rows, &kit.err));
    quipu_buf_append_byte(&kit.rows, 0);
    return (const char *)kit.rows.data;
}

static void put_on_device(const char *serial, const char *key)
{
    assert_done(request(serial, "ada", key));
    assert_done(approve(serial, "bruno"));
    assert_done(provision(serial, key, "9c"));
}

Test(catalogue_state, says_who_holds_which_key_on_which_device)
{
    const struct catalogue_yubikey_retired retired = {.reason = text("broken")};
    make_key("k1");
    make_key("k2");
    make_device("1");
    make_device("2");
    assert_done(request("1", "ada", "k1"));
    cr_assert_str_eq(state("yubikey/1"), "yubikey/1 {\"asked_by\":\"ada\",\"firmware\":\"5.4.3\","
                                         "\"name\":\"YubiKey 5\",\"state\":\"requested\"}\n");
    assert_done(approve("1", "bruno"));
    cr_assert_not_null(strstr(state("yubikey/1"), "\"approved_by\":\"bruno\""));
    assert_done(provision("1", "k1", "9c"));
    put_on_device("2", "k2");

    cr_assert_str_eq(state("held/"),
                     "held/1/9c {\"holder\":\"ada\",\"key\":\"k1\",\"state\":\"in use\"}\n"
                     "held/2/9c {\"holder\":\"ada\",\"key\":\"k2\",\"state\":\"in use\"}\n");
    cr_assert_str_eq(state("yubikey/1"),
                     "yubikey/1 {\"firmware\":\"5.4.3\",\"name\":\"YubiKey 5\",\"slots\":{\"9c\":"
                     "\"k1\"},\"state\":\"provisioned\"}\n");

    assert_done(revoke_key("k1"));
    append(CATALOGUE_YUBIKEY_RETIRED, "2", &retired);

    cr_assert_str_eq(state("held/"),
                     "held/1/9c {\"holder\":\"ada\",\"key\":\"k1\",\"state\":\"revoked\"}\n");
    cr_assert_not_null(strstr(state("key/k1"), "\"state\":\"revoked\""));
    cr_assert_not_null(strstr(state("key/k1"), "\"yubikey\":\"1\""));
    cr_assert_str_eq(state("yubikey/2"),
                     "yubikey/2 {\"firmware\":\"5.4.3\",\"name\":\"YubiKey 5\",\"reason\":"
                     "\"broken\",\"state\":\"retired\"}\n");
}

Test(catalogue_state, says_which_certificates_are_valid_until_when)
{
    const struct catalogue_certificate_revoked revoked = {.reason = text("moved")};
    make_key("root");
    make_key("k");
    assert_done(issue("root", "root", "root", 5000000));
    assert_done(issue("k", "k", "root", 2000000));

    cr_assert_str_eq(state("expires/"),
                     "expires/1970-01-01T00:00:02Z/k {\"issuer\":\"root\",\"key\":\"k\","
                     "\"not_before\":1000000}\n"
                     "expires/1970-01-01T00:00:05Z/root {\"issuer\":\"root\",\"key\":\"root\","
                     "\"not_before\":1000000}\n");
    cr_assert_null(strstr(state("certificate/k"), "signature"));

    append(CATALOGUE_CERTIFICATE_REVOKED, "k", &revoked);
    cr_assert_null(strstr(state("expires/"), "/k "));
    assert_done(issue("k", "k", "root", 7000000)); /* again, under its old name */
    cr_assert_not_null(strstr(state("expires/"), "expires/1970-01-01T00:00:07Z/k "));
    cr_assert_not_null(strstr(state("certificate/k"), "\"state\":\"valid\""));
}

Test(catalogue_state, says_who_signed_what)
{
    const struct catalogue_nats_operator_created operator= {
        .name = text("O"), .key = text("ok"), .nkey = text("OAAA")};
    const struct catalogue_nats_account_created account = {.name = text("A"),
                                                           .key = text("ak"),
                                                           .nkey = text("AAAA"),
                                                           .issuer = text("op"),
                                                           .signed_by = text("OAAA")};
    const struct catalogue_nats_user_created user = {.name = text("U"),
                                                     .key = text("uk"),
                                                     .nkey = text("UAAA"),
                                                     .issuer = text("acc"),
                                                     .signed_by = text("AAAA")};
    append(CATALOGUE_NATS_OPERATOR_CREATED, "op", &operator);
    append(CATALOGUE_NATS_ACCOUNT_CREATED, "acc", &account);
    append(CATALOGUE_NATS_USER_CREATED, "usr", &user);

    cr_assert_str_eq(state("signed/"),
                     "signed/acc/usr {\"kind\":\"nats_user\",\"nkey\":\"UAAA\",\"signed_by\":"
                     "\"AAAA\"}\n"
                     "signed/op/acc {\"kind\":\"nats_account\",\"nkey\":\"AAAA\",\"signed_by\":"
                     "\"OAAA\"}\n");
}

Test(catalogue_state, keeps_later_fields_over_earlier_ones)
{
    const struct catalogue_person_added added = {.name = text("Ada"), .organization = text("org")};
    const struct catalogue_person_role_granted first = {.role = text("witness"),
                                                        .ceremony = text("c1")};
    const struct catalogue_person_role_granted second = {.role = text("officer")};
    const struct catalogue_person_left left = {.reason = text("retired")};
    append(CATALOGUE_PERSON_ADDED, "ada", &added);
    append(CATALOGUE_PERSON_ROLE_GRANTED, "ada", &first);
    append(CATALOGUE_PERSON_ROLE_GRANTED, "ada", &second);
    append(CATALOGUE_PERSON_LEFT, "ada", &left);

    cr_assert_str_eq(state("person/"),
                     "person/ada {\"ceremony\":\"c1\",\"name\":\"Ada\",\"organization\":\"org\","
                     "\"reason\":\"retired\",\"role\":\"officer\",\"state\":\"left\"}\n");
}

/* Another store may have recorded anything under these names. */
Test(catalogue_state, notes_a_payload_that_does_not_fit_and_goes_on)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct quipu_event event = catalogue_event(CATALOGUE_KEY_GENERATED, "odd");
    quipu_engine_close(&kit.engine);
    assert_done(quipu_engine_open(kit.store, NULL, &kit.engine, &kit.err));
    assert_done(quipu_dagjson_to_dagcbor(text("{\"name\":7}"), &block, &kit.err));
    event.payload = quipu_buf_slice(&block);
    assert_done(quipu_append(kit.engine, &event, NULL, &kit.err));
    event.aggregate.type = "yubikey"; /* not the type's aggregate: none of the catalogue's */
    assert_done(quipu_append(kit.engine, &event, NULL, &kit.err));
    make_key("good");

    cr_assert_str_eq(state("unfit/"), "unfit/key/odd {\"event_type\":\"key.generated\",\"why\":"
                                      "\"key.generated: name must be text\"}\n");
    cr_assert_not_null(strstr(state("key/"), "key/good {"));
    cr_assert_null(strstr(state("key/"), "odd"));
    quipu_buf_release(&block);
}

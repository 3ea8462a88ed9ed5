/*
 * Reading user JWTs and holding subjects against their rules; no server.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "credentials.h"
#include "jwt_kit.h"

static struct jwt_realm realm;
static struct jwt_user user;

static void make(void)
{
    struct jwt_user_claims claims = {.expires_unix_s = 1800000000};
    jwt_realm_make(&realm);
    jwt_user_make(&realm, &claims, &user);
}

TestSuite(user_jwt, .init = make);
TestSuite(credentials_text, .init = make);

static enum quipu_status read_text(const char *text, struct quipu_error *err)
{
    struct user_jwt jwt;
    enum quipu_status status = quipu_user_jwt_read(quipu_slice_text(text), &jwt, err);
    if (status == QUIPU_OK) {
        quipu_user_jwt_release(&jwt);
    }
    return status;
}

Test(user_jwt, says_whose_it_is_and_until_when)
{
    struct quipu_error err;
    struct user_jwt jwt;
    cr_assert_eq(quipu_user_jwt_read(quipu_slice_text(user.jwt), &jwt, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_str_eq(jwt.subject, user.key.text);
    cr_assert_eq(jwt.expires_unix_us, INT64_C(1800000000000000));
    cr_assert_eq(jwt.issued_unix_us, INT64_C(1700000000000000));
    cr_assert(quipu_rules_are_empty(&jwt.publish));
    quipu_user_jwt_release(&jwt);
}

Test(user_jwt, cut_off_or_changed_in_its_form_is_refused_at_every_length)
{
    struct quipu_error err;
    char text[JWT_BYTES];
    size_t len = strlen(user.jwt);
    for (size_t keep = 0; keep < len; keep++) {
        memcpy(text, user.jwt, keep);
        text[keep] = 0;
        cr_assert_eq(read_text(text, &err), QUIPU_INVALID, "%zu of %zu bytes", keep, len);
        cr_assert_not_null(strstr(err.message, "get a new one"));
    }
    (void)snprintf(text, sizeof text, "%s.", user.jwt);
    cr_assert_eq(read_text(text, &err), QUIPU_INVALID);
    (void)snprintf(text, sizeof text, "%s=", user.jwt);
    cr_assert_eq(read_text(text, &err), QUIPU_INVALID, "padding");
}

/* Claims with the public keys put in: %1$s the issuer's, %2$s the user's. */
struct claims_row {
    const char *format;
    const char *what;
};

#define REST "\"nats\":{\"type\":\"user\",\"version\":2}}"

static const struct claims_row bad_claims[] = {
    {"{\"iss\":\"%1$s\",\"sub\":\"%2$s\",\"sub\":\"%2$s\"," REST, "a key twice"},
    {"{\"iss\":\"%1$s\",\"sub\":\"%2$s\",\"exp\":1.5," REST, "a fraction"},
    {"{\"iss\":\"%1$s\",\"sub\":\"%2$s\",\"exp\":-1," REST, "a negative time"},
    {"{\"iss\":\"%1$s\",\"sub\":\"%2$s\",\"exp\":\"1800000000\"," REST, "a time as text"},
    {"{\"iss\":\"%1$s\",\"sub\":\"%2$s\",\"exp\":9223372036855," REST, "a time beyond our numbers"},
    {"{\"iss\":\"%1$s\",\"sub\":\"%1$s\"," REST, "an account as the user"},
    {"{\"iss\":\"%2$s\",\"sub\":\"%2$s\"," REST, "a user as the issuer"},
    {"{\"iss\":\"%1$s\"," REST, "no subject"},
    {"{\"sub\":\"%2$s\"," REST, "no issuer"},
    {"{\"iss\":\"%1$s\",\"sub\":\"%2$s\"}", "nothing of NATS"},
    {"{\"iss\":\"%1$s\",\"sub\":\"%2$s\",\"nats\":{\"type\":\"account\"}}", "an account's"},
    {"{\"iss\":\"%1$s\",\"sub\":\"%2$s\",\"nats\":{\"type\":\"user\",\"pub\":{\"allow\":\"a\"}}}",
     "a rule that is no list"},
    {"{\"iss\":\"%1$s\",\"sub\":\"%2$s\",\"nats\":{\"type\":\"user\",\"pub\":{\"deny\":[1]}}}",
     "a rule that is no subject"},
    {"{\"iss\":\"%1$s\",\"sub\":\"%2$s\",\"nats\":{\"type\":\"user\",\"pub\":{\"deny\":[\"\"]}}}",
     "an empty rule"},
    {"[]", "a list"},
    {"{\"iss\":\"%1$s\",\"sub\":\"%2$s\"," REST " ]", "something behind it"},
};

static const struct claims_row good_claims[] = {
    {"{\"iss\":\"%1$s\",\"sub\":\"%2$s\"," REST, "no expiry"},
    {"{\"iss\":\"%1$s\",\"sub\":\"%2$s\",\"exp\":0," REST, "0: no expiry"},
    {"{\"iss\":\"%1$s\",\"sub\":\"%2$s\",\"type\":\"user\",\"nats\":{}}", "version 1"},
    {"{\"iss\":\"%1$s\",\"sub\":\"%2$s\",\"nats\":{\"type\":\"user\",\"pub\":{\"allow\":null}}}",
     "null as Go writes an empty list"},
};

static enum quipu_status read_claims(const char *format, struct quipu_error *err)
{
    char claims[JWT_BYTES];
    char jwt[JWT_BYTES];
    size_t used = 0;
    for (const char *p = format; *p != 0;) {
        const char *put = NULL;
        if (strncmp(p, "%1$s", 4) == 0) {
            put = realm.account_key.text;
        } else if (strncmp(p, "%2$s", 4) == 0) {
            put = user.key.text;
        }
        if (put != NULL) {
            memcpy(claims + used, put, strlen(put));
            used += strlen(put);
            p += 4;
        } else {
            claims[used++] = *p++;
        }
    }
    claims[used] = 0;
    jwt_sign(&realm.account_key, claims, jwt);
    return read_text(jwt, err);
}

Test(user_jwt, of_other_claims_is_refused)
{
    struct quipu_error err;
    for (size_t i = 0; i < sizeof bad_claims / sizeof bad_claims[0]; i++) {
        cr_expect_eq(read_claims(bad_claims[i].format, &err), QUIPU_INVALID, "%s",
                     bad_claims[i].what);
    }
    for (size_t i = 0; i < sizeof good_claims / sizeof good_claims[0]; i++) {
        cr_expect_eq(read_claims(good_claims[i].format, &err), QUIPU_OK, "%s", good_claims[i].what);
    }
}

/* ------------------------------------------------------------------ rules */

struct rule_row {
    const char *publish;
    const char *subject;
    enum quipu_status status;
};

static const struct rule_row rule_rows[] = {
    {"{}", "cim.keys.key.made.x", QUIPU_OK},
    {"{\"allow\":[]}", "cim.keys.key.made.x", QUIPU_OK},
    {"{\"allow\":[\"cim.keys.\\u003e\"]}", "cim.keys.key.made.x", QUIPU_OK}, /* as Go escapes > */
    {"{\"allow\":[\"cim.keys.>\"]}", "cim.keys", QUIPU_PERMISSION},
    {"{\"allow\":[\"cim.keys.>\"]}", "$O.b.C.x", QUIPU_PERMISSION},
    {"{\"allow\":[\"a\",\"$O.b.>\"]}", "$O.b.C.x", QUIPU_OK},
    {"{\"allow\":[\"cim.*.key.>\"]}", "cim.keys.key.made.x", QUIPU_OK},
    {"{\"allow\":[\"cim.*.key.>\"]}", "cim.keys.>", QUIPU_PERMISSION},
    {"{\"deny\":[\"cim.keys.root.>\"]}", "cim.keys.key.made.x", QUIPU_OK},
    {"{\"deny\":[\"cim.keys.root.>\"]}", "cim.keys.root.made.x", QUIPU_PERMISSION},
    {"{\"deny\":[\"cim.keys.root.>\"]}", "cim.keys.>", QUIPU_PERMISSION},
    {"{\"deny\":[\"cim.*\"]}", "cim.keys", QUIPU_PERMISSION},
    {"{\"deny\":[\"cim.*\"]}", "cim.keys.x", QUIPU_OK},
    {"{\"allow\":[\">\"],\"deny\":[\"x\"]}", "x", QUIPU_PERMISSION},
    {"{\"allow\":[\">\"],\"deny\":[\"x\"]}", "y", QUIPU_OK},
};

Test(user_jwt, allows_and_denies_subjects)
{
    for (size_t i = 0; i < sizeof rule_rows / sizeof rule_rows[0]; i++) {
        const struct rule_row *row = &rule_rows[i];
        struct quipu_error err;
        struct user_jwt jwt;
        struct jwt_user_claims claims = {.publish = row->publish};
        jwt_user_make(&realm, &claims, &user);
        cr_assert_eq(quipu_user_jwt_read(quipu_slice_text(user.jwt), &jwt, &err), QUIPU_OK, "%s",
                     err.message);
        enum quipu_status status = quipu_rules_check(&jwt.publish, row->subject, &err);
        cr_expect_eq(status, row->status, "%s with %s", row->subject, row->publish);
        if (status == QUIPU_PERMISSION) {
            cr_expect_not_null(strstr(err.message, row->subject));
            cr_expect_not_null(strstr(err.message, "rule"));
        }
        quipu_user_jwt_release(&jwt);
    }
}

/* ------------------------------------------------------------------ .creds */

/* In messages no ten characters of it, nor of one that is nearly it. */
static char seed_end[11];

static enum quipu_status parse(const char *text, struct quipu_error *err)
{
    struct nats_credentials credentials;
    enum quipu_status status =
        quipu_credentials_parse(quipu_slice_text(text), "the file", &credentials, err);
    if (status == QUIPU_OK) {
        cr_assert_str_eq(credentials.public_text, user.key.text);
        cr_assert_str_eq((const char *)credentials.jwt.data, user.jwt);
        quipu_credentials_release(&credentials);
        cr_assert_eq(credentials.seed[0], 0);
    } else {
        cr_assert(seed_end[0] == 0 || strstr(err->message, seed_end) == NULL, "%s", err->message);
    }
    return status;
}

Test(credentials_text, is_one_jwt_and_its_seed)
{
    struct quipu_error err;
    struct quipu_buf text = QUIPU_BUF_INIT;
    jwt_creds_append(&user, user.jwt, &text);
    quipu_buf_append_byte(&text, 0);
    cr_assert_eq(parse((const char *)text.data, &err), QUIPU_OK, "%s", err.message);

    struct jwt_user other;
    struct jwt_user_claims claims = {.expires_unix_s = 0};
    jwt_user_make(&realm, &claims, &other);
    quipu_buf_reset(&text);
    jwt_creds_append(&user, other.jwt, &text);
    quipu_buf_append_byte(&text, 0);
    cr_assert_eq(parse((const char *)text.data, &err), QUIPU_INVALID);
    cr_assert_not_null(strstr(err.message, other.key.text));
    cr_assert_not_null(strstr(err.message, user.key.text));
    quipu_buf_release(&text);
}

Test(credentials_text, is_refused_at_every_length_and_with_any_bit_of_the_seed_changed)
{
    struct quipu_error err;
    struct quipu_buf text = QUIPU_BUF_INIT;
    jwt_creds_append(&user, user.jwt, &text);
    quipu_buf_append_byte(&text, 0);
    char *bytes = (char *)text.data;
    char *seed = strstr(bytes, "\nSU") + 1;
    memcpy(seed_end, seed + SEED_TEXT_CHARS - 10, 10);
    for (size_t i = 0; i < SEED_TEXT_CHARS; i++) {
        char before = seed[i];
        seed[i] = before == 'A' ? 'B' : 'A';
        cr_assert_eq(parse(bytes, &err), QUIPU_INVALID, "character %zu", i);
        seed[i] = before;
    }
    size_t whole = (size_t)(seed - bytes) + SEED_TEXT_CHARS + 4; /* and the line of dashes */
    for (size_t keep = 0; keep < whole; keep++) {
        char before = bytes[keep];
        bytes[keep] = 0;
        cr_assert_eq(parse(bytes, &err), QUIPU_INVALID, "%zu bytes", keep);
        bytes[keep] = before;
    }
    quipu_buf_release(&text);
}

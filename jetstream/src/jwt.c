/*
 * Reads a NATS user JWT strictly: the claims go through the strict JSON reader into DAG-CBOR, so
 * that an escaped character or a key twice cannot make us see something else than the server does.
 * Verifies no signature, and holds no secret: a JWT is sent in clear.
 *
 * Specification: docs.nats.io, JWT (versions 1 and 2); docs/SPEC.md §10.11.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "jwt.h"

#include <string.h>

#include "quipu/dagcbor.h"
#include "quipu/dagjson.h"
#include "quipu/multibase.h"
#include "subject.h"

#define CBOR_NULL     0xf6 /* as Go writes what is not there */
#define US_PER_S      1000000
#define PARTS         3
#define RULES_MAX     4096
#define SIGNATURE_LEN 64

static enum quipu_status malformed(struct quipu_error *err, const char *what)
{
    return quipu_error_set(err, QUIPU_INVALID, "user JWT: %s; get a new one from whoever issued it",
                           what);
}

/* "header.claims.signature"; false where there are not exactly three parts. */
static bool split(struct quipu_slice text, struct quipu_slice parts[PARTS])
{
    for (int i = 0; i < PARTS; i++) {
        const uint8_t *dot = text.len == 0 ? NULL : memchr(text.data, '.', text.len);
        bool is_last = i == PARTS - 1;
        if (is_last != (dot == NULL)) {
            return false;
        }
        size_t len = is_last ? text.len : (size_t)(dot - text.data);
        if (len == 0) {
            return false;
        }
        parts[i] = quipu_slice(text.data, len);
        text = is_last ? quipu_slice(NULL, 0) : quipu_slice(dot + 1, text.len - len - 1);
    }
    return true;
}

static enum quipu_status base64url(struct quipu_slice part, struct quipu_buf *out)
{
    enum quipu_base base;
    struct quipu_buf text = QUIPU_BUF_INIT;
    quipu_buf_append_byte(&text, 'u'); /* multibase's letter for it */
    quipu_buf_append_slice(&text, part);
    enum quipu_status status = text.status;
    if (status == QUIPU_OK) {
        status = quipu_multibase_decode(quipu_buf_slice(&text), &base, out, NULL);
    }
    quipu_buf_release(&text);
    return status;
}

/* A part as DAG-CBOR. @retval QUIPU_NO_MEMORY, QUIPU_INVALID */
static enum quipu_status part_read(struct quipu_slice part, const char *name, struct quipu_buf *out,
                                   struct quipu_error *err)
{
    struct quipu_error detail;
    struct quipu_buf json = QUIPU_BUF_INIT;
    enum quipu_status status = base64url(part, &json);
    if (status == QUIPU_OK) {
        status = quipu_dagjson_to_dagcbor(quipu_buf_slice(&json), out, &detail);
    }
    quipu_buf_release(&json);
    if (status == QUIPU_OK || status == QUIPU_NO_MEMORY) {
        return status == QUIPU_OK
                   ? QUIPU_OK
                   : quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory reading a JWT");
    }
    return quipu_error_set(err, QUIPU_INVALID,
                           "user JWT: its %s is not base64url of JSON; get a new one from whoever "
                           "issued it",
                           name);
}

/* Text of a member; false where it is absent or something else. */
static bool member_text(struct quipu_slice map, const char *key, struct quipu_slice *out)
{
    struct quipu_slice value;
    struct quipu_dagcbor_reader reader;
    if (quipu_dagcbor_map_get(map, key, &value, NULL) != QUIPU_OK) {
        return false;
    }
    quipu_dagcbor_reader_init(&reader, value);
    return quipu_dagcbor_read_text(&reader, out, NULL) == QUIPU_OK;
}

static bool member_is(struct quipu_slice map, const char *key, const char *wanted)
{
    struct quipu_slice text;
    return member_text(map, key, &text) && quipu_slice_equal(text, quipu_slice_text(wanted));
}

/* Seconds since 1970 as microseconds; 0 where absent. */
static enum quipu_status member_time(struct quipu_slice map, const char *key, int64_t *out,
                                     struct quipu_error *err)
{
    struct quipu_slice value;
    struct quipu_dagcbor_reader reader;
    uint64_t seconds = 0;
    *out = 0;
    if (quipu_dagcbor_map_get(map, key, &value, NULL) != QUIPU_OK) {
        return QUIPU_OK;
    }
    quipu_dagcbor_reader_init(&reader, value);
    if (quipu_dagcbor_read_uint(&reader, &seconds, NULL) != QUIPU_OK ||
        seconds > (uint64_t)(INT64_MAX / US_PER_S)) {
        return malformed(err, "a time in it is not whole seconds since 1970");
    }
    *out = (int64_t)seconds * US_PER_S;
    return QUIPU_OK;
}

/* nats.pub.allow or .deny. Absent, or null, as Go writes an empty list: no rules. */
static enum quipu_status rules_read(struct quipu_slice permission, const char *key,
                                    struct quipu_buf *out, struct quipu_error *err)
{
    struct quipu_slice value;
    struct quipu_dagcbor_reader reader;
    struct quipu_dagcbor_item first;
    if (quipu_dagcbor_map_get(permission, key, &value, NULL) != QUIPU_OK) {
        return QUIPU_OK;
    }
    quipu_dagcbor_reader_init(&reader, value);
    if (quipu_dagcbor_next(&reader, &first, NULL) != QUIPU_OK) {
        return malformed(err, "its permissions cannot be read");
    }
    if (first.kind == QUIPU_DAGCBOR_NULL) {
        return QUIPU_OK;
    }
    if (first.kind != QUIPU_DAGCBOR_LIST || first.number > RULES_MAX) {
        return malformed(err, "its permissions are no list of subjects, or too long a one");
    }
    for (uint64_t i = 0; i < first.number; i++) {
        struct quipu_slice subject;
        if (quipu_dagcbor_read_text(&reader, &subject, NULL) != QUIPU_OK || subject.len == 0 ||
            memchr(subject.data, 0, subject.len) != NULL) {
            return malformed(err, "its permissions hold something else than subjects");
        }
        quipu_buf_append_slice(out, subject);
        quipu_buf_append_byte(out, 0);
    }
    return out->status == QUIPU_OK
               ? QUIPU_OK
               : quipu_error_set(err, out->status, "out of memory reading permissions");
}

static enum quipu_status who_read(struct quipu_slice claims, struct quipu_slice nats,
                                  struct user_jwt *out, struct quipu_error *err)
{
    struct quipu_slice subject;
    struct quipu_slice issuer;
    uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES];
    /* Version 1 has its type beside the claims, version 2 among them. */
    if (!member_is(nats, "type", "user") && !member_is(claims, "type", "user")) {
        return malformed(err, "it is not a user's");
    }
    if (!member_text(claims, "sub", &subject) ||
        quipu_source_public_key(subject, public_key, NULL) != QUIPU_OK) {
        return malformed(err, "its subject is not a user's public key (U…)");
    }
    if (!member_text(claims, "iss", &issuer) || issuer.len != subject.len ||
        issuer.data[0] != 'A') {
        return malformed(err, "its issuer is not an account (A…)");
    }
    memcpy(out->subject, subject.data, subject.len);
    out->subject[subject.len] = 0;
    return QUIPU_OK;
}

static enum quipu_status claims_read(struct quipu_slice claims, struct user_jwt *out,
                                     struct quipu_error *err)
{
    struct quipu_slice nats;
    struct quipu_slice permission;
    if (quipu_dagcbor_map_get(claims, "nats", &nats, NULL) != QUIPU_OK) {
        return malformed(err, "it is not one of NATS");
    }
    enum quipu_status status = who_read(claims, nats, out, err);
    if (status == QUIPU_OK) {
        status = member_time(claims, "iat", &out->issued_unix_us, err);
    }
    if (status == QUIPU_OK) {
        status = member_time(claims, "exp", &out->expires_unix_us, err);
    }
    if (status == QUIPU_OK && quipu_dagcbor_map_get(nats, "pub", &permission, NULL) == QUIPU_OK) {
        status = rules_read(permission, "allow", &out->publish.allow, err);
        if (status == QUIPU_OK) {
            status = rules_read(permission, "deny", &out->publish.deny, err);
        }
    }
    out->may_respond = quipu_dagcbor_map_get(nats, "resp", &permission, NULL) == QUIPU_OK &&
                       !(permission.len == 1 && permission.data[0] == CBOR_NULL);
    return status;
}

enum quipu_status quipu_user_jwt_read(struct quipu_slice text, struct user_jwt *out,
                                      struct quipu_error *err)
{
    struct quipu_slice parts[PARTS];
    struct quipu_buf header = QUIPU_BUF_INIT;
    struct quipu_buf claims = QUIPU_BUF_INIT;
    struct quipu_buf signature = QUIPU_BUF_INIT;
    struct user_jwt jwt;
    memset(&jwt, 0, sizeof jwt);
    if (text.len > JWT_BYTES_MAX || !split(text, parts)) {
        return malformed(err, "it does not have three parts, or is too long");
    }
    enum quipu_status status = part_read(parts[0], "header", &header, err);
    if (status != QUIPU_OK) {
        goto done;
    }
    struct quipu_slice head = quipu_buf_slice(&header);
    if (!(member_is(head, "typ", "JWT") || member_is(head, "typ", "jwt")) ||
        !(member_is(head, "alg", "ed25519-nkey") || member_is(head, "alg", "ed25519"))) {
        status = malformed(err, "its header says neither JWT nor Ed25519");
        goto done;
    }
    status = part_read(parts[1], "body", &claims, err);
    if (status != QUIPU_OK) {
        goto done;
    }
    if (base64url(parts[2], &signature) != QUIPU_OK || signature.len != SIGNATURE_LEN) {
        status = malformed(err, "its signature is cut off");
        goto done;
    }
    status = claims_read(quipu_buf_slice(&claims), &jwt, err);

done:
    if (status == QUIPU_OK) {
        *out = jwt;
    } else {
        quipu_user_jwt_release(&jwt);
    }
    quipu_buf_release(&header);
    quipu_buf_release(&claims);
    quipu_buf_release(&signature);
    return status;
}

void quipu_user_jwt_release(struct user_jwt *jwt)
{
    quipu_rules_release(&jwt->publish);
    memset(jwt, 0, sizeof *jwt);
}

/* ------------------------------------------------------------------ rules */

bool quipu_rules_are_empty(const struct subject_rules *rules)
{
    return rules->allow.len == 0 && rules->deny.len == 0;
}

enum quipu_status quipu_rules_copy(const struct subject_rules *from, struct subject_rules *into,
                                   struct quipu_error *err)
{
    struct subject_rules made = {QUIPU_BUF_INIT, QUIPU_BUF_INIT};
    quipu_buf_append_slice(&made.allow, quipu_buf_slice(&from->allow));
    quipu_buf_append_slice(&made.deny, quipu_buf_slice(&from->deny));
    if (made.allow.status != QUIPU_OK || made.deny.status != QUIPU_OK) {
        quipu_rules_release(&made);
        return quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory copying permissions");
    }
    quipu_rules_release(into);
    *into = made;
    return QUIPU_OK;
}

void quipu_rules_release(struct subject_rules *rules)
{
    quipu_buf_release(&rules->allow);
    quipu_buf_release(&rules->deny);
}

/* The first rule for which `meets` holds, or NULL. */
static const char *rule_find(const struct quipu_buf *rules, const char *subject,
                             bool (*meets)(const char *rule, const char *subject))
{
    for (size_t at = 0; at < rules->len;) {
        const char *rule = (const char *)rules->data + at;
        if (meets(rule, subject)) {
            return rule;
        }
        at += strlen(rule) + 1;
    }
    return NULL;
}

enum quipu_status quipu_rules_check(const struct subject_rules *rules, const char *subject,
                                    struct quipu_error *err)
{
    const char *rule = rule_find(&rules->deny, subject, quipu_subjects_meet);
    if (rule != NULL) {
        return quipu_error_set(err, QUIPU_PERMISSION,
                               "publishing to %.150s is denied by the rule \"%.150s\" in this "
                               "user's JWT; get credentials without it, or connect as another",
                               subject, rule);
    }
    if (rules->allow.len > 0 && rule_find(&rules->allow, subject, quipu_subject_covers) == NULL) {
        return quipu_error_set(err, QUIPU_PERMISSION,
                               "publishing to %.150s is allowed by no rule in this user's JWT "
                               "(the first is \"%.150s\"); get credentials that allow it",
                               subject, (const char *)rules->allow.data);
    }
    return QUIPU_OK;
}

/*
 * Properties of what says who a user is. A JWT that is accepted is the only text of its parts, its
 * key is a user's, and its rules forbid what they deny and allow what they allow. A .creds file
 * that is accepted holds the seed of the user that its JWT names, both as they stand in it, and the
 * file written from them alone reads the same. A refusal says which, writes nothing, and shows no
 * seed.
 *
 * No key, seed, JWT or marker stands in an input: it is a recipe, in which '%' and a letter stand
 * for them (see `cook`). Keys are made anew in each run, from the digest of a word. The first byte
 * chooses: 'j' a JWT, 's' a seed file, else a .creds file.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <sodium.h>
#include <string.h>

#include "credentials.h"
#include "fuzz.h"
#include "nkey.h"
#include "quipu/multibase.h"

#define DASHES "-----"
#define JWT_MARK                                                                                   \
    DASHES "BEGIN NATS "                                                                           \
           "USER JWT" DASHES
#define SEED_MARK                                                                                  \
    DASHES "BEGIN USER "                                                                           \
           "NKEY SEED" DASHES
#define END_MARK DASHES "-END" DASHES

struct user {
    char seed[NKEY_SEED_TEXT_BYTES];
    uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES];
    char text[QUIPU_SOURCE_TEXT_BYTES];
    char account[QUIPU_SOURCE_TEXT_BYTES]; /* the same key as an account's */
};

static struct user user_of(const char *word)
{
    uint8_t seed[NKEY_SEED_BYTES];
    struct user user;
    (void)crypto_generichash(seed, sizeof seed, (const unsigned char *)word, strlen(word), NULL, 0);
    nkey_user_seed_format(seed, user.seed);
    FUZZ_REQUIRE(quipu_nkey_seed_public_key(quipu_slice_text(user.seed), user.public_key, NULL) ==
                 QUIPU_OK);
    quipu_nkey_format('U', user.public_key, user.text);
    quipu_nkey_format('A', user.public_key, user.account);
    return user;
}

static struct user one;
static struct user another;

static void make_users(void)
{
    if (one.seed[0] == 0) {
        FUZZ_REQUIRE(sodium_init() >= 0);
        one = user_of("one user");
        another = user_of("another user");
    }
}

/* ------------------------------------------------------------------ recipes */

static void append_base64url(struct quipu_buf *out, struct quipu_slice bytes)
{
    struct quipu_buf text = QUIPU_BUF_INIT;
    FUZZ_REQUIRE(quipu_multibase_encode(QUIPU_BASE_64_URL, bytes, &text, NULL) == QUIPU_OK);
    quipu_buf_append(out, text.data + 1, text.len - 1); /* without multibase's letter */
    quipu_buf_release(&text);
}

static void append_signature(struct quipu_buf *out)
{
    uint8_t signature[64];
    memset(signature, 0x61, sizeof signature);
    append_base64url(out, quipu_slice(signature, sizeof signature));
}

static const char *word_of(uint8_t letter)
{
    switch (letter) {
    case 'J':
        return JWT_MARK;
    case 'S':
        return SEED_MARK;
    case 'E':
        return END_MARK;
    case 's':
        return one.seed;
    case 'o':
        return another.seed;
    case 'u':
        return one.text;
    case 'v':
        return another.text;
    case 'a':
        return one.account;
    default:
        return NULL;
    }
}

/* %J %S %E: lines of dashes; %s %o: seeds; %u %v: the users; %a: an account; %{ … %}: base64url of
 * what is between; %g: 64 bytes of signature. What follows another '%' stands for itself. */
static void cook(struct quipu_slice recipe, struct quipu_buf *out)
{
    struct quipu_buf inner = QUIPU_BUF_INIT;
    struct quipu_buf *into = out;
    for (size_t i = 0; i < recipe.len; i++) {
        uint8_t c = recipe.data[i];
        if (c != '%' || i + 1 == recipe.len) {
            quipu_buf_append_byte(into, c);
            continue;
        }
        c = recipe.data[++i];
        const char *word = word_of(c);
        if (word != NULL) {
            quipu_buf_append_text(into, word);
        } else if (c == '{' && into == out) {
            into = &inner;
        } else if (c == '}' && into == &inner) {
            append_base64url(out, quipu_buf_slice(&inner));
            quipu_buf_reset(&inner);
            into = out;
        } else if (c == 'g') {
            append_signature(into);
        } else {
            quipu_buf_append_byte(into, c);
        }
    }
    FUZZ_REQUIRE(out->status == QUIPU_OK && inner.status == QUIPU_OK);
    quipu_buf_release(&inner);
}

/* ------------------------------------------------------------------ refusals */

static void require_refusal(enum quipu_status status, const struct quipu_error *err)
{
    FUZZ_REQUIRE(status == QUIPU_INVALID && err->status == status);
    FUZZ_REQUIRE(strstr(err->message, one.seed) == NULL);
    FUZZ_REQUIRE(strstr(err->message, another.seed) == NULL);
}

/* ------------------------------------------------------------------ JWTs */

/* Base64url has one text for each sequence of bytes: none but that is accepted. */
static void require_only_text(struct quipu_slice jwt)
{
    while (jwt.len > 0) {
        const uint8_t *dot = memchr(jwt.data, '.', jwt.len);
        size_t len = dot == NULL ? jwt.len : (size_t)(dot - jwt.data);
        struct quipu_buf text = QUIPU_BUF_INIT;
        struct quipu_buf bytes = QUIPU_BUF_INIT;
        struct quipu_buf again = QUIPU_BUF_INIT;
        enum quipu_base base;
        quipu_buf_append_byte(&text, 'u');
        quipu_buf_append(&text, jwt.data, len);
        FUZZ_REQUIRE(quipu_multibase_decode(quipu_buf_slice(&text), &base, &bytes, NULL) ==
                     QUIPU_OK);
        append_base64url(&again, quipu_buf_slice(&bytes));
        FUZZ_REQUIRE(quipu_slice_equal(quipu_buf_slice(&again), quipu_slice(jwt.data, len)));
        quipu_buf_release(&text);
        quipu_buf_release(&bytes);
        quipu_buf_release(&again);
        size_t taken = dot == NULL ? len : len + 1;
        jwt = quipu_slice(jwt.data + taken, jwt.len - taken);
    }
}

static void require_rules(const struct subject_rules *rules)
{
    for (size_t at = 0; at < rules->deny.len;) {
        const char *rule = (const char *)rules->deny.data + at;
        FUZZ_REQUIRE(rule[0] != 0);
        FUZZ_REQUIRE(quipu_rules_check(rules, rule, NULL) == QUIPU_PERMISSION);
        at += strlen(rule) + 1;
    }
    for (size_t at = 0; at < rules->allow.len;) {
        const char *rule = (const char *)rules->allow.data + at;
        FUZZ_REQUIRE(rule[0] != 0);
        FUZZ_REQUIRE(rules->deny.len > 0 || quipu_rules_check(rules, rule, NULL) == QUIPU_OK);
        at += strlen(rule) + 1;
    }
    FUZZ_REQUIRE(!quipu_rules_are_empty(rules) ||
                 quipu_rules_check(rules, "any.subject", NULL) == QUIPU_OK);
}

static void require_refused_with(struct quipu_slice text, char more)
{
    struct quipu_buf longer = QUIPU_BUF_INIT;
    struct user_jwt jwt;
    quipu_buf_append_slice(&longer, text);
    quipu_buf_append_byte(&longer, (uint8_t)more);
    FUZZ_REQUIRE(quipu_user_jwt_read(quipu_buf_slice(&longer), &jwt, NULL) == QUIPU_INVALID);
    quipu_buf_release(&longer);
}

static void require_claims(const struct user_jwt *jwt, struct quipu_slice text)
{
    uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES];
    FUZZ_REQUIRE(quipu_source_public_key(quipu_slice_text(jwt->subject), public_key, NULL) ==
                 QUIPU_OK);
    FUZZ_REQUIRE(jwt->expires_unix_us >= 0 && jwt->expires_unix_us % 1000000 == 0);
    FUZZ_REQUIRE(jwt->issued_unix_us >= 0 && jwt->issued_unix_us % 1000000 == 0);
    require_only_text(text);
    require_rules(&jwt->publish);
}

static void read_jwt(struct quipu_slice text)
{
    struct quipu_error err = {.offset = 0};
    struct user_jwt jwt;
    struct user_jwt shorter;
    struct user_jwt before;
    memset(&jwt, 0x5a, sizeof jwt);
    memset(&before, 0x5a, sizeof before);
    enum quipu_status status = quipu_user_jwt_read(text, &jwt, &err);
    if (status != QUIPU_OK) {
        require_refusal(status, &err);
        FUZZ_REQUIRE(memcmp(&jwt, &before, sizeof jwt) == 0);
        return;
    }
    require_claims(&jwt, text);
    require_refused_with(text, '=');
    require_refused_with(text, '.');
    require_refused_with(text, 'A');
    FUZZ_REQUIRE(quipu_user_jwt_read(quipu_slice(text.data, text.len - 1), &shorter, NULL) ==
                 QUIPU_INVALID);
    quipu_user_jwt_release(&jwt);
}

/* ------------------------------------------------------------------ files */

static void require_seed(const struct nats_credentials *held, struct quipu_slice text)
{
    uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES];
    char public_text[QUIPU_SOURCE_TEXT_BYTES];
    FUZZ_REQUIRE(held->is_there && strlen(held->seed) == SEED_TEXT_CHARS);
    FUZZ_REQUIRE(memmem(text.data, text.len, held->seed, SEED_TEXT_CHARS) != NULL);
    FUZZ_REQUIRE(quipu_nkey_seed_public_key(quipu_slice_text(held->seed), public_key, NULL) ==
                 QUIPU_OK);
    FUZZ_REQUIRE(memcmp(public_key, held->public_key, sizeof public_key) == 0);
    quipu_nkey_format('U', public_key, public_text);
    FUZZ_REQUIRE(strcmp(public_text, held->public_text) == 0);
}

static void require_same(const struct nats_credentials *a, const struct nats_credentials *b)
{
    FUZZ_REQUIRE(strcmp(a->seed, b->seed) == 0);
    FUZZ_REQUIRE(strcmp(a->public_text, b->public_text) == 0);
    FUZZ_REQUIRE(quipu_slice_equal(quipu_buf_slice(&a->jwt), quipu_buf_slice(&b->jwt)));
    FUZZ_REQUIRE(strcmp(a->claims.subject, b->claims.subject) == 0);
    FUZZ_REQUIRE(a->claims.expires_unix_us == b->claims.expires_unix_us);
    FUZZ_REQUIRE(quipu_slice_equal(quipu_buf_slice(&a->claims.publish.allow),
                                   quipu_buf_slice(&b->claims.publish.allow)));
    FUZZ_REQUIRE(quipu_slice_equal(quipu_buf_slice(&a->claims.publish.deny),
                                   quipu_buf_slice(&b->claims.publish.deny)));
}

/* The plainest file with the same in it, and a copy in memory. */
static void require_comes_back(const struct nats_credentials *held)
{
    struct nats_credentials again;
    struct nats_credentials copy;
    struct quipu_buf file = QUIPU_BUF_INIT;
    memset(&copy, 0, sizeof copy);
    quipu_buf_printf(&file, "%s\n%s\n%s\n%s\n%s\n%s\n", JWT_MARK, (const char *)held->jwt.data,
                     END_MARK, SEED_MARK, held->seed, END_MARK);
    FUZZ_REQUIRE(quipu_credentials_parse(quipu_buf_slice(&file), "again", &again, NULL) ==
                 QUIPU_OK);
    require_same(held, &again);
    FUZZ_REQUIRE(quipu_credentials_copy(&again, &copy, NULL) == QUIPU_OK);
    require_same(held, &copy);
    quipu_credentials_release(&again);
    quipu_credentials_release(&copy);
    quipu_secret_release(&file);
}

static void read_file(struct quipu_slice text, bool is_seed)
{
    struct quipu_error err = {.offset = 0};
    struct nats_credentials held;
    struct nats_credentials before;
    memset(&held, 0x5a, sizeof held);
    memset(&before, 0x5a, sizeof before);
    enum quipu_status status = is_seed ? quipu_seed_parse(text, "fuzz", &held, &err)
                                       : quipu_credentials_parse(text, "fuzz", &held, &err);
    if (status != QUIPU_OK) {
        require_refusal(status, &err);
        FUZZ_REQUIRE(memcmp(&held, &before, sizeof held) == 0);
        return;
    }
    require_seed(&held, text);
    if (is_seed) {
        FUZZ_REQUIRE(held.jwt.len == 0 && held.claims.subject[0] == 0);
    } else {
        struct quipu_slice jwt = quipu_slice(held.jwt.data, held.jwt.len - 1);
        FUZZ_REQUIRE(memmem(text.data, text.len, jwt.data, jwt.len) != NULL);
        FUZZ_REQUIRE(strcmp(held.claims.subject, held.public_text) == 0);
        require_claims(&held.claims, jwt);
        require_comes_back(&held);
    }
    quipu_credentials_release(&held);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct quipu_buf text = QUIPU_BUF_INIT;
    make_users();
    if (size > 0) {
        bool has_choice = data[0] == 'j' || data[0] == 's';
        cook(quipu_slice(data + has_choice, size - has_choice), &text);
    }
    if (size > 0 && data[0] == 'j') {
        read_jwt(quipu_buf_slice(&text));
    } else {
        read_file(quipu_buf_slice(&text), size > 0 && data[0] == 's');
    }
    quipu_buf_release(&text);
    return 0;
}

/*
 * Who has signed, and how many people that are: by the principals of allowed signers, in whatever
 * order the signatures come.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "failing_alloc.h"
#include "quipu/bundle.h"
#include "sign_kit.h"
#include "signers_judge.h"
#include "ssh_kit.h"

#define NAME_SPACE QUIPU_BUNDLE_NAMESPACE
#define KEYS       6
#define MESSAGE    quipu_slice_text("the manifest")

/* Keys a to f; a is the source's. */
static struct sign_kit keys[KEYS];
static struct quipu_buf blobs[KEYS];
static struct quipu_slice signatures[KEYS];
static char source[QUIPU_SOURCE_TEXT_BYTES];
static struct quipu_signer_group group;

static void set_up(void)
{
    for (size_t i = 0; i < KEYS; i++) {
        sign_kit_init(&keys[i]);
        sign_kit_sign(&keys[i], NAME_SPACE, QUIPU_SSHSIG_SHA512, MESSAGE, &blobs[i]);
        signatures[i] = quipu_buf_slice(&blobs[i]);
    }
    quipu_nkey_format('U', keys[0].public_key, source);
}

static void tear_down(void)
{
    for (size_t i = 0; i < KEYS; i++) {
        quipu_buf_release(&blobs[i]);
    }
}

TestSuite(people, .init = set_up, .fini = tear_down, .timeout = 120);

/* "ada a|bob b" as allowed signers: each line principals, a blank, options or nothing, and the
 * letter of its key last. */
static struct quipu_trust *trust_of(const char *lines)
{
    struct quipu_buf text = QUIPU_BUF_INIT;
    struct quipu_trust *trust = NULL;
    struct quipu_error err;
    for (const char *line = lines; *line != 0;) {
        size_t len = strcspn(line, "|");
        quipu_buf_append(&text, line, len - 1);
        cr_assert_eq(
            quipu_ssh_public_key_line(keys[line[len - 1] - 'a'].public_key, NULL, &text, NULL),
            QUIPU_OK);
        line += len + (line[len] == '|');
    }
    cr_assert_eq(quipu_trust_parse(quipu_buf_slice(&text), &trust, &err), QUIPU_OK, "%s",
                 err.message);
    quipu_buf_release(&text);
    return trust;
}

/* The signers as letters in this order, judged. */
static enum quipu_status judge(const char *order, const struct quipu_signer_policy *policy,
                               struct quipu_error *err)
{
    struct quipu_slice ordered[KEYS];
    size_t count = strlen(order);
    for (size_t i = 0; i < count; i++) {
        ordered[i] = signatures[order[i] - 'a'];
    }
    enum quipu_status status =
        quipu_signers_verify(&group, ordered, count, NAME_SPACE, MESSAGE, err);
    return status == QUIPU_OK
               ? quipu_signers_judge(&group, policy, NAME_SPACE, quipu_slice_text(source), err)
               : status;
}

/* ------------------------------------------------------------------ people */

static const struct {
    const char *lines;
    const char *signers;
    uint32_t people;
} countings[] = {
    {"ada b|bob c", "a", 0},
    {"ada b|bob c", "abc", 2},
    {"ada b|bob c", "abd", 1},
    {"vault a|ada b|bob c", "abc", 3},
    {"ada b|ada c", "abc", 1},
    {"ada b|ada c|bob d", "abcd", 2},
    /* joined over a key that both names have, and over a key that joins two others */
    {"ada b|bob b|bob c", "abc", 1},
    {"ada,root b|bob,root c", "abc", 1},
    {"ada b|ada,bob c|bob d", "abcd", 1},
    /* … which need not have signed, nor hold any more */
    {"ada b|bob d|ada,bob c", "abd", 1},
    {"ada b|token c|ada,token d", "abc", 1},
    {"ada b|token c|ada,token d", "abcd", 1},
    {"ada b|token c|ada d|token d", "abc", 1},
    {"ada b|token c|ada,token valid-before=\"20200101Z\" d", "abc", 1},
    {"ada b|token c|ada,token namespaces=\"git\" d", "abc", 1},
    {"ada b|x c|ada,y d|x,z e|y,z f", "abc", 1},
    {"ada b|bob c|ada,x d|bob,y e", "abc", 2},
    {"ada,x b|bob,y c|cy,z d|dan,x,z e", "abcde", 2},
    /* not the same, though they look alike */
    {"ada b|Ada c|ada@x d|adam e", "abcde", 4},
    /* patterns name nobody, and join nobody */
    {"* b", "ab", 0},
    {"* b|ada c|bob d", "abcd", 2},
    {"ada b|a?a c", "abc", 1},
    {"ada b|*,ada c|ada d", "abcd", 1},
    {"ada b|bob c|ada,*,bob d", "abc", 2},
    {"!ada,bob b", "ab", 0},
    {"ada b|* b", "ab", 0},
    /* lines that do not hold now */
    {"ada namespaces=\"git\" b|bob c", "abc", 1},
    {"ada valid-before=\"20200101Z\" b|ada c|bob d", "abcd", 2},
    {"ada valid-before=\"20200101Z\" b|bob b|ada c", "abc", 1},
    {"ada valid-before=\"20200101Z\" b|ada c", "abc", 1},
    {"ada valid-before=\"20200101Z\" b|ada c|ada d", "abcd", 1},
};

Test(people, people_are_counted_by_principal)
{
    for (size_t i = 0; i < sizeof countings / sizeof countings[0]; i++) {
        struct quipu_error err;
        struct quipu_trust *trust = trust_of(countings[i].lines);
        struct quipu_signer_policy policy = {.trust = trust, .unix_us = INT64_C(1790000000000000)};
        enum quipu_status status = judge(countings[i].signers, &policy, &err);
        bool is_known = false;
        for (size_t k = 0; k < group.count; k++) {
            is_known = is_known || group.signers[k].is_trusted;
        }
        cr_assert_eq(status, is_known ? QUIPU_OK : QUIPU_UNTRUSTED, "%s: %s", countings[i].lines,
                     err.message);
        cr_assert_eq(group.people, countings[i].people, "%s signed by %s: %u people",
                     countings[i].lines, countings[i].signers, group.people);

        for (uint64_t required = 1; required <= KEYS; required++) {
            policy.required = required;
            status = judge(countings[i].signers, &policy, &err);
            cr_assert_eq(status, required <= countings[i].people ? QUIPU_OK : QUIPU_TOO_FEW_SIGNERS,
                         "%s, %llu asked for: %s", countings[i].lines, (unsigned long long)required,
                         err.message);
        }
        quipu_trust_free(&trust);
    }
}

/* The next order of the letters, by alphabet; false behind the last. */
static bool next_order(char *order)
{
    size_t count = strlen(order);
    size_t at = count - 1;
    while (at > 0 && order[at - 1] > order[at]) {
        at--;
    }
    if (at == 0) {
        return false;
    }
    size_t other = count - 1;
    while (order[other] < order[at - 1]) {
        other--;
    }
    char kept = order[at - 1];
    order[at - 1] = order[other];
    order[other] = kept;
    for (size_t last = count - 1; at < last; at++, last--) {
        kept = order[at];
        order[at] = order[last];
        order[last] = kept;
    }
    return true;
}

Test(people, any_order_gives_the_same_people)
{
    struct quipu_trust *trust = trust_of("ada b|bob c|ada,cy d|dan e|dan,bob f");
    struct quipu_signer_policy policy = {.trust = trust};
    char order[] = "abcdef";
    size_t orders = 0;
    do {
        uint32_t person[KEYS];
        struct quipu_error err;
        policy.required = 2;
        cr_assert_eq(judge(order, &policy, &err), QUIPU_OK, "%s: %s", order, err.message);
        cr_assert_eq(group.people, 2u);
        for (size_t i = 0; i < KEYS; i++) {
            person[order[i] - 'a'] = group.signers[i].person;
            cr_assert_eq(group.signers[i].is_source, order[i] == 'a');
        }
        cr_assert_eq(person[0], 0u);
        cr_assert(person[1] == person[3] && person[2] == person[4] && person[4] == person[5] &&
                  person[1] != person[2]);
        policy.required = 3;
        cr_assert_eq(judge(order, &policy, &err), QUIPU_TOO_FEW_SIGNERS);
        orders++;
    } while (next_order(order));
    cr_assert_eq(orders, 720u);
    quipu_trust_free(&trust);
}

Test(people, too_few_says_who_has_signed_and_how_many_are_missing)
{
    struct quipu_error err;
    struct quipu_trust *trust = trust_of("ada b|bob,robert c|ada d|cy e");
    struct quipu_signer_policy policy = {.trust = trust, .required = 3};
    cr_assert_eq(judge("ab", &policy, &err), QUIPU_TOO_FEW_SIGNERS);
    cr_assert_str_eq(err.message, "1 of the 3 people that must sign has: ada, 2 are missing");
    cr_assert_eq(judge("abcd", &policy, &err), QUIPU_TOO_FEW_SIGNERS);
    cr_assert_str_eq(err.message,
                     "2 of the 3 people that must sign have: ada, bob,robert (keys that share a "
                     "principal count once, those behind a pattern for nobody), 1 is missing");
    cr_assert_eq(judge("a", &policy, &err), QUIPU_TOO_FEW_SIGNERS);
    cr_assert_str_eq(err.message, "0 of the 3 people that must sign have, 3 are missing");
    quipu_trust_free(&trust);
}

Test(people, texts_and_file_are_one_list)
{
    struct quipu_error err;
    char bob[QUIPU_SOURCE_TEXT_BYTES];
    char lines[256];
    const char *trusted[] = {bob};
    quipu_nkey_format('U', keys[2].public_key, bob);
    struct quipu_trust *trust = trust_of("ada b");
    struct quipu_signer_policy policy = {
        .trust = trust, .trusted = trusted, .trusted_count = 1, .required = 2};
    cr_assert_eq(judge("abc", &policy, &err), QUIPU_OK, "%s", err.message);
    cr_assert_str_eq(group.signers[2].principals, bob);
    quipu_trust_free(&trust);

    /* An NKey text is a principal like any other. */
    (void)snprintf(lines, sizeof lines, "%s b", bob);
    policy.trust = trust = trust_of(lines);
    cr_assert_eq(judge("abc", &policy, &err), QUIPU_TOO_FEW_SIGNERS);
    quipu_trust_free(&trust);

    /* And so is the line of its key, which need not have signed. */
    (void)snprintf(lines, sizeof lines, "ada b|ada c|%s d|cy e", bob);
    policy.trust = trust = trust_of(lines);
    cr_assert_eq(judge("abd", &policy, &err), QUIPU_TOO_FEW_SIGNERS);
    cr_assert_eq(judge("ade", &policy, &err), QUIPU_OK, "%s", err.message);
    quipu_trust_free(&trust);
}

/* ------------------------------------------------------------------ what is refused */

Test(people, signatures_are_by_different_keys_hold_and_include_the_source)
{
    struct quipu_error err;
    struct quipu_signer_policy anybody = {0};
    struct quipu_slice twice[] = {signatures[0], signatures[1], signatures[0]};
    cr_assert_eq(quipu_signers_verify(&group, twice, 3, NAME_SPACE, MESSAGE, &err), QUIPU_BUNDLE);
    cr_assert_str_eq(err.message, "signatures 1 and 3 are by one key");
    cr_assert_eq(quipu_signers_verify(&group, twice, 0, NAME_SPACE, MESSAGE, &err), QUIPU_UNSIGNED);
    cr_assert_eq(quipu_signers_verify(&group, twice, 2, "git", MESSAGE, &err), QUIPU_BAD_SIGNATURE);
    cr_assert_eq(
        quipu_signers_verify(&group, twice, 2, NAME_SPACE, quipu_slice_text("another"), &err),
        QUIPU_BAD_SIGNATURE);
    cr_assert_not_null(strstr(err.message, "signature 1 of 2: "), "%s", err.message);
    cr_assert_eq(judge("bc", &anybody, &err), QUIPU_BAD_SIGNATURE);
    cr_assert_not_null(strstr(err.message, "did not sign it"), "%s", err.message);
    cr_assert_eq(judge("bac", &anybody, &err), QUIPU_OK);
    cr_assert_eq(group.told, 1u, "the source, where nobody else was asked for");
    cr_assert_not(group.signers[1].is_trusted);
}

Test(people, what_can_never_be_met_is_refused_first)
{
    struct quipu_error err;
    const char *const bad[] = {"UABC"};
    struct quipu_signer_policy policy = {.required = 1};
    cr_assert_eq(quipu_signer_policy_check(&policy, NAME_SPACE, &err), QUIPU_INVALID);
    cr_assert_not_null(strstr(err.message, "nobody says who"), "%s", err.message);
    struct quipu_trust *trust =
        trust_of("ada namespaces=\"git\" b|bob valid-before=\"20200101Z\" c");
    policy.trust = trust;
    cr_assert_eq(quipu_signer_policy_check(&policy, "git", &err), QUIPU_OK);
    policy.unix_us = INT64_C(1790000000000000);
    cr_assert_eq(quipu_signer_policy_check(&policy, NAME_SPACE, &err), QUIPU_UNTRUSTED);
    policy.unix_us = 0;
    cr_assert_eq(quipu_signer_policy_check(&policy, NAME_SPACE, &err), QUIPU_OK, "in 1970");
    policy.required = QUIPU_SIGNERS_MAX;
    cr_assert_eq(quipu_signer_policy_check(&policy, NAME_SPACE, &err), QUIPU_OK);
    policy.required = QUIPU_SIGNERS_MAX + 1;
    cr_assert_eq(quipu_signer_policy_check(&policy, NAME_SPACE, &err), QUIPU_INVALID);
    policy.required = 1;
    policy.trusted = bad;
    policy.trusted_count = 1;
    cr_assert_eq(quipu_signer_policy_check(&policy, NAME_SPACE, &err), QUIPU_INVALID);
    policy.trusted = NULL;
    cr_assert_eq(quipu_signer_policy_check(&policy, NAME_SPACE, &err), QUIPU_MISUSE);
    quipu_trust_free(&trust);
}

Test(people, long_principals_are_cut_between_characters)
{
    struct quipu_error err;
    char lines[512];
    (void)snprintf(lines, sizeof lines, "%0*d\xc3\xa9", QUIPU_SIGNER_PRINCIPALS_BYTES - 2, 0);
    (void)snprintf(lines + strlen(lines), 8, " b");
    struct quipu_trust *trust = trust_of(lines);
    struct quipu_signer_policy policy = {.trust = trust, .required = 1};
    cr_assert_eq(judge("ab", &policy, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(strlen(group.signers[1].principals), QUIPU_SIGNER_PRINCIPALS_BYTES - 2);
    quipu_trust_free(&trust);
}

Test(people, failing_memory_is_told_and_leaks_nothing)
{
    struct quipu_trust *trust = trust_of("ada b|bob c");
    struct quipu_signer_policy policy = {.trust = trust, .required = 3};
    size_t failed = 0;
    for (;; failed++) {
        struct quipu_error err;
        failing_alloc_arm(failed);
        enum quipu_status status = judge("abc", &policy, &err);
        failing_alloc_disarm();
        if (status == QUIPU_TOO_FEW_SIGNERS && strstr(err.message, "ada, bob") != NULL) {
            break;
        }
        /* The names alone are missed where there is no memory for them. */
        cr_assert(status == QUIPU_NO_MEMORY || status == QUIPU_TOO_FEW_SIGNERS);
    }
    cr_assert_gt(failed, 3u);
    quipu_trust_free(&trust);
}

/* ------------------------------------------------------------------ names and other types */

Test(people, names_are_nkeys_or_fingerprints)
{
    struct quipu_signer_policy anybody = {0};
    struct quipu_buf names = QUIPU_BUF_INIT;
    struct quipu_buf blob = QUIPU_BUF_INIT;
    struct quipu_error err;
    struct ssh_kit rsa;
    char expected[2 * QUIPU_SOURCE_TEXT_BYTES];
    ssh_kit_init(&rsa, QUIPU_SSH_KEY_RSA);
    ssh_kit_sign(&rsa, NAME_SPACE, MESSAGE, &blob);
    struct quipu_slice both[] = {quipu_buf_slice(&blob), signatures[0]};
    cr_assert_eq(quipu_signers_verify(&group, both, 2, NAME_SPACE, MESSAGE, &err), QUIPU_OK);
    cr_assert_eq(quipu_signers_judge(&group, &anybody, NAME_SPACE, quipu_slice_text(source), &err),
                 QUIPU_OK);

    quipu_signer_names(group.signers, group.count, &names);
    (void)snprintf(expected, sizeof expected, "%s %s", group.signers[0].fingerprint, source);
    cr_assert(quipu_slice_equal(quipu_buf_slice(&names), quipu_slice_text(expected)));
    cr_assert_eq(strncmp(group.signers[0].name, "SHA256:", 7), 0);

    quipu_buf_release(&names);
    quipu_buf_release(&blob);
    ssh_kit_release(&rsa);
}

/*
 * Who has signed, and how many people that are. Pure: reads no file and no clock.
 *
 * Which keys are one person's:
 *
 *   1. each line of the allowed signers claims its principals for its key; whether it holds now,
 * and whether its key has signed, is no matter: a key that the same person has also had is what
 *      shows that two names are one
 *   2. the claims are sorted by name; keys that claim one name are joined
 *   3. what is joined is one person, who counts where a key of theirs signed by a line that holds
 *
 * A key behind a pattern could be anybody: it counts for nobody, and the pattern joins nobody.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "quipu/alloc.h"
#include "signers_judge.h"

/* ------------------------------------------------------------------ before anything is read */

enum quipu_status quipu_signer_policy_check(const struct quipu_signer_policy *policy,
                                            const char *name_space, struct quipu_error *err)
{
    if (policy->trusted == NULL && policy->trusted_count > 0) {
        return quipu_error_set(err, QUIPU_MISUSE, "%zu trusted signers, but no texts",
                               policy->trusted_count);
    }
    /* A mistyped key would trust nobody, which is safe but hard to understand. */
    for (size_t i = 0; i < policy->trusted_count; i++) {
        uint8_t key[QUIPU_PUBLIC_KEY_BYTES];
        enum quipu_status status =
            quipu_source_public_key(quipu_slice_text(policy->trusted[i]), key, err);
        if (status != QUIPU_OK) {
            return quipu_error_wrap(err, status, "trusted signer %zu", i + 1);
        }
    }
    if (policy->required > QUIPU_SIGNERS_MAX) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "%" PRIu64
                               " signers are asked for, and a bundle holds %u signatures "
                               "at most",
                               policy->required, QUIPU_SIGNERS_MAX);
    }
    if (policy->required > 0 && policy->trusted_count == 0 && policy->trust == NULL) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "%" PRIu64 " signers are asked for, but nobody says who they are: "
                               "name a file of allowed signers",
                               policy->required);
    }
    if (policy->trust == NULL || policy->trusted_count > 0) {
        return QUIPU_OK;
    }
    size_t lines = quipu_trust_count(policy->trust);
    for (size_t i = 0; i < lines; i++) {
        const struct quipu_trust_signer *line = quipu_trust_signer_at(policy->trust, i);
        if (quipu_trust_signer_may(line, name_space, policy->unix_us)) {
            return QUIPU_OK;
        }
    }
    return quipu_error_set(err, QUIPU_UNTRUSTED,
                           "none of the %zu allowed signers may sign in the namespace %s at this "
                           "time",
                           lines, name_space);
}

/* ------------------------------------------------------------------ do they hold */

static enum quipu_status verify_one(struct quipu_signer_group *group, struct quipu_slice signature,
                                    const char *name_space, struct quipu_slice message,
                                    struct quipu_error *err)
{
    struct quipu_sshsig sshsig;
    enum quipu_status status = quipu_sshsig_verify(signature, name_space, message, &sshsig, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_signer *signer = &group->signers[group->count];
    *signer = (struct quipu_signer){.type = sshsig.type};
    quipu_ssh_key_name(sshsig.key, signer->name);
    quipu_ssh_key_fingerprint(sshsig.key, signer->fingerprint);
    group->keys[group->count] = sshsig.key;
    group->count++;
    return QUIPU_OK;
}

enum quipu_status quipu_signers_verify(struct quipu_signer_group *group,
                                       const struct quipu_slice *signatures, size_t count,
                                       const char *name_space, struct quipu_slice message,
                                       struct quipu_error *err)
{
    group->count = 0;
    group->people = 0;
    group->told = 0;
    if (count == 0) {
        return quipu_error_set(err, QUIPU_UNSIGNED, "nobody has signed it");
    }
    if (count > QUIPU_SIGNERS_MAX) {
        return quipu_error_set(err, QUIPU_BUNDLE, "%zu signatures, more than %u", count,
                               QUIPU_SIGNERS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        enum quipu_status status = verify_one(group, signatures[i], name_space, message, err);
        if (status != QUIPU_OK) {
            return quipu_error_wrap(err, status, "signature %zu of %zu", i + 1, count);
        }
        for (size_t other = 0; other < i; other++) {
            if (quipu_slice_equal(group->keys[other], group->keys[i])) {
                return quipu_error_set(err, QUIPU_BUNDLE, "signatures %zu and %zu are by one key",
                                       other + 1, i + 1);
            }
        }
    }
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ who is whom */

/* A signer or a line of the file has this name: a principal, or a key in its wire form, which
 * begins with a NUL as no principal does. */
struct claim {
    struct quipu_slice name;
    size_t node;
};

struct counting {
    struct quipu_signer_group *group;
    const struct quipu_signer_policy *policy;
    size_t lines;
    struct quipu_buf claims; /* struct claim */
    /* Of each node (first the signers, then the lines of the file): itself, or one of the same
     * person. The smallest of a person is its own, so a signer stands for everyone who signed. */
    size_t *parent;
    bool is_anybody[QUIPU_SIGNERS_MAX];
};

static size_t find(size_t *parent, size_t node)
{
    while (parent[node] != node) {
        parent[node] = parent[parent[node]]; /* the way is shorter the next time */
        node = parent[node];
    }
    return node;
}

static void add_claim(struct counting *run, struct quipu_slice name, size_t node)
{
    struct claim claim = {name, node};
    quipu_buf_append(&run->claims, &claim, sizeof claim);
}

static bool is_pattern(struct quipu_slice principals)
{
    for (size_t i = 0; i < principals.len; i++) {
        if (strchr("*?!", principals.data[i]) != NULL) {
            return true;
        }
    }
    return false;
}

/* Commas stand between names; none is empty. */
static void claim_principals(struct counting *run, struct quipu_slice principals, size_t node)
{
    size_t from = 0;
    for (size_t i = 0; i <= principals.len; i++) {
        if (i == principals.len || principals.data[i] == ',') {
            add_claim(run, quipu_slice(principals.data + from, i - from), node);
            from = i + 1;
        }
    }
}

/* Step 1. */
static void claim_line(struct counting *run, const struct quipu_trust_signer *line, size_t node)
{
    const struct quipu_signer_policy *policy = run->policy;
    uint8_t key[QUIPU_PUBLIC_KEY_BYTES];
    char text[QUIPU_SOURCE_TEXT_BYTES];
    add_claim(run, line->key, node);
    if (!is_pattern(line->principals)) {
        claim_principals(run, line->principals, node);
    }
    if (policy->trusted_count == 0 || !quipu_ssh_key_ed25519(line->key, key)) {
        return;
    }
    quipu_nkey_format('U', key, text);
    for (size_t i = 0; i < policy->trusted_count; i++) {
        if (strcmp(policy->trusted[i], text) == 0) {
            add_claim(run, quipu_slice_text(policy->trusted[i]), node);
        }
    }
}

/* The beginning of them, cut between characters. */
static void copy_principals(struct quipu_signer *signer, struct quipu_slice principals)
{
    size_t len = principals.len;
    if (len >= sizeof signer->principals) {
        len = sizeof signer->principals - 1;
        while (len > 0 && (principals.data[len] & 0xc0) == 0x80) {
            len--;
        }
    }
    memcpy(signer->principals, principals.data, len);
    signer->principals[len] = 0;
}

/* By the texts, then by each line of the file that holds now. */
static void judge_signer(struct counting *run, const char *name_space, size_t index)
{
    const struct quipu_signer_policy *policy = run->policy;
    struct quipu_signer *signer = &run->group->signers[index];
    signer->is_trusted = false;
    signer->principals[0] = 0;
    add_claim(run, run->group->keys[index], index);
    for (size_t i = 0; i < policy->trusted_count; i++) {
        if (strcmp(policy->trusted[i], signer->name) == 0) {
            struct quipu_slice name = quipu_slice_text(policy->trusted[i]);
            signer->is_trusted = true;
            copy_principals(signer, name);
            add_claim(run, name, index);
            break;
        }
    }
    for (size_t i = 0; i < run->lines; i++) {
        const struct quipu_trust_signer *line = quipu_trust_signer_at(policy->trust, i);
        if (!quipu_slice_equal(line->key, run->group->keys[index]) ||
            !quipu_trust_signer_may(line, name_space, policy->unix_us)) {
            continue;
        }
        signer->is_trusted = true;
        if (signer->principals[0] == 0) {
            copy_principals(signer, line->principals);
        }
        run->is_anybody[index] = run->is_anybody[index] || is_pattern(line->principals);
    }
}

static int claim_order(const void *a, const void *b)
{
    const struct claim *left = a;
    const struct claim *right = b;
    return quipu_slice_compare(left->name, right->name);
}

/* Step 2. */
static void join(struct counting *run)
{
    struct claim *claims = (struct claim *)(void *)run->claims.data;
    size_t count = run->claims.len / sizeof *claims;
    if (count > 0) {
        qsort(claims, count, sizeof *claims, claim_order);
    }
    for (size_t i = 1; i < count; i++) {
        if (!quipu_slice_equal(claims[i - 1].name, claims[i].name)) {
            continue;
        }
        size_t a = find(run->parent, claims[i - 1].node);
        size_t b = find(run->parent, claims[i].node);
        run->parent[a > b ? a : b] = a > b ? b : a;
    }
}

/* Step 3. Numbers follow the signatures' order. */
static void number_people(struct counting *run)
{
    struct quipu_signer_group *group = run->group;
    uint32_t person[QUIPU_SIGNERS_MAX] = {0};
    for (size_t i = 0; i < group->count; i++) {
        struct quipu_signer *signer = &group->signers[i];
        size_t first = find(run->parent, i);
        signer->person = 0;
        if (!signer->is_trusted || run->is_anybody[i]) {
            continue;
        }
        if (person[first] == 0) {
            person[first] = ++group->people;
        }
        signer->person = person[first];
    }
}

static enum quipu_status count_people(struct quipu_signer_group *group,
                                      const struct quipu_signer_policy *policy,
                                      const char *name_space, struct quipu_error *err)
{
    struct counting run = {.group = group, .policy = policy};
    run.lines = policy->trust == NULL ? 0 : quipu_trust_count(policy->trust);
    group->people = 0;
    run.parent = quipu_alloc(group->count + run.lines, sizeof *run.parent);
    if (run.parent == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory to tell who has signed");
    }
    for (size_t i = 0; i < group->count + run.lines; i++) {
        run.parent[i] = i;
    }
    for (size_t i = 0; i < group->count; i++) {
        judge_signer(&run, name_space, i);
    }
    for (size_t i = 0; i < run.lines; i++) {
        claim_line(&run, quipu_trust_signer_at(policy->trust, i), group->count + i);
    }
    enum quipu_status status = run.claims.status;
    if (status == QUIPU_OK) {
        join(&run);
        number_people(&run);
    } else {
        status = quipu_error_set(err, status, "no memory to tell who has signed");
    }
    quipu_buf_release(&run.claims);
    quipu_free(run.parent);
    return status;
}

/* ------------------------------------------------------------------ is it enough */

/* "ada, bob", of each person the first key. */
static void name_people(const struct quipu_signer_group *group, struct quipu_buf *out)
{
    uint32_t named = 0;
    for (size_t i = 0; i < group->count; i++) {
        const struct quipu_signer *signer = &group->signers[i];
        if (signer->person <= named) {
            continue;
        }
        named = signer->person;
        quipu_buf_append_text(out, named > 1 ? ", " : ": ");
        quipu_buf_append_text(out, signer->principals);
    }
    quipu_buf_append_byte(out, 0);
}

static enum quipu_status too_few(const struct quipu_signer_group *group,
                                 const struct quipu_signer_policy *policy, struct quipu_error *err)
{
    struct quipu_buf names = QUIPU_BUF_INIT;
    size_t trusted = 0;
    for (size_t i = 0; i < group->count; i++) {
        trusted += group->signers[i].is_trusted;
    }
    name_people(group, &names);
    /* Without memory for the names the numbers are still true. */
    const char *who = names.status == QUIPU_OK ? (const char *)names.data : "";
    enum quipu_status status = quipu_error_set(
        err, QUIPU_TOO_FEW_SIGNERS,
        "%" PRIu32 " of the %" PRIu64 " people that must sign %s%.200s%s, %" PRIu64 " %s missing",
        group->people, policy->required, group->people == 1 ? "has" : "have", who,
        trusted > group->people
            ? " (keys that share a principal count once, those behind a pattern "
              "for nobody)"
            : "",
        policy->required - group->people, policy->required - group->people == 1 ? "is" : "are");
    quipu_buf_release(&names);
    return status;
}

enum quipu_status quipu_signers_judge(struct quipu_signer_group *group,
                                      const struct quipu_signer_policy *policy,
                                      const char *name_space, struct quipu_slice source,
                                      struct quipu_error *err)
{
    bool asks = policy->trusted_count > 0 || policy->trust != NULL;
    bool has_source = false;
    bool has_trusted = false;
    enum quipu_status status = count_people(group, policy, name_space, err);
    if (status != QUIPU_OK) {
        return status;
    }
    for (size_t i = 0; i < group->count; i++) {
        struct quipu_signer *signer = &group->signers[i];
        signer->is_source = quipu_slice_equal(quipu_slice_text(signer->name), source);
        has_source = has_source || signer->is_source;
        if (asks ? signer->is_trusted && !has_trusted : signer->is_source) {
            group->told = i;
        }
        has_trusted = has_trusted || signer->is_trusted;
    }
    const char *last = group->signers[group->count - 1].name; /* verify took one at least */
    if (!has_source) {
        return quipu_error_set(err, QUIPU_BAD_SIGNATURE,
                               "it says that store %.*s made it, but that store did not sign it: "
                               "%s did",
                               QUIPU_SLICE_FMT(source), last);
    }
    if (policy->required > group->people) {
        return too_few(group, policy, err);
    }
    if (asks && !has_trusted) {
        size_t named =
            policy->trusted_count + (policy->trust == NULL ? 0 : quipu_trust_count(policy->trust));
        return quipu_error_set(err, QUIPU_UNTRUSTED,
                               "signed by %s, which is not among the %zu trusted signers", last,
                               named);
    }
    return QUIPU_OK;
}

void quipu_signer_names(const struct quipu_signer *signers, size_t count, struct quipu_buf *out)
{
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            quipu_buf_append_byte(out, ' ');
        }
        quipu_buf_append_text(out, signers[i].name);
    }
}

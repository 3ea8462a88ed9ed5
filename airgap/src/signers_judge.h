/*
 * Signatures over one message, verified and judged: does the source's hold, is one trusted, and
 * have enough people signed. Private to airgap/.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_AIRGAP_SIGNERS_JUDGE_H
#define QUIPU_AIRGAP_SIGNERS_JUDGE_H

#include "quipu/error.h"
#include "quipu/signers.h"
#include "quipu/trust.h"

/* Who must have signed. Zeroed: anybody. Borrowed. */
struct quipu_signer_policy {
    const char *const *trusted; /* NKey texts, checked by quipu_signer_policy_check */
    size_t trusted_count;
    const struct quipu_trust *trust; /* NULL: none */
    int64_t unix_us;                 /* when its lines must hold */
    uint64_t required;               /* people; 0: it is enough that one signer is trusted */
};

/* Before anything is read: what can never be met is refused. QUIPU_INVALID (a text in `trusted` is
 * none, people are asked for but nobody is named, or more than may sign), QUIPU_UNTRUSTED (no line
 * of `trust` holds now), QUIPU_MISUSE. */
QUIPU_MUST_CHECK enum quipu_status
quipu_signer_policy_check(const struct quipu_signer_policy *policy, const char *name_space,
                          struct quipu_error *err);

/* Signers of one message. Zeroed is empty; holds no memory of its own. */
struct quipu_signer_group {
    size_t count;
    uint32_t people;
    size_t told; /* index of the one that reports name: trusted where that was asked for, else the
                    source */
    struct quipu_slice keys[QUIPU_SIGNERS_MAX]; /* borrowed from the signatures */
    struct quipu_signer signers[QUIPU_SIGNERS_MAX];
};

/* Every signature holds over the message, each by another key. QUIPU_UNSIGNED (there is none),
 * QUIPU_BAD_SIGNATURE, QUIPU_BUNDLE (two are by one key), QUIPU_FORMAT_NEWER, QUIPU_NO_MEMORY. */
QUIPU_MUST_CHECK enum quipu_status quipu_signers_verify(struct quipu_signer_group *group,
                                                        const struct quipu_slice *signatures,
                                                        size_t count, const char *name_space,
                                                        struct quipu_slice message,
                                                        struct quipu_error *err);

/* Fill in who is trusted and who is whom, and hold that against the policy. QUIPU_BAD_SIGNATURE
 * (the source, an NKey text, did not sign), QUIPU_UNTRUSTED, QUIPU_TOO_FEW_SIGNERS,
 * QUIPU_NO_MEMORY. */
QUIPU_MUST_CHECK enum quipu_status
quipu_signers_judge(struct quipu_signer_group *group, const struct quipu_signer_policy *policy,
                    const char *name_space, struct quipu_slice source, struct quipu_error *err);

#endif

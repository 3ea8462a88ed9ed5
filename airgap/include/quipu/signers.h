/*
 * Who has signed: keys whose signatures hold, and the people behind them.
 *
 * People are the principals of an allowed_signers file. Keys that share a principal there are one
 * person's and count once, however many they are; a key that stands behind a pattern ('*', '?' or
 * '!') is nobody's in particular and counts for nobody. So a rule such as "two must sign" cannot be
 * met by one who has two keys.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_SIGNERS_H
#define QUIPU_SIGNERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quipu/buf.h"
#include "quipu/engine.h"
#include "quipu/export.h"
#include "quipu/sshsig.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Signatures of one bundle. */
#define QUIPU_SIGNERS_MAX 64u

/** With the NUL; longer lists of principals are cut off in reports. */
#define QUIPU_SIGNER_PRINCIPALS_BYTES 128

/** One whose signature holds. */
struct quipu_signer {
    /** The NKey text "U…" of an Ed25519 key, else "SHA256:…" as `ssh-keygen -l` shows it. */
    char name[QUIPU_SOURCE_TEXT_BYTES];
    char fingerprint[QUIPU_SSH_FINGERPRINT_BYTES];
    enum quipu_ssh_key_type type;
    bool is_source;  /* the store that made the bundle */
    bool is_trusted; /* named by the caller; false for all where the caller named nobody */
    /** Which of the people, from 1 in the order of the signatures; 0: counts for nobody. */
    uint32_t person;
    char principals[QUIPU_SIGNER_PRINCIPALS_BYTES]; /* of the line that trusts it; "": none */
};

/** Append the names with spaces between, as the operations log has them. Failures stick in `out`.
 * Any thread. */
QUIPU_API void quipu_signer_names(const struct quipu_signer *signers, size_t count,
                                  struct quipu_buf *out);

#ifdef __cplusplus
}
#endif

#endif

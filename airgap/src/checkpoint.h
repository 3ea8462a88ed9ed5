/*
 * A checkpoint: what a log says of itself, size and root of its tree, as a C2SP tlog-checkpoint,
 * which is a C2SP signed note. Origin and name of the key are "quipu/" and the store's source.
 *
 * Specification: c2sp.org/tlog-checkpoint, c2sp.org/signed-note; docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_AIRGAP_CHECKPOINT_H
#define QUIPU_AIRGAP_CHECKPOINT_H

#include "proof.h"
#include "quipu/engine.h"

#define QUIPU_CHECKPOINT_BYTES_MAX 512u

/* Append the note, signed with the store's key. @retval as quipu_identity_sign */
QUIPU_MUST_CHECK enum quipu_status quipu_checkpoint_sign(struct quipu_engine *engine,
                                                         const char *source,
                                                         const struct quipu_proof_tree *tree,
                                                         struct quipu_buf *out,
                                                         struct quipu_error *err);

/* Read a note of this source and check its signature. Strict: nothing but what sign writes. Does
 * not say whether the tree is right. QUIPU_BUNDLE: it is none, or another source's.
 * QUIPU_BAD_SIGNATURE. */
QUIPU_MUST_CHECK enum quipu_status quipu_checkpoint_verify(struct quipu_slice note,
                                                           struct quipu_slice source,
                                                           struct quipu_proof_tree *tree,
                                                           struct quipu_error *err);

/* Append the verifier key of the source, which tools for signed notes take, and a newline.
 * QUIPU_INVALID: not a source. */
QUIPU_MUST_CHECK enum quipu_status
quipu_checkpoint_vkey(struct quipu_slice source, struct quipu_buf *out, struct quipu_error *err);

#endif

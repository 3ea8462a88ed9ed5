/*
 * Several people sign one bundle, in any order, on different machines; and a bundle is released
 * only when enough of them have.
 *
 * A signature is over the manifest, which names every event; adding one changes the root of the
 * file and nothing else. So copies that were signed apart can be brought together, and who signs
 * with a key that no program of ours reaches (a hardware key, an agent) needs the manifest's bytes
 * alone: `ssh-keygen -Y sign -n quipu-bundle@v1`.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_SIGN_BUNDLE_H
#define QUIPU_SIGN_BUNDLE_H

#include <stdint.h>

#include "quipu/bundle.h"
#include "quipu/keyring.h"
#include "quipu/signers.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------ signing */

/** A bundle that was checked, and the signatures that it will carry. One thread at a time. Keeps
 * the file open and locked, so that nobody else signs it meanwhile. */
struct quipu_signing;

/**
 * Open a bundle to be signed: all of it is checked, as quipu_bundle_check does, whoever signed it.
 * @param path  A CAR. Copied.
 * @param out   Close it with quipu_signing_close. Untouched on failure.
 * @retval QUIPU_INVALID  it is encrypted, or a folder of volumes (sign it before it is either), or
 * a symbolic link
 * @retval QUIPU_BUSY     another process is signing it
 * @retval as quipu_bundle_check
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_signing_open(const char *path, struct quipu_signing **out, struct quipu_error *err);

/** NULL in it is fine; becomes NULL. */
QUIPU_API void quipu_signing_close(struct quipu_signing **signing);

/** What the check has found; of before anything was added. Borrowed until close. */
QUIPU_API const struct quipu_bundle_report *
quipu_signing_bundle(const struct quipu_signing *signing);

/** The manifest's bytes: what is signed, in the namespace QUIPU_BUNDLE_NAMESPACE. Borrowed until
 * close. */
QUIPU_API struct quipu_slice quipu_signing_manifest(const struct quipu_signing *signing);

/** Signatures so far; those that were added stand last. */
QUIPU_API size_t quipu_signing_count(const struct quipu_signing *signing);
/** NULL where there is none at `index`. Borrowed until the next call that adds, or close. */
QUIPU_API const struct quipu_signer *quipu_signing_at(const struct quipu_signing *signing,
                                                      size_t index);

/**
 * Add a signature. Nothing is written yet.
 * @param blob  A binary SSHSIG (quipu_sshsig_dearmor gives it). Copied.
 * @retval QUIPU_BAD_SIGNATURE  it does not sign this manifest, or is for another purpose
 * @retval QUIPU_EXISTS         its key has signed already
 * @retval QUIPU_TOO_LARGE      there are QUIPU_SIGNERS_MAX
 * @retval QUIPU_FORMAT_NEWER, QUIPU_NO_MEMORY
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_signing_add(struct quipu_signing *signing, struct quipu_slice blob, struct quipu_error *err);

/** Sign with a key and add that. @retval as quipu_signing_add and quipu_signing_key_sign */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_signing_sign(struct quipu_signing *signing,
                                                                const struct quipu_signing_key *key,
                                                                struct quipu_error *err);

/**
 * Add what another copy of the bundle was signed with; keys that have signed here are passed over.
 * @param added  how many were new; may be NULL
 * @retval QUIPU_BUNDLE  it is another bundle. @retval as quipu_signing_open and quipu_signing_add
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_signing_merge(struct quipu_signing *signing,
                                                                 const char *path, size_t *added,
                                                                 struct quipu_error *err);

struct quipu_signed_report {
    uint64_t file_bytes;
    uint8_t file_sha256[QUIPU_SHA256_BYTES];
    struct quipu_cid root; /* of the CAR */
};

/**
 * Write the bundle with all its signatures: the source's first, then in the order of the keys'
 * bytes, so that the same signatures give the same file in whatever order they came. Under a
 * temporary name first, synced, read back and checked, then renamed. The handle is of no further
 * use than to be looked at and closed.
 * @param out     A new file, or NULL: the bundle itself is replaced, at once.
 * @param report  NULL: not wanted; written on QUIPU_OK only
 * @retval QUIPU_EXISTS  there is such a file; or the bundle was changed since it was opened
 * @retval QUIPU_NOT_FOUND (no such folder), QUIPU_PERMISSION, QUIPU_IO, QUIPU_NO_SPACE,
 *         QUIPU_NO_MEMORY, or as quipu_bundle_check for what was read back
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_signing_write(struct quipu_signing *signing,
                                                                 const char *out,
                                                                 struct quipu_signed_report *report,
                                                                 struct quipu_error *err);

/* ------------------------------------------------------------------ release */

struct quipu_release_options {
    size_t size; /* sizeof this struct */
    /** Who may sign, as in struct quipu_bundle_check_options; one of them must be given. */
    const char *const *trusted;
    size_t trusted_count;
    const struct quipu_trust *trust;
    /** How many people of them must have signed (signers.h); 1 at least. */
    uint64_t required_signers;
    /** Encrypt what is written, or write volumes: as in struct quipu_export_options. */
    const struct quipu_age_write_options *encryption;
    uint64_t volume_bytes;
    const char *operator_name;       /* who releases, for the operations log; NULL: not said */
    const char *reason;              /* why; NULL: not said */
    const struct quipu_clock *clock; /* NULL: the system's */
};

#define QUIPU_RELEASE_OPTIONS_INIT                                                                 \
    {                                                                                              \
        .size = sizeof(struct quipu_release_options)                                               \
    }

struct quipu_release_report {
    struct quipu_bundle_report bundle;
    uint64_t file_bytes;                     /* of what was written */
    uint8_t file_sha256[QUIPU_SHA256_BYTES]; /* the same; volumes: one after another */
    uint64_t volumes;                        /* 0: one file */
    uint64_t operation;                      /* number in the operations log; 0: no store */
};

/**
 * Write a bundle that enough people have signed to a new file or folder `out`, for leaving the
 * machine. All of it is checked first; what has too few signers is not written at all. Written
 * under a temporary name, synced, read back; then recorded in the operations log of the store, kind
 * QUIPU_OPERATION_RELEASE; then named. What cannot be recorded gets no name, and nothing has its
 * name without a row, whenever the machine stops. A failure behind the row adds one of kind
 * QUIPU_OPERATION_RELEASE_UNDONE; after a kill there the row says released, and the file may lack
 * its name.
 * @param engine  NULL: there is no store here, so nothing is recorded; volumes then cannot be made,
 *                for the store that made the bundle signs their index
 * @param path    A CAR, neither encrypted nor in volumes.
 * @param report  NULL: not wanted; written on QUIPU_OK only
 * @retval QUIPU_TOO_FEW_SIGNERS  err says who has signed, and how many are missing
 * @retval QUIPU_UNTRUSTED        no line of `trust` holds now
 * @retval QUIPU_EXISTS           there is such a file or folder; it is not touched
 * @retval QUIPU_INVALID          nobody is named who may sign, or nobody is asked for; as
 *                                quipu_signing_open; volumes by another store than the bundle's;
 *                                operator or reason is empty, too long or holds control characters
 * @retval QUIPU_KEY_LOCKED       volumes, and the store's key is not unlocked
 * @retval as quipu_bundle_check, quipu_age_writer_open and quipu_operation_record; QUIPU_IO,
 *         QUIPU_NO_SPACE, QUIPU_PERMISSION, QUIPU_MISUSE (size of the options)
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_release(struct quipu_engine *engine, const char *path, const char *out,
              const struct quipu_release_options *options, struct quipu_release_report *report,
              struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif

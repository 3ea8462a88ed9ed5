/*
 * Bundles: a batch of events as one file that travels over an air gap. The file is a CARv1 that any
 * IPLD tool lists and verifies; its root names a manifest, and the manifest is signed with SSHSIG
 * by the store's key.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_BUNDLE_H
#define QUIPU_BUNDLE_H

#include <stdbool.h>
#include <stdint.h>

#include "quipu/age.h"
#include "quipu/engine.h"
#include "quipu/ingest.h"
#include "quipu/io.h"
#include "quipu/signers.h"
#include "quipu/trust.h"

#ifdef __cplusplus
extern "C" {
#endif

#define QUIPU_BUNDLE_FORMAT    1
#define QUIPU_BUNDLE_NAMESPACE "quipu-bundle@v1"

/* Limits of one bundle. More than that: export in parts. */
#define QUIPU_BUNDLE_EVENTS_MAX         (1u << 26)
#define QUIPU_BUNDLE_NAMES_MAX          16384u /* event types, and sources */
#define QUIPU_BUNDLE_OPERATOR_BYTES_MAX 255
#define QUIPU_BUNDLE_REASON_BYTES_MAX   1023

/* Smallest and greatest number of volumes' bytes, and volumes of one bundle. */
#define QUIPU_BUNDLE_VOLUME_BYTES_MIN 65536u
#define QUIPU_BUNDLE_VOLUMES_MAX      999u

enum quipu_export_from {
    /** Where the filter says. */
    QUIPU_EXPORT_FROM_FILTER = 0,
    /** Behind what the bundles so far hold without a gap: those that were exported whole, and so to
     * their end. The filter may then only name an end (`until`). */
    QUIPU_EXPORT_SINCE_LAST,
};

struct quipu_export_options {
    size_t size;                     /* sizeof this struct */
    struct quipu_filter filter;      /* which events; direction must be forwards */
    const char *operator_name;       /* who exports, for the manifest; NULL: not said */
    const char *reason;              /* why; NULL: not said */
    const struct quipu_clock *clock; /* for created_at; NULL: the system's */
    enum quipu_export_from from;
    /** Encrypt to these recipients or this passphrase (age.h): the file is then an age file whose
     * plaintext is the CAR. NULL: not encrypted. Borrowed for the call. */
    const struct quipu_age_write_options *encryption;
    /** Not 0: `path` becomes a folder that holds the bundle in volumes of this many bytes, named
     * <name>.001 and so on, and their digests, signed (SHA256SUMS, SHA256SUMS.sig). */
    uint64_t volume_bytes;
};

#define QUIPU_EXPORT_OPTIONS_INIT                                                                  \
    {                                                                                              \
        .size = sizeof(struct quipu_export_options)                                                \
    }

struct quipu_export_report {
    uint64_t events;
    uint64_t file_bytes;
    uint64_t first_position;
    uint64_t last_position;
    struct quipu_cid root; /* of the CAR */
    struct quipu_cid manifest;
    uint8_t file_sha256[QUIPU_SHA256_BYTES]; /* of the file, or of its volumes one after another */
    /** Of this store's bundles, from 1; 0: the store could not be written, so that no number was
     * taken and nothing recorded: the bundle stands outside of the store's row of bundles. */
    uint64_t number;
    uint8_t car_sha256[QUIPU_SHA256_BYTES]; /* of the CAR: another one where it is encrypted */
    uint64_t log_size;                      /* events in the tree of the checkpoint */
    uint8_t log_root[QUIPU_SHA256_BYTES];
    uint64_t volumes; /* 0: one file */
    /** The bundle before this one was being written when its export was killed, so that nobody can
     * say whether it stands. Its number is not used again, and --since-last covers its events. */
    bool was_interrupted;
};

/**
 * Write the events to a new file `path`: to a temporary name beside it first, synced, read back and
 * verified (encrypted: compared), then renamed. Marks nothing as published. The bundle's number and
 * manifest are reserved in the store right before the file gets its name, so that no number is used
 * twice, also by an export that is killed, and the next bundle links to this one. The manifest
 * holds a signed checkpoint of the tree over all that this store's source has recorded, the proof
 * that the bundle's events of it are in that tree, and the proof that the tree began as that of the
 * bundle before. The signing key and the source are made where the store has none yet. Needs 64
 * bytes of memory an event, besides 24 MiB.
 *
 * A store that cannot be written is exported all the same where it has a key: without a number.
 * @param options  NULL: every event, nothing said
 * @param report   NULL: not wanted; written on QUIPU_OK only
 * @retval QUIPU_EXISTS     there is such a file (or folder or link); it is not touched
 * @retval QUIPU_NOT_FOUND  no event is let through by the filter, or since the last bundle, or the
 *                          folder of `path` is not there; no file is made
 * @retval QUIPU_CORRUPT    a stored block does not hash to its CID, or the log is not what the
 *                          checkpoint of the bundle before says; no file is made
 * @retval QUIPU_EVENT_ID_CONFLICT  two of the events have one event_id, and nobody could take both
 * in; quipu_verify names them; no file is made
 * @retval QUIPU_BUSY       another export of this store is running
 * @retval QUIPU_INVALID    operator or reason is empty, too long or holds control characters;
 *                          `path` names no file; the filter chooses with QUIPU_EXPORT_SINCE_LAST;
 *                          volumes of less than QUIPU_BUNDLE_VOLUME_BYTES_MIN
 * @retval QUIPU_TOO_LARGE  over a limit of one bundle
 * @retval QUIPU_MISUSE     `size` of the options is another, or the filter goes backwards
 * @retval QUIPU_IO, QUIPU_NO_SPACE, QUIPU_PERMISSION, QUIPU_NO_MEMORY, and as
 *         quipu_age_writer_open
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_export(struct quipu_engine *engine, const char *path,
             const struct quipu_export_options *options, struct quipu_export_report *report,
             struct quipu_error *err);

struct quipu_bundle_report {
    uint64_t events;
    uint64_t blocks;
    uint64_t file_bytes; /* of the CAR */
    struct quipu_cid manifest;
    /** One whose signature holds, as in `signers`: trusted where that was asked for, else the
     * store itself. */
    char signer[QUIPU_SOURCE_TEXT_BYTES];
    char source[QUIPU_SOURCE_TEXT_BYTES]; /* store that exported it, as its manifest says */
    int64_t created_unix_us;
    uint8_t file_sha256[QUIPU_SHA256_BYTES]; /* of the CAR */
    uint64_t number;         /* of that store's bundles, from 1; 0: it stands outside of them */
    uint64_t first_position; /* in that store's log */
    uint64_t last_position;
    bool has_previous;
    struct quipu_cid previous; /* manifest of that store's bundle before this one */
    uint8_t tree_root[QUIPU_SHA256_BYTES];
    char operator_name[QUIPU_BUNDLE_OPERATOR_BYTES_MAX + 1]; /* "": not said */
    char reason[QUIPU_BUNDLE_REASON_BYTES_MAX + 1];          /* the same */
    /** The checkpoint: all that the source had recorded when it exported. */
    uint64_t log_size;
    uint8_t log_root[QUIPU_SHA256_BYTES];
    /** The checkpoint of the bundle before, as this one says; that it is a beginning of this one's
     * tree is proven. */
    bool has_log_previous;
    uint64_t log_previous_size;
    uint8_t log_previous_root[QUIPU_SHA256_BYTES];
    /** Events that the source recorded since that checkpoint (since its beginning, where there is
     * none) and that are not in the bundle: it is a selection. */
    uint64_t left_out;
    uint64_t proven;     /* events that are proven to be in that tree, each at its number */
    uint64_t unproven;   /* events of sources that did not sign: theirs on the signer's word only */
    uint64_t signatures; /* all of them hold */
    /** How many people of those whom the caller trusts have signed; 0 where it named nobody. */
    uint32_t people;
    struct quipu_signer signers[QUIPU_SIGNERS_MAX]; /* `signatures` of them, in the file's order */
    /** 0: one file. */
    uint64_t volumes;
    /** Then file_bytes and file_sha256 are those of the CAR inside. */
    bool was_encrypted;
};

/** Who may have made a bundle, and what opens it. */
struct quipu_bundle_check_options {
    size_t size; /* sizeof this struct */
    /** Identities and passphrase for an encrypted bundle. Borrowed for the call. */
    const struct quipu_age_secrets *secrets;
    /** NKey texts "U…" of the signers that are trusted; NULL with count 0: any valid signature. */
    const char *const *trusted;
    size_t trusted_count;
    /** Signers that are trusted besides, as allowed_signers says for the namespace of bundles and
     * the time of the check. NULL: none. */
    const struct quipu_trust *trust;
    /** How many people of them must have signed (signers.h); 0: one trusted signer is enough. */
    uint64_t required_signers;
    const struct quipu_clock *clock; /* NULL: the system's */
};

#define QUIPU_BUNDLE_CHECK_OPTIONS_INIT                                                            \
    {                                                                                              \
        .size = sizeof(struct quipu_bundle_check_options)                                          \
    }

/**
 * Check a bundle by itself, without a store and without the network: every block against its CID,
 * the manifest against the blocks, the signatures, the checkpoint and both proofs, each envelope
 * strictly. `path` is a CAR, an age file with one inside, or the folder of its volumes. Needs 32
 * bytes of memory an event (48 for a moment), besides 24 MiB and the proof.
 * @param options  NULL: any signer, nothing that decrypts
 * @param report   NULL: not wanted; written on QUIPU_OK only
 * @retval QUIPU_OK             intact, and signed by `report->signer`
 * @retval QUIPU_CAR, QUIPU_CID_MISMATCH   the file is damaged; err says which byte
 * @retval QUIPU_CAR_TRUNCATED  it ends too early
 * @retval QUIPU_BUNDLE         a CAR, but not a bundle; or manifest, proofs and blocks disagree
 * @retval QUIPU_ENVELOPE, QUIPU_CBOR_*    an event is none, although the manifest names it
 * @retval QUIPU_EVENT_ID_CONFLICT  two of its events have one event_id; err says which
 * @retval QUIPU_UNSIGNED       nobody has signed it
 * @retval QUIPU_BAD_SIGNATURE  a signature does not hold, or the store that the manifest names did
 *                              not sign
 * @retval QUIPU_UNTRUSTED      no signer is one of `trusted` and `trust`
 * @retval QUIPU_TOO_FEW_SIGNERS  fewer people of them than `required_signers` have signed; err says
 *                              who has, and how many are missing
 * @retval QUIPU_MISSING        volumes, or what says which there are, are not in the folder
 * @retval QUIPU_INVALID        a special file, or a folder without volumes; or a text in `trusted`;
 *                              or people are asked for, and nobody is trusted
 * @retval QUIPU_TOO_LARGE      a block is over the limit of its kind
 * @retval QUIPU_AGE_*          encrypted, and nothing given opens it, or it is damaged
 * @retval QUIPU_FORMAT_NEWER, QUIPU_NOT_FOUND, QUIPU_PERMISSION, QUIPU_IO, QUIPU_NO_MEMORY,
 *         QUIPU_MISUSE (size of the options)
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_bundle_check_with(const char *path, const struct quipu_bundle_check_options *options,
                        struct quipu_bundle_report *report, struct quipu_error *err);

/** The same with no options. */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_bundle_check(const char *path, struct quipu_bundle_report *report, struct quipu_error *err);

/** What is known of the last bundle of a source: of a checked one, or remembered. */
struct quipu_bundle_place {
    uint64_t number;
    struct quipu_cid manifest;
    uint64_t log_size;
    uint8_t log_root[QUIPU_SHA256_BYTES];
};

/** The place of a bundle that was checked. Any thread. */
QUIPU_API struct quipu_bundle_place quipu_bundle_place_of(const struct quipu_bundle_report *report);

/**
 * Does a bundle that was checked follow another one of the same source?
 * @param before  NULL: none is known; then only number 1 follows
 * @retval QUIPU_OK      it does; a bundle without a number (0) follows every one, and says nothing
 *                       about those that are missing
 * @retval QUIPU_EXISTS  it is that very bundle
 * @retval QUIPU_GAP     bundles between them are missing; err names their numbers
 * @retval QUIPU_FORK    another bundle with the same number; or its number is the next, but it
 * names another one before it, or another tree: the source was rolled back, or its key is used
 * twice
 * @retval QUIPU_INVALID its number is smaller: an old bundle, played again
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_bundle_follows(const struct quipu_bundle_place *before,
                     const struct quipu_bundle_report *bundle, struct quipu_error *err);

/**
 * Check a bundle as quipu_bundle_check_with does, and write what an auditor checks with stock tools
 * alone into the new folder `folder`: events.car, events.ndjson, manifest.cbor, manifest.json,
 * signature-N.sig, checkpoint, allowed_signers, signer-N.pub, SHA256SUMS, VERIFY.txt (the
 * commands). The folder appears complete, or not at all.
 * @retval QUIPU_EXISTS  there is such a folder; as quipu_bundle_check_with, QUIPU_NO_SPACE
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_bundle_unpack(const char *path, const struct quipu_bundle_check_options *options,
                    const char *folder, struct quipu_bundle_report *report,
                    struct quipu_error *err);

/** Append the digest as words to be spoken (PGP word list: two syllables, three syllables, in
 * turn), with spaces between. Failures stick in `out`. Any thread. */
QUIPU_API void quipu_digest_words(struct quipu_slice digest, struct quipu_buf *out);

struct quipu_import_options {
    size_t size; /* sizeof this struct */
    /** Check everything against the store and report, but write nothing. */
    bool is_dry_run;
    /** NKey texts "U…" of the signers that are trusted; NULL with count 0: any valid signature,
     * unless `trust` says who. */
    const char *const *trusted;
    size_t trusted_count;
    /** Take forks in, with their conflicts recorded (forks.h); without it they are refused. */
    bool keeps_forks;
    /** Signers that are trusted besides, as allowed_signers says for the namespace of bundles and
     * the time of the import. NULL: none. */
    const struct quipu_trust *trust;
    /** How many people of those who are trusted must have signed (signers.h); 0: one trusted signer
     * is enough. */
    uint64_t required_signers;
    /** Identities and passphrase for an encrypted bundle. NULL: none. */
    const struct quipu_age_secrets *secrets;
    /** Why bundles of the source that never came in may be missing before this one; kept in the
     * operations log. NULL: they may not. 1 to QUIPU_BUNDLE_REASON_BYTES_MAX bytes. */
    const char *accept_gap;
    const char *operator_name;       /* who imports, for the operations log; NULL: not said */
    const struct quipu_clock *clock; /* NULL: the system's */
    /** Take events of sources that did not sign the bundle on the word of a signer whom nobody
     * named (`trusted`, `trust`). Whoever can sign anything can write such events in anybody's
     * name, and they cannot be taken out again. */
    bool takes_unproven;
    /** Read from here to its end, and not from the path, which then only names it in messages: a
     * pipe. It is copied to a file without a name in the store's folder. NULL: the path. */
    const struct quipu_source *source;
};

#define QUIPU_IMPORT_OPTIONS_INIT                                                                  \
    {                                                                                              \
        .size = sizeof(struct quipu_import_options)                                                \
    }

struct quipu_import_report {
    struct quipu_bundle_report bundle;
    struct quipu_ingest_report events;
    /** Bundles of its source that never came in before it, and whose absence was accepted. */
    uint64_t missing;
    /** This very bundle came in before. */
    bool was_known;
    uint64_t operation; /* its number in the operations log; 0: a dry run */
};

/**
 * Check the bundle as quipu_bundle_check_with does, and that it follows the bundles of its source
 * that came in before, then take its events in: all or none, in one transaction. Importing the same
 * bundle again adds nothing. A file is read twice, and must be the same both times; what is
 * encrypted or comes from a source is copied, in clear, to a file of mode 0600 without a name in
 * the store's folder. Recorded in the operations log in the same transaction. Needs 32 bytes of
 * memory an event (48 for a moment), besides 24 MiB, and what the transaction holds: up to some 400
 * MB.
 * @param options  NULL: any valid signature, and write
 * @param report   NULL: not wanted; written on QUIPU_OK only
 * @retval as quipu_bundle_check_with and quipu_ingest_event; the store is then untouched
 * @retval QUIPU_UNTRUSTED      no signer is one of `trusted` and `trust`; or nobody is named, it
 *                              holds events of sources that did not sign it, and they are to be
 *                              written without `takes_unproven`
 * @retval QUIPU_TOO_FEW_SIGNERS  fewer people of them than `required_signers` have signed
 * @retval QUIPU_BUNDLE         also: the file changed between the check and the import
 * @retval QUIPU_GAP            also: bundles of its source are missing before it
 * @retval QUIPU_FORK           also: another bundle of its source has its number, or they
 * contradict each other: the source was rolled back, or its key is used twice
 * @retval QUIPU_INVALID        also: a text in `trusted` is not an NKey "U…", or one of the others
 *                              is empty, too long or holds control characters
 * @retval QUIPU_TOO_LARGE      also: more than one transaction of the store holds (some 400 MB):
 *                              see quipu_import_accept_alone
 * @retval QUIPU_MISUSE         `size` of the options is another, or trusted is NULL with a count
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_import(struct quipu_engine *engine, const char *path,
             const struct quipu_import_options *options, struct quipu_import_report *report,
             struct quipu_error *err);

/* ------------------------------------------------------------------ the same in steps */

/** A bundle (or lines, event_lines.h) that was checked: to be looked at, and then accepted or not.
 * One thread at a time. */
struct quipu_import;

/**
 * The first step: check all of the bundle, and who signed it. Writes nothing to the store.
 * @param path     Borrowed until close, like all that `options` points at.
 * @param options  NULL: the defaults.
 * @param out      Close it with quipu_import_close. Untouched on failure.
 * @retval as quipu_import, but for what the store says of the events
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_import_open(struct quipu_engine *engine, const char *path,
                  const struct quipu_import_options *options, struct quipu_import **out,
                  struct quipu_error *err);

/** What the check has found. Borrowed until close. */
QUIPU_API const struct quipu_bundle_report *quipu_import_bundle(const struct quipu_import *import);

enum quipu_import_row_kind { QUIPU_IMPORT_BY_TYPE, QUIPU_IMPORT_BY_AGGREGATE };

#define QUIPU_IMPORT_ROWS_MAX 4096u /* of one kind; what is more is one row without a name */

/** Events of one type, or of one aggregate ("type/id"). */
struct quipu_import_row {
    enum quipu_import_row_kind kind;
    struct quipu_slice name; /* empty: all those behind QUIPU_IMPORT_ROWS_MAX; for the callback */
    uint64_t added;          /* that are not here */
    uint64_t known;          /* that are here */
    uint64_t conflicting;    /* that contradict what is here; see quipu_import_diff */
};
typedef enum quipu_status (*quipu_import_row_fn)(void *ctx, const struct quipu_import_row *row,
                                                 struct quipu_error *err);

struct quipu_import_diff {
    uint64_t added;
    uint64_t known;
    /** Another event here has the id, or their version of the aggregate: a branch. */
    uint64_t conflicting;
    uint64_t missing; /* bundles of its source that never came in before it */
    bool was_known;   /* this very bundle came in before */
};

/**
 * The second step: what of it is new, against the store as it is now. Types come first, then
 * aggregates, each in the order of their names, shorter first.
 * @param visit  May be NULL.
 * @retval QUIPU_FORK    as quipu_import: it contradicts the bundles before it
 * @retval QUIPU_BUNDLE  the file changed since it was opened
 * @retval QUIPU_CORRUPT, QUIPU_NO_MEMORY, QUIPU_IO, or what `visit` says
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_import_compare(struct quipu_import *import, struct quipu_engine *engine,
                     quipu_import_row_fn visit, void *ctx, struct quipu_import_diff *diff,
                     struct quipu_error *err);

/** The last step: take all of it in, or none, in one transaction. Once; after QUIPU_TOO_LARGE
 * quipu_import_accept_alone may be tried. Memory: quipu_import_accept_within has a bound to it.
 * @retval as quipu_import */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_import_accept(struct quipu_import *import,
                                                                 struct quipu_engine *engine,
                                                                 struct quipu_import_report *report,
                                                                 struct quipu_error *err);

/** What the program `quipu` lets one transaction hold: an import then stays below some 64 MiB. */
#define QUIPU_IMPORT_MEMORY_DEFAULT ((uint64_t)40 << 20)

/**
 * quipu_import_accept, as long as the transaction holds at most `memory_max` bytes of what it has
 * changed, about. Events that are known already change nothing, so that a bundle of which little is
 * new is taken in whatever its size.
 * @retval QUIPU_TOO_LARGE  it would be more; nothing was taken in. Often said at once: where the
 * bundle has more events than the store, so that those beyond must be new. Then close the store and
 * call quipu_import_accept_alone, or, where others use the store and will not leave it,
 * quipu_import_accept. @retval as quipu_import
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_import_accept_within(struct quipu_import *import, struct quipu_engine *engine,
                           uint64_t memory_max, struct quipu_import_report *report,
                           struct quipu_error *err);

/**
 * The last step for a bundle of any size: into a copy of the store in the folder `store`, in
 * slices, and the copy takes the store's place by one rename. All or none, also after a kill or a
 * power cut at any moment. The store must not be open, neither here (close the engine that
 * quipu_import_open was given) nor elsewhere; the disk needs room for the copy and the events.
 * Memory: as quipu_import, but some 30 MB for the transactions.
 * @retval QUIPU_BUSY  it is open; err names the process. @retval as quipu_import and
 * quipu_store_stage_begin
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_import_accept_alone(struct quipu_import *import, const char *store,
                          struct quipu_import_report *report, struct quipu_error *err);

/** NULL in it is fine; becomes NULL. */
QUIPU_API void quipu_import_close(struct quipu_import **import);

#ifdef __cplusplus
}
#endif

#endif

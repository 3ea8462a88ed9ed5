/*
 * The ceremony report: one page about a store for people to read, compare and sign by hand. Who
 * (source and its fingerprint, operators), what went out and came in (the operations log, digests
 * in hexadecimal and in words), which events there are, how far the source's log has come, and what
 * is not in order. As text of 80 columns, or as one HTML file that needs nothing else.
 *
 * The page is not signed by a machine: the bundles are, and it names them.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_REPORT_H
#define QUIPU_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quipu/buf.h"
#include "quipu/cid.h"
#include "quipu/engine.h"
#include "quipu/forks.h"
#include "quipu/io.h"
#include "quipu/outbox.h"
#include "quipu/sha256.h"
#include "quipu/sshsig.h"
#include "quipu/trust.h"
#include "quipu/uuid.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Names that are counted one by one, of each kind; what is more is counted together. */
#define QUIPU_REPORT_NAMES_MAX 1024u
/** Aggregates are named one by one up to this many, else not at all. */
#define QUIPU_REPORT_AGGREGATES_MAX 64u
/** Operators that a line to sign on is kept for. */
#define QUIPU_REPORT_OPERATORS_MAX 16u
/** Keys that signed and get a number on the page; rows name the others in full. */
#define QUIPU_REPORT_SIGNERS_MAX 32u
/** Conflicts that are described. */
#define QUIPU_REPORT_FORKS_MAX 16u

/** Events, or operations, under one name. */
struct quipu_report_count {
    struct quipu_slice name; /* empty: all those behind QUIPU_REPORT_NAMES_MAX */
    uint64_t count;
    uint64_t aggregates; /* of a type of aggregates: how many there are */
};

/** In the order of the names, bytewise; the one without a name comes last. */
struct quipu_report_table {
    struct quipu_report_count *rows;
    size_t count;
};

struct quipu_report_fork {
    enum quipu_fork_kind kind;
    enum quipu_fork_state state;
    struct quipu_slice aggregate; /* "type/id" */
    struct quipu_slice source;    /* QUIPU_FORK_SOURCE */
    uint64_t number;              /* version of the aggregate, or number of the source */
};

/** A key, other than the store's own source, whose signature held in an operation. */
struct quipu_report_signer {
    char name[QUIPU_SOURCE_TEXT_BYTES]; /* as the operations log has it (signers.h) */
    struct quipu_slice principals;      /* of the line that names it; empty: none. The trust's */
    uint64_t operations;
};

/** All of the page but the rows of the operations log, which are read when it is written. Slices
 * are its own. */
struct quipu_report {
    struct quipu_engine *engine; /* borrowed */
    int64_t printed_unix_us;
    const char *tool; /* static text, such as "quipu 0.9.0" */
    struct quipu_uuid store;
    bool was_backup; /* a backup in which nobody has recorded since */

    char source[QUIPU_SOURCE_TEXT_BYTES];          /* "": none yet */
    char fingerprint[QUIPU_SSH_FINGERPRINT_BYTES]; /* as `ssh-keygen -l` shows it */

    /* The log, up to and with position `events`. */
    uint64_t events;
    uint64_t aggregates;
    int64_t first_occurred_unix_us; /* earliest and latest; 0 without events */
    int64_t last_occurred_unix_us;
    struct quipu_report_table types;
    struct quipu_report_table aggregate_types;
    struct quipu_report_table by_aggregate; /* "type/id"; empty: too many */
    struct quipu_report_table sources;      /* who recorded them */

    /** The tree over what the store's source has recorded (SPEC §9.8), as its next checkpoint would
     * say it. Without a source: size 0. */
    uint64_t log_size;
    uint8_t log_root[QUIPU_SHA256_BYTES];

    /** The last bundle of this source; 0: none. */
    uint64_t bundle;
    bool is_bundle_settled; /* else its export was interrupted */
    struct quipu_cid bundle_manifest;
    bool has_bundle_log;
    uint64_t bundle_log_size;
    uint8_t bundle_log_root[QUIPU_SHA256_BYTES];
    uint64_t not_exported; /* events behind what the bundles hold without a gap */

    struct quipu_outbox_status outbox;
    struct quipu_fork_counts forks;
    struct quipu_report_fork fork_rows[QUIPU_REPORT_FORKS_MAX]; /* open and lasting ones */
    size_t fork_row_count;
    uint64_t quarantined;

    /* The operations log: rows from after + 1 up to and with last_operation. */
    uint64_t after;
    uint64_t last_operation;
    struct quipu_report_table kinds;
    struct quipu_report_table operators; /* up to QUIPU_REPORT_OPERATORS_MAX, and the others */
    struct quipu_report_signer signers[QUIPU_REPORT_SIGNERS_MAX]; /* in order of appearance */
    size_t signer_count;

    struct quipu_buf names; /* what the slices point into */
};

struct quipu_report_options {
    size_t size;                     /* sizeof this struct */
    uint64_t after;                  /* only operations with a number greater than this */
    const struct quipu_clock *clock; /* for printed_unix_us; NULL: the system's */
    /** Whose keys they are: of each the first line that names it for bundles or receipts, whenever
     * that holds. NULL: nobody is named. Borrowed until the report is released. */
    const struct quipu_trust *trust;
};

#define QUIPU_REPORT_OPTIONS_INIT                                                                  \
    {                                                                                              \
        .size = sizeof(struct quipu_report_options)                                                \
    }

/**
 * Read the whole store once: every block is hashed again. Needs no signing key, writes nothing, and
 * its memory does not grow with the store. Others may append meanwhile: the log is taken as it was
 * at the start.
 * @param options  NULL: the defaults
 * @param out      Release it with quipu_report_release, also after a failure.
 * @retval QUIPU_CORRUPT   a stored block or row is damaged; a number of the source is missing
 * @retval QUIPU_MISUSE    size of the options, or NULL
 * @retval QUIPU_NO_MEMORY, QUIPU_IO, and as quipu_identity_source but for QUIPU_NOT_FOUND
 *         and QUIPU_KEY_LOCKED: then there is no source yet
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_report_collect(struct quipu_engine *engine, const struct quipu_report_options *options,
                     struct quipu_report *out, struct quipu_error *err);

/** Frees what it owns and zeroes it; zero-initialised may be released. */
QUIPU_API void quipu_report_release(struct quipu_report *report);

enum quipu_report_form {
    /** UTF-8, 80 columns, LF. */
    QUIPU_REPORT_TEXT = 0,
    /** One HTML file without scripts and without anything from outside; prints on A4 or Letter: a
     * dozen operations on one side, more on sides that are numbered. */
    QUIPU_REPORT_HTML,
};

/**
 * Write the page. The same report of the same store gives the same bytes. Texts that others wrote
 * cannot end their place in it: what drives a terminal or turns the direction of reading is shown
 * by its number, in HTML all is escaped and isolated.
 * @retval QUIPU_CORRUPT  a row of the operations log is damaged. QUIPU_NO_MEMORY, or the sink's
 * @threads any; the engine must still be open
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_report_write(const struct quipu_report *report,
                                                                enum quipu_report_form form,
                                                                struct quipu_sink sink,
                                                                struct quipu_error *err);

/**
 * The same into a new file `path`, which appears complete and synced, or not at all.
 * @param sha256  of the file; may be NULL; written on QUIPU_OK only
 * @retval QUIPU_EXISTS  something has that name. QUIPU_NOT_FOUND  no such folder.
 * @retval QUIPU_INVALID (names no file), QUIPU_IO, QUIPU_NO_SPACE, QUIPU_PERMISSION, and as above
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_report_save(const struct quipu_report *report, enum quipu_report_form form, const char *path,
                  uint8_t sha256[QUIPU_SHA256_BYTES], struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif

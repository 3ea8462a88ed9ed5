/*
 * Commands: load an aggregate, decide what happens, append it. And the snapshots that make loading
 * short.
 *
 * An aggregate kind says how events fold into a state. quipu_command_run loads the state, asks a
 * function of the caller's what follows, and appends that at exactly the version that was loaded;
 * where another writer came first, it begins again as often as the caller allows.
 *
 * A snapshot is a copy of a state at a version. It saves time and is never needed: one that is
 * absent, of another schema, damaged or not of this log is passed over and the events are folded
 * instead. Whether one can be written never decides what becomes of a load or a command.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_COMMAND_H
#define QUIPU_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quipu/buf.h"
#include "quipu/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A state as a snapshot keeps it; of a greater one none is written. */
#define QUIPU_SNAPSHOT_STATE_BYTES_MAX (8u << 20)
/** What one decision may append. */
#define QUIPU_DECISION_EVENTS_MAX 1024
/** How often a command may begin again. */
#define QUIPU_COMMAND_RETRIES_MAX 1000

/* ------------------------------------------------------------------ kinds */

/** How the events of one type of aggregate become a state. Borrowed for each call. The callbacks
 * must depend on nothing but what they are given. */
struct quipu_aggregate_kind {
    const char *aggregate_type;

    /** A state before any event, into `*state`; destroy frees it. */
    enum quipu_status (*create)(void *ctx, void **state, struct quipu_error *err);
    /** Fold one event into the state. The view is valid during the call. A failure fails the load,
     * with the event's version before its line. Called in the order of positions. */
    enum quipu_status (*apply)(void *ctx, void *state, const struct quipu_event_view *event,
                               struct quipu_error *err);
    void (*destroy)(void *ctx, void *state);

    /** Append the whole state to `out`. */
    enum quipu_status (*save)(void *ctx, const void *state, struct quipu_buf *out,
                              struct quipu_error *err);
    /** Bring a state that create has made to where `saved` was. A failure means that the snapshot
     * is passed over as damaged; the state is then destroyed. */
    enum quipu_status (*restore)(void *ctx, void *state, struct quipu_slice saved,
                                 struct quipu_error *err);
    /** Of what save writes and of what apply does: raise it when either changes. */
    uint64_t snapshot_schema;
    /** Write a snapshot where at least so many events were folded since the last one. 0: neither
     * read nor write any; save and restore may then be NULL. */
    uint64_t snapshot_every;

    void *ctx; /* of all of the above */

    /** Called with a copy of the view before apply; see upcast.h. NULL: none. */
    enum quipu_status (*upcast)(void *ctx, struct quipu_event_view *event, struct quipu_error *err);
    void *upcast_ctx;
};

/* ------------------------------------------------------------------ loading */

/** What a load found where a snapshot might have been. */
enum quipu_snapshot_found {
    QUIPU_SNAPSHOT_NONE = 0, /* none there, or the kind has none */
    QUIPU_SNAPSHOT_USED,
    QUIPU_SNAPSHOT_STALE,   /* of another schema of the kind, or of another format */
    QUIPU_SNAPSHOT_DAMAGED, /* cut short, another digest, or restore did not take it */
    QUIPU_SNAPSHOT_FOREIGN, /* of an event that is not the aggregate's here, or not in the log */
};

/** "none", "used", "stale", "damaged", "foreign". Static text. Any thread. */
QUIPU_API const char *quipu_snapshot_found_text(enum quipu_snapshot_found found);

/** An aggregate as of one moment. Release it. */
struct quipu_loaded {
    void *state;               /* as create made it where there is no event */
    uint64_t version;          /* of the last event, 0: none; what to expect of the aggregate */
    uint64_t position;         /* of that event */
    uint64_t folded;           /* events that were read; those in the snapshot were not */
    uint64_t snapshot_version; /* of the snapshot that it began with, 0: none */
    enum quipu_snapshot_found snapshot;
};

/**
 * The state of an aggregate: the snapshot, if there is a good one, and the events behind it. Where
 * an aggregate has forked, the events of all branches are folded, in the order of the log.
 *
 * @param out  untouched on failure
 * @retval QUIPU_INVALID        no such name of an aggregate
 * @retval QUIPU_MISUSE         the kind lacks a function that it needs
 * @retval QUIPU_CORRUPT, QUIPU_IO, QUIPU_NO_MEMORY, QUIPU_SCHEMA_NEWER (by the upcast hook), or
 * what the callbacks say
 * @threads any   @cost reads in slices; no transaction is open when it returns
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_aggregate_load(struct quipu_engine *engine, const struct quipu_aggregate_kind *kind,
                     const char *aggregate_id, struct quipu_loaded *out, struct quipu_error *err);

/** Destroy the state and set it NULL. A zeroed struct is fine. */
QUIPU_API void quipu_loaded_release(const struct quipu_aggregate_kind *kind,
                                    struct quipu_loaded *loaded);

/* ------------------------------------------------------------------ commands */

/** Where a decision is put. */
struct quipu_decision;

/**
 * One more event. Copied.
 *
 * With aggregate.type and aggregate.id both NULL it is of the aggregate that the command is for: it
 * is appended at exactly the version that was loaded (and those behind it), so its expectation must
 * be left open. Of any other aggregate, the event says itself what it expects.
 * @retval QUIPU_TOO_LARGE  more than QUIPU_DECISION_EVENTS_MAX. @retval QUIPU_NO_MEMORY
 * @retval QUIPU_MISUSE     the command's own aggregate with an expectation, or by half a name
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_decision_add(struct quipu_decision *decision,
                                                                const struct quipu_event *event,
                                                                struct quipu_error *err);

/**
 * Say what follows from the command, given the aggregate as it is; nothing may. Any failure refuses
 * the command, and is what the caller gets, word for word. Called again, with the aggregate as it
 * is then and an empty `out`, where another writer came first. May read the store.
 */
typedef enum quipu_status (*quipu_decide_fn)(void *ctx, const struct quipu_loaded *loaded,
                                             struct quipu_decision *out, struct quipu_error *err);

/** A command. Borrowed for the call. */
struct quipu_command {
    size_t size; /* sizeof this struct */
    const struct quipu_aggregate_kind *kind;
    const char *aggregate_id;
    quipu_decide_fn decide;
    void *ctx; /* of decide */
    /** How often to begin again after QUIPU_VERSION_CONFLICT, up to QUIPU_COMMAND_RETRIES_MAX. 0:
     * the conflict is the caller's. */
    uint32_t retries;
    /** Of each event that has none of its own. nil: as quipu_append_batch does it. */
    struct quipu_uuid correlation_id;
    struct quipu_uuid causation_id;
};

#define QUIPU_COMMAND_INIT                                                                         \
    {                                                                                              \
        .size = sizeof(struct quipu_command)                                                       \
    }

struct quipu_command_report {
    uint32_t attempts; /* decisions that were asked for */
    size_t events;     /* of the decision */
    uint64_t version;  /* of the aggregate: behind the command's events, or as it was loaded */
    struct quipu_appended first; /* zero where there were no events */
    struct quipu_appended last;
    enum quipu_snapshot_found snapshot; /* what the last load found */
};

/**
 * Load the aggregate, decide, append all or none.
 *
 * @param report  may be NULL; untouched on failure
 * @retval QUIPU_OK                durable, or there was nothing to append
 * @retval QUIPU_VERSION_CONFLICT  another writer came first, also the last time that was allowed
 * @retval QUIPU_MISUSE            size, retries, no `kind` or no `decide`
 * @retval as quipu_aggregate_load and quipu_append_batch, or what `decide` says
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_command_run(struct quipu_engine *engine,
                                                               const struct quipu_command *command,
                                                               struct quipu_command_report *report,
                                                               struct quipu_error *err);

/* ------------------------------------------------------------------ snapshots */

/** What loads of this engine found since it was opened, and what became of writing. */
struct quipu_snapshot_counters {
    uint64_t used;
    uint64_t none;
    uint64_t stale;
    uint64_t damaged;
    uint64_t foreign;
    uint64_t written;
    uint64_t unwritten; /* could not be written: save failed, too large, disk full, read-only… */
};

/** @threads any */
QUIPU_API void quipu_snapshot_counters(const struct quipu_engine *engine,
                                       struct quipu_snapshot_counters *out);

struct quipu_snapshot {
    struct quipu_slice aggregate_type;
    struct quipu_slice aggregate_id;
    uint64_t schema; /* of the kind */
    uint64_t version;
    uint64_t position;
    struct quipu_cid cid; /* of the envelope at that version */
    size_t state_bytes;
    bool is_readable; /* false: a damaged row, of which the names alone are known */
};

typedef enum quipu_status (*quipu_snapshot_fn)(void *ctx, const struct quipu_snapshot *snapshot,
                                               struct quipu_error *err);

/** Call `visit` for each snapshot of aggregates of this type (NULL: of all), by type and id, in one
 * read transaction. QUIPU_DONE from the callback ends well. Slices are valid during the call. */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_each_snapshot(struct quipu_engine *engine,
                                                                 const char *aggregate_type,
                                                                 quipu_snapshot_fn visit, void *ctx,
                                                                 struct quipu_error *err);

/** Forget the snapshot of one aggregate, or with `aggregate_id` NULL of all of that type; the
 * events stay. `*dropped` (may be NULL) is how many.
 * @retval QUIPU_NOT_FOUND  one was named and there is none. @retval QUIPU_INVALID, QUIPU_IO, … */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_snapshot_drop(struct quipu_engine *engine, const char *aggregate_type,
                    const char *aggregate_id, uint64_t *dropped, struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif

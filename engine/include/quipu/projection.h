/*
 * Projections: state that is rebuilt from events. A projection's rows live in the same environment
 * and are committed together with its checkpoint, so each event takes effect exactly once.
 *
 * What may be done with one: bring it up to date (quipu_replay, quipu_replay_with), keep several up
 * to date in one pass over the log (quipu_projections_run), build it anew beside its old rows, look
 * at it (quipu_projection_status, quipu_each_projection), pause and resume it, retry or skip the
 * event that it is parked in front of, drop it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_PROJECTION_H
#define QUIPU_PROJECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quipu/engine.h"
#include "quipu/store.h"
#include "quipu/watch.h"

#ifdef __cplusplus
extern "C" {
#endif

#define QUIPU_PROJECTION_NAME_BYTES_MAX 64
/** Longest reason of a skip. */
#define QUIPU_PROJECTION_WHY_BYTES_MAX 400
#define QUIPU_ROW_VALUE_BYTES_MAX      (1u << 20)
/** Greatest slice, and greatest number of projections that one run keeps. */
#define QUIPU_SLICE_EVENTS_MAX    1000000
#define QUIPU_PROJECTIONS_RUN_MAX 64

/* ------------------------------------------------------------------ rows */

/** The rows of one projection, ordered bytewise by key, for the time of a callback: of `apply`, or
 * of a reader (quipu_projection_read_rows), who changes none. */
struct quipu_rows;

/** @retval QUIPU_NOT_FOUND, QUIPU_TOO_LARGE, QUIPU_INVALID (an empty key). The value lives until
 * the next put or delete. */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_rows_get(struct quipu_rows *rows,
                                                            struct quipu_slice key,
                                                            struct quipu_slice *value,
                                                            struct quipu_error *err);
/** Insert or replace. @retval QUIPU_TOO_LARGE, QUIPU_INVALID (an empty key), QUIPU_NO_MEMORY,
 * QUIPU_MISUSE (a reader) */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_rows_put(struct quipu_rows *rows,
                                                            struct quipu_slice key,
                                                            struct quipu_slice value,
                                                            struct quipu_error *err);
/** @retval QUIPU_NOT_FOUND, otherwise as quipu_rows_put */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_rows_delete(struct quipu_rows *rows, struct quipu_slice key, struct quipu_error *err);

/**
 * The row nearest to `key` on one side, as the caller sees the rows: in `apply` with all that was
 * put and deleted before. An empty key stands before every row; with LE and LT it stands behind
 * every row. Stepping on with GT from the key that was found walks over the rows, also while they
 * are changed; who wants those with a prefix begins with GE of the prefix and ends where a key does
 * not begin with it.
 * @param found_key  lives, like `value`, until the next put or delete
 * @retval QUIPU_DONE       none
 * @retval QUIPU_TOO_LARGE  a key of more than QUIPU_TABLE_KEY_BYTES_MAX bytes
 * @retval QUIPU_NO_MEMORY, QUIPU_CORRUPT, QUIPU_IO
 * @cost a look into the store and one among the changes of the slice, and one of each for every row
 * in between that the slice has deleted. The first seek of a slice sorts its changes.
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_rows_seek(struct quipu_rows *rows, struct quipu_slice key, enum quipu_seek seek,
                struct quipu_slice *found_key, struct quipu_slice *value, struct quipu_error *err);

/* ------------------------------------------------------------------ what a projection is */

/** A projection: a name, the version of its logic, and what an event does to its rows. Append-only:
 * members that are zero mean what they meant before they were there. Borrowed for the call. */
struct quipu_projection {
    const char *name; /* tokens of [a-z0-9_-], 1 to 64 bytes */
    uint64_t version; /* ≥ 1; another version means: rebuild */
    /**
     * Change `rows` for `event`; both are valid during the call. It must depend on nothing but
     * them: it is called again for events whose slice was not committed. It runs while others
     * read and append, but must not write to the store itself.
     *
     * A failure takes its changes back and parks the projection in front of the event, but for
     * QUIPU_STOPPED, QUIPU_BUSY and the failures of this machine (NO_MEMORY, IO, NO_SPACE,
     * PERMISSION, NO_RANDOM): these end the replay, and the next one tries again.
     */
    enum quipu_status (*apply)(void *ctx, struct quipu_rows *rows,
                               const struct quipu_event_view *event, struct quipu_error *err);
    void *ctx;

    /** Only events of these types, NULL: of all. Ended by NULL. An event that is left out costs
     * neither a call nor decoding; the checkpoint moves over it. Part of the logic: a change of
     * either list wants another version. */
    const char *const *event_types;
    const char *const *aggregate_types;

    /**
     * Side effects: called in the order of the log for each event that took effect, after the
     * commit that made it so, at least once: a crash between the call and the commit of the
     * watermark behind it brings the last ones again, and two processes that replay at the same
     * time may both call it, so the other side should drop doubles by event->envelope.event_id.
     * Events that a rebuild applies again are not reacted to again, nor is one that was skipped.
     * May append events. A failure ends the reactions until the next replay, which begins with the
     * event that failed; rows go on meanwhile.
     */
    enum quipu_status (*react)(void *ctx, const struct quipu_event_view *event,
                               struct quipu_error *err);
    /** Events up to this position never reach `react`: where it is added to an old log. */
    uint64_t react_after;

    /**
     * Called before `apply` and `react` with a copy of the view; may replace `payload` and
     * `envelope.schema`. What it puts there must live until it is called the next time. A failure
     * is one of the callback it was called for. NULL: none.
     */
    enum quipu_status (*upcast)(void *ctx, struct quipu_event_view *event, struct quipu_error *err);
    void *upcast_ctx;
};

/* ------------------------------------------------------------------ replaying */

enum quipu_replay_mode {
    /** Go on from the checkpoint (from the start where there is none or the version is another). */
    QUIPU_REPLAY_CATCH_UP = 0,
    /** Build anew beside the old rows and swap when it has caught up. */
    QUIPU_REPLAY_REBUILD,
    /** Build anew as that, but apply the events in causal order (causal.h): stores that hold the
     * same events reach the same rows and digest, whatever the order in which these came. It takes
     * in what the log held when it began; a catch-up afterwards goes on in the order of the log.
     * An event that fails ends it, and the old rows stay; nothing is parked. */
    QUIPU_REPLAY_CAUSAL,
};

struct quipu_replay_report {
    uint64_t applied;  /* events applied by this call */
    uint64_t position; /* checkpoint afterwards */
    uint64_t rows;     /* rows afterwards */
    /** SHA-256 over name, version, position, skipped events and every row in order (SPEC §7): two
     * stores with the same digest reached the same state. */
    uint8_t digest[QUIPU_SHA256_BYTES];
    uint64_t skipped; /* events up to `position` that were skipped by name: the digest says so */
};

/**
 * Bring the projection up to the end of the log, in slices, each with its checkpoint in one
 * transaction. `apply` runs in a read transaction; the write transaction only takes the changes.
 *
 * A failure of `apply` parks it in front of that event, and is returned with the position in err;
 * what was committed stays. From then on QUIPU_PARKED is returned at once, until
 * quipu_projection_retry or quipu_projection_skip, or another version. An explicit rebuild always
 * tries. A rebuild for another version goes on where an earlier one of that version ended; one of
 * the same version that was stopped or killed is cleared by the next catch-up, and one that parked
 * after quipu_projection_retry or quipu_projection_skip.
 *
 * An event whose bytes are damaged (its blocks are hashed again) is no failure of `apply`:
 * QUIPU_CORRUPT ends the replay in front of it and names position and block, what was applied
 * before it stays, and nothing is parked: the next call reads it again, as after QUIPU_IO.
 *
 * @param report  may be NULL; its digest reads every row
 * @retval QUIPU_OK, QUIPU_INVALID (name, version, or a type in its lists that no event can have),
 * QUIPU_CORRUPT, QUIPU_MISUSE (no such mode), or what `apply` or `react` says
 * @retval QUIPU_PARKED  an event could not be applied; err names it, and why
 * @retval QUIPU_PAUSED  quipu_projection_pause
 * @retval QUIPU_BUSY    another rebuild of this projection got in the way; nothing is harmed
 * @retval QUIPU_NOT_FOUND  it was dropped meanwhile
 * @threads any; of several at the same time each slice takes effect once; readers and writers go on
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_replay(struct quipu_engine *engine,
                                                          const struct quipu_projection *projection,
                                                          enum quipu_replay_mode mode,
                                                          struct quipu_replay_report *report,
                                                          struct quipu_error *err);

/** How far a replay has come, told after each slice. */
struct quipu_replay_progress {
    const struct quipu_projection *projection; /* the hindmost one of a run */
    uint64_t position;
    uint64_t done;       /* events gone over by this call (a run: since it last was up to date) */
    uint64_t total;      /* what it will be, as the log is now */
    uint64_t per_second; /* events, since the call began */
    int64_t left_us;     /* at that rate; 0 where it is done, -1 where there is no rate yet */
};

struct quipu_replay_options {
    size_t size; /* sizeof this struct */
    enum quipu_replay_mode mode;
    /** Up to and with this position, as if the log ended there; 0: to its end. */
    uint64_t until;
    /** A slice, which is what one commit makes durable, ends behind so many events (0:
     * QUIPU_SLICE_EVENTS_MAX, which is the most), after so many microseconds of applying (0:
     * 500,000), or with 32 MiB of changes. Others who write wait only while it is written. */
    uint32_t slice_events;
    int64_t slice_us;
    /** Asked before each slice and about every 50 ms in it, on the caller's thread; true: end with
     * QUIPU_STOPPED, all that was done is committed. May be NULL. */
    bool (*stop)(void *ctx);
    /** Called after each slice, between transactions. May be NULL. */
    void (*progress)(void *ctx, const struct quipu_replay_progress *progress);
    void *ctx;
    /** Apply events without hashing their blocks again: for who has verified the log otherwise,
     * such as by quipu_verify just before. Rows made of damaged events stay wrong until a rebuild.
     */
    bool skips_hashing;
};

#define QUIPU_REPLAY_OPTIONS_INIT                                                                  \
    {                                                                                              \
        .size = sizeof(struct quipu_replay_options)                                                \
    }

/**
 * quipu_replay with options; NULL: all defaults, which is quipu_replay to catch up.
 * @retval QUIPU_STOPPED  `stop` said so
 * @retval QUIPU_MISUSE   size, mode or a limit of a slice. As quipu_replay
 * @threads as quipu_replay
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_replay_with(struct quipu_engine *engine, const struct quipu_projection *projection,
                  const struct quipu_replay_options *options, struct quipu_replay_report *report,
                  struct quipu_error *err);

struct quipu_run_options {
    size_t size;           /* sizeof this struct */
    uint32_t slice_events; /* as in struct quipu_replay_options */
    int64_t slice_us;
    bool (*stop)(void *ctx);
    void (*progress)(void *ctx, const struct quipu_replay_progress *progress);
    /**
     * Called when every projection that can is at `position`, the end of the log. Return QUIPU_OK
     * when there may be more (nothing is lost where there is not, or where there was before),
     * QUIPU_DONE to end well, any failure to end with it. NULL: wait on `watch`; without one, end
     * when all are up to date.
     */
    enum quipu_status (*wait)(void *ctx, uint64_t position, struct quipu_error *err);
    /** Told when a projection cannot go on (parked, paused, a failing reaction…) while the others
     * do. May be NULL. */
    void (*held)(void *ctx, const struct quipu_projection *projection,
                 const struct quipu_error *why);
    void *ctx;
    /** Wait for commits of any process on this watch, which nobody else clears; quipu_watch_wake
     * has `stop` asked. Borrowed; may be NULL. */
    struct quipu_watch *watch;
    bool skips_hashing; /* as in struct quipu_replay_options */
};

#define QUIPU_RUN_OPTIONS_INIT                                                                     \
    {                                                                                              \
        .size = sizeof(struct quipu_run_options)                                                   \
    }

/**
 * Keep several projections up to date until told to stop: one pass over the log feeds all of them,
 * each with its own checkpoint. One that is parked or paused waits; it is looked at again after
 * each wait. One whose version is another is rebuilt in the same pass.
 *
 * @param projections  1 to QUIPU_PROJECTIONS_RUN_MAX, with different names; borrowed
 * @param options      NULL: defaults: once to the end
 * @retval QUIPU_OK       all are up to date (with nothing to wait on, or `wait` said QUIPU_DONE)
 * @retval QUIPU_STOPPED  `stop` said so; all that was done is committed
 * @retval QUIPU_MISUSE   count, size, limits, two of the same name
 * @retval QUIPU_CORRUPT  an event is damaged, as for quipu_replay: it ends the run of all, for the
 *         log is no longer what was recorded
 * @retval QUIPU_PARKED, QUIPU_PAUSED, QUIPU_BUSY…  as for quipu_replay: with nothing to wait on,
 *         what held the first one that could not go on; the others are up to date
 * @threads as quipu_replay
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_projections_run(struct quipu_engine *engine,
                      const struct quipu_projection *const *projections, size_t count,
                      const struct quipu_run_options *options, struct quipu_error *err);

/* ------------------------------------------------------------------ reading rows */

typedef enum quipu_status (*quipu_row_fn)(void *ctx, struct quipu_slice key,
                                          struct quipu_slice value, struct quipu_error *err);

/** Call `visit` for each row whose key begins with `prefix`, in order, in one snapshot. QUIPU_DONE
 * from the callback ends well. @retval QUIPU_NOT_FOUND  never replayed in this store */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_projection_each_row(struct quipu_engine *engine, const char *name, struct quipu_slice prefix,
                          quipu_row_fn visit, void *ctx, struct quipu_error *err);

typedef enum quipu_status (*quipu_rows_fn)(void *ctx, struct quipu_rows *rows,
                                           struct quipu_error *err);

/** Call `look` once with the rows as they are committed, all of them in one snapshot, for
 * quipu_rows_get and quipu_rows_seek; put and delete say QUIPU_MISUSE. Keys and values live until
 * `look` returns. While it runs, the store's file cannot use freed pages again, so it should not
 * wait for anything. QUIPU_DONE from the callback ends well.
 * @retval QUIPU_NOT_FOUND  never replayed in this store, or what `look` says
 * @retval QUIPU_MISUSE     no engine, name or callback
 * @threads any */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_projection_read_rows(struct quipu_engine *engine, const char *name, quipu_rows_fn look,
                           void *ctx, struct quipu_error *err);

/* ------------------------------------------------------------------ how they are */

enum quipu_projection_state {
    QUIPU_PROJECTION_LIVE = 0,    /* at the end of the log */
    QUIPU_PROJECTION_CATCHING_UP, /* behind */
    /** A second table is being filled beside the one that is read; or one of another version
     * waits until a replay of that version goes on. */
    QUIPU_PROJECTION_REBUILDING,
    QUIPU_PROJECTION_PAUSED, /* by name */
    QUIPU_PROJECTION_PARKED, /* in front of an event that it could not apply */
};

/** "live", "catching up", "rebuilding", "paused", "parked". Static text. Any thread. */
QUIPU_API const char *quipu_projection_state_text(enum quipu_projection_state state);

struct quipu_projection_status {
    char name[QUIPU_PROJECTION_NAME_BYTES_MAX + 1];
    /** The first that holds of: paused, parked, rebuilding, catching up, live. */
    enum quipu_projection_state state;
    uint64_t version; /* of the rows that are read */
    uint64_t position;
    uint64_t lag;            /* events behind the end of the log */
    uint64_t reacted;        /* events up to here were reacted to */
    uint64_t skipped;        /* events skipped by name, up to `position` */
    uint64_t shadow_version; /* of the rebuild beside, 0: none */
    uint64_t shadow_position;
    /** The rebuild beside goes in causal order; shadow_position is the number of events it has gone
     * over. */
    bool shadow_is_causal;
    /** Nobody is at it, and nobody will go on with it: it was stopped, killed, or is parked. It
     * does not count for `state`. The next replay clears it; where it is parked, after retry or
     * skip. */
    bool shadow_is_left_over;
    /** The event that could not be applied, 0: none… */
    uint64_t parked_position;
    bool parked_is_shadow; /* …by the rebuild beside; the rows that are read are not held up */
    uint64_t parked_version;
    enum quipu_status parked_status;
    int64_t parked_unix_us;
    char parked_line[QUIPU_ERROR_MESSAGE_BYTES];
};

/** @retval QUIPU_NOT_FOUND  never replayed in this store, or dropped. @retval QUIPU_CORRUPT
 * @cost a few look-ups. @threads any */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_projection_status(struct quipu_engine *engine, const char *name,
                        struct quipu_projection_status *out, struct quipu_error *err);

typedef enum quipu_status (*quipu_projection_fn)(void *ctx,
                                                 const struct quipu_projection_status *projection,
                                                 struct quipu_error *err);

/** Call `visit` for each projection of the store, by name, in one snapshot. QUIPU_DONE from the
 * callback ends well. */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_each_projection(struct quipu_engine *engine,
                                                                   quipu_projection_fn visit,
                                                                   void *ctx,
                                                                   struct quipu_error *err);

/* ------------------------------------------------------------------ what a person may do */

/** Replays of it, also those that run, end with QUIPU_PAUSED until it is resumed. Either is
 * idempotent. @retval QUIPU_NOT_FOUND, QUIPU_CORRUPT, QUIPU_IO, … @threads any */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_projection_pause(struct quipu_engine *engine, const char *name, struct quipu_error *err);
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_projection_resume(struct quipu_engine *engine, const char *name, struct quipu_error *err);

/** The cause is gone: let the next replay try the event again that it is parked in front of. Where
 * it is not parked, nothing happens. @retval QUIPU_NOT_FOUND, … @threads any */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_projection_retry(struct quipu_engine *engine, const char *name, struct quipu_error *err);

/**
 * Give up on the event that it is parked in front of: this version of the projection, and its
 * rebuilds, go over it. It is kept with the time and `why`, and the digest names it.
 * @param why  for people: valid UTF-8, 1 to QUIPU_PROJECTION_WHY_BYTES_MAX bytes
 * @retval QUIPU_NOT_FOUND  no such projection, or not parked in front of `position`; err says where
 * @retval QUIPU_INVALID    `why`
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_projection_skip(struct quipu_engine *engine, const char *name, uint64_t position,
                      const char *why, struct quipu_error *err);

struct quipu_projection_skip {
    uint64_t version;
    uint64_t position;
    struct quipu_cid cid; /* of the event's envelope */
    int64_t skipped_unix_us;
    struct quipu_slice why; /* borrowed for the call */
};

typedef enum quipu_status (*quipu_projection_skip_fn)(void *ctx,
                                                      const struct quipu_projection_skip *skip,
                                                      struct quipu_error *err);

/** Call `visit` for each skip of the projection, by version and position, in one snapshot.
 * QUIPU_DONE from the callback ends well. @retval QUIPU_NOT_FOUND */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_projection_each_skip(struct quipu_engine *engine, const char *name,
                           quipu_projection_skip_fn visit, void *ctx, struct quipu_error *err);

/**
 * Forget the projection: its rows, in slices, its checkpoint, skips and watermark of reactions. It
 * is gone for readers at once; after a crash, the next drop or replay of it ends the work. The
 * events stay. @retval QUIPU_NOT_FOUND, … @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_projection_drop(struct quipu_engine *engine, const char *name, struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif

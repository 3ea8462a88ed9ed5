/*
 * Finding event_ids that stand in the log more than once, which no append lets in, but which stays
 * once it is there: where a damaged index has hidden an event, its retry was stored beside it.
 *
 * The entries of all runs of the event_id index, and the events behind them, are gone through as
 * one in the order of their first eight bytes, so that what is alike comes together: one step an
 * entry, and a record is only read where two share those bytes. In slices, each a snapshot of its
 * own: a slice goes on behind the bytes that the one before ended with, whatever was appended and
 * merged in between, and so sees all entries with them.
 *
 * Trusts the index, which check.c holds against the log. Never writes. SPEC §6.5.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdlib.h>

#include "check.h"
#include "internal/bytes.h"
#include "quipu/alloc.h"
#include "run_search.h"

/* In events of a tail: what one snapshot is for, as in check_slices.c; and how many events whose
 * ids begin alike are held in memory (1 MiB of them): more are gone through more than once. */
#define SLICE_ENTRY_TAILS 1024
#define GROUP_TAILS       64
/* Entries that are gone through while a record is read. */
#define ENTRIES_PER_RECORD 16

/* One event: the first or the last eight bytes of its event_id. */
struct id {
    uint64_t bytes;
    uint64_t position;
};

/* A run, or (without one) the events behind all of them, and where it is gone through. */
struct stream {
    struct quipu_run_cursor cursor;
    size_t at; /* of the events behind the runs */
    struct id id;
};

struct id_check {
    struct quipu_store *store;
    void (*repeated)(void *ctx, const struct quipu_repeated_id *repeated);
    void *ctx;

    struct quipu_txn *txn; /* of this slice */
    uint64_t next;         /* first eight bytes below this have been looked at */
    bool is_over;
    uint64_t cost; /* of this slice, in entries */

    struct stream *streams; /* a heap: the one with the smallest id first */
    size_t count;
    struct id *behind; /* events that no run has, sorted; the buffer is kept */
    size_t behind_len;
    size_t behind_cap;
    struct id *group; /* events whose ids begin alike */
    size_t group_len;
    size_t group_cap;
};

static int id_order(const void *left, const void *right)
{
    const struct id *a = left;
    const struct id *b = right;
    if (a->bytes != b->bytes) {
        return a->bytes < b->bytes ? -1 : 1;
    }
    return (a->position > b->position) - (a->position < b->position);
}

/* ------------------------------------------------------------------ streams */

/* Look at where it is: QUIPU_DONE at its end. Where an entry is below one that it follows, going on
 * would leave some out. */
static enum quipu_status stream_look(struct id_check *check, struct stream *stream, uint64_t least,
                                     struct quipu_error *err)
{
    if (stream->cursor.run == NULL) {
        if (stream->at == check->behind_len) {
            return QUIPU_DONE;
        }
        stream->id = check->behind[stream->at];
        return QUIPU_OK;
    }
    struct quipu_entry entry = quipu_run_entry(&stream->cursor);
    stream->id = (struct id){entry.prefix, entry.rest};
    if (entry.prefix >= least) {
        return QUIPU_OK;
    }
    return quipu_error_set(err, QUIPU_CORRUPT,
                           "%s: run %" PRIu64 " of %s is not sorted; run `quipu verify "
                           "--repair-indexes`",
                           check->store->path, stream->cursor.run->number,
                           quipu_db_name(QUIPU_DB_EVENT_ID_RUN));
}

/* QUIPU_DONE where there is nothing from `key` on. */
static enum quipu_status stream_seek(struct id_check *check, struct stream *stream, uint64_t key,
                                     struct quipu_error *err)
{
    struct quipu_run *run = stream->cursor.run;
    if (run == NULL) {
        for (stream->at = 0;
             stream->at < check->behind_len && check->behind[stream->at].bytes < key;) {
            stream->at++;
        }
    } else {
        enum quipu_status status =
            quipu_run_seek(check->txn, run, QUIPU_INDEX_EVENT_ID, key, &stream->cursor, err);
        if (status != QUIPU_OK) {
            return status;
        }
    }
    return stream_look(check, stream, key, err);
}

static enum quipu_status stream_step(struct id_check *check, struct stream *stream,
                                     struct quipu_error *err)
{
    uint64_t before = stream->id.bytes;
    if (stream->cursor.run == NULL) {
        stream->at++;
    } else {
        enum quipu_status status = quipu_run_next(check->txn, &stream->cursor, err);
        if (status != QUIPU_OK) {
            return status;
        }
    }
    return stream_look(check, stream, before, err);
}

/* The stream at `i` may be behind those below it. */
static void heap_sink(struct id_check *check, size_t i)
{
    struct stream moved = check->streams[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < check->count &&
            check->streams[child + 1].id.bytes < check->streams[child].id.bytes) {
            child++;
        }
        if (child >= check->count || moved.id.bytes <= check->streams[child].id.bytes) {
            break;
        }
        check->streams[i] = check->streams[child];
        i = child;
    }
    check->streams[i] = moved;
}

/* The first stream one on; away with it at its end. */
static enum quipu_status heap_step(struct id_check *check, struct quipu_error *err)
{
    enum quipu_status status = stream_step(check, &check->streams[0], err);
    if (status == QUIPU_DONE) {
        check->streams[0] = check->streams[--check->count];
        status = QUIPU_OK;
    }
    if (status == QUIPU_OK && check->count > 0) {
        heap_sink(check, 0);
    }
    return status;
}

/* ------------------------------------------------------------------ what is alike */

/* The record that an entry names; `*is_found` false where it is another one's, or damaged: that is
 * found when the log is read and the index is held against it. */
static enum quipu_status record_of(struct id_check *check, uint64_t key, uint64_t position,
                                   struct quipu_record *record, bool *is_found,
                                   struct quipu_error *err)
{
    struct quipu_error why;
    enum quipu_status status = quipu_txn_record_at(check->txn, position, record, &why);
    check->cost += ENTRIES_PER_RECORD;
    *is_found = status == QUIPU_OK && quipu_load_be64(record->event_id.bytes) == key;
    if (status == QUIPU_OK || status == QUIPU_CORRUPT || status == QUIPU_NOT_FOUND) {
        return QUIPU_OK;
    }
    return quipu_error_set(err, status, "%s", why.message);
}

/* An entry becomes the last eight bytes of its event_id. */
static enum quipu_status rest_of(struct id_check *check, uint64_t key, struct id *id,
                                 bool *is_found, struct quipu_error *err)
{
    struct quipu_record record;
    enum quipu_status status = record_of(check, key, id->position, &record, is_found, err);
    if (status == QUIPU_OK && *is_found) {
        id->bytes = quipu_load_be64(record.event_id.bytes + 8);
    }
    return status;
}

static enum quipu_status tell(struct id_check *check, uint64_t key, uint64_t first,
                              uint64_t position, struct quipu_error *err)
{
    struct quipu_record record;
    struct quipu_cid cid = {0};
    bool is_found = false;
    enum quipu_status status = record_of(check, key, first, &record, &is_found, err);
    if (status == QUIPU_OK && is_found) {
        cid = record.envelope_cid;
        status = record_of(check, key, position, &record, &is_found, err);
    }
    if (status == QUIPU_OK && is_found) {
        struct quipu_repeated_id repeated = {
            .event_id = record.event_id,
            .first = first,
            .position = position,
            .is_same_event = quipu_cid_equal(&cid, &record.envelope_cid),
        };
        check->repeated(check->ctx, &repeated);
    }
    return status;
}

/* The group holds the last eight bytes of all event_ids that begin with `key`, up to some value:
 * which are equal? */
static enum quipu_status group_compare(struct id_check *check, uint64_t key,
                                       struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    const struct id *first = check->group;
    qsort(check->group, check->group_len, sizeof *check->group, id_order);
    for (size_t i = 1; i < check->group_len && status == QUIPU_OK; i++) {
        const struct id *id = &check->group[i];
        if (id->bytes != first->bytes) {
            first = id;
        } else if (id->position != first->position) {
            status = tell(check, key, first->position, id->position, err);
        }
    }
    return status;
}

/* The group holds the positions of all event_ids that begin with `key`. */
static enum quipu_status group_read(struct id_check *check, uint64_t key, struct quipu_error *err)
{
    size_t kept = 0;
    qsort(check->group, check->group_len, sizeof *check->group, id_order); /* as they lie */
    for (size_t i = 0; i < check->group_len; i++) {
        struct id id = check->group[i];
        bool is_found = false;
        enum quipu_status status = rest_of(check, key, &id, &is_found, err);
        if (status != QUIPU_OK) {
            return status;
        }
        check->group[kept] = id;
        kept += is_found;
    }
    check->group_len = kept;
    return group_compare(check, key, err);
}

/* ------------------------------------------------------------------ more than fit */

/* Make room: the upper half goes, and `*last` is the greatest that stays. Only where all are equal
 * there is nothing to be put off, and the group grows. */
static enum quipu_status group_halve(struct id_check *check, uint64_t *last,
                                     struct quipu_error *err)
{
    size_t keep = check->group_len / 2;
    qsort(check->group, check->group_len, sizeof *check->group, id_order);
    while (keep > 0 && check->group[keep - 1].bytes == check->group[keep].bytes) {
        keep--;
    }
    if (keep == 0) {
        keep = check->group_len / 2;
        while (keep < check->group_len && check->group[keep].bytes == check->group[0].bytes) {
            keep++;
        }
    }
    if (keep < check->group_len) {
        check->group_len = keep;
        *last = check->group[keep - 1].bytes;
        return QUIPU_OK;
    }
    void *grown = quipu_realloc(check->group, 2 * check->group_cap, sizeof *check->group);
    if (grown == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory for %zu event_ids",
                               2 * check->group_cap);
    }
    check->group = grown;
    check->group_cap *= 2;
    return QUIPU_OK;
}

/* The event_ids of one stream that begin with `key` and end with `from` to `*last`. */
static enum quipu_status range_take(struct id_check *check, struct stream stream, uint64_t key,
                                    uint64_t from, uint64_t *last, struct quipu_error *err)
{
    enum quipu_status status = stream_seek(check, &stream, key, err);
    while (status == QUIPU_OK && stream.id.bytes == key) {
        struct id id = stream.id;
        bool is_found = false;
        status = rest_of(check, key, &id, &is_found, err);
        if (status == QUIPU_OK && check->group_len == check->group_cap) {
            status = group_halve(check, last, err);
        }
        if (status == QUIPU_OK && is_found && id.bytes >= from && id.bytes <= *last) {
            check->group[check->group_len++] = id;
        }
        if (status == QUIPU_OK) {
            status = stream_step(check, &stream, err);
        }
    }
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

/* As many event_ids begin with `key` as a group does not hold: go through them once for each part
 * that it does. */
static enum quipu_status ranges_read(struct id_check *check, uint64_t key, struct quipu_error *err)
{
    struct quipu_runs all;
    enum quipu_status status = quipu_txn_runs(check->txn, &all, err);
    uint64_t from = 0;
    uint64_t last = 0;
    while (status == QUIPU_OK && last != UINT64_MAX) {
        last = UINT64_MAX;
        check->group_len = 0;
        for (uint32_t i = 0; i <= all.count && status == QUIPU_OK; i++) {
            struct stream stream = {.cursor.run = i < all.count ? &all.runs[i] : NULL};
            status = range_take(check, stream, key, from, &last, err);
        }
        if (status == QUIPU_OK) {
            status = group_compare(check, key, err);
        }
        from = last + 1;
    }
    return status;
}

/* ------------------------------------------------------------------ a slice */

/* Behind the runs: the event_ids themselves, as the log has them. */
static enum quipu_status behind_read(struct id_check *check, uint64_t indexed,
                                     struct quipu_error *err)
{
    uint64_t last = quipu_txn_last_position(check->txn);
    size_t count = last > indexed ? (size_t)(last - indexed) : 0;
    check->behind_len = 0;
    if (count > check->behind_cap) {
        void *grown = quipu_realloc(check->behind, count, sizeof *check->behind);
        if (grown == NULL) {
            return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory for %zu event_ids", count);
        }
        check->behind = grown;
        check->behind_cap = count;
    }
    for (uint64_t position = indexed + 1; position <= last; position++) {
        struct quipu_record record;
        struct quipu_error why;
        enum quipu_status status = quipu_txn_record_at(check->txn, position, &record, &why);
        if (status == QUIPU_OK) {
            check->behind[check->behind_len++] =
                (struct id){quipu_load_be64(record.event_id.bytes), position};
        } else if (status != QUIPU_CORRUPT) {
            return quipu_error_set(err, status, "%s", why.message);
        }
    }
    if (check->behind_len > 1) {
        qsort(check->behind, check->behind_len, sizeof *check->behind, id_order);
    }
    return QUIPU_OK;
}

/* All streams, where `next` begins. */
static enum quipu_status slice_begin(struct id_check *check, struct quipu_error *err)
{
    struct quipu_runs all;
    enum quipu_status status = quipu_txn_runs(check->txn, &all, err);
    if (status == QUIPU_OK) {
        status = behind_read(check, all.indexed, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    check->count = 0;
    for (uint32_t i = 0; i <= all.count; i++) {
        struct stream *stream = &check->streams[check->count];
        *stream = (struct stream){.cursor.run = i < all.count ? &all.runs[i] : NULL};
        status = stream_seek(check, stream, check->next, err);
        if (status != QUIPU_OK && status != QUIPU_DONE) {
            return status;
        }
        check->count += status == QUIPU_OK;
    }
    for (size_t i = check->count / 2; i > 0; i--) {
        heap_sink(check, i - 1);
    }
    return QUIPU_OK;
}

/* Everything that begins as the first stream does. */
static enum quipu_status key_check(struct id_check *check, struct quipu_error *err)
{
    uint64_t key = check->streams[0].id.bytes;
    enum quipu_status status = QUIPU_OK;
    bool fits = true;
    check->group_len = 0;
    while (status == QUIPU_OK && check->count > 0 && check->streams[0].id.bytes == key) {
        fits = fits && check->group_len < check->group_cap;
        if (fits) {
            check->group[check->group_len++] = (struct id){0, check->streams[0].id.position};
        }
        check->cost++;
        status = heap_step(check, err);
    }
    if (status == QUIPU_OK && check->group_len > 1) {
        status = fits ? group_read(check, key, err) : ranges_read(check, key, err);
    }
    check->is_over = check->count == 0 || key == UINT64_MAX;
    check->next = key + 1;
    return status;
}

static enum quipu_status slice_check(struct id_check *check, struct quipu_error *err)
{
    uint64_t cost_max = (uint64_t)SLICE_ENTRY_TAILS * check->store->tuning.tail_events;
    enum quipu_status status = slice_begin(check, err);
    check->cost = 0;
    check->is_over = check->count == 0;
    while (status == QUIPU_OK && !check->is_over && check->cost < cost_max) {
        status = key_check(check, err);
    }
    return status;
}

enum quipu_status
quipu_store_check_event_ids(struct quipu_store *store,
                            void (*repeated)(void *ctx, const struct quipu_repeated_id *repeated),
                            void *ctx, struct quipu_error *err)
{
    struct id_check check = {.store = store, .repeated = repeated, .ctx = ctx};
    enum quipu_status status = QUIPU_OK;
    check.group_cap = (size_t)GROUP_TAILS * store->tuning.tail_events;
    check.group = quipu_alloc(check.group_cap, sizeof *check.group);
    check.streams = quipu_alloc(QUIPU_RUNS_MAX + 1, sizeof *check.streams);
    if (check.group == NULL || check.streams == NULL) {
        status = quipu_error_set(err, QUIPU_NO_MEMORY, "no memory to check %s", store->path);
    }
    while (status == QUIPU_OK && !check.is_over) {
        status = quipu_txn_begin_read(store, &check.txn, err);
        if (status == QUIPU_OK) {
            status = slice_check(&check, err);
        }
        quipu_txn_abort(&check.txn);
    }
    quipu_free(check.behind);
    quipu_free(check.group);
    quipu_free(check.streams);
    return status;
}

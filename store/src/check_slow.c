/*
 * Naming what is wrong with heads and runs: each back-pointer is followed and each entry's record
 * is read, here and there in the log. Only called where the sums of check.c do not agree, and for
 * what they cannot say.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <inttypes.h>

#include "check.h"
#include "internal/bytes.h"
#include "record.h"
#include "run_search.h"

enum quipu_status quipu_check_record(struct quipu_check *check, uint64_t position,
                                     struct quipu_record *record, uint64_t *hash,
                                     struct quipu_error *err)
{
    struct quipu_slice value;
    enum quipu_status status = quipu_log_value(check->txn, position, &value, err);
    if (status == QUIPU_OK) {
        status = quipu_record_decode(value, position, record, err);
    }
    if (status == QUIPU_OK) {
        *hash = quipu_aggregate_hash(record->aggregate);
    }
    return status;
}

/* ------------------------------------------------------------------ back-pointers */

enum quipu_status quipu_check_back_pointers(struct quipu_check *check, uint64_t first,
                                            uint64_t last, struct quipu_error *err)
{
    for (uint64_t position = first; position <= last && !check->has_stopped; position++) {
        struct quipu_error failure;
        struct quipu_record record;
        struct quipu_record before;
        uint64_t hash;
        uint64_t hash_before;
        enum quipu_status status = quipu_check_record(check, position, &record, &hash, &failure);
        if (status == QUIPU_OK && record.aggregate_prev_position != 0) {
            status = quipu_check_record(check, record.aggregate_prev_position, &before,
                                        &hash_before, &failure);
            if (status == QUIPU_OK && hash != hash_before) {
                quipu_check_report(check, position,
                                   "back-pointer leads to position %" PRIu64
                                   " of another aggregate",
                                   record.aggregate_prev_position);
            }
        }
        if (status != QUIPU_OK && status != QUIPU_CORRUPT) {
            return quipu_check_found(check, position, status, &failure, err);
        }
        /* A malformed record was reported when the log was read in order. */
    }
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ heads */

/* Follow the back-pointers from the head, and count the events on the way. */
static enum quipu_status check_chain(struct quipu_check *check, const struct quipu_head *head,
                                     uint64_t key_hash, struct quipu_check_heads *heads,
                                     struct quipu_error *err)
{
    uint64_t version_max = 0;
    uint64_t version_after = 0;
    bool has_fork = false;
    for (uint64_t position = head->position; position != 0;) {
        struct quipu_record record;
        uint64_t hash;
        enum quipu_status status = quipu_check_record(check, position, &record, &hash, err);
        if (status != QUIPU_OK) {
            return status;
        }
        if (hash != key_hash) {
            quipu_check_report(check, position, "is in the chain of another aggregate");
            return QUIPU_OK;
        }
        if (position == head->position &&
            (record.version != head->version ||
             !quipu_cid_equal(&record.envelope_cid, &head->envelope_cid))) {
            quipu_check_report(check, position,
                               "head of the aggregate names another version or envelope");
        }
        version_max = record.version > version_max ? record.version : version_max;
        has_fork = has_fork || (position != head->position && record.version + 1 != version_after);
        version_after = record.version;
        heads->walked++;
        heads->length += position <= heads->end;
        position = record.aggregate_prev_position;
    }
    if (version_max != head->version_max) {
        quipu_check_report(check, head->position,
                           "head says greatest version %" PRIu64 ", the records %" PRIu64,
                           head->version_max, version_max);
    }
    if (has_fork != head->has_fork) {
        quipu_check_report(check, head->position, "head says that there is %s fork",
                           head->has_fork ? "a" : "no");
    }
    return QUIPU_OK;
}

static enum quipu_status check_head(struct quipu_check *check, struct quipu_slice key,
                                    struct quipu_slice value, struct quipu_check_heads *heads,
                                    struct quipu_error *err)
{
    struct quipu_error failure;
    struct quipu_head head = {0};
    enum quipu_status status = quipu_head_decode(value, &head, &failure);
    if (!quipu_check_head_key_is_sound(key)) {
        quipu_check_report(check, head.position, "head has a malformed key");
    }
    if (status == QUIPU_OK) {
        status = check_chain(check, &head, quipu_head_key_hash(key), heads, &failure);
    }
    return quipu_check_found(check, head.position, status, &failure, err);
}

enum quipu_status quipu_check_heads(struct quipu_check *check, struct quipu_check_heads *heads,
                                    uint64_t events_max, struct quipu_error *err)
{
    struct quipu_txn *txn = check->txn;
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val val;
    int code = quipu_check_heads_open(txn, quipu_buf_slice(&heads->after), &cursor, &key, &val);
    enum quipu_status status = QUIPU_OK;
    heads->walked = 0;
    while (code == 0 && status == QUIPU_OK && !check->has_stopped && heads->walked < events_max) {
        status = check_head(check, quipu_slice_of(key), quipu_slice_of(val), heads, err);
        quipu_buf_reset(&heads->after);
        quipu_buf_append_slice(&heads->after, quipu_slice_of(key));
        heads->walked++; /* a head that leads nowhere costs, too */
        code =
            heads->after.status == QUIPU_OK ? mdb_cursor_get(cursor, &key, &val, MDB_NEXT) : ENOMEM;
    }
    if (cursor != NULL) {
        mdb_cursor_close(cursor);
    }
    heads->is_over = code == MDB_NOTFOUND || check->has_stopped;
    if (code != 0 && code != MDB_NOTFOUND) {
        return quipu_lmdb_error(err, code, "%s: walk the heads", txn->store->path);
    }
    if (status == QUIPU_OK && code == MDB_NOTFOUND && !check->has_stopped &&
        heads->length != heads->end) {
        quipu_check_report(check, 0, "heads lead to %" PRIu64 " events, the log has %" PRIu64,
                           heads->length, heads->end);
    }
    return status;
}

/* ------------------------------------------------------------------ runs */

/* Does the event have the key that the entry says? */
static enum quipu_status check_entry(struct quipu_check *check, const struct quipu_run *run,
                                     enum quipu_index index, const struct quipu_entry *entry,
                                     struct quipu_error *err)
{
    uint64_t position = quipu_entry_position(index, entry);
    if (position < run->first_position || position > run->last_position) {
        quipu_check_report(check, position,
                           "run %" PRIu64 " of %s has an entry outside its positions", run->number,
                           quipu_db_name(quipu_index_db(index)));
        return QUIPU_OK;
    }
    struct quipu_error failure;
    struct quipu_record record;
    enum quipu_status status = quipu_txn_record_at(check->txn, position, &record, &failure);
    if (status != QUIPU_OK) {
        /* A record that cannot be read has been reported by check_log. */
        return status == QUIPU_CORRUPT ? QUIPU_OK
                                       : quipu_check_found(check, position, status, &failure, err);
    }
    if (!quipu_run_entry_is_true(&record, index, entry)) {
        quipu_check_report(check, position, "run %" PRIu64 " of %s has a wrong entry", run->number,
                           quipu_db_name(quipu_index_db(index)));
    }
    return QUIPU_OK;
}

enum quipu_status quipu_check_entries(struct quipu_check *check, const struct quipu_run *run,
                                      enum quipu_index index, uint64_t count,
                                      struct quipu_error *err)
{
    struct quipu_entry before = {0, 0};
    uint64_t last_key = 0;
    uint64_t segments = quipu_segments(count, run->segment_entries);
    for (uint64_t segment = 0; segment < segments && !check->has_stopped; segment++) {
        struct quipu_error failure;
        struct quipu_slice entries;
        enum quipu_status status =
            quipu_run_segment(check->txn, index, run, segment, &entries, &failure);
        if (status != QUIPU_OK) {
            return quipu_check_found(check, 0, status, &failure, err);
        }
        for (size_t at = 0; at < entries.len && !check->has_stopped;
             at += quipu_entry_bytes(index)) {
            struct quipu_entry entry = quipu_entry_load(run, index, entries.data + at);
            last_key = quipu_load_be64(entries.data + at);
            bool is_first = segment == 0 && at == 0;
            if (!is_first && !quipu_entry_is_below(&before, &entry)) {
                quipu_check_report(check, 0, "run %" PRIu64 " of %s is not sorted", run->number,
                                   quipu_db_name(quipu_index_db(index)));
            }
            if (is_first && last_key != run->min_key[index]) {
                quipu_check_report(check, 0, "run %" PRIu64 " of %s begins before its fence",
                                   run->number, quipu_db_name(quipu_index_db(index)));
            }
            before = entry;
            status = check_entry(check, run, index, &entry, err);
            if (status != QUIPU_OK) {
                return status;
            }
        }
    }
    if (count == quipu_run_entries(run, index) && !check->has_stopped &&
        last_key != run->max_key[index]) {
        quipu_check_report(check, 0, "run %" PRIu64 " of %s ends behind its fence", run->number,
                           quipu_db_name(quipu_index_db(index)));
    }
    return QUIPU_OK;
}

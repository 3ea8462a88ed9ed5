/*
 * Checking all that derives from the log against the log: back-pointers, heads, runs. It reads
 * every record several times and changes nothing. Hashes are the engine's part.
 *
 *   1. each record is well-formed, and its back-pointer leads to a record of the same aggregate
 *   2. each head names the end of a chain of back-pointers with the aggregate's hash all along, and
 *      the chains together are as long as the log: so each event is in exactly one of them
 *   3. each entry of each run is true, entries rise, and a run has as many as its positions need:
 *      so none is missing
 *   4. the databases of the runs hold nothing that the manifest does not know
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "internal.h"
#include "internal/bytes.h"
#include "quipu/alloc.h"
#include "record.h"

struct check {
    struct quipu_txn *txn;
    bool (*problem)(void *ctx, uint64_t position, const char *line);
    void *ctx;
    uint64_t problems;
    bool has_stopped;
};

static void report(struct check *check, uint64_t position, const char *format, ...)
    QUIPU_PRINTF(3, 4);

static void report(struct check *check, uint64_t position, const char *format, ...)
{
    if (check->has_stopped) {
        return;
    }
    char line[QUIPU_ERROR_MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args); /* too long a line is cut: it is for people */
    va_end(args);
    check->problems++;
    if (check->problem != NULL && !check->problem(check->ctx, position, line)) {
        check->has_stopped = true;
    }
}

/* Damage is a finding; anything else, such as no memory, ends the check. */
static enum quipu_status found(struct check *check, uint64_t position, enum quipu_status status,
                               const struct quipu_error *failure, struct quipu_error *err)
{
    if (status == QUIPU_CORRUPT || status == QUIPU_NOT_FOUND) {
        report(check, position, "%s", failure->message);
        return QUIPU_OK;
    }
    if (status != QUIPU_OK && err != NULL) {
        *err = *failure;
    }
    return status;
}

static enum quipu_status record_and_hash(struct check *check, uint64_t position,
                                         struct quipu_record *record, uint64_t *hash,
                                         struct quipu_error *err)
{
    struct quipu_slice value;
    enum quipu_status status = quipu_log_value(check->txn, position, &value, err);
    return status == QUIPU_OK ? quipu_record_decode(value, position, record, hash, err) : status;
}

/* ------------------------------------------------------------------ log */

static enum quipu_status check_log(struct check *check, struct quipu_error *err)
{
    uint64_t last = check->txn->last_position;
    for (uint64_t position = 1; position <= last && !check->has_stopped; position++) {
        struct quipu_error failure;
        struct quipu_record record;
        struct quipu_record before;
        uint64_t hash;
        uint64_t hash_before;
        enum quipu_status status = record_and_hash(check, position, &record, &hash, &failure);
        if (status == QUIPU_OK && record.aggregate_prev_position != 0) {
            status = record_and_hash(check, record.aggregate_prev_position, &before, &hash_before,
                                     &failure);
            if (status == QUIPU_OK && hash != hash_before) {
                report(check, position,
                       "back-pointer leads to position %" PRIu64 " of another aggregate",
                       record.aggregate_prev_position);
            }
        }
        status = found(check, position, status, &failure, err);
        if (status != QUIPU_OK) {
            return status;
        }
    }
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ heads */

/* Follow the back-pointers from the head; `*length` grows by the events on the way. */
static enum quipu_status check_chain(struct check *check, const struct quipu_head *head,
                                     uint64_t key_hash, uint64_t *length, struct quipu_error *err)
{
    uint64_t version_max = 0;
    for (uint64_t position = head->position; position != 0;) {
        struct quipu_record record;
        uint64_t hash;
        enum quipu_status status = record_and_hash(check, position, &record, &hash, err);
        if (status != QUIPU_OK) {
            return status;
        }
        if (hash != key_hash) {
            report(check, position, "is in the chain of another aggregate");
            return QUIPU_OK;
        }
        if (position == head->position &&
            (record.version != head->version ||
             !quipu_cid_equal(&record.envelope_cid, &head->envelope_cid))) {
            report(check, position, "head of the aggregate names another version or envelope");
        }
        version_max = record.version > version_max ? record.version : version_max;
        ++*length;
        position = record.aggregate_prev_position;
    }
    if (version_max != head->version_max) {
        report(check, head->position,
               "head says greatest version %" PRIu64 ", the records %" PRIu64, head->version_max,
               version_max);
    }
    return QUIPU_OK;
}

static enum quipu_status check_head(struct check *check, struct quipu_slice key,
                                    struct quipu_slice value, uint64_t *length,
                                    struct quipu_error *err)
{
    struct quipu_error failure;
    struct quipu_head head = {0};
    enum quipu_status status = quipu_head_decode(value, &head, &failure);
    if (key.len < 3 || key.data[0] == 0 || key.data[0] > key.len - 2) {
        report(check, head.position, "head has a malformed key");
    }
    if (status == QUIPU_OK) {
        status = check_chain(check, &head, quipu_head_key_hash(key), length, &failure);
    }
    return found(check, head.position, status, &failure, err);
}

static enum quipu_status check_heads(struct check *check, struct quipu_error *err)
{
    struct quipu_txn *txn = check->txn;
    MDB_cursor *cursor = NULL;
    int code = mdb_cursor_open(txn->mdb, txn->store->dbi[QUIPU_DB_HEAD], &cursor);
    enum quipu_status status = QUIPU_OK;
    uint64_t length = 0;
    while (code == 0 && status == QUIPU_OK && !check->has_stopped) {
        MDB_val key;
        MDB_val val;
        code = mdb_cursor_get(cursor, &key, &val, MDB_NEXT);
        if (code == 0) {
            status = check_head(check, quipu_slice_of(key), quipu_slice_of(val), &length, err);
        }
    }
    if (cursor != NULL) {
        mdb_cursor_close(cursor);
    }
    if (code != 0 && code != MDB_NOTFOUND) {
        return quipu_lmdb_error(err, code, "%s: walk the heads", txn->store->path);
    }
    if (status == QUIPU_OK && length != txn->last_position) {
        report(check, 0, "heads lead to %" PRIu64 " events, the log has %" PRIu64, length,
               txn->last_position);
    }
    return status;
}

/* ------------------------------------------------------------------ runs */

/* Does the event have the key that the entry says? */
static enum quipu_status check_entry(struct check *check, const struct quipu_run *run,
                                     enum quipu_index index, const uint8_t *entry,
                                     struct quipu_error *err)
{
    uint64_t rest = quipu_load_be64(entry + 8);
    uint64_t position = index == QUIPU_INDEX_CID ? rest >> 1 : rest;
    if (position < run->first_position || position > run->last_position) {
        report(check, position, "run %" PRIu64 " of %s has an entry outside its positions",
               run->number, quipu_db_name(quipu_index_db(index)));
        return QUIPU_OK;
    }
    struct quipu_error failure;
    struct quipu_record record;
    enum quipu_status status = quipu_txn_record_at(check->txn, position, &record, &failure);
    if (status != QUIPU_OK) {
        /* A record that cannot be read has been reported by check_log. */
        return status == QUIPU_CORRUPT ? QUIPU_OK : found(check, position, status, &failure, err);
    }
    const uint8_t *key = record.event_id.bytes;
    if (index == QUIPU_INDEX_CID) {
        key = (rest & 1) == 0 ? record.envelope_cid.digest : record.payload_cid.digest;
    }
    if (memcmp(key, entry, 8) != 0) {
        report(check, position, "run %" PRIu64 " of %s has a wrong entry", run->number,
               quipu_db_name(quipu_index_db(index)));
    }
    return QUIPU_OK;
}

/* Check the first `count` entries of a run, or of a merge's unfinished output. */
static enum quipu_status check_entries(struct check *check, const struct quipu_run *run,
                                       enum quipu_index index, uint64_t count,
                                       struct quipu_error *err)
{
    uint8_t before[QUIPU_ENTRY_BYTES] = {0};
    uint64_t segments = quipu_segments(count, run->segment_entries);
    for (uint64_t segment = 0; segment < segments && !check->has_stopped; segment++) {
        struct quipu_error failure;
        struct quipu_slice entries;
        enum quipu_status status =
            quipu_run_segment(check->txn, index, run, segment, &entries, &failure);
        if (status != QUIPU_OK) {
            return found(check, 0, status, &failure, err);
        }
        for (size_t at = 0; at < entries.len && !check->has_stopped; at += QUIPU_ENTRY_BYTES) {
            const uint8_t *entry = entries.data + at;
            bool is_first = segment == 0 && at == 0;
            if (!is_first && memcmp(before, entry, sizeof before) >= 0) {
                report(check, 0, "run %" PRIu64 " of %s is not sorted", run->number,
                       quipu_db_name(quipu_index_db(index)));
            }
            if (is_first && quipu_load_be64(entry) != run->min_key[index]) {
                report(check, 0, "run %" PRIu64 " of %s begins before its fence", run->number,
                       quipu_db_name(quipu_index_db(index)));
            }
            memcpy(before, entry, sizeof before);
            status = check_entry(check, run, index, entry, err);
            if (status != QUIPU_OK) {
                return status;
            }
        }
    }
    if (count == quipu_run_entries(run, index) && !check->has_stopped &&
        quipu_load_be64(before) != run->max_key[index]) {
        report(check, 0, "run %" PRIu64 " of %s ends behind its fence", run->number,
               quipu_db_name(quipu_index_db(index)));
    }
    return QUIPU_OK;
}

/* The directory of a run of several segments; returns the number of values that it takes. */
static uint64_t check_directory(struct check *check, const struct quipu_run *run,
                                enum quipu_index index)
{
    uint64_t segments = quipu_segments(quipu_run_entries(run, index), run->segment_entries);
    if (segments == 1) {
        return 0;
    }
    uint64_t number = quipu_run_key(run->number, QUIPU_RUN_DIRECTORY);
    MDB_val key = quipu_val(&number, sizeof number);
    MDB_val val;
    struct quipu_txn *txn = check->txn;
    bool is_good = mdb_get(txn->mdb, txn->store->dbi[quipu_index_db(index)], &key, &val) == 0 &&
                   val.mv_size == segments * 8;
    for (uint64_t segment = 0; segment < segments && is_good; segment++) {
        struct quipu_slice entries;
        const uint8_t *firsts = val.mv_data;
        is_good = quipu_run_segment(txn, index, run, segment, &entries, NULL) == QUIPU_OK &&
                  memcmp(firsts + segment * 8, entries.data, 8) == 0;
    }
    if (!is_good) {
        report(check, 0, "the directory of run %" PRIu64 " of %s is wrong", run->number,
               quipu_db_name(quipu_index_db(index)));
    }
    return 1;
}

/* The run that a merge is making. */
static struct quipu_run merge_output(const struct quipu_manifest *manifest,
                                     const struct quipu_merge *merge)
{
    uint32_t first = quipu_manifest_find(manifest, merge->first_run);
    const struct quipu_run *inputs = &manifest->runs[first];
    struct quipu_run run = inputs[0];
    run.number = merge->number;
    run.last_position = inputs[merge->inputs - 1].last_position;
    run.segment_entries = merge->segment_entries;
    for (uint32_t i = 1; i < merge->inputs; i++) {
        for (int k = 0; k < QUIPU_INDEXES; k++) {
            run.min_key[k] =
                inputs[i].min_key[k] < run.min_key[k] ? inputs[i].min_key[k] : run.min_key[k];
            run.max_key[k] =
                inputs[i].max_key[k] > run.max_key[k] ? inputs[i].max_key[k] : run.max_key[k];
        }
    }
    return run;
}

static enum quipu_status check_index(struct check *check, const struct quipu_manifest *manifest,
                                     enum quipu_index index, struct quipu_error *err)
{
    uint64_t values = 0;
    enum quipu_status status = QUIPU_OK;
    for (uint32_t i = 0; i < manifest->run_count && status == QUIPU_OK; i++) {
        const struct quipu_run *run = &manifest->runs[i];
        uint64_t entries = quipu_run_entries(run, index);
        values += quipu_segments(entries, run->segment_entries);
        values += check_directory(check, run, index);
        status = check_entries(check, run, index, entries, err);
    }
    for (uint32_t i = 0; i < manifest->merge_count && status == QUIPU_OK; i++) {
        const struct quipu_merge *merge = &manifest->merges[i];
        struct quipu_run run = merge_output(manifest, merge);
        uint64_t taken = 0;
        for (uint32_t input = 0; input < merge->inputs; input++) {
            taken += merge->consumed[index][input];
        }
        values += quipu_segments(taken, merge->segment_entries);
        status = check_entries(check, &run, index, taken, err);
    }
    for (uint32_t i = 0; i < manifest->trash_count; i++) {
        values += manifest->trash[i].values[index];
    }
    MDB_stat stat;
    int code = mdb_stat(check->txn->mdb, check->txn->store->dbi[quipu_index_db(index)], &stat);
    if (status == QUIPU_OK && code == 0 && stat.ms_entries != values) {
        report(check, 0, "%s holds %zu values, the manifest knows %" PRIu64,
               quipu_db_name(quipu_index_db(index)), stat.ms_entries, values);
    }
    return status;
}

static enum quipu_status check_runs(struct check *check, struct quipu_error *err)
{
    struct quipu_slice bytes;
    enum quipu_status status = quipu_manifest_load(check->txn, &bytes, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_manifest *manifest = quipu_alloc_zero(1, sizeof *manifest);
    if (manifest == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory for the manifest of the runs");
    }
    struct quipu_error failure;
    if (bytes.len > 0) {
        status = quipu_manifest_decode(bytes, manifest, &failure);
    }
    if (status != QUIPU_OK || manifest->indexed > check->txn->last_position) {
        report(check, 0, "%s",
               status != QUIPU_OK ? failure.message : "more is indexed than there is");
        status = QUIPU_OK;
    } else {
        status = check_index(check, manifest, QUIPU_INDEX_CID, err);
        if (status == QUIPU_OK) {
            status = check_index(check, manifest, QUIPU_INDEX_EVENT_ID, err);
        }
    }
    quipu_free(manifest);
    return status;
}

enum quipu_status quipu_txn_check_indexes(struct quipu_txn *txn,
                                          bool (*problem)(void *ctx, uint64_t position,
                                                          const char *line),
                                          void *ctx, uint64_t *problems, struct quipu_error *err)
{
    if (txn->is_write) {
        return quipu_error_set(err, QUIPU_MISUSE, "check the indexes in a read transaction");
    }
    struct check check = {.txn = txn, .problem = problem, .ctx = ctx};
    enum quipu_status status = check_log(&check, err);
    if (status == QUIPU_OK && !check.has_stopped) {
        status = check_heads(&check, err);
    }
    if (status == QUIPU_OK && !check.has_stopped) {
        status = check_runs(&check, err);
    }
    if (status == QUIPU_OK) {
        *problems = check.problems;
    }
    return status;
}

/*
 * Checking all that derives from the log against the log: back-pointers, heads, runs. Here is what
 * is looked at, and how; check_slices.c goes over the store with it. It changes nothing, and hashes
 * are the engine's part.
 *
 * The log is read once, in order, and never here and there: what should be equal as a set is
 * compared by sums over mixed 64-bit numbers, which agree by accident once in 2^64 times.
 *
 *   1. Each record is well-formed.
 *   2. In a sound log without forks, each record is pointed at exactly once: by its aggregate's
 * next event, whose version is one more, or by its aggregate's head, which has its version. So the
 *      sum over (aggregate, position, version) of all records is the sum over what points. Back-
 *      pointers lead backwards only, so then each event is in the one chain of its aggregate.
 *   3. The entries of a run are, as a set, those of its positions, and they rise.
 *   4. The databases of the runs hold nothing that the manifest does not know.
 *
 * Where sums differ, or a fork is there, check_slow.c looks again and names what is wrong.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "internal/bytes.h"
#include "quipu/alloc.h"
#include "record.h"

void quipu_check_report(struct quipu_check *check, uint64_t position, const char *format, ...)
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

enum quipu_status quipu_check_found(struct quipu_check *check, uint64_t position,
                                    enum quipu_status status, const struct quipu_error *failure,
                                    struct quipu_error *err)
{
    if (status == QUIPU_CORRUPT || status == QUIPU_NOT_FOUND) {
        quipu_check_report(check, position, "%s", failure->message);
        return QUIPU_OK;
    }
    if (status != QUIPU_OK && err != NULL) {
        *err = *failure;
    }
    return status;
}

uint64_t quipu_check_mix(uint64_t a, uint64_t b, uint64_t c)
{
    const uint64_t parts[] = {a, b, c};
    uint64_t x = 0;
    for (size_t i = 0; i < 3; i++) {
        x += parts[i] + UINT64_C(0x9e3779b97f4a7c15);
        x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
        x ^= x >> 31;
    }
    return x;
}

/* ------------------------------------------------------------------ one run */

void quipu_check_sum_segment(struct quipu_check *check, const struct quipu_run *run,
                             enum quipu_index index, uint64_t segment,
                             struct quipu_check_entry_sum *sum)
{
    struct quipu_slice entries;
    if (quipu_run_segment(check->txn, index, run, segment, &entries, NULL) != QUIPU_OK) {
        sum->is_sound = false;
        return;
    }
    for (size_t at = 0; at < entries.len; at += quipu_entry_bytes(index)) {
        struct quipu_entry entry = quipu_entry_load(run, index, entries.data + at);
        sum->last_key = quipu_load_be64(entries.data + at);
        if (segment == 0 && at == 0) {
            sum->first_key = sum->last_key;
        } else if (!quipu_entry_is_below(&sum->before, &entry)) {
            sum->is_sound = false;
        }
        sum->before = entry;
        sum->sum += quipu_check_mix(index, entry.prefix, entry.rest);
    }
}

bool quipu_check_sum_agrees(const struct quipu_check_entry_sum *sum, const struct quipu_run *run,
                            enum quipu_index index, const struct quipu_check_sums *sums)
{
    return sum->is_sound && sum->sum == sums->of[index] && sum->first_key == run->min_key[index] &&
           sum->last_key == run->max_key[index];
}

enum quipu_status quipu_check_run(struct quipu_check *check, const struct quipu_run *run,
                                  const struct quipu_check_sums *sums, struct quipu_error *err)
{
    for (int k = 0; k < QUIPU_INDEXES; k++) {
        enum quipu_index index = (enum quipu_index)k;
        struct quipu_check_entry_sum sum = {.is_sound = true};
        uint64_t segments = quipu_run_segments(run, index);
        for (uint64_t segment = 0; segment < segments && sum.is_sound; segment++) {
            quipu_check_sum_segment(check, run, index, segment, &sum);
        }
        if (quipu_check_sum_agrees(&sum, run, index, sums)) {
            continue;
        }
        uint64_t before = check->problems;
        enum quipu_status status =
            quipu_check_entries(check, run, index, quipu_run_entries(run, index), err);
        if (status != QUIPU_OK) {
            return status;
        }
        if (check->problems == before && !sums->has_gap) {
            quipu_check_report(check, run->first_position,
                               "run %" PRIu64 " of %s does not agree with its records", run->number,
                               quipu_db_name(quipu_index_db(index)));
        }
    }
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ log */

uint64_t quipu_check_link(const struct quipu_record *record, uint64_t hash)
{
    uint64_t sum = quipu_check_mix(hash, record->position, record->version);
    if (record->aggregate_prev_position != 0) {
        sum -= quipu_check_mix(hash, record->aggregate_prev_position, record->version - 1);
    }
    return sum;
}

void quipu_check_add(struct quipu_check_sums *sums, const struct quipu_record *record)
{
    uint64_t position = record->position;
    sums->of[QUIPU_INDEX_CID] +=
        quipu_check_mix(QUIPU_INDEX_CID, quipu_load_be64(record->envelope_cid.digest),
                        position << 1) +
        quipu_check_mix(QUIPU_INDEX_CID, quipu_load_be64(record->payload_cid.digest),
                        position << 1 | 1);
    sums->of[QUIPU_INDEX_EVENT_ID] +=
        quipu_check_mix(QUIPU_INDEX_EVENT_ID, quipu_load_be64(record->event_id.bytes), position);
    uint32_t type;
    uint32_t correlation;
    quipu_record_terms(record, &type, &correlation);
    sums->of[QUIPU_INDEX_TERM] += quipu_check_mix(QUIPU_INDEX_TERM, type, position);
    if (correlation != 0) {
        sums->of[QUIPU_INDEX_TERM] += quipu_check_mix(QUIPU_INDEX_TERM, correlation, position);
    }
}

/* ------------------------------------------------------------------ heads */

bool quipu_check_head_key_is_sound(struct quipu_slice key)
{
    return key.len >= 3 && key.data[0] != 0 && key.data[0] <= key.len - 2;
}

bool quipu_check_head_is_plain(struct quipu_check *check, MDB_val key, MDB_val value,
                               struct quipu_record *record)
{
    struct quipu_head head;
    uint64_t hash;
    return quipu_check_head_key_is_sound(quipu_slice_of(key)) &&
           quipu_head_decode(quipu_slice_of(value), &head, NULL) == QUIPU_OK &&
           quipu_check_record(check, head.position, record, &hash, NULL) == QUIPU_OK &&
           !head.has_fork && head.version_max == head.version && head.version == record->version &&
           quipu_cid_equal(&record->envelope_cid, &head.envelope_cid);
}

int quipu_check_heads_open(const struct quipu_txn *txn, struct quipu_slice after,
                           MDB_cursor **cursor, MDB_val *key, MDB_val *value)
{
    *cursor = NULL;
    *key = quipu_val_of(after);
    int code = mdb_cursor_open(txn->mdb, txn->store->dbi[QUIPU_DB_HEAD], cursor);
    if (code == 0) {
        code = mdb_cursor_get(*cursor, key, value, after.len == 0 ? MDB_FIRST : MDB_SET_RANGE);
    }
    if (code == 0 && quipu_slice_equal(quipu_slice_of(*key), after)) {
        code = mdb_cursor_get(*cursor, key, value, MDB_NEXT);
    }
    return code;
}

/* ------------------------------------------------------------------ the rest of the runs */

/* The directory of a run of several segments; returns the number of values that it takes. */
static uint64_t check_directory(struct quipu_check *check, const struct quipu_run *run,
                                enum quipu_index index)
{
    uint64_t segments = quipu_run_segments(run, index);
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
        quipu_check_report(check, 0, "the directory of run %" PRIu64 " of %s is wrong", run->number,
                           quipu_db_name(quipu_index_db(index)));
    }
    return 1;
}

/* What a merge has made so far; returns the number of values that it takes. */
static enum quipu_status check_merge(struct quipu_check *check,
                                     const struct quipu_manifest *manifest,
                                     const struct quipu_merge *merge, enum quipu_index index,
                                     uint64_t *values, struct quipu_error *err)
{
    uint32_t first = quipu_manifest_find(manifest, merge->first_run);
    struct quipu_run run = quipu_merged_run(&manifest->runs[first], merge);
    uint64_t taken = 0;
    for (uint32_t input = 0; input < merge->inputs; input++) {
        taken += merge->consumed[index][input];
    }
    *values += quipu_segments(taken, merge->segment_entries);
    return quipu_check_entries(check, &run, index, taken, err);
}

enum quipu_status quipu_check_values(struct quipu_check *check,
                                     const struct quipu_manifest *manifest, enum quipu_index index,
                                     struct quipu_error *err)
{
    uint64_t values = 0;
    for (uint32_t i = 0; i < manifest->run_count; i++) {
        const struct quipu_run *run = &manifest->runs[i];
        values += quipu_run_segments(run, index);
        values += check_directory(check, run, index);
    }
    enum quipu_status status = QUIPU_OK;
    for (uint32_t i = 0; i < manifest->merge_count && status == QUIPU_OK; i++) {
        status = check_merge(check, manifest, &manifest->merges[i], index, &values, err);
    }
    for (uint32_t i = 0; i < manifest->trash_count; i++) {
        values += manifest->trash[i].values[index];
    }
    MDB_stat stat;
    int code = mdb_stat(check->txn->mdb, check->txn->store->dbi[quipu_index_db(index)], &stat);
    if (status == QUIPU_OK && code == 0 && stat.ms_entries != values) {
        quipu_check_report(check, 0, "%s holds %zu values, the manifest knows %" PRIu64,
                           quipu_db_name(quipu_index_db(index)), stat.ms_entries, values);
    }
    return status;
}

enum quipu_status quipu_check_manifest(struct quipu_check *check, struct quipu_manifest *manifest,
                                       struct quipu_error *err)
{
    struct quipu_slice bytes;
    enum quipu_status status = quipu_manifest_load(check->txn, &bytes, err);
    if (status != QUIPU_OK || bytes.len == 0) {
        return status;
    }
    struct quipu_error failure;
    status = quipu_manifest_decode(bytes, manifest, &failure);
    if (status == QUIPU_OK && manifest->indexed > check->txn->last_position) {
        status = quipu_error_set(&failure, QUIPU_CORRUPT, "more is indexed than there is");
    }
    if (status != QUIPU_OK) {
        memset(manifest, 0, sizeof *manifest);
        return quipu_check_found(check, 0, status, &failure, err);
    }
    return QUIPU_OK;
}

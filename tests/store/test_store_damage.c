/*
 * A bit that a disk has changed in what derives from the log, and in the parts of records that no
 * hash covers: whoever walks over an aggregate, a type or a correlation meets every event, or is
 * told that something is damaged. Each bit is tried.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"
#include "internal/bytes.h"
#include "internal/fnv.h"
#include "record.h"
#include "store_fixture.h"

#define EVENTS     24
#define AGGREGATES 3

static struct fixture fixture;
static struct quipu_store_tuning tuning;
static char data_path[3 * TEMP_DIR_BYTES];

static void set_up(void)
{
    struct quipu_txn *txn = NULL;
    tuning = tuning_small();
    fixture_init(&fixture, &tuning);
    (void)snprintf(data_path, sizeof data_path, "%s/data.mdb", fixture.path);
    cr_assert_eq(quipu_txn_begin_write(fixture.store, &txn, NULL), QUIPU_OK);
    for (uint64_t seed = 0; seed < EVENTS; seed++) {
        struct sample sample;
        uint64_t position;
        sample_make(&sample, seed, AGGREGATES, true);
        cr_assert_eq(sample_append(txn, &sample, &position, NULL), QUIPU_OK);
    }
    cr_assert_eq(quipu_txn_commit(&txn, NULL), QUIPU_OK);
}

static void tear_down(void)
{
    fixture_release(&fixture);
}

TestSuite(store_damage, .init = set_up, .fini = tear_down, .timeout = 600);

/* ------------------------------------------------------------------ asking */

static void mix(uint64_t *digest, const struct quipu_record *record)
{
    uint8_t position[8];
    quipu_store_be64(position, record->position);
    *digest = quipu_fnv(*digest, position, sizeof position);
    *digest = quipu_fnv(*digest, record->event_id.bytes, sizeof record->event_id.bytes);
}

/* The aggregate's events from `version_min` on, between two positions; `*digest` over them. */
static enum quipu_status walk_aggregate(struct quipu_txn *txn,
                                        const struct quipu_aggregate_range *range, uint64_t *digest)
{
    struct quipu_aggregate_walk *walk = NULL;
    struct quipu_record record;
    enum quipu_status status = quipu_aggregate_walk_open(txn, range, &walk, NULL);
    while (status == QUIPU_OK) {
        status = quipu_aggregate_walk_next(walk, &record, NULL);
        if (status == QUIPU_OK) {
            mix(digest, &record);
        }
    }
    quipu_aggregate_walk_close(&walk);
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

static enum quipu_status walk_term(struct quipu_txn *txn, struct quipu_term term,
                                   enum quipu_seek seek, uint64_t *digest)
{
    uint64_t at = seek == QUIPU_SEEK_GT ? 0 : UINT64_MAX;
    struct quipu_record record;
    enum quipu_status status = QUIPU_OK;
    while (status == QUIPU_OK) {
        status = quipu_txn_find_term(txn, term, at, seek, &record, NULL);
        if (status == QUIPU_OK) {
            mix(digest, &record);
            at = record.position;
        }
    }
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

#define QUESTIONS_MAX 64

/* What was answered to each question: a digest, or 0 where it was CORRUPT. */
struct answers {
    uint64_t digest[QUESTIONS_MAX];
    size_t count;
};

static void answer(struct answers *answers, enum quipu_status status, uint64_t digest)
{
    cr_assert(status == QUIPU_OK || status == QUIPU_CORRUPT, "%s", quipu_status_name(status));
    cr_assert_lt(answers->count, QUESTIONS_MAX);
    answers->digest[answers->count++] = status == QUIPU_OK ? digest | 1 : 0;
}

static void ask_aggregates(struct quipu_txn *txn, struct answers *answers)
{
    for (uint64_t seed = 0; seed < AGGREGATES; seed++) {
        struct sample sample;
        sample_make(&sample, seed, AGGREGATES, true);
        const struct quipu_aggregate_range ranges[] = {
            {.aggregate = sample.record.aggregate},
            {.aggregate = sample.record.aggregate, .version_min = 3},
            {.aggregate = sample.record.aggregate, .position_min = 8, .position_max = 19},
        };
        for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
            uint64_t digest = QUIPU_FNV_BEGIN;
            enum quipu_status status = walk_aggregate(txn, &ranges[i], &digest);
            answer(answers, status, digest);
        }
    }
}

static void ask_terms(struct quipu_txn *txn, struct answers *answers)
{
    for (uint64_t seed = 0; seed < EVENTS; seed += 5) {
        struct sample sample;
        sample_make(&sample, seed, AGGREGATES, true);
        const struct quipu_term terms[] = {
            {QUIPU_TERM_CORRELATION,
             quipu_slice(sample.record.correlation_id.bytes, QUIPU_UUID_BYTES)},
            {QUIPU_TERM_EVENT_TYPE, sample.record.event_type},
        };
        for (size_t i = 0; i < 4; i++) {
            uint64_t digest = QUIPU_FNV_BEGIN;
            enum quipu_status status =
                walk_term(txn, terms[i / 2], i % 2 == 0 ? QUIPU_SEEK_GT : QUIPU_SEEK_LT, &digest);
            answer(answers, status, digest);
        }
    }
}

typedef void (*ask_fn)(struct quipu_txn *txn, struct answers *answers);

/* All of them, of the file as it is now. A store that cannot be opened answers nothing wrong. */
static void ask_all(ask_fn ask, struct answers *answers)
{
    struct quipu_txn *txn = NULL;
    struct quipu_error err;
    *answers = (struct answers){.count = 0};
    enum quipu_status status =
        quipu_store_open_tuned(fixture.path, NULL, &tuning, &fixture.store, &err);
    if (status == QUIPU_CORRUPT) {
        return;
    }
    cr_assert_eq(status, QUIPU_OK, "%s", err.message);
    cr_assert_eq(quipu_txn_begin_read(fixture.store, &txn, NULL), QUIPU_OK);
    ask(txn, answers);
    quipu_txn_abort(&txn);
    quipu_store_close(&fixture.store);
}

/* ------------------------------------------------------------------ damaging */

/* The bytes of the file that the current state may have: copied to `*out`, to be freed. */
static size_t read_file(uint8_t **out)
{
    struct stat info;
    int fd = open(data_path, O_RDONLY);
    cr_assert_geq(fd, 0);
    cr_assert_eq(fstat(fd, &info), 0);
    *out = malloc((size_t)info.st_size);
    cr_assert_eq(read(fd, *out, (size_t)info.st_size), (ssize_t)info.st_size);
    close(fd);
    return (size_t)info.st_size;
}

static void write_byte(size_t at, uint8_t byte)
{
    int fd = open(data_path, O_WRONLY);
    cr_assert_geq(fd, 0);
    cr_assert_eq(pwrite(fd, &byte, 1, (off_t)at), 1);
    close(fd);
}

struct damage_run {
    ask_fn ask;
    const uint8_t *file;
    struct answers sound;
    uint64_t bits;
    uint64_t found; /* bits of which at least one question was refused */
};

/* Each bit of these bytes: every question is answered as before, or with CORRUPT. */
static void damage_bytes(struct damage_run *run, size_t at, size_t len)
{
    for (size_t bit = 8 * at; bit < 8 * (at + len); bit++) {
        struct answers answers;
        bool is_found = false;
        write_byte(bit / 8, run->file[bit / 8] ^ (uint8_t)(1 << bit % 8));
        ask_all(run->ask, &answers);
        write_byte(bit / 8, run->file[bit / 8]);
        for (size_t i = 0; i < answers.count; i++) {
            is_found = is_found || answers.digest[i] == 0;
            cr_assert(answers.digest[i] == 0 || answers.digest[i] == run->sound.digest[i],
                      "bit %zu of byte %zu of %zu at %zu: question %zu has a wrong answer", bit % 8,
                      bit / 8 - at, len, at, i);
        }
        run->bits++;
        run->found += is_found || answers.count == 0;
    }
}

static void begin(struct damage_run *run, ask_fn ask, uint8_t **file, size_t *bytes)
{
    quipu_store_close(&fixture.store);
    *run = (struct damage_run){.ask = ask};
    ask_all(ask, &run->sound);
    for (size_t i = 0; i < run->sound.count; i++) {
        cr_assert_neq(run->sound.digest[i], 0, "question %zu", i);
    }
    *bytes = read_file(file);
    run->file = *file;
}

static void end(struct damage_run *run, uint8_t *file)
{
    struct answers again;
    ask_all(run->ask, &again);
    cr_assert_arr_eq(again.digest, run->sound.digest, sizeof again.digest);
    free(file);
    fixture_reopen(&fixture, &tuning);
}

/* ------------------------------------------------------------------ heads */

/* Its key and its value, which lie one behind the other. */
static size_t head_bytes(uint64_t seed, uint8_t out[QUIPU_HEAD_KEY_BYTES_MAX])
{
    struct sample sample;
    sample_make(&sample, seed, AGGREGATES, true);
    return quipu_head_key(sample.record.aggregate, out);
}

Test(store_damage, no_bit_of_a_head_hides_an_event)
{
    struct damage_run run;
    uint8_t *file;
    size_t bytes;
    begin(&run, ask_aggregates, &file, &bytes);
    for (uint64_t seed = 0; seed < AGGREGATES; seed++) {
        uint8_t key[QUIPU_HEAD_KEY_BYTES_MAX];
        size_t len = head_bytes(seed, key);
        size_t met = 0;
        uint8_t *at = file;
        while ((at = memmem(at, (size_t)(file + bytes - at), key, len)) != NULL) {
            damage_bytes(&run, (size_t)(at - file), len + QUIPU_HEAD_VALUE_BYTES);
            at++;
            met++;
        }
        cr_assert_eq(met, 1);
    }
    /* But for the bits that say that there was a fork. */
    cr_assert_eq(run.bits - run.found, AGGREGATES, "%lu of %lu", run.found, run.bits);
    end(&run, file);
}

/* ------------------------------------------------------------------ records */

Test(store_damage, no_bit_of_a_back_pointer_or_version_hides_an_event)
{
    enum { VERSION = 24, DIGEST = 40 };
    struct damage_run run;
    uint8_t *file;
    size_t bytes;
    begin(&run, ask_aggregates, &file, &bytes);
    for (uint64_t seed = 0; seed < EVENTS; seed += 4) {
        struct sample sample;
        sample_make(&sample, seed, AGGREGATES, true);
        size_t met = 0;
        const uint8_t *digest = sample.record.envelope_cid.digest;
        for (uint8_t *at = file + DIGEST;
             (at = memmem(at, (size_t)(file + bytes - at), digest, QUIPU_SHA256_BYTES)) != NULL;
             at++) {
            const uint8_t *record = at - DIGEST;
            if (record[0] == 1 && quipu_load_be64(record + VERSION) == 1 + seed / AGGREGATES) {
                damage_bytes(&run, (size_t)(record - file) + VERSION, DIGEST - VERSION);
                met++;
            }
        }
        cr_assert_eq(met, 1);
    }
    cr_assert_eq(run.found, run.bits, "%lu of %lu", run.found, run.bits);
    end(&run, file);
}

/* ------------------------------------------------------------------ types and correlations */

/* The values of all runs of the index, one behind the other, each with its length before it. */
static struct quipu_buf run_values(void)
{
    struct quipu_buf out = QUIPU_BUF_INIT;
    struct quipu_txn *txn = NULL;
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val val;
    cr_assert_eq(quipu_txn_begin_read(fixture.store, &txn, NULL), QUIPU_OK);
    cr_assert_eq(mdb_cursor_open(txn->mdb, fixture.store->dbi[QUIPU_DB_TERM_RUN], &cursor), 0);
    while (mdb_cursor_get(cursor, &key, &val, MDB_NEXT) == 0) {
        quipu_buf_append(&out, &val.mv_size, sizeof val.mv_size);
        quipu_buf_append(&out, val.mv_data, val.mv_size);
    }
    mdb_cursor_close(cursor);
    quipu_txn_abort(&txn);
    cr_assert_eq(out.status, QUIPU_OK);
    return out;
}

Test(store_damage, no_bit_of_an_index_entry_hides_an_event_of_a_type_or_correlation)
{
    struct damage_run run;
    uint8_t *file;
    size_t bytes;
    struct quipu_buf values = run_values();
    begin(&run, ask_terms, &file, &bytes);
    struct quipu_slice rest = quipu_buf_slice(&values);
    while (rest.len > 0) {
        size_t len;
        memcpy(&len, rest.data, sizeof len);
        const uint8_t *value = rest.data + sizeof len;
        uint8_t *at = memmem(file, bytes, value, len);
        cr_assert_not_null(at);
        for (; at != NULL; at = memmem(at + 1, (size_t)(file + bytes - at) - 1, value, len)) {
            damage_bytes(&run, (size_t)(at - file), len); /* or a page that was given back */
        }
        rest = quipu_slice(value + len, rest.len - len - sizeof len);
    }
    quipu_buf_release(&values);
    cr_assert_gt(run.bits, 1000);
    cr_assert_gt(run.found, run.bits / 4, "%lu of %lu", run.found, run.bits);
    end(&run, file);
}

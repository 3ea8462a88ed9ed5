/*
 * The check of the indexes must find what is wrong: each kind of damage is done behind the store's
 * back, through LMDB, and must be named.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <lmdb.h>
#include <stdlib.h>

#include "internal.h"
#include "internal/bytes.h"
#include "store_fixture.h"

#define EVENTS 23

static struct fixture fixture;
static char lines[8192];

static void set_up(void)
{
    struct quipu_store_tuning tuning = tuning_small();
    tuning.trash_values = 1000; /* so that every value belongs to a run in use */
    fixture_init(&fixture, &tuning);
    samples_commit(fixture.store, 0, EVENTS, 5);
    cr_assert_eq(problems_of(fixture.store), 0);
    quipu_store_close(&fixture.store);
}

static void tear_down(void)
{
    fixture_release(&fixture);
}

TestSuite(store_check, .init = set_up, .fini = tear_down);

/* Hands each value of a database to `change`, which returns what to do with it. */
enum change { KEEP, STORE, DELETE };
typedef enum change (*change_fn)(uint64_t n, MDB_val key, uint8_t *value, size_t len);
/* The same, and the value may become shorter. */
typedef enum change (*resize_fn)(uint64_t n, MDB_val key, uint8_t *value, size_t *len);

static void change_values_by(const char *name, unsigned flags, change_fn change, resize_fn resize)
{
    MDB_env *env = NULL;
    MDB_txn *txn = NULL;
    MDB_dbi dbi;
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val val;
    cr_assert_eq(mdb_env_create(&env), 0);
    cr_assert_eq(mdb_env_set_maxdbs(env, 8), 0);
    cr_assert_eq(mdb_env_set_mapsize(env, 64 << 20), 0);
    cr_assert_eq(mdb_env_open(env, fixture.path, 0, 0600), 0);
    cr_assert_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
    cr_assert_eq(mdb_dbi_open(txn, name, flags, &dbi), 0);
    cr_assert_eq(mdb_cursor_open(txn, dbi, &cursor), 0);
    uint64_t n = 0;
    uint64_t changes = 0;
    while (mdb_cursor_get(cursor, &key, &val, MDB_NEXT) == 0) {
        uint8_t *copy = malloc(val.mv_size);
        memcpy(copy, val.mv_data, val.mv_size);
        size_t len = val.mv_size;
        enum change what =
            change != NULL ? change(n++, key, copy, len) : resize(n++, key, copy, &len);
        MDB_val now = {len, copy};
        if (what == STORE) {
            cr_assert_eq(mdb_put(txn, dbi, &key, &now, 0), 0);
        } else if (what == DELETE) {
            cr_assert_eq(mdb_cursor_del(cursor, 0), 0);
        }
        changes += what != KEEP;
        free(copy);
    }
    cr_assert_eq(changes, 1);
    mdb_cursor_close(cursor);
    cr_assert_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

static void change_values(const char *name, unsigned flags, change_fn change)
{
    change_values_by(name, flags, change, NULL);
}

static bool note(void *ctx, uint64_t position, const char *line)
{
    (void)position;
    uint64_t *left = ctx;
    strncat(lines, line, sizeof lines - strlen(lines) - 2);
    strcat(lines, "\n");
    return left == NULL || --*left > 0;
}

/* With these sizes of its slices. */
static uint64_t check_with(const struct quipu_store_tuning *tuning, uint64_t *stop_after)
{
    uint64_t problems = 0;
    struct quipu_error err;
    lines[0] = 0;
    fixture_reopen(&fixture, tuning);
    cr_assert_eq(quipu_store_check_indexes(fixture.store, note, NULL, stop_after, &problems, &err),
                 QUIPU_OK, "%s", err.message);
    return problems;
}

static uint64_t check(uint64_t *stop_after)
{
    struct quipu_store_tuning whole = quipu_store_tuning_default();
    uint64_t problems = check_with(&whole, stop_after);
    if (stop_after == NULL) {
        /* In small slices the same things are wrong. */
        static char at_once[sizeof lines];
        struct quipu_store_tuning small = tuning_small();
        memcpy(at_once, lines, sizeof at_once);
        uint64_t sliced = check_with(&small, NULL);
        cr_assert_eq(sliced, problems, "at once:\n%ssliced:\n%s", at_once, lines);
        cr_assert_str_eq(lines, at_once);
    }
    return problems;
}

static void assert_finds(const char *words)
{
    cr_assert_gt(check(NULL), 0);
    cr_assert(strstr(lines, words) != NULL, "want \"%s\" in: %s", words, lines);
}

static enum change rename_aggregate(uint64_t n, MDB_val key, uint8_t *value, size_t len)
{
    (void)key;
    (void)len;
    value[72 + quipu_load_be16(value + 8)] ^= 1;
    return n == 15 ? STORE : KEEP;
}

Test(store_check, names_a_record_of_another_aggregate)
{
    change_values("log", MDB_INTEGERKEY, rename_aggregate);
    assert_finds("of another aggregate");
}

static enum change move_back_pointer(uint64_t n, MDB_val key, uint8_t *value, size_t len)
{
    (void)key;
    (void)len;
    quipu_store_be64(value + 32, 0);
    return n == 15 ? STORE : KEEP;
}

Test(store_check, names_a_chain_that_was_cut)
{
    change_values("log", MDB_INTEGERKEY, move_back_pointer);
    assert_finds("heads lead to 22 events, the log has 23");
}

static enum change break_record(uint64_t n, MDB_val key, uint8_t *value, size_t len)
{
    (void)key;
    (void)len;
    value[0] = 9;
    return n == 3 ? STORE : KEEP;
}

Test(store_check, names_a_malformed_record_and_reading_it_is_corrupt)
{
    struct quipu_record record;
    struct quipu_error err;
    struct quipu_txn *txn = NULL;
    change_values("log", MDB_INTEGERKEY, break_record);
    assert_finds("record at position 4: unknown record format");
    cr_assert_eq(quipu_txn_begin_read(fixture.store, &txn, NULL), QUIPU_OK);
    cr_assert_eq(quipu_txn_record_at(txn, 4, &record, &err), QUIPU_CORRUPT);
    cr_assert_eq(quipu_txn_record_at(txn, 5, &record, &err), QUIPU_OK);
    quipu_txn_abort(&txn);
}

static enum change wrong_head(uint64_t n, MDB_val key, uint8_t *value, size_t len)
{
    (void)key;
    (void)len;
    value[40] ^= 1;
    return n == 2 ? STORE : KEEP;
}

static enum change wrong_version_max(uint64_t n, MDB_val key, uint8_t *value, size_t len)
{
    (void)key;
    (void)len;
    value[15] ^= 1;
    return n == 2 ? STORE : KEEP;
}

static enum change wrong_fork(uint64_t n, MDB_val key, uint8_t *value, size_t len)
{
    (void)key;
    (void)len;
    value[8] ^= 0x80;
    return n == 2 ? STORE : KEEP;
}

static enum change no_head(uint64_t n, MDB_val key, uint8_t *value, size_t len)
{
    (void)key;
    (void)value;
    (void)len;
    return n == 2 ? DELETE : KEEP;
}

Test(store_check, names_a_wrong_head)
{
    change_values("head", 0, wrong_head);
    assert_finds("names another version or envelope");
}

Test(store_check, names_a_wrong_greatest_version)
{
    change_values("head", 0, wrong_version_max);
    assert_finds("greatest version");
}

Test(store_check, names_a_head_with_a_fork_that_is_not_there)
{
    change_values("head", 0, wrong_fork);
    assert_finds("head says that there is a fork");
}

Test(store_check, misses_a_head)
{
    change_values("head", 0, no_head);
    assert_finds("heads lead to");
}

static enum change wrong_prefix(uint64_t n, MDB_val key, uint8_t *value, size_t len)
{
    (void)key;
    /* The last byte of the last prefix: order and fences stay as they are. */
    value[len - 12 + 7] ^= 1;
    return n == 0 ? STORE : KEEP;
}

static enum change swapped(uint64_t n, MDB_val key, uint8_t *value, size_t len)
{
    (void)key;
    (void)len;
    uint8_t entry[12];
    if (len < 24) {
        return KEEP;
    }
    memcpy(entry, value, 12);
    memcpy(value, value + 12, 12);
    memcpy(value + 12, entry, 12);
    return n == 0 ? STORE : KEEP;
}

static enum change wrong_position(uint64_t n, MDB_val key, uint8_t *value, size_t len)
{
    (void)key;
    (void)len;
    quipu_store_be32(value + 8, 1000000);
    return n == 0 ? STORE : KEEP;
}

static enum change gone(uint64_t n, MDB_val key, uint8_t *value, size_t len)
{
    (void)key;
    (void)value;
    (void)len;
    return n == 0 ? DELETE : KEEP;
}

Test(store_check, names_an_entry_that_is_not_true)
{
    change_values("cidrun", MDB_INTEGERKEY, wrong_prefix);
    assert_finds("has a wrong entry");
}

Test(store_check, names_a_run_that_is_not_sorted)
{
    change_values("cidrun", MDB_INTEGERKEY, swapped);
    assert_finds("is not sorted");
}

Test(store_check, names_an_entry_outside_its_run)
{
    change_values("eidrun", MDB_INTEGERKEY, wrong_position);
    assert_finds("outside its positions");
}

Test(store_check, names_a_run_that_is_gone_and_looking_into_it_is_corrupt)
{
    struct quipu_txn *txn = NULL;
    int corrupt = 0;
    change_values("eidrun", MDB_INTEGERKEY, gone);
    assert_finds("is missing");
    cr_assert(strstr(lines, "the manifest knows") != NULL, "%s", lines);
    cr_assert_eq(quipu_txn_begin_read(fixture.store, &txn, NULL), QUIPU_OK);
    for (uint64_t seed = 0; seed < EVENTS; seed++) {
        struct sample sample;
        struct quipu_record record;
        sample_make(&sample, seed, 10, true);
        enum quipu_status status =
            quipu_txn_find_event_id(txn, sample.record.event_id, &record, NULL);
        cr_assert(status == QUIPU_OK || status == QUIPU_CORRUPT);
        corrupt += status == QUIPU_CORRUPT;
    }
    quipu_txn_abort(&txn);
    cr_assert_gt(corrupt, 0);
}

static enum change wrong_directory(uint64_t n, MDB_val key, uint8_t *value, size_t len)
{
    static bool was_done;
    (void)n;
    (void)len;
    uint64_t number;
    memcpy(&number, key.mv_data, sizeof number);
    if (was_done || (number & 0xffffff) != 0xffffff) {
        return KEEP;
    }
    was_done = true;
    value[7] ^= 1;
    return STORE;
}

Test(store_check, names_a_wrong_directory)
{
    change_values("cidrun", MDB_INTEGERKEY, wrong_directory);
    assert_finds("the directory of run");
}

static enum change wrong_term(uint64_t n, MDB_val key, uint8_t *value, size_t len)
{
    (void)key;
    (void)len;
    value[3] ^= 1; /* of its first entry's hash */
    return n == 0 ? STORE : KEEP;
}

static enum change wrong_term_position(uint64_t n, MDB_val key, uint8_t *value, size_t len)
{
    (void)key;
    quipu_store_be32(value + len - 4, 1000);
    return n == 0 ? STORE : KEEP;
}

Test(store_check, names_a_term_that_is_not_the_record_s)
{
    change_values("termrun", MDB_INTEGERKEY, wrong_term);
    assert_finds("of termrun has a wrong entry");
}

Test(store_check, names_a_term_outside_its_run)
{
    change_values("termrun", MDB_INTEGERKEY, wrong_term_position);
    assert_finds("outside its positions");
}

/* Take the second entry out of a run of one value, in its value and in the manifest. */
static uint64_t robbed_run;

static enum change rob_value(uint64_t n, MDB_val key, uint8_t *value, size_t *len)
{
    (void)n;
    uint64_t number;
    memcpy(&number, key.mv_data, sizeof number);
    if (number != quipu_run_key(robbed_run, 0)) {
        return KEEP;
    }
    memmove(value + 8, value + 16, *len - 16);
    *len -= 8;
    return STORE;
}

static enum change rob_manifest(uint64_t n, MDB_val key, uint8_t *value, size_t *len)
{
    (void)n;
    if (key.mv_size != 4) {
        return KEEP;
    }
    struct quipu_manifest *manifest = calloc(1, sizeof *manifest);
    struct quipu_buf changed = QUIPU_BUF_INIT;
    cr_assert_eq(quipu_manifest_decode(quipu_slice(value, *len), manifest, NULL), QUIPU_OK);
    for (uint32_t i = 0; i < manifest->run_count; i++) {
        struct quipu_run *run = &manifest->runs[i];
        if (robbed_run == 0 && run->term_entries > quipu_run_events(run) + 1 &&
            run->term_entries <= run->segment_entries) {
            robbed_run = run->number;
            run->term_entries--;
        }
    }
    cr_assert_neq(robbed_run, 0);
    quipu_manifest_encode(manifest, &changed);
    cr_assert_eq(changed.len, *len);
    memcpy(value, changed.data, changed.len);
    quipu_buf_release(&changed);
    free(manifest);
    return STORE;
}

Test(store_check, misses_a_term)
{
    change_values_by("meta", 0, NULL, rob_manifest);
    change_values_by("termrun", MDB_INTEGERKEY, NULL, rob_value);
    assert_finds("of termrun does not agree with its records");
}

static enum change break_manifest(uint64_t n, MDB_val key, uint8_t *value, size_t len)
{
    (void)n;
    (void)len;
    if (key.mv_size != 4) {
        return KEEP;
    }
    quipu_store_be64(value + 16, 1000);
    return STORE;
}

Test(store_check, names_a_manifest_that_is_not_true)
{
    struct quipu_txn *txn = NULL;
    struct sample sample;
    uint64_t position;
    change_values("meta", 0, break_manifest);
    assert_finds("runs do not cover what is indexed");
    sample_make(&sample, 999, 10, true);
    cr_assert_eq(quipu_txn_begin_write(fixture.store, &txn, NULL), QUIPU_OK);
    cr_assert_eq(quipu_txn_append(txn, &sample.record, &position, NULL), QUIPU_CORRUPT);
    quipu_txn_abort(&txn);
}

Test(store_check, stops_when_it_is_told_to)
{
    uint64_t stop_after = 2;
    change_values("cidrun", MDB_INTEGERKEY, gone);
    change_values("head", 0, no_head);
    change_values("log", MDB_INTEGERKEY, break_record);
    cr_assert_eq(check(&stop_after), 2);
}

/* Three runs, of which two are merged, and one thrown away. The caller frees it. */
static struct quipu_manifest *manifest_sample(void)
{
    struct quipu_manifest *manifest = calloc(1, sizeof *manifest);
    manifest->indexed = 30;
    manifest->next_run = 20;
    for (uint32_t i = 0; i < 3; i++) {
        manifest->runs[i] = (struct quipu_run){.number = 3 + i,
                                               .first_position = 1 + 10 * i,
                                               .last_position = 10 + 10 * i,
                                               .level = i == 0,
                                               .segment_entries = 7,
                                               .term_entries = 13,
                                               .max_key = {9, 9, 9}};
    }
    manifest->run_count = 3;
    manifest->trash[0] = (struct quipu_trash){.number = 1, .values = {2, 3, 4}};
    manifest->trash_count = 1;
    manifest->merges[0] = (struct quipu_merge){.number = 9,
                                               .first_run = 4,
                                               .started_at = 5,
                                               .inputs = 2,
                                               .segment_entries = 4,
                                               .consumed = {{20, 3}, {10, 10}, {0, 13}}};
    manifest->merge_count = 1;
    return manifest;
}

static enum quipu_status read_again(const struct quipu_manifest *manifest)
{
    struct quipu_manifest *again = calloc(1, sizeof *again);
    struct quipu_buf bytes = QUIPU_BUF_INIT;
    quipu_manifest_encode(manifest, &bytes);
    enum quipu_status status = quipu_manifest_decode(quipu_buf_slice(&bytes), again, NULL);
    quipu_buf_release(&bytes);
    free(again);
    return status;
}

Test(store_manifest, refuses_two_merges_of_one_run_and_inputs_of_two_levels)
{
    struct quipu_manifest *manifest = manifest_sample();
    cr_assert_eq(read_again(manifest), QUIPU_OK);

    manifest->merges[1] = manifest->merges[0];
    manifest->merge_count = 2;
    cr_assert_eq(read_again(manifest), QUIPU_CORRUPT);
    manifest->merge_count = 1;
    manifest->merges[0].first_run = 3;
    cr_assert_eq(read_again(manifest), QUIPU_CORRUPT);
    free(manifest);
}

Test(store_manifest, refuses_to_throw_away_what_is_in_use)
{
    /* A run, what a merge makes, the next run; and more than a run can have. */
    static const struct quipu_trash in_use[] = {
        {.number = 4, .values = {1}},
        {.number = 9, .values = {1}},
        {.number = 20, .values = {1}},
        {.number = 1, .values = {0, 1u << 24}},
    };
    struct quipu_manifest *manifest = manifest_sample();
    for (size_t i = 0; i < sizeof in_use / sizeof in_use[0]; i++) {
        manifest->trash[0] = in_use[i];
        cr_assert_eq(read_again(manifest), QUIPU_CORRUPT, "row %zu", i);
    }
    free(manifest);
}

Test(store_manifest, whatever_is_accepted_is_written_the_same_way)
{
    struct quipu_manifest *manifest = manifest_sample();
    struct quipu_manifest *again = calloc(1, sizeof *again);
    struct quipu_buf bytes = QUIPU_BUF_INIT;
    struct quipu_buf back = QUIPU_BUF_INIT;
    quipu_manifest_encode(manifest, &bytes);
    cr_assert_eq(quipu_manifest_decode(quipu_buf_slice(&bytes), again, NULL), QUIPU_OK);

    size_t refused = 0;
    for (size_t at = 0; at < bytes.len; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            bytes.data[at] ^= (uint8_t)(1u << bit);
            if (quipu_manifest_decode(quipu_buf_slice(&bytes), again, NULL) == QUIPU_OK) {
                quipu_buf_reset(&back);
                quipu_manifest_encode(again, &back);
                cr_assert(quipu_slice_equal(quipu_buf_slice(&bytes), quipu_buf_slice(&back)));
            } else {
                refused++;
            }
            bytes.data[at] ^= (uint8_t)(1u << bit);
        }
        cr_assert_eq(quipu_manifest_decode(quipu_slice(bytes.data, at), again, NULL),
                     QUIPU_CORRUPT);
    }
    cr_assert_gt(refused, bytes.len);
    quipu_buf_release(&bytes);
    quipu_buf_release(&back);
    free(again);
    free(manifest);
}

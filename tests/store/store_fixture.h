/*
 * What the tests of the store share: a store in a folder of its own, with thresholds so small that
 * a few events cross all of them, and events that are made from a number, so that any process can
 * say what must be stored.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_STORE_FIXTURE_H
#define QUIPU_TESTS_STORE_FIXTURE_H

#include <stdbool.h>

#include "quipu/store.h"
#include "temp_dir.h"
#include "tuning.h"

/* 4 events a tail, merges of 2, 3 entries a segment. */
struct quipu_store_tuning tuning_small(void);

struct fixture {
    struct temp_dir dir;
    char path[2 * TEMP_DIR_BYTES];
    struct quipu_store *store;
};

/*
 * A tmpfs of so many bytes ("size=3m") over the folder `path`. Seen by this process and its
 * children only, so that it is gone with them, also where an assertion ends the test before
 * small_disk_unmount. False, and a line on stderr, where this machine allows no mount.
 */
bool small_disk_mount(const char *path, const char *size);
void small_disk_unmount(const char *path);

/* Run `use` with a folder that is such a disk, unless there can be none. */
void small_disk_run(const char *size, void (*use)(const struct temp_dir *disk));

/* A new store in `<dir>/store`; aborts the test where that fails. */
void fixture_init(struct fixture *fixture, const struct quipu_store_tuning *tuning);
void fixture_reopen(struct fixture *fixture, const struct quipu_store_tuning *tuning);
void fixture_release(struct fixture *fixture);

#define SAMPLE_TYPES 6

/* Storage of one event. */
struct sample {
    uint64_t seed;
    uint8_t envelope[272];
    uint8_t payload[400];
    char aggregate_id[24];
    char event_type[24];
    struct quipu_record_new record;
};

/*
 * Event number `seed`. Its aggregate is seed % aggregates; its event_id is in the order of seeds
 * where `is_ordered`, else scattered; every seventh has the payload of all other sevenths. Its type
 * is one of SAMPLE_TYPES, and its correlation that of the seed that five divides, at or below its
 * own. `version` is left 1.
 */
void sample_make(struct sample *sample, uint64_t seed, uint64_t aggregates, bool is_ordered);

/* Append it with the version behind its aggregate's head. */
enum quipu_status sample_append(struct quipu_txn *txn, struct sample *sample, uint64_t *position,
                                struct quipu_error *err);

/* Append the samples from … to - 1, `batch` a transaction; aborts the test where that fails. */
void samples_commit(struct quipu_store *store, uint64_t from, uint64_t to, uint64_t batch);

/* Number of problems that quipu_store_check_indexes finds now; they are printed. */
uint64_t problems_of(struct quipu_store *store);

/* What it said last: for reports of failed assertions. */
uint64_t last_position_of(struct quipu_store *store);

#endif

/*
 * A store to export from and one to import into, compared, and what the operations log of one says.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_IMPORT_KIT_H
#define QUIPU_TESTS_IMPORT_KIT_H

#include "bundle_kit.h"
#include "quipu/operations.h"

/* Opened and closed by what a suite begins and ends with. */
extern struct temp_dir dir;
extern struct store_kit vault;
extern struct store_kit office;
extern char path[PATH_BYTES]; /* of a bundle that may be written */

void import_set_up(void);
void import_tear_down(void);

/* What events travel in. Both are imports of the same kind, and promise the same. */
enum carrier { BUNDLE, LINES };

/* Write all of the vault to `path`, anew. */
void export_as(enum carrier carrier);

/* The first step of importing `path` into the office, with these options (NULL: none); lines on
 * whose word it may be. */
enum quipu_status open_as(enum carrier carrier, const struct quipu_import_options *options,
                          struct quipu_import **out, struct quipu_error *err);

/* All steps, in one transaction. */
enum quipu_status import_as(enum carrier carrier, const struct quipu_import_options *options,
                            struct quipu_error *err);

/* Assert that both stores hold the same events. */
void must_be_the_same(void);

/* How many events the office holds. */
uint64_t office_events(void);

/* How long the log is, and its last entry. */
struct logged {
    uint64_t count;
    uint64_t missing;
    uint64_t added;
    char kind[QUIPU_OPERATION_KIND_BYTES_MAX + 1];
    char reason[64];
    char operator_name[64];
};

struct logged read_log(struct store_kit *kit);

#endif

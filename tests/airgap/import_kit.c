/*
 * Two stores, compared, and what one of them has logged.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "import_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "quipu/event_lines.h"

struct temp_dir dir;
struct store_kit vault;
struct store_kit office;
char path[PATH_BYTES];

void import_set_up(void)
{
    sides_open(&dir, &vault, &office, "out.car", path);
}

void import_tear_down(void)
{
    sides_close(&dir, &vault, &office);
}

void export_as(enum carrier carrier)
{
    cr_assert(unlink(path) == 0 || errno == ENOENT);
    if (carrier == LINES) {
        store_kit_export_lines(&vault, path);
    } else {
        store_kit_export(&vault, path, NULL);
    }
}

enum quipu_status open_as(enum carrier carrier, const struct quipu_import_options *options,
                          struct quipu_import **out, struct quipu_error *err)
{
    struct quipu_import_options given = QUIPU_IMPORT_OPTIONS_INIT;
    given = options == NULL ? given : *options;
    given.takes_unproven = given.takes_unproven || carrier == LINES;
    return carrier == LINES ? quipu_import_open_lines(office.engine, path, &given, out, err)
                            : quipu_import_open(office.engine, path, &given, out, err);
}

enum quipu_status import_as(enum carrier carrier, const struct quipu_import_options *options,
                            struct quipu_error *err)
{
    struct quipu_import *import = NULL;
    enum quipu_status status = open_as(carrier, options, &import, err);
    if (status == QUIPU_OK) {
        status = quipu_import_accept(import, office.engine, NULL, err);
    }
    quipu_import_close(&import);
    return status;
}

void must_be_the_same(void)
{
    uint8_t ours[QUIPU_SHA256_BYTES];
    uint8_t theirs[QUIPU_SHA256_BYTES];
    cr_assert_eq(store_kit_digest(&vault, ours), store_kit_digest(&office, theirs));
    cr_assert_arr_eq(ours, theirs, sizeof ours);
}

uint64_t office_events(void)
{
    uint8_t digest[QUIPU_SHA256_BYTES];
    return store_kit_digest(&office, digest);
}

static enum quipu_status note_operation(void *ctx, const struct quipu_operation *operation,
                                        struct quipu_error *err)
{
    struct logged *logged = ctx;
    (void)err;
    cr_assert_eq(operation->number, ++logged->count);
    logged->missing = operation->missing;
    logged->added = operation->added;
    (void)snprintf(logged->kind, sizeof logged->kind, "%.*s", QUIPU_SLICE_FMT(operation->kind));
    (void)snprintf(logged->reason, sizeof logged->reason, "%.*s",
                   QUIPU_SLICE_FMT(operation->reason));
    (void)snprintf(logged->operator_name, sizeof logged->operator_name, "%.*s",
                   QUIPU_SLICE_FMT(operation->operator_name));
    return QUIPU_OK;
}

struct logged read_log(struct store_kit *kit)
{
    struct logged logged = {0};
    struct quipu_error err;
    cr_assert_eq(quipu_each_operation(kit->engine, 0, note_operation, &logged, &err), QUIPU_OK,
                 "%s", err.message);
    return logged;
}

/*
 * The suite "import_steps".
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "import_kit.h"

#include <criterion/criterion.h>
#include <stdio.h>

struct temp_dir dir;
struct store_kit vault;
struct store_kit office;
char path[PATH_BYTES];

static void set_up(void)
{
    sides_open(&dir, &vault, &office, "out.car", path);
}

static void tear_down(void)
{
    sides_close(&dir, &vault, &office);
}

TestSuite(import_steps, .init = set_up, .fini = tear_down, .timeout = 300);

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

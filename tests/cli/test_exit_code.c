/*
 * Every status has its exit code and, where it is a failure, a cure.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <string.h>

#include "exit_code.h"

static const struct {
    enum quipu_status status;
    int code;
} expected[] = {
    {QUIPU_OK, 0},
    {QUIPU_DONE, 0},
    {QUIPU_MISUSE, 2},
    {QUIPU_INVALID, 3},
    {QUIPU_TOO_LARGE, 3},
    {QUIPU_NOT_FOUND, 5},
    {QUIPU_VERSION_CONFLICT, 4},
    {QUIPU_EVENT_ID_CONFLICT, 4},
    {QUIPU_SECRET_REFUSED, 3},
    {QUIPU_EXISTS, 4},
    {QUIPU_BUSY, 4},
    {QUIPU_STOPPED, 1},
    {QUIPU_PARKED, 4},
    {QUIPU_PAUSED, 4},
    {QUIPU_TYPE, 3},
    {QUIPU_KEY_LOCKED, 3},
    {QUIPU_NO_MEMORY, 1},
    {QUIPU_IO, 1},
    {QUIPU_NO_SPACE, 1},
    {QUIPU_PERMISSION, 1},
    {QUIPU_NO_RANDOM, 1},
    {QUIPU_NOT_A_STORE, 6},
    {QUIPU_FORMAT_NEWER, 6},
    {QUIPU_CORRUPT, 6},
    {QUIPU_FORK, 4},
    {QUIPU_GAP, 4},
    {QUIPU_BAD_SIGNATURE, 6},
    {QUIPU_SCHEMA_NEWER, 6},
    {QUIPU_UNSIGNED, 6},
    {QUIPU_UNTRUSTED, 6},
    {QUIPU_MISSING, 6},
    {QUIPU_TOO_FEW_SIGNERS, 6},
    {QUIPU_CBOR_TRUNCATED, 3},
    {QUIPU_CBOR_TRAILING, 3},
    {QUIPU_CBOR_NOT_SHORTEST, 3},
    {QUIPU_CBOR_INDEFINITE, 3},
    {QUIPU_CBOR_RESERVED, 3},
    {QUIPU_CBOR_KEY_NOT_TEXT, 3},
    {QUIPU_CBOR_KEY_ORDER, 3},
    {QUIPU_CBOR_KEY_DUPLICATE, 3},
    {QUIPU_CBOR_FLOAT_WIDTH, 3},
    {QUIPU_CBOR_FLOAT_NOT_FINITE, 3},
    {QUIPU_CBOR_SIMPLE, 3},
    {QUIPU_CBOR_TAG, 3},
    {QUIPU_CBOR_LINK, 3},
    {QUIPU_CBOR_UTF8, 3},
    {QUIPU_CBOR_DEPTH, 3},
    {QUIPU_CBOR_KIND, 3},
    {QUIPU_CBOR_INCOMPLETE, 3},
    {QUIPU_VARINT, 3},
    {QUIPU_MULTIBASE, 3},
    {QUIPU_MULTIHASH, 3},
    {QUIPU_CID, 3},
    {QUIPU_CID_PROFILE, 3},
    {QUIPU_CID_MISMATCH, 6},
    {QUIPU_CID_UNVERIFIABLE, 6},
    {QUIPU_JSON, 3},
    {QUIPU_DAGJSON, 3},
    {QUIPU_CAR, 6},
    {QUIPU_CAR_TRUNCATED, 6},
    {QUIPU_CAR_VERSION, 6},
    {QUIPU_CAR_ROOT_MISSING, 6},
    {QUIPU_BUNDLE, 6},
    {QUIPU_ENVELOPE, 6},
    {QUIPU_OFFLINE, 7},
    {QUIPU_AUTH, 8},
    {QUIPU_TIMEOUT, 7},
    {QUIPU_NOT_PROVISIONED, 7},
    {QUIPU_DRIFT, 8},
    {QUIPU_SERVER, 8},
    {QUIPU_AGE, 6},
    {QUIPU_AGE_VERSION, 6},
    {QUIPU_AGE_ARMOR, 6},
    {QUIPU_AGE_HEADER, 6},
    {QUIPU_AGE_MAC, 6},
    {QUIPU_AGE_NO_MATCH, 3},
    {QUIPU_AGE_PAYLOAD, 6},
    {QUIPU_AGE_TRUNCATED, 6},
    {QUIPU_AGE_WORK_FACTOR, 3},
    {QUIPU_AGE_UNSUPPORTED, 3},
    {QUIPU_AGE_KEY, 3},
};

Test(exit_code, is_the_documented_one_for_every_status)
{
    static const enum quipu_status all[] = {
#define ONE(name, number, text) QUIPU_##name,
        QUIPU_STATUS_MAP(ONE)
#undef ONE
    };
    size_t count = sizeof all / sizeof all[0];

    cr_assert_eq(count, sizeof expected / sizeof expected[0]);
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(all[i], expected[i].status);
        cr_assert_eq((int)cli_exit_code(all[i]), expected[i].code, "%s", quipu_status_name(all[i]));
    }
}

Test(exit_code, every_failure_has_a_cure_on_one_line)
{
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        const char *cure = cli_cure(expected[i].status);
        cr_assert_eq(cure[0] == 0, expected[i].code == 0, "%s",
                     quipu_status_name(expected[i].status));
        cr_assert_null(strchr(cure, '\n'));
        cr_assert_null(strchr(cure, ';'), "%s: a cure is one",
                       quipu_status_name(expected[i].status));
    }
}

Test(exit_code, every_code_has_a_meaning)
{
    for (int code = CLI_EXIT_OK; code <= CLI_EXIT_ASIDE; code++) {
        cr_assert_neq(cli_exit_text((enum cli_exit)code)[0], 0);
    }
}

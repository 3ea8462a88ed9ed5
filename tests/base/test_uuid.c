/*
 * UUIDs: text both ways, and version 7 that only ever goes up.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>

#include "quipu/uuid.h"

Test(uuid, reads_either_case_and_writes_lower_case)
{
    struct quipu_uuid uuid;
    char text[QUIPU_UUID_TEXT_BYTES];

    cr_assert_eq(quipu_uuid_parse(quipu_slice_text("17B8AF78-873a-5f0a-97f6-206F2B46E946"), &uuid),
                 QUIPU_OK);
    quipu_uuid_format(uuid, text);
    cr_assert_str_eq(text, "17b8af78-873a-5f0a-97f6-206f2b46e946");
}

Test(uuid, refuses_every_other_text)
{
    static const char *const bad[] = {
        "",
        "17b8af78873a5f0a97f6206f2b46e946",
        "17b8af78-873a-5f0a-97f6-206f2b46e94",
        "17b8af78-873a-5f0a-97f6-206f2b46e94g",
        "17b8af78x873a-5f0a-97f6-206f2b46e946",
        "{7b8af78-873a-5f0a-97f6-206f2b46e946",
    };
    struct quipu_uuid uuid;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_eq(quipu_uuid_parse(quipu_slice_text(bad[i]), &uuid), QUIPU_INVALID);
    }
}

static int64_t now_us;

static int64_t fake_unix_us(void *ctx)
{
    (void)ctx;
    return now_us;
}

Test(uuid_v7, carries_the_time_the_version_and_the_variant)
{
    struct quipu_clock clock = {fake_unix_us, NULL};
    struct quipu_random random = quipu_random_system();
    struct quipu_uuid uuid = {{0}};
    now_us = 0x017f22e279b0 * 1000; /* the instant of RFC 9562, appendix A.6 */

    cr_assert_eq(quipu_uuid_v7(&clock, &random, &uuid, NULL), QUIPU_OK);

    char text[QUIPU_UUID_TEXT_BYTES];
    quipu_uuid_format(uuid, text);
    cr_assert(strncmp(text, "017f22e2-79b0-7", 15) == 0, "%s", text);
    cr_assert_eq(uuid.bytes[8] & 0xc0, 0x80);
}

Test(uuid_v7, goes_up_while_the_clock_stands_still_or_goes_back)
{
    struct quipu_clock clock = {fake_unix_us, NULL};
    struct quipu_random random = quipu_random_system();
    struct quipu_uuid last = {{0}};
    now_us = 1700000000000000;

    for (int i = 0; i < 10000; i++) {
        struct quipu_uuid before = last;
        if (i % 100 == 99) {
            now_us -= 1000;
        }
        cr_assert_eq(quipu_uuid_v7(&clock, &random, &last, NULL), QUIPU_OK);
        cr_assert_lt(memcmp(before.bytes, last.bytes, sizeof last.bytes), 0);
    }
}

static enum quipu_status no_random(void *ctx, void *into, size_t len, struct quipu_error *err)
{
    (void)ctx;
    (void)into;
    (void)len;
    return quipu_error_set(err, QUIPU_NO_RANDOM, "no randomness");
}

Test(uuid_v7, passes_on_that_there_is_no_randomness)
{
    struct quipu_clock clock = quipu_clock_system();
    struct quipu_random random = {no_random, NULL};
    struct quipu_uuid last = {{0}};

    cr_assert_eq(quipu_uuid_v7(&clock, &random, &last, NULL), QUIPU_NO_RANDOM);
    cr_assert(quipu_uuid_is_nil(last));
}

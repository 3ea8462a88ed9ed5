/*
 * RFC 3339: known instants both ways, offsets, fractions, and what is refused.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>

#include "quipu/clock.h"

struct known {
    const char *text;
    int64_t unix_us;
    const char *formatted;
};

Test(rfc3339, reads_known_instants_and_writes_them_in_utc)
{
    static const struct known knowns[] = {
        {"1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00Z"},
        {"2021-05-11T09:45:53-04:00", 1620740753000000, "2021-05-11T13:45:53Z"},
        {"2000-02-29t23:59:59.5z", 951868799500000, "2000-02-29T23:59:59.500000Z"},
        {"1969-12-31T23:59:59.999999Z", -1, "1969-12-31T23:59:59.999999Z"},
        {"2026-11-20 13:58:18.123456789+00:00", 1795183098123456, "2026-11-20T13:58:18.123456Z"},
        {"2016-12-31T23:59:60Z", 1483228800000000, "2017-01-01T00:00:00Z"},
        {"0000-01-01T00:00:00Z", -62167219200000000, "0000-01-01T00:00:00Z"},
        {"9999-12-31T23:59:59.999999Z", 253402300799999999, "9999-12-31T23:59:59.999999Z"},
    };

    for (size_t i = 0; i < sizeof knowns / sizeof knowns[0]; i++) {
        int64_t unix_us = 1;
        char text[QUIPU_RFC3339_BYTES];
        cr_assert_eq(quipu_rfc3339_parse(quipu_slice_text(knowns[i].text), &unix_us), QUIPU_OK,
                     "%s", knowns[i].text);
        cr_assert_eq(unix_us, knowns[i].unix_us, "%s gave %lld", knowns[i].text,
                     (long long)unix_us);
        quipu_rfc3339_format(unix_us, text);
        cr_assert_str_eq(text, knowns[i].formatted);
    }
}

Test(rfc3339, refuses_what_is_not_a_timestamp)
{
    static const char *const bad[] = {
        "",
        "2021",
        "2021-02-29T00:00:00Z",
        "2021-13-01T00:00:00Z",
        "2021-00-01T00:00:00Z",
        "2021-01-01T24:00:00Z",
        "2021-01-01T00:60:00Z",
        "2021-01-01T00:00:61Z",
        "2021-01-01T00:00:00",
        "2021-01-01T00:00:00.Z",
        "2021-01-01T00:00:00.1234567890Z",
        "2021-01-01T00:00:00+24:00",
        "2021-01-01T00:00:00+0100",
        "2021-01-01T00:00:00Zx",
        " 2021-01-01T00:00:00Z",
        "+021-01-01T00:00:00Z",
    };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t unix_us = 42;
        cr_assert_eq(quipu_rfc3339_parse(quipu_slice_text(bad[i]), &unix_us), QUIPU_INVALID, "%s",
                     bad[i]);
        cr_assert_eq(unix_us, 42);
    }
}

Test(rfc3339, reads_back_every_day_of_four_centuries)
{
    for (int64_t day = -146097; day <= 146097; day++) {
        char text[QUIPU_RFC3339_BYTES];
        int64_t back = 0;
        quipu_rfc3339_format(day * 86400000000, text);
        cr_assert_eq(quipu_rfc3339_parse(quipu_slice_text(text), &back), QUIPU_OK);
        cr_assert_eq(back, day * 86400000000, "%s", text);
    }
}

Test(rfc3339, says_so_where_the_year_does_not_fit)
{
    char text[QUIPU_RFC3339_BYTES];
    quipu_rfc3339_format(INT64_MAX, text);
    cr_assert_str_eq(text, "out-of-range");
    quipu_rfc3339_format(INT64_MIN, text);
    cr_assert_str_eq(text, "out-of-range");
}

/*
 * RFC 3339 timestamps to and from microseconds since 1970 UTC, by civil-calendar arithmetic: the C
 * library's calendar functions depend on the time zone and on the locale.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "internal/invariant.h"
#include "quipu/clock.h"

#define US_PER_SECOND   INT64_C(1000000)
#define SECONDS_PER_DAY INT64_C(86400)
/* 0000-01-01T00:00:00Z and 9999-12-31T23:59:59Z in seconds since 1970. */
#define SECONDS_FIRST INT64_C(-62167219200)
#define SECONDS_LAST  INT64_C(253402300799)

struct civil {
    int64_t year;
    int64_t month;
    int64_t day;
};

/* Days since 1970-01-01 of a day in the proleptic Gregorian calendar. Years run from March, so that
 * the leap day is the last day of a year; 400 years (an era) have 146,097 days. */
static int64_t days_from_civil(struct civil date)
{
    int64_t year = date.month <= 2 ? date.year - 1 : date.year;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t month_from_march = (date.month + 9) % 12;
    int64_t day_of_year = (153 * month_from_march + 2) / 5 + date.day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static struct civil civil_from_days(int64_t days)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    struct civil date = {
        .year = year_of_era + era * 400,
        .month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9,
        .day = day_of_year - (153 * month_from_march + 2) / 5 + 1,
    };
    if (date.month <= 2) {
        date.year++;
    }
    return date;
}

void quipu_rfc3339_format(int64_t unix_us, char out[QUIPU_RFC3339_BYTES])
{
    int64_t seconds = unix_us / US_PER_SECOND;
    int64_t fraction = unix_us % US_PER_SECOND;
    if (fraction < 0) {
        fraction += US_PER_SECOND;
        seconds--;
    }
    if (seconds < SECONDS_FIRST || seconds > SECONDS_LAST) {
        (void)snprintf(out, QUIPU_RFC3339_BYTES, "out-of-range");
        return;
    }
    int64_t days = seconds / SECONDS_PER_DAY;
    int64_t second_of_day = seconds % SECONDS_PER_DAY;
    if (second_of_day < 0) {
        second_of_day += SECONDS_PER_DAY;
        days--;
    }
    struct civil date = civil_from_days(days);
    char tail[16] = "Z";
    if (fraction != 0) {
        (void)snprintf(tail, sizeof tail, ".%06" PRId64 "Z", fraction);
    }
    int len = snprintf(out, QUIPU_RFC3339_BYTES,
                       "%04" PRId64 "-%02" PRId64 "-%02" PRId64 "T%02" PRId64 ":%02" PRId64
                       ":%02" PRId64 "%s",
                       date.year, date.month, date.day, second_of_day / 3600,
                       second_of_day / 60 % 60, second_of_day % 60, tail);
    /* The year has four digits and the rest two: 27 characters at most. */
    QUIPU_INVARIANT(len > 0 && len < QUIPU_RFC3339_BYTES);
}

/* Takes exactly `digits` digits off the front; false where they are not there. */
static bool take_number(struct quipu_slice *text, size_t digits, int64_t *out)
{
    if (text->len < digits) {
        return false;
    }
    int64_t value = 0;
    for (size_t i = 0; i < digits; i++) {
        uint8_t c = text->data[i];
        if (c < '0' || c > '9') {
            return false;
        }
        value = value * 10 + (c - '0');
    }
    text->data += digits;
    text->len -= digits;
    *out = value;
    return true;
}

static bool take_any(struct quipu_slice *text, const char *choices, char *out)
{
    if (text->len == 0 || text->data[0] == 0 || strchr(choices, text->data[0]) == NULL) {
        return false;
    }
    *out = (char)text->data[0];
    text->data++;
    text->len--;
    return true;
}

static bool take_date(struct quipu_slice *text, struct civil *date)
{
    static const uint8_t month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    char mark;
    if (!take_number(text, 4, &date->year) || !take_any(text, "-", &mark) ||
        !take_number(text, 2, &date->month) || !take_any(text, "-", &mark) ||
        !take_number(text, 2, &date->day)) {
        return false;
    }
    if (date->month < 1 || date->month > 12 || date->day < 1) {
        return false;
    }
    bool is_leap = (date->year % 4 == 0 && date->year % 100 != 0) || date->year % 400 == 0;
    int64_t last = month_days[date->month - 1] + (date->month == 2 && is_leap ? 1 : 0);
    return date->day <= last;
}

/* Second of the day and microseconds of the fraction. */
static bool take_time(struct quipu_slice *text, int64_t *second_of_day, int64_t *fraction_us)
{
    int64_t hour;
    int64_t minute;
    int64_t second;
    char mark;
    if (!take_number(text, 2, &hour) || !take_any(text, ":", &mark) ||
        !take_number(text, 2, &minute) || !take_any(text, ":", &mark) ||
        !take_number(text, 2, &second)) {
        return false;
    }
    if (hour > 23 || minute > 59 || second > 60) {
        return false;
    }
    *second_of_day = hour * 3600 + minute * 60 + second;
    *fraction_us = 0;
    if (!take_any(text, ".", &mark)) {
        return true;
    }
    int64_t digit;
    size_t digits = 0;
    for (int64_t weight = 100000; take_number(text, 1, &digit); weight /= 10) {
        *fraction_us += digit * weight;
        digits++;
    }
    return digits >= 1 && digits <= 9;
}

static bool take_offset(struct quipu_slice *text, int64_t *offset_seconds)
{
    char sign;
    char mark;
    int64_t hour;
    int64_t minute;
    *offset_seconds = 0;
    if (take_any(text, "Zz", &sign)) {
        return true;
    }
    if (!take_any(text, "+-", &sign) || !take_number(text, 2, &hour) ||
        !take_any(text, ":", &mark) || !take_number(text, 2, &minute) || hour > 23 || minute > 59) {
        return false;
    }
    *offset_seconds = (sign == '-' ? -1 : 1) * (hour * 3600 + minute * 60);
    return true;
}

enum quipu_status quipu_rfc3339_parse(struct quipu_slice text, int64_t *unix_us)
{
    struct civil date;
    int64_t second_of_day;
    int64_t fraction_us;
    int64_t offset_seconds;
    char mark;
    if (!take_date(&text, &date) || !take_any(&text, "Tt ", &mark) ||
        !take_time(&text, &second_of_day, &fraction_us) || !take_offset(&text, &offset_seconds) ||
        text.len != 0) {
        return QUIPU_INVALID;
    }
    int64_t seconds = days_from_civil(date) * SECONDS_PER_DAY + second_of_day - offset_seconds;
    *unix_us = seconds * US_PER_SECOND + fraction_us;
    return QUIPU_OK;
}

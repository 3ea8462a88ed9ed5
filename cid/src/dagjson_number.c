/*
 * Floats of DAG-JSON as text and back.
 *
 * The text is laid out as ECMAScript lays numbers out (plain digits for 1e-7 < |x| < 1e21, else an
 * exponent), with ".0" behind what would read as an integer: what JavaScript and Go peers write.
 * The C library does the rounding, under the "C" locale whatever the host has set.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dagjson_parts.h"

#define DIGITS_MAX       17 /* enough to tell any two doubles apart */
#define DIGITS_CERTAIN   15 /* DBL_DIG: any text this short survives the way there and back */
#define PLAIN_POINT_MAX  21
#define PLAIN_POINT_MIN  (-5)
#define FLOAT_TEXT_BYTES 64

/* value = 0.digits × 10^point */
struct decimal {
    char digits[DIGITS_MAX + 1];
    int count;
    int point;
};

static double decimal_value(const struct decimal *decimal)
{
    char text[FLOAT_TEXT_BYTES];
    (void)snprintf(text, sizeof text, "0.%.*se%d", decimal->count, decimal->digits, decimal->point);
    return strtod(text, NULL);
}

/* `value` rounded to `count` digits. */
static struct decimal decimal_round(double value, int count)
{
    char text[FLOAT_TEXT_BYTES];
    (void)snprintf(text, sizeof text, "%.*e", count - 1, value);
    struct decimal decimal = {.count = count};
    decimal.digits[0] = text[0];
    if (count > 1) {
        memcpy(decimal.digits + 1, text + 2, (size_t)count - 1);
    }
    decimal.point = atoi(strchr(text, 'e') + 1) + 1;
    return decimal;
}

/* The next decimal of the same length above. */
static struct decimal decimal_above(struct decimal decimal)
{
    int i = decimal.count - 1;
    while (i >= 0 && decimal.digits[i] == '9') {
        decimal.digits[i--] = '0';
    }
    if (i >= 0) {
        decimal.digits[i]++;
    } else {
        decimal.digits[0] = '1';
        decimal.point++;
    }
    return decimal;
}

/* The fewest digits that read back to `value` > 0, under the "C" locale. */
static struct decimal decimal_shortest(double value)
{
    int exponent;
    bool is_power_of_two = frexp(value, &exponent) == 0.5;
    /* Below the normal numbers a text of 15 digits no longer comes back as the same text, so the
     * search begins at one digit there. */
    int count = value < DBL_MIN ? 1 : DIGITS_CERTAIN;
    struct decimal decimal = decimal_round(value, count);
    while (count < DIGITS_MAX && decimal_value(&decimal) != value) {
        /* Next to a power of two the gap below is half of the gap above: the nearest decimal may
         * fall outside below while the next one above is inside. */
        struct decimal above = decimal_above(decimal);
        if (is_power_of_two && decimal_value(&above) == value) {
            decimal = above;
            break;
        }
        decimal = decimal_round(value, ++count);
    }
    while (decimal.count > 1 && decimal.digits[decimal.count - 1] == '0') {
        decimal.count--;
    }
    return decimal;
}

static void append_zeros(struct quipu_buf *out, int count)
{
    for (int i = 0; i < count; i++) {
        quipu_buf_append_byte(out, '0');
    }
}

static void append_decimal(struct quipu_buf *out, const struct decimal *decimal)
{
    int count = decimal->count;
    int point = decimal->point;
    const char *digits = decimal->digits;
    if (point >= PLAIN_POINT_MIN && point <= 0) {
        quipu_buf_append_text(out, "0.");
        append_zeros(out, -point);
        quipu_buf_append(out, digits, (size_t)count);
        return;
    }
    if (point > 0 && point <= PLAIN_POINT_MAX) {
        int whole = count < point ? count : point;
        quipu_buf_append(out, digits, (size_t)whole);
        append_zeros(out, point - whole);
        quipu_buf_append_byte(out, '.');
        quipu_buf_append(out, digits + whole, (size_t)(count - whole));
        append_zeros(out, count == whole);
        return;
    }
    quipu_buf_append_byte(out, (uint8_t)digits[0]);
    if (count > 1) {
        quipu_buf_append_byte(out, '.');
        quipu_buf_append(out, digits + 1, (size_t)count - 1);
    }
    quipu_buf_printf(out, "e%+d", point - 1);
}

void dagjson_append_float(struct quipu_buf *out, double value)
{
    if (signbit(value)) {
        quipu_buf_append_byte(out, '-');
        value = -value;
    }
    if (value == 0) {
        quipu_buf_append_text(out, "0.0");
        return;
    }
    locale_t c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (c_locale == (locale_t)0) {
        out->status = out->status == QUIPU_OK ? QUIPU_NO_MEMORY : out->status;
        return;
    }
    locale_t host = uselocale(c_locale);
    struct decimal decimal = decimal_shortest(value);
    append_decimal(out, &decimal);
    (void)uselocale(host);
    freelocale(c_locale);
}

enum quipu_status dagjson_parse_float(struct quipu_slice text, struct quipu_buf *scratch,
                                      double *out, struct quipu_error *err)
{
    quipu_buf_reset(scratch);
    quipu_buf_append_slice(scratch, text);
    quipu_buf_append_byte(scratch, 0);
    locale_t c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (c_locale == (locale_t)0 || scratch->status != QUIPU_OK) {
        if (c_locale != (locale_t)0) {
            freelocale(c_locale);
        }
        return quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory at a number of %zu characters",
                               text.len);
    }
    locale_t host = uselocale(c_locale);
    *out = strtod((const char *)scratch->data, NULL);
    (void)uselocale(host);
    freelocale(c_locale);
    return QUIPU_OK;
}

/*
 * DAG-JSON text to DAG-CBOR: the tokens of RFC 8259, read strictly in one pass with an explicit
 * stack. Lists and maps are closed in dagjson_fold.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "dagjson_parts.h"
#include "internal/hex.h"
#include "quipu/dagjson.h"
#include "quipu/text.h"

/* What may come next. */
enum expect {
    EXPECT_VALUE,
    EXPECT_VALUE_OR_END, /* behind '[' */
    EXPECT_KEY,
    EXPECT_KEY_OR_END, /* behind '{' */
    EXPECT_COMMA_OR_END,
    EXPECT_NOTHING,
};

static const char *expect_text(enum expect expect)
{
    switch (expect) {
    case EXPECT_VALUE:
        return "a value";
    case EXPECT_VALUE_OR_END:
        return "a value or ']'";
    case EXPECT_KEY:
        return "a key";
    case EXPECT_KEY_OR_END:
        return "a key or '}'";
    case EXPECT_COMMA_OR_END:
        return "a comma or the closing bracket";
    case EXPECT_NOTHING:
        return "the end of the text";
    }
    return "something else";
}

static bool at_end(const struct dagjson_reader *reader)
{
    return reader->at == reader->json.len;
}

/* The next character, or 0 (which no rule of JSON takes) at the end. */
static uint8_t peek(const struct dagjson_reader *reader)
{
    return at_end(reader) ? 0 : reader->json.data[reader->at];
}

static void skip_space(struct dagjson_reader *reader)
{
    while (!at_end(reader)) {
        uint8_t c = reader->json.data[reader->at];
        if (c != ' ' && c != '\t' && c != '\n' && c != '\r') {
            return;
        }
        reader->at++;
    }
}

static enum quipu_status unexpected(const struct dagjson_reader *reader, const char *wanted,
                                    struct quipu_error *err)
{
    if (at_end(reader)) {
        return quipu_error_set_at(err, QUIPU_JSON, reader->at, "the text ends where %s must stand",
                                  wanted);
    }
    uint8_t c = reader->json.data[reader->at];
    if (c > 0x20 && c < 0x7f) {
        return quipu_error_set_at(err, QUIPU_JSON, reader->at, "'%c' stands where %s must stand", c,
                                  wanted);
    }
    return quipu_error_set_at(err, QUIPU_JSON, reader->at, "byte %02x stands where %s must stand",
                              c, wanted);
}

/* ------------------------------------------------------------------ strings */

/* Four hexadecimal digits behind "\u", or -1. */
static int32_t escaped_unit(const struct dagjson_reader *reader, size_t at)
{
    if (reader->json.len - at < 4) {
        return -1;
    }
    int32_t unit = 0;
    for (size_t i = 0; i < 4; i++) {
        int digit = quipu_hex_value(reader->json.data[at + i]);
        if (digit < 0) {
            return -1;
        }
        unit = unit << 4 | digit;
    }
    return unit;
}

static void append_code_point(struct quipu_buf *out, uint32_t code)
{
    uint8_t bytes[4];
    size_t len;
    if (code < 0x80) {
        bytes[0] = (uint8_t)code;
        len = 1;
    } else if (code < 0x800) {
        bytes[0] = (uint8_t)(0xc0 | code >> 6);
        len = 2;
    } else if (code < 0x10000) {
        bytes[0] = (uint8_t)(0xe0 | code >> 12);
        len = 3;
    } else {
        bytes[0] = (uint8_t)(0xf0 | code >> 18);
        len = 4;
    }
    for (size_t i = 1; i < len; i++) {
        bytes[i] = (uint8_t)(0x80 | (code >> 6 * (len - 1 - i) & 0x3f));
    }
    quipu_buf_append(out, bytes, len);
}

/* "\uXXXX", a pair of them for a code point beyond U+FFFF. `at` stands on the backslash. */
static enum quipu_status take_unicode_escape(struct dagjson_reader *reader, struct quipu_buf *out,
                                             struct quipu_error *err)
{
    size_t start = reader->at;
    int32_t unit = escaped_unit(reader, start + 2);
    if (unit < 0) {
        return quipu_error_set_at(err, QUIPU_JSON, start,
                                  "\\u is not followed by four hexadecimal digits");
    }
    reader->at = start + 6;
    uint32_t code = (uint32_t)unit;
    if (unit >= 0xd800 && unit <= 0xdbff) {
        bool has_pair = reader->json.len - reader->at >= 6 &&
                        memcmp(reader->json.data + reader->at, "\\u", 2) == 0;
        int32_t low = has_pair ? escaped_unit(reader, reader->at + 2) : -1;
        if (low < 0xdc00 || low > 0xdfff) {
            return quipu_error_set_at(err, QUIPU_JSON, start, "surrogate \\u%04x stands alone",
                                      (unsigned)unit);
        }
        code = 0x10000 + ((uint32_t)(unit - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
        reader->at += 6;
    } else if (unit >= 0xdc00 && unit <= 0xdfff) {
        return quipu_error_set_at(err, QUIPU_JSON, start, "surrogate \\u%04x stands alone",
                                  (unsigned)unit);
    }
    append_code_point(out, code);
    return QUIPU_OK;
}

static enum quipu_status take_escape(struct dagjson_reader *reader, struct quipu_buf *out,
                                     struct quipu_error *err)
{
    static const char LETTERS[] = "\"\\/bfnrt";
    static const char MEANING[] = "\"\\/\b\f\n\r\t";
    if (reader->json.len - reader->at < 2) {
        reader->at = reader->json.len;
        return unexpected(reader, "the rest of an escape", err);
    }
    uint8_t letter = reader->json.data[reader->at + 1];
    if (letter == 'u') {
        return take_unicode_escape(reader, out, err);
    }
    const char *found = letter == 0 ? NULL : strchr(LETTERS, letter);
    if (found == NULL) {
        return quipu_error_set_at(err, QUIPU_JSON, reader->at, "unknown escape in a string");
    }
    quipu_buf_append_byte(out, (uint8_t)MEANING[found - LETTERS]);
    reader->at += 2;
    return QUIPU_OK;
}

/* A string's text; `at` stands on the opening quote. `*out` is borrowed from the input, or from
 * `scratch` where there are escapes, until the next string. */
static enum quipu_status take_string(struct dagjson_reader *reader, struct quipu_slice *out,
                                     struct quipu_error *err)
{
    const uint8_t *data = reader->json.data;
    struct quipu_buf *scratch = &reader->scratch;
    size_t run = ++reader->at;
    bool has_escapes = false;
    quipu_buf_reset(scratch);
    for (;;) {
        uint8_t c = peek(reader);
        if (c >= 0x20 && c != '"' && c != '\\') {
            reader->at++;
            continue;
        }
        if (c != '"' && c != '\\') {
            return unexpected(reader, "a string's next character or its closing quote", err);
        }
        struct quipu_slice plain = quipu_slice(data + run, reader->at - run);
        if (c == '"' && !has_escapes) {
            *out = plain;
            break;
        }
        quipu_buf_append_slice(scratch, plain);
        if (c == '"') {
            *out = quipu_buf_slice(scratch);
            break;
        }
        has_escapes = true;
        enum quipu_status status = take_escape(reader, scratch, err);
        if (status != QUIPU_OK) {
            return status;
        }
        run = reader->at;
    }
    reader->at++;
    return scratch->status == QUIPU_OK
               ? QUIPU_OK
               : quipu_error_set(err, scratch->status, "out of memory at a string");
}

static enum quipu_status take_text(struct dagjson_reader *reader, size_t *len,
                                   struct quipu_error *err)
{
    struct quipu_slice text;
    enum quipu_status status = take_string(reader, &text, err);
    if (status != QUIPU_OK) {
        return status;
    }
    dagjson_append_head(&reader->work, MAJOR_TEXT, text.len);
    quipu_buf_append_slice(&reader->work, text);
    *len = text.len;
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ numbers and words */

static bool take_digits(struct dagjson_reader *reader)
{
    size_t start = reader->at;
    while (peek(reader) >= '0' && peek(reader) <= '9') {
        reader->at++;
    }
    return reader->at > start;
}

/* Magnitude of `digits`; false where it does not fit 64 bits. */
static bool parse_magnitude(struct quipu_slice digits, uint64_t *out)
{
    uint64_t value = 0;
    for (size_t i = 0; i < digits.len; i++) {
        uint64_t digit = (uint64_t)(digits.data[i] - '0');
        if (value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

static enum quipu_status append_integer(struct dagjson_reader *reader, struct quipu_slice number,
                                        size_t source, struct quipu_error *err)
{
    bool is_negative = number.data[0] == '-';
    struct quipu_slice digits = quipu_slice(number.data + is_negative, number.len - is_negative);
    uint64_t magnitude;
    if (parse_magnitude(digits, &magnitude)) {
        /* There is one integer zero: "-0" is it. */
        bool is_below_zero = is_negative && magnitude > 0;
        dagjson_append_head(&reader->work, is_below_zero ? MAJOR_NEGATIVE : MAJOR_UINT,
                            is_below_zero ? magnitude - 1 : magnitude);
        return QUIPU_OK;
    }
    if (is_negative && quipu_slice_equal(digits, quipu_slice_text("18446744073709551616"))) {
        dagjson_append_head(&reader->work, MAJOR_NEGATIVE, UINT64_MAX);
        return QUIPU_OK;
    }
    return quipu_error_set_at(err, QUIPU_DAGJSON, source,
                              "integer of %zu digits is outside -2^64 to 2^64-1", digits.len);
}

static enum quipu_status append_real(struct dagjson_reader *reader, struct quipu_slice number,
                                     size_t source, struct quipu_error *err)
{
    double value;
    enum quipu_status status = dagjson_parse_float(number, &reader->scratch, &value, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (!isfinite(value)) {
        return quipu_error_set_at(err, QUIPU_CBOR_FLOAT_NOT_FINITE, source,
                                  "number is too large for a 64-bit float");
    }
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint8_t item[9] = {CBOR_FLOAT};
    quipu_store_be64(item + 1, bits);
    quipu_buf_append(&reader->work, item, sizeof item);
    return QUIPU_OK;
}

static enum quipu_status take_number(struct dagjson_reader *reader, struct quipu_error *err)
{
    size_t start = reader->at;
    bool is_real = false;
    if (peek(reader) == '-') {
        reader->at++;
    }
    if (peek(reader) == '0') {
        reader->at++;
    } else if (!take_digits(reader)) {
        return unexpected(reader, "a digit", err);
    }
    if (peek(reader) == '.') {
        is_real = true;
        reader->at++;
        if (!take_digits(reader)) {
            return unexpected(reader, "a digit", err);
        }
    }
    if (peek(reader) == 'e' || peek(reader) == 'E') {
        is_real = true;
        reader->at++;
        if (peek(reader) == '+' || peek(reader) == '-') {
            reader->at++;
        }
        if (!take_digits(reader)) {
            return unexpected(reader, "a digit", err);
        }
    }
    struct quipu_slice number = quipu_slice(reader->json.data + start, reader->at - start);
    return is_real ? append_real(reader, number, start, err)
                   : append_integer(reader, number, start, err);
}

static enum quipu_status take_word(struct dagjson_reader *reader, struct quipu_error *err)
{
    static const struct {
        const char *word;
        uint8_t item;
    } WORDS[] = {{"false", CBOR_FALSE}, {"true", CBOR_TRUE}, {"null", CBOR_NULL}};
    for (size_t i = 0; i < sizeof WORDS / sizeof WORDS[0]; i++) {
        size_t len = strlen(WORDS[i].word);
        if (reader->json.len - reader->at >= len &&
            memcmp(reader->json.data + reader->at, WORDS[i].word, len) == 0) {
            quipu_buf_append_byte(&reader->work, WORDS[i].item);
            reader->at += len;
            return QUIPU_OK;
        }
    }
    return unexpected(reader, "a value", err);
}

/* ------------------------------------------------------------------ structure */

static enum quipu_status open_container(struct dagjson_reader *reader, bool is_map,
                                        struct quipu_error *err)
{
    if (reader->depth == DAGJSON_TEXT_DEPTH) {
        return quipu_error_set_at(err, QUIPU_CBOR_DEPTH, reader->at, "nested deeper than %d levels",
                                  QUIPU_DAGCBOR_DEPTH_DEFAULT);
    }
    reader->frames[reader->depth++] = (struct dagjson_frame){
        .begin = reader->work.len,
        .entries = dagjson_entry_count(reader),
        .source = reader->at,
        .deep_source = SIZE_MAX,
        .is_map = is_map,
    };
    quipu_buf_append_byte(&reader->work, 0);
    reader->at++;
    return QUIPU_OK;
}

/* A value; `*expect` is what may come behind it. */
static enum quipu_status take_value(struct dagjson_reader *reader, enum expect *expect,
                                    struct quipu_error *err)
{
    uint8_t c = peek(reader);
    if (c == '{' || c == '[') {
        *expect = c == '{' ? EXPECT_KEY_OR_END : EXPECT_VALUE_OR_END;
        return open_container(reader, c == '{', err);
    }
    enum dagjson_form form = DAGJSON_PLAIN;
    size_t text_len = 0;
    enum quipu_status status;
    if (c == '"') {
        form = DAGJSON_STRING;
        status = take_text(reader, &text_len, err);
    } else if (c == '-' || (c >= '0' && c <= '9')) {
        status = take_number(reader, err);
    } else {
        status = take_word(reader, err);
    }
    if (status == QUIPU_OK) {
        dagjson_value_end(reader, form, text_len);
        *expect = reader->depth == 0 ? EXPECT_NOTHING : EXPECT_COMMA_OR_END;
    }
    return status;
}

/* A key and its colon; notes the entry. */
static enum quipu_status take_key(struct dagjson_reader *reader, enum expect expect,
                                  struct quipu_error *err)
{
    if (peek(reader) != '"') {
        return unexpected(reader, expect_text(expect), err);
    }
    struct dagjson_entry entry = {.begin = reader->work.len, .source = reader->at};
    enum quipu_status status = take_text(reader, &entry.key_len, err);
    if (status != QUIPU_OK) {
        return status;
    }
    skip_space(reader);
    if (peek(reader) != ':') {
        return unexpected(reader, "a colon", err);
    }
    reader->at++;
    skip_space(reader);
    entry.value = reader->work.len;
    entry.value_source = reader->at;
    quipu_buf_append(&reader->entries, &entry, sizeof entry);
    return QUIPU_OK;
}

static enum quipu_status take_close(struct dagjson_reader *reader, enum expect *expect,
                                    struct quipu_error *err)
{
    reader->at++;
    enum quipu_status status = dagjson_close(reader, err);
    *expect = reader->depth == 0 ? EXPECT_NOTHING : EXPECT_COMMA_OR_END;
    return status;
}

/* One token and what belongs to it. */
static enum quipu_status step(struct dagjson_reader *reader, enum expect *expect,
                              struct quipu_error *err)
{
    bool is_map = reader->depth > 0 && reader->frames[reader->depth - 1].is_map;
    uint8_t closing = is_map ? '}' : ']';
    enum quipu_status status;
    switch (*expect) {
    case EXPECT_VALUE_OR_END:
        if (peek(reader) == closing) {
            return take_close(reader, expect, err);
        }
        return take_value(reader, expect, err);
    case EXPECT_VALUE:
        return take_value(reader, expect, err);
    case EXPECT_KEY_OR_END:
        if (peek(reader) == closing) {
            return take_close(reader, expect, err);
        }
        status = take_key(reader, *expect, err);
        *expect = EXPECT_VALUE;
        return status;
    case EXPECT_KEY:
        status = take_key(reader, *expect, err);
        *expect = EXPECT_VALUE;
        return status;
    case EXPECT_COMMA_OR_END:
        if (peek(reader) == closing) {
            return take_close(reader, expect, err);
        }
        if (peek(reader) != ',') {
            return unexpected(reader, expect_text(*expect), err);
        }
        reader->at++;
        *expect = is_map ? EXPECT_KEY : EXPECT_VALUE;
        return QUIPU_OK;
    case EXPECT_NOTHING:
        return at_end(reader) ? QUIPU_DONE : unexpected(reader, expect_text(*expect), err);
    }
    return QUIPU_JSON;
}

static enum quipu_status read_all(struct dagjson_reader *reader, struct quipu_error *err)
{
    size_t valid = quipu_utf8_valid_prefix(reader->json);
    if (valid != reader->json.len) {
        return quipu_error_set_at(err, QUIPU_JSON, valid, "not valid UTF-8");
    }
    enum expect expect = EXPECT_VALUE;
    for (;;) {
        skip_space(reader);
        enum quipu_status status = step(reader, &expect, err);
        if (status != QUIPU_OK) {
            return status;
        }
        /* Offsets into the buffers mean something only as long as every append has happened. */
        enum quipu_status failed = reader->work.status;
        failed = failed != QUIPU_OK ? failed : reader->entries.status;
        failed = failed != QUIPU_OK ? failed : reader->scratch.status;
        if (failed != QUIPU_OK) {
            return quipu_error_set_at(err, failed, reader->at, "%s", quipu_status_text(failed));
        }
    }
}

enum quipu_status quipu_dagjson_to_dagcbor(struct quipu_slice json, struct quipu_buf *out,
                                           struct quipu_error *err)
{
    struct dagjson_reader reader;
    reader.json = json;
    reader.at = 0;
    reader.depth = 0;
    reader.work = (struct quipu_buf)QUIPU_BUF_INIT;
    reader.entries = (struct quipu_buf)QUIPU_BUF_INIT;
    reader.scratch = (struct quipu_buf)QUIPU_BUF_INIT;

    enum quipu_status status = read_all(&reader, err);
    if (status == QUIPU_DONE) {
        quipu_buf_append_slice(out, quipu_buf_slice(&reader.work));
        status = out->status == QUIPU_OK
                     ? QUIPU_OK
                     : quipu_error_set(err, out->status, "no room for %zu bytes of DAG-CBOR: %s",
                                       reader.work.len, quipu_status_text(out->status));
    }
    quipu_buf_release(&reader.work);
    quipu_buf_release(&reader.entries);
    quipu_buf_release(&reader.scratch);
    return status;
}

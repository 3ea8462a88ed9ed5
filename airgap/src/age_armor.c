/*
 * ASCII armor, strict PEM: the one label, lines of 64 columns, canonical base64 with its padding,
 * LF or CRLF, white space before and after and nothing else. So a file has one armored form, but
 * for white space around it and the ends of lines.
 *
 * Specification: c2sp.org/age, "ASCII armor"; RFC 7468 §3; docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "age_parts.h"

#define BEGIN_LINE "-----BEGIN AGE ENCRYPTED FILE-----"
#define END_LINE   "-----END AGE ENCRYPTED FILE-----"
/* The longest line there is, with CR and LF. */
#define LINE_BYTES_MAX (AGE_LINE_CHARS + 2)

static enum quipu_status refuse(const struct age_input *input, const char *what,
                                struct quipu_error *err)
{
    return quipu_error_set_at(err, QUIPU_AGE_ARMOR, input->raw_before + input->raw_at,
                              "age armor: %s", what);
}

/* Read on until a whole line can be there. */
static enum quipu_status have_line(struct age_input *input, struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    while (status == QUIPU_OK && !input->is_raw_end &&
           input->raw_len - input->raw_at < LINE_BYTES_MAX) {
        status = age_input_more(input, err);
    }
    return status;
}

/* The next line without its end, which is taken too; it stays where it is until the next read. */
static enum quipu_status take_line(struct age_input *input, struct quipu_slice *out,
                                   struct quipu_error *err)
{
    enum quipu_status status = have_line(input, err);
    if (status != QUIPU_OK) {
        return status;
    }
    const uint8_t *start = input->raw + input->raw_at;
    size_t rest = input->raw_len - input->raw_at;
    const uint8_t *end = memchr(start, '\n', rest < LINE_BYTES_MAX ? rest : LINE_BYTES_MAX);
    if (end == NULL) {
        return refuse(input,
                      rest < LINE_BYTES_MAX ? "it ends without its END line"
                                            : "a line of more than 64 columns",
                      err);
    }
    size_t len = (size_t)(end - start);
    input->raw_at += len + 1;
    len -= len > 0 && start[len - 1] == '\r';
    *out = quipu_slice(start, len);
    return QUIPU_OK;
}

enum quipu_status age_armor_begin(struct age_input *input, struct quipu_error *err)
{
    struct quipu_slice line = {0};
    uint64_t at = input->raw_before + input->raw_at;
    enum quipu_status status = take_line(input, &line, err);
    if (status == QUIPU_OK && !quipu_slice_equal(line, quipu_slice_text(BEGIN_LINE))) {
        status = quipu_error_set_at(err, QUIPU_AGE_ARMOR, at,
                                    "age armor: its first line is not " BEGIN_LINE);
    }
    return status;
}

/* Behind the END line: white space to the end of the source. */
static enum quipu_status take_end(struct age_input *input, struct quipu_error *err)
{
    input->raw_at += strlen(END_LINE);
    input->is_armor_end = true;
    for (;;) {
        for (; input->raw_at < input->raw_len; input->raw_at++) {
            if (memchr(" \t\r\n", input->raw[input->raw_at], 4) == NULL) {
                return refuse(input, "something follows it", err);
            }
        }
        if (input->is_raw_end) {
            return QUIPU_OK;
        }
        enum quipu_status status = age_input_more(input, err);
        if (status != QUIPU_OK) {
            return status;
        }
    }
}

static bool is_at_end_line(const struct age_input *input)
{
    return input->raw_len - input->raw_at >= strlen(END_LINE) &&
           memcmp(input->raw + input->raw_at, END_LINE, strlen(END_LINE)) == 0;
}

/* One line of base64, or the end. Only the last line may be short, and the END line comes next. */
static enum quipu_status decode_line(struct age_input *input, struct quipu_error *err)
{
    struct quipu_slice line = {0};
    size_t bytes = 0;
    enum quipu_status status = have_line(input, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (is_at_end_line(input)) {
        return take_end(input, err);
    }
    uint64_t at = input->raw_before + input->raw_at;
    status = take_line(input, &line, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (line.len == 0 || line.len > AGE_LINE_CHARS ||
        !age_base64_decode(line, true, input->window + input->len, AGE_LINE_BYTES, &bytes)) {
        return quipu_error_set_at(err, QUIPU_AGE_ARMOR, at,
                                  "age armor: a line that is not canonical base64 of 64 columns "
                                  "with its padding");
    }
    input->len += bytes;
    if (bytes == AGE_LINE_BYTES) {
        return QUIPU_OK;
    }
    status = have_line(input, err);
    if (status == QUIPU_OK && !is_at_end_line(input)) {
        status = refuse(input, "its END line does not follow a line of less than 64 columns", err);
    }
    return status == QUIPU_OK ? take_end(input, err) : status;
}

enum quipu_status age_armor_fill(struct age_input *input, struct quipu_error *err)
{
    input->at = 0;
    input->len = 0;
    while (input->failed == QUIPU_OK && !input->is_armor_end &&
           AGE_INPUT_BYTES - input->len >= AGE_LINE_BYTES) {
        input->failed = decode_line(input, &input->failure);
    }
    if (input->failed != QUIPU_OK && input->len == 0) {
        if (err != NULL) {
            *err = input->failure;
        }
        return input->failed;
    }
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ out */

static enum quipu_status write_text(struct quipu_sink sink, const char *text,
                                    struct quipu_error *err)
{
    return sink.write(sink.ctx, quipu_slice_text(text), err);
}

enum quipu_status age_armor_open(struct age_armor_writer *armor, struct quipu_sink sink,
                                 struct quipu_error *err)
{
    *armor = (struct age_armor_writer){.sink = sink};
    return write_text(sink, BEGIN_LINE "\n", err);
}

/* Lines are gathered here, so that the sink is not called for each. */
struct lines {
    char text[64 * (AGE_LINE_CHARS + 1)];
    size_t len;
};

static void lines_add(struct lines *lines, const uint8_t *bytes, size_t len)
{
    lines->len += age_base64_encode(quipu_slice(bytes, len), true, lines->text + lines->len);
    lines->text[lines->len++] = '\n';
}

static enum quipu_status lines_flush(struct lines *lines, struct quipu_sink sink,
                                     struct quipu_error *err)
{
    enum quipu_status status =
        lines->len == 0 ? QUIPU_OK
                        : sink.write(sink.ctx, quipu_slice(lines->text, lines->len), err);
    lines->len = 0;
    return status;
}

static enum quipu_status armor_write(void *ctx, struct quipu_slice bytes, struct quipu_error *err)
{
    struct age_armor_writer *armor = ctx;
    struct lines lines;
    enum quipu_status status = QUIPU_OK;
    lines.len = 0;
    while (armor->pending_len + bytes.len >= AGE_LINE_BYTES && status == QUIPU_OK) {
        const uint8_t *line = bytes.data;
        size_t take = AGE_LINE_BYTES - armor->pending_len;
        if (armor->pending_len > 0) {
            memcpy(armor->pending + armor->pending_len, bytes.data, take);
            line = armor->pending;
            armor->pending_len = 0;
        }
        lines_add(&lines, line, AGE_LINE_BYTES);
        bytes = quipu_slice(bytes.data + take, bytes.len - take);
        if (sizeof lines.text - lines.len < AGE_LINE_CHARS + 1) {
            status = lines_flush(&lines, armor->sink, err);
        }
    }
    if (status == QUIPU_OK && bytes.len > 0) {
        memcpy(armor->pending + armor->pending_len, bytes.data, bytes.len);
        armor->pending_len += bytes.len;
    }
    return status == QUIPU_OK ? lines_flush(&lines, armor->sink, err) : status;
}

struct quipu_sink age_armor_sink(struct age_armor_writer *armor)
{
    return (struct quipu_sink){armor_write, armor};
}

enum quipu_status age_armor_finish(struct age_armor_writer *armor, struct quipu_error *err)
{
    struct lines lines;
    lines.len = 0;
    if (armor->pending_len > 0) {
        lines_add(&lines, armor->pending, armor->pending_len);
    }
    enum quipu_status status = lines_flush(&lines, armor->sink, err);
    return status == QUIPU_OK ? write_text(armor->sink, END_LINE "\n", err) : status;
}

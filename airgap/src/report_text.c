/*
 * The report as text: UTF-8, 80 columns, for a terminal and for paper. Names of values on the left,
 * values behind them, broken at spaces where they are long; text of others stands last in its line,
 * so that nothing of ours can be read as part of it.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <string.h>

#include "report_parts.h"

#define WIDTH        80u
#define INDENT       2u
#define VALUE_COLUMN 14u
#define COUNT_WIDTH  10
#define BLANK_LINES  2u /* to sign on, for those whom no operation names */

/* ------------------------------------------------------------------ lines */

static void spaces(struct report_out *out, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        quipu_buf_append_byte(&out->buf, ' ');
    }
}

static void repeat(struct report_out *out, char c, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        quipu_buf_append_byte(&out->buf, (uint8_t)c);
    }
}

/* Text between two columns; `column` is where the line stands. */
struct wrapping {
    struct report_out *out;
    size_t indent;
    size_t column;
};

static void wrap_line(struct wrapping *wrapping)
{
    quipu_buf_append_byte(&wrapping->out->buf, '\n');
    spaces(wrapping->out, wrapping->indent);
    wrapping->column = wrapping->indent;
}

/* What the character looks like: itself, or its number in brackets. */
struct shown {
    char text[16];
    size_t len;
    size_t wide;
};

static struct shown show(struct quipu_slice rest, struct report_char got)
{
    struct shown shown = {.len = got.len, .wide = got.wide};
    if (got.is_hidden) {
        int len = snprintf(shown.text, sizeof shown.text, "[U+%04X]", (unsigned)got.code);
        shown.len = (size_t)len;
        shown.wide = (size_t)len;
    } else if (got.code == 0xfffd) {
        memcpy(shown.text, "\xef\xbf\xbd", 3);
        shown.len = 3;
    } else {
        memcpy(shown.text, rest.data, got.len);
    }
    return shown;
}

static struct quipu_slice behind(struct quipu_slice text, size_t len)
{
    return quipu_slice(text.data + len, text.len - len);
}

/* Columns up to the next space. */
static size_t word_width(struct quipu_slice text)
{
    size_t columns = 0;
    while (text.len > 0 && text.data[0] != ' ') {
        struct report_char got = report_char_at(text);
        columns += show(text, got).wide;
        text = behind(text, got.len);
    }
    return columns;
}

/* A word goes to the next line where it does not fit, and is broken where it fits in none. */
static void put_wrapped(struct report_out *out, size_t indent, struct quipu_slice text)
{
    struct wrapping wrapping = {out, indent, indent};
    size_t gap = 0;
    while (text.len > 0) {
        if (text.data[0] == ' ') {
            gap++;
            text = behind(text, 1);
            continue;
        }
        if (wrapping.column > indent && wrapping.column + gap + word_width(text) > WIDTH) {
            wrap_line(&wrapping);
        } else {
            gap = gap > WIDTH - wrapping.column ? 0 : gap;
            spaces(out, gap);
            wrapping.column += gap;
        }
        gap = 0;
        while (text.len > 0 && text.data[0] != ' ') {
            struct report_char got = report_char_at(text);
            struct shown shown = show(text, got);
            if (wrapping.column + shown.wide > WIDTH) {
                wrap_line(&wrapping);
            }
            quipu_buf_append(&out->buf, shown.text, shown.len);
            wrapping.column += shown.wide;
            text = behind(text, got.len);
        }
    }
    quipu_buf_append_byte(&out->buf, '\n');
}

/* ------------------------------------------------------------------ the form */

static void text_begin(struct report_out *out, const struct quipu_report *report,
                       const char *printed)
{
    quipu_buf_printf(&out->buf, "Ceremony report\n===============\n\n  %-10s  %s by %s\n",
                     "printed", printed, report->tool);
}

static void text_section(struct report_out *out, const char *id, const char *title)
{
    (void)id;
    quipu_buf_printf(&out->buf, "\n%s\n", title);
    repeat(out, '-', strlen(title));
    quipu_buf_append_byte(&out->buf, '\n');
}

static void text_section_end(struct report_out *out)
{
    report_out_relieve(out);
}

static void text_item(struct report_out *out, const char *title)
{
    quipu_buf_printf(&out->buf, "\n%s\n", title);
}

static void text_facts(struct report_out *out)
{
    (void)out;
}

static void text_fact(struct report_out *out, const char *name, struct quipu_slice value,
                      enum report_value kind)
{
    (void)kind;
    quipu_buf_printf(&out->buf, "  %-10s  ", name);
    put_wrapped(out, VALUE_COLUMN, value);
}

static void text_note(struct report_out *out, const char *text)
{
    quipu_buf_append_byte(&out->buf, '\n');
    spaces(out, INDENT);
    put_wrapped(out, INDENT, quipu_slice_text(text));
}

static void text_table(struct report_out *out, const struct report_table_look *look,
                       const struct quipu_report_table *table)
{
    char count[REPORT_COUNT_BYTES];
    size_t indent = VALUE_COLUMN + (look->aggregates == NULL ? 0 : COUNT_WIDTH + 2);
    quipu_buf_printf(&out->buf, "\n  %s\n  %*s  ", look->caption, COUNT_WIDTH, look->count);
    if (look->aggregates != NULL) {
        quipu_buf_printf(&out->buf, "%*s  ", COUNT_WIDTH, look->aggregates);
    }
    quipu_buf_printf(&out->buf, "%s\n", look->name);
    for (size_t i = 0; i < table->count; i++) {
        const struct quipu_report_count *row = &table->rows[i];
        quipu_buf_printf(&out->buf, "  %*s  ", COUNT_WIDTH, report_count_text(row->count, count));
        if (look->aggregates != NULL) {
            quipu_buf_printf(&out->buf, "%*s  ", COUNT_WIDTH,
                             report_count_text(row->aggregates, count));
        }
        put_wrapped(out, indent, row->name.len > 0 ? row->name : quipu_slice_text(look->others));
        report_out_relieve(out);
    }
}

static void sign_line(struct report_out *out, struct quipu_slice name)
{
    quipu_buf_append_text(&out->buf, "\n  name       ");
    if (name.len > 0) {
        put_wrapped(out, VALUE_COLUMN - 1, name);
    } else {
        repeat(out, '_', WIDTH - VALUE_COLUMN + 1);
        quipu_buf_append_byte(&out->buf, '\n');
    }
    quipu_buf_append_text(&out->buf, "\n  signature  ");
    repeat(out, '_', 44);
    quipu_buf_append_text(&out->buf, "  date ");
    repeat(out, '_', 16);
    quipu_buf_append_byte(&out->buf, '\n');
}

static void text_signatures(struct report_out *out, const struct quipu_report_table *operators)
{
    for (size_t i = 0; i < operators->count; i++) {
        if (operators->rows[i].name.len > 0) {
            sign_line(out, operators->rows[i].name);
        }
    }
    for (size_t i = 0; i < BLANK_LINES; i++) {
        sign_line(out, quipu_slice(NULL, 0));
    }
}

static void text_end(struct report_out *out)
{
    report_out_relieve(out);
}

const struct report_form report_form_text = {
    .begin = text_begin,
    .section = text_section,
    .section_end = text_section_end,
    .item = text_item,
    .item_end = text_facts,
    .facts = text_facts,
    .fact = text_fact,
    .facts_end = text_facts,
    .note = text_note,
    .table = text_table,
    .signatures = text_signatures,
    .end = text_end,
};

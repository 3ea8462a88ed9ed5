/*
 * The report as one HTML file: no scripts, nothing from outside (a policy in the file says so to
 * the browser), light and dark, for a screen, for a screen reader and for A4 or Letter. Text of
 * others is escaped, and isolated in its direction, so that it ends where it ends.
 *
 * Specification: docs/SPEC.md §9; HTML: the Living Standard, its XML-compatible subset, so that any
 * parser of XML reads it too.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "report_parts.h"

#define BLANK_LINES  2u  /* to sign on, for those whom no operation names */
#define ROWS_IN_LINE 64u /* of a table: so many stand in a line on paper, more in a column */

static const char style[] =
    ":root{color-scheme:light dark;--ink:#1a1a1a;--soft:#595959;--line:#c9c9c4;--paper:#fff;"
    "--tint:#f5f4ef;--alarm:#9a2a00}\n"
    "@media (prefers-color-scheme:dark){:root{--ink:#ececec;--soft:#a9a9a9;--line:#4a4a4a;"
    "--paper:#161616;--tint:#212121;--alarm:#ff9d73}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0;background:var(--paper);color:var(--ink);font:.95rem/1.45 "
    "system-ui,sans-serif}\n"
    "main{max-width:54rem;margin:0 auto;padding:1.5rem 1.25rem 3rem}\n"
    "h1{font-size:1.7rem;margin:0}\n"
    "header p{margin:.2rem 0 0;color:var(--soft)}\n"
    "h2{font-size:1.15rem;margin:1.8rem 0 .6rem;padding-bottom:.2rem;border-bottom:2px solid "
    "var(--ink)}\n"
    "h3{font-size:1rem;margin:1.1rem 0 .3rem}\n"
    "p{margin:.4rem 0}\n"
    "dl{margin:0}\n"
    "dl div{display:grid;grid-template-columns:6.5rem 1fr;gap:0 .8rem;padding:.12rem 0}\n"
    "dt{color:var(--soft)}\n"
    "dd{margin:0;grid-column:2;min-width:0;overflow-wrap:anywhere}\n"
    "code,.keys{font:.92em/1.4 ui-monospace,'DejaVu Sans Mono',monospace;overflow-wrap:anywhere}\n"
    ".words{word-spacing:.25em}\n"
    ".said{white-space:pre-wrap}\n"
    ".alarm{color:var(--alarm);font-weight:600}\n"
    ".hidden{font-family:ui-monospace,monospace;font-size:.85em;background:var(--tint);"
    "border:1px solid var(--line);border-radius:2px}\n"
    "table{border-collapse:collapse;display:inline-table;vertical-align:top;"
    "margin:.4rem 2.5rem .8rem 0}\n"
    "caption{text-align:left;font-weight:600;padding:.3rem 0;white-space:nowrap}\n"
    "thead th{font-weight:400;color:var(--soft);border-bottom:1px solid var(--line)}\n"
    "th,td{padding:.14rem .9rem .14rem 0;vertical-align:top}\n"
    "th{text-align:left;font-weight:400;overflow-wrap:anywhere}\n"
    ".count{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\n"
    ".sign{display:table;width:100%;table-layout:fixed;margin-right:0}\n"
    ".sign th,.sign td{border-bottom:1px solid var(--ink);padding:.3rem .8rem .3rem 0}\n"
    ".sign tbody tr{height:3.4rem}\n"
    ".sign tbody th,.sign tbody td{vertical-align:bottom}\n"
    ".sign .name{width:36%}\n"
    ".sign .date{width:20%}\n";

/* On paper: what a ceremony of a dozen operations says fits on one side of A4 or Letter, with no
 * type below 7.5 points, and 7 for digests; what is more flows on. */
static const char print_style[] =
    "@media print{\n"
    ":root{font-size:7.5pt;color-scheme:light;--ink:#000;--soft:#444;--line:#999;--paper:#fff;"
    "--tint:#fff;--alarm:#000}\n"
    "body{font:1rem/1.06 Arial,Helvetica,'Liberation Sans','DejaVu Sans Condensed',sans-serif}\n"
    "main{max-width:none;padding:0}\n"
    "code,.keys{font:7pt/1 Consolas,'DejaVu Sans Mono',Menlo,monospace}\n"
    ".words,.hidden{font-size:7pt}\n"
    ".alarm{text-decoration:underline}\n"
    "h1{font-size:11pt;line-height:1.1}\n"
    "header *{display:inline;margin:0 .6rem 0 0}\n"
    /* Titles stand in front of what they are titles of. */
    "main>section{border-top:.75pt solid #000;margin-top:2pt;padding-top:1.5pt}\n"
    "h2,h3{float:left;border:0;padding:0;margin:0 .9em 0 0;font-size:1rem;line-height:inherit}\n"
    "h2{font-size:8.5pt;line-height:1}\n"
    "p{margin:0;orphans:2;widows:2}\n"
    "#worth~p{display:inline}\n"
    /* Facts run on in a line, each behind its name; what is one thing is not broken. */
    "dl,dl div,dt,dd{display:inline;padding:0}\n"
    "dl{display:block}\n"
    "dt{white-space:nowrap}dt::after{content:'\\a0'}\n"
    "dd{margin-right:.9em}\n"
    "dd code,[aria-labelledby=who] dl div{display:inline-block;max-width:100%}\n"
    /* What others wrote is underlined to its end, so none of it can pass for the next fact. */
    ".said{text-decoration:underline dotted .5pt;text-underline-offset:.5pt;"
    "text-decoration-skip-ink:none}\n"
    "[aria-labelledby=worth]::after{content:'What others wrote is underlined with dots.'}\n"
    /* An operation is not broken across sides. */
    "section section{break-inside:avoid;clear:left;border-top:.4pt solid #999;"
    "margin:.5pt 0 0;padding:.5pt 0}\n"
    /* Short tables run on in a line, long ones say their heads again on each side. */
    "table{display:table;margin:0 0 3pt}\n"
    "caption{padding:0;break-after:avoid}\n"
    "th,td{padding:0 .9em 0 0}\n"
    "thead{display:table-header-group}\n"
    "tr{break-inside:avoid}\n"
    ".line{display:inline;margin:0}\n"
    ".line caption{display:inline;white-space:normal;font-weight:400;color:var(--soft)}\n"
    ".line caption::after{content:': '}\n"
    ".line thead{display:none}\n"
    ".line tbody,.line tr,.line th,.line td{display:inline;padding:0}\n"
    ".line tr{margin-right:1em}\n"
    ".line .count::after{content:' \\d7  '}\n"
    ".line .sum::after{content:' event(s) in '}\n"
    /* Two to sign beside each other. */
    ".sign,.sign tbody{display:block;width:auto;margin:0;clear:left}\n"
    ".sign caption,.sign thead{display:none}\n"
    ".sign tbody{columns:2;column-gap:4mm}\n"
    ".sign tbody tr{display:table;width:100%;height:9.5mm;table-layout:fixed;"
    "border-collapse:separate;border-spacing:0}\n"
    ".sign tbody th{width:34%}.sign tbody td:last-child{width:20%}\n"
    ".sign tbody th,.sign tbody td{padding:0 .4em 1pt 0;border-bottom:.75pt solid #000}\n"
    ".sign th::before,.sign td::before{content:'name ';color:#444}\n"
    ".sign td::before{content:'signature'}.sign td:last-child::before{content:'date'}\n"
    "}\n"
    /* Sides that belong together say so. */
    "@page{margin:8mm 10mm 9mm;@bottom-left{font:7.5pt Arial,sans-serif;vertical-align:top;"
    "padding-top:1mm}@bottom-right{content:'side ' counter(page) ' of ' counter(pages);"
    "font:7.5pt Arial,sans-serif;vertical-align:top;padding-top:1mm}}\n";

/* ------------------------------------------------------------------ text */

static void put(struct report_out *out, const char *text)
{
    quipu_buf_append_text(&out->buf, text);
}

/* One character, so that it is nothing but text. */
static void put_char(struct report_out *out, struct quipu_slice rest, struct report_char got)
{
    if (got.is_hidden) {
        quipu_buf_printf(&out->buf, "<span class=\"hidden\">[U+%04" PRIX32 "]</span>", got.code);
        return;
    }
    switch (got.code) {
    case '&':
        put(out, "&amp;");
        return;
    case '<':
        put(out, "&lt;");
        return;
    case '>':
        put(out, "&gt;");
        return;
    case '"':
        put(out, "&quot;");
        return;
    case '\'':
        put(out, "&#39;");
        return;
    case 0xfffd:
        put(out, "\xef\xbf\xbd");
        return;
    default:
        quipu_buf_append(&out->buf, rest.data, got.len);
    }
}

static void put_escaped(struct report_out *out, struct quipu_slice text)
{
    while (text.len > 0) {
        struct report_char got = report_char_at(text);
        put_char(out, text, got);
        text = quipu_slice(text.data + got.len, text.len - got.len);
    }
}

static void put_value(struct report_out *out, struct quipu_slice value, enum report_value kind)
{
    static const struct {
        const char *open;
        const char *close;
    } tags[] = {
        [REPORT_PLAIN] = {"", ""},
        [REPORT_CODE] = {"<code>", "</code>"},
        [REPORT_WORDS] = {"<span class=\"words\">", "</span>"},
        [REPORT_SAID] = {"<bdi class=\"said\">", "</bdi>"},
        [REPORT_KEYS] = {"<bdi class=\"said keys\">", "</bdi>"},
        [REPORT_ALARM] = {"<span class=\"alarm\">", "</span>"},
    };
    put(out, tags[kind].open);
    put_escaped(out, value);
    put(out, tags[kind].close);
}

/* ------------------------------------------------------------------ the form */

static void html_begin(struct report_out *out, const struct quipu_report *report,
                       const char *printed)
{
    char store[QUIPU_UUID_TEXT_BYTES];
    put(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
             "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
             "style-src 'unsafe-inline'\"/>\n"
             "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
             "<meta name=\"color-scheme\" content=\"light dark\"/>\n"
             "<title>Ceremony report ");
    put(out, printed);
    put(out, "</title>\n<style>\n");
    put(out, style);
    put(out, print_style);
    quipu_uuid_format(report->store, store);
    quipu_buf_printf(&out->buf,
                     "@page{@bottom-left{content:'Ceremony report of store %s, printed %s'}}\n",
                     store, printed);
    put(out, "</style>\n</head>\n<body>\n<main>\n<header>\n<h1>Ceremony report</h1>\n");
    quipu_buf_printf(&out->buf, "<p>printed <time datetime=\"%s\">%s</time> by %s</p>\n</header>\n",
                     printed, printed, report->tool);
}

static void html_section(struct report_out *out, const char *id, const char *title)
{
    quipu_buf_printf(&out->buf, "<section aria-labelledby=\"%s\">\n<h2 id=\"%s\">%s</h2>\n", id, id,
                     title);
}

static void html_section_end(struct report_out *out)
{
    put(out, "</section>\n");
    report_out_relieve(out);
}

static void html_item(struct report_out *out, const char *title)
{
    put(out, "<section>\n<h3>");
    put_escaped(out, quipu_slice_text(title));
    put(out, "</h3>\n");
}

static void html_item_end(struct report_out *out)
{
    put(out, "</section>\n");
}

static void html_facts(struct report_out *out)
{
    put(out, "<dl>\n");
    out->is_in_group = false;
}

/* A value without a name belongs to the name before it. */
static void html_fact(struct report_out *out, const char *name, struct quipu_slice value,
                      enum report_value kind)
{
    if (name[0] != 0) {
        put(out, out->is_in_group ? "</div>\n<div><dt>" : "<div><dt>");
        put(out, name);
        put(out, "</dt>");
        out->is_in_group = true;
    }
    put(out, "<dd>");
    put_value(out, value, kind);
    put(out, "</dd>");
}

static void html_facts_end(struct report_out *out)
{
    put(out, out->is_in_group ? "</div>\n</dl>\n" : "</dl>\n");
}

static void html_note(struct report_out *out, const char *text)
{
    put(out, "<p>");
    put_escaped(out, quipu_slice_text(text));
    put(out, "</p>\n");
}

static void put_count(struct report_out *out, const char *look, uint64_t value)
{
    char count[REPORT_COUNT_BYTES];
    quipu_buf_printf(&out->buf, "<td class=\"%s\">%s</td>", look, report_count_text(value, count));
}

static void html_table(struct report_out *out, const struct report_table_look *look,
                       const struct quipu_report_table *table)
{
    quipu_buf_printf(&out->buf,
                     "<table%s>\n<caption>%s</caption>\n<thead><tr>"
                     "<th scope=\"col\" class=\"count\">%s</th>",
                     table->count <= ROWS_IN_LINE ? " class=\"line\"" : "", look->caption,
                     look->count);
    if (look->aggregates != NULL) {
        quipu_buf_printf(&out->buf, "<th scope=\"col\" class=\"count\">%s</th>", look->aggregates);
    }
    quipu_buf_printf(&out->buf, "<th scope=\"col\">%s</th></tr></thead>\n<tbody>\n", look->name);
    for (size_t i = 0; i < table->count; i++) {
        const struct quipu_report_count *row = &table->rows[i];
        put(out, "<tr>");
        put_count(out, look->aggregates == NULL ? "count" : "count sum", row->count);
        if (look->aggregates != NULL) {
            put_count(out, "count", row->aggregates);
        }
        put(out, "<th scope=\"row\">");
        if (row->name.len > 0) {
            put_value(out, row->name, look->kind);
        } else {
            put(out, look->others);
        }
        put(out, "</th></tr>\n");
        report_out_relieve(out);
    }
    put(out, "</tbody>\n</table>\n");
}

static void sign_line(struct report_out *out, struct quipu_slice name)
{
    put(out, "<tr><th scope=\"row\">");
    put_value(out, name, REPORT_SAID);
    put(out, "</th><td></td><td></td></tr>\n");
}

static void html_signatures(struct report_out *out, const struct quipu_report_table *operators)
{
    put(out, "<table class=\"sign\">\n<caption>Signatures</caption>\n<thead><tr>"
             "<th scope=\"col\" class=\"name\">name</th><th scope=\"col\">signature</th>"
             "<th scope=\"col\" class=\"date\">date</th></tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < operators->count; i++) {
        if (operators->rows[i].name.len > 0) {
            sign_line(out, operators->rows[i].name);
        }
    }
    for (size_t i = 0; i < BLANK_LINES; i++) {
        sign_line(out, quipu_slice(NULL, 0));
    }
    put(out, "</tbody>\n</table>\n");
}

static void html_end(struct report_out *out)
{
    put(out, "</main>\n</body>\n</html>\n");
}

const struct report_form report_form_html = {
    .begin = html_begin,
    .section = html_section,
    .section_end = html_section_end,
    .item = html_item,
    .item_end = html_item_end,
    .facts = html_facts,
    .fact = html_fact,
    .facts_end = html_facts_end,
    .note = html_note,
    .table = html_table,
    .signatures = html_signatures,
    .end = html_end,
};

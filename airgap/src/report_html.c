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

#define BLANK_LINES 2u /* to sign on, for those whom no operation names */

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
    ".sign .date{width:20%}\n"
    "@page{margin:12mm 15mm}\n"
    "@media "
    "print{:root{font-size:9pt;color-scheme:light;--ink:#000;--soft:#444;--line:#999;--paper:#fff;"
    "--tint:#fff;--alarm:#000}\n"
    "body{font-size:1rem;line-height:1.3}main{max-width:none;padding:0}\n"
    "h1{font-size:1.4rem}h2{font-size:1.05rem;margin:.7rem 0 .3rem}h3{margin:.5rem 0 .1rem}"
    "dl div{padding:0}.sign tbody "
    "tr{height:2.7rem}#worth~p{font-size:.9rem}h2,h3,caption{break-after:avoid}\n"
    "dl div,tr,.sign{break-inside:avoid}.alarm{text-decoration:underline}}\n";

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
    put(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
             "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
             "style-src 'unsafe-inline'\"/>\n"
             "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
             "<meta name=\"color-scheme\" content=\"light dark\"/>\n"
             "<title>Ceremony report ");
    put(out, printed);
    put(out, "</title>\n<style>\n");
    put(out, style);
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
    put(out, "<h3>");
    put_escaped(out, quipu_slice_text(title));
    put(out, "</h3>\n");
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

static void put_count(struct report_out *out, uint64_t value)
{
    char count[REPORT_COUNT_BYTES];
    quipu_buf_printf(&out->buf, "<td class=\"count\">%s</td>", report_count_text(value, count));
}

static void html_table(struct report_out *out, const struct report_table_look *look,
                       const struct quipu_report_table *table)
{
    quipu_buf_printf(&out->buf,
                     "<table>\n<caption>%s</caption>\n<thead><tr>"
                     "<th scope=\"col\" class=\"count\">%s</th>",
                     look->caption, look->count);
    if (look->aggregates != NULL) {
        quipu_buf_printf(&out->buf, "<th scope=\"col\" class=\"count\">%s</th>", look->aggregates);
    }
    quipu_buf_printf(&out->buf, "<th scope=\"col\">%s</th></tr></thead>\n<tbody>\n", look->name);
    for (size_t i = 0; i < table->count; i++) {
        const struct quipu_report_count *row = &table->rows[i];
        put(out, "<tr>");
        put_count(out, row->count);
        if (look->aggregates != NULL) {
            put_count(out, row->aggregates);
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
    .facts = html_facts,
    .fact = html_fact,
    .facts_end = html_facts_end,
    .note = html_note,
    .table = html_table,
    .signatures = html_signatures,
    .end = html_end,
};

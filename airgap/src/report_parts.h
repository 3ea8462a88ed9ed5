/*
 * The page of the report between what is said (report_page.c) and how it looks (report_text.c,
 * report_html.c): one sequence of calls, two forms of them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_AIRGAP_REPORT_PARTS_H
#define QUIPU_AIRGAP_REPORT_PARTS_H

#include "quipu/report.h"

/* Where the page goes. Failures stick: write freely, ask once. */
struct report_out {
    struct quipu_sink sink;
    struct quipu_buf buf;
    struct quipu_error *err;
    enum quipu_status status;
    bool is_in_group; /* HTML: a name with values is open */
};

void report_out_flush(struct report_out *out);
/* Flush where enough has come together. */
void report_out_relieve(struct report_out *out);

/* What a value is, which says how it may look. */
enum report_value {
    REPORT_PLAIN, /* our own words */
    REPORT_CODE,  /* keys, digests, CIDs: told apart character by character */
    REPORT_WORDS, /* a digest as words */
    REPORT_SAID,  /* text that others wrote */
    REPORT_KEYS,  /* keys that others wrote */
    REPORT_ALARM, /* our own words about what is not in order */
};

/* A table of counts: count, a second figure where it has a heading, name. */
struct report_table_look {
    const char *caption;
    const char *count;
    const char *aggregates; /* NULL: no such column */
    const char *name;
    const char *others; /* name of the row without one */
    enum report_value kind;
};

/* One form of the page. Texts are UTF-8; `said` text is made harmless by the form. */
struct report_form {
    void (*begin)(struct report_out *out, const struct quipu_report *report, const char *printed);
    void (*section)(struct report_out *out, const char *id, const char *title);
    void (*section_end)(struct report_out *out);
    /* An operation inside a section. */
    void (*item)(struct report_out *out, const char *title);
    void (*item_end)(struct report_out *out);
    void (*facts)(struct report_out *out);
    void (*fact)(struct report_out *out, const char *name, struct quipu_slice value,
                 enum report_value kind);
    void (*facts_end)(struct report_out *out);
    void (*note)(struct report_out *out, const char *text);
    void (*table)(struct report_out *out, const struct report_table_look *look,
                  const struct quipu_report_table *table);
    void (*signatures)(struct report_out *out, const struct quipu_report_table *operators);
    void (*end)(struct report_out *out);
};

extern const struct report_form report_form_text;
extern const struct report_form report_form_html;

/* Write the page in this form. */
QUIPU_MUST_CHECK enum quipu_status report_page(const struct quipu_report *report,
                                               const struct report_form *form,
                                               struct report_out *out);

/* ------------------------------------------------------------------ text (report_plain.c) */

#define REPORT_COUNT_BYTES 32

/* "3,288"; returns `out`. */
const char *report_count_text(uint64_t value, char out[REPORT_COUNT_BYTES]);

/* One character of others' text. */
struct report_char {
    uint32_t code;
    size_t len;    /* bytes; of what is not UTF-8: 1, and code U+FFFD */
    unsigned wide; /* columns on a terminal: 0, 1 or 2 */
    /* It is not to be seen, drives a terminal, breaks a line or turns the direction of reading:
     * shown as [U+202E]. */
    bool is_hidden;
};

/* The first character of `text`, which is not empty. */
struct report_char report_char_at(struct quipu_slice text);

#endif

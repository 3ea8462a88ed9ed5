/*
 * What stands on the page of the report, in which order and in which words; how it looks is the
 * form's. Reads the rows of the operations log while it writes, so that their number does not
 * matter.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "quipu/bundle.h"
#include "quipu/operations.h"
#include "quipu/text.h"
#include "report_parts.h"

#define LINE_BYTES 256

/* So many are seen at a glance; more are counted by kind first. */
#define OPERATIONS_FEW 8u

/* Manifests that stand on the page: a bundle that was exported is soon released. */
#define MANIFESTS_KEPT 16u

struct manifests {
    struct quipu_cid cids[MANIFESTS_KEPT];
    uint64_t numbers[MANIFESTS_KEPT]; /* of the operation that shows it; 0: the last bundle's */
    size_t count;                     /* ever kept; the oldest make room */
};

/* The page on its way. */
struct page {
    const struct quipu_report *report;
    const struct report_form *form;
    struct report_out *out;
    struct manifests *manifests; /* while rows are written */
};

/* ------------------------------------------------------------------ facts */

static void fact(const struct page *page, const char *name, struct quipu_slice value,
                 enum report_value kind)
{
    page->form->fact(page->out, name, value, kind);
    report_out_relieve(page->out);
}

static void say(const struct page *page, const char *name, enum report_value kind,
                const char *format, ...) QUIPU_PRINTF(4, 5);

static void say(const struct page *page, const char *name, enum report_value kind,
                const char *format, ...)
{
    char line[LINE_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args); /* what is said so is short */
    va_end(args);
    fact(page, name, quipu_slice_text(line), kind);
}

/* "1 event", "3,288 events". */
#define COUNTED_BYTES (REPORT_COUNT_BYTES + 32)
static const char *counted(uint64_t value, const char *what, char out[COUNTED_BYTES])
{
    char count[REPORT_COUNT_BYTES];
    (void)snprintf(out, COUNTED_BYTES, "%s %s%s", report_count_text(value, count), what,
                   value == 1 ? "" : "s");
    return out;
}

static void say_time(const struct page *page, const char *name, int64_t unix_us)
{
    char time[QUIPU_RFC3339_BYTES];
    quipu_rfc3339_format(unix_us, time);
    fact(page, name, quipu_slice_text(time), REPORT_PLAIN);
}

static void say_cid(const struct page *page, const char *name, const struct quipu_cid *cid)
{
    char text[QUIPU_CID_TEXT_BYTES];
    quipu_cid_format(cid, text);
    fact(page, name, quipu_slice_text(text), REPORT_CODE);
}

/* In hexadecimal and in words. */
static void say_digest(const struct page *page, const char *name,
                       const uint8_t digest[QUIPU_SHA256_BYTES])
{
    uint8_t storage[1024]; /* 32 words of up to 11 letters, and 64 digits, fit */
    struct quipu_buf text;
    struct quipu_slice bytes = quipu_slice(digest, QUIPU_SHA256_BYTES);
    quipu_buf_init_fixed(&text, storage, sizeof storage);
    quipu_hex_append(&text, bytes);
    fact(page, name, quipu_buf_slice(&text), REPORT_CODE);
    quipu_buf_reset(&text);
    quipu_digest_words(bytes, &text);
    fact(page, "in words", quipu_buf_slice(&text), REPORT_WORDS);
}

/* ------------------------------------------------------------------ who */

/* Each key under the number by which the rows name it, and whose it is where that was said. */
static void write_signers(const struct page *page)
{
    const struct quipu_report *report = page->report;
    for (size_t i = 0; i < report->signer_count; i++) {
        const struct quipu_report_signer *signer = &report->signers[i];
        char number[LINE_BYTES];
        (void)snprintf(number, sizeof number, "key %zu", i + 1);
        fact(page, number, quipu_slice_text(signer->name), REPORT_CODE);
        if (signer->principals.len > 0) {
            fact(page, "", signer->principals, REPORT_SAID);
        }
    }
}

static void write_who(const struct page *page)
{
    const struct quipu_report *report = page->report;
    char store[QUIPU_UUID_TEXT_BYTES];
    quipu_uuid_format(report->store, store);
    page->form->section(page->out, "who", "Who");
    page->form->facts(page->out);
    fact(page, "store", quipu_slice_text(store), REPORT_CODE);
    if (report->source[0] == 0) {
        say(page, "source", REPORT_PLAIN,
            "none yet: nothing was recorded under a key of this store");
    } else {
        fact(page, "source", quipu_slice_text(report->source), REPORT_CODE);
        fact(page, "ssh key", quipu_slice_text(report->fingerprint), REPORT_CODE);
    }
    write_signers(page);
    if (report->was_backup) {
        say(page, "backup", REPORT_ALARM,
            "this is a backup, put back: its next event has a new "
            "source");
    }
    page->form->facts_end(page->out);
    if (report->operators.count > 0) {
        const struct report_table_look look = {
            .caption = "Operators",
            .count = "operations",
            .name = "operator",
            .others = "all others",
            .kind = REPORT_SAID,
        };
        page->form->table(page->out, &look, &report->operators);
    }
    page->form->section_end(page->out);
}

/* ------------------------------------------------------------------ the log */

static void write_last_bundle(const struct page *page)
{
    const struct quipu_report *report = page->report;
    char events[COUNTED_BYTES];
    if (report->bundle == 0) {
        say(page, "bundle", REPORT_PLAIN, "none was made yet");
        return;
    }
    if (report->not_exported == 0) {
        say(page, "bundle", REPORT_PLAIN, "%" PRIu64 " is the last one; every event is exported",
            report->bundle);
    } else {
        say(page, "bundle", REPORT_PLAIN, "%" PRIu64 " is the last one; %s not exported yet",
            report->bundle, counted(report->not_exported, "event", events));
    }
    if (!report->is_bundle_settled) {
        say(page, "", REPORT_ALARM,
            "its export was interrupted: whether its file stands is not "
            "known");
    }
    say_cid(page, "manifest", &report->bundle_manifest);
    if (!report->has_bundle_log) {
        return;
    }
    if (report->bundle_log_size == report->log_size &&
        memcmp(report->bundle_log_root, report->log_root, sizeof report->log_root) == 0) {
        say(page, "checkpoint", REPORT_PLAIN, "the log above, as it is now");
        return;
    }
    say(page, "checkpoint", REPORT_PLAIN, "%s", counted(report->bundle_log_size, "event", events));
    say_digest(page, "root", report->bundle_log_root);
}

static void say_span(const struct page *page, const struct quipu_report *report)
{
    char first[QUIPU_RFC3339_BYTES];
    char last[QUIPU_RFC3339_BYTES];
    quipu_rfc3339_format(report->first_occurred_unix_us, first);
    quipu_rfc3339_format(report->last_occurred_unix_us, last);
    say(page, "occurred", REPORT_PLAIN, "%s to %s", first, last);
}

/* Is all of it this store's own? */
static bool is_own(const struct quipu_report *report)
{
    return report->sources.count == 1 &&
           quipu_slice_equal(report->sources.rows[0].name, quipu_slice_text(report->source));
}

static void write_log(const struct page *page)
{
    const struct quipu_report *report = page->report;
    char events[COUNTED_BYTES];
    char aggregates[COUNTED_BYTES];
    char pending[REPORT_COUNT_BYTES];
    page->form->section(page->out, "log", "The log");
    page->form->facts(page->out);
    say(page, "events", REPORT_PLAIN, "%s of %s; every block was hashed again",
        counted(report->events, "event", events),
        counted(report->aggregates, "aggregate", aggregates));
    if (report->events > 0) {
        say_span(page, report);
    }
    say(page, "published", REPORT_PLAIN, "%s with a server's receipt, %s waiting",
        counted(report->outbox.published, "event", events),
        report_count_text(report->outbox.pending, pending));
    if (report->source[0] != 0) {
        say(page, "log", REPORT_PLAIN, "%s recorded by the source; the root of their tree:",
            counted(report->log_size, "event", events));
        say_digest(page, "root", report->log_root);
        write_last_bundle(page);
    }
    page->form->facts_end(page->out);
    page->form->section_end(page->out);
}

/* ------------------------------------------------------------------ operations */

static void write_operation_counts(const struct page *page, const struct quipu_operation *operation)
{
    char events[COUNTED_BYTES];
    char added[REPORT_COUNT_BYTES];
    char known[REPORT_COUNT_BYTES];
    char missing[COUNTED_BYTES];
    if (operation->bundle > 0) {
        say(page, "bundle", REPORT_PLAIN, "%" PRIu64, operation->bundle);
    }
    if (operation->added > 0 || operation->known > 0) {
        say(page, "events", REPORT_PLAIN, "%s: %s new here, %s known already",
            counted(operation->events, "event", events), report_count_text(operation->added, added),
            report_count_text(operation->known, known));
    } else {
        say(page, "events", REPORT_PLAIN, "%s", counted(operation->events, "event", events));
    }
    if (operation->missing > 0) {
        say(page, "gap", REPORT_ALARM, "%s missing before it, accepted for the reason given",
            counted(operation->missing, "bundle", missing));
    }
}

static void write_said(const struct page *page, const char *name, struct quipu_slice text,
                       enum report_value kind)
{
    if (text.len > 0) {
        fact(page, name, text, kind);
    }
}

static void keep_manifest(struct manifests *kept, const struct quipu_cid *manifest, uint64_t number)
{
    kept->cids[kept->count % MANIFESTS_KEPT] = *manifest;
    kept->numbers[kept->count % MANIFESTS_KEPT] = number;
    kept->count++;
}

/* In full where it is new, else where it stands. */
static void write_manifest(const struct page *page, const struct quipu_operation *operation)
{
    struct manifests *kept = page->manifests;
    size_t count = kept->count < MANIFESTS_KEPT ? kept->count : MANIFESTS_KEPT;
    for (size_t i = 0; i < count; i++) {
        if (quipu_cid_equal(&kept->cids[i], &operation->manifest)) {
            if (kept->numbers[i] == 0) {
                say(page, "manifest", REPORT_PLAIN, "above, the last bundle's");
            } else {
                say(page, "manifest", REPORT_PLAIN, "as in %" PRIu64, kept->numbers[i]);
            }
            return;
        }
    }
    keep_manifest(kept, &operation->manifest, operation->number);
    say_cid(page, "manifest", &operation->manifest);
}

/* What the page calls this key: "the source", "key 2"; false where it has no number. */
static bool put_signer(const struct quipu_report *report, struct quipu_slice name,
                       struct quipu_buf *out)
{
    const char *gap = out->len > 0 ? ", " : "";
    if (name.len == 0) {
        return false; /* a forged row: nobody writes two spaces */
    }
    if (quipu_slice_equal(name, quipu_slice_text(report->source))) {
        quipu_buf_printf(out, "%sthe source", gap);
        return true;
    }
    for (size_t i = 0; i < report->signer_count; i++) {
        if (quipu_slice_equal(name, quipu_slice_text(report->signers[i].name))) {
            quipu_buf_printf(out, "%skey %zu", gap, i + 1);
            return true;
        }
    }
    return false;
}

/* Long names stand once on the page; where one of them has no number, all stand in full. */
static void write_signed_by(const struct page *page, struct quipu_slice names)
{
    uint8_t storage[1024]; /* all that may sign fit: 64 of up to 12 bytes */
    struct quipu_buf text;
    bool has_numbers = names.len > 0;
    size_t from = 0;
    quipu_buf_init_fixed(&text, storage, sizeof storage);
    for (size_t i = 0; i <= names.len && has_numbers; i++) {
        if (i == names.len || names.data[i] == ' ') {
            has_numbers = put_signer(page->report, quipu_slice(names.data + from, i - from), &text);
            from = i + 1;
        }
    }
    if (has_numbers && text.status == QUIPU_OK) {
        fact(page, "signed by", quipu_buf_slice(&text), REPORT_PLAIN);
    } else {
        write_said(page, "signed by", names, REPORT_KEYS);
    }
}

/* Rows that came behind those that were counted are another report's. */
static enum quipu_status write_operation(void *ctx, const struct quipu_operation *operation,
                                         struct quipu_error *err)
{
    const struct page *page = ctx;
    char title[LINE_BYTES];
    (void)err;
    if (operation->number > page->report->last_operation) {
        return QUIPU_DONE;
    }
    (void)snprintf(title, sizeof title, "%" PRIu64 "  %.*s", operation->number,
                   QUIPU_SLICE_FMT(operation->kind));
    page->form->item(page->out, title);
    page->form->facts(page->out);
    say_time(page, "when", operation->unix_us);
    write_said(page, "operator", operation->operator_name, REPORT_SAID);
    write_said(page, "reason", operation->reason, REPORT_SAID);
    if (!quipu_slice_equal(operation->source, quipu_slice_text(page->report->source))) {
        write_said(page, "source", operation->source, REPORT_KEYS);
    }
    write_operation_counts(page, operation);
    if (operation->has_manifest) {
        write_manifest(page, operation);
    }
    if (operation->has_sha256) {
        say_digest(page, "sha256", operation->sha256);
    }
    write_signed_by(page, operation->signers);
    page->form->facts_end(page->out);
    page->form->item_end(page->out);
    report_out_relieve(page->out);
    return page->out->status == QUIPU_OK ? QUIPU_OK : QUIPU_DONE;
}

static enum quipu_status write_operations(const struct page *page, struct quipu_error *err)
{
    static const struct report_table_look by_kind = {
        .caption = "Operations by kind",
        .count = "operations",
        .name = "kind",
        .others = "all others",
        .kind = REPORT_CODE,
    };
    const struct quipu_report *report = page->report;
    char line[LINE_BYTES];
    enum quipu_status status = QUIPU_OK;
    page->form->section(page->out, "operations", "What went out and came in");
    if (report->after > 0) {
        (void)snprintf(line, sizeof line, "Operations with a number greater than %" PRIu64 ".",
                       report->after);
        page->form->note(page->out, line);
    }
    if (report->kinds.count == 0) {
        page->form->note(page->out, "No export and no import is recorded.");
    } else {
        if (report->last_operation - report->after > OPERATIONS_FEW) {
            page->form->table(page->out, &by_kind, &report->kinds);
        }
        /* The rows take a const page, the callback's context is none. */
        struct manifests manifests = {0};
        struct page rows = *page;
        rows.manifests = &manifests;
        if (report->bundle > 0) {
            keep_manifest(&manifests, &report->bundle_manifest, 0);
        }
        status = quipu_each_operation(report->engine, report->after, write_operation, &rows, err);
    }
    page->form->section_end(page->out);
    return status;
}

/* ------------------------------------------------------------------ events */

static void write_events(const struct page *page)
{
    const struct quipu_report *report = page->report;
    static const struct report_table_look by_type = {
        .caption = "Events by type",
        .count = "events",
        .name = "type",
        .others = "all other types",
        .kind = REPORT_CODE,
    };
    static const struct report_table_look by_kind = {
        .caption = "Aggregates by type",
        .count = "events",
        .aggregates = "aggregates",
        .name = "type of aggregates",
        .others = "all other types",
        .kind = REPORT_CODE,
    };
    static const struct report_table_look by_aggregate = {
        .caption = "Aggregates",
        .count = "events",
        .name = "aggregate",
        .kind = REPORT_SAID,
    };
    static const struct report_table_look by_source = {
        .caption = "Recorded by",
        .count = "events",
        .name = "source",
        .others = "all other sources",
        .kind = REPORT_KEYS,
    };
    page->form->section(page->out, "events", "Events");
    if (report->events == 0) {
        page->form->note(page->out, "The store holds no event.");
    } else {
        page->form->table(page->out, &by_type, &report->types);
        page->form->table(page->out, &by_kind, &report->aggregate_types);
        if (report->by_aggregate.count > 0) {
            page->form->table(page->out, &by_aggregate, &report->by_aggregate);
        } else {
            page->form->note(page->out, "There are too many aggregates to name each here.");
        }
        if (!is_own(report)) {
            page->form->table(page->out, &by_source, &report->sources);
        }
    }
    page->form->section_end(page->out);
}

/* ------------------------------------------------------------------ not in order */

static void write_fork(const struct page *page, const struct quipu_report_fork *fork)
{
    char number[LINE_BYTES];
    if (fork->kind == QUIPU_FORK_AGGREGATE) {
        (void)snprintf(number, sizeof number,
                       "branches behind version %" PRIu64 " of:", fork->number);
        fact(page, "fork", quipu_slice_text(number), REPORT_ALARM);
        fact(page, "", fork->aggregate, REPORT_SAID);
        return;
    }
    (void)snprintf(number, sizeof number, "number %" PRIu64 " was used twice by:", fork->number);
    fact(page, "used twice", quipu_slice_text(number), REPORT_ALARM);
    fact(page, "", fork->source, REPORT_KEYS);
}

static void write_disorder(const struct page *page)
{
    const struct quipu_report *report = page->report;
    char counts[2][COUNTED_BYTES];
    uint64_t troubles = report->forks.aggregates_open + report->forks.sources +
                        report->quarantined + report->outbox.dead;
    page->form->section(page->out, "disorder", "What is not in order");
    if (troubles == 0) {
        page->form->note(page->out, "Nothing: no open fork, no number used twice, nothing in "
                                    "quarantine, no dead letter.");
        page->form->section_end(page->out);
        return;
    }
    page->form->facts(page->out);
    if (report->forks.aggregates_open + report->forks.sources > 0) {
        say(page, "forks", REPORT_ALARM, "%s with open branches, %s used twice",
            counted(report->forks.aggregates_open, "aggregate", counts[0]),
            counted(report->forks.sources, "number", counts[1]));
    }
    for (size_t i = 0; i < report->fork_row_count; i++) {
        write_fork(page, &report->fork_rows[i]);
    }
    if (report->quarantined > 0) {
        say(page, "quarantine", REPORT_ALARM, "%s that could not be taken in",
            counted(report->quarantined, "event", counts[0]));
    }
    if (report->outbox.dead > 0) {
        say(page, "dead", REPORT_ALARM, "%s that a server refused for good",
            counted(report->outbox.dead, "event", counts[0]));
    }
    page->form->facts_end(page->out);
    page->form->section_end(page->out);
}

/* ------------------------------------------------------------------ the page */

static void write_end(const struct page *page)
{
    page->form->section(page->out, "signatures", "Signatures by hand");
    page->form->note(page->out, "We were there, and compared source and digests on this page with "
                                "what the machine showed and what was read aloud.");
    page->form->signatures(page->out, &page->report->operators);
    page->form->section_end(page->out);
    page->form->section(page->out, "worth", "How to read this page");
    page->form->note(page->out, "Times are UTC (Z), by the clock of the machine that recorded "
                                "them.");
    page->form->note(page->out, "No key has signed this page; the bundles are signed: quipu verify "
                                "FILE says source, manifest and digest of one again. sha256 is "
                                "that of the file in clear, as sha256sum says it, or age -d FILE | "
                                "sha256sum where it is encrypted.");
    page->form->note(page->out, "The words are the same digest in the PGP word list: two syllables "
                                "and three in turn, so that a word left out is heard.");
    if (page->report->signer_count > 0) {
        page->form->note(page->out, "Operations name keys by their numbers above; whose they are "
                                    "is what the file of allowed signers says that was given for "
                                    "this page, if one was.");
    }
    page->form->section_end(page->out);
}

enum quipu_status report_page(const struct quipu_report *report, const struct report_form *form,
                              struct report_out *out)
{
    const struct page page = {.report = report, .form = form, .out = out};
    char printed[QUIPU_RFC3339_BYTES];
    quipu_rfc3339_format(report->printed_unix_us, printed);
    form->begin(out, report, printed);
    write_who(&page);
    write_log(&page);
    enum quipu_status status = write_operations(&page, out->err);
    if (status != QUIPU_OK) {
        return status;
    }
    write_events(&page);
    write_disorder(&page);
    write_end(&page);
    form->end(out);
    report_out_flush(out);
    return out->status;
}

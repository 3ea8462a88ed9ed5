/*
 * Where the page of the report goes: to a sink, bit by bit, or into a file that stands whole or not
 * at all. Knows nothing of what it says.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "export_file.h"
#include "report_parts.h"

#define OUT_BYTES ((size_t)32 << 10)

void report_out_flush(struct report_out *out)
{
    if (out->status == QUIPU_OK && out->buf.status != QUIPU_OK) {
        out->status = quipu_error_set(out->err, out->buf.status, "no memory to write the report");
    }
    if (out->status == QUIPU_OK && out->buf.len > 0) {
        out->status = out->sink.write(out->sink.ctx, quipu_buf_slice(&out->buf), out->err);
    }
    quipu_buf_reset(&out->buf);
}

void report_out_relieve(struct report_out *out)
{
    if (out->buf.len >= OUT_BYTES || out->buf.status != QUIPU_OK) {
        report_out_flush(out);
    }
}

enum quipu_status quipu_report_write(const struct quipu_report *report, enum quipu_report_form form,
                                     struct quipu_sink sink, struct quipu_error *err)
{
    struct report_out out = {.sink = sink, .err = err};
    if (report == NULL || report->engine == NULL || sink.write == NULL ||
        (form != QUIPU_REPORT_TEXT && form != QUIPU_REPORT_HTML)) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "a report that was collected, a form and a sink "
                               "are needed to write it");
    }
    enum quipu_status status = report_page(
        report, form == QUIPU_REPORT_TEXT ? &report_form_text : &report_form_html, &out);
    quipu_buf_release(&out.buf);
    return status;
}

enum quipu_status quipu_report_save(const struct quipu_report *report, enum quipu_report_form form,
                                    const char *path, uint8_t sha256[QUIPU_SHA256_BYTES],
                                    struct quipu_error *err)
{
    struct quipu_export_file file = QUIPU_EXPORT_FILE_INIT;
    if (path == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE, "a report is saved under a path");
    }
    enum quipu_status status = quipu_export_file_create(&file, path, err);
    if (status == QUIPU_OK) {
        status = quipu_report_write(report, form, quipu_export_file_sink(&file), err);
    }
    if (status == QUIPU_OK) {
        status = quipu_export_file_finish(&file, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_export_file_publish(&file, err);
    }
    if (status == QUIPU_OK && sha256 != NULL) {
        memcpy(sha256, file.sha256, sizeof file.sha256);
    }
    quipu_export_file_discard(&file);
    return status;
}

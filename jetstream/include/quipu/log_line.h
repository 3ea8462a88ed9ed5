/*
 * Structured lines about what a program does, for people (text) or for machines (JSON): time,
 * level, event, fields. One line is one write, so lines of several threads never mix. Knows nothing
 * of the event log.
 *
 * Specification: docs/SPEC.md §10.9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_LOG_LINE_H
#define QUIPU_LOG_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quipu/clock.h"
#include "quipu/error.h"
#include "quipu/export.h"
#include "quipu/slice.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A line, with its end; what is longer loses fields from the end and has "cut":true. */
#define QUIPU_LOG_LINE_BYTES_MAX 8192

enum quipu_log_format { QUIPU_LOG_TEXT = 0, QUIPU_LOG_JSON };
enum quipu_log_level { QUIPU_LOG_DEBUG = 0, QUIPU_LOG_INFO, QUIPU_LOG_WARN, QUIPU_LOG_ERROR };

/** "text" or "json". @retval QUIPU_INVALID  neither; err says so */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_log_format_parse(const char *text, enum quipu_log_format *out, struct quipu_error *err);

/** Where lines go. Caller's storage; may be copied. Any thread. */
struct quipu_log {
    int fd; /* below 0: nowhere */
    enum quipu_log_format format;
    enum quipu_log_level level_min;
    struct quipu_clock clock;
};

enum quipu_log_kind {
    QUIPU_LOG_IS_TEXT = 0,
    QUIPU_LOG_IS_NUMBER,
    QUIPU_LOG_IS_SIGNED,
    QUIPU_LOG_IS_BOOL,
};

struct quipu_log_field {
    const char *key; /* [a-z0-9_]+ */
    enum quipu_log_kind kind;
    struct quipu_slice text;
    uint64_t number; /* IS_BOOL: 0 or 1 */
    int64_t number_signed;
};

static inline struct quipu_log_field quipu_log_slice(const char *key, struct quipu_slice text)
{
    struct quipu_log_field field = {key, QUIPU_LOG_IS_TEXT, text, 0, 0};
    return field;
}

/** NULL shows as empty text. */
static inline struct quipu_log_field quipu_log_text(const char *key, const char *text)
{
    return quipu_log_slice(key, quipu_slice_text(text));
}

static inline struct quipu_log_field quipu_log_number(const char *key, uint64_t number)
{
    struct quipu_log_field field = {key, QUIPU_LOG_IS_NUMBER, {NULL, 0}, number, 0};
    return field;
}

static inline struct quipu_log_field quipu_log_signed(const char *key, int64_t number)
{
    struct quipu_log_field field = {key, QUIPU_LOG_IS_SIGNED, {NULL, 0}, 0, number};
    return field;
}

static inline struct quipu_log_field quipu_log_bool(const char *key, bool is)
{
    struct quipu_log_field field = {key, QUIPU_LOG_IS_BOOL, {NULL, 0}, (uint64_t)is, 0};
    return field;
}

/**
 * Write a line. `event` is dotted words such as "request.done". What cannot be written is lost: a
 * log that is full must not stop the work. Secrets must not be among the fields.
 * @threads any
 */
QUIPU_API void quipu_log_write(const struct quipu_log *log, enum quipu_log_level level,
                               const char *event, const struct quipu_log_field *fields,
                               size_t count);

/** Format a line into `out` (of at least QUIPU_LOG_LINE_BYTES_MAX bytes) instead; returns its
 * length. No NUL. */
QUIPU_API size_t quipu_log_format_line(const struct quipu_log *log, enum quipu_log_level level,
                                       const char *event, const struct quipu_log_field *fields,
                                       size_t count, char *out);

#ifdef __cplusplus
}
#endif

#endif

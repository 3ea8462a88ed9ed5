/*
 * How the program speaks: results on stdout, messages and progress on stderr, one line per failure.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CLI_PRINT_H
#define QUIPU_CLI_PRINT_H

#include "cli.h"
#include "quipu/buf.h"
#include "quipu/cid.h"
#include "quipu/export.h"

/* ------------------------------------------------------------------ failures */

struct cli_failure {
    enum quipu_status status;
    const struct quipu_error *err; /* NULL: the status's own text */
    const char *cure;              /* NULL: the status's own; "" for none */
    const char *note;              /* said in brackets behind the cure; NULL: nothing */
    enum cli_exit code;            /* 0: by the table */
    struct quipu_slice members;    /* of the JSON error object, with a comma in front; or empty */
};

/** Say "quipu VERB: <what>; <cure> (<note>)" on one line of stderr, as JSON with --json. Returns
 * the exit code. */
int cli_fail_with(const struct cli *cli, const struct cli_failure *failure);

/** A cure for cli_failure: NULL where the message has one already, behind a semicolon, as one is
 * enough; else `cure`. */
const char *cli_cure_unless_said(const struct quipu_error *err, const char *cure);

/** The message without the cure behind its semicolon, for where we know a better one. */
struct quipu_error cli_without_cure(const struct quipu_error *err);

/** The short form; cure NULL: the status's own. */
int cli_fail(const struct cli *cli, enum quipu_status status, const struct quipu_error *err,
             const char *cure);

/** Wrong options or arguments: exit code 2. */
int cli_usage(const struct cli *cli, const char *format, ...) QUIPU_PRINTF(2, 3);

/** A message on stderr that is not a failure; silent with --quiet. */
void cli_note(const struct cli *cli, const char *format, ...) QUIPU_PRINTF(2, 3);

/** Text of others on stdout: what would break the line, or drive the terminal, becomes a space. */
void cli_put_plain(struct quipu_slice text);

/** A line on stdout that may quote others, such as a path: as cli_put_plain, and the line's end. */
void cli_say(const char *format, ...) QUIPU_PRINTF(1, 2);

/** The name before a figure, in a column of its own. */
void cli_print_name(const struct cli *cli, const char *name);

/** Remember what is durable now, such as "3 events are stored": said where stdout fails later. */
void cli_done(struct cli *cli, uint64_t count, const char *became);

/** "1 event", "3,288 events"; `what` in the singular. Returns `out`. */
#define CLI_COUNTED_BYTES 64
const char *cli_counted(uint64_t value, const char *what, char out[CLI_COUNTED_BYTES]);

/* ------------------------------------------------------------------ progress */

/** One line on the terminal that is written over, at most ten times a second. */
struct cli_progress {
    const struct cli *cli;
    const char *what; /* such as "events verified" */
    int64_t last_us;
    bool is_shown;
};

/** `ctx` is a struct cli_progress: fits the progress callbacks of the library. `total` 0: unknown.
 */
void cli_progress(void *ctx, uint64_t done, uint64_t total);
void cli_progress_end(struct cli_progress *progress);

/** Monotonic microseconds. */
int64_t cli_now_us(void);

/* ------------------------------------------------------------------ words */

#define CLI_COUNT_BYTES 32

/** "3,288"; returns `out`. */
const char *cli_count(uint64_t value, char out[CLI_COUNT_BYTES]);
/** "2.4 MB", "812 B"; returns `out`. */
const char *cli_bytes(uint64_t value, char out[CLI_COUNT_BYTES]);
/** "1.2 ms", "3.4 s"; returns `out`. */
const char *cli_duration(int64_t us, char out[CLI_COUNT_BYTES]);

enum cli_paint { CLI_PLAIN, CLI_BOLD, CLI_DIM, CLI_GREEN, CLI_RED, CLI_CYAN };

/** The terminal's escape for it, "" where there is no colour. Static text. */
const char *cli_paint(const struct cli *cli, enum cli_paint paint);

/* ------------------------------------------------------------------ JSON lines */

/** One JSON object on one line of stdout. Zero-initialise `buf`, or reuse it. */
struct cli_json {
    struct quipu_buf buf;
    bool has_member;
};

void cli_json_begin(struct cli_json *json);
void cli_json_text(struct cli_json *json, const char *key, struct quipu_slice value);
void cli_json_number(struct cli_json *json, const char *key, uint64_t value);
void cli_json_bool(struct cli_json *json, const char *key, bool value);
void cli_json_null(struct cli_json *json, const char *key);
void cli_json_cid(struct cli_json *json, const char *key, const struct quipu_cid *cid);
void cli_json_uuid(struct cli_json *json, const char *key, struct quipu_uuid uuid);
void cli_json_hex(struct cli_json *json, const char *key, struct quipu_slice bytes);
void cli_json_time(struct cli_json *json, const char *key, int64_t unix_us);
/** Text that is JSON already. */
void cli_json_raw(struct cli_json *json, const char *key, struct quipu_slice value);
/** Append DAG-JSON: of a block of DAG-CBOR, or, where DAG-JSON cannot carry that, of its bytes. */
enum quipu_status cli_json_block(struct quipu_slice block, struct quipu_buf *out, bool *is_bytes,
                                 struct quipu_error *err);
/** Append bytes as DAG-JSON has them. */
enum quipu_status cli_json_bytes(struct quipu_slice bytes, struct quipu_buf *out,
                                 struct quipu_error *err);
void cli_json_object(struct cli_json *json, const char *key);
void cli_json_list(struct cli_json *json, const char *key);
/** An object as an item of the open list. */
void cli_json_item(struct cli_json *json);
void cli_json_close(struct cli_json *json, char bracket);
/** Text that is JSON, as it is but for control characters from U+007F on: JSON allows them inside
 * of strings, a terminal would obey them, so they are escaped. The value stays the same. */
void cli_put_json(struct quipu_slice json, FILE *out);
/** Close the object and write the line on stdout. Fails only for memory. */
enum quipu_status cli_json_end(struct cli_json *json, struct quipu_error *err);
void cli_json_release(struct cli_json *json);

/** Append `json` indented by two spaces a level, each line behind `margin`. Nothing in it drives a
 * terminal. */
void cli_json_indent(struct quipu_slice json, const char *margin, struct quipu_buf *out);

#endif

/*
 * quipu append: JSON lines into the log, batch by batch, each batch all or none.
 *
 * The way of a line: read → event → batch; a full batch → one durable append → its receipts on
 * stdout, flushed, so that the output of a killed run tells what is safe. A line that fails takes
 * its whole batch with it and names itself; the batches before it stay, and the message says so.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "lines.h"
#include "print.h"
#include "quipu/alloc.h"
#include "quipu/event_json.h"

#define BATCH_LINES_DEFAULT 1000
/* Memory for one batch. A default batch is closed early when it has this many bytes; one whose size
 * the caller asked for is refused above the larger limit. */
#define BATCH_BYTES_DEFAULT ((size_t)32 << 20)
#define BATCH_BYTES_MAX     ((size_t)512 << 20)
/* An arena that once held a long line is given back after its batch. */
#define ARENA_BYTES_KEPT ((size_t)16 << 10)

struct append_values {
    struct cli_number expect;
    struct cli_number atomic_lines;
    const char *batch;
    bool allows_secrets;
};

/* One line of the batch. The event borrows from the arena. */
struct entry {
    struct quipu_event_arena arena;
    uint64_t line;
};

struct append_run {
    struct cli *cli;
    const struct append_values *values;
    struct cli_lines lines;
    struct cli_json json;
    size_t batch_max;
    bool is_unsure;      /* a commit failed that may be there all the same */
    bool is_batch_asked; /* the caller named the size: never close a batch early */
    struct entry *entries;
    struct quipu_event *events;
    struct quipu_appended *appended;
    size_t cap;
    size_t count;
    size_t bytes;        /* of the batch's lines */
    uint64_t first_line; /* of the batch; 0: it is empty */
    uint64_t stored;
    uint64_t duplicates;
    bool is_begun; /* the first event of the input has been seen */
};

static enum quipu_status grow(struct append_run *run, struct quipu_error *err)
{
    if (run->count < run->cap) {
        return QUIPU_OK;
    }
    size_t cap = run->cap == 0 ? 64 : run->cap * 2;
    struct entry *entries = quipu_realloc(run->entries, cap, sizeof *entries);
    if (entries != NULL) {
        memset(entries + run->cap, 0, (cap - run->cap) * sizeof *entries);
        run->entries = entries;
    }
    struct quipu_event *events = quipu_realloc(run->events, cap, sizeof *events);
    if (events != NULL) {
        run->events = events;
    }
    struct quipu_appended *appended = quipu_realloc(run->appended, cap, sizeof *appended);
    if (appended != NULL) {
        run->appended = appended;
    }
    if (entries == NULL || events == NULL || appended == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "a batch of %zu lines does not fit in memory",
                               run->count + 1);
    }
    run->cap = cap;
    return QUIPU_OK;
}

static void empty_batch(struct append_run *run)
{
    for (size_t i = 0; i < run->count; i++) {
        struct quipu_event_arena *arena = &run->entries[i].arena;
        if (arena->block.cap > ARENA_BYTES_KEPT || arena->text.cap > ARENA_BYTES_KEPT) {
            quipu_event_arena_release(arena);
            *arena = (struct quipu_event_arena){0};
        }
    }
    run->count = 0;
    run->bytes = 0;
    run->first_line = 0;
}

static void release(struct append_run *run)
{
    for (size_t i = 0; i < run->cap; i++) {
        quipu_event_arena_release(&run->entries[i].arena);
    }
    quipu_free(run->entries);
    quipu_free(run->events);
    quipu_free(run->appended);
    cli_lines_release(&run->lines);
    cli_json_release(&run->json);
}

/* NULL: the status's own. The input is JSON, also where what it says cannot be DAG-CBOR. */
static const char *cure_of(enum quipu_status status)
{
    if (status == QUIPU_SECRET_REFUSED) {
        /* The library cannot know the option that takes it. */
        return "store the public half or a digest of it, or take it in clear with --allow-secret";
    }
    return cli_is_cbor(status) ? CLI_CURE_JSON_VALUE : NULL;
}

/* What the failure leaves behind, for people and for --json. */
static int fail(const struct append_run *run, uint64_t line, enum quipu_status status,
                const struct quipu_error *err)
{
    char stored[CLI_COUNT_BYTES];
    char note[160];
    char members[160];
    struct quipu_error plain = cli_without_cure(err);
    uint64_t before = run->stored + run->duplicates;
    uint64_t first = run->first_line == 0 ? line : run->first_line;
    const char *rest = run->is_unsure ? "nothing behind is acknowledged" : "nothing behind";
    if (before == 0) {
        (void)snprintf(note, sizeof note, "nothing is %s",
                       run->is_unsure ? "acknowledged" : "stored");
    } else {
        (void)snprintf(note, sizeof note, "%s event%s before line %" PRIu64 " %s stored, %s",
                       cli_count(before, stored), before == 1 ? "" : "s", first,
                       before == 1 ? "is" : "are", rest);
    }
    int len = snprintf(members, sizeof members,
                       ",\"line\":%" PRIu64 ",\"appended\":%" PRIu64 ",\"duplicates\":%" PRIu64,
                       line, run->stored, run->duplicates);
    struct cli_failure failure = {
        .status = status,
        .err = status == QUIPU_SECRET_REFUSED ? &plain : err,
        .cure = cure_of(status),
        .note = note,
        .members = quipu_slice(members, (size_t)len),
    };
    return cli_fail_with(run->cli, &failure);
}

static enum quipu_status print_appended(struct append_run *run, struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    for (size_t i = 0; i < run->count && status == QUIPU_OK; i++) {
        const struct quipu_appended *appended = &run->appended[i];
        cli_json_begin(&run->json);
        cli_json_number(&run->json, "line", run->entries[i].line);
        cli_json_number(&run->json, "position", appended->position);
        cli_json_number(&run->json, "version", appended->version);
        cli_json_uuid(&run->json, "event_id", appended->event_id);
        cli_json_cid(&run->json, "cid", &appended->cid);
        cli_json_bool(&run->json, "duplicate", appended->was_duplicate);
        status = cli_json_end(&run->json, err);
    }
    return status;
}

/* Append the batch and say what is durable now. Returns 0 or the exit code. */
static int commit(struct append_run *run)
{
    if (run->count == 0) {
        return 0;
    }
    struct quipu_error err = {0};
    size_t failed = run->count;
    enum quipu_status status =
        quipu_append_batch(run->cli->engine, run->events, run->count, run->appended, &failed, &err);
    if (status != QUIPU_OK) {
        /* A commit that the disk broke off may be there all the same. */
        run->is_unsure = err.is_unsure;
        uint64_t line = run->entries[failed < run->count ? failed : 0].line;
        if (failed < run->count) {
            (void)quipu_error_wrap(&err, status, "line %" PRIu64, line);
        }
        return fail(run, line, status, &err);
    }
    for (size_t i = 0; i < run->count; i++) {
        if (run->appended[i].was_duplicate) {
            run->duplicates++;
        } else {
            run->stored++;
        }
    }
    cli_done(run->cli, run->stored + run->duplicates, "stored");
    if (run->cli->is_json) {
        status = print_appended(run, &err);
        if (status != QUIPU_OK) {
            return fail(run, run->lines.number, status, &err);
        }
        (void)fflush(stdout); /* main asks ferror at the end */
    }
    empty_batch(run);
    return 0;
}

/* --expect speaks of the first event; a line that says otherwise is not silently overruled. */
static enum quipu_status apply_options(struct append_run *run, struct quipu_event *event,
                                       struct quipu_error *err)
{
    if (run->values->allows_secrets) {
        event->secrets = QUIPU_SECRET_ALLOW;
    }
    if (run->is_begun || !run->values->expect.is_set) {
        return QUIPU_OK;
    }
    uint64_t expected = run->values->expect.value;
    uint64_t own = event->expected.kind == QUIPU_EXPECT_EXACT ? event->expected.version : 0;
    if (event->expected.kind != QUIPU_EXPECT_ANY && own != expected) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "expected_version is %" PRIu64 " and --expect says %" PRIu64
                               "; leave one of them out",
                               own, expected);
    }
    event->expected = quipu_expect_exact(expected);
    return QUIPU_OK;
}

static bool is_blank(struct quipu_slice line)
{
    for (size_t i = 0; i < line.len; i++) {
        if (line.data[i] != ' ' && line.data[i] != '\t' && line.data[i] != '\r') {
            return false;
        }
    }
    return true;
}

static bool starts_with_mark(struct quipu_slice line)
{
    static const uint8_t mark[] = {0xef, 0xbb, 0xbf};
    return line.len >= sizeof mark && memcmp(line.data, mark, sizeof mark) == 0;
}

/* Take one line into the batch. Returns 0 or the exit code. */
static int take(struct append_run *run, struct quipu_slice line)
{
    struct quipu_error err = {0};
    uint64_t number = run->lines.number;
    if (run->first_line == 0) {
        run->first_line = number;
    }
    enum quipu_status status = grow(run, &err);
    if (status == QUIPU_OK && number == 1 && starts_with_mark(line)) {
        status = quipu_error_set(&err, QUIPU_JSON,
                                 "line 1 begins with a byte order mark; save the file as UTF-8 "
                                 "without one");
    }
    if (status != QUIPU_OK) {
        return fail(run, number, status, &err);
    }
    if (run->bytes + line.len > BATCH_BYTES_MAX || run->count == QUIPU_APPEND_EVENTS_MAX) {
        status = quipu_error_set(&err, QUIPU_TOO_LARGE,
                                 "line %" PRIu64 ": one batch holds up to %d events and %zu MiB; "
                                 "make it smaller with --atomic-lines",
                                 number, QUIPU_APPEND_EVENTS_MAX, BATCH_BYTES_MAX >> 20);
        return fail(run, number, status, &err);
    }
    struct entry *entry = &run->entries[run->count];
    struct quipu_event *event = &run->events[run->count];
    status = quipu_event_from_json(line, &entry->arena, event, &err);
    if (status == QUIPU_OK) {
        status = apply_options(run, event, &err);
    }
    if (status != QUIPU_OK) {
        (void)quipu_error_wrap(&err, status, "line %" PRIu64, number);
        return fail(run, number, status, &err);
    }
    entry->line = number;
    run->is_begun = true;
    run->count++;
    run->bytes += line.len;
    bool is_full =
        run->count == run->batch_max || (!run->is_batch_asked && run->bytes >= BATCH_BYTES_DEFAULT);
    return is_full ? commit(run) : 0;
}

static int append_all(struct append_run *run)
{
    struct cli_progress progress = {.cli = run->cli, .what = "lines"};
    for (;;) {
        struct quipu_error err = {0};
        struct quipu_slice line;
        enum quipu_status status = cli_lines_next(&run->lines, &line, &err);
        if (status == QUIPU_DONE) {
            cli_progress_end(&progress);
            return commit(run);
        }
        int code = 0;
        if (status != QUIPU_OK) {
            code = fail(run, run->lines.number, status, &err);
        } else if (!is_blank(line)) {
            code = take(run, line);
        }
        if (code != 0) {
            cli_progress_end(&progress);
            return code;
        }
        cli_progress(&progress, run->lines.number, 0);
    }
}

/* Lines of a batch; 0 after it has said what is wrong. */
static size_t batch_size(const struct cli *cli, const struct append_values *values)
{
    if (values->batch != NULL) {
        if (strcmp(values->batch, "all") != 0) {
            (void)cli_usage(cli, "--batch wants all, found \"%s\"", values->batch);
            return 0;
        }
        if (values->atomic_lines.is_set) {
            (void)cli_usage(cli, "--batch and --atomic-lines say two sizes, and one is wanted");
            return 0;
        }
        return SIZE_MAX;
    }
    if (!values->atomic_lines.is_set) {
        return BATCH_LINES_DEFAULT;
    }
    uint64_t lines = values->atomic_lines.value;
    if (lines < 1 || lines > QUIPU_APPEND_EVENTS_MAX) {
        (void)cli_usage(cli, "--atomic-lines wants 1 to %d, found %" PRIu64,
                        QUIPU_APPEND_EVENTS_MAX, lines);
        return 0;
    }
    return (size_t)lines;
}

static void summary(const struct append_run *run)
{
    char stored[CLI_COUNT_BYTES];
    char duplicates[CLI_COUNT_BYTES];
    (void)printf("%s appended, %s duplicate%s\n", cli_count(run->stored, stored),
                 cli_count(run->duplicates, duplicates), run->duplicates == 1 ? "" : "s");
}

static int run(struct cli *cli, const void *values, int argc, char **argv)
{
    const struct append_values *append_values = values;
    const char *path = argc == 0 ? "-" : argv[0];
    struct append_run state = {
        .cli = cli,
        .values = append_values,
        .lines = {.fd = STDIN_FILENO},
        .batch_max = batch_size(cli, append_values),
        .is_batch_asked = append_values->batch != NULL || append_values->atomic_lines.is_set,
    };
    if (state.batch_max == 0) {
        return CLI_EXIT_USAGE;
    }
    int code = cli_open(cli);
    if (code != 0) {
        return code;
    }
    code = cli_open_input(cli, path, "name a file of JSON lines, or - for stdin", &state.lines.fd);
    if (code != 0) {
        return code;
    }
    code = append_all(&state);
    if (code == 0 && !cli->is_json) {
        summary(&state);
    }
    if (state.lines.fd != STDIN_FILENO) {
        (void)close(state.lines.fd); /* only read from */
    }
    release(&state);
    return code;
}

static const struct cli_option options[] = {
    {"expect", CLI_NUMBER, offsetof(struct append_values, expect), "N",
     "the first event's aggregate is at version N (0: no event yet)"},
    {"atomic-lines", CLI_NUMBER, offsetof(struct append_values, atomic_lines), "N",
     "lines that are stored all or none (1,000)"},
    {"batch", CLI_TEXT, offsetof(struct append_values, batch), "all",
     "the whole input is one batch (up to 65,536 lines)"},
    {"allow-secret", CLI_FLAG, offsetof(struct append_values, allows_secrets), NULL,
     "store payloads that hold secret material in clear"},
};

const struct cli_verb cli_verb_append = {
    .name = "append",
    .arguments = "[FILE|-]",
    .summary = "Append events from JSON lines",
    .details =
        "Each line: {\"aggregate_type\":…,\"aggregate_id\":…,\"event_type\":…,\"payload\":…} and, "
        "where\n"
        "wanted, event_id, schema, correlation_id, causation_id, occurred_at, expected_version, "
        "meta.\n"
        "Payload and meta are DAG-JSON. Empty lines are skipped. A batch is stored all or none; a "
        "line\n"
        "that fails is named, and nothing of its batch is stored. An event whose event_id is "
        "there\n"
        "already is recognised and not stored again, so a broken run is simply run again. With "
        "--json\n"
        "one object per event is printed when it is durable.",
    .example = "zcat events.jsonl.gz | quipu append -",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .values_bytes = sizeof(struct append_values),
    .arguments_max = 1,
    .run = run,
};

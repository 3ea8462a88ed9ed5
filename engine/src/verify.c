/*
 * The full scrub. The pages of the file first, by the store and not through LMDB's map, because
 * LMDB trusts them; where they are sound, every event in slices (verify_event.c), hashing many
 * blocks at once; then what derives from the log, checked by the store; then what stands beside it
 * (verify_tables.c). Goes on after a finding, so that one damaged byte does not hide another.
 * Memory does not grow with the log. Never repairs anything.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "quipu/alloc.h"
#include "slice_budget.h"
#include "verify_run.h"

#define LINE_BYTES 512

/* ------------------------------------------------------------------ findings */

static void finding_note(struct verify_run *run, uint64_t position, const char *line)
{
    if (run->report.problems == 0) {
        (void)quipu_error_set(&run->first, QUIPU_CORRUPT, "%s", line);
    }
    run->report.problems++;
    if (run->options.problem != NULL) {
        run->options.problem(run->options.ctx, position, line);
    }
}

void verify_problem(struct verify_run *run, uint64_t position, const char *format, ...)
{
    char text[LINE_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    /* The lines of readers often name the position already. */
    if (position == 0 || strncmp(text, "position ", 9) == 0) {
        finding_note(run, position, text);
        return;
    }
    char line[LINE_BYTES + 32];
    (void)snprintf(line, sizeof line, "position %" PRIu64 ": %s", position, text);
    finding_note(run, position, line);
}

static bool index_problem(void *ctx, uint64_t position, const char *line)
{
    struct verify_run *run = ctx;
    verify_problem(run, position, "%s", line);
    run->report.mendable++;
    return true;
}

void verify_tell(const struct verify_run *run, const char *part, uint64_t done, uint64_t total)
{
    if (run->options.progress != NULL) {
        struct quipu_verify_progress progress = {
            .part = part, .done = done, .total = total, .block_bytes = run->report.block_bytes};
        run->options.progress(run->options.ctx, &progress);
    }
}

/* ------------------------------------------------------------------ hashing */

void verify_hash(struct verify_run *run)
{
    uint8_t digests[VERIFY_HASHES_MAX][QUIPU_SHA256_BYTES];
    quipu_sha256_batch(run->messages, run->blocks_len, digests);
    for (size_t i = 0; i < run->blocks_len; i++) {
        const struct verify_block *block = &run->blocks[i];
        if (memcmp(digests[i], block->cid.digest, QUIPU_SHA256_BYTES) == 0) {
            continue;
        }
        char expected[QUIPU_CID_TEXT_BYTES];
        quipu_cid_format(&block->cid, expected);
        verify_problem(run, block->position, "the %s does not hash to its CID %s", block->what,
                       expected);
    }
    run->blocks_len = 0;
}

void verify_block_add(struct verify_run *run, uint64_t position, const struct quipu_cid *cid,
                      struct quipu_slice block, const char *what)
{
    if (run->blocks_len == VERIFY_HASHES_MAX) {
        verify_hash(run);
    }
    run->blocks[run->blocks_len] =
        (struct verify_block){.position = position, .cid = *cid, .what = what};
    run->messages[run->blocks_len] = block;
    run->blocks_len++;
}

/* ------------------------------------------------------------------ the log */

/* Positions behind `*at`, as many as one transaction may. */
static enum quipu_status log_slice(struct verify_run *run, struct quipu_txn *txn, uint64_t *at,
                                   struct quipu_error *err)
{
    struct slice_budget budget;
    slice_budget_start(&budget);
    enum quipu_status status = QUIPU_OK;
    bool is_over = false;
    while (status == QUIPU_OK && !is_over && *at < run->end) {
        status = verify_position(run, txn, *at + 1, err);
        ++*at;
        is_over = slice_budget_spend(&budget);
    }
    /* The blocks are only readable while the transaction lasts. */
    verify_hash(run);
    return status;
}

static enum quipu_status log_check(struct verify_run *run, struct quipu_error *err)
{
    uint64_t at = 0;
    enum quipu_status status = QUIPU_OK;
    while (status == QUIPU_OK && at < run->end) {
        struct quipu_txn *txn = NULL;
        status = quipu_txn_begin_read(run->engine->store, &txn, err);
        if (status == QUIPU_OK) {
            status = log_slice(run, txn, &at, err);
        }
        quipu_txn_abort(&txn);
        verify_tell(run, "events", at, run->end);
    }
    if (status == QUIPU_OK) {
        verify_own_numbers(run);
    }
    return status;
}

/* Fix the end and read who we are. */
static enum quipu_status run_begin(struct verify_run *run, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_read(run->engine->store, &txn, err);
    if (status != QUIPU_OK) {
        return status;
    }
    run->end = quipu_txn_last_position(txn);
    struct quipu_error why = {0};
    status = identity_row_get(txn, &run->own, &why);
    quipu_txn_abort(&txn);
    run->has_own = status == QUIPU_OK;
    if (status == QUIPU_CORRUPT) {
        verify_problem(run, 0, "%s", why.message);
    } else if (status != QUIPU_OK && status != QUIPU_NOT_FOUND) {
        return quipu_error_set(err, status, "%s", why.message);
    }
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ the pages */

static bool page_problem(void *ctx, uint64_t position, const char *line)
{
    verify_problem(ctx, position, "%s", line);
    return true;
}

static void page_progress(void *ctx, uint64_t done, uint64_t total)
{
    verify_tell(ctx, "pages", done, total);
}

/* Before anything is read through LMDB's map. `*is_safe`: it may be. */
static enum quipu_status pages_check(struct verify_run *run, bool *is_safe, struct quipu_error *err)
{
    struct quipu_pages_report pages = {.is_safe = false};
    enum quipu_status status =
        quipu_store_check_pages(run->engine->store, page_problem, page_progress, run, &pages, err);
    run->report.mendable += pages.mendable;
    run->report.pages = pages.pages;
    *is_safe = pages.is_safe;
    if (status == QUIPU_OK && !pages.is_safe) {
        run->report.mendable += pages.mendable == pages.problems;
        verify_problem(run, 0,
                       "what the file says was not looked at: reading on over such pages may end "
                       "the process");
    }
    return status;
}

static void index_progress(void *ctx, uint64_t done, uint64_t total)
{
    verify_tell(ctx, "indexes", done, total);
}

static void id_problem(void *ctx, const struct quipu_repeated_id *repeated)
{
    struct verify_run *run = ctx;
    char id[QUIPU_UUID_TEXT_BYTES];
    quipu_uuid_format(repeated->event_id, id);
    run->report.repeated++;
    verify_problem(run, repeated->position,
                   "REPEATED event_id %s, which position %" PRIu64
                   " has too, %s: the first one counts, it is what look-ups find, and no bundle "
                   "may hold both",
                   id, repeated->first,
                   repeated->is_same_event ? "the same event, stored twice" : "another event");
}

/* Mostly one of a retry that a damaged index took for new: see what is left of that. */
static enum quipu_status ids_check(struct verify_run *run, bool is_index_sound,
                                   struct quipu_error *err)
{
    struct quipu_error why = {0};
    enum quipu_status status =
        quipu_store_check_event_ids(run->engine->store, id_problem, run, &why);
    if (status == QUIPU_CORRUPT) {
        if (is_index_sound) { /* else it was told what is wrong with it */
            verify_problem(run, 0, "%s", why.message);
            run->report.mendable++;
        }
        return QUIPU_OK;
    }
    return status == QUIPU_OK ? status : quipu_error_set(err, status, "%s", why.message);
}

static enum quipu_status indexes_check(struct verify_run *run, struct quipu_error *err)
{
    uint64_t problems = 0;
    struct quipu_error why = {0};
    enum quipu_status status = quipu_store_check_indexes(run->engine->store, index_problem,
                                                         index_progress, run, &problems, &why);
    if (status == QUIPU_CORRUPT) {
        /* Either its findings were noted one by one, or it could not go on. */
        if (problems == 0) {
            verify_problem(run, 0, "%s", why.message);
        }
        return QUIPU_OK;
    }
    return status == QUIPU_OK ? ids_check(run, problems == 0, err)
                              : quipu_error_set(err, status, "%s", why.message);
}

static enum quipu_status values_check(struct verify_run *run, struct quipu_error *err)
{
    enum quipu_status status = run_begin(run, err);
    if (status == QUIPU_OK) {
        status = log_check(run, err);
    }
    if (status == QUIPU_OK) {
        verify_tell(run, "indexes", 0, run->end);
        status = indexes_check(run, err);
    }
    if (status == QUIPU_OK) {
        status = verify_tables(run, err);
    }
    if (status == QUIPU_OK) {
        verify_tell(run, "tables", 0, 0);
    }
    return status;
}

static enum quipu_status run_all(struct verify_run *run, struct quipu_error *err)
{
    bool is_safe = false;
    enum quipu_status status = pages_check(run, &is_safe, err);
    if (status == QUIPU_OK && is_safe) {
        status = values_check(run, err);
    }
    if (status != QUIPU_OK || run->report.problems == 0) {
        return status;
    }
    if (run->report.problems == 1) {
        return quipu_error_set(err, QUIPU_CORRUPT, "%s", run->first.message);
    }
    return quipu_error_set(err, QUIPU_CORRUPT, "%s (and %" PRIu64 " more)", run->first.message,
                           run->report.problems - 1);
}

enum quipu_status quipu_verify(struct quipu_engine *engine,
                               const struct quipu_verify_options *options,
                               struct quipu_verify_report *report, struct quipu_error *err)
{
    if (options != NULL && options->size != sizeof *options) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "verify options: size %zu, expected %zu; start from "
                               "QUIPU_VERIFY_OPTIONS_INIT",
                               options->size, sizeof *options);
    }
    struct verify_run *run = quipu_alloc_zero(1, sizeof *run);
    if (run == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "verify: out of memory");
    }
    run->engine = engine;
    if (options != NULL) {
        run->options = *options;
    }
    enum quipu_status status = run_all(run, err);
    if (report != NULL && (status == QUIPU_OK || status == QUIPU_CORRUPT)) {
        *report = run->report;
    }
    quipu_free(run->sources);
    quipu_free(run);
    return status;
}

/*
 * The walk over the pages of the data file: it finds nothing in sound ones, however others append
 * and merge meanwhile, and names what is wrong in a damaged one without ending the process; opening
 * refuses what it would have stumbled over, and repair mends what derives.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "data_file.h"
#include "store_fixture.h"
#include "upkeep.h"

#define EVENTS     300
#define PAGE_BYTES 4096

static struct fixture fixture;
static struct quipu_store_tuning tuning;

static void set_up(void)
{
    tuning = tuning_small();
    fixture_init(&fixture, &tuning);
}

static void tear_down(void)
{
    fixture_release(&fixture);
}

TestSuite(store_pages, .init = set_up, .fini = tear_down);

/* ------------------------------------------------------------------ what is told */

struct told {
    uint64_t lines;
    uint64_t position; /* of the first one */
    char line[QUIPU_ERROR_MESSAGE_BYTES];
    bool stops;
};

static bool note(void *ctx, uint64_t position, const char *line)
{
    struct told *told = ctx;
    if (told->lines == 0) {
        told->position = position;
        (void)snprintf(told->line, sizeof told->line, "%s", line);
    }
    told->lines++;
    return !told->stops;
}

static struct quipu_pages_report check(struct quipu_store *store, struct told *told)
{
    struct quipu_pages_report report = {.is_safe = false};
    struct quipu_error err;
    enum quipu_status status = quipu_store_check_pages(store, note, NULL, told, &report, &err);
    cr_assert_eq(status, QUIPU_OK, "%s", err.message);
    return report;
}

static uint64_t assert_sound(struct quipu_store *store)
{
    struct told told = {.lines = 0};
    struct quipu_pages_report report = check(store, &told);
    cr_assert_eq(report.problems, 0, "%s", told.line);
    cr_assert_eq(told.lines, 0);
    cr_assert(report.is_safe);
    return report.pages;
}

/* ------------------------------------------------------------------ the file, while it is closed
 */

static int open_file(void)
{
    char path[3 * TEMP_DIR_BYTES];
    (void)snprintf(path, sizeof path, "%s/data.mdb", fixture.path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    return fd;
}

static uint64_t file_bytes(void)
{
    struct stat info;
    int fd = open_file();
    cr_assert_eq(fstat(fd, &info), 0);
    (void)close(fd); /* was only read */
    return (uint64_t)info.st_size;
}

static void flip(uint64_t offset, uint8_t mask)
{
    uint8_t byte = 0;
    int fd = open_file();
    cr_assert_eq(pread(fd, &byte, 1, (off_t)offset), 1);
    byte ^= mask;
    cr_assert_eq(pwrite(fd, &byte, 1, (off_t)offset), 1);
    cr_assert_eq(close(fd), 0);
}

/* Where the newer meta page is. */
static uint64_t meta_at(void)
{
    uint64_t txn[2];
    int fd = open_file();
    for (uint64_t i = 0; i < 2; i++) {
        cr_assert_eq(quipu_data_read(fd, i * PAGE_BYTES + DATA_PAGE_HEADER_BYTES + 128, &txn[i], 8),
                     0);
    }
    (void)close(fd); /* was only read */
    return txn[1] > txn[0] ? PAGE_BYTES : 0;
}

/* Open, check, close. False: it does not open. */
static bool look(struct told *told, struct quipu_pages_report *report)
{
    struct quipu_store *store = NULL;
    struct quipu_error err;
    enum quipu_status status = quipu_store_open_tuned(fixture.path, NULL, &tuning, &store, &err);
    if (status != QUIPU_OK) {
        cr_assert_eq(status, QUIPU_CORRUPT, "%s", err.message);
        cr_assert(strstr(err.message, "backup") != NULL || strstr(err.message, "repair") != NULL,
                  "says no cure: %s", err.message);
        return false;
    }
    *report = check(store, told);
    quipu_store_close(&store);
    return true;
}

/* The first page of this tree that can be damaged with the store still opening; 0: none. */
static uint64_t find_page(const char *of, struct told *told, struct quipu_pages_report *report)
{
    uint64_t pages = file_bytes() / PAGE_BYTES;
    for (uint64_t page = 2; page < pages; page++) {
        *told = (struct told){.lines = 0};
        flip(page * PAGE_BYTES + DATA_PAGE_LOWER_AT, 0x10);
        bool has_opened = look(told, report);
        flip(page * PAGE_BYTES + DATA_PAGE_LOWER_AT, 0x10);
        if (has_opened && strstr(told->line, of) != NULL) {
            return page;
        }
    }
    return 0;
}

/* ------------------------------------------------------------------ sound stores */

Test(store_pages, finds_nothing_in_sound_stores)
{
    assert_sound(fixture.store);
    for (uint64_t from = 0; from < EVENTS; from += 60) {
        samples_commit(fixture.store, from, from + 60, 7);
        assert_sound(fixture.store);
    }
    uint64_t pages = assert_sound(fixture.store);
    quipu_store_close(&fixture.store);
    cr_assert_eq(pages + 2, file_bytes() / PAGE_BYTES, "every page is used or free");
    cr_assert_eq(quipu_store_compact(fixture.path, NULL, NULL, NULL), QUIPU_OK);
    fixture_reopen(&fixture, &tuning);
    cr_assert_lt(assert_sound(fixture.store), pages);
    quipu_store_close(&fixture.store);
    cr_assert_eq(quipu_store_repair(fixture.path, NULL, NULL, NULL), QUIPU_OK);
    fixture_reopen(&fixture, &tuning);
    assert_sound(fixture.store);
}

Test(store_pages, finds_nothing_in_large_values_and_deep_trees)
{
    struct quipu_table table = {0x1000};
    uint8_t key[QUIPU_TABLE_KEY_BYTES_MAX] = {0};
    uint8_t *value = calloc(1, 200000);
    struct quipu_txn *txn = NULL;
    cr_assert_eq(quipu_txn_begin_write(fixture.store, &txn, NULL), QUIPU_OK);
    for (uint64_t i = 0; i < 500; i++) {
        key[0] = (uint8_t)(i * 37);
        key[1] = (uint8_t)i;
        key[2] = (uint8_t)(i >> 8);
        size_t bytes = i % 50 == 0 ? (size_t)(100000 + i) : (size_t)i;
        /* Once more with less: a run of pages that is longer than it need be. */
        for (size_t part = 1; part <= 2; part++) {
            cr_assert_eq(quipu_txn_table_put(txn, table, quipu_slice(key, 100 + i % 400),
                                             quipu_slice(value, bytes / part), NULL),
                         QUIPU_OK);
        }
    }
    cr_assert_eq(quipu_txn_commit(&txn, NULL), QUIPU_OK);
    assert_sound(fixture.store);
    cr_assert_eq(quipu_txn_begin_write(fixture.store, &txn, NULL), QUIPU_OK);
    cr_assert_eq(quipu_txn_table_clear(txn, table, NULL), QUIPU_OK);
    cr_assert_eq(quipu_txn_commit(&txn, NULL), QUIPU_OK);
    assert_sound(fixture.store);
    free(value);
}

Test(store_pages, finds_nothing_while_another_process_appends_and_merges, .timeout = 300)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct quipu_store *store = NULL;
        if (quipu_store_open_tuned(fixture.path, NULL, &tuning, &store, NULL) != QUIPU_OK) {
            _exit(2);
        }
        samples_commit(store, 0, 4 * EVENTS, 2);
        quipu_store_close(&store);
        _exit(0);
    }
    int status = -1;
    uint64_t moved = 0;
    uint64_t before = 0;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        uint64_t pages = assert_sound(fixture.store);
        moved += pages != before;
        before = pages;
    }
    cr_assert_eq(status, 0);
    cr_assert_gt(moved, 3);
    cr_assert_eq(last_position_of(fixture.store), 4 * EVENTS);
}

/* ------------------------------------------------------------------ damaged ones */

Test(store_pages, finds_every_page_in_use_whose_number_is_another)
{
    samples_commit(fixture.store, 0, EVENTS, 5);
    quipu_store_close(&fixture.store);
    uint64_t found = 0;
    uint64_t refused = 0;
    uint64_t named = 0;
    for (uint64_t page = 0; page < file_bytes() / PAGE_BYTES; page++) {
        struct told told = {.lines = 0};
        struct quipu_pages_report report;
        flip(page * PAGE_BYTES, 1);
        if (!look(&told, &report)) {
            refused++;
        } else if (report.problems > 0) {
            char number[32];
            (void)snprintf(number, sizeof number, "page %llu of ", (unsigned long long)page);
            found++;
            cr_assert_eq(strncmp(told.line, number, strlen(number)), 0, "%s", told.line);
            bool is_of_log = strstr(told.line, " of log, position") != NULL;
            cr_assert_eq(is_of_log, told.position != 0, "%s", told.line);
            named += is_of_log;
            /* Only writing looks at the list of free pages. */
            cr_assert_eq(report.is_safe, strstr(told.line, "free pages") != NULL, "%s", told.line);
        }
        flip(page * PAGE_BYTES, 1);
    }
    cr_assert_gt(refused, 3, "%llu", (unsigned long long)refused);
    cr_assert_gt(found, 20, "%llu", (unsigned long long)found);
    cr_assert_gt(named, 10, "%llu", (unsigned long long)named);
    fixture_reopen(&fixture, &tuning);
    assert_sound(fixture.store);
}

Test(store_pages, stops_when_told_to)
{
    samples_commit(fixture.store, 0, EVENTS, 5);
    quipu_store_close(&fixture.store);
    struct told told;
    struct quipu_pages_report report;
    uint64_t pages[2] = {find_page(" of log, position", &told, &report),
                         find_page(" of head", &told, &report)};
    cr_assert(pages[0] > 0 && pages[1] > 0);
    for (size_t i = 0; i < 2; i++) {
        flip(pages[i] * PAGE_BYTES + DATA_PAGE_LOWER_AT, 0x10);
    }
    told = (struct told){.lines = 0};
    cr_assert(look(&told, &report));
    cr_assert_eq(told.lines, 2);
    told = (struct told){.stops = true};
    cr_assert(look(&told, &report));
    cr_assert_eq(told.lines, 1);
    for (size_t i = 0; i < 2; i++) {
        flip(pages[i] * PAGE_BYTES + DATA_PAGE_LOWER_AT, 0x10);
    }
    fixture_reopen(&fixture, &tuning);
    assert_sound(fixture.store);
}

Test(store_pages, repair_refuses_a_damaged_log_and_leaves_it)
{
    samples_commit(fixture.store, 0, EVENTS, 5);
    quipu_store_close(&fixture.store);
    struct told told;
    struct quipu_pages_report report;
    uint64_t page = find_page(" of log, position", &told, &report);
    cr_assert_gt(page, 0);
    cr_assert(!report.is_safe);
    cr_assert_eq(report.mendable, 0);
    struct quipu_error err;
    flip(page * PAGE_BYTES + DATA_PAGE_LOWER_AT, 0x10);
    cr_assert_eq(quipu_store_repair(fixture.path, NULL, NULL, &err), QUIPU_CORRUPT);
    cr_assert(strstr(err.message, "of log, position") != NULL, "%s", err.message);
    flip(page * PAGE_BYTES + DATA_PAGE_LOWER_AT, 0x10);
    fixture_reopen(&fixture, &tuning);
    assert_sound(fixture.store);
    cr_assert_eq(last_position_of(fixture.store), EVENTS);
}

Test(store_pages, repair_mends_pages_of_what_derives)
{
    static const char *const trees[] = {" of head", " of cidrun", " of eidrun", " of termrun",
                                        "free pages"};
    samples_commit(fixture.store, 0, EVENTS, 5);
    for (size_t i = 0; i < sizeof trees / sizeof trees[0]; i++) {
        struct told told;
        struct quipu_pages_report report;
        quipu_store_close(&fixture.store);
        uint64_t page = find_page(trees[i], &told, &report);
        cr_assert_gt(page, 0, "%s", trees[i]);
        cr_assert_eq(report.mendable, report.problems, "%s", told.line);
        flip(page * PAGE_BYTES + DATA_PAGE_LOWER_AT, 0x10);
        cr_assert_eq(quipu_store_repair_tuned(fixture.path, &tuning, NULL, NULL, NULL), QUIPU_OK);
        fixture_reopen(&fixture, &tuning);
        assert_sound(fixture.store);
        cr_assert_eq(problems_of(fixture.store), 0);
        cr_assert_eq(last_position_of(fixture.store), EVENTS);
        /* So that there is a list of free pages again. */
        struct quipu_txn *txn = NULL;
        for (uint8_t row = 0; row < 3; row++) {
            cr_assert_eq(quipu_txn_begin_write(fixture.store, &txn, NULL), QUIPU_OK);
            cr_assert_eq(quipu_txn_table_put(txn, (struct quipu_table){0x1000},
                                             quipu_slice(&row, 1), quipu_slice(&row, 1), NULL),
                         QUIPU_OK);
            cr_assert_eq(quipu_txn_commit(&txn, NULL), QUIPU_OK);
        }
    }
}

Test(store_pages, finds_pages_that_nobody_leads_to)
{
    samples_commit(fixture.store, 0, EVENTS, 5);
    quipu_store_close(&fixture.store);
    uint64_t bytes = file_bytes();
    uint64_t at = meta_at() + DATA_PAGE_HEADER_BYTES + 120;
    uint64_t last = 0;
    int fd = open_file();
    cr_assert_eq(quipu_data_read(fd, at, &last, sizeof last), 0);
    last += 3;
    cr_assert_eq(pwrite(fd, &last, sizeof last, (off_t)at), 8);
    cr_assert_eq(ftruncate(fd, (off_t)(bytes + UINT64_C(3) * PAGE_BYTES)), 0);
    cr_assert_eq(close(fd), 0);
    struct told told = {.lines = 0};
    struct quipu_pages_report report;
    cr_assert(look(&told, &report));
    cr_assert_eq(report.problems, 1);
    cr_assert_eq(report.mendable, 1);
    cr_assert(report.is_safe);
    cr_assert(strstr(told.line, "3 of ") != NULL, "%s", told.line);
    cr_assert_eq(quipu_store_repair(fixture.path, NULL, NULL, NULL), QUIPU_OK);
    fixture_reopen(&fixture, &tuning);
    assert_sound(fixture.store);
}

Test(store_pages, finds_meta_pages_that_cannot_be_neighbours)
{
    samples_commit(fixture.store, 0, EVENTS, 5);
    quipu_store_close(&fixture.store);
    /* The older one says that it is much newer: the state before the last commit would be read. */
    uint64_t at = PAGE_BYTES - meta_at() + DATA_PAGE_HEADER_BYTES + 128;
    flip(at + 2, 1);
    struct told told = {.lines = 0};
    struct quipu_pages_report report;
    cr_assert(!look(&told, &report), "%s", told.line);
    flip(at + 2, 1);
    fixture_reopen(&fixture, &tuning);
    assert_sound(fixture.store);
}

/*
 * The scrub and the structure of LMDB's pages: damage is found before anything is read over it,
 * with the positions where it is of the log, and what derives is said to be mendable and is.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine_kit.h"

static struct kit kit;

static void setup(void)
{
    kit_open(&kit);
}

static void teardown(void)
{
    kit_close(&kit);
}

TestSuite(verify_pages, .init = setup, .fini = teardown);

#define PAGE_BYTES   4096
#define NODES_AT     12 /* in a page's header: how far its pointers to nodes go */
#define PAGES_EVENTS 400

static void flip(uint64_t offset, uint8_t mask)
{
    char path[4 * TEMP_DIR_BYTES];
    uint8_t byte = 0;
    (void)snprintf(path, sizeof path, "%s/data.mdb", kit.path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    cr_assert_eq(pread(fd, &byte, 1, (off_t)offset), 1);
    byte ^= mask;
    cr_assert_eq(pwrite(fd, &byte, 1, (off_t)offset), 1);
    cr_assert_eq(close(fd), 0);
}

static uint64_t pages_of_file(void)
{
    char path[4 * TEMP_DIR_BYTES];
    struct stat info;
    (void)snprintf(path, sizeof path, "%s/data.mdb", kit.path);
    cr_assert_eq(stat(path, &info), 0);
    return (uint64_t)info.st_size / PAGE_BYTES;
}

/* Damage one page after the other until verify says these words of it; the kit's store is closed.
 * The page is left damaged. */
static struct kit_findings damage_page(const char *words, struct quipu_verify_report *report)
{
    struct kit_findings findings = {.count = 0};
    struct quipu_verify_options options = QUIPU_VERIFY_OPTIONS_INIT;
    options.problem = kit_note_problem;
    options.ctx = &findings;
    uint64_t pages = pages_of_file();
    for (uint64_t page = 2; page < pages; page++) {
        findings = (struct kit_findings){.count = 0};
        flip(page * PAGE_BYTES + NODES_AT, 0x10);
        if (quipu_store_open(kit.path, NULL, &kit.store, NULL) == QUIPU_OK) {
            kit_assert_ok(&kit, quipu_engine_open(kit.store, NULL, &kit.engine, &kit.err));
            enum quipu_status status = quipu_verify(kit.engine, &options, report, &kit.err);
            kit_shut(&kit);
            if (status == QUIPU_CORRUPT && strstr(findings.text, words) != NULL) {
                return findings;
            }
        }
        flip(page * PAGE_BYTES + NODES_AT, 0x10);
    }
    cr_assert(false, "no page of which it says '%s'", words);
    return findings;
}

Test(verify_pages, finds_a_damaged_page_of_the_log_before_anything_reads_over_it)
{
    for (int i = 0; i < PAGES_EVENTS; i++) {
        kit_append(&kit, "a", i);
    }
    kit_shut(&kit);

    struct quipu_verify_report report = {.events = 99};
    struct kit_findings findings = damage_page(" of log, positions ", &report);

    cr_assert_eq(strncmp(findings.text, "position ", 9), 0, "%s", findings.text);
    cr_assert_not_null(strstr(findings.text, "was not looked at"), "%s", findings.text);
    cr_assert_gt(findings.first_position, 0);
    cr_assert_eq(report.events, 0, "nothing is read on");
    cr_assert_gt(report.pages, 10);
    cr_assert_eq(report.problems, 2);
    cr_assert_eq(report.mendable, 0);
    cr_assert_eq(quipu_store_repair(kit.path, NULL, NULL, &kit.err), QUIPU_CORRUPT);
}

Test(verify_pages, finds_a_damaged_page_that_can_be_made_again)
{
    for (int i = 0; i < PAGES_EVENTS; i++) {
        kit_append(&kit, "a", i);
    }
    kit_shut(&kit);

    struct quipu_verify_report report = {.events = 99};
    (void)damage_page(" of head", &report); /* what it says is in the report */

    cr_assert_eq(report.problems, 2);
    cr_assert_eq(report.mendable, report.problems);
    kit_assert_ok(&kit, quipu_store_repair(kit.path, NULL, NULL, &kit.err));
    kit_reopen(&kit);
    kit_assert_sound(&kit, PAGES_EVENTS);
}

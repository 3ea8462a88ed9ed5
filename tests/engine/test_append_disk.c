/*
 * What an append acknowledges, and the disk: this program stands in for the system's fdatasync and
 * writing calls, counts the first and lets either fail. A duplicate is acknowledged only when it is
 * on the disk, also where another process wrote it relaxed; and where a write landed but was said
 * to have failed, the event may be stored or not, and appending it again gives it once.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fork_kit.h"

static struct {
    long syncs;         /* calls of fdatasync */
    bool fails_syncs;   /* all of them */
    bool is_armed;      /* one write is to land and be called a failure, those behind it fail */
    long writes_before; /* that go well until then */
    long failures;
} disk;

static struct kit kit;

int fdatasync(int fd)
{
    disk.syncs++;
    if (disk.fails_syncs) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

/* 0: pass on; 1: pass on and then fail; -1: fail at once. */
static int fate(void)
{
    if (!disk.is_armed || disk.writes_before-- > 0) {
        return 0;
    }
    return disk.failures++ == 0 ? 1 : -1;
}

static ssize_t answer(int what, ssize_t done)
{
    if (what != 0) {
        errno = EIO;
        return -1;
    }
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
    int what = fate();
    return answer(what, what < 0 ? -1 : syscall(SYS_pwrite64, fd, data, bytes, offset));
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    int what = fate();
    return answer(what, what < 0 ? -1 : syscall(SYS_writev, fd, parts, count));
}

static void setup(void)
{
    kit_open(&kit);
}

static void teardown(void)
{
    kit_close(&kit);
}

TestSuite(append_disk, .init = setup, .fini = teardown);

static enum quipu_status append_x(uint8_t id, struct quipu_appended *out)
{
    struct quipu_event event = kit_event(&kit, "x", id);
    event.event_id = kit_uuid(id);
    return quipu_append(kit.engine, &event, out, &kit.err);
}

/* Another process appends event `id` relaxed, and ends. */
static void append_relaxed_elsewhere(uint8_t id)
{
    (void)fflush(NULL);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        struct quipu_store_options options = QUIPU_STORE_OPTIONS_INIT;
        struct quipu_appended appended;
        options.durability = QUIPU_RELAXED;
        kit.random_state += id;
        bool is_good = quipu_store_open(kit.path, &options, &kit.store, &kit.err) == QUIPU_OK &&
                       quipu_engine_open(kit.store, NULL, &kit.engine, &kit.err) == QUIPU_OK &&
                       append_x(id, &appended) == QUIPU_OK && !appended.was_duplicate;
        quipu_engine_close(&kit.engine);
        quipu_store_close(&kit.store);
        _exit(is_good ? 0 : 1);
    }
    int how = -1;
    cr_assert_eq(waitpid(pid, &how, 0), pid);
    cr_assert(WIFEXITED(how) && WEXITSTATUS(how) == 0);
}

/* The syncs that appending `id` takes, which is there. */
static long syncs_of_duplicate(uint8_t id)
{
    struct quipu_appended appended;
    long before = disk.syncs;
    kit_assert_ok(&kit, append_x(id, &appended));
    cr_assert(appended.was_duplicate);
    return disk.syncs - before;
}

Test(append_disk, syncs_before_it_acknowledges_what_another_process_wrote_relaxed)
{
    append_relaxed_elsewhere(1);
    cr_assert_eq(syncs_of_duplicate(1), 1);
    cr_assert_eq(syncs_of_duplicate(1), 0, "it is on the disk since");
    append_relaxed_elsewhere(2);
    cr_assert_eq(syncs_of_duplicate(2), 1);
}

Test(append_disk, asks_for_no_sync_again_where_this_process_has_written_and_synced)
{
    struct quipu_appended appended;
    append_relaxed_elsewhere(1);
    kit_assert_ok(&kit, append_x(2, &appended));
    cr_assert_eq(syncs_of_duplicate(2), 0);
    cr_assert_eq(syncs_of_duplicate(1), 0, "its commit is behind that of the other");
    kit_reopen(&kit);
    cr_assert_eq(syncs_of_duplicate(2), 1, "who opens the store knows of nobody's syncs");
}

Test(append_disk, acknowledges_no_duplicate_that_cannot_be_synced)
{
    struct quipu_appended appended;
    append_relaxed_elsewhere(1);
    disk.fails_syncs = true;
    cr_assert_eq(append_x(1, NULL), QUIPU_IO);
    disk.fails_syncs = false;
    cr_assert_eq(append_x(1, NULL), QUIPU_IO, "a second sync proves nothing");
    kit_assert_ok(&kit, append_x(2, &appended));
    cr_assert_eq(syncs_of_duplicate(1), 0);
    kit_assert_sound(&kit, 2);
}

Test(append_disk, syncs_nothing_in_a_relaxed_store)
{
    struct quipu_store_options options = QUIPU_STORE_OPTIONS_INIT;
    append_relaxed_elsewhere(1);
    kit_shut(&kit);
    options.durability = QUIPU_RELAXED;
    kit_assert_ok(&kit, quipu_store_open(kit.path, &options, &kit.store, &kit.err));
    kit_assert_ok(&kit, quipu_engine_open(kit.store, NULL, &kit.engine, &kit.err));
    cr_assert_eq(syncs_of_duplicate(1), 0);
}

/* ------------------------------------------------------------------ ingest and merge */

/* Take the first event in once more: it is known. */
static enum quipu_status ingest_first(bool has_row, struct quipu_ingest_report *report)
{
    struct kit_foreign event;
    struct quipu_ingest *ingest = NULL;
    kit_foreign_copy(&kit, 1, &event);
    kit_assert_ok(&kit, quipu_ingest_begin(kit.engine, QUIPU_INGEST_STRICT, &ingest, &kit.err));
    kit_assert_ok(&kit, quipu_ingest_event(ingest, &event.foreign, NULL, &kit.err));
    if (has_row) {
        kit_assert_ok(&kit, quipu_txn_table_put(
                                quipu_ingest_txn(ingest), (struct quipu_table){0x00fffff0},
                                quipu_slice_text("key"), quipu_slice_text("value"), &kit.err));
    }
    kit_foreign_release(&event);
    return quipu_ingest_commit(&ingest, report, &kit.err);
}

/* The syncs that this takes. */
static long syncs_of_known(bool has_row)
{
    struct quipu_ingest_report report = {0};
    long before = disk.syncs;
    kit_assert_ok(&kit, ingest_first(has_row, &report));
    cr_assert_eq(report.known, 1u);
    cr_assert_eq(report.added, 0u);
    return disk.syncs - before;
}

Test(append_disk, syncs_before_it_calls_a_foreign_event_known_that_was_written_relaxed)
{
    append_relaxed_elsewhere(1);
    cr_assert_eq(syncs_of_known(false), 1);
    cr_assert_eq(syncs_of_known(false), 0, "it is on the disk since");
    append_relaxed_elsewhere(2);
    cr_assert_eq(syncs_of_known(true), 1, "the commit of the row is a sync");
    cr_assert_eq(syncs_of_known(false), 0);
}

Test(append_disk, calls_no_foreign_event_known_that_cannot_be_synced)
{
    struct quipu_ingest_report report = {0};
    struct quipu_appended appended;
    append_relaxed_elsewhere(1);
    disk.fails_syncs = true;
    cr_assert_eq(ingest_first(false, &report), QUIPU_IO);
    disk.fails_syncs = false;
    cr_assert_eq(ingest_first(false, &report), QUIPU_IO, "a second sync proves nothing");
    cr_assert_eq(ingest_first(true, &report), QUIPU_IO, "nor does a row");
    kit_assert_ok(&kit, append_x(2, &appended));
    cr_assert_eq(syncs_of_known(false), 0);
    kit_assert_sound(&kit, 2);
}

static enum quipu_status merge_x(struct quipu_merged *merged)
{
    struct quipu_event event = kit_event(&kit, "x", 9);
    event.event_id = kit_uuid(9);
    return quipu_merge(kit.engine, &event, merged, &kit.err);
}

/* Another process merges the branches of "x" relaxed, and ends. */
static void merge_relaxed_elsewhere(void)
{
    (void)fflush(NULL);
    kit_shut(&kit);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        struct quipu_store_options options = QUIPU_STORE_OPTIONS_INIT;
        struct quipu_merged merged;
        options.durability = QUIPU_RELAXED;
        bool is_good = quipu_store_open(kit.path, &options, &kit.store, &kit.err) == QUIPU_OK &&
                       quipu_engine_open(kit.store, NULL, &kit.engine, &kit.err) == QUIPU_OK &&
                       merge_x(&merged) == QUIPU_OK && merged.tips_joined == 2;
        quipu_engine_close(&kit.engine);
        quipu_store_close(&kit.store);
        _exit(is_good ? 0 : 1);
    }
    int how = -1;
    cr_assert_eq(waitpid(pid, &how, 0), pid);
    cr_assert(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    kit_reopen(&kit);
}

Test(append_disk, syncs_before_it_answers_a_merge_that_was_written_relaxed)
{
    struct kit other;
    struct quipu_merged merged;
    kit_open(&other);
    other.random_state = 1000;
    kit_append(&kit, "x", 1);
    kit_append(&other, "x", 2);
    fork_kit_take_all(&kit, &other);
    kit_close(&other);
    merge_relaxed_elsewhere();

    disk.fails_syncs = true;
    cr_assert_eq(merge_x(&merged), QUIPU_IO);
    disk.fails_syncs = false;
    kit_reopen(&kit);
    long before = disk.syncs;
    kit_assert_ok(&kit, merge_x(&merged));
    cr_assert(merged.event.was_duplicate);
    cr_assert_eq(merged.tips_joined, 0u);
    cr_assert_eq(disk.syncs - before, 1);
    kit_assert_ok(&kit, merge_x(&merged));
    cr_assert_eq(disk.syncs - before, 1, "it is on the disk since");
}

/* ------------------------------------------------------------------ a write that lies */

/* How many events there are. */
static uint64_t events_of(void)
{
    struct quipu_txn *txn = NULL;
    kit_assert_ok(&kit, quipu_txn_begin_read(kit.store, &txn, &kit.err));
    uint64_t events = quipu_txn_last_position(txn);
    quipu_txn_abort(&txn);
    return events;
}

Test(append_disk, stores_an_event_once_where_a_write_landed_and_was_said_to_have_failed)
{
    bool has_been_stored = false;
    bool has_been_lost = false;
    struct quipu_appended appended;
    kit_append(&kit, "a", 1);
    /* A commit takes two to four writes, by how its pages lie; the last is the one that counts. */
    for (uint8_t n = 0; n < 32; n++) {
        uint8_t id = (uint8_t)(n + 1);
        uint64_t before = events_of();
        disk.is_armed = true;
        disk.writes_before = n % 4;
        disk.failures = 0;
        enum quipu_status status = append_x(id, &appended);
        disk.is_armed = false;
        if (disk.failures == 0) {
            kit_assert_ok(&kit, status);
            continue;
        }
        cr_assert_eq(status, QUIPU_IO, "write %d: %s", n, kit.err.message);
        cr_assert_not_null(strstr(kit.err.message, "may or may not be stored"), "%s",
                           kit.err.message);
        cr_assert(kit.err.is_unsure);
        if (n % 8 < 4) {
            kit_reopen(&kit); /* and where the same process goes on */
        }
        bool is_stored = events_of() == before + 1;
        cr_assert(is_stored || events_of() == before, "write %d", n);
        has_been_stored = has_been_stored || is_stored;
        has_been_lost = has_been_lost || !is_stored;
        kit_assert_ok(&kit, append_x(id, &appended));
        cr_assert_eq(appended.was_duplicate, is_stored, "write %d", n);
        kit_assert_sound(&kit, before + 1);
    }
    cr_assert(has_been_stored, "the page that counts was never the one");
    cr_assert(has_been_lost);
}

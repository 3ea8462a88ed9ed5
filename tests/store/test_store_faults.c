/*
 * A disk that fails: the n-th write, the n-th short write, the n-th sync, once or from then on.
 * This program defines the system's writing calls itself, so that LMDB calls these; they pass
 * everything on, but for the one that is to fail.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "store_fixture.h"

enum fault_kind { FAULT_NONE = 0, FAULT_WRITE, FAULT_SHORT, FAULT_SYNC };

static struct {
    enum fault_kind kind;
    long left; /* calls until it fails */
    bool is_lasting;
    long failures;
} fault;

static bool is_due(enum fault_kind kind)
{
    if (fault.kind != kind || (fault.failures > 0 && !fault.is_lasting)) {
        return false;
    }
    if (fault.left > 0) {
        fault.left--;
        return false;
    }
    fault.failures++;
    return true;
}

/* What is to be written of `bytes`: all, about half, or nothing (-1, with errno). */
static ssize_t allowed(size_t bytes)
{
    if (is_due(FAULT_WRITE)) {
        errno = EIO;
        return -1;
    }
    return is_due(FAULT_SHORT) ? (ssize_t)(bytes / 2) : (ssize_t)bytes;
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
    ssize_t allow = allowed(bytes);
    return allow < 0 ? -1 : syscall(SYS_pwrite64, fd, data, (size_t)allow, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    size_t bytes = 0;
    for (int i = 0; i < count; i++) {
        bytes += parts[i].iov_len;
    }
    ssize_t allow = allowed(bytes);
    if (allow < 0 || (size_t)allow < bytes) {
        return allow < 0 ? -1 : syscall(SYS_writev, fd, parts, count / 2);
    }
    return syscall(SYS_writev, fd, parts, count);
}

int fdatasync(int fd)
{
    if (is_due(FAULT_SYNC)) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

/* Append in batches of 3 until one fails or `batches` are done; `*acked` is the last position that
 * was acknowledged. */
static enum quipu_status append_batches(struct quipu_store *store, int batches, uint64_t *acked,
                                        struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    for (int i = 0; i < batches && status == QUIPU_OK; i++) {
        struct quipu_txn *txn = NULL;
        uint64_t position = *acked;
        status = quipu_txn_begin_write(store, &txn, err);
        for (int k = 0; k < 3 && status == QUIPU_OK; k++) {
            struct sample sample;
            sample_make(&sample, position, 10, true);
            status = sample_append(txn, &sample, &position, err);
        }
        if (status == QUIPU_OK) {
            status = quipu_txn_commit(&txn, err);
        }
        quipu_txn_abort(&txn);
        *acked = status == QUIPU_OK ? position : *acked;
    }
    return status;
}

/* False where the fault was never reached. */
static bool run_with_fault(enum fault_kind kind, long n, bool is_lasting)
{
    struct fixture fixture;
    struct quipu_store_tuning tuning = tuning_small();
    struct quipu_error err;
    uint64_t acked = 0;
    fixture_init(&fixture, &tuning);
    cr_assert_eq(append_batches(fixture.store, 3, &acked, &err), QUIPU_OK);

    fault.kind = kind;
    fault.left = n;
    fault.is_lasting = is_lasting;
    fault.failures = 0;
    enum quipu_status status = append_batches(fixture.store, 9, &acked, &err);
    long failures = fault.failures;
    fault.kind = FAULT_NONE;

    if (failures == 0) {
        cr_assert_eq(status, QUIPU_OK, "%s", err.message);
    } else {
        cr_assert_eq(status, QUIPU_IO, "kind %d, call %ld: %s", (int)kind, n,
                     quipu_status_name(status));
    }
    /* The same process goes on, with what was acknowledged and nothing else. */
    cr_assert_eq(last_position_of(fixture.store), acked, "kind %d, call %ld", (int)kind, n);
    cr_assert_eq(problems_of(fixture.store), 0);
    cr_assert_eq(append_batches(fixture.store, 4, &acked, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(problems_of(fixture.store), 0);
    fixture_reopen(&fixture, &tuning);
    cr_assert_eq(last_position_of(fixture.store), acked);
    cr_assert_eq(problems_of(fixture.store), 0);
    fixture_release(&fixture);
    return failures > 0;
}

static void sweep(enum fault_kind kind, bool is_lasting)
{
    long n = 0;
    while (run_with_fault(kind, n, is_lasting)) {
        n++;
        cr_assert_lt(n, 1000);
    }
    cr_assert_gt(n, 8, "only %ld calls", n);
}

Test(store_faults, survives_the_failure_of_every_write)
{
    sweep(FAULT_WRITE, false);
}

Test(store_faults, survives_a_disk_that_takes_no_writes_from_one_of_them_on)
{
    sweep(FAULT_WRITE, true);
}

Test(store_faults, survives_every_short_write)
{
    sweep(FAULT_SHORT, false);
}

Test(store_faults, survives_the_failure_of_every_sync)
{
    sweep(FAULT_SYNC, false);
    sweep(FAULT_SYNC, true);
}

Test(store_faults, writing_is_refused_while_a_reader_is_in_the_way_of_a_fresh_start)
{
    struct fixture fixture;
    struct quipu_store_tuning tuning = tuning_small();
    struct quipu_error err;
    struct quipu_txn *reader = NULL;
    struct quipu_record record;
    uint64_t acked = 0;
    fixture_init(&fixture, &tuning);
    cr_assert_eq(append_batches(fixture.store, 3, &acked, &err), QUIPU_OK);
    cr_assert_eq(quipu_txn_begin_read(fixture.store, &reader, NULL), QUIPU_OK);
    fault.kind = FAULT_WRITE;
    fault.failures = 0;
    cr_assert_eq(append_batches(fixture.store, 1, &acked, &err), QUIPU_IO);
    fault.kind = FAULT_NONE;

    cr_assert_eq(append_batches(fixture.store, 1, &acked, &err), QUIPU_IO);
    cr_assert(strstr(err.message, "end every transaction") != NULL, "%s", err.message);
    cr_assert_eq(quipu_txn_record_at(reader, 9, &record, NULL), QUIPU_OK);
    cr_assert_eq(last_position_of(fixture.store), 9, "reading goes on");
    quipu_txn_abort(&reader);
    cr_assert_eq(append_batches(fixture.store, 1, &acked, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(last_position_of(fixture.store), 12);
    fixture_release(&fixture);
}

/*
 * The map: how much address space is reserved where the system does not grant it all, and two
 * processes of which one grows it and the other follows.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store_fixture.h"

#define SMALL_MAP (256 << 10)
#define EVENTS    1500

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_SHADOW_MEMORY 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HAS_SHADOW_MEMORY 1
#endif
#endif

/* ------------------------------------------------------------------ reserving */

static uint64_t address_space(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%lu", &pages) != 1) {
        _exit(20);
    }
    fclose(file);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Open with so much address space left; writes, reads, and gives the map's MiB through the pipe. */
static void open_with_room(const char *path, uint64_t room, int out)
{
    struct rlimit limit;
    struct quipu_store *store = NULL;
    struct quipu_txn *txn = NULL;
    struct quipu_store_stat stat;
    struct quipu_error err;
    uint64_t map_bytes = 0;
    limit.rlim_cur = limit.rlim_max = address_space() + room;
    if (setrlimit(RLIMIT_AS, &limit) != 0) {
        _exit(21);
    }
    enum quipu_status status = quipu_store_open(path, NULL, &store, &err);
    if (status == QUIPU_OK) {
        samples_commit(store, last_position_of(store), last_position_of(store) + 10, 5);
        if (quipu_txn_begin_read(store, &txn, &err) != QUIPU_OK ||
            quipu_txn_stat(txn, &stat, &err) != QUIPU_OK) {
            _exit(22);
        }
        map_bytes = stat.map_bytes;
        quipu_txn_abort(&txn);
        if (problems_of(store) != 0) {
            _exit(23);
        }
    }
    if (write(out, &map_bytes, sizeof map_bytes) != sizeof map_bytes) {
        _exit(24);
    }
    quipu_store_close(&store);
    _exit((int)status);
}

/* The status in a child; `*map_bytes` is 0 where it could not be opened. */
static int status_with_room(const char *path, uint64_t room, uint64_t *map_bytes)
{
    int pipes[2];
    int status = -1;
    cr_assert_eq(pipe(pipes), 0);
    pid_t pid = fork();
    if (pid == 0) {
        open_with_room(path, room, pipes[1]);
    }
    close(pipes[1]);
    cr_assert_eq(read(pipes[0], map_bytes, sizeof *map_bytes), (ssize_t)sizeof *map_bytes);
    close(pipes[0]);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status), "status 0x%x", (unsigned)status);
    return WEXITSTATUS(status);
}

Test(store_map, is_halved_until_the_system_grants_it)
{
#ifdef HAS_SHADOW_MEMORY
    fprintf(stderr, "skipped: the sanitizer needs the address space\n");
    return;
#endif
    struct temp_dir dir;
    char path[2 * TEMP_DIR_BYTES];
    uint64_t map_bytes;
    temp_dir_init(&dir);
    temp_dir_join(&dir, "store", path);
    for (unsigned bits = 28; bits <= 38; bits += 2) {
        uint64_t room = UINT64_C(1) << bits;
        cr_assert_eq(status_with_room(path, room + (room >> 2), &map_bytes), QUIPU_OK);
        cr_assert_leq(map_bytes, room + (room >> 2));
        cr_assert_geq(map_bytes, room / 2, "%llu of %llu", (unsigned long long)map_bytes,
                      (unsigned long long)room);
    }
    /* Less than the least that is of use. */
    cr_assert_eq(status_with_room(path, 16 << 20, &map_bytes), QUIPU_NO_MEMORY);
    cr_assert_eq(map_bytes, 0);
    cr_assert_eq(status_with_room(path, UINT64_C(1) << 33, &map_bytes), QUIPU_OK);
    temp_dir_release(&dir);
}

/* ------------------------------------------------------------------ growing */

static struct quipu_store *open_small(const char *path)
{
    struct quipu_store_options options = QUIPU_STORE_OPTIONS_INIT;
    struct quipu_store *store = NULL;
    struct quipu_error err;
    options.map_bytes = SMALL_MAP;
    if (quipu_store_open(path, &options, &store, &err) != QUIPU_OK) {
        fprintf(stderr, "open: %s\n", err.message);
        abort();
    }
    return store;
}

static uint64_t map_bytes_of(struct quipu_store *store)
{
    struct quipu_txn *txn = NULL;
    struct quipu_store_stat stat;
    if (quipu_txn_begin_read(store, &txn, NULL) != QUIPU_OK ||
        quipu_txn_stat(txn, &stat, NULL) != QUIPU_OK) {
        abort();
    }
    quipu_txn_abort(&txn);
    return stat.map_bytes;
}

/* Append up to `last`, in transactions that are small beside the map: it is never full. How much
 * larger it has become: 1 where it is as large as before. */
static int append_until(struct quipu_store *store, uint64_t last)
{
    uint64_t before = map_bytes_of(store);
    for (uint64_t at = last_position_of(store); at < last; at += 50) {
        struct quipu_txn *txn = NULL;
        struct quipu_error err;
        enum quipu_status status = quipu_txn_begin_write(store, &txn, &err);
        for (uint64_t i = 0; i < 50 && status == QUIPU_OK; i++) {
            struct sample sample;
            uint64_t position;
            sample_make(&sample, at + i, 10, true);
            status = sample_append(txn, &sample, &position, &err);
        }
        if (status == QUIPU_OK) {
            status = quipu_txn_commit(&txn, &err);
        }
        quipu_txn_abort(&txn);
        if (status != QUIPU_OK) {
            fprintf(stderr, "append: %s\n", err.message);
            abort();
        }
    }
    return (int)(map_bytes_of(store) / before);
}

/* In the other process: append up to what the pipe says, say how much the map has grown. */
static void serve(const char *path, int in, int out)
{
    struct quipu_store *store = open_small(path);
    uint64_t last;
    while (read(in, &last, sizeof last) == sizeof last) {
        int times = append_until(store, last);
        if (problems_of(store) != 0 || write(out, &times, sizeof times) != sizeof times) {
            _exit(2);
        }
    }
    quipu_store_close(&store);
    _exit(0);
}

static int append_elsewhere(const int to[2], const int from[2], uint64_t last)
{
    int times = -1;
    cr_assert_eq(write(to[1], &last, sizeof last), (ssize_t)sizeof last);
    cr_assert_eq(read(from[0], &times, sizeof times), (ssize_t)sizeof times);
    return times;
}

Test(store_map, grows_in_one_process_and_the_other_follows)
{
    struct temp_dir dir;
    char path[2 * TEMP_DIR_BYTES];
    int to[2];
    int from[2];
    int status = -1;
    temp_dir_init(&dir);
    temp_dir_join(&dir, "store", path);
    cr_assert_eq(pipe(to), 0);
    cr_assert_eq(pipe(from), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(to[1]);
        close(from[0]);
        serve(path, to[0], from[1]);
    }
    close(to[0]);
    close(from[1]);
    struct quipu_store *store = open_small(path);
    struct quipu_txn *reading = NULL;
    struct quipu_txn *txn = NULL;
    struct quipu_error err;

    /* They grow it; a snapshot from before stays readable, a new one has to wait for its end. */
    cr_assert_eq(append_elsewhere(to, from, 50), 1);
    cr_assert_eq(quipu_txn_begin_read(store, &reading, &err), QUIPU_OK, "%s", err.message);
    cr_assert_gt(append_elsewhere(to, from, EVENTS), 1);
    cr_assert_eq(quipu_txn_last_position(reading), 50);
    struct quipu_record record;
    cr_assert_eq(quipu_txn_record_at(reading, 50, &record, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(quipu_txn_begin_read(store, &txn, &err), QUIPU_BUSY);
    cr_assert_not_null(strstr(err.message, "has outgrown the map"), "%s", err.message);
    quipu_txn_abort(&reading);
    cr_assert_eq(last_position_of(store), EVENTS);
    cr_assert_eq(problems_of(store), 0);

    /* We grow it further, and they follow with a write. */
    cr_assert_gt(append_until(store, 4 * EVENTS), 1);
    (void)append_elsewhere(to, from, 4 * EVENTS + 50);
    cr_assert_eq(last_position_of(store), 4 * EVENTS + 50);
    cr_assert_eq(problems_of(store), 0);
    quipu_store_close(&store);
    close(to[1]);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0);
    close(from[0]);
    temp_dir_release(&dir);
}

/* ------------------------------------------------------------------ where it cannot grow */

enum { LARGE_MAP = 16 << 20, ROOM = 12 << 20 };

/* A map that the system does not let grow is used to its end, and then the line says why. Exit
 * status: what was wrong. */
static void fill_with_room(const char *path)
{
    struct quipu_store_options options = QUIPU_STORE_OPTIONS_INIT;
    struct quipu_store *store = NULL;
    struct quipu_error err;
    options.map_bytes = LARGE_MAP;
    options.durability = QUIPU_RELAXED;
    struct rlimit limit;
    limit.rlim_cur = limit.rlim_max = address_space() + LARGE_MAP + ROOM;
    if (setrlimit(RLIMIT_AS, &limit) != 0 ||
        quipu_store_open(path, &options, &store, &err) != QUIPU_OK) {
        _exit(21);
    }
    enum quipu_status status = QUIPU_OK;
    for (uint64_t at = 0; status == QUIPU_OK; at += 50) {
        struct quipu_txn *txn = NULL;
        status = quipu_txn_begin_write(store, &txn, &err);
        for (uint64_t i = 0; i < 50 && status == QUIPU_OK; i++) {
            struct sample sample;
            uint64_t position;
            sample_make(&sample, at + i, 10, true);
            status = sample_append(txn, &sample, &position, &err);
        }
        if (status == QUIPU_OK) {
            status = quipu_txn_commit(&txn, &err);
        }
        quipu_txn_abort(&txn);
    }
    struct quipu_txn *txn = NULL;
    struct quipu_store_stat stat = {0};
    if (quipu_txn_begin_read(store, &txn, NULL) != QUIPU_OK ||
        quipu_txn_stat(txn, &stat, NULL) != QUIPU_OK) {
        _exit(22);
    }
    quipu_txn_abort(&txn);
    bool is_right = status == QUIPU_NO_SPACE &&
                    strstr(err.message, "grants this process no more") &&
                    stat.map_bytes == LARGE_MAP && stat.file_bytes > LARGE_MAP / 8 * 7;
    if (!is_right || problems_of(store) != 0) {
        fprintf(stderr, "%s, map of %llu bytes, file of %llu\n", err.message,
                (unsigned long long)stat.map_bytes, (unsigned long long)stat.file_bytes);
        _exit(23);
    }
    quipu_store_close(&store);
    _exit(0);
}

Test(store_map, is_used_to_its_end_where_the_system_grants_no_larger_one)
{
#ifdef HAS_SHADOW_MEMORY
    fprintf(stderr, "skipped: the sanitizer needs the address space\n");
    return;
#endif
    struct temp_dir dir;
    char path[2 * TEMP_DIR_BYTES];
    int status = -1;
    temp_dir_init(&dir);
    temp_dir_join(&dir, "store", path);
    pid_t pid = fork();
    if (pid == 0) {
        fill_with_room(path);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0);
    temp_dir_release(&dir);
}

/*
 * Opening a store: what is made, what is refused and why.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "folder.h"
#include "internal.h"
#include "internal/bytes.h"
#include "store_fixture.h"

static enum quipu_status open_as(const char *path, enum quipu_store_create create,
                                 struct quipu_store **out, struct quipu_error *err)
{
    struct quipu_store_options options = QUIPU_STORE_OPTIONS_INIT;
    options.create = create;
    return quipu_store_open(path, &options, out, err);
}

static void write_file(const struct temp_dir *dir, const char *name, const void *data, size_t len)
{
    char path[2 * TEMP_DIR_BYTES];
    int fd = open(temp_dir_join(dir, name, path), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, data, len), (ssize_t)len);
    close(fd);
}

static bool has_file(const struct temp_dir *dir, const char *name)
{
    char path[2 * TEMP_DIR_BYTES];
    return access(temp_dir_join(dir, name, path), F_OK) == 0;
}

/* An LMDB environment of somebody else's, with one database of this name. */
static void make_foreign(const char *path, const char *name)
{
    MDB_env *env = NULL;
    MDB_txn *txn = NULL;
    MDB_dbi dbi;
    cr_assert_eq(mdb_env_create(&env), 0);
    cr_assert_eq(mdb_env_set_maxdbs(env, 4), 0);
    cr_assert_eq(mdb_env_open(env, path, MDB_NOLOCK, 0600), 0);
    cr_assert_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
    cr_assert_eq(mdb_dbi_open(txn, name, MDB_CREATE, &dbi), 0);
    cr_assert_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

/* Change one row of `meta` behind the store's back. */
static void put_meta(const char *path, const char *name, const void *data, size_t len)
{
    MDB_env *env = NULL;
    MDB_txn *txn = NULL;
    MDB_dbi dbi;
    MDB_val key = quipu_val(name, strlen(name));
    MDB_val val = quipu_val(data, len);
    cr_assert_eq(mdb_env_create(&env), 0);
    cr_assert_eq(mdb_env_set_maxdbs(env, 8), 0);
    cr_assert_eq(mdb_env_set_mapsize(env, 64 << 20), 0);
    cr_assert_eq(mdb_env_open(env, path, 0, 0600), 0);
    cr_assert_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
    cr_assert_eq(mdb_dbi_open(txn, "meta", 0, &dbi), 0);
    if (data == NULL) {
        cr_assert_eq(mdb_del(txn, dbi, &key, NULL), 0);
    } else {
        cr_assert_eq(mdb_put(txn, dbi, &key, &val, 0), 0);
    }
    cr_assert_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

Test(store_open, makes_a_folder_that_is_only_the_owners_and_opens_it_again)
{
    struct fixture fixture;
    struct quipu_store_tuning tuning = quipu_store_tuning_default();
    struct stat info;

    fixture_init(&fixture, &tuning);
    struct quipu_uuid id = quipu_store_id(fixture.store);
    cr_assert_str_eq(quipu_store_path(fixture.store), fixture.path);
    cr_assert_eq(last_position_of(fixture.store), 0);
    fixture_reopen(&fixture, &tuning);

    cr_assert(quipu_uuid_equal(id, quipu_store_id(fixture.store)));
    cr_assert_not(quipu_uuid_is_nil(id));
    cr_assert_eq(stat(fixture.path, &info), 0);
    cr_assert_eq(info.st_mode & 07777, 0700);
    char data[3 * TEMP_DIR_BYTES];
    snprintf(data, sizeof data, "%s/data.mdb", fixture.path);
    cr_assert_eq(stat(data, &info), 0);
    cr_assert_eq(info.st_mode & 07777, 0600);
    fixture_release(&fixture);
}

Test(store_open, finds_nothing_where_there_is_nothing_and_makes_nothing_either)
{
    struct temp_dir dir;
    char path[2 * TEMP_DIR_BYTES];
    struct quipu_store *store = NULL;
    struct quipu_error err;
    temp_dir_init(&dir);

    temp_dir_join(&dir, "absent", path);
    cr_assert_eq(open_as(path, QUIPU_STORE_OPEN_EXISTING, &store, &err), QUIPU_NOT_FOUND);
    cr_assert_not(has_file(&dir, "absent"));
    cr_assert_eq(open_as(dir.path, QUIPU_STORE_OPEN_EXISTING, &store, &err), QUIPU_NOT_FOUND);
    cr_assert_not(has_file(&dir, "open.lock"));
    temp_dir_join(&dir, "absent/below", path);
    cr_assert_eq(open_as(path, QUIPU_STORE_CREATE_IF_MISSING, &store, &err), QUIPU_NOT_FOUND);
    cr_assert_null(store);
    temp_dir_release(&dir);
}

Test(store_open, create_new_refuses_a_store_that_is_there)
{
    struct fixture fixture;
    struct quipu_store_tuning tuning = quipu_store_tuning_default();
    struct quipu_store *store = NULL;
    fixture_init(&fixture, &tuning);
    quipu_store_close(&fixture.store);

    cr_assert_eq(open_as(fixture.path, QUIPU_STORE_CREATE_NEW, &store, NULL), QUIPU_EXISTS);
    cr_assert_eq(open_as(fixture.path, QUIPU_STORE_OPEN_EXISTING, &store, NULL), QUIPU_OK);
    quipu_store_close(&store);
    fixture_release(&fixture);
}

Test(store_open, says_not_a_store_for_a_file_and_for_a_folder_with_other_things)
{
    struct temp_dir dir;
    char path[2 * TEMP_DIR_BYTES];
    struct quipu_store *store = NULL;
    temp_dir_init(&dir);
    write_file(&dir, "letter.txt", "dear", 4);

    temp_dir_join(&dir, "letter.txt", path);
    for (int create = QUIPU_STORE_CREATE_IF_MISSING; create <= QUIPU_STORE_CREATE_NEW; create++) {
        cr_assert_eq(open_as(path, (enum quipu_store_create)create, &store, NULL),
                     QUIPU_NOT_A_STORE);
    }
    cr_assert_eq(open_as(dir.path, QUIPU_STORE_CREATE_IF_MISSING, &store, NULL), QUIPU_NOT_A_STORE);
    cr_assert_eq(open_as(dir.path, QUIPU_STORE_CREATE_NEW, &store, NULL), QUIPU_NOT_A_STORE);
    cr_assert_not(has_file(&dir, "open.lock"));
    cr_assert_not(has_file(&dir, "data.mdb"));
    temp_dir_release(&dir);
}

Test(store_open, says_not_a_store_for_an_lmdb_environment_of_others_and_leaves_it_alone)
{
    static const char *const names[] = {"other", "meta"};
    for (size_t i = 0; i < 2; i++) {
        struct temp_dir dir;
        struct quipu_store *store = NULL;
        struct quipu_error err;
        temp_dir_init(&dir);
        make_foreign(dir.path, names[i]);

        cr_assert_eq(quipu_store_open(dir.path, NULL, &store, &err), QUIPU_NOT_A_STORE, "%s",
                     err.message);
        cr_assert_not(has_file(&dir, "open.lock"));
        cr_assert_not(has_file(&dir, "lock.mdb"));
        temp_dir_release(&dir);
    }
}

Test(store_open, tells_a_file_that_is_not_lmdbs_from_one_that_is_cut_off)
{
    struct temp_dir dir;
    struct quipu_store *store = NULL;
    uint8_t garbage[9000];
    memset(garbage, 0x5a, sizeof garbage);
    temp_dir_init(&dir);

    write_file(&dir, "data.mdb", garbage, sizeof garbage);
    cr_assert_eq(quipu_store_open(dir.path, NULL, &store, NULL), QUIPU_NOT_A_STORE);
    write_file(&dir, "data.mdb", garbage, 0);
    cr_assert_eq(quipu_store_open(dir.path, NULL, &store, NULL), QUIPU_CORRUPT);
    temp_dir_release(&dir);
}

Test(store_open, refuses_a_format_of_the_future_and_says_so)
{
    struct fixture fixture;
    struct quipu_store_tuning tuning = quipu_store_tuning_default();
    struct quipu_error err;
    uint8_t format[8];
    fixture_init(&fixture, &tuning);
    quipu_store_close(&fixture.store);

    quipu_store_be64(format, 2);
    put_meta(fixture.path, "format", format, sizeof format);
    cr_assert_eq(quipu_store_open(fixture.path, NULL, &fixture.store, &err), QUIPU_FORMAT_NEWER);
    cr_assert(strstr(err.message, "format 2") != NULL, "%s", err.message);
    quipu_store_be64(format, 0);
    put_meta(fixture.path, "format", format, sizeof format);
    cr_assert_eq(quipu_store_open(fixture.path, NULL, &fixture.store, &err), QUIPU_CORRUPT);
    quipu_store_be64(format, 1);
    put_meta(fixture.path, "format", format, sizeof format);
    put_meta(fixture.path, "id", NULL, 0);
    cr_assert_eq(quipu_store_open(fixture.path, NULL, &fixture.store, &err), QUIPU_CORRUPT);
    fixture_release(&fixture);
}

Test(store_open, refuses_a_second_opening_in_one_process_also_by_another_name)
{
    struct fixture fixture;
    struct quipu_store_tuning tuning = quipu_store_tuning_default();
    struct quipu_store *second = NULL;
    char link[2 * TEMP_DIR_BYTES];
    fixture_init(&fixture, &tuning);
    cr_assert_eq(symlink(fixture.path, temp_dir_join(&fixture.dir, "link", link)), 0);

    cr_assert_eq(quipu_store_open(fixture.path, NULL, &second, NULL), QUIPU_EXISTS);
    cr_assert_eq(quipu_store_open(link, NULL, &second, NULL), QUIPU_EXISTS);
    cr_assert_null(second);
    samples_commit(fixture.store, 0, 3, 1);
    quipu_store_close(&fixture.store);
    cr_assert_eq(quipu_store_open(link, NULL, &fixture.store, NULL), QUIPU_OK);
    cr_assert_eq(last_position_of(fixture.store), 3);
    fixture_release(&fixture);
}

Test(store_open, refuses_wrong_options)
{
    struct temp_dir dir;
    struct quipu_store *store = NULL;
    temp_dir_init(&dir);
    struct quipu_store_options options = QUIPU_STORE_OPTIONS_INIT;

    options.size = 4;
    cr_assert_eq(quipu_store_open(dir.path, &options, &store, NULL), QUIPU_MISUSE);
    options = (struct quipu_store_options)QUIPU_STORE_OPTIONS_INIT;
    options.create = (enum quipu_store_create)9;
    cr_assert_eq(quipu_store_open(dir.path, &options, &store, NULL), QUIPU_MISUSE);
    options = (struct quipu_store_options)QUIPU_STORE_OPTIONS_INIT;
    options.durability = (enum quipu_durability)9;
    cr_assert_eq(quipu_store_open(dir.path, &options, &store, NULL), QUIPU_MISUSE);
    cr_assert_eq(quipu_store_open("", NULL, &store, NULL), QUIPU_MISUSE);
    cr_assert_eq(quipu_store_open(NULL, NULL, &store, NULL), QUIPU_MISUSE);
    temp_dir_release(&dir);
}

Test(store_open, says_permission_where_the_folder_is_anothers)
{
    if (geteuid() != 0) {
        fprintf(stderr, "skipped: only root can become somebody else\n");
        return;
    }
    struct fixture fixture;
    struct quipu_store_tuning tuning = quipu_store_tuning_default();
    fixture_init(&fixture, &tuning);
    quipu_store_close(&fixture.store);
    cr_assert_eq(chmod(fixture.dir.path, 0755), 0);

    pid_t pid = fork();
    if (pid == 0) {
        struct quipu_store *store = NULL;
        char path[2 * TEMP_DIR_BYTES];
        if (seteuid(65534) != 0) {
            _exit(77); /* a user namespace in which nobody else exists */
        }
        bool is_good = quipu_store_open(fixture.path, NULL, &store, NULL) == QUIPU_PERMISSION &&
                       quipu_store_open(temp_dir_join(&fixture.dir, "new", path), NULL, &store,
                                        NULL) == QUIPU_PERMISSION;
        _exit(is_good ? 0 : 1);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        fprintf(stderr, "skipped: nobody else exists here\n");
        status = 0;
    }
    cr_assert_eq(status, 0);
    fixture_release(&fixture);
}

Test(store_open, knows_network_file_systems_by_their_magic)
{
    cr_assert(quipu_folder_is_network(0x6969));
    cr_assert(quipu_folder_is_network(0xff534d42));
    cr_assert(quipu_folder_is_network(0xfe534d42));
    cr_assert(quipu_folder_is_network(0x01021997));
    cr_assert_not(quipu_folder_is_network(0xef53));
    cr_assert_not(quipu_folder_is_network(0x01021994));
    cr_assert_not(quipu_folder_is_network(0x58465342));
}

static void cut(const char *folder, off_t bytes)
{
    char path[3 * TEMP_DIR_BYTES];
    snprintf(path, sizeof path, "%s/data.mdb", folder);
    cr_assert_eq(truncate(path, bytes), 0);
}

static off_t size_of(const char *folder)
{
    char path[3 * TEMP_DIR_BYTES];
    struct stat info;
    snprintf(path, sizeof path, "%s/data.mdb", folder);
    cr_assert_eq(stat(path, &info), 0);
    return info.st_size;
}

Test(store_open, says_corrupt_wherever_the_file_is_cut_off)
{
    struct fixture fixture;
    struct quipu_store_tuning tuning = tuning_small();
    struct quipu_error err;
    fixture_init(&fixture, &tuning);
    samples_commit(fixture.store, 0, 200, 10);
    quipu_store_close(&fixture.store);

    for (off_t bytes = size_of(fixture.path) - 1; bytes > 0; bytes -= bytes > 9000 ? 1777 : 531) {
        cut(fixture.path, bytes);
        enum quipu_status status = quipu_store_open(fixture.path, NULL, &fixture.store, &err);
        /* A handful of bytes no longer tells whose they were. */
        cr_assert(status == QUIPU_CORRUPT, "%ld bytes: %s", (long)bytes,
                  status == QUIPU_OK ? "opened" : err.message);
    }
    fixture_release(&fixture);
}

static void put_row(struct quipu_txn *txn, uint32_t number, size_t len)
{
    static const uint8_t zeroes[1 << 20];
    uint8_t key[4];
    quipu_store_be32(key, number);
    cr_assert_eq(quipu_txn_table_put(txn, (struct quipu_table){7}, quipu_slice(key, sizeof key),
                                     quipu_slice(zeroes, len), NULL),
                 QUIPU_OK);
}

/* What opening says to a process that may only read the folder: another user, where this is root;
 * else the owner, who has given up the right. */
static enum quipu_status read_only_in_child(const struct fixture *fixture)
{
    char data[3 * TEMP_DIR_BYTES];
    char lock[3 * TEMP_DIR_BYTES];
    snprintf(data, sizeof data, "%s/data.mdb", fixture->path);
    snprintf(lock, sizeof lock, "%s/open.lock", fixture->path);
    cr_assert_eq(chmod(fixture->dir.path, 0755), 0);
    cr_assert_eq(chmod(data, 0444), 0);
    cr_assert_eq(chmod(lock, 0444), 0);
    cr_assert_eq(chmod(fixture->path, 0555), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct quipu_store *store = NULL;
        struct quipu_error err = {0};
        if (geteuid() == 0 && seteuid(65534) != 0) {
            _exit(QUIPU_OK); /* a user namespace in which nobody else exists: nothing is shown */
        }
        enum quipu_status status = quipu_store_open(fixture->path, NULL, &store, &err);
        if (status == QUIPU_OK && problems_of(store) != 0) {
            status = QUIPU_MISUSE;
        }
        if (status != QUIPU_OK) {
            fprintf(stderr, "%s\n", err.message);
        }
        quipu_store_close(&store);
        _exit((int)status);
    }
    int how = -1;
    waitpid(pid, &how, 0);
    cr_assert_eq(chmod(fixture->path, 0700), 0);
    cr_assert_eq(chmod(data, 0600), 0);
    cr_assert_eq(chmod(lock, 0600), 0);
    cr_assert(WIFEXITED(how));
    return (enum quipu_status)WEXITSTATUS(how);
}

/* Pages that one transaction takes and gives back are never written: the file ends before its last
 * page, and is sound. */
Test(store_open, accepts_a_file_that_lacks_free_pages_only)
{
    struct fixture fixture;
    struct quipu_store_tuning tuning = quipu_store_tuning_default();
    struct quipu_txn *txn = NULL;
    struct quipu_error err;
    fixture_init(&fixture, &tuning);
    samples_commit(fixture.store, 0, 20, 5);
    /* Free pages first, so that the list of them is at hand when the large row is deleted. */
    for (uint32_t round = 0; round < 6; round++) {
        cr_assert_eq(quipu_txn_begin_write(fixture.store, &txn, NULL), QUIPU_OK);
        for (uint32_t i = 0; i < 300; i++) {
            put_row(txn, i, 200);
        }
        cr_assert_eq(quipu_txn_commit(&txn, NULL), QUIPU_OK);
    }
    static const uint8_t large[4] = {0, 0, 99, 99};
    cr_assert_eq(quipu_txn_begin_write(fixture.store, &txn, NULL), QUIPU_OK);
    put_row(txn, 1, 201);
    put_row(txn, 99 << 8 | 99, 1 << 20);
    cr_assert_eq(quipu_txn_table_delete(txn, (struct quipu_table){7}, quipu_slice(large, 4), NULL),
                 QUIPU_OK);
    cr_assert_eq(quipu_txn_commit(&txn, NULL), QUIPU_OK);
    quipu_store_close(&fixture.store);
    off_t before = size_of(fixture.path);

    /* Who can only read it can do so too, and leaves it as it is. */
    cr_assert_eq(read_only_in_child(&fixture), QUIPU_OK);
    cr_assert_eq(size_of(fixture.path), before);

    cr_assert_eq(quipu_store_open(fixture.path, NULL, &fixture.store, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_gt(size_of(fixture.path), before, "the file was not short: the test is void");
    cr_assert_eq(problems_of(fixture.store), 0);
    quipu_store_close(&fixture.store);

    /* A few pages less than that, and something is missing that is in use. */
    cut(fixture.path, before - 12 * 4096);
    cr_assert_eq(quipu_store_open(fixture.path, NULL, &fixture.store, &err), QUIPU_CORRUPT);
    enum quipu_status status = read_only_in_child(&fixture);
    cr_assert(status == QUIPU_CORRUPT || geteuid() != 0, "%s", quipu_status_name(status));
    fixture_release(&fixture);
}

Test(store_open, says_not_a_store_for_an_environment_in_which_nothing_was_committed)
{
    struct temp_dir dir;
    struct quipu_store *store = NULL;
    struct quipu_error err;
    MDB_env *env = NULL;
    temp_dir_init(&dir);
    cr_assert_eq(mdb_env_create(&env), 0);
    cr_assert_eq(mdb_env_open(env, dir.path, 0, 0600), 0);
    mdb_env_close(env);

    cr_assert_eq(open_as(dir.path, QUIPU_STORE_OPEN_EXISTING, &store, &err), QUIPU_NOT_A_STORE,
                 "%s", err.message);
    temp_dir_release(&dir);
}

Test(store_open, tells_a_damaged_first_page_from_a_file_of_others)
{
    static const uint8_t zeroes[4096];
    struct fixture fixture;
    struct quipu_store_tuning tuning = tuning_small();
    struct quipu_error err;
    char path[3 * TEMP_DIR_BYTES];
    fixture_init(&fixture, &tuning);
    samples_commit(fixture.store, 0, 5, 5);
    quipu_store_close(&fixture.store);
    snprintf(path, sizeof path, "%s/data.mdb", fixture.path);
    int fd = open(path, O_WRONLY);
    cr_assert_eq(pwrite(fd, zeroes, sizeof zeroes, 0), (ssize_t)sizeof zeroes);

    cr_assert_eq(quipu_store_open(fixture.path, NULL, &fixture.store, &err), QUIPU_CORRUPT);
    cr_assert(strstr(err.message, "restore it from a backup") != NULL, "%s", err.message);

    cr_assert_eq(pwrite(fd, zeroes, sizeof zeroes, sizeof zeroes), (ssize_t)sizeof zeroes);
    close(fd);
    cr_assert_eq(quipu_store_open(fixture.path, NULL, &fixture.store, &err), QUIPU_NOT_A_STORE);
    fixture_release(&fixture);
}

Test(store_open, says_what_to_do_with_files_of_others_in_its_temporary_folder)
{
    struct fixture fixture;
    struct quipu_store_tuning tuning = tuning_small();
    struct quipu_error err;
    char path[3 * TEMP_DIR_BYTES];
    fixture_init(&fixture, &tuning);
    quipu_store_close(&fixture.store);
    snprintf(path, sizeof path, "%s/create.tmp", fixture.path);
    cr_assert_eq(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/create.tmp/notes", fixture.path);
    close(open(path, O_WRONLY | O_CREAT, 0600));

    cr_assert_eq(quipu_store_open(fixture.path, NULL, &fixture.store, &err), QUIPU_EXISTS);
    cr_assert(strstr(err.message, "move them away") != NULL, "%s", err.message);
    cr_assert(strstr(err.message, fixture.path) != NULL, "%s", err.message);
    cr_assert_eq(unlink(path), 0);
    fixture_reopen(&fixture, &tuning);
    fixture_release(&fixture);
}

Test(store_open, takes_up_a_creation_that_was_killed)
{
    struct temp_dir dir;
    struct quipu_store *store = NULL;
    char path[2 * TEMP_DIR_BYTES];
    temp_dir_init(&dir);
    write_file(&dir, "open.lock", "", 0);
    cr_assert_eq(mkdir(temp_dir_join(&dir, "create.tmp", path), 0700), 0);
    write_file(&dir, "create.tmp/data.mdb", "half", 4);

    cr_assert_eq(open_as(dir.path, QUIPU_STORE_OPEN_EXISTING, &store, NULL), QUIPU_NOT_FOUND);
    cr_assert_eq(open_as(dir.path, QUIPU_STORE_CREATE_NEW, &store, NULL), QUIPU_OK);
    cr_assert_not(has_file(&dir, "create.tmp"));
    samples_commit(store, 0, 5, 2);
    quipu_store_close(&store);

    /* Killed between the rename and the end. */
    cr_assert_eq(mkdir(path, 0700), 0);
    cr_assert_eq(open_as(dir.path, QUIPU_STORE_OPEN_EXISTING, &store, NULL), QUIPU_OK);
    cr_assert_not(has_file(&dir, "create.tmp"));
    cr_assert_eq(last_position_of(store), 5);
    quipu_store_close(&store);
    temp_dir_release(&dir);
}

Test(store_open, reserves_what_it_is_told_and_grows_when_that_is_used_up)
{
    struct temp_dir dir;
    struct quipu_store *store = NULL;
    struct quipu_error err;
    struct quipu_store_options options = QUIPU_STORE_OPTIONS_INIT;
    struct quipu_txn *txn = NULL;
    struct quipu_store_stat stat;
    options.map_bytes = 256 << 10;
    temp_dir_init(&dir);
    cr_assert_eq(quipu_store_open(dir.path, &options, &store, &err), QUIPU_OK, "%s", err.message);
    uint64_t seed = 0;
    int full = 0;

    while (seed < 3000) {
        uint64_t position;
        cr_assert_eq(quipu_txn_begin_write(store, &txn, &err), QUIPU_OK, "%s", err.message);
        enum quipu_status status = QUIPU_OK;
        /* Larger than the map at first: one that is small beside it would never find it full. */
        for (uint64_t i = 0; i < 500 && status == QUIPU_OK; i++) {
            struct sample sample;
            sample_make(&sample, seed + i, 10, true);
            status = sample_append(txn, &sample, &position, &err);
        }
        enum quipu_status committed = quipu_txn_commit(&txn, &err);
        if (committed == QUIPU_OK) {
            seed += 500;
            continue;
        }
        cr_assert_eq(committed, QUIPU_NO_SPACE, "%s", err.message);
        cr_assert(status == QUIPU_OK || status == QUIPU_NO_SPACE);
        full++;
    }

    cr_assert_gt(full, 0);
    cr_assert_eq(quipu_txn_begin_read(store, &txn, NULL), QUIPU_OK);
    cr_assert_eq(quipu_txn_stat(txn, &stat, NULL), QUIPU_OK);
    cr_assert_eq(stat.events, 3000);
    cr_assert_gt(stat.map_bytes, options.map_bytes);
    quipu_txn_abort(&txn);
    cr_assert_eq(problems_of(store), 0);
    quipu_store_close(&store);
    temp_dir_release(&dir);
}

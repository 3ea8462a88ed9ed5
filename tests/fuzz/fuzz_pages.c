/*
 * Property: the walk over the pages of a data file, in any state, ends with a verdict and reads
 * nothing that is not its own; and where it says that LMDB may walk over the file, LMDB does, over
 * every row of every database.
 *
 * The file is made once, of the databases that a store has, with large values, branches and free
 * pages. An input is a list of changes to it, five bytes each: where (u32 little-endian, modulo the
 * file's length) and what the byte there is xored with. They are taken back afterwards.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "page_walk.h"

#define CHANGE_BYTES 5
#define CHANGES_MAX  64
#define ROWS         90
#define LARGE_BYTES  9000
#define MAP_BYTES    (64u << 20)

static struct {
    char folder[64];
    int folder_fd;
    int fd;
    uint64_t bytes;
} file;

static void remove_folder(void)
{
    (void)unlinkat(file.folder_fd, QUIPU_DATA_NAME, 0);
    (void)unlinkat(file.folder_fd, QUIPU_LMDB_LOCK_NAME, 0);
    (void)rmdir(file.folder);
}

static MDB_env *open_env(unsigned flags)
{
    MDB_env *env = NULL;
    FUZZ_REQUIRE(mdb_env_create(&env) == 0);
    FUZZ_REQUIRE(mdb_env_set_maxdbs(env, QUIPU_DBS) == 0);
    FUZZ_REQUIRE(mdb_env_set_mapsize(env, MAP_BYTES) == 0);
    if (mdb_env_open(env, file.folder, flags, 0600) != 0) {
        mdb_env_close(env);
        return NULL;
    }
    return env;
}

/* Row `number` of a database: long keys where they are bytes, so that there are branches. */
static void put_row(MDB_txn *txn, MDB_dbi dbi, bool is_integer, uint64_t number)
{
    static uint8_t value[LARGE_BYTES];
    uint8_t key[200] = {(uint8_t)(number * 37), (uint8_t)number};
    memset(value, (int)number, sizeof value);
    MDB_val name = {is_integer ? sizeof number : 3 + number * 11 % 190,
                    is_integer ? (void *)&number : key};
    MDB_val data = {number % 9 == 0 ? LARGE_BYTES - number : 20 + number * 29 % 700, value};
    FUZZ_REQUIRE(mdb_put(txn, dbi, &name, &data, 0) == 0);
}

static void make_file(void)
{
    (void)snprintf(file.folder, sizeof file.folder, "%s/quipu-fuzz-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    FUZZ_REQUIRE(mkdtemp(file.folder) != NULL);
    file.folder_fd = open(file.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    FUZZ_REQUIRE(file.folder_fd >= 0 && atexit(remove_folder) == 0);
    MDB_env *env = open_env(MDB_NOSYNC);
    FUZZ_REQUIRE(env != NULL);
    for (int db = 0; db < QUIPU_DBS; db++) {
        MDB_txn *txn = NULL;
        MDB_dbi dbi;
        unsigned flags = quipu_db_flags((enum quipu_db)db);
        const char *name = quipu_db_name((enum quipu_db)db);
        FUZZ_REQUIRE(mdb_txn_begin(env, NULL, 0, &txn) == 0);
        FUZZ_REQUIRE(mdb_dbi_open(txn, name, flags | MDB_CREATE, &dbi) == 0);
        for (uint64_t row = 1; row <= ROWS; row++) {
            put_row(txn, dbi, flags != 0, row);
        }
        FUZZ_REQUIRE(mdb_txn_commit(txn) == 0);
        /* Changed once more, so that pages become free. */
        FUZZ_REQUIRE(mdb_txn_begin(env, NULL, 0, &txn) == 0);
        put_row(txn, dbi, flags != 0, 9);
        FUZZ_REQUIRE(mdb_txn_commit(txn) == 0);
    }
    FUZZ_REQUIRE(mdb_env_sync(env, 1) == 0);
    mdb_env_close(env);
    struct stat info;
    file.fd = openat(file.folder_fd, QUIPU_DATA_NAME, O_RDWR | O_CLOEXEC);
    FUZZ_REQUIRE(file.fd >= 0 && fstat(file.fd, &info) == 0);
    file.bytes = (uint64_t)info.st_size;
}

/* Do the changes, or once more, which takes them back. */
static void change(const uint8_t *data, size_t changes)
{
    for (size_t i = 0; i < changes; i++) {
        const uint8_t *at = data + i * CHANGE_BYTES;
        off_t offset = (off_t)(data_load_u32(at) % file.bytes);
        uint8_t byte = 0;
        FUZZ_REQUIRE(pread(file.fd, &byte, 1, offset) == 1);
        byte ^= at[4];
        FUZZ_REQUIRE(pwrite(file.fd, &byte, 1, offset) == 1);
    }
}

/* Every byte of every row, as LMDB finds it. */
static uint64_t read_all(MDB_env *env)
{
    uint64_t sum = 0;
    MDB_txn *txn = NULL;
    if (mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) != 0) {
        return 0;
    }
    for (int db = 0; db < QUIPU_DBS; db++) {
        MDB_dbi dbi;
        MDB_cursor *cursor = NULL;
        MDB_val key;
        MDB_val value;
        if (mdb_dbi_open(txn, quipu_db_name((enum quipu_db)db), 0, &dbi) != 0) {
            continue;
        }
        FUZZ_REQUIRE(mdb_cursor_open(txn, dbi, &cursor) == 0);
        while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
            for (size_t i = 0; i < value.mv_size; i++) {
                sum += ((const uint8_t *)value.mv_data)[i];
            }
            sum += mdb_get(txn, dbi, &key, &value) == 0;
        }
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
    return sum;
}

static bool count_problem(void *ctx, uint64_t position, const char *line)
{
    (void)position;
    FUZZ_REQUIRE(line[0] != 0);
    ++*(uint64_t *)ctx;
    return true;
}

/* What the file is like now. True: nothing is wrong with it. */
static bool check(void)
{
    uint64_t told = 0;
    struct quipu_page_options options = {.problem = count_problem, .ctx = &told};
    struct quipu_pages_report report;
    struct quipu_page_metas metas = {.page_bytes = 4096};
    FUZZ_REQUIRE(quipu_page_metas_read(file.fd, metas.page_bytes, &metas) == 0);
    uint64_t first = data_load_u64(metas.bytes[0] + DATA_PAGE_HEADER_BYTES + 128);
    uint64_t second = data_load_u64(metas.bytes[1] + DATA_PAGE_HEADER_BYTES + 128);
    metas.txn = first > second ? first : second;
    FUZZ_REQUIRE(quipu_pages_check_file(file.fd, &metas, &options, &report, NULL) == QUIPU_OK);
    FUZZ_REQUIRE(report.problems == told && report.mendable <= told);
    FUZZ_REQUIRE(report.is_safe || told > 0);
    if (quipu_data_file_check(file.folder_fd, NULL) != QUIPU_OK) {
        return false;
    }
    MDB_env *env = open_env(MDB_RDONLY | MDB_NOLOCK);
    if (env == NULL) {
        return false;
    }
    struct quipu_page_source source = {env, file.folder, true};
    enum quipu_status opened = quipu_pages_require(&source, QUIPU_PAGES_OPENED, NULL);
    enum quipu_status kept = quipu_pages_require(&source, QUIPU_PAGES_KEPT, NULL);
    bool is_safe = quipu_pages_require(&source, QUIPU_PAGES_ALL, NULL) == QUIPU_OK;
    /* What is found in a part is found in the whole. */
    FUZZ_REQUIRE(!is_safe || (opened == QUIPU_OK && kept == QUIPU_OK));
    volatile uint64_t sum = is_safe ? read_all(env) : 0;
    (void)sum; /* reading is what counts */
    mdb_env_close(env);
    return told == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (file.bytes == 0) {
        make_file();
        FUZZ_REQUIRE(check());
    }
    size_t changes = size / CHANGE_BYTES < CHANGES_MAX ? size / CHANGE_BYTES : CHANGES_MAX;
    change(data, changes);
    (void)check(); /* it may be either */
    change(data, changes);
    return 0;
}

/*
 * Opening LMDB's environment: how the map is reserved, what is checked before anything is trusted,
 * and how it is mapped anew. Never MDB_WRITEMAP (a full disk would end in SIGBUS), never MDB_NOSYNC
 * (a power cut would leave an unusable file). SPEC §6.1, §6.2.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#include "folder.h"
#include "internal.h"
#include "internal/bytes.h"
#include "page_walk.h"

#define MAP_BYTES_DEFAULT (UINT64_C(1) << 40)
#define MAP_BYTES_LEAST   (UINT64_C(64) << 20)

/* LMDB takes as many readers as its lock file has room for; 64 KiB are about 1,020. */
#define LMDB_LOCK_BYTES (64 << 10)
#define READERS_MAX     1000

static const struct {
    const char *name;
    unsigned flags;
} databases[QUIPU_DBS] = {
    [QUIPU_DB_META] = {"meta", 0},
    [QUIPU_DB_LOG] = {"log", MDB_INTEGERKEY},
    [QUIPU_DB_CID_RUN] = {"cidrun", MDB_INTEGERKEY},
    [QUIPU_DB_EVENT_ID_RUN] = {"eidrun", MDB_INTEGERKEY},
    [QUIPU_DB_TERM_RUN] = {"termrun", MDB_INTEGERKEY},
    [QUIPU_DB_HEAD] = {"head", 0},
    [QUIPU_DB_TABLE] = {"table", 0},
};

const char *quipu_db_name(enum quipu_db db)
{
    return databases[db].name;
}

unsigned quipu_db_flags(enum quipu_db db)
{
    return databases[db].flags;
}

static int open_with_map(const char *path, unsigned flags, uint64_t map_bytes, MDB_env **out)
{
    MDB_env *env = NULL;
    int code = mdb_env_create(&env);
    if (code != 0) {
        return code;
    }
    if ((code = mdb_env_set_maxdbs(env, QUIPU_DBS)) == 0 &&
        (code = mdb_env_set_maxreaders(env, READERS_MAX)) == 0 &&
        (code = mdb_env_set_mapsize(env, (size_t)map_bytes)) == 0 &&
        (code = mdb_env_open(env, path, flags, 0600)) == 0) {
        *out = env;
        return 0;
    }
    mdb_env_close(env);
    return code;
}

/* Halve what is asked for until the system grants it; a given size is taken as it is. */
static int open_env(const struct quipu_store *store, unsigned flags, MDB_env **out)
{
    if (store->options.map_bytes != 0) {
        uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
        uint64_t pages = store->options.map_bytes / page;
        return open_with_map(store->real_path, flags, pages == 0 ? page : pages * page, out);
    }
    int code = ENOMEM;
    for (uint64_t bytes = MAP_BYTES_DEFAULT; code == ENOMEM && bytes >= MAP_BYTES_LEAST;
         bytes /= 2) {
        code = open_with_map(store->real_path, flags, bytes, out);
    }
    return code;
}

/* LMDB writes its lock file through a map, and a full disk would make that a SIGBUS: give the file
 * its blocks first. Nobody has it open in this process (open.lock says so), so that closing it here
 * takes no lock of LMDB's away. */
static enum quipu_status reserve_lmdb_lock(const struct quipu_store *store, struct quipu_error *err)
{
    int fd = -1;
    int number =
        quipu_lock_file_open(store->folder_fd, QUIPU_LMDB_LOCK_NAME, O_RDWR | O_CREAT, &fd);
    if (number != 0) {
        return quipu_lock_file_error(err, number, store->path, QUIPU_LMDB_LOCK_NAME);
    }
    enum quipu_status status = QUIPU_OK;
    if (fallocate(fd, 0, 0, LMDB_LOCK_BYTES) != 0 && errno != EOPNOTSUPP && errno != ENOSYS) {
        status = quipu_error_errno(err, errno, "%s: reserve %s", store->path, QUIPU_LMDB_LOCK_NAME);
    }
    (void)close(fd); /* nothing was written */
    return status;
}

static enum quipu_status check_meta(MDB_txn *mdb, MDB_dbi meta, struct quipu_uuid *id,
                                    const char *path, struct quipu_error *err)
{
    MDB_val key = quipu_val("format", 6);
    MDB_val val;
    int code = mdb_get(mdb, meta, &key, &val);
    if (code == MDB_NOTFOUND || (code == 0 && val.mv_size != 8)) {
        return quipu_error_set(err, QUIPU_NOT_A_STORE, "%s holds an LMDB environment of others",
                               path);
    }
    if (code != 0) {
        return quipu_lmdb_error(err, code, "%s: read the format", path);
    }
    uint64_t format = quipu_load_be64(val.mv_data);
    if (format > QUIPU_STORE_FORMAT) {
        return quipu_error_set(err, QUIPU_FORMAT_NEWER,
                               "%s has format %" PRIu64 ", this quipu reads up to %d; install a "
                               "newer one",
                               path, format, QUIPU_STORE_FORMAT);
    }
    key = quipu_val("id", 2);
    code = mdb_get(mdb, meta, &key, &val);
    if (code != 0 || val.mv_size != sizeof id->bytes || format == 0) {
        return quipu_error_set(err, QUIPU_CORRUPT, "%s: %s", path,
                               format == 0 ? "format 0" : "the store's id is missing");
    }
    memcpy(id->bytes, val.mv_data, sizeof id->bytes);
    return QUIPU_OK;
}

static enum quipu_status open_meta(MDB_txn *mdb, MDB_dbi *meta, struct quipu_uuid *id,
                                   const char *path, struct quipu_error *err)
{
    int code = mdb_dbi_open(mdb, quipu_db_name(QUIPU_DB_META), 0, meta);
    if (code == MDB_NOTFOUND || code == MDB_INCOMPATIBLE || code == MDB_DBS_FULL) {
        return quipu_error_set(err, QUIPU_NOT_A_STORE, "%s holds an LMDB environment of others",
                               path);
    }
    if (code != 0) {
        return quipu_lmdb_error(err, code, "%s: open the database meta", path);
    }
    return check_meta(mdb, *meta, id, path, err);
}

enum quipu_status quipu_env_probe(const char *folder, struct quipu_error *err)
{
    MDB_env *env = NULL;
    int code = open_with_map(folder, MDB_RDONLY | MDB_NOLOCK, MAP_BYTES_LEAST, &env);
    if (code != 0) {
        return quipu_lmdb_error(err, code, "open %s", folder);
    }
    MDB_txn *mdb = NULL;
    struct quipu_page_source source = {env, folder, false};
    enum quipu_status status = quipu_pages_require(&source, QUIPU_PAGES_OPENED, err);
    if (status != QUIPU_OK) {
        mdb_env_close(env);
        return status;
    }
    code = mdb_txn_begin(env, NULL, MDB_RDONLY, &mdb);
    if (code != 0) {
        status = quipu_lmdb_error(err, code, "read %s", folder);
    } else {
        MDB_dbi meta;
        struct quipu_uuid id;
        status = open_meta(mdb, &meta, &id, folder, err);
        mdb_txn_abort(mdb);
    }
    mdb_env_close(env);
    return status;
}

/* Positions are gap-free from 1, so the number of records is the last position. */
static enum quipu_status check_log_end(const struct quipu_store *store, MDB_txn *mdb,
                                       struct quipu_error *err)
{
    MDB_stat stat;
    MDB_cursor *cursor = NULL;
    int code = mdb_stat(mdb, store->dbi[QUIPU_DB_LOG], &stat);
    if (code == 0) {
        code = mdb_cursor_open(mdb, store->dbi[QUIPU_DB_LOG], &cursor);
    }
    uint64_t last = 0;
    if (code == 0) {
        MDB_val key;
        MDB_val val;
        code = mdb_cursor_get(cursor, &key, &val, MDB_LAST);
        if (code == 0 && key.mv_size == sizeof last) {
            memcpy(&last, key.mv_data, sizeof last);
        }
        code = code == MDB_NOTFOUND ? 0 : code;
        mdb_cursor_close(cursor);
    }
    if (code != 0) {
        return quipu_lmdb_error(err, code, "%s: read the end of the log", store->path);
    }
    if (last != stat.ms_entries) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "%s: the log ends at position %" PRIu64 " but holds %zu records",
                               store->path, last, stat.ms_entries);
    }
    return QUIPU_OK;
}

static enum quipu_status open_databases(struct quipu_store *store, struct quipu_error *err)
{
    MDB_txn *mdb = NULL;
    int code = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &mdb);
    if (code != 0) {
        return quipu_lmdb_error(err, code, "%s: read", store->path);
    }
    enum quipu_status status =
        open_meta(mdb, &store->dbi[QUIPU_DB_META], &store->id, store->path, err);
    for (int db = QUIPU_DB_META + 1; db < QUIPU_DBS && status == QUIPU_OK; db++) {
        unsigned flags = 0;
        code = mdb_dbi_open(mdb, databases[db].name, 0, &store->dbi[db]);
        if (code == 0) {
            code = mdb_dbi_flags(mdb, store->dbi[db], &flags);
        }
        bool may_miss = store->is_repair && db != QUIPU_DB_LOG && db != QUIPU_DB_TABLE;
        if ((code != 0 || flags != databases[db].flags) && !may_miss) {
            bool is_derived = db != QUIPU_DB_LOG && db != QUIPU_DB_TABLE;
            status = quipu_error_set(
                err, code > 0 ? quipu_lmdb_status(code) : QUIPU_CORRUPT,
                "%s: the database %s is missing or damaged; %s", store->path, databases[db].name,
                is_derived ? "rebuild it with `quipu verify --repair-indexes`"
                           : "restore a backup, or import a bundle into a new store");
        }
    }
    if (status == QUIPU_OK) {
        status = check_log_end(store, mdb, err);
    }
    if (status != QUIPU_OK) {
        mdb_txn_abort(mdb);
        return status;
    }
    /* A commit keeps the handles open for all transactions to come. */
    code = mdb_txn_commit(mdb);
    return code == 0 ? QUIPU_OK : quipu_lmdb_error(err, code, "%s: read", store->path);
}

/* Neither call fails for an environment that is open. */
static void note_sizes(struct quipu_store *store)
{
    MDB_envinfo info;
    MDB_stat stat;
    if (mdb_env_info(store->env, &info) == 0) {
        store->map_bytes = info.me_mapsize;
    }
    if (mdb_env_stat(store->env, &stat) == 0) {
        store->page_bytes = stat.ms_psize;
    }
}

enum quipu_status quipu_env_open(struct quipu_store *store, struct quipu_error *err)
{
    enum quipu_status status = quipu_data_file_check(store->folder_fd, err);
    if (status != QUIPU_OK) {
        return quipu_error_wrap(err, status, "%s", store->path);
    }
    status = store->is_read_only || store->is_scratch ? QUIPU_OK : reserve_lmdb_lock(store, err);
    if (status != QUIPU_OK) {
        return status;
    }
    /* MDB_NOTLS: a read transaction belongs to its handle, not to its thread. */
    /* Whoever looks for one event reads a page here and a page there, and the kernel would read 128
     * KiB around each; whoever reads in order asks for what is next (log.c, backup.c). */
    unsigned flags = MDB_NOTLS | MDB_NORDAHEAD;
    if (store->is_read_only) {
        flags |= MDB_RDONLY | MDB_NOLOCK;
    }
    if (store->is_scratch) {
        /* A power cut leaves rubbish in create.tmp, which nobody ever reads. */
        flags |= MDB_NOLOCK | MDB_NOSYNC;
    }
    if (store->options.durability == QUIPU_RELAXED) {
        flags |= MDB_NOMETASYNC;
    }
    int code = open_env(store, flags, &store->env);
    if (code != 0) {
        store->env = NULL;
        return quipu_lmdb_error(err, code, "open %s", store->path);
    }
    status = quipu_data_file_check_length(store, err);
    if (status == QUIPU_OK) {
        /* Readers that died without ending their transaction pin old pages for ever. */
        int dead = 0;
        code = mdb_reader_check(store->env, &dead);
        struct quipu_page_source source = {store->env, store->path, store->is_read_only};
        status = code == 0 ? quipu_pages_require(&source, QUIPU_PAGES_OPENED, err)
                           : quipu_lmdb_error(err, code, "%s: check the readers", store->path);
    }
    if (status == QUIPU_OK) {
        status = open_databases(store, err);
    }
    if (status != QUIPU_OK) {
        quipu_env_close(store);
        return status;
    }
    note_sizes(store);
    return QUIPU_OK;
}

enum quipu_status quipu_env_remap(struct quipu_store *store, struct quipu_error *err)
{
    MDB_envinfo info;
    MDB_stat stat;
    int code = mdb_env_info(store->env, &info);
    if (code == 0) {
        code = mdb_env_stat(store->env, &stat);
    }
    uint64_t bytes = store->map_bytes * 2;
    if (code == 0) {
        /* Another process may have a larger map, and have used it. */
        uint64_t used = ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
        while (bytes < used && bytes <= UINT64_MAX / 4) {
            bytes *= 2;
        }
    }
    if (code == 0) {
        code = mdb_env_set_mapsize(store->env, (size_t)bytes);
    }
    if (code != 0) {
        /* LMDB has given the old map up already: get it back by opening afresh. */
        quipu_env_close(store);
        store->wants_reopen = true;
        return quipu_lmdb_error(err, code, "%s: map %" PRIu64 " bytes", store->path, bytes);
    }
    note_sizes(store);
    return QUIPU_OK;
}

void quipu_env_close(struct quipu_store *store)
{
    if (store->env != NULL) {
        mdb_env_close(store->env);
        store->env = NULL;
    }
}

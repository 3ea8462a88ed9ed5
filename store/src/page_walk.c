/*
 * Walking over the pages of data.mdb by pread, as LMDB would over its map, and trusting none of
 * them: LMDB keeps no checksums, and a bit that flips in a page's header, in a pointer or in the
 * root of a database ends the process in its walk. Looks at structure alone; what values say is for
 * others. Changes nothing. SPEC §6.9.
 *
 *   1. The two meta pages.
 *   2. The list of free pages: its tree, and each page that it names.
 *   3. The tree of the databases, which gives their roots.
 *   4. The tree of each database. A branch leads to pages of the file that nobody led to before,
 * its keys say what is below them, leaves lie as deep as the record of the database says, large
 *      values have a run of pages of their own, and what was met adds up to that record.
 *   5. Each page is in use or free, and none is both.
 *
 * A finding that could lead LMDB astray (1, 3 and 4, but for the order and the numbers) makes the
 * tree, and so the file, unsafe to read; what lies below such a page is not looked at. The others
 * are findings only. Memory: two bits a page, and one page a level.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "page_tree.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "quipu/alloc.h"

/* Flags of the record of the list of free pages. */
#define FREE_DB_FLAGS 0x08

/* ------------------------------------------------------------------ all of it */

static bool walk_free(struct page_walk *walk)
{
    struct page_tree tree = {.kind = TREE_FREE,
                             .name = "the list of free pages",
                             .db = walk->free_db,
                             .has_integer_keys = true,
                             .is_derived = true};
    return page_walk_tree(walk, &tree, FREE_DB_FLAGS);
}

static bool walk_names(struct page_walk *walk)
{
    struct page_tree tree = {
        .kind = TREE_NAMES, .name = "the list of databases", .db = walk->names_db};
    /* Opening says itself what it thinks of an environment of others. */
    bool is_foreign = walk->names_db.flags != 0 && walk->options->extent == QUIPU_PAGES_OPENED;
    return is_foreign || page_walk_tree(walk, &tree, 0);
}

static bool walk_database(struct page_walk *walk, enum quipu_db db)
{
    bool is_kept = db == QUIPU_DB_META || db == QUIPU_DB_LOG || db == QUIPU_DB_TABLE;
    enum quipu_page_extent extent = walk->options->extent;
    struct page_tree tree = {
        .kind = TREE_VALUES,
        .name = quipu_db_name(db),
        .db = walk->dbs[db],
        .has_integer_keys = (quipu_db_flags(db) & MDB_INTEGERKEY) != 0,
        .is_log = db == QUIPU_DB_LOG,
        .is_derived = !is_kept,
        .is_end_only = extent == QUIPU_PAGES_OPENED,
    };
    if (!walk->has_db[db]) {
        if (extent == QUIPU_PAGES_ALL) {
            page_walk_problem(walk, !is_kept, "the database %s is missing", tree.name);
        }
        return true;
    }
    bool is_wanted = extent == QUIPU_PAGES_ALL || (extent == QUIPU_PAGES_KEPT && is_kept) ||
                     db == QUIPU_DB_META || db == QUIPU_DB_LOG;
    /* All of `meta`, which is small. */
    tree.is_end_only = tree.is_end_only && db != QUIPU_DB_META;
    return !is_wanted || page_walk_tree(walk, &tree, (uint16_t)quipu_db_flags(db));
}

/* Pages that nobody leads to. Where a page could not be walked over there are always some. */
static void find_lost(struct page_walk *walk)
{
    uint64_t lost = 0;
    uint64_t first = 0;
    for (uint64_t page = DATA_FIRST_PAGE; page <= walk->last_page; page++) {
        if (!page_bit_get(walk->used, page) && !page_bit_get(walk->free, page)) {
            first = lost == 0 ? page : first;
            lost++;
        }
    }
    if (lost > 0) {
        page_walk_problem(walk, true,
                          "%" PRIu64 " of %" PRIu64
                          " pages are neither in use nor free, the first is "
                          "page %" PRIu64,
                          lost, walk->last_page + 1, first);
    }
}

static bool walk_all(struct page_walk *walk)
{
    bool is_whole = walk->options->extent == QUIPU_PAGES_ALL;
    bool has_memory = !is_whole || walk_free(walk);
    has_memory = has_memory && walk_names(walk);
    for (int db = 0; db < QUIPU_DBS && has_memory; db++) {
        has_memory = walk_database(walk, (enum quipu_db)db);
    }
    if (has_memory && is_whole && !walk->has_holes && !walk->has_stopped) {
        find_lost(walk);
    }
    if (has_memory && walk->options->progress != NULL) {
        walk->options->progress(walk->options->ctx, walk->report.pages, walk->last_page + 1);
    }
    return has_memory;
}

/* ------------------------------------------------------------------ the meta pages */

static void meta_unsafe(struct page_walk *walk, uint64_t page, const char *why, uint64_t value)
{
    walk->has_holes = true;
    walk->report.is_safe = false;
    page_walk_problem(walk, false, "page %" PRIu64 ": %s %" PRIu64, page, why, value);
}

/* What is the same in both. The older one may be being written. */
static void look_at_meta(struct page_walk *walk, uint64_t page, const uint8_t *bytes)
{
    const uint8_t *meta = bytes + DATA_PAGE_HEADER_BYTES;
    uint64_t txn = data_load_u64(meta + 128);
    if (data_load_u64(bytes) != page) {
        meta_unsafe(walk, page, "its header says that it is page", data_load_u64(bytes));
    } else if (data_load_u16(bytes + DATA_PAGE_FLAGS_AT) != DATA_PAGE_IS_META) {
        meta_unsafe(walk, page, "a meta page has the flags",
                    data_load_u16(bytes + DATA_PAGE_FLAGS_AT));
    } else if (data_load_u32(meta) != DATA_META_MAGIC ||
               data_load_u32(meta + 4) != DATA_META_VERSION) {
        meta_unsafe(walk, page, "is not LMDB's, data version", data_load_u32(meta + 4));
    } else if (data_load_u32(meta + 24) != walk->page_bytes) {
        meta_unsafe(walk, page, "claims pages of another size,", data_load_u32(meta + 24));
    } else if (walk->txn == 0 && txn == 0) {
        return; /* nothing was ever committed */
    } else if (page == (walk->txn & 1) ? txn != walk->txn
                                       : txn != walk->txn + 1 && txn + 1 != walk->txn) {
        meta_unsafe(walk, page,
                    "the two meta pages do not follow one another, this one is of transaction",
                    txn);
    }
}

int quipu_page_metas_read(int fd, size_t page_bytes, struct quipu_page_metas *out)
{
    int code = 0;
    for (size_t page = 0; page < 2 && code == 0; page++) {
        code = quipu_data_read(fd, page * page_bytes, out->bytes[page], sizeof out->bytes[page]);
    }
    return code;
}

static int take_metas(struct page_walk *walk, const struct quipu_page_metas *metas)
{
    look_at_meta(walk, 0, metas->bytes[0]);
    look_at_meta(walk, 1, metas->bytes[1]);
    const uint8_t *meta = metas->bytes[walk->txn & 1] + DATA_PAGE_HEADER_BYTES;
    walk->free_db = quipu_data_db_load(meta + 24);
    walk->names_db = quipu_data_db_load(meta + 72);
    walk->last_page = data_load_u64(meta + 120);
    struct stat info;
    if (fstat(walk->fd, &info) != 0) {
        return errno;
    }
    walk->file_bytes = (uint64_t)info.st_size;
    uint64_t pages = walk->file_bytes / walk->page_bytes;
    if (walk->last_page < 1 || walk->last_page >= pages + DATA_MISSING_PAGES_MAX) {
        meta_unsafe(walk, walk->txn & 1, "the file's last page is said to be", walk->last_page);
    }
    return 0;
}

static enum quipu_status run(struct page_walk *walk, const struct quipu_page_metas *metas,
                             struct quipu_error *err)
{
    int code = take_metas(walk, metas);
    if (code != 0) {
        return quipu_error_errno(err, code, "look at " QUIPU_DATA_NAME);
    }
    if (!walk->report.is_safe) {
        return QUIPU_OK;
    }
    size_t bytes = (size_t)(walk->last_page / 8 + 1);
    walk->used = quipu_alloc_zero(bytes, 1);
    walk->starts = quipu_alloc_zero(walk->page_bytes / 2, sizeof *walk->starts);
    walk->list = quipu_alloc(PAGE_LIST_CHUNK, sizeof *walk->list);
    if (walk->options->extent == QUIPU_PAGES_ALL) {
        walk->free = quipu_alloc_zero(bytes, 1);
    }
    bool has_memory = walk->used != NULL && walk->starts != NULL && walk->list != NULL &&
                      (walk->free != NULL || walk->options->extent != QUIPU_PAGES_ALL) &&
                      walk_all(walk);
    return has_memory ? QUIPU_OK
                      : quipu_error_set(err, QUIPU_NO_MEMORY,
                                        "no memory to look at %" PRIu64 " pages", walk->last_page);
}

enum quipu_status quipu_pages_check_file(int fd, const struct quipu_page_metas *metas,
                                         const struct quipu_page_options *options,
                                         struct quipu_pages_report *report, struct quipu_error *err)
{
    struct page_walk *walk = quipu_alloc_zero(1, sizeof *walk);
    if (walk == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory to look at " QUIPU_DATA_NAME);
    }
    walk->fd = fd;
    walk->page_bytes = metas->page_bytes;
    walk->txn = metas->txn;
    walk->options = options;
    walk->report.is_safe = true;
    enum quipu_status status = run(walk, metas, err);
    if (status == QUIPU_OK) {
        *report = walk->report;
    }
    for (size_t i = 0; i < DATA_DEPTH_MAX; i++) {
        quipu_free(walk->frames[i].bytes);
    }
    quipu_free(walk->list);
    quipu_free(walk->starts);
    quipu_free(walk->free);
    quipu_free(walk->used);
    quipu_free(walk);
    return status;
}

/* ------------------------------------------------------------------ a store */

/* How often to begin anew where others commit, before they are held off. */
#define SNAPSHOT_TRIES 8

/* A snapshot and the meta pages that belong to it. LMDB writes the page of a snapshot again with
 * the second commit after it: as long as the snapshot is the newest one, the page stands still.
 * Beginning reads no other page. */
static int begin_snapshot(const struct quipu_page_source *source, int fd,
                          struct quipu_page_metas *metas, MDB_txn **snapshot)
{
    MDB_txn *writer = NULL;
    MDB_envinfo info;
    MDB_stat stat;
    int code = mdb_env_stat(source->env, &stat);
    bool is_still = source->is_still;
    for (int i = 0; code == 0; i++) {
        if (i == SNAPSHOT_TRIES && !is_still) {
            code = mdb_txn_begin(source->env, NULL, 0, &writer);
            is_still = true;
        }
        if (code == 0) {
            code = mdb_txn_begin(source->env, NULL, MDB_RDONLY, snapshot);
        }
        if (code != 0) {
            break;
        }
        metas->page_bytes = stat.ms_psize;
        metas->txn = mdb_txn_id(*snapshot);
        code = quipu_page_metas_read(fd, metas->page_bytes, metas);
        if (code == 0) {
            code = mdb_env_info(source->env, &info);
        }
        if (code == 0 && (is_still || info.me_last_txnid == metas->txn)) {
            break;
        }
        mdb_txn_abort(*snapshot);
        *snapshot = NULL;
    }
    if (writer != NULL) {
        mdb_txn_abort(writer);
    }
    return code;
}

/* LMDB's code, or a status with its error. */
static int check_snapshot(const struct quipu_page_source *source,
                          const struct quipu_page_options *options,
                          struct quipu_pages_report *report, enum quipu_status *status,
                          struct quipu_error *err)
{
    int fd = -1;
    MDB_txn *snapshot = NULL;
    struct quipu_page_metas metas;
    int code = mdb_env_get_fd(source->env, &fd);
    if (code == 0) {
        code = begin_snapshot(source, fd, &metas, &snapshot);
    }
    if (code == 0) {
        *status = quipu_pages_check_file(fd, &metas, options, report, err);
        mdb_txn_abort(snapshot);
    }
    return code;
}

static bool keep_first(void *ctx, uint64_t position, const char *line)
{
    struct quipu_error *first = ctx;
    (void)position;
    if (first->message[0] == 0) {
        (void)quipu_error_set(first, QUIPU_CORRUPT, "%s", line);
    }
    return true;
}

enum quipu_status quipu_pages_require(const struct quipu_page_source *source,
                                      enum quipu_page_extent extent, struct quipu_error *err)
{
    struct quipu_error first = {.message = {0}};
    struct quipu_page_options options = {.extent = extent, .problem = keep_first, .ctx = &first};
    struct quipu_pages_report report = {.is_safe = false};
    enum quipu_status status = QUIPU_OK;
    int code = check_snapshot(source, &options, &report, &status, err);
    if (code != 0) {
        return quipu_lmdb_error(err, code, "%s: read", source->path);
    }
    if (status != QUIPU_OK || report.is_safe) {
        return status;
    }
    return quipu_error_set(err, QUIPU_CORRUPT,
                           "%s: " QUIPU_DATA_NAME ", %s; restore a backup, or import a bundle into "
                           "a new store",
                           source->path, first.message);
}

enum quipu_status
quipu_store_check_pages(struct quipu_store *store,
                        bool (*problem)(void *ctx, uint64_t position, const char *line),
                        void (*progress)(void *ctx, uint64_t done, uint64_t total), void *ctx,
                        struct quipu_pages_report *report, struct quipu_error *err)
{
    struct quipu_page_options options = {
        .extent = QUIPU_PAGES_ALL, .problem = problem, .progress = progress, .ctx = ctx};
    enum quipu_status status = quipu_store_check_process(store, err);
    int code = MDB_MAP_RESIZED;
    for (int i = 0; i < 2 && status == QUIPU_OK && code == MDB_MAP_RESIZED; i++) {
        status = quipu_store_enter(store, false, err);
        if (status != QUIPU_OK) {
            break;
        }
        /* Behind `enter`, which may have opened the environment afresh. */
        struct quipu_page_source source = {store->env, store->path, store->is_read_only};
        code = check_snapshot(&source, &options, report, &status, err);
        quipu_store_leave(store);
        if (code == MDB_MAP_RESIZED) {
            quipu_store_want_larger_map(store); /* another process has outgrown it */
        }
    }
    if (status == QUIPU_OK && code == MDB_MAP_RESIZED) {
        status = quipu_store_outgrown(store, err);
    } else if (status == QUIPU_OK && code != 0) {
        status = quipu_lmdb_error(err, code, "%s: look at its pages", store->path);
    }
    return status;
}

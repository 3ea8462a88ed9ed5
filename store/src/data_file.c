/*
 * Looking at data.mdb by pread, before its map is trusted: a page that lies behind the file's end
 * would be a SIGBUS, and a file that is not LMDB's is to be told from one that is damaged. The
 * layout is in data_file.h; page_walk.c looks at all of the pages. SPEC §6.1.
 *
 * LMDB does not write pages that a transaction took from the end of the file and gave back before
 * it committed. So a sound file may be shorter than its last page says, as long as all that is
 * missing is in the list of free pages; then the length is put right.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data_file.h"
#include "internal.h"
#include "quipu/alloc.h"

int quipu_data_read(int fd, uint64_t offset, void *into, size_t len)
{
    size_t have = 0;
    while (have < len) {
        ssize_t got = pread(fd, (uint8_t *)into + have, len - have, (off_t)(offset + have));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return got == 0 ? ENODATA : errno;
        }
        have += (size_t)got;
    }
    return 0;
}

/* False where the file ends before or reading fails. */
static bool read_at(int fd, uint64_t offset, void *into, size_t len)
{
    return quipu_data_read(fd, offset, into, len) == 0;
}

/* Is there a second meta page, behind a first one of some size? Then the first one is damaged. */
static bool has_second_page(int fd)
{
    for (uint32_t bytes = 512; bytes <= DATA_PAGE_BYTES_MAX; bytes *= 2) {
        uint8_t page[DATA_PAGE_HEADER_BYTES + DATA_META_BYTES];
        const uint8_t *meta = page + DATA_PAGE_HEADER_BYTES;
        if (read_at(fd, bytes, page, sizeof page) && data_load_u32(meta) == DATA_META_MAGIC &&
            data_load_u32(meta + 24) == bytes) {
            return true;
        }
    }
    return false;
}

static enum quipu_status check_first_page(int fd, uint64_t file_bytes, struct quipu_error *err)
{
    uint8_t page[DATA_PAGE_HEADER_BYTES + DATA_META_BYTES] = {0};
    size_t have = file_bytes < sizeof page ? (size_t)file_bytes : sizeof page;
    if (!read_at(fd, 0, page, have)) {
        return quipu_error_set(err, QUIPU_IO, "cannot read %s", QUIPU_DATA_NAME);
    }
    const uint8_t *meta = page + DATA_PAGE_HEADER_BYTES;
    if (have >= DATA_PAGE_HEADER_BYTES + 8 && data_load_u32(meta) != DATA_META_MAGIC) {
        return has_second_page(fd)
                   ? quipu_error_set(err, QUIPU_CORRUPT,
                                     "the first page of %s is damaged; restore it from a backup",
                                     QUIPU_DATA_NAME)
                   : quipu_error_set(err, QUIPU_NOT_A_STORE, "%s is not an LMDB file",
                                     QUIPU_DATA_NAME);
    }
    if (have < sizeof page) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "%s is cut off: it has %" PRIu64 " bytes and not even a first page",
                               QUIPU_DATA_NAME, file_bytes);
    }
    uint32_t version = data_load_u32(meta + 4);
    if (version != DATA_META_VERSION) {
        return quipu_error_set(err,
                               version > DATA_META_VERSION ? QUIPU_FORMAT_NEWER : QUIPU_CORRUPT,
                               "%s has LMDB's data version %u, this build reads %d",
                               QUIPU_DATA_NAME, version, DATA_META_VERSION);
    }
    uint32_t page_bytes = data_load_u32(meta + 24);
    if (page_bytes < 512 || page_bytes > DATA_PAGE_BYTES_MAX ||
        (page_bytes & (page_bytes - 1)) != 0) {
        return quipu_error_set(err, QUIPU_CORRUPT, "%s claims pages of %u bytes", QUIPU_DATA_NAME,
                               page_bytes);
    }
    if (file_bytes < 2 * (uint64_t)page_bytes) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "%s is cut off: it has %" PRIu64 " bytes, its two first pages %u",
                               QUIPU_DATA_NAME, file_bytes, 2 * page_bytes);
    }
    /* LMDB takes the size of a page from the newer one, whatever the other says. */
    uint8_t second[DATA_PAGE_HEADER_BYTES + DATA_META_BYTES];
    const uint8_t *other = second + DATA_PAGE_HEADER_BYTES;
    if (!read_at(fd, page_bytes, second, sizeof second)) {
        return quipu_error_set(err, QUIPU_IO, "cannot read %s", QUIPU_DATA_NAME);
    }
    if (data_load_u32(other) != DATA_META_MAGIC || data_load_u32(other + 4) != version ||
        data_load_u32(other + 24) != page_bytes) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "%s: its two first pages do not agree on what it is; restore it "
                               "from a backup",
                               QUIPU_DATA_NAME);
    }
    return QUIPU_OK;
}

enum quipu_status quipu_data_file_check(int folder_fd, struct quipu_error *err)
{
    struct stat info;
    if (fstatat(folder_fd, QUIPU_DATA_NAME, &info, 0) != 0) {
        return quipu_error_errno(err, errno, "look at %s", QUIPU_DATA_NAME);
    }
    if (!S_ISREG(info.st_mode)) {
        return quipu_error_set(err, QUIPU_NOT_A_STORE, "%s is not a file", QUIPU_DATA_NAME);
    }
    int fd = openat(folder_fd, QUIPU_DATA_NAME, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        return quipu_error_errno(err, errno, "open %s", QUIPU_DATA_NAME);
    }
    enum quipu_status status = check_first_page(fd, (uint64_t)info.st_size, err);
    (void)close(fd); /* was only read */
    return status;
}

/* ------------------------------------------------------------------ the list of free pages */

struct free_walk {
    int fd;
    size_t page_bytes;
    uint64_t file_pages; /* whole pages in the file */
    uint64_t last_page;
    uint8_t *page;    /* one page */
    uint8_t *missing; /* per page behind the file's end: 1 once it was found to be free */
    uint64_t found;
    uint64_t visited;
    struct quipu_buf todo; /* page numbers, u64 each */
};

/* `bytes` of pages from `number` on, if they lie in the file. */
static bool read_page(const struct free_walk *walk, uint64_t number, size_t offset, void *into,
                      size_t bytes)
{
    return number < walk->file_pages &&
           read_at(walk->fd, number * walk->page_bytes + offset, into, bytes);
}

static void note_free(struct free_walk *walk, uint64_t page)
{
    if (page < walk->file_pages || page > walk->last_page) {
        return;
    }
    uint8_t *mark = &walk->missing[page - walk->file_pages];
    walk->found += *mark == 0;
    *mark = 1;
}

/* A list of free pages: their number, then each; in the leaf or in pages of its own. */
static bool take_list(struct free_walk *walk, const uint8_t *data, size_t bytes)
{
    if (bytes < 8 || data_load_u64(data) > (bytes - 8) / 8) {
        return false;
    }
    uint64_t count = data_load_u64(data);
    for (uint64_t i = 0; i < count; i++) {
        note_free(walk, data_load_u64(data + 8 + 8 * i));
    }
    return true;
}

static bool take_large_list(struct free_walk *walk, uint64_t number, size_t bytes)
{
    uint64_t limit =
        (walk->file_pages - (number < walk->file_pages ? number : 0)) * (uint64_t)walk->page_bytes;
    if (number >= walk->file_pages || bytes > limit) {
        return false;
    }
    uint8_t *list = quipu_alloc(1, bytes);
    bool is_good = list != NULL && read_page(walk, number, DATA_PAGE_HEADER_BYTES, list, bytes) &&
                   take_list(walk, list, bytes);
    quipu_free(list);
    return is_good;
}

static bool take_node(struct free_walk *walk, size_t at, bool is_leaf)
{
    if (at < DATA_PAGE_HEADER_BYTES || at + DATA_NODE_HEADER_BYTES > walk->page_bytes) {
        return false;
    }
    struct quipu_data_node node = quipu_data_node_at(walk->page, at);
    if (!is_leaf) {
        quipu_buf_append(&walk->todo, &node.child, sizeof node.child);
        return walk->todo.status == QUIPU_OK;
    }
    size_t room = walk->page_bytes - at - DATA_NODE_HEADER_BYTES;
    bool is_large = (node.flags & DATA_NODE_IS_LARGE) != 0;
    size_t inline_bytes = is_large ? 8 : node.data_bytes;
    if (node.key_bytes > room || inline_bytes > room - node.key_bytes) {
        return false;
    }
    return is_large ? take_large_list(walk, data_load_u64(node.data), node.data_bytes)
                    : take_list(walk, node.data, node.data_bytes);
}

/* Visit the tree below the pages in todo. False where it is damaged. */
static bool walk_tree(struct free_walk *walk)
{
    while (walk->todo.len > 0) {
        walk->todo.len -= 8;
        uint64_t number = data_load_u64(walk->todo.data + walk->todo.len);
        if (walk->visited++ > walk->last_page ||
            !read_page(walk, number, 0, walk->page, walk->page_bytes)) {
            return false;
        }
        uint16_t flags = data_load_u16(walk->page + DATA_PAGE_FLAGS_AT);
        size_t lower = data_load_u16(walk->page + DATA_PAGE_LOWER_AT);
        bool is_leaf = (flags & DATA_PAGE_IS_LEAF) != 0;
        if ((!is_leaf && (flags & DATA_PAGE_IS_BRANCH) == 0) || lower < DATA_PAGE_HEADER_BYTES ||
            lower > walk->page_bytes) {
            return false;
        }
        for (size_t p = DATA_PAGE_HEADER_BYTES; p + 2 <= lower; p += 2) {
            if (!take_node(walk, data_load_u16(walk->page + p), is_leaf)) {
                return false;
            }
        }
    }
    return true;
}

/* Root of the free list and last page, from the newer of the two meta pages. */
static bool read_newest_meta(struct free_walk *walk, uint64_t *root)
{
    uint64_t newest = 0;
    bool has_any = false;
    for (uint64_t i = 0; i < 2; i++) {
        uint8_t meta[DATA_META_BYTES];
        if (!read_at(walk->fd, i * walk->page_bytes + DATA_PAGE_HEADER_BYTES, meta, sizeof meta) ||
            data_load_u32(meta) != DATA_META_MAGIC) {
            return false;
        }
        uint64_t txn = data_load_u64(meta + 128);
        if (!has_any || txn > newest) {
            newest = txn;
            has_any = true;
            *root = data_load_u64(meta + 64);
            walk->last_page = data_load_u64(meta + 120);
        }
    }
    return true;
}

/* Are all pages behind the file's end free? The write lock is held, so nothing moves. */
static bool missing_pages_are_free(struct free_walk *walk)
{
    uint64_t root = DATA_NO_PAGE;
    if (!read_newest_meta(walk, &root) || walk->last_page < walk->file_pages) {
        return false;
    }
    uint64_t missing = walk->last_page + 1 - walk->file_pages;
    if (root == DATA_NO_PAGE || missing > DATA_MISSING_PAGES_MAX) {
        return false;
    }
    walk->page = quipu_alloc(1, walk->page_bytes);
    walk->missing = quipu_alloc_zero((size_t)missing, 1);
    quipu_buf_append(&walk->todo, &root, sizeof root);
    bool is_good =
        walk->page != NULL && walk->missing != NULL && walk_tree(walk) && walk->found == missing;
    quipu_buf_release(&walk->todo);
    quipu_free(walk->missing);
    quipu_free(walk->page);
    return is_good;
}

static int length_of(struct quipu_store *store, int fd, uint64_t *want, uint64_t *have)
{
    MDB_envinfo info;
    MDB_stat stat;
    struct stat file;
    int code = mdb_env_info(store->env, &info);
    if (code == 0) {
        code = mdb_env_stat(store->env, &stat);
    }
    /* The file is looked at after the meta page: pages are written before it. */
    if (code == 0 && fstat(fd, &file) != 0) {
        code = errno;
    }
    if (code == 0) {
        *want = info.me_last_pgno >= UINT64_MAX / stat.ms_psize
                    ? UINT64_MAX
                    : ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
        *have = (uint64_t)file.st_size;
    }
    return code;
}

/* A short file, which nobody can write now. Its length is put right where it can be: nobody reads
 * the pages that are missing, but a copy of the file by others would be short as well. */
static enum quipu_status check_short(struct quipu_store *store, int fd, struct quipu_error *err)
{
    uint64_t want = 0;
    uint64_t have = 0;
    MDB_stat stat;
    int code = length_of(store, fd, &want, &have);
    if (code == 0) {
        code = mdb_env_stat(store->env, &stat);
    }
    if (code != 0) {
        return quipu_lmdb_error(err, code, "%s: look at %s", store->path, QUIPU_DATA_NAME);
    }
    if (have >= want) {
        return QUIPU_OK;
    }
    struct free_walk walk = {
        .fd = fd, .page_bytes = stat.ms_psize, .file_pages = have / stat.ms_psize};
    if (!missing_pages_are_free(&walk)) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "%s: %s is cut off: it has %" PRIu64 " bytes, its pages need "
                               "%" PRIu64 "; restore it from a backup",
                               store->path, QUIPU_DATA_NAME, have, want);
    }
    if (!store->is_read_only && ftruncate(fd, (off_t)want) != 0) {
        return quipu_error_errno(err, errno, "%s: put the length of %s right", store->path,
                                 QUIPU_DATA_NAME);
    }
    return QUIPU_OK;
}

enum quipu_status quipu_data_file_check_length(struct quipu_store *store, struct quipu_error *err)
{
    int fd = -1;
    uint64_t want = 0;
    uint64_t have = 0;
    int code = mdb_env_get_fd(store->env, &fd);
    if (code == 0) {
        code = length_of(store, fd, &want, &have);
    }
    if (code != 0) {
        return quipu_lmdb_error(err, code, "%s: look at %s", store->path, QUIPU_DATA_NAME);
    }
    if (have >= want) {
        return QUIPU_OK;
    }

    /* Short. Hold every writer off and look closely; beginning a transaction reads no page. A store
     * that can only be read has them held off already, and LMDB would refuse the transaction. */
    MDB_txn *mdb = NULL;
    code = store->is_read_only ? 0 : mdb_txn_begin(store->env, NULL, 0, &mdb);
    if (code != 0) {
        return quipu_lmdb_error(err, code, "%s: look at %s", store->path, QUIPU_DATA_NAME);
    }
    enum quipu_status status = check_short(store, fd, err);
    if (mdb != NULL) {
        mdb_txn_abort(mdb);
    }
    return status;
}

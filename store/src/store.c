/*
 * Opening and closing a store, in the order in which it can be refused: the folder, what is in it,
 * this process, the environment. SPEC §6.1.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "folder.h"
#include "internal.h"
#include "internal/failpoint.h"
#include "quipu/alloc.h"

/* The least that can be mapped; the kernel rounds up. */
#define OWN_MARK_BYTES 1

/* So often open.lock may be deleted between our opening and locking it. */
#define OPEN_TRIES 100

/* Less than this left, and a write error is the disk being full. */
#define DISK_LEAST_BYTES (UINT64_C(1) << 20)

struct quipu_store_tuning quipu_store_tuning_default(void)
{
    return (struct quipu_store_tuning){
        .tail_events = 1024,
        .fan_out = QUIPU_FAN_OUT_MAX,
        .segment_entries = 16384,
        .trash_values = 24,
        .dirty_pages_max = 100000,
        .walk_events = 262144,
    };
}

int quipu_write_code(const char *path, int code)
{
    struct statvfs fs;
    bool is_full = code == EIO && statvfs(path, &fs) == 0 &&
                   (uint64_t)fs.f_bavail * fs.f_frsize < DISK_LEAST_BYTES;
    return is_full ? ENOSPC : code;
}

static void own_mark_make(struct quipu_store *store)
{
#ifdef MADV_WIPEONFORK
    void *page =
        mmap(NULL, OWN_MARK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return;
    }
    if (madvise(page, OWN_MARK_BYTES, MADV_WIPEONFORK) != 0) {
        (void)munmap(page, OWN_MARK_BYTES); /* was never used */
        return;
    }
    *(uint8_t *)page = 1;
    store->own_mark = page;
#else
    (void)store;
#endif
}

static void own_mark_release(struct quipu_store *store)
{
    if (store->own_mark != NULL) {
        (void)munmap((void *)(uintptr_t)store->own_mark, OWN_MARK_BYTES); /* is mapped */
        store->own_mark = NULL;
    }
}

bool quipu_store_is_own(const struct quipu_store *store)
{
    return store->own_mark != NULL ? *store->own_mark != 0 : store->pid == getpid();
}

enum quipu_status quipu_store_check_process(const struct quipu_store *store,
                                            struct quipu_error *err)
{
    if (!quipu_store_is_own(store)) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "%s was opened by process %ld, before the fork; open it again here",
                               store->path, (long)store->pid);
    }
    return QUIPU_OK;
}

enum quipu_status quipu_store_refuse_write(const struct quipu_store *store, struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_PERMISSION,
                           "%s can only be read here; make its folder writable, or work on a "
                           "backup of it",
                           store->path);
}

/* There is a data file: is it one of ours? */
static enum quipu_status check_data(const struct quipu_store *store, struct quipu_error *err)
{
    bool has_open_lock = false;
    enum quipu_status status =
        quipu_folder_has(store->folder_fd, QUIPU_OPEN_LOCK_NAME, &has_open_lock, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = quipu_data_file_check(store->folder_fd, err);
    if (status != QUIPU_OK) {
        return quipu_error_wrap(err, status, "%s", store->path);
    }
    /* No quipu has worked here: it may be an environment of others, perhaps open in this very
     * process, so that nothing may be made and no lock file touched before we know. */
    return has_open_lock ? QUIPU_OK : quipu_env_probe(store->real_path, err);
}

/* Is there a store, and may there be one? What is asked of the folder before any file is made. */
static enum quipu_status check_folder(const struct quipu_store *store, struct quipu_error *err)
{
    bool has_data = false;
    enum quipu_status status = quipu_folder_has(store->folder_fd, QUIPU_DATA_NAME, &has_data, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (has_data) {
        return check_data(store, err);
    }
    if (store->options.create == QUIPU_STORE_OPEN_EXISTING) {
        return quipu_error_set(err, QUIPU_NOT_FOUND, "%s: no store in this folder", store->path);
    }
    bool is_blank = false;
    status = quipu_folder_is_blank(store->folder_fd, &is_blank, err);
    if (status != QUIPU_OK || is_blank) {
        return status;
    }
    /* Another process may have made the store since we looked for it. */
    status = quipu_folder_has(store->folder_fd, QUIPU_DATA_NAME, &has_data, err);
    if (status != QUIPU_OK) {
        return status;
    }
    return has_data
               ? check_data(store, err)
               : quipu_error_set(err, QUIPU_NOT_A_STORE,
                                 "%s: no store in this folder, and it is not empty", store->path);
}

/* A store on a read-only mount, or in a folder of somebody else, can still be read and verified.
 * LMDB's own locks cannot be taken there, so whoever writes would reuse pages that are being read:
 * writers are kept out as long as it is open (quipu_store_guard). */
static bool is_for_reading_only(const struct quipu_store *store, int number)
{
    bool has_data = false;
    return (number == EROFS || number == EACCES) &&
           store->options.create != QUIPU_STORE_CREATE_NEW &&
           faccessat(store->folder_fd, ".", W_OK, AT_EACCESS) != 0 &&
           quipu_folder_has(store->folder_fd, QUIPU_DATA_NAME, &has_data, NULL) == QUIPU_OK &&
           has_data;
}

/* @retval QUIPU_DONE  the file was deleted meanwhile (backup.c does that): once more */
static enum quipu_status lock_open_file(const struct quipu_store *store, int fd,
                                        struct quipu_error *err)
{
    bool is_held = true;
    enum quipu_status status;
    if (store->is_read_only) {
        status = quipu_folder_lock_reader(fd, store->path, err);
    } else if (store->is_alone) {
        status = quipu_folder_lock_alone(fd, store->path, err);
    } else {
        status = quipu_byte_lock(fd, (off_t)store->pid, false, &is_held, err);
    }
    if (status == QUIPU_OK && !is_held) {
        status = quipu_folder_explain_lock(fd, store->path, err);
    }
    if (status == QUIPU_OK && !quipu_folder_names(store->folder_fd, QUIPU_OPEN_LOCK_NAME, fd)) {
        status = QUIPU_DONE;
    }
    return status;
}

enum quipu_status quipu_store_guard(struct quipu_store *store, struct quipu_error *err)
{
    int fd = -1;
    int number = quipu_lock_file_open(store->folder_fd, QUIPU_OPEN_LOCK_NAME, O_RDONLY, &fd);
    if (number == ENOENT) {
        return QUIPU_OK; /* nobody has it open for writing, who would have made the file */
    }
    if (number == EACCES) {
        return quipu_error_set(err, QUIPU_PERMISSION,
                               "%s: %s cannot be read, so nobody can tell whether the store is "
                               "being written to; have it made readable (chmod a+r), or read a "
                               "backup",
                               store->path, QUIPU_OPEN_LOCK_NAME);
    }
    if (number != 0) {
        return quipu_lock_file_error(err, number, store->path, QUIPU_OPEN_LOCK_NAME);
    }
    enum quipu_status status = lock_open_file(store, fd, err);
    if (status == QUIPU_DONE) {
        status = quipu_error_set(err, QUIPU_BUSY, "%s was in use just now; try again", store->path);
    }
    if (status != QUIPU_OK) {
        (void)close(fd); /* was only read */
        return status;
    }
    store->open_lock_fd = fd;
    return QUIPU_OK;
}

/* One byte of open.lock for each process that has the store open. LMDB's own locks would be dropped
 * by a second opening in the same process, so it must not come that far. */
static enum quipu_status take_open_lock(struct quipu_store *store, struct quipu_error *err)
{
    enum quipu_status status = QUIPU_DONE;
    for (int i = 0; i < OPEN_TRIES && status == QUIPU_DONE; i++) {
        int fd = -1;
        int number =
            quipu_lock_file_open(store->folder_fd, QUIPU_OPEN_LOCK_NAME, O_RDWR | O_CREAT, &fd);
        if (number != 0 && is_for_reading_only(store, number)) {
            store->is_read_only = true;
            return store->is_alone ? QUIPU_OK : quipu_store_guard(store, err);
        }
        if (number != 0) {
            return quipu_lock_file_error(err, number, store->path, QUIPU_OPEN_LOCK_NAME);
        }
        status = lock_open_file(store, fd, err);
        if (status == QUIPU_OK) {
            store->open_lock_fd = fd;
        } else {
            (void)close(fd); /* nothing was written */
        }
    }
    return status != QUIPU_DONE
               ? status
               : quipu_error_set(err, QUIPU_BUSY, "%s was in use just now; try again", store->path);
}

static enum quipu_status create_under_lock(struct quipu_store *store, struct quipu_error *err)
{
    bool is_held = false;
    bool was_made = false;
    enum quipu_status status =
        quipu_byte_lock(store->open_lock_fd, QUIPU_CREATION_BYTE, true, &is_held, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = quipu_create_files(store, store->options.create != QUIPU_STORE_OPEN_EXISTING,
                                &was_made, err);
    quipu_byte_unlock(store->open_lock_fd, QUIPU_CREATION_BYTE);
    if (status == QUIPU_OK && store->options.create == QUIPU_STORE_CREATE_NEW && !was_made) {
        status = quipu_error_set(err, QUIPU_EXISTS, "%s: there is a store already", store->path);
    }
    return status;
}

static enum quipu_status open_folder(struct quipu_store *store, struct quipu_error *err)
{
    enum quipu_status status =
        quipu_folder_enter(store->path, store->options.create != QUIPU_STORE_OPEN_EXISTING,
                           &store->folder_fd, store->real_path, err);
    if (status == QUIPU_OK) {
        status = quipu_failpoint("store.create.mkdir", err);
    }
    if (status == QUIPU_OK) {
        status = check_folder(store, err);
    }
    if (status == QUIPU_OK) {
        status = take_open_lock(store, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_failpoint("store.create.lock", err);
    }
    return status == QUIPU_OK && !store->is_read_only ? create_under_lock(store, err) : status;
}

static enum quipu_status init_locks(struct quipu_store *store, struct quipu_error *err)
{
    pthread_mutexattr_t attributes;
    int code = pthread_mutexattr_init(&attributes);
    if (code == 0) {
        code = pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
        if (code == 0) {
            code = pthread_mutex_init(&store->write_mutex, &attributes);
        }
        (void)pthread_mutexattr_destroy(&attributes); /* frees nothing on Linux */
    }
    if (code == 0) {
        code = pthread_mutex_init(&store->mutex, NULL);
    }
    if (code == 0) {
        code = pthread_mutex_init(&store->read_tail_mutex, NULL);
    }
    return code == 0 ? QUIPU_OK : quipu_error_errno(err, code, "%s: make a lock", store->path);
}

static enum quipu_status init_store(struct quipu_store *store, const char *path,
                                    struct quipu_error *err)
{
    store->folder_fd = -1;
    store->open_lock_fd = -1;
    store->pid = getpid();
    own_mark_make(store);
    size_t bytes = strlen(path) + 1;
    store->path = quipu_alloc(bytes, 1);
    if (store->path == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory to open %s", path);
    }
    memcpy(store->path, path, bytes);
    enum quipu_status status = init_locks(store, err);
    if (status == QUIPU_OK) {
        status = quipu_writer_init(&store->writer, &store->tuning, err);
    }
    if (status == QUIPU_OK) {
        /* Four flushes long, so that readers of somewhat different ages can share it. */
        status = quipu_tail_init(&store->read_tail, 4 * store->tuning.tail_events, err);
    }
    return status;
}

/* What distinguishes one opening from another. */
struct opening {
    const struct quipu_store_options *options;
    const struct quipu_store_tuning *tuning;
    bool is_alone;
    bool is_repair;
};

static enum quipu_status open_as(const char *path, const struct opening *how,
                                 struct quipu_store **out, struct quipu_error *err)
{
    const struct quipu_store_options *options = how->options;
    struct quipu_store_options defaults = QUIPU_STORE_OPTIONS_INIT;
    const struct quipu_store_options *given = options == NULL ? &defaults : options;
    if (path == NULL || path[0] == 0 || out == NULL || given->size != sizeof *given ||
        (unsigned)given->create > QUIPU_STORE_CREATE_NEW ||
        (unsigned)given->durability > QUIPU_RELAXED) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "open a store: path missing, or options out of range");
    }
    struct quipu_store *store = quipu_alloc_zero(1, sizeof *store);
    if (store == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory to open %s", path);
    }
    store->options = *given;
    store->tuning = *how->tuning;
    store->is_alone = how->is_alone;
    store->is_repair = how->is_repair;
    enum quipu_status status = init_store(store, path, err);
    if (status == QUIPU_OK) {
        status = open_folder(store, err);
    }
    if (status == QUIPU_OK && store->is_alone && store->is_read_only) {
        status = quipu_store_refuse_write(store, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_env_open(store, err);
    }
    if (status != QUIPU_OK) {
        quipu_store_close(&store);
        return status;
    }
    *out = store;
    return QUIPU_OK;
}

enum quipu_status quipu_store_open_tuned(const char *path,
                                         const struct quipu_store_options *options,
                                         const struct quipu_store_tuning *tuning,
                                         struct quipu_store **out, struct quipu_error *err)
{
    return open_as(path, &(struct opening){.options = options, .tuning = tuning}, out, err);
}

enum quipu_status quipu_store_open_alone(const char *path, const struct quipu_store_tuning *tuning,
                                         bool is_repair, struct quipu_store **out,
                                         struct quipu_error *err)
{
    struct quipu_store_options options = QUIPU_STORE_OPTIONS_INIT;
    options.create = QUIPU_STORE_OPEN_EXISTING;
    struct opening how = {
        .options = &options, .tuning = tuning, .is_alone = true, .is_repair = is_repair};
    return open_as(path, &how, out, err);
}

enum quipu_status quipu_store_open_scratch(const struct quipu_store *parent,
                                           struct quipu_store **out, struct quipu_error *err)
{
    struct quipu_store *store = quipu_alloc_zero(1, sizeof *store);
    if (store == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory to open the new file of %s",
                               parent->path);
    }
    store->options = (struct quipu_store_options)QUIPU_STORE_OPTIONS_INIT;
    store->tuning = parent->tuning;
    store->is_scratch = true;
    enum quipu_status status = init_store(store, parent->path, err);
    if (status == QUIPU_OK) {
        status = quipu_folder_temp_path(parent->real_path, store->real_path, err);
    }
    if (status == QUIPU_OK) {
        store->folder_fd = openat(parent->folder_fd, QUIPU_TEMP_NAME,
                                  O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (store->folder_fd < 0) {
            status = quipu_error_errno(err, errno, "%s: open %s", parent->path, QUIPU_TEMP_NAME);
        }
    }
    if (status == QUIPU_OK) {
        status = quipu_env_open(store, err);
    }
    if (status != QUIPU_OK) {
        quipu_store_close(&store);
        return status;
    }
    *out = store;
    return QUIPU_OK;
}

enum quipu_status quipu_store_open(const char *path, const struct quipu_store_options *options,
                                   struct quipu_store **out, struct quipu_error *err)
{
    struct quipu_store_tuning tuning = quipu_store_tuning_default();
    return quipu_store_open_tuned(path, options, &tuning, out, err);
}

void quipu_store_close(struct quipu_store **store_pointer)
{
    if (store_pointer == NULL || *store_pointer == NULL) {
        return;
    }
    struct quipu_store *store = *store_pointer;
    *store_pointer = NULL;
    quipu_store_drop_idle(store);
    if (quipu_store_is_own(store)) {
        quipu_env_close(store);
        if (store->open_lock_fd >= 0) {
            quipu_folder_unlock(store->open_lock_fd);
        }
    }
    /* In a forked child the environment is the parent's: its map and locks are left alone. */
    if (store->open_lock_fd >= 0) {
        (void)close(store->open_lock_fd); /* nothing was written */
    }
    if (store->folder_fd >= 0) {
        (void)close(store->folder_fd); /* was only read */
    }
    quipu_tail_release(&store->read_tail);
    quipu_writer_release(&store->writer);
    /* Fine for locks that were never made, too: glibc's are zeroes then. */
    (void)pthread_mutex_destroy(&store->read_tail_mutex);
    (void)pthread_mutex_destroy(&store->write_mutex);
    (void)pthread_mutex_destroy(&store->mutex);
    own_mark_release(store);
    quipu_free(store->path);
    quipu_free(store);
}

const char *quipu_store_path(const struct quipu_store *store)
{
    return store->path;
}

int quipu_store_folder(const struct quipu_store *store)
{
    return store->folder_fd;
}

struct quipu_uuid quipu_store_id(const struct quipu_store *store)
{
    return store->id;
}

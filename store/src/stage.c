/*
 * Work on a copy of a store that nobody else has open, in as many transactions as it takes, and put
 * the copy in the store's place by one rename: all of the work is there, or none. The copy is made
 * in create.tmp, which whoever opens the store next removes. Never writes to data.mdb.
 *
 * Specification: docs/SPEC.md §6.8.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "folder.h"
#include "internal.h"
#include "internal/failpoint.h"
#include "quipu/alloc.h"
#include "upkeep.h"

struct quipu_store_stage {
    struct quipu_store *store; /* held alone */
    struct quipu_store *copy;
};

/* What is kept beside the data file, such as the signing key, is the store's and not copied. */
static enum quipu_status share_folder(struct quipu_store_stage *stage, struct quipu_error *err)
{
    int fd = fcntl(stage->store->folder_fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) {
        return quipu_error_errno(err, errno, "%s: open its folder again", stage->store->path);
    }
    (void)close(stage->copy->folder_fd); /* was only read */
    stage->copy->folder_fd = fd;
    return QUIPU_OK;
}

enum quipu_status quipu_store_stage_begin(const char *path, struct quipu_store_stage **out,
                                          struct quipu_error *err)
{
    struct quipu_store_tuning tuning = quipu_store_tuning_default();
    struct quipu_upkeep_options options;
    enum quipu_status status = quipu_upkeep_take(NULL, path, &options, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_store_stage *stage = quipu_alloc_zero(1, sizeof *stage);
    if (stage == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory to stage work on %s", path);
    }
    status = quipu_store_open_alone(path, &tuning, false, &stage->store, err);
    if (status == QUIPU_OK) {
        status =
            quipu_copy_make(stage->store, stage->store->folder_fd, stage->store->real_path, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_failpoint("store.stage.copy", err);
    }
    if (status == QUIPU_OK) {
        status = quipu_store_open_scratch(stage->store, &stage->copy, err);
    }
    if (status == QUIPU_OK) {
        status = share_folder(stage, err);
    }
    if (status != QUIPU_OK) {
        quipu_store_stage_abort(&stage);
        return status;
    }
    *out = stage;
    return QUIPU_OK;
}

struct quipu_store *quipu_store_stage_store(struct quipu_store_stage *stage)
{
    return stage->copy;
}

enum quipu_status quipu_store_stage_commit(struct quipu_store_stage **ending,
                                           struct quipu_error *err)
{
    struct quipu_store_stage *stage = *ending;
    int code = mdb_env_sync(stage->copy->env, 1);
    enum quipu_status status =
        code == 0 ? QUIPU_OK
                  : quipu_store_write_error(stage->copy, err, code, "sync the staged file");
    quipu_store_close(&stage->copy);
    if (status == QUIPU_OK) {
        status = quipu_upkeep_keep_owner(stage->store, err); /* syncs it, too */
    }
    if (status == QUIPU_OK) {
        status = quipu_failpoint("store.stage.sync", err);
    }
    if (status == QUIPU_OK) {
        status = quipu_upkeep_replace(stage->store, "store.stage.rename", err);
    }
    quipu_store_stage_abort(ending);
    return status;
}

void quipu_store_stage_abort(struct quipu_store_stage **ending)
{
    struct quipu_store_stage *stage = *ending;
    *ending = NULL;
    if (stage == NULL) {
        return;
    }
    quipu_store_close(&stage->copy);
    if (stage->store != NULL) {
        (void)quipu_folder_remove_temp(stage->store->folder_fd, NULL); /* the next opening, too */
    }
    quipu_store_close(&stage->store);
    quipu_free(stage);
}

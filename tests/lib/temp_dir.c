/*
 * A folder of its own for each test.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "temp_dir.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

void temp_dir_init(struct temp_dir *dir)
{
    const char *base = getenv("TMPDIR");
    int len = snprintf(dir->path, sizeof dir->path, "%s/quipu-test-XXXXXX",
                       base != NULL && base[0] != 0 ? base : "/tmp");
    if (len < 0 || (size_t)len >= sizeof dir->path || mkdtemp(dir->path) == NULL) {
        perror("mkdtemp");
        abort();
    }
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

void temp_dir_release(struct temp_dir *dir)
{
    (void)nftw(dir->path, remove_one, 16, FTW_DEPTH | FTW_PHYS); /* best effort, in a temp folder */
}

char *temp_dir_join(const struct temp_dir *dir, const char *name, char out[2 * TEMP_DIR_BYTES])
{
    (void)snprintf(out, (size_t)2 * TEMP_DIR_BYTES, "%s/%s", dir->path, name);
    return out;
}

/*
 * Runs a fuzz target over files, where the compiler has no libFuzzer: so each corpus is an ordinary
 * test too. Arguments are files or folders of files; no input counts as a failure.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

#define PATH_BYTES 4096

static unsigned long replayed;

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct stat info;
    if (file == NULL || fstat(fileno(file), &info) != 0) {
        perror(path);
        if (file != NULL) {
            (void)fclose(file);
        }
        return 1;
    }
    /* Exactly as many bytes as the file has, so that a sanitizer sees the first one too many. */
    size_t size = (size_t)info.st_size;
    uint8_t *data = malloc(size == 0 ? 1 : size);
    int failed = data == NULL || fread(data, 1, size, file) != size;
    if (failed) {
        (void)fprintf(stderr, "%s: cannot be read\n", path);
    } else {
        (void)LLVMFuzzerTestOneInput(data, size);
        replayed++;
    }
    free(data);
    (void)fclose(file);
    return failed;
}

static int replay_folder(const char *path)
{
    DIR *folder = opendir(path);
    if (folder == NULL) {
        perror(path);
        return 1;
    }
    int failed = 0;
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] == '.') {
            continue;
        }
        char name[PATH_BYTES];
        int len = snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        failed |= len < 0 || (size_t)len >= sizeof name ? 1 : replay_file(name);
    }
    (void)closedir(folder);
    return failed;
}

int main(int argc, char **argv)
{
    int failed = 0;
    for (int i = 1; i < argc; i++) {
        struct stat info;
        if (stat(argv[i], &info) == 0 && S_ISDIR(info.st_mode)) {
            failed |= replay_folder(argv[i]);
        } else {
            failed |= replay_file(argv[i]);
        }
    }
    (void)printf("%lu inputs replayed\n", replayed);
    return failed != 0 || replayed == 0;
}

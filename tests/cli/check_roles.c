/*
 * Holds the rows of the projection "roles" against the signed root files: for each version the same
 * thresholds and numbers of keys.
 *
 *   check_roles ROWS HISTORY     ROWS: lines of `quipu replay --projection roles --show --json`
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERSIONS   15
#define LINE_BYTES 8192

static _Noreturn void fail(const char *what, int version)
{
    (void)fprintf(stderr, "failed: version %d: %s\n", version, what);
    exit(1);
}

/* Roles of the signed file as {role: [threshold, number of keys]}. */
static json_t *thresholds_of(const char *history, int version)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%d.root.json", history, version);
    json_t *file = json_load_file(path, 0, NULL);
    json_t *roles = json_object_get(json_object_get(file, "signed"), "roles");
    json_t *out = json_object();
    const char *name;
    json_t *role;
    if (roles == NULL || out == NULL) {
        fail("its file cannot be read", version);
    }
    json_object_foreach(roles, name, role)
    {
        json_t *pair = json_pack("[I,I]", json_integer_value(json_object_get(role, "threshold")),
                                 (json_int_t)json_array_size(json_object_get(role, "keyids")));
        if (json_object_set_new(out, name, pair) != 0) {
            fail("out of memory", version);
        }
    }
    json_decref(file);
    return out;
}

int main(int argc, char **argv)
{
    char line[LINE_BYTES];
    int version = 0;
    FILE *rows = argc == 3 ? fopen(argv[1], "r") : NULL;
    if (rows == NULL) {
        (void)fputs("usage: check_roles ROWS HISTORY\n", stderr);
        return 2;
    }
    while (fgets(line, sizeof line, rows) != NULL) {
        char key[32];
        version++;
        json_t *row = json_loads(line, 0, NULL);
        json_t *value = json_object_get(row, "value");
        json_t *expected = thresholds_of(argv[2], version);
        (void)snprintf(key, sizeof key, "root/%04d", version);
        const char *found = json_string_value(json_object_get(row, "key"));
        if (found == NULL || strcmp(found, key) != 0) {
            fail("its row is not in its place", version);
        }
        if (!json_equal(json_object_get(value, "thresholds"), expected)) {
            fail("other thresholds than in its file", version);
        }
        json_decref(expected);
        json_decref(row);
    }
    (void)fclose(rows); /* only read from */
    if (version != VERSIONS) {
        fail("the last row, where 15 were expected", version);
    }
    (void)printf("%d root versions have the thresholds of their files\n", version);
    return 0;
}

/*
 * The peer of bench_projection: SQLite in WAL mode, synchronous FULL, doing the same counters by
 * UPSERT with prepared statements, its checkpoint in the same transaction. It is handed the keys
 * from memory: reading and decoding a log of its own would come on top.
 *
 * 64 MiB of cache and 1 GiB of memory map, which is more than it takes by default; the table is
 * WITHOUT ROWID, its fastest layout for this.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "bench_projection.h"
#include "bench_store.h"

static const char SCHEMA[] =
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-65536;"
    "PRAGMA mmap_size=1073741824;"
    "CREATE TABLE counts(key TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE checkpoint(name TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;";

static void execute(sqlite3 *db, const char *text)
{
    char *line = NULL;
    if (sqlite3_exec(db, text, NULL, NULL, &line) != SQLITE_OK) {
        die("sqlite: %s: %s", text, line);
    }
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *text)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v3(db, text, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) !=
        SQLITE_OK) {
        die("sqlite: %s: %s", text, sqlite3_errmsg(db));
    }
    return statement;
}

static void step(sqlite3 *db, sqlite3_stmt *statement)
{
    if (sqlite3_step(statement) != SQLITE_DONE) {
        die("sqlite: %s", sqlite3_errmsg(db));
    }
    sqlite3_reset(statement);
}

static void batch(sqlite3 *db, sqlite3_stmt *upsert, uint64_t first, uint64_t end, uint64_t keys)
{
    for (uint64_t number = first; number < end; number++) {
        char key[KEY_BYTES];
        key_text(key_number(number, keys), key);
        sqlite3_bind_text(upsert, 1, key, -1, SQLITE_STATIC);
        step(db, upsert);
    }
}

double sqlite_upserts(const char *path, uint64_t events, uint64_t keys)
{
    char name[4096];
    sqlite3 *db = NULL;
    folder_remove(path);
    (void)mkdir(path, 0700);
    (void)snprintf(name, sizeof name, "%s/counts.db", path);
    if (sqlite3_open(name, &db) != SQLITE_OK) {
        die("sqlite: cannot open %s", name);
    }
    execute(db, SCHEMA);
    sqlite3_stmt *upsert = prepare(db, "INSERT INTO counts(key, n) VALUES(?1, 1) "
                                       "ON CONFLICT(key) DO UPDATE SET n = n + 1");
    sqlite3_stmt *checkpoint = prepare(db, "INSERT INTO checkpoint(name, position) VALUES('c', ?1) "
                                           "ON CONFLICT(name) DO UPDATE SET position = ?1");
    double began = now_seconds();
    for (uint64_t first = 0; first < events; first += BATCH_EVENTS) {
        uint64_t end = events - first < BATCH_EVENTS ? events : first + BATCH_EVENTS;
        execute(db, "BEGIN IMMEDIATE");
        batch(db, upsert, first, end, keys);
        sqlite3_bind_int64(checkpoint, 1, (sqlite3_int64)end);
        step(db, checkpoint);
        execute(db, "COMMIT");
    }
    double took = now_seconds() - began;
    sqlite3_finalize(upsert);
    sqlite3_finalize(checkpoint);
    sqlite3_close(db);
    folder_remove(path);
    return took;
}

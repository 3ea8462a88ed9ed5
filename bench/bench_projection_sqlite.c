/*
 * The peers of bench_projection: SQLite in WAL mode, synchronous FULL, doing the same counters by
 * UPSERT with prepared statements, its checkpoint in the same transaction. One is handed the keys
 * from memory; the other does the whole work and reads them from a log of its own, with the same
 * bytes in each row.
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
    "CREATE TABLE IF NOT EXISTS counts(key TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS checkpoint(name TEXT PRIMARY KEY, position INTEGER NOT NULL) "
    "WITHOUT ROWID;";

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

struct session {
    sqlite3 *db;
    sqlite3_stmt *upsert;
    sqlite3_stmt *checkpoint;
    sqlite3_stmt *read; /* NULL: keys come from memory */
    uint64_t keys;
};

static void count_key(const struct session *session, const char *key)
{
    sqlite3_bind_text(session->upsert, 1, key, -1, SQLITE_STATIC);
    step(session->db, session->upsert);
}

static void batch_from_memory(const struct session *session, uint64_t first, uint64_t end)
{
    for (uint64_t number = first; number < end; number++) {
        char key[KEY_BYTES];
        key_text(key_number(number, session->keys), key);
        count_key(session, key);
    }
}

/* The key is the aggregate's id, or for few keys its last four digits. */
static void batch_from_log(const struct session *session, uint64_t first, uint64_t end)
{
    int status;
    sqlite3_bind_int64(session->read, 1, (sqlite3_int64)first);
    sqlite3_bind_int64(session->read, 2, (sqlite3_int64)end);
    while ((status = sqlite3_step(session->read)) == SQLITE_ROW) {
        const char *id = (const char *)sqlite3_column_text(session->read, 0);
        int bytes = sqlite3_column_bytes(session->read, 0);
        char key[KEY_BYTES];
        bench_sink += (uint64_t)sqlite3_column_bytes(session->read, 1);
        (void)snprintf(key, sizeof key, "%s",
                       session->keys <= FEW_KEYS && bytes > 4 ? id + bytes - 4 : id);
        count_key(session, key);
    }
    if (status != SQLITE_DONE) {
        die("sqlite: %s", sqlite3_errmsg(session->db));
    }
    sqlite3_reset(session->read);
}

static struct spent upserts(struct session *session, uint64_t events)
{
    sqlite3 *db = session->db;
    session->upsert = prepare(db, "INSERT INTO counts(key, n) VALUES(?1, 1) "
                                  "ON CONFLICT(key) DO UPDATE SET n = n + 1");
    session->checkpoint = prepare(db, "INSERT INTO checkpoint(name, position) VALUES('c', ?1) "
                                      "ON CONFLICT(name) DO UPDATE SET position = ?1");
    struct spent began = spent_now();
    for (uint64_t first = 0; first < events; first += BATCH_EVENTS) {
        uint64_t end = events - first < BATCH_EVENTS ? events : first + BATCH_EVENTS;
        execute(db, "BEGIN IMMEDIATE");
        if (session->read == NULL) {
            batch_from_memory(session, first, end);
        } else {
            batch_from_log(session, first, end);
        }
        sqlite3_bind_int64(session->checkpoint, 1, (sqlite3_int64)end);
        step(db, session->checkpoint);
        execute(db, "COMMIT");
    }
    struct spent took = spent_since(&began);
    sqlite3_finalize(session->upsert);
    sqlite3_finalize(session->checkpoint);
    return took;
}

static sqlite3 *database_open(const char *path)
{
    char name[4096];
    sqlite3 *db = NULL;
    (void)mkdir(path, 0700);
    (void)snprintf(name, sizeof name, "%s/counts.db", path);
    if (sqlite3_open(name, &db) != SQLITE_OK) {
        die("sqlite: cannot open %s", name);
    }
    execute(db, SCHEMA);
    return db;
}

struct spent sqlite_upserts(const char *path, uint64_t events, uint64_t keys)
{
    folder_remove(path);
    struct session session = {.db = database_open(path), .keys = keys};
    struct spent took = upserts(&session, events);
    sqlite3_close(session.db);
    folder_remove(path);
    return took;
}

/* As many bytes an event as the record of bench_projection's has. */
static void log_fill(sqlite3 *db, uint64_t events)
{
    static const uint8_t block[EVENT_BYTES];
    sqlite3_stmt *insert = prepare(db, "INSERT INTO log(id, event) VALUES(?1, ?2)");
    execute(db, "BEGIN IMMEDIATE; DELETE FROM log");
    for (uint64_t number = 0; number < events; number++) {
        char id[KEY_BYTES];
        key_text(key_number(number, events), id);
        sqlite3_bind_text(insert, 1, id, -1, SQLITE_STATIC);
        sqlite3_bind_blob(insert, 2, block, sizeof block, SQLITE_STATIC);
        step(db, insert);
    }
    execute(db, "COMMIT");
    sqlite3_finalize(insert);
}

static uint64_t log_count(sqlite3 *db)
{
    sqlite3_stmt *count = prepare(db, "SELECT max(position) FROM log");
    uint64_t events = 0;
    if (sqlite3_step(count) == SQLITE_ROW) {
        events = (uint64_t)sqlite3_column_int64(count, 0);
    }
    sqlite3_finalize(count);
    return events;
}

struct spent sqlite_replay(const char *path, uint64_t events, uint64_t keys)
{
    struct session session = {.db = database_open(path), .keys = keys};
    execute(session.db, "CREATE TABLE IF NOT EXISTS log(position INTEGER PRIMARY KEY, "
                        "id TEXT NOT NULL, event BLOB NOT NULL)");
    if (log_count(session.db) != events) {
        log_fill(session.db, events);
    }
    execute(session.db, "DELETE FROM counts; DELETE FROM checkpoint; "
                        "PRAGMA wal_checkpoint(TRUNCATE)");
    session.read = prepare(session.db, "SELECT id, event FROM log "
                                       "WHERE position > ?1 AND position <= ?2 ORDER BY position");
    struct spent took = upserts(&session, events);
    sqlite3_finalize(session.read);
    sqlite3_close(session.db);
    return took;
}

/*
 * SQLite in WAL mode, synchronous FULL (durable as quipu is) and NORMAL (the last transactions may
 * be lost), with the same indexes and prepared statements.
 *
 * 64 MiB of cache and 1 GiB of memory map, which is more than it takes by default.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bench_store.h"

#define BUSY_TIMEOUT_MS 60000

enum statement {
    DO_BEGIN,
    DO_COMMIT,
    DO_INSERT,
    DO_INSERT_NEW,
    DO_SCAN,
    DO_GET,
    DO_AGGREGATE,
    DO_VERSION,
    DO_TYPE,
    DO_CORRELATION,
    STATEMENTS
};

#define INTO_LOG                                                                                   \
    "INTO log(aggregate_type, aggregate_id, version, event_id, envelope_cid, payload_cid, "        \
    "envelope, payload, event_type, correlation_id) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, "   \
    "?10)"
#define BLOCKS_OF_LOG "SELECT envelope, payload FROM log "

static const char *const STATEMENT_TEXTS[STATEMENTS] = {
    [DO_BEGIN] = "BEGIN IMMEDIATE",
    [DO_COMMIT] = "COMMIT",
    [DO_INSERT] = "INSERT " INTO_LOG,
    [DO_INSERT_NEW] = "INSERT OR IGNORE " INTO_LOG,
    [DO_SCAN] = BLOCKS_OF_LOG "ORDER BY position LIMIT ?1",
    [DO_GET] = BLOCKS_OF_LOG "WHERE envelope_cid = ?1",
    [DO_AGGREGATE] = BLOCKS_OF_LOG "WHERE aggregate_type = ?1 AND aggregate_id = ?2 "
                                   "ORDER BY version",
    [DO_VERSION] = BLOCKS_OF_LOG "WHERE aggregate_type = ?1 AND aggregate_id = ?2 "
                                 "AND version >= ?3 ORDER BY version",
    [DO_TYPE] = BLOCKS_OF_LOG "WHERE event_type = ?1 ORDER BY position",
    [DO_CORRELATION] = BLOCKS_OF_LOG "WHERE correlation_id = ?1 ORDER BY position",
};

static const char SCHEMA[] =
    "CREATE TABLE IF NOT EXISTS log(position INTEGER PRIMARY KEY, aggregate_type TEXT NOT NULL, "
    "aggregate_id TEXT NOT NULL, version INTEGER NOT NULL, event_id BLOB NOT NULL, "
    "envelope_cid BLOB NOT NULL, payload_cid BLOB NOT NULL, envelope BLOB NOT NULL, "
    "payload BLOB NOT NULL, event_type TEXT NOT NULL, correlation_id BLOB NOT NULL);"
    "CREATE INDEX IF NOT EXISTS by_type ON log(event_type);"
    "CREATE INDEX IF NOT EXISTS by_correlation ON log(correlation_id);"
    "CREATE UNIQUE INDEX IF NOT EXISTS by_event_id ON log(event_id);"
    "CREATE UNIQUE INDEX IF NOT EXISTS by_envelope ON log(envelope_cid);"
    "CREATE INDEX IF NOT EXISTS by_payload ON log(payload_cid);"
    "CREATE UNIQUE INDEX IF NOT EXISTS by_aggregate ON log(aggregate_type, aggregate_id, version);";

struct sqlite {
    char name[4096];
    const char *synchronous;
    bool has_defaults; /* of cache and memory map */
};

struct sqlite_session {
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENTS];
};

static void execute(sqlite3 *db, const char *text)
{
    char *line = NULL;
    if (sqlite3_exec(db, text, NULL, NULL, &line) != SQLITE_OK) {
        die("sqlite: %s: %s", text, line);
    }
}

static void *sqlite_session_open(void *store)
{
    const struct sqlite *sqlite = store;
    struct sqlite_session *session = must_alloc(1, sizeof *session);
    char pragma[64];
    if (sqlite3_open(sqlite->name, &session->db) != SQLITE_OK) {
        die("sqlite: cannot open %s", sqlite->name);
    }
    (void)sqlite3_busy_timeout(session->db, BUSY_TIMEOUT_MS); /* cannot fail on an open database */
    (void)snprintf(pragma, sizeof pragma, "PRAGMA synchronous=%s", sqlite->synchronous);
    execute(session->db, pragma);
    if (!sqlite->has_defaults) {
        execute(session->db, "PRAGMA cache_size=-65536");
        execute(session->db, "PRAGMA mmap_size=1073741824");
    }
    return session;
}

static void sqlite_session_close(void *opened)
{
    struct sqlite_session *session = opened;
    for (size_t i = 0; i < STATEMENTS; i++) {
        sqlite3_finalize(session->statements[i]);
    }
    sqlite3_close(session->db);
    free(session);
}

static void *open_with(const char *path, const char *synchronous)
{
    struct sqlite *sqlite = must_alloc(1, sizeof *sqlite);
    struct stat info;
    (void)mkdir(path, 0700);
    (void)snprintf(sqlite->name, sizeof sqlite->name, "%s/events.db", path);
    sqlite->synchronous = synchronous;
    if (stat(sqlite->name, &info) != 0) {
        struct sqlite_session *session = sqlite_session_open(sqlite);
        execute(session->db, "PRAGMA journal_mode=WAL");
        execute(session->db, SCHEMA);
        sqlite_session_close(session);
    }
    return sqlite;
}

static void *sqlite_open_full(const char *path, enum open_mode mode)
{
    return open_with(path, mode == OPEN_PREFILL ? "OFF" : "FULL");
}

static void *sqlite_open_normal(const char *path, enum open_mode mode)
{
    return open_with(path, mode == OPEN_PREFILL ? "OFF" : "NORMAL");
}

static void *sqlite_open_default(const char *path, enum open_mode mode)
{
    struct sqlite *sqlite = open_with(path, mode == OPEN_PREFILL ? "OFF" : "FULL");
    sqlite->has_defaults = true;
    return sqlite;
}

static void sqlite_close(void *store)
{
    free(store);
}

static sqlite3_stmt *prepared(struct sqlite_session *session, enum statement which)
{
    sqlite3_stmt **statement = &session->statements[which];
    if (*statement == NULL &&
        sqlite3_prepare_v3(session->db, STATEMENT_TEXTS[which], -1, SQLITE_PREPARE_PERSISTENT,
                           statement, NULL) != SQLITE_OK) {
        die("sqlite: %s: %s", STATEMENT_TEXTS[which], sqlite3_errmsg(session->db));
    }
    return *statement;
}

/* Run a statement that gives no rows. */
static void run(struct sqlite_session *session, enum statement which)
{
    sqlite3_stmt *statement = prepared(session, which);
    if (sqlite3_step(statement) != SQLITE_DONE) {
        die("sqlite: %s: %s", STATEMENT_TEXTS[which], sqlite3_errmsg(session->db));
    }
    sqlite3_reset(statement);
}

/* Returns how many rows were made. */
static uint64_t insert_all(struct sqlite_session *session, enum statement which,
                           const struct sample *samples, size_t count)
{
    sqlite3_stmt *insert = prepared(session, which);
    uint64_t made = 0;
    run(session, DO_BEGIN);
    for (size_t i = 0; i < count; i++) {
        const struct sample *sample = &samples[i];
        sqlite3_bind_text(insert, 1, AGGREGATE_TYPE, -1, SQLITE_STATIC);
        sqlite3_bind_text(insert, 2, sample->aggregate_id, -1, SQLITE_STATIC);
        sqlite3_bind_int64(insert, 3, (sqlite3_int64)sample->version);
        sqlite3_bind_blob(insert, 4, sample->event_id, EVENT_ID_BYTES, SQLITE_STATIC);
        sqlite3_bind_blob(insert, 5, sample->envelope_digest, DIGEST_BYTES, SQLITE_STATIC);
        sqlite3_bind_blob(insert, 6, sample->payload_digest, DIGEST_BYTES, SQLITE_STATIC);
        sqlite3_bind_blob(insert, 7, sample->envelope, (int)sample->envelope_bytes, SQLITE_STATIC);
        sqlite3_bind_blob(insert, 8, sample->payload, (int)sample->payload_bytes, SQLITE_STATIC);
        sqlite3_bind_text(insert, 9, sample->type, -1, SQLITE_STATIC);
        sqlite3_bind_blob(insert, 10, sample->correlation_id, EVENT_ID_BYTES, SQLITE_STATIC);
        run(session, which);
        made += (uint64_t)sqlite3_changes(session->db);
    }
    run(session, DO_COMMIT);
    return made;
}

static void sqlite_append(void *session, const struct sample *samples, size_t count)
{
    (void)insert_all(session, DO_INSERT, samples, count); /* all, or the program ends */
}

static uint64_t sqlite_append_new(void *session, const struct sample *samples, size_t count)
{
    return insert_all(session, DO_INSERT_NEW, samples, count);
}

static uint64_t touch_rows(struct sqlite_session *session, enum statement which,
                           enum scan_kind kind)
{
    sqlite3_stmt *statement = prepared(session, which);
    uint64_t seen = 0;
    int status;
    while ((status = sqlite3_step(statement)) == SQLITE_ROW) {
        const void *envelope = sqlite3_column_blob(statement, 0);
        const void *payload = sqlite3_column_blob(statement, 1);
        blocks_touch(envelope, (size_t)sqlite3_column_bytes(statement, 0), payload,
                     (size_t)sqlite3_column_bytes(statement, 1), kind);
        seen++;
    }
    if (status != SQLITE_DONE) {
        die("sqlite: %s: %s", STATEMENT_TEXTS[which], sqlite3_errmsg(session->db));
    }
    sqlite3_reset(statement);
    return seen;
}

static uint64_t sqlite_scan(void *session, enum scan_kind kind, uint64_t count)
{
    sqlite3_bind_int64(prepared(session, DO_SCAN), 1, (sqlite3_int64)count);
    return touch_rows(session, DO_SCAN, kind);
}

static void sqlite_get(void *session, const uint8_t digest[DIGEST_BYTES])
{
    sqlite3_bind_blob(prepared(session, DO_GET), 1, digest, DIGEST_BYTES, SQLITE_STATIC);
    if (touch_rows(session, DO_GET, SCAN_RECORDS) != 1) {
        die("sqlite: an event is not found by its CID");
    }
}

static uint64_t sqlite_aggregate(void *session, const char *aggregate_id)
{
    sqlite3_stmt *statement = prepared(session, DO_AGGREGATE);
    sqlite3_bind_text(statement, 1, AGGREGATE_TYPE, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 2, aggregate_id, -1, SQLITE_STATIC);
    return touch_rows(session, DO_AGGREGATE, SCAN_RECORDS);
}

static uint64_t sqlite_from_version(void *session, const char *aggregate_id, uint64_t version)
{
    sqlite3_stmt *statement = prepared(session, DO_VERSION);
    sqlite3_bind_text(statement, 1, AGGREGATE_TYPE, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 2, aggregate_id, -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 3, (sqlite3_int64)version);
    return touch_rows(session, DO_VERSION, SCAN_RECORDS);
}

static uint64_t sqlite_by_type(void *session, const char *type)
{
    sqlite3_bind_text(prepared(session, DO_TYPE), 1, type, -1, SQLITE_STATIC);
    return touch_rows(session, DO_TYPE, SCAN_RECORDS);
}

static uint64_t sqlite_by_correlation(void *session, const uint8_t id[EVENT_ID_BYTES])
{
    sqlite3_bind_blob(prepared(session, DO_CORRELATION), 1, id, EVENT_ID_BYTES, SQLITE_STATIC);
    return touch_rows(session, DO_CORRELATION, SCAN_RECORDS);
}

const struct peer PEER_SQLITE_FULL = {
    .name = "sqlite-full",
    .note = "SQLite WAL, synchronous=FULL; a connection per thread; digests given, not computed",
    .folder = "sqlite",
    .open = sqlite_open_full,
    .close = sqlite_close,
    .session_open = sqlite_session_open,
    .session_close = sqlite_session_close,
    .append = sqlite_append,
    .scan = sqlite_scan,
    .get = sqlite_get,
    .aggregate = sqlite_aggregate,
    .append_new = sqlite_append_new,
    .from_version = sqlite_from_version,
    .by_type = sqlite_by_type,
    .by_correlation = sqlite_by_correlation,
};

const struct peer PEER_SQLITE_NORMAL = {
    .name = "sqlite-normal",
    .note = "the same database with synchronous=NORMAL: not durable at commit",
    .folder = "sqlite",
    .appends_only = true,
    .open = sqlite_open_normal,
    .close = sqlite_close,
    .session_open = sqlite_session_open,
    .session_close = sqlite_session_close,
    .append = sqlite_append,
};

const struct peer PEER_SQLITE_DEFAULT = {
    .name = "sqlite-default",
    .note = "the same database read with SQLite's default cache and no memory map",
    .folder = "sqlite",
    .reads_only = true,
    .open = sqlite_open_default,
    .close = sqlite_close,
    .session_open = sqlite_session_open,
    .session_close = sqlite_session_close,
    .append = sqlite_append,
    .scan = sqlite_scan,
    .get = sqlite_get,
    .aggregate = sqlite_aggregate,
    .from_version = sqlite_from_version,
    .by_type = sqlite_by_type,
    .by_correlation = sqlite_by_correlation,
};

/*
 * The store of bits.h, and what each byte of it is: LMDB says where keys and values lie in its map.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "bits.h"

#include <fcntl.h>
#include <inttypes.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "quipu/outbox.h"

#define ACKS            7
#define NUMBER_OF_STORE 2 /* even: small thresholds, so that 20 events have runs */

void require(bool is_true, const char *what)
{
    if (!is_true) {
        (void)fprintf(stderr, "not so: %s\n", what);
        exit(EXIT_FAILURE);
    }
}

static uint64_t hash_slice(uint64_t hash, struct quipu_slice slice)
{
    for (size_t i = 0; i < slice.len; i++) {
        hash = (hash ^ slice.data[i]) * UINT64_C(0x100000001b3);
    }
    return hash * 31 + slice.len;
}

uint64_t rows_hash(struct quipu_txn *txn, uint64_t hash)
{
    for (uint32_t number = 1; number <= 0xff; number++) {
        struct quipu_table_walk *walk = NULL;
        struct quipu_slice key;
        struct quipu_slice value;
        enum quipu_status status = quipu_table_walk_open(txn, (struct quipu_table){number},
                                                         quipu_slice(NULL, 0), &walk, NULL);
        while (status == QUIPU_OK) {
            status = quipu_table_walk_next(walk, &key, &value, NULL);
            hash = status == QUIPU_OK ? hash_slice(hash_slice(hash, key), value) : hash;
        }
        quipu_table_walk_close(&walk);
        if (status != QUIPU_DONE) {
            return 0;
        }
    }
    return hash | 1;
}

/* ------------------------------------------------------------------ the store */

static uint8_t *copy_of(struct quipu_slice slice)
{
    uint8_t *copy = malloc(slice.len + 1);
    require(copy != NULL, "memory");
    memcpy(copy, slice.data, slice.len);
    return copy;
}

static enum quipu_status remember(void *ctx, const struct quipu_event_view *event,
                                  struct quipu_error *err)
{
    struct bits *bits = ctx;
    (void)err;
    bits->known[event->position] = (struct known){
        .envelope = copy_of(event->envelope_block),
        .envelope_len = event->envelope_block.len,
        .payload = copy_of(event->payload),
        .payload_len = event->payload.len,
        .cid = event->cid,
        .event_id = event->envelope.event_id,
    };
    return QUIPU_OK;
}

enum quipu_status store_open(const struct bits *bits, struct quipu_store **store,
                             struct quipu_engine **engine, struct quipu_error *err)
{
    enum quipu_status status = sample_store_open(bits->path, NULL, NUMBER_OF_STORE, store, err);
    return status == QUIPU_OK ? quipu_engine_open(*store, NULL, engine, err) : status;
}

static void make_store(struct bits *bits)
{
    static struct sample sample;
    struct quipu_projection projection = sample_projection();
    struct quipu_ack acks[ACKS];
    struct quipu_store *store = NULL;
    struct quipu_engine *engine = NULL;
    struct quipu_txn *txn = NULL;
    struct quipu_error err;
    sample_must(store_open(bits, &store, &engine, &err), "make", &err);
    for (uint64_t number = 1; number <= EVENTS; number++) {
        sample_make(&sample, number);
        sample_must(quipu_append(engine, &sample.event, NULL, &err), "append", &err);
    }
    for (uint64_t i = 0; i < ACKS; i++) {
        acks[i] = (struct quipu_ack){i + 1, 100 + i, false, 0};
    }
    sample_must(quipu_outbox_acknowledge(engine, quipu_slice_text("EVENTS"), acks, ACKS, &err),
                "outbox", &err);
    sample_must(quipu_replay(engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &err), "replay",
                &err);
    sample_must(quipu_each_event(engine, NULL, remember, bits, &err), "scan", &err);
    sample_must(quipu_txn_begin_read(store, &txn, &err), "read", &err);
    bits->rows_hash = rows_hash(txn, 1);
    quipu_txn_abort(&txn);
    quipu_engine_close(&engine);
    quipu_store_close(&store);
}

static void load_image(struct bits *bits)
{
    struct stat info;
    int fd = open(bits->data_path, O_RDONLY | O_CLOEXEC);
    require(fd >= 0 && fstat(fd, &info) == 0, "data.mdb is there");
    bits->image_len = (size_t)info.st_size;
    bits->image = malloc(bits->image_len);
    bits->places = calloc(bits->image_len, 1);
    bits->positions = calloc(bits->image_len, 1);
    bits->page_first = calloc(bits->image_len / PAGE + 1, 1);
    bits->page_last = calloc(bits->image_len / PAGE + 1, 1);
    require(bits->image != NULL && bits->places != NULL && bits->positions != NULL &&
                bits->page_first != NULL && bits->page_last != NULL,
            "memory");
    require(read(fd, bits->image, bits->image_len) == (ssize_t)bits->image_len, "data.mdb is read");
    (void)close(fd); /* was only read */
}

/* ------------------------------------------------------------------ what a byte is */

static void mark(struct bits *bits, size_t at, size_t len, enum place place, uint8_t position)
{
    require(at + len <= bits->image_len, "a value lies in the file");
    memset(bits->places + at, (int)place, len);
    memset(bits->positions + at, position, len);
    for (size_t page = at / PAGE; position != 0 && page <= (at + len - 1) / PAGE; page++) {
        if (bits->page_first[page] == 0) {
            bits->page_first[page] = position; /* they come in order */
        }
        bits->page_last[page] = position;
    }
}

static void mark_rest_of_pages(struct bits *bits, size_t at, size_t len, enum place rest)
{
    for (size_t page = at / PAGE; page <= (at + len - 1) / PAGE; page++) {
        for (size_t i = page * PAGE; i < (page + 1) * PAGE; i++) {
            if (bits->places[i] == PLACE_STRUCTURE) {
                bits->places[i] = (uint8_t)rest;
            }
        }
    }
}

/* Where LMDB has mapped the file: it does not say so itself. */
static const uint8_t *map_of(const struct bits *bits)
{
    char line[PAGE];
    uintptr_t start = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    require(maps != NULL, "/proc/self/maps is there");
    while (start == 0 && fgets(line, sizeof line, maps) != NULL) {
        if (strstr(line, bits->data_path) != NULL) {
            require(sscanf(line, "%" SCNxPTR, &start) == 1, "a line of /proc/self/maps");
        }
    }
    (void)fclose(maps); /* was only read */
    require(start != 0, "data.mdb is mapped");
    return (const uint8_t *)start;
}

static void mark_database(struct bits *bits, MDB_env *env, const char *name, enum place place)
{
    MDB_txn *txn = NULL;
    MDB_cursor *cursor = NULL;
    MDB_dbi dbi;
    MDB_val key;
    MDB_val value;
    bool is_log = place == PLACE_LOG_RECORD;
    enum place rest = is_log ? PLACE_LOG_PAGE : PLACE_INDEX_PAGE;
    require(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) == 0 &&
                mdb_dbi_open(txn, name, 0, &dbi) == 0 && mdb_cursor_open(txn, dbi, &cursor) == 0,
            name);
    const uint8_t *base = map_of(bits);
    uint8_t position = 0;
    while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
        size_t key_at = (size_t)((const uint8_t *)key.mv_data - base);
        size_t value_at = (size_t)((const uint8_t *)value.mv_data - base);
        position = (uint8_t)(is_log ? position + 1 : 0);
        mark(bits, key_at, key.mv_size, is_log ? PLACE_LOG_KEY : place, position);
        mark(bits, value_at, value.mv_size, place, position);
        mark_rest_of_pages(bits, key_at, key.mv_size, rest);
        mark_rest_of_pages(bits, value_at, value.mv_size, rest);
    }
    require(!is_log || position == EVENTS, "every record has its place");
    mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
}

static void find_places(struct bits *bits)
{
    static const struct {
        const char *name;
        enum place place;
    } databases[] = {
        {"log", PLACE_LOG_RECORD},     {"cidrun", PLACE_CID_INDEX}, {"eidrun", PLACE_ID_INDEX},
        {"termrun", PLACE_TERM_INDEX}, {"head", PLACE_HEAD},        {"table", PLACE_TABLE},
        {"meta", PLACE_META},
    };
    MDB_env *env = NULL;
    require(mdb_env_create(&env) == 0 && mdb_env_set_maxdbs(env, 8) == 0 &&
                mdb_env_open(env, bits->path, MDB_RDONLY, 0600) == 0,
            "LMDB opens it");
    for (size_t i = 0; i < sizeof databases / sizeof databases[0]; i++) {
        mark_database(bits, env, databases[i].name, databases[i].place);
    }
    mdb_env_close(env);
}

/* ------------------------------------------------------------------ all of it */

void bits_make(struct bits *bits)
{
    make_store(bits);
    load_image(bits);
    find_places(bits);
}

void bits_release(struct bits *bits)
{
    for (size_t i = 1; i <= EVENTS; i++) {
        free(bits->known[i].envelope);
        free(bits->known[i].payload);
    }
    free(bits->image);
    free(bits->places);
    free(bits->positions);
    free(bits->page_first);
    free(bits->page_last);
}

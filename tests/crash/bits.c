/*
 * Bits that flip on the disk. Makes a small store with events, indexes, receipts and a projection,
 * flips one bit of data.mdb after the other, and after each asks what a user would ask: does it
 * open, what does verify say, what is read at each position, by each CID, by each event_id?
 *
 * What must be true wherever the bit is: nothing that is read differs from what was appended
 * without quipu_event_view_verify or quipu_verify saying so. And where it is in a record of the
 * log, its key included: verify finds it or the store is refused. In the record itself verify names
 * the position, and no event that differs passes quipu_event_view_verify; a key that says another
 * position leaves an event that is sound at a place that is not its own, which verify says. Where
 * it is in an index or a head, quipu_store_repair mends it. LMDB's own pages carry no checksums and
 * LMDB trusts them, so a bit in its structure (headers, offsets, branches) may end the process;
 * that is counted, and allowed nowhere else. Rows of tables have no hashes either: that theirs are
 * changed unseen is counted.
 *
 * usage: crash_bits [--every-bit] [--stride N] [--sparse]
 *   One bit of each byte or all eight; outside of the log, heads and indexes (--sparse: anywhere)
 *   of every Nth byte.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <fcntl.h>
#include <inttypes.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "quipu/outbox.h"
#include "quipu/verify.h"
#include "sample.h"
#include "temp_dir.h"

#define EVENTS          20
#define ACKS            7
#define PAGE            4096
#define SECONDS_MAX     20
#define WRONG_MAX       10
#define NUMBER_OF_STORE 2 /* even: small thresholds, so that 20 events have runs */

/* What a byte of data.mdb is. */
enum place {
    PLACE_STRUCTURE = 0, /* pages of LMDB that hold no values: its metas, branches, free ones */
    PLACE_LOG_RECORD,
    PLACE_LOG_KEY,
    PLACE_LOG_PAGE, /* the rest of a page with records: headers, offsets, space between */
    PLACE_CID_INDEX,
    PLACE_ID_INDEX,
    PLACE_HEAD,
    PLACE_TABLE,
    PLACE_META,
    PLACE_INDEX_PAGE, /* the rest of a page with other values */
    PLACES,
};

static const char *const place_names[PLACES] = {
    "structure", "log: records", "log: keys", "log: rest of pages",  "CID index", "event_id index",
    "heads",     "tables",       "meta",      "rest of other pages",
};

/* What came of a flip. */
enum outcome {
    OUTCOME_REFUSED = 0, /* the store does not open */
    OUTCOME_FOUND,       /* verify says what is wrong */
    OUTCOME_SAME,        /* everything reads as before */
    OUTCOME_ROWS,        /* rows of tables read otherwise, and nobody says so */
    OUTCOME_KILLED,
    OUTCOME_WRONG, /* what must not be */
    OUTCOMES,
};

struct known {
    uint8_t *envelope;
    size_t envelope_len;
    uint8_t *payload;
    size_t payload_len;
    struct quipu_cid cid;
    struct quipu_uuid event_id;
};

/* Shared with the child that does the flips, which may die. `why`: what the last one led to. */
struct board {
    uint64_t next; /* byte to flip */
    unsigned bit;
    uint64_t counts[PLACES][OUTCOMES];
    uint64_t wrong;
    char why[600];
};

struct bits {
    struct temp_dir dir;
    char path[2 * TEMP_DIR_BYTES];
    char data_path[2 * TEMP_DIR_BYTES + 16];
    uint8_t *image;
    size_t image_len;
    uint8_t *places;
    uint8_t *positions; /* of the record that a byte belongs to, 0: none */
    struct known known[EVENTS + 1];
    uint64_t rows_hash;
    bool is_every_bit;
    bool is_sparse;
    uint64_t stride;
    struct board *board;
};

static void must(enum quipu_status status, const char *what, const struct quipu_error *err)
{
    if (status != QUIPU_OK) {
        (void)fprintf(stderr, "%s: %s: %s\n", what, quipu_status_name(status), err->message);
        exit(EXIT_FAILURE);
    }
}

static void require(bool is_true, const char *what)
{
    if (!is_true) {
        (void)fprintf(stderr, "not so: %s\n", what);
        exit(EXIT_FAILURE);
    }
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

static enum quipu_status store_open(const struct bits *bits, struct quipu_store **store,
                                    struct quipu_engine **engine, struct quipu_error *err)
{
    enum quipu_status status = sample_store_open(bits->path, NULL, NUMBER_OF_STORE, store, err);
    return status == QUIPU_OK ? quipu_engine_open(*store, NULL, engine, err) : status;
}

static uint64_t rows_hash(struct quipu_txn *txn, uint64_t hash);

static void make_store(struct bits *bits)
{
    static struct sample sample;
    struct quipu_projection projection = sample_projection();
    struct quipu_ack acks[ACKS];
    struct quipu_store *store = NULL;
    struct quipu_engine *engine = NULL;
    struct quipu_txn *txn = NULL;
    struct quipu_error err;
    must(store_open(bits, &store, &engine, &err), "make", &err);
    for (uint64_t number = 1; number <= EVENTS; number++) {
        sample_make(&sample, number);
        must(quipu_append(engine, &sample.event, NULL, &err), "append", &err);
    }
    for (uint64_t i = 0; i < ACKS; i++) {
        acks[i] = (struct quipu_ack){i + 1, 100 + i, false};
    }
    must(quipu_outbox_acknowledge(engine, quipu_slice_text("EVENTS"), acks, ACKS, &err), "outbox",
         &err);
    must(quipu_replay(engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &err), "replay", &err);
    must(quipu_each_event(engine, NULL, remember, bits, &err), "scan", &err);
    must(quipu_txn_begin_read(store, &txn, &err), "read", &err);
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
    require(bits->image != NULL && bits->places != NULL && bits->positions != NULL, "memory");
    require(read(fd, bits->image, bits->image_len) == (ssize_t)bits->image_len, "data.mdb is read");
    (void)close(fd); /* was only read */
}

/* ------------------------------------------------------------------ what a byte is */

static void mark(struct bits *bits, size_t at, size_t len, enum place place, uint8_t position)
{
    require(at + len <= bits->image_len, "a value lies in the file");
    memset(bits->places + at, (int)place, len);
    memset(bits->positions + at, position, len);
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
        {"log", PLACE_LOG_RECORD}, {"cidrun", PLACE_CID_INDEX}, {"eidrun", PLACE_ID_INDEX},
        {"head", PLACE_HEAD},      {"table", PLACE_TABLE},      {"meta", PLACE_META},
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

/* ------------------------------------------------------------------ what a user sees */

static uint64_t hash_slice(uint64_t hash, struct quipu_slice slice)
{
    for (size_t i = 0; i < slice.len; i++) {
        hash = (hash ^ slice.data[i]) * UINT64_C(0x100000001b3);
    }
    return hash * 31 + slice.len;
}

/* Of every row of the tables that a store like this has. 0 where reading failed, which says that
 * something is wrong. */
static uint64_t rows_hash(struct quipu_txn *txn, uint64_t hash)
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

struct seen {
    bool is_same;       /* every event, however it is asked for */
    bool is_other_good; /* one that differs passed quipu_event_view_verify */
    uint64_t position;  /* that verify should name */
    bool is_named;
};

static void see_record(struct seen *seen, const struct known *known,
                       const struct quipu_record *record)
{
    struct quipu_event_view view;
    bool is_same = record->envelope.len == known->envelope_len &&
                   record->payload.len == known->payload_len &&
                   memcmp(record->envelope.data, known->envelope, known->envelope_len) == 0 &&
                   memcmp(record->payload.data, known->payload, known->payload_len) == 0 &&
                   quipu_cid_equal(&record->envelope_cid, &known->cid);
    seen->is_same &= is_same;
    if (!is_same && quipu_event_view_of(record, &view, NULL) == QUIPU_OK &&
        quipu_event_view_verify(&view, NULL) == QUIPU_OK) {
        seen->is_other_good = true;
    }
}

static void read_all(const struct bits *bits, struct quipu_txn *txn, struct seen *seen)
{
    for (uint64_t position = 1; position <= EVENTS; position++) {
        const struct known *known = &bits->known[position];
        struct quipu_record record;
        enum quipu_block_kind kind;
        bool is_there[3] = {
            quipu_txn_record_at(txn, position, &record, NULL) == QUIPU_OK,
        };
        if (is_there[0]) {
            see_record(seen, known, &record);
        }
        is_there[1] = quipu_txn_find_cid(txn, &known->cid, &record, &kind, NULL) == QUIPU_OK;
        if (is_there[1]) {
            see_record(seen, known, &record);
        }
        is_there[2] = quipu_txn_find_event_id(txn, known->event_id, &record, NULL) == QUIPU_OK;
        if (is_there[2]) {
            see_record(seen, known, &record);
        }
        seen->is_same &= is_there[0] && is_there[1] && is_there[2];
    }
    seen->is_same &= quipu_txn_last_position(txn) == EVENTS;
}

static void note_problem(void *ctx, uint64_t position, const char *line)
{
    struct seen *seen = ctx;
    (void)line;
    seen->is_named |= position == seen->position;
}

/* What derives from the log is made from it again, and all is well. */
static bool is_repaired(const struct bits *bits)
{
    struct quipu_store *store = NULL;
    struct quipu_engine *engine = NULL;
    struct quipu_txn *txn = NULL;
    struct quipu_verify_report report = {0};
    struct seen seen = {.is_same = true};
    struct quipu_error err;
    enum quipu_status status = quipu_store_repair(bits->path, NULL, NULL, &err);
    if (status == QUIPU_OK) {
        status = store_open(bits, &store, &engine, &err);
    }
    if (status == QUIPU_OK) {
        status = quipu_verify(engine, NULL, &report, &err);
    }
    if (status == QUIPU_OK) {
        status = quipu_txn_begin_read(store, &txn, &err);
    }
    if (status == QUIPU_OK) {
        read_all(bits, txn, &seen);
        quipu_txn_abort(&txn);
    }
    quipu_engine_close(&engine);
    quipu_store_close(&store);
    (void)snprintf(bits->board->why, sizeof bits->board->why, "not repaired: %s",
                   status == QUIPU_OK ? "events do not all read" : err.message);
    return status == QUIPU_OK && seen.is_same;
}

/* The flip is done; the store is closed. */
static enum outcome look(const struct bits *bits, size_t at)
{
    struct quipu_store *store = NULL;
    struct quipu_engine *engine = NULL;
    struct quipu_txn *txn = NULL;
    struct quipu_verify_options options = QUIPU_VERIFY_OPTIONS_INIT;
    struct quipu_verify_report report = {0};
    struct seen seen = {.is_same = true, .position = bits->positions[at]};
    uint64_t rows = 0;
    enum place place = (enum place)bits->places[at];
    bool is_record = place == PLACE_LOG_RECORD || place == PLACE_LOG_KEY;
    enum outcome outcome = OUTCOME_REFUSED;
    if (store_open(bits, &store, &engine, NULL) == QUIPU_OK) {
        options.problem = note_problem;
        options.ctx = &seen;
        enum quipu_status status = quipu_verify(engine, &options, &report, NULL);
        if (quipu_txn_begin_read(store, &txn, NULL) == QUIPU_OK) {
            read_all(bits, txn, &seen);
            rows = rows_hash(txn, 1);
            quipu_txn_abort(&txn);
        } else {
            seen.is_same = false;
        }
        (void)snprintf(bits->board->why, sizeof bits->board->why,
                       "%s, %" PRIu64 " problems, position %snamed, %s", quipu_status_name(status),
                       report.problems, seen.is_named ? "" : "not ",
                       seen.is_other_good ? "another event reads well"
                       : seen.is_same     ? "events read as before"
                                          : "events do not all read");
        if (status != QUIPU_OK) {
            outcome = OUTCOME_FOUND;
        } else if (!seen.is_same || is_record) {
            outcome = OUTCOME_WRONG; /* nobody says so; in a record, every bit means something */
        } else {
            outcome = rows == bits->rows_hash ? OUTCOME_SAME : OUTCOME_ROWS;
        }
        /* Verify ends early where reading itself fails, and says where in its error. */
        bool is_unnamed = place == PLACE_LOG_RECORD && report.problems > 0 && !seen.is_named;
        if ((place == PLACE_LOG_RECORD && seen.is_other_good) || is_unnamed) {
            outcome = OUTCOME_WRONG;
        }
    }
    quipu_engine_close(&engine);
    quipu_store_close(&store);
    bool is_derived = place == PLACE_CID_INDEX || place == PLACE_ID_INDEX || place == PLACE_HEAD;
    if (is_derived && outcome == OUTCOME_FOUND && !is_repaired(bits)) {
        outcome = OUTCOME_WRONG;
    }
    return outcome;
}

/* ------------------------------------------------------------------ flipping */

static void write_image(const struct bits *bits, size_t at, unsigned bit)
{
    int fd = open(bits->data_path, O_WRONLY | O_CLOEXEC);
    uint8_t flipped = bits->image[at] ^ (uint8_t)(1u << bit);
    require(fd >= 0 && ftruncate(fd, (off_t)bits->image_len) == 0 &&
                pwrite(fd, bits->image, bits->image_len, 0) == (ssize_t)bits->image_len &&
                pwrite(fd, &flipped, 1, (off_t)at) == 1 && close(fd) == 0,
            "data.mdb is written");
}

/* What is tried byte by byte, whatever the stride. */
static bool is_promised(enum place place)
{
    return place >= PLACE_LOG_RECORD && place <= PLACE_HEAD;
}

/* To the next bit that is wanted; false behind the last. */
static bool step(const struct bits *bits)
{
    struct board *board = bits->board;
    if (bits->is_every_bit && ++board->bit < 8) {
        return true;
    }
    do {
        board->next++;
    } while (board->next < bits->image_len && board->next % bits->stride != 0 &&
             (bits->is_sparse || !is_promised((enum place)bits->places[board->next])));
    board->bit = bits->is_every_bit ? 0 : (unsigned)(board->next * 5 % 8);
    return board->next < bits->image_len;
}

static void count(const struct bits *bits, enum outcome outcome)
{
    struct board *board = bits->board;
    board->counts[bits->places[board->next]][outcome]++;
    if (outcome == OUTCOME_WRONG) {
        board->wrong++;
        (void)fprintf(stderr, "WRONG: byte %" PRIu64 ", bit %u: %s, position %u: %s\n", board->next,
                      board->bit, place_names[bits->places[board->next]],
                      bits->positions[board->next], board->why);
    }
}

/* In a child, until the last bit or until one kills it. */
static void flip_on(const struct bits *bits)
{
    do {
        struct board *board = bits->board;
        (void)alarm(SECONDS_MAX);
        write_image(bits, (size_t)board->next, board->bit);
        count(bits, look(bits, (size_t)board->next));
    } while (bits->board->wrong < WRONG_MAX && step(bits));
    _exit(0);
}

static void flip_all(const struct bits *bits)
{
    for (bool is_over = false; !is_over;) {
        int how = 0;
        (void)fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) {
            flip_on(bits);
        }
        require(pid > 0 && waitpid(pid, &how, 0) == pid, "a child");
        is_over = WIFEXITED(how);
        require(!is_over || WEXITSTATUS(how) == 0, "the flips go on");
        if (!is_over) {
            enum place place = (enum place)bits->places[bits->board->next];
            bool is_allowed = place == PLACE_STRUCTURE || place == PLACE_LOG_PAGE ||
                              place == PLACE_INDEX_PAGE || place == PLACE_META;
            (void)snprintf(bits->board->why, sizeof bits->board->why, "killed by signal %d",
                           WTERMSIG(how));
            count(bits, is_allowed ? OUTCOME_KILLED : OUTCOME_WRONG);
            is_over = bits->board->wrong >= WRONG_MAX || !step(bits);
        }
    }
}

/* ------------------------------------------------------------------ the program */

static void print(const struct board *board)
{
    (void)printf("%-20s %9s %9s %9s %9s %9s %9s\n", "bits flipped in", "refused", "found",
                 "harmless", "rows", "killed", "WRONG");
    for (size_t i = 0; i < PLACES; i++) {
        (void)printf("%-20s", place_names[i]);
        for (size_t j = 0; j < OUTCOMES; j++) {
            (void)printf(" %9" PRIu64, board->counts[i][j]);
        }
        (void)printf("\n");
    }
}

static void parse_options(struct bits *bits, int argc, char **argv)
{
    bits->stride = 1;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--every-bit") == 0) {
            bits->is_every_bit = true;
        } else if (strcmp(argv[i], "--stride") == 0 && i + 1 < argc) {
            bits->stride = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--sparse") == 0) {
            bits->is_sparse = true;
        } else {
            bits->stride = 0;
        }
    }
    if (bits->stride == 0) {
        (void)fprintf(stderr, "usage: crash_bits [--every-bit] [--stride N] [--sparse]\n");
        exit(2);
    }
}

int main(int argc, char **argv)
{
    static struct bits bits;
    bits.board =
        mmap(NULL, sizeof *bits.board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    require(bits.board != MAP_FAILED, "memory");
    parse_options(&bits, argc, argv);
    if (getenv("TMPDIR") == NULL && access("/dev/shm", W_OK) == 0) {
        require(setenv("TMPDIR", "/dev/shm", 1) == 0, "setenv");
    }
    temp_dir_init(&bits.dir);
    temp_dir_join(&bits.dir, "store", bits.path);
    (void)snprintf(bits.data_path, sizeof bits.data_path, "%s/data.mdb", bits.path);
    make_store(&bits);
    load_image(&bits);
    find_places(&bits);
    flip_all(&bits);
    print(bits.board);
    temp_dir_release(&bits.dir);
    for (size_t i = 1; i <= EVENTS; i++) {
        free(bits.known[i].envelope);
        free(bits.known[i].payload);
    }
    free(bits.image);
    free(bits.places);
    free(bits.positions);
    return bits.board->wrong == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

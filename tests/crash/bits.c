/*
 * Bits that flip on the disk. Makes a small store with events, indexes, receipts and a projection,
 * flips one bit of data.mdb after the other, and after each asks what a user would ask: does it
 * open, what does verify say, what is read at each position, by each CID, by each event_id, and
 * what does quipu_each_event show?
 *
 * What must be true wherever the bit is: nothing that is read differs from what was appended
 * without quipu_event_view_verify or quipu_verify saying so. And where it is in a record of the
 * log, its key included: verify finds it or the store is refused. In the record itself verify names
 * the position, and no event that differs passes quipu_event_view_verify; a key that says another
 * position leaves an event that is sound at a place that is not its own, which verify says. Where
 * it is in an index or a head, quipu_store_repair mends it, and so it does where verify says that
 * it can. LMDB's own pages carry no checksums and LMDB trusts them, so a bit in its structure
 * (headers, offsets, branches, roots) may end a process that reads on: after verify has found it,
 * and never before. Neither opening nor verify nor repair ends the process, and what they find in a
 * page of the log has the page's positions. quipu_each_event shows an event as it was appended or
 * refuses it; only with skips_hashing does it show other bytes, and verify has said so then. Rows
 * of tables have no hashes: that theirs are changed unseen is counted.
 *
 * usage: crash_bits [--every-bit] [--stride N] [--sparse]
 *   One bit of each byte or all eight; outside of the log, heads and indexes (--sparse: anywhere)
 *   of every Nth byte.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bits.h"
#include "quipu/store_upkeep.h"
#include "quipu/verify.h"

#define SECONDS_MAX 20
#define WRONG_MAX   10

static const char *const place_names[PLACES] = {
    "structure", "log: records",   "log: keys",           "log: rest of pages",
    "CID index", "event_id index", "term index",          "heads",
    "tables",    "meta",           "rest of other pages",
};

/* What came of a flip. */
enum outcome {
    OUTCOME_REFUSED = 0, /* the store does not open */
    OUTCOME_FOUND,       /* verify says what is wrong */
    OUTCOME_SAME,        /* everything reads as before */
    OUTCOME_ROWS,        /* rows of tables read otherwise, and nobody says so */
    OUTCOME_ENDED,       /* verify says what is wrong, and who reads on nevertheless is killed */
    OUTCOME_WRONG,       /* what must not be */
    OUTCOMES,
};

/* What a child is at, to be read where it dies. */
enum phase { PHASE_OPEN = 0, PHASE_VERIFY, PHASE_READ, PHASE_REPAIR };

static const char *const phase_names[] = {"opening", "verify", "reading", "repair"};

/* Shared with the child that does the flips, which may die. `why`: what the last one led to. */
struct board {
    uint64_t next; /* byte to flip */
    unsigned bit;
    enum phase phase;
    bool is_found; /* verify has said that something is wrong */
    uint64_t counts[PLACES][OUTCOMES];
    uint64_t mended[PLACES];
    uint64_t served[PLACES][SERVED_WAYS][SERVED_KINDS];
    uint64_t wrong;
    char why[600];
};

/* ------------------------------------------------------------------ what a user sees */

struct seen {
    bool is_same;       /* every event, however it is asked for */
    bool is_other_good; /* one that differs passed quipu_event_view_verify */
    uint64_t first;     /* verify should name a position from here … */
    uint64_t last;      /* … to here; 0: none */
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
    seen->is_named |= position != 0 && position >= seen->first && position <= seen->last;
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
        status = quipu_repair_derived(engine, NULL, &err);
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

/* It mends what it can, and does not die of the rest. */
static enum outcome look_at_repair(const struct bits *bits, enum place place, bool is_mendable)
{
    bits->board->phase = PHASE_REPAIR;
    if (place == PLACE_LOG_RECORD || place == PLACE_LOG_KEY) {
        return OUTCOME_FOUND; /* repair takes them over, or says that it cannot: test_store_repair
                               */
    }
    bool is_mended = is_repaired(bits);
    bits->board->mended[place] += is_mended;
    return is_mended || !is_mendable ? OUTCOME_FOUND : OUTCOME_WRONG;
}

/* What verify should name where this byte is flipped. */
static struct seen expected_at(const struct bits *bits, size_t at)
{
    struct seen seen = {.is_same = true};
    if (bits->positions[at] != 0) {
        seen.first = bits->positions[at];
        seen.last = seen.first;
    } else if (bits->places[at] == PLACE_LOG_PAGE) {
        seen.first = bits->page_first[at / PAGE];
        seen.last = bits->page_last[at / PAGE];
    }
    return seen;
}

/* Is what quipu_each_event shows as it must be? Verify has looked before. */
static bool serves_well(const struct bits *bits, size_t at, struct quipu_engine *engine)
{
    struct board *board = bits->board;
    enum served served[SERVED_WAYS];
    for (size_t way = 0; way < SERVED_WAYS; way++) {
        served[way] = bits_serve(bits, engine, way == 1);
        board->served[bits->places[at]][way][served[way]]++;
    }
    if (served[0] == SERVED_OTHER) {
        (void)snprintf(board->why, sizeof board->why, "quipu_each_event shows other bytes");
        return false;
    }
    if (!board->is_found && (served[0] != SERVED_ALL || served[1] != SERVED_ALL)) {
        (void)snprintf(board->why, sizeof board->why,
                       "verify is content, and quipu_each_event does not show all as it was");
        return false;
    }
    return true;
}

/* What an open store with the flip is like. */
static enum outcome look_inside(const struct bits *bits, size_t at, struct quipu_engine *engine,
                                bool *is_mendable)
{
    struct quipu_txn *txn = NULL;
    struct quipu_verify_options options = QUIPU_VERIFY_OPTIONS_INIT;
    struct quipu_verify_report report = {0};
    struct seen seen = expected_at(bits, at);
    uint64_t rows = 0;
    enum place place = (enum place)bits->places[at];
    options.problem = note_problem;
    options.ctx = &seen;
    bits->board->phase = PHASE_VERIFY;
    enum quipu_status status = quipu_verify(engine, &options, &report, NULL);
    bits->board->is_found = status != QUIPU_OK;
    *is_mendable = status == QUIPU_CORRUPT && report.mendable == report.problems;
    /* Verify ends early where reading itself fails, and says where in its error. */
    bool must_name = place == PLACE_LOG_RECORD || place == PLACE_LOG_PAGE;
    if (must_name && report.problems > 0 && !seen.is_named) {
        (void)snprintf(bits->board->why, sizeof bits->board->why,
                       "%" PRIu64 " problems, none names a position", report.problems);
        return OUTCOME_WRONG;
    }
    bits->board->phase = PHASE_READ;
    if (quipu_txn_begin_read(quipu_engine_store(engine), &txn, NULL) == QUIPU_OK) {
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
    if (place == PLACE_LOG_RECORD && seen.is_other_good) {
        return OUTCOME_WRONG;
    }
    if (!serves_well(bits, at, engine)) {
        return OUTCOME_WRONG;
    }
    if (status != QUIPU_OK) {
        return OUTCOME_FOUND;
    }
    /* Nobody says so; in a record, every bit means something. */
    if (!seen.is_same || place == PLACE_LOG_RECORD || place == PLACE_LOG_KEY) {
        return OUTCOME_WRONG;
    }
    return rows == bits->rows_hash ? OUTCOME_SAME : OUTCOME_ROWS;
}

/* The flip is done; the store is closed. */
static enum outcome look(const struct bits *bits, size_t at)
{
    struct quipu_store *store = NULL;
    struct quipu_engine *engine = NULL;
    enum place place = (enum place)bits->places[at];
    enum outcome outcome = OUTCOME_REFUSED;
    bool is_mendable = place >= PLACE_CID_INDEX && place <= PLACE_HEAD;
    bits->board->phase = PHASE_OPEN;
    bits->board->is_found = false;
    if (store_open(bits, &store, &engine, NULL) == QUIPU_OK) {
        bool is_said = false;
        outcome = look_inside(bits, at, engine, &is_said);
        is_mendable |= is_said;
    }
    quipu_engine_close(&engine);
    quipu_store_close(&store);
    return outcome == OUTCOME_FOUND ? look_at_repair(bits, place, is_mendable) : outcome;
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
            const struct board *board = bits->board;
            bool is_ended = board->phase == PHASE_READ && board->is_found;
            (void)snprintf(bits->board->why, sizeof bits->board->why, "killed by signal %d at %s",
                           WTERMSIG(how), phase_names[board->phase]);
            count(bits, is_ended ? OUTCOME_ENDED : OUTCOME_WRONG);
            is_over = bits->board->wrong >= WRONG_MAX || !step(bits);
        }
    }
}

/* ------------------------------------------------------------------ the program */

static void print(const struct board *board)
{
    (void)printf("%-20s %9s %9s %9s %9s %9s %9s %9s\n", "bits flipped in", "refused", "found",
                 "harmless", "rows", "ended", "WRONG", "(mended)");
    for (size_t i = 0; i < PLACES; i++) {
        (void)printf("%-20s", place_names[i]);
        for (size_t j = 0; j < OUTCOMES; j++) {
            (void)printf(" %9" PRIu64, board->counts[i][j]);
        }
        (void)printf(" %9" PRIu64 "\n", board->mended[i]);
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
    bits_make(&bits);
    flip_all(&bits);
    print(bits.board);
    bits_print_served(place_names,
                      (const uint64_t(*)[SERVED_WAYS][SERVED_KINDS])bits.board->served);
    temp_dir_release(&bits.dir);
    bits_release(&bits);
    return bits.board->wrong == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

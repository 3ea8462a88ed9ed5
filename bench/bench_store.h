/*
 * What the files of bench_store share: the events, the peers, the measurements.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_BENCH_STORE_H
#define QUIPU_BENCH_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdnoreturn.h>

/* ------------------------------------------------------------------ the system */

/* Print the program's name and the line, end with status 1. */
noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
void *must_alloc(size_t count, size_t size);
double now_seconds(void);
/* What /proc/self/io says of this process: bytes in its write calls, and bytes that the kernel will
 * send to the device for them. The kernel counts a page cache folio as a whole, however little of
 * it was written; on file systems with large folios the second figure is an upper bound. */
struct io_bytes {
    uint64_t handed_over;
    uint64_t to_device;
};
struct io_bytes io_bytes_now(void);
/* Bytes that the files of a folder take on the disk. */
uint64_t folder_bytes(const char *path);
/* Delete the files of a folder and of its folders, and the folder. */
void folder_remove(const char *path);
/* Write the files of a folder out and ask the kernel to forget their pages. */
void folder_evict(const char *path);

/* ------------------------------------------------------------------ the events */

#define AGGREGATE_TYPE      "key"
#define AGGREGATE_EVENTS    100
#define DIGEST_BYTES        32
#define EVENT_ID_BYTES      16
#define AGGREGATE_ID_BYTES  16
#define ENVELOPE_BYTES_MAX  400
#define PAYLOAD_BYTES_MAX   300
#define LANES_MAX           66
#define DEDUP_LANE          65
#define TYPE_COMMON         "key.generated"
#define TYPE_RARE           "key.destroyed" /* as long as the other */
#define RARE_EVERY          101             /* the first event is, then every so many */
#define CORRELATION_EVENTS  10              /* one after the other in the log share one */
#define PREFILL_GRANULARITY 10000
#define AGGREGATES_IN_TURN  (PREFILL_GRANULARITY / AGGREGATE_EVENTS)

/* An event as the peers get it: blocks and digests are there already. quipu gets the payload, type
 * and aggregate only, and makes the rest. */
struct sample {
    char aggregate_id[AGGREGATE_ID_BYTES];
    uint64_t version;
    const char *type;
    uint8_t event_id[EVENT_ID_BYTES]; /* UUIDv7, in lane DEDUP_LANE as random as UUIDv4 */
    uint8_t correlation_id[EVENT_ID_BYTES];
    uint8_t envelope_digest[DIGEST_BYTES];
    uint8_t payload_digest[DIGEST_BYTES];
    size_t envelope_bytes;
    size_t payload_bytes;
    uint8_t envelope[ENVELOPE_BYTES_MAX];
    uint8_t payload[PAYLOAD_BYTES_MAX];
};

/* How far each writer of a store has come. Lane 0 fills blocks of 100 aggregates with 100 events
 * each in turns, and so does DEDUP_LANE; a lane of a thread fills one aggregate of 100 after the
 * other. */
struct lanes {
    uint64_t next[LANES_MAX];
};

/* Make the lane's next `count` events. Each lane: one thread at a time. */
void samples_make(struct lanes *lanes, unsigned lane, struct sample *out, size_t count);
/* Bytes of the blocks of an event. */
size_t sample_record_bytes(void);
/* What a lane-0 event has. */
void sample_digest(uint64_t number, uint8_t out[DIGEST_BYTES]);
void sample_correlation_id(uint64_t number, uint8_t out[EVENT_ID_BYTES]);
void sample_aggregate_id(uint64_t aggregate, char out[AGGREGATE_ID_BYTES]);
uint64_t random_next(uint64_t *state);

/* ------------------------------------------------------------------ the peers */

enum open_mode {
    OPEN_DURABLE,
    OPEN_PREFILL, /* no syncs where the peer can do without */
};

enum scan_kind {
    SCAN_RECORDS, /* touch both blocks of every event */
    SCAN_REPLAY,  /* quipu: envelopes decoded strictly; peers: the same as SCAN_RECORDS */
    SCAN_HASHED,  /* and both blocks hashed again */
};

/* A store. Every function ends the program when something fails. */
struct peer {
    const char *name;
    const char *note;
    const char *folder; /* below the folder of the size; peers with the same one share the store */
    bool appends_only;  /* nothing but appends is measured */
    bool reads_only;    /* no appends are */
    void *(*open)(const char *path, enum open_mode mode);
    void (*close)(void *store);
    /* What one thread works with. */
    void *(*session_open)(void *store);
    void (*session_close)(void *session);
    /* Durable when it returns. */
    void (*append)(void *session, const struct sample *samples, size_t count);
    /* Over the first `count` events; returns how many there were. */
    uint64_t (*scan)(void *session, enum scan_kind kind, uint64_t count);
    /* Find an event by its envelope's CID and touch both blocks. */
    void (*get)(void *session, const uint8_t digest[DIGEST_BYTES]);
    /* Read all of an aggregate; returns how many events it has. */
    uint64_t (*aggregate)(void *session, const char *aggregate_id);
    /* What follows is not measured where it is NULL. Append the events whose event_id is not known
     * yet; returns how many these were. */
    uint64_t (*append_new)(void *session, const struct sample *samples, size_t count);
    /* Read the events of an aggregate from a version on, of a type, of a correlation; return how
     * many there are. */
    uint64_t (*from_version)(void *session, const char *aggregate_id, uint64_t version);
    uint64_t (*by_type)(void *session, const char *type);
    uint64_t (*by_correlation)(void *session, const uint8_t id[EVENT_ID_BYTES]);
    /* The envelope digest of lane 0's event; NULL: sample_digest. */
    void (*digest)(void *session, uint64_t number, uint8_t out[DIGEST_BYTES]);
};

extern const struct peer PEER_RAW;
extern const struct peer PEER_LMDB;
extern const struct peer PEER_QUIPU;
#ifdef QUIPU_BENCH_SQLITE
extern const struct peer PEER_SQLITE_FULL;
extern const struct peer PEER_SQLITE_NORMAL;
extern const struct peer PEER_SQLITE_DEFAULT;
#endif
#ifdef QUIPU_BENCH_ROCKSDB
extern const struct peer PEER_ROCKSDB;
#endif

/* A value that the compiler cannot prove unused. */
extern volatile uint64_t bench_sink;
/* Touch both blocks as a reader would, hash them where asked to. */
void blocks_touch(const uint8_t *envelope, size_t envelope_bytes, const uint8_t *payload,
                  size_t payload_bytes, enum scan_kind kind);

/* ------------------------------------------------------------------ the measurements */

#define PEERS_MAX  8
#define ROUNDS_MAX 99
#define SIZES_MAX  8

/* In the order in which they are measured. */
enum case_kind {
    CASE_DISK,
    CASE_OPEN_WARM,
    CASE_SCAN,
    CASE_REPLAY,
    CASE_HASHED,
    CASE_GET,
    CASE_AGGREGATE,
    CASE_VERSION,
    CASE_TYPE,
    CASE_CORRELATION,
    CASE_APPEND,
    CASE_THREADS,
    CASE_HANDED_OVER,
    CASE_TO_DEVICE,
    CASE_DEDUP_NEW,
    CASE_DEDUP_KNOWN,
    CASE_OPEN_COLD,
};

struct bench_case {
    const char *name;
    enum case_kind kind;
    unsigned count; /* events in a batch, or threads */
    const char *unit;
    bool is_cost; /* less is better */
};

extern const struct bench_case CASES[];
extern const size_t CASE_COUNT;
#define CASES_MAX 32

/* Medians of the rounds; 0 where nothing was measured. */
struct results {
    double median[SIZES_MAX][CASES_MAX][PEERS_MAX];
    double low[SIZES_MAX][CASES_MAX][PEERS_MAX];
    double high[SIZES_MAX][CASES_MAX][PEERS_MAX];
};

struct plan {
    uint64_t sizes[SIZES_MAX];
    size_t size_count;
    const struct peer *peers[PEERS_MAX];
    size_t peer_count;
    unsigned rounds;
    double seconds; /* of one peer in one round */
    const char *only;
    const char *folder;
};

/* Measure every case at one size. */
void measure_size(const struct plan *plan, size_t size, struct results *results);

void report_table(const struct plan *plan, const struct results *results);
void report_json(const struct plan *plan, const struct results *results);
void report_bars(const struct plan *plan, struct results *results);
void plot_write(const char *path, const struct plan *plan, const struct results *results);
/* Index of a peer or a case by name; the count where there is none. */
size_t peer_find(const struct plan *plan, const char *name);
size_t case_find(const char *name);

#endif

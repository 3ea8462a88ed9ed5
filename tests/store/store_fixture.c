/*
 * The fixture of the store's tests. Uses no Criterion, so that helper programs can use it too.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store_fixture.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "internal/bytes.h"

#define REQUIRE(call, err)                                                                         \
    do {                                                                                           \
        if ((call) != QUIPU_OK) {                                                                  \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, (err).message);                     \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

struct quipu_store_tuning tuning_small(void)
{
    struct quipu_store_tuning tuning = quipu_store_tuning_default();
    tuning.tail_events = 4;
    tuning.fan_out = 2;
    tuning.segment_entries = 3;
    tuning.trash_values = 5;
    tuning.walk_events = 8;
    return tuning;
}

void fixture_init(struct fixture *fixture, const struct quipu_store_tuning *tuning)
{
    temp_dir_init(&fixture->dir);
    temp_dir_join(&fixture->dir, "store", fixture->path);
    fixture->store = NULL;
    fixture_reopen(fixture, tuning);
}

void fixture_reopen(struct fixture *fixture, const struct quipu_store_tuning *tuning)
{
    struct quipu_error err;
    quipu_store_close(&fixture->store);
    REQUIRE(quipu_store_open_tuned(fixture->path, NULL, tuning, &fixture->store, &err), err);
}

void fixture_release(struct fixture *fixture)
{
    quipu_store_close(&fixture->store);
    temp_dir_release(&fixture->dir);
}

bool small_disk_mount(const char *path, const char *size)
{
    /* Private, as a mount below a shared one would be seen, and stay, outside. */
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", path, "tmpfs", MS_NOSUID | MS_NODEV, size) != 0) {
        fprintf(stderr, "skipped: cannot mount a tmpfs here: %s\n", strerror(errno));
        return false;
    }
    return true;
}

void small_disk_unmount(const char *path)
{
    if (umount(path) != 0) {
        fprintf(stderr, "%s: umount: %s\n", path, strerror(errno));
        abort();
    }
}

void small_disk_run(const char *size, void (*use)(const struct temp_dir *disk))
{
    struct temp_dir disk;
    temp_dir_init(&disk);
    if (small_disk_mount(disk.path, size)) {
        use(&disk);
        small_disk_unmount(disk.path);
    }
    temp_dir_release(&disk);
}

/* SplitMix64: one number to another, one to one. */
static uint64_t scatter(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static struct quipu_uuid sample_event_id(uint64_t seed, bool is_ordered)
{
    struct quipu_uuid id;
    quipu_store_be64(id.bytes, is_ordered ? seed << 8 : scatter(seed));
    quipu_store_be64(id.bytes + 8, ~seed);
    return id;
}

void sample_make(struct sample *sample, uint64_t seed, uint64_t aggregates, bool is_ordered)
{
    memset(sample, 0, sizeof *sample);
    sample->seed = seed;
    struct quipu_record_new *record = &sample->record;
    int id_len = snprintf(sample->aggregate_id, sizeof sample->aggregate_id, "agg-%" PRIu64,
                          seed % aggregates);
    record->aggregate.type = quipu_slice_text("sample");
    record->aggregate.id = quipu_slice(sample->aggregate_id, (size_t)id_len);
    record->version = 1;
    record->event_id = sample_event_id(seed, is_ordered);

    uint64_t payload_seed = seed % 7 == 0 ? 0 : seed;
    size_t payload_len = 16 + (size_t)(scatter(payload_seed) % (sizeof sample->payload - 15));
    for (size_t i = 0; i < payload_len; i++) {
        sample->payload[i] = (uint8_t)(scatter(payload_seed + i / 8) >> (i % 8));
    }
    record->payload = quipu_slice(sample->payload, payload_len);
    record->payload_cid =
        quipu_cid_of(seed % 2 == 0 ? QUIPU_CODEC_DAG_CBOR : QUIPU_CODEC_RAW, record->payload);

    /* Four of five events belong to the correlation of the fifth, a few seeds before them. */
    int type_len = snprintf(sample->event_type, sizeof sample->event_type, "sample.kind-%" PRIu64,
                            scatter(seed) % SAMPLE_TYPES);
    record->event_type = quipu_slice(sample->event_type, (size_t)type_len);
    record->correlation_id = sample_event_id(seed - seed % 5, is_ordered);

    /* Event_id and digest at places that differ from event to event. */
    size_t shift = (size_t)(seed % 32);
    quipu_store_be64(sample->envelope, scatter(~seed));
    memcpy(sample->envelope + 8 + shift, record->event_id.bytes, QUIPU_UUID_BYTES);
    memcpy(sample->envelope + 60 + shift, record->payload_cid.digest, QUIPU_SHA256_BYTES);
    uint8_t *names = sample->envelope + 128 + shift;
    memcpy(names, "sample", 6);
    memcpy(names + 6, sample->aggregate_id, (size_t)id_len);
    memcpy(names + 30, sample->event_type, (size_t)type_len);
    memcpy(names + 60, record->correlation_id.bytes, QUIPU_UUID_BYTES);
    record->envelope = quipu_slice(sample->envelope, sizeof sample->envelope - shift);
    record->envelope_cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, record->envelope);
}

enum quipu_status sample_append(struct quipu_txn *txn, struct sample *sample, uint64_t *position,
                                struct quipu_error *err)
{
    struct quipu_head head;
    enum quipu_status status = quipu_txn_head(txn, sample->record.aggregate, &head, err);
    if (status != QUIPU_OK && status != QUIPU_NOT_FOUND) {
        return status;
    }
    sample->record.version = status == QUIPU_OK ? head.version + 1 : 1;
    return quipu_txn_append(txn, &sample->record, position, err);
}

void samples_commit(struct quipu_store *store, uint64_t from, uint64_t to, uint64_t batch)
{
    struct quipu_error err;
    while (from < to) {
        struct quipu_txn *txn = NULL;
        REQUIRE(quipu_txn_begin_write(store, &txn, &err), err);
        for (uint64_t i = 0; i < batch && from < to; i++, from++) {
            struct sample sample;
            uint64_t position;
            sample_make(&sample, from, 10, true);
            REQUIRE(sample_append(txn, &sample, &position, &err), err);
        }
        REQUIRE(quipu_txn_commit(&txn, &err), err);
    }
}

static bool print_problem(void *ctx, uint64_t position, const char *line)
{
    (void)ctx;
    fprintf(stderr, "position %" PRIu64 ": %s\n", position, line);
    return true;
}

uint64_t problems_of(struct quipu_store *store)
{
    struct quipu_error err;
    uint64_t problems = 0;
    REQUIRE(quipu_store_check_indexes(store, print_problem, NULL, NULL, &problems, &err), err);
    return problems;
}

uint64_t last_position_of(struct quipu_store *store)
{
    struct quipu_error err;
    struct quipu_txn *txn = NULL;
    REQUIRE(quipu_txn_begin_read(store, &txn, &err), err);
    uint64_t last = quipu_txn_last_position(txn);
    quipu_txn_abort(&txn);
    return last;
}

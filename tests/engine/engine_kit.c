/*
 * An engine over a store in a folder of its own, with a clock and randomness that the test owns.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "engine_kit.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "quipu/dagjson.h"

#define KIT_START_US INT64_C(1767225600000000) /* 2026-01-01T00:00:00Z */

uint64_t kit_random(uint64_t *state)
{
    /* splitmix64 */
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static int64_t kit_now(void *ctx)
{
    return __atomic_load_n(&((struct kit *)ctx)->now_unix_us, __ATOMIC_RELAXED);
}

static enum quipu_status kit_fill(void *ctx, void *into, size_t len, struct quipu_error *err)
{
    (void)err;
    struct kit *kit = ctx;
    uint8_t *at = into;
    for (size_t i = 0; i < len; i++) {
        /* Several threads may ask: each gets a state of its own. */
        uint64_t state =
            __atomic_add_fetch(&kit->random_state, UINT64_C(0x9e3779b97f4a7c15), __ATOMIC_RELAXED);
        at[i] = (uint8_t)(kit_random(&state) >> 24);
    }
    return QUIPU_OK;
}

static void kit_start(struct kit *kit)
{
    struct quipu_clock clock = {kit_now, kit};
    struct quipu_random random = {kit_fill, kit};
    struct quipu_engine_options options = QUIPU_ENGINE_OPTIONS_INIT;
    options.clock = &clock;
    options.random = &random;
    kit_assert_ok(kit, quipu_store_open(kit->path, NULL, &kit->store, &kit->err));
    kit_assert_ok(kit, quipu_engine_open(kit->store, &options, &kit->engine, &kit->err));
}

void kit_open(struct kit *kit)
{
    *kit = (struct kit){.now_unix_us = KIT_START_US, .random_state = 1};
    temp_dir_init(&kit->dir);
    temp_dir_join(&kit->dir, "store", kit->path);
    kit_start(kit);
}

void kit_shut(struct kit *kit)
{
    quipu_engine_close(&kit->engine);
    quipu_store_close(&kit->store);
}

void kit_reopen(struct kit *kit)
{
    kit_shut(kit);
    kit_start(kit);
}

void kit_close(struct kit *kit)
{
    kit_shut(kit);
    temp_dir_release(&kit->dir);
    for (size_t i = 0; i < sizeof kit->blocks / sizeof kit->blocks[0]; i++) {
        quipu_buf_release(&kit->blocks[i]);
    }
}

struct quipu_slice kit_block(struct kit *kit, const char *json)
{
    struct quipu_buf *block =
        &kit->blocks[kit->blocks_len++ % (sizeof kit->blocks / sizeof kit->blocks[0])];
    quipu_buf_reset(block);
    kit_assert_ok(kit, quipu_dagjson_to_dagcbor(quipu_slice_text(json), block, &kit->err));
    return quipu_buf_slice(block);
}

struct quipu_event kit_event(struct kit *kit, const char *aggregate_id, int n)
{
    char json[64];
    (void)snprintf(json, sizeof json, "{\"n\":%d}", n);
    return (struct quipu_event){
        .type = "thing.changed",
        .aggregate = {"thing", aggregate_id},
        .payload = kit_block(kit, json),
    };
}

struct quipu_appended kit_append(struct kit *kit, const char *aggregate_id, int n)
{
    struct quipu_event event = kit_event(kit, aggregate_id, n);
    struct quipu_appended appended;
    kit_assert_ok(kit, quipu_append(kit->engine, &event, &appended, &kit->err));
    return appended;
}

struct quipu_uuid kit_uuid(uint8_t n)
{
    struct quipu_uuid uuid = {{0x01, 0x90, 0xb5, 0xd6, 0x7c, 0x3a, 0x70, 0, 0x80}};
    uuid.bytes[15] = n;
    return uuid;
}

void kit_assert_sound(struct kit *kit, uint64_t events)
{
    struct quipu_verify_report report = {0};
    kit_assert_ok(kit, quipu_verify(kit->engine, NULL, &report, &kit->err));
    cr_assert_eq(report.problems, 0);
    cr_assert_eq(report.events, events, "expected %lu events, found %lu", (unsigned long)events,
                 (unsigned long)report.events);
}

void kit_foreign_copy(struct kit *kit, uint64_t position, struct kit_foreign *out)
{
    struct quipu_txn *txn = NULL;
    struct quipu_record record;
    *out = (struct kit_foreign){.foreign = {.sequence = 0}};
    kit_assert_ok(kit, quipu_txn_begin_read(kit->store, &txn, &kit->err));
    kit_assert_ok(kit, quipu_txn_record_at(txn, position, &record, &kit->err));
    quipu_buf_append_slice(&out->envelope, record.envelope);
    quipu_buf_append_slice(&out->payload, record.payload);
    out->foreign.cid = record.envelope_cid;
    out->foreign.envelope = quipu_buf_slice(&out->envelope);
    out->foreign.payload = quipu_buf_slice(&out->payload);
    quipu_txn_abort(&txn);
}

void kit_foreign_release(struct kit_foreign *foreign)
{
    quipu_buf_release(&foreign->envelope);
    quipu_buf_release(&foreign->payload);
}

void kit_damage(struct kit *kit, const char *word, ptrdiff_t offset)
{
    kit_damage_bits(kit, word, offset, 1);
}

void kit_damage_bits(struct kit *kit, const char *word, ptrdiff_t offset, uint8_t bits)
{
    char path[4 * TEMP_DIR_BYTES];
    struct stat info;
    int damaged = 0;
    (void)snprintf(path, sizeof path, "%s/data.mdb", kit->path);
    kit_shut(kit);
    int fd = open(path, O_RDWR);
    cr_assert_geq(fd, 0);
    cr_assert_eq(fstat(fd, &info), 0);
    uint8_t *bytes = mmap(NULL, (size_t)info.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    cr_assert_neq(bytes, MAP_FAILED);
    uint8_t *end = bytes + info.st_size;
    for (uint8_t *at = bytes; (at = memmem(at, (size_t)(end - at), word, strlen(word))) != NULL;
         at++) {
        at[offset] ^= bits;
        damaged++;
    }
    cr_assert_eq(munmap(bytes, (size_t)info.st_size), 0);
    (void)close(fd);
    cr_assert_geq(damaged, 1, "%s is in the file", word);
    kit_reopen(kit);
}

void kit_note_problem(void *ctx, uint64_t position, const char *line)
{
    struct kit_findings *findings = ctx;
    size_t used = strlen(findings->text);
    (void)snprintf(findings->text + used, sizeof findings->text - used, "%s\n", line);
    if (findings->count++ == 0) {
        findings->first_position = position;
    }
}

int kit_run_child(const char *failpoint, void (*child)(void *ctx), void *ctx)
{
#ifndef QUIPU_FAILPOINTS
    cr_skip("skipped: built without QUIPU_FAILPOINTS");
#endif
    (void)fflush(NULL);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        (void)setenv("QUIPU_FAILPOINT", failpoint, 1);
        child(ctx);
        _exit(0);
    }
    int how = 0;
    cr_assert_eq(waitpid(pid, &how, 0), pid);
    return how;
}

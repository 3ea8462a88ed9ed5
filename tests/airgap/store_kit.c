/*
 * Stores full of events.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bundle_kit.h"
#include "quipu/dagcbor.h"
#include "quipu/event_lines.h"

#define SHARED_EVERY 5

void store_kit_open(struct store_kit *kit, const struct temp_dir *dir, const char *name)
{
    struct quipu_error err;
    *kit = (struct store_kit){0};
    temp_dir_join(dir, name, kit->path);
    cr_assert_eq(quipu_store_open(kit->path, NULL, &kit->store, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(quipu_engine_open(kit->store, NULL, &kit->engine, &err), QUIPU_OK, "%s",
                 err.message);
}

void store_kit_close(struct store_kit *kit)
{
    quipu_engine_close(&kit->engine);
    quipu_store_close(&kit->store);
}

/* {"n": number, "pad": bytes}, or one of three that are shared. */
static void write_payload(struct quipu_buf *out, size_t number, size_t payload_bytes)
{
    static const uint8_t zeros[1 << 16];
    struct quipu_dagcbor_writer writer;
    bool is_shared = number % SHARED_EVERY == 0;
    cr_assert_leq(payload_bytes, sizeof zeros);
    quipu_dagcbor_writer_init(&writer, out);
    quipu_dagcbor_write_map(&writer, 2);
    quipu_dagcbor_write_key(&writer, "n");
    quipu_dagcbor_write_uint(&writer, is_shared ? number % 3 : number);
    quipu_dagcbor_write_key(&writer, "pad");
    quipu_dagcbor_write_bytes(&writer, quipu_slice(zeros, is_shared ? 0 : payload_bytes));
    cr_assert_eq(quipu_dagcbor_writer_finish(&writer, NULL), QUIPU_OK);
}

struct batch {
    struct quipu_event *events;
    struct quipu_buf *payloads;
    char (*ids)[24];
};

void sides_open(struct temp_dir *dir, struct store_kit *vault, struct store_kit *office,
                const char *file, char path[PATH_BYTES])
{
    temp_dir_init(dir);
    temp_dir_join(dir, file, path);
    store_kit_open(vault, dir, "vault");
    if (office != NULL) {
        store_kit_open(office, dir, "office");
    }
}

void sides_close(struct temp_dir *dir, struct store_kit *vault, struct store_kit *office)
{
    store_kit_close(vault);
    if (office != NULL) {
        store_kit_close(office);
    }
    temp_dir_release(dir);
}

void store_kit_append(struct store_kit *kit, size_t count, size_t payload_bytes)
{
    static const char *const types[] = {"key.generated", "key.rotated", "key.certificate.issued"};
    struct quipu_error err;
    struct batch batch = {calloc(count, sizeof *batch.events),
                          calloc(count, sizeof *batch.payloads), calloc(count, sizeof *batch.ids)};
    cr_assert(batch.events != NULL && batch.payloads != NULL && batch.ids != NULL);
    for (size_t i = 0; i < count; i++) {
        write_payload(&batch.payloads[i], i, payload_bytes);
        (void)snprintf(batch.ids[i], sizeof batch.ids[i], "root-%zu", i % 7);
        batch.events[i] = (struct quipu_event){
            .type = types[i % 3],
            .aggregate = {"key", batch.ids[i]},
            .payload = quipu_buf_slice(&batch.payloads[i]),
        };
    }
    cr_assert_eq(quipu_append_batch(kit->engine, batch.events, count, NULL, NULL, &err), QUIPU_OK,
                 "%s", err.message);
    for (size_t i = 0; i < count; i++) {
        quipu_buf_release(&batch.payloads[i]);
    }
    free(batch.events);
    free(batch.payloads);
    free(batch.ids);
}

static enum quipu_status collect_cid(void *ctx, const struct quipu_event_view *event,
                                     struct quipu_error *err)
{
    struct quipu_buf *cids = ctx;
    (void)err;
    quipu_buf_append(cids, event->cid.digest, sizeof event->cid.digest);
    return cids->status;
}

static int digest_order(const void *a, const void *b)
{
    return memcmp(a, b, QUIPU_SHA256_BYTES);
}

uint64_t store_kit_digest(struct store_kit *kit, uint8_t digest[QUIPU_SHA256_BYTES])
{
    struct quipu_buf cids = QUIPU_BUF_INIT;
    struct quipu_filter all = {0};
    struct quipu_error err;
    cr_assert_eq(quipu_each_event(kit->engine, &all, collect_cid, &cids, &err), QUIPU_OK, "%s",
                 err.message);
    uint64_t count = cids.len / QUIPU_SHA256_BYTES;
    if (count > 0) {
        qsort(cids.data, (size_t)count, QUIPU_SHA256_BYTES, digest_order);
    }
    quipu_sha256(quipu_buf_slice(&cids), digest);
    quipu_buf_release(&cids);
    return count;
}

void store_kit_export(struct store_kit *kit, const char *path, struct quipu_export_report *report)
{
    struct quipu_error err;
    cr_assert_eq(quipu_export(kit->engine, path, NULL, report, &err), QUIPU_OK, "%s", err.message);
}

static enum quipu_status write_line(void *ctx, const struct quipu_event_view *event,
                                    struct quipu_error *err)
{
    struct quipu_buf line = QUIPU_BUF_INIT;
    enum quipu_status status = quipu_event_line_write(event, &line, err);
    quipu_buf_append_byte(&line, '\n');
    cr_assert_eq(fwrite(line.data, 1, line.len, ctx), line.len);
    quipu_buf_release(&line);
    return status;
}

void store_kit_export_lines(struct store_kit *kit, const char *path)
{
    struct quipu_filter all = {0};
    struct quipu_error err;
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    cr_assert_eq(quipu_each_event(kit->engine, &all, write_line, file, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(fclose(file), 0);
}

/* ------------------------------------------------------------------ a process of its own */

int store_kit_run_armed(const char *failpoint, enum quipu_status (*work)(struct quipu_error *err))
{
    int state = 0;
    (void)fflush(NULL);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        struct quipu_error err;
        setenv("QUIPU_FAILPOINT", failpoint, 1);
        _exit((int)work(&err));
    }
    cr_assert_eq(waitpid(child, &state, 0), child);
    return WIFSIGNALED(state) ? -WTERMSIG(state) : WEXITSTATUS(state);
}

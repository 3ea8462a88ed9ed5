/*
 * The limit: append the bytes to a file and fdatasync; threads share a sync that covers them.
 *
 * No index, no check, nothing can be found again.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench_store.h"

struct raw {
    int file;
    bool is_durable;
    pthread_mutex_t written_guard; /* everything below */
    pthread_cond_t was_synced;
    uint64_t written;
    uint64_t synced;
    bool is_syncing;
};

struct raw_session {
    struct raw *raw;
    uint8_t *bytes;
    size_t cap;
};

static void *raw_open(const char *path, enum open_mode mode)
{
    struct raw *raw = must_alloc(1, sizeof *raw);
    char name[4096];
    (void)mkdir(path, 0700);
    (void)snprintf(name, sizeof name, "%s/log", path);
    raw->file = open(name, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (raw->file < 0) {
        die("cannot open %s: %s", name, strerror(errno));
    }
    raw->is_durable = mode == OPEN_DURABLE;
    (void)pthread_mutex_init(&raw->written_guard, NULL);
    (void)pthread_cond_init(&raw->was_synced, NULL);
    return raw;
}

static void raw_close(void *store)
{
    struct raw *raw = store;
    close(raw->file);
    pthread_mutex_destroy(&raw->written_guard);
    pthread_cond_destroy(&raw->was_synced);
    free(raw);
}

static void *raw_session_open(void *store)
{
    struct raw_session *session = must_alloc(1, sizeof *session);
    session->raw = store;
    return session;
}

static void raw_session_close(void *opened)
{
    struct raw_session *session = opened;
    free(session->bytes);
    free(session);
}

static size_t raw_gather(struct raw_session *session, const struct sample *samples, size_t count)
{
    size_t need = count * sizeof *samples;
    if (session->cap < need) {
        free(session->bytes);
        session->bytes = must_alloc(1, need);
        session->cap = need;
    }
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        memcpy(session->bytes + len, samples[i].envelope, samples[i].envelope_bytes);
        len += samples[i].envelope_bytes;
        memcpy(session->bytes + len, samples[i].payload, samples[i].payload_bytes);
        len += samples[i].payload_bytes;
    }
    return len;
}

static void raw_sync(struct raw *raw)
{
    uint64_t until = raw->written;
    raw->is_syncing = true;
    pthread_mutex_unlock(&raw->written_guard);
    if (fdatasync(raw->file) != 0) {
        die("fdatasync: %s", strerror(errno));
    }
    pthread_mutex_lock(&raw->written_guard);
    raw->is_syncing = false;
    raw->synced = until;
    pthread_cond_broadcast(&raw->was_synced);
}

static void raw_append(void *opened, const struct sample *samples, size_t count)
{
    struct raw_session *session = opened;
    struct raw *raw = session->raw;
    size_t len = raw_gather(session, samples, count);
    pthread_mutex_lock(&raw->written_guard);
    if (write(raw->file, session->bytes, len) != (ssize_t)len) {
        die("write: %s", strerror(errno));
    }
    uint64_t mine = ++raw->written;
    while (raw->is_durable && raw->synced < mine) {
        if (raw->is_syncing) {
            pthread_cond_wait(&raw->was_synced, &raw->written_guard);
        } else {
            raw_sync(raw);
        }
    }
    pthread_mutex_unlock(&raw->written_guard);
}

const struct peer PEER_RAW = {
    .name = "raw",
    .note = "append to a file + fdatasync, threads share syncs; no index, no check: the limit",
    .folder = "raw",
    .appends_only = true,
    .open = raw_open,
    .close = raw_close,
    .session_open = raw_session_open,
    .session_close = raw_session_close,
    .append = raw_append,
};

/*
 * kill -9 in the middle of `quipu flush` against a real nats-server, at random moments, until KILLS
 * runs have died: in the end the stream holds each event exactly once, and what is pulled back is
 * what was sent.
 *
 *   kill_flush QUIPU [KILLS [SEED]]
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "child.h"
#include "demo_server.h"
#include "temp_dir.h"

#define ROUND_EVENTS 400
#define WORK_US      60000
#define PATH_BYTES   (2 * TEMP_DIR_BYTES)
#define SKIPPED      77

struct files {
    char *quipu;
    char store[PATH_BYTES];
    char input[PATH_BYTES];
    char out[PATH_BYTES];
    char err[PATH_BYTES];
    char *url;
};

static void append_round(struct files *files, unsigned round)
{
    const char *append[] = {files->quipu, "append", "--store", files->store, files->input, NULL};
    FILE *file = fopen(files->input, "w");
    if (file == NULL) {
        child_fail("make %s", files->input);
    }
    for (unsigned n = 0; n < ROUND_EVENTS; n++) {
        (void)fprintf(file,
                      "{\"aggregate_type\":\"key\",\"aggregate_id\":\"k%u\",\"event_type\":"
                      "\"key.used\",\"payload\":{\"round\":%u,\"n\":%u}}\n",
                      n % 7, round, n);
    }
    if (fclose(file) != 0) {
        child_fail("write %s", files->input);
    }
    child_must(append, files->out, files->err);
}

/* What the runs came to. */
struct tally {
    unsigned kills;
    unsigned fruitful; /* kills of runs that had receipts for something new */
    uint64_t resent;   /* events that the server had, but whose receipt a killed run had not kept */
};

static uint64_t number(struct files *files, const char *const argv[], const char *name)
{
    child_must(argv, files->out, files->err);
    return child_number(files->out, name);
}

/* Flush until nothing is pending; kill no more runs than are left. */
static void flush_round(struct files *files, struct child_moments *moments, unsigned wanted,
                        struct tally *tally)
{
    const char *status[] = {files->quipu, "status", "--json", "--store", files->store, NULL};
    uint64_t published = number(files, status, "published");
    const char *flush[] = {files->quipu, "flush",    "--json",   "--store",
                           files->store, "--server", files->url, NULL};
    for (;;) {
        uint64_t moment_us = tally->kills < wanted ? child_moment_us(moments) : 0;
        enum child_end end = child_run(flush, files->out, files->err, moment_us);
        if (end == CHILD_FAILED) {
            child_must(flush, files->out, files->err); /* says why */
            child_fail("flush failed once");
        }
        if (end == CHILD_SUCCEEDED) {
            tally->resent += child_number(files->out, "duplicates");
            return;
        }
        tally->kills++;
        uint64_t now = number(files, status, "published");
        tally->fruitful += now > published ? 1 : 0;
        published = now;
    }
}

static void expect(const char *what, uint64_t found, uint64_t expected)
{
    if (found != expected) {
        child_fail("%s: %llu, expected %llu", what, (unsigned long long)found,
                   (unsigned long long)expected);
    }
}

static void check(struct files *files, char *second_store, uint64_t events)
{
    const char *status[] = {files->quipu, "status", "--json", "--store", files->store, NULL};
    const char *again[] = {files->quipu, "flush",    "--json",   "--store",
                           files->store, "--server", files->url, NULL};
    const char *stream[] = {files->quipu, "provision", "--json", "--server", files->url, NULL};
    const char *init[] = {files->quipu, "init", "--store", second_store, NULL};
    const char *pull[] = {files->quipu, "pull",     "--json",   "--store",
                          second_store, "--server", files->url, NULL};
    const char *verify[] = {files->quipu, "verify", "--json", "--store", second_store, NULL};
    expect("events with a receipt", number(files, status, "published"), events);
    expect("dead letters", number(files, status, "dead"), 0);
    expect("published by one more flush", number(files, again, "published"), 0);
    expect("messages in the stream", number(files, stream, "stream_messages"), events);
    child_must(init, files->out, files->err);
    expect("events pulled back", number(files, pull, "added"), events);
    expect("events that verify", number(files, verify, "events"), events);
}

static void play(struct files *files, const struct temp_dir *dir, unsigned wanted,
                 struct child_moments *moments)
{
    char second_store[PATH_BYTES];
    const char *init[] = {files->quipu, "init", "--store", files->store, NULL};
    const char *provision[] = {files->quipu, "provision", "--server", files->url, NULL};
    struct tally tally = {0};
    unsigned rounds = 0;
    child_must(init, files->out, files->err);
    child_must(provision, files->out, files->err);
    while (tally.kills < wanted) {
        append_round(files, rounds++);
        flush_round(files, moments, wanted, &tally);
    }
    check(files, temp_dir_join(dir, "second", second_store), (uint64_t)rounds * ROUND_EVENTS);
    (void)printf(
        "%u runs of flush killed, %u of them after new receipts, over %u events, of which %" PRIu64
        " were sent again and recognised: the stream holds each of them once\n",
        tally.kills, tally.fruitful, rounds * ROUND_EVENTS, tally.resent);
    if (tally.fruitful + tally.resent == 0) {
        child_fail("no run had begun to publish when it was killed");
    }
}

int main(int argc, char **argv)
{
    char program[DEMO_SERVER_PATH_BYTES];
    char folder[PATH_BYTES];
    struct quipu_error err;
    struct temp_dir dir;
    struct files files;
    struct demo_server server;
    if (argc < 2) {
        child_fail("usage: kill_flush QUIPU [KILLS [SEED]]");
    }
    if (demo_server_find(NULL, program, &err) != QUIPU_OK) {
        (void)printf("skipped: %s\n", err.message);
        return SKIPPED;
    }
    temp_dir_init(&dir);
    files.quipu = argv[1];
    (void)temp_dir_join(&dir, "store", files.store);
    (void)temp_dir_join(&dir, "input", files.input);
    (void)temp_dir_join(&dir, "out", files.out);
    (void)temp_dir_join(&dir, "err", files.err);
    if (demo_server_start(program, temp_dir_join(&dir, "nats", folder), &server, &err) !=
        QUIPU_OK) {
        child_fail("%s", err.message);
    }
    files.url = server.url;
    struct child_moments moments = {.seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 20260101,
                                    .work_us = WORK_US};
    child_moments_init(&moments, files.quipu, files.out, files.err);
    play(&files, &dir, argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 100, &moments);
    demo_server_stop(&server);
    temp_dir_release(&dir);
    return 0;
}

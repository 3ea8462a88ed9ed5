/*
 * The peers in JavaScript: one node process for the whole run (bench_cid_peers.mjs), told through a
 * pipe what to do how often, so that its cases take turns with those of this process. A round is
 * some milliseconds long, a message through the pipe some microseconds. Also the CAR that both
 * sides read.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench_cid.h"
#include "quipu/car.h"

#define LINE_BYTES 64

static struct {
    pid_t pid; /* 0: not running */
    FILE *to;
    FILE *from;
    char car_path[64];
} js;

static struct quipu_buf car;

/* The events as a CAR in memory, made at the first call. */
static struct quipu_slice car_of_events(void)
{
    const struct event *events = bench_events();
    if (car.len > 0) {
        return quipu_buf_slice(&car);
    }
    for (size_t i = 0; i < EVENT_COUNT; i++) {
        struct quipu_slice block = quipu_slice(events[i].block, EVENT_BYTES);
        struct quipu_cid cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, block);
        if ((i == 0 && quipu_car_write_header(quipu_sink_buf(&car), &cid, 1, NULL) != QUIPU_OK) ||
            quipu_car_write_block(quipu_sink_buf(&car), &cid, block, NULL) != QUIPU_OK) {
            abort();
        }
    }
    return quipu_buf_slice(&car);
}

void car_verify_decode(size_t count)
{
    for (size_t done = 0; done < count;) {
        struct quipu_slice rest = car_of_events();
        struct quipu_car_reader *reader = NULL;
        struct quipu_car_block block;
        if (quipu_car_reader_open(quipu_source_slice(&rest), NULL, &reader, NULL) != QUIPU_OK) {
            abort();
        }
        while (quipu_car_next(reader, &block, NULL) == QUIPU_OK) {
            if (quipu_dagcbor_validate(block.block, NULL) != QUIPU_OK) {
                abort();
            }
            done++;
        }
        quipu_car_reader_close(&reader);
    }
}

static bool answer_is(const char *word)
{
    char line[LINE_BYTES] = "";
    return fgets(line, sizeof line, js.from) != NULL && strncmp(line, word, strlen(word)) == 0;
}

static void write_car(void)
{
    struct quipu_slice bytes = car_of_events();
    (void)snprintf(js.car_path, sizeof js.car_path, "/tmp/bench-cid-XXXXXX");
    int fd = mkstemp(js.car_path);
    if (fd < 0 || quipu_sink_fd(&fd).write(&fd, bytes, NULL) != QUIPU_OK) {
        perror("bench_cid: temporary CAR");
        exit(1);
    }
    (void)close(fd); /* only read from here on */
}

static void start_child(const int in[2], const int out[2])
{
    (void)dup2(in[0], STDIN_FILENO); /* on failure node finds no input and ends */
    (void)dup2(out[1], STDOUT_FILENO);
    (void)close(in[1]); /* or it would never see the end of its input */
    (void)close(out[0]);
    execlp("node", "node", QUIPU_BENCH_DIR "/bench_cid_peers.mjs", js.car_path, (char *)NULL);
    _exit(127);
}

bool peers_js_start(void)
{
    int in[2];
    int out[2];
    (void)signal(SIGPIPE, SIG_IGN); /* a peer that is gone shows in its answer */
    write_car();
    if (pipe(in) != 0 || pipe(out) != 0) {
        perror("bench_cid: pipe");
        exit(1);
    }
    (void)fflush(stdout); /* the child must not print it again */
    js.pid = fork();
    if (js.pid == 0) {
        start_child(in, out);
    }
    (void)close(in[0]);
    (void)close(out[1]);
    js.to = fdopen(in[1], "w");
    js.from = fdopen(out[0], "r");
    if (js.pid < 0 || js.to == NULL || js.from == NULL || !answer_is("ready")) {
        peers_js_stop();
        return false;
    }
    return true;
}

void peers_js_stop(void)
{
    if (js.to != NULL) {
        (void)fclose(js.to); /* the end of its input ends it */
    }
    if (js.pid > 0) {
        (void)waitpid(js.pid, NULL, 0);
    }
    if (js.from != NULL) {
        (void)fclose(js.from);
    }
    (void)unlink(js.car_path); /* a temporary file */
    quipu_buf_release(&car);
    memset(&js, 0, sizeof js);
}

static void js_do(const char *name, size_t count)
{
    fprintf(js.to, "%s %zu\n", name, count);
    if (fflush(js.to) != 0 || !answer_is("ok")) {
        fprintf(stderr, "bench_cid: the node process is gone\n");
        exit(1);
    }
}

void peer_ipld_encode(size_t count)
{
    js_do("encode-ipld", count);
}

void peer_atcute_encode(size_t count)
{
    js_do("encode-atcute", count);
}

void peer_ipld_decode(size_t count)
{
    js_do("decode-ipld", count);
}

void peer_atcute_decode(size_t count)
{
    js_do("decode-atcute", count);
}

void peer_ipld_car(size_t count)
{
    js_do("car-ipld", count);
}

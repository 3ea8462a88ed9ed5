/*
 * The processes beside bench_flush: its nats-server, and the node process with the official client.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench_flush.h"

#define START_TRIES 200
#define LINE_BYTES  128

static struct {
    pid_t pid;
    FILE *to;
    FILE *from;
} js;

void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fprintf(stderr, "bench_flush: ");
    (void)vfprintf(stderr, format, args);
    (void)fprintf(stderr, "\n");
    va_end(args);
    exit(1);
}

double now_seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
        die("no free port");
    }
    (void)close(fd);
    return ntohs(address.sin_port);
}

void server_start(struct bench_server *server, const char *folder)
{
    char port[16];
    int number = free_port();
    (void)snprintf(port, sizeof port, "%d", number);
    (void)snprintf(server->url, sizeof server->url, "nats://127.0.0.1:%d", number);
    (void)fflush(stdout); /* the child must not print it again */
    server->pid = fork();
    if (server->pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        int null = open("/dev/null", O_WRONLY);
        (void)dup2(null, STDERR_FILENO);
        execlp("nats-server", "nats-server", "-a", "127.0.0.1", "-p", port, "-js", "-sd", folder,
               (char *)NULL);
        execl("/usr/sbin/nats-server", "nats-server", "-a", "127.0.0.1", "-p", port, "-js", "-sd",
              folder, (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < START_TRIES; i++) {
        natsConnection *connection = NULL;
        if (natsConnection_ConnectTo(&connection, server->url) == NATS_OK) {
            natsConnection_Destroy(connection);
            return;
        }
        struct timespec pause = {0, 50 * 1000000};
        (void)nanosleep(&pause, NULL);
    }
    server_stop(server);
    die("nats-server does not come up");
}

void server_stop(struct bench_server *server)
{
    if (server->pid > 0) {
        (void)kill(server->pid, SIGTERM);
        (void)waitpid(server->pid, NULL, 0);
        server->pid = 0;
    }
}

/* ------------------------------------------------------------------ node */

static void start_child(const char *url, const int in[2], const int out[2])
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)dup2(in[0], STDIN_FILENO); /* on failure node finds no input and ends */
    (void)dup2(out[1], STDOUT_FILENO);
    (void)close(in[1]); /* or it would never see the end of its input */
    (void)close(out[0]);
    execlp("node", "node", QUIPU_BENCH_DIR "/bench_flush_peer.mjs", url,
           QUIPU_BENCH_DIR "/../tests/interop", (char *)NULL);
    _exit(127);
}

bool peer_start(const char *url)
{
    int in[2];
    int out[2];
    char line[LINE_BYTES] = "";
    (void)signal(SIGPIPE, SIG_IGN); /* a peer that is gone shows in its answer */
    if (pipe(in) != 0 || pipe(out) != 0) {
        die("no pipe");
    }
    (void)fflush(stdout);
    js.pid = fork();
    if (js.pid == 0) {
        start_child(url, in, out);
    }
    (void)close(in[0]);
    (void)close(out[1]);
    js.to = fdopen(in[1], "w");
    js.from = fdopen(out[0], "r");
    if (js.pid < 0 || js.to == NULL || js.from == NULL ||
        fgets(line, sizeof line, js.from) == NULL || strncmp(line, "ready", 5) != 0) {
        peer_stop();
        return false;
    }
    return true;
}

void peer_stop(void)
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
    memset(&js, 0, sizeof js);
}

static double peer_do(const char *way, size_t count, size_t payload_bytes, size_t envelope_bytes)
{
    char line[LINE_BYTES] = "";
    (void)fprintf(js.to, "%s %zu %zu %zu\n", way, count, payload_bytes, envelope_bytes);
    if (fflush(js.to) != 0 || fgets(line, sizeof line, js.from) == NULL) {
        die("the node process is gone");
    }
    return strtod(line, NULL) * 1e-9;
}

double peer_put(size_t count, size_t payload_bytes, size_t envelope_bytes)
{
    return peer_do("put", count, payload_bytes, envelope_bytes);
}

double peer_put_all(size_t count, size_t payload_bytes, size_t envelope_bytes)
{
    return peer_do("put-all", count, payload_bytes, envelope_bytes);
}

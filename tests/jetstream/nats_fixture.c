/*
 * Starting and stopping nats-server: fork, exec, poll until it greets.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "nats_fixture.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_TRIES 1000 /* of 10 ms */
#define PORT_TRIES  5
#define PATH_BYTES  (2 * TEMP_DIR_BYTES)

static void fail(const struct nats_fixture *server, const char *what)
{
    char path[PATH_BYTES];
    fprintf(stderr, "nats fixture: %s; its log:\n", what);
    FILE *log = fopen(temp_dir_join(&server->dir, "log", path), "r");
    char line[512];
    while (log != NULL && fgets(line, sizeof line, log) != NULL) {
        fputs(line, stderr);
    }
    abort();
}

static void pause_briefly(void)
{
    struct timespec pause = {0, 10 * 1000 * 1000};
    (void)nanosleep(&pause, NULL);
}

static struct sockaddr_in address_of(int port)
{
    struct sockaddr_in address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)port);
    return address;
}

static int any_port(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = address_of(0);
    socklen_t len = sizeof address;
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
        perror("nats fixture: no free port");
        abort();
    }
    (void)close(fd);
    return ntohs(address.sin_port);
}

/* Between the choice of a port and the server's listening another test may choose the same one: the
 * second server does not start, and its test would go on with the first one's. So a port is taken
 * by a name that only one process can have, for as long as that lives. */
static bool port_take(int port)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int len = snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "quipu-test-port-%d", port);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        perror("nats fixture: no socket");
        abort();
    }
    socklen_t bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len);
    if (bind(fd, (struct sockaddr *)&name, bytes) == 0) {
        return true; /* the descriptor goes with the process */
    }
    (void)close(fd);
    return false;
}

int nats_fixture_free_port(void)
{
    for (;;) {
        int port = any_port();
        if (port_take(port)) {
            return port;
        }
    }
}

/* It greets with INFO as soon as it takes clients, JetStream's recovery included. */
static bool greets(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = address_of(port);
    char greeting[5] = "";
    bool is_up = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
                 recv(fd, greeting, 4, MSG_WAITALL) == 4 && strcmp(greeting, "INFO") == 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    return is_up;
}

static void config_write(const struct nats_fixture *server)
{
    char path[PATH_BYTES];
    FILE *file = fopen(temp_dir_join(&server->dir, "nats.conf", path), "w");
    if (file == NULL) {
        fail(server, "cannot write its configuration");
    }
    fprintf(file, "listen: \"127.0.0.1:%d\"\n", server->port);
    if (server->has_jetstream) {
        fprintf(file, "jetstream { store_dir: \"%s/data\", max_file: 4GB, max_mem: 256MB }\n",
                server->dir.path);
    }
    fprintf(file, "%s\n", server->config);
    if (fclose(file) != 0) {
        fail(server, "cannot write its configuration");
    }
}

static void run(const struct nats_fixture *server, pid_t parent)
{
    char config[PATH_BYTES];
    char log[PATH_BYTES];
    /* Not one server outlives its test, even if that is killed. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) {
        _exit(126);
    }
    int fd = open(temp_dir_join(&server->dir, "log", log), O_CREAT | O_APPEND | O_WRONLY, 0600);
    if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0) {
        _exit(126);
    }
    temp_dir_join(&server->dir, "nats.conf", config);
    execlp("nats-server", "nats-server", "-c", config, (char *)NULL);
    execl("/usr/sbin/nats-server", "nats-server", "-c", config, (char *)NULL);
    _exit(127);
}

/* False: it ended at once. */
static bool start_once(struct nats_fixture *server)
{
    config_write(server);
    pid_t parent = getpid();
    server->pid = fork();
    if (server->pid < 0) {
        fail(server, "cannot fork");
    }
    if (server->pid == 0) {
        run(server, parent);
    }
    for (int i = 0; i < START_TRIES; i++) {
        if (greets(server->port)) {
            return true;
        }
        int state = 0;
        if (waitpid(server->pid, &state, WNOHANG) == server->pid) {
            server->pid = 0;
            return false;
        }
        pause_briefly();
    }
    fail(server, "it does not answer");
    return false;
}

void nats_fixture_restart(struct nats_fixture *server)
{
    if (!start_once(server)) {
        fail(server, "it ended at once");
    }
}

static void start(struct nats_fixture *server, const char *config, bool has_jetstream)
{
    memset(server, 0, sizeof *server);
    temp_dir_init(&server->dir);
    server->has_jetstream = has_jetstream;
    (void)snprintf(server->config, sizeof server->config, "%s", config != NULL ? config : "");
    for (int i = 0; i < PORT_TRIES; i++) {
        server->port = nats_fixture_free_port();
        (void)snprintf(server->url, sizeof server->url, "nats://127.0.0.1:%d", server->port);
        if (start_once(server)) {
            return;
        }
        /* A client's end of some connection may have come to that port meanwhile. */
    }
    fail(server, "it ended at once");
}

void nats_fixture_start(struct nats_fixture *server, const char *config)
{
    start(server, config, true);
}

void nats_fixture_start_plain(struct nats_fixture *server, const char *config)
{
    start(server, config, false);
}

static void end(struct nats_fixture *server, int signal_number)
{
    if (server->pid <= 0) {
        return;
    }
    int state = 0;
    (void)kill(server->pid, signal_number);
    (void)kill(server->pid, SIGCONT); /* of one that is killed not a step is taken any more */
    (void)waitpid(server->pid, &state, 0);
    server->pid = 0;
}

void nats_fixture_kill(struct nats_fixture *server)
{
    end(server, SIGKILL);
}

void nats_fixture_reconfigure(struct nats_fixture *server, const char *config)
{
    end(server, SIGTERM);
    (void)snprintf(server->config, sizeof server->config, "%s", config != NULL ? config : "");
    nats_fixture_restart(server);
}

void nats_fixture_reload(struct nats_fixture *server, const char *config)
{
    (void)snprintf(server->config, sizeof server->config, "%s", config != NULL ? config : "");
    config_write(server);
    (void)kill(server->pid, SIGHUP);
}

void nats_fixture_pause(const struct nats_fixture *server)
{
    int state = 0;
    (void)kill(server->pid, SIGSTOP);
    (void)waitpid(server->pid, &state, WUNTRACED); /* all its threads have stopped now */
}

void nats_fixture_resume(const struct nats_fixture *server)
{
    (void)kill(server->pid, SIGCONT);
}

void nats_fixture_stop(struct nats_fixture *server)
{
    end(server, SIGKILL);
    temp_dir_release(&server->dir);
}

/*
 * Starts and stops a nats-server. It tells its port by a file, so nobody has to guess a free one.
 * The kernel kills it if we die without stopping it (PR_SET_PDEATHSIG).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "demo_server.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_TRIES   1000 /* of WAIT_MS each */
#define STOP_TRIES    600
#define WAIT_MS       5
#define REMOVE_FD_MAX 16

/* What the signal handler needs; there is one server at a time. */
static volatile sig_atomic_t running_pid;
static struct sigaction before_int;
static struct sigaction before_term;

static void on_signal(int number)
{
    if (running_pid > 0) {
        (void)kill((pid_t)running_pid, SIGKILL); /* nothing more can be done in a handler */
    }
    (void)sigaction(number, number == SIGINT ? &before_int : &before_term, NULL);
    (void)raise(number);
}

enum quipu_status demo_server_find(const char *wanted, char out[DEMO_SERVER_PATH_BYTES],
                                   struct quipu_error *err)
{
    if (wanted != NULL) {
        if (access(wanted, X_OK) != 0) {
            return quipu_error_errno(err, errno, "run \"%s\"", wanted);
        }
        (void)snprintf(out, DEMO_SERVER_PATH_BYTES, "%s", wanted);
        return QUIPU_OK;
    }
    const char *path = getenv("PATH");
    char folders[4096];
    (void)snprintf(folders, sizeof folders, "%s:/usr/sbin:/usr/local/sbin",
                   path == NULL ? "" : path);
    char *rest = folders;
    for (char *folder; (folder = strsep(&rest, ":")) != NULL;) {
        int len = snprintf(out, DEMO_SERVER_PATH_BYTES, "%s/nats-server", folder);
        if (folder[0] != 0 && len > 0 && len < DEMO_SERVER_PATH_BYTES && access(out, X_OK) == 0) {
            return QUIPU_OK;
        }
    }
    return quipu_error_set(err, QUIPU_NOT_FOUND, "nats-server is not installed");
}

/* In the child: no memory, no locks, only system calls. */
static void run_server(const char *program, char *const arguments[], pid_t parent)
{
    int null = open("/dev/null", O_RDWR);
    if (null >= 0) {
        (void)dup2(null, STDIN_FILENO);
        (void)dup2(null, STDOUT_FILENO);
        (void)dup2(null, STDERR_FILENO);
    }
    (void)signal(SIGINT, SIG_IGN); /* the terminal sends it to both; we stop the server ourselves */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent) {
        (void)execv(program, arguments);
    }
    _exit(127);
}

/* The url in the file {"nats":["nats://127.0.0.1:4222"]}, once the server has written it whole. */
static int read_url(const char *path, char *out, size_t cap)
{
    char text[256];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    ssize_t len = read(fd, text, sizeof text - 1);
    (void)close(fd); /* only read from */
    if (len <= 0) {
        return 0;
    }
    text[len] = 0;
    char *begin = strstr(text, "nats://");
    char *end = begin == NULL ? NULL : strchr(begin, '"');
    if (end == NULL || (size_t)(end - begin) >= cap) {
        return 0;
    }
    memcpy(out, begin, (size_t)(end - begin));
    out[end - begin] = 0;
    return 1;
}

static enum quipu_status wait_for_url(struct demo_server *server, struct quipu_error *err)
{
    char path[DEMO_SERVER_PATH_BYTES + 64];
    (void)snprintf(path, sizeof path, "%s/nats-server_%ld.ports", server->folder,
                   (long)server->pid);
    for (int i = 0; i < START_TRIES; i++) {
        if (read_url(path, server->url, sizeof server->url)) {
            return QUIPU_OK;
        }
        if (waitpid(server->pid, NULL, WNOHANG) == server->pid) {
            server->pid = 0;
            return quipu_error_set(err, QUIPU_IO, "nats-server ended at once; see \"%s/log\"",
                                   server->folder);
        }
        (void)poll(NULL, 0, WAIT_MS);
    }
    return quipu_error_set(err, QUIPU_TIMEOUT, "nats-server does not listen; see \"%s/log\"",
                           server->folder);
}

enum quipu_status demo_server_start(const char *program, const char *folder,
                                    struct demo_server *out, struct quipu_error *err)
{
    static char name[] = "nats-server";
    static char address[] = "-a=127.0.0.1";
    static char port[] = "-p=-1"; /* the system chooses */
    static char jetstream[] = "-js";
    char store[DEMO_SERVER_PATH_BYTES + 32];
    char ports[DEMO_SERVER_PATH_BYTES + 32];
    char log[DEMO_SERVER_PATH_BYTES + 32];
    struct demo_server server = {0};
    if (strlen(folder) >= sizeof server.folder) {
        return quipu_error_set(err, QUIPU_INVALID, "the path \"%s\" is too long", folder);
    }
    if (mkdir(folder, 0700) != 0) {
        return quipu_error_errno(err, errno, "make folder \"%s\"", folder);
    }
    (void)snprintf(server.folder, sizeof server.folder, "%s", folder);
    (void)snprintf(store, sizeof store, "-sd=%s/jetstream", folder);
    (void)snprintf(ports, sizeof ports, "-ports_file_dir=%s", folder);
    (void)snprintf(log, sizeof log, "-l=%s/log", folder);
    char *const arguments[] = {name, address, port, jetstream, store, ports, log, NULL};
    pid_t parent = getpid();
    server.pid = fork();
    if (server.pid < 0) {
        return quipu_error_errno(err, errno, "start \"%s\"", program);
    }
    if (server.pid == 0) {
        run_server(program, arguments, parent);
    }
    running_pid = server.pid;
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigaction(SIGINT, &action, &before_int);   /* a valid signal: cannot fail */
    (void)sigaction(SIGTERM, &action, &before_term); /* the same */
    enum quipu_status status = wait_for_url(&server, err);
    *out = server;
    if (status != QUIPU_OK) {
        demo_server_stop(out);
    }
    return status;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

void demo_server_stop(struct demo_server *server)
{
    if (server->folder[0] == 0) {
        return;
    }
    if (server->pid > 0) {
        (void)kill(server->pid, SIGTERM);
        int tries = 0;
        while (waitpid(server->pid, NULL, WNOHANG) == 0) {
            if (++tries == STOP_TRIES) {
                (void)kill(server->pid, SIGKILL);
            }
            (void)poll(NULL, 0, WAIT_MS);
        }
    }
    running_pid = 0;
    (void)sigaction(SIGINT, &before_int, NULL);   /* a valid signal: cannot fail */
    (void)sigaction(SIGTERM, &before_term, NULL); /* the same */
    (void)nftw(server->folder, remove_one, REMOVE_FD_MAX, FTW_DEPTH | FTW_PHYS); /* best effort */
    *server = (struct demo_server){0};
}

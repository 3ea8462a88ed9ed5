/*
 * Runs a program with a terminal of its own and does what a script says: a person who sees what is
 * asked and types. What the program prints on stdout and stderr goes where ours goes; the
 * terminal's side goes into the file that LOG names. on_terminal SCRIPT LOG COMMAND… Lines of the
 * script: expect TEXT    wait until the terminal shows TEXT, behind what was expected before send
 * TEXT      type TEXT and Enter key NUMBER     type one character, such as 3 for ^C, 4 for ^D, 26
 * for ^Z echo on|off    does the terminal show what is typed? stopped        wait until the program
 * is stopped continue       let it go on Its exit code is that of the program, 128 and the signal
 * that ended it, or 99 where the script could not be followed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define SEEN_BYTES 65536
#define FAILED     99

struct terminal {
    int master;
    int log;
    pid_t child;
    int ended; /* readable when the child has ended */
    char seen[SEEN_BYTES];
    size_t len;
    size_t at; /* behind what was expected last */
};

static _Noreturn void fail(const char *what, const char *text)
{
    (void)fprintf(stderr, "on_terminal: %s%s%s\n", what, text == NULL ? "" : ": ",
                  text == NULL ? "" : text);
    exit(FAILED);
}

/* What the terminal shows now. */
static void look(struct terminal *terminal)
{
    size_t room = sizeof terminal->seen - 1 - terminal->len;
    ssize_t got = room == 0 ? 0 : read(terminal->master, terminal->seen + terminal->len, room);
    if (got > 0) {
        if (write(terminal->log, terminal->seen + terminal->len, (size_t)got) != got) {
            fail("write the log", strerror(errno));
        }
        terminal->len += (size_t)got;
        terminal->seen[terminal->len] = 0;
    }
}

static bool is_shown(struct terminal *terminal, const char *text)
{
    char *found = strstr(terminal->seen + terminal->at, text);
    if (found != NULL) {
        terminal->at = (size_t)(found - terminal->seen) + strlen(text);
    }
    return found != NULL;
}

static void expect(struct terminal *terminal, const char *text)
{
    struct pollfd wait[2] = {{.fd = terminal->master, .events = POLLIN},
                             {.fd = terminal->ended, .events = POLLIN}};
    while (!is_shown(terminal, text)) {
        if (poll(wait, 2, -1) < 0 && errno != EINTR) {
            fail("poll", strerror(errno));
        }
        size_t before = terminal->len;
        look(terminal);
        if (terminal->len == before && (wait[1].revents & POLLIN) != 0) {
            fail("the program ended before the terminal showed", text);
        }
    }
}

static void type(const struct terminal *terminal, const char *text, size_t len)
{
    if (write(terminal->master, text, len) != (ssize_t)len) {
        fail("type", strerror(errno));
    }
}

static void check_echo(const struct terminal *terminal, bool is_wanted)
{
    struct termios now;
    if (tcgetattr(terminal->master, &now) != 0) {
        fail("tcgetattr", strerror(errno));
    }
    if (((now.c_lflag & ECHO) != 0) != is_wanted) {
        fail("the echo is", is_wanted ? "off" : "on");
    }
}

static void wait_until_stopped(const struct terminal *terminal)
{
    int state = 0;
    if (waitpid(terminal->child, &state, WUNTRACED) != terminal->child || !WIFSTOPPED(state)) {
        fail("the program was not stopped", NULL);
    }
}

static void follow(struct terminal *terminal, char *line)
{
    char *argument = strchr(line, ' ');
    if (argument != NULL) {
        *argument++ = 0;
    } else {
        argument = line + strlen(line);
    }
    if (strcmp(line, "expect") == 0) {
        expect(terminal, argument);
    } else if (strcmp(line, "send") == 0) {
        type(terminal, argument, strlen(argument));
        type(terminal, "\n", 1);
    } else if (strcmp(line, "key") == 0) {
        char key = (char)strtol(argument, NULL, 10);
        type(terminal, &key, 1);
    } else if (strcmp(line, "echo") == 0) {
        check_echo(terminal, strcmp(argument, "on") == 0);
    } else if (strcmp(line, "stopped") == 0) {
        wait_until_stopped(terminal);
    } else if (strcmp(line, "continue") == 0) {
        (void)kill(-terminal->child, SIGCONT); /* it is ours and stopped */
    } else {
        fail("no such line in a script", line);
    }
}

/* The program in a process group of its own, in the foreground. */
static void start(struct terminal *terminal, int slave, char **argv)
{
    terminal->child = fork();
    if (terminal->child < 0) {
        fail("fork", strerror(errno));
    }
    if (terminal->child == 0) {
        (void)setpgid(0, 0);              /* both of us do it: whoever comes first */
        (void)tcsetpgrp(slave, getpid()); /* as above */
        (void)signal(SIGTTOU, SIG_DFL);   /* cannot fail */
        (void)signal(SIGHUP, SIG_DFL);    /* as above */
        (void)close(slave);               /* it has its controlling terminal */
        (void)execvp(argv[0], argv);      /* comes back only where it failed */
        _exit(127);
    }
    (void)setpgid(terminal->child, terminal->child);
    (void)tcsetpgrp(slave, terminal->child);
    terminal->ended = pidfd_open(terminal->child, 0);
    if (terminal->ended < 0) {
        fail("pidfd_open", strerror(errno));
    }
}

/* The leader of the terminal's session. */
static int lead(const char *script, const char *log, char **argv)
{
    static struct terminal terminal;
    char line[1024];
    int state = 0;
    FILE *lines = fopen(script, "re");
    terminal.master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    terminal.log = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (lines == NULL || terminal.log < 0 || terminal.master < 0 || grantpt(terminal.master) != 0 ||
        unlockpt(terminal.master) != 0) {
        fail("script, log or terminal", strerror(errno));
    }
    (void)signal(SIGTTOU, SIG_IGN); /* cannot fail: we set who is in the foreground */
    (void)signal(SIGHUP, SIG_IGN);  /* as above */
    /* Held open, or the terminal would hang up whenever the program closes it. */
    int slave = open(ptsname(terminal.master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (setsid() < 0 || slave < 0 || ioctl(slave, TIOCSCTTY, 0) != 0 ||
        fcntl(terminal.master, F_SETFL, O_NONBLOCK) != 0) {
        fail("a session of our own", strerror(errno));
    }
    start(&terminal, slave, argv);
    while (fgets(line, sizeof line, lines) != NULL) {
        line[strcspn(line, "\n")] = 0;
        follow(&terminal, line);
    }
    (void)fclose(lines); /* was only read */
    if (waitpid(terminal.child, &state, 0) != terminal.child) {
        fail("waitpid", strerror(errno));
    }
    look(&terminal);
    check_echo(&terminal, true); /* whatever happened */
    return WIFSIGNALED(state) ? 128 + WTERMSIG(state) : WEXITSTATUS(state);
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        (void)fprintf(stderr, "usage: on_terminal SCRIPT LOG COMMAND...\n");
        return FAILED;
    }
    /* Who leads a process group cannot begin a session. */
    pid_t leader = fork();
    if (leader == 0) {
        return lead(argv[1], argv[2], argv + 3);
    }
    int state = 0;
    if (leader < 0 || waitpid(leader, &state, 0) != leader || !WIFEXITED(state)) {
        fail("the leader of the session", strerror(errno));
    }
    return WEXITSTATUS(state);
}

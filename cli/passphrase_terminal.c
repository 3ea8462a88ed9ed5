/*
 * Asking on the terminal, without echo. The echo comes back whatever happens: a signal that would
 * end or stop the program is held back, the terminal is set right, and then the signal has its
 * usual way; after a stop it asks again.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "passphrase_parts.h"
#include "quipu/io.h"

/* What ends or stops a program that sits at a terminal. SIGTTIN and SIGTTOU are not among them:
 * they come to a program in the background before it has changed anything. */
static const int held[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};

#define HELD (sizeof held / sizeof held[0])

static volatile sig_atomic_t caught;

static void note_signal(int number)
{
    caught = number;
}

/* While it asks, the signals are blocked and only the waiting lets them through, so that none comes
 * between a look at `caught` and the next wait. */
struct guard {
    sigset_t mask; /* as it was */
    struct sigaction actions[HELD];
};

static void guard_begin(struct guard *guard)
{
    struct sigaction action = {.sa_handler = note_signal};
    sigset_t block;
    (void)sigemptyset(&action.sa_mask); /* cannot fail */
    (void)sigemptyset(&block);          /* as above */
    for (size_t i = 0; i < HELD; i++) {
        (void)sigaddset(&block, held[i]); /* as above */
    }
    caught = 0;
    (void)sigprocmask(SIG_BLOCK, &block, &guard->mask); /* as above */
    for (size_t i = 0; i < HELD; i++) {
        (void)sigaction(held[i], NULL, &guard->actions[i]); /* as above */
        if (guard->actions[i].sa_handler != SIG_IGN) {
            (void)sigaction(held[i], &action, NULL); /* as above */
        }
    }
}

/* Whatever came meanwhile has its way now. */
static void guard_end(const struct guard *guard)
{
    for (size_t i = 0; i < HELD; i++) {
        (void)sigaction(held[i], &guard->actions[i], NULL); /* cannot fail */
    }
    if (caught != 0) {
        (void)raise(caught); /* blocked still, so that it comes with the mask */
    }
    (void)sigprocmask(SIG_SETMASK, &guard->mask, NULL); /* as above */
}

static enum quipu_status say(int tty, const char *text, struct quipu_error *err)
{
    struct quipu_sink sink = quipu_sink_fd(&tty);
    return sink.write(sink.ctx, quipu_slice_text(text), err);
}

/* One line, up to its end. QUIPU_DONE: a signal came first. */
static enum quipu_status read_line(int tty, const sigset_t *mask, struct cli_passphrase *out,
                                   struct quipu_error *err)
{
    struct pollfd wait = {.fd = tty, .events = POLLIN};
    uint8_t byte = 0;
    ssize_t got = 1;
    out->len = 0;
    while (caught == 0) {
        if (ppoll(&wait, 1, NULL, mask) < 0) {
            if (errno == EINTR) {
                continue;
            }
            return quipu_error_errno(err, errno, "wait for the terminal");
        }
        got = read(tty, &byte, 1);
        if (got < 0 && errno != EINTR && errno != EAGAIN) {
            return quipu_error_errno(err, errno, "read from the terminal");
        }
        if (got == 0) {
            return quipu_error_set(err, QUIPU_STOPPED, "no passphrase was typed");
        }
        if (got == 1 && byte == '\n') {
            byte = 0;
            return out->len < PASSPHRASE_ROOM
                       ? QUIPU_OK
                       : quipu_error_set(err, QUIPU_TOO_LARGE,
                                         "a passphrase has at most %d bytes; take a shorter one",
                                         QUIPU_AGE_PASSPHRASE_BYTES_MAX);
        }
        if (got == 1 && out->len < PASSPHRASE_ROOM) {
            out->bytes[out->len++] = byte;
        }
    }
    return QUIPU_DONE;
}

/* QUIPU_DONE: a signal came, and has had its way by now. */
static enum quipu_status ask_once(int tty, const char *prompt, struct cli_passphrase *out,
                                  struct quipu_error *err)
{
    struct termios before;
    struct guard guard;
    if (tcgetattr(tty, &before) != 0) {
        return quipu_error_errno(err, errno, "ask on the terminal");
    }
    struct termios silent = before;
    silent.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
    silent.c_lflag |= ICANON | ISIG;
    guard_begin(&guard);
    enum quipu_status status = QUIPU_OK;
    /* What was typed before the question is no answer to it. */
    if (tcsetattr(tty, TCSAFLUSH, &silent) != 0) {
        status = quipu_error_errno(err, errno, "turn the echo of the terminal off");
    }
    if (status == QUIPU_OK) {
        status = say(tty, prompt, err);
    }
    if (status == QUIPU_OK) {
        status = read_line(tty, &guard.mask, out, err);
    }
    (void)say(tty, "\n", NULL);               /* the newline that was not shown */
    (void)tcsetattr(tty, TCSAFLUSH, &before); /* nothing more can be done about it */
    guard_end(&guard);
    return status;
}

enum quipu_status passphrase_terminal(int tty, const char *prompt, const char *problem,
                                      struct cli_passphrase *out, struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    if (problem != NULL) {
        status = say(tty, problem, err);
        status = status == QUIPU_OK ? say(tty, "\n", err) : status;
    }
    if (status != QUIPU_OK) {
        return status;
    }
    do {
        status = ask_once(tty, prompt, out, err);
    } while (status == QUIPU_DONE);
    return status;
}

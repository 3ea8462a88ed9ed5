/*
 * Asking through pinentry: a small, strict client of the Assuan protocol over two pipes. The
 * program is asked once and ended; what it does not end by itself is killed, so that no child is
 * left.
 *
 * The program gets two pipes and our stderr, and no other descriptor of ours: one of them may lead
 * to a passphrase. What it says is read in passphrase_assuan.c, in guarded memory that is wiped.
 *
 * Specification: The Assuan protocol, "Client requests", "Server responses"; pinentry's manual.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "passphrase_assuan.h"
#include "passphrase_parts.h"
#include "quipu/buf.h"
#include "quipu/io.h"

#define PART_BYTES_MAX 300 /* of a text that we send, before it is escaped: three times as much */
#define END_WAIT_MS    2000

struct talk {
    pid_t child;
    int to;
    int from;
    struct assuan answers; /* what comes from there; its room is guarded */
};

/* ------------------------------------------------------------------ the child */

static _Noreturn void become(const char *program, int in, int out)
{
    char name[256];
    const char *slash = strrchr(program, '/');
    (void)snprintf(name, sizeof name, "%s", slash == NULL ? program : slash + 1);
    char *argv[] = {name, NULL};
    if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0) {
        _exit(126);
    }
    /* Whatever this program was given open, too; without it there is nothing that could help. */
    if (close_range(STDERR_FILENO + 1, UINT_MAX, 0) != 0) {
        _exit(126);
    }
    (void)execvp(program, argv); /* comes back only where it failed */
    _exit(127);
}

static enum quipu_status talk_start(struct talk *talk, const char *program, struct quipu_error *err)
{
    int down[2];
    int up[2];
    if (pipe2(down, O_CLOEXEC) != 0) {
        return quipu_error_errno(err, errno, "make a pipe to %s", program);
    }
    if (pipe2(up, O_CLOEXEC) != 0) {
        enum quipu_status status = quipu_error_errno(err, errno, "make a pipe to %s", program);
        (void)close(down[0]); /* nothing was written to any of them */
        (void)close(down[1]);
        return status;
    }
    talk->child = fork();
    if (talk->child == 0) {
        become(program, down[0], up[1]);
    }
    enum quipu_status status =
        talk->child < 0 ? quipu_error_errno(err, errno, "start %s", program) : QUIPU_OK;
    (void)close(down[0]); /* the child's */
    (void)close(up[1]);   /* as above */
    talk->to = down[1];
    talk->from = up[0];
    return status;
}

/* Wait for its end a while, then see to it. */
static void talk_end(struct talk *talk)
{
    if (talk->to >= 0) {
        (void)close(talk->to); /* the end of its input */
    }
    if (talk->from >= 0) {
        (void)close(talk->from);
    }
    if (talk->child > 0) {
        int handle = pidfd_open(talk->child, 0);
        struct pollfd ended = {.fd = handle, .events = POLLIN};
        if (handle < 0 || poll(&ended, 1, END_WAIT_MS) != 1) {
            (void)kill(talk->child, SIGKILL); /* it is ours and not yet waited for */
        }
        if (handle >= 0) {
            (void)close(handle);
        }
        while (waitpid(talk->child, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    sodium_free(talk->answers.room); /* wipes it; NULL is fine */
}

/* ------------------------------------------------------------------ the talk */

/* `text` behind the command, escaped; it is cut where it is too long. */
static enum quipu_status talk_say(struct talk *talk, const char *command, const char *text,
                                  struct quipu_error *err)
{
    struct quipu_buf line = QUIPU_BUF_INIT;
    struct quipu_sink sink = quipu_sink_fd(&talk->to);
    quipu_buf_append_text(&line, command);
    for (size_t i = 0; text[i] != 0 && i < PART_BYTES_MAX; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20 || c == '%' || c == 0x7f) {
            quipu_buf_printf(&line, "%%%02X", c);
        } else {
            quipu_buf_append_byte(&line, c);
        }
    }
    quipu_buf_append_byte(&line, '\n');
    enum quipu_status status = line.status;
    if (status != QUIPU_OK) {
        (void)quipu_error_set(err, status, "no memory for a line"); /* returned below */
    } else {
        status = sink.write(sink.ctx, quipu_buf_slice(&line), err);
    }
    quipu_buf_release(&line);
    return status;
}

/* A setting that this pinentry may not know: its refusal is of no matter. */
static enum quipu_status talk_offer(struct talk *talk, const char *option, const char *value,
                                    struct quipu_error *err)
{
    if (value == NULL || value[0] == 0 || strlen(value) > PART_BYTES_MAX) {
        return QUIPU_OK;
    }
    enum quipu_status status = talk_say(talk, option, value, err);
    return status == QUIPU_OK ? assuan_skip(&talk->answers, err) : status;
}

static enum quipu_status talk_ask(struct talk *talk, const char *prompt, const char *problem,
                                  struct cli_passphrase *out, struct quipu_error *err)
{
    const char *language = getenv("LC_ALL");
    const struct {
        const char *command;
        const char *text; /* NULL: it is left out */
    } settings[] = {
        {"SETTITLE ", "quipu"},
        {"SETDESC ", prompt},
        {"SETPROMPT ", "Passphrase:"},
        {"SETERROR ", problem},
    };
    struct assuan_pin pin = {.bytes = out->bytes, .cap = PASSPHRASE_ROOM - 1};
    language = language == NULL ? getenv("LC_CTYPE") : language;
    language = language == NULL ? getenv("LANG") : language;
    enum quipu_status status = assuan_answer(&talk->answers, NULL, err); /* its greeting */
    if (status == QUIPU_OK) {
        status = talk_offer(talk, "OPTION ttyname=", "/dev/tty", err);
    }
    if (status == QUIPU_OK) {
        status = talk_offer(talk, "OPTION ttytype=", getenv("TERM"), err);
    }
    if (status == QUIPU_OK) {
        status = talk_offer(talk, "OPTION lc-ctype=", language, err);
    }
    for (size_t i = 0; status == QUIPU_OK && i < sizeof settings / sizeof settings[0]; i++) {
        if (settings[i].text != NULL) {
            status = talk_say(talk, settings[i].command, settings[i].text, err);
            status = status == QUIPU_OK ? assuan_answer(&talk->answers, NULL, err) : status;
        }
    }
    if (status == QUIPU_OK) {
        status = talk_say(talk, "GETPIN", "", err);
    }
    if (status == QUIPU_OK) {
        status = assuan_answer(&talk->answers, &pin, err);
        out->len = pin.len;
    }
    if (status == QUIPU_OK) {
        status = talk_say(talk, "BYE", "", err);
    }
    return status;
}

enum quipu_status passphrase_pinentry(const char *program, const char *prompt, const char *problem,
                                      struct cli_passphrase *out, struct quipu_error *err)
{
    struct talk talk = {.child = -1, .to = -1, .from = -1};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct sigaction before;
    out->len = 0;
    talk.answers.source = quipu_source_fd(&talk.from);
    talk.answers.room = sodium_init() < 0 ? NULL : sodium_malloc(ASSUAN_ROOM_BYTES);
    if (talk.answers.room == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory for a passphrase");
    }
    /* A pinentry that is gone is told by the write, not by a signal. */
    (void)sigemptyset(&ignore.sa_mask); /* cannot fail */
    enum quipu_status status = talk_start(&talk, program, err);
    (void)sigaction(SIGPIPE, &ignore, &before); /* as above; after the fork, so not the child's */
    if (status == QUIPU_OK) {
        status = talk_ask(&talk, prompt, problem, out, err);
    }
    talk_end(&talk);
    (void)sigaction(SIGPIPE, &before, NULL); /* as above */
    return status;
}

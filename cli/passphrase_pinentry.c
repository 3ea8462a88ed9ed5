/*
 * Asking through pinentry: a small, strict client of the Assuan protocol over two pipes. The
 * program is asked once and ended; what it does not end by itself is killed, so that no child is
 * left.
 *
 * Never believes the other side: lines and their number are limited, what is not expected ends the
 * talk, and what it sends lies in guarded memory that is wiped.
 *
 * Specification: The Assuan protocol, "Client requests", "Server responses"; pinentry's manual.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "passphrase_parts.h"
#include "quipu/buf.h"
#include "quipu/io.h"
#include "quipu/text.h"

#define LINE_BYTES_MAX 1000 /* without the newline, by the protocol */
#define LINES_MAX      256  /* of one answer */
#define ROOM_BYTES     2048
#define PART_BYTES_MAX 300 /* of a text that we send, before it is escaped: three times as much */
#define END_WAIT_MS    2000
/* The low half of a libgpg-error number. */
#define ERROR_MASK      0xffffu
#define ERROR_CANCELLED 99u

struct talk {
    pid_t child;
    int to;
    int from;
    uint8_t *room; /* guarded; what was read and not yet taken is [at, end) */
    size_t at;
    size_t end;
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
    sodium_free(talk->room); /* wipes it; NULL is fine */
}

/* ------------------------------------------------------------------ lines */

static enum quipu_status not_assuan(struct quipu_error *err, const char *what)
{
    return quipu_error_set(err, QUIPU_IO,
                           "pinentry: %s; name another program with --pinentry=PROGRAM", what);
}

/* The next line without its end; valid until the next call. */
static enum quipu_status talk_line(struct talk *talk, struct quipu_slice *line,
                                   struct quipu_error *err)
{
    for (;;) {
        uint8_t *newline = memchr(talk->room + talk->at, '\n', talk->end - talk->at);
        if (newline != NULL) {
            *line = quipu_slice(talk->room + talk->at, (size_t)(newline - talk->room) - talk->at);
            talk->at += line->len + 1;
            if (line->len > LINE_BYTES_MAX) {
                return not_assuan(err, "a line is too long");
            }
            return QUIPU_OK;
        }
        if (talk->end - talk->at > LINE_BYTES_MAX) {
            return not_assuan(err, "a line is too long");
        }
        memmove(talk->room, talk->room + talk->at, talk->end - talk->at);
        talk->end -= talk->at;
        talk->at = 0;
        ssize_t got = read(talk->from, talk->room + talk->end, ROOM_BYTES - talk->end);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return quipu_error_errno(err, errno, "read from pinentry");
        }
        if (got == 0) {
            return not_assuan(err, "it ended without an answer, or cannot be started");
        }
        talk->end += (size_t)got;
    }
}

static bool begins_with(struct quipu_slice line, const char *word)
{
    size_t len = strlen(word);
    return line.len >= len && memcmp(line.data, word, len) == 0;
}

/* The word alone, or with a space behind it. */
static bool is_word(struct quipu_slice line, const char *word)
{
    size_t len = strlen(word);
    return begins_with(line, word) && (line.len == len || line.data[len] == ' ');
}

/* "D " data: '%' and two hexadecimal digits stand for a byte. */
static enum quipu_status take_data(struct quipu_slice data, struct cli_passphrase *out,
                                   struct quipu_error *err)
{
    for (size_t i = 0; i < data.len; i++) {
        uint8_t byte = data.data[i];
        if (byte == '%') {
            struct quipu_buf one;
            quipu_buf_init_fixed(&one, &byte, 1);
            if (i + 2 >= data.len ||
                quipu_hex_decode(&one, quipu_slice(data.data + i + 1, 2)) != QUIPU_OK) {
                return not_assuan(err, "'%' without two hexadecimal digits behind it");
            }
            i += 2;
        }
        if (out->len == PASSPHRASE_ROOM - 1) {
            return quipu_error_set(err, QUIPU_TOO_LARGE,
                                   "a passphrase has at most %d bytes; take a shorter one",
                                   QUIPU_AGE_PASSPHRASE_BYTES_MAX);
        }
        out->bytes[out->len++] = byte;
    }
    return QUIPU_OK;
}

/* "ERR 83886179 Operation cancelled <Pinentry>" */
static enum quipu_status refused(struct quipu_slice line, struct quipu_error *err)
{
    uint64_t number = 0;
    struct quipu_slice text = quipu_slice(line.data + 3, line.len - 3);
    char digits[24] = "";
    size_t len = 0;
    while (len + 1 < text.len && len + 1 < sizeof digits && text.data[len + 1] >= '0' &&
           text.data[len + 1] <= '9') {
        digits[len] = (char)text.data[len + 1];
        len++;
    }
    if (!cli_number_parse(digits, &number)) {
        return not_assuan(err, "an error without a number");
    }
    return (number & ERROR_MASK) == ERROR_CANCELLED
               ? quipu_error_set(err, QUIPU_STOPPED, "no passphrase was given: pinentry was left")
               : quipu_error_set(err, QUIPU_IO,
                                 "pinentry says error %llu; name another program with "
                                 "--pinentry=PROGRAM",
                                 (unsigned long long)number);
}

/* Everything up to OK. `out` NULL: no data is expected. */
static enum quipu_status talk_answer(struct talk *talk, struct cli_passphrase *out,
                                     struct quipu_error *err)
{
    struct quipu_slice line;
    for (int lines = 0; lines < LINES_MAX; lines++) {
        enum quipu_status status = talk_line(talk, &line, err);
        if (status != QUIPU_OK) {
            return status;
        }
        if (is_word(line, "OK")) {
            return QUIPU_OK;
        }
        if (is_word(line, "ERR")) {
            return refused(line, err);
        }
        if (begins_with(line, "D ") && out != NULL) {
            status = take_data(quipu_slice(line.data + 2, line.len - 2), out, err);
            if (status != QUIPU_OK) {
                return status;
            }
        } else if (!begins_with(line, "#") && !is_word(line, "S")) {
            return not_assuan(err, "it says what nobody asked for");
        }
    }
    return not_assuan(err, "an answer has too many lines");
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
    struct quipu_slice line;
    for (int lines = 0; status == QUIPU_OK && lines < LINES_MAX; lines++) {
        status = talk_line(talk, &line, err);
        if (status == QUIPU_OK && (is_word(line, "OK") || is_word(line, "ERR"))) {
            return QUIPU_OK;
        }
    }
    return status == QUIPU_OK ? not_assuan(err, "an answer has too many lines") : status;
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
    language = language == NULL ? getenv("LC_CTYPE") : language;
    language = language == NULL ? getenv("LANG") : language;
    enum quipu_status status = talk_answer(talk, NULL, err); /* its greeting */
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
            status = status == QUIPU_OK ? talk_answer(talk, NULL, err) : status;
        }
    }
    if (status == QUIPU_OK) {
        status = talk_say(talk, "GETPIN", "", err);
    }
    if (status == QUIPU_OK) {
        status = talk_answer(talk, out, err);
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
    talk.room = sodium_init() < 0 ? NULL : sodium_malloc(ROOM_BYTES);
    if (talk.room == NULL) {
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

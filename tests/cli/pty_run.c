/*
 * Runs a program on a terminal of its own and plays the person in front of it: waits until the
 * prompt stands there, runs a check meanwhile, then types the answer.
 *
 *   pty_run [-i FILE] [-c CHECK] [-d] -p PROMPT -a ANSWER COMMAND…
 *
 *   -p PROMPT  what must be seen before anything is typed
 *   -a ANSWER  what is typed, with \n, \e and octal \004 as printf(1) has them; "" hangs up instead
 *   -c CHECK   a command for sh that must succeed while the program waits
 *   -i FILE    the program's standard input, in the place of the terminal
 *   -d         the terminal is not the program's controlling one, so that /dev/tty is not there
 *
 * What was seen goes to stdout. The exit code is the program's, 128 and the signal that ended it,
 * 124 where the check failed, 125 where the prompt never came. Waits for nothing but the terminal.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEEN_BYTES ((size_t)1 << 20)

#define EXIT_CHECK  124
#define EXIT_PROMPT 125
#define EXIT_USAGE  126

struct play {
    const char *prompt;
    const char *answer;
    const char *check;
    const char *input;
    bool is_detached;
    char **command;
    int terminal; /* the person's side */
    pid_t child;
    char *seen;
    size_t seen_len;
};

static void die(const char *what)
{
    perror(what);
    exit(EXIT_USAGE);
}

static char octal(const char **at)
{
    int value = 0;
    for (int i = 0; i < 3 && **at >= '0' && **at <= '7'; i++, (*at)++) {
        value = value * 8 + (**at - '0');
    }
    return (char)value;
}

static void type_answer(const struct play *play)
{
    for (const char *at = play->answer; *at != 0;) {
        char c = *at++;
        if (c == '\\' && *at == 'n') {
            c = '\n';
            at++;
        } else if (c == '\\' && *at == 'e') {
            c = 0x1b;
            at++;
        } else if (c == '\\') {
            c = octal(&at);
        }
        if (write(play->terminal, &c, 1) != 1) {
            die("type the answer");
        }
    }
}

/* In the child: the terminal on 0, 1 and 2, and its controlling one unless it is not to be. */
static void become(const struct play *play, int side)
{
    if (setsid() < 0 || (!play->is_detached && ioctl(side, TIOCSCTTY, 0) != 0)) {
        die("a session of its own");
    }
    int in = play->input == NULL ? side : open(play->input, O_RDONLY);
    if (in < 0 || dup2(in, STDIN_FILENO) < 0 || dup2(side, STDOUT_FILENO) < 0 ||
        dup2(side, STDERR_FILENO) < 0) {
        die("standard input and output");
    }
    (void)close(side);
    (void)close(play->terminal);
    execvp(play->command[0], play->command);
    die(play->command[0]);
}

static void start(struct play *play)
{
    int side = -1;
    /* Wide, so that no line is broken. */
    const struct winsize size = {.ws_row = 50, .ws_col = 500};
    if (openpty(&play->terminal, &side, NULL, NULL, &size) != 0) {
        die("a terminal");
    }
    play->child = fork();
    if (play->child < 0) {
        die("fork");
    }
    if (play->child == 0) {
        become(play, side);
    }
    (void)close(side);
}

/* Read on; false where the program has let go of the terminal. */
static bool look(struct play *play)
{
    ssize_t got =
        read(play->terminal, play->seen + play->seen_len, SEEN_BYTES - play->seen_len - 1);
    if (got < 0 && errno == EINTR) {
        return true;
    }
    if (got <= 0) {
        return false;
    }
    play->seen_len += (size_t)got;
    play->seen[play->seen_len] = 0;
    return play->seen_len < SEEN_BYTES - 1;
}

static int outcome(const struct play *play)
{
    int state = 0;
    while (waitpid(play->child, &state, 0) < 0) {
        if (errno != EINTR) {
            die("wait");
        }
    }
    return WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
}

static int run(struct play *play)
{
    bool is_typed = false;
    bool is_wrong = false;
    start(play);
    while (look(play)) {
        if (is_typed || strstr(play->seen, play->prompt) == NULL) {
            continue;
        }
        is_typed = true;
        is_wrong = play->check != NULL && system(play->check) != 0;
        if (play->answer[0] == 0) {
            break; /* hang up */
        }
        type_answer(play);
    }
    (void)close(play->terminal);
    int code = outcome(play);
    (void)fwrite(play->seen, 1, play->seen_len, stdout);
    if (!is_typed) {
        (void)fprintf(stderr, "pty_run: \"%s\" was never seen; exit code %d\n", play->prompt, code);
        return EXIT_PROMPT;
    }
    return is_wrong ? EXIT_CHECK : code;
}

int main(int argc, char **argv)
{
    struct play play = {0};
    int option;
    while ((option = getopt(argc, argv, "+p:a:c:i:d")) != -1) {
        switch (option) {
        case 'p':
            play.prompt = optarg;
            break;
        case 'a':
            play.answer = optarg;
            break;
        case 'c':
            play.check = optarg;
            break;
        case 'i':
            play.input = optarg;
            break;
        case 'd':
            play.is_detached = true;
            break;
        default:
            return EXIT_USAGE;
        }
    }
    play.command = argv + optind;
    play.seen = calloc(1, SEEN_BYTES);
    if (play.prompt == NULL || play.answer == NULL || play.seen == NULL || *play.command == NULL) {
        (void)fprintf(stderr,
                      "usage: pty_run [-i FILE] [-c CHECK] [-d] -p PROMPT -a ANSWER COMMAND...\n");
        return EXIT_USAGE;
    }
    int code = run(&play);
    free(play.seen);
    return code;
}

/*
 * The program quipu: finds the verb, reads the options, runs it, and answers for stdout.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli.h"
#include "config.h"
#include "print.h"
#include "quipu/alloc.h"

const struct cli_verb *const cli_verbs[] = {
    &cli_verb_init,
    &cli_verb_keygen,
    &cli_verb_append,
    &cli_verb_log,
    &cli_verb_show,
    &cli_verb_cat,
    &cli_verb_verify,
    &cli_verb_status,
    &cli_verb_query,
    &cli_verb_replay,
    &cli_verb_projections,
    &cli_verb_subscriptions,
    &cli_verb_export,
    &cli_verb_import,
    &cli_verb_sign,
    &cli_verb_release,
    &cli_verb_operations,
    &cli_verb_report,
    &cli_verb_backup,
    &cli_verb_compact,
    &cli_verb_provision,
    &cli_verb_flush,
    &cli_verb_pull,
    &cli_verb_reconcile,
    &cli_verb_serve,
    &cli_verb_deadletter,
    &cli_verb_quarantine,
    &cli_verb_forks,
    &cli_verb_merge,
    &cli_verb_types,
    &cli_verb_cid,
    &cli_verb_car,
    &cli_verb_config,
    &cli_verb_demo,
    &cli_verb_help,
    &cli_verb_version,
    NULL,
};

const struct cli_verb *cli_verb_find(const char *name)
{
    for (size_t i = 0; cli_verbs[i] != NULL; i++) {
        if (strcmp(cli_verbs[i]->name, name) == 0) {
            return cli_verbs[i];
        }
    }
    return NULL;
}

/* Whoever started us may have closed stdin, stdout or stderr. The next file that is opened takes
 * the lowest free number, so that a message would go into the store. Each is opened the wrong way
 * round: reading from this stdin fails, as does writing to this stdout, and nobody believes that it
 * worked.
 */
static bool hold_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) != -1 || errno != EBADF) {
            continue;
        }
        if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd) {
            return false;
        }
    }
    return true;
}

/* An environment variable, NULL where it is empty. */
static const char *setting(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != 0 ? value : NULL;
}

/* What tells about the program, or about bytes alone, works whatever the settings are. */
static bool reads_settings(const struct cli_verb *verb)
{
    return verb != &cli_verb_help && verb != &cli_verb_version && verb != &cli_verb_cid &&
           verb != &cli_verb_car;
}

/* Returns the exit code. */
static int run_with_settings(struct cli *cli, const void *values, int argc, char **argv)
{
    int code = 0;
    if (reads_settings(cli->verb)) {
        code = cli_config_load(cli);
    }
    if (code == 0 && cli->verb->is_network) {
        code = cli_config_allow_network(cli);
    }
    if (code == 0) {
        code = cli->verb->run(cli, values, argc, argv);
    }
    return code == 0 ? cli_config_finish(cli) : code;
}

/* A script that asks for JSON gets it also for the option that is wrong in front of --json. */
static bool asks_for_json(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            return true;
        }
    }
    return false;
}

/* What depends on the options: called when they are known. */
static void look_at_terminal(struct cli *cli)
{
    const char *term = getenv("TERM");
    cli->has_colour = !cli->is_json && isatty(STDOUT_FILENO) == 1 && setting("NO_COLOR") == NULL &&
                      term != NULL && strcmp(term, "dumb") != 0;
    cli->has_progress = !cli->is_quiet && isatty(STDERR_FILENO) == 1;
}

static int run_verb(struct cli *cli, int argc, char **argv)
{
    size_t bytes = cli->verb->values_bytes;
    void *values = quipu_alloc_zero(1, bytes == 0 ? 1 : bytes);
    if (values == NULL) {
        return cli_fail(cli, QUIPU_NO_MEMORY, NULL, NULL);
    }
    int first = argc;
    int code = cli_options_read(cli, values, argc, argv, &first);
    if (code == 0) {
        look_at_terminal(cli);
        if (cli->wants_help) {
            cli_help_verb(cli->verb);
        } else if (cli->wants_version) {
            code = cli_verb_version.run(cli, NULL, 0, NULL);
        } else {
            code = run_with_settings(cli, values, argc - first, argv + first);
        }
    }
    cli_say_restored(cli);
    cli_close(&cli->store, &cli->engine);
    cli_config_release(&cli->config);
    quipu_free(values);
    return code;
}

/* Results that did not reach their place are a failure, such as on a full disk. What they tell
 * about has happened all the same, and the person must know. */
static int finish_stdout(const struct cli *cli, int code)
{
    errno = 0; /* an earlier write may be the one that failed, and its number is gone */
    if ((fflush(stdout) == 0 && ferror(stdout) == 0) || code != 0) {
        return code;
    }
    struct quipu_error err;
    struct cli_failure failure = {
        .status = errno == 0 ? quipu_error_set(&err, QUIPU_IO, "the results did not reach stdout")
                             : quipu_error_errno(&err, errno, "write the results to stdout"),
        .err = &err,
        .cure = "send stdout to a place that takes it",
        .note = cli->done[0] == 0 ? NULL : cli->done,
    };
    return cli_fail_with(cli, &failure);
}

/* Any verb may hold a key, or what a server wants to know: a seed, a password, a token. */
static void leave_no_core(void)
{
    struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none); /* may always be lowered */
}

int main(int argc, char **argv)
{
    leave_no_core();
    if (!hold_standard_descriptors()) {
        return CLI_EXIT_MACHINE; /* and there is nowhere to say it */
    }
    struct cli cli = {0};
    cli.is_json = asks_for_json(argc, argv);
    int verb_at = argc;
    int code = cli_options_front(&cli, argc, argv, &verb_at);
    if (code != 0) {
        return code;
    }
    if (verb_at >= argc) {
        cli.verb = cli.wants_help ? &cli_verb_help : cli.wants_version ? &cli_verb_version : NULL;
        if (cli.verb == NULL) {
            return cli_usage(&cli, "wants a verb, such as init, append or log");
        }
        cli.wants_help = false;
        look_at_terminal(&cli);
        return finish_stdout(&cli, cli.verb->run(&cli, NULL, 0, NULL));
    }
    cli.verb = cli_verb_find(argv[verb_at]);
    if (cli.verb == NULL) {
        return cli_usage(&cli, "there is no verb \"%s\"", argv[verb_at]);
    }
    code = run_verb(&cli, argc - verb_at, argv + verb_at);
    return finish_stdout(&cli, code);
}

/*
 * quipu demo: a key ceremony from beginning to end, offline first, in a folder of its own.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "demo.h"

#define STEP_TEXT_BYTES 768

struct demo_values {
    const char *dir;
    const char *nats_server;
};

static const char *const store_names[DEMO_STORES] = {"ceremony", "vault", "office"};

void demo_step(struct demo *demo, const char *name, const char *format, ...)
{
    int64_t now_us = cli_now_us();
    char text[STEP_TEXT_BYTES];
    char took[CLI_COUNT_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    demo->steps++;
    if (demo->cli->is_json) {
        cli_json_begin(&demo->json);
        cli_json_number(&demo->json, "step", demo->steps);
        cli_json_text(&demo->json, "name", quipu_slice_text(name));
        cli_json_text(&demo->json, "text", quipu_slice_text(text));
        cli_json_number(&demo->json, "took_us", (uint64_t)(now_us - demo->began_us));
        (void)cli_json_end(&demo->json, NULL); /* without memory the play itself fails next */
    } else {
        (void)printf("%s%2u%s  %s%-12s%s %s%8s%s  %s\n", cli_paint(demo->cli, CLI_DIM), demo->steps,
                     cli_paint(demo->cli, CLI_PLAIN), cli_paint(demo->cli, CLI_BOLD), name,
                     cli_paint(demo->cli, CLI_PLAIN), cli_paint(demo->cli, CLI_DIM),
                     cli_duration(now_us - demo->began_us, took), cli_paint(demo->cli, CLI_PLAIN),
                     text);
    }
    (void)fflush(stdout); /* so that a person sees it happen; main asks ferror at the end */
    demo->began_us = cli_now_us();
}

/* The folder: as asked for, or a fresh one below TMPDIR. */
static enum quipu_status make_folder(struct demo *demo, const char *wanted, struct quipu_error *err)
{
    const char *base = getenv("TMPDIR");
    int len = wanted != NULL ? snprintf(demo->dir, sizeof demo->dir, "%s", wanted)
                             : snprintf(demo->dir, sizeof demo->dir, "%s/quipu-demo-XXXXXX",
                                        base != NULL && base[0] != 0 ? base : "/tmp");
    if (len < 0 || (size_t)len >= sizeof demo->dir) {
        return quipu_error_set(err, QUIPU_INVALID, "the folder's path is longer than %d bytes",
                               DEMO_PATH_BYTES - 1);
    }
    bool is_made = wanted != NULL ? mkdir(demo->dir, 0700) == 0 : mkdtemp(demo->dir) != NULL;
    if (!is_made) {
        return errno == EEXIST
                   ? quipu_error_set(err, QUIPU_EXISTS, "there is \"%s\" already", demo->dir)
                   : quipu_error_errno(err, errno, "make folder \"%s\"", demo->dir);
    }
    for (int i = 0; i < DEMO_STORES; i++) {
        (void)snprintf(demo->paths[i], sizeof demo->paths[i], "%s/%s", demo->dir, store_names[i]);
    }
    (void)snprintf(demo->bundle, sizeof demo->bundle, "%s/ceremony.car", demo->dir);
    return QUIPU_OK;
}

/* The ceremony records what the catalogue declares and nothing else. */
static enum quipu_status declare_types(struct demo *demo, struct quipu_error *err)
{
    struct quipu_engine_options options = QUIPU_ENGINE_OPTIONS_INIT;
    enum quipu_status status = quipu_types_new(QUIPU_TYPES_STRICT, &demo->types, err);
    if (status == QUIPU_OK) {
        status = catalogue_declare(demo->types, err);
    }
    if (status == QUIPU_OK) {
        options.types = demo->types;
        quipu_engine_close(&demo->engines[DEMO_CEREMONY]);
        status = quipu_engine_open(demo->stores[DEMO_CEREMONY], &options,
                                   &demo->engines[DEMO_CEREMONY], err);
    }
    return status;
}

static enum quipu_status open_stores(struct demo *demo, struct quipu_error *err)
{
    char source[QUIPU_SOURCE_TEXT_BYTES] = "";
    enum quipu_status status = QUIPU_OK;
    for (int i = DEMO_CEREMONY; i <= DEMO_VAULT && status == QUIPU_OK; i++) {
        status = cli_open_at(demo->paths[i], QUIPU_STORE_CREATE_NEW, &demo->stores[i],
                             &demo->engines[i], err);
    }
    if (status == QUIPU_OK) {
        status = declare_types(demo, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_identity_ensure(demo->engines[DEMO_CEREMONY], err);
    }
    if (status == QUIPU_OK) {
        status = quipu_identity_source(demo->engines[DEMO_CEREMONY], source, err);
    }
    if (status == QUIPU_OK) {
        demo_step(demo, "store", "made in %s; its source is %.9s…", demo->paths[DEMO_CEREMONY],
                  source);
    }
    return status;
}

/* What was played need not be in PATH: the lines to try next name the file that runs. */
static void say_goodbye(const struct demo *demo)
{
    char took[CLI_COUNT_BYTES];
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    if (len < 0) {
        (void)snprintf(self, sizeof self, "quipu");
    } else {
        self[len] = 0;
    }
    const char *store = demo->paths[DEMO_CEREMONY];
    if (demo->cli->is_json) {
        return;
    }
    (void)printf("\nAll of it took %s. Everything is in %s; look around:\n",
                 cli_duration(cli_now_us() - demo->began_all_us, took), demo->dir);
    (void)printf("  %s log --store %s\n", self, store);
    (void)printf("  %s show --store %s 1\n", self, store);
    (void)printf("  %s log --store %s --aggregate yubikey/20460117\n", self, store);
    (void)printf("  %s replay --store %s --projection catalogue --show\n", self, store);
    (void)printf("  %s query --store %s "
                 "'{\"query\":\"list\",\"projection\":\"catalogue\",\"prefix\":\"held/\"}'\n",
                 self, store);
    (void)printf("  %s verify %s\n", self, demo->bundle);
}

static int run(struct cli *cli, const void *values, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    const struct demo_values *demo_values = values;
    struct quipu_error err = {0};
    struct demo demo = {.cli = cli, .server_program = demo_values->nats_server};
    demo.began_us = cli_now_us();
    demo.began_all_us = demo.began_us;
    enum quipu_status status = make_folder(&demo, demo_values->dir, &err);
    if (status == QUIPU_OK) {
        status = open_stores(&demo, &err);
    }
    if (status == QUIPU_OK) {
        status = demo_ceremony(&demo, &err);
    }
    if (status == QUIPU_OK) {
        status = demo_offline(&demo, &err);
    }
    if (status == QUIPU_OK && !quipu_config_may_connect(&cli->config->values)) {
        demo_step(&demo, "server", "left out: the settings say that no socket is opened");
    } else if (status == QUIPU_OK) {
        status = demo_online(&demo, &err);
    }
    if (status == QUIPU_OK) {
        status = demo_compare(&demo, &err);
    }
    for (int i = 0; i < DEMO_STORES; i++) {
        cli_close(&demo.stores[i], &demo.engines[i]);
    }
    quipu_types_free(demo.types);
    if (status == QUIPU_OK) {
        say_goodbye(&demo);
    }
    cli_json_release(&demo.json);
    bool has_no_parent = status == QUIPU_NOT_FOUND && demo.steps == 0;
    return status == QUIPU_OK
               ? 0
               : cli_fail(cli, status, &err, has_no_parent ? CLI_CURE_NO_PARENT : NULL);
}

static const struct cli_option options[] = {
    {"dir", CLI_TEXT, offsetof(struct demo_values, dir), "DIR",
     "a new folder for the stores (else one below TMPDIR)"},
    {"nats-server", CLI_TEXT, offsetof(struct demo_values, nats_server), "PATH",
     "this nats-server (else the one in PATH)"},
};

const struct cli_verb cli_verb_demo = {
    .name = "demo",
    .arguments = "",
    .summary = "Play a key ceremony: offline, over an air gap, through a server",
    .details = "An invented organisation makes its keys. Real stores, real Ed25519 keys (the "
               "secret halves are\n"
               "wiped), a real nats-server on 127.0.0.1 that is stopped at the end. Nothing "
               "outside the folder\n"
               "is touched. Without nats-server the offline part is played.",
    .example = "quipu demo --dir /tmp/ceremony",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .values_bytes = sizeof(struct demo_values),
    .run = run,
};

/*
 * How fast and how large the durable log is beside what one would pick instead: SQLite, RocksDB,
 * plain LMDB, and a raw file as the limit; all in one run, taking turns.
 *
 *   bench_store [--full] [--json] [--events N,N…] [--only TEXT] [--peers NAME,NAME…]
 *               [--rounds N] [--seconds S] [--dir FOLDER] [--svg FILE]
 *
 * By default: 0 and 100,000 events present, 5 rounds of 0.1 s a case and peer, below $TMPDIR or
 * /tmp; two to three minutes. --full adds 1,000,000 events and takes 0.2 s. --only takes the cases
 * whose name holds TEXT. The folder must be on a real file system: on tmpfs a sync costs nothing.
 * Everything that was made is deleted at the end.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "bench_store.h"

#define TMPFS_KIND      0x01021994
#define ROUNDS_DEFAULT  5
#define SECONDS_DEFAULT 0.1
#define SECONDS_FULL    0.2

static const struct peer *const PEERS[] = {
    &PEER_RAW,         &PEER_LMDB,
#ifdef QUIPU_BENCH_SQLITE
    &PEER_SQLITE_FULL, &PEER_SQLITE_NORMAL, &PEER_SQLITE_DEFAULT,
#endif
#ifdef QUIPU_BENCH_ROCKSDB
    &PEER_ROCKSDB,
#endif
    &PEER_QUIPU,
};
#define PEER_COUNT (sizeof PEERS / sizeof PEERS[0])

struct options {
    struct plan plan;
    const char *dir;
    const char *svg;
    const char *peers;
    bool is_json;
    bool is_full;
};

static void take_sizes(struct plan *plan, const char *text)
{
    const char *at = text;
    plan->size_count = 0;
    do {
        char *end;
        at += *at == ',' ? 1 : 0;
        unsigned long long size = strtoull(at, &end, 10);
        if (end == at || size % PREFILL_GRANULARITY != 0 || plan->size_count == SIZES_MAX) {
            die("--events %s: up to %d multiples of %d, joined by commas", text, SIZES_MAX,
                PREFILL_GRANULARITY);
        }
        plan->sizes[plan->size_count++] = size;
        at = end;
    } while (*at == ',');
    if (*at != '\0') {
        die("--events %s: not a number at \"%s\"", text, at);
    }
}

static void take_value(struct options *options, const char *name, const char *value)
{
    if (strcmp(name, "--events") == 0) {
        take_sizes(&options->plan, value);
    } else if (strcmp(name, "--only") == 0) {
        options->plan.only = value;
    } else if (strcmp(name, "--peers") == 0) {
        options->peers = value;
    } else if (strcmp(name, "--rounds") == 0) {
        options->plan.rounds = (unsigned)strtoul(value, NULL, 10);
    } else if (strcmp(name, "--seconds") == 0) {
        options->plan.seconds = strtod(value, NULL);
    } else if (strcmp(name, "--dir") == 0) {
        options->dir = value;
    } else if (strcmp(name, "--svg") == 0) {
        options->svg = value;
    } else {
        die("%s: no such option; the head of bench_store.c lists them", name);
    }
}

static void take_options(struct options *options, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            options->is_json = true;
        } else if (strcmp(argv[i], "--full") == 0) {
            options->is_full = true;
        } else if (i + 1 < argc) {
            take_value(options, argv[i], argv[i + 1]);
            i++;
        } else {
            die("%s: no such option, or its value is missing", argv[i]);
        }
    }
    struct plan *plan = &options->plan;
    if (plan->size_count == 0) {
        take_sizes(plan, options->is_full ? "0,100000,1000000" : "0,100000");
    }
    plan->seconds = plan->seconds > 0  ? plan->seconds
                    : options->is_full ? SECONDS_FULL
                                       : SECONDS_DEFAULT;
    if (plan->rounds == 0 || plan->rounds > ROUNDS_MAX) {
        die("--rounds must be 1 to %d", ROUNDS_MAX);
    }
    for (size_t i = 0; i < PEER_COUNT; i++) {
        if (options->peers == NULL || strstr(options->peers, PEERS[i]->name) != NULL) {
            plan->peers[plan->peer_count++] = PEERS[i];
        }
    }
}

static void print_head(const struct options *options)
{
    const struct plan *plan = &options->plan;
    struct statfs info;
    bool is_tmpfs = statfs(plan->folder, &info) == 0 && info.f_type == TMPFS_KIND;
    printf("An event's blocks take %zu bytes. Every peer indexes envelope and payload CIDs, "
           "event_id and aggregate.\n",
           sample_record_bytes());
    for (size_t p = 0; p < plan->peer_count; p++) {
        printf("  %-14s %s\n", plan->peers[p]->name, plan->peers[p]->note);
    }
#ifndef QUIPU_BENCH_SQLITE
    puts("  sqlite         left out: libsqlite3-dev was not there when this was configured");
#endif
#ifndef QUIPU_BENCH_ROCKSDB
    puts("  rocksdb        left out: librocksdb-dev was not there when this was configured");
#endif
    if (is_tmpfs) {
        printf("  %s is a tmpfs: syncs cost nothing there, the figures mean nothing\n",
               plan->folder);
    }
    puts("Cold: the files' pages dropped by posix_fadvise, not the kernel's inodes.");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static struct options options = {.plan = {.rounds = ROUNDS_DEFAULT}};
    static struct results results;
    char folder[4096];
    const char *tmp = getenv("TMPDIR");
    options.dir = tmp != NULL ? tmp : "/tmp";
    take_options(&options, argc, argv);
    (void)snprintf(folder, sizeof folder, "%s/quipu-bench-XXXXXX", options.dir);
    if (mkdtemp(folder) == NULL) {
        die("cannot make a folder in %s: %s", options.dir, strerror(errno));
    }
    options.plan.folder = folder;
    if (!options.is_json) {
        print_head(&options);
    }
    for (size_t size = 0; size < options.plan.size_count; size++) {
        measure_size(&options.plan, size, &results);
    }
    folder_remove(folder);
    if (options.is_json) {
        report_json(&options.plan, &results);
    } else {
        report_table(&options.plan, &results);
        report_bars(&options.plan, &results);
    }
    if (options.svg != NULL) {
        plot_write(options.svg, &options.plan, &results);
    }
    return 0;
}

/*
 * Measuring: the cases take turns, round by round, so that a machine that changes its speed changes
 * it for all; each case's figure is its median.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench_cid.h"

#define ROUND_NS   20e6
#define ROUNDS_MAX 101

volatile uint64_t bench_sink;

static double now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static double time_once(const struct bench_case *bench, size_t count)
{
    double start = now_ns();
    bench->run(count);
    return now_ns() - start;
}

/* How often to repeat for a round of about ROUND_NS; also warms up. */
static size_t calibrate(const struct bench_case *bench)
{
    size_t count = EVENT_COUNT;
    for (;;) {
        double ns = time_once(bench, count);
        if (ns > ROUND_NS / 4) {
            double scaled = (double)count * ROUND_NS / ns;
            /* Whole batches only. */
            return ((size_t)scaled / EVENT_COUNT + 1) * EVENT_COUNT;
        }
        count *= 2;
    }
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static const struct bench_case *find(const struct bench_case *cases, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (name != NULL && cases[i].run != NULL && strcmp(cases[i].name, name) == 0) {
            return &cases[i];
        }
    }
    return NULL;
}

static void print(const struct bench_case *bench, const struct bench_case *against, bool is_json)
{
    if (is_json) {
        printf("{\"bench\":\"cid\",\"case\":\"%s\",\"ns\":%.1f,\"per_second\":%.0f", bench->name,
               bench->ns, 1e9 / bench->ns);
        if (against != NULL) {
            printf(",\"ratio\":%.3f,\"against\":\"%s\"", against->ns / bench->ns, against->name);
        }
        printf("}\n");
        return;
    }
    printf("%-46s %9.1f %9.3f", bench->name, bench->ns, 1e3 / bench->ns);
    if (against != NULL) {
        printf("   %6.2f x %s", against->ns / bench->ns, against->name);
    }
    printf("\n");
}

void bench_run(struct bench_case *cases, size_t count, unsigned rounds, bool is_json)
{
    size_t *repeat = calloc(count, sizeof *repeat);
    double *times = calloc(count * ROUNDS_MAX, sizeof *times);
    if (repeat == NULL || times == NULL) {
        fprintf(stderr, "bench_cid: out of memory\n");
        exit(1);
    }
    rounds = rounds < ROUNDS_MAX ? rounds : ROUNDS_MAX;
    for (size_t i = 0; i < count; i++) {
        repeat[i] = cases[i].run != NULL ? calibrate(&cases[i]) : 0;
    }
    for (unsigned round = 0; round < rounds; round++) {
        for (size_t i = 0; i < count; i++) {
            if (cases[i].run != NULL) {
                times[i * ROUNDS_MAX + round] = time_once(&cases[i], repeat[i]) / (double)repeat[i];
            }
        }
    }
    if (!is_json) {
        printf("%-46s %9s %9s   rate against\n", "", "ns", "M/s");
    }
    for (size_t i = 0; i < count; i++) {
        if (cases[i].run != NULL) {
            qsort(times + i * ROUNDS_MAX, rounds, sizeof *times, compare);
            cases[i].ns = times[i * ROUNDS_MAX + rounds / 2];
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (cases[i].run != NULL) {
            print(&cases[i], find(cases, count, cases[i].against), is_json);
        }
    }
    free(repeat);
    free(times);
}

/*
 * Says what was measured: a table for people, JSON lines for programs, and the project's bars.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <string.h>

#include "bench_store.h"

size_t peer_find(const struct plan *plan, const char *name)
{
    size_t at = 0;
    while (at < plan->peer_count && strcmp(plan->peers[at]->name, name) != 0) {
        at++;
    }
    return at;
}

size_t case_find(const char *name)
{
    size_t at = 0;
    while (at < CASE_COUNT && strcmp(CASES[at].name, name) != 0) {
        at++;
    }
    return at;
}

/* Quotient of two medians; 0 where one of them is missing. */
static double ratio(const double *of_peers, size_t peer_count, size_t over, size_t under)
{
    if (over >= peer_count || under >= peer_count || of_peers[under] <= 0) {
        return 0;
    }
    return of_peers[over] / of_peers[under];
}

static bool is_measured(const struct plan *plan, const double *of_peers)
{
    double sum = 0;
    for (size_t p = 0; p < plan->peer_count; p++) {
        sum += of_peers[p];
    }
    return sum > 0;
}

static void print_value(double value, int width)
{
    if (value <= 0) {
        printf(" %*s", width, "-");
    } else {
        printf(" %*.*f", width, value < 10 ? 2 : value < 1000 ? 1 : 0, value);
    }
}

static void print_row(const struct plan *plan, const struct bench_case *what,
                      const double *of_peers)
{
    size_t quipu = peer_find(plan, PEER_QUIPU.name);
    printf("%-28s %-12s", what->name, what->unit);
    for (size_t p = 0; p < plan->peer_count; p++) {
        print_value(of_peers[p], 13);
    }
    print_value(ratio(of_peers, plan->peer_count, quipu, peer_find(plan, "sqlite-full")), 9);
    print_value(ratio(of_peers, plan->peer_count, quipu, peer_find(plan, PEER_RAW.name)), 9);
    printf("%s\n", what->is_cost ? "  less is better" : "");
}

void report_table(const struct plan *plan, const struct results *results)
{
    for (size_t size = 0; size < plan->size_count; size++) {
        printf("\n%llu events present, medians of %u rounds\n",
               (unsigned long long)plan->sizes[size], plan->rounds);
        printf("%-28s %-12s", "", "");
        for (size_t p = 0; p < plan->peer_count; p++) {
            printf(" %13s", plan->peers[p]->name);
        }
        printf(" %9s %9s\n", "÷sqlite", "÷raw");
        for (size_t what = 0; what < CASE_COUNT; what++) {
            if (is_measured(plan, results->median[size][what])) {
                print_row(plan, &CASES[what], results->median[size][what]);
            }
        }
    }
}

void report_json(const struct plan *plan, const struct results *results)
{
    size_t full = peer_find(plan, "sqlite-full");
    size_t raw = peer_find(plan, PEER_RAW.name);
    for (size_t size = 0; size < plan->size_count; size++) {
        for (size_t what = 0; what < CASE_COUNT; what++) {
            const double *of_peers = results->median[size][what];
            for (size_t p = 0; p < plan->peer_count; p++) {
                if (of_peers[p] <= 0) {
                    continue;
                }
                printf("{\"events\":%llu,\"case\":\"%s\",\"unit\":\"%s\",\"peer\":\"%s\","
                       "\"median\":%.6g,\"low\":%.6g,\"high\":%.6g,\"rounds\":%u,"
                       "\"to_sqlite_full\":%.4g,\"to_raw\":%.4g}\n",
                       (unsigned long long)plan->sizes[size], CASES[what].name, CASES[what].unit,
                       plan->peers[p]->name, of_peers[p], results->low[size][what][p],
                       results->high[size][what][p], plan->rounds,
                       ratio(of_peers, plan->peer_count, p, full),
                       ratio(of_peers, plan->peer_count, p, raw));
            }
        }
    }
}

/* ------------------------------------------------------------------ bars */

enum bar_size { AT_FRESH, AT_LARGEST };

struct bar {
    const char *text;
    enum bar_size at;
    const char *of_case;      /* quipu's */
    const char *against_case; /* the peer's */
    const char *against;      /* NULL: the record's bytes */
    double bound;             /* at least for rates, at most for costs */
};

static const struct bar BARS[] = {
    {"append 1, fresh", AT_FRESH, "append, batch 1", "append, batch 1", "sqlite-full", 1.3},
    {"append 1", AT_LARGEST, "append, batch 1", "append, batch 1", "sqlite-full", 2},
    {"append 1000", AT_LARGEST, "append, batch 1000", "append, batch 1000", "sqlite-full", 10},
    {"64 threads", AT_LARGEST, "append, 64 threads", "append, 64 threads", "sqlite-full", 20},
    {"64 threads", AT_LARGEST, "append, 64 threads", "append, 64 threads", "rocksdb", 4},
    {"records to scan", AT_LARGEST, "scan of records", "scan of records", "sqlite-full", 6},
    {"replay to scan", AT_LARGEST, "replay", "scan of records", "sqlite-full", 6},
    {"re-hashed to scan", AT_LARGEST, "replay, re-hashed", "scan of records", "sqlite-full", 1.5},
    {"get by CID", AT_LARGEST, "get by CID", "get by CID", "sqlite-full", 5},
    {"aggregate of 100", AT_LARGEST, "aggregate of 100", "aggregate of 100", "sqlite-full", 3},
    {"open, warm", AT_LARGEST, "open + first get, warm", "open + first get, warm", "sqlite-full",
     2},
    {"open, cold", AT_LARGEST, "open + first get, cold", "open + first get, cold", "sqlite-full",
     2},
    {"bytes on disk to record", AT_LARGEST, "bytes on disk", "bytes on disk", NULL, 1.2},
};

static bool bar_size_find(const struct plan *plan, enum bar_size at, size_t *out)
{
    size_t best = 0;
    for (size_t i = 1; i < plan->size_count; i++) {
        bool is_better = at == AT_FRESH ? plan->sizes[i] < plan->sizes[best]
                                        : plan->sizes[i] > plan->sizes[best];
        best = is_better ? i : best;
    }
    *out = best;
    return (plan->sizes[best] == 0) == (at == AT_FRESH);
}

/* quipu's figure over the peer's; 0 where one is missing. */
static double bar_ratio(const struct plan *plan, const struct bar *bar,
                        double of_cases[CASES_MAX][PEERS_MAX])
{
    size_t quipu = peer_find(plan, PEER_QUIPU.name);
    size_t against = bar->against == NULL ? quipu : peer_find(plan, bar->against);
    if (against == plan->peer_count || quipu == plan->peer_count) {
        return 0;
    }
    double theirs = bar->against == NULL ? (double)sample_record_bytes()
                                         : of_cases[case_find(bar->against_case)][against];
    return theirs <= 0 ? 0 : of_cases[case_find(bar->of_case)][quipu] / theirs;
}

static void print_bar(const struct plan *plan, struct results *results, const struct bar *bar)
{
    size_t size;
    bool is_there = bar_size_find(plan, bar->at, &size);
    double found = is_there ? bar_ratio(plan, bar, results->median[size]) : 0;
    if (found <= 0) {
        return;
    }
    bool is_cost = CASES[case_find(bar->of_case)].is_cost;
    double best = bar_ratio(plan, bar, is_cost ? results->low[size] : results->high[size]);
    bool is_met = is_cost ? found <= bar->bound : found >= bar->bound;
    printf("%-24s %9llu events   %s %-5.3g medians %-7.3g best rounds %-7.3g %-7s (against %s)\n",
           bar->text, (unsigned long long)plan->sizes[size], is_cost ? "≤" : "≥", bar->bound, found,
           best, is_met ? "met" : "MISSED",
           bar->against == NULL ? "the record's bytes" : bar->against);
}

void report_bars(const struct plan *plan, struct results *results)
{
    printf("\nBars (they are meant for 1,000,000 events; --full measures there)\n");
    for (size_t i = 0; i < sizeof BARS / sizeof BARS[0]; i++) {
        print_bar(plan, results, &BARS[i]);
    }
}

/*
 * Draws the append rates at the largest size as an SVG: a group of bars for each case, one bar a
 * peer, on a logarithmic scale.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench_store.h"

#define WIDTH      860
#define HEIGHT     400
#define LEFT       70
#define TOP        56
#define BASE       330
#define LOG_LOW    2 /* 100 events/s */
#define LOG_HIGH   6
#define BAR_WIDTH  15
#define GROUP_STEP 111

static const char *const COLOURS[PEERS_MAX] = {"#9aa0a6", "#7aa6c2", "#c28f5c",
                                               "#dcc09a", "#8fae7f", "#b3312c"};

static double y_of(double rate)
{
    double at = (log10(rate) - LOG_LOW) / (LOG_HIGH - LOG_LOW);
    at = at < 0 ? 0 : at > 1 ? 1 : at;
    return BASE - at * (BASE - TOP);
}

static void draw_scale(FILE *out)
{
    double rate = 100;
    for (int decade = LOG_LOW; decade <= LOG_HIGH; decade++) {
        fprintf(out,
                "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>"
                "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.0f</text>\n",
                LEFT, WIDTH - 10, y_of(rate), y_of(rate), LEFT - 6, y_of(rate) + 4, rate);
        rate *= 10;
    }
}

static void draw_legend(FILE *out, const struct plan *plan)
{
    for (size_t p = 0; p < plan->peer_count; p++) {
        size_t x = LEFT + p * 125;
        fprintf(out,
                "<rect x=\"%zu\" y=\"%d\" width=\"12\" height=\"12\" fill=\"%s\"/>"
                "<text x=\"%zu\" y=\"%d\">%s</text>\n",
                x, HEIGHT - 26, COLOURS[p], x + 17, HEIGHT - 16, plan->peers[p]->name);
    }
}

static void draw_group(FILE *out, const struct plan *plan, const double *rates, size_t group,
                       const char *name)
{
    size_t left = LEFT + 8 + group * GROUP_STEP;
    for (size_t p = 0; p < plan->peer_count; p++) {
        if (rates[p] > 0) {
            fprintf(out,
                    "<rect x=\"%zu\" y=\"%.1f\" width=\"%d\" height=\"%.1f\" fill=\"%s\">"
                    "<title>%s, %s: %.0f events/s</title></rect>\n",
                    left + p * (BAR_WIDTH + 1), y_of(rates[p]), BAR_WIDTH, BASE - y_of(rates[p]),
                    COLOURS[p], plan->peers[p]->name, name, rates[p]);
        }
    }
    fprintf(out, "<text x=\"%zu\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
            left + plan->peer_count * (BAR_WIDTH + 1) / 2, BASE + 17, name + strlen("append, "));
}

void plot_write(const char *path, const struct plan *plan, const struct results *results)
{
    size_t size = 0;
    for (size_t i = 1; i < plan->size_count; i++) {
        size = plan->sizes[i] > plan->sizes[size] ? i : size;
    }
    FILE *out = fopen(path, "w");
    if (out == NULL) {
        die("cannot write %s: %s", path, strerror(errno));
    }
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
            "font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"%d\" height=\"%d\" "
            "fill=\"#fff\"/>\n<text x=\"%d\" y=\"24\" font-size=\"15\">Durable appends, events a "
            "second, %llu events present (logarithmic)</text>\n",
            WIDTH, HEIGHT, WIDTH, HEIGHT, LEFT, (unsigned long long)plan->sizes[size]);
    draw_scale(out);
    size_t group = 0;
    for (size_t what = 0; what < CASE_COUNT; what++) {
        if (CASES[what].kind == CASE_APPEND || CASES[what].kind == CASE_THREADS) {
            draw_group(out, plan, results->median[size][what], group++, CASES[what].name);
        }
    }
    draw_legend(out, plan);
    fputs("</svg>\n", out);
    if (fclose(out) != 0) {
        die("cannot write %s: %s", path, strerror(errno));
    }
}

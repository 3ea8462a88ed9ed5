/*
 * Progress with a rate. Never writes on stdout, and nothing where nobody asked and stderr is no
 * terminal.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "meter.h"

#include <inttypes.h>
#include <string.h>

#include "print.h"

#define LINE_EVERY_US  100000
#define PLAIN_EVERY_US 1000000

/* Rates are of this `what`; time left is what the rest takes at the rate so far. */
struct rate {
    uint64_t bytes_per_second;
    int64_t left_us; /* -1: not known */
};

static struct rate rate_of(const struct cli_metered *now, int64_t elapsed_us)
{
    struct rate rate = {.left_us = -1};
    if (elapsed_us < LINE_EVERY_US / 10) {
        return rate;
    }
    rate.bytes_per_second = (uint64_t)((double)now->bytes * 1e6 / (double)elapsed_us);
    if (now->total > 0 && now->done > 0 && now->done <= now->total) {
        double left = (double)(now->total - now->done) / (double)now->done * (double)elapsed_us;
        rate.left_us = (int64_t)left;
    }
    return rate;
}

static void say_json(const struct cli_metered *now, const struct rate *rate)
{
    (void)fprintf(stderr, "{\"progress\":{\"what\":\"%s\",\"done\":%" PRIu64, now->what, now->done);
    if (now->total > 0) {
        (void)fprintf(stderr, ",\"total\":%" PRIu64, now->total);
    }
    if (now->bytes > 0) {
        (void)fprintf(stderr, ",\"bytes\":%" PRIu64, now->bytes);
    }
    if (rate->bytes_per_second > 0) {
        (void)fprintf(stderr, ",\"bytes_per_second\":%" PRIu64, rate->bytes_per_second);
    }
    if (rate->left_us >= 0) {
        (void)fprintf(stderr, ",\"left_us\":%" PRId64, rate->left_us);
    }
    (void)fputs("}}\n", stderr);
}

static void say_text(const struct cli_metered *now, const struct rate *rate, bool is_plain)
{
    char text[CLI_COUNT_BYTES];
    (void)fprintf(stderr, "%s%s", is_plain ? "" : "\r", cli_count(now->done, text));
    if (now->total > 0) {
        (void)fprintf(stderr, " of %s", cli_count(now->total, text));
    }
    (void)fprintf(stderr, " %s", now->what);
    if (now->bytes > 0) {
        (void)fprintf(stderr, ", %s", cli_bytes(now->bytes, text));
        if (rate->bytes_per_second > 0) {
            (void)fprintf(stderr, ", %s/s", cli_bytes(rate->bytes_per_second, text));
        }
    }
    if (rate->left_us > 0) {
        (void)fprintf(stderr, ", %s left", cli_duration(rate->left_us, text));
    }
    (void)fputs(is_plain ? "\n" : "\x1b[K", stderr);
}

void cli_meter(struct cli_meter *meter, const struct cli_metered *now)
{
    if (!meter->is_plain && !meter->cli->has_progress) {
        return;
    }
    int64_t now_us = cli_now_us();
    bool is_new = meter->what == NULL || strcmp(meter->what, now->what) != 0;
    if (is_new) {
        meter->what = now->what;
        meter->began_us = now_us;
        meter->said_us = 0;
    }
    bool is_last = meter->is_plain && now->total > 0 && now->done >= now->total;
    int64_t every_us = meter->is_plain ? PLAIN_EVERY_US : LINE_EVERY_US;
    if (!is_new && !is_last && now_us - meter->said_us < every_us) {
        return;
    }
    struct rate rate = rate_of(now, now_us - meter->began_us);
    if (meter->is_plain && meter->cli->is_json) {
        say_json(now, &rate);
    } else {
        say_text(now, &rate, meter->is_plain);
        meter->is_shown = !meter->is_plain;
    }
    (void)fflush(stderr);
    meter->said_us = now_us;
}

void cli_meter_end(struct cli_meter *meter)
{
    if (meter->is_shown) {
        (void)fputs("\r\x1b[K", stderr);
        (void)fflush(stderr);
        meter->is_shown = false;
    }
}

void cli_meter_upkeep(void *ctx, const char *what, uint64_t done, uint64_t total)
{
    cli_meter(ctx, &(struct cli_metered){.what = what, .done = done, .total = total});
}

/*
 * Progress of long work with its rate: one line on the terminal that is written over, at most ten
 * times a second; or, where --progress asks for it, lines of their own, at most one a second. On
 * stderr always, as JSON with --json.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CLI_METER_H
#define QUIPU_CLI_METER_H

#include "cli.h"
#include "quipu/store_upkeep.h"

struct cli_meter {
    const struct cli *cli;
    bool is_plain; /* --progress */
    const char *what;
    int64_t began_us; /* this `what` */
    int64_t said_us;
    bool is_shown;
};

/* What there is to say; `total` and `bytes` 0: not known. */
struct cli_metered {
    const char *what; /* such as "events verified"; static text */
    uint64_t done;
    uint64_t total;
    uint64_t bytes;
};

/** Say it, unless it was said just now; the last of a total is always said as a line. */
void cli_meter(struct cli_meter *meter, const struct cli_metered *now);

/** Take the line off the terminal. */
void cli_meter_end(struct cli_meter *meter);

/** Fits quipu_upkeep_options.progress; `ctx` is a struct cli_meter. */
void cli_meter_upkeep(void *ctx, const char *what, uint64_t done, uint64_t total);

#endif

/*
 * In the place of network_figures.c in a build without the network: nothing is known.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "network_figures.h"

enum quipu_status cli_network_figures_say(const struct cli *cli, struct quipu_error *err)
{
    (void)cli;
    (void)err;
    return QUIPU_OK;
}

enum quipu_status cli_network_figures_json(const struct cli *cli, struct cli_json *json,
                                           struct quipu_error *err)
{
    (void)cli;
    (void)err;
    cli_json_null(json, "flush");
    cli_json_null(json, "credentials");
    return QUIPU_OK;
}

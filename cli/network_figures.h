/*
 * What `quipu status` can say about publishing without a network: what flushes have come to, and
 * how long the credentials hold. Nothing here opens a socket.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CLI_NETWORK_FIGURES_H
#define QUIPU_CLI_NETWORK_FIGURES_H

#include "cli.h"
#include "print.h"

/** Lines "flushed" and "credentials", each where there is something to say. */
enum quipu_status cli_network_figures_say(const struct cli *cli,
                                          struct quipu_error *err) QUIPU_MUST_CHECK;

/** Members "flush" and "credentials": objects, or null. */
enum quipu_status cli_network_figures_json(const struct cli *cli, struct cli_json *json,
                                           struct quipu_error *err) QUIPU_MUST_CHECK;

#endif

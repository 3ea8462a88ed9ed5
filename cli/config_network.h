/*
 * Connecting by the settings, for every verb that reaches a server.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CLI_CONFIG_NETWORK_H
#define QUIPU_CLI_CONFIG_NETWORK_H

#include "cli.h"
#include "quipu/config_nats.h"

/** Is this store the one that nats.source_id names, where it names one? Before anything is
 * published.
 * @retval QUIPU_INVALID  it is another. @retval QUIPU_NOT_FOUND, QUIPU_IO, QUIPU_CORRUPT */
enum quipu_status cli_network_check_source(const struct cli *cli,
                                           struct quipu_error *err) QUIPU_MUST_CHECK;

/**
 * quipu_nats_open, tried again nats.max_retries times, with a pause that doubles, while there is no
 * server; and only for the store that nats.source_id names, where it names one.
 * @retval QUIPU_INVALID  it is another store; and what quipu_nats_open says
 */
enum quipu_status cli_network_connect(const struct cli *cli,
                                      const struct quipu_nats_options *options,
                                      struct quipu_nats **out,
                                      struct quipu_error *err) QUIPU_MUST_CHECK;

#endif

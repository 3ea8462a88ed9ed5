/*
 * In the place of config_network.c in a build without the network. What cannot be published stays
 * in the outbox; only Online calls that a failure.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli.h"
#include "config.h"
#include "print.h"

int cli_config_flush(struct cli *cli)
{
    struct quipu_error err;
    if (cli->config->values.mode == QUIPU_MODE_HYBRID) {
        return 0;
    }
    (void)quipu_error_set(&err, QUIPU_OFFLINE,
                          "mode.mode is Online and this quipu is built without the network");
    struct cli_failure failure = {.status = QUIPU_OFFLINE,
                                  .err = &err,
                                  .cure = "set it to Offline or Hybrid",
                                  .note = cli->done[0] != 0 ? cli->done : "the events are stored"};
    return cli_fail_with(cli, &failure);
}

/*
 * Receipts that travel back, as export, import and status show them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CLI_RECEIPTS_H
#define QUIPU_CLI_RECEIPTS_H

#include "cli.h"
#include "quipu/bundle.h"

/** Write the receipts of all published events to a new file. Returns the exit code. */
int cli_receipts_export(const struct cli *cli, const char *path, const char *operator_name);

/** Take such a file in. Returns the exit code. */
int cli_receipts_import(struct cli *cli, const char *path,
                        const struct quipu_import_options *options);

/** List which positions stand in which stream, under which sequences. Returns the exit code. */
int cli_receipts_list(const struct cli *cli);

#endif

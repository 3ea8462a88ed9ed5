/*
 * What is said where something that was carried here cannot come in: damage is told from bad input,
 * and the cure is one that can be followed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CLI_IMPORT_FAULT_H
#define QUIPU_CLI_IMPORT_FAULT_H

#include "cli.h"
#include "quipu/bundle.h"

/** Nothing could be opened: as cli_fail, but what is no CBOR, or over a limit, is a file that was
 * damaged (exit code 6) and not bad input. Its own cure replaces one that the message holds. */
int cli_carried_fail(const struct cli *cli, enum quipu_status status, const struct quipu_error *err,
                     const char *cure);

/** A bundle cannot be opened (`import` NULL), or it or lines cannot be shown or taken in.
 * @param options  what it was opened with */
int cli_import_fail(const struct cli *cli, struct quipu_import *import,
                    const struct quipu_import_options *options, enum quipu_status status,
                    const struct quipu_error *err);

/** Lines cannot be opened; behind that cli_import_fail is for them, too. */
int cli_lines_fail(const struct cli *cli, enum quipu_status status, const struct quipu_error *err);

#endif

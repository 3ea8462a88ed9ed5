/*
 * A row of the operations log as members of a JSON object: the same wherever one is shown.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CLI_OPERATION_LINE_H
#define QUIPU_CLI_OPERATION_LINE_H

#include "print.h"
#include "quipu/operations.h"

void cli_operation_members(struct cli_json *json, const struct quipu_operation *operation);

#endif

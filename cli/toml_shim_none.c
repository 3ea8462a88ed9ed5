/*
 * In the place of toml_shim.cc where the program is built without libtomlplusplus: settings come by
 * environment and options.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "toml_shim.h"

enum cli_toml_result cli_toml_read(const char *text, size_t len, cli_toml_visit visit, void *ctx,
                                   struct cli_toml_fault *fault)
{
    (void)text;
    (void)len;
    (void)visit;
    (void)ctx;
    (void)fault;
    return CLI_TOML_NOT_BUILT;
}

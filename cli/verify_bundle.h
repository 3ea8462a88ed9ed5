/*
 * The part of `quipu verify` that checks bundles.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CLI_VERIFY_BUNDLE_H
#define QUIPU_CLI_VERIFY_BUNDLE_H

#include "age_keys.h"
#include "signers.h"

struct cli_verify_bundle {
    struct cli_signer_values signers;
    struct cli_age_values age;
    const char *unpack;
};

/** Check each bundle, and that each follows the one before it. Returns 0, or a verdict. */
int cli_verify_bundles(const struct cli *cli, const struct cli_verify_bundle *values, int count,
                       char **paths);

/** The verdict that a status about a bundle is, as an exit code of 20 to 39; the status's own exit
 * code where it is none. `is_chain`: it speaks of two bundles. */
int cli_bundle_verdict(enum quipu_status status, bool is_chain);

/** Say what a check of a bundle has found wrong, with its verdict. Returns the exit code. */
int cli_bundle_fail(const struct cli *cli, enum quipu_status status, const struct quipu_error *err,
                    bool is_chain);

#endif

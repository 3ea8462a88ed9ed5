/*
 * What encrypts and decrypts, as options name it: recipients, files of identities, a descriptor
 * that gives the passphrase.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CLI_AGE_KEYS_H
#define QUIPU_CLI_AGE_KEYS_H

#include "cli.h"
#include "quipu/age.h"

/** Options of a verb that opens encrypted files: --identity FILE… and --passphrase-fd N. */
struct cli_age_values {
    struct cli_texts identities;
    struct cli_number passphrase_fd;
};

#define CLI_AGE_OPTIONS(values, member)                                                            \
    {"identity", CLI_TEXTS, offsetof(struct values, member.identities), "FILE",                    \
     "open what is encrypted with this file of age identities"},                                   \
    {                                                                                              \
        "passphrase-fd", CLI_NUMBER, offsetof(struct values, member.passphrase_fd), "N",           \
            "take the passphrase from this descriptor, up to a newline or its end"                 \
    }

/** Secrets that the options name; NULL in `*out` where they name none. The caller frees. Returns 0,
 * or the exit code after it has said what is wrong. */
int cli_age_secrets(const struct cli *cli, const struct cli_age_values *values,
                    struct quipu_age_secrets **out);

/** The same of a passphrase alone. */
int cli_age_passphrase(const struct cli *cli, uint64_t fd, struct quipu_age_secrets *secrets);

#endif

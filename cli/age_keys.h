/*
 * What encrypts and decrypts, as options name it: recipients, files of identities, and who gives
 * the passphrase.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CLI_AGE_KEYS_H
#define QUIPU_CLI_AGE_KEYS_H

#include "cli.h"
#include "passphrase.h"
#include "quipu/age.h"

/** Options of a verb that opens encrypted files: --identity FILE…, and for their passphrase
 * --passphrase-fd N or --passphrase. An identity file may be wrapped; its passphrase is another. */
struct cli_age_values {
    struct cli_texts identities;
    struct cli_number passphrase_fd;
    bool asks_passphrase;
    struct cli_number key_passphrase_fd;
    struct cli_number scrypt_max;
    const char *pinentry;
};

#define CLI_AGE_OPTIONS(values, member)                                                            \
    {"identity", CLI_TEXTS, offsetof(struct values, member.identities), "FILE",                    \
     "open what is encrypted with this file of age identities"},                                   \
        {"passphrase-fd", CLI_NUMBER, offsetof(struct values, member.passphrase_fd), "N",          \
         "take the passphrase from this descriptor, up to a newline or its end"},                  \
        {"passphrase", CLI_FLAG, offsetof(struct values, member.asks_passphrase), NULL,            \
         "open what is encrypted with a passphrase, and ask for it"},                              \
        {"scrypt-max", CLI_NUMBER, offsetof(struct values, member.scrypt_max), "N",                \
         "try a passphrase that takes 2^N KiB of memory, up to 30 (20 without, which is 1 GiB)"},  \
        CLI_KEY_PASSPHRASE_OPTION(values, member.key_passphrase_fd),                               \
        CLI_PINENTRY_OPTION(values, member.pinentry)

/** Is one of these options given that says how a file is to be opened? */
bool cli_age_is_given(const struct cli_age_values *values);

/** Secrets that the options name; NULL in `*out` where they name none. The caller frees. `use`: is
 * the passphrase one that opens, or one that a new file is encrypted with? Returns 0, or the exit
 * code after it has said what is wrong. */
int cli_age_secrets(const struct cli *cli, const struct cli_age_values *values,
                    enum cli_passphrase_use use, struct quipu_age_secrets **out);

#endif

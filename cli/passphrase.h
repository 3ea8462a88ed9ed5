/*
 * Where passphrases come from, for every verb that needs one: a descriptor, a systemd credential,
 * pinentry, the terminal, in this order. Nothing of them is in arguments, environment or logs.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CLI_PASSPHRASE_H
#define QUIPU_CLI_PASSPHRASE_H

#include "cli.h"
#include "quipu/age.h"
#include "quipu/keyring.h"

/* Names in $CREDENTIALS_DIRECTORY. Two of them, so that no bundle is ever encrypted to the
 * passphrase of a key. */
#define CLI_CREDENTIAL_KEY    "quipu-passphrase"
#define CLI_CREDENTIAL_BUNDLE "quipu-bundle-passphrase"

/** Who gives a passphrase, as the options of a verb say it. */
struct cli_passphrase_from {
    const struct cli *cli;
    struct cli_number fd;
    const char *pinentry; /* of --pinentry: NULL not given, "" without a program */
    const char *credential;
    const char *option; /* the one that names the descriptor, for messages */
};

#define CLI_PINENTRY_OPTION(values, member)                                                        \
    {                                                                                              \
        "pinentry", CLI_OPTIONAL, offsetof(struct values, member), "PROGRAM",                      \
            "ask for passphrases with pinentry (else QUIPU_PINENTRY, else on the terminal)"        \
    }

/* Where the passphrase of a key is one of two that the verb may need. */
#define CLI_KEY_PASSPHRASE_OPTION(values, member)                                                  \
    {                                                                                              \
        "key-passphrase-fd", CLI_NUMBER, offsetof(struct values, member), "N",                     \
            "take the passphrase of a wrapped key from this descriptor"                            \
    }

enum cli_passphrase_use {
    CLI_PASSPHRASE_OPENS, /* something that is there */
    CLI_PASSPHRASE_NEW,   /* is being made: long enough, and typed twice */
};

/** A passphrase in guarded memory. Zeroed is none; release wipes it. */
struct cli_passphrase {
    uint8_t *bytes;
    size_t len;
};
void cli_passphrase_release(struct cli_passphrase *passphrase);

/**
 * Ask for the passphrase of `what`, such as "the key demo/signing.key".
 * @retval QUIPU_KEY_LOCKED  nobody can be asked; where it is new: QUIPU_INVALID. @retval
 * QUIPU_STOPPED  who was asked gave up
 * @retval QUIPU_INVALID, QUIPU_TOO_LARGE, QUIPU_IO, QUIPU_PERMISSION, QUIPU_NO_MEMORY
 */
QUIPU_MUST_CHECK enum quipu_status cli_passphrase_ask(const struct cli_passphrase_from *from,
                                                      const char *what, enum cli_passphrase_use use,
                                                      struct cli_passphrase *out,
                                                      struct quipu_error *err);

/** The same, as what the library asks for the passphrase of a key file. `from` is borrowed. */
struct quipu_passphrase cli_passphrase_of_key(const struct cli_passphrase_from *from);

/** Open the store's own key where it is wrapped: for every verb that signs. Returns 0, or the exit
 * code after it has said what is wrong. */
int cli_unlock(const struct cli *cli, const struct cli_passphrase_from *from);

/** A debugger of the same user does not get at what this process holds (that it leaves no core,
 * main has seen to): before the first passphrase. Done once; later calls do nothing more. */
void cli_guard_secrets(void);

#endif

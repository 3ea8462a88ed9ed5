/*
 * Whom a verb trusts, as options name them, and what is said of those who have signed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CLI_SIGNERS_H
#define QUIPU_CLI_SIGNERS_H

#include "cli.h"
#include "print.h"
#include "quipu/signers.h"
#include "quipu/trust.h"

/** --trust U…, --allowed-signers FILE, --require N. */
struct cli_signer_values {
    struct cli_texts trusted;
    const char *allowed_signers;
    struct cli_number required;
};

#define CLI_SIGNER_OPTIONS(values, member)                                                         \
    {"trust", CLI_TEXTS, offsetof(struct values, member.trusted), "U…",                            \
     "of a bundle: accept only this signer; several times for several"},                           \
        {"allowed-signers", CLI_TEXT, offsetof(struct values, member.allowed_signers), "FILE",     \
         "accept these signers, as ssh-keygen's allowed_signers has them"},                        \
    {                                                                                              \
        "require", CLI_NUMBER, offsetof(struct values, member.required), "N",                      \
            "so many people of them must have signed; keys of one principal count once"            \
    }

/** Is one of these options given? */
bool cli_signers_are_given(const struct cli_signer_values *values);

/** The file of allowed signers, NULL in `*out` where none is named; the caller frees. Holds the
 * other options to what makes sense. Returns 0, or the exit code after it has said what is wrong.
 */
int cli_signers_load(const struct cli *cli, const struct cli_signer_values *values,
                     struct quipu_trust **out);

/** A line for each signer: word, name, and who that is. */
void cli_say_signers(const char *word, const struct quipu_signer *signers, size_t count);

/** A member "signers": a list of objects. */
void cli_json_signers(struct cli_json *json, const struct quipu_signer *signers, size_t count);

#endif

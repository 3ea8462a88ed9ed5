/*
 * Whom a verb trusts, and who has signed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "signers.h"

#include <string.h>

#include "quipu/engine.h"

bool cli_signers_are_given(const struct cli_signer_values *values)
{
    return values->trusted.count > 0 || values->allowed_signers != NULL || values->required.is_set;
}

int cli_signers_load(const struct cli *cli, const struct cli_signer_values *values,
                     struct quipu_trust **out)
{
    struct quipu_error err;
    *out = NULL;
    for (size_t i = 0; i < values->trusted.count; i++) {
        uint8_t key[QUIPU_PUBLIC_KEY_BYTES];
        const char *source = values->trusted.items[i];
        if (quipu_source_public_key(quipu_slice_text(source), key, NULL) != QUIPU_OK) {
            return cli_usage(
                cli, "--trust wants a source such as `quipu status` shows, found \"%s\"", source);
        }
    }
    if (values->required.is_set &&
        (values->required.value == 0 || values->required.value > QUIPU_SIGNERS_MAX)) {
        return cli_usage(cli, "--require wants a number of people from 1 to %u", QUIPU_SIGNERS_MAX);
    }
    if (values->required.is_set && values->allowed_signers == NULL && values->trusted.count == 0) {
        return cli_usage(cli, "--require counts people: say who they are with --allowed-signers "
                              "FILE, or with --trust U…");
    }
    if (values->allowed_signers == NULL) {
        return 0;
    }
    enum quipu_status status = quipu_trust_load(values->allowed_signers, out, &err);
    return status == QUIPU_OK ? 0 : cli_fail(cli, status, &err, "name a file of allowed signers");
}

void cli_say_signers(const char *word, const struct quipu_signer *signers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct quipu_signer *signer = &signers[i];
        (void)printf("%-9s %s", word, signer->name);
        if (signer->type != QUIPU_SSH_KEY_ED25519) {
            (void)printf(" %s", quipu_ssh_key_type_name(signer->type));
        }
        /* With --trust a key is its own name. */
        if (signer->principals[0] != 0 && strcmp(signer->principals, signer->name) != 0) {
            (void)printf(", ");
            cli_put_plain(quipu_slice_text(signer->principals));
        }
        (void)printf("%s\n", signer->is_source ? " (the source)" : "");
    }
}

void cli_json_signers(struct cli_json *json, const struct quipu_signer *signers, size_t count)
{
    cli_json_list(json, "signers");
    for (size_t i = 0; i < count; i++) {
        const struct quipu_signer *signer = &signers[i];
        cli_json_item(json);
        cli_json_text(json, "name", quipu_slice_text(signer->name));
        cli_json_text(json, "type", quipu_slice_text(quipu_ssh_key_type_name(signer->type)));
        cli_json_text(json, "fingerprint", quipu_slice_text(signer->fingerprint));
        cli_json_bool(json, "source", signer->is_source);
        cli_json_bool(json, "trusted", signer->is_trusted);
        cli_json_number(json, "person", signer->person);
        cli_json_text(json, "principals", quipu_slice_text(signer->principals));
        cli_json_close(json, '}');
    }
    cli_json_close(json, ']');
}

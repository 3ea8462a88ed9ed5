/*
 * Failures of an import, with their cures.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "import_fault.h"

#include "print.h"

/* Nothing is ever taken out of a log, so what should not be here is undone by going back. */
#define GENUINE                                                                                    \
    "ask its source which one is genuine, and where the one here is not, restore the backup from " \
    "before it came in (`quipu operations` says when)"

static int fail(const struct cli *cli, enum quipu_status status, const struct quipu_error *err,
                const char *cure, enum cli_exit code)
{
    struct quipu_error plain = cli_without_cure(err);
    struct cli_failure failure = {
        .status = status, .err = cure == NULL ? err : &plain, .cure = cure, .code = code};
    return cli_fail_with(cli, &failure);
}

/* Its blocks were read before anything was asked of the store, so the file is at fault. */
static bool is_damage(enum quipu_status status)
{
    return cli_is_cbor(status) || status == QUIPU_TOO_LARGE || status == QUIPU_VARINT ||
           status == QUIPU_MULTIHASH || status == QUIPU_CID || status == QUIPU_CID_PROFILE;
}

int cli_carried_fail(const struct cli *cli, enum quipu_status status, const struct quipu_error *err,
                     const char *cure)
{
    return is_damage(status)
               ? fail(cli, status, err, "get the file again: it was damaged, or is another one",
                      CLI_EXIT_DAMAGED)
               : fail(cli, status, err, cure, CLI_EXIT_OK);
}

/* What of it is in the way: bundles in front of it that are missing, or one that contradicts it? */
struct place_found {
    bool is_fork;
    bool is_missing;
};

static struct place_found find_place(const struct cli *cli, struct quipu_import *import)
{
    struct quipu_import_diff diff = {0};
    enum quipu_status status =
        cli->engine == NULL ? QUIPU_OK
                            : quipu_import_compare(import, cli->engine, NULL, NULL, &diff, NULL);
    return (struct place_found){.is_fork = status == QUIPU_FORK,
                                .is_missing = status == QUIPU_OK && diff.missing > 0};
}

/* NULL: the status's own. Bundles that are missing can be accepted, events that others follow
 * cannot. */
static const char *cure_of(const struct cli *cli, struct quipu_import *import,
                           const struct quipu_import_options *options, enum quipu_status status)
{
    switch ((int)status) {
    case QUIPU_GAP:
        if (!find_place(cli, import).is_missing) {
            return "events that it builds on are not here: have its source export all of them "
                   "(`quipu export all.car`), and import that";
        }
        return options->accept_gap == NULL
                   ? "import what is missing first, or take this one with --accept-gap REASON"
                   : "the missing bundles hold events that it builds on: import them first, or "
                     "have its source export everything (`quipu export all.car`) and import that";
    case QUIPU_FORK:
        return find_place(cli, import).is_fork ? GENUINE : NULL;
    case QUIPU_EVENT_ID_CONFLICT:
        return GENUINE;
    default:
        return NULL;
    }
}

int cli_import_fail(const struct cli *cli, struct quipu_import *import,
                    const struct quipu_import_options *options, enum quipu_status status,
                    const struct quipu_error *err)
{
    if (import != NULL) {
        return fail(cli, status, err, cure_of(cli, import, options, status), CLI_EXIT_OK);
    }
    bool is_anybodys = options->trusted_count == 0 && options->trust == NULL;
    const char *cure = status == QUIPU_NOT_FOUND ? "name a file that `quipu export` wrote"
                       : status == QUIPU_UNTRUSTED && is_anybodys
                           ? "name the signer with --trust U… or --allowed-signers FILE if you "
                             "know it, look at it with --dry-run, or take them with --unproven"
                           : NULL;
    return cli_carried_fail(cli, status, err, cure);
}

int cli_lines_fail(const struct cli *cli, enum quipu_status status, const struct quipu_error *err)
{
    const char *cure = status == QUIPU_AGE_NO_MATCH
                           ? "decrypt it first: `age -d FILE | quipu import --format jsonl -`"
                           : NULL;
    return fail(cli, status, err, cure, CLI_EXIT_OK);
}

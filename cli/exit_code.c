/*
 * The one table from status to exit code, and the one from status to cure.
 *
 * The numbers are part of the interface (docs/quipu.1, EXIT STATUS): scripts depend on them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "exit_code.h"

#include <stddef.h>

/* X(code, meaning) */
#define EXIT_TEXTS(X)                                                                              \
    X(CLI_EXIT_OK, "done")                                                                         \
    X(CLI_EXIT_MACHINE, "this machine failed: input or output, memory, disk full, permission")     \
    X(CLI_EXIT_USAGE, "wrong options or arguments")                                                \
    X(CLI_EXIT_INPUT, "bad input")                                                                 \
    X(CLI_EXIT_CONFLICT,                                                                           \
      "conflict: version, event_id, exists already, busy, parked, paused, fork, gap")              \
    X(CLI_EXIT_NOT_FOUND, "not found")                                                             \
    X(CLI_EXIT_DAMAGED, "damaged, not a store or bundle, bad signature, or a newer format")        \
    X(CLI_EXIT_OFFLINE, "no server, no answer in time, or not provisioned")                        \
    X(CLI_EXIT_REFUSED, "the server refused: credentials, permission, other configuration")        \
    X(CLI_EXIT_ASIDE,                                                                              \
      "done, but something was set aside: dead letters, quarantine, receipts that contradict")

const char *cli_exit_text(enum cli_exit code)
{
    switch (code) {
#define EXIT_TEXT(name, text)                                                                      \
    case name:                                                                                     \
        return text;
        EXIT_TEXTS(EXIT_TEXT)
#undef EXIT_TEXT
    }
    return "";
}

/* By status number; 0 stands for a status that nobody has decided on, so codes are kept plus one.
 * tests/cli/test_exit_code.c holds the table against the list of all statuses. */
#define CODE(status, code) [QUIPU_##status] = (code) + 1

static const unsigned char codes[] = {
    CODE(OK, CLI_EXIT_OK),
    CODE(DONE, CLI_EXIT_OK),
    CODE(STOPPED, CLI_EXIT_MACHINE),
    CODE(NO_MEMORY, CLI_EXIT_MACHINE),
    CODE(IO, CLI_EXIT_MACHINE),
    CODE(NO_SPACE, CLI_EXIT_MACHINE),
    CODE(PERMISSION, CLI_EXIT_MACHINE),
    CODE(NO_RANDOM, CLI_EXIT_MACHINE),
    CODE(MISUSE, CLI_EXIT_USAGE),
    CODE(INVALID, CLI_EXIT_INPUT),
    CODE(TOO_LARGE, CLI_EXIT_INPUT),
    CODE(SECRET_REFUSED, CLI_EXIT_INPUT),
    CODE(TYPE, CLI_EXIT_INPUT),
    CODE(KEY_LOCKED, CLI_EXIT_INPUT),
    CODE(CBOR_TRUNCATED, CLI_EXIT_INPUT),
    CODE(CBOR_TRAILING, CLI_EXIT_INPUT),
    CODE(CBOR_NOT_SHORTEST, CLI_EXIT_INPUT),
    CODE(CBOR_INDEFINITE, CLI_EXIT_INPUT),
    CODE(CBOR_RESERVED, CLI_EXIT_INPUT),
    CODE(CBOR_KEY_NOT_TEXT, CLI_EXIT_INPUT),
    CODE(CBOR_KEY_ORDER, CLI_EXIT_INPUT),
    CODE(CBOR_KEY_DUPLICATE, CLI_EXIT_INPUT),
    CODE(CBOR_FLOAT_WIDTH, CLI_EXIT_INPUT),
    CODE(CBOR_FLOAT_NOT_FINITE, CLI_EXIT_INPUT),
    CODE(CBOR_SIMPLE, CLI_EXIT_INPUT),
    CODE(CBOR_TAG, CLI_EXIT_INPUT),
    CODE(CBOR_LINK, CLI_EXIT_INPUT),
    CODE(CBOR_UTF8, CLI_EXIT_INPUT),
    CODE(CBOR_DEPTH, CLI_EXIT_INPUT),
    CODE(CBOR_KIND, CLI_EXIT_INPUT),
    CODE(CBOR_INCOMPLETE, CLI_EXIT_INPUT),
    CODE(VARINT, CLI_EXIT_INPUT),
    CODE(MULTIBASE, CLI_EXIT_INPUT),
    CODE(MULTIHASH, CLI_EXIT_INPUT),
    CODE(CID, CLI_EXIT_INPUT),
    CODE(CID_PROFILE, CLI_EXIT_INPUT),
    CODE(JSON, CLI_EXIT_INPUT),
    CODE(DAGJSON, CLI_EXIT_INPUT),
    CODE(VERSION_CONFLICT, CLI_EXIT_CONFLICT),
    CODE(EVENT_ID_CONFLICT, CLI_EXIT_CONFLICT),
    CODE(EXISTS, CLI_EXIT_CONFLICT),
    CODE(BUSY, CLI_EXIT_CONFLICT),
    CODE(FORK, CLI_EXIT_CONFLICT),
    CODE(GAP, CLI_EXIT_CONFLICT),
    CODE(PARKED, CLI_EXIT_CONFLICT),
    CODE(PAUSED, CLI_EXIT_CONFLICT),
    CODE(NOT_FOUND, CLI_EXIT_NOT_FOUND),
    CODE(NOT_A_STORE, CLI_EXIT_DAMAGED),
    CODE(FORMAT_NEWER, CLI_EXIT_DAMAGED),
    CODE(CORRUPT, CLI_EXIT_DAMAGED),
    CODE(BAD_SIGNATURE, CLI_EXIT_DAMAGED),
    CODE(SCHEMA_NEWER, CLI_EXIT_DAMAGED),
    CODE(UNSIGNED, CLI_EXIT_DAMAGED),
    CODE(UNTRUSTED, CLI_EXIT_DAMAGED),
    CODE(MISSING, CLI_EXIT_DAMAGED),
    CODE(TOO_FEW_SIGNERS, CLI_EXIT_DAMAGED),
    CODE(CID_MISMATCH, CLI_EXIT_DAMAGED),
    CODE(CID_UNVERIFIABLE, CLI_EXIT_DAMAGED),
    CODE(CAR, CLI_EXIT_DAMAGED),
    CODE(CAR_TRUNCATED, CLI_EXIT_DAMAGED),
    CODE(CAR_VERSION, CLI_EXIT_DAMAGED),
    CODE(CAR_ROOT_MISSING, CLI_EXIT_DAMAGED),
    CODE(BUNDLE, CLI_EXIT_DAMAGED),
    CODE(ENVELOPE, CLI_EXIT_DAMAGED),
    CODE(OFFLINE, CLI_EXIT_OFFLINE),
    CODE(TIMEOUT, CLI_EXIT_OFFLINE),
    CODE(NOT_PROVISIONED, CLI_EXIT_OFFLINE),
    CODE(AUTH, CLI_EXIT_REFUSED),
    CODE(DRIFT, CLI_EXIT_REFUSED),
    CODE(SERVER, CLI_EXIT_REFUSED),
    CODE(AGE, CLI_EXIT_DAMAGED),
    CODE(AGE_VERSION, CLI_EXIT_DAMAGED),
    CODE(AGE_ARMOR, CLI_EXIT_DAMAGED),
    CODE(AGE_HEADER, CLI_EXIT_DAMAGED),
    CODE(AGE_MAC, CLI_EXIT_DAMAGED),
    CODE(AGE_NO_MATCH, CLI_EXIT_INPUT),
    CODE(AGE_PAYLOAD, CLI_EXIT_DAMAGED),
    CODE(AGE_TRUNCATED, CLI_EXIT_DAMAGED),
    CODE(AGE_WORK_FACTOR, CLI_EXIT_INPUT),
    CODE(AGE_UNSUPPORTED, CLI_EXIT_INPUT),
    CODE(AGE_KEY, CLI_EXIT_INPUT),
};

enum cli_exit cli_exit_code(enum quipu_status status)
{
    size_t row = (size_t)status;
    if (row >= sizeof codes || codes[row] == 0) {
        return CLI_EXIT_MACHINE;
    }
    return (enum cli_exit)(codes[row] - 1);
}

/* Cures of what the caller or this machine did; NULL where the status is of another band. */
static const char *cure_here(enum quipu_status status)
{
    switch ((int)status) {
    case QUIPU_OK:
    case QUIPU_DONE:
        return "";
    case QUIPU_MISUSE:
        return "this is a defect of the program: please report it with the command line";
    case QUIPU_INVALID:
        return "see --help of this verb for what is expected";
    case QUIPU_TOO_LARGE:
        return "make it smaller, or split it";
    case QUIPU_NOT_FOUND:
        return "`quipu log` lists what is there";
    case QUIPU_VERSION_CONFLICT:
        return "read the aggregate again with `quipu log --aggregate T/ID`, then decide anew";
    case QUIPU_EVENT_ID_CONFLICT:
        return "give the new event an event_id of its own";
    case QUIPU_SECRET_REFUSED:
        return "take the secret out, or store it in clear with --allow-secret";
    case QUIPU_EXISTS:
        return "choose another path";
    case QUIPU_BUSY:
        return "wait until that process has finished, then run it again";
    case QUIPU_STOPPED:
        return "run it again to go on";
    case QUIPU_PARKED:
        return "see `quipu projections list`, then `quipu projections retry` or `skip`";
    case QUIPU_PAUSED:
        return "let it go on with `quipu projections resume`";
    case QUIPU_TYPE:
        return "`quipu types show` says what it must hold";
    case QUIPU_KEY_LOCKED:
        return "give its passphrase: on a terminal, with --pinentry, or by a descriptor";
    case QUIPU_NO_MEMORY:
        return "free memory, then run it again";
    case QUIPU_IO:
        return "check the disk, then run `quipu verify`";
    case QUIPU_NO_SPACE:
        return "free space on that disk, then run it again";
    case QUIPU_PERMISSION:
        return "check owner and mode of that path";
    case QUIPU_NO_RANDOM:
        return "run it where the system's randomness is available";
    default:
        return NULL;
    }
}

/* Cures of what is stored, carried or sent; NULL where the status is of another band. */
static const char *cure_there(enum quipu_status status)
{
    switch ((int)status) {
    case QUIPU_NOT_A_STORE:
        return "name a store with --store DIR, or make one with `quipu init`";
    case QUIPU_FORMAT_NEWER:
        return "use the quipu that made it, or a newer one";
    case QUIPU_CORRUPT:
        return "list all damage with `quipu verify`, then restore a backup or import a bundle";
    case QUIPU_FORK:
        return "take both branches with --keep-forks and join them with `quipu merge`, or leave it "
               "out";
    case QUIPU_GAP:
        return "import the bundle that holds the events before this one first";
    case QUIPU_BAD_SIGNATURE:
        return "get the bundle again from its maker: who changed it did not have the maker's key";
    case QUIPU_UNSIGNED:
        return "have its maker export it again: what nobody signed proves nothing";
    case QUIPU_UNTRUSTED:
        return "name the signer with --trust U… if you know it, else take only what the source "
               "itself signed";
    case QUIPU_TOO_FEW_SIGNERS:
        return "have more of the allowed signers sign it with `quipu sign`";
    case QUIPU_MISSING:
        return "put all parts into one folder, then run it again";
    case QUIPU_SCHEMA_NEWER:
        return "use a newer version of this program";
    case QUIPU_CAR_TRUNCATED:
    case QUIPU_CID_MISMATCH:
        return "get the file again: it was cut or changed on its way";
    case QUIPU_CID_UNVERIFIABLE:
        return "have it made with sha2-256";
    case QUIPU_CAR:
    case QUIPU_CAR_VERSION:
    case QUIPU_CAR_ROOT_MISSING:
    case QUIPU_BUNDLE:
    case QUIPU_ENVELOPE:
        return "name a file that `quipu export` wrote";
    case QUIPU_JSON:
    case QUIPU_DAGJSON:
        return "write one JSON object per line, links as {\"/\":\"bafy…\"}";
    case QUIPU_VARINT:
    case QUIPU_MULTIBASE:
    case QUIPU_MULTIHASH:
    case QUIPU_CID:
    case QUIPU_CID_PROFILE:
        return "give the CID as `quipu log --json` shows it";
    case QUIPU_AGE:
    case QUIPU_AGE_ARMOR:
    case QUIPU_AGE_HEADER:
    case QUIPU_AGE_MAC:
    case QUIPU_AGE_PAYLOAD:
    case QUIPU_AGE_TRUNCATED:
        return "get the encrypted file again: it was cut or changed on its way, or is another one";
    case QUIPU_AGE_VERSION:
        return "have it encrypted as age-encryption.org/v1";
    case QUIPU_AGE_NO_MATCH:
        return "give the identity or the passphrase that it was encrypted to";
    case QUIPU_AGE_WORK_FACTOR:
        return "have it encrypted with a lower scrypt work factor, or let it cost 2^N KiB of "
               "memory "
               "with --scrypt-max N";
    case QUIPU_AGE_UNSUPPORTED:
        return "use an X25519 key (age1…) or a passphrase";
    case QUIPU_AGE_KEY:
        return "give the key as age-keygen writes it: age1… or AGE-SECRET-KEY-1…";
    case QUIPU_OFFLINE:
        return "start nats-server, or name one that runs with --server URL";
    case QUIPU_AUTH:
        return "give valid credentials: --creds FILE, or --user NAME with --password-fd N";
    case QUIPU_TIMEOUT:
        return "check that the server runs with JetStream (nats-server -js), then run it again";
    case QUIPU_NOT_PROVISIONED:
        return "make them with `quipu provision`";
    case QUIPU_DRIFT:
        return "configure the server so, or choose others with --stream and --bucket";
    case QUIPU_SERVER:
        return "see what the server's log says, then run it again";
    default:
        return NULL;
    }
}

bool cli_is_cbor(enum quipu_status status)
{
    return status >= QUIPU_CBOR_TRUNCATED && status <= QUIPU_CBOR_INCOMPLETE;
}

const char *cli_cure(enum quipu_status status)
{
    const char *cure = cure_here(status);
    if (cure == NULL) {
        cure = cure_there(status);
    }
    /* What is left is the DAG-CBOR band. */
    return cure == NULL ? "write it as canonical DAG-CBOR" : cure;
}

/*
 * From a status to what the shell sees, and to what the person can do about it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CLI_EXIT_CODE_H
#define QUIPU_CLI_EXIT_CODE_H

#include <stdbool.h>

#include "quipu/status.h"

enum cli_exit {
    CLI_EXIT_OK = 0,
    CLI_EXIT_MACHINE = 1,   /* input or output, memory, disk full, permission on this machine */
    CLI_EXIT_USAGE = 2,     /* options or arguments */
    CLI_EXIT_INPUT = 3,     /* the input is not what it must be */
    CLI_EXIT_CONFLICT = 4,  /* version, event_id, exists, busy, parked, paused, fork, gap */
    CLI_EXIT_NOT_FOUND = 5, /* store, event, block, file */
    CLI_EXIT_DAMAGED = 6,   /* damaged, not a store or bundle, bad signature, newer format */
    CLI_EXIT_OFFLINE = 7,   /* no server, timeout, not provisioned */
    CLI_EXIT_REFUSED = 8,   /* the server refused: credentials, permission, drift */
    CLI_EXIT_ASIDE = 9,     /* done, but something was set aside: dead letters or quarantine */
};

/** Exit code of a status. Every status has one. */
enum cli_exit cli_exit_code(enum quipu_status status);

/** What to do about it, in the words of the command line; "" where nothing has to be done. Static
 * text. */
const char *cli_cure(enum quipu_status status);

/** Is it one of what DAG-CBOR refuses? */
bool cli_is_cbor(enum quipu_status status);

/** Their cure where the input is JSON. */
#define CLI_CURE_JSON_VALUE "write values that JSON and DAG-CBOR both have: finite, not too deep"

/** What an exit code means, for --help; "" for a number that is none. Static text. */
const char *cli_exit_text(enum cli_exit code);

#endif

/*
 * The sources of a passphrase that people are asked through. Private to cli/passphrase*.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CLI_PASSPHRASE_PARTS_H
#define QUIPU_CLI_PASSPHRASE_PARTS_H

#include "passphrase.h"

/* One byte more than a passphrase may have, to see that it is too long. */
#define PASSPHRASE_ROOM (QUIPU_AGE_PASSPHRASE_BYTES_MAX + 1)
/* How often a new one may be too short, or typed in two ways. */
#define PASSPHRASE_TRIES 3

/* Guarded memory of PASSPHRASE_ROOM bytes, or NULL. */
uint8_t *passphrase_room(void);

/* `problem` says why it is asked for again; NULL at first. Each gives what was typed into `out`,
 * whose bytes are PASSPHRASE_ROOM. @retval QUIPU_STOPPED, QUIPU_TOO_LARGE, QUIPU_IO */

/* `tty` is a descriptor of the terminal. */
QUIPU_MUST_CHECK enum quipu_status passphrase_terminal(int tty, const char *prompt,
                                                       const char *problem,
                                                       struct cli_passphrase *out,
                                                       struct quipu_error *err);

/* Start `program` (looked up in PATH), ask, and end it. */
QUIPU_MUST_CHECK enum quipu_status passphrase_pinentry(const char *program, const char *prompt,
                                                       const char *problem,
                                                       struct cli_passphrase *out,
                                                       struct quipu_error *err);

#endif

/*
 * Answers of the Assuan protocol. Private to cli/passphrase*.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CLI_PASSPHRASE_ASSUAN_H
#define QUIPU_CLI_PASSPHRASE_ASSUAN_H

#include <stddef.h>
#include <stdint.h>

#include "quipu/error.h"
#include "quipu/io.h"

#define ASSUAN_LINE_BYTES_MAX 1000 /* without the newline, by the protocol */
#define ASSUAN_LINES_MAX      256  /* of one answer */
#define ASSUAN_ROOM_BYTES     2048

struct assuan {
    struct quipu_source source;
    uint8_t *room; /* the caller's; what was read and not yet taken is [at, end) */
    size_t at;
    size_t end;
};

/* Data of an answer; its memory is the caller's. */
struct assuan_pin {
    uint8_t *bytes;
    size_t cap;
    size_t len;
};

/* Everything up to OK. `pin` NULL: no data is expected.
 * @retval QUIPU_STOPPED    an error that says that somebody gave up
 * @retval QUIPU_IO         any other error, what is no answer, or the end
 * @retval QUIPU_TOO_LARGE  more data than `pin` holds. @retval what the source says */
QUIPU_MUST_CHECK enum quipu_status assuan_answer(struct assuan *assuan, struct assuan_pin *pin,
                                                 struct quipu_error *err);

/* Everything up to OK or ERR, whichever. @retval as above, but QUIPU_STOPPED, QUIPU_TOO_LARGE */
QUIPU_MUST_CHECK enum quipu_status assuan_skip(struct assuan *assuan, struct quipu_error *err);

#endif

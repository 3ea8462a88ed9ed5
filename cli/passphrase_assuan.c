/*
 * What pinentry says: answers of the Assuan protocol, out of a source. Knows no process, and says
 * nothing itself.
 *
 * Never believes the other side: lines and their number are limited, and what is not expected is an
 * error. Whatever was read lies in the room that the caller gave, and wipes.
 *
 * Specification: The Assuan protocol, "Server responses".
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "passphrase_assuan.h"

#include <string.h>

#include "quipu/buf.h"
#include "quipu/text.h"

/* The low half of a libgpg-error number. */
#define ERROR_MASK       0xffffu
#define ERROR_CANCELLED  99u
#define ERROR_DIGITS_MAX 10 /* it has 32 bits */

static enum quipu_status not_assuan(struct quipu_error *err, const char *what)
{
    return quipu_error_set(err, QUIPU_IO,
                           "pinentry: %s; name another program with --pinentry=PROGRAM", what);
}

/* The next line without its end; valid until the next call. */
static enum quipu_status line_read(struct assuan *assuan, struct quipu_slice *line,
                                   struct quipu_error *err)
{
    for (;;) {
        uint8_t *newline = memchr(assuan->room + assuan->at, '\n', assuan->end - assuan->at);
        if (newline != NULL) {
            *line = quipu_slice(assuan->room + assuan->at,
                                (size_t)(newline - assuan->room) - assuan->at);
            assuan->at += line->len + 1;
            if (line->len > ASSUAN_LINE_BYTES_MAX) {
                return not_assuan(err, "a line is too long");
            }
            return QUIPU_OK;
        }
        if (assuan->end - assuan->at > ASSUAN_LINE_BYTES_MAX) {
            return not_assuan(err, "a line is too long");
        }
        memmove(assuan->room, assuan->room + assuan->at, assuan->end - assuan->at);
        assuan->end -= assuan->at;
        assuan->at = 0;
        size_t got = 0;
        enum quipu_status status =
            assuan->source.read(assuan->source.ctx, assuan->room + assuan->end,
                                ASSUAN_ROOM_BYTES - assuan->end, &got, err);
        if (status != QUIPU_OK) {
            return quipu_error_wrap(err, status, "read from pinentry");
        }
        if (got == 0) {
            return not_assuan(err, "it ended without an answer, or cannot be started");
        }
        assuan->end += got;
    }
}

static bool begins_with(struct quipu_slice line, const char *word)
{
    size_t len = strlen(word);
    return line.len >= len && memcmp(line.data, word, len) == 0;
}

/* The word alone, or with a space behind it. */
static bool is_word(struct quipu_slice line, const char *word)
{
    size_t len = strlen(word);
    return begins_with(line, word) && (line.len == len || line.data[len] == ' ');
}

/* "D " data: '%' and two hexadecimal digits stand for a byte. */
static enum quipu_status take_data(struct quipu_slice data, struct assuan_pin *pin,
                                   struct quipu_error *err)
{
    for (size_t i = 0; i < data.len; i++) {
        uint8_t byte = data.data[i];
        if (byte == '%') {
            struct quipu_buf one;
            quipu_buf_init_fixed(&one, &byte, 1);
            if (i + 2 >= data.len ||
                quipu_hex_decode(&one, quipu_slice(data.data + i + 1, 2)) != QUIPU_OK) {
                return not_assuan(err, "'%' without two hexadecimal digits behind it");
            }
            i += 2;
        }
        if (pin->len == pin->cap) {
            return quipu_error_set(err, QUIPU_TOO_LARGE,
                                   "a passphrase has at most %zu bytes; take a shorter one",
                                   pin->cap);
        }
        pin->bytes[pin->len++] = byte;
    }
    return QUIPU_OK;
}

/* "ERR 83886179 Operation cancelled <Pinentry>" */
static enum quipu_status refused(struct quipu_slice line, struct quipu_error *err)
{
    uint64_t number = 0;
    size_t digits = 0;
    struct quipu_slice text = quipu_slice(line.data + 3, line.len - 3);
    while (digits + 1 < text.len && text.data[digits + 1] >= '0' && text.data[digits + 1] <= '9') {
        number = number * 10 + (uint64_t)(text.data[digits + 1] - '0');
        if (++digits > ERROR_DIGITS_MAX) {
            break;
        }
    }
    if (digits == 0 || digits > ERROR_DIGITS_MAX) {
        return not_assuan(err, "an error without a number");
    }
    return (number & ERROR_MASK) == ERROR_CANCELLED
               ? quipu_error_set(err, QUIPU_STOPPED, "no passphrase was given: pinentry was left")
               : quipu_error_set(err, QUIPU_IO,
                                 "pinentry says error %llu; name another program with "
                                 "--pinentry=PROGRAM",
                                 (unsigned long long)number);
}

/* Everything up to OK. `pin` NULL: no data is expected. */
enum quipu_status assuan_answer(struct assuan *assuan, struct assuan_pin *pin,
                                struct quipu_error *err)
{
    struct quipu_slice line;
    for (int lines = 0; lines < ASSUAN_LINES_MAX; lines++) {
        enum quipu_status status = line_read(assuan, &line, err);
        if (status != QUIPU_OK) {
            return status;
        }
        if (is_word(line, "OK")) {
            return QUIPU_OK;
        }
        if (is_word(line, "ERR")) {
            return refused(line, err);
        }
        if (begins_with(line, "D ") && pin != NULL) {
            status = take_data(quipu_slice(line.data + 2, line.len - 2), pin, err);
            if (status != QUIPU_OK) {
                return status;
            }
        } else if (!begins_with(line, "#") && !is_word(line, "S")) {
            return not_assuan(err, "it says what nobody asked for");
        }
    }
    return not_assuan(err, "an answer has too many lines");
}

enum quipu_status assuan_skip(struct assuan *assuan, struct quipu_error *err)
{
    struct quipu_slice line;
    for (int lines = 0; lines < ASSUAN_LINES_MAX; lines++) {
        enum quipu_status status = line_read(assuan, &line, err);
        if (status != QUIPU_OK || is_word(line, "OK") || is_word(line, "ERR")) {
            return status;
        }
    }
    return not_assuan(err, "an answer has too many lines");
}

/*
 * The bytes of an age file in its binary form, whichever form it comes in. What is told of a
 * damaged armor is told only behind the sound bytes before it, so that a fault in the header is
 * named before one further on.
 *
 * Specification: c2sp.org/age, "Encrypted file format" and "ASCII armor"; docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "age_parts.h"
#include "quipu/alloc.h"

#define MAGIC       "age-encryption.org/"
#define ARMOR_MAGIC "-----"
#define ARMOR_BEGIN "-----BEGIN AGE ENCRYPTED FILE-----"

enum quipu_status age_input_more(struct age_input *input, struct quipu_error *err)
{
    size_t got = 0;
    if (input->is_raw_end) {
        return QUIPU_OK;
    }
    if (input->raw_at > 0) {
        memmove(input->raw, input->raw + input->raw_at, input->raw_len - input->raw_at);
        input->raw_before += input->raw_at;
        input->raw_len -= input->raw_at;
        input->raw_at = 0;
    }
    if (input->raw_len == AGE_INPUT_BYTES) {
        return QUIPU_OK;
    }
    enum quipu_status status = input->source.read(input->source.ctx, input->raw + input->raw_len,
                                                  AGE_INPUT_BYTES - input->raw_len, &got, err);
    if (status == QUIPU_OK) {
        input->is_raw_end = got == 0;
        input->raw_len += got;
    }
    return status;
}

/* Read on until `wanted` raw bytes are there, or all. */
static enum quipu_status have_raw(struct age_input *input, size_t wanted, struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    while (status == QUIPU_OK && !input->is_raw_end && input->raw_len - input->raw_at < wanted) {
        status = age_input_more(input, err);
    }
    return status;
}

static bool raw_begins_with(const struct age_input *input, const char *text)
{
    size_t len = strlen(text);
    return input->raw_len - input->raw_at >= len &&
           memcmp(input->raw + input->raw_at, text, len) == 0;
}

static enum quipu_status skip_space(struct age_input *input, struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    for (;;) {
        while (input->raw_at < input->raw_len &&
               memchr(" \t\r\n", input->raw[input->raw_at], 4) != NULL) {
            input->raw_at++;
        }
        if (input->raw_at < input->raw_len || input->is_raw_end || status != QUIPU_OK) {
            return status;
        }
        status = age_input_more(input, err);
    }
}

/* Neither form begins here. Armor further on has something before it that is not white space. */
static enum quipu_status refuse_beginning(struct age_input *input, struct quipu_error *err)
{
    enum quipu_status status = have_raw(input, AGE_INPUT_BYTES, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (memmem(input->raw + input->raw_at, input->raw_len - input->raw_at, ARMOR_BEGIN,
               strlen(ARMOR_BEGIN)) != NULL) {
        return quipu_error_set_at(err, QUIPU_AGE_ARMOR, input->raw_before + input->raw_at,
                                  "age armor: something stands before it; cut it off");
    }
    return quipu_error_set(err, QUIPU_AGE,
                           "not an age file: it begins neither with " MAGIC " nor with armor");
}

static enum quipu_status find_form(struct age_input *input, struct quipu_error *err)
{
    enum quipu_status status = have_raw(input, strlen(MAGIC), err);
    if (status != QUIPU_OK || raw_begins_with(input, MAGIC)) {
        return status;
    }
    status = skip_space(input, err);
    if (status == QUIPU_OK) {
        status = have_raw(input, strlen(ARMOR_MAGIC), err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (!raw_begins_with(input, ARMOR_MAGIC)) {
        return refuse_beginning(input, err);
    }
    input->is_armored = true;
    return age_armor_begin(input, err);
}

enum quipu_status age_input_init(struct age_input *input, struct quipu_source source,
                                 struct quipu_error *err)
{
    *input = (struct age_input){.source = source};
    input->raw = quipu_alloc(AGE_INPUT_BYTES, 1);
    input->window = quipu_alloc(AGE_INPUT_BYTES, 1);
    if (input->raw == NULL || input->window == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory to read an age file");
    }
    return find_form(input, err);
}

void age_input_release(struct age_input *input)
{
    quipu_free(input->raw);
    quipu_free(input->window);
    *input = (struct age_input){.raw = NULL};
}

/* What can be taken at once; empty only at the end. */
static enum quipu_status peek(struct age_input *input, struct quipu_slice *out,
                              struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    if (input->is_armored) {
        if (input->at == input->len) {
            status = age_armor_fill(input, err);
        }
        *out = quipu_slice(input->window + input->at, input->len - input->at);
        return status;
    }
    if (input->raw_at == input->raw_len) {
        status = age_input_more(input, err);
    }
    *out = quipu_slice(input->raw + input->raw_at, input->raw_len - input->raw_at);
    return status;
}

static void take(struct age_input *input, size_t count)
{
    input->taken += count;
    if (input->is_armored) {
        input->at += count;
    } else {
        input->raw_at += count;
    }
}

/* Past the buffer, straight to where the bytes are wanted. */
static enum quipu_status read_through(struct age_input *input, uint8_t *into, size_t cap,
                                      size_t *got, struct quipu_error *err)
{
    enum quipu_status status = quipu_source_read_full(input->source, into, cap, got, err);
    if (status == QUIPU_OK) {
        input->is_raw_end = *got < cap;
        input->taken += *got;
    }
    return status;
}

enum quipu_status age_input_read(struct age_input *input, uint8_t *into, size_t cap, size_t *got,
                                 struct quipu_error *err)
{
    size_t have = 0;
    while (have < cap) {
        struct quipu_slice next = {0};
        size_t more = 0;
        bool is_through =
            !input->is_armored && input->raw_at == input->raw_len && !input->is_raw_end;
        enum quipu_status status = is_through
                                       ? read_through(input, into + have, cap - have, &more, err)
                                       : peek(input, &next, err);
        if (status != QUIPU_OK) {
            return status;
        }
        if (!is_through && next.len > 0) {
            more = next.len < cap - have ? next.len : cap - have;
            memcpy(into + have, next.data, more);
            take(input, more);
        }
        if (more == 0) {
            break;
        }
        have += more;
    }
    *got = have;
    return QUIPU_OK;
}

enum quipu_status age_input_line(struct age_input *input, struct quipu_buf *line,
                                 struct quipu_error *err)
{
    for (;;) {
        struct quipu_slice next = {0};
        enum quipu_status status = peek(input, &next, err);
        if (status != QUIPU_OK || next.len == 0) {
            return status;
        }
        const uint8_t *end = memchr(next.data, '\n', next.len);
        size_t len = end == NULL ? next.len : (size_t)(end - next.data) + 1;
        if (len > QUIPU_AGE_HEADER_BYTES_MAX - line->len) {
            return quipu_error_set(err, QUIPU_TOO_LARGE, "age header: more than %u bytes",
                                   QUIPU_AGE_HEADER_BYTES_MAX);
        }
        quipu_buf_append(line, next.data, len);
        if (line->status != QUIPU_OK) {
            return quipu_error_set(err, line->status, "no memory for an age header");
        }
        take(input, len);
        if (end != NULL) {
            return QUIPU_OK;
        }
    }
}

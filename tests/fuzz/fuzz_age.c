/*
 * Properties: a header that is accepted is made of the very bytes that its stanzas and MAC are
 * written as, where all of them are of types that quipu writes; armor that is accepted is, but for
 * white space around it and CR, the armor of what it holds; and whatever the bytes, decryption with
 * keys made at run time says one of its statuses, from a whole source as from a trickling one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "fuzz.h"

#include <stdbool.h>
#include <string.h>

#include "age_parts.h"

/* A source of few bytes a read. */
static enum quipu_status trickle(void *ctx, void *into, size_t cap, size_t *got,
                                 struct quipu_error *err)
{
    return quipu_source_slice(ctx).read(ctx, into, cap < 3 ? cap : 3, got, err);
}

/* Made once; a fuzz target may keep what it makes. */
static const struct quipu_age_secrets *run_time_secrets(void)
{
    static struct quipu_age_secrets *secrets;
    if (secrets == NULL) {
        FUZZ_REQUIRE(quipu_age_secrets_new(&secrets, NULL) == QUIPU_OK);
        FUZZ_REQUIRE(quipu_age_secrets_generate(secrets, NULL, NULL) == QUIPU_OK);
        FUZZ_REQUIRE(quipu_age_secrets_set_passphrase(secrets, quipu_slice_text("fuzz"), NULL) ==
                     QUIPU_OK);
    }
    return secrets;
}

static bool is_documented(enum quipu_status status)
{
    return status == QUIPU_OK || (status >= QUIPU_AGE && status <= QUIPU_AGE_UNSUPPORTED) ||
           status == QUIPU_TOO_LARGE;
}

static void check_decrypt(struct quipu_slice bytes)
{
    struct quipu_age_read_options options = QUIPU_AGE_READ_OPTIONS_INIT;
    struct quipu_buf whole = QUIPU_BUF_INIT;
    struct quipu_buf trickled = QUIPU_BUF_INIT;
    struct quipu_slice rest = bytes;
    struct quipu_slice slow = bytes;
    options.work_factor_max = 4;
    enum quipu_status status = quipu_age_decrypt(quipu_source_slice(&rest), run_time_secrets(),
                                                 &options, quipu_sink_buf(&whole), NULL);
    enum quipu_status again =
        quipu_age_decrypt((struct quipu_source){trickle, &slow}, run_time_secrets(), &options,
                          quipu_sink_buf(&trickled), NULL);
    FUZZ_REQUIRE(is_documented(status));
    FUZZ_REQUIRE(again == status);
    FUZZ_REQUIRE(quipu_slice_equal(quipu_buf_slice(&whole), quipu_buf_slice(&trickled)));
    quipu_buf_release(&whole);
    quipu_buf_release(&trickled);
}

/* The header as quipu writes what was read of it. */
static void check_header(const struct age_header *header)
{
    struct quipu_buf again = QUIPU_BUF_INIT;
    quipu_buf_append_text(&again, AGE_VERSION_LINE);
    for (size_t i = 0; i < age_header_count(header); i++) {
        struct age_stanza stanza;
        age_header_stanza(header, i, &stanza);
        age_header_write_stanza(&again, &stanza);
    }
    /* A work factor over every limit is kept as one number that stands for all. */
    if (age_header_count(header) == header->stanza_count && !header->has_scrypt) {
        quipu_buf_append_text(&again, "---");
        FUZZ_REQUIRE(again.len == header->mac_at);
        age_header_write_mac(&again, header->mac);
        FUZZ_REQUIRE(quipu_slice_equal(quipu_buf_slice(&again), quipu_buf_slice(&header->text)));
    } else if (!header->has_scrypt) {
        /* What is passed over is at least a line of four characters and an empty one. */
        size_t others = header->stanza_count - age_header_count(header);
        FUZZ_REQUIRE(again.len + 6 * others + 3 <= header->mac_at);
    }
    FUZZ_REQUIRE(again.status == QUIPU_OK);
    quipu_buf_release(&again);
}

/* Drop CR, and white space on both ends. */
static void normalise(struct quipu_slice text, struct quipu_buf *out)
{
    for (size_t i = 0; i < text.len; i++) {
        bool is_space = memchr(" \t\r\n", text.data[i], 4) != NULL;
        if (text.data[i] != '\r' && !(out->len == 0 && is_space)) {
            quipu_buf_append_byte(out, text.data[i]);
        }
    }
    while (out->len > 0 && memchr(" \t\n", out->data[out->len - 1], 3) != NULL) {
        out->len--;
    }
    quipu_buf_append_byte(out, '\n');
}

static void check_armor(struct quipu_slice text, struct quipu_slice held)
{
    struct age_armor_writer writer;
    struct quipu_buf again = QUIPU_BUF_INIT;
    struct quipu_buf wanted = QUIPU_BUF_INIT;
    FUZZ_REQUIRE(age_armor_open(&writer, quipu_sink_buf(&again), NULL) == QUIPU_OK);
    struct quipu_sink sink = age_armor_sink(&writer);
    FUZZ_REQUIRE(sink.write(sink.ctx, held, NULL) == QUIPU_OK);
    FUZZ_REQUIRE(age_armor_finish(&writer, NULL) == QUIPU_OK);
    normalise(text, &wanted);
    FUZZ_REQUIRE(quipu_slice_equal(quipu_buf_slice(&again), quipu_buf_slice(&wanted)));
    quipu_buf_release(&again);
    quipu_buf_release(&wanted);
}

/* All of the binary form, and then its header. */
static void check_forms(struct quipu_slice bytes)
{
    struct age_input input;
    struct age_header header = {.mac_at = 0};
    struct quipu_slice rest = bytes;
    struct quipu_buf held = QUIPU_BUF_INIT;
    uint8_t *into = quipu_buf_reserve(&held, bytes.len + 1);
    FUZZ_REQUIRE(into != NULL);
    if (age_input_init(&input, quipu_source_slice(&rest), NULL) == QUIPU_OK &&
        age_input_read(&input, into, bytes.len + 1, &held.len, NULL) == QUIPU_OK) {
        FUZZ_REQUIRE(held.len <= bytes.len);
        if (input.is_armored) {
            check_armor(bytes, quipu_buf_slice(&held));
        } else {
            FUZZ_REQUIRE(quipu_slice_equal(quipu_buf_slice(&held), bytes));
        }
    }
    age_input_release(&input);
    rest = bytes;
    if (age_input_init(&input, quipu_source_slice(&rest), NULL) == QUIPU_OK &&
        age_header_read(&input, &header, NULL) == QUIPU_OK) {
        check_header(&header);
    }
    age_header_release(&header);
    age_input_release(&input);
    quipu_buf_release(&held);
}

/* A recipient that is accepted is written as it was read. */
static void check_recipient(struct quipu_slice text)
{
    struct quipu_age_recipient recipient;
    char again[QUIPU_AGE_RECIPIENT_TEXT_BYTES];
    if (quipu_age_recipient_parse(text, &recipient, NULL) == QUIPU_OK) {
        quipu_age_recipient_format(&recipient, again);
        FUZZ_REQUIRE(quipu_slice_equal(quipu_slice_text(again), text));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct quipu_slice bytes = quipu_slice(data, size);
    check_recipient(bytes);
    check_forms(bytes);
    check_decrypt(bytes);
    return 0;
}

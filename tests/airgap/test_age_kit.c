/*
 * Age files in memory, and forged ones.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "test_age_kit.h"

#include <criterion/criterion.h>
#include <string.h>

struct quipu_age_secrets *age_kit_secrets(size_t count)
{
    struct quipu_age_secrets *secrets = NULL;
    cr_assert_eq(quipu_age_secrets_new(&secrets, NULL), QUIPU_OK);
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(quipu_age_secrets_generate(secrets, NULL, NULL), QUIPU_OK);
    }
    return secrets;
}

struct quipu_age_secrets *age_kit_passphrase(const char *passphrase)
{
    struct quipu_age_secrets *secrets = age_kit_secrets(0);
    cr_assert_eq(quipu_age_secrets_set_passphrase(secrets, quipu_slice_text(passphrase), NULL),
                 QUIPU_OK);
    return secrets;
}

struct quipu_age_recipient age_kit_recipient(const struct quipu_age_secrets *secrets, size_t index)
{
    struct quipu_age_recipient recipient = {{0}};
    cr_assert_eq(quipu_age_secrets_recipient(secrets, index, &recipient), QUIPU_OK);
    return recipient;
}

void age_kit_plain(struct quipu_buf *out, size_t len)
{
    quipu_buf_reset(out);
    for (size_t i = 0; i < len; i++) {
        quipu_buf_append_byte(out, (uint8_t)(i * 31 + (i >> 8) * 7 + (i >> 16)));
    }
    cr_assert_eq(out->status, QUIPU_OK);
}

void age_kit_encrypt(struct quipu_slice plain, const struct quipu_age_write_options *options,
                     size_t step, struct quipu_buf *out)
{
    struct quipu_age_writer *writer = NULL;
    struct quipu_error err = {.message = ""};
    quipu_buf_reset(out);
    cr_assert_eq(quipu_age_writer_open(quipu_sink_buf(out), options, &writer, &err), QUIPU_OK, "%s",
                 err.message);
    struct quipu_sink sink = quipu_age_writer_sink(writer);
    while (plain.len > 0) {
        size_t take = step == 0 || step > plain.len ? plain.len : step;
        cr_assert_eq(sink.write(sink.ctx, quipu_slice(plain.data, take), &err), QUIPU_OK, "%s",
                     err.message);
        plain = quipu_slice(plain.data + take, plain.len - take);
    }
    cr_assert_eq(quipu_age_writer_finish(writer, &err), QUIPU_OK, "%s", err.message);
    quipu_age_writer_close(&writer);
    cr_assert_null(writer);
}

void age_kit_encrypt_to(struct quipu_slice plain, const struct quipu_age_secrets *secrets,
                        struct quipu_buf *out)
{
    struct quipu_age_write_options options = QUIPU_AGE_WRITE_OPTIONS_INIT;
    struct quipu_age_recipient recipient = age_kit_recipient(secrets, 0);
    options.recipients = &recipient;
    options.recipient_count = 1;
    age_kit_encrypt(plain, &options, 0, out);
}

enum quipu_status age_kit_decrypt(struct quipu_slice file, const struct quipu_age_secrets *secrets,
                                  size_t step, struct quipu_buf *out, struct quipu_error *err)
{
    struct quipu_age_reader *reader = NULL;
    uint8_t bytes[4096];
    size_t got = 0;
    quipu_buf_reset(out);
    if (step == 0) {
        return quipu_age_decrypt(quipu_source_slice(&file), secrets, NULL, quipu_sink_buf(out),
                                 err);
    }
    enum quipu_status status =
        quipu_age_reader_open(quipu_source_slice(&file), secrets, NULL, &reader, err);
    if (status != QUIPU_OK) {
        cr_assert_null(reader);
        return status;
    }
    struct quipu_source source = quipu_age_reader_source(reader);
    do {
        status =
            source.read(source.ctx, bytes, step < sizeof bytes ? step : sizeof bytes, &got, err);
        if (status == QUIPU_OK) {
            quipu_buf_append(out, bytes, got);
        }
    } while (status == QUIPU_OK && got > 0);
    if (status != QUIPU_OK) {
        cr_assert_eq(source.read(source.ctx, bytes, 1, &got, NULL), status, "a failure stays");
    }
    quipu_age_reader_close(&reader);
    return status;
}

void age_kit_forge_init(struct age_forge *forge, const struct quipu_age_secrets *secrets)
{
    struct age_stanza stanza = {.type = AGE_STANZA_X25519};
    struct quipu_age_recipient recipient = age_kit_recipient(secrets, 0);
    struct quipu_buf text;
    randombytes_buf(&forge->keys, sizeof forge->keys);
    cr_assert(age_wrap_x25519(&forge->keys, &recipient, stanza.share, stanza.body));
    quipu_buf_init_fixed(&text, forge->stanza, sizeof forge->stanza);
    age_header_write_stanza(&text, &stanza);
    quipu_buf_append_byte(&text, 0);
    cr_assert_eq(text.status, QUIPU_OK);
}

void age_kit_forge(struct age_forge *forge, const char *lines, struct quipu_slice plain,
                   struct quipu_buf *out)
{
    uint8_t mac[AGE_MAC_BYTES];
    uint8_t nonce[AGE_NONCE_BYTES] = {1, 2, 3};
    uint8_t sealed[1024];
    const char *place = strstr(lines, "%s");
    quipu_buf_reset(out);
    quipu_buf_append(out, lines, place == NULL ? strlen(lines) : (size_t)(place - lines));
    if (place != NULL) {
        quipu_buf_append_text(out, forge->stanza);
        quipu_buf_append_text(out, place + 2);
    }
    quipu_buf_append_text(out, "---");
    age_header_mac(&forge->keys, quipu_buf_slice(out), mac);
    age_header_write_mac(out, mac);
    quipu_buf_append(out, nonce, sizeof nonce);
    age_derive_payload_key(&forge->keys, nonce);
    cr_assert_leq(plain.len + AGE_TAG_BYTES, sizeof sealed);
    age_seal_chunk(&forge->keys, 0, true, plain, sealed);
    quipu_buf_append(out, sealed, plain.len + AGE_TAG_BYTES);
    cr_assert_eq(out->status, QUIPU_OK);
}

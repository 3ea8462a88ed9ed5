/*
 * What the files of age share: keys at work, the header, the bytes behind the armor. Private to
 * airgap/.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_AIRGAP_AGE_PARTS_H
#define QUIPU_AIRGAP_AGE_PARTS_H

#include <sodium.h>

#include "quipu/age.h"
#include "quipu/buf.h"

#define AGE_VERSION_LINE   "age-encryption.org/v1\n"
#define AGE_FILE_KEY_BYTES 16u
#define AGE_BODY_BYTES     (AGE_FILE_KEY_BYTES + crypto_aead_chacha20poly1305_ietf_ABYTES)
#define AGE_TAG_BYTES      crypto_aead_chacha20poly1305_ietf_ABYTES
#define AGE_SEALED_BYTES   (QUIPU_AGE_CHUNK_BYTES + AGE_TAG_BYTES)
#define AGE_NONCE_BYTES    16u
#define AGE_SALT_BYTES     16u
#define AGE_MAC_BYTES      crypto_auth_hmacsha256_BYTES
#define AGE_LINE_CHARS     64u /* of base64, in a stanza's body as in armor */
#define AGE_LINE_BYTES     48u
/* Characters of 32 bytes without padding. */
#define AGE_BASE64_32 43u

/* ------------------------------------------------------------------ secret memory (age_secrets.c)
 */

/* Zeroed guarded pages; `*is_locked` becomes false where the system did not lock them. NULL: out of
 * memory. Given back, and wiped, with age_secret_free. */
void *age_secret_alloc(size_t bytes, bool *is_locked);
void age_secret_free(void *secret);

struct age_identity {
    uint8_t secret_key[crypto_scalarmult_SCALARBYTES];
    uint8_t public_key[crypto_scalarmult_BYTES];
};

struct quipu_age_secrets {
    struct age_identity *identities; /* secret memory */
    size_t count;
    size_t cap;
    uint8_t *passphrase; /* secret memory; NULL: none */
    size_t passphrase_len;
    unsigned work_factor_max; /* 0: the default */
    bool has_unsupported;     /* identities of other types were seen */
    bool is_locked;
};

/* libsodium's own start; QUIPU_NO_RANDOM where it fails. */
QUIPU_MUST_CHECK enum quipu_status age_start(struct quipu_error *err);

/* ------------------------------------------------------------------ keys at work (age_keys.c) */

/* Everything secret that one file needs, in one piece of secret memory. */
struct age_keys {
    uint8_t file_key[AGE_FILE_KEY_BYTES];
    uint8_t payload_key[crypto_aead_chacha20poly1305_ietf_KEYBYTES];
    uint8_t wrap_key[crypto_aead_chacha20poly1305_ietf_KEYBYTES];
    uint8_t ephemeral[crypto_scalarmult_SCALARBYTES];
    uint8_t shared[crypto_scalarmult_BYTES];
    uint8_t derived[crypto_auth_hmacsha256_BYTES];
    crypto_auth_hmacsha256_state hmac;
};

/* What a wrapped file key was, after it was tried. */
enum age_unwrapped { AGE_UNWRAPPED, AGE_NOT_OURS, AGE_LOW_ORDER };

/* `share` and `body` for `recipient`, under a fresh ephemeral secret in keys->ephemeral.
 * False: no secret can be shared with that recipient. */
QUIPU_MUST_CHECK bool age_wrap_x25519(struct age_keys *keys,
                                      const struct quipu_age_recipient *recipient,
                                      uint8_t share[crypto_scalarmult_BYTES],
                                      uint8_t body[AGE_BODY_BYTES]);
enum age_unwrapped age_unwrap_x25519(struct age_keys *keys, const struct age_identity *identity,
                                     const uint8_t share[crypto_scalarmult_BYTES],
                                     const uint8_t body[AGE_BODY_BYTES]);

/* keys->wrap_key from a passphrase. @retval QUIPU_NO_MEMORY */
QUIPU_MUST_CHECK enum quipu_status age_derive_scrypt(struct age_keys *keys,
                                                     const struct quipu_age_secrets *secrets,
                                                     const uint8_t salt[AGE_SALT_BYTES],
                                                     unsigned work_factor, struct quipu_error *err);

/* The file key sealed with, or opened by, keys->wrap_key. */
void age_seal_file_key(struct age_keys *keys, uint8_t body[AGE_BODY_BYTES]);
QUIPU_MUST_CHECK bool age_open_file_key(struct age_keys *keys, const uint8_t body[AGE_BODY_BYTES]);

/* MAC of the header's bytes, up to and with "---". */
void age_header_mac(struct age_keys *keys, struct quipu_slice header, uint8_t mac[AGE_MAC_BYTES]);
void age_derive_payload_key(struct age_keys *keys, const uint8_t nonce[AGE_NONCE_BYTES]);

/* One chunk. Each takes its number, and whether it is the last. */
void age_seal_chunk(const struct age_keys *keys, uint64_t number, bool is_last,
                    struct quipu_slice plain, uint8_t *sealed);
QUIPU_MUST_CHECK bool age_open_chunk(const struct age_keys *keys, uint64_t number, bool is_last,
                                     struct quipu_slice sealed, uint8_t *plain);

/* ------------------------------------------------------------------ input (age_input.c) */

#define AGE_INPUT_BYTES 16384u

/* Bytes of the binary form, whichever form the source has. */
struct age_input {
    struct quipu_source source;
    uint8_t *raw; /* as the source gives them */
    size_t raw_at;
    size_t raw_len;
    uint64_t raw_before; /* bytes of the source before raw[0] */
    bool is_raw_end;
    bool is_armored;
    bool is_armor_end;
    uint8_t *window; /* decoded from armor, not yet taken */
    size_t at;
    size_t len;
    uint64_t taken; /* bytes of the binary form that were given out */
    /* A failure is told when all bytes before it were taken. */
    enum quipu_status failed;
    struct quipu_error failure;
};

/* Look at the first bytes; nothing is taken. Release it in any case.
 * @retval QUIPU_AGE, QUIPU_AGE_ARMOR, QUIPU_NO_MEMORY, or what the source says */
QUIPU_MUST_CHECK enum quipu_status
age_input_init(struct age_input *input, struct quipu_source source, struct quipu_error *err);
void age_input_release(struct age_input *input);

/* Up to `cap` bytes; fewer only at the end. */
QUIPU_MUST_CHECK enum quipu_status age_input_read(struct age_input *input, uint8_t *into,
                                                  size_t cap, size_t *got, struct quipu_error *err);

/* Append one line with its LF to `line`; without it only at the end of the input.
 * @retval QUIPU_TOO_LARGE  `line` would be over QUIPU_AGE_HEADER_BYTES_MAX */
QUIPU_MUST_CHECK enum quipu_status age_input_line(struct age_input *input, struct quipu_buf *line,
                                                  struct quipu_error *err);

/* More decoded bytes into the empty window, from armor (age_armor.c). */
QUIPU_MUST_CHECK enum quipu_status age_armor_fill(struct age_input *input, struct quipu_error *err);
/* The BEGIN line, and what may stand before it. */
QUIPU_MUST_CHECK enum quipu_status age_armor_begin(struct age_input *input,
                                                   struct quipu_error *err);
/* More raw bytes behind those that are there; is_raw_end where there are none. */
QUIPU_MUST_CHECK enum quipu_status age_input_more(struct age_input *input, struct quipu_error *err);

/* ------------------------------------------------------------------ armor out (age_armor.c) */

struct age_armor_writer {
    struct quipu_sink sink;
    uint8_t pending[AGE_LINE_BYTES];
    size_t pending_len;
};

QUIPU_MUST_CHECK enum quipu_status age_armor_open(struct age_armor_writer *armor,
                                                  struct quipu_sink sink, struct quipu_error *err);
struct quipu_sink age_armor_sink(struct age_armor_writer *armor);
QUIPU_MUST_CHECK enum quipu_status age_armor_finish(struct age_armor_writer *armor,
                                                    struct quipu_error *err);

/* ------------------------------------------------------------------ header (age_header.c) */

enum age_stanza_type {
    AGE_STANZA_X25519,
    AGE_STANZA_SCRYPT,
    AGE_STANZA_UNSUPPORTED, /* known types that need other means than ours */
    AGE_STANZA_OTHER,       /* unknown, grease among them: ignored */
};

/* A stanza of a type that is read here. */
struct age_stanza {
    enum age_stanza_type type;
    uint8_t share[crypto_scalarmult_BYTES]; /* X25519; scrypt: its salt */
    unsigned work_factor;                   /* scrypt */
    uint8_t body[AGE_BODY_BYTES];
};

/* Zeroed is empty; release it. */
struct age_header {
    struct quipu_buf text;    /* all its bytes */
    struct quipu_buf stanzas; /* struct age_stanza, X25519 and scrypt */
    size_t stanza_count;
    bool has_unsupported;
    bool has_scrypt;
    size_t mac_at; /* bytes that the MAC covers */
    uint8_t mac[AGE_MAC_BYTES];
};

/* Read and check all of the header's form. @retval QUIPU_AGE_HEADER, QUIPU_AGE_VERSION,
 * QUIPU_TOO_LARGE, QUIPU_NO_MEMORY, or what the input says */
QUIPU_MUST_CHECK enum quipu_status
age_header_read(struct age_input *input, struct age_header *header, struct quipu_error *err);
/* The X25519 and scrypt stanzas, in their order. */
size_t age_header_count(const struct age_header *header);
void age_header_stanza(const struct age_header *header, size_t index, struct age_stanza *out);
void age_header_release(struct age_header *header);

/* Append one stanza of ours; failures stick in `out`. */
void age_header_write_stanza(struct quipu_buf *out, const struct age_stanza *stanza);
/* Append the line of the MAC behind "---". */
void age_header_write_mac(struct quipu_buf *out, const uint8_t mac[AGE_MAC_BYTES]);

/* ------------------------------------------------------------------ base64 (age_base64.c) */

/* Characters into `out`, without a NUL; their number. */
size_t age_base64_encode(struct quipu_slice bytes, bool is_padded, char *out);
/* All of `text`, canonical, into at most `cap` bytes. */
QUIPU_MUST_CHECK bool age_base64_decode(struct quipu_slice text, bool is_padded, uint8_t *out,
                                        size_t cap, size_t *len);
/* Exactly `len` bytes from canonical base64 without padding. */
QUIPU_MUST_CHECK bool age_base64_exact(struct quipu_slice text, uint8_t *out, size_t len);

#endif

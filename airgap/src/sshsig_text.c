/*
 * Signatures and public keys as the texts that OpenSSH's tools read: armor, .pub line and
 * allowed_signers line. Only writes.
 *
 * Specification: PROTOCOL.sshsig and ssh-keygen(1) of OpenSSH; docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <sodium.h>

#include "quipu/sshsig.h"
#include "quipu/text.h"
#include "ssh_wire.h"

/* Characters of base64 on a line of armor, as ssh-keygen writes it. */
#define ARMOR_LINE_CHARS 70u

/* Base64 with padding; `line` > 0 puts a newline behind each that many characters and the last. */
static void append_base64(struct quipu_buf *out, struct quipu_slice bytes, size_t line)
{
    struct quipu_buf text = QUIPU_BUF_INIT;
    size_t cap = sodium_base64_ENCODED_LEN(bytes.len, sodium_base64_VARIANT_ORIGINAL);
    char *into = (char *)quipu_buf_reserve(&text, cap);
    if (into == NULL) {
        if (out->status == QUIPU_OK) {
            out->status = text.status;
        }
        return;
    }
    (void)sodium_bin2base64(into, cap, bytes.data, bytes.len, sodium_base64_VARIANT_ORIGINAL);
    size_t len = cap - 1; /* without the NUL */
    if (line == 0) {
        quipu_buf_append(out, into, len);
    }
    for (size_t at = 0; line > 0 && at < len; at += line) {
        quipu_buf_append(out, into + at, len - at < line ? len - at : line);
        quipu_buf_append_byte(out, '\n');
    }
    quipu_buf_release(&text);
}

void quipu_sshsig_armor(struct quipu_slice blob, struct quipu_buf *out)
{
    quipu_buf_append_text(out, "-----BEGIN SSH SIGNATURE-----\n");
    append_base64(out, blob, ARMOR_LINE_CHARS);
    quipu_buf_append_text(out, "-----END SSH SIGNATURE-----\n");
}

static void append_public_key(struct quipu_buf *out,
                              const uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES])
{
    uint8_t storage[64];
    struct quipu_buf blob;
    quipu_buf_init_fixed(&blob, storage, sizeof storage);
    quipu_ssh_write_string(&blob, quipu_slice_text(QUIPU_SSH_ED25519));
    quipu_ssh_write_string(&blob, quipu_slice(public_key, QUIPU_PUBLIC_KEY_BYTES));
    quipu_buf_append_text(out, QUIPU_SSH_ED25519 " ");
    append_base64(out, quipu_buf_slice(&blob), 0);
}

static enum quipu_status buf_outcome(const struct quipu_buf *out, struct quipu_error *err)
{
    if (out->status != QUIPU_OK) {
        return quipu_error_set(err, out->status, "no memory for the text of a public key");
    }
    return QUIPU_OK;
}

enum quipu_status quipu_ssh_public_key_line(const uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES],
                                            const char *comment, struct quipu_buf *out,
                                            struct quipu_error *err)
{
    struct quipu_slice text = quipu_slice_text(comment);
    if (!quipu_text_is_printable(text)) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "the comment of a public key is UTF-8 without control characters");
    }
    append_public_key(out, public_key);
    if (text.len > 0) {
        quipu_buf_append_byte(out, ' ');
        quipu_buf_append_slice(out, text);
    }
    quipu_buf_append_byte(out, '\n');
    return buf_outcome(out, err);
}

/* One word that no rule of allowed_signers can take apart or read as a pattern. */
static bool is_plain_word(const char *text)
{
    if (text == NULL || text[0] == 0) {
        return false;
    }
    for (const char *p = text; *p != 0; p++) {
        if (*p <= ' ' || *p >= 0x7f || strchr("\"',#*?!\\", *p) != NULL) {
            return false;
        }
    }
    return true;
}

enum quipu_status quipu_ssh_allowed_signers_line(const char *principal, const char *name_space,
                                                 const uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES],
                                                 struct quipu_buf *out, struct quipu_error *err)
{
    if (!is_plain_word(principal) || (name_space != NULL && !is_plain_word(name_space))) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "principal and namespace of allowed_signers are one word each, "
                               "without quotes, commas, '#', '!' or wildcards");
    }
    quipu_buf_append_text(out, principal);
    if (name_space != NULL) {
        quipu_buf_append_text(out, " namespaces=\"");
        quipu_buf_append_text(out, name_space);
        quipu_buf_append_byte(out, '"');
    }
    quipu_buf_append_byte(out, ' ');
    append_public_key(out, public_key);
    quipu_buf_append_byte(out, '\n');
    return buf_outcome(out, err);
}

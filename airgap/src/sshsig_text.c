/*
 * Signatures and public keys as the texts that OpenSSH's tools read and write: armor, .pub line,
 * allowed_signers line, fingerprint. Never touches a file.
 *
 * Specification: PROTOCOL.sshsig and ssh-keygen(1) of OpenSSH; docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "age_parts.h"
#include "quipu/sha256.h"
#include "quipu/sshsig.h"
#include "quipu/text.h"
#include "ssh_wire.h"

#define ARMOR_BEGIN "-----BEGIN SSH SIGNATURE-----"
#define ARMOR_END   "-----END SSH SIGNATURE-----"

/* Characters of base64 on a line of armor, as ssh-keygen writes it. */
#define ARMOR_LINE_CHARS 70u

static size_t base64_chars(size_t bytes)
{
    return (bytes + 2) / 3 * 4;
}

/* ------------------------------------------------------------------ armor */

void quipu_sshsig_armor(struct quipu_slice blob, struct quipu_buf *out)
{
    struct quipu_buf text = QUIPU_BUF_INIT;
    char *chars = (char *)quipu_buf_reserve(&text, base64_chars(blob.len));
    size_t len = chars == NULL ? 0 : age_base64_encode(blob, true, chars);
    quipu_buf_append_text(out, ARMOR_BEGIN "\n");
    for (size_t at = 0; at < len; at += ARMOR_LINE_CHARS) {
        quipu_buf_append(out, chars + at,
                         len - at < ARMOR_LINE_CHARS ? len - at : ARMOR_LINE_CHARS);
        quipu_buf_append_byte(out, '\n');
    }
    quipu_buf_append_text(out, ARMOR_END "\n");
    if (out->status == QUIPU_OK) {
        out->status = text.status;
    }
    quipu_buf_release(&text);
}

static bool begins_with(struct quipu_slice text, const char *wanted)
{
    size_t len = strlen(wanted);
    return text.len >= len && memcmp(text.data, wanted, len) == 0;
}

bool quipu_sshsig_is_armor(struct quipu_slice text)
{
    return begins_with(text, ARMOR_BEGIN);
}

/* A line without its end; false where the text ends before one. */
static bool take_line(struct quipu_slice *rest, struct quipu_slice *line)
{
    const uint8_t *end = rest->len == 0 ? NULL : memchr(rest->data, '\n', rest->len);
    size_t len = end == NULL ? rest->len : (size_t)(end - rest->data);
    if (rest->len == 0) {
        return false;
    }
    *line = quipu_ssh_take(rest, len);
    if (end != NULL) {
        (void)quipu_ssh_take(rest, 1);
    }
    if (line->len > 0 && line->data[line->len - 1] == '\r') {
        line->len--;
    }
    return true;
}

static bool is_text(struct quipu_slice line, const char *text)
{
    return quipu_slice_equal(line, quipu_slice_text(text));
}

/* The characters between BEGIN and END in one piece; NULL, or what is wrong. */
static const char *gather_base64(struct quipu_slice text, struct quipu_buf *chars)
{
    struct quipu_slice rest = text;
    struct quipu_slice line = {0};
    if (!take_line(&rest, &line) || !is_text(line, ARMOR_BEGIN)) {
        return "it does not begin with " ARMOR_BEGIN;
    }
    for (;;) {
        if (!take_line(&rest, &line)) {
            return "there is no line " ARMOR_END;
        }
        if (is_text(line, ARMOR_END)) {
            break;
        }
        if (line.len == 0) {
            return "there is an empty line in it";
        }
        quipu_buf_append_slice(chars, line);
    }
    for (size_t i = 0; i < rest.len; i++) {
        if (memchr(" \t\r\n", rest.data[i], 4) == NULL) {
            return "something stands behind " ARMOR_END;
        }
    }
    return NULL;
}

enum quipu_status quipu_sshsig_dearmor(struct quipu_slice text, struct quipu_buf *out,
                                       struct quipu_error *err)
{
    struct quipu_buf chars = QUIPU_BUF_INIT;
    size_t len = 0;
    if (text.len > QUIPU_SSHSIG_ARMOR_BYTES_MAX) {
        return quipu_error_set(err, QUIPU_BAD_SIGNATURE,
                               "an armored signature has at most %d bytes, not %zu",
                               QUIPU_SSHSIG_ARMOR_BYTES_MAX, text.len);
    }
    enum quipu_status status = QUIPU_OK;
    const char *wrong = gather_base64(text, &chars);
    uint8_t *into = wrong == NULL ? quipu_buf_reserve(out, chars.len + 1) : NULL;
    if (wrong == NULL && (chars.status != QUIPU_OK || into == NULL)) {
        status = quipu_error_set(err, QUIPU_NO_MEMORY, "no memory for a signature");
    } else if (wrong == NULL && (chars.len == 0 || !age_base64_decode(quipu_buf_slice(&chars), true,
                                                                      into, chars.len, &len))) {
        wrong = "its lines are not canonical base64";
    }
    quipu_buf_release(&chars);
    if (wrong != NULL) {
        return quipu_error_set(err, QUIPU_BAD_SIGNATURE, "not an armored SSH signature: %s", wrong);
    }
    out->len += len;
    return status;
}

/* ------------------------------------------------------------------ keys */

void quipu_ssh_key_fingerprint(struct quipu_slice key, char out[QUIPU_SSH_FINGERPRINT_BYTES])
{
    static const char head[] = "SHA256:";
    uint8_t digest[QUIPU_SHA256_BYTES];
    quipu_sha256(key, digest);
    memcpy(out, head, sizeof head);
    size_t len =
        age_base64_encode(quipu_slice(digest, sizeof digest), false, out + sizeof head - 1);
    out[sizeof head - 1 + len] = 0;
}

void quipu_ssh_key_name(struct quipu_slice key, char out[QUIPU_SOURCE_TEXT_BYTES])
{
    uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES];
    _Static_assert(QUIPU_SSH_FINGERPRINT_BYTES <= QUIPU_SOURCE_TEXT_BYTES, "a name holds both");
    if (quipu_ssh_key_ed25519(key, public_key)) {
        quipu_nkey_format('U', public_key, out);
    } else {
        quipu_ssh_key_fingerprint(key, out);
    }
}

/* "type base64" of a key that was checked. */
static void append_key(struct quipu_buf *out, enum quipu_ssh_key_type type, struct quipu_slice key)
{
    quipu_buf_append_text(out, quipu_ssh_key_type_name(type));
    quipu_buf_append_byte(out, ' ');
    char *into = (char *)quipu_buf_reserve(out, base64_chars(key.len));
    if (into != NULL) {
        out->len += age_base64_encode(key, true, into);
    }
}

static enum quipu_status buf_outcome(const struct quipu_buf *out, struct quipu_error *err)
{
    if (out->status != QUIPU_OK) {
        return quipu_error_set(err, out->status, "no memory for the text of a public key");
    }
    return QUIPU_OK;
}

enum quipu_status quipu_ssh_key_line(struct quipu_slice key, const char *comment,
                                     struct quipu_buf *out, struct quipu_error *err)
{
    struct quipu_slice text = quipu_slice_text(comment);
    enum quipu_ssh_key_type type = QUIPU_SSH_KEY_ED25519;
    enum quipu_status status = quipu_ssh_key_read(key, &type, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (!quipu_text_is_printable(text)) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "the comment of a public key is UTF-8 without control characters");
    }
    append_key(out, type, key);
    if (text.len > 0) {
        quipu_buf_append_byte(out, ' ');
        quipu_buf_append_slice(out, text);
    }
    quipu_buf_append_byte(out, '\n');
    return buf_outcome(out, err);
}

enum quipu_status quipu_ssh_public_key_line(const uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES],
                                            const char *comment, struct quipu_buf *out,
                                            struct quipu_error *err)
{
    uint8_t key[QUIPU_SSH_ED25519_KEY_BYTES];
    quipu_ssh_key_from_ed25519(public_key, key);
    return quipu_ssh_key_line(quipu_slice(key, sizeof key), comment, out, err);
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

enum quipu_status quipu_ssh_key_allowed_line(const char *principal, const char *name_space,
                                             struct quipu_slice key, struct quipu_buf *out,
                                             struct quipu_error *err)
{
    enum quipu_ssh_key_type type = QUIPU_SSH_KEY_ED25519;
    enum quipu_status status = quipu_ssh_key_read(key, &type, err);
    if (status != QUIPU_OK) {
        return status;
    }
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
    append_key(out, type, key);
    quipu_buf_append_byte(out, '\n');
    return buf_outcome(out, err);
}

enum quipu_status quipu_ssh_allowed_signers_line(const char *principal, const char *name_space,
                                                 const uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES],
                                                 struct quipu_buf *out, struct quipu_error *err)
{
    uint8_t key[QUIPU_SSH_ED25519_KEY_BYTES];
    quipu_ssh_key_from_ed25519(public_key, key);
    return quipu_ssh_key_allowed_line(principal, name_space, quipu_slice(key, sizeof key), out,
                                      err);
}

/*
 * The textual header: version line, stanzas, MAC line; read exactly as its grammar says, so that
 * what is accepted has one form only. Stanzas of types that are not known are checked for their
 * form and passed over. Nothing here is secret, and nothing is believed yet: that comes with the
 * MAC.
 *
 * Specification: c2sp.org/age, "Header" and the two recipient types; docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "age_parts.h"

#define MAGIC            "age-encryption.org/"
#define STANZA_START     "-> "
#define MAC_START        "---"
#define ARGUMENTS_KEPT   3
#define WORK_FACTOR_MANY 1000u /* as good as any greater one: over every limit */

static const char *const UNSUPPORTED[] = {"mlkem768x25519", "mlkem768p256tag", "p256tag",
                                          "piv-p256",       "ssh-ed25519",     "ssh-rsa"};

/* The arguments of a stanza's first line: how many, and the first few. Borrowed from the line. */
struct arguments {
    struct quipu_slice kept[ARGUMENTS_KEPT];
    size_t count;
};

static enum quipu_status refuse(uint64_t at, const char *what, struct quipu_error *err)
{
    return quipu_error_set_at(err, QUIPU_AGE_HEADER, at, "age header: %s", what);
}

/* The next line, without its LF; valid until the next one is taken. `*at` is where it begins. */
static enum quipu_status take_line(struct age_input *input, struct age_header *header,
                                   struct quipu_slice *out, uint64_t *at, struct quipu_error *err)
{
    size_t start = header->text.len;
    enum quipu_status status = age_input_line(input, &header->text, err);
    if (status != QUIPU_OK) {
        return status;
    }
    *at = start;
    size_t len = header->text.len - start;
    if (len == 0 || header->text.data[header->text.len - 1] != '\n') {
        return refuse(header->text.len, "the file ends inside it", err);
    }
    *out = quipu_slice(header->text.data + start, len - 1);
    return QUIPU_OK;
}

static bool begins_with(struct quipu_slice line, const char *text)
{
    size_t len = strlen(text);
    return line.len >= len && memcmp(line.data, text, len) == 0;
}

static bool is_visible(struct quipu_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '!' || text.data[i] > '~') {
            return false;
        }
    }
    return text.len > 0;
}

static enum quipu_status read_version(struct age_input *input, struct age_header *header,
                                      struct quipu_error *err)
{
    struct quipu_slice line = {0};
    uint64_t at = 0;
    enum quipu_status status = take_line(input, header, &line, &at, err);
    if (status != QUIPU_OK && status != QUIPU_AGE_HEADER) {
        return status;
    }
    if (!begins_with(quipu_buf_slice(&header->text), MAGIC)) {
        return quipu_error_set(err, QUIPU_AGE, "not an age file: the armor holds something else");
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (quipu_slice_equal(quipu_buf_slice(&header->text), quipu_slice_text(AGE_VERSION_LINE))) {
        return QUIPU_OK;
    }
    size_t magic = strlen(MAGIC);
    if (!is_visible(quipu_slice(line.data + magic, line.len - magic))) {
        return refuse(magic, "its first line is not " MAGIC "v1 and a line feed", err);
    }
    return quipu_error_set_at(err, QUIPU_AGE_VERSION, magic,
                              "age header: its version is not v1, the one known here");
}

static bool split_arguments(struct quipu_slice line, struct arguments *out)
{
    struct quipu_slice rest =
        quipu_slice(line.data + strlen(STANZA_START), line.len - strlen(STANZA_START));
    out->count = 0;
    for (;;) {
        const uint8_t *space = rest.len == 0 ? NULL : memchr(rest.data, ' ', rest.len);
        size_t len = space == NULL ? rest.len : (size_t)(space - rest.data);
        struct quipu_slice argument = quipu_slice(rest.data, len);
        if (!is_visible(argument)) {
            return false;
        }
        if (out->count < ARGUMENTS_KEPT) {
            out->kept[out->count] = argument;
        }
        out->count++;
        if (space == NULL) {
            return true;
        }
        rest = quipu_slice(space + 1, rest.len - len - 1);
    }
}

static bool is_text(struct quipu_slice argument, const char *text)
{
    return quipu_slice_equal(argument, quipu_slice_text(text));
}

static enum age_stanza_type type_of(struct quipu_slice name)
{
    if (is_text(name, "X25519")) {
        return AGE_STANZA_X25519;
    }
    if (is_text(name, "scrypt")) {
        return AGE_STANZA_SCRYPT;
    }
    for (size_t i = 0; i < sizeof UNSUPPORTED / sizeof UNSUPPORTED[0]; i++) {
        if (is_text(name, UNSUPPORTED[i])) {
            return AGE_STANZA_UNSUPPORTED;
        }
    }
    return AGE_STANZA_OTHER;
}

/* Decimal digits, the first of them not 0. */
static bool read_work_factor(struct quipu_slice text, unsigned *out)
{
    unsigned value = 0;
    if (text.data[0] == '0') {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        value = value * 10 + (text.data[i] - (unsigned)'0');
        value = value > WORK_FACTOR_MANY ? WORK_FACTOR_MANY : value;
    }
    *out = value;
    return true;
}

/* NULL, or what is wrong with the first line of a stanza of ours. */
static const char *read_arguments(const struct arguments *arguments, struct age_stanza *stanza)
{
    if (stanza->type == AGE_STANZA_X25519) {
        if (arguments->count != 2 ||
            !age_base64_exact(arguments->kept[1], stanza->share, sizeof stanza->share)) {
            return "an X25519 stanza has one argument, 32 bytes in base64";
        }
    }
    if (stanza->type == AGE_STANZA_SCRYPT) {
        if (arguments->count != 3 ||
            !age_base64_exact(arguments->kept[1], stanza->share, AGE_SALT_BYTES) ||
            !read_work_factor(arguments->kept[2], &stanza->work_factor)) {
            return "an scrypt stanza has two arguments, 16 bytes in base64 and a decimal number";
        }
    }
    return NULL;
}

static bool is_ours(const struct age_stanza *stanza)
{
    return stanza->type == AGE_STANZA_X25519 || stanza->type == AGE_STANZA_SCRYPT;
}

/* The body: lines of 64 columns and a shorter one, which may be empty. */
static enum quipu_status read_body(struct age_input *input, struct age_header *header,
                                   struct age_stanza *stanza, struct quipu_error *err)
{
    uint8_t bytes[AGE_LINE_BYTES];
    size_t total = 0;
    struct quipu_slice line = {0};
    uint64_t at = 0;
    do {
        size_t len = 0;
        enum quipu_status status = take_line(input, header, &line, &at, err);
        if (status != QUIPU_OK) {
            return status;
        }
        if (line.len > AGE_LINE_CHARS ||
            !age_base64_decode(line, false, bytes, sizeof bytes, &len)) {
            return refuse(at,
                          "a line of a stanza's body is not canonical base64 of at most 64 "
                          "columns without padding",
                          err);
        }
        if (is_ours(stanza) && total == 0 && len == sizeof stanza->body) {
            memcpy(stanza->body, bytes, len);
        }
        total += len;
    } while (line.len == AGE_LINE_CHARS);
    if (is_ours(stanza) && total != sizeof stanza->body) {
        return refuse(at, "the body of an X25519 or scrypt stanza is not 32 bytes", err);
    }
    return QUIPU_OK;
}

static enum quipu_status read_stanza(struct age_input *input, struct age_header *header,
                                     struct quipu_slice line, uint64_t at, struct quipu_error *err)
{
    struct arguments arguments = {.count = 0};
    struct age_stanza stanza = {.type = AGE_STANZA_OTHER};
    if (!split_arguments(line, &arguments)) {
        return refuse(at, "a stanza's arguments are not visible ASCII, one space between them",
                      err);
    }
    stanza.type = type_of(arguments.kept[0]);
    const char *wrong = read_arguments(&arguments, &stanza);
    if (wrong != NULL) {
        return refuse(at, wrong, err);
    }
    enum quipu_status status = read_body(input, header, &stanza, err);
    if (status != QUIPU_OK) {
        return status;
    }
    header->stanza_count++;
    header->has_unsupported = header->has_unsupported || stanza.type == AGE_STANZA_UNSUPPORTED;
    header->has_scrypt = header->has_scrypt || stanza.type == AGE_STANZA_SCRYPT;
    /* A passphrase vouches for who encrypted, which no other recipient does. */
    if (header->has_scrypt && header->stanza_count > 1) {
        return refuse(at, "an scrypt stanza is not the only one", err);
    }
    if (is_ours(&stanza)) {
        quipu_buf_append(&header->stanzas, &stanza, sizeof stanza);
    }
    return header->stanzas.status == QUIPU_OK
               ? QUIPU_OK
               : quipu_error_set(err, header->stanzas.status, "no memory for an age header");
}

static enum quipu_status read_mac(struct age_header *header, struct quipu_slice line, uint64_t at,
                                  struct quipu_error *err)
{
    size_t skip = strlen(MAC_START) + 1;
    if (header->stanza_count == 0) {
        return refuse(at, "it has no stanza", err);
    }
    if (line.len < skip || line.data[skip - 1] != ' ' ||
        !age_base64_exact(quipu_slice(line.data + skip, line.len - skip), header->mac,
                          sizeof header->mac)) {
        return refuse(at, "its last line is not --- and 32 bytes in base64", err);
    }
    header->mac_at = (size_t)at + strlen(MAC_START);
    return QUIPU_OK;
}

enum quipu_status age_header_read(struct age_input *input, struct age_header *header,
                                  struct quipu_error *err)
{
    enum quipu_status status = read_version(input, header, err);
    while (status == QUIPU_OK) {
        struct quipu_slice line = {0};
        uint64_t at = 0;
        status = take_line(input, header, &line, &at, err);
        if (status != QUIPU_OK) {
            break;
        }
        if (begins_with(line, MAC_START)) {
            return read_mac(header, line, at, err);
        }
        status = begins_with(line, STANZA_START)
                     ? read_stanza(input, header, line, at, err)
                     : refuse(at, "a line that begins neither with \"-> \" nor with \"---\"", err);
    }
    return status;
}

size_t age_header_count(const struct age_header *header)
{
    return header->stanzas.len / sizeof(struct age_stanza);
}

void age_header_stanza(const struct age_header *header, size_t index, struct age_stanza *out)
{
    memcpy(out, header->stanzas.data + index * sizeof *out, sizeof *out);
}

void age_header_release(struct age_header *header)
{
    quipu_buf_release(&header->text);
    quipu_buf_release(&header->stanzas);
    *header = (struct age_header){.mac_at = 0};
}

/* ------------------------------------------------------------------ out */

/* At most 32 bytes. */
static void write_base64(struct quipu_buf *out, const uint8_t *bytes, size_t len)
{
    char text[AGE_BASE64_32];
    quipu_buf_append(out, text, age_base64_encode(quipu_slice(bytes, len), false, text));
}

void age_header_write_stanza(struct quipu_buf *out, const struct age_stanza *stanza)
{
    if (stanza->type == AGE_STANZA_SCRYPT) {
        quipu_buf_append_text(out, STANZA_START "scrypt ");
        write_base64(out, stanza->share, AGE_SALT_BYTES);
        quipu_buf_printf(out, " %u\n", stanza->work_factor);
    } else {
        quipu_buf_append_text(out, STANZA_START "X25519 ");
        write_base64(out, stanza->share, sizeof stanza->share);
        quipu_buf_append_byte(out, '\n');
    }
    write_base64(out, stanza->body, sizeof stanza->body);
    quipu_buf_append_byte(out, '\n');
}

void age_header_write_mac(struct quipu_buf *out, const uint8_t mac[AGE_MAC_BYTES])
{
    quipu_buf_append_byte(out, ' ');
    write_base64(out, mac, AGE_MAC_BYTES);
    quipu_buf_append_byte(out, '\n');
}

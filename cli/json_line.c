/*
 * JSON lines on stdout: one object a line, members in the order they are written, keys that do not
 * change between versions. CIDs and UUIDs are text, digests hexadecimal, times RFC 3339; payloads
 * and rows are DAG-JSON.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "print.h"

#include <inttypes.h>

#include "quipu/clock.h"
#include "quipu/dagjson.h"
#include "quipu/text.h"

static void append_comma(struct cli_json *json)
{
    if (json->has_member) {
        quipu_buf_append_byte(&json->buf, ',');
    }
    json->has_member = true;
}

static void append_key(struct cli_json *json, const char *key)
{
    append_comma(json);
    quipu_json_append_string(&json->buf, quipu_slice_text(key));
    quipu_buf_append_byte(&json->buf, ':');
}

void cli_json_begin(struct cli_json *json)
{
    quipu_buf_reset(&json->buf);
    quipu_buf_append_byte(&json->buf, '{');
    json->has_member = false;
}

void cli_json_text(struct cli_json *json, const char *key, struct quipu_slice value)
{
    append_key(json, key);
    quipu_json_append_string(&json->buf, value);
}

void cli_json_number(struct cli_json *json, const char *key, uint64_t value)
{
    append_key(json, key);
    quipu_buf_printf(&json->buf, "%" PRIu64, value);
}

void cli_json_bool(struct cli_json *json, const char *key, bool value)
{
    append_key(json, key);
    quipu_buf_append_text(&json->buf, value ? "true" : "false");
}

void cli_json_null(struct cli_json *json, const char *key)
{
    append_key(json, key);
    quipu_buf_append_text(&json->buf, "null");
}

void cli_json_cid(struct cli_json *json, const char *key, const struct quipu_cid *cid)
{
    char text[QUIPU_CID_TEXT_BYTES];
    quipu_cid_format(cid, text);
    cli_json_text(json, key, quipu_slice_text(text));
}

void cli_json_uuid(struct cli_json *json, const char *key, struct quipu_uuid uuid)
{
    char text[QUIPU_UUID_TEXT_BYTES];
    quipu_uuid_format(uuid, text);
    cli_json_text(json, key, quipu_slice_text(text));
}

void cli_json_hex(struct cli_json *json, const char *key, struct quipu_slice bytes)
{
    append_key(json, key);
    quipu_buf_append_byte(&json->buf, '"');
    quipu_hex_append(&json->buf, bytes);
    quipu_buf_append_byte(&json->buf, '"');
}

void cli_json_time(struct cli_json *json, const char *key, int64_t unix_us)
{
    char text[QUIPU_RFC3339_BYTES];
    quipu_rfc3339_format(unix_us, text);
    cli_json_text(json, key, quipu_slice_text(text));
}

void cli_json_raw(struct cli_json *json, const char *key, struct quipu_slice value)
{
    append_key(json, key);
    quipu_buf_append_slice(&json->buf, value);
}

enum quipu_status cli_json_bytes(struct quipu_slice bytes, struct quipu_buf *out,
                                 struct quipu_error *err)
{
    quipu_dagjson_append_bytes(out, bytes);
    return out->status == QUIPU_OK
               ? QUIPU_OK
               : quipu_error_set(err, out->status, "%zu bytes as text", bytes.len);
}

enum quipu_status cli_json_block(struct quipu_slice block, struct quipu_buf *out, bool *is_bytes,
                                 struct quipu_error *err)
{
    enum quipu_status status = quipu_dagjson_from_dagcbor(block, out, err);
    *is_bytes = status == QUIPU_DAGJSON;
    return *is_bytes ? cli_json_bytes(block, out, err) : status;
}

void cli_json_object(struct cli_json *json, const char *key)
{
    append_key(json, key);
    quipu_buf_append_byte(&json->buf, '{');
    json->has_member = false;
}

void cli_json_list(struct cli_json *json, const char *key)
{
    append_key(json, key);
    quipu_buf_append_byte(&json->buf, '[');
    json->has_member = false;
}

void cli_json_item(struct cli_json *json)
{
    append_comma(json);
    quipu_buf_append_byte(&json->buf, '{');
    json->has_member = false;
}

void cli_json_close(struct cli_json *json, char bracket)
{
    quipu_buf_append_byte(&json->buf, (uint8_t)bracket);
    json->has_member = true;
}

/* Bytes of the letter that the text begins with where it drives a terminal, hides or turns the
 * order, and JSON lets it through all the same: from U+007F on. 0: it may stand as it is. */
static size_t hidden_len(struct quipu_slice text, uint32_t *code)
{
    uint8_t first = text.data[0];
    size_t len = first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (first < 0x7f || len > text.len ||
        quipu_utf8_valid_prefix(quipu_slice(text.data, len)) != len) {
        return 0;
    }
    *code = len == 1 ? first : first & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        *code = *code << 6 | (text.data[i] & 0x3fu);
    }
    return quipu_text_is_hidden(*code) ? len : 0;
}

#define ESCAPE_BYTES 16

/* Beyond U+FFFF JSON has two escapes. */
static const char *escape(uint32_t code, char out[ESCAPE_BYTES])
{
    if (code > 0xffff) {
        uint32_t above = code - 0x10000;
        (void)snprintf(out, ESCAPE_BYTES, "\\u%04" PRIx32 "\\u%04" PRIx32, 0xd800 + (above >> 10),
                       0xdc00 + (above & 0x3ff));
    } else {
        (void)snprintf(out, ESCAPE_BYTES, "\\u%04" PRIx32, code);
    }
    return out;
}

void cli_put_json(struct quipu_slice json, FILE *out)
{
    char escaped[ESCAPE_BYTES];
    uint32_t code = 0;
    size_t run = 0;
    size_t at = 0;
    while (at < json.len) {
        size_t len = hidden_len(quipu_slice(json.data + at, json.len - at), &code);
        if (len > 0) {
            (void)fwrite(json.data + run, 1, at - run, out); /* main asks ferror at the end */
            (void)fputs(escape(code, escaped), out);
            run = at + len;
        }
        at += len > 0 ? len : 1;
    }
    (void)fwrite(json.data + run, 1, at - run, out); /* as above */
}

enum quipu_status cli_json_end(struct cli_json *json, struct quipu_error *err)
{
    quipu_buf_append_text(&json->buf, "}\n");
    if (json->buf.status != QUIPU_OK) {
        return quipu_error_set(err, json->buf.status, "a line of JSON: %s",
                               quipu_status_text(json->buf.status));
    }
    cli_put_json(quipu_buf_slice(&json->buf), stdout);
    return QUIPU_OK;
}

void cli_json_release(struct cli_json *json)
{
    quipu_buf_release(&json->buf);
}

static void append_break(struct quipu_buf *out, const char *margin, size_t depth)
{
    quipu_buf_append_byte(out, '\n');
    quipu_buf_append_text(out, margin);
    for (size_t i = 0; i < depth; i++) {
        quipu_buf_append_text(out, "  ");
    }
}

/* How many bytes of the string it took beside the first. */
static size_t append_in_string(struct quipu_buf *out, struct quipu_slice rest)
{
    char escaped[ESCAPE_BYTES];
    uint32_t code = 0;
    size_t len = hidden_len(rest, &code);
    if (len > 0) {
        quipu_buf_append_text(out, escape(code, escaped));
        return len - 1;
    }
    quipu_buf_append_byte(out, rest.data[0]);
    return 0;
}

/* Works on tokens, so the text keeps every character that it had. `json` is canonical: white space
 * occurs inside strings only, so a bracket that closes right behind the one that opens is empty. */
void cli_json_indent(struct quipu_slice json, const char *margin, struct quipu_buf *out)
{
    size_t depth = 0;
    bool is_string = false;
    uint8_t before = 0;
    quipu_buf_append_text(out, margin);
    for (size_t i = 0; i < json.len; i++) {
        uint8_t c = json.data[i];
        bool is_first = before == '{' || before == '[';
        if (is_string) {
            bool is_escaped = before == '\\';
            i += append_in_string(out, quipu_slice(json.data + i, json.len - i));
            is_string = is_escaped || c != '"';
            before = is_escaped ? 0 : c;
            continue;
        }
        if (c == '}' || c == ']') {
            if (!is_first) {
                depth--;
                append_break(out, margin, depth);
            }
        } else if (is_first) {
            depth++;
            append_break(out, margin, depth);
        }
        quipu_buf_append_byte(out, c);
        if (c == ',') {
            append_break(out, margin, depth);
        } else if (c == ':') {
            quipu_buf_append_byte(out, ' ');
        }
        is_string = c == '"';
        before = c;
    }
}

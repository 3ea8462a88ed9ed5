/*
 * Scanning a JSON object member by member. Bounded by its input, no recursion: nested values are
 * skipped by counting brackets outside of text.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "json_view.h"

#include <string.h>

struct json_view quipu_json_view(struct quipu_slice object)
{
    struct json_view view = {object.data, object.data, JSON_AT_START};
    if (object.len > 0) {
        view.end = object.data + object.len;
    }
    return view;
}

static void skip_space(struct json_view *view)
{
    while (view->at < view->end &&
           (*view->at == ' ' || *view->at == '\t' || *view->at == '\n' || *view->at == '\r')) {
        view->at++;
    }
}

static bool take_byte(struct json_view *view, uint8_t byte)
{
    skip_space(view);
    if (view->at == view->end || *view->at != byte) {
        return false;
    }
    view->at++;
    return true;
}

/* Text whose opening quote is next; `out` is what lies between the quotes. */
static bool take_text(struct json_view *view, struct quipu_slice *out)
{
    if (!take_byte(view, '"')) {
        return false;
    }
    const uint8_t *from = view->at;
    while (view->at < view->end && *view->at != '"') {
        view->at += *view->at == '\\' && view->end - view->at > 1 ? 2 : 1;
    }
    if (view->at >= view->end) {
        return false;
    }
    *out = quipu_slice(from, (size_t)(view->at - from));
    view->at++;
    return true;
}

static bool take_nested(struct json_view *view, struct quipu_slice *out)
{
    const uint8_t *from = view->at;
    size_t depth = 0;
    do {
        struct quipu_slice text;
        switch (*view->at) {
        case '"':
            if (!take_text(view, &text)) {
                return false;
            }
            continue;
        case '{':
        case '[':
            depth++;
            break;
        case '}':
        case ']':
            depth--;
            break;
        default:
            break;
        }
        view->at++;
    } while (depth > 0 && view->at < view->end);
    *out = quipu_slice(from, (size_t)(view->at - from));
    return depth == 0;
}

static bool take_plain(struct json_view *view, struct json_member *out)
{
    const uint8_t *from = view->at;
    while (view->at < view->end && strchr(",}] \t\r\n", *view->at) == NULL) {
        view->at++;
    }
    out->raw = quipu_slice(from, (size_t)(view->at - from));
    if (quipu_slice_equal(out->raw, quipu_slice_text("true"))) {
        out->kind = JSON_TRUE;
    } else if (quipu_slice_equal(out->raw, quipu_slice_text("false"))) {
        out->kind = JSON_FALSE;
    } else if (quipu_slice_equal(out->raw, quipu_slice_text("null"))) {
        out->kind = JSON_NULL;
    } else {
        out->kind = JSON_NUMBER;
        return out->raw.len > 0 && strchr("-0123456789", out->raw.data[0]) != NULL;
    }
    return true;
}

static bool take_value(struct json_view *view, struct json_member *out)
{
    skip_space(view);
    if (view->at == view->end) {
        return false;
    }
    if (*view->at == '"') {
        out->kind = JSON_TEXT;
        return take_text(view, &out->raw);
    }
    if (*view->at == '{' || *view->at == '[') {
        out->kind = JSON_NESTED;
        return take_nested(view, &out->raw);
    }
    return take_plain(view, out);
}

bool quipu_json_next(struct json_view *view, struct json_member *out)
{
    if (view->state == JSON_AT_END || view->state == JSON_BAD) {
        return false;
    }
    bool is_first = view->state == JSON_AT_START;
    view->state = JSON_BAD;
    if (is_first && !take_byte(view, '{')) {
        return false;
    }
    if (take_byte(view, '}')) {
        view->state = JSON_AT_END;
        return false;
    }
    if ((!is_first && !take_byte(view, ',')) || !take_text(view, &out->key) ||
        !take_byte(view, ':') || !take_value(view, out)) {
        return false;
    }
    view->state = JSON_INSIDE;
    return true;
}

bool quipu_json_key_is(const struct json_member *member, const char *key)
{
    return quipu_slice_equal(member->key, quipu_slice_text(key));
}

bool quipu_json_u64(const struct json_member *member, uint64_t *out)
{
    if (member->kind != JSON_NUMBER || member->raw.len == 0) {
        return false;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < member->raw.len; i++) {
        uint8_t c = member->raw.data[i];
        if (c < '0' || c > '9') {
            return false;
        }
        uint64_t digit = (uint64_t)(c - '0');
        if (value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

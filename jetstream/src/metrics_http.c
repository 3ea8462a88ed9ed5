/*
 * Reading one HTTP/1.1 request, strictly: lines end with CR LF, no folded headers, no body, one
 * Host and that one loopback's own name, so that no web page of elsewhere reads the figures through
 * its visitor's browser (DNS rebinding).
 *
 * Our own, because what is needed of HTTP is 150 lines, and the well-kept library (libmicrohttpd)
 * brings a TLS library and its five others into a program that has a TLS library already.
 *
 * Specification: RFC 9110, RFC 9112.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "metrics_http.h"

#include <string.h>

static const struct {
    int status;
    const char *reason;
} reasons[] = {
    {200, "OK"},
    {400, "Bad Request"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {413, "Content Too Large"},
    {421, "Misdirected Request"},
    {431, "Request Header Fields Too Large"},
    {503, "Service Unavailable"},
    {505, "HTTP Version Not Supported"},
};

const char *quipu_http_reason(int status)
{
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        if (reasons[i].status == status) {
            return reasons[i].reason;
        }
    }
    return "Unknown";
}

size_t quipu_http_head_len(struct quipu_slice text)
{
    for (size_t i = 3; i < text.len; i++) {
        if (memcmp(text.data + i - 3, "\r\n\r\n", 4) == 0) {
            return i + 1;
        }
    }
    return 0;
}

/* The line at the front, without its end; advances. False: not ended by CR LF, or with a control
 * character in it. */
static bool take_line(struct quipu_slice *text, struct quipu_slice *line)
{
    for (size_t i = 0; i < text->len; i++) {
        uint8_t c = text->data[i];
        if (c == '\r') {
            if (i + 1 >= text->len || text->data[i + 1] != '\n') {
                return false;
            }
            *line = quipu_slice(text->data, i);
            *text = quipu_slice(text->data + i + 2, text->len - i - 2);
            return true;
        }
        if ((c < ' ' && c != '\t') || c == 0x7f) {
            return false;
        }
    }
    return false;
}

/* Up to `end`, which is taken too. False: it is not there, or nothing is before it. */
static bool take_until(struct quipu_slice *text, char end, struct quipu_slice *out)
{
    const uint8_t *at = text->len == 0 ? NULL : memchr(text->data, end, text->len);
    if (at == NULL || at == text->data) {
        return false;
    }
    size_t len = (size_t)(at - text->data);
    *out = quipu_slice(text->data, len);
    *text = quipu_slice(at + 1, text->len - len - 1);
    return true;
}

static bool is_text(struct quipu_slice slice, const char *text)
{
    return quipu_slice_equal(slice, quipu_slice_text(text));
}

static bool is_name(struct quipu_slice slice, const char *lower)
{
    size_t len = strlen(lower);
    for (size_t i = 0; i < slice.len && i < len; i++) {
        uint8_t c = slice.data[i];
        c = (uint8_t)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
        if (c != (uint8_t)lower[i]) {
            return false;
        }
    }
    return slice.len == len;
}

static bool is_token(struct quipu_slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        bool is_alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_alnum && (c == 0 || strchr("!#$%&'*+-.^_`|~", c) == NULL)) {
            return false;
        }
    }
    return name.len > 0;
}

static struct quipu_slice trim(struct quipu_slice value)
{
    while (value.len > 0 && (value.data[0] == ' ' || value.data[0] == '\t')) {
        value = quipu_slice(value.data + 1, value.len - 1);
    }
    while (value.len > 0 &&
           (value.data[value.len - 1] == ' ' || value.data[value.len - 1] == '\t')) {
        value.len--;
    }
    return value;
}

/* "127.0.0.1", "localhost" or "[::1]", with a port or without. */
static bool is_loopback_host(struct quipu_slice host)
{
    static const char *const names[] = {"localhost", "[::1]"};
    size_t colon = host.len;
    while (colon > 0 && host.data[colon - 1] >= '0' && host.data[colon - 1] <= '9') {
        colon--;
    }
    struct quipu_slice name = host;
    if (colon > 0 && colon < host.len && host.data[colon - 1] == ':') {
        name.len = colon - 1;
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (is_name(name, names[i])) {
            return true;
        }
    }
    if (name.len < 9 || memcmp(name.data, "127.", 4) != 0) {
        return false;
    }
    for (size_t i = 4; i < name.len; i++) { /* a name such as 127.evil.example is none */
        if (name.data[i] != '.' && (name.data[i] < '0' || name.data[i] > '9')) {
            return false;
        }
    }
    return true;
}

/* The header lines up to the empty one. */
static int read_headers(struct quipu_slice head)
{
    struct quipu_slice line;
    int hosts = 0;
    bool is_ours = true;
    bool has_body = false;
    for (;;) {
        struct quipu_slice name;
        if (!take_line(&head, &line)) {
            return 400;
        }
        if (line.len == 0) {
            break;
        }
        if (!take_until(&line, ':', &name) || !is_token(name)) {
            return 400; /* folded lines too */
        }
        struct quipu_slice value = trim(line);
        if (is_name(name, "host")) {
            hosts++;
            is_ours = is_ours && is_loopback_host(value);
        } else if (is_name(name, "transfer-encoding") ||
                   (is_name(name, "content-length") && !is_text(value, "0"))) {
            has_body = true;
        }
    }
    if (hosts != 1) {
        return 400;
    }
    return !is_ours ? 421 : has_body ? 413 : 200;
}

int quipu_http_read(struct quipu_slice head, struct http_request *out)
{
    struct quipu_slice line;
    struct quipu_slice method;
    struct quipu_slice target;
    if (!take_line(&head, &line) || !take_until(&line, ' ', &method) || !is_token(method) ||
        !take_until(&line, ' ', &target) || line.len != 8 || memcmp(line.data, "HTTP/", 5) != 0) {
        return 400;
    }
    if (!is_text(line, "HTTP/1.1") && !is_text(line, "HTTP/1.0")) {
        return 505;
    }
    int status = read_headers(head);
    if (status != 200) {
        return status;
    }
    out->is_head = is_text(method, "HEAD");
    if (!out->is_head && !is_text(method, "GET")) {
        return 405;
    }
    if (is_text(target, "/metrics")) {
        out->target = HTTP_METRICS;
    } else if (is_text(target, "/healthz")) {
        out->target = HTTP_HEALTHZ;
    } else {
        return 404;
    }
    return 200;
}

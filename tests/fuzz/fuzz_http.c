/*
 * Requests to the metrics. Properties: a head ends at its first empty line and nowhere before; what
 * is answered with 200 is one of eight request lines with one Host line, without a byte that
 * another reader of HTTP could take for a line's end; a header line more changes no verdict, unless
 * it is a second Host or says that a body follows.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>
#include <strings.h>

#include "fuzz.h"
#include "metrics_http.h"
#include "quipu/buf.h"

static bool is_one_of(int status)
{
    static const int known[] = {200, 400, 404, 405, 413, 421, 505};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i] == status) {
            return true;
        }
    }
    return false;
}

static void require_head_ends(struct quipu_slice text, size_t len)
{
    const uint8_t *end = text.len == 0 ? NULL : memmem(text.data, text.len, "\r\n\r\n", 4);
    FUZZ_REQUIRE(len == (end == NULL ? 0 : (size_t)(end - text.data) + 4));
    if (len > 0) {
        FUZZ_REQUIRE(quipu_http_head_len(quipu_slice(text.data, len - 1)) == 0);
        FUZZ_REQUIRE(quipu_http_head_len(quipu_slice(text.data, len)) == len);
    }
}

/* Line ends are CR LF, and no other control character but a tab stands anywhere. */
static void require_plain(struct quipu_slice head)
{
    for (size_t i = 0; i < head.len; i++) {
        uint8_t c = head.data[i];
        if (c == '\r') {
            FUZZ_REQUIRE(i + 1 < head.len && head.data[i + 1] == '\n');
        } else if (c == '\n') {
            FUZZ_REQUIRE(i > 0 && head.data[i - 1] == '\r');
        } else {
            FUZZ_REQUIRE(c == '\t' || (c >= ' ' && c != 0x7f));
        }
    }
}

static int count_hosts(struct quipu_slice head)
{
    int hosts = 0;
    for (size_t i = 0; i + 6 < head.len; i++) {
        bool is_line = i >= 2 && head.data[i - 2] == '\r' && head.data[i - 1] == '\n';
        hosts += is_line && strncasecmp((const char *)head.data + i, "host:", 5) == 0;
    }
    return hosts;
}

static void require_request(struct quipu_slice head, const struct http_request *request)
{
    char line[64];
    bool is_found = false;
    for (int version = 0; version < 2 && !is_found; version++) {
        int len =
            snprintf(line, sizeof line, "%s %s HTTP/1.%d\r\n", request->is_head ? "HEAD" : "GET",
                     request->target == HTTP_METRICS ? "/metrics" : "/healthz", version);
        is_found = head.len > (size_t)len && memcmp(head.data, line, (size_t)len) == 0;
    }
    FUZZ_REQUIRE(is_found);
    FUZZ_REQUIRE(count_hosts(head) == 1);
    require_plain(head);
}

/* The verdict on the head with one header line more, in front of the empty line. */
static int verdict_with(struct quipu_slice head, const char *line)
{
    struct quipu_buf longer = QUIPU_BUF_INIT;
    struct http_request request;
    quipu_buf_append(&longer, head.data, head.len - 2);
    quipu_buf_append_text(&longer, line);
    quipu_buf_append_text(&longer, "\r\n");
    FUZZ_REQUIRE(longer.status == QUIPU_OK);
    int status = quipu_http_read(quipu_buf_slice(&longer), &request);
    quipu_buf_release(&longer);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct quipu_slice text = quipu_slice(data, size);
    struct http_request request = {.target = HTTP_HEALTHZ};
    size_t len = quipu_http_head_len(text);
    require_head_ends(text, len);
    if (len == 0) {
        return 0;
    }
    struct quipu_slice head = quipu_slice(data, len);
    int status = quipu_http_read(head, &request);
    FUZZ_REQUIRE(is_one_of(status));
    FUZZ_REQUIRE(strcmp(quipu_http_reason(status), "Unknown") != 0);
    if (status == 200) {
        require_request(head, &request);
    }
    FUZZ_REQUIRE(verdict_with(head, "X-Fuzz: 1\r\n") == status);
    if (status != 400 && status != 505) {
        FUZZ_REQUIRE(verdict_with(head, "hOST: localhost\r\n") == 400);
        FUZZ_REQUIRE(verdict_with(head, " folded: 1\r\n") == 400);
        FUZZ_REQUIRE(verdict_with(head, "Content-Length: 1\r\n") == (status == 421 ? 421 : 413));
    }
    return 0;
}

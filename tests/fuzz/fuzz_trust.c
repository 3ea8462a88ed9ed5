/*
 * Property: allowed signers that are accepted trust exactly the keys that stand in them, in spans
 * and namespaces that are well-formed, a line alone means what it means in its file, and so does
 * the line that is written of what was read.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "fuzz.h"

#include <sodium.h>
#include <string.h>
#include <time.h>

#include "internal/bytes.h"
#include "quipu/buf.h"
#include "quipu/trust.h"

/* The line `number` of the text, without its end. */
static struct quipu_slice line_of(struct quipu_slice text, uint64_t number)
{
    size_t from = 0;
    for (uint64_t line = 1; line < number; line++) {
        const uint8_t *end = memchr(text.data + from, '\n', text.len - from);
        FUZZ_REQUIRE(end != NULL);
        from = (size_t)(end - text.data) + 1;
    }
    const uint8_t *end = memchr(text.data + from, '\n', text.len - from);
    size_t len = end == NULL ? text.len - from : (size_t)(end - text.data) - from;
    return quipu_slice(text.data + from, len);
}

/* The one signer of a line. */
static void require_the_same(const struct quipu_trust_signer *signer, struct quipu_slice line)
{
    struct quipu_trust *alone = NULL;
    FUZZ_REQUIRE(quipu_trust_parse(line, &alone, NULL) == QUIPU_OK);
    FUZZ_REQUIRE(quipu_trust_count(alone) == 1);
    const struct quipu_trust_signer *same = quipu_trust_signer_at(alone, 0);
    FUZZ_REQUIRE(quipu_slice_equal(same->principals, signer->principals));
    FUZZ_REQUIRE(quipu_slice_equal(same->namespaces, signer->namespaces));
    FUZZ_REQUIRE(quipu_slice_equal(same->key, signer->key) && same->type == signer->type);
    FUZZ_REQUIRE(same->valid_after_unix_us == signer->valid_after_unix_us);
    FUZZ_REQUIRE(same->valid_before_unix_us == signer->valid_before_unix_us);
    quipu_trust_free(&alone);
}

static void write_option(struct quipu_buf *line, const char *name, struct quipu_slice value)
{
    uint8_t last = line->data[line->len - 1];
    quipu_buf_append_text(line, last == ' ' ? "" : ",");
    quipu_buf_append_text(line, name);
    quipu_buf_append_text(line, "=\"");
    quipu_buf_append_slice(line, value);
    quipu_buf_append_text(line, "\"");
}

static void write_time(struct quipu_buf *line, const char *name, int64_t unix_us)
{
    char text[32];
    struct tm when;
    time_t seconds = (time_t)(unix_us / 1000000);
    FUZZ_REQUIRE(gmtime_r(&seconds, &when) != NULL);
    size_t len = strftime(text, sizeof text, "%Y%m%d%H%M%SZ", &when);
    write_option(line, name, quipu_slice((const uint8_t *)text, len));
}

/* The line of what was read, in one form for all that mean the same. */
static void require_the_same_written(const struct quipu_trust_signer *signer)
{
    struct quipu_buf line = QUIPU_BUF_INIT;
    struct quipu_slice key = signer->key;
    FUZZ_REQUIRE(key.len > 4);
    size_t type_len = quipu_load_be32(key.data);
    FUZZ_REQUIRE(type_len > 0 && type_len <= key.len - 4);
    quipu_buf_append_slice(&line, signer->principals);
    quipu_buf_append_byte(&line, ' ');
    size_t before = line.len;
    if (signer->namespaces.len > 0) {
        write_option(&line, "namespaces", signer->namespaces);
    }
    if (signer->valid_after_unix_us != INT64_MIN) {
        write_time(&line, "valid-after", signer->valid_after_unix_us);
    }
    if (signer->valid_before_unix_us != INT64_MAX) {
        write_time(&line, "valid-before", signer->valid_before_unix_us);
    }
    quipu_buf_append_text(&line, line.len == before ? "" : " ");
    quipu_buf_append_slice(&line, quipu_slice(key.data + 4, type_len));
    quipu_buf_append_byte(&line, ' ');
    size_t room = sodium_base64_ENCODED_LEN(key.len, sodium_base64_VARIANT_ORIGINAL);
    char *text = (char *)quipu_buf_reserve(&line, room);
    FUZZ_REQUIRE(text != NULL);
    (void)sodium_bin2base64(text, room, key.data, key.len, sodium_base64_VARIANT_ORIGINAL);
    line.len += room - 1;
    FUZZ_REQUIRE(line.status == QUIPU_OK);
    require_the_same(signer, quipu_buf_slice(&line));
    quipu_buf_release(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct quipu_slice text = quipu_slice(data, size);
    struct quipu_trust *trust = NULL;
    struct quipu_error err = {.offset = 0};
    enum quipu_status status = quipu_trust_parse(text, &trust, &err);
    if (status != QUIPU_OK) {
        FUZZ_REQUIRE(status == QUIPU_INVALID || status == QUIPU_TOO_LARGE);
        FUZZ_REQUIRE(err.status == status && trust == NULL);
        return 0;
    }
    for (size_t i = 0; i < quipu_trust_count(trust) && i < 8; i++) {
        const struct quipu_trust_signer *signer = quipu_trust_signer_at(trust, i);
        FUZZ_REQUIRE(signer->principals.len > 0 && signer->line > 0);
        require_the_same(signer, line_of(text, signer->line));
        require_the_same_written(signer);
        const struct quipu_trust_signer *found =
            quipu_trust_find(trust, signer->key, "quipu-bundle@v1", 0);
        FUZZ_REQUIRE(found != NULL || !quipu_trust_signer_may(signer, "quipu-bundle@v1", 0));
        FUZZ_REQUIRE(found == NULL || quipu_slice_equal(found->key, signer->key));
    }
    FUZZ_REQUIRE(quipu_trust_signer_at(trust, quipu_trust_count(trust)) == NULL);
    quipu_trust_free(&trust);
    return 0;
}

/*
 * Settings from TOML. Properties: a fault, and every key and value, has a place in the text; a
 * value that is taken is written back as text that gives the same value, whatever it was before;
 * settings that are in order still are when they went through text, and a refusal says which key is
 * at fault.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "fuzz.h"
#include "quipu/config.h"
#include "toml_shim.h"

#define TEXTS_MAX 256

struct reading {
    struct quipu_slice text;
    uint32_t lines;
    struct quipu_config config;
    char *texts[TEXTS_MAX]; /* settings borrow their texts */
    size_t text_count;
};

/* ------------------------------------------------------------------ places */

static uint32_t count_lines(struct quipu_slice text)
{
    uint32_t lines = 1;
    for (size_t i = 0; i < text.len; i++) {
        lines += text.data[i] == '\n';
    }
    return lines;
}

static void require_place(const struct reading *reading, struct cli_toml_place place)
{
    FUZZ_REQUIRE(place.line >= 1 && place.line <= reading->lines);
    FUZZ_REQUIRE(place.column >= 1 && place.column <= reading->text.len + 1);
}

/* ------------------------------------------------------------------ one value */

static void append_value(const struct quipu_config *config, const struct quipu_config_key *key,
                         struct quipu_buf *out)
{
    quipu_config_format(config, key, out);
    quipu_buf_append_byte(out, 0);
    FUZZ_REQUIRE(out->status == QUIPU_OK);
}

static bool is_number(enum quipu_config_kind kind)
{
    return kind == QUIPU_CONFIG_NUMBER || kind == QUIPU_CONFIG_BYTES ||
           kind == QUIPU_CONFIG_DURATION;
}

/* Through text into other settings and back. */
static void require_comes_back(const struct quipu_config *config,
                               const struct quipu_config_key *key, struct quipu_config *other)
{
    struct quipu_buf text = QUIPU_BUF_INIT;
    struct quipu_buf again = QUIPU_BUF_INIT;
    if (key->is_secret || !quipu_config_has(config, key)) {
        return; /* a secret is never written */
    }
    append_value(config, key, &text);
    const char *shown = (const char *)text.data;
    enum quipu_status status = quipu_config_set_text(other, key, shown, NULL);
    /* The word for "nobody has said" cannot be given. */
    FUZZ_REQUIRE(status == QUIPU_OK || key->word_first > 0);
    if (status == QUIPU_OK) {
        append_value(other, key, &again);
        FUZZ_REQUIRE(strcmp(shown, (const char *)again.data) == 0);
        if (is_number(key->kind)) {
            FUZZ_REQUIRE(memcmp((const char *)config + key->offset,
                                (const char *)other + key->offset, sizeof(uint64_t)) == 0);
        }
        quipu_config_unset(other, key); /* its text goes now */
    }
    quipu_buf_release(&text);
    quipu_buf_release(&again);
}

static enum quipu_status set_value(struct reading *reading, const struct quipu_config_key *key,
                                   const struct cli_toml_item *item, struct quipu_error *err)
{
    if (item->kind == CLI_TOML_BOOL) {
        return quipu_config_set_bool(&reading->config, key, item->truth, err);
    }
    if (item->kind == CLI_TOML_INTEGER) {
        return quipu_config_set_number(&reading->config, key, item->integer, err);
    }
    if (item->kind != CLI_TOML_TEXT || reading->text_count == TEXTS_MAX) {
        return quipu_error_set(err, QUIPU_INVALID, "no value of a setting");
    }
    char *kept = malloc(item->text_len + 1);
    FUZZ_REQUIRE(kept != NULL);
    memcpy(kept, item->text, item->text_len + 1);
    reading->texts[reading->text_count++] = kept;
    return quipu_config_set_text(&reading->config, key, kept, err);
}

static bool visit(void *ctx, const struct cli_toml_item *item)
{
    struct reading *reading = ctx;
    struct quipu_slice path = quipu_slice_text(item->path);
    struct quipu_error err = {.offset = 0};
    require_place(reading, item->key);
    require_place(reading, item->value);
    FUZZ_REQUIRE(item->kind != CLI_TOML_TEXT || item->text[item->text_len] == 0);
    if (item->kind == CLI_TOML_TABLE) {
        return quipu_config_is_section(path);
    }
    const struct quipu_config_key *key = quipu_config_key_find(path);
    if (key == NULL) {
        const struct quipu_config_key *near = quipu_config_key_nearest(path);
        FUZZ_REQUIRE(near == NULL || quipu_config_key_find(quipu_slice_text(near->path)) == near);
        return false;
    }
    FUZZ_REQUIRE(strcmp(key->path, item->path) == 0);
    struct quipu_config other = reading->config;
    if (set_value(reading, key, item, &err) == QUIPU_OK) {
        require_comes_back(&reading->config, key, &other);
        return false;
    }
    FUZZ_REQUIRE(err.status == QUIPU_INVALID && err.message[0] != 0);
    FUZZ_REQUIRE(memcmp(&other, &reading->config, sizeof other) == 0);
    return false;
}

/* ------------------------------------------------------------------ all of them */

static void require_whole(const struct reading *reading)
{
    size_t count = 0;
    const struct quipu_config_key *keys = quipu_config_keys(&count);
    const struct quipu_config_key *at = NULL;
    struct quipu_error err = {.offset = 0};
    struct quipu_config other;
    enum quipu_status status = quipu_config_validate(&reading->config, &at, &err);
    FUZZ_REQUIRE(status == QUIPU_OK || status == QUIPU_INVALID);
    if (status != QUIPU_OK) {
        FUZZ_REQUIRE(err.status == status && err.message[0] != 0);
        FUZZ_REQUIRE(at == NULL || quipu_config_key_find(quipu_slice_text(at->path)) == at);
        return;
    }
    quipu_config_init(&other);
    for (size_t i = 0; i < count; i++) {
        require_comes_back(&reading->config, &keys[i], &other);
    }
    FUZZ_REQUIRE(!quipu_config_publishes(&reading->config) ||
                 quipu_config_may_connect(&reading->config));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cli_toml_fault fault;
    struct reading reading = {.text = quipu_slice(data, size)};
    reading.lines = count_lines(reading.text);
    memset(&fault, 0x5a, sizeof fault);
    quipu_config_init(&reading.config);
    if (size == 0) {
        return 0; /* an empty file is not parsed */
    }
    switch (cli_toml_read((const char *)data, size, visit, &reading, &fault)) {
    case CLI_TOML_OK:
        require_whole(&reading);
        break;
    case CLI_TOML_SYNTAX:
        require_place(&reading, fault.place);
        FUZZ_REQUIRE(memchr(fault.line, 0, sizeof fault.line) != NULL && fault.line[0] != 0);
        break;
    case CLI_TOML_MEMORY:
    case CLI_TOML_NOT_BUILT:
        FUZZ_REQUIRE(false);
    }
    for (size_t i = 0; i < reading.text_count; i++) {
        free(reading.texts[i]);
    }
    return 0;
}

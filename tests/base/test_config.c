/*
 * Settings as plain values: every default is valid and comes back from its text, ranges end where
 * they say, and what cannot be meant together is refused with the key that is at fault.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>

#include "quipu/config.h"

static const struct quipu_config_key *key(const char *path)
{
    const struct quipu_config_key *found = quipu_config_key_find(quipu_slice_text(path));
    cr_assert_not_null(found, "%s", path);
    return found;
}

static const char *shown(const struct quipu_config *config, const char *path, char out[128])
{
    struct quipu_buf text;
    quipu_buf_init_fixed(&text, out, 128);
    quipu_config_format(config, key(path), &text);
    quipu_buf_append_byte(&text, 0);
    cr_assert_eq(text.status, QUIPU_OK);
    return out;
}

Test(config_keys, every_default_is_valid_and_reads_back_as_it_is_shown)
{
    struct quipu_config config;
    quipu_config_init(&config);
    size_t count;
    const struct quipu_config_key *keys = quipu_config_keys(&count);
    cr_assert_geq(count, 30);
    cr_assert_eq(quipu_config_validate(&config, NULL, NULL), QUIPU_OK);

    for (size_t i = 0; i < count; i++) {
        char text[128];
        const char *fallback = keys[i].fallback;
        cr_assert_eq(quipu_config_has(&config, &keys[i]), fallback != NULL, "%s", keys[i].path);
        if (fallback == NULL || keys[i].word_first > 0) {
            continue;
        }
        struct quipu_config other = {.size = sizeof other};
        struct quipu_error err = {0};
        cr_assert_eq(quipu_config_set_text(&other, &keys[i], fallback, &err), QUIPU_OK, "%s",
                     err.message);
        shown(&config, keys[i].path, text);
        cr_assert_eq(quipu_config_set_text(&config, &keys[i], text, &err), QUIPU_OK, "%s",
                     err.message);
        struct quipu_buf again;
        char storage[128];
        quipu_buf_init_fixed(&again, storage, sizeof storage);
        quipu_config_format(&other, &keys[i], &again);
        cr_assert(quipu_slice_equal(quipu_buf_slice(&again), quipu_slice_text(text)), "%s",
                  keys[i].path);
    }
}

Test(config_keys, names_and_variables_are_unique_and_belong_together)
{
    size_t count;
    const struct quipu_config_key *keys = quipu_config_keys(&count);
    for (size_t i = 0; i < count; i++) {
        char path[128];
        (void)snprintf(path, sizeof path, "%s.%s", keys[i].section, keys[i].name);
        cr_assert_str_eq(keys[i].path, path);
        cr_assert_eq(strncmp(keys[i].environment, "QUIPU_", 6), 0, "%s", path);
        cr_assert(quipu_config_is_section(quipu_slice_text(keys[i].section)));
        for (size_t j = 0; j < i; j++) {
            cr_assert_str_neq(keys[i].path, keys[j].path);
            cr_assert_str_neq(keys[i].environment, keys[j].environment);
            cr_assert_neq(keys[i].offset, keys[j].offset, "%s", path);
        }
    }
    cr_assert_not(quipu_config_is_section(quipu_slice_text("nat")));
    cr_assert_null(quipu_config_key_find(quipu_slice_text("nats")));
}

Test(config_keys, the_nearest_key_is_the_one_that_was_meant)
{
    static const struct {
        const char *wrong;
        const char *meant; /* NULL: nothing is near */
    } rows[] = {
        {"nats.strem_name", "nats.stream_name"},
        {"nats.streamname", "nats.stream_name"},
        {"nats.ca_cert", "nats.tls.ca_cert"},
        {"nats.tls.ca_crt", "nats.tls.ca_cert"},
        {"storage.directory", NULL},
        {"storage.backup", NULL},
        {"storage.enable_backups", "storage.enable_backup"},
        {"mode.mod", "mode.mode"},
        {"nats.jetstream.replica", "nats.jetstream.replicas"},
        {"nats.jetstream.dedup", "nats.dedup"},
        {"colour", NULL},
        {"", NULL},
        {"nats.", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct quipu_config_key *near =
            quipu_config_key_nearest(quipu_slice_text(rows[i].wrong));
        cr_assert_eq(near == NULL, rows[i].meant == NULL, "%s: %s", rows[i].wrong,
                     near == NULL ? "nothing" : near->path);
        if (near != NULL) {
            cr_assert_str_eq(near->path, rows[i].meant);
        }
    }
    char longest[300];
    memset(longest, 'a', sizeof longest);
    cr_assert_null(quipu_config_key_nearest(quipu_slice(longest, sizeof longest)));
}

Test(config_values, durations_have_a_unit_or_are_seconds)
{
    static const struct {
        const char *text;
        int64_t us; /* -1: refused */
    } rows[] = {
        {"500ms", 500000},
        {"30s", 30000000},
        {"5m", 300000000},
        {"12h", INT64_C(43200000000)},
        {"30d", INT64_C(2592000000000)},
        {"7us", 7},
        {"0s", 0},
        {"", -1},
        {"s", -1},
        {"5", -1},
        {"5 m", -1},
        {"-5m", -1},
        {"5M", -1},
        {"1.5s", -1},
        {"5mm", -1},
        {"106751991d", INT64_C(9223372022400000000)},
        {"106751992d", -1},
        {"9223372036854775807us", INT64_MAX},
        {"9223372036854775808us", -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t us = -1;
        enum quipu_status status = quipu_duration_parse(quipu_slice_text(rows[i].text), &us);
        cr_assert_eq(status, rows[i].us < 0 ? QUIPU_INVALID : QUIPU_OK, "%s", rows[i].text);
        cr_assert_eq(us, rows[i].us, "%s: %" PRId64, rows[i].text, us);
    }
    struct quipu_config config;
    quipu_config_init(&config);
    const struct quipu_config_key *timeout = key("nats.connection_timeout_secs");
    cr_assert_eq(quipu_config_set_number(&config, timeout, 7, NULL), QUIPU_OK);
    cr_assert_eq(config.nats.connection_timeout_us, 7000000);
    cr_assert_eq(quipu_config_set_text(&config, timeout, "9", NULL), QUIPU_OK);
    cr_assert_eq(config.nats.connection_timeout_us, 9000000);
    cr_assert_eq(quipu_config_set_number(&config, timeout, INT64_MAX, NULL), QUIPU_INVALID);
    cr_assert_eq(quipu_config_set_number(&config, timeout, -1, NULL), QUIPU_INVALID);
    cr_assert_eq(config.nats.connection_timeout_us, 9000000);
}

Test(config_values, sizes_have_decimal_and_binary_units)
{
    static const struct {
        const char *text;
        uint64_t bytes;
        bool is_good;
    } rows[] = {
        {"512B", 512, true},
        {"64kB", 64000, true},
        {"64KiB", 65536, true},
        {"10MiB", UINT64_C(10485760), true},
        {"2GB", UINT64_C(2000000000), true},
        {"1TiB", UINT64_C(1099511627776), true},
        {"10", 0, false},
        {"10M", 0, false},
        {"10 MiB", 0, false},
        {"8388608TiB", 0, false},
        {"9223372036854775807B", INT64_MAX, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t bytes = 0;
        enum quipu_status status = quipu_bytes_parse(quipu_slice_text(rows[i].text), &bytes);
        cr_assert_eq(status, rows[i].is_good ? QUIPU_OK : QUIPU_INVALID, "%s", rows[i].text);
        cr_assert_eq(bytes, rows[i].bytes, "%s", rows[i].text);
    }
}

Test(config_values, ranges_end_where_they_say)
{
    struct quipu_config config;
    quipu_config_init(&config);
    size_t count;
    const struct quipu_config_key *keys = quipu_config_keys(&count);
    for (size_t i = 0; i < count; i++) {
        bool is_number = keys[i].kind == QUIPU_CONFIG_NUMBER || keys[i].kind == QUIPU_CONFIG_BYTES;
        if (!is_number) {
            continue;
        }
        cr_assert_eq(quipu_config_set_number(&config, &keys[i], keys[i].min, NULL), QUIPU_OK);
        cr_assert_eq(quipu_config_set_number(&config, &keys[i], keys[i].max, NULL), QUIPU_OK);
        cr_assert_eq(quipu_config_set_number(&config, &keys[i], keys[i].min - 1, NULL),
                     QUIPU_INVALID);
        if (keys[i].max < INT64_MAX) {
            cr_assert_eq(quipu_config_set_number(&config, &keys[i], keys[i].max + 1, NULL),
                         QUIPU_INVALID);
        }
    }
    cr_assert_eq(config.jetstream.replicas, 5);
}

Test(config_values, a_refused_value_says_what_is_wanted_and_changes_nothing)
{
    static const struct {
        const char *path;
        const char *text;
        const char *line;
    } rows[] = {
        {"nats.enabled", "yes",
         "nats.enabled wants true or false, found \"yes\"; write enabled = true"},
        {"nats.jetstream.replicas", "6",
         "nats.jetstream.replicas wants a whole number from 1 to 5, found \"6\"; write replicas = "
         "1"},
        {"nats.jetstream.replicas", "two",
         "nats.jetstream.replicas wants a whole number from 1 to 5, found \"two\"; write replicas "
         "= 1"},
        {"mode.mode", "offline",
         "mode.mode wants \"Offline\" or \"Online\" or \"Hybrid\", found \"offline\"; write mode = "
         "\"Hybrid\""},
        {"mode.mode", "none",
         "mode.mode wants \"Offline\" or \"Online\" or \"Hybrid\", found \"none\"; write mode = "
         "\"Hybrid\""},
        {"nats.connection_timeout_secs", "2h",
         "nats.connection_timeout_secs wants a duration from 1ms to 1h, found \"2h\"; write "
         "connection_timeout_secs = 5"},
        {"nats.stream_name", "A.B",
         "nats.stream_name wants letters, digits, \"_\" and \"-\", found \"A.B\"; write "
         "stream_name = \"CIM_KEYS_EVENTS\""},
        {"nats.jetstream.max_bytes", "10 MB",
         "nats.jetstream.max_bytes wants a size such as 512kB or 10MiB, found \"10 MB\"; write "
         "max_bytes = \"10GiB\""},
        {"nats.user", "a\nb",
         "nats.user holds a control character or is not UTF-8; write user = \"keys\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct quipu_config config;
        struct quipu_config before;
        memset(&before, 0, sizeof before);
        memset(&config, 0, sizeof config);
        struct quipu_error err = {0};
        cr_assert_eq(quipu_config_set_text(&config, key(rows[i].path), rows[i].text, &err),
                     QUIPU_INVALID);
        cr_assert_str_eq(err.message, rows[i].line);
        cr_assert_eq(memcmp(&config, &before, sizeof config), 0, "%s", rows[i].path);
    }
}

Test(config_values, secrets_are_never_shown)
{
    struct quipu_config config;
    struct quipu_error err = {0};
    char text[128];
    quipu_config_init(&config);
    cr_assert_eq(quipu_config_set_text(&config, key("nats.password"), "hush", &err), QUIPU_OK);
    cr_assert_str_eq(shown(&config, "nats.password", text), "********");
    cr_assert_eq(quipu_config_set_text(&config, key("nats.password"), "hush\x01", &err),
                 QUIPU_INVALID);
    cr_assert_null(strstr(err.message, "hush"));
    char too_long[1200];
    memset(too_long, 'h', sizeof too_long - 1);
    too_long[sizeof too_long - 1] = 0;
    cr_assert_eq(quipu_config_set_text(&config, key("nats.token"), too_long, &err), QUIPU_INVALID);
    cr_assert_null(strstr(err.message, "hhh"));

    char long_url[5000] = "nats://keys:hush@";
    memset(long_url + strlen(long_url), 'a', sizeof long_url - 1 - strlen(long_url));
    cr_assert_eq(quipu_config_set_text(&config, key("nats.url"), long_url, &err), QUIPU_INVALID);
    cr_assert_null(strstr(err.message, "hush"), "%s", err.message);

    static const struct {
        const char *url;
        const char *shown;
    } rows[] = {
        {"nats://a:4222", "nats://a:4222"},
        {"nats://u:p@a:4222,tls://t@b", "nats://********@a:4222,tls://********@b"},
        {"u:p@ss@a", "********@a"},
        {"a,u@b,", "a,********@b,"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        config.nats.url = rows[i].url;
        cr_assert_str_eq(shown(&config, "nats.url", text), rows[i].shown);
    }
}

Test(config_validate, what_cannot_be_meant_together_names_the_key_at_fault)
{
    struct quipu_config good;
    quipu_config_init(&good);
    struct {
        struct quipu_config config;
        const char *at;
    } rows[10];
    size_t count = 0;
    for (size_t i = 0; i < 10; i++) {
        rows[i].config = good;
    }
    rows[count].config.nats.credentials_file = "a";
    rows[count].config.nats.token = "b";
    rows[count++].at = "nats.credentials_file";
    rows[count].config.nats.user = "a";
    rows[count].config.nats.nkey_file = "b";
    rows[count++].at = "nats.nkey_file";
    rows[count].config.nats.password = "a";
    rows[count++].at = "nats.password";
    rows[count].config.tls.client_key = "a";
    rows[count++].at = "nats.tls.client_key";
    rows[count].config.mode = QUIPU_MODE_ONLINE;
    rows[count].config.nats.enabled = false;
    rows[count++].at = "mode.mode";
    rows[count].config.jetstream.max_age_us = INT64_C(86400000000);
    rows[count++].at = "nats.jetstream.max_age";
    rows[count].config.jetstream.storage = QUIPU_CONFIG_MEMORY;
    rows[count++].at = "nats.jetstream.storage";
    rows[count].config.storage.enable_backup = true;
    rows[count++].at = "storage.enable_backup";
    rows[count].config.nats.subject_template = "{prefix}.{event_id}.x";
    rows[count++].at = "nats.subject_template";
    rows[count].config.jetstream.max_age_us = 1000000;
    rows[count].config.jetstream.may_lose_events = true;
    rows[count++].at = "nats.jetstream.max_age";

    for (size_t i = 0; i < count; i++) {
        const struct quipu_config_key *at = NULL;
        struct quipu_error err = {0};
        cr_assert_eq(quipu_config_validate(&rows[i].config, &at, &err), QUIPU_INVALID, "%s",
                     rows[i].at);
        cr_assert_not_null(at);
        cr_assert_str_eq(at->path, rows[i].at, "%s", err.message);
        cr_assert_not_null(strstr(err.message, "; "), "%s", err.message);
    }
}

Test(config_validate, a_value_that_a_host_wrote_itself_is_held_against_its_range)
{
    struct quipu_config config;
    const struct quipu_config_key *at = NULL;
    quipu_config_init(&config);
    config.jetstream.replicas = UINT64_MAX;
    cr_assert_eq(quipu_config_validate(&config, &at, NULL), QUIPU_INVALID);
    cr_assert_str_eq(at->path, "nats.jetstream.replicas");
    quipu_config_init(&config);
    config.mode = (enum quipu_mode)4;
    cr_assert_eq(quipu_config_validate(&config, &at, NULL), QUIPU_INVALID);
    cr_assert_str_eq(at->path, "mode.mode");
    quipu_config_init(&config);
    config.nats.source_id = "U";
    cr_assert_eq(quipu_config_validate(&config, &at, NULL), QUIPU_INVALID);
    cr_assert_str_eq(at->path, "nats.source_id");
    config = (struct quipu_config){0};
    cr_assert_eq(quipu_config_validate(&config, &at, NULL), QUIPU_MISUSE);
}

Test(config_template, accepts_what_ends_with_the_event_id)
{
    static const char *const good[] = {
        QUIPU_SUBJECT_TEMPLATE_DEFAULT,
        "cim.graph.{aggregate_type}.events.{event_type}.{event_id}",
        "{prefix}.{event_id}",
        "a.{event_id}",
        "a.{prefix}.{event_type}.{event_id}",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct quipu_error err = {0};
        cr_assert_eq(quipu_subject_template_check(good[i], "cim.keys", &err), QUIPU_OK, "%s",
                     err.message);
    }
    static const char *const bad[] = {
        "",
        ".",
        "{event_id}",
        "a",
        "a.",
        "a..{event_id}",
        "{aggregate_type}.{event_id}",
        "a.{event_id}.b",
        "a.{event_id}.{event_id}",
        "a.{event_type}.{event_type}.{event_id}",
        "a.x{event_type}.{event_id}",
        "a.{aggregate_id}.{event_id}",
        "a.*.{event_id}",
        "a.>.{event_id}",
        "a. .{event_id}",
        "a.{event_id",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct quipu_error err = {0};
        cr_assert_eq(quipu_subject_template_check(bad[i], "cim.keys", &err), QUIPU_INVALID, "%s",
                     bad[i]);
        cr_assert_not_null(strstr(err.message, "; such as"), "%s", err.message);
    }
}

Test(config_template, holds_the_limit_of_its_literal_part)
{
    char prefix[256];
    memset(prefix, 'p', sizeof prefix);
    prefix[QUIPU_SUBJECT_LITERAL_MAX] = 0;
    cr_assert_eq(quipu_subject_template_check("{prefix}.{event_id}", prefix, NULL), QUIPU_OK);
    prefix[QUIPU_SUBJECT_LITERAL_MAX] = 'p';
    prefix[QUIPU_SUBJECT_LITERAL_MAX + 1] = 0;
    cr_assert_eq(quipu_subject_template_check("{prefix}.{event_id}", prefix, NULL), QUIPU_INVALID);
}

Test(config_mode, says_what_may_be_done)
{
    static const struct {
        enum quipu_mode mode;
        bool enabled, may_connect, publishes;
    } rows[] = {
        {QUIPU_MODE_NONE, true, true, false},     {QUIPU_MODE_NONE, false, false, false},
        {QUIPU_MODE_OFFLINE, true, false, false}, {QUIPU_MODE_ONLINE, true, true, true},
        {QUIPU_MODE_HYBRID, true, true, true},    {QUIPU_MODE_HYBRID, false, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct quipu_config config;
        quipu_config_init(&config);
        config.mode = rows[i].mode;
        config.nats.enabled = rows[i].enabled;
        cr_assert_eq(quipu_config_may_connect(&config), rows[i].may_connect);
        cr_assert_eq(quipu_config_publishes(&config), rows[i].publishes);
    }
}

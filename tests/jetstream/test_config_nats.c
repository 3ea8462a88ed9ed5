/*
 * Settings as options: nothing is lost on the way, and the defaults are the library's own.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <string.h>

#include "quipu/config_nats.h"

Test(config_nats, every_text_of_the_server_gets_into_the_options)
{
    struct quipu_config config;
    struct quipu_nats_options options;
    size_t count;
    size_t looked_at = 0;
    const struct quipu_config_key *keys = quipu_config_keys(&count);
    for (size_t i = 0; i < count; i++) {
        bool is_text = keys[i].kind == QUIPU_CONFIG_TEXT || keys[i].kind == QUIPU_CONFIG_PATH;
        bool is_nats = strncmp(keys[i].section, "nats", 4) == 0;
        if (!is_text || !is_nats || strcmp(keys[i].path, "nats.source_id") == 0) {
            continue;
        }
        static const char mine[] = "mine";
        const char *const wanted = mine;
        quipu_config_init(&config);
        cr_assert_eq(quipu_config_set_text(&config, &keys[i], mine, NULL), QUIPU_OK, "%s",
                     keys[i].path);
        quipu_config_nats_options(&config, &options);
        size_t found = 0;
        for (size_t at = 0; at + sizeof wanted <= sizeof options; at += sizeof wanted) {
            found += memcmp((const char *)&options + at, &wanted, sizeof wanted) == 0 ? 1 : 0;
        }
        cr_assert_eq(found, 1, "%s", keys[i].path);
        looked_at++;
    }
    cr_assert_geq(looked_at, 14);
}

Test(config_nats, defaults_are_those_of_the_library)
{
    struct quipu_config config;
    struct quipu_nats_options options;
    quipu_config_init(&config);
    quipu_config_nats_options(&config, &options);
    cr_assert_eq(options.size, sizeof options);
    cr_assert_str_eq(options.stream, QUIPU_STREAM_DEFAULT);
    cr_assert_str_eq(options.bucket, QUIPU_BUCKET_DEFAULT);
    cr_assert_str_eq(options.subject_prefix, QUIPU_SUBJECT_PREFIX_DEFAULT);
    cr_assert_eq(options.connect_timeout_us, 5000000);
    cr_assert_eq(options.request_timeout_us, 5000000);
    cr_assert_null(options.password);
    cr_assert_null(options.tls_ca_file);
}

Test(config_nats, what_a_stream_is_made_with)
{
    struct quipu_config config;
    struct quipu_provision_options options;
    quipu_config_init(&config);
    quipu_config_provision_options(&config, &options);
    cr_assert_eq(options.size, sizeof options);
    cr_assert_eq(options.duplicate_window_us, 120000000);
    cr_assert_eq(options.replicas, 1);
    cr_assert_eq(options.storage, QUIPU_STREAM_FILE);
    cr_assert_eq(options.max_age_us, 0);
    cr_assert_not(options.may_lose_events);

    config.jetstream = (struct quipu_config_jetstream){.replicas = 3,
                                                       .max_age_us = 7,
                                                       .max_messages = 8,
                                                       .max_bytes = 9,
                                                       .duplicate_window_us = 10,
                                                       .storage = QUIPU_CONFIG_MEMORY,
                                                       .may_lose_events = true};
    quipu_config_provision_options(&config, &options);
    cr_assert_eq(options.replicas, 3);
    cr_assert_eq(options.max_age_us, 7);
    cr_assert_eq(options.max_events, 8);
    cr_assert_eq(options.max_bytes, 9);
    cr_assert_eq(options.duplicate_window_us, 10);
    cr_assert_eq(options.storage, QUIPU_STREAM_MEMORY);
    cr_assert(options.may_lose_events);
}

Test(config_nats, how_it_is_flushed)
{
    struct quipu_config config;
    struct quipu_flusher_options options;
    quipu_config_init(&config);
    quipu_config_flusher_options(&config, &options);
    cr_assert_eq(options.size, sizeof options);
    cr_assert_eq(options.flush.size, sizeof options.flush);
    cr_assert_eq(options.interval_us, 60000000);
    cr_assert_eq(options.flush.dedup, QUIPU_DEDUP_SUBJECT);
    config.nats.dedup = QUIPU_CONFIG_DEDUP_WINDOW;
    config.nats.flush_interval_us = 7;
    quipu_config_flusher_options(&config, &options);
    cr_assert_eq(options.flush.dedup, QUIPU_DEDUP_WINDOW);
    cr_assert_eq(options.interval_us, 7);
}

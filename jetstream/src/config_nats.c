/*
 * Settings as the options of this library: field by field, nothing is decided here.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/config_nats.h"

void quipu_config_nats_options(const struct quipu_config *config, struct quipu_nats_options *out)
{
    *out = (struct quipu_nats_options){
        .size = sizeof *out,
        .url = config->nats.url,
        .credentials_file = config->nats.credentials_file,
        .nkey_file = config->nats.nkey_file,
        .user = config->nats.user,
        .password = config->nats.password,
        .token = config->nats.token,
        .tls_ca_file = config->tls.ca_cert,
        .tls_cert_file = config->tls.client_cert,
        .tls_key_file = config->tls.client_key,
        .tls_host = config->tls.server_name,
        .stream = config->nats.stream_name,
        .bucket = config->nats.object_store_bucket,
        .subject_prefix = config->nats.subject_prefix,
        .subject_template = config->nats.subject_template,
        .connect_timeout_us = config->nats.connection_timeout_us,
        .request_timeout_us = config->nats.request_timeout_us,
    };
}

void quipu_config_provision_options(const struct quipu_config *config,
                                    struct quipu_provision_options *out)
{
    const struct quipu_config_jetstream *jetstream = &config->jetstream;
    *out = (struct quipu_provision_options){
        .size = sizeof *out,
        .duplicate_window_us = jetstream->duplicate_window_us,
        .replicas = (uint32_t)jetstream->replicas, /* 1 to 5: quipu_config_validate */
        .storage =
            jetstream->storage == QUIPU_CONFIG_MEMORY ? QUIPU_STREAM_MEMORY : QUIPU_STREAM_FILE,
        .max_age_us = jetstream->max_age_us,
        .max_events = jetstream->max_messages,
        .max_bytes = jetstream->max_bytes,
        .may_lose_events = jetstream->may_lose_events,
    };
}

void quipu_config_flush_options(const struct quipu_config *config, struct quipu_flush_options *out)
{
    *out = (struct quipu_flush_options){
        .size = sizeof *out,
        .dedup = config->nats.dedup == QUIPU_CONFIG_DEDUP_WINDOW ? QUIPU_DEDUP_WINDOW
                                                                 : QUIPU_DEDUP_SUBJECT,
    };
}

void quipu_config_flusher_options(const struct quipu_config *config,
                                  struct quipu_flusher_options *out)
{
    *out = (struct quipu_flusher_options){.size = sizeof *out,
                                          .interval_us = config->nats.flush_interval_us};
    quipu_config_flush_options(config, &out->flush);
}

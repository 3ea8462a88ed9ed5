/*
 * The smallest use of an installed libquipu-jetstream: ask for a server where none can be, and be
 * told.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <quipu/jetstream.h>

#include <stdio.h>

int main(void)
{
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    struct quipu_nats *nats = NULL;
    struct quipu_error err = {0};
    options.url = "nats://127.0.0.1:1"; /* tcpmux: nobody listens there */
    options.connect_timeout_us = 200000;

    enum quipu_status status = quipu_nats_open(&options, &nats, &err);
    quipu_nats_close(&nats);
    printf("consumer_jetstream: %s\n", quipu_status_name(status));
    return status == QUIPU_OFFLINE ? 0 : 1;
}

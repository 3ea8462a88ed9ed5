/*
 * forged_bundle STORE BUNDLE NEW NAME: the bundle of twelve events, tampered with by the forgery of
 * that name and signed with the store's key, for scripts that hold the command against it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <string.h>

#include "forgeries.h"

static enum quipu_status forge(struct quipu_engine *engine, char **argv)
{
    struct bundle_kit kit;
    for (size_t i = 0; i < forgery_count; i++) {
        if (strcmp(forgeries[i].name, argv[4]) == 0) {
            forgeries_init(engine);
            bundle_kit_load(&kit, argv[2]);
            forgeries[i].tamper(&kit);
            bundle_kit_save(&kit, argv[3]);
            bundle_kit_release(&kit);
            return QUIPU_OK;
        }
    }
    return QUIPU_NOT_FOUND;
}

int main(int argc, char **argv)
{
    struct quipu_store *store = NULL;
    struct quipu_engine *engine = NULL;
    struct quipu_error err = {0};
    if (argc != 5) {
        (void)fprintf(stderr, "usage: forged_bundle STORE BUNDLE NEW NAME\n");
        return 2;
    }
    enum quipu_status status = quipu_store_open(argv[1], NULL, &store, &err);
    if (status == QUIPU_OK) {
        status = quipu_engine_open(store, NULL, &engine, &err);
    }
    if (status == QUIPU_OK) {
        status = forge(engine, argv);
    }
    quipu_engine_close(&engine);
    quipu_store_close(&store);
    if (status != QUIPU_OK) {
        (void)fprintf(stderr, "forged_bundle: %s %s\n", quipu_status_name(status), err.message);
        return 1;
    }
    return 0;
}

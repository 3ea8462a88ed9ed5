/*
 * The online acts in a build without the network: left out, and said so.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "demo.h"

enum quipu_status demo_online(struct demo *demo, struct quipu_error *err)
{
    (void)err;
    demo_step(demo, "server", "left out: this quipu is built without the network");
    return QUIPU_OK;
}

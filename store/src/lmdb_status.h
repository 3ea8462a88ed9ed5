/*
 * LMDB's return codes as quipu's statuses. Private to store/.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_STORE_LMDB_STATUS_H
#define QUIPU_STORE_LMDB_STATUS_H

#include "quipu/error.h"

/* Status for what an mdb_ function returned: 0, one of LMDB's own numbers or an errno. */
enum quipu_status quipu_lmdb_status(int code);

/* Record "<line>: <LMDB's text>" with quipu_lmdb_status(code), which must not be 0. */
enum quipu_status quipu_lmdb_error(struct quipu_error *err, int code, const char *format, ...)
    QUIPU_PRINTF(3, 4);

#endif

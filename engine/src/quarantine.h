/*
 * Foreign events that were not let in, inside a write transaction.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_QUARANTINE_H
#define QUIPU_ENGINE_QUARANTINE_H

#include "quipu/ingest.h"
#include "quipu/store.h"

/* Keep `event` with the reason and the line of `why`. `scratch` is the caller's to reuse. */
QUIPU_MUST_CHECK enum quipu_status quarantine_put(struct quipu_txn *txn,
                                                  const struct quipu_foreign *event,
                                                  const struct quipu_error *why,
                                                  int64_t now_unix_us, struct quipu_buf *scratch,
                                                  struct quipu_error *err);

/* It has been let in after all. Fine where it is not in quarantine. `*was_there` says. */
QUIPU_MUST_CHECK enum quipu_status quarantine_forget(struct quipu_txn *txn,
                                                     const struct quipu_cid *cid, bool *was_there,
                                                     struct quipu_error *err);

#endif

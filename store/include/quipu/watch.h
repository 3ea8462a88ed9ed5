/*
 * Being told of commits: a descriptor that becomes readable when any thread of any process has
 * committed to the store.
 *
 * The order that loses nothing: clear, look, and only then wait.
 *
 *     for (;;) {
 *         quipu_watch_clear(watch);
 *         …read what is new…
 *         status = quipu_watch_wait(watch, -1, &err);
 *     }
 *
 * A wake may be for nothing: the commit is this process's own, or changed nothing of interest. It
 * is never missing: a commit that the look did not see makes the descriptor readable after it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_WATCH_H
#define QUIPU_WATCH_H

#include "quipu/error.h"
#include "quipu/export.h"
#include "quipu/store.h"

#ifdef __cplusplus
extern "C" {
#endif

struct quipu_watch;

/**
 * Watch for commits from now on. The watch does not need the store any more and may outlive it.
 * It takes three descriptors, one of them an inotify instance, of which a system often grants 128
 * to a user.
 * @retval QUIPU_IO      the system's limits; err names the one to raise
 * @retval QUIPU_MISUSE (after fork), QUIPU_NO_MEMORY, QUIPU_PERMISSION
 * @threads any; the handle: one thread at a time, but for quipu_watch_wake
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_watch_open(struct quipu_store *store, struct quipu_watch **out, struct quipu_error *err);

/** For poll, select or epoll: readable (level) from a commit until the next clear. Never read from
 * it. Borrowed until close. */
QUIPU_API int quipu_watch_fd(const struct quipu_watch *watch);

/** Take back all wakes so far. What was committed before is seen by a transaction that begins
 * after. */
QUIPU_API void quipu_watch_clear(struct quipu_watch *watch);

/**
 * Wait until the descriptor is readable; does not clear it.
 * @param timeout_ms  milliseconds; 0: only look; negative: for ever
 * @retval QUIPU_OK    woken; also where a signal handler has run
 * @retval QUIPU_DONE  the time is up
 * @retval QUIPU_IO
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_watch_wait(struct quipu_watch *watch, int timeout_ms, struct quipu_error *err);

/** Make it readable without a commit, such as to have the one who waits stop. @threads any; also
 * from a signal handler */
QUIPU_API void quipu_watch_wake(struct quipu_watch *watch);

/** Close and set NULL. NULL is fine. */
QUIPU_API void quipu_watch_close(struct quipu_watch **watch);

#ifdef __cplusplus
}
#endif

#endif

/*
 * What whoever keeps an audit log in a stream should know about it: ways in which it can lose
 * events, and what servers are known to do. Only words; compares nothing and changes nothing.
 *
 * Specification: docs/SPEC.md §10.1.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "streams.h"

#define NS_PER_S 1000000000.0

static void note_limit(const char *name, const char *what, int64_t limit, bool is_discarding,
                       struct quipu_buf *notes)
{
    if (limit > 0) {
        quipu_buf_printf(notes,
                         is_discarding ? "stream %s keeps %" PRId64 " %s and deletes its oldest "
                                         "events for new ones: an audit log loses them\n"
                                       : "stream %s takes %" PRId64 " %s and then no more: flushes "
                                         "end until the limit is raised\n",
                         name, limit, what);
    }
}

void quipu_provision_notes(const jsStreamInfo *info, bool is_events, struct quipu_buf *notes)
{
    const jsStreamConfig *config = info->Config;
    const char *name = config->Name;
    bool is_discarding = config->Discard != js_DiscardNew;
    if (config->MaxAge > 0) {
        quipu_buf_printf(notes,
                         "stream %s deletes what is older than %g s: an audit log loses events\n",
                         name, (double)config->MaxAge / NS_PER_S);
    }
    note_limit(name, "messages", config->MaxMsgs, is_discarding, notes);
    note_limit(name, "bytes", config->MaxBytes, is_discarding, notes);
    if (config->MaxBytes > 0 && !is_discarding) {
        quipu_buf_printf(notes,
                         "stream %s: filled to its last bytes, nats-server (2.9.10) deletes old "
                         "messages although it is to refuse new ones; a flush says so, then raise "
                         "the limit and reconcile --repair\n",
                         name);
    }
    if (config->Storage == js_MemoryStorage) {
        quipu_buf_printf(notes, "stream %s is in memory: a restart of the server empties it\n",
                         name);
    }
    if (config->Replicas > 1 && is_events) {
        quipu_buf_printf(notes,
                         "stream %s has %" PRId64 " replicas: on servers before 2.10.19 replicas "
                         "may come to disagree over expected sequences; flush with dedup = "
                         "\"window\" there, and reconcile after longer pauses\n",
                         name, config->Replicas);
    }
    if (is_events && config->Storage == js_FileStorage) {
        quipu_buf_printf(
            notes,
            "stream %s: a server answers before it has synced to disk (every 2 minutes "
            "unless it is configured otherwise); after a power cut there, reconcile\n",
            name);
    }
}

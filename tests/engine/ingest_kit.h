/*
 * Two stores, one of which takes in what the other records, event by event, for the tests of
 * ingest.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_INGEST_KIT_H
#define QUIPU_TESTS_INGEST_KIT_H

#include "engine_kit.h"

/* `theirs` records, `ours` takes in. */
extern struct kit theirs;
extern struct kit ours;
/* Who signed for what comes in; "": nobody. */
extern char proven[QUIPU_SOURCE_TEXT_BYTES];

/* Of a suite. */
void ingest_kit_open(void);
void ingest_kit_close(void);

/* What one event becomes in a transaction of its own, where forks are refused (test_forks.c keeps
 * them). */
enum quipu_status ingest_kit_take(enum quipu_ingest_policy policy,
                                  const struct quipu_foreign *event,
                                  enum quipu_ingest_outcome *outcome);
/* Event `position` of theirs, which must be added. */
void ingest_kit_take_position(uint64_t position);

/* Make `event` carry this envelope. */
void ingest_kit_put_envelope(struct kit_foreign *event, const struct quipu_envelope *envelope);

/* `ours` becomes a copy of `theirs` as it is now, as an image of the disk would: with its key or
 * without. */
enum ingest_kit_key { INGEST_KIT_WITH_KEY, INGEST_KIT_WITHOUT_KEY };
void ingest_kit_become_theirs(enum ingest_kit_key key);
/* The copy gets the key; `ours` is to be opened again. */
void ingest_kit_take_key(void);

/* How many events wait in our quarantine, and the last of them. */
struct quarantined {
    uint64_t count;
    enum quipu_status reason;
    struct quipu_cid cid;
    char line[512];
    char stream[64];
    uint64_t sequence;
    size_t envelope_len;
    size_t payload_len;
    int64_t received_unix_us;
};
struct quarantined in_quarantine(void);
/* The one event of this CID, which must be there. */
struct quarantined in_quarantine_of(const struct quipu_cid *cid);

/* Refused by both policies: strict leaves no trace, quarantine keeps it with its reason. */
void assert_refused(const struct quipu_foreign *event, enum quipu_status reason,
                    const char *in_line);

#endif

/*
 * An event that stands here, but whose event_id the index does not know any more, because a bit of
 * it is flipped: what brings it again is told so, and it is not taken in a second time, whoever
 * recorded it, and whether forks are kept or not.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fork_kit.h"
#include "ingest_kit.h"
#include "internal/bytes.h"

/* So many that the index has a run of them: 1,024 events. */
#define EVENTS 1030
#define HIDDEN 500

TestSuite(ingest_hidden, .init = ingest_kit_open, .fini = ingest_kit_close, .timeout = 300);

/* Record that many, each group in one transaction. */
static void record_all(struct kit *kit, const char *aggregate_id, int from, int to)
{
    while (from < to) {
        struct quipu_event events[8];
        size_t len = 0;
        for (; len < 8 && from < to; len++, from++) {
            events[len] = kit_event(kit, aggregate_id, from);
        }
        kit_assert_ok(kit, quipu_append_batch(kit->engine, events, len, NULL, NULL, &kit->err));
    }
}

/* In one transaction. */
static void take_all(struct kit *from)
{
    struct quipu_ingest *ingest = NULL;
    uint64_t last = fork_kit_last(from);
    fork_kit_begin(&ours, &ingest);
    for (uint64_t position = 1; position <= last; position++) {
        struct kit_foreign event;
        kit_foreign_copy(from, position, &event);
        kit_assert_ok(&ours, quipu_ingest_event(ingest, &event.foreign, NULL, &ours.err));
        kit_foreign_release(&event);
    }
    kit_assert_ok(&ours, quipu_ingest_commit(&ingest, NULL, &ours.err));
}

/* Flip a bit of the index's entry of this event: the first eight bytes of its event_id, and how far
 * it is behind the first of the run. */
static void hide(struct kit *kit, uint64_t position, const struct quipu_foreign *event)
{
    char path[4 * TEMP_DIR_BYTES];
    struct stat info;
    struct quipu_envelope envelope;
    uint8_t entry[12];
    kit_assert_ok(kit, quipu_envelope_decode(event->envelope, &envelope, &kit->err));
    memcpy(entry, envelope.event_id.bytes, 8);
    quipu_store_be32(entry + 8, (uint32_t)(position - 1));
    (void)snprintf(path, sizeof path, "%s/data.mdb", kit->path);
    kit_shut(kit);
    int fd = open(path, O_RDWR);
    cr_assert_geq(fd, 0);
    cr_assert_eq(fstat(fd, &info), 0);
    size_t bytes = (size_t)info.st_size;
    uint8_t *file = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    cr_assert_neq(file, MAP_FAILED);
    uint8_t *at = memmem(file, bytes, entry, sizeof entry);
    cr_assert_not_null(at);
    at[7] ^= 1;
    cr_assert_null(memmem(at + 1, (size_t)(file + bytes - at - 1), entry, sizeof entry));
    cr_assert_eq(munmap(file, bytes), 0);
    (void)close(fd);
    kit_reopen(kit);
}

/* By every policy. */
static void assert_seen(const struct quipu_foreign *event, uint64_t position)
{
    static const enum quipu_ingest_policy policies[] = {QUIPU_INGEST_STRICT,
                                                        QUIPU_INGEST_QUARANTINE};
    char words[64];
    (void)snprintf(words, sizeof words, "stands here already, position %u,", (unsigned)position);
    for (int keeps = 0; keeps < 2; keeps++) {
        for (size_t i = 0; i < 2; i++) {
            struct quipu_ingest *ingest = NULL;
            struct quipu_ingest_options options = QUIPU_INGEST_OPTIONS_INIT;
            options.policy = policies[i];
            options.forks = keeps ? QUIPU_INGEST_FORKS_KEEP : QUIPU_INGEST_FORKS_REFUSE;
            options.proven_source = quipu_slice_text(proven);
            kit_assert_ok(&ours,
                          quipu_ingest_begin_with(ours.engine, &options, &ingest, &ours.err));
            cr_assert_eq(quipu_ingest_event(ingest, event, NULL, &ours.err), QUIPU_CORRUPT,
                         "keeps %d, policy %zu", keeps, i);
            quipu_ingest_abort(&ingest);
            cr_assert_not_null(strstr(ours.err.message, words), "%s", ours.err.message);
            cr_assert_not_null(strstr(ours.err.message, "--repair-indexes"), "%s",
                               ours.err.message);
        }
    }
    cr_assert_eq(in_quarantine().count, 0);
}

/* It is known again where the indexes were made anew. */
static void assert_mended(const struct quipu_foreign *event, uint64_t events)
{
    enum quipu_ingest_outcome outcome;
    kit_shut(&ours);
    kit_assert_ok(&ours, quipu_store_repair(ours.path, NULL, NULL, &ours.err));
    kit_reopen(&ours);
    cr_assert_eq(ingest_kit_take(QUIPU_INGEST_STRICT, event, &outcome), QUIPU_OK, "%s",
                 ours.err.message);
    cr_assert_eq(outcome, QUIPU_INGEST_KNOWN);
    kit_assert_sound(&ours, events);
}

Test(ingest_hidden, an_event_of_another_store_is_not_taken_in_again)
{
    struct kit_foreign event;
    record_all(&theirs, "a", 0, EVENTS);
    take_all(&theirs);
    kit_foreign_copy(&theirs, HIDDEN, &event);
    hide(&ours, HIDDEN, &event.foreign);
    assert_seen(&event.foreign, HIDDEN);
    assert_mended(&event.foreign, EVENTS);
    kit_foreign_release(&event);
}

Test(ingest_hidden, an_event_of_its_own_is_not_taken_in_again)
{
    struct kit_foreign event;
    record_all(&ours, "a", 0, EVENTS);
    kit_foreign_copy(&ours, HIDDEN, &event);
    hide(&ours, HIDDEN, &event.foreign);
    assert_seen(&event.foreign, HIDDEN);
    kit_assert_ok(&ours, quipu_identity_source(ours.engine, proven, &ours.err));
    assert_seen(&event.foreign, HIDDEN);
    proven[0] = '\0';
    assert_mended(&event.foreign, EVENTS);
    kit_foreign_release(&event);
}

Test(ingest_hidden, the_second_event_with_a_number_is_not_taken_in_again)
{
    struct kit copy;
    struct kit_foreign event;
    kit_open(&copy);
    copy.random_state = 2000;
    fork_kit_copy_key(&copy, &theirs);
    record_all(&theirs, "a", 0, 3);
    record_all(&copy, "b", 0, 3);
    take_all(&theirs);
    take_all(&copy);
    record_all(&ours, "c", 0, EVENTS);
    kit_foreign_copy(&copy, 2, &event);
    hide(&ours, 5, &event.foreign);
    assert_seen(&event.foreign, 5);
    assert_mended(&event.foreign, EVENTS + 6);
    kit_foreign_release(&event);
    kit_close(&copy);
}

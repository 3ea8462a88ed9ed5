/*
 * Other processes that append when they are told to.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "writer_kit.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "quipu/engine.h"

/* In the child: nothing of Criterion is called there. */
static void obey(const char *path, int orders)
{
    static const char *const ids[] = {"a", "b", "c"};
    const uint8_t payload[] = {0xa0};
    struct quipu_store *store = NULL;
    struct quipu_engine *engine = NULL;
    struct quipu_error err;
    if (quipu_store_open(path, NULL, &store, &err) != QUIPU_OK ||
        quipu_engine_open(store, NULL, &engine, &err) != QUIPU_OK) {
        (void)fprintf(stderr, "writer: %s\n", err.message);
        _exit(2);
    }
    unsigned count;
    unsigned done = 0;
    while (read(orders, &count, sizeof count) == (ssize_t)sizeof count && count > 0) {
        for (unsigned i = 0; i < count; i++) {
            struct quipu_event event = {
                .type = "thing.changed",
                .aggregate = {"thing", ids[done++ % 3]},
                .payload = quipu_slice(payload, sizeof payload),
            };
            if (quipu_append(engine, &event, NULL, &err) != QUIPU_OK) {
                (void)fprintf(stderr, "writer: %s\n", err.message);
                _exit(3);
            }
        }
    }
    quipu_engine_close(&engine);
    quipu_store_close(&store);
}

void writer_start(struct writer *writer, const char *path, const char *failpoint)
{
    int ends[2];
    (void)fflush(NULL);
    cr_assert_eq(pipe(ends), 0);
    writer->pid = fork();
    cr_assert_geq(writer->pid, 0);
    if (writer->pid == 0) {
        (void)close(ends[1]); /* so that the parent's end is the last one */
        if (failpoint != NULL) {
            (void)setenv("QUIPU_FAILPOINT", failpoint, 1);
        }
        obey(path, ends[0]);
        _exit(0);
    }
    (void)close(ends[0]); /* the child's */
    writer->orders = ends[1];
}

void writer_order(struct writer *writer, unsigned count)
{
    cr_assert_eq(write(writer->orders, &count, sizeof count), (ssize_t)sizeof count);
}

int writer_end(struct writer *writer)
{
    /* Not by closing the pipe: writers that were started later have it open, too. One that has
     * died reads nothing more. */
    const unsigned end = 0;
    void (*before)(int) = signal(SIGPIPE, SIG_IGN);
    ssize_t written = write(writer->orders, &end, sizeof end);
    (void)written;
    cr_assert(signal(SIGPIPE, before) == SIG_IGN);
    (void)close(writer->orders); /* written above */
    int how = 0;
    cr_assert_eq(waitpid(writer->pid, &how, 0), writer->pid);
    return how;
}

void writers_start(struct writer writers[2], struct kit *kit, unsigned count)
{
    kit_shut(kit);
    for (int i = 0; i < 2; i++) {
        writer_start(&writers[i], kit->path, NULL);
        if (count > 0) {
            writer_order(&writers[i], count);
        }
    }
    kit_reopen(kit);
}

void writers_end(struct writer writers[2])
{
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(writer_end(&writers[i]), 0);
    }
}

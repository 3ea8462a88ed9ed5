/*
 * kill -9 in the middle of `quipu append`, at random moments, until KILLS runs have died: every
 * event that a run acknowledged is there, at the position that it said; none is there twice; the
 * next run of the same command goes on by itself; and the store is intact.
 *
 *   kill_append QUIPU [KILLS [SEED]]
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>
#include <string.h>

#include "child.h"
#include "temp_dir.h"

#define EVENTS     1500
#define LINE_BYTES 8192
#define WORK_US    40000
#define PATH_BYTES (2 * TEMP_DIR_BYTES)

struct files {
    char store[PATH_BYTES];
    char input[PATH_BYTES];
    char out[PATH_BYTES];
    char err[PATH_BYTES];
};

/* What runs have acknowledged so far: the position of event n, 0 where none has. */
struct acknowledged {
    uint64_t positions[EVENTS + 1];
    unsigned count;
};

/* Event n is in one of seven aggregates; its id says n, so that it can be found again. */
static void write_input(const char *path)
{
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        child_fail("make %s", path);
    }
    for (int n = 1; n <= EVENTS; n++) {
        (void)fprintf(file,
                      "{\"aggregate_type\":\"key\",\"aggregate_id\":\"k%d\",\"event_type\":"
                      "\"key.used\",\"event_id\":\"%08d-0000-7000-8000-000000000000\",\"payload\":"
                      "{\"n\":%d,\"text\":\"some words, so that a batch has a size\"}}\n",
                      n % 7, n, n);
    }
    if (fclose(file) != 0) {
        child_fail("write %s", path);
    }
}

static unsigned event_number(const char *line)
{
    char id[64];
    if (!child_member(line, "event_id", id, sizeof id) || strlen(id) != 36) {
        child_fail("no event_id in: %s", line);
    }
    unsigned long number = strtoul(id, NULL, 10);
    if (number < 1 || number > EVENTS) {
        child_fail("an event that nobody sent: %s", line);
    }
    return (unsigned)number;
}

static uint64_t event_position(const char *line)
{
    char text[32];
    if (!child_member(line, "position", text, sizeof text)) {
        child_fail("no position in: %s", line);
    }
    return strtoull(text, NULL, 10);
}

/* Receipts of a run, whole lines only: a killed run may have been cut in the middle of one. */
static void note_receipts(const char *path, struct acknowledged *acknowledged)
{
    char line[LINE_BYTES];
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        child_fail("open %s", path);
    }
    while (fgets(line, sizeof line, file) != NULL && strchr(line, '\n') != NULL) {
        unsigned number = event_number(line);
        uint64_t position = event_position(line);
        uint64_t *known = &acknowledged->positions[number];
        if (*known != 0 && *known != position) {
            child_fail("event %u was acknowledged at %llu and then at %llu", number,
                       (unsigned long long)*known, (unsigned long long)position);
        }
        acknowledged->count += *known == 0 ? 1 : 0;
        *known = position;
    }
    (void)fclose(file); /* only read from */
}

/* Every event that is in the store, once; all that were acknowledged are among them. */
static unsigned check_log(const char *quipu, struct files *files,
                          const struct acknowledged *acknowledged)
{
    const char *log[] = {quipu, "log", "--json", "--store", files->store, NULL};
    uint64_t found[EVENTS + 1] = {0};
    char line[LINE_BYTES];
    unsigned events = 0;
    child_must(log, files->out, files->err);
    FILE *file = fopen(files->out, "r");
    if (file == NULL) {
        child_fail("open %s", files->out);
    }
    while (fgets(line, sizeof line, file) != NULL) {
        unsigned number = event_number(line);
        if (found[number] != 0) {
            child_fail("event %u is there twice", number);
        }
        found[number] = event_position(line);
        events++;
        if (found[number] != events) {
            child_fail("position %u is missing", events);
        }
    }
    (void)fclose(file); /* only read from */
    for (unsigned n = 1; n <= EVENTS; n++) {
        if (acknowledged->positions[n] != 0 && acknowledged->positions[n] != found[n]) {
            child_fail("event %u was acknowledged at %llu and is at %llu", n,
                       (unsigned long long)acknowledged->positions[n],
                       (unsigned long long)found[n]);
        }
    }
    return events;
}

/* One store from nothing to all events. Returns how many runs were killed on the way; `*fruitful`
 * counts those that had acknowledged something new before they died. */
static unsigned fill_store(const char *quipu, struct files *files, struct child_moments *moments,
                           unsigned kills_left, unsigned *fruitful)
{
    const char *init[] = {quipu, "init", "--store", files->store, NULL};
    const char *append[] = {quipu,        "append",     "--json", "--atomic-lines", "5", "--store",
                            files->store, files->input, NULL};
    const char *verify[] = {quipu, "verify", "--store", files->store, NULL};
    struct acknowledged acknowledged = {.count = 0};
    unsigned kills = 0;
    child_must(init, files->out, files->err);
    for (;;) {
        uint64_t moment_us = kills < kills_left ? child_moment_us(moments) : 0;
        enum child_end end = child_run(append, files->out, files->err, moment_us);
        if (end == CHILD_FAILED) {
            child_must(append, files->out, files->err); /* says why */
            child_fail("append failed once");
        }
        unsigned before = acknowledged.count;
        note_receipts(files->out, &acknowledged);
        if (end == CHILD_SUCCEEDED) {
            break;
        }
        kills++;
        /* A run reads over what is there already first; where that takes long (a sanitizer, a busy
         * machine) moments go up until runs come to something new. */
        bool is_fruitful = acknowledged.count > before;
        *fruitful += is_fruitful ? 1 : 0;
        moments->work_us = is_fruitful ? WORK_US : moments->work_us + WORK_US / 2;
        if (kills % 8 == 0) {
            (void)check_log(quipu, files, &acknowledged);
        }
    }
    if (acknowledged.count != EVENTS) {
        child_fail("%u of %d events were acknowledged in the end", acknowledged.count, EVENTS);
    }
    unsigned events = check_log(quipu, files, &acknowledged);
    if (events != EVENTS) {
        child_fail("%u of %d events are there in the end", events, EVENTS);
    }
    child_must(verify, files->out, files->err);
    return kills;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        child_fail("usage: kill_append QUIPU [KILLS [SEED]]");
    }
    unsigned wanted = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 200;
    struct child_moments moments = {.seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 20260101,
                                    .work_us = WORK_US};
    struct temp_dir dir;
    struct files files;
    unsigned kills = 0;
    unsigned stores = 0;
    unsigned fruitful = 0;
    temp_dir_init(&dir);
    (void)temp_dir_join(&dir, "input", files.input);
    (void)temp_dir_join(&dir, "out", files.out);
    (void)temp_dir_join(&dir, "err", files.err);
    write_input(files.input);
    child_moments_init(&moments, argv[1], files.out, files.err);
    while (kills < wanted) {
        char name[32];
        (void)snprintf(name, sizeof name, "store-%u", stores++);
        (void)temp_dir_join(&dir, name, files.store);
        kills += fill_store(argv[1], &files, &moments, wanted - kills, &fruitful);
    }
    (void)printf(
        "%u runs of append killed, %u of them after new events, over %u stores of %d events: "
        "every acknowledged event is there, none is there twice\n",
        kills, fruitful, stores, EVENTS);
    if (fruitful < kills / 4) {
        child_fail("only %u of %u runs had begun to append when they were killed", fruitful, kills);
    }
    temp_dir_release(&dir);
    return 0;
}

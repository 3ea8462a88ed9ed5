/*
 * What the workload said.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "marks.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block_recorder.h"

#define LINE_BYTES 512

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (memory == NULL) {
        perror("memory");
        exit(EXIT_FAILURE);
    }
    return memory;
}

void marks_init(struct marks *marks, size_t slots)
{
    *marks = (struct marks){.slots = slots};
    marks->cids = allocate(slots, sizeof *marks->cids);
    marks->is_inside = allocate(slots, sizeof *marks->is_inside);
    marks->is_boundary = allocate(slots, sizeof *marks->is_boundary);
}

void marks_release(struct marks *marks)
{
    free(marks->cids);
    free(marks->is_inside);
    free(marks->is_boundary);
}

static bool line_of(char line[LINE_BYTES], const uint8_t *data, size_t len)
{
    if (len >= LINE_BYTES) {
        return false;
    }
    memcpy(line, data, len);
    line[len] = 0;
    return true;
}

/* ------------------------------------------------------------------ the whole record */

static void learn_event(struct marks *marks, uint64_t position, const char *cid, const char *line)
{
    if (position == 0 || position >= marks->slots || marks->cids[position].codec != 0 ||
        quipu_cid_parse(quipu_slice_text(cid), &marks->cids[position], NULL) != QUIPU_OK) {
        (void)fprintf(stderr, "acknowledged twice, or out of turn: %s", line);
        exit(EXIT_FAILURE);
    }
    marks->events_max = position > marks->events_max ? position : marks->events_max;
    marks->events_known++;
}

void marks_learn(struct marks *marks, const uint8_t *data, size_t len)
{
    char line[LINE_BYTES];
    char cid[128];
    uint64_t position = 0;
    uint64_t count = 0;
    int used = 0;
    if (!line_of(line, data, len)) {
        return;
    }
    if (sscanf(line, "event %" SCNu64 " %127s", &position, cid) == 2) {
        learn_event(marks, position, cid, line);
    } else if (sscanf(line, "appended %" SCNu64 " %" SCNu64 "%n", &position, &count, &used) == 2) {
        const char *at = line + used;
        for (uint64_t i = 0; i < count && sscanf(at, " %127s%n", cid, &used) == 1; i++) {
            learn_event(marks, position + i, cid, line);
            marks->is_inside[position + i] = i + 1 < count;
            at += used;
        }
    }
}

bool marks_are_whole(const struct marks *marks)
{
    return marks->events_max > 0 && marks->events_known == marks->events_max;
}

/* ------------------------------------------------------------------ one pass */

void marks_rewind(struct marks *marks, bool has_begun)
{
    marks->now = marks->before = marks->next = (struct check_least){.events = 0};
    marks->has_committed = false;
    marks->is_of_threads = false;
    marks->has_begun = has_begun;
    memset(marks->is_boundary, 0, marks->slots);
    marks->is_boundary[0] = true;
}

static void note_backup(struct check_least *least, const char *name, uint64_t events, bool is_saved)
{
    size_t i = 0;
    while (i < least->backups_len && strcmp(least->backups[i].name, name) != 0) {
        i++;
    }
    if (i == CHECK_BACKUPS_MAX) {
        (void)fprintf(stderr, "more than %d backups\n", CHECK_BACKUPS_MAX);
        exit(EXIT_FAILURE);
    }
    struct check_backup *backup = &least->backups[i];
    (void)snprintf(backup->name, sizeof backup->name, "%s", name);
    backup->events = events;
    backup->is_saved = is_saved;
    least->backups_len = i == least->backups_len ? i + 1 : least->backups_len;
}

/* Threads append side by side: which of their appends go into one commit nobody knows, but each is
 * there as a whole or not at all. */
static void begin_threads(struct marks *marks)
{
    marks->is_of_threads = true;
    for (uint64_t i = marks->now.events; i <= marks->events_max; i++) {
        marks->is_boundary[i] = !marks->is_inside[i];
    }
}

static void end_call(struct marks *marks)
{
    if (marks->has_committed) {
        marks->before = marks->now;
    }
    marks->now = marks->next;
    marks->has_committed = false;
}

void marks_take(struct marks *marks, const uint8_t *data, size_t len)
{
    char line[LINE_BYTES];
    char word[128];
    uint64_t number = 0;
    uint64_t count = 0;
    struct check_least *next = &marks->next;
    if (!line_of(line, data, len)) {
        return;
    }
    if (strcmp(line, BLOCK_RECORDER_BEGIN) == 0) {
        marks->has_begun = true;
    } else if (strcmp(line, "threads\n") == 0) {
        begin_threads(marks);
    } else if (sscanf(line, "try %" SCNu64, &number) == 1 && number <= marks->events_max) {
        marks->is_boundary[number] = true;
    } else if (sscanf(line, "event %" SCNu64 " %127s", &number, word) == 2) {
        next->events = number;
    } else if (sscanf(line, "appended %" SCNu64 " %" SCNu64, &number, &count) == 2) {
        /* Positions have no gap: what is before them is durable too. */
        number += count - 1;
        next->events = number > next->events ? number : next->events;
    } else if (sscanf(line, "source %56s", next->source) == 1) {
        next->source[QUIPU_SOURCE_TEXT_BYTES - 1] = 0;
    } else if (sscanf(line, "outbox %" SCNu64, &number) == 1) {
        next->cursor = number;
    } else if (sscanf(line, "projection %" SCNu64, &number) == 1) {
        next->checkpoint = number;
    } else if (sscanf(line, "backup %31s %" SCNu64, word, &number) == 2) {
        note_backup(next, word, number, false);
        note_backup(&marks->now, word, number, false);
    } else if (sscanf(line, "saved %31s %" SCNu64, word, &number) == 2) {
        note_backup(next, word, number, true);
        marks->has_committed = false; /* only the copy was written */
    } else if (sscanf(line, "done %" SCNu64, &number) == 1) {
        end_call(marks);
    }
    if (marks->is_of_threads) {
        marks->now = marks->next;
    }
}

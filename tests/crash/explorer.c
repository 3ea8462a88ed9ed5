/*
 * Searches the states in which a power cut may leave a store. It runs a workload under the
 * recorder, replays the record on a model of a disk (disk.h), lays down the states that are
 * possible at each sync, and checks each of them (check.h). It first makes sure that the record is
 * whole: that it leads to the very files that the workload left.
 *
 * A state counts once: the same files with the same acknowledgements are not checked again.
 *
 * With --stack the record is that of a disk: of the writes and flushes that a file system with its
 * journal makes of the workload's calls. A state is then the image of that disk, which the kernel
 * mounts and recovers before the store is checked (stack.h).
 *
 * usage: crash_explorer RECORDER WORKLOAD [--seed N] [--steps N] [--rounds N] [--seconds N]
 *                       [--at-least N] [--relaxed] [--without-sync] [--stack]
 *                       [--threads | --imports]
 *   Each sync gives the state with nothing in doubt kept, the one with all, and `rounds` others;
 *   with --seconds, rounds go on for that time. --without-sync has syncs of files settle nothing,
 *   and wants states to be broken: it shows that the search would see a store that forgot to sync,
 *   or a disk that ignores flushes. RECORDER: the object to preload; with --stack the program
 *   crash_block_recorder. Exits with 77 where the machine does not allow --stack.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "block_recorder.h"
#include "check.h"
#include "disk.h"
#include "marks.h"
#include "sample.h"
#include "stack.h"
#include "temp_dir.h"

#define ROUNDS_MAX       1000000
#define BROKEN_MAX       10
#define SEEN_SLOTS_LEAST 1024
/* Syncs that --without-sync looks at: more writes in doubt only make it slower. */
#define SYNCS_IN_DOUBT_MAX 40

struct options {
    const char *recorder;
    const char *workload;
    uint64_t seed;
    uint64_t steps;
    uint64_t rounds;
    uint64_t seconds;
    uint64_t at_least;
    bool is_relaxed;
    bool is_without_sync;
    bool is_stack;
    const char *kind; /* of workload */
};

struct explorer {
    struct options options;
    struct temp_dir dir;
    char record_root[2 * TEMP_DIR_BYTES];
    char record_log[2 * TEMP_DIR_BYTES];
    char state_root[2 * TEMP_DIR_BYTES];
    char disk[2 * TEMP_DIR_BYTES];    /* --stack: where the recorder's disk is mounted */
    char mounted[2 * TEMP_DIR_BYTES]; /* and where its file system, or that of a state */
    const char *mount_options;
    uint8_t *record;
    size_t record_bytes;
    struct marks marks;
    uint64_t random;
    /* Hashes of the states so far; 0 is an empty slot. */
    uint64_t *seen;
    size_t seen_slots;
    uint64_t states;
    uint64_t repeated;
    uint64_t syncs;
    uint64_t doubts_max;
    uint64_t broken;
    struct timespec started;
};

static void die(const char *what)
{
    perror(what);
    exit(EXIT_FAILURE);
}

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (memory == NULL) {
        die("memory");
    }
    return memory;
}

static double seconds_since(const struct timespec *started)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    return (double)(now.tv_sec - started->tv_sec) + (double)(now.tv_nsec - started->tv_nsec) / 1e9;
}

/* ------------------------------------------------------------------ recording */

static void run_on_stack(const struct explorer *explorer, const char *const *workload)
{
    char image[2 * TEMP_DIR_BYTES + 16];
    (void)snprintf(image, sizeof image, "%s/%s", explorer->record_root, BLOCK_RECORDER_IMAGE);
    struct stack_recording recording = {
        .recorder = explorer->options.recorder,
        .image = image,
        .record = explorer->record_log,
        .disk = explorer->disk,
        .folder = explorer->mounted,
        .options = explorer->mount_options,
        .run = workload,
    };
    stack_record(&recording);
}

static void run_workload(const struct explorer *explorer)
{
    char seed[24];
    char steps[24];
    int how = 0;
    (void)snprintf(seed, sizeof seed, "%" PRIu64, explorer->options.seed);
    (void)snprintf(steps, sizeof steps, "%" PRIu64, explorer->options.steps);
    const char *const workload[] = {
        explorer->options.workload,
        explorer->options.is_stack ? explorer->mounted : explorer->record_root,
        seed,
        steps,
        explorer->options.is_relaxed ? "relaxed" : "durable",
        explorer->options.kind,
        NULL,
    };
    if (explorer->options.is_stack) {
        run_on_stack(explorer, workload);
        return;
    }
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);
        if (null < 0 || dup2(null, STDOUT_FILENO) < 0 ||
            setenv("LD_PRELOAD", explorer->options.recorder, 1) != 0 ||
            setenv(RECORD_ROOT_VARIABLE, explorer->record_root, 1) != 0 ||
            setenv(RECORD_LOG_VARIABLE, explorer->record_log, 1) != 0) {
            _exit(2);
        }
        execl(workload[0], workload[0], workload[1], workload[2], workload[3], workload[4],
              workload[5], (char *)NULL);
        _exit(2);
    }
    if (pid < 0 || waitpid(pid, &how, 0) != pid || how != 0) {
        (void)fprintf(stderr, "the workload failed: status 0x%x\n", (unsigned)how);
        exit(EXIT_FAILURE);
    }
}

static void load_record(struct explorer *explorer)
{
    struct stat info;
    int fd = open(explorer->record_log, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0) {
        die(explorer->record_log);
    }
    explorer->record_bytes = (size_t)info.st_size;
    explorer->record = allocate(explorer->record_bytes + 1, 1);
    for (size_t done = 0; done < explorer->record_bytes;) {
        ssize_t got = read(fd, explorer->record + done, explorer->record_bytes - done);
        if (got <= 0) {
            die(explorer->record_log);
        }
        done += (size_t)got;
    }
    (void)close(fd); /* was only read */
}

/* The entry at `*at`; moves on behind it. False at the end. */
static bool next_entry(const struct explorer *explorer, size_t *at, struct record_header *header,
                       const uint8_t **data)
{
    if (*at == explorer->record_bytes) {
        return false;
    }
    size_t left = explorer->record_bytes - *at;
    if (left >= sizeof *header) {
        memcpy(header, explorer->record + *at, sizeof *header);
        left -= sizeof *header;
        if (header->data_bytes <= left) {
            *data = explorer->record + *at + sizeof *header;
            *at += sizeof *header + (size_t)header->data_bytes;
            return true;
        }
    }
    (void)fprintf(stderr, "the record is cut off\n");
    exit(EXIT_FAILURE);
}

/* ------------------------------------------------------------------ is it whole? */

static size_t sector_bytes(const struct options *options)
{
    return options->is_stack ? STACK_SECTOR_BYTES : DISK_SECTOR_BYTES;
}

/* Once through the record: what every event was acknowledged as, and is the record whole? */
static void survey(struct explorer *explorer)
{
    struct record_header header;
    const uint8_t *data = NULL;
    /* An event takes more bytes of the record than its envelope and payload have. */
    marks_init(&explorer->marks, explorer->record_bytes / 256 + 2);
    struct disk *disk = disk_new(sector_bytes(&explorer->options));
    for (size_t at = 0; next_entry(explorer, &at, &header, &data);) {
        if (!disk_begin(disk, &header, data) || !disk_finish(disk, &header)) {
            exit(EXIT_FAILURE);
        }
        if (header.kind == RECORD_MARK) {
            marks_learn(&explorer->marks, data, (size_t)header.data_bytes);
        }
    }
    if (!marks_are_whole(&explorer->marks) || !disk_matches(disk, explorer->record_root)) {
        (void)fprintf(stderr, "the record does not lead to the files that the workload left\n");
        exit(EXIT_FAILURE);
    }
    disk_free(disk);
}

/* ------------------------------------------------------------------ searching */

/* True where it was not there before. */
static bool see(struct explorer *explorer, uint64_t hash)
{
    if (2 * explorer->states >= explorer->seen_slots) {
        size_t slots = explorer->seen_slots == 0 ? SEEN_SLOTS_LEAST : 2 * explorer->seen_slots;
        uint64_t *old = explorer->seen;
        size_t old_slots = explorer->seen_slots;
        explorer->seen = allocate(slots, sizeof *explorer->seen);
        explorer->seen_slots = slots;
        for (size_t i = 0; i < old_slots; i++) {
            size_t slot = (size_t)old[i] & (slots - 1);
            while (old[i] != 0 && explorer->seen[slot] != 0) {
                slot = (slot + 1) & (slots - 1);
            }
            explorer->seen[slot] = old[i] != 0 ? old[i] : explorer->seen[slot];
        }
        free(old);
    }
    hash |= hash == 0;
    size_t slot = (size_t)hash & (explorer->seen_slots - 1);
    while (explorer->seen[slot] != 0 && explorer->seen[slot] != hash) {
        slot = (slot + 1) & (explorer->seen_slots - 1);
    }
    bool is_new = explorer->seen[slot] == 0;
    explorer->seen[slot] = hash;
    return is_new;
}

/* Lay a broken state down again, as it was before the check opened it, for people to look at. */
static void keep_broken(const struct explorer *explorer, const struct disk *disk,
                        enum disk_choice choice, uint64_t random)
{
    char path[2 * TEMP_DIR_BYTES + 32];
    uint64_t hash = 0;
    (void)snprintf(path, sizeof path, "%s/broken-%" PRIu64, explorer->dir.path, explorer->broken);
    disk_lay_down(disk, choice, &random, path, &hash);
    (void)fprintf(stderr, "kept as %s\n", path);
}

static bool check_state(const struct explorer *explorer, const struct check_plan *plan)
{
    char image[2 * TEMP_DIR_BYTES + 16];
    if (!explorer->options.is_stack) {
        return check_in_child(plan);
    }
    (void)snprintf(image, sizeof image, "%s/%s", explorer->state_root, BLOCK_RECORDER_IMAGE);
    if (!stack_mount(image, explorer->mounted, explorer->mount_options)) {
        return false;
    }
    bool is_whole = check_in_child(plan);
    stack_unmount(explorer->mounted);
    return is_whole;
}

/* One state of the disk as it is now: lay it down and check it. */
static void explore(struct explorer *explorer, const struct disk *disk, enum disk_choice choice,
                    size_t entry)
{
    const struct options *options = &explorer->options;
    uint64_t random_before = explorer->random;
    uint64_t hash = 0;
    disk_lay_down(disk, choice, &explorer->random, explorer->state_root, &hash);
    struct check_plan plan = {
        .root = options->is_stack ? explorer->mounted : explorer->state_root,
        /* Relaxed: the last transaction may be missing, never one before it. */
        .least = options->is_relaxed ? explorer->marks.before : explorer->marks.now,
        .is_boundary = explorer->marks.is_boundary,
        .events_max = explorer->marks.events_max,
        .cids = explorer->marks.cids,
        .number = explorer->states,
        .durability = options->is_relaxed ? QUIPU_RELAXED : QUIPU_DURABLE,
    };
    const struct check_least *least = &plan.least;
    hash += (least->events * 31 + least->cursor) * 31 + least->checkpoint;
    if (!see(explorer, hash)) {
        explorer->repeated++;
    } else {
        explorer->states++;
        if (!check_state(explorer, &plan)) {
            explorer->broken++;
            (void)fprintf(
                stderr,
                "%s: seed %" PRIu64 ", %" PRIu64 " steps, entry %zu of the record, choice "
                "%d from random state %" PRIu64 ", %" PRIu64 " events acknowledged\n",
                options->is_without_sync ? "broken, as it should be" : "BROKEN", options->seed,
                options->steps, entry, (int)choice, random_before, least->events);
            if (!options->is_without_sync) {
                keep_broken(explorer, disk, choice, random_before);
            }
        }
    }
    struct temp_dir state;
    int len = snprintf(state.path, sizeof state.path, "%s", explorer->state_root);
    if (len < 0 || (size_t)len >= sizeof state.path) {
        die(explorer->state_root);
    }
    temp_dir_release(&state);
}

static bool is_over(const struct explorer *explorer)
{
    const struct options *options = &explorer->options;
    return explorer->broken >= BROKEN_MAX ||
           (options->seconds > 0 && seconds_since(&explorer->started) > (double)options->seconds);
}

/* Once through the record, with one state at each moment that is about to be settled: right before
 * it, all that came since the sync before is in doubt, and what is acknowledged by then counts. */
static void pass(struct explorer *explorer, enum disk_choice choice)
{
    struct record_header header;
    const uint8_t *data = NULL;
    size_t entry = 0;
    uint64_t syncs = 0;
    struct disk *disk = disk_new(sector_bytes(&explorer->options));
    marks_rewind(&explorer->marks, !explorer->options.is_stack);
    for (size_t at = 0; next_entry(explorer, &at, &header, &data) && !is_over(explorer); entry++) {
        bool is_sync = header.kind == RECORD_SYNC || header.is_synchronous != 0;
        if (!disk_begin(disk, &header, data)) {
            exit(EXIT_FAILURE);
        }
        explorer->marks.has_committed |= header.kind == RECORD_WRITE;
        if (header.kind == RECORD_MARK) {
            marks_take(&explorer->marks, data, (size_t)header.data_bytes);
        }
        if (is_sync && explorer->marks.has_begun && disk_doubts(disk) > 0) {
            syncs++;
            explorer->doubts_max =
                disk_doubts(disk) > explorer->doubts_max ? disk_doubts(disk) : explorer->doubts_max;
            explore(explorer, disk, choice, entry);
        }
        if (explorer->options.is_without_sync && explorer->marks.has_begun &&
            !disk_is_folder(disk, header.inode)) {
            if (syncs >= SYNCS_IN_DOUBT_MAX) {
                break;
            }
        } else if (!disk_finish(disk, &header)) {
            exit(EXIT_FAILURE);
        }
    }
    if (!is_over(explorer)) {
        explore(explorer, disk, choice, entry); /* everything has been acknowledged */
    }
    explorer->syncs = syncs > explorer->syncs ? syncs : explorer->syncs;
    disk_free(disk);
}

/* ------------------------------------------------------------------ the program */

static uint64_t parse_number(const char *text)
{
    char *end = NULL;
    uint64_t number = text == NULL ? 0 : strtoull(text, &end, 10);
    if (text == NULL || end == text || *end != 0) {
        (void)fprintf(stderr, "not a number: %s\n", text == NULL ? "(nothing)" : text);
        exit(2);
    }
    return number;
}

static void parse_options(struct options *options, int argc, char **argv)
{
    if (argc < 3) {
        (void)fprintf(stderr, "usage: crash_explorer RECORDER WORKLOAD [OPTION…]\n");
        exit(2);
    }
    *options = (struct options){.recorder = argv[1],
                                .workload = argv[2],
                                .kind = "plain",
                                .seed = 1,
                                .steps = 60,
                                .rounds = 6};
    for (int i = 3; i < argc; i++) {
        if (strcmp(argv[i], "--relaxed") == 0) {
            options->is_relaxed = true;
        } else if (strcmp(argv[i], "--without-sync") == 0) {
            options->is_without_sync = true;
        } else if (strcmp(argv[i], "--stack") == 0) {
            options->is_stack = true;
        } else if (strcmp(argv[i], "--threads") == 0 || strcmp(argv[i], "--imports") == 0) {
            options->kind = argv[i] + 2;
        } else if (strcmp(argv[i], "--seed") == 0) {
            options->seed = parse_number(argv[++i]);
        } else if (strcmp(argv[i], "--steps") == 0) {
            options->steps = parse_number(argv[++i]);
        } else if (strcmp(argv[i], "--rounds") == 0) {
            options->rounds = parse_number(argv[++i]);
        } else if (strcmp(argv[i], "--seconds") == 0) {
            options->seconds = parse_number(argv[++i]);
            options->rounds = ROUNDS_MAX;
        } else if (strcmp(argv[i], "--at-least") == 0) {
            options->at_least = parse_number(argv[++i]);
        } else {
            (void)fprintf(stderr, "unknown option: %s\n", argv[i]);
            exit(2);
        }
    }
}

static void explorer_init(struct explorer *explorer)
{
    /* States are written and read thousands of times: in memory, where there is room for it. */
    if (getenv("TMPDIR") == NULL && access("/dev/shm", W_OK) == 0 &&
        setenv("TMPDIR", "/dev/shm", 1) != 0) {
        die("setenv");
    }
    temp_dir_init(&explorer->dir);
    temp_dir_join(&explorer->dir, "record", explorer->record_root);
    temp_dir_join(&explorer->dir, "log", explorer->record_log);
    temp_dir_join(&explorer->dir, "state", explorer->state_root);
    temp_dir_join(&explorer->dir, "disk", explorer->disk);
    temp_dir_join(&explorer->dir, "mounted", explorer->mounted);
    if (mkdir(explorer->record_root, 0700) != 0 || mkdir(explorer->disk, 0700) != 0 ||
        mkdir(explorer->mounted, 0700) != 0) {
        die(explorer->record_root);
    }
    /* How the file system orders its data and its journal. */
    static const char *const modes[] = {"data=ordered", "data=writeback", "data=journal"};
    explorer->mount_options = modes[explorer->options.seed % (sizeof modes / sizeof modes[0])];
    explorer->random = explorer->options.seed;
    (void)clock_gettime(CLOCK_MONOTONIC, &explorer->started); /* cannot fail for this clock */
}

int main(int argc, char **argv)
{
    static struct explorer explorer;
    const struct options *options = &explorer.options;
    char why[160];
    parse_options(&explorer.options, argc, argv);
    if (options->is_stack && !stack_begin(why)) {
        (void)printf("skipped: the whole stack under a power cut: %s\n", why);
        return 77;
    }
    explorer_init(&explorer);
    run_workload(&explorer);
    load_record(&explorer);
    survey(&explorer);
    if (!options->is_without_sync) {
        pass(&explorer, DISK_NOTHING_KEPT);
        pass(&explorer, DISK_ALL_KEPT);
    }
    /* How many states differ hangs on how the threads fell into groups: more passes make it up. */
    uint64_t passes_max = options->rounds * 8;
    for (uint64_t i = 0; i < passes_max && !is_over(&explorer) &&
                         (i < options->rounds || explorer.states < options->at_least);
         i++) {
        pass(&explorer, DISK_RANDOM);
    }
    if (options->is_stack) {
        (void)printf("ext4, %s, ", explorer.mount_options);
    }
    (void)printf("%s, %s, seed %" PRIu64 ": %" PRIu64 " events, %" PRIu64 " syncs, up to %" PRIu64
                 " changes in doubt: %" PRIu64 " crash states (%" PRIu64 " more were repeated), "
                 "%" PRIu64 " broken, %.1f s\n",
                 options->kind, options->is_relaxed ? "relaxed" : "durable", options->seed,
                 explorer.marks.events_max, explorer.syncs, explorer.doubts_max, explorer.states,
                 explorer.repeated, explorer.broken, seconds_since(&explorer.started));
    if (explorer.broken == 0 || options->is_without_sync) {
        temp_dir_release(&explorer.dir);
    }
    free(explorer.record);
    marks_release(&explorer.marks);
    free(explorer.seen);
    bool is_right = (explorer.broken > 0) == options->is_without_sync;
    if (!options->is_without_sync && explorer.states < options->at_least) {
        (void)fprintf(stderr, "%" PRIu64 " states, wanted %" PRIu64 " at least\n", explorer.states,
                      options->at_least);
        is_right = false;
    }
    return is_right ? EXIT_SUCCESS : EXIT_FAILURE;
}

/*
 * Over the air gap and back: a store of many events is exported, plain and encrypted, and each file
 * is checked and imported into a fresh store. Beside that, over the same bytes: libsodium's bare
 * ChaCha20-Poly1305 in chunks of 64 KiB, and the program age where it is on PATH. Imports go the
 * program's way: in one transaction where that stays small, else into a copy. And the plain bundle
 * is imported once more, when all of it is known.
 *
 * All steps are done in each of --rounds. Prints the median of their seconds, events and MiB a
 * second at it, and the greatest memory of the process's own in each step (RssAnon, sampled every
 * few milliseconds, after the allocator gave back what was free: pages of mapped files are the
 * kernel's to take back). Fails where a store does not hold all events afterwards or --memory-max
 * is exceeded. Syncs where quipu does; age and the bare AEAD do not.
 *
 *   bench_airgap [--events N] [--rounds N] [--memory-max MIB] [--folder FOLDER]
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <sodium.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "quipu/bundle.h"
#include "quipu/dagcbor.h"

#define EVENTS_DEFAULT UINT64_C(50000)
#define ROUNDS_MAX     99
#define BATCH          1000u
#define AGGREGATES     1000u
#define PAYLOAD_BYTES  240u
#define SAMPLE_NANOS   3000000
#define PATH_BYTES     512
#define MIB            (1024.0 * 1024.0)
#define TAG            ((size_t)crypto_aead_chacha20poly1305_ietf_ABYTES)

extern char **environ;

enum step {
    STEP_EXPORT = 0,
    STEP_EXPORT_SEALED,
    STEP_CHECK,
    STEP_CHECK_SEALED,
    STEP_IMPORT,
    STEP_IMPORT_SEALED,
    STEP_IMPORT_KNOWN,
    STEP_BARE,
    STEP_AGE_SEAL,
    STEP_AGE_OPEN,
    STEPS,
};

static const char *const step_names[STEPS] = {
    "export",
    "export, encrypted",
    "check",
    "check, encrypted",
    "import",
    "import, encrypted",
    "import, all known",
    "bare AEAD, there and back",
    "age -r",
    "age -d",
};

/* What a step took, in each round. */
struct taken {
    double seconds[ROUNDS_MAX];
    size_t rounds;
    uint64_t peak_kib; /* of its own memory; 0: it has none here */
    bool is_staged;    /* into a copy of the store */
};

struct bench {
    uint64_t events;
    uint64_t rounds;
    struct taken taken[STEPS];
    uint64_t memory_max_mib;
    const char *folder;
    uint64_t file_bytes;
    struct quipu_age_secrets *secrets;
    struct quipu_age_recipient recipient;
};

static atomic_bool is_watching;
static _Atomic uint64_t peak_kib;
static uint64_t greatest_kib;

static void die(const char *what, const char *why)
{
    (void)fprintf(stderr, "bench_airgap: %s: %s\n", what, why);
    exit(1);
}

static void must(enum quipu_status status, const char *what, const struct quipu_error *err)
{
    if (status != QUIPU_OK) {
        die(what, err->message);
    }
}

static double now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time); /* cannot fail for this clock */
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void path_of(const struct bench *bench, const char *name, char out[PATH_BYTES])
{
    int len = snprintf(out, PATH_BYTES, "%s/%s", bench->folder, name);
    if (len < 0 || len >= PATH_BYTES) {
        die(bench->folder, "too long a path");
    }
}

/* ------------------------------------------------------------------ memory */

static uint64_t memory_kib(void)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[128];
    uint64_t kib = 0;
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        (void)sscanf(line, "RssAnon: %" SCNu64, &kib);
    }
    if (file == NULL || kib == 0) {
        die("/proc/self/status", "does not say RssAnon");
    }
    (void)fclose(file); /* was only read */
    return kib;
}

static void *watch(void *ctx)
{
    (void)ctx;
    while (atomic_load(&is_watching)) {
        uint64_t kib = memory_kib();
        if (kib > atomic_load(&peak_kib)) {
            atomic_store(&peak_kib, kib);
        }
        struct timespec pause = {.tv_nsec = SAMPLE_NANOS};
        (void)nanosleep(&pause, NULL); /* a sampler: a shorter pause is as good */
    }
    return NULL;
}

static double step_began;

static void step_begin(void)
{
    (void)malloc_trim(0); /* whether there was anything does not matter */
    atomic_store(&peak_kib, 0);
    step_began = now();
}

static void step_end(struct bench *bench, enum step step)
{
    struct taken *taken = &bench->taken[step];
    taken->seconds[taken->rounds++] = now() - step_began;
    if (step < STEP_BARE) {
        uint64_t kib = memory_kib();
        kib = kib > atomic_load(&peak_kib) ? kib : atomic_load(&peak_kib);
        greatest_kib = kib > greatest_kib ? kib : greatest_kib;
        taken->peak_kib = kib > taken->peak_kib ? kib : taken->peak_kib;
    }
}

static int by_size(const void *a, const void *b)
{
    const double *left = a;
    const double *right = b;
    return (*left > *right) - (*left < *right);
}

static void print_step(struct bench *bench, enum step step)
{
    struct taken *taken = &bench->taken[step];
    if (taken->rounds == 0) {
        (void)printf("%-28s left out: it is not on PATH\n", step_names[step]);
        return;
    }
    qsort(taken->seconds, taken->rounds, sizeof *taken->seconds, by_size);
    size_t middle = taken->rounds / 2;
    double seconds = taken->rounds % 2 == 1
                         ? taken->seconds[middle]
                         : (taken->seconds[middle - 1] + taken->seconds[middle]) / 2;
    (void)printf("%-28s %9.3f %9.3f %9.3f %12.0f %9.1f", step_names[step], seconds,
                 taken->seconds[0], taken->seconds[taken->rounds - 1],
                 (double)bench->events / seconds, (double)bench->file_bytes / MIB / seconds);
    if (taken->peak_kib > 0) {
        (void)printf(" %9.1f", (double)taken->peak_kib / 1024);
    }
    (void)printf("%s\n", taken->is_staged ? "  into a copy" : "");
}

/* ------------------------------------------------------------------ stores */

struct opened {
    struct quipu_store *store;
    struct quipu_engine *engine;
};

static struct opened open_store(const char *path)
{
    struct opened opened = {NULL, NULL};
    struct quipu_error err;
    must(quipu_store_open(path, NULL, &opened.store, &err), "open", &err);
    must(quipu_engine_open(opened.store, NULL, &opened.engine, &err), "open", &err);
    return opened;
}

static void close_store(struct opened *opened)
{
    quipu_engine_close(&opened->engine);
    quipu_store_close(&opened->store);
}

static void write_payload(uint64_t number, struct quipu_buf *out)
{
    uint8_t pad[PAYLOAD_BYTES];
    struct quipu_dagcbor_writer writer;
    struct quipu_error err;
    uint8_t seed[randombytes_SEEDBYTES] = {0};
    memcpy(seed, &number, sizeof number);
    randombytes_buf_deterministic(pad, sizeof pad, seed);
    quipu_buf_reset(out);
    quipu_dagcbor_writer_init(&writer, out);
    quipu_dagcbor_write_bytes(&writer, quipu_slice(pad, sizeof pad));
    must(quipu_dagcbor_writer_finish(&writer, &err), "payload", &err);
}

static void fill(const struct bench *bench, struct quipu_engine *engine)
{
    static struct quipu_event events[BATCH];
    static struct quipu_buf payloads[BATCH];
    static char ids[BATCH][24];
    struct quipu_error err;
    for (uint64_t done = 0; done < bench->events;) {
        size_t count = 0;
        for (; count < BATCH && done + count < bench->events; count++) {
            write_payload(done + count, &payloads[count]);
            (void)snprintf(ids[count], sizeof ids[count], "key-%" PRIu64,
                           (done + count) % AGGREGATES);
            events[count] = (struct quipu_event){
                .type = "key.used",
                .aggregate = {"key", ids[count]},
                .payload = quipu_buf_slice(&payloads[count]),
            };
        }
        must(quipu_append_batch(engine, events, count, NULL, NULL, &err), "fill", &err);
        done += count;
    }
    for (size_t i = 0; i < BATCH; i++) {
        quipu_buf_release(&payloads[i]);
    }
}

/* ------------------------------------------------------------------ there */

static void export_to(struct bench *bench, struct quipu_engine *engine, const char *name,
                      bool is_encrypted)
{
    struct quipu_export_options options = QUIPU_EXPORT_OPTIONS_INIT;
    struct quipu_age_write_options encryption = QUIPU_AGE_WRITE_OPTIONS_INIT;
    struct quipu_export_report report;
    struct quipu_error err;
    char path[PATH_BYTES];
    path_of(bench, name, path);
    encryption.recipients = &bench->recipient;
    encryption.recipient_count = 1;
    options.encryption = is_encrypted ? &encryption : NULL;
    step_begin();
    must(quipu_export(engine, path, &options, &report, &err), "export", &err);
    bench->file_bytes = report.file_bytes;
    step_end(bench, is_encrypted ? STEP_EXPORT_SEALED : STEP_EXPORT);
    if (report.events != bench->events) {
        die(name, "does not hold all events");
    }
}

static void check(struct bench *bench, const char *name, bool is_encrypted)
{
    struct quipu_bundle_check_options options = QUIPU_BUNDLE_CHECK_OPTIONS_INIT;
    struct quipu_error err;
    char path[PATH_BYTES];
    path_of(bench, name, path);
    options.secrets = bench->secrets;
    step_begin();
    must(quipu_bundle_check_with(path, &options, NULL, &err), "check", &err);
    step_end(bench, is_encrypted ? STEP_CHECK_SEALED : STEP_CHECK);
}

/* ------------------------------------------------------------------ back */

/* As the program does: see accept_it in cli/verb_import.c. */
static void import_into(struct bench *bench, const char *name, const char *store, enum step step)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_import *import = NULL;
    struct quipu_import_report report;
    struct quipu_error err;
    char path[PATH_BYTES];
    char folder[PATH_BYTES];
    path_of(bench, name, path);
    path_of(bench, store, folder);
    options.secrets = bench->secrets;
    options.accept_gap = "several exports of one store";
    struct opened office = open_store(folder);
    step_begin();
    must(quipu_import_open(office.engine, path, &options, &import, &err), "import", &err);
    enum quipu_status status = quipu_import_accept_within(
        import, office.engine, QUIPU_IMPORT_MEMORY_DEFAULT, &report, &err);
    if (status == QUIPU_TOO_LARGE) {
        bench->taken[step].is_staged = true;
        close_store(&office);
        status = quipu_import_accept_alone(import, folder, &report, &err);
    }
    must(status, "import", &err);
    quipu_import_close(&import);
    step_end(bench, step);
    if ((step == STEP_IMPORT_KNOWN ? report.events.known : report.events.added) != bench->events) {
        die(store, "does not hold all events");
    }
    close_store(&office);
}

/* ------------------------------------------------------------------ peers */

static void bare(struct bench *bench, const char *name)
{
    static uint8_t plain[QUIPU_AGE_CHUNK_BYTES];
    static uint8_t sealed[QUIPU_AGE_CHUNK_BYTES + 64];
    uint8_t key[crypto_aead_chacha20poly1305_ietf_KEYBYTES];
    uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES] = {0};
    char path[PATH_BYTES];
    path_of(bench, name, path);
    crypto_aead_chacha20poly1305_ietf_keygen(key);
    FILE *from = fopen(path, "rb");
    if (from == NULL) {
        die(path, strerror(errno));
    }
    step_begin();
    for (size_t got = 1; got > 0;) {
        got = fread(plain, 1, sizeof plain, from);
        sodium_increment(nonce, sizeof nonce);
        (void)crypto_aead_chacha20poly1305_ietf_encrypt(sealed, NULL, plain, got, NULL, 0, NULL,
                                                        nonce, key); /* always 0 */
        if (crypto_aead_chacha20poly1305_ietf_decrypt(plain, NULL, NULL, sealed, got + TAG, NULL, 0,
                                                      nonce, key) != 0) {
            die("bare AEAD", "does not open its own chunk");
        }
    }
    step_end(bench, STEP_BARE);
    (void)fclose(from); /* was only read */
}

#define ARGUMENTS_MAX 8

/* The spawning call takes pointers without const, and does not write through them. */
static bool run(const char *const arguments[])
{
    char *argv[ARGUMENTS_MAX] = {NULL};
    for (size_t i = 0; i + 1 < ARGUMENTS_MAX && arguments[i] != NULL; i++) {
        memcpy(&argv[i], &arguments[i], sizeof argv[i]);
    }
    pid_t child = 0;
    int state = 0;
    int failed = posix_spawnp(&child, argv[0], NULL, NULL, argv, environ);
    if (failed != 0) {
        return false;
    }
    return waitpid(child, &state, 0) == child && WIFEXITED(state) && WEXITSTATUS(state) == 0;
}

static void peer(struct bench *bench, const char *name)
{
    char from[PATH_BYTES];
    char to[PATH_BYTES];
    char back[PATH_BYTES];
    char key[PATH_BYTES];
    char recipient[QUIPU_AGE_RECIPIENT_TEXT_BYTES];
    char identity[QUIPU_AGE_IDENTITY_TEXT_BYTES];
    path_of(bench, name, from);
    path_of(bench, "peer.age", to);
    path_of(bench, "peer.car", back);
    path_of(bench, "peer.key", key);
    quipu_age_recipient_format(&bench->recipient, recipient);
    if (quipu_age_secrets_format(bench->secrets, 0, identity) != QUIPU_OK) {
        die("peer", "no identity");
    }
    FILE *file = fopen(key, "w"); /* of this run, and gone with it */
    if (file == NULL || fputs(identity, file) < 0 || fclose(file) != 0) {
        die(key, strerror(errno));
    }
    const char *const encrypt[] = {"age", "-r", recipient, "-o", to, from, NULL};
    const char *const decrypt[] = {"age", "-d", "-i", key, "-o", back, to, NULL};
    step_begin();
    if (!run(encrypt)) {
        return; /* it is not on PATH */
    }
    step_end(bench, STEP_AGE_SEAL);
    step_begin();
    if (!run(decrypt)) {
        die("age -d", "failed");
    }
    step_end(bench, STEP_AGE_OPEN);
}

/* ------------------------------------------------------------------ main */

static void remove_made(const struct bench *bench, const char *name)
{
    char path[PATH_BYTES];
    path_of(bench, name, path);
    const char *const argv[] = {"rm", "-rf", "--", path, NULL};
    if (!run(argv)) {
        die(path, "could not be removed");
    }
}

static void measure_round(struct bench *bench)
{
    static const char *const made[] = {"plain.car", "sealed.age", "plain",   "sealed",
                                       "peer.age",  "peer.car",   "peer.key"};
    struct opened vault;
    char path[PATH_BYTES];
    path_of(bench, "vault", path);
    vault = open_store(path);
    export_to(bench, vault.engine, "plain.car", false);
    export_to(bench, vault.engine, "sealed.age", true);
    close_store(&vault);
    check(bench, "plain.car", false);
    check(bench, "sealed.age", true);
    import_into(bench, "plain.car", "plain", STEP_IMPORT);
    import_into(bench, "sealed.age", "sealed", STEP_IMPORT_SEALED);
    import_into(bench, "plain.car", "plain", STEP_IMPORT_KNOWN);
    bare(bench, "plain.car");
    peer(bench, "plain.car");
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) {
        remove_made(bench, made[i]);
    }
}

static void measure(struct bench *bench)
{
    char path[PATH_BYTES];
    path_of(bench, "vault", path);
    struct opened vault = open_store(path);
    fill(bench, vault.engine);
    close_store(&vault);
    for (uint64_t round = 0; round < bench->rounds; round++) {
        measure_round(bench);
    }
    (void)printf("%" PRIu64 " events of %u bytes of payload, %u aggregates, %" PRIu64 " round%s\n",
                 bench->events, PAYLOAD_BYTES, AGGREGATES, bench->rounds,
                 bench->rounds == 1 ? "" : "s");
    (void)printf("%-28s %9s %9s %9s %12s %9s %9s\n", "", "median s", "least", "most", "events/s",
                 "MiB/s", "MiB own");
    for (size_t step = 0; step < STEPS; step++) {
        print_step(bench, (enum step)step);
    }
}

static void read_options(struct bench *bench, int argc, char **argv)
{
    static const struct option options[] = {{"events", required_argument, NULL, 'e'},
                                            {"rounds", required_argument, NULL, 'r'},
                                            {"memory-max", required_argument, NULL, 'm'},
                                            {"folder", required_argument, NULL, 'f'},
                                            {NULL, 0, NULL, 0}};
    for (int found; (found = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (found) {
        case 'e':
            bench->events = strtoull(optarg, NULL, 10);
            break;
        case 'r':
            bench->rounds = strtoull(optarg, NULL, 10);
            break;
        case 'm':
            bench->memory_max_mib = strtoull(optarg, NULL, 10);
            break;
        case 'f':
            bench->folder = optarg;
            break;
        default:
            exit(2);
        }
    }
    if (bench->events == 0) {
        die("--events", "wants a number from 1 on");
    }
    if (bench->rounds == 0 || bench->rounds > ROUNDS_MAX) {
        die("--rounds", "wants a number from 1 to 99");
    }
}

int main(int argc, char **argv)
{
    static struct bench bench = {.events = EVENTS_DEFAULT, .rounds = 1, .folder = "/tmp"};
    struct quipu_error err;
    pthread_t watcher;
    char folder[PATH_BYTES];
    read_options(&bench, argc, argv);
    path_of(&bench, "quipu-bench-airgap-XXXXXX", folder);
    if (sodium_init() < 0 || mkdtemp(folder) == NULL) {
        die(folder, strerror(errno));
    }
    bench.folder = folder;
    must(quipu_age_secrets_new(&bench.secrets, &err), "keys", &err);
    must(quipu_age_secrets_generate(bench.secrets, NULL, &err), "keys", &err);
    must(quipu_age_secrets_recipient(bench.secrets, 0, &bench.recipient), "keys", &err);
    atomic_store(&is_watching, true);
    if (pthread_create(&watcher, NULL, watch, NULL) != 0) {
        die("thread", "could not be made");
    }
    measure(&bench);
    atomic_store(&is_watching, false);
    (void)pthread_join(watcher, NULL); /* it ends by itself */
    quipu_age_secrets_free(&bench.secrets);
    remove_made(&bench, "");
    if (bench.memory_max_mib > 0 && greatest_kib > bench.memory_max_mib * 1024) {
        die("memory", "more than --memory-max");
    }
    return 0;
}

/*
 * How fast age files are written and read, beside libsodium's bare ChaCha20-Poly1305 over the same
 * bytes in the same chunks, and beside the program age where it is on PATH. In memory, and from
 * file to file (in the page cache; nobody syncs). All in one run, each on one thread, but age,
 * which is free to use more.
 *
 *   bench_age [--mib N] [--rounds N] [--dir FOLDER]
 *
 * Prints the median of N rounds (5 by default), which the cases take in turns, over N MiB (64 by
 * default), and each case's rate as a ratio of its bare peer's.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sodium.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "quipu/age.h"

#define MIB        ((size_t)1 << 20)
#define TAG        ((size_t)crypto_aead_chacha20poly1305_ietf_ABYTES)
#define SEALED     (QUIPU_AGE_CHUNK_BYTES + TAG)
#define ROUNDS_MAX 99
#define PATH_BYTES 512

extern char **environ;

struct bench {
    size_t bytes;
    uint8_t *plain;  /* `bytes` of it */
    uint8_t *sealed; /* the same, bare: chunk after chunk */
    struct quipu_buf age;
    struct quipu_age_secrets *secrets;
    struct quipu_age_recipient recipient;
    char paths[6][PATH_BYTES];
    uint8_t key[crypto_aead_chacha20poly1305_ietf_KEYBYTES];
};

enum path { PLAIN, KEY, BARE, AGE, OUT, THEIRS };

static void die(const char *what)
{
    (void)fprintf(stderr, "bench_age: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void must(enum quipu_status status, const struct quipu_error *err)
{
    if (status != QUIPU_OK) {
        (void)fprintf(stderr, "bench_age: %s: %s\n", quipu_status_name(status), err->message);
        exit(1);
    }
}

static int open_path(const struct bench *bench, enum path path, bool is_new)
{
    int fd = open(bench->paths[path],
                  is_new ? O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC : O_RDONLY | O_CLOEXEC, 0600);
    if (fd < 0) {
        die(bench->paths[path]);
    }
    return fd;
}

/* ------------------------------------------------------------------ bare */

static void bare_nonce(size_t number, uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES])
{
    memset(nonce, 0, crypto_aead_chacha20poly1305_ietf_NPUBBYTES);
    memcpy(nonce, &number, sizeof number);
}

static void seal(const struct bench *bench, size_t number, const uint8_t *plain, size_t len,
                 uint8_t *out)
{
    uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
    bare_nonce(number, nonce);
    (void)crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, plain, len, NULL, 0, NULL, nonce,
                                                    bench->key); /* always 0 */
}

static void unseal(const struct bench *bench, size_t number, const uint8_t *sealed, size_t len,
                   uint8_t *out)
{
    uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
    bare_nonce(number, nonce);
    if (crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, sealed, len, NULL, 0, nonce,
                                                  bench->key) != 0) {
        die("bare AEAD does not open its own chunk");
    }
}

/* Each chunk into the same 64 KiB, as a stream would. */
static void bare_encrypt(struct bench *bench)
{
    static uint8_t out[SEALED];
    for (size_t at = 0, i = 0; at < bench->bytes; at += QUIPU_AGE_CHUNK_BYTES, i++) {
        seal(bench, i, bench->plain + at, QUIPU_AGE_CHUNK_BYTES, out);
    }
}

static void bare_decrypt(struct bench *bench)
{
    static uint8_t out[QUIPU_AGE_CHUNK_BYTES];
    size_t chunks = bench->bytes / QUIPU_AGE_CHUNK_BYTES;
    for (size_t i = 0; i < chunks; i++) {
        unseal(bench, i, bench->sealed + i * SEALED, SEALED, out);
    }
}

static void bare_file(struct bench *bench, enum path from, enum path to, bool is_encrypt)
{
    static uint8_t in[SEALED];
    static uint8_t out[SEALED];
    struct quipu_error err;
    int in_fd = open_path(bench, from, false);
    int out_fd = open_path(bench, to, true);
    struct quipu_sink sink = quipu_sink_fd(&out_fd);
    size_t step = is_encrypt ? QUIPU_AGE_CHUNK_BYTES : SEALED;
    size_t got = 0;
    for (size_t i = 0;; i++) {
        must(quipu_source_read_full(quipu_source_fd(&in_fd), in, step, &got, &err), &err);
        if (got == 0) {
            break;
        }
        if (is_encrypt) {
            seal(bench, i, in, got, out);
        } else {
            unseal(bench, i, in, got, out);
        }
        must(sink.write(sink.ctx, quipu_slice(out, is_encrypt ? got + TAG : got - TAG), &err),
             &err);
    }
    (void)close(in_fd);  /* was only read */
    (void)close(out_fd); /* a benchmark's file */
}

static void bare_file_encrypt(struct bench *bench)
{
    bare_file(bench, PLAIN, BARE, true);
}

static void bare_file_decrypt(struct bench *bench)
{
    bare_file(bench, BARE, OUT, false);
}

/* ------------------------------------------------------------------ quipu */

static enum quipu_status drop(void *ctx, struct quipu_slice bytes, struct quipu_error *err)
{
    size_t *total = ctx;
    (void)err;
    *total += bytes.len;
    return QUIPU_OK;
}

static struct quipu_age_write_options options_of(const struct bench *bench,
                                                 enum quipu_age_form form)
{
    struct quipu_age_write_options options = QUIPU_AGE_WRITE_OPTIONS_INIT;
    options.recipients = &bench->recipient;
    options.recipient_count = 1;
    options.form = form;
    return options;
}

static void encrypt_as(struct bench *bench, enum quipu_age_form form)
{
    struct quipu_error err;
    size_t total = 0;
    struct quipu_slice rest = quipu_slice(bench->plain, bench->bytes);
    struct quipu_age_write_options options = options_of(bench, form);
    must(quipu_age_encrypt(quipu_source_slice(&rest), &options, (struct quipu_sink){drop, &total},
                           &err),
         &err);
}

static void quipu_encrypt(struct bench *bench)
{
    encrypt_as(bench, QUIPU_AGE_BINARY);
}

static void quipu_encrypt_armored(struct bench *bench)
{
    encrypt_as(bench, QUIPU_AGE_ARMORED);
}

static void quipu_decrypt(struct bench *bench)
{
    struct quipu_error err;
    size_t total = 0;
    struct quipu_slice rest = quipu_buf_slice(&bench->age);
    must(quipu_age_decrypt(quipu_source_slice(&rest), bench->secrets, NULL,
                           (struct quipu_sink){drop, &total}, &err),
         &err);
}

static void quipu_file_encrypt(struct bench *bench)
{
    struct quipu_error err;
    struct quipu_age_write_options options = options_of(bench, QUIPU_AGE_BINARY);
    int in = open_path(bench, PLAIN, false);
    int out = open_path(bench, AGE, true);
    must(quipu_age_encrypt(quipu_source_fd(&in), &options, quipu_sink_fd(&out), &err), &err);
    (void)close(in);  /* was only read */
    (void)close(out); /* a benchmark's file */
}

static void quipu_file_decrypt(struct bench *bench)
{
    struct quipu_error err;
    int in = open_path(bench, AGE, false);
    int out = open_path(bench, OUT, true);
    must(quipu_age_decrypt(quipu_source_fd(&in), bench->secrets, NULL, quipu_sink_fd(&out), &err),
         &err);
    (void)close(in);  /* was only read */
    (void)close(out); /* a benchmark's file */
}

/* ------------------------------------------------------------------ age */

static bool run_age(char *const argv[])
{
    pid_t child = 0;
    int ended = 0;
    if (posix_spawnp(&child, "age", NULL, NULL, argv, environ) != 0) {
        return false;
    }
    return waitpid(child, &ended, 0) == child && ended == 0;
}

static void age_file_encrypt(struct bench *bench)
{
    char text[QUIPU_AGE_RECIPIENT_TEXT_BYTES];
    char name[] = "age";
    char to[] = "-r";
    char output[] = "-o";
    quipu_age_recipient_format(&bench->recipient, text);
    char *argv[] = {name, to, text, output, bench->paths[THEIRS], bench->paths[PLAIN], NULL};
    if (!run_age(argv)) {
        die("age");
    }
}

static void age_file_decrypt(struct bench *bench)
{
    char name[] = "age";
    char way[] = "-d";
    char with[] = "-i";
    char output[] = "-o";
    char *argv[] = {
        name, way, with, bench->paths[KEY], output, bench->paths[OUT], bench->paths[THEIRS], NULL};
    if (!run_age(argv)) {
        die("age");
    }
}

/* ------------------------------------------------------------------ run */

struct one_case {
    const char *name;
    void (*run)(struct bench *bench);
    int bare; /* the case that the ratio is to */
    bool needs_age;
    double seconds[ROUNDS_MAX];
};

static struct one_case cases[] = {
    {"memory: encrypt, bare AEAD", bare_encrypt, 0, false, {0}},
    {"memory: encrypt, quipu", quipu_encrypt, 0, false, {0}},
    {"memory: encrypt, quipu, armored", quipu_encrypt_armored, 0, false, {0}},
    {"memory: decrypt, bare AEAD", bare_decrypt, 3, false, {0}},
    {"memory: decrypt, quipu", quipu_decrypt, 3, false, {0}},
    {"file: encrypt, bare AEAD", bare_file_encrypt, 5, false, {0}},
    {"file: encrypt, quipu", quipu_file_encrypt, 5, false, {0}},
    {"file: encrypt, age", age_file_encrypt, 5, true, {0}},
    {"file: decrypt, bare AEAD", bare_file_decrypt, 8, false, {0}},
    {"file: decrypt, quipu", quipu_file_decrypt, 8, false, {0}},
    {"file: decrypt, age", age_file_decrypt, 8, true, {0}},
};

#define CASES (sizeof cases / sizeof cases[0])

static double now(void)
{
    struct timespec at;
    (void)clock_gettime(CLOCK_MONOTONIC, &at); /* cannot fail for this clock */
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static void write_key(struct bench *bench)
{
    char text[QUIPU_AGE_IDENTITY_TEXT_BYTES];
    struct quipu_error err = {.message = ""};
    int fd = open_path(bench, KEY, true);
    struct quipu_sink sink = quipu_sink_fd(&fd);
    must(quipu_age_secrets_format(bench->secrets, 0, text), &err);
    must(sink.write(sink.ctx, quipu_slice_text(text), &err), &err);
    sodium_memzero(text, sizeof text);
    (void)close(fd); /* a benchmark's file */
}

static void prepare(struct bench *bench, const char *folder)
{
    static const char *const NAMES[] = {"plain", "key", "bare", "ours.age", "out", "theirs.age"};
    struct quipu_error err = {.message = ""};
    struct quipu_age_write_options options;
    size_t chunks = bench->bytes / QUIPU_AGE_CHUNK_BYTES;
    for (int i = 0; i < 6; i++) {
        (void)snprintf(bench->paths[i], PATH_BYTES, "%s/%s", folder, NAMES[i]);
    }
    bench->plain = malloc(bench->bytes);
    bench->sealed = malloc(chunks * SEALED);
    if (bench->plain == NULL || bench->sealed == NULL) {
        die("no memory");
    }
    randombytes_buf(bench->plain, bench->bytes);
    randombytes_buf(bench->key, sizeof bench->key);
    for (size_t i = 0; i < chunks; i++) {
        seal(bench, i, bench->plain + i * QUIPU_AGE_CHUNK_BYTES, QUIPU_AGE_CHUNK_BYTES,
             bench->sealed + i * SEALED);
    }
    must(quipu_age_secrets_new(&bench->secrets, &err), &err);
    must(quipu_age_secrets_generate(bench->secrets, NULL, &err), &err);
    must(quipu_age_secrets_recipient(bench->secrets, 0, &bench->recipient), &err);
    write_key(bench);
    struct quipu_slice rest = quipu_slice(bench->plain, bench->bytes);
    options = options_of(bench, QUIPU_AGE_BINARY);
    must(quipu_age_encrypt(quipu_source_slice(&rest), &options, quipu_sink_buf(&bench->age), &err),
         &err);
    int fd = open_path(bench, PLAIN, true);
    struct quipu_sink sink = quipu_sink_fd(&fd);
    must(sink.write(sink.ctx, quipu_slice(bench->plain, bench->bytes), &err), &err);
    (void)close(fd); /* a benchmark's file */
}

static void report(const struct bench *bench, int rounds, bool has_age)
{
    double mib = (double)bench->bytes / (double)MIB;
    for (size_t i = 0; i < CASES; i++) {
        qsort(cases[i].seconds, (size_t)rounds, sizeof cases[i].seconds[0], compare);
    }
    (void)printf("%.0f MiB, median of %d rounds\n%-34s %10s %8s\n", mib, rounds, "case", "MiB/s",
                 "of bare");
    for (size_t i = 0; i < CASES; i++) {
        if (cases[i].needs_age && !has_age) {
            (void)printf("%-34s   skipped: age is not on PATH\n", cases[i].name);
            continue;
        }
        double seconds = cases[i].seconds[rounds / 2];
        double bare = cases[cases[i].bare].seconds[rounds / 2];
        (void)printf("%-34s %10.0f %8.2f\n", cases[i].name, mib / seconds, bare / seconds);
    }
}

int main(int argc, char **argv)
{
    static const struct option OPTIONS[] = {
        {"mib", required_argument, NULL, 'm'},
        {"rounds", required_argument, NULL, 'r'},
        {"dir", required_argument, NULL, 'd'},
        {0},
    };
    struct bench bench = {.bytes = 64 * MIB};
    const char *parent = "/tmp";
    char folder[PATH_BYTES / 2];
    int rounds = 5;
    for (int c; (c = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;) {
        long number = c == 'm' || c == 'r' ? strtol(optarg, NULL, 10) : 0;
        if (c == 'd') {
            parent = optarg;
        } else if (c == 'm' && number > 0 && number <= 4096) {
            bench.bytes = (size_t)number * MIB;
        } else if (c == 'r' && number > 0 && number <= ROUNDS_MAX) {
            rounds = (int)number;
        } else {
            (void)fputs("usage: bench_age [--mib N] [--rounds N] [--dir FOLDER]\n", stderr);
            return 2;
        }
    }
    (void)snprintf(folder, sizeof folder, "%s/quipu-bench-age-XXXXXX", parent);
    if (sodium_init() < 0 || mkdtemp(folder) == NULL) {
        die(folder);
    }
    prepare(&bench, folder);
    char name[] = "age";
    char version[] = "--version";
    char *argv_age[] = {name, version, NULL};
    bool has_age = run_age(argv_age);
    /* One round more, which is not counted: it makes the files that others read. */
    for (int round = -1; round < rounds; round++) {
        for (size_t i = 0; i < CASES; i++) {
            double start = now();
            if (!cases[i].needs_age || has_age) {
                cases[i].run(&bench);
            }
            cases[i].seconds[round < 0 ? 0 : round] = now() - start;
        }
    }
    report(&bench, rounds, has_age);
    for (int i = 0; i < 6; i++) {
        (void)unlink(bench.paths[i]); /* THEIRS is not there without age */
    }
    (void)rmdir(folder); /* ours, and empty now */
    quipu_age_secrets_free(&bench.secrets);
    quipu_buf_release(&bench.age);
    free(bench.plain);
    free(bench.sealed);
    return 0;
}

/*
 * quipu-agecheck: encrypts and decrypts one age file with quipu's own implementation, so that any
 * suite of vectors, and any other implementation, can be run against it. Its exit code names the
 * class of a failure (--help prints the table); a failure leaves no OUT.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "quipu/age.h"

#define EXIT_MACHINE        1
#define EXIT_USAGE          2
#define EXIT_INPUT          3
#define IDENTITY_FILE_BYTES ((size_t)256 << 10)
#define FILES_MAX           64

static const char USAGE[] =
    "usage: quipu-agecheck decrypt --identity FILE | --passphrase-fd N [--work-factor-max N] IN "
    "OUT\n"
    "       quipu-agecheck encrypt --recipient R | --passphrase-fd N [--armor] [--work-factor N] "
    "IN OUT\n"
    "\n"
    "--identity (a file as age-keygen writes it) and --recipient may be repeated. The passphrase "
    "is\n"
    "all that can be read from descriptor N, without one newline at its end. Armor is recognised.\n"
    "IN and OUT may be - . OUT is replaced; after a failure there is none. Into - , or into what "
    "is\n"
    "no regular file, decrypted chunks go as they are found authentic.\n";

/* X(status, exit code, class in the test kit of c2sp.org/CCTV/age) */
#define CODES(X)                                                                                   \
    X(AGE, 10, "header failure")                                                                   \
    X(AGE_VERSION, 11, "header failure")                                                           \
    X(AGE_HEADER, 12, "header failure")                                                            \
    X(AGE_WORK_FACTOR, 13, "header failure")                                                       \
    X(AGE_ARMOR, 14, "armor failure")                                                              \
    X(AGE_MAC, 15, "HMAC failure")                                                                 \
    X(AGE_NO_MATCH, 16, "no match")                                                                \
    X(AGE_PAYLOAD, 17, "payload failure")                                                          \
    X(AGE_TRUNCATED, 18, "payload failure")                                                        \
    X(AGE_UNSUPPORTED, 19, "any: needs a key type that quipu does not have")                       \
    X(AGE_KEY, 20, "none: an identity or a recipient is malformed")

static int exit_code(enum quipu_status status)
{
    switch ((int)status) {
    case QUIPU_OK:
        return 0;
#define CODE(name, code, kit)                                                                      \
    case QUIPU_##name:                                                                             \
        return code;
        CODES(CODE)
#undef CODE
    case QUIPU_INVALID:
    case QUIPU_TOO_LARGE:
        return EXIT_INPUT;
    default:
        return EXIT_MACHINE;
    }
}

static void print_help(void)
{
    (void)fputs(USAGE, stdout);
    (void)printf("\nexit code, status, what it is, class in the test kit of c2sp.org/CCTV/age:\n");
    (void)printf("   0  OK               done; success\n");
    (void)printf(
        "   1                   this machine failed: input or output, memory, randomness\n");
    (void)printf("   2                   wrong options or arguments\n");
    (void)printf("   3                   over a limit or otherwise bad input; header failure\n");
#define LINE(name, code, kit)                                                                      \
    (void)printf("  %2d  %-16s %s; %s\n", code, #name, quipu_status_text(QUIPU_##name), kit);
    CODES(LINE)
#undef LINE
}

static int usage(const char *what)
{
    (void)fprintf(stderr, "quipu-agecheck: %s\n%s", what, USAGE);
    return EXIT_USAGE;
}

struct command {
    bool is_encrypt;
    const char *keys[FILES_MAX]; /* recipients, or identity files */
    size_t key_count;
    int passphrase_fd; /* -1: none */
    unsigned work_factor;
    bool is_armored;
    const char *in;
    const char *out;
};

/* A whole number of at most four digits, or false. */
static bool read_number(const char *text, unsigned *out)
{
    size_t len = strlen(text);
    if (len == 0 || len > 4 || strspn(text, "0123456789") != len) {
        return false;
    }
    *out = (unsigned)strtoul(text, NULL, 10);
    return true;
}

/* One option. NULL, or what is wrong with it. */
static const char *take_option(struct command *command, int option, const char *value)
{
    unsigned number = 0;
    switch (option) {
    case 'i':
    case 'r':
        if ((option == 'r') != command->is_encrypt) {
            return "--recipient is for encrypt, --identity for decrypt";
        }
        if (command->key_count == FILES_MAX) {
            return "too many keys";
        }
        command->keys[command->key_count++] = value;
        return NULL;
    case 'p':
        if (!read_number(value, &number)) {
            return "--passphrase-fd takes the number of a descriptor";
        }
        command->passphrase_fd = (int)number;
        return NULL;
    case 'w':
    case 'm':
        if ((option == 'w') != command->is_encrypt || !read_number(value, &command->work_factor) ||
            command->work_factor == 0) {
            return "--work-factor N is for encrypt, --work-factor-max N for decrypt";
        }
        return NULL;
    case 'a':
        command->is_armored = true;
        return command->is_encrypt ? NULL : "--armor is for encrypt";
    default:
        return "unknown option";
    }
}

static const char *parse(int argc, char **argv, struct command *command)
{
    static const struct option OPTIONS[] = {
        {"identity", required_argument, NULL, 'i'},
        {"recipient", required_argument, NULL, 'r'},
        {"passphrase-fd", required_argument, NULL, 'p'},
        {"work-factor", required_argument, NULL, 'w'},
        {"work-factor-max", required_argument, NULL, 'm'},
        {"armor", no_argument, NULL, 'a'},
        {0},
    };
    const char *wrong = NULL;
    *command = (struct command){.passphrase_fd = -1};
    if (argc < 2 || (strcmp(argv[1], "encrypt") != 0 && strcmp(argv[1], "decrypt") != 0)) {
        return "the first argument is encrypt or decrypt";
    }
    command->is_encrypt = strcmp(argv[1], "encrypt") == 0;
    optind = 2;
    for (int c; wrong == NULL && (c = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;) {
        wrong = take_option(command, c, optarg);
    }
    if (wrong != NULL) {
        return wrong;
    }
    if (command->key_count == 0 && command->passphrase_fd < 0) {
        return "a key or a passphrase is needed";
    }
    if (command->is_encrypt && command->key_count > 0 && command->passphrase_fd >= 0) {
        return "recipients or a passphrase, not both";
    }
    if (argc - optind != 2) {
        return "IN and OUT are needed";
    }
    command->in = argv[optind];
    command->out = argv[optind + 1];
    return NULL;
}

/* ------------------------------------------------------------------ keys */

/* All of a descriptor into secret memory; the caller frees it with sodium_free. */
static enum quipu_status read_secret(int fd, size_t cap, struct quipu_slice *out,
                                     struct quipu_error *err)
{
    uint8_t *bytes = sodium_malloc(cap + 1);
    size_t got = 0;
    if (bytes == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory for a secret");
    }
    enum quipu_status status =
        quipu_source_read_full(quipu_source_fd(&fd), bytes, cap + 1, &got, err);
    if (status == QUIPU_OK && got > cap) {
        status = quipu_error_set(err, QUIPU_TOO_LARGE, "a secret of more than %zu bytes", cap);
    }
    if (status != QUIPU_OK) {
        sodium_free(bytes);
        return status;
    }
    *out = quipu_slice(bytes, got);
    return QUIPU_OK;
}

static void free_secret(struct quipu_slice *secret)
{
    sodium_free((void *)(uintptr_t)secret->data);
    *secret = quipu_slice(NULL, 0);
}

static enum quipu_status add_identity_file(struct quipu_age_secrets *secrets, const char *path,
                                           struct quipu_error *err)
{
    struct quipu_slice text = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return quipu_error_errno(err, errno, "open %s", path);
    }
    enum quipu_status status = read_secret(fd, IDENTITY_FILE_BYTES, &text, err);
    (void)close(fd); /* was only read */
    if (status == QUIPU_OK) {
        status = quipu_age_secrets_add(secrets, text, err);
    }
    free_secret(&text);
    return status == QUIPU_OK ? status : quipu_error_wrap(err, status, "%s", path);
}

static enum quipu_status set_passphrase(struct quipu_age_secrets *secrets, int fd,
                                        struct quipu_error *err)
{
    struct quipu_slice text = {0};
    enum quipu_status status = read_secret(fd, QUIPU_AGE_PASSPHRASE_BYTES_MAX + 1, &text, err);
    if (status == QUIPU_OK) {
        size_t len = text.len - (text.len > 0 && text.data[text.len - 1] == '\n');
        status = quipu_age_secrets_set_passphrase(secrets, quipu_slice(text.data, len), err);
    }
    free_secret(&text);
    return status;
}

static enum quipu_status load_secrets(const struct command *command,
                                      struct quipu_age_secrets *secrets, struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    if (command->passphrase_fd >= 0) {
        status = set_passphrase(secrets, command->passphrase_fd, err);
        if (status == QUIPU_OK) { /* as age itself: suites are made for its limit */
            status = quipu_age_secrets_allow_work(secrets, QUIPU_AGE_SCRYPT_LOG_KEY_MAX, err);
        }
    }
    for (size_t i = 0; !command->is_encrypt && i < command->key_count && status == QUIPU_OK; i++) {
        status = add_identity_file(secrets, command->keys[i], err);
    }
    return status;
}

/* ------------------------------------------------------------------ work */

static enum quipu_status encrypt(const struct command *command, struct quipu_source source,
                                 const struct quipu_age_secrets *secrets, int *out_fd,
                                 struct quipu_error *err)
{
    struct quipu_age_recipient recipients[FILES_MAX];
    struct quipu_age_write_options options = QUIPU_AGE_WRITE_OPTIONS_INIT;
    for (size_t i = 0; i < command->key_count; i++) {
        enum quipu_status status =
            quipu_age_recipient_parse(quipu_slice_text(command->keys[i]), &recipients[i], err);
        if (status != QUIPU_OK) {
            return status;
        }
    }
    options.recipients = recipients;
    options.recipient_count = command->key_count;
    options.passphrase = command->passphrase_fd < 0 ? NULL : secrets;
    options.work_factor = command->work_factor;
    options.form = command->is_armored ? QUIPU_AGE_ARMORED : QUIPU_AGE_BINARY;
    return *out_fd >= 0 ? quipu_age_encrypt(source, &options, quipu_sink_fd(out_fd), err)
                        : quipu_age_encrypt_path(source, &options, command->out, err);
}

static enum quipu_status decrypt(const struct command *command, struct quipu_source source,
                                 const struct quipu_age_secrets *secrets, int *out_fd,
                                 struct quipu_error *err)
{
    struct quipu_age_read_options options = QUIPU_AGE_READ_OPTIONS_INIT;
    options.work_factor_max = command->work_factor;
    return *out_fd >= 0 ? quipu_age_decrypt(source, secrets, &options, quipu_sink_fd(out_fd), err)
                        : quipu_age_decrypt_path(source, secrets, &options, command->out, err);
}

/* Make the way free for OUT. `*fd` is where to write; -1: into a new file. */
static enum quipu_status prepare_out(const struct command *command, int in, int *fd,
                                     struct quipu_error *err)
{
    struct stat out_info;
    struct stat in_info;
    if (strcmp(command->out, "-") == 0) {
        *fd = STDOUT_FILENO;
        return QUIPU_OK;
    }
    if (stat(command->out, &out_info) != 0) {
        return QUIPU_OK;
    }
    if (!S_ISREG(out_info.st_mode)) {
        *fd = open(command->out, O_WRONLY | O_CLOEXEC);
        return *fd >= 0 ? QUIPU_OK : quipu_error_errno(err, errno, "open %s", command->out);
    }
    if (fstat(in, &in_info) == 0 && in_info.st_dev == out_info.st_dev &&
        in_info.st_ino == out_info.st_ino) {
        return quipu_error_set(err, QUIPU_INVALID, "%s is both IN and OUT; name another OUT",
                               command->out);
    }
    if (unlink(command->out) != 0) {
        return quipu_error_errno(err, errno, "replace %s", command->out);
    }
    return QUIPU_OK;
}

static enum quipu_status run(const struct command *command, struct quipu_error *err)
{
    struct quipu_age_secrets *secrets = NULL;
    int in = STDIN_FILENO;
    int out = -1;
    if (strcmp(command->in, "-") != 0) {
        in = open(command->in, O_RDONLY | O_CLOEXEC);
        if (in < 0) {
            return quipu_error_errno(err, errno, "open %s", command->in);
        }
    }
    enum quipu_status status = prepare_out(command, in, &out, err);
    if (status == QUIPU_OK) {
        status = quipu_age_secrets_new(&secrets, err);
    }
    if (status == QUIPU_OK) {
        status = load_secrets(command, secrets, err);
    }
    if (status == QUIPU_OK && !quipu_age_secrets_is_locked(secrets)) {
        (void)fputs("quipu-agecheck: warning: the system did not lock keys in memory\n", stderr);
    }
    if (status == QUIPU_OK) {
        status = command->is_encrypt ? encrypt(command, quipu_source_fd(&in), secrets, &out, err)
                                     : decrypt(command, quipu_source_fd(&in), secrets, &out, err);
    }
    quipu_age_secrets_free(&secrets);
    (void)close(in); /* was only read */
    if (out >= 0 && close(out) != 0 && status == QUIPU_OK) {
        status = quipu_error_errno(err, errno, "close %s", command->out);
    }
    return status;
}

int main(int argc, char **argv)
{
    struct command command;
    struct quipu_error err = {.message = ""};
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        print_help();
        return 0;
    }
    const char *wrong = parse(argc, argv, &command);
    if (wrong != NULL) {
        return usage(wrong);
    }
    enum quipu_status status =
        sodium_init() < 0 ? quipu_error_set(&err, QUIPU_NO_RANDOM, "libsodium does not start")
                          : run(&command, &err);
    if (status != QUIPU_OK) {
        (void)fprintf(stderr, "quipu-agecheck: %s: %s\n", quipu_status_name(status), err.message);
    }
    return exit_code(status);
}

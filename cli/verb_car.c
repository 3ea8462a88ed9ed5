/*
 * quipu car: list, check and unpack any CARv1. Needs no store, and knows nothing of events.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "print.h"
#include "quipu/car.h"
#include "quipu/io.h"

/* Longest file name that a CID's text may become. */
#define NAME_BYTES_MAX 255
#define COMPARE_BYTES  4096
/* A root can cost fourteen times its own bytes while it is looked for. This is room for 90,000
 * roots of the event profile, and keeps a hostile header below 64 MiB of memory. */
#define HEADER_BYTES_MAX (4u << 20)

struct car_run {
    const struct cli *cli;
    struct cli_json json;
    struct quipu_buf text;
    int folder; /* unpack: where blocks go; -1 else */
    bool is_list;
    uint64_t blocks;
    uint64_t block_bytes;
    uint64_t unverified;       /* hash functions that cannot be checked here */
    uint64_t damaged;          /* ls: sections that do not hash to their CID */
    struct quipu_error damage; /* the first of them */
    bool is_car_at_fault;      /* the failure is of what was read, not of what was written */
};

static enum quipu_status print_block(struct car_run *run, const struct quipu_car_block *block,
                                     struct quipu_error *err)
{
    struct quipu_slice cid = quipu_buf_slice(&run->text);
    if (!run->cli->is_json) {
        (void)printf("%12" PRIu64 " %10zu  %.*s%s\n", block->offset, block->block.len,
                     QUIPU_SLICE_FMT(cid), block->is_verified ? "" : "  (not verified)");
        return QUIPU_OK;
    }
    cli_json_begin(&run->json);
    cli_json_number(&run->json, "offset", block->offset);
    cli_json_number(&run->json, "bytes", block->block.len);
    cli_json_text(&run->json, "cid", cid);
    cli_json_bool(&run->json, "verified", block->is_verified);
    return cli_json_end(&run->json, err);
}

/* ls: a section whose block is not the one that its CID names. */
static enum quipu_status print_damage(struct car_run *run, uint64_t offset, struct quipu_error *err)
{
    if (!run->cli->is_json) {
        (void)printf("%12" PRIu64 " %10s  (damaged: the block does not hash to its CID)\n", offset,
                     "-");
        return QUIPU_OK;
    }
    cli_json_begin(&run->json);
    cli_json_number(&run->json, "offset", offset);
    cli_json_bool(&run->json, "verified", false);
    cli_json_bool(&run->json, "damaged", true);
    return cli_json_end(&run->json, err);
}

/* The file's name for a block: its CID, which is made of letters and digits, so that the name
 * cannot leave the folder. An identity CID can be longer than a name may be: there it is the CID
 * that the block has as raw bytes. */
static void name_block(const struct car_run *run, const struct quipu_car_block *block,
                       char name[NAME_BYTES_MAX + 1])
{
    struct quipu_slice cid = quipu_buf_slice(&run->text);
    if (cid.len <= NAME_BYTES_MAX) {
        memcpy(name, cid.data, cid.len);
        name[cid.len] = 0;
        return;
    }
    struct quipu_cid short_cid = quipu_cid_of(QUIPU_CODEC_RAW, block->block);
    quipu_cid_format(&short_cid, name);
    cli_note(run->cli,
             "byte %" PRIu64 ": a CID of %zu characters is too long for a file's name, "
             "its block is in %s",
             block->offset, cid.len, name);
}

/* A file of this name is there: a CAR may hold a block twice. Under a CID that cannot be checked
 * here it could be another block, which must not get lost unsaid. */
static enum quipu_status check_same(const struct car_run *run, const struct quipu_car_block *block,
                                    const char *name, struct quipu_error *err)
{
    if (block->is_verified) {
        return QUIPU_OK;
    }
    int fd = openat(run->folder, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return quipu_error_errno(err, errno, "open \"%s\"", name);
    }
    struct quipu_source source = quipu_source_fd(&fd);
    uint8_t chunk[COMPARE_BYTES];
    size_t at = 0;
    size_t got = 0;
    bool is_same = true;
    enum quipu_status status;
    do {
        status = source.read(source.ctx, chunk, sizeof chunk, &got, err);
        is_same = status == QUIPU_OK && got <= block->block.len - at &&
                  (got == 0 || memcmp(chunk, block->block.data + at, got) == 0);
        at += is_same ? got : 0;
    } while (is_same && got > 0);
    (void)close(fd); /* only read from */
    if (status == QUIPU_OK && (!is_same || at != block->block.len)) {
        status = quipu_error_set_at(err, QUIPU_CAR, block->offset,
                                    "byte %" PRIu64 ": a second block, and another one, under %s",
                                    block->offset, name);
    }
    return status;
}

/* One file per block. */
static enum quipu_status unpack_block(struct car_run *run, const struct quipu_car_block *block,
                                      struct quipu_error *err)
{
    char name[NAME_BYTES_MAX + 1];
    name_block(run, block, name);
    int fd = openat(run->folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 && errno == EEXIST) {
        enum quipu_status same = check_same(run, block, name, err);
        run->is_car_at_fault = same == QUIPU_CAR;
        return same;
    }
    if (fd < 0) {
        return quipu_error_errno(err, errno, "make \"%s\"", name);
    }
    struct quipu_sink sink = quipu_sink_fd(&fd);
    enum quipu_status status = sink.write(sink.ctx, block->block, err);
    if (close(fd) != 0 && status == QUIPU_OK) {
        status = quipu_error_errno(err, errno, "close \"%s\"", name);
    }
    return status;
}

static enum quipu_status each_block(struct car_run *run, struct quipu_car_reader *reader,
                                    struct quipu_error *err)
{
    for (;;) {
        struct quipu_car_block block;
        enum quipu_status status = quipu_car_next(reader, &block, err);
        if (status == QUIPU_DONE) {
            return QUIPU_OK;
        }
        if (status == QUIPU_CID_MISMATCH && run->is_list) {
            run->damage = run->damaged++ == 0 ? *err : run->damage;
            status = print_damage(run, err->offset, err);
            if (status != QUIPU_OK) {
                return status;
            }
            continue;
        }
        if (status != QUIPU_OK) {
            run->is_car_at_fault = true;
            return status;
        }
        run->blocks++;
        run->block_bytes += block.block.len;
        run->unverified += block.is_verified ? 0 : 1;
        quipu_buf_reset(&run->text);
        quipu_cid_view_format(&block.cid, &run->text);
        if (run->text.status != QUIPU_OK) {
            return quipu_error_set(err, run->text.status, "byte %" PRIu64 ": its CID",
                                   block.offset);
        }
        if (run->folder >= 0) {
            status = unpack_block(run, &block, err);
        } else if (run->is_list) {
            status = print_block(run, &block, err);
        }
        if (status != QUIPU_OK) {
            return status;
        }
    }
}

static enum quipu_status summary(struct car_run *run, const struct quipu_car_reader *reader,
                                 struct quipu_error *err)
{
    size_t roots = quipu_car_root_count(reader);
    size_t missing = quipu_car_roots_missing(reader);
    if (run->cli->is_json) {
        cli_json_begin(&run->json);
        cli_json_number(&run->json, "blocks", run->blocks);
        cli_json_number(&run->json, "block_bytes", run->block_bytes);
        cli_json_number(&run->json, "unverified", run->unverified);
        cli_json_number(&run->json, "damaged", run->damaged);
        cli_json_number(&run->json, "roots_missing", missing);
        cli_json_list(&run->json, "roots");
        for (size_t i = 0; i < roots; i++) {
            quipu_buf_reset(&run->text);
            quipu_cid_view_format(quipu_car_root(reader, i), &run->text);
            quipu_buf_append_text(&run->json.buf, i == 0 ? "\"" : ",\"");
            quipu_buf_append_slice(&run->json.buf, quipu_buf_slice(&run->text));
            quipu_buf_append_byte(&run->json.buf, '"');
        }
        cli_json_close(&run->json, ']');
        return cli_json_end(&run->json, err);
    }
    char blocks[CLI_COUNTED_BYTES];
    char bytes[CLI_COUNT_BYTES];
    char unverified[CLI_COUNT_BYTES];
    for (size_t i = 0; i < roots; i++) {
        quipu_buf_reset(&run->text);
        quipu_cid_view_format(quipu_car_root(reader, i), &run->text);
        (void)printf("root  %.*s\n", QUIPU_SLICE_FMT(quipu_buf_slice(&run->text)));
    }
    if (missing > 0) {
        (void)printf("%zu of %zu roots missing: no block is theirs\n", missing, roots);
    }
    (void)printf("%s, %s, %s not verifiable here\n", cli_counted(run->blocks, "block", blocks),
                 cli_bytes(run->block_bytes, bytes), cli_count(run->unverified, unverified));
    return QUIPU_OK;
}

/* What the whole file is, once all of it was read. */
static enum quipu_status judge(const struct car_run *run, const struct quipu_car_reader *reader,
                               struct quipu_error *err)
{
    if (run->damaged > 0) {
        *err = run->damage;
        return quipu_error_wrap(err, QUIPU_CID_MISMATCH, "%" PRIu64 " damaged, the first is",
                                run->damaged);
    }
    if (run->is_list) {
        return QUIPU_OK;
    }
    if (quipu_car_roots_missing(reader) > 0) {
        return quipu_error_set(err, QUIPU_CAR_ROOT_MISSING, "%zu of %zu roots have no block",
                               quipu_car_roots_missing(reader), quipu_car_root_count(reader));
    }
    if (run->unverified > 0) {
        return quipu_error_set(err, QUIPU_CID_UNVERIFIABLE,
                               "%" PRIu64 " blocks use a hash function that is not checked here",
                               run->unverified);
    }
    return QUIPU_OK;
}

static enum quipu_status walk(struct car_run *run, int fd, struct quipu_error *err)
{
    struct quipu_car_options options = QUIPU_CAR_OPTIONS_INIT;
    options.header_bytes_max = HEADER_BYTES_MAX;
    struct quipu_car_reader *reader = NULL;
    enum quipu_status status = quipu_car_reader_open(quipu_source_fd(&fd), &options, &reader, err);
    if (status != QUIPU_OK) {
        run->is_car_at_fault = true;
        return status;
    }
    status = each_block(run, reader, err);
    if (status == QUIPU_OK) {
        status = summary(run, reader, err);
    }
    if (status == QUIPU_OK) {
        status = judge(run, reader, err);
        run->is_car_at_fault = true;
    }
    quipu_car_reader_close(&reader);
    return status;
}

/* What helps against a CAR that was refused; NULL: the status's own cure. */
static const char *cure_of_car(enum quipu_status status)
{
    switch ((int)status) {
    case QUIPU_CAR:
        return "name a CARv1 file";
    case QUIPU_TOO_LARGE:
        return "have it made again with smaller blocks and fewer roots";
    case QUIPU_CAR_ROOT_MISSING:
        return "get the whole file again from its maker";
    case QUIPU_CAR_TRUNCATED:
    case QUIPU_CAR_VERSION:
    case QUIPU_CID_MISMATCH:
    case QUIPU_CID_UNVERIFIABLE:
        return NULL;
    default:
        return "get the file again, or have it made by a program that writes CARv1 to the letter";
    }
}

/* This machine failed, and not the file. */
static bool is_of_machine(enum quipu_status status)
{
    return cli_exit_code(status) == CLI_EXIT_MACHINE;
}

static int fail(const struct car_run *run, const char *path, enum quipu_status status,
                struct quipu_error *err)
{
    (void)quipu_error_wrap(err, status, "%s", path);
    struct cli_failure failure = {.status = status, .err = err};
    if (run->is_car_at_fault && !is_of_machine(status)) {
        failure.cure = cli_cure_unless_said(err, cure_of_car(status));
        failure.code = CLI_EXIT_DAMAGED;
    }
    return cli_fail_with(run->cli, &failure);
}

/* The new folder that blocks go to, or -1 after it has said what is wrong with exit code `*code`.
 */
static int make_folder(const struct cli *cli, const char *path, int *code)
{
    struct quipu_error err;
    int fd = -1;
    if (mkdir(path, 0755) == 0) {
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    if (fd >= 0) {
        return fd;
    }
    if (errno == EEXIST) {
        (void)quipu_error_set(&err, QUIPU_EXISTS, "there is \"%s\" already", path);
        *code = cli_fail(cli, QUIPU_EXISTS, &err, "name a new folder");
    } else {
        enum quipu_status status = quipu_error_errno(&err, errno, "make folder \"%s\"", path);
        *code = cli_fail(cli, status, &err, "name a new folder below one that is there");
    }
    return -1;
}

static int run(struct cli *cli, const void *values, int argc, char **argv)
{
    (void)values;
    bool is_list = strcmp(argv[0], "ls") == 0;
    bool is_unpack = strcmp(argv[0], "unpack") == 0;
    if (!is_list && !is_unpack && strcmp(argv[0], "verify") != 0) {
        return cli_usage(cli, "wants ls, verify or unpack, found \"%s\"", argv[0]);
    }
    if (argc != (is_unpack ? 3 : 2)) {
        return cli_usage(cli, "%s wants %s", argv[0], is_unpack ? "FILE DIR" : "FILE");
    }
    int fd = -1;
    int code = cli_open_input(cli, argv[1], "name a CAR file", &fd);
    if (code != 0) {
        return code;
    }
    struct car_run state = {.cli = cli, .is_list = is_list, .folder = -1};
    if (is_unpack) {
        state.folder = make_folder(cli, argv[2], &code);
    }
    if (code == 0) {
        struct quipu_error err;
        enum quipu_status status = walk(&state, fd, &err);
        code = status == QUIPU_OK ? 0 : fail(&state, argv[1], status, &err);
    }
    if (state.folder >= 0) {
        (void)close(state.folder); /* nothing was written through it */
    }
    if (fd != STDIN_FILENO) {
        (void)close(fd); /* only read from */
    }
    cli_json_release(&state.json);
    quipu_buf_release(&state.text);
    return code;
}

const struct cli_verb cli_verb_car = {
    .name = "car",
    .arguments = "ls FILE|verify FILE|unpack FILE DIR",
    .summary = "List, check or unpack any CARv1",
    .details = "Every block is hashed again as it is read. ls prints offset, bytes and CID of each "
               "block; unpack\n"
               "writes each into a new folder, under its CID. verify and unpack fail where a root "
               "has no block\n"
               "or where a hash function cannot be checked here. - reads from stdin.",
    .example = "quipu car ls ceremony.car",
    .arguments_min = 2,
    .arguments_max = 3,
    .run = run,
};

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

struct car_run {
    const struct cli *cli;
    struct cli_json json;
    struct quipu_buf text;
    int folder; /* unpack: where blocks go; -1 else */
    bool is_list;
    uint64_t blocks;
    uint64_t block_bytes;
    uint64_t unverified; /* hash functions that cannot be checked here */
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

/* One file per block, named by its CID. A CID is made of letters and digits, so the name cannot
 * leave the folder. */
static enum quipu_status unpack_block(struct car_run *run, const struct quipu_car_block *block,
                                      struct quipu_error *err)
{
    char name[NAME_BYTES_MAX + 1];
    struct quipu_slice cid = quipu_buf_slice(&run->text);
    if (cid.len >= sizeof name || memchr(cid.data, '/', cid.len) != NULL) {
        return quipu_error_set(err, QUIPU_TOO_LARGE,
                               "byte %" PRIu64 ": a CID of %zu characters cannot be a file's name",
                               block->offset, cid.len);
    }
    memcpy(name, cid.data, cid.len);
    name[cid.len] = 0;
    int fd = openat(run->folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 && errno == EEXIST) {
        return QUIPU_OK; /* a CAR may hold a block twice */
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
        if (status != QUIPU_OK) {
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
    (void)printf("%s, %s, %s not verifiable here\n", cli_counted(run->blocks, "block", blocks),
                 cli_bytes(run->block_bytes, bytes), cli_count(run->unverified, unverified));
    return QUIPU_OK;
}

static enum quipu_status walk(struct car_run *run, int fd, struct quipu_error *err)
{
    struct quipu_car_reader *reader = NULL;
    enum quipu_status status = quipu_car_reader_open(quipu_source_fd(&fd), NULL, &reader, err);
    if (status == QUIPU_OK) {
        status = each_block(run, reader, err);
    }
    if (status == QUIPU_OK) {
        status = summary(run, reader, err);
    }
    if (status == QUIPU_OK && !run->is_list && quipu_car_roots_missing(reader) > 0) {
        status = quipu_error_set(err, QUIPU_CAR_ROOT_MISSING, "%zu of %zu roots have no block",
                                 quipu_car_roots_missing(reader), quipu_car_root_count(reader));
    }
    if (status == QUIPU_OK && !run->is_list && run->unverified > 0) {
        status = quipu_error_set(err, QUIPU_CID_UNVERIFIABLE,
                                 "%" PRIu64 " blocks use a hash function that is not checked here",
                                 run->unverified);
    }
    quipu_car_reader_close(&reader);
    return status;
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
    struct quipu_error err;
    int fd = open(argv[1], O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        enum quipu_status status = quipu_error_errno(&err, errno, "open \"%s\"", argv[1]);
        return cli_fail(cli, status, &err, "name a CAR file");
    }
    int code = 0;
    struct car_run state = {.cli = cli, .is_list = is_list, .folder = -1};
    if (is_unpack) {
        state.folder = make_folder(cli, argv[2], &code);
    }
    if (code == 0) {
        enum quipu_status status = walk(&state, fd, &err);
        if (status != QUIPU_OK) {
            (void)quipu_error_wrap(&err, status, "%s", argv[1]);
            code = cli_fail(cli, status, &err, status == QUIPU_CAR ? "name a CARv1 file" : NULL);
        }
    }
    if (state.folder >= 0) {
        (void)close(state.folder); /* nothing was written through it */
    }
    (void)close(fd); /* only read from */
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
               "or where a hash function cannot be checked here.",
    .example = "quipu car ls ceremony.car",
    .arguments_min = 2,
    .arguments_max = 3,
    .run = run,
};

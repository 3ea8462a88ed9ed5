/*
 * quipu cid: the CID of a file's bytes. Needs no store.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "print.h"
#include "quipu/cid.h"
#include "quipu/dagcbor.h"
#include "quipu/dagjson.h"
#include "quipu/io.h"
#include "quipu/sha256.h"

#define READ_BYTES ((size_t)64 << 10)
/* A block that has to be held in memory to be checked or converted. */
#define BLOCK_BYTES_MAX ((size_t)256 << 20)

struct cid_values {
    const char *codec;
};

/* Raw bytes are hashed as they come, whatever their number. */
static enum quipu_status cid_raw(struct quipu_source source, struct quipu_cid *out, uint64_t *bytes,
                                 struct quipu_error *err)
{
    struct quipu_sha256_stream stream;
    uint8_t piece[READ_BYTES];
    size_t got = 0;
    quipu_sha256_stream_init(&stream);
    do {
        enum quipu_status status = source.read(source.ctx, piece, sizeof piece, &got, err);
        if (status != QUIPU_OK) {
            return status;
        }
        quipu_sha256_stream_update(&stream, quipu_slice(piece, got));
        *bytes += got;
    } while (got > 0);
    out->codec = QUIPU_CODEC_RAW;
    quipu_sha256_stream_final(&stream, out->digest);
    return QUIPU_OK;
}

static enum quipu_status read_whole(struct quipu_source source, struct quipu_buf *buf,
                                    struct quipu_error *err)
{
    for (;;) {
        uint8_t *into = quipu_buf_reserve(buf, READ_BYTES);
        if (into == NULL) {
            return quipu_error_set(err, buf->status, "the file does not fit in memory");
        }
        size_t got = 0;
        enum quipu_status status = source.read(source.ctx, into, READ_BYTES, &got, err);
        if (status != QUIPU_OK || got == 0) {
            return status;
        }
        buf->len += got;
        if (buf->len > BLOCK_BYTES_MAX) {
            return quipu_error_set(err, QUIPU_TOO_LARGE,
                                   "the file is larger than %zu MiB; "
                                   "only --codec raw takes it",
                                   BLOCK_BYTES_MAX >> 20);
        }
    }
}

static enum quipu_status cid_dag(struct quipu_source source, bool is_json, struct quipu_cid *out,
                                 uint64_t *bytes, struct quipu_error *err)
{
    struct quipu_buf file = QUIPU_BUF_INIT;
    struct quipu_buf block = QUIPU_BUF_INIT;
    enum quipu_status status = read_whole(source, &file, err);
    if (status == QUIPU_OK) {
        status = is_json ? quipu_dagjson_to_dagcbor(quipu_buf_slice(&file), &block, err)
                         : quipu_dagcbor_validate(quipu_buf_slice(&file), err);
    }
    if (status == QUIPU_OK) {
        struct quipu_slice whole = is_json ? quipu_buf_slice(&block) : quipu_buf_slice(&file);
        *out = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, whole);
        *bytes = whole.len;
    }
    quipu_buf_release(&file);
    quipu_buf_release(&block);
    return status;
}

static enum quipu_status say(const struct cli *cli, const struct quipu_cid *cid, uint64_t bytes,
                             const char *codec, struct quipu_error *err)
{
    if (!cli->is_json) {
        char text[QUIPU_CID_TEXT_BYTES];
        quipu_cid_format(cid, text);
        (void)printf("%s\n", text);
        return QUIPU_OK;
    }
    struct cli_json json = {0};
    cli_json_begin(&json);
    cli_json_cid(&json, "cid", cid);
    cli_json_text(&json, "codec", quipu_slice_text(codec));
    cli_json_number(&json, "bytes", bytes);
    enum quipu_status status = cli_json_end(&json, err);
    cli_json_release(&json);
    return status;
}

static int run(struct cli *cli, const void *values, int argc, char **argv)
{
    (void)argc;
    const char *codec = ((const struct cid_values *)values)->codec;
    codec = codec == NULL ? "raw" : codec;
    bool is_raw = strcmp(codec, "raw") == 0;
    bool is_json = strcmp(codec, "dag-json") == 0;
    if (!is_raw && !is_json && strcmp(codec, "dag-cbor") != 0) {
        return cli_usage(cli, "--codec wants raw, dag-cbor or dag-json, found \"%s\"", codec);
    }
    struct quipu_error err;
    int fd = -1;
    int code = cli_open_input(cli, argv[0], "name a file, or - for stdin", &fd);
    if (code != 0) {
        return code;
    }
    struct quipu_cid cid;
    uint64_t bytes = 0;
    struct quipu_source source = quipu_source_fd(&fd);
    enum quipu_status status =
        is_raw ? cid_raw(source, &cid, &bytes, &err) : cid_dag(source, is_json, &cid, &bytes, &err);
    if (fd != STDIN_FILENO) {
        (void)close(fd); /* only read from */
    }
    if (status == QUIPU_OK) {
        status = say(cli, &cid, bytes, is_raw ? "raw" : "dag-cbor", &err);
    }
    const char *cure = is_json && cli_is_cbor(status) ? CLI_CURE_JSON_VALUE : NULL;
    return status == QUIPU_OK ? 0 : cli_fail(cli, status, &err, cure);
}

static const struct cli_option options[] = {
    {"codec", CLI_TEXT, offsetof(struct cid_values, codec), "NAME",
     "raw (any bytes), dag-cbor (checked), dag-json (converted)"},
};

const struct cli_verb cli_verb_cid = {
    .name = "cid",
    .arguments = "FILE|-",
    .summary = "Say the CID of a file",
    .details = "With --codec dag-cbor the file must be one item of strict DAG-CBOR; with dag-json "
               "it is one\n"
               "JSON value, and the CID is that of its DAG-CBOR.",
    .example = "echo '{\"a\":1}' | quipu cid --codec dag-json -",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .values_bytes = sizeof(struct cid_values),
    .arguments_min = 1,
    .arguments_max = 1,
    .run = run,
};

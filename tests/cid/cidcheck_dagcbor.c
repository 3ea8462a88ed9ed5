/*
 * quipu-cidcheck: the operations on DAG-CBOR and DAG-JSON. Decoding strictly and encoding again
 * with the library's writer; and encoding values that no encoder may take.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <math.h>
#include <string.h>

#include "cidcheck.h"
#include "internal/bytes.h"
#include "quipu/dagcbor.h"
#include "quipu/dagjson.h"
#include "recode.h"

static void judge_link(void *ctx, const struct quipu_dagcbor_item *link)
{
    cidcheck_judge_profiles(ctx, &link->link, link->offset);
}

void cidcheck_dagcbor(const struct cidcheck_input *input, struct cidcheck_verdict *verdict)
{
    if (!input->has_bytes) {
        cidcheck_unusable(verdict, "dagcbor needs \"hex\"");
        return;
    }
    struct quipu_buf out = QUIPU_BUF_INIT;
    enum quipu_status status =
        recode_dagcbor(input->bytes, &out, judge_link, verdict, &verdict->err);
    if (status == QUIPU_OK && !quipu_slice_equal(quipu_buf_slice(&out), input->bytes)) {
        status = quipu_error_set(&verdict->err, QUIPU_CORRUPT, "encoding again gave other bytes");
    }
    verdict->status = status;
    verdict->has_profiles = true;
    if (status == QUIPU_OK) {
        struct quipu_cid cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_buf_slice(&out));
        char text[QUIPU_CID_TEXT_BYTES];
        quipu_cid_format(&cid, text);
        cidcheck_put_text(verdict, "cid", quipu_slice_text(text));
        cidcheck_put_hex(verdict, "hex", quipu_buf_slice(&out));
    }
    quipu_buf_release(&out);
}

void cidcheck_dagjson(const struct cidcheck_input *input, struct cidcheck_verdict *verdict)
{
    if (!input->has_bytes && !input->has_text) {
        cidcheck_unusable(verdict, "dagjson needs \"str\" or \"hex\"");
        return;
    }
    struct quipu_buf cbor = QUIPU_BUF_INIT;
    struct quipu_buf json = QUIPU_BUF_INIT;
    verdict->status = quipu_dagjson_to_dagcbor(input->has_text ? input->text : input->bytes, &cbor,
                                               &verdict->err);
    if (verdict->status == QUIPU_OK) {
        verdict->status = quipu_dagjson_from_dagcbor(quipu_buf_slice(&cbor), &json, &verdict->err);
    }
    if (verdict->status == QUIPU_OK) {
        cidcheck_put_hex(verdict, "hex", quipu_buf_slice(&cbor));
        cidcheck_put_text(verdict, "str", quipu_buf_slice(&json));
    }
    quipu_buf_release(&cbor);
    quipu_buf_release(&json);
}

/* ------------------------------------------------------------------ what an encoder must refuse */

/* A head of plain CBOR. */
struct head {
    unsigned major;
    unsigned info;
    uint64_t argument;
};

static enum quipu_status take_head(struct quipu_slice *input, struct head *out,
                                   struct quipu_error *err)
{
    if (input->len == 0) {
        return quipu_error_set(err, QUIPU_CBOR_TRUNCATED, "the value ends inside an item");
    }
    out->major = input->data[0] >> 5;
    out->info = input->data[0] & 31;
    size_t more = out->info < 24 ? 0 : out->info < 28 ? (size_t)1 << (out->info - 24) : 0;
    if (out->info > 27) {
        return quipu_error_set(err, QUIPU_CBOR_INDEFINITE,
                               "a value of indefinite length cannot be given to the writer");
    }
    if (input->len - 1 < more) {
        return quipu_error_set(err, QUIPU_CBOR_TRUNCATED, "the value ends inside a head");
    }
    out->argument = out->info < 24 ? out->info : 0;
    for (size_t i = 1; i <= more; i++) {
        out->argument = out->argument << 8 | input->data[i];
    }
    *input = quipu_slice(input->data + 1 + more, input->len - 1 - more);
    return QUIPU_OK;
}

static double half_to_double(uint16_t bits)
{
    int exponent = bits >> 10 & 31;
    double mantissa = bits & 1023;
    double value = exponent == 0    ? ldexp(mantissa, -24)
                   : exponent != 31 ? ldexp(mantissa + 1024, exponent - 25)
                   : mantissa == 0  ? HUGE_VAL
                                    : (double)NAN;
    return (bits & 0x8000) != 0 ? -value : value;
}

static double float_of(const struct head *head)
{
    double value;
    if (head->info == 25) {
        return half_to_double((uint16_t)head->argument);
    }
    if (head->info == 26) {
        uint32_t bits = (uint32_t)head->argument;
        float narrow;
        memcpy(&narrow, &bits, sizeof narrow);
        return (double)narrow;
    }
    memcpy(&value, &head->argument, sizeof value);
    return value;
}

static enum quipu_status write_simple(struct quipu_dagcbor_writer *writer, const struct head *head,
                                      struct quipu_error *err)
{
    if (head->info >= 25) {
        quipu_dagcbor_write_float(writer, float_of(head));
        return QUIPU_OK;
    }
    switch (head->argument) {
    case 20:
    case 21:
        quipu_dagcbor_write_bool(writer, head->argument == 21);
        return QUIPU_OK;
    case 22:
        quipu_dagcbor_write_null(writer);
        return QUIPU_OK;
    default:
        return quipu_error_set(err, QUIPU_CBOR_SIMPLE, "the writer has no call for simple value %u",
                               (unsigned)head->argument);
    }
}

static enum quipu_status take_string(struct quipu_slice *input, uint64_t len,
                                     struct quipu_slice *out, struct quipu_error *err)
{
    if (len > input->len) {
        return quipu_error_set(err, QUIPU_CBOR_TRUNCATED, "the value ends inside a string");
    }
    *out = quipu_slice(input->data, (size_t)len);
    *input = quipu_slice(input->data + len, input->len - (size_t)len);
    return QUIPU_OK;
}

/* Tag 42 over 0x00 and a CID is a link; the writer has no call for any other tag. */
static enum quipu_status write_tagged(struct quipu_dagcbor_writer *writer, uint64_t tag,
                                      struct quipu_slice *input, struct quipu_error *err)
{
    if (tag != 42) {
        return quipu_error_set(err, QUIPU_CBOR_TAG, "the writer has no call for tag %u",
                               (unsigned)(tag % UINT32_MAX));
    }
    struct head head;
    struct quipu_slice bytes = {NULL, 0};
    enum quipu_status status = take_head(input, &head, err);
    if (status == QUIPU_OK) {
        status = take_string(input, head.argument, &bytes, err);
    }
    struct quipu_cid_view view;
    if (status == QUIPU_OK && (head.major != 2 || bytes.len == 0 || bytes.data[0] != 0)) {
        status = quipu_error_set(err, QUIPU_CBOR_LINK, "tag 42 does not hold a CID");
    }
    if (status == QUIPU_OK) {
        bytes = quipu_slice(bytes.data + 1, bytes.len - 1);
        status = quipu_cid_view_take(&bytes, &view, err);
    }
    if (status == QUIPU_OK) {
        quipu_dagcbor_write_link_view(writer, &view);
    }
    return status;
}

/* Give one item of plain CBOR to the writer. */
static enum quipu_status write_plain(struct quipu_dagcbor_writer *writer, struct quipu_slice *input,
                                     struct quipu_error *err)
{
    struct head head;
    struct quipu_slice string;
    enum quipu_status status = take_head(input, &head, err);
    if (status != QUIPU_OK) {
        return status;
    }
    switch (head.major) {
    case 0:
        quipu_dagcbor_write_uint(writer, head.argument);
        return QUIPU_OK;
    case 1:
        quipu_dagcbor_write_negative(writer, head.argument);
        return QUIPU_OK;
    case 2:
    case 3:
        status = take_string(input, head.argument, &string, err);
        if (status == QUIPU_OK && head.major == 2) {
            quipu_dagcbor_write_bytes(writer, string);
        } else if (status == QUIPU_OK) {
            quipu_dagcbor_write_text(writer, string);
        }
        return status;
    case 4:
        quipu_dagcbor_write_list(writer, head.argument);
        return QUIPU_OK;
    case 5:
        quipu_dagcbor_write_map(writer, head.argument);
        return QUIPU_OK;
    case 6:
        return write_tagged(writer, head.argument, input, err);
    default:
        return write_simple(writer, &head, err);
    }
}

void cidcheck_encode_reject(const struct cidcheck_input *input, struct cidcheck_verdict *verdict)
{
    if (!input->has_bytes) {
        cidcheck_unusable(verdict, "dagcbor-encode-reject needs \"hex\"");
        return;
    }
    struct quipu_buf out = QUIPU_BUF_INIT;
    struct quipu_dagcbor_writer writer;
    struct quipu_slice rest = input->bytes;
    enum quipu_status status = QUIPU_OK;
    quipu_dagcbor_writer_init(&writer, &out);
    size_t at = 0; /* of the head that is given to the writer, or of the end */
    while (rest.len > 0 && status == QUIPU_OK && writer.status == QUIPU_OK) {
        at = input->bytes.len - rest.len;
        status = write_plain(&writer, &rest, &verdict->err);
    }
    if (status == QUIPU_OK && writer.status == QUIPU_OK) {
        at = input->bytes.len;
    }
    enum quipu_status finished =
        quipu_dagcbor_writer_finish(&writer, status == QUIPU_OK ? &verdict->err : NULL);
    verdict->status = status != QUIPU_OK ? status : finished;
    verdict->err.offset = at;
    if (verdict->status == QUIPU_OK) {
        cidcheck_put_hex(verdict, "hex", quipu_buf_slice(&out));
    }
    quipu_buf_release(&out);
}

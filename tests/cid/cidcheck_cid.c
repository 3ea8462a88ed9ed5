/*
 * quipu-cidcheck: the operations on CIDs, multibase, multihash and varints.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "cidcheck.h"
#include "quipu/multibase.h"
#include "quipu/multihash.h"
#include "quipu/varint.h"

/* What a CID is, for both ways of reading one. */
static void put_view(struct cidcheck_verdict *verdict, const struct quipu_cid_view *view)
{
    cidcheck_judge_profiles(verdict, view, 0);
    cidcheck_put_cid(verdict, "cid", view);
    cidcheck_put_hex(verdict, "hex", view->bytes);
    (void)json_object_set_new(verdict->json, "version", json_integer((json_int_t)view->version));
    (void)json_object_set_new(verdict->json, "codec", json_integer((json_int_t)view->codec));
    (void)json_object_set_new(verdict->json, "hash", json_integer((json_int_t)view->hash));
}

void cidcheck_cid_parse(const struct cidcheck_input *input, struct cidcheck_verdict *verdict)
{
    if (!input->has_text) {
        cidcheck_unusable(verdict, "cid-parse needs \"str\"");
        return;
    }
    struct quipu_buf storage = QUIPU_BUF_INIT;
    struct quipu_cid_view view;
    enum quipu_status status = quipu_cid_view_parse(input->text, &storage, &view, &verdict->err);
    verdict->status = status;
    verdict->has_profiles = true;
    if (status == QUIPU_OK) {
        put_view(verdict, &view);
    }
    quipu_buf_release(&storage);
}

void cidcheck_cid_bytes(const struct cidcheck_input *input, struct cidcheck_verdict *verdict)
{
    if (!input->has_bytes) {
        cidcheck_unusable(verdict, "cid-bytes needs \"hex\"");
        return;
    }
    struct quipu_slice rest = input->bytes;
    struct quipu_cid_view view;
    enum quipu_status status = quipu_cid_view_take(&rest, &view, &verdict->err);
    if (status == QUIPU_OK && rest.len > 0) {
        status = quipu_error_set_at(&verdict->err, QUIPU_CID, input->bytes.len - rest.len,
                                    "%zu bytes behind the CID", rest.len);
    }
    verdict->status = status;
    verdict->has_profiles = true;
    if (status == QUIPU_OK) {
        put_view(verdict, &view);
    }
}

/* The AT Protocol's check of syntax, which decodes nothing: 8 to 256 characters of multibase
 * alphabets, and no CIDv0. */
void cidcheck_cid_syntax(const struct cidcheck_input *input, struct cidcheck_verdict *verdict)
{
    static const char CHARACTERS[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+=";
    if (!input->has_text) {
        cidcheck_unusable(verdict, "cid-syntax-loose needs \"str\"");
        return;
    }
    struct quipu_slice text = input->text;
    if (text.len < 8 || text.len > 256) {
        verdict->status =
            quipu_error_set_at(&verdict->err, QUIPU_CID, text.len < 8 ? text.len : 256,
                               "%zu characters where 8 to 256 make a CID", text.len);
        return;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == 0 || strchr(CHARACTERS, text.data[i]) == NULL) {
            verdict->status = quipu_error_set_at(&verdict->err, QUIPU_CID, i,
                                                 "character that no CID in text has");
            return;
        }
    }
    if (text.len == 46 && memcmp(text.data, "Qm", 2) == 0) {
        verdict->status =
            quipu_error_set_at(&verdict->err, QUIPU_CID, 0, "CIDv0 is not taken here");
    }
}

/* Decode "str"; encode again in the base that it names, or "hex" in "base" where there is no
 * "str". */
void cidcheck_multibase(const struct cidcheck_input *input, struct cidcheck_verdict *verdict)
{
    if (!input->has_text) {
        cidcheck_unusable(verdict, "multibase needs \"str\"");
        return;
    }
    struct quipu_buf bytes = QUIPU_BUF_INIT;
    struct quipu_buf text = QUIPU_BUF_INIT;
    enum quipu_base base;
    enum quipu_status status = quipu_multibase_decode(input->text, &base, &bytes, &verdict->err);
    if (status == QUIPU_OK) {
        status = quipu_multibase_encode(base, quipu_buf_slice(&bytes), &text, &verdict->err);
    }
    verdict->status = status;
    if (status == QUIPU_OK) {
        cidcheck_put_hex(verdict, "hex", quipu_buf_slice(&bytes));
        cidcheck_put_text(verdict, "base", quipu_slice_text(quipu_base_name(base)));
        cidcheck_put_text(verdict, "str", quipu_buf_slice(&text));
    }
    quipu_buf_release(&bytes);
    quipu_buf_release(&text);
}

/* Is it the multihash of "input", where the line has one? */
static enum quipu_status verify_input(const struct cidcheck_input *input,
                                      const struct quipu_multihash *hash,
                                      struct cidcheck_verdict *verdict)
{
    const json_t *message = json_object_get(input->line, "input");
    if (!json_is_string(message)) {
        return QUIPU_OK;
    }
    struct quipu_slice bytes = quipu_slice(json_string_value(message), json_string_length(message));
    enum quipu_status status = quipu_multihash_verify(hash, bytes, &verdict->err);
    if (status == QUIPU_CID_UNVERIFIABLE) {
        (void)json_object_set_new(verdict->json, "verified", json_false());
        return QUIPU_OK;
    }
    (void)json_object_set_new(verdict->json, "verified", json_boolean(status == QUIPU_OK));
    if (status != QUIPU_OK) {
        verdict->err.offset = input->bytes.len - hash->digest.len;
    }
    return status;
}

void cidcheck_multihash(const struct cidcheck_input *input, struct cidcheck_verdict *verdict)
{
    if (!input->has_bytes) {
        cidcheck_unusable(verdict, "multihash needs \"hex\"");
        return;
    }
    struct quipu_slice rest = input->bytes;
    struct quipu_multihash hash;
    enum quipu_status status = quipu_multihash_take(&rest, &hash, &verdict->err);
    if (status == QUIPU_OK && rest.len > 0) {
        status = quipu_error_set_at(&verdict->err, QUIPU_MULTIHASH, input->bytes.len - rest.len,
                                    "%zu bytes behind the multihash", rest.len);
    }
    if (status == QUIPU_OK) {
        const char *name = quipu_multihash_name(hash.code);
        if (name != NULL) {
            cidcheck_put_text(verdict, "alg", quipu_slice_text(name));
        }
        (void)json_object_set_new(verdict->json, "hash", json_integer((json_int_t)hash.code));
        (void)json_object_set_new(verdict->json, "bits",
                                  json_integer((json_int_t)hash.digest.len * 8));
        status = verify_input(input, &hash, verdict);
    }
    verdict->status = status;
    if (status == QUIPU_OK) {
        cidcheck_put_hex(verdict, "hex", input->bytes);
    }
}

void cidcheck_varint(const struct cidcheck_input *input, struct cidcheck_verdict *verdict)
{
    if (!input->has_bytes) {
        cidcheck_unusable(verdict, "varint needs \"hex\"");
        return;
    }
    struct quipu_slice rest = input->bytes;
    uint64_t value = 0;
    enum quipu_status status = quipu_varint_take(&rest, &value, &verdict->err);
    if (status == QUIPU_OK && rest.len > 0) {
        status = quipu_error_set_at(&verdict->err, QUIPU_VARINT, input->bytes.len - rest.len,
                                    "%zu bytes behind the varint", rest.len);
    }
    verdict->status = status;
    if (status != QUIPU_OK) {
        return;
    }
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRIu64, value);
    cidcheck_put_text(verdict, "value", quipu_slice_text(text));
    uint8_t encoded[QUIPU_VARINT_BYTES];
    size_t len = quipu_varint_encode(value, encoded);
    cidcheck_put_hex(verdict, "hex", quipu_slice(encoded, len));
}

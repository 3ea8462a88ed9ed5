/*
 * Content identifiers as text. Version 0 is bare base58btc, "Qm…", 46 characters; version 1 is any
 * multibase on reading and base32 in lower case on writing.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/cid.h"

#include "quipu/multibase.h"

#define CID_V0_CHARS   46
#define CID_TEXT_CHARS (QUIPU_CID_TEXT_BYTES - 1)
/* Any CID of the event profile, in any base (base2 is read through a growing buffer). */
#define CID_SCRATCH_BYTES 512

static const char BASE32[] = "abcdefghijklmnopqrstuvwxyz234567";

/* Value + 1 of a base32 character in lower case; 0 for a foreign one. */
static const uint8_t BASE32_VALUE[256] = {
    ['a'] = 1,  ['b'] = 2,  ['c'] = 3,  ['d'] = 4,  ['e'] = 5,  ['f'] = 6,  ['g'] = 7,  ['h'] = 8,
    ['i'] = 9,  ['j'] = 10, ['k'] = 11, ['l'] = 12, ['m'] = 13, ['n'] = 14, ['o'] = 15, ['p'] = 16,
    ['q'] = 17, ['r'] = 18, ['s'] = 19, ['t'] = 20, ['u'] = 21, ['v'] = 22, ['w'] = 23, ['x'] = 24,
    ['y'] = 25, ['z'] = 26, ['2'] = 27, ['3'] = 28, ['4'] = 29, ['5'] = 30, ['6'] = 31, ['7'] = 32,
};

void quipu_cid_format(const struct quipu_cid *cid, char out[QUIPU_CID_TEXT_BYTES])
{
    uint8_t bytes[QUIPU_CID_BYTES];
    quipu_cid_to_bytes(cid, bytes);
    out[0] = 'b';
    size_t at = 1;
    uint32_t held = 0;
    unsigned held_bits = 0;
    for (size_t i = 0; i < sizeof bytes; i++) {
        held = held << 8 | bytes[i];
        held_bits += 8;
        while (held_bits >= 5) {
            held_bits -= 5;
            out[at++] = BASE32[held >> held_bits & 31];
        }
    }
    /* 288 bits are 57 characters and 3 bits. */
    out[at++] = BASE32[held << (5 - held_bits) & 31];
    out[at] = '\0';
}

/* The form that quipu writes, without the detour over views. false: try the long way. */
static bool parse_own_form(struct quipu_slice text, struct quipu_cid *out)
{
    if (text.len != CID_TEXT_CHARS || text.data[0] != 'b') {
        return false;
    }
    uint8_t bytes[QUIPU_CID_BYTES];
    size_t at = 0;
    uint32_t held = 0;
    unsigned held_bits = 0;
    for (size_t i = 1; i < text.len; i++) {
        uint8_t value = BASE32_VALUE[text.data[i]];
        if (value == 0) {
            return false;
        }
        held = held << 5 | (value - 1u);
        held_bits += 5;
        if (held_bits >= 8) {
            held_bits -= 8;
            bytes[at++] = (uint8_t)(held >> held_bits);
        }
    }
    bool is_ours = (held & ((1u << held_bits) - 1)) == 0 && bytes[0] == 1 &&
                   (bytes[1] == QUIPU_CODEC_DAG_CBOR || bytes[1] == QUIPU_CODEC_RAW) &&
                   bytes[2] == QUIPU_MULTIHASH_SHA2_256 && bytes[3] == QUIPU_SHA256_BYTES;
    if (!is_ours) {
        return false;
    }
    out->codec = bytes[1];
    memcpy(out->digest, bytes + 4, QUIPU_SHA256_BYTES);
    return true;
}

enum quipu_status quipu_cid_parse(struct quipu_slice text, struct quipu_cid *out,
                                  struct quipu_error *err)
{
    if (parse_own_form(text, out)) {
        return QUIPU_OK;
    }
    uint8_t storage[CID_SCRATCH_BYTES];
    struct quipu_buf bytes = QUIPU_BUF_INIT;
    if (text.len <= sizeof storage) {
        quipu_buf_init_fixed(&bytes, storage, sizeof storage);
    }
    struct quipu_cid_view view;
    enum quipu_status status = quipu_cid_view_parse(text, &bytes, &view, err);
    if (status == QUIPU_OK) {
        status = quipu_cid_from_view(&view, out, err);
    }
    quipu_buf_release(&bytes);
    return status;
}

/* Decoded bytes must be one CID of this version and nothing else. A refusal is one of the whole
 * text, from its byte 0. */
static enum quipu_status view_of_all(struct quipu_slice bytes, uint64_t version,
                                     struct quipu_cid_view *out, struct quipu_error *err)
{
    struct quipu_slice rest = bytes;
    struct quipu_cid_view view;
    struct quipu_error inner = {.offset = 0};
    enum quipu_status status = quipu_cid_view_take(&rest, &view, &inner);
    if (status != QUIPU_OK) {
        /* The inner offset counts decoded bytes, which the caller does not see. */
        return quipu_error_set_at(err, status, 0, "decoded CID: %s", inner.message);
    }
    if (rest.len > 0) {
        return quipu_error_set_at(err, QUIPU_CID, 0, "%zu bytes follow the CID in its text",
                                  rest.len);
    }
    if (view.version != version) {
        return quipu_error_set_at(err, QUIPU_CID, 0,
                                  version == 1
                                      ? "a CID of version 0 has no multibase prefix"
                                      : "46 characters that begin with Qm are no version 0");
    }
    *out = view;
    return QUIPU_OK;
}

enum quipu_status quipu_cid_view_parse(struct quipu_slice text, struct quipu_buf *storage,
                                       struct quipu_cid_view *out, struct quipu_error *err)
{
    size_t before = storage->len;
    bool is_v0 = text.len == CID_V0_CHARS && text.data[0] == 'Q' && text.data[1] == 'm';
    enum quipu_status status;
    if (is_v0) {
        /* Version 0 is the multibase text without its prefix. */
        uint8_t prefixed[CID_V0_CHARS + 1] = {'z'};
        memcpy(prefixed + 1, text.data, CID_V0_CHARS);
        struct quipu_error inner = {.offset = 0};
        status =
            quipu_multibase_decode(quipu_slice(prefixed, sizeof prefixed), NULL, storage, &inner);
        if (status == QUIPU_MULTIBASE) {
            return quipu_error_set_at(err, status, inner.offset - 1,
                                      "CID of version 0 is not base58btc");
        }
        if (status != QUIPU_OK) {
            return quipu_error_set(err, status, "%s", inner.message);
        }
    } else {
        status = quipu_multibase_decode(text, NULL, storage, err);
        if (status != QUIPU_OK) {
            return status;
        }
    }
    struct quipu_slice bytes = quipu_slice(storage->data + before, storage->len - before);
    status = view_of_all(bytes, is_v0 ? 0 : 1, out, err);
    if (status != QUIPU_OK) {
        storage->len = before;
    }
    return status;
}

void quipu_cid_view_format(const struct quipu_cid_view *view, struct quipu_buf *out)
{
    size_t before = out->len;
    enum quipu_base base = view->version == 0 ? QUIPU_BASE_58_BTC : QUIPU_BASE_32;
    enum quipu_status status = quipu_multibase_encode(base, view->bytes, out, NULL);
    if (status != QUIPU_OK) {
        out->status = out->status == QUIPU_OK ? status : out->status;
        return;
    }
    if (view->version == 0) {
        memmove(out->data + before, out->data + before + 1, out->len - before - 1);
        out->len--;
    }
}

/*
 * Names out of the multicodec table: hash functions and content codecs that tools meet. For people:
 * nothing is decided by them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stddef.h>

#include "quipu/multihash.h"

struct code_name {
    uint64_t code;
    const char *name;
    size_t digest_bytes;
};

static const struct code_name HASHES[] = {
    {0x00, "identity", 0},
    {0x11, "sha1", 20},
    {0x12, "sha2-256", 32},
    {0x13, "sha2-512", 64},
    {0x14, "sha3-512", 64},
    {0x15, "sha3-384", 48},
    {0x16, "sha3-256", 32},
    {0x17, "sha3-224", 28},
    {0x18, "shake-128", 32},
    {0x19, "shake-256", 64},
    {0x1a, "keccak-224", 28},
    {0x1b, "keccak-256", 32},
    {0x1c, "keccak-384", 48},
    {0x1d, "keccak-512", 64},
    {0x1e, "blake3", 32},
    {0x20, "sha2-384", 48},
    {0x22, "murmur3-x64-64", 8},
    {0x23, "murmur3-32", 4},
    {0x56, "dbl-sha2-256", 32},
    {0xd4, "md4", 16},
    {0xd5, "md5", 16},
    {0x1012, "sha2-256-trunc254-padded", 32},
    {0x1013, "sha2-224", 28},
    {0x1014, "sha2-512-224", 28},
    {0x1015, "sha2-512-256", 32},
    {0x1052, "ripemd-128", 16},
    {0x1053, "ripemd-160", 20},
    {0x1054, "ripemd-256", 32},
    {0x1055, "ripemd-320", 40},
    {0x1100, "x11", 64},
    {0x1d01, "kangarootwelve", 64},
    {0x534d, "sm3-256", 32},
    {0xb214, "blake2b-160", 20},
    {0xb21c, "blake2b-224", 28},
    {0xb220, "blake2b-256", 32},
    {0xb230, "blake2b-384", 48},
    {0xb240, "blake2b-512", 64},
    {0xb250, "blake2s-128", 16},
    {0xb254, "blake2s-160", 20},
    {0xb25c, "blake2s-224", 28},
    {0xb260, "blake2s-256", 32},
    {0xb401, "poseidon-bls12_381-a2-fc1", 32},
};

static const struct code_name CODECS[] = {
    {0x51, "cbor", 0},
    {0x55, "raw", 0},
    {0x63, "cms", 0},
    {0x70, "dag-pb", 0},
    {0x71, "dag-cbor", 0},
    {0x72, "libp2p-key", 0},
    {0x78, "git-raw", 0},
    {0x7b, "torrent-info", 0},
    {0x7c, "torrent-file", 0},
    {0x85, "dag-jose", 0},
    {0x86, "dag-cose", 0},
    {0x90, "eth-block", 0},
    {0x91, "eth-block-list", 0},
    {0x92, "eth-tx-trie", 0},
    {0x93, "eth-tx", 0},
    {0x94, "eth-tx-receipt-trie", 0},
    {0x95, "eth-tx-receipt", 0},
    {0x96, "eth-state-trie", 0},
    {0x97, "eth-account-snapshot", 0},
    {0x98, "eth-storage-trie", 0},
    {0xb0, "bitcoin-block", 0},
    {0xb1, "bitcoin-tx", 0},
    {0xc0, "zcash-block", 0},
    {0xc1, "zcash-tx", 0},
    {0x0129, "dag-json", 0},
    {0x0200, "json", 0},
    {0x0202, "car", 0},
    {0xf101, "fil-commitment-unsealed", 0},
    {0xf102, "fil-commitment-sealed", 0},
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static const struct code_name *find_code(const struct code_name *table, size_t count, uint64_t code)
{
    for (size_t i = 0; i < count; i++) {
        if (table[i].code == code) {
            return &table[i];
        }
    }
    return NULL;
}

static enum quipu_status find_name(const struct code_name *table, size_t count,
                                   struct quipu_slice name, uint64_t *code)
{
    for (size_t i = 0; i < count; i++) {
        if (quipu_slice_equal(name, quipu_slice_text(table[i].name))) {
            *code = table[i].code;
            return QUIPU_OK;
        }
    }
    return QUIPU_NOT_FOUND;
}

const char *quipu_multihash_name(uint64_t code)
{
    const struct code_name *found = find_code(HASHES, COUNT(HASHES), code);
    return found != NULL ? found->name : NULL;
}

enum quipu_status quipu_multihash_find(struct quipu_slice name, uint64_t *code)
{
    return find_name(HASHES, COUNT(HASHES), name, code);
}

size_t quipu_multihash_digest_bytes(uint64_t code)
{
    const struct code_name *found = find_code(HASHES, COUNT(HASHES), code);
    return found != NULL ? found->digest_bytes : 0;
}

const char *quipu_codec_name(uint64_t code)
{
    const struct code_name *found = find_code(CODECS, COUNT(CODECS), code);
    return found != NULL ? found->name : NULL;
}

enum quipu_status quipu_codec_find(struct quipu_slice name, uint64_t *code)
{
    return find_name(CODECS, COUNT(CODECS), name, code);
}

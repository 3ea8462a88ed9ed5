/*
 * Property: an index of volumes that is accepted is, byte for byte, what quipu would write of it,
 * and its volumes are numbered from 1 under one name that is a file's.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "fuzz.h"
#include "volume_index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct quipu_slice text = quipu_slice(data, size);
    struct quipu_volume_index index;
    struct quipu_buf again = QUIPU_BUF_INIT;
    struct quipu_error err = {.offset = 0};
    enum quipu_status status = quipu_volume_index_parse(text, &index, &err);
    if (status != QUIPU_OK) {
        FUZZ_REQUIRE(status == QUIPU_BUNDLE || status == QUIPU_FORMAT_NEWER);
        FUZZ_REQUIRE(err.status == status);
        FUZZ_REQUIRE(quipu_volume_index_parse(text, &index, NULL) == status);
        return 0;
    }
    FUZZ_REQUIRE(index.count > 0 && index.count <= QUIPU_BUNDLE_VOLUMES_MAX);
    for (size_t i = 0; i < index.count; i++) {
        char suffix[32]; /* a full size_t fits */
        struct quipu_slice name = index.entries[i].name;
        (void)snprintf(suffix, sizeof suffix, ".%03zu", i + 1);
        FUZZ_REQUIRE(name.len > 4 && name.len <= QUIPU_VOLUME_NAME_BYTES - 1);
        FUZZ_REQUIRE(memcmp(name.data + name.len - 4, suffix, 4) == 0);
        FUZZ_REQUIRE(memchr(name.data, '/', name.len) == NULL);
        FUZZ_REQUIRE(memchr(name.data, 0, name.len) == NULL);
        FUZZ_REQUIRE(memcmp(name.data, index.entries[0].name.data, name.len - 4) == 0);
    }
    quipu_volume_index_write(&index, &again);
    FUZZ_REQUIRE(again.status == QUIPU_OK);
    FUZZ_REQUIRE(quipu_slice_equal(quipu_buf_slice(&again), text));
    quipu_buf_release(&again);
    quipu_volume_index_release(&index);
    return 0;
}

/*
 * Bech32 (BIP 173) without its limit on length: a readable part, '1', bytes and a checksum. Private
 * to airgap/.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_AIRGAP_BECH32_H
#define QUIPU_AIRGAP_BECH32_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quipu/export.h"
#include "quipu/slice.h"
#include "quipu/status.h"

enum bech32_case { BECH32_LOWER = 0, BECH32_UPPER };

/* Characters without a NUL. */
size_t bech32_text_len(size_t prefix_len, size_t bytes);

/* Write bech32_text_len characters and a NUL. `prefix` is in the letters of `letters`. */
void bech32_encode(const char *prefix, struct quipu_slice bytes, enum bech32_case letters,
                   char *out);

/*
 * Read `text`, all of it: exactly `len` bytes behind `prefix`, all in one case.
 * False with the reason, which never quotes the text, in `*why`; `out` may then hold part of it.
 */
QUIPU_MUST_CHECK bool bech32_decode(struct quipu_slice text, const char *prefix,
                                    enum bech32_case letters, uint8_t *out, size_t len,
                                    const char **why);

#endif

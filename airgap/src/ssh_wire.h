/*
 * The few pieces of the SSH wire format (RFC 4251 §5) that signatures and public keys are made of.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_AIRGAP_SSH_WIRE_H
#define QUIPU_AIRGAP_SSH_WIRE_H

#include "internal/bytes.h"
#include "quipu/buf.h"
#include "quipu/slice.h"

#define QUIPU_SSH_ED25519 "ssh-ed25519"

/* A big-endian length and the bytes. Callers hold what goes in far below 4 GiB. */
static inline void quipu_ssh_write_string(struct quipu_buf *out, struct quipu_slice bytes)
{
    uint8_t head[4];
    quipu_store_be32(head, (uint32_t)bytes.len);
    quipu_buf_append(out, head, sizeof head);
    quipu_buf_append_slice(out, bytes);
}

#endif

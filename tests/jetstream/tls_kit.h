/*
 * Certificates for the TLS tests, made by openssl anew in each: a CA, a server's for 127.0.0.1, one
 * for other.example, a client's, and a CA that nobody trusts. No key lies in the tree.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_TLS_KIT_H
#define QUIPU_TESTS_TLS_KIT_H

#include <stdbool.h>

/* ca.pem, server.pem, other.pem, client.pem, stranger.pem and wrongca.pem in `folder`, with a .key
 * each that nobody else may read. False where there is no openssl. */
bool tls_kit_make(const char *folder);

#endif

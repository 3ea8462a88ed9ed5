/*
 * Every status that quipu returns, with its fixed number and a short text.
 * A published number never changes its meaning. docs/SPEC.md lists the same table.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_STATUS_H
#define QUIPU_STATUS_H

#include "quipu/export.h"

#ifdef __cplusplus
extern "C" {
#endif

/* X(name, number, text). Bands: 0 results, 10 the caller, 30 the machine, 50 stored data,
 * 70 encodings, 110 the network, 120 age files. */
#define QUIPU_STATUS_MAP(X)                                                                        \
    X(OK, 0, "ok")                                                                                 \
    X(DONE, 1, "end of the iteration")                                                             \
    X(MISUSE, 10, "wrong use of the interface")                                                    \
    X(INVALID, 11, "invalid input")                                                                \
    X(TOO_LARGE, 12, "over a limit")                                                               \
    X(NOT_FOUND, 13, "not found")                                                                  \
    X(VERSION_CONFLICT, 14, "the aggregate is at another version")                                 \
    X(EVENT_ID_CONFLICT, 15, "another event has this event_id")                                    \
    X(SECRET_REFUSED, 16, "payload holds secret material")                                         \
    X(EXISTS, 17, "exists already")                                                                \
    X(BUSY, 18, "in use, or being done already")                                                   \
    X(STOPPED, 19, "stopped on request")                                                           \
    X(PARKED, 20, "parked in front of an event that could not be applied")                         \
    X(PAUSED, 21, "paused on request")                                                             \
    X(TYPE, 22, "payload does not fit its declared type")                                          \
    X(KEY_LOCKED, 23, "the signing key is locked by a passphrase")                                 \
    X(NO_MEMORY, 30, "out of memory")                                                              \
    X(IO, 31, "input or output failed")                                                            \
    X(NO_SPACE, 32, "disk full")                                                                   \
    X(PERMISSION, 33, "permission denied")                                                         \
    X(NO_RANDOM, 34, "no randomness from the system")                                              \
    X(NOT_A_STORE, 50, "not a quipu store")                                                        \
    X(FORMAT_NEWER, 51, "made by a newer quipu")                                                   \
    X(CORRUPT, 52, "stored bytes are damaged")                                                     \
    X(FORK, 53, "two events claim the same place")                                                 \
    X(GAP, 54, "an event is missing before this one")                                              \
    X(BAD_SIGNATURE, 55, "signature does not verify")                                              \
    X(SCHEMA_NEWER, 56, "event of a newer schema than is known here")                              \
    X(UNSIGNED, 57, "nobody has signed it")                                                        \
    X(UNTRUSTED, 58, "signed, but by nobody who is trusted")                                       \
    X(MISSING, 59, "a part is missing")                                                            \
    X(TOO_FEW_SIGNERS, 60, "signed by fewer people than are asked for")                            \
    X(CBOR_TRUNCATED, 70, "DAG-CBOR: input ends inside an item")                                   \
    X(CBOR_TRAILING, 71, "DAG-CBOR: bytes after the item")                                         \
    X(CBOR_NOT_SHORTEST, 72, "DAG-CBOR: head is not in its shortest form")                         \
    X(CBOR_INDEFINITE, 73, "DAG-CBOR: indefinite length")                                          \
    X(CBOR_RESERVED, 74, "DAG-CBOR: reserved additional information")                              \
    X(CBOR_KEY_NOT_TEXT, 75, "DAG-CBOR: map key is not text")                                      \
    X(CBOR_KEY_ORDER, 76, "DAG-CBOR: map keys out of order")                                       \
    X(CBOR_KEY_DUPLICATE, 77, "DAG-CBOR: map key twice")                                           \
    X(CBOR_FLOAT_WIDTH, 78, "DAG-CBOR: float is not 64 bits wide")                                 \
    X(CBOR_FLOAT_NOT_FINITE, 79, "DAG-CBOR: float is NaN or infinite")                             \
    X(CBOR_SIMPLE, 80, "DAG-CBOR: simple value other than false, true, null")                      \
    X(CBOR_TAG, 81, "DAG-CBOR: tag other than 42")                                                 \
    X(CBOR_LINK, 82, "DAG-CBOR: tag 42 does not hold a CID")                                       \
    X(CBOR_UTF8, 83, "DAG-CBOR: text is not valid UTF-8")                                          \
    X(CBOR_DEPTH, 84, "DAG-CBOR: nested too deep")                                                 \
    X(CBOR_KIND, 85, "DAG-CBOR: another kind of value was expected")                               \
    X(CBOR_INCOMPLETE, 86, "DAG-CBOR: writer finished inside a map or list")                       \
    X(VARINT, 90, "varint is malformed")                                                           \
    X(MULTIBASE, 91, "multibase text is malformed")                                                \
    X(MULTIHASH, 92, "multihash is malformed")                                                     \
    X(CID, 93, "CID is malformed")                                                                 \
    X(CID_PROFILE, 94, "CID is outside the event profile")                                         \
    X(CID_MISMATCH, 95, "bytes do not hash to their CID")                                          \
    X(CID_UNVERIFIABLE, 96, "CID uses a hash that cannot be verified here")                        \
    X(JSON, 100, "JSON is malformed")                                                              \
    X(DAGJSON, 101, "JSON is not DAG-JSON")                                                        \
    X(CAR, 102, "CAR is malformed")                                                                \
    X(CAR_TRUNCATED, 103, "CAR ends inside a section")                                             \
    X(CAR_VERSION, 104, "CAR version is not 1")                                                    \
    X(CAR_ROOT_MISSING, 105, "CAR does not hold its root")                                         \
    X(BUNDLE, 106, "not a quipu bundle")                                                           \
    X(ENVELOPE, 107, "block is not a quipu envelope")                                              \
    X(OFFLINE, 110, "no server")                                                                   \
    X(AUTH, 111, "the server refused the credentials")                                             \
    X(TIMEOUT, 112, "the server did not answer in time")                                           \
    X(NOT_PROVISIONED, 113, "stream or bucket does not exist")                                     \
    X(DRIFT, 114, "stream or bucket is configured otherwise")                                      \
    X(SERVER, 115, "the server refused")                                                           \
    X(AGE, 120, "not an age file")                                                                 \
    X(AGE_VERSION, 121, "age file of another version")                                             \
    X(AGE_ARMOR, 122, "age armor is malformed")                                                    \
    X(AGE_HEADER, 123, "age header is malformed")                                                  \
    X(AGE_MAC, 124, "age header was changed")                                                      \
    X(AGE_NO_MATCH, 125, "no identity or passphrase given opens this age file")                    \
    X(AGE_PAYLOAD, 126, "age payload is damaged")                                                  \
    X(AGE_TRUNCATED, 127, "age payload ends too early")                                            \
    X(AGE_WORK_FACTOR, 128, "scrypt work factor is over the limit")                                \
    X(AGE_UNSUPPORTED, 129, "age key or recipient of a type not supported")                        \
    X(AGE_KEY, 130, "age key is malformed")

/** Result of every fallible call. Failures are 10 and above. */
enum quipu_status {
#define QUIPU_STATUS_ENUM(name, number, text) QUIPU_##name = (number),
    QUIPU_STATUS_MAP(QUIPU_STATUS_ENUM)
#undef QUIPU_STATUS_ENUM
};

/** Name such as "VERSION_CONFLICT"; "UNKNOWN" for a number that is none. Static text. Any thread.
 */
QUIPU_API const char *quipu_status_name(enum quipu_status status);

/** Short text in lower case, no full stop. Static text. Any thread. */
QUIPU_API const char *quipu_status_text(enum quipu_status status);

#ifdef __cplusplus
}
#endif

#endif

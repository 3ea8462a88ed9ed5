/*
 * Attributes of the public interface: what is exported, what must be checked, what is printf-like.
 * Never holds anything but attribute macros.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_EXPORT_H
#define QUIPU_EXPORT_H

#if defined(__GNUC__)
#define QUIPU_API              __attribute__((visibility("default")))
#define QUIPU_MUST_CHECK       __attribute__((warn_unused_result))
#define QUIPU_PRINTF(fmt, arg) __attribute__((format(printf, fmt, arg)))
#else
#define QUIPU_API
#define QUIPU_MUST_CHECK
#define QUIPU_PRINTF(fmt, arg)
#endif

#endif

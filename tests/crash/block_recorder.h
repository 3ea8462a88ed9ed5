/*
 * Names that the block recorder and those who use it share.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_CRASH_BLOCK_RECORDER_H
#define QUIPU_TESTS_CRASH_BLOCK_RECORDER_H

#define BLOCK_RECORDER_IMAGE "image"
#define BLOCK_RECORDER_MARKS "marks"

/* The first mark: what comes before it is the disk as it was. */
#define BLOCK_RECORDER_BEGIN "begin\n"

#endif

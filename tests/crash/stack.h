/*
 * The whole stack below a store: ext4 with its journal, on a loop device, on a disk whose writes
 * and flushes are recorded (block_recorder.c). And the other way round: the image of a disk after a
 * power cut, mounted, so that the kernel recovers its journal. Needs root, /dev/fuse, loop devices
 * and mkfs.ext4.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_CRASH_STACK_H
#define QUIPU_TESTS_CRASH_STACK_H

#include <stdbool.h>
#include <stdint.h>

/* The disk's sectors, and the file system's blocks. */
#define STACK_SECTOR_BYTES 4096

/* Go to a mount namespace of our own, so that no mount outlives the process. Where that, or what
 * else it takes, is not to be had: false, and `why` says what. */
bool stack_begin(char why[160]);

struct stack_recording {
    const char *recorder;   /* program: crash_block_recorder */
    const char *image;      /* file to be made: the disk */
    const char *record;     /* file to be made */
    const char *disk;       /* empty folder for the recorder's mount */
    const char *folder;     /* empty folder where the file system is mounted */
    const char *options;    /* of the file system, for mount(2) */
    const char *const *run; /* program and arguments; prints its marks */
};

/* Make the file system, run the program on it, unmount. Exits the process where a step fails. */
void stack_record(const struct stack_recording *recording);

/* Mount the file system of an image, journal recovered; false (with a line on stderr) where the
 * kernel does not take it. */
bool stack_mount(const char *image, const char *folder, const char *options);
void stack_unmount(const char *folder);

#endif

/*
 * The whole stack below a store.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "stack.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "block_recorder.h"

#define PATH_BYTES     600
#define IMAGE_BYTES    (INT64_C(48) << 20)
#define LOOP_TRIES_MAX 50

static void die(const char *what)
{
    perror(what);
    exit(EXIT_FAILURE);
}

/* ------------------------------------------------------------------ what the machine allows */

static bool lacks_file(const char *path, int how, char why[160])
{
    if (access(path, how) == 0) {
        return false;
    }
    (void)snprintf(why, 160, "%s: %s", path, strerror(errno));
    return true;
}

/* Root of the machine, not of a user namespace: there the kernel mounts no ext4. */
static bool is_root(void)
{
    FILE *map = fopen("/proc/self/uid_map", "r");
    unsigned long inside = 1;
    unsigned long outside = 1;
    unsigned long count = 0;
    bool is_whole = map != NULL && fscanf(map, "%lu %lu %lu", &inside, &outside, &count) == 3 &&
                    inside == 0 && outside == 0 && count == UINT32_MAX;
    if (map != NULL) {
        (void)fclose(map); /* was only read */
    }
    return geteuid() == 0 && is_whole;
}

bool stack_begin(char why[160])
{
    if (!is_root()) {
        (void)snprintf(why, 160, "mounting ext4 takes root, and not that of a user namespace");
        return false;
    }
    if (lacks_file("/dev/fuse", R_OK | W_OK, why) ||
        lacks_file("/dev/loop-control", R_OK | W_OK, why) ||
        lacks_file("/sbin/mkfs.ext4", X_OK, why)) {
        return false;
    }
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
        (void)snprintf(why, 160, "no mount namespace of its own: %s", strerror(errno));
        return false;
    }
    return true;
}

/* ------------------------------------------------------------------ loop devices */

/* A loop device on the image, which goes when nobody has it open any more. */
static int loop_attach(const char *image, char device[32])
{
    int file = open(image, O_RDWR | O_CLOEXEC);
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    int loop = -1;
    if (file < 0 || control < 0) {
        die(image);
    }
    /* Between the question and the answer another process may take the same one. */
    for (int i = 0; loop < 0 && i < LOOP_TRIES_MAX; i++) {
        int number = ioctl(control, LOOP_CTL_GET_FREE);
        if (number < 0) {
            die("loop-control");
        }
        (void)snprintf(device, 32, "/dev/loop%d", number);
        loop = open(device, O_RDWR | O_CLOEXEC);
        struct loop_config config = {.fd = (uint32_t)file, .block_size = STACK_SECTOR_BYTES};
        config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
        if (loop >= 0 && ioctl(loop, LOOP_CONFIGURE, &config) != 0) {
            if (errno != EBUSY) {
                die(device);
            }
            (void)close(loop); /* was not ours */
            loop = -1;
        }
    }
    if (loop < 0) {
        die("no free loop device");
    }
    (void)close(file); /* the device has its own */
    (void)close(control);
    return loop;
}

bool stack_mount(const char *image, const char *folder, const char *options)
{
    char device[32];
    int loop = loop_attach(image, device);
    bool is_mounted = mount(device, folder, "ext4", MS_NOATIME, options) == 0;
    if (!is_mounted) {
        (void)fprintf(stderr, "mount %s: %s\n", image, strerror(errno));
    }
    (void)close(loop); /* the mount holds it */
    return is_mounted;
}

void stack_unmount(const char *folder)
{
    if (umount2(folder, 0) != 0) {
        die(folder);
    }
}

/* ------------------------------------------------------------------ recording */

static void wait_for(pid_t pid, const char *what)
{
    int how = 0;
    if (pid < 0 || waitpid(pid, &how, 0) != pid || how != 0) {
        (void)fprintf(stderr, "%s failed: status 0x%x\n", what, (unsigned)how);
        exit(EXIT_FAILURE);
    }
}

/* Run a program, its standard output to the file. Its end is waited for by the caller. */
static pid_t start(const char *const *arguments, const char *output)
{
    char *copies[16] = {NULL};
    for (size_t i = 0; arguments[i] != NULL && i + 1 < sizeof copies / sizeof copies[0]; i++) {
        copies[i] = strdup(arguments[i]);
    }
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open(output, O_WRONLY | O_APPEND | O_CLOEXEC);
        if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
            _exit(2);
        }
        execv(copies[0], copies);
        _exit(2);
    }
    for (size_t i = 0; copies[i] != NULL; i++) {
        free(copies[i]);
    }
    return pid;
}

static void make_file_system(const char *image)
{
    const char *const arguments[] = {"/sbin/mkfs.ext4",
                                     "-q",
                                     "-F",
                                     "-b",
                                     "4096",
                                     "-J",
                                     "size=4",
                                     "-E",
                                     "nodiscard,lazy_itable_init=0,lazy_journal_init=0",
                                     image,
                                     NULL};
    int fd = open(image, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, IMAGE_BYTES) != 0 || close(fd) != 0) {
        die(image);
    }
    wait_for(start(arguments, "/dev/null"), "mkfs.ext4");
}

static pid_t start_recorder(const struct stack_recording *recording)
{
    int ready[2];
    char descriptor[16];
    char byte = 0;
    if (pipe(ready) != 0) {
        die("pipe");
    }
    (void)snprintf(descriptor, sizeof descriptor, "%d", ready[1]);
    const char *const arguments[] = {recording->recorder, recording->disk, recording->image,
                                     recording->record,   descriptor,      NULL};
    pid_t pid = start(arguments, "/dev/null");
    (void)close(ready[1]); /* the recorder's end is its own */
    if (read(ready[0], &byte, 1) != 1) {
        (void)fprintf(stderr, "the block recorder did not start\n");
        exit(EXIT_FAILURE);
    }
    (void)close(ready[0]);
    return pid;
}

void stack_record(const struct stack_recording *recording)
{
    char image[PATH_BYTES];
    char marks[PATH_BYTES];
    (void)snprintf(image, sizeof image, "%s/%s", recording->disk, BLOCK_RECORDER_IMAGE);
    (void)snprintf(marks, sizeof marks, "%s/%s", recording->disk, BLOCK_RECORDER_MARKS);
    make_file_system(recording->image);
    pid_t recorder = start_recorder(recording);
    if (!stack_mount(image, recording->folder, recording->options)) {
        exit(EXIT_FAILURE);
    }
    wait_for(start(recording->run, marks), "the workload");
    stack_unmount(recording->folder);
    stack_unmount(recording->disk);
    wait_for(recorder, "the block recorder");
}

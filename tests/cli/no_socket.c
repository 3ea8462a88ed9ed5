/*
 * Runs a program that may make no socket: the system ends it with SIGSYS where it tries.
 *   no_socket COMMAND ARGUMENT…
 * Exits with the command's own code, or as the shell says it of SIGSYS, 159.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SKIPPED 77

int main(int argc, char **argv)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog filter = {.len = sizeof rules / sizeof rules[0], .filter = rules};
    if (argc < 2) {
        (void)fprintf(stderr, "usage: no_socket COMMAND ARGUMENT...\n");
        return 2;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
        (void)printf("skipped: no seccomp filter here: %s\n", strerror(errno));
        return SKIPPED;
    }
    (void)execvp(argv[1], argv + 1);
    (void)fprintf(stderr, "run %s: %s\n", argv[1], strerror(errno));
    return 127;
}

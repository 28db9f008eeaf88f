/* forbid.h: a filter of system calls (seccomp) for the calling process and all that it starts. */
#ifndef FORBID_H
#define FORBID_H

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define ANY_TYPE (-1)

/* A system call fails with EPERM, or ends the process (`deadly`). With a `type`, of ioctl: requests of that type
 * alone (the second byte: _IOC_TYPE). Guarantees: 0, or -1 where there are no such filters. */
static inline int forbid(int number, int type, int deadly)
{
    unsigned what = deadly ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_ERRNO | EPERM;
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 5),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 8),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, type == ANY_TYPE ? 0 : 0xff),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, type == ANY_TYPE ? 0 : (unsigned)type, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, what),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0
             ? 0
             : -1;
}

#endif

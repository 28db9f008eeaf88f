/* posix_memory.c: the part of bounds.h that looks at memory, for all systems of the POSIX family. */
#ifndef _WIN32
#include "bounds.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

int sw_is_mapped(uintptr_t base, uintptr_t top)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = base & ~(page - 1);
    /* msync looks at mappings, not at pages: the cheapest question whatever the size. */
    return msync((void *)first, top - first, MS_ASYNC) == 0 ? 1 : errno == ENOMEM ? 0 : -1;
}

/* Can one byte be read there? write(2) answers EFAULT where a load would be a SIGSEGV. Neither the list of
 * mappings nor mincore shows every kind of guard (MADV_GUARD_INSTALL: Linux 6.13, glibc 2.43). */
static int is_readable(const int pipe_ends[2], uintptr_t address)
{
    char sink;
    ssize_t written;
    do {
        written = write(pipe_ends[1], (const void *)address, 1);
    } while (written < 0 && errno == EINTR);
    return written == 1 && read(pipe_ends[0], &sink, 1) == 1;
}

uintptr_t sw_lowest_readable(uintptr_t base, uintptr_t top)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    int pipe_ends[2];
    if (pipe(pipe_ends) != 0) {
        return 0;
    }
    fcntl(pipe_ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(pipe_ends[1], F_SETFD, FD_CLOEXEC);
    while (base < top && !is_readable(pipe_ends, base)) {
        base = (base & ~(page - 1)) + page;
    }
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    return base < top ? base : top;
}

#endif

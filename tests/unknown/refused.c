/* refused.c: loaded before everything else, it has the kernel refuse requests that it does not know: those whose numbers
 * the variable REFUSED names, of /proc/self/maps (17) and /proc/self/pagemap (16). */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

__attribute__((visibility("default"))) int ioctl(int fd, unsigned long request, ...)
{
    va_list rest;
    va_start(rest, request);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    const char *refused = getenv("REFUSED");
    if (_IOC_TYPE(request) == 'f' && refused != NULL) {
        if (strstr(refused, _IOC_NR(request) == 16 ? "16" : "17") != NULL) {
            errno = ENOTTY;
            return -1;
        }
    }
    return (int)syscall(SYS_ioctl, fd, request, argument);
}

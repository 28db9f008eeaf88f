/* windows.c: crash.h on Windows, where faults are not signals: not available. */
#ifdef _WIN32
#include "crash.h"

#include <errno.h>

int sw_crash_start(sw_find_overrun *find)
{
    (void)find;
    errno = ENOSYS;
    return -1;
}

void sw_crash_stop(void) {}

int sw_crash_is_on(void)
{
    return 0;
}

int sw_crash_cover_thread(void)
{
    return 0;
}

#endif

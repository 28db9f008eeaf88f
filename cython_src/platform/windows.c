/* windows.c: platform.h on Windows. Not run. */
#ifdef _WIN32
#include "platform.h"

#include <windows.h>

#if !defined(_M_X64) && !defined(__x86_64__)
#error "platform.h relies on the memory order of x86-64 on Windows"
#endif

#if defined(_MSC_VER)
static __declspec(thread) void *thread_block;
#else
static _Thread_local void *thread_block; /* GCC ignores __declspec(thread): one variable for all threads */
#endif
static SRWLOCK lock = SRWLOCK_INIT;
static DWORD exit_slot;

ptrdiff_t sw_thread_local_place;

SW_NOINLINE void *sw_thread_local_call(void)
{
    return thread_block;
}

int sw_find_tls_words(const void *value, ptrdiff_t *places, int most)
{
    (void)value;
    (void)places;
    (void)most;
    return 0;
}

int sw_thread_local_set(void *block)
{
    if (!FlsSetValue(exit_slot, block)) {
        return -1;
    }
    thread_block = block;
    return 0;
}

int sw_lock(void)
{
    AcquireSRWLockExclusive(&lock);
    return 1;
}

int sw_holds_lock(void) /* no signal handler interrupts a thread here */
{
    return 0;
}

void sw_unlock(void)
{
    ReleaseSRWLockExclusive(&lock);
}

int sw_platform_start(void (*at_thread_exit)(void *block), void (*after_fork_in_child)(void))
{
    (void)after_fork_in_child; /* there is no fork */
    exit_slot = FlsAlloc((PFLS_CALLBACK_FUNCTION)at_thread_exit);
    return exit_slot == FLS_OUT_OF_INDEXES ? -1 : 0;
}

uint64_t sw_thread_ident(void)
{
    return GetCurrentThreadId();
}

void sw_yield(void)
{
    SwitchToThread();
}

void *sw_allocate_pages(size_t bytes)
{
    return VirtualAlloc(NULL, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
}

#endif

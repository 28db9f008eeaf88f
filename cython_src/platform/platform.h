/* platform.h: the operating system and the compiler: memory order, thread-local variables, a lock, memory.
 *
 * Promises: the same names on every platform. posix.c or windows.c implements the functions. Touches no Python. */
#ifndef SW_PLATFORM_H
#define SW_PLATFORM_H

#include <stddef.h>
#include <stdint.h>

/* Memory order: a reader that acquires what a writer released sees all that the writer did before. */
#if defined(_MSC_VER)
#include <intrin.h>
#define SW_NOINLINE __declspec(noinline)
#define SW_ATOMIC(type) volatile type
#define SW_LIKELY(condition) (condition)
/* /volatile:ms gives volatile accesses acquire and release order on x86-64; windows.c refuses other CPUs. */
#define sw_load_acquire(place) (*(volatile uint64_t *)(place))
#define sw_store_release(place, value) ((void)(*(volatile uint64_t *)(place) = (value)))
#define sw_load_pointer(place) (*(void *volatile *)(place))
#define sw_store_pointer(place, value) ((void)(*(void *volatile *)(place) = (value)))
#define sw_load_generation(place) (*(volatile uint32_t *)(place))
#define sw_store_generation(place, value) ((void)(*(volatile uint32_t *)(place) = (value)))
#define sw_fence_acquire() _ReadWriteBarrier()
#define sw_fence_release() _ReadWriteBarrier()
#define sw_fence_full() __faststorefence()
#define sw_add(place, value) ((void)_InterlockedExchangeAdd64((volatile long long *)(place), (long long)(value)))
#define sw_stack_pointer() ((uintptr_t)_AddressOfReturnAddress())
#define SW_HIDDEN
#else
#define SW_NOINLINE __attribute__((noinline))
#define SW_ATOMIC(type) _Atomic(type) /* a load is a plain one on x86-64 */
/* Probability 1, so that compilers move the code of the other case out of line, and give it no registers. */
#define SW_LIKELY(condition) __builtin_expect_with_probability(!!(condition), 1, 1.0)
#define sw_load_acquire(place) __atomic_load_n((place), __ATOMIC_ACQUIRE)
#define sw_store_release(place, value) __atomic_store_n((place), (value), __ATOMIC_RELEASE)
#define sw_load_pointer(place) __atomic_load_n((place), __ATOMIC_ACQUIRE)
#define sw_store_pointer(place, value) __atomic_store_n((place), (value), __ATOMIC_RELEASE)
#define sw_load_generation(place) __atomic_load_n((place), __ATOMIC_ACQUIRE)
#define sw_store_generation(place, value) __atomic_store_n((place), (value), __ATOMIC_RELEASE)
#define sw_fence_acquire() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define sw_fence_release() __atomic_thread_fence(__ATOMIC_RELEASE)
#define sw_fence_full() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define sw_add(place, value) ((void)__atomic_fetch_add((place), (value), __ATOMIC_RELAXED))
#define SW_HIDDEN __attribute__((visibility("hidden")))
#if defined(__x86_64__)
static inline uintptr_t sw_stack_pointer(void)
{
    uintptr_t sp;
    __asm__ volatile("movq %%rsp, %0" : "=r"(sp));
    return sp;
}
#else
#define sw_stack_pointer() ((uintptr_t)__builtin_frame_address(0))
#endif
#endif

#define sw_count(place) sw_add(place, 1)

/* Thread-local variables, read so that no compiler can cache an address across a switch: a user thread may be resumed
 * on another operating-system thread. A variable in static TLS (the block that every thread gets when it is made) has a
 * fixed place, in bytes from the thread pointer, which `asm volatile` reads anew each time. Without such asm
 * SW_HAS_TLS_WORDS is 0, and functions that are not inlined read the variables. */
#if defined(__linux__) && defined(__x86_64__)
#define SW_HAS_TLS_WORDS 1
static inline void *sw_tls_word(ptrdiff_t place)
{
    void *word;
    __asm__ volatile("movq %%fs:(%1), %0" : "=r"(word) : "r"(place));
    return word;
}
static inline uintptr_t sw_thread_pointer(void)
{
    return (uintptr_t)sw_tls_word(0); /* the thread pointer points at its own value (x86-64 TLS ABI) */
}
#elif defined(__linux__) && defined(__aarch64__)
#define SW_HAS_TLS_WORDS 1
static inline uintptr_t sw_thread_pointer(void)
{
    uintptr_t pointer;
    __asm__ volatile("mrs %0, tpidr_el0" : "=r"(pointer));
    return pointer;
}
static inline void *sw_tls_word(ptrdiff_t place)
{
    return *(void *volatile *)(sw_thread_pointer() + place);
}
#else
#define SW_HAS_TLS_WORDS 0
static inline void *sw_tls_word(ptrdiff_t place)
{
    (void)place;
    return NULL;
}
#endif

/* The places of the words of static TLS that hold `value` in the calling thread.
 * Guarantees: their number, of which the first `most` are stored; 0 where SW_HAS_TLS_WORDS is 0. */
int sw_find_tls_words(const void *value, ptrdiff_t *places, int most);

/* The calling thread's block, NULL before sw_thread_local_set. */
SW_HIDDEN extern ptrdiff_t sw_thread_local_place;
void *sw_thread_local_call(void);
static inline void *sw_thread_local_fast(void) /* Requires: sw_thread_local_place is not 0 */
{
    return sw_tls_word(sw_thread_local_place);
}
static inline void *sw_thread_local_get(void)
{
    return sw_thread_local_place != 0 ? sw_tls_word(sw_thread_local_place) : sw_thread_local_call();
}

/* Guarantees: 0; `at_thread_exit(block)` (see sw_platform_start) runs when the thread ends. -1: no memory. */
int sw_thread_local_set(void *block);

/* Once, before all other functions here: 0, or -1. after_fork_in_child() runs in the child, once the lock is
 * free. */
int sw_platform_start(void (*at_thread_exit)(void *block), void (*after_fork_in_child)(void));

/* The lock of the registry and the list of threads, for those who change them. The forking thread holds it over a fork,
 * so that the child never finds it taken. Nobody who holds it waits for the GIL. What allocates or frees memory does it
 * under the lock, so that a signal handler never interrupts our malloc() with its own.
 * sw_lock(): 0: refused, because the calling thread holds it: the caller is a signal handler that interrupted the holder.
 * sw_holds_lock(): would it be? The answer is one and the same for as long as the handler runs. */
int sw_lock(void);
int sw_holds_lock(void);
void sw_unlock(void);

/* The calling thread's threading.get_ident(). */
uint64_t sw_thread_ident(void);

/* Let other threads run. */
void sw_yield(void);

/* Whole pages of zeroed memory, which is never given back; or NULL. */
void *sw_allocate_pages(size_t bytes);

#endif

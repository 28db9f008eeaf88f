/* run_on_stack.h: memory for a stack, and a call that runs on it.
 *
 *      higher addresses
 *      base + size    the function's frames begin here ...
 *        |
 *      base           lowest usable byte
 *      guard          SW_GUARD_SIZE bytes that end the process when they are touched
 *      lower addresses
 *
 * Promises: a stack takes address space alone; memory comes with the first touch of each page, 4 KiB at a time, however
 * large it is. Debuggers and backtrace() see the caller under the function; AddressSanitizer is told of the switch.
 * Knows nothing of Python. */
#ifndef SW_RUN_ON_STACK_H
#define SW_RUN_ON_STACK_H

#include <stddef.h>
#include <stdint.h>

#define SW_GUARD_SIZE ((size_t)64 << 10)

/* 0 where no call can run on another stack (Windows): sw_map_stack() returns NULL there. */
#if defined(_WIN32)
#define SW_CAN_RUN_ON_STACK 0
#else
#define SW_CAN_RUN_ON_STACK 1
#endif

/* The base of a new stack of `size` bytes, a multiple of SW_GUARD_SIZE; NULL: no address space. */
void *sw_map_stack(size_t size);
void sw_unmap_stack(void *base, size_t size);

/* Give back the memory of the lowest `size` bytes of a stack that nobody runs on. The addresses stay taken. */
void sw_discard_stack(void *base, size_t size);

/* function(arg) with the stack pointer at `base + size`.
 * Requires: the function returns; no C++ exception and no longjmp leaves it. It may come back on another thread. */
void sw_run_on_stack(void *base, size_t size, void (*function)(void *), void *arg);

#endif

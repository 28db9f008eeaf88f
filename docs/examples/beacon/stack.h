/* stack.h: memory for a stack, with a page below it that nobody may touch. */
#ifndef STACK_H
#define STACK_H

#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>

#define GUARD ((size_t)4096) /* bytes */

/* The lowest usable byte of a stack of so many bytes. */
static inline void *allocate_stack(size_t size)
{
    char *memory = (char *)mmap(NULL, GUARD + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, GUARD, PROT_NONE) != 0) {
        abort();
    }
    return memory + GUARD;
}

static inline void free_stack(void *stack, size_t size)
{
    munmap((char *)stack - GUARD, GUARD + size);
}

#endif

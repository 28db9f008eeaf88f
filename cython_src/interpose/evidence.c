/* evidence.c: reads memory that may not be there, and remembers for each page what it found.
 *
 * Promises: allocates nothing, takes no lock. One system call for a page that is seen for the first time, or seldom. */
#define _GNU_SOURCE
#include "evidence.h"

#include <stdatomic.h>
#include <sys/uio.h>
#include <unistd.h>

#define WORDS 32 /* more than any switch saves */
#define PAGES 256 /* remembered, one for each remainder */
#define PAGE ((uintptr_t)4096)

size_t sw_read_words(uintptr_t address, uintptr_t *words, size_t count)
{
    struct iovec to = {words, count * sizeof *words}, from = {(void *)address, count * sizeof *words};
    ssize_t copied = address % sizeof *words == 0 ? process_vm_readv(getpid(), &to, 1, &from, 1, 0) : -1;
    return copied > 0 ? (size_t)copied / sizeof *words : 0;
}

/* glibc 2.35: without a lock. Older ones: anything may be code. */
int find_object(void *address, void *result) __asm__("_dl_find_object") __attribute__((weak));

static int is_code(uintptr_t address)
{
    uintptr_t result[16]; /* struct dl_find_object has 12, those for later versions included */
    return address > PAGE && (find_object == NULL || find_object((void *)address, result) == 0);
}

static int looks_suspended(uintptr_t sp)
{
    uintptr_t words[WORDS];
    size_t count = sw_read_words(sp, words, WORDS);
    for (size_t i = 0; i < count; i++) {
        if (is_code(words[i])) {
            return 1;
        }
    }
    return 0;
}

int sw_is_suspended_at(uintptr_t sp)
{
    static _Atomic uintptr_t found[PAGES];
    uintptr_t page = sp / PAGE;
    if (sp % sizeof sp != 0) {
        return 0;
    }
    if (atomic_load_explicit(&found[page % PAGES], memory_order_relaxed) == page) {
        return 1;
    }
    if (!looks_suspended(sp)) {
        return 0;
    }
    atomic_store_explicit(&found[page % PAGES], page, memory_order_relaxed);
    return 1;
}

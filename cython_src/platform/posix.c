/* posix.c: platform.h on Linux and macOS. */
#ifndef _WIN32
#define _GNU_SOURCE
#include "platform.h"

#include "owned_lock.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

#if SW_HAS_TLS_WORDS
#include <link.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
#endif

/* The initial-exec model puts it into static TLS: 8 bytes of the surplus that glibc has there for libraries that are
 * loaded late. musl has no surplus, and Mach-O no such model. */
#if defined(__GLIBC__)
static __thread void *thread_block __attribute__((tls_model("initial-exec")));
#else
static __thread void *thread_block;
#endif

static sw_owned_lock lock;
static atomic_int is_new_child; /* forked_in_child() has not run yet */
static pthread_key_t exit_key;
static void (*forked_in_child)(void);

ptrdiff_t sw_thread_local_place;

SW_NOINLINE void *sw_thread_local_call(void)
{
    return thread_block;
}

#if SW_HAS_TLS_WORDS
/* Static TLS lies next to the thread pointer: below it on x86-64, above it on aarch64. The TLS of libraries that are
 * loaded later comes from the heap, at no fixed place. */
static int is_static_place(ptrdiff_t place)
{
    return place != 0 && place > -((ptrdiff_t)64 << 10) && place < ((ptrdiff_t)64 << 10);
}

typedef struct {
    const void *value;
    ptrdiff_t *places;
    int found, most;
} tls_search;

static void note_word(tls_search *search, void *const *word)
{
    ptrdiff_t place = (ptrdiff_t)((uintptr_t)word - sw_thread_pointer());
    if (*word == search->value && is_static_place(place)) {
        if (search->found < search->most) {
            search->places[search->found] = place;
        }
        search->found++;
    }
}

static int search_module(struct dl_phdr_info *module, size_t size, void *search)
{
    (void)size;
    for (int i = 0; module->dlpi_tls_data != NULL && i < module->dlpi_phnum; i++) {
        if (module->dlpi_phdr[i].p_type == PT_TLS) {
            void *const *words = module->dlpi_tls_data;
            for (size_t word = 0; word < module->dlpi_phdr[i].p_memsz / sizeof *words; word++) {
                note_word(search, &words[word]);
            }
        }
    }
    return 0;
}

int sw_find_tls_words(const void *value, ptrdiff_t *places, int most)
{
    tls_search search = {value, places, 0, most};
    dl_iterate_phdr(search_module, &search);
    return search.found;
}

static void find_thread_local_place(void)
{
    ptrdiff_t place = (ptrdiff_t)((uintptr_t)&thread_block - sw_thread_pointer());
    sw_thread_local_place = is_static_place(place) ? place : 0;
}
#else
int sw_find_tls_words(const void *value, ptrdiff_t *places, int most)
{
    (void)value;
    (void)places;
    (void)most;
    return 0;
}

static void find_thread_local_place(void) {}
#endif

int sw_thread_local_set(void *block)
{
    if (pthread_setspecific(exit_key, block) != 0) {
        return -1;
    }
    thread_block = block;
    return 0;
}

int sw_lock(void)
{
    return sw_take(&lock);
}

int sw_holds_lock(void)
{
    return sw_is_holder(&lock);
}

/* A handler that interrupted the holder may fork: in the child, too, the holder unlocks what it holds, and then the
 * child begins. */
void sw_unlock(void)
{
    sw_let_go(&lock);
    if (atomic_load(&is_new_child) && !sw_is_holder(&lock)) {
        atomic_store(&is_new_child, 0);
        forked_in_child();
    }
}

static void lock_for_fork(void)
{
    sw_hold(&lock);
}

static void unlock_in_child(void)
{
    atomic_store(&is_new_child, 1);
    sw_unlock();
}

static void (*thread_exited)(void *block);

/* Destructors of other keys may run after this one, and switch stacks: then the thread gets a new block
 * (test_a_destructor_of_thread_data_may_still_tell). */
static void forget_thread(void *block)
{
    thread_block = NULL;
    thread_exited(block);
}

int sw_platform_start(void (*at_thread_exit)(void *block), void (*after_fork_in_child)(void))
{
    find_thread_local_place();
    forked_in_child = after_fork_in_child;
    thread_exited = at_thread_exit;
    if (pthread_key_create(&exit_key, forget_thread) != 0) {
        return -1;
    }
    return pthread_atfork(lock_for_fork, sw_unlock, unlock_in_child) == 0 ? 0 : -1;
}

uint64_t sw_thread_ident(void)
{
    return (uint64_t)(uintptr_t)pthread_self();
}

void sw_yield(void)
{
    sched_yield();
}

void *sw_allocate_pages(size_t bytes)
{
    void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) {
        return NULL;
    }
#if defined(__SANITIZE_ADDRESS__)
    __lsan_register_root_region(pages, bytes); /* what these pages point at is not lost */
#endif
    return pages;
}

#endif

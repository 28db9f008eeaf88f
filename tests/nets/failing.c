/* failing.c: for LD_PRELOAD: one allocation of the package's own modules fails.
 *
 * failing_begin(n): the n-th from now on that is called from a module of the package fails; all others, and those of
 * everybody else, succeed. failing_end(): how many there were. Whose it is tells the return address. glibc alone, for it
 * exports its allocator under other names too. */
#define _GNU_SOURCE
#include <errno.h>
#include <link.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The allocator's other names. */
void *true_malloc(size_t size) __asm__("__libc_malloc");
void *true_calloc(size_t count, size_t size) __asm__("__libc_calloc");
void *true_realloc(void *memory, size_t size) __asm__("__libc_realloc");

#define MODULES 64

static struct {
    uintptr_t low, high;
} modules[MODULES];
static int module_count;
static atomic_long left; /* until the one that fails; 0 or less: none */
static atomic_long seen;

static int note_module(struct dl_phdr_info *module, size_t size, void *unused)
{
    (void)size;
    (void)unused;
    for (int i = 0; i < module->dlpi_phnum && strstr(module->dlpi_name, "-packages/stackwarden/") != NULL; i++) {
        if (module->dlpi_phdr[i].p_type == PT_LOAD && (module->dlpi_phdr[i].p_flags & PF_X) && module_count < MODULES) {
            modules[module_count].low = module->dlpi_addr + module->dlpi_phdr[i].p_vaddr;
            modules[module_count].high = modules[module_count].low + module->dlpi_phdr[i].p_memsz;
            module_count++;
        }
    }
    return 0;
}

void failing_begin(long n)
{
    module_count = 0;
    dl_iterate_phdr(note_module, NULL);
    seen = 0;
    left = n;
}

long failing_end(void)
{
    module_count = 0;
    left = 0;
    return seen;
}

static int fails(const void *caller)
{
    for (int i = 0; i < module_count; i++) {
        if ((uintptr_t)caller >= modules[i].low && (uintptr_t)caller < modules[i].high) {
            seen++;
            left--;
            if (left == 0) {
                errno = ENOMEM;
                return 1;
            }
        }
    }
    return 0;
}

#define FAILS() fails(__builtin_return_address(0))

void *malloc(size_t size)
{
    return FAILS() ? NULL : true_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return FAILS() ? NULL : true_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
    return FAILS() ? NULL : true_realloc(memory, size);
}

void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
    return FAILS() ? MAP_FAILED : (void *)syscall(SYS_mmap, addr, len, prot, flags, fd, offset);
}

int mprotect(void *addr, size_t len, int prot)
{
    return FAILS() ? -1 : (int)syscall(SYS_mprotect, addr, len, prot);
}

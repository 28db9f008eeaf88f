/* patch.c: changes the slots in which loaded objects keep the addresses of functions of others.
 *
 * Such a slot belongs to the procedure linkage table or the global offset table, or is an initialised pointer in the
 * object's data. A relocation says where it lies and which function's address the dynamic linker writes there. A
 * preloaded definition would not do: the search for a definition begins with the executable (System V ABI (gABI)
 * chapter 5, "Shared Object Dependencies"), and many executables have the whole interpreter inside.
 *
 * Promises:
 * - A slot is changed if it holds the first definition of the function, or is not bound yet (lazy binding). A slot with
 *   any other address is somebody else's.
 * - Objects of libc, of the dynamic linker, of sanitizers and of this package are left as they are.
 * - Other threads may call through a slot at any time: it is written as one word. A slot in a read-only page is written
 *   without a change of the page's protection, which a thread that loads the object at that moment might undo.
 * - Two threads never do this at the same time: a pass is a walk (walk.h).
 * - Allocates nothing. */
#define _GNU_SOURCE
#include "patch.h"

#include "machine.h"
#include "objects.h"
#include "walk.h"

#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- the stand-ins ---- */

static const sw_stand_in *stand_ins[SW_STAND_INS_AT_MOST];
static int stand_in_count;
/* Of those whose names begin with the same character: the first, and the next of each; counted from 1. */
static unsigned char first_with[UCHAR_MAX + 1], next_with[SW_STAND_INS_AT_MOST];

void sw_add_stand_ins(const sw_stand_in *table, int count)
{
    for (int i = 0; i < count; i++) {
        unsigned char *first = &first_with[(unsigned char)*table[i].name];
        stand_ins[stand_in_count] = &table[i];
        next_with[stand_in_count] = *first;
        *first = (unsigned char)++stand_in_count;
    }
}

const sw_stand_in *sw_find_stand_in(const char *name)
{
    for (int i = first_with[(unsigned char)*name]; i != 0; i = next_with[i - 1]) {
        if (strcmp(stand_ins[i - 1]->name, name) == 0) {
            return stand_ins[i - 1];
        }
    }
    return NULL;
}

static void find_definitions(void)
{
    for (int i = 0; i < stand_in_count; i++) {
        const sw_stand_in *function = stand_ins[i];
        int fits = function->only_with == NULL || sw_find_definition(function->only_with) != NULL;
        __atomic_store_n(function->real, fits ? sw_find_definition(function->name) : NULL, __ATOMIC_RELEASE);
    }
}

/* ---- slots ---- */

/* The kernel lets a process write its own read-only pages through this file. */
static int write_read_only(void **slot, void *value)
{
    int memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
    int written = memory >= 0 && pwrite(memory, &value, sizeof value, (off_t)(uintptr_t)slot) == sizeof value;
    if (memory >= 0) {
        close(memory);
    }
    return written;
}

/* For kernels that forbid that: proc_mem.force_override=never (Linux 6.12). */
static int write_made_writable(void **slot, void *value)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    void *start = (void *)((uintptr_t)slot & ~(page - 1));
    if (mprotect(start, page, PROT_READ | PROT_WRITE) != 0) {
        return 0;
    }
    __atomic_store_n(slot, value, __ATOMIC_RELEASE);
    return mprotect(start, page, PROT_READ) == 0;
}

static int write_slot(const sw_object *in, void **slot, void *value)
{
    if ((uintptr_t)slot >= in->relro_low && (uintptr_t)slot < in->relro_high) {
        return write_read_only(slot, value) || write_made_writable(slot, value);
    }
    __atomic_store_n(slot, value, __ATOMIC_RELEASE);
    return 1;
}

/* ---- one object ---- */

typedef struct {
    int back; /* to the definitions */
    long changed, unwritten;
} pass;

static uint32_t symbol_of(const ElfW(Rela) *relocation)
{
    return (uint32_t)ELF64_R_SYM(relocation->r_info);
}

static int holds_address(const ElfW(Rela) *relocation)
{
    unsigned type = ELF64_R_TYPE(relocation->r_info);
    return type == SW_RELOCATION_CALL || type == SW_RELOCATION_DATA
        || (type == SW_RELOCATION_WORD && relocation->r_addend == 0);
}

/* May a slot that holds `value` lead to the stand-in for `real`? */
static int is_ours_to_change(const sw_object *in, const ElfW(Rela) *relocation, void *value, void *real)
{
    if (value == real) {
        return 1;
    }
    const ElfW(Sym) *symbol = &in->symbols[symbol_of(relocation)];
    int leads_there = symbol->st_shndx == SHN_UNDEF || in->base + symbol->st_value == (uintptr_t)real;
    int is_unbound = ELF64_R_TYPE(relocation->r_info) == SW_RELOCATION_CALL && sw_object_holds(in, (uintptr_t)value);
    return is_unbound && leads_there;
}

static void patch_slot(pass *self, const sw_object *in, const ElfW(Rela) *relocation, const sw_stand_in *function)
{
    void **slot = (void **)(in->base + relocation->r_offset);
    void *real = *function->real, *value = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
    if (real == NULL) {
        return;
    }
    if (self->back ? value == function->instead : is_ours_to_change(in, relocation, value, real)) {
        int written = write_slot(in, slot, self->back ? real : function->instead);
        self->changed += written;
        self->unwritten += !written;
    }
}

/* Each relocation names its symbol itself: hash tables hold what an object defines, and may be empty
 * (test_executables_are_interposed_however_they_were_linked). */
static void patch_relocations(pass *self, const sw_object *in, const ElfW(Rela) *relocations, size_t size)
{
    for (size_t i = 0; i < size / sizeof *relocations; i++) {
        uint32_t symbol = symbol_of(&relocations[i]);
        if (symbol == 0 || !holds_address(&relocations[i])) {
            continue;
        }
        const sw_stand_in *function = sw_find_stand_in(sw_symbol_name(in, symbol));
        if (function != NULL) {
            patch_slot(self, in, &relocations[i], function);
        }
    }
}

/* libc, the dynamic linker and sanitizers call these functions for purposes of their own. */
static int is_excluded(const sw_object *in)
{
    static const char *const files[] = {
        "ld-", "libc.", "libc-", "libdl", "libpthread", "linux-vdso", "libasan", "libtsan",
    };
    const char *slash = strrchr(in->name, '/'), *file = slash != NULL ? slash + 1 : in->name;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (strncmp(file, files[i], strlen(files[i])) == 0) {
            return 1;
        }
    }
    return sw_is_own_object(in);
}

/* ---- all objects ---- */

static _Atomic unsigned long long loads_seen; /* dlpi_adds at the last pass */
static atomic_int is_patching;
static atomic_long unwritten_slots; /* of the last pass */

static int patch_object(struct dl_phdr_info *info, size_t size, void *context)
{
    pass *self = context;
    sw_object in;
    (void)size;
    atomic_store(&loads_seen, info->dlpi_adds);
    if (sw_read_object(&in, info) && !is_excluded(&in)) {
        patch_relocations(self, &in, in.calls, in.calls_size);
        patch_relocations(self, &in, in.data, in.data_size);
    }
    return 0;
}

static long patch_all(int back)
{
    pass self = {back, 0, 0};
    sw_walk(patch_object, &self);
    atomic_store(&unwritten_slots, self.unwritten);
    return self.changed;
}

long sw_patch(void)
{
    sw_walking before = sw_begin_walk();
    find_definitions();
    atomic_store(&is_patching, 1);
    long changed = patch_all(0);
    sw_end_walk(&before);
    return changed;
}

long sw_unpatch(void)
{
    sw_walking before = sw_begin_walk();
    atomic_store(&is_patching, 0);
    long changed = patch_all(1);
    sw_end_walk(&before);
    return changed;
}

long sw_unwritten_slots(void)
{
    return atomic_load(&is_patching) ? atomic_load(&unwritten_slots) : -1;
}

static int read_loads(struct dl_phdr_info *info, size_t size, void *loads)
{
    (void)size;
    *(unsigned long long *)loads = info->dlpi_adds;
    return 1;
}

int sw_has_unpatched(void)
{
    unsigned long long loads = 0;
    if (!atomic_load(&is_patching)) {
        return 0;
    }
    sw_walk(read_loads, &loads);
    return loads != atomic_load(&loads_seen);
}

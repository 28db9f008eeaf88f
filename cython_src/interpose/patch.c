/* patch.c: where loaded objects keep the addresses of functions of others, and changing them.
 *
 * An object refers to a function of another through a slot that the dynamic linker fills: a relocation says where the
 * slot is and names the function. So does an initialised pointer in its data. Preloading another definition does not
 * reach them where the interpreter is a static executable, whose own definitions come first: slots are changed instead.
 *
 * Promises: a slot is changed when it holds the first definition of the function in the process, or was not bound yet
 * (lazy binding); a slot that leads to somebody else's is left alone. Objects that belong to the dynamic linker, to
 * libc, and to this package are left alone. What may be run at any moment by other threads stays right at any moment: a
 * slot is written as one word, and read-only pages are written without making them writable, which another thread that
 * is just loading might undo. dl_iterate_phdr keeps two threads from doing this at once. Allocates nothing. */
#define _GNU_SOURCE
#include "interpose.h"
#include "machine.h"

#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- one loaded object ---- */

typedef struct {
    const char *name; /* its path; "" for the executable */
    uintptr_t base; /* what its addresses are relative to */
    uintptr_t low, high; /* where it lies */
    uintptr_t relro_low, relro_high; /* read-only after loading */
    const ElfW(Sym) *symbols;
    const char *strings;
    const uint32_t *gnu_hash;
    const ElfW(Word) *hash;
    const ElfW(Rela) *calls, *data;
    size_t calls_size, data_size;
    const ElfW(Half) *versions;
} object;

/* Dynamic sections hold addresses that the linker made absolute; not that of the vdso. */
static const void *absolute(const object *self, ElfW(Addr) address)
{
    return (const void *)(address < self->base ? self->base + address : address);
}

static void read_dynamic(object *self, const ElfW(Dyn) *entry)
{
    for (; entry->d_tag != DT_NULL; entry++) {
        switch (entry->d_tag) {
        case DT_SYMTAB: self->symbols = absolute(self, entry->d_un.d_ptr); break;
        case DT_STRTAB: self->strings = absolute(self, entry->d_un.d_ptr); break;
        case DT_GNU_HASH: self->gnu_hash = absolute(self, entry->d_un.d_ptr); break;
        case DT_HASH: self->hash = absolute(self, entry->d_un.d_ptr); break;
        case DT_VERSYM: self->versions = absolute(self, entry->d_un.d_ptr); break;
        case DT_JMPREL: self->calls = absolute(self, entry->d_un.d_ptr); break;
        case DT_PLTRELSZ: self->calls_size = entry->d_un.d_val; break;
        case DT_RELA: self->data = absolute(self, entry->d_un.d_ptr); break;
        case DT_RELASZ: self->data_size = entry->d_un.d_val; break;
        default: break;
        }
    }
}

/* 0: it has no symbols. */
static int read_object(object *self, const struct dl_phdr_info *info)
{
    const ElfW(Dyn) *dynamic = NULL;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    memset(self, 0, sizeof *self);
    self->name = info->dlpi_name;
    self->base = info->dlpi_addr;
    self->low = UINTPTR_MAX;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        uintptr_t low = self->base + header->p_vaddr, high = low + header->p_memsz;
        if (header->p_type == PT_LOAD) {
            self->low = low < self->low ? low : self->low;
            self->high = high > self->high ? high : self->high;
        }
        else if (header->p_type == PT_DYNAMIC) {
            dynamic = (const ElfW(Dyn) *)low;
        }
        else if (header->p_type == PT_GNU_RELRO) {
            self->relro_low = low & ~(page - 1);
            self->relro_high = high & ~(page - 1);
        }
    }
    if (dynamic != NULL) {
        read_dynamic(self, dynamic);
    }
    return self->symbols != NULL && self->strings != NULL;
}

static int is_in(const object *self, uintptr_t address)
{
    return address >= self->low && address < self->high;
}

/* ---- symbols ---- */

static const char *name_of(const object *self, uint32_t symbol)
{
    return self->strings + self->symbols[symbol].st_name;
}

static uint32_t gnu_hash_of(const char *name)
{
    uint32_t hash = 5381;
    for (; *name != '\0'; name++) {
        hash = hash * 33 + (unsigned char)*name;
    }
    return hash;
}

static int is_definition(const object *self, uint32_t symbol, const char *name)
{
    int hidden = self->versions != NULL && (self->versions[symbol] & 0x8000) != 0; /* an old version, kept for old users */
    return self->symbols[symbol].st_shndx != SHN_UNDEF && !hidden && strcmp(name_of(self, symbol), name) == 0;
}

/* The table: buckets, first symbol, size of the filter (words), a shift; the filter; the buckets; the chains. */
static uint32_t find_in_gnu_hash(const object *self, const char *name)
{
    const uint32_t *table = self->gnu_hash;
    uint32_t first = table[1], hash = gnu_hash_of(name);
    const uint32_t *buckets = (const uint32_t *)((const ElfW(Addr) *)(table + 4) + table[2]);
    const uint32_t *chains = buckets + table[0];
    uint32_t symbol = table[0] != 0 ? buckets[hash % table[0]] : 0;
    if (symbol < first) {
        return 0;
    }
    for (;; symbol++) {
        uint32_t link = chains[symbol - first];
        if ((link | 1) == (hash | 1) && is_definition(self, symbol, name)) {
            return symbol;
        }
        if (link & 1) {
            return 0;
        }
    }
}

/* The symbol under which an object defines a function, or 0. */
static uint32_t find_defined(const object *self, const char *name)
{
    if (self->gnu_hash != NULL) {
        return find_in_gnu_hash(self, name);
    }
    for (uint32_t symbol = 1; self->hash != NULL && symbol < self->hash[1]; symbol++) {
        if (is_definition(self, symbol, name)) {
            return symbol;
        }
    }
    return 0;
}

/* How many symbols come before those that the hash table knows: among them are all that others define. */
static uint32_t undefined_symbols(const object *self)
{
    return self->gnu_hash != NULL ? self->gnu_hash[1] : self->hash != NULL ? self->hash[1] : 0;
}

/* ---- this library, and the package's others in its folder and under it ---- */

static const char *own_name; /* the path of this library; objects keep theirs as long as they are loaded */

static int note_own_name(struct dl_phdr_info *info, size_t size, void *context)
{
    object seen;
    (void)size;
    (void)context;
    if (read_object(&seen, info) && is_in(&seen, (uintptr_t)sw_patch)) {
        own_name = info->dlpi_name;
        return 1;
    }
    return 0;
}

static int is_own(const object *self)
{
    const char *slash = own_name != NULL ? strrchr(own_name, '/') : NULL;
    return slash != NULL && strncmp(self->name, own_name, (size_t)(slash - own_name) + 1) == 0;
}

/* ---- the first definition ---- */

typedef struct {
    const char *name;
    void *found;
} search;

static int search_object(struct dl_phdr_info *info, size_t size, void *context)
{
    search *self = context;
    object searched;
    (void)size;
    int may_define = read_object(&searched, info) && !is_own(&searched);
    uint32_t symbol = may_define ? find_defined(&searched, self->name) : 0;
    if (symbol != 0) {
        self->found = (void *)(searched.base + searched.symbols[symbol].st_value);
    }
    return symbol != 0;
}

void *sw_find_definition(const char *name)
{
    search self = {name, NULL};
    dl_iterate_phdr(search_object, &self);
    return self.found;
}

static void find_definitions(void)
{
    for (int i = 0; i < SW_STAND_INS; i++) {
        const sw_stand_in *function = sw_stand_in_at(i);
        int fits = function->only_with == NULL || sw_find_definition(function->only_with) != NULL;
        __atomic_store_n(function->real, fits ? sw_find_definition(function->name) : NULL, __ATOMIC_RELEASE);
    }
    sw_alone_find();
}

/* ---- slots ---- */

static int write_read_only(void **slot, void *value)
{
    int memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
    int written = memory >= 0 && pwrite(memory, &value, sizeof value, (off_t)(uintptr_t)slot) == sizeof value;
    if (memory >= 0) {
        close(memory);
    }
    return written;
}

/* Some kernels forbid what write_read_only() does. */
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

static int write_slot(const object *self, void **slot, void *value)
{
    if ((uintptr_t)slot >= self->relro_low && (uintptr_t)slot < self->relro_high) {
        return write_read_only(slot, value) || write_made_writable(slot, value);
    }
    __atomic_store_n(slot, value, __ATOMIC_RELEASE);
    return 1;
}

/* ---- patching one object ---- */

typedef struct {
    int back; /* take stand-ins out again */
    long changed;
} pass;

/* For each stand-in, the object's symbol of that name; 0: it has none. Returns whether there is any. */
static int find_symbols(const object *self, uint32_t symbols[SW_STAND_INS])
{
    int any = 0;
    uint32_t undefined = undefined_symbols(self);
    for (int i = 0; i < SW_STAND_INS; i++) {
        symbols[i] = self->gnu_hash != NULL ? find_defined(self, sw_stand_in_at(i)->name) : 0;
        any |= symbols[i] != 0;
    }
    for (uint32_t symbol = 1; symbol < undefined; symbol++) {
        const char *name = name_of(self, symbol);
        for (int i = 0; i < SW_STAND_INS && strchr("Pdjmos", *name) != NULL; i++) {
            if (strcmp(name, sw_stand_in_at(i)->name) == 0) {
                symbols[i] = symbol;
                any = 1;
            }
        }
    }
    return any;
}

/* May this slot be changed to lead to the stand-in? */
static int is_ours_to_change(const object *self, const ElfW(Rela) *relocation, void *value, void *real)
{
    if (value == real) {
        return 1;
    }
    const ElfW(Sym) *symbol = &self->symbols[ELF64_R_SYM(relocation->r_info)];
    int leads_there = symbol->st_shndx == SHN_UNDEF || self->base + symbol->st_value == (uintptr_t)real;
    int is_unbound = ELF64_R_TYPE(relocation->r_info) == SW_RELOCATION_CALL && is_in(self, (uintptr_t)value);
    return is_unbound && leads_there;
}

static void patch_slot(pass *self, const object *in, const ElfW(Rela) *relocation, const sw_stand_in *function)
{
    void **slot = (void **)(in->base + relocation->r_offset);
    void *real = *function->real, *value = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
    if (real == NULL) {
        return;
    }
    if (self->back ? value == function->instead : is_ours_to_change(in, relocation, value, real)) {
        self->changed += write_slot(in, slot, self->back ? real : function->instead);
    }
}

static int holds_address(const ElfW(Rela) *relocation)
{
    unsigned type = ELF64_R_TYPE(relocation->r_info);
    return type == SW_RELOCATION_CALL || type == SW_RELOCATION_DATA
        || (type == SW_RELOCATION_WORD && relocation->r_addend == 0);
}

static void patch_relocations(pass *self, const object *in, const ElfW(Rela) *relocations, size_t size,
                              const uint32_t symbols[SW_STAND_INS])
{
    for (size_t i = 0; i < size / sizeof *relocations; i++) {
        uint32_t symbol = ELF64_R_SYM(relocations[i].r_info);
        for (int k = 0; symbol != 0 && k < SW_STAND_INS; k++) {
            if (symbols[k] == symbol && holds_address(&relocations[i])) {
                patch_slot(self, in, &relocations[i], sw_stand_in_at(k));
            }
        }
    }
}

/* The C library, the dynamic linker and sanitizers call such functions for purposes of their own. */
static int is_left_alone(const object *in)
{
    static const char *const files[] = {"ld-", "libc.", "libc-", "libdl", "libpthread", "linux-vdso", "libasan", "libtsan"};
    const char *slash = strrchr(in->name, '/'), *file = slash != NULL ? slash + 1 : in->name;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (strncmp(file, files[i], strlen(files[i])) == 0) {
            return 1;
        }
    }
    return is_own(in);
}

static _Atomic unsigned long long loads_seen; /* dlpi_adds at the last pass */

static int patch_object(struct dl_phdr_info *info, size_t size, void *context)
{
    pass *self = context;
    object in;
    uint32_t symbols[SW_STAND_INS];
    (void)size;
    atomic_store(&loads_seen, info->dlpi_adds);
    if (read_object(&in, info) && !is_left_alone(&in) && find_symbols(&in, symbols)) {
        patch_relocations(self, &in, in.calls, in.calls_size, symbols);
        patch_relocations(self, &in, in.data, in.data_size, symbols);
    }
    return 0;
}

/* ---- the whole process ---- */

static long patch_all(int back)
{
    pass self = {back, 0};
    dl_iterate_phdr(patch_object, &self);
    return self.changed;
}

static atomic_int is_patching;

long sw_patch(void)
{
    dl_iterate_phdr(note_own_name, NULL);
    find_definitions();
    atomic_store(&is_patching, 1);
    return patch_all(0);
}

long sw_unpatch(void)
{
    atomic_store(&is_patching, 0);
    return patch_all(1);
}

static int read_loads(struct dl_phdr_info *info, size_t size, void *loads)
{
    (void)size;
    *(unsigned long long *)loads = info->dlpi_adds;
    return 1;
}

void sw_patch_new(void)
{
    unsigned long long loads = 0;
    dl_iterate_phdr(read_loads, &loads);
    if (atomic_load(&is_patching) && loads != atomic_load(&loads_seen)) {
        sw_patch();
    }
}

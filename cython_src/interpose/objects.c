/* objects.c: reads loaded objects as the dynamic linker does.
 *
 * Sources: for the tables and their tags System V ABI (gABI) chapter 5, "Dynamic Section"; for DT_VERSYM Linux Standard
 * Base, "Symbol Versioning"; for DT_GNU_HASH, which no standard describes, glibc's do_lookup_x(). */
#define _GNU_SOURCE
#include "objects.h"

#include "walk.h"

#include <string.h>
#include <unistd.h>

#define HIDDEN_VERSION 0x8000u /* in a symbol's version: not the default one, there for old binaries alone */

/* ---- one object ---- */

/* glibc makes the addresses in a dynamic section absolute, but not in a read-only one such as the vdso's
 * (elf_get_dynamic_info()). */
static const void *absolute(const sw_object *self, ElfW(Addr) address)
{
    return (const void *)(address < self->base ? self->base + address : address);
}

static void read_dynamic(sw_object *self, const ElfW(Dyn) *entry)
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

int sw_read_object(sw_object *self, const struct dl_phdr_info *info)
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

int sw_object_holds(const sw_object *self, uintptr_t address)
{
    return address >= self->low && address < self->high;
}

/* ---- symbols ---- */

const char *sw_symbol_name(const sw_object *self, uint32_t symbol)
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

static int is_definition(const sw_object *self, uint32_t symbol, const char *name)
{
    int hidden = self->versions != NULL && (self->versions[symbol] & HIDDEN_VERSION) != 0;
    return self->symbols[symbol].st_shndx != SHN_UNDEF && !hidden && strcmp(sw_symbol_name(self, symbol), name) == 0;
}

/* The table: number of buckets, first symbol, size of the filter (words), a shift; the filter; the buckets; the chains,
 * one word for each symbol from the first on: its hash, the lowest bit set where the chain ends. */
static uint32_t find_in_gnu_hash(const sw_object *self, const char *name)
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

uint32_t sw_find_defined(const sw_object *self, const char *name)
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

/* ---- the package's own objects ---- */

static const char *own_path; /* of this library; it is never unloaded (-z nodelete), so the text stays */

static int note_own_path(struct dl_phdr_info *info, size_t size, void *context)
{
    sw_object seen;
    (void)size;
    (void)context;
    if (sw_read_object(&seen, info) && sw_object_holds(&seen, (uintptr_t)sw_find_definition)) {
        __atomic_store_n(&own_path, info->dlpi_name, __ATOMIC_RELEASE);
        return 1;
    }
    return 0;
}

int sw_is_own_object(const sw_object *self)
{
    const char *path = __atomic_load_n(&own_path, __ATOMIC_ACQUIRE);
    const char *slash = path != NULL ? strrchr(path, '/') : NULL;
    return slash != NULL && strncmp(self->name, path, (size_t)(slash - path) + 1) == 0;
}

/* ---- the first definition ---- */

typedef struct {
    const char *name;
    void *found;
} search;

static int search_object(struct dl_phdr_info *info, size_t size, void *context)
{
    search *self = context;
    sw_object searched;
    (void)size;
    int may_define = sw_read_object(&searched, info) && !sw_is_own_object(&searched);
    uint32_t symbol = may_define ? sw_find_defined(&searched, self->name) : 0;
    if (symbol != 0) {
        self->found = (void *)(searched.base + searched.symbols[symbol].st_value);
    }
    return symbol != 0;
}

void *sw_find_definition(const char *name)
{
    search self = {name, NULL};
    if (__atomic_load_n(&own_path, __ATOMIC_ACQUIRE) == NULL) {
        sw_walk(note_own_path, NULL);
    }
    sw_walk(search_object, &self);
    return self.found;
}

/* objects.h: the loaded objects of the process: the executable, its libraries, and what dlopen() added.
 *
 * Promises: reads what the dynamic linker reads; changes nothing, allocates nothing. 64-bit ELF alone, with relocations
 * that have addends (Elf64_Rela). Whoever includes this defines _GNU_SOURCE first, for dl_phdr_info. */
#ifndef SW_OBJECTS_H
#define SW_OBJECTS_H

#include <link.h>
#include <stddef.h>
#include <stdint.h>

/* One loaded object; the pointers lead into its own memory, NULL for a table that it lacks. */
typedef struct {
    const char *name; /* its path; "" for the executable */
    uintptr_t base; /* the difference between its addresses in memory and in the file */
    uintptr_t low, high; /* its segments lie in [low, high) */
    uintptr_t relro_low, relro_high; /* PT_GNU_RELRO: read-only once its relocations are done */
    const ElfW(Sym) *symbols;
    const char *strings;
    const uint32_t *gnu_hash; /* DT_GNU_HASH */
    const ElfW(Word) *hash; /* DT_HASH */
    const ElfW(Half) *versions; /* DT_VERSYM, one for each symbol */
    const ElfW(Rela) *calls, *data; /* DT_JMPREL, DT_RELA */
    size_t calls_size, data_size; /* bytes */
} sw_object;

/* Returns 0 for an object without symbols, 1 for all others. */
int sw_read_object(sw_object *self, const struct dl_phdr_info *info);

/* Does the address lie in the object? */
int sw_object_holds(const sw_object *self, uintptr_t address);

/* This library, or another object of the package: one in the library's folder or under it. */
int sw_is_own_object(const sw_object *self);

/* The symbol of the object's own definition of a function, or 0. */
uint32_t sw_find_defined(const sw_object *self, const char *name);

const char *sw_symbol_name(const sw_object *self, uint32_t symbol);

/* The first definition of a function in the process, the package's own objects left out; or NULL. */
void *sw_find_definition(const char *name);

#endif

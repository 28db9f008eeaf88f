/* elf.c: find.h on Linux: notes (PT_NOTE) of the loaded images, and a function that later images call.
 *
 * Images with a beacon refer to `stackwarden_beacon_announce` by a weak symbol. This library exports it. Python loads
 * modules with RTLD_LOCAL, so the library first makes itself global, for images that are loaded later (dlopen(3)); then
 * it looks at those that are there: no image falls between the two. */
#if defined(__ELF__)
#define _GNU_SOURCE
#include "find.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <string.h>

static sw_beacon_visitor found_beacon;
static unsigned long long images_seen; /* dlpi_adds: counts what was ever loaded */

__attribute__((visibility("default"))) void stackwarden_beacon_announce(stackwarden_beacon *beacon)
{
    found_beacon(beacon, NULL);
}

/* ---- notes ---- */

#define NOTE_TYPE 1

typedef struct {
    ElfW(Nhdr) header;
    char name[sizeof STACKWARDEN_BEACON_MAGIC];
    int32_t offset; /* of the beacon from here, in bytes */
} beacon_note;

static stackwarden_beacon *beacon_of(const char *place, const ElfW(Nhdr) *header)
{
    const beacon_note *note = (const beacon_note *)place;
    if (header->n_type != NOTE_TYPE || header->n_namesz != sizeof note->name || header->n_descsz != sizeof note->offset
        || memcmp(note->name, STACKWARDEN_BEACON_MAGIC, sizeof note->name) != 0) {
        return NULL;
    }
    return (stackwarden_beacon *)((char *)&note->offset + note->offset);
}

static size_t padded(size_t bytes, size_t alignment)
{
    return (bytes + alignment - 1) & ~(alignment - 1);
}

typedef struct {
    sw_beacon_visitor visit;
    void *arg;
} visitor;

static void visit_notes(const char *notes, size_t bytes, size_t alignment, const visitor *visitor)
{
    size_t place = 0;
    while (place + sizeof(ElfW(Nhdr)) <= bytes) {
        const ElfW(Nhdr) *header = (const ElfW(Nhdr) *)(notes + place);
        size_t name = padded(sizeof *header + header->n_namesz, alignment);
        stackwarden_beacon *beacon = beacon_of(notes + place, header);
        if (beacon != NULL) {
            visitor->visit(beacon, visitor->arg);
        }
        place += padded(name + header->n_descsz, alignment);
    }
}

static int visit_image(struct dl_phdr_info *image, size_t size, void *visitor)
{
    (void)size;
    for (int i = 0; i < image->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &image->dlpi_phdr[i];
        if (segment->p_type == PT_NOTE) {
            visit_notes((const char *)(image->dlpi_addr + segment->p_vaddr), segment->p_memsz,
                        segment->p_align == 8 ? 8 : 4, visitor);
        }
    }
    return 0;
}

void sw_visit_beacons(sw_beacon_visitor visit, void *arg)
{
    visitor visitor = {visit, arg};
    dl_iterate_phdr(visit_image, &visitor);
}

/* ---- finding ---- */

static int count_images(struct dl_phdr_info *image, size_t size, void *images)
{
    if (size >= offsetof(struct dl_phdr_info, dlpi_adds) + sizeof image->dlpi_adds) {
        *(unsigned long long *)images = image->dlpi_adds;
    }
    return 1;
}

void sw_find_late_beacons(void)
{
    unsigned long long images = 0;
    dl_iterate_phdr(count_images, &images);
    if (__atomic_exchange_n(&images_seen, images, __ATOMIC_RELAXED) != images) {
        sw_visit_beacons(found_beacon, NULL);
    }
}

void sw_start_finding_beacons(sw_beacon_visitor found)
{
    Dl_info self;
    found_beacon = found;
    if (dladdr((void *)stackwarden_beacon_announce, &self) != 0) {
        void *handle = dlopen(self.dli_fname, RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD);
        if (handle != NULL) {
            dlclose(handle);
        }
    }
    sw_find_late_beacons();
}

#endif

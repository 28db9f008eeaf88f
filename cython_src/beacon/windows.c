/* windows.c: find.h on Windows: a section of the loaded images. Nothing is announced: libraries that are loaded later
 * are found with the next sync on an unknown stack. Not run yet. */
#if defined(_WIN32)
#include "find.h"

#include <string.h>
#include <windows.h>

#include <psapi.h>

#define SECTION ".swbeac"
#define MOST_IMAGES 1024

static sw_beacon_visitor found_beacon;
static volatile LONG images_seen;

/* The linker may leave gaps between the variables of a section; each variable is aligned to 8 bytes. */
static void visit_section(char *section, size_t bytes, sw_beacon_visitor visit, void *arg)
{
    for (size_t place = 0; place + sizeof(stackwarden_beacon) <= bytes; place += 8) {
        if (memcmp(section + place, STACKWARDEN_BEACON_MAGIC, sizeof STACKWARDEN_BEACON_MAGIC) == 0) {
            visit((stackwarden_beacon *)(section + place), arg);
        }
    }
}

static void visit_image(char *image, sw_beacon_visitor visit, void *arg)
{
    const IMAGE_NT_HEADERS *headers = (const void *)(image + ((const IMAGE_DOS_HEADER *)image)->e_lfanew);
    const IMAGE_SECTION_HEADER *section = IMAGE_FIRST_SECTION(headers);
    for (int i = 0; i < headers->FileHeader.NumberOfSections; i++) {
        if (strncmp((const char *)section[i].Name, SECTION, IMAGE_SIZEOF_SHORT_NAME) == 0) {
            visit_section(image + section[i].VirtualAddress, section[i].Misc.VirtualSize, visit, arg);
        }
    }
}

static DWORD list_images(HMODULE *images)
{
    DWORD bytes = 0;
    if (!K32EnumProcessModules(GetCurrentProcess(), images, MOST_IMAGES * sizeof *images, &bytes)) {
        return 0;
    }
    DWORD count = bytes / sizeof *images;
    return count < MOST_IMAGES ? count : MOST_IMAGES;
}

void sw_visit_beacons(sw_beacon_visitor visit, void *arg)
{
    static HMODULE images[MOST_IMAGES]; /* too large for a small stack; whoever calls holds the GIL */
    DWORD count = list_images(images);
    for (DWORD i = 0; i < count; i++) {
        visit_image((char *)images[i], visit, arg);
    }
}

void sw_find_late_beacons(void)
{
    DWORD bytes = 0;
    HMODULE first;
    K32EnumProcessModules(GetCurrentProcess(), &first, sizeof first, &bytes);
    if (InterlockedExchange(&images_seen, (LONG)bytes) != (LONG)bytes) {
        sw_visit_beacons(found_beacon, NULL);
    }
}

void sw_start_finding_beacons(sw_beacon_visitor found)
{
    found_beacon = found;
    sw_find_late_beacons();
}

#endif

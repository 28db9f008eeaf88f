/* macos.c: find.h on macOS: a section of the loaded images; dyld reports those that are loaded later. Not run yet. */
#if defined(__APPLE__)
#include "find.h"

#include <mach-o/dyld.h>
#include <mach-o/getsect.h>

static sw_beacon_visitor found_beacon;

static void visit_image(const struct mach_header *image, sw_beacon_visitor visit, void *arg)
{
    unsigned long bytes = 0;
    uint8_t *section = getsectiondata((const struct mach_header_64 *)image, "__DATA", "__stackwarden", &bytes);
    for (unsigned long place = 0; section != NULL && place + sizeof(stackwarden_beacon) <= bytes;
         place += sizeof(stackwarden_beacon)) {
        visit((stackwarden_beacon *)(section + place), arg);
    }
}

void sw_visit_beacons(sw_beacon_visitor visit, void *arg)
{
    for (uint32_t i = 0; i < _dyld_image_count(); i++) {
        const struct mach_header *image = _dyld_get_image_header(i);
        if (image != NULL) {
            visit_image(image, visit, arg);
        }
    }
}

static void image_added(const struct mach_header *image, intptr_t slide)
{
    (void)slide;
    visit_image(image, found_beacon, NULL);
}

void sw_find_late_beacons(void) {}

void sw_start_finding_beacons(sw_beacon_visitor found)
{
    if (found_beacon == NULL) {
        found_beacon = found;
        _dyld_register_func_for_add_image(image_added);
    }
}

#endif

/* find.h: finding beacons (stackwarden/beacon.h) in the executable and in all libraries of the process.
 *
 * Promises: the same three functions for each kind of image: elf.c, macos.c, windows.c. None touches Python, allocates,
 * or stores a beacon. A visitor runs with the loader's lock held, so that its beacon stays loaded: it must not wait. */
#ifndef SW_BEACON_FIND_H
#define SW_BEACON_FIND_H

#include <stackwarden/beacon.h>

typedef void (*sw_beacon_visitor)(stackwarden_beacon *beacon, void *arg);

/* Call `found`, with NULL, for every beacon there is now, and for those of images that are loaded later, before they
 * are used. `found` may be called from any thread, and again for the same beacon. A second start is harmless. */
void sw_start_finding_beacons(sw_beacon_visitor found);

/* For images that could not announce their beacons: look again, if any was loaded since the last look. */
void sw_find_late_beacons(void);

/* Call `visit` for every beacon there is now. */
void sw_visit_beacons(sw_beacon_visitor visit, void *arg);

#endif

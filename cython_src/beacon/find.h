/* find.h: where beacons are (stackwarden/beacon.h), in the executable and in all libraries of the process.
 *
 * Promises: one file for each kind of image (ELF, Mach-O, PE), the same few functions; none touches Python, allocates,
 * or keeps a beacon. The beacons passed to a function stay loaded while it runs, for the loader's lock is held: it
 * must not wait for anybody. */
#ifndef SW_BEACON_FIND_H
#define SW_BEACON_FIND_H

#include <stackwarden/beacon.h>

typedef void (*sw_beacon_visitor)(stackwarden_beacon *beacon, void *arg);

/* Call `found`, with NULL, for every beacon: those there are now, and those of images loaded later, before they are
 * used. It may be called again for the same beacon, and from any thread. Again with the same function is harmless. */
void sw_start_finding_beacons(sw_beacon_visitor found);

/* For images that came and could not announce their beacons: look again, if any image came since the last look. */
void sw_find_late_beacons(void);

/* Call `visit` for every beacon there is now. */
void sw_visit_beacons(sw_beacon_visitor visit, void *arg);

#endif

/* beacon.h for the unguarded twins: the calls do nothing. */
#ifndef STACKWARDEN_BEACON_H
#define STACKWARDEN_BEACON_H

#include <stddef.h>
#include <stdint.h>

static struct {
    const void *listener;
} stackwarden_beacon_slot __attribute__((unused));

#define STACKWARDEN_BEACON_SLOT stackwarden_beacon_slot
#define STACKWARDEN_BEACON(name)
#define stackwarden_beacon_switch(base, size) ((void)(base), (void)(size))
#define stackwarden_beacon_reset() ((void)0)
#define stackwarden_beacon_register(base, size, name) ((void)(base), (void)(size), (void)(name))
#define stackwarden_beacon_unregister(base) ((void)(base))

#endif

/* beacon.c: pins the layout of what stackwarden/beacon.h shares between runtimes and the core, on 64-bit systems.
 *
 * Compiling is the test, as C and as C++. A line here is never changed while STACKWARDEN_BEACON_VERSION is 1. */
#include <stackwarden/beacon.h>

#ifdef __cplusplus
#define CHECK(condition) static_assert(condition, #condition)
#else
#define CHECK(condition) _Static_assert(condition, #condition)
#endif
#define AT(type, field, offset) CHECK(offsetof(type, field) == (offset))

CHECK(STACKWARDEN_BEACON_VERSION == 1);
CHECK(sizeof(STACKWARDEN_BEACON_MAGIC) == 12);

CHECK(sizeof(stackwarden_beacon) == 128);
AT(stackwarden_beacon, magic, 0);
AT(stackwarden_beacon, version, 12);
AT(stackwarden_beacon, name, 16);
AT(stackwarden_beacon, listener, 64);
AT(stackwarden_beacon, refused, 72);
AT(stackwarden_beacon, refusal, 80);
AT(stackwarden_beacon, size, 84);
AT(stackwarden_beacon, reserved, 88);

CHECK(sizeof(stackwarden_beacon_listener) == 32);
AT(stackwarden_beacon_listener, notify_stack_switch, 0);
AT(stackwarden_beacon_listener, reset_stack, 8);
AT(stackwarden_beacon_listener, register_stack, 16);
AT(stackwarden_beacon_listener, unregister_stack, 24);

"""Beacons (stackwarden/beacon.h): the core listens to runtimes that know nothing of Python.

Promises: a beacon that is found gets one table of functions, for as long as the process lives: after Python's
finalization they do nothing. They call the hook; what that refuses is noted in the beacon. The core has no list of
beacons, so a library may be unloaded without notice.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport strncmp

from records.execution cimport *
from records.guard cimport *
from records.index cimport find_stack
from records.protection cimport *
from stackwarden cimport (
    STACKWARDEN_NOT_RUNNING,
    stackwarden_handle,
    stackwarden_stack,
    stackwarden_status,
    status_text,
)
from switching.checking cimport notify_checked, sw_reset_checked, sw_return_address
from switching.hook cimport sw_notify_stack_switch, sw_reset_stack
from switching.registration cimport sw_register_stack, sw_unregister_stack
from switching.sync cimport sw_find_late_beacons


cdef extern from "stackwarden/beacon.h" nogil:
    const char *STACKWARDEN_BEACON_MAGIC
    enum:
        STACKWARDEN_BEACON_VERSION

    ctypedef struct stackwarden_beacon_listener:
        void (*notify_stack_switch)(stackwarden_beacon *beacon, const void *base, size_t size) noexcept nogil
        void (*reset_stack)(stackwarden_beacon *beacon) noexcept nogil
        void (*register_stack)(
            stackwarden_beacon *beacon, const void *base, size_t size, const char *name) noexcept nogil
        void (*unregister_stack)(stackwarden_beacon *beacon, const void *base) noexcept nogil

    ctypedef struct stackwarden_beacon:
        char magic[12]
        uint32_t version
        char name[48]
        const stackwarden_beacon_listener *listener
        uint64_t refused
        int32_t refusal


cdef extern from "Python.h":
    object Py_BuildValue(const char *format, ...)


cdef extern from "beacon/find.h" nogil:
    void sw_start_finding_beacons(void (*found)(stackwarden_beacon *beacon, void *arg) noexcept nogil)
    void sw_find_late_beacons()
    void sw_visit_beacons(void (*visit)(stackwarden_beacon *beacon, void *arg) noexcept nogil, void *arg)


cdef extern from * nogil:
    """
    static stackwarden_beacon_listener sw_listener;

    /* Another core may have been first. */
    static void sw_fill_beacon(stackwarden_beacon *beacon)
    {
    #if defined(_MSC_VER)
        _InterlockedCompareExchangePointer((void *volatile *)&beacon->listener, &sw_listener, NULL);
    #else
        const stackwarden_beacon_listener *nobody = NULL;
        const stackwarden_beacon_listener *listener = &sw_listener;
        __atomic_compare_exchange_n(&beacon->listener, &nobody, listener, 0, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
    #endif
    }

    #define SW_BEACONS_SEEN 64
    typedef struct {
        int found; /* may be more than are stored */
        stackwarden_beacon beacons[SW_BEACONS_SEEN];
    } sw_beacons_seen;
    """
    stackwarden_beacon_listener sw_listener
    void sw_fill_beacon(stackwarden_beacon *beacon)

    enum:
        SW_BEACONS_SEEN

    ctypedef struct sw_beacons_seen:
        int found
        stackwarden_beacon *beacons


# ---- the listener ----

cdef inline void note_refusal(stackwarden_beacon *beacon, stackwarden_status status) noexcept nogil:
    """A runtime gets no status; `python -m stackwarden doctor` shows what is noted."""
    if status < 0 and status != STACKWARDEN_NOT_RUNNING:
        beacon.refusal = status
        sw_count(&beacon.refused)


cdef inline void hear_switch(stackwarden_beacon *beacon, const void *base, size_t size) noexcept nogil:
    note_refusal(beacon, sw_notify_stack_switch(<uintptr_t>base, size))


cdef inline void hear_reset(stackwarden_beacon *beacon) noexcept nogil:
    note_refusal(beacon, sw_reset_stack())


cdef inline void hear_switch_checked(
        stackwarden_beacon *beacon, const void *base, size_t size) noexcept nogil:
    note_refusal(beacon, notify_checked(<uintptr_t>base, size, sw_return_address()))


cdef inline void hear_reset_checked(stackwarden_beacon *beacon) noexcept nogil:
    note_refusal(beacon, sw_reset_checked())


cdef inline void hear_register(
        stackwarden_beacon *beacon, const void *base, size_t size, const char *name) noexcept nogil:
    cdef stackwarden_stack registered
    note_refusal(beacon, sw_register_stack(<uintptr_t>base, size, name, beacon.name, 0, &registered))


cdef inline void hear_unregister(stackwarden_beacon *beacon, const void *base) noexcept nogil:
    cdef stackwarden_handle handle
    cdef uintptr_t known_base, top
    if find_stack(<uintptr_t>base, &handle, &known_base, &top) and known_base == <uintptr_t>base:
        note_refusal(beacon, sw_unregister_stack(handle))


# ---- finding ----

cdef inline bint is_understood(const stackwarden_beacon *beacon) noexcept nogil:
    return strncmp(beacon.magic, STACKWARDEN_BEACON_MAGIC, sizeof(beacon.magic)) == 0 \
        and beacon.version == STACKWARDEN_BEACON_VERSION


cdef inline void listen_to(stackwarden_beacon *beacon, void *unused) noexcept nogil:
    if is_understood(beacon):
        sw_fill_beacon(beacon)


cdef inline void start_listening() noexcept nogil:
    """Requires: sw_process.running."""
    sw_listener.notify_stack_switch = hear_switch
    sw_listener.reset_stack = hear_reset
    sw_listener.register_stack = hear_register
    sw_listener.unregister_stack = hear_unregister
    sw_start_finding_beacons(listen_to)


cdef inline void check_beacons() noexcept nogil:
    """Turn the checking mode on (switching/checking.pxd)."""
    sw_listener.notify_stack_switch = hear_switch_checked
    sw_listener.reset_stack = hear_reset_checked


# ---- what status() says ----

cdef inline void copy_beacon(stackwarden_beacon *beacon, void *arg) noexcept nogil:
    cdef sw_beacons_seen *seen = <sw_beacons_seen *>arg
    if seen.found < SW_BEACONS_SEEN:
        seen.beacons[seen.found] = beacon[0]
    seen.found += 1


cdef inline int listener_of(const stackwarden_beacon *beacon) noexcept nogil:
    """0: not found yet, 1: this core, 2: another one."""
    if beacon.listener == NULL:
        return 0
    return 1 if beacon.listener is &sw_listener else 2


cdef inline object describe_beacon(const stackwarden_beacon *beacon):
    """Where its version is not the known one, what follows the two is not understood."""
    return Py_BuildValue(
        "y#IIiKs", beacon.name, <Py_ssize_t>sizeof(beacon.name), <unsigned>beacon.version,
        <unsigned>STACKWARDEN_BEACON_VERSION, listener_of(beacon), <unsigned long long>beacon.refused,
        status_text(<stackwarden_status>beacon.refusal))


cdef inline list see_beacons():
    """Of each beacon in this process: its name, padded with NUL bytes; its version, and the known one; the
    listener; the number of refused calls, and the text of the last refusal."""
    cdef sw_beacons_seen *seen = <sw_beacons_seen *>calloc(1, sizeof(sw_beacons_seen))
    cdef int i
    if seen == NULL:
        raise MemoryError("stackwarden: no memory for a list of beacons")
    sw_visit_beacons(copy_beacon, seen)
    found = []
    for i in range(min(seen.found, SW_BEACONS_SEEN)):
        found.append(describe_beacon(&seen.beacons[i]))
    free(seen)
    return found

"""Which stack was overrun: the answer for the handler of a fault (crash/crash.h).

Promises: async-signal-safe. Records are read without a lock; no name is freed while a handler may be reading it.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint64_t, uintptr_t

from records.guard cimport *
from records.index cimport find_record
from records.protection cimport *


cdef extern from "crash/crash.h" nogil:
    ctypedef struct sw_overrun:
        uintptr_t base
        uintptr_t top
        const char *bounds_from
        char *name
        char *system

    ctypedef int (*sw_find_overrun_ptr "sw_find_overrun *")(uintptr_t, uintptr_t, sw_overrun *) noexcept nogil

    int sw_crash_start(sw_find_overrun_ptr find)
    void sw_crash_stop()
    bint sw_crash_is_on()


cdef extern from * nogil:
    """
    #define SW_REACH ((uintptr_t)1 << 20) /* bytes below a stack that one large frame may reach */
    #define SW_ABOVE ((uintptr_t)4 << 10) /* bytes above the base at which the stack pointer may still be then */

    static const char *const sw_origins[] = {"native", "told", "map", "estimate"};
    """
    const uintptr_t SW_REACH
    const uintptr_t SW_ABOVE
    const char **sw_origins


cdef inline bint is_overrun(sw_record *record, uintptr_t address, uintptr_t sp) noexcept nogil:
    """Is the address just below the stack, with the stack pointer near its base? A stray pointer is no overrun."""
    cdef uintptr_t base = record.base
    return base != 0 and base - 1 - address < SW_REACH \
        and (sp == 0 or sp - (base - SW_REACH) < SW_REACH + SW_ABOVE)


cdef inline sw_record *find_overrun(uintptr_t address, uintptr_t sp) noexcept nogil:
    """The stack that was overrun: the current one, the native one, or the next registered one above the
    address."""
    cdef sw_thread *thread = <sw_thread *>sw_thread_local_get()
    cdef uintptr_t above = address
    cdef sw_record *record
    if thread != NULL and is_overrun(thread.current, address, sp):
        return thread.current
    if thread != NULL and is_overrun(thread.native, address, sp):
        return thread.native
    while above - address <= SW_REACH:
        record = find_record(above)
        if record != NULL:
            return record if is_overrun(record, address, sp) else NULL
        above += <uintptr_t>1 << (SW_GRANULE_BITS - 1)  # no record is smaller
    return NULL


cdef inline const char *copy_text(const char *text, char *to, size_t size) noexcept nogil:
    """Copy a text, cut to `size` bytes; returns what follows its NUL."""
    cdef size_t i = 0
    while text[i]:
        if i < size - 1:
            to[i] = text[i]
        i += 1
    to[i if i < size - 1 else size - 1] = 0
    return text + i + 1


cdef inline void copy_names(sw_record *record, sw_overrun *overrun) noexcept nogil:
    overrun.name[0] = overrun.system[0] = 0
    sw_count(&sw_process.name_readers)
    sw_fence_full()
    if sw_load_generation(&record.generation) & 1 and record.name != NULL:
        copy_text(copy_text(record.name, overrun.name, 64), overrun.system, 64)
    sw_add(&sw_process.name_readers, <uint64_t>-1)


cdef inline int overrun_at(uintptr_t address, uintptr_t sp, sw_overrun *overrun) noexcept nogil:
    cdef sw_record *record = find_overrun(address, sp)
    if record == NULL:
        return 0
    overrun.base = record.base
    overrun.top = record.top & ~<uintptr_t>1
    overrun.bounds_from = sw_origins[record.bounds_from]
    copy_names(record, overrun)
    return 1

"""The checking mode (STACKWARDEN=check): what was told is compared with the stack pointer.

Promises: costs nothing while it is off: turned on, the table has these functions in the place of theirs, and
beacons have theirs. A switch may be told right before it happens or right after, so what was told is compared
where the next one is told (the stack pointer is on the stack told before, or on the next one), where a stack is
left in the middle of Python, and where Python is entered (sync, interposed entries). Native stacks need no
telling, and stacks of blocks are named for code that goes there: they are not compared. What disagrees is noted
once for each place that told it, and reported by a pending call of CPython's: no Python runs here.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uintptr_t
from libc.stdlib cimport calloc
from libc.string cimport strcmp, strncpy

from records.execution cimport *
from records.guard cimport *
from records.records cimport handle_of, record_holds, record_of
from stackwarden cimport (
    STACKWARDEN_DONE,
    stackwarden_handle,
    stackwarden_request,
    stackwarden_stack,
    stackwarden_status,
)
from switching.blocks cimport sw_enter_sync
from switching.evidence cimport find_stack_of
from switching.hook cimport sw_notify_stack_switch, sw_reset_stack, sw_switch_to
from switching.start_switch cimport sw_start_switch, sw_start_switch_blocking
from switching.sync cimport sw_sync_stack
from switching.threads cimport running_thread


cdef extern from "Python.h" nogil:
    int Py_AddPendingCall(int (*function)(void *) noexcept, void *arg)


cdef extern from * nogil:
    """
    #define SW_CONTRADICTIONS 64 /* later ones are not noted */

    typedef struct {
        sw_telling telling;
        uintptr_t base, top; /* told */
        uintptr_t sp, found_base, found_top; /* the stack pointer, and the known stack that holds it, or 0 */
    } sw_contradiction;

    static struct {
        int on;
        int noted, reported;
        sw_contradiction contradictions[SW_CONTRADICTIONS];
        int (*report)(void *);
    } sw_checking;

    #if defined(_MSC_VER)
    #include <intrin.h>
    #define sw_return_address() _ReturnAddress()
    #else
    #define sw_return_address() __builtin_return_address(0)
    #endif
    """
    const int SW_CONTRADICTIONS

    ctypedef struct sw_contradiction:
        sw_telling telling
        uintptr_t base
        uintptr_t top
        uintptr_t sp
        uintptr_t found_base
        uintptr_t found_top

    ctypedef struct sw_checking_block:
        int on
        int noted
        int reported
        sw_contradiction *contradictions
        int (*report)(void *) noexcept nogil

    sw_checking_block sw_checking
    const void *sw_return_address()


# ---- the comparison ----

cdef inline bint is_noted(const sw_telling *telling) noexcept nogil:
    cdef int i
    for i in range(sw_checking.noted):
        if sw_checking.contradictions[i].telling.caller == telling.caller \
                and strcmp(sw_checking.contradictions[i].telling.site, telling.site) == 0:
            return True
    return False


cdef inline void note_contradiction(sw_thread *thread, uintptr_t sp) noexcept nogil:
    """Takes the next place; a report is asked for."""
    cdef sw_record *found = find_stack_of(thread, sp)
    cdef sw_contradiction *place
    if not sw_lock():
        return
    if sw_checking.noted < SW_CONTRADICTIONS and not is_noted(thread.telling):
        place = &sw_checking.contradictions[sw_checking.noted]
        place.telling = thread.telling[0]
        place.base = thread.current.base
        place.top = thread.current.top
        place.sp = sp
        place.found_base = found.base if found != NULL else 0
        place.found_top = found.top if found != NULL else 0
        sw_checking.noted += 1
    sw_unlock()
    Py_AddPendingCall(sw_checking.report, NULL)


cdef inline void compare_told(uintptr_t to_base, uintptr_t to_top) noexcept nogil:
    """Is the stack pointer on the stack that was told last, or on [to_base, to_top)?"""
    cdef sw_thread *thread = <sw_thread *>sw_thread_local_get() if sw_process.running else NULL
    cdef uintptr_t sp = sw_stack_pointer()
    if thread == NULL or thread.telling == NULL or thread.telling.handle != handle_of(thread.current):
        return
    if not record_holds(thread.current, sp) and sp - to_base >= to_top - to_base:
        note_contradiction(thread, sp)
    thread.telling.handle = 0


cdef inline void note_telling(const void *caller) noexcept nogil:
    """The current stack was told by the caller."""
    cdef sw_thread *thread = running_thread()
    if thread == NULL:
        return
    if thread.telling == NULL:
        thread.telling = <sw_telling *>calloc(1, sizeof(sw_telling))
    if thread.telling != NULL:
        thread.telling.handle = handle_of(thread.current) if thread.current.kind != SW_NATIVE else 0
        thread.telling.caller = caller
        thread.telling.site[0] = 0


cdef inline void note_site(const char *site) noexcept nogil:
    """Where in Python the last telling of this thread was."""
    cdef sw_thread *thread = running_thread()
    if thread != NULL and thread.telling != NULL:
        strncpy(thread.telling.site, site, SW_SITE - 1)


# ---- the functions of the table ----

cdef inline stackwarden_status notify_checked(
        uintptr_t base, size_t size, const void *caller) noexcept nogil:
    """For the table and for beacons: their callers differ."""
    cdef stackwarden_status status
    compare_told(base, base + size)
    status = sw_notify_stack_switch(base, size)
    if status == STACKWARDEN_DONE:
        note_telling(caller)
    return status


cdef inline stackwarden_status sw_notify_checked(uintptr_t base, size_t size) noexcept nogil:
    return notify_checked(base, size, sw_return_address())


cdef inline stackwarden_status sw_switch_to_checked(stackwarden_handle handle) noexcept nogil:
    cdef sw_record *record = record_of(handle)
    cdef stackwarden_status status
    if record != NULL:
        compare_told(record.base, record.top)
    status = sw_switch_to(handle)
    if status == STACKWARDEN_DONE:
        note_telling(sw_return_address())
    return status


cdef inline stackwarden_status sw_reset_checked() noexcept nogil:
    cdef sw_thread *thread = running_thread()
    if thread != NULL:
        compare_told(thread.native.base, thread.native.top)
    return sw_reset_stack()


cdef inline stackwarden_status sw_sync_checked() noexcept nogil:
    compare_told(0, 0)
    return sw_sync_stack()


cdef inline stackwarden_status sw_enter_sync_checked(stackwarden_request *token) noexcept nogil:
    compare_told(0, 0)
    return sw_enter_sync(token)


cdef inline stackwarden_status sw_start_switch_checked(
        const stackwarden_stack *to, unsigned flags) noexcept nogil:
    compare_told(0, 0)
    return sw_start_switch(to, flags)


cdef inline stackwarden_status sw_start_switch_blocking_checked(
        const stackwarden_stack *to, unsigned flags) noexcept nogil:
    compare_told(0, 0)
    return sw_start_switch_blocking(to, flags)

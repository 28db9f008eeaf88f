"""The core's hooks for libstackwarden_interpose (hooks.h), for foreign code that tells nothing.

    entered()         foreign code has entered Python: sync
    frames(), interleaved()  it goes on with the Python frames of another stack: count, and warn once
    is_unmended()     it lets the GIL go: has it come to an unknown stack without entering Python there?
    go_back()         a nested entry has ended, or such a pause: the bounds of another stack
    outermost_exit()  the thread state may be deleted next: empty its trashcan
    made()            a stack was made: register its bounds
    jump()            before a switch: the bounds of its target; a stack that nobody told of is looked up

With isolation "frames" the last one swaps execution state too, by start_switch.pxd and finish_switch.pxd, both
before the jump. A switch that was not seen is finished when its stack next enters Python (finish_unseen_switch).
Switch callbacks, which run on the new stack, come with the next sync there, or before it is left by a switch that
is seen.

Promises: changes nothing while Python is not running, or on a detached thread; but with isolation, where a
detached thread suspends Python frames or resumes some, it attaches, and may wait. A switch that cannot be isolated
is made without isolation, and counted.
"""

from libc.stdint cimport uint32_t, uintptr_t

from interpose.seen_stacks cimport find_target_of_jump, interposed_made, sw_interposition, was_interposed
from records.ends cimport sw_drain
from records.execution cimport *
from records.executions cimport is_loaded, is_suspended
from records.guard cimport *
from records.overlaps cimport is_range
from records.protection cimport *
from records.records cimport describe_record, is_in_use, record_at, record_holds
from stackwarden cimport STACKWARDEN_DONE, stackwarden_stack, stackwarden_status
from switching.checking cimport compare_told, sw_checking
from switching.evidence cimport find_stack_of
from switching.finish_switch cimport finish_switch_fast, finish_switch_slow
from switching.hook cimport enter_bounds_only
from switching.start_switch cimport has_to_release, start_switch_to, sw_start_switch_blocking, thread_to_switch
from switching.sync cimport enter_if_elsewhere, is_right, sync_slow
from switching.target cimport execution_of
from switching.threads cimport running_thread, this_thread
from switching.unknown cimport fits, fitting_record


cdef extern from "Python.h" nogil:
    int Py_AddPendingCall(int (*function)(void *) noexcept, void *arg)


cdef extern from "interpose/connect.h" nogil:
    const uint32_t SW_INTERPOSE_VERSION
    const char *SW_INTERPOSE_ATTACH
    const char *SW_INTERPOSE_ON
    const char *SW_INTERPOSE_OFF
    const char *SW_INTERPOSE_UNWRITTEN

    ctypedef enum sw_entry:
        SW_RIGHT
        SW_MENDED
        SW_CHANGED

    ctypedef struct sw_interpose_hooks:
        sw_entry (*entered)(uintptr_t *former, int reattached) noexcept nogil
        void (*go_back)(uintptr_t address) noexcept nogil
        void (*current)(uintptr_t *base, uintptr_t *top) noexcept nogil
        int (*is_attached)() noexcept nogil
        int (*is_unmended)(uintptr_t *effective) noexcept nogil
        uint32_t (*frames)() noexcept nogil
        void (*interleaved)(const void *caller) noexcept nogil
        void (*outermost_exit)() noexcept nogil
        void (*made)(uintptr_t base, uintptr_t top) noexcept nogil
        void (*jump)(uintptr_t start, uintptr_t to) noexcept nogil

    ctypedef int (*sw_interpose_attach)(uint32_t version, const sw_interpose_hooks *hooks) noexcept nogil
    ctypedef long (*sw_interpose_turn)() noexcept nogil

    void *sw_interpose_find(const char *name)
    const char *sw_interpose_load(const char *path)


cdef extern from * nogil:
    """
    static sw_interpose_hooks sw_core_hooks;
    """
    sw_interpose_hooks sw_core_hooks


# ---- entries ----

cdef inline uintptr_t address_on(const sw_record *record) noexcept nogil:
    return record.base + (record.top - record.base) // 2


cdef inline void interposed_current(uintptr_t *base, uintptr_t *top) noexcept nogil:
    cdef sw_thread *thread = running_thread()
    base[0] = thread.current.base if thread != NULL else 0
    top[0] = thread.current.top if thread != NULL else 0


cdef inline sw_entry interposed_entered(uintptr_t *former, int reattached) noexcept nogil:
    cdef uintptr_t sp = sw_stack_pointer()
    if SW_LIKELY(is_right(sp)):
        return SW_RIGHT
    return interposed_entered_slow(sp, former, reattached)


cdef inline bint compares_addresses() noexcept nogil:
    """Does CPython check bounds? Else it counts calls, and no address is ever wrong."""
    return swpy_protection.mechanism == SWPY_POINTER or swpy_protection.mechanism == SWPY_SETTER


cdef inline bint is_still_there(sw_thread *thread, PyThreadState *ts, uintptr_t sp) noexcept nogil:
    """Is the thread still on the unknown stack that it was found on last?"""
    return fits(thread, thread.current, sp) and find_stack_of(thread, sp) == NULL \
        and swpy_has_bounds_of(ts, thread.current) and thread.policies_seen == sw_process.policy_serial


cdef inline sw_entry interposed_entered_slow(uintptr_t sp, uintptr_t *former, bint reattached) noexcept nogil:
    cdef PyThreadState *ts = swpy_attached() if sw_process.running else NULL
    cdef sw_thread *thread = this_thread() if ts != NULL else NULL
    cdef uintptr_t base, top
    if thread == NULL or (reattached and is_still_there(thread, ts, sp)):
        return SW_RIGHT
    if record_holds(thread.current, sp) and (swpy_covers(ts, thread, sp) or not compares_addresses()):
        sync_slow(sp, False)  # for another policy, or another thread state whose calls are counted
        return SW_RIGHT
    if sw_checking.on:
        compare_told(0, 0)
    base, top = thread.current.base, thread.current.top
    former[0] = address_on(thread.current)
    sw_count(&sw_interposition.mended)
    finish_unseen_switch(thread, ts, sp)
    return SW_MENDED if is_range(running_thread().current, base, top) else SW_CHANGED


cdef inline void interposed_go_back(uintptr_t address) noexcept nogil:
    cdef PyThreadState *ts = swpy_attached() if sw_process.running else NULL
    cdef sw_thread *thread = this_thread() if ts != NULL else NULL
    cdef sw_record *record
    if thread == NULL:
        return
    record = find_stack_of(thread, address)
    if record == NULL:
        record = fitting_record(thread, address)
    if record == NULL:
        record = thread.native
    if record is not thread.current:
        enter_bounds_only(thread, record)


cdef inline int interposed_is_attached() noexcept nogil:
    return sw_process.running and swpy_attached() != NULL


cdef inline int interposed_is_unmended(uintptr_t *effective) noexcept nogil:
    cdef uintptr_t sp = sw_stack_pointer()
    if SW_LIKELY(is_right(sp)):
        return False
    return is_unmended_slow(sp, effective)


cdef inline bint is_unmended_slow(uintptr_t sp, uintptr_t *effective) noexcept nogil:
    """False on a stack that was told, too: whoever tells of a stack tells of the way back."""
    cdef PyThreadState *ts = swpy_attached() if sw_process.running else NULL
    cdef sw_thread *thread = this_thread() if ts != NULL else NULL
    if thread == NULL or record_holds(thread.current, sp) or find_stack_of(thread, sp) != NULL:
        return False
    effective[0] = address_on(thread.current)
    return True


cdef inline uint32_t interposed_frames() noexcept nogil:
    cdef PyThreadState *ts = swpy_attached() if sw_process.running else NULL
    return swpy_frame_tag(ts) if ts != NULL and swpy_has_frames(ts) else 0


cdef inline void interposed_interleaved(const void *caller) noexcept nogil:
    sw_count(&sw_interposition.interleaved)
    if sw_interposition.interleaver == NULL:
        sw_interposition.interleaver = caller
        Py_AddPendingCall(sw_interposition.warn, NULL)


cdef inline void interposed_outermost_exit() noexcept nogil:
    cdef PyThreadState *ts = swpy_attached_fast() if sw_process.fast_path else swpy_attached()
    if ts != NULL and swpy_has_trash(ts):
        sw_drain()


# ---- switches ----

cdef inline void start_seen_switch(uintptr_t to) noexcept nogil:
    """`to`: an address on the stack that the thread switches to."""
    cdef PyThreadState *ts = swpy_attached() if sw_process.running else NULL
    cdef sw_thread *thread
    cdef sw_record *record
    if ts == NULL and not (sw_interposition.frames and sw_process.running):
        return
    thread = this_thread()
    if sw_checking.on and thread != NULL and not record_holds(thread.current, to):
        compare_told(0, 0)
    record = find_target_of_jump(thread, to) if thread != NULL else NULL
    if record == NULL and thread != NULL and sw_interposition.frames and thread_has_frames():
        sw_count(&sw_interposition.refused)
    if record == NULL or record is thread.current:
        return
    if sw_interposition.frames and start_isolated_switch(thread, ts, record):
        return
    if ts != NULL:
        enter_bounds_only(thread, record)


cdef inline bint start_isolated_switch(sw_thread *thread, PyThreadState *ts, sw_record *record) noexcept nogil:
    """False: the execution state stays in the thread state."""
    cdef stackwarden_stack to
    cdef stackwarden_status status
    if ts == NULL and not must_swap(thread, record):
        return False
    if ts != NULL and not has_to_release(thread, False):
        status = start_switch_to(thread, ts, record, sw_stack_pointer(), False, False)
    else:
        describe_record(record, &to)
        status = sw_start_switch_blocking(&to, 0)
    if status != STACKWARDEN_DONE:
        sw_count(&sw_interposition.refused)
    return status == STACKWARDEN_DONE


cdef inline bint thread_has_frames() noexcept nogil:
    cdef PyThreadState *own = swpy_own()
    return own != NULL and swpy_has_frames(own)


cdef inline bint must_swap(const sw_thread *thread, sw_record *record) noexcept nogil:
    """Detached: does the switch suspend Python frames, or resume some?"""
    cdef PyThreadState *own = swpy_own()
    cdef sw_execution *execution = execution_of(thread, record)
    return own != NULL and execution is not thread.loaded and (swpy_has_frames(own) or is_suspended(execution))


cdef inline void interposed_jump(uintptr_t start, uintptr_t to) noexcept nogil:
    """The stack that is left is resumed with the stack pointer at `start` or a few words below. A new coroutine on
    its memory begins higher up: is_stale() tells the two apart by that."""
    cdef sw_thread *thread = <sw_thread *>sw_thread_local_get()
    if not sw_process.running or is_switching(thread):
        return  # whoever switches calls start_switch() and finish_switch() himself
    if sw_process.callbacks:
        report_pending_switches()
    start_seen_switch(to)
    thread = <sw_thread *>sw_thread_local_get()
    if is_switching(thread):
        thread.loaded.suspended_at = start
        finish_switch_at(to)
    else:
        arrive_unseen(to)


cdef inline bint is_switching(const sw_thread *thread) noexcept nogil:
    """Between start_switch() and finish_switch()?"""
    return thread != NULL and thread.incoming != NULL


cdef inline void report_pending_switches() noexcept nogil:
    cdef sw_thread *thread = <sw_thread *>sw_thread_local_get()
    cdef uintptr_t sp = sw_stack_pointer()
    if thread != NULL and thread.pending_switches and record_holds(thread.current, sp):
        sync_slow(sp, False)


cdef inline void arrive_unseen(uintptr_t sp) noexcept nogil:
    """The thread goes on at a stack pointer, and no execution state was swapped. No callback runs: it is not there
    yet."""
    cdef PyThreadState *ts = swpy_attached()
    cdef sw_thread *thread
    if ts == NULL or (sw_process.fast_path and swpy_covers_fast(ts, sp)):
        return
    thread = this_thread()
    if thread != NULL:
        enter_if_elsewhere(thread, ts, sp, False)


cdef inline void finish_switch_at(uintptr_t sp) noexcept nogil:
    """sw_finish_switch(), of a caller whose stack pointer is that, or will be."""
    if not finish_switch_fast(sp):
        finish_switch_slow(sp)


cdef inline void finish_unseen_switch(sw_thread *thread, PyThreadState *ts, uintptr_t sp) noexcept nogil:
    """The stack pointer is on another stack than the current one. Where that has execution state of its own, the
    loaded one is suspended only now. Without frames it has ended: the function of a context with uc_link has
    returned."""
    cdef sw_record *record = find_stack_of(thread, sp)
    cdef sw_execution *former
    if record == NULL or execution_of(thread, record) is thread.loaded or thread.incoming != NULL:
        sync_slow(sp, False)
        return
    thread = thread_to_switch(ts, False)
    former = thread.loaded
    record = find_stack_of(thread, sp)
    if record == NULL or start_switch_to(thread, ts, record, 0, False, False) != STACKWARDEN_DONE:
        sw_count(&sw_interposition.refused)
        sync_slow(sp, False)
        return
    if former is not thread.native.execution and former.isolation == SW_FRAMES \
            and swpy_state_is_idle(&former.state):
        thread.finished = former
    record.detached = False  # whatever it was when it was suspended: the thread is attached now
    finish_switch_at(sp)


# ---- the library ----

cdef inline bint connect_interposition() noexcept nogil:
    """Attach the core's hooks to the library. False: it is not in the process, or is of another version."""
    cdef sw_interpose_attach attach = <sw_interpose_attach>sw_interpose_find(SW_INTERPOSE_ATTACH)
    sw_core_hooks.entered = interposed_entered
    sw_core_hooks.go_back = interposed_go_back
    sw_core_hooks.current = interposed_current
    sw_core_hooks.is_attached = interposed_is_attached
    sw_core_hooks.is_unmended = interposed_is_unmended
    sw_core_hooks.frames = interposed_frames
    sw_core_hooks.interleaved = interposed_interleaved
    sw_core_hooks.outermost_exit = interposed_outermost_exit
    sw_core_hooks.made = interposed_made
    sw_core_hooks.jump = interposed_jump
    sw_interposition.connected = attach != NULL and attach(SW_INTERPOSE_VERSION, &sw_core_hooks) == 0
    return sw_interposition.connected


cdef inline long turn_interposition(const char *way) noexcept nogil:
    """SW_INTERPOSE_ON or _OFF: the number of slots that were changed. SW_INTERPOSE_UNWRITTEN: of those that could
    not be. -1: there is no library."""
    cdef sw_interpose_turn turn = <sw_interpose_turn>sw_interpose_find(way)
    return turn() if turn != NULL and sw_interposition.connected else -1


cdef inline long unwritten_slots() noexcept nogil:
    """How many slots the library could not change; -1: interposition is off."""
    return turn_interposition(SW_INTERPOSE_UNWRITTEN)


cdef inline long suspended_by_interposition() noexcept nogil:
    """The number of stacks with Python frames that only another interposed switch can resume."""
    cdef long found = 0
    cdef uint32_t index
    cdef sw_record *record
    for index in range(1, sw_process.records):
        record = record_at(index)
        if is_in_use(record) and record.kind == SW_REGISTERED and record.isolation == SW_FRAMES \
                and was_interposed(record) and (is_loaded(record) or is_suspended(record.execution)):
            found += 1
    return found

"""What libstackwarden_interpose asks of the core: its hooks, for foreign code that tells us nothing.

    entered()         after a function through which foreign code enters Python: a sync
    outermost_exit()  before the end of an outermost entry: empties the trashcan, as the thread state may go with it
    made()            a stack was made, with exact bounds: a record for it
    start_switch()    before a switch: the bounds of the stack that it goes to, where nothing of ours may run first
    finish_switch()   after it: a sync, for the stacks that nobody had told of

With isolation "frames" the two are those of start_switch.pxd and finish_switch.pxd: the execution state goes with the
stack. A switch that was not seen is finished when its stack next enters Python
(finish_unseen_switch).

Promises: what the hook promises; no hook changes anything while Python is not running, or on a thread that is not
attached (but where a detached thread leaves Python's frames behind, and isolation is on: that attaches, and may
wait). A switch that cannot be isolated is made as if there were no isolation, and counted. Allocates where a stack
is made.
"""

from libc.stdint cimport uint32_t, uint64_t, uintptr_t
from libc.string cimport strcmp, strlen

from records.execution cimport *
from records.executions cimport is_loaded, is_suspended, sw_drain, sw_renew_stack
from records.guard cimport *
from records.index cimport find_overlap, find_record
from records.overlaps cimport SW_ALIGNMENT
from records.policy cimport is_unknown
from records.protection cimport *
from records.records cimport describe_record, handle_of, record_at, record_holds, record_of
from stackwarden cimport (
    STACKWARDEN_DONE,
    STACKWARDEN_ISOLATION_FRAMES,
    STACKWARDEN_TRIM_GUARD,
    stackwarden_stack,
    stackwarden_status,
)
from switching.finish_switch cimport sw_finish_switch
from switching.hook cimport enter_bounds_only
from switching.registration cimport sw_register_stack, sw_unregister_stack
from switching.start_switch cimport has_to_release, start_switch_to, sw_start_switch_blocking, thread_to_switch
from switching.sync cimport find_stack_of, is_right, sync_slow
from switching.target cimport execution_of
from switching.threads cimport this_thread
from switching.unknown cimport fits


cdef extern from "interpose/connect.h" nogil:
    const uint32_t SW_INTERPOSE_VERSION
    const char *SW_INTERPOSE_ATTACH
    const char *SW_INTERPOSE_ON
    const char *SW_INTERPOSE_OFF

    ctypedef enum sw_entry:
        SW_RIGHT
        SW_MENDED
        SW_CHANGED

    ctypedef struct sw_interpose_hooks:
        sw_entry (*entered)(uint64_t *former, int reattached) noexcept nogil
        void (*go_back)(uint64_t former) noexcept nogil
        uint64_t (*current)() noexcept nogil
        int (*is_attached)() noexcept nogil
        void (*outermost_exit)() noexcept nogil
        void (*made)(uintptr_t base, uintptr_t top) noexcept nogil
        void (*start_switch)(uintptr_t to) noexcept nogil
        void (*finish_switch)() noexcept nogil

    ctypedef int (*sw_interpose_attach)(uint32_t version, const sw_interpose_hooks *hooks) noexcept nogil
    ctypedef long (*sw_interpose_turn)() noexcept nogil

    void *sw_interpose_find(const char *name)
    const char *sw_interpose_load(const char *path)


cdef extern from * nogil:
    """
    #define SW_INTERPOSED_SYSTEM "interposition" /* the system of stacks that were seen to be made */
    #define SW_GUARD_AT_MOST ((uintptr_t)64 << 10) /* bytes; what was left out of a stack as its guard */
    #define SW_UNKNOWN_NAME ((uint64_t)1) /* the thread's unknown stack; no handle: its generation is even */

    static struct {
        int preloaded; /* the library was in the process before us, and is on for good */
        long begun; /* and not ended yet */
        int frames; /* isolation of switches, and of stacks that are made from now on */
        uint64_t mended; /* entries and switches that found the bounds of another stack in force */
        uint64_t refused; /* switches that could not be isolated */
    } sw_interposition;
    static sw_interpose_hooks sw_core_hooks;
    """
    const char *SW_INTERPOSED_SYSTEM
    const uintptr_t SW_GUARD_AT_MOST
    const uint64_t SW_UNKNOWN_NAME

    ctypedef struct sw_interposition_block:
        int preloaded
        long begun
        int frames
        uint64_t mended
        uint64_t refused

    sw_interposition_block sw_interposition
    sw_interpose_hooks sw_core_hooks


# ---- entries ----

cdef inline uint64_t name_of_stack(const sw_record *record) noexcept nogil:
    return SW_UNKNOWN_NAME if is_unknown(record) else handle_of(record)


cdef inline uint64_t interposed_current() noexcept nogil:
    cdef sw_thread *thread = this_thread() if sw_process.running else NULL
    return name_of_stack(thread.current) if thread != NULL else 0


cdef inline sw_entry interposed_entered(uint64_t *former, int reattached) noexcept nogil:
    cdef uintptr_t sp = sw_stack_pointer()
    if SW_LIKELY(is_right(sp)):
        return SW_RIGHT
    return interposed_entered_slow(sp, former, reattached)


cdef inline bint compares_addresses() noexcept nogil:
    return swpy_protection.mechanism == SWPY_POINTER or swpy_protection.mechanism == SWPY_SETTER


cdef inline bint is_still_there(sw_thread *thread, PyThreadState *ts, uintptr_t sp) noexcept nogil:
    """Does the thread go on on the unknown stack that it was found on last?"""
    return fits(thread, thread.current, sp) and find_stack_of(thread, sp) == NULL \
        and swpy_has_bounds_of(ts, thread.current) and thread.policies_seen == sw_process.policy_serial


cdef inline sw_entry interposed_entered_slow(uintptr_t sp, uint64_t *former, bint reattached) noexcept nogil:
    cdef PyThreadState *ts = swpy_attached() if sw_process.running else NULL
    cdef sw_thread *thread = this_thread() if ts != NULL else NULL
    if thread == NULL or (reattached and is_still_there(thread, ts, sp)):
        return SW_RIGHT
    if record_holds(thread.current, sp) and (swpy_covers(ts, thread, sp) or not compares_addresses()):
        sync_slow(sp, False)  # another policy, or another thread state whose calls are to be counted
        return SW_RIGHT
    former[0] = name_of_stack(thread.current)
    sw_count(&sw_interposition.mended)
    finish_unseen_switch(thread, ts, sp)
    return SW_CHANGED if interposed_current() != former[0] else SW_MENDED


cdef inline void interposed_go_back(uint64_t former) noexcept nogil:
    cdef PyThreadState *ts = swpy_attached() if sw_process.running else NULL
    cdef sw_thread *thread = this_thread() if ts != NULL else NULL
    cdef sw_record *record
    if thread == NULL:
        return
    record = record_of(former) if former != SW_UNKNOWN_NAME else thread.transient
    if record != NULL and record.generation & 1:
        enter_bounds_only(thread, record)


cdef inline int interposed_is_attached() noexcept nogil:
    return sw_process.running and swpy_attached() != NULL


cdef inline void interposed_outermost_exit() noexcept nogil:
    cdef PyThreadState *ts = swpy_attached_fast() if sw_process.fast_path else swpy_attached()
    if ts != NULL and swpy_has_trash(ts):
        sw_drain()


# ---- stacks that are made ----

cdef inline void interposed_made(uintptr_t base, uintptr_t top) noexcept nogil:
    cdef stackwarden_stack registered
    cdef sw_record *record
    base = (base + SW_ALIGNMENT - 1) & ~(SW_ALIGNMENT - 1)
    top = top & ~(SW_ALIGNMENT - 1)
    if not sw_process.running or base >= top:
        return
    record = find_record(top - 1)
    if record != NULL and record.top == top and record.base - base <= SW_GUARD_AT_MOST and reuse_made(record):
        return
    forget_made(base, top)
    sw_register_stack(
        base, top - base, NULL, SW_INTERPOSED_SYSTEM,
        STACKWARDEN_TRIM_GUARD | (STACKWARDEN_ISOLATION_FRAMES if sw_interposition.frames else 0), &registered)


cdef inline void forget_made(uintptr_t base, uintptr_t top) noexcept nogil:
    """Stacks that were seen to be made lay there before: what their execution states hold is given back."""
    cdef uint32_t generation
    cdef sw_record *record = find_overlap(base, top, &generation)
    while record != NULL and was_interposed(record):
        if sw_unregister_stack(handle_of(record)) < 0:
            return
        record = find_overlap(base, top, &generation)


cdef inline bint reuse_made(sw_record *record) noexcept nogil:
    """A stack is made anew on memory that has a record. False: what was there is forgotten, frames and all."""
    cdef int isolation = SW_FRAMES if sw_interposition.frames else SW_SHARED
    if record.isolation == isolation:
        if isolation == SW_SHARED or is_loaded(record):
            return True
        if sw_renew_stack(handle_of(record), NULL) == STACKWARDEN_DONE:
            return True
    sw_unregister_stack(handle_of(record))
    return False


# ---- switches ----

cdef inline void interposed_start_switch(uintptr_t to) noexcept nogil:
    cdef PyThreadState *ts = swpy_attached() if sw_process.running else NULL
    cdef sw_thread *thread
    cdef sw_record *record
    if ts == NULL and not (sw_interposition.frames and sw_process.running):
        return
    thread = this_thread()
    if thread == NULL or thread.incoming != NULL:
        return  # whoever switches has told of it already
    record = find_stack_of(thread, to)
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


cdef inline bint must_swap(const sw_thread *thread, sw_record *record) noexcept nogil:
    """Detached: does the thread leave frames of Python behind, or go to some?"""
    cdef PyThreadState *own = swpy_own()
    cdef sw_execution *execution = execution_of(thread, record)
    return own != NULL and execution is not thread.loaded and (swpy_has_frames(own) or is_suspended(execution))


cdef inline void interposed_finish_switch() noexcept nogil:
    cdef uintptr_t sp = sw_stack_pointer()
    cdef PyThreadState *ts
    cdef sw_thread *thread
    if not sw_process.running:
        return
    thread = <sw_thread *>sw_thread_local_get()
    if thread != NULL and thread.incoming != NULL:
        if not sw_interposition.frames:
            return  # whoever switches says so himself
        sw_finish_switch()
    ts = swpy_attached()
    if ts == NULL or (sw_process.fast_path and swpy_covers_fast(ts, sp)):
        return
    thread = this_thread()
    if thread != NULL:
        finish_unseen_switch(thread, ts, sp)


cdef inline void finish_unseen_switch(sw_thread *thread, PyThreadState *ts, uintptr_t sp) noexcept nogil:
    """The stack under the caller is another one than the last one told. Where its execution state belongs to it alone,
    the loaded one is suspended now; without frames it is over (uc_link: its function has returned)."""
    cdef sw_record *record = find_stack_of(thread, sp)
    cdef sw_execution *left
    if record == NULL or execution_of(thread, record) is thread.loaded or thread.incoming != NULL:
        sync_slow(sp, False)
        return
    thread = thread_to_switch(ts, False)
    left = thread.loaded
    record = find_stack_of(thread, sp)
    if record == NULL or start_switch_to(thread, ts, record, 0, False, False) != STACKWARDEN_DONE:
        sw_count(&sw_interposition.refused)
        sync_slow(sp, False)
        return
    if left is not thread.native.execution and left.isolation == SW_FRAMES \
            and swpy_state_is_idle(&left.state):
        thread.finished = left
    record.detached = False  # it may have been when it was suspended; it is attached by now
    sw_finish_switch()


# ---- the library ----

cdef inline bint connect_interposition() noexcept nogil:
    """Where the library is in the process it asks us from now on. False: it is not, or is of another version."""
    cdef sw_interpose_attach attach = <sw_interpose_attach>sw_interpose_find(SW_INTERPOSE_ATTACH)
    sw_core_hooks.entered = interposed_entered
    sw_core_hooks.go_back = interposed_go_back
    sw_core_hooks.current = interposed_current
    sw_core_hooks.is_attached = interposed_is_attached
    sw_core_hooks.outermost_exit = interposed_outermost_exit
    sw_core_hooks.made = interposed_made
    sw_core_hooks.start_switch = interposed_start_switch
    sw_core_hooks.finish_switch = interposed_finish_switch
    return attach != NULL and attach(SW_INTERPOSE_VERSION, &sw_core_hooks) == 0


cdef inline long turn_interposition(const char *way) noexcept nogil:
    """SW_INTERPOSE_ON or _OFF: the number of places that were changed; -1: there is no library."""
    cdef sw_interpose_turn turn = <sw_interpose_turn>sw_interpose_find(way)
    return turn() if turn != NULL else -1


cdef inline long suspended_by_interposition() noexcept nogil:
    """How many stacks hold frames that only another seen switch can put back."""
    cdef long found = 0
    cdef uint32_t index
    cdef sw_record *record
    for index in range(1, sw_process.records):
        record = record_at(index)
        if record.generation & 1 and record.kind == SW_REGISTERED and record.isolation == SW_FRAMES \
                and was_interposed(record) and (is_loaded(record) or is_suspended(record.execution)):
            found += 1
    return found


cdef inline bint was_interposed(const sw_record *record) noexcept nogil:
    return record.name != NULL and strcmp(record.name + strlen(record.name) + 1, SW_INTERPOSED_SYSTEM) == 0

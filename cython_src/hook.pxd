"""The switch hook: what happens when a thread goes on on another stack.

Promises: from the entry to the thread state one straight line, notify/switch_to/reset -> enter -> swpy_protect,
(and a shorter one, enter_straight, for attached threads on 3.14 and later while nobody wants callbacks), which
allocates nothing, takes no lock and makes no system call, attached or not. The first call on a thread
makes the thread's block. After Python is finalised nothing happens.

Data flows one way: system -> adapter -> hook -> record -> thread state.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc

from callbacks cimport call_callbacks, drop_callbacks_of
from execution cimport *
from guard cimport *
from policy cimport forget_policies, is_unknown, use_policy
from process cimport update_straight
from protection cimport *
from registry cimport *
from stackwarden cimport (
    STACKWARDEN_BAD_RANGE,
    STACKWARDEN_DONE,
    STACKWARDEN_ISOLATION_REQUIRED,
    STACKWARDEN_NO_MEMORY,
    STACKWARDEN_NOT_RUNNING,
    STACKWARDEN_OVERLAP,
    STACKWARDEN_STALE_HANDLE,
    STACKWARDEN_TOO_SMALL,
    STACKWARDEN_UNALIGNED,
    STACKWARDEN_UNKNOWN_STACK,
    stackwarden_status,
)
from unknown cimport *


cdef extern from "beacon/find.h" nogil:
    void sw_find_late_beacons()


cdef extern from * nogil:
    """
    #define SW_ALIGNMENT ((uintptr_t)16)
    """
    const uintptr_t SW_ALIGNMENT


cdef extern from * nogil:
    """
    /* Kept out of line: the hot paths need no registers for them. */
    static SW_NOINLINE sw_thread *sw_make_thread(void);
    static SW_NOINLINE stackwarden_status sw_notify_slowly(sw_record *record, uintptr_t base, size_t size);
    static SW_NOINLINE stackwarden_status sw_switch_slowly(sw_record *record);
    static SW_NOINLINE stackwarden_status sw_sync_slowly(uintptr_t sp, int adopts);
    static SW_NOINLINE stackwarden_status sw_enter_sync_slowly(uintptr_t sp, stackwarden_synced *former);
    """


cdef extern from "crash/crash.h" nogil:
    int sw_crash_cover_thread()


# ---- the thread's block ----

cdef inline sw_record *new_thread_record(int kind, int bounds_from, uintptr_t base, uintptr_t top) noexcept nogil:
    cdef sw_record *record = take_record()
    if record != NULL:
        set_bounds(record, kind, bounds_from, base, top)
    return record


cdef inline sw_thread *reuse_or_make_block() noexcept nogil:
    """Blocks are never given back: the list of threads may be walked without a lock. Under sw_lock()."""
    cdef sw_thread *thread = sw_process.threads
    while thread != NULL and thread.ident:
        thread = thread.next
    if thread == NULL:
        thread = <sw_thread *>calloc(1, sizeof(sw_thread))
        if thread != NULL:
            thread.next = sw_process.threads
            sw_store_pointer(&sw_process.threads, thread)
    return thread


cdef inline sw_thread *make_thread "sw_make_thread"() noexcept nogil:
    """The block of a thread that is seen for the first time; NULL: no memory."""
    cdef uintptr_t base = 0
    cdef uintptr_t top = 0
    cdef sw_thread *thread
    cdef bint known = sw_native_bounds(&base, &top) == 0
    cdef bint is_foreign = swpy_is_foreign(swpy_attached_call() if sw_process.ending else swpy_own())
    if not known:
        base = sw_stack_pointer() - sw_process.assumed_size // 2
        top = base + sw_process.assumed_size
    swpy_native_bounds(swpy_attached_call(), &base, top)
    sw_lock()
    sw_process.straight = False
    swpy_check_attached_place()
    update_straight()
    thread = reuse_or_make_block()
    if thread != NULL:
        thread.is_foreign = is_foreign
        thread.policies_seen = 0
        sw_store_pointer(
            &thread.native, new_thread_record(SW_NATIVE, SW_FROM_NATIVE if known else SW_FROM_ESTIMATE, base, top))
        thread.transient = take_record()
        thread.spare = take_record()
        thread.loaded = new_execution(SW_FRAMES)
        if thread.native == NULL or thread.transient == NULL or thread.spare == NULL or thread.loaded == NULL \
                or sw_thread_local_set(thread) != 0:
            thread = NULL
        else:
            use_policy(thread, thread.native)
            thread.loaded.status = SW_LOADED
            thread.native.execution = thread.loaded
            thread.arriving = NULL
            thread.ended = NULL
            sw_store_pointer(&thread.current, thread.native)
            swpy_forget_budgets(thread)
            thread.unannounced = 0
            thread.in_callback = 0
            thread.checked_version = 0
            sw_process.thread_serial += 1
            thread.serial = sw_process.thread_serial
            sw_store_release(&thread.ident, sw_thread_ident())
            if known:
                supersede_overlaps(thread, base, top)
    sw_unlock()
    sw_crash_cover_thread()
    return thread


cdef inline void release_thread_record(sw_record *record) noexcept nogil:
    if record.generation & 1:
        sw_store_generation(&record.generation, record.generation + 1)
    free_record(record)


cdef inline void end_executions(sw_thread *thread) noexcept nogil:
    """Of a thread that has ended: frames on its stack are gone, and what they held is leaked. Under sw_lock()."""
    cdef sw_execution *execution = thread.native.execution
    thread.loaded.status = SW_NEW
    thread.loaded.prepared = thread.loaded.holds
    if execution.holds and not swpy_state_is_idle(&execution.state):
        sw_count(&sw_process.leaked)
        execution.holds = False
    give_back_execution(execution)


cdef inline void end_thread(void *block) noexcept nogil:
    """The operating-system thread of this block has ended. Its records are given back, the block stays."""
    cdef sw_thread *thread = <sw_thread *>block
    sw_lock()
    drop_callbacks_of(thread)
    forget_policies(thread)
    end_executions(thread)
    release_thread_record(thread.native)
    release_thread_record(thread.transient)
    release_thread_record(thread.spare)
    sw_store_pointer(&thread.native, NULL)
    sw_store_pointer(&thread.current, NULL)
    thread.transient = NULL
    thread.spare = NULL
    thread.writes_detached = False
    sw_store_release(&thread.ident, 0)
    sw_unlock()


cdef inline void end_other_threads() noexcept nogil:
    """After fork, in the child: only the calling thread lives on."""
    cdef sw_thread *own = <sw_thread *>sw_thread_local_get()
    cdef sw_thread *thread = sw_process.threads
    while thread != NULL:
        if thread is not own and thread.ident:
            end_thread(thread)
        thread = thread.next
    forget_own_states(own)


cdef inline void forget_own_states(const sw_thread *own) noexcept nogil:
    """After fork, in the child: CPython deletes every thread state but the attached one."""
    cdef uint32_t index
    cdef sw_record *record
    for index in range(1, sw_process.records):
        record = record_at(index)
        if record.generation & 1 and record.isolation == SW_THREAD_STATE and record.execution.status == SW_SAVED:
            record.execution.ts = NULL
    if own != NULL and own.loaded.isolation == SW_THREAD_STATE:
        own.native.execution.ts = NULL


cdef inline sw_thread *this_thread() noexcept nogil:
    cdef sw_thread *thread = <sw_thread *>sw_thread_local_get()
    return thread if thread != NULL else make_thread()


cdef inline sw_thread *thread_on(const sw_record *record) noexcept nogil:
    """A thread on which a stack is current, or NULL. Needs no lock."""
    cdef sw_thread *thread = <sw_thread *>sw_load_pointer(&sw_process.threads)
    while thread != NULL:
        if sw_load_pointer(&thread.current) == record:
            return thread
        thread = thread.next
    return NULL


# ---- entering a stack ----

cdef inline void note_depth(sw_record *record, uintptr_t sp) noexcept nogil:
    cdef uintptr_t used = record.top - sp
    if used <= record.top - record.base and used >> 4 > record.high_water:
        record.high_water = <uint32_t>(used >> 4)


cdef inline void count_switch(sw_thread *thread, sw_record *to) noexcept nogil:
    cdef uintptr_t sp = sw_stack_pointer()
    note_depth(thread.current, sp)
    note_depth(to, sp)
    if to is not thread.current:
        sw_store_pointer(&thread.current, to)
        to.switches += 1
    to.mark = 0


cdef inline void put_in_force(PyThreadState *ts, sw_thread *thread, sw_record *to, bint adopts) noexcept nogil:
    if adopts:
        swpy_adopt(ts, thread, to)
    else:
        swpy_protect(ts, thread, to)


cdef inline void put_in_force_detached(sw_thread *thread, sw_record *to, bint adopts) noexcept nogil:
    """In the thread state that this thread is going to attach, if that is not freed already."""
    cdef PyThreadState *ts
    thread.writes_detached = True
    sw_fence_full()
    if not sw_process.ending:
        ts = swpy_own()
        if ts != NULL:
            put_in_force(ts, thread, to, adopts)
    thread.writes_detached = False


cdef inline void leave_detached_alone() noexcept nogil:
    """Python ends, and CPython is about to free the thread states of detached threads, which do not learn of it:
    from now on such threads leave them alone. Waits for those that are at it."""
    cdef sw_thread *thread
    sw_process.ending = True
    sw_fence_full()
    thread = <sw_thread *>sw_load_pointer(&sw_process.threads)
    while thread != NULL:
        while thread.writes_detached:
            sw_yield()
        thread = thread.next


cdef inline stackwarden_status enter(sw_thread *thread, sw_record *to, bint adopts=False) noexcept nogil:
    """The thread goes on on the stack of a record: count it, put its bounds in force, tell who wants to know.
    `adopts`: its counters are in force already."""
    cdef sw_record *left = thread.current
    cdef PyThreadState *ts = swpy_attached()
    count_switch(thread, to)
    if sw_process.own_policies:
        use_policy(thread, to)
    if ts != NULL:
        put_in_force(ts, thread, to, adopts)
    else:
        put_in_force_detached(thread, to, adopts)
    if to is not left and sw_process.callbacks:
        announce(thread, left)
    return STACKWARDEN_DONE


cdef inline bint enter_straight(sw_record *to) noexcept nogil:
    """enter() without a question asked, where sw_process.straight allows it. False: nothing was done."""
    cdef sw_thread *thread = <sw_thread *>sw_thread_local_straight()
    cdef PyThreadState *ts = swpy_attached_straight()
    if not SW_LIKELY(thread != NULL and ts != NULL and to.execution is thread.loaded):
        return False
    count_switch(thread, to)
    swpy_protect_straight(ts, to)
    return True


cdef inline stackwarden_status enter_told(sw_thread *thread, sw_record *to) noexcept nogil:
    """enter() for those who tell of bounds only: refused where execution state would have to go with them."""
    if to.execution is not thread.loaded:
        if to.isolation != SW_SHARED or to.kind == SW_NATIVE:
            return STACKWARDEN_ISOLATION_REQUIRED
        to.execution = thread.loaded
    return enter(thread, to)


cdef inline void note_switch(sw_thread *thread, const sw_record *left) noexcept nogil:
    """A switch that callbacks are to be told of: now, or at the next sync."""
    if not thread.unannounced:
        thread.left_handle = handle_of(left)
        thread.left_base = left.base
        thread.left_top = left.top
    thread.unannounced += 1
    thread.noted_at = sw_load_acquire(&sw_process.callback_serial)


cdef inline void announce(sw_thread *thread, const sw_record *left) noexcept nogil:
    """Have callbacks called now, when the thread is attached and on the new stack."""
    note_switch(thread, left)
    if not thread.in_callback and record_holds(thread.current, sw_stack_pointer()) and swpy_attached() != NULL:
        call_callbacks(thread)


cdef inline void enter_estimate(sw_thread *thread, uintptr_t top) noexcept nogil:
    """Of a stack that is too small to be protected its top is known, but not if the thread is on it already."""
    cdef uintptr_t base = top - sw_process.assumed_size if top > 2 * sw_process.assumed_size else SW_PAGE
    enter(thread, renew_transient(thread, SW_FROM_ESTIMATE, base, max(top, base + sw_process.assumed_size)))


cdef inline stackwarden_status enter_unknown(sw_thread *thread, uintptr_t sp) noexcept nogil:
    cdef sw_record *record = unknown_record(thread, sp)
    enter(thread, record)
    meet_first_stack()
    return STACKWARDEN_DONE if record.bounds_from == SW_FROM_MAP else STACKWARDEN_UNKNOWN_STACK


# ---- telling ----

cdef inline void meet_first_stack() noexcept nogil:
    """What comes with the first foreign stack. May run Python: hold no lock."""
    if sw_process.foreign_seen and not sw_process.first_met:
        sw_process.first_met = swpy_first_foreign_stack()


cdef inline stackwarden_status check_range(uintptr_t base, size_t size) noexcept nogil:
    if base == 0 or size == 0 or base + size < base or (base + size) >> SW_ADDRESS_BITS:
        return STACKWARDEN_BAD_RANGE
    if (base | size) & (SW_ALIGNMENT - 1):
        return STACKWARDEN_UNALIGNED
    return STACKWARDEN_DONE


cdef inline stackwarden_status supersede_overlaps(sw_thread *own, uintptr_t base, uintptr_t top) noexcept nogil:
    """Records that overlap a new range and are current on no (other) thread give way; one that is current is an
    error, and nothing gives way then. Needs no lock."""
    cdef sw_thread *thread = <sw_thread *>sw_load_pointer(&sw_process.threads)
    cdef sw_record *record
    cdef uint32_t generation
    cdef bint isolated
    while thread != NULL:
        if thread is not own and sw_load_acquire(&thread.ident) and overlaps_thread(thread, base, top):
            return STACKWARDEN_OVERLAP
        thread = thread.next
    while True:
        record = find_overlap(base, top, &generation)
        if record == NULL:
            return STACKWARDEN_DONE
        isolated = record.isolation != SW_SHARED
        if retire_record(record, generation):
            sw_count(&sw_process.superseded)
            if isolated:
                sw_count(&sw_process.leaked)


cdef inline void retire_transients(uintptr_t base, uintptr_t top) noexcept nogil:
    """Unregistered stacks that overlap a new one, and were left, give way too. Under sw_lock()."""
    cdef sw_thread *thread = sw_process.threads
    while thread != NULL:
        if thread.ident:
            retire_transient(thread, thread.transient, base, top)
            retire_transient(thread, thread.spare, base, top)
        thread = thread.next


cdef inline void retire_transient(
        const sw_thread *thread, sw_record *record, uintptr_t base, uintptr_t top) noexcept nogil:
    cdef uint32_t generation = sw_load_generation(&record.generation)
    if generation & 1 and record is not sw_load_pointer(&thread.current) \
            and sw_load_acquire(<uint64_t *>&record.base) < top \
            and base < sw_load_acquire(<uint64_t *>&record.top):
        sw_generation_advance(record, generation)


cdef inline bint overlaps_thread(const sw_thread *thread, uintptr_t base, uintptr_t top) noexcept nogil:
    """Does a range overlap the native stack of a thread, or the stack that is current there?"""
    return overlaps_record(<sw_record *>sw_load_pointer(&thread.native), base, top) \
        or overlaps_record(<sw_record *>sw_load_pointer(&thread.current), base, top)


cdef inline bint overlaps_record(sw_record *record, uintptr_t base, uintptr_t top) noexcept nogil:
    """Estimates overlap nothing: their tops are odd."""
    cdef uint32_t generation
    cdef uintptr_t other_base, other_top
    while record != NULL:
        generation = sw_load_generation(&record.generation)
        other_base = sw_load_acquire(<uint64_t *>&record.base)
        other_top = sw_load_acquire(<uint64_t *>&record.top)
        sw_fence_acquire()
        if sw_load_generation(&record.generation) == generation:
            return generation & 1 and not other_top & 1 and other_base < top and base < other_top
    return False


cdef inline bint is_range(const sw_record *record, uintptr_t base, uintptr_t top) noexcept nogil:
    return record.base == base and record.top == top and record.generation & 1


cdef inline stackwarden_status notify_transient(sw_thread *thread, uintptr_t base, uintptr_t top) noexcept nogil:
    cdef stackwarden_status status
    if thread.checked_version == sw_load_acquire(&sw_process.version):
        if is_range(thread.transient, base, top):
            return enter_told(thread, thread.transient)
        if is_range(thread.spare, base, top):
            thread.transient, thread.spare = thread.spare, thread.transient
            return enter_told(thread, thread.transient)
    if overlaps_record(thread.native, base, top):
        return STACKWARDEN_OVERLAP
    status = supersede_overlaps(thread, base, top)
    if status == STACKWARDEN_DONE:
        status = enter_told(thread, renew_transient(thread, SW_FROM_TOLD, base, top))
        meet_first_stack()
    return status


cdef inline stackwarden_status sw_notify_stack_switch(uintptr_t base, size_t size) noexcept nogil:
    cdef sw_record *record = find_record(base)
    if record != NULL and record.base == base and record.top == base + size \
            and SW_LIKELY(sw_process.straight) and enter_straight(record):
        return STACKWARDEN_DONE
    return notify_slowly(record, base, size)


cdef inline stackwarden_status notify_slowly "sw_notify_slowly"(
        sw_record *record, uintptr_t base, size_t size) noexcept nogil:
    cdef sw_thread *thread
    cdef stackwarden_status status = check_range(base, size)
    if status != STACKWARDEN_DONE:
        return status
    if not sw_process.running:
        return STACKWARDEN_NOT_RUNNING
    thread = this_thread()
    if thread == NULL:
        return STACKWARDEN_NO_MEMORY
    if record == NULL or record.base != base or record.top != base + size:
        record = thread.native
    if record.base == base and record.top == base + size:
        return enter_told(thread, record)
    if size < sw_process.least_size:
        enter_estimate(thread, base + size)
        return STACKWARDEN_TOO_SMALL
    return notify_transient(thread, base, base + size)


cdef inline stackwarden_status sw_switch_to(sw_handle handle) noexcept nogil:
    cdef sw_record *record = record_of(handle)
    if SW_LIKELY(record != NULL and sw_process.straight) and enter_straight(record):
        return STACKWARDEN_DONE
    return switch_slowly(record)


cdef inline stackwarden_status switch_slowly "sw_switch_slowly"(sw_record *record) noexcept nogil:
    cdef sw_thread *thread
    if not sw_process.running:
        return STACKWARDEN_NOT_RUNNING
    if record == NULL:
        return STACKWARDEN_STALE_HANDLE
    thread = this_thread()
    return enter_told(thread, record) if thread != NULL else STACKWARDEN_NO_MEMORY


cdef inline stackwarden_status sw_reset_stack() noexcept nogil:
    cdef sw_thread *thread
    if not sw_process.running:
        return STACKWARDEN_NOT_RUNNING
    thread = this_thread()
    if thread == NULL:
        return STACKWARDEN_NO_MEMORY
    return enter_told(thread, thread.native)


# ---- finding out ----

cdef inline sw_record *find_stack_of(sw_thread *thread, uintptr_t sp) noexcept nogil:
    """The record of the stack that holds an address: the one told, a registered one, the native one, or NULL."""
    cdef sw_record *record = thread.current
    if not is_unknown(record) and record_holds(record, sp):
        return record
    record = find_record(sp)
    if record == NULL and record_holds(thread.native, sp):
        record = thread.native
    return record


cdef inline stackwarden_status sw_sync_stack() noexcept nogil:
    return sync(sw_stack_pointer(), False)


cdef inline stackwarden_status sw_adopt_stack() noexcept nogil:
    return sync(sw_stack_pointer(), True)


cdef inline bint is_right(uintptr_t sp) noexcept nogil:
    """Attached, with the bounds of the stack at `sp` in force? False too where only the long way can tell."""
    cdef PyThreadState *ts
    if not SW_LIKELY(sw_process.straight):
        return False
    ts = swpy_attached_straight()
    return SW_LIKELY(ts != NULL and swpy_covers_straight(ts, sp))


cdef inline stackwarden_status sync(uintptr_t sp, bint adopts) noexcept nogil:
    return STACKWARDEN_DONE if SW_LIKELY(is_right(sp)) else sync_slowly(sp, adopts)


cdef inline void load_held(sw_execution *execution, PyThreadState *ts) noexcept nogil:
    """A thread state that was made on a stack which was gone to without one: it gets the stack's context."""
    if execution.isolation == SW_FRAMES and swpy_is_pristine(ts):
        swpy_state_load(ts, &execution.state)
        execution.holds = False


cdef inline stackwarden_status enter_here(
        sw_thread *thread, PyThreadState *ts, uintptr_t sp, bint adopts) noexcept nogil:
    """Enter the stack that holds the stack pointer, whatever the thread was told last."""
    cdef sw_record *record
    if ts != NULL and thread.loaded.holds:
        load_held(thread.loaded, ts)
    thread.policies_seen = sw_process.policy_serial
    record = find_stack_of(thread, sp)
    if record == NULL:
        sw_find_late_beacons()
        return enter_unknown(thread, sp)
    swpy_lift_budget(record, sp)
    return enter(thread, record, adopts)


cdef inline stackwarden_status sync_slowly "sw_sync_slowly"(uintptr_t sp, bint adopts) noexcept nogil:
    cdef PyThreadState *ts
    cdef sw_thread *thread
    cdef stackwarden_status status = STACKWARDEN_DONE
    if not sw_process.running:
        return STACKWARDEN_NOT_RUNNING
    ts = swpy_attached()
    thread = this_thread()
    if thread == NULL:
        return STACKWARDEN_NO_MEMORY
    if ts == NULL or thread.policies_seen != sw_process.policy_serial or not swpy_covers(ts, thread, sp) \
            or not record_holds(thread.current, sp):
        status = enter_here(thread, ts, sp, adopts)
    if thread.unannounced and sw_process.callbacks and ts != NULL and not thread.in_callback:
        call_callbacks(thread)
    return status

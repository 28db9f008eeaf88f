"""Thread blocks: from the first call on a thread to its end; after a fork; during the finalization of Python.

Promises: memory of blocks is never given back, so the list of threads may be walked without a lock.
"""

from libc.stdint cimport uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc

from records.execution cimport *
from records.ends cimport end_record, sweep_retired
from records.executions cimport end_execution, new_execution
from records.fast_path cimport update_fast_path
from records.guard cimport *
from records.overlaps cimport supersede_overlaps
from records.policy cimport forget_policies, use_policy
from records.protection cimport *
from records.records cimport (
    begin_record,
    has_free_records,
    new_thread_record,
    record_at,
    set_bounds,
    stale_handles,
    take_record,
    why_no_records,
)
from records.requests cimport end_requests
from stackwarden cimport STACKWARDEN_INTERRUPTED, STACKWARDEN_NOT_RUNNING, stackwarden_status
from switching.callbacks cimport end_callbacks_of


cdef extern from * nogil:
    """
    #define SW_RECORDS_OF_A_THREAD 3 /* native, transient, spare */

    /* Kept out of line: the hot paths need no registers for them. */
    static SW_NOINLINE sw_thread *sw_make_thread(void);
    static SW_NOINLINE stackwarden_status sw_why_refused(int records);
    """
    enum:
        SW_RECORDS_OF_A_THREAD


cdef extern from "crash/crash.h" nogil:
    int sw_crash_cover_thread()


cdef inline sw_thread *reuse_or_make_block() noexcept nogil:
    """The block of a thread that has ended, or a new one; NULL: no memory. Under sw_lock()."""
    cdef sw_thread *thread = sw_process.threads
    while thread != NULL and thread.ident:
        thread = thread.next
    if thread == NULL:
        thread = <sw_thread *>calloc(1, sizeof(sw_thread))
        if thread != NULL:
            thread.next = sw_process.threads
            sw_store_pointer(&sw_process.threads, thread)
    return thread


cdef inline bint find_native_bounds(uintptr_t *base, uintptr_t *top) noexcept nogil:
    """The bounds of the calling thread's native stack. False: the operating system does not say, and they are an
    estimate."""
    cdef bint known = sw_native_bounds(base, top) == 0
    if not known:
        base[0] = sw_stack_pointer() - sw_process.assumed_size // 2
        top[0] = base[0] + sw_process.assumed_size
    swpy_native_bounds(swpy_attached_call(), base, top[0])
    return known


cdef inline bint fill_block(sw_thread *thread, int bounds_from, uintptr_t base, uintptr_t top) noexcept nogil:
    """Give a block its records and its execution state. False: the registry is full, or there is no memory; what
    was taken end_block() gives back. Under sw_lock()."""
    sw_process.thread_serial += 1
    thread.serial = sw_process.thread_serial
    if not has_free_records(SW_RECORDS_OF_A_THREAD):
        return False
    thread.loaded = new_execution(SW_FRAMES)
    sw_store_pointer(&thread.native, new_thread_record(SW_NATIVE, bounds_from, base, top))
    thread.transient = take_record()
    thread.spare = take_record()
    if thread.loaded == NULL or thread.native == NULL or thread.transient == NULL or thread.spare == NULL:
        return False
    thread.native.execution = thread.loaded
    return True


cdef inline bint begin_thread(sw_thread *thread) noexcept nogil:
    """The calling thread has the block, is on its native stack, and has told nothing yet. False: no memory. It
    gets the block last: a signal handler finds it whole. Under sw_lock()."""
    use_policy(thread, thread.native)
    thread.loaded.status = SW_LOADED
    thread.incoming = NULL
    thread.finished = NULL
    sw_store_pointer(&thread.current, thread.native)
    swpy_forget_counters(thread)
    thread.pending_switches = 0
    thread.checked_version = 0
    sw_store_release(&thread.ident, sw_thread_ident())
    return sw_thread_local_set(thread) == 0


cdef inline sw_thread *give_block(bint is_foreign, int bounds_from, uintptr_t base, uintptr_t top) noexcept nogil:
    """The block of the calling thread, which has none; NULL: the registry is full, or there is no memory. Under
    sw_lock()."""
    cdef sw_thread *thread = reuse_or_make_block()
    if thread == NULL:
        return NULL
    thread.is_foreign = is_foreign
    thread.policies_seen = 0
    if not fill_block(thread, bounds_from, base, top) or not begin_thread(thread):
        end_block(thread)
        return NULL
    return thread


cdef inline sw_thread *make_thread "sw_make_thread"() noexcept nogil:
    """The block of a thread that is seen for the first time; NULL: why_no_block(). The next call tries again."""
    cdef uintptr_t base = 0
    cdef uintptr_t top = 0
    cdef sw_thread *thread
    cdef bint is_foreign = swpy_is_foreign(swpy_attached_call() if sw_process.finalizing else swpy_own())
    cdef bint known = find_native_bounds(&base, &top)
    if not sw_lock():
        return NULL
    thread = <sw_thread *>sw_thread_local_get()
    if thread == NULL:  # no signal handler came before
        sw_process.fast_path = False
        swpy_check_attached_place()
        update_fast_path()
        sweep_retired()
        thread = give_block(is_foreign, SW_FROM_NATIVE if known else SW_FROM_ESTIMATE, base, top)
        if thread != NULL and known:
            supersede_overlaps(thread, base, top)
    sw_unlock()
    sw_crash_cover_thread()
    return thread


cdef inline void end_native_execution(sw_thread *thread) noexcept nogil:
    """The native stack is gone, and so are the frames that were suspended there. Under sw_lock()."""
    cdef sw_execution *execution = thread.native.execution if thread.native != NULL else NULL
    if thread.loaded != NULL:
        thread.loaded.status = SW_READY if thread.loaded.holds else SW_IDLE
    if execution == NULL:
        execution = thread.loaded  # fill_block() has failed
    if execution != NULL:
        end_execution(execution)
    thread.loaded = NULL


cdef inline void end_block(sw_thread *thread) noexcept nogil:
    """Free all that a block has, whoever asks: the end of its thread, a fork, a block that could not be filled. It
    stays, for another thread. Under sw_lock()."""
    end_callbacks_of(thread)
    forget_policies(thread)
    end_requests(&thread.blocks)
    end_native_execution(thread)
    end_record(thread.native)
    end_record(thread.transient)
    end_record(thread.spare)
    sw_store_pointer(&thread.native, NULL)
    sw_store_pointer(&thread.current, NULL)
    thread.transient = NULL
    thread.spare = NULL
    thread.writes_detached = False
    sw_store_release(&thread.ident, 0)
    sw_count(&sw_process.ended_threads)


cdef inline void end_thread(void *block) noexcept nogil:
    """The operating-system thread has ended."""
    if not sw_lock():
        return
    end_block(<sw_thread *>block)
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
    """After fork, in the child: CPython has deleted every thread state but the attached one."""
    cdef uint32_t index
    cdef sw_record *record
    for index in range(1, sw_process.records):
        record = record_at(index)
        if record.generation & 1 and record.isolation == SW_THREAD_STATE \
                and record.execution.status == SW_SUSPENDED:
            record.execution.ts = NULL
    if own != NULL and own.loaded.isolation == SW_THREAD_STATE:
        own.native.execution.ts = NULL


cdef inline sw_thread *this_thread() noexcept nogil:
    """The block of the calling thread, made at its first call; NULL: why_no_block()."""
    cdef sw_thread *thread = <sw_thread *>sw_thread_local_get()
    return thread if thread != NULL else make_thread()


cdef inline sw_thread *running_thread() noexcept nogil:
    """The same, but NULL too where Python is not running."""
    return this_thread() if sw_process.running else NULL


cdef inline stackwarden_status why_no_block() noexcept nogil:
    """The status of a call on a thread that got no block: NOT_RUNNING, INTERRUPTED, FULL or NO_MEMORY."""
    return why_refused(SW_RECORDS_OF_A_THREAD) if sw_process.running else STACKWARDEN_NOT_RUNNING


cdef inline stackwarden_status why_refused "sw_why_refused"(int records) noexcept nogil:
    """The status of a call that got neither the lock nor, under it, so many records and memory for them."""
    cdef stackwarden_status status
    if not sw_lock():
        return STACKWARDEN_INTERRUPTED
    status = why_no_records(records)
    sw_unlock()
    return status


cdef inline sw_thread *thread_with_serial(uint64_t serial) noexcept nogil:
    """The thread with a serial; NULL: it has ended, or the serial is 0. Under sw_lock()."""
    cdef sw_thread *thread = <sw_thread *>sw_load_pointer(&sw_process.threads)
    while serial and thread != NULL and (thread.serial != serial or not thread.ident):
        thread = thread.next
    return thread if serial else NULL


cdef inline sw_thread *thread_on(const sw_record *record) noexcept nogil:
    """The thread on which a stack is current, or NULL. Needs no lock."""
    cdef sw_thread *thread = <sw_thread *>sw_load_pointer(&sw_process.threads)
    while thread != NULL:
        if sw_load_pointer(&thread.current) == record:
            return thread
        thread = thread.next
    return NULL


cdef inline sw_record *renew_transient(
        sw_thread *thread, int bounds_from, uintptr_t base, uintptr_t top) noexcept nogil:
    """Use the transient record that is not current for a new range; its former handles go stale. The top of an
    unknown stack is odd: unknown.pxd."""
    cdef sw_record *record = thread.transient
    if thread.current is record:
        record = thread.spare
        thread.spare = thread.transient
        thread.transient = record
    stale_handles(record)
    set_bounds(record, SW_TRANSIENT, bounds_from, base, top | (bounds_from >= SW_FROM_MAP))
    begin_record(record)
    use_policy(thread, record)
    record.execution = NULL
    sw_count(&sw_process.version)
    thread.checked_version = sw_load_acquire(&sw_process.version)
    return record


cdef inline void stop_detached_writes() noexcept nogil:
    """Python is finalized, and CPython is about to free the thread states of other threads, which do not learn of
    it: from now on no detached thread writes to its own, and those that are writing are waited for."""
    cdef sw_thread *thread
    sw_process.finalizing = True
    sw_fence_full()
    thread = <sw_thread *>sw_load_pointer(&sw_process.threads)
    while thread != NULL:
        while thread.writes_detached:
            sw_yield()
        thread = thread.next

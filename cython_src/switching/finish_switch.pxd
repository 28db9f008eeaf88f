"""The end of a switch in the middle of Python, on the stack that is resumed or begins.

Promises: nothing is refused: start_switch() has checked the target. First the execution state, then the bounds,
and last what may run Python: the release of what has ended, and switch callbacks. Does nothing where no switch was
started.
"""

from cpython.object cimport PyObject
from libc.stdint cimport uintptr_t

from records.execution cimport *
from records.executions cimport forget_callback, has_not_begun, release_execution
from records.guard cimport *
from records.policy cimport use_policy
from records.protection cimport *
from records.records cimport record_holds
from stackwarden cimport STACKWARDEN_DONE, STACKWARDEN_NOT_RUNNING, stackwarden_status
from switching.callbacks cimport call_callbacks, callback_of
from switching.evidence cimport correct_current
from switching.threads cimport this_thread


cdef extern from * nogil:
    """
    /* Kept out of line: the hot paths need no registers for them. */
    static SW_NOINLINE stackwarden_status sw_finish_switch_slow(uintptr_t sp);
    """


cdef inline bint is_stale(const sw_thread *thread, const sw_execution *execution, uintptr_t sp) noexcept nogil:
    """Is this a new coroutine on memory in which the execution state's coroutine was suspended? That one is
    resumed where it was suspended, give or take a few frames; a new one begins near where the former one began
    (test_memory_used_anew_starts_from_nothing, test_a_fiber_that_is_resumed_is_not_taken_for_a_new_one)."""
    return execution.status == SW_SUSPENDED and thread.current.kind != SW_NATIVE and sp > execution.suspended_at \
        and record_holds(thread.current, execution.suspended_at) \
        and record_holds(thread.current, execution.entered_at) \
        and (sp >= execution.entered_at or execution.entered_at - sp < sp - execution.suspended_at)


cdef inline void drop_stale(sw_execution *execution, PyThreadState *ts) noexcept nogil:
    """Leak what the former coroutine holds: nobody can unwind its frames. The execution state begins again, with
    the kind of context that its stack was registered with."""
    cdef PyObject *context
    sw_count(&sw_process.dropped)
    swpy_state_clear(&execution.state)
    forget_callback(execution)
    execution.status = SW_IDLE
    execution.holds = False
    if ts == NULL:
        return
    context = PyContext_New() if execution.empty_context else PyContext_CopyCurrent()
    if execution.isolation == SW_THREAD_STATE and context != NULL:
        execution.ts = swpy_make_own(ts, context)
    else:
        execution.state.context = context
        execution.holds = True
    PyErr_Clear()


cdef inline bint begins_here(
        sw_thread *thread, PyThreadState *ts, sw_execution *execution, uintptr_t sp) noexcept nogil:
    """Does the execution state begin with this switch? A stale one does, too."""
    if is_stale(thread, execution, sp):
        drop_stale(execution, ts)
        thread.current.depth_used = 0
    if not has_not_begun(execution):
        return False
    execution.entered_at = sp
    return True


cdef inline PyThreadState *load_execution(
        sw_thread *thread, PyThreadState *ts, sw_execution *execution) noexcept nogil:
    """Load an execution state: attach its own thread state, or swap its frames into the thread's. Returns the
    thread state that is attached now, or NULL."""
    cdef PyThreadState *home = ts
    if execution.isolation == SW_THREAD_STATE:
        home = execution.ts
    elif thread.loaded.isolation == SW_THREAD_STATE:
        home = thread.native.execution.ts
    if home is not ts:
        PyThreadState_Swap(home)
    if execution.isolation == SW_FRAMES and home != NULL:
        swpy_state_load(home, &execution.state)
        execution.holds = False
    elif execution.isolation == SW_THREAD_STATE:
        swpy_shared_load(&execution.state)
        thread.own_counter = &execution.counter
    execution.status = SW_LOADED
    thread.loaded = execution
    return home


cdef inline void release_finished(sw_thread *thread) noexcept nogil:
    """Release the execution state that ended with this switch. May run Python."""
    cdef sw_execution *finished = thread.finished
    thread.finished = NULL
    finished.status = SW_IDLE
    finished.frame_tag = 0
    release_execution(finished)


cdef inline void complete_switch(sw_thread *thread) noexcept nogil:
    """What may run Python, once all is in place; last the detaching, where the stack was suspended detached.
    Python may switch, and this stack be resumed on another thread (test_it_may_go_on_on_another_thread)."""
    cdef bint detached = thread.current.detached
    if thread.finished != NULL:
        release_finished(thread)
        thread = this_thread()
    if sw_process.callbacks and thread.pending_switches and callback_of(thread.loaded) == NULL \
            and record_holds(thread.current, sw_stack_pointer()):
        call_callbacks(thread)
    if detached:
        PyEval_SaveThread()


cdef inline bint finish_switch_fast(uintptr_t sp) noexcept nogil:
    """The fast path: a suspended coroutine is resumed, and nothing is to be released. False: nothing was done."""
    cdef sw_thread *thread
    cdef PyThreadState *ts
    cdef sw_execution *execution
    if not SW_LIKELY(sw_process.fast_path):
        return False
    thread = <sw_thread *>sw_thread_local_fast()
    ts = swpy_attached_fast()
    if thread == NULL or ts == NULL or thread.incoming == NULL:
        return False
    execution = thread.incoming
    if not SW_LIKELY(
            execution.status == SW_SUSPENDED and execution.isolation == SW_FRAMES and sp <= execution.suspended_at
            and thread.loaded.isolation == SW_FRAMES and thread.finished == NULL and not thread.current.detached):
        return False
    thread.incoming = NULL
    thread.loaded = execution
    swpy_state_load(ts, &execution.state)
    execution.holds = False
    execution.status = SW_LOADED
    swpy_protect_fast(ts, thread.current)
    return True


cdef inline stackwarden_status sw_finish_switch() noexcept nogil:
    cdef uintptr_t sp = sw_callers_stack_pointer()
    return STACKWARDEN_DONE if SW_LIKELY(finish_switch_fast(sp)) else finish_switch_slow(sp)


cdef inline stackwarden_status finish_switch_slow "sw_finish_switch_slow"(uintptr_t sp) noexcept nogil:
    """The slow path: any stack, any isolation."""
    cdef PyThreadState *ts
    cdef sw_thread *thread
    cdef sw_execution *execution
    cdef bint begins = False
    if not sw_process.running:
        return STACKWARDEN_NOT_RUNNING
    thread = <sw_thread *>sw_thread_local_get()
    if thread == NULL or thread.incoming == NULL:
        return STACKWARDEN_DONE
    ts = swpy_attached()
    execution = thread.incoming
    thread.incoming = NULL
    if execution is not thread.loaded:
        begins = begins_here(thread, ts, execution, sp)
        ts = load_execution(thread, ts, execution)
    correct_current(thread, sp)
    if sw_process.own_policies:
        use_policy(thread, thread.current)
    if ts != NULL:
        if SW_LIKELY(execution.isolation == SW_FRAMES):
            swpy_protect(ts, thread, thread.current)
        else:
            swpy_protect_own(ts, thread, thread.current, &execution.counter, begins)
        if not SW_LIKELY(thread.finished == NULL and sw_process.callbacks == 0 and not thread.current.detached):
            complete_switch(thread)
    return STACKWARDEN_DONE

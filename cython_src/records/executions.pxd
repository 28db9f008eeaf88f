"""The life of an execution state, from its making to its release or its loss. The drawing is in execution.h.

Promises: what an execution state owns is released by an attached thread, or leaked and counted where nobody can
unwind its frames any more.
"""

from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc

from records.execution cimport *
from records.guard cimport *
from records.protection cimport *
from records.records cimport record_of
from records.requests cimport end_requests
from stackwarden cimport (
    STACKWARDEN_DETACHED,
    STACKWARDEN_DONE,
    STACKWARDEN_INTERRUPTED,
    STACKWARDEN_IN_USE,
    STACKWARDEN_NO_ISOLATION,
    STACKWARDEN_NO_MEMORY,
    STACKWARDEN_STALE_HANDLE,
    stackwarden_handle,
    stackwarden_status,
)


cdef inline void forget_callback(sw_execution *execution) noexcept nogil:
    """What ran in it is gone, a switch callback perhaps with it."""
    execution.callback_runs = (execution.callback_runs + 1) & ~<uint32_t>1
    execution.callback_in = NULL


# ---- memory: under sw_lock() ----

cdef inline sw_execution *new_execution(int isolation) noexcept nogil:
    """A free execution state, or a new one; NULL: no memory. Under sw_lock()."""
    global sw_free_executions
    cdef sw_execution *execution = sw_free_executions
    if execution != NULL:
        sw_free_executions = <sw_execution *>execution.ts
    else:
        execution = <sw_execution *>calloc(1, sizeof(sw_execution))
    if execution != NULL:
        swpy_state_clear(&execution.state)
        execution.isolation = isolation
        execution.status = SW_IDLE
        execution.ts = NULL
        execution.ts_id = 0
        execution.suspended_at = 0
        execution.frame_tag = 0
        execution.holds = False
        forget_callback(execution)
    return execution


cdef inline void take_orphan() noexcept nogil:
    """Remove the first from the list of orphans. Under sw_lock()."""
    global sw_orphaned_executions
    sw_orphaned_executions = <sw_execution *><uintptr_t>sw_orphaned_executions.ts_id


cdef inline void free_execution(sw_execution *execution) noexcept nogil:
    """For end_execution() and release_orphans() alone. Under sw_lock()."""
    global sw_free_executions
    execution.status = SW_IDLE
    execution.frame_tag = 0
    execution.ts = <PyThreadState *>sw_free_executions
    sw_free_executions = execution


# ---- a stack's own execution state ----

cdef inline bint isolate(sw_record *record, int isolation, bint empty_context) noexcept nogil:
    """Give a new record an execution state of its own. False: no memory."""
    record.execution = new_execution(isolation)
    if record.execution == NULL:
        return False
    record.isolation = isolation
    record.execution.empty_context = empty_context
    return True


cdef inline bint has_not_begun(const sw_execution *execution) noexcept nogil:
    return execution.status == SW_IDLE or execution.status == SW_READY


cdef inline bint is_suspended(const sw_execution *execution) noexcept nogil:
    return execution.status == SW_SUSPENDED and (
        execution.isolation == SW_THREAD_STATE or not swpy_state_is_idle(&execution.state))


cdef inline bint is_loaded(const sw_record *record) noexcept nogil:
    """Does the stack run, perhaps below a nested call on another one?"""
    return record.isolation != SW_SHARED and record.execution.status == SW_LOADED


cdef inline void join_chain(const sw_thread *thread, sw_record *to) noexcept nogil:
    """A stack without isolation joins the chain of the current one. Where another chain was suspended on it,
    either its memory is used anew, or one of the two is not on it: settle_contest()."""
    if to.execution is not thread.loaded:
        if to.frame_tag:
            to.contested = True
        to.execution = thread.loaded


cdef inline void forget_finished(const sw_execution *execution) noexcept nogil:
    """Between start_switch() and finish_switch() a destructor may unregister or renew the stack that has ended."""
    cdef sw_thread *thread = <sw_thread *>sw_thread_local_get()
    if thread != NULL and thread.finished is execution:
        thread.finished = NULL


cdef inline void release_execution(sw_execution *execution) noexcept nogil:
    """Release what an execution state without frames owns. Requires: attached. It is as new before any destructor
    runs: that may begin it again."""
    cdef swpy_state state = execution.state
    cdef bint holds = execution.holds
    cdef PyThreadState *own = execution.ts if execution.isolation == SW_THREAD_STATE \
        and execution.status != SW_LOADED else NULL
    forget_finished(execution)
    execution.ts = NULL
    execution.holds = False
    swpy_state_clear(&execution.state)
    if own != NULL:
        swpy_end_own(own)
    if holds:
        swpy_state_release(&state)


cdef inline void end_budgets(PyThreadState *ts, sw_record *record) noexcept nogil:
    """Budgets of blocks that outlive what ran on a stack end with it
    (test_a_budget_that_outlives_a_coroutine_is_not_the_next_ones)."""
    cdef sw_record_cold *cold = sw_cold_of(record)
    if cold.budgets != NULL:
        if not sw_lock():
            return
        end_requests(&cold.budgets)
        sw_unlock()
        swpy_apply_budgets(ts, <sw_thread *>sw_thread_local_get(), record)


cdef inline stackwarden_status sw_renew_stack(stackwarden_handle handle, PyObject *context) noexcept nogil:
    """IDLE or READY becomes READY, with `context` or, for NULL, the one that the stack was registered for."""
    cdef sw_record *record = record_of(handle)
    cdef PyThreadState *ts = swpy_attached() if sw_process.running else NULL
    if ts == NULL:
        return STACKWARDEN_DETACHED
    if record == NULL:
        return STACKWARDEN_STALE_HANDLE
    if record.isolation == SW_SHARED:
        return STACKWARDEN_NO_ISOLATION
    if record.execution.status == SW_LOADED or is_suspended(record.execution):
        return STACKWARDEN_IN_USE
    if sw_holds_lock():
        return STACKWARDEN_INTERRUPTED
    release_orphans()
    release_execution(record.execution)
    end_budgets(ts, record)
    if context != NULL:
        Py_XINCREF(context)
    else:
        context = PyContext_New() if record.execution.empty_context else PyContext_CopyCurrent()
    if context == NULL:
        PyErr_Clear()
        return STACKWARDEN_NO_MEMORY
    swpy_check_asyncio(ts)
    record.execution.status = SW_READY
    record.frame_tag = 0
    record.execution.suspended_at = 0
    record.execution.state.context = context
    record.execution.holds = True
    return STACKWARDEN_DONE


# ---- the end of an execution state ----

cdef inline bint is_lost(const sw_execution *execution) noexcept nogil:
    """Does it hold frames, or run? Then nobody can unwind them once its stack is gone."""
    return execution.status == SW_LOADED or is_suspended(execution) \
        or (execution.holds and not swpy_state_is_idle(&execution.state))


cdef inline void end_execution(sw_execution *execution) noexcept nogil:
    """The end of an execution state, whoever asks: it is free; or, while it owns something that only an attached
    thread can release, an orphan; or leaked, and counted. Under sw_lock()."""
    global sw_orphaned_executions
    if is_lost(execution):
        sw_count(&sw_process.leaked)
        return
    forget_finished(execution)
    if execution.holds or (execution.isolation == SW_THREAD_STATE and execution.ts != NULL):
        execution.ts_id = <uint64_t><uintptr_t>sw_orphaned_executions
        sw_orphaned_executions = execution
    else:
        free_execution(execution)


cdef inline void release_orphans() noexcept nogil:
    """Release and free the orphans. Requires: attached; may run Python. Where there are none it takes no lock."""
    cdef sw_execution *execution
    while sw_orphaned_executions != NULL:
        if not sw_lock():
            return
        execution = sw_orphaned_executions
        if execution != NULL:
            take_orphan()
        sw_unlock()
        if execution == NULL:
            return
        release_execution(execution)
        if not sw_lock():
            return
        free_execution(execution)
        sw_unlock()

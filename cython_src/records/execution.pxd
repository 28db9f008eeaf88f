"""Execution states as Cython sees them: cpython/state.h explains what they hold, execution.h who owns them."""

from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint32_t, uint64_t, uintptr_t

cdef extern from "Python.h":
    ctypedef struct PyThreadState

cdef extern from "records/execution.h" nogil:
    enum:
        SW_IDLE
        SW_READY
        SW_LOADED
        SW_SUSPENDED
        SW_THREAD_STATE

    ctypedef struct sw_counter:
        pass

    ctypedef struct swpy_state:
        PyObject *context

    ctypedef struct sw_execution:
        swpy_state state
        PyThreadState *ts
        sw_counter counter
        uint64_t ts_id
        uintptr_t entered_at
        uintptr_t suspended_at
        uint32_t frame_tag
        uint32_t callback_runs
        uint32_t callback_seen
        sw_execution *callback_in
        uint8_t status
        uint8_t isolation
        uint8_t holds
        uint8_t empty_context

    sw_execution *sw_free_executions
    sw_execution *sw_orphaned_executions

    uintptr_t sw_callers_stack_pointer()
    void swpy_state_clear(swpy_state *state)
    void swpy_state_save(PyThreadState *ts, swpy_state *state)
    void swpy_state_load(PyThreadState *ts, swpy_state *state)
    void swpy_state_release(swpy_state *state)
    bint swpy_state_is_idle(const swpy_state *state)
    bint swpy_has_frames(PyThreadState *ts)
    bint swpy_is_pristine(PyThreadState *ts)
    void swpy_shared_save(swpy_state *state)
    void swpy_shared_load(swpy_state *state)
    uint32_t swpy_frame_tag(PyThreadState *ts)
    bint swpy_state_is_checked(PyThreadState *ts)
    void swpy_check_asyncio(PyThreadState *ts)
    bint swpy_has_trash(PyThreadState *ts)
    void swpy_drain_trashcan(PyThreadState *ts)
    bint SWPY_HAS_OWN_STATES
    PyThreadState *swpy_make_own(PyThreadState *creator, PyObject *context)
    void swpy_end_own(PyThreadState *own)
    void swpy_stop_tracing(PyThreadState *own)
    bint swpy_is_finalizing()

cdef extern from "records/execution.h":
    void *PyThreadState_GetFrame(PyThreadState *ts)
    const char *swpy_state_start()
    bint swpy_trashcan_start()
    PyObject *swpy_state_frame(PyThreadState *ts, swpy_state *state)

cdef extern from "Python.h" nogil:
    PyObject *PyContext_CopyCurrent()
    PyObject *PyContext_New()
    PyThreadState *PyThreadState_Swap(PyThreadState *ts)
    uint64_t swpy_id(PyThreadState *ts)
    PyThreadState *PyEval_SaveThread()
    void PyEval_RestoreThread(PyThreadState *ts)
    void Py_XDECREF(PyObject *)
    void Py_XINCREF(PyObject *)
    void PyErr_Clear()

"""CPython's stack protection for Cython: the interface that cpython/protection.h explains."""

from libc.stddef cimport size_t
from libc.stdint cimport uintptr_t

from records.execution cimport PyThreadState, sw_counter
from records.guard cimport sw_record, sw_request, sw_thread


cdef extern from "cpython/protection.h" nogil:
    ctypedef enum swpy_mechanism:
        SWPY_NONE
        SWPY_POINTER
        SWPY_SETTER
        SWPY_COUNTER
        SWPY_COMBINED_COUNTER

    ctypedef enum swpy_probe:
        SWPY_PROBE_SETTER
        SWPY_PROBE_OBSERVE
        SWPY_PROBE_OFF

    ctypedef struct swpy_protection_block:
        swpy_mechanism mechanism
        char *reason
        size_t margin
        size_t least_size
        size_t exact_size
        int native_levels
        size_t reserve

    swpy_protection_block swpy_protection

    const char *swpy_mechanism_name()
    PyThreadState *swpy_attached()
    PyThreadState *swpy_attached_call()
    PyThreadState *swpy_own()
    bint swpy_has_bounds_of(PyThreadState *ts, const sw_record *record)
    bint swpy_covers(PyThreadState *ts, const sw_thread *thread, uintptr_t sp)
    void swpy_fill_budget(
        PyThreadState *ts, sw_thread *thread, uintptr_t sp, uintptr_t low_end, sw_request *request)
    void swpy_apply_budgets(PyThreadState *ts, sw_thread *thread, sw_record *to)
    void swpy_protect_elsewhere(sw_thread *thread, const sw_record *record, sw_record *to)
    bint swpy_set_budget(PyThreadState *ts, sw_thread *thread, sw_record *to, uintptr_t budget)
    bint swpy_can_withhold(uintptr_t bytes)
    void swpy_drop_passed_budget(sw_record *to, uintptr_t sp)
    uintptr_t swpy_low_end(const sw_record *record)
    bint swpy_stack_ends_first(sw_thread *thread)
    void swpy_protect(PyThreadState *ts, sw_thread *thread, sw_record *to)
    void swpy_adopt(PyThreadState *ts, sw_thread *thread, sw_record *to)
    void swpy_nest_calls(PyThreadState *ts, sw_thread *thread, sw_record *to)
    size_t swpy_room(PyThreadState *ts, const sw_record *record, uintptr_t sp)
    size_t swpy_size_for_limit(PyThreadState *ts)
    bint swpy_has_fast_path()
    PyThreadState *swpy_attached_fast()
    bint swpy_covers_fast(PyThreadState *ts, uintptr_t sp)
    void swpy_protect_fast(PyThreadState *ts, const sw_record *to)
    void swpy_protect_own(
        PyThreadState *ts, sw_thread *thread, sw_record *to, sw_counter *counter, bint is_new)
    void swpy_native_bounds(PyThreadState *ts, uintptr_t *base, uintptr_t top)
    void swpy_assume_used(sw_record *record, uintptr_t sp)
    bint swpy_is_foreign(PyThreadState *ts)
    void swpy_forget_counters(sw_thread *thread)
    void swpy_check_attached_place()
    void swpy_set_recursion_limit(int limit)


cdef extern from "cpython/first_stack.h" nogil:
    void (*swpy_on_finalization)() noexcept nogil
    bint swpy_call_on_first_foreign_stack()


cdef extern from "cpython/protection.h":
    void swpy_find_attached_place()
    void swpy_protection_start(swpy_probe probe)
    const char *swpy_protection_force(swpy_mechanism mechanism)

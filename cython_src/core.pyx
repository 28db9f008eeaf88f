# cython: language_level=3, binding=False, embedsignature=True, embedsignature.format=clinic
# cython: subinterpreters_compatible=shared_gil, auto_pickle=False
# cython: wraparound=False, boundscheck=False, initializedcheck=False, cdivision=True
"""stackwarden._core: the compiled core as Python sees it.

Promises: every refusal of the C layer becomes an exception of its own class, with the numbers in the message;
nothing here runs on a switch. What happens on a switch is in hook.pxd. What tells, asks and syncs is compiled;
what checks arguments and puts things into words is Python (src/stackwarden/), over the functions whose names begin
with _.

One extension module, and one compilation unit: the code of the core stands in .pxd files, so that each file has
its own names and says what it imports, and yet everything can be inlined. What Python sees is included from
python/, a file for each subject; here it starts and ends.
"""

import atexit

cimport cython
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t, uintptr_t

from beacon.listener cimport check_beacons, see_beacons, start_listening
from calls.call_on_stack cimport SW_DEFAULT_STACK_SIZE
from crash.overrun cimport overrun_at, sw_crash_is_on, sw_crash_start, sw_crash_stop
from depth.budgets cimport SW_BUDGET_RESERVE, set_budget
from depth.checks cimport SW_MOST_PAINTED, deepest, paint
from depth.limits cimport apply_limits, end_limits_of_other_threads, enter_limit, leave_limit
from interpose.core_hooks cimport (
    SW_INTERPOSE_ATTACH,
    SW_INTERPOSE_OFF,
    SW_INTERPOSE_ON,
    connect_interposition,
    suspended_by_interposition,
    sw_interpose_find,
    sw_interpose_load,
    turn_interposition,
    unwritten_slots,
)
from interpose.seen_stacks cimport sw_interposition
from records.ends cimport end_retired, finish_ends
from records.execution cimport *
from records.executions cimport is_suspended
from records.fast_path cimport update_fast_path
from records.guard cimport *
from records.overlaps cimport check_range
from records.policy cimport effective_policy, policy_of
from records.protection cimport *
from records.records cimport describe_record, handle_of, is_in_use, record_at, record_of, take_record
from stackwarden cimport STACKWARDEN_CAPSULE
from switching.checking cimport note_site, sw_checking, sw_contradiction
from switching.policies cimport default_policy, end_assumed_size, enter_assumed_size, set_policy_for_good
from switching.registration cimport has_isolation, name_stack
from switching.sync cimport sync_slow
from switching.threads cimport (
    end_other_threads,
    end_thread,
    running_thread,
    stop_detached_writes,
    this_thread,
    thread_on,
    thread_with_serial,
    why_no_block,
)
from switching.unknown cimport SW_ASSUMED_SIZE, SW_PAGE
from table cimport check_tellings, fill_table, stackwarden_table, turn_off

from stackwarden._contract import (
    BOUNDS_FROM,
    ISOLATIONS,
    POLICIES,
    budget_of,
    chosen,
    describe,
    refusal_of_budget,
    refusal_of_paint,
    refusal_of_range,
)
from _stackwarden_start.variables import OFF
from stackwarden.errors import MechanismError, StackExit, StackInUseError, StackRangeError, refusal


cdef extern from "Python.h":
    int Py_AtExit(void (*function)() noexcept)
    object PyCapsule_New(void *pointer, const char *name, void *destructor)


cdef extern from *:
    """
    /* As in calls/calls.pyx, with the reason: functions of this module add no line of their own to tracebacks. */
    #define PyTraceBack_Here(frame) ((void)(frame))

    static stackwarden_table sw_table;
    static int sw_platform_started;
    static const char *sw_frames_reason; /* why execution state is not swapped in place, or NULL */
    """
    stackwarden_table sw_table
    int sw_platform_started
    const char *sw_frames_reason


include "python/refusals.pxi"
include "python/stack.pxi"
include "python/status.pxi"
include "python/checking.pxi"
include "python/telling.pxi"
include "python/depth.pxi"
include "python/interposition.pxi"
include "python/switch_callbacks.pxi"
include "python/pools.pxi"


cdef void _at_exit() noexcept:
    sw_process.running = 0
    update_fast_path()


def _stop():
    _at_exit()


cdef void _end_other_threads() noexcept nogil:
    sw_forget_files()
    end_other_threads()
    end_limits_of_other_threads()


_PROBES = ("on", "observe", "off")  # in the order of swpy_probe
_MECHANISMS = ("none", "pointer", "setter", "counter", "combined-counter")  # in that of swpy_mechanism


cdef _start_protection(int probe, int mechanism):
    cdef const char *reason
    if probe != SWPY_PROBE_OFF:
        swpy_find_attached_place()
    swpy_protection_start(<swpy_probe>probe)
    if mechanism >= 0:
        reason = swpy_protection_force(<swpy_mechanism>mechanism)
        if reason != NULL:
            raise MechanismError(
                f"STACKWARDEN_MECHANISM={_MECHANISMS[mechanism]} cannot work here: {reason.decode()}")
    sw_process.least_size = max(swpy_protection.least_size, SW_LEAST_SIZE)


cdef void _start_isolation(int probe) noexcept:
    """May execution state be swapped in place? Needs the thread state's layout, so it must have been verified."""
    global sw_frames_reason
    sw_frames_reason = b"the probe of layouts is turned off (STACKWARDEN_PROBE=off)"
    if probe != SWPY_PROBE_OFF:
        sw_frames_reason = swpy_state_start()
    sw_process.frames = sw_frames_reason == NULL
    swpy_trashcan_start()


cdef _start_process():
    global sw_platform_started, swpy_on_finalization
    if not sw_platform_started:
        if take_record() == NULL or sw_platform_start(end_thread, _end_other_threads) != 0:
            raise MemoryError("stackwarden: no memory for the first records")
        sw_platform_started = 1
    for which in range(SW_POLICY_KINDS):
        sw_process.policies[which] = sw_process.set_policies[which] = default_policy(which)
    sw_process.assumed_size = sw_process.set_assumed_size = SW_ASSUMED_SIZE
    sw_process.min_stack = 0
    sw_process.stack_size = SW_DEFAULT_STACK_SIZE
    sw_process.running = 1
    sw_process.finalizing = 0
    sw_process.has_foreign = 0
    sw_process.first_foreign_done = 0
    swpy_on_finalization = stop_detached_writes
    update_fast_path()
    if Py_AtExit(_at_exit) != 0:
        atexit.register(_stop)  # its 32 places are taken


cdef _start():
    cdef int probe
    if not sw_process.running:
        probe = SWPY_PROBE_SETTER if OFF else chosen("STACKWARDEN_PROBE", _PROBES, SWPY_PROBE_SETTER)
        _start_protection(probe, 0 if OFF else chosen("STACKWARDEN_MECHANISM", _MECHANISMS, -1))
        _start_isolation(probe)
        _start_process()
        fill_table(&sw_table)
        if OFF:
            turn_off(&sw_table)
        else:
            start_listening()
            sw_interposition.preloaded = connect_interposition() and unwritten_slots() >= 0


_start()
table = PyCapsule_New(&sw_table, STACKWARDEN_CAPSULE, NULL)

# cython: language_level=3, binding=True, subinterpreters_compatible=shared_gil
# cython: wraparound=False, boundscheck=False, initializedcheck=False, cdivision=True
"""stackwarden._core: the compiled core as Python sees it.

Promises: every refusal of the C layer becomes an exception of its own class, with the numbers in the message;
nothing here runs on a switch. What happens on a switch is in hook.pxd.

One extension module, and one compilation unit: the code of the core stands in .pxd files, so that each file has its
own names and says what it imports, and yet everything can be inlined. What Python sees is included from python/, a
file for each subject; here it starts and ends.
"""

import atexit
import os
import sys
from operator import index

from libc.stddef cimport size_t
from libc.stdint cimport uint64_t, uintptr_t

from beacon.listener cimport describe_beacons, start_listening
from calls.call_on_stack cimport SW_DEFAULT_STACK_SIZE
from crash.overrun cimport overrun_at, sw_crash_is_on, sw_crash_start, sw_crash_stop
from depth.budgets cimport SW_BUDGET_RESERVE, set_budget, sw_enter_budget, sw_leave_budget
from depth.checks cimport deepest, paint, sw_check_stack_depth, sw_stack_remaining, sw_stack_used
from interpose.core_hooks cimport (
    SW_INTERPOSE_ATTACH,
    SW_INTERPOSE_OFF,
    SW_INTERPOSE_ON,
    connect_interposition,
    suspended_by_interposition,
    sw_interpose_find,
    sw_interpose_load,
    sw_interposition,
    turn_interposition,
)
from records.execution cimport *
from records.executions cimport is_suspended, sw_drain, sw_renew_stack
from records.fast_path cimport update_fast_path
from records.guard cimport *
from records.overlaps cimport check_range
from records.policy cimport policy_of
from records.protection cimport *
from records.records cimport describe_record, handle_of, record_at, record_of, take_record
from stackwarden cimport STACKWARDEN_CAPSULE
from switching.blocks cimport sw_enter_stack, sw_leave_stack
from switching.callbacks cimport sw_unregister_switch_callback
from switching.hook cimport sw_notify_stack_switch, sw_reset_stack
from switching.policies cimport default_policy, settle_policy, sw_enter_policy, sw_leave_policy
from switching.registration cimport (
    name_stack,
    sw_current_stack,
    sw_register_stack,
    sw_register_switch_callback,
    sw_unregister_stack,
)
from switching.sync cimport sync_slow
from switching.threads cimport end_other_threads, end_thread, stop_detached_writes, this_thread, thread_on
from switching.unknown cimport SW_ASSUMED_SIZE, SW_PAGE
from table cimport fill_table, stackwarden_table

from stackwarden import errors


cdef extern from "Python.h":
    int Py_AtExit(void (*function)() noexcept)
    object PyCapsule_New(void *pointer, const char *name, void *destructor)


cdef extern from *:
    """
    static stackwarden_table sw_table;
    static int sw_platform_started;
    """
    stackwarden_table sw_table
    int sw_platform_started


include "python/refusals.pxi"
include "python/stack.pxi"
include "python/status.pxi"
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
    sw_forget_map()
    end_other_threads()


_PROBES = {"on": SWPY_PROBE_SETTER, "observe": SWPY_PROBE_OBSERVE, "off": SWPY_PROBE_OFF}
_MECHANISMS = {
    "none": SWPY_NONE,
    "pointer": SWPY_POINTER,
    "setter": SWPY_SETTER,
    "counter": SWPY_COUNTER,
    "combined-counter": SWPY_COMBINED_COUNTER,
}


cdef _choice(str variable, dict choices, default):
    word = os.environ.get(variable) or default
    if word is not None and word not in choices:
        raise errors.MechanismError(f"{variable}={word}: must be one of {', '.join(choices)}")
    return choices.get(word)


cdef _start_protection():
    cdef const char *reason
    mechanism = _choice("STACKWARDEN_MECHANISM", _MECHANISMS, None)
    if os.environ.get("STACKWARDEN_PROBE") != "off":
        swpy_find_attached_place()
    swpy_protection_start(_choice("STACKWARDEN_PROBE", _PROBES, "on"))
    if mechanism is not None:
        reason = swpy_protection_force(mechanism)
        if reason != NULL:
            raise errors.MechanismError(
                f"STACKWARDEN_MECHANISM={os.environ['STACKWARDEN_MECHANISM']} cannot work here: {reason.decode()}")
    sw_process.least_size = max(swpy_protection.least_size, SW_LEAST_SIZE)


_frames_reason = None


cdef _start_isolation():
    """May execution state be swapped in place? Needs the thread state's layout, so it must have been verified."""
    global _frames_reason
    cdef const char *reason = b"the probe of layouts is turned off (STACKWARDEN_PROBE=off)"
    if os.environ.get("STACKWARDEN_PROBE") != "off":
        reason = swpy_state_start()
    sw_process.frames = reason == NULL
    _frames_reason = reason.decode() if reason != NULL else None
    swpy_trashcan_start()


cdef _start_process():
    global sw_platform_started, swpy_on_finalization
    if not sw_platform_started:
        if take_record() == NULL or sw_platform_start(end_thread, _end_other_threads) != 0:
            raise MemoryError("stackwarden: no memory for the first records")
        sw_platform_started = 1
    for which in range(SW_POLICY_KINDS):
        sw_process.policies[which] = sw_process.set_policies[which] = default_policy(which)
    sw_process.assumed_size = SW_ASSUMED_SIZE
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
    if not sw_process.running:
        _start_protection()
        _start_isolation()
        _start_process()
        fill_table(&sw_table)
        start_listening()
        sw_interposition.preloaded = connect_interposition()


_start()
table = PyCapsule_New(&sw_table, STACKWARDEN_CAPSULE, NULL)

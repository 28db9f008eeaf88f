# cython: language_level=3, binding=True, subinterpreters_compatible=shared_gil
# cython: wraparound=False, boundscheck=False, initializedcheck=False, cdivision=True
"""stackwarden._core: the compiled core as Python sees it.

Promises: every refusal of the C layer becomes an exception of its own class, with the numbers in the message;
nothing here runs on a switch. What happens on a switch is in hook.pxd.
"""

import atexit
import os
import sys
from operator import index

from libc.errno cimport errno
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t, uintptr_t
from libc.string cimport strlen

from beacon cimport *
from budgets cimport *
from callbacks cimport *
from capi cimport *
from carry cimport SW_CARRIED_SIZE
from crash cimport *
from depth cimport *
from guard cimport *
from execution cimport *
from hook cimport *
from interpose cimport *
from isolation cimport *
from policy cimport policy_of
from process cimport update_straight
from protection cimport *
from registry cimport *
from workers cimport begin_task, keep_thread_state, name_stack
from stackwarden cimport (
    STACKWARDEN_BAD_POLICY,
    STACKWARDEN_BAD_RANGE,
    STACKWARDEN_CAPSULE,
    STACKWARDEN_DETACHED,
    STACKWARDEN_DONE,
    STACKWARDEN_EMPTY_CONTEXT,
    STACKWARDEN_FULL,
    STACKWARDEN_IN_USE,
    STACKWARDEN_ISOLATION_FRAMES,
    STACKWARDEN_ISOLATION_REQUIRED,
    STACKWARDEN_ISOLATION_THREAD_STATE,
    STACKWARDEN_LOST,
    STACKWARDEN_NO_ISOLATION,
    STACKWARDEN_NO_MEMORY,
    STACKWARDEN_NOT_REGISTERED,
    STACKWARDEN_NOT_RUNNING,
    STACKWARDEN_OTHER_THREAD,
    STACKWARDEN_OVERLAP,
    STACKWARDEN_STALE_HANDLE,
    STACKWARDEN_TOO_SMALL,
    STACKWARDEN_UNALIGNED,
    STACKWARDEN_UNMAPPED,
    stackwarden_budget,
    WITH_POLICY,
    stackwarden_handle,
    stackwarden_policy,
    stackwarden_stack,
    stackwarden_stacks,
    stackwarden_status,
    stackwarden_switch_callback,
    stackwarden_table,
    status_text,
)
from unknown cimport SW_ASSUMED_SIZE, SW_PAGE

from stackwarden import errors


cdef extern from "Python.h":
    int Py_AtExit(void (*function)() noexcept)
    object PyCapsule_New(void *pointer, const char *name, void *destructor)
    void *PyInterpreterState_Get()
    PyObject *PyObject_CallFunctionObjArgs(object callable, ...)
    void PyErr_WriteUnraisable(PyObject *object)


cdef extern from *:
    """
    static stackwarden_table sw_table;
    static int sw_platform_started;
    """
    stackwarden_table sw_table
    int sw_platform_started


# ---- statuses as exceptions ----

_REFUSALS = {
    STACKWARDEN_NOT_RUNNING: errors.NotRunningError,
    STACKWARDEN_NO_MEMORY: errors.RegistryFullError,
    STACKWARDEN_FULL: errors.RegistryFullError,
    STACKWARDEN_BAD_RANGE: errors.StackRangeError,
    STACKWARDEN_UNALIGNED: errors.UnalignedStackError,
    STACKWARDEN_UNMAPPED: errors.UnmappedStackError,
    STACKWARDEN_TOO_SMALL: errors.StackTooSmallError,
    STACKWARDEN_OVERLAP: errors.StackOverlapError,
    STACKWARDEN_IN_USE: errors.StackInUseError,
    STACKWARDEN_STALE_HANDLE: errors.StaleStackError,
    STACKWARDEN_NOT_REGISTERED: errors.CallbackError,
    STACKWARDEN_DETACHED: errors.NotRunningError,
    STACKWARDEN_ISOLATION_REQUIRED: errors.IsolationRequired,
    STACKWARDEN_OTHER_THREAD: errors.OtherThreadError,
    STACKWARDEN_NO_ISOLATION: errors.IsolationUnavailable,
    STACKWARDEN_BAD_POLICY: errors.PolicyError,
}


def _range_text(base, size):
    return f"[{base:#x}, {base + size:#x}), {size} bytes"


cdef _refuse(stackwarden_status status, str what):
    text = status_text(status).decode().removeprefix("refused: ")
    if status == STACKWARDEN_TOO_SMALL:
        text += f" (at least {sw_process.least_size} bytes)"
    if status == STACKWARDEN_NO_ISOLATION and _isolation_reason():
        text += f" ({_isolation_reason()})"
    raise _REFUSALS[status](f"{what}: {text}")


cdef _budget_of(size):
    from stackwarden._sizes import size_of  # costs import time

    return size_of(size, "a budget")


cdef _check(stackwarden_status status, base, size):
    if status < 0:
        _refuse(status, "stack " + _range_text(base, size))


cdef tuple _integers(base, size):
    """(base, size) as int. Integers that a C range cannot hold are refused here, with the numbers."""
    base = index(base)
    size = index(size)
    if not 0 <= base < 2**64 or not 0 <= size < 2**64:
        raise errors.StackRangeError(f"stack base {base}, {size} bytes: {_BAD_RANGE_TEXT}")
    return base, size


_BAD_RANGE_TEXT = status_text(STACKWARDEN_BAD_RANGE).decode().removeprefix("refused: ")


# ---- Stack ----

_BOUNDS_FROM = ("native", "told", "map", "estimate")
_ISOLATIONS = ("none", "frames", "thread-state")
_ISOLATION_FLAGS = {
    "none": 0, "frames": STACKWARDEN_ISOLATION_FRAMES, "thread-state": STACKWARDEN_ISOLATION_THREAD_STATE}
_POLICIES = ("inherited", "exact", "estimate", "counted", "disabled")


cdef tuple _names_of(stackwarden_handle handle):
    """(name, system) of a stack, each a str or None."""
    cdef sw_record *record
    cdef bytes name = b""
    cdef bytes system = b""
    sw_lock()
    record = record_of(handle)
    if record != NULL and record.name != NULL:
        name = record.name
        system = record.name + strlen(record.name) + 1
    sw_unlock()
    return name.decode("utf-8", "replace") or None, system.decode("utf-8", "replace") or None


cdef class Stack:
    """What is known of one stack: a view of its guard record.

    ``base`` is the address of the lowest usable byte, ``size`` in bytes, ``top = base + size``. ``name`` and
    ``system`` are str or None. These stay after ``unregister()``; all else then raises StaleStackError.
    As a context manager it unregisters itself at the end of the block.
    """

    cdef stackwarden_handle _handle
    cdef readonly uintptr_t base
    cdef readonly size_t size
    cdef readonly str name
    cdef readonly str system

    def __init__(self):
        raise TypeError("use stackwarden.register_stack() or stackwarden.current_stack()")

    @property
    def handle(self):
        """The stack's handle for the C functions (int). It never names another stack."""
        return self._handle

    @property
    def top(self):
        """One past the highest address of the stack."""
        return self.base + self.size

    @property
    def bounds_from(self):
        """Where the bounds come from: "native", "told", "map" or "estimate"."""
        return _BOUNDS_FROM[self._record().bounds_from]

    @property
    def policy(self):
        """The policy in force: "exact", or "estimate" where bounds or budget are not certain to hold; or "counted"
        or "disabled", where that was asked for."""
        return _POLICIES[self._record().policy]

    @property
    def isolation(self):
        """Whether the stack keeps execution state of its own: "none", "frames" or "thread-state"."""
        return _ISOLATIONS[self._record().isolation]

    @property
    def frame(self):
        """The innermost frame of a suspended stack (with a working f_back chain), or None.

        None too for a stack that runs, and for one without execution state of its own.
        """
        cdef sw_record *record = self._record()
        cdef sw_execution *execution = record.execution
        cdef PyObject *frame = NULL
        if record.isolation != SW_SHARED and is_suspended(execution):
            if record.isolation == SW_FRAMES:
                frame = swpy_state_frame(swpy_attached(), &execution.state)
            elif execution.ts != NULL:
                frame = <PyObject *>PyThreadState_GetFrame(execution.ts)
        if frame == NULL:
            return None
        found = <object>frame
        Py_XDECREF(frame)
        return found

    @property
    def switches(self):
        """How often a thread went on on this stack (int)."""
        return self._record().switches

    @property
    def high_water(self):
        """Bytes in use at the deepest switch or check that was seen on this stack, in steps of 16 (int).

        Exact after ``paint()``: then the memory of the stack is read.
        """
        return deepest(self._record())

    @property
    def budget(self):
        """Bytes of this stack, from its top, that CPython may use before it raises; None: all of it. Can be set.

        None again once C code that CPython does not check was found below it. Setting raises StackTooSmallError
        where less than a margin and 16 KiB would be left below what is in use (without isolation and the caller on
        it that is not known, and ``high_water`` counts), StackInUseError while another thread is on it, or a
        stack_budget() is in force there.
        """
        cdef sw_record *record = self._record()
        return <uint64_t>sw_details_of(record).budget << 4 or None

    @budget.setter
    def budget(self, size):
        self._set_budget(_budget_of(size) if size is not None else 0)

    cdef _set_budget(self, size_t size):
        cdef stackwarden_status status = set_budget(self._record(), min(size, self.size))
        if status == STACKWARDEN_TOO_SMALL:
            raise errors.StackTooSmallError(
                f"{self!r}: a budget of {size} bytes: at least {swpy_protection.margin + SW_BUDGET_RESERVE} "
                "more than what is in use are needed")
        if status != STACKWARDEN_DONE:
            _refuse(status, repr(self))

    @property
    def thread(self):
        """threading.get_ident() of the thread on which this stack is current, or None."""
        cdef sw_thread *thread = thread_on(self._record())
        return thread.ident if thread != NULL else None

    def paint(self):
        """Fill what is not in use of this stack with a pattern: ``high_water`` then finds how far that is gone.

        Touches all of the stack's memory. Raises StackInUseError while another thread is on it, and where nobody
        knows what is in use: after switches, for a stack without isolation that the caller is not on.
        """
        if not paint(self._record()):
            _refuse(STACKWARDEN_IN_USE, repr(self))

    def unregister(self):
        """Forget this stack. Call it before its memory is given back. True, or False when it was left in the
        middle of Python: then its frames are leaked, and its memory must neither be unmapped nor used again.

        Raises StaleStackError when that was done before, StackInUseError while it is current on some thread.
        """
        cdef stackwarden_status status = sw_unregister_stack(self._handle)
        if status < 0:
            _refuse(status, repr(self))
        return status != STACKWARDEN_LOST

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.unregister()

    def __eq__(self, other):
        return isinstance(other, Stack) and self._handle == (<Stack>other)._handle

    def __hash__(self):
        return hash(self._handle)

    def __reduce__(self):
        raise TypeError("a Stack cannot be pickled: it names memory of this process")

    def __repr__(self):
        name = f" {self.name!r}" if self.name else ""
        return f"<Stack{name} {_range_text(self.base, self.size)}>"

    cdef sw_record *_record(self) except NULL:
        cdef sw_record *record = record_of(self._handle)
        if record == NULL:
            _refuse(STACKWARDEN_STALE_HANDLE, repr(self))
        return record


cdef Stack _stack(const stackwarden_stack *seen):
    cdef Stack stack = Stack.__new__(Stack)
    stack._handle = seen.handle
    stack.base = seen.base
    stack.size = seen.size
    stack.name, stack.system = _names_of(seen.handle)
    return stack


# ---- the contract in Python ----

cdef size_t _trim(uintptr_t base, size_t size) except? 0:
    """The base of a range without the pages at its low end that can't be read."""
    cdef uintptr_t lowest = sw_lowest_readable(base, base + size)
    if lowest == 0 or lowest == base + size:
        _check(STACKWARDEN_UNMAPPED, base, size)
    return lowest


cdef _check_mapped(base, size):
    if check_range(base, size) == STACKWARDEN_DONE and sw_is_mapped(base, base + size) == 0:
        _check(STACKWARDEN_UNMAPPED, base, size)


cdef unsigned _isolation_flags(isolation, context) except? 0:
    from contextvars import Context

    if isolation not in _ISOLATIONS:
        raise ValueError(f"isolation {isolation!r}: must be one of {', '.join(_ISOLATIONS)}")
    if context not in ("copy", "empty") and not isinstance(context, Context):
        raise TypeError(f"context must be 'copy', 'empty' or a contextvars.Context, not {context!r}")
    return _ISOLATION_FLAGS[isolation] | (STACKWARDEN_EMPTY_CONTEXT if context == "empty" else 0)


cdef unsigned _policy_flags(policy) except? 0:
    if policy is None:
        return 0
    if policy not in _POLICIES[1:]:
        raise errors.PolicyError(f"policy {policy!r}: must be one of {', '.join(_POLICIES[1:])}")
    return WITH_POLICY(<stackwarden_policy><int>_POLICIES.index(policy))


def _set_policy(int which, str policy, bint thread_only):
    """Say what is to be made of known stacks (0), unknown ones (1), foreign threads (2). What was asked before."""
    cdef stackwarden_policy former
    cdef stackwarden_status status = sw_set_policy(
        <stackwarden_stacks>which, <stackwarden_policy><int>_POLICIES.index(policy), thread_only, &former)
    if status != STACKWARDEN_DONE:
        _refuse(status, f"policy {policy!r}")
    return _POLICIES[<int>former]


def _set_assumed_size(size_t size):
    """Say what an unknown stack is taken for (bytes, rounded up to pages). What was said before."""
    former = sw_process.assumed_size
    sw_process.assumed_size = (size + SW_PAGE - 1) & ~(SW_PAGE - 1)
    return former


def _set_stack_sizes(size_t min_stack, size_t stack_size):
    """For calls that may be carried, where the caller does not say (bytes; 0: as it was)."""
    sw_process.min_stack = min_stack or sw_process.min_stack
    sw_process.stack_size = stack_size or sw_process.stack_size


def drain():
    """Free what CPython put off freeing because a stack was nearly used up. Any destructor may run."""
    _check(sw_drain(), 0, 0)


def _warn_of_size(base, size):
    import warnings  # 5 ms of import time on 3.14 and later

    warnings.warn(
        f"stack {_range_text(base, size)}: CPython puts off all deallocation on stacks of less than 80 KiB and "
        f"near the end of larger ones; {swpy_protection.exact_size} bytes or more are practical",
        errors.StackSizeWarning, stacklevel=1)


def register_stack(
        base, size, *, name=None, system=None, trim_guard=False, isolation="none", policy=None, budget=None,
        context="copy"):
    """Make a guard record for the stack ``[base, base + size)`` and return its Stack.

    ``base``: address of the lowest usable byte, and ``size`` in bytes, both multiples of 16. With
    ``trim_guard`` the pages at the low end that can't be touched are found and left out. A record that
    overlaps and is current on no thread gives way.

    ``isolation``: "none"; or, for a stack that suspends in the middle of Python, "frames": execution state of
    its own, swapped in place in the thread's PyThreadState; or "thread-state": a PyThreadState of its own, slower,
    but such a stack may go on on another thread. Its context starts as ``context``: "copy" of the caller's,
    "empty", or a contextvars.Context.

    ``policy``: "exact", "estimate", "counted" or "disabled", for this stack whatever stack_policy() says.
    ``budget``: bytes, from the top, that CPython may use before it raises; see ``Stack.budget``.

    Raises StackRangeError, UnalignedStackError, UnmappedStackError, StackTooSmallError, StackOverlapError,
    RegistryFullError, IsolationUnavailable, PolicyError; then nothing was changed. Warns with StackSizeWarning
    where CPython 3.14 and later would hold back memory on so small a stack (under 128 KiB).
    """
    cdef stackwarden_stack made
    cdef stackwarden_status status
    cdef unsigned flags = _isolation_flags(isolation, context) | _policy_flags(policy)
    cdef bytes name_bytes = (name or "").encode()
    cdef bytes system_bytes = (system or "").encode()
    base, size = _integers(base, size)
    if isolation not in _isolations():
        _check(STACKWARDEN_NO_ISOLATION, base, size)
    if b"\0" in name_bytes + system_bytes:
        raise ValueError(f"a stack's name and system hold no NUL: {name!r}, {system!r}")
    _check_mapped(base, size)
    if trim_guard:
        _check(check_range(base, size), base, size)
        lowest = _trim(base, size)
        base, size = lowest, base + size - lowest
    status = sw_register_stack(
        base, size, <char *>name_bytes if name or system else NULL, <char *>system_bytes, flags, &made.handle)
    _check(status, base, size)
    if isolation != "none":
        _check(
            sw_renew_stack(made.handle, NULL if context in ("copy", "empty") else <PyObject *>context), base, size)
    made.base = base
    made.size = size
    if swpy_protection.mechanism in (SWPY_POINTER, SWPY_SETTER) and size < swpy_protection.exact_size:
        try:
            _warn_of_size(base, size)
        except errors.StackSizeWarning:
            sw_unregister_stack(made.handle)
            raise
    stack = _stack(&made)
    if budget is not None:
        try:
            stack.budget = budget
        except BaseException:
            stack.unregister()
            raise
    return stack


def notify_stack_switch(base, size):
    """From now on this thread runs on the stack ``[base, base + size)``; return its Stack.

    For whoever switches stacks; may be called right before or after the switch. A registered stack's record is
    used; any other range gets a transient record.

    Raises StackRangeError, UnalignedStackError, StackOverlapError, IsolationRequired (bounds alone are not enough
    for a stack with execution state of its own), and then changes nothing; StackTooSmallError: then the policy for
    unknown stacks is in force, not the bounds of another stack.
    """
    base, size = _integers(base, size)
    _check(sw_notify_stack_switch(base, size), base, size)
    return current_stack()


def reset_stack():
    """From now on this thread runs on its native stack again."""
    _check(sw_reset_stack(), 0, 0)


def sync_stack():
    """Make the bounds those of the stack under the caller; return its Stack, or None when it is unknown.

    A stack of which nobody told is looked up in the operating system's map of memory (``bounds_from`` is "map");
    where that does not tell its end, the policy for unknown stacks is put in force.
    """
    _check(sync_slowly(sw_stack_pointer(), False), 0, 0)
    stack = current_stack()
    return stack if stack.bounds_from != "estimate" else None


def current_stack():
    """The Stack that was told last for this thread; its native stack when none was."""
    cdef stackwarden_stack seen
    cdef stackwarden_status status = sw_current_stack(&seen)
    if status != STACKWARDEN_DONE:
        _refuse(status, "current stack")
    return _stack(&seen)


def _stack_pointer():
    """The stack pointer of the caller, to within the frames of this call (for the conformance kit)."""
    return sw_stack_pointer()


def stack_remaining():
    """Bytes that are left under the caller on the stack that it is on, down to its lowest usable byte (int).

    0 where that is not known. A budget is not subtracted: this is what can be touched.
    """
    return sw_stack_remaining()


def stack_used():
    """Bytes that are used of the stack that the caller is on (int); 0 where that is not known."""
    return sw_stack_used()


cdef int _check_depth(const char *where) except -1:
    return sw_check_stack_depth(where)


def check_stack_depth(where=""):
    """Raise StackOverflow when the stack under the caller, or its budget, is nearly used up. PEP 651's
    Py_CheckStackDepth: the real stack is looked at on every version, whatever CPython counts.

    ``where`` is appended to the message: ``" in my parser"``.
    """
    cdef bytes text = where.encode()
    _check_depth(text)


def _budget_is_lower():
    """Was it the stack's budget of calls that ran out, and not the user's recursion limit? On 3.11 alone."""
    return swpy_budget_is_lower(this_thread())


def stacks():
    """A list of all stacks that have a record now: registered, native, and transient ones."""
    cdef stackwarden_stack seen
    cdef sw_record *record
    found = []
    for index in range(1, sw_process.records):
        record = record_at(index)
        if record.generation & 1:
            describe_record(record, &seen)
            found.append(_stack(&seen))
    return found


def _isolations():
    return ("none",) + ("frames",) * sw_process.frames + ("thread-state",) * SWPY_HAS_OWN_STATES


def _isolation_reason():
    reasons = [f"frames: {_frames_reason}"] if _frames_reason else []
    if not SWPY_HAS_OWN_STATES:
        reasons.append("thread-state: on 3.11 PyGILState_Ensure deadlocks in all thread states but one")
    return "; ".join(reasons) or None


def _reason():
    forced = os.environ.get("STACKWARDEN_MECHANISM")
    return f"STACKWARDEN_MECHANISM={forced}" if forced else swpy_protection.reason.decode() or None


cdef _policy_in_force(int kind):
    """On the calling thread."""
    return _POLICIES[policy_of(this_thread() if sw_process.running else NULL, kind)]


def _unprotected():
    """What the policies in force leave unprotected, in words."""
    policies = {
        "known stacks": _policy_in_force(SW_KNOWN_STACKS),
        "unknown stacks": _policy_in_force(SW_UNKNOWN_STACKS),
        "foreign threads": _POLICIES[sw_process.policies[SW_FOREIGN_THREADS]],
    }
    bounds = swpy_protection.mechanism in (SWPY_POINTER, SWPY_SETTER)
    meaning = {"disabled": "nothing is checked" if bounds else "calls are counted as on a thread's own stack"}
    if bounds:
        meaning["counted"] = "only Python frames are counted, recursion that is purely C is not stopped"
    return tuple([f"{what}: {meaning[policy]}" for what, policy in policies.items() if policy in meaning])


def status():
    """What protects this interpreter, and why not better: a dict of plain values, sizes in bytes."""
    _forget_ended_threads()
    beacons, beacon_faults = describe_beacons()
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "mechanism": swpy_mechanism_name().decode(),
        "reason": _reason(),
        "margin": swpy_protection.margin,
        "least_stack_size": sw_process.least_size,
        "exact_stack_size": swpy_protection.exact_size,
        "kept_back": swpy_protection.kept_back,
        "native_levels": swpy_protection.native_levels,
        "isolation": _isolations(),
        "isolation_reason": _isolation_reason(),
        "leaked_stacks": sw_process.leaked,
        "dropped_states": sw_process.dropped,
        "drains": sw_process.drained,
        "policy": _policy_in_force(SW_KNOWN_STACKS),
        "policy_unknown": _policy_in_force(SW_UNKNOWN_STACKS),
        "policy_foreign_threads": _POLICIES[sw_process.policies[SW_FOREIGN_THREADS]],
        "assumed_size": sw_process.assumed_size,
        "min_stack": sw_process.min_stack,
        "stack_size": sw_process.stack_size,
        "unprotected": _unprotected(),
        "registered": sw_process.registered,
        "superseded": sw_process.superseded,
        "crash_reports": bool(sw_crash_is_on()),
        "switch_callbacks": len(_switch_callbacks),
        "coalesced_switches": sw_process.coalesced,
        "beacons": beacons,
        "beacon_faults": beacon_faults,
        "interposition": _interposition(),
        "mended_entries": sw_interposition.mended,
        "refused_switches": sw_interposition.refused,
    }


# ---- interposition ----

def _interposition():
    if not sw_interposition.begun and not sw_interposition.preloaded:
        return "off"
    return "frames" if sw_interposition.frames else "on"


cdef _load_interposition(bytes library):
    cdef const char *reason = NULL
    if sw_interpose_find(SW_INTERPOSE_ATTACH) == NULL:
        reason = sw_interpose_load(library)
    if reason != NULL:
        raise errors.InterpositionError(f"interposition: {reason.decode()}")
    if not connect_interposition():
        raise errors.InterpositionError("interposition: the library of another version was preloaded")


def _begin_interposition(path, frames):
    """Count one more, and turn it on; with `frames` or without, as all that were begun."""
    if frames and not sw_process.frames:
        raise errors.IsolationUnavailable(f"isolation 'frames' cannot be had here: {_isolation_reason()}")
    if sw_interposition.begun and bool(frames) != bool(sw_interposition.frames):
        raise errors.InterpositionError(
            f"{sw_interposition.begun} interpositions are on with another isolation: status {_interposition()!r}")
    _load_interposition(os.fsencode(path))
    this_thread()  # now, not in the handler of a signal
    sw_interposition.frames = frames
    sw_interposition.begun += 1
    turn_interposition(SW_INTERPOSE_ON)


def _end_interposition():
    """Count one less; the last one turns off what was not preloaded, but not while stacks are suspended."""
    suspended = suspended_by_interposition()
    if sw_interposition.begun == 1 and suspended:
        raise errors.InterpositionError(
            f"{suspended} stacks hold Python frames that only interposition can put back: let them end first")
    sw_interposition.begun -= 1
    if not sw_interposition.begun:
        sw_interposition.frames = False
        if not sw_interposition.preloaded:
            turn_interposition(SW_INTERPOSE_OFF)


def _go_to(Stack stack, bint as_range):
    """switch_to(); with `as_range` a stack whose record is gone is told of by its bounds."""
    cdef stackwarden_status status = sw_switch_to(stack._handle)
    if status == STACKWARDEN_STALE_HANDLE and as_range:
        status = sw_notify_stack_switch(stack.base, stack.size)
    _check(status, stack.base, stack.size)


def crash_reports(on=True, /):
    """When a stack is overrun, say which: its name, bounds and by how much, then let the process die as it would.

    A handler for SIGSEGV and SIGBUS, before the ones that are there: enable faulthandler first, and its traceback
    follows. It runs on a stack of its own: this thread gets one now, others with their first call of this package
    from now on, or with ``crash_reports()``. ``crash_reports(False)`` takes it back.

    Raises OSError where the operating system refuses, and on Windows.
    """
    if not on:
        sw_crash_stop()
        return
    this_thread()  # the native stack is to have a record
    if sw_crash_start(overrun_at) != 0:
        raise OSError(errno, "crash reports: " + os.strerror(errno))


cdef class stack_budget:
    """``with stack_budget(size):`` CPython raises RecursionError before the body uses more than ``size`` bytes of
    the stack that it is on.

    For sandboxes, and for greenlets whose saved stacks are to stay small. Budgets nest, and the narrowest holds;
    other stacks that are switched to meanwhile have their own. Restored on every way out. On 3.11 to 3.13, which
    count calls, it is an estimate. One C frame of more than ``status()["margin"]`` bytes can jump it.

    Raises StackTooSmallError, on entering, under a margin and 16 KiB; StackInUseError when it is entered already.
    """

    cdef readonly size_t size
    cdef stackwarden_budget _former
    cdef bint _entered

    def __init__(self, size, /):
        self.size = _budget_of(size)

    def __enter__(self):
        cdef uintptr_t sp = sw_stack_pointer()
        if self._entered:
            raise errors.StackInUseError(f"this budget of {self.size} bytes is in force already")
        status = sw_enter_budget(sp - self.size if sp > self.size else 1, &self._former)
        if status == STACKWARDEN_TOO_SMALL:
            raise errors.StackTooSmallError(
                f"a budget of {self.size} bytes: at least {swpy_protection.margin + SW_BUDGET_RESERVE} are needed")
        if status != STACKWARDEN_DONE:
            raise errors.StackwardenError(f"a budget of {self.size} bytes: {status_text(status).decode()}")
        self._entered = True
        return self

    def __exit__(self, *exception):
        self._entered = False
        sw_leave_budget(&self._former)


# ---- switch callbacks in Python ----

_switch_callbacks = []  # (callable, serial of a thread or 0)


cdef void _call_python_callbacks(
        const stackwarden_stack *left, const stackwarden_stack *entered, void *interpreter) noexcept:
    """A C switch callback, one for each interpreter. Requires: attached."""
    if PyInterpreterState_Get() != interpreter:
        return
    serial = this_thread().serial
    for callback, thread in _switch_callbacks[:]:
        if thread == 0 or thread == serial:
            _call_python_callback(callback, _stack(left), _stack(entered))


cdef void _call_python_callback(callback, Stack left, Stack entered) noexcept:
    cdef PyObject *result = PyObject_CallFunctionObjArgs(callback, <PyObject *>left, <PyObject *>entered, NULL)
    if result == NULL:
        PyErr_WriteUnraisable(<PyObject *>callback)
    Py_XDECREF(result)


def _forget_ended_threads():
    """Callbacks for threads that have ended are of no use any more."""
    alive = {0}
    cdef sw_thread *thread = sw_process.threads
    while thread != NULL:
        if thread.ident:
            alive.add(thread.serial)
        thread = thread.next
    _switch_callbacks[:] = [entry for entry in _switch_callbacks if entry[1] in alive]


def _forget_callbacks():
    """This interpreter ends."""
    _switch_callbacks.clear()
    sw_unregister_switch_callback(
        <stackwarden_switch_callback><void *>_call_python_callbacks, PyInterpreterState_Get())


def register_switch_callback(callback, *, all_threads=False):
    """Call ``callback(old, new)``, two Stacks, after each switch on this thread, or on all threads.

    It runs on the new stack. What it raises goes to sys.unraisablehook, and the switch stands. A switch made
    while detached is delivered at the next sync, several as one (``status()["coalesced_switches"]``).
    """
    cdef stackwarden_status status
    if not callable(callback):
        raise TypeError(f"a switch callback must be callable, not {type(callback).__name__}")
    if not _switch_callbacks:
        status = sw_register_switch_callback(
            <stackwarden_switch_callback><void *>_call_python_callbacks, PyInterpreterState_Get(), 1)
        if status != STACKWARDEN_DONE:
            _refuse(status, "switch callback")
        atexit.register(_forget_callbacks)
    _switch_callbacks.append((callback, 0 if all_threads else this_thread().serial))


def unregister_switch_callback(callback):
    """Take back one registration of this callback, made for this thread or for all.

    Raises CallbackError when there is none.
    """
    for place, (registered, thread) in enumerate(_switch_callbacks):
        if registered == callback and thread in (0, this_thread().serial):
            del _switch_callbacks[place]
            break
    else:
        _refuse(STACKWARDEN_NOT_REGISTERED, repr(callback))
    if not _switch_callbacks:
        atexit.unregister(_forget_callbacks)
        _forget_callbacks()


def _set_recursion_limit(set_limit, limit):
    """Call CPython's own sys.setrecursionlimit while budgets step aside: 3.11 must see the true depth."""
    swpy_limit_changing()
    try:
        set_limit(limit)
    finally:
        swpy_limit_changed()


# ---- thread pools ----

def _begin_task():
    """For _pools.py: an int that names the calling thread, and no other one later."""
    worker = begin_task()
    if worker == 0:
        raise MemoryError("stackwarden: no memory for a thread's block")
    return worker


def _adopt_worker(stackwarden_handle worker, str name):
    """For _pools.py, in the worker: its stack has a name from now on, and its thread state stays."""
    cdef bytes name_bytes = name.encode()
    if not name_stack(worker, name_bytes, "thread pool"):
        raise MemoryError("stackwarden: no memory for a stack's name")
    keep_thread_state()


def _is_alive(stackwarden_handle worker):
    """For _pools.py: has the thread not ended yet?"""
    return record_of(worker) != NULL


# ---- start ----

cdef void _at_exit() noexcept:
    sw_process.running = 0
    update_straight()


def _stop():
    _at_exit()


cdef void _end_thread(void *block) noexcept nogil:
    end_thread(block)


cdef void _end_other_threads() noexcept nogil:
    sw_forget_map()
    end_other_threads()


cdef void _before_the_end() noexcept nogil:
    leave_detached_alone()


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
    swpy_drain_start()


cdef _start_process():
    global sw_platform_started, swpy_before_the_end
    if not sw_platform_started:
        if take_record() == NULL or sw_platform_start(_end_thread, _end_other_threads) != 0:
            raise MemoryError("stackwarden: no memory for the first records")
        sw_platform_started = 1
    sw_process.policies[SW_KNOWN_STACKS] = sw_process.policies[SW_FOREIGN_THREADS] = SW_EXACT
    sw_process.policies[SW_UNKNOWN_STACKS] = SW_ESTIMATE
    sw_process.assumed_size = SW_ASSUMED_SIZE
    sw_process.min_stack = 0
    sw_process.stack_size = SW_CARRIED_SIZE
    sw_process.running = 1
    sw_process.ending = 0
    sw_process.foreign_seen = 0
    sw_process.first_met = 0
    swpy_before_the_end = _before_the_end
    update_straight()
    if Py_AtExit(_at_exit) != 0:
        atexit.register(_stop)  # its 32 places are taken


cdef _start():
    global sw_table
    if not sw_process.running:
        _start_protection()
        _start_isolation()
        _start_process()
        sw_table = make_table()
        start_listening()
        sw_interposition.preloaded = connect_interposition()


_start()
table = PyCapsule_New(&sw_table, STACKWARDEN_CAPSULE, NULL)

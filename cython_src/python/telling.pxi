"""Telling of stacks and switches, and asking for them: the functions of the C table, with checks that only Python
can afford."""

from libc.string cimport memset

from stackwarden cimport (
    STACKWARDEN_DONE,
    STACKWARDEN_ISOLATION_FRAMES,
    STACKWARDEN_ISOLATION_THREAD_STATE,
    STACKWARDEN_NOT_REGISTERED,
    STACKWARDEN_TOO_SMALL,
    STACKWARDEN_UNMAPPED,
    stackwarden_stack,
    stackwarden_status,
)


def _register(base, size, bytes name, bytes system, unsigned flags, context, /):
    """For _registration.py: the Stack. `context`: a contextvars.Context, or None. What fails half-way registers
    nothing; the Stack is made before: once there is a record no memory is needed."""
    cdef Stack stack = Stack.__new__(Stack)
    cdef stackwarden_stack made
    cdef stackwarden_status status = STACKWARDEN_UNMAPPED
    cdef uintptr_t low, length
    _read_range(base, size, &low, &length)
    stack.name = _decoded(name)
    stack.system = _decoded(system)
    if check_range(low, length) != STACKWARDEN_DONE or not has_isolation(flags) \
            or sw_is_mapped(low, low + length) != 0:
        status = sw_table.register_stack(low, length, name, system, flags, &made)
    if status == STACKWARDEN_TOO_SMALL:
        low, length = made.base, made.size  # what trimming has left
    _check(status, low, length)
    try:
        finish_ends()
        if flags & (STACKWARDEN_ISOLATION_FRAMES | STACKWARDEN_ISOLATION_THREAD_STATE):
            status = sw_table.renew_stack(made.handle, NULL if context is None else <PyObject *>context)
            _check(status, low, length)
    except BaseException:
        sw_table.unregister_stack(made.handle)
        raise
    _fill(stack, &made)
    return stack


cdef Stack _view_of(uintptr_t low, uintptr_t length):
    """Of the record with these bounds; without one its handle is 0, and it is to be filled."""
    cdef stackwarden_stack seen
    cdef sw_thread *thread = running_thread()
    memset(&seen, 0, sizeof(seen))
    if sw_table.find_stack(low, &seen) != STACKWARDEN_DONE and thread != NULL:
        describe_record(thread.native, &seen)
    if seen.base != low or seen.size != length:
        memset(&seen, 0, sizeof(seen))
    return _stack(&seen)


# Functions that may apply other counters are of Cython's own kind (binding): a call of CPython's built-in kind
# counts against the recursion limit on 3.11 to 3.13, or does not, as it was specialised; and what is counted when
# a stack is suspended must be counted when it is resumed. The others are of the built-in kind: it takes less code.

@cython.binding(True)
def notify_stack_switch(base, size=None):
    """From now on this thread runs on the stack ``[base, base + size)``, or on that of a Stack; return its Stack.

    For whoever switches stacks; may be called right before or after the switch: ``notify_stack_switch(base,
    size)`` or ``notify_stack_switch(stack)``. A registered stack's record is used; any other range gets a
    transient record.

    Raises StackRangeError, UnalignedStackError, StackOverlapError, IsolationRequiredError (bounds alone are not
    enough for a stack with execution state of its own), StaleStackError, and then changes nothing;
    StackTooSmallError: then the policy for unknown stacks is effective, not the bounds of another stack.
    """
    cdef uintptr_t low, length
    cdef Stack stack
    cdef stackwarden_stack seen
    cdef bytes site = _python_site() if sw_checking.on else None  # before: once it is told nothing may fail
    if isinstance(base, Stack):
        if size is not None:
            raise TypeError("notify_stack_switch() takes a Stack alone, or a base and a size")
        stack = base
        _check(sw_table.switch_to(stack._handle), stack.base, stack.size)
    else:
        _read_range(base, size, &low, &length)
        stack = _view_of(low, length)
        _check(sw_table.notify_stack_switch(low, length), low, length)
        describe_record(this_thread().current, &seen)
        _fill(stack, &seen)
    if site is not None:
        note_site(site)
    return stack


@cython.binding(True)
def _enter_stack(Request request, Stack stack, /):
    """For _on_stack.py: the bounds of a stack until _leave_stack()."""
    cdef stackwarden_stack named
    memset(&named, 0, sizeof(named))
    named.handle = stack._handle
    _check(sw_table.enter_stack(&named, &request.token), stack.base, stack.size)


@cython.binding(True)
def _leave_stack(Request request, /):
    """On whichever thread; again, or when that thread has ended, it does nothing."""
    cdef stackwarden_status status = sw_table.leave_stack(&request.token)
    if status < 0 and status != STACKWARDEN_NOT_REGISTERED:
        _refuse(status, "on_stack()")


@cython.binding(True)
def reset_stack():
    """From now on this thread runs on its native stack again."""
    cdef stackwarden_status status = sw_table.reset_stack()
    if status < 0:
        _refuse(status, "reset_stack()")


@cython.binding(True)
def sync_stack():
    """Make the bounds those of the stack under the caller; return its Stack, or None when it is unknown.

    A stack of which nobody told is looked up in the operating system's map of memory (``bounds_from`` is "map");
    where that does not tell its end, the policy for unknown stacks applies.
    """
    cdef stackwarden_status status = sync_slow(sw_stack_pointer(), False)
    if status < 0:
        _refuse(status, "sync_stack()")
    stack = current_stack()
    return stack if stack.bounds_from != "estimate" else None


def current_stack():
    """The Stack that was told last for this thread; its native stack when none was."""
    cdef stackwarden_stack seen
    cdef sw_thread *thread = running_thread()
    if thread == NULL:
        _refuse(why_no_block(), "current stack")
    describe_record(thread.current, &seen)
    return _stack(&seen)


def find_stack(address):
    """The registered Stack that holds an address (int), or None. Takes no lock.

    Raises StackRangeError for what no address of 64 bits can be.
    """
    cdef stackwarden_stack seen
    cdef stackwarden_status status
    cdef uintptr_t place = 0
    address = _integer(address, "address")
    if not _fits(address, &place):
        _refuse(STACKWARDEN_BAD_RANGE, f"address {address}")
    status = sw_table.find_stack(place, &seen)
    if status < 0:
        _refuse(status, "find_stack()")
    return _stack(&seen) if status == STACKWARDEN_DONE else None


def stacks():
    """A list of all stacks that have a record now: registered, native, and transient ones."""
    cdef stackwarden_stack seen
    cdef sw_record *record
    found = []
    for index in range(1, sw_process.records):
        record = record_at(index)
        if is_in_use(record):
            describe_record(record, &seen)
            found.append(_stack(&seen))
    return found


def _native_stack():
    """The native stack of the calling thread (for the conformance kit)."""
    cdef stackwarden_stack seen
    cdef sw_thread *thread = this_thread()
    if thread == NULL:
        _refuse(why_no_block(), "native stack")
    describe_record(thread.native, &seen)
    return _stack(&seen)


def _stack_pointer():
    """The stack pointer of the caller, to within the frames of this call (for the conformance kit)."""
    return sw_stack_pointer()


def drain():
    """Empty CPython's trashcan: what it holds since a stack was nearly used up. Any destructor may run."""
    cdef stackwarden_status status = sw_table.drain()
    if status < 0:
        _refuse(status, "drain()")

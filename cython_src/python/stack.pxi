"""Stack: one stack as Python sees it. A view: it holds a handle, and asks the record each time."""

from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, strlen

from stackwarden cimport (
    STACKWARDEN_DONE,
    STACKWARDEN_IN_USE,
    STACKWARDEN_LOST,
    STACKWARDEN_STALE_HANDLE,
    stackwarden_handle,
    stackwarden_stack,
    stackwarden_status,
)


cdef extern from "Python.h":
    str PyUnicode_DecodeUTF8(const char *text, Py_ssize_t size, const char *errors)


_policies = ("inherited",) + POLICIES  # for the moment until it is chosen, too


cdef char *_copy_names(stackwarden_handle handle) noexcept nogil:
    """Name and system of a stack one after the other, NULs included; NULL: it has none. To be freed."""
    cdef sw_record *record
    cdef char *copy = NULL
    cdef size_t size
    if not sw_lock():
        return NULL
    record = record_of(handle)
    if record != NULL and record.name != NULL:
        size = strlen(record.name) + 1
        size += strlen(record.name + size) + 1
        copy = <char *>malloc(size)
        if copy != NULL:
            memcpy(copy, record.name, size)
    sw_unlock()
    return copy


cdef str _decoded(const char *name):
    return PyUnicode_DecodeUTF8(name, strlen(name), "replace") if name[0] else None


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
        return BOUNDS_FROM[self._record().bounds_from]

    @property
    def policy(self):
        """The effective policy: "exact"; "estimate" where bounds or budget are not certain to hold; "counted" or
        "disabled" where that was asked for."""
        cdef sw_record *record = self._record()
        return _policies[effective_policy(thread_on(record), record)]  # the fast path of a switch sets none

    @property
    def isolation(self):
        """Whether the stack keeps execution state of its own: "none", "frames" or "thread-state"."""
        return ISOLATIONS[self._record().isolation]

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
        stack_budget() is effective there.
        """
        cdef sw_record *record = self._record()
        return sw_cold_of(record).own_budget or None

    @budget.setter
    def budget(self, size):
        self._set_budget(budget_of(size) if size is not None else 0)

    cdef _set_budget(self, size_t size):
        cdef stackwarden_status status = set_budget(self._record(), min(size, self.size))
        if status != STACKWARDEN_DONE:
            _refuse_budget(status, size, self)

    @property
    def thread(self):
        """threading.get_ident() of the thread on which this stack is current, or None."""
        cdef sw_thread *thread = thread_on(self._record())
        return thread.ident if thread != NULL else None

    def paint(self):
        """Fill what is not in use of this stack with a pattern: ``high_water`` then finds how far that is gone.

        Touches all of the stack's memory. Raises StackRangeError for 64 GiB or more (a native stack without a
        limit has 117 TiB), StackInUseError while another thread is on it, and where nobody
        knows what is in use: after switches, for a stack without isolation that the caller is not on.
        UnknownStackError where the bounds were found (``bounds_from`` is "map" or "estimate"): the memory below
        the stack pointer may be somebody else's.
        """
        cdef sw_record *record = self._record()
        if self.size >= SW_MOST_PAINTED:
            raise StackRangeError(f"{self!r}: cannot be painted: must be smaller than 2**36 bytes (64G)")
        if record.bounds_from >= SW_FROM_MAP:
            raise refusal_of_paint(self, self.bounds_from)
        if not paint(record):
            _refuse(STACKWARDEN_IN_USE, repr(self))

    def unregister(self):
        """Forget this stack. Call it before its memory is given back. True, or False when it was left in the
        middle of Python: then its frames are leaked, and its memory must neither be unmapped nor used again.

        Raises StaleStackError when that was done before, StackInUseError while it is current on some thread.
        """
        cdef stackwarden_status status = sw_table.unregister_stack(self._handle)
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
        cdef sw_record *record = record_of(self._handle)
        return describe(
            self.name, self.base, self.size, BOUNDS_FROM[record.bounds_from] if record != NULL else "gone")

    cdef sw_record *_record(self) except NULL:
        cdef sw_record *record = record_of(self._handle)
        if record == NULL:
            _refuse(STACKWARDEN_STALE_HANDLE, repr(self))
        return record


cdef void _fill(Stack stack, const stackwarden_stack *seen) noexcept:
    """All but the names, which take memory."""
    stack._handle = seen.handle
    stack.base = seen.base
    stack.size = seen.size


cdef Stack _stack(const stackwarden_stack *seen):
    cdef Stack stack = Stack.__new__(Stack)
    cdef char *names = _copy_names(seen.handle)
    _fill(stack, seen)
    if names != NULL:
        try:
            stack.name = _decoded(names)
            stack.system = _decoded(names + strlen(names) + 1)
        finally:
            free(names)
    return stack

"""How deep the caller is, how deep it may go, and what is said when a stack is overrun."""

from libc.errno cimport errno

from stackwarden cimport STACKWARDEN_DONE, stackwarden_request, stackwarden_status, status_text


def stack_remaining():
    """Bytes that are left under the caller on the stack that it is on, down to its lowest usable byte (int).

    0 where that is not known. A budget is not subtracted: this is what can be touched.
    """
    return sw_table.stack_remaining()


def stack_used():
    """Bytes that are used of the stack that the caller is on (int); 0 where that is not known."""
    return sw_table.stack_used()


cdef int _check_depth(const char *where) except -1:
    return sw_table.check_stack_depth(where)


@cython.binding(True)
def check_stack_depth(where=""):
    """Raise StackOverflow when the stack under the caller, or its budget, is nearly used up. PEP 651's
    Py_CheckStackDepth: the real stack is looked at on every version, whatever CPython counts.

    ``where`` is appended to the message: ``" in my parser"``.
    """
    cdef bytes text = where.encode()
    _check_depth(text)


cdef int _refuse_budget(stackwarden_status status, size_t size, Stack stack) except -1:
    """Of a stack, or (None) for a block."""
    raise PyObject_CallFunction(
        refusal_of_budget, "isnnO", <int>status, status_text(status), <Py_ssize_t>size,
        <Py_ssize_t>(swpy_protection.margin + SW_BUDGET_RESERVE), <PyObject *>stack)


cdef class stack_budget:
    """``with stack_budget(size):`` or ``@stack_budget(size)``: CPython raises RecursionError before the body uses
    more than ``size`` bytes of the stack that it is on.

    For sandboxes, and for greenlets whose saved stacks are to stay small. Of several the narrowest is
    effective, and each ends with its own block, wherever that ends; other stacks that are switched to meanwhile
    have their own. On 3.11 to 3.13, which count calls, it is an estimate. One C frame of more than
    ``status()["margin"]`` bytes can jump it.

    Raises StackTooSmallError, on entering, under a margin and 16 KiB; StackInUseError when it is entered already;
    StackRangeError on a native stack without a limit, from 3.14 on.
    As a decorator it raises TypeError for what a call does not run: async functions and generator functions.
    """

    cdef readonly size_t size
    cdef stackwarden_request _request
    cdef bint _entered

    def __init__(self, size, /):
        self.size = budget_of(size)

    @cython.binding(True)
    def __call__(self, function, /):
        """As a decorator: each call has a budget of its own, of this size."""
        from stackwarden._calls import _within
        return _within(self._another, "stack_budget", function)

    def _another(self):
        cdef stack_budget budget = stack_budget.__new__(stack_budget)
        budget.size = self.size
        return budget

    @cython.binding(True)
    def __enter__(self):
        cdef uintptr_t sp = sw_stack_pointer()
        if self._entered:
            raise StackInUseError(f"this budget of {self.size} bytes is in effect already")
        status = sw_table.enter_budget(sp - self.size if sp > self.size else 1, &self._request)
        if status != STACKWARDEN_DONE:
            _refuse_budget(status, self.size, None)
        self._entered = True
        return self

    @cython.binding(True)
    def __exit__(self, *exception):
        self._entered = False
        sw_table.leave_budget(&self._request)

    def __dealloc__(self):
        """A signal handler's exception may come when it is entered and the with statement does not end it yet."""
        if self._entered:
            sw_table.leave_budget(&self._request)


def _stack_ends_first():
    """Was it the stack's budget of calls that ran out, and not the user's recursion limit? On 3.11 alone."""
    return swpy_stack_ends_first(this_thread())


@cython.binding(True)
def _call_with_limit(int limit, func, tuple args, dict kwargs, /):
    """``func(*args, **kwargs)`` with a recursion limit of `limit` or more: for _raised_limit.py. Compiled, so that
    a signal handler in Python runs before it, after it, or in `func`."""
    cdef stackwarden_request request
    cdef stackwarden_status status
    memset(&request, 0, sizeof(request))
    status = enter_limit(limit, &request)
    if status != STACKWARDEN_DONE:
        _refuse(status, f"a recursion limit of {limit}")
    try:
        return func(*args, **kwargs)
    finally:
        leave_limit(&request)


def _limits_after_fork():
    """In the child."""
    apply_limits()


def _start_crash_reports():
    """For _crash_reports.py: 0, or an errno."""
    this_thread()  # the native stack is to have a record
    return errno if sw_crash_start(overrun_at) != 0 else 0


def _stop_crash_reports():
    sw_crash_stop()

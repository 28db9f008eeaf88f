"""How deep the caller is, how deep it may go, and what is said when a stack is overrun."""

from libc.errno cimport errno

from stackwarden cimport STACKWARDEN_DONE, STACKWARDEN_TOO_SMALL, stackwarden_request, status_text


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


cdef _budget_of(size):
    from stackwarden._sizes import size_of  # costs import time

    return size_of(size, "a budget")


cdef class stack_budget:
    """``with stack_budget(size):`` CPython raises RecursionError before the body uses more than ``size`` bytes of
    the stack that it is on.

    For sandboxes, and for greenlets whose saved stacks are to stay small. Of several the narrowest is
    effective, and each ends with its own block, wherever that ends; other stacks that are switched to meanwhile have
    their own. On 3.11 to 3.13, which
    count calls, it is an estimate. One C frame of more than ``status()["margin"]`` bytes can jump it.

    Raises StackTooSmallError, on entering, under a margin and 16 KiB; StackInUseError when it is entered already.
    """

    cdef readonly size_t size
    cdef stackwarden_request _request
    cdef bint _entered

    def __init__(self, size, /):
        self.size = _budget_of(size)

    def __enter__(self):
        cdef uintptr_t sp = sw_stack_pointer()
        if self._entered:
            raise errors.StackInUseError(f"this budget of {self.size} bytes is in effect already")
        status = sw_enter_budget(sp - self.size if sp > self.size else 1, &self._request)
        if status == STACKWARDEN_TOO_SMALL:
            raise errors.StackTooSmallError(
                f"a budget of {self.size} bytes: at least {swpy_protection.margin + SW_BUDGET_RESERVE} are needed")
        if status != STACKWARDEN_DONE:
            raise errors.StackwardenError(f"a budget of {self.size} bytes: {status_text(status).decode()}")
        self._entered = True
        return self

    def __exit__(self, *exception):
        self._entered = False
        sw_leave_budget(&self._request)


def _stack_ends_first():
    """Was it the stack's budget of calls that ran out, and not the user's recursion limit? On 3.11 alone."""
    return swpy_stack_ends_first(this_thread())


def _set_recursion_limit(set_limit, limit):
    """Call CPython's own sys.setrecursionlimit while budgets step aside: 3.11 must see the true depth."""
    swpy_limit_changing()
    try:
        set_limit(limit)
    finally:
        swpy_limit_changed()


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

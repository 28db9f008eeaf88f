# cython: language_level=3, binding=True, subinterpreters_compatible=shared_gil
"""stackwarden._calls: calls of Python functions on other stacks.

Promises: the function behaves as when it is called in place: result, exception, context, current frame, settrace
and signals. Only the stack is another one. Nothing of this module stands in a traceback. Uses the public table
alone, as an outsider would.
"""

import sys

from cpython.object cimport PyObject
from libc.stddef cimport size_t

cimport stackwarden
from stackwarden.callables cimport refuse_unless_run
from stackwarden.sizes cimport size_of

from _stackwarden_start.variables import OFF
from stackwarden._greenlets import GREENLETS_MODULE, watch
from stackwarden._status import status as package_status
from stackwarden.callables import refuse_undecorated
from stackwarden.errors import refusal


cdef extern from "Python.h":
    PyObject *PyObject_Call(PyObject *func, PyObject *args, PyObject *kwargs)


cdef extern from *:
    """
    /* Cython has each function of this module add a line of its own to tracebacks. Python folds lines of a runaway
     * that repeat; with ours between them it would print them all. So an exception of C may have no traceback
     * here, which `except` and `finally` of Cython bear, and its `with` does not: there is none in this file. */
    #define PyTraceBack_Here(frame) ((void)(frame))

    /* CPython 3.14 raises in the last 2 margins of 16 KiB and frees nothing in the 4 above; the rest is for the
     * function. On 3.11 it is 75 calls, on 3.12 and 3.13 109: importing a large module takes 55 to 69. */
    #define GROW_LEAST_ROOM ((size_t)192 << 10)
    static inline PyObject *grow_result(PyObject *result) { return result; }
    """
    const size_t GROW_LEAST_ROOM
    object result_of "grow_result"(PyObject *result)  # NULL: raises the pending exception


stackwarden.import_stackwarden()


# ---- stack sizes ----

cdef size_t default_size = 0


cdef size_t _default_size() except 0:
    global default_size
    if default_size == 0:
        default_size = package_status()["stack_size"]
    return default_size


cdef size_t _size_of(stack_size) except 0:
    """None stands for the setting `stack-size`."""
    return _default_size() if stack_size is None else size_of(stack_size, "stack_size")


# ---- calls ----

cdef struct Call:
    stackwarden.stackwarden_handle caller  # the stack of a call in place
    PyObject *func
    PyObject *args
    PyObject *kwargs
    PyObject *result  # NULL: an exception is pending
    bint hint_at_limit  # where it was the recursion limit that ended the call


cdef void _call(void *call) noexcept:
    if has_greenlets() and current() != (<Call *>call).caller:
        (<Call *>call).result = (<PyObject *(*)(Call *) noexcept><void *>_call_watched)(<Call *>call)
    else:
        (<Call *>call).result = PyObject_Call((<Call *>call).func, (<Call *>call).args, (<Call *>call).kwargs)
    if (<Call *>call).hint_at_limit and (<Call *>call).result == NULL:
        (<PyObject *(*)(Call *) noexcept><void *>_raise_with_hint)(<Call *>call)


cdef stackwarden.stackwarden_status _call_on_other_stack(size_t size, Call *call) noexcept:
    return stackwarden.call_on_stack(size, <stackwarden.stackwarden_function><void *>_call, call)


cdef stackwarden.stackwarden_status _maybe_grow(size_t room, size_t size, Call *call) noexcept:
    if has_greenlets():
        call.caller = current()
    return stackwarden.maybe_grow(room, size, <stackwarden.stackwarden_function><void *>_call, call)


cdef _refuse(stackwarden.stackwarden_status status, func, size_t size):
    what = f"{func!r} on a stack of {size} bytes"
    if status == stackwarden.STACKWARDEN_NO_MEMORY:  # for the stack, not for its record
        raise MemoryError(f"{what}: out of memory")
    raise refusal(<int>status, stackwarden.status_text(status).decode(), what)


# ---- greenlets that began on the stack, and may outlive the call ----

_loaded = sys.modules  # each interpreter has its own


cdef bint has_greenlets() noexcept:
    return GREENLETS_MODULE in <dict>_loaded


cdef stackwarden.stackwarden_handle current() noexcept:
    """The handle of the stack under the caller."""
    cdef stackwarden.stackwarden_stack here
    stackwarden.sync_stack()
    return here.handle if stackwarden.current_stack(&here) == stackwarden.STACKWARDEN_DONE else 0


cdef object _call_watched(Call *call):
    """The call on another stack. Greenlets that began there and are not over need the stack: it is retained."""
    greenlets = watch()
    try:
        result = result_of(PyObject_Call(call.func, call.args, call.kwargs))
    except BaseException as error:
        if greenlets is not None and greenlets.remain():
            stackwarden.retain_stack()
            raise greenlets.complaint(<object>call.func) from error
        raise
    if greenlets is not None and greenlets.remain():
        stackwarden.retain_stack()
        raise greenlets.complaint(<object>call.func)
    return result


def call_on_stack(func, /, *args, stack_size=None, **kwargs):
    """``func(*args, **kwargs)`` on another stack of ``stack_size`` bytes or more; its result, or its exception.

    ``stack_size``: bytes, or a text such as "512M"; by default the setting ``stack-size``, else 64 MiB. Memory
    is used as it is touched, and given back afterwards; stacks are pooled for further calls. The call shares the
    caller's execution state: it may suspend a coroutine that the caller is in.

    Raises, and does not call: StackRangeError, StackTooSmallError, MemoryError, NotRunningError, and TypeError for
    what a call does not run: async functions and generator functions.
    Raises StackLeftInUseError afterwards when greenlets that began on the stack are still alive.
    """
    cdef size_t size = _size_of(stack_size)
    cdef Call call = Call(0, <PyObject *>func, <PyObject *>args, <PyObject *>kwargs, NULL, False)
    refuse_unless_run("call_on_stack", func)
    cdef stackwarden.stackwarden_status status = _call_on_other_stack(size, &call)
    if status < 0:
        _refuse(status, func, size)
    return result_of(call.result)


def maybe_grow(func, /, *args, **kwargs):
    """``func(*args, **kwargs)``: in place while 192 KiB of the stack are left, else on another stack.

    For recursion of one's own through C code: put into its path it goes as deep as memory allows (and, for Python
    functions, ``sys.getrecursionlimit()``). The other stack has the size that ``call_on_stack`` gives by default,
    and the same exceptions are raised. ``growing`` is the decorator, with sizes of its own.
    """
    refuse_unless_run("maybe_grow", func)
    return result_of(_call_grown(GROW_LEAST_ROOM, _default_size(), func, args, kwargs))


def growing(function=None, /, *, room=None, stack_size=None):
    """Decorator, bare or with sizes: each call of the function goes through ``maybe_grow``, with these sizes.

    ``room``: bytes that must be left for a call in place, by default 192 KiB; ``stack_size``: of another stack, by
    default as for ``call_on_stack``. Both are bytes or a text such as "512K", and attributes of the decorated
    function. Raises TypeError for what a call does not run: async functions and generator functions.
    """
    from functools import wraps  # 2 ms of import time

    cdef size_t least = GROW_LEAST_ROOM if room is None else size_of(room, "room")
    cdef size_t size = max(_size_of(stack_size), least)

    def decorate(func):
        refuse_undecorated("growing", func)

        @wraps(func)
        def grown(*args, **kwargs):
            return result_of(_call_grown(least, size, func, args, kwargs))

        grown.room = least
        grown.stack_size = size
        return grown

    return decorate if function is None else decorate(function)


cdef PyObject *_call_grown(size_t room, size_t size, func, tuple args, dict kwargs) except? NULL:
    cdef Call call = Call(0, <PyObject *>func, <PyObject *>args, <PyObject *>kwargs, NULL, False)
    cdef stackwarden.stackwarden_status status = _maybe_grow(room, size, &call)
    if status < 0:
        _refuse(status, func, size)
    return call.result


# ---- sync_on_call ----

def _call_synced(room, func, tuple args, dict kwargs):
    """``func(*args, **kwargs)`` with the bounds of the stack under the caller for the time of the call.

    On another stack where fewer than ``room`` bytes are left, or it is not known how many; 0: always in place.
    """
    cdef stackwarden.stackwarden_request request
    cdef stackwarden.stackwarden_status status = stackwarden.enter_sync(&request)
    try:
        if room:
            return result_of(_call_grown(room, _default_size(), func, args, kwargs))
        return func(*args, **kwargs)
    finally:
        if status >= 0:
            stackwarden.leave_sync(&request)


def _synced(func, room):
    """For _sync_on_call.py: what it returns for a function."""
    from functools import wraps  # 2 ms of import time

    refuse_undecorated("sync_on_call", func)

    @wraps(func)
    def synced(*args, **kwargs):
        return _call_synced(room, func, args, kwargs)

    return synced


# ---- decorators that are blocks, too ----

def _within(begin, str user, func):
    """A function each call of which is made within a block of its own: `begin()` is the block."""
    from functools import wraps  # 2 ms of import time

    refuse_undecorated(user, func)

    @wraps(func)
    def within(*args, **kwargs):
        block = begin()
        block.__enter__()
        try:
            result = func(*args, **kwargs)
        except BaseException as error:
            if not block.__exit__(type(error), error, error.__traceback__):
                raise
            return None
        block.__exit__(None, None, None)
        return result

    return within


# ---- deep_recursion ----

cdef object _raise_with_hint(Call *call):
    """Raise what the call raised; where the recursion limit ended it, with a note of what would have helped."""
    try:
        return result_of(call.result)
    except RecursionError as error:
        from stackwarden._recursion_errors import hint_at_limit
        hint_at_limit(error)
        raise


cdef PyObject *_call_deep(size_t size, func, tuple args, dict kwargs, bint limited) except? NULL:
    """The outermost call gets a stack of the size; inner ones get another only where that is nearly used up."""
    cdef stackwarden.stackwarden_stack here
    cdef Call call = Call(0, <PyObject *>func, <PyObject *>args, <PyObject *>kwargs, NULL, False)
    cdef stackwarden.stackwarden_status status
    stackwarden.sync_stack()
    if stackwarden.current_stack(&here) == stackwarden.STACKWARDEN_DONE and here.pooled and here.size >= size:
        status = _maybe_grow(GROW_LEAST_ROOM, size, &call)
    else:
        call.hint_at_limit = not limited and not OFF
        status = _call_on_other_stack(size, &call)
    if status < 0:
        _refuse(status, func, size)
    return call.result


cdef _limit_of(limit):
    """Raises TypeError, ValueError."""
    if isinstance(limit, bool) or not hasattr(limit, "__index__"):
        raise TypeError(f"limit must be a number of calls, not {type(limit).__name__}: {limit!r}")
    limit = limit.__index__()
    if not 0 < limit < 2**31:
        raise ValueError(f"a recursion limit of {limit}: must be between 1 and 2**31 - 1")
    return limit


def deep_recursion(function=None, /, *, stack_size=None, limit=None):
    """Decorator, bare or with sizes: the outermost call of the function runs on a stack of ``stack_size``, inner
    ones grow as needed.

    For C recursion of the standard library (``repr``, ``json``, ``pickle``) the size is what counts. ``limit`` is
    the recursion limit of the interpreter, all threads included, for as long as a call is under way; a higher one
    stays. Effective is the highest of those of all calls under way and of the user's own, which
    ``sys.setrecursionlimit()`` may set meanwhile. Where none was given, a RecursionError of the limit has a note
    that says so.

    Raises TypeError for what a call does not run: async functions and generator functions. The decorated function
    raises what ``call_on_stack`` raises.
    """
    from functools import wraps  # 2 ms of import time

    cdef size_t size = _size_of(stack_size)
    cdef bint is_limited = limit is not None
    if is_limited:
        limit = _limit_of(limit)
        from stackwarden._raised_limit import call_with_limit

    def decorate(func):
        refuse_undecorated("deep_recursion", func)

        def deep(*args, **kwargs):
            return result_of(_call_deep(size, func, args, kwargs, is_limited))

        def limited(*args, **kwargs):
            return call_with_limit(limit, deep, args, kwargs)

        return wraps(func)(deep if limit is None or OFF else limited)

    return decorate if function is None else decorate(function)

# cython: language_level=3, subinterpreters_compatible=shared_gil
# cython: binding=False, embedsignature=True, embedsignature.format=clinic
"""Coroutines on stacks of their own. Each adapter compiles this with its own context.h, which has the jump.

Promises: while a coroutine runs, CPython's bounds and execution state are those of its stack; when resume()
returns, in whatever way, they are the resumer's. Uses the installed package alone, as an outsider would.

Functions are CPython's own built-in kind (binding=False): Cython's cost 8 % of a switch more. No function on the
stack of a suspended coroutine owns a reference to the coroutine: one that nobody else refers to is finalized,
which ends it, here or on its own thread (dropped.pxi).
"""

from contextvars import Context

from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t

cimport stackwarden
from stackwarden.callables cimport refuse_unless_run

from stackwarden.errors import CoroutineError, OtherThreadError, StackExit, refusal


cdef extern from "compiled.h":
    void PyErr_Restore(PyObject *type, PyObject *value, PyObject *traceback)
    void PyErr_WriteUnraisable(PyObject *object)


cdef extern from "context.h" nogil:
    ctypedef struct context:
        int done

    const char *CONTEXT_SYSTEM
    void context_make(
        context *self, char *base, size_t size, void (*run)(void *) noexcept nogil, void *argument)
    void context_free(context *self)
    void context_resume(context *self)
    void context_suspend(context *self)


cdef extern from "stack.h" nogil:
    void *current_coroutine()
    void set_current_coroutine(void *coroutine)


stackwarden.import_stackwarden()

DEFAULT_STACK_SIZE = 256 * 1024


cdef _check(stackwarden.stackwarden_status status, what):
    if status < 0:
        raise refusal(<int>status, stackwarden.status_text(status).decode(), what)


include "stacks.pxi"
include "dropped.pxi"


# ---- the coroutine ----

cdef enum State:
    NEW
    RUNNING
    SUSPENDED
    DONE


_STATES = ("not started", "running", "suspended", "done")


cdef class Coroutine:
    """``func(*args)`` on a stack of its own of ``stack_size`` (65536, "1M"), rounded up to whole pages.

    ``resume()`` runs it until it calls ``suspend(value)``, and returns the value; or until it is over, and returns
    what the function returns. Its exceptions travel out of ``resume()``. It starts with a copy of its creator's
    context. Iterating over it resumes it. With ``isolation="frames"`` it is resumed on the thread that it was
    started on; with "thread-state", which is slower, on any.

    Raises StackRangeError, StackTooSmallError, IsolationUnavailableError, MemoryError, TypeError.
    """

    cdef object __weakref__
    cdef context _context
    cdef StackMemory _stack
    cdef stackwarden.stackwarden_stack _place  # the stack to resume: its own, or one that it has entered
    cdef stackwarden.stackwarden_stack _resumer
    cdef uint64_t _chain
    cdef void *_outer
    cdef object _func
    cdef tuple _args
    cdef object _value
    cdef object _error
    cdef Home _home  # of isolation "frames": the thread that it was started on
    cdef State _state
    cdef bint _closing

    def __cinit__(self, func, /, *args, stack_size=DEFAULT_STACK_SIZE, isolation="frames"):
        refuse_unless_run("Coroutine", func)
        if dropped_coroutines:
            end_dropped()
        self._func = func
        self._args = args
        if isolation not in _ISOLATIONS:
            raise ValueError(f"isolation {isolation!r}: must be one of {', '.join(_ISOLATIONS)}")
        self._stack = _take_stack(_whole_pages(stack_size), isolation)
        self._place.handle = self._stack.stack.handle
        context_make(&self._context, <char *>self._stack.stack.base, self._stack.stack.size, _run, <void *>self)

    def __dealloc__(self):
        context_free(&self._context)

    def __del__(self):
        if self._state == SUSPENDED and not is_finalized():
            self._end_unreferenced(may_wait=True)

    @property
    def done(self):
        """True once the function has returned or raised, or the coroutine was closed."""
        return self._state == DONE

    @property
    def stack_base(self):
        """Address of the lowest usable byte of the stack; None once the coroutine is done."""
        return self._stack.stack.base if self._stack is not None else None

    def resume(self, value=None, /):
        """Run until the next suspend(), and return its value; or to the end, and return the result.

        ``value`` is what the coroutine's suspend() returns; the first resume() takes None. Raises what the
        function raises; CoroutineError when it runs or is done; OtherThreadError on a thread that did not start
        it.
        """
        if dropped_coroutines:
            end_dropped()
        if self._state != SUSPENDED:
            self._must_be_resumable()
            if value is not None:
                raise TypeError("the first resume() takes None: nothing in the coroutine waits for a value")
            if self._stack.isolation == "frames":
                self._home = home()
        self._value = value
        return _go_on(self)

    def throw(self, exception, /):
        """Raise an exception in the coroutine where it is suspended; returns and raises as resume() does.

        A coroutine that was not started never runs, and is done.
        """
        if isinstance(exception, type):
            exception = exception()
        if not isinstance(exception, BaseException):
            raise TypeError(f"throw() takes an exception, not {type(exception).__name__}")
        if dropped_coroutines:
            end_dropped()
        return self._throw(exception)

    def close(self):
        """End the coroutine: StackExit is raised in it, once more when it suspends again.

        Raises OtherThreadError on a thread that did not start it; CoroutineError when it runs, and when it
        suspends a second time: then nobody can end it, and its stack and all that its frames hold are leaked
        (``status()["leaked_stacks"]``).
        """
        if dropped_coroutines:
            end_dropped()
        if self._state == RUNNING:
            raise CoroutineError(f"{self!r}: it cannot be closed from inside")
        if self._state == NEW:
            self._end()
        self._closing = True
        try:
            for _ in range(2):
                if self._state == SUSPENDED:
                    self._throw_exit()
        finally:
            self._closing = False
        if self._state == SUSPENDED:
            self._end(abandoned=True)
            raise CoroutineError(f"{self!r} could not be ended, and its stack is leaked")

    def __iter__(self):
        return self

    def __next__(self):
        if self._state == DONE:
            raise StopIteration
        value = self.resume()
        if self._state == DONE:
            raise StopIteration(value)
        return value

    def __repr__(self):
        return f"<Coroutine of {self._func!r}, {_STATES[self._state]}>"

    cdef _must_be_resumable(self):
        if self._state == RUNNING or self._state == DONE:
            raise CoroutineError(f"{self!r}: it cannot be resumed")

    cdef _throw(self, exception):
        self._must_be_resumable()
        if self._state == NEW:
            self._end()
            raise exception
        self._value = None
        self._error = exception
        return _go_on(self)

    cdef _throw_exit(self):
        try:
            self._throw(StackExit())
        except StackExit:
            pass

    cdef _raise(self):
        error, self._error = self._error, None
        _restore(error)

    cdef void _end_unreferenced(self, bint may_wait) noexcept:
        """The end of a coroutine that nobody refers to: now, or on its own thread, or never."""
        try:
            self.close()
        except CoroutineError:
            pass  # it is leaked, and counted
        except OtherThreadError:
            if not (may_wait and wait_at_home(self)):
                self._end(abandoned=True)
        except BaseException as error:
            _set_exception(error)
            PyErr_WriteUnraisable(<PyObject *>self)

    cdef _end(self, bint abandoned=False):
        if self._state == NEW:
            stackwarden.renew_stack(self._stack.stack.handle, <PyObject *>_EMPTY)  # releases the context
        self._state = DONE
        self._args = self._home = None
        if abandoned:
            self._error = None
        else:
            _give_back_stack(self._stack)
        self._stack = None


cdef inline _go_on(Coroutine coroutine):
    """Resume a coroutine; returns or raises what it suspends with. Inlined: the processor predicts each return
    after a jump wrongly."""
    cdef stackwarden.stackwarden_status status = _switch_to(coroutine)
    if status < 0:
        coroutine._value = coroutine._error = None
        _check(status, repr(coroutine))
    value, coroutine._value = coroutine._value, None
    if coroutine._context.done:
        coroutine._end()
        if coroutine._error is not None:
            coroutine._raise()
    return value


cdef int _restore(error) except -1:
    """Raise an exception that was raised before. `raise` would set its __context__ to the handled exception."""
    _set_exception(error)
    return -1


cdef void _set_exception(error) noexcept:
    cdef object kind = type(error)
    cdef object traceback = error.__traceback__
    Py_INCREF(kind)
    Py_INCREF(error)
    if traceback is not None:
        Py_INCREF(traceback)
    PyErr_Restore(
        <PyObject *>kind, <PyObject *>error, <PyObject *>traceback if traceback is not None else NULL)


cdef stackwarden.stackwarden_status _switch_to(Coroutine coroutine) noexcept:
    """To the coroutine's stack and back, with bounds and execution state."""
    cdef stackwarden.stackwarden_status status
    if stackwarden.current_handle() != coroutine._resumer.handle:
        stackwarden.current_stack(&coroutine._resumer)
    status = stackwarden.start_switch(&coroutine._place, 0)
    if status == stackwarden.STACKWARDEN_DONE:
        coroutine._outer = current_coroutine()
        set_current_coroutine(<void *>coroutine)
        coroutine._state = RUNNING
        context_resume(&coroutine._context)
        set_current_coroutine(coroutine._outer)
        stackwarden.finish_switch()
    return status


cdef void _run(void *coroutine) noexcept nogil:
    """The outermost function on the coroutine's stack."""
    cdef stackwarden.stackwarden_stack here
    stackwarden.finish_switch()
    stackwarden.current_stack(&here)
    (<Coroutine>coroutine)._chain = here.chain
    (<void (*)(void *) noexcept nogil><void *>_call)(coroutine)
    stackwarden.start_switch(&(<Coroutine>coroutine)._resumer, stackwarden.STACKWARDEN_SWITCH_ENDS)


cdef void _call(void *coroutine) noexcept:
    if (<Coroutine>coroutine)._error is not None:
        return  # it was closed before it began, while a switch callback waited
    try:
        (<Coroutine>coroutine)._value = (<Coroutine>coroutine)._func(*(<Coroutine>coroutine)._args)
    except BaseException as error:
        (<Coroutine>coroutine)._error = error


def suspend(value=None, /):
    """Suspend the running coroutine: its resume() returns ``value``. Returns what the next resume() is given, or
    raises what throw() is given.

    May be called anywhere below the coroutine's function, also on another stack that was entered there by a nested
    call. Raises CoroutineError outside of coroutines, and where another kind of coroutine runs inside this one.
    """
    cdef void *coroutine = current_coroutine()
    cdef stackwarden.stackwarden_status status
    cdef stackwarden.stackwarden_handle handle
    if dropped_coroutines:
        end_dropped()
    if coroutine == NULL:
        raise CoroutineError("suspend() was called outside of any coroutine of this adapter")
    handle = stackwarden.current_handle()
    if handle != (<Coroutine>coroutine)._stack.stack.handle or handle != (<Coroutine>coroutine)._place.handle:
        _note_place(<Coroutine>coroutine)
    (<Coroutine>coroutine)._value = value
    value = None
    status = _switch_back(coroutine)
    if status < 0:
        _check(status, "suspend()")
    if (<Coroutine>coroutine)._error is not None:
        error = (<Coroutine>coroutine)._error
        if not (<Coroutine>coroutine)._closing:  # else a switch callback may have swallowed it
            (<Coroutine>coroutine)._error = None
        try:
            raise error
        finally:
            error = None
    value, (<Coroutine>coroutine)._value = (<Coroutine>coroutine)._value, None
    return value


cdef int _note_place(Coroutine coroutine) except -1:
    """The coroutine suspends on another stack than before: its own, or one that it has entered."""
    cdef stackwarden.stackwarden_stack here
    stackwarden.current_stack(&here)
    if here.chain != coroutine._chain:
        raise CoroutineError("suspend() was called on a stack that the running coroutine did not enter")
    coroutine._place = here
    if here.handle == coroutine._stack.stack.handle:
        coroutine._place.base = 0  # by its handle alone: once unregistered it must not be taken for a new stack
    return 0


cdef stackwarden.stackwarden_status _switch_back(void *coroutine) noexcept nogil:
    cdef stackwarden.stackwarden_status status = stackwarden.start_switch(&(<Coroutine>coroutine)._resumer, 0)
    if status == stackwarden.STACKWARDEN_DONE:
        (<Coroutine>coroutine)._state = SUSPENDED
        context_suspend(&(<Coroutine>coroutine)._context)
        stackwarden.finish_switch()
    return status

# cython: language_level=3, binding=True, subinterpreters_compatible=shared_gil
"""Coroutines on stacks of their own, made with makecontext and swapcontext.

Promises: while a coroutine runs, CPython's bounds are those of its stack; when resume() comes back, in whatever
way, they are those of the resumer's. Uses the installed package alone, as an outsider would.
"""

from libc.stddef cimport size_t

cimport stackwarden
from stackwarden.errors import CoroutineError, IsolationRequired, StackRangeError, StackTooSmallError

cdef extern from "context.h" nogil:
    ctypedef struct context:
        int done

    size_t memory_page()
    char *memory_map(size_t size)
    void memory_unmap(char *base, size_t size)
    void context_free(context *self)
    void context_resume(context *self)

cdef extern from "context.h":
    void context_make(context *self, char *base, size_t size, void (*run)(void *) noexcept, void *argument)


stackwarden.import_stackwarden()

DEFAULT_STACK_SIZE = 256 * 1024


# ---- stacks, registered for as long as they are mapped ----

cdef class StackMemory:
    """A mapped and registered stack above a guard page."""

    cdef char *base
    cdef readonly size_t size
    cdef stackwarden.stackwarden_handle handle

    def __cinit__(self, size_t size):
        cdef stackwarden.stackwarden_status status
        self.base = memory_map(size)
        if self.base == NULL:
            raise MemoryError(f"a stack of {size} bytes could not be mapped")
        self.size = size
        status = stackwarden.register_stack(self.base, size, NULL, b"ucontext", 0, &self.handle)
        if status != stackwarden.STACKWARDEN_DONE:
            raise StackTooSmallError(f"a stack of {size} bytes: {stackwarden.status_text(status).decode()}")

    def __dealloc__(self):
        if self.base != NULL:
            stackwarden.unregister_stack(self.handle)
            memory_unmap(self.base, self.size)


POOLED_STACKS = 16  # of each size
_pool = {}


cdef size_t _whole_pages(stack_size) except 0:
    cdef size_t page = memory_page()
    if not 0 < stack_size < 2**47:
        raise StackRangeError(f"a stack of {stack_size} bytes: must be between 1 and 2**47 - 1")
    return (<size_t>stack_size + page - 1) // page * page


cdef StackMemory _take_stack(size_t size):
    free = _pool.get(size)
    return free.pop() if free else StackMemory(size)


cdef _give_back_stack(StackMemory stack):
    free = _pool.setdefault(stack.size, [])
    if len(free) < POOLED_STACKS:
        free.append(stack)


# ---- the coroutine ----

cdef class Coroutine:
    """``func(*args)`` on a stack of its own of ``stack_size`` bytes (rounded up to whole pages).

    ``resume()`` runs it, and returns what the function returns; its exceptions travel out of ``resume()``.
    Attached (with the GIL) from end to end; it is resumed by one thread.

    Raises StackRangeError, StackTooSmallError, MemoryError.
    """

    cdef context _context
    cdef StackMemory _stack
    cdef object _func
    cdef tuple _args
    cdef object _result
    cdef BaseException _error
    cdef bint _running
    cdef readonly bint done
    """True once the function has returned or raised, or close() was called."""

    def __cinit__(self, func, /, *args, stack_size=DEFAULT_STACK_SIZE):
        if not callable(func):
            raise TypeError(f"a coroutine runs a callable, not {type(func).__name__}")
        self._func = func
        self._args = args
        self._stack = _take_stack(_whole_pages(stack_size))
        context_make(&self._context, self._stack.base, self._stack.size, _run, <void *>self)

    def __dealloc__(self):
        context_free(&self._context)

    @property
    def stack_base(self):
        """Address of the lowest usable byte of the stack; None once the coroutine is done."""
        return <size_t>self._stack.base if self._stack is not None else None

    def resume(self, value=None, /):
        """Run until the function is done, and return its result. The first resume takes None.

        Raises what the function raises; CoroutineError when it runs already or is done.
        """
        if self.done or self._running:
            raise CoroutineError(f"{self!r} {'is done' if self.done else 'runs already'}")
        if value is not None:
            raise TypeError("the first resume() takes None: nothing in the coroutine waits for a value")
        self._running = True
        _switch_to(self)
        self._running = False
        self._end()
        if self._error is not None:
            self._raise()
        result, self._result = self._result, None
        return result

    def close(self):
        """Give the stack back. A coroutine that was not resumed never runs; one that is done stays so.

        Raises CoroutineError when it runs.
        """
        if self._running:
            raise CoroutineError(f"{self!r} runs: it cannot be closed from inside")
        if not self.done:
            self._end()

    def __repr__(self):
        state = "done" if self.done else "running" if self._running else "not started"
        return f"<Coroutine of {self._func!r}, {state}>"

    cdef _raise(self):
        error, self._error = self._error, None
        try:
            raise error
        finally:
            error = None

    cdef _end(self):
        self.done = True
        _give_back_stack(self._stack)
        self._stack = None
        self._args = None


cdef void _switch_to(Coroutine coroutine) noexcept:
    """To the coroutine's stack and back, with the bounds of the stack that is gone to, each time."""
    cdef stackwarden.stackwarden_stack resumer
    stackwarden.current_stack(&resumer)
    stackwarden.switch_to(coroutine._stack.handle)
    context_resume(&coroutine._context)
    stackwarden.leave_stack(&resumer)


cdef void _run(void *argument) noexcept:
    """The first function on the coroutine's stack."""
    cdef Coroutine coroutine = <Coroutine>argument
    try:
        coroutine._result = coroutine._func(*coroutine._args)
    except BaseException as error:
        coroutine._error = error


def suspend(value=None, /):
    """Go back to the resumer: not in this release.

    Raises IsolationRequired: a coroutine that is left with Python frames on it needs execution state of its own.
    """
    raise IsolationRequired(
        "a coroutine that suspends with Python frames on its stack needs execution state of its own")

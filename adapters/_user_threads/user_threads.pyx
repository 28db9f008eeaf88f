# cython: language_level=3, binding=True
"""Python on user threads, which several operating-system threads run. Each adapter compiles this with a system.h
of its own, which loads the library of the system at run time.

Promises: while a user thread runs Python, CPython's bounds and execution state are its own, wherever it is
resumed; while the system's scheduler runs, the GIL is free. Uses the installed package alone, as an outsider
would.
"""

from contextvars import copy_context
from weakref import WeakSet

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stddef cimport size_t
from libc.stdlib cimport calloc, free

cimport stackwarden
from stackwarden.callables cimport refuse_unless_run
from stackwarden.sizes cimport size_of

import os

from stackwarden.errors import (
    IsolationRequiredError,
    StackTooSmallError,
    SystemMissingError,
    SystemTooOldError,
    SystemUnfitError,
    UserThreadError,
    refusal,
)


cdef extern from "compiled.h":
    pass


cdef extern from "system.h" nogil:
    const char *SYSTEM_NAME
    const char *SYSTEM_LIBRARY
    const char *SYSTEM_FIRST_FUNCTION
    const char *SYSTEM_NEEDS
    int MOST_WORKERS
    const char *system_find_functions(void *library)
    int system_hook()
    void system_unhook()
    user_thread_place system_place()
    int system_take_stack(user_thread *self)
    void system_give_stack_back(user_thread *self)
    int system_workers


cdef extern from "dlfcn.h" nogil:
    enum:
        RTLD_NOW
        RTLD_NOLOAD
    void *dlopen(const char *path, int flags)
    void *dlsym(void *library, const char *name)
    int dlclose(void *library)
    const char *dlerror()


cdef extern from "user_threads.h":
    ctypedef struct user_thread:
        char *base
        size_t size
        PyObject *task
        PyObject *context
        stackwarden.stackwarden_status entered
        stackwarden.stackwarden_handle handle
        int started
        int finished

    ctypedef enum user_thread_place:
        PLACE_OUTSIDE
        PLACE_NATIVE
        PLACE_ENTERED
        PLACE_NOT_ENTERED

    enum:
        CREATE
        JOIN
        PASS
        START
        STOP

    ctypedef struct switching_call:
        int what
        user_thread *thread
        int workers
        int result

    void (*user_thread_work)(PyObject *task) noexcept
    stackwarden.stackwarden_status switching_call_make(switching_call *self)


stackwarden.import_stackwarden()
user_thread_work = work

DEFAULT_STACK_SIZE = 256 * 1024
cdef size_t PAGE = 4096
cdef bint _loaded = False
cdef bint _installed = False


# ---- the adapter: what stackwarden.adapters calls ----

def is_loaded():
    cdef void *library = dlopen(SYSTEM_LIBRARY, RTLD_NOW | RTLD_NOLOAD)
    if library != NULL:
        dlclose(library)
    return library != NULL


def install(*, library=None):
    """Load the system's library, a path, or by its name, and tell the core of what it tells."""
    global _installed
    _load(SYSTEM_LIBRARY if library is None else os.fsencode(library))
    cdef int error = system_hook()
    if error:
        raise SystemUnfitError(f"{SYSTEM_NAME.decode()}: error {error} when the tool callback was registered")
    _installed = True


def uninstall():
    global _installed
    system_unhook()
    _installed = False


cdef _load(bytes path):
    global _loaded
    cdef void *library = dlopen(path, RTLD_NOW)
    cdef const char *missing
    if library == NULL:
        raise SystemMissingError(f"{SYSTEM_NAME.decode()}: {dlerror().decode()}")
    if dlsym(library, SYSTEM_FIRST_FUNCTION) == NULL:
        dlclose(library)
        raise SystemUnfitError(f"{os.fsdecode(path)} is not {SYSTEM_NAME.decode()}: it has no "
                               f"{SYSTEM_FIRST_FUNCTION.decode()}")
    missing = system_find_functions(library)
    if missing != NULL:
        dlclose(library)
        raise SystemTooOldError(f"{os.fsdecode(path)} has no {missing.decode()}: "
                                f"{SYSTEM_NEEDS.decode()} is needed")
    _loaded = True


# ---- calls that may switch ----

cdef _refused(stackwarden.stackwarden_status status):
    return refusal(<int>status, stackwarden.status_text(status).decode(), SYSTEM_NAME.decode())


cdef int _make(switching_call *call) except? -1:
    cdef user_thread_place place
    cdef stackwarden.stackwarden_status status
    if not _installed:
        raise UserThreadError(f"the adapter {SYSTEM_NAME.decode()!r} is not installed")
    place = system_place()
    if place == PLACE_NOT_ENTERED:
        raise IsolationRequiredError("this user thread runs Python without having entered: a UserThread "
                                     "enters, and so does stackwarden_user_thread_enter() in C")
    if place == PLACE_OUTSIDE and call.what != START:
        raise UserThreadError("this operating-system thread is no worker of " + SYSTEM_NAME.decode())
    status = switching_call_make(call)
    if status < 0:
        raise _refused(status)
    return call.result


def pause():
    """Let other user threads run. Comes back when it is this one's turn again, perhaps elsewhere."""
    cdef switching_call call = switching_call(what=PASS)
    _make(&call)


class workers:  # noqa: N801
    """``with workers(2):`` the system, with so many operating-system threads, the caller's among them.

    For programs that do not initialise it themselves. In the end it waits for all user threads.
    """

    def __init__(self, count):
        if not 0 < count <= MOST_WORKERS:
            raise ValueError(f"{count} workers: 1 to {MOST_WORKERS} are possible")
        self.count = count

    def __enter__(self):
        cdef switching_call call = switching_call(what=START, workers=self.count)
        if system_workers:
            raise UserThreadError(f"{SYSTEM_NAME.decode()} has {system_workers} workers already")
        error = _make(&call)
        if error:
            raise SystemUnfitError(f"{SYSTEM_NAME.decode()} does not start: error {error}")
        return self

    def __exit__(self, *exception):
        cdef switching_call call = switching_call(what=STOP)
        cdef UserThread thread
        for thread in list(_unjoined):
            thread.end()
        _end_dropped(wait=True)
        _make(&call)


# ---- user threads ----

cdef class _Task:
    cdef object function, args, kwargs, result, error


cdef void work(PyObject *running) noexcept:
    cdef _Task task = <_Task>running
    try:
        task.result = task.function(*task.args, **task.kwargs)
    except BaseException as error:
        task.error = error
    task.function = task.args = task.kwargs = None


_unjoined = WeakSet()
cdef list _dropped = []  # user threads that nobody refers to, and nobody has joined


cdef class _Dropped:
    cdef user_thread *thread


cdef class UserThread:
    """``UserThread(function, /, *args, stack_size=262144, **kwargs)``: a user thread that calls a function.

    It is ready to run at once, with a copy of the caller's context. ``join()`` returns what it returned.
    """
    cdef user_thread *_thread  # NULL: joined
    cdef _Task _task
    cdef bint _joining
    cdef object __weakref__

    def __init__(self, function, /, *args, stack_size=DEFAULT_STACK_SIZE, **kwargs):
        cdef switching_call call = switching_call(what=CREATE)
        if self._task is not None:
            raise UserThreadError("it was started already")
        refuse_unless_run("UserThread", function)
        stack_size = size_of(stack_size, "stack_size")
        if stack_size < stackwarden_least_size():
            raise StackTooSmallError(f"{stack_size} bytes: at least {stackwarden_least_size()} are needed")
        _end_dropped(wait=False)
        cdef _Task task = _Task.__new__(_Task)
        task.function, task.args, task.kwargs = function, args, kwargs
        call.thread = _new_thread(task, copy_context(), stack_size)
        try:
            error = _make(&call)
            if error:
                raise UserThreadError(f"{SYSTEM_NAME.decode()} made no user thread: error {error}")
        except BaseException:
            _free_thread(call.thread)
            raise
        self._task = task
        self._thread = call.thread
        _unjoined.add(self)

    @property
    def done(self):
        """Has the function returned or raised?"""
        return self._task is not None and (self._thread == NULL or bool(self._thread.finished))

    def join(self):
        """Wait for it, letting other user threads run; its result. What it raised is raised."""
        if self._task is None:
            raise UserThreadError("it was never started")
        self.end()
        if self._task.error is not None:
            raise self._task.error
        return self._task.result

    cdef end(self):
        """Wait for it, once."""
        while self._joining:
            pause()
        if self._thread != NULL:
            self._joining = True
            try:
                _join(self._thread, self._task)
                self._thread = NULL
            finally:
                self._joining = False
            _unjoined.discard(self)

    def __dealloc__(self):
        cdef _Dropped dropped
        if self._thread != NULL:
            dropped = _Dropped.__new__(_Dropped)
            dropped.thread = self._thread
            _dropped.append(dropped)


cdef size_t stackwarden_least_size():
    from stackwarden import status
    return status()["least_stack_size"]


cdef user_thread *_new_thread(_Task task, context, size_t stack_size) except NULL:
    cdef user_thread *thread = <user_thread *>calloc(1, sizeof(user_thread))
    if thread == NULL:
        raise MemoryError
    thread.size = (stack_size + PAGE - 1) // PAGE * PAGE
    if system_take_stack(thread) < 0:
        free(thread)
        raise MemoryError
    thread.task = <PyObject *>task
    thread.context = <PyObject *>context
    Py_INCREF(task)
    Py_INCREF(context)
    return thread


cdef _free_thread(user_thread *thread):
    system_give_stack_back(thread)
    Py_DECREF(<object>thread.task)
    Py_DECREF(<object>thread.context)
    free(thread)


cdef _join(user_thread *thread, _Task task):
    """Wait for a user thread and free it; what has become of it that is no result goes into the task."""
    cdef switching_call call = switching_call(what=JOIN, thread=thread)
    _make(&call)
    if thread.entered < 0:
        task.error = _refused(thread.entered)
    elif not thread.finished:
        task.error = UserThreadError("it was cancelled")
    if thread.finished or not thread.started:
        _free_thread(thread)
    else:
        # It was ended in the middle of Python: its frames lie on its stack, which therefore stays as it is.
        stackwarden.unregister_stack(thread.handle)


cdef _end_dropped(bint wait):
    """Join user threads that nobody can join any more: those that are finished, or all."""
    cdef _Dropped dropped
    global _dropped
    cdef list candidates = _dropped
    _dropped = []
    for dropped in candidates:
        if wait or dropped.thread.finished:
            _join(dropped.thread, <_Task>dropped.thread.task)
        else:
            _dropped.append(dropped)

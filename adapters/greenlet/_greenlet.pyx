# cython: language_level=3, subinterpreters_compatible=shared_gil
"""The functions that replace greenlet's while the adapter is installed, and the records of greenlets.

Promises: after each switch and each throw CPython's bounds are those of the stack that the greenlet runs on,
before it runs Python again. A greenlet is resumed in two ways, and both end in sync(): `switch` or `throw`
returns (methods and C API), or the deallocation of another greenlet does. A new one begins on the current stack.
A tracer runs before all of these, so a Tracer calls it, which syncs first. A greenlet that was suspended before
install returns from greenlet's own functions: while there are such, each thread that switches gets a Tracer.
Bounds alone are applied: greenlet itself has swapped the execution state.

A tracer would be enough, but one in C that does nothing costs 40 to 67 % of a switch (measured with greenlet 3.5.6
on five versions), and each thread needs its own.

    of greenlet                      replaced by
    methods switch, throw            switch_method, throw_method
    C API, slots 6, 5 and 3          switch_function, throw_function, new_function
    functions settrace, gettrace     settrace_function, gettrace_function
    type slots tp_new, tp_dealloc    make, destroy

All callers go through these, also those that imported a name earlier. Everything here requires the GIL.
"""

import gc
import sys

import greenlet

cimport cython
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from libc.stddef cimport size_t
from libc.stdint cimport UINTPTR_MAX, uint64_t, uintptr_t

cimport stackwarden
from stackwarden.sizes cimport size_of

from stackwarden import status
from stackwarden.errors import IsolationRequiredError, StackTooSmallError, SystemUnfitError


cdef extern from "compiled.h":
    pass


cdef extern from "Python.h":
    ctypedef PyObject *(*PyCFunction)(PyObject *, PyObject *) noexcept
    ctypedef PyObject *(*PyCFunctionWithKeywords)(PyObject *, PyObject *, PyObject *) noexcept
    ctypedef PyObject *(*newfunc)(PyTypeObject *, PyObject *, PyObject *) noexcept
    ctypedef void (*destructor)(PyObject *) noexcept

    ctypedef struct PyThreadState
    ctypedef struct PyCodeObject
    ctypedef struct PyFrameObject

    ctypedef struct PyMethodDef:
        PyCFunction ml_meth
        int ml_flags

    ctypedef struct PyMethodDescrObject:
        PyMethodDef *d_method

    ctypedef struct PyCFunctionObject:
        PyMethodDef *m_ml

    ctypedef struct PyTypeObject:
        newfunc tp_new
        destructor tp_dealloc

    int METH_VARARGS
    int METH_KEYWORDS
    int METH_NOARGS
    int PyCFunction_Check(object function)
    int PyObject_TypeCheck(PyObject *, PyTypeObject *)
    Py_ssize_t Py_REFCNT(PyObject *)
    void *PyCapsule_Import(const char *name, int no_block) except NULL
    PyThreadState *PyThreadState_Get()
    void PyErr_Clear()
    void PyErr_Format(object kind, const char *form, ...)
    PyFrameObject *PyEval_GetFrame()
    PyCodeObject *PyFrame_GetCode(PyFrameObject *frame)
    PyFrameObject *PyFrame_GetBack(PyFrameObject *frame)
    int PyFrame_GetLasti(PyFrameObject *frame)
    int PyCode_Addr2Line(PyCodeObject *code, int byte)
    void decref "Py_XDECREF"(PyObject *)
    void incref "Py_XINCREF"(PyObject *)


cdef extern from * nogil:
    """
    #ifdef _MSC_VER
    #include <intrin.h>
    #define GREENLET_STACK_POINTER() ((uintptr_t)_AddressOfReturnAddress())
    #define GREENLET_THREAD_LOCAL __declspec(thread)
    #else
    #define GREENLET_STACK_POINTER() ((uintptr_t)__builtin_frame_address(0))
    #if defined(__GLIBC__) /* static TLS has a surplus for libraries that are loaded late: a load, not a call */
    #define GREENLET_THREAD_LOCAL __thread __attribute__((tls_model("initial-exec")))
    #else
    #define GREENLET_THREAD_LOCAL __thread
    #endif
    #endif
    /* The greenlet that runs on this thread, as far as is known: an address to look up, never followed. Asking
     * greenlet costs three times as much. Since which installation: between two of them nothing is seen. */
    static GREENLET_THREAD_LOCAL PyObject *greenlet_running;
    static GREENLET_THREAD_LOCAL unsigned greenlet_running_since;
    static GREENLET_THREAD_LOCAL int greenlet_limited; /* the applied bounds are those of a budget */
    """
    uintptr_t stack_pointer "GREENLET_STACK_POINTER"()
    PyObject *running "greenlet_running"
    unsigned running_since "greenlet_running_since"
    bint limited "greenlet_limited"


cdef extern from *:
    """
    /* A greenlet whose deallocation has begun is referred to once more, as greenlet's own dealloc does
     * where one survives: a heap type gives up its reference to itself with each dealloc of an instance. */
    static void resurrect(PyObject *dying)
    {
        if (PyType_HasFeature(Py_TYPE(dying), Py_TPFLAGS_HEAPTYPE)) {
            Py_INCREF(Py_TYPE(dying));
        }
        _Py_NewReference(dying);
    }
    """
    void resurrect(PyObject *dying) noexcept


stackwarden.import_stackwarden()


# ---- greenlet's C API: a table of functions with fixed numbers ----

cdef enum:
    API_NEW = 3
    API_GET_CURRENT = 4
    API_THROW = 5
    API_SWITCH = 6
    API_MAIN = 8
    API_STARTED = 9
    API_ACTIVE = 10

ctypedef PyObject *(*api_new)(PyObject *, PyObject *) noexcept
ctypedef PyObject *(*api_get_current)() noexcept
ctypedef PyObject *(*api_throw)(PyObject *, PyObject *, PyObject *, PyObject *) noexcept
ctypedef PyObject *(*api_switch)(PyObject *, PyObject *, PyObject *) noexcept
ctypedef int (*api_question)(PyObject *) noexcept

cdef void **api = NULL
cdef PyTypeObject *greenlet_type = NULL
cdef api_get_current get_current = NULL
cdef api_question is_main = NULL
cdef api_question is_started = NULL
cdef api_question is_active = NULL


# ---- records ----

@cython.final
@cython.no_gc
cdef class Record:
    """What is known of one greenlet, for as long as that lives. All sizes are in bytes."""

    cdef PyObject *_greenlet  # borrowed; NULL once it is gone
    cdef PyCodeObject *_code  # the code that made the greenlet, or NULL
    cdef int _instruction
    cdef uintptr_t _start  # address at which its stack begins; 0: not known
    cdef uintptr_t _base  # lowest usable address of the stack that it began on
    cdef uintptr_t _pointer  # stack pointer when it was suspended last, on the stack that it began on
    cdef PyObject **_thread  # where its thread has `running`; NULL: not known
    cdef uintptr_t _suspended_at  # stack pointer when it was suspended last, on whichever stack
    cdef bint _on_pooled  # it began on a stack of call_on_stack()
    cdef size_t _deepest
    cdef size_t _budget
    cdef uint64_t _suspensions  # while the adapter is installed, and one for being suspended before
    cdef bint _began  # while the adapter is installed
    cdef bint _suspended_before  # the adapter was installed, and not resumed since
    cdef bint _started  # greenlet says so
    cdef object _name

    def __dealloc__(self):
        decref(<PyObject *>self._code)

    @property
    def greenlet(self):
        """The greenlet, or None once it is gone."""
        if self._greenlet == NULL or Py_REFCNT(self._greenlet) == 0:
            return None
        return <object>self._greenlet

    @property
    def name(self):
        """Its attribute `name`; else "main", the name of its function once that was seen, or of its class."""
        one = self.greenlet
        if one is not None:
            self._name = _name_of(one) or self._name
        return self._name or (one is not None and type(one).__qualname__) or None

    @property
    def made_at(self):
        """(file, line, function) where it was made; None for main ones, and those made before install."""
        if self._code == NULL:
            return None
        code = <object>self._code
        return code.co_filename, PyCode_Addr2Line(self._code, self._instruction), code.co_qualname

    @property
    def switches(self):
        """How often it was switched to while the adapter was installed."""
        one = self.greenlet
        if one is None:
            return self._began + self._suspensions
        return (self._began and is_started(self._greenlet)) + self._suspensions - (one.gr_frame is not None)

    @property
    def stack_base(self):
        """Lowest usable address of the stack that it began on; None: it did not, or not while installed."""
        return self._base or None

    @property
    def stack_used(self):
        """Bytes from where its stack begins to where it runs or is suspended; None: not known where it began."""
        if self._greenlet == NULL or not is_active(self._greenlet):
            return 0
        if not self._start:
            return None
        if self.greenlet is greenlet.getcurrent():
            note(<PyObject *>self, stack_pointer())
        return self._start - self._pointer

    @property
    def high_water(self):
        """The most bytes that were in use when it was suspended, or looked at while it ran."""
        return self._deepest

    @property
    def budget(self):
        """Bytes that it may use from where its stack begins, as if that were a stack of so many bytes; None: all.
        It is set to bytes or a text such as "512K".

        Setting it raises StackTooSmallError; SystemUnfitError before CPython 3.14.1; ValueError for a main
        greenlet and one that began before install.
        """
        return self._budget or None

    @budget.setter
    def budget(self, size):
        cdef size_t budget = _checked_budget(size)
        if budget:
            if self._greenlet != NULL and not self._began and is_started(self._greenlet):
                raise ValueError(f"{self!r}: it is not known where its stack begins")
        self._budget = budget
        if self.greenlet is greenlet.getcurrent():
            apply_budget(<PyObject *>self)

    @property
    def stack_saved(self):
        """What greenlet has copied from the stack to the heap, because another greenlet needed the place."""
        found = self.greenlet
        return 0 if found is None else found._stack_saved

    def __repr__(self):
        return (
            f"<Record of {self.greenlet!r}, name {self.name!r}, made at {self.made_at}, {self.stack_used} bytes "
            f"in use, {self.stack_saved} saved, at most {self.high_water}, {self.switches} switches>")


cdef _name_of(found):
    name = getattr(found, "name", None)
    if isinstance(name, str) and name:
        return name
    if is_main(<PyObject *>found):
        return "main"
    run = getattr(found, "run", None) if not is_started(<PyObject *>found) else _outermost_code(found.gr_frame)
    return getattr(run, "__qualname__", None) or getattr(run, "co_qualname", None)


cdef _outermost_code(frame):
    code = None
    while frame is not None:
        code = frame.f_code
        frame = frame.f_back
    return code


cdef void note(PyObject *record, uintptr_t pointer) noexcept:
    """The greenlet of a record is about to be suspended at this depth. On another stack than its own nothing is
    known."""
    cdef Record found = <Record>record
    cdef size_t used = found._start - pointer
    if used <= found._start - found._base:
        found._pointer = pointer
        if used > found._deepest:
            found._deepest = used


cdef void begin(PyObject *record, uintptr_t pointer) noexcept:
    """The greenlet of a record begins here, on the current stack; a main one began at the top of it."""
    cdef Record found = <Record>record
    cdef stackwarden.stackwarden_stack here
    if stackwarden.current_stack(&here) == stackwarden.STACKWARDEN_DONE:
        found._base = here.base
        found._began = not is_main(found._greenlet)
        found._on_pooled = found._began and here.pooled
        found._start = pointer if found._began else here.base + here.size
        found._pointer = pointer


# ---- budgets: bounds of a part of the current stack ----

ctypedef int (*protection_setter)(PyThreadState *, void *, size_t) noexcept

cdef protection_setter set_protection = NULL  # not NULL once a budget was set: each switch looks for one
cdef size_t default_budget = 0


cdef size_t _checked_budget(size) except? 0:
    """0 for None. Raises StackTooSmallError, StackRangeError, SystemUnfitError, TypeError."""
    if size is None:
        return 0
    _find_setter()
    cdef size_t budget = size_of(size, "a budget")
    least = status()["least_stack_size"]
    if budget < least:
        raise StackTooSmallError(f"a budget of {budget} bytes: at least {least} are needed")
    return budget


cdef _find_setter():
    """CPython's own setter, which came with 3.14.1."""
    global set_protection
    import ctypes
    function = getattr(ctypes.pythonapi, "PyUnstable_ThreadState_SetStackProtection", None)
    if function is None:
        raise SystemUnfitError(
            "a budget of stack needs CPython 3.14.1 or later (PyUnstable_ThreadState_SetStackProtection)")
    set_protection = <protection_setter><uintptr_t>ctypes.cast(function, ctypes.c_void_p).value


cdef void apply_budget(PyObject *record) noexcept:
    """Apply the budget of the greenlet that runs now or begins here; without one, undo that of another
    greenlet."""
    global limited
    cdef stackwarden.stackwarden_stack here
    cdef uintptr_t base
    cdef size_t budget = (<Record>record)._budget if record != NULL else 0
    if not (budget or limited) or stackwarden.current_stack(&here) != stackwarden.STACKWARDEN_DONE:
        return
    base = here.base
    if budget and (<Record>record)._base == base and (<Record>record)._start - base > budget:
        base = (<Record>record)._start - budget
    set_protection(PyThreadState_Get(), <void *>base, here.base + here.size - base)
    limited = base != here.base


# ---- the table of records: from a greenlet's address to its record ----
#
# Open addressing with linear probing; at most half of the places are taken. Nothing here runs Python.

cdef size_t suspended_before = 0  # records of greenlets that were suspended before install, and not resumed since


cdef struct Place:
    PyObject *greenlet  # borrowed; NULL: free
    PyObject *record  # owned

cdef Place *places = NULL
cdef size_t mask = 0  # number of places, a power of two, less one
cdef size_t taken = 0


cdef inline size_t home(PyObject *one) noexcept:
    return <size_t>((<uint64_t><uintptr_t>one >> 4) * 0x9E3779B97F4A7C15u >> 20) & mask


cdef inline PyObject *find(PyObject *one) noexcept:
    """The record of a greenlet, borrowed, or NULL."""
    cdef size_t i
    if places == NULL:
        return NULL
    i = home(one)
    while places[i].greenlet != one:
        if places[i].greenlet == NULL:
            return NULL
        i = (i + 1) & mask
    return places[i].record


cdef void put(PyObject *one, PyObject *record) noexcept:
    cdef size_t i = home(one)
    while places[i].greenlet != NULL:
        i = (i + 1) & mask
    places[i] = Place(one, record)


cdef int grow() except -1:
    """Twice as many places, or the first ones."""
    global places, mask
    cdef Place *former = places
    cdef size_t count = mask + 1 if places != NULL else 0
    cdef size_t i
    cdef Place *larger = <Place *>PyMem_Calloc(2 * count or 64, sizeof(Place))
    if larger == NULL:
        raise MemoryError(f"{taken} records of greenlets: no memory for more")
    places = larger
    mask = (2 * count or 64) - 1
    for i in range(count):
        if former[i].greenlet != NULL:
            put(former[i].greenlet, former[i].record)
    PyMem_Free(former)
    return 0


cdef PyObject *add(PyObject *one) except NULL:
    """A record for a greenlet that has none, borrowed."""
    global taken
    cdef Record record
    if places == NULL or 2 * taken > mask:
        grow()
    record = Record.__new__(Record)
    record._greenlet = one
    Py_INCREF(record)
    put(one, <PyObject *>record)
    taken += 1
    return <PyObject *>record


cdef inline PyObject *find_or_add(PyObject *one) noexcept:
    """The record of a greenlet, borrowed; NULL: no memory."""
    cdef PyObject *record = find(one)
    if record == NULL:
        try:
            record = add(one)
        except MemoryError:
            pass
    return record


cdef void forget(PyObject *one) noexcept:
    """The greenlet is gone: remove its record, and move those up that follow."""
    global taken
    cdef size_t i, hole
    cdef PyObject *record = find(one)
    if record == NULL:
        return
    hole = home(one)
    while places[hole].greenlet != one:
        hole = (hole + 1) & mask
    i = (hole + 1) & mask
    while places[i].greenlet != NULL:
        if ((i - home(places[i].greenlet)) & mask) >= ((i - hole) & mask):
            places[hole] = places[i]
            hole = i
        i = (i + 1) & mask
    places[hole] = Place(NULL, NULL)
    taken -= 1
    note_resumed(record)
    (<Record>record)._greenlet = NULL
    decref(record)


cdef inline void note_resumed(PyObject *record) noexcept:
    """The greenlet of a record was resumed, or is gone."""
    global suspended_before
    if (<Record>record)._suspended_before:
        (<Record>record)._suspended_before = False
        suspended_before -= 1


cdef void forget_all() noexcept:
    """Remove all records."""
    global places, mask, taken, suspended_before
    cdef Place *former = places
    cdef size_t count = mask + 1 if places != NULL else 0
    cdef size_t i
    places = NULL
    mask = taken = suspended_before = 0
    for i in range(count):
        if former[i].greenlet != NULL:
            (<Record>former[i].record)._greenlet = NULL
            decref(former[i].record)
    PyMem_Free(former)


def records():
    """The records of all greenlets."""
    cdef size_t i
    found = []
    if places != NULL:
        for i in range(mask + 1):
            if places[i].greenlet != NULL:
                found.append(<object>places[i].record)
    return found


def record_of(found not None):
    """The record of a greenlet. Raises TypeError, MemoryError."""
    if not isinstance(found, greenlet.greenlet):
        raise TypeError(f"record_of() takes a greenlet, not {type(found).__name__}")
    cdef PyObject *record = find(<PyObject *>found)
    if record == NULL:
        record = add(<PyObject *>found)
    return <object>record


# ---- the functions in place of greenlet's ----

cdef inline void sync() noexcept:
    """Greenlet swaps the counters of 3.11 to 3.13 itself, with the frames."""
    stackwarden.adopt_stack()


ctypedef object (*settrace_type)(object, tuple)
ctypedef object (*gettrace_type)(object, PyObject *)

cdef bint installed = False
cdef unsigned installations = 0
cdef tuple passed_over = ()
cdef PyCFunctionWithKeywords greenlets_switch = NULL
cdef PyCFunction greenlets_throw = NULL
cdef settrace_type greenlets_settrace = NULL
cdef gettrace_type greenlets_gettrace = NULL
cdef api_switch greenlets_api_switch = NULL
cdef api_throw greenlets_api_throw = NULL
cdef api_new greenlets_api_new = NULL
cdef newfunc greenlets_new = NULL
cdef destructor greenlets_dealloc = NULL


cdef PyObject *REFUSED = <PyObject *>1  # the result of before_switch() when the switch must not be made


cdef inline bint crosses(PyObject *record, PyObject *target, PyObject *other, uintptr_t pointer) noexcept:
    """Would greenlet copy memory between two stacks, in a switch from the greenlet of a record to a target, which
    has the other record, or none? Not where it runs on the stack that it and the target began on."""
    cdef Record mine = <Record>record
    if not mine._on_pooled and mine._start - pointer <= mine._start - mine._base:
        if other == NULL or not (<Record>other)._base or (<Record>other)._base == mine._base:
            return False
    return leaves_stack(mine, target, pointer)


cdef bint leaves_stack(Record mine, PyObject *target, uintptr_t pointer) noexcept:
    """greenlet copies from the stack pointer up to where the stack of the current greenlet begins, or that of the
    target, whichever is lower. Is that beyond the current stack? On a stack of call_on_stack() it is enough that
    the target is elsewhere; and below the stack that the current greenlet began on, that it is suspended above."""
    cdef PyObject *other
    cdef stackwarden.stackwarden_stack here
    if stackwarden.current_stack(&here) != stackwarden.STACKWARDEN_DONE:
        return False
    while target != mine._greenlet and not is_active(target):  # a new or a dead one: what counts is its parent
        target = <PyObject *><object>(<object>target).parent
    other = find(target)
    if target == mine._greenlet or other == NULL:
        return here.pooled and target != mine._greenlet
    if (<Record>other)._thread != NULL and (<Record>other)._thread != &running:
        return False  # greenlet refuses that, or raises in the place of a greenlet whose thread has ended
    if is_there(other, here.base, here.size):
        return False
    if here.pooled or (pointer < mine._base and (<Record>other)._suspended_at > pointer):
        return True
    return (pointer - here.base < here.size
            and min(stop_of(mine), stop_of(<Record>other)) > here.base + here.size)


cdef inline uintptr_t stop_of(Record record) noexcept:
    """Where the stack of its greenlet begins; greenlet takes that of a main one for endless. 0: not known."""
    return UINTPTR_MAX if is_main(record._greenlet) else record._start


cdef bint is_there(PyObject *record, uintptr_t base, size_t size) noexcept:
    """Did the greenlet of a record begin on that stack, or was it suspended there?"""
    return record != NULL and ((<Record>record)._base == base or (<Record>record)._suspended_at - base < size)


cdef PyObject *refuse(PyObject *target) noexcept:
    PyErr_Format(
        IsolationRequiredError,
        "%R is outside of the stack that the current greenlet is on now, by call_on_stack() or another switch of "
        "stacks, and greenlet cannot switch across stacks: wait for it where the greenlet began", target)
    return REFUSED


cdef inline PyObject *before_switch(PyObject *target) noexcept:
    """Before a switch: note how deep the current greenlet is, and where a new one begins. The result is for
    after_switch(); or it is REFUSED, an exception is pending, and the switch must not be made."""
    global running
    cdef uintptr_t pointer = stack_pointer()
    cdef PyObject *current
    cdef PyObject *record
    cdef PyObject *other
    if waiting_count:
        end_waiting(pointer)
    current = running
    record = find(current)
    if record == NULL or running_since != installations:
        record = find_current(pointer)
        if record == NULL:
            return NULL
        current = (<Record>record)._greenlet
    other = find(target)
    if crosses(record, target, other, pointer):
        return refuse(target)
    note(record, pointer)
    (<Record>record)._suspensions += 1
    (<Record>record)._suspended_at = pointer
    (<Record>record)._thread = &running
    if other == NULL or not (<Record>other)._started:
        if may_begin(target, pointer):
            running = target
    if suspended_before:
        trace()
    return current


cdef inline void after_switch(PyObject *current) noexcept:
    """After the switch back to where before_switch() was called."""
    global running
    if installed:
        running = current
        sync()
        if set_protection != NULL:
            apply_budget(find(current))
    elif set_protection != NULL:
        apply_budget(NULL)


cdef PyObject *find_current(uintptr_t pointer) noexcept:
    """The record of the greenlet that runs on this thread, by greenlet's word. NULL: not installed, or no
    memory."""
    global running_since
    cdef PyObject *current
    cdef PyObject *record
    if not installed:
        return NULL
    current = get_current()
    if current == NULL:
        PyErr_Clear()  # greenlet is being finalized
        return NULL
    decref(current)  # it lives for as long as it runs
    running_since = installations
    record = find_or_add(current)
    if record != NULL and (<Record>record)._start == 0 and is_main(current):
        begin(record, pointer)
    return record


cdef bint may_begin(PyObject *target, uintptr_t pointer) noexcept:
    """Will the switch, if it does not fail, begin a greenlet here? Notes where."""
    cdef PyObject *record = find_or_add(target)
    if record == NULL:
        return False
    (<Record>record)._started = is_started(target)
    if (<Record>record)._started:
        return False
    begin(record, pointer)
    if set_protection != NULL:
        apply_budget(record)
    return True


cdef PyObject *switch_method(PyObject *target, PyObject *args, PyObject *kwargs) noexcept:
    cdef PyObject *current = before_switch(target)
    cdef PyObject *result = NULL
    if current != REFUSED:
        result = greenlets_switch(target, args, kwargs)
        after_switch(current)
    return result


cdef PyObject *throw_method(PyObject *target, PyObject *args) noexcept:
    cdef PyObject *current = before_switch(target)
    cdef PyObject *result = NULL
    if current != REFUSED:
        result = greenlets_throw(target, args)
        after_switch(current)
    return result


cdef PyObject *switch_function(PyObject *target, PyObject *args, PyObject *kwargs) noexcept:
    cdef PyObject *current = before_switch(target) if PyObject_TypeCheck(target, greenlet_type) else running
    cdef PyObject *result = NULL
    if current != REFUSED:
        result = greenlets_api_switch(target, args, kwargs)
        after_switch(current)
    return result


cdef PyObject *throw_function(PyObject *target, PyObject *kind, PyObject *value, PyObject *traceback) noexcept:
    cdef PyObject *current = before_switch(target) if PyObject_TypeCheck(target, greenlet_type) else running
    cdef PyObject *result = NULL
    if current != REFUSED:
        result = greenlets_api_throw(target, kind, value, traceback)
        after_switch(current)
    return result


cdef PyObject *make(PyTypeObject *kind, PyObject *args, PyObject *kwargs) noexcept:
    cdef PyObject *made = greenlets_new(kind, args, kwargs)
    note_made(made)
    return made


cdef PyObject *new_function(PyObject *run, PyObject *parent) noexcept:
    cdef PyObject *made = greenlets_api_new(run, parent)
    note_made(made)
    return made


cdef void note_made(PyObject *made) noexcept:
    """A greenlet was made, if it is not NULL."""
    cdef PyObject *record
    if made != NULL and installed:
        record = find_or_add(made)
        if record != NULL:
            (<Record>record)._budget = default_budget
            note_place(record)


cdef void note_place(PyObject *record) noexcept:
    """Note where a greenlet is made: the innermost frame that is not passed over, else the outermost."""
    cdef Record found = <Record>record
    cdef PyFrameObject *frame = PyEval_GetFrame()
    cdef PyFrameObject *outer
    incref(<PyObject *>frame)
    while frame != NULL:
        decref(<PyObject *>found._code)
        found._code = PyFrame_GetCode(frame)
        found._instruction = PyFrame_GetLasti(frame)
        outer = NULL
        if passed_over and (<object>found._code).co_filename.startswith(passed_over):
            outer = PyFrame_GetBack(frame)
        decref(<PyObject *>frame)
        frame = outer


def pass_over(*folders):
    """Code in these folders is passed over when it is noted where a greenlet is made."""
    global passed_over
    passed_over = folders


cdef void destroy(PyObject *dying) noexcept:
    """Greenlet kills a suspended one, and switches to it for that. One that survives (resurrection) gets a new
    record at its next switch."""
    cdef PyObject *current = running
    if installed and is_out_of_reach(dying, stack_pointer()):
        resurrect(dying)
        have_wait(dying)
        return
    greenlets_dealloc(dying)
    forget(dying)
    after_switch(current)


# ---- greenlets that nobody refers to any more, on a stack from which they cannot be killed ----
#
# They wait until their thread switches on a stack from which they can. Where that never comes they are leaked.

cdef PyObject **waiting = NULL  # owned
cdef size_t waiting_count = 0


cdef bint is_out_of_reach(PyObject *dying, uintptr_t pointer) noexcept:
    """Would the switch that kills a greenlet of this thread leave the stack? Of one that is dying no reference may
    be taken."""
    cdef PyObject *record = find(dying)
    cdef PyObject *mine
    if record == NULL or (<Record>record)._thread != &running or not is_active(dying):
        return False
    mine = find(running) if running_since == installations else find_current(pointer)
    return mine != NULL and crosses(mine, dying, record, pointer)


cdef void have_wait(PyObject *one) noexcept:
    """Without memory it is leaked."""
    global waiting, waiting_count
    cdef PyObject **larger = <PyObject **>PyMem_Realloc(waiting, (waiting_count + 1) * sizeof(waiting[0]))
    if larger != NULL:
        waiting = larger
        waiting[waiting_count] = one
        waiting_count += 1


cdef void end_waiting(uintptr_t pointer) noexcept:
    """End those of this thread that can be killed from here. Each may run anything, and have others wait."""
    global waiting_count
    cdef size_t i = waiting_count
    cdef PyObject *one
    while i:
        i -= 1
        if i < waiting_count and is_mine(waiting[i]) and not is_out_of_reach(waiting[i], pointer):
            one = waiting[i]
            waiting_count -= 1
            waiting[i] = waiting[waiting_count]
            decref(one)


cdef bint is_mine(PyObject *one) noexcept:
    cdef PyObject *record = find(one)
    return record != NULL and (<Record>record)._thread == &running


cdef class Tracer:
    """Calls the tracer that somebody has set, if any, with the right bounds."""

    cdef object function

    def __init__(self, function):
        self.function = function

    def __call__(self, event, greenlets):
        global running
        cdef PyObject *record
        sync()
        running = <PyObject *><object>greenlets[1]
        if set_protection != NULL:
            apply_budget(find(running))
        if suspended_before:
            record = find(running)
            if record != NULL:
                note_resumed(record)
        elif self.function is None:
            greenlets_settrace(greenlet, (None,))
        return self.function(event, greenlets) if self.function is not None else None


cdef void trace() noexcept:
    """Set a Tracer in this thread, if there is none."""
    if greenlets_gettrace(greenlet, NULL) is None:
        greenlets_settrace(greenlet, (Tracer(None),))


cdef _without_tracer(set_or_tracer):
    return (<Tracer>set_or_tracer).function if isinstance(set_or_tracer, Tracer) else set_or_tracer


cdef object settrace_function(object module, tuple args):
    """Set a function as a Tracer; return the former function without its Tracer."""
    if len(args) == 1 and (args[0] is not None or suspended_before):
        args = (Tracer(args[0]),)
    return _without_tracer(greenlets_settrace(module, args))


cdef object gettrace_function(object module, PyObject *nothing):
    return _without_tracer(greenlets_gettrace(module, nothing))


# ---- installing ----

cdef PyMethodDef *switch_definition = NULL
cdef PyMethodDef *throw_definition = NULL
cdef PyMethodDef *settrace_definition = NULL
cdef PyMethodDef *gettrace_definition = NULL


def find_entries():
    """Find all entries, and change nothing. Raises SystemUnfitError."""
    global api, greenlet_type, get_current, is_main, is_started, is_active
    global switch_definition, throw_definition, settrace_definition, gettrace_definition
    switch_definition = _method("switch", METH_VARARGS | METH_KEYWORDS)
    throw_definition = _method("throw", METH_VARARGS)
    settrace_definition = _function("settrace", METH_VARARGS)
    gettrace_definition = _function("gettrace", METH_NOARGS)
    try:
        api = <void **>PyCapsule_Import("greenlet._C_API", 0)
    except (AttributeError, ImportError) as error:
        raise _unfit("C API") from error
    greenlet_type = <PyTypeObject *><PyObject *>greenlet.greenlet
    get_current = <api_get_current>api[API_GET_CURRENT]
    is_main = <api_question>api[API_MAIN]
    is_started = <api_question>api[API_STARTED]
    is_active = <api_question>api[API_ACTIVE]


cdef PyMethodDef *_method(name, int flags) except NULL:
    """How a method of greenlets is defined."""
    cdef PyMethodDef *definition
    method = vars(greenlet.greenlet).get(name)
    if type(method) is not type(list.append):
        raise _unfit(f"method {name} in C")
    definition = (<PyMethodDescrObject *>method).d_method
    if definition.ml_flags != flags:
        raise _unfit(f"method {name} with the flags {flags:#x} (it has {definition.ml_flags:#x})")
    return definition


cdef PyMethodDef *_function(name, int flags) except NULL:
    """How a function of the module is defined."""
    cdef PyMethodDef *definition
    function = getattr(greenlet, name, None)
    if not PyCFunction_Check(function):
        raise _unfit(f"function {name} in C")
    definition = (<PyCFunctionObject *>function).m_ml
    if definition.ml_flags != flags:
        raise _unfit(f"function {name} with the flags {flags:#x} (it has {definition.ml_flags:#x})")
    return definition


cdef _unfit(what):
    return SystemUnfitError(f"greenlet {greenlet.__version__} was built without what the adapter needs: a {what}")


def put_entries(budget):
    """Put our functions in the places of greenlet's. `budget`: of each new greenlet, or None. Requires
    find_entries(). What is raised left nothing behind."""
    global default_budget
    global installed, installations, greenlets_switch, greenlets_throw, greenlets_settrace, greenlets_gettrace
    global greenlets_api_switch, greenlets_api_throw, greenlets_api_new, greenlets_new, greenlets_dealloc
    checked = _checked_budget(budget)
    classes = _classes()
    from_before = [one for one in gc.get_objects() if PyObject_TypeCheck(<PyObject *>one, greenlet_type)]
    default_budget = checked
    greenlets_switch = <PyCFunctionWithKeywords><void *>switch_definition.ml_meth
    greenlets_throw = throw_definition.ml_meth
    greenlets_settrace = <settrace_type><void *>settrace_definition.ml_meth
    greenlets_gettrace = <gettrace_type><void *>gettrace_definition.ml_meth
    greenlets_api_switch = <api_switch>api[API_SWITCH]
    greenlets_api_throw = <api_throw>api[API_THROW]
    greenlets_api_new = <api_new>api[API_NEW]
    greenlets_new = greenlet_type.tp_new
    greenlets_dealloc = greenlet_type.tp_dealloc
    switch_definition.ml_meth = <PyCFunction><void *>switch_method
    throw_definition.ml_meth = throw_method
    settrace_definition.ml_meth = <PyCFunction><void *>settrace_function
    gettrace_definition.ml_meth = <PyCFunction><void *>gettrace_function
    api[API_SWITCH] = <void *>switch_function
    api[API_THROW] = <void *>throw_function
    api[API_NEW] = <void *>new_function
    greenlet_type.tp_dealloc = destroy
    _replace_new(classes, greenlets_new, make)
    installed = True
    installations += 1
    try:
        for one in from_before:
            _add_from_before(one)
        greenlet.settrace(greenlet.gettrace())  # for this thread
        Py_INCREF(sys.modules[__name__])  # for good: greenlets still switch while modules are finalized
    except BaseException:
        _put_back(classes)
        raise


cdef _add_from_before(one):
    global suspended_before
    cdef PyObject *record = find_or_add(<PyObject *>one)
    if record != NULL and one.gr_frame is not None:
        (<Record>record)._suspended_before = True
        (<Record>record)._suspensions = 1
        suspended_before += 1


def take_entries_out():
    """Put greenlet's functions back. What is raised left all as it was."""
    classes = _classes()
    end_waiting(stack_pointer())
    greenlets_settrace(greenlet, (greenlet.gettrace(),))  # without a Tracer
    _put_back(classes)


cdef void _put_back(list classes) noexcept:
    """Where somebody else has replaced a function of ours his stays, and ours behind it does nothing any more.
    Needs no memory."""
    global installed
    if switch_definition.ml_meth == <PyCFunction><void *>switch_method:
        switch_definition.ml_meth = <PyCFunction><void *>greenlets_switch
    if throw_definition.ml_meth == throw_method:
        throw_definition.ml_meth = greenlets_throw
    if settrace_definition.ml_meth == <PyCFunction><void *>settrace_function:
        settrace_definition.ml_meth = <PyCFunction><void *>greenlets_settrace
    if gettrace_definition.ml_meth == <PyCFunction><void *>gettrace_function:
        gettrace_definition.ml_meth = <PyCFunction><void *>greenlets_gettrace
    if api[API_SWITCH] == <void *>switch_function:
        api[API_SWITCH] = <void *>greenlets_api_switch
    if api[API_THROW] == <void *>throw_function:
        api[API_THROW] = <void *>greenlets_api_throw
    if api[API_NEW] == <void *>new_function:
        api[API_NEW] = <void *>greenlets_api_new
    if greenlet_type.tp_dealloc == destroy:
        greenlet_type.tp_dealloc = greenlets_dealloc
    _replace_new(classes, make, greenlets_new)
    installed = False
    forget_all()
    apply_budget(NULL)


cdef list _classes():
    """greenlet.greenlet and all that inherit from it: a class has a copy of its base's tp_new."""
    found = [greenlet.greenlet]
    for kind in found:
        for subclass in type.__subclasses__(kind):
            if subclass not in found:
                found.append(subclass)
    return found


cdef void _replace_new(list classes, newfunc old, newfunc new) noexcept:
    for kind in classes:
        if (<PyTypeObject *>kind).tp_new == old:
            (<PyTypeObject *>kind).tp_new = new

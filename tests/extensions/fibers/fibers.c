/* fibers.c: the fibers of fiber.h as Python sees them, for tests. A status is an int, as in stackwarden.h.
 *
 *      Stack(size=262144, isolation="none", flags=0, renewed=True)      isolation None: not registered
 *          base size handle   register() unregister() renew(context=None)
 *      Fiber(stack, function=None, program="c", *, number=0, raw=False, blocking=False, to_fiber=BY_HANDLE,
 *            to_back=BY_HANDLE)
 *          done refusal result notes   resume(detached=False)   restart()
 *      park()   park_detached()   enter(stack, function)   ensured(function)
 *      run(program, fibers, function=None, number=0, raw=False)     on the caller's thread
 *      run_threads(program, [fibers, ...], function, raw=False)     on threads without a thread state
 *      carry(fibers, carriers, seed, own_states=True, attached=True)
 *      there_and_back(base, size, handle, blocking=False, detached=False)
 *      state_id()   in_new_state(function)   make_and_clear_state()   ensure_after_move(reattaches)
 *      drop_low(objects, base, room)   drop_deep(objects, left)   finish_switch()   drain(detached=False)   address()
 *
 * A program that raised, raises where it was started or resumed. */
#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include "states.h"
#include "threads.h"

#include <string.h>

/* ---- Stack ---- */

typedef struct {
    PyObject_HEAD
    stackwarden_stack stack;
    unsigned flags;
    int registered, lost;
} Stack;

static int isolation_flags(const char *isolation, unsigned *flags)
{
    if (isolation == NULL || strcmp(isolation, "none") == 0) {
        return 0;
    }
    *flags |= strcmp(isolation, "frames") == 0 ? STACKWARDEN_ISOLATION_FRAMES : STACKWARDEN_ISOLATION_THREAD_STATE;
    return 1;
}

static stackwarden_status stack_register(Stack *self)
{
    stackwarden_status status = stackwarden_register_stack((void *)self->stack.base, self->stack.size, "fiber",
                                                           "fibers", self->flags, &self->stack);
    self->registered = status == STACKWARDEN_DONE;
    return status;
}

static PyObject *refused(const char *what, stackwarden_status status)
{
    return PyErr_Format(PyExc_RuntimeError, "%s: %s", what, stackwarden_status_text(status));
}

static PyObject *Stack_new(PyTypeObject *type, PyObject *args, PyObject *options)
{
    static char *names[] = {"size", "isolation", "flags", "renewed", NULL};
    Py_ssize_t size = 256 << 10;
    int renewed = 1;
    const char *isolation = "none";
    unsigned flags = 0;
    if (!PyArg_ParseTupleAndKeywords(args, options, "|nzIp", names, &size, &isolation, &flags, &renewed)) {
        return NULL;
    }
    Stack *self = (Stack *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    stackwarden_status status = STACKWARDEN_DONE;
    int isolated = isolation_flags(isolation, &flags);
    self->flags = flags;
    self->stack.base = (uintptr_t)map_stack((size_t)size);
    self->stack.size = (size_t)size;
    if (isolation != NULL) {
        status = stack_register(self);
    }
    if (status == STACKWARDEN_DONE && isolated && renewed) {
        status = stackwarden_renew_stack(self->stack.handle, NULL);
    }
    if (status == STACKWARDEN_DONE) {
        return (PyObject *)self;
    }
    Py_DECREF(self);
    return refused("Stack", status);
}

static stackwarden_status stack_unregister(Stack *self)
{
    stackwarden_status status = stackwarden_unregister_stack(self->stack.handle);
    self->registered = self->registered && status < 0;
    self->lost = self->lost || status == STACKWARDEN_LOST;
    return status;
}

static void Stack_dealloc(PyObject *object)
{
    Stack *self = (Stack *)object;
    if (self->registered) {
        stack_unregister(self);
    }
    if (!self->lost && !self->registered) {
        unmap_stack((void *)self->stack.base, self->stack.size);
    }
    Py_TYPE(object)->tp_free(object);
}

static PyObject *Stack_register(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyLong_FromLong(stack_register((Stack *)self));
}

static PyObject *Stack_unregister(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyLong_FromLong(stack_unregister((Stack *)self));
}

static PyObject *Stack_renew(PyObject *self, PyObject *args)
{
    PyObject *context = Py_None;
    if (!PyArg_ParseTuple(args, "|O", &context)) {
        return NULL;
    }
    return PyLong_FromLong(stackwarden_renew_stack(((Stack *)self)->stack.handle, context == Py_None ? NULL : context));
}

static PyObject *Stack_base(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLongLong(((Stack *)self)->stack.base);
}

static PyObject *Stack_size(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromSize_t(((Stack *)self)->stack.size);
}

static PyObject *Stack_handle(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLongLong(((Stack *)self)->stack.handle);
}

static PyMethodDef Stack_methods[] = {
    {"register", Stack_register, METH_NOARGS, NULL},
    {"unregister", Stack_unregister, METH_NOARGS, NULL},
    {"renew", Stack_renew, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef Stack_attributes[] = {
    {"base", Stack_base, NULL, NULL, NULL},
    {"size", Stack_size, NULL, NULL, NULL},
    {"handle", Stack_handle, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyTypeObject Stack_type = {
    /* clang-format off */
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "fibers.Stack",
    /* clang-format on */
    .tp_basicsize = sizeof(Stack),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = Stack_new,
    .tp_dealloc = Stack_dealloc,
    .tp_methods = Stack_methods,
    .tp_getset = Stack_attributes,
};

/* ---- Fiber ---- */

typedef struct {
    PyObject_HEAD
    fiber machine;
    actor actor;
    Stack *stack;
    PyObject *program; /* keeps the actor's text */
} Fiber;

static PyObject *Fiber_new(PyTypeObject *type, PyObject *args, PyObject *options)
{
    static char *names[] = {"stack", "function", "program", "number", "raw", "blocking", "to_fiber", "to_back", NULL};
    PyObject *stack, *function = NULL, *program = NULL;
    long number = 0;
    int raw = 0, blocking = 0, to_fiber = BY_HANDLE, to_back = BY_HANDLE;
    if (!PyArg_ParseTupleAndKeywords(args, options, "O!|OU$lppii", names, &Stack_type, &stack, &function, &program,
                                     &number, &raw, &blocking, &to_fiber, &to_back)) {
        return NULL;
    }
    Fiber *self = (Fiber *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->stack = (Stack *)Py_NewRef(stack);
        self->program = Py_XNewRef(program);
        self->actor.program = program != NULL ? PyUnicode_AsUTF8(program) : "c";
        self->actor.function = Py_XNewRef(function);
        self->actor.number = number;
        self->actor.raw = self->machine.raw = raw;
        self->machine.blocking = blocking;
        self->machine.to_fiber = (naming)to_fiber;
        self->machine.to_back = (naming)to_back;
        self->machine.own = &self->actor;
        fiber_make(&self->machine, &self->stack->stack, actor_is_body);
    }
    return (PyObject *)self;
}

static void Fiber_dealloc(PyObject *object)
{
    Fiber *self = (Fiber *)object;
    if (__tsan_destroy_fiber && (self->machine.done || !self->machine.started)) {
        __tsan_destroy_fiber(self->machine.here.tsan);
    }
    Py_XDECREF(self->actor.function);
    Py_XDECREF(self->actor.result);
    Py_XDECREF(self->actor.error);
    Py_XDECREF(self->program);
    Py_XDECREF(self->stack);
    Py_TYPE(object)->tp_free(object);
}

/* Raise what an actor's function raised. -1: there was something. */
static int actor_raise(actor *self)
{
    PyObject *error = self->error;
    if (error == NULL) {
        return 0;
    }
    self->error = NULL;
    PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_DECREF(error);
    return -1;
}

static PyObject *Fiber_resume(PyObject *object, PyObject *args)
{
    Fiber *self = (Fiber *)object;
    int detached = 0;
    if (!PyArg_ParseTuple(args, "|p", &detached)) {
        return NULL;
    }
    if (self->machine.done) {
        PyErr_SetString(PyExc_RuntimeError, "the fiber is done");
        return NULL;
    }
    PyThreadState *saved = detached ? PyEval_SaveThread() : NULL;
    stackwarden_status status = fiber_resume(&self->machine);
    if (detached) {
        PyEval_RestoreThread(saved);
    }
    return actor_raise(&self->actor) < 0 ? NULL : PyLong_FromLong(status);
}

/* Other work on the same memory; what was there is forgotten. */
static PyObject *Fiber_restart(PyObject *object, PyObject *unused)
{
    Fiber *self = (Fiber *)object;
    (void)unused;
    self->machine.done = self->machine.started = 0;
    self->actor.ensured = self->actor.noted = 0;
    fiber_make(&self->machine, &self->stack->stack, actor_is_body);
    Py_RETURN_NONE;
}

static PyObject *Fiber_done(PyObject *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(((Fiber *)self)->machine.done);
}

static PyObject *Fiber_refusal(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromLong(((Fiber *)self)->actor.refusal);
}

static PyObject *Fiber_result(PyObject *self, void *unused)
{
    PyObject *result = ((Fiber *)self)->actor.result;
    (void)unused;
    return Py_NewRef(result != NULL ? result : Py_None);
}

static PyObject *Fiber_notes(PyObject *self, void *unused)
{
    actor *acting = &((Fiber *)self)->actor;
    (void)unused;
    return PyUnicode_FromStringAndSize(acting->notes, acting->noted);
}

static PyMethodDef Fiber_methods[] = {
    {"resume", Fiber_resume, METH_VARARGS, NULL},
    {"restart", Fiber_restart, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef Fiber_attributes[] = {
    {"done", Fiber_done, NULL, NULL, NULL},
    {"refusal", Fiber_refusal, NULL, NULL, NULL},
    {"result", Fiber_result, NULL, NULL, NULL},
    {"notes", Fiber_notes, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyTypeObject Fiber_type = {
    /* clang-format off */
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "fibers.Fiber",
    /* clang-format on */
    .tp_basicsize = sizeof(Fiber),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = Fiber_new,
    .tp_dealloc = Fiber_dealloc,
    .tp_methods = Fiber_methods,
    .tp_getset = Fiber_attributes,
};

/* ---- on a fiber ---- */

static int must_be_on_a_fiber(void)
{
    if (fiber_running() == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this is no fiber");
        return -1;
    }
    return 0;
}

static PyObject *park(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return must_be_on_a_fiber() < 0 ? NULL : PyLong_FromLong(fiber_park());
}

static PyObject *park_detached(PyObject *module, PyObject *unused)
{
    stackwarden_status status = STACKWARDEN_DONE;
    (void)module;
    (void)unused;
    if (must_be_on_a_fiber() < 0) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    status = fiber_park();
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(status);
}

typedef struct {
    PyObject *function, *result;
} call;

static void make_call(void *argument)
{
    call *self = argument;
    self->result = PyObject_CallNoArgs(self->function);
}

static PyObject *enter(PyObject *module, PyObject *args)
{
    PyObject *stack;
    call made = {NULL, NULL};
    nested machine = {.call = make_call, .argument = &made};
    (void)module;
    if (!PyArg_ParseTuple(args, "O!O", &Stack_type, &stack, &made.function)) {
        return NULL;
    }
    stackwarden_status status = nested_enter(&machine, &((Stack *)stack)->stack);
    return status == STACKWARDEN_DONE ? made.result : refused("enter", status);
}

static PyObject *ensured(PyObject *module, PyObject *function)
{
    (void)module;
    PyGILState_STATE state = PyGILState_Ensure();
    PyObject *result = PyObject_CallNoArgs(function);
    PyGILState_Release(state);
    return result;
}

/* ---- many at once ---- */

static int collect_fibers(PyObject *list, fiber **found, long most)
{
    if (!PyList_Check(list) || PyList_Size(list) > most) {
        PyErr_SetString(PyExc_TypeError, "a list of fibers, and not too many");
        return -1;
    }
    for (Py_ssize_t i = 0; i < PyList_Size(list); i++) {
        found[i] = &((Fiber *)PyList_GetItem(list, i))->machine;
    }
    return 0;
}

static int raise_of_fibers(PyObject *list)
{
    for (Py_ssize_t i = 0; i < PyList_Size(list); i++) {
        if (actor_raise(&((Fiber *)PyList_GetItem(list, i))->actor) < 0) {
            return -1;
        }
    }
    return 0;
}

/* What an actor came to, (refusal, notes), or what it raised. */
static PyObject *actor_report(actor *self)
{
    Py_CLEAR(self->result);
    return actor_raise(self) < 0 ? NULL : Py_BuildValue("is#", self->refusal, self->notes, (Py_ssize_t)self->noted);
}

static PyObject *run(PyObject *module, PyObject *args)
{
    PyObject *list;
    fiber *fibers[10];
    actor acting = {.fibers = fibers};
    (void)module;
    if (!PyArg_ParseTuple(args, "sO|Olp", &acting.program, &list, &acting.function, &acting.number, &acting.raw)
        || collect_fibers(list, fibers, 10) < 0) {
        return NULL;
    }
    actor_run(&acting);
    return raise_of_fibers(list) < 0 ? NULL : actor_report(&acting);
}

static PyObject *run_on_threads(PyObject *module, PyObject *args)
{
    PyObject *lists, *function;
    const char *program;
    int raw = 0;
    fiber *fibers[DEPTH][10];
    actor actors[DEPTH] = {{0}};
    (void)module;
    if (!PyArg_ParseTuple(args, "sO!O|p", &program, &PyList_Type, &lists, &function, &raw)) {
        return NULL;
    }
    long count = (long)PyList_Size(lists);
    for (long i = 0; i < count; i++) {
        actors[i] =
            (actor){.program = program, .number = -1 - i, .function = function, .fibers = fibers[i], .raw = raw};
        if (collect_fibers(PyList_GetItem(lists, i), fibers[i], 10) < 0) {
            return NULL;
        }
    }
    Py_BEGIN_ALLOW_THREADS
    run_threads(actors, count);
    Py_END_ALLOW_THREADS
    PyObject *reports = PyList_New(0);
    for (long i = 0; i < count; i++) {
        PyObject *report = raise_of_fibers(PyList_GetItem(lists, i)) < 0 ? NULL : actor_report(&actors[i]);
        if (report == NULL || PyList_Append(reports, report) < 0) {
            return NULL;
        }
        Py_DECREF(report);
    }
    return reports;
}

/* Returns (refusal, how often a fiber went on on another thread). */
static PyObject *carry_fibers(PyObject *module, PyObject *args)
{
    PyObject *list;
    long carriers;
    int own_states = 1;
    queue work = {.refusal = STACKWARDEN_DONE, .attached = 1};
    (void)module;
    if (!PyArg_ParseTuple(args, "O!lI|pp", &PyList_Type, &list, &carriers, &work.seed, &own_states, &work.attached)) {
        return NULL;
    }
    work.count = work.undone = (long)PyList_Size(list);
    work.ready = PyMem_RawCalloc((size_t)work.count, sizeof *work.ready);
    work.last = PyMem_RawCalloc((size_t)work.count, sizeof *work.last);
    work.interpreter = own_states ? PyInterpreterState_Get() : NULL;
    if (collect_fibers(list, work.ready, work.count) < 0) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    carry(&work, carriers);
    Py_END_ALLOW_THREADS
    PyMem_RawFree(work.ready);
    PyMem_RawFree(work.last);
    return raise_of_fibers(list) < 0 ? NULL : Py_BuildValue("il", work.refusal, work.moves);
}

/* ---- dropping objects where little of a stack is left, and parking there ---- */

/* Returns what fiber_park() says. */
static stackwarden_status drop_and_park(PyObject *list)
{
    for (Py_ssize_t i = 0; i < PyList_Size(list); i++) {
        PyList_SetItem(list, i, Py_NewRef(Py_None));
    }
    return fiber_park();
}

static __attribute__((noinline)) stackwarden_status go_down(PyObject *list, uintptr_t base, size_t room)
{
    volatile char page[1024];
    page[0] = 0;
    stackwarden_status status = (uintptr_t)page - base > room ? go_down(list, base, room) : drop_and_park(list);
    page[1] = page[0];
    return status;
}

/* Put None for the items of a list where `room` bytes of the stack are left above `base`, and park there. */
static PyObject *drop_low(PyObject *module, PyObject *args)
{
    PyObject *list;
    Py_ssize_t base, room;
    (void)module;
    if (must_be_on_a_fiber() < 0 || !PyArg_ParseTuple(args, "O!nn", &PyList_Type, &list, &base, &room)) {
        return NULL;
    }
    return PyLong_FromLong(go_down(list, (uintptr_t)base, (size_t)room));
}

/* Put None for the items of a list where CPython lets `left` more calls be entered from C, and park there. */
static PyObject *drop_deep(PyObject *module, PyObject *args)
{
    PyObject *list;
    int left, entered = 0;
    (void)module;
    if (must_be_on_a_fiber() < 0 || !PyArg_ParseTuple(args, "O!i", &PyList_Type, &list, &left)) {
        return NULL;
    }
    while (Py_EnterRecursiveCall("") == 0) {
        entered++;
    }
    PyErr_Clear();
    for (int i = 0; i < left; i++, entered--) {
        Py_LeaveRecursiveCall();
    }
    stackwarden_status status = drop_and_park(list);
    for (; entered > 0; entered--) {
        Py_LeaveRecursiveCall();
    }
    return PyLong_FromLong(status);
}

/* ---- thread states ---- */

static PyObject *state_id(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return PyLong_FromUnsignedLongLong(PyThreadState_GetID(PyThreadState_Get()));
}

/* Call a function with a new thread state attached, and clear that while it is attached. */
static PyObject *in_new_state(PyObject *module, PyObject *function)
{
    (void)module;
    PyThreadState *made = PyThreadState_New(PyInterpreterState_Get());
    PyThreadState *attached = PyThreadState_Swap(made);
    PyObject *result = PyObject_CallNoArgs(function);
    PyThreadState_Clear(made);
    PyThreadState_Swap(attached);
    PyThreadState_Delete(made);
    return result;
}

static PyObject *make_and_clear_state(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    PyThreadState *made = PyThreadState_New(PyInterpreterState_Get());
    PyThreadState_Clear(made);
    PyThreadState_Delete(made);
    Py_RETURN_NONE;
}

/* True: PyGILState_Ensure kept the thread state that was attached. */
static PyObject *ensure_after_a_move(PyObject *module, PyObject *reattaches)
{
    PyInterpreterState *interpreter = PyInterpreterState_Get();
    int same;
    (void)module;
    Py_BEGIN_ALLOW_THREADS
    same = ensure_after_move(interpreter, reattaches == Py_True);
    Py_END_ALLOW_THREADS
    return PyBool_FromLong(same);
}

/* ---- the rest ---- */

static PyObject *finish_switch(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return PyLong_FromLong(stackwarden_finish_switch());
}

/* drain(detached=False) */
static PyObject *drain(PyObject *module, PyObject *args)
{
    int detached = 0;
    (void)module;
    if (!PyArg_ParseTuple(args, "|p", &detached)) {
        return NULL;
    }
    PyThreadState *saved = detached ? PyEval_SaveThread() : NULL;
    stackwarden_status status = stackwarden_drain();
    if (detached) {
        PyEval_RestoreThread(saved);
    }
    return PyLong_FromLong(status);
}

/* there_and_back(base, size, handle, blocking=False, detached=False): would stackwarden let the thread go to that
 * stack? Where it does, it is told that the thread came straight back. */
static PyObject *there_and_back(PyObject *module, PyObject *args)
{
    stackwarden_stack to = {0}, from;
    unsigned long long base, size, handle;
    int blocking = 0, detached = 0;
    (void)module;
    if (!PyArg_ParseTuple(args, "KKK|pp", &base, &size, &handle, &blocking, &detached)) {
        return NULL;
    }
    to.base = (uintptr_t)base;
    to.size = (size_t)size;
    to.handle = handle;
    PyThreadState *saved = detached ? PyEval_SaveThread() : NULL;
    stackwarden_current_stack(&from);
    stackwarden_status status = start_switch(&to, BY_HANDLE, blocking, 0);
    if (status == STACKWARDEN_DONE) {
        stackwarden_finish_switch();
        start_switch(&from, BY_HANDLE, blocking, 1);
        stackwarden_finish_switch();
    }
    if (detached) {
        PyEval_RestoreThread(saved);
    }
    return PyLong_FromLong(status);
}

static PyObject *address(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return PyLong_FromSize_t((uintptr_t)__builtin_frame_address(0));
}

static PyMethodDef functions[] = {
    {"park", park, METH_NOARGS, NULL},
    {"park_detached", park_detached, METH_NOARGS, NULL},
    {"enter", enter, METH_VARARGS, NULL},
    {"ensured", ensured, METH_O, NULL},
    {"run", run, METH_VARARGS, NULL},
    {"run_threads", run_on_threads, METH_VARARGS, NULL},
    {"carry", carry_fibers, METH_VARARGS, NULL},
    {"drop_low", drop_low, METH_VARARGS, NULL},
    {"drop_deep", drop_deep, METH_VARARGS, NULL},
    {"state_id", state_id, METH_NOARGS, NULL},
    {"in_new_state", in_new_state, METH_O, NULL},
    {"make_and_clear_state", make_and_clear_state, METH_NOARGS, NULL},
    {"ensure_after_move", ensure_after_a_move, METH_O, NULL},
    {"finish_switch", finish_switch, METH_NOARGS, NULL},
    {"drain", drain, METH_VARARGS, NULL},
    {"there_and_back", there_and_back, METH_VARARGS, NULL},
    {"address", address, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static int add_names(PyObject *module)
{
    static const struct {
        const char *name;
        int value;
    } names[] = {
        {"DONE", STACKWARDEN_DONE},
        {"LOST", STACKWARDEN_LOST},
        {"NOT_RUNNING", STACKWARDEN_NOT_RUNNING},
        {"BAD_RANGE", STACKWARDEN_BAD_RANGE},
        {"UNALIGNED", STACKWARDEN_UNALIGNED},
        {"TOO_SMALL", STACKWARDEN_TOO_SMALL},
        {"IN_USE", STACKWARDEN_IN_USE},
        {"STALE_HANDLE", STACKWARDEN_STALE_HANDLE},
        {"DETACHED", STACKWARDEN_DETACHED},
        {"ISOLATION_REQUIRED", STACKWARDEN_ISOLATION_REQUIRED},
        {"OTHER_THREAD", STACKWARDEN_OTHER_THREAD},
        {"NO_ISOLATION", STACKWARDEN_NO_ISOLATION},
        {"EMPTY_CONTEXT", STACKWARDEN_EMPTY_CONTEXT},
        {"BY_HANDLE", BY_HANDLE},
        {"BY_BOUNDS", BY_BOUNDS},
        {"BY_STALE_HANDLE", BY_STALE_HANDLE},
        {"BY_NULL", BY_NULL},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (PyModule_AddIntConstant(module, names[i].name, names[i].value) < 0) {
            return -1;
        }
    }
    return 0;
}

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "fibers", NULL, -1, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit_fibers(void)
{
    if (stackwarden_import() < 0 || PyType_Ready(&Stack_type) < 0 || PyType_Ready(&Fiber_type) < 0) {
        return NULL;
    }
    PyObject *module = PyModule_Create(&definition);
    if (module == NULL || PyModule_AddType(module, &Stack_type) < 0 || PyModule_AddType(module, &Fiber_type) < 0
        || add_names(module) < 0) {
        return NULL;
    }
    return module;
}

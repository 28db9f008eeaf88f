/* capi_probe.c: the C functions of stackwarden.h as Python sees them, for tests.
 *
 * Promises: uses the public header alone. call(how, what, ...) makes one call attached, detached or in a fresh
 * thread, and complains when it leaves an exception pending. The rest: memory, real switches, threads, loops.
 */
#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <stackwarden/stackwarden.h>

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "../machine.h"

#define ADDRESS(object) ((void *)(uintptr_t)(object))

/* ---- one call ---- */

typedef struct {
    const char *what, *name, *system;
    unsigned long long a, b, c;
    unsigned flags;
    stackwarden_status status;
    stackwarden_handle handle;
    stackwarden_stack stack;
    int ended;
} request;

static void perform_on_record(request *r)
{
    if (strcmp(r->what, "register") == 0) {
        r->stack.handle = 0x5A5A;
        r->status = stackwarden_register_stack(ADDRESS(r->a), r->b, r->name, r->system, r->flags, &r->stack);
        r->handle = r->stack.handle;
    }
    else if (strcmp(r->what, "unregister") == 0) {
        r->status = stackwarden_unregister_stack(r->a);
    }
    else if (strcmp(r->what, "current") == 0) {
        r->status = stackwarden_current_stack(&r->stack);
    }
    else if (strcmp(r->what, "find") == 0) {
        r->status = stackwarden_find_stack(ADDRESS(r->a), &r->stack);
    }
    else if (strcmp(r->what, "enter") == 0) {
        stackwarden_request token = {0};
        r->status = stackwarden_enter_stack(ADDRESS(r->a), r->b, &token);
        r->stack = (stackwarden_stack){.handle = token.id, .base = (uintptr_t)token.place};
    }
    else if (strcmp(r->what, "leave") == 0) {
        stackwarden_request token = {.id = r->c, .place = ADDRESS(r->a)};
        r->status = stackwarden_leave_stack(&token);
    }
    else if (strcmp(r->what, "set_policy") == 0) {
        r->status = stackwarden_set_policy((stackwarden_stacks)r->a, (stackwarden_policy)r->b, r->c != 0);
    }
    else if (strcmp(r->what, "enter_policy") == 0) {
        stackwarden_request token = {0};
        r->status = stackwarden_enter_policy((stackwarden_stacks)r->a, (stackwarden_policy)r->b, r->c != 0, &token);
        r->stack = (stackwarden_stack){.handle = token.id, .base = (uintptr_t)token.place};
    }
    else if (strcmp(r->what, "leave_policy") == 0) {
        stackwarden_request token = {.id = r->c, .place = ADDRESS(r->a)};
        r->status = stackwarden_leave_policy(&token);
    }
    else {
        r->status = (stackwarden_status)1000;
    }
}

static void perform(request *r)
{
    memset(&r->stack, 0xAB, sizeof r->stack); /* what the core does not fill shows */
    if (strcmp(r->what, "notify") == 0) {
        r->status = stackwarden_notify_stack_switch(ADDRESS(r->a), r->b);
    }
    else if (strcmp(r->what, "switch_to") == 0) {
        r->status = stackwarden_switch_to(r->a);
    }
    else if (strcmp(r->what, "reset") == 0) {
        r->status = stackwarden_reset_stack();
    }
    else if (strcmp(r->what, "sync") == 0) {
        r->status = stackwarden_sync_stack();
    }
    else {
        perform_on_record(r);
    }
}

static void *perform_in_thread(void *argument)
{
    perform(argument);
    return NULL;
}

static pthread_key_t last_words;

static void perform_as_destructor(void *argument)
{
    request *r = argument;
    perform(r);
    r->ended = 1;
}

/* Make the call twice: in the thread, and when it has ended and other destructors were already run. */
static void *perform_and_leave_a_destructor(void *argument)
{
    perform(argument);
    pthread_setspecific(last_words, argument);
    return NULL;
}

static int in_a_thread(void *(*function)(void *), void *argument)
{
    pthread_t thread;
    int failed = pthread_create(&thread, NULL, function, argument);
    return failed ? failed : pthread_join(thread, NULL);
}

static PyObject *outcome(const request *r)
{
    return Py_BuildValue("iK(KKK)y#", (int)r->status, (unsigned long long)r->handle,
                         (unsigned long long)r->stack.handle, (unsigned long long)r->stack.base,
                         (unsigned long long)r->stack.size, (const char *)r->stack.reserved,
                         (Py_ssize_t)sizeof r->stack.reserved);
}

static PyObject *call(PyObject *module, PyObject *args)
{
    (void)module;
    const char *how;
    request r = {0};
    int failed = 0;
    if (!PyArg_ParseTuple(args, "ss|KKzzIK", &how, &r.what, &r.a, &r.b, &r.name, &r.system, &r.flags, &r.c)) {
        return NULL;
    }
    if (strcmp(how, "attached") == 0) {
        perform(&r);
        if (PyErr_Occurred()) {
            return NULL;
        }
    }
    else if (strcmp(how, "raising") == 0) {
        PyErr_SetString(PyExc_KeyError, "pending in the caller");
        perform(&r);
        int survived = PyErr_Occurred() == PyExc_KeyError;
        PyErr_Clear();
        if (!survived) {
            PyErr_SetString(PyExc_AssertionError, "the exception that was pending is gone");
            return NULL;
        }
    }
    else {
        Py_BEGIN_ALLOW_THREADS
        if (strcmp(how, "detached") == 0) {
            perform(&r);
        }
        else {
            failed = in_a_thread(strcmp(how, "thread") == 0 ? perform_in_thread : perform_and_leave_a_destructor, &r);
        }
        Py_END_ALLOW_THREADS
    }
    if (failed || (int)r.status == 1000) {
        PyErr_Format(PyExc_RuntimeError, "%s %s: %s", how, r.what, strerror(failed));
        return NULL;
    }
    return outcome(&r);
}

static PyObject *import_table(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    int outcome = stackwarden_import();
    return outcome < 0 ? NULL : PyLong_FromLong(outcome);
}

static PyObject *status_text(PyObject *module, PyObject *args)
{
    (void)module;
    int status;
    return PyArg_ParseTuple(args, "i", &status)
             ? PyUnicode_FromString(stackwarden_status_text((stackwarden_status)status))
             : NULL;
}

/* ---- memory ---- */

static PyObject *map_memory(PyObject *module, PyObject *args)
{
    (void)module;
    unsigned long long size;
    if (!PyArg_ParseTuple(args, "K", &size)) {
        return NULL;
    }
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? PyErr_SetFromErrno(PyExc_OSError) : PyLong_FromVoidPtr(memory);
}

static PyObject *done_or_error(int result)
{
    if (result != 0) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    Py_RETURN_NONE;
}

static PyObject *unmap_memory(PyObject *module, PyObject *args)
{
    (void)module;
    unsigned long long base, size;
    return PyArg_ParseTuple(args, "KK", &base, &size) ? done_or_error(munmap(ADDRESS(base), size)) : NULL;
}

static PyObject *forbid(PyObject *module, PyObject *args)
{
    (void)module;
    unsigned long long base, size;
    return PyArg_ParseTuple(args, "KK", &base, &size) ? done_or_error(mprotect(ADDRESS(base), size, PROT_NONE)) : NULL;
}

static PyObject *install_guard(PyObject *module, PyObject *args)
{
    (void)module;
    const int madv_guard_install = 102; /* Linux 6.13 */
    unsigned long long base, size;
    return PyArg_ParseTuple(args, "KK", &base, &size) ? done_or_error(madvise(ADDRESS(base), size, madv_guard_install))
                                                      : NULL;
}

/* ---- real switches: call a Python function on a stack and tell nobody ---- */

typedef struct {
    PyObject *function, *result;
} errand;

static void run_errand(void *argument)
{
    errand *e = argument;
    e->result = PyObject_CallNoArgs(e->function);
}

static PyObject *call_on(PyObject *module, PyObject *args)
{
    (void)module;
    unsigned long long base, size;
    errand e;
    if (!PyArg_ParseTuple(args, "KKO", &base, &size, &e.function)) {
        return NULL;
    }
    run_on_stack(ADDRESS(base), size, run_errand, &e);
    return e.result;
}

static PyObject *stack_pointer(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return PyLong_FromVoidPtr(__builtin_frame_address(0));
}

/* ---- threads and thread states ---- */

typedef struct {
    PyObject *function, *result;
    PyObject *error[3];
} thread_errand;

static void *run_in_thread(void *argument)
{
    thread_errand *e = argument;
    PyGILState_STATE state = PyGILState_Ensure();
    e->result = PyObject_CallNoArgs(e->function);
    PyErr_Fetch(&e->error[0], &e->error[1], &e->error[2]);
    PyGILState_Release(state);
    return NULL;
}

/* call_in_thread(function, base=0, size=0): in a new thread whose own stack is [base, base + size) */
static PyObject *call_in_thread(PyObject *module, PyObject *args)
{
    (void)module;
    unsigned long long base = 0, size = 0;
    thread_errand e = {0};
    pthread_attr_t attributes;
    pthread_t thread;
    if (!PyArg_ParseTuple(args, "O|KK", &e.function, &base, &size)) {
        return NULL;
    }
    pthread_attr_init(&attributes);
    int failed = size ? pthread_attr_setstack(&attributes, ADDRESS(base), size) : 0;
    failed = failed ? failed : pthread_create(&thread, &attributes, run_in_thread, &e);
    pthread_attr_destroy(&attributes);
    if (failed) {
        errno = failed;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    Py_BEGIN_ALLOW_THREADS
    pthread_join(thread, NULL);
    Py_END_ALLOW_THREADS
    PyErr_Restore(e.error[0], e.error[1], e.error[2]);
    return e.result;
}

#define NEIGHBOUR (64ULL << 10) /* bytes */

typedef struct {
    unsigned long long base, size;
    PyObject *function, *result;
    stackwarden_status told;
} told_errand;

static void run_told(void *argument)
{
    told_errand *e = argument;
    e->told = stackwarden_notify_stack_switch(ADDRESS(e->base), e->size);
    PyGILState_STATE state = PyGILState_Ensure();
    e->result = PyObject_CallNoArgs(e->function);
    if (e->result == NULL) {
        PyErr_WriteUnraisable(e->function);
    }
    PyGILState_Release(state);
    stackwarden_reset_stack();
}

static void *tell_before_attaching(void *argument)
{
    told_errand *e = argument;
    run_on_stack(ADDRESS(e->base), e->size, run_told, e);
    return NULL;
}

/* call_in_told_thread(base, size, function): a fresh thread goes to that stack, tells, and only then attaches */
static PyObject *call_in_told_thread(PyObject *module, PyObject *args)
{
    (void)module;
    told_errand e = {0};
    int failed;
    if (!PyArg_ParseTuple(args, "KKO", &e.base, &e.size, &e.function)) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    failed = in_a_thread(tell_before_attaching, &e);
    Py_END_ALLOW_THREADS
    if (failed || e.result == NULL) {
        Py_XDECREF(e.result);
        return PyErr_Format(PyExc_RuntimeError, "the call in the thread failed");
    }
    return Py_BuildValue("iN", (int)e.told, e.result);
}

static void run_untold(void *argument)
{
    told_errand *e = argument;
    PyGILState_STATE state = PyGILState_Ensure();
    stackwarden_sync_stack();
    PyObject *result = PyObject_CallNoArgs(e->function);
    if (result == NULL || PyList_Append(e->result, result) != 0) {
        PyErr_WriteUnraisable(e->function);
    }
    Py_XDECREF(result);
    PyGILState_Release(state);
}

static void *go_from_top_to_base(void *argument)
{
    told_errand e = *(told_errand *)argument;
    e.size = NEIGHBOUR;
    for (unsigned long long done = NEIGHBOUR; done <= ((told_errand *)argument)->size; done += NEIGHBOUR) {
        e.base = ((told_errand *)argument)->base + ((told_errand *)argument)->size - done;
        run_on_stack(ADDRESS(e.base), e.size, run_untold, &e);
    }
    return NULL;
}

/* call_on_neighbours(base, size, function): what it returned on each of the 64 KiB stacks of [base, base + size), from
 * the highest on. One fresh thread goes to them, and on each attaches, syncs, and detaches in the end. */
static PyObject *call_on_neighbours(PyObject *module, PyObject *args)
{
    (void)module;
    told_errand e = {0};
    if (!PyArg_ParseTuple(args, "KKO", &e.base, &e.size, &e.function) || (e.result = PyList_New(0)) == NULL) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    in_a_thread(go_from_top_to_base, &e);
    Py_END_ALLOW_THREADS
    return e.result;
}

static PyObject *call_in_new_thread_state(PyObject *module, PyObject *function)
{
    (void)module;
    PyThreadState *made = PyThreadState_New(PyInterpreterState_Get());
    PyThreadState *own = PyThreadState_Swap(made);
    PyObject *error[3];
    PyObject *result = PyObject_CallNoArgs(function);
    PyErr_Fetch(&error[0], &error[1], &error[2]);
    PyThreadState_Clear(made);
    PyThreadState_Swap(own);
    PyThreadState_Delete(made);
    PyErr_Restore(error[0], error[1], error[2]);
    return result;
}

/* ---- what others do to a thread state ---- */

static PyObject *set_protection(PyObject *module, PyObject *args)
{
    (void)module;
    unsigned long long base, size;
    int (*setter)(PyThreadState *, void *, size_t) =
        (int (*)(PyThreadState *, void *, size_t))dlsym(RTLD_DEFAULT, "PyUnstable_ThreadState_SetStackProtection");
    if (!PyArg_ParseTuple(args, "KK", &base, &size)) {
        return NULL;
    }
    if (setter == NULL) {
        return PyErr_Format(PyExc_NotImplementedError, "no setter");
    }
    return setter(PyThreadState_Get(), ADDRESS(base), size) == 0 ? Py_NewRef(Py_None) : NULL;
}

static PyObject *reset_protection(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    void (*resetter)(PyThreadState *) =
        (void (*)(PyThreadState *))dlsym(RTLD_DEFAULT, "PyUnstable_ThreadState_ResetStackProtection");
    if (resetter == NULL) {
        return PyErr_Format(PyExc_NotImplementedError, "no setter");
    }
    resetter(PyThreadState_Get());
    Py_RETURN_NONE;
}

static PyObject *set_recursion_limit(PyObject *module, PyObject *args)
{
    (void)module;
    int limit;
    if (!PyArg_ParseTuple(args, "i", &limit)) {
        return NULL;
    }
    Py_SetRecursionLimit(limit);
    Py_RETURN_NONE;
}

/* ---- switch callbacks in C: each slot notes what it was told ---- */

#define SLOTS 32
#define NOTES 64

typedef struct {
    int count;
    stackwarden_stack left[NOTES], entered[NOTES];
    int attached[NOTES], on_the_new_stack[NOTES];
    unsigned long long notify_base, notify_size; /* what the callback itself tells */
    PyObject *function; /* what it calls last, or NULL; exceptions are dropped */
} notebook;

static notebook notebooks[SLOTS];

static void note(const stackwarden_stack *left, const stackwarden_stack *entered, void *arg)
{
    notebook *book = arg;
    uintptr_t sp = (uintptr_t)__builtin_frame_address(0);
    if (book->count < NOTES) {
        book->left[book->count] = *left;
        book->entered[book->count] = *entered;
        book->attached[book->count] = PyGILState_Check();
        book->on_the_new_stack[book->count] = sp - entered->base < entered->size;
        book->count++;
    }
    if (book->notify_size) {
        stackwarden_notify_stack_switch(ADDRESS(book->notify_base), book->notify_size);
    }
    if (book->function != NULL) {
        PyObject *result = PyObject_CallNoArgs(book->function);
        Py_XDECREF(result);
        PyErr_Clear();
    }
}

static void note_too(const stackwarden_stack *left, const stackwarden_stack *entered, void *arg)
{
    note(left, entered, arg);
}

/* register_callback(slot, all_threads, other_function=0, notify_base=0, notify_size=0, function=None), which must
 * outlive the registration */
static PyObject *register_callback(PyObject *module, PyObject *args)
{
    (void)module;
    unsigned slot;
    int all_threads, other = 0;
    unsigned long long base = 0, size = 0;
    PyObject *function = NULL;
    if (!PyArg_ParseTuple(args, "Ip|pKKO", &slot, &all_threads, &other, &base, &size, &function)) {
        return NULL;
    }
    notebooks[slot] = (notebook){.notify_base = base, .notify_size = size, .function = function};
    return PyLong_FromLong(
        stackwarden_register_switch_callback(other ? note_too : note, &notebooks[slot], all_threads));
}

static PyObject *unregister_callback(PyObject *module, PyObject *args)
{
    (void)module;
    unsigned slot;
    int other = 0;
    return PyArg_ParseTuple(args, "I|p", &slot, &other)
             ? PyLong_FromLong(stackwarden_unregister_switch_callback(other ? note_too : note, &notebooks[slot]))
             : NULL;
}

/* take_notes(slot): [((handle, base, size), (handle, base, size), attached, on the new stack), ...] */
static PyObject *take_notes(PyObject *module, PyObject *args)
{
    (void)module;
    unsigned slot;
    if (!PyArg_ParseTuple(args, "I", &slot)) {
        return NULL;
    }
    notebook *book = &notebooks[slot];
    PyObject *notes = PyList_New(0);
    for (int i = 0; notes != NULL && i < book->count; i++) {
        const stackwarden_stack *left = &book->left[i], *entered = &book->entered[i];
        PyObject *one = Py_BuildValue("(KKK)(KKK)NN", (unsigned long long)left->handle, (unsigned long long)left->base,
                                      (unsigned long long)left->size, (unsigned long long)entered->handle,
                                      (unsigned long long)entered->base, (unsigned long long)entered->size,
                                      PyBool_FromLong(book->attached[i]), PyBool_FromLong(book->on_the_new_stack[i]));
        if (one == NULL || PyList_Append(notes, one) < 0) {
            Py_CLEAR(notes);
        }
        Py_XDECREF(one);
    }
    book->count = 0;
    return notes;
}

/* ---- loops without the GIL ---- */

static atomic_int stop_loops;

static PyObject *stop(PyObject *module, PyObject *args)
{
    (void)module;
    int value;
    if (!PyArg_ParseTuple(args, "p", &value)) {
        return NULL;
    }
    atomic_store(&stop_loops, value);
    Py_RETURN_NONE;
}

static inline uint32_t random_number(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

#define CHURNED 256

/* churn(first, places, stride, least, most, seed, rounds): register and unregister, at random, in `places` places
 * that are `stride` bytes apart and that it alone uses; sizes are from `least` to `most` by 16 bytes. Returns how
 * many calls did not come to DONE. */
static PyObject *churn(PyObject *module, PyObject *args)
{
    (void)module;
    unsigned long long first, stride, least, most, seed, rounds;
    unsigned places;
    long long wrong = 0;
    stackwarden_handle handles[CHURNED] = {0};
    if (!PyArg_ParseTuple(args, "KIKKKKK", &first, &places, &stride, &least, &most, &seed, &rounds)
        || places > CHURNED) {
        return NULL;
    }
    uint64_t state = seed;
    Py_BEGIN_ALLOW_THREADS
    for (unsigned long long i = 0; i < rounds && !atomic_load(&stop_loops); i++) {
        unsigned place = random_number(&state) % places;
        if (handles[place]) {
            wrong += stackwarden_unregister_stack(handles[place]) != STACKWARDEN_DONE;
            handles[place] = 0;
        }
        else {
            size_t size = least + random_number(&state) % ((most - least) / 16 + 1) * 16;
            stackwarden_stack made = {0};
            wrong += stackwarden_register_stack(ADDRESS(first + place * stride), size, NULL, NULL, 0, &made)
                  != STACKWARDEN_DONE;
            handles[place] = made.handle;
        }
    }
    for (unsigned place = 0; place < places; place++) {
        wrong += handles[place] && stackwarden_unregister_stack(handles[place]) != STACKWARDEN_DONE;
    }
    Py_END_ALLOW_THREADS
    return PyLong_FromLongLong(wrong);
}

/* look_up(first, length, stride, kept, kept_handle, seed): until told to stop, random addresses in
 * [first, first + length), laid out as for churn(); the stack `kept` is registered all the time. Returns
 * (lookups, found, wrong): wrong are answers that do not hold the address, that no place could have, or that say
 * the kept stack is not there. */
static PyObject *look_up(PyObject *module, PyObject *args)
{
    (void)module;
    unsigned long long first, length, stride, kept, kept_handle, seed;
    long long lookups = 0, found = 0, wrong = 0;
    if (!PyArg_ParseTuple(args, "KKKKKK", &first, &length, &stride, &kept, &kept_handle, &seed)) {
        return NULL;
    }
    uint64_t state = seed;
    Py_BEGIN_ALLOW_THREADS
    for (; !atomic_load(&stop_loops); lookups++) {
        uintptr_t address = lookups % 4 ? first + random_number(&state) % length : kept;
        stackwarden_stack stack;
        stackwarden_status status = stackwarden_find_stack(ADDRESS(address), &stack);
        if (address == kept) {
            wrong += status != STACKWARDEN_DONE || stack.handle != kept_handle;
        }
        else if (status == STACKWARDEN_DONE) {
            found++;
            wrong += address - stack.base >= stack.size || (stack.base - first) % stride != 0 || stack.size > stride
                  || stack.handle == 0;
        }
    }
    Py_END_ALLOW_THREADS
    return Py_BuildValue("LLL", lookups, found, wrong);
}

/* tell_over(base, size, rounds): notify of that range and go back, again and again. Returns the calls that did not
 * come to DONE. */
static PyObject *tell_over(PyObject *module, PyObject *args)
{
    (void)module;
    unsigned long long base, size, rounds;
    long long wrong = 0;
    if (!PyArg_ParseTuple(args, "KKK", &base, &size, &rounds)) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    for (unsigned long long i = 0; i < rounds && !atomic_load(&stop_loops); i++) {
        wrong += stackwarden_notify_stack_switch(ADDRESS(base), size) != STACKWARDEN_DONE;
        wrong += stackwarden_reset_stack() != STACKWARDEN_DONE;
    }
    Py_END_ALLOW_THREADS
    return PyLong_FromLongLong(wrong);
}

/* register_stale(base, size, rounds): register there what others tell over: it may give way, or be refused. */
static PyObject *register_stale(PyObject *module, PyObject *args)
{
    (void)module;
    unsigned long long base, size, rounds;
    long long wrong = 0;
    if (!PyArg_ParseTuple(args, "KKK", &base, &size, &rounds)) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    for (unsigned long long i = 0; i < rounds && !atomic_load(&stop_loops); i++) {
        stackwarden_stack made;
        stackwarden_status status = stackwarden_register_stack(ADDRESS(base), size, NULL, NULL, 0, &made);
        wrong += status != STACKWARDEN_DONE && status != STACKWARDEN_OVERLAP;
    }
    Py_END_ALLOW_THREADS
    return PyLong_FromLongLong(wrong);
}

/* fill_registry(first, size): register one range after the other until that is refused. -> (registered, status) */
static PyObject *fill_registry(PyObject *module, PyObject *args)
{
    (void)module;
    unsigned long long first, size, made = 0;
    stackwarden_status status;
    stackwarden_stack stack;
    if (!PyArg_ParseTuple(args, "KK", &first, &size)) {
        return NULL;
    }
    while ((status = stackwarden_register_stack(ADDRESS(first + made * size), size, NULL, NULL, 0, &stack))
           == STACKWARDEN_DONE) {
        made++;
    }
    return Py_BuildValue("Ki", made, (int)status);
}

/* register_many(first, count, stride, size): -> (registered, found, unregistered) */
static PyObject *register_many(PyObject *module, PyObject *args)
{
    (void)module;
    unsigned long long first, count, stride, size, made = 0, found = 0, gone = 0;
    if (!PyArg_ParseTuple(args, "KKKK", &first, &count, &stride, &size)) {
        return NULL;
    }
    stackwarden_handle *handles = PyMem_Calloc(count, sizeof *handles);
    if (handles == NULL) {
        return PyErr_NoMemory();
    }
    Py_BEGIN_ALLOW_THREADS
    for (unsigned long long i = 0; i < count; i++) {
        stackwarden_stack stack = {0};
        made +=
            stackwarden_register_stack(ADDRESS(first + i * stride), size, NULL, NULL, 0, &stack) == STACKWARDEN_DONE;
        handles[i] = stack.handle;
    }
    for (unsigned long long i = 0; i < count; i++) {
        uintptr_t base = first + i * stride;
        stackwarden_stack low, high, none;
        found += stackwarden_find_stack(ADDRESS(base), &low) == STACKWARDEN_DONE && low.handle == handles[i]
              && stackwarden_find_stack(ADDRESS(base + size - 1), &high) == STACKWARDEN_DONE
              && high.handle == handles[i] && high.base == base && high.size == size
              && stackwarden_find_stack(ADDRESS(base + size), &none) == STACKWARDEN_UNKNOWN_STACK;
    }
    for (unsigned long long i = 0; i < count; i++) {
        gone += stackwarden_unregister_stack(handles[i]) == STACKWARDEN_DONE;
    }
    Py_END_ALLOW_THREADS
    PyMem_Free(handles);
    return Py_BuildValue("KKK", made, found, gone);
}

/* switch_among(handles, rounds): go to each, and back at the end. Returns the calls that did not come to DONE. */
static PyObject *switch_among(PyObject *module, PyObject *args)
{
    (void)module;
    stackwarden_handle handles[CHURNED];
    PyObject *list;
    unsigned long long rounds;
    long long wrong = 0;
    if (!PyArg_ParseTuple(args, "O!K", &PyList_Type, &list, &rounds)) {
        return NULL;
    }
    size_t count = (size_t)PyList_GET_SIZE(list);
    for (size_t i = 0; i < count && i < CHURNED; i++) {
        handles[i] = PyLong_AsUnsignedLongLong(PyList_GET_ITEM(list, (Py_ssize_t)i));
    }
    Py_BEGIN_ALLOW_THREADS
    for (unsigned long long i = 0; i < rounds && !atomic_load(&stop_loops); i++) {
        wrong += stackwarden_switch_to(handles[i % count]) != STACKWARDEN_DONE;
    }
    wrong += stackwarden_reset_stack() != STACKWARDEN_DONE;
    Py_END_ALLOW_THREADS
    return PyLong_FromLongLong(wrong);
}

static __attribute__((noinline)) stackwarden_status sync_after(Py_ssize_t bytes)
{
    volatile char room[1024];
    room[0] = 0;
    stackwarden_status status = bytes > 0 ? sync_after(bytes - (Py_ssize_t)sizeof room) : stackwarden_sync_stack();
    room[1] = room[0];
    return status;
}

static PyObject *sync_below(PyObject *module, PyObject *bytes)
{
    (void)module;
    return PyLong_FromLong(sync_after(PyLong_AsSsize_t(bytes)));
}

static PyMethodDef methods[] = {
    {"call", call, METH_VARARGS, "call(how, what, a, b, name, system, flags) -> (status, handle, stack, reserved)"},
    {"import_table", import_table, METH_NOARGS, "stackwarden_import()"},
    {"status_text", status_text, METH_VARARGS, "stackwarden_status_text()"},
    {"map_memory", map_memory, METH_VARARGS, NULL},
    {"unmap_memory", unmap_memory, METH_VARARGS, NULL},
    {"forbid", forbid, METH_VARARGS, "mprotect(PROT_NONE)"},
    {"install_guard", install_guard, METH_VARARGS, "madvise(MADV_GUARD_INSTALL)"},
    {"call_on", call_on, METH_VARARGS, "call_on(base, size, function): on that stack, without telling"},
    {"stack_pointer", stack_pointer, METH_NOARGS, NULL},
    {"sync_below", sync_below, METH_O, "sync_below(bytes): stackwarden_sync_stack() that far down, unchecked"},
    {"call_in_thread", call_in_thread, METH_VARARGS, NULL},
    {"call_on_neighbours", call_on_neighbours, METH_VARARGS, NULL},
    {"call_in_told_thread", call_in_told_thread, METH_VARARGS, NULL},
    {"call_in_new_thread_state", call_in_new_thread_state, METH_O, NULL},
    {"set_protection", set_protection, METH_VARARGS, "PyUnstable_ThreadState_SetStackProtection"},
    {"reset_protection", reset_protection, METH_NOARGS, "PyUnstable_ThreadState_ResetStackProtection"},
    {"set_recursion_limit", set_recursion_limit, METH_VARARGS, "Py_SetRecursionLimit"},
    {"register_callback", register_callback, METH_VARARGS, NULL},
    {"unregister_callback", unregister_callback, METH_VARARGS, NULL},
    {"take_notes", take_notes, METH_VARARGS, NULL},
    {"stop", stop, METH_VARARGS, "stop(bool): end the loops"},
    {"churn", churn, METH_VARARGS, NULL},
    {"look_up", look_up, METH_VARARGS, NULL},
    {"tell_over", tell_over, METH_VARARGS, NULL},
    {"register_stale", register_stale, METH_VARARGS, NULL},
    {"fill_registry", fill_registry, METH_VARARGS, NULL},
    {"register_many", register_many, METH_VARARGS, NULL},
    {"switch_among", switch_among, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static int start(PyObject *module)
{
    /* Made after the core's own key where the core is imported first, so its destructor runs after the core's. */
    static int made;
    (void)module;
    if (!made && pthread_key_create(&last_words, perform_as_destructor) != 0) {
        PyErr_SetString(PyExc_ImportError, "no key for thread-specific data");
        return -1;
    }
    made = 1;
    return 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, (void *)start}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "capi_probe", NULL, 0, methods, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit_capi_probe(void)
{
    return PyModuleDef_Init(&definition);
}

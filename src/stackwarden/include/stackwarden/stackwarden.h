/* stackwarden.h: tell CPython which stack a thread runs on.  C11 and C++11.
 *
 * The C contract of the Python package `stackwarden`: a table of functions behind one capsule, which
 * stackwarden_import() finds once. The header may be vendored alone (MIT): nothing is linked, and where
 * the package is not installed every call returns STACKWARDEN_NOT_INSTALLED and does nothing. Runtimes
 * that know nothing of Python have another contract (beacon.h).
 *
 *     if (stackwarden_import() < 0) return NULL;              // once, attached; 1: not installed, which is legitimate
 *     stackwarden_register_stack(base, size, "fiber 1", "my-runtime", 0, &stack);
 *     ...
 *     stackwarden_switch_to(stack.handle);                    // right before or after the switch
 *     ...run Python...
 *     stackwarden_reset_stack();                              // back on the thread's own stack
 *
 * Words.  A stack is a range of memory [base, base + size), base being its LOWEST USABLE byte: guard
 * pages are left out. A handle names one registered stack and never another. Attached: the calling
 * thread has an attached thread state (holds the GIL). Switch: a thread goes from one stack to another.
 * Current: the stack that a thread was told last, or that a sync found under it. A suspended stack was
 * switched away from, and is to be resumed.
 *
 * Every function below may be called from any thread, attached or not, unless it says otherwise. Only
 * those marked RAISES leave a Python exception pending; none aborts the process. The first call on a
 * thread allocates that thread's block, and where it cannot fails with FULL or NO_MEMORY, changes nothing,
 * and is tried again by the next; later calls of the switching functions allocate nothing, take no lock
 * and make no system call.
 *
 * Signal handlers in C.  The switching functions may be called in one, where the runtime itself may switch there. The
 * others, and the first call on a thread, may be as far as malloc() may: they take a lock, and a handler that interrupted
 * its holder, another such call on its own thread, gets INTERRUPTED, whatever else a function fails with below. Nothing
 * was changed then. Any handler may fork.
 */
#ifndef STACKWARDEN_H
#define STACKWARDEN_H

#include <Python.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define STACKWARDEN_VERSION "0.1.0" /* of the package that this header came with */

/* A caller is served when its major number is the package's and its minor number is not newer. */
#define STACKWARDEN_API_MAJOR 1
#define STACKWARDEN_API_MINOR 0
#define STACKWARDEN_CAPSULE "stackwarden._core.table"

/* The outcome of a call. Negative: refused, and nothing was changed. */
typedef enum {
    STACKWARDEN_DONE = 0,
    STACKWARDEN_UNKNOWN_STACK = 1, /* not on a known stack: the policy for unknown stacks is effective */
    STACKWARDEN_LOST = 2, /* forgotten, but frames live on that stack: its memory must stay as it is */
    STACKWARDEN_NOT_INSTALLED = -1,
    STACKWARDEN_NOT_RUNNING = -2, /* Python is not initialised, or finalised */
    STACKWARDEN_NO_MEMORY = -3,
    STACKWARDEN_FULL = -4, /* 2**21 - 1 records, or 16 C callbacks, are in use */
    STACKWARDEN_BAD_RANGE = -5, /* empty, larger than 2**40 bytes (1 TiB), wraps around, or beyond 2**48 */
    STACKWARDEN_UNALIGNED = -6, /* base and size must be multiples of 16 bytes */
    STACKWARDEN_UNMAPPED = -7,
    STACKWARDEN_TOO_SMALL = -8, /* smaller than this interpreter can protect: see status() */
    STACKWARDEN_OVERLAP = -9, /* overlaps a stack that is current on some thread */
    STACKWARDEN_IN_USE = -10, /* current on some thread */
    STACKWARDEN_STALE_HANDLE = -11, /* names no stack that is registered now */
    STACKWARDEN_NOT_REGISTERED = -12, /* no such callback or request, or not any more */
    STACKWARDEN_DETACHED = -13, /* the caller must be attached */
    STACKWARDEN_ISOLATION_REQUIRED = -14, /* Python frames would be resumed in another order than suspended */
    STACKWARDEN_OTHER_THREAD = -15, /* a stack with isolation "frames" is resumed on its own thread */
    STACKWARDEN_NO_ISOLATION = -16, /* this isolation is not available here: status() says why */
    STACKWARDEN_NOT_AVAILABLE = -17, /* not on this platform */
    STACKWARDEN_BAD_POLICY = -18, /* no such policy, or not one for these stacks */
    STACKWARDEN_INTERRUPTED = -19 /* in a signal handler, which interrupted the holder of the lock */
} stackwarden_status;

typedef uint64_t stackwarden_handle; /* 0 names no stack */

/* Where the bounds of a stack come from. What was found never becomes told by being passed on. */
typedef enum {
    STACKWARDEN_BOUNDS_TOLD = 0, /* or from the operating system, for a native stack */
    STACKWARDEN_BOUNDS_MAP = 1, /* found in the map of memory */
    STACKWARDEN_BOUNDS_ESTIMATE = 2 /* assumed: the map does not tell where the stack ends */
} stackwarden_bounds_from;

/* What is known of one stack. Reserved bytes are zero. */
typedef struct {
    stackwarden_handle handle;
    uintptr_t base; /* address of the lowest usable byte */
    size_t size; /* bytes */
    uint64_t chain; /* by current_stack() alone: names the execution state, which nested calls on other stacks share */
    uint64_t pooled; /* by current_stack() alone: 1: call_on_stack() made it */
    uint64_t bounds_from; /* by current_stack() alone: a stackwarden_bounds_from */
    uint64_t reserved[2];
} stackwarden_stack;

/* A token: names the request of an enter function, for the leave function that ends it. Requests (budgets, stacks and
 * policies of blocks of code) form sets. Each ends on its own, in whatever order, and what is effective is computed
 * from those that are left. A token may be copied, and ended once. Reserved bytes are zero. */
typedef struct {
    uint64_t id; /* 0: no request */
    void *place; /* private */
    uint64_t reserved[2];
} stackwarden_request;

/* What CPython does with the bounds of a stack; docs/policies.md says what each policy means to which version. */
typedef enum {
    STACKWARDEN_POLICY_INHERITED = 0, /* a stack: its thread's; a thread: the process's; the process: the default */
    STACKWARDEN_POLICY_EXACT = 1,
    STACKWARDEN_POLICY_ESTIMATE = 2,
    STACKWARDEN_POLICY_COUNTED = 3,
    STACKWARDEN_POLICY_DISABLED = 4
} stackwarden_policy;

/* The stacks that a policy is for. */
typedef enum {
    STACKWARDEN_KNOWN_STACKS = 0, /* told, or native stacks of threads that Python created; default exact */
    STACKWARDEN_UNKNOWN_STACKS = 1, /* default estimate */
    STACKWARDEN_FOREIGN_THREADS = 2 /* native stacks of threads that Python did not create; default exact */
} stackwarden_stacks;

/* A switch callback: runs attached, on the new stack `to`. Must not throw, and must leave no Python exception pending.
 * May suspend its stack, and return on another thread. `from` may be gone already: then its handle is stale. */
typedef void (*stackwarden_switch_callback)(const stackwarden_stack *from, const stackwarden_stack *to, void *arg);

/* A function that is called on another stack. Must return: no C++ exception and no longjmp may leave it. */
typedef void (*stackwarden_function)(void *arg);

/* Flags of stackwarden_register_stack. */
#define STACKWARDEN_TRIM_GUARD 1u /* leave out the pages at the low end that cannot be read */
#define STACKWARDEN_ISOLATION_FRAMES 2u /* execution state of its own, swapped in place in the thread state */
#define STACKWARDEN_ISOLATION_THREAD_STATE 4u /* a PyThreadState of its own; may be resumed on another thread */
#define STACKWARDEN_EMPTY_CONTEXT 8u /* start with an empty context, not with a copy of the creator's */
#define STACKWARDEN_WITH_POLICY(policy) ((unsigned)(policy) << 8) /* one of stackwarden_policy, for this stack */

/* Flags of stackwarden_start_switch. */
#define STACKWARDEN_SWITCH_ENDS 1u /* the current stack is not resumed */

/* The table. Slots are only ever appended; tests/abi pins the layout. */
typedef struct {
    uint32_t major;
    uint32_t minor;
    stackwarden_status (*notify_stack_switch)(uintptr_t base, size_t size);
    stackwarden_status (*switch_to)(stackwarden_handle handle);
    stackwarden_status (*reset_stack)(void);
    stackwarden_status (*sync_stack)(void);
    stackwarden_status (*register_stack)(uintptr_t base, size_t size, const char *name, const char *system,
                                         unsigned flags, stackwarden_stack *stack);
    stackwarden_status (*unregister_stack)(stackwarden_handle handle);
    stackwarden_status (*current_stack)(stackwarden_stack *stack);
    stackwarden_status (*find_stack)(uintptr_t address, stackwarden_stack *stack);
    stackwarden_status (*register_switch_callback)(stackwarden_switch_callback callback, void *arg, int all_threads);
    stackwarden_status (*unregister_switch_callback)(stackwarden_switch_callback callback, void *arg);
    stackwarden_status (*start_switch)(const stackwarden_stack *to, unsigned flags);
    stackwarden_status (*start_switch_blocking)(const stackwarden_stack *to, unsigned flags);
    stackwarden_status (*finish_switch)(void);
    stackwarden_status (*renew_stack)(stackwarden_handle handle, PyObject *context);
    stackwarden_status (*drain)(void);
    stackwarden_status (*enter_budget)(uintptr_t low_end, stackwarden_request *request);
    stackwarden_status (*leave_budget)(const stackwarden_request *request);
    stackwarden_status (*adopt_stack)(void);
    stackwarden_status (*call_on_stack)(size_t size, stackwarden_function function, void *arg);
    stackwarden_status (*maybe_grow)(size_t room, size_t size, stackwarden_function function, void *arg);
    size_t (*stack_remaining)(void);
    size_t (*stack_used)(void);
    int (*check_stack_depth)(const char *where);
    int (*enter_recursive_call)(const char *where);
    void (*leave_recursive_call)(void);
    stackwarden_status (*set_policy)(stackwarden_stacks which, stackwarden_policy policy, int thread_only);
    stackwarden_status (*enter_policy)(stackwarden_stacks which, stackwarden_policy policy, int thread_only,
                                       stackwarden_request *request);
    stackwarden_status (*leave_policy)(const stackwarden_request *request);
    stackwarden_status (*enter_sync)(stackwarden_request *request);
    stackwarden_status (*leave_sync)(const stackwarden_request *request);
    stackwarden_status (*enter_stack)(const stackwarden_stack *stack, stackwarden_request *request);
    stackwarden_status (*leave_stack)(const stackwarden_request *request);
    stackwarden_status (*retain_stack)(void);
    stackwarden_handle (*current_handle)(void);
} stackwarden_table;

/* One pointer for each linked module, shared by its translation units. */
#if defined(_MSC_VER)
__declspec(selectany) const stackwarden_table *stackwarden_table_ = NULL;
#else
__attribute__((weak, visibility("hidden"))) const stackwarden_table *stackwarden_table_ = NULL;
#endif

/* Does the pending exception say that the package is absent, and not that it is broken? */
static inline int stackwarden_is_absent_(void)
{
    if (!PyErr_ExceptionMatches(PyExc_ModuleNotFoundError)) {
        return 0;
    }
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    PyObject *name = PyObject_GetAttrString(error, "name");
    int absent = name != NULL && PyUnicode_Check(name)
              && (PyUnicode_CompareWithASCIIString(name, "stackwarden") == 0
                  || PyUnicode_CompareWithASCIIString(name, "stackwarden._core") == 0);
    Py_XDECREF(name);
    PyErr_Restore(type, error, traceback);
    return absent;
}

/* Find the package and check its table. RAISES.
 * Requires: attached. Called once in each linked module; again is harmless.
 * Guarantees: 0: the functions below reach the package. 1: there is no package, or none with a compiled core; no
 *   exception is pending, and the functions below return STACKWARDEN_NOT_INSTALLED and do nothing.
 * Fails with: -1 and ImportError, when the major numbers differ, when this header is newer than the package (the
 *   message names both numbers and the remedy), or when the package is broken. Never to be ignored: the functions below
 *   return STACKWARDEN_NOT_INSTALLED then, too, and nothing is protected. */
static inline int stackwarden_import(void)
{
    PyObject *core = PyImport_ImportModule("stackwarden._core");
    if (core == NULL) {
        if (!stackwarden_is_absent_()) {
            return -1;
        }
        PyErr_Clear();
        return 1;
    }
    Py_DECREF(core);
    const stackwarden_table *table = (const stackwarden_table *)PyCapsule_Import(STACKWARDEN_CAPSULE, 0);
    if (table == NULL) {
        return -1;
    }
    if (table->major != STACKWARDEN_API_MAJOR || (int)table->minor < STACKWARDEN_API_MINOR) {
        PyErr_Format(PyExc_ImportError,
                     "stackwarden: this extension was compiled against version %d.%d of the C table, the "
                     "installed package provides %u.%u: %s",
                     STACKWARDEN_API_MAJOR, STACKWARDEN_API_MINOR, (unsigned)table->major, (unsigned)table->minor,
                     table->major > STACKWARDEN_API_MAJOR
                         ? "recompile the extension against the installed stackwarden.h"
                         : "install a newer stackwarden (pip install --upgrade stackwarden)");
        return -1;
    }
    stackwarden_table_ = table;
    return 0;
}

#define STACKWARDEN_CALL_(slot, arguments) \
    (stackwarden_table_ != NULL ? stackwarden_table_->slot arguments : STACKWARDEN_NOT_INSTALLED)

/* From now on this thread runs on the stack [base, base + size).
 * Requires: the thread is on it already, or switches to it before it runs Python again.
 * Guarantees: DONE: CPython's bounds are those of that stack. A registered stack's record is used; any other range gets
 *   a transient record of this thread. Without a thread state the bounds are applied by its first sync_stack().
 * Fails with: BAD_RANGE, UNALIGNED, OVERLAP, ISOLATION_REQUIRED (this stack or the current one has execution state of
 *   its own, which start_switch() and finish_switch() swap): nothing was changed. TOO_SMALL: the thread may be on that
 *   stack all the same, so the policy for unknown stacks is effective, and not the bounds of another stack. */
static inline stackwarden_status stackwarden_notify_stack_switch(const void *base, size_t size)
{
    return STACKWARDEN_CALL_(notify_stack_switch, ((uintptr_t)base, size));
}

/* The same for a registered stack, by its handle: the fastest way.
 * Fails with: STALE_HANDLE; ISOLATION_REQUIRED. */
static inline stackwarden_status stackwarden_switch_to(stackwarden_handle handle)
{
    return STACKWARDEN_CALL_(switch_to, (handle));
}

/* From now on this thread runs on its native stack again. Fails with: ISOLATION_REQUIRED. */
static inline stackwarden_status stackwarden_reset_stack(void)
{
    return STACKWARDEN_CALL_(reset_stack, ());
}

/* Apply the bounds of the stack under the caller, if others are applied.
 * Guarantees: DONE; or UNKNOWN_STACK: no record holds the stack pointer, the operating system's map of memory does not
 *   tell the stack's end either, and the policy for unknown stacks is effective. Only an unknown stack costs system
 *   calls. Calls the switch callbacks that could not run when a switch was told. */
static inline stackwarden_status stackwarden_sync_stack(void)
{
    return STACKWARDEN_CALL_(sync_stack, ());
}

/* sync_stack() for a caller that has swapped the execution state itself, CPython's recursion counters included, as
 * greenlet does: on 3.11 to 3.13 the counters stay, and are those of the stack under the caller from now on. */
static inline stackwarden_status stackwarden_adopt_stack(void)
{
    return STACKWARDEN_CALL_(adopt_stack, ());
}

/* sync_stack() for a block of code that is called on any stack and runs Python, until leave_sync(). Where the bounds
 * are right already there is no request, and leave_sync() syncs again.
 * Fails with: NOT_RUNNING, NO_MEMORY: nothing was changed. Takes a lock where the bounds are another stack's. */
static inline stackwarden_status stackwarden_enter_sync(stackwarden_request *request)
{
    return STACKWARDEN_CALL_(enter_sync, (request));
}

/* Guarantees: DONE: the current stack is that of the newest block that is left (enter_sync() and enter_stack() alike),
 *   else the one from before the first. But a stack that was told meanwhile, and holds the stack pointer, stays
 *   current.
 * Fails with: what stackwarden_leave_stack() fails with. */
static inline stackwarden_status stackwarden_leave_sync(const stackwarden_request *request)
{
    return STACKWARDEN_CALL_(leave_sync, (request));
}

/* Set a policy for good: in the process, or (thread_only) on the calling thread, where STACKWARDEN_KNOWN_STACKS
 * includes its native stack, whoever created the thread. A stack that was registered with a policy has that one.
 * Guarantees: DONE; effective at once on the calling thread if it is attached, elsewhere with the next switch or sync.
 * Fails with: BAD_POLICY: no such value, or STACKWARDEN_FOREIGN_THREADS with thread_only; NOT_RUNNING; NO_MEMORY. Takes
 *   a lock. */
static inline stackwarden_status stackwarden_set_policy(stackwarden_stacks which, stackwarden_policy policy,
                                                        int thread_only)
{
    return STACKWARDEN_CALL_(set_policy, (which, policy, thread_only));
}

/* The same until stackwarden_leave_policy(). Of several the newest is effective. */
static inline stackwarden_status stackwarden_enter_policy(stackwarden_stacks which, stackwarden_policy policy,
                                                          int thread_only, stackwarden_request *request)
{
    return STACKWARDEN_CALL_(enter_policy, (which, policy, thread_only, request));
}

/* May be called on any thread. Fails with: NOT_REGISTERED: it has ended already, or its thread has; NOT_RUNNING. */
static inline stackwarden_status stackwarden_leave_policy(const stackwarden_request *request)
{
    return STACKWARDEN_CALL_(leave_policy, (request));
}

/* Make a record for a stack.
 * Requires: [base, base + size) is readable and writable memory (with STACKWARDEN_TRIM_GUARD its low end may be guard
 *   pages); name and system are UTF-8, and copied, or NULL. With STACKWARDEN_ISOLATION_THREAD_STATE: attached.
 * Guarantees: DONE, and *stack is the stack, without the guard pages. A record that overlaps it and is current on no
 *   thread gives way: its handle is stale from now on.
 * Fails with: BAD_RANGE, UNALIGNED, UNMAPPED, TOO_SMALL, OVERLAP, FULL, NO_MEMORY, NO_ISOLATION, BAD_POLICY; *stack is
 *   not written, but for TOO_SMALL: base and size are those without the guard pages. Takes a lock; allocates. */
static inline stackwarden_status stackwarden_register_stack(const void *base, size_t size, const char *name,
                                                            const char *system, unsigned flags,
                                                            stackwarden_stack *stack)
{
    return STACKWARDEN_CALL_(register_stack, ((uintptr_t)base, size, name, system, flags, stack));
}

/* Forget a stack. Call it before its memory is freed.
 * Guarantees: DONE; or LOST: the stack was suspended in the middle of Python, and nobody can unwind its frames any
 *   more: they and what they hold are leaked and counted, and the memory must neither be unmapped nor used again.
 * Fails with: STALE_HANDLE; IN_USE: it is current on some thread. Takes a lock. Attached, the context of an isolated
 *   stack is released (any Python code may run); detached it waits for the next drain() or renew_stack(). */
static inline stackwarden_status stackwarden_unregister_stack(stackwarden_handle handle)
{
    return STACKWARDEN_CALL_(unregister_stack, (handle));
}

/* The current stack of this thread: what start_switch() takes to come back here.
 * Guarantees: the stack that holds the stack pointer, where it is known (registered, native, told before); else the
 *   one that was told last. */
static inline stackwarden_status stackwarden_current_stack(stackwarden_stack *stack)
{
    return STACKWARDEN_CALL_(current_stack, (stack));
}

/* The current stack's handle alone, for a comparison at each switch.
 * Guarantees: the handle; 0 where stackwarden_current_stack() fails. */
static inline stackwarden_handle stackwarden_current_handle(void)
{
    return stackwarden_table_ != NULL ? stackwarden_table_->current_handle() : 0;
}

/* The registered stack that holds an address. Wait-free.
 * Fails with: UNKNOWN_STACK. */
static inline stackwarden_status stackwarden_find_stack(const void *address, stackwarden_stack *stack)
{
    return STACKWARDEN_CALL_(find_stack, ((uintptr_t)address, stack));
}

/* Have a function called after each switch on this thread, or on all threads. Switches that were made detached are
 * reported at the next sync, several as one.
 * Fails with: FULL; unregister with NOT_REGISTERED. Takes a lock. */
static inline stackwarden_status stackwarden_register_switch_callback(stackwarden_switch_callback callback, void *arg,
                                                                      int all_threads)
{
    return STACKWARDEN_CALL_(register_switch_callback, (callback, arg, all_threads));
}

static inline stackwarden_status stackwarden_unregister_switch_callback(stackwarden_switch_callback callback, void *arg)
{
    return STACKWARDEN_CALL_(unregister_switch_callback, (callback, arg));
}

/* ---- switching in the middle of Python: bounds and execution state ----
 *
 *     status = stackwarden_start_switch(&to, 0);    // right before the jump
 *     if (status == STACKWARDEN_DONE) {
 *         jump();
 *         stackwarden_finish_switch();              // resumed. A new stack's first function calls it first of all
 *     }
 *
 * A stack that was registered with STACKWARDEN_ISOLATION_* has execution state of its own (current frame, data stack,
 * handled exception, context, recursion depth); so has every native stack. Any other stack shares that of the stack it
 * is entered from. Between the two calls no Python may run. */

/* Start a switch to the stack `to`, which is resumed, or entered for the first time. NULL: the native stack.
 * `flags`: 0, or STACKWARDEN_SWITCH_ENDS: the current stack is not resumed, what runs on it is over; finish_switch()
 * gives back its data stack and its context.
 * Requires: attached (with the GIL held); right before the jump. finish_switch() runs on ANOTHER STACK than this, so
 *   nothing local is shared between the two; and a new stack's first function begins with finish_switch() alone.
 * Guarantees: DONE: the execution state of the current stack is saved, and finish_switch() must follow on the other.
 *   A handle that is 0 or stale stands for the transient stack with `to`'s bounds, if `to` has any.
 * Fails with, and nothing was changed: DETACHED; ISOLATION_REQUIRED: `to` was suspended in the middle of Python and
 *   would not find the frames that it had then; OTHER_THREAD: `to` keeps its frames in another thread's state;
 *   IN_USE: `to` runs on another thread; STALE_HANDLE: and `to` has no bounds (base and size 0); NOT_RUNNING: also
 *   where Python is being finalised and `to` has another thread state; NO_MEMORY; BAD_RANGE. */
static inline stackwarden_status stackwarden_start_switch(const stackwarden_stack *to, unsigned flags)
{
    return STACKWARDEN_CALL_(start_switch, (to, flags));
}

/* start_switch(), attached or not: each stack is resumed as it was suspended, attached or detached. A new stack begins
 * as the stack that enters it is.
 * MAY BLOCK waiting for the GIL: hold no lock that a thread with the GIL may want, a scheduler's above all. */
static inline stackwarden_status stackwarden_start_switch_blocking(const stackwarden_stack *to, unsigned flags)
{
    return STACKWARDEN_CALL_(start_switch_blocking, (to, flags));
}

/* Finish the switch, on the stack that it went to: load its execution state, apply its bounds, call switch callbacks;
 * detach where it was suspended detached. Harmless where no switch was started.
 * Requires: right after the jump, on the thread that called start_switch(). */
static inline stackwarden_status stackwarden_finish_switch(void)
{
    return STACKWARDEN_CALL_(finish_switch, ());
}

/* Make an isolated stack ready for something new: no frames, no handled exception, recursion depth 0, and `context` (a
 * contextvars.Context, not stolen; NULL: the kind that it was registered with).
 * Requires: attached.
 * Fails with: DETACHED, STALE_HANDLE, NO_ISOLATION (not an isolated stack), IN_USE (it runs, or has suspended frames),
 *   NO_MEMORY. */
static inline stackwarden_status stackwarden_renew_stack(stackwarden_handle handle, PyObject *context)
{
    return STACKWARDEN_CALL_(renew_stack, (handle, context));
}

/* Empty CPython's trashcan: free the objects whose deallocation it has deferred because a stack was nearly used up.
 * Requires: attached. Runs destructors, so any Python code.
 * Fails with: DETACHED. */
static inline stackwarden_status stackwarden_drain(void)
{
    return STACKWARDEN_CALL_(drain, ());
}

/* A budget for the stack under the caller: CPython raises RecursionError before memory below the address `low_end` is
 * used. Of several budgets the narrowest is effective; each belongs to its stack, whichever is current. On 3.11 to
 * 3.13, which count calls, it is an estimate. A C frame larger than a margin (16 KiB, status()["margin"]) can skip it.
 * Requires: attached.
 * Fails with: TOO_SMALL: `low_end` is less than a margin and 16 KiB below the stack pointer, where CPython might abort
 *   the process; BAD_RANGE: a terabyte or more of the stack would be withheld (a native one without a limit);
 *   UNKNOWN_STACK: no record holds the stack pointer; DETACHED; NO_MEMORY. Then nothing was changed. */
static inline stackwarden_status stackwarden_enter_budget(const void *low_end, stackwarden_request *request)
{
    return STACKWARDEN_CALL_(enter_budget, ((uintptr_t)low_end, request));
}

/* May be called on any stack and thread.
 * Requires: attached.
 * Fails with: DETACHED; NOT_REGISTERED: it has ended already. */
static inline stackwarden_status stackwarden_leave_budget(const stackwarden_request *request)
{
    return STACKWARDEN_CALL_(leave_budget, (request));
}

/* Call function(arg) on another stack, of `size` bytes or more.
 * Such stacks are pooled. Memory is used as it is touched, so 4 GiB are fine. The stack shares the caller's execution
 * state: the function may suspend a coroutine that the caller is in.
 * Requires: attached or not, as the function needs it; the function returns in the same state. A Python exception may
 *   be pending before and after.
 * Guarantees: DONE: the function was called, and the bounds are the caller's again. LOST: the same, and the stack is
 *   not used again, because of retain_stack().
 * Fails with, and the function was not called: BAD_RANGE (size is 0 or more than 2**40), TOO_SMALL, NO_MEMORY, FULL,
 *   NOT_RUNNING, NOT_AVAILABLE. Takes a lock; makes system calls. */
static inline stackwarden_status stackwarden_call_on_stack(size_t size, stackwarden_function function, void *arg)
{
    return STACKWARDEN_CALL_(call_on_stack, (size, function, arg));
}

/* The same, but in place while `room` bytes are left under the caller; CPython raises in the last 2 margins of them
 * (status()["margin"]). From an unknown stack the call always goes to another one. 0 for `room` or `size` stands for
 * the settings min-stack and stack-size (STACKWARDEN=..., -X stackwarden=...), else for 0 and 64 MiB.
 * Fails with: what stackwarden_call_on_stack() fails with. In place it is as fast as stackwarden_sync_stack(). */
static inline stackwarden_status stackwarden_maybe_grow(size_t room, size_t size, stackwarden_function function,
                                                        void *arg)
{
    return STACKWARDEN_CALL_(maybe_grow, (room, size, function, arg));
}

/* ---- depth ---- */

/* Bytes of the stack under the caller that are left, down to its lowest usable byte; and bytes that are used.
 * Wait-free, but for a thread's first call; a few loads on the current stack.
 * Guarantees: 0 where that is not known: on an unknown stack, without the package, after Python is finalised. A budget
 *   is not subtracted: this is the memory that can be used. */
static inline size_t stackwarden_stack_remaining(void)
{
    return stackwarden_table_ != NULL ? stackwarden_table_->stack_remaining() : 0;
}

static inline size_t stackwarden_stack_used(void)
{
    return stackwarden_table_ != NULL ? stackwarden_table_->stack_used() : 0;
}

/* PEP 651's Py_CheckStackDepth: may the caller go deeper? For recursion in C that the stack alone limits. RAISES.
 * Requires: attached. `where` is appended to the message: " in my_parser"; NULL: nothing.
 * Guarantees: 0. The check is of the real stack, on every version; one that is not current is found by its address.
 * Fails with: -1 and stackwarden.StackOverflow: only the reserve is left for those who handle that (2 margins; 32 KiB
 *   on release builds), or a budget is used up. Without the package: as Py_EnterRecursiveCall(). */
static inline int stackwarden_check_stack_depth(const char *where)
{
    if (stackwarden_table_ != NULL) {
        return stackwarden_table_->check_stack_depth(where);
    }
    if (Py_EnterRecursiveCall(where != NULL ? where : "") != 0) {
        return -1;
    }
    Py_LeaveRecursiveCall();
    return 0;
}

/* check_stack_depth(), and count one call more against sys.getrecursionlimit(), also on 3.12 and later, where
 * Py_EnterRecursiveCall() does not. For recursion that might be endless by mistake (PEP 651). RAISES.
 * Requires: attached; leave_recursive_call() in the same thread after each 0 that it returned, and after nothing else.
 * Fails with: -1 and nothing counted: StackOverflow; or stackwarden.RecursionOverflow at the limit. */
static inline int stackwarden_enter_recursive_call(const char *where)
{
    return stackwarden_table_ != NULL ? stackwarden_table_->enter_recursive_call(where)
                                      : Py_EnterRecursiveCall(where != NULL ? where : "");
}

static inline void stackwarden_leave_recursive_call(void)
{
    if (stackwarden_table_ != NULL) {
        stackwarden_table_->leave_recursive_call();
    }
    else {
        Py_LeaveRecursiveCall();
    }
}

/* The stack under the caller, which call_on_stack() made, is never used for another call, and stays mapped: something
 * began on it that outlives the call, as greenlets do.
 * Fails with: UNKNOWN_STACK: it is another stack, or not known. */
static inline stackwarden_status stackwarden_retain_stack(void)
{
    return STACKWARDEN_CALL_(retain_stack, ());
}

/* The bounds of a stack for a block of code: a registered one by stack->handle, any other by its base and size.
 * Fails with: what notify_stack_switch() and switch_to() fail with; NO_MEMORY. Takes a lock. After TOO_SMALL the policy
 *   for unknown stacks is effective, and leave_stack() must follow; after any other refusal there is no request. */
static inline stackwarden_status stackwarden_enter_this_stack(const stackwarden_stack *stack,
                                                              stackwarden_request *request)
{
    return STACKWARDEN_CALL_(enter_stack, (stack, request));
}

static inline stackwarden_status stackwarden_enter_stack(const void *base, size_t size, stackwarden_request *request)
{
    stackwarden_stack stack = {0, (uintptr_t)base, size, 0, 0, 0, {0, 0}};
    return stackwarden_enter_this_stack(&stack, request);
}

/* The end of the block, in whatever order; also on another thread, if that is attached.
 * Guarantees: those of stackwarden_leave_sync().
 * Fails with: NOT_REGISTERED: it has ended already, or its thread has; DETACHED; what notify_stack_switch() fails with,
 *   if the next stack has no record any more. */
static inline stackwarden_status stackwarden_leave_stack(const stackwarden_request *request)
{
    return STACKWARDEN_CALL_(leave_stack, (request));
}

/* What a status says, in English. Needs neither Python nor the package. */
static inline const char *stackwarden_status_text(stackwarden_status status)
{
    switch (status) {
    case STACKWARDEN_DONE: return "done";
    case STACKWARDEN_UNKNOWN_STACK: return "not on a known stack";
    case STACKWARDEN_LOST: return "forgotten, but frames live on that stack: its memory must stay as it is";
    case STACKWARDEN_NOT_INSTALLED: return "refused: the Python package stackwarden is not installed or not imported";
    case STACKWARDEN_NOT_RUNNING: return "refused: Python is not running";
    case STACKWARDEN_NO_MEMORY: return "refused: out of memory";
    case STACKWARDEN_FULL: return "refused: the registry is full: 2097151 records, or 16 C callbacks, are in use";
    case STACKWARDEN_BAD_RANGE:
        return "refused: the range is empty, larger than 2**40 bytes, wraps around or lies beyond 2**48";
    case STACKWARDEN_UNALIGNED: return "refused: base and size must be multiples of 16 bytes";
    case STACKWARDEN_UNMAPPED: return "refused: the range is not mapped";
    case STACKWARDEN_TOO_SMALL: return "refused: the stack is smaller than this interpreter can protect";
    case STACKWARDEN_OVERLAP: return "refused: the range overlaps a stack that is current on some thread";
    case STACKWARDEN_IN_USE: return "refused: the stack is current on some thread";
    case STACKWARDEN_STALE_HANDLE: return "refused: the handle names no stack that is registered now";
    case STACKWARDEN_NOT_REGISTERED: return "refused: there is no such callback or request, or not any more";
    case STACKWARDEN_DETACHED: return "refused: the caller must be attached (hold the GIL)";
    case STACKWARDEN_ISOLATION_REQUIRED:
        return "refused: Python frames would be resumed in another order than suspended; the stack needs isolation";
    case STACKWARDEN_OTHER_THREAD: return "refused: a stack with isolation \"frames\" is resumed on its own thread";
    case STACKWARDEN_NO_ISOLATION: return "refused: this isolation cannot be had here, or the stack has none";
    case STACKWARDEN_NOT_AVAILABLE: return "refused: there is no such thing on this platform";
    case STACKWARDEN_BAD_POLICY: return "refused: there is no such policy, or not for these stacks";
    case STACKWARDEN_INTERRUPTED: return "refused: the caller is a signal handler that interrupted another call";
    }
    return "a status of a newer stackwarden";
}

#ifdef __cplusplus
} /* extern "C" */

#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

namespace stackwarden {

namespace detail {

/* The result of a function, which may be void, or a reference. */
template <typename Result> struct result_of_call {
    std::unique_ptr<Result> value;
    template <typename Function> void set(Function &function) { value.reset(new Result(function())); }
    Result get() { return std::move(*value); }
};
template <typename Result> struct result_of_call<Result &> {
    Result *value = nullptr;
    template <typename Function> void set(Function &function) { value = &function(); }
    Result &get() { return *value; }
};
template <> struct result_of_call<void> {
    template <typename Function> void set(Function &function) { function(); }
    void get() {}
};

/* A call on another stack: the function, and its result or its exception. */
template <typename Function, typename Result> struct call_there {
    Function *function;
    result_of_call<Result> result;
    std::exception_ptr error;

    static void run(void *self) noexcept
    {
        call_there *made = static_cast<call_there *>(self);
        try {
            made->result.set(*made->function);
        }
        catch (...) {
            made->error = std::current_exception();
        }
    }
};

} // namespace detail

/* The bounds of a stack for a scope, on every way out of it. */
class stack_scope {
public:
    stack_scope(const void *base, size_t size) noexcept : status_(stackwarden_enter_stack(base, size, &request_)) {}
    explicit stack_scope(stackwarden_handle handle) noexcept
    {
        stackwarden_stack stack = {handle, 0, 0, 0, 0, 0, {0, 0}};
        status_ = stackwarden_enter_this_stack(&stack, &request_);
    }
    ~stack_scope()
    {
        if (status_ == STACKWARDEN_DONE || status_ == STACKWARDEN_TOO_SMALL) {
            stackwarden_leave_stack(&request_);
        }
    }
    stack_scope(const stack_scope &) = delete;
    stack_scope &operator=(const stack_scope &) = delete;
    stackwarden_status status() const noexcept { return status_; }

private:
    stackwarden_request request_;
    stackwarden_status status_;
};

/* The bounds of the stack under the caller for a scope, for code that is called on any stack and runs Python. As a call
 * guard: py::call_guard<stackwarden::sync_scope>() with pybind11, and the same with nanobind. Inside a scope that
 * acquires the GIL, if there is one. */
class sync_scope {
public:
    sync_scope() noexcept : status_(stackwarden_enter_sync(&request_)) {}
    ~sync_scope()
    {
        if (status_ >= STACKWARDEN_DONE) {
            stackwarden_leave_sync(&request_);
        }
    }
    sync_scope(const sync_scope &) = delete;
    sync_scope &operator=(const sync_scope &) = delete;
    stackwarden_status status() const noexcept { return status_; }

private:
    stackwarden_request request_;
    stackwarden_status status_;
};

/* `function()` on another stack of `size` bytes or more: its result, or its exception. Captures by reference are fine:
 * the caller waits. Requires what stackwarden_call_on_stack() does. A refusal is std::runtime_error with the text of
 * the status, and the function was not called. Without the package it is called in place. */
template <typename Function> auto call_on_stack(size_t size, Function &&function) -> decltype(function())
{
    using call = detail::call_there<typename std::remove_reference<Function>::type, decltype(function())>;
    call made{&function, {}, nullptr};
    stackwarden_status status = stackwarden_call_on_stack(size, &call::run, &made);
    if (status == STACKWARDEN_NOT_INSTALLED) {
        call::run(&made);
    }
    else if (status < 0) {
        throw std::runtime_error(std::string("stackwarden: ") + stackwarden_status_text(status));
    }
    if (made.error) {
        std::rethrow_exception(made.error);
    }
    return made.result.get();
}

} // namespace stackwarden
#endif
#endif /* STACKWARDEN_H */

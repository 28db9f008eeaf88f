/* beacon.h: for runtimes that switch stacks and know nothing of Python.  C11 and C++17.
 *
 * The runtime tells on which stacks its threads run. stackwarden, once it is in the process with Python, listens and
 * tells CPython. No Python header, no library to link with; while nobody listens each call is one load and one branch.
 * May be vendored alone (MIT).
 *
 *     STACKWARDEN_BEACON("my-runtime")              // in ONE file of the executable or library: defines its beacon
 *
 *     stackwarden_beacon_switch(base, size);        // right before or after a switch to that stack
 *     stackwarden_beacon_reset();                   // ... and to the thread's native stack
 *
 *     stackwarden_beacon_register(base, size, "worker 1");     // optional: the stack gets a record, by which
 *     stackwarden_beacon_unregister(base);                     // it is found when no switch to it was told
 *
 * A stack is the range of memory [base, base + size), base being its LOWEST USABLE byte: guard pages are left out,
 * base and size are multiples of 16 bytes, and CPython wants 128 KiB or more. A process may hold several runtimes,
 * each with a beacon of its own. Two in one executable or library (static linking) need two names of the variable:
 * define STACKWARDEN_BEACON_SLOT, the same in all files of one runtime, before this header is included.
 *
 * Any thread may call, known to Python or not, with the GIL or without; a signal handler too, where the runtime itself
 * may switch there, once the thread has told a switch before. No call fails: what is refused (a stack that is too
 * small, say) changes nothing, is counted, and `python -m stackwarden doctor` shows it. The first call on a thread
 * allocates, and asks the operating system for that thread's native stack: make it before the switch, where there is
 * room. Later calls of switch and reset allocate nothing, take no lock and make no system call; register and unregister
 * take a lock, and allocate.
 *
 * Python comes and goes: when stackwarden's core is imported it fills the beacons that it finds, and later those of
 * libraries that are loaded. What was told before is not known to it: it knows a thread's stack from the next switch
 * on. A beacon stays filled; after Python's finalization the functions behind it do nothing. They are not removed,
 * because another thread may be calling them. */
#ifndef STACKWARDEN_BEACON_H
#define STACKWARDEN_BEACON_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define STACKWARDEN_BEACON_VERSION 1
#define STACKWARDEN_BEACON_MAGIC "stackwarden"

/* ---- what runtime and core share; tests/abi/beacon.c pins the layout ---- */

typedef struct stackwarden_beacon stackwarden_beacon;

/* The core's functions: constant, and valid as long as the process. Slots are only appended, with a new version. */
typedef struct {
    void (*notify_stack_switch)(stackwarden_beacon *beacon, const void *base, size_t size);
    void (*reset_stack)(stackwarden_beacon *beacon);
    void (*register_stack)(stackwarden_beacon *beacon, const void *base, size_t size, const char *name);
    void (*unregister_stack)(stackwarden_beacon *beacon, const void *base);
} stackwarden_beacon_listener;

struct stackwarden_beacon {
    char magic[12];
    uint32_t version;
    char name[48]; /* the runtime's, UTF-8 */
    const stackwarden_beacon_listener *listener; /* NULL until a core fills it; atomic */
    uint64_t refused; /* by the core: the number of refused calls, and the stackwarden_status of the last one */
    int32_t refusal;
    uint32_t size; /* bytes of this struct */
    uint64_t reserved[5];
};

#ifndef STACKWARDEN_BEACON_SLOT
#define STACKWARDEN_BEACON_SLOT stackwarden_beacon_slot
#endif

#define STACKWARDEN_BEACON_VALUE_(name) \
    {STACKWARDEN_BEACON_MAGIC, STACKWARDEN_BEACON_VERSION, name, NULL, 0, 0, (uint32_t)sizeof(stackwarden_beacon), \
     {0, 0, 0, 0, 0}}

/* ---- how a core finds it ---- */

#if defined(__ELF__)
/* A beacon that is loaded before the core: by a note (PT_NOTE) of the executable or library, which needs no symbol and
 * no relocation. One that is loaded after it: by the function below, which the core defines; NULL without a core. */
extern __attribute__((weak, visibility("default"))) void stackwarden_beacon_announce(stackwarden_beacon *beacon);
extern __attribute__((visibility("hidden"))) stackwarden_beacon STACKWARDEN_BEACON_SLOT;

#define STACKWARDEN_BEACON_TEXT_(name) #name
#define STACKWARDEN_BEACON_NOTE_(slot) \
    __asm__(".pushsection .note.stackwarden, \"a\", %note\n" \
            ".balign 4\n" \
            ".long 12, 4, 1\n" /* bytes of the name and of what follows it, type */ \
            ".asciz \"" STACKWARDEN_BEACON_MAGIC "\"\n" \
            ".long " STACKWARDEN_BEACON_TEXT_(slot) " - .\n.popsection\n");
#define STACKWARDEN_BEACON_DEFINE_(slot, name) \
    __attribute__((used, visibility("hidden"))) stackwarden_beacon slot = STACKWARDEN_BEACON_VALUE_(name); \
    STACKWARDEN_BEACON_NOTE_(slot) \
    static __attribute__((constructor)) void slot##_constructor(void) \
    { \
        if (stackwarden_beacon_announce != NULL) { \
            stackwarden_beacon_announce(&slot); \
        } \
    }
#elif defined(__APPLE__)
/* By a section of its own, in all images, also those that are loaded later. Not run yet. */
extern __attribute__((visibility("hidden"))) stackwarden_beacon STACKWARDEN_BEACON_SLOT;
#define STACKWARDEN_BEACON_DEFINE_(slot, name) \
    __attribute__((used, visibility("hidden"), section("__DATA,__stackwarden"))) stackwarden_beacon slot = \
        STACKWARDEN_BEACON_VALUE_(name);
#elif defined(_MSC_VER)
/* By a section of its own. Not run yet. */
extern stackwarden_beacon STACKWARDEN_BEACON_SLOT;
#define STACKWARDEN_BEACON_DEFINE_(slot, name) \
    __pragma(section(".swbeac", read, write)) __declspec(allocate(".swbeac")) stackwarden_beacon slot = \
        STACKWARDEN_BEACON_VALUE_(name);
#elif defined(_WIN32)
/* The same with GCC or Clang. */
extern stackwarden_beacon STACKWARDEN_BEACON_SLOT;
#define STACKWARDEN_BEACON_DEFINE_(slot, name) \
    __attribute__((used, section(".swbeac"))) stackwarden_beacon slot = STACKWARDEN_BEACON_VALUE_(name);
#else
#error "stackwarden/beacon.h: beacons are for ELF, Mach-O and Windows"
#endif

/* Define this executable's or library's beacon. Once, at file scope, without a semicolon.
 * Requires: a string literal of at most 47 bytes that names the runtime. */
#define STACKWARDEN_BEACON(name) STACKWARDEN_BEACON_EXPANDED_(STACKWARDEN_BEACON_SLOT, name)
#define STACKWARDEN_BEACON_EXPANDED_(slot, name) STACKWARDEN_BEACON_DEFINE_(slot, name)

static inline const stackwarden_beacon_listener *stackwarden_beacon_listener_(void)
{
#if defined(_MSC_VER)
    return *(const stackwarden_beacon_listener *volatile *)&STACKWARDEN_BEACON_SLOT.listener;
#else
    return __atomic_load_n(&STACKWARDEN_BEACON_SLOT.listener, __ATOMIC_ACQUIRE);
#endif
}

/* ---- the runtime's calls ---- */

/* From now on this thread runs on the stack [base, base + size).
 * Requires: the thread is on it already, or switches to it before it runs Python again. */
static inline void stackwarden_beacon_switch(const void *base, size_t size)
{
    const stackwarden_beacon_listener *listener = stackwarden_beacon_listener_();
    if (listener != NULL) {
        listener->notify_stack_switch(&STACKWARDEN_BEACON_SLOT, base, size);
    }
}

/* From now on this thread runs on its native stack. */
static inline void stackwarden_beacon_reset(void)
{
    const stackwarden_beacon_listener *listener = stackwarden_beacon_listener_();
    if (listener != NULL) {
        listener->reset_stack(&STACKWARDEN_BEACON_SLOT);
    }
}

/* A stack was made. `name` is UTF-8, and copied; or NULL.
 * Guarantees: the next sync on it finds its bounds, also if no switch to it was told. */
static inline void stackwarden_beacon_register(const void *base, size_t size, const char *name)
{
    const stackwarden_beacon_listener *listener = stackwarden_beacon_listener_();
    if (listener != NULL) {
        listener->register_stack(&STACKWARDEN_BEACON_SLOT, base, size, name);
    }
}

/* The stack with this base is about to end. Call it before its memory is freed, on another stack. One that was never
 * registered, because nobody listened then, is no error. */
static inline void stackwarden_beacon_unregister(const void *base)
{
    const stackwarden_beacon_listener *listener = stackwarden_beacon_listener_();
    if (listener != NULL) {
        listener->unregister_stack(&STACKWARDEN_BEACON_SLOT, base);
    }
}

#ifdef __cplusplus
} /* extern "C" */
#endif
#endif /* STACKWARDEN_BEACON_H */

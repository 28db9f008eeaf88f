/* posix.c: crash.h on Linux and macOS. */
#ifndef _WIN32
#define _GNU_SOURCE
#if defined(__APPLE__)
#define _XOPEN_SOURCE 600 /* else <ucontext.h> is an #error there */
#define _DARWIN_C_SOURCE /* and with it, the rest of the headers is hidden without this */
#endif
#include "crash.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define HANDLER_STACK ((size_t)64 << 10) /* bytes; faulthandler runs on it too */

enum { SIGNALS = 2 };
static const int signals[SIGNALS] = {SIGSEGV, SIGBUS};
static const char *const signal_names[SIGNALS] = {"SIGSEGV", "SIGBUS"};

static struct sigaction formers[SIGNALS]; /* the handlers that were there before */
static sw_find_overrun *volatile find_overrun; /* NULL: off */
static pthread_t volatile faulted; /* the thread whose fault was passed on last */
static volatile sig_atomic_t has_faulted;

/* ---- text without stdio ---- */

typedef struct {
    char text[512];
    size_t length;
} report;

static void add(report *r, const char *text)
{
    while (*text != '\0' && r->length < sizeof r->text) {
        r->text[r->length++] = *text++;
    }
}

static void add_number(report *r, uintptr_t number, unsigned base, int least_digits)
{
    char digits[24];
    int count = 0;
    do {
        digits[count++] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number != 0 || count < least_digits);
    while (count > 0 && r->length < sizeof r->text) {
        r->text[r->length++] = digits[--count];
    }
}

static void add_address(report *r, uintptr_t address)
{
    add(r, "0x");
    add_number(r, address, 16, 16); /* as faulthandler writes those of threads */
}

static void add_stack(report *r, const sw_overrun *overrun)
{
    if (overrun->name[0] != '\0') {
        add(r, "the stack \"");
        add(r, overrun->name);
        add(r, "\"");
    }
    else {
        add(r, strcmp(overrun->bounds_from, "native") == 0 ? "the thread's native stack" : "a stack");
    }
    if (overrun->system[0] != '\0') {
        add(r, " of ");
        add(r, overrun->system);
    }
}

static void write_report(const char *signal_name, uintptr_t address, const sw_overrun *overrun)
{
    report r = {.length = 0};
    add(&r, "stackwarden: ");
    add(&r, signal_name);
    add(&r, ": ");
    add_stack(&r, overrun);
    add(&r, " is overrun by ");
    add_number(&r, overrun->base - address, 10, 1);
    add(&r, " bytes\n  ");
    add_address(&r, overrun->base);
    add(&r, " to ");
    add_address(&r, overrun->top);
    add(&r, ", ");
    add_number(&r, overrun->top - overrun->base, 10, 1);
    add(&r, " bytes, bounds ");
    add(&r, overrun->bounds_from);
    add(&r, ", thread ");
    add_address(&r, (uintptr_t)pthread_self());
    add(&r, "\n");
    ssize_t written = write(STDERR_FILENO, r.text, r.length);
    (void)written;
}

/* ---- the handler ---- */

static uintptr_t stack_pointer_in(void *context)
{
    const ucontext_t *interrupted = context;
#if defined(__linux__) && defined(__x86_64__)
    return (uintptr_t)interrupted->uc_mcontext.gregs[REG_RSP];
#elif defined(__linux__) && defined(__aarch64__)
    return (uintptr_t)interrupted->uc_mcontext.sp;
#elif defined(__APPLE__) && defined(__x86_64__)
    return (uintptr_t)interrupted->uc_mcontext->__ss.__rsp;
#elif defined(__APPLE__) && defined(__aarch64__)
    return (uintptr_t)interrupted->uc_mcontext->__ss.__sp;
#else
    (void)interrupted;
    return 0;
#endif
}

/* The system's default action: for a fault when its instruction is repeated, else by the same signal. */
static void die(int signal_number, int is_fault)
{
    struct sigaction by_default = {.sa_handler = SIG_DFL};
    sigaction(signal_number, &by_default, NULL);
    if (!is_fault) {
        raise(signal_number);
    }
}

static void pass_on(int signal_number, siginfo_t *info, void *context, const struct sigaction *former)
{
    if (former->sa_flags & SA_SIGINFO) {
        former->sa_sigaction(signal_number, info, context);
    }
    else if (former->sa_handler == SIG_DFL || former->sa_handler == SIG_IGN) {
        die(signal_number, info->si_code > 0);
    }
    else {
        former->sa_handler(signal_number);
    }
}

static void handle(int signal_number, siginfo_t *info, void *context)
{
    int saved_errno = errno;
    int i = signal_number == signals[0] ? 0 : 1;
    int is_fault = info->si_code > 0;
    sw_find_overrun *find = find_overrun;
    sw_overrun overrun;
    if (!is_fault && has_faulted && pthread_equal(faulted, pthread_self())) {
        die(signal_number, 0); /* raised by a handler that the fault was passed on to: faulthandler does so */
        return;
    }
    if (is_fault) {
        uintptr_t address = (uintptr_t)info->si_addr;
        if (find != NULL && find(address, stack_pointer_in(context), &overrun)) {
            write_report(signal_names[i], address, &overrun);
        }
        faulted = pthread_self();
        has_faulted = 1;
    }
    errno = saved_errno;
    pass_on(signal_number, info, context, &formers[i]);
}

/* ---- alternate stacks ---- */

static pthread_key_t stack_key;
static int stack_key_made;

static void give_back_stack(void *memory)
{
    stack_t used, none = {.ss_flags = SS_DISABLE};
    if (sigaltstack(NULL, &used) == 0 && used.ss_sp == memory) {
        sigaltstack(&none, NULL);
    }
    munmap(memory, HANDLER_STACK);
}

int sw_crash_cover_thread(void)
{
    stack_t stack = {.ss_size = HANDLER_STACK};
    if (find_overrun == NULL) {
        return 0;
    }
    if (sigaltstack(NULL, &stack) != 0 || !(stack.ss_flags & SS_DISABLE)) {
        return stack.ss_flags & SS_DISABLE ? -1 : 0;
    }
    void *memory = mmap(NULL, HANDLER_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return -1;
    }
    stack = (stack_t){.ss_sp = memory, .ss_size = HANDLER_STACK};
    if (!stack_key_made || pthread_setspecific(stack_key, memory) != 0 || sigaltstack(&stack, NULL) != 0) {
        munmap(memory, HANDLER_STACK);
        return -1;
    }
    return 0;
}

/* ---- start and stop ---- */

static int is_ours(const struct sigaction *action)
{
    return (action->sa_flags & SA_SIGINFO) && action->sa_sigaction == handle;
}

static int install_handlers(void)
{
    struct sigaction ours = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK}, present;
    sigemptyset(&ours.sa_mask);
    for (int i = 0; i < SIGNALS; i++) {
        if (sigaction(signals[i], NULL, &present) != 0) {
            return -1;
        }
        if (!is_ours(&present)) {
            formers[i] = present;
            if (sigaction(signals[i], &ours, NULL) != 0) {
                return -1;
            }
        }
    }
    return 0;
}

void sw_crash_stop(void)
{
    struct sigaction present;
    find_overrun = NULL;
    for (int i = 0; i < SIGNALS; i++) {
        if (sigaction(signals[i], NULL, &present) == 0 && is_ours(&present)) {
            sigaction(signals[i], &formers[i], NULL);
        }
    }
}

int sw_crash_start(sw_find_overrun *find)
{
    int was_on = find_overrun != NULL;
    if (!stack_key_made) {
        stack_key_made = pthread_key_create(&stack_key, give_back_stack) == 0;
    }
    find_overrun = find;
    if (sw_crash_cover_thread() != 0 || install_handlers() != 0) {
        int reason = errno;
        if (!was_on) {
            sw_crash_stop();
        }
        errno = reason;
        return -1;
    }
    return 0;
}

int sw_crash_is_on(void)
{
    return find_overrun != NULL;
}

#endif

/* run_on_stack.c: run_on_stack.h on Linux and macOS. On Windows nothing is available. */
#define _GNU_SOURCE
#include "run_on_stack.h"

#if SW_CAN_RUN_ON_STACK
#include <sys/mman.h>

#ifndef MAP_STACK
#define MAP_STACK 0
#endif
#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

void *sw_map_stack(size_t size)
{
    char *guard = mmap(NULL, SW_GUARD_SIZE + size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    if (guard == MAP_FAILED) {
        return NULL;
    }
    if (mprotect(guard, SW_GUARD_SIZE, PROT_NONE) != 0) {
        munmap(guard, SW_GUARD_SIZE + size);
        return NULL;
    }
#ifdef MADV_NOHUGEPAGE
    madvise(guard, SW_GUARD_SIZE + size, MADV_NOHUGEPAGE); /* else one touch may take 2 MiB */
#endif
    return guard + SW_GUARD_SIZE;
}

void sw_unmap_stack(void *base, size_t size)
{
    munmap((char *)base - SW_GUARD_SIZE, SW_GUARD_SIZE + size);
}

void sw_discard_stack(void *base, size_t size)
{
    madvise(base, size, MADV_DONTNEED);
}

/* ---- the switch: sw_switch_stack(top, function, argument) ---- */

typedef struct {
    void (*function)(void *);
    void *arg;
    const void *from_base; /* the caller's stack, as AddressSanitizer knows it */
    size_t from_size;
} sw_call;

#if defined(__x86_64__) || defined(__aarch64__)

/* Unwinders find the caller's stack by the frame pointer, which the function that is called saves. */
void sw_switch_stack(void *top, void (*function)(void *), void *arg) __asm__("sw_switch_stack");

__asm__(".text\n"
        "\t.p2align 4\n"
        "\t.globl sw_switch_stack\n"
#if defined(__ELF__)
        "\t.hidden sw_switch_stack\n"
        "\t.type sw_switch_stack, %function\n"
#else
        "\t.private_extern sw_switch_stack\n"
#endif
        "sw_switch_stack:\n"
        "\t.cfi_startproc\n"
#if defined(__x86_64__)
        "\tpushq %rbp\n"
        "\t.cfi_def_cfa_offset 16\n"
        "\t.cfi_offset %rbp, -16\n"
        "\tmovq %rsp, %rbp\n"
        "\t.cfi_def_cfa_register %rbp\n"
        "\tmovq %rdi, %rsp\n"
        "\tmovq %rdx, %rdi\n"
        "\tcallq *%rsi\n"
        "\tmovq %rbp, %rsp\n"
        "\tpopq %rbp\n"
        "\t.cfi_def_cfa %rsp, 8\n"
        "\tretq\n"
#else
        "\tstp x29, x30, [sp, #-16]!\n"
        "\t.cfi_def_cfa_offset 16\n"
        "\t.cfi_offset x29, -16\n"
        "\t.cfi_offset x30, -8\n"
        "\tmov x29, sp\n"
        "\t.cfi_def_cfa x29, 16\n"
        "\tmov sp, x0\n"
        "\tmov x0, x2\n"
        "\tblr x1\n"
        "\tmov sp, x29\n"
        "\t.cfi_def_cfa sp, 16\n"
        "\tldp x29, x30, [sp], #16\n"
        "\t.cfi_def_cfa_offset 0\n"
        "\t.cfi_restore x29\n"
        "\t.cfi_restore x30\n"
        "\tret\n"
#endif
        "\t.cfi_endproc\n"
#if defined(__ELF__)
        "\t.size sw_switch_stack, .-sw_switch_stack\n"
#endif
);

static void switch_stack(void *base, size_t size, void (*function)(void *), sw_call *call)
{
    sw_switch_stack((char *)base + size, function, call);
}

#else
#include <ucontext.h>

static void entry(unsigned function_high, unsigned function_low, unsigned call_high, unsigned call_low)
{
    void (*function)(void *) = (void (*)(void *))(((uintptr_t)function_high << 16 << 16) | function_low);
    function((void *)(((uintptr_t)call_high << 16 << 16) | call_low));
}

static void switch_stack(void *base, size_t size, void (*function)(void *), sw_call *call)
{
    ucontext_t back, there;
    getcontext(&there);
    there.uc_stack.ss_sp = base;
    there.uc_stack.ss_size = size;
    there.uc_link = &back;
    makecontext(&there, (void (*)(void))entry, 4, (unsigned)((uintptr_t)function >> 16 >> 16),
                (unsigned)(uintptr_t)function, (unsigned)((uintptr_t)call >> 16 >> 16), (unsigned)(uintptr_t)call);
    swapcontext(&back, &there);
}
#endif

/* NULL in a process without AddressSanitizer. */
extern void __sanitizer_start_switch_fiber(void **fake_stack, const void *base, size_t size) __attribute__((weak));
extern void __sanitizer_finish_switch_fiber(void *fake_stack, const void **base, size_t *size) __attribute__((weak));

static void run_call(void *argument)
{
    sw_call *call = argument;
    if (__sanitizer_finish_switch_fiber) {
        __sanitizer_finish_switch_fiber(NULL, &call->from_base, &call->from_size);
    }
    call->function(call->arg);
    if (__sanitizer_start_switch_fiber) {
        __sanitizer_start_switch_fiber(NULL, call->from_base, call->from_size);
    }
}

void sw_run_on_stack(void *base, size_t size, void (*function)(void *), void *arg)
{
    sw_call call = {function, arg, NULL, 0};
    void *fake_stack = NULL;
    if (__sanitizer_start_switch_fiber) {
        __sanitizer_start_switch_fiber(&fake_stack, base, size);
    }
    switch_stack(base, size, run_call, &call);
    if (__sanitizer_finish_switch_fiber) {
        __sanitizer_finish_switch_fiber(fake_stack, NULL, NULL);
    }
}

#else
void *sw_map_stack(size_t size)
{
    (void)size;
    return NULL;
}

void sw_unmap_stack(void *base, size_t size)
{
    (void)base;
    (void)size;
}

void sw_discard_stack(void *base, size_t size)
{
    (void)base;
    (void)size;
}

void sw_run_on_stack(void *base, size_t size, void (*function)(void *), void *arg)
{
    (void)base;
    (void)size;
    (void)function;
    (void)arg;
}
#endif

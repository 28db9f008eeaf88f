/* machine.h: the jump from one stack to another, for each processor.
 *
 *     machine_make(top, entry, argument)   what machine_jump() goes to for entry(argument) on a fresh stack
 *     machine_jump(from, to)               go to the stack that was saved as `to`; *from is where this one goes on
 *
 * Promises: whoever calls machine_jump() finds its registers and its stack as they were when somebody jumps to *from,
 * on whatever thread. A walk of the stack ends at entry, which never returns. `top` is a multiple of 16.
 *
 * A saved stack, from its saved stack pointer up: where to go on, then what the compiler does not let us declare lost
 * (the frame pointer, and on x86-64 rbx, which may address the module's data). */
#ifndef STACKWARDEN_ASM_MACHINE_H
#define STACKWARDEN_ASM_MACHINE_H

void stackwarden_asm_starts(void); /* takes argument and entry off the stack, and calls */

#define MACHINE_STARTS(code)                                                                                           \
    __asm__(".text\n.p2align 4\n.hidden stackwarden_asm_starts\n.globl stackwarden_asm_starts\n"                       \
            ".type stackwarden_asm_starts, %function\nstackwarden_asm_starts:\n.cfi_startproc\n" code                  \
            ".cfi_endproc\n.size stackwarden_asm_starts, . - stackwarden_asm_starts\n")

#if defined(__x86_64__)

MACHINE_STARTS(".cfi_undefined rip\n"
               "    endbr64\n"
               "    pop %rdi\n"
               "    xor %ebp, %ebp\n"
               "    call *(%rsp)\n"
               "    ud2\n");

static inline void *machine_make(char *top, void (*entry)(void *), void *argument)
{
    void **saved = (void **)top - 4;
    saved[0] = (void *)stackwarden_asm_starts;
    saved[1] = argument;
    saved[2] = (void *)entry; /* the stack pointer at the call: a multiple of 16 */
    return saved;
}

/* 128 bytes below the stack pointer belong to the function that this is a part of (the red zone). */
static inline __attribute__((always_inline)) void machine_jump(void **from, void *to)
{
    __asm__ volatile("lea -128(%%rsp), %%rsp\n"
                     "push %%rbp\n"
                     "push %%rbx\n"
                     "lea 1f(%%rip), %%rax\n"
                     "push %%rax\n"
                     "mov %%rsp, (%0)\n"
                     "mov %1, %%rsp\n"
                     "pop %%rax\n"
                     "jmp *%%rax\n"
                     "1: endbr64\n"
                     "pop %%rbx\n"
                     "pop %%rbp\n"
                     "lea 128(%%rsp), %%rsp\n"
                     : "+D"(from), "+S"(to)
                     :
                     : "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cc", "memory", "xmm0",
                       "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
                       "xmm13", "xmm14", "xmm15");
}

#elif defined(__aarch64__)

MACHINE_STARTS(".cfi_undefined x30\n"
               "    hint 36\n" /* bti j */
               "    ldp x0, x9, [sp]\n"
               "    mov x29, xzr\n"
               "    mov x30, xzr\n"
               "    blr x9\n"
               "    brk 0\n");

static inline void *machine_make(char *top, void (*entry)(void *), void *argument)
{
    void **saved = (void **)top - 4;
    saved[0] = (void *)0; /* frame pointer */
    saved[1] = (void *)stackwarden_asm_starts;
    saved[2] = argument;
    saved[3] = (void *)entry;
    return saved;
}

static inline __attribute__((always_inline)) void machine_jump(void **from, void *to)
{
    register void **from_ __asm__("x0") = from;
    register void *to_ __asm__("x1") = to;
    __asm__ volatile("adr x9, 1f\n"
                     "stp x29, x9, [sp, -16]!\n"
                     "mov x10, sp\n"
                     "str x10, [%0]\n"
                     "mov sp, %1\n"
                     "ldp x29, x9, [sp], 16\n"
                     "br x9\n"
                     "1: hint 36\n" /* bti j */
                     : "+r"(from_), "+r"(to_)
                     :
                     : "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16",
                       "x17", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x30", "cc", "memory",
                       "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14",
                       "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28",
                       "v29", "v30", "v31");
}

#else
#error "the jump is written for x86-64 and AArch64"
#endif

#endif

/* machine.h: the jump from one stack to another, for x86-64 and AArch64 under System V's conventions.
 *
 *     machine_make(top, entry, argument)   makes a new stack; its value resumes it: entry(argument)
 *     machine_jump(from, to)               suspends this stack, *from resumes it; resumes the stack that `to` resumes
 *
 * Promises: when somebody jumps back, on whatever thread, the function that called machine_jump() finds its registers
 * and its stack as they were. A walk of the stack ends at `entry`, which never returns. `top` is a multiple of 16. The
 * signal mask and the processor's modes (rounding, exceptions of arithmetic) are the thread's.
 *
 * What resumes a stack is its saved stack pointer; the rest lies on the stack. x86-64 is described in full, and AArch64
 * follows it: only what differs is said there.
 *
 * A suspended stack, x86-64:
 *
 *        higher addresses
 *      |  ...                    |
 *      |  frame of the function  |   that calls machine_jump(), which is compiled in place and has no frame of its own
 *      +-------------------------+   stack pointer before the jump
 *      |  red zone, 128 bytes    |   below the stack pointer a function may have values too: these bytes are skipped
 *      +-------------------------+
 *      |  rbp                    |
 *      |  rbx                    |
 *      |  address of label 1     |   <-- *from, the saved stack pointer: the address is popped, and jumped to
 *      +-------------------------+
 *        lower addresses, free
 *
 * A new stack:
 *
 *        higher addresses
 *      +-------------------------+   top
 *      |  (not used)             |
 *      |  entry                  |   <-- stack pointer when entry is called: a multiple of 16, as the ABI requires
 *      |  argument               |   popped into rdi; then the place of the return address
 *      |  stackwarden_asm_starts |   <-- the value of machine_make(), a saved stack pointer
 *      +-------------------------+
 *        lower addresses, free
 *
 * Registers: the other stack uses all of them, so after a jump none has its value. Three the code saves itself:
 *
 *      rsp                  exchanged: that is the jump
 *      rbp, rbx             pushed and popped, because compilers may refuse to lose them: rbp as the frame pointer, rbx
 *      as
 *                           the address of the module's data
 *
 * Of the others the compiler is told that they are lost (clobbered). It saves those alone that have a value then,
 * mostly
 * few: that makes this jump cheaper than a function, which must store all that a call preserves.
 *
 *      rdi, rsi             hold `from` and `to`: outputs, which nobody reads
 *      rax                  holds the address of label 1
 *      rcx, rdx, r8 to r11, xmm0 to xmm15, flags
 *                           lost as in a call; but to the compiler this is no call, so each must be named
 *      r12 to r15           lost, although a call preserves them
 *      xmm16 to xmm31, k0 to k7
 *                           lost as in a call; where AVX-512 is compiled for, compilers know them
 *      memory               the other stack may change any variable */
#ifndef STACKWARDEN_ASM_MACHINE_H
#define STACKWARDEN_ASM_MACHINE_H

/* The first code on a new stack: calls entry(argument). The frame pointer is 0, and the debuggers' tables say that
 * there is no caller: walks of the stack end here. */
void stackwarden_asm_starts(void);

#define MACHINE_STARTS(code) \
    __asm__(".text\n.p2align 4\n.hidden stackwarden_asm_starts\n.globl stackwarden_asm_starts\n" \
            ".type stackwarden_asm_starts, %function\nstackwarden_asm_starts:\n.cfi_startproc\n" code \
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
    saved[2] = (void *)entry;
    return saved;
}

#if defined(__APX_F__)
#error "the jump does not save the registers r16 to r31 of APX"
#endif
#if defined(__AVX512F__)
#define MACHINE_AVX512 \
    , "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", \
        "xmm28", "xmm29", "xmm30", "xmm31", "k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7"
#else
#define MACHINE_AVX512
#endif

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
                     : "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cc", "memory",
                       "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
                       "xmm12", "xmm13", "xmm14", "xmm15" MACHINE_AVX512);
}

#elif defined(__aarch64__)

/* AArch64. There is no red zone, and the stack pointer is a multiple of 16 at all times.
 *
 *        A suspended stack, higher addresses first          A new stack
 *      |  frame of the function  |                        +-------------------------+   top
 *      +-------------------------+                        |  entry                  |
 *      |  address of label 1     |                        |  argument               |   <-- sp when entry is called
 *      |  x29, frame pointer     |   <-- *from            |  stackwarden_asm_starts |
 *      +-------------------------+                        |  0, frame pointer       |   <-- the value of machine_make()
 *                                                         +-------------------------+
 *
 * Registers: sp is exchanged, x29 stored and loaded; x0 and x1 hold `from` and `to`; the others are clobbered, x30, the
 * return address of the function, among them.
 *
 * x18 is a temporary register on Linux, and compilers have values in it: without it in the list the first exception in
 * a coroutine ended in a SIGSEGV. On Apple's systems and on Android it belongs to the platform, and no compiler uses
 * it. */
#if defined(__APPLE__) || defined(__ANDROID__)
#define MACHINE_X18
#else
#define MACHINE_X18 "x18",
#endif

/* The predicates of SVE, where it is compiled for. The vectors of SVE are v0 to v31, made longer. */
#if defined(__ARM_FEATURE_SVE)
#define MACHINE_SVE \
    , "p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9", "p10", "p11", "p12", "p13", "p14", "p15"
#else
#define MACHINE_SVE
#endif

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
                       "x17", MACHINE_X18 "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x30",
                       "cc", "memory", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12",
                       "v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26",
                       "v27", "v28", "v29", "v30", "v31" MACHINE_SVE);
}

#else
#error "the jump is written for x86-64 and AArch64"
#endif

#endif

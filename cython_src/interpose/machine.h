/* machine.h: what depends on the processor. x86-64 is tested; aarch64 follows its procedure call standard (AAPCS64) and
 * has not been run.
 *
 *   SW_RELOCATION_CALL, _DATA, _WORD   the relocations of words that hold a function's address: a slot of the procedure
 *                                      linkage table, of the global offset table, an initialised pointer
 *   sw_context_sp(context)             the stack pointer with which a ucontext goes on
 *   sw_return_of_context(context)      where the address lies to which the function of a new ucontext returns
 *   sw_has_shadow_stack()              does the processor compare return addresses with a copy of its own?
 *   SW_DEFINE_CONTEXT_ENDS             sw_context_ends: the function of a ucontext returned here; calls
 *                                      sw_context_has_ended(uc_link), then jumps to *sw_libc_ends_context. Unwinders
 *                                      look a return address up one byte lower, and stop here
 *   SW_DEFINE_STAND_IN(name, line)     a function of any type with at most six arguments in registers, and any number on
 *                                      the stack: calls sw_before(&line, arguments, sp), then jumps to the function that
 *                                      it returned, with all arguments. `sp`: the caller's stack pointer after the call
 *   SW_DEFINE_STAND_INS_GO_ON          what all of these share, once
 *   SW_DEFINE_DECIDED(name, decide)    a function of two arguments: decide() gives its value, or a function for a tail
 *                                      call, which has our caller as its own: dlopen and dlsym look at theirs */
#ifndef SW_MACHINE_H
#define SW_MACHINE_H

#include <elf.h>
#include <stdint.h>
#include <ucontext.h>

#define SW_DEFINE_AFTER(before, name, type, code) \
    __asm__(".text\n" before ".hidden " name "\n.globl " name "\n.type " name ", " type "\n" name ":\n" code \
            ".size " name ", .-" name "\n")
#define SW_DEFINE(name, type, code) SW_DEFINE_AFTER("", name, type, code)

#if defined(__x86_64__)
#define SW_RELOCATION_CALL R_X86_64_JUMP_SLOT
#define SW_RELOCATION_DATA R_X86_64_GLOB_DAT
#define SW_RELOCATION_WORD R_X86_64_64
static inline uintptr_t sw_context_sp(const ucontext_t *context)
{
    return (uintptr_t)context->uc_mcontext.gregs[REG_RSP];
}

static inline uintptr_t *sw_return_of_context(const ucontext_t *context)
{
    return (uintptr_t *)sw_context_sp(context);
}

static inline int sw_has_shadow_stack(void)
{
    uintptr_t pointer = 0;
    __asm__("rdsspq %0" : "+r"(pointer)); /* does nothing where there is none */
    return pointer != 0;
}

/* glibc's makecontext() keeps the address of uc_link in rbx for its __start_context(). */
#define SW_DEFINE_CONTEXT_ENDS \
    SW_DEFINE_AFTER(".cfi_startproc\n .cfi_undefined rip\n nop\n", "sw_context_ends", "@function", \
                    "endbr64\n movq (%rbx), %rdi\n call sw_context_has_ended\n" \
                    "movq sw_libc_ends_context(%rip), %r11\n jmp *%r11\n .cfi_endproc\n")

#define SW_DEFINE_STAND_IN(name, line) \
    SW_DEFINE(name, "@function", \
              ".cfi_startproc\n endbr64\n leaq " line "(%rip), %r11\n jmp sw_stand_ins_go_on\n .cfi_endproc\n")

/* From high to low: the return address, rax (how many vector registers a variadic function is given), six arguments. */
#define SW_DEFINE_STAND_INS_GO_ON \
    SW_DEFINE("sw_stand_ins_go_on", "@function", \
              ".cfi_startproc\n pushq %rax\n pushq %r9\n pushq %r8\n pushq %rcx\n pushq %rdx\n pushq %rsi\n" \
              "pushq %rdi\n .cfi_def_cfa_offset 64\n movq %r11, %rdi\n movq %rsp, %rsi\n leaq 64(%rsp), %rdx\n" \
              "call sw_before\n movq %rax, %r11\n popq %rdi\n popq %rsi\n popq %rdx\n popq %rcx\n popq %r8\n" \
              "popq %r9\n popq %rax\n .cfi_def_cfa_offset 8\n jmp *%r11\n .cfi_endproc\n")

#define SW_DEFINE_DECIDED(name, decide) \
    SW_DEFINE(name, "@function", \
              ".cfi_startproc\n endbr64\n pushq %rdi\n pushq %rsi\n subq $8, %rsp\n .cfi_def_cfa_offset 32\n" \
              "call " decide "\n addq $8, %rsp\n popq %rsi\n popq %rdi\n .cfi_def_cfa_offset 8\n" \
              "testq %rdx, %rdx\n jne 1f\n ret\n1: jmp *%rdx\n .cfi_endproc\n")

#elif defined(__aarch64__)
#define SW_RELOCATION_CALL R_AARCH64_JUMP_SLOT
#define SW_RELOCATION_DATA R_AARCH64_GLOB_DAT
#define SW_RELOCATION_WORD R_AARCH64_ABS64
static inline uintptr_t sw_context_sp(const ucontext_t *context)
{
    return (uintptr_t)context->uc_mcontext.sp;
}

static inline uintptr_t *sw_return_of_context(const ucontext_t *context)
{
    return (uintptr_t *)&context->uc_mcontext.regs[30];
}

static inline int sw_has_shadow_stack(void)
{
    return 0;
}

/* glibc's makecontext() keeps uc_link in x19 for its __start_context(). */
#define SW_DEFINE_CONTEXT_ENDS \
    SW_DEFINE_AFTER(".cfi_startproc\n .cfi_undefined 30\n nop\n", "sw_context_ends", "%function", \
                    "hint #36\n mov x0, x19\n bl sw_context_has_ended\n adrp x17, sw_libc_ends_context\n" \
                    "ldr x17, [x17, :lo12:sw_libc_ends_context]\n br x17\n .cfi_endproc\n")

#define SW_DEFINE_STAND_IN(name, line) \
    SW_DEFINE(name, "%function", \
              "hint #34\n adrp x16, " line "\n add x16, x16, :lo12:" line "\n b sw_stand_ins_go_on\n")

/* x8 is where a large result is to be written. */
#define SW_DEFINE_STAND_INS_GO_ON \
    SW_DEFINE("sw_stand_ins_go_on", "%function", \
              ".cfi_startproc\n stp x0, x1, [sp, #-80]!\n .cfi_def_cfa_offset 80\n stp x2, x3, [sp, #16]\n" \
              "stp x4, x5, [sp, #32]\n stp x6, x7, [sp, #48]\n stp x8, x30, [sp, #64]\n .cfi_offset 30, -8\n" \
              "mov x0, x16\n mov x1, sp\n add x2, sp, #80\n bl sw_before\n mov x16, x0\n" \
              "ldp x8, x30, [sp, #64]\n ldp x6, x7, [sp, #48]\n ldp x4, x5, [sp, #32]\n ldp x2, x3, [sp, #16]\n" \
              "ldp x0, x1, [sp], #80\n .cfi_restore 30\n .cfi_def_cfa_offset 0\n br x16\n .cfi_endproc\n")

#define SW_DEFINE_DECIDED(name, decide) \
    SW_DEFINE(name, "%function", \
              "hint #34\n stp x0, x1, [sp, #-32]!\n str x30, [sp, #16]\n bl " decide "\n mov x16, x0\n mov x17, x1\n" \
              "ldr x30, [sp, #16]\n ldp x0, x1, [sp], #32\n cbnz x17, 1f\n mov x0, x16\n ret\n1: br x17\n")
#endif

#endif

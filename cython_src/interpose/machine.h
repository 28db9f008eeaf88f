/* machine.h: what depends on the processor. x86-64 is tested; aarch64 follows its procedure call standard (AAPCS64) and
 * has not been run.
 *
 *   SW_RELOCATION_CALL, _DATA, _WORD   the relocations of words that hold a function's address: a slot of the procedure
 *                                      linkage table, of the global offset table, an initialised pointer
 *   sw_context_sp(context)             the stack pointer with which a ucontext goes on
 *   SW_CALLEE_SAVED_REGISTER(context)  a register that setcontext restores, that makecontext does not use and in which
 *                                      no argument travels
 *   SW_DEFINE_MAKECONTEXT              sw_makecontext: jumps to *sw_real_makecontext with all arguments, however many,
 *                                      and sw_make_context()'s value in place of the function
 *   SW_DEFINE_CONTEXT_STARTS           sw_context_starts: sw_finish_first_switch(), then a jump to the function in the
 *                                      callee-saved register
 *   SW_DEFINE_DECIDED(name, decide)    a function of two arguments: decide() gives its value, or a function for a tail
 *                                      call, which has our caller as its own: dlopen and dlsym look at theirs */
#ifndef SW_MACHINE_H
#define SW_MACHINE_H

#include <elf.h>
#include <stdint.h>
#include <ucontext.h>

#define SW_DEFINE(name, type, code) \
    __asm__(".text\n.hidden " name "\n.globl " name "\n.type " name ", " type "\n" name ":\n" code ".size " name \
            ", .-" name "\n")

#if defined(__x86_64__)
#define SW_RELOCATION_CALL R_X86_64_JUMP_SLOT
#define SW_RELOCATION_DATA R_X86_64_GLOB_DAT
#define SW_RELOCATION_WORD R_X86_64_64
#define SW_CALLEE_SAVED_REGISTER(context) (context)->uc_mcontext.gregs[REG_R12]

static inline uintptr_t sw_context_sp(const ucontext_t *context)
{
    return (uintptr_t)context->uc_mcontext.gregs[REG_RSP];
}

/* Six registers for arguments; with the return address the stack is aligned again after one word more. */
#define SW_SAVE "pushq %rdi\n pushq %rsi\n pushq %rdx\n pushq %rcx\n pushq %r8\n pushq %r9\n subq $8, %rsp\n"
#define SW_LOAD "addq $8, %rsp\n popq %r9\n popq %r8\n popq %rcx\n popq %rdx\n popq %rsi\n popq %rdi\n"

#define SW_DEFINE_CONTEXT_STARTS \
    SW_DEFINE("sw_context_starts", "@function", \
              ".cfi_startproc\n .cfi_undefined rip\n endbr64\n" SW_SAVE "call sw_finish_first_switch\n" SW_LOAD \
              "jmp *%r12\n .cfi_endproc\n")

#define SW_DEFINE_MAKECONTEXT \
    SW_DEFINE("sw_makecontext", "@function", \
              ".cfi_startproc\n endbr64\n" SW_SAVE ".cfi_def_cfa_offset 64\n call sw_make_context\n" SW_LOAD \
              ".cfi_def_cfa_offset 8\n movq %rax, %rsi\n xorl %eax, %eax\n" \
              "movq sw_real_makecontext(%rip), %r11\n jmp *%r11\n .cfi_endproc\n")

#define SW_DEFINE_DECIDED(name, decide) \
    SW_DEFINE(name, "@function", \
              ".cfi_startproc\n endbr64\n pushq %rdi\n pushq %rsi\n subq $8, %rsp\n .cfi_def_cfa_offset 32\n" \
              "call " decide "\n addq $8, %rsp\n popq %rsi\n popq %rdi\n .cfi_def_cfa_offset 8\n" \
              "testq %rdx, %rdx\n jne 1f\n ret\n1: jmp *%rdx\n .cfi_endproc\n")

#elif defined(__aarch64__)
#define SW_RELOCATION_CALL R_AARCH64_JUMP_SLOT
#define SW_RELOCATION_DATA R_AARCH64_GLOB_DAT
#define SW_RELOCATION_WORD R_AARCH64_ABS64
#define SW_CALLEE_SAVED_REGISTER(context) (context)->uc_mcontext.regs[20]

static inline uintptr_t sw_context_sp(const ucontext_t *context)
{
    return (uintptr_t)context->uc_mcontext.sp;
}

#define SW_SAVE \
    "stp x0, x1, [sp, #-80]!\n stp x2, x3, [sp, #16]\n stp x4, x5, [sp, #32]\n stp x6, x7, [sp, #48]\n" \
    "str x30, [sp, #64]\n"
#define SW_LOAD \
    "ldr x30, [sp, #64]\n ldp x6, x7, [sp, #48]\n ldp x4, x5, [sp, #32]\n ldp x2, x3, [sp, #16]\n" \
    "ldp x0, x1, [sp], #80\n"

#define SW_DEFINE_CONTEXT_STARTS \
    SW_DEFINE("sw_context_starts", "%function", "hint #34\n" SW_SAVE "bl sw_finish_first_switch\n" SW_LOAD "br x20\n")

#define SW_DEFINE_MAKECONTEXT \
    SW_DEFINE("sw_makecontext", "%function", \
              "hint #34\n" SW_SAVE "bl sw_make_context\n mov x16, x0\n" SW_LOAD "mov x1, x16\n" \
              "adrp x17, sw_real_makecontext\n ldr x17, [x17, :lo12:sw_real_makecontext]\n br x17\n")

#define SW_DEFINE_DECIDED(name, decide) \
    SW_DEFINE(name, "%function", \
              "hint #34\n stp x0, x1, [sp, #-32]!\n str x30, [sp, #16]\n bl " decide "\n mov x16, x0\n mov x17, x1\n" \
              "ldr x30, [sp, #16]\n ldp x0, x1, [sp], #32\n cbnz x17, 1f\n mov x0, x16\n ret\n1: br x17\n")
#endif

#endif

"""stackwarden.adapters.asm: coroutines that switch with a jump of our own, the fastest there are."""

try:
    from stackwarden.adapters.asm._coroutine import (
        DEFAULT_STACK_SIZE,
        POOLED_STACKS,
        Coroutine,
        suspend,
    )
except ModuleNotFoundError as missing:
    raise ImportError(
        "stackwarden.adapters.asm is not in this build of the package: its jump is written for x86-64 and AArch64 "
        "under System V's conventions"
    ) from missing

__all__ = ["DEFAULT_STACK_SIZE", "POOLED_STACKS", "Coroutine", "suspend"]

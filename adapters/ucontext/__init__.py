"""stackwarden.adapters.ucontext: coroutines made with makecontext and swapcontext."""

from stackwarden.adapters.ucontext._coroutine import (
    DEFAULT_STACK_SIZE,
    POOLED_STACKS,
    Coroutine,
    suspend,
)

__all__ = ["DEFAULT_STACK_SIZE", "POOLED_STACKS", "Coroutine", "suspend"]

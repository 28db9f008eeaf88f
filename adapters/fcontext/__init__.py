"""stackwarden.adapters.fcontext: coroutines that switch with Boost.Context."""

try:
    from stackwarden.adapters.fcontext._coroutine import (
        DEFAULT_STACK_SIZE,
        POOLED_STACKS,
        Coroutine,
        suspend,
    )
except ModuleNotFoundError as missing:
    raise ImportError(
        "stackwarden.adapters.fcontext is not in this build of the package: Boost.Context was not found when it "
        "was built (set BOOST_ROOT and build again)"
    ) from missing

__all__ = ["DEFAULT_STACK_SIZE", "POOLED_STACKS", "Coroutine", "suspend"]

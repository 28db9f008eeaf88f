"""What the numbers of stackwarden.h are called in Python: policies, isolations, origins of bounds.

And how refusals of ranges and budgets are worded: errors.py has the classes.

Promises: each of these lists stands here alone; a test compares them with the header. Needs no core.
"""

from operator import index

from _stackwarden_start.variables import variable
from stackwarden.errors import (
    REFUSALS,
    MechanismError,
    PolicyError,
    StackRangeError,
    StackTooSmallError,
    StackwardenError,
    UnknownStackError,
    refusal,
)

TYPE_CHECKING = False  # typing costs import time
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn, SupportsIndex

    from stackwarden._types import Policy

POLICIES: "tuple[Policy, ...]" = ("exact", "estimate", "counted", "disabled")
"""The first one has the number 1: 0 is that of the thread or the process."""

ISOLATIONS = ("none", "frames", "thread-state")
BOUNDS_FROM = ("native", "told", "map", "estimate")

MOST_SIZE = 2**40
"""Bytes; of whatever is told or asked for."""

# Flags of stackwarden_register_stack().
TRIM_GUARD = 1
ISOLATION_FLAGS = (0, 2, 4)  # in the order of the isolations
EMPTY_CONTEXT = 8


def refusal_of_range(status: int, text: str, base: int, size: int) -> StackwardenError:
    """For what was given as a range, and may be none."""
    if REFUSALS.get(status) is StackRangeError and not 0 < size <= MOST_SIZE:
        return _refusal_of_size(size, f"stack at {base:#x}: size")
    if 0 <= base < 2**64 and 0 <= size < 2**64:
        return refusal(status, text, f"stack {range_text(base, size)}")
    return refusal(status, text, f"stack base {base}, {size} bytes")


def refusal_of_budget(
    status: int, text: str, size: int, least: int, stack: object
) -> StackwardenError:
    """For a budget of a stack, or (None) of a block; `least` bytes must be left below what is in use."""
    what = f"a budget of {size} bytes" if stack is None else f"{stack!r}: a budget of {size} bytes"
    refused = refusal(status, text, what)
    if not isinstance(refused, StackTooSmallError):
        return refused
    more = "" if stack is None else "more than what is in use "
    return StackTooSmallError(f"{what}: at least {least} {more}are needed")


def refusal_of_paint(stack: object, bounds_from: str) -> StackwardenError:
    """For a stack whose end nobody has told."""
    return UnknownStackError(
        f"{stack!r} cannot be painted: its bounds are from the {bounds_from}, and below the stack pointer"
        " may be memory of others"
    )


def check_size(size: "SupportsIndex", what: str) -> int:
    """Raises StackRangeError outside of 1 to MOST_SIZE, TypeError for what is no integer."""
    size = index(size)
    if not 0 < size <= MOST_SIZE:
        raise _refusal_of_size(size, what)
    return size


def _refusal_of_size(size: int, what: str) -> StackRangeError:
    return StackRangeError(f"{what} of {size} bytes: must be between 1 and 2**40 (1T)")


def budget_of(size: "SupportsIndex | str") -> int:
    """In bytes. Raises StackRangeError, TypeError."""
    from stackwarden.sizes import size_of  # costs import time

    return size_of(size, "a budget")


def describe(name: str | None, base: int, size: int, bounds_from: str) -> str:
    """The repr of a Stack; `bounds_from` is "gone" when there is no record any more."""
    title = f"Stack {name!r}" if name else "Stack"
    return f"<{title} {range_text(base, size)}, {bounds_from}>"


class KnownKeys(dict[str, object]):
    """What ``status()`` returns: a dict that names its keys where it is asked for another one."""

    def __missing__(self, key: object) -> "NoReturn":
        raise KeyError(f"status() has no {key!r} (there are {', '.join(self)})")


def range_text(base: int, size: int) -> str:
    """As it stands in messages."""
    return f"[{base:#x}, {base + size:#x}), {size} bytes"


def policy_number(policy: "Policy", what: str = "policy") -> int:
    """Raises PolicyError for what is none."""
    if policy not in POLICIES:
        raise PolicyError(f"{what} {policy!r}: must be one of {', '.join(POLICIES)}")
    return POLICIES.index(policy) + 1


def chosen(name: str, words: "Sequence[str]", default: int) -> int:
    """The place among the words of the one that an environment variable holds. Raises MechanismError."""
    word = variable(name)
    if not word:
        return default
    if word not in words:
        raise MechanismError(f"{name}={word}: must be one of {', '.join(words)}")
    return words.index(word)

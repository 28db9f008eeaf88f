"""What can be called for its work: a function that runs when it is called, and nothing that only makes something
that runs later.

Promises: one text for all that is refused, wherever it is given; needs no core. It is told by flags of the code,
seen through ``functools.partial``, methods, and ``__call__`` of a class.
"""

TYPE_CHECKING = False  # typing costs import time
if TYPE_CHECKING:
    from typing import Any

_KINDS = (  # CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR, as in inspect, which costs import time
    (0x200, "an async generator function"),
    (0x80, "an async function"),
    (0x20, "a generator function"),
)


def refuse_unless_run(user: str, function: object) -> None:
    """Raise TypeError unless calling the function runs it; `user` is who is given it, such as "growing"."""
    if isinstance(function, (classmethod, staticmethod)):
        kind = type(function).__name__
        raise _refused(user, function, f"it is a {kind}. Write @{kind} above, not below")
    if not callable(function):
        raise TypeError(f"{user}(): {type(function).__name__} is not callable: {function!r}")
    flags = _flags_of(function)
    for flag, kind in _KINDS:
        if flags & flag:
            raise _refused(user, function, f"it is {kind}, and calling it does not run it")


def refuse_undecorated(user: str, function: object) -> None:
    """The same for a decorator, which a class is no use to either: it would be a class no more."""
    if isinstance(function, type):
        raise _refused(user, function, "it is a class. Decorate its methods")
    refuse_unless_run(user, function)


def _refused(user: str, function: object, why: str) -> TypeError:
    return TypeError(f"{user}() cannot be used on {function!r}: {why}")


def _flags_of(function: "Any") -> int:
    """The flags of the code that a call would run; 0 where there is none."""
    from functools import partial

    while True:
        if isinstance(function, partial):
            function = function.func
        elif hasattr(function, "__func__"):
            function = function.__func__
        else:
            break
    if not hasattr(function, "__code__") and not isinstance(function, type):
        function = type(function).__call__
    return int(getattr(getattr(function, "__code__", None), "co_flags", 0))

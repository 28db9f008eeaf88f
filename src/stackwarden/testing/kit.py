"""check_adapter: an adapter whose stacks run on the operating-system thread that switches to them.

Promises: what stackwarden.testing.checks promises, in the caller's thread and in threads that are made here. Where
an adapter is wrong a check may end the process, and one that hangs does: run the kit in a child if that matters.
"""

import threading
from collections.abc import Iterable, Iterator
from functools import partial

from stackwarden.testing.checks import (
    DEFAULT_STACK_SIZES,
    NOT_SEEN,
    PLACEMENTS,
    Check,
    Interleave,
    Run,
    carry_out,
    check_bounds,
    check_interleaving,
    check_placed,
    on_every_stack,
)
from stackwarden.testing.child import in_thread
from stackwarden.testing.time_limit import SECONDS

_MOST_THREADS = 5


def check_adapter(
    run: Run,
    *,
    interleave: Interleave | None = None,
    stack_sizes: Iterable[int] = DEFAULT_STACK_SIZES,
    placements: Iterable[str] = PLACEMENTS,
    isolation: str = "none",
    seconds: float | None = SECONDS,
) -> list[str]:
    """Check that an adapter keeps CPython's protection right on its stacks; return what was checked.

    ``run(function, stack_size)`` calls a function on a foreign stack of about so many bytes and returns its
    result or raises what it raises. It is called in threads that are made here, too: where that cannot be,
    ``check_user_threads`` is the one to call. ``interleave(functions, stack_size)``, for systems that suspend in
    the middle of Python, is checked where ``isolation`` ("frames" or "thread-state") says that it is right.
    ``placements`` says on which sides of the thread's own stack the work must have been seen; one that did not
    come up is named in the result and not checked.

    Raises AssertionError with the check, the stack size and what was seen. A check that is not over after
    ``seconds`` ends the process, and is named on standard error; None: it may take as long as it likes.
    """

    def plan(stack_size: int) -> Iterator[Check]:
        yield from on_every_stack(run, stack_size)
        for placement in placements:
            yield placement, partial(_check_placed, run, stack_size, placement)
        yield "threads", partial(_check_threads, run, stack_size)
        if interleave is not None and isolation != "none":
            yield "interleaving", partial(_check_interleaving, interleave, stack_size)

    return carry_out(plan, stack_sizes, seconds)


def _check_placed(run: Run, stack_size: int, placement: str) -> str:
    """Each new thread's stack lies lower than the former ones', so threads wait for one another."""

    def attempt(threads: int) -> str:
        said = check_placed(run, stack_size, placement)
        if not said and threads > 1:
            said = in_thread(lambda: attempt(threads - 1))
        return said

    ran: str = in_thread(lambda: attempt(_MOST_THREADS))
    return ran or NOT_SEEN


def _check_threads(run: Run, stack_size: int) -> None:
    """Four threads at once, each with the right stack every time."""
    errors = []

    def work() -> None:
        try:
            for _ in range(50):
                check_bounds(run, stack_size)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _check_interleaving(interleave: Interleave, stack_size: int) -> None:
    check_interleaving(interleave, stack_size)

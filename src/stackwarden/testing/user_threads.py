"""check_user_threads: a system whose own operating-system threads run its stacks, whichever is free.

Promises: what stackwarden.testing.checks promises. No thread is made here: what has to be done at once is done on
user threads. Where an adapter is wrong a check may end the process, and one that hangs does: run it in a child if
that matters.
"""

from collections.abc import Iterable, Iterator
from functools import partial

from stackwarden.testing.checks import (
    DEFAULT_STACK_SIZES,
    NOT_SEEN,
    PLACEMENTS,
    Check,
    Interleave,
    Pause,
    Run,
    carry_out,
    check_bounds,
    check_interleaving,
    check_placed,
    on_every_stack,
)
from stackwarden.testing.time_limit import SECONDS

_MOST_ROUNDS = 20  # each lasts milliseconds, in which idle workers may not come by


def check_user_threads(
    run: Run,
    interleave: Interleave,
    *,
    stack_sizes: Iterable[int] = DEFAULT_STACK_SIZES,
    placements: Iterable[str] = PLACEMENTS,
    seconds: float | None = SECONDS,
) -> list[str]:
    """Check that Python is right on the user threads of a system, wherever they go on; return what was checked.

    ``run(function, stack_size)`` calls a function on a user thread of about so many bytes, waits for it, and
    returns its result or raises what it raises. ``interleave(functions, stack_size)`` calls each
    ``function(pause)`` on a user thread of its own, all at once, and returns their results in order or raises;
    ``pause()`` lets the others run. Both are called where the kit is called, and on user threads: there they must
    wait the system's way, so that the operating-system thread under them runs others meanwhile.

    ``placements``: on which sides of its thread's native stack a stack is looked for; one that did not come up is
    named in the result and not checked. Of the interleaving it is said on how many operating-system threads it was
    seen, and how often a user thread changed between them.

    Raises AssertionError with the check, the stack size and what was seen. A check that is not over after
    ``seconds`` ends the process, and is named on standard error; None: it may take as long as it likes.
    """

    def plan(stack_size: int) -> Iterator[Check]:
        yield "warm-up", partial(_warm_up, run, interleave, stack_size)
        yield from on_every_stack(run, stack_size)
        for placement in placements:
            yield placement, partial(_check_placed, run, stack_size, placement)
        yield "at once", partial(_check_at_once, run, interleave, stack_size)
        yield "interleaving", partial(_check_interleaving, interleave, stack_size)

    return carry_out(plan, stack_sizes, seconds)


def _warm_up(run: Run, interleave: Interleave, stack_size: int) -> None:
    """Nothing is measured before workers, pools and what is set up on first use are there."""

    def pauses(pause: Pause) -> None:
        for _ in range(10):
            pause()

    run(int, stack_size)
    interleave([pauses] * 20, stack_size)


def _check_placed(run: Run, stack_size: int, placement: str) -> str:
    return check_placed(run, stack_size, placement) or NOT_SEEN


def _check_at_once(run: Run, interleave: Interleave, stack_size: int) -> None:
    """Four user threads at once, each of which runs others and waits for them, with the right stack every time."""

    def work(pause: Pause) -> None:
        for _ in range(20):
            check_bounds(run, stack_size)
            pause()

    interleave([work] * 4, stack_size)


def _check_interleaving(interleave: Interleave, stack_size: int) -> str:
    """Some rounds, until a user thread has gone on on another operating-system thread; not all can."""
    threads = []
    moves = 0
    for _ in range(_MOST_ROUNDS):
        threads += check_interleaving(interleave, stack_size)
        moves = sum(before != after for before, after in threads)
        if moves:
            break
    carriers = {thread for pair in threads for thread in pair}
    return f"threads {len(carriers)}, changes {moves}"

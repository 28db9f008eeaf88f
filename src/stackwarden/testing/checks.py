"""What holds on the stacks of every adapter: the checks of which check_adapter and check_user_threads are made.

Promises: real work on real foreign stacks, in the process of the caller. What is seen of a stack is seen on it, by
whichever operating-system thread runs it. What is wrong is an AssertionError with the check, the stack size and
what was seen.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import stackwarden
from stackwarden._core import _native_stack, _stack_pointer
from stackwarden.testing.time_limit import TimeLimit
from stackwarden.testing.workloads import WORKLOADS

DEFAULT_STACK_SIZES = (256 * 1024, 1024 * 1024)
PLACEMENTS = ("below", "above")
NOT_SEEN = "no stack of this adapter came to lie there"

Run = Callable[[Callable[[], Any], int], Any]
"""``run(function, stack_size)``: call a function on a foreign stack of so many bytes, return its result."""

Pause = Callable[[], None]
Interleave = Callable[[Sequence[Callable[[Pause], Any]], int], Sequence[Any]]
"""``interleave(functions, stack_size)``: call each ``function(pause)`` on a stack of its own, go on with the next
one whenever one calls ``pause()``, and return their results in order."""

Check = tuple[str, Callable[[], str | None]]
"""Its name, and a function that may return what there is to be said of it."""

_LEVELS = 20  # foreign stacks on top of each other, until one lies right
_ROUNDS = 5
_RUNS = 500  # of a round
_SECONDS_TO_LEAVE = 10


def carry_out(
    plan: Callable[[int], Iterator[Check]], stack_sizes: Iterable[int], seconds: float | None
) -> list[str]:
    """Do the checks of each stack size, each within so many seconds; return what was done."""
    done = []
    with TimeLimit(seconds) as limit:
        for stack_size in stack_sizes:
            for name, check in plan(stack_size):
                name_and_size = f"{name}, {stack_size} bytes"
                limit.begin(name_and_size)
                said = check()
                done.append(f"{name_and_size}: {said}" if said else name_and_size)
    return done


def on_every_stack(run: Run, stack_size: int) -> Iterator[Check]:
    """What holds for all adapters."""
    yield "bounds", partial(check_bounds, run, stack_size)
    yield "ways out", partial(check_ways_out, run, stack_size)
    yield "nesting", partial(check_nesting, run, stack_size)
    yield "records", partial(check_records, run, stack_size)


class Seen(NamedTuple):
    """What a function sees of the stack and of the operating-system thread that it runs on."""

    told: stackwarden.Stack
    synced: stackwarden.Stack | None
    native: stackwarden.Stack
    pointer: int
    thread: int
    """threading.get_ident()"""


def look() -> Seen:
    """Look around."""
    told = stackwarden.current_stack()
    synced = stackwarden.sync_stack()
    return Seen(told, synced, _native_stack(), _stack_pointer(), threading.get_ident())


def expect(condition: bool, check: str, stack_size: int, seen: object) -> None:
    """Raise AssertionError where the condition does not hold."""
    if not condition:
        raise AssertionError(f"{check}, stack of {stack_size} bytes: {seen}")


def _expect_right(seen: Seen, check: str, stack_size: int) -> None:
    told, pointer = seen.told, seen.pointer
    expect(told.base <= pointer < told.top, check, stack_size, f"{pointer:#x} is outside {told}")
    expect(seen.synced == told, check, stack_size, f"told {told}, found {seen.synced}")


def check_bounds(run: Run, stack_size: int) -> None:
    """Inside, the stack that was told is the one under the stack pointer."""
    outside = stackwarden.current_stack()
    seen = run(look, stack_size)
    untold = seen.told in (outside, seen.native)
    expect(not untold, "bounds", stack_size, f"nobody told of the switch from {seen.told}")
    _expect_right(seen, "bounds", stack_size)
    expect(
        seen.told.size <= 2 * stack_size,
        "bounds",
        stack_size,
        f"{seen.told} is not the one asked for",
    )


class _Marker(BaseException):
    seen: Seen


def check_ways_out(run: Run, stack_size: int) -> None:
    """A result and an exception come back, and the bounds with them, on the caller's thread and on the worker."""
    outside = stackwarden.current_stack()
    answer, seen = run(lambda: (42, look()), stack_size)
    expect(answer == 42, "result", stack_size, "it did not come back")
    _expect_left(seen, outside, "result", stack_size)
    error = _Marker()

    def fail() -> None:
        error.seen = look()
        raise error

    try:
        run(fail, stack_size)
    except _Marker as caught:
        expect(caught is error, "exception", stack_size, f"another one came: {caught!r}")
    else:
        expect(False, "exception", stack_size, "it did not come out")
    _expect_left(error.seen, outside, "exception", stack_size)


def _expect_left(seen: Seen, outside: stackwarden.Stack, check: str, stack_size: int) -> None:
    """The caller is on its stack; another thread that ran the function is on its native stack, or will be."""
    here = stackwarden.current_stack()
    expect(here == outside, check, stack_size, f"left {outside}, came back to {here}")
    if seen.thread == threading.get_ident():
        return
    deadline = time.monotonic() + _SECONDS_TO_LEAVE
    while stuck := [stack for stack in _current_on(seen.thread) if stack != seen.native]:
        over = time.monotonic() > deadline
        expect(not over, check, stack_size, f"its thread never came back from {stuck}")
        time.sleep(0.001)


def _current_on(thread: int) -> Iterator[stackwarden.Stack]:
    for stack in stackwarden.stacks():
        try:
            if stack.thread == thread:
                yield stack
        except stackwarden.StaleStackError:
            pass  # it is gone meanwhile


def check_nesting(run: Run, stack_size: int) -> None:
    """A foreign stack entered from a foreign stack, and back to the first one."""

    def outer() -> tuple[Any, Any, Any]:
        before = stackwarden.current_stack()
        inner = run(stackwarden.current_stack, stack_size)
        return before, inner, stackwarden.current_stack()

    before, inner, after = run(outer, stack_size)
    expect(inner != before, "nesting", stack_size, f"the inner stack is the outer one: {inner}")
    expect(after == before, "nesting", stack_size, f"left {before}, came back to {after}")


def check_records(run: Run, stack_size: int) -> None:
    """Records do not pile up: some rounds may add those of new workers and of pools, and then one adds none."""
    added = []
    for _ in range(_ROUNDS):
        before = len(stackwarden.stacks())
        for _ in range(_RUNS):
            run(int, stack_size)
        added.append(len(stackwarden.stacks()) - before)
        if added[-1] <= 1:
            return
    expect(False, "records", stack_size, f"{added} more, each after {_RUNS} calls")


def check_placed(run: Run, stack_size: int, placement: str) -> str:
    """The workloads on a stack that lies below or above the native one of its thread, if one comes up.

    Runs inside runs use up the stacks that an adapter keeps for later. Returns what was run; "": no stack came up.
    """
    covered = stack_size >= stackwarden.status()["exact_stack_size"]
    outcomes = {}

    def descend(levels: int) -> None:
        def inside() -> None:
            seen = look()
            if (seen.told.base > seen.native.base) == (placement == "above"):
                for name in ("add", "containers", "sorted") if covered else ("containers",):
                    outcomes[name] = WORKLOADS[name].run()
            elif levels > 0:
                descend(levels - 1)

        run(inside, stack_size)

    descend(_LEVELS)
    for name, outcome in outcomes.items():
        expected = WORKLOADS[name].expected
        expect(outcome == expected, f"{WORKLOADS[name].title}, {placement}", stack_size, outcome)
    return ", ".join(outcomes)


def check_interleaving(interleave: Interleave, stack_size: int) -> list[tuple[int, int]]:
    """Coroutines that pause at different depths, each with an exception being handled, end right.

    Returns the thread before and after each pause.
    """
    threads = []

    def pause_and_look(pause: Pause) -> None:
        before = look()
        pause()
        after = look()
        threads.append((before.thread, after.thread))
        same = after.told == before.told
        expect(same, "interleaving", stack_size, f"left {before.told}, back on {after.told}")
        _expect_right(after, "interleaving", stack_size)

    def descend(number: int, depth: int, pause: Pause) -> int:
        if depth:
            pause_and_look(pause)
            return descend(number, depth - 1, pause) + 1
        try:
            raise KeyError(number)
        except KeyError as error:
            pause_and_look(pause)
            handled = sys.exc_info()[1]
            expect(handled is error, "interleaving", stack_size, f"{number} handles {handled!r}")
        return number * 1000

    def coroutine(number: int) -> Callable[[Pause], int]:
        return lambda pause: descend(number, number % 7, pause)

    results = list(interleave([coroutine(number) for number in range(20)], stack_size))
    expected = [number * 1000 + number % 7 for number in range(20)]
    expect(results == expected, "interleaving", stack_size, f"{results} instead of {expected}")
    return threads

"""What every adapter must keep: the checks behind check_adapter.

Promises: real work on real foreign stacks, in the process of the caller. Where an adapter is wrong a check may
end the process: run the kit in a child where that matters.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import stackwarden
from stackwarden._core import _stack_pointer
from stackwarden.testing.workloads import WORKLOADS

DEFAULT_STACK_SIZES = (256 * 1024, 1024 * 1024)
PLACEMENTS = ("below", "above")

Run = Callable[[Callable[[], Any], int], Any]
"""``run(function, stack_size)``: call a function on a foreign stack of so many bytes, return its result."""

Pause = Callable[[], None]
Interleave = Callable[[Sequence[Callable[[Pause], Any]], int], Sequence[Any]]
"""``interleave(functions, stack_size)``: call each ``function(pause)`` on a stack of its own, go on with the next
one whenever one calls ``pause()``, and return their results in order."""


def check_adapter(
    run: Run,
    *,
    interleave: Interleave | None = None,
    stack_sizes: Iterable[int] = DEFAULT_STACK_SIZES,
    placements: Iterable[str] = PLACEMENTS,
    isolation: str = "none",
) -> list[str]:
    """Check that an adapter keeps CPython's protection right on its stacks; return what was checked.

    ``run(function, stack_size)`` calls a function on a foreign stack of about so many bytes and returns its
    result or raises what it raises. ``interleave(functions, stack_size)``, for systems that suspend in the
    middle of Python, is checked where ``isolation`` ("frames" or "thread-state") says that it is right.
    ``placements`` says on which sides of the thread's own stack the work must have been seen; one that did not
    come up is named in the result and not checked.

    Raises AssertionError with the check, the stack size and what was seen.
    """
    done = []
    for stack_size in stack_sizes:
        for check in (_check_bounds, _check_ways_out, _check_nesting, _check_records):
            check(run, stack_size)
            done.append(f"{check.__name__[7:]}, {stack_size} bytes")
        for placement in placements:
            done.append(_check_placed(run, stack_size, placement))
        _check_threads(run, stack_size)
        done.append(f"threads, {stack_size} bytes")
        if interleave is not None and isolation != "none":
            _check_interleaving(interleave, stack_size)
            done.append(f"interleaving, {stack_size} bytes")
    return done


def _expect(condition: bool, check: str, stack_size: int, seen: object) -> None:
    if not condition:
        raise AssertionError(f"{check}, stack of {stack_size} bytes: {seen}")


def _seen_inside() -> tuple[Any, Any, int]:
    told = stackwarden.current_stack()
    return told, stackwarden.sync_stack(), _stack_pointer()


def _check_bounds(run: Run, stack_size: int) -> None:
    """Inside, the stack that was told is the one under the stack pointer."""
    outside = stackwarden.current_stack()
    told, synced, pointer = run(_seen_inside, stack_size)
    _expect(told != outside, "bounds", stack_size, f"nobody told of the switch from {outside}")
    _expect(
        told.base <= pointer < told.top, "bounds", stack_size, f"{pointer:#x} is outside {told}"
    )
    _expect(synced == told, "bounds", stack_size, f"told {told}, found {synced}")
    _expect(told.size <= 2 * stack_size, "bounds", stack_size, f"{told} is not the stack asked for")


class _Marker(BaseException):
    pass


def _check_ways_out(run: Run, stack_size: int) -> None:
    """A result and an exception come back, and the bounds with them."""
    outside = stackwarden.current_stack()
    _expect(run(lambda: 42, stack_size) == 42, "result", stack_size, "it did not come back")
    _expect(
        stackwarden.current_stack() == outside, "result", stack_size, stackwarden.current_stack()
    )
    error = _Marker()

    def fail() -> None:
        raise error

    try:
        run(fail, stack_size)
    except _Marker as caught:
        _expect(caught is error, "exception", stack_size, f"another one came: {caught!r}")
    else:
        _expect(False, "exception", stack_size, "it did not come out")
    _expect(
        stackwarden.current_stack() == outside, "exception", stack_size, stackwarden.current_stack()
    )


def _check_nesting(run: Run, stack_size: int) -> None:
    """A foreign stack entered from a foreign stack, and back to the first one."""

    def outer() -> tuple[Any, Any, Any]:
        before = stackwarden.current_stack()
        inner = run(stackwarden.current_stack, stack_size)
        return before, inner, stackwarden.current_stack()

    before, inner, after = run(outer, stack_size)
    _expect(inner != before, "nesting", stack_size, f"the inner stack is the outer one: {inner}")
    _expect(after == before, "nesting", stack_size, f"left {before}, came back to {after}")


def _check_records(run: Run, stack_size: int) -> None:
    """Records do not pile up."""
    for _ in range(32):
        run(int, stack_size)
    before = len(stackwarden.stacks())
    for _ in range(500):
        run(int, stack_size)
    after = len(stackwarden.stacks())
    _expect(after <= before + 1, "records", stack_size, f"{after - before} more after 500 calls")


def _check_placed(run: Run, stack_size: int, placement: str) -> str:
    """The workloads, on a stack that lies below or above the thread's own."""
    covered = stack_size >= stackwarden.status()["exact_stack_size"]
    outcomes = {}

    def work() -> None:
        for name in ("add", "containers", "sorted") if covered else ("containers",):
            outcomes[name] = WORKLOADS[name].run()

    if not _run_placed(run, work, stack_size, placement):
        return f"{placement}, {stack_size} bytes: no stack of this adapter came to lie there"
    for name, outcome in outcomes.items():
        expected = WORKLOADS[name].expected
        _expect(outcome == expected, f"{WORKLOADS[name].title}, {placement}", stack_size, outcome)
    return f"{placement}, {stack_size} bytes: {', '.join(outcomes)}"


def _run_placed(run: Run, work: Callable[[], None], stack_size: int, placement: str) -> bool:
    """Do the work on a stack that lies where it should, if one comes up.

    Each new thread's stack lies lower than the former ones', and runs inside runs use up stacks that an adapter
    keeps for later: so threads and runs wait for one another.
    """

    def descend(native_base: int, levels: int) -> bool:
        def inside() -> bool:
            if (stackwarden.current_stack().base > native_base) == (placement == "above"):
                work()
                return True
            return levels > 0 and descend(native_base, levels - 1)

        return bool(run(inside, stack_size))

    def attempt(threads: int) -> bool:
        if descend(stackwarden.current_stack().base, 20):
            return True
        return threads > 0 and _in_thread(lambda: attempt(threads - 1))

    return _in_thread(lambda: attempt(4))


def _in_thread(function: Callable[[], bool]) -> bool:
    outcomes: list[bool] = []
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            outcomes.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return outcomes[0]


def _check_threads(run: Run, stack_size: int) -> None:
    """Four threads at once, each with the right stack every time."""
    errors = []

    def work() -> None:
        try:
            for _ in range(50):
                _check_bounds(run, stack_size)
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
    """Coroutines that pause at different depths, each with an exception being handled, end right."""
    import sys

    def descend(number: int, depth: int, pause: Pause) -> int:
        if depth:
            pause()
            return descend(number, depth - 1, pause) + 1
        try:
            raise KeyError(number)
        except KeyError:
            pause()
            handled = sys.exc_info()[1]
            _expect(
                isinstance(handled, KeyError) and handled.args == (number,),
                "interleaving", stack_size, f"coroutine {number} handles {handled!r}",
            )  # fmt: skip
        return number * 1000

    def coroutine(number: int) -> Callable[[Pause], int]:
        return lambda pause: descend(number, number % 7, pause)

    results = list(interleave([coroutine(number) for number in range(20)], stack_size))
    expected = [number * 1000 + number % 7 for number in range(20)]
    _expect(results == expected, "interleaving", stack_size, f"{results} instead of {expected}")

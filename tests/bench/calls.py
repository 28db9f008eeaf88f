"""A call on another stack, beside a plain call of the same function and beside running it in a new thread.

Promises: all ways call the same function with stacks of the same size, and take turns; each number is the least of
its turns. Prints JSON: nanoseconds for one call, by the name of the way.

Command line: python calls.py
"""

import json
import threading
import time
from collections.abc import Callable

from stackwarden import call_on_stack, maybe_grow

SIZE = 16 << 20
TURNS = 40


def nothing() -> None:
    pass


def on_a_stack() -> None:
    call_on_stack(nothing, stack_size=SIZE)


def in_place() -> None:
    maybe_grow(nothing)


def in_a_thread() -> None:
    thread = threading.Thread(target=nothing)
    thread.start()
    thread.join()


WAYS: dict[str, tuple[Callable[[], None], int]] = {
    "plain": (nothing, 100_000),
    "maybe_grow": (in_place, 50_000),
    "call_on_stack": (on_a_stack, 5_000),
    "thread": (in_a_thread, 100),
}
"""Each way, and how many calls a turn takes."""


def nanoseconds(call: Callable[[], None], count: int) -> float:
    start = time.perf_counter_ns()
    for _ in range(count):
        call()
    return (time.perf_counter_ns() - start) / count


def main() -> None:
    """Measure and print."""
    threading.stack_size(SIZE)
    turns = [
        {name: nanoseconds(call, count) for name, (call, count) in WAYS.items()}
        for _ in range(TURNS)
    ]
    print(json.dumps({name: min(turn[name] for turn in turns) for name in WAYS}))


if __name__ == "__main__":
    main()

"""What a switch out of a coroutine and back costs, Python calls included, by the ways there are.

Promises: each way runs the same program, a loop that resumes a coroutine which does nothing but suspend, at
the bottom of so many Python calls; the ways take turns, and each number is the least of its turns. Each has code
objects of its own: CPython specialises a call for what was called there.
"""

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import greenlet
from stackwarden.adapters import asm, fcontext

SWITCHES = 20_000
TURNS = 15
SUSPENDED = 2_000


def fresh(function: FunctionType) -> FunctionType:
    """The same function with a code object of its own, for which nothing is specialised yet."""
    return FunctionType(
        function.__code__.replace(), function.__globals__, closure=function.__closure__
    )


def descend(depth: int, loop: Callable[[], None]) -> None:
    if depth:
        descend(depth - 1, loop)
    else:
        loop()


def forever(switch: Callable[[], Any]) -> Callable[[], None]:
    def loop() -> None:
        while True:
            switch()

    return fresh(loop)


def isolated(adapter: Any, depth: int, isolation: str) -> Callable[[], Any]:
    loop = forever(adapter.suspend)
    coroutine = adapter.Coroutine(descend, depth, loop, isolation=isolation)
    coroutine.resume()
    return coroutine.resume


def greenlets(depth: int) -> Callable[[], Any]:
    main = greenlet.getcurrent()
    other = greenlet.greenlet(descend)
    other.switch(depth, forever(main.switch))
    return other.switch


def by_hand(module: Any, depth: int) -> Callable[[], Any]:
    resume = module.start(lambda: descend(depth, forever(module.suspend)))
    resume()
    return resume


def take_turn(resume: Callable[[], Any]) -> float:
    """Nanoseconds for one way there and back."""
    start = time.perf_counter_ns()
    for _ in range(SWITCHES):
        resume()
    return (time.perf_counter_ns() - start) / SWITCHES


def measure(module: Any) -> dict[tuple[str, int], float]:
    """The least time of each way at each depth; `module` is by_hand, or None."""
    ways: dict[tuple[str, int], Callable[[], Any]] = {}
    for depth in (1, 50):
        ways["frames", depth] = isolated(asm, depth, "frames")
        ways["frames on Boost's jump", depth] = isolated(fcontext, depth, "frames")
        ways["greenlet", depth] = greenlets(depth)
        if sys.version_info >= (3, 12):
            ways["thread-state", depth] = isolated(asm, depth, "thread-state")
            ways["by hand", depth] = by_hand(module, depth)
    turns = {way: fresh(take_turn) for way in ways}
    least = dict.fromkeys(ways, float("inf"))
    for _ in range(TURNS):
        for way, resume in ways.items():
            least[way] = min(least[way], turns[way](resume))
    return least


def memory_of_suspended() -> float:
    """Resident bytes for each suspended coroutine, the pages of its stack that it touched included."""

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    before = resident()
    coroutines = [asm.Coroutine(asm.suspend) for _ in range(SUSPENDED)]
    for coroutine in coroutines:
        coroutine.resume()
    used = resident() - before
    for coroutine in coroutines:
        coroutine.close()
    return used / SUSPENDED

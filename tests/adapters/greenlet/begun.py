"""A child that resumes a greenlet from the thread's own stack which began on a foreign one.

The greenlet begins at the bottom of some calls on a coroutine's stack, which is left where it is
less deep: so the two do not overlap. It prints where the stacks lie, "inside" when the greenlet runs
again, and then what came of the workload; JSON objects, each on a line, as stackwarden.testing.child
reads them.

PLACEMENT is below, above, above-later (the thread has switched on its own stack before), or deeper: below, but the
foreign stack is left deeper than where the greenlet began, and goes on in the end.

Command line: python begun.py WORKLOAD PLACEMENT STACK_SIZE yes|no|late; the last says whether the
adapter is installed, late meaning when the greenlet has begun.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import greenlet
from stackwarden.adapters.ucontext import Coroutine, suspend

import stackwarden
from stackwarden import adapters
from stackwarden.testing.child import in_thread
from stackwarden.testing.workloads import WORKLOADS, resident_bytes

CANDIDATES = 8
DEEPER = 8  # calls in C, which take more room than suspend()

kept: list[
    Coroutine
] = []  # those that a greenlet has begun on; their stacks must stay where they are


def deeper(function: Callable[[], Any], calls: int = DEEPER) -> None:
    """Call a function at the bottom of so many calls in C."""
    if calls == 0:
        function()
    else:
        max([0], key=lambda _: deeper(function, calls - 1) or 0)


def placed(run: Callable[[], Any], stack_size: int, placement: str) -> Coroutine:
    """A coroutine whose stack lies below or above the one that the caller runs on."""
    here = stackwarden.current_stack().base
    others = []
    for _ in range(CANDIDATES):
        coroutine = Coroutine(run, stack_size=stack_size)
        if (coroutine.stack_base > here) == placement.startswith("above"):
            kept.append(coroutine)
            return coroutine
        others.append(coroutine)
    raise RuntimeError(f"none of {len(others)} stacks came to lie {placement} {here:#x}")


def begin(
    function: Callable[[], Any], stack_size: int, placement: str = "below", calls: int = DEEPER
) -> greenlet.greenlet:
    """A greenlet that began on a foreign stack, and waits there for the switch that makes it call the function."""

    def body() -> Any:
        begun.parent.switch()
        return function()

    def start() -> None:
        deeper(begun.switch, calls)
        deeper(suspend, DEEPER - calls)

    begun = greenlet.greenlet(body)
    placed(start, stack_size, placement).resume()
    return begun


def main() -> None:
    workload, placement, stack_size, adapter = sys.argv[1:]
    if adapter == "yes":
        adapters.install("greenlet")
    if placement.startswith(
        "above"
    ):  # stacks of a pool that lie above that of a thread that is started later
        early = [Coroutine(int, stack_size=int(stack_size)) for _ in range(CANDIDATES)]
        for coroutine in early:
            coroutine.close()

    def work() -> dict[str, Any]:
        print(json.dumps({"inside": True}), flush=True)
        before = resident_bytes()
        outcome = WORKLOADS[workload].run()
        return {
            "outcome": outcome, "resident_before": before, "resident_after": resident_bytes(),
        }  # fmt: skip

    def in_greenlet() -> None:
        if placement == "above-later":
            greenlet.greenlet(int).switch()
        if placement == "deeper":
            begun = begin(work, int(stack_size), calls=0)
        else:
            begun = begin(work, int(stack_size), placement)
        if adapter == "late":
            adapters.install("greenlet")
        native = stackwarden.current_stack().base
        print(json.dumps({"stack_base": kept[-1].stack_base, "native_base": native}), flush=True)
        seen = begun.switch()
        seen["afterwards"] = {name: WORKLOADS[name].run() for name in ("add", "containers")}
        print(json.dumps(seen), flush=True)
        if placement == "deeper":
            kept[-1].resume()

    in_thread(in_greenlet)


if __name__ == "__main__":
    main()

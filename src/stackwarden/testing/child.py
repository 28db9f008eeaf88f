"""A child process that runs one workload on a foreign stack: ``python -m stackwarden.testing.child ...``.

Promises: prints one JSON object with the outcome, the resident memory before and after, and where the stacks lie;
or dies as the workload makes it die. Unprotected means that CPython is told nothing of the stack.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

PLACEMENTS = ("below", "above")


def start(workload: str, *, placement: str, stack_size: int, protected: bool = True) -> subprocess.Popen[str]:
    """Start the child for one workload. ``protected=False``: CPython is told nothing of the stack."""
    command = [sys.executable, "-m", "stackwarden.testing.child", workload, placement, str(stack_size)]
    environment = dict(os.environ)
    if not protected:
        environment["STACKWARDEN_MECHANISM"] = "none"
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def in_thread(function: Callable[[], Any]) -> Any:
    """Call a function in a new thread and return its result."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


def run_placed(function: Callable[[], Any], placement: str, stack_size: int) -> dict[str, Any]:
    """Run a function on a coroutine's stack that lies below or above the stack of a thread of its own.

    The kernel maps downwards: what was mapped before the thread's stack lies above it, what is mapped after it
    below. Misfits (mapped into a gap) are kept until a stack lies where it should.
    """
    from stackwarden import current_stack
    from stackwarden.adapters.ucontext import Coroutine

    def outcome(coroutine: Coroutine) -> dict[str, Any]:
        native = current_stack()
        base = coroutine.stack_base
        return {
            "result": coroutine.resume(),
            "stack_base": base,
            "native_base": native.base,
        }

    def fits(coroutine: Coroutine) -> bool:
        return (coroutine.stack_base > current_stack().base) == (placement == "above")

    early = [Coroutine(function, stack_size=stack_size) for _ in range(8)]

    def in_the_thread() -> dict[str, Any]:
        candidates = early
        while not any(map(fits, candidates)):
            candidates.extend(Coroutine(function, stack_size=stack_size) for _ in range(8))
        return outcome(next(filter(fits, candidates)))

    found: dict[str, Any] = in_thread(in_the_thread)
    return found


def main() -> None:
    """Parse the command line, run, print."""
    from stackwarden.testing.workloads import WORKLOADS, resident_bytes

    parser = argparse.ArgumentParser()
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("placement", choices=PLACEMENTS)
    parser.add_argument("stack_size", type=int, help="bytes")
    options = parser.parse_args()
    before = resident_bytes()
    report = run_placed(WORKLOADS[options.workload].run, options.placement, options.stack_size)
    print(json.dumps({**report, "resident_before": before, "resident_after": resident_bytes()}))


if __name__ == "__main__":
    main()

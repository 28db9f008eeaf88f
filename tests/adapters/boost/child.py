"""A child process: one workload on a Boost.Context stack, then work on the thread's own stack.

Promises: prints one JSON object, or dies as the workload makes it die. The stack lies below or
above that of the thread, as asked, and ends in a guard. The extension `fibers` is on PYTHONPATH.

Command line: WORKLOAD PLACEMENT SIZE ENGINE TELLER
"""

import json
import sys

import fibers

import stackwarden
from stackwarden.testing.child import in_thread
from stackwarden.testing.workloads import WORKLOADS


def placed_stack(placement: str, size: int, early: list[int]) -> int:
    """The base of a stack that lies below or above the stack of the calling thread.

    The kernel maps downwards: what was mapped before the thread's stack (`early`) lies above it,
    what is mapped later below it. What went into a gap is kept, so that the next goes elsewhere.
    """
    native = stackwarden.current_stack().base
    while True:
        for base in early:
            if (base > native) == (placement == "above"):
                return base
        early.append(fibers.map_stack(size))


def main() -> None:
    """Run in a thread of its own, so that stacks can lie on both sides."""
    workload, placement, size, engine, teller = sys.argv[1:]
    early = [fibers.map_stack(int(size)) for _ in range(8)]

    def report() -> dict[str, object]:
        base = placed_stack(placement, int(size), early)
        native = stackwarden.current_stack()
        outcome = fibers.run(WORKLOADS[workload].run, base, int(size), engine, teller)
        return {
            "outcome": outcome,
            "placement": "above" if base > native.base else "below",
            "back_on_own_stack": stackwarden.current_stack() == native,
            "registered": stackwarden.status()["registered"],
            "afterwards": WORKLOADS["add"].run(),
            "memory_afterwards": WORKLOADS["containers"].run(),
        }

    print(json.dumps(in_thread(report)))


if __name__ == "__main__":
    main()

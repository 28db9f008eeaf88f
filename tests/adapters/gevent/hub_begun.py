"""A child whose hub began on a foreign stack, and is used from the thread's own stack.

Whoever waits first makes the hub, on the stack that is current, and all Greenlets begin there. Prints
JSON as tests/adapters/greenlet/begun.py does.

Command line: python hub_begun.py WORKLOAD STACK_SIZE yes|no; the last: is the adapter installed?
"""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "greenlet"))

import begun
import gevent
from stackwarden.adapters.ucontext import suspend

import stackwarden
from stackwarden import adapters
from stackwarden.testing.child import in_thread
from stackwarden.testing.workloads import WORKLOADS, resident_bytes


def main() -> None:
    workload, stack_size, adapter = sys.argv[1:]
    if adapter == "yes":
        adapters.install("gevent")

    def start() -> None:
        begun.deeper(gevent.sleep)
        suspend()

    def work() -> dict[str, Any]:
        before = resident_bytes()
        outcome = WORKLOADS[workload].run()
        return {
            "outcome": outcome, "resident_before": before, "resident_after": resident_bytes(),
        }  # fmt: skip

    def in_own_thread() -> None:
        coroutine = begun.placed(start, int(stack_size), "below")
        coroutine.resume()
        native = stackwarden.current_stack().base
        print(json.dumps({"stack_base": coroutine.stack_base, "native_base": native}), flush=True)
        seen = gevent.spawn(work).get()
        seen["afterwards"] = {name: WORKLOADS[name].run() for name in ("add", "containers")}
        print(json.dumps(seen), flush=True)

    in_thread(in_own_thread)


if __name__ == "__main__":
    main()

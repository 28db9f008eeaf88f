"""A child process that runs one workload on a foreign stack; how it is started and waited for.

Promises: the child says where its stacks lie, and then what came of the workload, or dies as the
workload makes it die. Its stack lies below or above that of the thread, as asked. Unprotected:
CPython is told nothing of the stack.

Command line: ``python -m stackwarden.testing.child WORKLOAD PLACEMENT STACK_SIZE``. It prints two
JSON objects, each on a line:

    stack_base, native_base            lowest addresses of that stack and of the thread's own

    outcome                            the workload's word for what happened
    resident_before, resident_after    bytes, both measured on the foreign stack
    afterwards                         outcomes of workloads run next on the thread's own stack
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from stackwarden.testing.workloads import WORKLOADS, resident_bytes

PLACEMENTS = ("below", "above")
AFTERWARDS = ("add", "containers")
SECONDS = 100
"""How long a child may take. Each needs one or two seconds on an idle machine."""

_MODULE = "stackwarden.testing.child"
_NATIVE_STACK_SIZE = 8 * 1024 * 1024  # bytes; whatever `ulimit -s` says
_CANDIDATES = 8
_MOST_THREADS = 8


class End(NamedTuple):
    """How a child ended."""

    outcome: str
    """The workload's word, a signal's name, "out of time", "exit status N" or "no outcome"."""
    report: dict[str, Any]
    """What the child printed, in one dict; there is no "outcome" in it when the child died."""
    errors: str
    """What it wrote to standard error."""


def start(
    workload: str, *, placement: str, stack_size: int, protected: bool = True
) -> subprocess.Popen[str]:
    """Start the child for one workload. Unprotected: CPython is told nothing of the stack."""
    variables = {} if protected else {"STACKWARDEN_MECHANISM": "none"}
    return start_python("-m", _MODULE, workload, placement, str(stack_size), **variables)


def start_python(*arguments: str | Path, **variables: str) -> subprocess.Popen[str]:
    """Start this Python with some arguments; the variables are added to the environment."""
    return subprocess.Popen(
        [*_interpreter(), *arguments],
        env=os.environ | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _interpreter() -> list[str]:
    """This one; the child imports from the current folder only where this process does."""
    if {"", str(Path.cwd())}.isdisjoint(sys.path):
        return [sys.executable, "-P"]
    return [sys.executable]


def wait(child: subprocess.Popen[str], *, seconds: float = SECONDS) -> End:
    """Wait for a child that was started here, and kill it when its time is up."""
    with child:
        try:
            output, errors = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            return End("out of time", {}, "")
        except BaseException:
            child.kill()
            raise
    report = _report_in(output)
    if child.returncode != 0:
        return End(_name_of_status(child.returncode), report, errors)
    return End(report.get("outcome", "no outcome"), report, errors)


def _report_in(output: str) -> dict[str, Any]:
    """What the child said, and not what something else printed (a sitecustomize, say)."""
    report: dict[str, Any] = {}
    for line in output.splitlines():
        if line.startswith('{"'):
            report |= json.loads(line)
    return report


def _name_of_status(status: int) -> str:
    if status > 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


def in_thread(function: Callable[[], Any]) -> Any:
    """Call a function in a new thread; return its result, or raise what it raises."""
    results: list[Any] = []
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def run_placed(function: Callable[[], Any], placement: str, stack_size: int) -> dict[str, Any]:
    """Run a function on a coroutine's stack that lies below or above that of a thread of its own.

    Returns "result", "stack_base" and "native_base".
    """

    def run(coroutine: Any, bases: dict[str, int]) -> dict[str, Any]:
        return {**bases, "result": coroutine.resume()}

    return _with_placed(function, placement, stack_size, run)


def _with_placed(
    function: Callable[[], Any],
    placement: str,
    stack_size: int,
    use: Callable[[Any, dict[str, int]], dict[str, Any]],
) -> dict[str, Any]:
    """In a thread of its own, call ``use`` with a coroutine and where the two stacks lie.

    The kernel maps downwards: what was mapped before the thread's stack lies above it, what is
    mapped after it below. Where gaps were filled instead, the thread starts another and waits for
    it, and all stacks are kept meanwhile: so the next ones must lie elsewhere.
    """
    from stackwarden import current_stack, status
    from stackwarden.adapters.ucontext import Coroutine  # type: ignore[import-not-found]

    # The one that is usual; "frames" cannot be had where the layout of CPython is not known.
    isolation = "frames" if "frames" in status()["isolation"] else "thread-state"

    def make() -> list[Any]:
        return [
            Coroutine(function, stack_size=stack_size, isolation=isolation)
            for _ in range(_CANDIDATES)
        ]

    def attempt(candidates: list[Any], threads: int) -> Any:
        native = current_stack().base
        candidates = candidates + make()
        for coroutine in candidates:
            base = coroutine.stack_base
            if (base > native) == (placement == "above"):
                return use(coroutine, {"stack_base": base, "native_base": native})
        if threads == 0:
            raise RuntimeError(f"none of {len(candidates)} stacks lies {placement} {native:#x}")
        return in_thread(lambda: attempt(candidates, threads - 1))

    early = make()
    used: dict[str, Any] = in_thread(lambda: attempt(early, _MOST_THREADS))
    return used


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("placement", choices=PLACEMENTS)
    parser.add_argument("stack_size", type=int, help="bytes")
    options = parser.parse_args()
    _leave_no_core_file()
    threading.stack_size(_NATIVE_STACK_SIZE)
    _run(options.workload, options.placement, options.stack_size)


def _leave_no_core_file() -> None:
    """Dying is what unprotected children are for."""
    import resource  # which Windows lacks; what is above can be imported there

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _run(workload: str, placement: str, stack_size: int) -> None:
    """Print where the stacks lie, do the work there, print what came of it."""

    def measured() -> dict[str, Any]:
        before = resident_bytes()
        outcome = WORKLOADS[workload].run()
        after = resident_bytes()
        return {"outcome": outcome, "resident_before": before, "resident_after": after}

    def use(coroutine: Any, bases: dict[str, int]) -> dict[str, Any]:
        print(json.dumps(bases), flush=True)
        seen: dict[str, Any] = coroutine.resume()
        return {**seen, "afterwards": {name: WORKLOADS[name].run() for name in AFTERWARDS}}

    print(json.dumps(_with_placed(measured, placement, stack_size, use)))


if __name__ == "__main__":
    main()

"""Run the test suite under every supported interpreter, and say in the last line what ran where.

It is a failure if an interpreter cannot be had, if a run passes no test, or if time runs out. Runs
go on side by side, so the output of each is printed in one piece after it; a single run prints as
it goes.

Command line:
    python3 tests/harness/run_tests.py [--python VERSION]... [--matrix] [-- PYTEST ARGUMENT...]
"""

import argparse
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import commands
import environments
import interpreters
import pytest_run

SIDE_BY_SIDE = 2
MINUTES = 65
MINUTES_FOR_MATRIX = 6 * 60


def main() -> int:
    """Return the exit status."""
    options = _options()
    if options.matrix:
        os.environ["STACKWARDEN_MATRIX"] = "full"
    minutes = MINUTES_FOR_MATRIX if options.matrix else MINUTES
    deadline = time.monotonic() + minutes * 60
    results = []
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for result in pool.map(partial(_run, options, deadline), options.python):
            print(f"\n==> CPython {result.python}: {result.summary}\n{result.output}", flush=True)
            results.append(result)
    green = all(result.succeeded for result in results)
    what_ran = " | ".join(f"{result.python} {result.summary}" for result in results)
    print(f"stackwarden: {what_ran} : {'all green' if green else 'NOT GREEN'}")
    return 0 if green else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run the tests under the supported interpreters.")
    parser.add_argument("--python", action="append", metavar="VERSION", help="only this one")
    parser.add_argument("--matrix", action="store_true", help="run the tests' matrices whole")
    parser.add_argument("pytest", nargs="*", metavar="PYTEST ARGUMENT")
    options = parser.parse_args()
    options.python = options.python or interpreters.SUPPORTED
    return options


def _run(options: argparse.Namespace, deadline: float, version: str) -> pytest_run.Result:
    try:
        return pytest_run.run(
            environments.environment("test", version),
            options.pytest,
            seconds=deadline - time.monotonic(),
            live=len(options.python) == 1,
        )
    except commands.HarnessError as error:
        return pytest_run.Result(version, "no result", succeeded=False, output=f"{error}\n")


if __name__ == "__main__":
    sys.exit(main())

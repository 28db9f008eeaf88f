"""Run the test suite under every supported interpreter, and say in the last line what ran where.

It is a failure if an interpreter cannot be had, if a run passes no test, or if time runs out. Two interpreters run
side by side, and the output of each is printed in one piece after it; a single run prints as it goes.

Command line:
    python3 tests/harness/run_tests.py [--python VERSION]... [--matrix] [-- PYTEST ARGUMENT...]
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import commands
import interpreters
import sessions
import verdicts

SIDE_BY_SIDE = 2
MINUTES = 65
MINUTES_FOR_MATRIX = 6 * 60

# Minutes that all tests take on two cores, under one interpreter, and for each of several.
ALONE, BESIDE_ANOTHER = 8, 6


def main() -> int:
    """Return the exit status."""
    told = _options()
    if told.matrix:
        os.environ["STACKWARDEN_MATRIX"] = "full"
    start = time.monotonic()
    commands.say(_expectation(told))
    results = _run(told)
    print(f"{(time.monotonic() - start) / 60:.1f} minutes")
    for failure in verdicts.failures(results):
        print(failure)
    print(verdicts.line(results))
    return 0 if all(result.succeeded for result in results) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run the tests under the supported interpreters.")
    parser.add_argument("--python", action="append", metavar="VERSION", help="only this one")
    parser.add_argument("--matrix", action="store_true", help="run the tests' matrices whole")
    parser.add_argument("pytest", nargs="*", metavar="PYTEST ARGUMENT")
    told = parser.parse_args()
    told.python = told.python or interpreters.SUPPORTED
    return told


def _expectation(told: argparse.Namespace) -> str:
    if told.matrix:
        return "expected: hours"
    count = len(told.python)
    minutes = ALONE if count == 1 else BESIDE_ANOTHER * count
    return (
        f"expected: {minutes} minutes on two cores{', less for some tests' if told.pytest else ''}"
    )


def _run(told: argparse.Namespace) -> list[verdicts.Verdict]:
    pythons = {}
    for version in told.python:
        _report(version).unlink(missing_ok=True)
        try:
            pythons[version] = interpreters.find(version)
        except commands.HarnessError as error:
            commands.say(str(error))
    with tempfile.TemporaryDirectory() as folder:
        nox_report = Path(folder, "report.json")
        options = ["--report", nox_report]
        if len(pythons) > 1:  # a single run prints as it goes
            options += ["--parallel", str(SIDE_BY_SIDE)]
        seconds = 60 * (MINUTES_FOR_MATRIX if told.matrix else MINUTES)
        in_time = sessions.run("test", pythons, told.pytest, options=options, seconds=seconds)
        ended_well = verdicts.ended_well(nox_report)
    unknown = None if in_time is None else False
    return [
        verdicts.of_session(version, ended_well.get(f"test-{version}", unknown), _report(version))
        for version in told.python
    ]


def _report(version: str) -> Path:
    return sessions.folder("test", version) / "report.xml"


if __name__ == "__main__":
    sys.exit(main())

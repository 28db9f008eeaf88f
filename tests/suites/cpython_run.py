"""Run one of CPython's test modules, or a class of it, on the native stack or inside call_on_stack().

Prints what each test came to, as JSON in the last line.

Command line: python cpython_run.py NAME STACK_SIZE    STACK_SIZE "": the native stack
"""

import json
import re
import sys
import unittest
from typing import Any

import stackwarden


class Outcomes(unittest.TestResult):
    """What each test and subtest came to, by its id without addresses; several of one id in order."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, list[str]] = {}

    def note(self, test: unittest.TestCase, outcome: str) -> None:
        name = re.sub(r"0x[0-9a-f]+", "0x", test.id())
        self.found.setdefault(name, []).append(outcome)

    def addSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
        self.note(test, "passed")

    def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        self.note(test, f"error {err[0].__name__}: {err[1]}"[:200])

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        self.note(test, f"failed: {err[1]}"[:200])

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802
        self.note(test, f"skipped: {reason}")

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        self.note(test, "failed as expected")

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
        self.note(test, "passed unexpectedly")

    def addSubTest(self, _: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:  # noqa: N802
        self.note(subtest, "passed" if err is None else f"failed: {err[1]}"[:200])


def main() -> None:
    """Run and print."""
    name, stack_size = sys.argv[1:]
    outcomes = Outcomes()
    suite = unittest.defaultTestLoader.loadTestsFromName(name)
    if stack_size:
        stackwarden.call_on_stack(suite.run, outcomes, stack_size=stack_size)
    else:
        suite.run(outcomes)
    print()
    print(json.dumps(outcomes.found))


if __name__ == "__main__":
    main()

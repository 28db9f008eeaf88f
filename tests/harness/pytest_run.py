"""One run of pytest in one environment: how it ended and how many tests it ran.

The tests run from an empty folder against what is installed in the environment, so that the
package in the checkout is never imported by mistake.
"""

import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import IO, NamedTuple
from xml.etree import ElementTree

import commands
import environments

_WHAT_IS_IMPORTED = """
import platform, stackwarden
print(platform.python_version())
print(stackwarden.__file__)
"""


class Result(NamedTuple):
    """How a run ended; `output` is empty if it was printed while the tests ran."""

    python: str
    summary: str
    succeeded: bool
    output: str


def run(python: Path, arguments: list[str], *, seconds: float, live: bool) -> Result:
    """Run all tests with the Python of an environment, and end them when the time is up."""
    with tempfile.TemporaryDirectory() as scratch:
        empty, report = Path(scratch, "empty"), Path(scratch, "report.xml")
        empty.mkdir()
        release = _tested_release(python, empty)
        command = _command(python, report, arguments)
        # A test's child that outlives it would keep a pipe open, but does no harm to a file.
        with Path(scratch, "output").open("w+", errors="replace") as held_back:
            status = _execute(command, empty, seconds, None if live else held_back)
            held_back.seek(0)
            summary, succeeded = _judge(status, report)
            return Result(release, summary, succeeded, held_back.read())


def _tested_release(python: Path, empty: Path) -> str:
    """The exact release of an interpreter, after a check that it imports what was installed."""
    said = commands.output(python, "-c", _WHAT_IS_IMPORTED, cwd=empty)
    release, imported = said.splitlines()
    if not Path(imported).is_relative_to(python.parents[1]):
        raise commands.HarnessError(f"{python} imports {imported}, which was not installed for it")
    return release


def _command(python: Path, report: Path, arguments: list[str]) -> list[str | Path]:
    checkout = environments.CHECKOUT
    return [
        *(python, "-m", "pytest", checkout / "tests"),
        *("--rootdir", checkout, "--config-file", checkout / "pyproject.toml"),
        *("--junit-xml", report, "-o", f"cache_dir={python.parents[1] / 'pytest-cache'}"),
        *arguments,
    ]


def _execute(
    command: list[str | Path], folder: Path, seconds: float, output: IO[str] | None
) -> int | None:
    """Return the exit status, or None if the time was up."""
    try:
        return subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            timeout=seconds,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired:
        return None


def _judge(status: int | None, report: Path) -> tuple[str, bool]:
    """What to say about a run, and whether it succeeded: it must have passed at least one test."""
    if status is None:
        return "out of time", False
    if not report.exists():
        return f"ended with status {status}", False
    counts = Counter(_outcome(case) for case in ElementTree.parse(report).iter("testcase"))
    summary = " ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
    return summary or "no tests", status == 0 and counts["passed"] > 0


def _outcome(case: ElementTree.Element) -> str:
    skipped = case.find("skipped")
    if skipped is not None:
        return "xfailed" if skipped.get("type") == "pytest.xfail" else "skipped"
    return "passed" if case.find("failure") is None and case.find("error") is None else "failed"

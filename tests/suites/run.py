"""Run the test suites of systems with the adapter installed in every process, children included.

A suite is run as it is, from the system's own wheel, in the environment of the Python that runs this
file, where each interpreter that starts installs the adapter first (in_every_process.py, by way of a
.pth file). gevent's is run file by file: together one of its tests fails now and then without us too.
The last line says what passed.

Command line: python tests/suites/run.py [SUITE]...
"""

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
GEVENT = (
    "test__greenlet", "test__pool", "test__hub", "test__threadpool", "test__event", "test__queue",
    "test__local", "test__timeout", "test__threading_2",
)  # fmt: skip
SUITES = {
    "greenlet": [["unittest", "discover", "greenlet.tests"]],
    "gevent": [["gevent.tests", f"{name}.py"] for name in GEVENT],
}
SECONDS = 600


class Outcome(NamedTuple):
    """One run of one command of a suite."""

    name: str
    tests: int
    processes: int
    seconds: float
    passed: bool

    def __str__(self) -> str:
        result = "passed" if self.passed else "FAILED"
        counts = f"{self.tests} tests in {self.processes} processes, {self.seconds:.0f} s"
        return f"{self.name}: {result}, {counts}"


def start_everywhere() -> None:
    """Have each interpreter of this environment import in_every_process.py when it starts."""
    packages = Path(sysconfig.get_path("purelib"))
    shutil.copy(HERE / "in_every_process.py", packages / "in_every_process.py")
    (packages / "in_every_process.pth").write_text("import in_every_process\n")


def run(adapter: str, command: list[str], folder: Path) -> Outcome:
    """Run one command with one adapter; passed: it says so, and tests were run, with the adapter."""
    log = folder / "log"
    log.write_text("")
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", *command],
        env={**os.environ, "STACKWARDEN_SUITE": adapter, "STACKWARDEN_SUITE_LOG": str(log)},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        timeout=SECONDS,
    )
    tests = sum(int(count) for count in re.findall(r"^.*?Ran (\d+) tests", done.stdout, re.M)[-1:])
    processes = len(log.read_text().splitlines())
    passed = done.returncode == 0 and tests > 0 and processes > 0
    if not passed:
        print(done.stdout[-20_000:], flush=True)
    seconds = time.monotonic() - start
    return Outcome(" ".join(command), tests, processes, seconds, passed)


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description="Run systems' own tests with adapters installed.")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=", ".join(SUITES))
    options = parser.parse_args()
    outcomes = []
    start_everywhere()
    for suite in options.suites or SUITES:
        for command in SUITES[suite]:
            with tempfile.TemporaryDirectory() as folder:
                outcomes.append(run(suite, command, Path(folder)))
            print(f"CPython {platform.python_version()}, {outcomes[-1]}", flush=True)
    failed = [outcome for outcome in outcomes if not outcome.passed]
    print(f"suites: {len(outcomes) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

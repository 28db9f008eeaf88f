"""These tests are for run.py, which says on which of its legs they are."""

import os
import subprocess
import sys

import pytest

LEG = os.environ.get("SANITIZER_LEG", "")
collect_ignore = [f"test_{leg}.py" for leg in ("address", "thread") if leg != LEG]


@pytest.fixture(scope="session")
def reported() -> int:
    """The status of a process that a sanitizer ended, or whose end it marked."""
    return int(os.environ["SANITIZER_STATUS"])


@pytest.fixture(scope="session")
def watched():
    """watched(program, **options): run a program whose reports are its standard error.

    What is reported there is no finding of the run. Options are the sanitizers'.
    """

    def watch(program: str, **options: str) -> subprocess.CompletedProcess[str]:
        environment = dict(os.environ)
        for name in [name for name in environment if name.endswith("SAN_OPTIONS")]:
            kept = [s for s in environment[name].split(":") if not s.startswith("log_path=")]
            environment[name] = ":".join([*kept, *(f"{k}={v}" for k, v in options.items())])
        return subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return watch

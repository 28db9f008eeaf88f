"""These tests are for run.py, which says on which of its legs they are."""

import os
import sys

import pytest

import children

LEG = os.environ.get("SANITIZER_LEG", "")
collect_ignore = [f"test_{leg}.py" for leg in ("address", "thread") if leg != LEG]


@pytest.fixture(scope="session")
def reported() -> int:
    """The status of a process that a sanitizer ended, or whose end it marked."""
    return int(os.environ["SANITIZER_STATUS"])


@pytest.fixture(scope="session")
def watched():
    """watched(program, ends=0, **options): run a program whose reports are its standard error.

    What is reported there is no finding of the run. Options are the sanitizers'.
    """

    def watch(program: str, *, ends: int = 0, **options: str) -> children.Done:
        variables = {}
        for name in [name for name in os.environ if name.endswith("SAN_OPTIONS")]:
            kept = [s for s in os.environ[name].split(":") if not s.startswith("log_path=")]
            variables[name] = ":".join([*kept, *(f"{k}={v}" for k, v in options.items())])
        return children.run(sys.executable, "-c", program, ends=ends, **variables)

    return watch

"""Run the sessions of noxfile.py, under interpreters that interpreters.py finds.

Command line:
    python3 tests/harness/sessions.py [--python VERSION]... [--only KEYWORD] PURPOSE [-- ARGUMENT...]
The arguments go to what the sessions run.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import commands
import interpreters
import tools
from paths import CHECKOUT

FOLDER = CHECKOUT / ".venv"
PYTHONS = "STACKWARDEN_PYTHONS"
"""The variable that tells noxfile.py the interpreters that are wanted: version to path, as JSON."""


def run(
    purpose: str,
    pythons: Mapping[str, Path],
    arguments: Sequence[str] = (),
    *,
    options: Sequence[str | Path] = (),
    seconds: float | None = None,
) -> int | None:
    """Run a session for each interpreter; return nox's exit status, or None if the time was up."""
    if not pythons:
        return 1
    sessions = [f"{purpose}-{version}" for version in pythons]
    command = [tools.program("nox"), "-f", CHECKOUT / "noxfile.py", *options, "-s", *sessions]
    variables = {
        PYTHONS: json.dumps({version: str(path) for version, path in pythons.items()}),
        "UV": str(tools.program("uv")),
    }
    with subprocess.Popen(
        [*command, "--", *arguments], env=os.environ | variables, stdin=subprocess.DEVNULL
    ) as nox:
        try:
            return nox.wait(seconds)
        except subprocess.TimeoutExpired:
            nox.send_signal(signal.SIGINT)  # it ends what it started
            return None


def folder(purpose: str, version: str) -> Path:
    """The folder of a session's environment, as nox names it."""
    return FOLDER / f"{purpose}-{version}".replace(".", "-")


def environment(purpose: str, version: str) -> Path:
    """The Python of an up-to-date environment; what its session runs is not run."""
    if run(purpose, {version: interpreters.find(version)}, options=["--install-only"]) != 0:
        raise commands.HarnessError(f"there is no environment for {purpose} under {version}")
    return folder(purpose, version) / "bin" / "python"


def main() -> int | None:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description="Run sessions of noxfile.py.")
    parser.add_argument("--python", action="append", metavar="VERSION", required=True)
    parser.add_argument("--only", metavar="KEYWORD", help="sessions whose name has it")
    parser.add_argument("purpose")
    parser.add_argument("arguments", nargs="*", metavar="ARGUMENT")
    told = parser.parse_args()
    pythons = {version: interpreters.find(version) for version in told.python}
    options = ["--keywords", told.only] if told.only else []
    return run(told.purpose, pythons, told.arguments, options=options)


if __name__ == "__main__":
    with commands.errors_reported():
        sys.exit(main())

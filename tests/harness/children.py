"""Programs in processes of their own, each with the one end that it must have."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path


def run(
    program: str,
    *,
    ends: int,
    seconds: int,
    variables: Mapping[str, str],
    options: Sequence[str] = ("-X", "faulthandler"),
    arguments: Sequence[str] = (),
    folder: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program with this Python; its exit status must be `ends`, minus the number of a signal.

    STACKWARDEN variables of the caller are not passed on.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("STACKWARDEN")}
    done = subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(program), *arguments],
        env=environment | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        cwd=folder,
    )
    assert done.returncode == ends, f"ended with {done.returncode}\n{done.stdout}{done.stderr}"
    return done

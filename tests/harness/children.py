"""The one way to run a program in a process of its own: with the one end that the test accepts.

Children whose end is compared with a table (the twins') come from stackwarden.testing.child instead: start() or
start_python(), then wait().
"""

import os
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

SECONDS = 120
CHECKED = "check=error" if "check=error" in os.environ.get("STACKWARDEN", "") else ""

Done = subprocess.CompletedProcess[str]


def run(
    *command: str | Path,
    ends: int | None = 0,
    seconds: int = SECONDS,
    folder: Path | None = None,
    **variables: str,
) -> Done:
    """Run a program; its exit status must be `ends`, minus the number of a signal (None: any).

    It has no standard input, and of the environment all but our own variables, which start with STACKWARDEN. In
    the checking mode of the tests it is checked as well.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("STACKWARDEN")}
    if CHECKED:
        variables["STACKWARDEN"] = ",".join(filter(None, [CHECKED, variables.get("STACKWARDEN")]))
    done = subprocess.run(
        command,
        env=environment | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        cwd=folder,
    )
    if ends is not None:
        assert done.returncode == ends, f"ended with {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def run_python(
    program: str | Path,
    *,
    python: Sequence[str | Path] = (sys.executable,),
    options: Sequence[str] = (),
    arguments: Sequence[str | Path] = (),
    **how,
) -> Done:
    """Run a Python program, a file or its text; the rest is told as run() is told it."""
    script = [program] if isinstance(program, Path) else ["-c", textwrap.dedent(program)]
    return run(*python, "-X", "faulthandler", *options, *script, *arguments, **how)

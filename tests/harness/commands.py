"""Running other programs: their output is returned, a failure names the command and says why."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class HarnessError(Exception):
    """Something outside the project's code went wrong; the message says what."""


def output(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a command without standard input and return its standard output.

    Libraries that are preloaded are not for it: a sanitizer would find that compilers and linkers free nothing.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env={name: value for name, value in os.environ.items() if name != "LD_PRELOAD"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise HarnessError(f"cannot run {words[0]}: {error}") from error
    if done.returncode != 0:
        said = done.stderr.strip() or done.stdout.strip()
        raise HarnessError(f"{shlex.join(words)}: exit status {done.returncode}\n{said[-20_000:]}")
    return done.stdout


def say(text: str) -> None:
    """Tell the person who waits what is going on; standard output is for results."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def errors_reported() -> Iterator[None]:
    """End the program with the message alone when what it runs went wrong."""
    try:
        yield
    except HarnessError as error:
        sys.exit(f"error: {error}")

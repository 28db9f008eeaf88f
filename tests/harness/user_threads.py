"""Where Argobots and MassiveThreads are, how this Python runs with them, and the example of docs/user-threads.md.

Argobots is in no package registry: STACKWARDEN_ARGOBOTS names a folder where it is installed, or its
library. MassiveThreads is unpacked from Debian unstable; a Python of an older C library runs with the
one that is unpacked with it.
"""

import ctypes
import os
import re
import shutil
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import commands
import debian
import extensions
import paths
from availability import unavailable

SYSTEMS = ["argobots", "massivethreads"]
EXAMPLE = paths.CHECKOUT / "docs/examples/user_threads"


@cache
def _massivethreads() -> Path:
    try:
        return debian.unpack("libmassivethreads-dev") / "usr"
    except commands.HarnessError as error:
        unavailable("massivethreads", str(error))


@cache
def library(system: str) -> Path:
    """The system's shared library; where there is none, the test is skipped."""
    if system == "massivethreads":
        return next(_massivethreads().glob("lib/*/libmyth.so.0"))
    place = os.environ.get("STACKWARDEN_ARGOBOTS")
    if place is None:
        unavailable("argobots", "STACKWARDEN_ARGOBOTS does not say where it is installed")
    path = Path(place)
    return path / "lib/libabt.so.1" if path.is_dir() else path


def headers(system: str) -> Path:
    """The folder of the system's own headers."""
    if system == "massivethreads":
        return _massivethreads() / "include"
    folder = library(system).parent.parent / "include"
    if not (folder / "abt.h").exists():
        unavailable("argobots", f"{folder} has no abt.h")
    return folder


@cache
def python(system: str) -> list[str]:
    """The command that runs this Python with a C library that the system's library can use."""
    if system == "massivethreads":
        try:
            ctypes.CDLL(str(library(system)))
        except OSError:
            folder = library(system).parent
            loader = [folder / "ld-linux-x86-64.so.2", "--library-path", folder]
            return [*map(str, loader), "--argv0", sys.executable, sys.executable]
    return [sys.executable]


def build_example(
    folder: Path,
    language: str = "c",
    *,
    headers: Path | None = None,
    edit: Callable[[str], str] = str,
) -> Path:
    """The module `my_system` that docs/user-threads.md shows in C and in Cython, built in this folder.

    `headers` is a folder to take stackwarden/user_thread.h from, instead of the installed one; `edit` changes
    the code.
    """
    page = (EXAMPLE.parents[1] / "user-threads.md").read_text()
    (code,) = re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    source = folder / ("my_system.pyx" if language == "cython" else "my_system.c")
    source.write_text(edit(code))
    if language == "cython":
        commands.output(sys.executable, "-m", "cython", "-3", "--warning-errors", source)
    module = extensions.build(
        [source.with_suffix(".c"), EXAMPLE / "scheduler.c"],
        "my_system",
        include=[EXAMPLE],
        args=["-w"] if language == "cython" else [],  # what Cython generates is not ours
        headers=headers,
    )
    return Path(shutil.move(module, folder))

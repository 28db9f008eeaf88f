"""The project's C and C++ as a compiler takes it: what is compiled by itself, and how.

A unit is a public header, or a file that no other one of the project includes; what is included is seen through
its unit. A unit that needs a header which is not on this machine is left out, in words. So is all that includes
pybind11, which takes a minute: the tests compile it. What only other platforms compile is not seen.
"""

import os
import re
import sys
import sysconfig
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / "tests" / "harness"))

import commands  # noqa: E402
import debian  # noqa: E402

FOLDERS = ("cython_src", "src", "adapters", "tests", "docs")
SUFFIXES = (".c", ".h", ".cpp", ".hpp", ".cxx")
PUBLIC = CHECKOUT / "src/stackwarden/include"

# What a compiler is told besides the public headers, as CMakeLists.txt and the tests have it.
FLAGS_OF_FOLDERS = {
    "cython_src": ["-Icython_src"],
    "adapters": ["-Iadapters/_coroutine", "-Iadapters/_user_threads"],
}
FLAGS_OF_FILES = {
    "maps_probe.c": ["-Icython_src/bounds"],
    "pages_probe.c": ["-Icython_src/bounds"],
    "registers.c": ["-Iadapters/asm"],
    "runtime.c": ['-DNAME="lint"'],
}
# What a header defines is used where it is included.
FLAGS_OF_HEADERS = ["-Wno-unused-function", "-Wno-unused-variable"]

_INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]', re.M)
_FOREIGN_IS_MISSING = re.compile(
    r"error: '?((abt\.h|systemc|(benchmark|boost|myth|nanobind|pybind11|tbb)/)\S*?)'?"
    r"(: No such file| file not found)"
)


class Unit(NamedTuple):
    """A file that is compiled by itself."""

    path: Path
    is_c: bool
    flags: list[str]


def units() -> list[Unit]:
    """All of the project's."""
    found = (path for folder in FOLDERS for path in sorted((CHECKOUT / folder).rglob("*")))
    files = [path for path in found if path.suffix in SUFFIXES]
    included = {other for file in files for other in _included(file, files)}
    return [_unit(file) for file in files if PUBLIC in file.parents or file not in included]


def check_each(check: Callable[[Unit], str]) -> int:
    """Print what `check` says of the units that it does not like, and return an exit status."""
    complaints = 0
    everything = units()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for unit, text in zip(everything, pool.map(check, everything), strict=True):
            if missing := _FOREIGN_IS_MISSING.search(text):
                print(f"left out: {unit.path}, {missing[1]} is not here")
            elif text:
                print(text)
                complaints += 1
    print(f"{len(everything)} units, {complaints} with complaints")
    return 1 if complaints else 0


def _included(file: Path, files: list[Path]) -> Iterator[Path]:
    """What of the project a file includes: what lies beside it, else all of that name."""
    for name in _INCLUDE.findall(file.read_text()):
        beside = (file.parent / name).resolve()
        if beside in files:
            yield beside
        else:
            yield from (other for other in files if other.as_posix().endswith(f"/{name}"))


def _unit(file: Path) -> Unit:
    path = file.relative_to(CHECKOUT)
    is_c = file.suffix in {".c", ".h"}
    flags = [
        *(("-xc", "-std=gnu11") if is_c else ("-xc++", "-std=gnu++17")),
        f"-I{PUBLIC.relative_to(CHECKOUT)}",
        *FLAGS_OF_FOLDERS.get(path.parts[0], []),
        *FLAGS_OF_FILES.get(path.name, []),
        *(FLAGS_OF_HEADERS if file.suffix in {".h", ".hpp"} else []),
        # CPython's own headers use undefined macros (3.15.2, pyport.h): not warned of.
        f"-isystem{sysconfig.get_path('include')}",
        *([] if is_c else _boost()),
    ]
    return Unit(path, is_c, flags)


@cache
def _boost() -> list[str]:
    """Where the headers of Boost are."""
    try:
        boost = debian.unpack("libboost-context-dev", release=debian.own_release())
    except commands.HarnessError as error:
        print(f"without Boost: {error}")
        return []
    return [f"-isystem{boost}/usr/include"]

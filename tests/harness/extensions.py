"""Build extension modules for tests: C or C++, with the public headers alone, by the machine's compiler.

What is built lies in a folder of this process and goes with it. Warnings are errors.
"""

import atexit
import importlib
import importlib.util
import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import ModuleType

import commands

_COMPILERS = {"c": ("CC", "cc"), "c++": ("CXX", "c++")}
_STANDARDS = {"c": "c11", "c++": "c++17"}


def build(
    source_paths: Iterable[Path],
    name: str,
    *,
    language: str = "c",
    include: Iterable[Path] = (),
    args: Iterable[str] = (),
    headers: Path | None = None,
) -> Path:
    """Compile and link an extension module for this interpreter; return the path of the module.

    `include` are further folders of headers; `args` go last, so that they may overrule and link;
    `headers` is a folder to take stackwarden/stackwarden.h from, instead of the installed one.
    """
    module = _folder() / f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
    commands.output(
        *compiler(language, headers),
        *("-shared", "-fPIC", "-fvisibility=hidden", "-O2", "-g", "-pthread"),
        *(f"-I{folder}" for folder in include),
        *source_paths,
        *("-o", module),
        *args,
    )
    return module


def compiler(language: str = "c", headers: Path | None = None) -> list[str]:
    """The compiler with all that it must be told to find Python.h and the public headers."""
    variable, default = _COMPILERS[language]
    return [
        *os.environ.get(variable, default).split(),
        f"-std={_STANDARDS[language]}",
        *("-Wall", "-Wextra", "-Wconversion", "-Wundef", "-Werror"),
        # CPython's own headers use undefined macros (3.15.2, pyport.h): not warned of.
        *("-isystem", sysconfig.get_path("include")),
        f"-I{headers or public_headers()}",
        *os.environ.get("CFLAGS", "").split(),
    ]


def program(source: str, folder: Path, *arguments: str | Path) -> Path:
    """Compile the text of a C program; the arguments go last."""
    path, target = folder / "program.c", folder / "program"
    path.write_text(source)
    commands.output(*compiler(), path, "-o", target, *arguments)
    return target


def public_headers() -> Path:
    """The folder that holds stackwarden/stackwarden.h of the installed package."""
    package = importlib.util.find_spec("stackwarden")
    return Path(package.origin).parent / "include"


def load(module: Path) -> ModuleType:
    """Import a module that build() made; its folder is put on sys.path, for children too."""
    name = module.name.partition(".")[0]
    folder = str(module.parent)
    if folder not in sys.path:
        sys.path.append(folder)
    importlib.invalidate_caches()
    return importlib.import_module(name)


@cache
def _folder() -> Path:
    folder = tempfile.mkdtemp(prefix="stackwarden-extensions-")
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return Path(folder)

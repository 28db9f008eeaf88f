"""The extensions of tests/extensions/foreign, one for each way to jump, and programs that use them."""

import os
import platform
import textwrap
from functools import cache
from pathlib import Path

import children
import commands
import debian
import extensions
import paths
from availability import unavailable

SOURCES = paths.SHARED / "foreign"

PRELUDE = """\
import gc, os, sys, threading
import stackwarden
from stackwarden.testing import workloads
import {module} as foreign

def mended():
    return stackwarden.status()["mended_entries"]
"""


@cache
def boost() -> Path:
    """The folder of libboost_context.so."""
    try:
        root = debian.unpack("libboost-fiber1.81-dev", release=debian.own_release())
    except commands.HarnessError as error:
        unavailable("boost", str(error))
    (library,) = root.glob("usr/lib/*/libboost_context.so")
    return library.parent


@cache
def build(machine: str, *linker: str) -> Path:
    """Build the extension with one way to jump; further arguments are the linker's, and make another module."""
    if machine == "static" and platform.machine() != "x86_64":
        unavailable("x86-64", f"the jump that is compiled in is not for {platform.machine()}")
    suffix = "".join(filter(str.isalnum, "".join(linker)))
    name = f"foreign_{machine}{suffix}"
    library = boost() if machine == "fcontext" else None
    return extensions.build(
        [SOURCES / "foreign.c"],
        name,
        args=[
            f"-DMACHINE_{machine.upper()}",
            f"-DFOREIGN_NAME={name}",
            *([f"-L{library}", f"-Wl,-rpath,{library}", "-lboost_context"] if library else []),
            *linker,
        ],
    )


def run(module: Path, program: str, *, first: str = "", **options):
    """Run a program that uses such an extension, as `foreign`, in a process of its own.

    `first` comes before the extension is loaded. The options are those of children.run.
    """
    prelude = first + PRELUDE.format(module=module.name.partition(".")[0])
    path = os.pathsep.join(filter(None, [str(module.parent), options.pop("path", "")]))
    program = prelude + textwrap.dedent(program)
    return children.run_python(program, folder=module.parent, PYTHONPATH=path, **options)

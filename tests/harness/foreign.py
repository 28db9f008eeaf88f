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


# From 1.87 on Boost's shared library exports these names alone.
CPLUSPLUS = {
    "jump_fcontext": "_ZN5boost7context6detail13jump_fcontextEPvS2_",
    "make_fcontext": "_ZN5boost7context6detail13make_fcontextEPvmPFvNS1_10transfer_tEE",
    "ontop_fcontext": "_ZN5boost7context6detail14ontop_fcontextEPvS2_PFNS1_10transfer_tES3_E",
}


@cache
def boost(version: str) -> Path:
    """The folder of libboost_context.so."""
    release = debian.own_release() if version == "1.81" else debian.UNSTABLE
    try:
        root = debian.unpack(f"libboost-fiber{version}-dev", release=release)
    except commands.HarnessError as error:
        unavailable("boost", str(error))
    (library,) = root.glob("usr/lib/*/libboost_context.so")
    return library.parent


@cache
def build(machine: str, *compiler: str, boost_version: str = "1.81") -> Path:
    """Build the extension with one way to jump; further arguments are the compiler's, and make another module."""
    if machine == "static" and platform.machine() != "x86_64":
        unavailable("x86-64", f"the jump that is compiled in is not for {platform.machine()}")
    suffix = "".join(filter(str.isalnum, "".join(compiler)))
    name = f"foreign_{machine}{suffix}"
    library = None
    if machine == "fcontext":
        library = boost(boost_version)
        if boost_version != "1.81":
            compiler += tuple(
                f"-D{function}={exported}" for function, exported in CPLUSPLUS.items()
            )
            name += "_cplusplus"
    return extensions.build(
        [SOURCES / "foreign.c"],
        name,
        args=[
            f"-DMACHINE_{machine.upper()}",
            f"-DFOREIGN_NAME={name}",
            *([f"-L{library}", f"-Wl,-rpath,{library}", "-lboost_context"] if library else []),
            *compiler,
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

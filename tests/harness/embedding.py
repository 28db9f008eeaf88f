"""Compile programs that embed this Python, and say how to run them."""

import sys
import sysconfig
from pathlib import Path

import commands
import extensions
import tools


def program(source: str, folder: Path) -> Path:
    """Compile the text of a C program that embeds this Python."""
    return extensions.program(source, folder, *compiler_arguments(), "-pthread")


def library() -> Path:
    """This Python as a shared library."""
    folder, name = sysconfig.get_config_vars("LIBDIR", "INSTSONAME")
    return Path(folder, name)


def dynamic_linker() -> str:
    return commands.output(
        tools.program("patchelf"), "--print-interpreter", sys._base_executable
    ).strip()


def command(program: Path, libraries: Path) -> list[str | Path]:
    """Run a program of this machine's release that loads library() itself: with the dynamic linker of this Python,
    whose C library may be newer than the machine's."""
    return [dynamic_linker(), "--library-path", f"{libraries}:{library().parent}", program]


def compiler_arguments() -> list[str]:
    """What to tell a C or C++ compiler, after the sources, for a program that embeds this Python."""
    libraries, version, *others = sysconfig.get_config_vars(
        "LIBDIR", "LDVERSION", "LIBS", "SYSLIBS"
    )
    return [
        *("-isystem", sysconfig.get_path("include")),
        f"-L{libraries}",
        f"-lpython{version}",
        *(word for words in others for word in words.split()),
        # An interpreter from debian.py comes with a C library of its own, newer than the one that
        # the machine's compiler links with: hence its dynamic linker, its libraries before the
        # machine's in an old-style RPATH, and symbols that are found only at run time.
        f"-Wl,--dynamic-linker={dynamic_linker()}",
        f"-Wl,--disable-new-dtags,-rpath,{libraries}",
        "-Wl,--allow-shlib-undefined,--export-dynamic",
    ]


def variables() -> dict[str, str]:
    """What lets such a program find the standard library, and what is installed for this Python."""
    return {"PYTHONHOME": sys.base_prefix, "PYTHONPATH": sysconfig.get_path("platlib")}

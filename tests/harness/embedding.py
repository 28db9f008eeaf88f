"""Compile programs that embed one of the interpreters, and say how to run them."""

import json
import os
from pathlib import Path

import commands
import tools

_CONFIGURATION = """
import json, sys, sysconfig
names = ("LIBDIR", "LDVERSION", "LIBS", "SYSLIBS")
configuration = {name: sysconfig.get_config_var(name) for name in names}
configuration["include"] = sysconfig.get_path("include")
configuration["home"] = sys.base_prefix
configuration["executable"] = sys._base_executable
print(json.dumps(configuration))
"""


def compiler_arguments(python: Path) -> list[str]:
    """What to tell a C or C++ compiler, after the sources, for a program that embeds `python`."""
    configuration = _configuration(python)
    libraries = configuration["LIBDIR"]
    linker = commands.output(
        tools.program("patchelf"), "--print-interpreter", configuration["executable"]
    ).strip()
    return [
        f"-I{configuration['include']}",
        f"-L{libraries}",
        f"-lpython{configuration['LDVERSION']}",
        *configuration["LIBS"].split(),
        *configuration["SYSLIBS"].split(),
        # An interpreter from debian.py comes with a C library of its own, newer than the one that
        # the machine's compiler links with: hence its dynamic linker, its libraries before the
        # machine's in an old-style RPATH, and symbols that are found only at run time.
        f"-Wl,--dynamic-linker={linker}",
        f"-Wl,--disable-new-dtags,-rpath,{libraries}",
        "-Wl,--allow-shlib-undefined,--export-dynamic",
    ]


def run_environment(python: Path) -> dict[str, str]:
    """The environment for such a program, which would not find the standard library by itself."""
    return os.environ | {"PYTHONHOME": _configuration(python)["home"]}


def _configuration(python: Path) -> dict[str, str]:
    configuration: dict[str, str] = json.loads(commands.output(python, "-I", "-c", _CONFIGURATION))
    return configuration

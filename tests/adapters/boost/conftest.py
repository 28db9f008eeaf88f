"""Fixtures: the extensions of this folder, built against each Boost, and their children."""

import textwrap
from functools import cache
from pathlib import Path

import pybind11
import pytest

import children
import commands
import debian
import extensions
from availability import unavailable

SOURCES = Path(__file__).parent
VERSIONS = ["1.74", "1.81"]


def unpack(version: str) -> Path:
    """The folder of a Boost, laid out like /usr."""
    try:
        return debian.unpack(f"libboost-fiber{version}-dev", release=debian.own_release()) / "usr"
    except commands.HarnessError as error:
        unavailable("boost", str(error))


@cache
def build(source: str, version: str, *libraries: str) -> Path:
    """Build a test extension; its name is that of its source and of the Boost it is built against."""
    boost = unpack(version)
    name = f"{source}_{version.replace('.', '_')}"
    (folder,) = {library.parent for library in boost.glob("lib/*/libboost_context.so")}
    return extensions.build(
        [SOURCES / f"{source}.cpp"],
        name,
        language="c++",
        args=[
            f"-DMODULE={name}",
            *("-isystem", boost / "include", "-isystem", pybind11.get_include()),
            *("-O1", "-g0", f"-L{folder}", f"-Wl,-rpath,{folder}"),
            *(f"-l{library}" for library in libraries),
        ],
    )


@pytest.fixture(scope="session", params=VERSIONS)
def boost_version(request) -> str:
    return request.param


def child_of(module: Path):
    """A function that runs a program in a process of its own, in which `boost` is the extension.

    The process must end with `ends`, a negative number being a signal's; returns what it printed.
    """
    name = module.name.partition(".")[0]
    prelude = (
        f"import contextvars, gc, sys, threading\nimport stackwarden\nimport {name} as boost\n"
    )

    def run(program: str, *, ends: int = 0, **variables: str) -> str:
        variables["PYTHONPATH"] = str(module.parent)
        done = children.run_python(prelude + textwrap.dedent(program), ends=ends, **variables)
        return done.stdout.strip()

    return run


@pytest.fixture(scope="session")
def context_child(boost_version):
    """child(program) with the extension boost_context_probe as `boost`."""
    return child_of(build("boost_context_probe", boost_version, "boost_context"))


@pytest.fixture(scope="session")
def fiber_child(boost_version):
    """child(program) with the extension boost_fiber_probe as `boost`."""
    return child_of(build("boost_fiber_probe", boost_version, "boost_fiber", "boost_context"))


@pytest.fixture(scope="session")
def many_stacks():
    """Builds the extension many_stacks, for children."""
    return extensions.build([SOURCES / "many_stacks.c"], "many_stacks")

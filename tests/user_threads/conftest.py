"""Fixtures: real Argobots and real MassiveThreads, and child programs that run on them.

Argobots is in no package registry: STACKWARDEN_ARGOBOTS names a folder where it is installed, or its
library. MassiveThreads is unpacked from Debian unstable; a Python of an older C library runs with the
one that is unpacked with it.
"""

import ctypes
import os
import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path

import pytest

import commands
import debian
from availability import unavailable

SYSTEMS = ["argobots", "massivethreads"]
LIBRARIES = "usr/lib/x86_64-linux-gnu"

PRELUDE = """\
import contextvars, ctypes, faulthandler, functools, gc, importlib, os, sys, threading
import stackwarden
from stackwarden import adapters
from stackwarden.testing.workloads import WORKLOADS
SYSTEM, LIBRARY, WORKERS = sys.argv[1], sys.argv[2], int(sys.argv[3])
system = importlib.import_module("stackwarden.adapters." + SYSTEM)
from_module = ["UserThread", "pause", "workers"]
UserThread, pause, workers = (getattr(system, name) for name in from_module)
"""
INSTALLED = PRELUDE + "adapters.install(SYSTEM, library=LIBRARY)\n"


@cache
def massivethreads() -> Path:
    """The folder that it is unpacked in."""
    try:
        return debian.unpack("libmassivethreads-dev")
    except commands.HarnessError as error:
        unavailable("massivethreads", str(error))


@cache
def library(system: str) -> Path:
    """The system's shared library."""
    if system == "massivethreads":
        return massivethreads() / LIBRARIES / "libmyth.so.0"
    place = os.environ.get("STACKWARDEN_ARGOBOTS")
    if place is None:
        unavailable("argobots", "STACKWARDEN_ARGOBOTS names no folder where it is installed")
    path = Path(place)
    return path / "lib/libabt.so.1" if path.is_dir() else path


def headers(system: str) -> Path:
    """The folder of the system's own headers."""
    if system == "massivethreads":
        return massivethreads() / "usr/include"
    folder = library(system).parent.parent / "include"
    if not (folder / "abt.h").exists():
        unavailable("argobots", f"{folder} has no abt.h")
    return folder


@cache
def python(system: str) -> list[str]:
    """The command that runs this Python with a C library that the system's library can be loaded with."""
    if system == "massivethreads":
        try:
            ctypes.CDLL(str(library(system)))
        except OSError:
            folder = massivethreads() / LIBRARIES
            loader = [str(folder / "ld-linux-x86-64.so.2"), "--library-path", str(folder)]
            return [*loader, "--argv0", sys.executable, sys.executable]
    return [sys.executable]


@pytest.fixture(params=SYSTEMS)
def system(request):
    """Each system that can be had."""
    library(request.param)
    return request.param


@pytest.fixture(scope="session")
def headers_of():
    """headers_of(system): the folder of the system's own headers."""
    return headers


@pytest.fixture(params=[1, 2], ids=["1-worker", "2-workers"])
def count(request):
    """How many operating-system threads carry the user threads."""
    return request.param


@pytest.fixture
def child():
    """child(system, workers, program): the lines that it printed; it must end with `ends`."""

    def run(system, count, program, *, ends=0, prelude=INSTALLED, folder=None):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("STACKWARDEN_")}
        if folder is not None:
            environment["PYTHONPATH"] = str(folder)
        done = subprocess.run(
            [*python(system), "-X", "faulthandler", "-c", prelude + textwrap.dedent(program),
             system, str(library(system)), str(count)],
            env=environment, capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        assert done.returncode == ends, f"ended with {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout.splitlines()

    return run

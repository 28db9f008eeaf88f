"""Fixtures: real Julia (Debian 11's 1.5.3), started in a child for each test. Its tasks share one thread."""

import sys
import textwrap
from pathlib import Path

import pytest

import children
import commands
import debian
import paths
from availability import unavailable

PRELUDE = """
import ctypes, json, os, sys, threading
import stackwarden
from stackwarden import adapters
from stackwarden.testing.workloads import WORKLOADS

LIBRARIES = os.environ["JULIA_LIBRARIES"]
SOURCE = os.environ["JULIA_SOURCE"]
keep = []

def load(path=LIBRARIES + "/libjulia.so.1"):
    return ctypes.PyDLL(path, mode=ctypes.RTLD_GLOBAL)

def start(*path):
    library = load(*path)
    folder = LIBRARIES + "/julia"
    library.jl_init_with_image__threading(folder.encode(), (folder + "/sys.so").encode())
    library.jl_eval_string.restype = ctypes.c_void_p
    library.jl_string_ptr.argtypes = [ctypes.c_void_p]
    library.jl_string_ptr.restype = ctypes.c_char_p
    return library

def run(library, code):
    "What Julia code comes to, at top level, or what it raises."
    text = library.jl_eval_string(f'''
        try
            string(include_string(Main, String(UInt8{list(code.encode())})))
        catch error
            "raised " * sprint(showerror, error)
        end
    '''.encode())
    return library.jl_string_ptr(text).decode()

def pointer(function, prototype=ctypes.PYFUNCTYPE(None)):
    "Julia's spelling of a Python function that it may call."
    keep.append(prototype(function))
    return f"Ptr{{Cvoid}}({ctypes.cast(keep[-1], ctypes.c_void_p).value})"

def die_of_sigsegv():
    "Julia would jump out of Python when a stack overflows, and leave its frames behind."
    ctypes.CDLL(None).signal(11, ctypes.c_void_p(0))

def raised(error, function, *arguments, **options):
    try:
        function(*arguments, **options)
    except error as raised:
        return str(raised)
"""

IN_TASKS = """
library = start()
adapters.install("julia")

def call(function, prototype=ctypes.PYFUNCTYPE(None)):
    return f"ccall({pointer(function, prototype)}, Cvoid, ())"

def in_julia(code):
    "A Python function that evaluates Julia code, which may switch tasks."
    place = run(library, f"UInt(@cfunction(() -> (Stackwarden.@yields {code}; nothing), Cvoid, ()))")
    return ctypes.PYFUNCTYPE(None)(int(place))
"""


@pytest.fixture(scope="session")
def libraries() -> Path:
    """The folder of libjulia."""
    try:
        folder = debian.unpack("julia", "libjulia1", release="bullseye")
    except commands.HarnessError as error:
        unavailable("julia", str(error))
    (library,) = folder.glob("usr/lib/*/libjulia.so.1")
    return library.parent


@pytest.fixture
def child(libraries):
    """child(program, ends=0, **variables): the lines that a program printed with Julia at hand."""

    def run(program, *, ends=0, **variables):
        julia = {
            "JULIA_LIBRARIES": str(libraries),
            "JULIA_SOURCE": str(paths.CHECKOUT / "adapters/julia/Stackwarden.jl"),
            "JULIA_NUM_THREADS": "1",
            "LD_LIBRARY_PATH": f"{libraries}:{libraries}/julia",
        }
        # Not run_python: faulthandler's handlers and Julia's would be in each other's way.
        text = PRELUDE + textwrap.dedent(program)
        done = children.run(sys.executable, "-c", text, ends=ends, **julia | variables)
        return done.stdout.splitlines()

    return run


@pytest.fixture
def in_tasks(child):
    """The same, with Julia started and the adapter installed."""
    return lambda program, **options: child(IN_TASKS + textwrap.dedent(program), **options)
